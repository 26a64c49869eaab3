//! What the two sides of a reconciliation say in turn, and its bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | what it says, 1 to 5; plus 128 with a check |
//! | 16 | the nonce; in the first turn only |
//! | 8 | the digest of what both cover; in the first turn only |
//! | … | what both cover, as a [`HeadsChange`] from the receiver's version: the number of heads gone and their places, as \
//! gaps; the number of heads come, and the id of the writer and the counter of each; in the first turn only |
//! | 16 | the check, if there is one |
//! | … | the marks, as a set; with fingerprints or words, but not in the first turn |
//! | … | fingerprints: their bytes, with the number of these before; or words, or a difference: a set |
//!
//! Numbers are little-endian or LEB128. There is no envelope: whoever frames the turn has a length and a checksum.

use crate::codec::{Cursor, DecodeError, read_change, write_change};
use crate::numbers::write_number;
use crate::sync::reconcile::bits::Bits;
use crate::version::HeadsChange;

/// One message of a [`Reconciling`](crate::sync::Reconciling).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The fingerprint of everything that the sender holds, in its first turn.
    pub(super) check: Option<u128>,
    pub(super) says: Says,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// The fingerprints of the greatest stretches.
    Start { nonce: [u8; 16], universe: u64, common: HeadsChange, fingerprints: Vec<u8> },
    /// Which of the last fingerprints differ, by their number, and those of the stretches within.
    Fingerprints { marks: Bits, fingerprints: Vec<u8> },
    /// Which of the last fingerprints differ, and the words of these stretches, one after the other.
    Words { marks: Bits, words: Bits },
    /// The words of everything, since a fingerprint collided.
    Whole { words: Bits },
    /// What is alive on one side only.
    Difference { dots: Bits },
}

const START: u8 = 1;
const FINGERPRINTS: u8 = 2;
const WORDS: u8 = 3;
const WHOLE: u8 = 4;
const DIFFERENCE: u8 = 5;
const CHECK: u8 = 0x80;

impl Turn {
    /// The turn as bytes, the same for the same turn.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let kind = match &self.says {
            Says::Start { .. } => START,
            Says::Fingerprints { .. } => FINGERPRINTS,
            Says::Words { .. } => WORDS,
            Says::Whole { .. } => WHOLE,
            Says::Difference { .. } => DIFFERENCE,
        };
        out.push(kind | self.check.map_or(0, |_| CHECK));
        if let Says::Start { nonce, universe, common, .. } = &self.says {
            out.extend(nonce);
            out.extend(universe.to_le_bytes());
            write_change(&mut out, common);
        }
        out.extend(self.check.iter().flat_map(|check| check.to_le_bytes()));
        match &self.says {
            Says::Start { fingerprints, .. } => write_bytes(&mut out, fingerprints),
            Says::Fingerprints { marks, fingerprints } => {
                marks.write(&mut out);
                write_bytes(&mut out, fingerprints);
            }
            Says::Words { marks, words } => {
                marks.write(&mut out);
                words.write(&mut out);
            }
            Says::Whole { words: bits } | Says::Difference { dots: bits } => bits.write(&mut out),
        }
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Any other bytes are an error, found within thirty-two times their
    /// size in memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let kind = cursor.byte()?;
        let start = match kind & !CHECK {
            START => Some((cursor.array()?, u64::from_le_bytes(cursor.array()?), read_change(&mut cursor)?)),
            _ => None,
        };
        let check = match kind & CHECK {
            0 => None,
            _ => Some(u128::from_le_bytes(cursor.array()?)),
        };
        let says = match (kind & !CHECK, start) {
            (START, Some((nonce, universe, common))) => {
                Says::Start { nonce, universe, common, fingerprints: cursor.bytes()?.to_vec() }
            }
            (FINGERPRINTS, _) => {
                Says::Fingerprints { marks: cursor.with(Bits::read)?, fingerprints: cursor.bytes()?.to_vec() }
            }
            (WORDS, _) => Says::Words { marks: cursor.with(Bits::read)?, words: cursor.with(Bits::read)? },
            (WHOLE, _) => Says::Whole { words: cursor.with(Bits::read)? },
            (DIFFERENCE, _) => Says::Difference { dots: cursor.with(Bits::read)? },
            _ => return Err(DecodeError::Malformed("a turn that says nothing known")),
        };
        cursor.end()?;
        let turn = Self { check, says };
        match turn.to_bytes() == bytes {
            true => Ok(turn),
            false => Err(DecodeError::NotCanonical),
        }
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_number(out, bytes.len() as u64);
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Dot;

    fn changes() -> impl Strategy<Value = HeadsChange> {
        let dot =
            (any::<[u8; 10]>(), 1u64..1 << 53).prop_map(|(writer, counter)| Dot { writer: writer.into(), counter });
        (prop::collection::btree_set(0u64..50, 0..5), prop::collection::vec(dot, 0..5))
            .prop_map(|(gone, come)| HeadsChange { gone: gone.into_iter().collect(), come })
    }

    fn turns() -> impl Strategy<Value = Turn> {
        let bits = || prop::collection::btree_set(0u64..2000, 0..200).prop_map(Bits::from_numbers);
        let bytes = || prop::collection::vec(any::<u8>(), 0..200);
        let says = prop_oneof![
            (any::<[u8; 16]>(), any::<u64>(), changes(), bytes()).prop_map(
                |(nonce, universe, common, fingerprints)| { Says::Start { nonce, universe, common, fingerprints } }
            ),
            (bits(), bytes()).prop_map(|(marks, fingerprints)| Says::Fingerprints { marks, fingerprints }),
            (bits(), bits()).prop_map(|(marks, words)| Says::Words { marks, words }),
            bits().prop_map(|words| Says::Whole { words }),
            bits().prop_map(|dots| Says::Difference { dots }),
        ];
        (any::<Option<u128>>(), says).prop_map(|(check, says)| Turn { check, says })
    }

    proptest! {
        #[test]
        fn turns_survive_and_no_part_of_one_is_one(turn in turns(), at: prop::sample::Index) {
            let bytes = turn.to_bytes();
            prop_assert_eq!(Turn::from_bytes(&bytes), Ok(turn));
            prop_assert!(Turn::from_bytes(&bytes[..at.index(bytes.len())]).is_err());
            let longer = [&bytes[..], &[0]].concat();
            prop_assert_eq!(Turn::from_bytes(&longer), Err(DecodeError::Trailing(1)));
        }

        #[test]
        fn damaged_bytes_are_an_error_or_their_own_turn(turn in turns(), at: prop::sample::Index, byte: u8) {
            let mut bytes = turn.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(turn) = Turn::from_bytes(&bytes) {
                prop_assert_eq!(turn.to_bytes(), bytes);
            }
        }

        #[test]
        fn any_bytes_are_a_turn_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(turn) = Turn::from_bytes(&bytes) {
                prop_assert_eq!(turn.to_bytes(), bytes);
            }
        }
    }
}
