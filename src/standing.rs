//! What a replica has seen and pruned: what peers tell each other before they sync.

use crate::version::Version;

/// What a replica has seen, and up to where it has pruned tombstones: all that a peer must know of it to cut a delta.
///
/// [`Devices`](crate::sync::Devices) remembers the last one that is common with each device, so that the next session tells
/// only what differs from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub(crate) version: Version,
    /// Within `version`.
    pub(crate) pruned: Version,
}

impl Standing {
    /// What was seen.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The dots of all tombstones that were pruned, with their paths.
    pub fn pruned(&self) -> &Version {
        &self.pruned
    }

    /// Names a standing that a peer may know: 64 bits of XXH3.
    pub(crate) fn digest(&self) -> u64 {
        self.version.digest() ^ self.pruned.digest().rotate_left(1)
    }
}

impl From<Version> for Standing {
    /// Nothing of it pruned, as far as is known.
    fn from(version: Version) -> Self {
        Self { version, pruned: Version::new() }
    }
}

