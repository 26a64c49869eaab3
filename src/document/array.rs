//! Arrays, and what their bytes may be.
//!
//! MessagePack with every number and length as short as can be, the keys of maps texts in the order of their bytes, no
//! extensions, no NaN, no −0, and no deeper than paths are. Told from the bytes alone, without making values of them: who
//! merges or lists what a peer sent shall not pay for it.

use serde::de::DeserializeOwned;

use crate::document::nested::MAX_ARRAY_LEN;
use crate::document::value::Value;
use crate::error::MAX_DEPTH;

/// An array in a document: one value, as it was written.
///
/// ```
/// use driftless::{Document, Replica};
/// let mut replica = Replica::<Document>::new();
/// replica.edit(|d| d.update("/tags", &["logic", "music"]))?;
/// let tags = replica.state().get("/tags").and_then(|value| value.as_array()).ok_or("no array")?;
/// assert_eq!(tags.deserialize::<Vec<String>>()?, ["logic", "music"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Array<'a> {
    /// Canonical MessagePack.
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// The array that these bytes spell; `None` if they spell none.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        is_array(bytes).then_some(Self { bytes })
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its elements.
    pub fn to_json(&self) -> serde_json::Value {
        Value::Array(*self).to_json()
    }

    /// Its elements, as whatever they are to become.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(self.to_json())
    }
}

/// Returns whether these bytes are an array.
fn is_array(bytes: &[u8]) -> bool {
    let is_array = matches!(bytes.first(), Some(0x90..=0x9f | 0xdc | 0xdd));
    is_array && bytes.len() <= MAX_ARRAY_LEN && value(bytes, 0).is_some_and(<[u8]>::is_empty)
}

/// The bytes that follow the value at the beginning of these; `None` if it is not spelled as this version does.
fn value(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let (marker, rest) = bytes.split_first()?;
    match *marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Some(rest),
        0x80..=0x8f => entries((marker & 0x0f).into(), rest, depth),
        0x90..=0x9f => items((marker & 0x0f).into(), rest, depth),
        0xa0..=0xbf => text((marker & 0x1f).into(), rest).map(|(_, rest)| rest),
        // Bytes, texts, arrays, maps with lengths of one, two and four bytes.
        0xc4 => length::<1>(rest, 0).and_then(|(len, rest)| rest.get(len..)),
        0xc5 => length::<2>(rest, 1 << 8).and_then(|(len, rest)| rest.get(len..)),
        0xc6 => length::<4>(rest, 1 << 16).and_then(|(len, rest)| rest.get(len..)),
        0xd9 => length::<1>(rest, 32).and_then(|(len, rest)| text(len, rest)).map(|(_, rest)| rest),
        0xda => length::<2>(rest, 1 << 8).and_then(|(len, rest)| text(len, rest)).map(|(_, rest)| rest),
        0xdb => length::<4>(rest, 1 << 16).and_then(|(len, rest)| text(len, rest)).map(|(_, rest)| rest),
        0xdc => length::<2>(rest, 16).and_then(|(len, rest)| items(len, rest, depth)),
        0xdd => length::<4>(rest, 1 << 16).and_then(|(len, rest)| items(len, rest, depth)),
        0xde => length::<2>(rest, 16).and_then(|(len, rest)| entries(len, rest, depth)),
        0xdf => length::<4>(rest, 1 << 16).and_then(|(len, rest)| entries(len, rest, depth)),
        0xcb => {
            let (number, rest) = rest.split_first_chunk()?;
            let number = f64::from_be_bytes(*number);
            (number.is_finite() && number.to_bits() != (-0.0f64).to_bits()).then_some(rest)
        }
        // Unsigned: beyond what fewer bytes hold.
        0xcc => number::<1>(rest).and_then(|(n, rest)| (n >= 1 << 7).then_some(rest)),
        0xcd => number::<2>(rest).and_then(|(n, rest)| (n >= 1 << 8).then_some(rest)),
        0xce => number::<4>(rest).and_then(|(n, rest)| (n >= 1 << 16).then_some(rest)),
        0xcf => number::<8>(rest).and_then(|(n, rest)| (n >= 1 << 32).then_some(rest)),
        // Negative, likewise.
        0xd0 => number::<1>(rest).and_then(|(n, rest)| ((n as u8 as i8) < -32).then_some(rest)),
        0xd1 => number::<2>(rest).and_then(|(n, rest)| ((n as u16 as i16) < i8::MIN.into()).then_some(rest)),
        0xd2 => number::<4>(rest).and_then(|(n, rest)| ((n as u32 as i32) < i16::MIN.into()).then_some(rest)),
        0xd3 => number::<8>(rest).and_then(|(n, rest)| ((n as i64) < i32::MIN.into()).then_some(rest)),
        _ => None,
    }
}

fn items(len: usize, mut rest: &[u8], depth: usize) -> Option<&[u8]> {
    if depth >= MAX_DEPTH {
        return None;
    }
    for _ in 0..len {
        rest = value(rest, depth + 1)?;
    }
    Some(rest)
}

fn entries(len: usize, mut rest: &[u8], depth: usize) -> Option<&[u8]> {
    if depth >= MAX_DEPTH {
        return None;
    }
    let mut last = None;
    for _ in 0..len {
        let (key, after) = key(rest)?;
        if last.is_some_and(|last| last >= key) {
            return None;
        }
        last = Some(key);
        rest = value(after, depth + 1)?;
    }
    Some(rest)
}

fn key(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (marker, rest) = bytes.split_first()?;
    let (len, rest) = match *marker {
        0xa0..=0xbf => ((marker & 0x1f).into(), rest),
        0xd9 => length::<1>(rest, 32)?,
        0xda => length::<2>(rest, 1 << 8)?,
        0xdb => length::<4>(rest, 1 << 16)?,
        _ => return None,
    };
    text(len, rest)
}

fn text(len: usize, bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (text, rest) = bytes.split_at_checked(len)?;
    Some((str::from_utf8(text).ok()?, rest))
}

fn number<const N: usize>(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<N>()?;
    Some((number.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)), rest))
}

/// A length that fewer bytes would not hold.
fn length<const N: usize>(bytes: &[u8], least: u64) -> Option<(usize, &[u8])> {
    let (len, rest) = number::<N>(bytes)?;
    Some((usize::try_from(len).ok().filter(|_| len >= least)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::nested::Nested;

    fn nested() -> impl Strategy<Value = Nested> {
        let leaf = prop_oneof![
            Just(Nested::Null),
            any::<bool>().prop_map(Nested::Bool),
            (any::<i64>(), 0u32..64).prop_map(|(n, shift)| Nested::Int(n >> shift)),
            (i64::MAX as u64 + 1..).prop_map(Nested::Uint),
            (-1e300f64..1e300).prop_map(|n| Nested::Float(n + 0.0)),
            "[ab]{0,40}".prop_map(Nested::Str),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Nested::Bytes),
        ];
        leaf.prop_recursive(4, 60, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Nested::Array),
                prop::collection::btree_map("[abc]{0,35}", inner, 0..20).prop_map(Nested::Map),
            ]
        })
    }

    /// By decoding and encoding again: what the bytes alone must tell.
    fn is_spelled_so(bytes: &[u8]) -> bool {
        let again = Nested::from_bytes(bytes).filter(|nested| matches!(nested, Nested::Array(_)));
        again.is_some_and(|nested| is_writable(&nested) && nested.to_bytes().is_ok_and(|again| again == bytes))
    }

    fn is_writable(nested: &Nested) -> bool {
        match nested {
            Nested::Float(n) => n.is_finite() && n.to_bits() != (-0.0f64).to_bits(),
            Nested::Array(items) => items.iter().all(is_writable),
            Nested::Map(entries) => entries.values().all(is_writable),
            _ => true,
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_an_array(items in prop::collection::vec(nested(), 0..40)) {
            prop_assert!(is_array(&Nested::Array(items).to_bytes().unwrap()));
        }

        #[test]
        fn only_what_would_be_written_again_is_an_array(
            items in prop::collection::vec(nested(), 0..4),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in 0..3usize,
        ) {
            let mut bytes = Nested::Array(items).to_bytes().unwrap();
            damage.into_iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = byte);
            bytes.truncate(bytes.len() - cut.min(bytes.len()));
            prop_assert_eq!(is_array(&bytes), is_spelled_so(&bytes));
        }

        #[test]
        fn markers_of_all_kinds_are_told_apart(bytes in prop::collection::vec(
            prop::sample::select(vec![
                0x90u8, 0x91, 0x92, 0xdc, 0xdd, 0x80, 0x81, 0x82, 0xde, 0xdf, 0xa0, 0xa1, b'a', b'b', 0xd9, 0xda, 0xdb,
                0xc0, 0xc1, 0xc2, 0xc4, 0xc5, 0xc6, 0xc7, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3,
                0xd4, 0, 1, 0x7f, 0x80, 0xff, 0xe0,
            ]), 0..14))
        {
            let bytes = [&[0x91], &bytes[..]].concat();
            prop_assert_eq!(is_array(&bytes), is_spelled_so(&bytes));
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = |depth: usize| [vec![0x91; depth - 1], vec![0x90]].concat();
        assert!(is_array(&deep(MAX_DEPTH)) && !is_array(&deep(MAX_DEPTH + 1)) && !is_array(&deep(100_000)));
        let long = |len: usize| [&[0xdd][..], &(len as u32).to_be_bytes(), &vec![0xc0; len]].concat();
        assert!(is_array(&long(MAX_ARRAY_LEN - 5)) && !is_array(&long(MAX_ARRAY_LEN - 4)));
    }
}
