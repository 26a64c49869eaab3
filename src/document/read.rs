//! Reading. Nothing here panics; what is not there is `None` or absent from an iterator.

use serde::de::DeserializeOwned;

use crate::count::{self, Sum};
use crate::document::list::ListRef;
use crate::document::path::{AsPath, Path};
use crate::document::place::{PROPERTY, Place, PlaceRef, Property};
use crate::document::seek;
use crate::document::sequences::Sequences;
use crate::document::text::{TextRef, start_of};
use crate::document::tree::{self, Tree};
use crate::document::value::Value;
use crate::kernel::{Cells, Entity, Field, SiblingRef};
use crate::kind::Kind;

/// The properties of a node, an edge or a [`Document`](crate::Document): nested values by path.
///
/// Paths are given as JSON Pointers (RFC 6901) or as [`Path`]s, and lead through lists by index; what is no path has nothing at it.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a> {
    cells: Option<Cells<'a>>,
    entity: Entity,
    sequences: &'a Sequences,
}

impl<'a> Properties<'a> {
    pub(crate) fn new(cells: Option<Cells<'a>>, entity: Entity, sequences: &'a Sequences) -> Self {
        Self { cells, entity, sequences }
    }

    /// The place of a path; none if it is no path, or leads to an element that is not there.
    pub(super) fn place(&self, path: impl AsPath) -> Option<Place> {
        self.sequences.lists.place(|| self.cells, self.entity, path).ok()
    }

    /// The value that shows at a path: of a register that of the latest stamp, of a counter its sum (as a float past 64
    /// bits), of a maximum or minimum the greatest or least. `None` where nothing, a map, a set, a [list](Self::list) or a [text](Self::text) is. O(log n), for a
    /// counter O(branches that counted).
    pub fn get(&self, path: impl AsPath) -> Option<Value<'a>> {
        value_at(self.cells?, self.place(path)?)
    }

    /// The kind that shows at a path.
    pub fn kind(&self, path: impl AsPath) -> Option<Kind> {
        seek::kind(self.cells?, self.place(path)?.as_ref())
    }

    /// All concurrent values of the register at a path, in the order of their dots, each with who wrote it and when.
    pub fn get_all<P: AsPath>(&self, path: P) -> impl Iterator<Item = (Value<'a>, SiblingRef<'a>)> + use<'a, P> {
        let place = self.place(path);
        let siblings = place.zip(self.cells).map(|(place, cells)| cells.siblings(&place.field(Kind::Register)));
        siblings.into_iter().flatten().filter_map(|s| Some((Value::from_payload(s.payload?), s)))
    }

    /// The exact sum of the counter at a path; of a range its upper end.
    pub fn counter(&self, path: impl AsPath) -> Option<i128> {
        Some(self.sum(&self.place(path)?)?.greatest)
    }

    /// The least and the greatest that the counter at a path can be: see [`PnCounter::range`](crate::PnCounter::range).
    pub fn counter_range(&self, path: impl AsPath) -> Option<(i128, i128)> {
        let Sum { least, greatest } = self.sum(&self.place(path)?)?;
        Some((least, greatest))
    }

    fn sum(&self, place: &Place) -> Option<Sum> {
        sum(self.cells?, place)
    }

    /// The elements of the set at a path, each once.
    pub fn elements<P: AsPath>(&self, path: P) -> impl Iterator<Item = Value<'a>> + use<'a, P> {
        let place = self.place(path);
        let live = place.zip(self.cells).into_iter().flat_map(|(place, cells)| cells_of(cells, &place, Kind::Set));
        let mut last: Option<&Field> = None;
        live.filter(move |(field, _)| last.replace(field) != Some(*field))
            .filter_map(|(field, _)| tree::element(Property::of(field.as_bytes())?.key))
    }

    /// Returns whether a value is in the set at a path. O(log n).
    pub fn contains<'v>(&self, path: impl AsPath, value: impl Into<Value<'v>>) -> bool {
        let (Some(place), Some(payload), Some(cells)) = (self.place(path), value.into().to_known_payload(), self.cells)
        else {
            return false;
        };
        let field = place.cell(Kind::Set, &tree::key_of_element(&payload));
        field.is_ok_and(|field| cells.live(&field).next().is_some())
    }

    /// The text at a path: empty if it is explicitly so. O(log n).
    pub fn text(&self, path: impl AsPath) -> Option<TextRef<'a>> {
        let place = self.place(path)?;
        let start = start_of(place.as_ref());
        let rope = self.sequences.texts.get(self.entity, &start);
        let is_there = || seek::own_kinds(self.cells?, place.as_ref()).find(|kind| *kind == Kind::Text);
        let is_there = || is_there().is_some();
        (rope.is_some() || is_there()).then(|| TextRef::new(rope, start))
    }

    /// The list at a path: empty if it is explicitly so. O(log n).
    pub fn list(&self, path: impl AsPath) -> Option<ListRef<'a>> {
        let place = self.place(path)?;
        let order = self.sequences.lists.get(self.entity, &place.field(Kind::List));
        let is_there = || seek::own_kinds(self.cells?, place.as_ref()).find(|kind| *kind == Kind::List);
        let is_there = order.is_some() || is_there().is_some();
        is_there.then(|| ListRef::new(order, self.cells, place))
    }

    /// The names under the map at a path, in the order of their bytes. O(cells below).
    pub fn keys(&self, path: impl AsPath) -> Vec<String> {
        let tree = self.place(path).and_then(|place| self.tree(&place));
        tree.map(|tree| tree.shown_children().map(|(name, _)| name.clone()).collect()).unwrap_or_default()
    }

    /// All paths that show a value, with it, in the order of a walk through the tree. Sets, texts and empty maps and lists show none.
    pub fn iter(&self) -> impl Iterator<Item = (Path, Value<'a>)> + use<'a> {
        let this = *self;
        let mut last: Option<&[u8]> = None;
        let live = self.cells.into_iter().flat_map(|cells| cells.named([PROPERTY]));
        live.filter(|(_, sibling)| sibling.is_live())
            .filter_map(|(field, _)| Some(Property::of(field.as_bytes())?.place))
            .filter(move |place| last.replace(place.as_bytes()) != Some(place.as_bytes()))
            .filter_map(move |place| {
                let path = place.path()?;
                let value = this.get(&path)?;
                Some((path, value))
            })
    }

    /// Returns whether there are no properties.
    pub fn is_empty(&self) -> bool {
        let mut live = self.cells.into_iter().flat_map(|cells| cells.with_prefix([PROPERTY]));
        let is_content = |field: &Field| Property::of(field.as_bytes()).is_some_and(|property| property.is_content());
        !live.any(|(field, sibling)| sibling.is_live() && is_content(&field))
    }

    /// Everything at and below a path as JSON: of each path what shows, sets and lists as arrays, texts as strings. O(cells there).
    pub fn json(&self, path: impl AsPath) -> Option<serde_json::Value> {
        let tree = self.tree(&self.place(path)?)?;
        tree.kind().map(|_| tree.to_nested().into_json())
    }

    /// The properties as JSON; an empty map if there are none.
    pub fn to_json(&self) -> serde_json::Value {
        self.json("").unwrap_or_else(|| serde_json::Map::new().into())
    }

    /// Deserialises the value at and below a path from its JSON; `None` if nothing is there.
    pub fn deserialize<T: DeserializeOwned>(&self, path: impl AsPath) -> Result<Option<T>, serde_json::Error> {
        self.json(path).map(serde_json::from_value).transpose()
    }

    pub(super) fn tree(&self, place: &Place) -> Option<Tree<'a>> {
        Some(Tree::at(self.cells?, place))
    }
}

/// The value that shows at a place: see [`Properties::get`].
pub(crate) fn value_at<'a>(cells: Cells<'a>, place: Place) -> Option<Value<'a>> {
    let field = place.into_field(Kind::Register);
    let place = PlaceRef::of_field(&field);
    if seek::is_free(cells, place, Kind::Register) {
        // Nearly always: a register, or nothing.
        return cells.winner(&field)?.payload.map(Value::from_payload);
    }
    match seek::kind(cells, place)? {
        Kind::Counter => Some(Value::from_sum(sum(cells, &place.into())?.greatest)),
        kind => tree::shown(kind, cells.live(&place.start_of(kind.code()))),
    }
}

fn sum(cells: Cells<'_>, place: &Place) -> Option<Sum> {
    let mut counted = cells_of(cells, place, Kind::Counter).peekable();
    counted.peek()?;
    Some(count::sum(counted.map(|(_, sibling)| sibling)))
}

/// The live siblings of all cells of a kind: those that somebody could have written.
fn cells_of<'a>(
    cells: Cells<'a>,
    place: &Place,
    kind: Kind,
) -> impl Iterator<Item = (&'a Field, SiblingRef<'a>)> + use<'a> {
    let live = cells.named(place.field(kind)).filter(|(_, sibling)| sibling.is_live());
    live.filter(|(field, _)| Property::of(field.as_bytes()).is_some())
}
