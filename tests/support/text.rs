//! Random schedules over a text, against the reading rule by its definition and the oracles of the executable model:
//! `TextWorld` in `tests/model/text_tree_model.py`.
//!
//! A schedule is *plain* or *forged*. In a plain one each letter that is typed is another, so a letter names the insertion that it
//! comes from, and all oracles hold. In a forged one letters repeat, and cells are written that no valid writer produces: then the
//! text is judged by the cells alone.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::kernel::{Entity, Payload};
use driftless::testing::{TestEnvironment, same};
use driftless::{
    Anchor, Bias, Crdt, Delta, Document, Dot, Edit, EditError, Extent, Kind, Offset, OffsetError, Prune, Replica,
    TextRef, UndoStack, Version, WriterId,
};
use proptest::prelude::*;
use serde_json::json;

/// The path of the text: the whole document is one.
pub(crate) const PATH: &str = "";

/// The beginning of the fields of its characters.
pub(crate) const START: [u8; 3] = [2, 0, 7];

/// The kind of payload of a character.
pub(crate) const LETTER: u8 = 23;

// ---- the reading rule, by its definition, from the cells and by a reader of its own ----

fn letter(kind: u8, bytes: &[u8]) -> Option<char> {
    let mut letters = std::str::from_utf8(bytes).ok().filter(|_| kind == LETTER)?.chars();
    letters.next().filter(|_| letters.next().is_none())
}

/// The characters that show, in order, each with the field of its cell.
pub(crate) fn definition(document: &Document) -> Vec<(Vec<u8>, char)> {
    let mut cells: BTreeMap<Vec<u8>, Vec<(Dot, char)>> = BTreeMap::new();
    for (entity, field, sibling) in document.state().live_siblings() {
        let field = field.as_bytes();
        let is_character = field.strip_prefix(&START).and_then(steps).is_some();
        let letter = sibling.payload.and_then(|payload| letter(payload.kind(), payload.bytes()));
        if let Some(letter) = letter.filter(|_| is_character && entity == Entity::SELF) {
            cells.entry(field.to_vec()).or_default().push((sibling.dot, letter));
        }
    }
    let mut shown = Vec::new();
    for (field, mut siblings) in cells {
        siblings.sort_unstable();
        let mut letters: Vec<char> = Vec::new();
        for (_, letter) in siblings {
            if !letters.contains(&letter) {
                letters.push(letter);
            }
        }
        shown.extend(letters.into_iter().map(|letter| (field.clone(), letter)));
    }
    shown
}

/// The most steps of a position.
pub(crate) const MAX_STEPS: usize = 256;

/// The number of steps of a position; `None` if the bytes spell none.
pub(crate) fn steps(mut bytes: &[u8]) -> Option<usize> {
    // A number has as many bytes as there are set bits behind its prefix, and one more. All bits of negative ones are flipped.
    let len = |first: u8, prefix: u32, longest: usize| {
        let len = (first << prefix).leading_ones() as usize + 1;
        (len <= longest).then_some(len)
    };
    let mut steps = 0;
    while !bytes.is_empty() {
        let first = bytes[0];
        // Sides other than 0 and 1 are numbers before the tag, which has thirty bits.
        let side = match first >> 5 {
            0b010..=0b101 => 0,
            0b110 => len(first, 3, 5)?,
            0b001 => len(!first, 3, 5)?,
            _ => return None,
        };
        let tag = bytes.get(side..side + 4)?;
        if side > 0 && tag[0] >= 0x40 {
            return None;
        }
        let rest = &bytes[side + 4..];
        let first = *rest.first()?;
        let offset = len(if first & 0x80 != 0 { first } else { !first }, 1, 7)?;
        bytes = rest.get(offset..)?;
        steps += 1;
    }
    (1..=MAX_STEPS).contains(&steps).then_some(steps)
}

/// Lengths in scalars, UTF-16 units, bytes and newlines.
pub(crate) type Lengths = (usize, usize, usize, usize);

pub(crate) fn lengths(extent: Extent) -> Lengths {
    (extent.scalars, extent.utf16, extent.bytes, extent.newlines)
}

pub(crate) fn lengths_of(text: &str) -> Lengths {
    (text.chars().count(), text.encode_utf16().count(), text.len(), text.matches('\n').count())
}

/// Both ends and some offsets between, in ascending order.
fn spots(len: usize, seed: usize) -> Vec<usize> {
    let between = (0..6).map(|k: usize| seed.wrapping_mul(31).wrapping_add(k * 7919) % (len + 1));
    let spots: BTreeSet<usize> = between.chain([0, len]).collect();
    spots.into_iter().collect()
}

/// Everything that a document tells of its text, against the definition. `is_plain` if no cell is forged.
pub(crate) fn check(document: &Document, seed: usize, is_plain: bool) -> Result<(), String> {
    document.check_invariants()?;
    let letters: Vec<char> = definition(document).into_iter().map(|(_, letter)| letter).collect();
    let string: String = letters.iter().collect();
    let Some(text) = document.text(PATH) else {
        return same("characters of a text that is not there", letters.len(), 0);
    };
    same("the text", text.to_string(), string.clone())?;
    same("its characters", text.chars().collect::<Vec<char>>(), letters.clone())?;
    same("its length", (text.len(), text.is_empty()), (letters.len(), letters.is_empty()))?;
    same("its extent", lengths(text.extent()), lengths_of(&string))?;
    if !letters.is_empty() {
        same("the kind at the path", document.kind(PATH), Some(Kind::Text))?;
        same("the text as JSON", document.to_json(), json!(string))?;
    }
    check_offsets(&text, &letters, seed)?;
    check_anchors(&text, seed, is_plain)
}

pub(crate) fn check_offsets(text: &TextRef<'_>, letters: &[char], seed: usize) -> Result<(), String> {
    let spots = spots(letters.len(), seed);
    for i in &spots {
        let prefix: String = letters[..*i].iter().collect();
        let at = lengths_of(&prefix);
        for offset in [Offset::Scalar(*i), Offset::Utf16(at.1), Offset::Byte(at.2)] {
            same(format!("the place of {offset:?}"), text.locate(offset).map(lengths), Ok(at))?;
        }
        // The line that the offset is in begins behind the newline before it.
        let line = prefix.rfind('\n').map_or(0, |newline| newline + 1);
        let begins = Ok(lengths_of(&prefix[..line]));
        same(format!("the beginning of line {}", at.3), text.locate(Offset::Line(at.3)).map(lengths), begins)?;
        let Some(letter) = letters.get(*i) else { continue };
        let within =
            [(letter.len_utf16() > 1, Offset::Utf16(at.1 + 1)), (letter.len_utf8() > 1, Offset::Byte(at.2 + 1))];
        for (_, offset) in within.into_iter().filter(|(is_long, _)| *is_long) {
            let is_inside = matches!(text.locate(offset), Err(OffsetError::Inside { .. }));
            same(format!("{offset:?} is inside a character"), is_inside, true)?;
        }
    }
    for pair in spots.windows(2) {
        let expected = Ok(letters[pair[0]..pair[1]].iter().collect::<String>());
        same("a slice", text.slice(pair[0]..pair[1]), expected)?;
    }
    let end = lengths(text.extent());
    for offset in
        [Offset::Scalar(end.0 + 1), Offset::Utf16(end.1 + 1), Offset::Byte(end.2 + 1), Offset::Line(end.3 + 1)]
    {
        let is_beyond = matches!(text.locate(offset), Err(OffsetError::Beyond { .. }));
        same(format!("{offset:?} is beyond the text"), is_beyond, true)?;
    }
    Ok(())
}

fn check_anchors(text: &TextRef<'_>, seed: usize, is_plain: bool) -> Result<(), String> {
    let mut last = (0, 0);
    for i in spots(text.len(), seed) {
        let resolve = |bias| {
            let anchor = text.anchor(i, bias).map_err(|error| error.to_string())?;
            Ok::<usize, String>(text.resolve(&anchor))
        };
        let found = (resolve(Bias::Left)?, resolve(Bias::Right)?);
        if is_plain {
            same("the offset of a fresh anchor", found, (i, i))?;
        }
        same(format!("anchors at {i} are not before earlier ones"), found.0 >= last.0 && found.1 >= last.1, true)?;
        last = found;
    }
    Ok(())
}

/// The older text with the changes made to it.
pub(crate) fn replayed(older: &TextRef<'_>, newer: &TextRef<'_>) -> Result<String, String> {
    let mut letters: Vec<char> = older.chars().collect();
    for splice in newer.changes_since(older) {
        let range = splice.at..splice.at + splice.deleted;
        if range.end > letters.len() {
            return Err(format!("{splice:?} in a text of {} characters", letters.len()));
        }
        drop(letters.splice(range, splice.inserted.chars()));
    }
    Ok(letters.into_iter().collect())
}

// ---- random schedules ----

/// A random schedule.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// True if all replicas begin with one text.
    pub(crate) is_begun: bool,
    /// True if all insertions are made within the first three characters.
    pub(crate) is_hot: bool,
    /// True if letters repeat and cells are forged.
    pub(crate) is_forged: bool,
    pub(crate) acts: Vec<(usize, Act)>,
}

/// An act of one replica. Offsets, lengths and choices are numbers that are cut down to what there is.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Types single characters forward, backward, or to and fro: offset, number, way.
    Type(u8, u8, u8),
    Insert(u8, u8),
    Delete(u8, u8),
    Replace(u8, u8, u8),
    /// Deletes, and types in the same place at once: offset, number deleted, number typed.
    Retype(u8, u8, u8),
    /// Deletes, prunes, and types there: offset, number, way.
    PruneAndType(u8, u8, u8),
    /// Changes the text to another; imports one if it is empty.
    Update(u8, u8, u8),
    Unset,
    Clear,
    /// Makes several changes, and then none of them.
    Fail(u8, u8),
    Undo,
    Redo,
    /// Keeps a snapshot, and an anchor at each offset.
    Keep,
    /// Goes back to the snapshot.
    Revert,
    Prune,
    /// Prunes the tombstones that another replica has seen.
    PruneSeen(u8),
    Save,
    Restart,
    /// Opens an old saved state.
    RestoreBackup,
    /// Puts a fork of the acting replica in the place of another.
    Fork(u8),
    Tick(u16),
    /// Sends what a replica lacks to that replica, or to another.
    Send(u8, bool),
    SendAll(u8),
    /// Merges a delta in flight: which one, joined with another one or alone, and whether it stays in flight.
    Arrive(u8, bool, bool),
    /// Writes a cell that no valid writer produces: key, payload.
    Forge(u8, u8),
}

pub(crate) fn schedules() -> impl Strategy<Value = Schedule> {
    let byte = any::<u8>;
    let act = prop_oneof![
        14 => (byte(), 1..5u8, byte()).prop_map(|(i, n, way)| Act::Type(i, n, way)),
        8 => (byte(), 1..5u8).prop_map(|(i, n)| Act::Insert(i, n)),
        6 => (byte(), 1..5u8).prop_map(|(i, n)| Act::Delete(i, n)),
        3 => (byte(), 0..4u8, 0..4u8).prop_map(|(i, n, new)| Act::Replace(i, n, new)),
        4 => (byte(), 1..5u8, 1..4u8).prop_map(|(i, n, new)| Act::Retype(i, n, new)),
        3 => (byte(), 1..5u8, byte()).prop_map(|(i, n, way)| Act::PruneAndType(i, n, way)),
        5 => (byte(), 0..6u8, 0..4u8).prop_map(|(i, n, new)| Act::Update(i, n, new)),
        2 => Just(Act::Unset),
        1 => Just(Act::Clear),
        1 => (byte(), byte()).prop_map(|(i, n)| Act::Fail(i, n)),
        7 => Just(Act::Undo),
        3 => Just(Act::Redo),
        2 => Just(Act::Keep),
        1 => Just(Act::Revert),
        4 => Just(Act::Prune),
        2 => (0..3u8).prop_map(Act::PruneSeen),
        1 => Just(Act::Save),
        1 => Just(Act::Restart),
        1 => Just(Act::RestoreBackup),
        1 => (0..3u8).prop_map(Act::Fork),
        2 => (0..300u16).prop_map(Act::Tick),
        13 => (0..3u8, prop::bool::weighted(0.3)).prop_map(|(to, astray)| Act::Send(to, astray)),
        3 => (0..3u8).prop_map(Act::SendAll),
        16 => (byte(), prop::bool::weighted(0.3), prop::bool::weighted(0.3))
            .prop_map(|(which, joins, stays)| Act::Arrive(which, joins, stays)),
        9 => (byte(), byte()).prop_map(|(key, payload)| Act::Forge(key, payload)),
    ];
    let acts = prop::collection::vec((0..3usize, act), 1..65);
    (any::<bool>(), any::<bool>(), prop::bool::weighted(0.25), acts)
        .prop_map(|(is_begun, is_hot, is_forged, acts)| Schedule { is_begun, is_hot, is_forged, acts })
}

/// Texts that replicas import. Each character is in one of them, and is never typed.
const IMPORTS: [&str; 2] = ["山川海", "天\n地"];

/// Characters of forged schedules.
const PIECES: [&str; 12] =
    ["a", "b", " ", "\n", "\r\n", "é", "e\u{301}", "字", "𝄞", "👩\u{200d}👧", "\0", "\u{10ffff}"];

const POSITIONS: [&[u8]; 12] = [
    &[0x40, 0, 0, 1, 0x80],
    &[0x40, 0, 0, 1, 0x7f],
    &[0x80, 0, 0, 1, 0x80, 0x40, 0, 0, 1, 0x80],
    // The least and the greatest that can be spelled in one step.
    &[0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0, 0, 0, 0, 0, 0],
    &[0xde, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    // Bytes that spell no position, though they begin like one.
    &[0x40],
    &[0x40, 0, 0, 1],
    &[0x40, 0, 0, 1, 0xff, 0xff],
    &[0xff, 7],
    // Marks of a later version, and a text that is explicitly empty.
    &[0x01, 1, 2, 3],
    &[0x1f, 0xff],
    &[],
];

const PAYLOADS: [(u8, &[u8]); 12] = [
    (LETTER, b"x"),
    (LETTER, b"y"),
    (LETTER, b"\n"),
    (LETTER, "字".as_bytes()),
    (LETTER, "𝄞".as_bytes()),
    // Bytes that are no character.
    (LETTER, b"xy"),
    (LETTER, b""),
    (LETTER, b"\xff"),
    (LETTER, b"\xed\xa0\x80"),
    // Other kinds.
    (6, b"x"),
    (16, b""),
    (200, b"x"),
];

struct Site {
    replica: Replica<Document>,
    clock: Arc<AtomicU64>,
    backup: Vec<u8>,
    kept: Document,
    undo: UndoStack<Document>,
}

/// A write, as its writer made it.
struct Write {
    dot: Dot,
    /// `None` for a tombstone; else the letter, if it is one.
    content: Option<Option<char>>,
    /// The version before the edit.
    seen: Rc<Version>,
}

impl Write {
    /// True if the writer had seen another write.
    fn saw(&self, other: Dot) -> bool {
        self.seen.covers(other) || (other.writer == self.dot.writer && other.counter < self.dot.counter)
    }
}

/// The first insertion of a letter.
struct Origin {
    /// Its place among the writes.
    write: usize,
    site: usize,
    /// The letter that it was inserted behind; none for all but the first letter of an insertion.
    left: Option<char>,
}

struct World {
    sites: Vec<Site>,
    flight: Vec<(usize, Delta)>,
    openings: u64,
    turn: usize,
    is_hot: bool,
    is_plain: bool,
    /// The number of letters that were drawn.
    letters: u32,
    /// All writes ever made, and which of them were made to each cell.
    writes: Vec<Write>,
    by_cell: BTreeMap<Vec<u8>, Vec<usize>>,
    writers: BTreeMap<WriterId, usize>,
    origins: BTreeMap<char, Origin>,
    fields: BTreeMap<char, Vec<u8>>,
    /// The letters that were shown, or put, right behind each letter.
    after: BTreeMap<char, BTreeSet<char>>,
    /// Pairs of one burst, one typed right beside the other.
    typed: Vec<(char, char)>,
    /// Letters that were deleted, and the last letter that was typed there at once.
    retyped: Vec<(BTreeSet<char>, char)>,
    /// Anchors that were kept, by bias, each with the letter that it holds to.
    anchors: [Vec<(Option<char>, Anchor)>; 2],
    /// The greatest number of steps of a position.
    deepest: usize,
    wrong: Option<String>,
    seen: BTreeMap<&'static str, u32>,
}

fn spliced(letters: &[char], range: Range<usize>, new: &str) -> Vec<char> {
    letters[..range.start].iter().copied().chain(new.chars()).chain(letters[range.end..].iter().copied()).collect()
}

fn sorted(mut letters: Vec<char>) -> Vec<char> {
    letters.sort_unstable();
    letters
}

fn shown(document: &Document) -> Vec<char> {
    document.text(PATH).map(|text| text.chars().collect()).unwrap_or_default()
}

impl World {
    fn new(schedule: &Schedule) -> Self {
        let sites = (0..3).map(|seed| {
            let environment = TestEnvironment::new(seed);
            let clock = environment.clock();
            // One clock runs ahead.
            clock.fetch_add(seed * 40, Ordering::Relaxed);
            let replica = Replica::with_environment(environment);
            Site { backup: replica.save(), kept: replica.snapshot(), replica, clock, undo: UndoStack::new() }
        });
        Self {
            sites: sites.collect(),
            flight: Vec::new(),
            openings: 3,
            turn: 0,
            is_hot: schedule.is_hot,
            is_plain: !schedule.is_forged,
            letters: 0,
            writes: Vec::new(),
            by_cell: BTreeMap::new(),
            writers: BTreeMap::new(),
            origins: BTreeMap::new(),
            fields: BTreeMap::new(),
            after: BTreeMap::new(),
            typed: Vec::new(),
            retyped: Vec::new(),
            anchors: [Vec::new(), Vec::new()],
            deepest: 0,
            wrong: None,
            seen: BTreeMap::new(),
        }
    }

    /// A text that all know.
    fn begin(&mut self) -> Result<(), String> {
        self.act(0, &Act::Insert(0, 4))?;
        self.act(0, &Act::Type(2, 3, 0))?;
        self.exchange()?;
        for site in &mut self.sites {
            (site.backup, site.kept) = (site.replica.save(), site.replica.snapshot());
        }
        Ok(())
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn shown(&self, at: usize) -> Vec<char> {
        shown(self.sites[at].replica.state())
    }

    /// Letters that nobody has typed before; in a forged schedule any.
    fn draw(&mut self, n: u8) -> String {
        let mut new = String::new();
        for _ in 0..n {
            self.letters += 1;
            let number = self.letters;
            match self.is_plain {
                true => new.extend(char::from_u32(if number.is_multiple_of(3) { 0x20000 } else { 0x4e00 } + number)),
                false => new.push_str(PIECES[(number.wrapping_mul(7) / 2) as usize % PIECES.len()]),
            }
        }
        new
    }

    /// The offset that a number stands for.
    fn spot(&self, at: usize, number: u8) -> usize {
        let len = self.shown(at).len();
        match self.is_hot {
            true => usize::from(number % 3).min(len),
            false => usize::from(number) % (len + 1),
        }
    }

    /// The range of some characters from an offset on.
    fn range(&self, at: usize, number: u8, n: u8) -> Range<usize> {
        let start = self.spot(at, number);
        start..(start + usize::from(n)).min(self.shown(at).len())
    }

    fn edit<R>(
        &mut self,
        at: usize,
        edit: impl FnOnce(&mut Edit<'_, Document>) -> Result<R, EditError>,
    ) -> Result<R, EditError> {
        let site = &mut self.sites[at];
        let before = site.replica.version().clone();
        let (result, _) = site.undo.edit(&mut site.replica, edit)?;
        self.record(at, before);
        Ok(result)
    }

    /// Takes down what an edit wrote.
    fn record(&mut self, at: usize, before: Version) {
        if !self.is_plain {
            return;
        }
        let before = Rc::new(before);
        let cells = self.sites[at].replica.state().state().cells(Entity::SELF);
        let news: Vec<(Vec<u8>, Dot, Option<Option<char>>)> = cells
            .into_iter()
            .flat_map(|cells| cells.iter())
            .filter(|(_, sibling)| !before.covers(sibling.dot))
            .map(|(field, sibling)| {
                let content = sibling.payload.map(|payload| letter(payload.kind(), payload.bytes()));
                (field.as_bytes().to_vec(), sibling.dot, content)
            })
            .collect();
        for (field, dot, content) in news {
            self.writers.insert(dot.writer, at);
            let write = self.writes.len();
            if let Some(Some(letter)) = content {
                self.deepest = self.deepest.max(steps(&field[START.len()..]).unwrap_or(usize::MAX));
                self.origins.entry(letter).or_insert(Origin { write, site: at, left: None });
                let known = self.fields.entry(letter).or_insert_with(|| field.clone());
                if *known != field {
                    self.wrong.get_or_insert(format!("the letter {letter:?} is in two cells: {known:?}, {field:?}"));
                }
            }
            self.by_cell.entry(field).or_default().push(write);
            self.writes.push(Write { dot, content, seen: Rc::clone(&before) });
        }
    }

    /// Checks what an edit of the text has made of it. Returns whether the edit was made: in a forged schedule it may be refused.
    fn settle(
        &self,
        at: usize,
        what: &str,
        result: Result<(), EditError>,
        before: &[char],
        expected: Vec<char>,
    ) -> Result<bool, String> {
        let found = self.shown(at);
        match result {
            Ok(()) if self.is_plain => same(format!("the text after {what}"), found, expected)?,
            Ok(()) => same(format!("the letters after {what}"), sorted(found), sorted(expected))?,
            Err(error) if self.is_plain => return Err(format!("{what}: {error}")),
            Err(_) => {
                same(format!("the text after {what} was refused"), found, before.to_vec())?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes down that letters were put behind what stands before a range, and before what stands behind it.
    fn put_in_order(&mut self, before: &[char], range: &Range<usize>, new: &str) {
        if !self.is_plain {
            return;
        }
        let left = range.start.checked_sub(1).map(|i| before[i]);
        let right = before.get(range.end).copied();
        let row: Vec<char> = left.into_iter().chain(new.chars()).chain(right).collect();
        for pair in row.windows(2) {
            self.after.entry(pair[0]).or_default().insert(pair[1]);
        }
        if let Some(origin) = new.chars().next().and_then(|first| self.origins.get_mut(&first)) {
            origin.left = left;
        }
    }

    fn insert(&mut self, at: usize, i: usize, new: &str) -> Result<(), String> {
        let before = self.shown(at);
        let i = i.min(before.len());
        let result = self.edit(at, |d| d.text_mut(PATH).insert(i, new));
        if self.settle(at, "an insertion", result, &before, spliced(&before, i..i, new))? {
            self.put_in_order(&before, &(i..i), new);
        }
        Ok(())
    }

    fn delete(&mut self, at: usize, range: Range<usize>) -> Result<bool, String> {
        let before = self.shown(at);
        let result = self.edit(at, |d| d.text_mut(PATH).delete(range.clone()));
        self.settle(at, "a deletion", result, &before, spliced(&before, range, ""))
    }

    /// Types single characters, each in an edit of its own; nothing arrives meanwhile.
    fn burst(&mut self, at: usize, i: usize, n: u8, way: u8) -> Result<(), String> {
        let (mut burst, mut i) = (BTreeSet::new(), i.min(self.shown(at).len()));
        for k in 0..u32::from(n) {
            let new = self.draw(1);
            self.insert(at, i, &new)?;
            let shown = self.shown(at);
            if let Some(letter) = new.chars().next().filter(|_| self.is_plain) {
                let beside = [i.checked_sub(1), Some(i + 1)].into_iter().flatten().filter_map(|i| shown.get(i));
                self.typed.extend(beside.filter(|beside| burst.contains(*beside)).map(|beside| (*beside, letter)));
                burst.insert(letter);
            }
            let step = match way % 3 {
                0 => 1,
                1 => 0,
                _ => [-1, 0, 1, 1][(u32::from(way) >> (2 * (k % 4))) as usize & 3],
            };
            i = i.saturating_add_signed(step).min(shown.len());
        }
        Ok(())
    }

    fn update(&mut self, at: usize, number: u8, n: u8, new: u8) -> Result<(), String> {
        let before = self.shown(at);
        let (range, new) = match before.is_empty() {
            true => (0..0, IMPORTS[usize::from(number) % IMPORTS.len()].to_owned()),
            false => (self.range(at, number, n), self.draw(new)),
        };
        let expected = spliced(&before, range.clone(), &new);
        let target: String = expected.iter().collect();
        let result = self.edit(at, |d| d.text_mut(PATH).update(&target));
        if let (Ok(differs), true) = (&result, self.is_plain) {
            same("an update tells whether anything differed", *differs, expected != before)?;
        }
        if self.settle(at, "an update", result.map(drop), &before, expected)? {
            self.put_in_order(&before, &range, &new);
        }
        self.note(if before.is_empty() { "imports" } else { "updates" });
        Ok(())
    }

    fn environment(&mut self, at: usize) -> (TestEnvironment, Arc<AtomicU64>) {
        self.openings += 1;
        let environment = TestEnvironment::new(self.openings);
        let clock = environment.clock();
        clock.store(self.sites[at].clock.load(Ordering::Relaxed), Ordering::Relaxed);
        (environment, clock)
    }

    /// Opens a saved state in the place of a replica.
    fn open(&mut self, at: usize, bytes: &[u8]) -> Result<(), String> {
        let (environment, clock) = self.environment(at);
        let site = &mut self.sites[at];
        site.replica = Replica::load_with(environment, bytes).map_err(|error| error.to_string())?;
        site.clock = clock;
        site.undo.clear();
        Ok(())
    }

    fn act(&mut self, at: usize, act: &Act) -> Result<(), String> {
        // Time goes on everywhere, so that not all stamps tie.
        self.sites.iter().for_each(|site| _ = site.clock.fetch_add(1, Ordering::Relaxed));
        self.turn += 1;
        let before = self.sites[at].replica.snapshot();
        match act {
            Act::Type(i, n, way) => {
                let i = self.spot(at, *i);
                self.burst(at, i, n + 1, *way)?;
                self.note("bursts");
            }
            Act::Insert(i, n) => {
                let (i, new) = (self.spot(at, *i), self.draw(*n));
                self.insert(at, i, &new)?;
            }
            Act::Delete(i, n) => {
                let range = self.range(at, *i, *n);
                self.delete(at, range)?;
            }
            Act::Replace(i, n, new) => {
                let (range, new, was) = (self.range(at, *i, *n), self.draw(*new), self.shown(at));
                let result = self.edit(at, |d| d.text_mut(PATH).replace(range.clone(), &new));
                if self.settle(at, "a replacement", result, &was, spliced(&was, range.clone(), &new))? {
                    self.put_in_order(&was, &range, &new);
                    self.retype(&was[range], &new);
                }
            }
            Act::Retype(i, n, new) => {
                let (range, new, was) = (self.range(at, *i, *n), self.draw(*new), self.shown(at));
                if self.delete(at, range.clone())? {
                    self.insert(at, range.start, &new)?;
                    self.retype(&was[range], &new);
                }
            }
            Act::PruneAndType(i, n, way) => {
                let range = self.range(at, *i, *n);
                self.delete(at, range.clone())?;
                self.sites[at].replica.prune(Prune::All);
                for burst in 0..way % 4 {
                    self.burst(at, range.start, 2 + burst, way.rotate_left(u32::from(burst)))?;
                }
            }
            Act::Update(i, n, new) => self.update(at, *i, *n, *new)?,
            Act::Unset | Act::Clear => {
                let result = self.edit(at, |d| match act {
                    Act::Unset => d.unset(PATH),
                    _ => d.clear(),
                });
                result.map_err(|error| error.to_string())?;
                same("the text after all was removed", self.shown(at), vec![])?;
            }
            Act::Fail(i, n) => {
                let (range, new) = (self.range(at, *i, n % 5), self.draw(n % 3 + 1));
                let failed = self.edit(at, |d| {
                    let _ = d.text_mut(PATH).insert(range.start, &new);
                    let _ = d.text_mut(PATH).delete(range.clone());
                    let _ = d.text_mut(PATH).update("another text");
                    Err::<(), _>(EditError::abort("no"))
                });
                assert!(failed.is_err());
                same("a failed edit leaves nothing", self.sites[at].replica.state() == &before, true)?;
            }
            Act::Undo | Act::Redo => {
                let site = &mut self.sites[at];
                let version = site.replica.version().clone();
                let done = match act {
                    Act::Undo => site.undo.undo(&mut site.replica),
                    _ => site.undo.redo(&mut site.replica),
                };
                let done = done.map_err(|error| error.to_string())?;
                let what = if matches!(act, Act::Undo) { "undone" } else { "redone" };
                if done.is_some_and(|(taken_back, _)| taken_back.writes() > 0) {
                    self.note(what);
                }
                self.record(at, version);
                if matches!(act, Act::Undo) {
                    self.check_undone(at, &before)?;
                }
                self.check_alive(at)?;
            }
            Act::Keep => {
                self.sites[at].kept = self.sites[at].replica.snapshot();
                self.keep_anchors(at)?;
            }
            Act::Revert => {
                let kept = self.sites[at].kept.clone();
                self.edit(at, |d| d.revert_to(&kept)).map_err(|error| error.to_string())?;
                if self.is_plain {
                    same("the text after going back", self.shown(at), shown(&kept))?;
                }
                self.check_alive(at)?;
            }
            Act::Prune => {
                let pruned = self.sites[at].replica.prune(Prune::All);
                if pruned > 0 {
                    self.note("pruned");
                }
                same("the text after pruning", self.shown(at), shown(&before))?;
            }
            Act::PruneSeen(by) => {
                let version = self.sites[usize::from(*by)].replica.version().clone();
                self.sites[at].replica.prune(Prune::Upto(&version));
                same("the text after pruning", self.shown(at), shown(&before))?;
            }
            Act::Save => self.sites[at].backup = self.sites[at].replica.save(),
            Act::Restart => {
                let bytes = self.sites[at].replica.save();
                self.open(at, &bytes)?;
                same("a state that was loaded", self.sites[at].replica.state() == &before, true)?;
                same("a text that was loaded", self.shown(at), shown(&before))?;
            }
            Act::RestoreBackup => {
                let bytes = self.sites[at].backup.clone();
                self.open(at, &bytes)?;
            }
            Act::Fork(to) => {
                let to = usize::from(*to);
                let (environment, clock) = self.environment(at);
                let fork = self.sites[at].replica.fork_with(environment);
                if to != at {
                    let site = &mut self.sites[to];
                    (site.replica, site.clock) = (fork, clock);
                    site.undo.clear();
                    self.check(to, None)?;
                }
            }
            Act::Tick(by) => _ = self.sites[at].clock.fetch_add(u64::from(*by), Ordering::Relaxed),
            Act::Send(to, astray) => {
                let to = usize::from(*to);
                let (delta, is_reconciled) = self.delta(at, to)?;
                let to = if *astray && !is_reconciled { (to + 1) % 3 } else { to };
                self.flight.push((to, delta));
            }
            Act::SendAll(to) => {
                let delta = self.sites[at].replica.complete();
                self.flight.push((usize::from(*to), delta));
            }
            Act::Arrive(which, joins, stays) => {
                if !self.flight.is_empty() {
                    let which = usize::from(*which) % self.flight.len();
                    self.arrive(which, *joins, *stays)?;
                }
            }
            Act::Forge(key, payload) => self.forge(at, *key, *payload)?,
        }
        self.check(at, Some(&before))
    }

    fn retype(&mut self, gone: &[char], new: &str) {
        if let Some(last) = new.chars().last().filter(|_| self.is_plain && !gone.is_empty()) {
            self.retyped.push((gone.iter().copied().collect(), last));
            self.note("retyped");
        }
    }

    fn forge(&mut self, at: usize, key: u8, payload: u8) -> Result<(), String> {
        if self.is_plain {
            return Ok(());
        }
        let shown = definition(self.sites[at].replica.state());
        let deep = POSITIONS[0].repeat(256 + usize::from(key / 16 % 2));
        let field = match usize::from(key) % (POSITIONS.len() + 4) {
            n if n < POSITIONS.len() => [&START[..], POSITIONS[n]].concat(),
            n if n == POSITIONS.len() => [&START[..], &deep].concat(),
            // A cell in which a character shows.
            n => match shown.get(usize::from(payload / 12 + key / 16) % shown.len().max(1)) {
                Some((field, _)) => field.clone(),
                None => [&START[..], POSITIONS[n % 3]].concat(),
            },
        };
        let (kind, bytes) = PAYLOADS[usize::from(payload) % PAYLOADS.len()];
        self.edit(at, |d| d.write(Entity::SELF, &field, Payload::new(kind, bytes)))
            .map_err(|error| error.to_string())?;
        self.note("forged");
        Ok(())
    }

    /// The delta for a replica from another, through its bytes, and whether it is a reconciled one.
    fn delta(&self, from: usize, to: usize) -> Result<(Delta, bool), String> {
        let (from, to) = (&self.sites[from].replica, &self.sites[to].replica);
        let (delta, is_reconciled) = match from.delta_since(to.version()) {
            Ok(delta) => (delta, false),
            Err(_) => (from.reconcile(to.version(), &to.live_dots()), true),
        };
        let read = Delta::from_bytes(&delta.to_bytes()).map_err(|error| error.to_string())?;
        Ok((read, is_reconciled))
    }

    fn arrive(&mut self, which: usize, joins: bool, stays: bool) -> Result<(), String> {
        let (to, mut delta) = self.flight[which].clone();
        if joins {
            let mut others = self.flight.iter().enumerate().filter(|(i, (other, _))| *i != which && *other == to);
            let join = |other: &Delta| delta.join(other).or_else(|_| other.join(&delta)).ok();
            let joined = others.find_map(|(_, (_, other))| join(other));
            if let Some(joined) = joined {
                delta = joined;
                self.note("joined");
            }
        }
        if !stays {
            self.flight.remove(which);
        }
        let site = &mut self.sites[to];
        let before = site.replica.snapshot();
        let version = site.replica.version().clone();
        // A causal gap is refused.
        if site.replica.merge(&delta).is_ok() {
            if !version.includes(delta.upto()) && !delta.upto().includes(&version) {
                self.note("concurrent");
            }
            self.check_alive(to)?;
        } else {
            same("a refused delta leaves nothing", self.sites[to].replica.state() == &before, true)?;
        }
        self.check(to, Some(&before))
    }

    fn keep_anchors(&mut self, at: usize) -> Result<(), String> {
        let anchors = {
            let Some(text) = self.sites[at].replica.state().text(PATH) else { return Ok(()) };
            let letters: Vec<char> = text.chars().collect();
            let anchors_of = |bias| {
                let anchor = |i: usize| {
                    let beside = match bias {
                        Bias::Left => i.checked_sub(1),
                        Bias::Right => Some(i),
                    };
                    let letter = beside.and_then(|i| letters.get(i)).copied();
                    text.anchor(i, bias).map(|anchor| (letter, anchor)).map_err(|error| error.to_string())
                };
                (0..=letters.len()).map(anchor).collect::<Result<Vec<_>, String>>()
            };
            [anchors_of(Bias::Left)?, anchors_of(Bias::Right)?]
        };
        self.anchors = anchors;
        Ok(())
    }

    // ---- oracles ----

    /// Checks what a replica shows; and the changes since some moment before, and since the snapshot that it keeps.
    fn check(&mut self, at: usize, before: Option<&Document>) -> Result<(), String> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let site = &self.sites[at];
        let document = site.replica.state();
        check(document, self.turn, self.is_plain)?;
        for older in before.into_iter().chain([&site.kept]) {
            if let (Some(newer), Some(older)) = (document.text(PATH), older.text(PATH)) {
                same("an older text with the changes since", replayed(&older, &newer)?, newer.to_string())?;
                same("a text with the changes taken back", replayed(&newer, &older)?, older.to_string())?;
            }
        }
        self.check_kept_anchors(at)?;
        self.observe(at)
    }

    /// An anchor resolves to the gap where its character is or was, on every replica alike.
    fn check_kept_anchors(&self, at: usize) -> Result<(), String> {
        let document = self.sites[at].replica.state();
        let Some(text) = document.text(PATH) else { return Ok(()) };
        let fields: Vec<Vec<u8>> = definition(document).into_iter().map(|(field, _)| field).collect();
        for (bias, anchors) in [Bias::Left, Bias::Right].into_iter().zip(&self.anchors) {
            let mut last = 0;
            for (letter, anchor) in anchors {
                let found = text.resolve(anchor);
                same("anchors that were kept are in order", found >= last, true)?;
                last = found;
                if self.is_plain {
                    let expected = match (letter.map(|letter| &self.fields[&letter]), bias) {
                        (None, Bias::Left) => 0,
                        (None, Bias::Right) => fields.len(),
                        (Some(of), Bias::Left) => fields.partition_point(|field| field <= of),
                        (Some(of), Bias::Right) => fields.partition_point(|field| field < of),
                    };
                    same(format!("the offset of an anchor at {letter:?}"), found, expected)?;
                }
            }
        }
        Ok(())
    }

    /// Takes down the order in which letters show; each shows once.
    fn observe(&mut self, at: usize) -> Result<(), String> {
        if !self.is_plain {
            return Ok(());
        }
        let shown = self.shown(at);
        for pair in shown.windows(2) {
            self.after.entry(pair[0]).or_default().insert(pair[1]);
        }
        same("different letters", shown.iter().collect::<BTreeSet<_>>().len(), shown.len())
    }

    /// The letters that causality leaves alive in a version.
    fn alive(&self, version: &Version) -> BTreeSet<char> {
        let root: &[u8] = &[];
        let deletions: &[usize] = self.by_cell.get(root).map_or(&[][..], Vec::as_slice);
        let mut alive = BTreeSet::new();
        for writes in self.by_cell.values() {
            for write in writes.iter().map(|write| &self.writes[*write]) {
                let Some(Some(letter)) = write.content else { continue };
                let mut killers = writes.iter().chain(deletions).map(|other| &self.writes[*other]);
                let kills = |other: &Write| version.covers(other.dot) && other.saw(write.dot);
                if version.covers(write.dot) && !killers.any(|other| other.dot != write.dot && kills(other)) {
                    alive.insert(letter);
                }
            }
        }
        alive
    }

    fn check_alive(&self, at: usize) -> Result<(), String> {
        if !self.is_plain {
            return Ok(());
        }
        let shown: BTreeSet<char> = self.shown(at).into_iter().collect();
        same("the letters that show, and those alive", shown, self.alive(self.sites[at].replica.version()))
    }

    /// Undo deletes nothing that another site has written, even if the other has only written it again.
    fn check_undone(&self, at: usize, before: &Document) -> Result<(), String> {
        if !self.is_plain {
            return Ok(());
        }
        let now: BTreeSet<char> = self.shown(at).into_iter().collect();
        for letter in shown(before).into_iter().filter(|letter| !now.contains(letter)) {
            let cells = before.state().cells(Entity::SELF).into_iter();
            let mut siblings = cells.flat_map(|cells| cells.live(&self.fields[&letter]));
            let is_own = siblings.all(|sibling| self.writers.get(&sibling.dot.writer) == Some(&at));
            same(format!("the letter {letter:?} that undo deletes is the site's own"), is_own, true)?;
        }
        Ok(())
    }

    /// True if the observations fit no total order.
    fn is_circular(&self) -> bool {
        let mut incoming: BTreeMap<char, usize> = BTreeMap::new();
        for (letter, next) in &self.after {
            incoming.entry(*letter).or_default();
            next.iter().for_each(|next| *incoming.entry(*next).or_default() += 1);
        }
        let mut free: Vec<char> = incoming.iter().filter(|(_, n)| **n == 0).map(|(letter, _)| *letter).collect();
        let mut ordered = 0;
        while let Some(letter) = free.pop() {
            ordered += 1;
            for next in self.after.get(&letter).into_iter().flatten() {
                let left = incoming.get_mut(next).unwrap();
                *left -= 1;
                if *left == 0 {
                    free.push(*next);
                }
            }
        }
        ordered < incoming.len()
    }

    fn write_of(&self, letter: char) -> &Write {
        &self.writes[self.origins[&letter].write]
    }

    /// Finds two letters that were typed in a row, and one between them whose writer had seen neither.
    fn parted(&self) -> Option<[char; 3]> {
        let shown = self.shown(0);
        let at: BTreeMap<char, usize> = shown.iter().enumerate().map(|(i, letter)| (*letter, i)).collect();
        for (x, y) in &self.typed {
            let (Some(i), Some(j)) = (at.get(x), at.get(y)) else { continue };
            for z in &shown[i.min(j) + 1..*i.max(j)] {
                let had_seen = |letter: char| self.write_of(*z).saw(self.write_of(letter).dot);
                let is_import = IMPORTS.iter().any(|import| import.contains(*z));
                if !had_seen(*x) && !had_seen(*y) && !is_import && self.origins[z].site != self.origins[x].site {
                    return Some([*x, *z, *y]);
                }
            }
        }
        None
    }

    /// Finds a letter that was typed in place of another, and shows behind what a site that did not know of it had put right behind that
    /// other.
    fn displaced(&self) -> Option<[char; 2]> {
        let at: BTreeMap<char, usize> = self.shown(0).into_iter().enumerate().map(|(i, letter)| (letter, i)).collect();
        for (gone, y) in &self.retyped {
            for (z, origin) in &self.origins {
                let is_behind_gone = origin.left.is_some_and(|left| gone.contains(&left));
                let (Some(i), Some(j)) = (at.get(y), at.get(z)) else { continue };
                let had_seen = self.write_of(*z).saw(self.write_of(*y).dot);
                if is_behind_gone && i > j && !had_seen && origin.site != self.origins[y].site {
                    return Some([*z, *y]);
                }
            }
        }
        None
    }

    fn exchange(&mut self) -> Result<(), String> {
        for round in 0..2 {
            for from in 0..3 {
                for to in 0..3 {
                    let delta = match round {
                        0 => self.delta(from, to)?.0,
                        _ => self.sites[from].replica.complete(),
                    };
                    self.sites[to].replica.merge(&delta).map_err(|error| error.to_string())?;
                }
            }
        }
        let first = self.sites[0].replica.snapshot();
        for at in 0..3 {
            same("equal states", self.sites[at].replica.state() == &first, true)?;
            same("equal texts", self.shown(at), shown(&first))?;
            self.check_alive(at)?;
            self.check(at, Some(&first))?;
        }
        Ok(())
    }

    fn judge(&mut self) -> Result<(), String> {
        if !self.is_plain {
            return Ok(());
        }
        same("observations fit no total order", self.is_circular(), false)?;
        same("letters typed in a row are parted", self.parted(), None)?;
        // From 12 steps on, the dead are not heeded.
        if self.deepest < 12 {
            same("what replaced a word shows behind what another had put after it", self.displaced(), None)?;
        }
        let cells = self.sites[0].replica.state().state().live_siblings();
        let fields: BTreeSet<Vec<u8>> = cells.map(|(_, field, _)| field.as_bytes().to_vec()).collect();
        if fields.len() < self.sites[0].replica.state().state().live_len() {
            self.note("written by two");
        }
        Ok(())
    }
}

/// Plays a schedule with all checks, and tells in how many of its moments there was what.
pub(crate) fn play(schedule: &Schedule) -> Result<BTreeMap<&'static str, u32>, String> {
    let mut world = World::new(schedule);
    if schedule.is_begun {
        world.begin()?;
    }
    for (at, act) in &schedule.acts {
        world.act(*at, act)?;
    }
    world.exchange()?;
    world.judge()?;
    world.note(if world.is_plain { "plain" } else { "forged schedules" });
    if world.deepest >= 5 {
        world.note("deep");
    }
    Ok(world.seen)
}
