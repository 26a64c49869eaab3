//! What differs between two states of one value.

use std::fmt;
use std::marker::PhantomData;

use crate::kernel::{Contest, Crdt, Entity, Field, Touched};

/// Where two states of a value differ: every cell whose live siblings are others, with what it held then and now.
///
/// Tombstones are not part of it, so pruning makes no difference. A value that was overwritten by the same value is: it is
/// another write ([`changes`](Self::changes) passes over it).
///
/// ```
/// use driftless::{Diff, Graph, GraphChange, NodeId, Replica};
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// let ada = NodeId::named("person:ada");
/// let (_, delta) = laptop.edit(|g| g.add_node("person:ada"))?;
/// phone.merge(&delta)?;
///
/// let yesterday = phone.snapshot();
/// let (_, delta) = laptop.edit(|g| g.set(ada, "/born", 1815))?;
/// phone.merge(&delta)?;
/// phone.edit(|g| g.label(ada, "Person"))?;
///
/// let diff = phone.diff(&yesterday);
/// assert_eq!(diff.changes().count(), 2);
/// assert!(matches!(diff.changes().last(), Some(GraphChange::PropertyChanged { .. })));
/// // The same the other way round: what to undo.
/// assert_eq!(Diff::between(phone.state(), &yesterday).touched().len(), diff.touched().len());
/// assert!(phone.diff(phone.state()).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Diff<T> {
    touched: Vec<Touched>,
    of: PhantomData<T>,
}

impl<T: Crdt> Diff<T> {
    /// What of `newer` differs from `older`; either may be a snapshot or a replica's state.
    ///
    /// O(differences · log n) if one comes from the other by editing and merging, since what they share in memory is passed
    /// over. O(n) for states that do not share memory, such as two that were loaded.
    pub fn between(older: &T, newer: &T) -> Self {
        Self::new(older.state().differences(newer.state()))
    }

    pub(crate) fn new(touched: Vec<Touched>) -> Self {
        Self { touched, of: PhantomData }
    }

    /// The changes in the terms of the type: one for each changed cell that means something to a user, and one for all characters of a
    /// text.
    pub fn changes(&self) -> impl Iterator<Item = T::Change> + '_ {
        let mut told: Option<&Touched> = None;
        self.touched.iter().filter_map(move |touched| {
            if told.is_some_and(|told| told.entity == touched.entity && T::is_one_change(told, touched)) {
                return None;
            }
            let change = T::describe(touched)?;
            told = Some(touched);
            Some(change)
        })
    }

    /// Cells whose live siblings differ now and did not before.
    pub fn opened(&self) -> impl Iterator<Item = (Entity, &Field)> + '_ {
        self.contests(Contest::Opened)
    }

    /// Cells whose live siblings differed and do no longer.
    pub fn closed(&self) -> impl Iterator<Item = (Entity, &Field)> + '_ {
        self.contests(Contest::Closed)
    }

    fn contests(&self, which: Contest) -> impl Iterator<Item = (Entity, &Field)> + '_ {
        self.touched.iter().filter(move |t| t.contest == Some(which)).map(|t| (t.entity, &t.field))
    }
}

impl<T> Diff<T> {
    /// Every cell that changed, with its siblings before and after.
    pub fn touched(&self) -> &[Touched] {
        &self.touched
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }
}

impl<T> fmt::Debug for Diff<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Diff").field(&self.touched).finish()
    }
}
