//! Going back: what makes properties read as they were.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::count;
use crate::document::edit::PropertiesMut;
use crate::document::place::{FieldBytes, Place, PlaceRef, Property};
use crate::document::sequences::Sequenced;
use crate::document::update::Plan;
use crate::document::value::ByValue;
use crate::error::EditError;
use crate::kernel::{Crdt, Edit, Entity, Field, Sibling, Touched};
use crate::kind::Kind;

/// Puts back one cell of a property, by its kind; counters are for [`put_back_counters`]. Returns whether it was one of these.
pub(crate) fn put_back<T: Crdt>(edit: &mut Edit<'_, T>, cell: &Touched) -> Result<bool, EditError> {
    let Some(property) = Property::of(cell.field.as_bytes()) else { return Ok(false) };
    let value = |sibling: &Sibling| sibling.payload.clone().map(ByValue);
    match property.kind {
        Kind::Counter => {}
        Kind::Max => drop(edit.put_back_by(cell, |s| value(s).map(|value| (value.is_known(), value)))?),
        Kind::Min => drop(edit.put_back_by(cell, |s| value(s).map(|value| (value.is_known(), Reverse(value))))?),
        _ => drop(edit.put_back(cell)?),
    }
    Ok(true)
}

/// Tells whether a field is of a counter at a path.
pub(crate) fn is_counter(field: &Field) -> bool {
    Property::of(field.as_bytes()).is_some_and(|property| property.kind == Kind::Counter)
}

/// Puts back the counters of one entity. A replica may write no other's total, so the difference of the sums is added to
/// our own; a counter that was not there is removed.
pub(crate) fn put_back_counters<T: Sequenced>(
    edit: &mut Edit<'_, T>,
    entity: Entity,
    cells: &[Touched],
) -> Result<(), EditError> {
    let mut counters: BTreeMap<&[u8], Vec<&Touched>> = BTreeMap::new();
    for cell in cells {
        match Property::of(cell.field.as_bytes()) {
            Some(Property { place, kind: Kind::Counter, .. }) => {
                counters.entry(place.as_bytes()).or_default().push(cell)
            }
            _ => continue,
        }
    }
    let mut plan = Plan::default();
    for (place, cells) in counters {
        let place = Place::from(PlaceRef::from_bytes(place));
        let live_now = || {
            let now = edit.state().cells(entity).into_iter();
            now.flat_map(|cells| cells.named(place.field(Kind::Counter))).filter(|(_, sibling)| sibling.is_live())
        };
        // A cell that is alive and did not change was there before.
        let differs = |field: &Field| cells.iter().any(|cell| cell.field == *field);
        if cells.iter().any(|cell| cell.was_live()) || live_now().any(|(field, _)| !differs(field)) {
            let same = || live_now().filter(|(field, _)| !differs(field)).map(|(_, sibling)| sibling);
            let was = cells.iter().flat_map(|cell| cell.was()).map(Sibling::as_ref);
            let now = cells.iter().flat_map(|cell| cell.now()).map(Sibling::as_ref);
            let was = count::sum(same().chain(was.filter(|sibling| sibling.is_live())));
            let now = count::sum(same().chain(now.filter(|sibling| sibling.is_live())));
            let missing = was.greatest - now.greatest;
            if missing != 0 || live_now().next().is_none() {
                plan.counted.push((place, missing));
            }
        } else {
            plan.writes.extend(cells.iter().map(|cell| (FieldBytes::from_slice(cell.field.as_bytes()), None)));
        }
    }
    PropertiesMut::new(edit, entity, None).carry_out(plan).map(drop)
}
