//! The parts of a delta as columns: equal kinds of data lie together, so neighbours are alike and take few bytes.
//!
//! Parts stand in the order of the dots that their runs begin with, or of their least known dots if they have no writes; first come
//! those without dots, by entity. So neighbours were written together, whatever their ids, and stay so when one of them is written
//! to. The columns follow each other, each after its length; a delta without parts has none.
//!
//! 1. **shapes**: the siblings of a part, without their dots and contents. A shape is told when it is first met: kind of the entity;
//!    1 if the part is whole, plus twice the [naming](Naming) of its id; the numbers of known siblings and of writes; the field of each
//!    known sibling; the field, the [form](Form) and the place of each write. Fields are differences from the one before. The
//!    *place* of a write is explained with the dots.
//! 2. **parts**: the number of each part's shape, counted from 0. A number that is one past those told so far says that the next shape
//!    of the table follows.
//! 3. **ids**: of each part whose id its writes do not tell, the name that stands for it, as bytes are spelled among contents, if
//!    that takes at most sixteen bytes, or else the id.
//! 4. **dots** of writes. The *run* of a part is made of its writes with the writer and the stamp that most of them have; of several
//!    such pairs, with the one that has the least dot. It begins with its least dot, and each of its writes has as its place one plus
//!    the distance of its counter from that. Its dot takes no further bytes. A write with place 0 is not in the
//!    run, and its dot stands after the first of the run. A dot is told as the difference from an [expected](Expected) one: that after the
//!    run of the part before, or, for place 0, after the last such dot of the field.
//! 5. **known**: the dots of known siblings, each expected after the last one of the field.
//! 6. **contents**: see [`contents`](super::contents).
//!
//! A shape of more than [`MAX_SHARED`] siblings is told anew for each part. This bounds the memory that few bytes can ask for: see
//! [`memory`].

use std::cmp::Reverse;
use std::collections::HashMap;

use smallvec::SmallVec;

use crate::clock::Stamp;
use crate::codec::contents::{
    ColumnNumber, Form, Places, Read, ReadContents, WriteContents, Written, at_distance, ends_of, unzigzag,
};
use crate::codec::cursor::Cursor;
use crate::codec::error::DecodeError;
use crate::id::{EdgeId, NodeId};
use crate::kernel::{Delta, DeltaWrite, Entity, FieldTable, Known, MAX_NAME_LEN, Part, PartRef, Payload};
use crate::kinds;
use crate::numbers::{write_number, zigzag};

/// Largest number of siblings of a shape that several parts share.
pub(super) const MAX_SHARED: usize = 16;

/// Number of shapes that are compared before the table is asked: graphs alternate between a few.
const RECENT: usize = 4;

/// The way in which the id of a part is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Naming {
    /// The bytes of the id.
    Spelled = 0,
    /// The first name in its root, from which the id is derived.
    Name = 1,
    /// The first ends in its root, from which the id is derived.
    Ends = 2,
    /// A name that is kept [beside the part](crate::kernel::Names), from which the id is derived.
    Beside = 3,
}

/// Facts that a reader has found about a delta whose parts still stand in the order of the wire. With them the check for canonical
/// bytes hashes no name twice and sorts nothing.
pub(crate) struct Told {
    /// The naming of each part.
    namings: Vec<Naming>,
    /// True if the runs alone show that no two dots are the same.
    pub(super) are_dots_distinct: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Shape {
    kind: u8,
    naming: Naming,
    whole: bool,
    known: Vec<u32>,
    writes: Vec<ShapeWrite>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct ShapeWrite {
    field: u32,
    form: Form,
    /// The place in the run; 0 for a write with a dot of its own.
    place: u64,
}

impl Shape {
    fn of(part: &PartRef<'_>, naming: Naming, base: Option<&DeltaWrite>) -> Self {
        Self {
            kind: part.entity.kind(),
            naming,
            whole: part.whole,
            known: part.known.iter().map(|known| known.field).collect(),
            writes: part.writes.iter().map(|write| ShapeWrite::of(write, base)).collect(),
        }
    }

    /// True if this is the shape of a part.
    fn is_of(&self, part: &PartRef<'_>, naming: Naming, base: Option<&DeltaWrite>) -> bool {
        (self.kind, self.naming, self.whole) == (part.entity.kind(), naming, part.whole)
            && (self.known.len(), self.writes.len()) == (part.known.len(), part.writes.len())
            && self.known.iter().zip(part.known).all(|(field, known)| *field == known.field)
            && self
                .writes
                .iter()
                .zip(part.writes)
                .all(|(of, write)| of.field == write.field && *of == ShapeWrite::of(write, base))
    }

    /// The number of counters that the run of a part takes.
    fn run_len(&self) -> u64 {
        self.writes.iter().map(|write| write.place).max().unwrap_or(0)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind);
        out.push(u8::from(self.whole) | (self.naming as u8) << 1);
        write_number(out, self.known.len() as u64);
        write_number(out, self.writes.len() as u64);
        // Fields ascend; those that a test spells may not.
        let mut last = 0;
        for field in &self.known {
            write_number(out, u64::from(field.wrapping_sub(last)));
            last = *field;
        }
        last = 0;
        for write in &self.writes {
            write_number(out, u64::from(write.field.wrapping_sub(last)));
            write_number(out, write.form.code());
            write_number(out, write.place);
            last = write.field;
        }
    }

    /// `left` is the number of known siblings and of writes that may still come.
    fn read(cursor: &mut Cursor<'_>, fields: usize, left: (u64, u64)) -> Result<Self, DecodeError> {
        let (kind, flags) = (cursor.byte()?, cursor.byte()?);
        let naming = match (flags >> 1, kind) {
            (0, _) => Naming::Spelled,
            (1, kinds::entity::NODE) => Naming::Name,
            (2, kinds::entity::EDGE) => Naming::Ends,
            (3, kinds::entity::NODE) => Naming::Beside,
            _ => return Err(DecodeError::Malformed("an id that is told in an unknown way")),
        };
        let (known, writes) = (cursor.count(1)?, cursor.count(3)?);
        if known as u64 > left.0 || writes as u64 > left.1 {
            return Err(TOO_MANY);
        }
        let mut last = 0;
        let field = |cursor: &mut Cursor<'_>, last: &mut u32| {
            let field = u64::from(*last).checked_add(cursor.number()?).filter(|field| *field < fields as u64);
            *last = field.ok_or(DecodeError::Malformed("a field that is not listed"))? as u32;
            Ok::<_, DecodeError>(*last)
        };
        let known = (0..known).map(|_| field(cursor, &mut last)).collect::<Result<_, _>>()?;
        last = 0;
        let write = |_| {
            let (field, form, place) = (field(cursor, &mut last)?, Form::of_code(cursor.number()?)?, cursor.number()?);
            Ok::<_, DecodeError>(ShapeWrite { field, form, place })
        };
        let writes = (0..writes).map(write).collect::<Result<_, _>>()?;
        Ok(Self { kind, naming, whole: flags & 1 == 1, known, writes })
    }
}

impl ShapeWrite {
    fn of(write: &DeltaWrite, base: Option<&DeltaWrite>) -> Self {
        let place = base.map_or(0, |base| place(base, write));
        Self { field: write.field, form: Form::of(write.payload.as_ref()), place }
    }
}

/// The write that begins the run of a part: the least one, by its dot, of those with the writer and the stamp that most have.
fn base(writes: &[DeltaWrite]) -> Option<&DeltaWrite> {
    let least = writes.iter().min_by_key(|write| (write.writer, write.counter))?;
    let is_one_run = writes.iter().all(|write| (write.writer, write.stamp) == (least.writer, least.stamp));
    if is_one_run {
        return Some(least);
    }
    let mut sorted: SmallVec<[&DeltaWrite; MAX_SHARED]> = writes.iter().collect();
    sorted.sort_unstable_by_key(|write| (write.writer, write.stamp, write.counter));
    let runs = sorted.chunk_by(|a, b| (a.writer, a.stamp) == (b.writer, b.stamp));
    // Runs of one writer are in the order of their stamps, not of their dots.
    let longest = runs.max_by_key(|run| (run.len(), Reverse((run[0].writer, run[0].counter, run[0].stamp))))?;
    Some(longest[0])
}

/// The place of a write in the run that another begins.
fn place(base: &DeltaWrite, write: &DeltaWrite) -> u64 {
    match (write.writer, write.stamp) == (base.writer, base.stamp) {
        // It comes after the base and has another dot, so the distance is less than 2⁶⁴ − 1.
        true => (write.counter - base.counter).wrapping_add(1),
        false => 0,
    }
}

/// The dot that is expected next. A byte says what differs from it: 1 the writer, 2 the counter, 4 the stamp; the differences
/// follow.
#[derive(Clone, Copy)]
struct Expected {
    writer: u32,
    counter: u64,
    stamp: u64,
}

impl Default for Expected {
    fn default() -> Self {
        Self { writer: 0, counter: 1, stamp: 0 }
    }
}

impl Expected {
    fn write(&mut self, out: &mut Vec<u8>, writer: u32, counter: u64, stamp: Option<Stamp>) {
        let stamp = stamp.map_or(self.stamp, Stamp::to_bits);
        let differs = [writer != self.writer, counter != self.counter, stamp != self.stamp];
        out.push(u8::from(differs[0]) | u8::from(differs[1]) << 1 | u8::from(differs[2]) << 2);
        if differs[0] {
            write_number(out, u64::from(writer));
        }
        if differs[1] {
            write_number(out, zigzag(counter.wrapping_sub(self.counter) as i64));
        }
        if differs[2] {
            write_number(out, zigzag(stamp.wrapping_sub(self.stamp) as i64));
        }
        *self = Self { writer, counter: counter.wrapping_add(1), stamp };
    }

    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(u32, u64, Stamp), DecodeError> {
        let flags = cursor.byte()?;
        if flags > 7 {
            return Err(DecodeError::Malformed("a dot that differs in an unknown way"));
        }
        if flags & 1 != 0 {
            let writer = u32::try_from(cursor.number()?);
            self.writer = writer.map_err(|_| DecodeError::Malformed("a writer that is not listed"))?;
        }
        if flags & 2 != 0 {
            self.counter = at_distance(self.counter, unzigzag(cursor.number()?));
        }
        if flags & 4 != 0 {
            self.stamp = at_distance(self.stamp, unzigzag(cursor.number()?));
        }
        let counter = self.counter;
        self.counter = counter.wrapping_add(1);
        Ok((self.writer, counter, Stamp::from_bits(self.stamp)))
    }
}

/// The dot that is expected in each field: that after the last dot of the field, or after the last of all where the field had none.
#[derive(Default)]
struct ByField {
    last: Expected,
    fields: Vec<Option<Expected>>,
}

impl ByField {
    fn with<R>(&mut self, field: u32, with: impl FnOnce(&mut Expected) -> R) -> R {
        let field = field as usize;
        if self.fields.len() <= field {
            self.fields.resize(field + 1, None);
        }
        let expected = self.fields[field].get_or_insert(self.last);
        let result = with(expected);
        self.last = *expected;
        result
    }
}

/// True if this is the root: fields are sorted, so the empty one comes first.
fn is_root(field: u32, fields: &FieldTable) -> bool {
    field == 0 && fields.len() > 0 && fields.get(0).is_empty()
}

/// Chooses the way in which the id of an entity is told. `beside` tells whether a name is kept beside the part.
fn naming(entity: Entity, writes: &[DeltaWrite], fields: &FieldTable, beside: impl FnOnce() -> bool) -> Naming {
    let naming = match entity.kind() {
        kinds::entity::NODE => Naming::Name,
        kinds::entity::EDGE => Naming::Ends,
        _ => return Naming::Spelled,
    };
    match told_id(naming, writes, fields) {
        Some(id) if id == *entity.id() => naming,
        _ if beside() => Naming::Beside,
        _ => Naming::Spelled,
    }
}

/// The id that the first name or the first ends of a root tell.
fn told_id(naming: Naming, writes: &[DeltaWrite], fields: &FieldTable) -> Option<[u8; 16]> {
    let root = writes.iter().take_while(|write| is_root(write.field, fields));
    let mut root = root.filter_map(|write| write.payload.as_ref());
    match naming {
        Naming::Spelled | Naming::Beside => None,
        Naming::Name => {
            let name = root.find(|payload| payload.kind() == kinds::payload::NAME)?;
            Some(*NodeId::named_in_bytes(name.bytes()).as_bytes())
        }
        Naming::Ends => {
            let ends = root.find_map(ends_of)?;
            Some(*EdgeId::numbered_in_bytes(ends.source, ends.edge_type, ends.target, ends.number).as_bytes())
        }
    }
}

// ---- writing ----

/// The dot by which a part has its place among the others.
fn first_dot(known: &[Known], writes: &[DeltaWrite]) -> Option<(u32, u64)> {
    let base = base(writes).map(|base| (base.writer, base.counter));
    base.or_else(|| known.iter().map(|known| (known.writer, known.counter)).min())
}

/// The parts in the order of the wire, and the naming of each part by its place in memory.
fn plan(delta: &Delta) -> (Vec<u32>, Vec<Naming>) {
    let mut namings = Vec::with_capacity(delta.parts.len());
    // One number each, since numbers are sorted fastest. Parts without dots are told apart by their places, which are in the order of
    // entities.
    let key = |(i, part): (u32, PartRef<'_>)| {
        namings.push(naming(part.entity, part.writes, &delta.fields, || delta.names.telling(part.entity).is_some()));
        let (writer, counter) = first_dot(part.known, part.writes).unwrap_or_default();
        u128::from(writer) << 96 | u128::from(counter) << 32 | u128::from(i)
    };
    let mut keys: Vec<u128> = (0..).zip(delta.parts()).map(key).collect();
    keys.sort_unstable();
    (keys.into_iter().map(|key| key as u32).collect(), namings)
}

/// The shapes told so far that parts share.
#[derive(Default)]
struct Shapes {
    /// Each with its number and the columns of its writes.
    shared: Vec<(Shape, u64, Vec<ColumnNumber>)>,
    by_shape: HashMap<Shape, u32>,
    /// Those met last, the latest first.
    recent: Vec<u32>,
    /// The number of shapes told, shared or not.
    told: u64,
}

impl Shapes {
    /// The shape of a part, if it is one of those met last.
    fn find_recent(&mut self, part: &PartRef<'_>, naming: Naming, base: Option<&DeltaWrite>) -> Option<u32> {
        let is_of = |known: &u32| self.shared[*known as usize].0.is_of(part, naming, base);
        let i = self.recent.iter().position(is_of)?;
        if i > 0 {
            self.recent[..=i].rotate_right(1);
        }
        Some(self.recent[0])
    }

    fn find(&mut self, shape: &Shape) -> Option<u32> {
        let known = *self.by_shape.get(shape)?;
        self.meet(known);
        Some(known)
    }

    fn meet(&mut self, known: u32) {
        self.recent.truncate(RECENT - 1);
        self.recent.insert(0, known);
    }

    fn share(&mut self, shape: Shape, number: u64, columns: Vec<ColumnNumber>) -> &(Shape, u64, Vec<ColumnNumber>) {
        let known = self.shared.len();
        self.by_shape.insert(shape.clone(), known as u32);
        self.meet(known as u32);
        self.shared.push((shape, number, columns));
        &self.shared[known]
    }
}

/// Writes the parts of a delta as columns, in pieces that follow each other. Facts from reading the same delta make this faster.
pub(super) fn write_parts(delta: &Delta, told: Option<&Told>) -> Vec<Vec<u8>> {
    if delta.parts.is_empty() {
        return Vec::new();
    }
    let [mut shape_bytes, mut ids, mut dots, mut known] = [const { Vec::new() }; 4];
    let mut parts = Vec::with_capacity(delta.parts.len());
    let mut shapes = Shapes::default();
    let (mut of_parts, mut of_writes, mut of_known) = (Expected::default(), ByField::default(), ByField::default());
    // A delta that was just read stands in the order of the wire already.
    let planned = if told.is_none() { Some(plan(delta)) } else { None };
    let place_of = |i: usize| planned.as_ref().map_or(i, |(order, _)| order[i] as usize);
    let len = delta.parts.len();
    let mut contents = WriteContents::new(Places::of(delta, (0..len).map(place_of)));
    let (mut written_names, mut names_in_order) = (Written::default(), delta.names.iter());
    let mut own;
    for i in (0..len).map(place_of) {
        let part = delta.part(i);
        let base = base(part.writes);
        let naming = match (&planned, told.map(|told| told.namings[i])) {
            // The reader took the id from the name or the ends, so that need not be done once more.
            (_, Some(naming @ (Naming::Name | Naming::Ends))) => naming,
            (Some((_, namings)), _) => namings[i],
            (None, told) => naming(part.entity, part.writes, &delta.fields, || told == Some(Naming::Beside)),
        };
        let name = match (naming, &planned) {
            (Naming::Beside, Some(_)) => delta.names.get(part.entity),
            (Naming::Beside, None) => names_in_order.next(),
            _ => None,
        };
        // An id takes sixteen bytes.
        let name = name.filter(|name| written_names.len_of(name.bytes()) <= part.entity.id().len());
        let naming = if naming == Naming::Beside && name.is_none() { Naming::Spelled } else { naming };
        match name {
            Some(name) => written_names.write(&mut ids, name.bytes()),
            None if naming == Naming::Spelled => ids.extend_from_slice(part.entity.id()),
            None => {}
        }
        let is_shared = part.known.len() + part.writes.len() <= MAX_SHARED;
        let mut known_shape = if is_shared { shapes.find_recent(&part, naming, base) } else { None };
        let (shape, number, columns) = match known_shape {
            Some(known) => &shapes.shared[known as usize],
            None => {
                let shape = Shape::of(&part, naming, base);
                known_shape = if is_shared { shapes.find(&shape) } else { None };
                match known_shape {
                    Some(known) => &shapes.shared[known as usize],
                    None => {
                        shape.write(&mut shape_bytes);
                        let columns = shape.writes.iter().map(|of| contents.column(of.field, of.form)).collect();
                        let number = shapes.told;
                        shapes.told += 1;
                        match is_shared {
                            true => shapes.share(shape, number, columns),
                            false => {
                                own = (shape, number, columns);
                                &own
                            }
                        }
                    }
                }
            }
        };
        if let Some(base) = base {
            of_parts.write(&mut dots, base.writer, base.counter, Some(base.stamp));
            of_parts.counter = base.counter.wrapping_add(shape.run_len());
        }
        write_number(&mut parts, *number);
        for ((write, of), column) in part.writes.iter().zip(&shape.writes).zip(columns) {
            if of.place == 0 {
                let stamp = Some(write.stamp);
                of_writes.with(of.field, |expected| expected.write(&mut dots, write.writer, write.counter, stamp));
            }
            if let Some(payload) = &write.payload {
                contents.write(*column, payload);
            }
        }
        for sibling in part.known {
            let (writer, counter) = (sibling.writer, sibling.counter);
            of_known.with(sibling.field, |expected| expected.write(&mut known, writer, counter, None));
        }
    }
    let mut pieces = Vec::with_capacity(8);
    for column in [shape_bytes, parts, ids, dots, known] {
        let mut len = Vec::with_capacity(4);
        write_number(&mut len, column.len() as u64);
        pieces.extend([len, column]);
    }
    pieces.extend(contents.finish());
    pieces
}

// ---- reading ----

const NOT_TOLD: DecodeError = DecodeError::Malformed("an id that nothing tells");
const TOO_MANY: DecodeError = DecodeError::Malformed("more siblings than were announced");

/// The numbers of parts, known siblings and writes that a head announces.
#[derive(Clone, Copy)]
pub(super) struct Announced {
    pub(super) parts: u64,
    pub(super) known: u64,
    pub(super) writes: u64,
}

/// Memory in bytes that decoding as many parts and siblings takes at most, at the peak: from columns of these lengths, in a body
/// of this length.
///
/// Few bytes can stand for many: a part takes two or three if its shape is shared and its id is told by a name. The bound is
/// known before anything large is reserved.
fn memory(announced: Announced, shapes_len: usize, contents_len: usize, body_len: u64) -> u64 {
    // Parts are held twice while they are sorted, then beside their namings and the places of nodes.
    const PART: u64 = 2 * size_of::<Part>() as u64 + 64;
    const KNOWN: u64 = 2 * size_of::<Known>() as u64;
    const WRITE: u64 = 2 * size_of::<DeltaWrite>() as u64;
    // A spelled content takes at least two bytes; in memory it has a prefix and a count of its owners, and ends are as long.
    const CONTENT: u64 = 128;
    // A shape takes at least four bytes, and the check for canonical bytes holds it twice.
    const SHAPE: u64 = 400;
    // A column of contents belongs to a write of a shape, which takes three bytes.
    const COLUMN: u64 = 256;
    // The contents, and the columns that are written again to be compared.
    const COPIES: u64 = 3;
    let Announced { parts, known, writes } = announced;
    let [shapes, contents] = [shapes_len, contents_len].map(|len| len as u64);
    let counts = [
        (parts, PART),
        (parts.min(shapes / 4), SHAPE),
        (known, KNOWN),
        (writes, WRITE),
        (writes.min(contents / 2), CONTENT),
        (writes.min(shapes / 3), COLUMN),
        (body_len, COPIES),
    ];
    counts.iter().map(|(count, each)| count.saturating_mul(*each)).fold(0, u64::saturating_add)
}

/// Memory in bytes that a name beside a part takes at most, beyond [`memory`]: it may take a single byte, and is held twice while the
/// table grows.
const NAME_MEMORY: u64 = 3 * size_of::<(Entity, Payload)>() as u64 + 64;

/// True if a body of this length can hold as much as is announced.
pub(super) fn is_possible(announced: Announced, body_len: u64) -> bool {
    let Announced { parts, known, writes } = announced;
    // A known sibling has a dot of its own. A write is one of few in a shared shape, or takes three bytes.
    let most_writes = parts.saturating_mul(MAX_SHARED as u64).saturating_add(body_len / 3);
    parts <= body_len && known <= body_len && writes <= most_writes
}

/// Takes as much from the memory that may still be used, or says how much is needed.
pub(super) fn take_memory(left: &mut u64, needed: u64) -> Result<(), DecodeError> {
    *left = left.checked_sub(needed).ok_or(DecodeError::Memory { needed, limit: *left })?;
    Ok(())
}

/// A shape as a reader needs it.
struct ReadShape {
    shape: Shape,
    columns: Vec<ColumnNumber>,
    run_len: u64,
    /// True if all siblings are writes within the run, at places that differ.
    is_run: bool,
}

impl ReadShape {
    fn new(shape: Shape) -> Self {
        let mut places: Vec<u64> = shape.writes.iter().map(|write| write.place).collect();
        places.sort_unstable();
        let differ = places.windows(2).all(|pair| pair[0] != pair[1]);
        let is_run = shape.known.is_empty() && differ && places.first().is_some_and(|first| *first > 0);
        Self { run_len: shape.run_len(), columns: Vec::new(), is_run, shape }
    }
}

/// Reads the parts of a delta whose tables have been read. They stand in the order of the wire until they are [sorted](sort).
pub(super) fn read_parts(
    delta: &mut Delta,
    bytes: &[u8],
    announced: Announced,
    memory_left: &mut u64,
) -> Result<Told, DecodeError> {
    let Announced { parts: parts_len, known: known_len, writes: writes_len } = announced;
    if bytes.is_empty() && parts_len + known_len + writes_len == 0 {
        return Ok(Told { namings: Vec::new(), are_dots_distinct: true });
    }
    let mut rest = Cursor::new(bytes);
    let mut column = || rest.bytes().map(Cursor::new);
    let [mut shapes, mut parts, mut ids] = [column()?, column()?, column()?];
    let [mut dots, mut known, contents] = [column()?, column()?, column()?];
    rest.end()?;
    let needed = memory(announced, shapes.rest().len(), contents.rest().len(), bytes.len() as u64);
    take_memory(memory_left, needed)?;

    let (mut table, mut numbers) = (Vec::new(), Vec::with_capacity(parts.rest().len().min(parts_len as usize)));
    let (mut known_left, mut writes_left) = (known_len, writes_len);
    for _ in 0..parts_len {
        let number = usize::try_from(parts.number()?).ok().filter(|number| *number <= table.len());
        let number = number.ok_or(DecodeError::Malformed("a shape that is not told"))?;
        if number == table.len() {
            let shape = Shape::read(&mut shapes, delta.fields.len(), (known_left, writes_left))?;
            table.push(ReadShape::new(shape));
        }
        let shape = &table[number].shape;
        let left = |left: u64, takes: usize| left.checked_sub(takes as u64);
        let (known, writes) = (left(known_left, shape.known.len()), left(writes_left, shape.writes.len()));
        (known_left, writes_left) = known.zip(writes).ok_or(TOO_MANY)?;
        numbers.push(number as u32);
    }
    if known_left > 0 || writes_left > 0 {
        return Err(DecodeError::Malformed("fewer siblings than were announced"));
    }
    let are_beside = numbers.iter().filter(|number| table[**number as usize].shape.naming == Naming::Beside);
    let of_names = are_beside.count() as u64 * NAME_MEMORY;
    take_memory(memory_left, of_names)
        .map_err(|_| DecodeError::Memory { needed: needed + of_names, limit: needed + *memory_left })?;
    let forms = table.iter().flat_map(|of| of.shape.writes.iter().map(|write| (write.field, write.form)));
    let mut contents = ReadContents::new(contents, forms)?;
    for of in &mut table {
        of.columns = of.shape.writes.iter().map(|write| contents.column(write.field, write.form)).collect();
    }

    let (mut of_parts, mut of_writes, mut of_known) = (Expected::default(), ByField::default(), ByField::default());
    delta.parts.reserve_exact(numbers.len());
    delta.known.reserve_exact(known_len as usize);
    delta.writes.reserve_exact(writes_len as usize);
    // The end of the run before, while no run has reached into another.
    let mut run_end = Some((0, 0));
    let mut first_before = None;
    let mut read_names = Read::default();
    // Ends name nodes by their places, which may come later: they are read once the ids of all nodes are known.
    let mut ends = Vec::new();
    for number in &numbers {
        let ReadShape { shape, columns, run_len, is_run } = &table[*number as usize];
        let base = if shape.writes.is_empty() { None } else { Some(of_parts.read(&mut dots)?) };
        if let Some((_, counter, _)) = base {
            of_parts.counter = counter.wrapping_add(*run_len);
        }
        let (known_start, writes_start) = (delta.known.len(), delta.writes.len());
        for (of, column) in shape.writes.iter().zip(columns) {
            let (writer, counter, stamp) = match (base, of.place) {
                (Some((writer, counter, stamp)), 1..) => (writer, counter.wrapping_add(of.place - 1), stamp),
                _ => of_writes.with(of.field, |expected| expected.read(&mut dots))?,
            };
            let payload = match of.form {
                Form::Tombstone => None,
                Form::Empty(kind) => Some(Payload::new(kind, &[])),
                Form::Ends(_) => {
                    ends.push((delta.writes.len(), *column));
                    None
                }
                _ => Some(contents.read(*column)?),
            };
            delta.writes.push(DeltaWrite { field: of.field, writer, counter, stamp, payload });
        }
        for field in &shape.known {
            let (writer, counter, _) = of_known.with(*field, |expected| expected.read(&mut known))?;
            delta.known.push(Known { field: *field, writer, counter });
        }
        let (of_part, known_of_part) = (&delta.writes[writes_start..], &delta.known[known_start..]);
        let id = match shape.naming {
            Naming::Spelled => ids.array()?,
            Naming::Name => told_id(shape.naming, of_part, &delta.fields).ok_or(NOT_TOLD)?,
            Naming::Beside => {
                let name = read_names.read(&mut ids, kinds::payload::NAME)?;
                let id = *NodeId::named_in_bytes(name.bytes()).as_bytes();
                if name.bytes().len() > MAX_NAME_LEN {
                    return Err(DecodeError::Malformed("a name that is too long to stand for an id"));
                }
                delta.names.push(Entity::new(shape.kind, id), name.clone());
                id
            }
            // See below.
            Naming::Ends => [0; 16],
        };
        let entity = Entity::new(shape.kind, id);

        // The writer may not tell a run from another base: the check for canonical bytes finds that.
        let first = base.map(|(writer, counter, _)| (writer, counter));
        run_end = match first.filter(|_| *is_run) {
            Some((writer, counter)) => {
                let end = counter.checked_add(run_len - 1).map(|end| (writer, end));
                run_end.filter(|before| *before < (writer, counter)).and(end)
            }
            None => run_end.filter(|_| shape.writes.is_empty() && shape.known.is_empty()),
        };
        let first = first.or_else(|| known_of_part.iter().map(|known| (known.writer, known.counter)).min());
        let ascends = match (first_before, first) {
            (Some(before), Some(first)) => before < first,
            // Those without dots come first, and are never told by ends.
            (None, None) => delta.parts.last().is_none_or(|before| before.entity < entity),
            (before, _) => before.is_none(),
        };
        if !ascends {
            return Err(DecodeError::Malformed("parts out of order"));
        }
        first_before = first;
        let (known_end, writes_end) = (delta.known.len(), delta.writes.len());
        delta.parts.push(Part { entity, whole: shape.whole, known_end, writes_end });
    }
    for (write, column) in ends {
        delta.writes[write].payload = Some(contents.read_ends(column, &delta.parts)?);
    }
    if [shapes, parts, ids, dots, known].iter().any(|column| !column.rest().is_empty()) {
        return Err(DecodeError::Malformed("a column that goes on"));
    }
    contents.end()?;
    let namings: Vec<Naming> = numbers.iter().map(|number| table[*number as usize].shape.naming).collect();
    let mut start = 0;
    for (part, naming) in delta.parts.iter_mut().zip(&namings) {
        if *naming == Naming::Ends {
            let id = told_id(Naming::Ends, &delta.writes[start..part.writes_end], &delta.fields);
            part.entity = Entity::new(part.entity.kind(), id.ok_or(NOT_TOLD)?);
        }
        start = part.writes_end;
    }
    Ok(Told { namings, are_dots_distinct: run_end.is_some() })
}

/// Puts the parts into the order of entities, in which they lie in memory.
pub(super) fn sort(delta: &mut Delta) {
    delta.names.sort();
    if delta.parts.is_sorted_by_key(|part| part.entity) {
        return;
    }
    let mut sorted: Vec<(Entity, u32)> = delta.parts.iter().map(|part| part.entity).zip(0..).collect();
    sorted.sort_unstable();
    let (mut parts, mut known) = (Vec::with_capacity(sorted.len()), Vec::with_capacity(delta.known.len()));
    let mut writes = Vec::with_capacity(delta.writes.len());
    for (_, i) in sorted {
        let (part, before) = (delta.parts[i as usize], (i as usize).checked_sub(1).map(|i| delta.parts[i]));
        let (known_start, writes_start) = before.map_or((0, 0), |before| (before.known_end, before.writes_end));
        known.extend_from_slice(&delta.known[known_start..part.known_end]);
        let of_part = delta.writes[writes_start..part.writes_end].iter_mut();
        writes.extend(of_part.map(|write| DeltaWrite { payload: write.payload.take(), ..*write }));
        parts.push(Part { known_end: known.len(), writes_end: writes.len(), ..part });
    }
    (delta.parts, delta.known, delta.writes) = (parts, known, writes);
}
