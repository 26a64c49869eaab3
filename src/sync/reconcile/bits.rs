//! Sparse sets of numbers, in the fewest bytes: gaps where they are few, words where they are many.

use crate::codec::{DecodeError, read_number};
use crate::numbers::write_number;

/// Bits in a word.
const WORD: u64 = 64;

/// A set of numbers as words of 64: sorted by place, none of them 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<(u64, u64)>);

/// How a set is written.
const GAPS: u8 = 0;
const WORDS: u8 = 1;

impl Bits {
    /// From words sorted by place; those that are 0 are left out.
    pub(super) fn from_words(words: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let words: Vec<_> = words.into_iter().filter(|(_, word)| *word != 0).collect();
        debug_assert!(words.windows(2).all(|pair| pair[0].0 < pair[1].0));
        Self(words)
    }

    pub(super) fn words(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// From numbers in order.
    pub(super) fn from_numbers(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut bits = Self::default();
        numbers.into_iter().for_each(|number| bits.push(number));
        bits
    }

    fn push(&mut self, number: u64) {
        let (place, bit) = (number / WORD, 1 << (number % WORD));
        match self.0.last_mut() {
            Some((last, word)) if *last == place => *word |= bit,
            _ => self.0.push((place, bit)),
        }
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(place, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = u64::from(rest.trailing_zeros());
                (rest != 0).then(|| {
                    rest &= rest - 1;
                    place * WORD + bit
                })
            })
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|(_, word)| u64::from(word.count_ones())).sum()
    }

    /// What is in one of the two sets only.
    pub(super) fn xor(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        Self::from_words(std::iter::from_fn(|| match (a.peek(), b.peek()) {
            (Some((place_a, word_a)), Some((place_b, word_b))) if place_a == place_b => {
                let both = (*place_a, word_a ^ word_b);
                a.next();
                b.next();
                Some(both)
            }
            (Some((place_a, _)), Some((place_b, _))) if place_a < place_b => a.next().copied(),
            (_, Some(_)) => b.next().copied(),
            (Some(_), None) => a.next().copied(),
            (None, None) => None,
        }))
    }

    /// A number has a bit of its own, or a byte and more if it is far from the one before: whatever is less in all.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let runs: u64 =
            self.runs().map(|(gap, run)| len_of(gap) + len_of(run.len() as u64) + 8 * run.len() as u64).sum();
        let runs = runs + len_of(self.runs().count() as u64);
        // Each gap takes a byte at least.
        if self.len() < runs && len_of(self.len()) + self.gaps().map(len_of).sum::<u64>() <= runs {
            out.push(GAPS);
            write_number(out, self.len());
            self.gaps().for_each(|gap| write_number(out, gap));
            return;
        }
        out.push(WORDS);
        write_number(out, self.runs().count() as u64);
        for (gap, run) in self.runs() {
            write_number(out, gap);
            write_number(out, run.len() as u64);
            run.iter().for_each(|(_, word)| out.extend(word.to_le_bytes()));
        }
    }

    /// How many numbers are left out before each.
    fn gaps(&self) -> impl Iterator<Item = u64> + '_ {
        // The last number that there is has no next.
        self.numbers()
            .scan(0, |next: &mut u64, number| Some(number - std::mem::replace(next, number.saturating_add(1))))
    }

    /// Runs of words without gaps, and how many places are left out before each.
    fn runs(&self) -> impl Iterator<Item = (u64, &[(u64, u64)])> + '_ {
        self.0.chunk_by(|a, b| a.0 + 1 == b.0).scan(0, |next: &mut u64, run| {
            let end = run[0].0 + run.len() as u64;
            Some((run[0].0 - std::mem::replace(next, end), run))
        })
    }

    /// Reads a set and returns what follows it. Within sixteen times the bytes. What is not spelled as
    /// [`write`](Self::write) does is for the caller to find, who writes it again and compares.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let (form, bytes) = bytes.split_first().ok_or(DecodeError::Truncated { missing: 1 })?;
        match *form {
            GAPS => Self::read_gaps(bytes),
            WORDS => Self::read_runs(bytes),
            _ => Err(DecodeError::Malformed("a set in an unknown form")),
        }
    }

    fn read_gaps(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let (count, mut bytes) = read_number(bytes)?;
        // Each number takes a byte at least.
        let room = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
        let (mut bits, mut next) = (Self(Vec::with_capacity(room)), Some(0u64));
        for _ in 0..count {
            let (gap, rest) = read_number(bytes)?;
            let number = next.and_then(|next| next.checked_add(gap)).ok_or(TOO_FAR)?;
            bits.push(number);
            (next, bytes) = (number.checked_add(1), rest);
        }
        Ok((bits, bytes))
    }

    fn read_runs(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let (count, mut bytes) = read_number(bytes)?;
        let (mut words, mut next) = (Vec::new(), 0u64);
        for _ in 0..count {
            let (gap, rest) = read_number(bytes)?;
            let (len, rest) = read_number(rest)?;
            let announced = usize::try_from(len).ok().and_then(|len| len.checked_mul(8));
            let missing = || DecodeError::Truncated { missing: len.saturating_mul(8) - rest.len() as u64 };
            let (run, rest) = announced.and_then(|len| rest.split_at_checked(len)).ok_or_else(missing)?;
            let first = next.checked_add(gap).ok_or(TOO_FAR)?;
            next = first.checked_add(len).filter(|end| *end <= u64::MAX / WORD + 1).ok_or(TOO_FAR)?;
            words.extend((first..next).zip(run.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word))));
            bytes = rest;
        }
        Ok((Self::from_words(words), bytes))
    }
}

/// How many bytes [`write_number`] takes.
fn len_of(number: u64) -> u64 {
    u64::from(number.max(1).ilog2() / 7 + 1)
}

const TOO_FAR: DecodeError = DecodeError::Malformed("a number of more than 64 bits");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn sets() -> impl Strategy<Value = BTreeSet<u64>> {
        let number = prop_oneof![0u64..200, 0u64..200, 100_000u64..100_300, u64::MAX - 100..=u64::MAX, any::<u64>()];
        prop_oneof![
            prop::collection::btree_set(number, 0..60),
            // Dense: words are shorter.
            (0u64..1000, prop::collection::btree_set(0u64..600, 200..500))
                .prop_map(|(first, set)| set.into_iter().map(|n| first + n).collect()),
        ]
    }

    proptest! {
        #[test]
        fn a_set_of_bits_is_a_set(a in sets(), b in sets()) {
            let (x, y) = (Bits::from_numbers(a.iter().copied()), Bits::from_numbers(b.iter().copied()));
            prop_assert_eq!(x.numbers().collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(x.len(), a.len() as u64);
            prop_assert_eq!(x.xor(&y).numbers().collect::<Vec<_>>(), a.symmetric_difference(&b).copied().collect::<Vec<_>>());
            let mut bytes = Vec::new();
            x.write(&mut bytes);
            y.write(&mut bytes);
            let (read, rest) = Bits::read(&bytes).unwrap();
            prop_assert_eq!(read, x);
            prop_assert_eq!(Bits::read(rest).unwrap(), (y, &[][..]));
        }

        #[test]
        fn any_bytes_are_a_set_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..60), form in 0u8..2) {
            bytes.insert(0, form);
            if let Ok((bits, _)) = Bits::read(&bytes) {
                prop_assert!(bits.words().windows(2).all(|pair| pair[0].0 < pair[1].0));
                prop_assert!(bits.words().len() <= bytes.len());
            }
        }
    }
}
