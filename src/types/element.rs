//! What can be a value or a key: how it becomes bytes and back.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::EditError;
use crate::kernel::{Payload, Sibling};

/// Kinds of payloads, continuing those of documents and graphs. The numbers are part of the format.
pub(super) mod kind {
    /// A value of the type's own, in MessagePack.
    pub(crate) const VALUE: u8 = 32;
    /// Presence.
    pub(crate) const PRESENT: u8 = 33;
    /// True or false, where both are states and not absence.
    pub(crate) const FALSE: u8 = 34;
    pub(crate) const TRUE: u8 = 35;
    /// Running totals of a counter.
    pub(crate) const TOTALS: u8 = 36;
}

/// How deep a value may nest: far deeper than data does, shallow enough for a small stack.
const MAX_NESTING: usize = 64;

/// Whatever can be an element, key or value of a standalone type: ordered, printable and serialisable. Implemented for all that is.
///
/// Equal values must serialise alike, so do not use hash maps in one, nor `-0.0` beside `0.0`. Neither comparing nor
/// deserialising one may panic: that would break off a merge halfway.
pub trait Element: Ord + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Ord + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static> Element for T {}

/// MessagePack: never empty, so never the root.
pub(super) fn to_bytes<T: Element>(value: &T) -> Result<Vec<u8>, EditError> {
    rmp_serde::to_vec(value).map_err(|error| EditError::Unserialisable(Box::new(error)))
}

pub(super) fn to_payload<T: Element>(value: &T) -> Result<Payload, EditError> {
    Ok(Payload::new(kind::VALUE, &to_bytes(value)?))
}

/// Only what these very bytes spell: else one value could be two elements.
pub(super) fn from_bytes<T: Element>(bytes: &[u8]) -> Option<T> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(MAX_NESTING);
    let value = T::deserialize(&mut deserializer).ok()?;
    (to_bytes(&value).ok()? == bytes).then_some(value)
}

/// Where all siblings must be true, one that is not decides what shows.
pub(super) fn decides_against(sibling: &Sibling) -> bool {
    sibling.payload.as_ref().is_some_and(|payload| payload.kind() != kind::TRUE)
}

pub(super) fn value_of<T: Element>(sibling: &Sibling) -> Option<T> {
    let payload = sibling.payload.as_ref()?;
    (payload.kind() == kind::VALUE).then(|| from_bytes(payload.bytes())).flatten()
}
