//! What a session costs: bytes, frames, round trips and time of the processor, for a value of a million live cells.
//!
//! `cargo bench --bench session` prints a table; with `-- --test` a small one. Bytes, frames and round trips are the same on
//! every machine. The time is of both sides together, beside that of encoding, decoding and merging the whole value.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that fails should say where")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use driftless::sync::{Devices, Options, Session, Standing};
use driftless::testing::TestEnvironment;
use driftless::{Crdt, Delta, Dot, OrMap, Prune, Replica};

type Value = OrMap<u32, u32>;

const WRITERS: u32 = 8;

fn main() {
    let small = std::env::args().any(|arg| arg == "--test");
    let cells = if small { 10_000 } else { 1_000_000 };
    let base = value(cells);
    println!("{cells} live cells, {} dots, {WRITERS} writers", cells / 4 * 5);
    let whole = whole(&base);
    println!("the whole value: {} bytes; encoded, decoded and merged in {} ms\n", whole.0, whole.1.as_millis());
    println!(
        "{:<34} {:>9} {:>9} {:>8} {:>7} {:>7} {:>9} {:>9}",
        "", "to peer", "back", "beyond", "frames", "trips", "ms", "of whole"
    );
    let row = |name: &str, costs: &Costs, beyond: i64| {
        let ratio = costs.time.as_secs_f64() / whole.1.as_secs_f64();
        println!(
            "{name:<34} {:>9} {:>9} {beyond:>8} {:>7} {:>3} {:>3} {:>9.2} {ratio:>9.4}",
            costs.there,
            costs.back,
            costs.frames,
            trips(costs.merged),
            trips(costs.equal),
            costs.time.as_secs_f64() * 1e3,
        );
    };

    let versions = 2 * standing_len(&base);
    let changes: Vec<u32> = [0, 1, 10, 100, 1_000, 10_000].into_iter().filter(|d| *d <= cells / 10).collect();
    let mut hellos = 0;
    for d in &changes {
        let (mut a, mut b) = (base.fork_with(TestEnvironment::new(90)), base.fork_with(TestEnvironment::new(91)));
        a.edit(|map| (0..*d).try_for_each(|n| map.insert(n * 7 % cells, n).map(drop))).unwrap();
        let delta = a.delta_since(b.version()).unwrap().to_bytes().len() as i64;
        let costs = run(&mut a, &mut b, [Options::new(), Options::new()]);
        let beyond = costs.there + costs.back - versions;
        match d {
            0 => {
                hellos = costs.there + costs.back;
                row("equal", &costs, beyond);
            }
            _ => row(&format!("{d} changes, {delta} bytes"), &costs, costs.there + costs.back - hellos - delta),
        }
    }
    for d in &changes[1..] {
        let (mut a, mut b) = (base.fork_with(TestEnvironment::new(90)), base.fork_with(TestEnvironment::new(91)));
        a.edit(|map| (0..*d).try_for_each(|n| map.remove(&(n * 7919 % cells)).map(drop))).unwrap();
        a.prune(Prune::All);
        let costs = run(&mut a, &mut b, [Options::new(), Options::new()]);
        row(&format!("{d} removals that were pruned"), &costs, costs.there + costs.back - versions);
    }
    let (mut a, mut b) = (base.fork_with(TestEnvironment::new(90)), replica(91));
    let costs = run(&mut a, &mut b, [Options::new(), Options::new()]);
    row("an empty peer", &costs, costs.there + costs.back - whole.0);

    println!("\n5,000 writers, one after another");
    let mut a = replica(1_000_000);
    for writer in 0..5_000 {
        let mut next = a.fork_with(TestEnvironment::new(1_000_001 + writer));
        next.edit(|map| map.insert(0, 0)).unwrap();
        a = next;
    }
    strangers(a, &row);

    println!("\n5,000 writers, each on a device of its own");
    let mut a = replica(1_000_000);
    for writer in 0..5_000 {
        let (_, delta) = replica(1_000_001 + writer).edit(|map| map.insert(0, 0)).unwrap();
        a.merge(&delta).unwrap();
    }
    strangers(a, &row);
}

/// Two that have never met, and have seen the same or all but one write.
fn strangers(mut a: Replica<Value>, row: &impl Fn(&str, &Costs, i64)) {
    let versions = 2 * standing_len(&a);
    let mut b = a.fork_with(TestEnvironment::new(90));
    let costs = run(&mut a, &mut b, [Options::new(), Options::new()]);
    row("equal strangers", &costs, costs.there + costs.back);
    a.edit(|map| map.insert(1, 1)).unwrap();
    let before = b.fork_with(TestEnvironment::new(91));
    let costs = run(&mut a, &mut b, [Options::new(), Options::new()]);
    row("1 change, strangers", &costs, costs.there + costs.back - versions);
    let mut devices = Devices::new();
    devices.acknowledge("peer", Standing::from(before.version().clone()));
    let mut b = before;
    let options = || Options::new().with_devices(&devices).with_peer("peer");
    let costs = run(&mut a, &mut b, [options(), options()]);
    row("1 change, acquainted", &costs, costs.there + costs.back);
}

fn replica(seed: u64) -> Replica<Value> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// By several writers, each on a device of its own and in edits of a hundred; a fifth of all dots is dead.
fn value(cells: u32) -> Replica<Value> {
    let share = cells / WRITERS;
    let mut all = replica(1);
    for writer in 0..WRITERS {
        let mut replica = replica(2 + u64::from(writer));
        for first in (writer * share..(writer + 1) * share).step_by(100) {
            let keys = first..(first + 100).min(cells);
            replica
                .edit(|map| {
                    keys.into_iter().try_for_each(|key| {
                        map.insert(key, key)?;
                        if key % 4 == 0 { map.insert(key, key + 1).map(drop) } else { Ok(()) }
                    })
                })
                .unwrap();
        }
        all.merge(&replica.complete()).unwrap();
    }
    all
}

/// The length of the whole value, and what it takes to encode, decode and merge it.
fn whole(base: &Replica<Value>) -> (i64, Duration) {
    let start = Instant::now();
    let bytes = base.complete().to_bytes();
    replica(99).merge(&Delta::from_bytes(&bytes).unwrap()).unwrap();
    (bytes.len() as i64, start.elapsed())
}

/// Bytes of a standing that is told in full, without the dots below its heads: an id and a counter for each head, and how
/// what was pruned differs from them.
fn standing_len(replica: &Replica<Value>) -> i64 {
    let number = |n: u64| i64::from(n.max(1).ilog2() / 7 + 1);
    let told = |heads: &mut dyn Iterator<Item = &Dot>| {
        let heads: Vec<i64> = heads.map(|head| 10 + number(head.counter)).collect();
        number(heads.len() as u64) + heads.iter().sum::<i64>()
    };
    let (seen, pruned) = (replica.version().heads(), replica.state().state().pruned().heads());
    let gone = seen.iter().filter(|head| !pruned.contains(head)).count() as u64;
    let no_base_is_gone = 1;
    no_base_is_gone
        + told(&mut seen.iter())
        + number(gone)
        + gone as i64
        + told(&mut pruned.iter().filter(|head| !seen.contains(head)))
}

struct Costs {
    there: i64,
    back: i64,
    frames: u64,
    /// Half round trips until the peer has merged all, and until both know.
    merged: u32,
    equal: u32,
    time: Duration,
}

fn trips(halves: u32) -> String {
    format!("{}.{}", halves / 2, halves % 2 * 5)
}

/// Lets two sessions talk over a channel on which each frame takes half a round trip.
fn run(a: &mut Replica<Value>, b: &mut Replica<Value>, [for_a, for_b]: [Options; 2]) -> Costs {
    let (of_a, of_b) = (a.version().clone(), b.version().clone());
    let start = Instant::now();
    let (mut on_a, mut on_b) = (Session::new(a, for_a, [1; 16]), Session::new(b, for_b, [2; 16]));
    let (mut to_a, mut to_b) = (VecDeque::<Vec<u8>>::new(), VecDeque::<Vec<u8>>::new());
    let (mut merged, mut equal, now) = (None, None, Duration::ZERO);
    for halves in 0.. {
        for frame in std::mem::take(&mut to_a) {
            on_a.handle_frame(a, &frame, now).unwrap();
        }
        for frame in std::mem::take(&mut to_b) {
            on_b.handle_frame(b, &frame, now).unwrap();
        }
        while let Some(frame) = on_a.poll_frame(a, now).unwrap() {
            to_b.push_back(frame);
        }
        while let Some(frame) = on_b.poll_frame(b, now).unwrap() {
            to_a.push_back(frame);
        }
        if merged.is_none() && a.version() == b.version() && *a.version() >= of_a && *a.version() >= of_b {
            merged = Some(halves);
        }
        if equal.is_none() && on_a.is_equal(a) && on_b.is_equal(b) {
            equal = Some(halves);
        }
        if to_a.is_empty() && to_b.is_empty() {
            break;
        }
    }
    let time = start.elapsed();
    assert!(a.state() == b.state());
    let counters = on_a.counters();
    assert_eq!((counters.retries, counters.errors), (0, 0));
    Costs {
        there: counters.bytes_sent as i64,
        back: counters.bytes_received as i64,
        frames: counters.frames_sent + counters.frames_received,
        merged: merged.unwrap(),
        equal: equal.unwrap(),
        time,
    }
}
