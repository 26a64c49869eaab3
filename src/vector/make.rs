//! From a caller's numbers to a vector that can be written.

use std::fmt;

use half::f16;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::VectorError;
use crate::kernel::Payload;
use crate::vector::model::check_dimension;
use crate::vector::payload;
use crate::vector::quantise;
use crate::vector::spelling::{Numbers, Precision};

/// A vector, checked and spelled, to be written with [`Edit::embed`](crate::Edit::embed).
///
/// It is rounded here, once, by whoever writes it. The bytes are then the value: every replica holds the same ones, and
/// nothing rounds them again. Making a vector from what was read gives the same bytes.
///
/// Of vectors that are set concurrently for one node by one model all are kept, and that of the latest stamp shows; lost is
/// what a writer saw and replaced. In the state it takes its numbers at their [precision](Precision) and some 130 bytes.
///
/// ```
/// use driftless::{Precision, Vector, VectorError};
/// let vector = Vector::i8(&[0.1, -0.2, 0.05])?.of_text("a small dog");
/// assert_eq!((vector.precision(), vector.dimension()), (Precision::I8, 3));
/// assert_eq!(Vector::i8(&vector.to_vec())?.of_text("a small dog"), vector);
///
/// let error = Vector::f32(&[0.0, f32::INFINITY]);
/// assert_eq!(error, Err(VectorError::NotFinite { position: 1, value: f32::INFINITY }));
/// # Ok::<(), VectorError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Vector {
    precision: Precision,
    scale: f32,
    text: Option<u128>,
    bytes: Vec<u8>,
}

impl Vector {
    /// A vector of these very numbers, four bytes each. −0 becomes 0.
    pub fn f32(numbers: &[f32]) -> Result<Self, VectorError> {
        check(numbers)?;
        // Adding 0 turns −0 into 0 and nothing else into anything.
        let bytes = numbers.iter().flat_map(|number| (number + 0.0).to_le_bytes()).collect();
        Ok(Self { precision: Precision::F32, scale: 1.0, text: None, bytes })
    }

    /// A vector of these numbers rounded to 11 significant bits, two bytes each. What is too large is refused.
    pub fn f16(numbers: &[f32]) -> Result<Self, VectorError> {
        check(numbers)?;
        let mut bytes = Vec::with_capacity(2 * numbers.len());
        for (position, &value) in numbers.iter().enumerate() {
            let rounded = f16::from_f32(value);
            if rounded.is_infinite() {
                return Err(VectorError::TooLargeForF16 { position, value });
            }
            // −0 is equal to 0, and what is small enough rounds to either.
            let bits = if rounded == f16::ZERO { 0 } else { rounded.to_bits() };
            bytes.extend(bits.to_le_bytes());
        }
        Ok(Self { precision: Precision::F16, scale: 1.0, text: None, bytes })
    }

    /// A vector of these numbers rounded to 255 steps between the greatest and its negative, one byte each. Numbers of
    /// which the greatest is below 1.5 · 10⁻³⁶ become 0.
    pub fn i8(numbers: &[f32]) -> Result<Self, VectorError> {
        check(numbers)?;
        let scale = quantise::scale(numbers.iter().fold(0.0, |greatest, number| greatest.max(number.abs())));
        let bytes = numbers.iter().map(|number| quantise::quantised(*number, scale) as u8).collect();
        Ok(Self { precision: Precision::I8, scale, text: None, bytes })
    }

    /// Keeps a hash of the text that the vector was made from, for [`Embedding::is_stale`](crate::Embedding::is_stale):
    /// 16 bytes.
    #[must_use]
    pub fn of_text(mut self, text: &str) -> Self {
        self.text = Some(hash(text));
        self
    }

    /// How its numbers are kept.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// How many numbers it has.
    pub fn dimension(&self) -> usize {
        self.numbers().len()
    }

    /// The hash of the text that it was made from: XXH3-128 of its bytes.
    pub fn text_hash(&self) -> Option<u128> {
        self.text
    }

    /// Its numbers, as they were rounded.
    pub fn to_vec(&self) -> Vec<f32> {
        self.numbers().iter().collect()
    }

    pub(super) fn numbers(&self) -> Numbers<'_> {
        Numbers { precision: self.precision, scale: self.scale, bytes: &self.bytes }
    }

    pub(crate) fn to_payload(&self) -> Payload {
        payload::encode(self.text, self.numbers())
    }

    /// The same vector, to write it elsewhere.
    pub(super) fn of(text: Option<u128>, numbers: Numbers<'_>) -> Self {
        let Numbers { precision, scale, bytes } = numbers;
        Self { precision, scale, text, bytes: bytes.to_vec() }
    }
}

pub(crate) fn hash(text: &str) -> u128 {
    xxh3_128(text.as_bytes())
}

fn check(numbers: &[f32]) -> Result<(), VectorError> {
    check_dimension(numbers.len())?;
    match numbers.iter().position(|number| !number.is_finite()) {
        Some(position) => Err(VectorError::NotFinite { position, value: numbers[position] }),
        None => Ok(()),
    }
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vector({} × {})", self.dimension(), self.precision)
    }
}
