//! A replica at one moment, and what the model knows that it has seen.

use std::fmt;

use crate::kernel::{Crdt, CutError, Delta, DeltaKind, DotSet};
use crate::replica::Replica;
use crate::testing::history::Seen;
use crate::testing::{TestEnvironment, same};
use crate::version::Version;

pub(super) struct Point<T: Crdt> {
    pub(super) replica: Replica<T>,
    pub(super) seen: Seen,
}

/// A copy that nobody writes to, so the seed of its ids does not matter.
pub(super) fn copy<T: Crdt>(replica: &Replica<T>) -> Replica<T> {
    replica.fork_with(TestEnvironment::new(u64::MAX))
}

/// Says what differs between two values of the type, if they do: their states too, where they look alike.
pub(super) fn alike<T: Crdt + PartialEq + fmt::Debug>(
    what: impl fmt::Display,
    found: &T,
    expected: &T,
) -> Result<(), String> {
    let dots = |value: &T| value.state().live_dots();
    match found == expected {
        true => Ok(()),
        false => Err(format!(
            "{what}: found {found:?}, must be {expected:?}\nfound {:?} with {:?},\nmust be {:?} with {:?}",
            found.state(),
            dots(found),
            expected.state(),
            dots(expected),
        )),
    }
}

/// Takes a delta through its bytes. Decoding undoes encoding, and what was decoded encodes to the same bytes.
pub(super) fn carry(delta: &Delta) -> Result<Delta, String> {
    let bytes = delta.to_bytes();
    let arrived = Delta::from_bytes(&bytes).map_err(|e| format!("a delta that was just cut cannot be decoded: {e}"))?;
    same("a delta that was decoded", &arrived, delta)?;
    match arrived.to_bytes() == bytes {
        true => Ok(arrived),
        false => Err("a decoded delta encodes to other bytes".into()),
    }
}

impl<T: Crdt> Point<T> {
    pub(super) fn copy(&self) -> Self {
        Self { replica: copy(&self.replica), seen: self.seen.clone() }
    }

    pub(super) fn pruned(&self) -> &Version {
        self.replica.state().state().pruned()
    }

    /// What the other lacks: reconciled, if tombstones were pruned that it has not seen. What it asks by goes through bytes.
    pub(super) fn delta_for(&self, other: &Self) -> Result<Delta, String> {
        let at = Version::from_bytes(&other.replica.version().to_bytes()).map_err(|e| e.to_string())?;
        let live = DotSet::from_bytes(&other.replica.live_dots().to_bytes()).map_err(|e| e.to_string())?;
        let delta = match self.replica.delta_since(&at) {
            Ok(delta) => delta,
            Err(CutError::Pruned { .. }) => self.replica.reconcile(&at, &live),
        };
        carry(&delta)
    }

    /// What the receiver of this delta must have seen, which was cut for the other.
    pub(super) fn need(&self, delta: &Delta, other: &Self) -> Seen {
        match delta.kind() {
            DeltaKind::Complete => Seen::default(),
            DeltaKind::Reconciled { .. } => other.seen.clone(),
            // What the receiver has seen and the sender has not was not left out for its sake, unless it is told what is
            // dead.
            DeltaKind::Incremental => other.seen.meet(&self.seen),
        }
    }

    /// `self ⊔ δ`, where the delta was cut at `of`.
    pub(super) fn after(&self, delta: &Delta, of: &Self) -> Result<Self, String> {
        let mut joined = self.copy();
        joined.replica.merge(&carry(delta)?).map_err(|e| format!("a delta that applies was refused: {e}"))?;
        joined.seen.join(&of.seen);
        Ok(joined)
    }

    /// `self ⊔ other`, by everything that the other has.
    pub(super) fn join(&self, other: &Self) -> Result<Self, String> {
        self.after(&other.replica.complete(), other)
    }
}
