//! The bytes of a file: a header that says which state the file was cut from, and a delta or a part of one.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `DRFF` |
//! | 1 | format version |
//! | 1 | flags: reserved, none is in use |
//! | 2 | number of the part, from 0 |
//! | 2 | number of parts |
//! | 8 | random name that the parts share |
//! | 8 | digest of the version |
//! | 16 | fingerprint of the state |
//! | 8 | checksum: XXH3-64 of everything else |
//! | … | a delta, or a slice of one, as [`Delta::to_bytes`] writes it |
//!
//! Numbers are big-endian. The header has a fixed length, so it is read at each sync: a file of equal length and time but
//! other content has another checksum.

use xxhash_rust::xxh3::Xxh3;

use crate::codec::DecodeError;
use crate::kernel::{Crdt, Delta, Fingerprint};
use crate::replica::Replica;
use crate::sync::folder::report::SkipReason;
use crate::version::Version;

const MAGIC: [u8; 4] = *b"DRFF";

/// The format that this version writes, and the only one so far.
const FORMAT: u8 = 1;

const CHECKSUM: std::ops::Range<usize> = 42..50;

pub(super) const HEADER_LEN: usize = 50;

/// The largest number of files that one delta is written to.
pub const MAX_PARTS: usize = 256;

/// A version and the state that its device held at it: equal versions with unequal fingerprints are a divergence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Statement {
    pub(super) version: u64,
    pub(super) fingerprint: Fingerprint,
}

impl Statement {
    pub(super) fn of<T: Crdt>(replica: &Replica<T>) -> Self {
        Self { version: replica.version().digest(), fingerprint: replica.fingerprint() }
    }

    /// True if both stand at one version and hold something else.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        self.version == other.version && self.fingerprint != other.fingerprint
    }
}

/// The first bytes of a file, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileHeader {
    pub(super) part: u16,
    pub(super) parts: u16,
    /// The name that the parts of one delta share.
    pub(super) set: u64,
    pub(super) statement: Statement,
    checksum: [u8; 8],
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
        if header[4] != FORMAT {
            return Err(SkipReason::TooNew(DecodeError::Format(header[4])));
        }
        if header[5] != 0 {
            return Err(SkipReason::TooNew(DecodeError::Flags(header[5])));
        }
        let number = |at: usize, len: usize| header[at..at + len].iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        let (part, parts) = (number(6, 2) as u16, number(8, 2) as u16);
        if part >= parts || usize::from(parts) > MAX_PARTS {
            return Err(SkipReason::Damaged(DecodeError::Malformed("a number of parts that no file has")));
        }
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&header[26..42]);
        let statement = Statement { version: number(18, 8), fingerprint: Fingerprint::from_bytes(fingerprint) };
        let mut checksum = [0; 8];
        checksum.copy_from_slice(&header[CHECKSUM]);
        Ok(Self { part, parts, set: number(10, 8), statement, checksum })
    }
}

/// The bytes of a file: one part of a set.
pub(super) fn seal(statement: Statement, set: u64, (part, parts): (u16, u16), delta: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEADER_LEN + delta.len());
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&[FORMAT, 0]);
    file.extend_from_slice(&part.to_be_bytes());
    file.extend_from_slice(&parts.to_be_bytes());
    file.extend_from_slice(&set.to_be_bytes());
    file.extend_from_slice(&statement.version.to_be_bytes());
    file.extend_from_slice(&statement.fingerprint.to_bytes());
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(delta);
    let checksum = checksum(&file);
    file[CHECKSUM].copy_from_slice(&checksum);
    file
}

/// Reads a file: its header, and its delta or slice of one.
pub(super) fn open(bytes: &[u8]) -> Result<(FileHeader, Delta), SkipReason> {
    let header = FileHeader::read(bytes)?;
    let delta = Delta::from_bytes(bytes.get(HEADER_LEN..).unwrap_or_default()).map_err(|error| match error {
        DecodeError::Truncated { .. } => SkipReason::Incomplete,
        DecodeError::Format(_) | DecodeError::Flags(_) | DecodeError::UnknownKind(_) => SkipReason::TooNew(error),
        other => SkipReason::Damaged(other),
    })?;
    if header.checksum != checksum(bytes) {
        return Err(SkipReason::Damaged(DecodeError::Checksum));
    }
    if header.statement.version != delta.upto().digest() {
        return Err(SkipReason::Damaged(DecodeError::Malformed("a statement about another version")));
    }
    Ok((header, delta))
}

/// The files that hold a delta: one, or as many as a limit of their length needs. `None` if the limit is too low for an
/// entity, or for what each part says of versions, or if [`MAX_PARTS`] are too few.
pub(super) fn files_of(delta: &Delta, statement: Statement, set: u64, limit: u64) -> Option<Vec<Vec<u8>>> {
    let fits = |bytes: &Vec<u8>| (HEADER_LEN + bytes.len()) as u64 <= limit;
    let whole = delta.to_bytes();
    if fits(&whole) {
        return Some(vec![seal(statement, set, (0, 1), &whole)]);
    }
    drop(whole);
    let mut target = usize::try_from(limit / 2).unwrap_or(usize::MAX);
    loop {
        let slices: Vec<_> = delta.slices(target).map(|slice| slice.to_bytes()).take(MAX_PARTS + 1).collect();
        if slices.len() > MAX_PARTS {
            return None;
        }
        if slices.iter().all(fits) {
            let parts = slices.len() as u16;
            return Some((0..).zip(&slices).map(|(part, slice)| seal(statement, set, (part, parts), slice)).collect());
        }
        if target == 0 {
            return None;
        }
        target /= 4;
    }
}

/// Of everything but itself.
fn checksum(file: &[u8]) -> [u8; 8] {
    let mut hasher = Xxh3::new();
    hasher.update(&file[..CHECKSUM.start]);
    hasher.update(&file[CHECKSUM.end..]);
    hasher.digest().to_be_bytes()
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
        let is_checkpoint = *delta.kind() == crate::kernel::DeltaKind::Complete;
        Self { need: delta.need(), upto: delta.upto().clone(), statement, is_checkpoint, taken_at: None }
    }

    /// True if it holds no write, and only says where its device stood.
    pub(super) fn is_bare_statement(&self) -> bool {
        !self.is_checkpoint && self.need == self.upto
    }
}
