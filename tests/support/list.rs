//! Random schedules over a list, against what causality alone says is alive: `ListWorld` in
//! `tests/model/text_tree_model.py`.
//!
//! The oracle logs each write with the version that its writer had seen. A write that a replica has seen is alive
//! there, unless that replica has also seen another write to the same cell, or a removal of the element, whose writer
//! had seen the first one. An element shows if and only if something in it is alive. The oracle looks at no position,
//! and counts on three facts:
//!
//! 1. Every number that is written is another one, so a number names the write that it comes from.
//! 2. An element is a scalar or a map for good, so two kinds never meet in it.
//! 3. An element that was never moved keeps its order relative to all others that were never moved.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::testing::{TestEnvironment, same};
use driftless::{
    Conflict, ConflictKind, Delta, Document, Dot, Edit, EditError, Kind, MergeError, Prune, Replica, Resolution,
    Version,
};
use serde_json::{Value as Json, json};

/// The path of the list.
pub(crate) const PATH: &str = "/list";

/// The number of replicas.
const SITES: usize = 3;

/// The number of acts in a schedule.
const STEPS: usize = 60;

/// The names of the entries of an element that is a map.
const KEYS: [&str; 3] = ["n", "x", "y"];

// ---- reading ----

/// An element as it shows.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Row {
    /// The stable path of the element.
    pub(crate) id: String,
    pub(crate) json: Json,
}

/// The elements that show, in order, after all ways to read them were compared.
pub(crate) fn rows(document: &Document) -> Result<Vec<Row>, String> {
    let Some(list) = document.list(PATH) else {
        same("the path of no list is one", document.kind(PATH) == Some(Kind::List), false)?;
        return Ok(Vec::new());
    };
    let mut rows = Vec::new();
    for at in 0..list.len() {
        let path = list.path(at).ok_or_else(|| format!("element {at} has no path"))?;
        let json = list.json(at).ok_or_else(|| format!("element {at} has no JSON"))?;
        same(format!("the index of {path}"), list.index_of(&path), Some(at))?;
        same(format!("the element at {path}"), document.json(&path), Some(json.clone()))?;
        same(format!("the element at index {at}"), document.json(format!("{PATH}/{at}")), Some(json.clone()))?;
        let value = list.get(at).map(|value| value.to_json());
        // An array is a value, or a list of its own.
        if !json.is_array() {
            same(format!("the value of element {at}"), value, scalar(&json))?;
        }
        rows.push(Row { id: path.to_string(), json });
    }
    let whole: Json = rows.iter().map(|row| row.json.clone()).collect();
    same("the list is empty", list.is_empty(), rows.is_empty())?;
    same("the list as JSON", list.to_json(), whole.clone())?;
    same("the list in the document", document.json(PATH), Some(whole))?;
    same("the kind of the list", document.kind(PATH), Some(Kind::List))?;
    same("a path beyond the list", document.json(format!("{PATH}/{}", rows.len())), None)?;
    same("an element beyond the list", (list.json(rows.len()), list.path(rows.len())), (None, None))?;
    Ok(rows)
}

/// The value, unless it is a map.
fn scalar(json: &Json) -> Option<Json> {
    (!json.is_object()).then(|| json.clone())
}

fn ids(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| row.id.clone()).collect()
}

/// The ids of all conflicts.
pub(crate) fn conflicts(document: &Document) -> BTreeSet<String> {
    document.conflicts().map(|conflict| conflict.id.to_string()).collect()
}

/// The number of places that are left of elements that were removed.
pub(crate) fn leftovers(document: &Document) -> usize {
    document.conflicts().filter(|conflict| matches!(conflict.kind, ConflictKind::MovedWhileRemoved)).count()
}

// ---- the log ----

/// A cell within an element: an entry of a map, or the scalar that the element is.
type Key = Option<&'static str>;

/// The numbers that are alive, by element and cell.
type Alive<'a> = BTreeMap<&'a str, BTreeMap<Key, BTreeSet<u64>>>;

#[derive(Clone, Debug)]
enum Made {
    Write { element: String, key: Key, number: u64 },
    Removal { element: String },
}

/// An entry of the log.
struct Entry {
    /// The last write of the edit.
    dot: Dot,
    /// The version before the edit.
    seen: Rc<Version>,
    made: Made,
}

impl Entry {
    /// True if the entry replaces or removes whatever its writer had seen in a cell.
    fn is_about(&self, of: &str, cell: Key) -> bool {
        match &self.made {
            Made::Write { element, key, .. } => element == of && *key == cell,
            Made::Removal { element } => element == of,
        }
    }
}

// ---- the world ----

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`; 0 if `n` is 0.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn is_one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

struct Site {
    replica: Replica<Document>,
    clock: Arc<AtomicU64>,
}

struct World {
    random: Random,
    sites: Vec<Site>,
    flight: Vec<(usize, Delta)>,
    /// True if all insertions are made within the first three elements.
    is_hot: bool,
    /// The number of numbers that were drawn.
    numbers: u64,
    log: Vec<Entry>,
    /// Elements that somebody moved.
    moved: BTreeSet<String>,
    /// Pairs of elements, the first of which has shown before the second while neither was ever moved.
    order: BTreeSet<(String, String)>,
    seen: BTreeMap<&'static str, u32>,
}

/// Plays the schedule of a seed. Returns the number of times that each thing came about.
pub(crate) fn play(seed: u64) -> Result<BTreeMap<&'static str, u32>, String> {
    let mut world = World::new(seed);
    world.begin().map_err(|error| format!("at the beginning: {error}"))?;
    for step in 0..STEPS {
        let at = world.random.below(SITES);
        world.step(at).map_err(|error| format!("step {step}, replica {at}: {error}"))?;
    }
    world.finish().map_err(|error| format!("in the end: {error}"))?;
    Ok(world.seen)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9));
        let sites = (0..SITES as u64).map(|site| {
            let environment = TestEnvironment::new(seed * 10 + site);
            let clock = environment.clock();
            // Two clocks run ahead.
            clock.fetch_add(site * 40, Ordering::Relaxed);
            Site { replica: Replica::with_environment(environment), clock }
        });
        Self {
            sites: sites.collect(),
            is_hot: random.is_one_in(2),
            random,
            flight: Vec::new(),
            numbers: 0,
            log: Vec::new(),
            moved: BTreeSet::new(),
            order: BTreeSet::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Most schedules begin with a list that all replicas know.
    fn begin(&mut self) -> Result<(), String> {
        if self.random.is_one_in(4) {
            return Ok(());
        }
        for _ in 0..3 {
            self.insert(0)?;
        }
        (1..SITES).try_for_each(|to| self.pass(0, to))?;
        (0..SITES).try_for_each(|at| self.check(at))
    }

    fn step(&mut self, at: usize) -> Result<(), String> {
        let tick = self.random.below(20) as u64;
        self.sites[at].clock.fetch_add(tick, Ordering::Relaxed);
        let is_empty = self.rows(at)?.is_empty();
        match self.random.below(100) {
            0..18 => self.insert(at)?,
            18..53 if is_empty => self.insert(at)?,
            18..36 => self.move_one(at)?,
            36..46 => self.write(at)?,
            46..53 => self.remove(at)?,
            53..57 => self.update(&[at])?,
            57..60 => self.update_by_two(at)?,
            60..64 => self.settle(at)?,
            64..70 => self.prune(at)?,
            70..86 => self.send(at)?,
            _ => self.arrive()?,
        }
        self.check(at)
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn document(&self, at: usize) -> &Document {
        self.sites[at].replica.state()
    }

    fn rows(&self, at: usize) -> Result<Vec<Row>, String> {
        rows(self.document(at))
    }

    /// Edits, and returns the version before.
    fn edit<R>(
        &mut self,
        at: usize,
        edit: impl FnOnce(&mut Edit<'_, Document>) -> Result<R, EditError>,
    ) -> Result<Rc<Version>, String> {
        let replica = &mut self.sites[at].replica;
        let seen = Rc::new(replica.version().clone());
        replica.edit(edit).map_err(|error| error.to_string())?;
        Ok(seen)
    }

    /// Logs what the last edit of a replica made.
    fn log(&mut self, at: usize, seen: &Rc<Version>, made: Vec<Made>) -> Result<(), String> {
        if made.is_empty() {
            return Ok(());
        }
        let replica = &self.sites[at].replica;
        let writer = replica.writer().ok_or("an edit without a writer")?;
        let dot = Dot { writer, counter: replica.version().get(writer) };
        self.log.extend(made.into_iter().map(|made| Entry { dot, seen: Rc::clone(seen), made }));
        Ok(())
    }

    // ---- acts ----

    /// Inserts one to three elements in a row.
    fn insert(&mut self, at: usize) -> Result<(), String> {
        let before = self.rows(at)?;
        let spots = if self.is_hot { before.len().min(3) } else { before.len() };
        let index = self.random.below(spots + 1);
        let len = if self.random.is_one_in(4) { 3 } else { 1 };
        let mut items = Vec::new();
        for _ in 0..len {
            let mut cells: Vec<(Key, u64)> = vec![(None, self.number())];
            if self.random.is_one_in(2) {
                cells[0].0 = Some(KEYS[0]);
                if self.random.is_one_in(2) {
                    cells.push((Some(KEYS[1]), self.number()));
                }
            }
            items.push(cells);
        }
        let jsons: Vec<Json> = items.iter().map(|cells| json_of(cells)).collect();
        let pushes = index == before.len() && self.random.is_one_in(2);
        let seen = self.edit(at, |d| {
            let mut list = d.list_mut(PATH);
            for (k, json) in jsons.iter().enumerate() {
                match pushes {
                    true => list.push(json)?,
                    false => list.insert(index + k, json)?,
                }
            }
            Ok(())
        })?;
        let now = self.rows(at)?;
        same("the length after an insertion", now.len(), before.len() + len)?;
        let new = &now[index..index + len];
        let known: BTreeSet<String> = self.log.iter().map(|entry| entry.made.element().to_owned()).collect();
        same("new elements that are known", new.iter().filter(|row| known.contains(&row.id)).count(), 0)?;
        let inserted: Vec<Json> = new.iter().map(|row| row.json.clone()).collect();
        same("the elements that were inserted", inserted, jsons)?;
        let others = [&now[..index], &now[index + len..]].concat();
        same("the other elements after an insertion", others, before)?;
        let writes = new.iter().zip(items).flat_map(|(row, cells)| {
            let write = |(key, number)| Made::Write { element: row.id.clone(), key, number };
            cells.into_iter().map(write).collect::<Vec<_>>()
        });
        let writes = writes.collect();
        self.log(at, &seen, writes)?;
        same("places of removed elements after an insertion", leftovers(self.document(at)), 0)
    }

    fn move_one(&mut self, at: usize) -> Result<(), String> {
        let mut expected = self.rows(at)?;
        let (from, to) = (self.random.below(expected.len()), self.random.below(expected.len()));
        self.edit(at, |d| d.list_mut(PATH).move_to(from, to))?;
        let row = expected.remove(from);
        if from != to {
            self.moved.insert(row.id.clone());
            self.note("moves");
            same("places of removed elements after a move", leftovers(self.document(at)), 0)?;
        }
        expected.insert(to, row);
        same(format!("the elements after a move from {from} to {to}"), self.rows(at)?, expected)
    }

    /// Writes a number into an element: the scalar that it is, or an entry of the map.
    fn write(&mut self, at: usize) -> Result<(), String> {
        let mut expected = self.rows(at)?;
        let index = self.random.below(expected.len());
        let number = self.number();
        let row = &mut expected[index];
        let key = row.json.is_object().then(|| KEYS[self.random.below(KEYS.len())]);
        let element = if self.random.is_one_in(2) { row.id.clone() } else { format!("{PATH}/{index}") };
        let path = key.map_or(element.clone(), |key| format!("{element}/{key}"));
        let seen = self.edit(at, |d| d.set(&path, number))?;
        match key {
            Some(key) => row.json[key] = json!(number),
            None => row.json = json!(number),
        }
        let made = Made::Write { element: row.id.clone(), key, number };
        self.log(at, &seen, vec![made])?;
        same(format!("the elements after {number} was written at {path}"), self.rows(at)?, expected)
    }

    /// Removes one or two elements.
    fn remove(&mut self, at: usize) -> Result<(), String> {
        let mut expected = self.rows(at)?;
        let index = self.random.below(expected.len());
        let len = if index + 1 < expected.len() && self.random.is_one_in(4) { 2 } else { 1 };
        let is_unset = len == 1 && self.random.is_one_in(3);
        let seen = self.edit(at, |d| match (len, is_unset) {
            (1, true) => d.unset(format!("{PATH}/{index}")).map(drop),
            (1, false) => d.list_mut(PATH).remove(index),
            _ => d.list_mut(PATH).remove_range(index..index + len),
        })?;
        let gone: Vec<Row> = expected.drain(index..index + len).collect();
        let gone = gone.into_iter().map(|row| Made::Removal { element: row.id }).collect();
        self.log(at, &seen, gone)?;
        same(format!("the elements after {len} were removed at {index}"), self.rows(at)?, expected)?;
        if !is_unset {
            same("places of removed elements after a removal", leftovers(self.document(at)), 0)?;
        }
        Ok(())
    }

    /// Makes the list of some replicas, which are in one state, another array.
    fn update(&mut self, sites: &[usize]) -> Result<(), String> {
        let before = self.rows(sites[0])?;
        let maps: Vec<usize> = (0..before.len()).filter(|at| before[*at].json.is_object()).collect();
        let is_in_place = !maps.is_empty() && self.random.is_one_in(3);
        let (targets, entry) = match is_in_place {
            true => {
                let at = maps[self.random.below(maps.len())];
                let (key, number) = (KEYS[self.random.below(KEYS.len())], self.number());
                let mut targets: Vec<Target> = before.iter().cloned().map(Target::Row).collect();
                let mut row = before[at].clone();
                row.json[key] = json!(number);
                let made = Made::Write { element: row.id.clone(), key: Some(key), number };
                targets[at] = Target::Row(row);
                (targets, Some(made))
            }
            false => (self.rearranged(&before), None),
        };
        let array: Json = targets.iter().map(Target::json).collect();
        for at in sites {
            let is_through_document = !before.is_empty() && self.random.is_one_in(2);
            let seen = self.edit(*at, |d| match is_through_document {
                true => d.update(PATH, &array),
                false => d.list_mut(PATH).update(&array),
            })?;
            let now = self.rows(*at)?;
            same("the list after an update", now.iter().map(|row| row.json.clone()).collect::<Json>(), array.clone())?;
            let mut made: Vec<Made> = entry.iter().cloned().collect();
            for (row, target) in now.iter().zip(&targets) {
                match target {
                    Target::Row(old) => same("an element that an update kept", row, old)?,
                    Target::New(number) => {
                        made.push(Made::Write { element: row.id.clone(), key: None, number: *number });
                    }
                }
            }
            let kept = ids(&now);
            let gone = before.iter().filter(|row| !kept.contains(&row.id));
            made.extend(gone.map(|row| Made::Removal { element: row.id.clone() }));
            self.log(*at, &seen, made)?;
        }
        self.note_moved(&before, &targets);
        self.note("updates");
        Ok(())
    }

    /// Some of the elements, of which some come elsewhere, with numbers among them.
    fn rearranged(&mut self, before: &[Row]) -> Vec<Target> {
        let mut targets = Vec::new();
        for row in before {
            if !self.random.is_one_in(5) {
                targets.push(Target::Row(row.clone()));
            }
        }
        for _ in 0..self.random.below(3) {
            if !targets.is_empty() {
                let row = targets.remove(self.random.below(targets.len()));
                targets.insert(self.random.below(targets.len() + 1), row);
            }
        }
        for _ in 0..self.random.below(3).max(usize::from(targets.is_empty())) {
            let new = Target::New(self.number());
            targets.insert(self.random.below(targets.len() + 1), new);
        }
        targets
    }

    /// Elements that an update brings into another order may be moved by it: of two, either one.
    fn note_moved(&mut self, before: &[Row], targets: &[Target]) {
        let index = |target: &Target| match target {
            Target::Row(row) => before.iter().position(|old| old.id == row.id),
            Target::New(_) => None,
        };
        let order: Vec<usize> = targets.iter().filter_map(index).collect();
        for (i, a) in order.iter().enumerate() {
            for b in order[i + 1..].iter().filter(|b| *b < a) {
                self.moved.extend([*a, *b].map(|at| before[at].id.clone()));
            }
        }
    }

    /// Two replicas in one state make the same update.
    fn update_by_two(&mut self, at: usize) -> Result<(), String> {
        let other = (at + 1 + self.random.below(SITES - 1)) % SITES;
        self.pass(at, other)?;
        self.pass(other, at)?;
        same("two that exchanged everything are equal", self.document(at) == self.document(other), true)?;
        [at, other].into_iter().try_for_each(|at| self.check(at))?;
        self.update(&[at, other])?;
        same("one update made by two", self.rows(at)?, self.rows(other)?)?;
        self.note("updates by two");
        self.check(other)
    }

    /// Settles a conflict about the place of an element.
    fn settle(&mut self, at: usize) -> Result<(), String> {
        let listed = self.document(at).conflicts().filter_map(|conflict| {
            let is_move = match conflict.kind {
                ConflictKind::ElementMove => true,
                ConflictKind::MovedWhileRemoved => false,
                _ => return None,
            };
            let dots: Vec<Dot> = conflict.candidates.iter().map(|candidate| candidate.dot).collect();
            Some((conflict.id, conflict.path.to_string(), is_move, dots))
        });
        let listed: Vec<_> = listed.collect();
        if listed.is_empty() {
            return Ok(());
        }
        let (id, path, is_move, dots) = &listed[self.random.below(listed.len())];
        let before = self.rows(at)?;
        same("an element in conflict shows", before.iter().any(|row| row.id == *path), *is_move)?;
        let resolution = match is_move {
            true => Resolution::Pick(dots[self.random.below(dots.len())]),
            false => Resolution::Confirm,
        };
        self.edit(at, |d| d.resolve(*id, resolution))?;
        let others = |rows: Vec<Row>| -> Vec<Row> { rows.into_iter().filter(|row| row.id != *path).collect() };
        let now = self.rows(at)?;
        same("the number of elements", now.len(), before.len())?;
        same("the elements beside the one that was settled", others(now), others(before))?;
        let is_open = |path: &str| {
            let about_places =
                |kind: &ConflictKind| matches!(kind, ConflictKind::ElementMove | ConflictKind::MovedWhileRemoved);
            let about = |conflict: &Conflict<'_>| conflict.path.to_string() == path && about_places(&conflict.kind);
            self.document(at).conflicts().any(|conflict| about(&conflict))
        };
        same("a conflict that was settled is listed", is_open(path), false)?;
        self.note("settled");
        Ok(())
    }

    fn prune(&mut self, at: usize) -> Result<(), String> {
        let before = (self.rows(at)?, conflicts(self.document(at)));
        if self.sites[at].replica.prune(Prune::All) > 0 {
            self.note("pruned");
        }
        same("a list that was pruned", (self.rows(at)?, conflicts(self.document(at))), before)
    }

    // ---- the network ----

    /// The delta for a replica from another, through its bytes.
    fn delta(&mut self, from: usize, to: usize) -> Result<Delta, String> {
        let (sender, receiver) = (&self.sites[from].replica, &self.sites[to].replica);
        let (delta, what) = match sender.delta_since(receiver.version()) {
            Ok(delta) => (delta, "incremental"),
            Err(_) => (sender.reconcile(receiver.version(), &receiver.live_dots()), "reconciled"),
        };
        self.note(what);
        Delta::from_bytes(&delta.to_bytes()).map_err(|error| error.to_string())
    }

    /// Sends a delta to the replica that it was cut for, or to another. Some are never read.
    fn send(&mut self, at: usize) -> Result<(), String> {
        let to = (at + 1 + self.random.below(SITES - 1)) % SITES;
        let delta = match self.random.is_one_in(6) {
            true => self.sites[at].replica.complete(),
            false => self.delta(at, to)?,
        };
        let receiver = if self.random.is_one_in(4) { self.random.below(SITES) } else { to };
        self.flight.push((receiver, delta));
        Ok(())
    }

    /// Merges a delta in flight, which may arrive again, or loses one.
    fn arrive(&mut self) -> Result<(), String> {
        if self.flight.is_empty() {
            return Ok(());
        }
        let which = self.random.below(self.flight.len());
        let (to, delta) = self.flight[which].clone();
        if !self.random.is_one_in(3) {
            self.flight.remove(which);
        }
        if self.random.is_one_in(8) {
            self.note("lost");
            return Ok(());
        }
        let (before, version) = (self.sites[to].replica.snapshot(), self.sites[to].replica.version().clone());
        match self.sites[to].replica.merge(&delta) {
            Ok(_) if !version.includes(delta.upto()) && !delta.upto().includes(&version) => self.note("concurrent"),
            Ok(_) => {}
            Err(MergeError::Gap { .. }) => {
                same("a refused delta leaves nothing", self.document(to) == &before, true)?;
                self.note("refused");
            }
            Err(error) => return Err(error.to_string()),
        }
        self.check(to)
    }

    /// Merges all that one replica has into another.
    fn pass(&mut self, from: usize, to: usize) -> Result<(), String> {
        let delta = self.delta(from, to)?;
        self.sites[to].replica.merge(&delta).map(drop).map_err(|error| error.to_string())
    }

    fn exchange(&mut self) -> Result<(), String> {
        for _ in 0..2 {
            for from in 0..SITES {
                for to in (0..SITES).filter(|to| *to != from) {
                    self.pass(from, to)?;
                }
            }
        }
        for at in 0..SITES {
            self.check(at).map_err(|error| format!("replica {at}: {error}"))?;
            let (first, this) = (self.document(0), self.document(at));
            same(format!("the state of replica {at} is that of the first"), this == first, true)?;
            same(format!("the document of replica {at}"), this.to_json(), first.to_json())?;
            same(format!("the order in replica {at}"), self.rows(at)?, self.rows(0)?)?;
            same(format!("the conflicts of replica {at}"), conflicts(this), conflicts(first))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        self.exchange()?;
        let shown = self.rows(0)?;
        let loaded = Replica::<Document>::load_with(TestEnvironment::new(1), &self.sites[0].replica.save());
        let loaded = loaded.map_err(|error| error.to_string())?;
        same("a state that was saved and loaded is equal", loaded.state() == self.document(0), true)?;
        same("the elements of a state that was saved and loaded", rows(loaded.state())?, shown)?;
        // The next write to the list drops what is left of elements that were removed while they were moved.
        self.insert(SITES - 1)?;
        self.exchange()?;
        same("places of removed elements after another write", leftovers(self.document(0)), 0)
    }

    // ---- oracles ----

    /// The numbers that are alive in a replica, by causality alone, and the elements of which something survived a
    /// removal.
    fn alive(&self, at: usize) -> (Alive<'_>, BTreeSet<&str>) {
        let version = self.sites[at].replica.version();
        let seen: Vec<&Entry> = self.log.iter().filter(|entry| version.covers(entry.dot)).collect();
        let mut alive = Alive::new();
        for entry in &seen {
            let Made::Write { element, key, number } = &entry.made else { continue };
            let mut others = seen.iter().filter(|other| other.is_about(element, *key));
            if !others.any(|other| other.seen.covers(entry.dot)) {
                alive.entry(element).or_default().entry(*key).or_default().insert(*number);
            }
        }
        let removed = seen.iter().filter_map(|entry| match &entry.made {
            Made::Removal { element } if alive.contains_key(element.as_str()) => Some(element.as_str()),
            _ => None,
        });
        let survived = removed.collect();
        (alive, survived)
    }

    fn check(&mut self, at: usize) -> Result<(), String> {
        self.document(at).check_invariants()?;
        let rows = self.rows(at)?;
        if self.check_alive(at, &rows)? {
            self.note("survived a removal");
        }
        self.check_order(&rows)?;
        if leftovers(self.document(at)) > 0 {
            self.note("moved while removed");
        }
        let is_move = |kind: &ConflictKind| matches!(kind, ConflictKind::ElementMove);
        if self.document(at).conflicts().any(|conflict| is_move(&conflict.kind)) {
            self.note("moved by two");
        }
        Ok(())
    }

    /// Checks the elements that show against what is alive. Returns true if something in one of them survived a
    /// removal.
    fn check_alive(&self, at: usize, rows: &[Row]) -> Result<bool, String> {
        let (alive, survived) = self.alive(at);
        let shown: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        same("the number of different elements", shown.len(), rows.len())?;
        for element in alive.keys() {
            same(format!("{element}, in which something is alive, shows"), shown.contains(element), true)?;
        }
        for row in rows {
            let Some(cells) = alive.get(row.id.as_str()) else {
                return Err(format!("{row:?} shows, and nothing in it is alive"));
            };
            check_row(row, cells)?;
        }
        let numbers: Vec<u64> = rows.iter().flat_map(|row| numbers_of(&row.json)).collect();
        let different: BTreeSet<u64> = numbers.iter().copied().collect();
        same(format!("the numbers that show twice, of {numbers:?}"), numbers.len() - different.len(), 0)?;
        Ok(!survived.is_empty())
    }

    /// Elements that were never moved show in one order for ever.
    fn check_order(&mut self, rows: &[Row]) -> Result<(), String> {
        let unmoved: Vec<&String> = rows.iter().map(|row| &row.id).filter(|id| !self.moved.contains(*id)).collect();
        for (i, before) in unmoved.iter().enumerate() {
            for after in &unmoved[i + 1..] {
                if self.order.contains(&((*after).clone(), (*before).clone())) {
                    return Err(format!("{before} shows before {after}, and once showed behind it"));
                }
                self.order.insert(((*before).clone(), (*after).clone()));
            }
        }
        Ok(())
    }
}

impl Made {
    fn element(&self) -> &str {
        match self {
            Self::Write { element, .. } | Self::Removal { element } => element,
        }
    }
}

/// An element of the array that a list is updated to.
enum Target {
    /// An element that is there, as it is to show.
    Row(Row),
    /// A number that is new.
    New(u64),
}

impl Target {
    fn json(&self) -> Json {
        match self {
            Self::Row(row) => row.json.clone(),
            Self::New(number) => json!(number),
        }
    }
}

/// An element with these cells.
fn json_of(cells: &[(Key, u64)]) -> Json {
    let mut json = json!({});
    for (key, number) in cells {
        match key {
            Some(key) => json[*key] = json!(number),
            None => json = json!(number),
        }
    }
    json
}

fn numbers_of(json: &Json) -> Vec<u64> {
    match json {
        Json::Object(entries) => entries.values().filter_map(Json::as_u64).collect(),
        other => other.as_u64().into_iter().collect(),
    }
}

/// Checks an element that shows against the numbers that are alive in it.
fn check_row(row: &Row, cells: &BTreeMap<Key, BTreeSet<u64>>) -> Result<(), String> {
    let found: BTreeMap<Option<&str>, &Json> = match &row.json {
        Json::Object(entries) => entries.iter().map(|(key, value)| (Some(key.as_str()), value)).collect(),
        other => [(None, other)].into(),
    };
    let expected: Vec<Option<&str>> = cells.keys().copied().collect();
    same(format!("the entries of {}", row.id), found.keys().copied().collect::<Vec<_>>(), expected)?;
    for (key, alive) in cells {
        let number = found.get(key).and_then(|value| value.as_u64());
        if !number.is_some_and(|number| alive.contains(&number)) {
            return Err(format!("{row:?} shows {number:?} at {key:?}, and alive there is {alive:?}"));
        }
    }
    Ok(())
}
