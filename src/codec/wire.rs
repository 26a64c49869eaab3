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
//! 8. the parts, as [`columns`] in one binary. More than a GiB of columns is cut: further binaries follow one of exactly a GiB, up to a
//!    shorter one. The characters of texts follow in the same binary, as [`runs`]: what is announced and listed before is without them.
//!    In format 2 the parts are [`rows`].
//!
//! Fields and writers are named by their places in the tables. Numbers that grow with time are differences, modulo 2⁶⁴,
//! from the one before.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::bugs::{Bug, is};
use crate::codec::columns::{self, Announced, Told};
use crate::codec::envelope::{Format, Kind};
use crate::codec::error::DecodeError;
use crate::codec::slice::Reference;
use crate::codec::versions::{self, read_births, read_ids, read_version, write_births, write_ids, writer_id};
use crate::codec::{rows, runs};
use crate::id::WriterId;
use crate::kernel::{Delta, DeltaKind, DotSet, FieldTable, Fingerprint, Known, MAX_FIELD_LEN, MAX_SCHEMA_LEN, Names};
use crate::version::{HeadsChange, Version};

/// Siblings are counted in 32 bits while reading. Four thousand million would need 256 GiB of memory.
const MAX_SIBLINGS: u64 = u32::MAX as u64;

/// The longest binary of columns: MessagePack counts the bytes of one in 32 bits.
const MAX_BINARY: usize = 1 << 30;

/// The memory that a byte of rows takes at most, in bytes: the smallest write takes eight bytes, and 48 in memory.
const ROWS_MEMORY: u64 = 8;

/// How deep the values above nest, with one to spare; rmp-serde's own limit of 1024 would need a large stack.
const MAX_NESTING: usize = 3;

#[derive(Serialize, Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow)]
    schema: &'a str,
    #[serde(borrow)]
    fingerprint: Option<&'a Bytes>,
    news: u64,
    fields: u64,
    dead: u64,
    pub(super) parts: u64,
    pub(super) known: u64,
    pub(super) writes: u64,
}

/// The layout in which parts are written.
#[derive(Clone, Copy)]
pub(super) enum Layout<'a> {
    Rows,
    /// Columns, with the facts from reading them if the delta was read.
    Columns(Option<&'a Told>),
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

/// The fewest bytes that the values above take: a count is believed only if so many are there.
mod least {
    pub(super) const FIELD: u64 = 2;
    pub(super) const DEAD_WRITER: u64 = 3;
    pub(super) const DEAD_WORD: u64 = 3;
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

pub(super) fn write_delta(out: &mut impl Write, delta: &Delta, reference: &Reference, layout: Layout<'_>) {
    let split = if let Layout::Columns(_) = layout { runs::split(delta) } else { None };
    match &split {
        // A place that a reader found is of another order of parts.
        Some((plain, runs)) => write_without_runs(out, plain, reference, Layout::Columns(None), runs),
        None => write_without_runs(out, delta, reference, layout, &[]),
    }
}

fn write_without_runs(out: &mut impl Write, delta: &Delta, reference: &Reference, layout: Layout<'_>, runs: &[u8]) {
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
    match layout {
        Layout::Rows => rows::write_parts(out, delta),
        Layout::Columns(told) => {
            let mut columns = columns::write_parts(delta, told);
            columns.push(runs.to_vec());
            write_binaries(out, &columns, MAX_BINARY);
        }
    }
}

/// The parts of a delta as the end of its body, for tests: nothing of it needs to make sense.
#[cfg(feature = "testing")]
pub(crate) fn spell_parts(delta: &Delta) -> Vec<u8> {
    let mut out = Vec::new();
    write_binaries(&mut out, &columns::write_parts(delta, None), MAX_BINARY);
    out
}

/// Writes bytes as MessagePack binaries of `most` bytes each, the last of which is shorter.
fn write_binaries(out: &mut impl Write, pieces: &[Vec<u8>], most: usize) {
    let mut left: usize = pieces.iter().map(Vec::len).sum();
    let (mut pieces, mut piece) = (pieces.iter(), &[][..]);
    loop {
        let len = left.min(most);
        write_binary_head(out, len as u32);
        let mut of_binary = len;
        while of_binary > 0 {
            if piece.is_empty() {
                piece = pieces.next().map_or(&[], |piece| piece);
                continue;
            }
            let (now, later) = piece.split_at(piece.len().min(of_binary));
            // Writing to a vector or to a comparison cannot fail.
            let _ = out.write_all(now);
            (piece, of_binary) = (later, of_binary - now.len());
        }
        left -= len;
        if len < most {
            return;
        }
    }
}

fn write_binary_head(out: &mut impl Write, len: u32) {
    let [.., high, low] = len.to_be_bytes();
    let _ = match len {
        0..=0xff => out.write_all(&[0xc4, low]),
        0x100..=0xffff => out.write_all(&[0xc5, high, low]),
        _ => out.write_all(&[&[0xc6][..], &len.to_be_bytes()].concat()),
    };
}

/// Reads what [`write_binaries`] wrote.
fn read_binaries<'a>(reader: &mut Reader<'a>, most: usize) -> Result<Cow<'a, [u8]>, DecodeError> {
    let mut all = Cow::Borrowed(&[][..]);
    loop {
        let next: &'a Bytes = reader.read("the parts")?;
        match all.is_empty() {
            true => all = Cow::Borrowed(&next[..]),
            false => all.to_mut().extend_from_slice(next),
        }
        if next.len() < most {
            return Ok(all);
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

pub(super) fn within(what: &'static str, found: usize, limit: usize) -> Result<(), DecodeError> {
    let (found, limit) = (found as u64, limit as u64);
    if found > limit { Err(DecodeError::TooLarge { what, found, limit }) } else { Ok(()) }
}

pub(super) fn read_owner(reader: &mut Reader<'_>) -> Result<Option<WriterId>, DecodeError> {
    let owner: Option<&Bytes> = reader.read("the owner")?;
    owner.map(|id| writer_id(id)).transpose()
}

/// The context in which a delta is read.
pub(super) struct Reading<'a> {
    pub(super) format: Format,
    pub(super) kind: Kind,
    pub(super) reference: &'a Reference,
    /// The memory that decoding may take, in bytes. Reading subtracts the memory that it may need.
    pub(super) memory_left: &'a mut u64,
}

/// The layout in which parts were found, and the facts from reading columns, unless these have been put together with runs.
pub(super) enum Found {
    Rows,
    Columns(Option<Told>),
}

/// Reads a delta that is yet to be [finished](finish).
pub(super) fn read_delta(
    reader: &mut Reader<'_>,
    Reading { format, kind, reference, memory_left }: Reading<'_>,
) -> Result<(Delta, Found), DecodeError> {
    let head: Head<'_> = reader.read("the head")?;
    within("the name of the type", head.schema.len(), MAX_SCHEMA_LEN)?;
    let siblings = head.known.saturating_add(head.writes);
    if siblings > MAX_SIBLINGS {
        return Err(DecodeError::TooLarge { what: "the number of siblings", found: siblings, limit: MAX_SIBLINGS });
    }
    // All at once, or each count could claim the whole body for itself.
    let announced = Announced { parts: head.parts, known: head.known, writes: head.writes };
    let of_parts = match format {
        Format::Rows => [rows::least::PART, rows::least::KNOWN, rows::least::WRITE],
        // A part is the number of its shape, and a known sibling its dot; how many writes there may be is asked below.
        Format::Columns => [1, 1, 0],
    };
    let counts = [
        (head.fields, least::FIELD),
        (head.dead, least::DEAD_WRITER + least::DEAD_WORD),
        (head.parts, of_parts[0]),
        (head.known, of_parts[1]),
        (head.writes, of_parts[2]),
    ];
    let least = counts.iter().map(|(count, least)| u128::from(*count) * u128::from(*least)).sum::<u128>();
    let is_possible = format == Format::Rows || columns::is_possible(announced, reader.len);
    check([(least <= u128::from(reader.len) && is_possible, "more is announced than the body can hold")])?;

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
        names: Names::default(),
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
    let told = match format {
        Format::Rows => {
            columns::take_memory(memory_left, reader.len.saturating_mul(ROWS_MEMORY))?;
            rows::read_parts(reader, &head, &mut delta)?;
            Found::Rows
        }
        Format::Columns => {
            let bytes = read_binaries(reader, MAX_BINARY)?;
            let before = *memory_left;
            let (told, runs) = columns::read_parts(&mut delta, &bytes, announced, memory_left)?;
            match runs.is_empty() {
                true => Found::Columns(Some(told)),
                false => {
                    columns::sort(&mut delta);
                    // The parts have taken some already: the error tells of the whole message.
                    runs::join(&mut delta, runs, memory_left).map_err(|error| match error {
                        DecodeError::Memory { needed, limit } => {
                            DecodeError::Memory { needed: (before - limit).saturating_add(needed), limit: before }
                        }
                        error => error,
                    })?;
                    Found::Columns(None)
                }
            }
        }
    };
    Ok((delta, told))
}

/// Checks what was read, puts its parts in order, and checks that it was spelled as `write` does: the last step of reading.
pub(super) fn finish(
    mut delta: Delta,
    found: Found,
    is_canonical: impl FnOnce(&Delta, Layout<'_>) -> Result<(), DecodeError>,
) -> Result<Delta, DecodeError> {
    let (layout, told) = match &found {
        Found::Rows => (Layout::Rows, None),
        Found::Columns(told) => (Layout::Columns(told.as_ref()), told.as_ref()),
    };
    let are_distinct = told.is_some_and(|told| told.are_dots_distinct);
    is_canonical(&delta, layout)?;
    if told.is_some() {
        columns::sort(&mut delta);
    }
    check_parts(&delta)?;
    check([(are_distinct || delta.has_distinct_dots(), "one dot in two places")])?;
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

/// Checks the rules that the parts of a delta keep in every layout.
fn check_parts(delta: &Delta) -> Result<(), DecodeError> {
    let (mut fields, mut writers) = (vec![false; delta.fields.len()], vec![false; delta.writers.len()]);
    let complete = delta.kind == DeltaKind::Complete;
    let mut last = None;
    for part in delta.parts() {
        check([
            (last.is_none_or(|last| last < part.entity), "entities out of order"),
            (part.whole || !complete, "a part of an entity in a complete delta"),
            (
                !part.known.is_empty() || !part.writes.is_empty() || part.whole && !complete,
                "an entity without siblings",
            ),
        ])?;
        last = Some(part.entity);
        let mut before = None;
        for known in part.known {
            use_place(&mut fields, known.field, "a field that is not listed")?;
            use_place(&mut writers, known.writer, "a writer that is not listed")?;
            check([
                (before.is_none_or(|before: &Known| before < known), "known siblings out of order"),
                (known.counter > 0, "a sibling without its content"),
            ])?;
            before = Some(known);
        }
        let mut before = None;
        for write in part.writes {
            use_place(&mut fields, write.field, "a field that is not listed")?;
            use_place(&mut writers, write.writer, "a writer that is not listed")?;
            let key = (write.field, write.writer, write.counter);
            check([
                (before.is_none_or(|before| before < key), "siblings out of order"),
                (write.counter > 0, "a sibling that no write made"),
            ])?;
            before = Some(key);
        }
    }
    check([
        (fields.iter().all(|used| *used), "a field that nothing uses"),
        (writers.iter().all(|used| *used), "a writer that nothing uses"),
    ])
}

fn use_place(used: &mut [bool], place: u32, what: &'static str) -> Result<(), DecodeError> {
    *used.get_mut(place as usize).ok_or(DecodeError::Malformed(what))? = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_longer_than_a_binary_may_be_are_cut_and_put_together() {
        for lens in [&[][..], &[0], &[3], &[4], &[5], &[8], &[9, 0, 2], &[1, 2, 3, 4, 5], &[300, 70_000, 1]] {
            let pieces: Vec<Vec<u8>> = lens.iter().zip(1..).map(|(len, byte)| vec![byte; *len]).collect();
            for most in [4, 300, MAX_BINARY] {
                let mut out = Vec::new();
                write_binaries(&mut out, &pieces, most);
                let mut reader = Reader::new(&out);
                assert_eq!(&read_binaries(&mut reader, most).unwrap()[..], &pieces.concat(), "{lens:?} by {most}");
                assert!(reader.read::<u64>("nothing").is_err(), "{lens:?} by {most}: more follows");
            }
        }
    }
}
