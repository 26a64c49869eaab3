//! The values within an envelope, in order, each a MessagePack value:
//!
//! 1. in a saved state only, an [`Owner`];
//! 2. a [`Head`] with the number of everything that follows;
//! 3. `replicas` × [`Writer`], by id: the version vectors, one entry of each; in a slice only those writers of whom a
//!    [`Reference`] says something else;
//! 4. `fields` × binary, sorted: the names of cells;
//! 5. in a reconciled delta only, `dead` × ([`DeadWriter`], its `words` × [`DeadWord`]);
//! 6. `parts` × ([`WirePart`], its `known` × [`WireKnown`], its `writes` × [`WireWrite`]), by entity.
//!
//! Fields are named by their place in 4, writers by their place among all that the version vectors name. Numbers that grow with time are differences, modulo 2⁶⁴, from
//! the one before.

use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::bugs::{Bug, is};
use crate::clock::Stamp;
use crate::codec::envelope::Kind;
use crate::codec::error::DecodeError;
use crate::codec::slice::{Reference, counters};
use crate::id::ReplicaId;
use crate::kernel::{
    Delta, DeltaKind, DeltaWrite, DotSet, Entity, FieldTable, Known, MAX_FIELD_LEN, MAX_PAYLOAD_LEN, MAX_SCHEMA_LEN,
    Part, Payload,
};
use crate::version::VersionVector;

/// Siblings are counted in 32 bits while reading. Four thousand million would need 256 GiB of memory.
const MAX_SIBLINGS: u64 = u32::MAX as u64;

/// How deep the values above nest, with one to spare; rmp-serde's own limit of 1024 would need a large stack.
const MAX_NESTING: usize = 3;

#[derive(Serialize, Deserialize)]
struct Owner<'a>(#[serde(borrow)] Option<&'a Bytes>, u64);

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    schema: &'a str,
    replicas: u64,
    fields: u64,
    dead: u64,
    parts: u64,
    known: u64,
    writes: u64,
}

/// An id with its counters in `since`, and in `upto`, `pruned` and `at` as differences from that.
#[derive(Serialize, Deserialize)]
struct Writer<'a> {
    #[serde(borrow)]
    id: &'a Bytes,
    since: u64,
    upto: i64,
    pruned: i64,
    at: i64,
}

#[derive(Serialize, Deserialize)]
struct DeadWriter {
    replica: u32,
    words: u64,
}

/// 64 counters: the block as a difference from the one before, and a bit for each dead dot.
#[derive(Serialize, Deserialize)]
struct DeadWord {
    block: i64,
    word: u64,
}

#[derive(Serialize, Deserialize)]
struct WirePart<'a> {
    kind: u8,
    #[serde(borrow)]
    id: &'a Bytes,
    whole: bool,
    known: u64,
    writes: u64,
}

#[derive(Serialize, Deserialize)]
struct WireKnown {
    field: u32,
    replica: u32,
    counter: i64,
}

/// `kind` is 0 for a tombstone and one more than the payload's kind else.
#[derive(Serialize, Deserialize)]
struct WireWrite<'a> {
    field: u32,
    replica: u32,
    counter: i64,
    stamp: i64,
    kind: u16,
    #[serde(borrow)]
    content: &'a Bytes,
}

/// The fewest bytes that the values above take: a count is believed only if so many are there.
mod least {
    pub(super) const WRITER: u64 = 23;
    pub(super) const FIELD: u64 = 2;
    pub(super) const DEAD_WRITER: u64 = 3;
    pub(super) const DEAD_WORD: u64 = 3;
    pub(super) const PART: u64 = 23;
    pub(super) const KNOWN: u64 = 4;
    pub(super) const WRITE: u64 = 8;
}

/// Differences between numbers, modulo 2⁶⁴: any two numbers have one, small for near ones.
#[derive(Default)]
pub(super) struct Differences(u64);

impl Differences {
    pub(super) fn encode(&mut self, number: u64) -> i64 {
        let difference = number.wrapping_sub(self.0) as i64;
        self.0 = number;
        difference
    }

    pub(super) fn decode(&mut self, difference: i64) -> u64 {
        self.0 = match () {
            () if is(Bug::SignLost) => self.0.wrapping_add(difference.unsigned_abs()),
            () if is(Bug::Saturates) => self.0.saturating_add_signed(difference),
            () => self.0.wrapping_add(difference as u64),
        };
        self.0
    }
}

// ---- writing ----

pub(super) fn write_owner(out: &mut impl Write, owner: Option<ReplicaId>, generation: u64) {
    write(out, &Owner(owner.as_ref().map(|id| Bytes::new(id.as_bytes())), generation));
}

pub(super) fn write_delta(out: &mut impl Write, delta: &Delta, reference: &Reference) {
    let none = (VersionVector::new(), DotSet::new());
    let (at, dead, known_at) = match delta.kind() {
        DeltaKind::Reconciled { at, dead } => (at, dead, &reference.at),
        _ => (&none.0, &none.1, &none.0),
    };
    let listed = || {
        let known = [&reference.since, &reference.upto, &reference.pruned, known_at];
        let ours = [&delta.since, &delta.upto, &delta.pruned, at];
        counters([ours, known]).filter(|(_, [ours, known])| ours != known)
    };
    write(
        out,
        &Head {
            schema: delta.schema(),
            replicas: listed().count() as u64,
            fields: delta.fields.len() as u64,
            dead: dead.writers().len() as u64,
            parts: delta.parts.len() as u64,
            known: delta.known.len() as u64,
            writes: delta.writes.len() as u64,
        },
    );
    for (id, [[since, upto, pruned, at], _]) in listed() {
        let from_since = |counter| Differences(since).encode(counter);
        let pruned = if is(Bug::PrunedNotEncoded) { 0 } else { pruned };
        let (upto, pruned, at) = (from_since(upto), from_since(pruned), from_since(at));
        write(out, &Writer { id: Bytes::new(id.as_bytes()), since, upto, pruned, at });
    }
    for field in delta.fields.iter() {
        write(out, Bytes::new(field));
    }
    for (replica, words) in dead.writers() {
        // Every writer of a dead dot is there: `upto` covers it.
        let replica = delta.replicas.partition_point(|r| *r < replica) as u32;
        write(out, &DeadWriter { replica, words: words.len() as u64 });
        let mut blocks = Differences::default();
        for (block, word) in words {
            write(out, &DeadWord { block: blocks.encode(*block), word: *word });
        }
    }
    let (mut known_counters, mut counters, mut stamps) =
        (Differences::default(), Differences::default(), Differences::default());
    for part in delta.parts() {
        write(
            out,
            &WirePart {
                kind: part.entity.kind(),
                id: Bytes::new(part.entity.id()),
                whole: part.whole,
                known: part.known.len() as u64,
                writes: part.writes.len() as u64,
            },
        );
        for known in part.known {
            let counter = known_counters.encode(known.counter);
            write(out, &WireKnown { field: known.field, replica: known.replica, counter });
        }
        for sibling in part.writes {
            let payload = sibling.payload.as_ref();
            write(
                out,
                &WireWrite {
                    field: sibling.field,
                    replica: sibling.replica,
                    counter: counters.encode(sibling.counter),
                    stamp: stamps.encode(sibling.stamp.to_bits()),
                    kind: payload.map_or(0, |p| if is(Bug::KindLost) { 1 } else { u16::from(p.kind()) + 1 }),
                    content: Bytes::new(payload.map_or(&[], Payload::bytes)),
                },
            );
        }
    }
}

pub(super) fn write<T: Serialize + ?Sized>(out: &mut impl Write, value: &T) {
    // Neither a vector nor a comparison fails to take bytes, and nothing above is unserialisable.
    let result = value.serialize(&mut rmp_serde::Serializer::new(out));
    debug_assert!(result.is_ok(), "{result:?}");
}

// ---- reading ----

/// Reads one value after the other.
pub(super) struct Reader<'a> {
    values: rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'a, [u8]>>,
    len: u64,
    /// How many bytes of the body are spoken for by lists that come several times.
    claimed: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        let mut values = rmp_serde::Deserializer::from_read_ref(body);
        values.set_max_depth(MAX_NESTING);
        Self { values, len: body.len() as u64, claimed: 0 }
    }

    pub(super) fn read<T: Deserialize<'a>>(&mut self, what: &'static str) -> Result<T, DecodeError> {
        T::deserialize(&mut self.values).map_err(|_| DecodeError::Malformed(what))
    }

    /// Room for one of several lists, if the body is long enough to hold it and all before it.
    pub(super) fn share<T>(&mut self, count: u64, least: u64) -> Result<Vec<T>, DecodeError> {
        self.claimed = self.claimed.saturating_add(count.saturating_mul(least));
        match self.claimed <= self.len {
            true => self.room(count, least),
            false => Err(DecodeError::Malformed("more is announced than the body can hold")),
        }
    }

    /// Room for as many as are announced, if the body is long enough to hold them.
    pub(super) fn room<T>(&self, count: u64, least: u64) -> Result<Vec<T>, DecodeError> {
        match count.checked_mul(least).is_some_and(|bytes| bytes <= self.len) {
            true => Ok(Vec::with_capacity(count as usize)),
            false => Err(DecodeError::Malformed("more is announced than the body can hold")),
        }
    }
}

/// The first of several conditions that does not hold.
pub(super) fn check(conditions: impl IntoIterator<Item = (bool, &'static str)>) -> Result<(), DecodeError> {
    let broken = conditions.into_iter().find(|(holds, _)| !holds);
    broken.map_or(Ok(()), |(_, what)| Err(DecodeError::Malformed(what)))
}

pub(super) fn replica_id(bytes: &[u8]) -> Result<ReplicaId, DecodeError> {
    let id = <[u8; 16]>::try_from(bytes).map(ReplicaId::from);
    id.map_err(|_| DecodeError::Malformed("an id that is not 16 bytes long"))
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), DecodeError> {
    let (found, limit) = (found as u64, limit as u64);
    if found > limit { Err(DecodeError::TooLarge { what, found, limit }) } else { Ok(()) }
}

pub(super) fn read_owner(reader: &mut Reader<'_>) -> Result<(Option<ReplicaId>, u64), DecodeError> {
    let Owner(id, generation) = reader.read("the owner")?;
    Ok((id.map(|bytes| replica_id(bytes)).transpose()?, generation))
}

pub(super) fn read_delta(reader: &mut Reader<'_>, kind: Kind, reference: &Reference) -> Result<Delta, DecodeError> {
    let head: Head<'_> = reader.read("the head")?;
    within("the name of the type", head.schema.len(), MAX_SCHEMA_LEN)?;
    let siblings = head.known.saturating_add(head.writes);
    if siblings > MAX_SIBLINGS {
        return Err(DecodeError::TooLarge { what: "the number of siblings", found: siblings, limit: MAX_SIBLINGS });
    }
    // All at once, or each count could claim the whole body for itself.
    let counts = [
        (head.replicas, least::WRITER),
        (head.fields, least::FIELD),
        (head.dead, least::DEAD_WRITER + least::DEAD_WORD),
        (head.parts, least::PART),
        (head.known, least::KNOWN),
        (head.writes, least::WRITE),
    ];
    let announced = counts.iter().map(|(count, least)| u128::from(*count) * u128::from(*least)).sum::<u128>();
    check([(announced <= u128::from(reader.len), "more is announced than the body can hold")])?;

    let mut delta = Delta {
        schema: head.schema.to_owned(),
        kind: DeltaKind::Incremental,
        since: VersionVector::new(),
        upto: VersionVector::new(),
        pruned: VersionVector::new(),
        replicas: Vec::new(),
        fields: FieldTable::default(),
        parts: Vec::new(),
        known: Vec::new(),
        writes: Vec::new(),
    };
    let none = VersionVector::new();
    let known_at = if kind == Kind::Reconciled { &reference.at } else { &none };
    let known = [&reference.since, &reference.upto, &reference.pruned, known_at];
    let at = read_versions(reader, head.replicas, known, &mut delta)?;
    read_fields(reader, &head, &mut delta)?;
    let dead = read_dead(reader, &head, &delta)?;
    delta.kind = match kind {
        Kind::Incremental => DeltaKind::Incremental,
        Kind::Reconciled => DeltaKind::Reconciled { at, dead },
        // That of a saved state is one too.
        _ => DeltaKind::Complete,
    };
    check_kind(&delta, &head)?;
    read_parts(reader, &head, &mut delta)?;
    check([(delta.has_distinct_dots(), "one dot in two places")])?;
    Ok(delta)
}

/// Reads the versions into the delta and returns `at`.
fn read_versions(
    reader: &mut Reader<'_>,
    listed: u64,
    reference: [&VersionVector; 4],
    delta: &mut Delta,
) -> Result<VersionVector, DecodeError> {
    let mut versions = Versions {
        replicas: reader.room(listed, least::WRITER)?,
        since: reader.room(listed, least::WRITER)?,
        upto: reader.room(listed, least::WRITER)?,
        pruned: reader.room(listed, least::WRITER)?,
        at: Vec::new(),
    };
    let mut known = counters([reference]).peekable();
    let mut last = None;
    for _ in 0..listed {
        let writer: Writer<'_> = reader.read("a writer")?;
        let id = replica_id(writer.id)?;
        check([(last < Some(id), "writers out of order")])?;
        last = Some(id);
        while let Some((before, [counters])) = known.next_if(|(replica, _)| *replica < id) {
            versions.push(before, counters)?;
        }
        let is_known = known.next_if(|(replica, _)| *replica == id).is_some();
        let counter = |difference| Differences(writer.since).decode(difference);
        let counters = [writer.since, counter(writer.upto), counter(writer.pruned), counter(writer.at)];
        // Of one that the reference knows, this says that there is nothing of it any more.
        match is_known && counters == [0; 4] {
            true => {}
            false => versions.push(id, counters)?,
        }
    }
    known.try_for_each(|(replica, [counters])| versions.push(replica, counters))?;

    let [since, upto, pruned, at] = reference;
    delta.replicas = versions.replicas;
    delta.since = shared(since, versions.since);
    delta.upto = shared(upto, versions.upto);
    delta.pruned = shared(pruned, versions.pruned);
    Ok(shared(at, versions.at))
}

/// The versions of a delta while they are read, and all writers that they name.
struct Versions {
    replicas: Vec<ReplicaId>,
    since: Vec<(ReplicaId, u64)>,
    upto: Vec<(ReplicaId, u64)>,
    pruned: Vec<(ReplicaId, u64)>,
    at: Vec<(ReplicaId, u64)>,
}

impl Versions {
    /// Adds a writer with its counters, whoever said so: what does not hold of it in one delta is an error.
    fn push(&mut self, id: ReplicaId, counters: [u64; 4]) -> Result<(), DecodeError> {
        let [since, upto, pruned, at] = counters;
        check([
            (since <= upto, "a delta that ends before it begins"),
            (pruned <= upto, "a pruned version beyond what was seen"),
            (upto > 0 || at > 0, "a writer that no version has heard of"),
        ])?;
        self.replicas.push(id);
        let entries = [&mut self.since, &mut self.upto, &mut self.pruned, &mut self.at];
        let entries = entries.into_iter().zip(counters).filter(|(_, counter)| *counter > 0);
        entries.for_each(|(entries, counter)| entries.push((id, counter)));
        Ok(())
    }
}

/// A version, in the memory of the known one if it is the same.
fn shared(known: &VersionVector, entries: Vec<(ReplicaId, u64)>) -> VersionVector {
    match known.iter().eq(entries.iter().copied()) {
        true => known.clone(),
        false => VersionVector::from_sorted(entries),
    }
}

fn read_fields(reader: &mut Reader<'_>, head: &Head<'_>, delta: &mut Delta) -> Result<(), DecodeError> {
    delta.fields = FieldTable::with_capacity(head.fields as usize);
    for i in 0..head.fields {
        let field: &Bytes = reader.read("a field")?;
        within("a field", field.len(), MAX_FIELD_LEN)?;
        check([(i == 0 || delta.fields.get(i as u32 - 1) < &field[..], "fields out of order")])?;
        delta.fields.push(field);
    }
    Ok(())
}

fn read_dead(reader: &mut Reader<'_>, head: &Head<'_>, delta: &Delta) -> Result<DotSet, DecodeError> {
    let mut writers = reader.room(head.dead, least::DEAD_WRITER + least::DEAD_WORD)?;
    for _ in 0..head.dead {
        let writer: DeadWriter = reader.read("a writer of dead dots")?;
        let replica = delta.replicas.get(writer.replica as usize);
        let replica = *replica.ok_or(DecodeError::Malformed("a dead dot of a writer that is not listed"))?;
        let mut words = reader.share(writer.words, least::DEAD_WORD)?;
        let mut blocks = Differences::default();
        for _ in 0..writer.words {
            let DeadWord { block, word } = reader.read("a word of dead dots")?;
            words.push((blocks.decode(block), word));
        }
        writers.push((replica, words));
    }
    let dead = DotSet::from_sorted(writers).ok_or(DecodeError::Malformed("dead dots out of order"))?;
    let last = dead.writers().filter_map(|(replica, words)| Some((replica, words.last()?)));
    for (replica, (block, word)) in last {
        let counter = block * 64 + u64::from(63 - word.leading_zeros());
        check([(counter <= delta.upto.get(replica), "a dead dot that the sender has not seen")])?;
    }
    Ok(dead)
}

/// What each kind of delta may hold.
fn check_kind(delta: &Delta, head: &Head<'_>) -> Result<(), DecodeError> {
    match &delta.kind {
        DeltaKind::Incremental => {
            check([(head.dead == 0, "dead dots in an incremental delta")])?;
        }
        DeltaKind::Complete => check([
            (head.dead == 0 && head.known == 0, "a complete delta that leaves content out"),
            (delta.since.is_empty(), "a complete delta that builds on something"),
        ])?,
        DeltaKind::Reconciled { at, .. } => {
            check([(at.includes(&delta.since), "a reconciled delta that builds on more than it was cut for")])?;
        }
    }
    Ok(())
}

fn read_parts(reader: &mut Reader<'_>, head: &Head<'_>, delta: &mut Delta) -> Result<(), DecodeError> {
    delta.parts = reader.room(head.parts, least::PART)?;
    delta.known = reader.room(head.known, least::KNOWN)?;
    delta.writes = reader.room(head.writes, least::WRITE)?;
    let mut used = vec![false; delta.fields.len()];
    let complete = delta.kind == DeltaKind::Complete;
    let (mut known_counters, mut counters, mut stamps) =
        (Differences::default(), Differences::default(), Differences::default());
    for _ in 0..head.parts {
        let part: WirePart<'_> = reader.read("an entity")?;
        let id = <[u8; 16]>::try_from(&part.id[..]);
        let id = id.map_err(|_| DecodeError::Malformed("an entity whose id is not 16 bytes long"))?;
        let entity = Entity::new(part.kind, id);
        let (known_start, writes_start) = (delta.known.len(), delta.writes.len());
        check([
            (delta.parts.last().is_none_or(|last| last.entity < entity), "entities out of order"),
            (part.whole || !complete, "a part of an entity in a complete delta"),
            (part.known <= head.known - known_start as u64, "more known siblings than were announced"),
            (part.writes <= head.writes - writes_start as u64, "more siblings than were announced"),
            (part.known > 0 || part.writes > 0 || part.whole && !complete, "an entity without siblings"),
        ])?;
        for _ in 0..part.known {
            let WireKnown { field, replica, counter } = reader.read("a known sibling")?;
            let known = Known { field, replica, counter: known_counters.decode(counter) };
            check_place(delta, field, replica, &mut used)?;
            check([
                (delta.known[known_start..].last().is_none_or(|last| *last < known), "known siblings out of order"),
                (known.counter > 0 && delta.since.covers(delta.known_dot(&known)), "a sibling without its content"),
            ])?;
            delta.known.push(known);
        }
        for _ in 0..part.writes {
            let wire: WireWrite<'_> = reader.read("a sibling")?;
            check_place(delta, wire.field, wire.replica, &mut used)?;
            let write = read_write(&wire, counters.decode(wire.counter), stamps.decode(wire.stamp))?;
            let key = |w: &DeltaWrite| (w.field, w.replica, w.counter);
            let dot = delta.write_dot(&write);
            check([
                (
                    delta.writes[writes_start..].last().is_none_or(|last| key(last) < key(&write)),
                    "siblings out of order",
                ),
                (!delta.since.covers(dot), "the content of a sibling that the receiver has"),
                (delta.upto.covers(dot), "a sibling that the sender has not seen"),
            ])?;
            delta.writes.push(write);
        }
        let (known_end, writes_end) = (delta.known.len(), delta.writes.len());
        delta.parts.push(Part { entity, whole: part.whole, known_end, writes_end });
    }
    check([
        (delta.known.len() as u64 == head.known, "fewer known siblings than were announced"),
        (delta.writes.len() as u64 == head.writes, "fewer siblings than were announced"),
        (used.iter().all(|used| *used), "a field that nothing uses"),
    ])
}

fn check_place(delta: &Delta, field: u32, replica: u32, used: &mut [bool]) -> Result<(), DecodeError> {
    let used = used.get_mut(field as usize).ok_or(DecodeError::Malformed("a field that is not listed"))?;
    *used = true;
    check([((replica as usize) < delta.replicas.len(), "a writer that is not listed")])
}

fn read_write(wire: &WireWrite<'_>, counter: u64, stamp: u64) -> Result<DeltaWrite, DecodeError> {
    within("a value", wire.content.len(), MAX_PAYLOAD_LEN)?;
    let payload = match wire.kind.checked_sub(1) {
        Some(kind) => {
            let kind = u8::try_from(kind).map_err(|_| DecodeError::Malformed("a kind past 255"))?;
            Some(Payload::new(kind, wire.content))
        }
        None if wire.content.is_empty() => None,
        None => return Err(DecodeError::Malformed("a tombstone with content")),
    };
    Ok(DeltaWrite { field: wire.field, replica: wire.replica, counter, stamp: Stamp::from_bits(stamp), payload })
}
