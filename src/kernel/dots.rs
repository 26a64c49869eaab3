//! Sets of dots. Counters are dense, so a set keeps one 64-bit word for each block of 64 of a writer's counters.

use std::fmt;

use crate::id::{Dot, WriterId};

pub(super) const BLOCK: u64 = 64;

pub(super) fn place(counter: u64) -> (u64, u32) {
    (counter / BLOCK, (counter % BLOCK) as u32)
}

pub(super) fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        (word != 0).then(|| {
            word &= word - 1;
            bit
        })
    })
}

/// A set of dots. Sixteen bytes for each block of 64 counters that holds any.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DotSet {
    /// Sorted by writer, then block; no word is 0 and no writer without words.
    writers: Vec<(WriterId, Vec<(u64, u64)>)>,
}

impl DotSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the dot is in the set.
    pub fn contains(&self, dot: Dot) -> bool {
        let (block, bit) = place(dot.counter);
        self.word(dot.writer, block) >> bit & 1 == 1
    }

    /// The word of one block: bit *i* says whether counter `64 · block + i` is in the set.
    pub fn word(&self, replica: WriterId, block: u64) -> u64 {
        let words = self.writers.binary_search_by_key(&replica, |(r, _)| *r).map(|i| &self.writers[i].1);
        words.ok().and_then(|w| w.binary_search_by_key(&block, |(b, _)| *b).ok().map(|i| w[i].1)).unwrap_or(0)
    }

    /// The words of some blocks of a writer.
    pub(crate) fn words(&self, writer: WriterId, blocks: std::ops::RangeInclusive<u64>) -> &[(u64, u64)] {
        let Ok(i) = self.writers.binary_search_by_key(&writer, |(w, _)| *w) else { return &[] };
        let words = &self.writers[i].1;
        let start = words.partition_point(|(block, _)| block < blocks.start());
        let end = words.partition_point(|(block, _)| block <= blocks.end());
        &words[start..end.max(start)]
    }

    /// From words by writer and block, in order, none of them 0.
    pub(crate) fn from_blocks(blocks: impl IntoIterator<Item = ((WriterId, u64), u64)>) -> Self {
        let mut writers: Vec<(WriterId, Vec<(u64, u64)>)> = Vec::new();
        for ((writer, block), word) in blocks {
            match writers.last_mut().filter(|(last, _)| *last == writer) {
                Some((_, words)) => words.push((block, word)),
                None => writers.push((writer, vec![(block, word)])),
            }
        }
        Self { writers }
    }

    /// Adds a dot. O(1) if it comes after all others, O(blocks) else. Counters start at 1: 0 names no dot and is not added.
    pub fn insert(&mut self, dot: Dot) {
        if dot.counter == 0 {
            return;
        }
        let (block, bit) = place(dot.counter);
        let i = match self.writers.binary_search_by_key(&dot.writer, |(r, _)| *r) {
            Ok(i) => i,
            Err(i) => {
                self.writers.insert(i, (dot.writer, Vec::new()));
                i
            }
        };
        let words = &mut self.writers[i].1;
        match words.binary_search_by_key(&block, |(b, _)| *b) {
            Ok(i) => words[i].1 |= 1 << bit,
            Err(i) => words.insert(i, (block, 1 << bit)),
        }
    }

    /// The words, by writer and block.
    pub(crate) fn writers(&self) -> impl ExactSizeIterator<Item = (WriterId, &[(u64, u64)])> {
        self.writers.iter().map(|(replica, words)| (*replica, &words[..]))
    }

    /// Builds a set from sorted words; `None` if they are out of order, repeated, or 0.
    pub(crate) fn from_sorted(writers: Vec<(WriterId, Vec<(u64, u64)>)>) -> Option<Self> {
        let sorted = writers.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && writers.iter().all(|(_, words)| {
                !words.is_empty()
                    && words.windows(2).all(|pair| pair[0].0 < pair[1].0)
                    && words.iter().all(|(block, word)| *word != 0 && *block <= u64::MAX / BLOCK)
            });
        // Counters start at 1.
        let set = sorted.then_some(Self { writers })?;
        let zero = set.writers.iter().any(|(_, words)| words.first().is_some_and(|(b, w)| *b == 0 && w & 1 == 1));
        (!zero).then_some(set)
    }

    /// The dots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.writers.iter().flat_map(|(replica, words)| {
            words.iter().flat_map(move |(block, word)| {
                bits(*word).map(move |bit| Dot { writer: *replica, counter: block * BLOCK + u64::from(bit) })
            })
        })
    }

    /// The number of dots.
    pub fn len(&self) -> usize {
        self.writers.iter().flat_map(|(_, words)| words).map(|(_, word)| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.writers.is_empty()
    }
}

impl FromIterator<Dot> for DotSet {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        // In order each goes to the end.
        let mut sorted: Vec<Dot> = dots.into_iter().collect();
        sorted.sort_unstable();
        let mut set = Self::new();
        sorted.into_iter().for_each(|dot| set.insert(dot));
        set
    }
}

impl fmt::Debug for DotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|dot| dot.to_string())).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dot(replica: u8, counter: u64) -> Dot {
        Dot { writer: WriterId::from([replica; 10]), counter }
    }

    proptest! {
        #[test]
        fn set_agrees_with_a_plain_set(dots in prop::collection::btree_set((0u8..3, 1u64..300), 0..60)) {
            let set: DotSet = dots.iter().rev().map(|(r, c)| dot(*r, *c)).collect();
            prop_assert_eq!(set.len(), dots.len());
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), dots.iter().map(|(r, c)| dot(*r, *c)).collect::<Vec<_>>());
            prop_assert!((1..300).all(|c| set.contains(dot(1, c)) == dots.contains(&(1, c))));
            prop_assert_eq!(DotSet::from_sorted(set.writers.clone()), Some(set));
        }
    }

    #[test]
    fn words_that_name_no_dot_are_no_set() {
        let r = WriterId::from([1; 10]);
        for words in
            [vec![], vec![(0, 1)], vec![(1, 0)], vec![(2, 1), (1, 1)], vec![(1, 1), (1, 2)], vec![(u64::MAX, 1)]]
        {
            assert_eq!(DotSet::from_sorted(vec![(r, words)]), None);
        }
    }
}
