//! Which way a session brings a peer up: the cheapest that tells the truth.

use std::time::Duration;

use driftless::sync::{Counters, Event, Options, Session};
use driftless::testing::TestEnvironment;
use driftless::{Delta, DeltaKind, Graph, NodeId, Prune, Replica};

fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn node(n: u32) -> NodeId {
    NodeId::named(&format!("node {n}"))
}

fn add(replica: &mut Replica<Graph>, nodes: std::ops::Range<u32>) {
    replica.edit(|g| nodes.into_iter().try_for_each(|n| g.add_node(&format!("node {n}")).map(drop))).unwrap();
}

fn remove(replica: &mut Replica<Graph>, nodes: std::ops::Range<u32>) {
    replica.edit(|g| nodes.into_iter().try_for_each(|n| g.remove_node(node(n)).map(drop))).unwrap();
}

/// Lets the two talk until both hold the same; returns what each merged, and what the first counted.
fn sync(a: &mut Replica<Graph>, b: &mut Replica<Graph>) -> ([Vec<Delta>; 2], Counters) {
    let mut on_a = Session::new(a, Options::new(), [1; 16]);
    let mut on_b = Session::new(b, Options::new(), [2; 16]);
    let (mut merged, now) = ([Vec::new(), Vec::new()], Duration::ZERO);
    for _ in 0..100 {
        while let Some(frame) = on_a.poll_frame(a, now).unwrap() {
            on_b.handle_frame(b, &frame, now).unwrap();
        }
        while let Some(frame) = on_b.poll_frame(b, now).unwrap() {
            on_a.handle_frame(a, &frame, now).unwrap();
        }
    }
    for (session, merged) in [&mut on_a, &mut on_b].into_iter().zip(&mut merged) {
        while let Some(event) = session.poll_event() {
            if let Event::Merged { delta, .. } = event {
                merged.push(*delta);
            }
        }
    }
    assert!(on_a.is_equal(a) && on_b.is_equal(b), "{on_a:?} {on_b:?} {} {}", on_a.is_equal(a), on_b.is_equal(b));
    assert!(a.state() == b.state());
    (merged, on_a.counters())
}

/// Two that hold so many nodes.
fn two_with(nodes: u32) -> (Replica<Graph>, Replica<Graph>) {
    let (mut a, mut b) = (replica(1), replica(2));
    add(&mut a, 0..nodes);
    sync(&mut a, &mut b);
    (a, b)
}

#[test]
fn an_empty_peer_gets_everything_in_one_go_whatever_was_pruned() {
    let mut a = replica(1);
    add(&mut a, 0..1000);
    remove(&mut a, 0..500);
    a.prune(Prune::All);
    let mut b = replica(2);
    let ([_, merged], counters) = sync(&mut a, &mut b);
    assert_eq!((merged.len(), counters.reconciliations), (1, 0));
    assert_eq!(b.state().node_count(), 500);
}

#[test]
fn what_changed_goes_alone_while_nothing_unseen_was_pruned() {
    let (mut a, mut b) = two_with(1000);
    remove(&mut a, 0..1);
    add(&mut a, 2000..2001);
    let ([_, merged], _) = sync(&mut a, &mut b);
    assert!(matches!(merged[..], [ref delta] if *delta.kind() == DeltaKind::Incremental && delta.len() == 2));
}

#[test]
fn what_was_pruned_unseen_is_reconciled() {
    let (mut a, mut b) = two_with(1000);
    remove(&mut a, 0..3);
    a.prune(Prune::All);
    let ([_, merged], counters) = sync(&mut a, &mut b);
    let [delta] = &merged[..] else { panic!("{merged:?}") };
    assert!(matches!(delta.kind(), DeltaKind::Reconciled { dead, .. } if dead.len() == 3), "{delta:?}");
    assert_eq!(counters.reconciliations, 1);
    assert!(counters.bytes_sent + counters.bytes_received < 1000, "{counters:?}");
}

#[test]
fn so_little_that_asking_would_cost_more_goes_as_a_whole() {
    let (mut a, mut b) = two_with(8);
    remove(&mut a, 0..3);
    a.prune(Prune::All);
    let ([_, merged], counters) = sync(&mut a, &mut b);
    assert!(matches!(merged[..], [ref delta] if *delta.kind() == DeltaKind::Complete));
    assert_eq!(counters.reconciliations, 0);
}

#[test]
fn mostly_tombstones_go_as_what_is_left_alive() {
    let (mut a, mut b) = two_with(1000);
    remove(&mut a, 0..950);
    let tombstones = a.delta_since(b.version()).unwrap().to_bytes().len() as u64;
    let ([_, merged], counters) = sync(&mut a, &mut b);
    assert!(matches!(merged[..], [ref delta] if *delta.kind() == DeltaKind::Complete), "{merged:?}");
    assert!(counters.bytes_sent < tombstones / 2, "{} of {tombstones}", counters.bytes_sent);
}

#[test]
fn both_directions_take_the_way_that_fits_each() {
    let (mut a, mut b) = two_with(1000);
    remove(&mut a, 0..3);
    a.prune(Prune::All);
    add(&mut b, 5000..5001);
    let ([to_a, to_b], _) = sync(&mut a, &mut b);
    assert!(matches!(to_a[..], [ref delta] if *delta.kind() == DeltaKind::Incremental));
    assert!(matches!(to_b[..], [ref delta] if matches!(delta.kind(), DeltaKind::Reconciled { .. })));

    remove(&mut a, 10..12);
    remove(&mut b, 20..23);
    a.prune(Prune::All);
    b.prune(Prune::All);
    let ([to_a, to_b], counters) = sync(&mut a, &mut b);
    assert!(
        matches!(to_a[..], [ref delta] if matches!(delta.kind(), DeltaKind::Reconciled { dead, .. } if dead.len() == 3))
    );
    assert!(
        matches!(to_b[..], [ref delta] if matches!(delta.kind(), DeltaKind::Reconciled { dead, .. } if dead.len() == 2))
    );
    assert_eq!(counters.reconciliations, 1, "one descent tells both");
    assert_eq!(a.state().node_count(), 1001 - 3 - 5);
}
