//! The paths that hold several kinds: derived, and kept up with every change.

use std::cmp::Ordering;
use std::collections::HashSet;

use im::OrdSet;
use xxhash_rust::xxh3::xxh3_128;

use crate::document::place::{PROPERTY, Place, PlaceRef, Property};
use crate::document::seek;
use crate::kernel::{Cells, Entity, Field, State, Touched};

/// The paths at which more than one kind is alive. Persistent, like the state that it follows.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Mixed {
    paths: OrdSet<(Entity, Prefix)>,
}

/// A [place](PlaceRef): the beginning of a field, so that it shares the field's memory.
#[derive(Clone, Debug)]
pub(super) struct Prefix {
    field: Field,
    len: u16,
}

impl Prefix {
    /// A place that a field begins with.
    fn of(field: &Field, place: PlaceRef<'_>) -> Self {
        Self::of_len(field, place.as_bytes().len())
    }

    /// The first bytes of a field.
    pub(super) fn of_len(field: &Field, len: usize) -> Self {
        Self { field: field.clone(), len: len.try_into().unwrap_or(u16::MAX) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        let bytes = self.field.as_bytes();
        &bytes[..bytes.len().min(self.len.into())]
    }
}

impl From<&[u8]> for Prefix {
    /// The length saturates; no valid field is that long.
    fn from(bytes: &[u8]) -> Self {
        Self { field: Field::new(bytes), len: bytes.len().try_into().unwrap_or(u16::MAX) }
    }
}

impl Ord for Prefix {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Prefix {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Prefix {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Prefix {}

impl Mixed {
    /// The paths, entity by entity, those of one entity in order.
    pub(crate) fn by_entity(&self) -> impl Iterator<Item = (Entity, Vec<PlaceRef<'_>>)> + '_ {
        let mut rest = self.paths.iter().peekable();
        std::iter::from_fn(move || {
            let (entity, _) = *rest.peek()?;
            let of_entity = std::iter::from_fn(|| rest.next_if(|(e, _)| e == entity));
            Some((*entity, of_entity.map(|(_, place)| PlaceRef::from_bytes(place.as_bytes())).collect()))
        })
    }

    /// The paths of an entity at and below a place.
    pub(crate) fn within<'a, P: AsRef<[u8]>>(
        &'a self,
        entity: Entity,
        place: P,
    ) -> impl Iterator<Item = PlaceRef<'a>> + use<'a, P> {
        let from = self.paths.range((entity, Prefix::from(place.as_ref()))..);
        let of_entity = from.take_while(move |(e, _)| *e == entity);
        of_entity
            .map(|(_, found)| PlaceRef::from_bytes(found.as_bytes()))
            .take_while(move |found| found.as_bytes().starts_with(place.as_ref()))
    }

    /// A place, if several kinds are there.
    pub(crate) fn at(&self, entity: Entity, place: &Place) -> Option<PlaceRef<'_>> {
        self.within(entity, place.as_bytes()).next().filter(|found| *found == place.as_ref())
    }

    /// Follows cells of one entity. O(depth · log cells) each.
    pub(crate) fn follow(&mut self, state: &State, touched: &[Touched]) {
        if self.has_none_in(state, touched) {
            return;
        }
        let (mut found, mut looked_at) = (None, HashSet::new());
        for touched in touched {
            if touched.field.as_bytes().first() != Some(&PROPERTY) {
                continue;
            }
            let is_live = touched.is_now_live();
            if is_live == touched.was_live() || touched.is_alone || (!is_live && self.paths.is_empty()) {
                continue;
            }
            let cells = *found.get_or_insert_with(|| state.cells(touched.entity));
            self.follow_one(cells, touched, is_live, &mut looked_at);
        }
    }

    /// Returns whether the cells are all that their entity has, with properties side by side, as a node that a merge brings has
    /// them: then no path holds several kinds.
    fn has_none_in(&self, state: &State, touched: &[Touched]) -> bool {
        let [first, _, ..] = touched else { return false };
        let siblings: usize = touched.iter().map(|touched| touched.cell_now().len()).sum();
        are_side_by_side(touched)
            && self.within(first.entity, []).next().is_none()
            && state.cells(first.entity).is_none_or(|cells| cells.len() == siblings)
    }

    /// Follows a cell that has come to life, or died. Each place is looked at once for all: to find that nothing is there may take a look at many
    /// cells that nobody could have written.
    fn follow_one(
        &mut self,
        cells: Option<Cells<'_>>,
        touched: &Touched,
        is_live: bool,
        looked_at: &mut HashSet<(bool, usize, u128)>,
    ) {
        let Some(property) = Property::of(touched.field.as_bytes()) else { return };
        let entity = touched.entity;
        if is_live && !property.is_content() {
            return;
        }
        let mut is_new =
            |place: PlaceRef<'_>| looked_at.insert((is_live, place.as_bytes().len(), xxh3_128(place.as_bytes())));
        match is_live {
            // More can have become mixed, nothing less.
            true => {
                let Some(cells) = cells else { return };
                if seek::is_free_of_few(cells, property.place, property.kind) == Some(true) {
                    return;
                }
                for (place, kind) in property.place.ancestors().chain([(property.place, property.kind)]) {
                    if is_new(place) && seek::has_other(cells, place, kind) {
                        self.insert(entity, &touched.field, place);
                    }
                }
            }
            // Less can be mixed, nothing more.
            false => {
                for place in property.place.ancestors().map(|(above, _)| above).chain([property.place]) {
                    let key = (entity, Prefix::of(&touched.field, place));
                    if self.paths.contains(&key) && is_new(place) && !cells.is_some_and(|cells| is_mixed(cells, place))
                    {
                        self.paths.remove(&key);
                    }
                }
            }
        }
    }

    fn insert(&mut self, entity: Entity, field: &Field, place: PlaceRef<'_>) {
        self.paths.insert((entity, Prefix::of(field, place)));
    }

    #[cfg(feature = "testing")]
    pub(crate) fn check(&self, state: &State) -> Result<(), String> {
        let mut fresh = Self::default();
        for (entity, field, _) in state.live_siblings() {
            let Some(property) = Property::of(field.as_bytes()) else { continue };
            let Some(cells) = state.cells(entity) else { continue };
            for place in property.place.ancestors().map(|(above, _)| above).chain([property.place]) {
                if is_mixed(cells, place) {
                    fresh.insert(entity, &field, place);
                }
            }
        }
        if *self == fresh { Ok(()) } else { Err("paths of several kinds do not follow from the cells".into()) }
    }
}

/// Returns whether the cells come in order and the paths of all properties begin with segments that differ. May say no where they do.
fn are_side_by_side(touched: &[Touched]) -> bool {
    // The beginning of all that lies at or below the first segment of the property before.
    let mut before: Option<&[u8]> = None;
    let fields = touched.iter().map(|touched| touched.field.as_bytes());
    fields.filter(|field| field.first() == Some(&PROPERTY)).all(|field| {
        let Some(end) = field.iter().position(|byte| *byte == 0).filter(|end| *end > 1) else { return false };
        let follows = before.is_none_or(|before| before < field && !field.starts_with(before));
        before = Some(&field[..=end]);
        follows
    })
}

fn is_mixed(cells: Cells<'_>, place: PlaceRef<'_>) -> bool {
    seek::kinds(cells, place).nth(1).is_some()
}
