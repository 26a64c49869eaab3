//! Trees: random schedules against the reading rule by its definition, and stories named after what goes wrong elsewhere.

#[path = "support/tree.rs"]
mod small;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use driftless::kernel::{Entity, Payload};
use driftless::testing::TestEnvironment;
use driftless::{
    ConflictKind, Content, Crdt, Delta, EditError, Graph, GraphChange, NodeId, Prune, Replica, Resolution, TreePlace,
    UndoStack,
};
use proptest::prelude::*;
use small::{Act, TREE, acts, check, name, node, play};

/// `DRIFTLESS_SCHEDULES=20` runs twenty times as many.
#[test]
fn any_schedule_shows_the_tree_of_the_definition() {
    let times: u32 = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let cases = 1500 * times;
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let seen = std::cell::RefCell::new(BTreeMap::<&'static str, u32>::new());
    let run = proptest::test_runner::TestRunner::new(config).run(&acts(), |acts| {
        for (what, times) in play(&acts).map_err(TestCaseError::fail)? {
            *seen.borrow_mut().entry(what).or_default() += u32::from(times > 0);
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    println!("of {cases} schedules: {:?}", seen.borrow());
    for (what, least) in
        [("circles", 0.015), ("detached", 0.0), ("orphans", 0.2), ("concurrent moves", 0.5), ("moves", 0.9)]
    {
        let share = f64::from(seen.borrow().get(what).copied().unwrap_or(0)) / f64::from(cases);
        assert!(share > least, "{what} in {share} of the schedules");
    }
}

// ---- stories ----

fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn put(replica: &mut Replica<Graph>, n: u8, place: TreePlace) -> Delta {
    let edit = |g: &mut driftless::Edit<'_, Graph>| {
        g.add_node(&name(n))?;
        g.tree_mut(TREE).put(node(n), place)
    };
    replica.edit(edit).unwrap().1
}

fn children(replica: &Replica<Graph>, of: u8) -> Vec<NodeId> {
    replica.state().tree(TREE).children(node(of)).collect()
}

#[test]
fn two_moves_that_make_a_circle_leave_one_where_it_was() {
    let mut a = replica(1);
    put(&mut a, 0, TreePlace::Last);
    put(&mut a, 1, TreePlace::LastIn(node(0)));
    put(&mut a, 2, TreePlace::LastIn(node(0)));
    let mut b = replica(2);
    b.merge(&a.complete()).unwrap();
    put(&mut a, 1, TreePlace::LastIn(node(2)));
    put(&mut b, 2, TreePlace::LastIn(node(1)));
    let (from_a, from_b) = (a.complete(), b.complete());
    a.merge(&from_b).unwrap();
    b.merge(&from_a).unwrap();
    for replica in [&a, &b] {
        let tree = replica.state().tree(TREE);
        let below: BTreeSet<_> = [1, 2].into_iter().filter_map(|n| tree.parent(node(n))).collect();
        assert!(below.contains(&node(0)) && below.len() == 2, "{tree:?}");
        assert_eq!((tree.len(), tree.walk().count()), (3, 3));
        let conflict = replica.state().conflicts().next().unwrap();
        assert_eq!(conflict.kind, ConflictKind::Circle { tree: TREE.to_owned() });
        let places: Vec<_> = conflict.candidates.iter().map(|candidate| candidate.content.clone()).collect();
        assert_eq!(places[0], Content::Place { tree: TREE, parent: Some(node(0)) });
        assert_eq!(conflict.candidates.len(), 2);
    }
    assert_eq!(format!("{:?}", a.state().tree(TREE)), format!("{:?}", b.state().tree(TREE)));
    // Confirmed, it stays as it shows; both that do so agree.
    for replica in [&mut a, &mut b] {
        let (settled, _) = replica.edit(|g| g.settle(|_| Resolution::Confirm)).unwrap();
        assert_eq!((settled.written, settled.open.len()), (1, 0));
    }
    let from_b = b.complete();
    a.merge(&from_b).unwrap();
    assert_eq!(a.state().conflicts().count(), 0);
    check(a.state(), 1).unwrap();
}

#[test]
fn children_of_a_deleted_parent_are_listed_and_come_back() {
    let mut a = replica(1);
    put(&mut a, 0, TreePlace::Last);
    put(&mut a, 1, TreePlace::Last);
    let mut b = replica(2);
    b.merge(&a.complete()).unwrap();
    let before = a.snapshot();
    a.edit(|g| g.remove_node(node(0))).unwrap();
    put(&mut b, 2, TreePlace::LastIn(node(0)));
    put(&mut b, 3, TreePlace::LastIn(node(0)));
    let (from_a, from_b) = (a.complete(), b.complete());
    a.prune(Prune::All);
    a.merge(&from_b).unwrap();
    b.merge(&from_a).unwrap();
    assert_eq!(a.state(), b.state());
    let tree = a.state().tree(TREE);
    assert_eq!(tree.orphans().collect::<Vec<_>>(), [(node(0), node(2)), (node(0), node(3))]);
    assert_eq!((tree.walk().count(), tree.len()), (1, 3));
    let ids: Vec<_> = a.state().conflicts().map(|conflict| (conflict.id, conflict.kind)).collect();
    let missing = ConflictKind::Orphaned { tree: TREE.to_owned(), missing: node(0) };
    assert!(ids.len() == 2 && ids.iter().all(|(_, kind)| *kind == missing));
    a.edit(|g| g.resolve(ids[0].0, Resolution::RestoreFrom(&before))).unwrap();
    assert_eq!(children(&a, 0), [node(2), node(3)]);
    assert_eq!((a.state().conflicts().count(), a.state().tree(TREE).walk().count()), (0, 4));
    // Or they go, with all that is under them.
    put(&mut b, 4, TreePlace::LastIn(node(2)));
    b.edit(|g| g.resolve(ids[0].0, Resolution::Delete)).unwrap();
    assert!(![2, 4].into_iter().any(|n| b.state().contains_node(node(n))));
    assert!(b.state().contains_node(node(3)));
}

#[test]
fn children_added_at_one_spot_do_not_interleave_or_tie() {
    for ways in 0..8u32 {
        let mut a = replica(1);
        put(&mut a, 0, TreePlace::Last);
        put(&mut a, 1, TreePlace::LastIn(node(0)));
        put(&mut a, 2, TreePlace::LastIn(node(0)));
        let mut others: Vec<_> = (0..3).map(|i| a.fork_with(TestEnvironment::new(10 + i))).collect();
        for (i, other) in others.iter_mut().enumerate() {
            let first = 10 * (i as u8 + 1);
            let forward = ways >> i & 1 == 0;
            put(other, first, TreePlace::After(node(1)));
            for n in first + 1..first + 6 {
                let beside = node(n - 1);
                put(other, n, if forward { TreePlace::After(beside) } else { TreePlace::Before(beside) });
            }
        }
        let deltas: Vec<_> = others.iter().map(Replica::complete).collect();
        for delta in &deltas {
            a.merge(delta).unwrap();
        }
        let shown: Vec<NodeId> = children(&a, 0);
        assert_eq!((shown.len(), shown[0], shown[19]), (20, node(1), node(2)));
        for i in 0..3u8 {
            let mut mine: Vec<NodeId> = (10 * (i + 1)..10 * (i + 1) + 6).map(node).collect();
            if ways >> i & 1 == 1 {
                mine.reverse();
            }
            assert!(shown.windows(6).any(|window| window == mine), "{ways}: {shown:?}");
        }
    }
}

#[test]
fn a_move_within_the_same_parent_of_many() {
    let mut a = replica(1);
    put(&mut a, 0, TreePlace::Last);
    let mut expected = Vec::new();
    for n in 1..250 {
        put(&mut a, n, TreePlace::LastIn(node(0)));
        expected.push(node(n));
    }
    for turn in 0..600usize {
        let (from, to) = (turn * 37 % 249, turn * 101 % 249);
        let moved = expected.remove(from);
        let of = (1..250).find(|n| node(*n) == moved).unwrap();
        match to.min(expected.len()) {
            to if to == expected.len() => drop(put(&mut a, of, TreePlace::LastIn(node(0)))),
            to => drop(put(&mut a, of, TreePlace::Before(expected[to]))),
        }
        expected.insert(to.min(expected.len()), moved);
    }
    assert_eq!(children(&a, 0), expected);
    check(a.state(), 1).unwrap();
}

/// Ever deeper between the same two: each new one beside the one before, on the other side.
#[test]
fn a_place_that_is_split_for_ever_stays_shallow() {
    let mut a = replica(1);
    let id = |n: usize| NodeId::named(&format!("deep {n}"));
    let mut add = |n: usize, place| {
        let edit = |g: &mut driftless::Edit<'_, Graph>| {
            g.add_node(&format!("deep {n}"))?;
            g.tree_mut(TREE).put(id(n), place)
        };
        a.edit(edit).unwrap();
        a.state().tree(TREE).tops().collect::<Vec<_>>()
    };
    let mut expected = vec![id(0), id(1)];
    add(0, TreePlace::Last);
    add(1, TreePlace::Last);
    // Two that are next to each other, with the gap between them; the new one goes between, and replaces one of the two.
    let (mut left, mut right) = (0, 1);
    for n in 2..1500 {
        let shown = add(n, TreePlace::After(id(left)));
        let at = expected.iter().position(|node| *node == id(left)).unwrap();
        expected.insert(at + 1, id(n));
        assert_eq!(shown, expected, "{n}");
        if n % 2 == 0 { left = n } else { right = n }
    }
    let _ = right;
    let longest = a.state().state().live_siblings().filter_map(|(_, _, s)| Some(s.payload?.bytes().len())).max();
    assert!(longest < Some(3200), "{longest:?}");
    check(a.state(), 1).unwrap();
    // Siblings that were put anew have no conflict.
    assert_eq!(a.state().conflicts().count(), 0);
}

#[test]
fn kinds_of_a_later_version_are_kept_not_half_read() {
    let mut a = replica(1);
    put(&mut a, 0, TreePlace::Last);
    put(&mut a, 1, TreePlace::LastIn(node(0)));
    let entity = Entity::new(1, *node(1).as_bytes());
    let good =
        a.state().state().cells(entity).unwrap().live(b"\x05outline").next().unwrap().payload.unwrap().to_payload();
    let mut flagged = good.bytes().to_vec();
    flagged[0] |= 8;
    let no_position = Payload::new(good.kind(), &good.bytes()[..17]);
    let mut long = good.bytes()[..17].to_vec();
    long.extend([0x40, 0, 0, 1, 0x80].repeat(257));
    let later = [
        Payload::new(good.kind() + 50, good.bytes()),
        Payload::new(good.kind(), &flagged),
        no_position,
        Payload::new(good.kind(), &long),
        Payload::new(good.kind(), &[]),
    ];
    for payload in later {
        let (_, delta) = a.edit(|g| g.write(entity, b"\x05outline", payload.clone())).unwrap();
        assert!(!a.state().tree(TREE).contains(node(1)), "{payload:?}");
        assert_eq!(a.state().tree(TREE).len(), 1);
        a.state().check_invariants().unwrap();
        let mut b = replica(2);
        b.merge(&a.complete()).unwrap();
        assert_eq!(a.state(), b.state());
        assert!(b.state().tree(TREE).parent(node(1)).is_none());
        let _ = delta;
        put(&mut a, 1, TreePlace::LastIn(node(0)));
    }
    // A tree whose name is no text is nobody's.
    a.edit(|g| g.write(entity, b"\x05\xff", good.clone())).unwrap();
    assert_eq!(a.state().trees().collect::<Vec<_>>(), [TREE]);
    a.state().check_invariants().unwrap();
}

#[test]
fn undo_takes_a_move_back_and_leaves_what_others_moved_since() {
    let mut a = replica(1);
    let mut undo = UndoStack::new();
    put(&mut a, 0, TreePlace::Last);
    put(&mut a, 1, TreePlace::LastIn(node(0)));
    put(&mut a, 2, TreePlace::LastIn(node(0)));
    undo.edit(&mut a, |g| g.tree_mut(TREE).put(node(1), TreePlace::LastIn(node(2)))).unwrap();
    assert_eq!(children(&a, 2), [node(1)]);
    undo.undo(&mut a).unwrap();
    assert_eq!(children(&a, 0), [node(1), node(2)]);
    undo.redo(&mut a).unwrap();
    assert_eq!(children(&a, 2), [node(1)]);
    let mut b = replica(2);
    b.merge(&a.complete()).unwrap();
    a.merge(&put(&mut b, 1, TreePlace::First)).unwrap();
    let (back, _) = undo.undo(&mut a).unwrap().unwrap();
    assert_eq!((back.writes(), back.left().is_empty()), (0, false));
    assert!(a.state().tree(TREE).is_top(node(1)));
}

#[test]
fn merges_and_differences_tell_what_was_moved() {
    let mut a = replica(1);
    let mut b = replica(2);
    put(&mut a, 0, TreePlace::Last);
    b.merge(&a.complete()).unwrap();
    let delta = put(&mut a, 1, TreePlace::LastIn(node(0)));
    let report = b.merge(&delta).unwrap();
    let moved = GraphChange::Moved { node: node(1), tree: TREE.to_owned() };
    assert_eq!(report.changes().collect::<Vec<_>>(), [GraphChange::NodeAdded(node(1)), moved]);
}

#[test]
fn a_move_of_what_was_deleted_is_hidden_and_comes_back() {
    let mut a = replica(1);
    put(&mut a, 0, TreePlace::Last);
    put(&mut a, 1, TreePlace::Last);
    let mut b = a.fork_with(TestEnvironment::new(2));
    put(&mut b, 1, TreePlace::LastIn(node(0)));
    a.edit(|g| g.remove_node(node(1))).unwrap();
    a.merge(&b.complete()).unwrap();
    assert_eq!(a.state().tree(TREE).len(), 1);
    assert_eq!(a.state().hidden_of(node(1)).unwrap().places().collect::<Vec<_>>(), [(TREE, Some(node(0)))]);
    let conflict = a.state().conflicts().next().unwrap();
    assert_eq!(conflict.kind, ConflictKind::EditDelete);
    assert_eq!(conflict.candidates[0].content, Content::Place { tree: TREE, parent: Some(node(0)) });
    let id = conflict.id;
    drop(conflict);
    a.edit(|g| g.resolve(id, Resolution::Restore)).unwrap();
    assert_eq!(children(&a, 0), [node(1)]);
    check(a.state(), 1).unwrap();
}

#[test]
fn several_trees_do_not_meet() {
    let mut a = replica(1);
    let edit = |g: &mut driftless::Edit<'_, Graph>| {
        for n in 0..3 {
            g.add_node(&name(n))?;
            g.tree_mut("a").put(node(n), TreePlace::First)?;
        }
        g.tree_mut("b").put(node(0), TreePlace::LastIn(node(1)))?;
        g.tree_mut("").put(node(1), TreePlace::LastIn(node(0)))
    };
    a.edit(edit).unwrap();
    let graph = a.state();
    assert_eq!(graph.trees().collect::<Vec<_>>(), ["", "a", "b"]);
    assert_eq!(graph.tree("a").tops().collect::<Vec<_>>(), [node(2), node(1), node(0)]);
    assert_eq!((graph.tree("b").parent(node(0)), graph.tree("").parent(node(1))), (Some(node(1)), Some(node(0))));
    assert_eq!(graph.tree("b").unplaced().collect::<Vec<_>>(), [node(1)]);
    assert_eq!(graph.tree("none").len(), 0);
    graph.check_invariants().unwrap();
    let long = "x".repeat(5000);
    let refused = a.edit(|g| g.tree_mut(&long).put(node(0), TreePlace::Last));
    assert!(matches!(refused, Err(EditError::KeyTooLong { .. })));
}

/// The payload of a place, with where from and the stamp of that, as a stranger may spell it.
fn place_of(parent: Option<NodeId>, position: &[u8], from: Option<(Option<NodeId>, u64)>) -> Payload {
    let mut bytes = vec![u8::from(parent.is_some()) | u8::from(from.is_some()) << 1];
    bytes.extend(parent.iter().flat_map(|parent| *parent.as_bytes()));
    if let Some((parent, stamp)) = from {
        bytes[0] |= u8::from(parent.is_some()) << 2;
        bytes.extend(parent.iter().flat_map(|parent| *parent.as_bytes()));
        bytes.extend(stamp.to_be_bytes());
        bytes.extend([0, POSITION.len() as u8]);
        bytes.extend(POSITION);
    }
    bytes.extend(position);
    Payload::new(22, &bytes)
}

const POSITION: [u8; 5] = [0x40, 0, 0, 1, 0x80];

fn forge(replica: &mut Replica<Graph>, n: u8, place: Payload) -> Delta {
    let edit = |g: &mut driftless::Edit<'_, Graph>| {
        g.add_node(&name(n))?;
        g.write(Entity::new(1, *node(n).as_bytes()), b"\x05outline", place)
    };
    replica.edit(edit).unwrap().1
}

fn shown(replica: &Replica<Graph>) -> Vec<Option<NodeId>> {
    (0..4).map(|n| replica.state().tree(TREE).parent(node(n))).collect()
}

/// A circle of which one that is written down for the sake of others is a part, too.
#[test]
fn what_is_written_down_does_not_give_way_itself() {
    let (k, d, n) = (node(1), node(2), node(3));
    let before = || {
        let environment = TestEnvironment::new(5);
        let clock = environment.clock();
        let mut all = Replica::<Graph>::with_environment(environment);
        let mut at = |time: u64, n: u8, of: Payload, seed: u64| {
            let environment = TestEnvironment::new(seed);
            environment.clock().store(2_000_000 + time, std::sync::atomic::Ordering::Relaxed);
            let mut one = Replica::<Graph>::with_environment(environment);
            let delta = forge(&mut one, n, of);
            all.merge(&delta).unwrap();
        };
        clock.store(2_000_100, std::sync::atomic::Ordering::Relaxed);
        let stamp = |time: u64| (2_000_000 + time) << 16;
        // W: under K at 6, the top at 0; K: under D at 8, under N at 7, under D at 1; D: under K at 10, under W at 2; N: under K at 3.
        at(6, 0, place_of(Some(k), &POSITION, Some((None, stamp(0)))), 11);
        at(8, 1, place_of(Some(d), &POSITION, Some((Some(d), stamp(1)))), 12);
        at(7, 1, place_of(Some(n), &POSITION, None), 13);
        at(10, 2, place_of(Some(k), &POSITION, Some((Some(node(0)), stamp(2)))), 14);
        at(3, 3, place_of(Some(k), &POSITION, Some((None, stamp(0)))), 15);
        check(all.state(), 3).unwrap();
        all
    };
    for (moved, take_out) in [(3, false), (3, true), (0, false), (1, false), (2, true)] {
        let mut replica = before();
        let (was, detached) = (shown(&replica), replica.state().tree(TREE).detached().count());
        replica
            .edit(|g| match take_out {
                true => g.tree_mut(TREE).take_out(node(moved)).map(drop),
                false => g.tree_mut(TREE).put(node(moved), TreePlace::Last),
            })
            .unwrap();
        let mut expected = was.clone();
        expected[usize::from(moved)] = None;
        assert_eq!(shown(&replica), expected, "{moved} {take_out}");
        assert!(replica.state().tree(TREE).detached().count() <= detached);
        check(replica.state(), 4).unwrap();
    }
}

#[test]
fn what_is_put_back_where_others_have_moved_shows_where_it_showed() {
    let mut undo = UndoStack::new();
    let mut a = replica(1);
    put(&mut a, 0, TreePlace::Last);
    put(&mut a, 1, TreePlace::LastIn(node(0)));
    put(&mut a, 2, TreePlace::LastIn(node(1)));
    let before = a.snapshot();
    undo.edit(&mut a, |g| g.tree_mut(TREE).put(node(1), TreePlace::Last)).unwrap();
    let mut b = replica(2);
    b.merge(&a.complete()).unwrap();
    a.merge(&put(&mut b, 0, TreePlace::LastIn(node(1)))).unwrap();
    let was = shown(&a);
    let reverted = {
        let mut one = a.fork_with(TestEnvironment::new(7));
        one.edit(|g| g.revert(node(1), &before)).unwrap();
        one
    };
    undo.undo(&mut a).unwrap().unwrap();
    for replica in [&a, &reverted] {
        assert_eq!((shown(replica), replica.state().tree(TREE).walk().count()), (was.clone(), 3));
        let kinds: Vec<_> = replica.state().conflicts().map(|conflict| conflict.kind).collect();
        assert_eq!(kinds, [ConflictKind::Circle { tree: TREE.to_owned() }]);
    }
    // The whole graph goes back.
    a.edit(|g| g.revert_to(&before)).unwrap();
    assert_eq!(shown(&a), [None, Some(node(0)), Some(node(1)), None]);
    assert_eq!((a.state().conflicts().count(), a.state().tree(TREE).walk().count()), (0, 3));

    // A parent that comes back under what was put under its orphan.
    a.edit(|g| g.remove_node(node(1))).unwrap();
    put(&mut a, 0, TreePlace::LastIn(node(2)));
    assert_eq!(a.state().tree(TREE).orphans().count(), 1);
    a.edit(|g| g.restore_from(&before, node(1))).unwrap();
    assert_eq!(shown(&a), [Some(node(2)), None, Some(node(1)), None]);
    assert_eq!((a.state().tree(TREE).walk().count(), a.state().tree(TREE).detached().count()), (3, 0));
}

#[test]
fn children_of_what_came_back_without_its_place_are_walked() {
    let mut a = replica(1);
    put(&mut a, 0, TreePlace::Last);
    put(&mut a, 1, TreePlace::LastIn(node(0)));
    put(&mut a, 2, TreePlace::Last);
    a.edit(|g| g.remove_node(node(0))).unwrap();
    let beside_an_orphan = a.edit(|g| g.tree_mut(TREE).put(node(2), TreePlace::After(node(1))));
    assert!(matches!(beside_an_orphan, Err(EditError::NoNode(missing)) if missing == node(0)));
    let id = a.state().conflicts().map(|conflict| conflict.id).next().unwrap();
    a.edit(|g| g.resolve(id, Resolution::Restore)).unwrap();
    let walk: Vec<_> = a.state().tree(TREE).walk().map(|step| (step.node, step.depth)).collect();
    assert_eq!(walk, [(node(2), 0), (node(0), 0), (node(1), 1)]);
    assert_eq!(a.state().conflicts().count(), 0);
    let under: Vec<_> = a.state().tree(TREE).walk_from(node(0)).map(|step| (step.node, step.depth)).collect();
    assert_eq!(under, [(node(0), 0), (node(1), 1)]);
}

/// A node that is in two conflicts is settled as far as it goes.
#[test]
fn a_place_under_what_is_missing_is_confirmed_too() {
    let mut a = replica(1);
    for n in 0..3 {
        put(&mut a, n, TreePlace::Last);
    }
    let mut b = a.fork_with(TestEnvironment::new(2));
    put(&mut b, 2, TreePlace::LastIn(node(0)));
    put(&mut a, 2, TreePlace::LastIn(node(1)));
    a.merge(&b.complete()).unwrap();
    a.edit(|g| g.remove_node(node(0)).and(g.remove_node(node(1)))).unwrap();
    assert_eq!(a.state().conflicts().count(), 2);
    let (settled, _) = a.edit(|g| g.settle(|_| Resolution::Confirm)).unwrap();
    assert_eq!((settled.written, settled.open.len()), (1, 1));
    let kinds: Vec<_> = a.state().conflicts().map(|conflict| conflict.kind).collect();
    assert!(matches!(kinds[..], [ConflictKind::Orphaned { .. }]));
}

#[test]
fn a_place_that_is_under_the_node_by_now_is_not_picked() {
    let mut a = replica(1);
    for n in 0..4 {
        put(&mut a, n, TreePlace::Last);
    }
    let mut b = a.fork_with(TestEnvironment::new(2));
    put(&mut b, 1, TreePlace::LastIn(node(2)));
    put(&mut a, 1, TreePlace::LastIn(node(3)));
    a.merge(&b.complete()).unwrap();
    let conflict = a.state().conflicts().next().unwrap();
    let [shows, other] = [0, 1].map(|i| conflict.candidates[i].dot);
    let Content::Place { parent: Some(under), .. } = conflict.candidates[1].content else { panic!("{conflict}") };
    let id = conflict.id;
    drop(conflict);
    a.edit(|g| g.tree_mut(TREE).put(under, TreePlace::LastIn(node(1)))).unwrap();
    let picked = a.edit(|g| g.resolve(id, Resolution::Pick(other)));
    assert!(matches!(picked, Err(EditError::UnderItself { node: of, parent, .. }) if of == node(1) && parent == under));
    a.edit(|g| g.resolve(id, Resolution::Pick(shows))).unwrap();
    assert_eq!(a.state().conflicts().count(), 0);
}

/// The place is deep, and the writer writes much else between.
#[test]
fn what_one_puts_in_a_row_stays_together_in_a_deep_place() {
    for (depth, seed) in (0..24).flat_map(|depth| (0..4u64).map(move |seed| (depth, seed))) {
        let mut a = replica(seed * 1000 + 1);
        put(&mut a, 0, TreePlace::Last);
        put(&mut a, 1, TreePlace::Last);
        let (mut left, mut right) = (0, 1);
        for n in 2..2 + depth {
            a = a.fork_with(TestEnvironment::new(seed * 1000 + u64::from(n)));
            put(&mut a, n, TreePlace::After(node(left)));
            if n % 2 == 0 { left = n } else { right = n }
        }
        let _ = right;
        let mut others =
            [100, 200].map(|first| (first, a.fork_with(TestEnvironment::new(seed * 1000 + u64::from(first)))));
        for (first, other) in &mut others {
            let mut beside = left;
            for n in *first..*first + 5 {
                put(other, n, TreePlace::After(node(beside)));
                (0..70).for_each(|i| drop(other.edit(|g| g.set(node(0), "/x", i)).unwrap()));
                beside = n;
            }
        }
        for (_, other) in &others {
            a.merge(&other.complete()).unwrap();
        }
        let shown: Vec<NodeId> = a.state().tree(TREE).tops().collect();
        for first in [100, 200] {
            let row: Vec<NodeId> = (first..first + 5).map(node).collect();
            assert!(shown.windows(5).any(|window| window == row), "{depth} {seed}");
        }
    }
}

/// Whatever is settled, all others stay where they show; and in the end nothing is left.
#[test]
fn settling_leaves_all_others_where_they_show() {
    let mut a = replica(1);
    for n in 0..3 {
        put(&mut a, n, TreePlace::Last);
    }
    put(&mut a, 1, TreePlace::LastIn(node(2)));
    let mut others: Vec<_> = (0..3).map(|i| a.fork_with(TestEnvironment::new(10 + i))).collect();
    let first = put(&mut others[0], 1, TreePlace::LastIn(node(0)));
    put(&mut others[1], 0, TreePlace::LastIn(node(1)));
    others[2].merge(&first).unwrap();
    put(&mut others[2], 2, TreePlace::LastIn(node(1)));
    for other in &others {
        a.merge(&other.complete()).unwrap();
    }
    let walked = a.state().tree(TREE).walk().count();
    assert_eq!((walked, a.state().conflicts().count() > 0), (3, true));
    let was = shown(&a);
    let first = |a: &Replica<Graph>| a.state().conflicts().map(|conflict| conflict.id).next();
    while let Some(id) = first(&a) {
        a.edit(|g| g.resolve(id, Resolution::Confirm)).unwrap();
        assert_eq!((shown(&a), a.state().tree(TREE).walk().count()), (was.clone(), walked));
        check(a.state(), 5).unwrap();
    }
}

#[test]
fn concurrent_places_of_a_node_in_a_circle_are_listed_with_it() {
    let mut a = replica(1);
    for n in 0..4 {
        put(&mut a, n, TreePlace::Last);
    }
    let mut others: Vec<_> = (0..4).map(|i| a.fork_with(TestEnvironment::new(10 + i))).collect();
    // The later, the further ahead the clock.
    let mut ids = Vec::new();
    put(&mut others[0], 0, TreePlace::LastIn(node(3)));
    put(&mut others[1], 3, TreePlace::LastIn(node(0)));
    for other in &others[..2] {
        a.merge(&other.complete()).unwrap();
    }
    ids.extend(a.state().conflicts().map(|conflict| (conflict.of, conflict.id)));
    assert_eq!(ids.len(), 1);
    let displaced = if a.state().tree(TREE).is_top(node(0)) { 0 } else { 3 };
    put(&mut others[2], displaced, TreePlace::LastIn(node(1)));
    a.merge(&others[2].complete()).unwrap();
    let conflict = a.state().conflicts().find(|conflict| conflict.of == ids[0].0);
    if let Some(conflict) = conflict {
        assert_ne!(conflict.id, ids[0].1);
        let places: Vec<_> = conflict.candidates.iter().map(|candidate| candidate.content.clone()).collect();
        assert!(places.contains(&Content::Place { tree: TREE, parent: Some(node(1)) }), "{places:?}");
    }
    let stale = a.edit(|g| g.resolve(ids[0].1, Resolution::Confirm));
    assert!(stale.is_err());
}

/// Forged, or of two bunches under one tag: positions that are equal, and one beyond which nothing can be spelled.
#[test]
fn between_equal_positions_there_is_room_once_they_are_put_anew() {
    let mut least = vec![0x40, 0, 0, 0];
    least.extend([0x01, 0, 0, 0, 0, 0, 0]);
    for position in [POSITION.to_vec(), [0x40, 0, 0, 1, 0x7f].to_vec(), least] {
        let mut a = replica(1);
        for n in 1..4 {
            forge(&mut a, n, place_of(None, &position, None));
        }
        let siblings: Vec<NodeId> = a.state().tree(TREE).tops().collect();
        assert_eq!(siblings.len(), 3, "{position:?}");
        put(&mut a, 4, TreePlace::After(siblings[0]));
        put(&mut a, 5, TreePlace::Before(siblings[2]));
        put(&mut a, 6, TreePlace::First);
        put(&mut a, 7, TreePlace::Before(siblings[0]));
        let found: Vec<NodeId> = a.state().tree(TREE).tops().collect();
        let expected = [node(6), node(7), siblings[0], node(4), siblings[1], node(5), siblings[2]];
        assert_eq!(found, expected, "{position:?}");
        check(a.state(), 1).unwrap();
    }
}

/// A circle that grows by one, though nobody in it has changed: old knots are joined, each once.
#[test]
fn a_large_circle_that_another_joins_is_looked_at_once() {
    const MANY: u32 = 50_000;
    let id = |n: u32| NodeId::from(u128::from(n).to_be_bytes());
    let mut hostile = replica(1);
    let place = |g: &mut driftless::Edit<'_, Graph>, n: u32, place: Payload| {
        g.add_node(id(n))?;
        g.write(Entity::new(1, *id(n).as_bytes()), b"\x05outline", place).map(drop)
    };
    let (_, circle) = hostile
        .edit(|g| {
            let missing = |n| (n == MANY - 1).then_some((Some(id(MANY)), 0));
            (0..MANY).try_for_each(|n| place(g, n, place_of(Some(id((n + 1) % MANY)), &POSITION, missing(n))))
        })
        .unwrap();
    let (_, joins) = hostile.edit(|g| place(g, MANY, place_of(Some(id(0)), &POSITION, None))).unwrap();
    let mut victim = replica(2);
    victim.merge(&circle).unwrap();
    let started = Instant::now();
    victim.merge(&joins).unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    victim.state().check_invariants().unwrap();
}

/// A hostile delta: all nodes in one circle, and each of their earlier places closes another.
#[test]
fn circles_of_a_hundred_thousand_nodes_are_broken_in_seconds() {
    const MANY: u32 = 100_000;
    let id = |n: u32| NodeId::from(u128::from(n).to_be_bytes());
    let position = [0x40, 0, 0, 1, 0x80];
    let mut hostile = replica(1);
    let edit = |g: &mut driftless::Edit<'_, Graph>| {
        for n in 0..MANY {
            let node = g.add_node(id(n))?;
            // To the next one; before that to one that is far; before that, by a write of its own, to another.
            let from = id(n.wrapping_mul(2_654_435_761) % MANY);
            let mut payload = vec![7];
            payload.extend(id((n + 1) % MANY).as_bytes());
            payload.extend(from.as_bytes());
            payload.extend(u64::from(n.wrapping_mul(40_503) % MANY).to_be_bytes());
            payload.extend([0, 5]);
            payload.extend(position);
            payload.extend(position);
            g.write(Entity::new(1, *node.as_bytes()), b"\x05outline", Payload::new(22, &payload))?;
        }
        Ok(())
    };
    // Each is a valid write by itself; one after the other they take the index once each.
    let started = Instant::now();
    let mut victim = replica(2);
    hostile.edit(edit).unwrap();
    let written = started.elapsed();
    let delta = hostile.complete();
    let started = Instant::now();
    victim.merge(&delta).unwrap();
    let merged = started.elapsed();
    println!("written in {written:?}, merged in {merged:?}");
    assert!(merged < Duration::from_secs(60), "{merged:?}");
    let tree = victim.state().tree(TREE);
    assert_eq!(tree.len(), MANY as usize);
    let listed = victim.state().conflicts().count();
    println!("{} detached, {listed} conflicts", tree.detached().count());
    assert!(listed > 0);
    // A single move writes down what would jump, and no more.
    let started = Instant::now();
    let (_, delta) = victim.edit(|g| g.tree_mut(TREE).put(id(5), TreePlace::Last)).unwrap();
    println!("one move: {:?}, {} bytes", started.elapsed(), delta.to_bytes().len());
    assert!(started.elapsed() < Duration::from_secs(60));
    victim.state().check_invariants().unwrap();
}

/// A node that showed nowhere then goes to the top, or its children could not show under it.
#[test]
fn going_back_to_what_was_under_a_detached_node() {
    play(&[(2, Act::Forge(0, 60, 45, 229)), (2, Act::Keep), (2, Act::Move(0, 0, 0)), (2, Act::Revert)]).unwrap();
}

/// The node shows at a place from before, under the same parent: put there anew it must show at the new one.
#[test]
fn a_move_out_of_a_circle_shows_where_it_was_made() {
    let acts = [
        (1, Act::TakeOut(2)),
        (1, Act::Move(0, 4, 2)),
        (2, Act::Move(2, 2, 3)),
        (2, Act::Send(1, false)),
        (0, Act::Arrive(0, false)),
        (1, Act::Move(2, 4, 1)),
    ];
    play(&acts).unwrap();
}
