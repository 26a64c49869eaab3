//! Frames: records as they lie in a segment.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `DLFR` |
//! | 4 | checksum of the rest of the header |
//! | 8 | offset of the frame in its segment |
//! | 8 | length of the content |
//! | 8 | name of the frame before it, or of the segment's header: the checksum of that header |
//! | 8 | durable end: the offset up to which the segment was synced when the frame was written |
//! | 8 | checksum of the content, with the zeros behind it |
//! | … | content, and zeros up to a multiple of 8 |
//!
//! All checksums are XXH3-64 (of the header's the lower half), seeded by the segment's header, so a frame of another segment or
//! another store is none here.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::bugs::{Bug, is};
use crate::file::bytes::Reader;

const MAGIC: [u8; 4] = *b"DLFR";
pub(super) const FRAME_HEAD: usize = 48;

/// Frames begin at multiples of it, so that the search for one behind damage need not look at every byte.
const ALIGNMENT: usize = 8;

/// A frame that was read and whose checksums are right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) offset: u64,
    pub(super) previous: u64,
    /// The offset up to which the segment was durable when the frame was written.
    pub(super) durable: u64,
    pub(super) content: &'a [u8],
    /// The name by which the next frame knows it.
    pub(super) name: u64,
}

impl Frame<'_> {
    /// Where the next frame begins.
    pub(super) fn end(&self) -> u64 {
        self.offset + frame_len(self.content.len())
    }
}

/// The bytes that a frame takes.
pub(super) fn frame_len(content: usize) -> u64 {
    (FRAME_HEAD + content.next_multiple_of(ALIGNMENT)) as u64
}

/// Appends a frame to bytes, and returns its name.
pub(super) fn write(bytes: &mut Vec<u8>, seed: u64, offset: u64, previous: u64, durable: u64, content: &[u8]) -> u64 {
    let begin = bytes.len();
    bytes.resize(begin + FRAME_HEAD, 0);
    bytes.extend_from_slice(content);
    bytes.resize(begin + FRAME_HEAD + content.len().next_multiple_of(ALIGNMENT), 0);
    let (head, padded) = bytes.split_at_mut(begin + FRAME_HEAD);
    let head = head.get_mut(begin..).unwrap_or_default();
    let checksum = xxh3_64_with_seed(padded, seed);
    let mut rest = Vec::with_capacity(FRAME_HEAD - 8);
    for number in [offset, content.len() as u64, previous, durable, checksum] {
        rest.extend_from_slice(&number.to_le_bytes());
    }
    let name = xxh3_64_with_seed(&rest, seed);
    if let Some((magic, after)) = head.split_first_chunk_mut::<4>() {
        *magic = MAGIC;
        if let Some((check, numbers)) = after.split_first_chunk_mut::<4>() {
            *check = (name as u32).to_le_bytes();
            numbers.copy_from_slice(&rest);
        }
    }
    name
}

/// Reads the frame at an offset of a segment; none if none is whole there.
pub(super) fn read(segment: &[u8], seed: u64, offset: u64) -> Option<Frame<'_>> {
    let begin = usize::try_from(offset).ok()?;
    let bytes = segment.get(begin..)?;
    let mut reader = Reader(bytes);
    if reader.array::<4>()? != MAGIC {
        return None;
    }
    let check = u32::from_le_bytes(reader.array()?);
    let name = xxh3_64_with_seed(bytes.get(8..FRAME_HEAD)?, seed);
    if name as u32 != check || reader.number()? != offset {
        return None;
    }
    let len = usize::try_from(reader.number()?).ok()?;
    let (previous, durable, checksum) = (reader.number()?, reader.number()?, reader.number()?);
    let padded = reader.0.get(..len.checked_next_multiple_of(ALIGNMENT)?)?;
    let is_whole = xxh3_64_with_seed(padded, seed) == checksum || is(Bug::ContentUnchecked);
    is_whole.then_some(Frame { offset, previous, durable, content: padded.get(..len)?, name })
}

/// Finds the first whole frame at an offset or behind it.
pub(super) fn find(segment: &[u8], seed: u64, offset: u64) -> Option<Frame<'_>> {
    let first = usize::try_from(offset).ok()?.checked_next_multiple_of(ALIGNMENT)?;
    let mut offsets = (first..segment.len()).step_by(ALIGNMENT);
    offsets.find_map(|offset| read(segment, seed, offset as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_no_flipped_bit_goes_unseen() {
        for len in [0, 1, 7, 8, 9, 100] {
            let content: Vec<u8> = (0..len).collect();
            let mut segment = vec![0; 64];
            let name = write(&mut segment, 7, 64, 5, 64, &content);
            let frame = read(&segment, 7, 64).unwrap();
            assert_eq!((frame.content, frame.name, frame.previous, frame.durable), (&content[..], name, 5, 64));
            assert_eq!(frame.end(), segment.len() as u64);
            assert!(read(&segment, 8, 64).is_none(), "a frame of another segment was read");
            for bit in 64 * 8..segment.len() * 8 {
                let mut flipped = segment.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(read(&flipped, 7, 64).is_none(), "bit {bit}");
            }
            for end in 0..segment.len() {
                assert!(read(&segment[..end], 7, 64).is_none(), "truncated at {end}");
            }
        }
    }
}
