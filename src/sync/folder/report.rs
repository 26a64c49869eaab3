//! What a sync with a folder did, what it left out and why.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::clock::Stamp;
use crate::codec::DecodeError;
use crate::escape::Escaped;
use crate::id::Dot;
use crate::sync::device::{DeviceName, DeviceNameError};
use crate::kernel::MergeError;
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
    /// The files that were left out. What is on its way (`Incomplete`, `Waiting`) needs nothing but time.
    pub skipped: Vec<SkippedFile>,
    /// The bytes of all files that were read. What was read before and has not changed is not read again.
    pub bytes_read: u64,
    /// Writes whose stamp lies too far ahead of the local clock: see [`MergeReport::ahead`](crate::MergeReport::ahead).
    pub ahead: Vec<(Dot, Stamp)>,
    /// The file that was written, if there was anything to write.
    pub written: Option<WrittenFile>,
    /// How many old files of our own were dropped, since a checkpoint stands for them.
    pub dropped: usize,
    /// Why [`sync`](crate::sync::Folder::sync) wrote nothing, though it read.
    pub unwritten: Option<FolderError>,
}

/// A file of another device that was merged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergedFile {
    /// Whose it is.
    pub device: DeviceName,
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The number of siblings that it carries with their content.
    pub siblings: usize,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrittenFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Whether it holds everything, and so stands for all files before it.
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
    /// A later version of driftless wrote it.
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
    /// A name that driftless does not give, in a device's directory: most often what a sync tool calls a conflict, which
    /// means that two installations use one device name.
    #[error("not a name that driftless gives; if a sync tool made it of a conflict, two installations have one name")]
    Foreign,
    /// A link, a directory or a device where a file was expected; links are not followed.
    #[error("not a plain file; links are not followed")]
    NotAFile,
    /// More entries than are looked at.
    #[error("more than {0} entries; the rest were not looked at")]
    TooMany(usize),
    /// Whole, and refused all the same.
    #[error(transparent)]
    Refused(MergeError),
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
    /// A file of our own cannot be read, and what we would write next depends on it. Nothing was written.
    #[error("{}, a file of our own: {reason}", path.display())]
    OwnFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: SkipReason,
    },
    /// Somebody else writes under our device's name at this very moment.
    #[error("{} is there already: another process uses this device's name; let it end, or take another", .0.display())]
    Taken(PathBuf),
    /// What is to be written is larger than others would read.
    #[error(
        "a file of {len} bytes is larger than the limit of {limit}; raise it with `with_file_limit` on every device"
    )]
    TooLarge {
        /// Its length.
        len: u64,
        /// The longest there may be.
        limit: u64,
    },
    /// Numbers of files are used up.
    #[error("the numbers of files are used up under this device's name; take another")]
    NumbersUsedUp,
}
