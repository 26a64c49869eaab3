//! Group commit: who waits for durability shares one sync with all who wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::storage::{Storage, StorageError};

/// When what is written becomes durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Before the call that wrote it returns. Concurrent callers of a [`SharedStore`](crate::SharedStore) share one sync.
    #[default]
    Immediate,
    /// At most so long after it was written, by a thread of the store's own, or with [`flush`](crate::Store::flush). A crash loses
    /// what was written since; it is told to no peer before it is durable.
    Batched(Duration),
    /// With [`flush`](crate::Store::flush) alone, and when the store is closed.
    Manual,
}

/// Brings records to the medium.
#[derive(Debug)]
pub(crate) struct Committer {
    storage: Arc<dyn Storage>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the last record that is durable.
    durable: u64,
    /// A sync has failed: nobody knows what is durable beyond that.
    failed: Option<String>,
    /// Somebody syncs.
    syncing: bool,
    /// Number of the last record that was appended, as far as the flusher was told.
    appended: u64,
    stopped: bool,
}

impl Committer {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Arc<Self> {
        Arc::new(Self { storage, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Returns once the record of this number is durable.
    pub(crate) fn durable_to(&self, number: u64) -> Result<(), StorageError> {
        let mut state = self.lock();
        while state.durable < number {
            state.check()?;
            if state.syncing {
                // Whoever syncs may have begun before our record was there; then we are next.
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.syncing = true;
            drop(state);
            let syncing = Syncing { of: self, failed: Some("sync: the storage panicked".to_owned()) };
            let synced = self.storage.sync().and_then(|durable| match durable >= number {
                true => Ok(durable),
                false => Err(StorageError::Poisoned {
                    after: format!("sync: the storage says that {durable} is durable, and {number} was appended"),
                }),
            });
            syncing.end(synced.as_ref().err());
            state = self.lock();
            state.durable = state.durable.max(synced?);
        }
        Ok(())
    }

    /// Says whether a sync has failed.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        self.lock().check()
    }

    /// Number of the last record that is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.lock().durable
    }

    /// Tells the flusher of a record.
    pub(crate) fn appended(&self, number: u64) {
        self.lock().appended = number;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sync that is going on. Others go on when it ends, however it does.
struct Syncing<'a> {
    of: &'a Committer,
    failed: Option<String>,
}

impl Syncing<'_> {
    fn end(mut self, error: Option<&StorageError>) {
        self.failed = error.map(|error| format!("sync ({error})"));
    }
}

impl Drop for Syncing<'_> {
    fn drop(&mut self) {
        let mut state = self.of.lock();
        state.syncing = false;
        if let Some(failed) = self.failed.take() {
            state.failed.get_or_insert(failed);
        }
        self.of.changed.notify_all();
    }
}

impl State {
    fn check(&self) -> Result<(), StorageError> {
        self.failed.clone().map_or(Ok(()), |after| Err(StorageError::Poisoned { after }))
    }
}

/// A thread that syncs what was appended, at most so long after it was. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Flusher {
    committer: Arc<Committer>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Before each sync `begin` is called, and what it returns once the record of that number is durable as well.
    pub(crate) fn start(
        committer: &Arc<Committer>,
        delay: Duration,
        begin: impl Fn() -> (u64, Box<dyn FnOnce()>) + Send + 'static,
    ) -> std::io::Result<Self> {
        committer.lock().stopped = false;
        let of_thread = Arc::clone(committer);
        let run = move || {
            while let Some(number) = of_thread.wait_for_work(delay) {
                let (at_least, done) = begin();
                // A failed sync fails all that is written later, and says why there.
                if of_thread.durable_to(number.max(at_least)).is_err() {
                    return;
                }
                done();
            }
        };
        let thread = thread::Builder::new().name("driftless-store".to_owned()).spawn(run)?;
        Ok(Self { committer: Arc::clone(committer), thread: Some(thread) })
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.committer.lock().stopped = true;
        self.committer.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // If it panicked, the storage did, and the next write says so.
            let _ = thread.join();
        }
    }
}

impl Committer {
    /// Waits for a record that is not durable, and then for as long as it may stay so. Returns the last record; none when stopped.
    fn wait_for_work(&self, delay: Duration) -> Option<u64> {
        let state = self.lock();
        let idle = |state: &mut State| !state.stopped && state.appended <= state.durable;
        let state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let going = |state: &mut State| !state.stopped;
        let waited = self.changed.wait_timeout_while(state, delay, going).unwrap_or_else(PoisonError::into_inner);
        (!waited.0.stopped).then_some(waited.0.appended)
    }
}
