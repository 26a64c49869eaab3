//! Compressed contents: their length (LEB128), then a DEFLATE stream (RFC 1951) without a frame of its own.
//!
//! The length is compared with a limit before anything is reserved, and the stream is read into a buffer of that length. So a
//! stream that holds more than it announces is found when the buffer is full.
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
    use miniz_oxide::inflate::TINFLStatus::{Done, HasMoreOutput};
    use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

    let (len, _) = read_number(compressed)?;
    let (needed, limit) = (len.saturating_mul(per_byte), memory.min(usize::MAX as u64));
    if needed > limit {
        return Err(DecodeError::Memory { needed, limit });
    }
    let (_, stream) = read_len(compressed)?;
    let len = len as usize;
    let mut contents = vec![0; len];
    let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    match decompress(&mut DecompressorOxide::new(), stream, &mut contents, 0, flags) {
        (Done, read, written) if read == stream.len() && written == len => Ok(contents),
        (Done, read, _) if read < stream.len() => Err(DecodeError::Malformed("bytes after a compressed stream")),
        (Done, ..) => Err(DecodeError::Malformed("compressed contents that are shorter than announced")),
        (HasMoreOutput, ..) => Err(DecodeError::Malformed("compressed contents that are longer than announced")),
        _ => Err(DecodeError::Malformed("a compressed stream that is damaged")),
    }
}

/// Without the feature `compression` nothing is decompressed.
#[cfg(not(feature = "compression"))]
pub(super) fn decompress(_: &[u8], _: u64, _: u64) -> Result<Vec<u8>, DecodeError> {
    Err(DecodeError::Compressed)
}
