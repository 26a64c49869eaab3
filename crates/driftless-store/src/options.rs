//! How a store is opened.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driftless::{Budget, Crdt, Environment, JournalLimit, SystemEnvironment};

use crate::audit::AuditLimit;
use crate::commit::Durability;
use crate::disk::{Disk, OsDisk};
use crate::error::StoreError;
use crate::export::{ExportLimit, ExportTo};
use crate::file::{FileOptions, FileStorage};
use crate::record::Clock;
use crate::storage::{Load, OpenProgress, Storage, StorageError};
use crate::store::Store;

/// How a store is opened.
///
/// ```
/// use std::time::Duration;
/// use driftless::Graph;
/// use driftless_store::{Durability, Options, Store};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// let store: Store<Graph> = Options::new()
///     .with_device("laptop")
///     .with_durability(Durability::Batched(Duration::from_millis(200)))
///     .waiting_for_lock(Duration::from_secs(5))
///     .open(path)?;
/// # drop(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Options {
    pub(crate) durability: Durability,
    pub(crate) device: Option<String>,
    pub(crate) clock: Clock,
    pub(crate) progress: Option<Box<dyn FnMut(OpenProgress)>>,
    /// None if it is switched off.
    pub(crate) budget: Option<Budget>,
    pub(crate) compaction_floor: u64,
    pub(crate) background: bool,
    pub(crate) points_limit: Option<usize>,
    pub(crate) audit: Option<AuditLimit>,
    pub(crate) journal: Option<JournalLimit>,
    pub(crate) export: Option<(ExportTo, ExportLimit)>,
    pub(crate) files: FileOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// The log in bytes below which it is not worth a checkpoint: one segment. With a fourth of it, a store of 10,000 nodes that is
    /// edited in large batches wrote two thirds more bytes and was a tenth slower.
    pub const COMPACTION_FLOOR: u64 = 4 * 1024 * 1024;

    /// Durable at once, pruned by the default [`Budget`], compacted beside writing, without waiting for a lock.
    pub fn new() -> Self {
        Self {
            durability: Durability::Immediate,
            device: None,
            clock: Clock::new(SystemEnvironment),
            progress: None,
            budget: Some(Budget::default()),
            compaction_floor: Self::COMPACTION_FLOOR,
            background: true,
            points_limit: None,
            audit: None,
            journal: None,
            export: None,
            files: FileOptions::default(),
        }
    }

    /// Says when what is written becomes durable.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Names the device, for conflicts and reports: see [`Replica::set_device`](driftless::Replica::set_device). Others who find the
    /// store open are told it as well.
    pub fn with_device(mut self, name: &str) -> Self {
        self.files.holder = format!("process {} on {name}", std::process::id());
        self.device = Some(name.to_owned());
        self
    }

    /// Waits at most so long for whoever has the store open, in place of failing at once.
    pub fn waiting_for_lock(mut self, wait: Duration) -> Self {
        self.files.wait = wait;
        self
    }

    /// Calls `progress` while the store is read.
    pub fn with_progress(mut self, progress: impl FnMut(OpenProgress) + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Takes the clock and the randomness from elsewhere than the system.
    pub fn with_environment(mut self, environment: impl Environment + 'static) -> Self {
        self.clock = Clock::new(environment);
        self
    }

    /// Prunes tombstones by themselves by this budget, and those that all [known devices](Store::devices) have seen; or switches
    /// both off.
    pub fn with_pruning(mut self, budget: Option<Budget>) -> Self {
        self.budget = budget;
        self
    }

    /// Begins a new segment of the log after so many bytes: 4 MiB if not said.
    pub fn with_segment_len(mut self, bytes: u64) -> Self {
        self.files.segment_len = bytes;
        self
    }

    /// Checkpoints once the log is longer than this and than the last checkpoint: [4 MiB](Self::COMPACTION_FLOOR) if not said.
    /// A shorter log is checkpointed too when it is scattered over more than 64 files, as by a command that opens the store for each
    /// edit. With `u64::MAX` only [`Store::compact`] does it.
    pub fn with_compaction_floor(mut self, bytes: u64) -> Self {
        self.compaction_floor = bytes;
        self
    }

    /// Has [`Store::set_point`] refuse once there are so many restore points, until one is removed. No limit if not said.
    pub fn with_points_limit(mut self, count: usize) -> Self {
        self.points_limit = Some(count);
        self
    }

    /// Keeps an [audit](Store::audit) of edits, merges and refusals, within limits. None is kept if not said.
    pub fn with_audit(mut self, limit: AuditLimit) -> Self {
        self.audit = Some(limit);
        self
    }

    /// Keeps a [`Journal`](driftless::Journal) of every change from the opening on, in memory: see
    /// [`Store::journal`]. None is kept if not said.
    pub fn with_journal(mut self, limit: JournalLimit) -> Self {
        self.journal = Some(limit);
        self
    }

    /// Writes every change, once it is durable, as one line of JSON into files `changes-<number>.jsonl` of a directory of its
    /// own, for other programs to follow. The number is that of the first line; what a line says see
    /// [`Entry`](driftless::Entry).
    ///
    /// Lines are numbered without gaps, also over openings and crashes. A number is skipped where changes were not recorded:
    /// when the export was off, when an old backup was restored, or after [failures](Store::export_error). While a
    /// store is [not `Immediate`](Durability), lines come with the next call after the sync, at the latest when it is flushed or
    /// closed.
    ///
    /// ```
    /// use driftless::Graph;
    /// use driftless_store::{ExportLimit, Options, Store};
    /// # let directory = tempfile::tempdir()?;
    /// # let (memory, changes) = (directory.path().join("memory"), directory.path().join("changes"));
    /// let mut store: Store<Graph> = Options::new().with_export(&changes, ExportLimit::default()).open(&memory)?;
    /// store.edit(|g| g.add_node("person:ada"))?;
    /// let lines = std::fs::read_to_string(changes.join("changes-00000000000000000001.jsonl"))?;
    /// assert!(lines.starts_with(r#"{"number":1,"#) && lines.contains("NodeAdded"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_export(mut self, directory: impl AsRef<Path>, limit: ExportLimit) -> Self {
        self.export = Some((ExportTo::Directory(directory.as_ref().to_owned()), limit));
        self
    }

    /// Writes every change to a [`Disk`] of its own: see [`with_export`](Self::with_export).
    pub fn with_export_on(mut self, disk: impl Disk, limit: ExportLimit) -> Self {
        self.export = Some((ExportTo::Disk(Arc::new(disk)), limit));
        self
    }

    /// Checkpoints within the call that makes the log too long, in place of beside it, in a thread.
    pub fn without_background(mut self) -> Self {
        self.background = false;
        self
    }

    /// Opens the store of a directory, and begins one if there is none.
    ///
    /// # Errors
    ///
    /// [`StorageError::Locked`] if it is open elsewhere; [`StorageError::Damaged`], [`Missing`](StorageError::Missing) and
    /// [`Foreign`](StorageError::Foreign) if what was durable is not there, with the file and what to do.
    pub fn open<T: Crdt>(self, directory: impl AsRef<Path>) -> Result<Store<T>, StoreError> {
        let disk = create(directory.as_ref())?;
        self.open_on(disk)
    }

    /// Opens the store of a [`Disk`].
    pub fn open_on<T: Crdt>(self, disk: impl Disk) -> Result<Store<T>, StoreError> {
        let storage = FileStorage::new(disk, &self.files)?;
        self.open_storage(storage)
    }

    /// Opens the store of a [`Storage`] that nothing was read of.
    pub fn open_storage<T: Crdt>(self, storage: impl Storage) -> Result<Store<T>, StoreError> {
        Store::load(storage, self, Load::Whole)
    }

    /// Opens what is whole of a damaged store: every record that checks and applies. What was lost is in
    /// [`Store::recovery`]; it comes back with the next sync from any peer that has it. Damaged files are set aside under names
    /// that begin with `damaged-`.
    ///
    /// ```no_run
    /// use driftless::Graph;
    /// use driftless_store::{Options, Store};
    /// let store: Store<Graph> = Options::new().salvage("memory/")?;
    /// for lost in &store.recovery().lost {
    ///     eprintln!("{} at {}: {}", lost.file, lost.offset, lost.what);
    /// }
    /// # Ok::<(), driftless_store::StoreError>(())
    /// ```
    pub fn salvage<T: Crdt>(self, directory: impl AsRef<Path>) -> Result<Store<T>, StoreError> {
        let directory = directory.as_ref();
        let disk =
            OsDisk::open(directory).map_err(|e| StorageError::io("open", &directory.display().to_string(), e))?;
        self.salvage_on(disk)
    }

    /// Opens what is whole of a damaged store on a [`Disk`].
    pub fn salvage_on<T: Crdt>(self, disk: impl Disk) -> Result<Store<T>, StoreError> {
        let storage = FileStorage::new(disk, &self.files)?;
        Store::load(storage, self, Load::Salvage)
    }
}

pub(crate) fn create(directory: &Path) -> Result<OsDisk, StorageError> {
    OsDisk::create(directory).map_err(|e| StorageError::io("create", &directory.display().to_string(), e))
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("durability", &self.durability)
            .field("device", &self.device)
            .field("budget", &self.budget)
            .field("compaction_floor", &self.compaction_floor)
            .field("background", &self.background)
            .field("points_limit", &self.points_limit)
            .field("audit", &self.audit)
            .field("journal", &self.journal)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}
