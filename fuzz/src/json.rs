//! Any bytes as JSON into a document, and as arrays as they are spelled in cells.

use driftless::kernel::{Entity, Payload};
use driftless::testing::TestEnvironment;
use driftless::{Document, Replica, Value};
use serde_json::{Value as Json, json};

use crate::input::Input;
use crate::reading::Readable;

/// Of what is in a cell: a path of one segment, a register.
const X: &[u8] = b"\x02x\x00\xfe\x00\x02";

fn replica(seed: u64) -> Replica<Document> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// As it is stored: −0 is 0.
fn stored(json: &Json) -> Json {
    match json {
        Json::Number(number) if number.as_f64() == Some(0.0) && number.is_f64() => json!(0.0),
        Json::Array(items) => items.iter().map(stored).collect(),
        Json::Object(map) => Json::Object(map.iter().map(|(key, value)| (key.clone(), stored(value))).collect()),
        other => other.clone(),
    }
}

/// Writes a value at a path over whatever is there, and compares what is read with it. Returns whether it could be written.
fn update(replica: &mut Replica<Document>, path: &str, json: &Json) -> bool {
    let before = replica.snapshot();
    let Ok((_, delta)) = replica.edit(|d| d.update(path, json)) else {
        assert!(*replica.state() == before, "a refused update left something behind");
        return false;
    };
    let expected = stored(json);
    let document = replica.state();
    document.read();
    assert_eq!(document.json(path).as_ref(), Some(&expected));
    assert_eq!(document.deserialize::<Json>(path).expect("JSON").as_ref(), Some(&expected));

    let mut peer = self::replica(9);
    let bytes = replica.save();
    peer.merge(&replica.complete()).expect("a plain delta");
    assert_eq!(peer.state().json(path).as_ref(), Some(&expected));
    let mut behind = Replica::<Document>::with_environment(TestEnvironment::new(10));
    if delta.since().is_empty() {
        behind.merge(&delta).expect("the delta of the first edit");
        assert_eq!(behind.state().json(path).as_ref(), Some(&expected));
    }
    let loaded = Replica::<Document>::load_with(TestEnvironment::new(11), &bytes).expect("what was saved");
    assert_eq!(loaded.state().json(path).as_ref(), Some(&expected));

    let again = replica.edit(|d| d.update(path, json)).expect("what was possible before");
    assert!(again.1.is_empty(), "what is there already was written again");
    true
}

/// What can be written reads as it was, however it came there; what cannot leaves nothing behind.
fn documents(one: &Json, other: &Json) {
    let mut replica = replica(1);
    let path = if one.is_object() && other.is_object() { "" } else { "/at" };
    if !update(&mut replica, path, one) {
        return;
    }
    let first = replica.snapshot();
    if update(&mut replica, path, other) {
        replica.edit(|d| d.revert_to(&first)).expect("there was no counter");
        assert_eq!(replica.state().to_json(), first.to_json());
        replica.state().read();
    }
    // Two replicas, each with one of the two, hold both, and one that settles it holds one.
    let mut peer = self::replica(2);
    if peer.edit(|d| d.update(path, other)).is_ok() {
        peer.merge(&replica.complete()).expect("a plain delta");
        replica.merge(&peer.complete()).expect("a plain delta");
        assert_eq!(replica.state().to_json(), peer.state().to_json());
        replica.state().read();
        let _ = replica.edit(|d| d.settle(|_| driftless::Resolution::MergeFields));
        let _ = replica.edit(|d| d.extend(path, one));
        replica.state().read();
    }
}

/// Any bytes as what a cell holds: an array whose copy is the same array, or a kind of a later version.
fn payload(kind: u8, bytes: &[u8]) {
    let mut replica = replica(1);
    let written = replica.edit(|d| d.write(Entity::SELF, X, Payload::new(kind, bytes)));
    written.expect("any cell can be written");
    let before = replica.snapshot();
    before.read();
    let Some(value) = before.get("/x") else { return };
    let json = value.to_json();
    assert_eq!(before.json("/x").as_ref(), Some(&json));
    let _ = (value.to_string(), value.total_cmp(&value));
    match value {
        Value::Unknown { .. } => {
            assert!(replica.edit(|d| d.set("/copy", value)).is_err());
            return;
        }
        _ => replica.edit(|d| d.set("/copy", value)).expect("what was read"),
    };
    assert_eq!(replica.state().get("/copy"), Some(value));
    // Bytes are numbers in JSON; else it is the same value by way of JSON.
    assert!(update(&mut replica, "/json", &json) || json.is_object(), "{json}");
    assert_eq!(replica.state().json("/json"), Some(json));
}

/// Whatever the bytes: what is read is what was written.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 4 {
        0 => {
            let kind = input.byte() % 40;
            payload(kind, input.rest());
        }
        1 => payload(8, input.rest()),
        _ => {
            let text = input.rest();
            let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Json>();
            let Some(Ok(one)) = values.next() else { return };
            let other = values.next().and_then(Result::ok).unwrap_or_else(|| json!({"k": one.clone()}));
            documents(&one, &other);
        }
    }
}
