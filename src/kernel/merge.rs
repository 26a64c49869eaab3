//! Merging a delta into a state.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem;

use thiserror::Error;

use crate::bugs::{Bug, is};
use crate::error::Refused;
use crate::escape::Escaped;
use crate::id::{Dot, WriterId};
use crate::kernel::cell::Cell;
use crate::kernel::cells::Cells;
use crate::kernel::delta::{Delta, DeltaKind, DeltaWrite, Known, PartRef};
use crate::kernel::dots::DotSet;
use crate::kernel::doubled::{Doubled, Dropped, Moves};
use crate::kernel::key::{Entity, Field, FieldRef, Interner, Sibling, SiblingRef};
use crate::kernel::state::{State, Touched};
use crate::kernel::visits;
use crate::version::{Birth, LineageError, Version};

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
        have: Version,
        /// What the delta builds on.
        need: Version,
    },
    /// The delta says that a writer began otherwise than is known here. A birth never changes, so the sender is faulty.
    #[error(
        "the delta says that writer {writer} began otherwise than is known here; its sender is faulty or hostile: do not \
         merge from it"
    )]
    TwoBirths {
        /// The writer.
        writer: WriterId,
    },
    /// The delta contradicts itself or what is known here. No replica makes such a one.
    #[error("the delta makes no sense: {0}; its sender is faulty or hostile: do not merge from it")]
    Invalid(&'static str),
    /// The delta belongs to another type.
    #[error("a delta of type `{}` cannot be merged into a `{ours}`", Escaped(.theirs))]
    Schema {
        /// The type of this replica.
        ours: &'static str,
        /// The type that the delta names.
        theirs: String,
    },
    /// The store or the gate around the replica refused the delta.
    #[error("the delta was refused before it was merged: {0}")]
    Refused(#[source] Refused),
}

/// The versions of a delta by the receiver's table, which has learnt what the delta says of writers. Nothing else has
/// changed yet.
pub(crate) struct Checked {
    since: Version,
    pub(crate) upto: Version,
    pruned: Version,
}

impl State {
    /// Everything that can be wrong with a well-formed delta, before anything changes. O(|delta| + lines).
    pub(crate) fn check(&self, delta: &Delta) -> Result<Checked, MergeError> {
        let need = delta.need();
        let has_all = self.version.includes(&need) && self.version.includes(&delta.since);
        if !has_all && !is(Bug::NoGapCheck) {
            return Err(MergeError::Gap { have: self.version.bare(), need });
        }
        let table = self.version.learn(&delta.births, delta.upto.heads()).map_err(|error| match error {
            LineageError::TwoBirths(writer) => MergeError::TwoBirths { writer },
            LineageError::Unknown(_) => MergeError::Invalid("it names a writer without its birth"),
            LineageError::Impossible(_) => MergeError::Invalid("a counter that its writer cannot have reached"),
        })?;
        let resolve = |version: &Version, what| table.resolve(version).ok_or(MergeError::Invalid(what));
        let upto = resolve(&delta.upto, "it names a writer without its birth")?;
        let since = resolve(&delta.since, "it begins after it ends")?;
        let pruned = resolve(&delta.pruned, "a pruned version beyond what was seen")?;
        let unless = |holds: bool, what| if holds { Ok(()) } else { Err(MergeError::Invalid(what)) };
        unless(upto.includes(&since), "it begins after it ends")?;
        unless(upto.includes(&pruned), "a pruned version beyond what was seen")?;
        unless(
            upto.writes_since(&since) == delta.news || is(Bug::OverClaim),
            "another number of writes than its versions tell",
        )?;
        // Nothing enters the table that no write needs: a peer cannot fill it.
        let needed = |birth: &Birth| upto.get(birth.writer) > 0;
        unless(delta.births.iter().all(needed), "the birth of a writer that wrote nothing")?;
        unless(
            !matches!(delta.kind, DeltaKind::Complete) || since.is_empty(),
            "a complete delta that builds on something",
        )?;
        let bounds = |writer: &WriterId| (upto.begins_after(*writer), since.get(*writer), upto.get(*writer));
        let bounds: Vec<_> = delta.writers.iter().map(bounds).collect();
        let known = |known: &Known| {
            let (after, _, upto) = bounds[known.writer as usize];
            after < known.counter && known.counter <= upto
        };
        unless(delta.known.iter().all(known), "a sibling without its content")?;
        let write = |write: &DeltaWrite| {
            let (after, seen, upto) = bounds[write.writer as usize];
            after.max(seen) < write.counter && write.counter <= upto
        };
        unless(delta.writes.iter().all(write) || is(Bug::OverClaim), "a sibling that it cannot hold")?;
        if let DeltaKind::Reconciled { dead, .. } = &delta.kind {
            unless(dead.iter().all(|dot| since.covers(dot)), "a dead dot that it does not build on")?;
        }
        Ok(Checked { since, upto, pruned })
    }
}

/// A merge under way: one entity a step, so that what is derived from cells can follow without a list of everything.
///
/// The delta has been [checked](State::check): no step can fail.
pub(crate) struct Merging<'a> {
    delta: &'a Delta,
    versions: Checked,
    /// For each writer of the delta the last counter that we had seen before the merge.
    had: Vec<u64>,
    /// The delta's fields as handles, made as they are met.
    fields: Vec<Option<Field>>,
    /// Dots that we hold with another content than the delta: what it says of them is settled first.
    doubled: HashSet<Dot>,
    moves: Moves,
    dropped: Vec<Dropped>,
    next: usize,
    rest: Option<Vec<Rest>>,
    rescues: Option<Moves>,
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
    pub(crate) fn new(delta: &'a Delta, versions: Checked, state: &mut State, interner: &mut Interner) -> Self {
        let fields = vec![None; delta.fields.len()];
        // Already covered: skip it, or the merge could undo a later repair.
        let is_news = !state.version.includes(&versions.upto);
        let (next, rest) = if is_news { (0, None) } else { (delta.parts.len(), Some(Vec::new())) };
        let had: Vec<u64> = delta.writers.iter().map(|writer| state.version.get(*writer)).collect();
        let Doubled { dots, moves, dropped } = Doubled::find(state, delta, &had, interner);
        let (moves, rescues, changes) = (Moves::new(moves), None, Vec::new());
        Self { delta, versions, had, fields, doubled: dots, moves, dropped, next, rest, rescues, changes }
    }

    /// The dots that two processes wrote.
    pub(crate) fn doubled(&self) -> &HashSet<Dot> {
        &self.doubled
    }

    /// The contents that lost their dots.
    pub(crate) fn finish(self) -> Vec<Dropped> {
        self.dropped
    }

    /// True if the write had not been seen here before the merge.
    pub(crate) fn is_news(&self, dot: Dot) -> bool {
        let place = self.delta.writers.binary_search(&dot.writer);
        place.is_ok_and(|place| self.had[place] < dot.counter)
    }

    /// Merges the next entity and says what it touched. Returns false once all is done.
    pub(crate) fn step(&mut self, state: &mut State, interner: &mut Interner, touched: &mut Vec<Touched>) -> bool {
        touched.clear();
        if self.moves.step(state, touched) {
            return true;
        }
        if self.next < self.delta.parts.len() {
            if self.next == 0 {
                state.begin_batch(self.delta.writes.len());
            }
            let part = self.delta.part(self.next);
            self.next += 1;
            self.merge_part(part, state, interner, touched);
            state.index_batch(self.next == self.delta.parts.len());
            return true;
        }
        state.index_batch(true);
        let delta = self.delta;
        if self.rescues.is_some() {
            return self.rescue(state, touched);
        }
        match self.rest.get_or_insert_with(|| rest(delta, &self.versions, &self.doubled, state)).pop() {
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
                state.version.adopt(&self.versions.upto);
                state.version.join(&self.versions.upto);
                if !is(Bug::PrunedNotInherited) {
                    state.pruned.adopt(&self.versions.upto);
                    state.pruned.join(&self.versions.pruned);
                }
                self.rescue(state, touched)
            }
        }
    }

    fn rescue(&mut self, state: &mut State, touched: &mut Vec<Touched>) -> bool {
        if self.rescues.is_none() {
            self.rescues = Some(state.rescue(&mut self.dropped));
            if !self.doubled.is_empty() {
                state.pruned.adopt(&state.version);
                state.pruned.observe_all(self.doubled.iter().copied());
            }
        }
        self.rescues.as_mut().is_some_and(|rescues| rescues.step(state, touched))
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
    fn compare(
        &mut self,
        part: PartRef<'_>,
        ours: Cells<'_>,
        interner: &mut Interner,
        changes: &mut Vec<(Field, Cell)>,
    ) {
        if ours.is_empty() {
            return self.take_all(part.writes, interner, changes);
        }
        let PartRef { mut known, mut writes, .. } = part;
        let buried = if part.whole { self.buried_by_writer(part, ours) } else { None };
        let by_pass = part.whole && buried.is_none();
        let (mut last, mut first): (&[u8], bool) = (&[], true);
        loop {
            let next = match (known.first(), writes.first()) {
                (Some(k), Some(w)) => Some(k.field.min(w.field)),
                (k, w) => k.map(|k| k.field).or(w.map(|w| w.field)),
            };
            if by_pass {
                // Our cells between the last field of theirs and the next one.
                let end = next.map(|field| self.delta.fields.get(field));
                self.bury(ours.between(last, first, end), changes);
            }
            let Some(field) = next else { break };
            let known_here = take_while(&mut known, |k| k.field == field);
            let writes_here = take_while(&mut writes, |w| w.field == field);
            let bytes = self.delta.fields.get(field);
            visits::count(1);
            if let Some(cell) = self.merge_cell(ours, bytes, known_here, writes_here) {
                changes.push((self.field(field, interner), cell));
            }
            (last, first) = (bytes, false);
        }
        if let Some(buried) = buried.filter(|buried| !buried.is_empty()) {
            changes.extend(buried);
            changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
    }

    /// Finds what the cells of an entity become of which we hold nothing: all siblings that we have not seen.
    fn take_all(&mut self, mut writes: &[DeltaWrite], interner: &mut Interner, changes: &mut Vec<(Field, Cell)>) {
        while let Some(field) = writes.first().map(|write| write.field) {
            visits::count(1);
            let of_field = take_while(&mut writes, |write| write.field == field).iter();
            let news = of_field.filter(|write| self.had[write.writer as usize] < write.counter || is(Bug::Revives));
            let cell: Cell = news.map(|write| self.sibling(write)).collect();
            if !cell.is_empty() {
                changes.push((self.field(field, interner), cell));
            }
        }
    }

    /// A field of the delta as a handle.
    fn field(&mut self, field: u32, interner: &mut Interner) -> Field {
        self.fields[field as usize].get_or_insert_with(|| interner.intern(self.delta.fields.get(field))).clone()
    }

    fn sibling(&self, write: &DeltaWrite) -> Sibling {
        Sibling { dot: self.delta.write_dot(write), stamp: write.stamp, payload: write.payload.clone() }
    }

    /// Does what [`bury`](Self::bury) does for all cells that a whole entity of the delta leaves out, by the dots of the
    /// writers that the delta has seen; `None` where going over the entity is faster. So the writes of *n* devices that add
    /// one large node are merged one by one without a walk of the node for each.
    fn buried_by_writer(&self, part: PartRef<'_>, ours: Cells<'_>) -> Option<Vec<(Field, Cell)>> {
        let field = |field: u32| self.delta.fields.get(field);
        let is_told = |of: &Field| {
            part.known.binary_search_by(|k| field(k.field).cmp(of.as_bytes())).is_ok()
                || part.writes.binary_search_by(|w| field(w.field).cmp(of.as_bytes())).is_ok()
        };
        let mut cells = BTreeMap::new();
        for (dot, of) in ours.covered_by_writer(&self.versions.upto)?.filter(|(_, of)| !is_told(of)) {
            visits::count(1);
            cells.entry(of.clone()).or_insert_with(|| ours.cell(of.as_bytes())).remove(dot);
        }
        Some(cells.into_iter().map(|(field, cell)| (field.to_field(), cell)).collect())
    }

    /// Finds what a cell becomes: our siblings that the delta holds or its sender has not seen, and the delta's siblings
    /// that we have not seen. `None` if that is what we have.
    ///
    /// O(siblings in the delta · log siblings), and as much for each of our siblings that the sender has seen; to find these
    /// see [`Cells::covered`].
    fn merge_cell(&self, ours: Cells<'_>, field: &[u8], known: &[Known], writes: &[DeltaWrite]) -> Option<Cell> {
        let delta = self.delta;
        // Two deltas that were joined may name a stale tombstone that the first one's sender had seen and held no more: beyond
        // `since` and without content, it is dead.
        let in_theirs = |dot: Dot| {
            known.binary_search_by_key(&dot, |k| delta.known_dot(k)).is_ok() && self.versions.since.covers(dot)
                || writes.binary_search_by_key(&dot, |w| delta.write_dot(w)).is_ok()
        };
        let removed = is(Bug::RemovalWins) && writes.iter().any(|write| write.payload.is_none());
        let mut seen = if removed { ours.siblings(field).collect() } else { ours.covered(field, &self.versions.upto) };
        let stays = |dot: Dot| in_theirs(dot) || self.doubled.contains(&dot) || is(Bug::MergeNeverKills);
        seen.retain(|sibling| !stays(sibling.dot));
        let is_news = |write: &&DeltaWrite| {
            let seen = write.counter <= self.had[write.writer as usize] && !is(Bug::Revives);
            !seen && ours.get(field, delta.write_dot(write)).is_none()
        };
        let mut news = writes.iter().filter(is_news).peekable();
        if seen.is_empty() && news.peek().is_none() {
            return None;
        }
        let mut cell = ours.cell(field);
        seen.iter().for_each(|sibling| cell.remove(sibling.dot));
        let mut changed = !seen.is_empty();
        for write in news {
            if is(Bug::KeepOurs) && cell.iter().any(|s| s.stamp == write.stamp) {
                continue;
            }
            cell.insert(self.sibling(write));
            changed = true;
        }
        changed.then_some(cell)
    }

    /// Cells that theirs do not hold: what they have seen is dead.
    fn bury<'s>(&self, ours: impl Iterator<Item = (FieldRef<'s>, SiblingRef<'s>)>, changes: &mut Vec<(Field, Cell)>) {
        let mut last: Option<(FieldRef<'_>, Vec<Sibling>, bool)> = None;
        let mut end = |cell: Option<(FieldRef<'_>, Vec<Sibling>, bool)>| {
            let buried = cell.filter(|(_, _, buried)| *buried);
            changes.extend(buried.map(|(field, rest, _)| (field.to_field(), rest.into_iter().collect())));
        };
        for (field, sibling) in ours {
            visits::count(1);
            if last.as_ref().is_none_or(|(f, _, _)| *f != field) {
                end(last.replace((field, Vec::new(), false)));
            }
            if let Some((_, rest, buried)) = &mut last {
                match self.versions.upto.covers(sibling.dot) && !self.doubled.contains(&sibling.dot) {
                    true => *buried = true,
                    false => rest.push(sibling.to_sibling()),
                }
            }
        }
        end(last);
    }
}

/// Our cells that the delta kills by omission. Computed once its parts have been merged.
fn rest(delta: &Delta, versions: &Checked, doubled: &HashSet<Dot>, state: &State) -> Vec<Rest> {
    match &delta.kind {
        DeltaKind::Incremental => Vec::new(),
        DeltaKind::Complete if is(Bug::CompleteSilent) => Vec::new(),
        DeltaKind::Complete => {
            let held = |entity| delta.parts.binary_search_by_key(&entity, |part| part.entity).is_ok();
            state.entities().filter(|(entity, _)| !held(*entity)).map(|(entity, _)| Rest::Entity(entity)).collect()
        }
        DeltaKind::Reconciled { dead, .. } => {
            let held: DotSet = delta.dots().collect();
            let (live, tombstones) = (&state.derived.live, &state.derived.tombstones);
            // Everything that the sender had seen and that it does not know to be common: what it holds is here.
            let news = versions.upto.news(&versions.since);
            let of = |(writer, seen, upto): (WriterId, u64, u64)| {
                live.dots(writer, seen, upto).chain(tombstones.dots(writer, seen, upto))
            };
            let later = news.into_iter().flat_map(of);
            let later = later.filter(|(dot, _)| !held.contains(*dot) && !is(Bug::LateUnjudged));
            let mut cells: BTreeMap<(Entity, Field), BTreeSet<Dot>> = BTreeMap::new();
            for (dot, entity) in live.in_set(dead).chain(later).filter(|(dot, _)| !doubled.contains(dot)) {
                if let Some(field) = state.cells(entity).and_then(|cells| cells.field_of(dot)) {
                    cells.entry((entity, field.to_field())).or_default().insert(dot);
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
