//! The kernel with nothing on top.

use crate::error::EditError;
use crate::kernel::{Crdt, Edit, Entity, Field, Payload, State, Touched};
use crate::testing::model::{Model, Write, Writes, same};
use crate::testing::{Standing, View};

/// A type whose every cell can be written, by [`Edit::write`](crate::Edit::write), [`erase`](crate::Edit::erase) and
/// [`delete`](crate::Edit::delete). It is its own [`Model`], of entities and fields that have numbers.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Raw {
    state: State,
}

impl Crdt for Raw {
    const SCHEMA: &'static str = "driftless.testing.raw";

    type Change = (Entity, Field);

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn follow(&mut self, _: &Touched) {}

    fn describe(touched: &Touched) -> Option<Self::Change> {
        // A tombstone dropped for another tombstone means nothing to a reader.
        let is_live = touched.now().iter().any(|sibling| sibling.is_live());
        (touched.was_live() || is_live).then(|| (touched.entity, touched.field.clone()))
    }
}

/// What can be done to cells. Field 0 of an entity is its root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RawOp {
    /// Writes a value to a field of an entity.
    Write(u8, u8, u8),
    /// Removes what a field of an entity holds; that of the root deletes it.
    Erase(u8, u8),
    /// Deletes an entity.
    Delete(u8),
}

fn entity(number: u8) -> Entity {
    Entity::new(1, [number; 16])
}

fn field(number: u8) -> Vec<u8> {
    if number == 0 { Vec::new() } else { vec![number] }
}

impl Model for Raw {
    type Type = Self;
    type Op = RawOp;
    /// Entity and field.
    type Cell = (u8, u8);
    type Group = u8;
    type Value = u8;

    fn group((entity, _): &Self::Cell) -> u8 {
        *entity
    }

    fn apply(edit: &mut Edit<'_, Self>, op: &RawOp) -> Result<(), EditError> {
        match *op {
            RawOp::Write(e, f, v) => edit.write(entity(e), &field(f), Payload::new(1, &[v])).map(drop),
            RawOp::Erase(e, f) => edit.erase(entity(e), &field(f)).map(drop),
            RawOp::Delete(e) => edit.delete(entity(e)).map(drop),
        }
    }

    fn writes(op: &RawOp, view: &View<'_, Self>, _: usize) -> Option<Writes<Self>> {
        let write = match *op {
            RawOp::Write(e, f, v) => Some(Write::Put((e, f), v)),
            RawOp::Delete(e) | RawOp::Erase(e, 0) => view.all().any(|w| w.cell.0 == e).then_some(Write::Delete(e)),
            RawOp::Erase(e, f) => view.holds(&(e, f)).then_some(Write::Remove((e, f))),
        };
        Some(write.into_iter().collect())
    }

    fn check(view: &View<'_, Self>, raw: &Self) -> Result<(), String> {
        let must = |w: &Standing<'_, (u8, u8), u8>| (entity(w.cell.0), field(w.cell.1), w.time, vec![*w.value]);
        let mut expected: Vec<_> = view.all().map(must).collect();
        let mut found = Vec::new();
        for (entity, field, sibling) in raw.state.live_siblings() {
            let bytes = sibling.payload.as_ref().map(|payload| payload.bytes().to_vec()).unwrap_or_default();
            found.push((entity, field.as_bytes().to_vec(), sibling.stamp.millis(), bytes));
        }
        expected.sort();
        found.sort();
        same("alive", found, expected)
    }

    fn kind(op: &RawOp) -> &'static str {
        match op {
            RawOp::Write(..) => "write",
            RawOp::Erase(..) => "erase",
            RawOp::Delete(_) => "delete",
        }
    }
}
