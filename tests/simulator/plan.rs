//! What a run is like, all of it from its seed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::random::Random;

pub(crate) struct Plan {
    /// Whether processes are ever copied with their memory, so that two go on as one writer.
    pub(crate) clones: bool,
    /// Which replicas send and acknowledge only what is durable.
    pub(crate) waits: Vec<bool>,
    /// How long it takes from a change to a save there.
    pub(crate) save_after: u64,
    /// How many things are done before the network heals.
    pub(crate) actions: usize,
    /// The longest time between two of them.
    pub(crate) pace: u64,
    /// Of a hundred frames.
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) damage: u64,
    /// The longest time that a frame takes; but for those that come very late.
    pub(crate) delay: u64,
    pub(crate) partitions: bool,
    /// Of a hundred frames of a stream of which there is much already: after them the connection breaks.
    pub(crate) breaks: u64,
    pub(crate) part_len: usize,
    pub(crate) retry_after: Duration,
    pub(crate) patience: Duration,
    /// Nodes that all know from the beginning.
    pub(crate) nodes: usize,
    /// Writers that all know from the beginning.
    pub(crate) writers: usize,
    /// Whether some know nothing of it in the beginning: the whole comes to them as one stream.
    pub(crate) newcomers: bool,
    /// The longest text that is written.
    pub(crate) text_len: usize,
    /// Whether it is remembered where peers stand.
    pub(crate) remembers: bool,
    /// Whether clocks are off by up to a day.
    pub(crate) skewed: bool,
    /// Who can reach whom, once the network is healed; pairs in order.
    pub(crate) pairs: BTreeSet<(usize, usize)>,
    /// Hops from any to any.
    pub(crate) diameter: u64,
}

impl Plan {
    pub(crate) fn new(random: &mut Random) -> Self {
        let large = random.percent(6);
        let replicas = match random.below(20) {
            _ if large => random.within(2, 4) as usize,
            0..=4 => 2,
            5..=12 => random.within(3, 4) as usize,
            13..=17 => random.within(5, 8) as usize,
            _ => random.within(9, 16) as usize,
        };
        let clones = random.percent(40);
        let (pairs, diameter) = topology(random, replicas);
        let patience = random.within(2_000, 20_000);
        Self {
            clones,
            waits: (0..replicas).map(|_| random.percent(if clones || large { 30 } else { 60 })).collect(),
            save_after: [0, 20, 500][random.below(3)],
            actions: if large { 60 } else { 60 + random.below(140) },
            pace: [20, 100, 400][random.below(3)],
            loss: [0, 2, 10, 30, 50][random.below(if large { 2 } else { 5 })],
            duplication: [0, 2, 20, 50][random.below(if large { 2 } else { 4 })],
            damage: [0, 0, 2, 20][random.below(if large { 2 } else { 4 })],
            delay: [5, 50, 300, 2_000][random.below(if large { 2 } else { 4 })],
            breaks: if large { 3 } else { 0 },
            partitions: random.percent(60),
            part_len: if large { [8 << 10, 60 << 10][random.below(2)] } else { [40, 300, 60 << 10][random.below(3)] },
            retry_after: Duration::from_millis(random.within(100, 1_000)),
            patience: Duration::from_millis(patience),
            nodes: if large || random.percent(70) { 30 + random.below(20) } else { 0 },
            writers: if !large && random.percent(8) { 230 + random.below(80) } else { 0 },
            newcomers: large || random.percent(20),
            text_len: if large { 40 << 10 } else { 20 },
            remembers: random.percent(50),
            skewed: random.percent(50),
            pairs,
            diameter,
        }
    }
}

/// A ring, a star, a line, or everybody with everybody.
fn topology(random: &mut Random, n: usize) -> (BTreeSet<(usize, usize)>, u64) {
    let line = (1..n).map(|i| (i - 1, i));
    match random.below(4) {
        0 => (line.chain((n > 2).then_some((0, n - 1))).collect(), n as u64 / 2),
        1 => ((1..n).map(|i| (0, i)).collect(), 2),
        2 => (line.collect(), n as u64 - 1),
        _ => ((0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).collect(), 1),
    }
}
