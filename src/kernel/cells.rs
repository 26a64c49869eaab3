//! The cells of one entity, to read.

use std::borrow::Borrow;
use std::slice;
use std::sync::Arc;

use crate::id::{Dot, WriterId};
use crate::kernel::cell::{Cell, CellSiblings, Covered};
use crate::kernel::key::{Field, FieldRef, Sibling, SiblingRef};
use crate::kernel::many::{self, Found, Many, Open};
use crate::kernel::record::{Contents, Few, FewIter, Record, Write};
use crate::kernel::tables::Tables;
use crate::version::Version;

/// The cells of one entity where they lie in a state, sorted by field. Finding one is O(cells) for a small entity, O(log
/// cells) for a large one.
#[derive(Clone, Copy)]
pub struct Cells<'a>(pub(super) Repr<'a>);

#[derive(Clone, Copy)]
pub(super) enum Repr<'a> {
    Packed(Few<'a>),
    /// The list of an entity that is open for change.
    Open(&'a [Write]),
    Many(&'a Arc<Many>),
}

impl Borrow<[u8]> for Field {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<'a> Cells<'a> {
    pub(super) fn of_record(record: Record<'a>, tables: &'a Tables) -> Self {
        match record.contents(tables) {
            Contents::Few(few) => Self(Repr::Packed(few)),
            Contents::Many(many) => Self(Repr::Many(many)),
        }
    }

    pub(super) fn of_open(open: &'a Open) -> Self {
        match open {
            Open::Few(writes) => Self(Repr::Open(writes)),
            Open::Many(many) => Self(Repr::Many(many)),
        }
    }

    /// The same to change. The list is empty.
    pub(super) fn to_open(self, mut list: Vec<Write>) -> Open {
        if let Repr::Many(many) = self.0 {
            return Open::Many(many.clone());
        }
        // One more is likely to come.
        list.reserve(self.len() + 1);
        list.extend(self.iter().map(|(field, s)| Write { field: field.to_field(), sibling: s.to_sibling() }));
        Open::Few(list)
    }

    /// The concurrent siblings of a cell, tombstones among them, in the order of their dots.
    pub fn siblings(self, field: &[u8]) -> Siblings<'a> {
        let few = match self.0 {
            Repr::Packed(few) => match few.siblings(field) {
                Some((siblings, len)) => SiblingsRepr::Packed(siblings, len),
                None => SiblingsRepr::default(),
            },
            Repr::Open(writes) => {
                let is_it = |write: &Write| write.field.as_bytes() == field;
                let start = writes.iter().position(is_it).unwrap_or(writes.len());
                let len = writes[start..].iter().take_while(|write| is_it(write)).count();
                SiblingsRepr::Open(writes[start..start + len].iter())
            }
            Repr::Many(many) => match many.find(field) {
                Some(Found::Cell(cell)) => SiblingsRepr::Many(cell.iter()),
                Some(Found::InRun(run, place)) => SiblingsRepr::InRun(Some(run.sibling(place))),
                None => SiblingsRepr::default(),
            },
        };
        Siblings(few)
    }

    /// The siblings of a cell that are not tombstones, in the order of their dots.
    pub fn live(self, field: &[u8]) -> impl Iterator<Item = SiblingRef<'a>> + Clone + use<'a> {
        let all = match self.0 {
            Repr::Many(many) => match many.find(field) {
                // Those of a crowd that is all tombstones are found without a look at it.
                Some(Found::Cell(cell)) if cell.is_live() => Siblings(SiblingsRepr::Many(cell.iter())),
                Some(Found::InRun(run, place)) => Siblings(SiblingsRepr::InRun(Some(run.sibling(place)))),
                _ => Siblings::default(),
            },
            _ => self.siblings(field),
        };
        all.filter(|sibling| sibling.is_live())
    }

    /// The live sibling that shows where only one can: the one of greatest [precedence](Sibling::precedence).
    /// O(log siblings) where there are many.
    pub fn winner(self, field: &[u8]) -> Option<SiblingRef<'a>> {
        match self.0 {
            Repr::Many(many) => many.find(field).and_then(Found::latest),
            // Nearly always a single sibling is there.
            Repr::Packed(few) if let Some((mut only, 1)) = few.siblings(field) => {
                only.next().map(|(_, sibling)| sibling).filter(|sibling| sibling.is_live())
            }
            _ => self.live(field).max_by_key(|sibling| sibling.precedence()),
        }
    }

    /// A copy of a cell. O(1) for a large one.
    pub(crate) fn cell(self, field: &[u8]) -> Cell {
        match self.0 {
            Repr::Many(many) => many.find(field).map(Found::to_cell).unwrap_or_default(),
            _ => self.siblings(field).map(|sibling| sibling.to_sibling()).collect(),
        }
    }

    /// The sibling of this dot in a cell. O(log siblings).
    pub(crate) fn get(self, field: &[u8], dot: Dot) -> Option<SiblingRef<'a>> {
        match self.0 {
            Repr::Many(many) => many.find(field)?.get(dot),
            _ => self.siblings(field).find(|sibling| sibling.dot == dot),
        }
    }

    /// The siblings of a cell that a version covers. O(siblings) for few, else O(siblings or the version's writers, whichever
    /// are fewer, · log siblings).
    pub(crate) fn covered(self, field: &[u8], version: &Version) -> Covered<'a> {
        match self.0 {
            Repr::Many(many) => many.find(field).map(|cell| cell.covered(version)).unwrap_or_default(),
            _ => self.siblings(field).filter(|sibling| version.covers(sibling.dot)).collect(),
        }
    }

    /// The dots of all cells that a version covers, with their fields, if they are found by the version's writers faster than
    /// by going over all cells.
    pub(crate) fn covered_by_writer(
        self,
        version: &Version,
    ) -> Option<impl Iterator<Item = (Dot, FieldRef<'a>)> + use<'a>> {
        match self.0 {
            Repr::Many(many) => many.covered_by_writer(version),
            _ => None,
        }
    }

    /// Whether the entity's root is live.
    pub fn is_live(self) -> bool {
        match self.0 {
            Repr::Many(many) => many.first_live().is_some_and(Field::is_root),
            // The root sorts first, so this looks at no name.
            Repr::Packed(few) => {
                let roots = few.fields().iter().take_while(|field| field.is_root()).count();
                (0..roots).any(|place| few.is_live_at(place))
            }
            Repr::Open(writes) => writes.iter().take_while(|w| w.field.is_root()).any(|w| w.sibling.is_live()),
        }
    }

    /// Whether any cell but the root is live. O(cells) for a small entity, O(1) for a large one.
    pub fn has_live_fields(self) -> bool {
        match self.0 {
            Repr::Many(many) => many.has_live_fields(),
            _ => self.iter().any(|(field, sibling)| sibling.is_live() && !field.is_root()),
        }
    }

    /// All siblings with their fields, by field and dot.
    pub fn iter(self) -> impl Iterator<Item = (FieldRef<'a>, SiblingRef<'a>)> + Clone + use<'a> {
        match self.0 {
            Repr::Packed(few) => Entries::Packed(few.iter()),
            Repr::Open(writes) => Entries::Open(writes.iter()),
            Repr::Many(_) => self.from(&[], true),
        }
    }

    /// The siblings whose fields begin with these bytes, by field and dot.
    pub fn with_prefix<P: AsRef<[u8]>>(
        self,
        prefix: P,
    ) -> impl Iterator<Item = (FieldRef<'a>, SiblingRef<'a>)> + use<'a, P> {
        let from = self.from(prefix.as_ref(), true);
        from.take_while(move |(field, _)| field.as_bytes().starts_with(prefix.as_ref()))
    }

    /// The same where the fields are no characters: of a run of such the first at most.
    pub(crate) fn named<P: AsRef<[u8]>>(
        self,
        prefix: P,
    ) -> impl Iterator<Item = (&'a Field, SiblingRef<'a>)> + use<'a, P> {
        let from = match self.from(prefix.as_ref(), true) {
            Entries::Many(entries) => Entries::Many(entries.firsts()),
            few => few,
        };
        let named = from.filter_map(|(field, sibling)| Some((field.held()?, sibling)));
        named.take_while(move |(field, _)| field.as_bytes().starts_with(prefix.as_ref()))
    }

    /// The siblings of the cells after (or, if `including`, from) `start` up to but not including `end`.
    pub(crate) fn between<'b>(
        self,
        start: &[u8],
        including: bool,
        end: Option<&'b [u8]>,
    ) -> impl Iterator<Item = (FieldRef<'a>, SiblingRef<'a>)> + use<'a, 'b> {
        self.from(start, including).take_while(move |(field, _)| end.is_none_or(|end| field.as_bytes() < end))
    }

    fn from(self, start: &[u8], including: bool) -> Entries<'a> {
        let before = |field: &Field| match including {
            true => field.as_bytes() < start,
            false => field.as_bytes() <= start,
        };
        match self.0 {
            Repr::Packed(few) => {
                let mut siblings = few.iter();
                siblings.skip_siblings(few.fields().iter().take_while(|field| before(field)).count());
                Entries::Packed(siblings)
            }
            Repr::Open(writes) => Entries::Open(writes[writes.partition_point(|write| before(&write.field))..].iter()),
            Repr::Many(many) => Entries::Many(many.from(start, including)),
        }
    }

    /// The first field from `start` on that holds something live. O(cells) for a small entity, O(log cells) for a large one.
    pub(crate) fn next_live(self, start: &[u8]) -> Option<FieldRef<'a>> {
        match self.0 {
            Repr::Many(many) => many.next_live(start),
            _ => self.from(start, true).find(|(_, sibling)| sibling.is_live()).map(|(field, _)| field),
        }
    }

    /// Returns whether any live sibling has such a field. `None` for a large entity, in which seeking is faster than looking at each.
    pub(crate) fn any_of_few(self, is_it: impl Fn(&'a Field) -> bool) -> Option<bool> {
        match self.0 {
            Repr::Packed(few) => {
                let mut fields = few.fields().iter().enumerate();
                Some(fields.any(|(place, field)| is_it(field) && few.is_live_at(place)))
            }
            Repr::Open(writes) => Some(writes.iter().any(|write| write.sibling.is_live() && is_it(&write.field))),
            Repr::Many(_) => None,
        }
    }

    /// The number of siblings, tombstones included.
    pub fn len(self) -> usize {
        match self.0 {
            Repr::Packed(few) => few.fields().len(),
            Repr::Open(writes) => writes.len(),
            Repr::Many(many) => many.len(),
        }
    }

    /// Whether there is nothing at all. The state keeps no such entity.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The field of the cell that holds this dot. O(cells) for a small entity, O(log cells) for a large one.
    pub(crate) fn field_of(self, dot: Dot) -> Option<FieldRef<'a>> {
        match self.0 {
            Repr::Many(many) => many.field_of(dot),
            _ => self.iter().find(|(_, sibling)| sibling.dot == dot).map(|(field, _)| field),
        }
    }

    /// Calls `send` with every sibling of the cells with a dot that `is_new`, in order, and returns how many cells these are.
    /// `news` are the stretches of writers that are new. O(cells) for a small entity, O(changes · log cells + siblings sent)
    /// for a large one.
    pub(crate) fn changed_since(
        self,
        mut is_new: impl FnMut(Dot) -> bool,
        news: &[(WriterId, u64, u64)],
        mut send: impl FnMut(&Field, SiblingRef<'_>),
    ) -> usize {
        if let Repr::Many(many) = self.0 {
            let fields = many.fields_since(news);
            for field in &fields {
                self.siblings(field.as_bytes()).for_each(|sibling| send(field, sibling));
            }
            return fields.len();
        }
        let mut changed = 0;
        let mut rest = self.iter();
        let (mut next, mut start) = (rest.next(), rest.clone());
        while let Some((field, first)) = next {
            // Nearly always the only one of its cell.
            let (mut len, mut is_changed) = (0, is_new(first.dot));
            next = rest.next();
            while let Some((_, sibling)) = next.as_ref().filter(|(of, _)| *of == field) {
                len += 1;
                is_changed |= is_new(sibling.dot);
                next = rest.next();
            }
            if is_changed {
                send(&field, first);
                start.take(len).for_each(|(field, sibling)| send(&field, sibling));
                changed += 1;
            }
            start = rest.clone();
        }
        changed
    }
}

impl std::fmt::Debug for Cells<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The siblings of all cells with their fields.
#[derive(Clone)]
enum Entries<'a> {
    Packed(FewIter<'a>),
    Open(slice::Iter<'a, Write>),
    Many(many::Entries<'a>),
}

impl<'a> Iterator for Entries<'a> {
    type Item = (FieldRef<'a>, SiblingRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(siblings) => siblings.next().map(|(field, sibling)| (field.into(), sibling)),
            Self::Open(writes) => writes.next().map(|write| ((&write.field).into(), write.sibling.as_ref())),
            Self::Many(entries) => entries.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Packed(siblings) => siblings.size_hint(),
            Self::Open(writes) => writes.size_hint(),
            Self::Many(_) => (0, None),
        }
    }
}

/// The siblings of one cell.
#[derive(Clone, Default)]
pub struct Siblings<'a>(SiblingsRepr<'a>);

#[derive(Clone)]
enum SiblingsRepr<'a> {
    /// An iterator over the record, and the number of siblings that are left of the cell.
    Packed(FewIter<'a>, usize),
    Open(slice::Iter<'a, Write>),
    Many(CellSiblings<'a>),
    InRun(Option<SiblingRef<'a>>),
}

impl Default for SiblingsRepr<'_> {
    fn default() -> Self {
        Self::Open([].iter())
    }
}

impl<'a> Iterator for Siblings<'a> {
    type Item = SiblingRef<'a>;

    fn next(&mut self) -> Option<SiblingRef<'a>> {
        match &mut self.0 {
            SiblingsRepr::Packed(siblings, left) => {
                *left = left.checked_sub(1)?;
                siblings.next().map(|(_, sibling)| sibling)
            }
            SiblingsRepr::Open(writes) => writes.next().map(|write| write.sibling.as_ref()),
            SiblingsRepr::Many(cell) => cell.next().map(Sibling::as_ref),
            SiblingsRepr::InRun(only) => only.take(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = match &self.0 {
            SiblingsRepr::Packed(_, left) => *left,
            SiblingsRepr::Open(writes) => writes.len(),
            SiblingsRepr::Many(cell) => cell.len(),
            SiblingsRepr::InRun(only) => usize::from(only.is_some()),
        };
        (len, Some(len))
    }
}

impl ExactSizeIterator for Siblings<'_> {}

impl std::fmt::Debug for Siblings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
