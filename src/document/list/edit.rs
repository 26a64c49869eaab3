//! Writing into a list.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use crate::bugs::{Bug, is};
use crate::document::edit::{PropertiesMut, Require, check};
use crate::document::list::lists::{Element, latest, moved_key, start_of};
use crate::document::list::matching::Slot;
use crate::document::list::read::ListRef;
use crate::document::nested::Nested;
use crate::document::place::{Place, PlaceRef};
use crate::document::sequences::Sequenced;
use crate::document::text::check_room;
use crate::document::update::Plan;
use crate::error::{EditError, MAX_DEPTH, PathError};
use crate::id::{Dot, WriterId};
use crate::kernel::{Cells, Edit, Entity, Field, Go, Payload};
use crate::kind::Kind;
use crate::kinds::payload;
use crate::position::{Neighbour, Position, PositionBytes, between, imported, named, split_position};

/// So many cells between two elements are looked at for the next one that is held, and so many of an element for its first write.
const NEAR: usize = 64;

/// The most bytes of a position that an element is put at. What stands around one that would need more is moved to shallower places first; a position that
/// [leaves room](Position::leaves_room) takes less.
const LONGEST: usize = 200;

/// A list, for writing: [`PropertiesMut::list_mut`](crate::PropertiesMut::list_mut).
///
/// An element is a scalar, an array, a map, or a list once an array is [made](crate::PropertiesMut::make_list) one. Counters, sets, maxima, minima
/// and texts lie at paths within an element that is a map. All of it is written by the methods of [`PropertiesMut`](crate::PropertiesMut), at a
/// path that leads through the list by index (`/todo/0/done`) or by the [path of the element](ListRef::path).
///
/// An element is there as long as something is in it: a value, a list, or an entry of a map, which may be a text or a counter. To remove the last
/// thing in an element removes the element. So does to [unset](crate::PropertiesMut::unset) the last entry of a map that is an element, unless
/// the map was put there empty.
///
/// | concurrently | result |
/// |---|---|
/// | two insert at one place | both, one after the other: what one inserted in a row is not parted |
/// | two move one element | it shows once, where the later stamp says: a conflict ([`ElementMove`](crate::ConflictKind::ElementMove)) |
/// | one removes an element, one writes to it | what was written is there, where the element was born |
/// | one removes an element, one moves it | it is gone; the move is listed ([`MovedWhileRemoved`](crate::ConflictKind::MovedWhileRemoved)) |
/// | two write to one element | as at any path: two registers are a conflict, two names of a map are both there |
/// | one array is made a list by two, or a list [updated](Self::update) to one array | its elements are there once |
///
/// Lost is what a writer saw and removed, nothing else. Moving one element writes one cell and leaves all others alone (Kleppmann, *Moving
/// elements in list CRDTs*, 2020); order follows Fugue (Weidner and Kleppmann, *The Art of the Fugue*, 2023): see section 18 of the design.
///
/// Each element takes what is in it (a scalar is one cell, some 150 bytes) and some 60 bytes of order. There is no limit to the number of elements; each value is
/// bounded as elsewhere.
///
/// ```
/// use driftless::{Document, Replica};
/// use serde_json::json;
/// let (mut laptop, mut phone) = (Replica::<Document>::new(), Replica::<Document>::new());
/// let (_, delta) = laptop.edit(|d| {
///     let mut todo = d.list_mut("/todo");
///     todo.push(&json!({"text": "milk", "done": false}))?;
///     todo.push(&json!({"text": "bread", "done": false}))
/// })?;
/// phone.merge(&delta)?;
///
/// // Both offline: one moves an element, the other writes to it and inserts another.
/// let (_, a) = laptop.edit(|d| d.list_mut("/todo").move_to(1, 0))?;
/// let (_, b) = phone.edit(|d| {
///     d.set("/todo/1/done", true)?;
///     d.list_mut("/todo").insert(1, &json!({"text": "eggs", "done": false}))
/// })?;
/// laptop.merge(&b)?;
/// phone.merge(&a)?;
///
/// assert_eq!(laptop.state(), phone.state());
/// assert_eq!(
///     phone.state().json("/todo"),
///     Some(json!([{"text": "bread", "done": true}, {"text": "milk", "done": false}, {"text": "eggs", "done": false}]))
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ListMut<'e, 'a, T> {
    edit: &'e mut Edit<'a, T>,
    entity: Entity,
    require: Option<Require>,
    place: Result<Place, PathError>,
}

/// The naming of the positions of elements that are put in a row.
#[derive(Clone, Copy)]
enum Name<'n> {
    /// By the first dot: what two insert is two things.
    Dot,
    /// By what is put: what two put alike is one thing.
    Content(&'n str),
}

impl<'e, 'a, T: Sequenced> ListMut<'e, 'a, T> {
    pub(crate) fn new(
        edit: &'e mut Edit<'a, T>,
        entity: Entity,
        require: Option<Require>,
        place: Result<Place, PathError>,
    ) -> Self {
        Self { edit, entity, require, place }
    }

    /// The list as it is now, with what this edit has done; empty if there is none.
    pub fn read(&self) -> ListRef<'_> {
        let place = self.place.clone().unwrap_or_else(|_| Place::root());
        let order = self.place.as_ref().ok();
        let order = order.and_then(|place| self.edit.sequences().lists.get(self.entity, &start_of(place.as_ref())));
        ListRef::new(order, self.cells(), place)
    }

    /// Inserts an element before the one that stands at an index; at the end if the index is the length. The value is anything that
    /// serialises, in the shape that it has as JSON: a map becomes a nested one, of which each part merges by itself. Where no list is yet, this
    /// makes one. O(log n) and the size of the value.
    ///
    /// # Errors
    ///
    /// The index is beyond the end ([`EditError::Index`]), another kind is at the path, the path leads into a value or to no element, the owner is not
    /// there, the value is none that [`update`](crate::PropertiesMut::update) takes, or the path leaves less than 256 bytes of a key for a position
    /// ([`EditError::KeyTooLong`]). Nothing has been written then.
    pub fn insert<V: Serialize + ?Sized>(&mut self, at: usize, value: &V) -> Result<(), EditError> {
        let place = self.check()?;
        let len = self.read().len();
        if at > len {
            return Err(self.beyond(&place, at, len));
        }
        let item = Nested::of(value, &place.as_ref().path().unwrap_or_default())?;
        check_items(&place, at, std::slice::from_ref(&item))?;
        let born = self.make_room(&place, at, Name::Dot, 1, None)?;
        born.iter().try_for_each(|born| self.write_item(&place, born, &item))?;
        self.clear_leftovers(&place)
    }

    /// Inserts an element at the end: see [`insert`](Self::insert).
    pub fn push<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), EditError> {
        self.insert(self.read().len(), value)
    }

    /// Removes an element with all that is seen in it: one write for each cell. What somebody writes to it concurrently stays. With the last
    /// element goes the list, and the path can become something else, unless it was [made](crate::PropertiesMut::make_list) an empty one, which stays. Errors as
    /// of [`insert`](Self::insert).
    pub fn remove(&mut self, at: usize) -> Result<(), EditError> {
        match at.checked_add(1) {
            Some(end) => self.remove_range(at..end),
            None => Err(self.beyond(&self.check()?, at, self.read().len())),
        }
    }

    /// Removes the elements of a range.
    pub fn remove_range(&mut self, range: Range<usize>) -> Result<(), EditError> {
        let place = self.check()?;
        let list = self.read();
        if range.end > list.len() || range.start > range.end {
            return Err(self.beyond(&place, range.end.max(range.start).saturating_sub(1), list.len()));
        }
        let mut plan = Plan::default();
        if let Some(order) = list.order().filter(|_| !range.is_empty()) {
            for element in order.from(range.start).take(range.len()) {
                plan.remove_all(self.cells(), &place.element(element.born));
            }
        }
        self.carry_out(plan)?;
        self.clear_leftovers(&place)
    }

    /// Moves an element, so that it stands at an index afterwards. One write, whatever is in it. Errors as of [`insert`](Self::insert).
    pub fn move_to(&mut self, from: usize, to: usize) -> Result<(), EditError> {
        let place = self.check()?;
        let list = self.read();
        if from.max(to) >= list.len() {
            return Err(self.beyond(&place, from.max(to), list.len()));
        }
        let Some(born) = list.at(from).map(|element| element.born.to_vec()).filter(|_| from != to) else {
            return Ok(());
        };
        self.move_element(&place, &born, to, Name::Dot)?;
        self.clear_leftovers(&place)
    }

    /// Makes the list this array: writes what differs, and removes what the array does not have, whoever put it there. Returns whether anything
    /// differed. Where no list is yet, this makes one.
    ///
    /// Equal elements are matched by a longest common subsequence (beyond 8,192 between the first and the last difference by the first of equal ones);
    /// one that is gone here and new there is moved; what is left over between two matches is paired in order and updated in place if both are maps
    /// or both arrays, else removed and inserted. Two replicas that make the same of one list in one step do it once. Errors as of
    /// [`insert`](Self::insert); [`EditError::Misfit`] if the value is no array. O(n · differences), and O(n log n) beyond those 8,192.
    pub fn update<V: Serialize + ?Sized>(&mut self, values: &V) -> Result<bool, EditError> {
        self.update_matched(None, values)
    }

    /// Like [`update`](Self::update), but maps that have an entry of this name, such as `id`, are matched by it, and updated in place
    /// wherever they stand; here, and in the lists within.
    ///
    /// ```
    /// use driftless::{Document, Replica};
    /// use serde_json::json;
    /// let mut replica = Replica::<Document>::new();
    /// replica.edit(|d| d.list_mut("/tasks").update(&json!([{"id": 7, "text": "milk"}, {"id": 9, "text": "eggs"}])))?;
    /// let milk = replica.state().list("/tasks").and_then(|tasks| tasks.path(0)).ok_or("a task")?;
    ///
    /// let tasks = json!([{"id": 9, "text": "eggs"}, {"id": 7, "text": "oat milk"}]);
    /// replica.edit(|d| d.list_mut("/tasks").update_by("id", &tasks))?;
    /// assert_eq!(replica.state().list("/tasks").and_then(|tasks| tasks.index_of(&milk)), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update_by<V: Serialize + ?Sized>(&mut self, id: &str, values: &V) -> Result<bool, EditError> {
        self.update_matched(Some(id), values)
    }

    fn update_matched<V: Serialize + ?Sized>(&mut self, id: Option<&str>, values: &V) -> Result<bool, EditError> {
        let place = self.check()?;
        let to = Nested::of(values, &place.as_ref().path().unwrap_or_default())?;
        let plan = Plan::updating_list(self.cells(), &place, &to, id)?;
        PropertiesMut::new(self.edit, self.entity, self.require).carry_out(plan)
    }

    /// Puts the elements that the slots name, `born` for each, where they belong. What is gone has been removed.
    pub(in crate::document) fn arrange(
        &mut self,
        born: &[Vec<u8>],
        slots: &[Slot],
        items: &[Nested],
    ) -> Result<(), EditError> {
        // The plan has been found to be right; by now nothing of the list may be left.
        let place = self.place.clone()?;
        // The element after which the next is put.
        let mut last: Option<Vec<u8>> = None;
        let mut rest = slots;
        while let Some(slot) = rest.first() {
            let at = match &last {
                Some(last) => self.read().order().and_then(|order| order.index_of(last)).map_or(0, |index| index + 1),
                None => 0,
            };
            let mut taken = 1;
            match slot {
                Slot::Kept(element) => last = Some(born[*element].clone()),
                Slot::Moved(element) => {
                    let element = &born[*element];
                    let now = self.read().order().and_then(|order| order.index_of(element));
                    // Without itself, if it stood before.
                    let to = at - usize::from(now.is_some_and(|now| now < at));
                    let name = format!("{element:?}");
                    if now != Some(to) {
                        self.move_element(&place, element, to, Name::Content(&name))?;
                    }
                    last = Some(element.clone());
                }
                Slot::New(_) => {
                    let run =
                        rest.iter().map_while(|slot| if let Slot::New(item) = slot { items.get(*item) } else { None });
                    let run: Vec<&Nested> = run.collect();
                    taken = run.len().max(1);
                    let name = Nested::Array(run.iter().copied().cloned().collect()).into_json().to_string();
                    let new = self.make_room(&place, at, Name::Content(&name), run.len(), None)?;
                    for (born, item) in new.iter().zip(run) {
                        self.write_item(&place, born, item)?;
                    }
                    last = new.last().map(|born| born.to_vec()).or(last);
                }
            }
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Checks that the owner is there and that the path takes a list. Returns the place.
    fn check(&self) -> Result<Place, EditError> {
        let place = self.place.clone()?;
        check_place(&place)?;
        let cells = self.cells();
        self.require.map_or(Ok(()), |require| require(self.entity, cells))?;
        cells.map_or(Ok(()), |cells| check(cells, place.as_ref(), Kind::List).map(drop))?;
        Ok(place)
    }

    fn cells(&self) -> Option<Cells<'_>> {
        self.edit.state().cells(self.entity)
    }

    fn beyond(&self, place: &Place, index: usize, len: usize) -> EditError {
        EditError::Index { path: place.as_ref().text().unwrap_or_default(), index, len }
    }

    /// Removes what says where elements were moved to that are gone.
    fn clear_leftovers(&mut self, place: &Place) -> Result<(), EditError> {
        clear_leftovers(self.edit, self.entity, place.as_ref())
    }

    fn write_item(&mut self, place: &Place, born: &[u8], item: &Nested) -> Result<(), EditError> {
        let plan = Plan::updating(None, &place.element(born), item, true)?;
        self.carry_out(plan)
    }

    fn carry_out(&mut self, plan: Plan) -> Result<(), EditError> {
        PropertiesMut::new(self.edit, self.entity, None).carry_out(plan).map(drop)
    }

    fn move_element(&mut self, place: &Place, born: &[u8], to: usize, name: Name<'_>) -> Result<(), EditError> {
        let stands = self.make_room(place, to, name, 1, Some(born))?;
        stands.iter().try_for_each(|stands| self.write_move(place, born, stands))
    }

    fn write_move(&mut self, place: &Place, born: &[u8], stands: &[u8]) -> Result<(), EditError> {
        let field = [&start_of(place.as_ref())[..], &moved_key(born)].concat();
        self.edit.put(self.entity, &field, Some(Payload::new(payload::MOVED_TO, stands)), |_| Ok(Go::Yes)).map(drop)
    }

    /// The positions of elements that are put at an index of the list without the element `but`; what is crowded there is put elsewhere first.
    fn make_room(
        &mut self,
        place: &Place,
        at: usize,
        name: Name<'_>,
        len: usize,
        but: Option<&[u8]>,
    ) -> Result<Vec<PositionBytes>, EditError> {
        if let Some(found) = self.positions(place, at, name, len, but)? {
            return Ok(found);
        }
        // No room: what stands deep around the place is moved to a shallow one, under names that all who do so give alike.
        let (first, crowded) = self.crowded(at, but);
        let no_room = || EditError::abort("no place is left between these elements; remove one of them");
        let name_of_crowded = format!("{crowded:?}");
        let (before, after) = (first.checked_sub(1), first + crowded.len());
        let beside = [before, Some(after)].map(|at| self.neighbour(place, at?, but));
        let stands = named(beside[0].as_ref(), beside[1].as_ref(), &name_of_crowded, crowded.len());
        let stands = if stands.is_empty() { imported(&name_of_crowded, crowded.len()) } else { stands };
        let stands = self.spelled(&stands, [beside[0].as_ref(), beside[1].as_ref()], crowded.len());
        for (born, stands) in crowded.iter().zip(stands.ok_or_else(no_room)?) {
            self.write_move(place, born, &stands)?;
        }
        self.positions(place, at, name, len, but)?.ok_or_else(no_room)
    }

    /// The positions of elements that are written next; `None` if there is no room.
    fn positions(
        &mut self,
        place: &Place,
        at: usize,
        name: Name<'_>,
        len: usize,
        but: Option<&[u8]>,
    ) -> Result<Option<Vec<PositionBytes>>, EditError> {
        let writer = self.edit.writer()?;
        let next = Dot { writer, counter: self.edit.last_counter() + 1 };
        let (left, right) =
            (at.checked_sub(1).and_then(|at| self.neighbour(place, at, but)), self.neighbour(place, at, but));
        let (a, b) = (left.as_ref(), right.as_ref());
        let positions = match name {
            Name::Dot => {
                let held = self.held(place, a, b);
                between(a, b, held.as_ref(), next, len)
            }
            Name::Content(_) if is(Bug::ListByDot) => between(a, b, None, next, len),
            Name::Content(content) => {
                // An element of that name may have been put here before, and stand elsewhere by now.
                let mut name = content.to_owned();
                loop {
                    let positions =
                        if a.is_none() && b.is_none() { imported(&name, len) } else { named(a, b, &name, len) };
                    let spelled = self.spelled(&positions, [a, b], len);
                    if !spelled.iter().flatten().any(|born| self.is_taken(place, born)) {
                        return Ok(spelled);
                    }
                    name.push('\0');
                }
            }
        };
        Ok(self.spelled(&positions, [a, b], len))
    }

    /// Returns whether an element that was born at a position is there, or was moved.
    fn is_taken(&self, place: &Place, born: &[u8]) -> bool {
        let Some(cells) = self.cells() else { return false };
        let is_there = self.read().order().is_some_and(|order| order.index_of(born).is_some());
        is_there || cells.live(&[&start_of(place.as_ref())[..], &moved_key(born)].concat()).next().is_some()
    }

    /// The bytes of positions; `None` if they are not between their neighbours, or too long.
    fn spelled(
        &self,
        positions: &[Position],
        [a, b]: [Option<&Neighbour>; 2],
        len: usize,
    ) -> Option<Vec<PositionBytes>> {
        let spell = |position: &Position| position.to_bytes().filter(|bytes| bytes.len() <= LONGEST);
        let spelled: Option<Vec<PositionBytes>> = positions.iter().map(spell).collect();
        let is_between = |p: &Position| a.is_none_or(|a| a.position < *p) && b.is_none_or(|b| *p < b.position);
        let fits = positions.len() == len
            && positions.first().is_none_or(is_between)
            && positions.last().is_none_or(is_between);
        spelled.filter(|_| fits)
    }

    /// The element at an index of the list without the element `but`.
    fn element(&self, at: usize, but: Option<&[u8]>) -> Option<(Vec<u8>, Vec<u8>)> {
        let list = self.read();
        let order = list.order()?;
        let skipped = but.and_then(|but| order.index_of(but)).is_some_and(|index| index <= at);
        let Element { born, stands } = order.at(at.checked_add(usize::from(skipped))?)?;
        Some((born.to_vec(), stands.to_vec()))
    }

    fn neighbour(&self, place: &Place, at: usize, but: Option<&[u8]>) -> Option<Neighbour> {
        let (born, stands) = self.element(at, but)?;
        let cells = self.cells()?;
        let position = Position::from_bytes(&stands)?;
        let dot = match born == stands {
            false => {
                let field = [&start_of(place.as_ref())[..], &moved_key(&born)].concat();
                latest(cells.live(&field)).map(|(_, sibling)| sibling.dot)
            }
            true => {
                let near = cells.with_prefix(place.element(&born).as_bytes().to_vec()).take(NEAR);
                let mut live = near.filter(|(_, sibling)| sibling.is_live()).map(|(_, sibling)| sibling.dot);
                live.find(|dot| position.is_of(*dot))
            }
        };
        // An element that has been written to anew no longer tells who put it: nobody, then, goes on with its line.
        let dot = dot.unwrap_or(Dot { writer: WriterId::from([0; WriterId::LEN]), counter: 0 });
        Some(Neighbour { position, dot })
    }

    /// The first element between two that is held, with this replica's latest write to one of the next: a sign of what it removed here.
    fn held(&self, place: &Place, a: Option<&Neighbour>, b: Option<&Neighbour>) -> Option<Neighbour> {
        let start = start_of(place.as_ref());
        let bytes = |beside: Option<&Neighbour>| beside.and_then(|beside| beside.position.to_bytes());
        // Behind all that is in the element on the left.
        let from = bytes(a).map(|left| [&start[..], &left, &[0, 0xff]].concat());
        let from = from.unwrap_or_else(|| [&start[..], &[0x1f]].concat());
        let to = [&start[..], bytes(b).as_deref().unwrap_or(&[0xff])].concat();
        let own = self.edit.present_writer();
        let mut found: Option<Neighbour> = None;
        for (field, sibling) in self.cells()?.between(&from, false, Some(&to)).take(NEAR) {
            let born = field.as_bytes().get(start.len()..).and_then(split_position);
            let Some(position) = born.and_then(|(born, _)| Position::from_bytes(born)) else { continue };
            match &mut found {
                None => found = Some(Neighbour { position, dot: sibling.dot }),
                Some(found) if Some(sibling.dot.writer) == own => {
                    let is_later = found.dot.writer != sibling.dot.writer || found.dot.counter < sibling.dot.counter;
                    found.dot = if is_later { sibling.dot } else { found.dot };
                }
                Some(_) => {}
            }
        }
        found
    }

    /// The elements around an index whose positions leave no room, by their births, and the index of the first.
    fn crowded(&self, at: usize, but: Option<&[u8]>) -> (usize, Vec<Vec<u8>>) {
        let crowded = |at: usize| {
            let (born, stands) = self.element(at, but)?;
            let leaves_room = Position::from_bytes(&stands).is_some_and(|position| position.leaves_room());
            // Several at one position cannot be parted either.
            let beside = [at.checked_sub(1), at.checked_add(1)].into_iter().flatten();
            let mut beside = beside.filter_map(|at| self.element(at, but));
            (!leaves_room || beside.any(|(_, others)| others == stands)).then_some(born)
        };
        let mut found: Vec<Vec<u8>> = Vec::new();
        let mut first = at;
        while let Some(born) = first.checked_sub(1).and_then(crowded) {
            found.push(born);
            first -= 1;
        }
        found.reverse();
        found.extend((at..).map_while(crowded));
        (first, found)
    }
}

/// Removes, of a list, what says where elements were moved to that are gone.
pub(in crate::document) fn clear_leftovers<T: Sequenced>(
    edit: &mut Edit<'_, T>,
    entity: Entity,
    list: PlaceRef<'_>,
) -> Result<(), EditError> {
    let lists = &edit.sequences().lists;
    if lists.has_no_leftovers() || is(Bug::RemovalKeepsMove) {
        return Ok(());
    }
    let moves = [&start_of(list)[..], &moved_key(&[])].concat();
    let leftovers: Vec<Field> = lists.leftovers_within(entity, &moves).cloned().collect();
    leftovers.iter().try_for_each(|field| edit.erase(entity, field.as_bytes()).map(drop))
}

/// Does the same for the lists on the way to a place where something was erased: an element goes with the last thing in it.
pub(in crate::document) fn clear_on_the_way<T: Sequenced>(
    edit: &mut Edit<'_, T>,
    entity: Entity,
    place: PlaceRef<'_>,
) -> Result<(), EditError> {
    place.elements().try_for_each(|(list, _)| clear_leftovers(edit, entity, list))
}

/// Checks that values can be elements of a list, from an index on, before anything is written.
fn check_items(place: &Place, first: usize, items: &[Nested]) -> Result<(), EditError> {
    // A made-up element lies as deep, and has as long a key, as an element can.
    let longest = [0x40, 0, 0, 0, 0x80].repeat(LONGEST / 5);
    let at = place.element(&longest);
    let (made_up, list) = (at.as_ref().text().unwrap_or_default(), place.as_ref().text().unwrap_or_default());
    items.iter().enumerate().try_for_each(|(n, item)| {
        let checked = Plan::updating(None, &at, item, true).map(drop);
        checked.map_err(|error| error.within(&made_up, &format!("{list}/{}", first + n)))
    })
}

/// Checks that a path leaves room for elements: for their positions, and one segment more.
fn check_place(place: &Place) -> Result<(), EditError> {
    check_room(place)?;
    match place.as_ref().ancestors().count() < MAX_DEPTH {
        true => Ok(()),
        false => Err(EditError::TooDeep { path: place.as_ref().text().unwrap_or_default() }),
    }
}

/// Checks that a list of these values can be at a place.
pub(in crate::document) fn check_list(place: &Place, items: &[Nested]) -> Result<(), EditError> {
    check_place(place)?;
    check_items(place, 0, items)
}

impl<T> fmt::Debug for ListMut<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListMut").field("entity", &self.entity).field("place", &self.place).finish_non_exhaustive()
    }
}
