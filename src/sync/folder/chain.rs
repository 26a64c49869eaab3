//! What the files of one device give to somebody who has nothing.

use crate::kernel::{Delta, DeltaKind};
use crate::version::Version;

/// What is remembered of a file that was read: enough to know whether it is wanted, without reading it again.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// What whoever merges it must have seen.
    pub(super) need: Version,
    /// What they will have seen.
    pub(super) upto: Version,
    /// Whether it stands for all files before it.
    pub(super) is_checkpoint: bool,
}

impl Header {
    pub(super) fn of(delta: &Delta) -> Self {
        Self { need: delta.need(), upto: delta.upto().clone(), is_checkpoint: *delta.kind() == DeltaKind::Complete }
    }
}

/// The files of a device as a chain, from their headers in the order of their numbers.
#[derive(Default)]
pub(super) struct Chain {
    /// What somebody who had nothing will have seen after all of them.
    pub(super) reach: Version,
    /// How many files follow the last checkpoint, or the first file if there is none.
    pub(super) files: usize,
    /// Their bytes.
    pub(super) len: u64,
    /// The bytes of what they follow.
    pub(super) base_len: u64,
}

impl Chain {
    /// `ours` is the version of the reader. A file that holds what it has not seen is as good as not there.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = (&'a Header, u64)>, ours: &Version) -> Self {
        let mut chain = Self { reach: ours.nothing(), ..Self::default() };
        for (header, len) in files {
            let Some(upto) = ours.resolve(&header.upto).filter(|upto| ours.includes(upto)) else { continue };
            if header.need.is_empty() {
                chain = Self { reach: chain.reach, files: 0, len: 0, base_len: len };
            } else if chain.reach.includes(&header.need) {
                chain.files += 1;
                chain.len += len;
            } else {
                // One before it is missing or damaged: as good as not there, and the next file begins before it.
                continue;
            }
            chain.reach.join(&upto);
        }
        chain
    }
}
