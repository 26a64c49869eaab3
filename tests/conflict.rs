//! The one list of conflicts, and every way to settle them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::testing::TestEnvironment;
use driftless::{
    Conflict, ConflictId, ConflictKind, Content, CutError, Delta, Document, EdgeId, EditError, Graph, Kind, NodeId,
    Prune, Replica, Resolution, ResolveError, Value,
};
use proptest::prelude::*;
use serde_json::json;

/// Replicas with their clocks.
struct Pair<T: driftless::Crdt> {
    a: Replica<T>,
    b: Replica<T>,
    clocks: [Arc<AtomicU64>; 2],
}

impl<T: driftless::Crdt + PartialEq + std::fmt::Debug> Pair<T> {
    fn new() -> Self {
        let environments = [TestEnvironment::new(1), TestEnvironment::new(2)];
        let clocks = [environments[0].clock(), environments[1].clock()];
        let [a, b] = environments.map(Replica::with_environment);
        Self { a, b, clocks }
    }

    /// From now on b's writes are the later ones.
    fn b_is_later(&self) {
        self.clocks[0].store(2_000_000, Ordering::Relaxed);
        self.clocks[1].store(2_000_500, Ordering::Relaxed);
    }

    fn sync(&mut self) {
        let (for_a, for_b) = (cut(&self.b, &self.a), cut(&self.a, &self.b));
        self.a.merge(&for_a).unwrap();
        self.b.merge(&for_b).unwrap();
        assert_eq!(self.a.state(), self.b.state());
    }
}

fn cut<T: driftless::Crdt>(from: &Replica<T>, to: &Replica<T>) -> Delta {
    from.delta_since(to.version())
        .unwrap_or_else(|CutError::Pruned { .. }| from.reconcile(to.version(), &to.live_dots()))
}

/// Two documents in conflict about `/x`.
fn disputed(ours: serde_json::Value, theirs: serde_json::Value) -> Pair<Document> {
    let mut pair = Pair::<Document>::new();
    pair.b_is_later();
    pair.a.edit(|d| d.update("/x", &ours)).unwrap();
    pair.b.edit(|d| d.update("/x", &theirs)).unwrap();
    pair.sync();
    pair
}

fn only<'a>(mut conflicts: impl Iterator<Item = Conflict<'a>>) -> Conflict<'a> {
    let first = conflicts.next().expect("a conflict");
    assert!(conflicts.next().is_none(), "one conflict");
    first
}

fn id(replica: &Replica<Document>) -> ConflictId {
    only(replica.state().conflicts()).id
}

#[track_caller]
fn settles_to(mut pair: Pair<Document>, resolution: Resolution<'_>, expected: serde_json::Value) {
    let id = id(&pair.a);
    assert!(pair.a.edit(|d| d.resolve(id, resolution)).unwrap().0);
    assert_eq!(pair.a.state().properties().json("/x"), Some(expected));
    assert_eq!(pair.a.state().conflicts().count(), 0);
    pair.sync();
    assert_eq!(pair.b.state().conflicts().count(), 0);
}

fn refusal(pair: &mut Pair<Document>, resolution: Resolution<'_>) -> ResolveError {
    let (id, before) = (id(&pair.a), pair.a.fingerprint());
    let Err(EditError::Resolve(error)) = pair.a.edit(|d| d.resolve(id, resolution)) else { panic!("not refused") };
    assert_eq!(pair.a.fingerprint(), before);
    error
}

// ---- what is listed ----

#[test]
fn equal_values_are_no_conflict_though_many_wrote_them() {
    let pair = disputed(json!({"name": "Ada", "tags": [1, 2]}), json!({"name": "Ada", "tags": [1, 2]}));
    assert_eq!(pair.a.state().conflicts().count(), 0);
}

#[test]
fn a_conflict_tells_values_writers_times_and_what_shows() {
    let pair = disputed(json!("ours"), json!("theirs"));
    let conflict = only(pair.a.state().conflicts());
    assert_eq!(
        (conflict.kind.clone(), conflict.of, conflict.path.to_string()),
        (ConflictKind::ConcurrentEdit, None, "/x".into())
    );
    let values: Vec<_> = conflict.candidates.iter().map(|c| c.value().unwrap()).collect();
    assert_eq!(values, [Value::Str("theirs"), Value::Str("ours")], "the later first");
    assert_eq!(conflict.winner().unwrap().replica(), pair.b.id().unwrap());
    assert_eq!(conflict.candidates[1].stamp.millis(), 2_000_000);
    let text = conflict.to_string();
    let writer = &pair.b.id().unwrap().to_string()[..8];
    assert_eq!(
        text,
        format!(
            "/x: \"theirs\" ({writer}, 1970-01-01T00:33:20.500Z, shows) | \"ours\" ({}, 1970-01-01T00:33:20.000Z)",
            &pair.a.id().unwrap().to_string()[..8],
        )
    );
    // The same in both, to the letter.
    assert!(pair.a.state().conflicts().eq(pair.b.state().conflicts()));
}

#[test]
fn several_kinds_at_one_path_are_a_conflict_with_what_each_reads() {
    let pair = disputed(json!({"y": 1, "z": 2}), json!("text"));
    let conflict = only(pair.a.state().conflicts());
    assert_eq!(conflict.kind, ConflictKind::Kind);
    let contents: Vec<_> = conflict.candidates.iter().map(|c| c.content.clone()).collect();
    assert_eq!(
        contents,
        [
            Content::Kind { kind: Kind::Map, reads: json!({"y": 1, "z": 2}) },
            Content::Kind { kind: Kind::Register, reads: json!("text") },
        ]
    );
    // The map shows, though the register is later.
    assert!(conflict.candidates[0].stamp < conflict.candidates[1].stamp);
    assert_eq!(pair.a.state().to_json(), json!({"x": {"y": 1, "z": 2}}));
}

#[test]
fn maxima_counters_and_sets_are_no_conflicts() {
    let mut pair = Pair::<Document>::new();
    for (replica, n) in [(&mut pair.a, 1), (&mut pair.b, 2)] {
        replica
            .edit(|d| {
                d.raise("/max", n)?;
                d.lower("/min", n)?;
                d.add("/count", n)?;
                d.insert("/set", n)
            })
            .unwrap();
    }
    pair.sync();
    assert_eq!(pair.a.state().conflicts().count(), 0);
}

#[test]
fn conflicts_under_a_path_are_those_and_no_others() {
    let pair = disputed(json!({"a": {"b": 1}, "ab": 1, "k": {"m": 1}}), json!({"a": {"b": 2}, "ab": 2, "k": 5}));
    let at = |path: &str| pair.a.state().conflicts_at(path).unwrap().map(|c| c.path.to_string()).collect::<Vec<_>>();
    assert_eq!(at(""), ["/x/a/b", "/x/ab", "/x/k"]);
    assert_eq!(at("/x/a"), ["/x/a/b"]);
    assert_eq!(at("/x/k"), ["/x/k"]);
    assert_eq!(at("/y"), Vec::<String>::new());
    assert!(pair.a.state().conflicts_at("x").is_err());
}

fn graph_pair() -> (Pair<Graph>, NodeId, NodeId, EdgeId) {
    let mut pair = Pair::<Graph>::new();
    let (ada, note) = (NodeId::named("ada"), NodeId::named("note"));
    let (edge, _) = pair
        .a
        .edit(|g| {
            g.add_node("ada")?;
            g.add_node("note")?;
            g.set(ada, "/born", 1815)?;
            g.link(ada, "wrote", note)
        })
        .unwrap();
    pair.sync();
    pair.b_is_later();
    (pair, ada, note, edge)
}

#[test]
fn edits_of_what_was_deleted_and_edges_without_an_end_are_listed() {
    let (mut pair, ada, _, edge) = graph_pair();
    pair.a.edit(|g| g.remove_node(ada)).unwrap();
    pair.b.edit(|g| g.set(ada, "/name", "Ada").and_then(|()| g.label(ada, "Person"))).unwrap();
    pair.sync();
    let conflicts: Vec<_> = pair.a.state().conflicts().collect();
    let kinds: Vec<_> = conflicts.iter().map(|c| (c.kind.clone(), c.of)).collect();
    assert_eq!(
        kinds,
        [
            (ConflictKind::EditDelete, Some(ada.into())),
            (ConflictKind::Dangling { missing: vec![ada] }, Some(edge.into())),
        ]
    );
    let contents: BTreeSet<_> = conflicts[0].candidates.iter().map(|c| c.content.to_string()).collect();
    assert_eq!(contents, BTreeSet::from(["/name = \"Ada\"".into(), "label \"Person\"".into()]));
    assert!(conflicts.iter().all(|c| c.winner().is_none()));
    assert_eq!(pair.a.state().conflicts_of(ada).count(), 1);
    assert_eq!(pair.a.state().conflicts_of(edge).count(), 1);
}

#[test]
fn an_edge_that_lacks_both_ends_is_listed_once() {
    let (mut pair, ada, note, edge) = graph_pair();
    pair.a.edit(|g| Ok((g.remove_node(ada)?, g.remove_node(note)?))).unwrap();
    let conflict = only(pair.a.state().conflicts());
    assert_eq!(conflict.kind, ConflictKind::Dangling { missing: vec![ada, note] });
    assert_eq!(pair.a.state().dangling().map(|e| e.id()).collect::<Vec<_>>(), [edge]);
    let (looped, _) = pair.a.edit(|g| g.link(ada, "likes", ada)).unwrap();
    assert_eq!(pair.a.state().dangling().filter(|e| e.id() == looped).count(), 1);
}

// ---- settling values ----

#[test]
fn each_resolution_of_values_writes_what_it_says() {
    let both = || disputed(json!("ours"), json!("theirs"));
    let pair = both();
    let ours = pair.a.state().conflicts().next().unwrap().candidates[1].dot;
    settles_to(pair, Resolution::Pick(ours), json!("ours"));
    settles_to(both(), Resolution::Value(Value::Int(3)), json!(3));
    settles_to(both(), Resolution::Json(json!({"a": [1]})), json!({"a": [1]}));
    settles_to(both(), Resolution::LastWriter, json!("theirs"));
    settles_to(both(), Resolution::PreferLocal, json!("ours"));
    settles_to(both(), Resolution::PreferRemote, json!("theirs"));
    settles_to(both(), Resolution::MergeFields, json!("theirs"));
    let arrays = disputed(json!([1, 2, 3]), json!([4, 2]));
    settles_to(arrays, Resolution::Union, json!([4, 2, 1, 3]));
    let texts = disputed(json!("a wise and old owl"), json!("a very old owl sat"));
    let base = Resolution::MergeText { base: "a very old owl".into() };
    settles_to(texts, base, json!("a wise and old owl sat"));
}

#[test]
fn a_closure_sees_the_candidates() {
    let mut pair = disputed(json!(2), json!(40));
    let id = id(&pair.a);
    let sum = |conflict: &Conflict<'_>| {
        let numbers = conflict.candidates.iter().filter_map(|c| c.value()?.as_int());
        Resolution::Json(numbers.sum::<i64>().into())
    };
    pair.a.edit(|d| d.resolve_with(id, sum)).unwrap();
    assert_eq!(pair.a.state().get("/x"), Some(42.into()));
}

#[test]
fn manual_leaves_it_open_and_writes_nothing() {
    let mut pair = disputed(json!(1), json!(2));
    let id = id(&pair.a);
    let (written, delta) = pair.a.edit(|d| d.resolve(id, Resolution::Manual)).unwrap();
    assert!(!written && delta.is_empty());
    assert_eq!(pair.a.state().conflicts().count(), 1);
}

#[test]
fn what_does_not_fit_is_an_error_that_names_path_and_resolution() {
    let mut pair = disputed(json!("one"), json!(2));
    for (resolution, name) in [
        (Resolution::Union, "union"),
        (Resolution::MergeText { base: "".into() }, "merge text"),
        (Resolution::Restore, "restore"),
        (Resolution::Delete, "delete"),
    ] {
        let error = refusal(&mut pair, resolution);
        assert!(
            matches!(&error, ResolveError::DoesNotFit { path, resolution, .. } if path == "/x" && *resolution == name),
            "{error}"
        );
    }
    let foreign = pair.a.edit(|d| d.set("/other", 1)).map(|_| pair.a.version().get(pair.a.id().unwrap())).unwrap();
    let dot = driftless::Dot { replica: pair.a.id().unwrap(), counter: foreign };
    assert!(matches!(refusal(&mut pair, Resolution::Pick(dot)), ResolveError::NoCandidate { dot: d, .. } if d == dot));
    let (id, before) = (id(&pair.a), pair.a.fingerprint());
    let nan = pair.a.edit(|d| d.resolve(id, Resolution::Value(f64::NAN.into()))).unwrap_err();
    assert!(matches!(nan, EditError::NotFinite { path, .. } if path == "/x"));
    assert_eq!(pair.a.fingerprint(), before);
}

#[test]
fn texts_changed_in_the_same_place_stay_open_with_marks() {
    let mut pair = disputed(json!("a red house"), json!("a blue house"));
    let error = refusal(&mut pair, Resolution::MergeText { base: "a tall house".into() });
    assert!(matches!(error, ResolveError::Overlap { merged, .. } if merged.contains("red") && merged.contains("blue")));
}

#[test]
fn a_conflict_that_changed_since_it_was_listed_is_stale() {
    let mut pair = disputed(json!(1), json!(2));
    let id = id(&pair.a);
    assert_eq!(id.to_string().parse(), Ok(id));
    assert!(
        id.to_string().to_uppercase().parse::<ConflictId>().is_err() && "é".repeat(33).parse::<ConflictId>().is_err()
    );
    pair.b.edit(|d| d.set("/x", 3)).unwrap();
    pair.sync();
    let before = pair.a.fingerprint();
    let stale = pair.a.edit(|d| d.resolve(id, Resolution::LastWriter)).unwrap_err();
    assert!(matches!(stale, EditError::Resolve(ResolveError::Stale(s)) if s == id), "{stale}");
    assert_eq!(pair.a.fingerprint(), before);
}

#[test]
fn what_arrives_after_the_conflict_was_settled_stays_open() {
    let mut pair = disputed(json!(1), json!(2));
    let mut c = pair.b.fork_with(TestEnvironment::new(3));
    let (_, late) = c.edit(|d| d.set("/x", 3)).unwrap();
    let id = id(&pair.a);
    pair.a.edit(|d| d.resolve(id, Resolution::Value(9.into()))).unwrap();
    pair.a.merge(&late).unwrap();
    let values: BTreeSet<_> =
        only(pair.a.state().conflicts()).candidates.iter().filter_map(|c| c.value()?.as_int()).collect();
    assert_eq!(values, BTreeSet::from([3, 9]));
}

#[test]
fn two_that_settle_at_once_converge_and_agree_if_they_chose_alike() {
    for (a, b, open) in [(5, 5, 0), (5, 6, 1)] {
        let mut pair = disputed(json!(1), json!(2));
        let id = id(&pair.a);
        pair.a.edit(|d| d.resolve(id, Resolution::Value(a.into()))).unwrap();
        pair.b.edit(|d| d.resolve(id, Resolution::Value(b.into()))).unwrap();
        pair.sync();
        assert_eq!(pair.a.state().conflicts().count(), open);
    }
}

// ---- settling kinds ----

#[test]
fn each_resolution_of_kinds_keeps_what_it_says() {
    let both = || disputed(json!({"y": 1}), json!("text"));
    let pair = both();
    let map = pair.a.state().conflicts().next().unwrap().candidates[0].dot;
    settles_to(pair, Resolution::Pick(map), json!({"y": 1}));
    settles_to(both(), Resolution::LastWriter, json!("text"));
    settles_to(both(), Resolution::PreferLocal, json!({"y": 1}));
    settles_to(both(), Resolution::PreferRemote, json!("text"));
    settles_to(both(), Resolution::MergeFields, json!({"y": 1}));
    settles_to(both(), Resolution::Value(Value::Bytes(&[1])), json!([1]));
    settles_to(both(), Resolution::Json(json!({"z": 2})), json!({"z": 2}));
    settles_to(both(), Resolution::Json(json!({})), json!({}));
    let error = refusal(&mut both(), Resolution::Union);
    assert!(matches!(error, ResolveError::DoesNotFit { .. }));
}

#[test]
fn a_map_that_grew_after_it_was_listed_is_not_buried_with_its_kind() {
    let mut pair = disputed(json!({"y": 1}), json!("text"));
    let id = id(&pair.a);
    pair.b.edit(|d| d.set("/x/new", 1)).unwrap();
    pair.sync();
    let stale = pair.a.edit(|d| d.resolve(id, Resolution::LastWriter)).unwrap_err();
    assert!(matches!(stale, EditError::Resolve(ResolveError::Stale(_))));
}

// ---- settling what is about whole nodes and edges ----

/// A node deleted by a while b wrote to it.
fn deleted() -> (Pair<Graph>, NodeId, EdgeId) {
    let (mut pair, ada, _, edge) = graph_pair();
    pair.a.edit(|g| g.remove_node(ada)).unwrap();
    pair.b.edit(|g| g.set(ada, "/name", "Ada")).unwrap();
    pair.sync();
    (pair, ada, edge)
}

#[test]
fn each_resolution_of_an_edit_and_a_deletion_does_what_it_says() {
    for (by_a, resolution, restores) in [
        (true, Resolution::Restore, true),
        (true, Resolution::Delete, false),
        (true, Resolution::LastWriter, false),
        (true, Resolution::PreferLocal, false),
        (true, Resolution::PreferRemote, true),
        (false, Resolution::PreferLocal, true),
        (false, Resolution::PreferRemote, false),
        (true, Resolution::MergeFields, true),
        (true, Resolution::Union, true),
    ] {
        let (mut pair, ada, _) = deleted();
        let id = only(pair.a.state().conflicts_of(ada)).id;
        let by = if by_a { &mut pair.a } else { &mut pair.b };
        assert!(by.edit(|g| g.resolve(id, resolution.clone())).unwrap().0);
        pair.sync();
        let graph = pair.a.state();
        assert_eq!(graph.contains_node(ada), restores, "{resolution:?}");
        assert_eq!((graph.hidden().count(), graph.conflicts_of(ada).count()), (0, 0));
        if restores {
            let node = graph.node(ada).unwrap();
            assert_eq!((node.get("/name"), node.get("/born")), (Some("Ada".into()), None));
        }
    }
    let (mut pair, ada, _) = deleted();
    let id = only(pair.a.state().conflicts_of(ada)).id;
    let error = pair.a.edit(|g| g.resolve(id, Resolution::Value(1.into()))).unwrap_err();
    assert!(matches!(error, EditError::Resolve(ResolveError::DoesNotFit { .. })));
}

#[test]
fn a_deleted_edge_asks_for_its_ends() {
    let (mut pair, ada, note, edge) = graph_pair();
    pair.a.edit(|g| g.unlink(edge)).unwrap();
    pair.b.edit(|g| g.set(edge, "/year", 1843)).unwrap();
    pair.sync();
    let id = only(pair.a.state().conflicts_of(edge)).id;
    let error = pair.a.edit(|g| g.resolve(id, Resolution::Restore)).unwrap_err();
    assert!(matches!(error, EditError::Resolve(ResolveError::NeedsEnds(e)) if e == edge));
    pair.a.edit(|g| g.restore_edge(ada, "wrote", note, 0)).unwrap();
    assert_eq!(pair.a.state().conflicts().count(), 0);
    assert_eq!(pair.a.state().edge(edge).unwrap().get("/year"), Some(1843.into()));
}

#[test]
fn a_dangling_edge_is_deleted_or_gets_its_ends_back() {
    for (resolution, edges, nodes) in [(Resolution::Delete, 0, 1), (Resolution::Restore, 1, 2)] {
        let (mut pair, ada, _, edge) = graph_pair();
        pair.a.edit(|g| g.remove_node(ada)).unwrap();
        let id = only(pair.a.state().conflicts_of(edge)).id;
        pair.a.edit(|g| g.resolve(id, resolution.clone())).unwrap();
        let graph = pair.a.state();
        assert_eq!((graph.edge_count(), graph.node_count(), graph.conflicts().count()), (edges, nodes, 0));
    }
    let (mut pair, ada, _, edge) = graph_pair();
    pair.a.edit(|g| g.remove_node(ada)).unwrap();
    let id = only(pair.a.state().conflicts_of(edge)).id;
    let error = pair.a.edit(|g| g.resolve(id, Resolution::LastWriter)).unwrap_err();
    assert!(matches!(error, EditError::Resolve(ResolveError::DoesNotFit { .. })), "{error}");
}

#[test]
fn a_conflict_within_what_is_deleted_waits_for_its_restoration() {
    let (mut pair, ada, _, _) = graph_pair();
    let mut c = pair.b.fork_with(TestEnvironment::new(3));
    pair.a.edit(|g| g.remove_node(ada)).unwrap();
    pair.b.edit(|g| g.set(ada, "/name", "Ada")).unwrap();
    c.edit(|g| g.set(ada, "/name", "Augusta")).unwrap();
    pair.b.merge(&cut(&c, &pair.b)).unwrap();
    pair.sync();
    let graph = pair.a.state();
    let hidden = graph.conflicts_at(ada, "/name").unwrap().next().unwrap();
    assert!(hidden.is_hidden);
    let (id, whole) = (hidden.id, graph.conflicts_of(ada).find(|c| c.kind == ConflictKind::EditDelete).unwrap().id);
    let error = pair.a.edit(|g| g.resolve(id, Resolution::LastWriter)).unwrap_err();
    assert!(matches!(error, EditError::Resolve(ResolveError::Hidden { path }) if path == "/name"));
    pair.a.edit(|g| g.resolve(whole, Resolution::Restore)).unwrap();
    assert_eq!(only(pair.a.state().conflicts_of(ada)).id, id, "the same conflict, and open now");
    pair.a.edit(|g| g.resolve(id, Resolution::LastWriter)).unwrap();
    assert_eq!(pair.a.state().conflicts_of(ada).count(), 0);
}

// ---- unattended ----

#[test]
fn a_policy_that_depends_on_who_settles_is_refused() {
    let mut pair = disputed(json!(1), json!(2));
    let dot = only(pair.a.state().conflicts()).candidates[0].dot;
    for resolution in [
        Resolution::PreferLocal,
        Resolution::PreferRemote,
        Resolution::Pick(dot),
        Resolution::Value(1.into()),
        Resolution::Json(json!(1)),
    ] {
        let refused = pair.a.edit(|d| d.settle(|_| resolution.clone())).unwrap_err();
        assert!(matches!(refused, EditError::Resolve(ResolveError::Asymmetric(_))), "{refused}");
    }
    // What shows already is not written again.
    let (settled, delta) = pair.a.edit(|d| d.settle(|_| Resolution::LastWriter)).unwrap();
    let listed = id(&pair.a);
    assert!(settled.written == 0 && delta.is_empty());
    assert_eq!((settled.shown, settled.open.len()), (vec![listed], 0));
    // What does not fit is told with its reason, and what is left to people without.
    let (settled, _) = pair.a.edit(|d| d.settle(|_| Resolution::Union)).unwrap();
    assert!(
        matches!(&settled.open[..], [(o, Some(EditError::Resolve(ResolveError::DoesNotFit { .. })))] if *o == listed)
    );
    let (settled, _) = pair.a.edit(|d| d.settle(|_| Resolution::Manual)).unwrap();
    assert!(matches!(&settled.open[..], [(o, None)] if *o == listed));
}

/// What anybody may do while policies run.
#[derive(Clone, Debug)]
enum Step {
    Set { by: usize, path: usize, value: u8 },
    Node { by: usize, delete: bool },
    Settle { by: usize },
    Sync { from: usize, to: usize },
    Prune { by: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3usize, 0..4usize, 0..6u8).prop_map(|(by, path, value)| Step::Set { by, path, value }),
        1 => (0..3usize, any::<bool>()).prop_map(|(by, delete)| Step::Node { by, delete }),
        2 => (0..3usize).prop_map(|by| Step::Settle { by }),
        4 => (0..3usize, 0..3usize).prop_map(|(from, to)| Step::Sync { from, to }),
        1 => (0..3usize).prop_map(|by| Step::Prune { by }),
    ];
    prop::collection::vec(step, 5..40)
}

fn settle(replica: &mut Replica<Graph>, policy: &Resolution<'static>) -> usize {
    let (settled, delta) = replica.edit(|g| g.settle(|_| policy.clone())).unwrap();
    assert_eq!(settled.written == 0, delta.is_empty());
    replica.state().check_invariants().unwrap();
    settled.written
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Replicas that settle by the same policy, each for itself and at any moment, come to rest; and what they list is the
    /// same wherever the live state is, whatever each has pruned.
    #[test]
    fn whoever_settles_unattended_comes_to_rest(steps in steps(), which in 0..5usize) {
        let policies = [
            Resolution::LastWriter,
            Resolution::Union,
            Resolution::MergeFields,
            Resolution::MergeText { base: "".into() },
            Resolution::Delete,
        ];
        let policy = &policies[which];
        let mut replicas: Vec<Replica<Graph>> = (0..3).map(|seed| Replica::with_environment(TestEnvironment::new(seed))).collect();
        let ada = NodeId::named("ada");
        let (_, first) = replicas[0].edit(|g| g.add_node("ada")).unwrap();
        replicas[1].merge(&first).unwrap();
        replicas[2].merge(&first).unwrap();
        for step in steps {
            match step {
                Step::Set { by, path, value } => {
                    let path = ["/tags", "/text", "/n", "/n/deep"][path];
                    let value = match path {
                        "/tags" => json!([value % 3, value]),
                        "/text" => json!("word ".repeat(value.into())),
                        _ => json!(value),
                    };
                    // Refused where the node is gone, or the kind is another.
                    let _ = replicas[by].edit(|g| g.update(ada, path, &value));
                }
                Step::Node { by, delete: true } => drop(replicas[by].edit(|g| g.remove_node(ada)).unwrap()),
                Step::Node { by, delete: false } => drop(replicas[by].edit(|g| g.restore_node(ada)).unwrap()),
                Step::Settle { by } => drop(settle(&mut replicas[by], policy)),
                Step::Sync { from, to } => {
                    let delta = cut(&replicas[from], &replicas[to]);
                    replicas[to].merge(&delta).unwrap();
                }
                Step::Prune { by } => drop(replicas[by].prune(Prune::All)),
            }
        }
        // Each round everybody settles at once, and then hears of all others.
        let mut rounds = 0;
        loop {
            let settled: usize = replicas.iter_mut().map(|replica| settle(replica, policy)).sum();
            for _ in 0..2 {
                for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
                    let delta = cut(&replicas[from], &replicas[to]);
                    replicas[to].merge(&delta).unwrap();
                }
            }
            let [a, b, c] = &replicas[..] else { unreachable!() };
            prop_assert!(a.state() == b.state() && b.state() == c.state());
            prop_assert!(a.state().conflicts().eq(b.state().conflicts()));
            prop_assert!(b.state().conflicts().eq(c.state().conflicts()));
            if settled == 0 {
                break;
            }
            rounds += 1;
            prop_assert!(rounds <= 3, "no rest after {rounds} rounds: {:?}", a.state().conflicts().collect::<Vec<_>>());
        }
    }
}
