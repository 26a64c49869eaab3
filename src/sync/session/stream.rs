//! A delta as a stream of bytes: a [`Header`], then its slices, each with its length before it.
//!
//! A slice is a stretch of the delta's entities, encoded by itself: so whoever has the beginning of a stream has something
//! to go on from when it breaks off.
//!
//! Slices may be compressed, each by itself. Then limits hold for the *plain length* of the stream: its length and what
//! decompressing adds, as the slices announce it. No slice can hold more than it announces.

use crate::codec::{Cursor, DecodeError, compressed_away, is_compressed};
use crate::kernel::Fingerprint;
use crate::numbers::write_number;

/// About how many bytes of a delta are a slice: what is lost at most when a stream breaks off.
pub(super) const SLICE_LEN: usize = 128 << 10;

/// The fewest bytes that slices have on average: of two neighbours at least one is half as long as a slice is meant to be, because the
/// sender joins shorter ones. A receiver pays for each what it pays for a version.
const LEAST_LEN: usize = SLICE_LEN / 4;

/// Slices beyond those: the last of what has changed, and the last of the rest.
const SHORT_SLICES: usize = 4;

/// What stands before the slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) form: StreamForm,
    /// The number under which the receiver announced where it stands: what the slices are encoded from.
    pub(super) builds_on: u64,
    /// The number of the announcement that it amounts to; 0 if it is none.
    pub(super) told: u64,
    /// The fingerprint that belongs to it.
    pub(super) fingerprint: Fingerprint,
    /// How many slices tell what has changed since the stream that this one goes on from.
    pub(super) changes: u64,
}

/// Which reconciliation, as one of the two sides names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoundName {
    pub(super) number: u64,
    pub(super) begun_by_us: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamForm {
    /// A delta.
    Whole,
    /// What follows the entities that the receiver has of a stream that broke off.
    Resumed,
    /// Everything, to be compared.
    Repair,
    /// A reconciled delta without the dead dots: both know them from this reconciliation.
    Reconciled(RoundName),
}

impl Header {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(match self.form {
            StreamForm::Whole => 0,
            StreamForm::Resumed => 1,
            StreamForm::Repair => 2,
            StreamForm::Reconciled(RoundName { begun_by_us: true, .. }) => 3,
            StreamForm::Reconciled(RoundName { begun_by_us: false, .. }) => 4,
        });
        if let StreamForm::Reconciled(RoundName { number, .. }) = self.form {
            write_number(out, number);
        }
        write_number(out, self.builds_on);
        write_number(out, self.told);
        if self.told > 0 {
            out.extend(self.fingerprint.to_bytes());
        }
        if self.form == StreamForm::Resumed {
            write_number(out, self.changes);
        }
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let form = match cursor.byte()? {
            0 => StreamForm::Whole,
            1 => StreamForm::Resumed,
            2 => StreamForm::Repair,
            // It was begun by us if not by them.
            begun @ (3 | 4) => StreamForm::Reconciled(RoundName { number: cursor.number()?, begun_by_us: begun == 4 }),
            _ => return Err(DecodeError::Malformed("a stream of an unknown form")),
        };
        let (builds_on, told) = (cursor.number()?, cursor.number()?);
        let fingerprint = match told {
            0 => Fingerprint::default(),
            _ => Fingerprint::from_bytes(cursor.array()?),
        };
        let changes = if form == StreamForm::Resumed { cursor.number()? } else { 0 };
        Ok(Self { form, builds_on, told, fingerprint, changes })
    }
}

/// Reads the header, if all of it is there.
pub(super) fn read_header(bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
    match Header::read(&mut Cursor::new(bytes)) {
        Ok(header) => Ok(Some(header)),
        Err(DecodeError::Truncated { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A stream, or the beginning of one.
pub(super) struct Stream<'a> {
    /// All that are there as a whole.
    pub(super) slices: Vec<&'a [u8]>,
    pub(super) plain_len: u64,
    /// True if any slice is compressed.
    pub(super) is_compressed: bool,
}

/// Reads all slices that are there as a whole, after the header. Of a stream that is complete nothing may be left.
pub(super) fn read(bytes: &[u8], complete: bool) -> Result<Stream<'_>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    Header::read(&mut cursor)?;
    let mut stream = Stream { slices: Vec::new(), plain_len: bytes.len() as u64, is_compressed: false };
    while !cursor.rest().is_empty() {
        if stream.slices.len() as u64 >= stream.plain_len / LEAST_LEN as u64 + SHORT_SLICES as u64 {
            return Err(DecodeError::Malformed("slices that are too short"));
        }
        match cursor.bytes() {
            Ok(slice) => {
                stream.plain_len = stream.plain_len.saturating_add(compressed_away(slice)?);
                stream.is_compressed |= is_compressed(slice);
                stream.slices.push(slice);
            }
            Err(DecodeError::Truncated { .. }) if !complete => break,
            Err(error) => return Err(error),
        }
    }
    Ok(stream)
}
