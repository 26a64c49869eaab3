//! What can be wrong with bytes.

use thiserror::Error;

use crate::codec::envelope::{FORMAT, OLDEST_FORMAT};
use crate::escape::Escaped;

/// Why bytes were not read. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They do not begin as driftless's do.
    #[error("these bytes are not driftless's: they do not begin with its magic number")]
    Magic,
    /// A later version of the format, or an earlier one that is no longer read.
    #[error(
        "format version {0} cannot be read: this version of driftless reads formats {OLDEST_FORMAT} to {FORMAT}; update \
         whichever side has the older version"
    )]
    Format(u8),
    /// A file of a shared folder in a format that this version cannot read.
    #[error(
        "a file of format version {0} cannot be read by this version of driftless: update the device that reads it"
    )]
    FileFormat(u8),
    /// A compressed message, in a build that cannot read one: without the feature `compression`. The bytes may be intact.
    #[error(
        "the message is compressed: enable the feature `compression` of driftless to read it, or have it written plain"
    )]
    Compressed,
    /// Flags that this version does not know: sealed content must be opened first.
    #[error("flags {0:#04x} are not known to this version of driftless")]
    Flags(u8),
    /// A kind of message that this version does not know.
    #[error("message kind {0} is not known to this version of driftless")]
    UnknownKind(u8),
    /// Well-formed, but not what was asked for.
    #[error("found {found} where {expected} was expected")]
    Kind {
        /// What the bytes hold.
        found: &'static str,
        /// What was asked for.
        expected: &'static str,
    },
    /// The state of another type.
    #[error("found a state of type `{}` where `{expected}` was expected", Escaped(.found))]
    Schema {
        /// The type that the bytes name.
        found: String,
        /// The type that was asked for.
        expected: &'static str,
    },
    /// Fewer bytes than the envelope announces: read on, or fetch them again.
    #[error("the bytes end early: {missing} more were announced")]
    Truncated {
        /// How many are missing at least.
        missing: u64,
    },
    /// More bytes than the envelope announces.
    #[error("{0} bytes follow the end")]
    Trailing(u64),
    /// Damaged on the way or on the disk.
    #[error("the checksum does not match: the bytes were damaged; fetch them again")]
    Checksum,
    /// The checksum fits and the content makes no sense: a bug, or malice, of whoever wrote it.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// Not the one way in which this content is written.
    #[error("malformed: the content is not in canonical form")]
    NotCanonical,
    /// Decoding may take more memory than the caller allows. Messages of similar contents take few bytes for what they hold, so
    /// this may be no mistake.
    #[error(
        "decoding may take {needed} bytes of memory, and {limit} are allowed; if the message comes from a source that is \
         trusted, read it with `Delta::from_bytes_within` and a higher limit"
    )]
    Memory {
        /// Upper bound of the memory that decoding takes, in bytes. Of a message with texts, the part of it that was counted when the limit
        /// was exceeded: the whole may need more.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// A named limit is exceeded.
    #[error("{what} is too large: {found}, at most {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large.
        found: u64,
        /// The limit.
        limit: u64,
    },
}
