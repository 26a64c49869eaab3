//! Every schedule of a small scope, where [`judge`](crate::testing::judge) draws some of a large one.

mod search;
mod table;

use std::fmt;

use crate::testing::explore::search::Search;
use crate::testing::model::Model;

/// How far [`explore`] looks: all that so many replicas can come to in so many steps.
///
/// A step is an edit of one operation, or a delta that arrives, or a replica that forgets its tombstones, or one that opens a
/// saved state: its own latest, an earlier one of its own (a backup), or one of another replica (a copy). Cutting a delta is none: after each step everybody cuts everything that can be cut (what each of
/// the others lacks, incremental or reconciled; the complete state; the delta of the edit), and each of these can arrive
/// from then on, at any replica, at any time and any number of times, or never. So nothing is gained by cutting less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope {
    replicas: usize,
    steps: usize,
    edits: usize,
    restores: usize,
}

impl Scope {
    /// All schedules of so many steps, each of which may be an edit, and one of which may open another saved state than the
    /// replica's own latest.
    pub const fn new(replicas: usize, steps: usize) -> Self {
        Self { replicas, steps, edits: steps, restores: 1 }
    }

    /// Of the steps at most so many open another saved state than the replica's own latest.
    #[must_use]
    pub const fn restores(self, most: usize) -> Self {
        Self { restores: most, ..self }
    }

    /// Of the steps at most so many are edits that write something.
    #[must_use]
    pub const fn edits(self, most: usize) -> Self {
        Self { edits: most, ..self }
    }
}

/// What was found in a scope, none of it wrong. Printed, it is two lines.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Exploration {
    /// Different states: what each replica holds (cells with their tombstones, what it has seen, what was pruned, the
    /// writer that it writes as or goes on from), the set of deltas that can arrive, and all that was saved.
    pub states: usize,
    /// Those that the shortest way to takes so many steps, from 0.
    pub by_steps: Vec<usize>,
    /// Those with writes that do not know of each other and [collide](Model::collide).
    pub concurrent: usize,
    /// What the replicas hold together, whatever can arrive: on each the laws were tried.
    pub combinations: usize,
    /// What a single replica holds, copies and joins that the laws made among them.
    pub replicas: usize,
    /// What somebody has seen.
    pub versions: usize,
    /// Deltas, joined ones among them.
    pub deltas: usize,
    /// Arrivals of a delta at what a replica holds, each tried once.
    pub arrivals: u64,
    /// Those that were refused: the delta builds on what has not been seen there.
    pub refused: u64,
}

impl fmt::Display for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.concurrent as f64 * 100.0 / self.states.max(1) as f64;
        let steps: Vec<String> = self.by_steps.iter().map(usize::to_string).collect();
        writeln!(f, "{} states ({}), {share:.0} % with concurrency", self.states, steps.join(" + "))?;
        write!(f, "{} combinations of ", self.combinations)?;
        write!(f, "{} replicas at {} versions, {} deltas, ", self.replicas, self.versions, self.deltas)?;
        write!(f, "{} arrivals, {} of them refused", self.arrivals, self.refused)
    }
}

/// Judges a type by all schedules of these operations within a scope, breadth first, and returns what there was.
///
/// In every state holds what [`judge`](crate::testing::judge) checks at random:
///
/// - equal versions mean equal live state, by whatever way either came about, with equal fingerprints and, where the same
///   was pruned, equal bytes;
/// - the laws, of what the replicas hold and what the one that changed held before; and all sync with all, and are equal;
/// - the delta of an edit does what the edit did; of two deltas that chain, their join does what both do;
/// - each replica reads what the [`Model`] says, before it is saved and after it is loaded.
///
/// Clocks stand still but for what was seen: an edit that has seen others is later than all of them, and of edits in the same
/// place of two histories the one by the *lesser* id is later. So concurrent writes come in either order of stamps and ids.
///
/// It takes 20 to 40 microseconds a state in an optimized build and ten times as much in another, and some hundred bytes
/// of memory and more. Each further step multiplies the states by seven to ten, so begin with few operations and few steps.
///
/// ```
/// use driftless::testing::{Raw, RawOp, Scope, explore};
///
/// let found = explore::<Raw>(Scope::new(2, 4), &[RawOp::Write(0, 1, 7), RawOp::Erase(0, 1)]);
/// println!("{found}");
/// # assert!(found.states > 100 && found.concurrent > 50 && found.refused > 0);
/// ```
///
/// # Panics
///
/// If a check fails, with a schedule that leads there: no shorter one does.
#[track_caller]
#[allow(clippy::panic, reason = "this is an assertion; `try_explore` returns the verdict")]
pub fn explore<M: Model>(scope: Scope, ops: &[M::Op]) -> Exploration {
    match try_explore::<M>(scope, ops) {
        Ok(found) => found,
        Err(why) => panic!("{why}"),
    }
}

/// Like [`explore`], and returns the verdict.
pub fn try_explore<M: Model>(scope: Scope, ops: &[M::Op]) -> Result<Exploration, String> {
    Search::<M>::new(scope, ops)?.run()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Delta, DeltaKind, State};
    use crate::testing::{Raw, RawOp};
    use crate::version::Version;

    const OPS: [RawOp; 3] = [RawOp::Write(0, 1, 1), RawOp::Erase(0, 1), RawOp::Delete(0)];

    /// The number of steps of the schedule that shows what is wrong if this is done to every delta that is cut.
    fn steps_to_see(replicas: usize, spoil: fn(&mut Delta, &State)) -> usize {
        let mut search = Search::<Raw>::new(Scope::new(replicas, 5), &OPS).unwrap();
        search.spoil(spoil);
        let why = search.run().expect_err("what is wrong passed");
        println!("{why}");
        why.lines().filter(|line| line.starts_with("  ") && line.contains(". replica ")).count()
    }

    #[test]
    fn what_is_right_passes() {
        let found = try_explore::<Raw>(Scope::new(2, 5), &OPS).unwrap();
        assert!(found.states > 2_000 && found.concurrent * 4 > found.states && found.refused > 100, "{found}");
    }

    /// Write, erase, forget: what is then cut for somebody who has the write, as a copy has, tells nothing of its end.
    #[test]
    fn answering_incrementally_below_what_was_pruned_is_seen() {
        let steps = steps_to_see(2, |delta, _| {
            if matches!(delta.kind, DeltaKind::Reconciled { .. }) {
                delta.kind = DeltaKind::Incremental;
            }
        });
        assert_eq!(steps, 4);
    }

    /// Three replicas: who learnt of a removal without its tombstone answers the third as if it could tell of it.
    #[test]
    fn not_inheriting_what_was_pruned_is_seen() {
        let steps = steps_to_see(3, |delta, _| delta.pruned = Version::new());
        assert!(steps <= 4, "{steps}");
    }

    #[test]
    fn a_complete_delta_that_counts_no_tombstone_as_pruned_is_seen() {
        let steps = steps_to_see(3, |delta, sender| {
            if delta.kind == DeltaKind::Complete {
                delta.pruned = sender.pruned().clone();
            }
        });
        assert!(steps <= 4, "{steps}");
    }

    #[test]
    fn a_deleted_entity_that_is_not_sent_whole_is_seen() {
        let steps = steps_to_see(2, |delta, _| {
            if delta.kind == DeltaKind::Incremental {
                delta.parts.iter_mut().for_each(|part| part.whole = false);
            }
        });
        assert_eq!(steps, 3);
    }

    #[test]
    fn forgetting_what_a_delta_builds_on_is_seen() {
        let steps = steps_to_see(2, |delta, _| {
            if delta.kind == DeltaKind::Incremental {
                delta.since = Version::new();
            }
        });
        assert!(steps <= 3, "{steps}");
    }
}
