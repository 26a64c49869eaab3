//! The tables that records share: writers of dots, and lists of fields.
//!
//! Both tables grow at the end alone, so a place means the same in a state and in all its snapshots. A place means
//! nothing in another state, and none leaves it. The shapes are bounded; a record whose shape does not fit spells it. A state that
//! is loaded begins with new tables, so entries that have fallen out of use do not stay for ever.

use std::sync::Arc;

use im::{HashMap, Vector};

use crate::id::WriterId;
use crate::kernel::key::Field;
use crate::kernel::record::Write;

/// The most bytes that the table of shapes takes, names of fields among them: a thousand ways to combine a dozen fields fit many times.
const MAX_BYTES: usize = 1 << 20;

/// The tables of a state. Persistent: cloning is O(1). A snapshot shares them until a new entry comes.
#[derive(Clone, Default, Debug)]
pub(super) struct Tables {
    writers: Vector<WriterId>,
    places_of_writers: HashMap<WriterId, u32>,
    shapes: Vector<Arc<[Field]>>,
    /// The memory that the shapes take as if none shared a name, in bytes.
    bytes: usize,
    places_of_shapes: HashMap<Arc<[Field]>, u32>,
    /// The places that were asked for last: neighbours are alike.
    recent_writers: [u32; 4],
    recent_shapes: [u32; 4],
}

impl Tables {
    /// The place of a writer.
    pub(super) fn writer(this: &mut Arc<Self>, writer: WriterId) -> u32 {
        let is_it = |place: &u32| this.writers.get(*place as usize) == Some(&writer);
        if let Some(place) = this.recent_writers.into_iter().find(is_it) {
            return place;
        }
        let Self { writers, places_of_writers, recent_writers, .. } = Arc::make_mut(this);
        let place = *places_of_writers.entry(writer).or_insert_with(|| {
            // A state names fewer writers than 32 bits can count.
            let place = writers.len() as u32;
            writers.push_back(writer);
            place
        });
        recent_writers.rotate_right(1);
        recent_writers[0] = place;
        place
    }

    pub(super) fn writer_at(&self, place: u64) -> WriterId {
        self.writers[place as usize]
    }

    /// The place of the list of these fields, or the list if the table is full.
    pub(super) fn shape(this: &mut Arc<Self>, writes: &[Write]) -> Result<u32, Arc<[Field]>> {
        let fields = || writes.iter().map(|write| &write.field);
        let is_it = |place: &u32| this.shapes.get(*place as usize).is_some_and(|shape| shape.iter().eq(fields()));
        if let Some(place) = this.recent_shapes.into_iter().find(is_it) {
            return Ok(place);
        }
        let shape: Arc<[Field]> = fields().cloned().collect();
        let known = this.places_of_shapes.get(&shape).copied();
        let names: usize = shape.iter().map(|field| field.as_bytes().len()).sum();
        // The list and its places in both tables.
        let bytes = this.bytes + names + size_of_val(&shape[..]) + 64;
        if known.is_none() && bytes > MAX_BYTES {
            return Err(shape);
        }
        let tables = Arc::make_mut(this);
        let place = known.unwrap_or_else(|| {
            let place = tables.shapes.len() as u32;
            tables.bytes = bytes;
            tables.shapes.push_back(shape.clone());
            tables.places_of_shapes.insert(shape, place);
            place
        });
        tables.recent_shapes.rotate_right(1);
        tables.recent_shapes[0] = place;
        Ok(place)
    }

    pub(super) fn fields(&self, place: u64) -> &[Field] {
        &self.shapes[place as usize]
    }
}
