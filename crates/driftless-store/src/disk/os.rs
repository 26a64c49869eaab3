//! A directory of the operating system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::disk::{Disk, DiskFile, Lock, LockError};

/// The file that is locked. What the holder says of itself stands in another: Windows lets nobody read a locked file.
const LOCK: &str = "lock";
const HOLDER: &str = "holder";

/// How long a waiter sleeps before it tries again.
const RETRY: Duration = Duration::from_millis(10);

/// A directory of the operating system.
#[derive(Debug)]
pub struct OsDisk {
    path: PathBuf,
    opened: Opened,
}

impl OsDisk {
    /// Opens a directory, and creates it if it is not there, with the directories above it.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let missing: Vec<&Path> =
            path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.is_dir()).collect();
        fs::create_dir_all(path)?;
        // Each new name must survive as well as what will be in it.
        for parent in missing.into_iter().filter_map(Path::parent) {
            sync_directory(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
        Self::open(path)
    }

    /// Opens a directory that is there.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let opened = Opened::new(&path)?;
        Ok(Self { path, opened })
    }

    /// Fails if another directory is in the place of the one that was opened: names would lead into that.
    fn check(&self) -> io::Result<()> {
        match self.opened.is_at(&self.path) {
            Ok(true) => Ok(()),
            _ => Err(io::Error::other("the directory was moved or removed while it was open; open it where it is now")),
        }
    }

    fn at(&self, name: &str) -> io::Result<PathBuf> {
        self.check()?;
        Ok(self.path.join(name))
    }
}

impl Disk for OsDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(self.at(name)?)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.at(name)?;
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
            {
                File::open(&path)?
            }
            file => file?,
        };
        Ok(Arc::new(OsFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from)?, self.at(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name)?)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.check()?;
        sync_directory(&self.path)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.check()?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is no text is none of ours.
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn lock(&self, holder: &str, wait: Duration) -> Result<Box<dyn Lock>, LockError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(self.at(LOCK)?)?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begin.elapsed() < wait => {
                    thread::sleep(RETRY.min(wait.saturating_sub(begin.elapsed())));
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = self.at(HOLDER).and_then(fs::read_to_string).unwrap_or_default();
                    return Err(LockError::Held { holder });
                }
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
        }
        // For people alone: on a full disk the store must open all the same.
        let _ = self.at(HOLDER).and_then(|path| fs::write(path, holder));
        Ok(Box::new(OsLock { _file: file }))
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }
}

/// The directory that was opened, wherever it is now.
#[cfg(unix)]
#[derive(Debug)]
struct Opened(File);

#[cfg(unix)]
impl Opened {
    fn new(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let (opened, there) = (self.0.metadata()?, fs::metadata(path)?);
        Ok((opened.dev(), opened.ino()) == (there.dev(), there.ino()))
    }
}

/// Windows renames no directory in which a file is open.
#[cfg(not(unix))]
#[derive(Debug)]
struct Opened;

#[cfg(not(unix))]
impl Opened {
    fn new(_: &Path) -> io::Result<Self> {
        Ok(Self)
    }

    fn is_at(&self, _: &Path) -> io::Result<bool> {
        Ok(true)
    }
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// NTFS logs names by itself, and a directory cannot be opened as a file.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Closing the file lets go of the lock.
#[derive(Debug)]
struct OsLock {
    _file: File,
}

impl Lock for OsLock {}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    fn read_at(&self, mut offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match read_some(&self.0, offset, rest) {
                Ok(0) => break,
                Ok(more) => {
                    read += more;
                    offset += more as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match write_some(&self.0, offset, bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(unix)]
fn read_some(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(unix)]
fn write_some(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_some(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
        // Windows calls the end of a file an error where the offset lies behind it.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read,
    }
}

#[cfg(windows)]
fn write_some(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}
