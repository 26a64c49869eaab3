//! Wrong variants of this crate, to see that its tests find them out: see `tests/bugs`.
//!
//! Each stands where the rule is that it breaks, as `if is(Bug::…)`. In a build without `--cfg driftless_bugs` that is never
//! true, and nothing is left of it.
#![allow(unreachable_pub, reason = "`testing::bugs` shows this where there are bugs")]

macro_rules! bugs {
    ($($name:ident: $what:literal;)*) => {
        /// One wrong line.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Bug {
            $(#[doc = $what] $name,)*
        }

        #[cfg(driftless_bugs)]
        impl Bug {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What is wrong with it.
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)*
                }
            }
        }
    };
}

bugs! {
    // What the kernel's rules forbid.
    PartOfEntity: "an entity whose root has changed is not sent whole";
    NoGapCheck: "a delta with a causal gap is merged";
    NoReconciling: "below the pruned version the answer is incremental";
    LateUnjudged: "a reconciled delta does not judge what came after it was cut";
    PrunedNotInherited: "what the sender has pruned is not inherited";
    LeftOutNotPruned: "tombstones that a complete delta leaves out do not count as pruned";
    JoinUnchained: "deltas are joined that do not chain";
    BirthsLeftOut: "the births of writers are left out of a delta";
    ForkOnOneLine: "a fork does not begin a line of its own";
    PeersVersion: "a delta is cut from what the peer has seen, also where the sender has not";
    CommonAsNeed: "a reconciled delta names what is common as what it needs";
    // Kernel: writing.
    OwnersWriter: "an opening writes as the writer that the state was saved by";
    SiblingsStay: "a write does not replace the siblings that it sees";
    DeleteMissesCell: "deleting an entity leaves one of its cells";
    UndoKeepsVersion: "a failed edit leaves its dots in the version";
    UndoForwards: "a failed edit is undone in the order in which it was done";
    // Kernel: cutting, merging, joining.
    OverClaim: "a delta claims one write more than it holds";
    KnownDropped: "siblings that the receiver has are left out of a delta";
    DeadDropped: "a reconciled delta lists nothing as dead";
    KeepOurs: "of two siblings with one stamp a merge keeps ours alone";
    MergeNeverKills: "a merge keeps all that is here";
    Revives: "a merge takes what was seen here to die for news";
    RemovalWins: "a removal kills what it did not see";
    CompleteSilent: "a complete delta does not bury the entities that it does not hold";
    PruneForgets: "pruning is not remembered";
    JoinDropsSiblings: "of a cell in two deltas their join takes what the later says";
    JoinForgetsPruned: "the join of two deltas has pruned what the first had";
    RepairKeepsOurs: "of two contents of one dot a repair keeps ours";
    // What is derived from cells.
    FingerprintKept: "what is dead stays in the fingerprint";
    FingerprintBlind: "the fingerprint leaves the content out";
    LiveKept: "what is dead stays in the index of live dots";
    TombstoneKept: "a pruned tombstone stays in the index";
    ContestKept: "a contest that has closed stays listed";
    ManyLosesCell: "an entity that grows large loses its last cell";
    RunUncut: "letters in a row stay one run where another is put between them";
    NotFollowed: "what a type derives does not follow merges";
    UndoNotFollowed: "what a type derives does not follow what is undone";
    AdjacencyKept: "an edge that is deleted stays in the adjacency";
    IndexNotMerged: "an index of a property does not follow merges";
    IndexKeepsDead: "a node that is deleted stays in an index of a property";
    IndexMissesRestored: "a node that comes back stays out of an index of a property";
    LabelKept: "a label of a node that is deleted stays in the index of labels";
    CircleKept: "a circle that was broken stays so when one of its nodes goes elsewhere";
    LetterKept: "a letter that is deleted stays in its text";
    LetterTwice: "equal letters of one cell show twice";
    DeletionHides: "a letter that is put back is hidden by a deletion that is later";
    DeletionUntold: "the changes of a text leave out the letters that were deleted";
    ElementKept: "an element that is removed stays in its list";
    LeftoverShows: "an element that is removed shows where another has moved it";
    // Types.
    MoveUnheeded: "an element that is moved shows where it was born";
    RemovalKeepsMove: "the removal of an element leaves where it was moved to";
    ListByDot: "an array that two make a list is there twice";
    MovesOthers: "a move in a tree makes others jump that it frees from a circle";
    MoveForgetsFrom: "a move in a tree does not remember where from";
    AnyoneLengthens: "a bunch of positions is lengthened by whoever has an element at its end";
    HeldIgnored: "a word that is typed anew goes behind what another put after the old one";
    ImportByDot: "a text that two import alike is there twice";
    AddRevives: "a node that is added anew has what was hidden";
    TieShowsOurs: "where stamps tie a register goes on showing what it showed";
    SumTwice: "a counter adds what is merged to what it has of it";
    // Codec.
    SignLost: "differences of numbers are decoded without their sign";
    Saturates: "differences of numbers saturate where they should wrap";
    PrunedNotEncoded: "what was pruned is not encoded";
    KindLost: "the kind of a payload is not encoded";
    NotCanonical: "bytes are accepted that nobody writes";
    // What a session is made of.
    SliceLost: "staging is applied in part: the last slice is lost";
    ResumeForgets: "of a cell that was changed after a break the part before it is lost";
    DifferenceReversed: "the difference that a reconciliation finds is used the wrong way round";
    StandingForgets: "of a standing told as differences the last is lost";
    UndurableTold: "what is not durable yet is told as seen";
    MergedAhead: "one stream more counts as merged than was";
    EarlierSessionHeard: "what was said in an earlier session is heard";
}

/// Whether the crate is wrong in this way.
#[cfg(not(driftless_bugs))]
#[inline(always)]
pub(crate) const fn is(_: Bug) -> bool {
    false
}

#[cfg(driftless_bugs)]
pub use seeded::with;

#[cfg(driftless_bugs)]
pub(crate) use seeded::is;

#[cfg(driftless_bugs)]
mod seeded {
    use std::cell::Cell;

    use crate::bugs::Bug;

    thread_local! {
        static SEEDED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    pub(crate) fn is(bug: Bug) -> bool {
        SEEDED.get() == Some(bug)
    }

    /// Does something with one bug, or none, on this thread: also if it panics, no longer than that.
    pub fn with<R>(bug: Option<Bug>, act: impl FnOnce() -> R) -> R {
        struct Before(Option<Bug>);

        impl Drop for Before {
            fn drop(&mut self) {
                SEEDED.set(self.0);
            }
        }

        let _before = Before(SEEDED.replace(bug));
        act()
    }
}
