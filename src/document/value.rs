//! Scalar values and how they are spelled in payloads.

use std::cmp::Ordering;
use std::fmt;

use crate::document::array::Array;
use crate::document::nested::Nested;
use crate::document::place::PlaceRef;
use crate::error::EditError;
use crate::escape::Escaped;
use crate::kernel::{Payload, PayloadRef};
pub(crate) use crate::kinds::payload as kind;

/// The content of one cell of a document: a scalar or an array. Borrowed from the state when read, from the caller when
/// written; [`to_json`](Self::to_json) makes one to keep.
///
/// ```
/// use driftless::Value;
/// assert_eq!(Value::from("Ada"), Value::Str("Ada"));
/// assert_eq!(Value::from(1815).as_int(), Some(1815));
/// // Numbers keep their type: 1 and 1.0 are two different values.
/// assert_ne!(Value::from(1), Value::from(1.0));
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Value<'a> {
    /// An explicit null.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number beyond [`i64::MAX`]; a smaller one is stored as [`Int`](Self::Int).
    Uint(u64),
    /// Any other finite number; −0 is stored as 0.
    Float(f64),
    /// Text, compared byte by byte: normalise Unicode before, if that matters.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// An array: one value, replaced as a whole. Written by [`Properties::update`](crate::PropertiesMut::update) or copied
    /// from where it was read.
    Array(Array<'a>),
    /// A kind that this version does not know: kept and sent on as it is, and not for writing.
    Unknown {
        /// Its kind.
        kind: u8,
        /// Its bytes.
        bytes: &'a [u8],
    },
}

impl<'a> Value<'a> {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&'a str> {
        if let Self::Str(text) = self { Some(text) } else { None }
    }

    /// The whole number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The whole number, if it is one that is not negative.
    pub fn as_uint(&self) -> Option<u64> {
        match self {
            Self::Int(number) => (*number).try_into().ok(),
            Self::Uint(number) => Some(*number),
            _ => None,
        }
    }

    /// The array, if it is one.
    pub fn as_array(&self) -> Option<Array<'a>> {
        if let Self::Array(array) = self { Some(*array) } else { None }
    }

    /// The number, if it is one; a whole one is converted, rounding past 2⁵³.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Uint(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The bytes, if it is bytes.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// Returns whether the value is an explicit null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A value to keep, as JSON has it: bytes become an array of numbers, a kind of a later version null.
    pub fn to_json(&self) -> serde_json::Value {
        self.to_nested().into_json()
    }

    pub(crate) fn to_nested(self) -> Nested {
        match self {
            Self::Null | Self::Unknown { .. } => Nested::Null,
            Self::Bool(value) => Nested::Bool(value),
            Self::Int(number) => Nested::Int(number),
            Self::Uint(number) => Nested::Uint(number),
            Self::Float(number) => Nested::Float(number),
            Self::Str(text) => Nested::Str(text.to_owned()),
            Self::Bytes(bytes) => Nested::Bytes(bytes.to_owned()),
            Self::Array(array) => Nested::from_bytes(array.bytes()).unwrap_or(Nested::Null),
        }
    }

    /// A total order over all values: null, then false, true, numbers by what they count (of equal ones the whole number
    /// first), texts and bytes by their bytes, arrays, kinds of later versions.
    pub fn total_cmp(&self, other: &Self) -> Ordering {
        let by_number = |whole: i128, float: f64| match (whole as f64).total_cmp(&float) {
            // The float is whole here, so nothing is lost.
            Ordering::Equal => whole.cmp(&(float as i128)).then(Ordering::Less),
            unequal => unequal,
        };
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Float(a), _) if let Some(b) = other.as_whole() => by_number(b, *a).reverse(),
            (_, Self::Float(b)) if let Some(a) = self.as_whole() => by_number(a, *b),
            (Self::Str(a), Self::Str(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Array(a), Self::Array(b)) => a.bytes().cmp(b.bytes()),
            (Self::Unknown { kind: a, bytes: b }, Self::Unknown { kind: c, bytes: d }) => (a, b).cmp(&(c, d)),
            _ => (self.rank(), self.as_whole()).cmp(&(other.rank(), other.as_whole())),
        }
    }

    /// A payload whose order is that of the values ([`total_cmp`](Self::total_cmp)) and which is not decoded to compare. Of
    /// numbers and short texts it needs no allocation.
    pub(crate) fn sort_key(&self) -> Payload {
        let rank = self.rank();
        match *self {
            Self::Null => Payload::new(rank, &[]),
            Self::Bool(value) => Payload::new(rank, &[value.into()]),
            Self::Int(_) | Self::Uint(_) => Payload::new(rank, &number_key(self.as_whole().unwrap_or_default(), false)),
            Self::Float(number) => {
                let mut key = number_key(0, true);
                key[..8].copy_from_slice(&ordered(number + 0.0));
                Payload::new(rank, &key)
            }
            Self::Str(text) => Payload::new(rank, text.as_bytes()),
            Self::Bytes(bytes) => Payload::new(rank, bytes),
            Self::Array(array) => Payload::new(rank, array.bytes()),
            Self::Unknown { kind, bytes } => Payload::new(rank, &[&[kind], bytes].concat()),
        }
    }

    fn as_whole(&self) -> Option<i128> {
        match self {
            Self::Int(number) => Some((*number).into()),
            Self::Uint(number) => Some((*number).into()),
            _ => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) | Self::Uint(_) | Self::Float(_) => 2,
            Self::Str(_) => 3,
            Self::Bytes(_) => 4,
            Self::Array(_) => 5,
            Self::Unknown { .. } => 6,
        }
    }

    /// A sum as a value; past 64 bits as the nearest float.
    pub(crate) fn from_sum(sum: i128) -> Self {
        match (i64::try_from(sum), u64::try_from(sum)) {
            (Ok(number), _) => Self::Int(number),
            (_, Ok(number)) => Self::Uint(number),
            _ => Self::Float(sum as f64),
        }
    }

    /// The payload that spells this value, where it is not to be written but found.
    pub(crate) fn to_known_payload(self) -> Option<Payload> {
        match self {
            Self::Unknown { kind, bytes } => Some(Payload::new(kind, bytes)),
            value => value.to_payload().ok(),
        }
    }

    /// Equal values have equal payloads.
    pub(crate) fn to_payload(self) -> Result<Payload, Unwritable> {
        Ok(match self {
            Self::Null => Payload::new(kind::NULL, &[]),
            Self::Bool(false) => Payload::new(kind::FALSE, &[]),
            Self::Bool(true) => Payload::new(kind::TRUE, &[]),
            Self::Int(number) => Payload::new(kind::INT, shortest(&number.to_be_bytes())),
            Self::Uint(number) => {
                let mut bytes = [0; 9];
                bytes[1..].copy_from_slice(&number.to_be_bytes());
                Payload::new(kind::INT, shortest(&bytes))
            }
            Self::Float(number) if !number.is_finite() => return Err(Unwritable::NotFinite(number)),
            // Adding 0 turns −0 into 0 and nothing else into anything.
            Self::Float(number) => Payload::new(kind::FLOAT, &(number + 0.0).to_be_bytes()),
            Self::Str(text) => Payload::new(kind::STR, text.as_bytes()),
            Self::Bytes(bytes) => Payload::new(kind::BYTES, bytes),
            Self::Array(array) => Payload::new(kind::ARRAY, array.bytes()),
            Self::Unknown { kind, .. } => return Err(Unwritable::Unknown(kind)),
        })
    }

    pub(crate) fn from_payload(payload: impl Into<PayloadRef<'a>>) -> Self {
        let payload = payload.into();
        Self::from_parts(payload.kind(), payload.bytes())
    }

    /// Reads a value. Bytes that this version would spell otherwise read as unknown: else two payloads could be one value.
    pub(crate) fn from_parts(kind: u8, bytes: &'a [u8]) -> Self {
        let unknown = Self::Unknown { kind, bytes };
        match kind {
            kind::NULL if bytes.is_empty() => Self::Null,
            kind::FALSE if bytes.is_empty() => Self::Bool(false),
            kind::TRUE if bytes.is_empty() => Self::Bool(true),
            kind::INT if (1..=9).contains(&bytes.len()) && bytes == shortest(bytes) => {
                let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
                let mut number = [sign; 16];
                number[16 - bytes.len()..].copy_from_slice(bytes);
                let number = i128::from_be_bytes(number);
                match (i64::try_from(number), u64::try_from(number)) {
                    (Ok(number), _) => Self::Int(number),
                    (_, Ok(number)) => Self::Uint(number),
                    _ => unknown,
                }
            }
            kind::FLOAT => match bytes.try_into().map(f64::from_be_bytes) {
                Ok(number) if number.is_finite() && number.to_bits() != (-0.0f64).to_bits() => Self::Float(number),
                _ => unknown,
            },
            kind::STR => str::from_utf8(bytes).map(Self::Str).unwrap_or(unknown),
            kind::BYTES => Self::Bytes(bytes),
            kind::ARRAY => Array::of(bytes).map(Self::Array).unwrap_or(unknown),
            _ => unknown,
        }
    }
}

/// The bits of a number, sorting as numbers do.
fn ordered(number: f64) -> [u8; 8] {
    let bits = number.to_bits();
    let mask = if bits >> 63 == 0 { 1 << 63 } else { u64::MAX };
    (bits ^ mask).to_be_bytes()
}

/// The nearest float of a whole number, how far the number is from it (1,024 at most), and whether it is a float: one comes
/// after the whole number that it equals.
fn number_key(whole: i128, is_float: bool) -> [u8; 11] {
    let nearest = whole as f64;
    let distance = (whole - nearest as i128) as i16;
    let mut key = [0; 11];
    key[..8].copy_from_slice(&ordered(nearest));
    key[8..10].copy_from_slice(&(distance as u16 ^ 1 << 15).to_be_bytes());
    key[10] = is_float.into();
    key
}

/// A payload that sorts as its value does: see [`Value::total_cmp`].
#[derive(PartialEq, Eq)]
pub(crate) struct ByValue(pub(crate) Payload);

impl ByValue {
    /// Returns whether this version can read the payload.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(Value::from_payload(&self.0), Value::Unknown { .. })
    }
}

impl Ord for ByValue {
    fn cmp(&self, other: &Self) -> Ordering {
        Value::from_payload(&self.0).total_cmp(&Value::from_payload(&other.0))
    }
}

impl PartialOrd for ByValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The reason why a value cannot be written.
#[derive(Debug)]
pub(crate) enum Unwritable {
    NotFinite(f64),
    Unknown(u8),
}

impl Unwritable {
    pub(crate) fn at(self, place: PlaceRef<'_>) -> EditError {
        match self {
            Self::NotFinite(value) => {
                EditError::NotFinite { path: place.path().unwrap_or_default().to_string(), value }
            }
            Self::Unknown(kind) => EditError::UnknownKind(kind),
        }
    }
}

/// A big-endian number without the leading bytes that only repeat its sign.
fn shortest(bytes: &[u8]) -> &[u8] {
    let redundant =
        |pair: &[u8]| matches!(pair, [0, next] if next & 0x80 == 0) || matches!(pair, [0xff, next] if next & 0x80 != 0);
    &bytes[bytes.windows(2).take_while(|pair| redundant(pair)).count()..]
}

macro_rules! value_from {
    ($($from:ty => |$name:ident| $value:expr),* $(,)?) => {$(
        impl<'a> From<$from> for Value<'a> {
            fn from($name: $from) -> Self {
                $value
            }
        }
    )*};
}

value_from! {
    () => |_unit| Value::Null,
    bool => |value| Value::Bool(value),
    i64 => |number| Value::Int(number),
    u64 => |number| i64::try_from(number).map_or(Value::Uint(number), Value::Int),
    usize => |number| Value::from(number as u64),
    i32 => |number| Value::Int(number.into()),
    u32 => |number| Value::Int(number.into()),
    u16 => |number| Value::Int(number.into()),
    u8 => |number| Value::Int(number.into()),
    i16 => |number| Value::Int(number.into()),
    i8 => |number| Value::Int(number.into()),
    f64 => |number| Value::Float(number),
    f32 => |number| Value::Float(number.into()),
    &'a str => |text| Value::Str(text),
    &'a String => |text| Value::Str(text),
    &'a [u8] => |bytes| Value::Bytes(bytes),
    &'a Vec<u8> => |bytes| Value::Bytes(bytes),
    Array<'a> => |array| Value::Array(array),
}

/// Much as JSON writes it; bytes and unknown kinds in hexadecimal.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(number) => number.fmt(f),
            Self::Uint(number) => number.fmt(f),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Str(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => write!(f, "0x{}", hex(bytes)),
            Self::Array(array) => Escaped(array.to_json()).fmt(f),
            Self::Unknown { kind, bytes } => write!(f, "kind {kind}: 0x{}", hex(bytes)),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whole_numbers_survive_in_few_bytes(number: i64, shift in 0u32..64) {
            let number = number >> shift;
            let payload = Value::Int(number).to_payload().unwrap();
            prop_assert_eq!(Value::from_payload(&payload), Value::Int(number));
            let bits = 65 - (if number < 0 { !number } else { number }).leading_zeros();
            prop_assert_eq!(payload.bytes().len(), bits.div_ceil(8) as usize);
        }

        #[test]
        fn the_order_of_numbers_is_that_of_what_they_count(a: i64, b: i64, shift in 0u32..64, f in -1e19f64..1e19) {
            let (a, b) = (a >> shift, b >> shift);
            prop_assert_eq!(Value::Int(a).total_cmp(&Value::Int(b)), a.cmp(&b));
            let order = Value::Int(a).total_cmp(&Value::Float(f));
            let exact = i128::from(a).cmp(&(f.floor() as i128));
            let expected = exact.then(Ordering::Less);
            prop_assert_eq!(order, expected);
            prop_assert_eq!(Value::Float(f).total_cmp(&Value::Int(a)), order.reverse());
        }

        #[test]
        fn keys_sort_as_values_do(
            a: i64, b: u64, shift in 0u32..64, near in -3i64..3, f in prop::num::f64::NORMAL, text in "[a-c\0]{0,3}", flag: bool,
        ) {
            let whole = (a >> shift).saturating_add(near);
            let values = [
                Value::Null, Value::Bool(flag), Value::Bool(true), Value::Int(a >> shift), Value::Int(whole),
                Value::from(b >> shift), Value::from((b >> shift).saturating_add_signed(near)),
                Value::Float((a >> shift) as f64), Value::Float((b >> shift) as f64), Value::Float(f), Value::Float(-0.0),
                Value::Float(0.0), Value::Int(0), Value::Str(&text), Value::Str("b"), Value::Bytes(text.as_bytes()),
                Value::Unknown { kind: 9, bytes: text.as_bytes() }, Value::Unknown { kind: 10, bytes: b"" },
            ];
            for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (a, b))) {
                // The order tells −0 from 0, which is never stored; here they are one.
                let is_minus = |value: &Value<'_>| matches!(value, Value::Float(n) if n.to_bits() == (-0.0f64).to_bits());
                if !is_minus(a) && !is_minus(b) {
                    prop_assert_eq!(a.sort_key().cmp(&b.sort_key()), a.total_cmp(b), "{} {}", a, b);
                }
            }
            prop_assert_eq!(Value::Float(-0.0).sort_key(), Value::Float(0.0).sort_key());
        }

        #[test]
        fn foreign_payloads_read_as_what_they_spell_or_as_unknown(
            kind in 0u8..20,
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..12),
                prop::collection::vec(prop::sample::select(vec![0u8, 1, 0x7f, 0x80, 0xf0, 0xff]), 8..10),
                // Arrays, whole and broken.
                prop::collection::vec(prop::sample::select(vec![0x90u8, 0x91, 0x92, 0x81, 0xa1, b'a', 0xc0, 1]), 1..8),
            ],
        ) {
            let payload = Payload::new(kind, &bytes);
            let value = Value::from_payload(&payload);
            let _ = value.to_string();
            let unknown = matches!(value, Value::Unknown { .. });
            prop_assert!(unknown || value.to_payload().unwrap() == payload, "{value:?}");
        }
    }

    #[test]
    fn minus_zero_is_zero_and_nan_is_refused() {
        assert_eq!(Value::from(-0.0).to_payload().unwrap(), Value::from(0.0).to_payload().unwrap());
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(Value::from(number).to_payload(), Err(Unwritable::NotFinite(_))));
        }
    }

    #[test]
    fn every_value_survives() {
        for value in [
            Value::Null,
            true.into(),
            u64::MAX.into(),
            (1u64 << 63).into(),
            i64::MIN.into(),
            false.into(),
            1.5.into(),
            "é".into(),
            Value::Bytes(&[0, 255]),
        ] {
            let payload = value.to_payload().unwrap();
            assert_eq!(Value::from_payload(&payload), value);
        }
    }
}
