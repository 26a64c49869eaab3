//! Paths into a document.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{MAX_DEPTH, PathError};
use crate::escape::Escaped;

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

    /// The path of what has this name in what is here.
    ///
    /// ```
    /// use driftless::Path;
    /// let address: Path = "/address".parse()?;
    /// assert_eq!(address.child("city")?.to_string(), "/address/city");
    /// # Ok::<(), driftless::PathError>(())
    /// ```
    pub fn child(&self, segment: impl Into<String>) -> Result<Self, PathError> {
        Self::new(self.segments.iter().cloned().chain([segment.into()]))
    }

    pub(crate) fn from_segments(segments: Vec<String>) -> Self {
        Self { segments }
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
        parse(pointer, &mut |segment| segments.push(segment.to_owned()))?;
        Ok(Self { segments })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|s| write!(f, "/{}", s.replace('~', "~0").replace('/', "~1")))
    }
}

/// As text.
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

/// What names a path: a JSON Pointer as text (`"/address/city"`), or a [`Path`].
pub trait AsPath: sealed::Segments {}

impl<T: sealed::Segments + ?Sized> AsPath for T {}

mod sealed {
    use std::borrow::Cow;
    use std::rc::Rc;
    use std::sync::Arc;

    use super::{Path, PathError, parse};

    pub trait Segments {
        /// Calls back with each segment, unescaped. Nothing is to be done with them if it fails in the end.
        fn segments_to(&self, segment: &mut dyn FnMut(&str)) -> Result<(), PathError>;
    }

    impl Segments for str {
        fn segments_to(&self, segment: &mut dyn FnMut(&str)) -> Result<(), PathError> {
            parse(self, segment)
        }
    }

    macro_rules! as_str {
        ($($text:ty),*) => {$(
            impl Segments for $text {
                fn segments_to(&self, segment: &mut dyn FnMut(&str)) -> Result<(), PathError> {
                    parse(self, segment)
                }
            }
        )*};
    }

    as_str!(String, Box<str>, Rc<str>, Arc<str>, Cow<'_, str>);

    impl Segments for Path {
        fn segments_to(&self, segment: &mut dyn FnMut(&str)) -> Result<(), PathError> {
            self.segments.iter().for_each(|s| segment(s));
            Ok(())
        }
    }

    impl<T: Segments + ?Sized> Segments for &T {
        fn segments_to(&self, segment: &mut dyn FnMut(&str)) -> Result<(), PathError> {
            (**self).segments_to(segment)
        }
    }
}

/// Takes a JSON Pointer apart.
fn parse(pointer: &str, segment: &mut dyn FnMut(&str)) -> Result<(), PathError> {
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
        assert_eq!("/~01".parse::<Path>().unwrap().segments().collect::<Vec<_>>(), ["~1"]);
    }
}
