//! What changes in a replica, for whoever follows it.

use crate::diff::Diff;
use crate::kernel::Crdt;
use crate::replica::Replica;

/// Following what changes.
impl<T: Crdt> Replica<T> {
    /// What changed since a snapshot was taken, by edits and merges alike: see [`Diff::between`].
    pub fn diff(&self, older: &T) -> Diff<T> {
        Diff::between(older, &self.target)
    }
}
