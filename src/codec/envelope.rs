//! The envelope around every message.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `DRFT` |
//! | 1 | format version |
//! | 1 | kind |
//! | 1 | flags: 1 if the body is [compressed](super::deflate); 2, sealed, is reserved |
//! | 8 | checksum: XXH3-64 of everything else, big-endian |
//! | 1 to 10 | length of the body, LEB128 |
//! | … | body |

use std::borrow::Cow;
use std::io::{self, Write};

use xxhash_rust::xxh3::Xxh3;

use crate::bugs::{Bug, is};
use crate::codec::deflate;
use crate::codec::error::DecodeError;
use crate::numbers::write_number;

const MAGIC: [u8; 4] = *b"DRFT";

/// The format that this version writes.
pub(super) const FORMAT: u8 = Format::Columns as u8;

/// The oldest format that this version reads.
pub(super) const OLDEST_FORMAT: u8 = Format::Rows as u8;

/// The formats that this version reads: they differ in the parts of a delta. In format 1 a replica wrote under one id for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Rows = 2,
    Columns = 3,
}

impl Format {
    fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            2 => Ok(Self::Rows),
            3 => Ok(Self::Columns),
            other => Err(DecodeError::Format(other)),
        }
    }
}

/// The flag of a compressed body.
const COMPRESSED: u8 = 1;

/// Place of the flags.
const FLAGS: usize = 6;

const CHECKSUM: std::ops::Range<usize> = 7..15;
const HEAD: usize = 15;

/// What a message is. The numbers are part of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Incremental = 1,
    Complete = 2,
    Reconciled = 3,
    State = 4,
    Version = 5,
    Dots = 6,
    Devices = 7,
    Staged = 8,
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            1 => Self::Incremental,
            2 => Self::Complete,
            3 => Self::Reconciled,
            4 => Self::State,
            5 => Self::Version,
            6 => Self::Dots,
            7 => Self::Devices,
            8 => Self::Staged,
            other => return Err(DecodeError::UnknownKind(other)),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Incremental | Self::Complete | Self::Reconciled => "a delta",
            Self::State => "a saved state",
            Self::Version => "a version",
            Self::Dots => "a set of dots",
            Self::Devices => "a list of devices",
            Self::Staged => "the beginning of a delta",
        }
    }

    /// The memory that decoding takes at most for each byte of the contents, beside the memory that the contents announce.
    ///
    /// The bytes of a plain message bound this part of the memory by themselves. Those of a compressed one do not.
    fn memory_per_byte(self) -> u64 {
        match self {
            // Heads and births.
            Self::Incremental | Self::Complete | Self::Reconciled | Self::State | Self::Staged => 16,
            Self::Version | Self::Dots => 8,
            Self::Devices => 48,
        }
    }

    /// The error of finding this where something else was asked for.
    pub(super) fn instead_of(self, expected: &'static str) -> DecodeError {
        DecodeError::Kind { found: self.name(), expected }
    }
}

pub(super) fn seal(kind: Kind, body: &[u8]) -> Vec<u8> {
    seal_with(kind, 0, body)
}

/// Compresses the body. A body that does not become shorter is sealed as it is.
#[cfg(feature = "compression")]
pub(super) fn seal_compressed(kind: Kind, body: &[u8]) -> Vec<u8> {
    match deflate::compress(body) {
        Some(compressed) => seal_with(kind, COMPRESSED, &compressed),
        None => seal(kind, body),
    }
}

fn seal_with(kind: Kind, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEAD + 10 + body.len());
    message.extend_from_slice(&MAGIC);
    message.extend_from_slice(&[FORMAT, kind as u8, flags]);
    message.extend_from_slice(&[0; 8]);
    write_number(&mut message, body.len() as u64);
    message.extend_from_slice(body);
    let checksum = checksum(&message);
    message[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// The parts of an opened envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Opened<'a> {
    pub(super) format: Format,
    pub(super) kind: Kind,
    pub(super) body: Cow<'a, [u8]>,
}

/// An envelope whose checksum fits, and whose body may be compressed.
struct Sealed<'a> {
    format: Format,
    kind: Kind,
    is_compressed: bool,
    body: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Takes the memory of decompressed contents from the memory that is left, before anything is reserved.
    fn open(self, memory_left: &mut u64) -> Result<Opened<'a>, DecodeError> {
        let Self { format, kind, is_compressed, body } = self;
        let body = match is_compressed {
            true => Cow::Owned(deflate::decompress(body, *memory_left, kind.memory_per_byte())?),
            false => Cow::Borrowed(body),
        };
        if let Cow::Owned(contents) = &body {
            *memory_left -= contents.len() as u64;
        }
        Ok(Opened { format, kind, body })
    }
}

/// Opens a message within so much memory: only a compressed message takes any.
pub(super) fn open<'a>(bytes: &'a [u8], memory_left: &mut u64) -> Result<Opened<'a>, DecodeError> {
    check(bytes)?.open(memory_left)
}

/// Opens a message that must be plain, because the message around it may be compressed.
pub(super) fn open_plain(bytes: &[u8]) -> Result<Opened<'_>, DecodeError> {
    let sealed = check(bytes)?;
    match sealed.is_compressed {
        true => Err(DecodeError::Malformed("a compressed message within a message")),
        false => sealed.open(&mut 0),
    }
}

fn check(bytes: &[u8]) -> Result<Sealed<'_>, DecodeError> {
    let magic = bytes.iter().zip(&MAGIC).take_while(|(a, b)| a == b).count();
    if magic < MAGIC.len().min(bytes.len()) {
        return Err(DecodeError::Magic);
    }
    let Some(head) = bytes.get(..HEAD) else {
        return Err(DecodeError::Truncated { missing: (HEAD + 1 - bytes.len()) as u64 });
    };
    let format = Format::from_byte(head[4])?;
    let (length, rest) = read_number(&bytes[HEAD..])?;
    let have = rest.len() as u64;
    if have < length {
        return Err(DecodeError::Truncated { missing: length - have });
    } else if have > length {
        return Err(DecodeError::Trailing(have - length));
    }
    if head[CHECKSUM] != checksum(bytes).to_be_bytes() {
        return Err(DecodeError::Checksum);
    }
    let is_compressed = match head[FLAGS] {
        0 => false,
        COMPRESSED => true,
        other => return Err(DecodeError::Flags(other)),
    };
    Ok(Sealed { format, kind: Kind::from_byte(head[5])?, is_compressed, body: rest })
}

/// Opens a message that must be of one kind, within so much memory: only a compressed message takes any.
pub(super) fn open_as(bytes: &[u8], kind: Kind, mut memory_limit: u64) -> Result<Opened<'_>, DecodeError> {
    let sealed = check(bytes)?;
    if sealed.kind == kind { sealed.open(&mut memory_limit) } else { Err(sealed.kind.instead_of(kind.name())) }
}

/// A LEB128 number in its shortest form, and what follows it.
pub(crate) fn read_number(bytes: &[u8]) -> Result<(u64, &[u8]), DecodeError> {
    let mut number = 0u64;
    for (i, byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && *byte > 1 || i > 9 {
            return Err(DecodeError::Malformed("a number of more than 64 bits"));
        }
        number |= bits << (7 * i);
        if byte & 0x80 == 0 {
            let overlong = i > 0 && *byte == 0;
            return if overlong { Err(DecodeError::NotCanonical) } else { Ok((number, &bytes[i + 1..])) };
        }
    }
    Err(DecodeError::Truncated { missing: 1 })
}

/// Of everything but itself.
fn checksum(message: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&message[..CHECKSUM.start]);
    hasher.update(&message[CHECKSUM.end..]);
    hasher.digest()
}

/// Makes the checksum fit whatever the message says: so that a test gets past it to what lies behind.
#[cfg(feature = "testing")]
pub(crate) fn repair_checksum(message: &mut [u8]) {
    if message.len() >= HEAD {
        let checksum = checksum(message);
        message[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Writes a body again and compares, byte by byte and without keeping it.
pub(super) fn check_canonical(body: &[u8], write: impl FnOnce(&mut Comparing<'_>)) -> Result<(), DecodeError> {
    let mut comparing = Comparing { expected: body, equal: true };
    write(&mut comparing);
    match comparing.equal && comparing.expected.is_empty() || is(Bug::NotCanonical) {
        true => Ok(()),
        false => Err(DecodeError::NotCanonical),
    }
}

pub(super) struct Comparing<'a> {
    expected: &'a [u8],
    equal: bool,
}

impl Write for Comparing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.expected.strip_prefix(bytes) {
            Some(rest) => self.expected = rest,
            None => self.equal = false,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8]) -> Result<Opened<'_>, DecodeError> {
        super::open(bytes, &mut 0)
    }

    #[test]
    fn lengths_of_every_size_survive() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let body = vec![5; len];
            let message = seal(Kind::Complete, &body);
            let body = Cow::Borrowed(&body[..]);
            let opened = Opened { format: Format::Columns, kind: Kind::Complete, body };
            assert_eq!(open(&message), Ok(opened));
        }
    }

    #[test]
    fn every_kind_of_damage_has_its_name() {
        let good = seal(Kind::State, b"body");
        let with = |i: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[i] = byte;
            bytes
        };
        assert_eq!(open(&with(0, b'X')), Err(DecodeError::Magic));
        assert_eq!(open(b"XY"), Err(DecodeError::Magic));
        assert_eq!(open(&with(4, 1)), Err(DecodeError::Format(1)));
        assert_eq!(open(&with(4, FORMAT + 1)), Err(DecodeError::Format(FORMAT + 1)));
        assert_eq!(open(&with(9, !good[9])), Err(DecodeError::Checksum));
        assert_eq!(open(&with(17, b'!')), Err(DecodeError::Checksum));
        assert_eq!(open(&with(HEAD, 5)), Err(DecodeError::Truncated { missing: 1 }));
        assert_eq!(open(&with(HEAD, 3)), Err(DecodeError::Trailing(1)));
        assert_eq!(
            open(&with(HEAD, 0x84)).map(|_| ()).map_err(|e| matches!(e, DecodeError::Truncated { .. })),
            Err(true)
        );
        for len in 0..good.len() {
            assert!(matches!(open(&good[..len]), Err(DecodeError::Truncated { .. })), "{len}");
        }
    }

    #[test]
    fn an_overlong_length_is_not_canonical() {
        assert_eq!(read_number(&[0x80, 0x00]), Err(DecodeError::NotCanonical));
        assert_eq!(read_number(&[0xff; 11]).map(|_| ()), Err(DecodeError::Malformed("a number of more than 64 bits")));
        let mut most = vec![0xff; 9];
        most.push(1);
        assert_eq!(read_number(&most), Ok((u64::MAX, &[][..])));
    }
}
