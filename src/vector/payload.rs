//! A vector as a payload, and what is none. The layout stands at the top of this module.

use crate::kernel::{Payload, PayloadRef};
use crate::kinds::payload::VECTOR;
use crate::vector::spelling::{Numbers, Precision};

/// The flag that a hash of the text follows.
const HAS_TEXT: u8 = 1;

/// Precision, flags, hash, scale.
pub(super) const MAX_HEADER_LEN: usize = 2 + 16 + 4;

pub(super) fn encode(text: Option<u128>, numbers: Numbers<'_>) -> Payload {
    let mut bytes = Vec::with_capacity(MAX_HEADER_LEN + numbers.bytes.len());
    bytes.extend([numbers.precision.to_byte(), if text.is_some() { HAS_TEXT } else { 0 }]);
    bytes.extend(text.iter().flat_map(|hash| hash.to_be_bytes()));
    if numbers.precision == Precision::I8 {
        bytes.extend(numbers.scale.to_le_bytes());
    }
    bytes.extend_from_slice(numbers.bytes);
    Payload::new(VECTOR, &bytes)
}

/// The hash and the numbers of a vector of this dimension, if the payload spells one as [`encode`] would.
pub(super) fn decode<'a>(payload: impl Into<PayloadRef<'a>>, dimension: usize) -> Option<(Option<u128>, Numbers<'a>)> {
    let payload = payload.into();
    if payload.kind() != VECTOR {
        return None;
    }
    let (&[precision, flags], rest) = payload.bytes().split_first_chunk()?;
    let precision = Precision::from_byte(precision)?;
    let (text, rest) = match flags {
        0 => (None, rest),
        HAS_TEXT => rest.split_first_chunk().map(|(hash, rest)| (Some(u128::from_be_bytes(*hash)), rest))?,
        _ => return None,
    };
    let (scale, bytes) = match precision {
        Precision::I8 => rest.split_first_chunk().map(|(scale, rest)| (f32::from_le_bytes(*scale), rest))?,
        _ => (1.0, rest),
    };
    let numbers = Numbers { precision, scale, bytes };
    let fits = dimension > 0 && dimension.checked_mul(precision.size()) == Some(bytes.len());
    (fits && numbers.are_canonical()).then_some((text, numbers))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vector::Vector;

    fn vector() -> impl Strategy<Value = Vector> {
        let number = prop_oneof![
            4 => -2.0f32..2.0,
            1 => prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO,
            1 => prop::sample::select(vec![0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1)]),
        ];
        (prop::collection::vec(number, 1..40), 0..3, any::<Option<String>>()).prop_map(|(numbers, which, text)| {
            let vector = match which {
                0 => Vector::f32(&numbers),
                1 => Vector::f16(&numbers.iter().map(|n| n.clamp(-65504.0, 65504.0)).collect::<Vec<_>>()),
                _ => Vector::i8(&numbers),
            };
            let vector = vector.unwrap();
            if let Some(text) = text { vector.of_text(&text) } else { vector }
        })
    }

    /// Never panics; and what it reads, it writes in the same bytes.
    fn check(bytes: &[u8], dimension: usize) -> Result<bool, TestCaseError> {
        let payload = Payload::new(VECTOR, bytes);
        let Some((text, numbers)) = decode(&payload, dimension) else { return Ok(false) };
        prop_assert_eq!(&encode(text, numbers), &payload);
        // Made again from its numbers it is the same vector: no two payloads spell one.
        let values: Vec<f32> = numbers.iter().collect();
        prop_assert_eq!(values.len(), dimension);
        let again = match numbers.precision {
            Precision::F32 => Vector::f32(&values),
            Precision::F16 => Vector::f16(&values),
            Precision::I8 => Vector::i8(&values),
        };
        let again = again.unwrap();
        prop_assert_eq!(encode(text, again.numbers()), payload);
        Ok(true)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn what_a_writer_makes_is_read_as_it_was_made(vector in vector()) {
            let payload = vector.to_payload();
            prop_assert!(check(payload.bytes(), vector.dimension())?);
            prop_assert!(!check(payload.bytes(), vector.dimension() + 1)?);
            let (text, numbers) = decode(&payload, vector.dimension()).unwrap();
            prop_assert_eq!(text, vector.text_hash());
            prop_assert_eq!(numbers.iter().collect::<Vec<_>>(), vector.to_vec());
        }

        #[test]
        fn any_bytes_are_a_vector_in_the_one_spelling_or_none(
            head in (0u8..5, 0u8..3),
            tail in prop::collection::vec(prop::sample::select(vec![0u8, 1, 0x3c, 0x7f, 0x80, 0x81, 0xff]), 0..50),
            dimension in 0usize..20,
        ) {
            let bytes: Vec<u8> = [head.0, head.1].into_iter().chain(tail).collect();
            for len in 0..=bytes.len() {
                check(&bytes[..len], dimension)?;
            }
        }

        #[test]
        fn a_changed_vector_is_another_in_the_one_spelling_or_none(
            vector in vector(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = vector.to_payload().bytes().to_vec();
            for (at, mask) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
            check(&bytes, vector.dimension())?;
            check(&bytes[..cut.index(bytes.len())], vector.dimension())?;
            bytes.push(0);
            check(&bytes, vector.dimension())?;
        }
    }
}
