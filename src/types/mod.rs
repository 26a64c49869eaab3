//! Standalone types: registers, flags, sets, maps, counters.
//!
//! Each is a newtype over the kernel: a key scheme and a reading rule, and what it reads decoded once and kept up with every
//! change, so that reading borrows like from a standard collection. The decoded copy costs as much memory again as the
//! values take.
//!
//! A value that a peer sent and that does not decode as the type's is kept, merged and sent on, and not read.

mod counter;
mod depth;
mod element;
mod flag;
mod map;
mod register;
mod set;

pub use counter::{GCounter, PnCounter};
pub use element::Element;
pub use flag::{DwFlag, EwFlag};
pub use map::{OrMap, OrMapEntry};
pub use register::{LwwRegister, MaxRegister, MinRegister, MvRegister};
pub use set::{OrSet, RwSet};

/// What a merge did to one of these types.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change<K> {
    /// There is a value where there was none.
    Added(K),
    /// There is none where there was one.
    Removed(K),
    /// The value is another, or has a concurrent one beside it.
    Changed(K),
}

impl<K> Change<K> {
    /// What a cell that was touched tells about its key.
    fn of(key: K, touched: &crate::kernel::Touched) -> Option<Self> {
        match (touched.was_live(), touched.is_now_live()) {
            (false, false) => None,
            (false, true) => Some(Self::Added(key)),
            (true, false) => Some(Self::Removed(key)),
            (true, true) => (touched.has_other_payloads() || touched.shows_another()).then_some(Self::Changed(key)),
        }
    }
}

/// A type whose state lies in a field of that name, compared by it, and with no derived part to describe.
macro_rules! crdt_basics {
    ($name:ident $(<$($param:ident),+>)?) => {
        /// Equal if everything that can be read is, and the same has been seen. O(n).
        impl$(<$($param: $crate::types::Element),+>)? PartialEq for $name$(<$($param),+>)? {
            fn eq(&self, other: &Self) -> bool {
                self.state == other.state
            }
        }

        impl$(<$($param: $crate::types::Element),+>)? Eq for $name$(<$($param),+>)? {}
    };
}

/// The access that the engine needs.
macro_rules! crdt_state {
    () => {
        fn state(&self) -> &State {
            &self.state
        }

        fn state_mut(&mut self) -> &mut State {
            &mut self.state
        }
    };
}

use {crdt_basics, crdt_state};
