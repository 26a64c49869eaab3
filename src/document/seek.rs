//! What is at a path, found without a walk of what lies there.

use smallvec::SmallVec;

use crate::document::place::{END, FieldBytes, PROPERTY, PlaceRef, Property};
use crate::kernel::{Cells, Field};
use crate::kind::Kind;

/// Whether nothing stands in the way of a kind at a place: nothing of another kind there, nothing but maps above. What is
/// not free may still turn out to be, by what shows or by what nobody could have written. One pass over a small entity.
pub(super) fn is_free(cells: Cells<'_>, place: PlaceRef<'_>, kind: Kind) -> bool {
    let begins = place.as_bytes().get(1).copied();
    let blocks = |field: &Field| {
        let bytes = field.as_bytes();
        // Most are told apart by their first letter: what is at the root has a zero there, and what is above, at or below
        // the place begins as the place does.
        let (Some(&PROPERTY), Some(&first)) = (bytes.first(), bytes.get(1)) else { return false };
        if first != 0 && begins.is_some_and(|begins| begins != first) {
            return false;
        }
        match bytes.strip_prefix(place.as_bytes()) {
            Some([0, code, ..]) if *code < END => *code != kind.code(),
            Some(_) => kind != Kind::Map,
            None => place.ancestors().any(|above| match bytes.strip_prefix(above.as_bytes()) {
                Some([0, code, ..]) => *code < END && *code != Kind::Map.code(),
                _ => false,
            }),
        }
    };
    cells.any_of_few(blocks).map(|blocked| !blocked).unwrap_or_else(|| {
        let clear_above = || place.ancestors().all(|above| own_kinds(cells, above).all(|own| own == Kind::Map));
        let clear_below = || kind == Kind::Map || !has_children(cells, place);
        own_kinds(cells, place).all(|own| own == kind) && clear_below() && clear_above()
    })
}

/// Which kinds are alive at a place, in their order. O(kinds · log cells).
pub(crate) fn kinds(cells: Cells<'_>, place: PlaceRef<'_>) -> impl Iterator<Item = Kind> + use<> {
    let map = has_children(cells, place);
    let own = own_kinds(cells, place).filter(move |kind| !(map && *kind == Kind::Map));
    map.then_some(Kind::Map).into_iter().chain(own)
}

/// What shows at a place.
pub(super) fn kind(cells: Cells<'_>, place: PlaceRef<'_>) -> Option<Kind> {
    match own_kinds(cells, place).next() {
        Some(Kind::Map) => Some(Kind::Map),
        _ if has_children(cells, place) => Some(Kind::Map),
        own => own,
    }
}

/// Whether a map is the only thing at a place, if anything is: that which paths may lead through.
pub(super) fn above(cells: Cells<'_>, place: PlaceRef<'_>) -> Option<Kind> {
    // Nearly always there is no cell of the place's own, and what lies below need not be looked at.
    own_kinds(cells, place).next().and_then(|_| kind(cells, place)).filter(|kind| *kind != Kind::Map)
}

/// The kinds that have live cells of their own, in their order, which is not that of their fields. One seek for each, and one more.
pub(super) fn own_kinds(cells: Cells<'_>, place: PlaceRef<'_>) -> impl Iterator<Item = Kind> + use<> {
    let mut found: SmallVec<[Kind; 4]> = stored_kinds(cells, place).collect();
    found.sort_unstable();
    found.into_iter()
}

/// The kinds that have live cells of their own, in the order of their fields.
fn stored_kinds<'a>(cells: Cells<'a>, place: PlaceRef<'a>) -> impl Iterator<Item = Kind> + use<'a> {
    let mut code = 0u8;
    std::iter::from_fn(move || {
        loop {
            let field = cells.next_live(&place.start_of(code.checked_add(1)?))?;
            // What lies below sorts after all kinds.
            code = *field.as_bytes().strip_prefix(place.as_bytes())?.strip_prefix(&[0])?.first()?;
            if code >= END {
                return None;
            }
            let readable =
                std::iter::once(field).chain(live_of(cells, place, code)).find_map(|f| Property::of(f.as_bytes()));
            if let Some(property) = readable {
                return Some(property.kind);
            }
        }
    })
}

/// The live fields of one kind.
fn live_of<'a>(cells: Cells<'a>, place: PlaceRef<'a>, code: u8) -> impl Iterator<Item = &'a Field> {
    let start = place.start_of(code);
    let live = cells.with_prefix(start).filter(|(_, sibling)| sibling.is_live());
    live.map(|(field, _)| field)
}

pub(super) fn has_children(cells: Cells<'_>, place: PlaceRef<'_>) -> bool {
    let mut start = place.start_of_children();
    while let Some(field) = cells.next_live(&start).filter(|field| field.as_bytes().starts_with(place.as_bytes())) {
        // What no version spells so is nobody's.
        if Property::of(field.as_bytes()).is_some() {
            return true;
        }
        start = FieldBytes::from_slice(field.as_bytes());
        start.push(0);
    }
    false
}
