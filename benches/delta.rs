//! What writing, cutting and merging cost, beside the same number of inserts into the bare map underneath.
//!
//! `cargo bench --bench delta`. Read the ratios of one run: absolute times are the machine's.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that fails should say where")]

#[path = "../tests/support/scattered.rs"]
mod scattered;

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use driftless::testing::TestEnvironment;
use driftless::{Graph, NodeId, Replica};
use im::OrdMap;
use scattered::{Random, id};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const WRITES: usize = 100;

fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn add_nodes(replica: &mut Replica<Graph>, nodes: std::ops::Range<usize>, names: &[String]) {
    let edit = replica.edit(|g| {
        nodes.into_iter().try_for_each(|n| {
            let node = g.add_node(id(n))?;
            g.set(node, "/name", &names[n % names.len()])?;
            g.set(node, "/part of speech", "noun")?;
            g.set(node, "/weight", n as f64)
        })
    });
    edit.unwrap();
}

fn names() -> Vec<String> {
    (0..1_000).map(|n| format!("concept number {n}")).collect()
}

fn graph(nodes: usize) -> Replica<Graph> {
    let (mut replica, names) = (replica(1), names());
    (0..nodes).step_by(100).for_each(|first| add_nodes(&mut replica, first..first + 100, &names));
    replica
}

fn merge(c: &mut Criterion) {
    let mut group = c.benchmark_group("100 random writes");
    for nodes in SIZES {
        inserts(&mut group, "inserts into im::OrdMap", nodes, |n| n as u64);
        // The same with values that are shared and not copied, as what a graph holds is.
        inserts(&mut group, "inserts of shared values into im::OrdMap", nodes, |n| Arc::<str>::from(n.to_string()));

        let mut a = graph(nodes);
        let mut b = replica(2);
        b.merge(&a.complete()).unwrap();
        for holding in [false, true] {
            let name = if holding { "cut and merge, holding a snapshot" } else { "cut and merge" };
            let mut random = Random(7);
            group.bench_function(BenchmarkId::new(name, nodes), |bencher| {
                bencher.iter_custom(|rounds| {
                    timed(rounds, || {
                        let ids: Vec<_> = (0..WRITES).map(|_| id(random.below(nodes))).collect();
                        let text = random.below(nodes).to_string();
                        a.edit(|g| ids.iter().try_for_each(|id| g.set(*id, "/name", &text))).unwrap();
                        let snapshot = holding.then(|| b.snapshot());
                        let start = Instant::now();
                        let delta = a.delta_since(b.version()).unwrap();
                        let report = b.merge(&delta).unwrap();
                        let elapsed = start.elapsed();
                        drop((snapshot, report));
                        elapsed
                    })
                });
            });
        }
    }
}

/// The baseline: as many inserts into a bare map that somebody holds a snapshot of.
fn inserts<V: Clone>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, nodes: usize, value: impl Fn(usize) -> V) {
    let (mut random, written) = (Random(7), value(nodes));
    let mut map: OrdMap<NodeId, V> = (0..nodes).map(|n| (id(n), value(n))).collect();
    group.bench_function(BenchmarkId::new(name, nodes), |b| {
        b.iter_custom(|rounds| {
            timed(rounds, || {
                let ids: Vec<_> = (0..WRITES).map(|_| id(random.below(nodes))).collect();
                let snapshot = map.clone();
                let start = Instant::now();
                ids.iter().for_each(|id| {
                    map.insert(*id, written.clone());
                });
                let elapsed = start.elapsed();
                drop(snapshot);
                elapsed
            })
        });
    });
}

fn timed(rounds: u64, mut round: impl FnMut() -> Duration) -> Duration {
    (0..rounds).map(|_| round()).sum()
}

/// The cost of one node of three properties, in transactions of a hundred nodes.
fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("building 100,000 nodes");
    group.sample_size(10);
    group.bench_function("driftless", |b| {
        let names = names();
        b.iter_custom(|rounds| {
            timed(rounds, || {
                let mut replica = replica(1);
                let start = Instant::now();
                (0..100_000).step_by(100).for_each(|first| add_nodes(&mut replica, first..first + 100, &names));
                start.elapsed()
            })
        });
    });
    group.bench_function("inserts into im::OrdMap", |b| {
        b.iter_custom(|rounds| {
            timed(rounds, || {
                let mut map: OrdMap<NodeId, u64> = OrdMap::new();
                let start = Instant::now();
                (0..100_000).for_each(|n| {
                    map.insert(id(n), 1);
                });
                start.elapsed()
            })
        });
    });
}

criterion_group!(benches, merge, write);
criterion_main!(benches);
