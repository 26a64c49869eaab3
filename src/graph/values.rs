//! The nodes and edges by their values at one path, in order.

use std::ops::{Bound, RangeBounds};

use im::{OrdMap, OrdSet};

use crate::document::{Place, Value, value_at};
use crate::graph::keys;
use crate::kernel::{Cells, Entity, Payload, State};

/// An index of the values that show at one path, of the nodes and edges that are there. Persistent: cloning is O(1).
///
/// Each value is held once more, as a [key](Value::sort_key): some 190 bytes an entry, and what is longer than 21 bytes besides.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Values {
    entries: OrdSet<Entry>,
    keys: OrdMap<Entity, Payload>,
}

/// The kind of the entity, the key of its value, its id.
type Entry = (u8, Payload, [u8; 16]);

impl Values {
    pub(super) fn of(state: &State, place: &Place) -> Self {
        let mut values = Self::default();
        let entities = state.entities().filter(|(entity, cells)| keys::is_there(*entity, *cells));
        entities.for_each(|(entity, cells)| values.follow(entity, Some(cells), place));
        values
    }

    /// Makes an entity have the value that its cells show at the path; none without cells. O(log n).
    pub(super) fn follow(&mut self, entity: Entity, cells: Option<Cells<'_>>, place: &Place) {
        let key = cells.and_then(|cells| value_at(cells, place.clone())).map(|value| value.sort_key());
        if self.keys.get(&entity) == key.as_ref() {
            return;
        }
        let entry = |key| (entity.kind(), key, *entity.id());
        if let Some(old) = self.keys.remove(&entity) {
            self.entries.remove(&entry(old));
        }
        if let Some(key) = key {
            self.keys.insert(entity, key.clone());
            self.entries.insert(entry(key));
        }
    }

    /// The ids of the entities of a kind whose values lie in a range, by value and then by id. O(log n) each.
    pub(super) fn within<'v>(self, kind: u8, range: impl RangeBounds<Value<'v>>) -> impl Iterator<Item = [u8; 16]> {
        const FIRST: [u8; 16] = [0; 16];
        const LAST: [u8; 16] = [0xff; 16];
        let key = |value: &Value<'v>| value.sort_key();
        let mut from: Bound<Entry> = match range.start_bound().map(key) {
            Bound::Included(key) => Bound::Included((kind, key, FIRST)),
            Bound::Excluded(key) => Bound::Excluded((kind, key, LAST)),
            Bound::Unbounded => Bound::Included((kind, Payload::new(0, &[]), FIRST)),
        };
        let upto = range.end_bound().map(key);
        let is_within = move |(of, key, _): &&Entry| {
            let ends = match &upto {
                Bound::Included(last) => key > last,
                Bound::Excluded(end) => key >= end,
                Bound::Unbounded => false,
            };
            *of == kind && !ends
        };
        std::iter::from_fn(move || {
            let found = self.entries.range((from.clone(), Bound::Unbounded)).next().filter(&is_within)?.clone();
            let id = found.2;
            from = Bound::Excluded(found);
            Some(id)
        })
    }
}
