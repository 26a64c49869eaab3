//! Finding out which dots that both sides cover are alive on one side only: a state machine without I/O, clock or randomness
//! of its own.
//!
//! | file | idea |
//! |---|---|
//! | `descent` | [`Reconciling`]: the descent to the blocks that differ |
//! | `turn` | what the two sides say in turn, and its bytes |
//! | `blocks` | the live dots of all writers in a row, and keyed fingerprints of any stretch of it |
//! | `shape` | the tree of stretches that is descended |
//! | `bits` | sparse sets of numbers, in the fewest bytes |
//! | `cut` | the delta that follows from the difference |

mod bits;
mod blocks;
mod cut;
mod descent;
mod shape;
mod turn;

pub use descent::{Difference, ReconcileError, Reconciling, Step};
pub use turn::Turn;

#[cfg(test)]
mod collisions;
