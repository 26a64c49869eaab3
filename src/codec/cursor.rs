//! Reading bytes from the front, for formats that are too small for MessagePack.

use crate::codec::envelope::read_number;
use crate::codec::error::DecodeError;
use crate::id::{Dot, WriterId};
use crate::numbers::write_number;
use crate::version::HeadsChange;

/// What is left of some bytes.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let missing = DecodeError::Truncated { missing: (N - self.0.len().min(N)) as u64 };
        let (array, rest) = self.0.split_first_chunk().ok_or(missing)?;
        self.0 = rest;
        Ok(*array)
    }

    /// A LEB128 number in its shortest form.
    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        let (number, rest) = read_number(self.0)?;
        self.0 = rest;
        Ok(number)
    }

    /// Bytes with their number before them. Nothing is reserved.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.number()?;
        self.take(len)
    }

    /// So many bytes. Nothing is reserved.
    pub(crate) fn take(&mut self, len: u64) -> Result<&'a [u8], DecodeError> {
        let parts = usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len));
        let missing = || DecodeError::Truncated { missing: len - self.0.len() as u64 };
        let (bytes, rest) = parts.ok_or_else(missing)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// What some other reader takes from the front.
    pub(crate) fn with<R>(
        &mut self,
        read: impl FnOnce(&'a [u8]) -> Result<(R, &'a [u8]), DecodeError>,
    ) -> Result<R, DecodeError> {
        let (value, rest) = read(self.0)?;
        self.0 = rest;
        Ok(value)
    }

    /// A number of items, if as many bytes are left as they take at least.
    pub(crate) fn count(&mut self, least: u64) -> Result<usize, DecodeError> {
        let count = self.number()?;
        match count.checked_mul(least).is_some_and(|bytes| bytes <= self.0.len() as u64) {
            true => Ok(count as usize),
            false => Err(DecodeError::Malformed("more is announced than the bytes can hold")),
        }
    }

    pub(crate) fn end(self) -> Result<(), DecodeError> {
        match self.0.len() as u64 {
            0 => Ok(()),
            more => Err(DecodeError::Trailing(more)),
        }
    }
}

/// Writes what leads from one version to another: places of heads that are gone, as gaps, and heads that have come.
pub(crate) fn write_change(out: &mut Vec<u8>, change: &HeadsChange) {
    write_number(out, change.gone.len() as u64);
    let mut next = 0;
    for i in &change.gone {
        write_number(out, i - next);
        next = i + 1;
    }
    write_dots(out, &change.come);
}

/// Reads what [`write_change`] wrote.
pub(crate) fn read_change(cursor: &mut Cursor<'_>) -> Result<HeadsChange, DecodeError> {
    let count = cursor.count(1)?;
    let (mut gone, mut next) = (Vec::with_capacity(count), 0u64);
    for _ in 0..count {
        let i = next.checked_add(cursor.number()?);
        let i = i.filter(|i| *i < u64::MAX).ok_or(DecodeError::Malformed("a head that no version has"))?;
        gone.push(i);
        next = i + 1;
    }
    Ok(HeadsChange { gone, come: read_dots(cursor)? })
}

/// Writes dots, each as the id of its writer and its counter.
pub(crate) fn write_dots(out: &mut Vec<u8>, dots: &[Dot]) {
    write_number(out, dots.len() as u64);
    for dot in dots {
        out.extend(dot.writer.as_bytes());
        write_number(out, dot.counter);
    }
}

/// Reads what [`write_dots`] wrote.
pub(crate) fn read_dots(cursor: &mut Cursor<'_>) -> Result<Vec<Dot>, DecodeError> {
    let count = cursor.count(WriterId::LEN as u64 + 1)?;
    (0..count).map(|_| Ok(Dot { writer: WriterId::from(cursor.array()?), counter: cursor.number()? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_says_how_much_is_missing() {
        let missing = |missing| DecodeError::Truncated { missing };
        assert_eq!(Cursor::new(&[1, 2, 3]).array::<3>(), Ok([1, 2, 3]));
        assert_eq!(Cursor::new(&[1, 2, 3]).array::<5>(), Err(missing(2)));
        assert_eq!(Cursor::new(&[]).byte(), Err(missing(1)));
        assert_eq!(Cursor::new(&[3, 7, 8, 9]).bytes(), Ok(&[7, 8, 9][..]));
        assert_eq!(Cursor::new(&[9, 7, 8, 9]).bytes(), Err(missing(6)));
    }

    #[test]
    fn a_count_is_believed_as_far_as_there_are_bytes() {
        let refused = Err(DecodeError::Malformed("more is announced than the bytes can hold"));
        let bytes = |count: u8, len: usize| [vec![count], vec![0; len]].concat();
        assert_eq!(Cursor::new(&bytes(2, 34)).count(17), Ok(2));
        assert_eq!(Cursor::new(&bytes(2, 33)).count(17), refused);
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).count(17), refused);
    }
}
