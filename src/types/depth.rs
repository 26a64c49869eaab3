//! Depth of values: found before a value is spelled, and in the bytes before they are read.
//!
//! Neither serialising nor deserialising MessagePack bounds its recursion by itself (an enum within an enum is not counted),
//! and a stack that overflows ends the process. So a value is walked first by a serialiser that writes nothing, and bytes by
//! a loop that makes nothing of them.

use std::fmt;

use serde::Serialize;
use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};

use crate::document::{Path, Segment};
use crate::error::{EditError, MAX_DEPTH};

/// How many options, newtypes and levels together a value may nest: a level has a few of them.
const MAX_STEPS: usize = 4 * MAX_DEPTH;

/// Refuses a value that nests deeper than [`MAX_DEPTH`] arrays and maps, with its path.
pub(super) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), EditError> {
    match value.serialize(Walk { levels: MAX_DEPTH, steps: MAX_STEPS }) {
        Err(Fault::TooDeep(mut within)) => {
            within.reverse();
            Err(EditError::TooDeep {
                path: Path::from_segments(within.iter().map(|name| Segment::Name(name))).to_string(),
            })
        }
        // Serialising it will say what is wrong.
        Ok(()) | Err(Fault::Other) => Ok(()),
    }
}

/// True if the bytes are one value in MessagePack, whole and no deeper than [`MAX_DEPTH`] arrays and maps.
pub(super) fn is_shallow(bytes: &[u8]) -> bool {
    let (mut rest, mut open) = (bytes, Vec::with_capacity(8));
    // How many values are still to come in the innermost array or map.
    let mut left = 1;
    loop {
        while left == 0 {
            match open.pop() {
                Some(above) => left = above,
                None => return rest.is_empty(),
            }
        }
        left -= 1;
        let Some((inner, after)) = head(rest) else { return false };
        rest = after;
        if inner > 0 {
            if open.len() == MAX_DEPTH {
                return false;
            }
            open.push(std::mem::replace(&mut left, inner));
        }
    }
}

/// How many values the first one holds, and what follows its head; of a scalar, what follows it.
fn head(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (marker, rest) = bytes.split_first()?;
    let skip = |len: usize| Some((0, rest.get(len..)?));
    // As many bytes as the length says after the length itself, and an extension's kind.
    let long =
        |width: usize, more: usize| Some((0, rest.get(width..)?.get(number(rest, width)?.checked_add(more)?..)?));
    let many = |width: usize, of: usize| Some((number(rest, width)?.checked_mul(of)?, rest.get(width..)?));
    match *marker {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => skip(0),
        0x80..=0x8f => Some((2 * usize::from(marker & 0x0f), rest)),
        0x90..=0x9f => Some((usize::from(marker & 0x0f), rest)),
        0xa0..=0xbf => skip(usize::from(marker & 0x1f)),
        0xc1 => None,
        0xc4 | 0xd9 => long(1, 0),
        0xc5 | 0xda => long(2, 0),
        0xc6 | 0xdb => long(4, 0),
        0xc7 => long(1, 1),
        0xc8 => long(2, 1),
        0xc9 => long(4, 1),
        0xcc | 0xd0 => skip(1),
        0xcd | 0xd1 | 0xd4 => skip(2),
        0xd5 => skip(3),
        0xca | 0xce | 0xd2 => skip(4),
        0xd6 => skip(5),
        0xcb | 0xcf | 0xd3 => skip(8),
        0xd7 => skip(9),
        0xd8 => skip(17),
        0xdc => many(2, 1),
        0xdd => many(4, 1),
        0xde => many(2, 2),
        0xdf => many(4, 2),
    }
}

fn number(bytes: &[u8], width: usize) -> Option<usize> {
    let number = bytes.get(..width)?.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    usize::try_from(number).ok()
}

#[derive(Debug)]
enum Fault {
    /// Segments, the innermost first.
    TooDeep(Vec<String>),
    Other,
}

impl Fault {
    fn within(mut self, segment: impl ToString) -> Self {
        if let Self::TooDeep(within) = &mut self {
            within.push(segment.to_string());
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }
}

/// Serialises to nothing.
#[derive(Clone, Copy)]
struct Walk {
    levels: usize,
    steps: usize,
}

impl Walk {
    fn step(self) -> Result<Self, Fault> {
        let steps = self.steps.checked_sub(1).ok_or(Fault::TooDeep(Vec::new()))?;
        Ok(Self { steps, ..self })
    }

    fn parts(self) -> Result<Parts, Fault> {
        let levels = self.levels.checked_sub(1).ok_or(Fault::TooDeep(Vec::new()))?;
        Ok(Parts { to: Self { levels, ..self.step()? }, at: 0, variant: None })
    }

    fn variant(self, name: &'static str) -> Result<Parts, Fault> {
        Ok(Parts { variant: Some(name), ..self.parts()?.to.parts()? })
    }
}

/// The parts of an array, a map, a struct or a variant.
struct Parts {
    to: Walk,
    at: usize,
    variant: Option<&'static str>,
}

impl Parts {
    fn part<T: Serialize + ?Sized>(&mut self, name: Option<&str>, value: &T) -> Result<(), Fault> {
        let outside = |fault: Fault| self.variant.into_iter().fold(fault, Fault::within);
        value.serialize(self.to).map_err(|fault| match name {
            Some(name) => outside(fault.within(name)),
            None => outside(fault.within(self.at)),
        })?;
        self.at += 1;
        Ok(())
    }
}

macro_rules! scalars {
    ($($method:ident($($argument:ty),*)),*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<(), Fault> {
            Ok(())
        }
    )*};
}

impl Serializer for Walk {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Parts;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Parts;
    type SerializeMap = Parts;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    scalars! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_i128(i128), serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64),
        serialize_u128(u128), serialize_f32(f32), serialize_f64(f64), serialize_char(char), serialize_str(&str),
        serialize_bytes(&[u8]), serialize_none(), serialize_unit(), serialize_unit_struct(&'static str),
        serialize_unit_variant(&'static str, u32, &'static str)
    }

    // As the bytes will be made: what a value serialises to may depend on it.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<(), Fault> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        value.serialize(self.step()?)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Fault> {
        value.serialize(self.step()?)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.parts()?.part(Some(variant), value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts, Fault> {
        self.parts()
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts, Fault> {
        self.parts()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts, Fault> {
        self.parts()
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<Parts, Fault> {
        self.variant(variant)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts, Fault> {
        self.parts()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts, Fault> {
        self.parts()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts, Fault> {
        self.variant(variant)
    }
}

macro_rules! parts {
    ($($trait:ident: $method:ident($($name:ident)?)),*) => {$(
        impl $trait for Parts {
            type Ok = ();
            type Error = Fault;

            fn $method<T: Serialize + ?Sized>(&mut self, $($name: &'static str,)? value: &T) -> Result<(), Fault> {
                let name: Option<&str> = None;
                $(let name = name.or(Some($name));)?
                self.part(name, value)
            }

            fn end(self) -> Result<(), Fault> {
                Ok(())
            }
        }
    )*};
}

parts! {
    SerializeSeq: serialize_element(), SerializeTuple: serialize_element(), SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(), SerializeStruct: serialize_field(key),
    SerializeStructVariant: serialize_field(key)
}

impl SerializeMap for Parts {
    type Ok = ();
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        key.serialize(self.to).map_err(|fault| fault.within(self.at))
    }

    /// An entry goes by its number: its key can be anything.
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.part(None, value)
    }

    fn end(self) -> Result<(), Fault> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize)]
    enum Chain {
        End,
        Link(Box<Chain>),
        Pair(u8, Vec<Chain>),
        Named { then: Option<Box<Chain>> },
    }

    fn chain(len: usize, link: fn(Chain) -> Chain) -> Chain {
        (0..len).fold(Chain::End, |chain, _| link(chain))
    }

    #[test]
    fn what_is_too_deep_is_refused_with_its_path_however_it_nests() {
        type Link = fn(Chain) -> Chain;
        let links: [(Link, usize, &str); 3] = [
            (|chain| Chain::Link(Box::new(chain)), 1, "/Link/Link"),
            (|chain| Chain::Pair(1, vec![chain]), 3, "/Pair/1/0/Pair/1/0"),
            (|chain| Chain::Named { then: Some(Box::new(chain)) }, 2, "/Named/then/Named/then"),
        ];
        for (link, levels, path) in links {
            let most = MAX_DEPTH / levels;
            check(&chain(most, link)).unwrap();
            let bytes = rmp_serde::to_vec_named(&chain(most, link)).unwrap();
            assert!(is_shallow(&bytes));
            let Err(EditError::TooDeep { path: refused }) = check(&chain(MAX_DEPTH + 1, link)) else {
                panic!("{path}")
            };
            assert!(refused.starts_with(path), "{refused}");
            assert!(!is_shallow(&rmp_serde::to_vec_named(&chain(MAX_DEPTH + 1, link)).unwrap()));
        }
    }

    #[test]
    fn whole_values_of_every_marker_are_told_from_broken_ones() {
        let texts: Vec<String> = [1, 40, 300, 70_000].map(|len| "a".repeat(len)).into();
        let map: BTreeMap<u32, i64> = (0..20).map(|n| (n << n, -1_i64 << (2 * n))).collect();
        let bytes: Vec<serde_bytes::ByteBuf> = texts.iter().map(|text| text.clone().into_bytes().into()).collect();
        let whole =
            rmp_serde::to_vec_named(&(texts, map, bytes, 0.5_f32, 0.5_f64, u64::MAX, true, (), [0_u8; 20])).unwrap();
        assert!(is_shallow(&whole));
        for len in (0..whole.len()).step_by(31).chain([whole.len() - 1]) {
            assert!(!is_shallow(&whole[..len]));
        }
        assert!(!is_shallow(&[&whole[..], &[0]].concat()));
        for ext in [&[0xd4, 1, 2][..], &[0xd8; 18], &[0xc7, 1, 9, 9], &[0xc9, 0, 0, 0, 1, 9, 9]] {
            assert!(is_shallow(ext) && !is_shallow(&ext[..ext.len() - 1]));
        }
        for broken in
            [&[][..], &[0xc1], &[0xdd, 255, 255, 255, 255], &[0xdf, 255, 255, 255, 255], &[0xc6, 255, 255, 255, 255]]
        {
            assert!(!is_shallow(broken));
        }
    }
}
