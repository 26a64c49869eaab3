//! Writing the parts of a delta.

use std::collections::HashMap;

use crate::codec::columns::{ByField, Expected, MAX_SHARED, Naming, Shape, Told, base, first_dot, naming};
use crate::codec::contents::{ColumnNumber, Places, WriteContents, Written};
use crate::kernel::{Delta, DeltaWrite, PartRef};
use crate::numbers::write_number;

/// Number of shapes that are compared before the table is asked: graphs alternate between a few.
const RECENT: usize = 4;

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
pub(in crate::codec) fn write_parts(delta: &Delta, told: Option<&Told>) -> Vec<Vec<u8>> {
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
