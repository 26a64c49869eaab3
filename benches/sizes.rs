//! Costs of each area of the kernel at three sizes: the graph, documents, the codec, merging, cutting and reconciling.
//!
//! `cargo bench --bench sizes` measures states of 1,000, 10,000 and 100,000 nodes; with `DRIFTLESS_FULL=1` in the
//! environment, of 10,000, 100,000 and 1,000,000. `benches/peers` draws the figures of a run as `docs/cost.svg`. Times are of
//! the processor. Read how a cost grows: absolute times are the machine's.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that fails should say where")]

#[path = "../tests/support/processor.rs"]
mod processor;

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use driftless::sync::{Reconciling, Step};
use driftless::testing::TestEnvironment;
use driftless::{Crdt, Delta, Document, Graph, NodeId, Prune, Replica};
use processor::now;

/// Writes, reads or removals of one round.
const ROUND: usize = 100;

/// Names of one section of a document, and nodes or writes of one transaction.
const SECTION: usize = 100;

/// The largest state that is saved, loaded and merged as a whole: a larger one takes seconds, and criterion wants ten rounds.
/// `benches/peers` saves and loads a million nodes.
const WHOLE: usize = 100_000;

fn sizes() -> [usize; 3] {
    let is_test = std::env::args().any(|argument| argument == "--test");
    match std::env::var_os("DRIFTLESS_FULL") {
        _ if is_test => [1_000, 2_000, 3_000],
        Some(_) => [10_000, 100_000, 1_000_000],
        None => [1_000, 10_000, 100_000],
    }
}

/// Numbers below a bound in an order without a pattern.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

fn replica<T: Crdt>(seed: u64) -> Replica<T> {
    let mut replica = Replica::with_environment(TestEnvironment::new(seed));
    // No round pays for the tombstones of the rounds before.
    replica.set_pruning(None);
    replica
}

fn id(n: usize) -> NodeId {
    NodeId::named(&format!("person:{n:07}"))
}

/// Nodes of three properties, each linked to the next one.
fn graph(nodes: usize) -> Replica<Graph> {
    let mut replica: Replica<Graph> = replica(1);
    for first in (0..nodes).step_by(SECTION) {
        let edit = replica.edit(|g| {
            (first..first + SECTION).try_for_each(|n| {
                let node = g.add_node(format!("person:{n:07}").as_str())?;
                g.set(node, "/title", "amber harbor falcon")?;
                g.set(node, "/born", 1815 + (n % 200) as i64)?;
                g.set(node, "/weight", n as f64 * 0.25)?;
                g.link(node, "knows", id((n + 1) % nodes)).map(drop)
            })
        });
        edit.unwrap();
    }
    replica
}

fn path(n: usize) -> String {
    format!("/section {}/field {}", n / SECTION, n % SECTION)
}

/// A document of so many numbers in sections.
fn document(values: usize) -> Replica<Document> {
    let mut replica: Replica<Document> = replica(1);
    for first in (0..values).step_by(SECTION) {
        let edit = replica.edit(|d| (first..first + SECTION).try_for_each(|n| d.set(path(n).as_str(), n as i64)));
        edit.unwrap();
    }
    replica
}

fn peer<T: Crdt>(of: &Replica<T>) -> Replica<T> {
    let mut peer = replica(2);
    peer.merge(&of.complete()).unwrap();
    peer
}

/// A group of the plot.
fn area<'c>(c: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = c.benchmark_group(format!("sizes of {name}"));
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group
}

/// Measures what `round` returns, its preparation left out.
fn rounds(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, size: usize, mut round: impl FnMut() -> Duration) {
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| round()).sum());
    });
}

fn timed<R>(run: impl FnOnce() -> R) -> Duration {
    let start = now();
    let result = black_box(run());
    let elapsed = now() - start;
    drop(result);
    elapsed
}

fn set_some(replica: &mut Replica<Graph>, random: &mut Random, nodes: usize) {
    let weights: Vec<_> = (0..ROUND).map(|_| (id(random.below(nodes)), random.below(1 << 20) as f64)).collect();
    replica.edit(|g| weights.iter().try_for_each(|(id, weight)| g.set(*id, "/weight", *weight))).unwrap();
}

fn graphs(c: &mut Criterion) {
    let mut group = area(c, "graph");
    for nodes in sizes() {
        let (mut replica, mut random) = (graph(nodes), Random(7));
        rounds(&mut group, "100 properties read", nodes, || {
            let ids: Vec<_> = (0..ROUND).map(|_| id(random.below(nodes))).collect();
            let state = replica.state();
            timed(|| ids.iter().filter_map(|id| state.node(*id)?.get("/weight")).count())
        });
        rounds(&mut group, "100 edges followed", nodes, || {
            let ids: Vec<_> = (0..ROUND).map(|_| id(random.below(nodes))).collect();
            let state = replica.state();
            timed(|| ids.iter().map(|id| state.outgoing_of(*id, "knows").count()).sum::<usize>())
        });
        rounds(&mut group, "100 properties written", nodes, || {
            let ids: Vec<_> = (0..ROUND).map(|_| id(random.below(nodes))).collect();
            let weight = random.below(1 << 20) as f64;
            timed(|| replica.edit(|g| ids.iter().try_for_each(|id| g.set(*id, "/weight", weight))).unwrap())
        });
    }
    group.finish();
}

fn documents(c: &mut Criterion) {
    let mut group = area(c, "document");
    for values in sizes() {
        let (mut replica, mut random) = (document(values), Random(7));
        rounds(&mut group, "100 paths read", values, || {
            let paths: Vec<_> = (0..ROUND).map(|_| path(random.below(values))).collect();
            let state = replica.state();
            timed(|| paths.iter().filter_map(|path| state.get(path.as_str())).count())
        });
        rounds(&mut group, "100 paths written", values, || {
            let paths: Vec<_> = (0..ROUND).map(|_| path(random.below(values))).collect();
            let number = random.below(1 << 20) as i64;
            timed(|| replica.edit(|d| paths.iter().try_for_each(|path| d.set(path.as_str(), number))).unwrap())
        });
    }
    group.finish();
}

fn codec(c: &mut Criterion) {
    let mut group = area(c, "codec");
    for nodes in sizes() {
        let (mut replica, mut random) = (graph(nodes), Random(7));
        if nodes <= WHOLE {
            rounds(&mut group, "save", nodes, || timed(|| replica.save()));
            let saved = replica.save();
            rounds(&mut group, "load", nodes, || {
                timed(|| Replica::<Graph>::load_with(TestEnvironment::new(3), &saved).unwrap())
            });
        }
        let before = replica.version().clone();
        set_some(&mut replica, &mut random, nodes);
        let delta = replica.delta_since(&before).unwrap();
        rounds(&mut group, "delta of 100 writes encoded", nodes, || timed(|| delta.to_bytes()));
        let bytes = delta.to_bytes();
        rounds(&mut group, "delta of 100 writes decoded", nodes, || timed(|| Delta::from_bytes(&bytes).unwrap()));
    }
    group.finish();
}

/// Cutting and merging: each round writes to one replica, cuts the delta and merges it into the other.
fn deltas(c: &mut Criterion) {
    for is_merged in [false, true] {
        let (area_name, name) =
            if is_merged { ("merge", "delta of 100 writes merged") } else { ("delta_since", "100 writes cut") };
        let mut group = area(c, area_name);
        for nodes in sizes() {
            let (mut a, mut random) = (graph(nodes), Random(7));
            let mut b = peer(&a);
            rounds(&mut group, name, nodes, || {
                set_some(&mut a, &mut random, nodes);
                let mut delta = None;
                let cut = timed(|| delta = Some(a.delta_since(b.version()).unwrap()));
                let merged = timed(|| b.merge(delta.as_ref().unwrap()).unwrap());
                if is_merged { merged } else { cut }
            });
            if is_merged && nodes <= WHOLE {
                let whole = a.complete();
                rounds(&mut group, "the whole state merged", nodes, || {
                    let mut empty = replica::<Graph>(3);
                    timed(|| empty.merge(&whole).unwrap())
                });
            }
        }
        group.finish();
    }
}

/// A peer that missed 100 removals, whose tombstones are pruned: both sides of the descent, and the delta that follows.
fn reconciling(c: &mut Criterion) {
    let mut group = area(c, "reconciliation");
    for nodes in sizes() {
        let mut a = graph(nodes);
        let b = peer(&a);
        let mut random = Random(7);
        let removed: Vec<_> = (0..ROUND).map(|_| id(random.below(nodes))).collect();
        a.edit(|g| removed.iter().try_for_each(|id| g.remove_node(*id).map(drop))).unwrap();
        a.prune(Prune::All);
        rounds(&mut group, "live dots listed", nodes, || timed(|| a.live_dots()));
        let (live_a, live_b) = (a.live_dots(), b.live_dots());
        rounds(&mut group, "100 removals found and cut", nodes, || {
            timed(|| {
                let (mut asking, first) = Reconciling::ask(&live_b, b.version(), a.version(), [7; 16]).unwrap();
                let (mut answering, mut step) = Reconciling::answer(&live_a, a.version(), b.version(), &first).unwrap();
                let difference = loop {
                    step = match step {
                        Step::Say(turn) => asking.handle(&turn).unwrap(),
                        Step::Done { difference, .. } => break difference,
                    };
                    step = match step {
                        Step::Say(turn) | Step::Done { last: Some(turn), .. } => answering.handle(&turn).unwrap(),
                        Step::Done { difference, .. } => break difference,
                    };
                };
                a.reconcile_difference(&difference).unwrap()
            })
        });
    }
    group.finish();
}

criterion_group!(benches, graphs, documents, codec, deltas, reconciling);
criterion_main!(benches);
