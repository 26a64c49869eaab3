//! The texts of all entities: derived, and kept up with every change.

use std::collections::HashSet;
use std::fmt;

use im::OrdMap;

use crate::bugs::{Bug, is};
use crate::document::mixed::Prefix;
use crate::document::place::{FieldBytes, PROPERTY, PlaceRef, Property};
use crate::document::text::import::{Doubled, is_doubled, is_of_import, tags_of};
use crate::document::text::rope::{Rope, Shown};
use crate::document::value::kind;
use crate::kernel::{Entity, Payload, PayloadRef, SiblingRef, Touched};
use crate::kind::Kind;

/// The texts that show, by entity and path. Persistent, like the state that it follows; a word until there is a text.
#[derive(Clone, Default)]
pub(crate) struct Texts(Option<Box<Shows>>);

#[derive(Clone, Default)]
struct Shows {
    ropes: OrdMap<(Entity, Prefix), Rope>,
    doubled: Doubled,
}

impl Texts {
    /// The text whose cells begin so.
    pub(in crate::document) fn get(&self, entity: Entity, start: &[u8]) -> Option<&Rope> {
        self.0.as_ref()?.ropes.get(&(entity, Prefix::from(start)))
    }

    /// Follows cells of one entity. O(log n) each.
    pub(crate) fn follow(&mut self, touched: &[Touched]) {
        for touched in touched {
            let field = touched.field.as_bytes();
            let Some(len) = start_len(field).filter(|_| touched.was_live() || touched.is_now_live()) else { continue };
            let now = touched.cell_now().live().map(|sibling| sibling.as_ref());
            let latest = || touched.cell_now().iter().max_by_key(|sibling| sibling.precedence());
            let is_hidden = is(Bug::DeletionHides) && latest().is_some_and(|sibling| !sibling.is_live());
            let shown = shown(now).filter(|_| !is_hidden);
            if shown.is_none() && (self.0.is_none() || is(Bug::LetterKept)) {
                continue;
            }
            let Shows { ropes: texts, doubled } = &mut **self.0.get_or_insert_default();
            let key = (touched.entity, Prefix::of_len(&touched.field, len));
            match texts.get_mut(&key) {
                Some(text) => {
                    text.set(&touched.field, shown);
                    if is_of_import(&touched.field, len) {
                        match is_doubled(text, &field[..len]) {
                            true => drop(doubled.insert(key.clone())),
                            false if doubled.is_empty() => {}
                            false => drop(doubled.remove(&key)),
                        }
                    }
                    if text.is_empty() {
                        texts.remove(&key);
                    }
                }
                None if shown.is_none() => {}
                None => {
                    let mut text = Rope::default();
                    text.set(&touched.field, shown);
                    texts.insert(key, text);
                }
            }
        }
    }

    /// The texts in which several imports may be.
    pub(crate) fn doubled(&self) -> impl Iterator<Item = (Entity, PlaceRef<'_>)> {
        let all = self.0.iter().flat_map(|texts| texts.doubled.iter());
        all.map(|(entity, start)| (*entity, PlaceRef::of_field(start.as_bytes())))
    }

    /// The tags of the imports of which something shows in a text.
    pub(crate) fn import_tags(&self, entity: Entity, place: PlaceRef<'_>) -> Vec<u32> {
        let start = start_of(place);
        self.get(entity, &start).map(|rope| tags_of(rope, &start).collect()).unwrap_or_default()
    }

    /// The texts at and below a place of an entity in which several imports may be.
    pub(crate) fn doubled_within<'a>(
        &'a self,
        entity: Entity,
        place: &[u8],
    ) -> impl Iterator<Item = PlaceRef<'a>> + use<'a> {
        let place = place.to_vec();
        let from = (entity, Prefix::from(&place[..]));
        let all = self.0.iter().flat_map(move |texts| texts.doubled.range(from.clone()..));
        all.take_while(move |(of, start)| *of == entity && start.as_bytes().starts_with(&place))
            .map(|(_, start)| PlaceRef::of_field(start.as_bytes()))
    }

    #[cfg(feature = "testing")]
    pub(crate) fn check(&self, state: &crate::kernel::State) -> Result<(), String> {
        let mut expected: std::collections::BTreeMap<_, Vec<(crate::kernel::Field, Shown)>> =
            std::collections::BTreeMap::new();
        for (entity, cells) in state.entities() {
            let mut fields: Vec<crate::kernel::FieldRef<'_>> = cells.iter().map(|(field, _)| field).collect();
            fields.dedup();
            for field in fields {
                let Some(len) = start_len(field.as_bytes()) else { continue };
                if let Some(shown) = shown(cells.live(field.as_bytes())) {
                    let key = (entity, field.as_bytes()[..len].to_vec());
                    expected.entry(key).or_default().push((field.to_field(), shown));
                }
            }
        }
        if self.0.as_ref().map_or(0, |texts| texts.ropes.len()) != expected.len() {
            return Err(format!("there are {} texts, and {self:?}", expected.len()));
        }
        let mut doubled = Doubled::default();
        for ((entity, start), shown) in &expected {
            let rope = self.get(*entity, start).ok_or("a text is missing")?;
            rope.check(shown)?;
            if is_doubled(rope, start) {
                doubled.insert((*entity, Prefix::from(&start[..])));
            }
        }
        match self.0.as_ref().is_none_or(|texts| texts.doubled == doubled) {
            true => Ok(()),
            false => Err("texts of several imports do not follow from the cells".into()),
        }
    }
}

/// The number of texts.
impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} texts", self.0.as_ref().map_or(0, |texts| texts.ropes.len()))
    }
}

/// The length of the beginning that the field of a character shares with all others of its text.
fn start_len(field: &[u8]) -> Option<usize> {
    let code = Kind::Text.code();
    if field.first() != Some(&PROPERTY) || !field.windows(2).any(|pair| pair == [0, code]) {
        return None;
    }
    let property = Property::of(field).filter(|property| property.kind == Kind::Text)?;
    is_position(property.key).then(|| field.len() - property.key.len())
}

/// Returns whether two cells are of characters of one text.
pub(crate) fn are_of_one_text(a: &Touched, b: &Touched) -> bool {
    let [a, b] = [a, b].map(|touched| touched.field.as_bytes());
    start_len(a).is_some_and(|len| start_len(b) == Some(len) && a[..len] == b[..len])
}

/// The bytes that the fields of the characters of the text at a place begin with.
pub(in crate::document) fn start_of(place: PlaceRef<'_>) -> FieldBytes {
    place.start_of(Kind::Text.code())
}

/// Returns whether a key is of a character: below are those of what later versions put beside them.
pub(in crate::document) fn is_position(key: &[u8]) -> bool {
    key.first().is_some_and(|first| *first >= 0x20)
}

/// The letters that the live siblings of a cell show: each once, in the order of their dots.
pub(in crate::document) fn shown<'a>(live: impl Iterator<Item = SiblingRef<'a>>) -> Option<Shown> {
    let mut letters = live.filter_map(|sibling| letter(sibling.payload?)).peekable();
    let first = letters.next()?;
    if letters.peek().is_none() {
        return Shown::of([first].into_iter());
    }
    // A crowd is forged, and must not take time by its square.
    let mut known = HashSet::from([first]);
    let rest: Vec<char> = letters.filter(|letter| known.insert(*letter) || is(Bug::LetterTwice)).collect();
    Shown::of([first].into_iter().chain(rest))
}

/// The letter that a payload spells.
pub(crate) fn letter(payload: PayloadRef<'_>) -> Option<char> {
    let mut letters = match payload.kind() {
        kind::LETTER => str::from_utf8(payload.bytes()).ok()?.chars(),
        _ => return None,
    };
    letters.next().filter(|_| letters.next().is_none())
}

pub(crate) fn payload(letter: char) -> Payload {
    Payload::new(kind::LETTER, letter.encode_utf8(&mut [0; 4]).as_bytes())
}
