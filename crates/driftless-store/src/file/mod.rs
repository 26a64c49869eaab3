//! A store in a directory of files.
//!
//! | file | what |
//! |---|---|
//! | `head` | which checkpoint and which segments make up the store; replaced as a whole |
//! | `checkpoint-…` | the state and the local table at the beginning of a generation |
//! | `segment-…` | records since, appended |
//! | `blob-…` | blobs, such as restore points |
//! | `lock`, `holder` | who has it open |
//! | `….tmp` | being written; removed by the next opening |
//!
//! A segment is used in this order, each step durable before the next: the segment before it is synced; the new file is written
//! with what it begins with, and gets its name; the head names it as the last. A checkpoint: the log goes on in a new segment; the
//! checkpoint is written and gets its name; the head names it, and that segment as the first; what is not needed any more is
//! removed.

mod bytes;
mod checked;
mod frame;
mod head;
mod load;
mod segment;

use std::collections::BTreeSet;
use std::io;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::bugs::{Bug, is};
use crate::disk::{Disk, DiskFile, Lock, LockError, read_all};
use crate::file::frame::frame_len;
use crate::file::head::{HEAD, Head};
use crate::file::load::{Loaded, guess_head, load, read_head};
use crate::file::segment::{End, SEGMENT_HEAD, SegmentHead, segment_name, segment_number};
use crate::storage::{BlobName, Cut, Load, Lost, Recovery, Sink, Storage, StorageError, Usage};

/// The format of all files.
const FORMAT: u16 = 1;

const CHECKPOINT: &str = "checkpoint-";
/// The beginning of the names of files that a salvage has replaced.
const ASIDE: &str = "damaged-";

/// The file that is there while a salvage sets others aside.
const SALVAGE: &str = "salvage";

const BLOB: &str = "blob-";
const TEMPORARY: &str = ".tmp";

/// The least and the most that a segment grows by beyond what is written, so that most appends neither wait for room nor change a
/// file's length, which would cost each sync a write of the file system's own.
const MIN_GROWTH: u64 = 64 * 1024;
const MAX_GROWTH: u64 = 1024 * 1024;

/// How often a reader without the lock begins anew when files change under it.
const READ_TRIES: usize = 10;
const READ_AGAIN: Duration = Duration::from_millis(2);

fn checkpoint_name(number: u64) -> String {
    format!("{CHECKPOINT}{number:012}")
}

fn checkpoint_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(CHECKPOINT)?.parse().ok()?;
    (checkpoint_name(number) == name).then_some(number)
}

fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(TEMPORARY).unwrap_or(name);
    name == HEAD || segment_number(name).is_some() || checkpoint_number(name).is_some() || name.starts_with(BLOB)
}

/// How a [`FileStorage`] is opened.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// How long to wait for whoever has it open.
    pub wait: Duration,
    /// The length of a segment in bytes from which on a new one is begun.
    pub segment_len: u64,
    /// What others are told who find it open.
    pub holder: String,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { wait: Duration::ZERO, segment_len: 4 * 1024 * 1024, holder: format!("process {}", process::id()) }
    }
}

/// A store in a directory of files.
#[derive(Debug)]
pub struct FileStorage {
    disk: Arc<dyn Disk>,
    process: u32,
    segment_len: u64,
    /// Held by whoever checkpoints, for checkpoints are long and one at a time.
    checkpointing: Mutex<()>,
    /// Held by whoever syncs a segment, until it is known what came of it. The system reports a failure once: of two who sync at
    /// the same time, one would be told that all is well. Taken before `log`.
    syncing: Mutex<()>,
    log: Mutex<Log>,
    _lock: Box<dyn Lock>,
}

/// The end of the log, which is appended to.
#[derive(Debug)]
struct Log {
    head: Head,
    /// The last segment, once it is appended to: after an opening the first append begins a new one.
    open: Option<OpenSegment>,
    /// The end of the last segment, as far as it is durable or was written by us.
    end: End,
    /// Number of the last record.
    appended: u64,
    /// The last that is durable.
    synced: u64,
    poisoned: Option<String>,
    usage: Usage,
    /// Bytes of the segments before the last.
    earlier: u64,
}

#[derive(Debug)]
struct OpenSegment {
    file: Arc<dyn DiskFile>,
    seed: u64,
    /// Up to where it is durable.
    durable: u64,
    /// Up to where the file has room.
    room: u64,
    /// Room to add next.
    growth: u64,
}

/// Opening.
impl FileStorage {
    /// Takes the lock of a directory. Nothing is read before [`load`](Storage::load).
    pub fn new(disk: impl Disk, options: &FileOptions) -> Result<Self, StorageError> {
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let lock = take_lock(&*disk, options)?;
        Ok(Self {
            disk,
            process: process::id(),
            segment_len: options.segment_len,
            checkpointing: Mutex::default(),
            syncing: Mutex::default(),
            log: Mutex::new(Log::unread()),
            _lock: lock,
        })
    }

    /// The head, or what can be guessed of it, and what was wrong with it.
    fn head(&self, schema: &str, mode: Load) -> Result<(Head, Recovery), StorageError> {
        let (disk, mut recovery) = (&*self.disk, Recovery::default());
        let head = match read_head(disk) {
            Ok(Some(head)) => head,
            Ok(None) => match begin(disk, schema) {
                Err(StorageError::Missing { file }) if mode == Load::Salvage => {
                    recovery.lost.push(lost(&file, "it is missing"));
                    guess_head(disk, &names(disk)?, schema).ok_or(StorageError::Missing { file })?
                }
                begun => {
                    recovery.created = true;
                    begun?
                }
            },
            Err(error @ StorageError::Damaged { .. }) if mode == Load::Salvage => {
                recovery.lost.push(lost(HEAD, "its checksum is wrong"));
                guess_head(disk, &names(disk)?, schema).ok_or(error)?
            }
            Err(error) => return Err(error),
        };
        check_schema(disk, &head, schema)?;
        Ok((head, recovery))
    }

    /// Reads a store without its lock, while somebody may write to it: what was durable when reading began, and perhaps more.
    ///
    /// Files vanish under a reader when a checkpoint replaces them, and what is appended meanwhile is seen in part; so what is
    /// missing or damaged counts only if it is so each time.
    pub(crate) fn read<S: Sink>(
        disk: &dyn Disk,
        schema: &str,
        sink: impl Fn() -> S,
    ) -> Result<(S, Recovery), StorageError> {
        let read = || {
            let head = read_head(disk)?.ok_or_else(|| no_store(disk))?;
            check_schema(disk, &head, schema)?;
            let mut sink = sink();
            let recovery = load(disk, head, Load::Whole, &mut sink)?.recovery;
            Ok((sink, recovery))
        };
        for _ in 1..READ_TRIES {
            match read() {
                Err(StorageError::Missing { .. } | StorageError::Damaged { .. }) => std::thread::sleep(READ_AGAIN),
                result => return result,
            }
        }
        read()
    }

    /// Looks for damage in all files, and changes nothing. The sink says what of it makes no sense.
    pub(crate) fn verify(disk: &dyn Disk, schema: &str, sink: &mut dyn Sink) -> Result<Recovery, StorageError> {
        let names = names(disk)?;
        let (head, damage) = match read_head(disk) {
            Ok(Some(head)) => (head, None),
            Ok(None) if !names.iter().any(|name| is_ours(name)) => return Err(no_store(disk)),
            Ok(None) => (guess_head(disk, &names, schema).unwrap_or_else(|| nothing(schema)), Some("it is missing")),
            Err(StorageError::Damaged { .. }) => {
                (guess_head(disk, &names, schema).unwrap_or_else(|| nothing(schema)), Some("its checksum is wrong"))
            }
            Err(error) => return Err(error),
        };
        check_schema(disk, &head, schema)?;
        let store = head.store;
        let mut recovery = load(disk, head, Load::Salvage, sink)?.recovery;
        recovery.lost.splice(0..0, damage.map(|what| lost(HEAD, what)));
        for name in names.iter().filter(|name| name.starts_with(BLOB) && !name.ends_with(TEMPORARY)) {
            if let Err(error) = checked::read(disk, name, store) {
                let (offset, what) = match error {
                    StorageError::Damaged { offset, what, .. } => (offset, what),
                    other => (0, other.to_string()),
                };
                recovery.lost.push(Lost { offset, ..lost(name, &what) });
            }
        }
        Ok(recovery)
    }

    /// Makes a store of a checkpoint and blobs in a directory that holds none.
    pub(crate) fn create(
        disk: &dyn Disk,
        schema: &str,
        parts: &[&[u8]],
        blobs: impl Iterator<Item = Result<(BlobName, Vec<u8>), StorageError>>,
    ) -> Result<(), StorageError> {
        let _lock = take_lock(disk, &FileOptions::default())?;
        if names(disk)?.iter().any(|name| is_ours(name)) {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(StorageError::io("begin a store where one is", &disk.location(), error));
        }
        let store = *Uuid::new_v4().as_bytes();
        for blob in blobs {
            let (name, content) = blob?;
            checked::write(disk, &format!("{BLOB}{name}"), store, &[&content])?;
        }
        checked::write(disk, &checkpoint_name(1), store, parts)?;
        write_segment(disk, store, 1, End::default(), &[])?;
        sync_directory(disk)?;
        write_head(disk, &Head { store, schema: schema.to_owned(), checkpoint: 1, first: 1, last: 1, closed: None })
    }

    /// Removes what a crash left behind. What cannot be removed does no harm, and is tried again by the next opening.
    fn remove_leftovers(&self, head: &Head) {
        let Ok(names) = names(&*self.disk) else { return };
        let is_leftover = |name: &str| match (segment_number(name), checkpoint_number(name)) {
            (Some(number), _) => !(head.first..=head.last).contains(&number),
            (_, Some(number)) => number != head.checkpoint,
            _ => is_ours(name) && name.ends_with(TEMPORARY),
        };
        let mut leftovers = names.iter().filter(|name| is_leftover(name)).peekable();
        // A process that was killed may have left a head whose name is not durable: the one before it names what would go.
        let nothing_to_do = leftovers.peek().is_none() && names.iter().all(|name| name != SALVAGE);
        if nothing_to_do || sync_directory(&*self.disk).is_err() {
            return;
        }
        // A salvage that stopped was about to set these aside: they stay.
        let is_salvaged = names.iter().any(|name| name == SALVAGE);
        let mut went = true;
        for name in leftovers {
            let is_temporary = name.ends_with(TEMPORARY);
            went &= match is_salvaged && !is_temporary {
                true => set_aside(&*self.disk, head.checkpoint, name).is_ok(),
                false => self.disk.remove(name).is_ok(),
            };
        }
        if is_salvaged && went && sync_directory(&*self.disk).is_ok() {
            let _ = self.disk.remove(SALVAGE);
        }
    }
}

/// Keeps a file that a salvage has replaced.
fn set_aside(disk: &dyn Disk, number: u64, name: &str) -> Result<(), StorageError> {
    disk.rename(name, &format!("{ASIDE}{number}-{name}")).map_err(|e| StorageError::io("set aside", name, e))
}

impl Log {
    /// The log before anything was read.
    fn unread() -> Self {
        Self {
            head: nothing(""),
            open: None,
            end: End::default(),
            appended: 0,
            synced: 0,
            poisoned: Some("read it: nobody has called `Storage::load`".to_owned()),
            usage: Usage::default(),
            earlier: 0,
        }
    }

    fn of(loaded: &Loaded) -> Self {
        let usage = Usage { checkpoint: loaded.checkpoint_bytes, log: loaded.log_bytes, ..Usage::default() };
        Self {
            head: loaded.head.clone(),
            end: loaded.end,
            poisoned: None,
            usage,
            earlier: loaded.log_bytes.saturating_sub(loaded.end.offset),
            ..Self::unread()
        }
    }
}

/// The head of a store of which nothing is left.
fn nothing(schema: &str) -> Head {
    Head { store: [0; 16], schema: schema.to_owned(), checkpoint: 0, first: 1, last: 1, closed: None }
}

fn lost(file: &str, what: &str) -> Lost {
    Lost { file: file.to_owned(), offset: 0, bytes: 0, what: what.to_owned() }
}

pub(crate) fn take_lock(disk: &dyn Disk, options: &FileOptions) -> Result<Box<dyn Lock>, StorageError> {
    disk.lock(&options.holder, options.wait).map_err(|error| match error {
        LockError::Held { holder } => StorageError::Locked { location: disk.location(), holder },
        LockError::Io(error) => StorageError::io("lock", &disk.location(), error),
    })
}

fn check_schema(disk: &dyn Disk, head: &Head, schema: &str) -> Result<(), StorageError> {
    if head.schema == schema {
        return Ok(());
    }
    Err(StorageError::Schema {
        location: disk.location(),
        found: head.schema.escape_debug().to_string(),
        expected: schema.to_owned(),
    })
}

fn no_store(disk: &dyn Disk) -> StorageError {
    StorageError::NoStore { location: disk.location() }
}

fn names(disk: &dyn Disk) -> Result<BTreeSet<String>, StorageError> {
    let names = disk.list().map_err(|e| StorageError::io("list", &disk.location(), e))?;
    Ok(names.into_iter().collect())
}

/// Begins a store. Where there are files of one, only its head is gone, unless a crash left a beginning like this one.
fn begin(disk: &dyn Disk, schema: &str) -> Result<Head, StorageError> {
    let names = names(disk)?;
    let mut ours = names.iter().filter(|name| is_ours(name) && !name.ends_with(TEMPORARY));
    let is_begun = match (ours.next(), ours.next()) {
        (None, _) => true,
        (Some(name), None) => *name == segment_name(1) && is_unused(disk, name),
        _ => false,
    };
    if !is_begun {
        return Err(StorageError::Missing { file: HEAD.to_owned() });
    }
    let store = *Uuid::new_v4().as_bytes();
    write_segment(disk, store, 1, End::default(), &[])?;
    sync_directory(disk)?;
    let head = Head { store, schema: schema.to_owned(), checkpoint: 0, first: 1, last: 1, closed: None };
    write_head(disk, &head)?;
    Ok(head)
}

/// True if a segment was never appended to.
fn is_unused(disk: &dyn Disk, name: &str) -> bool {
    let bytes = disk.open(name).and_then(|file| read_all(&*file));
    bytes.is_ok_and(|bytes| bytes.len() == SEGMENT_HEAD && matches!(SegmentHead::parse(&bytes), Some(Ok(_))))
}

fn sync_directory(disk: &dyn Disk) -> Result<(), StorageError> {
    if is(Bug::NamesUnsynced) {
        return Ok(());
    }
    disk.sync_directory().map_err(|e| StorageError::sync(&disk.location(), e))
}

/// Writes a new segment under its name, which is not durable yet.
fn write_segment(
    disk: &dyn Disk,
    store: [u8; 16],
    number: u64,
    before: End,
    contents: &[Vec<u8>],
) -> Result<(SegmentHead, End, Arc<dyn DiskFile>), StorageError> {
    let (name, temporary) = (segment_name(number), format!("{}{TEMPORARY}", segment_name(number)));
    let (head, bytes, end) = segment::create(store, number, before, contents.iter().map(Vec::as_slice));
    let written = || {
        let file = disk.create(&temporary).map_err(|e| StorageError::io("create", &temporary, e))?;
        file.write_at(0, &bytes).map_err(|e| StorageError::io("write", &temporary, e))?;
        file.sync().map_err(|e| StorageError::io("sync", &temporary, e))?;
        disk.rename(&temporary, &name).map_err(|e| StorageError::io("rename", &temporary, e))?;
        Ok((head, end, file))
    };
    written().inspect_err(|_| drop(disk.remove(&temporary)))
}

/// Replaces the head, durably.
fn write_head(disk: &dyn Disk, head: &Head) -> Result<(), StorageError> {
    let temporary = format!("{HEAD}{TEMPORARY}");
    let written = || {
        let file = disk.create(&temporary).map_err(|e| StorageError::io("create", &temporary, e))?;
        file.write_at(0, &head.to_bytes()).map_err(|e| StorageError::io("write", &temporary, e))?;
        file.sync().map_err(|e| StorageError::io("sync", &temporary, e))?;
        disk.rename(&temporary, HEAD).map_err(|e| StorageError::io("rename", HEAD, e))
    };
    written().inspect_err(|_| drop(disk.remove(&temporary)))?;
    sync_directory(disk)
}

impl FileStorage {
    fn log(&self) -> MutexGuard<'_, Log> {
        // Nothing that holds it panics; if it did, what is in it is a state between two writes.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, log: &Log) -> Result<(), StorageError> {
        if process::id() != self.process {
            return Err(StorageError::Forked { by: self.process });
        }
        match &log.poisoned {
            Some(after) if !is(Bug::SyncFailureIgnored) => Err(StorageError::Poisoned { after: after.clone() }),
            _ => Ok(()),
        }
    }

    fn syncing(&self) -> MutexGuard<'_, ()> {
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn needs_roll(&self, log: &Log) -> bool {
        log.open.is_none() || log.end.offset >= self.segment_len
    }

    /// Goes on in a new segment, which begins with `contents`. The caller holds `syncing`.
    ///
    /// If it fails before the new head is there, nothing has changed; where nobody knows whether it is, the storage is poisoned.
    fn roll(&self, log: &mut Log, contents: &[Vec<u8>]) -> Result<(), StorageError> {
        if !is(Bug::OldSegmentUnsynced) {
            self.sync_open(log)?;
        }
        if let Some(open) = &log.open {
            // Room that nobody will use. If it stays, it does no harm.
            let _ = open.file.set_len(log.end.offset);
        }
        let number = log.head.last + 1;
        // Of an opening, the last durable end: what lies behind it is what is written anew.
        let before = log.end;
        let (segment, end, file) = write_segment(&*self.disk, log.head.store, number, before, contents)?;
        let head = Head { last: number, closed: None, ..log.head.clone() };
        sync_directory(&*self.disk)
            .and_then(|()| write_head(&*self.disk, &head))
            .map_err(|error| self.poison(log, error))?;
        log.usage.syncs += 4;
        log.usage.written += end.offset + head.to_bytes().len() as u64;
        log.head = head;
        log.earlier += log.end.offset;
        log.end = end;
        log.usage.log = log.earlier + end.offset;
        log.open =
            Some(OpenSegment { file, seed: segment.seed(), durable: end.offset, room: end.offset, growth: MIN_GROWTH });
        Ok(())
    }

    fn poison(&self, log: &mut Log, error: StorageError) -> StorageError {
        // No room for a file of its own: all that was done before is undone by the next try.
        if !matches!(error, StorageError::Full { .. }) {
            log.poisoned = Some(match &error {
                StorageError::Io { action, file, source } => format!("{action} `{file}` ({source})"),
                other => other.to_string(),
            });
        }
        error
    }

    /// Syncs the open segment. The caller holds `syncing`.
    fn sync_open(&self, log: &mut Log) -> Result<(), StorageError> {
        let (number, end) = (log.head.last, log.end.offset);
        let Some(open) = log.open.as_mut().filter(|open| open.durable < end) else { return Ok(()) };
        if let Err(error) = open.file.sync() {
            let error = StorageError::sync(&segment_name(number), error);
            log.poisoned = Some(format!("sync `{}` ({error})", segment_name(number)));
            return Err(error);
        }
        open.durable = end;
        log.synced = log.appended;
        log.usage.syncs += 1;
        Ok(())
    }

    /// Writes a frame behind the last one. If that fails, the file has its old length, or the storage is poisoned; that the length is
    /// durable is left to the caller.
    fn write(&self, log: &mut Log, record: &[u8]) -> Result<(), StorageError> {
        let Log { open: Some(open), end, .. } = log else { return Ok(()) };
        let (offset, len) = (end.offset, frame_len(record.len()));
        let mut bytes = Vec::with_capacity(record.len() + 64);
        let name = frame::write(&mut bytes, open.seed, offset, end.name, open.durable, record);
        let mut room = open.room;
        if offset + len > room {
            room = offset + len + open.growth;
            open.growth = (open.growth * 2).min(MAX_GROWTH);
            bytes.resize(usize::try_from(room - offset).unwrap_or(bytes.len()), 0);
        }
        if let Err(error) = open.file.write_at(offset, &bytes) {
            let file = segment_name(log.head.last);
            let error = StorageError::io("write", &file, error);
            if is(Bug::UndoneStays) {
                return Err(error);
            }
            open.growth = MIN_GROWTH;
            open.room = offset;
            if let Err(undo) = open.file.set_len(offset) {
                log.poisoned = Some(format!("undo a write of `{file}` that failed ({undo})"));
            }
            return Err(error);
        }
        open.room = room;
        log.usage.written += bytes.len() as u64;
        log.end = End { offset: offset + len, name };
        log.usage.log = log.earlier + log.end.offset;
        log.appended += 1;
        Ok(())
    }
}

impl Storage for FileStorage {
    fn load(&self, schema: &str, mode: Load, sink: &mut dyn Sink) -> Result<Recovery, StorageError> {
        let (head, mut recovery) = self.head(schema, mode)?;
        let mut loaded = load(&*self.disk, head, mode, sink)?;
        recovery.lost.append(&mut loaded.recovery.lost);
        loaded.recovery.lost = Vec::new();
        let recovery = Recovery { lost: recovery.lost, created: recovery.created, ..loaded.recovery.clone() };
        let mut log = self.log();
        *log = Log::of(&loaded);
        if mode == Load::Salvage {
            log.poisoned = Some("go on with it: it was salvaged, and nobody has called `Storage::replace`".to_owned());
            return Ok(recovery);
        }
        self.remove_leftovers(&log.head);
        if !loaded.tail.is_empty() && !is(Bug::TailNotWrittenAnew) {
            self.roll(&mut log, &loaded.tail)?;
        }
        Ok(recovery)
    }

    fn replace(&self, parts: &[&[u8]]) -> Result<(), StorageError> {
        let mut log = self.log();
        let names = names(&*self.disk)?;
        let used = names.iter().filter_map(|name| segment_number(name).or_else(|| checkpoint_number(name)));
        let number = used.max().unwrap_or(0).max(log.head.last).max(log.head.checkpoint) + 1;
        let len = checked::write(&*self.disk, &checkpoint_name(number), log.head.store, parts)?;
        // The segment says that nothing before it counts: without the checkpoint it would take the log's end away.
        sync_directory(&*self.disk)?;
        let (_, end, _) = write_segment(&*self.disk, log.head.store, number, End::default(), &[])?;
        // If this stops after the head is written, the next opening goes on.
        let head_then = self.disk.open(HEAD).and_then(|file| read_all(&*file)).unwrap_or_default();
        for (name, content) in [(format!("{ASIDE}{number}-{HEAD}"), &head_then[..]), (SALVAGE.to_owned(), &[])] {
            let file = self.disk.create(&name).map_err(|e| StorageError::io("create", &name, e))?;
            file.write_at(0, content).map_err(|e| StorageError::io("write", &name, e))?;
            file.sync().map_err(|e| StorageError::io("sync", &name, e))?;
        }
        sync_directory(&*self.disk)?;
        let head = Head { checkpoint: number, first: number, last: number, closed: None, ..log.head.clone() };
        write_head(&*self.disk, &head)?;
        for name in names.iter().filter(|name| segment_number(name).is_some() || checkpoint_number(name).is_some()) {
            set_aside(&*self.disk, number, name)?;
        }
        sync_directory(&*self.disk)?;
        self.disk.remove(SALVAGE).map_err(|e| StorageError::io("remove", SALVAGE, e))?;
        let usage = Usage { checkpoint: len, log: end.offset, ..log.usage };
        *log = Log { head, end, usage, poisoned: None, ..Log::unread() };
        Ok(())
    }

    fn append(&self, record: &[u8]) -> Result<u64, StorageError> {
        let mut log = self.log();
        self.check(&log)?;
        if self.needs_roll(&log) {
            drop(log);
            let _syncing = self.syncing();
            log = self.log();
            self.check(&log)?;
            if self.needs_roll(&log) {
                self.roll(&mut log, &[])?;
            }
        }
        let Err(error) = self.write(&mut log, record) else { return Ok(log.appended) };
        // What was written of it may reach the disk, and the caller is told that it is not there: so the cut must be durable.
        drop(log);
        let _syncing = self.syncing();
        let mut log = self.log();
        if let Log { open: Some(open), poisoned: None, .. } = &mut *log
            && let Err(undo) = open.file.sync()
        {
            log.poisoned = Some(format!("undo a write that failed ({undo})"));
        }
        // If it is not undone, it may be there after all.
        self.check(&log)?;
        Err(error)
    }

    fn sync(&self) -> Result<u64, StorageError> {
        let _syncing = self.syncing();
        let (file, number, offset, appended) = {
            let log = self.log();
            self.check(&log)?;
            match &log.open {
                Some(open) if log.synced < log.appended => {
                    (Arc::clone(&open.file), log.head.last, log.end.offset, log.appended)
                }
                _ => return Ok(log.appended),
            }
        };
        // Others append meanwhile.
        let synced = if is(Bug::AckedUnsynced) { Ok(()) } else { file.sync() };
        let mut log = self.log();
        if let Err(error) = synced {
            let file = segment_name(number);
            let error = StorageError::sync(&file, error);
            log.poisoned = Some(format!("sync `{file}`"));
            return Err(error);
        }
        log.usage.syncs += 1;
        if let (true, Some(open)) = (log.head.last == number, &mut log.open) {
            open.durable = open.durable.max(offset);
        }
        log.synced = log.synced.max(appended);
        Ok(appended)
    }

    fn cut(&self) -> Result<Cut, StorageError> {
        let _syncing = self.syncing();
        let mut log = self.log();
        self.check(&log)?;
        if log.open.is_none() || log.end.offset > SEGMENT_HEAD as u64 {
            self.roll(&mut log, &[])?;
        }
        Ok(Cut::new(log.head.last))
    }

    fn checkpoint(&self, cut: Cut, parts: &[&[u8]]) -> Result<(), StorageError> {
        let _one = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        let store = {
            let log = self.log();
            self.check(&log)?;
            if cut.number() < log.head.checkpoint {
                return Ok(());
            }
            log.head.store
        };
        let name = checkpoint_name(cut.number());
        if is(Bug::HeadFirst) {
            let mut log = self.log();
            let head = Head { checkpoint: cut.number(), first: cut.number(), ..log.head.clone() };
            write_head(&*self.disk, &head)?;
            log.head = head;
        }
        let len = checked::write(&*self.disk, &name, store, parts)?;
        let mut log = self.log();
        self.check(&log)?;
        sync_directory(&*self.disk).map_err(|error| self.poison(&mut log, error))?;
        let old = log.head.clone();
        if is(Bug::RemovedBeforeHead) {
            self.remove_before(cut, old.checkpoint, old.first);
            sync_directory(&*self.disk)?;
        }
        let head = Head { checkpoint: cut.number(), first: cut.number(), ..old.clone() };
        write_head(&*self.disk, &head).map_err(|error| self.poison(&mut log, error))?;
        log.head = head;
        log.earlier = 0;
        // Segments after the cut but before the last, if it was rolled meanwhile.
        for number in cut.number()..log.head.last {
            let len = self.disk.open(&segment_name(number)).and_then(|file| file.len());
            log.earlier += len.unwrap_or(0);
        }
        log.usage.checkpoint = len;
        log.usage.log = log.earlier + log.end.offset;
        log.usage.written += len;
        log.usage.syncs += 4;
        self.remove_before(cut, old.checkpoint, old.first);
        Ok(())
    }

    fn put_blob(&self, name: &BlobName, content: &[u8]) -> Result<(), StorageError> {
        let store = {
            let log = self.log();
            self.check(&log)?;
            log.head.store
        };
        checked::write(&*self.disk, &format!("{BLOB}{name}"), store, &[content])?;
        sync_directory(&*self.disk).map_err(|error| self.poison(&mut self.log(), error))
    }

    fn blob(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StorageError> {
        let store = self.log().head.store;
        checked::read(&*self.disk, &format!("{BLOB}{name}"), store)
    }

    fn blobs(&self) -> Result<Vec<BlobName>, StorageError> {
        let names = names(&*self.disk)?;
        Ok(names.iter().filter_map(|name| BlobName::new(name.strip_prefix(BLOB)?)).collect())
    }

    fn remove_blob(&self, name: &BlobName) -> Result<bool, StorageError> {
        self.check(&self.log())?;
        let file = format!("{BLOB}{name}");
        match self.disk.remove(&file) {
            Ok(()) => sync_directory(&*self.disk).map_err(|error| self.poison(&mut self.log(), error)).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StorageError::io("remove", &file, error)),
        }
    }

    fn health(&self) -> Result<(), StorageError> {
        self.check(&self.log())
    }

    fn usage(&self) -> Usage {
        let log = self.log();
        Usage { files: log.head.last - log.head.first + 1, ..log.usage }
    }

    fn close(&self) {
        let _syncing = self.syncing();
        let mut log = self.log();
        if self.check(&log).is_err() || log.head.closed.is_some() || self.sync_open(&mut log).is_err() {
            return;
        }
        let end = log.end;
        if let Some(open) = &log.open {
            // Room that nobody will use. If it stays, it does no harm.
            let _ = open.file.set_len(end.offset).and_then(|()| open.file.sync());
        }
        let head = Head { closed: Some(end), ..log.head.clone() };
        if write_head(&*self.disk, &head).is_ok() {
            (log.head, log.open) = (head, None);
        }
    }
}

impl FileStorage {
    /// Removes what the checkpoint of a cut replaces. What cannot be removed is removed by the next opening.
    fn remove_before(&self, cut: Cut, checkpoint: u64, first: u64) {
        for number in first..cut.number() {
            let _ = self.disk.remove(&segment_name(number));
        }
        if checkpoint > 0 && checkpoint != cut.number() {
            let _ = self.disk.remove(&checkpoint_name(checkpoint));
        }
    }
}
