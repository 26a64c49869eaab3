//! Which paths hold several kinds: derived, and kept up with every change.

use im::OrdSet;

use crate::document::place::{PROPERTY, PlaceRef, Property};
use crate::document::seek;
use crate::kernel::{Cells, Entity, Field, Sibling, State, Touched};
use crate::kind::Kind;

/// The paths at which more than one kind is alive. Persistent, like the state that it follows.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Mixed {
    /// Entities and [places](PlaceRef).
    paths: OrdSet<(Entity, Field)>,
}

impl Mixed {
    /// All of an entity's paths, or all there are, at and below a place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Entity, PlaceRef<'_>)> + '_ {
        self.paths.iter().map(|(entity, place)| (*entity, PlaceRef::from_bytes(place.as_bytes())))
    }

    /// Those at and below a place.
    pub(crate) fn within<'a, P: AsRef<[u8]>>(
        &'a self,
        entity: Entity,
        place: P,
    ) -> impl Iterator<Item = PlaceRef<'a>> + use<'a, P> {
        let from = self.paths.range((entity, Field::new(place.as_ref()))..);
        let of_entity = from.take_while(move |(e, _)| *e == entity);
        of_entity
            .map(|(_, found)| PlaceRef::from_bytes(found.as_bytes()))
            .take_while(move |found| found.as_bytes().starts_with(place.as_ref()))
    }

    /// Follows one cell. O(depth · log cells); past tombstones of other kinds where the kind changed.
    pub(crate) fn follow(&mut self, state: &State, touched: &Touched) {
        let is_live = touched.now().iter().any(Sibling::is_live);
        if is_live == touched.was_live() || touched.field.as_bytes().first() != Some(&PROPERTY) {
            return;
        }
        let Some(property) = Property::of(touched.field.as_bytes()) else { return };
        let (entity, cells) = (touched.entity, state.cells(touched.entity));
        match is_live {
            // More can have become mixed, nothing less.
            true => {
                let Some(cells) = cells else { return };
                if is_mixed_with(cells, property.place, property.kind) {
                    self.insert(entity, property.place);
                }
                for above in property.place.ancestors() {
                    if seek::own_kinds(cells, above).any(|kind| kind != Kind::Map) {
                        self.insert(entity, above);
                    }
                }
            }
            // Less can be mixed, nothing more.
            false if self.paths.is_empty() => {}
            false => {
                for place in property.place.ancestors().chain([property.place]) {
                    let key = (entity, Field::new(place.as_bytes()));
                    if self.paths.contains(&key) && !cells.is_some_and(|cells| is_mixed(cells, place)) {
                        self.paths.remove(&key);
                    }
                }
            }
        }
    }

    fn insert(&mut self, entity: Entity, place: PlaceRef<'_>) {
        self.paths.insert((entity, Field::new(place.as_bytes())));
    }

    #[cfg(feature = "testing")]
    pub(crate) fn check(&self, state: &State) -> Result<(), String> {
        let mut fresh = Self::default();
        for (entity, field, _) in state.live_siblings() {
            let Some(property) = Property::of(field.as_bytes()) else { continue };
            let Some(cells) = state.cells(entity) else { continue };
            for place in property.place.ancestors().chain([property.place]) {
                if is_mixed(cells, place) {
                    fresh.insert(entity, place);
                }
            }
        }
        if *self == fresh { Ok(()) } else { Err("paths of several kinds do not follow from the cells".into()) }
    }
}

fn is_mixed(cells: &Cells, place: PlaceRef<'_>) -> bool {
    seek::kinds(cells, place).nth(1).is_some()
}

/// Whether another kind is alive where this one is.
fn is_mixed_with(cells: &Cells, place: PlaceRef<'_>, kind: Kind) -> bool {
    seek::own_kinds(cells, place).any(|own| own != kind) || (kind != Kind::Map && seek::has_children(cells, place))
}
