//! What a replica has seen and pruned: what peers tell each other before they sync.

use crate::id::Dot;
use crate::version::{HeadsChange, Version};

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

    /// What leads to this standing from one that the peer knows, with dots by which it finds what both have seen.
    pub(crate) fn changes_from(&self, base: &Self, trail: usize) -> StandingChange {
        let version = HeadsChange::between(&base.version, &self.version);
        let pruned = HeadsChange::between(pruned_base(base, &self.version), &self.pruned);
        StandingChange { version, pruned, trail: self.version.trail(&base.version, trail) }
    }

    /// The inverse. `None` if the changes make no sense from here.
    pub(crate) fn changed_by(&self, change: &StandingChange) -> Option<Self> {
        let version = change.version.apply(&self.version)?;
        let pruned = change.pruned.apply(pruned_base(self, &version))?;
        Some(Self { version: Version::told(version.heads().to_vec(), change.trail.clone()), pruned })
    }

    /// What two that met have in common: what both have seen, and what either has pruned of it. `None` if the table of
    /// `self` does not know all that `other` names: then the other might find something else.
    pub(crate) fn common(&self, other: &Self) -> Option<Self> {
        let version = self.version.resolve(&other.version)?.meet(&self.version);
        let mut pruned = self.version.resolve(&self.pruned)?;
        pruned.join(&self.version.resolve(&other.pruned)?);
        let pruned = pruned.meet(&version).bare();
        Some(Self { version: version.bare(), pruned })
    }

    /// Names a standing that a peer may know: 64 bits of XXH3.
    pub(crate) fn digest(&self) -> u64 {
        self.version.digest() ^ self.pruned.digest().rotate_left(1)
    }
}

/// What leads from one standing to another.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct StandingChange {
    pub(crate) version: HeadsChange,
    pub(crate) pruned: HeadsChange,
    /// Dots below the heads.
    pub(crate) trail: Vec<Dot>,
}

/// The version that the pruned part is told from: the pruned part before, or the version itself if the base is empty.
fn pruned_base<'a>(base: &'a Standing, version: &'a Version) -> &'a Version {
    if base.version.is_empty() { version } else { &base.pruned }
}

impl From<Version> for Standing {
    /// Nothing of it pruned, as far as is known.
    fn from(version: Version) -> Self {
        Self { version, pruned: Version::new() }
    }
}
