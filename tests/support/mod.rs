//! Deltas of every kind, with everything in them that the format can hold.
#![allow(dead_code, reason = "each test takes what it needs")]

use driftless::kernel::{Entity, Payload};
use driftless::testing::TestEnvironment;
use driftless::{Delta, Graph, Prune, Replica};

pub(crate) fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// Messages of each kind with a replica that they apply to, and a saved state.
pub(crate) struct Samples {
    pub(crate) incremental: Delta,
    pub(crate) complete: Delta,
    pub(crate) reconciled: Delta,
    pub(crate) state: Vec<u8>,
    pub(crate) receiver: Replica<Graph>,
}

pub(crate) fn samples() -> Samples {
    let (mut a, mut receiver) = (replica(1), replica(2));
    let ids: Vec<_> = (0..3).map(|n| format!("node {n}")).collect();
    let (nodes, first) = a
        .edit(|g| {
            let nodes = ids.iter().map(|name| g.add_node(name)).collect::<Result<Vec<_>, _>>()?;
            g.label(nodes[0], "Person")?;
            g.set(nodes[0], "/name", "a text too long to be kept in line")?;
            g.set(nodes[1], "/weight", -1.5)?;
            g.set(nodes[1], "/count", 300)?;
            let edge = g.link(nodes[0], "knows", nodes[1])?;
            g.set(edge, "/since", 1815)?;
            Ok(nodes)
        })
        .unwrap();
    receiver.merge(&first).unwrap();
    receiver.edit(|g| g.set(nodes[0], "/name", "concurrent")).unwrap();
    a.merge(&receiver.delta_since(a.version()).unwrap()).unwrap();
    a.edit(|g| g.set(nodes[0], "/name", "seen")).unwrap();
    receiver.edit(|g| g.set(nodes[0], "/name", "again")).unwrap();
    a.edit(|g| {
        g.unset(nodes[1], "/count")?;
        g.remove_node(nodes[2])?;
        g.add_node("node 2")?;
        g.set(nodes[2], "/x", true)?;
        // Cells of a later version: kinds and fields that this one does not know.
        g.write(Entity::new(9, [9; 16]), b"later", Payload::new(200, b"unknown"))?;
        g.write(Entity::new(1, *nodes[0].as_bytes()), &[77, 1, 2], Payload::new(201, &[7; 40]))
    })
    .unwrap();
    let incremental = a.delta_since(receiver.version()).unwrap();
    a.edit(|g| g.remove_node(nodes[1])).unwrap();
    let state = a.save();
    a.prune(Prune::All);
    let complete = a.complete();
    let reconciled = a.reconcile(receiver.version(), &receiver.live_dots());
    Samples { incremental, complete, reconciled, state, receiver }
}
