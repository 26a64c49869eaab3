//! What is said of a type: its operations, what they write, and what must then be read.

use std::fmt;

use crate::error::EditError;
use crate::kernel::{Crdt, Edit};
use crate::testing::View;

/// A type under test, said once more in plain words: what each operation writes, and what somebody reads who has seen
/// certain writes.
///
/// A model never looks at the type's cells and shares no code with it; it names cells in its own way. It is a name for
/// these functions and holds nothing, so an empty enum or unit struct will do.
pub trait Model: 'static {
    /// The type under test.
    type Type: Crdt + PartialEq + fmt::Debug;

    /// What a user does to it.
    type Op: Clone + fmt::Debug;

    /// The model's own address of a cell: what a later write to the same place replaces.
    type Cell: Ord + Clone + fmt::Debug;

    /// Cells that are deleted together, by one write: a node with its properties, or all there is (`()`).
    type Group: Ord + Clone + fmt::Debug;

    /// What a cell holds.
    type Value: fmt::Debug;

    /// Which group a cell belongs to.
    fn group(cell: &Self::Cell) -> Self::Group;

    /// Does the operation to the type itself.
    fn apply(edit: &mut Edit<'_, Self::Type>, op: &Self::Op) -> Result<(), EditError>;

    /// What the operation writes, in order, when writer number `by` does it who has this view.
    ///
    /// One entry for each dot that is minted, and none where nothing is written: an operation that turns out to be idle
    /// writes nothing, and the kit counts. `None` if the operation is refused; then the whole edit around it must fail and
    /// leave nothing behind.
    fn writes(op: &Self::Op, view: &View<'_, Self>, by: usize) -> Option<Writes<Self>>;

    /// Compares everything that can be read with what must be read by somebody who has this view; [`same`] helps to say
    /// what is wrong.
    ///
    /// A failure means that the reading rule, or what the type derives from its cells, is wrong (or the model is).
    fn check(view: &View<'_, Self>, found: &Self::Type) -> Result<(), String>;

    /// The kind of an operation, for the [`Report`](crate::testing::Report).
    fn kind(op: &Self::Op) -> &'static str;

    /// Recomputes what the type derives from its cells and compares, if it can: checked wherever [`check`](Self::check)
    /// is. By default only what the kernel keeps up.
    fn invariants(found: &Self::Type) -> Result<(), String> {
        found.state().check_invariants()
    }

    /// What a view has to offer, so that the report can tell in how many cases there was any: conflicts, hidden things.
    fn facets(_: &View<'_, Self>) -> Vec<&'static str> {
        Vec::new()
    }

    /// Whether writes to these two cells that do not know of each other collide. By default those to one cell do;
    /// override it where each writer has a cell of its own, and what is read comes of all of them.
    fn collide(a: &Self::Cell, b: &Self::Cell) -> bool {
        a == b
    }

    /// What stands before a schedule begins, done by one replica and known to all: something to collide on.
    fn begin() -> Vec<Self::Op> {
        Vec::new()
    }
}

/// One write: one dot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write<C, G, V> {
    /// Puts a value in place of all that the writer sees in the cell.
    Put(C, V),
    /// Removes all that the writer sees in the cell.
    Remove(C),
    /// Removes all that the writer sees in all cells of a group.
    Delete(G),
}

/// The writes of an operation.
pub type Writes<M> = Vec<Write<<M as Model>::Cell, <M as Model>::Group, <M as Model>::Value>>;

/// Says what differs, if it does: for [`Model::check`].
///
/// ```
/// use driftless::testing::same;
/// assert_eq!(same("apples", 5, 5), Ok(()));
/// assert_eq!(same("apples", 3, 5), Err("apples: found 3, must be 5".into()));
/// ```
pub fn same<T: PartialEq + fmt::Debug>(what: impl fmt::Display, found: T, expected: T) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: found {found:?}, must be {expected:?}")),
    }
}
