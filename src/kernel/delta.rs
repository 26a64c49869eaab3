//! A delta: the part of a state that a version lacks.

use std::collections::HashMap;
use std::fmt;

use crate::bugs::{Bug, is};
use crate::clock::Stamp;
use crate::id::{Dot, ReplicaId};
use crate::kernel::dots::DotSet;
use crate::kernel::key::{Entity, Field, Payload, Sibling};
use crate::version::VersionVector;

/// The part of a state that a version lacks (Almeida, Shoker, Baquero 2018). A value: keep it, send it, merge it as
/// often as it comes.
///
/// [`Replica::edit`](crate::Replica::edit) returns one for each edit, [`Replica::delta_since`](crate::Replica::delta_since)
/// cuts one for a peer. It applies whole or not at all, to a replica that has seen everything in [`since`](Self::since);
/// afterwards that replica has seen everything in [`upto`](Self::upto). [`to_bytes`](Self::to_bytes) and
/// [`from_bytes`](Self::from_bytes) carry it anywhere.
///
/// Its size follows what changed: each changed cell with all its siblings, and the whole entity where its root changed; and
/// the versions, some 25 bytes for each writer ever heard of.
#[derive(Clone, PartialEq, Eq)]
pub struct Delta {
    pub(crate) schema: String,
    pub(crate) kind: DeltaKind,
    pub(crate) since: VersionVector,
    pub(crate) upto: VersionVector,
    pub(crate) pruned: VersionVector,
    /// All writers that the versions name, `at` among them; sorted. No dot is of another.
    pub(crate) replicas: Vec<ReplicaId>,
    pub(crate) fields: FieldTable,
    /// Sorted by entity.
    pub(crate) parts: Vec<Part>,
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
    /// An incremental one for a peer below the pruned version, with what the tombstones would have told.
    Reconciled {
        /// The version of the receiver that it was cut for; applies to whoever has seen as much.
        at: VersionVector,
        /// What the receiver held alive and the sender knows to be dead.
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
    pub(crate) replica: u32,
    pub(crate) counter: u64,
}

/// A sibling with its content. `field` and `replica` are places in the delta's sorted tables, so 48 bytes hold it: a
/// delta in memory stays within a small multiple of its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DeltaWrite {
    pub(crate) field: u32,
    pub(crate) replica: u32,
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
        Self { bytes: Vec::new(), ends: Vec::with_capacity(fields) }
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
    /// The name of the type whose state this is part of, such as `"driftless.graph"`.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// What the delta says about what it does not hold.
    pub fn kind(&self) -> &DeltaKind {
        &self.kind
    }

    /// What the receiver must have seen for the delta to apply: nothing, for one that is complete. O(1).
    pub fn need(&self) -> VersionVector {
        match &self.kind {
            DeltaKind::Incremental => self.since.clone(),
            DeltaKind::Reconciled { at, .. } => at.clone(),
            // Holds nothing that builds on anything.
            DeltaKind::Complete => VersionVector::new(),
        }
    }

    /// What was left out, since whom it was cut for had seen it.
    pub fn since(&self) -> &VersionVector {
        &self.since
    }

    /// What the receiver will have seen.
    pub fn upto(&self) -> &VersionVector {
        &self.upto
    }

    /// What the sender has pruned; the receiver inherits it.
    pub fn pruned(&self) -> &VersionVector {
        &self.pruned
    }

    /// The number of writes that it tells of: those that it covers and the receiver is not known to have seen, whether
    /// alive, overwritten or deleted since; and, in a reconciled delta, the dead ones that it lists. O(writers).
    pub fn len(&self) -> usize {
        let listed = match &self.kind {
            DeltaKind::Incremental => self.upto.beyond(&self.since),
            DeltaKind::Complete => self.upto.beyond(&VersionVector::new()),
            DeltaKind::Reconciled { at, dead } => {
                let news = self.upto.beyond(&self.since).max(self.upto.beyond(at));
                news.saturating_add(dead.len() as u64)
            }
        };
        usize::try_from(listed).unwrap_or(usize::MAX)
    }

    /// A reconciled delta with these dead dots instead, as far as the sender can know of them; any other as it is.
    pub(crate) fn with_dead(mut self, dots: DotSet) -> Self {
        if let DeltaKind::Reconciled { dead, .. } = &mut self.kind {
            *dead = dots.iter().filter(|dot| self.upto.covers(*dot)).collect();
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
        Dot { replica: self.replicas[known.replica as usize], counter: known.counter }
    }

    pub(crate) fn write_dot(&self, write: &DeltaWrite) -> Dot {
        Dot { replica: self.replicas[write.replica as usize], counter: write.counter }
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
        let known = self.known.iter().map(|known| (known.replica, known.counter));
        let dots = known.chain(self.writes.iter().map(|write| (write.replica, write.counter)));
        let mut words = Vec::with_capacity(len as usize);
        words.extend(dots.map_while(|(r, c)| (r < 1 << 16 && c < 1 << 48).then_some(u64::from(r) << 48 | c)));
        if words.len() == len as usize {
            words.sort_unstable();
            return words.windows(2).all(|pair| pair[0] != pair[1]);
        }
        drop(words);
        // Places in the two lists end to end.
        let dot = |i: &u32| match self.known.get(*i as usize) {
            Some(known) => (known.replica, known.counter),
            None => {
                let write = &self.writes[*i as usize - self.known.len()];
                (write.replica, write.counter)
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
}

impl DeltaBuilder {
    pub(crate) fn new(
        schema: &str,
        kind: DeltaKind,
        since: VersionVector,
        upto: VersionVector,
        pruned: VersionVector,
    ) -> Self {
        debug_assert!(upto.includes(&since) && upto.includes(&pruned), "a delta that ends before it begins");
        let mut all = upto.clone();
        if let DeltaKind::Reconciled { at, .. } = &kind {
            all.join(at);
        }
        let delta = Delta {
            schema: schema.to_owned(),
            kind,
            since,
            upto,
            pruned,
            replicas: all.iter().map(|(replica, _)| replica).collect(),
            fields: FieldTable::default(),
            parts: Vec::new(),
            known: Vec::new(),
            writes: Vec::new(),
        };
        Self { delta, fields: HashMap::new(), met: vec![(Field::ROOT, u32::MAX); MET].into() }
    }

    /// Adds a sibling of the entity that [`part`](Self::part) will end: as its dot alone if `since` covers it.
    pub(crate) fn push(&mut self, field: &Field, sibling: &Sibling) {
        let Sibling { dot, stamp, ref payload } = *sibling;
        if self.delta.since.covers(dot) {
            if is(Bug::KnownDropped) {
                return;
            }
            return self.push_known(field, dot);
        }
        let (field, replica) = (self.field(field), self.replica(dot.replica));
        let write = DeltaWrite { field, replica, counter: dot.counter, stamp, payload: payload.clone() };
        self.delta.writes.push(write);
    }

    pub(crate) fn push_known(&mut self, field: &Field, dot: Dot) {
        let known = Known { field: self.field(field), replica: self.replica(dot.replica), counter: dot.counter };
        self.delta.known.push(known);
    }

    /// Ends an entity: what was pushed since the last call is its. Returns whether that says anything of it.
    pub(crate) fn part(&mut self, entity: Entity, whole: bool) -> bool {
        debug_assert!(self.delta.parts.last().is_none_or(|last| last.entity < entity), "entities out of order");
        let (known_end, writes_end) = (self.delta.known.len(), self.delta.writes.len());
        let start = self.delta.parts.last().map_or((0, 0), |last| (last.known_end, last.writes_end));
        if !whole && start == (known_end, writes_end) {
            return false;
        }
        self.delta.parts.push(Part { entity, whole, known_end, writes_end });
        true
    }

    /// Sorts the fields, so that the same content makes the same delta.
    pub(crate) fn finish(mut self) -> Delta {
        let mut fields: Vec<_> = self.fields.into_iter().collect();
        fields.sort_unstable();
        let mut places = vec![0; fields.len()];
        for (place, (field, i)) in fields.iter().enumerate() {
            places[*i as usize] = place as u32;
            self.delta.fields.push(field);
        }
        self.delta.known.iter_mut().for_each(|known| known.field = places[known.field as usize]);
        self.delta.writes.iter_mut().for_each(|write| write.field = places[write.field as usize]);
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

    /// The place of a writer in the table. Whoever cuts a delta has seen all that it holds, so it is there.
    fn replica(&self, replica: ReplicaId) -> u32 {
        let place = self.delta.replicas.binary_search(&replica);
        debug_assert!(place.is_ok(), "a dot that no version covers");
        place.unwrap_or_default() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(known: &[(u32, u64)]) -> Delta {
        let version = VersionVector::new;
        let mut delta = DeltaBuilder::new("", DeltaKind::Complete, version(), version(), version()).finish();
        delta.known =
            known.iter().map(|(replica, counter)| Known { field: 0, replica: *replica, counter: *counter }).collect();
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
