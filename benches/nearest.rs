//! What an exact search among 100,000 vectors of 384 numbers takes.
//!
//! `cargo bench --bench nearest`. Beside it reading the vectors without comparing them: most of it is waiting for memory.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that fails should say where")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use driftless::testing::TestEnvironment;
use driftless::{Graph, Metric, Model, NodeId, Replica, Vector};
use uuid::Uuid;

const VECTORS: usize = 100_000;
const DIMENSION: usize = 384;

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
        let id = Uuid::from_u128((n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let vector = make(&numbers(&mut random));
        replica.edit(|g| g.add_node(NodeId::from(id)).and_then(|node| g.embed(node, model, &vector))).unwrap();
    }
    replica
}

fn nearest(c: &mut Criterion) {
    let model = Model::new("random", DIMENSION).unwrap();
    let query = numbers(&mut 7);
    let makers: [(&str, Make); 3] = [
        ("f32", |numbers| Vector::f32(numbers).unwrap()),
        ("f16", |numbers| Vector::f16(numbers).unwrap()),
        ("i8", |numbers| Vector::i8(numbers).unwrap()),
    ];
    let mut group = c.benchmark_group("nearest");
    group.sample_size(10);
    for (name, make) in makers {
        let replica = graph(&model, make);
        let graph = replica.state();
        group.bench_function(format!("{name}, read"), |b| {
            b.iter(|| black_box(graph.nodes().filter(|node| node.embedding(&model).is_some()).count()));
        });
        for metric in [Metric::Cosine, Metric::Dot, Metric::Euclidean] {
            group.bench_function(format!("{name}, {metric:?}"), |b| {
                b.iter(|| black_box(graph.nearest(&model, &query, metric, 10).unwrap()));
            });
        }
    }
}

criterion_group!(benches, nearest);
criterion_main!(benches);
