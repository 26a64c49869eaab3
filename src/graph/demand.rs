//! What is derived from a graph only once somebody asks for it, and then kept up with every change.
//!
//! A graph and its snapshots share one place for it until one of them changes: what one of them builds, all find. The first
//! change after a snapshot gives the graph a place of its own, with what was built by then, in O(1). So whoever never
//! searches pays nothing, and a search builds anew only if no search was made between the snapshot and the change before it.

use std::sync::{Arc, PoisonError, RwLock};

use im::OrdMap;

use crate::bugs::{Bug, is};
use crate::document::{PROPERTY, Place};
use crate::graph::keys::{self, EMBEDDINGS};
use crate::graph::rows::Rows;
use crate::graph::values::Values;
use crate::kernel::{Cells, State, Touched};
use crate::vector::Model;

/// Persistent, like the state that it follows; never part of it.
#[derive(Clone, Default)]
pub(super) struct OnDemand(Arc<Shared>);

#[derive(Default)]
struct Shared(RwLock<Built>);

/// Only what was asked for here, so no peer adds to it.
#[derive(Clone, Default)]
struct Built {
    /// By kind of entity.
    rows: OrdMap<(u8, Model), Rows>,
    values: OrdMap<Place, Values>,
}

impl Clone for Shared {
    fn clone(&self) -> Self {
        Self(RwLock::new(self.read(Built::clone)))
    }
}

impl Shared {
    /// No lock is held while anything is built or searched, so nobody waits for long. Nothing panics with one; if it did, what
    /// is there would be whole all the same.
    fn read<R>(&self, read: impl FnOnce(&Built) -> R) -> R {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, write: impl FnOnce(&mut Built)) {
        write(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// In each method `state` is the one that this follows. Whoever shares the place has an equal one, so what is built from it
/// holds for all.
impl OnDemand {
    /// The rows of the nodes or edges by a model. O(1) if they are there; else they are built, in O(entities of the kind ·
    /// dimension).
    pub(super) fn rows(&self, state: &State, kind: u8, model: &Model) -> Rows {
        let key = (kind, model.clone());
        if let Some(rows) = self.0.read(|built| built.rows.get(&key).cloned()) {
            return rows;
        }
        let rows = Rows::of(state, kind, model);
        self.0.write(|built| drop(built.rows.insert(key, rows.clone())));
        rows
    }

    /// Builds the values at a path unless they are there. O(n · log n).
    pub(super) fn index_values(&self, state: &State, place: Place) {
        if self.values(&place).is_none() {
            let values = Values::of(state, &place);
            self.0.write(|built| drop(built.values.insert(place, values)));
        }
    }

    /// The values at a path, if somebody had them built. O(1).
    pub(super) fn values(&self, place: &Place) -> Option<Values> {
        self.0.read(|built| built.values.get(place).cloned())
    }

    /// Follows cells of one entity. O(1) for cells that bear on nothing built; else O(dimension + log n) for each model and
    /// O(log n) for each path.
    pub(super) fn follow(&mut self, state: &State, touched: &[Touched]) {
        let Some(first) = touched.iter().find(|touched| bears(touched)) else { return };
        let entity = first.entity;
        // Snapshots that share the place follow another state from here on.
        let built = Arc::make_mut(&mut self.0).0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if built.rows.is_empty() && built.values.is_empty() {
            return;
        }
        let is_there = |cells: &Cells<'_>| is(Bug::IndexKeepsDead) || keys::is_there(entity, *cells);
        let cells = state.cells(entity).filter(is_there);
        let comes_or_goes = touched.iter().any(comes_or_goes) && !(cells.is_some() && is(Bug::IndexMissesRestored));
        let is_changed = |model: &Model| {
            let field = keys::embedding(model);
            comes_or_goes || touched.iter().any(|touched| touched.field.as_bytes() == &field[..])
        };
        let models = built.rows.keys().filter(|(kind, model)| *kind == entity.kind() && is_changed(model));
        for key in models.cloned().collect::<Vec<_>>() {
            if let Some(rows) = built.rows.get_mut(&key) {
                rows.follow(entity, cells);
            }
        }
        // A cell below a path makes the path a map.
        let is_within = |place: &[u8]| comes_or_goes || touched.iter().any(|t| t.field.as_bytes().starts_with(place));
        let places = built.values.keys().filter(|place| is_within(place.as_bytes()));
        for place in places.cloned().collect::<Vec<_>>() {
            if let Some(values) = built.values.get_mut(&place) {
                values.follow(entity, cells, &place);
            }
        }
    }

    /// Recomputes all that is built and compares.
    #[cfg(feature = "testing")]
    pub(super) fn check(&self, state: &State) -> Result<(), String> {
        let built = self.0.read(Built::clone);
        for (key, rows) in &built.rows {
            if !rows.is_like(&Rows::of(state, key.0, &key.1)) {
                return Err(format!("the rows of vectors of {key:?} do not follow from the cells"));
            }
        }
        for (place, values) in &built.values {
            if *values != Values::of(state, place) {
                return Err(format!("the values at {place:?} do not follow from the cells"));
            }
        }
        Ok(())
    }
}

/// True if a change can matter to anything that may be built.
fn bears(touched: &Touched) -> bool {
    let field = touched.field.as_bytes();
    comes_or_goes(touched) || field.starts_with(EMBEDDINGS) || field.first() == Some(&PROPERTY)
}

/// True if the entity may be there now and was not, or the other way round.
fn comes_or_goes(touched: &Touched) -> bool {
    touched.field.is_root() && touched.has_other_payloads()
}
