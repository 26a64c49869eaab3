//! Registers: one place that holds a value.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

use crate::bugs::{Bug, is};
use crate::error::EditError;
use crate::kernel::{Cells, Crdt, Edit, Entity, Sibling, SiblingRef, State, Touched};
use crate::types::element::{to_payload, value_of};
use crate::types::{Change, Element, crdt_basics, crdt_state};

/// All of it lies in one cell.
const ROOT: &[u8] = b"";

macro_rules! register {
    (
        $(#[$doc:meta])*
        $name:ident, $schema:literal, $cached:ty, $read:expr, $shows:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name<T> {
            state: State,
            /// Decoded when it is read for the first time after a change: merging many concurrent values one by one
            /// decodes none of them again.
            value: OnceLock<$cached>,
        }

        impl<T: Element> Crdt for $name<T> {
            const SCHEMA: &'static str = $schema;

            type Change = Change<()>;

            crdt_state!();

            fn follow(&mut self, touched: &Touched) {
                if is(Bug::TieShowsOurs) && touched.now().windows(2).any(|pair| pair[0].stamp == pair[1].stamp) {
                    return;
                }
                self.value.take();
                if is(Bug::TieShowsOurs) {
                    self.read();
                }
            }

            fn describe(touched: &Touched) -> Option<Change<()>> {
                Change::of((), touched)
            }

            fn revert(edit: &mut Edit<'_, Self>, cells: &[Touched]) -> Result<(), EditError> {
                cells.iter().try_for_each(|cell| edit.put_back_by(cell, $shows).map(drop))
            }
        }

        impl<T: Element> $name<T> {
            fn read(&self) -> &$cached {
                let read: fn(Cells<'_>) -> $cached = $read;
                self.value.get_or_init(|| self.state.cells(Entity::SELF).map(read).unwrap_or_default())
            }
        }

        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self { state: State::default(), value: OnceLock::new() }
            }
        }

        impl<T: Element> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(self.read()).finish()
            }
        }

        crdt_basics!($name<T>);
    };
}

/// The distinct values, the latest first: equal values written concurrently are one.
fn distinct<T: Element>(cells: Cells<'_>) -> Vec<T> {
    let all: Vec<T> = values(cells);
    let mut met = BTreeSet::new();
    let first: Vec<bool> = all.iter().map(|value| met.insert(value)).collect();
    all.iter().zip(first).filter(|(_, first)| *first).map(|(value, _)| value.clone()).collect()
}

fn values<T: Element>(cells: Cells<'_>) -> Vec<T> {
    let mut siblings: Vec<SiblingRef<'_>> = cells.live(ROOT).collect();
    siblings.sort_unstable_by_key(|sibling| Reverse(sibling.precedence()));
    siblings.into_iter().filter_map(value_of).collect()
}

register! {
    /// A register in which the last writer wins.
    ///
    /// Of concurrent values the one with the later stamp shows, then the one of the greater replica id; the others are kept
    /// until somebody writes who has seen them. A set that is concurrent with a clear survives it. Lost is what a writer saw
    /// and replaced.
    ///
    /// Takes one cell (some 90 bytes and the value), and the value decoded.
    ///
    /// ```
    /// use driftless::{LwwRegister, Replica};
    /// let mut laptop = Replica::<LwwRegister<String>>::new();
    /// let mut phone = laptop.fork();
    /// let (_, a) = laptop.edit(|title| title.set("Notes".into()))?;
    /// let (_, b) = phone.edit(|title| title.set("Sketches".into()))?;
    /// laptop.merge(&b)?;
    /// phone.merge(&a)?;
    /// assert_eq!(laptop.state().get(), phone.state().get());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    LwwRegister, "driftless.lww-register", Option<T>, |cells| values(cells).into_iter().next(),
    |sibling: &Sibling| (value_of::<T>(sibling).is_some(), sibling.precedence())
}

impl<T: Element> LwwRegister<T> {
    /// The value, if one was set. O(1); O(concurrent values) for the first time after a change.
    pub fn get(&self) -> Option<&T> {
        self.read().as_ref()
    }
}

impl<T: Element> Edit<'_, LwwRegister<T>> {
    /// Sets the value: replaces all that are seen.
    pub fn set(&mut self, value: T) -> Result<(), EditError> {
        self.write(Entity::SELF, ROOT, to_payload(&value)?).map(drop)
    }

    /// Removes the value. Returns whether there was one.
    pub fn clear(&mut self) -> Result<bool, EditError> {
        self.delete(Entity::SELF)
    }
}

register! {
    /// A register that shows every concurrent value.
    ///
    /// Nothing is decided: as long as nobody who has seen them all writes again, all are there. Lost is what a writer saw
    /// and replaced.
    ///
    /// Takes one cell (some 90 bytes and the value), some 40 bytes and the value for each other concurrent write, and the values decoded.
    ///
    /// ```
    /// use driftless::{MvRegister, Replica};
    /// let mut laptop = Replica::<MvRegister<u32>>::new();
    /// let mut phone = laptop.fork();
    /// let (_, a) = laptop.edit(|age| age.set(36))?;
    /// let (_, b) = phone.edit(|age| age.set(37))?;
    /// laptop.merge(&b)?;
    /// phone.merge(&a)?;
    /// assert_eq!(laptop.state().get(), phone.state().get());
    /// assert_eq!(laptop.state().get().len(), 2);
    /// laptop.edit(|age| age.set(37))?; // having seen both
    /// assert_eq!(laptop.state().get(), [37]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    MvRegister, "driftless.mv-register", Vec<T>, distinct,
    |sibling: &Sibling| (value_of::<T>(sibling).is_some(), sibling.precedence())
}

impl<T: Element> MvRegister<T> {
    /// The distinct concurrent values, the latest first. O(1); O(n log n) for the first time after a change.
    pub fn get(&self) -> &[T] {
        self.read()
    }
}

impl<T: Element> Edit<'_, MvRegister<T>> {
    /// Sets the value: replaces all that are seen.
    pub fn set(&mut self, value: T) -> Result<(), EditError> {
        self.write(Entity::SELF, ROOT, to_payload(&value)?).map(drop)
    }

    /// Removes all values that are seen. Returns whether there were any.
    pub fn clear(&mut self) -> Result<bool, EditError> {
        self.delete(Entity::SELF)
    }
}

register! {
    /// A register that holds the greatest value ever set.
    ///
    /// Of concurrent values the greatest shows, and a value that is not greater than what shows is not written. Nothing is
    /// lost but what is smaller. A clear removes what it saw, so a smaller value set concurrently with it then shows.
    ///
    /// Takes one cell (some 90 bytes and the value), and the value decoded.
    ///
    /// ```
    /// use driftless::{MaxRegister, Replica};
    /// let mut laptop = Replica::<MaxRegister<u32>>::new();
    /// let mut phone = laptop.fork();
    /// let (_, a) = laptop.edit(|record| record.raise(120))?;
    /// let (_, b) = phone.edit(|record| record.raise(90))?;
    /// laptop.merge(&b)?;
    /// phone.merge(&a)?;
    /// assert_eq!((laptop.state().get(), phone.state().get()), (Some(&120), Some(&120)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    MaxRegister, "driftless.max-register", Option<T>, |cells| values(cells).into_iter().max(),
    |sibling: &Sibling| value_of::<T>(sibling)
}

impl<T: Element> MaxRegister<T> {
    /// The greatest value, if one was set. O(1); O(concurrent values) for the first time after a change.
    pub fn get(&self) -> Option<&T> {
        self.read().as_ref()
    }
}

impl<T: Element> Edit<'_, MaxRegister<T>> {
    /// Sets the value if it is greater than the one that shows. Returns whether it was; if not, nothing is written.
    pub fn raise(&mut self, value: T) -> Result<bool, EditError> {
        let raises = self.get().is_none_or(|greatest| value > *greatest);
        if raises {
            self.write(Entity::SELF, ROOT, to_payload(&value)?)?;
        }
        Ok(raises)
    }

    /// Removes the value. Returns whether there was one.
    pub fn clear(&mut self) -> Result<bool, EditError> {
        self.delete(Entity::SELF)
    }
}

register! {
    /// A register that holds the least value ever set: [`MaxRegister`] the other way round.
    ///
    /// ```
    /// use driftless::{MinRegister, Replica};
    /// let mut laptop = Replica::<MinRegister<u32>>::new();
    /// let mut phone = laptop.fork();
    /// let (_, a) = laptop.edit(|price| price.lower(120))?;
    /// let (_, b) = phone.edit(|price| price.lower(90))?;
    /// laptop.merge(&b)?;
    /// phone.merge(&a)?;
    /// assert_eq!((laptop.state().get(), phone.state().get()), (Some(&90), Some(&90)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    MinRegister, "driftless.min-register", Option<T>, |cells| values(cells).into_iter().min(),
    |sibling: &Sibling| value_of::<T>(sibling).map(Reverse)
}

impl<T: Element> MinRegister<T> {
    /// The least value, if one was set. O(1); O(concurrent values) for the first time after a change.
    pub fn get(&self) -> Option<&T> {
        self.read().as_ref()
    }
}

impl<T: Element> Edit<'_, MinRegister<T>> {
    /// Sets the value if it is less than the one that shows. Returns whether it was; if not, nothing is written.
    pub fn lower(&mut self, value: T) -> Result<bool, EditError> {
        let lowers = self.get().is_none_or(|least| value < *least);
        if lowers {
            self.write(Entity::SELF, ROOT, to_payload(&value)?)?;
        }
        Ok(lowers)
    }

    /// Removes the value. Returns whether there was one.
    pub fn clear(&mut self) -> Result<bool, EditError> {
        self.delete(Entity::SELF)
    }
}
