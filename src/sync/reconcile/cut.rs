//! The delta that follows from the difference.

use crate::kernel::{Crdt, CutError, Delta};
use crate::replica::Replica;
use crate::sync::reconcile::descent::Difference;

impl<T: Crdt> Replica<T> {
    /// What the peer of a [`Reconciling`](crate::sync::Reconciling) lacks: the same as [`reconcile`](Self::reconcile)
    /// makes from all its live dots. O(changes · log n + differences).
    ///
    /// It may be cut later than the live dots were taken, with all that happened here since. But if tombstones were
    /// pruned meanwhile that were not here yet then, nothing tells the peer what they removed, and it fails: begin again.
    pub fn reconcile_difference(&self, difference: &Difference) -> Result<Delta, CutError> {
        let Difference { ours, theirs, common, .. } = difference;
        self.state().state().reconcile_since(T::SCHEMA, common, ours, theirs, difference.only_there())
    }
}
