//! The index from dots to the entities that hold them.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use im::OrdMap;

use crate::id::{Dot, ReplicaId};
use crate::kernel::dots::{BLOCK, DotSet, bits, place};
use crate::kernel::key::Entity;
use crate::version::{VersionVector, news};

/// Which entity holds each dot. Persistent: cloning is O(1).
///
/// Its words alone are the set of the dots. A writer's neighbouring dots mostly belong to one entity, so a block keeps
/// runs, not an entity for each dot: 18 bytes for a node written in one go, however many fields it has.
#[derive(Clone, Debug, Default)]
pub(crate) struct DotIndex {
    /// By writer, then block; no writer is without blocks and no block without dots.
    writers: OrdMap<ReplicaId, OrdMap<u64, Block>>,
    /// The block that the last dot went into, kept out of the map: dots come in order, and the next one mostly goes
    /// there too.
    hot: Option<Hot>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Hot {
    replica: ReplicaId,
    number: u64,
    block: Block,
}

impl Hot {
    fn is_at(&self, replica: ReplicaId, number: u64) -> bool {
        self.number == number && self.replica == replica
    }
}

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
        if !self.hot.as_ref().is_some_and(|hot| hot.is_at(dot.replica, number)) {
            self.heat(dot.replica, number);
        }
        if let Some(hot) = &mut self.hot {
            self.len += usize::from(hot.block.insert(bit, entity));
        }
    }

    /// Puts the hot block back and takes another one out.
    fn heat(&mut self, replica: ReplicaId, number: u64) {
        let block = self.take(replica, number).unwrap_or_default();
        if let Some(Hot { replica, number, block }) = self.hot.replace(Hot { replica, number, block }) {
            match self.writers.get_mut(&replica) {
                Some(blocks) => drop(blocks.insert(number, block)),
                None => drop(self.writers.insert(replica, OrdMap::unit(number, block))),
            }
        }
    }

    /// Takes a block out of the map.
    fn take(&mut self, replica: ReplicaId, number: u64) -> Option<Block> {
        let blocks = self.writers.get_mut(&replica)?;
        let block = blocks.remove(&number);
        if blocks.is_empty() {
            self.writers.remove(&replica);
        }
        block
    }

    pub(crate) fn remove(&mut self, dot: Dot) {
        let (number, bit) = place(dot.counter);
        if let Some(hot) = self.hot.as_mut().filter(|hot| hot.is_at(dot.replica, number)) {
            self.len -= usize::from(hot.block.remove(bit));
            self.hot = self.hot.take().filter(|hot| hot.block.word != 0);
            return;
        }
        let Some(blocks) = self.writers.get_mut(&dot.replica) else { return };
        let Some(block) = blocks.get_mut(&number) else { return };
        self.len -= usize::from(block.remove(bit));
        if block.word == 0 {
            self.take(dot.replica, number);
        }
    }

    pub(crate) fn get(&self, dot: Dot) -> Option<Entity> {
        let (number, bit) = place(dot.counter);
        let block = self.block(dot.replica, number)?;
        (block.word >> bit & 1 == 1).then(|| block.entity(bit))
    }

    fn block(&self, replica: ReplicaId, number: u64) -> Option<&Block> {
        let hot = self.hot.as_ref().filter(|hot| hot.is_at(replica, number)).map(|hot| &hot.block);
        hot.or_else(|| self.writers.get(&replica)?.get(&number))
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The blocks of a writer past a counter, each with its dots past it. O(log n + blocks).
    fn blocks_after(&self, replica: ReplicaId, counter: u64) -> impl Iterator<Item = (u64, u64, &Block)> + '_ {
        let (first, bit) = place(counter);
        let map = self.writers.get(&replica);
        let range = move |range: (Bound<u64>, Bound<u64>)| map.map(|blocks| blocks.range(range)).into_iter().flatten();
        let hot = self.hot.as_ref().filter(|hot| hot.replica == replica && hot.number >= first);
        // The hot block has its place among the others.
        let split = hot.map_or(Bound::Unbounded, |hot| Bound::Excluded(hot.number));
        let before = range((Bound::Included(first), split));
        let after = hot.map(|hot| range((Bound::Excluded(hot.number), Bound::Unbounded)));
        let hot = hot.map(|hot| (&hot.number, &hot.block));
        before.chain(hot).chain(after.into_iter().flatten()).map(move |(number, block)| {
            let word = if *number == first { block.word & above(bit) } else { block.word };
            (*number, word, block)
        })
    }

    /// The dots of a writer past a counter, in order, with their entities. O(log n + dots).
    pub(crate) fn after(&self, replica: ReplicaId, counter: u64) -> impl Iterator<Item = (Dot, Entity)> + '_ {
        self.blocks_after(replica, counter).flat_map(move |(number, word, block)| {
            let dot = move |bit| Dot { replica, counter: number * BLOCK + u64::from(bit) };
            bits(word).map(move |bit| (dot(bit), block.entity(bit)))
        })
    }

    /// The dots that a version does not cover, of those that `upto` covers, with their entities.
    pub(crate) fn beyond<'a>(
        &'a self,
        since: &'a VersionVector,
        upto: &'a VersionVector,
    ) -> impl Iterator<Item = (Dot, Entity)> + 'a {
        let after = |(replica, seen, upto)| self.after(replica, seen).take_while(move |(dot, _)| dot.counter <= upto);
        news(since, upto).flat_map(after)
    }

    /// Adds the entities that hold a dot of this writer past a counter; one may come several times.
    pub(crate) fn entities_after(&self, replica: ReplicaId, counter: u64, entities: &mut Vec<Entity>) {
        for (_, word, block) in self.blocks_after(replica, counter).filter(|(_, word, _)| *word != 0) {
            let runs = (0..block.runs.len()).filter(|i| block.of_run(*i) & word != 0);
            entities.extend(runs.map(|i| block.runs[i].entity));
        }
    }

    /// The dots that are in a set as well, with their entities. O(words of the set · log n + dots found).
    pub(crate) fn in_set<'a>(&'a self, set: &'a DotSet) -> impl Iterator<Item = (Dot, Entity)> + 'a {
        let words = set
            .writers()
            .flat_map(|(replica, words)| words.iter().map(move |(number, word)| (replica, *number, *word)));
        words
            .filter_map(|(replica, number, word)| Some((replica, number, word, self.block(replica, number)?)))
            .flat_map(|(replica, number, word, block)| {
                let dot = move |bit| Dot { replica, counter: number * BLOCK + u64::from(bit) };
                bits(word & block.word).map(move |bit| (dot(bit), block.entity(bit)))
            })
    }

    /// All dots with their entities.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dot, Entity)> + '_ {
        self.replicas().into_iter().flat_map(|replica| self.after(replica, 0))
    }

    /// The dots alone. O(blocks).
    pub(crate) fn to_set(&self) -> DotSet {
        let words = |replica| self.blocks_after(replica, 0).map(|(number, word, _)| (number, word)).collect();
        DotSet::from_words(self.replicas().into_iter().map(|replica| (replica, words(replica))).collect())
    }

    fn replicas(&self) -> BTreeSet<ReplicaId> {
        self.writers.keys().copied().chain(self.hot.as_ref().map(|hot| hot.replica)).collect()
    }
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

    use super::*;

    fn dot(replica: u8, counter: u64) -> Dot {
        Dot { replica: ReplicaId::from([replica; 16]), counter }
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
            for block in index.writers.values().flat_map(|blocks| blocks.values()).chain(index.hot.as_ref().map(|h| &h.block)) {
                prop_assert_eq!(block.runs.len(), usize::from(block.count));
                prop_assert!(block.runs.windows(2).all(|pair| pair[0].start < pair[1].start), "{block:?}");
                prop_assert!(u32::from(block.count) <= 2 + SLACK * block.word.count_ones(), "{block:?}");
            }
            for counter in 0..140 {
                let r = ReplicaId::from([1; 16]);
                let expected: Vec<_> = model.iter().filter(|(d, _)| d.replica == r && d.counter > counter)
                    .map(|(d, e)| (*d, *e)).collect();
                prop_assert_eq!(index.after(r, counter).collect::<Vec<_>>(), expected);
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
            let held = index.hot.as_ref().map_or(0, |hot| hot.block.count);
            let expected = match left.len() {
                16.. => 64,
                4..16 => 15,
                1..4 => 3,
                _ => 0,
            };
            assert_eq!((held, left.len()), (expected, left.len()));
            for after in [0, 80, 100] {
                let mut entities = Vec::new();
                index.entities_after(dot(1, 0).replica, after, &mut entities);
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
        assert_eq!(index.after(dot(1, 0).replica, u64::MAX - 1).count(), 1);
        assert_eq!(index.after(dot(1, 0).replica, u64::MAX).count(), 0);
    }
}
