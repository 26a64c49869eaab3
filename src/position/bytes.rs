//! The spelling of a position.
//!
//! A step is its side and tag, then its offset. Sides 0 and 1 take the two highest bits of the four bytes of the tag, `01` and `10`;
//! others begin with `001` (below 0) or `110` (above 1) and have the tag behind them. So no position begins with a byte below
//! `20`, and bytes compare as positions do, since no spelling of a step is the beginning of another.

use smallvec::SmallVec;

use crate::position::{MAX_STEPS, MAX_TAG, Position, Step};

/// Bytes of a position; most have one to three steps.
pub(crate) type PositionBytes = SmallVec<[u8; 24]>;

/// The bits of payload in the first byte of a number, of as many bytes as there are bits before it.
struct Numbers {
    /// The bits that the first byte begins with.
    prefix: u8,
    /// The number of bits of the prefix.
    taken: u32,
}

/// Offsets of at least 0 begin with a set bit.
const OFFSETS: Numbers = Numbers { prefix: 0b1000_0000, taken: 1 };

/// Sides above 1.
const SIDES: Numbers = Numbers { prefix: 0b1100_0000, taken: 3 };

impl Numbers {
    /// The most bytes of a number: the last has no more bits to say its length with.
    const fn longest(&self) -> usize {
        (8 - self.taken) as usize
    }

    /// The bits of content that numbers of so many bytes have.
    const fn bits(&self, len: usize) -> u32 {
        (8 - self.taken - len as u32) + 8 * (len as u32 - 1)
    }

    /// A number of at least 0 in its fewest bytes: after the prefix as many set bits as bytes follow, and a zero. `None` if it
    /// is too great.
    fn write(&self, number: u64, flip: u8, to: &mut PositionBytes) -> Option<()> {
        let mut rest = number;
        for len in 1..=self.longest() {
            let bits = self.bits(len);
            if rest >> bits == 0 {
                let follow = len as u32 - 1;
                let first_bits = bits - 8 * follow;
                let ones = (((1u32 << follow) - 1) << (first_bits + 1)) as u8;
                to.push((self.prefix | ones | (rest >> (8 * follow)) as u8) ^ flip);
                to.extend((0..follow).rev().map(|i| (rest >> (8 * i)) as u8 ^ flip));
                return Some(());
            }
            rest -= 1 << bits;
        }
        None
    }

    /// Reads what [`write`](Self::write) wrote, and nothing else.
    fn read(&self, from: &mut &[u8], flip: u8) -> Option<u64> {
        let first = from.first()? ^ flip;
        let follow = (first << self.taken).leading_ones();
        let len = follow as usize + 1;
        if len > self.longest() {
            return None;
        }
        let (bytes, rest) = from.split_at_checked(len)?;
        let first_bits = self.bits(len) - 8 * follow;
        let start = u64::from(first) & ((1 << first_bits) - 1);
        let number = bytes[1..].iter().fold(start, |number, byte| number << 8 | u64::from(byte ^ flip));
        *from = rest;
        Some((1..len).fold(number, |number, shorter| number + (1 << self.bits(shorter))))
    }
}

impl Position {
    /// The bytes. `None` if a side or an offset is beyond what can be spelled: some 2³² and 2⁴⁸.
    pub(crate) fn to_bytes(&self) -> Option<PositionBytes> {
        let mut bytes = PositionBytes::new();
        for step in &self.0 {
            match step.side {
                0 | 1 => {
                    let side = if step.side == 0 { 0b01 } else { 0b10 };
                    bytes.extend((side << 30 | step.tag).to_be_bytes());
                }
                side => {
                    // Sides below 0 are spelled as their mirror images, with all bits flipped.
                    let (number, flip) = if side > 1 { (side - 2, 0) } else { (-1 - side, 0xff) };
                    SIDES.write(number as u64, flip, &mut bytes)?;
                    bytes.extend(step.tag.to_be_bytes());
                }
            }
            bytes.extend(offset_bytes(step.offset)?);
        }
        Some(bytes)
    }

    /// The position that bytes spell; `None` if they spell none, or one of more than [`MAX_STEPS`].
    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        Self::read(&mut bytes).filter(|_| bytes.is_empty())
    }

    /// Reads the position that bytes begin with, up to a zero byte or the end.
    fn read(from: &mut &[u8]) -> Option<Self> {
        let mut steps = SmallVec::new();
        read_steps(from, |step, _| steps.push(step))?;
        Some(Self(steps))
    }
}

/// Reads the steps of the position that bytes begin with, up to a zero byte or the end, each with the number of bytes of its offset. `None` if
/// they begin with no position, or with one of more than [`MAX_STEPS`].
fn read_steps(from: &mut &[u8], mut each: impl FnMut(Step, usize)) -> Option<()> {
    let mut bytes = *from;
    for _ in 0..MAX_STEPS {
        let side = match bytes.first()? >> 6 {
            0b01 => 0,
            0b10 => 1,
            0b11 if bytes[0] & 0b0010_0000 == 0 => 2 + i64::try_from(SIDES.read(&mut bytes, 0)?).ok()?,
            0b00 if bytes[0] & 0b0010_0000 != 0 => -1 - i64::try_from(SIDES.read(&mut bytes, 0xff)?).ok()?,
            _ => return None,
        };
        let (tag, rest) = bytes.split_first_chunk()?;
        let mut tag = u32::from_be_bytes(*tag);
        match side {
            0 | 1 => tag &= MAX_TAG,
            _ if tag > MAX_TAG => return None,
            _ => {}
        }
        bytes = rest;
        let before = bytes.len();
        let offset = match bytes.first()? >> 7 {
            1 => i64::try_from(OFFSETS.read(&mut bytes, 0)?).ok()?,
            _ => -1 - i64::try_from(OFFSETS.read(&mut bytes, 0xff)?).ok()?,
        };
        each(Step { side, tag, offset }, before - bytes.len());
        if bytes.first().is_none_or(|next| *next == 0) {
            *from = bytes;
            return Some(());
        }
    }
    None
}

/// Returns whether bytes spell a position.
pub(crate) fn is_position(mut bytes: &[u8]) -> bool {
    read_steps(&mut bytes, |_, _| ()).is_some() && bytes.is_empty()
}

/// Takes the position that bytes begin with off them; it ends before a zero byte or with them. `None` if there is none.
pub(crate) fn split_position(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    read_steps(&mut rest, |_, _| ())?;
    Some(bytes.split_at(bytes.len() - rest.len()))
}

/// The offset at the end of a position, and the number of bytes before it. `None` if the bytes are no position.
pub(crate) fn split_offset(position: &[u8]) -> Option<(usize, i64)> {
    let (mut rest, mut last) = (position, None);
    read_steps(&mut rest, |step, len| last = Some((position.len().saturating_sub(len), step.offset)))?;
    last.filter(|_| rest.is_empty())
}

/// The bytes of an offset; `None` if it is beyond what can be spelled.
pub(crate) fn offset_bytes(offset: i64) -> Option<PositionBytes> {
    let mut bytes = PositionBytes::new();
    let (number, flip) = if offset >= 0 { (offset, 0) } else { (-1 - offset, 0xff) };
    OFFSETS.write(number as u64, flip, &mut bytes)?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = i64> {
        // Near each length of a number.
        let near = |bits: u32| (1i64 << bits) - 40..(1i64 << bits) + 9000;
        prop_oneof![
            -3i64..4,
            -9000i64..9000,
            (5u32..47).prop_flat_map(near),
            (5u32..47).prop_flat_map(near).prop_map(|n| -n)
        ]
    }

    fn position() -> impl Strategy<Value = Position> {
        let side = prop_oneof![4 => 0i64..2, 1 => -40i64..40, 1 => -100_000i64..100_000, 1 => -4_000_000_000i64..4_000_000_000];
        let tag = prop_oneof![0u32..3, 0..=MAX_TAG];
        let step = (side, tag, number()).prop_map(|(side, tag, offset)| Step { side, tag, offset });
        prop::collection::vec(step, 1..5).prop_map(|steps| Position(steps.into()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn bytes_sort_as_positions_do_and_read_back(a in position(), b in position(), share in 0usize..4) {
            // Most pairs share their beginnings.
            let mut b = b;
            let share = share.min(a.0.len());
            b.0.insert_many(0, a.0[..share].iter().copied());
            let (ours, theirs) = (a.to_bytes().unwrap(), b.to_bytes().unwrap());
            prop_assert_eq!(ours.cmp(&theirs), a.cmp(&b));
            prop_assert_eq!(Position::from_bytes(&ours), Some(a));
            prop_assert_eq!(Position::from_bytes(&theirs), Some(b));
        }

        #[test]
        fn what_can_be_read_is_spelled_as_it_was(bytes in prop::collection::vec(any::<u8>(), 0..14)) {
            if let Some(position) = Position::from_bytes(&bytes) {
                prop_assert_eq!(position.to_bytes().unwrap().to_vec(), bytes);
            }
        }
    }

    #[test]
    fn no_position_begins_below_20_and_none_is_too_deep() {
        for first in 0..=255u8 {
            let bytes = [first, 0x11, 0x22, 0x11, 0x22, 0x81, 0x82, 0x83, 0x84, 0x85, 0x81];
            let reads = (1..=bytes.len()).any(|len| Position::from_bytes(&bytes[..len]).is_some());
            assert!(!reads || (0x20..0xe0).contains(&first), "{first:02x}");
        }
        let step = [0x40, 0, 0, 0, 0x80];
        assert!(Position::from_bytes(&step.repeat(MAX_STEPS)).is_some());
        assert_eq!(Position::from_bytes(&step.repeat(MAX_STEPS + 1)), None);
        assert_eq!(Position::from_bytes(&[]), None);
    }

    #[test]
    fn what_cannot_be_spelled_is_none() {
        for (side, offset) in [(i64::MAX, 0), (i64::MIN, 0), (0, i64::MAX), (0, i64::MIN), (1 << 40, 0), (0, 1 << 50)] {
            let step = Step { side, tag: 1, offset };
            assert_eq!(Position(SmallVec::from_slice(&[step])).to_bytes(), None, "{side} {offset}");
        }
    }
}
