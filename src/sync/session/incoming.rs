//! A delta that is coming in: its bytes, staged until all are there.

use std::collections::BTreeMap;

use crate::kernel::DotSet;
use crate::standing::Standing;
use crate::sync::session::outgoing::WINDOW;
use crate::sync::session::report::Amount;
use crate::sync::session::stream::Header;

/// Bytes that are kept beyond a gap at most, with [`PART_COST`] for each part. For a short stream the limit is twice its length,
/// because parts may overlap.
const MAX_LATER: u64 = 2 * WINDOW;

/// Bytes that are added to the limit of a short stream, for the cost of its parts.
const MIN_LATER: u64 = 64 << 10;

/// Memory that a part takes beside its bytes, in round figures.
const PART_COST: u64 = 64;

/// After how many bytes the sender is told how many there are: so that it need not stop, and its progress shows.
const ASK_LEN: u64 = WINDOW / 16;

/// A stream of which some parts have come. Holds no more than what came, and that within the stated length.
pub(super) struct Incoming {
    pub(super) number: u64,
    total: u64,
    /// From the beginning, without a gap.
    bytes: Vec<u8>,
    /// Beyond a gap, by their places; within a window.
    later: BTreeMap<u64, Vec<u8>>,
    /// Bytes that `later` takes, with [`PART_COST`] for each part.
    later_len: u64,
    /// The longest part so far.
    part_len: u64,
    /// What we have last said that we have.
    asked: u64,
    /// Known once the header has come.
    pub(super) basis: Option<Basis>,
}

/// What a stream builds on, taken when its header comes: by the end of the stream it may be long ago.
pub(super) struct Basis {
    pub(super) header: Header,
    /// The standing of ours that the slices are encoded from.
    pub(super) standing: Standing,
    /// Of a reconciled stream, the dots that are alive here and dead at the peer, if the reconciliation has ended here.
    pub(super) dead: Option<DotSet>,
}

fn cost(len: usize) -> u64 {
    len as u64 + PART_COST
}

impl Incoming {
    pub(super) fn new(number: u64, total: u64) -> Self {
        Self {
            number,
            total,
            bytes: Vec::new(),
            later: BTreeMap::new(),
            later_len: 0,
            part_len: 0,
            asked: 0,
            basis: None,
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn have(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn is_complete(&self) -> bool {
        self.have() == self.total
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes a part. Returns whether it was of use.
    pub(super) fn add(&mut self, offset: u64, part: &[u8]) -> bool {
        let have = self.have();
        let end = offset.saturating_add(part.len() as u64);
        if end <= have || end > self.total {
            return false;
        }
        self.part_len = self.part_len.max(part.len() as u64);
        if offset > have {
            // A sender that keeps to the window is never further ahead, and what lies beyond it has only come once.
            let was = self.later.get(&offset).map_or(0, Vec::len);
            if end > have + 2 * WINDOW || part.len() <= was {
                return false;
            }
            self.leave_out(offset);
            // Parts nearer the gap are needed first.
            let room = MAX_LATER.min(self.total.saturating_mul(2).saturating_add(MIN_LATER));
            while self.later_len + cost(part.len()) > room {
                match self.later.last_key_value().map(|(last, _)| *last).filter(|last| *last > offset) {
                    Some(last) => self.leave_out(last),
                    None => return false,
                }
            }
            self.later_len += cost(part.len());
            self.later.insert(offset, part.to_vec());
            return true;
        }
        self.bytes.extend_from_slice(&part[(have - offset) as usize..]);
        while let Some((offset, part)) = self.later.pop_first() {
            if offset > self.have() {
                self.later.insert(offset, part);
                break;
            }
            self.later_len -= cost(part.len());
            if let Some(new) = part.get((self.have() - offset) as usize..) {
                self.bytes.extend_from_slice(new);
            }
        }
        true
    }

    fn leave_out(&mut self, offset: u64) {
        if let Some(part) = self.later.remove(&offset) {
            self.later_len -= cost(part.len());
        }
    }

    /// Whether the sender should hear how much is here, so that it does not have to stop; then it counts as said.
    pub(super) fn is_ask_due(&mut self) -> bool {
        let due = !self.is_complete() && self.have() - self.asked >= ASK_LEN;
        if due {
            self.asked = self.have();
        }
        due
    }

    pub(super) fn amount(&self) -> Amount {
        Amount::new(self.have(), self.total, self.part_len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn beyond_a_gap_no_more_is_kept_than_two_windows_whatever_the_parts() {
        let part = vec![7; 1 << 20];
        let (len, total) = (part.len() as u64, 100 * WINDOW);
        let mut incoming = Incoming::new(1, total);
        // The first byte is missing. The last place where a part may end is two windows away.
        assert!(!incoming.add(2 * WINDOW - len + 1, &part));
        assert!(incoming.add(2 * WINDOW - len, &part));
        // Parts over parts: what is held counts, wherever it lies.
        for offset in 1..=2 * WINDOW / len + 8 {
            incoming.add(offset, &part);
            assert!(incoming.later_len <= MAX_LATER);
        }
        assert_eq!(incoming.later.len() as u64, 2 * WINDOW / len - 1, "each costs a little beside its bytes");
        // One in the place of a shorter one adds what it is longer by; one that is no longer adds nothing.
        let mut incoming = Incoming::new(1, total);
        assert!(incoming.add(1, &part[..10]) && !incoming.add(1, &part[..10]) && incoming.add(1, &part));
        assert_eq!(incoming.later_len, cost(part.len()));
        // What is no longer beyond a gap makes room.
        assert!(incoming.add(0, &part[..1]));
        assert_eq!((incoming.later_len, incoming.have()), (0, 1 + len));
        let mut incoming = Incoming::new(1, total);
        let kept = (1..).take_while(|place| incoming.add(2 * place, &[7])).count() as u64;
        assert_eq!(kept, MAX_LATER / cost(1));
    }

    #[test]
    fn of_parts_that_do_not_fit_those_nearest_the_gap_are_kept() {
        let part = vec![7; 1 << 20];
        let len = part.len() as u64;
        let mut incoming = Incoming::new(1, 100 * WINDOW);
        // They come in the worst order: the last first, more than there is room for, and the one that is waited for last.
        for place in (1..2 * WINDOW / len).rev() {
            assert!(incoming.add(place * len, &part));
        }
        let beside: Vec<u64> = (1..2 * WINDOW / len).map(|place| place * len - len / 2).collect();
        for offset in &beside {
            incoming.add(*offset, &part[..part.len() / 2]);
        }
        assert!(incoming.later.contains_key(&len) && incoming.later_len <= MAX_LATER);
        assert!(incoming.add(0, &part));
        assert!(incoming.have() >= WINDOW, "{} came", incoming.have());
    }

    #[test]
    fn the_sender_is_told_each_time_that_so_many_bytes_have_come() {
        let part = vec![7; ASK_LEN as usize];
        let mut incoming = Incoming::new(1, 3 * ASK_LEN);
        assert!(!incoming.is_ask_due());
        assert!(incoming.add(0, &part[1..]) && !incoming.is_ask_due());
        assert!(incoming.add(ASK_LEN - 1, &[7]) && incoming.is_ask_due() && !incoming.is_ask_due());
        assert!(incoming.add(ASK_LEN, &part[1..]) && !incoming.is_ask_due());
        assert!(incoming.add(2 * ASK_LEN - 1, &[7]) && incoming.is_ask_due());
        // All of it is acknowledged otherwise.
        assert!(incoming.add(2 * ASK_LEN, &part) && incoming.is_complete() && !incoming.is_ask_due());
    }

    proptest! {
        #[test]
        fn parts_in_any_order_and_overlapping_make_the_whole(
            parts in prop::collection::vec((0usize..300, 1usize..40), 0..60),
            order in any::<prop::sample::Index>(),
        ) {
            let whole: Vec<u8> = (0..300u32).map(|i| (i * 7 % 251) as u8).collect();
            let mut incoming = Incoming::new(1, 300);
            let mut cover = vec![false; 300];
            for (start, len) in &parts {
                let end = (start + len).min(300);
                incoming.add(*start as u64, &whole[*start..end]);
                cover[*start..end].iter_mut().for_each(|c| *c = true);
            }
            let prefix = cover.iter().take_while(|c| **c).count();
            prop_assert_eq!(incoming.bytes(), &whole[..prefix]);
            let from = order.index(300);
            incoming.add(from as u64, &whole[from..]);
            incoming.add(0, &whole[..from]);
            prop_assert!(incoming.is_complete());
            prop_assert_eq!(incoming.bytes(), &whole[..]);
        }
    }

    #[test]
    fn parts_beyond_the_window_are_not_held() {
        let mut incoming = Incoming::new(1, 100 * WINDOW);
        assert!(!incoming.add(3 * WINDOW, &[0; 100]));
        let part = vec![0; 1 << 10];
        for place in 0..10_000 {
            incoming.add(1 + place * 100, &part);
        }
        assert!(incoming.later_len <= 2 * WINDOW);
    }
}
