//! The live dots of all writers in a row, and keyed fingerprints of any stretch of it.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use xxhash_rust::xxh3::{SecretInput, xxh3_128, xxh3_128_with_secret_input};

use crate::id::WriterId;
use crate::kernel::DotSet;
use crate::sync::reconcile::bits::Bits;
use crate::version::Version;

/// Counters in a block.
const BLOCK: u64 = 64;

/// The dots of a version that both sides cover. Their blocks stand in a row, so thousands of writers with few dots each
/// are no more to compare than one with as many.
///
/// The row follows from the heads alone: in the order of their ids each contributes the part of its path that heads before
/// it did not (see [`Version::contributions`]). Within a contribution counters are without gaps, and a block is 64 of
/// them, whichever writers they are of. So both sides derive the same row, whatever lines each knows.
#[derive(Clone, Debug)]
pub(super) struct Universe {
    /// Along the row.
    stretches: Vec<Stretch>,
    blocks: u64,
    digest: u64,
}

/// Dots of one writer without gaps.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    writer: WriterId,
    /// Counter before the first.
    after: u64,
    upto: u64,
    /// The place in the row that block 0 would have, modulo 2⁶⁴.
    base: u64,
}

impl Stretch {
    /// The counters of a block that it has.
    fn within(&self, block: u64) -> u64 {
        let (first, last) = (self.after / BLOCK, self.upto / BLOCK);
        let from = if block == first { u64::MAX.checked_shl((self.after % BLOCK) as u32 + 1).unwrap_or(0) } else { u64::MAX };
        let to = if block == last { u64::MAX >> (BLOCK - 1 - self.upto % BLOCK) } else { u64::MAX };
        if (first..=last).contains(&block) { from & to } else { 0 }
    }

    /// Its blocks, from that of the counter after which it begins.
    fn blocks(&self) -> RangeInclusive<u64> {
        self.after / BLOCK..=self.upto / BLOCK
    }
}

impl Universe {
    /// `None` if there are 2⁵⁷ blocks or more: their numbers, and those of their dots, have to fit in 64 bits.
    pub(super) fn new(both: &Version) -> Option<Self> {
        let (mut blocks, mut stretches) = (0u64, Vec::new());
        for contribution in both.contributions() {
            let (Some(first), Some(last)) = (contribution.first(), contribution.last()) else { continue };
            let (first, last) = (first.1 / BLOCK, last.2 / BLOCK);
            let base = blocks.wrapping_sub(first);
            stretches.extend(contribution.iter().map(|(writer, after, upto)| Stretch {
                writer: *writer,
                after: *after,
                upto: *upto,
                base,
            }));
            blocks = blocks.checked_add(last - first + 1).filter(|blocks| *blocks < 1 << 57)?;
        }
        Some(Self { stretches, blocks, digest: both.digest() })
    }

    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Tells whether two sides speak of the same dots.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// The dots of a set that both cover, in a row.
    pub(super) fn in_a_row(&self, set: &DotSet) -> Bits {
        let mut row: Vec<(u64, u64)> = Vec::new();
        for stretch in &self.stretches {
            for (block, word) in set.words(stretch.writer, stretch.blocks()) {
                let (place, word) = (stretch.base.wrapping_add(*block), word & stretch.within(*block));
                match row.last_mut().filter(|(last, _)| *last == place) {
                    Some((_, last)) => *last |= word,
                    None => row.push((place, word)),
                }
            }
        }
        Bits::from_words(row)
    }

    /// The dots of a row; `None` if one of them is none of these.
    pub(super) fn dots(&self, row: &Bits) -> Option<DotSet> {
        let (mut sets, mut found) = (BTreeMap::<(WriterId, u64), u64>::new(), 0);
        for stretch in &self.stretches {
            let (first, last) = (stretch.blocks().start().wrapping_add(stretch.base), stretch.upto / BLOCK);
            let last = stretch.base.wrapping_add(last);
            let start = row.words().partition_point(|(place, _)| *place < first);
            for (place, word) in row.words()[start..].iter().take_while(|(place, _)| *place <= last) {
                let block = place.wrapping_sub(stretch.base);
                let word = word & stretch.within(block);
                if word != 0 {
                    *sets.entry((stretch.writer, block)).or_default() |= word;
                    found += u64::from(word.count_ones());
                }
            }
        }
        (found == row.len()).then(|| DotSet::from_blocks(sets))
    }
}

/// A row with the key that its fingerprints are made with.
///
/// The fingerprint of a stretch is the sum, modulo 2¹²⁸, of a keyed hash of each word in it that is not 0, with its place:
/// so any stretch costs two look-ups in the sums from the beginning, and a changed word changes the whole by its own hash.
pub(super) struct Row {
    words: Bits,
    /// Of all words before each, and of all.
    sums: Vec<u128>,
    key: Key,
}

impl Row {
    pub(super) fn new(words: Bits, nonce: [u8; 16]) -> Self {
        let key = Key::new(nonce);
        let mut sums = vec![0];
        let mut sum = 0u128;
        sums.extend(words.words().iter().map(|(place, word)| {
            sum = sum.wrapping_add(key.hash(*place, *word));
            sum
        }));
        Self { words, sums, key }
    }

    pub(super) fn bits(&self) -> &Bits {
        &self.words
    }

    fn stretch(&self, blocks: &Range<u64>) -> Range<usize> {
        let from = |place: u64| self.words.words().partition_point(|(p, _)| *p < place);
        from(blocks.start)..from(blocks.end)
    }

    /// The words of some blocks that are not 0.
    pub(super) fn words(&self, blocks: &Range<u64>) -> &[(u64, u64)] {
        &self.words.words()[self.stretch(blocks)]
    }

    pub(super) fn fingerprint(&self, blocks: &Range<u64>) -> u128 {
        let Range { start, end } = self.stretch(blocks);
        self.sums[end].wrapping_sub(self.sums[start])
    }

    /// The fingerprint of everything.
    pub(super) fn check(&self) -> u128 {
        self.sums[self.sums.len() - 1]
    }

    /// The fingerprint of everything, if this were changed.
    pub(super) fn check_with(&self, change: &Bits) -> u128 {
        change.words().iter().fold(self.check(), |sum, (place, flipped)| {
            let word = self.words(&(*place..place + 1)).first().map_or(0, |(_, word)| *word);
            let hash = |word| if word == 0 { 0 } else { self.key.hash(*place, word) };
            sum.wrapping_sub(hash(word)).wrapping_add(hash(word ^ flipped))
        })
    }
}

/// XXH3 under a secret of its full length. Not a cryptographic hash; but whoever would have two states collide has to
/// have written them before the nonce was drawn.
struct Key {
    nonce: [u8; 16],
    secret: SecretInput<[u8; SECRET]>,
}

const SECRET: usize = 192;

impl Key {
    fn new(nonce: [u8; 16]) -> Self {
        let mut secret = [0; SECRET];
        for (number, part) in secret.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let mut seed = [number as u8; 17];
            seed[1..].copy_from_slice(&nonce);
            *part = xxh3_128(&seed).to_le_bytes();
        }
        Self { nonce, secret: SecretInput::new(secret) }
    }

    fn hash(&self, place: u64, word: u64) -> u128 {
        // Of this length, XXH3 lets every part of the input meet two parts of the secret.
        let mut input = [0; 32];
        input[..8].copy_from_slice(&place.to_le_bytes());
        input[8..16].copy_from_slice(&word.to_le_bytes());
        input[16..].copy_from_slice(&self.nonce);
        xxh3_128_with_secret_input(&input, &self.secret)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Dot;
    use crate::version::MAX_COUNTER;

    fn replica(n: u8) -> WriterId {
        WriterId::from([n; 10])
    }

    fn dots() -> impl Strategy<Value = Vec<Dot>> {
        let dot = (0u8..6, 1u64..200).prop_map(|(r, counter)| Dot { writer: replica(r), counter });
        prop::collection::vec(dot, 0..200)
    }

    proptest! {
        #[test]
        fn a_row_holds_what_both_cover_and_leads_back(
            dots in dots(),
            both in prop::collection::vec((0u8..6, prop_oneof![1u64..200, Just(63), Just(64), Just(127), Just(128)]), 0..6),
        ) {
            let both = Version::rooted(both.into_iter().map(|(r, c)| (replica(r), c)));
            let universe = Universe::new(&both).unwrap();
            let row = universe.in_a_row(&dots.iter().copied().collect());
            let covered: DotSet = dots.into_iter().filter(|dot| both.covers(*dot)).collect();
            prop_assert_eq!(row.len(), covered.len() as u64);
            prop_assert!(row.words().iter().all(|(place, _)| *place < universe.blocks()));
            prop_assert_eq!(universe.dots(&row), Some(covered));
        }

        #[test]
        fn fingerprints_of_stretches_are_those_of_their_words(a in dots(), b in dots(), cut in 0u64..20, nonce: [u8; 16]) {
            let universe = Universe::new(&Version::rooted((0..6).map(|r| (replica(r), 200)))).unwrap();
            let bits = |dots: Vec<Dot>| universe.in_a_row(&dots.into_iter().collect());
            let (a, b) = (Row::new(bits(a), nonce), Row::new(bits(b), nonce));
            let (low, high) = (a.fingerprint(&(0..cut)), a.fingerprint(&(cut..24)));
            prop_assert_eq!(low.wrapping_add(high), a.check());
            prop_assert_eq!(a.check() == b.check(), a.bits() == b.bits());
            prop_assert_eq!(a.check_with(&a.bits().xor(b.bits())), b.check());
        }
    }

    #[test]
    fn dots_outside_are_none() {
        let universe = Universe::new(&Version::rooted([(replica(1), 64), (replica(2), 3)])).unwrap();
        assert_eq!(universe.blocks(), 3);
        for number in [0, 65, 127, 128, 132, 192, u64::MAX] {
            assert_eq!(universe.dots(&Bits::from_numbers([number])), None, "{number}");
        }
        for number in [1, 64, 129, 131] {
            assert!(universe.dots(&Bits::from_numbers([number])).is_some(), "{number}");
        }
        let writer = |n: u16| WriterId::from([[0; 8].as_slice(), &n.to_be_bytes()].concat().try_into().unwrap_or([0; 10]));
        let many = |n: u16| Universe::new(&Version::rooted((0..n).map(|n| (writer(n), MAX_COUNTER))));
        assert!(many(1023).is_some());
        assert!(many(1024).is_none());
    }
}
