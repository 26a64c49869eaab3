//! What the documentation of documents says, line by line; whole values in and out; bad input.

#[path = "support/spelling.rs"]
mod spelling;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use driftless::kernel::{Entity, Payload};
use driftless::testing::TestEnvironment;
use driftless::{Crdt, Document, EditError, Graph, Kind, NodeId, PathError, Prune, Replica, Rule, Rules, Value};
use proptest::prelude::*;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use spelling::{INT, LATER, MAX, REGISTER, SET, UNIT, field};

fn replica(seed: u64) -> Replica<Document> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// Two replicas of the same document.
fn pair(start: &Json) -> (Replica<Document>, Replica<Document>) {
    let mut a = replica(1);
    if *start != json!({}) {
        a.edit(|d| d.update("", start)).unwrap();
    }
    let b = a.fork_with(TestEnvironment::new(2));
    (a, b)
}

fn sync(a: &mut Replica<Document>, b: &mut Replica<Document>) {
    let (for_a, for_b) = (b.delta_since(a.version()).unwrap(), a.delta_since(b.version()).unwrap());
    a.merge(&for_a).unwrap();
    b.merge(&for_b).unwrap();
    assert_eq!(a.state(), b.state());
    assert_eq!(a.state().to_json(), b.state().to_json());
    a.state().check_invariants().unwrap();
    b.state().check_invariants().unwrap();
}

#[track_caller]
fn reads(document: &Document, expected: &Json) {
    assert_eq!(document.to_json(), *expected);
}

// ---- what wins ----

#[test]
fn a_map_made_on_both_sides_has_the_contents_of_both() {
    let (mut a, mut b) = pair(&json!({}));
    a.edit(|d| d.update("/address", &json!({"city": "London", "geo": {"lat": 1}}))).unwrap();
    b.edit(|d| d.update("/address", &json!({"country": "GB", "geo": {"lon": 2}}))).unwrap();
    sync(&mut a, &mut b);
    reads(a.state(), &json!({"address": {"city": "London", "country": "GB", "geo": {"lat": 1, "lon": 2}}}));
}

#[test]
fn a_register_set_twice_keeps_both_and_shows_the_later() {
    let (environment_a, environment_b) = (TestEnvironment::new(1), TestEnvironment::new(2));
    let (clock_a, clock_b) = (environment_a.clock(), environment_b.clock());
    let (mut a, mut b) =
        (Replica::<Document>::with_environment(environment_a), Replica::<Document>::with_environment(environment_b));
    clock_a.store(2_000_000, Ordering::Relaxed);
    clock_b.store(1_999_999, Ordering::Relaxed);
    a.edit(|d| d.set("/name", "later")).unwrap();
    b.edit(|d| d.set("/name", "earlier")).unwrap();
    sync(&mut a, &mut b);
    reads(b.state(), &json!({"name": "later"}));
    assert_eq!(b.state().properties().get_all("/name").count(), 2);
    b.edit(|d| d.set("/name", "seen")).unwrap();
    sync(&mut a, &mut b);
    assert_eq!(a.state().properties().get_all("/name").count(), 1);
}

#[test]
fn a_path_written_and_removed_is_there() {
    let (mut a, mut b) = pair(&json!({"a": 1, "m": {"x": 1, "y": 2}}));
    a.edit(|d| d.set("/a", 2)).unwrap();
    a.edit(|d| d.set("/m/y", 3)).unwrap();
    b.edit(|d| Ok((d.unset("/a")?, d.unset("/m")?))).unwrap();
    reads(b.state(), &json!({}));
    sync(&mut a, &mut b);
    // Of the removed map, what was written below it.
    reads(a.state(), &json!({"a": 2, "m": {"y": 3}}));
}

#[test]
fn an_array_is_one_value() {
    let (mut a, mut b) = pair(&json!({"tags": ["x"]}));
    a.edit(|d| d.update("/tags", &["x", "a"])).unwrap();
    b.edit(|d| d.update("/tags", &["x", "b"])).unwrap();
    sync(&mut a, &mut b);
    assert_eq!(a.state().properties().get_all("/tags").count(), 2);
    let shown = a.state().to_json()["tags"].clone();
    assert!(shown == json!(["x", "a"]) || shown == json!(["x", "b"]));
}

#[test]
fn a_map_shows_over_a_register_made_at_the_same_time_and_both_are_kept() {
    let (mut a, mut b) = pair(&json!({}));
    a.edit(|d| d.set("/x", 1)).unwrap();
    b.edit(|d| d.set("/x/y", 2)).unwrap();
    sync(&mut a, &mut b);
    reads(a.state(), &json!({"x": {"y": 2}}));
    assert_eq!(a.state().properties().kind("/x"), Some(Kind::Map));
    assert_eq!(a.state().properties().get_all("/x").count(), 1);
    // With the map gone the register shows.
    a.edit(|d| d.unset("/x/y")).unwrap();
    reads(a.state(), &json!({"x": 1}));
}

#[test]
fn kinds_show_in_their_order() {
    type Write = fn(&mut driftless::Edit<'_, Document>) -> Result<(), EditError>;
    let writes: [(Kind, Write); 6] = [
        (Kind::Map, |d| d.update("/x", &json!({})).map(drop)),
        (Kind::Register, |d| d.set("/x", 1)),
        (Kind::Counter, |d| d.add("/x", 1)),
        (Kind::Set, |d| d.insert("/x", 1).map(drop)),
        (Kind::Max, |d| d.raise("/x", 1).map(drop)),
        (Kind::Min, |d| d.lower("/x", 1).map(drop)),
    ];
    for (i, (first, write_first)) in writes.iter().enumerate() {
        for (second, write_second) in &writes[i + 1..] {
            let (mut a, mut b) = pair(&json!({}));
            a.edit(write_second).unwrap();
            b.edit(write_first).unwrap();
            sync(&mut a, &mut b);
            assert_eq!(a.state().properties().kind("/x"), Some(*first), "{first} and {second}");
            // Neither kind can be written over the other unseen.
            let refused = a.edit(write_second).unwrap_err();
            let EditError::OtherKind { path, is, wanted } = refused else {
                // An update to an empty map is at home in a map.
                assert_eq!(*first, Kind::Map, "{refused}");
                continue;
            };
            assert_eq!((path.as_str(), is, wanted), ("/x", *first, *second));
        }
    }
}

#[test]
fn concurrent_counts_all_count() {
    let (mut a, mut b) = pair(&json!({}));
    a.edit(|d| d.add("/visits", 5)).unwrap();
    b.edit(|d| d.add("/visits", -2)).unwrap();
    sync(&mut a, &mut b);
    reads(a.state(), &json!({"visits": 3}));
    assert_eq!(a.state().properties().counter("/visits"), Some(3));
}

#[test]
fn removing_a_counter_while_somebody_adds_brings_their_whole_total_back() {
    let (mut a, mut b) = pair(&json!({}));
    a.edit(|d| d.add("/visits", 5)).unwrap();
    sync(&mut a, &mut b);
    a.edit(|d| d.add("/visits", 1)).unwrap();
    b.edit(|d| d.unset("/visits")).unwrap();
    sync(&mut a, &mut b);
    // Not 1, though the five were removed.
    reads(a.state(), &json!({"visits": 6}));
}

#[test]
fn a_value_put_into_a_set_and_taken_out_is_in() {
    let (mut a, mut b) = pair(&json!({}));
    a.edit(|d| d.insert("/tags", "x")).unwrap();
    sync(&mut a, &mut b);
    assert!(!a.edit(|d| d.insert("/tags", "x")).unwrap().0);
    assert!(b.edit(|d| d.remove("/tags", "x")).unwrap().0);
    assert!(!b.state().properties().contains("/tags", "x"));
    sync(&mut a, &mut b);
    assert!(b.state().properties().contains("/tags", "x"));
    assert_eq!(b.state().properties().elements("/tags").collect::<Vec<_>>(), [Value::Str("x")]);
    reads(b.state(), &json!({"tags": ["x"]}));
}

#[test]
fn of_maxima_the_greater_shows_and_of_minima_the_less() {
    let (mut a, mut b) = pair(&json!({}));
    a.edit(|d| Ok((d.raise("/max", 3)?, d.lower("/min", 3)?))).unwrap();
    b.edit(|d| Ok((d.raise("/max", 2.5)?, d.lower("/min", 2.5)?))).unwrap();
    sync(&mut a, &mut b);
    reads(a.state(), &json!({"max": 3, "min": 2.5}));
    let ((raised, lowered), delta) = a.edit(|d| Ok((d.raise("/max", 3)?, d.lower("/min", 2.5)?))).unwrap();
    assert!(!raised && !lowered && delta.is_empty(), "what does not raise is no write");
}

#[test]
fn a_map_goes_with_its_last_entry_unless_it_was_updated_to_be_empty() {
    let (mut a, _) = pair(&json!({"m": {"x": 1}, "n": {"x": 1}}));
    a.edit(|d| d.unset("/m/x")).unwrap();
    a.edit(|d| d.update("/n", &json!({}))).unwrap();
    reads(a.state(), &json!({"n": {}}));
    assert_eq!(a.state().properties().kind("/m"), None);
    a.edit(|d| d.clear()).unwrap();
    reads(a.state(), &json!({}));
}

#[test]
fn what_was_removed_stays_removed_whatever_is_pruned() {
    let (mut a, mut b) = pair(&json!({"a": 1, "m": {"x": 1}}));
    a.edit(|d| d.unset("/m")).unwrap();
    a.prune(Prune::All);
    let delta = a.reconcile(b.version(), &b.live_dots());
    b.merge(&delta).unwrap();
    reads(b.state(), &json!({"a": 1}));
}

// ---- whole values ----

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Mood {
    Calm,
    Curious { about: String },
    Rated(u8),
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Persona {
    name: String,
    id: uuid::Uuid,
    born: Option<i32>,
    weights: BTreeMap<String, f64>,
    by_year: BTreeMap<u16, bool>,
    moods: Vec<Mood>,
    mood: Mood,
    #[serde(with = "serde_bytes")]
    key: Vec<u8>,
    huge: u64,
    pair: (i8, char),
    wide: i128,
    nothing: (),
}

fn persona() -> Persona {
    Persona {
        name: "Ada/~".into(),
        id: uuid::Uuid::from_u128(7),
        born: None,
        weights: [("a/b".into(), -0.5), ("".into(), 0.0)].into(),
        by_year: [(1815, true), (1852, false)].into(),
        moods: vec![Mood::Calm, Mood::Rated(3), Mood::Curious { about: "engines".into() }],
        mood: Mood::Curious { about: "numbers".into() },
        key: vec![0, 255, 7],
        huge: u64::MAX,
        pair: (-7, 'é'),
        wide: i128::from(u64::MAX),
        nothing: (),
    }
}

#[test]
fn any_struct_goes_in_and_comes_out_and_only_what_differs_is_written() {
    let mut a = replica(1);
    let mut ada = persona();
    a.edit(|d| d.update("", &ada)).unwrap();
    assert_eq!(a.state().deserialize::<Persona>("").unwrap(), Some(ada.clone()));
    assert_eq!(a.state().get("/key"), Some(Value::Bytes(&[0, 255, 7])));

    let (changed, delta) = a.edit(|d| d.update("", &ada)).unwrap();
    assert!(!changed && delta.is_empty());
    // What was read as JSON is written back as it was: bytes stay bytes.
    let json = a.state().to_json();
    assert!(!a.edit(|d| d.update("", &json)).unwrap().0);
    assert_eq!(a.state().get("/key"), Some(Value::Bytes(&[0, 255, 7])));

    ada.mood = Mood::Calm; // from a map to a text
    ada.weights.remove("a/b");
    ada.born = Some(1815);
    let (_, delta) = a.edit(|d| d.update("", &ada)).unwrap();
    assert_eq!(a.state().deserialize::<Persona>("").unwrap(), Some(ada));
    assert_eq!(delta.len(), 4, "the mood, what was below it, a weight, the year");
}

#[test]
fn bytes_over_an_equal_array_are_written_though_both_read_alike() {
    let (mut a, _) = pair(&json!({"x": [1, 2]}));
    assert!(a.edit(|d| d.update("/x", serde_bytes::Bytes::new(&[1, 2]))).unwrap().0);
    assert_eq!(a.state().get("/x"), Some(Value::Bytes(&[1, 2])));
    // The other way round nobody can tell: JSON has no bytes.
    assert!(!a.edit(|d| d.update("/x", &[1, 2])).unwrap().0);
    assert_eq!(a.state().get("/x"), Some(Value::Bytes(&[1, 2])));
}

#[test]
fn a_set_with_bytes_that_goes_through_json_keeps_them() {
    let (mut a, _) = pair(&json!({}));
    let bytes = &[1u8, 2][..];
    a.edit(|d| Ok((d.insert("/s", bytes)?, d.insert("/s", "a")?))).unwrap();
    let mut read = a.state().to_json();
    read["s"].as_array_mut().unwrap().push(json!("b"));
    let (_, delta) = a.edit(|d| d.update("", &read)).unwrap();
    assert_eq!(delta.len(), 1, "the new element alone");
    let elements: Vec<_> = a.state().properties().elements("/s").collect();
    assert_eq!(elements, [Value::Str("a"), Value::Str("b"), Value::Bytes(bytes)]);
}

#[test]
fn bytes_and_the_array_that_reads_like_them_do_not_hide_a_new_element_or_each_other() {
    let both = || {
        let (mut a, _) = pair(&json!({}));
        a.edit(|d| {
            d.insert("/s", "q")?;
            d.update("/s", &json!([[1]]))?;
            d.insert("/s", &[1u8][..])
        })
        .unwrap();
        reads(a.state(), &json!({"s": [[1], [1]]}));
        a
    };
    // As many elements as before.
    let mut a = both();
    a.edit(|d| d.update("/s", &json!([[1], "x"]))).unwrap();
    reads(a.state(), &json!({"s": ["x", [1]]}));
    // What was read, and one more.
    let mut a = both();
    a.edit(|d| d.update("/s", &json!([[1], [1], "x"]))).unwrap();
    reads(a.state(), &json!({"s": ["x", [1], [1]]}));
    assert!(a.state().contains("/s", &[1u8][..]));
    let read = a.state().to_json();
    assert!(!a.edit(|d| d.update("", &read)).unwrap().0);
}

#[test]
fn values_and_keys_have_the_shape_that_json_gives_them() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Marker;
    #[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
    enum Variant {
        Plain,
    }
    /// A map with keys of every sort that JSON makes a text of.
    struct Keys;
    impl Serialize for Keys {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry(&1.0, &1)?;
            map.serialize_entry(&-0.5, &2)?;
            map.serialize_entry(&1e300, &3)?;
            map.serialize_entry(&true, &4)?;
            map.serialize_entry(&'c', &5)?;
            map.serialize_entry(&7u128, &6)?;
            map.serialize_entry(&-7i128, &7)?;
            map.serialize_entry(&u64::MAX, &8)?;
            map.serialize_entry(&Variant::Plain, &9)?;
            map.end()
        }
    }
    let (mut a, _) = pair(&json!({}));
    a.edit(|d| {
        d.update("/marker", &Marker)?;
        d.update("/wide", &5u128)?;
        d.update("/widest", &u128::from(u64::MAX))?;
        d.update("/negative", &-7i128)?;
        d.update("/keys", &Keys)
    })
    .unwrap();
    let expected = json!({
        "marker": Marker, "wide": 5, "widest": u64::MAX, "negative": -7, "keys": serde_json::to_value(Keys).unwrap(),
    });
    reads(a.state(), &expected);
    assert_eq!(a.state().deserialize::<Marker>("/marker").unwrap(), Some(Marker));
    assert_eq!(a.state().deserialize::<u128>("/wide").unwrap(), Some(5));
    // What JSON does not take for a key either.
    for refused in
        [a.edit(|d| d.update("", &BTreeMap::from([((), 1)]))), a.edit(|d| d.update("", &BTreeMap::from([([1], 1)])))]
    {
        assert!(refused.is_err());
    }
}

#[test]
fn what_was_read_can_be_written_back_however_deep_it_lies() {
    let nested = |levels: usize, has_maps: bool| {
        (0..levels).fold(json!(1), |inner, n| if has_maps && n % 2 == 1 { json!({"k": inner}) } else { json!([inner]) })
    };
    for has_maps in [false, true] {
        for above in [0, 1, 2, 63, 64] {
            let path = "/a".repeat(above);
            for levels in 0..=66 {
                let (mut a, _) = pair(&json!({}));
                let value = nested(levels, has_maps);
                let updated = a.edit(|d| d.update(&path, &value));
                // A map on the outside is a segment; from the first array on it is one value.
                let maps = usize::from(has_maps && levels > 0 && levels % 2 == 0);
                let fits = above + maps <= 64 && levels - maps <= 64;
                assert_eq!(updated.is_ok(), fits, "{levels} levels below {above} segments");
                let Err(error) = updated.map(drop) else {
                    assert_eq!(a.state().json(&path), Some(value));
                    let read = a.state().to_json();
                    assert!(!a.edit(|d| d.update("", &read)).unwrap().0);
                    continue;
                };
                assert!(error.to_string().contains("nests deeper than 64"), "{error}");
            }
        }
    }
    // Nor does it matter how it came there.
    let (mut a, _) = pair(&json!({"deep": nested(64, false)}));
    let deep = a.snapshot();
    a.edit(|d| d.set("/a".repeat(64), deep.get("/deep").unwrap())).unwrap();
    let read = a.state().to_json();
    assert!(!a.edit(|d| d.update("", &read)).unwrap().0);
}

fn arbitrary_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-3i64..4).prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-10i32..10).prop_map(|n| Json::from(f64::from(n) / 4.0)),
        "[a~/\0]{0,3}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            3 => prop::collection::btree_map("[abc/~\0]{0,2}", inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn after_an_update_a_document_reads_as_the_value_whatever_it_was_before(
        values in prop::collection::vec(arbitrary_json(), 1..5),
    ) {
        let mut a = replica(1);
        let mut mirror = replica(2);
        for value in &values {
            let before = a.state().to_json();
            let (changed, delta) = a.edit(|d| d.update("/at", value)).unwrap();
            prop_assert_eq!(a.state().properties().json("/at"), Some(value.clone()));
            prop_assert_eq!(changed, before.get("at") != Some(value));
            prop_assert_eq!(changed, !delta.is_empty());
            mirror.merge(&delta).unwrap();
            prop_assert_eq!(mirror.state().to_json(), a.state().to_json());
            a.state().check_invariants().map_err(TestCaseError::fail)?;
            // Written again, nothing is.
            prop_assert!(!a.edit(|d| d.update("/at", value)).unwrap().0);
        }
    }

    #[test]
    fn concurrent_updates_converge_and_an_update_that_saw_both_settles(
        start in arbitrary_json(), first in arbitrary_json(), second in arbitrary_json(), last in arbitrary_json(),
    ) {
        let (mut a, mut b) = pair(&json!({"at": start}));
        a.edit(|d| d.update("/at", &first)).unwrap();
        b.edit(|d| d.update("/at", &second)).unwrap();
        sync(&mut a, &mut b);
        a.edit(|d| d.update("/at", &last)).unwrap();
        prop_assert_eq!(a.state().properties().json("/at"), Some(last));
        sync(&mut a, &mut b);
    }
}

#[test]
fn an_update_keeps_the_kinds() {
    let (mut a, mut b) = pair(&json!({}));
    let write = |d: &mut driftless::Edit<'_, Document>| {
        d.add("/n", 5)?;
        d.insert("/s", "x")?;
        d.insert("/s", "y")?;
        d.raise("/max", 3)
    };
    a.edit(write).unwrap();
    sync(&mut a, &mut b);
    a.edit(|d| d.update("", &json!({"n": 7, "s": ["y", "z"], "max": 4}))).unwrap();
    b.edit(|d| d.add("/n", 1)).unwrap();
    sync(&mut a, &mut b);
    reads(a.state(), &json!({"n": 8, "s": ["y", "z"], "max": 4}));
    let kinds = ["/n", "/s", "/max"].map(|path| a.state().properties().kind(path));
    assert_eq!(kinds, [Some(Kind::Counter), Some(Kind::Set), Some(Kind::Max)]);
    for misfit in
        [json!({"n": "text"}), json!({"s": 1}), json!({"max": {}}), json!({"s": [{"a": 1}]}), json!({"n": 2.0})]
    {
        let before = a.fingerprint();
        let refused = a.edit(|d| d.update("", &misfit)).unwrap_err();
        assert!(matches!(refused, EditError::Misfit { .. }), "{refused}");
        assert_eq!(a.fingerprint(), before);
    }
}

#[test]
fn extending_leaves_what_the_value_does_not_know() {
    let (mut a, _) = pair(&json!({"name": "Ada", "later": {"x": 1, "y": [1]}, "empty": {}}));
    a.edit(|d| d.insert("/set", "x")).unwrap();
    let value = json!({"name": "Augusta", "later": {"x": 2}, "set": ["y"], "empty": {}, "new": {}});
    a.edit(|d| d.extend("", &value)).unwrap();
    let after = json!({
        "name": "Augusta", "later": {"x": 2, "y": [1]}, "set": ["x", "y"], "empty": {}, "new": {},
    });
    reads(a.state(), &after);
    assert!(!a.edit(|d| d.extend("", &json!({"later": {}}))).unwrap().0, "an empty map says nothing of the entries");
    reads(a.state(), &after);
}

// ---- bad input ----

#[test]
fn bad_input_is_an_error_that_names_the_path_and_changes_nothing() {
    let (mut a, _) = pair(&json!({"name": "Ada", "n": {"x": 1}}));
    a.edit(|d| d.add("/count", 1)).unwrap();
    let (before, version) = (a.fingerprint(), a.version().clone());
    let deep = "/a".repeat(65);
    let mut nested = json!(1);
    for _ in 0..80 {
        nested = json!({"a": nested});
    }
    let mut arrays = json!(1);
    for _ in 0..5000 {
        arrays = Json::Array(vec![arrays]);
    }
    type Case<'a> = (&'a str, Box<dyn Fn(&mut driftless::Edit<'_, Document>) -> Result<(), EditError> + 'a>);
    let cases: Vec<Case<'_>> = vec![
        (
            "at `/x/a`: 340282366920938463463374607431768211455 does not fit in 64 bits",
            Box::new(|d| d.update("/x", &BTreeMap::from([("a", u128::MAX)])).map(drop)),
        ),
        ("NaN at `/x`", Box::new(|d| d.set("/x", f64::NAN))),
        (
            "inf at `/x/1/b`",
            Box::new(|d| d.update("/x", &[BTreeMap::new(), BTreeMap::from([("b", f64::INFINITY)])]).map(drop)),
        ),
        ("`/name/first` leads into the register at `/name`", Box::new(|d| d.set("/name/first", "A"))),
        ("`/count/x/y` leads into the counter at `/count`", Box::new(|d| d.update("/count/x/y", &1).map(drop))),
        ("`/n` is a map, not a register", Box::new(|d| d.set("/n", 1))),
        ("`/name` is a register, not a counter", Box::new(|d| d.add("/name", 1))),
        ("`/count` is a counter, not a set", Box::new(|d| d.insert("/count", 1).map(drop))),
        ("the path `name` does not begin with `/`", Box::new(|d| d.set("name", 1))),
        ("a path of 65 segments", Box::new(|d| d.set(&deep, 1))),
        ("nests deeper than 64", Box::new(|d| d.update("/x", &nested).map(drop))),
        ("the value at `/x/0/0/0", Box::new(|d| d.update("/x", &arrays).map(drop))),
        ("a key of", Box::new(|d| d.set(format!("/{}", "k".repeat(5000)), 1))),
        ("a key of", Box::new(|d| d.insert("/s", &*"k".repeat(5000)).map(drop))),
        ("a value of", Box::new(|d| d.update("/x", &vec![0u8; 2 << 20]).map(drop))),
        (
            "would pass",
            Box::new(|d| {
                d.add("/big", i64::MAX)?;
                d.add("/big", i64::MAX)?;
                d.add("/big", 2)
            }),
        ),
    ];
    for (expected, case) in cases {
        // Even if the closure goes on, nothing of the write that failed is there.
        let error = a.edit(|d| case(d)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error} does not say {expected}");
        assert_eq!((a.fingerprint(), a.version()), (before, &version), "{expected}");
    }
    let ((), delta) = a
        .edit(|d| {
            assert!(d.update("", &json!({"name": "Ada", "n": {"x": 2}, "count": "text"})).is_err());
            Ok(())
        })
        .unwrap();
    assert!(delta.is_empty(), "an update that fails is not made in part");
    drop_deep(arrays);
}

/// A value nested so deeply is dropped without recursion.
fn drop_deep(mut value: Json) {
    while let Json::Array(mut items) = value {
        match items.pop() {
            Some(inner) => value = inner,
            None => return,
        }
    }
}

#[test]
fn properties_of_what_is_not_there_cannot_be_written() {
    let mut graph = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    let ada = NodeId::named("ada");
    for path in ["/a", "/a/b"] {
        assert!(matches!(graph.edit(|g| g.set(ada, path, 1)), Err(EditError::NoNode(id)) if id == ada));
        assert!(matches!(graph.edit(|g| g.properties_mut(ada).add(path, 1)), Err(EditError::NoNode(_))));
        assert!(matches!(graph.edit(|g| g.unset(ada, path)), Err(EditError::NoNode(_))));
        assert!(matches!(graph.edit(|g| g.update(ada, path, &1)), Err(EditError::NoNode(_))));
        assert!(matches!(graph.edit(|g| g.properties_mut(ada).remove(path, 1)), Err(EditError::NoNode(_))));
    }
    assert!(matches!(graph.edit(|g| g.set(ada, "no path", 1)), Err(EditError::Path(PathError::NoSlash(_)))));
    assert_eq!(graph.state().state().live_len(), 0);
}

// ---- what this version cannot read ----

#[test]
fn a_kind_of_a_later_version_does_not_block_the_update_of_the_rest() {
    let (mut a, _) = pair(&json!({"a": 1}));
    a.edit(|d| d.write(Entity::SELF, &field(&[b"list"], LATER, b"k"), Payload::new(99, b"v"))).unwrap();
    let mut read = a.state().to_json();
    assert_eq!((&read, a.state().kind("/list")), (&json!({"a": 1, "list": null}), Some(Kind::Other(LATER))));
    assert!(!a.edit(|d| d.update("", &read)).unwrap().0);
    read["a"] = json!(2);
    assert_eq!(a.edit(|d| d.update("", &read)).unwrap().1.len(), 1);
    reads(a.state(), &json!({"a": 2, "list": null}));
    // What says something else of it is refused, and whoever leaves it out removes it.
    let refused = a.edit(|d| d.update("/list", &1)).unwrap_err();
    assert!(matches!(refused, EditError::Misfit { is: Kind::Other(LATER), .. }), "{refused}");
    a.edit(|d| d.update("", &json!({"a": 2}))).unwrap();
    assert_eq!(a.state().kind("/list"), None);
}

/// A number with a byte too many, and a kind of payload that no version has.
const UNREADABLE: [(u8, &[u8]); 2] = [(INT, &[0, 5]), (99, b"later")];

#[test]
fn a_register_that_cannot_be_read_shows_as_unknown_and_can_be_set() {
    for (kind, bytes) in UNREADABLE {
        let (mut a, _) = pair(&json!({}));
        a.edit(|d| d.write(Entity::SELF, &field(&[b"x"], REGISTER, b""), Payload::new(kind, bytes))).unwrap();
        assert_eq!(a.state().get("/x"), Some(Value::Unknown { kind, bytes }));
        reads(a.state(), &json!({"x": null}));
        // It is not 5: two payloads would be one value.
        assert!(a.edit(|d| d.update("/x", &5)).unwrap().0);
        reads(a.state(), &json!({"x": 5}));
        let copied = a.edit(|d| d.set("/y", Value::Unknown { kind, bytes })).unwrap_err();
        assert!(matches!(copied, EditError::UnknownKind(k) if k == kind));
    }
}

#[test]
fn an_element_that_cannot_be_read_can_be_found_and_taken_out_but_not_put_in() {
    for (kind, bytes) in UNREADABLE {
        let (mut a, _) = pair(&json!({}));
        let key = [&[kind], bytes].concat();
        a.edit(|d| {
            d.insert("/s", 1)?;
            d.write(Entity::SELF, &field(&[b"s"], SET, &key), Payload::new(UNIT, b"")).map(drop)
        })
        .unwrap();
        let element = Value::Unknown { kind, bytes };
        let elements: Vec<_> = a.state().properties().elements("/s").collect();
        assert!(elements.len() == 2 && elements.contains(&element), "{elements:?}");
        assert!(a.state().contains("/s", element) && !a.state().contains("/s", 5));
        assert!(a.edit(|d| d.insert("/s", element)).is_err());
        assert!(a.edit(|d| d.remove("/s", element)).unwrap().0);
        reads(a.state(), &json!({"s": [1]}));
        assert!(!a.edit(|d| d.remove("/s", element)).unwrap().0);
    }
}

#[test]
fn a_maximum_that_cannot_be_read_gives_way_to_what_can() {
    for (kind, bytes) in UNREADABLE {
        let unreadable = Payload::new(kind, bytes);
        let (mut a, mut b) = pair(&json!({}));
        a.edit(|d| d.write(Entity::SELF, &field(&[b"m"], MAX, b""), unreadable.clone())).unwrap();
        assert_eq!(a.state().get("/m"), Some(Value::Unknown { kind, bytes }));
        // Written at the same time, and written knowing it.
        b.edit(|d| d.raise("/m", 1)).unwrap();
        sync(&mut a, &mut b);
        reads(a.state(), &json!({"m": 1}));
        a.edit(|d| d.write(Entity::SELF, &field(&[b"n"], MAX, b""), unreadable.clone())).unwrap();
        assert!(a.edit(|d| d.raise("/n", "low")).unwrap().0);
        reads(a.state(), &json!({"m": 1, "n": "low"}));
    }
}

#[test]
fn what_a_later_version_keeps_beside_a_document_is_no_change_and_no_conflict_of_it() {
    let (mut a, mut b) = pair(&json!({}));
    let elsewhere = Entity::new(9, [7; 16]);
    for (replica, text) in [(&mut a, b"1"), (&mut b, b"2")] {
        let name = field(&[b"name"], REGISTER, b"");
        replica.edit(|d| d.write(elsewhere, &name, Payload::new(spelling::STR, text))).unwrap();
    }
    let report = b.merge(&a.delta_since(b.version()).unwrap()).unwrap();
    assert_eq!(report.changes().count(), 0);
    sync(&mut a, &mut b);
    reads(b.state(), &json!({}));
    assert_eq!((b.state().conflicts().count(), b.state().conflicts_at("").unwrap().count()), (0, 0));
    // It is kept all the same.
    assert_eq!(b.state().state().live_len(), 2);
}

// ---- reading rules ----

#[test]
fn every_rule_reads_what_it_says() {
    let (mut a, mut b) = pair(&json!({}));
    a.edit(|d| d.update("", &json!({"n": 3, "t": "b", "tags": ["x", "y"], "only": 1}))).unwrap();
    b.edit(|d| d.update("", &json!({"n": 4.5, "t": "a", "tags": ["y", "z"]}))).unwrap();
    sync(&mut a, &mut b);
    let read = |path: &str, rule: Rule| {
        let rules = Rules::new().with(path, rule).unwrap();
        let both = [&a, &b].map(|r| rules.json(&r.state().properties(), path));
        assert_eq!(both[0], both[1], "the same in every replica");
        both[0].clone()
    };
    let last = a.state().to_json();
    for path in ["/n", "/t", "/tags"] {
        assert_eq!(read(path, Rule::LastWriter).unwrap(), last.pointer(path).cloned());
    }
    assert_eq!(read("/n", Rule::Max).unwrap(), Some(json!(4.5)));
    assert_eq!(read("/n", Rule::Min).unwrap(), Some(json!(3)));
    assert_eq!(read("/t", Rule::Max).unwrap(), Some(json!("b")));
    let all = read("/n", Rule::KeepAll).unwrap().unwrap();
    assert_eq!(all[0], last["n"], "the latest first");
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(read("/only", Rule::KeepAll).unwrap(), Some(json!([1])));
    let union = read("/tags", Rule::Union).unwrap().unwrap();
    assert_eq!(union.as_array().unwrap()[..2], last["tags"].as_array().unwrap()[..], "the winner's elements first");
    assert_eq!(union.as_array().unwrap().len(), 3);
    assert_eq!(read("/absent", Rule::Max).unwrap(), None);
}

#[test]
fn a_rule_that_does_not_fit_names_the_path() {
    let (mut a, _) = pair(&json!({"n": {"x": "text", "y": [1]}, "m": null}));
    a.edit(|d| d.add("/count", 1)).unwrap();
    for (pattern, rule, path) in [
        ("/n/*", Rule::Union, "/n/x"),
        ("/n/y", Rule::Max, "/n/y"),
        ("/count", Rule::Max, "/count"),
        ("/**", Rule::Min, "/count"),
        ("/m", Rule::Min, "/m"),
    ] {
        let error = Rules::new().with(pattern, rule).unwrap().json(&a.state().properties(), "").unwrap_err();
        assert_eq!((error.path.to_string().as_str(), error.rule), (path, rule));
        assert!(error.to_string().contains(path), "{error}");
        // An app that must go on is told all the same.
        let (value, misfits) = Rules::new().with(pattern, rule).unwrap().read(&a.state().properties(), "");
        assert_eq!((value, &misfits[0]), (Some(a.state().to_json()), &error));
    }
    let within = Rules::new().with("/a/**/b", Rule::Max).unwrap_err();
    assert_eq!(within, PathError::Wildcard("/a/**/b".into()));
    assert_eq!(Rules::new().with("no slash", Rule::Max).unwrap_err(), PathError::NoSlash("no slash".into()));
}

#[test]
fn the_first_rule_whose_pattern_fits_holds() {
    let rules = Rules::new()
        .with("/a/b", Rule::Min)
        .and_then(|r| r.with("/a/*", Rule::Max))
        .and_then(|r| r.with("/a/**", Rule::KeepAll))
        .unwrap();
    let rule = |path: &str| rules.rule(&path.parse().unwrap());
    assert_eq!(rule("/a/b"), Rule::Min);
    assert_eq!(rule("/a/c"), Rule::Max);
    assert_eq!(rule("/a/c/d"), Rule::KeepAll);
    assert_eq!(rule("/a"), Rule::LastWriter);
    assert_eq!(rule("/b/c"), Rule::LastWriter);
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Shape {
    Point,
    Circle(f32),
    Line(i8, u64),
    Box { corner: (i16, i16), size: Size },
    Path(Vec<Shape>),
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Size(u16, Option<u16>);

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Name(String);

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Nothing;

#[test]
fn values_of_every_shape_come_back() {
    type All = (Vec<Shape>, Name, Nothing, char, [bool; 2], BTreeMap<String, Shape>, Option<Name>, ());
    let mut a = replica(1);
    let all = || -> All {
        let line = Shape::Line(-7, u64::MAX);
        let framed = Shape::Box { corner: (-1, 1), size: Size(3, None) };
        let path = Shape::Path(vec![Shape::Point, Shape::Circle(0.5), Shape::Path(Vec::new())]);
        let map = [("a/b", Shape::Line(1, 2)), ("~", Shape::Point)].map(|(key, shape)| (key.to_owned(), shape));
        (vec![line, framed, path], Name("Ada".into()), Nothing, '\u{1f9ea}', [true, false], map.into(), None, ())
    };
    a.edit(|d| d.update("/all", &all())).unwrap();
    assert_eq!(a.state().deserialize::<All>("/all").unwrap(), Some(all()));
    let (changed, _) = a.edit(|d| d.update("/all", &all())).unwrap();
    assert!(!changed, "the same again writes nothing");
    // One variant for another is a change of what is there.
    a.edit(|d| d.update("/shape", &Shape::Line(1, 2))).unwrap();
    a.edit(|d| d.update("/shape", &Shape::Box { corner: (0, 0), size: Size(1, Some(2)) })).unwrap();
    let shape = a.state().deserialize::<Shape>("/shape").unwrap();
    assert_eq!(shape, Some(Shape::Box { corner: (0, 0), size: Size(1, Some(2)) }));
    for (path, fits) in [("/u", a.edit(|d| d.update("/u", &5_u128))), ("/i", a.edit(|d| d.update("/i", &5_i128)))] {
        fits.unwrap();
        assert_eq!(a.state().get(path), Some(5.into()));
    }

    let before = a.state().clone();
    let refused: [(&str, EditError); 5] = [
        ("at `/x`", a.edit(|d| d.update("/x", &u128::MAX)).unwrap_err()),
        ("at `/x`", a.edit(|d| d.update("/x", &(1_i128 << 64))).unwrap_err()),
        ("/x/Circle", a.edit(|d| d.update("/x", &Shape::Circle(f32::NAN))).unwrap_err()),
        (
            "/x/Path/1/Circle",
            a.edit(|d| d.update("/x", &Shape::Path(vec![Shape::Point, Shape::Circle(f32::INFINITY)]))).unwrap_err(),
        ),
        ("/x/Pair/1", a.edit(|d| d.update("/x", &Pair::Pair(0.0, f64::NAN))).unwrap_err()),
    ];
    for (place, error) in refused {
        assert!(error.to_string().contains(place), "{place}: {error}");
    }
    assert!(a.state() == &before);
}

#[derive(Serialize)]
enum Pair {
    Pair(f64, f64),
}

#[test]
fn what_is_too_long_is_refused_and_nobody_learns_where_it_was_to_be_written() {
    let (mut a, long) = (Replica::<Document>::new(), "x".repeat(5_000));
    let huge = "x".repeat(driftless::kernel::MAX_PAYLOAD_LEN + 1);
    let array = vec!["x".repeat(1_000); 300];
    let refused = |result: Result<(), EditError>| match result.unwrap_err() {
        error @ (EditError::KeyTooLong { .. } | EditError::ValueTooLong { .. }) => error.to_string(),
        error => panic!("{error:?}"),
    };
    let errors = [
        a.edit(|d| d.set("/a", &*huge)).map(drop),
        a.edit(|d| d.raise("/a", &*huge)).map(drop),
        a.edit(|d| d.insert("/a", &*long)).map(drop),
        a.edit(|d| d.update("/a", &array)).map(drop),
        a.edit(|d| d.update("", &json!({ "a": huge }))).map(drop),
        a.edit(|d| d.insert("/a", 1).and_then(|_| d.update("/a", &[&long]))).map(drop),
    ];
    for error in errors.map(refused) {
        assert!(error.contains(" at `/a` is too long"), "{}", &error[..error.len().min(200)]);
    }
    let path = format!("/{long}");
    for result in [a.edit(|d| d.set(&*path, 1)).map(drop), a.edit(|d| d.add(&*path, 1)).map(drop)] {
        assert!(refused(result).contains(&format!(" at `{path}` is too long")));
    }
    assert_eq!(a.state().to_json(), json!({}));
}
