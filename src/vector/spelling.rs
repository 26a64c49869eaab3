//! Numbers as bytes.

use std::fmt;

use crate::vector::quantise;

/// How the numbers of a vector are kept.
///
/// For the 384 numbers of a small model: the bytes that they take, the most that rounding costs of the cosine between a
/// vector and itself, and how many of the ten nearest are still found; measured on 4,017 real ones by `tests/vector.rs`.
///
/// | | bytes | cosine lost | recall@10 |
/// |---|---|---|---|
/// | `F32` | 1,536 | none | 1 |
/// | `F16` | 768 | 0.000 000 03 | 0.998 |
/// | `I8` | 384 | 0.000 08 | 0.994 |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Precision {
    /// Four bytes each: what the model gave.
    F32,
    /// Two bytes each: 11 significant bits; up to 65,504, and what is smaller than 2⁻²⁵ is 0.
    F16,
    /// One byte each: 255 steps between the greatest number and its negative.
    I8,
}

impl Precision {
    /// The numbers are part of the format.
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::F32 => 1,
            Self::F16 => 2,
            Self::I8 => 3,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::F32, Self::F16, Self::I8].into_iter().find(|precision| precision.to_byte() == byte)
    }

    /// The bytes of one number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "i8",
        })
    }
}

/// The numbers of one vector, borrowed, with what each is to be multiplied by (1 but for i8).
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a> {
    pub(super) precision: Precision,
    pub(super) scale: f32,
    pub(super) bytes: &'a [u8],
}

impl<'a> Numbers<'a> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.precision.size()
    }

    /// Whether every number is finite and spelled in the one way there is.
    pub(super) fn are_canonical(&self) -> bool {
        // All of them, always: that vectorises, and nearly all vectors are well.
        match self.precision {
            Precision::F32 => self.bytes.as_chunks().0.iter().fold(true, |all, bytes| {
                let bits = u32::from_le_bytes(*bytes);
                all & (bits & 0x7f80_0000 != 0x7f80_0000) & (bits != 0x8000_0000)
            }),
            Precision::F16 => self.bytes.as_chunks().0.iter().fold(true, |all, bytes| {
                let bits = u16::from_le_bytes(*bytes);
                all & (bits & 0x7c00 != 0x7c00) & (bits != 0x8000)
            }),
            Precision::I8 => quantise::is_canonical(self.scale, self.bytes),
        }
    }

    pub(super) fn iter(self) -> impl ExactSizeIterator<Item = f32> + Clone + use<'a> {
        let Self { precision, scale, bytes } = self;
        bytes.chunks_exact(precision.size()).map(move |number| match (precision, number) {
            (Precision::F32, &[a, b, c, d]) => F32.number([a, b, c, d]),
            (Precision::F16, &[a, b]) => F16.number([a, b]),
            (_, &[a]) => I8 { scale }.number([a]),
            // Chunks have the precision's size.
            _ => 0.0,
        })
    }
}

/// One way to spell numbers. Reading is exact.
pub(super) trait Spelling: Copy {
    /// The bytes of one number.
    type Number: Copy + Default;

    fn split(bytes: &[u8]) -> &[Self::Number];

    fn number(self, bytes: Self::Number) -> f32;
}

#[derive(Clone, Copy)]
pub(super) struct F32;

#[derive(Clone, Copy)]
pub(super) struct F16;

#[derive(Clone, Copy)]
pub(super) struct I8 {
    pub(super) scale: f32,
}

macro_rules! spelling {
    ($($name:ty, $size:literal, |$self:ident, $bytes:ident| $number:expr;)*) => {$(
        impl Spelling for $name {
            type Number = [u8; $size];

            fn split(bytes: &[u8]) -> &[Self::Number] {
                bytes.as_chunks().0
            }

            fn number($self, $bytes: Self::Number) -> f32 {
                $number
            }
        }
    )*};
}

spelling! {
    F32, 4, |self, bytes| f32::from_le_bytes(bytes);
    F16, 2, |self, bytes| f16_to_f32(u16::from_le_bytes(bytes));
    // Exact: see `quantise`.
    I8, 1, |self, bytes| f32::from(i8::from_le_bytes(bytes)) * self.scale;
}

/// Exact for every finite one, and without a branch, so that it vectorises: the bits stand in their places of an f32,
/// whose exponent counts from 112 lower.
fn f16_to_f32(bits: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits((112 + 127) << 23);
    let bits = u32::from(bits);
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * TWO_TO_112;
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_number_of_16_bits_reads_as_the_library_reads_it() {
        for bits in 0..=u16::MAX {
            let number = half::f16::from_bits(bits);
            if number.is_finite() {
                assert_eq!(f16_to_f32(bits).to_bits(), number.to_f32().to_bits(), "{bits:04x}");
            }
        }
    }
}
