//! Offsets in a text, in the unit that the caller counts in.

use thiserror::Error;

/// A place between two characters of a text, counted from its beginning.
///
/// Rust strings and terminals count bytes, JavaScript and most editors UTF-16 code units, the text itself scalar values. A number alone is one of
/// scalar values.
///
/// ```
/// use driftless::{Document, Offset, Replica};
/// let mut replica = Replica::<Document>::new();
/// replica.edit(|d| d.text_mut("/note").insert(0, "🌱 seed\ngrow"))?;
/// let text = replica.state().text("/note").ok_or("a text")?;
/// let at = text.locate(Offset::Line(1))?;
/// assert_eq!((at.scalars, at.utf16, at.bytes), (7, 8, 10));
/// assert!(text.locate(Offset::Utf16(1)).is_err()); // inside the plant
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offset {
    /// So many Unicode scalar values.
    Scalar(usize),
    /// So many UTF-16 code units.
    Utf16(usize),
    /// So many bytes of UTF-8.
    Byte(usize),
    /// The beginning of a line, counted from 0: right behind so many newlines (U+000A).
    Line(usize),
}

impl Offset {
    /// The number, whatever its unit.
    pub(crate) fn value(self) -> usize {
        match self {
            Self::Scalar(n) | Self::Utf16(n) | Self::Byte(n) | Self::Line(n) => n,
        }
    }
}

impl From<usize> for Offset {
    fn from(scalars: usize) -> Self {
        Self::Scalar(scalars)
    }
}

/// An offset that is no place in a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum OffsetError {
    /// The text is not so long.
    #[error("{offset:?} is beyond the text, which ends at {end}; ask the text how long it is")]
    Beyond {
        /// The offset.
        offset: Offset,
        /// The end of the text, in the unit of the offset.
        end: usize,
    },
    /// The offset lies inside the code of one character.
    #[error("{offset:?} lies inside a character; go to {before} or {after}")]
    Inside {
        /// The offset.
        offset: Offset,
        /// The beginning of the character, in the unit of the offset.
        before: usize,
        /// The end of the character.
        after: usize,
    },
    /// The range ends before it begins.
    #[error("the range {start:?}..{end:?} ends before it begins")]
    Reversed {
        /// The beginning of the range.
        start: Offset,
        /// The end of the range.
        end: Offset,
    },
}
