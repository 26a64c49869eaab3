//! Times of an exact search among 100,000 vectors of 384 numbers.
//!
//! `cargo bench --bench nearest`. Beside it a plain loop over the same vectors as f32 in one allocation, which computes the dot
//! product in f32 and keeps the greatest: what a search cannot do without, unless it reads less. Times are the least of some
//! twenty, each by another query, because other work on the machine only adds; the ratio is to the plain loop.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that fails should say where")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use driftless::testing::TestEnvironment;
use driftless::{Graph, Metric, Model, NodeId, Replica, Vector};
use uuid::Uuid;

const VECTORS: usize = 100_000;
const DIMENSION: usize = 384;
const QUERIES: u32 = 21;
const K: usize = 10;

/// Numbers between −1 and 1 without a pattern.
fn numbers(random: &mut u32) -> Vec<f32> {
    let mut next = || {
        *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*random >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..DIMENSION).map(|_| next()).collect()
}

type Make = fn(&[f32]) -> Vector;

fn graph(model: &Model, make: Make) -> Replica<Graph> {
    let mut replica = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    let mut random = 1;
    for n in 0..VECTORS {
        let vector = make(&numbers(&mut random));
        replica.edit(|g| g.add_node(node(n)).and_then(|node| g.embed(node, model, &vector))).unwrap();
    }
    replica
}

fn node(n: usize) -> NodeId {
    NodeId::from(Uuid::from_u128((n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
}

fn timed<R>(act: impl FnOnce() -> R) -> Duration {
    let start = Instant::now();
    black_box(act());
    start.elapsed()
}

/// The least over many queries.
fn least(mut act: impl FnMut(&[f32])) -> Duration {
    let times = (0..QUERIES).map(|seed| {
        let query = numbers(&mut (seed + 7));
        timed(|| act(&query))
    });
    times.min().unwrap_or_default()
}

/// In sixteen sums that need not wait for each other.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
        (0..16).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.iter().sum()
}

fn main() {
    let model = Model::new("random", DIMENSION).unwrap();
    let mut random = 1;
    let flat: Vec<f32> = (0..VECTORS).flat_map(|_| numbers(&mut random)).collect();
    let plain = least(|query| {
        let greatest = flat.chunks_exact(DIMENSION).map(|vector| dot(query, vector)).fold(f32::MIN, f32::max);
        black_box(greatest);
    });
    drop(flat);
    println!("plain loop over {VECTORS} vectors of {DIMENSION} f32: {plain:.1?}");

    let makers: [(&str, Make); 3] = [
        ("f32", |numbers| Vector::f32(numbers).unwrap()),
        ("f16", |numbers| Vector::f16(numbers).unwrap()),
        ("i8", |numbers| Vector::i8(numbers).unwrap()),
    ];
    for (name, make) in makers {
        let mut replica = graph(&model, make);
        let query = numbers(&mut 7);
        let first = timed(|| replica.state().nearest(&model, &query, Metric::Cosine, K));
        println!("{name}: the first search {first:.1?}");
        for metric in [Metric::Cosine, Metric::Dot, Metric::Euclidean] {
            let took = least(|query| drop(black_box(replica.state().nearest(&model, query, metric, K))));
            let (ratio, metric) = (took.as_secs_f64() / plain.as_secs_f64(), format!("{metric:?}"));
            println!("  {metric:<10} {took:>8.1?}, {ratio:.2} of the plain loop");
        }
        let few = |node: &driftless::Node<'_>| node.id().as_bytes()[0] < 26;
        let took = least(|query| drop(black_box(replica.state().nearest_where(&model, query, Metric::Cosine, K, few))));
        println!("  cosine, of the tenth that a filter accepts {took:.1?}");
        let (mut n, mut snapshot) = (0, replica.snapshot());
        let took = least(|query| {
            n = (n + 1009) % VECTORS;
            replica.edit(|g| g.embed(node(n), &model, &make(query))).unwrap();
        });
        let shared = least(|query| {
            n = (n + 1009) % VECTORS;
            snapshot = replica.snapshot();
            replica.edit(|g| g.embed(node(n), &model, &make(query))).unwrap();
        });
        println!("  embedding a node anew {took:.1?}; while a snapshot is held {shared:.1?}");
    }
}
