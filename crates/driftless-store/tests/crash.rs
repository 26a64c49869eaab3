//! Crash exhaustion: small histories stop at every operation of the disk, and of what was not synced any part is lost.
//!
//! `DRIFTLESS_CRASHES=20` tries more of the subsets that are too many to try all.

#[path = "support/crash.rs"]
mod crash;

use std::io;

use driftless::{Graph, NodeId};
use driftless_store::{Fault, Image, Options, SimulatedDisk, StorageError, Store, StoreError};

use crash::{Counts, Effort, checkpoint_and_tombstones, fail_everywhere, fill_everywhere, histories, stop_everywhere};

fn effort() -> Effort {
    let times = std::env::var("DRIFTLESS_CRASHES").ok().and_then(|times| times.parse().ok());
    times.map_or(Effort { all: 7, samples: 20, again: 40 }, |times: u64| Effort {
        all: 10,
        samples: 50 * times,
        again: 11,
    })
}

fn all(of: impl Fn(&str, driftless_store::Durability, &[crash::Step]) -> Result<Counts, String>) -> Counts {
    let mut counts = Counts::default();
    for (name, durability, steps) in histories() {
        counts.add(of(name, durability, &steps).unwrap_or_else(|why| panic!("{why}")));
    }
    println!("{counts:?}");
    counts
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_machine_stops() {
    let counts = all(|name, durability, steps| stop_everywhere(name, durability, steps, effort()));
    assert!(
        counts.stops > 500 && counts.crashes > 10_000 && counts.truncated > 100 && counts.crashes_again > 5_000,
        "{counts:?}"
    );
}

#[test]
fn nothing_told_is_lost_whatever_operation_fails() {
    let counts = all(fail_everywhere);
    assert!(counts.faults > 200 && counts.refused > 50, "{counts:?}");
}

#[test]
fn a_full_disk_changes_nothing_and_freeing_space_is_enough() {
    let counts = all(|name, durability, steps| fill_everywhere(name, durability, steps, 97));
    assert!(counts.faults > 200, "{counts:?}");
}

#[test]
fn a_peer_that_was_away_during_a_checkpoint_need_not_reconcile() {
    checkpoint_and_tombstones().unwrap();
}

/// What may be left of a disk: nothing that was not synced, all of it, and all but, or none but, each of its units.
fn leftovers(disk: &SimulatedDisk) -> Vec<Image> {
    let units = 0..disk.unsynced();
    let but_one = units.clone().map(|one| disk.crash(|unit| unit != one));
    let one_alone = units.map(|one| disk.crash(|unit| unit == one));
    [disk.crash(|_| false), disk.crash(|_| true)].into_iter().chain(but_one).chain(one_alone).collect()
}

fn small() -> Options {
    Options::new().with_segment_len(400).with_compaction_floor(u64::MAX).without_background()
}

/// Adds nodes and checkpoints now and then; returns the names of those that were acknowledged, and of those that were refused for room.
fn add_nodes(store: &mut Store<Graph>) -> (Vec<String>, Vec<String>) {
    let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
    for n in 0..9 {
        let name = format!("node:{n}");
        match store.edit(|g| g.add_node(name.as_str())) {
            Ok(_) => acknowledged.push(name),
            Err(StoreError::Storage(StorageError::Full { .. })) => refused.push(name),
            Err(_) => {}
        }
        if n % 3 == 1 {
            let _ = store.compact();
        }
    }
    (acknowledged, refused)
}

fn has(graph: &Graph, name: &str) -> bool {
    graph.node(NodeId::named(name)).is_some()
}

#[test]
fn a_failure_that_the_system_calls_lack_of_room_loses_nothing_either() {
    let mut refusals = 0;
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        for at in 0.. {
            let disk = SimulatedDisk::new();
            let mut store = small().open_on::<Graph>(disk.clone()).unwrap();
            let fails = disk.changes() + at;
            disk.set_fault(Fault::Fail(fails, kind));
            let (acknowledged, refused) = add_nodes(&mut store);
            let Some(what) = disk.history().get(fails as usize).cloned() else { break };
            refusals += refused.len();
            let in_memory = refused.iter().find(|name| has(store.state(), name));
            assert_eq!(in_memory, None, "{what} fails with {kind}: refused, and in memory");
            for image in leftovers(&disk) {
                let store: Store<Graph> = small().open_on(SimulatedDisk::with(&image)).unwrap();
                let lost = acknowledged.iter().find(|name| !has(store.state(), name));
                assert_eq!(lost, None, "{what} fails with {kind}: acknowledged, and lost");
                let back = refused.iter().find(|name| has(store.state(), name));
                assert_eq!(back, None, "{what} fails with {kind}: refused, and there after a crash");
            }
        }
    }
    assert!(refusals > 20, "{refusals} refusals");
}

/// The page cache survives the process, so the next one reads what is not durable yet.
#[test]
fn a_process_that_is_killed_and_then_a_machine_that_stops_lose_nothing() {
    for at in 0.. {
        let disk = SimulatedDisk::new();
        let mut store = small().open_on::<Graph>(disk.clone()).unwrap();
        let killed = disk.changes() + at;
        disk.set_fault(Fault::Stop(killed));
        let (acknowledged, _) = add_nodes(&mut store);
        drop(store);
        let Some(what) = disk.history().get(killed as usize).cloned() else { break };
        // The second process stops as well, at each of its operations.
        for again in 0..40 {
            let disk = SimulatedDisk::new();
            let mut store = small().open_on::<Graph>(disk.clone()).unwrap();
            disk.set_fault(Fault::Stop(killed));
            add_nodes(&mut store);
            drop(store);
            let stops = disk.changes() + again;
            disk.set_fault(Fault::Stop(stops));
            drop(small().open_on::<Graph>(disk.clone()));
            for image in leftovers(&disk) {
                let store: Store<Graph> = small()
                    .open_on(SimulatedDisk::with(&image))
                    .unwrap_or_else(|error| panic!("killed at {what}, then at {again} of opening: {error}"));
                let lost = acknowledged.iter().find(|name| !has(store.state(), name));
                assert_eq!(lost, None, "killed at {what}, then at {again} of opening");
            }
            if disk.changes() <= stops {
                break;
            }
        }
    }
}
