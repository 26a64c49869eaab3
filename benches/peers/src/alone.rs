//! Steps that driftless takes alone: snapshots that are held, and vectors beside a plain loop.

use std::hint::black_box;

use driftless::{Graph, Metric, Model, NodeId, Replica, Vector};

use crate::Failure;
use crate::case::{Setting, answer, figure};
use crate::data::{Persons, Random};
use crate::libraries::driftless::add;
use crate::measure::live;
use crate::steps::{BATCH, repeat, seconds};

/// Numbers of a vector: those of a small model of sentences.
const DIMENSION: usize = 384;

/// Neighbours that are looked for.
const NEAREST: usize = 10;

/// Partial sums of the plain loop, so that the compiler can use wide registers.
const LANES: usize = 16;

/// Builds while a snapshot of the state before each edit is held, and without.
pub(crate) fn snapshots(setting: &Setting<'_>) -> Result<(), Failure> {
    let persons = Persons::numbered(setting.size);
    let nodes = persons.nodes();
    let per_node = 1e6 / setting.size as f64;
    let build = |is_held: bool| {
        let (time, _) = seconds(|| {
            let mut replica = Replica::<Graph>::new();
            for batch in nodes.chunks(BATCH) {
                let held = is_held.then(|| replica.snapshot());
                replica.edit(|g| add(g, batch))?;
                drop(black_box(held));
            }
            Ok(replica)
        })?;
        Ok::<_, Failure>(time * per_node)
    };
    // In turn, so that both meet the same machine.
    repeat(setting.runs, ["build_free", "build_held"], || Ok([build(false)?, build(true)?]))
}

/// Searches vectors exactly, by cosine.
pub(crate) fn nearest(setting: &Setting<'_>) -> Result<(), Failure> {
    let mut random = Random(29);
    let mut number = || random.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0;
    let all: Vec<f32> = (0..setting.size * DIMENSION).map(|_| number()).collect();
    let query: Vec<f32> = (0..DIMENSION).map(|_| number()).collect();

    let plain = plain_loop(&all, &query);
    repeat(3 * setting.runs, ["loop_f32"], || {
        let (time, found) = seconds(|| Ok(plain_loop(black_box(&all), black_box(&query))))?;
        black_box(found);
        Ok([time * 1e3])
    })?;

    let model = Model::new("random", DIMENSION)?;
    type Make = fn(&[f32]) -> Result<Vector, driftless::VectorError>;
    let makers: [(&str, Make); 3] =
        [("nearest_f32", Vector::f32), ("nearest_f16", Vector::f16), ("nearest_i8", Vector::i8)];
    for (name, make) in makers {
        let before = live();
        let mut replica = Replica::<Graph>::new();
        let mut ids = Vec::with_capacity(setting.size);
        for (batch, numbers) in all.chunks(BATCH * DIMENSION).enumerate() {
            replica.edit(|g| {
                for (n, numbers) in numbers.chunks(DIMENSION).enumerate() {
                    let id = NodeId::named(&format!("vector:{:07}", batch * BATCH + n));
                    ids.push(g.add_node(id)?);
                    g.embed(id, &model, &make(numbers)?)?;
                }
                Ok(())
            })?;
        }
        if name == "nearest_f32" {
            figure("vector_heap", (live() - before) as f64 / setting.size as f64);
        }
        let mut found = Vec::new();
        repeat(3 * setting.runs, [name], || {
            let search = || Ok(replica.state().nearest(&model, black_box(&query), Metric::Cosine, NEAREST)?);
            let (time, nearest) = seconds(search)?;
            found = nearest;
            Ok([time * 1e3])
        })?;
        let expected: Vec<NodeId> = plain.iter().map(|n| ids[*n]).collect();
        let is_same = expected.iter().eq(found.iter().map(|neighbor| &neighbor.node));
        // f16 and i8 round the numbers, so that the last neighbours may be others.
        if name == "nearest_f32" && !is_same {
            return Err("the nearest vectors of f32 are not those of the plain loop".into());
        }
    }
    answer("nearest", plain.iter().map(usize::to_string).collect::<Vec<_>>().join(","));
    Ok(())
}

/// The places of the vectors nearest to a query by cosine, the nearest first.
fn plain_loop(all: &[f32], query: &[f32]) -> Vec<usize> {
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(NEAREST + 1);
    for (place, vector) in all.chunks_exact(DIMENSION).enumerate() {
        let (mut dot, mut square) = ([0.0; LANES], [0.0; LANES]);
        for (numbers, of_query) in vector.chunks_exact(LANES).zip(query.chunks_exact(LANES)) {
            for lane in 0..LANES {
                dot[lane] += numbers[lane] * of_query[lane];
                square[lane] += numbers[lane] * numbers[lane];
            }
        }
        // The query's own length changes no order.
        let score = dot.iter().sum::<f32>() / square.iter().sum::<f32>().sqrt();
        if best.len() < NEAREST || score > best[NEAREST - 1].0 {
            let at = best.partition_point(|(other, _)| *other >= score);
            best.insert(at, (score, place));
            best.truncate(NEAREST);
        }
    }
    best.into_iter().map(|(_, place)| place).collect()
}
