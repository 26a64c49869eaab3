//! The values within an envelope, in order, each a MessagePack value:
//!
//! 1. in a saved state only, the owner: the writer that the next opening goes on from, or nil;
//! 2. a [`Head`] with the number of everything that follows;
//! 3. the ids of the writers of siblings, and the ids that versions and dead dots name: two tables, sorted;
//! 4. `since`, `upto`, `pruned` and, in a reconciled delta only, `at`: see [`versions`](super::versions). The first is told
//!    from what the [`Reference`] says, the others from that too if it says anything, else from `since`;
//! 5. births, in chains;
//! 6. `fields` × binary, sorted: the names of cells;
//! 7. in a reconciled delta only, `dead` × ([`DeadWriter`], its `words` × [`DeadWord`]);
//! 8. `parts` × ([`WirePart`], its `known` × [`WireKnown`], its `writes` × [`WireWrite`]), by entity.
//!
//! Fields and writers are named by their places in the tables. Numbers that grow with time are differences, modulo 2⁶⁴,
//! from the one before.

use std::io::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::bugs::{Bug, is};
use crate::clock::Stamp;
use crate::codec::envelope::Kind;
use crate::codec::error::DecodeError;
use crate::codec::slice::Reference;
use crate::codec::versions::{self, read_births, read_ids, read_version, write_births, write_ids, writer_id};
use crate::id::WriterId;
use crate::kernel::{
    Delta, DeltaKind, DeltaWrite, DotSet, Entity, FieldTable, Fingerprint, Known, MAX_FIELD_LEN, MAX_PAYLOAD_LEN,
    MAX_SCHEMA_LEN, Part, Payload,
};
use crate::version::{HeadsChange, Version};

/// Siblings are counted in 32 bits while reading. Four thousand million would need 256 GiB of memory.
const MAX_SIBLINGS: u64 = u32::MAX as u64;

/// How deep the values above nest, with one to spare; rmp-serde's own limit of 1024 would need a large stack.
const MAX_NESTING: usize = 3;

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    schema: &'a str,
    #[serde(borrow)]
    fingerprint: Option<&'a Bytes>,
    news: u64,
    fields: u64,
    dead: u64,
    parts: u64,
    known: u64,
    writes: u64,
}

#[derive(Serialize, Deserialize)]
struct DeadWriter {
    writer: u32,
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
    writer: u32,
    counter: i64,
}

/// `kind` is 0 for a tombstone and one more than the payload's kind else.
#[derive(Serialize, Deserialize)]
struct WireWrite<'a> {
    field: u32,
    writer: u32,
    counter: i64,
    stamp: i64,
    kind: u16,
    #[serde(borrow)]
    content: &'a Bytes,
}

/// The fewest bytes that the values above take: a count is believed only if so many are there.
mod least {
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

pub(super) fn write_owner(out: &mut impl Write, owner: Option<WriterId>) {
    write(out, &owner.as_ref().map(|id| Bytes::new(id.as_bytes())));
}

/// The version that one of a delta is told from: what is known of it, or else the delta's `since`.
fn base<'a>(known: &'a Version, since: &'a Version) -> &'a Version {
    if known.is_empty() { since } else { known }
}

/// The version that what was pruned is told from. Where versions are known, nothing pruned is known too, and costs no byte.
fn base_of_pruned<'a>(reference: &'a Reference, since: &'a Version) -> &'a Version {
    if reference.since.is_empty() { base(&reference.pruned, since) } else { &reference.pruned }
}

pub(super) fn write_delta(out: &mut impl Write, delta: &Delta, reference: &Reference) {
    let none = (Version::new(), DotSet::new());
    let (at, dead) = match delta.kind() {
        DeltaKind::Reconciled { at, dead } => (Some(at), dead),
        _ => (None, &none.1),
    };
    let fingerprint = delta.fingerprint.map(Fingerprint::to_bytes);
    write(
        out,
        &Head {
            schema: delta.schema(),
            fingerprint: fingerprint.as_ref().map(|bytes| Bytes::new(bytes)),
            news: delta.news,
            fields: delta.fields.len() as u64,
            dead: dead.writers().len() as u64,
            parts: delta.parts.len() as u64,
            known: delta.known.len() as u64,
            writes: delta.writes.len() as u64,
        },
    );
    write_ids(out, &delta.writers);
    let since = &delta.since;
    let pruned = if is(Bug::PrunedNotEncoded) { &none.0 } else { &delta.pruned };
    let mut changes = vec![
        HeadsChange::between(&reference.since, since),
        HeadsChange::between(base(&reference.upto, since), &delta.upto),
        HeadsChange::between(base_of_pruned(reference, since), pruned),
    ];
    changes.extend(at.map(|at| HeadsChange::between(base(&reference.at, since), at)));
    let mut table: Vec<WriterId> = changes.iter().flat_map(versions::writers).collect();
    table.extend(dead.writers().map(|(writer, _)| writer));
    table.sort_unstable();
    table.dedup();
    let place = |writer: WriterId| table.partition_point(|id| *id < writer) as u64;
    write_ids(out, &table);
    changes.iter().for_each(|change| versions::write_change(out, change, place));
    write_births(out, &delta.births);
    for field in delta.fields.iter() {
        write(out, Bytes::new(field));
    }
    for (writer, words) in dead.writers() {
        write(out, &DeadWriter { writer: place(writer) as u32, words: words.len() as u64 });
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
            write(out, &WireKnown { field: known.field, writer: known.writer, counter });
        }
        for sibling in part.writes {
            let payload = sibling.payload.as_ref();
            write(
                out,
                &WireWrite {
                    field: sibling.field,
                    writer: sibling.writer,
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

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), DecodeError> {
    let (found, limit) = (found as u64, limit as u64);
    if found > limit { Err(DecodeError::TooLarge { what, found, limit }) } else { Ok(()) }
}

pub(super) fn read_owner(reader: &mut Reader<'_>) -> Result<Option<WriterId>, DecodeError> {
    let owner: Option<&Bytes> = reader.read("the owner")?;
    owner.map(|id| writer_id(id)).transpose()
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
        (head.fields, least::FIELD),
        (head.dead, least::DEAD_WRITER + least::DEAD_WORD),
        (head.parts, least::PART),
        (head.known, least::KNOWN),
        (head.writes, least::WRITE),
    ];
    let announced = counts.iter().map(|(count, least)| u128::from(*count) * u128::from(*least)).sum::<u128>();
    check([(announced <= u128::from(reader.len), "more is announced than the body can hold")])?;

    let fingerprint = head.fingerprint.map(|bytes| {
        let bytes = <[u8; 16]>::try_from(&bytes[..]);
        bytes
            .map(Fingerprint::from_bytes)
            .map_err(|_| DecodeError::Malformed("a fingerprint that is not 16 bytes long"))
    });
    let fingerprint = fingerprint.transpose()?;
    let writers = read_ids(reader)?;
    let table = read_ids(reader)?;
    let since = read_version(reader, &reference.since, &table, "a head of `since`")?;
    let upto = read_version(reader, base(&reference.upto, &since), &table, "a head of `upto`")?;
    let pruned = read_version(reader, base_of_pruned(reference, &since), &table, "a head of `pruned`")?;
    let at = match kind {
        Kind::Reconciled => read_version(reader, base(&reference.at, &since), &table, "a head of `at`")?,
        _ => Version::new(),
    };
    let births = Arc::new(read_births(reader)?);
    let mut delta = Delta {
        schema: head.schema.to_owned(),
        kind: DeltaKind::Incremental,
        since,
        upto,
        pruned,
        news: head.news,
        fingerprint,
        births,
        writers,
        fields: FieldTable::default(),
        parts: Vec::new(),
        known: Vec::new(),
        writes: Vec::new(),
    };
    read_fields(reader, &head, &mut delta)?;
    let dead = read_dead(reader, &head, &table)?;
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

fn read_dead(reader: &mut Reader<'_>, head: &Head<'_>, table: &[WriterId]) -> Result<DotSet, DecodeError> {
    let mut writers = reader.room(head.dead, least::DEAD_WRITER + least::DEAD_WORD)?;
    for _ in 0..head.dead {
        let writer: DeadWriter = reader.read("a writer of dead dots")?;
        let id = table.get(writer.writer as usize);
        let id = *id.ok_or(DecodeError::Malformed("a dead dot of a writer that is not listed"))?;
        let mut words = reader.share(writer.words, least::DEAD_WORD)?;
        let mut blocks = Differences::default();
        for _ in 0..writer.words {
            let DeadWord { block, word } = reader.read("a word of dead dots")?;
            words.push((blocks.decode(block), word));
        }
        writers.push((id, words));
    }
    DotSet::from_sorted(writers).ok_or(DecodeError::Malformed("dead dots out of order"))
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
        DeltaKind::Reconciled { .. } => {}
    }
    Ok(())
}

fn read_parts(reader: &mut Reader<'_>, head: &Head<'_>, delta: &mut Delta) -> Result<(), DecodeError> {
    delta.parts = reader.room(head.parts, least::PART)?;
    delta.known = reader.room(head.known, least::KNOWN)?;
    delta.writes = reader.room(head.writes, least::WRITE)?;
    let (mut used, mut writes) = (vec![false; delta.fields.len()], vec![false; delta.writers.len()]);
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
            let WireKnown { field, writer, counter } = reader.read("a known sibling")?;
            let known = Known { field, writer, counter: known_counters.decode(counter) };
            use_place(&mut used, field, "a field that is not listed")?;
            use_place(&mut writes, writer, "a writer that is not listed")?;
            check([
                (delta.known[known_start..].last().is_none_or(|last| *last < known), "known siblings out of order"),
                (known.counter > 0, "a sibling without its content"),
            ])?;
            delta.known.push(known);
        }
        for _ in 0..part.writes {
            let wire: WireWrite<'_> = reader.read("a sibling")?;
            use_place(&mut used, wire.field, "a field that is not listed")?;
            use_place(&mut writes, wire.writer, "a writer that is not listed")?;
            let write = read_write(&wire, counters.decode(wire.counter), stamps.decode(wire.stamp))?;
            let key = |w: &DeltaWrite| (w.field, w.writer, w.counter);
            let last = delta.writes[writes_start..].last();
            check([
                (last.is_none_or(|last| key(last) < key(&write)), "siblings out of order"),
                (write.counter > 0, "a sibling that no write made"),
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
        (writes.iter().all(|used| *used), "a writer that nothing uses"),
    ])
}

fn use_place(used: &mut [bool], place: u32, what: &'static str) -> Result<(), DecodeError> {
    *used.get_mut(place as usize).ok_or(DecodeError::Malformed(what))? = true;
    Ok(())
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
    Ok(DeltaWrite { field: wire.field, writer: wire.writer, counter, stamp: Stamp::from_bits(stamp), payload })
}
