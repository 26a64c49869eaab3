//! What two sessions say to each other, and its bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | what it says, 1 to 8; plus 128 with a receiver |
//! | 4 | the receiver, and the sender: the low half of the one's nonce, xor the high half of the other's; but in a first hello |
//! | … | what it says, below |
//! | 4 | checksum: the low half of XXH3-64 of all before |
//!
//! Numbers are LEB128 or little-endian. A frame has no length of its own: whatever carries it keeps frames apart.
//!
//! | says | fields |
//! |---|---|
//! | hello | oldest and newest protocol, digest of the schema (4), nonce (8), name of the device, binary logarithm of the staging limit, [`Told`], and what else the sender can do, if it is anything (1): 1 if it reads compressed slices; a later protocol may add to it |
//! | announce | number of the last stream that was merged, [`Told`] |
//! | need | nothing |
//! | part | number of the stream, bytes in all, bytes before, bytes |
//! | ask | number of the stream, bytes that are there, whether to send again what was sent; all bytes: it is not durable yet |
//! | gone | number of the stream |
//! | turn | number of the reconciliation, whether the sender began it, place in it, in the first the sender's [`Told`] and the number of the receiver's announcement that it begins from, a [`Turn`](crate::sync::Turn) |
//! | bye | nonce (8), a [`Parting`] |

use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{Cursor, DecodeError, read_change, read_dots, write_change, write_dots};
use crate::kernel::{Broken, BrokenKind, Entity, Fingerprint};
use crate::numbers::write_number;
use crate::standing::{Standing, StandingChange};
use crate::sync::device::DeviceName;
use crate::version::{HeadsChange, Version};

/// The longest frame that is read or written. It bounds what one can make a receiver hold before it is judged; only standings
/// of some 150,000 heads, and the bitmaps of 30 million writes, would need more.
pub const MAX_FRAME_LEN: usize = 4 << 20;

/// The fewest bytes that a frame takes.
const CHECKSUM: usize = 4;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame<'a> {
    /// Whom it is for, if that is known, and from whom.
    pub(super) to: Option<u32>,
    pub(super) says: Says<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Says<'a> {
    Hello(Box<Hello>),
    Announce {
        merged: u64,
        told: Told,
    },
    Need,
    Part {
        stream: u64,
        total: u64,
        offset: u64,
        bytes: &'a [u8],
    },
    Ask {
        stream: u64,
        have: u64,
        again: bool,
    },
    /// An answer to an ask for a stream that is given up.
    Gone {
        stream: u64,
    },
    Turn {
        round: u64,
        begun_by_sender: bool,
        place: u64,
        /// In the first turn: the sender's standing, and the number of the receiver's announcement that it begins from.
        builds_on: Option<Box<(Told, u64)>>,
        turn: &'a [u8],
    },
    /// With the nonce of who says it: it may be all that the receiver ever hears.
    Bye {
        nonce: u64,
        parting: Parting,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hello {
    pub(super) oldest: u8,
    pub(super) newest: u8,
    pub(super) schema: u32,
    pub(super) nonce: u64,
    pub(super) device: Option<DeviceName>,
    /// Binary logarithm.
    pub(super) staging_limit: u8,
    pub(super) told: Told,
    /// Bits for what else the sender can do: [`READS_COMPRESSED`]. Other bits are a later protocol's, and ignored.
    pub(super) abilities: u8,
}

/// What a side says of where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    /// Of several the one with the greatest number counts.
    pub(super) number: u64,
    pub(super) fingerprint: Fingerprint,
    pub(super) form: Form,
    pub(super) resume: Option<Resume>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// Too long to be said before it is known that the peer is another.
    Digest(u64),
    Whole(StandingChange),
    /// What differs from the standing that this digest names.
    FromDigest(u64, StandingChange),
    /// What differs from what the receiver announced under this number.
    FromAnnounced(u64, StandingChange),
}

/// A stream that broke off, of which the sender of this has kept all entities up to `last`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resume {
    kind: BrokenKind,
    /// True if both sides sent everything to be compared.
    is_repair: bool,
    fingerprint: Fingerprint,
    /// Difference from the version that it comes with; so are the next two.
    since: HeadsChange,
    upto: HeadsChange,
    pruned: HeadsChange,
    last: Entity,
}

/// The reason why a side leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parting {
    /// All that it wanted is done.
    Done,
    /// It speaks other versions of the protocol.
    Protocol {
        /// The oldest that it speaks.
        oldest: u8,
        /// The newest.
        newest: u8,
    },
    /// It holds values of another type.
    Schema(String),
    /// A delta is longer than it stages, or than its peer does.
    TooLong {
        /// The length in bytes.
        len: u64,
        /// The most that is staged.
        limit: u64,
    },
    /// It cannot merge a delta that it was sent.
    NotMergeable,
    /// Both have seen the same and hold something else, and repair is not wanted there or did not help.
    Contradiction,
    /// It was told too much that makes no sense.
    Nonsense,
    /// It has waited for an answer for as long as it is patient.
    Silence,
    /// It was to learn of more writes of one writer than it believes.
    Jump {
        /// Number of writes.
        jump: u64,
    },
    /// It was to learn of more new writers than it takes.
    Writers(u64),
    /// Its standing is longer than a frame.
    FrameTooLong {
        /// Length in bytes.
        len: u64,
    },
    /// It could not make durable what it merged.
    NotDurable,
    /// A store or a gate around its replica refused what it was sent: try again later, or ask whoever runs it.
    Refused,
    /// A reason that a later version of the protocol has, by its number.
    Other(u8),
}

const HELLO: u8 = 1;
const ANNOUNCE: u8 = 2;
const NEED: u8 = 3;
const PART: u8 = 4;
const ASK: u8 = 5;
const TURN: u8 = 6;
const BYE: u8 = 7;
const GONE: u8 = 8;
const TO: u8 = 0x80;

/// In the first byte of a [`Told`].
const FORM: u8 = 3;
const RESUME: u8 = 4;

/// The sender of a hello reads compressed slices. A peer that does not know of this ability ignores what stands after [`Told`].
pub(super) const READS_COMPRESSED: u8 = 1;

/// In the first byte of a turn.
const BEGUN_BY_SENDER: u8 = 1;
const FIRST: u8 = 2;

/// The longest text of a [`Parting`] that is written or read.
const MAX_TEXT_LEN: usize = 256;

impl Frame<'_> {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let kind = match &self.says {
            Says::Hello(_) => HELLO,
            Says::Announce { .. } => ANNOUNCE,
            Says::Need => NEED,
            Says::Part { .. } => PART,
            Says::Ask { .. } => ASK,
            Says::Gone { .. } => GONE,
            Says::Turn { .. } => TURN,
            Says::Bye { .. } => BYE,
        };
        out.push(kind | self.to.map_or(0, |_| TO));
        out.extend(self.to.iter().flat_map(|to| to.to_le_bytes()));
        match &self.says {
            Says::Hello(hello) => hello.write(&mut out),
            Says::Announce { merged, told } => {
                write_number(&mut out, *merged);
                told.write(&mut out);
            }
            Says::Need => {}
            Says::Part { stream, total, offset, bytes } => {
                [stream, total, offset].into_iter().for_each(|number| write_number(&mut out, *number));
                out.extend_from_slice(bytes);
            }
            Says::Ask { stream, have, again } => {
                out.push(u8::from(*again));
                write_number(&mut out, *stream);
                write_number(&mut out, *have);
            }
            Says::Gone { stream } => write_number(&mut out, *stream),
            Says::Turn { round, begun_by_sender, place, builds_on, turn } => {
                let begun = if *begun_by_sender { BEGUN_BY_SENDER } else { 0 };
                out.push(begun | builds_on.as_ref().map_or(0, |_| FIRST));
                write_number(&mut out, *round);
                write_number(&mut out, *place);
                if let Some((told, number)) = builds_on.as_deref() {
                    told.write(&mut out);
                    write_number(&mut out, *number);
                }
                out.extend_from_slice(turn);
            }
            Says::Bye { nonce, parting } => {
                out.extend(nonce.to_le_bytes());
                parting.write(&mut out);
            }
        }
        out.extend(checksum(&out));
        out
    }
}

impl<'a> Frame<'a> {
    /// Reads a frame; one of a kind that a later protocol has is an error like any other.
    pub(super) fn from_bytes(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_FRAME_LEN {
            let (found, limit) = (bytes.len() as u64, MAX_FRAME_LEN as u64);
            return Err(DecodeError::TooLarge { what: "a frame", found, limit });
        }
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(DecodeError::Truncated { missing: 1 })?;
        if *sum != checksum(body) {
            return Err(DecodeError::Checksum);
        }
        let mut cursor = Cursor::new(body);
        let kind = cursor.byte()?;
        let to = match kind & TO {
            0 => None,
            _ => Some(u32::from_le_bytes(cursor.array()?)),
        };
        let says = match kind & !TO {
            // What follows is a later protocol's.
            HELLO => return Ok(Self { to, says: Says::Hello(Box::new(Hello::read(&mut cursor)?)) }),
            ANNOUNCE => Says::Announce { merged: cursor.number()?, told: Told::read(&mut cursor)? },
            NEED => Says::Need,
            PART => {
                let (stream, total, offset) = (cursor.number()?, cursor.number()?, cursor.number()?);
                let bytes = cursor.rest();
                let fits = offset.checked_add(bytes.len() as u64).is_some_and(|end| end <= total);
                if bytes.is_empty() || !fits {
                    return Err(DecodeError::Malformed("a part that is none of its stream"));
                }
                return Ok(Self { to, says: Says::Part { stream, total, offset, bytes } });
            }
            ASK => {
                let again = match cursor.byte()? {
                    0 => false,
                    1 => true,
                    _ => return Err(DecodeError::Malformed("a question that is none")),
                };
                Says::Ask { stream: cursor.number()?, have: cursor.number()?, again }
            }
            TURN => {
                let flags = cursor.byte()?;
                if flags & !(BEGUN_BY_SENDER | FIRST) != 0 {
                    return Err(DecodeError::Malformed("a turn of an unknown sort"));
                }
                let (round, place) = (cursor.number()?, cursor.number()?);
                let builds_on = match flags & FIRST {
                    0 => None,
                    _ => Some(Box::new((Told::read(&mut cursor)?, cursor.number()?))),
                };
                let begun_by_sender = flags & BEGUN_BY_SENDER != 0;
                return Ok(Self {
                    to,
                    says: Says::Turn { round, begun_by_sender, place, builds_on, turn: cursor.rest() },
                });
            }
            GONE => Says::Gone { stream: cursor.number()? },
            BYE => {
                let nonce = u64::from_le_bytes(cursor.array()?);
                Says::Bye { nonce, parting: Parting::read(&mut cursor)? }
            }
            other => return Err(DecodeError::UnknownKind(other)),
        };
        cursor.end()?;
        Ok(Self { to, says })
    }
}

impl Hello {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.oldest, self.newest]);
        out.extend(self.schema.to_le_bytes());
        out.extend(self.nonce.to_le_bytes());
        write_text(out, self.device.as_ref().map_or("", DeviceName::as_str));
        out.push(self.staging_limit);
        self.told.write(out);
        out.extend((self.abilities != 0).then_some(self.abilities));
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let (oldest, newest) = (cursor.byte()?, cursor.byte()?);
        let (schema, nonce) = (u32::from_le_bytes(cursor.array()?), u64::from_le_bytes(cursor.array()?));
        let device = match read_text(cursor)? {
            "" => None,
            name => Some(name.parse().map_err(|_| DecodeError::Malformed("a name that no device may have"))?),
        };
        let staging_limit = cursor.byte()?;
        let told = Told::read(cursor)?;
        let abilities = cursor.rest().first().copied().unwrap_or(0);
        Ok(Self { oldest, newest, schema, nonce, device, staging_limit, told, abilities })
    }
}

impl Told {
    fn write(&self, out: &mut Vec<u8>) {
        let form = match &self.form {
            Form::Digest(_) => 0,
            Form::Whole(_) => 1,
            Form::FromDigest(..) => 2,
            Form::FromAnnounced(..) => 3,
        };
        out.push(form | self.resume.as_ref().map_or(0, |_| RESUME));
        write_number(out, self.number);
        out.extend(self.fingerprint.to_bytes());
        self.form.write(out);
        self.resume.iter().for_each(|resume| resume.write(out));
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let flags = cursor.byte()?;
        if flags & !(FORM | RESUME) != 0 {
            return Err(DecodeError::Malformed("a standing in an unknown form"));
        }
        let number = cursor.number()?;
        let fingerprint = Fingerprint::from_bytes(cursor.array()?);
        let form = match flags & FORM {
            0 => Form::Digest(u64::from_le_bytes(cursor.array()?)),
            1 => Form::Whole(read_standing(cursor)?),
            2 => Form::FromDigest(u64::from_le_bytes(cursor.array()?), read_standing(cursor)?),
            _ => Form::FromAnnounced(cursor.number()?, read_standing(cursor)?),
        };
        let resume = match flags & RESUME {
            0 => None,
            _ => Some(Resume::read(cursor)?),
        };
        Ok(Self { number, fingerprint, form, resume })
    }
}

impl Form {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Digest(digest) => out.extend(digest.to_le_bytes()),
            Self::Whole(change) => write_standing(out, change),
            Self::FromDigest(digest, change) => {
                out.extend(digest.to_le_bytes());
                write_standing(out, change);
            }
            Self::FromAnnounced(number, change) => {
                write_number(out, *number);
                write_standing(out, change);
            }
        }
    }

    /// Returns its length in bytes.
    pub(super) fn len(&self) -> usize {
        let mut out = Vec::new();
        self.write(&mut out);
        out.len()
    }
}

impl Resume {
    pub(super) fn new(standing: &Standing, broken: &Broken, is_repair: bool) -> Self {
        let change = |version: &Version| HeadsChange::between(&standing.version, version);
        Self {
            kind: broken.kind,
            is_repair,
            fingerprint: broken.fingerprint,
            since: change(&broken.since),
            upto: change(&broken.upto),
            pruned: change(&broken.pruned),
            last: broken.last,
        }
    }

    /// The delta that broke off, from the standing that this came with, and whether it was to repair.
    pub(super) fn broken(&self, standing: &Standing) -> Option<(Broken, bool)> {
        let version = |change: &HeadsChange| change.apply(&standing.version);
        let (kind, fingerprint, last) = (self.kind, self.fingerprint, self.last);
        let (since, upto, pruned) = (version(&self.since)?, version(&self.upto)?, version(&self.pruned)?);
        Some((Broken { kind, since, upto, pruned, fingerprint, last }, self.is_repair))
    }

    /// Returns its length in bytes.
    pub(super) fn len(&self) -> usize {
        let mut out = Vec::new();
        self.write(&mut out);
        out.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(match (self.kind, self.is_repair) {
            (BrokenKind::Incremental, _) => 0,
            (BrokenKind::Reconciled, _) => 1,
            (BrokenKind::Complete, false) => 2,
            (BrokenKind::Complete, true) => 3,
        });
        out.extend(self.fingerprint.to_bytes());
        [&self.since, &self.upto, &self.pruned].into_iter().for_each(|change| write_change(out, change));
        out.push(self.last.kind());
        out.extend(self.last.id());
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let (kind, is_repair) = match cursor.byte()? {
            0 => (BrokenKind::Incremental, false),
            1 => (BrokenKind::Reconciled, false),
            2 => (BrokenKind::Complete, false),
            3 => (BrokenKind::Complete, true),
            _ => return Err(DecodeError::Malformed("a stream of an unknown kind that broke off")),
        };
        let fingerprint = Fingerprint::from_bytes(cursor.array()?);
        let (since, upto, pruned) = (read_change(cursor)?, read_change(cursor)?, read_change(cursor)?);
        let last = Entity::new(cursor.byte()?, cursor.array()?);
        Ok(Self { kind, is_repair, fingerprint, since, upto, pruned, last })
    }
}

impl Parting {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Done => out.push(0),
            Self::Protocol { oldest, newest } => out.extend([1, *oldest, *newest]),
            Self::Schema(name) => {
                out.push(2);
                write_text(out, name);
            }
            Self::TooLong { len, limit } => {
                out.push(3);
                write_number(out, *len);
                write_number(out, *limit);
            }
            Self::NotMergeable => out.push(4),
            Self::Contradiction => out.push(5),
            Self::Nonsense => out.push(6),
            Self::Silence => out.push(7),
            Self::Jump { jump } => {
                out.push(8);
                write_number(out, *jump);
            }
            Self::Writers(writers) => {
                out.push(9);
                write_number(out, *writers);
            }
            Self::FrameTooLong { len } => {
                out.push(10);
                write_number(out, *len);
            }
            Self::NotDurable => out.push(11),
            Self::Refused => out.push(12),
            Self::Other(reason) => out.push(*reason),
        }
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        Ok(match cursor.byte()? {
            0 => Self::Done,
            1 => Self::Protocol { oldest: cursor.byte()?, newest: cursor.byte()? },
            2 => Self::Schema(read_text(cursor)?.to_owned()),
            3 => Self::TooLong { len: cursor.number()?, limit: cursor.number()? },
            4 => Self::NotMergeable,
            5 => Self::Contradiction,
            6 => Self::Nonsense,
            7 => Self::Silence,
            8 => Self::Jump { jump: cursor.number()? },
            9 => Self::Writers(cursor.number()?),
            10 => Self::FrameTooLong { len: cursor.number()? },
            11 => Self::NotDurable,
            12 => Self::Refused,
            // What follows is a later protocol's.
            other => {
                *cursor = Cursor::new(&[]);
                Self::Other(other)
            }
        })
    }
}

/// As much of a text as fits.
fn write_text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(MAX_TEXT_LEN)];
    write_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn read_text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let text = str::from_utf8(cursor.bytes()?).map_err(|_| DecodeError::Malformed("a text that is not UTF-8"))?;
    match text.len() <= MAX_TEXT_LEN {
        true => Ok(text),
        false => Err(DecodeError::Malformed("a text that is too long")),
    }
}

fn write_standing(out: &mut Vec<u8>, change: &StandingChange) {
    write_change(out, &change.version);
    write_change(out, &change.pruned);
    write_dots(out, &change.trail);
}

fn read_standing(cursor: &mut Cursor<'_>) -> Result<StandingChange, DecodeError> {
    Ok(StandingChange { version: read_change(cursor)?, pruned: read_change(cursor)?, trail: read_dots(cursor)? })
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    (xxh3_64(bytes) as u32).to_le_bytes()
}

/// The bytes that a frame spells once it is read; what a later protocol adds to a hello is read as nothing.
#[cfg(feature = "testing")]
pub(crate) fn reread_frame(frame: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Frame::from_bytes(frame).map(|frame| frame.to_bytes())
}

/// Makes the checksum fit whatever the frame says: so that a test gets past it to what lies behind.
#[cfg(feature = "testing")]
pub(crate) fn repair_frame_checksum(frame: &mut [u8]) {
    if let Some((body, sum)) = frame.split_last_chunk_mut::<CHECKSUM>() {
        *sum = checksum(body);
    }
}
