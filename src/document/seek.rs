//! Finds the kinds at a path without a walk of what lies there.

use smallvec::SmallVec;

use crate::document::place::{END, FieldBytes, PROPERTY, PlaceRef, Property};
use crate::kernel::{Cells, Field, FieldRef};
use crate::kind::Kind;

/// Returns whether nothing stands in the way of a kind at a place: nothing of another kind there, nothing above but the maps and lists that the
/// path leads through. What is not free may still turn out to be, by what shows or by what nobody could have written. One pass over a small entity.
pub(super) fn is_free(cells: Cells<'_>, place: PlaceRef<'_>, kind: Kind) -> bool {
    is_free_of_few(cells, place, kind).unwrap_or_else(|| {
        let clear_above = || !place.ancestors().any(|(above, through)| has_other(cells, above, through));
        !has_other(cells, place, kind) && clear_above()
    })
}

/// Returns whether a place is [free](is_free), by one pass; `None` for a large entity.
pub(super) fn is_free_of_few(cells: Cells<'_>, place: PlaceRef<'_>, kind: Kind) -> Option<bool> {
    let begins = place.as_bytes().get(1).copied();
    let blocks = |field: &Field| {
        let bytes = field.as_bytes();
        // Most are told apart by their first letter: what is at the root has a zero there, and what is above, at or below
        // the place begins as the place does.
        let (Some(&PROPERTY), Some(&first)) = (bytes.first(), bytes.get(1)) else { return false };
        if first != 0 && begins.is_some_and(|begins| begins != 0 && begins != first) {
            return false;
        }
        match bytes.strip_prefix(place.as_bytes()) {
            Some([0, code, ..]) if *code < END => *code != kind.code(),
            Some(_) => kind != Kind::Map,
            None => place.ancestors().any(|(above, through)| match bytes.strip_prefix(above.as_bytes()) {
                Some([0, code, ..]) if *code < END => *code != through.code(),
                Some(_) => through != Kind::Map,
                None => false,
            }),
        }
    };
    cells.any_of_few(blocks).map(|blocked| !blocked)
}

/// Returns whether another kind is alive at a place. Nothing of the kind itself is looked at.
pub(super) fn has_other(cells: Cells<'_>, place: PlaceRef<'_>, kind: Kind) -> bool {
    stored_kinds(cells, place, Some(kind)).next().is_some() || (kind != Kind::Map && has_children(cells, place))
}

/// The kinds that are alive at a place, in their order. O(kinds · log cells).
pub(crate) fn kinds(cells: Cells<'_>, place: PlaceRef<'_>) -> impl Iterator<Item = Kind> + use<> {
    let map = has_children(cells, place);
    let own = own_kinds(cells, place).filter(move |kind| !(map && *kind == Kind::Map));
    map.then_some(Kind::Map).into_iter().chain(own)
}

/// The kind that shows at a place.
pub(super) fn kind(cells: Cells<'_>, place: PlaceRef<'_>) -> Option<Kind> {
    match own_kinds(cells, place).next() {
        Some(Kind::Map) => Some(Kind::Map),
        _ if has_children(cells, place) => Some(Kind::Map),
        own => own,
    }
}

/// The kind that shows at a place, if it is another than a path leads through.
pub(super) fn in_the_way(cells: Cells<'_>, place: PlaceRef<'_>, through: Kind) -> Option<Kind> {
    // Nearly always there is no cell of the place's own, and what lies below need not be looked at.
    let shown = match through {
        Kind::Map => own_kinds(cells, place).next().and_then(|_| kind(cells, place)),
        _ => kind(cells, place),
    };
    shown.filter(|kind| *kind != through)
}

/// The kinds that have live cells of their own, in their order, which is not that of their fields. One seek for each, and one more.
pub(super) fn own_kinds(cells: Cells<'_>, place: PlaceRef<'_>) -> impl Iterator<Item = Kind> + use<> {
    let mut found: SmallVec<[Kind; 4]> = stored_kinds(cells, place, None).collect();
    found.sort_unstable();
    found.into_iter()
}

/// The kinds that have live cells of their own, but for one, in the order of their fields.
fn stored_kinds<'a>(cells: Cells<'a>, place: PlaceRef<'a>, but: Option<Kind>) -> impl Iterator<Item = Kind> + use<'a> {
    let mut code = 0u8;
    std::iter::from_fn(move || {
        loop {
            let field = cells.next_live(&place.start_of(code.checked_add(1)?))?;
            // The fields of what lies below sort after those of all kinds.
            code = *field.as_bytes().strip_prefix(place.as_bytes())?.strip_prefix(&[0])?.first()?;
            if code >= END {
                return None;
            }
            if but.is_some_and(|but| but.code() == code) {
                continue;
            }
            if code == Kind::List.code() {
                if has_list(cells, place) {
                    return Some(Kind::List);
                }
                continue;
            }
            let kind = |field: FieldRef<'_>| Some(Property::of(field.as_bytes())?.kind);
            if let Some(kind) = std::iter::once(field).chain(live_of(cells, place, code)).find_map(kind) {
                return Some(kind);
            }
        }
    })
}

/// The live fields of one kind.
fn live_of<'a>(cells: Cells<'a>, place: PlaceRef<'a>, code: u8) -> impl Iterator<Item = FieldRef<'a>> {
    let start = place.start_of(code);
    let live = cells.with_prefix(start).filter(|(_, sibling)| sibling.is_live());
    live.map(|(field, _)| field)
}

/// Returns whether a list is at a place: an element with something in it, or one that is explicitly empty. Where an element was moved to
/// that is not there is nothing.
fn has_list(cells: Cells<'_>, place: PlaceRef<'_>) -> bool {
    let start = place.start_of(Kind::List.code());
    cells.live(&start).next().is_some() || first_element(cells, &start, &[]).is_some()
}

/// The first field of a list, from a position on, that is of something in an element.
pub(super) fn first_element<'a>(cells: Cells<'a>, start: &[u8], from: &[u8]) -> Option<FieldRef<'a>> {
    // No position begins below.
    let from = if from.is_empty() { &[0x20] } else { from };
    first_readable(cells, &[start, from].concat(), start)
}

/// Returns whether something is in an element that was born at a position of the list whose cells begin so.
pub(super) fn holds_something(cells: Cells<'_>, start: &[u8], position: &[u8]) -> bool {
    let element = [start, position, &[0, END]].concat();
    first_readable(cells, &element, &element).is_some()
}

/// The first live field from one on that begins so and that is something that somebody could have written.
fn first_readable<'a>(cells: Cells<'a>, from: &[u8], beginning: &[u8]) -> Option<FieldRef<'a>> {
    let mut from = FieldBytes::from_slice(from);
    while let Some(field) = cells.next_live(&from).filter(|field| field.as_bytes().starts_with(beginning)) {
        // A field that no writer could have made is passed over.
        if Property::of(field.as_bytes()).is_some_and(|property| property.is_content()) {
            return Some(field);
        }
        from = FieldBytes::from_slice(field.as_bytes());
        from.push(0);
    }
    None
}

pub(super) fn has_children(cells: Cells<'_>, place: PlaceRef<'_>) -> bool {
    first_readable(cells, &place.start_of_children(), place.as_bytes()).is_some()
}
