//! The writes that conflicts of kinds are about.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_128;

use crate::document::{PlaceRef, Property};
use crate::id::{Dot, WriterId};
use crate::kernel::{Cells, SiblingRef, visits};
use crate::kind::Kind;

/// A set of dots as one number, the sum of their hashes: what nested conflicts share is added up once.
#[derive(Clone, Copy, Default)]
pub(super) struct Dots(u128);

impl Dots {
    pub(super) fn add(&mut self, dot: Dot) {
        let mut bytes = [0; WriterId::LEN + 8];
        bytes[..WriterId::LEN].copy_from_slice(dot.writer.as_bytes());
        bytes[WriterId::LEN..].copy_from_slice(&dot.counter.to_be_bytes());
        self.0 = self.0.wrapping_add(xxh3_128(&bytes));
    }

    /// Adds dots of which none is here yet.
    pub(super) fn join(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl FromIterator<Dot> for Dots {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut all = Self::default();
        dots.into_iter().for_each(|dot| all.add(dot));
        all
    }
}

/// The live siblings that belong to one kind at a place.
#[derive(Clone, Copy)]
pub(super) struct Summary<'a> {
    pub(super) dots: Dots,
    pub(super) latest: SiblingRef<'a>,
}

pub(super) type Kinds<'a> = BTreeMap<Kind, Summary<'a>>;

/// The kinds at some places of an entity. `places` are sorted.
///
/// Fields sort as the tree is walked, so one pass is enough: each cell is added to the innermost place around it, and what
/// a place has got is added to the map or list of the place around it when the pass leaves it. O(cells at and below the places).
pub(super) fn summaries<'a>(cells: Cells<'a>, places: &[PlaceRef<'_>]) -> Vec<Kinds<'a>> {
    let mut found: Vec<Kinds<'a>> = vec![Kinds::new(); places.len()];
    let mut next = 0;
    while next < places.len() {
        // A place that no other is around, and all that it is around.
        let mut open = Vec::new();
        for (field, sibling) in cells.with_prefix(places[next].as_bytes()) {
            if !sibling.is_live() {
                continue;
            }
            visits::count(1);
            let Some(property) = Property::of(field.as_bytes()) else { continue };
            let is_around = |place: usize| property.place.as_bytes().starts_with(places[place].as_bytes());
            while open.last().is_some_and(|innermost| !is_around(*innermost)) {
                leave(&mut open, places, &mut found);
            }
            while next < places.len() && is_around(next) {
                open.push(next);
                next += 1;
            }
            let Some(innermost) = open.last() else { continue };
            let kind = property.kind_at(places[*innermost].as_bytes().len());
            add(&mut found[*innermost], kind, Summary { dots: [sibling.dot].into_iter().collect(), latest: sibling });
        }
        // Every place has cells, but none is passed over for ever if one had not.
        next += usize::from(open.is_empty());
        while !open.is_empty() {
            leave(&mut open, places, &mut found);
        }
    }
    found
}

fn leave(open: &mut Vec<usize>, places: &[PlaceRef<'_>], found: &mut [Kinds<'_>]) {
    let left = open.pop();
    if let (Some(left), Some(around)) = (left, open.last()) {
        let kind = places[left].kind_at(places[*around].as_bytes().len());
        for summary in found[left].clone().into_values() {
            add(&mut found[*around], kind, summary);
        }
    }
}

fn add<'a>(kinds: &mut Kinds<'a>, kind: Kind, summary: Summary<'a>) {
    let known = kinds.entry(kind).or_insert(Summary { dots: Dots::default(), ..summary });
    known.dots.join(summary.dots);
    if summary.latest.precedence() > known.latest.precedence() {
        known.latest = summary.latest;
    }
}
