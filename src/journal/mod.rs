//! A bounded list of what changed, in the order that it did, for an app to follow or to keep.
//!
//! | file | idea |
//! |---|---|
//! | `entry` | one changed cell: who, when, from what to what |
//! | `export` | an entry as text for other programs |

mod entry;
mod export;

use std::collections::{BTreeMap, VecDeque};

use thiserror::Error;

use crate::kernel::{Before, Crdt, Entity, Field, State, Touched};
use crate::version::Version;

use entry::Kind;
pub use entry::{Entry, Origin};

/// How much a [`Journal`] keeps: the oldest entries are dropped once either is passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalLimit {
    /// The most entries.
    pub entries: usize,
    /// The most bytes of memory, by estimate: 250 an entry, and names and values in full, though as long as the state
    /// holds them too it is the same memory.
    pub bytes: usize,
}

/// Ten thousand entries, 8 MiB.
impl Default for JournalLimit {
    fn default() -> Self {
        Self { entries: 10_000, bytes: 8 << 20 }
    }
}

/// What changed in a replica since [`keep_journal`](crate::Replica::keep_journal): one [`Entry`] for each cell whose live
/// siblings are others after an edit, a merge or a `repair`. What no reader can see (a tombstone for a tombstone, pruning)
/// makes none, and an edit that failed leaves none.
///
/// Entries are numbered without gaps, so a reader follows with the number of the last one that it has read. The journal is
/// the app's: it is not saved, not sent, not forked, and nothing depends on it. **A number means nothing to another
/// replica, nor after a restart:** there, begin with a look at the whole state. An app that keeps the entries elsewhere goes on
/// with their numbers by [`keep_journal_after`](crate::Replica::keep_journal_after). The entries of one edit or merge stand in
/// the order of entities and fields, the same wherever its delta is merged into an equal state.
///
/// ```
/// use driftless::{Graph, GraphChange, JournalLimit, NodeId, Origin, Replica};
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// let ada = NodeId::named("person:ada");
/// phone.keep_journal(JournalLimit { entries: 1_000, bytes: 1 << 20 });
///
/// let (_, delta) = laptop.edit(|g| g.add_node("person:ada"))?;
/// phone.merge(&delta)?;
/// phone.edit(|g| g.label(ada, "Person"))?;
///
/// let journal = phone.journal().ok_or("it is on")?;
/// let entries: Vec<_> = journal.since(0)?.collect();
/// assert_eq!(entries[0].change::<Graph>(), Some(GraphChange::NodeAdded(ada)));
/// assert_eq!((entries[0].origin(), entries[0].writes()[0].0.writer), (Origin::Merge, laptop.writer().ok_or("wrote")?));
/// assert_eq!((entries[1].origin(), entries[1].number()), (Origin::Edit, 2));
///
/// // Later, only what is new:
/// let cursor = journal.last();
/// phone.edit(|g| g.remove_node(ada))?;
/// let journal = phone.journal().ok_or("it is on")?;
/// assert_eq!(journal.since(cursor)?.count(), 2); // the node and its label
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Journal {
    kind: Kind,
    limit: JournalLimit,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The number of the newest entry, also of one that has been dropped.
    last: u64,
}

/// Entries that a reader has not read are no longer kept, or were never made. Look at the whole state, and go on from
/// [`Journal::last`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "the journal does not hold what came after entry {after}: it has the entries from {first} to {last}; look at the whole \
     state and go on after {last}"
)]
#[non_exhaustive]
pub struct JournalGap {
    /// The number that was asked by.
    pub after: u64,
    /// The number of the oldest entry that is kept; of the next one, if there is none.
    pub first: u64,
    /// The number of the newest entry.
    pub last: u64,
}

impl Journal {
    /// A journal that goes on after the number of another.
    pub(crate) fn after<T: Crdt>(last: u64, limit: JournalLimit) -> Self {
        Self { kind: Kind::of::<T>(), limit, entries: VecDeque::new(), bytes: 0, last }
    }

    /// The entries after the one with this number, in the order that they were made; all for 0. O(1), and what is read.
    ///
    /// Fails if some of them were dropped, or the number is none that this journal has given.
    pub fn since(&self, number: u64) -> Result<impl ExactSizeIterator<Item = &Entry> + '_, JournalGap> {
        let first = self.last + 1 - self.entries.len() as u64;
        if number > self.last || number + 1 < first {
            return Err(JournalGap { after: number, first, last: self.last });
        }
        Ok(self.entries.range((number + 1 - first) as usize..))
    }

    /// All entries that are kept, in the order that they were made.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> + '_ {
        self.entries.iter()
    }

    /// The number of the newest entry, 0 before the first: what to ask [`since`](Self::since) next time, having read
    /// everything or looked at the whole state.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many entries are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How much memory the entries take, by the estimate of [`JournalLimit::bytes`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much is kept at most.
    pub fn limit(&self) -> JournalLimit {
        self.limit
    }

    pub(crate) fn set_limit(&mut self, limit: JournalLimit) {
        self.limit = limit;
        self.drop_oldest();
    }

    /// Records what an edit did, by its log: each cell once, as it was before and as it is now, in the order in which a merge
    /// of its delta would. `since` is the version before.
    pub(crate) fn record_edit(&mut self, log: &[Before], state: &State, since: &Version, at: u64) {
        let mut first: BTreeMap<(Entity, &Field), &Before> = BTreeMap::new();
        for before in log {
            first.entry(before.cell()).or_insert(before);
        }
        first.into_values().for_each(|before| self.record(before.until(state), state, since, Origin::Edit, at));
    }

    /// Records what a merge or a repair did, by its report.
    pub(crate) fn record_merge(
        &mut self,
        touched: &[Touched],
        state: &State,
        since: &Version,
        origin: Origin,
        at: u64,
    ) {
        touched.iter().for_each(|touched| self.record(touched.clone(), state, since, origin, at));
    }

    fn record(&mut self, touched: Touched, state: &State, since: &Version, origin: Origin, at: u64) {
        if !touched.is_visible() {
            return;
        }
        self.last += 1;
        let entity = touched.entity;
        let entry = Entry::new(
            self.last,
            at,
            origin,
            touched,
            self.kind,
            || {
                let root = state.cells(entity).map(|cells| cells.siblings(Field::ROOT.as_bytes())).unwrap_or_default();
                root.filter(|sibling| !since.covers(sibling.dot)).map(|sibling| (sibling.dot, sibling.stamp)).collect()
            },
            |writer| state.version().shared_device(writer),
        );
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        while self.entries.len() > self.limit.entries || self.bytes > self.limit.bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}
