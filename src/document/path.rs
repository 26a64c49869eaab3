//! Paths into a document, and how they are spelled in the fields of cells.

use std::fmt;
use std::str::FromStr;

use smallvec::SmallVec;

use crate::error::{MAX_DEPTH, PathError};

/// Where in a document a value lies: a sequence of segments. Two paths are equal if their segments are, byte by byte.
///
/// As text it is a JSON Pointer (RFC 6901): each segment after a `/`, with `~` written `~0` and `/` written `~1`. The
/// empty text is the document itself.
///
/// ```
/// use driftless::Path;
/// let path: Path = "/address/street~1number".parse()?;
/// assert_eq!(path.segments().collect::<Vec<_>>(), ["address", "street/number"]);
/// assert_eq!(path.to_string(), "/address/street~1number");
/// # Ok::<(), driftless::PathError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    segments: Vec<String>,
}

impl Path {
    /// The path of these segments.
    pub fn new<S: Into<String>>(segments: impl IntoIterator<Item = S>) -> Result<Self, PathError> {
        let segments: Vec<String> = segments.into_iter().map(Into::into).collect();
        match segments.len() {
            0..=MAX_DEPTH => Ok(Self { segments }),
            depth => Err(PathError::TooDeep(depth)),
        }
    }

    /// The segments, unescaped.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        self.segments.iter().map(String::as_str)
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(pointer: &str) -> Result<Self, PathError> {
        let mut segments = Vec::new();
        parse(pointer, |segment| segments.push(segment.to_owned()))?;
        Ok(Self { segments })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|s| write!(f, "/{}", s.replace('~', "~0").replace('/', "~1")))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({self})")
    }
}

/// Takes a JSON Pointer apart.
fn parse(pointer: &str, mut segment: impl FnMut(&str)) -> Result<(), PathError> {
    if pointer.is_empty() {
        return Ok(());
    }
    let rest = pointer.strip_prefix('/').ok_or_else(|| PathError::NoSlash(pointer.to_owned()))?;
    for (i, escaped) in rest.split('/').enumerate() {
        if i == MAX_DEPTH {
            return Err(PathError::TooDeep(rest.split('/').count()));
        }
        if !escaped.contains('~') {
            segment(escaped);
            continue;
        }
        let well_escaped = escaped.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        if !well_escaped {
            return Err(PathError::Escape(pointer.to_owned()));
        }
        // In this order: `~01` is `~1`, not `/`.
        segment(&escaped.replace("~1", "/").replace("~0", "~"));
    }
    Ok(())
}

/// A field in the making: nearly all fit without an allocation.
pub(crate) type FieldBytes = SmallVec<[u8; 64]>;

/// Ends a segment. Bytes that sort before every other ending, so that a path sorts before what lies below it.
const END: [u8; 2] = [0, 1];
/// A zero byte within a segment: cannot be mistaken for an end.
const ZERO: [u8; 2] = [0, 0xff];

/// The field of a path: each segment with its end, so that what lies below a path begins with the path's own bytes; at
/// last one byte for the kind of what is there, so that several kinds at one path are several cells.
pub(crate) fn field_of_pointer(tag: u8, pointer: &str, kind: u8) -> Result<FieldBytes, PathError> {
    let mut field = FieldBytes::from_slice(&[tag]);
    parse(pointer, |segment| {
        for (i, run) in segment.as_bytes().split(|byte| *byte == 0).enumerate() {
            if i > 0 {
                field.extend_from_slice(&ZERO);
            }
            field.extend_from_slice(run);
        }
        field.extend_from_slice(&END);
    })?;
    field.push(kind);
    Ok(field)
}

/// The path and kind of a field without its tag; `None` if it is none of ours.
pub(crate) fn path_of_field(field: &[u8]) -> Option<(Path, u8)> {
    let (kind, mut rest) = field.split_last()?;
    let mut segments = Vec::new();
    while !rest.is_empty() {
        let mut segment = Vec::new();
        loop {
            let zero = rest.iter().position(|byte| *byte == 0)?;
            segment.extend_from_slice(&rest[..zero]);
            let mark = rest.get(zero..zero + 2)?;
            rest = &rest[zero + 2..];
            if mark == END {
                break;
            } else if mark != ZERO {
                return None;
            }
            segment.push(0);
        }
        segments.push(String::from_utf8(segment).ok()?);
    }
    (segments.len() <= MAX_DEPTH).then_some((Path { segments }, *kind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_path_survives_text_and_field(segments in prop::collection::vec("[a/~\0é]{0,4}", 0..5), kind: u8) {
            let path = Path::new(segments).unwrap();
            let text = path.to_string();
            prop_assert_eq!(text.parse::<Path>().unwrap(), path.clone());
            let field = field_of_pointer(7, &text, kind).unwrap();
            prop_assert_eq!(path_of_field(&field[1..]), Some((path, kind)));
        }

        #[test]
        fn what_lies_below_begins_with_the_path(above in prop::collection::vec("[ab\0]{0,3}", 0..3), below in "[ab\0]{0,3}") {
            let parent = Path::new(above.clone()).unwrap().to_string();
            let child = Path::new(above.into_iter().chain([below])).unwrap().to_string();
            let (parent, child) = (field_of_pointer(7, &parent, 1).unwrap(), field_of_pointer(7, &child, 1).unwrap());
            prop_assert!(child.starts_with(&parent[..parent.len() - 1]));
        }

        #[test]
        fn foreign_fields_do_not_panic(field in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 0xff, b'a']), 0..12)) {
            if let Some((path, kind)) = path_of_field(&field) {
                let again = field_of_pointer(7, &path.to_string(), kind).unwrap();
                prop_assert_eq!(&again[1..], &field[..]);
            }
        }
    }

    #[test]
    fn bad_pointers_are_named() {
        assert_eq!("name".parse::<Path>(), Err(PathError::NoSlash("name".into())));
        assert_eq!("/a~2".parse::<Path>(), Err(PathError::Escape("/a~2".into())));
        assert_eq!("/a~".parse::<Path>(), Err(PathError::Escape("/a~".into())));
        assert_eq!("/a".repeat(65).parse::<Path>(), Err(PathError::TooDeep(65)));
        assert_eq!("/~01".parse::<Path>().unwrap().segments().collect::<Vec<_>>(), ["~1"]);
    }
}
