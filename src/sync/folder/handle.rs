//! A folder of files that anything moves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use crate::kernel::Crdt;
use crate::replica::Prune;
use crate::sync::device::DeviceName;
use crate::sync::folder::files::failed;
use crate::sync::folder::pull::Known;
use crate::sync::folder::push::Write;
use crate::sync::folder::report::{FolderError, FolderReport};
use crate::sync::replicated::Replicated;

/// The longest file that is read or written, unless [`Folder::with_file_limit`] says otherwise. A file is read as a whole, and
/// decoding takes up to sixteen times this limit: 4 GiB, which the machines that hold such states have.
pub const MAX_FILE_LEN: u64 = 256 << 20;

/// The memory that decoding may take for each byte of the limit of a file's length, in bytes.
pub(super) const MEMORY_PER_BYTE: u64 = 16;

/// The memory that decoding may take however low that limit is, in bytes: enough for a few thousand writes.
pub(super) const LEAST_MEMORY: u64 = 1 << 20;

/// How many files follow a checkpoint at most: so many are listed and read in well under a second.
pub const MAX_CHAIN_FILES: usize = 256;

/// The files that follow a checkpoint may have as many bytes as the checkpoint, or so many if that is more. So a byte is
/// written some three times over the life of a folder, and a newcomer reads at most twice what is alive.
pub const MIN_CHAIN_LEN: u64 = 64 << 10;

/// Syncing through a folder of files, which anything moves: git, Syncthing, a USB stick, a mounted object store.
///
/// Each device writes to a directory of its own and only reads the others', so there is nothing for whatever moves the files to
/// merge. A file holds a delta, which builds on those before it, and a [statement](crate::Statement): which version its device stood
/// at, and the fingerprint of what it held there. Now and then a file is a *checkpoint* that holds everything, and those before it are
/// deleted. No name is ever given twice. Files may come late, twice, in any order, in part or damaged: what can be applied
/// is, the rest is [reported](FolderReport::skipped) and tried again next time.
///
/// Nothing has to be kept between runs: what has been read follows from the replica's version, what has been written from the
/// files. So any saved state may be opened, of whatever age, in as many processes and under as many names as you like. In
/// memory, what was read is remembered by name, length, time of change and header, as its versions alone (some 13 bytes for each
/// head), so that no file is read twice but one that is damaged, which may have been put right. The first sync reads every file
/// once.
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
/// - A device's name is one installation's. If two use one name, sync tools may see conflicts in the directory's
///   deletions; no data is lost by it.
/// - Save the replica durably before it [pushes](Self::push): what a crash loses comes back out of the folder, but the next
///   opening forks, and each version grows by one head (some 13 bytes) for good.
/// - [Prune](Self::prune) through the folder.
/// - The directory of a device that is gone for good may be deleted once another has synced.
///
/// # Divergence
///
/// Replicas at equal versions hold the same, unless a running process was copied with its memory, or a disk rots. A sync
/// that reads a statement about the version of its replica with another fingerprint [reports](FolderReport::diverged) it and
/// writes a checkpoint. Every reader joins each checkpoint into what it holds, even if it had seen all of that, by the rules of
/// [`Replica::repair`](crate::Replica::repair): so all devices come to hold the same, in whatever order files arrive, and a device that comes new to
/// the folder as well.
///
/// # What it costs
///
/// A push costs what changed, with what was merged from others meanwhile; so the folder holds a thing once for each device that
/// writes. A device that has nothing to say that another's files do not say already writes nothing. A checkpoint is O(n): it is
/// written when the files since the last one are [as many bytes](MIN_CHAIN_LEN) or [too many](MAX_CHAIN_FILES), when another
/// device pruned what our files do not tell of, and after a divergence. A sync reads the first 74 bytes of each file.
pub struct Folder<T> {
    pub(super) folder: PathBuf,
    pub(super) device: DeviceName,
    pub(super) limit: u64,
    /// What was read, by the path of the first part.
    pub(super) read: BTreeMap<PathBuf, Known>,
    /// What was reported already and is not worth reporting again.
    pub(super) told: BTreeSet<PathBuf>,
    /// True if a divergence was settled here and no checkpoint has been written since.
    pub(super) settled: bool,
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
        Ok(Self {
            folder,
            device,
            limit: MAX_FILE_LEN,
            read: BTreeMap::new(),
            told: BTreeSet::new(),
            settled: false,
            of: PhantomData,
        })
    }

    /// Reads and writes files of up to `bytes`, instead of [`MAX_FILE_LEN`]. Decoding one takes up to sixteen times as much.
    ///
    /// A delta that is longer is written in parts, up to [`MAX_PARTS`](crate::sync::MAX_PARTS) files that are read together:
    /// reading such a delta takes the memory of all its parts.
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
    pub fn sync(&mut self, replica: &mut dyn Replicated<T>) -> Result<FolderReport, FolderError> {
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

    /// Merges what the files hold, as far as it can be: in passes, until nothing more applies, since what is missing in one
    /// device's files may be in another's. Reads one delta at a time, and none that holds nothing new.
    ///
    /// Files of this device's own directory are read like all others: another opening may have written them.
    ///
    /// # Errors
    /// If the folder itself, or this device's directory in it, cannot be listed.
    pub fn pull(&mut self, replica: &mut dyn Replicated<T>) -> Result<FolderReport, FolderError> {
        self.read_in(replica)
    }

    /// Writes what this device's files do not hold yet, unless another device's files do. If no file states where this
    /// replica stands, one that says nothing else is written.
    ///
    /// Deletes files of this device, whichever opening wrote them, that a durable checkpoint of this device includes.
    ///
    /// # Errors
    /// Nothing is written or deleted if a file of this device cannot be read for another reason than damage.
    pub fn push(&mut self, replica: &mut dyn Replicated<T>) -> Result<FolderReport, FolderError> {
        self.write_out(replica, Write::UnlessToldByOthers)
    }

    /// Writes out what our own files do not hold yet, then [prunes](crate::Replica::prune) and returns how many tombstones were
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
    pub fn prune(&mut self, replica: &mut dyn Replicated<T>, tombstones: Prune<'_>) -> Result<usize, FolderError> {
        let _ = self.write_out(replica, Write::Always)?;
        Ok(replica.prune(tombstones))
    }
}

impl<T> fmt::Debug for Folder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("path", &self.folder).field("device", &self.device).finish_non_exhaustive()
    }
}
