//! The contents of a delta's writes, in one column for each field and [form](Form).
//!
//! | form | contents | spelling in the column |
//! |---|---|---|
//! | empty | of any kind, without bytes | nothing |
//! | bytes | of any kind | a number below 8: the place of an equal content among the last eight distinct ones, the latest first. 73: the latest with another [number at its end](texts::split_digits), as a difference from its own. Else 8 plus the length of the prefix shared with the latest (at most 64), then the remaining bytes after their length |
//! | number | whole numbers of 64 bits | the difference from the number before |
//! | whole | floats without a fraction, below 2⁵³ | the same |
//! | short | other floats that end in two zero bytes or more | the bytes before these: one to six, as the form says |
//! | fixed | other floats | their eight bytes |
//! | ends | roots of edges whose type has at most 64 bytes | of open ends, the byte that says which; source, target, number; the type, as bytes are spelled |
//!
//! An end is spelled as the place of a part of the delta, plus one: for a source as the difference from the source before, for a
//! target as the difference from its source. If no part is about that node, the end is 0 and the sixteen bytes of its id.
//!
//! | file | idea |
//! |---|---|
//! | `texts` | bytes, told from those that came before |
//! | `write`, `read` | all columns of a delta |

mod read;
mod texts;
mod write;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::bugs::{Bug, is};
use crate::codec::error::DecodeError;
use crate::kernel::{Delta, Payload};
use crate::kinds::entity::{EDGE, NODE};
use crate::kinds::payload::{ENDS, FLOAT, INT, OPEN_ENDS};
use crate::numbers;

pub(super) use read::ReadContents;
pub(super) use texts::{Read, Written};
pub(super) use write::WriteContents;

/// Longest prefix that two contents share, and longest type of an edge in the form of ends, in bytes: a few bytes of a message
/// never stand for more.
pub(super) const MAX_SHARED_LEN: usize = 64;

/// Whole numbers below this are exact in a float.
const EXACT: f64 = (1u64 << 53) as f64;

/// The spelling of a content: its kind, and what its bytes allow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Form {
    Tombstone,
    Empty(u8),
    Bytes(u8),
    Number,
    Whole,
    /// The number of bytes before the zeros.
    Short(u8),
    Fixed,
    Ends(u8),
}

impl Form {
    pub(super) fn of(payload: Option<&Payload>) -> Self {
        let Some(payload) = payload else { return Self::Tombstone };
        let (kind, bytes) = (payload.kind(), payload.bytes());
        match kind {
            _ if bytes.is_empty() => Self::Empty(kind),
            INT if number_of(bytes).is_some() => Self::Number,
            FLOAT => match <[u8; 8]>::try_from(bytes) {
                Ok(bytes) if whole_of(bytes).is_some() => Self::Whole,
                Ok(bytes) => short_len(bytes).map_or(Self::Fixed, Self::Short),
                Err(_) => Self::Bytes(FLOAT),
            },
            ENDS | OPEN_ENDS if ends_of(payload).is_some() => Self::Ends(kind),
            _ => Self::Bytes(kind),
        }
    }

    pub(super) fn code(self) -> u64 {
        let (kind, class) = match self {
            Self::Tombstone => return 0,
            Self::Short(len) => return SHORT + u64::from(len),
            Self::Empty(kind) => (kind, 0),
            Self::Bytes(kind) => (kind, 1),
            Self::Number => (INT, 2),
            Self::Whole => (FLOAT, 2),
            Self::Fixed => (FLOAT, 3),
            Self::Ends(kind) => (kind, 2),
        };
        let kind = if is(Bug::KindLost) && class < 2 { 0 } else { kind };
        1 + u64::from(kind) * 4 + class
    }

    pub(super) fn of_code(code: u64) -> Result<Self, DecodeError> {
        let Some(code) = code.checked_sub(1) else { return Ok(Self::Tombstone) };
        if let Some(len) = (code + 1).checked_sub(SHORT).filter(|len| SHORT_LENS.contains(len)) {
            return Ok(Self::Short(len as u8));
        }
        let kind = u8::try_from(code / 4).map_err(|_| DecodeError::Malformed("a kind past 255"))?;
        Ok(match (code % 4, kind) {
            (0, _) => Self::Empty(kind),
            (1, _) => Self::Bytes(kind),
            (2, INT) => Self::Number,
            (2, FLOAT) => Self::Whole,
            (3, FLOAT) => Self::Fixed,
            (2, ENDS | OPEN_ENDS) => Self::Ends(kind),
            _ => return Err(DecodeError::Malformed("a content of an unknown form")),
        })
    }

    pub(super) fn has_column(self) -> bool {
        !matches!(self, Self::Tombstone | Self::Empty(_))
    }
}

/// The number that big-endian bytes spell, if they are the fewest that do.
fn number_of(bytes: &[u8]) -> Option<i64> {
    let (first, rest) = bytes.split_first()?;
    let sign = if first & 0x80 == 0 { 0 } else { 0xff };
    let is_shortest = rest.first().is_none_or(|second| *first != sign || (second ^ sign) & 0x80 != 0);
    let mut number = [sign; 8];
    number.get_mut(8usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    is_shortest.then(|| i64::from_be_bytes(number))
}

/// The fewest bytes of a number.
fn number_payload(number: i64) -> Payload {
    let bytes = number.to_be_bytes();
    // The sign takes one bit.
    let needed = 64 - (if number < 0 { !number } else { number }).leading_zeros() + 1;
    Payload::new(INT, &bytes[8 - needed.div_ceil(8) as usize..])
}

fn whole_of(bytes: [u8; 8]) -> Option<i64> {
    let float = f64::from_be_bytes(bytes);
    // −0 is another float than 0.
    (float.abs() < EXACT && (float as i64 as f64).to_bits() == float.to_bits()).then_some(float as i64)
}

/// The code of the form of short floats of no byte: past all that kinds have.
const SHORT: u64 = 1 + 4 * 256;

/// The lengths of short floats.
const SHORT_LENS: std::ops::RangeInclusive<u64> = 1..=6;

/// The number of bytes of a float before the zeros that it ends in, if they are few.
fn short_len(bytes: [u8; 8]) -> Option<u8> {
    let len = 8 - u64::from(u64::from_be_bytes(bytes).trailing_zeros() / 8);
    SHORT_LENS.contains(&len).then_some(len as u8)
}

/// The ends of an edge, in the bytes of its root.
pub(super) struct Ends<'a> {
    /// The byte that says which ends were seen, in open ends.
    open: Option<u8>,
    pub(super) source: &'a [u8; 16],
    pub(super) target: &'a [u8; 16],
    pub(super) number: u64,
    pub(super) edge_type: &'a [u8],
}

/// The ends that a payload spells. `None` if its type is too long to be told in few bytes.
pub(super) fn ends_of(payload: &Payload) -> Option<Ends<'_>> {
    let (open, rest) = match payload.kind() {
        ENDS => (None, payload.bytes()),
        OPEN_ENDS => payload.bytes().split_first().map(|(open, rest)| (Some(*open), rest))?,
        _ => return None,
    };
    let (source, rest) = rest.split_first_chunk()?;
    let (target, rest) = rest.split_first_chunk()?;
    let (number, edge_type) = rest.split_first_chunk()?;
    let ends = Ends { open, source, target, number: u64::from_be_bytes(*number), edge_type };
    (edge_type.len() <= MAX_SHARED_LEN).then_some(ends)
}

/// Reads a difference.
pub(super) fn unzigzag(number: u64) -> i64 {
    let number = numbers::unzigzag(number);
    if is(Bug::SignLost) { number.wrapping_abs() } else { number }
}

/// The number that is so far from another, modulo 2⁶⁴.
pub(super) fn at_distance(number: u64, difference: i64) -> u64 {
    match is(Bug::Saturates) {
        true => number.saturating_add_signed(difference),
        false => number.wrapping_add(difference as u64),
    }
}

/// Places of nodes among the parts, in the order of the wire. Empty if no edge needs them.
pub(super) struct Places(HashMap<u128, u32, Folding>);

impl Places {
    /// `order` are all parts.
    pub(super) fn of(delta: &Delta, order: impl Iterator<Item = usize>) -> Self {
        let mut places = HashMap::with_hasher(Folding::default());
        if delta.parts.iter().any(|part| part.entity.kind() == EDGE) {
            let entities = order.map(|i| delta.parts[i].entity);
            let nodes = entities.zip(0..).filter(|(entity, _)| entity.kind() == NODE);
            places.extend(nodes.map(|(entity, place)| (u128::from_ne_bytes(*entity.id()), place)));
        }
        Self(places)
    }

    fn get(&self, id: &[u8; 16]) -> Option<u32> {
        self.0.get(&u128::from_ne_bytes(*id)).copied()
    }
}

/// Hashes an id by one multiplication of its halves, each mixed with a random key: ids are hashes as a rule, and the keys keep
/// a stranger from choosing ids that collide.
struct Folding([u64; 2]);

impl Default for Folding {
    fn default() -> Self {
        let random = RandomState::new();
        Self([random.hash_one(0u8), random.hash_one(1u8)])
    }
}

impl BuildHasher for Folding {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { keys: self.0, hash: 0 }
    }
}

struct Folded {
    keys: [u64; 2],
    hash: u64,
}

impl Hasher for Folded {
    fn write_u128(&mut self, id: u128) {
        let [a, b] = [id as u64 ^ self.keys[0], (id >> 64) as u64 ^ self.keys[1]];
        let product = u128::from(a) * u128::from(b);
        self.hash ^= product as u64 ^ (product >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u128((*byte).into()));
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

/// The number of a column, or [`NONE`](Self::NONE) for contents that take no bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ColumnNumber(u32);

impl ColumnNumber {
    const NONE: Self = Self(u32::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::zigzag;

    #[test]
    fn a_number_has_the_fewest_bytes_that_spell_it() {
        for number in [0, 1, -1, 127, 128, -128, -129, 255, 256, 32_767, 32_768, 1 << 40, i64::MAX, i64::MIN] {
            let payload = number_payload(number);
            assert_eq!(number_of(payload.bytes()), Some(number), "{number}");
            assert_eq!(Form::of(Some(&payload)), Form::Number);
            let longer = [&[if number < 0 { 0xff } else { 0 }][..], payload.bytes()].concat();
            assert_eq!(number_of(&longer), None, "{number}");
        }
        assert_eq!(number_of(&[]), None);
        assert_eq!(number_of(&[0, 0xff, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn floats_that_are_not_whole_keep_their_bits() {
        let form = |float: f64| Form::of(Some(&Payload::new(FLOAT, &float.to_be_bytes())));
        for whole in [0.0, 1.0, -3.0, EXACT - 1.0, 1.0 - EXACT] {
            assert_eq!(form(whole), Form::Whole, "{whole}");
        }
        for (other, len) in
            [(-0.0, 1), (0.5, 2), (-0.25, 2), (1234.75, 3), (EXACT, 2), (f64::NAN, 2), (f64::MIN_POSITIVE, 2)]
        {
            assert_eq!(form(other), Form::Short(len), "{other}");
        }
        let with_last_byte =
            |place: u32| f64::from_bits(0.1f64.to_bits() >> (8 * place) << (8 * place) | 1 << (8 * place));
        assert_eq!(
            [0, 1, 2, 3].map(|place| form(with_last_byte(place))),
            [Form::Fixed, Form::Fixed, Form::Short(6), Form::Short(5)]
        );
        assert_eq!(form(0.1), Form::Fixed);
        assert_eq!(Form::of(Some(&Payload::new(FLOAT, &[1]))), Form::Bytes(FLOAT));
    }

    #[test]
    fn every_form_has_a_code_of_its_own() {
        let forms = (0..=255).flat_map(|kind| [Form::Empty(kind), Form::Bytes(kind)]);
        let forms = forms.chain((1..=6).map(Form::Short));
        let others = [Form::Tombstone, Form::Number, Form::Whole, Form::Fixed, Form::Ends(ENDS), Form::Ends(OPEN_ENDS)];
        let forms: Vec<_> = forms.chain(others).collect();
        let mut codes: Vec<_> = forms.iter().map(|form| form.code()).collect();
        assert!(forms.iter().zip(&codes).all(|(form, code)| Form::of_code(*code) == Ok(*form)));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), forms.len());
        assert!([SHORT, SHORT + 7].iter().all(|code| Form::of_code(*code).is_err()));
    }

    #[test]
    fn signs_survive_zigzag() {
        for number in [0, 1, -1, 64, -64, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(number)), number);
        }
        assert_eq!([0, -1, 1, -2, 2].map(zigzag), [0, 1, 2, 3, 4]);
    }
}
