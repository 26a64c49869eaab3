//! Going back: what makes properties read as they were.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::document::place::{Place, PlaceRef, Property};
use crate::document::value::ByValue;
use crate::error::EditError;
use crate::kernel::{Crdt, Edit, Entity, Sibling, Touched};
use crate::kind::Kind;
use crate::types::Totals;

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

/// Puts back the counters of one entity. A replica may write no other's total, so the difference of the sums is added to
/// our own; a counter that was not there is removed.
pub(crate) fn put_back_counters<T: Crdt>(
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
    for (place, cells) in counters {
        let place = Place::from(PlaceRef::from_bytes(place));
        let was_there = cells.iter().any(|cell| cell.was_live()) || {
            // What is alive and did not change was there.
            let differs = |field: &[u8]| cells.iter().any(|cell| cell.field.as_bytes() == field);
            let now = edit.state().cells(entity);
            let mut live = now.into_iter().flat_map(|cells| cells.with_prefix(place.field(Kind::Counter)));
            live.any(|(field, sibling)| sibling.is_live() && !differs(field.as_bytes()))
        };
        if was_there {
            let missing = cells.iter().map(|cell| Totals::of(cell.was()).net() - Totals::of(cell.now()).net()).sum();
            let field = place.cell(Kind::Counter, edit.own_id().as_bytes())?;
            let mine = edit.state().cells(entity).map(|cells| Totals::of(cells.siblings(&field))).unwrap_or_default();
            let totals = mine.and(missing).ok_or(EditError::CounterOverflow)?;
            let now =
                edit.state().cells(entity).into_iter().flat_map(|cells| cells.with_prefix(place.field(Kind::Counter)));
            let is_there = now.into_iter().any(|(_, sibling)| sibling.is_live());
            if missing != 0 || !is_there {
                edit.write(entity, &field, totals.to_payload())?;
            }
        } else {
            cells.iter().try_for_each(|cell| edit.erase(entity, cell.field.as_bytes()).map(drop))?;
        }
    }
    Ok(())
}
