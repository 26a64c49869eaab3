//! Making two replicas equal: what is said between them, as state machines without I/O, clock or randomness of their own.
//!
//! | file | idea |
//! |---|---|
//! | `reconcile` | which dots that both cover are alive on one side only |
//! | `turn` | what the two sides of a reconciliation say in turn, and its bytes |
//! | `blocks` | the live dots of all writers in a row, and keyed fingerprints of any stretch of it |
//! | `shape` | the tree of stretches that a reconciliation descends |
//! | `bits` | sparse sets of numbers, in the fewest bytes |
//! | `cut` | the delta that follows from the difference |
//! | `devices` | who has seen what, and which tombstones can go |

mod bits;
mod blocks;
mod cut;
mod devices;
mod reconcile;
mod shape;
mod turn;

pub use devices::{Budget, Devices};
pub use reconcile::{Difference, ReconcileError, Reconciling, Step};
pub use turn::Turn;

#[cfg(test)]
mod collisions;
