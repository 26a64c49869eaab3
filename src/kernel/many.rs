//! The cells of a large entity.

use std::collections::BTreeSet;
use std::sync::Arc;

use im::{OrdMap, OrdSet};

use crate::bugs::{Bug, is};
use crate::id::{Dot, WriterId};
use crate::kernel::cell::{Cell, Change};
use crate::kernel::key::{Field, Sibling};
use crate::kernel::record::Write;
use crate::version::Version;

/// The cells of a large entity. Persistent: cloning is O(1).
#[derive(Clone, Debug, Default)]
pub(super) struct Many {
    /// No cell is empty.
    pub(super) cells: OrdMap<Field, Cell>,
    pub(super) fields: OrdMap<Dot, Field>,
    /// The fields that hold something live: what is alive is found past any number of tombstones.
    pub(super) live: OrdSet<Field>,
}

impl Many {
    /// Builds the maps from siblings of distinct dots, which are sorted by field and dot.
    pub(super) fn of(writes: &[Write]) -> Self {
        let mut many = Self::default();
        let lost = usize::from(is(Bug::ManyLosesCell));
        for Write { field, sibling } in &writes[..writes.len() - lost] {
            if sibling.is_live() {
                many.live.insert(field.clone());
            }
            many.fields.insert(sibling.dot, field.clone());
            match many.cells.get_mut(field) {
                Some(cell) => cell.insert(sibling.clone()),
                None => drop(many.cells.insert(field.clone(), Cell::single(sibling.clone()))),
            }
        }
        many
    }

    pub(super) fn to_writes(&self) -> Vec<Write> {
        self.siblings().map(|(field, sibling)| Write { field: field.clone(), sibling: sibling.clone() }).collect()
    }

    /// All siblings with their fields, by field and dot.
    pub(super) fn siblings(&self) -> impl Iterator<Item = (&Field, &Sibling)> {
        self.cells.iter().flat_map(|(field, cell)| cell.iter().map(move |sibling| (field, sibling)))
    }

    /// The number of siblings.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(super) fn replace(&mut self, field: &Field, next: Cell) -> Cell {
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

    /// The fields of the cells that a writer's dots past one counter, up to another, lie in, each once.
    pub(super) fn fields_since(&self, news: &[(WriterId, u64, u64)]) -> BTreeSet<&Field> {
        let of = |(writer, seen, upto): &(WriterId, u64, u64)| self.fields.range(dots_between(*writer, *seen, *upto));
        news.iter().flat_map(of).map(|(_, field)| field).collect()
    }

    /// The dots that a version covers, with their fields, if they are found by the version's writers faster than by going over
    /// all cells.
    pub(super) fn covered_by_writer<'a>(
        &'a self,
        version: &Version,
    ) -> Option<impl Iterator<Item = (Dot, &'a Field)> + use<'a>> {
        let writers = version.few_writers(self.fields.len() / 8)?;
        let dots = writers.into_iter().map(|(writer, after, upto)| dots_between(writer, after, upto));
        Some(dots.flat_map(|dots| self.fields.range(dots)).map(|(dot, field)| (*dot, field)))
    }
}

/// The dots of a writer past one counter, up to another.
pub(super) fn dots_between(writer: WriterId, after: u64, upto: u64) -> std::ops::RangeInclusive<Dot> {
    Dot { writer, counter: after + 1 }..=Dot { writer, counter: upto }
}

/// The cells of one entity that is open for change.
#[derive(Clone, Debug)]
pub(super) enum Open {
    /// A list, sorted by field and dot.
    Few(Vec<Write>),
    Many(Arc<Many>),
}

/// An entity with more siblings than this keeps them in persistent maps instead of a record: past here copying the record costs
/// more than a path of a map.
const MANY: usize = 48;

/// Back to a record below this; the gap keeps an entity at the edge from flapping.
const FEW: usize = 24;

impl Default for Open {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Open {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(writes) => writes.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// Puts exactly `next` into a cell, and takes out what was there. O(cells) for a small entity, O(changed siblings ·
    /// log cells) for a large one if `next` was made from the cell that is there.
    pub(super) fn replace(&mut self, field: &Field, next: Cell) -> Cell {
        let was = match self {
            Self::Few(writes) => replace_few(writes, field, next),
            Self::Many(many) => Arc::make_mut(many).replace(field, next),
        };
        match self {
            Self::Few(writes) if writes.len() > MANY => *self = Self::Many(Arc::new(Many::of(writes))),
            Self::Many(many) if many.len() < FEW => *self = Self::Few(many.to_writes()),
            _ => {}
        }
        was
    }
}

fn replace_few(writes: &mut Vec<Write>, field: &Field, next: Cell) -> Cell {
    // A search by equality is cheaper than one by order for so few.
    let start = writes.iter().position(|write| write.field == *field);
    let start = start.unwrap_or_else(|| writes.partition_point(|write| write.field < *field));
    let len = writes[start..].iter().take_while(|write| write.field == *field).count();
    let next = match next.into_single() {
        // Nearly always one sibling comes, or replaces another.
        Ok(sibling) if len == 0 => {
            writes.insert(start, Write { field: field.clone(), sibling });
            return Cell::new();
        }
        Ok(sibling) if len == 1 => return Cell::single(std::mem::replace(&mut writes[start].sibling, sibling)),
        Ok(sibling) => Cell::single(sibling),
        Err(next) => next,
    };
    let next = next.into_siblings().map(|sibling| Write { field: field.clone(), sibling });
    writes.splice(start..start + len, next).map(|write| write.sibling).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Stamp;
    use crate::kernel::cells::Cells;
    use crate::kernel::key::Payload;

    fn sibling(counter: u64, live: bool) -> Sibling {
        let dot = Dot { writer: WriterId::from([1; 10]), counter };
        Sibling { dot, stamp: Stamp::default(), payload: live.then(|| Payload::new(1, &counter.to_be_bytes())) }
    }

    fn of(counters: std::ops::RangeInclusive<u64>) -> Open {
        let mut cells = Open::Few(Vec::new());
        counters.for_each(|n| drop(cells.replace(&Field::new(&[n as u8]), Cell::single(sibling(n, true)))));
        cells
    }

    fn is_few(open: &Open) -> bool {
        matches!(open, Open::Few(_))
    }

    #[test]
    fn the_layout_changes_at_many_and_back_at_few() {
        let mut cells = of(1..=MANY as u64);
        assert!(is_few(&cells));
        // One cell more.
        cells.replace(&Field::new(b"more"), Cell::single(sibling(99, true)));
        assert!(!is_few(&cells));
        for n in FEW as u64 + 1..=MANY as u64 {
            cells.replace(&Field::new(&[n as u8]), Cell::new());
            assert_eq!((cells.len(), is_few(&cells)), (FEW + 1 + MANY - n as usize, false));
        }
        cells.replace(&Field::new(b"more"), Cell::new());
        assert_eq!((cells.len(), is_few(&cells)), (FEW, false));
        cells.replace(&Field::new(&[1]), Cell::new());
        assert_eq!((cells.len(), is_few(&cells)), (FEW - 1, true));
        // And again, from there.
        (0..MANY as u8).for_each(|n| {
            drop(cells.replace(&Field::new(&[b'n', n]), Cell::single(sibling(100 + u64::from(n), true))))
        });
        assert!(!is_few(&cells));
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
                let count = Cells::of_open(&cells).changed_since(
                    |dot| !since.covers(dot),
                    &news,
                    |_, sibling| sent.push(sibling.dot.counter),
                );
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
            let view = Cells::of_open(&cells);
            assert_eq!(is_few(&cells), others == 0);
            let mut siblings = view.siblings(b"name");
            assert_eq!(siblings.clone().count(), 3);
            let has = [201, 202, 203, 205].map(|n| view.get(b"name", sibling(n, true).dot).is_some());
            assert_eq!(has, [true, false, true, true]);
            assert_eq!(siblings.next(), Some(three[0].as_ref()));
            assert_eq!(siblings.count(), 2);
        }
    }

    proptest! {
        /// Small and large, growing and shrinking, through both conversions: one suite for both layouts.
        #[test]
        fn both_layouts_agree_with_a_plain_map(
            steps in prop::collection::vec((0u8..90, prop::collection::vec(any::<bool>(), 0..3)), 0..300),
            shrink in any::<bool>(),
        ) {
            let (mut open, mut model) = (Open::Few(Vec::new()), BTreeMap::<Vec<u8>, Vec<Sibling>>::new());
            let mut counter = 0;
            let clear = (0..90u8).filter(|_| shrink).map(|f| (f, vec![]));
            for (field, next) in steps.into_iter().chain(clear) {
                let name = if field == 0 { vec![] } else { vec![b'f', field] };
                let next: Vec<_> = next.into_iter().map(|live| { counter += 1; sibling(counter, live) }).collect();
                let was = open.replace(&Field::new(&name), next.iter().cloned().collect());
                let expected = if next.is_empty() { model.remove(&name) } else { model.insert(name, next) };
                prop_assert_eq!(was.as_slice().to_vec(), expected.unwrap_or_default());
            }
            let flat: Vec<_> = model.iter().flat_map(|(f, c)| c.iter().map(move |s| (f.clone(), s.clone()))).collect();
            let cells = Cells::of_open(&open);
            prop_assert_eq!(cells.iter().map(|(f, s)| (f.as_bytes().to_vec(), s.to_sibling())).collect::<Vec<_>>(), flat.clone());
            prop_assert_eq!(cells.len(), flat.len());
            for (name, cell) in &model {
                prop_assert_eq!(&cells.siblings(name).map(|s| s.to_sibling()).collect::<Vec<_>>(), cell);
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
