//! Counters.

use std::fmt;

use crate::bugs::{Bug, is};
use crate::count::{self, Adding, Count, Sum};
use crate::error::EditError;
use crate::id::WriterId;
use crate::kernel::{Crdt, Edit, Entity, Field, Sibling, SiblingRef, State, Touched};
use crate::types::{crdt_basics, crdt_state};

/// The writer that names a cell.
fn writer_of(field: &[u8]) -> Option<WriterId> {
    <[u8; WriterId::LEN]>::try_from(field).ok().map(WriterId::from)
}

/// The live siblings of the counter, each with the writer that names its cell.
fn live(state: &State) -> impl Iterator<Item = (WriterId, SiblingRef<'_>)> {
    let all = state.cells(Entity::SELF).into_iter().flat_map(|cells| cells.iter());
    all.filter(|(_, sibling)| sibling.is_live())
        .filter_map(|(field, sibling)| Some((writer_of(field.as_bytes())?, sibling)))
}

/// By how much the counter has to change to be as it was: `cells` are those that differ.
fn missing(state: &State, cells: &[Touched]) -> i128 {
    let differs = |writer: &WriterId| cells.iter().any(|cell| cell.field.as_bytes() == writer.as_bytes());
    let same = || live(state).filter(|(writer, _)| !differs(writer)).map(|(_, sibling)| sibling);
    let of = |cell: &'_ Touched| writer_of(cell.field.as_bytes()).is_some();
    let cells = || cells.iter().filter(|cell| of(cell));
    let was = count::sum(
        same().chain(cells().flat_map(|cell| cell.was()).map(Sibling::as_ref).filter(|sibling| sibling.is_live())),
    );
    let now = count::sum(
        same().chain(cells().flat_map(|cell| cell.now()).map(Sibling::as_ref).filter(|sibling| sibling.is_live())),
    );
    was.greatest - now.greatest
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $schema:literal, $revert:expr) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $name {
            state: State,
        }

        impl Crdt for $name {
            const SCHEMA: &'static str = $schema;

            /// The writer whose cell changed, and by how much its totals did.
            type Change = (WriterId, i128);

            crdt_state!();

            fn follow(&mut self, _: &Touched) {}

            /// By how much the totals in a cell changed. A writer that takes over the cell of an earlier opening makes two
            /// such changes.
            fn describe(touched: &Touched) -> Option<(WriterId, i128)> {
                let net = |siblings: &[Sibling]| -> i128 {
                    siblings.iter().filter_map(Count::of).map(|count| count.totals().net()).sum()
                };
                let difference = net(touched.now()) - net(touched.was());
                (difference != 0).then_some((writer_of(touched.field.as_bytes())?, difference))
            }

            fn is_total(_: &Field) -> bool {
                true
            }

            /// Adds what the sum differs by to this replica's own totals, since only its writer may write a running total.
            fn revert(edit: &mut Edit<'_, Self>, cells: &[Touched]) -> Result<(), EditError> {
                match missing(&edit.state, cells) {
                    0 => Ok(()),
                    missing => $revert(edit, missing),
                }
            }
        }

        impl $name {
            /// The sum; of a range its upper end. O(branches).
            pub fn value(&self) -> i128 {
                let sum = self.sum().greatest;
                if is(Bug::SumTwice) { sum * 2 } else { sum }
            }

            /// The least and the greatest that the sum can be; the true sum lies between. They differ only if two copies of
            /// one saved state went on counting, one of them in 32 openings or more without the other's counts merged into it;
            /// or if a running process was copied with its memory. The greatest may then be too much by what the two had
            /// counted before they parted. O(branches).
            pub fn range(&self) -> (i128, i128) {
                let Sum { least, greatest } = self.sum();
                (least, greatest)
            }

            fn sum(&self) -> Sum {
                count::sum(live(&self.state).map(|(_, sibling)| sibling))
            }
        }

        impl Edit<'_, $name> {
            /// Adds to the counter.
            pub fn add(&mut self, amount: u64) -> Result<(), EditError> {
                self.change(amount.into())
            }

            /// Sets the counter to 0 with one write: takes away what is seen here.
            ///
            /// A replica that adds concurrently writes its whole total again, which comes back with what it adds: a counter
            /// that must survive being reset while others count needs a new one each time.
            pub fn reset(&mut self) -> Result<bool, EditError> {
                self.delete(Entity::SELF)
            }

            fn change(&mut self, amount: i128) -> Result<(), EditError> {
                let live = live(&self.state).map(|(writer, sibling)| (writer, sibling.to_sibling())).collect();
                let Adding { writer, payload, taken_over } = count::adding(self, live, amount)?;
                self.write(Entity::SELF, writer.as_bytes(), payload)?;
                taken_over.map_or(Ok(()), |writer| self.erase(Entity::SELF, writer.as_bytes()).map(drop))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.value()).finish()
            }
        }

        crdt_basics!($name);
    };
}

counter! {
    /// A counter that only grows.
    ///
    /// Each branch keeps its own running total and nobody else's; the value is their sum, so concurrent additions all
    /// count. Copies and restored backups count once what they have in common, within what [`range`](Self::range) says. A
    /// [`reset`](Edit::<GCounter>::reset) takes away what it saw. It cannot be [reverted](Edit::revert_to) to less than it
    /// counts.
    ///
    /// Some 100 bytes for each branch that ever counted, and up to 600 for one that was opened often; O(branches) to read
    /// and to add.
    ///
    /// ```
    /// use driftless::{GCounter, Replica};
    /// let mut laptop = Replica::<GCounter>::new();
    /// let mut phone = laptop.fork();
    /// let (_, a) = laptop.edit(|views| views.add(2))?;
    /// let (_, b) = phone.edit(|views| views.add(3))?;
    /// laptop.merge(&b)?;
    /// phone.merge(&a)?;
    /// assert_eq!((laptop.state().value(), phone.state().value()), (5, 5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    GCounter, "driftless.g-counter", |edit: &mut Edit<'_, GCounter>, missing: i128| match missing {
        0.. => edit.add(u64::try_from(missing).map_err(|_| EditError::CounterOverflow)?),
        _ => Err(EditError::OnlyGrows { by: missing.unsigned_abs() }),
    }
}

counter! {
    /// A counter that grows and shrinks.
    ///
    /// Each branch keeps its own running totals, of what it added and of what it took away; the value is their sum, so
    /// concurrent changes all count. Copies and restored backups count once what they have in common, within what
    /// [`range`](Self::range) says. It may fall below 0: no replica can know what others take away at the same time. A
    /// [`reset`](Edit::<PnCounter>::reset) takes away what it saw. [Reverting](Edit::revert_to) adds or takes away the
    /// difference, so two replicas that revert concurrently both do. Once a branch has added or taken away 2⁶⁴ - 1 in all,
    /// it can do no more of that, and says so.
    ///
    /// Some 100 bytes for each branch that ever counted, and up to 600 for one that was opened often; O(branches) to read
    /// and to add.
    ///
    /// ```
    /// use driftless::{PnCounter, Replica};
    /// let mut laptop = Replica::<PnCounter>::new();
    /// let mut phone = laptop.fork();
    /// let (_, a) = laptop.edit(|votes| votes.add(2))?;
    /// let (_, b) = phone.edit(|votes| votes.subtract(3))?;
    /// laptop.merge(&b)?;
    /// phone.merge(&a)?;
    /// assert_eq!((laptop.state().value(), phone.state().value()), (-1, -1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    PnCounter, "driftless.pn-counter", |edit: &mut Edit<'_, PnCounter>, missing: i128| {
        let amount = u64::try_from(missing.unsigned_abs()).map_err(|_| EditError::CounterOverflow)?;
        if missing > 0 { edit.add(amount) } else { edit.subtract(amount) }
    }
}

impl Edit<'_, PnCounter> {
    /// Takes away from the counter.
    pub fn subtract(&mut self, amount: u64) -> Result<(), EditError> {
        self.change(-i128::from(amount))
    }
}
