//! Texts that take as many bytes in a delta as they have, beside texts of any other seed.
#![allow(dead_code, reason = "each test takes what it needs")]

/// A text of so many letters, which differs from that of any other seed.
pub(crate) fn letters(seed: u64, len: usize) -> String {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state >> 32) as u8 % 26)
    };
    std::iter::repeat_with(letter).take(len).collect()
}
