//! Plans the writes that make a value another.

use std::collections::{BTreeMap, BTreeSet};

use crate::bugs::{Bug, is};
use crate::document::array::Array;
use crate::document::list::{self, Slot};
use crate::document::nested::Nested;
use crate::document::place::{FieldBytes, Place, Property};
use crate::document::text::check_room;
use crate::document::tree::{self, Tree};
use crate::document::value::{Value, kind};
use crate::error::{EditError, MAX_DEPTH};
use crate::kernel::{Cells, FieldRef, MAX_FIELD_LEN, MAX_PAYLOAD_LEN, Payload, SiblingRef};
use crate::kind::Kind;

/// Writes, all of which have been found to be right before the first is made.
#[derive(Default)]
pub(crate) struct Plan {
    pub(super) writes: Vec<(FieldBytes, Option<Payload>)>,
    /// Counters, and what is to be added to them.
    pub(super) counted: Vec<(Place, i128)>,
    /// Texts, and what they are to become.
    pub(super) texts: Vec<(Place, String)>,
    /// Lists, and what they are to become.
    pub(super) lists: Vec<Arranging>,
    /// True if what the value does not name stays.
    keeps: bool,
    /// The name by which maps in lists are matched.
    id: Option<String>,
}

/// The order that the elements of a list are brought into, once those that go are gone.
pub(super) struct Arranging {
    pub(super) place: Place,
    /// The elements that were there, by the positions at which they were born.
    pub(super) born: Vec<Vec<u8>>,
    pub(super) slots: Vec<Slot>,
    /// The array.
    pub(super) items: Vec<Nested>,
}

impl Plan {
    /// Writes one cell.
    pub(crate) fn of(field: FieldBytes, payload: Payload) -> Self {
        Self { writes: vec![(field, Some(payload))], ..Self::default() }
    }

    /// Removes one cell.
    pub(crate) fn erasing(field: FieldBytes) -> Self {
        Self { writes: vec![(field, None)], ..Self::default() }
    }

    /// Removes everything at and below a place.
    pub(super) fn removing(cells: Option<Cells<'_>>, place: &Place) -> Self {
        let mut plan = Self::default();
        plan.remove_all(cells, place);
        plan
    }

    /// Removes everything at and below a place; of an element of a list also the place that it was moved to.
    pub(super) fn remove_all(&mut self, cells: Option<Cells<'_>>, place: &Place) {
        let Some(cells) = cells else { return };
        self.remove(place, &Tree::at(cells, place));
        let moved = list::moved_field_of(place).filter(|_| !is(Bug::RemovalKeepsMove));
        let moved = moved.filter(|moved| cells.live(moved).next().is_some());
        self.writes.extend(moved.map(|moved| (moved, None)));
    }

    /// Makes a list this array.
    pub(super) fn updating_list(
        cells: Option<Cells<'_>>,
        place: &Place,
        to: &Nested,
        id: Option<&str>,
    ) -> Result<Self, EditError> {
        let Nested::Array(items) = to else {
            return Err(EditError::Misfit { path: text(place), is: Kind::List, takes: "arrays" });
        };
        let mut plan = Self { id: id.map(str::to_owned), ..Self::default() };
        let tree = cells.map(|cells| Tree::at(cells, place)).unwrap_or_default();
        match tree.kind() == Some(Kind::List) && tree.to_nested().reads_as(to) {
            true => Ok(plan),
            false => plan.update_list(place, &tree, items).map(|()| plan),
        }
    }

    /// Makes what is at a place a list, if an array is there or nothing; `None` if a list is there.
    pub(super) fn making_list(cells: Cells<'_>, place: &Place) -> Result<Option<Self>, EditError> {
        let tree = Tree::at(cells, place);
        let value = match tree.kind() {
            Some(Kind::List) => return Ok(None),
            Some(Kind::Register) => tree.value(Kind::Register),
            None => return Ok(Some(Self::of(place.field(Kind::List), tree::presence()))),
            _ => None,
        };
        match (value.map(Value::to_nested), tree.kind()) {
            (Some(Nested::Array(items)), _) => {
                let mut plan = Self::default();
                plan.remove_own(place, &tree.alone(Kind::Register));
                plan.push(place, place.field(Kind::List), Some(tree::presence()))?;
                if !items.is_empty() {
                    plan.update_list(place, &Tree::default(), &items)?;
                }
                Ok(Some(plan))
            }
            (_, is) => {
                let (path, wanted) = (text(place), Kind::List);
                Err(EditError::OtherKind { path, is: is.unwrap_or(Kind::Register), wanted })
            }
        }
    }

    /// Makes what is at a place this value; what the value does not name is removed, or `keeps`.
    pub(super) fn updating(
        cells: Option<Cells<'_>>,
        place: &Place,
        to: &Nested,
        keeps: bool,
    ) -> Result<Self, EditError> {
        let mut plan = Self { keeps, ..Self::default() };
        let tree = cells.map(|cells| Tree::at(cells, place)).unwrap_or_default();
        plan.update(place, &tree, to)?;
        Ok(plan)
    }

    /// Makes what is at a place this value, in place of what is there of these kinds; even if it is there already.
    pub(crate) fn replacing(
        cells: Option<Cells<'_>>,
        place: &Place,
        kinds: &[Kind],
        to: &Nested,
    ) -> Result<Self, EditError> {
        let mut plan = Self::default();
        let tree = cells.map(|cells| Tree::at(cells, place)).unwrap_or_default();
        let kind = if matches!(to, Nested::Map(_)) { Kind::Map } else { Kind::Register };
        kinds.iter().filter(|other| **other != kind).for_each(|other| plan.remove(place, &tree.alone(*other)));
        match to {
            // A map that is not in question keeps what it has.
            Nested::Map(entries) => {
                plan.keeps = !kinds.contains(&Kind::Map);
                plan.update_map(place, &tree.alone(Kind::Map), entries)?;
            }
            value => plan.write(place, Kind::Register, value)?,
        }
        Ok(plan)
    }

    /// Removes what is at a place but for one kind, and writes that again, so that it stays if somebody keeps another at the same time. What
    /// cannot be written again stays as it is: cells that are in a conflict of their own, and counters, which are totals of their writers, and kinds of later versions, which may be. O(cells there).
    pub(crate) fn keeping(cells: Option<Cells<'_>>, place: &Place, kind: Kind, of: &[Kind]) -> Self {
        let mut plan = Self::default();
        let mut kept: Vec<(FieldRef<'_>, Vec<SiblingRef<'_>>)> = Vec::new();
        for (field, sibling) in cells.into_iter().flat_map(|cells| tree::live_of_kind(cells, place, kind)) {
            let kind = Property::of(field.as_bytes()).map(|property| property.kind);
            match kept.last_mut() {
                _ if matches!(kind, Some(Kind::Counter | Kind::Other(_))) => {}
                Some((last, siblings)) if *last == field => siblings.push(sibling),
                _ => kept.push((field, vec![sibling])),
            }
        }
        for (field, siblings) in kept {
            let payload = siblings[0].payload;
            if siblings.iter().all(|sibling| sibling.payload == payload) {
                plan.writes
                    .push((FieldBytes::from_slice(field.as_bytes()), payload.map(|payload| payload.to_payload())));
            }
        }
        for other in of.iter().filter(|other| **other != kind) {
            let live = cells.into_iter().flat_map(|cells| tree::live_of_kind(cells, place, *other));
            let mut fields: Vec<_> = live.map(|(field, ..)| field).collect();
            fields.dedup();
            plan.writes.extend(fields.into_iter().map(|field| (FieldBytes::from_slice(field.as_bytes()), None)));
        }
        plan
    }

    /// Writes one more cell.
    pub(crate) fn add(&mut self, field: FieldBytes, payload: Payload) {
        self.writes.push((field, Some(payload)));
    }

    /// Returns the write, if the plan is to write one cell and nothing else.
    pub(crate) fn only_payload(&self) -> Option<&Payload> {
        match (&self.writes[..], self.counted.is_empty() && self.texts.is_empty() && self.lists.is_empty()) {
            ([(_, payload)], true) => payload.as_ref(),
            _ => None,
        }
    }

    fn update(&mut self, place: &Place, tree: &Tree<'_>, to: &Nested) -> Result<(), EditError> {
        let shown = tree.kind();
        if shown.is_some_and(|kind| kind != Kind::Map) && tree.to_nested().reads_as(to) {
            return Ok(());
        }
        match (shown, to) {
            (None | Some(Kind::Map), Nested::Map(entries)) => self.update_map(place, tree, entries),
            (Some(Kind::Register), Nested::Map(entries)) => {
                self.remove_own(place, tree);
                self.update_map(place, tree, entries)
            }
            (Some(Kind::Map), value) => {
                tree.own.keys().filter(|kind| **kind != Kind::Register).for_each(|kind| {
                    self.remove_own(place, &tree.alone(*kind));
                });
                tree.children.iter().for_each(|(name, child)| self.remove(&place.child(name), child));
                tree.elements.iter().for_each(|(born, element)| self.remove(&place.element(born), element));
                self.write(place, Kind::Register, value)
            }
            (None | Some(Kind::Register), value) => self.write(place, Kind::Register, value),
            (Some(Kind::Counter), Nested::Int(number)) => self.count(place, tree, (*number).into()),
            (Some(Kind::Counter), Nested::Uint(number)) => self.count(place, tree, (*number).into()),
            (Some(Kind::Set), Nested::Array(items)) => self.update_set(place, tree, items),
            (Some(Kind::Text), Nested::Str(text)) => {
                check_room(place)?;
                self.texts.push((place.clone(), text.clone()));
                Ok(())
            }
            (Some(Kind::List), Nested::Array(items)) => self.update_list(place, tree, items),
            (Some(kind @ (Kind::Max | Kind::Min)), value) if !matches!(value, Nested::Map(_)) => {
                self.write(place, kind, value)
            }
            (Some(is), _) => {
                let takes = match is {
                    Kind::Counter => "whole numbers",
                    Kind::Set => "arrays without maps in them",
                    Kind::Text => "strings",
                    Kind::List => "arrays",
                    Kind::Other(_) => "nothing that this version could write",
                    _ => "anything but maps",
                };
                Err(EditError::Misfit { path: text(place), is, takes })
            }
        }
    }

    fn update_map(
        &mut self,
        place: &Place,
        tree: &Tree<'_>,
        entries: &BTreeMap<String, Nested>,
    ) -> Result<(), EditError> {
        if !self.keeps {
            for (gone, child) in tree.children.iter().filter(|(name, _)| !entries.contains_key(*name)) {
                self.remove(&place.child(gone), child);
            }
        }
        let nothing = Tree::default();
        for (name, value) in entries {
            let child = place.child(name);
            if child.as_ref().ancestors().count() > MAX_DEPTH {
                // No path has so many segments, so its text is made from that of the one above.
                let path = format!("{}/{}", text(place), name.replace('~', "~0").replace('/', "~1"));
                return Err(EditError::TooDeep { path });
            }
            self.update(&child, tree.children.get(name).unwrap_or(&nothing), value)?;
        }
        // A map with entries needs no cell.
        let stays_empty = entries.is_empty() && (tree.shown_children().next().is_none() || !self.keeps);
        if stays_empty && !tree.own.contains_key(&Kind::Map) {
            self.push(place, place.field(Kind::Map), Some(tree::presence()))?;
        }
        Ok(())
    }

    fn update_list(&mut self, place: &Place, tree: &Tree<'_>, items: &[Nested]) -> Result<(), EditError> {
        let old = tree.in_order();
        let values: Vec<Nested> = old.iter().map(|(_, element)| element.to_nested()).collect();
        let slots = list::slots(&values, items, self.id.as_deref(), self.keeps);
        let mut stays = vec![false; old.len()];
        let mut new = Vec::new();
        for (slot, item) in &slots {
            match (slot, item.and_then(|item| items.get(item))) {
                (Slot::Kept(element) | Slot::Moved(element), item) => {
                    stays[*element] = true;
                    let (born, tree) = old[*element];
                    item.map_or(Ok(()), |item| self.update(&place.element(born), tree, item))?;
                }
                (Slot::New(_), Some(item)) => new.push(item.clone()),
                (Slot::New(_), None) => {}
            }
        }
        list::check_list(place, &new)?;
        let gone = old.iter().zip(stays).filter(|(_, stays)| !stays);
        for ((born, element), _) in gone {
            let place_of = place.element(born);
            self.remove(&place_of, element);
            let moved = list::moved_key(born);
            if tree.own.get(&Kind::List).is_some_and(|cells| cells.contains_key(&moved[..])) {
                self.writes.push((place.cell(Kind::List, &moved)?, None));
            }
        }
        let is_listed = tree.own.get(&Kind::List).is_some_and(|cells| cells.contains_key(&[][..]));
        if slots.is_empty() && !is_listed {
            self.push(place, place.field(Kind::List), Some(tree::presence()))?;
        }
        let slots: Vec<Slot> = slots.into_iter().map(|(slot, _)| slot).collect();
        if slots.iter().any(|slot| !matches!(slot, Slot::Kept(_))) {
            let born = old.iter().map(|(born, _)| born.to_vec()).collect();
            self.lists.push(Arranging { place: place.clone(), born, slots, items: items.to_vec() });
        }
        Ok(())
    }

    fn update_set(&mut self, place: &Place, tree: &Tree<'_>, items: &[Nested]) -> Result<(), EditError> {
        let own = tree.own.get(&Kind::Set);
        // An array may stand for bytes that JSON could not tell from it: here by what they read as.
        let mut bytes: BTreeMap<String, Vec<(&[u8], Nested)>> = BTreeMap::new();
        for key in own.into_iter().flat_map(|own| own.keys()) {
            let element = tree::element(key).map(Value::to_nested);
            if let Some(element) = element.filter(Nested::holds_bytes) {
                bytes.entry(element.clone().into_json().to_string()).or_default().push((key, element));
            }
        }
        let mut wanted = BTreeSet::new();
        for item in items {
            let key = tree::key_of_element(&payload(place, item)?);
            // New, or there already for an equal item before it.
            let is_spare = wanted.contains(&key) || own.is_none_or(|own| !own.contains_key(&key[..]));
            let alike = match is_spare && !bytes.is_empty() {
                true => bytes.get_mut(&item.clone().into_json().to_string()),
                false => None,
            };
            let stands_for = alike.and_then(|alike| {
                let at = alike.iter().position(|(_, element)| element.reads_as(item))?;
                Some(alike.swap_remove(at).0.to_vec())
            });
            wanted.insert(stands_for.unwrap_or(key));
        }
        if !self.keeps {
            for key in own.into_iter().flat_map(|own| own.keys()).filter(|key| !wanted.contains(&key[..])) {
                self.push(place, place.cell(Kind::Set, key)?, None)?;
            }
        }
        for key in wanted.iter().filter(|key| own.is_none_or(|own| !own.contains_key(&key[..]))) {
            self.push(place, place.cell(Kind::Set, key)?, Some(tree::presence()))?;
        }
        Ok(())
    }

    fn count(&mut self, place: &Place, tree: &Tree<'_>, to: i128) -> Result<(), EditError> {
        let difference = to - tree.sum();
        if difference != 0 {
            self.counted.push((place.clone(), difference));
        }
        Ok(())
    }

    fn write(&mut self, place: &Place, kind: Kind, value: &Nested) -> Result<(), EditError> {
        let payload = payload(place, value)?;
        self.push(place, place.field(kind), Some(payload))
    }

    fn remove(&mut self, place: &Place, tree: &Tree<'_>) {
        self.remove_own(place, tree);
        tree.children.iter().for_each(|(name, child)| self.remove(&place.child(name), child));
        tree.elements.iter().for_each(|(born, element)| self.remove(&place.element(born), element));
    }

    fn remove_own(&mut self, place: &Place, tree: &Tree<'_>) {
        for (kind, cells) in &tree.own {
            for key in cells.keys() {
                let mut field = place.field(*kind);
                field.extend_from_slice(key);
                self.writes.push((field, None));
            }
        }
    }

    fn push(&mut self, place: &Place, field: FieldBytes, payload: Option<Payload>) -> Result<(), EditError> {
        let (key, value) = (field.len(), payload.as_ref().map_or(0, |payload| payload.bytes().len()));
        if key > MAX_FIELD_LEN {
            return Err(EditError::KeyTooLong { path: place.as_ref().text(), len: key, limit: MAX_FIELD_LEN });
        }
        if value > MAX_PAYLOAD_LEN {
            return Err(EditError::ValueTooLong { path: place.as_ref().text(), len: value, limit: MAX_PAYLOAD_LEN });
        }
        self.writes.push((field, payload));
        Ok(())
    }
}

fn payload(place: &Place, value: &Nested) -> Result<Payload, EditError> {
    let value = match value {
        Nested::Null => Value::Null,
        Nested::Bool(value) => Value::Bool(*value),
        Nested::Int(number) => Value::Int(*number),
        Nested::Uint(number) => Value::Uint(*number),
        Nested::Float(number) => Value::Float(*number),
        Nested::Str(text) => Value::Str(text),
        Nested::Bytes(bytes) => Value::Bytes(bytes),
        Nested::Array(_) => {
            let bytes = value.to_bytes().map_err(|e| e.with_path(|| place.as_ref().text()))?;
            let too_deep = || EditError::TooDeep { path: text(place) };
            return Array::of(&bytes).map(|_| Payload::new(kind::ARRAY, &bytes)).ok_or_else(too_deep);
        }
        Nested::Map(_) => {
            let takes = "arrays without maps in them";
            return Err(EditError::Misfit { path: text(place), is: Kind::Set, takes });
        }
    };
    value.to_payload().map_err(|e| e.at(place.as_ref()))
}

fn text(place: &Place) -> String {
    place.as_ref().path().unwrap_or_default().to_string()
}
