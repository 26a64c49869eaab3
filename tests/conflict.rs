//! The one list of conflicts, and every way to settle them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::kernel::Payload;
use driftless::testing::TestEnvironment;
use driftless::{
    Candidate, Conflict, ConflictId, ConflictKind, Content, Crdt, CutError, Delta, Document, EdgeId, EditError, Graph,
    Kind, Model, NodeId, Prune, Replica, Resolution, ResolveError, Resolved, Value, Vector,
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
    assert_eq!(pair.a.edit(|d| d.resolve(id, resolution)).unwrap().0, Resolved::Settled);
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
    assert_eq!(conflict.winner().unwrap().writer(), pair.b.writer().unwrap());
    assert_eq!(conflict.candidates[1].stamp.millis(), 2_000_000);
    let text = conflict.to_string();
    let writer = &pair.b.writer().unwrap().to_string()[..8];
    assert_eq!(
        text,
        format!(
            "/x: \"theirs\" ({writer}, 1970-01-01T00:33:20.500Z, shows) | \"ours\" ({}, 1970-01-01T00:33:20.000Z)",
            &pair.a.writer().unwrap().to_string()[..8],
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
    let kind_of = |candidate: &Candidate<'_>| match &candidate.content {
        Content::Kind { kind, reads } => Some((*kind, reads.to_json())),
        _ => None,
    };
    let contents: Vec<_> = conflict.candidates.iter().filter_map(kind_of).collect();
    assert_eq!(contents, [(Kind::Map, json!({"y": 1, "z": 2})), (Kind::Register, json!("text"))]);
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
    // Nobody who wrote this one had seen its end.
    let (looped, _) = pair.a.edit(|g| g.link(ada, "likes", ada)).unwrap();
    assert_eq!(pair.a.state().unresolved().map(|e| e.id()).collect::<Vec<_>>(), [looped]);
    assert_eq!(pair.a.state().conflicts().count(), 1);
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
    settles_to(both(), Resolution::Confirm, json!("theirs"));
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
fn a_map_beside_a_register_is_not_buried_when_only_the_values_were_settled() {
    let mut pair = disputed(json!(1), json!(2));
    let mut c = pair.b.fork_with(TestEnvironment::new(3));
    let (_, map) = Replica::<Document>::with_environment(TestEnvironment::new(4))
        .edit(|d| d.update("/x", &json!({"y": "precious", "z": 1})))
        .unwrap();
    pair.a.merge(&map).unwrap();
    c.merge(&map).unwrap();
    let id = pair.a.state().conflicts().find(|c| c.kind == ConflictKind::ConcurrentEdit).unwrap().id;
    // The map grows after the values were listed: they are the same still.
    let (_, late) = c.edit(|d| d.set("/x/late", "unseen")).unwrap();
    pair.a.merge(&late).unwrap();
    pair.a.edit(|d| d.resolve(id, Resolution::Json(json!({"z": 3})))).unwrap();
    assert_eq!(pair.a.state().to_json(), json!({"x": {"y": "precious", "z": 3, "late": "unseen"}}));
    assert_eq!(pair.a.state().conflicts().count(), 0);
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
    let (resolved, delta) = pair.a.edit(|d| d.resolve(id, Resolution::Manual)).unwrap();
    assert!(resolved == Resolved::Open && delta.is_empty());
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
    let foreign = pair.a.edit(|d| d.set("/other", 1)).map(|_| pair.a.version().get(pair.a.writer().unwrap())).unwrap();
    let dot = driftless::Dot { writer: pair.a.writer().unwrap(), counter: foreign };
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
    settles_to(both(), Resolution::Confirm, json!({"y": 1}));
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
fn of_kinds_the_local_one_is_told_by_all_of_its_writes_and_not_by_the_latest_alone() {
    // The map is a's own, though somebody else wrote to it later; and c's register is the latest of all.
    for (resolution, expected) in [
        (Resolution::PreferLocal, json!({"mine": "a's own", "other": 1})),
        (Resolution::PreferRemote, json!("c's")),
        (Resolution::LastWriter, json!("c's")),
    ] {
        let mut pair = Pair::<Document>::new();
        pair.b_is_later();
        let environment = TestEnvironment::new(3);
        environment.clock().store(2_001_000, Ordering::Relaxed);
        let mut c = Replica::<Document>::with_environment(environment);
        pair.a.edit(|d| d.set("/x/mine", "a's own")).unwrap();
        pair.b.edit(|d| d.set("/x/other", 1)).unwrap();
        let (_, latest) = c.edit(|d| d.set("/x", "c's")).unwrap();
        pair.sync();
        pair.a.merge(&latest).unwrap();
        let id = id(&pair.a);
        pair.a.edit(|d| d.resolve(id, resolution)).unwrap();
        assert_eq!(pair.a.state().json("/x"), Some(expected));
        assert_eq!(pair.a.state().conflicts().count(), 0);
    }
}

/// Two arrays and a map at one path, of which one or the other was written last; and a policy that would merge the arrays.
fn arrays_and_a_map(map_is_last: bool) -> Replica<Document> {
    let mut pair = disputed(json!([1]), json!([2]));
    let environment = TestEnvironment::new(3);
    environment.clock().store(if map_is_last { 2_001_000 } else { 1_000 }, Ordering::Relaxed);
    let (_, map) = Replica::<Document>::with_environment(environment).edit(|d| d.set("/x/y", "of the map")).unwrap();
    pair.a.merge(&map).unwrap();
    pair.clocks[0].store(3_000_000, Ordering::Relaxed);
    pair.a
}

fn last_kind_and_all_elements(conflict: &Conflict<'_>) -> Resolution<'static> {
    if conflict.kind == ConflictKind::ConcurrentEdit { Resolution::Union } else { Resolution::LastWriter }
}

#[test]
fn settling_values_does_not_make_itself_the_last_writer_of_the_kinds_there() {
    let mut a = arrays_and_a_map(true);
    for _ in 0..3 {
        let (settled, delta) = a.edit(|d| d.settle(last_kind_and_all_elements)).unwrap();
        assert!(settled.written == 0 && delta.is_empty());
        assert_eq!(settled.shown.len(), 1, "the map shows");
        let [(_, Some(reason))] = &settled.open[..] else { panic!("{settled:?}") };
        assert!(reason.to_string().contains("several kinds are there; they come first"), "{reason}");
    }
    assert_eq!(a.state().to_json(), json!({"x": {"y": "of the map"}}));
    // Once the kinds are settled the values are.
    let mut a = arrays_and_a_map(false);
    let written: Vec<_> = (0..3).map(|_| a.edit(|d| d.settle(last_kind_and_all_elements)).unwrap().0.written).collect();
    assert_eq!(written, [1, 1, 0]);
    assert_eq!(a.state().to_json(), json!({"x": [2, 1]}));
    assert_eq!(a.state().conflicts().count(), 0);
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

/// What lies below the map keeps its kind, and a counter there is brought to its number.
#[test]
fn a_map_that_settles_kinds_brings_its_counters_and_sets_to_what_it_says() {
    let mut pair = Pair::<Document>::new();
    pair.a
        .edit(|d| {
            d.add("/x/n", 5)?;
            d.insert("/x/s", "a")?;
            d.raise("/x/max", 9)
        })
        .unwrap();
    pair.b.edit(|d| d.set("/x", "text")).unwrap();
    pair.sync();
    let (settled, id) = (json!({"n": 7, "s": ["a", "b"], "max": 3}), id(&pair.a));
    pair.a.edit(|d| d.resolve(id, Resolution::Json(settled.clone()))).unwrap();
    assert_eq!(pair.a.state().json("/x"), Some(settled));
    assert_eq!((pair.a.state().kind("/x/n"), pair.a.state().counter("/x/n")), (Some(Kind::Counter), Some(7)));
    pair.sync();
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
        (true, Resolution::Confirm, false),
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
        let expected = if restores { Resolved::Survivors } else { Resolved::Settled };
        assert_eq!(by.edit(|g| g.resolve(id, resolution.clone())).unwrap().0, expected);
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
    for (resolution, edges, nodes) in
        [(Resolution::Delete, 0, 1), (Resolution::Confirm, 0, 1), (Resolution::Restore, 1, 2)]
    {
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

// ---- vectors ----

fn tiny() -> Model {
    Model::new("tiny", 2).unwrap()
}

/// A node that both embedded by one model at the same time, b later.
fn embedded(a: Vector, b: Vector) -> (Pair<Graph>, NodeId) {
    let (mut pair, ada, _, _) = graph_pair();
    pair.a.edit(|g| g.embed(ada, &tiny(), &a)).unwrap();
    pair.b.edit(|g| g.embed(ada, &tiny(), &b)).unwrap();
    pair.sync();
    (pair, ada)
}

fn near() -> Vector {
    Vector::f32(&[1.0, 0.1]).unwrap()
}

fn far() -> Vector {
    Vector::i8(&[-1.0, 0.5]).unwrap()
}

/// The bytes of all vectors that are there.
fn vectors(graph: &Graph) -> Vec<Payload> {
    let cells = graph.state().live_siblings().filter(|(_, field, _)| field.as_bytes().first() == Some(&3));
    cells.map(|(_, _, sibling)| sibling.payload.unwrap().to_payload()).collect()
}

#[test]
fn vectors_are_in_conflict_unless_they_were_made_from_one_text() {
    for (a, b, listed) in [
        (near().of_text("dog"), far().of_text("a dog"), true),
        (near(), far(), true),
        (near().of_text("dog"), far(), true),
        (near(), far().of_text("dog"), true),
        (near().of_text("dog"), far().of_text("dog"), false),
        (near().of_text("dog"), near().of_text("dog"), false),
    ] {
        let (pair, ada) = embedded(a, b);
        let graph = pair.a.state();
        assert_eq!(graph.conflicts().count(), usize::from(listed));
        assert!(graph.conflicts().eq(graph.conflicts_of(ada)) && graph.conflicts().eq(pair.b.state().conflicts()));
        assert_eq!(graph.conflicts_at(ada, "").unwrap().count(), 0, "no property");
        let Some(conflict) = graph.conflicts().next() else { continue };
        assert_eq!((&conflict.kind, conflict.of), (&ConflictKind::Embedding { model: tiny() }, Some(ada.into())));
        assert!(conflict.path.segments().len() == 0 && !conflict.is_hidden);
        let found: Vec<_> = conflict
            .candidates
            .iter()
            .map(|c| if let Content::Embedding(vector) = &c.content { vector.to_vec() } else { panic!("{conflict}") })
            .collect();
        assert_eq!(found, [far().to_vec(), near().to_vec()], "the later first");
        assert_eq!(conflict.winner().unwrap().writer(), pair.b.writer().unwrap());
        assert_eq!(graph.node(ada).unwrap().embedding(&tiny()).unwrap().to_vec(), far().to_vec());
    }
    // Of two models each has its own.
    let (mut pair, ada, _, _) = graph_pair();
    pair.a.edit(|g| g.embed(ada, &tiny(), &near())).unwrap();
    pair.b.edit(|g| g.embed(ada, &Model::new("other", 2).unwrap(), &far())).unwrap();
    pair.sync();
    assert_eq!(pair.a.state().conflicts().count(), 0);
}

#[test]
fn of_vectors_one_is_chosen_and_written_byte_for_byte() {
    let both = || embedded(near().of_text("dog"), far().of_text("a dog")).0;
    let [ours, theirs] = [near().of_text("dog"), far().of_text("a dog")].map(|vector| {
        let (mut pair, ada, _, _) = graph_pair();
        pair.a.edit(|g| g.embed(ada, &tiny(), &vector)).unwrap();
        vectors(pair.a.state()).pop().unwrap()
    });
    let pair = both();
    let conflict = only(pair.a.state().conflicts());
    let [pick_theirs, pick_ours] = [0, 1].map(|n| Resolution::Pick(conflict.candidates[n].dot));
    for (resolution, expected) in [
        (pick_ours, &ours),
        (pick_theirs, &theirs),
        (Resolution::LastWriter, &theirs),
        (Resolution::Confirm, &theirs),
        (Resolution::PreferLocal, &ours),
        (Resolution::PreferRemote, &theirs),
    ] {
        let mut pair = both();
        let id = only(pair.a.state().conflicts()).id;
        let (resolved, delta) = pair.a.edit(|g| g.resolve(id, resolution.clone())).unwrap();
        assert!(resolved == Resolved::Settled && delta.len() == 1, "{resolution:?}");
        pair.sync();
        for graph in [pair.a.state(), pair.b.state()] {
            assert_eq!(vectors(graph), std::slice::from_ref(expected), "{resolution:?}");
            assert_eq!(graph.conflicts().count(), 0);
            graph.check_invariants().unwrap();
        }
    }
}

#[test]
fn vectors_cannot_be_merged_and_settling_by_the_last_writer_writes_none() {
    let (mut pair, _) = embedded(near(), far());
    let id = only(pair.a.state().conflicts()).id;
    let before = pair.a.fingerprint();
    for resolution in [
        Resolution::Union,
        Resolution::MergeFields,
        Resolution::MergeText { base: "".into() },
        Resolution::Value(1.into()),
        Resolution::Json(json!([1.0, 0.1])),
        Resolution::Restore,
        Resolution::Delete,
    ] {
        let error = pair.a.edit(|g| g.resolve(id, resolution.clone())).unwrap_err();
        assert!(matches!(error, EditError::Resolve(ResolveError::DoesNotFit { .. })), "{error}");
        assert_eq!(pair.a.fingerprint(), before);
    }
    assert_eq!(pair.a.edit(|g| g.resolve(id, Resolution::Manual)).unwrap().0, Resolved::Open);
    let (settled, delta) = pair.a.edit(|g| g.settle(|_| Resolution::LastWriter)).unwrap();
    assert!(settled.written == 0 && delta.is_empty());
    assert_eq!((settled.shown, settled.open.len()), (vec![id], 0));
    assert_eq!(vectors(pair.a.state()).len(), 2);
    // Whoever embeds it again has seen both.
    let ada = NodeId::named("ada");
    pair.a.edit(|g| g.embed(ada, &tiny(), &near())).unwrap();
    assert_eq!(pair.a.state().conflicts().count(), 0);
}

#[test]
fn vectors_of_what_is_deleted_wait_for_its_restoration() {
    let (mut pair, ada, _, _) = graph_pair();
    let mut c = pair.b.fork_with(TestEnvironment::new(3));
    pair.a.edit(|g| g.remove_node(ada)).unwrap();
    pair.b.edit(|g| g.embed(ada, &tiny(), &near())).unwrap();
    c.edit(|g| g.embed(ada, &tiny(), &far())).unwrap();
    pair.b.merge(&cut(&c, &pair.b)).unwrap();
    pair.sync();
    let graph = pair.a.state();
    let is_vector = |conflict: &Conflict<'_>| matches!(conflict.kind, ConflictKind::Embedding { .. });
    let hidden = graph.conflicts_of(ada).find(is_vector).unwrap();
    assert!(hidden.is_hidden);
    let (id, whole) = (hidden.id, graph.conflicts_of(ada).find(|c| c.kind == ConflictKind::EditDelete).unwrap());
    let contents: Vec<_> = whole.candidates.iter().map(|c| c.content.to_string()).collect();
    assert_eq!(contents.len(), 2, "the vectors are what was written: {contents:?}");
    let whole = whole.id;
    let error = pair.a.edit(|g| g.resolve(id, Resolution::LastWriter)).unwrap_err();
    assert!(matches!(error, EditError::Resolve(ResolveError::Hidden { .. })), "{error}");
    let (settled, _) =
        pair.a.edit(|g| g.settle(|c| if is_vector(c) { Resolution::LastWriter } else { Resolution::Manual })).unwrap();
    assert!(settled.written == 0 && settled.shown.is_empty());
    pair.a.edit(|g| g.resolve(whole, Resolution::Restore)).unwrap();
    let open = pair.a.state().conflicts_of(ada).find(is_vector).unwrap();
    assert!(open.id == id && !open.is_hidden);
    pair.a.edit(|g| g.resolve(id, Resolution::LastWriter)).unwrap();
    assert_eq!((pair.a.state().conflicts_of(ada).count(), vectors(pair.a.state()).len()), (0, 1));
}

// ---- for people ----

/// A candidate of a or b as it is told, when each wrote at its own time.
fn told<T: Crdt>(content: &str, by: &Replica<T>, millis: u64, shows: bool) -> String {
    let shows = if shows { ", shows" } else { "" };
    format!("{content} ({}, 1970-01-01T00:33:20.{millis:03}Z{shows})", &by.writer().unwrap().to_string()[..8])
}

#[test]
fn every_conflict_says_what_it_is_about_in_the_same_words() {
    // Of a document: at its root, at a path; values and kinds.
    for (path, about) in [("", "the document"), ("/a~1b/~0", "/a~1b/~0")] {
        let mut pair = Pair::<Document>::new();
        pair.b_is_later();
        pair.a.edit(|d| d.set(path, 1)).unwrap();
        pair.b.edit(|d| d.set(path, "zwei")).unwrap();
        pair.sync();
        let (one, two) = (told("1", &pair.a, 0, false), told("\"zwei\"", &pair.b, 500, true));
        assert_eq!(only(pair.a.state().conflicts()).to_string(), format!("{about}: {two} | {one}"));

        let mut pair = Pair::<Document>::new();
        pair.b_is_later();
        pair.a.edit(|d| d.update(path, &json!({"y": [1]}))).unwrap();
        pair.b.edit(|d| d.set(path, 2)).unwrap();
        pair.sync();
        let (map, register) = (told("map {\"y\":[1]}", &pair.a, 0, true), told("register 2", &pair.b, 500, false));
        let text = only(pair.a.state().conflicts()).to_string();
        assert_eq!(text, format!("{about}, of several kinds: {map} | {register}"));
    }
    // Of nodes that have a name and that have none.
    let anonymous = NodeId::named("nobody's");
    for (node, about) in [(NodeId::named("ada"), "ada".to_owned()), (anonymous, format!("node {anonymous}"))] {
        for (path, about) in [("", about.clone()), ("/born", format!("/born of {about}"))] {
            let mut pair = Pair::<Graph>::new();
            pair.a.edit(|g| Ok((g.add_node("ada")?, g.add_node(anonymous)?))).unwrap();
            pair.sync();
            pair.b_is_later();
            pair.a.edit(|g| g.set(node, path, 1)).unwrap();
            pair.b.edit(|g| g.set(node, path, 2)).unwrap();
            pair.sync();
            let (one, two) = (told("1", &pair.a, 0, false), told("2", &pair.b, 500, true));
            assert_eq!(only(pair.a.state().conflicts()).to_string(), format!("{about}: {two} | {one}"));
        }
    }
    let (pair, _) = embedded(near(), far());
    let (ours, theirs) = ("Embedding(tiny: 2 × f32)", "Embedding(tiny: 2 × i8)");
    let (one, two) = (told(ours, &pair.a, 0, false), told(theirs, &pair.b, 500, true));
    assert_eq!(only(pair.a.state().conflicts()).to_string(), format!("the vector of ada by tiny: {two} | {one}"));
}

#[test]
fn a_conflict_about_a_whole_node_or_edge_says_so_and_that_nothing_shows() {
    let (mut pair, ada, note, edge) = graph_pair();
    pair.clocks[0].store(2_000_000, Ordering::Relaxed);
    let (likes, _) = pair.a.edit(|g| g.link(ada, "likes", note)).unwrap();
    pair.a.edit(|g| Ok((g.remove_node(ada)?, g.unlink(edge)?))).unwrap();
    pair.b.edit(|g| Ok((g.set(ada, "/name", "Ada")?, g.set(edge, "/year", 1843)?))).unwrap();
    pair.sync();
    let text = |of: driftless::Owner| only(pair.a.state().conflicts_of(of)).to_string();
    let name = told("/name = \"Ada\"", &pair.b, 500, false);
    assert_eq!(text(ada.into()), format!("node {ada}, deleted while it was written to: {name}"));
    let year = told("/year = 1843", &pair.b, 500, false);
    assert_eq!(text(edge.into()), format!("edge {edge}, deleted while it was written to: {year}"));
    let ends = told(&format!("{ada} --likes--> {note}"), &pair.a, 0, false);
    assert_eq!(text(likes.into()), format!("edge {likes}, which lacks an end: {ends}"));
}

// ---- unattended ----

#[test]
fn a_policy_that_depends_on_who_settles_is_refused() {
    let mut pair = disputed(json!(1), json!(2));
    let dot = only(pair.a.state().conflicts()).candidates[0].dot;
    for resolution in [
        Resolution::PreferLocal,
        Resolution::PreferRemote,
        Resolution::RestoreFrom(&Graph::default()),
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
    fn whoever_settles_unattended_comes_to_rest(steps in steps(), which in 0..6usize) {
        let policies = [
            Resolution::Confirm,
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
