//! The contents of a delta's writes, in one column for each field and [form](Form).
//!
//! | form | contents | spelling in the column |
//! |---|---|---|
//! | empty | of any kind, without bytes | nothing |
//! | bytes | of any kind | a number below 8: the place of an equal content among the last eight distinct ones, the latest first. 73: the latest with another [number at its end](split_digits), as a difference from its own. Else 8 plus the length of the prefix shared with the latest (at most 64), then the remaining bytes after their length |
//! | number | whole numbers of 64 bits | the difference from the number before |
//! | whole | floats without a fraction, below 2⁵³ | the same |
//! | short | other floats that end in two zero bytes or more | the bytes before these: one to six, as the form says |
//! | fixed | other floats | their eight bytes |
//! | ends | roots of edges whose type has at most 64 bytes | of open ends, the byte that says which; source, target, number; the type, as bytes are spelled |
//!
//! An end is spelled as the place of a part of the delta, plus one: for a source as the difference from the source before, for a
//! target as the difference from its source. If no part is about that node, the end is 0 and the sixteen bytes of its id.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use smallvec::SmallVec;

use crate::bugs::{Bug, is};
use crate::codec::cursor::Cursor;
use crate::codec::error::DecodeError;
use crate::kernel::{Delta, MAX_PAYLOAD_LEN, Part, Payload};
use crate::kinds::entity::{EDGE, NODE};
use crate::kinds::payload::{ENDS, FLOAT, INT, OPEN_ENDS};
use crate::numbers::{self, len_of_number, write_number, zigzag};

/// Number of earlier contents that can be referred to.
const RECENT: usize = 8;

/// Longest prefix that two contents share, and longest type of an edge in the form of ends, in bytes: a few bytes of a message
/// never stand for more.
pub(super) const MAX_SHARED_LEN: usize = 64;

/// Whole numbers below this are exact in a float.
const EXACT: f64 = (1u64 << 53) as f64;

/// The spelling of a content: its kind, and what its bytes allow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Form {
    Tombstone,
    Empty(u8),
    Bytes(u8),
    Number,
    Whole,
    /// The number of bytes before the zeros.
    Short(u8),
    Fixed,
    Ends(u8),
}

impl Form {
    pub(super) fn of(payload: Option<&Payload>) -> Self {
        let Some(payload) = payload else { return Self::Tombstone };
        let (kind, bytes) = (payload.kind(), payload.bytes());
        match kind {
            _ if bytes.is_empty() => Self::Empty(kind),
            INT if number_of(bytes).is_some() => Self::Number,
            FLOAT => match <[u8; 8]>::try_from(bytes) {
                Ok(bytes) if whole_of(bytes).is_some() => Self::Whole,
                Ok(bytes) => short_len(bytes).map_or(Self::Fixed, Self::Short),
                Err(_) => Self::Bytes(FLOAT),
            },
            ENDS | OPEN_ENDS if ends_of(payload).is_some() => Self::Ends(kind),
            _ => Self::Bytes(kind),
        }
    }

    pub(super) fn code(self) -> u64 {
        let (kind, class) = match self {
            Self::Tombstone => return 0,
            Self::Short(len) => return SHORT + u64::from(len),
            Self::Empty(kind) => (kind, 0),
            Self::Bytes(kind) => (kind, 1),
            Self::Number => (INT, 2),
            Self::Whole => (FLOAT, 2),
            Self::Fixed => (FLOAT, 3),
            Self::Ends(kind) => (kind, 2),
        };
        let kind = if is(Bug::KindLost) && class < 2 { 0 } else { kind };
        1 + u64::from(kind) * 4 + class
    }

    pub(super) fn of_code(code: u64) -> Result<Self, DecodeError> {
        let Some(code) = code.checked_sub(1) else { return Ok(Self::Tombstone) };
        if let Some(len) = (code + 1).checked_sub(SHORT).filter(|len| SHORT_LENS.contains(len)) {
            return Ok(Self::Short(len as u8));
        }
        let kind = u8::try_from(code / 4).map_err(|_| DecodeError::Malformed("a kind past 255"))?;
        Ok(match (code % 4, kind) {
            (0, _) => Self::Empty(kind),
            (1, _) => Self::Bytes(kind),
            (2, INT) => Self::Number,
            (2, FLOAT) => Self::Whole,
            (3, FLOAT) => Self::Fixed,
            (2, ENDS | OPEN_ENDS) => Self::Ends(kind),
            _ => return Err(DecodeError::Malformed("a content of an unknown form")),
        })
    }

    pub(super) fn has_column(self) -> bool {
        !matches!(self, Self::Tombstone | Self::Empty(_))
    }
}

/// The number that big-endian bytes spell, if they are the fewest that do.
fn number_of(bytes: &[u8]) -> Option<i64> {
    let (first, rest) = bytes.split_first()?;
    let sign = if first & 0x80 == 0 { 0 } else { 0xff };
    let is_shortest = rest.first().is_none_or(|second| *first != sign || (second ^ sign) & 0x80 != 0);
    let mut number = [sign; 8];
    number.get_mut(8usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    is_shortest.then(|| i64::from_be_bytes(number))
}

/// The fewest bytes of a number.
fn number_payload(number: i64) -> Payload {
    let bytes = number.to_be_bytes();
    // The sign takes one bit.
    let needed = 64 - (if number < 0 { !number } else { number }).leading_zeros() + 1;
    Payload::new(INT, &bytes[8 - needed.div_ceil(8) as usize..])
}

fn whole_of(bytes: [u8; 8]) -> Option<i64> {
    let float = f64::from_be_bytes(bytes);
    // −0 is another float than 0.
    (float.abs() < EXACT && (float as i64 as f64).to_bits() == float.to_bits()).then_some(float as i64)
}

/// The code of the form of short floats of no byte: past all that kinds have.
const SHORT: u64 = 1 + 4 * 256;

/// The lengths of short floats.
const SHORT_LENS: std::ops::RangeInclusive<u64> = 1..=6;

/// The number of bytes of a float before the zeros that it ends in, if they are few.
fn short_len(bytes: [u8; 8]) -> Option<u8> {
    let len = 8 - u64::from(u64::from_be_bytes(bytes).trailing_zeros() / 8);
    SHORT_LENS.contains(&len).then_some(len as u8)
}

/// The ends of an edge, in the bytes of its root.
pub(super) struct Ends<'a> {
    /// The byte that says which ends were seen, in open ends.
    open: Option<u8>,
    pub(super) source: &'a [u8; 16],
    pub(super) target: &'a [u8; 16],
    pub(super) number: u64,
    pub(super) edge_type: &'a [u8],
}

/// The ends that a payload spells. `None` if its type is too long to be told in few bytes.
pub(super) fn ends_of(payload: &Payload) -> Option<Ends<'_>> {
    let (open, rest) = match payload.kind() {
        ENDS => (None, payload.bytes()),
        OPEN_ENDS => payload.bytes().split_first().map(|(open, rest)| (Some(*open), rest))?,
        _ => return None,
    };
    let (source, rest) = rest.split_first_chunk()?;
    let (target, rest) = rest.split_first_chunk()?;
    let (number, edge_type) = rest.split_first_chunk()?;
    let ends = Ends { open, source, target, number: u64::from_be_bytes(*number), edge_type };
    (edge_type.len() <= MAX_SHARED_LEN).then_some(ends)
}

/// Reads a difference.
pub(super) fn unzigzag(number: u64) -> i64 {
    let number = numbers::unzigzag(number);
    if is(Bug::SignLost) { number.wrapping_abs() } else { number }
}

/// The number that is so far from another, modulo 2⁶⁴.
pub(super) fn at_distance(number: u64, difference: i64) -> u64 {
    match is(Bug::Saturates) {
        true => number.saturating_add_signed(difference),
        false => number.wrapping_add(difference as u64),
    }
}

/// Places of nodes among the parts, in the order of the wire. Empty if no edge needs them.
pub(super) struct Places(HashMap<u128, u32, Folding>);

impl Places {
    /// `order` are all parts.
    pub(super) fn of(delta: &Delta, order: impl Iterator<Item = usize>) -> Self {
        let mut places = HashMap::with_hasher(Folding::default());
        if delta.parts.iter().any(|part| part.entity.kind() == EDGE) {
            let entities = order.map(|i| delta.parts[i].entity);
            let nodes = entities.zip(0..).filter(|(entity, _)| entity.kind() == NODE);
            places.extend(nodes.map(|(entity, place)| (u128::from_ne_bytes(*entity.id()), place)));
        }
        Self(places)
    }

    fn get(&self, id: &[u8; 16]) -> Option<u32> {
        self.0.get(&u128::from_ne_bytes(*id)).copied()
    }
}

/// Hashes an id by one multiplication of its halves, each mixed with a random key: ids are hashes as a rule, and the keys keep
/// a stranger from choosing ids that collide.
struct Folding([u64; 2]);

impl Default for Folding {
    fn default() -> Self {
        let random = RandomState::new();
        Self([random.hash_one(0u8), random.hash_one(1u8)])
    }
}

impl BuildHasher for Folding {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { keys: self.0, hash: 0 }
    }
}

struct Folded {
    keys: [u64; 2],
    hash: u64,
}

impl Hasher for Folded {
    fn write_u128(&mut self, id: u128) {
        let [a, b] = [id as u64 ^ self.keys[0], (id >> 64) as u64 ^ self.keys[1]];
        let product = u128::from(a) * u128::from(b);
        self.hash ^= product as u64 ^ (product >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u128((*byte).into()));
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

// ---- writing ----

/// The last distinct contents, the latest first, each with a [key](key_of) by which most others are told from it.
#[derive(Default)]
pub(super) struct Written<'a>(Vec<(u64, &'a [u8])>);

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
    pub(super) fn len_of(&self, bytes: &[u8]) -> usize {
        if self.0.iter().any(|(_, recent)| *recent == bytes) {
            return 1;
        }
        let latest = self.0.first().map_or(&[][..], |(_, latest)| latest);
        match difference_of_digits(latest, bytes) {
            Some(difference) => 1 + len_of_number(zigzag(difference)),
            None => 2 + bytes.len() - shared_prefix(latest, bytes),
        }
    }

    pub(super) fn write(&mut self, out: &mut Vec<u8>, bytes: &'a [u8]) {
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
fn split_digits(text: &[u8]) -> Option<(&[u8], i64)> {
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

struct WriteColumn<'a> {
    field: u32,
    form: Form,
    recent: Written<'a>,
    /// The number before; of ends, the place of the source before.
    last: i64,
    out: Vec<u8>,
}

/// The number of a column, or [`NONE`](Self::NONE) for contents that take no bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ColumnNumber(u32);

impl ColumnNumber {
    const NONE: Self = Self(u32::MAX);
}

pub(super) struct WriteContents<'a> {
    places: Places,
    columns: Vec<WriteColumn<'a>>,
    /// The columns of each field.
    by_field: Vec<SmallVec<[u32; 2]>>,
}

impl<'a> WriteContents<'a> {
    pub(super) fn new(places: Places) -> Self {
        Self { places, columns: Vec::new(), by_field: Vec::new() }
    }

    /// Finds the column of a field and form, or begins it.
    pub(super) fn column(&mut self, field: u32, form: Form) -> ColumnNumber {
        if !form.has_column() {
            return ColumnNumber::NONE;
        }
        if self.by_field.len() <= field as usize {
            self.by_field.resize_with(field as usize + 1, SmallVec::new);
        }
        let of_field = &mut self.by_field[field as usize];
        let known = of_field.iter().find(|number| self.columns[**number as usize].form == form);
        ColumnNumber(known.copied().unwrap_or_else(|| {
            let number = self.columns.len() as u32;
            of_field.push(number);
            self.columns.push(WriteColumn { field, form, recent: Written::default(), last: 0, out: Vec::new() });
            number
        }))
    }

    pub(super) fn write(&mut self, number: ColumnNumber, payload: &'a Payload) {
        let Some(column) = self.columns.get_mut(number.0 as usize) else { return };
        let bytes = payload.bytes();
        let number = match column.form {
            Form::Tombstone | Form::Empty(_) => return,
            Form::Bytes(_) => return column.recent.write(&mut column.out, bytes),
            Form::Fixed => return column.out.extend_from_slice(bytes),
            Form::Short(len) => return column.out.extend(bytes.iter().take(len.into())),
            Form::Ends(_) => return column.write_ends(&self.places, payload),
            Form::Number => number_of(bytes),
            Form::Whole => <[u8; 8]>::try_from(bytes).ok().and_then(whole_of),
        };
        let number = number.unwrap_or_default();
        write_number(&mut column.out, zigzag(number.wrapping_sub(column.last)));
        column.last = number;
    }

    /// The length of all columns, their lengths, and each of them.
    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        self.columns.sort_unstable_by_key(|column| (column.field, column.form.code()));
        let mut lens = Vec::with_capacity(2 * self.columns.len());
        self.columns.iter().for_each(|column| write_number(&mut lens, column.out.len() as u64));
        let len = lens.len() + self.columns.iter().map(|column| column.out.len()).sum::<usize>();
        let mut all = Vec::with_capacity(4);
        write_number(&mut all, len as u64);
        [all, lens].into_iter().chain(self.columns.into_iter().map(|column| column.out)).collect()
    }
}

impl<'a> WriteColumn<'a> {
    fn write_ends(&mut self, places: &Places, payload: &'a Payload) {
        let Some(Ends { open, source, target, number, edge_type }) = ends_of(payload) else { return };
        let Self { out, recent, last, .. } = self;
        out.extend(open);
        let mut end = |id: &[u8; 16], from: i64| match places.get(id) {
            Some(place) => {
                // Places have 32 bits, so adding one does not overflow.
                write_number(out, 1 + zigzag(i64::from(place) - from));
                i64::from(place)
            }
            None => {
                out.push(0);
                out.extend_from_slice(id);
                from
            }
        };
        *last = end(source, *last);
        end(target, *last);
        write_number(out, number);
        recent.write(out, edge_type);
    }
}

// ---- reading ----

struct ReadColumn<'a> {
    form: Form,
    recent: Read,
    last: i64,
    rest: Cursor<'a>,
}

/// The last distinct contents, the latest first, and a buffer in which one is put together.
#[derive(Default)]
pub(super) struct Read {
    recent: Vec<Payload>,
    buffer: Vec<u8>,
}

pub(super) struct ReadContents<'a> {
    /// Field and code of the form of each column, sorted.
    names: Vec<(u32, u64)>,
    columns: Vec<ReadColumn<'a>>,
}

impl<'a> ReadContents<'a> {
    /// Finds the columns, one for each of these fields and forms.
    pub(super) fn new(mut cursor: Cursor<'a>, forms: impl Iterator<Item = (u32, Form)>) -> Result<Self, DecodeError> {
        let with_column = forms.filter(|(_, form)| form.has_column());
        let mut names: Vec<(u32, u64)> = with_column.map(|(field, form)| (field, form.code())).collect();
        names.sort_unstable();
        names.dedup();
        let mut lens = Vec::with_capacity(names.len().min(cursor.rest().len()));
        for _ in &names {
            lens.push(cursor.number()?);
        }
        let mut columns = Vec::with_capacity(lens.len());
        for ((_, code), len) in names.iter().zip(lens) {
            let (form, rest) = (Form::of_code(*code)?, Cursor::new(cursor.take(len)?));
            columns.push(ReadColumn { form, recent: Read::default(), last: 0, rest });
        }
        cursor.end()?;
        Ok(Self { names, columns })
    }

    pub(super) fn column(&self, field: u32, form: Form) -> ColumnNumber {
        let found = form.has_column().then(|| self.names.binary_search(&(field, form.code())).ok());
        found.flatten().map_or(ColumnNumber::NONE, |number| ColumnNumber(number as u32))
    }

    /// The next content of a column; not for ends.
    pub(super) fn read(&mut self, number: ColumnNumber) -> Result<Payload, DecodeError> {
        let Some(column) = self.columns.get_mut(number.0 as usize) else { return Err(NO_COLUMN) };
        Ok(match column.form {
            Form::Number => number_payload(column.read_number()?),
            Form::Whole => Payload::new(FLOAT, &(column.read_number()? as f64).to_be_bytes()),
            Form::Fixed => Payload::new(FLOAT, &column.rest.array::<8>()?),
            Form::Short(len) => {
                let mut bytes = [0; 8];
                bytes[..usize::from(len)].copy_from_slice(column.rest.take(len.into())?);
                Payload::new(FLOAT, &bytes)
            }
            Form::Bytes(kind) => column.recent.read(&mut column.rest, kind)?.clone(),
            Form::Tombstone | Form::Empty(_) | Form::Ends(_) => return Err(NO_COLUMN),
        })
    }

    /// The next ends of a column. `parts` are all of the delta, in the order of the wire.
    pub(super) fn read_ends(&mut self, number: ColumnNumber, parts: &[Part]) -> Result<Payload, DecodeError> {
        let Some(column) = self.columns.get_mut(number.0 as usize) else { return Err(NO_COLUMN) };
        let Form::Ends(kind) = column.form else { return Err(NO_COLUMN) };
        let mut bytes = SmallVec::<[u8; 128]>::new();
        let rest = &mut column.rest;
        if kind == OPEN_ENDS {
            bytes.push(rest.byte()?);
        }
        let mut end = |from: i64| {
            let Some(difference) = rest.number()?.checked_sub(1) else {
                bytes.extend_from_slice(&rest.array::<16>()?);
                return Ok(from);
            };
            let place = from.wrapping_add(unzigzag(difference));
            let part = usize::try_from(place).ok().and_then(|place| parts.get(place));
            let part = part.filter(|part| part.entity.kind() == NODE);
            bytes.extend_from_slice(part.ok_or(DecodeError::Malformed("an end that is no node"))?.entity.id());
            Ok(place)
        };
        column.last = end(column.last)?;
        end(column.last)?;
        bytes.extend_from_slice(&rest.number()?.to_be_bytes());
        let edge_type = column.recent.read(&mut column.rest, 0)?.bytes();
        if edge_type.len() > MAX_SHARED_LEN {
            return Err(DecodeError::Malformed("ends whose type is too long"));
        }
        bytes.extend_from_slice(edge_type);
        Ok(Payload::new(kind, &bytes))
    }

    pub(super) fn end(self) -> Result<(), DecodeError> {
        self.columns.into_iter().try_for_each(|column| column.rest.end())
    }
}

impl ReadColumn<'_> {
    fn read_number(&mut self) -> Result<i64, DecodeError> {
        self.last = at_distance(self.last as u64, unzigzag(self.rest.number()?)) as i64;
        Ok(self.last)
    }
}

impl Read {
    pub(super) fn read(&mut self, from: &mut Cursor<'_>, kind: u8) -> Result<&Payload, DecodeError> {
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

const NO_COLUMN: DecodeError = DecodeError::Malformed("a content without a column");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_fewest_bytes_that_spell_it() {
        for number in [0, 1, -1, 127, 128, -128, -129, 255, 256, 32_767, 32_768, 1 << 40, i64::MAX, i64::MIN] {
            let payload = number_payload(number);
            assert_eq!(number_of(payload.bytes()), Some(number), "{number}");
            assert_eq!(Form::of(Some(&payload)), Form::Number);
            let longer = [&[if number < 0 { 0xff } else { 0 }][..], payload.bytes()].concat();
            assert_eq!(number_of(&longer), None, "{number}");
        }
        assert_eq!(number_of(&[]), None);
        assert_eq!(number_of(&[0, 0xff, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn floats_that_are_not_whole_keep_their_bits() {
        let form = |float: f64| Form::of(Some(&Payload::new(FLOAT, &float.to_be_bytes())));
        for whole in [0.0, 1.0, -3.0, EXACT - 1.0, 1.0 - EXACT] {
            assert_eq!(form(whole), Form::Whole, "{whole}");
        }
        for (other, len) in
            [(-0.0, 1), (0.5, 2), (-0.25, 2), (1234.75, 3), (EXACT, 2), (f64::NAN, 2), (f64::MIN_POSITIVE, 2)]
        {
            assert_eq!(form(other), Form::Short(len), "{other}");
        }
        let with_last_byte =
            |place: u32| f64::from_bits(0.1f64.to_bits() >> (8 * place) << (8 * place) | 1 << (8 * place));
        assert_eq!(
            [0, 1, 2, 3].map(|place| form(with_last_byte(place))),
            [Form::Fixed, Form::Fixed, Form::Short(6), Form::Short(5)]
        );
        assert_eq!(form(0.1), Form::Fixed);
        assert_eq!(Form::of(Some(&Payload::new(FLOAT, &[1]))), Form::Bytes(FLOAT));
    }

    #[test]
    fn every_form_has_a_code_of_its_own() {
        let forms = (0..=255).flat_map(|kind| [Form::Empty(kind), Form::Bytes(kind)]);
        let forms = forms.chain((1..=6).map(Form::Short));
        let others = [Form::Tombstone, Form::Number, Form::Whole, Form::Fixed, Form::Ends(ENDS), Form::Ends(OPEN_ENDS)];
        let forms: Vec<_> = forms.chain(others).collect();
        let mut codes: Vec<_> = forms.iter().map(|form| form.code()).collect();
        assert!(forms.iter().zip(&codes).all(|(form, code)| Form::of_code(*code) == Ok(*form)));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), forms.len());
        assert!([SHORT, SHORT + 7].iter().all(|code| Form::of_code(*code).is_err()));
    }

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

    #[test]
    fn signs_survive_zigzag() {
        for number in [0, 1, -1, 64, -64, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(number)), number);
        }
        assert_eq!([0, -1, 1, -2, 2].map(zigzag), [0, 1, 2, 3, 4]);
    }
}
