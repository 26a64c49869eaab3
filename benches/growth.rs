//! Growth of the costs of an edit, a delta, a merge, a hello and pruning with the number of openings, writers, siblings, edges
//! and tombstones in a state.
//!
//! `cargo bench --bench growth` prints a table in Markdown for each. With the name of one it prints that alone, with a number
//! it stops at that size: `cargo bench --bench growth -- openings 100000`. With `-- --test` it runs small sizes. Bytes are the
//! same on every machine; times are medians, of the processor. Memory is live heap, counted by the allocator.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that fails should say where")]

#[path = "../tests/support/processor.rs"]
mod processor;

use std::hint::black_box;
use std::time::{Duration, Instant};

use driftless::sync::{Options, Session};
use driftless::testing::TestEnvironment;
use driftless::{Crdt, Delta, Edit, EditError, Graph, NodeId, OrMap, Prune, Replica};
use peak_alloc::PeakAlloc;
use processor::now;
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

type Map = OrMap<u32, u32>;

/// Branches over which openings are spread, as a rule one for each device.
const LINES: usize = 50;

/// A quantity that grows: its name, the largest size that runs by default, and the function that measures one size.
type Axis = (&'static str, usize, fn(usize, &Rounds) -> Row);

const AXES: [Axis; 5] = [
    ("openings", 1_000_000, openings),
    ("writers", 100_000, writers),
    ("siblings", 100_000, siblings),
    ("edges", 1_000_000, edges),
    ("tombstones", 1_000_000, tombstones),
];

/// Length of the measurement of one figure.
struct Rounds {
    most: usize,
    time: Duration,
}

/// One row of a table.
struct Row {
    edit: Duration,
    first: Duration,
    cut: Duration,
    bytes: usize,
    merge: Duration,
    hello: Duration,
    hello_bytes: usize,
    prune: Duration,
    memory: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_test = args.iter().any(|arg| arg == "--test");
    let names: Vec<&String> = args.iter().filter(|arg| AXES.iter().any(|(name, ..)| name == arg)).collect();
    let limit = args.iter().find_map(|arg| arg.parse::<usize>().ok());
    let (sizes, rounds) = match is_test {
        true => (vec![100, 1_000], Rounds { most: 3, time: Duration::from_millis(10) }),
        false => (vec![1_000, 10_000, 100_000, 1_000_000], Rounds { most: 300, time: Duration::from_millis(500) }),
    };
    for (name, most, measure) in AXES.iter().filter(|(name, ..)| names.is_empty() || names.iter().any(|n| n == name)) {
        println!(
            "\n| {name} | edit | first edit of an opening | delta cut and encoded | its bytes | decoded and merged | \
             hello | its bytes | prune | memory for each |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for size in sizes.iter().filter(|size| **size <= limit.unwrap_or(*most)) {
            let begun = Instant::now();
            let row = measure(*size, &rounds);
            println!(
                "| {size} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                time(row.edit),
                time(row.first),
                time(row.cut),
                row.bytes,
                time(row.merge),
                time(row.hello),
                row.hello_bytes,
                time(row.prune),
                row.memory / size,
            );
            eprintln!("{size} {name}: {:.1} s in all", begun.elapsed().as_secs_f64());
        }
    }
}

/// Two digits or three of what a person reads.
fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..10.0 => format!("{micros:.1} µs"),
        ..1e3 => format!("{micros:.0} µs"),
        ..1e4 => format!("{:.1} ms", micros / 1e3),
        ..1e6 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.1} s", micros / 1e6),
    }
}

fn timed<R>(times: &mut Vec<Duration>, run: impl FnOnce() -> R) -> R {
    let start = now();
    let result = black_box(run());
    times.push(now() - start);
    result
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Measures everything but pruning, between a replica and a peer that has seen the same. One round is an edit and a first
/// edit of an opening, each cut, sent and merged.
fn measure<T: Crdt>(
    a: &mut Replica<T>,
    rounds: &Rounds,
    memory: usize,
    mut edit: impl FnMut(&mut Edit<'_, T>, u32) -> Result<(), EditError>,
) -> Row {
    let mut b = Replica::<T>::load_with(TestEnvironment::new(u64::MAX), &a.save()).unwrap();
    // Nothing is dropped behind our back.
    [&mut *a, &mut b].into_iter().for_each(|replica| replica.set_pruning(None));
    a.edit(|e| edit(e, 0)).unwrap();
    b.merge(&a.delta_since(b.version()).unwrap()).unwrap();

    let [mut edits, mut firsts, mut cuts, mut merges, mut hellos] = [const { Vec::new() }; 5];
    let (mut bytes, mut hello_bytes) = (0, 0);
    let begun = Instant::now();
    for round in 1..=rounds.most as u32 {
        drop(timed(&mut edits, || a.edit(|e| edit(e, 2 * round)).unwrap()));
        let delta = timed(&mut cuts, || a.delta_since(b.version()).unwrap().to_bytes());
        bytes = delta.len();
        drop(timed(&mut merges, || b.merge(&Delta::from_bytes(&delta).unwrap()).unwrap()));
        let frame = timed(&mut hellos, || {
            let mut session = Session::new(a, Options::new(), [7; 16]);
            session.poll_frame(a, Duration::ZERO).unwrap().unwrap()
        });
        hello_bytes = frame.len();
        if begun.elapsed() > rounds.time && round >= 3 {
            break;
        }
    }
    let begun = Instant::now();
    for round in 1..=rounds.most as u32 {
        a.new_writer();
        drop(timed(&mut firsts, || a.edit(|e| edit(e, 2 * round + 1)).unwrap()));
        if begun.elapsed() > rounds.time && round >= 3 {
            break;
        }
    }
    let [edit, first, cut, merge, hello] = [edits, firsts, cuts, merges, hellos].map(median);
    Row { edit, first, cut, bytes, merge, hello, hello_bytes, prune: Duration::ZERO, memory }
}

/// The time to drop the one tombstone that an edit leaves. The first time does not count: it frees what the state knew when
/// it pruned last.
fn prune_one<T: Crdt>(
    replica: &mut Replica<T>,
    mut edit: impl FnMut(&mut Edit<'_, T>) -> Result<(), EditError>,
) -> Duration {
    let times = [0, 1, 2, 3].map(|_| {
        replica.edit(|e| edit(e)).unwrap();
        prune(replica, 1)
    });
    median(times[1..].to_vec())
}

/// The time to drop all tombstones.
fn prune<T: Crdt>(replica: &mut Replica<T>, tombstones: usize) -> Duration {
    let start = now();
    assert_eq!(replica.prune(Prune::All), tombstones);
    now() - start
}

/// Live heap that a replica takes once it is built.
fn built<T: Crdt>(build: impl FnOnce() -> Replica<T>) -> (Replica<T>, usize) {
    let before = ALLOCATOR.current_usage();
    let replica = build();
    let memory = ALLOCATOR.current_usage().saturating_sub(before);
    (replica, memory)
}

fn replica<T: Crdt>(seed: usize) -> Replica<T> {
    let mut replica = Replica::with_environment(TestEnvironment::new(seed as u64));
    replica.set_pruning(None);
    replica
}

/// Replicas that know nothing of each other, merged by halves.
fn merged(seeds: std::ops::Range<usize>, leaf: &impl Fn(usize) -> Replica<Map>) -> Replica<Map> {
    if seeds.len() == 1 {
        return leaf(seeds.start);
    }
    let middle = seeds.start + seeds.len() / 2;
    let (mut all, more) = (merged(seeds.start..middle, leaf), merged(middle..seeds.end, leaf));
    all.merge(&more.delta_since(all.version()).unwrap()).unwrap();
    all
}

/// Fifty devices, each opened so often that there are as many openings, each of which wrote what the one before wrote.
fn openings(size: usize, rounds: &Rounds) -> Row {
    let (mut a, memory) = built(|| {
        merged(0..LINES, &|device| {
            let mut one = replica(device);
            for _ in 0..size / LINES {
                one.new_writer();
                one.edit(|map: &mut Edit<'_, Map>| map.insert(device as u32, 1)).unwrap();
            }
            one
        })
    });
    let row = measure(&mut a, rounds, memory, |map, n| map.insert(7, n).map(drop));
    let prune = prune_one(&mut a, |map| {
        map.insert(7, 1)?;
        map.remove(&7).map(drop)
    });
    Row { prune, ..row }
}

/// Writers none of which goes on from another, so each is a branch. Each wrote one entry and removed it; all those tombstones
/// are pruned before the rest is measured.
fn writers(size: usize, rounds: &Rounds) -> Row {
    let mut pruned = Duration::ZERO;
    let (mut a, memory) = built(|| {
        let mut all = merged(0..size, &|writer| {
            let mut one = replica(writer);
            one.edit(|map: &mut Edit<'_, Map>| Ok((map.insert(writer as u32, 1)?, map.remove(&(writer as u32))?)))
                .unwrap();
            one
        });
        pruned = prune(&mut all, size);
        all
    });
    let row = measure(&mut a, rounds, memory, |map, n| map.insert(7, n).map(drop));
    Row { prune: pruned, ..row }
}

/// Concurrent values of one entry, each by a writer of its own. The edits are of another entry; pruning is of what one write
/// to the entry leaves.
fn siblings(size: usize, rounds: &Rounds) -> Row {
    let (mut a, memory) = built(|| {
        merged(0..size, &|writer| {
            let mut one = replica(writer);
            one.edit(|map: &mut Edit<'_, Map>| map.insert(0, writer as u32)).unwrap();
            one
        })
    });
    let row = measure(&mut a, rounds, memory, |map, n| map.insert(7, n).map(drop));
    a.edit(|map| map.remove(&0)).unwrap();
    Row { prune: prune(&mut a, 1), ..row }
}

fn node(n: usize) -> NodeId {
    NodeId::from(Uuid::from_u128((n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
}

/// Edges of one node. Each edit adds one, and pruning is of one that was unlinked.
fn edges(size: usize, rounds: &Rounds) -> Row {
    let (mut a, memory) = built(|| {
        let mut a = replica::<Graph>(0);
        a.edit(|g| g.add_node(node(0))).unwrap();
        for first in (1..=size).step_by(100) {
            a.edit(|g| (first..first + 100).try_for_each(|n| g.link(node(0), "knows", node(n)).map(drop))).unwrap();
        }
        a
    });
    let row = measure(&mut a, rounds, memory, |g, n| g.link(node(0), "meets", node(n as usize)).map(drop));
    let prune = prune_one(&mut a, |g| {
        let edge = g.link(node(0), "leaves", node(1))?;
        g.unlink(edge).map(drop)
    });
    Row { prune, ..row }
}

/// Entries that were removed, by one writer.
fn tombstones(size: usize, rounds: &Rounds) -> Row {
    let (mut a, memory) = built(|| {
        let mut a = replica::<Map>(0);
        for first in (0..size as u32).step_by(100) {
            let entries = first..first + 100;
            a.edit(|map| {
                entries.clone().try_for_each(|n| map.insert(n + 10, n).and_then(|_| map.remove(&(n + 10))).map(drop))
            })
            .unwrap();
        }
        a
    });
    let row = measure(&mut a, rounds, memory, |map, n| map.insert(7, n).map(drop));
    Row { prune: prune(&mut a, size), ..row }
}
