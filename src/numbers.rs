//! Numbers as bytes that are few for small numbers.

/// Writes a number as LEB128, in its shortest form.
pub(crate) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The length of a number as LEB128.
pub(crate) fn len_of_number(number: u64) -> usize {
    (64 - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Maps a number to one that is small if the number is near 0.
pub(crate) fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// The inverse of [`zigzag`].
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_number_is_that_of_its_bytes() {
        for number in (0..64).flat_map(|bits| [(1u64 << bits) - 1, 1 << bits]).chain([u64::MAX]) {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(len_of_number(number), bytes.len(), "{number}");
        }
    }

    #[test]
    fn numbers_near_zero_become_small_and_come_back() {
        let numbers = [0, -1, 1, -2, 2, i64::MAX, i64::MIN];
        assert_eq!(numbers.map(zigzag), [0, 1, 2, 3, 4, u64::MAX - 1, u64::MAX]);
        assert_eq!(numbers.map(zigzag).map(unzigzag), numbers);
    }
}
