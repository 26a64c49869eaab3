//! The list of all writes, and what of it stands for whoever has seen some of them.

use std::fmt;
use std::sync::Arc;

use crate::testing::model::{Model, Write, Writes};

/// The writes that stand for somebody: a write stands unless another write that they have seen had itself seen it, and
/// overwrote its cell or deleted its group.
///
/// Removals do not stand: what they removed is missing, that is all.
pub struct View<'a, M: Model + ?Sized> {
    standing: Vec<Standing<'a, M::Cell, M::Value>>,
    seen: Seen,
}

/// A write that stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Standing<'a, C, V> {
    /// Where.
    pub cell: &'a C,
    /// What.
    pub value: &'a V,
    /// Number of the writer. A replica that is opened again gets a new one.
    pub writer: usize,
    /// When, in milliseconds: the stamp's. Equal for the writes of one edit, different for different edits.
    pub time: u64,
    /// True in [`Model::writes`](crate::testing::Model::writes), if whoever is about to write goes on from this write: it was
    /// made in the same opening, or in one that this opening continues. Of several such the later has seen the earlier.
    pub is_own: bool,
}

impl<'a, M: Model + ?Sized> View<'a, M> {
    /// The number of writes that have been seen of a writer, by its number. So the next write of a writer can be given a name
    /// that no other write has.
    pub fn seen_of(&self, writer: usize) -> u64 {
        self.seen.of(writer)
    }

    /// All writes that stand, in the order in which they were made.
    pub fn all(&self) -> impl Iterator<Item = &Standing<'a, M::Cell, M::Value>> {
        self.standing.iter()
    }

    /// Those in one cell: several if their writers did not know of one another.
    pub fn of(&self, cell: &M::Cell) -> impl Iterator<Item = &Standing<'a, M::Cell, M::Value>> {
        self.standing.iter().filter(move |standing| standing.cell == cell)
    }

    /// The one in a cell that was made last.
    pub fn latest(&self, cell: &M::Cell) -> Option<&Standing<'a, M::Cell, M::Value>> {
        self.of(cell).max_by_key(|standing| standing.time)
    }

    /// Whether anything stands in the cell.
    pub fn holds(&self, cell: &M::Cell) -> bool {
        self.of(cell).next().is_some()
    }

    /// Whether nothing stands at all.
    pub fn is_empty(&self) -> bool {
        self.standing.is_empty()
    }
}

impl<M: Model + ?Sized> fmt::Debug for View<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.standing).finish()
    }
}

/// How many writes have been seen of each writer, by number.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Seen(Vec<u64>);

impl Seen {
    /// Equal counts are equal values: none ends in a writer of whom nothing was seen.
    pub(super) fn new(mut counts: Vec<u64>) -> Self {
        while counts.last() == Some(&0) {
            counts.pop();
        }
        Self(counts)
    }

    pub(super) fn of(&self, writer: usize) -> u64 {
        self.0.get(writer).copied().unwrap_or(0)
    }

    /// Sees one more of this writer, and returns how many that makes.
    fn one_more(&mut self, writer: usize) -> u64 {
        self.0.resize(self.0.len().max(writer + 1), 0);
        self.0[writer] += 1;
        self.0[writer]
    }

    /// The same, with so many of this writer.
    pub(super) fn with(&self, writer: usize, count: u64) -> Self {
        let mut counts = self.0.clone();
        counts.resize(counts.len().max(writer + 1), 0);
        counts[writer] = count;
        Self::new(counts)
    }

    pub(super) fn includes(&self, other: &Self) -> bool {
        other.0.iter().enumerate().all(|(writer, count)| self.of(writer) >= *count)
    }

    pub(super) fn meet(&self, other: &Self) -> Self {
        Self::new(self.0.iter().zip(&other.0).map(|(a, b)| *a.min(b)).collect())
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(ours, theirs)| *ours = (*ours).max(*theirs));
    }
}

struct Event<M: Model> {
    writer: usize,
    number: u64,
    /// What the writer had seen.
    seen: Seen,
    write: Write<M::Cell, M::Group, M::Value>,
    time: u64,
}

impl<M: Model> Event<M> {
    fn is_in(&self, seen: &Seen) -> bool {
        self.number <= seen.of(self.writer)
    }

    /// Whether it puts an end to what it sees in this cell.
    fn overrides(&self, cell: &M::Cell) -> bool {
        match &self.write {
            Write::Put(other, _) | Write::Remove(other) => other == cell,
            Write::Delete(group) => *group == M::group(cell),
        }
    }

    fn collides(&self, other: &Self) -> bool {
        use Write::{Delete, Put, Remove};
        match (&self.write, &other.write) {
            (Put(a, _) | Remove(a), Put(b, _) | Remove(b)) => M::collide(a, b),
            (Delete(group), Put(cell, _) | Remove(cell)) | (Put(cell, _) | Remove(cell), Delete(group)) => {
                *group == M::group(cell)
            }
            (Delete(a), Delete(b)) => a == b,
        }
    }
}

/// All writes that anybody made, in an order in which each comes after those that it has seen.
pub(super) struct History<M: Model> {
    events: Vec<Arc<Event<M>>>,
}

impl<M: Model> History<M> {
    pub(super) fn new() -> Self {
        Self { events: Vec::new() }
    }

    /// What stands for whoever has seen this: the definition, in O(n²).
    pub(super) fn view(&self, seen: &Seen) -> View<'_, M> {
        self.view_along(seen, &Seen::default())
    }

    /// The same for a writer whose path has these writes.
    pub(super) fn view_along(&self, seen: &Seen, path: &Seen) -> View<'_, M> {
        let of_version: Vec<&Arc<Event<M>>> = self.events.iter().filter(|event| event.is_in(seen)).collect();
        // Whoever has seen a write came after it.
        let overridden = |i: usize, cell: &M::Cell| {
            of_version[i + 1..].iter().any(|other| of_version[i].is_in(&other.seen) && other.overrides(cell))
        };
        let standing = of_version.iter().enumerate().filter_map(|(i, event)| match &event.write {
            Write::Put(cell, value) if !overridden(i, cell) => {
                let is_own = event.is_in(path);
                Some(Standing { cell, value, writer: event.writer, time: event.time, is_own })
            }
            _ => None,
        });
        View { standing: standing.collect(), seen: seen.clone() }
    }

    /// Adds the writes of an operation, each of which sees those before it. Returns whether any collides with a write that
    /// it has not seen.
    pub(super) fn record(&mut self, writes: Writes<M>, writer: usize, time: u64, seen: &mut Seen) -> bool {
        let mut collides = false;
        for write in writes {
            let had = seen.clone();
            let number = seen.one_more(writer);
            let event = Event { writer, number, seen: had, write, time };
            collides |= self.events.iter().any(|other| !other.is_in(&event.seen) && event.collides(other));
            self.events.push(Arc::new(event));
        }
        collides
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Takes back all but the first `len` writes: of an edit that is refused.
    pub(super) fn truncate(&mut self, len: usize) {
        self.events.truncate(len);
    }

    /// Takes out all but the first `len` writes.
    pub(super) fn split_off(&mut self, len: usize) -> Self {
        Self { events: self.events.split_off(len) }
    }

    /// Adds the writes of others, made after those that they have seen.
    pub(super) fn append(&mut self, later: &Self) {
        self.events.extend(later.events.iter().cloned());
    }

    /// What somebody has seen who has seen all of these.
    pub(super) fn seen(&self) -> Seen {
        let mut seen = Seen::default();
        for event in &self.events {
            seen.one_more(event.writer);
        }
        seen
    }

    /// Whether two writes collide that do not know of each other.
    pub(super) fn collides(&self) -> bool {
        let unseen = |a: &Event<M>, b: &Event<M>| !a.is_in(&b.seen) && !b.is_in(&a.seen);
        let pairs = self.events.iter().enumerate().flat_map(|(i, a)| self.events[..i].iter().map(move |b| (a, b)));
        pairs.into_iter().any(|(a, b)| unseen(a, b) && a.collides(b))
    }
}

impl<M: Model> Clone for History<M> {
    fn clone(&self) -> Self {
        Self { events: self.events.clone() }
    }
}
