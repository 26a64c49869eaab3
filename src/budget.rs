//! How much is held of tombstones, and which go first.

use std::time::Duration;

use crate::clock::Stamp;
use crate::id::Dot;
use crate::kernel::State;
use crate::version::Version;

/// How much may be held of tombstones. Past any of these the oldest go.
///
/// A replica [prunes](crate::Replica::set_pruning) by the default budget by itself. What is deleted stays deleted; a peer
/// that has not seen a pruned tombstone [reconciles](crate::sync::Reconciling) when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many.
    pub count: usize,
    /// How many bytes of memory, about.
    pub bytes: u64,
    /// The longest that they are kept, by their stamps. Those of deleted characters may be up to a minute older than the deletion.
    pub age: Duration,
}

/// A hundred thousand, 16 MiB, ninety days: a device that is used every season never has to reconcile.
impl Default for Budget {
    fn default() -> Self {
        Self { count: 100_000, bytes: 16 << 20, age: Duration::from_secs(90 * 24 * 60 * 60) }
    }
}

impl Budget {
    /// A share of it, of numbers and bytes.
    fn part(&self, numerator: u64, denominator: u64) -> Self {
        let count = (self.count as u64).saturating_mul(numerator) / denominator;
        Self { count: count as usize, bytes: self.bytes / denominator * numerator, age: self.age }
    }

    /// The oldest tombstones that have to go so that the others keep to the budget, of those that `seen` does not cover.
    /// O(tombstones · log n).
    pub(crate) fn oldest(&self, state: &State, seen: &Version, now_ms: u64) -> Vec<Dot> {
        let tombstones = state.dated_tombstones().filter(|(dot, ..)| !seen.covers(*dot));
        let mut held: Vec<(Stamp, Dot, u64)> = tombstones.map(|(dot, stamp, bytes)| (stamp, dot, bytes)).collect();
        held.sort_unstable();
        let (mut count, mut bytes) = (held.len(), held.iter().map(|(.., bytes)| bytes).sum::<u64>());
        let age = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        let mut oldest = Vec::new();
        for (stamp, dot, own) in held {
            let expired = now_ms.saturating_sub(stamp.millis()) > age;
            if count <= self.count && bytes <= self.bytes && !expired {
                break;
            }
            oldest.push(dot);
            (count, bytes) = (count - 1, bytes - own);
        }
        oldest
    }
}

/// Pruning by itself: looks at the tombstones after so many changes that it costs each change next to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pruning {
    budget: Budget,
    /// Edits and merges until it looks again.
    due: u64,
}

/// How many edits and merges pass between two looks at least.
const EVERY: u64 = 4096;

impl Pruning {
    pub(crate) fn new(budget: Budget) -> Self {
        // A state that was opened after a long while is looked at soon.
        Self { budget, due: 1 }
    }

    /// Counts one edit or merge, and returns the tombstones that are to go now. Amortised O(log n).
    pub(crate) fn after_change(&mut self, state: &State, now_ms: u64) -> Vec<Dot> {
        let held = state.tombstones_len();
        self.due = self.due.saturating_sub(1);
        if self.due > 0 && held <= self.budget.count {
            return Vec::new();
        }
        // As many changes as there were tombstones to look at pass before the next look.
        self.due = EVERY.max(held as u64);
        let oldest = self.budget.oldest(state, &Version::new(), now_ms);
        match oldest.is_empty() {
            true => oldest,
            // A quarter more, so that the next one that is too many is far.
            false => self.budget.part(3, 4).oldest(state, &Version::new(), now_ms),
        }
    }
}
