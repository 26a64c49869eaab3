//! Wrong variants of this crate, to see that its tests find them out, as `driftless` has them: each stands where the rule is
//! that it breaks. In a build without `--cfg driftless_bugs` nothing is left of them.
#![allow(unreachable_pub, reason = "tests see this where there are bugs")]

macro_rules! bugs {
    ($($name:ident: $what:literal;)*) => {
        /// One wrong line.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
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
    ContentUnchecked: "the checksum of a frame's content is not checked";
    BlockUnchecked: "the checksum of a checkpoint's block is not checked";
    CheckpointUnsynced: "a checkpoint gets its name before it is synced";
    NamesUnsynced: "the directory is not synced";
    HeadFirst: "the head names a checkpoint before the checkpoint's name is durable";
    TailNotWrittenAnew: "an opening tells of the end of the log without writing it anew";
    DamageIsTorn: "a bad frame is taken for the end of the log, though a later one proves that it was durable";
    PrunedByCheckpoint: "a checkpoint leaves tombstones out, which then count as pruned";
    AckedUnsynced: "an edit returns before it is synced";
    UndoneStays: "a write that failed half-way is not cut off";
    SyncFailureIgnored: "after a failed sync the store goes on";
    OldSegmentUnsynced: "a new segment is used before the old one is synced";
    RemovedBeforeHead: "old segments are removed before the head is durable that does without them";
    MergedBeforeLogged: "a merge that could not be logged stays in memory";
    TableApart: "changes of the local table are logged in a frame of their own";
}

#[cfg(driftless_bugs)]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    static ON: AtomicU8 = AtomicU8::new(u8::MAX);

    /// Switches one on in the whole process, or all off.
    pub fn switch(bug: Option<Bug>) {
        ON.store(bug.map_or(u8::MAX, |bug| bug as u8), Ordering::SeqCst);
    }

    pub(crate) fn is(bug: Bug) -> bool {
        ON.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(driftless_bugs)]
pub(crate) use switch::is;
#[cfg(driftless_bugs)]
pub use switch::switch;

#[cfg(not(driftless_bugs))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}
