//! Bytes: what deltas and saved states look like outside memory.
//!
//! An envelope (magic, format version, kind, flags, checksum, length) around a sequence of MessagePack values; `wire`
//! lists them. The same cells, version and pruned version always make the same bytes, and only those bytes are read:
//! what was decoded is encoded again and compared, so nothing hides in trailing bytes, overlong numbers or another
//! order.
//!
//! What a stranger's bytes can do is return a [`DecodeError`]. Memory while decoding stays within eight times the input
//! and 64 KiB, and within 16 times what the heads and births in it take; nothing is reserved because a length field says so unless as many bytes are there. A [slice](encode_slice)
//! is read with versions that both sides know: memory is within that and a few times these versions. A list of devices, each
//! of which may be four bytes, takes up to 48 times the input; so does opening a saved state, since it is built beside what was
//! decoded.

mod cursor;
mod envelope;
mod error;
mod seen;
mod slice;
mod versions;
mod wire;

pub use error::DecodeError;

pub(crate) use cursor::{Cursor, read_change, read_dots, write_change, write_dots};
pub(crate) use envelope::{read_number, write_number};
pub(crate) use seen::{decode_devices, encode_devices};
pub(crate) use slice::Reference;
pub(crate) use slice::{decode_slice, encode_slice};

#[cfg(feature = "testing")]
pub(crate) use envelope::repair_checksum;

use crate::id::WriterId;
use crate::kernel::{Delta, DeltaKind};

use envelope::Kind;

/// A state as `save` writes it.
pub(crate) struct SavedState {
    /// Complete, with its tombstones.
    pub(crate) delta: Delta,
    /// The writer that the next opening goes on from.
    pub(crate) owner: Option<WriterId>,
}

impl Delta {
    /// The delta as bytes, the same for the same delta. O(|delta|).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        wire::write_delta(&mut body, self, &Reference::default());
        envelope::seal(kind_of(self), body)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Any other bytes are an error, found within bounded memory.
    ///
    /// ```
    /// use driftless::{Delta, Graph, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let (_, delta) = replica.edit(|g| g.add_node("person:ada"))?;
    /// let bytes = delta.to_bytes();
    /// assert_eq!(Delta::from_bytes(&bytes)?, delta);
    /// assert!(Delta::from_bytes(&bytes[1..]).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, body) = envelope::open(bytes)?;
        decode_delta(kind, body, &Reference::default())
    }
}

/// Reads a body that holds a delta and nothing else.
fn decode_delta(kind: Kind, body: &[u8], reference: &Reference) -> Result<Delta, DecodeError> {
    match kind {
        Kind::Incremental | Kind::Complete | Kind::Reconciled => {}
        other => return Err(other.instead_of("a delta")),
    }
    let delta = wire::read_delta(&mut wire::Reader::new(body), kind, reference)?;
    envelope::check_canonical(body, |out| wire::write_delta(out, &delta, reference))?;
    Ok(delta)
}

pub(crate) fn encode_state(state: &SavedState) -> Vec<u8> {
    let mut body = Vec::new();
    write_state(&mut body, state);
    envelope::seal(Kind::State, body)
}

pub(crate) fn decode_state(bytes: &[u8], schema: &'static str) -> Result<SavedState, DecodeError> {
    let body = envelope::open_as(bytes, Kind::State)?;
    let mut reader = wire::Reader::new(body);
    let owner = wire::read_owner(&mut reader)?;
    let delta = wire::read_delta(&mut reader, Kind::Complete, &Reference::default())?;
    let state = SavedState { delta, owner };
    envelope::check_canonical(body, |out| write_state(out, &state))?;
    if state.delta.schema() != schema {
        return Err(DecodeError::Schema { found: state.delta.schema().to_owned(), expected: schema });
    }
    Ok(state)
}

fn write_state(out: &mut impl std::io::Write, state: &SavedState) {
    wire::write_owner(out, state.owner);
    wire::write_delta(out, &state.delta, &Reference::default());
}

/// The beginning of a delta that broke off: a byte for what it was sent for, then the delta as a message.
pub(crate) fn encode_staged(delta: &Delta, is_repair: bool) -> Vec<u8> {
    let body = [&[u8::from(is_repair)][..], &delta.to_bytes()].concat();
    envelope::seal(Kind::Staged, body)
}

pub(crate) fn decode_staged(bytes: &[u8]) -> Result<(Delta, bool), DecodeError> {
    let body = envelope::open_as(bytes, Kind::Staged)?;
    match body.split_first() {
        Some((is_repair @ (0 | 1), delta)) => Ok((Delta::from_bytes(delta)?, *is_repair == 1)),
        _ => Err(DecodeError::Malformed("the beginning of a delta for an unknown purpose")),
    }
}

fn kind_of(delta: &Delta) -> Kind {
    match delta.kind() {
        DeltaKind::Incremental => Kind::Incremental,
        DeltaKind::Complete => Kind::Complete,
        DeltaKind::Reconciled { .. } => Kind::Reconciled,
    }
}
