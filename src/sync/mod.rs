//! Ways for replicas to meet.
//!
//! | module | idea |
//! |---|---|
//! | `drivers` | [`blocking`], [`blocking_durable`], [`in_memory`]: both hold the same when they return |
//! | `pump` | [`Pump`]: a session over requests and answers, as of HTTP |
//! | `session` | [`Session`]: two replicas get equal over any channel of bytes, and stay so |
//! | `folder` | [`Folder`]: a folder of files that anything moves, by git, Syncthing, a stick |
//! | `reconcile` | [`Reconciling`]: which dots that both cover are alive on one side only |
//! | `replicated` | [`Replicated`]: a replica, or a store or a gate around one |
//! | `devices` | [`Devices`]: who has seen what, and which tombstones can go |
//! | `device` | names of devices |
//!
//! | where to look for | |
//! |---|---|
//! | keeping a replica on disk | [Keep it](crate#keep-it) |
//! | ending a session | [below](#ending-a-session), with code in [End a session](crate#end-a-session) |
//! | async code | [below](#async-code), with code in [Use it in async](crate#use-it-in-async) |
//! | channels that are no streams, such as queues and files | [Deltas by themselves](#deltas-by-themselves), [`Folder`] |
//!
//! # Ending a session
//!
//! [`blocking`] and [`in_memory`] end by themselves: they return once both sides hold the same. Either side may then hang up.
//!
//! A [`Session`] goes on until one side leaves, since peers may stay connected and hear of every edit:
//!
//! 1. The side that wants to leave calls [`close`](Session::close), usually after [`Event::Equal`]. Leaving earlier loses nothing:
//!    what was merged stays, and the next session sends the rest.
//! 2. It sends the last frame that [`poll_frame`](Session::poll_frame) returns, ends its side of the stream, and reads until the
//!    peer has ended the other. A TCP stream that is closed while bytes are unread is reset, and the last frame can be lost.
//! 3. The other side gets [`Event::Left`], and [`is_over`](Session::is_over) is true. It sends nothing more and hangs up.
//!
//! If both close at once, both are over, and each ignores the last frame of the other. An error ends a session, too:
//! `poll_frame` first returns a frame that tells the peer of it, then the error.
//!
//! If a stream ends without [`Event::Left`], the connection broke. [`Session::into_staged`] returns the parts of a delta that
//! have come; [`Options::with_staged`] hands them to the next session with this peer. Both sides may write in between, and the app
//! may be closed: [`Staged::to_bytes`] saves what has come.
//!
//! # Async code
//!
//! A [`Session`] does no I/O, never waits and is [`Send`], so it runs in any runtime, behind a lock or in a task of its own. Around
//! it stands a loop that takes what comes first: a frame of the peer, the time of [`poll_timeout`](Session::poll_timeout), an edit
//! of the replica. After each it takes all events and sends all frames of `poll_frame`. Two rules:
//!
//! - Hold no lock on the replica across an `.await`.
//! - Read while you write. Both sides send at the same time, up to 4 MiB ahead of what the other has acknowledged; if both
//!   wait until all is written and neither reads, they wait for ever.
//!
//! The example `tokio-peers` of the repository is such a loop, over TCP.
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
//!     Err(other) => return Err(other.into()), // another type: not for us; else a faulty sender
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
mod pump;
mod reconcile;
mod replicated;
mod session;

pub use device::{DeviceName, DeviceNameError, MAX_DEVICE_NAME_LEN};
pub use devices::Devices;
pub use drivers::{
    InMemoryError, SyncError, SyncErrorReason, Synced, blocking, blocking_durable, blocking_with, in_memory,
};
pub use folder::{
    Diverged, Folder, FolderError, FolderReport, MAX_CHAIN_FILES, MAX_FILE_LEN, MAX_PARTS, MIN_CHAIN_LEN, MergedFile,
    SkipReason, SkippedFile, WrittenFile,
};
pub use pump::{Exchange, Pump, PumpError};
pub use reconcile::{Difference, ReconcileError, Reconciling, Step, Turn};
pub use replicated::Replicated;
pub use session::{
    Amount, Checkpoint, Counters, Event, MAX_FRAME_LEN, MAX_JUMP, MAX_NEW_WRITERS, MAX_STAGED_LEN, Options, PART_LEN,
    Parting, Progress, Session, SessionError, Staged,
};

pub use crate::standing::Standing;

#[cfg(feature = "testing")]
pub(crate) use session::{repair_frame_checksum, reread_frame};
