//! Allocations of writing, reading and merging. They are counted, so they are the same on every machine.

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use driftless::testing::TestEnvironment;
use driftless::{Delta, Graph, NodeId, Replica};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NODES: usize = 20_000;

/// One test at a time counts.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Allocations and reallocations for each of so many.
fn each<R>(count: usize, run: impl FnOnce() -> R) -> (f64, R) {
    let region = Region::new(ALLOCATOR);
    let result = run();
    let change = region.change();
    ((change.allocations + change.reallocations) as f64 / count as f64, result)
}

fn name(n: usize) -> String {
    format!("person:{n:05}")
}

fn ids() -> Vec<NodeId> {
    (0..NODES).map(|n| NodeId::named(&name(n))).collect()
}

/// Nodes of four cells, in transactions of a hundred.
fn add(replica: &mut Replica<Graph>, names: &[String]) {
    for names in names.chunks(100) {
        let edit = replica.edit(|g| {
            names.iter().try_for_each(|name| {
                let node = g.add_node(name)?;
                g.set(node, "/name", name)?;
                g.set(node, "/title", "countess of Lovelace")?;
                g.set(node, "/weight", 0.5)
            })
        });
        drop(edit.unwrap());
    }
}

fn set(replica: &mut Replica<Graph>, ids: &[NodeId], weight: f64) -> Vec<Delta> {
    let edits =
        ids.chunks(100).map(|ids| replica.edit(|g| ids.iter().try_for_each(|id| g.set(*id, "/weight", weight))));
    edits.map(|edit| edit.unwrap().1).collect()
}

#[test]
fn a_write_allocates_less_than_once_and_a_read_never() {
    let _alone = alone();
    let names: Vec<String> = (0..NODES).map(name).collect();
    let mut replica = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    let (a_write, ()) = each(4 * NODES, || add(&mut replica, &names));
    println!("{a_write:.2} allocations a write of a new node");
    assert!(a_write < 0.7, "{a_write:.2}");

    let ids = ids();
    let (an_overwrite, deltas) = each(NODES, || set(&mut replica, &ids, 1.5));
    println!("{an_overwrite:.2} allocations a write to a node that is there");
    assert!(an_overwrite < 2.0, "{an_overwrite:.2}");

    let state = replica.state();
    let (a_read, read) = each(NODES, || {
        let weight = |id: &NodeId| state.node(*id)?.get("/weight")?.as_f64();
        ids.iter().filter_map(weight).filter(|weight| *weight == 1.5).count()
    });
    assert_eq!((a_read, read), (0.0, NODES));
    let (a_step, walked) = each(NODES, || state.nodes().filter_map(|node| node.get("/title")).count());
    assert!(a_step < 0.01 && walked == NODES, "{a_step}");
    drop(deltas);
}

#[test]
fn a_merged_write_allocates_twice_at_most_whatever_the_state_holds() {
    let _alone = alone();
    let mut figures = Vec::new();
    for nodes in [NODES / 10, NODES] {
        let names: Vec<String> = (0..nodes).map(name).collect();
        let mut ada = Replica::<Graph>::with_environment(TestEnvironment::new(1));
        add(&mut ada, &names);
        let mut bob = Replica::<Graph>::with_environment(TestEnvironment::new(2));
        let complete = ada.complete();
        let (a_new_write, ()) = each(4 * nodes, || drop(bob.merge(&complete).unwrap()));
        let deltas = set(&mut ada, &ids()[..nodes], 1.5);
        let (a_write, ()) = each(nodes, || deltas.iter().for_each(|delta| drop(bob.merge(delta).unwrap())));
        assert_eq!(ada.state(), bob.state());
        figures.push((a_new_write, a_write));
    }
    println!("allocations a merged write, new and in place of another: {figures:.2?}");
    assert!(figures.iter().all(|(new, other)| *new < 0.5 && *other < 2.1), "{figures:.2?}");
}
