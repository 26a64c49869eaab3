//! Sessions: two replicas become equal, at the cost of what differs, whatever the channel does.

use driftless::sync;
use driftless::testing::TestEnvironment;
use driftless::{Graph, NodeId, Prune, Replica};

fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn two() -> (Replica<Graph>, Replica<Graph>) {
    let (mut a, mut b) = (replica(1), replica(2));
    a.edit(|g| (0..100).try_for_each(|n| g.add_node(&format!("node {n}")).map(drop))).unwrap();
    b.merge(&a.complete()).unwrap();
    (a, b)
}

#[test]
fn both_ways() {
    let (mut a, mut b) = two();
    a.edit(|g| g.add_node("a")).unwrap();
    b.edit(|g| g.add_node("b")).unwrap();
    let (on_a, on_b) = sync::in_memory(&mut a, &mut b).unwrap();
    println!("{:?}\n{:?}", on_a.counters, on_b.counters);
    assert_eq!(a.state(), b.state());
}

#[test]
fn equal_peers_exchange_one_hello_each() {
    let (mut a, mut b) = two();
    let (on_a, on_b) = sync::in_memory(&mut a, &mut b).unwrap();
    println!("{:?}\n{:?}", on_a.counters, on_b.counters);
}

#[test]
fn removals_that_were_pruned() {
    let (mut a, mut b) = two();
    a.edit(|g| g.remove_node(NodeId::named("node 5"))).unwrap();
    a.prune(Prune::All);
    b.edit(|g| g.add_node("b")).unwrap();
    let (on_a, on_b) = sync::in_memory(&mut a, &mut b).unwrap();
    println!("{:?}\n{:?}", on_a.counters, on_b.counters);
    assert_eq!(a.state(), b.state());
    assert_eq!(a.state().node_count(), 100);
}

#[test]
fn contradictions_are_repaired() {
    let (mut a, _) = two();
    let (bytes, lease) = a.save();
    let mut b = Replica::<Graph>::resume_with(TestEnvironment::new(7), &bytes, lease).unwrap();
    a.edit(|g| g.add_node("a")).unwrap();
    b.edit(|g| g.add_node("b")).unwrap();
    assert_eq!(a.version(), b.version());
    let (on_a, on_b) = sync::in_memory(&mut a, &mut b).unwrap();
    println!("{:?}\n{:?}", on_a.counters, on_b.counters);
    assert_eq!(a.state(), b.state());
    assert_eq!(on_a.repaired.len() + on_b.repaired.len(), 2);
}
