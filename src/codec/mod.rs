//! Bytes: what deltas and saved states look like outside memory.
//!
//! An envelope (magic, format version, kind, flags, checksum, length) around a sequence of MessagePack values; `wire`
//! lists them. The last holds the parts of a delta as [`columns`]. The same cells, version and pruned version always make the same
//! bytes, but for the ids of nodes, which a delta tells by their names if it knows them. Only those bytes are read: what was decoded
//! is encoded again and compared, so nothing hides in trailing bytes, overlong numbers or another order.
//!
//! The worst that a stranger's bytes can do is to return a [`DecodeError`]. Memory while decoding stays within a limit of the caller's
//! ([`MAX_MEMORY`]), which is compared with what a message can need before anything large is reserved. Beside it, heads and births
//! take 16 times their bytes, and 64 KiB may be taken in any case. Versions and sets of dots take eight times their bytes. A
//! [slice](encode_slice) is read with versions that both sides know: memory is a few times these versions more. A list of devices,
//! each of which may be four bytes, takes up to 48 times the input.
//!
//! A body may be [compressed](deflate), in builds with the feature `compression`. The multiples above are then of the contents, whose
//! length the message announces. So that length times the multiple is compared with the limit before anything is reserved.
//! Versions, sets of dots and lists of devices, which have no limit of the caller's, are compared with [`MAX_MEMORY`]. Contents of a
//! saved state have no limit but what a DEFLATE stream of their length can hold.

mod columns;
mod contents;
mod cursor;
mod deflate;
mod envelope;
mod error;
mod rows;
mod runs;
mod seen;
mod slice;
mod versions;
mod wire;

pub use error::DecodeError;

pub(crate) use cursor::{Cursor, read_change, read_dots, write_change, write_dots};
pub(crate) use envelope::read_number;
pub(crate) use seen::{decode_devices, encode_devices};
pub(crate) use slice::Reference;
pub(crate) use slice::{compress_slice, compressed_away, decode_slice, encode_slice, is_compressed};

#[cfg(feature = "testing")]
pub(crate) use envelope::repair_checksum;
#[cfg(feature = "testing")]
pub(crate) use wire::spell_parts;

use crate::id::WriterId;
use crate::kernel::{Delta, DeltaKind};

use envelope::{Kind, Opened};
use wire::{Layout, Reading};

/// The memory that [`Delta::from_bytes`] takes at most, in bytes: 1 GiB, enough for a million nodes with a few properties each.
///
/// Equal kinds of data take few bytes in a message, so decoding may take up to 700 times the length of a message, though as a rule it takes
/// ten to twenty times as much. The bound is known from the head of the message, before anything is reserved; that of texts run by run, before
/// their characters are.
/// [`Delta::from_bytes_within`] takes another limit: a lower one for messages of strangers, or a higher one for messages that are known
/// to be large.
pub const MAX_MEMORY: u64 = 1 << 30;

/// A state as `save` writes it.
pub(crate) struct SavedState {
    /// Complete, with its tombstones.
    pub(crate) delta: Delta,
    /// The writer that the next opening goes on from.
    pub(crate) owner: Option<WriterId>,
}

impl Delta {
    /// The delta as bytes, the same for the same delta. O(|delta|).
    ///
    /// Equal deltas that came about in different ways may differ in whether they tell a node by its id or by its name. So compare deltas,
    /// and not these bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal(kind_of(self), &body_of(self))
    }

    /// Returns the delta as bytes, compressed by DEFLATE. O(|delta|): some 20 ns for each byte that [`to_bytes`](Self::to_bytes)
    /// returns, and as much memory as those bytes, beside the costs of `to_bytes`. A graph with texts takes a third of the bytes.
    ///
    /// [`from_bytes`](Self::from_bytes) reads both, in every build with the feature `compression`. Other builds return
    /// [`DecodeError::Compressed`]. A delta that does not become shorter, such as one of random bytes, is written plain.
    ///
    /// Equal deltas may be compressed to different bytes, by another version of the compressor for example. So compare deltas and
    /// not bytes.
    ///
    /// ```
    /// use driftless::{Delta, Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let (_, delta) = replica.edit(|g| {
    ///     let ada = g.add_node("person:ada")?;
    ///     g.set(ada, "/bio", &"wrote the first program, and notes that are longer. ".repeat(40))
    /// })?;
    /// let bytes = delta.to_bytes_compressed();
    /// assert!(bytes.len() < delta.to_bytes().len() / 2);
    /// assert_eq!(Delta::from_bytes(&bytes)?, delta);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "compression")]
    pub fn to_bytes_compressed(&self) -> Vec<u8> {
        envelope::seal_compressed(kind_of(self), &body_of(self))
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
        Self::from_bytes_within(bytes, MAX_MEMORY)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, within so many bytes of memory: see [`MAX_MEMORY`].
    ///
    /// # Errors
    ///
    /// [`DecodeError::Memory`] if decoding may take more. Nothing large has been reserved by then. The contents of a compressed
    /// message may take a sixteenth of the limit, because decoding takes up to sixteen times their length.
    pub fn from_bytes_within(bytes: &[u8], mut memory_limit: u64) -> Result<Self, DecodeError> {
        let opened = envelope::open(bytes, &mut memory_limit)?;
        decode_delta(opened, &Reference::default(), &mut memory_limit)
    }
}

/// Reads a body that holds a delta and nothing else.
fn decode_delta(opened: Opened<'_>, reference: &Reference, memory_left: &mut u64) -> Result<Delta, DecodeError> {
    let Opened { format, kind, body } = opened;
    match kind {
        Kind::Incremental | Kind::Complete | Kind::Reconciled => {}
        other => return Err(other.instead_of("a delta")),
    }
    let reading = Reading { format, kind, reference, memory_left };
    let (delta, told) = wire::read_delta(&mut wire::Reader::new(&body), reading)?;
    wire::finish(delta, told, |delta, layout| {
        envelope::check_canonical(&body, |out| wire::write_delta(out, delta, reference, layout))
    })
}

fn body_of(delta: &Delta) -> Vec<u8> {
    let mut body = Vec::new();
    wire::write_delta(&mut body, delta, &Reference::default(), Layout::Columns(None));
    body
}

fn body_of_state(state: &SavedState) -> Vec<u8> {
    let mut body = Vec::new();
    write_state(&mut body, state.owner, &state.delta, Layout::Columns(None));
    body
}

pub(crate) fn encode_state(state: &SavedState) -> Vec<u8> {
    envelope::seal(Kind::State, &body_of_state(state))
}

#[cfg(feature = "compression")]
pub(crate) fn encode_state_compressed(state: &SavedState) -> Vec<u8> {
    envelope::seal_compressed(Kind::State, &body_of_state(state))
}

pub(crate) fn decode_state(bytes: &[u8], schema: &'static str) -> Result<SavedState, DecodeError> {
    // A saved state is the app's own: one that was saved can be opened.
    let mut unlimited = u64::MAX;
    let Opened { format, body, .. } = envelope::open_as(bytes, Kind::State, unlimited)?;
    let mut reader = wire::Reader::new(&body);
    let owner = wire::read_owner(&mut reader)?;
    let reference = &Reference::default();
    let reading = Reading { format, kind: Kind::Complete, reference, memory_left: &mut unlimited };
    let (delta, told) = wire::read_delta(&mut reader, reading)?;
    let delta = wire::finish(delta, told, |delta, layout| {
        envelope::check_canonical(&body, |out| write_state(out, owner, delta, layout))
    })?;
    let state = SavedState { delta, owner };
    if state.delta.schema() != schema {
        return Err(DecodeError::Schema { found: state.delta.schema().to_owned(), expected: schema });
    }
    Ok(state)
}

fn write_state(out: &mut impl std::io::Write, owner: Option<WriterId>, delta: &Delta, layout: Layout<'_>) {
    wire::write_owner(out, owner);
    wire::write_delta(out, delta, &Reference::default(), layout);
}

/// The beginning of a delta that broke off: a byte for what it was sent for, then the delta as a message.
pub(crate) fn encode_staged(delta: &Delta, is_repair: bool) -> Vec<u8> {
    let body = [&[u8::from(is_repair)][..], &delta.to_bytes()].concat();
    envelope::seal(Kind::Staged, &body)
}

pub(crate) fn decode_staged(bytes: &[u8]) -> Result<(Delta, bool), DecodeError> {
    let body = envelope::open_as(bytes, Kind::Staged, u64::MAX)?.body;
    match body.split_first() {
        Some((is_repair @ (0 | 1), delta)) => {
            let delta = decode_delta(envelope::open_plain(delta)?, &Reference::default(), &mut { u64::MAX })?;
            Ok((delta, *is_repair == 1))
        }
        _ => Err(DecodeError::Malformed("the beginning of a delta for an unknown purpose")),
    }
}

/// An envelope around any body, for tests.
#[cfg(feature = "testing")]
pub(crate) fn seal_message(kind: u8, body: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    Ok(envelope::seal(Kind::from_byte(kind)?, &body))
}

fn kind_of(delta: &Delta) -> Kind {
    match delta.kind() {
        DeltaKind::Incremental => Kind::Incremental,
        DeltaKind::Complete => Kind::Complete,
        DeltaKind::Reconciled { .. } => Kind::Reconciled,
    }
}
