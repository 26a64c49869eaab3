//! Scalar values and how they are spelled in payloads.

use std::fmt;

use crate::error::EditError;
use crate::kernel::Payload;

/// Kinds of payloads. The numbers are part of the format.
pub(crate) mod kind {
    pub(crate) const NULL: u8 = 1;
    pub(crate) const FALSE: u8 = 2;
    pub(crate) const TRUE: u8 = 3;
    pub(crate) const INT: u8 = 4;
    pub(crate) const FLOAT: u8 = 5;
    pub(crate) const STR: u8 = 6;
    pub(crate) const BYTES: u8 = 7;
    /// Presence alone: the root of a node, a label.
    pub(crate) const UNIT: u8 = 16;
    /// The root of a node that was added by name.
    pub(crate) const NAME: u8 = 17;
    /// The root of an edge: its ends, number and type.
    pub(crate) const ENDS: u8 = 18;
}

/// A scalar: what a property holds. Borrowed from the state when read, from the caller when written.
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
    /// Nothing, said explicitly.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other finite number; −0 is stored as 0.
    Float(f64),
    /// Text, compared byte by byte: normalise Unicode before, if that matters.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
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

    /// The number, if it is one; a whole one is converted, rounding past 2⁵³.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
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

    /// Whether it is an explicit null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Equal values have equal payloads.
    pub(crate) fn to_payload(self) -> Result<Payload, EditError> {
        Ok(match self {
            Self::Null => Payload::new(kind::NULL, &[]),
            Self::Bool(false) => Payload::new(kind::FALSE, &[]),
            Self::Bool(true) => Payload::new(kind::TRUE, &[]),
            Self::Int(number) => Payload::new(kind::INT, shortest(&number.to_be_bytes())),
            Self::Float(number) if !number.is_finite() => return Err(EditError::NotFinite(number)),
            // Adding 0 turns −0 into 0 and nothing else into anything.
            Self::Float(number) => Payload::new(kind::FLOAT, &(number + 0.0).to_be_bytes()),
            Self::Str(text) => Payload::new(kind::STR, text.as_bytes()),
            Self::Bytes(bytes) => Payload::new(kind::BYTES, bytes),
            Self::Unknown { kind, .. } => return Err(EditError::UnknownKind(kind)),
        })
    }

    /// What is not spelled as this version spells it reads as unknown: else two payloads could be one value.
    pub(crate) fn from_payload(payload: &'a Payload) -> Self {
        let bytes = payload.bytes();
        let unknown = Self::Unknown { kind: payload.kind(), bytes };
        match payload.kind() {
            kind::NULL if bytes.is_empty() => Self::Null,
            kind::FALSE if bytes.is_empty() => Self::Bool(false),
            kind::TRUE if bytes.is_empty() => Self::Bool(true),
            kind::INT if (1..=8).contains(&bytes.len()) && bytes == shortest(bytes) => {
                let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
                let mut number = [sign; 8];
                number[8 - bytes.len()..].copy_from_slice(bytes);
                Self::Int(i64::from_be_bytes(number))
            }
            kind::FLOAT => match bytes.try_into().map(f64::from_be_bytes) {
                Ok(number) if number.is_finite() && number.to_bits() != (-0.0f64).to_bits() => Self::Float(number),
                _ => unknown,
            },
            kind::STR => str::from_utf8(bytes).map(Self::Str).unwrap_or(unknown),
            kind::BYTES => Self::Bytes(bytes),
            _ => unknown,
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
}

/// Much as JSON writes it; bytes and unknown kinds in hexadecimal.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Str(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => write!(f, "0x{}", hex(bytes)),
            Self::Unknown { kind, bytes } => write!(f, "kind {kind}: 0x{}", hex(bytes)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
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
        fn foreign_payloads_read_as_what_they_spell_or_as_unknown(
            kind in 0u8..20,
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..12),
                prop::collection::vec(prop::sample::select(vec![0u8, 1, 0x7f, 0x80, 0xf0, 0xff]), 8),
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
            assert!(matches!(Value::from(number).to_payload(), Err(EditError::NotFinite(_))));
        }
    }

    #[test]
    fn every_value_survives() {
        for value in [Value::Null, true.into(), false.into(), 1.5.into(), "é".into(), Value::Bytes(&[0, 255])] {
            let payload = value.to_payload().unwrap();
            assert_eq!(Value::from_payload(&payload), value);
        }
    }
}
