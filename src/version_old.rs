//! Version vectors: what a replica has seen.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::id::{Dot, ReplicaId};

/// Everything that a replica has seen: for each writer, the highest counter (Parker et al.: *Detection of Mutual
/// Inconsistency in Distributed Systems*, 1983).
///
/// Always causally closed, with no gaps: to have seen write 7 is to have seen 1 to 6. So equal versions mean equal live
/// state. Cloning is O(1); comparing and joining are O(writers); there is no entry for a writer never heard of.
///
/// ```
/// use driftless::{Dot, ReplicaId, VersionVector};
/// let a = ReplicaId::from([1; 16]);
/// let seen: VersionVector = [(a, 7)].into_iter().collect();
/// assert!(seen.covers(Dot { replica: a, counter: 7 }));
/// assert!(VersionVector::new() <= seen);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VersionVector {
    /// Sorted by replica; no counter is 0.
    entries: Arc<Vec<(ReplicaId, u64)>>,
}

impl VersionVector {
    /// The version of a replica that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The highest counter seen of this writer; 0 if none.
    pub fn get(&self, replica: ReplicaId) -> u64 {
        self.find(replica).map_or(0, |i| self.entries[i].1)
    }

    /// Whether that write has been seen.
    pub fn covers(&self, dot: Dot) -> bool {
        dot.counter <= self.get(dot.replica)
    }

    /// Whether everything in `other` has been seen. The same as `other <= self`.
    pub fn includes(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.entries, &other.entries) {
            return true;
        }
        let mut ours = self.entries.iter();
        // Both are sorted: one pass over ours answers for all of theirs.
        other.entries.iter().all(|(replica, counter)| {
            ours.find(|(r, _)| r >= replica).is_some_and(|(r, c)| r == replica && c >= counter)
        })
    }

    /// Joins what `other` has seen into this: the greater counter of each writer.
    pub fn join(&mut self, other: &Self) {
        if other.is_empty() || self.includes(other) {
            return;
        }
        if other.includes(self) {
            *self = other.clone();
            return;
        }
        let mut joined = Vec::with_capacity(self.len().max(other.len()));
        let (mut a, mut b) = (self.entries.iter().peekable(), other.entries.iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (None, None) => break,
                (Some(_), None) => a.next(),
                (None, Some(_)) => b.next(),
                (Some((ra, ca)), Some((rb, cb))) => match ra.cmp(rb) {
                    Ordering::Less => a.next(),
                    Ordering::Greater => b.next(),
                    Ordering::Equal if ca >= cb => b.next().and(a.next()),
                    Ordering::Equal => a.next().and(b.next()),
                },
            };
            joined.extend(next);
        }
        self.entries = Arc::new(joined);
    }

    /// What both have seen: the lesser counter of each writer. The meet of all peers' versions is what everybody has seen.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let both = self.iter().map(|(replica, counter)| (replica, counter.min(other.get(replica))));
        Self::from_sorted(both.filter(|(_, counter)| *counter > 0).collect())
    }

    /// The number of writes seen here and not in `other`. O(writers).
    pub(crate) fn beyond(&self, other: &Self) -> u64 {
        let beyond = self.iter().map(|(replica, counter)| counter.saturating_sub(other.get(replica)));
        beyond.fold(0, u64::saturating_add)
    }

    /// Joins one dot, and with it all earlier ones of its writer.
    pub fn observe(&mut self, dot: Dot) {
        if !self.covers(dot) {
            self.set(dot.replica, dot.counter);
        }
    }

    /// Sets one entry, lower too; 0 removes it.
    pub(crate) fn set(&mut self, replica: ReplicaId, counter: u64) {
        match self.find(replica) {
            Some(i) if counter == 0 => drop(Arc::make_mut(&mut self.entries).remove(i)),
            Some(i) => Arc::make_mut(&mut self.entries)[i].1 = counter,
            None if counter == 0 => {}
            None => {
                let i = self.entries.partition_point(|(r, _)| *r < replica);
                Arc::make_mut(&mut self.entries).insert(i, (replica, counter));
            }
        }
    }

    /// From entries sorted by replica, none of them 0.
    pub(crate) fn from_sorted(entries: Vec<(ReplicaId, u64)>) -> Self {
        debug_assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0) && entries.iter().all(|(_, c)| *c > 0));
        if entries.is_empty() {
            return Self::new();
        }
        Self { entries: Arc::new(entries) }
    }

    /// The number of writers heard of.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The writers with their highest counters, in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ReplicaId, u64)> + '_ {
        self.entries.iter().copied()
    }

    fn find(&self, replica: ReplicaId) -> Option<usize> {
        self.entries.binary_search_by_key(&replica, |(r, _)| *r).ok()
    }
}

/// Empty. All such share their memory: lists of versions that a stranger sends may hold many.
impl Default for VersionVector {
    fn default() -> Self {
        static EMPTY: LazyLock<VersionVector> = LazyLock::new(|| VersionVector { entries: Arc::new(Vec::new()) });
        EMPTY.clone()
    }
}

/// The writers of whom `upto` has seen more than `since`, with both counters.
pub(crate) fn news(since: &VersionVector, upto: &VersionVector) -> impl Iterator<Item = (ReplicaId, u64, u64)> {
    upto.iter().map(|(replica, counter)| (replica, since.get(replica), counter)).filter(|(_, seen, upto)| seen < upto)
}

/// By inclusion; two versions that each saw something the other did not are not comparable.
impl PartialOrd for VersionVector {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.includes(other), other.includes(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

/// Of several counters for one writer the highest counts.
impl FromIterator<(ReplicaId, u64)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, u64)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().filter(|(_, counter)| *counter > 0).collect();
        // Highest counter first within a writer, so that `dedup` keeps it.
        entries.sort_unstable_by(|(ra, ca), (rb, cb)| ra.cmp(rb).then(cb.cmp(ca)));
        entries.dedup_by_key(|(replica, _)| *replica);
        Self { entries: Arc::new(entries) }
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(replica, counter)| (replica.to_string(), counter))).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn replica(n: u8) -> ReplicaId {
        ReplicaId::from([n; 16])
    }

    fn versions() -> impl Strategy<Value = BTreeMap<ReplicaId, u64>> {
        prop::collection::btree_map((0u8..8).prop_map(replica), 1u64..5, 0..6)
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_map(a in versions(), b in versions()) {
            let of = |m: &BTreeMap<ReplicaId, u64>| m.iter().map(|(r, c)| (*r, *c)).collect::<VersionVector>();
            let included = b.iter().all(|(r, c)| a.get(r).is_some_and(|d| d >= c));
            prop_assert_eq!(of(&a).includes(&of(&b)), included);
            let mut joined = a.clone();
            for (r, c) in &b {
                let entry = joined.entry(*r).or_default();
                *entry = (*entry).max(*c);
            }
            let mut v = of(&a);
            v.join(&of(&b));
            prop_assert_eq!(&v, &of(&joined));
            let mut w = of(&a);
            for (r, c) in &b {
                w.observe(Dot { replica: *r, counter: *c });
            }
            prop_assert_eq!(v, w);
        }
    }

    #[test]
    fn concurrent_versions_do_not_compare() {
        let a: VersionVector = [(replica(1), 1)].into_iter().collect();
        let b: VersionVector = [(replica(2), 1)].into_iter().collect();
        assert_eq!(a.partial_cmp(&b), None);
    }

    #[test]
    fn an_entry_set_to_nothing_is_gone() {
        let mut a: VersionVector = [(replica(1), 3)].into_iter().collect();
        a.set(replica(1), 0);
        assert_eq!(a, VersionVector::new());
    }
}
