//! The kernel with nothing on top.

use crate::kernel::{Crdt, Entity, Field, State, Touched};

/// A type whose every cell can be written, by [`Edit::write`](crate::Edit::write), [`erase`](crate::Edit::erase) and
/// [`delete`](crate::Edit::delete).
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
