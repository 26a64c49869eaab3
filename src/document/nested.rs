//! Whole nested values: on their way in from anything that serialises, and as the content of arrays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::document::path::{Path, Segment};
use crate::document::serialize::ToNested;
use crate::error::{EditError, MAX_DEPTH};

/// The longest array in bytes: 256 KiB. One is written, sent and read as a whole, and while it is made a value of, the worst
/// (of maps of one entry each) takes some 250 times its bytes.
pub(crate) const MAX_ARRAY_LEN: usize = 256 << 10;

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
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T, path: &Path) -> Result<Self, EditError> {
        value.serialize(ToNested::default()).map_err(|fault| fault.at(path.to_string()))
    }

    pub(crate) fn holds_bytes(&self) -> bool {
        match self {
            Self::Bytes(_) => true,
            Self::Array(items) => items.iter().any(Self::holds_bytes),
            Self::Map(entries) => entries.values().any(Self::holds_bytes),
            _ => false,
        }
    }

    /// Returns whether this is what a value says, which may have come through JSON: there bytes are an array of numbers.
    pub(crate) fn reads_as(&self, value: &Self) -> bool {
        match (self, value) {
            (Self::Bytes(bytes), Self::Array(items)) => {
                let same = |(byte, item): (&u8, &Self)| *item == Self::Int((*byte).into());
                bytes.len() == items.len() && bytes.iter().zip(items).all(same)
            }
            (Self::Array(a), Self::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.reads_as(b)),
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && a.reads_as(b))
            }
            _ => self == value,
        }
    }

    /// The path of the first place where two values differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<Path> {
        let mut segments = Vec::new();
        self.descend(other, &mut segments).then(|| Path::from_segments(segments.iter().map(|name| Segment::Name(name))))
    }

    /// Goes down to the first difference, if there is one.
    fn descend(&self, other: &Self, segments: &mut Vec<String>) -> bool {
        let parts: Vec<(String, Option<&Self>, Option<&Self>)> = match (self, other) {
            (Self::Array(a), Self::Array(b)) => {
                (0..a.len().max(b.len())).map(|at| (at.to_string(), a.get(at), b.get(at))).collect()
            }
            (Self::Map(a), Self::Map(b)) => {
                let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                keys.into_iter().map(|key| (key.clone(), a.get(key), b.get(key))).collect()
            }
            _ => return self != other,
        };
        for (segment, a, b) in parts {
            segments.push(segment);
            if a.zip(b).is_none_or(|(a, b)| a.descend(b, segments)) {
                return true;
            }
            segments.pop();
        }
        false
    }

    /// The bytes that tell it from every other value.
    pub(crate) fn spelled(&self) -> Vec<u8> {
        // To memory, and nothing that it holds refuses to be serialised.
        rmp_serde::to_vec(self).unwrap_or_default()
    }

    /// The bytes of an array.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, EditError> {
        let unserialisable = |error: rmp_serde::encode::Error| EditError::Unserialisable {
            path: String::new(),
            reason: error.to_string(),
        };
        let bytes = rmp_serde::to_vec(self).map_err(unserialisable)?;
        match bytes.len() {
            0..=MAX_ARRAY_LEN => Ok(bytes),
            len => Err(EditError::ValueTooLong { path: None, len, limit: MAX_ARRAY_LEN }),
        }
    }

    /// From MessagePack, however it is spelled: what must be spelled as this version does is
    /// [checked](crate::document::Array::of) before.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
        deserializer.set_max_depth(2 * MAX_DEPTH);
        let nested = Self::deserialize(&mut deserializer).ok()?;
        rest.is_empty().then_some(nested)
    }

    pub(crate) fn into_json(self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Int(number) => number.into(),
            Self::Uint(number) => number.into(),
            // Every number that is kept is finite.
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
        while let Some((Key(key), value)) = map.next_entry()? {
            entries.insert(key, value);
        }
        Ok(Nested::Map(entries))
    }
}

/// The key of a map: a text, or what JSON makes a text of.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Nested::deserialize(deserializer)? {
            Nested::Str(text) => Ok(Self(text)),
            scalar @ (Nested::Int(_) | Nested::Uint(_) | Nested::Float(_) | Nested::Bool(_)) => {
                Ok(Self(scalar.into_json().to_string()))
            }
            _ => Err(D::Error::custom("a key must be a text, a number or a truth value")),
        }
    }
}
