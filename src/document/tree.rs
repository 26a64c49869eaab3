//! Everything alive at and below a path, as a tree.

use std::borrow::Cow;
use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::count;
use crate::document::list;
use crate::document::nested::Nested;
use crate::document::place::{FieldBytes, Place, Property, Spelled};
use crate::document::text;
use crate::document::value::{Value, kind};
use crate::kernel::{Cells, Field, FieldRef, Payload, SiblingRef, visits};
use crate::kind::Kind;

/// The live siblings at one path, and below it.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tree<'a> {
    /// By kind, then by which of its cells: their live siblings, in the order of their dots.
    pub(super) own: BTreeMap<Kind, BTreeMap<Key<'a>, SmallVec<[SiblingRef<'a>; 1]>>>,
    pub(crate) children: BTreeMap<String, Tree<'a>>,
    /// The elements of a list, by the positions at which they were born.
    pub(super) elements: BTreeMap<Key<'a>, Tree<'a>>,
}

/// A part of a field. Those of characters may have been spelled out for it.
type Key<'a> = Cow<'a, [u8]>;

impl<'a> Tree<'a> {
    /// Reads what is alive at and below a place. O(cells there).
    pub(crate) fn at(cells: Cells<'a>, place: &Place) -> Self {
        Self::of(live_at(cells, place.as_bytes()), place)
    }

    /// Reads what is alive at and below a place and belongs to one kind there. O(cells of the kind; for a map, cells there).
    pub(crate) fn of_kind(cells: Cells<'a>, place: &Place, kind: Kind) -> Self {
        Self::of(live_of_kind(cells, place, kind), place)
    }

    fn of(live: impl Iterator<Item = (FieldRef<'a>, SiblingRef<'a>)>, place: &Place) -> Self {
        let mut root = Self::default();
        for (field, sibling) in live {
            match field.held() {
                Some(field) => root.put(field, place, sibling, Cow::Borrowed),
                None => root.put(&field, place, sibling, |part| Cow::Owned(part.to_vec())),
            }
        }
        root
    }

    fn put<'f>(&mut self, field: &'f Field, place: &Place, sibling: SiblingRef<'a>, key: impl Fn(&'f [u8]) -> Key<'a>) {
        let Some(property) = Property::of(field.as_bytes()) else { return };
        let Some(segments) = property.place.segments_below(place) else { return };
        let mut tree = self;
        for segment in segments {
            // Cells come in the order of the tree, so the last child is nearly always the one.
            tree = match segment {
                Spelled::Name(name) => tree.children.entry(name).or_default(),
                Spelled::Element(position) => tree.elements.entry(key(position)).or_default(),
            };
        }
        tree.own.entry(property.kind).or_default().entry(key(property.key)).or_default().push(sibling);
    }

    /// The tree as it would be if only one kind were there.
    pub(crate) fn alone(&self, kind: Kind) -> Self {
        let own = self.own.get_key_value(&kind).map(|(kind, cells)| (*kind, cells.clone())).into_iter().collect();
        let children = if kind == Kind::Map { self.children.clone() } else { BTreeMap::new() };
        let elements = if kind == Kind::List { self.elements.clone() } else { BTreeMap::new() };
        Self { own, children, elements }
    }

    /// The tree of the path itself, without what lies below.
    pub(crate) fn own_alone(&self) -> Self {
        Self { own: self.own.clone(), ..Self::default() }
    }

    /// All live siblings.
    pub(crate) fn siblings(&self) -> Vec<SiblingRef<'a>> {
        let mut all: Vec<_> = self.own.values().flat_map(|cells| cells.values().flatten().copied()).collect();
        let below = self.children.values().chain(self.elements.values());
        below.for_each(|child| all.append(&mut child.siblings()));
        all
    }

    /// The kind that shows.
    pub(super) fn kind(&self) -> Option<Kind> {
        let map = self.shown_children().next().map(|_| Kind::Map);
        // A map is the first of kinds, and a list the next.
        map.or_else(|| {
            let own = self.own.keys().copied().filter(|kind| *kind != Kind::List);
            own.chain(self.has_list().then_some(Kind::List)).min()
        })
    }

    /// Returns whether a list is here. Where an element was moved to that is not there makes none.
    fn has_list(&self) -> bool {
        let is_empty = || self.own.get(&Kind::List).is_some_and(|cells| cells.contains_key(&[][..]));
        self.elements.values().any(Tree::shows) || is_empty()
    }

    /// Returns whether anything is here. Where an element was moved to that is not there is nothing.
    pub(crate) fn shows(&self) -> bool {
        self.kind().is_some()
    }

    /// The entries of the map in which something is.
    pub(crate) fn shown_children(&self) -> impl Iterator<Item = (&String, &Tree<'a>)> {
        self.children.iter().filter(|(_, child)| child.shows())
    }

    /// The elements of the list, as they show: each with the position at which it was born.
    pub(crate) fn in_order(&self) -> Vec<(&[u8], &Tree<'a>)> {
        let moves = self.own.get(&Kind::List);
        let key = |born: &[u8]| {
            let moved = moves.and_then(|moves| moves.get(&list::moved_key(born)[..]));
            list::shown_key(born, moved.into_iter().flatten().copied())
        };
        let shown = self.elements.iter().filter(|(_, tree)| tree.shows());
        let mut all: Vec<_> = shown.map(|(born, tree)| (key(born), (&born[..], tree))).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all.into_iter().map(|(_, element)| element).collect()
    }

    pub(crate) fn to_nested(&self) -> Nested {
        match self.kind() {
            Some(Kind::Map) => {
                Nested::Map(self.shown_children().map(|(k, child)| (k.clone(), child.to_nested())).collect())
            }
            Some(Kind::List) => Nested::Array(self.in_order().into_iter().map(|(_, tree)| tree.to_nested()).collect()),
            Some(Kind::Text) => Nested::Str(self.text()),
            Some(Kind::Set) => Nested::Array(self.elements().map(|value| value.to_nested()).collect()),
            Some(kind) => self.value(kind).map_or(Nested::Null, Value::to_nested),
            None => Nested::Null,
        }
    }

    /// The value that a kind shows, if it is one that shows a single value.
    pub(super) fn value(&self, kind: Kind) -> Option<Value<'a>> {
        let cells = self.own.get(&kind)?;
        match kind {
            Kind::Counter => Some(Value::from_sum(self.sum())),
            _ => shown(kind, cells.values().flatten().copied()),
        }
    }

    /// The sum of a counter; of a range its upper end.
    pub(super) fn sum(&self) -> i128 {
        let cells = self.own.get(&Kind::Counter).into_iter().flat_map(|cells| cells.values());
        count::sum(cells.flatten().copied()).greatest
    }

    /// The characters of a text.
    pub(super) fn text(&self) -> String {
        let cells = self.own.get(&Kind::Text).into_iter().flatten().filter(|(key, _)| text::is_position(key));
        let shown = cells.filter_map(|(_, siblings)| text::shown(siblings.iter().copied()));
        shown.flat_map(|shown| shown.letters().to_vec()).collect()
    }

    /// The elements of a set.
    pub(super) fn elements(&self) -> impl Iterator<Item = Value<'_>> + '_ {
        self.own.get(&Kind::Set).into_iter().flat_map(|cells| cells.keys()).filter_map(|key| element(key))
    }
}

/// The live siblings at and below a place that belong to one kind there, in the order of their fields. O(cells of the
/// kind; for a map, cells there; for a list, cells of its elements).
pub(crate) fn live_of_kind<'a>(
    cells: Cells<'a>,
    place: &Place,
    kind: Kind,
) -> impl Iterator<Item = (FieldRef<'a>, SiblingRef<'a>)> {
    let start: FieldBytes = if kind == Kind::Map { place.as_bytes().into() } else { place.field(kind) };
    let len = place.as_bytes().len();
    live_at(cells, start)
        .filter(move |(field, _)| Property::of(field.as_bytes()).is_some_and(|property| property.kind_at(len) == kind))
}

/// The live siblings at and below a place whose fields begin with these bytes.
fn live_at<'a>(cells: Cells<'a>, start: impl AsRef<[u8]>) -> impl Iterator<Item = (FieldRef<'a>, SiblingRef<'a>)> {
    let live = cells.with_prefix(start).filter(|(_, sibling)| sibling.is_live());
    live.inspect(|_| visits::count(1))
}

/// The value that the live siblings of a register, a maximum or a minimum show.
pub(super) fn shown<'a>(kind: Kind, siblings: impl Iterator<Item = SiblingRef<'a>>) -> Option<Value<'a>> {
    let value = |sibling: SiblingRef<'a>| sibling.payload.map(Value::from_payload);
    // A value that this version cannot read shows in a maximum or minimum only if there is no other.
    let known = |value: &Value<'_>| !matches!(value, Value::Unknown { .. });
    let all = siblings.filter_map(|sibling| Some((value(sibling)?, sibling.precedence())));
    let shown = match kind {
        Kind::Register => all.max_by_key(|(_, precedence)| *precedence),
        Kind::Max => all.max_by(|(a, _), (b, _)| known(a).cmp(&known(b)).then_with(|| a.total_cmp(b))),
        Kind::Min => all.max_by(|(a, _), (b, _)| known(a).cmp(&known(b)).then_with(|| b.total_cmp(a))),
        _ => None,
    };
    shown.map(|(value, _)| value)
}

/// The value of an element of a set, which names its cell.
pub(super) fn element(key: &[u8]) -> Option<Value<'_>> {
    let (kind, bytes) = key.split_first()?;
    Some(Value::from_parts(*kind, bytes))
}

pub(super) fn key_of_element(payload: &Payload) -> Vec<u8> {
    [&[payload.kind()], payload.bytes()].concat()
}

pub(super) fn presence() -> Payload {
    Payload::new(kind::UNIT, &[])
}
