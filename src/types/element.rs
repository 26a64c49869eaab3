//! What can be a value or a key: how it becomes bytes and back.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::document::{Nested, Path};
use crate::error::EditError;
use crate::kernel::{Payload, Sibling, SiblingRef};
pub(super) use crate::kinds::payload as kind;
use crate::types::depth;

/// An element, key or value of a standalone type: ordered, printable and serialisable. Implemented for all that is.
///
/// What is written is what will be read, or it is refused ([`EditError::Unreadable`], [`EditError::TooDeep`]): each write
/// reads its own bytes back and compares them by `==`. So a field that serde skips must be left out of `==` or have its
/// default, `Some(())` cannot be told from `None`, and nothing nests deeper than [`MAX_DEPTH`](crate::MAX_DEPTH) levels.
///
/// Structs are written with the names of their fields. As **values** they can change: a field that is added with
/// `#[serde(default)]` is missing in old values and ignored by old code, and a field may be skipped. An **element of a set
/// or a key** is found by its bytes, so it has one spelling: what would be spelled otherwise once it was read is refused, and
/// ignored where a peer sent it. A struct that gains a field makes other keys of the old ones, unless the field is skipped
/// while it has its default (`#[serde(default, skip_serializing_if = …)]`). Equal keys must serialise alike, so do not use
/// hash maps in one, nor `-0.0` beside `0.0`.
///
/// Neither comparing nor deserialising one may panic: that would break off a merge halfway.
pub trait Element: Ord + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Ord + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static> Element for T {}

/// MessagePack: never empty, so never the root. With the names of fields, since a field may be skipped, added or missing.
fn spelled<T: Element>(value: &T) -> Result<Vec<u8>, EditError> {
    depth::check(value)?;
    rmp_serde::to_vec_named(value)
        .map_err(|error| EditError::Unserialisable { path: String::new(), reason: error.to_string() })
}

/// What bytes are read as, however they are spelled.
fn read<T: Element>(bytes: &[u8]) -> Result<T, String> {
    if !depth::is_shallow(bytes) {
        return Err("not one value of MessagePack, or too deep".into());
    }
    rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
}

/// The bytes of a value, with what they are read as: the value itself, or it is refused.
fn kept<T: Element>(value: &T) -> Result<(Vec<u8>, T), EditError> {
    let bytes = spelled(value)?;
    match read::<T>(&bytes) {
        Ok(read) if read == *value => Ok((bytes, read)),
        Ok(read) => Err(EditError::Unreadable {
            path: difference(value, &read).unwrap_or_default().to_string(),
            reason: "it would come back as another value (serde skips a part of it, or writes `Some` as `None`)".into(),
        }),
        Err(reason) => Err(EditError::Unreadable { path: String::new(), reason }),
    }
}

/// Where two values serialise differently first, if that can be told.
fn difference<T: Element>(a: &T, b: &T) -> Option<Path> {
    let [a, b] = [a, b].map(|value| Nested::of(value, &Path::default()).ok());
    a?.difference(&b?)
}

/// The bytes of an element or a key, which name it.
pub(super) fn to_key<T: Element>(key: &T) -> Result<Vec<u8>, EditError> {
    let (bytes, read) = kept(key)?;
    match spelled(&read)? == bytes {
        true => Ok(bytes),
        false => Err(EditError::Unreadable {
            path: String::new(),
            reason: "it is an element or a key, and would be spelled otherwise the next time".into(),
        }),
    }
}

/// The element or key of these bytes, if they are its one spelling: else it could be two.
pub(super) fn from_key<T: Element>(bytes: &[u8]) -> Option<T> {
    let key = read(bytes).ok()?;
    (spelled(&key).ok()? == bytes).then_some(key)
}

pub(super) fn to_payload<T: Element>(value: &T) -> Result<Payload, EditError> {
    Ok(Payload::new(kind::PACKED, &kept(value)?.0))
}

/// Where all siblings must be true, one that is not decides what shows.
pub(super) fn decides_against(sibling: &Sibling) -> bool {
    sibling.payload.as_ref().is_some_and(|payload| payload.kind() != kind::ON)
}

/// The value of a sibling. It needs no spelling of its own: it is found by its cell, and an older or newer version of its type
/// may have written it.
pub(super) fn value_of<'a, T: Element>(sibling: impl Into<SiblingRef<'a>>) -> Option<T> {
    let payload = sibling.into().payload?;
    (payload.kind() == kind::PACKED).then(|| read(payload.bytes()).ok()).flatten()
}
