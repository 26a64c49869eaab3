//! What a replica has seen and pruned: what peers tell each other before they sync.

use xxhash_rust::xxh3::Xxh3;

use crate::bugs::{Bug, is};
use crate::id::ReplicaId;
use crate::version::VersionVector;

/// What a replica has seen, and up to where it has pruned tombstones: all that a peer must know of it to cut a delta.
///
/// [`Devices`](crate::sync::Devices) remembers the last one that is common with each device, so that the next session tells
/// only what differs from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub(crate) version: VersionVector,
    /// Within `version`.
    pub(crate) pruned: VersionVector,
}

/// The counters of one writer in a standing: seen, pruned.
pub(crate) type Stand = (ReplicaId, u64, u64);

impl Standing {
    /// What was seen.
    pub fn version(&self) -> &VersionVector {
        &self.version
    }

    /// The join of all tombstones that were pruned.
    pub fn pruned(&self) -> &VersionVector {
        &self.pruned
    }

    /// One writer after the other, by id.
    pub(crate) fn stands(&self) -> impl Iterator<Item = Stand> + '_ {
        self.version.iter().map(|(replica, counter)| (replica, counter, self.pruned.get(replica)))
    }

    /// From writers in the order of their ids, none of whom was pruned beyond what was seen, or seen not at all.
    pub(crate) fn from_stands(stands: Vec<Stand>) -> Option<Self> {
        let ordered = stands.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ordered || stands.iter().any(|(_, counter, pruned)| *counter == 0 || pruned > counter) {
            return None;
        }
        let pruned = stands.iter().filter(|(.., pruned)| *pruned > 0).map(|(replica, _, pruned)| (*replica, *pruned));
        let pruned = VersionVector::from_sorted(pruned.collect());
        let version = stands.into_iter().map(|(replica, counter, _)| (replica, counter));
        Some(Self { version: VersionVector::from_sorted(version.collect()), pruned })
    }

    /// The writers that stand otherwise than in `base`, as they stand here; with zeros if they are not heard of here.
    pub(crate) fn changes_from(&self, base: &Self) -> Vec<Stand> {
        let (mut ours, mut theirs) = (self.stands().peekable(), base.stands().peekable());
        let mut changes = Vec::new();
        loop {
            match (ours.peek().copied(), theirs.peek().copied()) {
                (None, None) => return changes,
                (Some(our), Some(their)) if our.0 == their.0 => {
                    changes.extend((our != their).then_some(our));
                    ours.next();
                    theirs.next();
                }
                (Some(our), their) if their.is_none_or(|their| our.0 < their.0) => {
                    changes.push(our);
                    ours.next();
                }
                (_, Some((replica, ..))) => {
                    changes.push((replica, 0, 0));
                    theirs.next();
                }
                (Some(_), None) => {
                    ours.next();
                }
            }
        }
    }

    /// The inverse: what differs from `self` by these changes. `None` if they are out of order or make no sense.
    pub(crate) fn changed_by(&self, changes: &[Stand]) -> Option<Self> {
        let mut stands = Vec::with_capacity(self.version.len() + changes.len());
        let mut ours = self.stands().peekable();
        let told = changes.len().saturating_sub(usize::from(is(Bug::StandingForgets)));
        for change in &changes[..told] {
            while let Some(our) = ours.next_if(|our| our.0 < change.0) {
                stands.push(our);
            }
            ours.next_if(|our| our.0 == change.0);
            stands.extend((change.1 > 0 || change.2 > 0).then_some(*change));
        }
        stands.extend(ours);
        Self::from_stands(stands)
    }

    /// What two that met have in common, as both of them can tell: what both have seen, and what either has pruned of it.
    pub(crate) fn common(&self, other: &Self) -> Self {
        let version = self.version.meet(&other.version);
        let mut pruned = self.pruned.clone();
        pruned.join(&other.pruned);
        let pruned = pruned.meet(&version);
        Self { version, pruned }
    }

    /// Names a standing that somebody may know: 64 bits of XXH3.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for (replica, counter, pruned) in self.stands() {
            hasher.update(replica.as_bytes());
            hasher.update(&counter.to_le_bytes());
            hasher.update(&pruned.to_le_bytes());
        }
        hasher.digest()
    }
}

impl From<VersionVector> for Standing {
    /// Nothing of it pruned, as far as is known.
    fn from(version: VersionVector) -> Self {
        Self { version, pruned: VersionVector::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standings() -> impl Strategy<Value = Standing> {
        prop::collection::btree_map(0u8..12, (1u64..5, 0u64..5), 0..8).prop_map(|stands| {
            let stands = stands.into_iter().map(|(r, (c, p))| (ReplicaId::from([r; 16]), c, p.min(c)));
            Standing::from_stands(stands.collect()).unwrap()
        })
    }

    proptest! {
        #[test]
        fn changes_lead_from_one_to_the_other(a in standings(), b in standings()) {
            let changes = b.changes_from(&a);
            prop_assert_eq!(a.changed_by(&changes), Some(b.clone()));
            prop_assert_eq!(changes.is_empty(), a == b);
            prop_assert_eq!(a.digest() == b.digest(), a == b);
            prop_assert!(changes.iter().all(|(r, c, p)| (a.version.get(*r), a.pruned.get(*r)) != (*c, *p)));
        }

        #[test]
        fn what_two_have_in_common_is_the_same_for_both(a in standings(), b in standings()) {
            prop_assert_eq!(a.common(&b), b.common(&a));
            let common = a.common(&b);
            prop_assert!(a.version.includes(&common.version) && common.version.includes(&common.pruned));
            prop_assert_eq!(common.common(&common.clone()), common);
        }
    }

    #[test]
    fn changes_that_make_no_sense_are_none() {
        let (a, b) = (ReplicaId::from([1; 16]), ReplicaId::from([2; 16]));
        let base = Standing::default();
        assert_eq!(base.changed_by(&[(b, 1, 0), (a, 1, 0)]), None);
        assert_eq!(base.changed_by(&[(a, 1, 2)]), None);
        assert_eq!(base.changed_by(&[(a, 0, 1)]), None);
        assert_eq!(base.changed_by(&[(a, 1, 0), (a, 1, 0)]), None);
    }
}
