//! What a session tells the app.

use std::fmt;

use thiserror::Error;

use crate::error::Refused;
use crate::escape::Escaped;
use crate::kernel::{Delta, MergeError};
use crate::report::{MergeReport, Repair};
use crate::sync::device::DeviceName;
use crate::sync::session::frame::Parting;

/// Something that happened: see [`Session::poll_event`](crate::sync::Session::poll_event).
#[non_exhaustive]
pub enum Event<T> {
    /// The peer has said hello.
    Met {
        /// What it calls itself.
        device: Option<DeviceName>,
    },
    /// A delta was merged: keep it durably, as itself or with the whole state, then say so by
    /// [`handle_persisted`](crate::sync::Session::handle_persisted) if the session waits for that.
    Merged {
        /// What was merged.
        delta: Box<Delta>,
        /// What it changed.
        report: Box<MergeReport<T>>,
    },
    /// The two contradicted each other, and both were repaired.
    Repaired(Box<Repair<T>>),
    /// Both hold the same; until something is written on either side.
    Equal,
    /// The peer has left, and it was all done as far as it is concerned.
    Left,
}

impl<T> fmt::Debug for Event<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Met { device } => f.debug_struct("Met").field("device", device).finish(),
            Self::Merged { delta, .. } => f.debug_struct("Merged").field("delta", delta).finish_non_exhaustive(),
            Self::Repaired(_) => f.debug_tuple("Repaired").finish_non_exhaustive(),
            Self::Equal => f.write_str("Equal"),
            Self::Left => f.write_str("Left"),
        }
    }
}

/// The reason why a session ended.
///
/// What was merged before stays; nothing else has changed, and a new session goes on from there. The events of those merges and
/// repairs are still to be had from [`Session::poll_event`](crate::sync::Session::poll_event), so an index beside the replica
/// can follow; the drivers hand them out with their errors.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// No version of the protocol is spoken by both.
    #[error("we speak versions {} to {} of the protocol and the peer {} to {}; update the older one", ours.0, ours.1, theirs.0, theirs.1)]
    Protocol {
        /// The oldest and the newest that we speak.
        ours: (u8, u8),
        /// The peer's.
        theirs: (u8, u8),
    },
    /// The peer holds values of another type.
    #[error(
        "the peer holds another type than `{ours}`{}; connect replicas of one type",
        theirs.as_ref().map(|name| format!(": `{}`", Escaped(name))).unwrap_or_default()
    )]
    Schema {
        /// Our type.
        ours: &'static str,
        /// The peer's, if it has said its name.
        theirs: Option<String>,
    },
    /// The peer is this very session.
    #[error("connected to itself; look at the address")]
    Myself,
    /// A delta of the peer's is longer than we stage.
    #[error("the peer has a delta of {len} bytes for us and we stage {limit}; raise `Options::with_staging_limit`")]
    StagingLimit {
        /// The length in bytes.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// Decoding a delta of the peer's may take more memory than the staging limit allows for: sixteen times as many bytes.
    #[error(
        "the peer has a delta for us whose decoding may take {needed} bytes of memory, and {limit} are allowed; raise \
         `Options::with_staging_limit`"
    )]
    Memory {
        /// Upper bound of the memory that decoding takes, in bytes.
        needed: u64,
        /// The limit, or what is left of it.
        limit: u64,
    },
    /// A delta of ours is longer than the peer stages.
    #[error(
        "we have a delta of {len} bytes for the peer and it stages {limit}; raise its `Options::with_staging_limit`"
    )]
    PeerStagingLimit {
        /// The length in bytes.
        len: u64,
        /// The peer's limit.
        limit: u64,
    },
    /// What has to be said in one frame is longer than a frame.
    #[error(
        "what is to be said takes a frame of {len} bytes, more than any may have; send a complete delta by other means"
    )]
    FrameTooLong {
        /// The length in bytes.
        len: usize,
    },
    /// The peer knows more writes of a writer than is believed without the app's consent.
    #[error(
        "the peer knows {jump} writes of one writer that we do not; if that can be, raise `Options::with_jump_limit`"
    )]
    Jump {
        /// How many.
        jump: u64,
    },
    /// The peer knows more writers that we have never heard of than is believed without the app's consent.
    #[error(
        "the peer knows {0} writers that we have never heard of; if that can be, raise `Options::with_writers_limit`"
    )]
    Writers(usize),
    /// A delta of the peer's cannot be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// What the replica holds could not be made durable: see [`Replicated::persist`](crate::sync::Replicated::persist).
    #[error("what the replica holds could not be made durable, so no peer is told of it: {0}")]
    NotDurable(#[source] Refused),
    /// Equal versions and unequal contents, and repairing them was not wanted or did not help; or the two know different births
    /// of one writer, which only a false claim or repeated randomness brings about.
    #[error("both have seen the same and hold something else; allow repair, or look for broken memory")]
    Contradiction,
    /// The peer says too much that makes no sense.
    #[error("{0} frames in a row that make no sense; the peer is broken or is no driftless")]
    Nonsense(u32),
    /// Nothing of use has come for as long as we are patient.
    #[error("the peer does not answer; try again later")]
    Silence,
    /// The peer has left before all was done.
    #[error("the peer left: {}", Escaped(parting_text(.0)))]
    Left(Parting),
}

fn parting_text(parting: &Parting) -> String {
    match parting {
        Parting::Done => "all done".into(),
        Parting::Protocol { oldest, newest } => format!("it speaks versions {oldest} to {newest} of the protocol"),
        Parting::Schema(name) => format!("it holds a `{name}`"),
        Parting::TooLong { len, limit } => format!("a delta of {len} bytes is longer than the {limit} that are staged"),
        Parting::NotMergeable => "it cannot merge what it was sent".into(),
        Parting::Contradiction => "both have seen the same and hold something else".into(),
        Parting::Nonsense => "too much that it was told makes no sense".into(),
        Parting::Silence => "it was not answered".into(),
        Parting::Jump { jump } => format!("{jump} new writes of one writer are more than it believes"),
        Parting::Writers(writers) => format!("{writers} new writers are more than it takes"),
        Parting::FrameTooLong { len } => format!("its standing takes a frame of {len} bytes"),
        Parting::Refused => "its store or its gate refused what it was sent".into(),
        Parting::NotDurable => "it could not make durable what it merged".into(),
        Parting::Other(reason) => format!("for a reason of a later version, number {reason}"),
    }
}

/// What was sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Frames that were sent.
    pub frames_sent: u64,
    /// Frames that came.
    pub frames_received: u64,
    /// Bytes of frames that were sent.
    pub bytes_sent: u64,
    /// Bytes of frames that came.
    pub bytes_received: u64,
    /// Deltas that were sent and merged over there.
    pub deltas_sent: u64,
    /// Deltas that came and were merged.
    pub deltas_merged: u64,
    /// Cells in which they opened a conflict.
    pub conflicts_opened: u64,
    /// Cells in which they closed one.
    pub conflicts_closed: u64,
    /// Reconciliations that were brought to an end.
    pub reconciliations: u64,
    /// Repairs.
    pub repairs: u64,
    /// How often something was said again since it was not answered.
    pub retries: u64,
    /// Frames that came late, twice, or for an earlier session.
    pub stale: u64,
    /// Frames that made no sense.
    pub errors: u64,
}

/// How far the deltas are that are on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Of the delta that is being sent.
    pub sending: Amount,
    /// Of the delta that is coming.
    pub receiving: Amount,
}

/// A part of a delta on its way; all zeros if none is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes that have arrived; of what is being sent, those of which the receiver has said so.
    pub bytes: u64,
    /// Bytes in all.
    pub bytes_expected: u64,
    /// Parts, as the bytes.
    pub parts: u64,
    /// Parts in all.
    pub parts_expected: u64,
}

impl Amount {
    pub(super) fn new(bytes: u64, bytes_expected: u64, part_len: u64) -> Self {
        let part_len = part_len.max(1);
        let (parts, parts_expected) = (bytes / part_len, bytes_expected.div_ceil(part_len));
        Self { bytes, bytes_expected, parts, parts_expected }
    }
}
