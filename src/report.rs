//! What a merge or a repair changed.

use std::fmt;
use std::ops::Deref;

use crate::clock::Stamp;
use crate::diff::Diff;
use crate::id::{Dot, WriterId};
use crate::kernel::{Crdt, Delta, Dropped, Touched};

/// What [`Replica::merge`](crate::Replica::merge) changed, in O(|delta|), for indexes and user code to follow: a [`Diff`] of
/// before and after, whose cells hold their tombstones too, and in which a cell is listed even if only those changed.
#[derive(Clone)]
pub struct MergeReport<T> {
    diff: Diff<T>,
    ahead: Vec<(Dot, Stamp)>,
    shared: Option<WriterId>,
    is_doubled: bool,
    dropped: Vec<Dropped>,
    rescue: Option<Delta>,
    diverged: bool,
}

impl<T: Crdt> MergeReport<T> {
    pub(crate) fn new(touched: Vec<Touched>, ahead: Vec<(Dot, Stamp)>) -> Self {
        let diff = Diff::new(touched);
        Self { diff, ahead, shared: None, is_doubled: false, dropped: Vec::new(), rescue: None, diverged: false }
    }

    pub(crate) fn with_doubled(
        mut self,
        shared: Option<WriterId>,
        dropped: Vec<Dropped>,
        rescue: Option<Delta>,
    ) -> Self {
        (self.shared, self.dropped, self.rescue) = (shared, dropped, rescue);
        self
    }

    /// Notes that a dot had two contents, even if none of them is lost.
    pub(crate) fn with_doubled_dots(mut self, is_doubled: bool) -> Self {
        self.is_doubled |= is_doubled;
        self
    }

    pub(crate) fn with_divergence(mut self, diverged: bool) -> Self {
        self.diverged = diverged;
        self
    }

    /// True if the sender had seen exactly what has been seen here now, and did not hold the same: a running process was
    /// copied with its memory, or a disk rots. [Repair](crate::Replica::repair) both by each other's complete deltas; a
    /// session and a folder do so by themselves.
    pub fn has_diverged(&self) -> bool {
        self.diverged
    }

    /// The writer of this replica, if another process was found to write as it too: a running process was copied with its
    /// memory. The next write draws a writer of its own.
    pub fn shared_writer(&self) -> Option<WriterId> {
        self.shared
    }

    /// True if a dot was found with two contents, of which one may be a removal: then what the merge did depends on which tombstones
    /// were held here. Whoever replays merges from a log saves the whole state after such a one.
    pub fn is_doubled(&self) -> bool {
        self.is_doubled || !self.dropped.is_empty()
    }

    /// Contents that lost their dots to others under the same dots: only after a process was copied with its memory, or
    /// on a rotten disk. Those that were written again say so; others are lost here unless the app writes them again.
    pub fn dropped(&self) -> &[Dropped] {
        &self.dropped
    }

    /// What was written again of them, as a delta: to append to a log and to send, like that of an edit.
    pub fn rescue(&self) -> Option<&Delta> {
        self.rescue.as_ref()
    }

    /// Writes whose stamp lies more than [`MAX_DRIFT_MILLIS`](crate::clock::MAX_DRIFT_MILLIS) ahead of the local clock.
    /// They are merged like any other; the clock of their writer, or ours, is wrong. Each write is reported once, by the
    /// merge that brings it: not again by a delta that holds it too.
    pub fn ahead(&self) -> &[(Dot, Stamp)] {
        &self.ahead
    }
}

impl<T> Deref for MergeReport<T> {
    type Target = Diff<T>;

    fn deref(&self) -> &Diff<T> {
        &self.diff
    }
}

impl<T> fmt::Debug for MergeReport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergeReport")
            .field("touched", &self.diff.touched())
            .field("ahead", &self.ahead)
            .field("dropped", &self.dropped)
            .finish()
    }
}

/// What [`Replica::repair`](crate::Replica::repair) changed: all that was alive here and no longer is, so that nothing
/// vanishes in silence. And, as a [`MergeReport`], every cell that changed.
///
/// A peer that repairs by us has a report of its own, with what was dropped *there*.
#[derive(Clone)]
pub struct Repair<T> {
    report: MergeReport<T>,
    before: T,
}

impl<T: Crdt> Repair<T> {
    pub(crate) fn new(report: MergeReport<T>, before: T) -> Self {
        Self { report, before }
    }
}

impl<T> Repair<T> {
    /// The value as it was: to read what was dropped in the terms of the type, or to [write it
    /// again](crate::Edit::revert_to).
    pub fn before(&self) -> &T {
        &self.before
    }
}

impl<T> Deref for Repair<T> {
    type Target = MergeReport<T>;

    fn deref(&self) -> &MergeReport<T> {
        &self.report
    }
}

impl<T> fmt::Debug for Repair<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repair").field("report", &self.report).finish()
    }
}
