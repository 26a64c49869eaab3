//! What a sync with a folder did, what it left out and why.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::clock::Stamp;
use crate::codec::DecodeError;
use crate::error::Refused;
use crate::escape::Escaped;
use crate::id::Dot;
use crate::kernel::{Dropped, MergeError, RepairError};
use crate::sync::device::{DeviceName, DeviceNameError};
use crate::version::Version;

/// What a sync did: what was merged, left out, written.
///
/// For what changed in the state, take a [snapshot](crate::Replica::snapshot) before and ask
/// [`diff`](crate::Replica::diff) after; it costs what differs.
#[derive(Debug, Default)]
#[non_exhaustive]
#[must_use = "it tells what was left out, and whether writing was refused"]
pub struct FolderReport {
    /// The files that were merged, in this order.
    pub merged: Vec<MergedFile>,
    /// All that lies in the folder and was not read. `Incomplete`, `PartsMissing` and `Waiting` need nothing but time;
    /// `NotOurs` is told once.
    pub skipped: Vec<SkippedFile>,
    /// Devices that have seen exactly what this replica has, and hold something else, as their files say. Each is settled
    /// once that device has synced, by itself.
    pub diverged: Vec<Diverged>,
    /// Contents that lost their dots, or their lives, when a divergence was settled: see
    /// [`MergeReport::dropped`](crate::MergeReport::dropped).
    pub dropped_contents: Vec<Dropped>,
    /// The bytes of all files that were read. Of a file that was read before and has not changed only the first 74 bytes
    /// are read, and not counted.
    pub bytes_read: u64,
    /// Writes whose stamp lies too far ahead of the local clock: see [`MergeReport::ahead`](crate::MergeReport::ahead).
    pub ahead: Vec<(Dot, Stamp)>,
    /// The file that was written, if there was anything to write.
    pub written: Option<WrittenFile>,
    /// How many old files of this device were deleted, since a checkpoint of this device includes them.
    pub dropped: usize,
    /// Why [`sync`](crate::sync::Folder::sync) wrote nothing, though it read.
    pub unwritten: Option<FolderError>,
}

/// A device that has seen exactly what this replica has seen, and holds something else: a process was copied with its
/// memory, or a disk or a memory is rotten.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diverged {
    /// The device.
    pub device: DeviceName,
    /// The file that says so.
    pub path: PathBuf,
}

/// A file that was merged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergedFile {
    /// The device that wrote it.
    pub device: DeviceName,
    /// The file; the first, if there are several parts.
    pub path: PathBuf,
    /// The length of all parts.
    pub bytes: u64,
    /// The number of siblings that it carries with their content.
    pub siblings: usize,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrittenFile {
    /// The file; the first, if there are several parts.
    pub path: PathBuf,
    /// The length of all parts.
    pub bytes: u64,
    /// The number of parts: more than one if the file limit is too low for a single file.
    pub parts: usize,
    /// True if it holds everything, and so replaces all files before it.
    pub is_checkpoint: bool,
}

/// A file that was left out.
#[derive(Debug)]
#[non_exhaustive]
pub struct SkippedFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Why it was left out, and what to do.
    pub reason: SkipReason,
}

/// Why a file was left out, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// It is not all there: whatever moves the folder is at it, or was cut off.
    #[error("not all of it is there yet; if it stays so, fetch it again from the device that wrote it")]
    Incomplete,
    /// It builds on files that are not here.
    #[error("it builds on files that have not arrived; if they do not come, that device's folder was copied in part")]
    Waiting {
        /// What has been seen here.
        have: Version,
        /// What it builds on.
        need: Version,
    },
    /// Damaged on the way or on the disk, or made by somebody else.
    #[error("damaged: {0}; fetch it again from the device that wrote it")]
    Damaged(#[source] DecodeError),
    /// A later version of driftless wrote it, or a build with the feature `compression`, which this build lacks.
    #[error("{0}")]
    TooNew(#[source] DecodeError),
    /// A delta of another type.
    #[error("it belongs to a `{}`, and this is a `{ours}`; give each type a folder of its own", Escaped(.found))]
    Schema {
        /// The type that it names.
        found: String,
        /// Ours.
        ours: &'static str,
    },
    /// Larger than the limit.
    #[error("{len} bytes are more than the limit of {limit}; raise it with `with_file_limit` if this is no mistake")]
    TooLarge {
        /// Its length, or the least that it can be.
        len: u64,
        /// The longest there may be.
        limit: u64,
    },
    /// Decoding it may take more memory than the limit of a file's length allows for.
    #[error(
        "decoding it may take {needed} bytes of memory, and {limit} are allowed; raise the limit with `with_file_limit` if \
         this is no mistake"
    )]
    Memory {
        /// Upper bound of the memory that decoding takes, in bytes.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// Some of the files that hold one delta are not here.
    #[error("{have} of the {of} files that belong together are here; the others have not arrived")]
    PartsMissing {
        /// The number of files that are here.
        have: usize,
        /// The number of files that belong together.
        of: usize,
    },
    /// An empty file, a file of zeros, or a `.name.icloud`: a cloud service keeps the content elsewhere.
    #[error("only a placeholder is here; have the cloud service keep the whole folder on this device")]
    Placeholder,
    /// A name that differs from one of driftless's by case: something that moved it changed that.
    #[error("its name was changed; rename it to `{expected}`")]
    OtherCase {
        /// The name that it must have had.
        expected: String,
    },
    /// A directory that is no device's and holds files of driftless: most often what a sync tool made of two that it took for a
    /// conflict.
    #[error("a copy of a device's directory; move its files into the directory of that device, and delete it")]
    CopiedDirectory,
    /// A file that is named almost as driftless names files.
    #[error(
        "a copy or a renamed file of driftless; if one of the same content lies beside it, delete this one, else give it          its name back"
    )]
    CopiedFile,
    /// A file of driftless that does not lie in a device's directory, or lies deeper.
    #[error("it lies at the wrong level; move it into the directory, in this folder, of the device that wrote it")]
    Misplaced,
    /// A link. Links are not followed.
    #[error("a link, which is not followed; put the directory or the file itself here")]
    Link,
    /// A directory, a pipe or the like under the name of a file.
    #[error("not a file; remove it")]
    NotAFile,
    /// Something of the user's own, or of another program.
    #[error("not a file of driftless, and left alone; a folder of its own for driftless keeps both apart")]
    NotOurs,
    /// More entries than are looked at.
    #[error("more than {0} entries; the rest were not looked at")]
    TooMany(usize),
    /// Whole, and refused all the same.
    #[error(transparent)]
    Refused(MergeError),
    /// A checkpoint that holds no news and cannot be compared with what is held here.
    #[error(transparent)]
    Unrepaired(RepairError),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// An old file of our own that cannot be deleted. It does no harm.
    #[error("an old file that cannot be deleted: {0}")]
    NotDropped(#[source] io::Error),
}

/// Why a folder could not be used, or why nothing was written to it. What had been merged by then stays merged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The device's name cannot be one.
    #[error(transparent)]
    Device(#[from] DeviceNameError),
    /// The system says no.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of this device cannot be read, and what would be written next depends on it. Nothing was written.
    #[error("{}, a file of this device: {reason}", path.display())]
    OwnFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: SkipReason,
    },
    /// What the replica holds could not be made durable: see [`Replicated::persist`](crate::sync::Replicated::persist). Nothing was
    /// written.
    #[error("what the replica holds could not be made durable, so it was not written to the folder: {0}")]
    NotDurable(#[source] Refused),
    /// More than fits into [`MAX_PARTS`](crate::sync::MAX_PARTS) files that others would read.
    #[error(
        "{len} bytes do not fit into files of the limit of {limit}; raise it with `with_file_limit` on every device"
    )]
    TooLarge {
        /// The length of all that is to be written.
        len: u64,
        /// The longest there may be.
        limit: u64,
    },
}
