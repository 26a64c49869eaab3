//! The cells of a small entity as a run of bytes.
//!
//! | part | what |
//! |---|---|
//! | shape | 0: the entity has [many](super::many) cells; 1: its fields are listed beside; else 2 and a place in the table of shapes |
//! | writer, counter, stamp | of the first sibling: the *base* |
//! | mask | one bit for each further sibling: 0, it has the base's writer and stamp, and its counter is the base's and its place |
//! | siblings | its own dot, if the mask says so; the length of its content, or what stands for it; kind and bytes |
//!
//! A *shape* is the list of the fields, one for each sibling. Entities that are made alike have the same, so no record spells its fields,
//! and what one edit writes spells one dot. All numbers are LEB128. Long contents lie beside the bytes, where others share them.

use std::sync::Arc;

use crate::clock::Stamp;
use crate::id::Dot;
use crate::kernel::key::{Field, Payload, PayloadRef, Sibling, SiblingRef};
use crate::kernel::many::Many;
use crate::kernel::tables::Tables;

/// The longest content that lies in the record. What is longer has an allocation of its own.
const INLINE: usize = 120;

/// In place of a length: the content is one of the objects.
const SHARED: u8 = 125;
/// In place of a length: the content is that of the first sibling.
const AS_FIRST: u8 = 126;
/// In place of a length: a tombstone.
const TOMBSTONE: u8 = 127;

/// In place of a shape.
const MANY: u64 = 0;
const OWN_SHAPE: u64 = 1;
/// What the places of shapes begin at.
const SHAPES: u64 = 2;

/// One write to one cell.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Write {
    pub(super) field: Field,
    pub(super) sibling: Sibling,
}

/// What a record has outside its bytes.
#[derive(Clone, Debug)]
pub(super) enum Object {
    Shape(Arc<[Field]>),
    Content(Arc<[u8]>),
    Many(Arc<Many>),
}

/// A record where it lies.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) objects: &'a [Object],
}

/// What a record holds.
pub(super) enum Contents<'a> {
    Few(Few<'a>),
    Many(&'a Arc<Many>),
}

/// The cells of a small entity, by field and dot.
#[derive(Clone, Copy)]
pub(super) struct Few<'a> {
    shape: &'a [Field],
    tables: &'a Tables,
    rest: Record<'a>,
}

/// Packs the cells of a small entity, of which there is at least one.
pub(super) fn pack_few(writes: &[Write], tables: &mut Tables, bytes: &mut Vec<u8>, objects: &mut Vec<Object>) {
    let Some(Write { sibling: base, .. }) = writes.first() else { return };
    match tables.shape(writes) {
        Ok(place) => write_number(bytes, SHAPES + u64::from(place)),
        Err(shape) => {
            write_number(bytes, OWN_SHAPE);
            objects.push(Object::Shape(shape));
        }
    }
    write_number(bytes, tables.writer(base.dot.writer).into());
    write_number(bytes, base.dot.counter);
    bytes.extend_from_slice(&base.stamp.to_bits().to_le_bytes());
    let in_run = |(i, write): (u64, &Write)| {
        let Sibling { dot, stamp, .. } = &write.sibling;
        dot.writer == base.dot.writer && *stamp == base.stamp && base.dot.counter.checked_add(i) == Some(dot.counter)
    };
    let mask = (0..).zip(writes).skip(1).fold(0, |mask, (i, write)| mask | u64::from(!in_run((i, write))) << (i - 1));
    write_number(bytes, mask);
    let first = base.payload.as_ref().map_or(&[][..], Payload::bytes);
    for (i, Write { sibling, .. }) in writes.iter().enumerate() {
        if i > 0 && mask >> (i - 1) & 1 == 1 {
            write_number(bytes, tables.writer(sibling.dot.writer).into());
            write_number(bytes, sibling.dot.counter);
            write_number(bytes, zigzag(sibling.stamp.to_bits().wrapping_sub(base.stamp.to_bits())));
        }
        let Some(payload) = &sibling.payload else {
            bytes.push(TOMBSTONE);
            continue;
        };
        let content = payload.bytes();
        let is_as_first = i > 0 && (1..=INLINE).contains(&content.len()) && content == first;
        match content.len() {
            _ if is_as_first => bytes.extend_from_slice(&[AS_FIRST, payload.kind()]),
            len @ 0..=INLINE => {
                bytes.extend_from_slice(&[len as u8, payload.kind()]);
                bytes.extend_from_slice(content);
            }
            _ => {
                bytes.extend_from_slice(&[SHARED, payload.kind()]);
                objects.push(Object::Content(payload.as_ref().allocation().cloned().unwrap_or_else(|| content.into())));
            }
        }
    }
}

/// Packs the cells of a large entity.
pub(super) fn pack_many(many: &Arc<Many>, bytes: &mut Vec<u8>, objects: &mut Vec<Object>) {
    write_number(bytes, MANY);
    objects.push(Object::Many(many.clone()));
}

impl<'a> Record<'a> {
    pub(super) fn contents(self, tables: &'a Tables) -> Contents<'a> {
        let mut rest = self;
        match rest.number() {
            MANY => match rest.objects {
                [Object::Many(many), ..] => Contents::Many(many),
                _ => unreachable!("a record of many cells without them"),
            },
            OWN_SHAPE => match rest.objects {
                [Object::Shape(shape), objects @ ..] => {
                    rest.objects = objects;
                    Contents::Few(Few { shape, tables, rest })
                }
                _ => unreachable!("a record without its fields"),
            },
            place => Contents::Few(Few { shape: tables.fields(place - SHAPES), tables, rest }),
        }
    }

    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.bytes.split_first().expect("records end with their last sibling");
        self.bytes = rest;
        *byte
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        taken
    }

    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
            shift += 7;
        }
    }
}

impl<'a> Few<'a> {
    pub(super) fn fields(&self) -> &'a [Field] {
        self.shape
    }

    pub(super) fn iter(self) -> FewIter<'a> {
        let Self { shape, tables, mut rest } = self;
        let (writer, counter) = (rest.number(), rest.number());
        let mut stamp = [0; 8];
        stamp.copy_from_slice(rest.take(8));
        let base = Base { writer, counter, stamp: u64::from_le_bytes(stamp) };
        let mask = rest.number();
        FewIter { shape, tables, rest, base, mask, first: &[], place: 0 }
    }
}

/// The siblings of a small entity with their fields.
#[derive(Clone)]
pub(super) struct FewIter<'a> {
    shape: &'a [Field],
    tables: &'a Tables,
    rest: Record<'a>,
    base: Base,
    mask: u64,
    /// Content of the first sibling.
    first: &'a [u8],
    place: usize,
}

/// What the first sibling was written by, and when.
#[derive(Clone, Copy)]
struct Base {
    /// Its place in the table.
    writer: u64,
    counter: u64,
    stamp: u64,
}

impl<'a> FewIter<'a> {
    /// Goes on to a later sibling.
    pub(super) fn skip_siblings(&mut self, siblings: usize) {
        for _ in 0..siblings {
            if self.has_own_dot() {
                self.skip_dot();
            }
            self.content();
            self.place += 1;
        }
    }

    /// Whether the next sibling is live, which takes a look at two bytes.
    pub(super) fn is_live(&mut self) -> bool {
        if self.has_own_dot() {
            self.skip_dot();
        }
        self.rest.bytes.first() != Some(&TOMBSTONE)
    }

    fn skip_dot(&mut self) {
        for _ in 0..3 {
            self.rest.number();
        }
    }

    fn has_own_dot(&self) -> bool {
        self.place > 0 && self.mask >> (self.place - 1) & 1 == 1
    }

    fn dot(&mut self) -> (Dot, Stamp) {
        let Base { writer, counter, stamp } = self.base;
        let (writer, counter, stamp) = match self.has_own_dot() {
            false => (writer, counter.wrapping_add(self.place as u64), stamp),
            true => {
                let (writer, counter) = (self.rest.number(), self.rest.number());
                (writer, counter, stamp.wrapping_add(unzigzag(self.rest.number())))
            }
        };
        (Dot { writer: self.tables.writer_at(writer), counter }, Stamp::from_bits(stamp))
    }

    fn content(&mut self) -> Option<PayloadRef<'a>> {
        let len = self.rest.byte();
        if len == TOMBSTONE {
            return None;
        }
        let kind = self.rest.byte();
        match len {
            AS_FIRST => Some(PayloadRef::packed(kind, self.first)),
            SHARED => match self.rest.objects {
                [Object::Content(bytes), objects @ ..] => {
                    self.rest.objects = objects;
                    if self.place == 0 {
                        self.first = bytes;
                    }
                    Some(PayloadRef::shared(kind, bytes))
                }
                _ => unreachable!("a long content that does not lie beside its record"),
            },
            len => {
                let bytes = self.rest.take(usize::from(len));
                if self.place == 0 {
                    self.first = bytes;
                }
                Some(PayloadRef::packed(kind, bytes))
            }
        }
    }
}

impl<'a> Iterator for FewIter<'a> {
    type Item = (&'a Field, SiblingRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.shape.get(self.place)?;
        let (dot, stamp) = self.dot();
        let payload = self.content();
        self.place += 1;
        Some((field, SiblingRef { dot, stamp, payload }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.shape.len() - self.place;
        (len, Some(len))
    }
}

impl ExactSizeIterator for FewIter<'_> {}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A difference modulo 2⁶⁴, so that small ones of either sign are small numbers.
fn zigzag(difference: u64) -> u64 {
    let signed = difference as i64;
    (signed << 1 ^ signed >> 63) as u64
}

fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}
