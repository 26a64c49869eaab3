//! A candidate as text for people and other programs.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

use crate::conflict::Content;
use crate::document::{Value, hex};

/// A map of one entry:
///
/// | key | value |
/// |---|---|
/// | `value` | the JSON that it is; bytes are `{"bytes": "<hex>"}`, one of a later version `{"kind": <number>, "hex": "<hex>"}` |
/// | `embedding` | `model` with its `name` and `dimension`, `precision`, `text` (the hash in hexadecimal, or null), `numbers` |
/// | `kind` | `kind` and `reads` |
/// | `property` | `path` and `reads` |
/// | `text` | the text |
/// | `index` | the number |
/// | `label` | the text |
/// | `later_text` | `name` and `dimension` of the model |
/// | `edge` | `source`, `type`, `target` |
/// | `place` | `tree` and `parent`, which is null at the top |
/// | `unknown` | null |
impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, content) = match self {
            Self::Value(value) => ("value", json_of(*value)),
            Self::Embedding(vector) => {
                let text = vector.text_hash().map(|hash| format!("{hash:032x}"));
                let (model, precision) = (vector.model(), vector.precision().to_string());
                let vector = json!({
                    "model": model, "precision": precision, "text": text, "numbers": vector.to_vec(),
                });
                ("embedding", vector)
            }
            Self::Kind { kind, reads } => ("kind", json!({"kind": kind, "reads": reads.to_json()})),
            Self::Property { path, reads } => ("property", json!({"path": path, "reads": reads})),
            Self::Text(text) => ("text", json!(text)),
            Self::Index(index) => ("index", json!(index)),
            Self::Label(label) => ("label", json!(label)),
            Self::LaterText(model) => ("later_text", json!(model)),
            Self::Edge { source, edge_type, target } => {
                ("edge", json!({"source": source, "type": edge_type, "target": target}))
            }
            Self::Place { tree, parent } => ("place", json!({"tree": tree, "parent": parent})),
            Self::Unknown => ("unknown", Json::Null),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(key, &content)?;
        map.end()
    }
}

fn json_of(value: Value<'_>) -> Json {
    match value {
        Value::Bytes(bytes) => json!({"bytes": hex(bytes)}),
        Value::Unknown { kind, bytes } => json!({"kind": kind, "hex": hex(bytes)}),
        value => value.to_json(),
    }
}
