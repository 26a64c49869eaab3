//! The spelling of paths in the fields of cells. Part of the format.
//!
//! A field is a tag, the segments of the path each with its end, a zero byte, the kind of what is there, and for kinds of
//! many cells which of them it is. Bytes are chosen so that they sort as a tree is walked: first what is at a path, then
//! what lies below it; and all of it begins with the path's own bytes.
//!
//! The segment of an element of a list is a zero byte, the kind of a list, and the [position](crate::position) at which the element was
//! born. So the elements of a list lie among the cells of its kind, in the order of their births.

use smallvec::SmallVec;

use crate::document::path::{AsPath, ElementId, Path, Segment};
use crate::error::{EditError, MAX_DEPTH, PathError};
use crate::kernel::MAX_FIELD_LEN;
use crate::kind::Kind;
use crate::position::split_position;

pub(crate) use crate::kinds::property::PROPERTY;

/// A field in the making: nearly all fit without an allocation.
pub(crate) type FieldBytes = SmallVec<[u8; 64]>;

/// Ends a segment, after a zero byte. Sorts before every continuation of the segment, and after every kind.
pub(super) use crate::kinds::property::END;
use crate::kinds::property::LIST;
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
    pub(crate) fn push(&mut self, segment: Segment<'_>) {
        match segment {
            Segment::Name(name) => {
                for (i, run) in name.as_bytes().split(|byte| *byte == 0).enumerate() {
                    if i > 0 {
                        self.0.extend_from_slice(&[0, ZERO]);
                    }
                    self.0.extend_from_slice(run);
                }
            }
            Segment::Element(element) => {
                self.0.extend_from_slice(&[0, LIST]);
                self.0.extend_from_slice(element.position());
            }
        }
        self.0.extend_from_slice(&[0, END]);
    }

    pub(crate) fn child(&self, name: &str) -> Self {
        self.below(Segment::Name(name))
    }

    /// The place of the element of the list here that was born at a position.
    pub(crate) fn element(&self, position: &[u8]) -> Self {
        self.below(Segment::Element(ElementId::of(position)))
    }

    fn below(&self, segment: Segment<'_>) -> Self {
        let mut below = self.clone();
        below.push(segment);
        below
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

    /// The bytes that the fields of a kind begin with.
    pub(crate) fn start_of(self, code: u8) -> FieldBytes {
        let mut field = FieldBytes::from_slice(self.0);
        field.extend_from_slice(&[0, code]);
        field
    }

    /// The bytes from which on the fields of what lies below the path sort: after all kinds.
    pub(crate) fn start_of_children(self) -> FieldBytes {
        self.start_of(END)
    }

    /// The places above, the nearest to the root first, each with the kind that the way down leads through.
    pub(crate) fn ancestors(self) -> impl Iterator<Item = (PlaceRef<'a>, Kind)> {
        let bytes = self.0;
        let mut at = 1;
        std::iter::from_fn(move || {
            let above = PlaceRef(bytes.get(..at)?);
            let (len, through) = segment_len(bytes.get(at..)?)?;
            at += len;
            Some((above, through))
        })
    }

    /// The lists that the way down leads through, each with the position at which the element on the way was born.
    pub(crate) fn elements(self) -> impl Iterator<Item = (PlaceRef<'a>, &'a [u8])> {
        let lists = self.ancestors().filter(|(_, through)| *through == Kind::List);
        lists.filter_map(move |(list, _)| Some((list, split_element(self.0.get(list.0.len()..)?)?.0)))
    }

    /// The kind that a place above is, of this length.
    pub(crate) fn kind_at(self, len: usize) -> Kind {
        match self.0.get(len..) {
            Some([0, LIST, ..]) => Kind::List,
            _ => Kind::Map,
        }
    }

    /// The list, and the position at which the element was born, of a place that is an element.
    pub(crate) fn as_element(self) -> Option<(PlaceRef<'a>, &'a [u8])> {
        let (above, through) = self.ancestors().last()?;
        let (born, _) = split_element(self.0.get(above.0.len()..)?)?;
        (through == Kind::List).then_some((above, born))
    }

    /// The path; `None` if it is none that anybody could have written.
    pub(crate) fn path(self) -> Option<Path> {
        let segments = segments(self.0.strip_prefix(&[PROPERTY])?)?;
        (segments.len() <= MAX_DEPTH).then(|| Path::from_segments(segments.iter().map(Spelled::as_segment)))
    }

    /// The path as text, for an error.
    pub(crate) fn text(self) -> Option<String> {
        Some(self.path()?.to_string())
    }

    /// The segments below a place that this one begins with.
    pub(super) fn segments_below(self, above: &Place) -> Option<Vec<Spelled<'a>>> {
        segments(self.0.strip_prefix(above.as_bytes())?)
    }
}

/// A segment as a place spells it.
#[derive(Clone, Debug)]
pub(super) enum Spelled<'a> {
    Name(String),
    /// The position at which the element was born.
    Element(&'a [u8]),
}

impl Spelled<'_> {
    fn as_segment(&self) -> Segment<'_> {
        match self {
            Self::Name(name) => Segment::Name(name),
            Self::Element(position) => Segment::Element(ElementId::of(position)),
        }
    }
}

/// The position of the element whose segment bytes begin with, and what follows the segment.
pub(super) fn split_element(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (position, rest) = split_position(bytes.strip_prefix(&[0, LIST])?)?;
    Some((position, rest.strip_prefix(&[0, END])?))
}

/// The length of the segment that bytes begin with, and what it leads through. `None` if they begin with none.
fn segment_len(bytes: &[u8]) -> Option<(usize, Kind)> {
    if bytes.starts_with(&[0, LIST]) {
        let (_, rest) = split_element(bytes)?;
        return Some((bytes.len() - rest.len(), Kind::List));
    }
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0)? + 2;
        match *bytes.get(at - 1)? {
            END => return Some((at, Kind::Map)),
            ZERO => {}
            _ => return None,
        }
    }
}

/// Takes the bytes of segments apart; `None` if they are none that anybody could have written.
fn segments(mut rest: &[u8]) -> Option<Vec<Spelled<'_>>> {
    let mut segments = Vec::new();
    while !rest.is_empty() {
        if let Some((position, after)) = split_element(rest) {
            segments.push(Spelled::Element(position));
            rest = after;
            continue;
        }
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
        segments.push(Spelled::Name(String::from_utf8(segment).ok()?));
    }
    Some(segments)
}

/// A field taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Property<'a> {
    pub(crate) place: PlaceRef<'a>,
    pub(crate) kind: Kind,
    /// The bytes that tell the cell from the others of its kind.
    pub(crate) key: &'a [u8],
}

impl<'a> Property<'a> {
    /// Returns whether something is there for this cell: where an element was moved to is nothing by itself, nor is what later versions put beside
    /// elements.
    pub(crate) fn is_content(&self) -> bool {
        self.kind != Kind::List || self.key.is_empty()
    }

    /// The kind that it makes of a place that its own begins with, by the length of that.
    pub(crate) fn kind_at(&self, len: usize) -> Kind {
        if self.place.as_bytes().len() > len { self.place.kind_at(len) } else { self.kind }
    }

    /// `None` if it is no property, or none that anybody could have written: a path that is not UTF-8 or too deep, a key
    /// where the kind has none. Whatever reads, writes and indexes goes through here, so all agree on what is not there.
    pub(crate) fn of(field: &'a [u8]) -> Option<Self> {
        if *field.first()? != PROPERTY {
            return None;
        }
        // The offset at which a segment begins, or the kind; and the number of segments before it.
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
                    LIST if at == start && field.get(at + 2).is_some_and(|first| *first >= 0x20) => {
                        let (_, rest) = split_element(&field[at..])?;
                        // The offset at which a name in this place would have ended.
                        at = field.len() - rest.len() - 2;
                        break;
                    }
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

    /// Paths through lists too, in whose positions there are zero bytes, and ends of segments.
    fn path() -> impl Strategy<Value = Path> {
        let position =
            prop::collection::vec(prop::sample::select(vec![[0x40, 0, 0xfe, 0, 0x80], [0x7f, 0, 8, 0x40, 0x81]]), 1..3);
        let name = "[a/~\0é]{0,4}".prop_map(Spelled::Name);
        let segment = prop_oneof![2 => name, 1 => position.prop_map(|steps| Spelled::Element(steps.concat().leak()))];
        prop::collection::vec(segment, 0..5).prop_map(|all| Path::from_segments(all.iter().map(Spelled::as_segment)))
    }

    proptest! {
        #[test]
        fn every_path_survives_its_field(path in path(), code in 1u8..0xfe, key: Vec<u8>) {
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
        fn ancestors_are_the_beginnings(path in path()) {
            let place = Place::of(&path).unwrap();
            let found: Vec<_> = place.as_ref().ancestors().map(|(a, through)| (a.path().unwrap(), through)).collect();
            let segments: Vec<_> = path.segments().collect();
            let above = |n: usize| {
                let through = if matches!(segments[n], Segment::Name(_)) { Kind::Map } else { Kind::List };
                (Path::from_segments(segments[..n].iter().copied()), through)
            };
            let expected: Vec<_> = (0..segments.len()).map(above).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn foreign_fields_do_not_panic(
            field in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 3, 8, 0x40, 0x80, 0xfe, 0xff, b'a']), 0..14),
        ) {
            if let Some(Property { place, kind, key }) = Property::of(&field) {
                let path = place.path().unwrap();
                prop_assert_eq!(&Place::of(path).unwrap().cell(kind, key).unwrap()[..], &field[..]);
                prop_assert!(place.ancestors().count() <= field.len());
            }
        }
    }
}
