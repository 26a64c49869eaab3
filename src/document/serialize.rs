//! From anything that serialises to a nested value, in the shape that it has as JSON; but bytes stay bytes, and a number
//! that is not finite is an error instead of null.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::Serialize;
use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};

use crate::document::nested::Nested;
use crate::error::{EditError, MAX_DEPTH};

/// An error, and the place of it: segments, the innermost first.
#[derive(Debug)]
pub(super) struct Fault {
    what: What,
    within: Vec<String>,
}

#[derive(Debug)]
enum What {
    NotFinite(f64),
    TooDeep,
    /// It would be read back as another value.
    Unreadable(&'static str),
    Other(String),
}

impl Fault {
    fn new(what: What) -> Self {
        Self { what, within: Vec::new() }
    }

    fn within(mut self, segment: String) -> Self {
        self.within.push(segment);
        self
    }

    pub(super) fn at(self, mut path: String) -> EditError {
        for segment in self.within.into_iter().rev() {
            path.push('/');
            path.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        }
        match self.what {
            What::NotFinite(value) => EditError::NotFinite { path, value },
            What::TooDeep => EditError::TooDeep { path },
            What::Unreadable(reason) => EditError::Unreadable { path, reason: reason.into() },
            What::Other(reason) => EditError::Unserialisable { path, reason },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.what, f)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Other(message.to_string()))
    }
}

/// The name of the struct as which `serde_json` serialises a number if some crate asks it for numbers of any precision.
const NUMBER: &str = "$serde_json::private::Number";
/// The same for a piece of JSON that it has not taken apart.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// The greatest depth: that of a path and an array at its end together.
const MAX_NESTING: usize = 2 * MAX_DEPTH;

/// The most options, newtypes and levels together: a level has a few of them.
const MAX_STEPS: usize = 4 * MAX_NESTING;

/// Makes a nested value of whatever it is given, no deeper than [`MAX_NESTING`].
#[derive(Clone, Copy, Default)]
pub(super) struct ToNested {
    depth: usize,
    steps: usize,
    /// True if it is to be a key: a text, so a number of any width has its place.
    is_key: bool,
}

impl ToNested {
    fn below(self) -> Result<Self, Fault> {
        match self.depth {
            MAX_NESTING.. => Err(Fault::new(What::TooDeep)),
            depth => Ok(Self { depth: depth + 1, ..self.step()? }),
        }
    }

    /// Into something that adds no level, and takes of the stack all the same.
    fn step(self) -> Result<Self, Fault> {
        match self.steps {
            MAX_STEPS.. => Err(Fault::new(What::TooDeep)),
            steps => Ok(Self { steps: steps + 1, ..self }),
        }
    }

    fn list(self) -> Result<List, Fault> {
        Ok(List { items: Vec::new(), to: self.below()? })
    }

    fn entries(self) -> Result<Entries, Fault> {
        Ok(Entries { disguised: None, entries: BTreeMap::new(), key: None, to: self.below()? })
    }
}

/// A variant's content, under its name.
fn tagged(variant: &str, content: Nested) -> Nested {
    Nested::Map(BTreeMap::from([(variant.to_owned(), content)]))
}

fn whole(number: i128) -> Result<Nested, Fault> {
    match (i64::try_from(number), u64::try_from(number)) {
        (Ok(number), _) => Ok(Nested::Int(number)),
        (_, Ok(number)) => Ok(Nested::Uint(number)),
        _ => Err(Fault::custom(format!("{number} does not fit in 64 bits"))),
    }
}

macro_rules! whole_numbers {
    ($($method:ident: $number:ty),*) => {$(
        fn $method(self, number: $number) -> Result<Nested, Fault> {
            whole(number.into())
        }
    )*};
}

impl Serializer for ToNested {
    type Ok = Nested;
    type Error = Fault;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = Tagged<List>;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Tagged<Entries>;

    whole_numbers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64
    }

    fn serialize_i128(self, number: i128) -> Result<Nested, Fault> {
        if self.is_key { Ok(Nested::Str(number.to_string())) } else { whole(number) }
    }

    fn serialize_u128(self, number: u128) -> Result<Nested, Fault> {
        if self.is_key {
            return Ok(Nested::Str(number.to_string()));
        }
        i128::try_from(number).map_or_else(|_| Err(Fault::custom(format!("{number} does not fit in 64 bits"))), whole)
    }

    fn serialize_f32(self, number: f32) -> Result<Nested, Fault> {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<Nested, Fault> {
        match number.is_finite() {
            // Adding 0 turns −0 into 0 and nothing else into anything.
            true => Ok(Nested::Float(number + 0.0)),
            false => Err(Fault::new(What::NotFinite(number))),
        }
    }

    fn serialize_bool(self, value: bool) -> Result<Nested, Fault> {
        Ok(Nested::Bool(value))
    }

    fn serialize_char(self, value: char) -> Result<Nested, Fault> {
        Ok(Nested::Str(value.into()))
    }

    fn serialize_str(self, text: &str) -> Result<Nested, Fault> {
        Ok(Nested::Str(text.to_owned()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Nested, Fault> {
        Ok(Nested::Bytes(bytes.to_owned()))
    }

    fn serialize_none(self) -> Result<Nested, Fault> {
        Ok(Nested::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Nested, Fault> {
        match value.serialize(self.step()?)? {
            Nested::Null => Err(Fault::new(What::Unreadable("`Some` of what is null reads as `None`"))),
            value => Ok(value),
        }
    }

    fn serialize_unit(self) -> Result<Nested, Fault> {
        Ok(Nested::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Nested, Fault> {
        Ok(Nested::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Nested, Fault> {
        Ok(Nested::Str(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Nested, Fault> {
        value.serialize(self.step()?)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Nested, Fault> {
        let content = value.serialize(self.below()?).map_err(|fault| fault.within(variant.to_owned()))?;
        Ok(tagged(variant, content))
    }

    // No room is reserved on the word of the value.
    fn serialize_seq(self, _: Option<usize>) -> Result<List, Fault> {
        self.list()
    }

    fn serialize_tuple(self, _: usize) -> Result<List, Fault> {
        self.list()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List, Fault> {
        self.list()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Tagged<List>, Fault> {
        Ok(Tagged { variant, content: self.below()?.list()? })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries, Fault> {
        self.entries()
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Entries, Fault> {
        let mut entries = self.entries()?;
        entries.disguised = matches!(name, NUMBER | RAW_VALUE).then_some(name);
        Ok(entries)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Tagged<Entries>, Fault> {
        Ok(Tagged { variant, content: self.below()?.entries()? })
    }
}

/// An array in the making.
pub(super) struct List {
    items: Vec<Nested>,
    to: ToNested,
}

impl List {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let item = value.serialize(self.to).map_err(|fault| fault.within(self.items.len().to_string()))?;
        self.items.push(item);
        Ok(())
    }

    fn finish(self) -> Nested {
        Nested::Array(self.items)
    }
}

/// A map in the making.
pub(super) struct Entries {
    /// The name of the struct, if it is one of `serde_json`'s own.
    disguised: Option<&'static str>,
    entries: BTreeMap<String, Nested>,
    key: Option<String>,
    to: ToNested,
}

impl Entries {
    fn insert<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), Fault> {
        match (value.serialize(self.to), self.entries.entry(key)) {
            (Ok(value), Entry::Vacant(entry)) => {
                entry.insert(value);
                Ok(())
            }
            (Ok(_), Entry::Occupied(entry)) => {
                let reason = "two entries have this name (of several fields, or of keys that are one text)";
                Err(Fault::new(What::Unreadable(reason)).within(entry.key().clone()))
            }
            (Err(fault), entry) => Err(fault.within(entry.key().clone())),
        }
    }

    fn finish(self) -> Nested {
        Nested::Map(self.entries)
    }

    /// The value that the text in a struct of `serde_json`'s own stands for.
    fn undisguised(self, text: &str) -> Result<Nested, Fault> {
        let json: serde_json::Value = serde_json::from_str(text).map_err(Fault::custom)?;
        match json {
            // Numbers are in disguise themselves.
            serde_json::Value::Number(number) => number_of(&number, text.trim()),
            json => json.serialize(ToNested { depth: self.to.depth.saturating_sub(1), ..self.to }),
        }
    }
}

/// A number that was spelled so.
fn number_of(number: &serde_json::Number, text: &str) -> Result<Nested, Fault> {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(number), _, _) => Ok(Nested::Int(number)),
        (_, Some(number), _) => Ok(Nested::Uint(number)),
        (_, _, Some(float)) if decimal(text) == decimal(&format!("{float:e}")) => {
            ToNested::default().serialize_f64(float)
        }
        (_, _, Some(_)) => {
            Err(Fault::new(What::Unreadable("it has more digits than a number of 64 bits, and would be rounded")))
        }
        _ => Err(Fault::custom(format!("{number} does not fit in 64 bits"))),
    }
}

/// The digits and the exponent of a number, so that two spellings of one are equal.
fn decimal(text: &str) -> (bool, String, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let trimmed = digits.trim_start_matches('0').trim_end_matches('0');
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let exponent = exponent.parse::<i64>().unwrap_or_default().saturating_add(zeros as i64 - fraction.len() as i64);
    match trimmed.is_empty() {
        true => (false, String::new(), 0),
        false => (text.starts_with('-'), trimmed.to_owned(), exponent),
    }
}

/// The content of a variant in the making.
pub(super) struct Tagged<C> {
    variant: &'static str,
    content: C,
}

/// A key is a text, or what JSON makes a text of.
fn key_of<T: Serialize + ?Sized>(key: &T) -> Result<String, Fault> {
    match key.serialize(ToNested { is_key: true, ..ToNested::default() })? {
        Nested::Str(text) => Ok(text),
        Nested::Int(number) => Ok(number.to_string()),
        Nested::Uint(number) => Ok(number.to_string()),
        Nested::Float(number) => Ok(serde_json::Value::from(number).to_string()),
        Nested::Bool(value) => Ok(value.to_string()),
        _ => Err(Fault::custom("a key must be a text, a number or a truth value")),
    }
}

macro_rules! list {
    ($($trait:ident, $method:ident);*) => {$(
        impl $trait for List {
            type Ok = Nested;
            type Error = Fault;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
                self.push(value)
            }

            fn end(self) -> Result<Nested, Fault> {
                Ok(self.finish())
            }
        }
    )*};
}

list! {
    SerializeSeq, serialize_element; SerializeTuple, serialize_element; SerializeTupleStruct, serialize_field
}

impl SerializeTupleVariant for Tagged<List> {
    type Ok = Nested;
    type Error = Fault;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.content.push(value).map_err(|fault| fault.within(self.variant.to_owned()))
    }

    fn end(self) -> Result<Nested, Fault> {
        Ok(tagged(self.variant, self.content.finish()))
    }
}

impl SerializeMap for Entries {
    type Ok = Nested;
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        self.key = Some(key_of(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let key = self.key.take().ok_or_else(|| Fault::custom("a value without a key"))?;
        self.insert(key, value)
    }

    fn end(self) -> Result<Nested, Fault> {
        Ok(self.finish())
    }
}

impl SerializeStruct for Entries {
    type Ok = Nested;
    type Error = Fault;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Fault> {
        self.insert(key.to_owned(), value)
    }

    fn end(self) -> Result<Nested, Fault> {
        match self.disguised.and_then(|name| self.entries.get(name)) {
            Some(Nested::Str(text)) => {
                let text = text.clone();
                self.undisguised(&text)
            }
            _ => Ok(self.finish()),
        }
    }
}

impl SerializeStructVariant for Tagged<Entries> {
    type Ok = Nested;
    type Error = Fault;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Fault> {
        self.content.insert(key.to_owned(), value).map_err(|fault| fault.within(self.variant.to_owned()))
    }

    fn end(self) -> Result<Nested, Fault> {
        Ok(tagged(self.variant, self.content.finish()))
    }
}
