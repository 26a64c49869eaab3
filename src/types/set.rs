//! Sets.

use std::fmt;

use im::OrdSet;

use crate::error::EditError;
use crate::kernel::{Cell, Crdt, Edit, Entity, Payload, Sibling, State, Touched};
use crate::types::element::{decides_against, from_key, kind, to_key};
use crate::types::{Change, Element, crdt_basics, crdt_state};

macro_rules! set {
    ($(#[$doc:meta])* $name:ident, $schema:literal, $holds:expr, $shows:expr) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name<T: Element> {
            state: State,
            elements: OrdSet<T>,
        }

        impl<T: Element> Crdt for $name<T> {
            const SCHEMA: &'static str = $schema;

            type Change = Change<T>;

            crdt_state!();

            fn follow(&mut self, touched: &Touched) {
                let holds: fn(&Cell) -> bool = $holds;
                let (held, holds) = (holds(touched.cell_was()), holds(touched.cell_now()));
                let element = || from_key::<T>(touched.field.as_bytes());
                match (held, holds) {
                    (false, true) => drop(element().map(|element| self.elements.insert(element))),
                    (true, false) => drop(element().map(|element| self.elements.remove(&element))),
                    _ => {}
                }
            }

            fn describe(touched: &Touched) -> Option<Change<T>> {
                let holds: fn(&Cell) -> bool = $holds;
                let element = || from_key::<T>(touched.field.as_bytes());
                match (holds(touched.cell_was()), holds(touched.cell_now())) {
                    (false, true) => element().map(Change::Added),
                    (true, false) => element().map(Change::Removed),
                    _ => None,
                }
            }

            fn revert(edit: &mut Edit<'_, Self>, cells: &[Touched]) -> Result<(), EditError> {
                cells.iter().try_for_each(|cell| edit.put_back_by(cell, $shows).map(drop))
            }
        }

        impl<T: Element> $name<T> {
            /// Whether the element is there. O(log n).
            pub fn contains(&self, element: &T) -> bool {
                self.elements.contains(element)
            }

            /// The elements, in order.
            pub fn iter(&self) -> impl Iterator<Item = &T> + '_ {
                self.elements.iter()
            }

            /// The number of elements. O(1).
            pub fn len(&self) -> usize {
                self.elements.len()
            }

            /// Whether there is none.
            pub fn is_empty(&self) -> bool {
                self.elements.is_empty()
            }
        }

        impl<T: Element> Default for $name<T> {
            fn default() -> Self {
                Self { state: State::default(), elements: OrdSet::new() }
            }
        }

        impl<T: Element> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_set().entries(self.iter()).finish()
            }
        }

        crdt_basics!($name<T>);
    };
}

set! {
    /// A set in which adding wins: added and removed concurrently, an element is there (Bieniusa et al.: *An Optimized
    /// Conflict-Free Replicated Set*, 2012).
    ///
    /// Lost is a removal of what was inserted again elsewhere. A clear is one write, and removes what it saw. Some 140 bytes
    /// an element, and the element twice: as a key and decoded; nothing for one that was removed, once its tombstone is
    /// pruned.
    ///
    /// ```
    /// use driftless::{OrSet, Replica};
    /// let mut laptop = Replica::<OrSet<String>>::new();
    /// laptop.edit(|tags| tags.insert("ideas".into()))?;
    /// let mut phone = laptop.fork();
    /// let (_, removal) = laptop.edit(|tags| tags.remove(&"ideas".into()))?;
    /// let (_, insertion) = phone.edit(|tags| tags.insert("ideas".into()))?;
    /// laptop.merge(&insertion)?;
    /// phone.merge(&removal)?;
    /// assert_eq!(laptop.state(), phone.state());
    /// assert!(laptop.state().contains(&"ideas".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    OrSet, "driftless.or-set", Cell::is_live, Sibling::precedence
}

impl<T: Element> Edit<'_, OrSet<T>> {
    /// Adds an element and returns whether it was absent. Always writes, so that it beats a removal made elsewhere at the
    /// same time.
    pub fn insert(&mut self, element: T) -> Result<bool, EditError> {
        let absent = !self.contains(&element);
        self.write(Entity::SELF, &to_key(&element)?, Payload::new(kind::PRESENT, &[]))?;
        Ok(absent)
    }

    /// Removes an element and returns whether it was there. The same element inserted concurrently stays.
    pub fn remove(&mut self, element: &T) -> Result<bool, EditError> {
        self.erase(Entity::SELF, &to_key(element)?)
    }

    /// Removes every element with one write, also those that no `T` can be read from. What others insert concurrently stays.
    pub fn clear(&mut self) -> Result<bool, EditError> {
        self.delete(Entity::SELF)
    }
}

set! {
    /// A set in which removing wins: added and removed concurrently, an element is gone.
    ///
    /// Lost is an insertion that had not seen the removal; insert again to have it. **A removed element stays in the
    /// state**, as the mark that it was removed: some 140 bytes and the element, for good, or until
    /// [`clear`](Edit::<RwSet<T>>::clear). Take [`OrSet`] unless removing must win.
    ///
    /// ```
    /// use driftless::{Replica, RwSet};
    /// let mut laptop = Replica::<RwSet<String>>::new();
    /// laptop.edit(|members| members.insert("eve".into()))?;
    /// let mut phone = laptop.fork();
    /// let (_, removal) = laptop.edit(|members| members.remove(&"eve".into()))?;
    /// let (_, insertion) = phone.edit(|members| members.insert("eve".into()))?;
    /// laptop.merge(&insertion)?;
    /// phone.merge(&removal)?;
    /// assert_eq!(laptop.state(), phone.state());
    /// assert!(!laptop.state().contains(&"eve".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    RwSet, "driftless.rw-set", |cell| {
        let mut kinds = cell.payloads().map(Payload::kind).peekable();
        kinds.peek().is_some() && kinds.all(|kind| kind == kind::ON)
    }, decides_against
}

impl<T: Element> Edit<'_, RwSet<T>> {
    /// Adds an element and returns whether it was absent. A removal made elsewhere at the same time wins.
    pub fn insert(&mut self, element: T) -> Result<bool, EditError> {
        let absent = !self.contains(&element);
        self.write(Entity::SELF, &to_key(&element)?, Payload::new(kind::ON, &[]))?;
        Ok(absent)
    }

    /// Removes an element and returns whether it was there. Always writes, so that it beats an insertion made elsewhere at
    /// the same time; the mark of it stays.
    pub fn remove(&mut self, element: &T) -> Result<bool, EditError> {
        let present = self.contains(element);
        self.write(Entity::SELF, &to_key(element)?, Payload::new(kind::OFF, &[]))?;
        Ok(present)
    }

    /// Removes every element and every mark of a removal with one write. What others insert concurrently is then there.
    pub fn clear(&mut self) -> Result<bool, EditError> {
        self.delete(Entity::SELF)
    }
}
