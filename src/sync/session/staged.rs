//! The beginning of a delta that broke off.

use crate::codec::{DecodeError, decode_staged, encode_staged};
use crate::kernel::{Delta, DeltaKind};
use crate::standing::Standing;
use crate::sync::session::frame::Resume;

/// The beginning of a delta whose connection broke: give it to the next session with the same peer by
/// [`Options::with_staged`](crate::sync::Options::with_staged), and only the rest is sent.
///
/// Deltas of all kinds go on where they broke. In between both sides may write, merge, prune, and be closed and loaded again: the
/// changes come along. If the peer has less than when it sent the delta, or pruned removals that would be missing, it sends the
/// delta anew. A repair goes on only if neither side has changed.
///
/// A transfer goes on by slices of some 128 KiB, each of whole entities. So a connection that breaks before it has carried a
/// slice makes no progress, and neither does one that breaks within a document, because a document is one entity. Over such
/// a line use a [`Folder`](crate::sync::Folder).
///
/// It can be saved ([`to_bytes`](Self::to_bytes)), so that an app that is closed in the middle of a long transfer goes on with it.
#[derive(Clone, Debug)]
pub struct Staged {
    pub(super) delta: Delta,
    /// True if both sides sent everything, to be compared.
    pub(super) is_repair: bool,
    /// Length of the streams that it came in.
    pub(super) bytes: u64,
}

impl Staged {
    /// `None` if no entity has come.
    pub(super) fn new(delta: Delta, is_repair: bool, bytes: u64) -> Option<Self> {
        let fits = delta.last_entity().is_some() && (!is_repair || *delta.kind() == DeltaKind::Complete);
        fits.then_some(Self { delta, is_repair, bytes })
    }

    /// The number of siblings that have come.
    pub fn len(&self) -> usize {
        self.delta.len()
    }

    /// True if none has.
    pub fn is_empty(&self) -> bool {
        self.delta.len() == 0
    }

    /// Returns the same value as bytes. O(n).
    pub fn to_bytes(&self) -> Vec<u8> {
        encode_staged(&self.delta, self.is_repair)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// Any other bytes are an error, found within bounded memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (delta, is_repair) = decode_staged(bytes)?;
        let staged = Self::new(delta, is_repair, bytes.len() as u64);
        staged.ok_or(DecodeError::Malformed("the beginning of a delta that is none"))
    }

    /// Returns the offer to go on, for the peer, if it is of use to a replica that stands here.
    pub(super) fn resume(&self, standing: &Standing) -> Option<Resume> {
        let is_of_use = match self.is_repair {
            true => standing.version == *self.delta.upto(),
            false => standing.version.includes(&self.delta.need()) && !standing.version.includes(self.delta.upto()),
        };
        is_of_use.then(|| Some(Resume::new(standing, &self.delta.broken()?, self.is_repair)))?
    }
}
