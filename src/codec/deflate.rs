//! Compressed contents: their length (LEB128), then a DEFLATE stream (RFC 1951) without a frame of its own.
//!
//! The length is compared with a limit before anything is reserved, and the stream is read into a buffer of that length. So a
//! stream that holds more than it announces is found when the buffer is full.
//!
//! A block of a stream takes about a microsecond to begin, whatever it holds, and may hold nothing in ten bits. So the number of blocks
//! is limited by the length of the contents. A compressor that does not mean harm begins a block for each 20 KB of contents at most.
//!
//! One content has many DEFLATE streams. So only the contents are canonical, and a compressed message is not.

use crate::codec::envelope::read_number;
use crate::codec::error::DecodeError;

/// The most bytes that a byte of a DEFLATE stream stands for: a copy of 258 bytes takes two bits at least.
const MAX_RATIO: u64 = 1032;

/// Reads the length of the contents. Returns it with the stream.
pub(super) fn read_len(compressed: &[u8]) -> Result<(u64, &[u8]), DecodeError> {
    let (len, stream) = read_number(compressed)?;
    match len.div_ceil(MAX_RATIO) <= stream.len() as u64 {
        true => Ok((len, stream)),
        false => Err(DecodeError::Malformed("a compressed stream too short for the contents that it announces")),
    }
}

/// Compresses contents. `None` if they do not become shorter. O(|contents|).
#[cfg(feature = "compression")]
pub(super) fn compress(contents: &[u8]) -> Option<Vec<u8>> {
    use crate::numbers::write_number;

    let mut compressed = Vec::new();
    write_number(&mut compressed, contents.len() as u64);
    compressed.extend(miniz_oxide::deflate::compress_to_vec(contents, LEVEL));
    (compressed.len() < contents.len()).then_some(compressed)
}

/// The level of compression. Level 6, which is usual, takes twice the time to save 2 % of the bytes of a graph.
#[cfg(feature = "compression")]
const LEVEL: u8 = 4;

/// Decompresses contents that may take so much memory, at so many bytes of memory for each of theirs.
#[cfg(feature = "compression")]
pub(super) fn decompress(compressed: &[u8], memory: u64, per_byte: u64) -> Result<Vec<u8>, DecodeError> {
    use miniz_oxide::inflate::TINFLStatus::{BlockBoundary, Done, HasMoreOutput};
    use miniz_oxide::inflate::core::inflate_flags::{
        TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
    };
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

    let (len, _) = read_number(compressed)?;
    let (needed, limit) = (len.saturating_mul(per_byte), memory.min(isize::MAX as u64));
    if needed > limit {
        return Err(DecodeError::Memory { needed, limit });
    }
    let (_, stream) = read_len(compressed)?;
    let len = len as usize;
    let mut contents = vec![0; len];
    let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
    let (mut state, mut read, mut written) = (DecompressorOxide::new(), 0, 0);
    for _ in 0..most_blocks(len) {
        let (status, now_read, now_written) = decompress(&mut state, &stream[read..], &mut contents, written, flags);
        (read, written) = (read + now_read, written + now_written);
        return match status {
            BlockBoundary => continue,
            Done if read < stream.len() => Err(DecodeError::Malformed("bytes after a compressed stream")),
            Done if written < len => Err(DecodeError::Malformed("compressed contents that are shorter than announced")),
            Done => Ok(contents),
            HasMoreOutput => Err(DecodeError::Malformed("compressed contents that are longer than announced")),
            _ => Err(DecodeError::Malformed("a compressed stream that is damaged")),
        };
    }
    Err(DecodeError::Malformed("a compressed stream of too many blocks"))
}

/// The most blocks of a stream with contents of this length.
#[cfg(feature = "compression")]
fn most_blocks(len: usize) -> usize {
    16 + len / 1024
}

/// Without the feature `compression` nothing is decompressed.
#[cfg(not(feature = "compression"))]
pub(super) fn decompress(_: &[u8], _: u64, _: u64) -> Result<Vec<u8>, DecodeError> {
    Err(DecodeError::Compressed)
}

#[cfg(all(test, feature = "compression"))]
mod tests {
    use super::*;

    /// Blocks of nothing, by the fixed codes: ten bits each, the second of which is set.
    fn empty_blocks(count: usize) -> Vec<u8> {
        let mut bytes = vec![0; (10 * count).div_ceil(8)];
        (0..count).map(|block| 10 * block + 1).for_each(|bit| bytes[bit / 8] |= 1 << (bit % 8));
        bytes
    }

    #[test]
    fn contents_of_any_length_survive() {
        // Numbers of few and of many kinds, so that there are blocks of each sort.
        for (len, kinds) in [(100, 1), (3_000_000, 1), (3_000_000, 17), (3_000_000, 256)] {
            let random = |n: u32| (n.wrapping_mul(0x9e37_79b9) >> 13) % kinds;
            let contents: Vec<u8> = (0..len).map(|n| random(n) as u8).collect();
            let Some(compressed) = compress(&contents) else {
                assert_eq!(kinds, 256);
                continue;
            };
            assert_eq!(decompress(&compressed, u64::MAX, 1).as_ref(), Ok(&contents));
        }
    }

    #[test]
    fn many_blocks_of_nothing_are_not_gone_through() {
        for count in [10_000, 10_000_000] {
            let stream = empty_blocks(count);
            // The announced length is that of the stream, so that as many blocks as possible are allowed.
            let mut compressed = Vec::new();
            crate::numbers::write_number(&mut compressed, stream.len() as u64);
            compressed.extend(stream);
            let refused = DecodeError::Malformed("a compressed stream of too many blocks");
            assert_eq!(decompress(&compressed, u64::MAX, 1), Err(refused));
        }
    }
}
