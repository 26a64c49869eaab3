//! Characters of texts, and their tombstones, in runs: the last column, of deltas that hold any.
//!
//! A *run* stands for cells of one part whose fields are one *stem* followed by the offsets `o`, `o + 1`, …: each with one write and no
//! other sibling, of one writer, whose counters go up or down by one, and which holds a character or is a tombstone. Runs are the longest from the left, so there is
//! one spelling. A stem has at most [`MAX_STEM`] bytes; cells with longer ones stay among the writes, and so do those of texts with several siblings.
//!
//! 1. the stems, sorted: of each the number of bytes that it shares with the one before, and the other bytes after their length;
//! 2. the stamps: the number of writers, and of each writer its place, as a gap, and the number of its stamps. A stamp holds for all characters from a counter on up to
//!    the next one: the counter, as the difference from the one before; twice the difference of milliseconds, plus 1 if the number within
//!    the millisecond follows;
//! 3. the number of parts with runs, and of each part: its place among all parts in the order of entities, as a gap; the number of its runs;
//! 4. of each run: the place of its stem and its first offset, each as a difference from the end of the run before; the writer and the counter likewise;
//!    twice the number of its characters, plus 1 if the counters go down; and its characters in UTF-8, a tombstone as the byte `ff`.
//!
//! All that a run says is one byte or more for each character, so few bytes never stand for many.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::clock::Stamp;
use crate::codec::columns::take_memory;
use crate::codec::contents::{at_distance, unzigzag};
use crate::codec::cursor::Cursor;
use crate::codec::error::DecodeError;
use crate::kernel::{Delta, DeltaWrite, FieldTable, Known, Part, Payload};
use crate::kinds::payload::LETTER;
use crate::numbers::{write_number, zigzag};
use crate::position::{offset_bytes, split_letter};

/// The longest stem in bytes: it bounds the memory that a character takes for each of its bytes.
const MAX_STEM: usize = 180;

/// Stands for a tombstone among characters. No character begins so.
const DEAD: u8 = 0xff;

/// Memory in bytes that a character takes at most, beside two copies of its field: while it is read, and while it is spelled again to be compared.
const CHARACTER: u64 = 320;

/// Memory in bytes that a stem takes, beside its bytes, and that a stamp takes.
const STEM: u64 = 64;
const STAMP: u64 = 16;

/// Cells in a row.
struct Run {
    stem: u32,
    first: i64,
    writer: u32,
    counter: u64,
    is_down: bool,
    len: u64,
    /// The characters, among those of all runs.
    text: Range<usize>,
}

/// The ends of the run before.
#[derive(Default)]
struct Last {
    stem: u64,
    offset: u64,
    writer: u64,
    counter: u64,
}

/// The stamps of a writer's characters: each holds from a counter on.
type Stamps = BTreeMap<u32, Vec<(u64, Stamp)>>;

/// The length of the stem of a character's field, and the offset, if it may lie in a run.
fn stem_of(field: &[u8]) -> Option<(usize, i64)> {
    split_letter(field).filter(|(len, _)| *len <= MAX_STEM)
}

/// The bytes of a character or of a tombstone.
fn text_of(payload: Option<&Payload>) -> Option<&[u8]> {
    let Some(payload) = payload else { return Some(&[DEAD]) };
    let mut letters = match payload.kind() {
        LETTER => str::from_utf8(payload.bytes()).ok()?.chars(),
        _ => return None,
    };
    (letters.next().is_some() && letters.next().is_none()).then(|| payload.bytes())
}

/// A delta without what lies in runs, and the runs of each of its parts. `None` if there are none.
struct Split<'a> {
    plain: Delta,
    stems: Vec<&'a [u8]>,
    stamps: Stamps,
    parts: Vec<(usize, Vec<Run>)>,
    /// The characters of all runs.
    text: Vec<u8>,
}

impl<'a> Split<'a> {
    fn of(delta: &'a Delta) -> Option<Self> {
        // Nothing is reserved for a delta without texts.
        delta.fields.iter().find_map(stem_of)?;
        let stems_of: Vec<Option<(usize, i64)>> = delta.fields.iter().map(stem_of).collect();
        let stem = |field: u32| Some(&delta.fields.get(field)[..stems_of[field as usize]?.0]);
        let mut stems: Vec<&[u8]> = (0..delta.fields.len() as u32).filter_map(stem).collect();
        // Fields are sorted, and so nearly are their beginnings.
        stems.sort_unstable();
        stems.dedup();
        let mut used = vec![false; stems.len()];
        let (mut parts, mut writes, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut stamps: Vec<(u32, u64, Stamp)> = Vec::new();
        let mut texts: Vec<u8> = Vec::new();
        for (place, part) in (0..delta.parts.len()).map(|place| (place, delta.part(place))) {
            let mut runs: Vec<Run> = Vec::new();
            let mut found = None;
            for (i, write) in part.writes.iter().enumerate() {
                let is_same = |other: Option<&DeltaWrite>| other.is_some_and(|other| other.field == write.field);
                let is_alone = !is_same(i.checked_sub(1).and_then(|before| part.writes.get(before)))
                    && !is_same(part.writes.get(i + 1))
                    && part.known.binary_search_by_key(&write.field, |known| known.field).is_err();
                let of_field = stems_of[write.field as usize].filter(|_| is_alone);
                let (Some((len, offset)), Some(text)) = (of_field, text_of(write.payload.as_ref())) else {
                    writes.push(write.clone());
                    continue;
                };
                let bytes = &delta.fields.get(write.field)[..len];
                let stem = match found {
                    Some(stem) if stems[stem as usize] == bytes => stem,
                    _ => stems.partition_point(|stem| *stem < bytes) as u32,
                };
                found = Some(stem);
                stamps.push((write.writer, write.counter, write.stamp));
                used[stem as usize] = true;
                match runs.last_mut() {
                    Some(run) if run.goes_on_with(stem, offset, write) => {
                        run.is_down = run.counter > write.counter;
                        run.len += 1;
                        run.text.end += text.len();
                    }
                    _ => runs.push(Run {
                        stem,
                        first: offset,
                        writer: write.writer,
                        counter: write.counter,
                        is_down: false,
                        len: 1,
                        text: texts.len()..texts.len() + text.len(),
                    }),
                }
                texts.extend_from_slice(text);
            }
            if !runs.is_empty() {
                parts.push((place, runs));
            }
            ends.push(writes.len());
        }
        if parts.is_empty() {
            return None;
        }
        let (plain, stems) = (without(delta, writes, &ends), kept(stems, &used, &mut parts));
        Some(Self { plain, stems, stamps: changes_of(stamps), parts, text: texts })
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_number(&mut out, self.stems.len() as u64);
        let mut before: &[u8] = &[];
        for stem in &self.stems {
            let shared = before.iter().zip(*stem).take_while(|(a, b)| a == b).count();
            write_number(&mut out, shared as u64);
            write_number(&mut out, (stem.len() - shared) as u64);
            out.extend_from_slice(&stem[shared..]);
            before = stem;
        }
        write_stamps(&mut out, &self.stamps);
        write_number(&mut out, self.parts.len() as u64);
        let (mut next, mut last) = (0, Last::default());
        for (place, runs) in &self.parts {
            write_number(&mut out, (place - next) as u64);
            next = place + 1;
            write_number(&mut out, runs.len() as u64);
            runs.iter().for_each(|run| run.write(&mut out, &mut last, &self.text));
        }
        out
    }
}

impl Run {
    /// Returns whether a write to the next cell goes on in step.
    fn goes_on_with(&self, stem: u32, offset: i64, write: &DeltaWrite) -> bool {
        let Ok(len) = i64::try_from(self.len) else { return false };
        let counter = match (self.len, self.is_down) {
            (1, _) if write.counter < self.counter => self.counter.checked_sub(1),
            (_, true) => self.counter.checked_sub(self.len),
            (_, false) => self.counter.checked_add(self.len),
        };
        (self.stem, self.first.checked_add(len)) == (stem, Some(offset))
            && (self.writer, counter) == (write.writer, Some(write.counter))
    }

    fn write(&self, out: &mut Vec<u8>, last: &mut Last, text: &[u8]) {
        let mut differs = |last: &mut u64, number: u64| {
            write_number(out, zigzag(number.wrapping_sub(*last) as i64));
            *last = number;
        };
        differs(&mut last.stem, self.stem.into());
        differs(&mut last.offset, self.first as u64);
        differs(&mut last.writer, self.writer.into());
        differs(&mut last.counter, self.counter);
        last.goes_on(self.len);
        write_number(out, self.len << 1 | u64::from(self.is_down));
        out.extend_from_slice(&text[self.text.clone()]);
    }

    /// Reads a run. Its characters are at a place of `runs`, all that is read.
    fn read(cursor: &mut Cursor<'_>, last: &mut Last, runs: &[u8]) -> Result<Self, DecodeError> {
        let mut differs = |last: &mut u64| {
            *last = at_distance(*last, unzigzag(cursor.number()?));
            Ok::<u64, DecodeError>(*last)
        };
        let (stem, first) = (differs(&mut last.stem)?, differs(&mut last.offset)? as i64);
        let (writer, counter) = (differs(&mut last.writer)?, differs(&mut last.counter)?);
        let number = cursor.number()?;
        let (len, is_down) = (number >> 1, number & 1 == 1);
        last.goes_on(len);
        let small = |number: u64, what| u32::try_from(number).map_err(|_| DecodeError::Malformed(what));
        let stem = small(stem, "a stem that is not listed")?;
        let writer = small(writer, "a writer that is not listed")?;
        if len == 0 {
            return Err(DecodeError::Malformed("a run without its characters"));
        }
        let start = runs.len() - cursor.rest().len();
        for _ in 0..len {
            skip_letter(cursor)?;
        }
        Ok(Self { stem, first, writer, counter, is_down, len, text: start..runs.len() - cursor.rest().len() })
    }
}

impl Last {
    /// Expects the next offset and the next counter, as of a row that goes on.
    fn goes_on(&mut self, len: u64) {
        self.offset = self.offset.wrapping_add(len);
        self.counter = self.counter.wrapping_add(len);
    }
}

/// A delta with fewer writes, and none but the fields that these and the known siblings use.
fn without(delta: &Delta, mut writes: Vec<DeltaWrite>, ends: &[usize]) -> Delta {
    let mut used = vec![false; delta.fields.len()];
    writes
        .iter()
        .map(|write| write.field)
        .chain(delta.known.iter().map(|known| known.field))
        .for_each(|field| used[field as usize] = true);
    let (mut fields, mut places) = (FieldTable::default(), vec![0; used.len()]);
    for (field, _) in (0u32..).zip(&used).filter(|(_, used)| **used) {
        places[field as usize] = fields.len() as u32;
        fields.push(delta.fields.get(field));
    }
    writes.iter_mut().for_each(|write| write.field = places[write.field as usize]);
    let known = delta.known.iter().map(|known| Known { field: places[known.field as usize], ..*known }).collect();
    let parts = delta.parts.iter().zip(ends).map(|(part, end)| Part { writes_end: *end, ..*part }).collect();
    Delta { fields, known, writes, parts, ..delta.like() }
}

/// The stems that are used, and their places.
fn kept<'a>(stems: Vec<&'a [u8]>, used: &[bool], parts: &mut [(usize, Vec<Run>)]) -> Vec<&'a [u8]> {
    let mut next = 0;
    let places: Vec<u32> = used.iter().map(|used| (next, next += u32::from(*used)).0).collect();
    parts.iter_mut().flat_map(|(_, runs)| runs).for_each(|run| run.stem = places[run.stem as usize]);
    stems.into_iter().zip(used).filter(|(_, used)| **used).map(|(stem, _)| stem).collect()
}

/// A delta without its runs, and these in bytes. `None` if it has none.
pub(super) fn split(delta: &Delta) -> Option<(Delta, Vec<u8>)> {
    let split = Split::of(delta)?;
    let runs = split.write();
    Some((split.plain, runs))
}

/// Puts runs back into a delta whose parts are sorted.
pub(super) fn join(delta: &mut Delta, runs: &[u8], memory_left: &mut u64) -> Result<(), DecodeError> {
    let mut cursor = Cursor::new(runs);
    let stems = read_stems(&mut cursor, memory_left)?;
    let stamps = read_stamps(&mut cursor, memory_left)?;
    let (parts, mut next, mut last) = (cursor.count(8)?, 0usize, Last::default());
    let mut found: Vec<(usize, Run)> = Vec::new();
    // All characters, and the bytes of their fields.
    let (mut len, mut bytes) = (0, 0);
    for _ in 0..parts {
        let place = usize::try_from(cursor.number()?).ok().and_then(|gap| next.checked_add(gap));
        let place = place.filter(|place| *place < delta.parts.len());
        let place = place.ok_or(DecodeError::Malformed("runs of a part that is not there"))?;
        next = place + 1;
        for _ in 0..cursor.count(6)? {
            let run = Run::read(&mut cursor, &mut last, runs)?;
            let stem = stems.get(run.stem as usize).ok_or(DecodeError::Malformed("a stem that is not listed"))?;
            // An offset takes seven bytes at most.
            let of_field = stem.len() as u64 + 7;
            take_memory(memory_left, run.len.saturating_mul(CHARACTER + 2 * of_field))?;
            (len, bytes) = (len + run.len as usize, bytes + (run.len * of_field) as usize);
            found.push((place, run));
        }
    }
    cursor.end()?;
    let mut fields = FieldTable::with_capacities(len, bytes);
    let mut letters: Vec<(usize, DeltaWrite)> = Vec::with_capacity(len);
    let mut field = Vec::with_capacity(MAX_STEM + 7);
    for (place, run) in found {
        let of_writer = stamps.get(&run.writer).map_or(&[][..], |stamps| stamps);
        let mut text = Cursor::new(&runs[run.text.clone()]);
        for k in 0..run.len {
            let offset = run.first.checked_add_unsigned(k).and_then(offset_bytes);
            let offset = offset.ok_or(DecodeError::Malformed("an offset that cannot be spelled"))?;
            let counter = if run.is_down { run.counter.checked_sub(k) } else { run.counter.checked_add(k) };
            let counter = counter.ok_or(DecodeError::Malformed("a sibling that no write made"))?;
            let stamp = of_writer[..of_writer.partition_point(|(from, _)| *from <= counter)].last();
            let (_, stamp) = *stamp.ok_or(DecodeError::Malformed("a character without a stamp"))?;
            let payload = read_letter(&mut text)?;
            letters.push((place, DeltaWrite { field: 0, writer: run.writer, counter, stamp, payload }));
            field.clear();
            field.extend_from_slice(&stems[run.stem as usize]);
            field.extend_from_slice(&offset);
            fields.push(&field);
        }
    }
    put_in(delta, &fields, letters);
    Ok(())
}

fn read_stems(cursor: &mut Cursor<'_>, memory_left: &mut u64) -> Result<Vec<Vec<u8>>, DecodeError> {
    let count = cursor.count(2)?;
    take_memory(memory_left, (count as u64).saturating_mul(STEM))?;
    let mut stems: Vec<Vec<u8>> = Vec::with_capacity(count);
    for _ in 0..count {
        let shared = cursor.number()?;
        let before = stems.last().map_or(&[][..], |stem| stem);
        let shared = usize::try_from(shared).ok().and_then(|shared| before.get(..shared));
        let shared = shared.ok_or(DecodeError::Malformed("a stem that shares more than there is"))?;
        let rest = cursor.bytes()?;
        let len = shared.len() + rest.len();
        if len > MAX_STEM {
            return Err(DecodeError::TooLarge { what: "a stem", found: len as u64, limit: MAX_STEM as u64 });
        }
        take_memory(memory_left, len as u64)?;
        let stem = [shared, rest].concat();
        if stems.last().is_some_and(|before| *before >= stem) {
            return Err(DecodeError::Malformed("stems out of order"));
        }
        stems.push(stem);
    }
    Ok(stems)
}

/// The stamps that differ from those before them, of characters in any order.
fn changes_of(mut stamps: Vec<(u32, u64, Stamp)>) -> Stamps {
    stamps.sort_unstable();
    let mut changes = Stamps::new();
    for (writer, counter, stamp) in stamps {
        let of_writer = changes.entry(writer).or_default();
        if of_writer.last().is_none_or(|(_, before)| *before != stamp) {
            of_writer.push((counter, stamp));
        }
    }
    changes
}

fn write_stamps(out: &mut Vec<u8>, stamps: &Stamps) {
    write_number(out, stamps.len() as u64);
    let mut next = 0;
    for (writer, stamps) in stamps {
        write_number(out, u64::from(*writer) - next);
        next = u64::from(*writer) + 1;
        write_number(out, stamps.len() as u64);
        let (mut from, mut millis) = (0, 0);
        for (counter, stamp) in stamps {
            write_number(out, counter.wrapping_sub(from));
            let difference = zigzag(stamp.millis().wrapping_sub(millis) as i64);
            write_number(out, difference << 1 | u64::from(stamp.counter() > 0));
            if stamp.counter() > 0 {
                write_number(out, stamp.counter().into());
            }
            (from, millis) = (*counter, stamp.millis());
        }
    }
}

fn read_stamps(cursor: &mut Cursor<'_>, memory_left: &mut u64) -> Result<Stamps, DecodeError> {
    let (mut stamps, mut next) = (Stamps::new(), 0u64);
    for _ in 0..cursor.count(4)? {
        let writer = next.checked_add(cursor.number()?).and_then(|writer| u32::try_from(writer).ok());
        let writer = writer.ok_or(DecodeError::Malformed("a writer that is not listed"))?;
        next = u64::from(writer) + 1;
        let (count, mut from, mut millis) = (cursor.count(2)?, 0u64, 0u64);
        take_memory(memory_left, STEM.saturating_add((count as u64).saturating_mul(STAMP)))?;
        let mut of_writer = Vec::with_capacity(count);
        for _ in 0..count {
            // A number past the end comes round, and is found by the check for canonical bytes.
            from = from.wrapping_add(cursor.number()?);
            let number = cursor.number()?;
            millis = at_distance(millis, unzigzag(number >> 1));
            let within = if number & 1 == 1 { cursor.number()? } else { 0 };
            let within = u16::try_from(within).map_err(|_| DecodeError::Malformed("a stamp that no clock makes"))?;
            of_writer.push((from, Stamp::new(millis, within)));
        }
        stamps.insert(writer, of_writer);
    }
    Ok(stamps)
}

/// The length of the character that begins so, or of a tombstone.
fn letter_len(first: u8) -> u64 {
    match first {
        DEAD => 1,
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

fn skip_letter(cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
    let first = cursor.rest().first().ok_or(DecodeError::Malformed("a run without its characters"))?;
    cursor.take(letter_len(*first)).map(drop)
}

fn read_letter(cursor: &mut Cursor<'_>) -> Result<Option<Payload>, DecodeError> {
    let first = cursor.rest().first().ok_or(DecodeError::Malformed("a run without its characters"))?;
    let bytes = cursor.take(letter_len(*first))?;
    if bytes == [DEAD] {
        return Ok(None);
    }
    // Two characters never have the bytes of one.
    str::from_utf8(bytes).map_err(|_| DecodeError::Malformed("a run that is not UTF-8"))?;
    Ok(Some(Payload::new(LETTER, bytes)))
}

/// Puts writes with their fields into a delta.
fn put_in(delta: &mut Delta, new: &FieldTable, mut letters: Vec<(usize, DeltaWrite)>) {
    // Parts mostly have texts of their own, and one has its runs in order.
    let mut order: Vec<u32> = (0..new.len() as u32).collect();
    order.sort_by(|a, b| new.get(*a).cmp(new.get(*b)));
    let bytes = [&delta.fields, new].map(|fields| fields.iter().map(<[u8]>::len).sum::<usize>()).iter().sum();
    let mut fields = FieldTable::with_capacities(delta.fields.len() + new.len(), bytes);
    let mut places = Vec::with_capacity(delta.fields.len());
    let (mut order, mut old) = (order.into_iter().peekable(), delta.fields.iter().peekable());
    loop {
        let least = match (order.peek().map(|i| new.get(*i)), old.peek()) {
            (None, None) => break,
            (Some(new), Some(old)) => new.min(old),
            (Some(field), None) => field,
            (None, Some(field)) => field,
        };
        let place = fields.len() as u32;
        fields.push(least);
        if old.next_if(|field| *field == least).is_some() {
            places.push(place);
        }
        while let Some(i) = order.next_if(|i| new.get(*i) == least) {
            letters[i as usize].1.field = place;
        }
    }
    drop(old);
    delta.known.iter_mut().for_each(|known| known.field = places[known.field as usize]);
    let mut writes = Vec::with_capacity(delta.writes.len() + letters.len());
    let (mut start, mut letters) = (0, letters.into_iter().peekable());
    let mut old = std::mem::take(&mut delta.writes).into_iter();
    for (place, part) in delta.parts.iter_mut().enumerate() {
        let from = writes.len();
        let len = part.writes_end - start;
        start = part.writes_end;
        writes.extend(old.by_ref().take(len).map(|write| DeltaWrite { field: places[write.field as usize], ..write }));
        writes.extend(std::iter::from_fn(|| letters.next_if(|(of, _)| *of == place)).map(|(_, write)| write));
        writes[from..].sort_by_key(|write: &DeltaWrite| (write.field, write.writer, write.counter));
        part.writes_end = writes.len();
    }
    (delta.fields, delta.writes) = (fields, writes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::columns;
    use crate::document::Document;
    use crate::kernel::{Crdt, Entity};
    use crate::testing::{Raw, TestEnvironment};
    use crate::{Replica, id::Dot};

    /// The field of a character: which stem, and the offset.
    fn field(stem: u8, offset: i64) -> Vec<u8> {
        let path: &[u8] = match stem % 4 {
            0 => b"\x02\x00\x07",
            1 => b"\x02text\x00\xfe\x00\x07",
            // A zero byte and a kind within a segment, and a path as long as a stem.
            2 => b"\x02a\x00\xff\x07b\x00\xfe\x00\x07",
            _ => &[&[2][..], &[b'x'; 170], &[0, 0xfe, 0, 7]].concat(),
        };
        let step: &[u8] = if stem & 4 == 0 { &[0x40, 0, 0, 1] } else { &[0x40, 0, 0, 1, 0x80, 0x80, 0, 0, 2] };
        [path, step, &offset_bytes(offset).unwrap_or_default()].concat()
    }

    #[derive(Clone, Debug)]
    enum Act {
        /// Writes letters in a row, with offsets that go up, or down.
        Letters {
            stem: u8,
            from: i64,
            len: u8,
            down: bool,
        },
        Erase {
            stem: u8,
            at: i64,
        },
        /// Writes a payload that is no letter.
        Other {
            stem: u8,
            at: i64,
        },
        /// The other replica writes the same cell.
        Concurrent {
            stem: u8,
            at: i64,
        },
        Wait,
    }

    /// A field, and what is written there; nothing if it is erased.
    type Written = (Vec<u8>, Option<Payload>);

    fn act() -> impl Strategy<Value = Act> {
        let at = || prop_oneof![-6i64..12, 125i64..131, Just(1 << 40)];
        prop_oneof![
            6 => (0u8..8, at(), 1u8..9, any::<bool>()).prop_map(|(stem, from, len, down)| Act::Letters { stem, from, len, down }),
            2 => (0u8..8, at()).prop_map(|(stem, at)| Act::Erase { stem, at }),
            1 => (0u8..8, at()).prop_map(|(stem, at)| Act::Other { stem, at }),
            1 => (0u8..8, at()).prop_map(|(stem, at)| Act::Concurrent { stem, at }),
            1 => Just(Act::Wait),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// The definition: cells that are put into runs and back are the same cells.
        #[test]
        fn runs_are_their_cells(acts in prop::collection::vec(act(), 1..24)) {
            let mut replicas = [1, 2].map(|seed| Replica::<Raw>::with_environment(TestEnvironment::new(seed)));
            let letter = |n: i64| Payload::new(LETTER, ["a", "é", "語", "🌱"][n.rem_euclid(4) as usize].as_bytes());
            for act in acts {
                let (who, writes): (usize, Vec<Written>) = match act {
                    Act::Letters { stem, from, len, down } => {
                        let offset = |k: u8| from + if down { -i64::from(k) } else { k.into() };
                        (0, (0..len).map(|k| (field(stem, offset(k)), Some(letter(offset(k))))).collect())
                    }
                    Act::Erase { stem, at } => (0, vec![(field(stem, at), None)]),
                    Act::Other { stem, at } => (0, vec![(field(stem, at), Some(Payload::new(LETTER, b"ab")))]),
                    Act::Concurrent { stem, at } => (1, vec![(field(stem, at), Some(letter(at + 1)))]),
                    Act::Wait => {
                        replicas[0].edit(|edit| edit.write(Entity::SELF, b"n", Payload::new(1, &[])).map(drop)).unwrap();
                        continue;
                    }
                };
                replicas[who].edit(|edit| writes.into_iter().try_for_each(|(field, payload)| match payload {
                    Some(payload) => edit.write(Entity::SELF, &field, payload).map(drop),
                    None => edit.erase(Entity::SELF, &field).map(drop),
                })).unwrap();
            }
            let [mut a, b] = replicas;
            let before = a.version().clone();
            let theirs = b.complete();
            a.merge(&theirs).unwrap();
            for delta in [a.complete_with_tombstones(), a.complete(), a.delta_since(&before).unwrap(), theirs] {
                let cells = |delta: &Delta| (delta.fields.clone(), delta.parts.clone(), delta.known.clone(), delta.writes.clone());
                if let Some((mut plain, runs)) = split(&delta) {
                    prop_assert!(plain.writes.len() < delta.writes.len());
                    prop_assert!(split(&plain).is_none());
                    columns::sort(&mut plain);
                    join(&mut plain, &runs, &mut { u64::MAX }).unwrap();
                    prop_assert!(cells(&plain) == cells(&delta));
                }
                prop_assert!(Delta::from_bytes(&delta.to_bytes()).unwrap() == delta);
            }
        }
    }

    #[test]
    fn what_is_typed_takes_few_bytes_and_no_more_memory_than_is_foreseen() {
        let mut replica = Replica::<Document>::with_environment(TestEnvironment::new(1));
        let text: String = ('a'..='z').cycle().take(10_000).collect();
        replica.edit(|d| d.text_mut("/t").insert(0, &text)).unwrap();
        replica.edit(|d| d.text_mut("/t").delete(2_000..8_000)).unwrap();
        let delta = replica.complete_with_tombstones();
        assert_eq!(delta.writes.len(), 10_000);
        let (plain, runs) = split(&delta).unwrap();
        assert_eq!(plain.writes.len(), 0);
        assert!(runs.len() < 10_100, "{}", runs.len());
        let error = Delta::from_bytes_within(&delta.to_bytes(), 0).unwrap_err();
        assert!(matches!(error, DecodeError::Memory { .. }), "{error}");
        // Each character is a dot of its own.
        let dots = delta
            .writes
            .iter()
            .map(|write| Dot { writer: delta.writers[write.writer as usize], counter: write.counter });
        assert_eq!(dots.collect::<std::collections::BTreeSet<_>>().len(), 10_000);
        assert!(replica.state().state().check_invariants().is_ok());
    }
}
