//! A store in one file of the database redb.
//!
//! | table | content |
//! |---|---|
//! | `driftless-meta` | format, schema, number of the last record that the checkpoint replaced, chunks of the checkpoint, closed or not |
//! | `driftless-log` | number of a record → record |
//! | `driftless-checkpoint` | number of a chunk → chunk of the checkpoint |
//! | `driftless-blobs` | name → blob |
//!
//! A record lies in memory until a sync writes all of them in one transaction. redb has one writer at a time, so a checkpoint is
//! written in three steps, between which syncs go on:
//!
//! 1. Its chunks are written under new numbers, some at a time. Nothing refers to them yet.
//! 2. One transaction names them as the checkpoint, and removes the chunks of the old one and the records before the cut.
//! 3. The records before the cut that still lie in memory are dropped.
//!
//! Invariant: after each transaction the database holds one whole checkpoint, and every record after it that was synced.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io;
use std::mem;
use std::ops::{Bound, Range};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{
    BackendError, Builder, Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageBackend, TableDefinition, WriteTransaction,
};

use crate::disk::{Disk, OsDisk};
use crate::storage::{BlobName, Cut, Load, Lost, OpenProgress, Recovery, Sink, Storage, StorageError, Usage};

/// The format of the tables.
const FORMAT: u16 = 1;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("driftless-meta");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("driftless-log");
const CHUNKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("driftless-checkpoint");
const BLOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("driftless-blobs");

/// Bytes of a chunk: 1 MiB less what redb adds, since it rounds up to a power of two.
const CHUNK: usize = 1024 * 1024 - 4096;

/// Chunks that are written in one transaction; a sync waits for no more of them.
const CHUNKS_AT_ONCE: usize = 4;

/// The bytes of redb's magic number, and of its header with it.
const MAGIC_LEN: usize = 9;
const HEADER_LEN: usize = 4096;

/// More bytes than redb creates a database with: 72 KiB, and 1 MiB before 4.6.
const CREATED_LEN: usize = 2 * 1024 * 1024;

/// The most that redb takes in one value.
const MAX_VALUE: usize = 3 * 1024 * 1024 * 1024;

/// Bytes that redb keeps in memory. A store reads everything once, when it is opened.
const CACHE: usize = 16 * 1024 * 1024;

/// A store in one file of the database [redb](https://docs.rs/redb), with the feature `redb`: for apps that want a store to be one
/// file, or have a [`StorageBackend`] of their own for a place that has no directory.
///
/// [`FileStorage`](crate::FileStorage) writes a sixth of the bytes for an edit, and does more about faults. What differs:
///
/// - A full disk shows when the edit is synced, not before: the edit fails, the storage is poisoned, and once there is space it is
///   opened again.
/// - After a sync that failed, the system can show bytes that never reached the medium. `FileStorage` writes the end of its log anew
///   when it is opened; redb takes what it is shown. Restart the machine before the file is opened again, or copy the file from
///   a backup.
/// - The file does not always shrink when a checkpoint drops the log; redb uses the space again.
/// - A second opener is told that the store is open, but not by whom, and does not wait.
///
/// Opening checks the checksums of all pages, as a check of integrity of redb does.
///
/// ```
/// use driftless::Graph;
/// use driftless_store::{Options, RedbStorage};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("memory.redb");
/// let mut store = Options::new().open_storage::<Graph>(RedbStorage::open(&path)?)?;
/// store.edit(|g| g.add_node("person:ada"))?; // on the disk
/// drop(store);
/// let store = Options::new().open_storage::<Graph>(RedbStorage::open(&path)?)?;
/// assert_eq!(store.state().node_count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RedbStorage {
    /// The file, for people.
    location: String,
    database: Database,
    process: u32,
    cost: Arc<Cost>,
    /// Held by whoever checkpoints: one at a time.
    checkpointing: Mutex<()>,
    /// Held by whoever writes a transaction. Taken before `log`, which is held for moments.
    writing: Mutex<()>,
    log: Mutex<Log>,
}

/// The log, as far as it is not in the database, and where the database stands.
#[derive(Debug, Default)]
struct Log {
    poisoned: Option<String>,
    is_closed: bool,
    /// Number of the last record that the checkpoint has replaced.
    replaced: u64,
    /// Number of the last record.
    appended: u64,
    /// Records that no transaction has taken: the last ones.
    buffer: VecDeque<Vec<u8>>,
    /// The chunks of the checkpoint.
    chunks: Range<u64>,
    checkpoint_bytes: u64,
    log_bytes: u64,
}

/// The metadata, as they are read.
#[derive(Debug)]
struct Meta {
    schema: String,
    replaced: u64,
    /// The chunks, and the bytes in them; none if there is no checkpoint.
    checkpoint: Option<(Range<u64>, u64)>,
    is_closed: bool,
}

/// Keys of the metadata.
mod key {
    pub(super) const FORMAT: &str = "format";
    pub(super) const SCHEMA: &str = "schema";
    pub(super) const REPLACED: &str = "replaced";
    /// First chunk, end of the chunks, bytes.
    pub(super) const CHECKPOINT: &str = "checkpoint";
    pub(super) const CLOSED: &str = "closed";
}

/// Opening.
impl RedbStorage {
    /// Opens a database file, and creates it if it is not there. Nothing is read of the store before [`load`](Storage::load).
    ///
    /// # Errors
    ///
    /// [`StorageError::Locked`] if it is open elsewhere, [`StorageError::Damaged`] if it is no database or not whole.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        let path = path.as_ref();
        let location = path.display().to_string();
        let failed = |error| StorageError::io("open", &location, error);
        let is_new = !path.exists();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        if let (true, Some(parent)) = (is_new, path.parent()) {
            // The new name must survive as well as what will be in it.
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            OsDisk::open(parent).and_then(|disk| disk.sync_directory()).map_err(failed)?;
        }
        let backend = FileBackend::new(file).map_err(|error| refused(&location, "open", error.into()))?;
        Self::new(location, backend)
    }

    /// Opens a database that lies elsewhere than in a file, or fails as a test wants it to.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self, StorageError> {
        Self::new("a backend of redb".to_owned(), backend)
    }

    fn new(location: String, backend: impl StorageBackend) -> Result<Self, StorageError> {
        let cost = Arc::<Cost>::default();
        let counted = Counted { backend: Box::new(backend), process: process::id(), cost: Arc::clone(&cost) };
        forget_unfinished(&counted).map_err(|error| StorageError::io("open", &location, error))?;
        let mut builder = Builder::new();
        // Without it redb trusts pages that were damaged since, and may panic.
        let builder = builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        let opened = builder.create_with_backend(counted);
        let database = opened.map_err(|error| match error {
            redb::DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                StorageError::damaged(&location, 0, format!("it is no database of redb ({error})"))
            }
            error => refused(&location, "open", error.into()),
        })?;
        let poisoned = Some("read it: nobody has called `Storage::load`".to_owned());
        Ok(Self {
            location,
            database,
            process: process::id(),
            cost,
            checkpointing: Mutex::default(),
            writing: Mutex::default(),
            log: Mutex::new(Log { poisoned, ..Log::default() }),
        })
    }

    /// Reads the metadata; none if there is no store yet.
    fn meta(&self) -> Result<Option<Meta>, StorageError> {
        let read = || {
            let transaction = self.database.begin_read()?;
            let table = match transaction.open_table(META) {
                Err(redb::TableError::TableDoesNotExist(_)) => {
                    let is_empty = transaction.list_tables()?.next().is_none();
                    return Ok(is_empty.then_some(None));
                }
                table => table?,
            };
            let get = |key| Ok::<_, redb::Error>(table.get(key)?.map(|value| value.value().to_vec()));
            Ok(Some(Some([
                get(key::FORMAT)?,
                get(key::SCHEMA)?,
                get(key::REPLACED)?,
                get(key::CHECKPOINT)?,
                get(key::CLOSED)?,
            ])))
        };
        let read = read().map_err(|error| self.failed("read", error))?;
        let Some(values) = read.ok_or_else(|| StorageError::Foreign { file: self.location.clone() })? else {
            return Ok(None);
        };
        let [format, schema, replaced, checkpoint, closed] = values;
        let format = format.and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
        if let Some(found) = format.filter(|format| *format > FORMAT) {
            return Err(StorageError::Format { file: self.location.clone(), found, newest: FORMAT });
        }
        let meta = || {
            format?;
            let [replaced] = numbers(&replaced?)?;
            let checkpoint = match checkpoint {
                Some(bytes) => numbers(&bytes).map(|[first, end, len]| Some((first..end, len)))?,
                None => None,
            };
            let schema = String::from_utf8(schema?).ok()?;
            Some(Meta { schema, replaced, checkpoint, is_closed: closed.is_some() })
        };
        meta().map(Some).ok_or_else(|| self.damaged("its metadata make no sense"))
    }

    /// Begins a store.
    fn begin(&self, schema: &str) -> Result<Meta, StorageError> {
        self.write("begin a store", |transaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert(key::FORMAT, &FORMAT.to_le_bytes()[..])?;
            meta.insert(key::SCHEMA, schema.as_bytes())?;
            meta.insert(key::REPLACED, &0u64.to_le_bytes()[..])?;
            open_tables(transaction)
        })?;
        Ok(Meta { schema: schema.to_owned(), replaced: 0, checkpoint: None, is_closed: false })
    }

    /// Hands the checkpoint and the records to the sink. Returns the number of the last record, and their bytes.
    fn deliver(
        &self,
        meta: &Meta,
        mode: Load,
        sink: &mut dyn Sink,
        recovery: &mut Recovery,
    ) -> Result<(u64, u64), StorageError> {
        let failed = |error: redb::Error| self.failed("read", error);
        let transaction = self.database.begin_read().map_err(|error| failed(error.into()))?;
        let log = transaction.open_table(LOG).map_err(|error| failed(error.into()))?;
        let mut lose = |what: String| {
            if mode == Load::Whole {
                return Err(self.damaged(what));
            }
            recovery.lost.push(Lost { file: self.location.clone(), offset: 0, bytes: 0, what });
            Ok(())
        };
        let log_len = log.stats().map_err(|error| failed(error.into()))?.stored_bytes();
        let mut progress = OpenProgress { bytes: 0, bytes_expected: log_len, records: 0 };
        if let Some((chunks, len)) = &meta.checkpoint {
            progress.bytes_expected += len;
            let table = transaction.open_table(CHUNKS).map_err(|error| failed(error.into()))?;
            let mut content = Vec::new();
            for number in chunks.clone() {
                if let Some(chunk) = table.get(number).map_err(|error| failed(error.into()))? {
                    content.extend_from_slice(chunk.value());
                    progress.bytes += chunk.value().len() as u64;
                    sink.progress(progress);
                }
            }
            match content.len() as u64 == *len {
                true => sink.checkpoint(&content).or_else(|what| lose(format!("its checkpoint: {what}")))?,
                false => lose("a part of its checkpoint is missing".to_owned())?,
            }
        }
        let (mut last, mut bytes) = (meta.replaced, 0);
        for entry in log.iter().map_err(|error| failed(error.into()))? {
            let (number, record) = entry.map_err(|error| failed(error.into()))?;
            let (number, record) = (number.value(), record.value());
            if number != last + 1 {
                lose(format!("record {} is missing", last + 1))?;
            }
            last = number;
            bytes += record.len() as u64;
            match sink.record(record) {
                Ok(()) => progress.records += 1,
                Err(what) => lose(format!("record {number}: {what}"))?,
            }
            progress.bytes = (progress.bytes + record.len() as u64 + 8).min(progress.bytes_expected);
            sink.progress(progress);
        }
        recovery.records = progress.records;
        Ok((last, bytes))
    }
}

/// Empties a file in which a crash stopped redb while it created a database, which redb refuses from then on.
///
/// redb writes its magic number last, at the beginning. A file without it that holds nothing behind its header was never a database.
fn forget_unfinished(backend: &impl StorageBackend) -> io::Result<()> {
    let is_locked = match backend.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        Ok(false) => return Ok(()), // redb is told as well, and says so
        Ok(true) => true,
        Err(BackendError::Unsupported) => false,
        Err(error) => return Err(error.into()),
    };
    let len = usize::try_from(backend.len()?).unwrap_or(usize::MAX);
    if (1..=CREATED_LEN).contains(&len) {
        let mut bytes = vec![0; len];
        backend.read(0, &mut bytes)?;
        let is_zero = |bytes: Option<&[u8]>| bytes.unwrap_or_default().iter().all(|byte| *byte == 0);
        if is_zero(bytes.get(..MAGIC_LEN.min(len))) && is_zero(bytes.get(HEADER_LEN..)) {
            backend.set_len(0)?;
        }
    }
    if is_locked {
        backend.unlock_range(Bound::Unbounded, Bound::Unbounded)?;
    }
    Ok(())
}

/// Eight bytes each, and nothing after them.
fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let numbers: Vec<u64> = chunks.iter().copied().map(u64::from_le_bytes).collect();
    rest.is_empty().then(|| numbers.try_into().ok())?
}

/// Creates the tables that are not there.
fn open_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(LOG)?;
    transaction.open_table(CHUNKS)?;
    transaction.open_table(BLOBS)?;
    Ok(())
}

/// Names the chunks of the checkpoint, and the last record that it replaces.
fn set_checkpoint(
    transaction: &WriteTransaction,
    chunks: &Range<u64>,
    len: u64,
    replaced: u64,
) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let checkpoint: Vec<u8> = [chunks.start, chunks.end, len].iter().flat_map(|number| number.to_le_bytes()).collect();
    meta.insert(key::CHECKPOINT, &checkpoint[..])?;
    meta.insert(key::REPLACED, &replaced.to_le_bytes()[..])?;
    Ok(())
}

fn insert_chunks<'a>(
    transaction: &WriteTransaction,
    chunks: impl Iterator<Item = (u64, &'a Vec<u8>)>,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(CHUNKS)?;
    for (number, chunk) in chunks {
        table.insert(number, &chunk[..])?;
    }
    Ok(())
}

/// The parts, one after the other, in chunks.
fn chunks(parts: &[&[u8]]) -> impl Iterator<Item = Vec<u8>> {
    let mut parts = parts.iter().copied().filter(|part| !part.is_empty());
    let mut rest: &[u8] = &[];
    std::iter::from_fn(move || {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK {
            if rest.is_empty() {
                let Some(next) = parts.next() else { break };
                rest = next;
            }
            let (now, later) = rest.split_at(rest.len().min(CHUNK - chunk.len()));
            chunk.extend_from_slice(now);
            rest = later;
        }
        (!chunk.is_empty()).then_some(chunk)
    })
}

impl RedbStorage {
    fn log(&self) -> MutexGuard<'_, Log> {
        // Nothing that holds it panics.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, log: &Log) -> Result<(), StorageError> {
        if process::id() != self.process {
            return Err(StorageError::Forked { by: self.process });
        }
        match &log.poisoned {
            Some(after) => Err(StorageError::Poisoned { after: after.clone() }),
            None => Ok(()),
        }
    }

    /// Writes a transaction, durably. `writing` is held. If it fails, the storage is poisoned: nobody knows what is on the medium.
    fn write<R>(
        &self,
        action: &'static str,
        write: impl FnOnce(&WriteTransaction) -> Result<R, redb::Error>,
    ) -> Result<R, StorageError> {
        let is_closed = mem::take(&mut self.log().is_closed);
        let written = || {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let written = write(&transaction)?;
            if is_closed {
                transaction.open_table(META)?.remove(key::CLOSED)?;
            }
            transaction.commit()?;
            Ok(written)
        };
        written().map_err(|error| {
            self.log().poisoned = Some(format!("{action} ({error})"));
            self.failed(action, error)
        })
    }

    fn failed(&self, action: &'static str, error: redb::Error) -> StorageError {
        refused(&self.location, action, error)
    }

    fn damaged(&self, what: impl Into<String>) -> StorageError {
        StorageError::damaged(&self.location, 0, what)
    }

    fn too_long(&self, action: &'static str, len: usize) -> Result<(), StorageError> {
        if len <= MAX_VALUE {
            return Ok(());
        }
        let reason = format!("it is {len} bytes long, and redb takes {MAX_VALUE} at most");
        Err(StorageError::Backend { action, location: self.location.clone(), reason })
    }
}

fn refused(location: &str, action: &'static str, error: redb::Error) -> StorageError {
    let location = location.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => StorageError::Locked { location, holder: String::new() },
        redb::Error::Corrupted(what) => StorageError::damaged(&location, 0, what),
        // A full disk as well: by then it is not so that nothing has changed.
        redb::Error::Io(source) => StorageError::Io { action, file: location, source: Arc::new(source) },
        error => StorageError::Backend { action, location, reason: error.to_string() },
    }
}

impl Storage for RedbStorage {
    fn load(&self, schema: &str, mode: Load, sink: &mut dyn Sink) -> Result<Recovery, StorageError> {
        let _writing = self.writing();
        let mut recovery = Recovery::default();
        let meta = match self.meta()? {
            Some(meta) => meta,
            None => {
                recovery.created = true;
                self.begin(schema)?
            }
        };
        if meta.schema != schema {
            return Err(StorageError::Schema {
                location: self.location.clone(),
                found: meta.schema.escape_debug().to_string(),
                expected: schema.to_owned(),
            });
        }
        recovery.was_closed = meta.is_closed;
        let (appended, log_bytes) = self.deliver(&meta, mode, sink, &mut recovery)?;
        let salvaged = "go on with it: it was salvaged, and nobody has called `Storage::replace`";
        let (chunks, checkpoint_bytes) = meta.checkpoint.unwrap_or_default();
        *self.log() = Log {
            poisoned: (mode == Load::Salvage).then(|| salvaged.to_owned()),
            is_closed: meta.is_closed,
            replaced: meta.replaced,
            appended,
            buffer: VecDeque::new(),
            chunks,
            checkpoint_bytes,
            log_bytes,
        };
        Ok(recovery)
    }

    fn replace(&self, parts: &[&[u8]]) -> Result<(), StorageError> {
        let _writing = self.writing();
        let replaced = self.log().appended;
        let contents: Vec<Vec<u8>> = chunks(parts).collect();
        let len = contents.iter().map(|chunk| chunk.len() as u64).sum();
        let chunks = 0..contents.len() as u64;
        self.write("replace a damaged store", |transaction| {
            use redb::TableHandle;
            let tables: Vec<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
            let aside = |number: u64, name: &str| format!("damaged-{number}-{name}");
            let is_free = |number: &u64| !tables.contains(&aside(*number, LOG.name()));
            let number = (1..).find(is_free).unwrap_or(u64::MAX);
            for table in [LOG, CHUNKS] {
                let name = aside(number, table.name());
                transaction.rename_table(table, TableDefinition::<u64, &[u8]>::new(&name))?;
            }
            open_tables(transaction)?;
            insert_chunks(transaction, (0..).zip(&contents))?;
            set_checkpoint(transaction, &chunks, len, replaced)
        })?;
        let mut log = self.log();
        *log = Log { replaced, appended: replaced, chunks, checkpoint_bytes: len, ..Log::default() };
        Ok(())
    }

    fn append(&self, record: &[u8]) -> Result<u64, StorageError> {
        self.too_long("append a record", record.len())?;
        let mut log = self.log();
        self.check(&log)?;
        log.buffer.push_back(record.to_vec());
        log.log_bytes += record.len() as u64;
        log.appended += 1;
        Ok(log.appended)
    }

    fn sync(&self) -> Result<u64, StorageError> {
        // Whoever syncs already may have taken records that were there before this call.
        let _writing = self.writing();
        let (buffer, appended) = {
            let mut log = self.log();
            self.check(&log)?;
            // Others append meanwhile.
            (mem::take(&mut log.buffer), log.appended)
        };
        if !buffer.is_empty() {
            let first = appended - buffer.len() as u64 + 1;
            self.write("sync", |transaction| {
                let mut log = transaction.open_table(LOG)?;
                for (number, record) in (first..).zip(&buffer) {
                    log.insert(number, &record[..])?;
                }
                Ok(())
            })?;
        }
        Ok(appended)
    }

    fn cut(&self) -> Result<Cut, StorageError> {
        let log = self.log();
        self.check(&log)?;
        Ok(Cut::new(log.appended))
    }

    fn checkpoint(&self, cut: Cut, parts: &[&[u8]]) -> Result<(), StorageError> {
        let _one = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        let (cut, first) = {
            let log = self.log();
            self.check(&log)?;
            if cut.number() < log.replaced {
                return Ok(());
            }
            (cut.number().min(log.appended), log.chunks.end)
        };
        let (mut contents, mut end, mut len) = (chunks(parts), first, 0);
        loop {
            let some: Vec<Vec<u8>> = contents.by_ref().take(CHUNKS_AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            let _writing = self.writing();
            self.write("write a checkpoint", |transaction| insert_chunks(transaction, (end..).zip(&some)))?;
            end += some.len() as u64;
            len += some.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        }
        let _writing = self.writing();
        let removed = self.write("write a checkpoint", |transaction| {
            set_checkpoint(transaction, &(first..end), len, cut)?;
            let mut chunks = transaction.open_table(CHUNKS)?;
            chunks.retain_in(..first, |_, _| false)?;
            // Of a checkpoint that a crash has stopped.
            chunks.retain_in(end.., |_, _| false)?;
            let mut removed = 0;
            transaction.open_table(LOG)?.retain_in(..=cut, |_, record| {
                removed += record.len() as u64;
                false
            })?;
            Ok(removed)
        })?;
        let mut log = self.log();
        let in_database = log.appended - log.buffer.len() as u64;
        let in_buffer = usize::try_from(cut.saturating_sub(in_database)).unwrap_or(usize::MAX).min(log.buffer.len());
        let dropped: u64 = log.buffer.drain(..in_buffer).map(|record| record.len() as u64).sum();
        log.log_bytes = log.log_bytes.saturating_sub(removed + dropped);
        log.replaced = cut;
        log.chunks = first..end;
        log.checkpoint_bytes = len;
        Ok(())
    }

    fn put_blob(&self, name: &BlobName, content: &[u8]) -> Result<(), StorageError> {
        self.too_long("keep a blob", content.len())?;
        let _writing = self.writing();
        self.check(&self.log())?;
        self.write("keep a blob", |transaction| {
            transaction.open_table(BLOBS)?.insert(name.as_str(), content)?;
            Ok(())
        })
    }

    fn blob(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StorageError> {
        let read = || {
            let table = self.database.begin_read()?.open_table(BLOBS)?;
            Ok(table.get(name.as_str())?.map(|blob| blob.value().to_vec()))
        };
        read().map_err(|error| self.failed("read a blob", error))
    }

    fn blobs(&self) -> Result<Vec<BlobName>, StorageError> {
        let read = || {
            let table = self.database.begin_read()?.open_table(BLOBS)?;
            let names = table.iter()?.map(|entry| Ok(BlobName::new(entry?.0.value())));
            names.filter_map(Result::transpose).collect::<Result<_, redb::Error>>()
        };
        read().map_err(|error| self.failed("list the blobs", error))
    }

    fn remove_blob(&self, name: &BlobName) -> Result<bool, StorageError> {
        let _writing = self.writing();
        self.check(&self.log())?;
        if self.blob(name)?.is_none() {
            return Ok(false);
        }
        self.write("remove a blob", |transaction| Ok(transaction.open_table(BLOBS)?.remove(name.as_str())?.is_some()))
    }

    fn usage(&self) -> Usage {
        let log = self.log();
        Usage {
            files: 0,
            checkpoint: log.checkpoint_bytes,
            log: log.log_bytes,
            written: self.cost.written.load(Ordering::Relaxed),
            syncs: self.cost.syncs.load(Ordering::Relaxed),
        }
    }

    fn close(&self) {
        if self.log().is_closed || self.sync().is_err() {
            return;
        }
        let _writing = self.writing();
        let closed = self.write("close", |transaction| {
            transaction.open_table(META)?.insert(key::CLOSED, &[][..])?;
            Ok(())
        });
        self.log().is_closed = closed.is_ok();
    }
}

/// What was written and synced, in all.
#[derive(Debug, Default)]
struct Cost {
    written: AtomicU64,
    syncs: AtomicU64,
}

/// A backend that counts, and that a fork of the process can neither write nor unlock: redb does both when a database is dropped.
#[derive(Debug)]
struct Counted {
    backend: Box<dyn StorageBackend>,
    process: u32,
    cost: Arc<Cost>,
}

impl Counted {
    fn check(&self) -> io::Result<()> {
        match process::id() == self.process {
            true => Ok(()),
            false => Err(io::Error::other("the process is a fork of the one that opened the database")),
        }
    }
}

impl StorageBackend for Counted {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.backend.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.cost.syncs.fetch_add(1, Ordering::Relaxed);
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.cost.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.check()?;
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.check()?;
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
    }
}
