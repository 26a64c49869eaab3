//! Conversion between 32-bit and 16-bit floating-point numbers (IEEE 754 binary32 and binary16), which Rust lacks.

/// Returns the 16-bit number nearest to a finite `value`, ties to even; none if `value` rounds to infinity.
/// Zero has one result, without a sign.
pub(super) fn f32_to_f16(value: f32) -> Option<u16> {
    /// Smallest 16-bit number that has all its digits, 2⁻¹⁴.
    const NORMAL: f32 = f32::from_bits((127 - 14) << 23);
    /// The digits of an `f32` from here to 1 are as coarse as those of a 16-bit number below `NORMAL`: multiples of 2⁻²⁴.
    const COARSE: f32 = 0.5;
    let (sign, magnitude) = ((value.to_bits() >> 16) as u16 & 0x8000, value.abs());
    let rounded = if magnitude < NORMAL {
        // The addition rounds; the multiples of 2⁻²⁴ stand in the low bits.
        (magnitude + COARSE).to_bits() - COARSE.to_bits()
    } else {
        // 13 digits go; half of their range is added first, less one bit if a tie would go to an odd number. The exponent
        // counts from 112 lower.
        let bits = magnitude.to_bits();
        (bits + 0x0fff + (bits >> 13 & 1) - (112 << 23)) >> 13
    };
    match rounded {
        0 => Some(0),
        1..0x7c00 => Some(sign | rounded as u16),
        _ => None,
    }
}

/// Returns a finite 16-bit number as an `f32`, exactly; without a branch, so that loops over it vectorise.
///
/// The bits stand in their places of an `f32`, whose exponent counts from 112 lower.
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits((112 + 127) << 23);
    let bits = u32::from(bits);
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * TWO_TO_112;
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_finite_number_of_16_bits_reads_as_the_library_reads_it() {
        for bits in 0..=u16::MAX {
            let number = f16::from_bits(bits);
            if number.is_finite() {
                assert_eq!(f16_to_f32(bits).to_bits(), number.to_f32().to_bits(), "{bits:04x}");
            }
        }
    }

    fn check(value: f32) {
        let expected = f16::from_f32(value);
        let expected = expected.is_finite().then_some(if expected == f16::ZERO { 0 } else { expected.to_bits() });
        assert_eq!(f32_to_f16(value), expected, "{value:e}, {:08x}", value.to_bits());
    }

    #[test]
    fn numbers_at_and_beside_every_16_bit_number_and_every_tie_round_as_the_library_rounds_them() {
        let ends = [f32::MIN_POSITIVE, f32::MAX, f32::from_bits(1), 65_519.996, 65_520.0, 65_536.0];
        let numbers = (0..0x7c00).map(|bits| f16::from_bits(bits).to_f32());
        let ties = (0..0x7bff).map(|bits| (f16::from_bits(bits).to_f32() + f16::from_bits(bits + 1).to_f32()) / 2.0);
        for value in numbers.chain(ties).chain(ends) {
            for near in [value.next_down(), value, value.next_up()].into_iter().filter(|near| near.is_finite()) {
                check(near);
                check(-near);
            }
        }
    }

    #[test]
    fn numbers_over_the_whole_range_of_32_bits_round_as_the_library_rounds_them() {
        for bits in (0..=u32::MAX).step_by(65_521) {
            let value = f32::from_bits(bits);
            if value.is_finite() {
                check(value);
            }
        }
    }
}
