//! A folder of files that anything moves.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use crate::kernel::Crdt;
use crate::replica::{Prune, Replica};
use crate::sync::device::DeviceName;
use crate::sync::folder::files::{Mark, failed};
use crate::sync::folder::pull::Content;
use crate::sync::folder::push::Write;
use crate::sync::folder::report::{FolderError, FolderReport};

/// The longest file that is read or written, unless [`Folder::with_file_limit`] says otherwise. A file is read as a whole, and
/// decoding takes up to eight times its size: two GiB, which the machines that hold such states have.
pub const MAX_FILE_LEN: u64 = 256 << 20;

/// How many files follow a checkpoint at most: so many are listed and read in well under a second.
pub const MAX_CHAIN_FILES: usize = 256;

/// The files that follow a checkpoint may have as many bytes as the checkpoint, or so many if that is more. So a byte is
/// written some three times over the life of a folder, and a newcomer reads at most twice what is alive.
pub const MIN_CHAIN_LEN: u64 = 64 << 10;

/// Syncing through a folder of files, which anything moves: git, Syncthing, a USB stick, a mounted object store.
///
/// Each device writes to a directory of its own and only reads the others', so there is nothing for whatever moves the files to
/// merge. A file holds a delta, as [`Delta::to_bytes`](crate::Delta::to_bytes) writes it, and builds on the one before it; now and then one is
/// a *checkpoint* that holds everything, and those before it are dropped. Files may come late, twice, in any order, in part or
/// damaged: what can be applied is, the rest is [reported](FolderReport::skipped) and tried again next time.
///
/// Nothing has to be kept between runs: what has been read is told by the replica's version, what has been written by the
/// files. In memory, what was read is remembered by name, length and time of change, as its versions alone (some 50 bytes for each
/// file and writer ever heard of), so that no file is read twice. The first sync reads every file once.
///
/// ```
/// use driftless::sync::Folder;
/// use driftless::{Graph, Replica};
/// # let temporary = tempfile::tempdir()?;
/// # let directory = temporary.path();
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// let mut on_laptop = Folder::open(directory, "laptop")?;
/// let mut on_phone = Folder::open(directory, "phone")?; // in earnest another directory, kept equal by a tool
///
/// laptop.edit(|g| g.add_node("person:ada"))?;
/// phone.edit(|g| g.add_node("note:g"))?;
/// let report = on_laptop.sync(&mut laptop)?;
/// assert!(report.written.is_some());
/// on_phone.sync(&mut phone)?;
/// let report = on_laptop.sync(&mut laptop)?;
/// assert_eq!(report.merged.len(), 1);
/// assert!(report.skipped.is_empty() && report.unwritten.is_none());
/// assert_eq!(laptop.state(), phone.state());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What to keep to
///
/// - One folder for each value: files of another type are left out.
/// - A device's name is one installation's, for good, and one process uses it at a time.
/// - Save the replica durably before it [pushes](Self::push), or give the lease up: a replica that crashed and
///   resumed would write other things under the dots that are in the folder. One that syncs before its first write is told
///   so ([`OwnDots`](FolderError::OwnDots), and then see [`reclaim`](Self::reclaim)); later it is told as long as one of the
///   writes that collide still shows ([`OtherWrites`](FolderError::OtherWrites)).
/// - [Prune](Self::prune) through the folder.
/// - The directory of a device that is gone for good may be deleted once another has synced.
///
/// # What it costs
///
/// A push costs what changed, with what was merged from others meanwhile; so the folder holds a thing once for each device that
/// writes. A device that has nothing to say that another's files do not say already writes nothing. A checkpoint is O(n): it is
/// written when the files since the last one are [as many bytes](MIN_CHAIN_LEN) or [too many](MAX_CHAIN_FILES), and
/// when somebody else pruned what our files do not tell of.
pub struct Folder<T> {
    pub(super) folder: PathBuf,
    pub(super) device: DeviceName,
    pub(super) limit: u64,
    pub(super) read: BTreeMap<PathBuf, (Mark, Content)>,
    /// The highest number that was ever written here: a file that somebody deleted gets no namesake.
    pub(super) highest: u64,
    of: PhantomData<fn() -> T>,
}

impl<T: Crdt> Folder<T> {
    /// Opens a folder under a device's name: see [`DeviceName`] for what that may be.
    ///
    /// The folder must be there (a stick that is not plugged in should not become a directory); in it nothing is made before
    /// the first push.
    pub fn open(folder: impl Into<PathBuf>, device: &str) -> Result<Self, FolderError> {
        let (folder, device) = (folder.into(), device.parse::<DeviceName>()?);
        fs::read_dir(&folder).map_err(failed("open", &folder))?;
        let (limit, read) = (MAX_FILE_LEN, BTreeMap::new());
        Ok(Self { folder, device, limit, read, highest: 0, of: PhantomData })
    }

    /// Reads and writes files of up to `bytes`, instead of [`MAX_FILE_LEN`]. Decoding one takes up to eight times as much.
    #[must_use]
    pub fn with_file_limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// The name that we write under.
    pub fn device(&self) -> &DeviceName {
        &self.device
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// [Pulls](Self::pull), then [pushes](Self::push). An error of the push stands in [`FolderReport::unwritten`], beside
    /// what was read.
    pub fn sync(&mut self, replica: &mut Replica<T>) -> Result<FolderReport, FolderError> {
        let mut report = self.pull(replica)?;
        match self.push(replica) {
            Ok(pushed) => {
                report.bytes_read += pushed.bytes_read;
                report.skipped.extend(pushed.skipped);
                (report.written, report.dropped) = (pushed.written, pushed.dropped);
            }
            Err(error) => report.unwritten = Some(error),
        }
        Ok(report)
    }

    /// Merges what the others' files hold, as far as it can be: in passes, until nothing more applies, since what is missing
    /// in one device's files may be in another's. Reads one file at a time, and none that holds nothing new.
    ///
    /// Fails only if the folder itself, or our own directory in it, cannot be listed.
    pub fn pull(&mut self, replica: &mut Replica<T>) -> Result<FolderReport, FolderError> {
        self.read_in(replica)
    }

    /// Writes what our own files do not hold yet, unless another device's files do.
    ///
    /// Refuses, with nothing written or deleted, if this replica turns out to be an old copy
    /// ([`OwnFilesAhead`](FolderError::OwnFilesAhead), [`OwnDots`](FolderError::OwnDots)), or if a file of ours cannot be read
    /// for another reason than damage.
    pub fn push(&mut self, replica: &Replica<T>) -> Result<FolderReport, FolderError> {
        self.write_out(replica, Write::UnlessToldByOthers)
    }

    /// Writes out what our own files do not hold yet, then [prunes](Replica::prune) and returns how many tombstones were
    /// dropped. If nothing can be written, nothing is pruned.
    ///
    /// What is pruned before it was written is lost to the files: it stays deleted, but each device has to write a checkpoint.
    ///
    /// ```
    /// # use driftless::sync::Folder;
    /// # use driftless::{Graph, NodeId, Prune, Replica};
    /// # let temporary = tempfile::tempdir()?;
    /// # let (mut replica, mut folder) = (Replica::<Graph>::new(), Folder::open(temporary.path(), "laptop")?);
    /// replica.edit(|g| g.add_node("person:ada"))?;
    /// replica.edit(|g| g.remove_node(NodeId::named("person:ada")).map(drop))?;
    /// assert_eq!(folder.prune(&mut replica, Prune::All)?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prune(&mut self, replica: &mut Replica<T>, tombstones: Prune<'_>) -> Result<usize, FolderError> {
        let _ = self.write_out(replica, Write::Always)?;
        Ok(replica.prune(tombstones))
    }
}

impl<T> fmt::Debug for Folder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("path", &self.folder).field("device", &self.device).finish_non_exhaustive()
    }
}
