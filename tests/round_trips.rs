//! What is written is what is read, whatever serde does with it; or the write is refused, says where and why, and nothing
//! has changed.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::IpAddr;

use driftless::kernel::{Entity, Payload};
use driftless::testing::TestEnvironment;
use driftless::{
    Crdt, Document, EditError, Element, LwwRegister, MaxRegister, MinRegister, MvRegister, OrMap, OrSet, Replica, RwSet,
};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

fn replica<T: Crdt>() -> Replica<T> {
    Replica::with_environment(TestEnvironment::new(1))
}

/// The path of the refusal.
fn refused_at<T: Debug>(result: Result<T, EditError>) -> (String, String) {
    match result {
        Err(EditError::Unreadable { path, reason } | EditError::Unserialisable { path, reason }) => (path, reason),
        Err(EditError::TooDeep { path }) => (path, "too deep".into()),
        other => panic!("not refused: {other:?}"),
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
enum Shape {
    Point,
    Name(String),
    Line(i64, u64),
    Frame { corner: (i8, char), inner: Option<Box<Shape>> },
    Empty {},
    Nothing(()),
    Optional(Option<u8>),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Plain,
    Struct { id: u32 },
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Plain,
    Pair(bool, String),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
    Many(Vec<Untagged>),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Marker;

/// A float by its total order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Total(f32);

impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Total {}
impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Total {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Everything {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    second: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    third: Vec<Shape>,
    #[serde(rename = "4th", alias = "fourth")]
    fourth: (i8, i16, i32, i64),
    fifth: (u8, u16, u32, u64),
    wide: i128,
    float: Total,
    symbol: char,
    tagged: Tagged,
    adjacent: Adjacent,
    untagged: Untagged,
    marker: Marker,
    unit: (),
    maybe: Option<Marker2>,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    array: [bool; 3],
    by_number: BTreeMap<i32, Option<bool>>,
    by_char: BTreeMap<char, ()>,
    by_truth: BTreeMap<bool, Vec<u8>>,
    by_variant: BTreeMap<Key, BTreeMap<u64, Shape>>,
    texts: BTreeSet<String>,
    address: IpAddr,
    id: uuid::Uuid,
    result: Result<u8, String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Option<i64>>,
}

/// Present, but for nothing more.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Marker2 {}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
enum Key {
    North,
    South,
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Point),
        "[a~/\0é]{0,3}".prop_map(Shape::Name),
        any::<(i64, u64)>().prop_map(|(a, b)| Shape::Line(a, b)),
        Just(Shape::Empty {}),
        Just(Shape::Nothing(())),
        any::<Option<u8>>().prop_map(Shape::Optional),
    ];
    leaf.prop_recursive(4, 8, 1, |inner| {
        (any::<(i8, char)>(), prop::option::of(inner))
            .prop_map(|(corner, inner)| Shape::Frame { corner, inner: inner.map(Box::new) })
    })
}

fn untagged() -> impl Strategy<Value = Untagged> {
    let leaf = prop_oneof![any::<i64>().prop_map(Untagged::Number), "[ab]{0,3}".prop_map(Untagged::Text)];
    leaf.prop_recursive(3, 8, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Untagged::Many))
}

prop_compose! {
    fn everything()(
        (first, second, third) in (any::<Option<String>>(), 0..3_u8, prop::collection::vec(shape(), 0..3)),
        (fourth, fifth, wide, float, symbol) in any::<((i8, i16, i32, i64), (u8, u16, u32, u64), i64, f32, char)>(),
        (plain, flag, text, untagged) in (any::<bool>(), any::<bool>(), "[ab]{0,2}", untagged()),
        (maybe, bytes, array) in any::<(bool, Vec<u8>, [bool; 3])>(),
        by_number in prop::collection::btree_map(any::<i32>(), any::<Option<bool>>(), 0..3),
        by_char in prop::collection::btree_map(any::<char>(), Just(()), 0..3),
        by_truth in prop::collection::btree_map(any::<bool>(), any::<Vec<u8>>(), 0..3),
        by_variant in prop::collection::btree_map(
            prop_oneof![Just(Key::North), Just(Key::South)],
            prop::collection::btree_map(any::<u64>(), shape(), 0..3),
            0..3,
        ),
        texts in prop::collection::btree_set("[a-zé\0]{0,4}", 0..4),
        (address, id) in any::<(IpAddr, u128)>(),
        result in any::<Result<u8, String>>(),
        rest in prop::collection::btree_map("[xyz]{0,2}", any::<Option<i64>>(), 0..3),
    ) -> Everything {
        Everything {
            first, second, third, fourth, fifth,
            wide: wide.into(),
            float: Total(if float.is_finite() { float + 0.0 } else { 0.0 }),
            symbol,
            tagged: if plain { Tagged::Plain } else { Tagged::Struct { id: 7 } },
            adjacent: if flag { Adjacent::Plain } else { Adjacent::Pair(plain, text) },
            untagged, marker: Marker, unit: (), maybe: maybe.then_some(Marker2 {}), bytes, array, by_number, by_char,
            by_truth, by_variant, texts, address, id: uuid::Uuid::from_u128(id), result, rest,
        }
    }
}

/// Through every standalone type, by way of a saved replica.
fn comes_back<T: Element + Eq>(value: &T) {
    let value = || value.clone();
    let mut lww = replica::<LwwRegister<T>>();
    lww.edit(|r| r.set(value())).unwrap();
    assert_eq!(Replica::<LwwRegister<T>>::load(&lww.save().0).unwrap().state().get(), Some(&value()));
    let mut mv = replica::<MvRegister<T>>();
    mv.edit(|r| r.set(value())).unwrap();
    assert_eq!(mv.state().get(), [value()]);
    let mut max = replica::<MaxRegister<T>>();
    max.edit(|r| r.raise(value())).unwrap();
    assert_eq!(max.state().get(), Some(&value()));
    let mut min = replica::<MinRegister<T>>();
    min.edit(|r| r.lower(value())).unwrap();
    assert_eq!(min.state().get(), Some(&value()));
    let mut set = replica::<OrSet<T>>();
    set.edit(|s| s.insert(value())).unwrap();
    assert!(set.state().contains(&value()) && set.edit(|s| s.remove(&value())).unwrap().0 && set.state().is_empty());
    let mut removing = replica::<RwSet<T>>();
    removing.edit(|s| s.insert(value())).unwrap();
    assert!(removing.state().iter().eq([&value()]));
    let mut map = replica::<OrMap<T, T>>();
    map.edit(|m| m.insert(value(), value())).unwrap();
    assert_eq!(map.state().get(&value()), Some(&value()));
    assert_eq!(map.state().get_all(&value()).collect::<Vec<_>>(), [value()]);
}

/// Refused by every standalone type, which stays as it was.
fn is_refused<T: Element>(value: &T) -> (String, String) {
    let value = || value.clone();
    let (mut lww, mut mv) = (replica::<LwwRegister<T>>(), replica::<MvRegister<T>>());
    let (mut max, mut min) = (replica::<MaxRegister<T>>(), replica::<MinRegister<T>>());
    let (mut set, mut removing) = (replica::<OrSet<T>>(), replica::<RwSet<T>>());
    let (mut keys, mut values) = (replica::<OrMap<T, u8>>(), replica::<OrMap<u8, T>>());
    let all = [
        lww.edit(|r| r.set(value())).map(drop),
        mv.edit(|r| r.set(value())).map(drop),
        max.edit(|r| r.raise(value())).map(drop),
        min.edit(|r| r.lower(value())).map(drop),
        set.edit(|s| s.insert(value())).map(drop),
        removing.edit(|s| s.insert(value())).map(drop),
        removing.edit(|s| s.remove(&value())).map(drop),
        keys.edit(|m| m.insert(value(), 1)).map(drop),
        keys.edit(|m| m.remove(&value())).map(drop),
        values.edit(|m| m.insert(1, value())).map(drop),
    ]
    .map(refused_at);
    assert!(all.iter().all(|at| *at == all[0]), "{all:?}");
    assert!(lww.version().is_empty() && removing.version().is_empty() && values.version().is_empty());
    all[0].clone()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn real_structs_come_back_from_every_type(value in everything()) {
        comes_back(&value);
        comes_back(&value.untagged);
        let mut document = replica::<Document>();
        for path in ["", "/a", "/a/b"] {
            let mut document = replica::<Document>();
            document.edit(|d| d.update(path, &value)).unwrap();
            let again = Replica::<Document>::load(&document.save().0).unwrap();
            let read = again.state().deserialize::<Everything>(path).unwrap();
            prop_assert_eq!(read.as_ref(), Some(&value));
            prop_assert!(!document.edit(|d| d.update_checked(path, &value)).unwrap().0);
        }
        // And within an array, which is one value.
        document.edit(|d| d.update_checked("/list", &[&value].map(Clone::clone))).unwrap();
        prop_assert_eq!(document.state().deserialize("/list").unwrap(), Some([value]));
    }

    #[test]
    fn one_value_after_another_reads_as_the_last(values in prop::collection::vec(everything(), 1..4)) {
        let mut document = replica::<Document>();
        for value in &values {
            document.edit(|d| d.update("/a", value)).unwrap();
            let read = document.state().deserialize::<Everything>("/a").unwrap();
            prop_assert_eq!(read.as_ref(), Some(value));
        }
    }
}

#[test]
fn a_struct_reads_what_was_written_before_it_gained_a_field_and_after() {
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
    struct Old {
        name: String,
        born: u16,
    }
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
    struct New {
        #[serde(default)]
        alive: bool,
        name: String,
        #[serde(default)]
        tags: Vec<String>,
        born: u16,
    }
    fn reads<A: Element, B: Element>(written: A, read: B) {
        let (mut a, mut b) = (replica::<LwwRegister<A>>(), replica::<OrMap<u8, A>>());
        a.edit(|r| r.set(written.clone())).unwrap();
        b.edit(|m| m.insert(1, written.clone())).unwrap();
        let a = Replica::<LwwRegister<B>>::load(&a.save().0).unwrap();
        let b = Replica::<OrMap<u8, B>>::load(&b.save().0).unwrap();
        assert_eq!((a.state().get(), b.state().get(&1)), (Some(&read), Some(&read)));
        let mut document = replica::<Document>();
        document.edit(|d| d.update("/a", &written)).unwrap();
        assert_eq!(document.state().deserialize::<B>("/a").unwrap(), Some(read));
    }
    let old = || Old { name: "Ada".into(), born: 1815 };
    reads(old(), New { alive: false, name: "Ada".into(), tags: vec![], born: 1815 });
    reads(New { alive: true, name: "Ada".into(), tags: vec!["x".into()], born: 1815 }, old());

    // Of what old and new code write of one value at once, both show as one value.
    let mut olds = replica::<MvRegister<Old>>();
    olds.edit(|r| r.set(old())).unwrap();
    let mut news = replica::<MvRegister<New>>();
    news.edit(|r| r.set(New { alive: false, name: "Ada".into(), tags: vec![], born: 1815 })).unwrap();
    assert_eq!(Replica::<MvRegister<Old>>::load(&news.save().0).unwrap().state().get(), olds.state().get());
}

#[test]
fn an_element_that_gains_a_field_keeps_its_spelling_if_the_field_is_skipped() {
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
    struct Old {
        name: String,
    }
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
    struct New {
        name: String,
        #[serde(default, skip_serializing_if = "is_zero")]
        rank: u8,
    }
    let mut old = replica::<OrSet<Old>>();
    old.edit(|s| s.insert(Old { name: "Ada".into() })).unwrap();
    let mut new = Replica::<OrSet<New>>::load(&old.save().0).unwrap();
    let ada = New { name: "Ada".into(), rank: 0 };
    assert!(new.state().contains(&ada) && new.edit(|s| s.remove(&ada)).unwrap().0);
    // What old code would spell otherwise is no element of its set, and stays for those who can read it.
    new.edit(|s| s.insert(New { rank: 1, ..ada })).unwrap();
    let old = Replica::<OrSet<Old>>::load(&new.save().0).unwrap();
    assert_eq!((old.state().len(), old.state().state().live_len()), (0, 1));
}

#[test]
fn what_would_be_read_as_another_value_is_refused_with_its_path() {
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
    struct Cached {
        text: String,
        #[serde(skip)]
        cache: u32,
    }
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
    struct Units {
        many: Vec<Option<()>>,
    }
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Shadowed {
        Any(Option<u8>),
        Unit(()),
    }
    comes_back(&Cached { text: "a".into(), cache: 0 });
    assert_eq!(is_refused(&Cached { text: "a".into(), cache: 3 }).0, "");
    comes_back(&Units { many: vec![None] });
    is_refused(&Units { many: vec![None, Some(())] });
    is_refused(&Some(None::<u8>));
    comes_back(&Shadowed::Any(None));
    is_refused(&Shadowed::Unit(()));
    // An element that is refused does not take another out that is spelled alike.
    let mut set = replica::<OrSet<Option<()>>>();
    set.edit(|s| s.insert(None)).unwrap();
    refused_at(set.edit(|s| s.remove(&Some(()))));
    assert!(set.state().contains(&None));

    let mut document = replica::<Document>();
    let units = Units { many: vec![None, Some(())] };
    let (path, reason) = refused_at(document.edit(|d| d.update("/u", &units)));
    assert!(path == "/u/many/1" && reason.contains("`None`"), "{path}: {reason}");
    assert_eq!(refused_at(document.edit(|d| d.extend("/u", &Some(None::<u8>)))).0, "/u");
    assert_eq!(refused_at(document.edit(|d| d.update("/u", &BTreeMap::from([("a", Some(Marker))])))).0, "/u/a");
    let cached = [Cached { text: "a".into(), cache: 0 }, Cached { text: "a".into(), cache: 3 }];
    assert_eq!(refused_at(document.edit(|d| d.update_checked("/u", &cached))).0, "/u");
    assert_eq!(refused_at(document.edit(|d| d.update_checked("/u", &Shadowed::Unit(())))).0, "/u");
    assert!(document.version().is_empty());
}

#[test]
fn two_entries_of_one_name_are_refused_and_none_is_dropped() {
    #[derive(Serialize, PartialEq)]
    struct Flat {
        name: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    struct Keys;
    impl Serialize for Keys {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry(&1, "number")?;
            map.serialize_entry("1", "text")?;
            map.end()
        }
    }
    let mut document = replica::<Document>();
    let flat = Flat { name: 1, rest: [("name".into(), 2)].into() };
    assert_eq!(refused_at(document.edit(|d| d.update("/a", &flat))).0, "/a/name");
    assert_eq!(refused_at(document.edit(|d| d.update("", &Keys))).0, "/1");
    assert_eq!(refused_at(document.edit(|d| d.extend("/a", &[Keys]))).0, "/a/0/1");
    assert!(document.version().is_empty());
}

#[test]
fn a_number_that_would_be_rounded_is_refused() {
    /// A number as `serde_json` spells it where some crate asks for any precision.
    struct Digits(&'static str);
    impl Serialize for Digits {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut number = serializer.serialize_struct("$serde_json::private::Number", 1)?;
            number.serialize_field("$serde_json::private::Number", self.0)?;
            number.end()
        }
    }
    let mut document = replica::<Document>();
    for (text, value) in [
        ("7", json!(7)),
        ("-0.5", json!(-0.5)),
        ("1.50", json!(1.5)),
        ("25e-1", json!(2.5)),
        ("1E+3", json!(1000.0)),
        ("0.0", json!(0.0)),
    ] {
        document.edit(|d| d.update("/n", &Digits(text))).unwrap();
        assert_eq!(document.state().json("/n"), Some(value), "{text}");
    }
    for text in ["0.1234567890123456789", "123456789012345678901", "1.00000000000000000001"] {
        assert_eq!(refused_at(document.edit(|d| d.update("/n", &Digits(text)))).0, "/n", "{text}");
    }
}

#[test]
fn values_that_nest_too_deep_are_refused_before_a_stack_overflows() {
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
    enum Chain {
        End,
        Link(Box<Chain>),
    }
    /// Adds no level: neither an option nor a newtype is one.
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
    struct Thin(Option<Box<Thin>>);

    let chain = |len| (0..len).fold(Chain::End, |chain, _| Chain::Link(Box::new(chain)));
    comes_back(&chain(64));
    let mut document = replica::<Document>();
    for len in [65, 2000] {
        let (path, _) = is_refused(&chain(len));
        assert!(path.starts_with("/Link/Link"), "{path}");
        assert!(refused_at(document.edit(|d| d.update("/c", &chain(len)))).0.starts_with("/c/Link"));
    }
    let thin = (0..2000).fold(Thin(None), |thin, _| Thin(Some(Box::new(thin))));
    assert_eq!(refused_at(document.edit(|d| d.update("/c", &thin))).0, "/c");
    assert!(document.version().is_empty());

    // From a peer whose type is another: kept, and not read, however deep it is.
    let mut peer = replica::<LwwRegister<Vec<u8>>>();
    let (_, delta) = peer.edit(|r| r.set(vec![1])).unwrap();
    let mut mine = Replica::<LwwRegister<Chain>>::with_environment(TestEnvironment::new(2));
    mine.edit(|r| {
        let deep = [b"\x81\xa4Link".repeat(100_000), b"\xa3End".to_vec()].concat();
        r.write(Entity::SELF, b"", Payload::new(32, &deep)).map(drop)
    })
    .unwrap();
    assert_eq!(mine.state().get(), None);
    mine.merge(&driftless::Delta::from_bytes(&delta.to_bytes()).unwrap()).unwrap();
    assert_eq!(mine.state().get(), None);
}

#[test]
fn what_serde_cannot_serialise_is_a_typed_error() {
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("broken for good"))
        }
    }
    assert!(is_refused(&Broken).1.contains("broken for good"));
    let mut document = replica::<Document>();
    let (path, reason) = refused_at(document.edit(|d| d.update("/a", &[Ok(1), Err(Broken)])));
    assert!(path == "/a/1/Err" && reason == "broken for good", "{path}: {reason}");
}

/// The bounds under which `update_checked` and `deserialize` meet.
#[test]
fn scalars_at_their_bounds_come_back() {
    fn both<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
        let mut document = replica::<Document>();
        document.edit(|d| d.update_checked("/a", &value)).unwrap();
        assert_eq!(document.state().deserialize::<T>("/a").unwrap(), Some(value));
    }
    both((i64::MIN, u64::MAX, i128::from(u64::MAX), i128::from(i64::MIN)));
    both((f32::MIN_POSITIVE, f32::MAX, f64::MAX, f64::MIN_POSITIVE, 0.1_f32, -0.0_f64));
    both(('\0', '\u{10ffff}', String::from("\0"), serde_bytes::ByteBuf::from(vec![0, 255])));
    both(BTreeMap::from([(u128::MAX, BTreeMap::from([(i8::MIN, None::<bool>)]))]));
    both((BTreeMap::<u8, u8>::new(), Vec::<u8>::new(), [0_u8; 0], None::<u8>));
    let mut document = replica::<Document>();
    assert_eq!(refused_at(document.edit(|d| d.update("/a", &u128::MAX))).0, "/a");
    assert_eq!(refused_at(document.edit(|d| d.update("/a", &[i128::MIN]))).0, "/a/0");
}
