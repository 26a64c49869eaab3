//! The fields of the characters of texts, taken apart.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::kinds::property::{END, LIST, PROPERTY, TEXT};
use crate::position::{PositionBytes, offset_bytes, split_offset, split_position};

/// The length of the *stem* of a character's field, and the offset that follows it: neighbours on one line of positions share a stem. `None` if
/// the field is of something else.
pub(crate) fn split_letter(field: &[u8]) -> Option<(usize, i64)> {
    if field.first() != Some(&PROPERTY) {
        return None;
    }
    let mut from = 0;
    let start = loop {
        // Within a name a zero byte is followed by more than kinds are.
        let kind = from + field.get(from..)?.windows(2).position(|pair| pair[0] == 0 && pair[1] < END)?;
        match field[kind + 1] {
            TEXT => break kind + 2,
            // The way may lead through an element of a list.
            LIST => {
                let (_, rest) = split_position(field.get(kind + 2..)?)?;
                from = field.len() - rest.strip_prefix(&[0, END])?.len();
            }
            _ => return None,
        }
    };
    let (len, offset) = split_offset(field.get(start..)?)?;
    Some((start + len, offset))
}

/// The most letters of a row: a change of one copies all.
pub(crate) const LONG: usize = 256;

/// The fields of letters in a row: one stem, followed by an offset and those after it. The field of the first lies beside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    offset: i64,
    len: u16,
    stem: u16,
}

impl Row {
    /// A letter by itself; `None` if the field is of none.
    pub(crate) fn of(field: &[u8]) -> Option<Self> {
        let (stem, offset) = split_letter(field)?;
        Some(Self { offset, len: 1, stem: stem.try_into().ok()? })
    }

    pub(crate) fn len(&self) -> usize {
        self.len.into()
    }

    /// The field of the letter at a place.
    pub(crate) fn field(&self, first: &[u8], place: usize) -> SmallVec<[u8; 64]> {
        let mut bytes: SmallVec<[u8; 64]> = first[..self.stem.into()].into();
        bytes.extend_from_slice(&self.offset_at(place));
        bytes
    }

    fn offset_at(&self, place: usize) -> PositionBytes {
        offset_bytes(self.offset + place as i64).unwrap_or_default()
    }

    /// The place of a field, or that at which it would be.
    pub(crate) fn place(&self, first: &[u8], field: &[u8]) -> Result<usize, usize> {
        let stem = &first[..self.stem.into()];
        let Some(rest) = field.strip_prefix(stem) else { return Err(if field < stem { 0 } else { self.len() }) };
        let order = |place: usize| self.offset_at(place)[..].cmp(rest);
        // Nearly always it is behind all.
        match order(self.len() - 1) {
            Ordering::Less => return Err(self.len()),
            Ordering::Equal => return Ok(self.len() - 1),
            Ordering::Greater => {}
        }
        let (mut from, mut to) = (0, self.len() - 1);
        while from < to {
            let middle = from + (to - from) / 2;
            match order(middle) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => to = middle,
            }
        }
        Err(from)
    }

    /// Returns whether another row, of which the first field is given, goes on where this one ends, and both are not too long for one.
    pub(crate) fn goes_on(&self, first: &[u8], next: &Self, next_first: &[u8]) -> bool {
        self.stem == next.stem
            && self.len() + next.len() <= LONG
            && self.offset.checked_add(self.len.into()) == Some(next.offset)
            && first[..self.stem.into()] == next_first[..self.stem.into()]
    }

    /// Appends a row that goes on where this one ends.
    pub(crate) fn append(&mut self, next: &Self) {
        self.len += next.len;
    }

    /// The letters from one place to another; `None` for none.
    pub(crate) fn part(&self, from: usize, to: usize) -> Option<Self> {
        let len = to.checked_sub(from).filter(|len| *len > 0)?;
        Some(Self { offset: self.offset + from as i64, len: len as u16, ..*self })
    }
}
