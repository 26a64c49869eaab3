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
//! [`read::memory`].

mod read;
mod write;

use std::cmp::Reverse;

use smallvec::SmallVec;

use crate::clock::Stamp;
use crate::codec::contents::{Form, at_distance, ends_of, unzigzag};
use crate::codec::cursor::Cursor;
use crate::codec::error::DecodeError;
use crate::id::{EdgeId, NodeId};
use crate::kernel::{DeltaWrite, Entity, FieldTable, Known, PartRef};
use crate::kinds;
use crate::numbers::{write_number, zigzag};

pub(super) use read::{Announced, is_possible, read_parts, sort, take_memory};
pub(super) use write::write_parts;

/// Largest number of siblings of a shape that several parts share.
pub(super) const MAX_SHARED: usize = 16;

const TOO_MANY: DecodeError = DecodeError::Malformed("more siblings than were announced");

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
        // Each write of a run but the base comes after it, so the distance is less than 2⁶⁴ − 1.
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

/// The dot by which a part has its place among the others.
fn first_dot(known: &[Known], writes: &[DeltaWrite]) -> Option<(u32, u64)> {
    let base = base(writes).map(|base| (base.writer, base.counter));
    base.or_else(|| least_known(known))
}

fn least_known(known: &[Known]) -> Option<(u32, u64)> {
    known.iter().map(|known| (known.writer, known.counter)).min()
}
