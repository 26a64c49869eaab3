//! Cells in a row: characters of a text, or their tombstones.
//!
//! A *run* stands for cells of one entity whose fields are in a [row](Row), one stem followed by the offsets `o`, `o + 1`, …: each with one
//! sibling, of one writer and one stamp, whose counters go up or down by one, and which holds a character or is a tombstone; all alike. It is a
//! notation: all that is asked of it is answered as if the cells lay there one by one. What is typed in a row takes little more room than its letters.

use std::sync::Arc;

use crate::clock::Stamp;
use crate::id::Dot;
use crate::kernel::key::{Field, FieldRef, PayloadRef, Sibling, SiblingRef};
use crate::kinds::payload::LETTER;
use crate::position::Row;

/// Cells in a row, without their fields: they follow from that of the first.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Run {
    /// The sibling of the first cell.
    dot: Dot,
    stamp: Stamp,
    row: Row,
    /// The letters; `None` if all are tombstones.
    text: Option<Arc<str>>,
    /// True if counters fall. A single one does not.
    is_down: bool,
}

/// The dot that many counters away.
fn along(dot: Dot, is_down: bool, distance: usize) -> Dot {
    let counter = match is_down {
        true => dot.counter.wrapping_sub(distance as u64),
        false => dot.counter.wrapping_add(distance as u64),
    };
    Dot { counter, ..dot }
}

impl Run {
    /// A cell by itself; `None` if it cannot lie in a run.
    pub(super) fn of(field: &[u8], sibling: &Sibling) -> Option<Self> {
        let text = match &sibling.payload {
            None => None,
            Some(payload) if payload.kind() == LETTER => {
                let text = str::from_utf8(payload.bytes()).ok().filter(|text| text.chars().nth(1).is_none());
                Some(text.filter(|text| !text.is_empty())?.into())
            }
            Some(_) => return None,
        };
        Some(Self { dot: sibling.dot, stamp: sibling.stamp, row: Row::of(field)?, text, is_down: false })
    }

    pub(super) fn len(&self) -> usize {
        self.row.len()
    }

    pub(super) fn is_live(&self) -> bool {
        self.text.is_some()
    }

    fn dot(&self, place: usize) -> Dot {
        along(self.dot, self.is_down, place)
    }

    /// The dot of the lowest counter.
    pub(super) fn lowest(&self) -> Dot {
        if self.is_down { self.dot(self.len() - 1) } else { self.dot }
    }

    /// The place of the cell that holds a dot.
    pub(super) fn place_of(&self, dot: Dot) -> Option<usize> {
        let (from, to) = if self.is_down { (dot, self.dot) } else { (self.dot, dot) };
        let distance = to.counter.checked_sub(from.counter).filter(|_| dot.writer == self.dot.writer)?;
        usize::try_from(distance).ok().filter(|place| *place < self.len())
    }

    /// The places from the lowest counter to the highest.
    pub(super) fn by_dot(&self) -> impl Iterator<Item = (Dot, usize)> + '_ {
        let last = self.len() - 1;
        (0..=last).map(move |n| if self.is_down { last - n } else { n }).map(|place| (self.dot(place), place))
    }

    /// The sibling of the cell at a place.
    pub(super) fn sibling(&self, place: usize) -> SiblingRef<'_> {
        self.sibling_at(place, self.byte_of(place))
    }

    /// The same, if it is known at which byte the letter of the place begins.
    pub(super) fn sibling_at(&self, place: usize, byte: usize) -> SiblingRef<'_> {
        let payload = self.text.as_deref().map(|text| {
            let len = text[byte..].chars().next().map_or(0, char::len_utf8);
            PayloadRef::packed(LETTER, &text.as_bytes()[byte..byte + len])
        });
        SiblingRef { dot: self.dot(place), stamp: self.stamp, payload }
    }

    /// The byte at which the letter of a place begins.
    pub(super) fn byte_of(&self, place: usize) -> usize {
        match self.text.as_deref() {
            Some(text) if text.len() > self.len() => text.char_indices().nth(place).map_or(text.len(), |(at, _)| at),
            _ => place,
        }
    }

    /// The field of the cell at a place of a run that begins with the field `first`.
    pub(super) fn field<'a>(&self, first: &'a Field, place: usize) -> FieldRef<'a> {
        match place {
            0 => first.into(),
            _ => FieldRef::made(&self.row.field(first.as_bytes(), place)),
        }
    }

    /// The place of a field in a run that begins with the field `first`, or that at which it would be.
    pub(super) fn place(&self, first: &Field, field: &[u8]) -> Result<usize, usize> {
        self.row.place(first.as_bytes(), field)
    }

    /// Returns whether another run, whose first field is given, goes on where this one ends, and whether counters fall.
    fn direction(&self, first: &Field, next: &Self, next_first: &Field) -> Option<bool> {
        let is_down = match (self.len(), next.len()) {
            (1, 1) => next.dot.counter < self.dot.counter,
            (1, _) => next.is_down,
            _ => self.is_down,
        };
        let is_next = (self.dot.writer, self.stamp) == (next.dot.writer, next.stamp)
            && self.is_live() == next.is_live()
            && (next.len() == 1 || next.is_down == is_down)
            && along(self.dot, is_down, self.len()) == next.dot
            && self.row.goes_on(first.as_bytes(), &next.row, next_first.as_bytes());
        is_next.then_some(is_down)
    }

    /// Appends another run, if it goes on where this one ends. Returns whether it did. The first fields of both are given.
    pub(super) fn append(&mut self, first: &Field, next: &Self, next_first: &Field) -> bool {
        let Some(is_down) = self.direction(first, next, next_first) else { return false };
        self.is_down = is_down;
        self.row.append(&next.row);
        self.text = self.text.take().zip(next.text.as_deref()).map(|(text, more)| [&text, more].concat().into());
        true
    }

    /// The cells before a place, and those from it on; `None` for none.
    pub(super) fn split(&self, place: usize) -> [Option<Self>; 2] {
        let at = self.byte_of(place);
        let part = |from: usize, to: usize, text: Option<&str>| {
            let row = self.row.part(from, to)?;
            let is_down = self.is_down && row.len() > 1;
            Some(Self { dot: self.dot(from), stamp: self.stamp, row, text: text.map(Arc::from), is_down })
        };
        let text = self.text.as_deref();
        [part(0, place, text.map(|text| &text[..at])), part(place, self.len(), text.map(|text| &text[at..]))]
    }
}
