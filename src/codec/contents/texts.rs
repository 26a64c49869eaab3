//! Contents that are bytes, told from those that came before: a text that is there again, one that begins alike, one with another
//! number at its end.

use smallvec::SmallVec;

use crate::codec::contents::{MAX_SHARED_LEN, unzigzag};
use crate::codec::cursor::Cursor;
use crate::codec::error::DecodeError;
use crate::kernel::{MAX_PAYLOAD_LEN, Payload};
use crate::numbers::{len_of_number, write_number, zigzag};

/// Number of earlier contents that can be referred to.
const RECENT: usize = 8;

/// The last distinct contents, the latest first, each with a [key](key_of) by which most others are told from it.
#[derive(Default)]
pub(in crate::codec) struct Written<'a>(Vec<(u64, &'a [u8])>);

/// The last bytes of a content and its length: contents that come near each other begin alike more often than they end alike.
fn key_of(bytes: &[u8]) -> u64 {
    let last = match bytes.last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => bytes.iter().fold(0, |key, byte| key << 8 | u64::from(*byte)),
    };
    last ^ (bytes.len() as u64).rotate_right(8)
}

/// Makes a list of at most [`RECENT`] items longer by one, at the front, with no more memory than it needs if it stays at one.
fn put_first<T>(recent: &mut Vec<T>, item: T) {
    match recent.len() {
        0 => recent.reserve_exact(1),
        1 => recent.reserve_exact(RECENT - 1),
        RECENT => recent.truncate(RECENT - 1),
        _ => {}
    }
    recent.insert(0, item);
}

impl<'a> Written<'a> {
    /// The number of bytes that a content of at most 127 bytes takes if it is written next.
    pub(in crate::codec) fn len_of(&self, bytes: &[u8]) -> usize {
        if self.0.iter().any(|(_, recent)| *recent == bytes) {
            return 1;
        }
        let latest = self.0.first().map_or(&[][..], |(_, latest)| latest);
        match difference_of_digits(latest, bytes) {
            Some(difference) => 1 + len_of_number(zigzag(difference)),
            None => 2 + bytes.len() - shared_prefix(latest, bytes),
        }
    }

    pub(in crate::codec) fn write(&mut self, out: &mut Vec<u8>, bytes: &'a [u8]) {
        let key = key_of(bytes);
        if let Some(i) = self.0.iter().position(|recent| recent.0 == key && recent.1 == bytes) {
            out.push(i as u8);
            return self.0[..=i].rotate_right(1);
        }
        let latest = self.0.first().map_or(&[][..], |(_, latest)| latest);
        if let Some(difference) = difference_of_digits(latest, bytes) {
            out.push(OTHER_NUMBER as u8);
            write_number(out, zigzag(difference));
        } else {
            let prefix = shared_prefix(latest, bytes);
            out.push((RECENT + prefix) as u8);
            write_number(out, (bytes.len() - prefix) as u64);
            out.extend_from_slice(&bytes[prefix..]);
        }
        put_first(&mut self.0, (key, bytes));
    }
}

/// Stands for a prefix: the content is the latest with another number at its end.
const OTHER_NUMBER: usize = RECENT + MAX_SHARED_LEN + 1;

// One byte is enough for all uses of the number.
const _: () = assert!(OTHER_NUMBER < 0x80);

/// The most digits of a number at the end of a text.
const MAX_DIGITS: usize = 18;

/// Splits off the decimal number that a text ends in. `None` if it ends in none, or in one of more than [`MAX_DIGITS`] digits,
/// or if more than [`MAX_SHARED_LEN`] bytes stand before it.
pub(in crate::codec) fn split_digits(text: &[u8]) -> Option<(&[u8], i64)> {
    let digits = text.iter().rev().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = text.split_at(text.len() - digits);
    let is_number = (1..=MAX_DIGITS).contains(&digits.len()) && before.len() <= MAX_SHARED_LEN;
    let number = || digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    is_number.then(|| (before, number()))
}

/// The difference of the numbers at the ends of two texts that are alike but for their digits.
fn difference_of_digits(latest: &[u8], text: &[u8]) -> Option<i64> {
    // Most are told apart by this.
    if latest.len() != text.len() || !text.last()?.is_ascii_digit() {
        return None;
    }
    let ((before, from), (same, to)) = (split_digits(latest)?, split_digits(text)?);
    (before == same).then_some(to - from)
}

fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take(MAX_SHARED_LEN).take_while(|(a, b)| a == b).count()
}

/// The last distinct contents, the latest first, and a buffer in which one is put together.
#[derive(Default)]
pub(in crate::codec) struct Read {
    recent: Vec<Payload>,
    buffer: Vec<u8>,
}

impl Read {
    pub(in crate::codec) fn read(&mut self, from: &mut Cursor<'_>, kind: u8) -> Result<&Payload, DecodeError> {
        let number = from.number()?;
        let wrong = DecodeError::Malformed("a content that did not come before");
        let Some(prefix) = number.checked_sub(RECENT as u64) else {
            let recent = self.recent.get_mut(..=number as usize).ok_or(wrong)?;
            if number > 0 {
                recent.rotate_right(1);
            }
            return Ok(&self.recent[0]);
        };
        let latest = self.recent.first().map_or(&[][..], Payload::bytes);
        if number == OTHER_NUMBER as u64 {
            let content = with_other_number(latest, unzigzag(from.number()?)).ok_or(wrong)?;
            put_first(&mut self.recent, Payload::new(kind, &content));
            return Ok(&self.recent[0]);
        }
        let prefix = usize::try_from(prefix).ok().filter(|prefix| *prefix <= MAX_SHARED_LEN);
        let prefix = prefix.and_then(|prefix| latest.get(..prefix)).ok_or(wrong)?;
        let rest = from.bytes()?;
        let (found, limit) = ((prefix.len() + rest.len()) as u64, MAX_PAYLOAD_LEN as u64);
        if found > limit {
            return Err(DecodeError::TooLarge { what: "a value", found, limit });
        }
        let content = match prefix {
            [] => Payload::new(kind, rest),
            prefix => {
                self.buffer.clear();
                self.buffer.extend_from_slice(prefix);
                self.buffer.extend_from_slice(rest);
                Payload::new(kind, &self.buffer)
            }
        };
        put_first(&mut self.recent, content);
        Ok(&self.recent[0])
    }
}

/// A text with another number in place of the one that it ends in, in as many digits.
fn with_other_number(text: &[u8], difference: i64) -> Option<SmallVec<[u8; 96]>> {
    let (before, number) = split_digits(text)?;
    let mut left = number.checked_add(difference).filter(|number| *number >= 0)?;
    let mut other = SmallVec::from_slice(text);
    for digit in other[before.len()..].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    (left == 0).then_some(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_another_number_at_its_end_is_told_by_the_difference() {
        let pairs: [(&[u8], &[u8], Option<i64>); 12] = [
            (b"person:0000123", b"person:0000124", Some(1)),
            (b"n9", b"n0", Some(-9)),
            (b"07", b"00", Some(-7)),
            (b"999999999999999999", b"000000000000000000", Some(-999_999_999_999_999_999)),
            (b"n9", b"n10", None),
            (b"n1", b"m2", None),
            (b"n1", b"nx", None),
            (b"nx", b"n1", None),
            // The digits of one begin earlier.
            (b"n11", b"nx1", None),
            (b"", b"1", None),
            (b"1000000000000000000", b"1000000000000000001", None),
            (&[b'x'; 66], &[b'x'; 66], None),
        ];
        for (latest, text, difference) in pairs {
            assert_eq!(difference_of_digits(latest, text), difference, "{latest:?} {text:?}");
            if let Some(difference) = difference {
                assert_eq!(with_other_number(latest, difference).as_deref(), Some(text));
            }
        }
        for beyond in [-8, 93, i64::MAX, i64::MIN] {
            assert_eq!(with_other_number(b"n07", beyond), None, "{beyond}");
        }
        assert_eq!(with_other_number(b"name", 1), None);
        let (at_most, beyond) =
            ([&[b'x'; MAX_SHARED_LEN][..], b"1"].concat(), [&[b'x'; MAX_SHARED_LEN + 1][..], b"1"].concat());
        assert!(with_other_number(&at_most, 1).is_some() && with_other_number(&beyond, 1).is_none());
    }
}
