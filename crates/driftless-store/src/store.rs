//! `Store<T>`: a replica that survives anything that the machine does to it.

use std::fmt;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use driftless::sync::{Checkpoint, Devices, Options as SessionOptions, Replicated, Session, Staged};
use driftless::{
    Budget, Crdt, Delta, Edit, EditError, Environment, Fingerprint, Journal, JournalLimit, MergeError, MergeReport,
    Prune, Refused, Repair, RepairError, Replica, Version,
};

use crate::audit::{Audit, AuditAction, AuditEntry, Outgoing};
use crate::bugs::{Bug, is};
use crate::commit::{Committer, Durability, Flusher};
use crate::disk::OsDisk;
use crate::error::StoreError;
use crate::export::{Export, JOURNALED, MAX_WAITING, UNLIMITED};
use crate::file::FileStorage;
use crate::options::{self, Options};
use crate::record::{self, Clock, Kind, Loader};
use crate::storage::{BlobName, Load, Lost, Recovery, Storage, StorageError, Usage};
use crate::table::{Changes, OWN, Table, TableEdit, app_key};

const DEVICES: &[u8] = &[OWN, b'd'];
const STAGED: &str = "staged-";

/// A replica in a directory: every edit and merge is on the disk when it returns, unless [another durability](Durability) was asked
/// for, and it opens again whatever the machine did in between.
///
/// One process at a time has a store open. Reading is as from a [`Replica`], by [`state`](Self::state) and
/// [`snapshot`](Self::snapshot). For several threads there is [`SharedStore`](crate::SharedStore).
///
/// ```
/// use driftless::{Graph, NodeId};
/// use driftless_store::Store;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("memory");
///
/// let mut store = Store::<Graph>::open(&path)?; // begins one, or opens what is there
/// store.edit(|g| {
///     g.add_node("person:ada")?;
///     g.set(NodeId::named("person:ada"), "/name", "Ada Lovelace")
/// })?; // on the disk
/// drop(store);
///
/// let store = Store::<Graph>::open(&path)?;
/// assert!(store.state().node(NodeId::named("person:ada")).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it costs
///
/// An edit costs a write of its delta and some 60 bytes, and one sync. All of the state is in memory; opening reads all that is on
/// the disk. On the disk are the last checkpoint and the deltas since, at most about twice what is alive; while a checkpoint is
/// written beside the running log, three times.
///
/// # When something fails
///
/// | what | then |
/// |---|---|
/// | no room on the disk | the edit or merge fails with [`StorageError::Full`], and nothing has changed, in memory or on the disk; free some space and go on |
/// | a sync fails | nobody knows what is on the medium: all that follows fails with [`StorageError::Poisoned`] until the store is opened again |
/// | the process or the machine stops | opening takes all that was durable, and reports what was cut off ([`recovery`](Self::recovery)) |
/// | the medium rots | opening fails with the file and the place; [`Options::salvage`] goes on with what is whole, and peers bring back the rest |
pub struct Store<T: Crdt> {
    pub(crate) replica: Replica<T>,
    table: Table,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) committer: Arc<Committer>,
    durability: Durability,
    /// Number of the last record.
    pub(crate) last: u64,
    /// The number of checkpoints that were written because no record holds a change.
    repairs: u64,
    /// Why memory holds what the disk does not.
    ahead: Option<StorageError>,
    budget: Option<Budget>,
    pub(crate) clock: Clock,
    pub(crate) points_limit: Option<usize>,
    /// None if none is kept.
    audit: Option<Audit>,
    /// None if none is asked for; what is exported is journalled all the same.
    journal: Option<JournalLimit>,
    export: Option<Export>,
    recovery: Recovery,
    compaction: Compaction,
    /// Ends before the storage is closed.
    flusher: Option<Flusher>,
}

/// A log of more files than these, beside one for each so many bytes, is checkpointed however short it is: each file costs an
/// opening as much as some ten records.
const MAX_SHORT_FILES: u64 = 64;
const SHORT_FILE: u64 = 256 * 1024;

/// Number of the last record, and of the last repair.
pub(crate) type Position = (u64, u64);

/// When to checkpoint, and the checkpoint that is being written.
struct Compaction {
    floor: u64,
    background: bool,
    running: Option<JoinHandle<Result<(), StorageError>>>,
    /// The last failure, and the length of the log from which on the next try is worth it.
    failed: Option<(StorageError, u64)>,
    /// Live writes when the checkpoint was written that is on the disk.
    live_then: usize,
    /// Entries of the audit that the checkpoint takes out of the log.
    outgoing: Option<Arc<Outgoing>>,
}

/// What writes a checkpoint, and needs the store no longer.
type Job = Box<dyn FnOnce() -> Result<(), StorageError> + Send>;

/// Opening and closing.
impl<T: Crdt> Store<T> {
    /// Opens the store of a directory, and begins one if there is none. What can be chosen stands in [`Options`].
    ///
    /// # Errors
    ///
    /// See [`Options::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        Options::new().open(directory)
    }

    pub(crate) fn load(storage: impl Storage, options: Options, load: Load) -> Result<Self, StoreError> {
        let Options {
            durability,
            device,
            clock,
            mut progress,
            budget,
            compaction_floor,
            background,
            points_limit,
            audit,
            journal,
            export,
            files,
        } = options;
        let export = export.map(|(to, limit)| Export::open(to, limit, &files)).transpose()?;
        let progress = progress.as_mut().map(|progress| &mut **progress as &mut dyn FnMut(_));
        let exported = export.as_ref().map(Export::last);
        let mut loader = Loader::<T>::new(clock.clone(), budget, progress).exporting(exported);
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let mut recovery = storage.load(T::SCHEMA, load, &mut loader)?;
        let Loader { mut replica, mut table, audit: logged, journaled, .. } = loader;
        let journal_from = export.as_ref().and_then(|export| {
            recovery.lost.extend(not_exported(export, journaled));
            let follows = replica.journal().is_some_and(|journal| journal.last() >= export.last());
            let is_first = replica.version().is_empty() && export.last() == 0;
            (!follows).then(|| if is_first { 0 } else { export.last() + 1 })
        });
        if let Some(number) = journal_from {
            replica.keep_journal_after(number, UNLIMITED);
        } else if let (None, Some(limit)) = (&export, journal) {
            replica.keep_journal(limit);
        }
        table.set(JOURNALED, journaled_as(&replica, &export).as_deref());
        if let Some(device) = &device {
            replica.set_device(device);
        }
        let audit = match audit.map(|limit| Audit::load(&*storage, limit, device, logged)).transpose()? {
            Some((audit, mut lost)) => {
                recovery.lost.append(&mut lost);
                Some(audit)
            }
            None => None,
        };
        if load == Load::Salvage {
            if let Some(outgoing) = audit.as_ref().and_then(Audit::outgoing) {
                outgoing.write(&*storage)?;
            }
            let parts = record::encode_checkpoint(&replica, &table);
            storage.replace(&parts.each_ref().map(|part| &part[..]))?;
        }
        let committer = Committer::new(Arc::clone(&storage));
        let live_then = replica.state().state().live_len();
        let compaction =
            Compaction { floor: compaction_floor, background, running: None, failed: None, live_then, outgoing: None };
        let mut store = Self {
            replica,
            table,
            storage,
            committer,
            durability,
            last: 0,
            repairs: 0,
            ahead: None,
            budget,
            clock,
            points_limit,
            audit,
            journal,
            export,
            recovery,
            compaction,
            flusher: None,
        };
        if journal_from.is_some() && load == Load::Whole {
            let mut changes = Changes::default();
            changes.set(JOURNALED.to_vec(), journaled_as(&store.replica, &store.export));
            store.append(Kind::Table, None, &changes, None)?;
            store.committer.durable_to(store.last)?;
        }
        store.recorded();
        store.export_durable();
        store.flush_by_itself(|| (0, Box::new(|| ())))?;
        Ok(store)
    }

    /// Starts the thread that syncs in batches, in place of the one before: see [`Flusher::start`].
    pub(crate) fn flush_by_itself(
        &mut self,
        begin: impl Fn() -> (u64, Box<dyn FnOnce()>) + Send + 'static,
    ) -> Result<(), StorageError> {
        if let Durability::Batched(delay) = self.durability {
            self.flusher = None;
            let started = Flusher::start(&self.committer, delay, begin);
            self.flusher = Some(started.map_err(|error| StorageError::io("start a thread for", "the store", error))?);
        }
        Ok(())
    }

    /// Takes over what an app kept by itself: bytes of [`Replica::save`], and deltas since. The directory must hold no store yet.
    ///
    /// ```
    /// use driftless::{Graph, Replica};
    /// use driftless_store::Store;
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("memory");
    /// # let mut replica = Replica::<Graph>::new();
    /// # replica.edit(|g| g.add_node("person:ada"))?;
    /// # let (saved, log) = (replica.save(), Vec::<driftless::Delta>::new());
    /// let store = Store::<Graph>::import(&path, &saved, &log)?;
    /// assert_eq!(store.state().node_count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the bytes are no saved state of the type, if a delta does not apply, or if there is a store. Then nothing was written.
    pub fn import<'a>(
        directory: impl AsRef<Path>,
        saved: &[u8],
        log: impl IntoIterator<Item = &'a Delta>,
    ) -> Result<Self, StoreError> {
        let mut replica = Replica::<T>::load(saved)?;
        for delta in log {
            replica.replay(delta)?;
        }
        let disk = options::create(directory.as_ref())?;
        let parts = record::encode_checkpoint(&replica, &Table::default());
        FileStorage::create(&disk, T::SCHEMA, &parts.each_ref().map(|part| &part[..]), std::iter::empty())?;
        Self::open(directory)
    }

    /// What the opening found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Closes the store: all is durable, and the next opening need not write the end of the log anew. Dropping does the same, but
    /// can report nothing.
    ///
    /// If it is time for a checkpoint, one is written.
    pub fn close(mut self) -> Result<(), StoreError> {
        let flushed = self.flush();
        // One may be running that began long ago.
        let mut compacted = self.wait_for_compaction();
        if flushed.is_ok() && compacted.is_ok() {
            self.compact_by_itself();
            compacted = self.wait_for_compaction();
        }
        flushed?;
        Ok(compacted?)
    }

    /// Reads a store that may be open elsewhere, without its lock: what was durable when reading began, and perhaps more.
    ///
    /// # Errors
    ///
    /// [`StorageError::NoStore`] if there is none; damage as in [`Options::open`].
    pub fn read(directory: impl AsRef<Path>) -> Result<T, StoreError> {
        let disk = at(directory.as_ref())?;
        let (loader, _) = FileStorage::read(&disk, T::SCHEMA, Loader::<T>::to_read)?;
        Ok(loader.replica.snapshot())
    }

    /// Looks at every byte of a store that is not open, and changes nothing. In the report, [`Recovery::lost`] is all damage that was
    /// found; opening it would tell of the first.
    pub fn verify(directory: impl AsRef<Path>) -> Result<Recovery, StoreError> {
        let disk = at(directory.as_ref())?;
        Ok(FileStorage::verify(&disk, T::SCHEMA, &mut Loader::<T>::to_read())?)
    }

    /// Writes a copy of the store, as it is now, into a directory that holds none, and opens it to see that it is whole. The store
    /// goes on meanwhile.
    ///
    /// A restored backup is one more opening: nothing collides, and what was written since comes back from peers.
    ///
    /// The copy is cut at once; writing it takes O(n).
    pub fn backup_to(&self, directory: impl AsRef<Path>) -> Result<(), StoreError> {
        self.backup().write_to(directory.as_ref())
    }

    /// All that a backup holds. O(1).
    pub(crate) fn backup(&self) -> Backup<T> {
        let (replica, table) = (self.replica.fork(), self.table.clone());
        Backup { replica, table, storage: Arc::clone(&self.storage) }
    }
}

/// A store at a moment.
pub(crate) struct Backup<T: Crdt> {
    replica: Replica<T>,
    table: Table,
    storage: Arc<dyn Storage>,
}

impl<T: Crdt> Backup<T> {
    pub(crate) fn write_to(self, directory: &Path) -> Result<(), StoreError> {
        let Self { replica, table, storage } = self;
        let disk = options::create(directory)?;
        let parts = record::encode_checkpoint(&replica, &table);
        let blobs = storage.blobs()?.into_iter().filter(|name| !name.as_str().starts_with(STAGED));
        let blobs = blobs.filter_map(|name| storage.blob(&name).transpose().map(|blob| blob.map(|blob| (name, blob))));
        FileStorage::create(&disk, T::SCHEMA, &parts.each_ref().map(|part| &part[..]), blobs)?;
        let (copy, _) = FileStorage::read(&disk, T::SCHEMA, Loader::<T>::to_read)?;
        match copy.replica.statement() == replica.statement() {
            true => Ok(()),
            false => {
                Err(StorageError::damaged("checkpoint", 0, "the backup does not hold what the store holds").into())
            }
        }
    }
}

fn at(directory: &Path) -> Result<OsDisk, StorageError> {
    let location = directory.display().to_string();
    match OsDisk::open(directory) {
        Ok(disk) => Ok(disk),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(StorageError::NoStore { location }),
        Err(error) => Err(StorageError::io("open", &location, error)),
    }
}

/// Reading.
impl<T: Crdt> Store<T> {
    /// The value as it stands.
    pub fn state(&self) -> &T {
        self.replica.state()
    }

    /// The value as it stands, to keep: O(1), unmoved by whatever is written later, and readable from other threads.
    pub fn snapshot(&self) -> T {
        self.replica.snapshot()
    }

    /// The replica, to read.
    ///
    /// A delta that is cut from it holds what is not durable yet, if the store is not [`Immediate`](Durability::Immediate): call
    /// [`flush`](Self::flush) before it is sent. What was told and then lost costs no data, but a head in every version for good.
    pub fn replica(&self) -> &Replica<T> {
        &self.replica
    }

    /// Everything that the replica has seen.
    pub fn version(&self) -> &Version {
        self.replica.version()
    }

    /// The fingerprint of all that is alive.
    pub fn fingerprint(&self) -> Fingerprint {
        self.replica.fingerprint()
    }

    /// Returns the value under a key of the local table, which is never replicated.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.table.get(app_key(key.as_ref()))
    }

    /// Returns the entries of the local table whose keys begin with `prefix`, in the order of the keys' bytes.
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> impl Iterator<Item = (&[u8], &[u8])> + '_ {
        self.table.scan(app_key(prefix.as_ref())).map(|(key, value)| (key.get(1..).unwrap_or_default(), value))
    }

    /// How much there is on the disk, and what was written.
    pub fn usage(&self) -> Usage {
        self.storage.usage()
    }
}

/// Writing.
impl<T: Crdt> Store<T> {
    /// Edits the value, as [`Replica::edit`] does. Durable when it returns.
    ///
    /// # Errors
    ///
    /// If the closure fails, or the delta cannot be logged: then nothing has changed. If the sync fails, the edit is in memory and
    /// perhaps on the disk, and the store is poisoned.
    pub fn edit<R>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, EditError>,
    ) -> Result<(R, Delta), StoreError> {
        self.try_edit(|value| edit(value).map_err(StoreError::Edit))
    }

    /// Edits the value with a closure that fails with an error type of the caller's own, as [`Replica::try_edit`] does.
    pub fn try_edit<R, E: From<StoreError>>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, E>,
    ) -> Result<(R, Delta), E> {
        self.try_edit_with(|value, _| edit(value))
    }

    /// Edits the value and the local table: both are there, or neither.
    ///
    /// ```
    /// use driftless::Graph;
    /// use driftless_store::{Store, StoreError};
    /// # let directory = tempfile::tempdir()?;
    /// let mut store = Store::<Graph>::open(directory.path())?;
    /// store.try_edit_with(|g, table| {
    ///     g.add_node("mail:17").map_err(StoreError::from)?;
    ///     table.put("cursor", b"17");
    ///     Ok::<_, StoreError>(())
    /// })?;
    /// assert_eq!(store.get("cursor"), Some(&b"17"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_edit_with<R, E: From<StoreError>>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_, T>, &mut TableEdit<'_>) -> Result<R, E>,
    ) -> Result<(R, Delta), E> {
        let result = self.edit_unsynced(edit)?;
        self.settle().map_err(StoreError::from)?;
        Ok(result)
    }

    /// Changes the local table alone.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), StoreError> {
        self.edit_table(|table| table.put(key, value))
    }

    /// Removes an entry of the local table.
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> Result<(), StoreError> {
        self.edit_table(|table| table.remove(key))
    }

    /// Changes the local table alone, all or nothing.
    pub fn edit_table(&mut self, edit: impl FnOnce(&mut TableEdit<'_>)) -> Result<(), StoreError> {
        let mut changes = Changes::default();
        edit(&mut TableEdit::new(&self.table, &mut changes));
        self.change_table(changes)
    }

    fn change_table(&mut self, changes: Changes) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.append(Kind::Table, None, &changes, None)?;
        changes.apply(&mut self.table);
        self.settle()?;
        Ok(())
    }

    /// Merges a delta, as [`Replica::merge`] does. Durable when it returns: only then may it be acknowledged.
    ///
    /// # Errors
    ///
    /// As of `Replica::merge`, or if the delta cannot be logged: then nothing has changed.
    pub fn merge(&mut self, delta: &Delta) -> Result<MergeReport<T>, StoreError> {
        self.merge_with(delta, |_| ())
    }

    /// Merges a delta and changes the local table: both are there, or neither.
    pub fn merge_with(
        &mut self,
        delta: &Delta,
        edit: impl FnOnce(&mut TableEdit<'_>),
    ) -> Result<MergeReport<T>, StoreError> {
        let report = self.merge_unsynced(delta, edit)?;
        self.settle()?;
        Ok(report)
    }

    /// Merges a delta that this device made by [`edit`](Self::edit) and kept elsewhere, as [`Replica::replay`] does.
    pub fn replay(&mut self, delta: &Delta) -> Result<MergeReport<T>, StoreError> {
        let report = self.log_and_merge(Kind::Edit, delta, Changes::default())?;
        self.settle()?;
        Ok(report)
    }

    /// Repairs, as [`Replica::repair`] does. Writes a checkpoint, O(n), which is durable when it returns.
    pub fn repair(&mut self, theirs: &Delta) -> Result<Repair<T>, StoreError> {
        self.repair_by(|replica| replica.repair(theirs))
    }

    fn repair_by(
        &mut self,
        repair: impl FnOnce(&mut Replica<T>) -> Result<Repair<T>, RepairError>,
    ) -> Result<Repair<T>, StoreError> {
        self.check()?;
        let repair = repair(&mut self.replica)?;
        // What a repair does depends on tombstones, which the log does not follow.
        self.checkpoint_or_be_ahead()?;
        self.recorded();
        self.audit_alone(AuditAction::Repair, 0, None)?;
        self.export_durable();
        Ok(repair)
    }

    /// Forgets tombstones, as [`Replica::prune`] does. They are gone from the disk with the next checkpoint.
    pub fn prune(&mut self, tombstones: Prune<'_>) -> usize {
        self.replica.prune(tombstones)
    }

    /// Has the next write draw a writer of its own: see [`Replica::new_writer`].
    pub fn new_writer(&mut self) {
        self.replica.new_writer();
    }

    /// Makes all durable that was written so far.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.check()?;
        self.committer.durable_to(self.last)?;
        self.export_durable();
        Ok(())
    }

    /// Says whether more can be written. If not, the store has to be opened again.
    pub fn health(&self) -> Result<(), StoreError> {
        self.check()?;
        Ok(self.storage.health()?)
    }

    /// True if all that was written is durable.
    pub fn is_durable(&self) -> bool {
        self.ahead.is_none() && self.committer.durable() >= self.last
    }

    pub(crate) fn edit_unsynced<R, E: From<StoreError>>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_, T>, &mut TableEdit<'_>) -> Result<R, E>,
    ) -> Result<(R, Delta), E> {
        self.check().map_err(StoreError::from)?;
        let (mut changes, mut logged) = (Changes::default(), None);
        let (storage, table, audit, clock) = (&self.storage, &self.table, &self.audit, &mut self.clock);
        let edited = {
            let changes = std::cell::RefCell::new(&mut changes);
            self.replica.try_edit_with(
                |value| edit(value, &mut TableEdit::new(table, &mut changes.borrow_mut())),
                |_, delta| {
                    let changes = changes.borrow();
                    if delta.is_empty() && changes.is_empty() {
                        return Ok(());
                    }
                    let audit = audit.as_ref().filter(|_| !delta.is_empty());
                    let entry = audit.map(|audit| audit.entry(AuditAction::Edit, clock.now_ms(), delta.len() as u64));
                    let (kind, delta) = if delta.is_empty() { (Kind::Table, None) } else { (Kind::Edit, Some(delta)) };
                    let number = if is(Bug::TableApart) {
                        let apart = storage.append(&record::encode(kind, delta, &Changes::default(), entry.as_ref()));
                        apart.and_then(|_| storage.append(&record::encode(Kind::Table, None, &changes, None)))
                    } else {
                        storage.append(&record::encode(kind, delta, &changes, entry.as_ref()))
                    };
                    logged = Some((number.map_err(|error| E::from(StoreError::Storage(error)))?, entry));
                    Ok(())
                },
            )
        };
        let edited = edited?;
        if let Some((number, entry)) = logged {
            self.appended(number);
            self.audited(entry);
            self.recorded();
        }
        changes.apply(&mut self.table);
        Ok(edited)
    }

    pub(crate) fn merge_unsynced(
        &mut self,
        delta: &Delta,
        edit: impl FnOnce(&mut TableEdit<'_>),
    ) -> Result<MergeReport<T>, StoreError> {
        let mut changes = Changes::default();
        edit(&mut TableEdit::new(&self.table, &mut changes));
        self.log_and_merge(Kind::Merge, delta, changes)
    }

    fn log_and_merge(&mut self, kind: Kind, delta: &Delta, changes: Changes) -> Result<MergeReport<T>, StoreError> {
        self.check()?;
        if let Err(error) = self.replica.check(delta) {
            self.audit_refusal(delta, &error)?;
            return Err(error.into());
        }
        let merge = |replica: &mut Replica<T>| match kind {
            Kind::Edit => replica.replay(delta),
            _ => replica.merge(delta),
        };
        if is(Bug::MergedBeforeLogged) {
            let report = merge(&mut self.replica)?;
            self.append(kind, Some(delta), &changes, None)?;
            return Ok(report);
        }
        let is_known = self.replica.version().includes(delta.upto());
        let action = if kind == Kind::Edit { AuditAction::Replay } else { AuditAction::Merge };
        let mut entry = if is_known { None } else { self.audit_entry(action, delta.len()) };
        match (is_known, changes.is_empty()) {
            // It changes nothing, or a content that loses its dot: see below.
            (true, true) => {}
            (true, false) => self.append(Kind::Table, None, &changes, None)?,
            (false, _) => self.append(kind, Some(delta), &changes, entry.as_ref())?,
        }
        let report = merge(&mut self.replica)?;
        changes.apply(&mut self.table);
        if let Some(entry) = &mut entry {
            (entry.opened, entry.closed) = (report.opened().count() as u64, report.closed().count() as u64);
        }
        self.audited(entry);
        self.recorded();
        if report.is_doubled() {
            // Two contents of one dot: what becomes of them depends on tombstones, which the log does not follow.
            self.checkpoint_or_be_ahead()?;
        }
        Ok(report)
    }

    fn append(
        &mut self,
        kind: Kind,
        delta: Option<&Delta>,
        changes: &Changes,
        entry: Option<&AuditEntry>,
    ) -> Result<(), StorageError> {
        self.check()?;
        let number = self.storage.append(&record::encode(kind, delta, changes, entry))?;
        self.appended(number);
        Ok(())
    }

    fn appended(&mut self, number: u64) {
        self.last = number;
        if matches!(self.durability, Durability::Batched(_)) {
            self.committer.appended(number);
        }
    }

    /// Makes durable what was written, if that is not left for later, and checkpoints if it is time.
    fn settle(&mut self) -> Result<(), StorageError> {
        if self.durability == Durability::Immediate {
            self.committer.durable_to(self.last)?;
        }
        self.export_durable();
        self.compact_by_itself();
        Ok(())
    }

    fn check(&self) -> Result<(), StorageError> {
        match &self.ahead {
            Some(error) => Err(StorageError::Poisoned { after: format!("checkpoint a repair ({error})") }),
            None => self.committer.check(),
        }
    }

    /// The position of the last write. It grows with all that is written.
    pub(crate) fn position(&self) -> Position {
        (self.last, self.repairs)
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }
}

/// Journal.
impl<T: Crdt> Store<T> {
    /// The changes since the opening, if they are [kept](Options::with_journal).
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.and(self.replica.journal())
    }

    /// The reason why the last changes could not be [exported](Options::with_export), if they could not. They are tried again
    /// with each call; those that no longer fit into 64 MiB of memory are left out, and the numbers of lines show it.
    pub fn export_error(&self) -> Option<&StorageError> {
        self.export.as_ref().and_then(Export::error)
    }

    pub(crate) fn is_exporting(&self) -> bool {
        self.export.is_some()
    }

    /// Notes that the last entries of the journal belong to the last record.
    fn recorded(&mut self) {
        if let (Some(export), Some(journal)) = (&mut self.export, self.replica.journal()) {
            export.recorded(self.last, journal.last());
        }
    }

    /// Exports the changes that are durable, and forgets what need not be kept.
    pub(crate) fn export_durable(&mut self) {
        let Some(export) = &mut self.export else { return };
        let waits = |replica: &Replica<T>| replica.journal().is_some_and(|journal| journal.bytes() > MAX_WAITING);
        if waits(&self.replica) {
            // A failure fails whatever is written next.
            let _ = self.committer.durable_to(self.last);
        }
        if let Some(journal) = self.replica.journal() {
            export.write(journal, self.committer.durable());
        }
        let limit = match export.is_done() {
            true => self.journal.unwrap_or(JournalLimit { entries: 0, bytes: 0 }),
            false if waits(&self.replica) => JournalLimit { entries: usize::MAX, bytes: MAX_WAITING },
            false => return,
        };
        self.replica.keep_journal(limit);
        self.replica.keep_journal(UNLIMITED);
    }
}

/// The number that the journal has reached, as a checkpoint holds it; none if changes are not exported.
fn journaled_as<T: Crdt>(replica: &Replica<T>, export: &Option<Export>) -> Option<Vec<u8>> {
    export.as_ref().and(replica.journal()).map(|journal| journal.last().to_le_bytes().to_vec())
}

/// Changes before the checkpoint that the files of an export do not hold.
fn not_exported(export: &Export, journaled: Option<u64>) -> Option<Lost> {
    let (file, offset) = export.newest()?;
    let upto = journaled.filter(|upto| *upto > export.last())?;
    let what = format!("the changes {} to {upto} were not exported", export.last() + 1);
    Some(Lost { file: file.to_owned(), offset, bytes: 0, what })
}

/// Audit.
impl<T: Crdt> Store<T> {
    /// Returns the entries of the audit, oldest first; nothing if none is [kept](Options::with_audit).
    ///
    /// The entry of an edit or a merge is durable exactly when that is; one of a refusal or a repair with the next sync.
    ///
    /// ```
    /// use driftless::{Graph, Replica};
    /// use driftless_store::{AuditAction, AuditLimit, MemoryStorage, Options};
    /// let options = Options::new().with_device("laptop").with_audit(AuditLimit::default());
    /// let mut store = options.open_storage::<Graph>(MemoryStorage::new())?;
    /// store.edit(|g| g.add_node("person:ada"))?;
    /// let mut phone = Replica::<Graph>::new();
    /// let (_, delta) = phone.edit(|g| g.add_node("person:bob"))?;
    /// store.set_origin(Some("phone"));
    /// store.merge(&delta)?;
    /// let [edit, merge] = &store.audit()?[..] else { panic!() };
    /// assert_eq!((edit.action, edit.device.as_deref()), (AuditAction::Edit, Some("laptop")));
    /// assert_eq!((merge.action, merge.origin.as_deref()), (AuditAction::Merge, Some("phone")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn audit(&self) -> Result<Vec<AuditEntry>, StoreError> {
        Ok(self.audit.as_ref().map_or(Ok(Vec::new()), |audit| audit.entries(&*self.storage))?)
    }

    /// Says where what is written next comes from, for the audit: a device, an address, a file; whoever gave the order for an edit. It
    /// holds until it is set anew.
    pub fn set_origin(&mut self, origin: Option<&str>) {
        if let Some(audit) = &mut self.audit {
            audit.origin = origin.map(str::to_owned);
        }
    }

    fn audit_entry(&mut self, action: AuditAction, writes: usize) -> Option<AuditEntry> {
        let now = self.clock.now_ms();
        self.audit.as_ref().map(|audit| audit.entry(action, now, writes as u64))
    }

    fn audited(&mut self, entry: Option<AuditEntry>) {
        if let (Some(audit), Some(entry)) = (&mut self.audit, entry) {
            audit.push(entry);
        }
    }

    fn audit_refusal(&mut self, delta: &Delta, error: &MergeError) -> Result<(), StorageError> {
        // A gap is no fault of anybody's: the peer sends more.
        match error {
            MergeError::Gap { .. } => Ok(()),
            error => {
                self.audit_alone(AuditAction::Refused, delta.len(), Some(error.to_string()))?;
                // Nothing else would ever shorten the log if a peer sends nothing but what is refused.
                self.compact_by_itself();
                Ok(())
            }
        }
    }

    /// Logs an entry without a delta.
    fn audit_alone(&mut self, action: AuditAction, writes: usize, reason: Option<String>) -> Result<(), StorageError> {
        let Some(entry) = self.audit_entry(action, writes) else { return Ok(()) };
        let entry = AuditEntry { reason, ..entry };
        self.append(Kind::Table, None, &Changes::default(), Some(&entry))?;
        self.audited(Some(entry));
        Ok(())
    }
}

/// Checkpoints.
impl<T: Crdt> Store<T> {
    /// Writes a checkpoint, O(n), and drops the log before it. Returns when it is durable.
    ///
    /// A store does this by itself, beside writing, once the log is longer than the last checkpoint and than
    /// [a floor](Options::with_compaction_floor), or when the checkpoint is twice what is alive.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.wait_for_compaction().ok();
        self.check()?;
        Ok(self.compact_now()?)
    }

    fn compact_now(&mut self) -> Result<(), StorageError> {
        // Then all that memory holds is durable afterwards, and known to be.
        self.committer.durable_to(self.last)?;
        let done = self.start_compaction().and_then(|job| job());
        self.note_compaction(done)
    }

    /// The reason why the last checkpoint could not be written, if it could not. It is tried again when the log has grown.
    pub fn compaction_error(&self) -> Option<&StorageError> {
        self.compaction.failed.as_ref().map(|(error, _)| error)
    }

    fn checkpoint_or_be_ahead(&mut self) -> Result<(), StorageError> {
        self.wait_for_compaction().ok();
        self.compact_now().inspect_err(|error| self.ahead = Some(error.clone()))?;
        self.repairs += 1;
        Ok(())
    }

    /// Checkpoints beside writing if it is time. A failure is kept for [`compaction_error`](Self::compaction_error).
    pub(crate) fn compact_by_itself(&mut self) {
        let is_done = self.compaction.running.as_ref().is_none_or(JoinHandle::is_finished);
        if !is_done || (self.compaction.running.is_some() && self.wait_for_compaction().is_err()) {
            return;
        }
        let usage = self.storage.usage();
        let live = self.replica.state().state().live_len();
        let is_long =
            usage.log > self.compaction.floor && (usage.log > usage.checkpoint || live < self.compaction.live_then / 2);
        // A command that opens the store for each edit begins a file each time.
        let is_scattered = usage.files > MAX_SHORT_FILES + usage.log / SHORT_FILE && self.compaction.floor < u64::MAX;
        let is_worth_it = is_long || is_scattered;
        let failed_before = self.compaction.failed.as_ref().is_some_and(|(_, from)| usage.log < *from);
        if !is_worth_it || failed_before {
            return;
        }
        let job = match self.start_compaction() {
            Ok(job) if self.compaction.background => {
                match thread::Builder::new().name("driftless-checkpoint".to_owned()).spawn(job) {
                    Ok(thread) => return self.compaction.running = Some(thread),
                    Err(error) => Err(StorageError::io("start a thread for", "a checkpoint", error)),
                }
            }
            Ok(job) => job(),
            Err(error) => Err(error),
        };
        self.note_compaction(job).ok();
    }

    /// Begins a generation, and returns what writes its checkpoint.
    fn start_compaction(&mut self) -> Result<Job, StorageError> {
        if self.export.is_some() {
            // Records that the checkpoint drops from the log are not merged again.
            self.committer.durable_to(self.last)?;
            self.export_durable();
            self.export.iter_mut().for_each(Export::settle);
        }
        self.table.set(JOURNALED, journaled_as(&self.replica, &self.export).as_deref());
        let cut = self.storage.cut()?;
        self.compaction.live_then = self.replica.state().state().live_len();
        let outgoing = self.audit.as_ref().and_then(Audit::outgoing).map(Arc::new);
        self.compaction.outgoing.clone_from(&outgoing);
        // O(1), and unmoved by what is written meanwhile.
        let (mut replica, table) = (self.replica.fork(), self.table.clone());
        let storage = Arc::clone(&self.storage);
        Ok(Box::new(move || {
            if is(Bug::PrunedByCheckpoint) {
                replica.prune(Prune::All);
            }
            let parts = record::encode_checkpoint(&replica, &table);
            drop(replica);
            if let Some(outgoing) = outgoing {
                outgoing.write(&*storage)?;
            }
            storage.checkpoint(cut, &parts.each_ref().map(|part| &part[..]))
        }))
    }

    fn wait_for_compaction(&mut self) -> Result<(), StorageError> {
        let Some(running) = self.compaction.running.take() else { return Ok(()) };
        let done = running.join().unwrap_or_else(|_| {
            Err(StorageError::Poisoned { after: "write a checkpoint: its thread panicked".to_owned() })
        });
        self.note_compaction(done)
    }

    fn note_compaction(&mut self, done: Result<(), StorageError>) -> Result<(), StorageError> {
        let outgoing = self.compaction.outgoing.take().filter(|_| done.is_ok());
        let done = match (&mut self.audit, outgoing) {
            (Some(audit), Some(outgoing)) => audit.written(&*self.storage, &outgoing, self.clock.now_ms()),
            _ => done,
        };
        let log = self.storage.usage().log;
        // A disk that is full is so for a while.
        self.compaction.failed = done.as_ref().err().map(|error| (error.clone(), log + (log / 4).max(1)));
        done
    }
}

/// Peers.
impl<T: Crdt> Store<T> {
    /// Cuts what a peer lacks that has seen `since`, as [`Replica::delta_since`] does; all of it is durable then.
    pub fn delta_since(&mut self, since: &Version) -> Result<Delta, StoreError> {
        self.flush()?;
        Ok(self.replica.delta_since(since)?)
    }

    /// Begins a session with a peer, of which nothing is told or acknowledged before it is durable; what is written so far is
    /// made so.
    ///
    /// Give frames to [`Session::handle_frame`] with the store in place of a replica, and [`replica`](Self::replica) to
    /// [`Session::poll_frame`], after [`persisted`](Self::persisted): without it the session says nothing of what has changed. Drivers, pumps and folders need none of that: they [persist](Replicated::persist) before they tell.
    pub fn session(&mut self, options: SessionOptions) -> Result<Session<T>, StoreError> {
        self.flush()?;
        Ok(Session::new(&self.replica, options.waiting_for_persisted(), self.clock.random()))
    }

    /// Tells a session that what the store holds is durable, if it is. Call it before each poll.
    pub fn persisted(&self, session: &mut Session<T>) {
        if self.is_durable() {
            session.handle_persisted(&Checkpoint::of(&self.replica));
        }
    }

    /// The devices that this one syncs with, and what each has acknowledged.
    pub fn devices(&self) -> Devices {
        // What was written was read when the store was opened, checksum and all.
        self.table.get(DEVICES).and_then(|bytes| Devices::from_bytes(bytes).ok()).unwrap_or_default()
    }

    /// Remembers what a device has seen, durably, and prunes the tombstones that all known devices have seen, unless pruning is
    /// switched off. Call it when a session with the device has ended, with [`Session::standing`].
    pub fn acknowledge(
        &mut self,
        device: &str,
        standing: impl Into<driftless::sync::Standing>,
    ) -> Result<usize, StoreError> {
        let mut devices = self.devices();
        devices.acknowledge(device, standing);
        self.set_devices(&devices)?;
        let Some(budget) = &self.budget else { return Ok(0) };
        let plan = devices.plan(&self.replica, budget, self.clock.now_ms());
        Ok(self.replica.prune(Prune::Upto(&plan)))
    }

    /// Waits for a device no longer. It may come back at any time, and reconciles then.
    pub fn forget(&mut self, device: &str) -> Result<(), StoreError> {
        let mut devices = self.devices();
        devices.forget(device);
        self.set_devices(&devices)
    }

    fn set_devices(&mut self, devices: &Devices) -> Result<(), StoreError> {
        let mut changes = Changes::default();
        changes.set(DEVICES.to_vec(), Some(devices.to_bytes()));
        self.change_table(changes)?;
        self.flush()
    }

    /// Keeps what came of a delta before a session broke, durably, for the next one with that peer; or lets go of it.
    pub fn keep_staged(&mut self, peer: &str, staged: Option<&Staged>) -> Result<(), StoreError> {
        let name = staged_name(peer);
        match staged {
            Some(staged) => self.storage.put_blob(&name, &staged.to_bytes())?,
            None => drop(self.storage.remove_blob(&name)?),
        }
        Ok(())
    }

    /// Returns what was kept of a delta of that peer, for [`SessionOptions::with_staged`].
    pub fn staged(&self, peer: &str) -> Result<Option<Box<Staged>>, StoreError> {
        let bytes = self.storage.blob(&staged_name(peer))?;
        Ok(bytes.map(|bytes| Staged::from_bytes(&bytes).map(Box::new)).transpose()?)
    }
}

impl<T: Crdt> Replicated<T> for Store<T> {
    fn replica(&self) -> &Replica<T> {
        &self.replica
    }

    fn merge(&mut self, delta: &Delta) -> Result<MergeReport<T>, MergeError> {
        Self::merge(self, delta).map_err(|error| match error {
            StoreError::Merge(error) => error,
            other => MergeError::Refused(Refused::new(other)),
        })
    }

    fn repair(&mut self, theirs: &Delta) -> Result<Repair<T>, RepairError> {
        Self::repair(self, theirs).map_err(refused_repair)
    }

    fn take_in(&mut self, theirs: &Delta) -> Result<Repair<T>, RepairError> {
        // Nearly always there is nothing to repair, and then nothing to write.
        let before = self.replica.statement();
        let taken =
            self.check().map_err(StoreError::from).and_then(|()| Ok(Replicated::take_in(&mut self.replica, theirs)?));
        let taken = taken.map_err(refused_repair)?;
        if self.replica.statement() != before {
            let written = self.checkpoint_or_be_ahead().and_then(|()| {
                self.recorded();
                self.audit_alone(AuditAction::Repair, 0, None)
            });
            self.export_durable();
            written.map_err(|error| refused_repair(error.into()))?;
        }
        Ok(taken)
    }

    fn prune(&mut self, tombstones: Prune<'_>) -> usize {
        Self::prune(self, tombstones)
    }

    fn persist(&mut self) -> Result<(), Refused> {
        self.flush().map_err(Refused::new)
    }
}

fn refused_repair(error: StoreError) -> RepairError {
    match error {
        StoreError::Repair(error) => error,
        other => RepairError::Refused(Refused::new(other)),
    }
}

/// A peer may be called anything: its name as digits, or their beginning and a hash if they are too many for a file's name.
fn staged_name(peer: &str) -> BlobName {
    let digits: String = peer.bytes().map(|byte| format!("{byte:02x}")).collect();
    let short = digits.get(..64).map(|begin| format!("{begin}-{:016x}", xxhash_rust::xxh3::xxh3_64(peer.as_bytes())));
    let name = format!("{STAGED}{}", short.unwrap_or(digits));
    BlobName::allowed(name)
}

impl<T: Crdt> Drop for Store<T> {
    fn drop(&mut self) {
        if let Err(StorageError::Forked { .. }) = self.storage.health() {
            // Its threads are the other process's: waiting for them would never end.
            mem::forget((self.flusher.take(), self.compaction.running.take()));
            return;
        }
        self.flusher = None;
        let _ = self.wait_for_compaction();
        if self.ahead.is_none() && self.committer.durable_to(self.last).is_ok() {
            self.export_durable();
            self.export.iter_mut().for_each(Export::settle);
            self.storage.close();
        }
    }
}

impl<T: Crdt + fmt::Debug> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("replica", &self.replica)
            .field("table", &self.table)
            .field("storage", &self.storage)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
