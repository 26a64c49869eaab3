//! Paths into a document.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::document::value::hex;
use crate::error::{MAX_DEPTH, PathError};
use crate::escape::Escaped;
use crate::position::is_position;

/// The address of a value in a document: a sequence of segments. Two paths are equal if their segments are, byte by byte.
///
/// A path as text is a JSON Pointer (RFC 6901): each segment after a `/`, with `~` written `~0` and `/` written `~1`. The
/// empty text is the document itself.
///
/// A number, where a [list](crate::ListMut) shows, leads to the element that stands there when the call is made: `/todo/0/done`.
/// An element has a segment of its own as well, which leads to it wherever it stands: `~@` and some hexadecimal digits, which no
/// JSON Pointer has. [`ListRef::path`](crate::ListRef::path), conflicts and reports tell it.
///
/// ```
/// use driftless::Path;
/// let path: Path = "/address/street~1number".parse()?;
/// assert_eq!(path.segments().collect::<Vec<_>>(), ["address".into(), "street/number".into()]);
/// assert_eq!(path.to_string(), "/address/street~1number");
/// # Ok::<(), driftless::PathError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    segments: Vec<Owned>,
}

/// A segment of a [`Path`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Segment<'a> {
    /// A name in a map; where a list is, the number of an element as text.
    Name(&'a str),
    /// An element of a list, wherever it stands.
    Element(ElementId<'a>),
}

/// Names an element of a list, on every replica and for good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementId<'a>(&'a [u8]);

impl<'a> ElementId<'a> {
    /// The element that was born at a position.
    pub(crate) fn of(position: &'a [u8]) -> Self {
        Self(position)
    }

    /// The position at which the element was born.
    pub(crate) fn position(&self) -> &'a [u8] {
        self.0
    }
}

/// Writes the position in hexadecimal.
impl fmt::Debug for ElementId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0))
    }
}

impl<'a> From<&'a str> for Segment<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

/// Writes the segment as in a path.
impl fmt::Display for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.replace('~', "~0").replace('/', "~1")),
            Self::Element(element) => write!(f, "{ELEMENT}{element:?}"),
        }
    }
}

/// Begins the segment of an element as text.
const ELEMENT: &str = "~@";

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Owned {
    Name(String),
    Element(Box<[u8]>),
}

impl Owned {
    fn as_segment(&self) -> Segment<'_> {
        match self {
            Self::Name(name) => Segment::Name(name),
            Self::Element(position) => Segment::Element(ElementId(position)),
        }
    }
}

impl From<Segment<'_>> for Owned {
    fn from(segment: Segment<'_>) -> Self {
        match segment {
            Segment::Name(name) => Self::Name(name.to_owned()),
            Segment::Element(ElementId(position)) => Self::Element(position.into()),
        }
    }
}

impl Path {
    /// The path of these segments.
    pub fn new<S: Into<String>>(segments: impl IntoIterator<Item = S>) -> Result<Self, PathError> {
        Self::of(segments.into_iter().map(|segment| Owned::Name(segment.into())).collect())
    }

    fn of(segments: Vec<Owned>) -> Result<Self, PathError> {
        match segments.len() {
            0..=MAX_DEPTH => Ok(Self { segments }),
            depth => Err(PathError::TooDeep(depth)),
        }
    }

    /// The path of what has this name in what is here.
    ///
    /// ```
    /// use driftless::Path;
    /// let address: Path = "/address".parse()?;
    /// assert_eq!(address.child("city")?.to_string(), "/address/city");
    /// # Ok::<(), driftless::PathError>(())
    /// ```
    pub fn child(&self, segment: impl Into<String>) -> Result<Self, PathError> {
        Self::of(self.segments.iter().cloned().chain([Owned::Name(segment.into())]).collect())
    }

    /// The path of an element of the list that is here.
    pub fn element(&self, element: ElementId<'_>) -> Result<Self, PathError> {
        Self::of(self.segments.iter().cloned().chain([Segment::Element(element).into()]).collect())
    }

    /// From no more than [`MAX_DEPTH`] segments.
    pub(crate) fn from_segments<'a>(segments: impl IntoIterator<Item = Segment<'a>>) -> Self {
        Self { segments: segments.into_iter().map(Owned::from).collect() }
    }

    pub(super) fn push(&mut self, segment: Segment<'_>) {
        self.segments.push(segment.into());
    }

    pub(super) fn pop(&mut self) {
        self.segments.pop();
    }

    /// The segments, unescaped.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment<'_>> + DoubleEndedIterator + '_ {
        self.segments.iter().map(Owned::as_segment)
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(pointer: &str) -> Result<Self, PathError> {
        let mut segments = Vec::new();
        parse(pointer, &mut |segment| segments.push(segment.into()))?;
        Ok(Self { segments })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

/// Serialises the path as text.
impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({})", Escaped(self))
    }
}

/// A type that names a path: a JSON Pointer as text (`"/address/city"`), or a [`Path`].
pub trait AsPath: sealed::Segments {}

impl<T: sealed::Segments + ?Sized> AsPath for T {}

mod sealed {
    use std::borrow::Cow;
    use std::rc::Rc;
    use std::sync::Arc;

    use super::{Path, PathError, Segment, parse};

    pub trait Segments {
        /// Calls back with each segment, unescaped. Nothing is to be done with them if it fails in the end.
        fn segments_to(&self, segment: &mut dyn FnMut(Segment<'_>)) -> Result<(), PathError>;
    }

    impl Segments for str {
        fn segments_to(&self, segment: &mut dyn FnMut(Segment<'_>)) -> Result<(), PathError> {
            parse(self, segment)
        }
    }

    macro_rules! as_str {
        ($($text:ty),*) => {$(
            impl Segments for $text {
                fn segments_to(&self, segment: &mut dyn FnMut(Segment<'_>)) -> Result<(), PathError> {
                    parse(self, segment)
                }
            }
        )*};
    }

    as_str!(String, Box<str>, Rc<str>, Arc<str>, Cow<'_, str>);

    impl Segments for Path {
        fn segments_to(&self, segment: &mut dyn FnMut(Segment<'_>)) -> Result<(), PathError> {
            self.segments().for_each(segment);
            Ok(())
        }
    }

    impl<T: Segments + ?Sized> Segments for &T {
        fn segments_to(&self, segment: &mut dyn FnMut(Segment<'_>)) -> Result<(), PathError> {
            (**self).segments_to(segment)
        }
    }
}

/// Takes a JSON Pointer apart.
fn parse(pointer: &str, segment: &mut dyn FnMut(Segment<'_>)) -> Result<(), PathError> {
    if pointer.is_empty() {
        return Ok(());
    }
    let rest = pointer.strip_prefix('/').ok_or_else(|| PathError::NoSlash(pointer.to_owned()))?;
    for (i, escaped) in rest.split('/').enumerate() {
        if i == MAX_DEPTH {
            return Err(PathError::TooDeep(rest.split('/').count()));
        }
        if !escaped.contains('~') {
            segment(Segment::Name(escaped));
            continue;
        }
        if let Some(digits) = escaped.strip_prefix(ELEMENT) {
            let position = unhex(digits).filter(|position| is_position(position));
            let position = position.ok_or_else(|| PathError::Element(pointer.to_owned()))?;
            segment(Segment::Element(ElementId(&position)));
            continue;
        }
        let well_escaped = escaped.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        if !well_escaped {
            return Err(PathError::Escape(pointer.to_owned()));
        }
        // In this order: `~01` is `~1`, not `/`.
        segment(Segment::Name(&escaped.replace("~1", "/").replace("~0", "~")));
    }
    Ok(())
}

/// The bytes that lower-case hexadecimal digits spell.
fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_bytes().as_chunks();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_path_survives_its_text(segments in prop::collection::vec("[a/~\0é]{0,4}", 0..5)) {
            let path = Path::new(segments).unwrap();
            prop_assert_eq!(path.to_string().parse::<Path>().unwrap(), path);
        }
    }

    #[test]
    fn bad_pointers_are_named() {
        assert_eq!("name".parse::<Path>(), Err(PathError::NoSlash("name".into())));
        assert_eq!("/a~2".parse::<Path>(), Err(PathError::Escape("/a~2".into())));
        assert_eq!("/a~".parse::<Path>(), Err(PathError::Escape("/a~".into())));
        assert_eq!("/a".repeat(65).parse::<Path>(), Err(PathError::TooDeep(65)));
        assert_eq!("/~01".parse::<Path>().unwrap().segments().collect::<Vec<_>>(), ["~1".into()]);
        for bad in ["/l/~@", "/l/~@4", "/l/~@zz", "/l/~@00", "/l/~@4000000080f"] {
            assert_eq!(bad.parse::<Path>(), Err(PathError::Element(bad.into())));
        }
        let element: Path = "/l/~@4000000080/x".parse().unwrap();
        assert_eq!(element.to_string(), "/l/~@4000000080/x");
        assert!(matches!(element.segments().nth(1), Some(Segment::Element(_))));
    }
}
