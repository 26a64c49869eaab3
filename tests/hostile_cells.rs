//! Cells that no version could have written, put there by whoever bypasses this one: no reader sees them, they are in
//! nobody's way, and whatever is derived follows from the cells as if they were not there.

#[path = "support/spelling.rs"]
mod spelling;

use std::cell::Cell;
use std::collections::BTreeSet;

use driftless::kernel::{Entity, Payload};
use driftless::testing::TestEnvironment;
use driftless::{
    ConflictKind, Crdt, CutError, Delta, Document, EdgeId, Edit, EditError, Graph, Kind, NodeId, Owner, Properties,
    Prune, Replica, Resolution, Resolved, Value,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};
use spelling::{ARRAY, COUNTER, INT, LATER, MAP, MAX, NULL, REGISTER, SET, STR, UNIT, field};

fn document(seed: u64) -> Replica<Document> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn sync<T: Crdt + PartialEq>(a: &mut Replica<T>, b: &mut Replica<T>) {
    let (for_a, for_b) = (cut(b, a, false), cut(a, b, false));
    a.merge(&for_a).unwrap();
    b.merge(&for_b).unwrap();
    assert!(a.state() == b.state());
}

fn cut<T: Crdt>(from: &Replica<T>, to: &Replica<T>, reconciled: bool) -> Delta {
    let reconcile = || from.reconcile(to.version(), &to.live_dots());
    match reconciled {
        true => reconcile(),
        false => from.delta_since(to.version()).unwrap_or_else(|CutError::Pruned { .. }| reconcile()),
    }
}

/// The totals of a counter: 5 added, nothing taken.
fn five() -> Payload {
    Payload::new(spelling::TOTALS, &[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// Properties at and below `/x` that nobody could have written.
fn impossible() -> Vec<(&'static str, Vec<u8>, Payload)> {
    let text = || Payload::new(STR, b"v");
    let deep: Vec<&[u8]> = [&b"x"[..]].into_iter().chain([&b"d"[..]; 64]).collect();
    vec![
        ("a segment that is not UTF-8", field(&[b"x", b"\xc3"], REGISTER, b""), text()),
        ("a segment with half a letter on each side of a zero", field(&[b"x", b"\xc3\0\xa9"], REGISTER, b""), text()),
        ("65 segments", field(&deep, REGISTER, b""), text()),
        ("a register with a key", field(&[b"x"], REGISTER, b"k"), text()),
        ("a map with a key", field(&[b"x"], MAP, b"k"), Payload::new(UNIT, b"")),
        ("a maximum with a key", field(&[b"x"], MAX, b"k"), Payload::new(INT, &[1])),
        ("an element without its kind", field(&[b"x"], SET, b""), Payload::new(UNIT, b"")),
        ("a counter of no replica", field(&[b"x"], COUNTER, b"k"), five()),
        ("no kind", field(&[b"x"], 0, b""), text()),
        ("a kind between two segments", [&field(&[b"x"], REGISTER, b"")[..], &[0, 0xfe, 0, 2]].concat(), text()),
        ("a field that ends within its path", vec![2, b'x', 0], text()),
        ("a tag alone", vec![2], text()),
    ]
}

/// Whether everything that reads says the same, from a path downwards.
fn readers_agree(properties: &Properties<'_>, path: &str) -> Result<(), String> {
    let (kind, json, value) = (properties.kind(path), properties.json(path), properties.get(path));
    let keys = properties.keys(path);
    let disagree = |what: &str| Err(format!("{what} at {path:?}: {kind:?}, {json:?}, {value:?}, {keys:?}"));
    if kind.is_some() != json.is_some() {
        return disagree("kind and JSON");
    }
    if value.is_some() && value.map(|value| value.to_json()) != json {
        return disagree("value and JSON");
    }
    if kind == Some(Kind::Counter) && value.and_then(|v| v.as_int()).map(i128::from) != properties.counter(path) {
        return disagree("value and sum");
    }
    if properties.counter(path).is_some() && kind.is_none() {
        return disagree("sum and kind");
    }
    let elements: Vec<Value<'_>> = properties.elements(path).collect();
    if !elements.iter().all(|element| properties.contains(path, *element)) {
        return disagree("elements and contains");
    }
    let as_json = |elements: &[Value<'_>]| Json::from(elements.iter().map(Value::to_json).collect::<Vec<_>>());
    if (kind == Some(Kind::Set)) && json != Some(as_json(&elements)) {
        return disagree("elements and JSON");
    }
    if !elements.is_empty() && kind.is_none() {
        return disagree("elements and kind");
    }
    let named: Vec<String> = match (kind, &json) {
        (Some(Kind::Map), Some(Json::Object(map))) => map.keys().cloned().collect(),
        (Some(Kind::Map), _) => return disagree("map and JSON"),
        _ => Vec::new(),
    };
    if named.iter().collect::<BTreeSet<_>>() != keys.iter().collect::<BTreeSet<_>>() {
        return disagree("keys and JSON");
    }
    for key in &keys {
        readers_agree(properties, &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")))?;
    }
    if path.is_empty() {
        if properties.is_empty() != kind.is_none() {
            return disagree("emptiness and kind");
        }
        if properties.iter().any(|(path, value)| properties.get(&path) != Some(value)) {
            return disagree("iteration and values");
        }
    }
    Ok(())
}

#[track_caller]
fn reads(replica: &Replica<Document>, expected: &Json) {
    let properties = replica.state().properties();
    assert_eq!(properties.to_json(), *expected);
    readers_agree(&properties, "").unwrap();
    readers_agree(&properties, "/x").unwrap();
    replica.state().check_invariants().unwrap();
}

#[test]
fn a_cell_that_nobody_could_write_is_there_for_one_reader_and_not_for_another() {
    for (what, field, payload) in impossible() {
        let mut a = document(1);
        a.edit(|d| d.write(Entity::SELF, &field, payload)).unwrap();
        reads(&a, &json!({}));
        let properties = a.state().properties();
        for path in ["", "/x"] {
            assert_eq!(
                (properties.kind(path), properties.get(path), properties.counter(path)),
                (None, None, None),
                "{what}"
            );
            assert_eq!((properties.keys(path), properties.elements(path).count()), (Vec::new(), 0), "{what}");
            assert_eq!(properties.get_all(path).count(), 0, "{what}");
        }
        assert!(properties.is_empty() && properties.iter().next().is_none(), "{what}");
        // Beside what is there it changes nothing, and it is kept and sent on.
        a.edit(|d| d.set("/x", 5)).unwrap();
        reads(&a, &json!({"x": 5}));
        assert_eq!(a.state().properties().get_all("/x").count(), 1, "{what}");
        assert_eq!(a.state().conflicts().count(), 0, "{what}");
        let mut b = document(2);
        b.merge(&a.complete()).unwrap();
        assert_eq!(b.state().to_json(), json!({"x": 5}));
        assert!(b.state() == a.state(), "{what}");
    }
}

#[test]
fn a_cell_that_nobody_could_write_blocks_the_path_that_it_lies_at() {
    type Write = fn(&mut Edit<'_, Document>) -> Result<(), EditError>;
    let writes: [(Write, Json); 7] = [
        (|d| d.set("/x", 1), json!({"x": 1})),
        (|d| d.add("/x", 1), json!({"x": 1})),
        (|d| d.insert("/x", 1).map(drop), json!({"x": [1]})),
        (|d| d.raise("/x", 1).map(drop), json!({"x": 1})),
        (|d| d.set("/x/y", 1), json!({"x": {"y": 1}})),
        (|d| d.update("/x", &json!({"y": [1]})).map(drop), json!({"x": {"y": [1]}})),
        (|d| d.update("", &json!({})).map(drop), json!({})),
    ];
    for (what, field, payload) in impossible() {
        for (write, expected) in &writes {
            let mut a = document(1);
            a.edit(|d| d.write(Entity::SELF, &field, payload.clone())).unwrap();
            a.edit(write).unwrap_or_else(|error| panic!("{what}: {error}"));
            reads(&a, expected);
            // Nor is the path blocked once it was emptied.
            a.edit(|d| d.unset("")).unwrap();
            reads(&a, &json!({}));
            a.edit(|d| d.update("/x", &json!({"z": 1}))).unwrap_or_else(|error| panic!("{what}: {error}"));
            reads(&a, &json!({"x": {"z": 1}}));
        }
    }
}

#[test]
fn replicas_that_disagree_on_a_cell_that_nobody_could_write_never_come_to_rest() {
    for (what, field, payload) in impossible() {
        let (mut a, mut b) = (document(1), document(2));
        a.edit(|d| d.write(Entity::SELF, &field, payload)).unwrap();
        b.edit(|d| d.write(Entity::SELF, &field, Payload::new(ARRAY, &[0x91, 2]))).unwrap();
        a.edit(|d| d.set("/x", "ours")).unwrap();
        sync(&mut a, &mut b);
        let cells = a.state().clone();
        for policy in [Resolution::LastWriter, Resolution::Union, Resolution::MergeFields] {
            let (settled, delta) = a.edit(|d| d.settle(|_| policy.clone())).unwrap();
            assert_eq!((settled.written, settled.shown.len(), settled.open.len()), (0, 0, 0), "{what}");
            assert!(delta.is_empty() && *a.state() == cells, "{what}");
        }
        assert_eq!((a.state().conflicts().count(), a.state().conflicts_at("/x").unwrap().count()), (0, 0), "{what}");
        reads(&a, &json!({"x": "ours"}));
    }
}

#[test]
fn a_real_conflict_beside_cells_that_nobody_could_write_shows_them_or_cannot_be_settled() {
    for (what, field, payload) in impossible() {
        let (mut a, mut b) = (document(1), document(2));
        a.edit(|d| d.set("/x", 1)).unwrap();
        b.edit(|d| d.set("/x", 2)).unwrap();
        b.edit(|d| d.write(Entity::SELF, &field, payload)).unwrap();
        sync(&mut a, &mut b);
        let conflicts: Vec<_> = a.state().conflicts().collect();
        assert_eq!(conflicts.len(), 1, "{what}");
        assert_eq!((&conflicts[0].kind, conflicts[0].candidates.len()), (&ConflictKind::ConcurrentEdit, 2), "{what}");
        let id = conflicts[0].id;
        a.edit(|d| d.resolve(id, Resolution::Value(3.into()))).unwrap();
        assert_eq!(a.state().conflicts().count(), 0, "{what}");
        reads(&a, &json!({"x": 3}));
    }
}

#[test]
fn a_kind_of_a_later_version_cannot_be_removed_or_told_from_what_else_is_there() {
    let later = field(&[b"x"], LATER, b"k");
    let mut a = document(1);
    a.edit(|d| d.write(Entity::SELF, &later, Payload::new(99, b"v"))).unwrap();
    reads(&a, &json!({"x": null}));
    assert_eq!((a.state().kind("/x"), a.state().get("/x")), (Some(Kind::Other(LATER)), None));
    let refused = a.edit(|d| d.set("/x", 1)).unwrap_err();
    assert!(
        matches!(refused, EditError::OtherKind { is: Kind::Other(LATER), wanted: Kind::Register, .. }),
        "{refused}"
    );
    let refused = a.edit(|d| d.set("/x/y", 1)).unwrap_err();
    assert!(matches!(refused, EditError::IntoScalar { is: Kind::Other(LATER), .. }), "{refused}");
    // Made a register at the same time, it is a conflict as between any kinds.
    let mut b = document(2);
    b.edit(|d| d.set("/x", 1)).unwrap();
    sync(&mut a, &mut b);
    reads(&a, &json!({"x": 1}));
    let conflict = a.state().conflicts().next().unwrap();
    assert_eq!((conflict.kind, conflict.candidates.len()), (ConflictKind::Kind, 2));
    let (settled, _) = a.edit(|d| d.settle(|_| Resolution::LastWriter)).unwrap();
    assert_eq!(settled.written + settled.shown.len(), 1);
    a.edit(|d| d.unset("/x")).unwrap();
    reads(&a, &json!({}));
    a.edit(|d| d.set("/x", 2)).unwrap();
    reads(&a, &json!({"x": 2}));
}

#[test]
fn entities_of_a_later_version_are_taken_for_nodes_or_conflicts_of_a_graph() {
    let mut a = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    let mut b = Replica::<Graph>::with_environment(TestEnvironment::new(2));
    let name = field(&[b"name"], REGISTER, b"");
    for entity in [Entity::SELF, Entity::new(9, [7; 16])] {
        for (replica, n) in [(&mut a, 1), (&mut b, 2)] {
            replica
                .edit(|g| {
                    g.write(entity, &[], Payload::new(UNIT, b""))?;
                    g.write(entity, &name, Payload::new(INT, &[n]))
                })
                .unwrap();
            replica.edit(|g| g.write(entity, &field(&[b"name"], SET, &[INT, n]), Payload::new(UNIT, b""))).unwrap();
        }
    }
    let report = a.merge(&b.complete()).unwrap();
    assert_eq!(report.changes().count(), 0);
    sync(&mut a, &mut b);
    // Deleted here and written to there: no node of anybody's was.
    a.edit(|g| g.delete(Entity::new(9, [7; 16]))).unwrap();
    b.edit(|g| g.write(Entity::new(9, [7; 16]), &name, Payload::new(INT, &[3]))).unwrap();
    sync(&mut a, &mut b);
    let graph = a.state();
    assert_eq!((graph.node_count(), graph.edge_count(), graph.nodes().count()), (0, 0, 0));
    assert_eq!((graph.hidden().count(), graph.conflicts().count()), (0, 0));
    graph.check_invariants().unwrap();
}

#[test]
fn an_edge_whose_root_tells_nothing_is_walked_or_listed_or_keeps_the_real_one_away() {
    let (ada, note) = (NodeId::named("ada"), NodeId::named("note"));
    let edge = EdgeId::numbered(ada, "wrote", note, 0);
    let entity = Entity::new(2, *edge.as_bytes());
    // The ends of another edge, in their right shape.
    let others = [ada.as_bytes(), ada.as_bytes(), &[0; 8][..], b"wrote"].concat();
    for root in [
        Payload::new(UNIT, b""),
        Payload::new(18, b"too short"),
        Payload::new(18, &others),
        Payload::new(18, &[&[0xff; 40][..], b"\xc3"].concat()),
        Payload::new(99, b"later"),
    ] {
        let mut a = Replica::<Graph>::with_environment(TestEnvironment::new(1));
        a.edit(|g| Ok((g.add_node("ada")?, g.add_node("note")?))).unwrap();
        a.edit(|g| g.write(entity, &[], root.clone())).unwrap();
        let graph = a.state();
        graph.check_invariants().unwrap();
        assert!(graph.edge(edge).is_none() && !graph.contains_edge(edge), "{root:?}");
        assert_eq!((graph.edge_count(), graph.edges().count(), graph.dangling().count()), (0, 0, 0), "{root:?}");
        assert_eq!((graph.outgoing(ada).count(), graph.incoming(note).count()), (0, 0), "{root:?}");
        assert_eq!((graph.conflicts().count(), graph.conflicts_of(edge).count()), (0, 0), "{root:?}");
        assert!(matches!(a.edit(|g| g.set(edge, "/year", 1843)), Err(EditError::NoEdge(id)) if id == edge), "{root:?}");
        let (linked, _) = a.edit(|g| g.link(ada, "wrote", note)).unwrap();
        assert_eq!(a.state().edge(linked).unwrap().target(), note, "{root:?}");
        a.edit(|g| g.set(linked, "/year", 1843)).unwrap();
        assert_eq!(a.state().outgoing(ada).count(), 1, "{root:?}");
        a.state().check_invariants().unwrap();
    }
}

// ---- all of it at random ----

#[derive(Clone, Debug)]
enum Step {
    /// Writes any cell, possible or not, to any entity.
    Write {
        by: usize,
        entity: usize,
        field: usize,
        payload: u8,
    },
    Erase {
        by: usize,
        entity: usize,
        field: usize,
    },
    Delete {
        by: usize,
        entity: usize,
    },
    /// Writes a property as an app does.
    Property {
        by: usize,
        of: usize,
        path: usize,
        how: u8,
        value: u8,
    },
    /// Adds, removes and links nodes as an app does.
    Node {
        by: usize,
        node: usize,
        how: u8,
    },
    /// An edit of all sorts that fails at its end.
    Fail {
        by: usize,
        writes: Vec<(usize, usize, u8)>,
    },
    Merge {
        from: usize,
        to: usize,
        how: Cut,
    },
    Prune {
        by: usize,
    },
    /// Goes on from saved bytes, as another writer.
    Open {
        by: usize,
    },
    Settle {
        by: usize,
        policy: usize,
    },
    Resolve {
        by: usize,
        which: usize,
        resolution: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Incremental,
    Complete,
    Reconciled,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (by, entity, field) = (|| 0..3usize, || 0..ENTITIES, || 0..FIELDS);
    let cut = prop::sample::select(vec![Cut::Incremental, Cut::Incremental, Cut::Complete, Cut::Reconciled]);
    let writes = prop::collection::vec((entity(), field(), any::<u8>()), 1..6);
    let step = prop_oneof![
        4 => (by(), entity(), field(), any::<u8>())
            .prop_map(|(by, entity, field, payload)| Step::Write { by, entity, field, payload }),
        2 => (by(), entity(), field()).prop_map(|(by, entity, field)| Step::Erase { by, entity, field }),
        1 => (by(), entity()).prop_map(|(by, entity)| Step::Delete { by, entity }),
        12 => (by(), 0..3usize, 0..PATHS.len(), 0..12u8, any::<u8>())
            .prop_map(|(by, of, path, how, value)| Step::Property { by, of, path, how, value }),
        2 => (by(), 0..3usize, 0..8u8).prop_map(|(by, node, how)| Step::Node { by, node, how }),
        1 => (by(), writes).prop_map(|(by, writes)| Step::Fail { by, writes }),
        6 => (by(), by(), cut).prop_map(|(from, to, how)| Step::Merge { from, to, how }),
        2 => by().prop_map(|by| Step::Prune { by }),
        1 => by().prop_map(|by| Step::Open { by }),
        2 => (by(), 0..8usize).prop_map(|(by, policy)| Step::Settle { by, policy }),
        4 => (by(), 0..20usize, 0..11usize).prop_map(|(by, which, resolution)| Step::Resolve { by, which, resolution }),
    ];
    prop::collection::vec(step, 5..60)
}

const NAMES: [&str; 3] = ["ada", "eve", "joe"];
const PATHS: [&str; 5] = ["/x", "/x/y", "/x/y/z", "", "/q"];
const ENTITIES: usize = 5;
const FIELDS: usize = 40;

fn node(n: usize) -> NodeId {
    NodeId::named(NAMES[n])
}

fn edge() -> EdgeId {
    EdgeId::numbered(node(0), "knows", node(1), 0)
}

/// Two nodes, an edge, and what is neither.
fn entity(n: usize) -> Entity {
    match n {
        0 | 1 => Entity::new(1, *node(n).as_bytes()),
        2 => Entity::new(2, *edge().as_bytes()),
        3 => Entity::new(7, [1; 16]),
        _ => Entity::SELF,
    }
}

/// Fields at the paths that apps write to as well, most of them possible in no version.
fn any_field(n: usize) -> Vec<u8> {
    let paths: [&[&[u8]]; 8] =
        [&[], &[b"x"], &[b"x", b"y"], &[b"x", b"y", b"z"], &[b"x\0"], &[b""], &[b"x", b"\xff"], &[b"x", b""]];
    let kinds: [(u8, &[u8]); 5] =
        [(REGISTER, b""), (MAP, b""), (COUNTER, b"k"), (REGISTER, b"k"), (SET, &[spelling::FALSE])];
    match n {
        7 => vec![2],
        8 => [&[1], &b"label"[..]].concat(),
        13 => vec![2, 0],
        14 => vec![2, b'x', 0, 0xfe, 0, 0],
        19 => Vec::new(),
        _ => {
            let (kind, key) = kinds[n % 5];
            field(paths[n / 5], kind, key)
        }
    }
}

fn any_payload(n: u8) -> Payload {
    match n % 6 {
        5 => five(),
        kind => Payload::new([NULL, INT, ARRAY, UNIT, 99][usize::from(kind)], &[n % 3]),
    }
}

fn any_resolution(n: usize) -> Resolution<'static> {
    match n {
        0 => Resolution::LastWriter,
        1 => Resolution::Union,
        2 => Resolution::MergeFields,
        3 => Resolution::MergeText { base: "".into() },
        4 => Resolution::Restore,
        5 => Resolution::Delete,
        6 => Resolution::Manual,
        7 => Resolution::Json(json!({"y": 1})),
        8 => Resolution::PreferLocal,
        9 => Resolution::Value(1.into()),
        _ => Resolution::Json(json!([1])),
    }
}

/// What is refused, where the node is gone or the kind is another, is left out.
fn write_property(g: &mut Edit<'_, Graph>, of: usize, path: &str, how: u8, value: u8) -> Result<(), EditError> {
    let owner = if of == 2 { Owner::from(edge()) } else { node(of).into() };
    let mut properties = g.properties_mut(owner);
    match how {
        0 => properties.set(path, value % 3),
        1 => properties.add(path, 1),
        2 => properties.insert(path, value % 3).map(drop),
        3 => properties.raise(path, value).map(drop),
        4 => properties.unset(path).map(drop),
        5 => properties.update(path, &json!({"y": {"z": value % 2}})).map(drop),
        6 => properties.update(path, &json!([value % 2, value % 3])).map(drop),
        7 => properties.update(path, &json!({})).map(drop),
        _ => properties.set("/q", value % 3),
    }
}

fn edit_node(g: &mut Edit<'_, Graph>, n: usize, how: u8) -> Result<(), EditError> {
    match how {
        0 | 1 => g.add_node(NAMES[n]).map(drop),
        2 => g.remove_node(node(n)).map(drop),
        3 => g.restore_node(NAMES[n]).map(drop),
        4 => g.link(node(0), "knows", node(1)).map(drop),
        5 => g.unlink(edge()).map(drop),
        6 => g.link(node(n), "likes", node(n)).map(drop),
        _ => g.remove_node_with_edges(node(n)).map(drop),
    }
}

/// How often the interesting things happened.
#[derive(Default, Debug)]
struct Seen {
    cases: Cell<u32>,
    /// Cases that ended with cells that nobody could have written.
    hostile: Cell<u32>,
    values: Cell<u32>,
    kinds: Cell<u32>,
    edit_deletes: Cell<u32>,
    dangling: Cell<u32>,
    /// Failed edits that had written something.
    failed: Cell<u32>,
    reconciled: Cell<u32>,
    pruned: Cell<u32>,
    /// Openings of a saved state that wrote.
    opened: Cell<u32>,
    resolved: Cell<u32>,
    settled: Cell<u32>,
}

fn bump(counter: &Cell<u32>) {
    counter.set(counter.get() + 1);
}

struct World<'s> {
    replicas: Vec<Replica<Graph>>,
    environments: u64,
    seen: &'s Seen,
}

impl<'s> World<'s> {
    /// Three replicas of two nodes and an edge.
    fn new(seen: &'s Seen) -> Self {
        let mut first = Replica::with_environment(TestEnvironment::new(0));
        first.edit(|g| [(0, 0), (1, 0), (0, 4)].iter().try_for_each(|(n, how)| edit_node(g, *n, *how))).unwrap();
        let forks = [1, 2].map(|seed| first.fork_with(TestEnvironment::new(seed)));
        Self { replicas: [first].into_iter().chain(forks).collect(), environments: 100, seen }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let seen = self.seen;
        let by = match step {
            Step::Merge { to, .. } => *to,
            Step::Write { by, .. }
            | Step::Erase { by, .. }
            | Step::Delete { by, .. }
            | Step::Property { by, .. }
            | Step::Node { by, .. }
            | Step::Fail { by, .. }
            | Step::Prune { by }
            | Step::Open { by }
            | Step::Settle { by, .. }
            | Step::Resolve { by, .. } => *by,
        };
        match step {
            Step::Merge { from, to, how } => self.merge(*from, *to, *how)?,
            Step::Open { .. } => self.open(by)?,
            step => {
                let replica = &mut self.replicas[by];
                match step {
                    Step::Write { entity: e, field, payload, .. } => {
                        let payload = any_payload(*payload);
                        replica.edit(|g| g.write(entity(*e), &any_field(*field), payload)).unwrap();
                    }
                    Step::Erase { entity: e, field, .. } => {
                        replica.edit(|g| g.erase(entity(*e), &any_field(*field))).unwrap();
                    }
                    Step::Delete { entity: e, .. } => drop(replica.edit(|g| g.delete(entity(*e))).unwrap()),
                    Step::Property { of, path, how, value, .. } => {
                        let _ = replica.edit(|g| write_property(g, *of, PATHS[*path], *how, *value));
                    }
                    Step::Node { node, how, .. } => drop(replica.edit(|g| edit_node(g, *node, *how)).unwrap()),
                    Step::Fail { writes, .. } => fail(replica, writes, seen)?,
                    Step::Prune { .. } => (0..replica.prune(Prune::All).min(1)).for_each(|_| bump(&seen.pruned)),
                    Step::Settle { policy, .. } => {
                        let settled = replica.edit(|g| g.settle(|_| any_resolution(*policy)));
                        if settled.is_ok_and(|(settled, _)| settled.written > 0) {
                            bump(&seen.settled);
                        }
                    }
                    Step::Resolve { which, resolution, .. } => {
                        let ids: Vec<_> = replica.state().conflicts().map(|conflict| conflict.id).collect();
                        let id = ids.get(which % ids.len().max(1)).copied();
                        if let Some(id) = id
                            && let Ok((resolved, _)) = replica.edit(|g| g.resolve(id, any_resolution(*resolution)))
                            && resolved != Resolved::Open
                        {
                            prop_assert!(replica.state().conflicts().all(|conflict| conflict.id != id));
                            bump(&seen.resolved);
                        }
                    }
                    Step::Merge { .. } | Step::Open { .. } => unreachable!(),
                }
            }
        }
        self.judge(by)
    }

    fn merge(&mut self, from: usize, to: usize, how: Cut) -> Result<(), TestCaseError> {
        if from == to {
            return Ok(());
        }
        let (sender, receiver) = (&self.replicas[from], &self.replicas[to]);
        let delta = match how {
            Cut::Incremental => cut(sender, receiver, false),
            Cut::Complete => sender.complete(),
            Cut::Reconciled => cut(sender, receiver, true),
        };
        let before = receiver.snapshot();
        self.replicas[to].merge(&delta).unwrap();
        if matches!(how, Cut::Reconciled) && *self.replicas[to].state() != before {
            bump(&self.seen.reconciled);
        }
        Ok(())
    }

    fn open(&mut self, by: usize) -> Result<(), TestCaseError> {
        self.environments += 1;
        let environment = TestEnvironment::new(self.environments);
        let mut opened = Replica::<Graph>::load_with(environment, &self.replicas[by].save()).unwrap();
        prop_assert!(opened.state() == self.replicas[by].state());
        prop_assert!(opened.state().conflicts().eq(self.replicas[by].state().conflicts()));
        let _ = opened.edit(|g| write_property(g, 0, "/x", 0, 1));
        opened.edit(|g| edit_node(g, 2, 6)).unwrap();
        if opened.writer().is_some() {
            bump(&self.seen.opened);
        }
        self.replicas[by] = opened;
        Ok(())
    }

    /// What is derived follows from the cells; conflicts are told apart; readers agree.
    fn judge(&self, by: usize) -> Result<(), TestCaseError> {
        let graph = self.replicas[by].state();
        graph.check_invariants().map_err(TestCaseError::fail)?;
        let mut ids = BTreeSet::new();
        for conflict in graph.conflicts() {
            prop_assert!(ids.insert(conflict.id), "two of one id: {conflict}");
            let of = conflict.of.ok_or_else(|| TestCaseError::fail("a conflict about nothing"))?;
            prop_assert!(graph.conflicts_of(of).any(|other| other == conflict), "not of its owner: {conflict}");
            let counter = match conflict.kind {
                ConflictKind::ConcurrentEdit => &self.seen.values,
                ConflictKind::Kind => &self.seen.kinds,
                ConflictKind::EditDelete => &self.seen.edit_deletes,
                ConflictKind::Dangling { .. } => &self.seen.dangling,
                other => return Err(TestCaseError::fail(format!("{other:?} without a vector"))),
            };
            bump(counter);
        }
        let owners = [Owner::from(node(0)), node(1).into(), node(2).into(), edge().into()];
        for owner in owners {
            prop_assert!(graph.conflicts_of(owner).all(|conflict| ids.contains(&conflict.id)));
            let properties = match owner {
                Owner::Node(id) => graph.node(id).map(|node| node.properties()),
                Owner::Edge(id) => graph.edge(id).map(|edge| edge.properties()),
            };
            let hidden = graph.hidden_of(owner).map(|hidden| hidden.properties());
            for properties in properties.into_iter().chain(hidden) {
                readers_agree(&properties, "").map_err(TestCaseError::fail)?;
            }
        }
        Ok(())
    }

    /// Settling by one policy has an end, whatever it settles.
    fn rest(&mut self) -> Result<(), TestCaseError> {
        for policy in [Resolution::LastWriter, Resolution::Delete, Resolution::MergeFields] {
            let mut rounds = 0;
            while self.replicas[0].edit(|g| g.settle(|_| policy.clone())).unwrap().0.written > 0 {
                self.judge(0)?;
                rounds += 1;
                let open = || self.replicas[0].state().conflicts().map(|c| c.to_string()).collect::<Vec<_>>();
                prop_assert!(rounds < 8, "no rest by {policy:?}: {:?}", open());
            }
        }
        Ok(())
    }

    /// All hear of all, and are equal then.
    fn exchange(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..2 {
            for (from, to) in [(0, 1), (1, 2), (2, 0)] {
                self.merge(from, to, Cut::Incremental)?;
                self.judge(to)?;
            }
        }
        let [a, b, c] = &self.replicas[..] else { unreachable!() };
        prop_assert!(a.state() == b.state() && b.state() == c.state());
        prop_assert!(a.state().conflicts().eq(b.state().conflicts()));
        prop_assert!(b.state().conflicts().eq(c.state().conflicts()));
        Ok(())
    }
}

/// An edit that does everything and then fails has done nothing.
fn fail(replica: &mut Replica<Graph>, writes: &[(usize, usize, u8)], seen: &Seen) -> Result<(), TestCaseError> {
    let (before, version) = (replica.snapshot(), replica.version().clone());
    let conflicts: Vec<_> = replica.state().conflicts().map(|conflict| conflict.id).collect();
    let failed = replica.edit(|g| {
        for (e, field, value) in writes {
            g.write(entity(*e), &any_field(*field), any_payload(*value))?;
            if value % 4 == 0 {
                g.delete(entity(*e))?;
            }
            if value % 5 == 0 {
                edit_node(g, field % 3, value % 8)?;
            }
            if value % 7 == 0 {
                let _ = g.settle(|_| Resolution::Union);
            }
            let _ = write_property(g, e % 3, PATHS[field % PATHS.len()], value % 8, *value);
        }
        Err::<(), _>(EditError::abort("of no further interest"))
    });
    prop_assert!(failed.is_err());
    prop_assert!(*replica.state() == before && *replica.version() == version);
    prop_assert!(replica.state().conflicts().map(|conflict| conflict.id).eq(conflicts));
    bump(&seen.failed);
    Ok(())
}

/// `DRIFTLESS_SCHEDULES=20` runs twenty times as many, for a longer look.
#[test]
fn hostile_cells_among_honest_edits_lead_what_is_derived_astray() {
    let seen = Seen::default();
    let times: u32 = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let cases = times.saturating_mul(1_200);
    let config = ProptestConfig { cases, source_file: Some(file!()), ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        bump(&seen.cases);
        let mut world = World::new(&seen);
        steps.iter().try_for_each(|step| world.step(step))?;
        world.exchange()?;
        let all = world.replicas[0].state().state();
        let impossible = (0..FIELDS).map(any_field).filter(|field| is_impossible(field)).collect::<BTreeSet<_>>();
        if all.live_siblings().any(|(_, field, _)| impossible.contains(field.as_bytes())) {
            bump(&seen.hostile);
        }
        world.rest()
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    println!("{seen:?}");
    // A schedule in which nothing of this happens tests nothing.
    let share = |counter: &Cell<u32>| f64::from(counter.get()) / f64::from(seen.cases.get());
    for (what, counter, least) in [
        ("hostile cells", &seen.hostile, 0.5),
        ("conflicts of values", &seen.values, 1.0),
        ("conflicts of kinds", &seen.kinds, 3.0),
        ("edits of what was deleted", &seen.edit_deletes, 2.0),
        ("dangling edges", &seen.dangling, 3.0),
        ("failed edits", &seen.failed, 0.4),
        ("reconciled deltas", &seen.reconciled, 0.3),
        ("prunings", &seen.pruned, 0.25),
        ("openings", &seen.opened, 0.5),
        ("resolved conflicts", &seen.resolved, 0.25),
        ("settled conflicts", &seen.settled, 0.05),
    ] {
        assert!(share(counter) > least, "{what} per case: {}", share(counter));
    }
}

/// Of the fields above.
fn is_impossible(field: &[u8]) -> bool {
    field.first() == Some(&2)
        && (field.len() < 4 || field.contains(&0xff) || field.ends_with(b"k") || field == any_field(14))
}
