//! Segments: files that frames are appended to.

use xxhash_rust::xxh3::xxh3_64;

use crate::file::FORMAT;
use crate::file::bytes::Reader;
use crate::file::frame;
use crate::storage::StorageError;

const MAGIC: [u8; 4] = *b"DLSG";
pub(super) const SEGMENT_HEAD: usize = 64;

const PREFIX: &str = "segment-";

/// The name of the file of a segment.
pub(super) fn segment_name(number: u64) -> String {
    format!("{PREFIX}{number:012}")
}

/// The number of the segment that a file is by its name.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(PREFIX)?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// The beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) store: [u8; 16],
    pub(super) number: u64,
    /// Where the segment before it ends, and the name of the last frame there. What lies behind that end was written anew
    /// into this segment.
    pub(super) before: End,
    /// The end of the frames that it was created with. It had no name before these were durable.
    pub(super) created_with: u64,
}

/// The end of the frames of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    pub(super) offset: u64,
    /// The name of the last frame, or of the header if there is none.
    pub(super) name: u64,
}

impl SegmentHead {
    pub(super) fn to_bytes(self) -> [u8; SEGMENT_HEAD] {
        let mut bytes = Vec::with_capacity(SEGMENT_HEAD);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&u32::from(FORMAT).to_le_bytes());
        bytes.extend_from_slice(&self.store);
        for number in [self.number, self.before.offset, self.before.name, self.created_with] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        let mut head = [0; SEGMENT_HEAD];
        head.copy_from_slice(&bytes);
        head
    }

    /// The seed of the checksums of its frames, and what the first of them names as the one before it.
    pub(super) fn seed(self) -> u64 {
        xxh3_64(&self.to_bytes())
    }

    /// Reads the beginning of the segment that has this number in this store.
    pub(super) fn read(bytes: &[u8], store: [u8; 16], number: u64) -> Result<Self, StorageError> {
        let file = segment_name(number);
        let head = Self::parse(bytes)
            .ok_or_else(|| StorageError::damaged(&file, 0, "its beginning is not that of a segment"))?
            .map_err(|found| StorageError::Format { file: file.clone(), found, newest: FORMAT })?;
        if head.store != store {
            return Err(StorageError::Foreign { file });
        }
        if head.number != number {
            return Err(StorageError::damaged(&file, 0, format!("it is segment {} under another name", head.number)));
        }
        Ok(head)
    }

    /// Reads the beginning of any segment; the error is the format that is too new.
    pub(super) fn parse(bytes: &[u8]) -> Option<Result<Self, u16>> {
        let head = bytes.get(..SEGMENT_HEAD)?;
        let (body, checksum) = head.split_last_chunk::<8>()?;
        if xxh3_64(body) != u64::from_le_bytes(*checksum) {
            return None;
        }
        let mut reader = Reader(body);
        if reader.array::<4>()? != MAGIC {
            return None;
        }
        let format = u32::from_le_bytes(reader.array()?);
        if format > u32::from(FORMAT) {
            return Some(Err(format.try_into().unwrap_or(u16::MAX)));
        }
        let store = reader.array()?;
        let (number, offset, name) = (reader.number()?, reader.number()?, reader.number()?);
        Some(Ok(Self { store, number, before: End { offset, name }, created_with: reader.number()? }))
    }
}

/// The bytes of a new segment with some frames in it, and the end of them.
pub(super) fn create<'a>(
    store: [u8; 16],
    number: u64,
    before: End,
    contents: impl Iterator<Item = &'a [u8]> + Clone,
) -> (SegmentHead, Vec<u8>, End) {
    let len: u64 = contents.clone().map(|content| frame::frame_len(content.len())).sum();
    let head = SegmentHead { store, number, before, created_with: SEGMENT_HEAD as u64 + len };
    let seed = head.seed();
    let mut bytes = head.to_bytes().to_vec();
    let mut name = seed;
    for content in contents {
        let offset = bytes.len() as u64;
        name = frame::write(&mut bytes, seed, offset, name, offset, content);
    }
    let end = End { offset: bytes.len() as u64, name };
    (head, bytes, end)
}
