//! How paths are spelled in the fields of cells. Part of the format.
//!
//! A field is a tag, the segments of the path each with its end, a zero byte, the kind of what is there, and for kinds of
//! many cells which of them it is. Bytes are chosen so that they sort as a tree is walked: first what is at a path, then
//! what lies below it; and all of it begins with the path's own bytes.

use smallvec::SmallVec;

use crate::document::path::{AsPath, Path};
use crate::error::{EditError, MAX_DEPTH, PathError};
use crate::kernel::MAX_FIELD_LEN;
use crate::kind::Kind;

pub(crate) use crate::kinds::property::PROPERTY;

/// A field in the making: nearly all fit without an allocation.
pub(crate) type FieldBytes = SmallVec<[u8; 64]>;

/// Ends a segment, after a zero byte. Sorts before every continuation of the segment, and after every kind.
pub(super) use crate::kinds::property::END;
/// Stands, after a zero byte, for a zero byte within a segment.
const ZERO: u8 = 0xff;

/// The field of a path but for the kind: what everything at and below the path begins with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place(FieldBytes);

impl Place {
    pub(crate) fn root() -> Self {
        Self(FieldBytes::from_slice(&[PROPERTY]))
    }

    pub(crate) fn of(path: impl AsPath) -> Result<Self, PathError> {
        let mut place = Self::root();
        path.segments_to(&mut |segment| place.push(segment))?;
        Ok(place)
    }

    /// Goes one segment down.
    pub(crate) fn push(&mut self, segment: &str) {
        for (i, run) in segment.as_bytes().split(|byte| *byte == 0).enumerate() {
            if i > 0 {
                self.0.extend_from_slice(&[0, ZERO]);
            }
            self.0.extend_from_slice(run);
        }
        self.0.extend_from_slice(&[0, END]);
    }

    pub(crate) fn child(&self, segment: &str) -> Self {
        let mut child = self.clone();
        child.push(segment);
        child
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_ref(&self) -> PlaceRef<'_> {
        PlaceRef(&self.0)
    }

    /// The field of the one cell of a kind.
    pub(crate) fn field(&self, kind: Kind) -> FieldBytes {
        self.as_ref().start_of(kind.code())
    }

    /// The field of the one cell of a kind, in place of the place: [`PlaceRef::of_field`] gets it back.
    pub(crate) fn into_field(mut self, kind: Kind) -> FieldBytes {
        self.0.extend_from_slice(&[0, kind.code()]);
        self.0
    }

    /// The field of one of the cells of a kind.
    pub(crate) fn cell(&self, kind: Kind, key: &[u8]) -> Result<FieldBytes, EditError> {
        let mut field = self.field(kind);
        field.extend_from_slice(key);
        match field.len() {
            0..=MAX_FIELD_LEN => Ok(field),
            len => Err(EditError::KeyTooLong { path: self.as_ref().text(), len, limit: MAX_FIELD_LEN }),
        }
    }
}

impl From<PlaceRef<'_>> for Place {
    fn from(place: PlaceRef<'_>) -> Self {
        Self(FieldBytes::from_slice(place.0))
    }
}

/// A borrowed [`Place`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PlaceRef<'a>(&'a [u8]);

impl<'a> PlaceRef<'a> {
    /// The place of an indexed field, which is one already.
    pub(crate) fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The place of the one cell of a kind.
    pub(crate) fn of_field(field: &'a [u8]) -> Self {
        Self(&field[..field.len().saturating_sub(2)])
    }

    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Where the cells of a kind begin.
    pub(crate) fn start_of(self, code: u8) -> FieldBytes {
        let mut field = FieldBytes::from_slice(self.0);
        field.extend_from_slice(&[0, code]);
        field
    }

    /// Where what lies below the path begins: after all kinds.
    pub(crate) fn start_of_children(self) -> FieldBytes {
        self.start_of(END)
    }

    /// The places above, the nearest to the root first.
    pub(crate) fn ancestors(self) -> impl Iterator<Item = PlaceRef<'a>> {
        let bytes = self.0;
        let ends = (2..bytes.len()).filter(move |i| bytes[i - 2] == 0 && bytes[i - 1] == END);
        (bytes.len() > 1).then_some(1).into_iter().chain(ends).map(move |end| PlaceRef(&bytes[..end]))
    }

    /// The path; `None` if it is none that anybody could have written.
    pub(crate) fn path(self) -> Option<Path> {
        let segments = segments(self.0.strip_prefix(&[PROPERTY])?)?;
        (segments.len() <= MAX_DEPTH).then(|| Path::from_segments(segments))
    }

    /// The path as text, for an error.
    pub(crate) fn text(self) -> Option<String> {
        Some(self.path()?.to_string())
    }

    /// The segments below a place that this one begins with.
    pub(super) fn segments_below(self, above: &Place) -> Option<Vec<String>> {
        segments(self.0.strip_prefix(above.as_bytes())?)
    }
}

/// Takes the bytes of segments apart; `None` if they are none that anybody could have written.
fn segments(mut rest: &[u8]) -> Option<Vec<String>> {
    let mut segments = Vec::new();
    while !rest.is_empty() {
        let mut segment = Vec::new();
        loop {
            let zero = rest.iter().position(|byte| *byte == 0)?;
            segment.extend_from_slice(&rest[..zero]);
            let mark = *rest.get(zero + 1)?;
            rest = &rest[zero + 2..];
            match mark {
                END => break,
                ZERO => segment.push(0),
                _ => return None,
            }
        }
        segments.push(String::from_utf8(segment).ok()?);
    }
    Some(segments)
}

/// A field taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Property<'a> {
    pub(crate) place: PlaceRef<'a>,
    pub(crate) kind: Kind,
    /// Which of the cells of its kind.
    pub(crate) key: &'a [u8],
}

impl<'a> Property<'a> {
    /// `None` if it is no property, or none that anybody could have written: a path that is not UTF-8 or too deep, a key
    /// where the kind has none. Whatever reads, writes and indexes goes through here, so all agree on what is not there.
    pub(crate) fn of(field: &'a [u8]) -> Option<Self> {
        if *field.first()? != PROPERTY {
            return None;
        }
        // Where a segment begins, or the kind; and how many segments there were.
        let (mut start, mut depth) = (1, 0);
        loop {
            let mut at = start;
            loop {
                let run = field.get(at..)?.iter().position(|byte| *byte == 0)?;
                str::from_utf8(&field[at..at + run]).ok()?;
                at += run;
                match *field.get(at + 1)? {
                    END => break,
                    ZERO => at += 2,
                    code if at == start && code != 0 => {
                        let (place, kind, key) = (PlaceRef(&field[..start]), Kind::of_code(code), &field[at + 2..]);
                        return kind.takes_key(key).then_some(Self { place, kind, key });
                    }
                    _ => return None,
                }
            }
            start = at + 2;
            depth += 1;
            if depth > MAX_DEPTH {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segments() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[a/~\0é]{0,4}", 0..5)
    }

    proptest! {
        #[test]
        fn every_path_survives_its_field(segments in segments(), code in 1u8..0xfe, key: Vec<u8>) {
            let path = Path::new(segments).unwrap();
            let place = Place::of(&path).unwrap();
            prop_assert_eq!(&place, &Place::of(path.to_string()).unwrap());
            let kind = Kind::of_code(code);
            let field = place.cell(kind, &key).unwrap();
            let property = Property { place: place.as_ref(), kind, key: &key };
            prop_assert_eq!(Property::of(&field), kind.takes_key(&key).then_some(property));
            prop_assert_eq!(place.as_ref().path(), Some(path));
        }

        #[test]
        fn fields_sort_as_the_tree_is_walked(above in segments(), first in "[ab\0]{0,3}", second in "[ab\0]{0,3}") {
            let parent = Place::of(Path::new(above).unwrap()).unwrap();
            let (a, b) = (parent.child(&first), parent.child(&second));
            let (own, child) = (parent.cell(Kind::Min, &[0xff; 9]).unwrap(), a.field(Kind::Map));
            prop_assert!(own < parent.as_ref().start_of_children() && parent.as_ref().start_of_children() <= child);
            prop_assert!(child.starts_with(parent.as_bytes()));
            prop_assert_eq!(a.cmp(&b), first.as_bytes().cmp(second.as_bytes()));
        }

        #[test]
        fn ancestors_are_the_beginnings(segments in segments()) {
            let path = Path::new(segments.clone()).unwrap();
            let place = Place::of(&path).unwrap();
            let found: Vec<_> = place.as_ref().ancestors().map(|a| a.path().unwrap()).collect();
            let expected: Vec<_> = (0..segments.len()).map(|n| Path::new(segments[..n].to_vec()).unwrap()).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn foreign_fields_do_not_panic(
            field in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 3, 0xfe, 0xff, b'a']), 0..14),
        ) {
            if let Some(Property { place, kind, key }) = Property::of(&field) {
                let path = place.path().unwrap();
                prop_assert_eq!(&Place::of(path).unwrap().cell(kind, key).unwrap()[..], &field[..]);
                prop_assert!(place.ancestors().count() <= field.len());
            }
        }
    }
}
