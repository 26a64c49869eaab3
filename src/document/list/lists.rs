//! The lists of all entities: derived, and kept up with every change.

use std::collections::HashSet;
use std::fmt;

use im::{OrdMap, OrdSet};
use xxhash_rust::xxh3::xxh3_128;

use crate::bugs::{Bug, is};
use crate::document::mixed::Prefix;
use crate::document::path::{AsPath, ElementId, Segment};
use crate::document::place::{FieldBytes, PROPERTY, Place, PlaceRef, Property};
use crate::document::seek;
use crate::document::text::{LetterRef, Rope, Shown};
use crate::error::PathError;
use crate::kernel::{Cells, Entity, Field, PayloadRef, SiblingRef, State, Touched};
use crate::kind::{Kind, MOVED};
use crate::kinds::payload;
use crate::position::{is_position, split_position};

/// An element takes the room of one letter in the tree that keeps the order.
const ELEMENT: char = '\u{fffc}';

/// The lists that have elements, by entity and path, also where another kind shows. Persistent, like the state that it follows; a word until there is a list.
#[derive(Clone, Default)]
pub(crate) struct Lists(Option<Box<Orders>>);

#[derive(Clone, Default, PartialEq, Debug)]
struct Orders {
    orders: OrdMap<(Entity, Prefix), Order>,
    /// The cells that say where elements were moved to which are not there.
    leftovers: OrdSet<(Entity, Field)>,
}

/// The elements of a list in the order in which they show.
///
/// The key of one is the position at which it stands; if that is not the one at which it was born, the latter follows, after a zero byte.
#[derive(Clone, Default, Debug)]
pub(crate) struct Order {
    shown: Rope,
    /// The keys of the elements that do not stand where they were born, by their births.
    moved: OrdMap<Field, Field>,
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.shown.extent().scalars
    }

    /// The element that stands at an index. O(log n).
    pub(super) fn at(&self, index: usize) -> Option<Element<'_>> {
        self.shown.letters(index).next().and_then(Element::of_letter)
    }

    /// The elements from an index on.
    pub(super) fn from(&self, index: usize) -> impl Iterator<Item = Element<'_>> {
        self.shown.letters(index).filter_map(Element::of_letter)
    }

    /// The index at which the element that was born at a position stands. O(log n).
    pub(crate) fn index_of(&self, born: &[u8]) -> Option<usize> {
        let key = self.moved.get(born).map_or(born, Field::as_bytes);
        let index = self.shown.before(key, false).scalars;
        self.at(index).filter(|element| element.born == born).map(|_| index)
    }

    /// The number of elements that stand before a position, but for one. O(log n).
    pub(crate) fn before(&self, position: &[u8], but: &[u8]) -> usize {
        let before = self.shown.before(position, false).scalars;
        let counts = self.index_of(but).is_some_and(|index| index < before);
        before - usize::from(counts)
    }

    /// Says where an element stands from now on; nowhere if it has no key.
    fn set(&mut self, born: &[u8], key: Option<&[u8]>) {
        let was = self.moved.get(born).map_or(born, Field::as_bytes);
        if Some(was) != key {
            let was = Field::new(was);
            self.shown.set(&was, None);
        }
        match key.filter(|key| *key != born) {
            Some(key) => drop(self.moved.insert(Field::new(born), Field::new(key))),
            None => drop(self.moved.remove(born)),
        }
        if let Some(key) = key {
            self.shown.set(&Field::new(key), Some(Shown::One(ELEMENT)));
        }
    }
}

/// Equal if the same elements are in the same order.
impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.moved == other.moved && self.len() == other.len() && self.from(0).eq(other.from(0))
    }
}

/// An element of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Element<'a> {
    /// The position at which it was born.
    pub(crate) born: &'a [u8],
    /// The position at which it stands.
    pub(crate) stands: &'a [u8],
}

impl<'a> Element<'a> {
    /// Keys are no letters of a text, and lie each by itself.
    fn of_letter(letter: LetterRef<'a>) -> Option<Self> {
        Self::of(letter.field().held()?.as_bytes())
    }

    fn of(key: &'a [u8]) -> Option<Self> {
        let (stands, rest) = split_position(key)?;
        let born = rest.strip_prefix(&[0]).unwrap_or(stands);
        Some(Self { born, stands })
    }
}

/// The key of the cell of a list that says where an element was moved to.
pub(in crate::document) fn moved_key(born: &[u8]) -> FieldBytes {
    let mut key = FieldBytes::from_slice(&[MOVED]);
    key.extend_from_slice(born);
    key
}

/// The field of the cell that says where the element at a place was moved to; none if no element is at such a place.
pub(crate) fn moved_field_of(element: &Place) -> Option<FieldBytes> {
    let (list, born) = element.as_ref().as_element()?;
    let mut field = start_of(list);
    field.extend_from_slice(&moved_key(born));
    Some(field)
}

/// The key by which an element shows, by the live siblings of the cell that says where it was moved to.
pub(in crate::document) fn shown_key<'a>(born: &[u8], moves: impl Iterator<Item = SiblingRef<'a>>) -> FieldBytes {
    let to = latest(moves).filter(|_| !is(Bug::MoveUnheeded)).map_or(born, |(to, _)| to);
    let mut key = FieldBytes::from_slice(to);
    if to != born {
        key.push(0);
        key.extend_from_slice(born);
    }
    key
}

/// The position that an element was moved to last, with the sibling that says so.
pub(super) fn latest<'a>(moves: impl Iterator<Item = SiblingRef<'a>>) -> Option<(&'a [u8], SiblingRef<'a>)> {
    let moves = moves.filter_map(|sibling| Some((moved_to(sibling.payload?)?, sibling)));
    moves.max_by_key(|(_, sibling)| sibling.precedence())
}

/// The position that a payload spells.
pub(crate) fn moved_to(payload: PayloadRef<'_>) -> Option<&[u8]> {
    let is_one = payload.kind() == payload::MOVED_TO && is_position(payload.bytes());
    is_one.then(|| payload.bytes())
}

impl Lists {
    /// The list whose cells begin so.
    pub(crate) fn get(&self, entity: Entity, start: &[u8]) -> Option<&Order> {
        self.0.as_ref()?.orders.get(&(entity, Prefix::from(start)))
    }

    /// The place of a path in an entity with these cells, in which numbers stand for the elements of the lists that show on the way. O(log n) if the
    /// entity has lists, and for each segment.
    pub(crate) fn place<'c>(
        &self,
        cells: impl Fn() -> Option<Cells<'c>>,
        entity: Entity,
        path: impl AsPath,
    ) -> Result<Place, PathError> {
        let has_lists = |lists: &&Orders| {
            let from = (entity, Prefix::from(&[PROPERTY][..]));
            lists.orders.range(from..).next().is_some_and(|((e, _), _)| *e == entity)
        };
        let lists = self.0.as_deref().filter(has_lists);
        let (mut place, mut missing) = (Place::root(), None);
        path.segments_to(&mut |segment| {
            if missing.is_some() {
                return;
            }
            let list = lists.and_then(|_| self.get(entity, &start_of(place.as_ref())));
            let shows = || cells().and_then(|cells| seek::kind(cells, place.as_ref())) == Some(Kind::List);
            let element = match (segment, list) {
                (Segment::Name(_), None) => Ok(segment),
                (Segment::Name(_), Some(_)) if !shows() => Ok(segment),
                (Segment::Name(name), Some(list)) => {
                    let found = index(name).and_then(|index| list.at(index));
                    found.map(|element| Segment::Element(ElementId::of(element.born))).ok_or(list.len())
                }
                (Segment::Element(id), list) => {
                    let is_there = list.is_some_and(|list| list.index_of(id.position()).is_some());
                    if is_there { Ok(segment) } else { Err(list.map_or(0, Order::len)) }
                }
            };
            match element {
                Ok(segment) => place.push(segment),
                Err(len) => {
                    let list = place.as_ref().text().unwrap_or_default();
                    missing = Some(PathError::NoElement { list, segment: segment.to_string(), len });
                }
            }
        })?;
        missing.map_or(Ok(place), Err)
    }

    /// Follows cells. O(depth · log n) each.
    pub(crate) fn follow(&mut self, state: &State, touched: &[Touched]) {
        // Each element is looked at once, however many cells of it were touched: to find that one is gone may take a look at many that nobody could
        // have written.
        let mut seen: HashSet<(Entity, u128)> = HashSet::new();
        for touched in touched {
            let field = touched.field.as_bytes();
            let (is_live, was_live) = (touched.is_now_live(), touched.was_live());
            if !holds_lists(field) || !(is_live || was_live) {
                continue;
            }
            let Some(property) = Property::of(field) else { continue };
            let mut cells = None;
            let comes_or_goes = is_live != was_live && (is_live || !is(Bug::ElementKept));
            let on_the_way = property.place.elements().filter(|_| comes_or_goes);
            for (list, born) in on_the_way.chain(moved(property).map(|born| (property.place, born))) {
                let start = list.as_bytes().len() + 2;
                let element = xxh3_128(&field[..start]) ^ xxh3_128(born).rotate_left(1);
                if seen.insert((touched.entity, element)) {
                    let cells = *cells.get_or_insert_with(|| state.cells(touched.entity));
                    let is_there = is_live && property.is_content();
                    self.refresh(cells, touched.entity, start, &touched.field, born, is_there);
                }
            }
        }
    }

    /// Looks at an element anew: whether it is there, if that is not known, and where it stands.
    fn refresh(
        &mut self,
        cells: Option<Cells<'_>>,
        entity: Entity,
        start: usize,
        field: &Field,
        born: &[u8],
        is_there: bool,
    ) {
        let found = cells.map(|cells| found(cells, &field.as_bytes()[..start], born, is_there)).unwrap_or_default();
        if self.0.is_none() && found == Found::Nothing {
            return;
        }
        let Orders { orders, leftovers } = &mut **self.0.get_or_insert_default();
        let list = (entity, Prefix::of_len(field, start));
        let key = match &found {
            Found::Element(key) => Some(&key[..]),
            _ => None,
        };
        match orders.get_mut(&list) {
            Some(order) => {
                order.set(born, key);
                if order.len() == 0 {
                    orders.remove(&list);
                }
            }
            None if key.is_some() => {
                let mut order = Order::default();
                order.set(born, key);
                orders.insert(list, order);
            }
            None => {}
        }
        if found == Found::Leftover || !leftovers.is_empty() {
            let cell = [&field.as_bytes()[..start], &moved_key(born)].concat();
            let leftover = (entity, Field::new(&cell));
            match found {
                Found::Leftover => drop(leftovers.insert(leftover)),
                _ => drop(leftovers.remove(&leftover)),
            }
        }
    }

    /// The cells at and below a place of an entity that say where elements were moved to which are not there.
    pub(crate) fn leftovers_within<'a>(
        &'a self,
        entity: Entity,
        place: &[u8],
    ) -> impl Iterator<Item = &'a Field> + use<'a> {
        let place = place.to_vec();
        let from = (entity, Field::new(&place[..]));
        let all = self.0.iter().flat_map(move |lists| lists.leftovers.range(from.clone()..));
        all.take_while(move |(of, field)| *of == entity && field.as_bytes().starts_with(&place)).map(|(_, field)| field)
    }

    /// Returns whether there is no such cell.
    pub(in crate::document) fn has_no_leftovers(&self) -> bool {
        self.0.as_ref().is_none_or(|lists| lists.leftovers.is_empty())
    }

    /// The cells of all entities that say where elements were moved to which are not there.
    pub(crate) fn leftovers(&self) -> impl Iterator<Item = (Entity, &Field)> {
        self.0.iter().flat_map(|lists| lists.leftovers.iter()).map(|(entity, field)| (*entity, field))
    }

    #[cfg(feature = "testing")]
    pub(crate) fn check(&self, state: &State) -> Result<(), String> {
        let mut fresh = Self::default();
        for (entity, cells) in state.entities() {
            for (field, _) in cells.iter().filter(|(_, sibling)| sibling.is_live()) {
                let Some(property) = Property::of(field.as_bytes()) else { continue };
                for (list, born) in property.place.elements() {
                    fresh.refresh(Some(cells), entity, list.as_bytes().len() + 2, &field, born, false);
                }
                if let Some(born) = moved(property) {
                    fresh.refresh(Some(cells), entity, property.place.as_bytes().len() + 2, &field, born, false);
                }
            }
        }
        let [ours, fresh] = [self, &fresh].map(|lists| lists.0.as_deref().cloned().unwrap_or_default());
        if ours == fresh { Ok(()) } else { Err(format!("{ours:?} does not follow from the cells, but {fresh:?}")) }
    }
}

/// The state of an element.
#[derive(Default, PartialEq)]
enum Found {
    /// It is there, and shows by this key.
    Element(FieldBytes),
    /// It is not there, and somebody has moved it.
    Leftover,
    #[default]
    Nothing,
}

fn found(cells: Cells<'_>, start: &[u8], born: &[u8], is_there: bool) -> Found {
    let moves = || cells.live(&[start, &moved_key(born)].concat());
    let shows_leftover = || is(Bug::LeftoverShows) && moves().next().is_some();
    if is_there || seek::holds_something(cells, start, born) || shows_leftover() {
        return Found::Element(shown_key(born, moves()));
    }
    if moves().next().is_some() { Found::Leftover } else { Found::Nothing }
}

/// The element that a cell says the place of.
fn moved(property: Property<'_>) -> Option<&[u8]> {
    let key = property.key.strip_prefix(&[MOVED])?;
    (property.kind == Kind::List).then_some(key)
}

/// Returns whether the field of a property may be of a list. May say so where it is of none.
fn holds_lists(field: &[u8]) -> bool {
    field.first() == Some(&PROPERTY) && field.windows(2).any(|pair| pair == [0, Kind::List.code()])
}

/// The bytes that the fields of all of a list at a place begin with.
pub(super) fn start_of(place: PlaceRef<'_>) -> FieldBytes {
    place.start_of(Kind::List.code())
}

/// The index that a segment spells, as in a JSON Pointer: without zeros before it.
fn index(name: &str) -> Option<usize> {
    let is_index = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    name.parse().ok().filter(|_| is_index)
}

/// The number of lists.
impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lists", self.0.as_ref().map_or(0, |lists| lists.orders.len()))
    }
}
