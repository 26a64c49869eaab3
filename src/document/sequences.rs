//! Texts and lists, derived from the cells of properties that stand in an order.

use crate::document::list::Lists;
use crate::document::path::AsPath;
use crate::document::place::Place;
use crate::document::text::Texts;
use crate::error::PathError;
use crate::kernel::{Crdt, Edit, Entity, State, Touched};

/// A type that has texts and lists.
pub trait Sequenced: Crdt {
    /// The texts and lists.
    fn sequences(&self) -> &Sequences;
}

/// The place of a path of an entity under way of an edit: numbers stand for the elements of lists.
pub(crate) fn place_in<T: Sequenced>(
    edit: &Edit<'_, T>,
    entity: Entity,
    path: impl AsPath,
) -> Result<Place, PathError> {
    edit.sequences().lists.place(|| edit.state().cells(entity), entity, path)
}

/// The texts and lists that show. Persistent, like the state that they follow.
#[derive(Clone, Default, Debug)]
pub struct Sequences {
    pub(crate) texts: Texts,
    pub(crate) lists: Lists,
}

impl Sequences {
    /// Follows cells of one entity.
    pub(crate) fn follow(&mut self, state: &State, touched: &[Touched]) {
        self.texts.follow(touched);
        self.lists.follow(state, touched);
    }

    #[cfg(feature = "testing")]
    pub(crate) fn check(&self, state: &State) -> Result<(), String> {
        self.texts.check(state)?;
        self.lists.check(state)
    }
}
