//! Reading the parts of a delta.

use crate::codec::columns::{ByField, Expected, MAX_SHARED, Naming, Shape, TOO_MANY, Told, least_known, told_id};
use crate::codec::contents::{ColumnNumber, Form, Read, ReadContents};
use crate::codec::cursor::Cursor;
use crate::codec::error::DecodeError;
use crate::id::NodeId;
use crate::kernel::{Delta, DeltaWrite, Entity, Known, MAX_NAME_LEN, Part, Payload};
use crate::kinds;

const NOT_TOLD: DecodeError = DecodeError::Malformed("an id that nothing tells");

/// The numbers of parts, known siblings and writes that a head announces.
#[derive(Clone, Copy)]
pub(in crate::codec) struct Announced {
    pub(in crate::codec) parts: u64,
    pub(in crate::codec) known: u64,
    pub(in crate::codec) writes: u64,
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
pub(in crate::codec) fn is_possible(announced: Announced, body_len: u64) -> bool {
    let Announced { parts, known, writes } = announced;
    // A known sibling has a dot of its own. A write is one of few in a shared shape, or takes three bytes.
    let most_writes = parts.saturating_mul(MAX_SHARED as u64).saturating_add(body_len / 3);
    parts <= body_len && known <= body_len && writes <= most_writes
}

/// Takes as much from the memory that may still be used, or says how much is needed.
pub(in crate::codec) fn take_memory(left: &mut u64, needed: u64) -> Result<(), DecodeError> {
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
///
/// Returns what follows the columns, too.
pub(in crate::codec) fn read_parts<'a>(
    delta: &mut Delta,
    bytes: &'a [u8],
    announced: Announced,
    memory_left: &mut u64,
) -> Result<(Told, &'a [u8]), DecodeError> {
    let Announced { parts: parts_len, known: known_len, writes: writes_len } = announced;
    if bytes.is_empty() && parts_len + known_len + writes_len == 0 {
        return Ok((Told { namings: Vec::new(), are_dots_distinct: true }, &[]));
    }
    let mut rest = Cursor::new(bytes);
    let mut column = || rest.bytes().map(Cursor::new);
    let [mut shapes, mut parts, mut ids] = [column()?, column()?, column()?];
    let [mut dots, mut known, contents] = [column()?, column()?, column()?];
    let runs = rest.rest();
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

        // Runs that are told from another base are found by the check for canonical bytes.
        let first = base.map(|(writer, counter, _)| (writer, counter));
        run_end = match first.filter(|_| *is_run) {
            Some((writer, counter)) => {
                let end = counter.checked_add(run_len - 1).map(|end| (writer, end));
                run_end.filter(|before| *before < (writer, counter)).and(end)
            }
            None => run_end.filter(|_| shape.writes.is_empty() && shape.known.is_empty()),
        };
        let first = first.or_else(|| least_known(known_of_part));
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
    Ok((Told { namings, are_dots_distinct: run_end.is_some() }, runs))
}

/// Puts the parts into the order of entities, in which they lie in memory.
pub(in crate::codec) fn sort(delta: &mut Delta) {
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
