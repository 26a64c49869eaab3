//! How much of each hazard there was.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

/// What every normal run must have had some of.
pub(crate) const HAZARDS: [&str; 34] = [
    "frames lost",
    "frames duplicated",
    "frames reordered",
    "frames damaged",
    "frames very late",
    "frames into a dead link",
    "frames for an earlier session",
    "frames without sense",
    "partitions",
    "dead directions",
    "crashes",
    "crashes that lost writes",
    "old backups",
    "copies of saves to other sites",
    "replays",
    "replays of a part",
    "restarts of one end of a session",
    "reconciliations",
    "reconciliations begun by both",
    "resumed streams",
    "resumed streams merged",
    "streams of several windows",
    "streams of several parts",
    "prunes of all",
    "prunes of what all have seen",
    "retries",
    "silences",
    "remembered standings",
    "sessions closed",
    "processes copied with their memory",
    "writers found to be shared",
    "contents written again",
    "contents under doubled dots",
    "repairs",
];

impl Tally {
    pub(crate) fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub(crate) fn most(&mut self, what: &'static str, value: u64) {
        let most = self.0.entry(what).or_default();
        *most = value.max(*most);
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            match what.starts_with("most ") {
                true => self.most(what, *times),
                false => self.add(what, *times),
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, times)| writeln!(f, "{times:10} {what}"))
    }
}
