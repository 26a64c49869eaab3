//! The cells of a large entity.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use im::ordmap::{self, DiffItem};
use im::shared_ptr::DefaultSharedPtr;
use im::{OrdMap, OrdSet};

use crate::bugs::{Bug, is};
use crate::id::{Dot, WriterId};
use crate::kernel::cell::{Cell, CellSiblings, Change, Covered};
use crate::kernel::key::{Field, FieldRef, Sibling, SiblingRef};
use crate::kernel::record::Write;
use crate::kernel::run::Run;
use crate::version::Version;

/// The cells of a large entity. Persistent: cloning is O(1).
///
/// Characters of texts lie in [runs](Run). Nothing that is held lies between the cells of a run: where something is put there, the run is cut.
#[derive(Clone, Debug, Default)]
pub(super) struct Many {
    /// No cell is empty. A run lies at the field of its first cell.
    entries: OrdMap<Field, Entry>,
    /// The fields by dot; of a run the first field, by its lowest dot.
    fields: OrdMap<Dot, Field>,
    /// The fields of the entries that hold something live: what is alive is found past any number of tombstones.
    live: OrdSet<Field>,
    /// The number of siblings.
    len: usize,
    runs: usize,
}

#[derive(Clone, PartialEq, Debug)]
enum Entry {
    Cell(Cell),
    Run(Run),
}

/// The nearest entry at or before a field, as seen from there.
#[derive(Clone, Copy)]
enum Spot {
    Cell,
    /// The cell lies at a place of a run.
    InRun(usize),
    /// A run reaches across, from before a place to it.
    Across(usize),
    /// A run ends before.
    Behind,
    /// Nothing is there, and no run before.
    Free,
}

/// A cell where it lies.
#[derive(Clone, Copy)]
pub(super) enum Found<'a> {
    Cell(&'a Cell),
    /// The cell at a place of a run.
    InRun(&'a Run, usize),
}

impl<'a> Found<'a> {
    pub(super) fn to_cell(self) -> Cell {
        match self {
            Self::Cell(cell) => cell.clone(),
            Self::InRun(run, place) => Cell::single(run.sibling(place).to_sibling()),
        }
    }

    pub(super) fn latest(self) -> Option<SiblingRef<'a>> {
        match self {
            Self::Cell(cell) => cell.latest().map(Sibling::as_ref),
            Self::InRun(run, place) => Some(run.sibling(place)).filter(|sibling| sibling.is_live()),
        }
    }

    pub(super) fn get(self, dot: Dot) -> Option<SiblingRef<'a>> {
        match self {
            Self::Cell(cell) => cell.get(dot).map(Sibling::as_ref),
            Self::InRun(run, place) => Some(run.sibling(place)).filter(|sibling| sibling.dot == dot),
        }
    }

    pub(super) fn covered(self, version: &Version) -> Covered<'a> {
        match self {
            Self::Cell(cell) => cell.covered(version),
            Self::InRun(run, place) => {
                Some(run.sibling(place)).into_iter().filter(|sibling| version.covers(sibling.dot)).collect()
            }
        }
    }
}

impl Many {
    /// Builds the maps from siblings of distinct dots, which are sorted by field and dot.
    pub(super) fn of(writes: &[Write]) -> Self {
        let mut many = Self::default();
        let lost = usize::from(is(Bug::ManyLosesCell));
        for cell in writes[..writes.len() - lost].chunk_by(|a, b| a.field == b.field) {
            many.replace(&cell[0].field, cell.iter().map(|write| write.sibling.clone()).collect());
        }
        many
    }

    pub(super) fn to_writes(&self) -> Vec<Write> {
        let all = self.from(&[], true);
        all.map(|(field, sibling)| Write { field: field.to_field(), sibling: sibling.to_sibling() }).collect()
    }

    /// The number of siblings.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The cell of a field. O(log n).
    pub(super) fn find(&self, field: &[u8]) -> Option<Found<'_>> {
        match self.entries.get(field) {
            Some(Entry::Cell(cell)) => Some(Found::Cell(cell)),
            Some(Entry::Run(run)) => Some(Found::InRun(run, 0)),
            None => {
                let (first, run) = self.run_before(field)?;
                run.place(first, field).ok().map(|place| Found::InRun(run, place))
            }
        }
    }

    /// The run that begins before a field, if no other entry lies between the two.
    fn run_before(&self, field: &[u8]) -> Option<(&Field, &Run)> {
        if self.runs == 0 {
            return None;
        }
        match self.entries.get_prev(field)? {
            (first, Entry::Run(run)) => Some((first, run)),
            _ => None,
        }
    }

    /// All siblings from (or after) a field on, with their fields, by field and dot.
    pub(super) fn from(&self, start: &[u8], including: bool) -> Entries<'_> {
        let bound = if including { Bound::Included(start) } else { Bound::Excluded(start) };
        let entries = self.entries.range::<_, [u8]>((bound, Bound::Unbounded));
        // A run that begins before may reach beyond.
        let across = self.run_before(start).and_then(|(first, run)| {
            let next = match run.place(first, start) {
                Ok(place) => place + usize::from(!including),
                Err(place) => place,
            };
            let is_cut = next > 0 && next < run.len();
            is_cut.then_some(Rest::Run { first, run, next, byte: run.byte_of(next) })
        });
        Entries { entries, rest: across.unwrap_or_default(), firsts: false }
    }

    /// The first field from `start` on that holds something live. O(log n).
    pub(super) fn next_live(&self, start: &[u8]) -> Option<FieldRef<'_>> {
        let across = self.run_before(start).filter(|(_, run)| run.is_live()).and_then(|(first, run)| {
            let (Ok(place) | Err(place)) = run.place(first, start);
            (place < run.len()).then(|| run.field(first, place))
        });
        across.or_else(|| self.live.range::<_, [u8]>((Bound::Included(start), Bound::Unbounded)).next().map(Into::into))
    }

    /// The first of the fields that hold something live.
    pub(super) fn first_live(&self) -> Option<&Field> {
        self.live.get_min()
    }

    /// Returns whether any cell but the root is live.
    pub(super) fn has_live_fields(&self) -> bool {
        self.live.get_max().is_some_and(|last| !last.is_root())
    }

    /// The field of the cell that holds a dot. O(log n).
    pub(super) fn field_of(&self, dot: Dot) -> Option<FieldRef<'_>> {
        if self.runs == 0 {
            return self.fields.get(&dot).map(Into::into);
        }
        let (before, field) = self.fields.get_prev(&dot)?;
        match self.run_at(field, *before) {
            Some(run) => run.place_of(dot).map(|place| run.field(field, place)),
            None => Some(field.into()).filter(|_| *before == dot),
        }
    }

    /// The run at a field whose lowest dot is this.
    fn run_at(&self, field: &Field, lowest: Dot) -> Option<&Run> {
        if self.runs == 0 {
            return None;
        }
        match self.entries.get(field)? {
            Entry::Run(run) if run.lowest() == lowest => Some(run),
            _ => None,
        }
    }

    /// The dots from one to another of the same writer, in order, with their fields.
    fn between(&self, from: Dot, to: Dot) -> impl Iterator<Item = (Dot, FieldRef<'_>)> {
        // A run of the writer that begins before may reach beyond.
        let before = if self.runs > 0 { self.fields.get_prev(&from) } else { None };
        let before = before.filter(|(before, _)| **before < from && before.writer == from.writer);
        before.into_iter().chain(self.fields.range(from..=to)).flat_map(move |(lowest, field)| {
            let run = self.run_at(field, *lowest);
            let alone = Some((*lowest, FieldRef::from(field))).filter(|(dot, _)| run.is_none() && *dot >= from);
            let in_run = run.into_iter().flat_map(move |run| {
                let asked = run.by_dot().filter(move |(dot, _)| (from..=to).contains(dot));
                asked.map(move |(dot, place)| (dot, run.field(field, place)))
            });
            alone.into_iter().chain(in_run)
        })
    }

    /// Puts exactly `next` into a cell, and takes out what was there.
    pub(super) fn replace(&mut self, field: &Field, next: Cell) -> Cell {
        self.len += next.len();
        let run = next.only().and_then(|only| Run::of(field.as_bytes(), only));
        if self.runs == 0 && run.is_none() {
            return self.replace_cell(field, next);
        }
        let spot = self.spot(field);
        let was = match spot {
            Spot::Cell if run.is_none() => return self.replace_cell(field, next),
            Spot::Cell => self.replace_cell(field, Cell::new()),
            Spot::InRun(place) => self.take_from_run(field, place),
            Spot::Across(place) if !next.is_empty() => {
                self.cut(field, place);
                Cell::new()
            }
            Spot::Across(_) | Spot::Behind | Spot::Free => Cell::new(),
        };
        match run {
            Some(run) => self.put_in_run(field, run, !matches!(spot, Spot::Free)),
            None if next.is_empty() => {}
            None => drop(self.replace_cell(field, next)),
        }
        was
    }

    /// Looks at the nearest entry at or before a field.
    fn spot(&self, field: &Field) -> Spot {
        match self.entries.get_prev(field.as_bytes()) {
            Some((at, Entry::Cell(_))) if at == field => Spot::Cell,
            Some((first, Entry::Run(run))) => match run.place(first, field.as_bytes()) {
                Ok(place) => Spot::InRun(place),
                Err(place) if place < run.len() => Spot::Across(place),
                Err(_) => Spot::Behind,
            },
            _ => Spot::Free,
        }
    }

    /// The same for a cell that neither lies in a run nor is to. Its siblings are counted.
    fn replace_cell(&mut self, field: &Field, next: Cell) -> Cell {
        match next.is_live() {
            true => drop(self.live.insert(field.clone())),
            false => drop(self.live.remove(field)),
        }
        let was = match next.is_empty() {
            true => self.entries.remove(field),
            false => self.entries.insert(field.clone(), Entry::Cell(next.clone())),
        };
        let was = match was {
            Some(Entry::Cell(was)) => was,
            _ => Cell::new(),
        };
        Cell::changes(&was, &next, |change| match change {
            Change::Gone(sibling) => drop(self.fields.remove(&sibling.dot)),
            Change::Come(sibling) => drop(self.fields.insert(sibling.dot, field.clone())),
        });
        self.len -= was.len();
        was
    }

    /// Takes a cell out of the run in which it lies, at a place.
    fn take_from_run(&mut self, field: &Field, place: usize) -> Cell {
        let Some((first, run)) = self.take_run(field) else { return Cell::new() };
        self.len -= 1;
        let [before, rest] = run.split(place);
        let [_, after] = rest.map(|rest| rest.split(1)).unwrap_or_default();
        if after.is_some() {
            self.put_run(run.field(&first, place + 1).to_field(), after);
        }
        self.put_run(first, before);
        Cell::single(run.sibling(place).to_sibling())
    }

    /// Cuts a run that reaches across a field that it does not hold.
    fn cut(&mut self, field: &Field, place: usize) {
        if is(Bug::RunUncut) {
            return;
        }
        if let Some((first, run)) = self.take_run(field) {
            let [before, after] = run.split(place);
            self.put_run(run.field(&first, place).to_field(), after);
            self.put_run(first, before);
        }
    }

    /// Puts one cell that is not there into a run: that behind which it comes, that before which it comes, or a new one.
    fn put_in_run(&mut self, field: &Field, mut run: Run, is_behind: bool) {
        if is_behind && let Some((first, Entry::Run(before))) = self.entries.get_prev_mut(field.as_bytes()) {
            let lowest = before.lowest();
            if before.append(first, &run, field) {
                let (first, now) = (first.clone(), before.lowest());
                if now != lowest {
                    self.fields.remove(&lowest);
                    self.fields.insert(now, first);
                }
                return;
            }
        }
        let after = self.entries.range::<_, [u8]>((Bound::Excluded(field.as_bytes()), Bound::Unbounded)).next();
        if let Some((next, Entry::Run(after))) = after
            && run.append(field, after, next)
        {
            let next = next.clone();
            self.take_run(&next);
        }
        self.put_run(field.clone(), Some(run));
    }

    /// Takes out the run that begins at a field or last before it.
    fn take_run(&mut self, field: &Field) -> Option<(Field, Run)> {
        let (first, Entry::Run(run)) = self.entries.get_prev(field)? else { return None };
        let (first, run) = (first.clone(), run.clone());
        self.entries.remove(&first);
        self.fields.remove(&run.lowest());
        self.live.remove(&first);
        self.runs -= 1;
        Some((first, run))
    }

    fn put_run(&mut self, first: Field, run: Option<Run>) {
        let Some(run) = run else { return };
        self.runs += 1;
        self.fields.insert(run.lowest(), first.clone());
        if run.is_live() {
            self.live.insert(first.clone());
        }
        self.entries.insert(first, Entry::Run(run));
    }

    /// The fields of the cells that a writer's dots past one counter, up to another, lie in, each once, in order.
    pub(super) fn fields_since(&self, news: &[(WriterId, u64, u64)]) -> BTreeSet<FieldRef<'_>> {
        let of = |(writer, seen, upto): &(WriterId, u64, u64)| {
            let (from, to) = dots_between(*writer, *seen, *upto).into_inner();
            self.between(from, to)
        };
        news.iter().flat_map(of).map(|(_, field)| field).collect()
    }

    /// The dots that a version covers, with their fields, if they are found by the version's writers faster than by going over
    /// all cells.
    pub(super) fn covered_by_writer<'a>(
        &'a self,
        version: &Version,
    ) -> Option<impl Iterator<Item = (Dot, FieldRef<'a>)> + use<'a>> {
        let writers = version.few_writers(self.len / 8)?;
        let dots = writers.into_iter().map(|(writer, after, upto)| dots_between(writer, after, upto).into_inner());
        Some(dots.flat_map(|(from, to)| self.between(from, to)))
    }

    /// The fields whose cells may be others in another version of the same entity, each once. O(changes) where the two share memory.
    pub(super) fn unshared(&self, other: &Self) -> BTreeSet<Field> {
        let mut found = BTreeSet::new();
        let fields = |first: &Field, entry: &Entry| {
            let run = if let Entry::Run(run) = entry { Some(run.clone()) } else { None };
            let len = run.as_ref().map_or(1, Run::len);
            let first = first.clone();
            (0..len).map(move |at| run.as_ref().map_or(first.clone(), |run| run.field(&first, at).to_field()))
        };
        for item in self.entries.diff(&other.entries) {
            match item {
                DiffItem::Add(field, entry) | DiffItem::Remove(field, entry) => found.extend(fields(field, entry)),
                DiffItem::Update { old: (field, Entry::Run(old)), new: (_, Entry::Run(new)) } => {
                    let differs = |place: &usize| {
                        *place >= old.len().min(new.len()) || old.sibling(*place) != new.sibling(*place)
                    };
                    let longer = if old.len() > new.len() { old } else { new };
                    let differing = (0..longer.len()).filter(differs);
                    found.extend(differing.map(|place| longer.field(field, place).to_field()));
                }
                DiffItem::Update { old, new } => {
                    found.extend(fields(old.0, old.1));
                    found.extend(fields(new.0, new.1));
                }
            }
        }
        found
    }

    /// Returns whether both hold the same cells.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let cell = |of: &Self, field: &Field| of.find(field.as_bytes()).map(Found::to_cell);
        self.len == other.len && self.unshared(other).iter().all(|field| cell(self, field) == cell(other, field))
    }
}

/// All siblings with their fields, by field and dot.
#[derive(Clone)]
pub(super) struct Entries<'a> {
    /// The entries that are to come.
    entries: ordmap::RangedIter<'a, Field, Entry, DefaultSharedPtr>,
    /// The rest of the current one.
    rest: Rest<'a>,
    /// True if only the first cell of each run is wanted.
    firsts: bool,
}

#[derive(Clone, Default)]
enum Rest<'a> {
    #[default]
    Nothing,
    Cell(&'a Field, CellSiblings<'a>),
    /// A run, the place of its cell that comes next, and the byte at which that one's letter begins.
    Run {
        first: &'a Field,
        run: &'a Run,
        next: usize,
        byte: usize,
    },
}

impl<'a> Entries<'a> {
    /// Passes over all but the first cell of each run.
    pub(super) fn firsts(self) -> Self {
        Self { firsts: true, ..self }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (FieldRef<'a>, SiblingRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match &mut self.rest {
                Rest::Cell(field, siblings) => {
                    if let Some(sibling) = siblings.next() {
                        return Some(((*field).into(), sibling.as_ref()));
                    }
                }
                Rest::Run { first, run, next, byte } if *next < if self.firsts { 1 } else { run.len() } => {
                    let (field, sibling) = (run.field(first, *next), run.sibling_at(*next, *byte));
                    *next += 1;
                    *byte += sibling.payload.map_or(0, |letter| letter.bytes().len());
                    return Some((field, sibling));
                }
                Rest::Nothing | Rest::Run { .. } => {}
            }
            self.rest = match self.entries.next()? {
                (field, Entry::Cell(cell)) => Rest::Cell(field, cell.iter()),
                (first, Entry::Run(run)) => Rest::Run { first, run, next: 0, byte: 0 },
            };
        }
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
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Stamp;
    use crate::kernel::cells::Cells;
    use crate::kernel::key::Payload;
    use crate::kinds::payload::LETTER;
    use crate::kinds::property::{PROPERTY, TEXT};
    use crate::position;

    /// The letters of a text begin so.
    const TEXT_START: [u8; 4] = [PROPERTY, b't', 0, TEXT];

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
                    prop_assert_eq!(cells.field_of(s.dot).unwrap().as_bytes().to_vec(), name.clone());
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

    /// The field of a letter of one of two lines, of which one hangs in a gap of the other, or of something else.
    fn letter(n: u16) -> Vec<u8> {
        static LINES: LazyLock<[Vec<Vec<u8>>; 2]> = LazyLock::new(|| {
            position::two_lines(70, 220).map(|line| line.iter().map(|at| [&TEXT_START[..], at].concat()).collect())
        });
        match n {
            0 => vec![],
            // No position, but between some.
            1 => [&LINES[0][40][..], &[0xff]].concat(),
            2 => vec![PROPERTY, b'u', 0, 1],
            n => LINES[usize::from(n % 2)][usize::from(n / 2)].clone(),
        }
    }

    #[test]
    fn letters_in_a_row_lie_in_few_runs() {
        let typed = |counters: &mut dyn Iterator<Item = u64>| {
            let mut many = Many::default();
            for (n, counter) in (100..340).step_by(2).zip(counters) {
                let payload = Payload::new(LETTER, "ö".as_bytes());
                many.replace(&Field::new(&letter(n)), Cell::single(sibling_of(counter, Some(payload))));
            }
            many
        };
        for mut many in [typed(&mut (1..)), typed(&mut (1..=500).rev())] {
            assert_eq!((many.entries.len(), many.fields.len(), many.live.len(), many.len()), (1, 1, 1, 120));
            // In the middle of it another is put, and one is taken out.
            let other = Cell::single(sibling_of(900, Some(Payload::new(LETTER, b"x"))));
            many.replace(&Field::new(&letter(141)), other);
            assert_eq!((many.entries.len(), many.len()), (3, 121));
            many.replace(&Field::new(&letter(200)), Cell::single(sibling_of(901, None)));
            assert_eq!((many.entries.len(), many.live.len(), many.len()), (5, 4, 121));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        /// Letters in runs, beside cells that are none, against a plain map: `expand(runs) = cells`.
        #[test]
        fn cells_in_runs_agree_with_a_plain_map(
            steps in prop::collection::vec((0u16..320, 1usize..60, 0u8..6, any::<bool>(), 0u64..2), 1..60),
        ) {
            let (mut many, mut model) = (Many::default(), BTreeMap::<Vec<u8>, Vec<Sibling>>::new());
            let (mut counter, mut before) = (1_000, many.clone());
            for (from, count, what, is_down, time) in steps {
                let fields: Vec<u16> = (0..count as u16).map(|n| from + 2 * n).collect();
                let in_order: Vec<u16> = if is_down { fields.into_iter().rev().collect() } else { fields };
                for n in in_order {
                    let name = letter(n);
                    let mut write = |payload: Option<Payload>| {
                        counter += 1;
                        Sibling { stamp: Stamp::new(time, 0), ..sibling_of(counter, payload) }
                    };
                    let a_letter = |n: u16| Some(Payload::new(LETTER, ["a", "ö", "字", "b"][n as usize % 4].as_bytes()));
                    let next: Vec<Sibling> = match what {
                        0 => vec![],
                        1 => vec![write(None)],
                        2 => vec![write(a_letter(n)), write(None)],
                        3 => vec![write(Some(Payload::new(1, b"x")))],
                        _ => vec![write(a_letter(n))],
                    };
                    let was = many.replace(&Field::new(&name), next.iter().cloned().collect());
                    let expected = if next.is_empty() { model.remove(&name) } else { model.insert(name, next) };
                    prop_assert_eq!(was.as_slice().to_vec(), expected.unwrap_or_default());
                }
                agrees(&many, &model, counter)?;
                let differing = before.unshared(&many);
                for n in 0..440 {
                    let name = letter(n);
                    let [was, is] = [&before, &many].map(|many| many.find(&name).map(Found::to_cell));
                    prop_assert!(was == is || differing.contains(&Field::new(&name)));
                }
                // Built in one go, it is the same, however it lies.
                let again = Many::of(&many.to_writes());
                prop_assert!(again.is_like(&many) && many.is_like(&again));
                prop_assert_eq!(before.is_like(&many), before.to_writes() == many.to_writes());
                before = many.clone();
            }
        }
    }

    fn sibling_of(counter: u64, payload: Option<Payload>) -> Sibling {
        Sibling { payload, ..sibling(counter, false) }
    }

    fn agrees(many: &Many, model: &BTreeMap<Vec<u8>, Vec<Sibling>>, last: u64) -> Result<(), TestCaseError> {
        let open = Open::Many(Arc::new(many.clone()));
        let cells = Cells::of_open(&open);
        let flat: Vec<_> = model.iter().flat_map(|(f, c)| c.iter().map(move |s| (f.clone(), s.clone()))).collect();
        let all = |from: &[u8], including: bool| {
            many.from(from, including).map(|(f, s)| (f.as_bytes().to_vec(), s.to_sibling())).collect::<Vec<_>>()
        };
        prop_assert_eq!(all(&[], true), flat.clone());
        prop_assert_eq!(many.len(), flat.len());
        prop_assert!(many.entries.iter().filter(|(_, entry)| matches!(entry, Entry::Run(_))).count() == many.runs);
        prop_assert!(many.fields.len() <= flat.len());
        for n in (0..440).step_by(7) {
            let name = letter(n);
            for including in [true, false] {
                let rest = flat.iter().filter(|(f, _)| if including { *f >= name } else { *f > name });
                prop_assert_eq!(all(&name, including), rest.cloned().collect::<Vec<_>>());
            }
            let of_cell = model.get(&name).cloned().unwrap_or_default();
            prop_assert_eq!(cells.siblings(&name).map(|s| s.to_sibling()).collect::<Vec<_>>(), of_cell.clone());
            prop_assert_eq!(cells.cell(&name).as_slice().to_vec(), of_cell.clone());
            prop_assert_eq!(cells.live(&name).count(), of_cell.iter().filter(|s| s.is_live()).count());
            let next = flat.iter().find(|(f, s)| *f >= name && s.is_live()).map(|(f, _)| f.clone());
            prop_assert_eq!(cells.next_live(&name).map(|f| f.as_bytes().to_vec()), next);
        }
        let by_dot: BTreeMap<Dot, Vec<u8>> = flat.iter().map(|(f, s)| (s.dot, f.clone())).collect();
        for counter in 1_000..=last + 1 {
            let dot = sibling(counter, false).dot;
            prop_assert_eq!(cells.field_of(dot).map(|f| f.as_bytes().to_vec()), by_dot.get(&dot).cloned());
        }
        for seen in (1_000..=last).step_by(13) {
            let writer = WriterId::from([1; 10]);
            let upto = last.min(seen + 40);
            let of = by_dot.iter().filter(|(dot, _)| (seen + 1..=upto).contains(&dot.counter));
            let expected: BTreeSet<Vec<u8>> = of.map(|(_, field)| field.clone()).collect();
            let found: Vec<_> =
                many.fields_since(&[(writer, seen, upto)]).iter().map(|f| f.as_bytes().to_vec()).collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
            let version: Version = [(writer, seen)].into_iter().collect();
            if let Some(covered) = many.covered_by_writer(&version) {
                let covered: BTreeMap<Dot, Vec<u8>> = covered.map(|(d, f)| (d, f.as_bytes().to_vec())).collect();
                let expected = by_dot.iter().filter(|(dot, _)| dot.counter <= seen);
                prop_assert_eq!(covered, expected.map(|(d, f)| (*d, f.clone())).collect::<BTreeMap<_, _>>());
            }
        }
        let live = flat.iter().any(|(f, s)| f.is_empty() && s.is_live());
        prop_assert_eq!(
            (cells.is_live(), cells.has_live_fields()),
            (live, flat.iter().any(|(f, s)| !f.is_empty() && s.is_live()))
        );
        Ok(())
    }
}
