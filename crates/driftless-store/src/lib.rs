#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// Nothing that a file or a caller hands in may panic.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::todo)
)]

mod audit;
mod bugs;
mod commit;
mod disk;
mod error;
mod export;
mod file;
mod memory;
mod options;
mod points;
mod record;
#[cfg(feature = "redb")]
mod redb;
mod shared;
mod storage;
mod store;
mod table;

pub use audit::{AuditAction, AuditEntry, AuditLimit};
#[cfg(driftless_bugs)]
pub use bugs::{Bug, switch};
pub use commit::Durability;
pub use disk::{Disk, DiskFile, Lock, LockError, OsDisk};
#[cfg(feature = "testing")]
pub use disk::{Fault, Image, SimulatedDisk};
pub use error::StoreError;
pub use export::ExportLimit;
pub use file::{FileOptions, FileStorage};
pub use memory::MemoryStorage;
pub use options::Options;
pub use points::{MAX_POINT_NAME_LEN, Point, PointError};
#[cfg(feature = "redb")]
pub use redb::RedbStorage;
pub use shared::{SharedStore, StoreGuard, Watcher};
pub use storage::{BlobName, Cut, Load, Lost, OpenProgress, Recovery, Sink, Storage, StorageError, Truncated, Usage};
pub use store::Store;
pub use table::TableEdit;
