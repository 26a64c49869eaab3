//! The state: cells, and everything that is kept up with them.

use std::fmt;

use im::OrdSet;

use crate::bugs::{Bug, is};
use crate::id::Dot;
use crate::kernel::cell::{Cell, Change};
use crate::kernel::cells::Cells;
use crate::kernel::dots::DotSet;
use crate::kernel::entities::{Entities, Opening};
use crate::kernel::fingerprint::Fingerprint;
use crate::kernel::index::DotIndex;
use crate::kernel::key::{Entity, Field, FieldRef, Payload, Sibling, SiblingRef};
use crate::version::Version;

/// All cells of a replica. Persistent: cloning is O(1), and a clone is a snapshot that stays as it is.
///
/// Reading is all that can be done with one from outside; it changes through [`Edit`](crate::kernel::Edit) and by
/// merging alone. As large as what is alive, plus the tombstones that have not been pruned, plus some 60 bytes for each opening that ever wrote.
#[derive(Clone)]
pub struct State {
    pub(crate) version: Version,
    /// The dots of all tombstones that were pruned here or by whom we merged from, with their paths. Within `version`.
    pub(crate) pruned: Version,
    /// No entity is without cells.
    pub(super) entities: Entities,
    pub(crate) derived: Derived,
}

/// A state that is empty.
impl Default for State {
    fn default() -> Self {
        let (version, entities, derived) = (Version::whole(), Entities::default(), Derived::default());
        Self { pruned: version.clone(), version, entities, derived }
    }
}

/// What follows from the cells.
#[derive(Clone, Default)]
pub(crate) struct Derived {
    pub(crate) live: DotIndex,
    pub(crate) tombstones: DotIndex,
    /// The cells whose live siblings differ.
    contested: OrdSet<(Entity, Field)>,
    fingerprint: Fingerprint,
    /// During a merge, the dots that are not in the indexes yet: see [`State::begin_batch`].
    batch: Option<Vec<Waiting>>,
}

/// Dots of one writer that follow each other, all in one entity, which wait to be indexed.
#[derive(Clone, Copy)]
struct Waiting {
    first: Dot,
    len: u64,
    entity: Entity,
    is_live: bool,
}

/// The number of runs of dots of a merge that wait to be indexed: enough to have long stretches in order. They take 260 KB.
const BATCH: usize = 4096;

impl Derived {
    fn index(&mut self, dot: Dot, entity: Entity, is_live: bool) {
        match is_live {
            true => self.live.insert(dot, entity),
            false => self.tombstones.insert(dot, entity),
        }
    }

    fn flush(&mut self, batch: &mut Vec<Waiting>) {
        batch.sort_unstable_by_key(|waiting| waiting.first);
        for Waiting { first, len, entity, is_live } in batch.drain(..) {
            let dots = (0..len).map(|i| Dot { counter: first.counter + i, ..first });
            dots.for_each(|dot| self.index(dot, entity, is_live));
        }
    }

    fn wait(batch: &mut Vec<Waiting>, dot: Dot, entity: Entity, is_live: bool) {
        match batch.last_mut() {
            Some(Waiting { first, len, entity: of, is_live: live })
                if (*of, *live, first.writer) == (entity, is_live, dot.writer)
                    && first.counter.checked_add(*len) == Some(dot.counter) =>
            {
                *len += 1;
            }
            _ => batch.push(Waiting { first: dot, len: 1, entity, is_live }),
        }
    }

    /// Follows the change of one cell. O(changed siblings · log n).
    fn follow(&mut self, entity: Entity, field: &Field, was: &Cell, now: &Cell) -> Option<Contest> {
        Cell::changes(was, now, |change| match change {
            Change::Gone(sibling) => {
                match sibling.is_live() {
                    true if is(Bug::LiveKept) => {}
                    true => self.live.remove(sibling.dot),
                    false if is(Bug::TombstoneKept) => {}
                    false => self.tombstones.remove(sibling.dot),
                }
                if !is(Bug::FingerprintKept) {
                    self.fingerprint.subtract(entity, field, sibling);
                }
            }
            Change::Come(sibling) => {
                match &mut self.batch {
                    Some(batch) => Self::wait(batch, sibling.dot, entity, sibling.is_live()),
                    None => self.index(sibling.dot, entity, sibling.is_live()),
                }
                self.fingerprint.add(entity, field, sibling);
            }
        });
        let contest = Contest::between(was, now);
        match contest {
            Some(Contest::Opened) => drop(self.contested.insert((entity, field.clone()))),
            Some(Contest::Closed) if is(Bug::ContestKept) => {}
            Some(Contest::Closed) => drop(self.contested.remove(&(entity, field.clone()))),
            None => {}
        }
        contest
    }
}

/// One entity, open for change.
pub(crate) struct Changing<'a> {
    entity: Entity,
    opening: Opening<'a>,
    derived: &'a mut Derived,
    /// For whoever mints the dot of the change.
    pub(crate) version: &'a mut Version,
}

impl Changing<'_> {
    pub(crate) fn cells(&self) -> Cells<'_> {
        Cells::of_open(self.opening.cells)
    }

    /// Puts exactly `next` into a cell. The one place where cells change: what is derived from them
    /// (indexes, fingerprint, contests) changes here with them.
    pub(crate) fn replace(&mut self, field: &Field, next: Cell) -> Touched {
        let entity = self.entity;
        let now = next.clone();
        let was = self.opening.cells.replace(field, next);
        *self.opening.is_changed = true;
        let contest = self.derived.follow(entity, field, &was, &now);
        Touched::new(entity, field.clone(), self.cells().is_live(), contest, was, now)
    }
}

/// One cell that differs from before: changed by a write or a merge, for what is derived from cells to follow, or found by
/// comparing two states.
#[derive(Clone, Debug)]
pub struct Touched {
    /// The entity of the cell.
    pub entity: Entity,
    /// The field of the cell.
    pub field: Field,
    /// Whether the entity's root is live now.
    pub is_live: bool,
    /// Whether the change opened or closed a contest: live siblings that differ.
    pub contest: Option<Contest>,
    /// Whether the writer has seen that nothing else in the entity bears on this cell.
    pub(crate) is_alone: bool,
    was: Cell,
    now: Cell,
}

/// What a cell held before a change: putting it back undoes the change.
#[derive(Debug)]
pub(crate) struct Before {
    pub(super) entity: Entity,
    pub(super) field: Field,
    pub(super) was: Cell,
}

/// What a change did to the question whether a cell's live siblings differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contest {
    /// They differ now and did not before.
    Opened,
    /// They differed and do no longer.
    Closed,
}

impl Touched {
    pub(super) fn new(
        entity: Entity,
        field: Field,
        is_live: bool,
        contest: Option<Contest>,
        was: Cell,
        now: Cell,
    ) -> Self {
        Self { entity, field, is_live, contest, is_alone: false, was, now }
    }

    /// The siblings that the cell held before, tombstones among them, in the order of their dots. O(1); for a cell of more
    /// than some dozens of siblings O(siblings), the first time.
    pub fn was(&self) -> &[Sibling] {
        self.was.as_slice()
    }

    /// The siblings that the cell holds now, tombstones among them. Costs what [`was`](Self::was) costs.
    pub fn now(&self) -> &[Sibling] {
        self.now.as_slice()
    }

    /// What the cell held before, for whatever need not look at every sibling of a crowd.
    pub(crate) fn cell_was(&self) -> &Cell {
        &self.was
    }

    /// What the cell holds now, for whatever need not look at every sibling of a crowd.
    pub(crate) fn cell_now(&self) -> &Cell {
        &self.now
    }

    /// True if the payload of the greatest [precedence](Sibling::precedence) is another than before. O(log siblings).
    pub fn shows_another(&self) -> bool {
        fn shown(cell: &Cell) -> Option<&Payload> {
            cell.latest().and_then(|sibling| sibling.payload.as_ref())
        }
        shown(&self.was) != shown(&self.now)
    }

    /// True if the payloads of the live siblings are others than before. O(changed siblings · log siblings).
    pub(crate) fn has_other_payloads(&self) -> bool {
        !self.was.reads_like(&self.now)
    }

    pub(crate) fn into_before(self) -> Before {
        Before { entity: self.entity, field: self.field, was: self.was }
    }

    /// True if the cell held a live sibling before. O(1).
    pub fn was_live(&self) -> bool {
        self.was.is_live()
    }

    /// True if the cell holds a live sibling now. O(1).
    pub fn is_now_live(&self) -> bool {
        self.now.is_live()
    }
}

impl State {
    /// Everything that this state has seen.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The join of all pruned tombstones: a peer whose version does not include it has to reconcile.
    pub fn pruned(&self) -> &Version {
        &self.pruned
    }

    /// The fingerprint of the live siblings. O(1).
    pub fn fingerprint(&self) -> Fingerprint {
        self.derived.fingerprint
    }

    /// The cells of an entity. O(log n).
    pub fn cells(&self, entity: Entity) -> Option<Cells<'_>> {
        self.entities.get(entity)
    }

    /// All entities with their cells, dead ones whose tombstones are still held among them.
    pub fn entities(&self) -> impl Iterator<Item = (Entity, Cells<'_>)> {
        self.entities.iter()
    }

    /// The entities of one kind with their cells.
    pub fn entities_of(&self, kind: u8) -> impl Iterator<Item = (Entity, Cells<'_>)> {
        self.entities.range(Entity::new(kind, [0; 16])..=Entity::new(kind, [0xff; 16]))
    }

    /// The cells whose live siblings differ. O(1) each.
    pub fn contested(&self) -> impl Iterator<Item = (Entity, &Field)> + '_ {
        self.derived.contested.iter().map(|(entity, field)| (*entity, field))
    }

    /// The cells of one entity whose live siblings differ and whose fields begin with these bytes. O(1) each.
    pub(crate) fn contested_in<'a, P: AsRef<[u8]>>(
        &'a self,
        entity: Entity,
        prefix: P,
    ) -> impl Iterator<Item = &'a Field> + use<'a, P> {
        let from = self.derived.contested.range((entity, Field::new(prefix.as_ref()))..);
        let of_entity = from.take_while(move |(e, _)| *e == entity).map(|(_, field)| field);
        of_entity.take_while(move |field| field.as_bytes().starts_with(prefix.as_ref()))
    }

    /// The field of a cell, if its live siblings differ.
    pub(crate) fn contested_at(&self, entity: Entity, field: &[u8]) -> Option<&Field> {
        self.contested_in(entity, field).next().filter(|found| found.as_bytes() == field)
    }

    /// The number of live siblings. O(1).
    pub fn live_len(&self) -> usize {
        self.derived.live.len()
    }

    /// The number of tombstones held. O(1).
    pub fn tombstones_len(&self) -> usize {
        self.derived.tombstones.len()
    }

    /// The dots of all live siblings. O(dots / 64).
    pub fn live_dots(&self) -> DotSet {
        self.derived.live.to_set()
    }

    /// Every live sibling with its address: all that reads, conflicts and fingerprints depend on.
    pub fn live_siblings(&self) -> impl Iterator<Item = (Entity, FieldRef<'_>, SiblingRef<'_>)> {
        self.entities()
            .flat_map(|(entity, cells)| cells.iter().map(move |(field, sibling)| (entity, field, sibling)))
            .filter(|(_, _, sibling)| sibling.is_live())
    }

    /// Begins to keep new dots back, to index them in order: a delta holds them by entity, and the index lies by dot.
    pub(crate) fn begin_batch(&mut self, expected: usize) {
        self.derived.batch = Some(Vec::with_capacity(expected.min(BATCH)));
    }

    /// Indexes the dots kept back, if there are many or the batch ends with it.
    pub(crate) fn index_batch(&mut self, ends: bool) {
        let full = |batch: &mut Vec<_>| ends || batch.len() >= BATCH;
        if let Some(mut batch) = self.derived.batch.take_if(full) {
            self.derived.flush(&mut batch);
            self.derived.batch = (!ends).then_some(batch);
        }
    }

    /// Opens one entity for change, new or old. O(log n), however many of its cells change; O(1) if it was the last that was
    /// opened.
    pub(crate) fn change<R>(&mut self, entity: Entity, change: impl FnOnce(&mut Changing<'_>) -> R) -> R {
        let Self { version, entities, derived, .. } = self;
        change(&mut Changing { entity, opening: entities.change(entity), derived, version })
    }

    /// Packs the entity that was opened last. Without it all reads the same, but takes more memory.
    pub(crate) fn close(&mut self) {
        self.entities.finish();
    }

    /// Changes one cell: see [`Changing::replace`].
    pub(crate) fn replace(&mut self, entity: Entity, field: &Field, next: Cell) -> Touched {
        self.change(entity, |changing| changing.replace(field, next))
    }

    /// Undoes one change, the last that was not undone.
    pub(crate) fn undo(&mut self, before: Before) -> Touched {
        self.replace(before.entity, &before.field, before.was)
    }

    /// Takes the siblings with these dots out of a cell. O(dots · log n) for a cell of many siblings.
    pub(crate) fn bury(&mut self, entity: Entity, field: &Field, dead: &[Dot]) -> Option<Touched> {
        let mut rest = self.cells(entity)?.cell(field.as_bytes());
        dead.iter().for_each(|dot| rest.remove(*dot));
        Some(self.replace(entity, field, rest))
    }

    /// Takes one sibling out of the cell that holds it.
    pub(crate) fn drop_dot(&mut self, dot: Dot) -> Option<Touched> {
        let entity = self.derived.live.get(dot).or_else(|| self.derived.tombstones.get(dot))?;
        let field = self.cells(entity)?.field_of(dot)?.to_field();
        self.bury(entity, &field, &[dot])
    }
}

/// Equal versions and equal live siblings; which tombstones were pruned makes no difference. O(n).
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
            && self.fingerprint() == other.fingerprint()
            && self.live_len() == other.live_len()
            && self.live_siblings().eq(other.live_siblings())
    }
}

impl Eq for State {}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("version", &self.version)
            .field("pruned", &self.pruned)
            .field("live", &self.live_len())
            .field("tombstones", &self.tombstones_len())
            .field("fingerprint", &self.fingerprint())
            .finish()
    }
}

#[cfg(feature = "testing")]
impl State {
    /// Recomputes everything that is kept up with the cells and compares: for tests.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.entities.check()?;
        let (mut live, mut tombstones, mut fingerprint) = (Vec::new(), Vec::new(), Fingerprint::default());
        let mut contested = Vec::new();
        for (entity, cells) in self.entities() {
            if cells.is_empty() {
                return Err(format!("{entity:?} is kept without cells"));
            }
            for (field, sibling) in cells.iter() {
                if !self.version.covers(sibling.dot) || sibling.dot.counter == 0 {
                    return Err(format!("{:?} is held and not covered", sibling.dot));
                }
                let list = if sibling.is_live() { &mut live } else { &mut tombstones };
                list.push((sibling.dot, entity));
                fingerprint.add(entity, &field, &sibling.to_sibling());
                if contested.last() != Some(&(entity, field.to_field())) && cells.cell(field.as_bytes()).is_contested()
                {
                    contested.push((entity, field.to_field()));
                }
            }
        }
        live.sort();
        tombstones.sort();
        let all: std::collections::BTreeSet<_> = live.iter().chain(&tombstones).map(|(dot, _)| *dot).collect();
        let checks = [
            ("one dot in two cells", all.len() == live.len() + tombstones.len()),
            ("live index", self.derived.live.iter().eq(live.iter().copied()) && self.derived.live.len() == live.len()),
            (
                "tombstone index",
                self.derived.tombstones.iter().eq(tombstones.iter().copied())
                    && self.derived.tombstones.len() == tombstones.len(),
            ),
            ("fingerprint", self.fingerprint() == fingerprint),
            ("contested cells", self.derived.contested.iter().eq(contested.iter())),
            ("pruned within version", self.version.includes(&self.pruned)),
        ];
        match checks.iter().find(|(_, holds)| !holds) {
            Some((what, _)) => Err(format!("{what} does not follow from the cells")),
            None => Ok(()),
        }
    }
}
