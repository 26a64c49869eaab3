//! Reading a text.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::document::place::FieldBytes;
use crate::document::text::rope::{Extent, Rope, Splice};
use crate::offset::{Offset, OffsetError};

/// A text as it is in a state: at a path of a [`Document`](crate::Document), of a node or of an edge, or by itself as a
/// [`Text`](crate::Text).
///
/// Offsets are converted in O(log n), a piece is read in O(log n + its length). The text is not laid out anywhere as a `String`:
/// [`to_string`](ToString::to_string) makes one.
#[derive(Clone)]
pub struct TextRef<'a> {
    /// None if it shows nothing.
    rope: Option<&'a Rope>,
    /// The bytes that the fields of its characters begin with.
    start: FieldBytes,
}

impl<'a> TextRef<'a> {
    pub(in crate::document) fn new(rope: Option<&'a Rope>, start: FieldBytes) -> Self {
        Self { rope, start }
    }

    /// The number of Unicode scalar values. O(1).
    pub fn len(&self) -> usize {
        self.extent().scalars
    }

    /// True if it has no characters.
    pub fn is_empty(&self) -> bool {
        self.rope.is_none()
    }

    /// The length in all units. O(1).
    pub fn extent(&self) -> Extent {
        self.rope.map_or_else(Extent::default, Rope::extent)
    }

    /// The length up to an offset, in all units: this converts one unit into another. O(log n).
    ///
    /// # Errors
    ///
    /// The text ends before the offset, or the offset lies inside a character: within a surrogate pair or the bytes of one.
    pub fn locate(&self, at: impl Into<Offset>) -> Result<Extent, OffsetError> {
        let offset = at.into();
        let beyond = || OffsetError::Beyond { offset, end: self.extent().measure(offset) };
        let found = match self.rope {
            Some(rope) => rope.reach(offset).ok_or_else(beyond)?,
            None if offset.value() == 0 => Extent::default(),
            None => return Err(beyond()),
        };
        let after = found.measure(offset);
        if after == offset.value() {
            return Ok(found);
        }
        // The character behind whose beginning the offset lies is the last one of what was found.
        let letter = self.rope.and_then(|rope| rope.letters(found.scalars.saturating_sub(1)).next());
        let len = letter.map_or_else(Extent::default, |letter| Extent::of_str(letter.letter.encode_utf8(&mut [0; 4])));
        Err(OffsetError::Inside { offset, before: after.saturating_sub(len.measure(offset)), after })
    }

    /// A range in scalars.
    pub(super) fn locate_range<O: Into<Offset>>(&self, range: Range<O>) -> Result<Range<usize>, OffsetError> {
        let (start, end) = (range.start.into(), range.end.into());
        let located = self.locate(start)?.scalars..self.locate(end)?.scalars;
        if located.start > located.end {
            return Err(OffsetError::Reversed { start, end });
        }
        Ok(located)
    }

    /// The characters. O(1) each.
    pub fn chars(&self) -> impl Iterator<Item = char> + Clone + use<'a> {
        self.chars_from(0)
    }

    fn chars_from(&self, at: usize) -> impl Iterator<Item = char> + Clone + use<'a> {
        self.rope.into_iter().flat_map(move |rope| rope.letters(at)).map(|letter| letter.letter)
    }

    /// The characters of a range. O(log n), and O(1) each.
    ///
    /// # Errors
    ///
    /// An end of the range is no place in the text, or the range ends before it begins.
    pub fn chars_in<O: Into<Offset>>(
        &self,
        range: Range<O>,
    ) -> Result<impl Iterator<Item = char> + Clone + use<'a, O>, OffsetError> {
        let range = self.locate_range(range)?;
        Ok(self.chars_from(range.start).take(range.end - range.start))
    }

    /// The text of a range. Errors as of [`chars_in`](Self::chars_in).
    pub fn slice<O: Into<Offset>>(&self, range: Range<O>) -> Result<String, OffsetError> {
        Ok(self.chars_in(range)?.collect())
    }

    /// An anchor at an offset: a place that stays where it is while the text around it changes. O(log n).
    ///
    /// # Errors
    ///
    /// The offset is no place in the text.
    pub fn anchor(&self, at: impl Into<Offset>, bias: Bias) -> Result<Anchor, OffsetError> {
        let at = self.locate(at)?.scalars;
        let beside = match bias {
            Bias::Left => at.checked_sub(1),
            Bias::Right => Some(at),
        };
        let letter = beside.zip(self.rope).and_then(|(at, rope)| rope.letters(at).next());
        let position = letter.map(|letter| letter.field().as_bytes()[self.start.len()..].to_vec()).unwrap_or_default();
        Ok(Anchor { position, bias })
    }

    /// The offset in scalars at which an anchor of this text is now. O(log n).
    ///
    /// If its character is gone, be it pruned, that is where the character was, on every replica alike.
    pub fn resolve(&self, anchor: &Anchor) -> usize {
        let Some(rope) = self.rope else { return 0 };
        if anchor.position.is_empty() {
            return if anchor.bias == Bias::Left { 0 } else { self.len() };
        }
        let mut field = self.start.clone();
        field.extend_from_slice(&anchor.position);
        rope.before(&field, anchor.bias == Bias::Left).scalars
    }

    /// The changes that make an older version of this text, from a snapshot, into this one: for an editor to follow what a merge or an
    /// undo did. O(n / 64 + what differs).
    ///
    /// ```
    /// use driftless::{Document, Replica};
    /// let mut laptop = Replica::<Document>::new();
    /// laptop.edit(|d| d.text_mut("/note").insert(0, "Buy milk"))?;
    /// let mut phone = laptop.fork();
    /// let before = laptop.snapshot();
    /// let (_, delta) = phone.edit(|d| d.text_mut("/note").replace(4..8, "oat milk"))?;
    /// laptop.merge(&delta)?;
    ///
    /// let (before, now) = (before.text("/note").ok_or("a text")?, laptop.state().text("/note").ok_or("a text")?);
    /// let mut shown = before.to_string();
    /// for splice in now.changes_since(&before) {
    ///     // All is ASCII here, so offsets in scalars are those in bytes.
    ///     shown.replace_range(splice.at..splice.at + splice.deleted, &splice.inserted);
    /// }
    /// assert_eq!(shown, "Buy oat milk");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn changes_since(&self, older: &TextRef<'_>) -> Vec<Splice> {
        let empty = Rope::default();
        self.rope.unwrap_or(&empty).splices(older.rope.unwrap_or(&empty))
    }

    pub(super) fn rope(&self) -> Option<&'a Rope> {
        self.rope
    }
}

impl fmt::Display for TextRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chars().try_for_each(|letter| fmt::Write::write_char(f, letter))
    }
}

impl fmt::Debug for TextRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

/// Equal if the characters are.
impl PartialEq for TextRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.extent() == other.extent() && self.chars().eq(other.chars())
    }
}

impl Eq for TextRef<'_> {}

impl PartialEq<str> for TextRef<'_> {
    fn eq(&self, other: &str) -> bool {
        self.extent().bytes == other.len() && self.chars().eq(other.chars())
    }
}

impl PartialEq<&str> for TextRef<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

/// The side on which an anchor holds to the text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bias {
    /// To the character before: what is inserted at the anchor comes after it. At the beginning of a text it stays there.
    Left,
    /// To the character after: what is inserted at the anchor comes before it. At the end of a text it stays there.
    Right,
}

/// A place in a text that stays where it is while the text around it changes: a cursor, the end of a selection or of a comment.
///
/// It is the position of a character with a side, and needs nothing to be alive. It can be kept and sent, and means the same on every
/// replica, for the text that it was made in; in another text it is somewhere.
///
/// ```
/// use driftless::{Bias, Document, Replica};
/// let mut replica = Replica::<Document>::new();
/// replica.edit(|d| d.text_mut("/note").insert(0, "one three"))?;
/// let cursor = replica.state().text("/note").ok_or("a text")?.anchor(4, Bias::Right)?;
/// replica.edit(|d| d.text_mut("/note").insert(0, "zero "))?;
/// replica.edit(|d| d.text_mut("/note").delete(9..10))?; // the character that it holds to
/// assert_eq!(replica.state().text("/note").ok_or("a text")?.resolve(&cursor), 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Anchor {
    /// The bytes of the position; empty for an end of the text.
    position: Vec<u8>,
    bias: Bias,
}

/// The anchor before a character.
pub(crate) fn anchor_at(position: &[u8]) -> Anchor {
    Anchor { position: position.to_vec(), bias: Bias::Right }
}

impl Anchor {
    /// The position of the character that it holds to.
    pub(crate) fn position(&self) -> &[u8] {
        &self.position
    }
}
