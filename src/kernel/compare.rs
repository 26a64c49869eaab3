//! Where two states differ, and the way back.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::EditError;
use crate::kernel::cell::{Cell, Change};
use crate::kernel::cells::{Cells, Repr};
use crate::kernel::edit::{Crdt, Edit};
use crate::kernel::key::{Entity, Field, FieldRef, Payload, Sibling, SiblingRef};
use crate::kernel::many::Many;
use crate::kernel::state::{Before, Contest, State, Touched};
use crate::kernel::visits;

impl State {
    /// Every cell whose live siblings are others in `now` than here, with its live siblings in both, by entity and field.
    ///
    /// O(differences · log n) for states that share memory, as snapshots of one replica do; O(n) for others.
    pub(crate) fn differences(&self, now: &Self) -> Vec<Touched> {
        let mut found = Vec::new();
        self.for_differing(now, |entity, then, now| found.extend(entity_differences(entity, then, now)));
        found
    }

    /// The entities with such cells.
    pub(crate) fn differing_entities(&self, now: &Self) -> Vec<Entity> {
        let mut found = Vec::new();
        self.for_differing(now, |entity, then, now| {
            let mut differs = false;
            compare(then, now, |_, _, _| differs = true);
            found.extend(differs.then_some(entity));
        });
        found
    }

    fn for_differing(&self, now: &Self, mut each: impl FnMut(Entity, Option<Cells<'_>>, Option<Cells<'_>>)) {
        // Equal versions mean equal live state; the fingerprint says so where a disk has lied.
        if self.version == now.version && self.fingerprint() == now.fingerprint() {
            return;
        }
        for entity in self.entities.unshared(&now.entities) {
            let (then, now) = (self.cells(entity), now.cells(entity));
            if then != now {
                each(entity, then, now);
            }
        }
    }
}

/// The cells of one entity whose live siblings differ, by field.
pub(crate) fn entity_differences(entity: Entity, then: Option<Cells<'_>>, now: Option<Cells<'_>>) -> Vec<Touched> {
    let mut found = Vec::new();
    let is_live = now.is_some_and(Cells::is_live);
    compare(then, now, |field, was, now| {
        let contest = Contest::between(&was, &now);
        found.push(Touched::new(entity, field.clone(), is_live, contest, was, now));
    });
    found
}

fn compare(then: Option<Cells<'_>>, now: Option<Cells<'_>>, mut differs: impl FnMut(&Field, Cell, Cell)) {
    let mut cell = |field: &Field, was: Cell, now: Cell| {
        visits::count(1);
        if was != now {
            differs(field, was, now);
        }
    };
    if let (Some(Cells(Repr::Many(then))), Some(Cells(Repr::Many(now)))) = (then, now) {
        let live = |many: &Many, field: &Field| {
            many.find(field.as_bytes()).map(|found| found.to_cell().without_tombstones()).unwrap_or_default()
        };
        then.unshared(now).iter().for_each(|field| cell(field, live(then, field), live(now, field)));
        return;
    }
    let live = |cells: Option<_>| {
        cells.into_iter().flat_map(|cells: Cells<'_>| cells.iter()).filter(|(_, sibling)| sibling.is_live())
    };
    let (mut then, mut now) = (live(then).peekable(), live(now).peekable());
    loop {
        let order = match (then.peek(), now.peek()) {
            (Some((was, _)), Some((is, _))) => was.cmp(is),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        let (was, is) = (order.is_le().then(|| run(&mut then)), order.is_ge().then(|| run(&mut now)));
        let field = was.as_ref().or(is.as_ref()).map(|(field, _)| field.clone());
        if let Some(field) = field {
            cell(&field, was.map(|(_, cell)| cell).unwrap_or_default(), is.map(|(_, cell)| cell).unwrap_or_default());
        }
    }
}

/// The next cell.
fn run<'a>(siblings: &mut Peekable<impl Iterator<Item = (FieldRef<'a>, SiblingRef<'a>)>>) -> (FieldRef<'a>, Cell) {
    let first = siblings.peek().map_or((&Field::ROOT).into(), |(field, _)| field.clone());
    let rest = std::iter::from_fn(|| siblings.next_if(|(field, _)| *field == first));
    let cell = rest.map(|(_, sibling)| sibling.to_sibling()).collect();
    (first, cell)
}

/// Equal if they hold the same siblings, tombstones included. O(1) where they share memory.
impl PartialEq for Cells<'_> {
    fn eq(&self, other: &Self) -> bool {
        visits::count(1);
        match (&self.0, &other.0) {
            (Repr::Many(ours), Repr::Many(theirs)) => Arc::ptr_eq(ours, theirs) || ours.is_like(theirs),
            _ => self.iter().eq(other.iter()),
        }
    }
}

impl Eq for Cells<'_> {}

impl Contest {
    pub(super) fn between(was: &Cell, now: &Cell) -> Option<Self> {
        match (was.is_contested(), now.is_contested()) {
            (false, true) => Some(Self::Opened),
            (true, false) => Some(Self::Closed),
            _ => None,
        }
    }
}

impl Before {
    pub(crate) fn cell(&self) -> (Entity, &Field) {
        (self.entity, &self.field)
    }

    /// What has changed since then.
    pub(crate) fn until(&self, state: &State) -> Touched {
        let cells = state.cells(self.entity);
        let now = cells.map(|cells| cells.cell(self.field.as_bytes())).unwrap_or_default();
        let contest = Contest::between(&self.was, &now);
        let is_live = cells.is_some_and(Cells::is_live);
        Touched::new(self.entity, self.field.clone(), is_live, contest, self.was.clone(), now)
    }
}

impl Touched {
    /// The same cell with what it holds in a state instead of what it held after the change.
    pub(crate) fn until(&self, state: &State) -> Self {
        self.compared_with(state, self.cell_was().clone())
    }

    /// The same cell from what it held after the change to what it holds in a state.
    pub(crate) fn since(&self, state: &State) -> Self {
        self.compared_with(state, self.cell_now().clone())
    }

    fn compared_with(&self, state: &State, was: Cell) -> Self {
        let cells = state.cells(self.entity);
        let now = cells.map(|cells| cells.cell(self.field.as_bytes()).without_tombstones()).unwrap_or_default();
        let contest = Contest::between(&was, &now);
        Self::new(self.entity, self.field.clone(), cells.is_some_and(Cells::is_live), contest, was, now)
    }

    /// True if the distinct values of the cell are those of before.
    pub(crate) fn has_same_values(&self) -> bool {
        values(self.was()) == values(self.now())
    }

    /// True if the live siblings are others than before: a tombstone for a tombstone is nothing to a reader.
    pub(crate) fn is_visible(&self) -> bool {
        let mut visible = false;
        Cell::changes(self.cell_was(), self.cell_now(), |change| {
            let (Change::Gone(sibling) | Change::Come(sibling)) = change;
            visible |= sibling.is_live();
        });
        visible
    }

    /// The siblings that the cell holds now and did not hold just so before. O(changed siblings · log siblings).
    pub(crate) fn come(&self) -> impl Iterator<Item = &Sibling> {
        let mut come = SmallVec::<[&Sibling; 4]>::new();
        Cell::changes(self.cell_was(), self.cell_now(), |change| match change {
            Change::Come(sibling) => come.push(sibling),
            Change::Gone(_) => {}
        });
        come.into_iter()
    }
}

/// The distinct payloads of the live siblings, in order.
fn values(siblings: &[Sibling]) -> Vec<&Payload> {
    let mut values: Vec<_> = siblings.iter().filter_map(|sibling| sibling.payload.as_ref()).collect();
    values.sort_unstable();
    values.dedup();
    values
}

impl<T: Crdt> Edit<'_, T> {
    /// Makes a cell hold what it [was](Touched::was): for [`Crdt::revert`]. Only one value can be written; of several
    /// concurrent ones it is that of the greatest [precedence](Sibling::precedence).
    ///
    /// Writes nothing if the distinct live values are the same as then and the same one shows, or if that one is all that
    /// there is.
    /// Returns whether it wrote.
    pub fn put_back(&mut self, cell: &Touched) -> Result<bool, EditError> {
        self.put_back_by(cell, Sibling::precedence)
    }

    /// Like [`put_back`](Self::put_back) in a type with another reading rule: of several concurrent values the one with
    /// the greatest key is written.
    pub fn put_back_by<K: Ord>(&mut self, cell: &Touched, key: impl Fn(&Sibling) -> K) -> Result<bool, EditError> {
        let shown = |siblings| shown(siblings, &key);
        let (was, now) = (values(cell.was()), values(cell.now()));
        match shown(cell.was()) {
            // The same conflict may show another of its values.
            shown_then if was == now && shown_then == shown(cell.now()) => Ok(false),
            Some(shown_then) if now == [shown_then] => Ok(false),
            Some(shown_then) => self.write(cell.entity, cell.field.as_bytes(), shown_then.clone()).map(|_| true),
            None => self.erase(cell.entity, cell.field.as_bytes()),
        }
    }
}

fn shown<K: Ord>(siblings: &[Sibling], key: impl Fn(&Sibling) -> K) -> Option<&Payload> {
    let live = siblings.iter().filter(|sibling| sibling.is_live());
    live.max_by_key(|sibling| key(sibling)).and_then(|sibling| sibling.payload.as_ref())
}
