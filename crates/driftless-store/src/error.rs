//! What can go wrong with a store.

use driftless::{CutError, DecodeError, EditError, MergeError, RepairError, ResolveError};
use thiserror::Error;

use crate::points::PointError;
use crate::storage::StorageError;

/// The reason why a store did not do what it was to do. In all cases but [`Storage`](Self::Storage) nothing is wrong with the store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The edit is not possible. Nothing has changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The delta was not merged. Nothing has changed.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The replica was not repaired. Nothing has changed.
    #[error(transparent)]
    Repair(#[from] RepairError),
    /// No delta can be cut.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// The conflict was not settled. Nothing has changed.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The restore point cannot be set or read.
    #[error(transparent)]
    Point(#[from] PointError),
    /// Bytes that were to be taken in make no sense.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// What lies under the store failed; each case says what that means for what was to be done.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
