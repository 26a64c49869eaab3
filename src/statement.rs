//! Statements: how replicas find out without a session that they differ.

use crate::kernel::{Crdt, Delta, Fingerprint};
use crate::replica::Replica;
use crate::version::Version;

/// What a replica says of itself in 32 bytes: a digest of its version, and the fingerprint of what is alive there.
///
/// Two replicas of equal versions hold the same, unless a running process was copied with its memory or a disk rots: then
/// their statements [contradict](Self::contradicts) each other, and [`Replica::repair`] makes them equal. Each delta that a
/// replica cuts carries the statement of its end, and a merge that ends there compares it
/// ([`MergeReport::has_diverged`](crate::MergeReport::has_diverged)). Replicas that write at the same time may never
/// stand where a delta ends: so say your statement once after a merge, too. A session does all this by itself.
///
/// ```
/// use driftless::{Graph, Replica, Statement};
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// let (_, delta) = laptop.edit(|g| g.add_node("person:ada"))?;
/// assert_eq!(delta.statement(), Some(laptop.statement()));
/// phone.merge(&delta)?;
/// let said = Statement::from_bytes(phone.statement().to_bytes()); // over any channel
/// assert!(!laptop.statement().contradicts(&said));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Statement {
    version: u128,
    fingerprint: Fingerprint,
}

impl Statement {
    pub(crate) fn new(version: &Version, fingerprint: Fingerprint) -> Self {
        Self { version: version.long_digest(), fingerprint }
    }

    /// True if it was said by a replica at this version.
    pub(crate) fn is_about(&self, version: &Version) -> bool {
        self.version == version.long_digest()
    }

    /// True if both have seen the same and do not hold the same.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.version == other.version && self.fingerprint != other.fingerprint
    }

    /// The statement as bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.version.to_be_bytes());
        bytes[16..].copy_from_slice(&self.fingerprint.to_bytes());
        bytes
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let (mut version, mut fingerprint) = ([0; 16], [0; 16]);
        version.copy_from_slice(&bytes[..16]);
        fingerprint.copy_from_slice(&bytes[16..]);
        Self { version: u128::from_be_bytes(version), fingerprint: Fingerprint::from_bytes(fingerprint) }
    }
}

impl<T: Crdt> Replica<T> {
    /// What this replica says of itself. O(heads).
    pub fn statement(&self) -> Statement {
        Statement::new(self.version(), self.fingerprint())
    }
}

impl Delta {
    /// The statement of its sender at [`upto`](Self::upto); none if nobody stood there (a part that was put together by
    /// [`join`](Self::join) has that of its end).
    pub fn statement(&self) -> Option<Statement> {
        Some(Statement::new(self.upto(), self.fingerprint?))
    }
}
