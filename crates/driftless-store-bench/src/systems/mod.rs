//! What is compared, each behind the same few functions.
//!
//! All hold the same: nodes with an id (text, unique), a name (text) and a number. An edit changes the number of one node, durably.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;

pub(crate) mod driftless;
pub(crate) mod redb;
pub(crate) mod sqlite;

/// The edits of a case, and how long they took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edits {
    pub(crate) edits: u64,
    pub(crate) elapsed: Duration,
    /// Bytes that were written and syncs, as the system itself counts them.
    pub(crate) counted: Option<(u64, u64)>,
}

/// When a case has done enough.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Elapsed(Duration),
    /// So many edits of each writer.
    Done(u64),
}

/// A store of nodes.
pub(crate) trait System {
    /// Creates a store with so many nodes, in transactions of [`BATCH`], and closes it.
    fn build(&self, directory: &Path, nodes: u64) -> Result<(), Failure>;

    /// Changes the number of one node after another, each durably, from so many threads.
    fn edit(&self, directory: &Path, nodes: u64, writers: u64, until: Until) -> Result<Edits, Failure>;

    /// Changes the numbers of [`BATCH`] nodes in one transaction after another.
    fn batch(&self, directory: &Path, nodes: u64, until: Until) -> Result<Edits, Failure>;

    /// Opens a store, and reads all of it into memory where it is not there by itself. Returns the number of nodes.
    fn open(&self, directory: &Path) -> Result<u64, Failure>;
}

/// Nodes of one transaction, where there are many.
pub(crate) const BATCH: u64 = 1_000;

pub(crate) fn id(node: u64) -> String {
    format!("node:{node:07}")
}

pub(crate) fn name(node: u64) -> String {
    format!("The node that is number {node}")
}

/// The node of a writer's next edit: spread over all, so that no system finds them side by side.
pub(crate) fn pick(writer: u64, edit: u64, nodes: u64) -> u64 {
    (edit * 7_919 + writer * 104_729) % nodes
}

/// The number that an edit writes: one that no round before has written, as long as a number gets.
pub(crate) fn number(edit: u64) -> i64 {
    (i64::from(std::process::id()) << 32) | edit as i64
}

/// Bytes that an edit changes: the id that says where, and the number.
pub(crate) fn change_len() -> u64 {
    id(0).len() as u64 + 8
}

/// Calls `edit` with 0, 1, … until it is enough, and returns how often.
pub(crate) fn repeat(until: Until, mut edit: impl FnMut(u64) -> Result<(), Failure>) -> Result<u64, Failure> {
    let begin = Instant::now();
    let mut done = 0;
    let is_enough = |done| match until {
        Until::Elapsed(time) => begin.elapsed() >= time,
        Until::Done(edits) => done >= edits,
    };
    while !is_enough(done) {
        edit(done)?;
        done += 1;
    }
    Ok(done)
}

/// Runs so many writers at once, each with what `begin` makes for it before time runs.
pub(crate) fn writers<W: FnMut(u64) -> Result<(), Failure> + Send>(
    count: u64,
    until: Until,
    begin: impl Fn(u64) -> Result<W, Failure>,
) -> Result<Edits, Failure> {
    let writers = (0..count).map(begin).collect::<Result<Vec<_>, _>>()?;
    let begin = Instant::now();
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = writers.into_iter().map(|writer| scope.spawn(move || repeat(until, writer))).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a writer panicked".into())));
        joined.sum::<Result<u64, Failure>>()
    })?;
    Ok(Edits { edits: done, elapsed: begin.elapsed(), counted: None })
}
