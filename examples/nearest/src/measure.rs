//! Approximate against exact answers.

use std::collections::HashSet;
use std::error::Error;
use std::time::{Duration, Instant};

use driftless::{Metric, NodeId};

use crate::data::{self, Concept};
use crate::peer::Peer;

const K: usize = 10;

/// Every so manieth concept is asked for.
const STEP: usize = 17;

/// What the index must find of what is nearest: less means that it does not follow.
const LEAST_RECALL: f64 = 0.9;

/// Prints how many of the nearest ten the index finds, and how fast; fails if it returns what is not there.
pub(crate) fn print(peer: &Peer, concepts: &[Concept]) -> Result<(), Box<dyn Error>> {
    let (graph, model) = (peer.replica.state(), data::model()?);
    assert!(peer.index.agrees(graph), "the index holds the vectors that show, and no other");
    let (mut found, mut queries) = (0, 0u32);
    let (mut exactly, mut approximately) = (Duration::ZERO, Duration::ZERO);
    for concept in concepts.iter().step_by(STEP) {
        let start = Instant::now();
        let exact = graph.nearest(&model, &concept.numbers, Metric::Cosine, K)?;
        exactly += start.elapsed();
        let start = Instant::now();
        let approximate = peer.index.nearest(&concept.numbers, K);
        approximately += start.elapsed();

        assert_eq!(approximate.len(), K);
        let distinct: HashSet<NodeId> = approximate.iter().copied().collect();
        assert_eq!(distinct.len(), K, "each node has one current point");
        let scores = approximate.iter().map(|node| Some(graph.node(*node)?.embedding(&model)?.to_vec()));
        let scores = scores.map(|numbers| Some(cosine(&numbers?, &concept.numbers))).collect::<Option<Vec<f32>>>();
        let scores = scores.ok_or("what is gone was returned")?;
        // By what they are now: a stale one would stand elsewhere.
        assert!(scores.windows(2).all(|pair| pair[0] >= pair[1] - 1e-5), "a stale vector was found: {scores:?}");
        found += exact.iter().filter(|neighbor| distinct.contains(&neighbor.node)).count();
        queries += 1;
    }
    let recall = found as f64 / f64::from(queries) / K as f64;
    let (exactly, approximately) = (exactly / queries, approximately / queries);
    println!(
        "  {}: recall@{K} {recall:.3} of {queries} queries; {approximately:.1?} approximately, {exactly:.1?} exactly",
        peer.name
    );
    assert!(recall >= LEAST_RECALL, "recall {recall}");
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
