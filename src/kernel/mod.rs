//! The engine: all state of every type is cells.
//!
//! A **cell** is addressed by `(entity, field)` and holds its concurrent **siblings**: `dot → (stamp, payload or ⊥)`.
//! Nearly always there is one. A write replaces every sibling that its writer sees; a removal is a write of ⊥, a
//! *tombstone*; deleting an entity is one ⊥ at its root field, which kills every cell of the entity that the writer
//! sees. A dot that a version covers and its state does not hold is dead: that alone decides every merge, so a tombstone
//! is a cache that may be pruned at any moment.
//!
//! What a replica reads is a function of the *live* siblings (those that are not ⊥) alone.
//!
//! | file | idea |
//! |---|---|
//! | `key` | entities, fields, payloads: the bytes that cells are made of |
//! | `cell`, `cells` | the siblings of one cell; the cells of one entity, to read |
//! | `record`, `tables`, `many`, `run` | how the cells of a small and of a large entity lie in memory, and characters in a row |
//! | `page`, `entities` | how entities lie together, and the one that is open for change |
//! | `dots`, `index` | sets of dots as bitmaps; the index from dots to the entities that hold them |
//! | `state` | the state: cells and everything kept up with them, changed in one place |
//! | `delta` | the part of a state that a version lacks |
//! | `cut`, `merge`, `join` | making deltas, applying them, chaining them |
//! | `names` | names that stand for ids in a delta |
//! | `slice`, `resume` | a delta in stretches of entities; going on with one that was broken off |
//! | `prune` | forgetting tombstones |
//! | `doubled`, `repair` | one dot with two contents; making two states of one version equal that are not |
//! | `compare` | where two states differ, and the way back |
//! | `edit` | where dots are minted |
//!
//! Most apps never meet this module: they use [`Graph`](crate::Graph) and its like. It is public for those who make a
//! type of their own: see [`Crdt`].

mod cell;
mod cells;
mod compare;
mod cut;
mod delta;
mod dots;
mod doubled;
mod edit;
mod entities;
mod fingerprint;
mod histories;
mod index;
mod join;
mod key;
mod many;
mod merge;
mod names;
mod page;
mod prune;
mod record;
mod repair;
mod resume;
mod run;
mod slice;
mod state;
mod tables;
pub(crate) mod visits;

pub use cells::{Cells, Siblings};
pub use cut::CutError;
pub use delta::{Delta, DeltaKind};
pub use dots::DotSet;
pub use doubled::{Dropped, Held, MAX_RESCUED};
pub use edit::{Crdt, Edit, Environment, MAX_SCHEMA_LEN, SystemEnvironment};
pub use fingerprint::Fingerprint;
pub use join::JoinError;
pub use key::{Entity, Field, FieldRef, MAX_FIELD_LEN, MAX_PAYLOAD_LEN, Payload, PayloadRef, Sibling, SiblingRef};
pub use merge::MergeError;
pub use repair::RepairError;
pub use state::{Contest, State, Touched};

pub(crate) use cell::Cell;
pub(crate) use compare::entity_differences;
pub(crate) use delta::{DeltaWrite, FieldTable, Known, Part, PartRef};
pub(crate) use doubled::once;
pub(crate) use edit::{Author, Go, Log, Own};
pub(crate) use merge::{Checked, Merging};
pub(crate) use names::{MAX_NAME_LEN, Names};
pub(crate) use repair::Repairing;
pub(crate) use resume::{Broken, BrokenKind};
pub(crate) use state::Before;
