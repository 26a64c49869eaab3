//! Flags: on or off, with the side that wins a race in the name.

use std::fmt;

use crate::error::EditError;
use crate::kernel::{Cells, Crdt, Edit, Entity, Payload, Sibling, State, Touched};
use crate::types::element::{decides_against, kind};
use crate::types::{Change, crdt_basics, crdt_state};

/// All of it lies in one cell.
const ROOT: &[u8] = b"";

macro_rules! flag {
    ($(#[$doc:meta])* $name:ident, $schema:literal, $read:expr, $shows:expr) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $name {
            state: State,
        }

        impl Crdt for $name {
            const SCHEMA: &'static str = $schema;

            type Change = Change<()>;

            crdt_state!();

            fn follow(&mut self, _: &Touched) {}

            fn describe(touched: &Touched) -> Option<Change<()>> {
                Change::of((), touched)
            }

            fn revert(edit: &mut Edit<'_, Self>, cells: &[Touched]) -> Result<(), EditError> {
                cells.iter().try_for_each(|cell| edit.put_back_by(cell, $shows).map(drop))
            }
        }

        impl $name {
            /// Whether the flag is on. O(1).
            pub fn is_on(&self) -> bool {
                let read: fn(Cells<'_>) -> bool = $read;
                self.state.cells(Entity::SELF).is_some_and(read)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.is_on()).finish()
            }
        }

        crdt_basics!($name);
    };
}

flag! {
    /// A flag in which enabling wins: enabled and disabled concurrently, it is on.
    ///
    /// Off at first. Lost is a disabling that had not seen the enabling. One cell of some 90 bytes while on; off it is nothing
    /// but a tombstone.
    ///
    /// ```
    /// use driftless::{EwFlag, Replica};
    /// let mut laptop = Replica::<EwFlag>::new();
    /// let (_, on) = laptop.edit(|starred| starred.enable())?;
    /// let mut phone = laptop.fork();
    /// let (_, off) = laptop.edit(|starred| starred.disable())?;
    /// let (_, on_again) = phone.edit(|starred| starred.enable())?;
    /// laptop.merge(&on_again)?;
    /// phone.merge(&off)?;
    /// assert!(laptop.state().is_on() && phone.state().is_on());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    EwFlag, "driftless.ew-flag", |cells| cells.is_live(), Sibling::precedence
}

impl Edit<'_, EwFlag> {
    /// Turns the flag on. Always writes, so that it beats a disabling made elsewhere at the same time.
    pub fn enable(&mut self) -> Result<(), EditError> {
        self.write(Entity::SELF, ROOT, Payload::new(kind::PRESENT, &[])).map(drop)
    }

    /// Turns the flag off. Returns whether it was on; if not, nothing is written.
    pub fn disable(&mut self) -> Result<bool, EditError> {
        self.delete(Entity::SELF)
    }
}

flag! {
    /// A flag in which disabling wins: enabled and disabled concurrently, it is off.
    ///
    /// Off at first. Lost is an enabling that had not seen the disabling. One cell of some 90 bytes, on or off: being off is
    /// something that stays to be seen.
    ///
    /// ```
    /// use driftless::{DwFlag, Replica};
    /// let mut laptop = Replica::<DwFlag>::new();
    /// laptop.edit(|public| public.enable())?;
    /// let mut phone = laptop.fork();
    /// let (_, off) = laptop.edit(|public| public.disable())?;
    /// let (_, on_again) = phone.edit(|public| public.enable())?;
    /// laptop.merge(&on_again)?;
    /// phone.merge(&off)?;
    /// assert!(!laptop.state().is_on() && !phone.state().is_on());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    DwFlag, "driftless.dw-flag", all_true, decides_against
}

impl Edit<'_, DwFlag> {
    /// Turns the flag on. A disabling made elsewhere at the same time wins.
    pub fn enable(&mut self) -> Result<(), EditError> {
        self.write(Entity::SELF, ROOT, Payload::new(kind::ON, &[])).map(drop)
    }

    /// Turns the flag off. Always writes, so that it beats an enabling made elsewhere at the same time.
    pub fn disable(&mut self) -> Result<(), EditError> {
        self.write(Entity::SELF, ROOT, Payload::new(kind::OFF, &[])).map(drop)
    }
}

fn all_true(cells: Cells<'_>) -> bool {
    let cell = cells.cell(ROOT);
    let mut kinds = cell.payloads().map(Payload::kind).peekable();
    kinds.peek().is_some() && kinds.all(|kind| kind == kind::ON)
}
