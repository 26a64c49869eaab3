//! `SharedStore<T>`: one store for many threads.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use driftless::{Crdt, Delta, Edit, EditError, MergeReport, Version};

use crate::commit::{Committer, Durability};
use crate::error::StoreError;
use crate::store::{Position, Store};

/// A [`Store`] for many threads: one writes at a time, all who wait for durability share one sync, and readers never wait.
///
/// What [`snapshot`](Self::snapshot) shows and [`watch`](Self::watch) tells is durable.
///
/// ```
/// use driftless::Graph;
/// use driftless_store::{SharedStore, Store};
/// # let directory = tempfile::tempdir()?;
/// let store = SharedStore::new(Store::<Graph>::open(directory.path())?)?;
/// let writers: Vec<_> = (0..4)
///     .map(|writer| {
///         let store = store.clone();
///         std::thread::spawn(move || store.edit(|g| g.add_node(format!("note:{writer}").as_str())).map(drop))
///     })
///     .collect();
/// for writer in writers {
///     writer.join().unwrap()?;
/// }
/// assert_eq!(store.snapshot().node_count(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The store is closed when the last clone and the last watcher are dropped.
pub struct SharedStore<T: Crdt> {
    shared: Arc<Shared<T>>,
}

struct Shared<T: Crdt> {
    store: Mutex<Store<T>>,
    committer: Arc<Committer>,
    durability: Durability,
    exports: bool,
    news: Arc<News<T>>,
}

/// What is durable, for readers and watchers.
struct News<T> {
    /// The position of the last write, and the state after it, for whoever syncs in batches.
    latest: Mutex<(Position, T)>,
    durable: Mutex<Durable<T>>,
    changed: Condvar,
}

struct Durable<T> {
    position: Position,
    value: T,
    /// How often it has changed.
    generation: u64,
    wakers: BTreeMap<u64, Waker>,
    watchers: u64,
}

impl<T: Crdt> SharedStore<T> {
    /// Shares a store.
    pub fn new(mut store: Store<T>) -> Result<Self, StoreError> {
        store.flush()?;
        let value = store.snapshot();
        let durable = Durable {
            position: store.position(),
            value: value.clone(),
            generation: 0,
            wakers: BTreeMap::new(),
            watchers: 0,
        };
        let news = Arc::new(News {
            latest: Mutex::new((store.position(), value)),
            durable: Mutex::new(durable),
            changed: Condvar::new(),
        });
        let of_flusher = Arc::clone(&news);
        store.flush_by_itself(move || {
            let (position, value) = of_flusher.latest().clone();
            let news = Arc::clone(&of_flusher);
            (position.0, Box::new(move || news.publish(position, value)))
        })?;
        let (committer, durability, exports) = (Arc::clone(&store.committer), store.durability(), store.is_exporting());
        Ok(Self { shared: Arc::new(Shared { store: Mutex::new(store), committer, durability, exports, news }) })
    }

    /// Edits the value, as [`Store::edit`] does. Others write while this one waits for the disk.
    ///
    /// Within the closure, and while a [`lock`](Self::lock) is held, the same thread may read snapshots; if it writes by the shared store,
    /// it waits for itself for ever.
    pub fn edit<R>(
        &self,
        edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, EditError>,
    ) -> Result<(R, Delta), StoreError> {
        let (edited, written) = {
            let mut store = self.locked();
            let edited = store.edit_unsynced(|value, _| edit(value).map_err(StoreError::Edit))?;
            (edited, self.written(&mut store))
        };
        self.settle(written)?;
        Ok(edited)
    }

    /// Merges a delta, as [`Store::merge`] does.
    pub fn merge(&self, delta: &Delta) -> Result<MergeReport<T>, StoreError> {
        let (report, written) = {
            let mut store = self.locked();
            let report = store.merge_unsynced(delta, |_| ())?;
            (report, self.written(&mut store))
        };
        self.settle(written)?;
        Ok(report)
    }

    /// Locks the store for whatever it can do: sessions, folders, the local table. Others wait meanwhile, but for readers.
    pub fn lock(&self) -> StoreGuard<'_, T> {
        StoreGuard { store: self.locked(), shown: Shown { shared: self, value: None } }
    }

    /// The value as it is durable. O(1); waits for nobody who writes or syncs.
    pub fn snapshot(&self) -> T {
        self.shared.news.durable().value.clone()
    }

    /// The version that is durable.
    pub fn version(&self) -> Version {
        self.snapshot().state().version().clone()
    }

    /// Makes all durable that was written so far.
    pub fn flush(&self) -> Result<(), StoreError> {
        let (position, value) = {
            let store = self.locked();
            (store.position(), store.snapshot())
        };
        self.shared.committer.durable_to(position.0)?;
        self.shared.news.publish(position, value);
        self.export();
        Ok(())
    }

    /// Writes a copy of the store: see [`Store::backup_to`]. Others write meanwhile.
    pub fn backup_to(&self, directory: impl AsRef<Path>) -> Result<(), StoreError> {
        let backup = self.locked().backup();
        backup.write_to(directory.as_ref())
    }

    /// Watches what becomes durable from now on.
    pub fn watch(&self) -> Watcher<T> {
        let mut durable = self.shared.news.durable();
        durable.watchers += 1;
        let (id, seen) = (durable.watchers, durable.generation);
        drop(durable);
        Watcher { store: self.clone(), id, seen }
    }

    fn locked(&self) -> MutexGuard<'_, Store<T>> {
        // An edit that panics has undone itself.
        self.shared.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state after a write, and where it is.
    fn written(&self, store: &mut Store<T>) -> (Position, T) {
        store.export_durable();
        store.compact_by_itself();
        let written = (store.position(), store.snapshot());
        if matches!(self.shared.durability, Durability::Batched(_)) {
            *self.shared.news.latest() = written.clone();
        }
        written
    }

    fn settle(&self, (position, value): (Position, T)) -> Result<(), StoreError> {
        if self.shared.durability == Durability::Immediate {
            self.shared.committer.durable_to(position.0)?;
            self.shared.news.publish(position, value);
            self.export();
        }
        Ok(())
    }

    /// Exports what has become durable.
    fn export(&self) {
        if self.shared.exports {
            self.locked().export_durable();
        }
    }
}

impl<T: Clone> News<T> {
    fn latest(&self) -> MutexGuard<'_, (Position, T)> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn durable(&self) -> MutexGuard<'_, Durable<T>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a state that is durable, unless a later one is shown.
    fn publish(&self, position: Position, value: T) {
        let mut durable = self.durable();
        if durable.position < position {
            (durable.position, durable.value) = (position, value);
            durable.generation += 1;
            self.changed.notify_all();
            let wakers = mem::take(&mut durable.wakers);
            // A waker may run its task at once, and that may read the store.
            drop(durable);
            wakers.into_values().for_each(Waker::wake);
        }
    }
}

impl<T: Crdt> Clone for SharedStore<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Crdt> fmt::Debug for SharedStore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore").field("durability", &self.shared.durability).finish_non_exhaustive()
    }
}

/// A locked store. What was done by it is shown to readers and watchers when it is dropped.
#[derive(Debug)]
pub struct StoreGuard<'a, T: Crdt> {
    store: MutexGuard<'a, Store<T>>,
    // Dropped after the store, which is unlocked by then: a task that is woken may lock it.
    shown: Shown<'a, T>,
}

/// The state that readers are shown once this is dropped.
#[derive(Debug)]
struct Shown<'a, T: Crdt> {
    shared: &'a SharedStore<T>,
    value: Option<(Position, T)>,
}

impl<T: Crdt> Drop for Shown<'_, T> {
    fn drop(&mut self) {
        if let Some((position, value)) = self.value.take() {
            self.shared.shared.news.publish(position, value);
        }
    }
}

impl<T: Crdt> Deref for StoreGuard<'_, T> {
    type Target = Store<T>;

    fn deref(&self) -> &Store<T> {
        &self.store
    }
}

impl<T: Crdt> DerefMut for StoreGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut Store<T> {
        &mut self.store
    }
}

impl<T: Crdt> Drop for StoreGuard<'_, T> {
    fn drop(&mut self) {
        let written = self.shown.shared.written(&mut self.store);
        self.shown.value = Some(written).filter(|_| self.store.is_durable());
    }
}

/// Tells what becomes durable: edits, merges, whatever changed. Several changes at once are told as one.
pub struct Watcher<T: Crdt> {
    store: SharedStore<T>,
    id: u64,
    /// The last change that was told.
    seen: u64,
}

impl<T: Crdt> Watcher<T> {
    /// Waits for a change, and returns the version that is durable then; none if there was no change for so long.
    pub fn wait(&mut self, timeout: Duration) -> Option<Version> {
        let news = &self.store.shared.news;
        let unchanged = |durable: &mut Durable<T>| durable.generation == self.seen;
        let (durable, _) =
            news.changed.wait_timeout_while(news.durable(), timeout, unchanged).unwrap_or_else(PoisonError::into_inner);
        let changed = durable.generation != self.seen;
        self.seen = durable.generation;
        changed.then(|| durable.value.state().version().clone())
    }

    /// Waits for a change in async code, whatever the runtime.
    pub async fn changed(&mut self) -> Version {
        std::future::poll_fn(|context| self.poll_changed(context)).await
    }

    /// Returns the version that is durable if it has changed since the last call; else wakes the task when it has.
    pub fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<Version> {
        let mut durable = self.store.shared.news.durable();
        if durable.generation == self.seen {
            durable.wakers.insert(self.id, context.waker().clone());
            return Poll::Pending;
        }
        self.seen = durable.generation;
        Poll::Ready(durable.value.state().version().clone())
    }
}

impl<T: Crdt> Drop for Watcher<T> {
    fn drop(&mut self) {
        self.store.shared.news.durable().wakers.remove(&self.id);
    }
}

impl<T: Crdt> fmt::Debug for Watcher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("seen", &self.seen).finish_non_exhaustive()
    }
}
