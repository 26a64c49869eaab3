//! An entry as text for people and other programs.

use std::cmp::Reverse;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::clock::Stamp;
use crate::document::{Nested, Property, Value, hex};
use crate::id::Dot;
use crate::journal::entry::{Entry, Origin};
use crate::kernel::{Payload, Sibling};
use crate::kinds::payload::PACKED;

/// | key | value |
/// |---|---|
/// | `number` | the entry's |
/// | `at` | when it came here, milliseconds since 1970 |
/// | `origin` | `"edit"` or `"merge"` |
/// | `schema` | the type |
/// | `entity` | `{"kind", "id"}`: of a graph, 1 is a node and 2 an edge |
/// | `field` | the bytes of the cell's name, those that are not printable ASCII escaped |
/// | `path` | the path, if it is one of a document, or null |
/// | `change` | the change in words (its `Debug`), or null: for people, not for parsing |
/// | `writes` | `{"writer", "counter", "millis", "tick"}` of each write that did it |
/// | `device` | the name of the device that the first of them was made on, or null |
/// | `was`, `now` | the live values before and after, the one that shows first |
///
/// Values of documents and of standalone types are the JSON that they are; bytes by themselves are `{"bytes": "<hex>"}`, and
/// everything else is `{"kind": <number>, "hex": "<hex>"}`.
impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let touched = self.touched();
        let mut entry = serializer.serialize_struct("Entry", 12)?;
        entry.serialize_field("number", &self.number())?;
        entry.serialize_field("at", &self.at_millis())?;
        let origin = match self.origin() {
            Origin::Edit => "edit",
            Origin::Merge => "merge",
            Origin::Repair => "repair",
        };
        entry.serialize_field("origin", origin)?;
        entry.serialize_field("schema", self.kind.schema)?;
        let id = Uuid::from_bytes(*touched.entity.id()).to_string();
        entry.serialize_field("entity", &Entity { kind: touched.entity.kind(), id })?;
        entry.serialize_field("field", &touched.field.as_bytes().escape_ascii().to_string())?;
        let path = Property::of(touched.field.as_bytes()).and_then(|property| property.place.path());
        entry.serialize_field("path", &path.map(|path| path.to_string()))?;
        entry.serialize_field("change", &(self.kind.describe)(touched))?;
        let writes = self.writes().iter().copied().map(Write::from).collect::<Vec<_>>();
        entry.serialize_field("writes", &writes)?;
        entry.serialize_field("device", &self.device())?;
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
    writer: String,
    counter: u64,
    millis: u64,
    tick: u16,
}

impl From<(Dot, Stamp)> for Write {
    fn from((Dot { writer, counter }, stamp): (Dot, Stamp)) -> Self {
        Self { writer: writer.to_string(), counter, millis: stamp.millis(), tick: stamp.counter() }
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
        let packed = (payload.kind() == PACKED).then(|| Nested::from_bytes(payload.bytes())).flatten();
        match (packed, Value::from_payload(*payload)) {
            (Some(value), _) => value.into_json().serialize(serializer),
            (None, Value::Bytes(bytes)) => Bytes { bytes: hex(bytes) }.serialize(serializer),
            (None, Value::Unknown { kind, bytes }) => Other { kind, hex: hex(bytes) }.serialize(serializer),
            (None, value) => value.to_json().serialize(serializer),
        }
    }
}
