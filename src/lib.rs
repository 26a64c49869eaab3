#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// Nothing that a peer, a file or a caller hands in may panic.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::todo)
)]

mod codec;
mod conflict;
mod diff;
mod document;
mod error;
mod following;
mod graph;
mod id;
mod journal;
mod lease;
mod replica;
mod report;
mod revert;
mod types;
mod version;

pub mod clock;
pub mod kernel;
#[cfg(feature = "testing")]
pub mod testing;

pub use clock::Stamp;
pub use codec::DecodeError;
pub use conflict::{Candidate, Conflict};
pub use diff::Diff;
pub use document::{Path, Value};
pub use error::{EditError, MAX_DEPTH, PathError};
pub use graph::{Direction, Edge, Graph, GraphChange, Hidden, Node, NodeKey, Owner, Properties, Step, Walk};
pub use id::{Dot, EdgeId, NodeId, ReplicaId};
pub use journal::{Entry, Journal, JournalGap, JournalLimit, Origin};
pub use kernel::{
    Crdt, CutError, Delta, DeltaKind, DotSet, Edit, Environment, Fingerprint, JoinError, MergeError, State,
    SystemEnvironment,
};
pub use lease::{Lease, LeaseError};
pub use replica::{Prune, Replica};
pub use report::MergeReport;
pub use types::{
    Change, DwFlag, Element, EwFlag, GCounter, LwwRegister, MaxRegister, MinRegister, MvRegister, OrMap, OrSet,
    PnCounter, RwSet,
};
pub use version::VersionVector;
