//! What a merge changed.

use std::fmt;
use std::ops::Deref;

use crate::clock::Stamp;
use crate::diff::Diff;
use crate::id::Dot;
use crate::kernel::{Crdt, Touched};

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
    /// They are merged like any other; somebody's clock is wrong.
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
