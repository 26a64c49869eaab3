//! The journal as files: each change that is durable, as one line of JSON.
//!
//! Entries are numbered. The number that the journal has reached stands in the local table of each checkpoint, so the records that an
//! opening merges again get the numbers that they had, and those which the files hold already are not written twice. A line is
//! written once its record is durable, and is durable itself at the latest with the next checkpoint: until then the record is there
//! to be merged again.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;

use driftless::{Journal, JournalLimit};
use serde::Deserialize;

use crate::disk::{Disk, DiskFile, Lock, OsDisk};
use crate::file::{FileOptions, take_lock};
use crate::storage::StorageError;
use crate::table::OWN;

/// Key of the local table: the number that the journal had reached.
pub(crate) const JOURNALED: &[u8] = &[OWN, b'j'];

const PREFIX: &str = "changes-";
const SUFFIX: &str = ".jsonl";

/// Bytes that are handed to the system at a time.
const CHUNK: usize = 1024 * 1024;

/// Memory that entries may take which cannot be written or are not durable yet.
pub(crate) const MAX_WAITING: usize = 64 * 1024 * 1024;

pub(crate) const UNLIMITED: JournalLimit = JournalLimit { entries: usize::MAX, bytes: usize::MAX };

/// The limit of an exported journal. The oldest files go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportLimit {
    /// Bytes after which a new file is begun.
    pub file_bytes: u64,
    /// The most files, at least one.
    pub files: usize,
}

impl Default for ExportLimit {
    /// 16 files of 16 MiB.
    fn default() -> Self {
        Self { file_bytes: 16 << 20, files: 16 }
    }
}

/// The place that a journal is exported to.
pub(crate) enum ExportTo {
    Directory(PathBuf),
    Disk(Arc<dyn Disk>),
}

/// An exported journal, open to be written.
pub(crate) struct Export {
    disk: Arc<dyn Disk>,
    limit: ExportLimit,
    /// The names of the files, oldest first.
    names: VecDeque<String>,
    newest: Option<Newest>,
    /// Number of the last entry in the files; 0 if there is none.
    last: u64,
    /// Numbers of records, and of the last entry of each, that are not in the files.
    waiting: VecDeque<(u64, u64)>,
    error: Option<StorageError>,
    _lock: Box<dyn Lock>,
}

/// The file that is appended to.
struct Newest {
    file: Arc<dyn DiskFile>,
    len: u64,
    is_synced: bool,
}

impl Export {
    /// Goes on with the files that are there. The end of the newest is cut off from the first line that is not whole.
    pub(crate) fn open(to: ExportTo, limit: ExportLimit, files: &FileOptions) -> Result<Self, StorageError> {
        let disk = match to {
            ExportTo::Disk(disk) => disk,
            ExportTo::Directory(path) => {
                let created = OsDisk::create(&path);
                Arc::new(created.map_err(|e| StorageError::io("create", &path.display().to_string(), e))?)
            }
        };
        let location = disk.location();
        let lock = take_lock(&*disk, files)?;
        let names = disk.list().map_err(|error| StorageError::io("list", &location, error))?;
        let mut numbered: Vec<_> = names.into_iter().filter_map(|name| Some((first_of(&name)?, name))).collect();
        numbered.sort_unstable();
        let (mut newest, mut last) = (None, 0);
        if let Some((first, name)) = numbered.last() {
            let file = disk.open(name).map_err(|error| StorageError::io("open", name, error))?;
            let (len, read) = whole_lines(&file).map_err(|error| StorageError::io("read", name, error))?;
            if file.len().map_err(|error| StorageError::io("read", name, error))? > len {
                file.set_len(len).map_err(|error| StorageError::io("cut", name, error))?;
            }
            last = read.unwrap_or(first.saturating_sub(1));
            newest = Some(Newest { file, len, is_synced: false });
        }
        let names = numbered.into_iter().map(|(_, name)| name).collect();
        Ok(Self { disk, limit, names, newest, last, waiting: VecDeque::new(), error: None, _lock: lock })
    }

    /// Number of the last entry in the files; 0 if there is none.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn error(&self) -> Option<&StorageError> {
        self.error.as_ref()
    }

    /// True if nothing waits to be written.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The newest file, for people.
    pub(crate) fn newest(&self) -> Option<(&str, u64)> {
        Some((self.names.back()?, self.newest.as_ref()?.len))
    }

    /// Notes which entries belong to a record.
    pub(crate) fn recorded(&mut self, record: u64, entry: u64) {
        if entry > self.waiting.back().map_or(self.last, |(_, last)| *last) {
            self.waiting.push_back((record, entry));
        }
    }

    /// Writes the entries of records that are durable. If that fails, they wait.
    pub(crate) fn write(&mut self, journal: &Journal, durable: u64) {
        let ready = self.waiting.iter().take_while(|(record, _)| *record <= durable).last();
        let Some((_, upto)) = ready.copied() else { return };
        let written = self.append(journal, upto);
        let last = self.last;
        self.waiting.retain(|(_, entry)| *entry > last);
        self.error = written.err();
    }

    fn append(&mut self, journal: &Journal, upto: u64) -> Result<(), StorageError> {
        // Entries that were dropped while nothing could be written are a gap in the numbers.
        let (mut chunk, mut first, mut last) = (Vec::new(), None, self.last);
        let entries = journal.entries().skip_while(move |entry| entry.number() <= last);
        for entry in entries.take_while(|entry| entry.number() <= upto) {
            // Text, numbers and values of JSON are always encodable.
            if serde_json::to_writer(&mut chunk, entry).is_ok() {
                chunk.push(b'\n');
            }
            last = entry.number();
            first.get_or_insert(last);
            if chunk.len() >= CHUNK {
                self.append_chunk(&mut chunk, first.take(), last)?;
            }
        }
        self.append_chunk(&mut chunk, first, last)?;
        self.last = self.last.max(upto);
        Ok(())
    }

    fn append_chunk(&mut self, chunk: &mut Vec<u8>, first: Option<u64>, last: u64) -> Result<(), StorageError> {
        let Some(first) = first else { return Ok(()) };
        let is_full = self.newest.as_ref().is_none_or(|newest| newest.len >= self.limit.file_bytes.max(1));
        if is_full {
            self.begin(first)?;
        }
        let (Some(name), Some(newest)) = (self.names.back(), &mut self.newest) else { return Ok(()) };
        newest.is_synced = false;
        newest.file.write_at(newest.len, chunk).map_err(|error| StorageError::io("write", name, error))?;
        newest.len += chunk.len() as u64;
        self.last = last;
        chunk.clear();
        Ok(())
    }

    /// Begins a file, and drops the oldest beyond the limit.
    fn begin(&mut self, first: u64) -> Result<(), StorageError> {
        self.sync()?;
        let name = format!("{PREFIX}{first:020}{SUFFIX}");
        let file = self.disk.create(&name).map_err(|error| StorageError::io("create", &name, error))?;
        self.newest = Some(Newest { file, len: 0, is_synced: false });
        self.names.retain(|other| *other != name);
        self.names.push_back(name);
        while self.names.len() > self.limit.files.max(1) {
            let Some(oldest) = self.names.front() else { break };
            match self.disk.remove(oldest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StorageError::io("remove", oldest, error));
                }
                _ => drop(self.names.pop_front()),
            }
        }
        let location = self.disk.location();
        self.disk.sync_directory().map_err(|error| StorageError::io("sync", &location, error))
    }

    /// Makes all lines durable.
    pub(crate) fn sync(&mut self) -> Result<(), StorageError> {
        let (Some(name), Some(newest)) = (self.names.back(), &mut self.newest) else { return Ok(()) };
        if !newest.is_synced {
            newest.file.sync().map_err(|error| StorageError::io("sync", name, error))?;
            newest.is_synced = true;
        }
        Ok(())
    }

    /// Makes all lines durable; a failure is kept.
    pub(crate) fn settle(&mut self) {
        if let Err(error) = self.sync() {
            self.error = Some(error);
        }
    }
}

/// The number of the first entry of a file, by its name.
fn first_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

/// Returns the number of bytes that whole lines take, and the number of the last entry.
fn whole_lines(file: &Arc<dyn DiskFile>) -> io::Result<(u64, Option<u64>)> {
    #[derive(Deserialize)]
    struct Numbered {
        number: u64,
    }
    let mut reader = BufReader::new(From { file: Arc::clone(file), offset: 0 });
    let (mut len, mut last, mut line) = (0, None, Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        let whole = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
        let Some(Numbered { number }) = whole.filter(|line: &Numbered| last < Some(line.number)) else { break };
        (len, last) = (len + line.len() as u64, Some(number));
        line.clear();
    }
    Ok((len, last))
}

/// Reads a file from some place on.
struct From {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.offset, buffer)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("location", &self.disk.location())
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}
