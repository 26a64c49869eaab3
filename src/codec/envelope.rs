//! The envelope around every message.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `DRFT` |
//! | 1 | format version |
//! | 1 | kind |
//! | 1 | flags: 1 compressed, 2 sealed; reserved, none is in use |
//! | 8 | checksum: XXH3-64 of everything else, big-endian |
//! | 1 to 10 | length of the body, LEB128 |
//! | … | body |

use std::io::{self, Write};

use xxhash_rust::xxh3::Xxh3;

use crate::bugs::{Bug, is};
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

    /// The error of finding this where something else was asked for.
    pub(super) fn instead_of(self, expected: &'static str) -> DecodeError {
        DecodeError::Kind { found: self.name(), expected }
    }
}

pub(super) fn seal(kind: Kind, body: Vec<u8>) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEAD + 10 + body.len());
    message.extend_from_slice(&MAGIC);
    message.extend_from_slice(&[FORMAT, kind as u8, 0]);
    message.extend_from_slice(&[0; 8]);
    write_number(&mut message, body.len() as u64);
    message.extend_from_slice(&body);
    let checksum = checksum(&message);
    message[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// The parts of an opened envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Opened<'a> {
    pub(super) format: Format,
    pub(super) kind: Kind,
    pub(super) body: &'a [u8],
}

pub(super) fn open(bytes: &[u8]) -> Result<Opened<'_>, DecodeError> {
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
    if head[6] != 0 {
        return Err(DecodeError::Flags(head[6]));
    }
    Ok(Opened { format, kind: Kind::from_byte(head[5])?, body: rest })
}

/// Opens a message that must be of one kind.
pub(super) fn open_as(bytes: &[u8], kind: Kind) -> Result<Opened<'_>, DecodeError> {
    let opened = open(bytes)?;
    if opened.kind == kind { Ok(opened) } else { Err(opened.kind.instead_of(kind.name())) }
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

    #[test]
    fn lengths_of_every_size_survive() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let body = vec![5; len];
            let message = seal(Kind::Complete, body.clone());
            let opened = Opened { format: Format::Columns, kind: Kind::Complete, body: &body };
            assert_eq!(open(&message), Ok(opened));
        }
    }

    #[test]
    fn every_kind_of_damage_has_its_name() {
        let good = seal(Kind::State, b"body".to_vec());
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
