//! The bytes of a file: a header that says which state the file was cut from, and a delta or a part of its bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `DRFF` |
//! | 1 | format version |
//! | 1 | flags: reserved, none is in use |
//! | 2 | number of the part, from 0 |
//! | 2 | number of parts |
//! | 8 | random name that the parts share |
//! | 32 | statement: digest of the version, fingerprint of the state |
//! | 8 | length of what follows the header |
//! | 8 | checksum of what follows the header: XXH3-64 |
//! | 8 | checksum of the header so far: XXH3-64 |
//! | … | of a part: the version, after its length in 4 bytes |
//! | … | a delta, as [`Delta::to_bytes`] writes it, or a stretch of these bytes |
//!
//! Numbers are big-endian. The header has a fixed length, so it is read at each sync: a file of equal length and time but
//! other content has another checksum. Each part tells the version, so that parts whose others are lost can be cleaned up.

use xxhash_rust::xxh3::xxh3_64;

use crate::codec::DecodeError;
use crate::kernel::{Delta, DeltaKind};
use crate::statement::Statement;
use crate::sync::folder::report::SkipReason;
use crate::version::Version;

const MAGIC: [u8; 4] = *b"DRFF";

/// The format that this version writes, and the only one so far.
const FORMAT: u8 = 1;

pub(super) const HEADER_LEN: usize = 74;

/// The largest number of files that one delta is written to.
pub const MAX_PARTS: usize = 256;

/// The first bytes of a file, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileHeader {
    pub(super) part: u16,
    pub(super) parts: u16,
    /// The name that the parts of one delta share.
    pub(super) set: u64,
    pub(super) statement: Statement,
    /// The length of what follows the header.
    pub(super) len: u64,
    checksum: u64,
}

impl FileHeader {
    /// Reads the first bytes of a file: all that there are, if they are fewer than a header has.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, SkipReason> {
        // An empty file, or one of zeros, holds the place of another.
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(SkipReason::Placeholder);
        }
        let magic = bytes.iter().zip(&MAGIC).take_while(|(a, b)| a == b).count();
        if magic < MAGIC.len().min(bytes.len()) {
            return Err(SkipReason::Damaged(DecodeError::Magic));
        }
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else { return Err(SkipReason::Incomplete) };
        let number =
            |at: usize, len: usize| header[at..at + len].iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        // The checksum of the header has its place in every format, so damage is told apart from a later version.
        if number(66, 8) != xxh3_64(&header[..66]) {
            return Err(SkipReason::Damaged(DecodeError::Checksum));
        }
        if header[4] != FORMAT {
            return Err(SkipReason::TooNew(DecodeError::FileFormat(header[4])));
        }
        if header[5] != 0 {
            return Err(SkipReason::TooNew(DecodeError::Flags(header[5])));
        }
        let (part, parts) = (number(6, 2) as u16, number(8, 2) as u16);
        if part >= parts || usize::from(parts) > MAX_PARTS {
            return Err(SkipReason::Damaged(DecodeError::Malformed("a number of parts that no file has")));
        }
        let mut statement = [0; 32];
        statement.copy_from_slice(&header[18..50]);
        let statement = Statement::from_bytes(statement);
        Ok(Self { part, parts, set: number(10, 8), statement, len: number(50, 8), checksum: number(58, 8) })
    }

    fn write(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&[FORMAT, 0]);
        header.extend_from_slice(&self.part.to_be_bytes());
        header.extend_from_slice(&self.parts.to_be_bytes());
        header.extend_from_slice(&self.set.to_be_bytes());
        header.extend_from_slice(&self.statement.to_bytes());
        header.extend_from_slice(&self.len.to_be_bytes());
        header.extend_from_slice(&self.checksum.to_be_bytes());
        let checksum = xxh3_64(&header);
        header.extend_from_slice(&checksum.to_be_bytes());
        header
    }
}

/// The body of a file: all or a part of the bytes of a delta.
pub(super) struct Body<'a> {
    /// The version of the delta, if this is a part.
    pub(super) upto: Option<Version>,
    pub(super) delta: &'a [u8],
}

/// Reads a file whose header is known. Cheap: the delta is not decoded.
pub(super) fn open<'a>(bytes: &'a [u8], expected: &FileHeader) -> Result<Body<'a>, SkipReason> {
    // Another file has taken its place since it was listed.
    if FileHeader::read(bytes)? != *expected {
        return Err(SkipReason::Incomplete);
    }
    let body = bytes.get(HEADER_LEN..).unwrap_or_default();
    let len = body.len() as u64;
    if len < expected.len {
        return Err(SkipReason::Incomplete);
    } else if len > expected.len {
        return Err(SkipReason::Damaged(DecodeError::Trailing(len - expected.len)));
    }
    if xxh3_64(body) != expected.checksum {
        return Err(SkipReason::Damaged(DecodeError::Checksum));
    }
    if expected.parts == 1 {
        return Ok(Body { upto: None, delta: body });
    }
    let malformed = SkipReason::Damaged(DecodeError::Malformed("a part without its version"));
    let Some((len, rest)) = body.split_first_chunk::<4>() else { return Err(malformed) };
    let Some((version, delta)) = rest.split_at_checked(u32::from_be_bytes(*len) as usize) else {
        return Err(malformed);
    };
    let upto = Version::from_bytes(version).map_err(SkipReason::Damaged)?;
    if !expected.statement.is_about(&upto) {
        return Err(malformed);
    }
    Ok(Body { upto: Some(upto), delta })
}

/// Reads a delta from all its bytes.
pub(super) fn decode(bytes: &[u8], statement: Statement, memory_limit: u64) -> Result<Delta, SkipReason> {
    let delta = Delta::from_bytes_within(bytes, memory_limit).map_err(|error| match error {
        DecodeError::Format(_) | DecodeError::Flags(_) | DecodeError::UnknownKind(_) | DecodeError::Compressed => {
            SkipReason::TooNew(error)
        }
        DecodeError::Memory { needed, limit } => SkipReason::Memory { needed, limit },
        other => SkipReason::Damaged(other),
    })?;
    match statement.is_about(delta.upto()) {
        true => Ok(delta),
        false => Err(SkipReason::Damaged(DecodeError::Malformed("a statement about another version"))),
    }
}

/// The files that hold a delta: one, or as many as a limit of their length needs. `None` if [`MAX_PARTS`] are too few.
///
/// Parts are stretches of the bytes of one delta, so a part says nothing by itself: all are put together before any is merged.
pub(super) fn files_of(delta: &Delta, statement: Statement, set: u64, limit: u64) -> Option<Vec<Vec<u8>>> {
    let bytes = delta.to_bytes();
    let seal = |(part, parts): (u16, u16), body: &[u8]| {
        let header = FileHeader { part, parts, set, statement, len: body.len() as u64, checksum: xxh3_64(body) };
        let mut file = header.write();
        file.extend_from_slice(body);
        file
    };
    if (HEADER_LEN + bytes.len()) as u64 <= limit {
        return Some(vec![seal((0, 1), &bytes)]);
    }
    let version = delta.upto().bare().to_bytes();
    let mut lead = u32::try_from(version.len()).ok()?.to_be_bytes().to_vec();
    lead.extend_from_slice(&version);
    let room =
        usize::try_from(limit).unwrap_or(usize::MAX).checked_sub(HEADER_LEN + lead.len()).filter(|room| *room > 0)?;
    let parts = bytes.len().div_ceil(room);
    if parts > MAX_PARTS {
        return None;
    }
    let files =
        (0..).zip(bytes.chunks(room)).map(|(part, chunk)| seal((part, parts as u16), &[&lead[..], chunk].concat()));
    Some(files.collect())
}

/// What is remembered of a delta that was read: enough to know whether it is wanted, without reading it again.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    /// What its reader must have seen.
    pub(super) need: Version,
    /// What its reader will have seen.
    pub(super) upto: Version,
    pub(super) statement: Statement,
    /// True if it holds everything.
    pub(super) is_checkpoint: bool,
    /// Where the replica stood after it took in the checkpoint.
    pub(super) taken_at: Option<Statement>,
}

impl Summary {
    pub(super) fn of(delta: &Delta, statement: Statement) -> Self {
        let is_checkpoint = *delta.kind() == DeltaKind::Complete;
        Self { need: delta.need(), upto: delta.upto().clone(), statement, is_checkpoint, taken_at: None }
    }

    /// True if it holds no write, and only says where its device stood.
    pub(super) fn is_bare_statement(&self) -> bool {
        !self.is_checkpoint && self.need == self.upto
    }
}
