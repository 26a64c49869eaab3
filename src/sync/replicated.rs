//! The trait of all that sessions, folders and pumps read from and merge into.

use crate::error::Refused;
use crate::kernel::{Crdt, Delta, MergeError, RepairError};
use crate::replica::{Prune, Replica};
use crate::report::{MergeReport, Repair};

/// A [`Replica`], or a thing around one that every merge goes through: a store that makes it durable first, a gate that refuses what
/// may not come in.
///
/// Nothing that [`replica`](Self::replica) shows is told to a peer, and nothing that came is acknowledged, before
/// [`persist`](Self::persist) has returned: drivers, folders and pumps see to that. Whoever polls a
/// [`Session`](crate::sync::Session) by hand calls it before each poll.
///
/// Sessions, folders and pumps take any of them as `&mut dyn Replicated<T>`. What is refused with [`MergeError::Refused`] or
/// [`RepairError::Refused`] is acknowledged to nobody: a session ends with it, and a folder reads the file again by the next pull.
///
/// A gate that takes nothing from one writer:
///
/// ```
/// use driftless::sync::{self, Replicated};
/// use driftless::{
///     Crdt, Delta, Graph, MergeError, MergeReport, Prune, Refused, Repair, RepairError, Replica, WriterId,
/// };
///
/// struct Gate<'a> {
///     replica: &'a mut Replica<Graph>,
///     banned: WriterId,
/// }
///
/// impl Replicated<Graph> for Gate<'_> {
///     fn replica(&self) -> &Replica<Graph> {
///         self.replica
///     }
///     fn merge(&mut self, delta: &Delta) -> Result<MergeReport<Graph>, MergeError> {
///         if delta.upto().get(self.banned) > self.replica.version().get(self.banned) {
///             return Err(MergeError::Refused(Refused::new("it holds writes of a banned writer")));
///         }
///         self.replica.merge(delta)
///     }
///     fn repair(&mut self, theirs: &Delta) -> Result<Repair<Graph>, RepairError> {
///         self.replica.repair(theirs)
///     }
///     fn take_in(&mut self, theirs: &Delta) -> Result<Repair<Graph>, RepairError> {
///         Replicated::take_in(self.replica, theirs)
///     }
///     fn prune(&mut self, tombstones: Prune<'_>) -> usize {
///         self.replica.prune(tombstones)
///     }
/// }
///
/// let (mut ours, mut theirs) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// theirs.edit(|g| g.add_node("spam"))?;
/// let banned = theirs.writer().unwrap();
/// let refused = sync::in_memory(&mut Gate { replica: &mut ours, banned }, &mut theirs);
/// assert!(refused.is_err());
/// assert_eq!(ours.state().node_count(), 0);
/// # Ok::<(), driftless::EditError>(())
/// ```
pub trait Replicated<T: Crdt> {
    /// Returns the replica, to read.
    fn replica(&self) -> &Replica<T>;

    /// Merges a delta as [`Replica::merge`] does, or refuses it.
    ///
    /// # Errors
    ///
    /// Those of `Replica::merge`, and [`MergeError::Refused`]. Nothing has changed.
    fn merge(&mut self, delta: &Delta) -> Result<MergeReport<T>, MergeError>;

    /// Repairs as [`Replica::repair`] does, or refuses to.
    ///
    /// # Errors
    ///
    /// Those of `Replica::repair`, and [`RepairError::Refused`]. Nothing has changed.
    fn repair(&mut self, theirs: &Delta) -> Result<Repair<T>, RepairError>;

    /// Repairs by the complete delta of a state that has seen what the replica has seen, or less: of what it had seen, the two hold
    /// the same afterwards. Without a divergence nothing changes. Folders take in checkpoints so.
    ///
    /// # Errors
    ///
    /// As of [`repair`](Self::repair).
    fn take_in(&mut self, theirs: &Delta) -> Result<Repair<T>, RepairError>;

    /// Forgets tombstones as [`Replica::prune`] does, and returns how many.
    fn prune(&mut self, tombstones: Prune<'_>) -> usize;

    /// Makes all durable that the replica shows. As provided, there is nothing to do.
    ///
    /// # Errors
    ///
    /// If that fails: a session ends with [`SessionError::NotDurable`](crate::sync::SessionError::NotDurable), and a folder writes
    /// nothing.
    fn persist(&mut self) -> Result<(), Refused> {
        Ok(())
    }
}

impl<T: Crdt> Replicated<T> for Replica<T> {
    fn replica(&self) -> &Replica<T> {
        self
    }

    fn merge(&mut self, delta: &Delta) -> Result<MergeReport<T>, MergeError> {
        Self::merge(self, delta)
    }

    fn repair(&mut self, theirs: &Delta) -> Result<Repair<T>, RepairError> {
        Self::repair(self, theirs)
    }

    fn take_in(&mut self, theirs: &Delta) -> Result<Repair<T>, RepairError> {
        Self::take_in(self, theirs)
    }

    fn prune(&mut self, tombstones: Prune<'_>) -> usize {
        Self::prune(self, tombstones)
    }
}
