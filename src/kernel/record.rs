//! The cells of a small entity as a run of bytes.
//!
//! | part | what |
//! |---|---|
//! | shape | 0: the entity has [many](super::many) cells; 1: its fields are listed beside; else 2 and a place in the table of shapes |
//! | writer, counter, stamp | of the first sibling: the *base* |
//! | mask | one bit for each further sibling: 0, it has the base's writer and stamp, and its counter is the base's and its place |
//! | siblings | its own dot, if the mask says so; the length of its content, or what stands for it; kind and bytes |
//!
//! A *shape* is the list of the fields, one for each sibling. Entities that are made alike share a shape, so no record spells its fields;
//! and the siblings that one edit writes spell one dot. All numbers are LEB128. Long contents lie beside the bytes, where others share them.

use std::sync::Arc;

use crate::clock::Stamp;
use crate::id::Dot;
use crate::kernel::key::{Field, Payload, PayloadRef, Sibling, SiblingRef};
use crate::kernel::many::Many;
use crate::kernel::tables::Tables;
use crate::numbers::{unzigzag, write_number, zigzag};

/// The longest content that lies in the record, in bytes. A longer one has an allocation of its own.
const INLINE: usize = 120;

/// The same as it is spelled.
const INLINE_LEN: u8 = INLINE as u8;

/// Stands for a length: the content is one of the objects.
const SHARED: u8 = 125;
/// Stands for a length: the content is that of the first sibling.
const AS_FIRST: u8 = 126;
/// Stands for a length: the sibling is a tombstone.
const TOMBSTONE: u8 = 127;

/// Stands for a shape: the entity is large.
const MANY: u64 = 0;
/// Stands for a shape: the first object lists the fields.
const OWN_SHAPE: u64 = 1;
/// The number of the shape with place 0.
const SHAPES: u64 = 2;

/// One write to one cell.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Write {
    pub(super) field: Field,
    pub(super) sibling: Sibling,
}

/// A part of a record that lies outside its bytes.
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

/// The cells in a record.
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
pub(super) fn pack_few(writes: &[Write], tables: &mut Arc<Tables>, bytes: &mut Vec<u8>, objects: &mut Vec<Object>) {
    let Some(Write { sibling: base, .. }) = writes.first() else { return };
    match Tables::shape(tables, writes) {
        Ok(place) => write_number(bytes, SHAPES + u64::from(place)),
        Err(shape) => {
            write_number(bytes, OWN_SHAPE);
            objects.push(Object::Shape(shape));
        }
    }
    write_number(bytes, Tables::writer(tables, base.dot.writer).into());
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
            write_number(bytes, Tables::writer(tables, sibling.dot.writer).into());
            write_number(bytes, sibling.dot.counter);
            write_number(bytes, zigzag(sibling.stamp.to_bits().wrapping_sub(base.stamp.to_bits()) as i64));
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
        let shape: &[Field] = match rest.number() {
            MANY | OWN_SHAPE => match rest.object() {
                Some(Object::Many(many)) => return Contents::Many(many),
                Some(Object::Shape(shape)) => shape,
                other => {
                    debug_assert!(false, "{other:?} in place of cells or fields");
                    &[]
                }
            },
            place => tables.fields(place - SHAPES),
        };
        Contents::Few(Few { shape, tables, rest })
    }

    fn object(&mut self) -> Option<&'a Object> {
        let (object, rest) = self.objects.split_first()?;
        self.objects = rest;
        Some(object)
    }

    fn byte(&mut self) -> u8 {
        let byte = self.bytes[0];
        self.bytes = &self.bytes[1..];
        byte
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        taken
    }

    fn number(&mut self) -> u64 {
        // Nearly all have one byte.
        if let [byte @ ..0x80, rest @ ..] = self.bytes {
            self.bytes = rest;
            return u64::from(*byte);
        }
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

    /// The siblings of a field: the first of them, to go on from, and their number. None if there are none.
    pub(super) fn siblings(self, field: &[u8]) -> Option<(FewIter<'a>, usize)> {
        let is_it = |of: &&Field| of.as_bytes() == field;
        let start = self.shape.iter().position(|of| is_it(&of))?;
        let len = 1 + self.shape[start + 1..].iter().take_while(is_it).count();
        let mut siblings = self.iter();
        siblings.skip_siblings(start);
        Some((siblings, len))
    }

    /// Returns whether the sibling at a place is live.
    pub(super) fn is_live_at(self, place: usize) -> bool {
        let mut siblings = self.iter();
        siblings.skip_siblings(place);
        if siblings.has_own_dot() {
            siblings.skip_dot();
        }
        siblings.rest.bytes.first() != Some(&TOMBSTONE)
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

/// The dot and the stamp of the first sibling.
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
            match self.rest.bytes {
                [len @ ..=INLINE_LEN, _, rest @ ..] if self.place > 0 => self.rest.bytes = &rest[usize::from(*len)..],
                _ => drop(self.content()),
            }
            self.place += 1;
        }
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
                (writer, counter, stamp.wrapping_add_signed(unzigzag(self.rest.number())))
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
            SHARED => match self.rest.object() {
                Some(Object::Content(bytes)) => Some(PayloadRef::shared(kind, bytes)),
                other => {
                    debug_assert!(false, "{other:?} in place of a long content");
                    None
                }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::WriterId;

    /// Fields that repeat and that do not, dots in a run and elsewhere, contents at the edges of each form.
    fn write() -> impl Strategy<Value = Write> {
        let field = prop_oneof![Just(vec![]), prop::collection::vec(any::<u8>(), 1..4)];
        let dot = prop_oneof![
            4 => (Just(1u8), 1u64..60, Just(7u64)),
            1 => (any::<u8>(), prop_oneof![1u64..200, Just(u64::MAX)], prop_oneof![0u64..10, Just(u64::MAX), Just(0)]),
        ];
        let len = prop_oneof![0usize..5, INLINE - 1..INLINE + 2, Just(127), Just(128), Just(300)];
        let payload = prop::option::weighted(0.8, (any::<u8>(), 0u8..2, len));
        (field, dot, payload).prop_map(|(field, (writer, counter, stamp), payload)| Write {
            field: Field::new(&field),
            sibling: Sibling {
                dot: Dot { writer: WriterId::from([writer; 10]), counter },
                stamp: Stamp::from_bits(stamp),
                payload: payload.map(|(kind, byte, len)| Payload::new(kind, &vec![byte; len])),
            },
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_packed_is_read_as_it_was(
            records in prop::collection::vec(prop::collection::vec(write(), 1..49), 1..6),
        ) {
            let mut tables = Arc::new(Tables::default());
            let packed: Vec<_> = records.iter().map(|writes| {
                let (mut bytes, mut objects) = (Vec::new(), Vec::new());
                pack_few(writes, &mut tables, &mut bytes, &mut objects);
                (bytes, objects)
            }).collect();
            for (writes, (bytes, objects)) in records.iter().zip(&packed) {
                let Contents::Few(few) = (Record { bytes, objects }).contents(&tables) else { panic!("few") };
                let all: Vec<_> = writes.iter().map(|write| (&write.field, write.sibling.as_ref())).collect();
                prop_assert_eq!(few.iter().collect::<Vec<_>>(), all.clone());
                prop_assert_eq!(few.iter().len(), all.len());
                for place in 0..all.len() {
                    let mut rest = few.iter();
                    rest.skip_siblings(place);
                    prop_assert_eq!(few.is_live_at(place), all[place].1.is_live());
                    prop_assert_eq!(rest.collect::<Vec<_>>(), all[place..].to_vec());
                }
                // Long contents are shared, not copied.
                let long = writes.iter().filter_map(|write| write.sibling.payload.as_ref()?.as_ref().allocation());
                let long: Vec<_> = long.filter(|bytes| bytes.len() > INLINE).map(Arc::as_ptr).collect();
                let there = few.iter().filter_map(|(_, sibling)| sibling.payload?.allocation()).map(Arc::as_ptr);
                prop_assert_eq!(there.collect::<Vec<_>>(), long);
            }
        }
    }

    #[test]
    fn a_node_of_three_properties_takes_what_its_contents_take_and_a_few_bytes() {
        let mut tables = Arc::new(Tables::default());
        let write = |counter: u64, field: &[u8], content: &[u8]| Write {
            field: Field::new(field),
            sibling: Sibling {
                dot: Dot { writer: WriterId::from([1; 10]), counter },
                stamp: Stamp::new(1_700_000_000_000, 0),
                payload: Some(Payload::new(6, content)),
            },
        };
        let mut take = |writes: &[Write]| {
            let (mut bytes, mut objects) = (Vec::new(), Vec::new());
            pack_few(writes, &mut tables, &mut bytes, &mut objects);
            assert!(objects.is_empty());
            bytes.len()
        };
        let node = [
            write(100, b"", b"person:ada"),
            write(101, b"name", b"person:ada"),
            write(102, b"title", b"countess"),
            write(103, b"weight", &[0; 8]),
        ];
        // Shape, writer, counter, stamp and mask are 12 bytes; length and kind of each content two.
        assert_eq!(take(&node), 12 + 4 * 2 + 10 + 8 + 8);
        // Overwritten, one has a dot of its own.
        let mut overwritten = node.clone();
        overwritten[3].sibling.dot.counter = 300;
        assert_eq!(take(&overwritten), take(&node) + 4);
    }

    #[test]
    fn shapes_that_do_not_fit_into_the_table_are_spelled() {
        let mut tables = Arc::new(Tables::default());
        let of = |n: u32| Write {
            field: Field::new(&[&n.to_be_bytes()[..], &[0; 4000]].concat()),
            sibling: Sibling {
                dot: Dot { writer: WriterId::from([1; 10]), counter: 1 },
                stamp: Stamp::default(),
                payload: None,
            },
        };
        let mut spelled = 0;
        for n in 0..1000 {
            let (mut bytes, mut objects) = (Vec::new(), Vec::new());
            pack_few(&[of(n)], &mut tables, &mut bytes, &mut objects);
            spelled += objects.len();
            let Contents::Few(few) = (Record { bytes: &bytes, objects: &objects }).contents(&tables) else {
                panic!("few")
            };
            assert_eq!(few.fields(), [of(n).field]);
        }
        assert!((700..800).contains(&spelled), "{spelled}");
    }
}
