//! A delta on its way out.

use crate::codec::{Reference, compress_slice, encode_slice};
use crate::kernel::Delta;
use crate::numbers::write_number;
use crate::standing::Standing;
use crate::sync::session::report::Amount;
use crate::sync::session::stream::{Header, SLICE_LEN};
use crate::version::Version;

/// How far the sender goes ahead of what the receiver has said it has: enough for 640 Mbit/s over 50 ms.
pub(super) const WINDOW: u64 = 4 << 20;

/// Bytes that are sent again to learn whether the receiver is there.
const PROBE_LEN: usize = 4 << 10;

/// A delta as bytes, in parts, until the receiver has merged it.
pub(super) struct Outgoing {
    pub(super) number: u64,
    /// The version that the receiver has seen once it has merged the delta.
    pub(super) upto: Version,
    bytes: Vec<u8>,
    /// Length before slices were compressed, which is what the limits of the receiver hold for.
    plain_len: u64,
    /// The receiver has all before.
    acknowledged: u64,
    sent: u64,
    /// Most bytes of the part that goes out again, in case that all parts were lost, or the answer.
    nudged: Option<usize>,
}

impl Outgoing {
    /// `changes` go before `delta` if it goes on where another broke off. `is_compressed` is true if the receiver reads
    /// compressed slices.
    pub(super) fn new(
        number: u64,
        header: &Header,
        changes: Option<&Delta>,
        delta: &Delta,
        (receiver, is_compressed): (&Standing, bool),
    ) -> Self {
        let reference = reference(receiver);
        let changes = changes.map(|changes| slices(changes, &reference)).unwrap_or_default();
        let mut bytes = Vec::new();
        Header { changes: changes.len() as u64, ..*header }.write(&mut bytes);
        let mut compressed_away = 0;
        for slice in changes.into_iter().chain(slices(delta, &reference)) {
            let plain_len = slice.len();
            let slice = if is_compressed { compress_slice(slice) } else { slice };
            compressed_away += (plain_len - slice.len()) as u64;
            write_number(&mut bytes, slice.len() as u64);
            bytes.extend(slice);
        }
        let plain_len = bytes.len() as u64 + compressed_away;
        Self { number, upto: delta.upto().clone(), bytes, plain_len, acknowledged: 0, sent: 0, nudged: None }
    }

    /// Returns the length that the limits of the receiver hold for: the one before slices were compressed.
    pub(super) fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// Returns whether every part has gone out.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.len()
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The next part within the window, with how many bytes come before it.
    pub(super) fn next_part(&mut self, part_len: usize) -> Option<(u64, &[u8])> {
        let nudged = self.nudged.take();
        // The last byte of a stream that has arrived is enough to get an answer.
        let start = if nudged.is_some() { self.acknowledged.min(self.len() - 1) } else { self.sent };
        let part_len = nudged.unwrap_or(usize::MAX).min(part_len) as u64;
        let end = self.len().min(self.acknowledged + WINDOW).min(start + part_len);
        if start >= end {
            return None;
        }
        self.sent = self.sent.max(end);
        Some((start, &self.bytes[start as usize..end as usize]))
    }

    /// The receiver has this much; `again` if nothing of what was sent beyond has come. Returns whether that is progress: a
    /// receiver that has all may be busy making it durable, for as long as it says so.
    pub(super) fn ask(&mut self, have: u64, again: bool) -> bool {
        let progress = have > self.acknowledged && have <= self.len() || have == self.len();
        if progress {
            self.acknowledged = have;
            self.sent = self.sent.max(have);
        }
        if again && have <= self.acknowledged {
            // It may have less than it said, if it took another for us meanwhile and threw all away.
            (self.acknowledged, self.sent) = (have, have);
        }
        progress
    }

    /// Sends the next part once more: all of it the first time, later its beginning alone. That is enough to be answered, and
    /// a slow line is not filled with repetitions.
    pub(super) fn nudge(&mut self, is_first: bool) {
        self.nudged = Some(if is_first { usize::MAX } else { PROBE_LEN });
    }

    pub(super) fn amount(&self, part_len: usize) -> Amount {
        Amount::new(self.acknowledged, self.len(), part_len as u64)
    }
}

/// What both sides of a stream know: where its receiver stands.
pub(super) fn reference(receiver: &Standing) -> Reference {
    let Standing { version, pruned } = receiver.clone();
    Reference { since: version.clone(), upto: version.clone(), pruned, at: version }
}

/// A delta in slices as bytes.
///
/// The length of a slice is estimated before it is encoded, and similar contents take fewer bytes than that. A receiver refuses
/// [slices that are too short](crate::sync::session::stream::read), so short ones are joined until they are half as long as a slice is meant to be. Of two
/// neighbours at least one is.
fn slices(delta: &Delta, reference: &Reference) -> Vec<Vec<u8>> {
    const SHORT: usize = SLICE_LEN / 2;
    let (mut slices, mut waiting, mut len, mut enough) = (Vec::new(), Vec::new(), 0, SHORT);
    for slice in delta.slices(SLICE_LEN) {
        let bytes = encode_slice(&slice, reference);
        let is_short = bytes.len() < SHORT;
        if is_short {
            len += bytes.len();
            waiting.push(slice);
        }
        if is_short && len < enough {
            continue;
        }
        // Joined they may take fewer bytes than apart. They are encoded again only as often as their length doubles.
        waiting = Delta::concat(waiting).into_iter().collect();
        let joined: Vec<_> = waiting.iter().map(|joined| encode_slice(joined, reference)).collect();
        if !is_short || joined.iter().all(|bytes| bytes.len() >= SHORT) {
            slices.extend(joined);
            slices.extend((!is_short).then_some(bytes));
            waiting.clear();
            (len, enough) = (0, SHORT);
        } else {
            enough = 2 * len;
        }
    }
    slices.extend(Delta::concat(waiting).map(|rest| encode_slice(&rest, reference)));
    slices
}
