//! What happens to three replicas.

use std::fmt;

use proptest::prelude::*;

/// How many replicas a schedule runs over.
pub(super) const REPLICAS: usize = 3;

/// A schedule is made of this many parts, each of fewer steps than that: some sixteen edits, enough for each replica to
/// collide with both others. Of one part of any length too many would be short.
const PARTS: usize = 3;
const STEPS: usize = 24;

/// One step of a schedule. Everything is addressed by its number among those that there are, modulo how many, so a
/// schedule from which steps are taken still means something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step<Op> {
    /// A replica does these, in one edit.
    Edit {
        /// Which replica.
        by: usize,
        /// What it does.
        ops: Vec<Op>,
    },
    /// A replica cuts a delta for another, as things stand, and puts it under way.
    Send {
        /// Who cuts it.
        from: usize,
        /// Whom it is for.
        to: usize,
        /// What it sends.
        what: What,
    },
    /// One of the deltas under way arrives. What never arrives is lost; what was sent later may arrive earlier.
    Deliver {
        /// Which of them.
        which: usize,
        /// It stays under way, and may arrive again.
        again: bool,
        /// It reaches another replica than the one it is for.
        astray: bool,
    },
    /// A replica forgets its tombstones.
    Prune {
        /// Which replica.
        by: usize,
    },
    /// A site opens a state that was saved, and goes on with that. What it had is lost, unless it has been sent or is replayed.
    ///
    /// A state is saved after every step. Its own latest is an orderly restart, its own earlier one a backup that is restored,
    /// and another site's a copy: then two processes go on from one save.
    Restart {
        /// Which site.
        who: usize,
        /// Whose saved state it opens.
        of: usize,
        /// How many saves that one lies back; 0 is the latest.
        back: usize,
    },
    /// A site [replays](crate::Replica::replay) the deltas of its own edits, in the order in which it made them. Those that
    /// build on what was merged from others, and is missing since a restart, are refused.
    Replay {
        /// Which site.
        who: usize,
        /// From which delta on.
        from: usize,
    },
}

/// What a replica sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// What the other lacks; reconciled, if tombstones were pruned that it has not seen.
    Lacking,
    /// What it did last, whether the other has what came before or not.
    LastEdit,
    /// All there is.
    Everything,
}

/// Random schedules of these operations.
pub fn schedules<Op: Clone + fmt::Debug>(ops: impl Strategy<Value = Op>) -> impl Strategy<Value = Vec<Step<Op>>> {
    let replica = || 0..REPLICAS;
    let what = prop_oneof![4 => Just(What::Lacking), 2 => Just(What::LastEdit), 1 => Just(What::Everything)];
    let step = prop_oneof![
        10 => (replica(), prop::collection::vec(ops, 1..3)).prop_map(|(by, ops)| Step::Edit { by, ops }),
        5 => (replica(), 1..REPLICAS, what)
            .prop_map(|(from, next, what)| Step::Send { from, to: (from + next) % REPLICAS, what }),
        6 => (0..100usize, prop::bool::weighted(0.25), prop::bool::weighted(0.2))
            .prop_map(|(which, again, astray)| Step::Deliver { which, again, astray }),
        2 => replica().prop_map(|by| Step::Prune { by }),
        2 => (replica(), replica(), prop::bool::weighted(0.8), prop_oneof![1 => Just(0), 2 => 0..8usize])
            .prop_map(|(who, of, own, back)| Step::Restart { who, of: if own { who } else { of }, back }),
        1 => (replica(), 0..8usize).prop_map(|(who, from)| Step::Replay { who, from }),
    ];
    prop::collection::vec(prop::collection::vec(step, 0..STEPS), PARTS).prop_map(|parts| parts.concat())
}
