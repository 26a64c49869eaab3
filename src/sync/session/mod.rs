//! Sessions: two replicas become equal over any channel of bytes. A state machine without I/O, clock or threads.
//!
//! # When to close, and who hangs up first
//!
//! - A session that stays (both sides edit and hear of it) is closed by the side that leaves, by [`Session::close`]; the bye reaches
//!   the peer as [`Event::Left`]. If the bye is lost, the peer finds out by its patience.
//! - A session that ends when both are equal: a side may hang up once [`Session::is_equal`] is true *and*
//!   [`Session::poll_frame`] has returned all frames, because the last of them may be the acknowledgement that the peer waits for. Either side
//!   may be first, and the two need not agree. Hanging up earlier loses no data: the next session sends again what was not
//!   acknowledged.
//! - After an error, send what `poll_frame` still returns: the last frame tells the peer the reason, as a [`Parting`]. Then hang up.
//!   A peer that receives it ends with [`SessionError::Left`].
//!
//! | file | idea |
//! |---|---|
//! | `machine` | [`Session`]: what the app calls, and which frame goes out next |
//! | `hearing` | what each frame of the peer's does |
//! | `telling` | where both sides stand, and telling each other |
//! | `sending` | what the peer lacks, and the cheapest way to it |
//! | `receiving` | what the peer sends, once all of it is there |
//! | `reconciling` | a reconciliation within a session |
//! | `outgoing`, `incoming` | one delta on its way, as parts of a stream |
//! | `stream` | a delta as a stream of slices |
//! | `staged` | the beginning of a delta that broke off |
//! | `frame` | what the two say to each other, and its bytes |
//! | `retry` | when to say something again, and when to give up |
//! | `options`, `report` | what the app says beforehand, and what it is told |

mod frame;
mod hearing;
mod incoming;
mod machine;
mod options;
mod outgoing;
mod receiving;
mod reconciling;
mod report;
mod retry;
mod sending;
mod staged;
mod stream;
mod telling;

pub use frame::{MAX_FRAME_LEN, Parting};
pub use machine::Session;
pub use options::{MAX_JUMP, MAX_NEW_WRITERS, MAX_STAGED_LEN, Options, PART_LEN};
pub use report::{Amount, Counters, Event, Progress, SessionError};
pub use staged::Staged;
pub use telling::Checkpoint;

#[cfg(feature = "testing")]
pub(crate) use frame::{repair_frame_checksum, reread_frame};
