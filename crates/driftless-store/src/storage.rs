//! What lies under a store: a checkpoint, a log of records after it, and blobs beside them.

use std::fmt;
use std::io;
use std::sync::Arc;

use thiserror::Error;

/// A place that keeps a checkpoint, the records that were appended since, and named blobs.
///
/// [`FileStorage`](crate::FileStorage) is one in a directory, [`MemoryStorage`](crate::MemoryStorage) one for tests. What a record
/// means is none of its business.
///
/// All methods take `&self`: while one thread syncs, others append.
pub trait Storage: Send + Sync + fmt::Debug + 'static {
    /// Reads all that is there and hands it to `sink`: first of all that is called, and once. `schema` names the type of what the
    /// store holds, and begins a store where there is none.
    ///
    /// What was appended and may not be durable is durable when this returns. Damage is an error, unless it is to be
    /// [salvaged](Load::Salvage): then it is in the [`Recovery`], the storage takes nothing but [`replace`](Self::replace), and
    /// nothing has changed before that.
    fn load(&self, schema: &str, load: Load, sink: &mut dyn Sink) -> Result<Recovery, StorageError>;

    /// Replaces all that is there by a checkpoint, after a [salvage](Load::Salvage). What is damaged is set aside, not removed.
    fn replace(&self, parts: &[&[u8]]) -> Result<(), StorageError>;

    /// Appends a record. Returns its number, which is one more than that of the record before it.
    ///
    /// It is durable once [`sync`](Self::sync) has returned this number or a greater one. If this fails, the record is not there, and
    /// never will be.
    fn append(&self, record: &[u8]) -> Result<u64, StorageError>;

    /// Makes all records durable that were appended before the call. Returns the number of the last.
    ///
    /// A failed sync fails all that follow, until the storage is opened again: nobody knows then what is on the medium.
    fn sync(&self) -> Result<u64, StorageError>;

    /// Begins a generation: a checkpoint that is written for the cut replaces all records that were appended before it.
    fn cut(&self) -> Result<Cut, StorageError>;

    /// Replaces the checkpoint, and with it the records before the cut, at once or not at all. Records go on being appended
    /// meanwhile. A cut that is older than the checkpoint changes nothing.
    ///
    /// The content is the parts, one after the other.
    fn checkpoint(&self, cut: Cut, parts: &[&[u8]]) -> Result<(), StorageError>;

    /// Keeps a blob under a name, durably, in place of what was there. At once or not at all.
    fn put_blob(&self, name: &BlobName, content: &[u8]) -> Result<(), StorageError>;

    /// Returns a blob, or none if there is none of the name.
    fn blob(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StorageError>;

    /// Returns the names of all blobs, in order.
    fn blobs(&self) -> Result<Vec<BlobName>, StorageError>;

    /// Removes a blob, durably. Returns whether there was one.
    fn remove_blob(&self, name: &BlobName) -> Result<bool, StorageError>;

    /// Says whether more can be written: an error that all writes would return, such as [`StorageError::Poisoned`].
    fn health(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Returns how much there is.
    fn usage(&self) -> Usage;

    /// Says that nothing more will be appended, so that the next opening need not write the end of the log anew. Makes nothing
    /// durable. As good as it can: a process that dies does not call it.
    fn close(&self);
}

/// What to do about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Refuse to open.
    Whole,
    /// Go on with what is whole.
    Salvage,
}

/// What an opening found, beside what is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// True if there was no store, and one was begun.
    pub created: bool,
    /// True if the store was closed when it was last used; false after a crash, and where it is new.
    pub was_closed: bool,
    /// Records of the log that were taken.
    pub records: u64,
    /// The end of the log, if it was cut: what was being written when the process or the machine stopped, which nobody was told
    /// that it is durable. Rot there cannot be told from that.
    pub truncated: Option<Truncated>,
    /// Damage. Unless it was [salvaged](Load::Salvage), only that of an [audit](crate::Store::audit).
    pub lost: Vec<Lost>,
}

/// The end of a log that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Truncated {
    /// The file.
    pub file: String,
    /// Where it was cut.
    pub offset: u64,
    /// How many bytes were left out, up to the last that is not zero.
    pub bytes: u64,
}

/// Something that was durable and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// How many bytes; 0 if nobody knows, as of a file that is missing.
    pub bytes: u64,
    /// What is wrong.
    pub what: String,
}

/// Takes what a storage holds when it is opened.
pub trait Sink {
    /// Takes the checkpoint, first of all. An error says why it makes no sense.
    fn checkpoint(&mut self, content: &[u8]) -> Result<(), String>;

    /// Takes a record, in the order in which they were appended. An error says why it does not apply.
    fn record(&mut self, content: &[u8]) -> Result<(), String>;

    /// Hears how far reading is.
    fn progress(&mut self, progress: OpenProgress) {
        let _ = progress;
    }
}

/// How far an opening is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenProgress {
    /// Bytes that were read.
    pub bytes: u64,
    /// Bytes in all.
    pub bytes_expected: u64,
    /// Records that were taken.
    pub records: u64,
}

/// The beginning of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut(u64);

impl Cut {
    /// A cut, for a storage of one's own: a number that grows from cut to cut.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number that it was made of.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// How much a storage holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes of the checkpoint.
    pub checkpoint: u64,
    /// Bytes of the log since, as far as it is written.
    pub log: u64,
    /// Files that the log is spread over; 0 where there are none. Each opening that writes begins one.
    pub files: u64,
    /// Bytes that were written since it was opened, with all that was prepared in advance.
    pub written: u64,
    /// Syncs since it was opened.
    pub syncs: u64,
}

/// The name of a blob: 1 to 120 of `a` to `z`, `0` to `9`, `-`, so that it is a file's name on every system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName(Box<str>);

impl BlobName {
    /// Checks a name; none if it is not allowed.
    pub fn new(name: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((1..=120).contains(&name.len()) && name.bytes().all(allowed)).then(|| Self(name.into()))
    }

    /// A name that is made of allowed characters, and short enough.
    pub(crate) fn allowed(name: String) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reason why a storage could not do what it was to do.
///
/// `Clone`, since one failed sync fails all who wait for it.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The system said no.
    #[error("could not {action} `{file}`: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file, or the directory.
        file: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// There is no room. Nothing has changed, in memory or on the disk.
    #[error("there is no room for `{file}`: {source}; nothing has changed: free some space and do it again")]
    Full {
        /// The file that was to grow.
        file: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A sync or the undoing of a write has failed before, so nobody knows what is on the disk.
    #[error(
        "the store refuses to go on since it could not {after}; drop it and open it again, which writes the end of its log anew"
    )]
    Poisoned {
        /// What had failed.
        after: String,
    },
    /// Another process, or another part of this one, has the store open.
    #[error(
        "`{location}` is open already{}; close it there, or wait for it by `Options::waiting_for_lock`",
        if holder.is_empty() { String::new() } else { format!(", by {}", holder.escape_debug()) }
    )]
    Locked {
        /// The directory.
        location: String,
        /// What the holder says of itself.
        holder: String,
    },
    /// Something that was durable is not what it was.
    #[error("`{file}` is damaged at byte {offset}: {what}; `salvage` opens it with what is whole, or restore a backup")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A file is not there that must be.
    #[error("`{file}` is missing; put it back, or `salvage` opens the store with what is whole, or restore a backup")]
    Missing {
        /// The file.
        file: String,
    },
    /// A file belongs to another store.
    #[error("`{file}` belongs to another store; put the right one back, or `salvage` opens the store without it")]
    Foreign {
        /// The file.
        file: String,
    },
    /// A later version wrote it.
    #[error("`{file}` is of format {found}, and this version reads up to {newest}; update the program")]
    Format {
        /// The file.
        file: String,
        /// The format.
        found: u16,
        /// The newest that is read.
        newest: u16,
    },
    /// The store holds values of another type.
    #[error("`{location}` holds a `{found}`, not a `{expected}`; open it as what it is")]
    Schema {
        /// The directory.
        location: String,
        /// The type that it holds.
        found: String,
        /// The type that it was opened as.
        expected: String,
    },
    /// There is no store, and none was to be made.
    #[error("there is no store in `{location}`; look at the path, or `open` it to begin one")]
    NoStore {
        /// The directory.
        location: String,
    },
    /// The process is a fork of the one that opened the store.
    #[error("the store was opened by process {by}, of which this is a fork; open it anew once that one has closed it")]
    Forked {
        /// The process that opened it.
        by: u32,
    },
    /// A database under the store failed.
    #[error("could not {action} in `{location}`: {reason}")]
    Backend {
        /// What was tried.
        action: &'static str,
        /// The database.
        location: String,
        /// What it said.
        reason: String,
    },
}

impl StorageError {
    /// An error of the system; lack of room is told apart.
    pub(crate) fn io(action: &'static str, file: &str, error: io::Error) -> Self {
        let file = file.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { file, source: Arc::new(error) },
            _ => Self::Io { action, file, source: Arc::new(error) },
        }
    }

    /// A failed sync of what is in use already. It is no lack of room, whatever the system calls it: something may have changed.
    pub(crate) fn sync(file: &str, error: io::Error) -> Self {
        Self::Io { action: "sync", file: file.to_owned(), source: Arc::new(error) }
    }

    pub(crate) fn damaged(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, what: what.into() }
    }
}
