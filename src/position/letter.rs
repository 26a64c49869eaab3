//! The fields of the characters of texts, taken apart.

use crate::kinds::property::{END, LIST, PROPERTY, TEXT};
use crate::position::{split_offset, split_position};

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
