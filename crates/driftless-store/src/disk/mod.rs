//! The file system below a store, as small as a store needs it.
//!
//! Faults are put here, and not at [`Storage`](crate::Storage): a database fits behind that as well, and would hide the order of
//! writes, renames and syncs, which is what a crash punishes.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

mod os;
#[cfg(feature = "testing")]
mod simulated;

pub use os::OsDisk;
#[cfg(feature = "testing")]
pub use simulated::{Fault, Image, SimulatedDisk};

/// One directory of files, without directories below it.
///
/// What survives a crash is what POSIX promises and no more: the bytes of a file that was synced since they were written, and the
/// names in the directory that it had when the directory was last synced. All else may be there, or not, in any combination.
///
/// | system | rename replaces | directory sync | file sync |
/// |---|---|---|---|
/// | Linux | atomically | `fsync` of the directory | `fdatasync` |
/// | macOS | atomically | `fsync` of the directory | `F_FULLFSYNC` |
/// | Windows | atomically on NTFS | none: NTFS logs names by itself | `FlushFileBuffers` |
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Creates a file that is empty, whatever was under the name, to read and to write.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file to read and to write; to read alone if it may not be written.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file; what was under the new name is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable: what was created, renamed, removed.
    fn sync_directory(&self) -> io::Result<()>;

    /// Returns the names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Takes the lock of the directory, and waits for it at most so long. `holder` says to others who has it.
    ///
    /// The lock goes when the value is dropped, and with the process.
    fn lock(&self, holder: &str, wait: Duration) -> Result<Box<dyn Lock>, LockError>;

    /// Where it is, for people.
    fn location(&self) -> String;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads at an offset until the buffer is full or the file ends. Returns how many bytes were read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all bytes at an offset; the file grows if it has to. After an error some of them may be written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or fills it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns the length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// True if there is nothing in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes all bytes and the length durable.
    fn sync(&self) -> io::Result<()>;
}

/// A lock that is held; dropping it lets go of it.
pub trait Lock: Send + Sync + fmt::Debug {}

/// The reason why a lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else has it.
    Held {
        /// What that one said of itself; empty if it said nothing.
        holder: String,
    },
    /// Locking failed.
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a whole file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    bytes.resize(len, 0);
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
