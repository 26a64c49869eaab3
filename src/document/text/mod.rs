//! Text that several replicas type into.
//!
//! Each character is a cell, named by its [position](crate::position); the text is what is alive, in the order of the positions. So a text
//! merges as everything does, and a deleted character leaves nothing behind but a tombstone that may be pruned.
//!
//! | file | idea |
//! |---|---|
//! | `rope` | what shows, in order, with sums: offsets in any unit |
//! | `texts` | the ropes of all texts, kept up with every change |
//! | `read`, `edit` | [`TextRef`], [`TextMut`] |
//! | `import` | texts that were put where none was |
//! | `diff` | the changes that make one string of another |
//! | `alone` | [`Text`], a text by itself |

mod alone;
mod diff;
mod edit;
mod import;
mod read;
mod rope;
mod texts;

pub use alone::Text;
pub use edit::TextMut;
pub use read::{Anchor, Bias, TextRef};
pub use rope::{Extent, Splice};

pub(super) use edit::check_room;
pub(crate) use import::{Import, are_settled, imports};
pub(crate) use read::anchor_at;
pub(super) use rope::{LetterRef, Rope, Shown};
pub(crate) use texts::{Texts, are_of_one_text, letter, payload as letter_payload};
pub(super) use texts::{is_position, shown, start_of};
