//! The head: which checkpoint and which segments make up the store.

use xxhash_rust::xxh3::xxh3_64;

use crate::file::FORMAT;
use crate::file::bytes::Reader;
use crate::file::segment::End;
use crate::storage::StorageError;

pub(super) const HEAD: &str = "head";
const MAGIC: [u8; 4] = *b"DLHD";

/// The content of the file `head`, which is only ever replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// A random name, which every file of the store bears.
    pub(super) store: [u8; 16],
    /// What the store holds.
    pub(super) schema: String,
    /// Number of the checkpoint; 0 if there is none yet.
    pub(super) checkpoint: u64,
    /// The first segment whose records the checkpoint does not hold.
    pub(super) first: u64,
    /// The last segment. A later one was never appended to.
    pub(super) last: u64,
    /// Where the last segment ends, if the store was closed: all of it is durable.
    pub(super) closed: Option<End>,
}

impl Head {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&(self.schema.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&self.store);
        let closed = self.closed.unwrap_or_default();
        for number in [self.checkpoint, self.first, self.last, closed.offset, closed.name] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(self.schema.as_bytes());
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, StorageError> {
        Self::parse(bytes).unwrap_or_else(|| Err(StorageError::damaged(HEAD, 0, "its checksum is wrong")))
    }

    fn parse(bytes: &[u8]) -> Option<Result<Self, StorageError>> {
        let (body, checksum) = bytes.split_last_chunk::<8>()?;
        // First: a flipped bit in the format must not tell people to update.
        if xxh3_64(body) != u64::from_le_bytes(*checksum) {
            return None;
        }
        let mut reader = Reader(body);
        if reader.array::<4>()? != MAGIC {
            return None;
        }
        let format = u16::from_le_bytes(reader.array()?);
        if format > FORMAT {
            return Some(Err(StorageError::Format { file: HEAD.to_owned(), found: format, newest: FORMAT }));
        }
        let schema_len = u16::from_le_bytes(reader.array()?);
        let store = reader.array()?;
        let (checkpoint, first, last) = (reader.number()?, reader.number()?, reader.number()?);
        let closed = End { offset: reader.number()?, name: reader.number()? };
        let closed = (closed != End::default()).then_some(closed);
        let schema = String::from_utf8(reader.0.to_vec()).ok()?;
        let is_sound = schema.len() == usize::from(schema_len) && first <= last && first > 0;
        is_sound.then_some(Ok(Self { store, schema, checkpoint, first, last, closed }))
    }
}
