//! The delta that follows from the difference.

use crate::id::Dot;
use crate::kernel::{Crdt, CutError, Delta, DotSet};
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

    /// Returns the same delta, whatever was pruned since the live dots (`then`) were taken: a replica that writes and prunes all
    /// the time still gets to the end of each reconciliation. O(changes · log n + differences), or O(live) after pruning.
    ///
    /// If tombstones were pruned that neither version covers, cells no longer tell which dots died since. So the delta is cut
    /// from what was compared, and names all that died of it: which dots may still be alive at the peer follows from the
    /// difference. What the two had not compared it judges by what it holds. To name a dot that is dead at the peer as well
    /// changes nothing there.
    pub(crate) fn reconcile_moved(&self, difference: &Difference, then: &DotSet) -> Delta {
        if let Ok(delta) = self.reconcile_difference(difference) {
            return delta;
        }
        let Difference { theirs, common, .. } = difference;
        let mut there = difference.only_there().clone();
        let alive_in_both = |dot: &Dot| common.covers(*dot) && !difference.only_here().contains(*dot);
        then.iter().filter(alive_in_both).for_each(|dot| there.insert(dot));
        self.state().state().reconcile_common(T::SCHEMA, common, theirs, &there)
    }
}
