//! What a merge changed.

use std::fmt;
use std::marker::PhantomData;

use crate::clock::Stamp;
use crate::id::Dot;
use crate::kernel::{Contest, Crdt, Entity, Field, Touched};

/// What [`Replica::merge`](crate::Replica::merge) changed, in O(|delta|), for indexes and user code to follow.
#[derive(Clone)]
pub struct MergeReport<T> {
    touched: Vec<Touched>,
    ahead: Vec<(Dot, Stamp)>,
    of: PhantomData<T>,
}

impl<T: Crdt> MergeReport<T> {
    pub(crate) fn new(touched: Vec<Touched>, ahead: Vec<(Dot, Stamp)>) -> Self {
        Self { touched, ahead, of: PhantomData }
    }

    /// What changed, in the terms of the type: one entry for each changed cell that means something to a user.
    pub fn changes(&self) -> impl Iterator<Item = T::Change> + '_ {
        self.touched.iter().filter_map(T::describe)
    }

    /// Every cell that changed, with its siblings before and after.
    pub fn touched(&self) -> &[Touched] {
        &self.touched
    }

    /// Cells whose live siblings differ now and did not before.
    pub fn opened(&self) -> impl Iterator<Item = (Entity, &Field)> + '_ {
        self.contests(Contest::Opened)
    }

    /// Cells whose live siblings differed and do no longer.
    pub fn closed(&self) -> impl Iterator<Item = (Entity, &Field)> + '_ {
        self.contests(Contest::Closed)
    }

    /// Writes whose stamp lies more than [`MAX_DRIFT_MILLIS`](crate::clock::MAX_DRIFT_MILLIS) ahead of the local clock.
    /// They are merged like any other; somebody's clock is wrong.
    pub fn ahead(&self) -> &[(Dot, Stamp)] {
        &self.ahead
    }

    fn contests(&self, which: Contest) -> impl Iterator<Item = (Entity, &Field)> + '_ {
        self.touched.iter().filter(move |t| t.contest == Some(which)).map(|t| (t.entity, &t.field))
    }
}

impl<T> fmt::Debug for MergeReport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergeReport").field("touched", &self.touched).field("ahead", &self.ahead).finish()
    }
}
