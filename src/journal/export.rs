//! An entry as text for people and other programs.

use std::cmp::Reverse;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::clock::Stamp;
use crate::document::Value;
use crate::id::{Dot, ReplicaId};
use crate::journal::entry::{Entry, Origin};
use crate::kernel::{Payload, Sibling};

/// The kind of payload that is a value of a standalone type, in MessagePack.
const PACKED: u8 = 32;

/// How deep such a value may nest to be spelled out: as deep as those types read.
const MAX_NESTING: usize = 64;

/// | key | value |
/// |---|---|
/// | `number` | the entry's |
/// | `at` | when it came here, milliseconds since 1970 |
/// | `origin` | `"edit"` or `"merge"` |
/// | `schema` | the type |
/// | `entity` | `{"kind", "id"}`: of a graph, 1 is a node and 2 an edge |
/// | `field` | the bytes of the cell's name, those that are not printable ASCII escaped |
/// | `change` | the change in words (its `Debug`), or null: for people, not for parsing |
/// | `writes` | `{"replica", "counter", "millis", "tick"}` of each write that did it |
/// | `was`, `now` | the live values before and after, the one that shows first |
///
/// Scalars and values of standalone types are the JSON that they are; bytes are `{"bytes": "<hex>"}`, and everything else
/// is `{"kind": <number>, "hex": "<hex>"}`. A map with keys that are no strings is a list of pairs.
impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let touched = self.touched();
        let mut entry = serializer.serialize_struct("Entry", 10)?;
        entry.serialize_field("number", &self.number())?;
        entry.serialize_field("at", &self.at_millis())?;
        let origin = match self.origin() {
            Origin::Edit => "edit",
            Origin::Merge => "merge",
        };
        entry.serialize_field("origin", origin)?;
        entry.serialize_field("schema", self.kind.schema)?;
        let id = Uuid::from_bytes(*touched.entity.id()).to_string();
        entry.serialize_field("entity", &Entity { kind: touched.entity.kind(), id })?;
        entry.serialize_field("field", &touched.field.as_bytes().escape_ascii().to_string())?;
        entry.serialize_field("change", &(self.kind.describe)(touched))?;
        let writes = self.writes().iter().copied().map(Write::from).collect::<Vec<_>>();
        entry.serialize_field("writes", &writes)?;
        entry.serialize_field("was", &shown(self.was()))?;
        entry.serialize_field("now", &shown(self.now()))?;
        entry.end()
    }
}

#[derive(Serialize)]
struct Entity {
    kind: u8,
    id: String,
}

#[derive(Serialize)]
struct Write {
    replica: String,
    counter: u64,
    millis: u64,
    tick: u16,
}

impl From<(Dot, Stamp)> for Write {
    fn from((Dot { replica, counter }, stamp): (Dot, Stamp)) -> Self {
        let text = |replica: ReplicaId| replica.to_string();
        Self { replica: text(replica), counter, millis: stamp.millis(), tick: stamp.counter() }
    }
}

/// The values, the one that shows first.
fn shown<'a>(siblings: impl Iterator<Item = &'a Sibling>) -> Vec<Shown<'a>> {
    let mut siblings: Vec<_> = siblings.collect();
    siblings.sort_unstable_by_key(|sibling| Reverse(sibling.precedence()));
    siblings.into_iter().filter_map(|sibling| sibling.payload.as_ref()).map(Shown).collect()
}

struct Shown<'a>(&'a Payload);

#[derive(Serialize)]
struct Bytes {
    bytes: String,
}

#[derive(Serialize)]
struct Other {
    kind: u8,
    hex: String,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(payload) = self;
        if let Some(value) = Packed::of(payload) {
            return value.serialize(serializer);
        }
        match Value::from_payload(payload) {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(value),
            Value::Int(number) => serializer.serialize_i64(number),
            Value::Float(number) => serializer.serialize_f64(number),
            Value::Str(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => Bytes { bytes: hex(bytes) }.serialize(serializer),
            _ => Other { kind: payload.kind(), hex: hex(payload.bytes()) }.serialize(serializer),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whatever MessagePack holds.
enum Packed {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Packed>),
    Map(Vec<(Packed, Packed)>),
}

impl Packed {
    fn of(payload: &Payload) -> Option<Self> {
        if payload.kind() != PACKED {
            return None;
        }
        let mut rest = payload.bytes();
        let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
        deserializer.set_max_depth(MAX_NESTING);
        let value = Self::deserialize(&mut deserializer).ok()?;
        // What has something behind it is not the value that it begins with.
        rest.is_empty().then_some(value)
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Signed(number) => serializer.serialize_i64(*number),
            Self::Unsigned(number) => serializer.serialize_u64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => Bytes { bytes: hex(bytes) }.serialize(serializer),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(entries) if entries.iter().all(|(key, _)| matches!(key, Self::Text(_))) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
            }
            Self::Map(entries) => serializer.collect_seq(entries),
        }
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PackedVisitor)
    }
}

struct PackedVisitor;

impl<'de> Visitor<'de> for PackedVisitor {
    type Value = Packed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Packed, E> {
        Ok(Packed::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Packed, E> {
        Ok(Packed::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Packed, E> {
        Ok(Packed::Signed(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Packed, E> {
        Ok(Packed::Unsigned(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Packed, E> {
        Ok(Packed::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Packed, E> {
        Ok(Packed::Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Packed, E> {
        Ok(Packed::Bytes(bytes.to_vec()))
    }

    // Neither reserves what the bytes announce.
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Packed, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Packed::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Packed, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Packed::Map(entries))
    }
}
