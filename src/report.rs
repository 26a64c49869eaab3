//! What a merge or a repair changed.

use std::fmt;
use std::ops::Deref;

use crate::clock::Stamp;
use crate::diff::Diff;
use crate::id::Dot;
use crate::kernel::{Crdt, Dropped, Touched};

/// What [`Replica::merge`](crate::Replica::merge) changed, in O(|delta|), for indexes and user code to follow: a [`Diff`] of
/// before and after, whose cells hold their tombstones too, and in which a cell is listed even if only those changed.
#[derive(Clone)]
pub struct MergeReport<T> {
    diff: Diff<T>,
    ahead: Vec<(Dot, Stamp)>,
}

impl<T: Crdt> MergeReport<T> {
    pub(crate) fn new(touched: Vec<Touched>, ahead: Vec<(Dot, Stamp)>) -> Self {
        Self { diff: Diff::new(touched), ahead }
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
        f.debug_struct("MergeReport").field("touched", &self.diff.touched()).field("ahead", &self.ahead).finish()
    }
}

/// What [`Replica::repair`](crate::Replica::repair) changed: all that was alive here and no longer is, so that nothing
/// vanishes in silence. And, as a [`MergeReport`], every cell that changed.
///
/// A peer that repairs by us has a report of its own, with what was dropped *there*.
#[derive(Clone)]
pub struct Repair<T> {
    report: MergeReport<T>,
    dropped: Vec<Dropped>,
    before: T,
}

impl<T: Crdt> Repair<T> {
    pub(crate) fn new(report: MergeReport<T>, dropped: Vec<Dropped>, before: T) -> Self {
        Self { report, dropped, before }
    }
}

impl<T> Repair<T> {
    /// Every write that was alive here and no longer is, by dot, with its content, and with what the peer holds in its
    /// place, if anything. Empty if the two differed in nothing that lives here.
    pub fn dropped(&self) -> &[Dropped] {
        &self.dropped
    }

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
        f.debug_struct("Repair").field("report", &self.report).field("dropped", &self.dropped).finish()
    }
}
