//! The places that writes name for a node in a tree.

use smallvec::SmallVec;

use crate::clock::Stamp;
use crate::document::kind;
use crate::id::{Dot, NodeId};
use crate::kernel::{Cells, Payload, PayloadRef};
use crate::position::Position;

/// A place among the children of a node, or at the top.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Spot {
    /// None at the top.
    pub(crate) parent: Option<NodeId>,
    /// The bytes of the position among the siblings, which sort as positions do.
    pub(crate) position: Payload,
}

impl Spot {
    pub(super) fn new(parent: Option<NodeId>, position: &[u8]) -> Self {
        Self { parent, position: Payload::new(0, position) }
    }

    pub(super) fn position(&self) -> Option<Position> {
        Position::from_bytes(self.position.bytes())
    }
}

/// The content of the cell of a node's place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Placing {
    pub(crate) spot: Spot,
    /// The place that the writer saw the node at, and the stamp of the write that named it.
    pub(crate) from: Option<(Spot, Stamp)>,
}

const HAS_PARENT: u8 = 1;
const HAS_FROM: u8 = 2;
const FROM_HAS_PARENT: u8 = 4;

impl Placing {
    /// A byte that tells what follows: the parent, unless at the top; where from, if anywhere, as parent, stamp, length of the position
    /// in two bytes, and position; the position.
    pub(crate) fn to_payload(&self) -> Payload {
        let (mut flags, mut bytes) = (0, vec![0]);
        if let Some(parent) = self.spot.parent {
            flags |= HAS_PARENT;
            bytes.extend_from_slice(parent.as_bytes());
        }
        if let Some((from, stamp)) = &self.from {
            flags |= HAS_FROM;
            if let Some(parent) = from.parent {
                flags |= FROM_HAS_PARENT;
                bytes.extend_from_slice(parent.as_bytes());
            }
            bytes.extend_from_slice(&stamp.to_bits().to_be_bytes());
            // At most 256 steps of 16 bytes.
            let position = from.position.bytes();
            bytes.extend_from_slice(&(position.len() as u16).to_be_bytes());
            bytes.extend_from_slice(position);
        }
        bytes.extend_from_slice(self.spot.position.bytes());
        bytes[0] = flags;
        Payload::new(kind::PLACE, &bytes)
    }

    /// Reads a payload; `None` if it is of another kind or not spelled so: such a payload is kept, sent on and not read.
    pub(crate) fn of(payload: PayloadRef<'_>) -> Option<Self> {
        let mut bytes = (payload.kind() == kind::PLACE).then_some(payload.bytes())?;
        let flags = *take::<1>(&mut bytes)?.first()?;
        let is_known = flags & !(HAS_PARENT | HAS_FROM | FROM_HAS_PARENT) == 0;
        if !is_known || flags & (HAS_FROM | FROM_HAS_PARENT) == FROM_HAS_PARENT {
            return None;
        }
        let node = |bytes: &mut _, flag| match flags & flag {
            0 => Some(None),
            _ => take::<16>(bytes).map(|id| Some(NodeId::from(*id))),
        };
        let parent = node(&mut bytes, HAS_PARENT)?;
        let mut from = None;
        if flags & HAS_FROM != 0 {
            let parent = node(&mut bytes, FROM_HAS_PARENT)?;
            let stamp = Stamp::from_bits(u64::from_be_bytes(*take(&mut bytes)?));
            let len = usize::from(u16::from_be_bytes(*take(&mut bytes)?));
            let (position, rest) = bytes.split_at_checked(len)?;
            Position::from_bytes(position)?;
            bytes = rest;
            from = Some((Spot::new(parent, position), stamp));
        }
        Position::from_bytes(bytes)?;
        Some(Self { spot: Spot::new(parent, bytes), from })
    }
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

/// One of the places that a node may show at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    pub(crate) spot: Spot,
    /// The stamp of the place that is named, and the write that names it.
    pub(crate) rank: (Stamp, Dot),
}

pub(crate) type Claims = SmallVec<[Claim; 2]>;

/// The claims of a node: the places that its live siblings say, the latest first; then those that they say it was moved from, the
/// latest first. None if the node is not there or has no place.
pub(crate) fn claims(cells: Option<Cells<'_>>, field: &[u8]) -> Claims {
    let Some(cells) = cells.filter(|cells| cells.is_live()) else { return Claims::new() };
    let (mut first, mut past) = (Claims::new(), Claims::new());
    for sibling in cells.live(field) {
        let Some(placing) = sibling.payload.and_then(Placing::of) else { continue };
        first.push(Claim { spot: placing.spot, rank: (sibling.stamp, sibling.dot) });
        past.extend(placing.from.map(|(spot, stamp)| Claim { spot, rank: (stamp, sibling.dot) }));
    }
    let latest_first = |a: &Claim, b: &Claim| b.rank.cmp(&a.rank);
    first.sort_unstable_by(latest_first);
    past.sort_unstable_by(latest_first);
    first.extend(past);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITION: &[u8] = &[0x40, 0, 0, 1, 0x80];

    #[test]
    fn a_place_has_one_spelling() {
        let (a, b) = (Some(NodeId::named("a")), Some(NodeId::named("b")));
        for parent in [None, a] {
            for from in [None, Some(None), Some(b)] {
                let from = from.map(|parent| (Spot::new(parent, POSITION), Stamp::new(7, 1)));
                let placing = Placing { spot: Spot::new(parent, &[POSITION, POSITION].concat()), from };
                let payload = placing.to_payload();
                assert_eq!(Placing::of(payload.as_ref()), Some(placing));
                for len in 0..payload.bytes().len() {
                    // Shorter ones end in the middle of something, or of two steps.
                    let cut = Payload::new(kind::PLACE, &payload.bytes()[..len]);
                    let read = Placing::of(cut.as_ref());
                    assert!(read.is_none_or(|read| read.spot.position.bytes() == POSITION), "{len}");
                }
                for flags in 0..=255 {
                    let mut bytes = payload.bytes().to_vec();
                    bytes[0] = flags;
                    if let Some(read) = Placing::of(Payload::new(kind::PLACE, &bytes).as_ref()) {
                        assert_eq!(read.to_payload().bytes(), bytes);
                    }
                }
            }
        }
    }
}
