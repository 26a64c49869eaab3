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
    // What is written down has no conflict with itself.
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

/// What a peer may send: everybody in one circle, and each of their earlier places closes another.
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
    // By itself each is a valid write; one after the other they take the index once each.
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
