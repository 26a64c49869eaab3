//! What is at a path, found without a walk of what lies there.

use crate::document::place::{PlaceRef, Property};
use crate::kernel::Cells;
use crate::kind::Kind;

/// Which kinds are alive at a place, in their order. O(kinds · log cells), past tombstones.
pub(crate) fn kinds<'a>(cells: &'a Cells, place: PlaceRef<'a>) -> impl Iterator<Item = Kind> + use<'a> {
    let map = has_children(cells, place);
    let own = own_kinds(cells, place).filter(move |kind| !(map && *kind == Kind::Map));
    map.then_some(Kind::Map).into_iter().chain(own)
}

/// What shows at a place.
pub(super) fn kind(cells: &Cells, place: PlaceRef<'_>) -> Option<Kind> {
    match own_kinds(cells, place).next() {
        Some(Kind::Map) => Some(Kind::Map),
        _ if has_children(cells, place) => Some(Kind::Map),
        own => own,
    }
}

/// Whether a map is the only thing at a place, if anything is: that which paths may lead through.
pub(super) fn above(cells: &Cells, place: PlaceRef<'_>) -> Option<Kind> {
    // Nearly always there is no cell of the place's own, and what lies below need not be looked at.
    own_kinds(cells, place).next().and_then(|_| kind(cells, place)).filter(|kind| *kind != Kind::Map)
}

/// The kinds that have live cells of their own.
pub(super) fn own_kinds<'a>(cells: &'a Cells, place: PlaceRef<'a>) -> impl Iterator<Item = Kind> + use<'a> {
    let mut code = 0u8;
    let end = place.start_of_children();
    std::iter::from_fn(move || {
        let start = place.start_of(code.checked_add(1)?);
        let mut live = cells.between(&start, true, Some(&end)).filter(|(_, sibling)| sibling.is_live());
        let (field, _) = live.next()?;
        let kind = Property::of(field.as_bytes())?.kind;
        code = kind.code();
        Some(kind)
    })
}

pub(super) fn has_children(cells: &Cells, place: PlaceRef<'_>) -> bool {
    let start = place.start_of_children();
    let mut below = cells.between(&start, true, None).take_while(|(f, _)| f.as_bytes().starts_with(place.as_bytes()));
    // What no version spells so is nobody's.
    below.any(|(field, sibling)| sibling.is_live() && Property::of(field.as_bytes()).is_some())
}
