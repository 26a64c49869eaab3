//! Lists of elements that several replicas insert, remove and move.
//!
//! An element is the [position](crate::position) at which it was born: that is its id, its place, and the segment by which paths lead
//! through it. All that is in it lies below, as in a document. A move writes a register beside the elements: where one stands from then on.
//! So no state exists in which the place of an element is not known, and none needs what is dead.
//!
//! | file | idea |
//! |---|---|
//! | `lists` | the elements of all lists in order, kept up with every change |
//! | `read`, `edit` | [`ListRef`], [`ListMut`] |
//! | `matching` | which elements an array goes on with |

mod edit;
mod lists;
mod matching;
mod read;

pub use edit::ListMut;
pub use read::ListRef;

pub(super) use edit::{check_list, clear_leftovers, clear_on_the_way};
pub(crate) use lists::{Lists, moved_field_of, moved_to};
pub(super) use lists::{moved_key, shown_key};
pub(super) use matching::{Slot, slots};
