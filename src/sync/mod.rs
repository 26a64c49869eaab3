//! Ways for replicas to meet.
//!
//! | module | idea |
//! |---|---|
//! | `drivers` | [`blocking`], [`in_memory`]: both hold the same when they return |
//! | `session` | [`Session`]: two replicas get equal over any channel of bytes, and stay so |
//! | `folder` | [`Folder`]: a folder of files that anything moves, by git, Syncthing, a stick |
//! | `reconcile` | [`Reconciling`]: which dots that both cover are alive on one side only |
//! | `devices` | [`Devices`]: who has seen what, and which tombstones can go |
//! | `device` | names of devices |
//!
//! # Deltas by themselves
//!
//! A delta needs none of this. It is a message for publish and subscribe, a row in a queue, a file: send the bytes of what
//! [`Replica::edit`](crate::Replica::edit) returns, and merge what comes. What comes twice or late changes nothing. What comes
//! too early, or after something that was lost, is refused with a [`Gap`](crate::MergeError::Gap) that says what to ask for:
//!
//! ```
//! use driftless::{Delta, Graph, MergeError, Replica};
//! let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
//! let (_, _lost) = laptop.edit(|g| g.add_node("person:ada"))?;
//! let (_, delta) = laptop.edit(|g| g.add_node("note:g"))?;
//! let message: Vec<u8> = delta.to_bytes();
//!
//! // On the phone; what is not a delta at all, or is damaged, is an error of `from_bytes`.
//! match phone.merge(&Delta::from_bytes(&message)?) {
//!     Ok(_) => {}
//!     Err(MergeError::Gap { have, .. }) => {
//!         let request: Vec<u8> = have.to_bytes(); // to whoever sent it
//!         let missing = laptop.delta_since(&driftless::Version::from_bytes(&request)?)?;
//!         phone.merge(&Delta::from_bytes(&missing.to_bytes())?)?;
//!     }
//!     Err(other) => return Err(other.into()), // own dots: `rotate`; another type: not for us
//! }
//! assert_eq!(laptop.state(), phone.state());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! If tombstones were pruned meanwhile that the phone has not seen, `delta_since` says so
//! ([`CutError::Pruned`](crate::CutError::Pruned)); then send [`complete`](crate::Replica::complete), or
//! [`reconcile`](crate::Replica::reconcile) with the phone's live dots.

mod device;
mod devices;
mod drivers;
mod folder;
mod reconcile;
mod session;

pub use device::{DeviceName, DeviceNameError, MAX_DEVICE_NAME_LEN};
pub use devices::{Budget, Devices};
pub use drivers::{SyncError, SyncErrorReason, Synced, blocking, blocking_with, in_memory};
pub use folder::{
    Diverged, Folder, FolderError, FolderReport, MAX_CHAIN_FILES, MAX_FILE_LEN, MAX_PARTS, MIN_CHAIN_LEN, MergedFile,
    SkipReason, SkippedFile, WrittenFile,
};
pub use reconcile::{Difference, ReconcileError, Reconciling, Step, Turn};
pub use session::{
    Amount, Counters, Event, MAX_FRAME_LEN, MAX_JUMP, MAX_NEW_WRITERS, MAX_STAGED_LEN, Options, PART_LEN, Parting,
    Progress, Session, SessionError, Staged,
};

pub use crate::standing::Standing;

#[cfg(feature = "testing")]
pub(crate) use session::{repair_frame_checksum, reread_frame};
