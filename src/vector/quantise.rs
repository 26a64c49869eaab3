//! To eight bits and back without moving again.
//!
//! Each number becomes a whole number from −127 to 127 times one scale, the greatest becoming ±127. Quantising what was
//! quantised must give the same bytes, or a vector that is read and written again would creep. So the scale is rounded up
//! to 16 significant bits: then `q · scale` has at most 23 and is exact in an f32 for every `q`, `127 · scale / 127` is
//! `scale` again, and `q · scale / scale` is `q`. Rounding up costs at most 2⁻¹⁵ of the scale, so the greatest number
//! still becomes 127. A greatest number whose scale would be subnormal counts as 0: the vector is zero, with scale 0.

/// The eight lowest bits of an f32's 24 significant ones.
const LOWEST: u32 = 0xff;

/// The greatest scale of 16 significant bits of which 127 times is finite: 2¹²⁸ / 127, rounded down. Above it the
/// greatest number of all is rounded down instead, by less than a 2⁻¹⁵th.
const GREATEST: f32 = f32::from_bits(0x7c01_0200);

/// The scale for numbers of which none is greater than this, positive or negative.
pub(super) fn scale(greatest: f32) -> f32 {
    let exact = greatest / 127.0;
    match exact < f32::MIN_POSITIVE {
        true => 0.0,
        // Carrying into the exponent is what rounding up means there.
        false => f32::from_bits((exact.to_bits() + LOWEST) & !LOWEST).min(GREATEST),
    }
}

/// The whole number that stands for a number.
pub(super) fn quantised(number: f32, scale: f32) -> i8 {
    match scale == 0.0 {
        true => 0,
        // Within ±127 but for what lies between the greatest scale and the greatest number; `as` stops there.
        false => (number / scale).round_ties_even().clamp(-127.0, 127.0) as i8,
    }
}

/// Whether quantising what these spell would give these again. In that only one pair spells a vector.
pub(super) fn is_canonical(scale: f32, numbers: &[u8]) -> bool {
    let greatest = numbers.iter().fold(0, |greatest: u8, byte| greatest.max((*byte as i8).unsigned_abs()));
    match greatest {
        0 => scale.to_bits() == 0,
        127 => (f32::MIN_POSITIVE..=GREATEST).contains(&scale) && scale.to_bits() & LOWEST == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_greatest_scale_is_the_last_of_which_127_times_is_finite() {
        assert_eq!(GREATEST.to_bits() & LOWEST, 0);
        assert!((GREATEST * 127.0).is_finite());
        assert!((f32::from_bits(GREATEST.to_bits() + LOWEST + 1) * 127.0).is_infinite());
    }

    fn check(greatest: f32) {
        let once = scale(greatest);
        for q in -127..=127i8 {
            let number = f32::from(q) * once;
            assert_eq!(f64::from(number), f64::from(q) * f64::from(once), "{q} times {once} is exact");
            assert_eq!(quantised(number, once), if once == 0.0 { 0 } else { q });
        }
        assert_eq!(scale(127.0 * once).to_bits(), once.to_bits(), "{greatest}");
        let top = quantised(greatest, once);
        assert_eq!(top, if once == 0.0 { 0 } else { 127 }, "{greatest}");
        assert!(is_canonical(once, &[top as u8]));
    }

    #[test]
    fn extremes_quantise_to_what_stays() {
        for greatest in [0.0, 1.0, 127.0, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1), 127.0 * f32::MIN_POSITIVE] {
            check(greatest);
        }
        for around in [127.0 * f32::MIN_POSITIVE, 127.0 * GREATEST, f32::MAX, 1.0] {
            let bits = around.to_bits();
            (bits.saturating_sub(70_000)..=bits.saturating_add(70_000))
                .map(f32::from_bits)
                .filter(|number| number.is_finite())
                .step_by(7)
                .for_each(check);
        }
    }

    proptest! {
        #[test]
        fn any_greatest_number_quantises_to_what_stays(bits in 0u32..0x7f80_0000) {
            check(f32::from_bits(bits));
        }
    }
}
