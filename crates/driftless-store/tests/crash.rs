//! Crash exhaustion: small histories stop at every operation of the disk, and of what was not synced any part is lost.
//!
//! `DRIFTLESS_CRASHES=20` tries more of the subsets that are too many to try all.

#[path = "support/copied.rs"]
mod copied;
#[path = "support/crash.rs"]
mod crash;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use driftless::{Graph, NodeId, Prune, Replica};
use driftless_store::{
    Disk, DiskFile, Fault, Image, Lock, LockError, Options, SimulatedDisk, StorageError, Store, StoreError,
};

use copied::Copied;
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

/// A disk that is full, and on which what was written is not cut off either, once it is told to be so.
#[derive(Debug, Clone)]
struct Stuck {
    disk: SimulatedDisk,
    is_stuck: Arc<AtomicBool>,
}

#[derive(Debug)]
struct StuckFile {
    file: Arc<dyn DiskFile>,
    is_stuck: Arc<AtomicBool>,
}

impl Stuck {
    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(StuckFile { file, is_stuck: Arc::clone(&self.is_stuck) })
    }
}

impl Disk for Stuck {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.create(name)?))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn lock(&self, holder: &str, wait: Duration) -> Result<Box<dyn Lock>, LockError> {
        self.disk.lock(holder, wait)
    }
    fn location(&self) -> String {
        self.disk.location()
    }
}

impl DiskFile for StuckFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)?;
        if self.is_stuck.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.is_stuck.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Other.into());
        }
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[test]
fn a_write_that_cannot_be_undone_is_not_called_lack_of_room() {
    let disk = Stuck { disk: SimulatedDisk::new(), is_stuck: Arc::default() };
    let mut store = small().open_on::<Graph>(disk.clone()).unwrap();
    store.edit(|g| g.add_node("node:1")).unwrap();
    disk.is_stuck.store(true, Ordering::Relaxed);
    let refused = store.edit(|g| g.add_node("node:2")).unwrap_err();
    assert!(matches!(refused, StoreError::Storage(StorageError::Poisoned { .. })), "{refused}");
    assert!(!has(store.state(), "node:2"));
    // All of it had been written.
    let left = SimulatedDisk::with(&disk.disk.crash(|_| true));
    assert!(has(small().open_on::<Graph>(left).unwrap().state(), "node:2"));
}

#[test]
fn a_dot_with_two_contents_whose_tombstone_was_pruned_opens_as_it_was() {
    for (is_label, prunes_before) in [(false, false), (false, true), (true, false), (true, true)] {
        let disk = SimulatedDisk::new();
        let mut other = Replica::<Graph>::with_environment(Copied);
        let mut store = small().with_environment(Copied).open_on::<Graph>(disk.clone()).unwrap();
        other.edit(|g| g.add_node("two").and_then(|node| g.label(node, "L"))).unwrap();
        store.edit(|g| g.add_node("zero").and_then(|node| g.label(node, "L"))).unwrap();
        store.edit(|g| g.remove_node(NodeId::named("zero"))).unwrap();
        let (_, delta) = match is_label {
            true => other.edit(|g| g.add_node("two").and_then(|node| g.label(node, "M"))).unwrap(),
            false => other.edit(|g| g.add_node("zero").and_then(|node| g.set(node, "/v", 1))).unwrap(),
        };
        if prunes_before {
            store.prune(Prune::All);
        }
        store.merge(&delta).unwrap();
        // By the system's clock the tombstone would be old enough to be pruned.
        let opened = small().with_environment(Copied).open_on(SimulatedDisk::with(&disk.crash(|_| false)));
        let opened: Store<Graph> = opened.unwrap();
        assert_eq!(opened.state(), store.state());
        assert_eq!(opened.fingerprint(), store.fingerprint());
    }
}
