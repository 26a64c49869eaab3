#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// Nothing that a peer, a file or a caller hands in may panic.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::todo)
)]

mod budget;
mod bugs;
mod codec;
mod conflict;
mod count;
mod diff;
mod document;
mod error;
mod escape;
mod following;
mod graph;
mod id;
mod journal;
mod kind;
mod kinds;
mod numbers;
mod offset;
mod packed;
mod position;
mod replica;
mod report;
mod revert;
mod standing;
mod statement;
mod tokens;
mod types;
mod undo;
mod vector;
mod version;

pub mod clock;
pub mod kernel;
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;

pub use budget::Budget;
pub use clock::Stamp;
pub use codec::{DecodeError, MAX_MEMORY};
pub use conflict::{Candidate, Conflict, ConflictKind, Content, Reads, Resolution, Resolved, Settled};
pub use diff::Diff;
pub use document::{
    Anchor, Array, AsPath, Bias, Document, ElementId, Extent, ListMut, ListRef, Path, Properties, PropertiesMut,
    ReadError, Rule, RuleError, Rules, Segment, Splice, Text, TextMut, TextRef, Value,
};
pub use error::{EditError, FindConflictError, IndexError, MAX_DEPTH, PathError, Refused, ResolveError, VectorError};
pub use graph::{
    Direction, Edge, EdgeNeighbor, Embeddings, Graph, GraphChange, Hidden, Neighbor, Node, NodeKey, Owner, Restored,
    Step, Tree, TreeMut, TreePlace, TreeStep, TreeWalk, Walk,
};
pub use id::{ConflictId, Dot, EdgeId, NodeId, ParseConflictIdError, ParseWriterIdError, WriterId};
pub use journal::{Entry, Journal, JournalGap, JournalLimit, Origin};
pub use kernel::{
    Crdt, CutError, Delta, DeltaKind, DotSet, Edit, Environment, Fingerprint, JoinError, MergeError, RepairError,
    State, SystemEnvironment,
};
pub use kind::Kind;
pub use offset::{Offset, OffsetError};
pub use replica::{Prune, Replica};
pub use report::{MergeReport, Repair};
pub use statement::Statement;
pub use types::{
    Change, DwFlag, Element, EwFlag, GCounter, LwwRegister, MaxRegister, MinRegister, MvRegister, OrMap, OrMapEntry,
    OrSet, PnCounter, RwSet,
};
pub use undo::{TakenBack, UndoStack};
pub use vector::{Embedding, MAX_DIMENSION, MAX_MODEL_NAME_LEN, Metric, Model, Precision, Vector};
pub use version::Version;
