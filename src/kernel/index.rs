//! The index from dots to the entities that hold them.

use std::ops::Bound;
use std::sync::Arc;

use im::OrdMap;

use crate::id::{Dot, WriterId};
use crate::kernel::dots::{BLOCK, DotSet, bits, place};
use crate::kernel::key::Entity;

/// Which entity holds each dot. Persistent: cloning is O(1).
///
/// Its words alone are the set of the dots. A writer's neighbouring dots mostly belong to one entity, so a block keeps
/// runs, not an entity for each dot: 18 bytes for a node written in one go, however many fields it has.
#[derive(Clone, Debug, Default)]
pub(crate) struct DotIndex {
    /// By writer and block; no block is without dots. One map for all: many writers have few dots each.
    blocks: OrdMap<Place, Block>,
    /// The block that the last dot went into, kept out of the map: dots come in order, and the next one mostly goes
    /// there too.
    hot: Option<(Place, Block)>,
    len: usize,
}

/// A block of 64 counters of a writer.
type Place = (WriterId, u64);

/// Taking a dot out touches the word alone, which lies in the map itself: the dots that an overwrite replaces lie
/// anywhere, and their runs would have to be fetched from memory.
#[derive(Clone, Debug, Default)]
struct Block {
    word: u64,
    /// Sorted by start. A dot belongs to the last run that starts at or before it. Some may have no dots left.
    runs: Arc<Vec<Run>>,
    /// The number of runs, without a look at them.
    count: u8,
}

/// Runs without dots are cleared away once there are this many times as many runs as dots.
const SLACK: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: u8,
    entity: Entity,
}

impl DotIndex {
    pub(crate) fn insert(&mut self, dot: Dot, entity: Entity) {
        let (number, bit) = place(dot.counter);
        let place = (dot.writer, number);
        if self.hot.as_ref().is_none_or(|(hot, _)| *hot != place) {
            let block = self.blocks.remove(&place).unwrap_or_default();
            if let Some((place, block)) = self.hot.replace((place, block)) {
                self.blocks.insert(place, block);
            }
        }
        if let Some((_, block)) = &mut self.hot {
            self.len += usize::from(block.insert(bit, entity));
        }
    }

    pub(crate) fn remove(&mut self, dot: Dot) {
        let (number, bit) = place(dot.counter);
        let place = (dot.writer, number);
        if let Some((_, block)) = self.hot.as_mut().filter(|(hot, _)| *hot == place) {
            self.len -= usize::from(block.remove(bit));
            self.hot = self.hot.take().filter(|(_, block)| block.word != 0);
            return;
        }
        let Some(block) = self.blocks.get_mut(&place) else { return };
        self.len -= usize::from(block.remove(bit));
        if block.word == 0 {
            self.blocks.remove(&place);
        }
    }

    pub(crate) fn get(&self, dot: Dot) -> Option<Entity> {
        let (number, bit) = place(dot.counter);
        let block = self.block(dot.writer, number)?;
        (block.word >> bit & 1 == 1).then(|| block.entity(bit))
    }

    fn block(&self, writer: WriterId, number: u64) -> Option<&Block> {
        let hot = self.hot.as_ref().filter(|(hot, _)| *hot == (writer, number)).map(|(_, block)| block);
        hot.or_else(|| self.blocks.get(&(writer, number)))
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The blocks from one place to another, both among them, in order. O(log n + blocks).
    fn range(&self, from: Place, to: Place) -> impl Iterator<Item = (Place, &Block)> + '_ {
        let hot = self.hot.as_ref().filter(|(place, _)| (from..=to).contains(place));
        // The hot block has its place among the others.
        let split = hot.map_or(Bound::Included(to), |(place, _)| Bound::Excluded(*place));
        let before = self.blocks.range((Bound::Included(from), split));
        let after = hot.map(|(place, _)| self.blocks.range((Bound::Excluded(*place), Bound::Included(to))));
        let hot = hot.map(|(place, block)| (place, block));
        before.chain(hot).chain(after.into_iter().flatten()).map(|(place, block)| (*place, block))
    }

    fn blocks_of(&self, writer: WriterId, after: u64, upto: u64) -> impl Iterator<Item = (u64, u64, &Block)> + '_ {
        let ((first, bit), (last, end)) = (place(after), place(upto));
        self.range((writer, first), (writer, last)).filter(move |_| after < upto).map(move |((_, number), block)| {
            let from = if number == first { above(bit) } else { u64::MAX };
            let to = if number == last { !above(end) } else { u64::MAX };
            (number, block.word & from & to, block)
        })
    }

    /// The dots of a writer past one counter, up to another, in order, with their entities. O(log n + dots).
    pub(crate) fn dots(&self, writer: WriterId, after: u64, upto: u64) -> impl Iterator<Item = (Dot, Entity)> + '_ {
        self.blocks_of(writer, after, upto).flat_map(move |(number, word, block)| entities(writer, number, word, block))
    }

    /// Adds the entities that hold a dot of this writer past one counter, up to another; one may come several times.
    pub(crate) fn entities(&self, writer: WriterId, after: u64, upto: u64, entities: &mut Vec<Entity>) {
        for (_, word, block) in self.blocks_of(writer, after, upto).filter(|(_, word, _)| *word != 0) {
            let runs = (0..block.runs.len()).filter(|i| block.of_run(*i) & word != 0);
            entities.extend(runs.map(|i| block.runs[i].entity));
        }
    }

    /// The dots that are in a set as well, with their entities. O(words of the set · log n + dots found).
    pub(crate) fn in_set<'a>(&'a self, set: &'a DotSet) -> impl Iterator<Item = (Dot, Entity)> + 'a {
        let words = set.writers().flat_map(|(writer, words)| words.iter().map(move |word| (writer, *word)));
        words
            .filter_map(|(writer, (number, word))| Some((writer, number, word, self.block(writer, number)?)))
            .flat_map(|(writer, number, word, block)| entities(writer, number, word & block.word, block))
    }

    /// All dots with their entities.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dot, Entity)> + '_ {
        self.all().flat_map(|((writer, number), block)| entities(writer, number, block.word, block))
    }

    /// The dots alone. O(blocks).
    pub(crate) fn to_set(&self) -> DotSet {
        DotSet::from_blocks(self.all().map(|(place, block)| (place, block.word)))
    }

    fn all(&self) -> impl Iterator<Item = (Place, &Block)> + '_ {
        self.range((WriterId::from([0; 10]), 0), (WriterId::from([0xff; 10]), u64::MAX))
    }
}

/// The dots of a word, with the entities of its block.
fn entities(writer: WriterId, number: u64, word: u64, block: &Block) -> impl Iterator<Item = (Dot, Entity)> + '_ {
    bits(word).map(move |bit| (Dot { writer, counter: number * BLOCK + u64::from(bit) }, block.entity(bit)))
}

impl Block {
    fn entity(&self, bit: u32) -> Entity {
        let after = self.runs.partition_point(|run| u32::from(run.start) <= bit);
        self.runs[after - 1].entity
    }

    /// Returns whether the bit was new.
    fn insert(&mut self, bit: u32, entity: Entity) -> bool {
        let new = self.word >> bit & 1 == 0;
        let i = self.runs.partition_point(|run| u32::from(run.start) <= bit);
        let before = i.checked_sub(1).map(|before| self.runs[before].entity);
        self.word |= 1 << bit;
        if before == Some(entity) {
            return new;
        }
        let runs = Arc::make_mut(&mut self.runs);
        let end = runs.get(i).map_or(BLOCK as u32, |next| u32::from(next.start));
        // What comes after the bit in the run that it splits still belongs to that run's entity.
        let rest = self.word & above(bit) & !u64::MAX.checked_shl(end).unwrap_or(0);
        if let (Some(entity), true) = (before, rest != 0) {
            runs.insert(i, Run { start: rest.trailing_zeros() as u8, entity });
        }
        match i.checked_sub(1).filter(|before| u32::from(runs[*before].start) == bit) {
            Some(before) => runs[before].entity = entity,
            None => runs.insert(i, Run { start: bit as u8, entity }),
        }
        self.count = runs.len() as u8;
        new
    }

    /// Returns whether the bit was there.
    fn remove(&mut self, bit: u32) -> bool {
        let there = self.word >> bit & 1 == 1;
        self.word &= !(1 << bit);
        if u32::from(self.count) > SLACK * self.word.count_ones() {
            self.compact();
        }
        there
    }

    /// Clears runs without dots away.
    fn compact(&mut self) {
        let used: Vec<Run> = (0..self.runs.len()).filter(|i| self.of_run(*i) != 0).map(|i| self.runs[i]).collect();
        self.count = used.len() as u8;
        self.runs = Arc::new(used);
    }

    /// The bits that belong to a run.
    fn of_run(&self, i: usize) -> u64 {
        let from = u64::MAX << self.runs[i].start;
        let to = self.runs.get(i + 1).map_or(u64::MAX, |next| !(u64::MAX << next.start));
        self.word & from & to
    }
}

/// The bits of a word above `bit`.
fn above(bit: u32) -> u64 {
    u64::MAX.checked_shl(bit + 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use std::collections::BTreeSet;

    use super::*;

    fn dot(replica: u8, counter: u64) -> Dot {
        Dot { writer: WriterId::from([replica; 10]), counter }
    }

    proptest! {
        #[test]
        fn index_agrees_with_a_plain_map(
            steps in prop::collection::vec((0u8..2, 1u64..140, prop::option::weighted(0.7, 0u8..4)), 0..400),
        ) {
            let (mut index, mut model) = (DotIndex::default(), BTreeMap::new());
            for (replica, counter, entity) in steps {
                let dot = dot(replica, counter);
                match entity {
                    Some(e) => {
                        index.insert(dot, Entity::new(e, [0; 16]));
                        model.insert(dot, Entity::new(e, [0; 16]));
                    }
                    None => {
                        index.remove(dot);
                        model.remove(&dot);
                    }
                }
                prop_assert_eq!(index.get(dot), model.get(&dot).copied());
            }
            prop_assert_eq!(index.len(), model.len());
            prop_assert_eq!(index.iter().collect::<Vec<_>>(), model.clone().into_iter().collect::<Vec<_>>());
            for (_, block) in index.all() {
                prop_assert_eq!(block.runs.len(), usize::from(block.count));
                prop_assert!(block.runs.windows(2).all(|pair| pair[0].start < pair[1].start), "{block:?}");
                prop_assert!(u32::from(block.count) <= 2 + SLACK * block.word.count_ones(), "{block:?}");
            }
            for counter in 0..140 {
                let r = WriterId::from([1; 10]);
                let expected: Vec<_> = model.iter().filter(|(d, _)| d.writer == r && d.counter > counter)
                    .map(|(d, e)| (*d, *e)).collect();
                prop_assert_eq!(index.dots(r, counter, u64::MAX).collect::<Vec<_>>(), expected);
            }
            prop_assert_eq!(index.to_set().iter().collect::<Vec<_>>(), model.into_keys().collect::<Vec<_>>());
        }
    }

    #[test]
    fn runs_without_dots_stay_until_they_are_many_and_are_nobodys() {
        let (mut index, entity) = (DotIndex::default(), |n| Entity::new(n, [0; 16]));
        // One block full of runs; those without dots lie before, between and after what is left.
        let counters = 64..128;
        counters.clone().for_each(|n| index.insert(dot(1, n), entity(n as u8)));
        let mut left: BTreeSet<u64> = counters.collect();
        for n in (64..128).map(|n| 64 + n * 37 % 64) {
            index.remove(dot(1, n));
            left.remove(&n);
            let held = index.hot.as_ref().map_or(0, |(_, block)| block.count);
            let expected = match left.len() {
                16.. => 64,
                4..16 => 15,
                1..4 => 3,
                _ => 0,
            };
            assert_eq!((held, left.len()), (expected, left.len()));
            for after in [0, 80, 100] {
                let mut entities = Vec::new();
                index.entities(dot(1, 0).writer, after, u64::MAX, &mut entities);
                entities.sort_unstable();
                assert_eq!(entities, left.range(after + 1..).map(|n| entity(*n as u8)).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_greatest_counter_has_a_place() {
        let mut index = DotIndex::default();
        index.insert(dot(1, u64::MAX), Entity::SELF);
        assert_eq!(index.get(dot(1, u64::MAX)), Some(Entity::SELF));
        assert_eq!(index.dots(dot(1, 0).writer, u64::MAX - 1, u64::MAX).count(), 1);
        assert_eq!(index.dots(dot(1, 0).writer, u64::MAX, u64::MAX).count(), 0);
    }
}
