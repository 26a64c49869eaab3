//! Counters.

use std::fmt;

use crate::bugs::{Bug, is};
use crate::error::EditError;
use crate::id::WriterId;
use crate::kernel::{Crdt, Edit, Entity, Payload, Sibling, State, Touched};
use crate::types::element::kind;
use crate::types::{crdt_basics, crdt_state};

/// What one replica has added and taken away so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Totals {
    added: u64,
    taken: u64,
}

impl Totals {
    pub(crate) fn to_payload(self) -> Payload {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.added.to_be_bytes());
        bytes[8..].copy_from_slice(&self.taken.to_be_bytes());
        Payload::new(kind::TOTALS, &bytes)
    }

    fn from_sibling(sibling: &Sibling) -> Option<Self> {
        let payload = sibling.payload.as_ref().filter(|payload| payload.kind() == kind::TOTALS)?;
        let (added, taken) = payload.bytes().split_first_chunk::<8>()?;
        Some(Self { added: u64::from_be_bytes(*added), taken: u64::from_be_bytes(taken.try_into().ok()?) })
    }

    /// Of several totals of one replica (there is one unless a disk was cloned) the greatest of each.
    pub(crate) fn of<'a>(siblings: impl IntoIterator<Item = &'a Sibling>) -> Self {
        siblings
            .into_iter()
            .filter_map(Self::from_sibling)
            .fold(Self::default(), |a, b| Self { added: a.added.max(b.added), taken: a.taken.max(b.taken) })
    }

    /// With so much added, or taken away if it is negative; `None` past 64 bits.
    pub(crate) fn and(self, amount: i128) -> Option<Self> {
        let by = u64::try_from(amount.unsigned_abs()).ok()?;
        Some(match amount < 0 {
            false => Self { added: self.added.checked_add(by)?, ..self },
            true => Self { taken: self.taken.checked_add(by)?, ..self },
        })
    }

    pub(crate) fn net(self) -> i128 {
        i128::from(self.added) - i128::from(self.taken)
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $schema:literal, $revert:expr) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $name {
            state: State,
            sum: i128,
        }

        impl Crdt for $name {
            const SCHEMA: &'static str = $schema;

            /// Whose part of the sum changed, and by how much.
            type Change = (WriterId, i128);

            crdt_state!();

            fn follow(&mut self, touched: &Touched) {
                let was = if is(Bug::SumTwice) { Totals::default() } else { Totals::of(touched.cell_was().iter()) };
                self.sum += Totals::of(touched.cell_now().iter()).net() - was.net();
            }

            /// By how much a replica's part of the sum changed.
            fn describe(touched: &Touched) -> Option<(WriterId, i128)> {
                let replica = <[u8; 10]>::try_from(touched.field.as_bytes()).ok()?;
                let difference = Totals::of(touched.cell_now().iter()).net() - Totals::of(touched.cell_was().iter()).net();
                (difference != 0).then_some((replica.into(), difference))
            }

            /// Adds what the sum differs by to this replica's own totals, since only its replica may write a running total.
            fn revert(edit: &mut Edit<'_, Self>, cells: &[Touched]) -> Result<(), EditError> {
                let missing = |cell: &Touched| Totals::of(cell.cell_was().iter()).net() - Totals::of(cell.cell_now().iter()).net();
                match cells.iter().map(missing).sum::<i128>() {
                    0 => Ok(()),
                    missing => $revert(edit, missing),
                }
            }
        }

        impl $name {
            /// The sum. O(1).
            pub fn value(&self) -> i128 {
                self.sum
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
                let own = self.writer()?;
                let mine = self.state.cells(Entity::SELF).map(|cells| Totals::of(cells.siblings(own.as_bytes())));
                let totals = mine.unwrap_or_default().and(amount).ok_or(EditError::CounterOverflow)?;
                self.write(Entity::SELF, own.as_bytes(), totals.to_payload()).map(drop)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.sum).finish()
            }
        }

        crdt_basics!($name);
    };
}

counter! {
    /// A counter that only grows.
    ///
    /// Each replica keeps its own running total and nobody else's; the value is their sum, so concurrent additions all
    /// count. A [`reset`](Edit::<GCounter>::reset) takes away what it saw. It cannot be
    /// [reverted](Edit::revert_to) to less than it counts.
    ///
    /// Some 100 bytes for each replica that ever counted.
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
    /// Each replica keeps its own running totals, of what it added and of what it took away; the value is their sum, so
    /// concurrent changes all count. It may fall below 0: no replica can know what others take away at the same time. A
    /// [`reset`](Edit::<PnCounter>::reset) takes away what it saw. [Reverting](Edit::revert_to) adds or takes away the
    /// difference, so two replicas that revert concurrently both do.
    ///
    /// Some 100 bytes for each replica that ever counted.
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
