//! The cells of one entity.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::mem;
use std::ops::{Bound, Range};
use std::sync::Arc;

use im::ordmap;
use im::{OrdMap, OrdSet};

use crate::bugs::{Bug, is};
use crate::id::{Dot, WriterId};
use crate::kernel::cell::{Cell, Change, Covered};
use crate::kernel::key::{Field, Sibling};
use crate::version::Version;

/// An entity with more cells than this keeps them in a persistent map instead of one sorted vector: past here copying
/// the vector costs more than a path of the map.
const MANY: usize = 48;

/// Back to a vector below this; the gap keeps an entity at the edge from flapping.
const FEW: usize = 24;

/// The cells of one entity, sorted by field. Persistent: cloning is O(1). Finding one is O(cells) for a small entity,
/// O(log cells) for a large one.
#[derive(Clone, Debug)]
pub struct Cells(pub(super) Repr);

#[derive(Clone, Debug)]
pub(super) enum Repr {
    /// Sorted by field, then dot. One allocation, one step from the map that holds the entity: to change one cell of one
    /// entity among a million is to wait for memory.
    Few(Arc<[Write]>),
    Many(Arc<Many>),
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Write {
    field: Field,
    sibling: Sibling,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Many {
    /// No cell is empty.
    pub(super) cells: OrdMap<Field, Cell>,
    fields: OrdMap<Dot, Field>,
    /// The fields that hold something live: what is alive is found past any number of tombstones.
    live: OrdSet<Field>,
}

impl Borrow<[u8]> for Field {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Cells {
    /// The concurrent siblings of a cell, tombstones among them, in the order of their dots.
    pub fn siblings(&self, field: &[u8]) -> Siblings<'_> {
        match &self.0 {
            Repr::Few(writes) => Siblings(SiblingsRepr::Few(writes[run(writes, |f| f.as_bytes() == field)].iter())),
            Repr::Many(many) => many.cells.get(field).map(Cell::iter).unwrap_or_default(),
        }
    }

    /// The siblings of a cell that are not tombstones, in the order of their dots.
    pub fn live(&self, field: &[u8]) -> impl Iterator<Item = &Sibling> + '_ {
        let all = match &self.0 {
            Repr::Many(many) if !many.live.contains(field) => Siblings::default(),
            _ => self.siblings(field),
        };
        all.filter(|sibling| sibling.is_live())
    }

    /// The live sibling that shows where only one can: the one of greatest [precedence](Sibling::precedence).
    /// O(log siblings) where there are many.
    pub fn winner(&self, field: &[u8]) -> Option<&Sibling> {
        match &self.0 {
            Repr::Few(_) => self.live(field).max_by_key(|sibling| sibling.precedence()),
            Repr::Many(many) => many.cells.get(field).and_then(Cell::latest),
        }
    }

    /// A copy of a cell. O(1) for a large one.
    pub(crate) fn cell(&self, field: &[u8]) -> Cell {
        match &self.0 {
            Repr::Few(_) => self.siblings(field).cloned().collect(),
            Repr::Many(many) => many.cells.get(field).cloned().unwrap_or_default(),
        }
    }

    /// The sibling of this dot in a cell. O(log siblings).
    pub(crate) fn get(&self, field: &[u8], dot: Dot) -> Option<&Sibling> {
        match &self.0 {
            Repr::Few(_) => self.siblings(field).find(|sibling| sibling.dot == dot),
            Repr::Many(many) => many.cells.get(field)?.get(dot),
        }
    }

    /// The siblings of a cell that a version covers. O(siblings) for few, else O(siblings or the version's writers, whichever
    /// are fewer, · log siblings).
    pub(crate) fn covered(&self, field: &[u8], version: &Version) -> Covered<'_> {
        match &self.0 {
            Repr::Few(_) => self.siblings(field).filter(|sibling| version.covers(sibling.dot)).collect(),
            Repr::Many(many) => many.cells.get(field).map(|cell| cell.covered(version)).unwrap_or_default(),
        }
    }

    /// The dots of all cells that a version covers, with their fields, if they are found by the version's writers faster than
    /// by going over all cells.
    pub(crate) fn covered_by_writer(
        &self,
        version: &Version,
    ) -> Option<impl Iterator<Item = (Dot, &Field)> + '_> {
        match &self.0 {
            Repr::Many(many) => {
                let writers = version.few_writers(many.fields.len() / 8)?;
                let dots = writers.into_iter().map(|(writer, after, upto)| dots_between(writer, after, upto));
                Some(dots.flat_map(|dots| many.fields.range(dots)).map(|(dot, field)| (*dot, field)))
            }
            _ => None,
        }
    }

    /// Whether the entity's root is live.
    pub fn is_live(&self) -> bool {
        match &self.0 {
            // The root sorts first, so this looks at no name.
            Repr::Few(writes) => writes.iter().take_while(|w| w.field.is_root()).any(|w| w.sibling.is_live()),
            Repr::Many(many) => many.live.get_min().is_some_and(Field::is_root),
        }
    }

    /// Whether any cell but the root is live. O(cells) for a small entity, O(1) for a large one.
    pub fn has_live_fields(&self) -> bool {
        match &self.0 {
            Repr::Few(writes) => writes.iter().any(|w| w.sibling.is_live() && !w.field.is_root()),
            Repr::Many(many) => many.live.get_max().is_some_and(|last| !last.is_root()),
        }
    }

    /// All siblings with their fields, by field and dot.
    pub fn iter(&self) -> impl Iterator<Item = (&Field, &Sibling)> + '_ {
        self.from(&[], true)
    }

    /// The siblings whose fields begin with these bytes, by field and dot.
    pub fn with_prefix<'a, P: AsRef<[u8]>>(
        &'a self,
        prefix: P,
    ) -> impl Iterator<Item = (&'a Field, &'a Sibling)> + use<'a, P> {
        self.from(prefix.as_ref(), true).take_while(move |(field, _)| field.as_bytes().starts_with(prefix.as_ref()))
    }

    /// The siblings of the cells after (or, if `including`, from) `start` up to but not including `end`.
    pub(crate) fn between<'a>(
        &'a self,
        start: &'a [u8],
        including: bool,
        end: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (&'a Field, &'a Sibling)> + 'a {
        self.from(start, including).take_while(move |(field, _)| end.is_none_or(|end| field.as_bytes() < end))
    }

    fn from<'a>(&'a self, start: &[u8], including: bool) -> impl Iterator<Item = (&'a Field, &'a Sibling)> + use<'a> {
        let (few, many) = match &self.0 {
            Repr::Few(writes) => {
                let before = |w: &Write| w.field.as_bytes() < start || (!including && w.field.as_bytes() == start);
                (&writes[writes.partition_point(before)..], None)
            }
            Repr::Many(many) => {
                let start = if including { Bound::Included(start) } else { Bound::Excluded(start) };
                (&[][..], Some(many.cells.range::<_, [u8]>((start, Bound::Unbounded))))
            }
        };
        let few = few.iter().map(|w| (&w.field, &w.sibling));
        few.chain(many.into_iter().flatten().flat_map(|(field, cell)| cell.iter().map(move |s| (field, s))))
    }

    /// The first field from `start` on that holds something live. O(cells) for a small entity, O(log cells) for a large one.
    pub(crate) fn next_live(&self, start: &[u8]) -> Option<&Field> {
        match &self.0 {
            Repr::Few(_) => self.from(start, true).find(|(_, sibling)| sibling.is_live()).map(|(field, _)| field),
            Repr::Many(many) => many.live.range::<_, [u8]>((Bound::Included(start), Bound::Unbounded)).next(),
        }
    }

    /// All siblings with their fields, if they are few: to look at each is faster than to seek.
    pub(crate) fn few(&self) -> Option<impl Iterator<Item = (&Field, &Sibling)> + '_> {
        match &self.0 {
            Repr::Few(writes) => Some(writes.iter().map(|write| (&write.field, &write.sibling))),
            Repr::Many(_) => None,
        }
    }

    /// The number of siblings, tombstones included.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Few(writes) => writes.len(),
            Repr::Many(many) => many.fields.len(),
        }
    }

    /// Whether there is nothing at all. The state keeps no such entity.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The field of the cell that holds this dot. O(cells) for a small entity, O(log cells) for a large one.
    pub(crate) fn field_of(&self, dot: Dot) -> Option<&Field> {
        match &self.0 {
            Repr::Few(writes) => writes.iter().find(|w| w.sibling.dot == dot).map(|w| &w.field),
            Repr::Many(many) => many.fields.get(&dot),
        }
    }

    /// Calls `send` with every sibling of the cells with a dot that `since` does not cover, in order, and returns how many
    /// cells these are. `news` are the writers of whom more is known than that. O(cells) for a small entity, O(changes ·
    /// log cells + siblings sent) for a large one.
    pub(crate) fn changed_since(
        &self,
        since: &Version,
        news: &[(WriterId, u64, u64)],
        mut send: impl FnMut(&Field, &Sibling),
    ) -> usize {
        match &self.0 {
            Repr::Few(writes) => {
                let cells = writes.chunk_by(|a, b| a.field == b.field);
                let changed = cells.filter(|cell| cell.iter().any(|w| !since.covers(w.sibling.dot)));
                changed.map(|cell| cell.iter().for_each(|w| send(&w.field, &w.sibling))).count()
            }
            Repr::Many(many) => {
                let dot = |replica, counter| Dot { writer: replica, counter };
                let news = news.iter().flat_map(|(replica, seen, upto)| {
                    many.fields.range(dot(*replica, seen + 1)..=dot(*replica, *upto))
                });
                let fields: BTreeSet<_> = news.map(|(_, field)| field).collect();
                for field in &fields {
                    let siblings = many.cells.get(*field).map(Cell::iter).unwrap_or_default();
                    siblings.for_each(|sibling| send(field, sibling));
                }
                fields.len()
            }
        }
    }

    /// Puts exactly `next` into a cell, and takes out what was there. O(cells) for a small entity, O(changed siblings ·
    /// log cells) for a large one if `next` was made from [`cell`](Self::cell).
    pub(crate) fn replace(&mut self, field: &Field, next: Cell) -> Cell {
        let was = match &mut self.0 {
            Repr::Few(writes) => replace_few(writes, field, next),
            Repr::Many(many) => Arc::make_mut(many).replace(field, next),
        };
        match &self.0 {
            Repr::Few(writes) if writes.len() > MANY => self.convert_to_many(),
            Repr::Many(many) if many.fields.len() < FEW => self.convert_to_few(),
            _ => {}
        }
        was
    }

    fn convert_to_many(&mut self) {
        let mut many = Many::default();
        let lost = usize::from(is(Bug::ManyLosesCell));
        for (field, sibling) in self.iter().take(self.len() - lost) {
            let (field, sibling) = (field.clone(), sibling.clone());
            if sibling.is_live() {
                many.live.insert(field.clone());
            }
            many.fields.insert(sibling.dot, field.clone());
            match many.cells.get_mut(&field) {
                Some(cell) => cell.insert(sibling),
                None => drop(many.cells.insert(field, Cell::single(sibling))),
            }
        }
        self.0 = Repr::Many(Arc::new(many));
    }

    fn convert_to_few(&mut self) {
        let writes = self.iter().map(|(f, s)| Write { field: f.clone(), sibling: s.clone() }).collect();
        self.0 = Repr::Few(writes);
    }
}

impl Default for Cells {
    fn default() -> Self {
        Self(Repr::Few(Arc::new([])))
    }
}

/// The siblings of one field, found by equality: cheaper than order for so few.
fn run(writes: &[Write], is_it: impl Fn(&Field) -> bool) -> Range<usize> {
    let start = writes.iter().position(|w| is_it(&w.field)).unwrap_or(writes.len());
    let len = writes[start..].iter().take_while(|w| is_it(&w.field)).count();
    start..start + len
}

fn replace_few(writes: &mut Arc<[Write]>, field: &Field, next: Cell) -> Cell {
    let mut range = run(writes, |f| f == field);
    if !range.is_empty() && range.len() == next.len() {
        // An overwrite, the usual case: in place, unless a snapshot shares it.
        let here = &mut Arc::make_mut(writes)[range];
        let next = next.iter().cloned();
        return here.iter_mut().zip(next).map(|(write, sibling)| mem::replace(&mut write.sibling, sibling)).collect();
    }
    if range.is_empty() {
        let place = writes.partition_point(|w| w.field < *field);
        range = place..place;
    }
    let was = writes[range.clone()].iter().map(|w| w.sibling.clone()).collect();
    let next = next.iter().map(|sibling| Write { field: field.clone(), sibling: sibling.clone() });
    *writes = writes[..range.start].iter().cloned().chain(next).chain(writes[range.end..].iter().cloned()).collect();
    was
}

impl Many {
    fn replace(&mut self, field: &Field, next: Cell) -> Cell {
        match next.is_live() {
            true => drop(self.live.insert(field.clone())),
            false => drop(self.live.remove(field)),
        }
        let was = match next.is_empty() {
            true => self.cells.remove(field),
            false => self.cells.insert(field.clone(), next.clone()),
        };
        let was = was.unwrap_or_default();
        Cell::changes(&was, &next, |change| match change {
            Change::Gone(sibling) => drop(self.fields.remove(&sibling.dot)),
            Change::Come(sibling) => drop(self.fields.insert(sibling.dot, field.clone())),
        });
        was
    }
}

/// The dots of a writer past one counter, up to another.
pub(super) fn dots_between(writer: WriterId, after: u64, upto: u64) -> std::ops::RangeInclusive<Dot> {
    Dot { writer, counter: after + 1 }..=Dot { writer, counter: upto }
}

/// The siblings of one cell.
#[derive(Clone, Debug)]
pub struct Siblings<'a>(SiblingsRepr<'a>);

#[derive(Clone)]
enum SiblingsRepr<'a> {
    Few(std::slice::Iter<'a, Write>),
    Many(std::slice::Iter<'a, Sibling>),
    Crowd(ordmap::Iter<'a, Dot, Sibling, im::shared_ptr::DefaultSharedPtr>),
}

impl<'a> Siblings<'a> {
    pub(super) fn slice(siblings: &'a [Sibling]) -> Self {
        Self(SiblingsRepr::Many(siblings.iter()))
    }

    pub(super) fn crowd(siblings: ordmap::Iter<'a, Dot, Sibling, im::shared_ptr::DefaultSharedPtr>) -> Self {
        Self(SiblingsRepr::Crowd(siblings))
    }
}

impl<'a> Iterator for Siblings<'a> {
    type Item = &'a Sibling;

    fn next(&mut self) -> Option<&'a Sibling> {
        match &mut self.0 {
            SiblingsRepr::Few(writes) => writes.next().map(|w| &w.sibling),
            SiblingsRepr::Many(cell) => cell.next(),
            SiblingsRepr::Crowd(cell) => cell.next().map(|(_, sibling)| sibling),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = match &self.0 {
            SiblingsRepr::Few(writes) => writes.len(),
            SiblingsRepr::Many(cell) => cell.len(),
            SiblingsRepr::Crowd(cell) => cell.len(),
        };
        (len, Some(len))
    }
}

impl ExactSizeIterator for Siblings<'_> {}

impl Default for Siblings<'_> {
    fn default() -> Self {
        Self(SiblingsRepr::Many([].iter()))
    }
}

impl std::fmt::Debug for SiblingsRepr<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(Siblings(self.clone())).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Stamp;
    use crate::id::WriterId;
    use crate::kernel::key::Payload;

    fn sibling(counter: u64, live: bool) -> Sibling {
        let dot = Dot { writer: WriterId::from([1; 10]), counter };
        Sibling { dot, stamp: Stamp::default(), payload: live.then(|| Payload::new(1, &counter.to_be_bytes())) }
    }

    fn of(counters: std::ops::RangeInclusive<u64>) -> Cells {
        let mut cells = Cells::default();
        counters.for_each(|n| drop(cells.replace(&Field::new(&[n as u8]), Cell::single(sibling(n, true)))));
        cells
    }

    #[test]
    fn the_layout_changes_at_many_and_back_at_few() {
        let mut cells = of(1..=MANY as u64);
        assert!(cells.few().is_some());
        // One cell more.
        cells.replace(&Field::new(b"more"), Cell::single(sibling(99, true)));
        assert!(cells.few().is_none());
        for n in FEW as u64 + 1..=MANY as u64 {
            cells.replace(&Field::new(&[n as u8]), Cell::new());
            assert_eq!((cells.len(), cells.few().is_none()), (FEW + 1 + MANY - n as usize, true));
        }
        cells.replace(&Field::new(b"more"), Cell::new());
        assert!((cells.len(), cells.few().is_none()) == (FEW, true));
        cells.replace(&Field::new(&[1]), Cell::new());
        assert!((cells.len(), cells.few().is_some()) == (FEW - 1, true));
        // And again, from there.
        (0..MANY as u8).for_each(|n| {
            drop(cells.replace(&Field::new(&[b'n', n]), Cell::single(sibling(100 + u64::from(n), true))))
        });
        assert!(cells.few().is_none());
    }

    #[test]
    fn what_has_changed_since_is_sent_and_nothing_that_has_not() {
        let writer = WriterId::from([1; 10]);
        for last in [20, 200] {
            let cells = of(1..=last);
            for seen in 0..=last {
                let since: Version = [(writer, seen)].into_iter().filter(|(_, seen)| *seen > 0).collect();
                let news: Vec<_> = [(writer, seen, last)].into_iter().filter(|_| seen < last).collect();
                let mut sent = Vec::new();
                let count = cells.changed_since(&since, &news, |_, sibling| sent.push(sibling.dot.counter));
                assert_eq!((count as u64, sent), (last - seen, (seen + 1..=last).collect()));
            }
        }
    }

    #[test]
    fn siblings_know_how_many_they_are_and_which() {
        for others in [0, 100] {
            let mut cells = of(1..=others);
            let three = [201, 203, 205].map(|n| sibling(n, true));
            cells.replace(&Field::new(b"name"), three.iter().cloned().collect());
            let mut siblings = cells.siblings(b"name");
            assert_eq!(cells.few().is_some(), others == 0);
            assert_eq!((siblings.len(), siblings.size_hint()), (3, (3, Some(3))));
            let has = [201, 202, 203, 205].map(|n| cells.get(b"name", sibling(n, true).dot).is_some());
            assert_eq!(has, [true, false, true, true]);
            assert_eq!(siblings.next(), Some(&three[0]));
            assert_eq!(siblings.len(), 2);
        }
    }

    proptest! {
        /// Small and large, growing and shrinking, through both conversions: one suite for both layouts.
        #[test]
        fn both_layouts_agree_with_a_plain_map(
            steps in prop::collection::vec((0u8..90, prop::collection::vec(any::<bool>(), 0..3)), 0..300),
            shrink in any::<bool>(),
        ) {
            let (mut cells, mut model) = (Cells::default(), BTreeMap::<Vec<u8>, Vec<Sibling>>::new());
            let mut counter = 0;
            let clear = (0..90u8).filter(|_| shrink).map(|f| (f, vec![]));
            for (field, next) in steps.into_iter().chain(clear) {
                let name = if field == 0 { vec![] } else { vec![b'f', field] };
                let next: Vec<_> = next.into_iter().map(|live| { counter += 1; sibling(counter, live) }).collect();
                let was = cells.replace(&Field::new(&name), next.iter().cloned().collect());
                let expected = if next.is_empty() { model.remove(&name) } else { model.insert(name, next) };
                prop_assert_eq!(was.as_slice().to_vec(), expected.unwrap_or_default());
            }
            let flat: Vec<_> = model.iter().flat_map(|(f, c)| c.iter().map(move |s| (f.clone(), s.clone()))).collect();
            prop_assert_eq!(cells.iter().map(|(f, s)| (f.as_bytes().to_vec(), s.clone())).collect::<Vec<_>>(), flat.clone());
            prop_assert_eq!(cells.len(), flat.len());
            for (name, cell) in &model {
                prop_assert_eq!(&cells.siblings(name).cloned().collect::<Vec<_>>(), cell);
                for s in cell {
                    prop_assert_eq!(cells.field_of(s.dot).unwrap().as_bytes(), &name[..]);
                }
            }
            prop_assert!(cells.siblings(b"absent").next().is_none());
            let live_fields = flat.iter().any(|(f, s)| !f.is_empty() && s.is_live());
            prop_assert_eq!(cells.has_live_fields(), live_fields);
            prop_assert_eq!(cells.is_live(), flat.iter().any(|(f, s)| f.is_empty() && s.is_live()));
            for start in [vec![], vec![b'f'], vec![b'f', 40], vec![b'g']] {
                let first = flat.iter().find(|(f, s)| *f >= start && s.is_live()).map(|(f, _)| f.clone());
                prop_assert_eq!(cells.next_live(&start).map(|f| f.as_bytes().to_vec()), first);
            }
            prop_assert_eq!(cells.with_prefix(b"f").count(), flat.iter().filter(|(f, _)| !f.is_empty()).count());
        }
    }
}
