//! Whole nested values: on their way in from anything that serialises, and as the content of arrays.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::document::serialize::ToNested;
use crate::error::{EditError, MAX_DEPTH};

/// The longest array in bytes: 1 MiB. One is replaced, sent and read as a whole, and takes up to 32 times this while it is.
pub(crate) const MAX_ARRAY_LEN: usize = 1 << 20;

/// A nested value that owns everything.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Nested {
    Null,
    Bool(bool),
    Int(i64),
    /// Beyond `i64::MAX`.
    Uint(u64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    Array(Vec<Nested>),
    Map(BTreeMap<String, Nested>),
}

impl Nested {
    /// From whatever serialises, in the shape that it has as JSON: see [`serialize`](crate::document::serialize).
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T, path: &str) -> Result<Self, EditError> {
        value.serialize(ToNested::default()).map_err(|fault| fault.at(path.to_owned()))
    }

    /// Whether this version could have written it: finite, without −0, and not too deep.
    fn is_writable(&self, depth: usize) -> bool {
        let below = |value: &Self| value.is_writable(depth + 1);
        let is_fine = match self {
            Self::Float(value) => value.is_finite() && value.to_bits() != (-0.0f64).to_bits(),
            Self::Array(items) => items.iter().all(below),
            Self::Map(entries) => entries.values().all(below),
            _ => true,
        };
        is_fine && depth <= MAX_DEPTH
    }

    pub(crate) fn holds_bytes(&self) -> bool {
        match self {
            Self::Bytes(_) => true,
            Self::Array(items) => items.iter().any(Self::holds_bytes),
            Self::Map(entries) => entries.values().any(Self::holds_bytes),
            _ => false,
        }
    }

    /// The bytes of an array.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, EditError> {
        let bytes = rmp_serde::to_vec(self).map_err(|error| EditError::Unserialisable(Box::new(error)))?;
        match bytes.len() {
            0..=MAX_ARRAY_LEN => Ok(bytes),
            len => Err(EditError::ValueTooLong { len, limit: MAX_ARRAY_LEN }),
        }
    }

    /// Only what these very bytes spell: else one value could be two payloads.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_ARRAY_LEN {
            return None;
        }
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
        deserializer.set_max_depth(MAX_DEPTH + 2);
        let nested = Self::deserialize(&mut deserializer).ok().filter(|nested| nested.is_writable(0))?;
        (nested.to_bytes().ok()? == bytes).then_some(nested)
    }

    pub(crate) fn into_json(self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Int(number) => number.into(),
            Self::Uint(number) => number.into(),
            // All that is kept is finite.
            Self::Float(number) => Number::from_f64(number).map_or(Json::Null, Json::Number),
            Self::Str(text) => Json::String(text),
            Self::Bytes(bytes) => bytes.into(),
            Self::Array(items) => items.into_iter().map(Self::into_json).collect(),
            Self::Map(entries) => Json::Object(entries.into_iter().map(|(k, v)| (k, v.into_json())).collect()),
        }
    }
}

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Uint(number) => serializer.serialize_u64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Str(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(item))?;
                seq.end()
            }
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NestedVisitor)
    }
}

struct NestedVisitor;

impl<'de> Visitor<'de> for NestedVisitor {
    type Value = Nested;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a nested value")
    }

    fn visit_unit<E>(self) -> Result<Nested, E> {
        Ok(Nested::Null)
    }

    fn visit_none<E>(self) -> Result<Nested, E> {
        Ok(Nested::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Nested, E> {
        Ok(Nested::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Nested, E> {
        Ok(Nested::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Nested, E> {
        Ok(i64::try_from(number).map_or(Nested::Uint(number), Nested::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Nested, E> {
        Ok(Nested::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Nested, E> {
        Ok(Nested::Str(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Nested, E> {
        Ok(Nested::Str(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Nested, E> {
        Ok(Nested::Bytes(bytes.to_owned()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Nested, E> {
        Ok(Nested::Bytes(bytes))
    }

    // No room is reserved on the bytes' word.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Nested, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Nested::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Nested, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((key, value)) = map.next_entry()? {
            entries.insert(key, value);
        }
        Ok(Nested::Map(entries))
    }
}
