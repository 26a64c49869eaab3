//! Faults that use of the crate has shown, each as a test of what is right: clocks, restoring, conflicts, errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::clock::MAX_DRIFT_MILLIS;
use driftless::testing::TestEnvironment;
use driftless::{
    ConflictId, ConflictKind, Content, Crdt, Document, EdgeId, EditError, FindConflictError, Graph, GraphChange, Kind,
    Model, NodeId, Owner, Path, Prune, Replica, Resolution, ResolveError, Resolved, Restored, Stamp, State, Value,
    Vector,
};
use serde_json::json;

const YEAR: u64 = 365 * 24 * 3_600_000;

fn graph(seed: u64) -> (Replica<Graph>, Arc<AtomicU64>) {
    let environment = TestEnvironment::new(seed);
    let clock = environment.clock();
    (Replica::with_environment(environment), clock)
}

fn sync<T: Crdt + PartialEq + std::fmt::Debug>(a: &mut Replica<T>, b: &mut Replica<T>) {
    let (for_a, for_b) = (b.delta_since(a.version()).unwrap(), a.delta_since(b.version()).unwrap());
    a.merge(&for_a).unwrap();
    b.merge(&for_b).unwrap();
    assert_eq!(a.state(), b.state());
}

/// Two replicas that share a node; the second is the later one.
fn pair() -> (Replica<Graph>, Replica<Graph>, NodeId) {
    let (mut a, _) = graph(1);
    let (mut b, clock) = graph(2);
    clock.fetch_add(500, Ordering::Relaxed);
    a.edit(|g| {
        g.add_node("ada")?;
        g.add_node("note")?;
        g.label(NodeId::named("ada"), "Person")?;
        g.set(NodeId::named("ada"), "/born", 1815)
    })
    .unwrap();
    sync(&mut a, &mut b);
    (a, b, NodeId::named("ada"))
}

fn stamp(replica: &Replica<Graph>, path: &str) -> Stamp {
    let node = replica.state().node(NodeId::named("ada")).unwrap();
    node.properties().get_all(path).next().unwrap().1.stamp
}

// ---- clocks ----

#[test]
fn a_device_whose_clock_ran_a_year_ahead_stamps_the_present_once_it_is_put_right() {
    let (mut a, clock) = graph(1);
    let now = clock.load(Ordering::Relaxed);
    let ada = NodeId::named("ada");
    clock.store(now + YEAR, Ordering::Relaxed);
    a.edit(|g| {
        g.add_node("ada")?;
        g.set(ada, "/x", 1)
    })
    .unwrap();
    let bytes = a.save();
    // Itself, a fork, and a restart, each put right, whether before or after it came to be.
    clock.store(now, Ordering::Relaxed);
    let late = TestEnvironment::new(5);
    let late_clock = late.clock();
    late_clock.store(now + YEAR, Ordering::Relaxed);
    let opened_early = Replica::<Graph>::load_with(late, &bytes).unwrap();
    late_clock.store(now, Ordering::Relaxed);
    let opened = Replica::<Graph>::load_with(TestEnvironment::new(4), &bytes).unwrap();
    let forked = a.fork_with(TestEnvironment::new(3));
    for (what, mut replica) in [("itself", a), ("a fork", forked), ("opened", opened), ("opened early", opened_early)] {
        replica.edit(|g| g.set(ada, "/y", 1)).unwrap();
        assert_eq!(stamp(&replica, "/y").millis(), now, "{what}");
        let first = stamp(&replica, "/y");
        replica.edit(|g| g.set(ada, "/y", 2)).unwrap();
        assert!(stamp(&replica, "/y") > first, "{what}");
    }
}

#[test]
fn within_normal_drift_the_stamps_of_a_replica_only_grow() {
    let (mut a, clock) = graph(1);
    let now = clock.load(Ordering::Relaxed);
    let ada = NodeId::named("ada");
    a.edit(|g| g.add_node("ada")).unwrap();
    let mut last = Stamp::default();
    for millis in [now + MAX_DRIFT_MILLIS, now, now + 7, now + MAX_DRIFT_MILLIS, now + 1] {
        clock.store(millis, Ordering::Relaxed);
        a.edit(|g| g.set(ada, "/x", millis)).unwrap();
        assert!(stamp(&a, "/x") > last);
        last = stamp(&a, "/x");
    }
}

#[test]
fn a_stamp_far_ahead_is_told_once_however_often_its_write_comes() {
    let (mut ahead, clock) = graph(1);
    let (mut here, _) = graph(2);
    let ada = NodeId::named("ada");
    let (_, first) = ahead.edit(|g| g.add_node("ada")).unwrap();
    clock.fetch_add(YEAR, Ordering::Relaxed);
    let (_, delta) = ahead.edit(|g| g.set(ada, "/x", 1)).unwrap();
    here.merge(&first).unwrap();
    assert_eq!(here.merge(&delta).unwrap().ahead().len(), 1);
    assert_eq!(here.merge(&delta).unwrap().ahead(), []);
    assert_eq!(here.merge(&ahead.complete()).unwrap().ahead(), []);
    // A complete delta with news tells the news alone.
    ahead.edit(|g| g.set(ada, "/y", 1)).unwrap();
    let report = here.merge(&ahead.complete()).unwrap();
    assert_eq!(report.ahead().iter().map(|(dot, _)| dot.counter).collect::<Vec<_>>(), [3]);
}

// ---- names, and what comes back ----

#[test]
fn a_node_that_lacks_its_name_gets_it_when_it_is_added_by_name() {
    let (mut a, mut b, _) = pair();
    let eve = NodeId::named("eve");
    a.edit(|g| g.add_node(eve)).unwrap();
    sync(&mut a, &mut b);
    assert_eq!(a.state().node(eve).unwrap().name(), None);
    let (_, delta) = a.edit(|g| g.set(eve, "/x", 1).and_then(|()| g.add_node("eve").map(drop))).unwrap();
    assert_eq!(delta.len(), 2);
    b.edit(|g| g.add_node("eve")).unwrap();
    sync(&mut a, &mut b);
    let node = a.state().node(eve).unwrap();
    assert_eq!((node.name(), node.get("/x")), (Some("eve"), Some(1.into())));
    assert_eq!(a.state().conflicts().count(), 0);
    // Once it has it, nothing is written; nor for one that is added by id.
    assert!(a.edit(|g| Ok((g.add_node("eve")?, g.add_node(eve)?))).unwrap().1.is_empty());
    assert_eq!(a.edit(|g| g.restore_node("eve")).unwrap().0, Restored::WasThere);
}

/// A node deleted by the first while the second wrote to it; and what the second held before it heard of that.
fn deleted() -> (Replica<Graph>, Replica<Graph>, Graph, NodeId, ConflictId) {
    let (mut a, mut b, ada) = pair();
    a.edit(|g| g.remove_node(ada)).unwrap();
    b.edit(|g| g.set(ada, "/name", "Ada")).unwrap();
    let before = b.snapshot();
    sync(&mut a, &mut b);
    let id = b.state().conflicts_of(ada).next().unwrap().id;
    (a, b, before, ada, id)
}

#[test]
fn a_resolution_with_a_snapshot_brings_back_the_whole_node_with_its_name() {
    let (mut a, mut b, before, ada, id) = deleted();
    let (resolved, _) = b.edit(|g| g.resolve(id, Resolution::RestoreFrom(&before))).unwrap();
    assert_eq!(resolved, Resolved::Settled);
    sync(&mut a, &mut b);
    let node = a.state().node(ada).unwrap();
    assert_eq!((node.name(), node.has_label("Person")), (Some("ada"), true));
    assert_eq!((node.get("/born"), node.get("/name")), (Some(1815.into()), Some("Ada".into())));
    assert_eq!(a.state().conflicts().count(), 0);
}

#[test]
fn a_stub_is_never_the_silent_result() {
    let (_, mut b, before, ada, id) = deleted();
    // Without a snapshot the result says that only survivors are back.
    let mut other = b.fork_with(TestEnvironment::new(7));
    assert_eq!(b.edit(|g| g.resolve(id, Resolution::Restore)).unwrap().0, Resolved::Survivors);
    let node = b.state().node(ada).unwrap();
    assert_eq!((node.name(), node.get("/born"), node.get("/name")), (None, None, Some("Ada".into())));
    b.edit(|g| g.add_node("ada")).unwrap();
    assert_eq!(b.state().node(ada).unwrap().name(), Some("ada"));
    // Unattended too.
    let (settled, _) = other.edit(|g| g.settle(|_| Resolution::Restore)).unwrap();
    assert_eq!((settled.written, settled.survivors), (1, vec![id]));
    // A snapshot that does not hold the node is refused, and nothing has changed.
    let (_, mut c, _, _, id) = deleted();
    let version = c.version().clone();
    let refused = c.edit(|g| g.resolve(id, Resolution::RestoreFrom(&Graph::default()))).unwrap_err();
    assert!(matches!(refused, EditError::NodeNotInSnapshot(node) if node == ada), "{refused}");
    assert_eq!(c.version(), &version);
    assert!(before.contains_node(ada));
}

#[test]
fn a_deleted_edge_and_the_ends_of_a_dangling_one_come_back_whole_from_a_snapshot() {
    let (mut a, mut b, ada) = pair();
    let (edge, _) = a.edit(|g| g.link(ada, "wrote", NodeId::named("note"))).unwrap();
    a.edit(|g| g.set(edge, "/year", 1843)).unwrap();
    sync(&mut a, &mut b);
    a.edit(|g| g.unlink(edge)).unwrap();
    b.edit(|g| g.set(edge, "/page", 1)).unwrap();
    let before = b.snapshot();
    sync(&mut a, &mut b);
    let id = a.state().conflicts_of(edge).next().unwrap().id;
    let refused = a.edit(|g| g.resolve(id, Resolution::Restore)).unwrap_err();
    assert!(matches!(refused, EditError::Resolve(ResolveError::NeedsEnds(e)) if e == edge));
    assert_eq!(a.edit(|g| g.resolve(id, Resolution::RestoreFrom(&before))).unwrap().0, Resolved::Settled);
    let back = a.state().edge(edge).unwrap();
    assert_eq!((back.get("/year"), back.get("/page")), (Some(1843.into()), Some(1.into())));

    a.edit(|g| g.remove_node(ada)).unwrap();
    let id = a.state().conflicts_of(edge).next().unwrap().id;
    assert_eq!(a.edit(|g| g.resolve(id, Resolution::RestoreFrom(&before))).unwrap().0, Resolved::Settled);
    let node = a.state().node(ada).unwrap();
    assert_eq!((node.name(), node.get("/born")), (Some("ada"), Some(1815.into())));
    assert_eq!(a.state().conflicts().count(), 0);
    assert_eq!(a.edit(|g| g.restore_edge(ada, "wrote", NodeId::named("note"), 0)).unwrap().0, Restored::WasThere);
}

// ---- unresolved edges ----

#[test]
fn an_import_whose_targets_come_later_opens_no_conflict() {
    let (mut a, _) = graph(1);
    let (mut b, _) = graph(2);
    a.edit(|g| {
        g.add_node("page")?;
        for n in 0..300 {
            g.link(NodeId::named("page"), "links to", NodeId::named(&format!("target {n}")))?;
        }
        Ok(())
    })
    .unwrap();
    b.merge(&a.complete()).unwrap();
    for replica in [&a, &b] {
        let graph = replica.state();
        assert_eq!((graph.conflicts().count(), graph.unresolved().count(), graph.dangling().count()), (0, 300, 300));
        let edge = graph.unresolved().next().unwrap().id();
        assert_eq!(graph.conflicts_of(edge).count(), 0);
    }
    b.edit(|g| (0..300).try_for_each(|n| g.add_node(&format!("target {n}")).map(drop))).unwrap();
    sync(&mut a, &mut b);
    assert_eq!((a.state().unresolved().count(), a.state().edges().count()), (0, 300));
}

#[test]
fn an_edge_whose_end_was_deleted_is_a_conflict_whatever_was_pruned() {
    let (mut a, mut b, ada) = pair();
    let note = NodeId::named("note");
    a.edit(|g| g.remove_node_with_edges(ada)).unwrap();
    let (edge, _) = b.edit(|g| g.link(note, "about", ada)).unwrap();
    let (open, _) = b.edit(|g| g.link(note, "about", NodeId::named("nobody"))).unwrap();
    sync(&mut a, &mut b);
    a.prune(Prune::All);
    for replica in [&a, &b] {
        let graph = replica.state();
        let kinds: Vec<_> = graph.conflicts().map(|c| (c.kind, c.of)).collect();
        assert_eq!(kinds, [(ConflictKind::Dangling { missing: vec![ada] }, Some(edge.into()))]);
        assert_eq!(graph.unresolved().map(|edge| edge.id()).collect::<Vec<EdgeId>>(), [open]);
    }
    assert!(a.state().conflicts().eq(b.state().conflicts()));
}

#[test]
fn of_two_missing_ends_the_deleted_one_alone_is_in_the_conflict() {
    let (mut a, _, ada) = pair();
    let never = NodeId::named("never");
    let (edge, _) = a.edit(|g| g.link(ada, "knows", never)).unwrap();
    a.edit(|g| g.remove_node(ada)).unwrap();
    let conflict = a.state().conflicts_of(edge).next().unwrap();
    assert_eq!(conflict.kind, ConflictKind::Dangling { missing: vec![ada] });
    // Restoring what was deleted does not make up what never was.
    let id = conflict.id;
    a.edit(|g| g.resolve(id, Resolution::Restore)).unwrap();
    assert!(a.state().contains_node(ada) && !a.state().contains_node(never));
    assert_eq!((a.state().conflicts().count(), a.state().unresolved().count()), (0, 1));
}

#[test]
fn an_edge_that_one_writer_saw_whole_and_another_open_is_not_unresolved_once_its_end_is_deleted() {
    let (mut a, mut b, ada) = pair();
    let eve = NodeId::named("eve");
    a.edit(|g| g.add_node("eve").and_then(|_| g.link(ada, "knows", eve))).unwrap();
    let (edge, _) = b.edit(|g| g.link(ada, "knows", eve)).unwrap();
    assert_eq!(b.state().unresolved().count(), 1);
    sync(&mut a, &mut b);
    assert_eq!((b.state().unresolved().count(), b.state().edges().count()), (0, 1));
    b.edit(|g| g.remove_node(eve)).unwrap();
    assert_eq!((b.state().unresolved().count(), b.state().conflicts_of(edge).count()), (0, 1));
    // It is one edge, linked again without a write.
    b.edit(|g| g.restore_node("eve")).unwrap();
    assert!(b.edit(|g| g.link(ada, "knows", eve)).unwrap().1.is_empty());
    b.state().check_invariants().unwrap();
}

// ---- texts and their vectors ----

fn tiny() -> Model {
    Model::new("tiny", 2).unwrap()
}

/// Both set a text of their own and embed it; the second later.
fn embedded_texts() -> (Replica<Graph>, Replica<Graph>, NodeId) {
    let (mut a, mut b, ada) = pair();
    for (replica, text, numbers) in [(&mut a, "ours", [1.0, 0.0]), (&mut b, "theirs", [0.0, 1.0])] {
        let vector = Vector::f32(&numbers).unwrap().of_text(text);
        replica
            .edit(|g| {
                g.set(ada, "/bio", text)?;
                g.embed(ada, &tiny(), &vector)
            })
            .unwrap();
    }
    sync(&mut a, &mut b);
    assert_eq!(a.state().conflicts().count(), 2);
    (a, b, ada)
}

#[test]
fn a_text_and_its_vector_that_were_edited_together_are_settled_together() {
    for (text, expected) in [("ours", [1.0, 0.0]), ("theirs", [0.0, 1.0])] {
        let (mut a, mut b, ada) = embedded_texts();
        let conflict = a.state().conflicts_at(ada, "/bio").unwrap().next().unwrap();
        let picked = conflict.candidates.iter().find(|c| c.value() == Some(text.into())).unwrap().dot;
        let id = conflict.id;
        a.edit(|g| g.resolve(id, Resolution::Pick(picked))).unwrap();
        sync(&mut a, &mut b);
        assert_eq!(b.state().conflicts().count(), 0, "{text}");
        let shown = b.state().node(ada).unwrap().embedding(&tiny()).unwrap();
        assert_eq!((shown.to_vec(), shown.is_stale(text)), (expected.to_vec(), Some(false)));
    }
}

#[test]
fn a_text_that_is_none_of_the_embedded_ones_leaves_the_vectors_open() {
    let (mut a, _, ada) = embedded_texts();
    let id = a.state().conflicts_at(ada, "/bio").unwrap().next().unwrap().id;
    a.edit(|g| g.resolve(id, Resolution::Value("of both".into()))).unwrap();
    let open: Vec<_> = a.state().conflicts().map(|conflict| conflict.kind).collect();
    assert_eq!(open, [ConflictKind::Embedding { model: tiny() }]);
    // Vectors of other texts are not the text's to settle.
    let (mut a, mut b, ada) = embedded_texts();
    let other = Vector::f32(&[0.5, 0.5]).unwrap().of_text("of a third text");
    b.edit(|g| g.embed(ada, &tiny(), &other)).unwrap();
    a.edit(|g| g.embed(ada, &tiny(), &Vector::f32(&[1.0, 0.0])?.of_text("ours"))).unwrap();
    sync(&mut a, &mut b);
    let id = a.state().conflicts_at(ada, "/bio").unwrap().next().unwrap().id;
    a.edit(|g| g.resolve(id, Resolution::Value("ours".into()))).unwrap();
    assert_eq!(a.state().conflicts_of(ada).count(), 1);
}

#[test]
fn a_policy_settles_a_text_with_its_vector_and_does_not_report_the_vector_as_open() {
    let (mut a, _, _) = embedded_texts();
    let policy = |conflict: &driftless::Conflict<'_>| match conflict.kind {
        ConflictKind::ConcurrentEdit => Resolution::Confirm,
        _ => Resolution::Manual,
    };
    let (settled, _) = a.edit(|g| g.settle(policy)).unwrap();
    assert_eq!((settled.written, settled.open.len(), settled.shown.len()), (2, 0, 0));
    assert_eq!(a.state().conflicts().count(), 0);
}

// ---- policies ----

#[test]
fn a_policy_that_confirms_what_shows_closes_every_conflict_for_good() {
    let (mut a, mut b) = (Replica::<Document>::new(), Replica::<Document>::new());
    a.edit(|d| d.update("", &json!({"name": "Ada", "tags": [1], "kind": {"y": 1}}))).unwrap();
    b.edit(|d| d.update("", &json!({"name": "Augusta", "tags": [2], "kind": 5}))).unwrap();
    sync(&mut a, &mut b);
    let reads = a.state().to_json();
    assert_eq!(a.state().conflicts().count(), 3);
    for replica in [&mut a, &mut b] {
        let (settled, _) = replica.edit(|d| d.settle(|_| Resolution::Confirm)).unwrap();
        assert_eq!((settled.written, settled.shown.len(), settled.open.len()), (3, 0, 0));
    }
    sync(&mut a, &mut b);
    assert_eq!((a.state().conflicts().count(), a.state().to_json()), (0, reads));
    // At rest.
    assert!(a.edit(|d| d.settle(|_| Resolution::Confirm)).unwrap().1.is_empty());
}

// ---- ids, JSON, control characters ----

fn two_conflicts() -> Replica<Document> {
    let (mut a, mut b) = (Replica::<Document>::new(), Replica::<Document>::new());
    a.edit(|d| d.update("", &json!({"x": 1, "y": 1}))).unwrap();
    b.edit(|d| d.update("", &json!({"x": 2, "y": 2}))).unwrap();
    sync(&mut a, &mut b);
    a
}

#[test]
fn a_conflict_is_found_by_the_beginning_of_its_id() {
    let a = two_conflicts();
    let ids: Vec<ConflictId> = a.state().conflicts().map(|conflict| conflict.id).collect();
    for id in &ids {
        assert_eq!(a.state().conflict(&id.to_string()).unwrap().id, *id);
        assert_eq!(
            a.state().conflict(&id.short().to_uppercase()).unwrap().id,
            *id,
            "of one document, eight digits tell"
        );
        assert!(id.to_string().starts_with(&id.short()));
    }
    for wrong in ["", "xyz", "-1", "\u{1b}[2J", &"0".repeat(67)] {
        let refused = a.state().conflict(wrong).unwrap_err();
        assert!(matches!(refused, FindConflictError::NotHex(_)), "{refused}");
        assert!(!refused.to_string().contains('\u{1b}'));
    }
    let other = if ids.iter().any(|id| id.to_string().starts_with("00")) { "ffffffffff" } else { "00" };
    assert_eq!(a.state().conflict(other).unwrap_err(), FindConflictError::NoneSuch(other.into()));
    // Many begin alike once there are more than digits.
    let (mut a, mut b) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    let ada = a.edit(|g| g.add_node("ada")).unwrap().0;
    b.merge(&a.complete()).unwrap();
    for (replica, value) in [(&mut a, 1), (&mut b, 2)] {
        replica.edit(|g| (0..17).try_for_each(|n| g.set(ada, format!("/{n}"), value))).unwrap();
    }
    sync(&mut a, &mut b);
    let starts: Vec<String> = a.state().conflicts().map(|c| c.id.to_string()[..1].to_owned()).collect();
    let twice = starts.iter().find(|start| starts.iter().filter(|other| other == start).count() > 1).unwrap();
    let Err(FindConflictError::Ambiguous { ids, .. }) = a.state().conflict(twice) else {
        panic!("{twice} is of several")
    };
    assert_eq!(ids.len(), starts.iter().filter(|start| *start == twice).count().min(16));
}

#[test]
fn a_conflict_goes_out_as_json_and_what_names_it_comes_back() {
    let (a, _, ada) = embedded_texts();
    for conflict in a.state().conflicts() {
        let json = serde_json::to_value(&conflict).unwrap();
        let read = |key: &str| json[key].clone();
        assert_eq!(serde_json::from_value::<ConflictId>(read("id")).unwrap(), conflict.id);
        assert_eq!(serde_json::from_value::<ConflictKind>(read("kind")).unwrap(), conflict.kind);
        assert_eq!(serde_json::from_value::<Option<Owner>>(read("of")).unwrap(), Some(ada.into()));
        assert_eq!(serde_json::from_value::<Path>(read("path")).unwrap(), conflict.path);
        let first = &json["candidates"][0];
        assert_eq!(serde_json::from_value::<Stamp>(first["stamp"].clone()).unwrap(), conflict.candidates[0].stamp);
        assert_eq!(serde_json::from_value::<driftless::Dot>(first["dot"].clone()).unwrap(), conflict.candidates[0].dot);
    }
    let texts: Vec<_> =
        a.state().conflicts().map(|c| serde_json::to_value(&c.candidates[0].content).unwrap()).collect();
    assert_eq!(texts[0], json!({"value": "theirs"}));
    assert_eq!(texts[1]["embedding"]["numbers"], json!([0.0, 1.0]));
    let bytes = serde_json::to_value(Content::Value(Value::Bytes(&[0, 255]))).unwrap();
    assert_eq!(bytes, json!({"value": {"bytes": "00ff"}}));
    // What nobody wrote is refused.
    assert!(serde_json::from_str::<ConflictId>("\"12\"").is_err());
    assert!(serde_json::from_str::<Path>("\"x\"").is_err());
    assert!(serde_json::from_str::<Stamp>(r#"{"millis":281474976710656,"counter":0}"#).is_err());
    assert!(serde_json::from_str::<Model>(r#"{"name":"","dimension":3}"#).is_err());
    let kinds = [Kind::Map, Kind::Register, Kind::Other(9)];
    assert_eq!(serde_json::from_str::<[Kind; 3]>(&serde_json::to_string(&kinds).unwrap()).unwrap(), kinds);
}

/// A name, a path, a value, an edge type and a model of a peer that would clear the screen and forge a line.
#[test]
fn control_characters_of_a_peer_are_escaped_wherever_they_are_printed() {
    const EVIL: &str = "\u{1b}[2J\r\nsettled \u{9b}\u{202e}";
    let (mut a, mut b, _) = pair();
    let node = a.edit(|g| g.add_node(EVIL)).unwrap().0;
    sync(&mut a, &mut b);
    let path = Path::new([EVIL]).unwrap();
    let model = Model::new(EVIL, 1).unwrap();
    for (replica, n) in [(&mut a, 1), (&mut b, 2)] {
        replica
            .edit(|g| {
                g.set(node, &path, format!("{EVIL}{n}").as_str())?;
                g.update(node, "/array", &json!([EVIL, n]))?;
                g.embed(node, &model, &Vector::f32(&[n as f32])?)
            })
            .unwrap();
    }
    a.edit(|g| g.set(node, "/kind", 1)).unwrap();
    b.edit(|g| g.update(node, "/kind", &json!({EVIL: EVIL}))).unwrap();
    let (edge, _) = b.edit(|g| g.link(node, EVIL, NodeId::named("note"))).unwrap();
    b.edit(|g| g.remove_node(NodeId::named("note"))).unwrap();
    a.edit(|g| g.remove_node(NodeId::named("ada"))).unwrap();
    b.edit(|g| g.set(NodeId::named("ada"), &path, EVIL)).unwrap();
    a.keep_journal(driftless::JournalLimit::default());
    let report = a.merge(&b.delta_since(a.version()).unwrap()).unwrap();

    let mut printed: Vec<String> = Vec::new();
    let graph = a.state();
    assert!(graph.conflicts().count() >= 6 && graph.conflicts_of(edge).count() == 1);
    printed.extend(graph.conflicts().flat_map(|conflict| [conflict.to_string(), format!("{conflict:?}")]));
    printed.extend(report.changes().map(|change: GraphChange| format!("{change:?}")));
    for entry in a.journal().unwrap().since(0).unwrap() {
        printed.push(entry.change::<Graph>().map(|change| format!("{change:?}")).unwrap_or_default());
    }
    printed.push(model.to_string());
    printed.push(format!("{:?}", graph.node(node).unwrap().embedding(&model)));
    let ids: Vec<_> = graph.conflicts().map(|conflict| conflict.id).collect();
    for id in ids {
        for resolution in [Resolution::Restore, Resolution::Union, Resolution::MergeText { base: "".into() }] {
            printed.extend(a.edit(|g| g.resolve(id, resolution.clone())).err().map(|error| error.to_string()));
        }
    }
    printed.extend(a.edit(|g| g.properties_mut(node).add(&path, 1)).err().map(|error| error.to_string()));
    printed.extend(a.edit(|g| g.set(node, EVIL, 1)).err().map(|error| error.to_string()));
    printed.push(EVIL.parse::<driftless::sync::DeviceName>().unwrap_err().to_string());
    assert!(printed.len() > 20 && printed.iter().any(|text| text.contains(r"\u{1b}[2J\r\nsettled \u{9b}\u{202e}")));
    for text in printed {
        let raw = text.contains(|c: char| c.is_control() && c != '\n') || text.contains('\u{202e}');
        assert!(!raw && !text.contains("\nsettled"), "{text:?}");
    }
}

#[test]
fn a_value_that_is_too_deep_is_refused_with_the_path_of_what_is_too_deep() {
    let mut replica = Replica::<Document>::new();
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({"a/b": inner}));
    let refused = replica.edit(|d| d.update("/x", &nested(64))).unwrap_err();
    let EditError::TooDeep { path } = &refused else { panic!("{refused}") };
    assert_eq!(*path, format!("/x{}", "/a~1b".repeat(64)));
    assert!(replica.edit(|d| d.update("/x", &nested(63))).is_ok());
    let arrays = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let refused = replica.edit(|d| d.update("/y", &json!({"z": arrays}))).unwrap_err();
    assert!(matches!(&refused, EditError::TooDeep { path } if path.starts_with("/y/z")), "{refused}");
    let endless = (0..1_000).fold(json!(1), |inner, _| json!([inner]));
    let refused = replica.edit(|d| d.update("/y", &endless)).unwrap_err();
    assert!(matches!(&refused, EditError::TooDeep { path } if path.starts_with("/y/0/0")), "{refused}");
}

// ---- edits ----

#[test]
fn an_edit_gives_the_callers_own_error_back_and_leaves_nothing() {
    #[derive(Debug, PartialEq)]
    enum Mine {
        Wrong(u8),
        Edit(String),
    }
    impl From<EditError> for Mine {
        fn from(error: EditError) -> Self {
            Self::Edit(error.to_string())
        }
    }
    let mut replica = Replica::<Document>::new();
    let failed = replica.try_edit(|d| {
        d.set("/x", 1)?;
        Err::<(), _>(Mine::Wrong(7))
    });
    assert_eq!(failed.map(|_| ()), Err(Mine::Wrong(7)));
    let failed = replica.try_edit(|d| Ok::<_, Mine>(d.set("x", 1)?));
    assert!(matches!(failed, Err(Mine::Edit(_))));
    assert!(replica.version().is_empty() && replica.state().get("/x").is_none());
    let (value, delta) = replica.try_edit(|d| d.set("/x", 1).map(|()| 5).map_err(Mine::from)).unwrap();
    assert_eq!((value, delta.len()), (5, 1));
}

#[test]
fn a_delta_is_empty_exactly_if_its_length_is_zero() {
    let (mut a, mut b, ada) = pair();
    let mut deltas = vec![a.complete(), Replica::<Graph>::new().complete(), a.edit(|_| Ok(())).unwrap().1];
    deltas.push(a.delta_since(b.version()).unwrap());
    deltas.push(a.edit(|g| g.set(ada, "/x", 1).and_then(|()| g.set(ada, "/x", 2))).unwrap().1);
    deltas.push(a.edit(|g| g.remove_node(ada)).unwrap().1);
    // Everything pruned: what it carries is nothing, what it tells is not.
    a.edit(|g| g.remove_node(NodeId::named("note"))).unwrap();
    a.prune(Prune::All);
    deltas.extend([a.complete(), a.reconcile(b.version(), &b.live_dots())]);
    b.merge(&a.complete()).unwrap();
    deltas.push(a.reconcile(b.version(), &b.live_dots()));
    let lens: Vec<usize> = deltas.iter().map(|delta| delta.len()).collect();
    assert_eq!(&lens[..6], [4, 0, 0, 0, 2, 1]);
    assert!(lens[6] > 0 && lens[7] > 0 && lens[8] == 0, "{lens:?}");
    assert!(deltas.iter().zip(&lens).all(|(delta, len)| delta.is_empty() == (*len == 0)));
}

/// One byte more does not compile: see `Crdt::SCHEMA`.
#[test]
fn the_longest_name_of_a_type_is_written_and_read() {
    #[derive(Clone, Default)]
    struct Long(State);
    impl Crdt for Long {
        const SCHEMA: &'static str = match str::from_utf8(&[b'a'; driftless::kernel::MAX_SCHEMA_LEN]) {
            Ok(name) => name,
            Err(_) => "",
        };
        type Change = ();
        fn state(&self) -> &State {
            &self.0
        }
        fn state_mut(&mut self) -> &mut State {
            &mut self.0
        }
        fn follow(&mut self, _: &driftless::kernel::Touched) {}
        fn describe(_: &driftless::kernel::Touched) -> Option<()> {
            None
        }
    }
    let bytes = Replica::<Long>::new().complete().to_bytes();
    let delta = driftless::Delta::from_bytes(&bytes).unwrap();
    assert_eq!((delta.schema(), delta.schema().len()), (Long::SCHEMA, 128));
    assert!(Replica::<Long>::new().merge(&delta).is_ok());
}
