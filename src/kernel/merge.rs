//! Merging a delta into a state.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use thiserror::Error;

use crate::bugs::{Bug, is};
use crate::escape::Escaped;
use crate::id::{Dot, ReplicaId};
use crate::kernel::cells::{Cell, Cells, Siblings};
use crate::kernel::delta::{Delta, DeltaKind, DeltaWrite, Known, PartRef};
use crate::kernel::dots::DotSet;
use crate::kernel::key::{Entity, Field, Interner, Sibling};
use crate::kernel::state::{State, Touched};
use crate::kernel::visits;
use crate::version::VersionVector;

/// Why a delta was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The delta builds on writes that have not arrived here.
    #[error(
        "a causal gap: the delta builds on writes that are missing here; pull a delta since `have` and merge that first"
    )]
    Gap {
        /// What has been seen here.
        have: VersionVector,
        /// What the delta builds on.
        need: VersionVector,
    },
    /// The peer knows writes under our own id that we never made: this state is an old copy that another continued.
    #[error(
        "the peer has seen {theirs} writes of our own id {replica}, and we made {ours}: this state was restored from a \
         backup or cloned; call `rotate`, then merge again"
    )]
    OwnDots {
        /// The id that we write under.
        replica: ReplicaId,
        /// How many writes we made under it.
        ours: u64,
        /// How many the peer has seen.
        theirs: u64,
    },
    /// The delta belongs to another type.
    #[error("a delta of type `{}` cannot be merged into a `{ours}`", Escaped(.theirs))]
    Schema {
        /// The type of this replica.
        ours: &'static str,
        /// The type that the delta names.
        theirs: String,
    },
}

impl State {
    /// Everything that can be wrong with a well-formed delta, before anything changes.
    pub(crate) fn check(&self, delta: &Delta, own: Option<ReplicaId>) -> Result<(), MergeError> {
        let need = delta.need();
        if !self.version.includes(&need) && !is(Bug::NoGapCheck) {
            return Err(MergeError::Gap { have: self.version.clone(), need });
        }
        if let Some(replica) = own {
            let (ours, theirs) = (self.version.get(replica), delta.upto.get(replica));
            if theirs > ours {
                return Err(MergeError::OwnDots { replica, ours, theirs });
            }
        }
        Ok(())
    }
}

/// A merge under way: one entity a step, so that what is derived from cells can follow without a list of everything.
///
/// The delta has been [checked](State::check): no step can fail.
pub(crate) struct Merging<'a> {
    delta: &'a Delta,
    /// What we had seen before the merge.
    had: VersionVector,
    /// The delta's fields as handles, made as they are met.
    fields: Vec<Option<Field>>,
    next: usize,
    rest: Option<Vec<Rest>>,
    changes: Vec<(Field, Cell)>,
}

/// What is left once all parts are merged: what the delta is silent about.
enum Rest {
    /// An entity that a complete delta does not hold.
    Entity(Entity),
    /// The dots of a cell that a reconciled delta lists as dead, or does not hold; sorted.
    Dots(Entity, Field, Vec<Dot>),
}

impl<'a> Merging<'a> {
    pub(crate) fn new(delta: &'a Delta, state: &mut State) -> Self {
        state.begin_batch(delta.writes.len());
        let fields = vec![None; delta.fields.len()];
        // Of what has been seen here nothing is news, and what a repair has settled since stays as it is.
        let is_news = !state.version.includes(&delta.upto);
        let (next, rest) = if is_news { (0, None) } else { (delta.parts.len(), Some(Vec::new())) };
        Self { delta, had: state.version.clone(), fields, next, rest, changes: Vec::new() }
    }

    /// True if the write had not been seen here before the merge.
    pub(crate) fn is_news(&self, dot: Dot) -> bool {
        !self.had.covers(dot)
    }

    /// Merges the next entity and says what it touched. Returns false once all is done.
    pub(crate) fn step(&mut self, state: &mut State, interner: &mut Interner, touched: &mut Vec<Touched>) -> bool {
        touched.clear();
        if self.next < self.delta.parts.len() {
            let part = self.delta.part(self.next);
            self.next += 1;
            self.merge_part(part, state, interner, touched);
            state.index_batch(self.next == self.delta.parts.len());
            return true;
        }
        state.index_batch(true);
        let delta = self.delta;
        match self.rest.get_or_insert_with(|| rest(delta, state)).pop() {
            Some(Rest::Entity(entity)) => {
                let nothing = PartRef { entity, whole: true, known: &[], writes: &[] };
                self.merge_part(nothing, state, interner, touched);
                true
            }
            Some(Rest::Dots(entity, field, dead)) => {
                visits::count(1);
                touched.extend(state.bury(entity, &field, &dead));
                true
            }
            None => {
                state.version.join(&delta.upto);
                if !is(Bug::PrunedNotInherited) {
                    state.pruned.join(&delta.pruned);
                }
                false
            }
        }
    }

    fn merge_part(
        &mut self,
        part: PartRef<'_>,
        state: &mut State,
        interner: &mut Interner,
        touched: &mut Vec<Touched>,
    ) {
        let mut changes = mem::take(&mut self.changes);
        state.change(part.entity, |ours| {
            self.compare(part, ours.cells(), interner, &mut changes);
            touched.extend(changes.drain(..).map(|(field, cell)| ours.replace(&field, cell)));
        });
        self.changes = changes;
    }

    /// Finds which cells of an entity become what.
    fn compare(&mut self, part: PartRef<'_>, ours: &Cells, interner: &mut Interner, changes: &mut Vec<(Field, Cell)>) {
        let PartRef { mut known, mut writes, .. } = part;
        let (mut last, mut first): (&[u8], bool) = (&[], true);
        loop {
            let next = match (known.first(), writes.first()) {
                (Some(k), Some(w)) => Some(k.field.min(w.field)),
                (k, w) => k.map(|k| k.field).or(w.map(|w| w.field)),
            };
            if part.whole {
                // Our cells between the last field of theirs and the next one.
                let end = next.map(|field| self.delta.fields.get(field));
                self.bury(ours.between(last, first, end), changes);
            }
            let Some(field) = next else { break };
            let known_here = take_while(&mut known, |k| k.field == field);
            let writes_here = take_while(&mut writes, |w| w.field == field);
            let bytes = self.delta.fields.get(field);
            visits::count(1);
            if let Some(cell) = self.merge_cell(ours.siblings(bytes), known_here, writes_here) {
                let handle = self.fields[field as usize].get_or_insert_with(|| interner.intern(bytes));
                changes.push((handle.clone(), cell));
            }
            (last, first) = (bytes, false);
        }
    }

    /// Ours that theirs also hold or have not seen, theirs that we have not seen. `None` if that is what we have.
    fn merge_cell(&self, ours: Siblings<'_>, known: &[Known], writes: &[DeltaWrite]) -> Option<Cell> {
        let delta = self.delta;
        // All three lists are sorted by dot: a cell of thousands of siblings is not searched through for each of them.
        let in_theirs = |dot: Dot| {
            known.binary_search_by_key(&dot, |k| delta.known_dot(k)).is_ok()
                || writes.binary_search_by_key(&dot, |w| delta.write_dot(w)).is_ok()
        };
        let removed = is(Bug::RemovalWins) && writes.iter().any(|write| write.payload.is_none());
        let (mut cell, mut changed) = (Cell::new(), false);
        for sibling in ours.clone() {
            let unseen = !delta.upto.covers(sibling.dot) && !removed;
            match unseen || in_theirs(sibling.dot) || is(Bug::MergeNeverKills) {
                true => cell.push(sibling.clone()),
                false => changed = true,
            }
        }
        for write in writes {
            let dot = delta.write_dot(write);
            if is(Bug::KeepOurs) && cell.iter().any(|s| s.stamp == write.stamp) {
                continue;
            }
            if (!self.had.covers(dot) || is(Bug::Revives)) && !ours.has(dot) {
                cell.push(Sibling { dot, stamp: write.stamp, payload: write.payload.clone() });
                changed = true;
            }
        }
        cell.sort_unstable_by_key(|s| s.dot);
        changed.then_some(cell)
    }

    /// Cells that theirs do not hold: what they have seen is dead.
    fn bury<'s>(&self, ours: impl Iterator<Item = (&'s Field, &'s Sibling)>, changes: &mut Vec<(Field, Cell)>) {
        let mut last: Option<(&Field, Cell, bool)> = None;
        let mut end = |cell: Option<(&Field, Cell, bool)>| {
            changes.extend(cell.filter(|(_, _, buried)| *buried).map(|(field, cell, _)| (field.clone(), cell)));
        };
        for (field, sibling) in ours {
            visits::count(1);
            if last.as_ref().is_none_or(|(f, _, _)| *f != field) {
                end(last.replace((field, Cell::new(), false)));
            }
            if let Some((_, cell, buried)) = &mut last {
                match self.delta.upto.covers(sibling.dot) {
                    true => *buried = true,
                    false => cell.push(sibling.clone()),
                }
            }
        }
        end(last);
    }
}

/// What of ours a delta that says so judges by being silent. Computed once its parts have been merged.
fn rest(delta: &Delta, state: &State) -> Vec<Rest> {
    match &delta.kind {
        DeltaKind::Incremental => Vec::new(),
        DeltaKind::Complete if is(Bug::CompleteSilent) => Vec::new(),
        DeltaKind::Complete => {
            let held = |entity| delta.parts.binary_search_by_key(&entity, |part| part.entity).is_ok();
            state.entities().filter(|(entity, _)| !held(*entity)).map(|(entity, _)| Rest::Entity(entity)).collect()
        }
        DeltaKind::Reconciled { at, dead } => {
            let held: DotSet = delta.dots().collect();
            let (live, tombstones) = (&state.derived.live, &state.derived.tombstones);
            // What we have seen since the delta was cut for us, and the sender had seen then: judged like the rest.
            let later = live.beyond(at, &delta.upto).chain(tombstones.beyond(at, &delta.upto));
            let later = later.filter(|(dot, _)| !held.contains(*dot) && !is(Bug::LateUnjudged));
            let mut cells: BTreeMap<(Entity, Field), BTreeSet<Dot>> = BTreeMap::new();
            for (dot, entity) in live.in_set(dead).chain(later) {
                if let Some(field) = state.cells(entity).and_then(|cells| cells.field_of(dot)) {
                    cells.entry((entity, field.clone())).or_default().insert(dot);
                }
            }
            let rest =
                |((entity, field), dots): (_, BTreeSet<Dot>)| Rest::Dots(entity, field, dots.into_iter().collect());
            cells.into_iter().map(rest).collect()
        }
    }
}

fn take_while<'a, T>(slice: &mut &'a [T], belongs: impl Fn(&T) -> bool) -> &'a [T] {
    let (head, tail) = slice.split_at(slice.iter().take_while(|item| belongs(item)).count());
    *slice = tail;
    head
}
