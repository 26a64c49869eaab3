//! A replica that tasks share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use driftless::{Crdt, Delta, Edit, EditError, Replica};
use tokio::sync::watch;

/// A replica behind a lock that is never held across an `.await`, and a signal for each change.
pub(crate) struct Shared<T: Crdt> {
    replica: Mutex<Replica<T>>,
    changed: watch::Sender<()>,
}

impl<T: Crdt> Shared<T> {
    pub(crate) fn new(replica: Replica<T>) -> Self {
        Self { replica: Mutex::new(replica), changed: watch::Sender::new(()) }
    }

    /// Locks the replica. An edit that panicked has left it as it was, so a poisoned lock is sound.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Replica<T>> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(self.lock().state())
    }

    /// Edits the replica and wakes all connections, which send the change.
    pub(crate) fn edit<R>(
        &self,
        edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, EditError>,
    ) -> Result<(R, Delta), EditError> {
        let result = self.lock().edit(edit)?;
        self.tell_changed();
        Ok(result)
    }

    /// Wakes all connections.
    pub(crate) fn tell_changed(&self) {
        self.changed.send_replace(());
    }

    /// A receiver that sees each change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
