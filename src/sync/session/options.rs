//! What a session keeps to.

use std::time::Duration;

use crate::standing::Standing;
use crate::sync::device::DeviceName;
use crate::sync::devices::Devices;
use crate::sync::session::staged::Staged;

/// How many bytes of a delta are staged at most, unless [`Options::with_staging_limit`] says otherwise. What is staged is decoded as a
/// whole, which takes up to sixteen times as much: four GiB, which the machines that hold such states have.
pub const MAX_STAGED_LEN: u64 = 256 << 20;

/// The memory that decoding may take for each byte of the staging limit, in bytes. A stream that is as long as may be takes this much as a
/// rule; one of very similar contents takes more for its length, and is shorter.
const MEMORY_PER_BYTE: u64 = 16;

/// The memory that decoding may take however low the staging limit is, in bytes: enough for a few thousand writes.
const LEAST_MEMORY: u64 = 1 << 20;

/// How many writes of one writer a delta may be ahead of us, unless [`Options::with_jump_limit`] says otherwise: a replica that writes
/// a thousand times a second does so for fifty days.
pub const MAX_JUMP: u64 = 1 << 32;

/// How many writers that we have never heard of a session may bring, unless [`Options::with_writers_limit`] says otherwise. Each
/// stays in the version for good, some 40 bytes here and in every other replica.
pub const MAX_NEW_WRITERS: usize = 100_000;

/// How many bytes of a delta go into one frame, unless [`Options::with_part_len`] says otherwise: small enough that a lost one
/// costs little, and that progress shows.
pub const PART_LEN: usize = 64 << 10;

/// What a [`Session`](crate::sync::Session) keeps to. The default is right for a peer that one trusts as one trusts one's own
/// devices, over a connection that neither loses nor reorders, or seldom.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) device: Option<DeviceName>,
    pub(super) devices: Devices,
    pub(super) peer: Option<Standing>,
    pub(super) staging_limit: u64,
    pub(super) jump_limit: u64,
    pub(super) writers_limit: usize,
    pub(super) part_len: usize,
    pub(super) retry_after: Duration,
    pub(super) patience: Duration,
    pub(super) wait_for_persisted: bool,
    pub(super) repair: bool,
    /// True if the session reads compressed slices, and writes them to a peer that does.
    pub(super) compression: bool,
    pub(super) staged: Option<Box<Staged>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            device: None,
            devices: Devices::new(),
            peer: None,
            staging_limit: MAX_STAGED_LEN,
            jump_limit: MAX_JUMP,
            writers_limit: MAX_NEW_WRITERS,
            part_len: PART_LEN,
            retry_after: Duration::from_secs(2),
            patience: Duration::from_secs(60),
            wait_for_persisted: false,
            repair: true,
            compression: cfg!(feature = "compression"),
            staged: None,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells the peer our name, so that it can remember where we stand.
    #[must_use]
    pub fn with_device(mut self, device: DeviceName) -> Self {
        self.device = Some(device);
        self
    }

    /// What is remembered of other devices: with those, only what has changed since is told. O(devices).
    #[must_use]
    pub fn with_devices(mut self, devices: &Devices) -> Self {
        self.devices = devices.clone();
        self
    }

    /// Who the peer is, as who calls knows: then already the first frame tells only what has changed since. Names must stand in
    /// [`with_devices`](Self::with_devices) before; others change nothing.
    #[must_use]
    pub fn with_peer(mut self, device: &str) -> Self {
        self.peer = self.devices.acknowledged(device).cloned();
        self
    }

    /// Stages deltas of up to this many bytes, instead of [`MAX_STAGED_LEN`]; rounded down to a power of two. The length of a delta counts
    /// before it is compressed. Decoding takes up to sixteen
    /// times as much memory; what was [staged](Self::with_staged) before a break is held beside it, up to as many bytes again.
    #[must_use]
    pub fn with_staging_limit(mut self, bytes: u64) -> Self {
        self.staging_limit = 1 << bytes.max(1).ilog2();
        self
    }

    /// Takes deltas in which a writer is up to this many writes ahead of what we have seen, instead of [`MAX_JUMP`]. A writer
    /// whose counters a peer has driven to their end is replaced by a new one at the next write.
    #[must_use]
    pub fn with_jump_limit(mut self, writes: u64) -> Self {
        self.jump_limit = writes;
        self
    }

    /// Takes up to this many writers that we have never heard of, instead of [`MAX_NEW_WRITERS`].
    #[must_use]
    pub fn with_writers_limit(mut self, writers: usize) -> Self {
        self.writers_limit = writers;
        self
    }

    /// Sends this many bytes of a delta in a frame, instead of [`PART_LEN`]: at most as many as fit in a frame of
    /// [`MAX_FRAME_LEN`](crate::sync::MAX_FRAME_LEN).
    #[must_use]
    pub fn with_part_len(mut self, bytes: usize) -> Self {
        self.part_len = bytes.clamp(1, super::frame::MAX_FRAME_LEN / 2);
        self
    }

    /// Says again what was not answered after this time (2 seconds by default), then after twice, four times as long and so
    /// on, up to sixteen times; each a quarter less or more at random.
    #[must_use]
    pub fn with_retry_after(mut self, time: Duration) -> Self {
        self.retry_after = time;
        self
    }

    /// Gives up if an answer is waited for and nothing of use has come for this long: a minute by default.
    #[must_use]
    pub fn with_patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// Acknowledges and sends nothing until the app says that it is durable, by
    /// [`handle_persisted`](crate::sync::Session::handle_persisted): what was merged, what was written here, and what was pruned.
    /// Until then the two do not count as equal.
    ///
    /// A delta is cut at once, and sent when a checkpoint that was drawn after that is durable: so poll the session after each
    /// `handle_persisted`. An app that writes without pause keeps its peer up to date as long as it draws checkpoints.
    /// A peer that waits for an acknowledgement asks every few seconds, and hears that all has arrived. So a slow disk ends no
    /// session, as long as the session is polled and handed frames meanwhile; a session that says nothing for longer than the
    /// peer's patience is given up.
    ///
    /// Without it, a replica that crashes may come back behind what its peers know of it. It loses nothing that they hold, but
    /// has to make up for it, and every version grows by a head, since its next opening forks from what it has sent.
    #[must_use]
    pub fn waiting_for_persisted(mut self) -> Self {
        self.wait_for_persisted = true;
        self
    }

    /// Goes on from what came before the last connection with this peer broke: only the rest is sent, and what has changed
    /// since. If that cannot be, everything is sent again.
    #[must_use]
    pub fn with_staged(mut self, staged: Option<Box<Staged>>) -> Self {
        self.staged = staged;
        self
    }

    /// Ends with an error if the two contradict each other, instead of [repairing](crate::Replica::repair) both.
    #[must_use]
    pub fn without_repair(mut self) -> Self {
        self.repair = false;
        self
    }

    /// Sends all deltas plain, and has the peer send them plain.
    ///
    /// By default a session of a build with the feature `compression` compresses deltas of 512 bytes or more if the peer says that it
    /// reads compressed ones. A peer without the feature, or with this option, is sent plain ones. Limits of what a session takes
    /// hold for the length of a delta before it is compressed.
    ///
    /// Compressing takes some 20 ns for each byte of a delta, and decompressing 3 ns. So sessions with this option are faster over a
    /// line that carries more than some 200 Mbit/s.
    #[must_use]
    pub fn without_compression(mut self) -> Self {
        self.compression = false;
        self
    }

    /// Returns the memory that decoding the slices of one stream may take, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.staging_limit.saturating_mul(MEMORY_PER_BYTE).max(LEAST_MEMORY)
    }

    pub(in crate::sync) fn patience(&self) -> Duration {
        self.patience
    }

    pub(in crate::sync) fn acknowledging_at_once(mut self) -> Self {
        self.wait_for_persisted = false;
        self
    }
}
