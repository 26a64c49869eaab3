//! Costs of a tree of 100,000 nodes: making it, moving in it, merging, listing; at three replicas that move apart.
//!
//! `cargo bench --bench tree` prints a table in Markdown; a number is another size, `-- --test` a small one. Times are of the processor,
//! memory is live heap, counted by the allocator.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that fails should say where")]

#[path = "../tests/support/scattered.rs"]
mod scattered;

#[path = "../tests/support/processor.rs"]
mod processor;

use std::hint::black_box;
use std::time::Duration;

use driftless::testing::TestEnvironment;
use driftless::{ConflictKind, EditError, Graph, Replica, TreePlace};
use peak_alloc::PeakAlloc;
use processor::now;
use scattered::{Random, id};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const TREE: &str = "outline";

fn timed<R>(act: impl FnOnce() -> R) -> (R, Duration) {
    let started = now();
    let result = act();
    (result, now() - started)
}

fn row(what: &str, time: Duration, times: usize, more: &str) {
    println!("| {what} | {:.2} µs | {more} |", time.as_secs_f64() * 1e6 / times.max(1) as f64);
}

/// Moves of random nodes to random places, one edit each. Returns how many were under the node itself.
fn moves(replica: &mut Replica<Graph>, random: &mut Random, nodes: usize, times: usize) -> usize {
    let mut refused = 0;
    for _ in 0..times {
        let (node, to) = (id(random.below(nodes)), id(random.below(nodes)));
        let place = match random.below(3) {
            0 => TreePlace::FirstIn(to),
            1 => TreePlace::LastIn(to),
            _ => TreePlace::After(to),
        };
        match replica.edit(|g| g.tree_mut(TREE).put(node, place)) {
            Err(EditError::UnderItself { .. }) => refused += 1,
            other => drop(other.unwrap()),
        }
    }
    refused
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_test = args.iter().any(|arg| arg == "--test");
    let size = args.iter().find_map(|arg| arg.parse().ok());
    let nodes: usize = size.unwrap_or(if is_test { 1_000 } else { 100_000 });
    println!("| {nodes} nodes | for each | |\n|---|---|---|");

    let mut random = Random(1);
    let mut a = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    let (_, time) = timed(|| {
        (0..nodes).step_by(100).for_each(|first| {
            a.edit(|g| (first..first + 100).try_for_each(|n| g.add_node(id(n)).map(drop))).unwrap();
        });
    });
    row("node added", time, nodes, "in edits of 100");
    let (before, mut parents) = (ALLOCATOR.current_usage(), Vec::with_capacity(nodes));
    // Under one of the 2,000 before it: some ten levels for the first ten thousand, and one more for each 1,300 that follow.
    parents.extend((0..nodes).map(|n| (n > 0).then(|| n.saturating_sub(1 + random.below(2_000)))));
    let (_, time) = timed(|| {
        for first in (0..nodes).step_by(100) {
            let put = a.edit(|g| {
                let mut tree = g.tree_mut(TREE);
                (first..first + 100).try_for_each(|n| {
                    let place = parents[n].map_or(TreePlace::Last, |parent| TreePlace::LastIn(id(parent)));
                    tree.put(id(n), place)
                })
            });
            put.unwrap();
        }
    });
    let memory = (ALLOCATOR.current_usage() - before) / nodes;
    row("node put into the tree", time, nodes, &format!("{memory} bytes of memory"));

    let depth = a.state().tree(TREE).walk().map(|step| step.depth).sum::<usize>() / nodes;
    let (_, time) = timed(|| black_box(a.state().tree(TREE).walk().count()));
    row("node met by a walk", time, nodes, &format!("{depth} levels deep on average"));
    let (_, time) = timed(|| (0..nodes).map(|n| a.state().tree(TREE).children(id(n)).count()).sum::<usize>());
    row("node's children listed", time, nodes, "");

    let save = a.save();
    let delta = a.complete();
    let mut loaded = Replica::<Graph>::with_environment(TestEnvironment::new(9));
    let (_, time) = timed(|| loaded.merge(&delta).unwrap());
    row("node merged into an empty replica", time, nodes, &format!("{} bytes of the saved state", save.len() / nodes));

    let mut others = [2, 3].map(|seed| a.fork_with(TestEnvironment::new(seed)));
    let times = nodes / 10;
    let (refused, time) = timed(|| moves(&mut a, &mut random, nodes, times));
    row("move, an edit each", time, times, &format!("{refused} of {times} refused: under the node itself"));
    for other in &mut others {
        moves(other, &mut random, nodes, times);
    }
    for other in &others {
        let delta = other.delta_since(a.version()).unwrap();
        let bytes = delta.to_bytes().len() / times;
        let (_, time) = timed(|| a.merge(&delta).unwrap());
        row("concurrent move merged, all in one delta", time, times, &format!("{bytes} bytes"));
    }
    let (kinds, time) = timed(|| a.state().conflicts().map(|conflict| conflict.kind).collect::<Vec<_>>());
    let circles = kinds.iter().filter(|kind| matches!(kind, ConflictKind::Circle { .. })).count();
    let detached = kinds.iter().filter(|kind| matches!(kind, ConflictKind::Detached { .. })).count();
    row(
        "conflict listed",
        time,
        kinds.len(),
        &format!("{} in all, {circles} circles, {detached} detached", kinds.len()),
    );
    let (refused, time) = timed(|| moves(&mut a, &mut random, nodes, times));
    row("move among unsettled circles", time, times, &format!("{refused} of {times} refused"));
    a.state().check_invariants().unwrap();
}
