//! Small histories of a store on a simulated disk that stops, fails or fills up at every operation.
//!
//! The oracle is a map of names and numbers, and shares nothing with the store: after whatever went wrong, the store holds what the
//! map held after some step that is not before the last one that was acknowledged, and not after the one under way.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use driftless::sync;
use driftless::{Crdt, Delta, Graph, NodeId, Prune, Replica};
use driftless_store::{Durability, Fault, Image, Options, SimulatedDisk, StorageError, Store, StoreError};

/// One step of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sets a node to a number, and the table with it.
    Set(u8, i64),
    /// An edit that takes several sectors.
    Big(u8, i64),
    Remove(u8),
    /// Changes the table alone.
    Put(u8, i64),
    /// Merges what a peer wrote, which sets a node.
    Merge(u8, i64),
    /// Merges the peer's removal of a node.
    MergeRemoval(u8),
    Compact,
    Prune,
    Flush,
    Reopen,
}

use Step::{Big, Compact, Flush, Merge, MergeRemoval, Prune as Forget, Put, Remove, Reopen, Set};

/// Histories that together have every step between any two others that matter.
pub(crate) fn histories() -> Vec<(&'static str, Durability, Vec<Step>)> {
    let (at_once, manual) = (Durability::Immediate, Durability::Manual);
    vec![
        ("edits", at_once, vec![Set(1, 1), Set(1, 2), Put(1, 7), Remove(1), Set(2, 3), Set(1, 4)]),
        ("segments", at_once, vec![Big(1, 1), Big(2, 2), Set(1, 3), Big(3, 4), Remove(2), Big(1, 5)]),
        (
            "checkpoints",
            at_once,
            vec![Set(1, 1), Set(2, 2), Remove(1), Compact, Set(3, 3), Compact, Put(2, 1), Set(3, 4)],
        ),
        (
            "pruning",
            at_once,
            vec![Set(1, 1), Merge(2, 2), Remove(1), Remove(2), Forget, Compact, Set(2, 5), MergeRemoval(2), Forget],
        ),
        (
            "merges",
            at_once,
            vec![Merge(1, 1), Set(1, 2), Merge(1, 3), MergeRemoval(1), Set(2, 1), Compact, Merge(2, 4), Set(3, 1)],
        ),
        (
            "openings",
            at_once,
            vec![Set(1, 1), Reopen, Set(2, 2), Reopen, Reopen, Remove(1), Compact, Reopen, Set(1, 3)],
        ),
        (
            "batches",
            manual,
            vec![Set(1, 1), Set(2, 2), Flush, Set(1, 3), Put(1, 1), Remove(2), Flush, Big(3, 1), Set(1, 4)],
        ),
        (
            "batches and checkpoints",
            manual,
            vec![
                Set(1, 1),
                Big(2, 2),
                Compact,
                Set(1, 3),
                Merge(3, 1),
                Flush,
                Remove(2),
                Reopen,
                Set(2, 4),
                Compact,
                Set(4, 1),
            ],
        ),
    ]
}

/// What a store holds, for people who know nothing of stores.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Content {
    nodes: BTreeMap<u8, i64>,
    table: BTreeMap<u8, i64>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nodes {:?}, table {:?}", self.nodes, self.table)
    }
}

impl Content {
    fn after(&self, step: Step) -> Self {
        let mut content = self.clone();
        match step {
            Set(node, value) | Big(node, value) => {
                content.nodes.insert(node, value);
                content.table.insert(node, value);
            }
            Merge(node, value) => drop(content.nodes.insert(node, value)),
            Put(key, value) => drop(content.table.insert(key, value)),
            Remove(node) | MergeRemoval(node) => drop(content.nodes.remove(&node)),
            Compact | Forget | Flush | Reopen => {}
        }
        content
    }

    fn of(store: &Store<Graph>) -> Self {
        Self {
            nodes: nodes(store.state()),
            table: store.scan("").map(|(key, value)| (key[0], number(value))).collect(),
        }
    }
}

fn number(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes.try_into().unwrap())
}

fn id(node: u8) -> NodeId {
    NodeId::named(format!("node:{node}").as_str())
}

pub(crate) fn nodes(graph: &Graph) -> BTreeMap<u8, i64> {
    let value = |node: u8| {
        let value = graph.node(id(node))?.get("/value").map(|value| value.as_int().unwrap());
        Some((node, value.unwrap()))
    };
    (0..=9).filter_map(value).collect()
}

/// A history on its way.
struct Run {
    disk: SimulatedDisk,
    durability: Durability,
    store: Option<Store<Graph>>,
    /// The device at the other end, which is told what is durable and writes something of its own.
    peer: Replica<Graph>,
    /// What the store held after each step.
    past: Vec<Content>,
    /// The last of these that must survive.
    durable: usize,
    /// What the peer wrote for a step that failed: it is merged when the step is done again.
    unmerged: Option<Delta>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) histories: u64,
    pub(crate) stops: u64,
    pub(crate) crashes: u64,
    pub(crate) crashes_again: u64,
    pub(crate) faults: u64,
    pub(crate) truncated: u64,
    pub(crate) refused: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.histories += other.histories;
        self.stops += other.stops;
        self.crashes += other.crashes;
        self.crashes_again += other.crashes_again;
        self.faults += other.faults;
        self.truncated += other.truncated;
        self.refused += other.refused;
    }
}

pub(crate) fn options(durability: Durability) -> Options {
    Options::new().with_durability(durability).with_segment_len(900).with_compaction_floor(6_000).without_background()
}

impl Run {
    fn new(durability: Durability, disk: SimulatedDisk) -> Self {
        let past = vec![Content::default()];
        Self { disk, durability, store: None, peer: Replica::new(), past, durable: 0, unmerged: None }
    }

    fn open(&mut self) -> Result<(), StoreError> {
        self.store = None;
        self.store = Some(options(self.durability).open_on(self.disk.clone())?);
        Ok(())
    }

    /// Does a step. Whatever it returns, the store may hold what it did.
    fn step(&mut self, step: Step) -> Result<(), StoreError> {
        let before = self.past.last().unwrap().clone();
        let peers = self.peers(step);
        if step == Reopen {
            self.past.push(before);
            // Closing makes all durable, if it comes to its end.
            self.open()?;
            self.acknowledged();
            return Ok(());
        }
        self.past.push(before.after(step));
        let Some(store) = &mut self.store else { return Ok(()) };
        let set = |store: &mut Store<Graph>, node: u8, value: i64, filler: usize| {
            store
                .try_edit_with(|g, table| {
                    let id = g.add_node(format!("node:{node}").as_str()).map_err(StoreError::from)?;
                    g.set(id, "/value", value).map_err(StoreError::from)?;
                    if filler > 0 {
                        g.set(id, "/filler", "x".repeat(filler).as_str()).map_err(StoreError::from)?;
                    }
                    table.put([node], value.to_le_bytes());
                    Ok::<_, StoreError>(())
                })
                .map(drop)
        };
        match step {
            Set(node, value) => set(store, node, value, 0)?,
            Big(node, value) => set(store, node, value, 1_500)?,
            Remove(node) => {
                let there = store.state().node(id(node)).is_some();
                store.edit(|g| if there { g.remove_node(id(node)).map(drop) } else { Ok(()) }).map(drop)?;
            }
            Put(key, value) => store.put([key], value.to_le_bytes())?,
            Merge(..) | MergeRemoval(_) => {
                let delta = self.unmerged.insert(peers.unwrap());
                store.merge(delta).map(drop)?;
                self.unmerged = None;
            }
            Compact => store.compact()?,
            Forget => drop(store.prune(Prune::All)),
            Flush => store.flush()?,
            Reopen => {}
        }
        let is_durable = store.is_durable();
        if is_durable {
            self.acknowledged();
        }
        Ok(())
    }

    /// What the peer writes of its own, having seen all that the store holds.
    fn peers(&mut self, step: Step) -> Option<Delta> {
        if !matches!(step, Merge(..) | MergeRemoval(_)) {
            return None;
        }
        if let Some(delta) = self.unmerged.take() {
            return Some(delta);
        }
        let store = self.store.as_ref()?;
        let told = store.replica().delta_since(self.peer.version()).unwrap_or_else(|_| store.replica().complete());
        self.peer.merge(&told).unwrap();
        let edited = self.peer.edit(|g| match step {
            Merge(node, value) => {
                let id = g.add_node(format!("node:{node}").as_str())?;
                g.set(id, "/value", value).map(drop)
            }
            MergeRemoval(node) if g.node(id(node)).is_some() => g.remove_node(id(node)).map(drop),
            _ => Ok(()),
        });
        Some(edited.unwrap().1)
    }

    /// All that the store holds is durable now: the peer may be told.
    fn acknowledged(&mut self) {
        self.durable = self.past.len() - 1;
        if let Some(store) = &self.store {
            let told = store.replica().delta_since(self.peer.version()).unwrap_or_else(|_| store.replica().complete());
            self.peer.merge(&told).unwrap();
        }
    }

    /// Opens what a crash left, and judges it.
    fn judge(&self, image: &Image) -> Result<bool, String> {
        let disk = SimulatedDisk::with(image);
        let store: Store<Graph> =
            options(self.durability).open_on(disk.clone()).map_err(|error| format!("does not open: {error}"))?;
        self.judge_store(&store)?;
        let held = Content::of(&store);
        let was_truncated = store.recovery().truncated.is_some();
        drop(store);
        // Once told, it is there for good.
        let nothing_kept = disk.crash(|_| false);
        let mut store: Store<Graph> = options(self.durability)
            .open_on(SimulatedDisk::with(&nothing_kept))
            .map_err(|error| format!("does not open after a second crash: {error}"))?;
        if Content::of(&store) != held {
            return Err(format!("held {held:?}, and after a second crash {:?}", Content::of(&store)));
        }
        // It goes on, and becomes equal to whoever has heard of it.
        let mut peer = self.peer.fork();
        store.edit(|g| g.add_node("after").map(drop)).map_err(|error| format!("does not go on: {error}"))?;
        sync::in_memory(&mut store, &mut peer).map_err(|error| format!("does not sync: {error}"))?;
        if store.state() != peer.state() || store.fingerprint() != peer.fingerprint() {
            return Err("it and its peer have synced and are not equal".into());
        }
        let back = nodes(store.state()).into_keys().filter(|node| !held.nodes.contains_key(node));
        let peers = nodes(self.peer.state());
        let revived: Vec<u8> = back.filter(|node| !peers.contains_key(node)).collect();
        if !revived.is_empty() {
            return Err(format!("{revived:?} came back"));
        }
        Ok(was_truncated)
    }

    fn judge_store(&self, store: &Store<Graph>) -> Result<(), String> {
        let held = Content::of(store);
        let allowed = &self.past[self.durable..];
        if !allowed.contains(&held) {
            return Err(format!("holds {held:?}; allowed are {allowed:?}"));
        }
        Crdt::state(store.state()).check_invariants()
    }
}

/// How many subsets of what was not synced are tried at a stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// All subsets of so many units.
    pub(crate) all: usize,
    /// Of more, so many at random, beside prefixes and pairs.
    pub(crate) samples: u64,
    /// After each so many of them the opening is stopped as well.
    pub(crate) again: u64,
}

/// Stops the machine once more at every operation of the opening that follows a crash, and loses what it had not synced: all of it,
/// each of it, none.
fn stop_again(run: &Run, image: &Image) -> Result<u64, String> {
    let mut crashes = 0;
    for stop in 0.. {
        let disk = SimulatedDisk::with(image);
        disk.set_fault(Fault::Stop(stop));
        let opened = options(run.durability).open_on::<Graph>(disk.clone());
        drop(opened);
        let units = disk.unsynced();
        let single = (0..units).map(|unit| Subset::Without(unit, unit));
        for subset in [Subset::Prefix(0), Subset::Prefix(units)].into_iter().chain(single) {
            crashes += 1;
            run.judge(&disk.crash(|unit| subset.keeps(unit)))
                .map_err(|why| format!("stopped again at operation {stop} of the opening, kept {subset:?}: {why}"))?;
        }
        if disk.changes() <= stop {
            break;
        }
    }
    Ok(crashes)
}

/// Stops the machine at every operation of a history.
pub(crate) fn stop_everywhere(
    history: &str,
    durability: Durability,
    steps: &[Step],
    effort: Effort,
) -> Result<Counts, String> {
    let mut counts = Counts { histories: 1, ..Counts::default() };
    for stop in 0.. {
        let disk = SimulatedDisk::new();
        disk.set_fault(Fault::Stop(stop));
        let mut run = Run::new(durability, disk.clone());
        let mut ended = run.open().is_ok();
        for step in steps {
            if !ended {
                break;
            }
            ended = run.step(*step).is_ok() && disk.changes() <= stop;
        }
        if let Some(store) = run.store.take() {
            // The process is gone as well: what closing does, it does to a machine that has stopped.
            drop(store);
        }
        counts.stops += 1;
        for subset in subsets(disk.unsynced(), effort, stop) {
            counts.crashes += 1;
            let image = disk.crash(|unit| subset.keeps(unit));
            let mut again = Ok(0);
            if counts.crashes.is_multiple_of(effort.again) {
                again = stop_again(&run, &image);
            }
            let judged = again.and_then(|crashes| {
                counts.crashes_again += crashes;
                run.judge(&image)
            });
            let truncated = judged.map_err(|why| {
                let last = disk.history().pop().unwrap_or_default();
                let names: Vec<_> =
                    image.iter().map(|(name, bytes)| format!("{name}: {} bytes", bytes.len())).collect();
                format!("{history}, stopped at operation {stop} ({last}), kept {subset:?}: {why}\n  files: {names:?}")
            })?;
            counts.truncated += u64::from(truncated);
        }
        if ended && disk.changes() <= stop {
            return Ok(counts);
        }
    }
    Ok(counts)
}

#[derive(Clone, Debug)]
enum Subset {
    Bits(u64),
    Prefix(usize),
    Without(usize, usize),
    Random(u64),
}

impl Subset {
    fn keeps(&self, unit: usize) -> bool {
        match self {
            Self::Bits(bits) => bits >> unit & 1 == 1,
            Self::Prefix(len) => unit < *len,
            Self::Without(one, other) => unit != *one && unit != *other,
            Self::Random(seed) => mix(seed ^ (unit as u64) << 32) & 1 == 1,
        }
    }
}

/// Splitmix64.
fn mix(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ seed >> 31
}

fn subsets(units: usize, effort: Effort, stop: u64) -> Vec<Subset> {
    if units <= effort.all {
        return (0..1u64 << units).map(Subset::Bits).collect();
    }
    let prefixes = (0..=units).map(Subset::Prefix);
    let pairs = (0..units).flat_map(|one| (one..units).map(move |other| Subset::Without(one, other)));
    let samples = (0..effort.samples).map(|sample| Subset::Random(mix(stop << 20 | sample)));
    prefixes.chain(pairs).chain(samples).collect()
}

/// Fails every operation of a history once, and goes on as an app would: opens the store again if it is poisoned, does the step again
/// if it was refused. In the end the machine loses all that was not synced.
pub(crate) fn fail_everywhere(history: &str, durability: Durability, steps: &[Step]) -> Result<Counts, String> {
    let mut counts = Counts { histories: 1, ..Counts::default() };
    for at in 0.. {
        let disk = SimulatedDisk::new();
        disk.set_fault(Fault::Fail(at, io::ErrorKind::Other));
        let mut run = Run::new(durability, disk.clone());
        let told = |why: String| {
            format!(
                "{history}, operation {at} ({}) fails: {why}",
                disk.history().get(at as usize).cloned().unwrap_or_default()
            )
        };
        if run.open().is_err() {
            run.open().map_err(|error| told(format!("does not open again: {error}")))?;
        }
        for step in steps {
            let before = Content::of(run.store.as_ref().unwrap());
            let Err(error) = run.step(*step) else { continue };
            counts.faults += 1;
            let Some(store) = &run.store else {
                run.open().map_err(|error| told(format!("does not open again: {error}")))?;
                let store = run.store.as_ref().unwrap();
                run.judge_store(store).map_err(&told)?;
                run.past.push(Content::of(store));
                run.acknowledged();
                continue;
            };
            if store.health().is_ok() {
                // Refused: then nothing has changed, whatever reaches the disk.
                if *step != Compact && *step != Flush && Content::of(store) != before {
                    return Err(told(format!(
                        "{step:?} said {error}, and changed {before:?} to {:?}",
                        Content::of(store)
                    )));
                }
                run.past.pop();
                run.judge(&disk.crash(|_| true)).map_err(&told)?;
                run.step(*step).map_err(|error| told(format!("{step:?} again: {error}")))?;
                continue;
            }
            counts.refused += 1;
            run.store = None;
            run.open().map_err(|error| told(format!("does not open once poisoned: {error}")))?;
            let store = run.store.as_ref().unwrap();
            run.judge_store(store).map_err(&told)?;
            // The peer sends again what was not acknowledged. What the store shows now, it may tell.
            if let (Some(delta), Some(store)) = (run.unmerged.take(), &mut run.store) {
                store.merge(&delta).map_err(|error| told(format!("merging again: {error}")))?;
            }
            let held = Content::of(run.store.as_ref().unwrap());
            run.past.push(held);
            run.acknowledged();
        }
        drop(run.store.take());
        let image = disk.crash(|_| false);
        run.judge(&image).map_err(&told)?;
        if disk.changes() <= at {
            return Ok(counts);
        }
    }
    Ok(counts)
}

/// Has a disk with room for so many bytes, for each number of them that matters: what does not fit changes nothing, and once there is
/// room all goes on.
pub(crate) fn fill_everywhere(
    history: &str,
    durability: Durability,
    steps: &[Step],
    every: usize,
) -> Result<Counts, String> {
    let mut counts = Counts { histories: 1, ..Counts::default() };
    for room in (0..200_000).step_by(every) {
        let disk = SimulatedDisk::new();
        disk.set_fault(Fault::Full(room));
        let mut run = Run::new(durability, disk.clone());
        let told = |why: String| format!("{history}, room for {room} bytes: {why}");
        let is_full = |error: &StoreError| matches!(error, StoreError::Storage(StorageError::Full { .. }));
        let mut was_full = false;
        if let Err(error) = run.open() {
            if !is_full(&error) {
                return Err(told(format!("opening said {error}")));
            }
            was_full = true;
            disk.set_fault(Fault::None);
            run.open().map_err(|error| told(format!("with room: {error}")))?;
        }
        for step in steps {
            let before = Content::of(run.store.as_ref().unwrap());
            let fingerprint = run.store.as_ref().unwrap().fingerprint();
            let Err(error) = run.step(*step) else { continue };
            if !is_full(&error) {
                return Err(told(format!("{step:?} said {error}")));
            }
            (was_full, counts.faults) = (true, counts.faults + 1);
            disk.set_fault(Fault::None);
            if run.store.is_none() {
                run.open().map_err(|error| told(format!("with room: {error}")))?;
                continue;
            }
            let store = run.store.as_ref().unwrap();
            if Content::of(store) != before || store.fingerprint() != fingerprint {
                return Err(told(format!("{step:?} did not fit, and changed {before:?} to {:?}", Content::of(store))));
            }
            run.past.pop();
            run.step(*step).map_err(|error| told(format!("{step:?} with room: {error}")))?;
        }
        drop(run.store.take());
        run.judge(&disk.crash(|_| false)).map_err(&told)?;
        if !was_full {
            return Ok(counts);
        }
    }
    Ok(counts)
}

/// A peer that was away while a checkpoint was written is told what was removed, and need not reconcile.
pub(crate) fn checkpoint_and_tombstones() -> Result<(), String> {
    let disk = SimulatedDisk::new();
    let mut run = Run::new(Durability::Immediate, disk.clone());
    run.open().map_err(|error| error.to_string())?;
    let steps = [Set(1, 1), Set(2, 2), Remove(1), Compact, Reopen];
    let mut away = None;
    for step in steps {
        run.step(step).map_err(|error| error.to_string())?;
        away.get_or_insert_with(|| run.store.as_ref().map(|store| store.version().clone()));
    }
    let (store, away) = run.store.as_ref().zip(away.flatten()).ok_or("no store")?;
    store.replica().delta_since(&away).map(drop).map_err(|error| error.to_string())
}

/// A small store as it lies on the disk, closed or as a process left it that was killed, and what it holds.
pub(crate) fn small_store(closed: bool) -> (Image, BTreeMap<u8, i64>) {
    let disk = SimulatedDisk::new();
    let mut run = Run::new(Durability::Immediate, disk.clone());
    run.open().unwrap();
    for step in [Set(1, 1), Set(2, 2), Compact, Remove(1), Big(3, 3), Set(1, 4), Put(7, 7), Set(2, 5), Set(4, 1)] {
        run.step(step).unwrap();
    }
    let held = nodes(run.store.as_ref().unwrap().state());
    let mut image = disk.image();
    if closed {
        drop(run.store.take());
        image = disk.image();
    }
    image.remove("lock");
    image.remove("holder");
    (image, held)
}

pub(crate) fn open_image(image: &Image) -> Result<(BTreeMap<u8, i64>, bool), StoreError> {
    let store: Store<Graph> = options(Durability::Immediate).open_on(SimulatedDisk::with(image))?;
    Ok((nodes(store.state()), store.recovery().truncated.is_some()))
}
