//! Ordered trees over the nodes of a graph.
//!
//! Each node has one register for each tree: its place, which is a parent and a position among the siblings. What shows is a
//! function of the live siblings of these registers.
//!
//! | file | idea |
//! |---|---|
//! | `claims` | what a place is made of, and the places that a node may show at |
//! | `circles`, `forest` | which of them it shows at, so that no node is above itself |
//! | `index` | the tree that shows, kept up with every change |
//! | `read` | parents, children, walks |
//! | `edit` | moving |

mod circles;
mod claims;
mod edit;
mod forest;
mod index;
mod read;

pub(crate) use claims::{Claim, Placing};
pub(super) use index::Trees;

pub use edit::{TreeMut, TreePlace};
pub use read::{Tree, TreeStep, TreeWalk};
