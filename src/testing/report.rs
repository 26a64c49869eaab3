//! How often the schedules held what they are there to hold.

use std::collections::BTreeMap;
use std::fmt;

/// How often something happened, of how many times it could have.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Shares {
    total: u64,
    counts: BTreeMap<&'static str, u64>,
}

impl Shares {
    /// The share of one thing, from 0 to 1; 0 of what never happened.
    pub fn of(&self, what: &str) -> f64 {
        let count = self.counts.get(what).copied().unwrap_or(0);
        if self.total == 0 { 0.0 } else { count as f64 / self.total as f64 }
    }

    /// Of how many.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// All that happened, with their shares.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        self.counts.keys().map(|what| (*what, self.of(what)))
    }

    pub(super) fn one_of(&mut self, what: &'static str) {
        self.total += 1;
        self.also(what);
    }

    pub(super) fn total_one(&mut self) {
        self.total += 1;
    }

    /// What holds of one that was counted, besides.
    pub(super) fn also(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Whether a single case held this; counting it again makes no difference.
    pub(super) fn hold(&mut self, what: &'static str) {
        self.counts.insert(what, 1);
    }

    fn add(&mut self, other: &Self) {
        self.total += other.total;
        other.counts.iter().for_each(|(what, count)| *self.counts.entry(what).or_default() += count);
    }
}

/// What a run of schedules was made of. Printed, it is a table.
///
/// A schedule in which nothing collides tests nothing, so this is part of the verdict: see [`check`](Self::check).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Of all cases: those with `"concurrency"` (two writes that do not know of each other
    /// [collide](crate::testing::Model::collide)), those where the law of `"regrouped deltas"` could be checked, and those
    /// with each [facet](crate::testing::Model::facets).
    pub cases: Shares,
    /// Of all operations: each [kind](crate::testing::Model::kind).
    pub ops: Shares,
    /// Of all edits: `"wrote"`, `"wrote nothing"` or `"refused"`.
    pub edits: Shares,
    /// Of all deltas put under way: `"incremental"`, `"reconciled"` (since tombstones were pruned), `"of the last edit"` or
    /// `"complete"`; and `"lost"`.
    pub deltas: Shares,
    /// Of all openings of a saved state: `"restarted"` from the latest, `"restored"` from an earlier one, or `"copied"` from
    /// another site.
    pub openings: Shares,
    /// Of all deltas of own edits that were replayed: `"merged"` or `"refused"` (a gap).
    pub replays: Shares,
    /// Of all arrivals: `"merged"` or `"refused"` (a gap); and `"again"`, `"late"` (after one that was sent later between
    /// the same two) and `"astray"`.
    pub arrivals: Shares,
}

impl Report {
    /// The least share of cases with real concurrency.
    pub const MIN_CONCURRENCY: f64 = 0.3;

    /// The least share of each kind of operation.
    pub const MIN_OPS: f64 = 0.05;

    /// Whether the cases were worth running: real concurrency in at least 30 % of them, and of each kind of operation at
    /// least 5 %.
    ///
    /// A failure means that the operations come from too wide a range to meet (use three keys, not three hundred), or
    /// that one of them is drawn too rarely.
    pub fn check(&self) -> Result<(), String> {
        let concurrency = self.cases.of("concurrency");
        if concurrency < Self::MIN_CONCURRENCY {
            return Err(format!("only {:.1} % of the cases hold real concurrency\n{self}", concurrency * 100.0));
        }
        match self.ops.iter().find(|(_, share)| *share < Self::MIN_OPS) {
            Some((kind, share)) => Err(format!("only {:.1} % of the operations are `{kind}`\n{self}", share * 100.0)),
            None => Ok(()),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.cases.add(&other.cases);
        self.ops.add(&other.ops);
        self.edits.add(&other.edits);
        self.deltas.add(&other.deltas);
        self.arrivals.add(&other.arrivals);
        self.openings.add(&other.openings);
        self.replays.add(&other.replays);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("cases", &self.cases),
            ("operations", &self.ops),
            ("edits", &self.edits),
            ("deltas", &self.deltas),
            ("arrivals", &self.arrivals),
            ("openings", &self.openings),
            ("replays", &self.replays),
        ];
        for (of, shares) in all {
            writeln!(f, "{} {of}", shares.total())?;
            for (what, share) in shares.iter() {
                writeln!(f, "  {:5.1} % {what}", share * 100.0)?;
            }
        }
        Ok(())
    }
}
