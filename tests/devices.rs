//! Which tombstones are pruned for whom.

use std::time::Duration;

use driftless::sync::Devices;
use driftless::testing::{TestEnvironment, repair_checksum};
use driftless::{Budget, Crdt, CutError, Graph, NodeId, Prune, Replica, Version, WriterId};
use proptest::prelude::*;

const EVER: Budget = Budget { count: usize::MAX, bytes: u64::MAX, age: Duration::MAX };

fn node(n: u32) -> NodeId {
    NodeId::named(&format!("n:{n}"))
}

/// Two replicas with the same nodes; one has removed some of them since, one edit each.
fn two(removed: u32) -> (Replica<Graph>, Replica<Graph>) {
    let mut a = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    let mut b = Replica::<Graph>::with_environment(TestEnvironment::new(2));
    let (_, delta) = a.edit(|g| (0..20).try_for_each(|n| g.add_node(&format!("n:{n}")).map(drop))).unwrap();
    b.merge(&delta).unwrap();
    for n in 0..removed {
        a.edit(|g| g.remove_node(node(n))).unwrap();
    }
    (a, b)
}

#[test]
fn what_a_device_has_not_acknowledged_stays() {
    let (mut a, mut b) = two(3);
    let mut devices = Devices::new();
    devices.acknowledge("b", b.version().clone());
    assert_eq!(a.prune(Prune::Upto(&devices.plan(&a, &EVER, 0))), 0);
    b.merge(&a.delta_since(b.version()).unwrap()).unwrap();
    // Seen, and not acknowledged.
    assert_eq!(a.prune(Prune::Upto(&devices.plan(&a, &EVER, 0))), 0);
    devices.acknowledge("b", b.version().clone());
    a.edit(|g| g.remove_node(node(19))).unwrap();
    assert_eq!(a.prune(Prune::Upto(&devices.plan(&a, &EVER, 0))), 3);
    assert!(a.delta_since(b.version()).is_ok());
}

#[test]
fn a_device_that_stays_away_holds_up_no_more_than_the_budget() {
    for (budget, kept) in [
        (Budget { count: 4, ..EVER }, 4),
        (Budget { bytes: 0, ..EVER }, 0),
        (Budget { age: Duration::ZERO, ..EVER }, 0),
        (EVER, 10),
    ] {
        let (mut a, b) = two(10);
        let mut devices = Devices::new();
        devices.acknowledge("b", b.version().clone());
        let plan = devices.plan(&a, &budget, u64::MAX);
        assert_eq!(a.prune(Prune::Upto(&plan)), 10 - kept, "{budget:?}");
        // The youngest are left, and an older device is told to reconcile.
        assert_eq!(a.state().state().tombstones_len(), kept);
        assert_eq!(matches!(a.delta_since(b.version()), Err(CutError::Pruned { .. })), kept < 10);
        // What is within the budget is left alone.
        assert_eq!(a.prune(Prune::Upto(&devices.plan(&a, &budget, u64::MAX))), 0);
    }
}

#[test]
fn a_budget_of_bytes_counts_what_a_tombstone_takes_in_memory() {
    // About a hundred bytes for a node, whose root has no name; the name of a property comes on top.
    for (name_len, least, most) in [(0, 50, 150), (1_000, 1_050, 1_150)] {
        let (mut a, b) = two(0);
        let remove = |n: u32, a: &mut Replica<Graph>| match name_len {
            0 => drop(a.edit(|g| g.remove_node(node(n))).unwrap()),
            _ => {
                let path = format!("/{}", "x".repeat(name_len));
                a.edit(|g| g.set(node(n), &path, 1)).unwrap();
                a.edit(|g| g.unset(node(n), &path)).unwrap();
            }
        };
        (0..10).for_each(|n| remove(n, &mut a));
        let mut devices = Devices::new();
        devices.acknowledge("b", b.version().clone());
        let pruned = |bytes: u64| {
            let plan = devices.plan(&a, &Budget { bytes, ..EVER }, u64::MAX);
            let mut a = a.fork_with(TestEnvironment::new(9));
            a.prune(Prune::Upto(&plan))
        };
        assert_eq!(pruned(10 * most), 0);
        assert!((1..=9).contains(&pruned(10 * least - least / 2)), "{}", pruned(10 * least));
    }
}

#[test]
fn a_forgotten_device_holds_nothing_up_and_one_restored_does() {
    let (mut a, b) = two(2);
    let mut devices = Devices::new();
    devices.acknowledge("b", a.version().clone());
    devices.acknowledge("b", b.version().clone());
    assert_eq!(devices.seen_by_all(a.version()), *b.version());
    assert_eq!(a.prune(Prune::Upto(&devices.plan(&a, &EVER, 0))), 0);
    assert_eq!(devices.forget("b").as_ref().map(|standing| standing.version()), Some(b.version()));
    assert_eq!(devices.forget("b"), None);
    assert_eq!(a.prune(Prune::Upto(&devices.plan(&a, &EVER, 0))), 2);
}

fn devices() -> impl Strategy<Value = Devices> {
    let version = prop::collection::vec((0u8..5, 1u64..1000), 0..4);
    prop::collection::btree_map("[a-zé]{0,6}", version, 0..5).prop_map(|map| {
        let mut devices = Devices::new();
        for (name, version) in map {
            let version: Version = version.into_iter().map(|(r, c)| (WriterId::from([r; 10]), c)).collect();
            devices.acknowledge(name, version);
        }
        devices
    })
}

proptest! {
    #[test]
    fn lists_survive_and_damaged_ones_are_errors_or_lists(
        devices in devices(), at: prop::sample::Index, byte: u8,
    ) {
        let mut bytes = devices.to_bytes();
        prop_assert_eq!(&Devices::from_bytes(&bytes), &Ok(devices));
        let at = at.index(bytes.len());
        prop_assert!(Devices::from_bytes(&bytes[..at]).is_err());
        bytes[at] = byte;
        repair_checksum(&mut bytes);
        if let Ok(read) = Devices::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }
}
