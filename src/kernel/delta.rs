//! A delta: the part of a state that a version lacks.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::bugs::{Bug, is};
use crate::clock::Stamp;
use crate::id::{Dot, WriterId};
use crate::kernel::cells::Cells;
use crate::kernel::dots::DotSet;
use crate::kernel::fingerprint::Fingerprint;
use crate::kernel::key::{Entity, Field, Payload, SiblingRef};
use crate::kernel::names::Names;
use crate::version::{Birth, Version};

/// The part of a state that a version lacks (Almeida, Shoker, Baquero 2018). A value: keep it, send it, merge it as
/// often as it comes.
///
/// [`Replica::edit`](crate::Replica::edit) returns one for each edit, [`Replica::delta_since`](crate::Replica::delta_since)
/// cuts one for a peer. It applies whole or not at all, to a replica that has seen everything in [`since`](Self::since);
/// afterwards that replica has seen everything in [`upto`](Self::upto). [`to_bytes`](Self::to_bytes) and
/// [`from_bytes`](Self::from_bytes) carry it anywhere.
///
/// Its size follows what changed: each changed cell with all its siblings, and the whole entity where its root changed; and
/// the versions, some 13 bytes for each head: one for each branch, however often each device was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Delta {
    pub(crate) schema: String,
    pub(crate) kind: DeltaKind,
    pub(crate) since: Version,
    pub(crate) upto: Version,
    pub(crate) pruned: Version,
    /// The number of writes that `upto` covers and `since` does not.
    pub(crate) news: u64,
    /// What is alive at the sender at `upto`.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// How the writers began that `since` does not cover, by writer.
    pub(crate) births: Arc<Vec<Birth>>,
    /// The writers of all siblings in it, sorted.
    pub(crate) writers: Vec<WriterId>,
    pub(crate) fields: FieldTable,
    /// Sorted by entity.
    pub(crate) parts: Vec<Part>,
    /// Names of parts that hold no root to tell them.
    pub(crate) names: Names,
    /// Part after part; within one sorted by field, then dot.
    pub(crate) known: Vec<Known>,
    /// Part after part; within one sorted by field, then dot.
    pub(crate) writes: Vec<DeltaWrite>,
}

/// What a delta says about what it does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DeltaKind {
    /// Holds what changed between `since` and `upto`.
    Incremental,
    /// Holds every live cell of the sender: what the receiver has, the sender has seen and does not hold is dead. Applies
    /// to every replica.
    Complete,
    /// An incremental one for a peer below the pruned version, with what the tombstones would have told. What the
    /// receiver holds is dead if it is listed, or if `upto` covers it, `since` does not, and the delta does not hold it.
    Reconciled {
        /// The version of the receiver that it was cut for; applies to whoever has seen as much.
        at: Version,
        /// Dots within `since` that the receiver held alive and the sender knows to be dead.
        dead: DotSet,
    },
}

/// One entity in a delta: its slices of `known` and `writes` run from the ends of the part before it to these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    pub(crate) entity: Entity,
    /// All cells of the entity are here: what is not, is dead.
    pub(crate) whole: bool,
    pub(crate) known_end: usize,
    pub(crate) writes_end: usize,
}

/// A sibling that `since` covers travels as its dot alone: the receiver has it, or it is dead there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Known {
    pub(crate) field: u32,
    pub(crate) writer: u32,
    pub(crate) counter: u64,
}

/// A sibling with its content. `field` and `writer` are places in the delta's sorted tables, so 48 bytes hold it: a
/// delta in memory stays within a small multiple of its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DeltaWrite {
    pub(crate) field: u32,
    pub(crate) writer: u32,
    pub(crate) counter: u64,
    pub(crate) stamp: Stamp,
    pub(crate) payload: Option<Payload>,
}

/// The distinct fields of a delta, sorted, end to end in one allocation.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldTable {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl FieldTable {
    pub(crate) fn with_capacity(fields: usize) -> Self {
        Self::with_capacities(fields, 0)
    }

    /// An empty table with room for so many fields of so many bytes together.
    pub(crate) fn with_capacities(fields: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(fields) }
    }

    pub(crate) fn push(&mut self, field: &[u8]) {
        self.bytes.extend_from_slice(field);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn get(&self, i: u32) -> &[u8] {
        let i = i as usize;
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[i]]
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + '_ {
        (0..self.len()).map(|i| self.get(i as u32))
    }
}

/// One entity of a delta, ready to read.
#[derive(Clone, Copy)]
pub(crate) struct PartRef<'a> {
    pub(crate) entity: Entity,
    pub(crate) whole: bool,
    pub(crate) known: &'a [Known],
    pub(crate) writes: &'a [DeltaWrite],
}

impl Delta {
    /// A delta that says the same of versions, and holds the same names, without parts and siblings.
    pub(crate) fn like(&self) -> Self {
        Self {
            schema: self.schema.clone(),
            kind: self.kind.clone(),
            since: self.since.clone(),
            upto: self.upto.clone(),
            pruned: self.pruned.clone(),
            news: self.news,
            fingerprint: self.fingerprint,
            births: self.births.clone(),
            writers: self.writers.clone(),
            fields: FieldTable::default(),
            parts: Vec::new(),
            names: self.names.clone(),
            known: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// The name of the type whose state this is part of, such as `"driftless.graph"`.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// What the delta says about what it does not hold.
    pub fn kind(&self) -> &DeltaKind {
        &self.kind
    }

    /// What the receiver must have seen for the delta to apply: nothing, for one that is complete. O(1).
    ///
    /// A reconciled one needs what its receiver had seen when it was cut for it, which includes `since`.
    pub fn need(&self) -> Version {
        match &self.kind {
            DeltaKind::Incremental => self.since.clone(),
            DeltaKind::Reconciled { at, .. } => at.clone(),
            // Holds nothing that builds on anything.
            DeltaKind::Complete => Version::new(),
        }
    }

    /// What was left out, since whom it was cut for had seen it.
    pub fn since(&self) -> &Version {
        &self.since
    }

    /// What the receiver will have seen.
    pub fn upto(&self) -> &Version {
        &self.upto
    }

    /// What the sender has pruned; the receiver inherits it.
    pub fn pruned(&self) -> &Version {
        &self.pruned
    }

    /// The writers whose births it tells.
    pub(crate) fn births(&self) -> impl Iterator<Item = WriterId> + '_ {
        self.births.iter().map(|birth| birth.writer)
    }

    /// The births that it tells.
    pub(crate) fn births_table(&self) -> &[Birth] {
        &self.births
    }

    /// The number of writes that it tells of: those that it covers and the receiver is not known to have seen, whether
    /// alive, overwritten or deleted since; and, in a reconciled delta, the dead ones that it lists. O(1), or O(dead / 64).
    pub fn len(&self) -> usize {
        let dead = match &self.kind {
            DeltaKind::Reconciled { dead, .. } => dead.len() as u64,
            _ => 0,
        };
        let listed = self.news.saturating_add(dead);
        usize::try_from(listed).unwrap_or(usize::MAX)
    }

    /// A reconciled delta with these dead dots instead; any other as it is.
    pub(crate) fn with_dead(mut self, dots: DotSet) -> Self {
        if let DeltaKind::Reconciled { dead, .. } = &mut self.kind {
            *dead = dots;
        }
        self
    }

    /// The number of all siblings in it, with or without their content.
    pub(crate) fn siblings(&self) -> usize {
        self.known.len() + self.writes.len()
    }

    /// True if it tells a receiver nothing new, so its [length](Self::len) is 0: an edit that wrote nothing returns such a
    /// delta, and it need not be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn part(&self, i: usize) -> PartRef<'_> {
        let (known, writes) = match i.checked_sub(1) {
            Some(before) => (self.parts[before].known_end, self.parts[before].writes_end),
            None => (0, 0),
        };
        let part = &self.parts[i];
        PartRef {
            entity: part.entity,
            whole: part.whole,
            known: &self.known[known..part.known_end],
            writes: &self.writes[writes..part.writes_end],
        }
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = PartRef<'_>> {
        (0..self.parts.len()).map(|i| self.part(i))
    }

    pub(crate) fn known_dot(&self, known: &Known) -> Dot {
        Dot { writer: self.writers[known.writer as usize], counter: known.counter }
    }

    pub(crate) fn write_dot(&self, write: &DeltaWrite) -> Dot {
        Dot { writer: self.writers[write.writer as usize], counter: write.counter }
    }

    /// When each write in it was made.
    pub(crate) fn stamps(&self) -> impl Iterator<Item = (Dot, Stamp)> + '_ {
        self.writes.iter().map(|w| (self.write_dot(w), w.stamp))
    }

    /// All dots that it holds, with or without their content.
    pub(crate) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.known.iter().map(|k| self.known_dot(k)).chain(self.writes.iter().map(|w| self.write_dot(w)))
    }

    /// Whether each dot names one write to one cell. O(n log n), at most eight bytes a dot.
    pub(crate) fn has_distinct_dots(&self) -> bool {
        // More siblings than that no delta can have: see `codec`.
        let Ok(len) = u32::try_from(self.known.len() + self.writes.len()) else { return false };
        // In one word a dot, if they fit: these are sorted without looking anything up.
        let known = self.known.iter().map(|known| (known.writer, known.counter));
        let dots = known.chain(self.writes.iter().map(|write| (write.writer, write.counter)));
        let mut words = Vec::with_capacity(len as usize);
        words.extend(dots.map_while(|(r, c)| (r < 1 << 16 && c < 1 << 48).then_some(u64::from(r) << 48 | c)));
        if words.len() == len as usize {
            words.sort_unstable();
            return words.windows(2).all(|pair| pair[0] != pair[1]);
        }
        drop(words);
        // Places in the two lists end to end.
        let dot = |i: &u32| match self.known.get(*i as usize) {
            Some(known) => (known.writer, known.counter),
            None => {
                let write = &self.writes[*i as usize - self.known.len()];
                (write.writer, write.counter)
            }
        };
        let mut order: Vec<u32> = (0..len).collect();
        order.sort_unstable_by_key(dot);
        order.windows(2).all(|pair| dot(&pair[0]) != dot(&pair[1]))
    }
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delta")
            .field("schema", &self.schema)
            .field("kind", &self.kind)
            .field("since", &self.since)
            .field("upto", &self.upto)
            .field("pruned", &self.pruned)
            .field("births", &self.births.len())
            .field("entities", &self.parts.len())
            .field("known", &self.known.len())
            .field("writes", &self.writes.len())
            .finish()
    }
}

/// How many fields a builder finds without hashing them.
const MET: usize = 64;

/// Puts a delta together. Entities come in order, and within one its siblings by field and dot.
pub(crate) struct DeltaBuilder {
    delta: Delta,
    fields: HashMap<Box<[u8]>, u32>,
    /// Where the fields last met stand, by their address: entities of a sort have the same handles.
    met: Box<[(Field, u32)]>,
    /// The place of each writer met, and the last counter of it that `since` covers.
    writers: HashMap<WriterId, (u32, u64)>,
    last_writer: Option<(WriterId, (u32, u64))>,
}

impl DeltaBuilder {
    /// The versions are those of one state; the delta holds their heads.
    pub(crate) fn new(schema: &str, kind: DeltaKind, since: Version, upto: Version, pruned: Version) -> Self {
        debug_assert!(upto.includes(&since) && upto.includes(&pruned), "a delta that ends before it begins");
        let news = upto.writes_since(&since);
        let births = if is(Bug::BirthsLeftOut) { Arc::default() } else { Arc::new(upto.births_since(&since)) };
        Self::with_births(schema, kind, [since, upto, pruned], births, news)
    }

    /// The same from what a delta says: versions by their heads, and all births that are wanted.
    pub(crate) fn with_births(
        schema: &str,
        kind: DeltaKind,
        [since, upto, pruned]: [Version; 3],
        births: Arc<Vec<Birth>>,
        news: u64,
    ) -> Self {
        let delta = Delta {
            schema: schema.to_owned(),
            kind,
            since,
            upto: upto.bare(),
            pruned: pruned.bare(),
            news,
            fingerprint: None,
            births,
            writers: Vec::new(),
            fields: FieldTable::default(),
            parts: Vec::new(),
            names: Names::default(),
            known: Vec::new(),
            writes: Vec::new(),
        };
        let (fields, writers) = (HashMap::new(), HashMap::new());
        Self { delta, fields, met: vec![(Field::ROOT, u32::MAX); MET].into(), writers, last_writer: None }
    }

    /// Says what is alive at the sender.
    pub(crate) fn with_fingerprint(mut self, fingerprint: Option<Fingerprint>) -> Self {
        self.delta.fingerprint = fingerprint;
        self
    }

    /// Adds a sibling of the entity that [`part`](Self::part) will end: as its dot alone if `since` covers it.
    pub(crate) fn push(&mut self, field: &Field, sibling: SiblingRef<'_>) {
        let (writer, seen) = self.writer(sibling.dot.writer);
        if sibling.dot.counter <= seen {
            if is(Bug::KnownDropped) {
                return;
            }
            let known = Known { field: self.field(field), writer, counter: sibling.dot.counter };
            return self.delta.known.push(known);
        }
        self.push_write_of(writer, field, sibling);
    }

    /// Adds a sibling with its content.
    pub(crate) fn push_write(&mut self, field: &Field, sibling: SiblingRef<'_>) {
        let (writer, _) = self.writer(sibling.dot.writer);
        self.push_write_of(writer, field, sibling);
    }

    fn push_write_of(&mut self, writer: u32, field: &Field, sibling: SiblingRef<'_>) {
        let SiblingRef { dot, stamp, payload } = sibling;
        let payload = payload.map(|payload| payload.to_payload());
        let field = self.field(field);
        self.delta.writes.push(DeltaWrite { field, writer, counter: dot.counter, stamp, payload });
    }

    /// Adds a sibling by its dot alone.
    pub(crate) fn push_known(&mut self, field: &Field, dot: Dot) {
        let (field, (writer, _)) = (self.field(field), self.writer(dot.writer));
        self.delta.known.push(Known { field, writer, counter: dot.counter });
    }

    /// Ends an entity: what was pushed since the last call is its. Returns whether that says anything of it.
    pub(crate) fn part(&mut self, entity: Entity, whole: bool) -> bool {
        debug_assert!(self.delta.parts.last().is_none_or(|last| last.entity < entity), "entities out of order");
        let (known_end, writes_end) = (self.delta.known.len(), self.delta.writes.len());
        let start = self.delta.parts.last().map_or((0, 0), |last| (last.known_end, last.writes_end));
        // A complete delta holds whole entities alone, and is silent about those without cells.
        let whole = match self.delta.kind {
            DeltaKind::Complete => start != (known_end, writes_end),
            _ => whole,
        };
        if !whole && start == (known_end, writes_end) {
            return false;
        }
        self.delta.parts.push(Part { entity, whole, known_end, writes_end });
        true
    }

    /// Keeps the name of the entity that has just been ended, if its root tells one.
    pub(super) fn name(&mut self, entity: Entity, cells: Cells<'_>) {
        self.delta.names.add(entity, cells);
    }

    /// Keeps the names of the entities among those of other deltas.
    pub(super) fn names_of<'a>(&mut self, deltas: impl IntoIterator<Item = &'a Delta>) {
        self.delta.names = Names::of_parts(deltas.into_iter().map(|delta| &delta.names), &self.delta.parts);
    }

    /// Sorts the fields and the writers, so that the same content makes the same delta.
    pub(crate) fn finish(mut self) -> Delta {
        let mut fields: Vec<_> = self.fields.into_iter().collect();
        fields.sort_unstable();
        let mut places = vec![0; fields.len()];
        for (place, (field, i)) in fields.iter().enumerate() {
            places[*i as usize] = place as u32;
            self.delta.fields.push(field);
        }
        // A writer may have been looked up for a sibling that was left out.
        let mut used = vec![false; self.writers.len()];
        let (known, writes) = (&mut self.delta.known, &mut self.delta.writes);
        known.iter().map(|k| k.writer).chain(writes.iter().map(|w| w.writer)).for_each(|w| used[w as usize] = true);
        let writers = self.writers.into_iter().filter(|(_, (i, _))| used[*i as usize]);
        let mut writers: Vec<_> = writers.map(|(writer, (i, _))| (writer, i)).collect();
        writers.sort_unstable();
        let mut of_writer = vec![0; used.len()];
        for (place, (writer, i)) in writers.into_iter().enumerate() {
            of_writer[i as usize] = place as u32;
            self.delta.writers.push(writer);
        }
        for known in known {
            (known.field, known.writer) = (places[known.field as usize], of_writer[known.writer as usize]);
        }
        for write in writes {
            (write.field, write.writer) = (places[write.field as usize], of_writer[write.writer as usize]);
        }
        self.delta.since = self.delta.since.bare();
        self.delta
    }

    fn field(&mut self, field: &Field) -> u32 {
        let met = &mut self.met[field.address() / size_of::<Field>() % MET];
        if met.1 == u32::MAX || !met.0.is_same(field) {
            let next = self.fields.len() as u32;
            let place = match self.fields.get(field.as_bytes()) {
                Some(place) => *place,
                None => *self.fields.entry(field.as_bytes().into()).or_insert(next),
            };
            *met = (field.clone(), place);
        }
        met.1
    }

    fn writer(&mut self, writer: WriterId) -> (u32, u64) {
        match self.last_writer {
            Some((last, found)) if last == writer => found,
            _ => {
                let (next, since) = (self.writers.len() as u32, &self.delta.since);
                let found = *self.writers.entry(writer).or_insert_with(|| (next, since.get(writer)));
                self.last_writer = Some((writer, found));
                found
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(known: &[(u32, u64)]) -> Delta {
        let version = Version::new;
        let mut delta = DeltaBuilder::new("", DeltaKind::Complete, version(), version(), version()).finish();
        delta.known =
            known.iter().map(|(writer, counter)| Known { field: 0, writer: *writer, counter: *counter }).collect();
        delta
    }

    #[test]
    fn dots_are_told_apart_whatever_their_numbers() {
        let (many, far) = (1 << 16, 1 << 48);
        for dots in
            [[(0, 1), (many, 1)], [(0, far | 1), (1, 1)], [(many - 1, far - 1), (many, 1)], [(0, far), (0, far - 1)]]
        {
            assert!(of(&dots).has_distinct_dots(), "{dots:?}");
        }
        for dot in [(0, 1), (many, 1), (many - 1, far - 1), (7, far), (many, far)] {
            assert!(!of(&[dot, (3, 3), dot]).has_distinct_dots(), "{dot:?}");
        }
    }
}
