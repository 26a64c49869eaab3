//! Writing properties.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::count::{self, Adding};
use crate::document::list::{ListMut, check_list, clear_leftovers, clear_on_the_way};
use crate::document::nested::Nested;
use crate::document::path::AsPath;
use crate::document::place::{FieldBytes, Place, PlaceRef, Property};
use crate::document::read::Properties;
use crate::document::seek;
use crate::document::sequences::{Sequenced, place_in};
use crate::document::text::TextMut;
use crate::document::tree;
use crate::document::update::{Arranging, Plan};
use crate::document::value::Value;
use crate::error::EditError;
use crate::id::WriterId;
use crate::kernel::{Cells, Edit, Entity, Go, Payload};
use crate::kind::Kind;

/// The properties of a node, an edge or a [`Document`](crate::Document), to be written.
///
/// A path has a kind: what was first written there made it a register, a counter, a set, a maximum, a minimum, a text, a list or a map,
/// and writing another kind is [`EditError::OtherKind`] until it is [`unset`](Self::unset). Replicas that make different
/// kinds of it at the same time keep both, a conflict.
///
/// Every write replaces what is seen in its cell; what somebody else writes there concurrently is kept beside it.
pub struct PropertiesMut<'e, 'a, T> {
    edit: &'e mut Edit<'a, T>,
    entity: Entity,
    /// Says whether the entity is there, if it has to be.
    require: Option<Require>,
}

/// A check that an entity with these cells is there.
pub(crate) type Require = fn(Entity, Option<Cells<'_>>) -> Result<(), EditError>;

impl<'e, 'a, T: Sequenced> PropertiesMut<'e, 'a, T> {
    pub(crate) fn new(edit: &'e mut Edit<'a, T>, entity: Entity, require: Option<Require>) -> Self {
        Self { edit, entity, require }
    }

    /// Returns the properties as they are now.
    pub fn read(&self) -> Properties<'_> {
        Properties::new(self.edit.state().cells(self.entity), self.entity, self.edit.sequences())
    }

    /// The place of a path: numbers stand for the elements of lists.
    fn place(&self, path: impl AsPath) -> Result<Place, EditError> {
        Ok(place_in(self.edit, self.entity, path)?)
    }

    /// Sets the register at a path. A value that somebody sets concurrently is kept beside it: a conflict, in which the
    /// later stamp shows.
    pub fn set<'v>(&mut self, path: impl AsPath, value: impl Into<Value<'v>>) -> Result<(), EditError> {
        let field = self.place(path)?.into_field(Kind::Register);
        let place = PlaceRef::of_field(&field);
        let payload = value.into().to_payload().map_err(|e| e.at(place))?;
        self.write(place, Kind::Register, &field, payload)
    }

    /// Removes everything that is seen at and below a path, whatever its kind: one write for each cell. Returns whether
    /// anything was there. What somebody writes there concurrently stays.
    ///
    /// A map goes with its last entry, unless it was [`update`](Self::update)d to be empty.
    pub fn unset(&mut self, path: impl AsPath) -> Result<bool, EditError> {
        let place = self.place(path)?;
        let plan = Plan::removing(self.cells()?, &place);
        self.carry_out(plan)
    }

    /// Makes the value at a path this one: writes what differs from what shows, and removes what the value does not have,
    /// whoever wrote it. Returns whether anything differed. Takes a `serde_json::Value` or anything else that serialises, in
    /// the shape that it has as JSON; bytes stay bytes.
    ///
    /// Maps are merged entry by entry with what others write. An array is one value where neither a list nor a set shows. Kinds are kept: a
    /// counter is brought to the number by adding the difference, a set by inserting and removing, a text by [its differences](TextMut::update),
    /// a list by [matching its elements](ListMut::update) with those of the array, and a value that does not fit them is
    /// [`EditError::Misfit`]. Where nothing is yet, everything becomes maps and registers; what is to be a counter, say, is
    /// made one first (`add(path, 0)`). Between maps and registers the value decides.
    ///
    /// A value that no type could read back unchanged is refused as [`EditError::Unreadable`]: `Some(())`, or `Some(None)`, which JSON
    /// has as `null` like `None`, and two entries of one name; see [`update_checked`](Self::update_checked). A struct can
    /// skip fields, and one that gains a field with a default reads what is there. An enum whose variant has content is a map
    /// of one entry: if two replicas choose different variants at once, both entries are there and it cannot be read until
    /// one is removed; write it within an array if that can happen.
    ///
    /// A value that shows already is not written, so a conflict in which the right value shows stays open: [`set`](Self::set) or
    /// resolve it. Entries that a struct does not know are removed as well; see [`extend`](Self::extend). O(cells there + size of the
    /// value).
    ///
    /// ```
    /// use driftless::{Document, Replica};
    /// use serde_json::json;
    /// let mut replica = Replica::<Document>::new();
    /// replica.edit(|d| d.update("", &json!({"name": "Ada", "likes": {"tea": true}})))?;
    /// let (_, delta) = replica.edit(|d| d.update("", &json!({"name": "Ada", "likes": {"tea": false}})))?;
    /// assert_eq!(delta.len(), 1); // the name was not written again
    /// assert_eq!(replica.state().to_json(), json!({"name": "Ada", "likes": {"tea": false}}));
    /// # Ok::<(), driftless::EditError>(())
    /// ```
    pub fn update<V: Serialize + ?Sized>(&mut self, path: impl AsPath, value: &V) -> Result<bool, EditError> {
        self.write_nested(path, value, false)
    }

    /// Like [`update`](Self::update), but what the value does not have stays: entries of maps, elements of sets and elements of lists. For a
    /// struct that does not know all that others keep in the same document.
    ///
    /// A list gets the elements of the array that it has no equal of; equal elements come into the order of the array. The elements that the
    /// array does not have stay, ahead of what is new at the same place. No element is updated in place: a map that differs in one entry is
    /// another element.
    pub fn extend<V: Serialize + ?Sized>(&mut self, path: impl AsPath, value: &V) -> Result<bool, EditError> {
        self.write_nested(path, value, true)
    }

    /// Like [`update`](Self::update), but refuses ([`EditError::Unreadable`]) a value that [`deserialize`] would not give back
    /// equal to it: with a field that serde skips, a variant of an untagged enum that reads as an earlier one, a key within
    /// `#[serde(flatten)]` that is no text. `update` itself cannot tell, since it takes what only serialises; it refuses
    /// what no type could read back.
    ///
    /// ```
    /// use driftless::{Document, EditError, Replica};
    /// use serde::{Deserialize, Serialize};
    /// #[derive(Serialize, Deserialize, PartialEq)]
    /// struct Draft {
    ///     text: String,
    ///     #[serde(skip)]
    ///     cursor: usize,
    /// }
    /// let mut replica = Replica::<Document>::new();
    /// let mut draft = Draft { text: "Dear".into(), cursor: 4 };
    /// let refused = replica.edit(|d| d.update_checked("/draft", &draft));
    /// assert!(matches!(refused, Err(EditError::Unreadable { path, .. }) if path == "/draft"));
    /// draft.cursor = 0;
    /// replica.edit(|d| d.update_checked("/draft", &draft))?;
    /// assert!(replica.state().deserialize::<Draft>("/draft")? == Some(draft));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`deserialize`]: Properties::deserialize
    pub fn update_checked<V>(&mut self, path: impl AsPath, value: &V) -> Result<bool, EditError>
    where
        V: Serialize + DeserializeOwned + PartialEq,
    {
        let place = self.place(path)?;
        let at = place.as_ref().path().unwrap_or_default();
        let nested = Nested::of(value, &at)?;
        let unreadable = |path: String, reason: String| EditError::Unreadable { path, reason };
        let read: V = serde_json::from_value(nested.clone().into_json())
            .map_err(|error| unreadable(at.to_string(), error.to_string()))?;
        if read != *value {
            let below = Nested::of(&read, &at).ok().and_then(|read| nested.difference(&read)).unwrap_or_default();
            let reason = "it would come back as another value, since serde skips a part of it or takes it for another";
            return Err(unreadable(format!("{at}{below}"), reason.into()));
        }
        self.write_planned(&place, &nested, false)
    }

    fn write_nested<V: Serialize + ?Sized>(
        &mut self,
        path: impl AsPath,
        value: &V,
        keeps: bool,
    ) -> Result<bool, EditError> {
        let place = self.place(path)?;
        let nested = Nested::of(value, &place.as_ref().path().unwrap_or_default())?;
        self.write_planned(&place, &nested, keeps)
    }

    fn write_planned(&mut self, place: &Place, nested: &Nested, keeps: bool) -> Result<bool, EditError> {
        let cells = self.cells()?;
        if let Some(cells) = cells {
            check_above(cells, place.as_ref())?;
        }
        let plan = Plan::updating(cells, place, nested, keeps)?;
        self.carry_out(plan)
    }

    /// Adds to the counter at a path, or takes away if `amount` is negative. Concurrent changes all count.
    ///
    /// To remove a counter while somebody adds to it brings that replica's whole total back.
    pub fn add(&mut self, path: impl AsPath, amount: i64) -> Result<(), EditError> {
        let place = self.place(path)?;
        let ((field, payload), taken_over) = self.counted(&place, amount.into())?;
        self.write(place.as_ref(), Kind::Counter, &field, payload)?;
        match taken_over {
            Some(field) => self.edit.erase(self.entity, &field).map(drop),
            None => Ok(()),
        }
    }

    /// Our cell of a counter with what it holds once we have added to it, and the cell that it takes over.
    fn counted(&mut self, place: &Place, amount: i128) -> Result<Counted, EditError> {
        let prefix = place.field(Kind::Counter);
        let all = self.cells()?.into_iter().flat_map(|cells| cells.with_prefix(&prefix));
        let live = all.filter(|(_, sibling)| sibling.is_live()).filter_map(|(field, sibling)| {
            let key = <[u8; WriterId::LEN]>::try_from(Property::of(field.as_bytes())?.key).ok()?;
            Some((WriterId::from(key), sibling.to_sibling()))
        });
        let live = live.collect();
        let Adding { writer, payload, taken_over } = count::adding(self.edit, live, amount)?;
        let field = |writer: WriterId| place.cell(Kind::Counter, writer.as_bytes());
        Ok(((field(writer)?, payload), taken_over.map(field).transpose()?))
    }

    /// Puts a value into the set at a path. Always writes, so that it beats a removal made elsewhere at the same time.
    /// Returns whether it was not there before.
    pub fn insert<'v>(&mut self, path: impl AsPath, value: impl Into<Value<'v>>) -> Result<bool, EditError> {
        let place = self.place(path)?;
        let field = element(&place, value.into())?;
        let is_new = self.cells()?.is_none_or(|cells| cells.live(&field).next().is_none());
        self.write(place.as_ref(), Kind::Set, &field, tree::presence())?;
        Ok(is_new)
    }

    /// Takes a value out of the set at a path. Returns whether it was there; if not, nothing is written. The same value put
    /// in concurrently stays. With its last element the set is gone, and the path can become something else.
    pub fn remove<'v>(&mut self, path: impl AsPath, value: impl Into<Value<'v>>) -> Result<bool, EditError> {
        let (place, value) = (self.place(path)?, value.into());
        let field = match value.to_known_payload() {
            // A value that cannot be written can be taken out.
            Some(payload) => place.cell(Kind::Set, &tree::key_of_element(&payload))?,
            None => element(&place, value)?,
        };
        self.cells()?;
        let was_there = self.edit.erase(self.entity, &field)?;
        if was_there {
            clear_on_the_way(self.edit, self.entity, place.as_ref())?;
        }
        Ok(was_there)
    }

    /// Writes the maximum at a path, if the value is greater than the one that shows, by [`Value::total_cmp`]. Returns
    /// whether it was; if not, nothing is written. Of concurrent values the greatest shows.
    pub fn raise<'v>(&mut self, path: impl AsPath, value: impl Into<Value<'v>>) -> Result<bool, EditError> {
        self.push_beyond(path, value.into(), Kind::Max, |value, shown| value.total_cmp(&shown).is_gt())
    }

    /// Writes the minimum at a path, if the value is less than the one that shows. Else like [`raise`](Self::raise).
    pub fn lower<'v>(&mut self, path: impl AsPath, value: impl Into<Value<'v>>) -> Result<bool, EditError> {
        self.push_beyond(path, value.into(), Kind::Min, |value, shown| value.total_cmp(&shown).is_lt())
    }

    fn push_beyond(
        &mut self,
        path: impl AsPath,
        value: Value<'_>,
        kind: Kind,
        is_beyond: impl FnOnce(Value<'_>, Value<'_>) -> bool,
    ) -> Result<bool, EditError> {
        let place = self.place(path)?;
        let payload = value.to_payload().map_err(|e| e.at(place.as_ref()))?;
        let field = place.field(kind);
        let cells = self.cells()?;
        let shown = cells.and_then(|cells| tree::shown(kind, cells.live(&field)));
        // The value is compared as it will be read: −0 is 0. One that this version cannot read gives way to one that it can.
        let known = shown.filter(|shown| !matches!(shown, Value::Unknown { .. }));
        if known.is_some_and(|shown| !is_beyond(Value::from_payload(&payload), shown)) {
            return cells.map_or(Ok(Go::Yes), |cells| check(cells, place.as_ref(), kind)).map(|_| false);
        }
        self.write(place.as_ref(), kind, &field, payload)?;
        Ok(true)
    }

    /// The entity's cells, if it is there.
    fn cells(&self) -> Result<Option<Cells<'_>>, EditError> {
        let cells = self.edit.state().cells(self.entity);
        self.require.map_or(Ok(()), |require| require(self.entity, cells))?;
        Ok(cells)
    }

    /// Writes one cell, if the entity is there and the path takes that kind. One look-up.
    fn write(&mut self, place: PlaceRef<'_>, kind: Kind, field: &[u8], payload: Payload) -> Result<(), EditError> {
        let (entity, require) = (self.entity, self.require);
        let written = self.edit.put(entity, field, Some(payload), |cells| {
            require.map_or(Ok(()), |require| require(entity, Some(cells)))?;
            check(cells, place, kind)
        });
        written.map(drop).map_err(|error| error.with_path(|| place.text()))
    }

    /// Writes what has been found to be right. Returns whether that was anything.
    pub(crate) fn carry_out(&mut self, plan: Plan) -> Result<bool, EditError> {
        let mut writes = plan.writes;
        for (place, difference) in &plan.counted {
            let ((field, payload), taken_over) = self.counted(place, *difference)?;
            writes.push((field, Some(payload)));
            writes.extend(taken_over.map(|field| (field, None)));
        }
        for (field, payload) in &writes {
            let written = self.edit.put(self.entity, field, payload.clone(), |_| Ok(Go::Yes));
            written.map_err(|error| error.with_path(|| Property::of(field)?.place.text()))?;
        }
        for (place, text) in &plan.texts {
            TextMut::new(self.edit, self.entity, self.require, Ok(place.clone())).update(text)?;
        }
        for Arranging { place, born, slots, items } in &plan.lists {
            ListMut::new(self.edit, self.entity, self.require, Ok(place.clone())).arrange(born, slots, items)?;
        }
        // An element goes with the last thing in it, and where it was moved to with that.
        if !self.edit.sequences().lists.has_no_leftovers() {
            for (field, _) in writes.iter().filter(|(_, payload)| payload.is_none()) {
                let Some(Property { place, .. }) = Property::of(field) else { continue };
                clear_on_the_way(self.edit, self.entity, place)?;
            }
            plan.lists
                .iter()
                .try_for_each(|Arranging { place, .. }| clear_leftovers(self.edit, self.entity, place.as_ref()))?;
        }
        Ok(!writes.is_empty() || !plan.texts.is_empty() || !plan.lists.is_empty())
    }
}

impl<'a, T: Sequenced> PropertiesMut<'_, 'a, T> {
    /// The text at a path, for writing: one that several replicas type into. Where nothing is yet, the first insertion makes it. A path that is none
    /// is an error once something is written.
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let ada = NodeId::named("person:ada");
    /// replica.edit(|g| {
    ///     g.add_node("person:ada")?;
    ///     g.text_mut(ada, "/about").insert(0, "First programmer.")
    /// })?;
    /// let node = replica.state().node(ada).ok_or("added")?;
    /// assert_eq!(node.text("/about").ok_or("a text")?, "First programmer.");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn text_mut(&mut self, path: impl AsPath) -> TextMut<'_, 'a, T> {
        let place = place_in(self.edit, self.entity, path);
        TextMut::new(self.edit, self.entity, self.require, place)
    }
}

impl<'a, T: Sequenced> PropertiesMut<'_, 'a, T> {
    /// The list at a path, for writing: elements that several replicas insert, remove and move. Where nothing is yet, the first insertion makes it. A
    /// path that is none is an error once something is written.
    pub fn list_mut(&mut self, path: impl AsPath) -> ListMut<'_, 'a, T> {
        let place = place_in(self.edit, self.entity, path);
        ListMut::new(self.edit, self.entity, self.require, place)
    }

    /// Makes the array at a path, which is one value, a list, whose elements are changed one by one; where nothing is, an empty list, which stays one when
    /// its last element goes. Returns whether it was not one before.
    ///
    /// The elements are named by the content: two replicas that do it at once have them once. An array that somebody sets there meanwhile is kept
    /// beside the list: a conflict of kinds, in which the list shows.
    ///
    /// ```
    /// use driftless::{Document, Replica};
    /// use serde_json::json;
    /// let mut replica = Replica::<Document>::new();
    /// replica.edit(|d| d.update("/tags", &json!(["logic", "music"])))?;
    /// replica.edit(|d| {
    ///     d.make_list("/tags")?;
    ///     d.list_mut("/tags").insert(1, "engines")
    /// })?;
    /// assert_eq!(replica.state().json("/tags"), Some(json!(["logic", "engines", "music"])));
    /// # Ok::<(), driftless::EditError>(())
    /// ```
    pub fn make_list(&mut self, path: impl AsPath) -> Result<bool, EditError> {
        let place = self.place(path)?;
        let plan = match self.cells()? {
            None => Some(Plan::of(place.field(Kind::List), tree::presence())),
            Some(cells) => {
                check_above(cells, place.as_ref())?;
                Plan::making_list(cells, &place)?
            }
        };
        check_list(&place, &[])?;
        plan.map_or(Ok(false), |plan| self.carry_out(plan))
    }
}

impl<T> fmt::Debug for PropertiesMut<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PropertiesMut").field("entity", &self.entity).finish_non_exhaustive()
    }
}

/// Our cell of a counter and what it is to hold, and the cell that it takes over.
type Counted = ((FieldBytes, Payload), Option<FieldBytes>);

fn element(place: &Place, value: Value<'_>) -> Result<FieldBytes, EditError> {
    let payload = value.to_payload().map_err(|e| e.at(place.as_ref()))?;
    place.cell(Kind::Set, &tree::key_of_element(&payload))
}

/// Checks that a path takes a kind.
pub(super) fn check(cells: Cells<'_>, place: PlaceRef<'_>, wanted: Kind) -> Result<Go, EditError> {
    if seek::is_free(cells, place, wanted) {
        return Ok(Go::Alone);
    }
    match seek::kind(cells, place) {
        Some(is) if is != wanted => {
            Err(EditError::OtherKind { path: place.path().unwrap_or_default().to_string(), is, wanted })
        }
        _ => check_above(cells, place).map(|()| Go::Yes),
    }
}

/// Checks that a path leads through nothing but the maps and lists that it names.
fn check_above(cells: Cells<'_>, place: PlaceRef<'_>) -> Result<(), EditError> {
    let text = |place: PlaceRef<'_>| place.path().unwrap_or_default().to_string();
    let blocked =
        place.ancestors().find_map(|(above, through)| Some((above, seek::in_the_way(cells, above, through)?)));
    match blocked {
        Some((above, is)) => Err(EditError::IntoScalar { path: text(place), above: text(above), is }),
        None => Ok(()),
    }
}
