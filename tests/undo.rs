//! Undo: what one user did is taken back, and what others did since stays.

use std::collections::BTreeMap;

use driftless::testing::TestEnvironment;
use driftless::{
    Crdt, Delta, Diff, Document, Edit, EditError, GCounter, Graph, LwwRegister, NodeId, OrSet, PnCounter, Prune,
    Replica, UndoStack,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn replica<T: Crdt>(seed: u64) -> Replica<T> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn id(name: &str) -> NodeId {
    NodeId::named(name)
}

/// All that shows of a graph.
fn reading(graph: &Graph) -> Value {
    let node = |node: driftless::Node<'_>| {
        let edges: BTreeMap<_, _> = graph
            .outgoing(node.id())
            .map(|edge| (edge.id().to_string(), json!([edge.edge_type(), edge.target(), edge.properties().to_json()])))
            .collect();
        let labels: Vec<_> = node.labels().collect();
        (node.id().to_string(), json!([node.name(), labels, node.properties().to_json(), edges]))
    };
    let nodes: BTreeMap<_, _> = graph.nodes().map(node).collect();
    json!(nodes)
}

fn edit(replica: &mut Replica<Graph>, edit: impl FnOnce(&mut Edit<'_, Graph>) -> Result<(), EditError>) -> Delta {
    replica.edit(edit).unwrap().1
}

/// Two replicas that know a node, and the stack of the first.
fn two() -> (Replica<Graph>, Replica<Graph>, UndoStack<Graph>) {
    let (mut a, mut b) = (replica(1), replica(2));
    b.merge(&edit(&mut a, |g| g.add_node("shared").map(drop))).unwrap();
    (a, b, UndoStack::new())
}

fn add_new(g: &mut Edit<'_, Graph>) -> Result<(), EditError> {
    g.add_node("new")?;
    g.set(id("new"), "/mine", 1)
}

#[test]
fn a_value_that_somebody_has_replaced_is_left() {
    let (mut a, mut b, mut stack) = two();
    let (_, delta) = stack.edit(&mut a, |g| g.set(id("shared"), "/x", 1)).unwrap();
    b.merge(&delta).unwrap();
    a.merge(&edit(&mut b, |g| g.set(id("shared"), "/x", 2))).unwrap();
    let (taken_back, _) = stack.undo(&mut a).unwrap().unwrap();
    assert_eq!((taken_back.writes(), taken_back.left().touched().len()), (0, 1));
    assert_eq!(a.state().node(id("shared")).unwrap().get("/x"), Some(2.into()));
    // The stack has gone on.
    assert!(stack.undo(&mut a).unwrap().is_none());
}

#[test]
fn a_value_that_somebody_has_written_too_is_left() {
    let (mut a, mut b, mut stack) = two();
    stack.edit(&mut a, |g| g.set(id("shared"), "/x", 1)).unwrap();
    a.merge(&edit(&mut b, |g| g.set(id("shared"), "/x", 1))).unwrap();
    let (taken_back, _) = stack.undo(&mut a).unwrap().unwrap();
    assert_eq!((taken_back.writes(), taken_back.left().touched().len()), (0, 1));
    assert_eq!(a.state().node(id("shared")).unwrap().get("/x"), Some(1.into()));
}

#[test]
fn a_node_in_which_somebody_has_written_stays_without_what_the_edit_wrote() {
    let (mut a, mut b, mut stack) = two();
    let (_, delta) = stack.edit(&mut a, add_new).unwrap();
    b.merge(&delta).unwrap();
    a.merge(&edit(&mut b, |g| g.set(id("new"), "/theirs", 2))).unwrap();
    let (taken_back, _) = stack.undo(&mut a).unwrap().unwrap();
    assert_eq!(taken_back.left().touched().len(), 1, "the root");
    let properties = a.state().node(id("new")).unwrap().properties().to_json();
    assert_eq!(properties, json!({"theirs": 2}));
}

#[test]
fn a_node_that_two_have_added_stays_without_what_the_edit_wrote() {
    let (mut a, mut b, mut stack) = two();
    stack.edit(&mut a, add_new).unwrap();
    a.merge(&edit(&mut b, |g| g.add_node("new").map(drop))).unwrap();
    stack.undo(&mut a).unwrap();
    assert_eq!(a.state().node(id("new")).unwrap().properties().to_json(), json!({}));
}

#[test]
fn a_node_without_other_content_goes_with_one_write() {
    let (mut a, mut b, mut stack) = two();
    let (_, delta) = stack
        .edit(&mut a, |g| {
            add_new(g)?;
            g.label(id("new"), "Label")
        })
        .unwrap();
    b.merge(&delta).unwrap();
    let (taken_back, delta) = stack.undo(&mut a).unwrap().unwrap();
    assert_eq!((taken_back.writes(), taken_back.left().is_empty()), (1, true));
    b.merge(&delta).unwrap();
    assert!(!b.state().contains_node(id("new")));
    let (_, delta) = stack.redo(&mut a).unwrap().unwrap();
    b.merge(&delta).unwrap();
    assert_eq!(reading(b.state()), reading(a.state()));
    assert_eq!(b.state().node(id("new")).unwrap().name(), Some("new"));
    assert!(b.state().node(id("new")).unwrap().has_label("Label"));
}

#[test]
fn a_deleted_node_comes_back_whole_even_if_all_tombstones_are_pruned() {
    let (mut a, mut b, mut stack) = two();
    b.merge(&edit(&mut a, |g| g.set(id("shared"), "/x", 1))).unwrap();
    let (_, delta) = stack.edit(&mut a, |g| g.remove_node(id("shared"))).unwrap();
    b.merge(&delta).unwrap();
    a.prune(Prune::All);
    b.prune(Prune::All);
    let (_, delta) = stack.undo(&mut a).unwrap().unwrap();
    b.merge(&delta).unwrap();
    assert_eq!(b.state().node(id("shared")).unwrap().get("/x"), Some(1.into()));
}

#[test]
fn hidden_survivors_that_an_addition_deleted_are_hidden_again() {
    let (mut a, mut b, mut stack) = two();
    edit(&mut a, |g| g.remove_node(id("shared")).map(drop));
    a.merge(&edit(&mut b, |g| g.set(id("shared"), "/x", 1))).unwrap();
    assert_eq!(a.state().hidden().count(), 1);
    stack.edit(&mut a, |g| g.add_node("shared")).unwrap();
    assert_eq!(a.state().hidden().count(), 0);
    stack.undo(&mut a).unwrap();
    assert!(!a.state().contains_node(id("shared")));
    let hidden: Vec<_> = a.state().hidden().map(|hidden| hidden.properties().to_json()).collect();
    assert_eq!(hidden, [json!({"x": 1})]);
    stack.redo(&mut a).unwrap();
    assert_eq!(a.state().node(id("shared")).unwrap().properties().to_json(), json!({}));
}

#[test]
fn a_node_that_somebody_has_added_again_stays_as_it_is() {
    let (mut a, mut b, mut stack) = two();
    b.merge(&edit(&mut a, |g| g.set(id("shared"), "/x", 1))).unwrap();
    let (_, delta) = stack.edit(&mut a, |g| g.remove_node(id("shared"))).unwrap();
    b.merge(&delta).unwrap();
    a.merge(&edit(&mut b, |g| g.add_node("shared").map(drop))).unwrap();
    let (taken_back, _) = stack.undo(&mut a).unwrap().unwrap();
    assert_eq!((taken_back.writes(), taken_back.left().is_empty()), (0, false));
    assert_eq!(a.state().node(id("shared")).unwrap().properties().to_json(), json!({}));
}

#[test]
fn nothing_is_written_into_a_node_that_somebody_has_deleted() {
    let (mut a, mut b, mut stack) = two();
    edit(&mut a, |g| g.set(id("shared"), "/x", 1));
    let (_, _) = stack.edit(&mut a, |g| g.set(id("shared"), "/x", 2)).unwrap();
    b.merge(&a.complete()).unwrap();
    a.merge(&edit(&mut b, |g| g.remove_node(id("shared")).map(drop))).unwrap();
    let (taken_back, _) = stack.undo(&mut a).unwrap().unwrap();
    assert_eq!((taken_back.writes(), taken_back.left().touched().len()), (0, 1));
    assert_eq!(a.state().hidden().count(), 0);
}

#[test]
fn what_was_counted_is_taken_away_and_what_others_counted_stays() {
    let [mut a, mut b] = [1, 2].map(replica::<PnCounter>);
    let mut stack = UndoStack::new();
    let (_, delta) = stack.edit(&mut a, |c| c.add(5)).unwrap();
    b.merge(&delta).unwrap();
    stack.edit(&mut a, |c| c.subtract(2)).unwrap();
    let (_, delta) = b.edit(|c| c.add(100)).unwrap();
    a.merge(&delta).unwrap();
    stack.undo(&mut a).unwrap();
    assert_eq!(a.state().value(), 105);
    stack.undo(&mut a).unwrap();
    assert_eq!(a.state().value(), 100);
    stack.redo(&mut a).unwrap();
    stack.redo(&mut a).unwrap();
    assert_eq!(a.state().value(), 103);

    let mut document = replica::<Document>(3);
    let mut stack = UndoStack::new();
    stack.edit(&mut document, |d| d.add("/n", 1)).unwrap();
    stack.edit(&mut document, |d| d.add("/n", 2)).unwrap();
    document.edit(|d| d.add("/n", 10)).unwrap();
    stack.undo(&mut document).unwrap();
    assert_eq!(document.state().counter("/n"), Some(11));
}

#[test]
fn a_counter_that_only_grows_refuses_and_the_edit_stays_on_the_stack() {
    let mut a = replica::<GCounter>(1);
    let mut stack = UndoStack::new();
    stack.edit(&mut a, |c| c.add(5)).unwrap();
    assert!(matches!(stack.undo(&mut a), Err(EditError::OnlyGrows { by: 5 })));
    assert_eq!((a.state().value(), stack.undo_len(), stack.redo_len()), (5, 1, 0));
}

#[test]
fn registers_and_sets_go_back_and_forth() {
    let mut register = replica::<LwwRegister<u8>>(1);
    let mut stack = UndoStack::new();
    for n in 1..=3 {
        stack.edit(&mut register, |r| r.set(n)).unwrap();
    }
    for expected in [Some(2), Some(1), None] {
        stack.undo(&mut register).unwrap();
        assert_eq!(register.state().get().copied(), expected);
    }
    for expected in [Some(1), Some(2), Some(3)] {
        stack.redo(&mut register).unwrap();
        assert_eq!(register.state().get().copied(), expected);
    }
    assert!(stack.redo(&mut register).unwrap().is_none());

    let [mut a, mut b] = [1, 2].map(replica::<OrSet<String>>);
    let mut stack = UndoStack::new();
    stack.edit(&mut a, |s| s.insert("x".to_owned()).map(drop)).unwrap();
    let (_, delta) = b.edit(|s| s.insert("x".to_owned()).map(drop)).unwrap();
    a.merge(&delta).unwrap();
    stack.undo(&mut a).unwrap();
    assert!(a.state().contains(&"x".to_owned()), "another has put it in, too");
}

#[test]
fn a_new_edit_forgets_what_was_undone_and_nothing_beyond_the_limit_is_kept() {
    let mut a = replica::<Document>(1);
    let mut stack = UndoStack::with_limit(2);
    for n in 0..5 {
        stack.edit(&mut a, |d| d.set("/x", n)).unwrap();
    }
    assert_eq!(stack.undo_len(), 2);
    stack.undo(&mut a).unwrap();
    assert_eq!((stack.undo_len(), stack.redo_len()), (1, 1));
    // Nothing changes, so nothing is forgotten.
    stack.edit(&mut a, |_| Ok(())).unwrap();
    stack.edit(&mut a, |d| d.set("/x", 9).and(Err::<(), _>(EditError::abort("no")))).unwrap_err();
    assert_eq!(stack.redo_len(), 1);
    stack.edit(&mut a, |d| d.set("/y", 1)).unwrap();
    assert_eq!((stack.undo_len(), stack.redo_len()), (2, 0));
    stack.clear();
    assert_eq!(stack.undo_len(), 0);
}

#[test]
fn an_edit_that_was_made_elsewhere_can_be_pushed() {
    let mut a = replica::<Document>(1);
    let mut stack = UndoStack::new();
    let before = a.snapshot();
    a.edit(|d| d.update("", &json!({"a": {"b": [1, 2]}, "c": "text"}))).unwrap();
    stack.push(Diff::between(&before, a.state()));
    a.edit(|d| d.set("/d", true)).unwrap();
    stack.undo(&mut a).unwrap();
    assert_eq!(a.state().to_json(), json!({"d": true}));
    stack.redo(&mut a).unwrap();
    assert_eq!(a.state().to_json(), json!({"a": {"b": [1, 2]}, "c": "text", "d": true}));
}

/// One random edit: what, of which node, where, with which value.
type Act = (u8, u8, u8, i64);

const PATHS: [&str; 5] = ["/x", "/y", "/y/z", "/y/w", "/n"];

/// Edits nodes whose names begin with a prefix.
fn act(g: &mut Edit<'_, Graph>, prefix: &str, (what, node, path, value): Act) -> Result<(), EditError> {
    let name = |n: u8| format!("{prefix}{}", n % 3);
    let (key, path) = (name(node), PATHS[usize::from(path) % PATHS.len()]);
    let node = id(&key);
    if what % 8 > 0 && !g.contains_node(node) {
        g.add_node(&key)?;
    }
    let result = match what % 8 {
        0 => g.remove_node(node).map(drop),
        1 => g.label(node, "Label"),
        2 => g.unlabel(node, "Label").map(drop),
        3 => g.unset(node, path).map(drop),
        4 => g.link(node, "to", id(&name(value as u8))).map(drop),
        5 if path == "/n" => Ok(()),
        5 => g.properties_mut(node).update(path, &json!({"a": value, "b": {"c": value}})).map(drop),
        6 => g.properties_mut(node).add("/n", value),
        _ if path == "/n" => Ok(()),
        _ => g.set(node, path, value),
    };
    match result {
        Err(EditError::IntoScalar { .. } | EditError::OtherKind { .. }) => Ok(()),
        other => other,
    }
}

fn acts() -> impl Strategy<Value = Vec<Vec<Act>>> {
    let act = (0u8..8, 0u8..3, 0u8..5, 1i64..4);
    prop::collection::vec(prop::collection::vec(act, 1..4), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Alone, undoing everything reads step by step as before, and redoing as after; and so once more.
    #[test]
    fn undo_and_redo_go_back_and_forth(edits in acts(), prunes in any::<bool>()) {
        let mut a = replica::<Graph>(1);
        let mut stack = UndoStack::new();
        let mut readings = vec![reading(a.state())];
        for edit in &edits {
            let before = stack.undo_len();
            stack.edit(&mut a, |g| edit.iter().try_for_each(|one| act(g, "n", *one))).unwrap();
            if stack.undo_len() > before {
                readings.push(reading(a.state()));
            }
        }
        for _ in 0..2 {
            for expected in readings.iter().rev().skip(1) {
                let (taken_back, _) = stack.undo(&mut a).unwrap().unwrap();
                prop_assert!(taken_back.left().is_empty(), "{:?}", taken_back);
                prop_assert_eq!(&reading(a.state()), expected);
                if prunes {
                    a.prune(Prune::All);
                }
            }
            prop_assert!(stack.undo(&mut a).unwrap().is_none());
            for expected in readings.iter().skip(1) {
                let (taken_back, _) = stack.redo(&mut a).unwrap().unwrap();
                prop_assert!(taken_back.left().is_empty(), "{:?}", taken_back);
                prop_assert_eq!(&reading(a.state()), expected);
            }
            a.state().check_invariants().unwrap();
        }
    }

    /// Another edits nodes of its own meanwhile: once all is undone, what is left reads as if the first had done nothing.
    #[test]
    fn what_another_did_meanwhile_stays(edits in acts(), others in acts(), order in any::<u64>()) {
        let (mut a, mut b, mut alone) = (replica::<Graph>(1), replica::<Graph>(2), replica::<Graph>(3));
        let mut stack = UndoStack::new();
        let (mut edits, mut others) = (edits.iter(), others.iter());
        for step in 0..64 {
            if order >> step & 1 == 0 {
                let Some(edit) = edits.next() else { continue };
                let (_, delta) = stack.edit(&mut a, |g| edit.iter().try_for_each(|one| act(g, "a", *one))).unwrap();
                b.merge(&delta).unwrap();
            } else {
                let Some(edit) = others.next() else { continue };
                let (_, delta) = b.edit(|g| edit.iter().try_for_each(|one| act(g, "b", *one))).unwrap();
                alone.edit(|g| edit.iter().try_for_each(|one| act(g, "b", *one))).unwrap();
                a.merge(&delta).unwrap();
            }
        }
        while let Some((taken_back, delta)) = stack.undo(&mut a).unwrap() {
            prop_assert!(taken_back.left().is_empty());
            b.merge(&delta).unwrap();
        }
        prop_assert_eq!(reading(a.state()), reading(alone.state()));
        prop_assert_eq!(a.state(), b.state());
    }

    /// Another edits the same nodes: nothing that it wrote and that was not overwritten is lost, whatever is undone.
    #[test]
    fn what_another_wrote_is_never_taken_back(edits in acts(), others in acts(), order in any::<u64>()) {
        let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
        let mut stack = UndoStack::new();
        let (mut edits, mut others) = (edits.iter(), others.iter());
        for step in 0..64 {
            if order >> step & 1 == 0 {
                let Some(edit) = edits.next() else { continue };
                stack.edit(&mut a, |g| edit.iter().try_for_each(|one| act(g, "n", *one))).unwrap();
            } else {
                let Some(edit) = others.next() else { continue };
                b.edit(|g| edit.iter().try_for_each(|one| act(g, "n", *one))).unwrap();
            }
            if order >> step & 3 == 3 {
                driftless::sync::in_memory(&mut a, &mut b).unwrap();
            }
        }
        driftless::sync::in_memory(&mut a, &mut b).unwrap();
        let theirs = b.writer();
        let alive = |replica: &Replica<Graph>| -> Vec<_> {
            let state = replica.state().state();
            let live = state.live_siblings().filter(|(.., sibling)| Some(sibling.dot.writer) == theirs);
            live.map(|(entity, field, sibling)| (entity, field.to_field(), sibling.dot)).collect()
        };
        let before = alive(&a);
        while let Some((_, delta)) = stack.undo(&mut a).unwrap() {
            b.merge(&delta).unwrap();
        }
        prop_assert_eq!(alive(&a), before);
        while let Some((_, delta)) = stack.redo(&mut a).unwrap() {
            b.merge(&delta).unwrap();
        }
        prop_assert_eq!(a.state(), b.state());
    }
}
