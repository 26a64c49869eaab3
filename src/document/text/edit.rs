//! Writing into a text.

use std::fmt;
use std::ops::Range;

use crate::bugs::{Bug, is};
use crate::clock::Stamp;
use crate::document::edit::{Require, check};
use crate::document::list::clear_on_the_way;
use crate::document::place::{FieldBytes, Place};
use crate::document::seek;
use crate::document::sequences::Sequenced;
use crate::document::text::diff::{self, Change};
use crate::document::text::import::settled_field;
use crate::document::text::read::TextRef;
use crate::document::text::rope::LetterRef;
use crate::document::text::texts::{letter, payload, start_of};
use crate::document::tree::presence;
use crate::error::{EditError, PathError};
use crate::id::Dot;
use crate::kernel::{Cells, Edit, Entity, Field, Go, MAX_FIELD_LEN, Payload};
use crate::kind::Kind;
use crate::offset::Offset;
use crate::position::{MAX_STEPS, Neighbour, Position, PositionBytes, between, imported, named};

/// So many cells behind the place of an insertion are looked at for the next one that is held.
const HELD: usize = 64;

/// So many bytes a path leaves for a position: whatever is put again where there is no room takes less.
const ROOM: usize = 256;

/// The time in milliseconds for which what a writer does to one text bears one stamp.
const STAMP_SPAN: u64 = 60_000;

/// A text, for writing: [`PropertiesMut::text_mut`](crate::PropertiesMut::text_mut).
///
/// Offsets are `usize`, of Unicode scalar values, or [`Offset`]s in the unit that the caller counts in.
///
/// | concurrently | result |
/// |---|---|
/// | two insert at one place | both, one after the other: what one typed in a row is not parted |
/// | a character is deleted twice | it is deleted |
/// | a range is deleted, and something inserted into it | the insertion stays |
/// | a word is replaced, and something appended to it | the new word, then what was appended |
/// | a deletion is undone twice | the characters are back, once |
/// | two import the same text into an empty one, or [update](Self::update) it to the same | it is there once |
/// | a character is deleted, and that deletion undone elsewhere | it is there |
///
/// Lost is what a writer saw and deleted, nothing else. What one writer does to a text bears the stamp of the first of it for up to a minute, unless it sees something else at the path; so a text is dated to the minute, also where a policy decides by stamps between a text and another kind at one path. Order follows Fugue (Weidner and Kleppmann, *The Art of the Fugue*,
/// 2023): see section 17 of the design.
///
/// An insertion or deletion takes a write for each character. In memory, characters that were typed in a row take some 10 bytes each, one between
/// others some 350.
pub struct TextMut<'e, 'a, T> {
    pub(super) edit: &'e mut Edit<'a, T>,
    pub(super) entity: Entity,
    require: Option<Require>,
    place: Result<Place, PathError>,
}

/// The cells between which letters are inserted.
struct Gap {
    left: Option<Neighbour>,
    right: Option<Neighbour>,
    /// The next thing to the right of `left` that is held, dead or alive.
    held: Option<Neighbour>,
}

/// The naming of the bunch of a row of letters.
#[derive(Clone, Copy)]
pub(super) enum Name {
    /// By its first dot: what two type is two things.
    Dot,
    /// By what it holds: what two insert alike is one thing.
    Content,
}

impl<'e, 'a, T: Sequenced> TextMut<'e, 'a, T> {
    pub(crate) fn new(
        edit: &'e mut Edit<'a, T>,
        entity: Entity,
        require: Option<Require>,
        place: Result<Place, PathError>,
    ) -> Self {
        Self { edit, entity, require, place }
    }

    /// The text as it is now, with what this edit has done; empty if there is none.
    pub fn read(&self) -> TextRef<'_> {
        let start = self.place.as_ref().map(|place| start_of(place.as_ref())).unwrap_or_default();
        TextRef::new(self.edit.sequences().texts.get(self.entity, &start), start)
    }

    /// Inserts a string at an offset. Where no text is yet, this makes one. O(log n) for each character.
    ///
    /// # Errors
    ///
    /// The offset is no place in the text ([`EditError::Offset`]), another kind is at the path, the path leads into a value, the owner is not
    /// there, or the path leaves less than 256 bytes of a key for a position ([`EditError::KeyTooLong`]). Nothing has been written then.
    ///
    /// Characters that share a position ([`SamePosition`](crate::ConflictKind::SamePosition)) cannot be parted: an insertion between two comes behind them.
    ///
    /// ```
    /// use driftless::{Document, Offset, Replica};
    /// let mut replica = Replica::<Document>::new();
    /// replica.edit(|d| {
    ///     let mut note = d.text_mut("/note");
    ///     note.insert(0, "milk\nbread\n")?;
    ///     note.insert(Offset::Line(1), "eggs\n")
    /// })?;
    /// assert_eq!(replica.state().text("/note").ok_or("a text")?, "milk\neggs\nbread\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert(&mut self, at: impl Into<Offset>, text: &str) -> Result<(), EditError> {
        let at = at.into();
        self.replace(at..at, text)
    }

    /// Deletes a range: one write for each character. The last character takes the text with it, and the path can become
    /// something else, unless the text was [made](Self::update) an empty one, which stays. Errors as of [`insert`](Self::insert).
    pub fn delete<O: Into<Offset>>(&mut self, range: Range<O>) -> Result<(), EditError> {
        self.replace(range, "")
    }

    /// Replaces a range with a string. Errors as of [`insert`](Self::insert).
    pub fn replace<O: Into<Offset>>(&mut self, range: Range<O>, text: &str) -> Result<(), EditError> {
        self.check()?;
        let range = self.read().locate_range(range)?;
        let letters: Vec<char> = text.chars().collect();
        self.splice(range, &letters, Name::Dot)
    }

    /// Makes the text this one: deletes and inserts what differs, word by word, and keeps the rest. Returns whether anything
    /// differed.
    ///
    /// Two replicas that make the same of one text in one step do it once: what is inserted is named by its content and by what it stands
    /// between. So is a text that is put where none is: two that import one file have it once. (One that gets there in two steps has done
    /// something else.) Two that put different texts where none is have both, a conflict ([`TwoTexts`](crate::ConflictKind::TwoTexts)). An empty
    /// string makes an empty text. For whole strings, not for each key that is typed: names by content take more bytes.
    ///
    /// The common beginning and end are kept as they are; between them words are compared, beyond 8,192 of them lines, and beyond as many
    /// lines all is replaced. Errors as of [`insert`](Self::insert).
    ///
    /// ```
    /// use driftless::{Document, Replica};
    /// let (mut laptop, mut phone) = (Replica::<Document>::new(), Replica::<Document>::new());
    /// let (_, a) = laptop.edit(|d| d.text_mut("/note").update("Buy milk and bread"))?;
    /// phone.edit(|d| d.text_mut("/note").update("Buy milk and bread"))?;
    /// phone.merge(&a)?; // once
    ///
    /// let (_, a) = laptop.edit(|d| d.text_mut("/note").update("Buy oat milk and bread"))?;
    /// phone.edit(|d| d.text_mut("/note").update("Buy milk and rye bread"))?;
    /// phone.merge(&a)?;
    /// assert_eq!(phone.state().text("/note").ok_or("a text")?, "Buy oat milk and rye bread");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update(&mut self, text: &str) -> Result<bool, EditError> {
        self.check()?;
        let (now, there) = (self.read().to_string(), self.is_there());
        if there && now == text {
            return Ok(false);
        }
        if text.is_empty() && !there {
            let field = self.start()?;
            return self.put(&field, presence()).map(|()| true);
        }
        // From the right, so that what is still to come stays where it is.
        for Change { range, inserted } in diff::changes(&now, text).into_iter().rev() {
            self.splice(range, &inserted, Name::Content)?;
        }
        if text.is_empty() {
            let field = self.start()?;
            self.put(&field, presence())?;
        }
        Ok(true)
    }

    /// Checks that the owner is there and that the path takes a text.
    fn check(&self) -> Result<(), EditError> {
        let place = self.place.clone()?;
        check_room(&place)?;
        let cells = self.edit.state().cells(self.entity);
        self.require.map_or(Ok(()), |require| require(self.entity, cells))?;
        cells.map_or(Ok(()), |cells| check(cells, place.as_ref(), Kind::Text).map(drop))
    }

    fn is_there(&self) -> bool {
        let place = self.place.as_ref().ok().zip(self.cells());
        place.is_some_and(|(place, cells)| seek::own_kinds(cells, place.as_ref()).any(|kind| kind == Kind::Text))
    }

    pub(super) fn cells(&self) -> Option<Cells<'_>> {
        self.edit.state().cells(self.entity)
    }

    pub(super) fn place(&self) -> Result<Place, EditError> {
        Ok(self.place.clone()?)
    }

    /// The bytes that the fields of the characters begin with.
    fn start(&self) -> Result<FieldBytes, EditError> {
        Ok(start_of(self.place.as_ref().map_err(Clone::clone)?.as_ref()))
    }

    pub(super) fn splice(&mut self, range: Range<usize>, inserted: &[char], name: Name) -> Result<(), EditError> {
        // Letters that share a cell with one that goes are put again beside what is inserted.
        let (at, [before, after]) = self.delete_letters(range)?;
        self.insert_letters(at, &before, Name::Dot)?;
        let at = at + before.len();
        self.insert_letters(at, &after, Name::Dot)?;
        self.insert_letters(at, inserted, name)?;
        if self.read().is_empty() {
            // With the last character goes what is said of imports, and perhaps the element of a list.
            self.edit.erase(self.entity, &settled_field(&self.start()?))?;
            clear_on_the_way(self.edit, self.entity, self.place()?.as_ref())?;
        }
        Ok(())
    }

    /// Deletes the cells of some letters. Returns where the first of them was, and the letters of these cells that are before the range and
    /// after it.
    fn delete_letters(&mut self, range: Range<usize>) -> Result<(usize, [Vec<char>; 2]), EditError> {
        let text = self.read();
        let Some(rope) = text.rope().filter(|_| !range.is_empty()) else {
            return Ok((range.start, Default::default()));
        };
        let mut fields: Vec<Field> =
            rope.letters(range.start).take(range.len()).map(|letter| letter.field().to_field()).collect();
        fields.dedup();
        let ends = |field: &Field| [false, true].map(|including| rope.before(field.as_bytes(), including).scalars);
        let [start, _] = fields.first().map(ends).unwrap_or([range.start; 2]);
        let [_, end] = fields.last().map(ends).unwrap_or([range.end; 2]);
        let kept = [start..range.start, range.end..end];
        let kept = kept.map(|kept| rope.letters(kept.start).take(kept.len()).map(|letter| letter.letter).collect());
        let (entity, stamp) = (self.entity, self.stamp_to_repeat());
        self.edit.going_on(stamp, STAMP_SPAN, |edit| {
            fields.iter().try_for_each(|field| edit.erase(entity, field.as_bytes()).map(drop))
        })?;
        Ok((start, kept))
    }

    /// Inserts letters in a row.
    fn insert_letters(&mut self, at: usize, letters: &[char], name: Name) -> Result<(), EditError> {
        if letters.is_empty() {
            return Ok(());
        }
        let gap = self.gap(at)?;
        if let Some(positions) = self.positions(&gap, letters, name)? {
            // Imports are compared by their stamps.
            let stamp = if matches!(name, Name::Content) { None } else { self.stamp_to_repeat() };
            return self.edit.going_on(stamp, STAMP_SPAN, |edit| {
                TextMut { edit, entity: self.entity, require: self.require, place: self.place.clone() }
                    .write(&positions, letters)
            });
        }
        // No room: what lies deep around the place is put again at a shallow one, under names that all who do so give alike.
        let (range, lifted) = self.crowded(at);
        let start = range.start;
        self.delete_letters(range)?;
        let gap = Gap { held: None, ..self.gap(start)? };
        let no_room = || EditError::abort("no place is left between these characters; delete one of them");
        let positions = self.positions(&gap, &lifted, Name::Content)?.ok_or_else(no_room)?;
        self.write(&positions, &lifted)?;
        let gap = Gap { held: None, ..self.gap(at)? };
        let positions = self.positions(&gap, letters, name)?.ok_or_else(no_room)?;
        self.write(&positions, letters)
    }

    /// The cells around an offset. Letters of one cell are not parted: then the place is behind the cell.
    fn gap(&self, at: usize) -> Result<Gap, EditError> {
        let (start, text) = (self.start()?, self.read());
        let rope = text.rope();
        let first = at.checked_sub(1).zip(rope).and_then(|(at, rope)| rope.letters(at).next());
        let mut rest = rope.into_iter().flat_map(|rope| rope.letters(at));
        let second = rest.find(|right| first.is_none_or(|left| !left.is_beside(*right)));
        let neighbour = |found: Option<LetterRef<'_>>| {
            let (field, of) = (found?.field(), found?.letter);
            let mut live = self.cells()?.live(field.as_bytes());
            let dot = live.find(|sibling| sibling.payload.and_then(letter) == Some(of))?.dot;
            Some(Neighbour { position: Position::from_bytes(&field.as_bytes()[start.len()..])?, dot })
        };
        let (left, right) = (neighbour(first), neighbour(second));
        let [first, second] = [first, second].map(|letter| letter.map(LetterRef::field));
        let held = self.held(&start, first.as_deref(), second.as_deref());
        Ok(Gap { left, right, held })
    }

    /// The first cell between two that is held, with this replica's latest write to one of the next cells: a sign of what it deleted here.
    fn held(&self, start: &FieldBytes, left: Option<&Field>, right: Option<&Field>) -> Option<Neighbour> {
        let mut end = start.clone();
        end.push(0xff);
        let from = left.map_or(&start[..], |left| left.as_bytes());
        let to = right.map_or(&end[..], |right| right.as_bytes());
        let between = self.cells()?.between(from, false, Some(to));
        let mut found: Option<Neighbour> = None;
        let own = self.edit.present_writer();
        for (field, sibling) in between.take(HELD) {
            let key = &field.as_bytes()[start.len()..];
            let Some(position) = Position::from_bytes(key) else { continue };
            match &mut found {
                None => found = Some(Neighbour { position, dot: sibling.dot }),
                Some(found) if Some(sibling.dot.writer) == own => {
                    let is_later = found.dot.writer != sibling.dot.writer || found.dot.counter < sibling.dot.counter;
                    found.dot = if is_later { sibling.dot } else { found.dot };
                }
                Some(_) => {}
            }
        }
        found
    }

    /// The positions of letters that are written next; `None` if there is no room.
    fn positions(&mut self, gap: &Gap, letters: &[char], name: Name) -> Result<Option<Vec<PositionBytes>>, EditError> {
        let writer = self.edit.writer()?;
        let next = Dot { writer, counter: self.edit.last_counter() + 1 };
        let [a, b, held] = [&gap.left, &gap.right, &gap.held].map(Option::as_ref);
        let content = || letters.iter().collect::<String>();
        let positions = match (name, a, b) {
            (Name::Dot, ..) => between(a, b, held, next, letters.len()),
            (Name::Content, None, None) if is(Bug::ImportByDot) => between(None, None, held, next, letters.len()),
            (Name::Content, None, None) => imported(&content(), letters.len()),
            (Name::Content, ..) => named(a, b, &content(), letters.len()),
        };
        let room = MAX_FIELD_LEN.saturating_sub(self.start()?.len());
        let spelled = positions
            .iter()
            .map(|position| position.to_bytes().filter(|bytes| position.depth() <= MAX_STEPS && bytes.len() <= room));
        let spelled: Option<Vec<PositionBytes>> = spelled.collect();
        let is_between = |p: &Position| a.is_none_or(|a| a.position < *p) && b.is_none_or(|b| *p < b.position);
        let fits = positions.len() == letters.len()
            && positions.first().is_some_and(is_between)
            && positions.last().is_some_and(is_between);
        Ok(spelled.filter(|_| fits))
    }

    /// The stamp of this writer's last write, if that is one to this text: what is typed in one go bears few stamps. `None` where something
    /// else is beside the text, or another import in it: there a stamp may decide.
    fn stamp_to_repeat(&self) -> Option<Stamp> {
        let place = self.place.as_ref().ok()?;
        let is_alone = seek::is_free(self.cells()?, place.as_ref(), Kind::Text);
        let texts = &self.edit.sequences().texts;
        if !is_alone || texts.doubled_within(self.entity, &start_of(place.as_ref())).next().is_some() {
            return None;
        }
        let last = Dot { writer: self.edit.present_writer()?, counter: self.edit.last_counter() };
        let (cells, start) = (self.cells()?, self.start().ok()?);
        let field = cells.field_of(last).filter(|field| field.as_bytes().starts_with(&start))?;
        Some(cells.get(field.as_bytes(), last)?.stamp)
    }

    /// The letters around an offset whose positions leave no room.
    fn crowded(&self, at: usize) -> (Range<usize>, Vec<char>) {
        let (text, start) = (self.read(), self.start().unwrap_or_default());
        let is_crowded = |field: &Field| {
            Position::from_bytes(&field.as_bytes()[start.len()..]).is_none_or(|position| !position.leaves_room())
        };
        let at_offset = |at: usize| text.rope().and_then(|rope| rope.letters(at).next());
        let mut first = at;
        while first > 0 && at_offset(first - 1).is_some_and(|letter| is_crowded(&letter.field())) {
            first -= 1;
        }
        let right = text.rope().into_iter().flat_map(|rope| rope.letters(at));
        let len = right.take_while(|letter| is_crowded(&letter.field())).count();
        let letters = text.rope().into_iter().flat_map(|rope| rope.letters(first)).take(at + len - first);
        let letters = letters.map(|letter| letter.letter).collect();
        (first..at + len, letters)
    }

    fn write(&mut self, positions: &[PositionBytes], letters: &[char]) -> Result<(), EditError> {
        let mut field = self.start()?;
        let start = field.len();
        // The other kinds at the path do not change while the letters are written.
        let is_alone = self
            .place
            .as_ref()
            .ok()
            .zip(self.cells())
            .is_none_or(|(place, cells)| seek::is_free(cells, place.as_ref(), Kind::Text));
        let go = if is_alone { Go::Alone } else { Go::Yes };
        for (position, letter) in positions.iter().zip(letters) {
            field.truncate(start);
            field.extend_from_slice(position);
            self.edit.put(self.entity, &field, Some(payload(*letter)), |_| Ok(go))?;
        }
        Ok(())
    }

    pub(super) fn put(&mut self, field: &FieldBytes, payload: Payload) -> Result<(), EditError> {
        let path = || self.place.as_ref().ok().and_then(|place| place.as_ref().text());
        let written = self.edit.put(self.entity, field, Some(payload), |_| Ok(Go::Yes));
        written.map(drop).map_err(|error| error.with_path(path))
    }
}

/// Checks that a path leaves room for positions.
pub(in crate::document) fn check_room(place: &Place) -> Result<(), EditError> {
    let len = place.as_bytes().len() + ROOM;
    match len > MAX_FIELD_LEN {
        true => Err(EditError::KeyTooLong { path: place.as_ref().text(), len, limit: MAX_FIELD_LEN }),
        false => Ok(()),
    }
}

impl<T> fmt::Debug for TextMut<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextMut").field("entity", &self.entity).field("place", &self.place).finish_non_exhaustive()
    }
}
