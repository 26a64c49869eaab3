//! The vectors of one model in rows that lie together, for a search to pass over.

use std::sync::Arc;

use im::{OrdMap, Vector};

use crate::graph::embed::read_shown;
use crate::graph::keys;
use crate::kernel::{Cells, Entity, State};
use crate::vector::{Coarse, Embedding, Model, stride};

/// About how many bytes of numbers lie in one chunk: what an edit copies while a snapshot shares the chunk.
const CHUNK: usize = 32 << 10;

/// The most rows in a chunk, of short vectors.
const MAX_ROWS: usize = 256;

/// The [rounded](Coarse) vectors of nodes or of edges by one model, one row each, without gaps. Persistent: cloning is O(1),
/// and a change copies one or two chunks at most.
///
/// A row takes its dimension in bytes (padded to a multiple of 16) and some 90 bytes, so rows are never larger than a small
/// multiple of the payloads that they follow.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    model: Model,
    chunks: Vector<Arc<Chunk>>,
    places: OrdMap<[u8; 16], usize>,
}

/// All are full but for the last. A chunk grows as a `Vec` does, so a single vector does not reserve a whole one.
#[derive(Clone, Default, Debug)]
struct Chunk {
    rows: Vec<Row>,
    /// One stride for each row.
    numbers: Vec<i8>,
}

/// Whose vector it is, and what bounds its rounding.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: [u8; 16],
    coarse: Coarse,
}

impl Rows {
    fn new(model: &Model) -> Self {
        Self { model: model.clone(), chunks: Vector::new(), places: OrdMap::new() }
    }

    /// Those of all entities of a kind.
    pub(super) fn of(state: &State, kind: u8, model: &Model) -> Self {
        let mut rows = Self::new(model);
        let entities = state.entities_of(kind).filter(|(entity, cells)| keys::is_there(*entity, *cells));
        entities.for_each(|(entity, cells)| rows.follow(entity, Some(cells)));
        rows
    }

    /// Makes an entity have the row of the vector that its cells show; none without cells. Costs what [`set`](Self::set)
    /// costs.
    pub(super) fn follow(&mut self, entity: Entity, cells: Option<Cells<'_>>) {
        let model = self.model.clone();
        let set = |vector: &Embedding<'_>| self.set(*entity.id(), Some(vector));
        if cells.and_then(|cells| read_shown(cells, &model, set)).is_none() {
            self.set(*entity.id(), None);
        }
    }

    fn stride(&self) -> usize {
        stride(self.model.dimension())
    }

    /// A power of two, so that a chunk which is full fills what its `Vec` has reserved.
    fn rows_in_chunk(&self) -> usize {
        1 << (CHUNK / self.stride()).clamp(1, MAX_ROWS).ilog2()
    }

    /// Calls `each` with every row, in no given order.
    pub(super) fn for_each(&self, mut each: impl FnMut([u8; 16], Coarse, &[i8])) {
        for chunk in &self.chunks {
            let numbers = chunk.numbers.chunks_exact(self.stride());
            chunk.rows.iter().zip(numbers).for_each(|(row, numbers)| each(row.id, row.coarse, numbers));
        }
    }

    /// Makes the row of an id that of a vector, or takes it out. O(dimension + log rows), and a copy of one or two chunks if a
    /// snapshot shares them.
    fn set(&mut self, id: [u8; 16], vector: Option<&Embedding<'_>>) {
        match (self.places.get(&id).copied(), vector) {
            (Some(place), Some(vector)) => self.write(place, id, vector),
            (None, Some(vector)) => {
                let place = self.places.len();
                self.places.insert(id, place);
                if place.is_multiple_of(self.rows_in_chunk()) {
                    self.chunks.push_back(Arc::default());
                }
                self.write(place, id, vector);
            }
            (Some(place), None) => self.remove(id, place),
            (None, None) => {}
        }
    }

    /// Writes a row that is there, or the one after the last.
    fn write(&mut self, place: usize, id: [u8; 16], vector: &Embedding<'_>) {
        let (stride, rows) = (self.stride(), self.rows_in_chunk());
        let Some(chunk) = self.chunks.get_mut(place / rows).map(Arc::make_mut) else { return };
        let at = place % rows;
        chunk.numbers.resize(chunk.numbers.len().max((at + 1) * stride), 0);
        let coarse = Coarse::round(vector, &mut chunk.numbers[at * stride..(at + 1) * stride]);
        match chunk.rows.get_mut(at) {
            Some(row) => *row = Row { id, coarse },
            None => chunk.rows.push(Row { id, coarse }),
        }
    }

    /// Takes a row out and moves the last one to its place.
    fn remove(&mut self, id: [u8; 16], place: usize) {
        self.places.remove(&id);
        let Some((last, numbers)) = self.pop() else { return };
        if last.id == id {
            return;
        }
        let (stride, rows) = (self.stride(), self.rows_in_chunk());
        let at = place % rows;
        if let Some(chunk) = self.chunks.get_mut(place / rows).map(Arc::make_mut) {
            chunk.rows[at] = last;
            chunk.numbers[at * stride..(at + 1) * stride].copy_from_slice(&numbers);
        }
        self.places.insert(last.id, place);
    }

    fn pop(&mut self) -> Option<(Row, Vec<i8>)> {
        let stride = self.stride();
        let chunk = Arc::make_mut(self.chunks.back_mut()?);
        let row = chunk.rows.pop()?;
        let numbers = chunk.numbers.split_off(chunk.numbers.len().saturating_sub(stride));
        if chunk.rows.is_empty() {
            self.chunks.pop_back();
        }
        Some((row, numbers))
    }

    /// True if both hold the same rows, in whatever order.
    #[cfg(feature = "testing")]
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let rows = |this: &Self| {
            let mut rows = std::collections::BTreeMap::new();
            this.for_each(|id, coarse, numbers| drop(rows.insert(id, (format!("{coarse:?}"), numbers.to_vec()))));
            (this.places.len() == rows.len()).then_some(rows)
        };
        rows(self).is_some_and(|ours| rows(other) == Some(ours))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::vector;

    fn check(rows: &Rows, model: &BTreeMap<u8, f32>) -> Result<(), TestCaseError> {
        let mut found = BTreeMap::new();
        rows.for_each(|id, coarse, _| {
            found.insert(id[0], coarse);
        });
        prop_assert_eq!(found.keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>());
        prop_assert_eq!(rows.places.len(), model.len());
        prop_assert_eq!(rows.chunks.len(), model.len().div_ceil(rows.rows_in_chunk()));
        for (id, number) in model {
            let payload = vector(rows.model.dimension(), *number);
            let embedding = Embedding::from_payload("m", rows.model.dimension(), &payload).unwrap();
            prop_assert_eq!(found[id], Coarse::round(&embedding, &mut vec![0; rows.stride()]));
        }
        Ok(())
    }

    fn vector(dimension: usize, number: f32) -> crate::kernel::Payload {
        let mut numbers = vec![0.5; dimension];
        numbers[0] = number;
        vector::Vector::f32(&numbers).unwrap().to_payload()
    }

    proptest! {
        /// A chunk has four rows of this dimension, so rows move from chunk to chunk.
        #[test]
        fn rows_agree_with_a_plain_map_and_a_snapshot_stays_as_it_was(
            steps in prop::collection::vec((0u8..20, prop::option::weighted(0.7, 1u8..9)), 0..60),
            snapshot in 0usize..60,
        ) {
            let dimension = CHUNK / 5;
            let (mut rows, mut model) = (Rows::new(&Model::new("m", dimension).unwrap()), BTreeMap::new());
            let mut kept = (rows.clone(), model.clone());
            for (step, (id, number)) in steps.into_iter().enumerate() {
                if step == snapshot {
                    kept = (rows.clone(), model.clone());
                }
                let payload = number.map(|number| vector(dimension, number.into()));
                let embedding = payload.as_ref().and_then(|payload| Embedding::from_payload("m", dimension, payload));
                rows.set([id; 16], embedding.as_ref());
                match number {
                    Some(number) => drop(model.insert(id, f32::from(number))),
                    None => drop(model.remove(&id)),
                }
            }
            check(&rows, &model)?;
            check(&kept.0, &kept.1)?;
        }
    }
}
