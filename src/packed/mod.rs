//! Persistent collections whose leaves are packed. The maps of `im` take up to twice the memory of their items, and have no quick
//! look-up of the greatest key up to another.
//!
//! | file | idea |
//! |---|---|
//! | `tree` | a B+ tree over leaves of any making |
//! | `set` | a set of keys of fixed length |

mod set;
mod tree;

pub(crate) use set::Set;
pub(crate) use tree::{Leaf, Tree};
