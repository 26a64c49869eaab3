//! The graph by definition: what must be there, recomputed from the list of all edits with plain maps.
//!
//! A write is alive unless another write that had seen it overwrote its cell or deleted its concept or relation. That
//! is all: nothing here is merged, no state of a replica is looked at, and no code of the library's takes part. An edit
//! is known by who made it, when, what he had seen, and what it was meant to do; which writes that made, and in which
//! numbers, is found out here again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use driftless::WriterId;

use crate::catalog::{Catalog, Concept, Relation, Text, Thing};
use crate::mesh::{NAMES, PEERS, Record, Seen};
use crate::op::{Op, Scalar};

/// A cell of a thing.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Field {
    /// That it exists; written with a removal, that it does not, and nothing that was seen of it.
    Root,
    Label(Text),
    Property(Text),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    Removal,
    Presence,
    Value(Scalar),
}

#[derive(Clone, Debug)]
struct Write {
    who: usize,
    /// The writer's how-many-eth.
    number: u64,
    edit: usize,
    field: Field,
    what: What,
}

impl Write {
    fn deletes(&self) -> bool {
        self.field == Field::Root && self.what == What::Removal
    }

    fn within(&self, version: &Seen) -> bool {
        self.number <= version[self.who]
    }
}

pub(crate) struct Model {
    writers: [Option<WriterId>; PEERS],
    /// When each edit was made and what its maker had seen.
    edits: Vec<(u64, Seen)>,
    things: HashMap<Thing, Vec<Write>>,
    /// Every relation that was ever stated, by its ends.
    around: HashMap<Concept, Vec<Relation>>,
    /// How many writes each has made so far.
    written: Seen,
}

/// All that a reader can know of a concept or relation.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) present: bool,
    pub(crate) labels: BTreeSet<Text>,
    /// By path; of several values the one that shows comes first.
    pub(crate) values: BTreeMap<Text, Vec<Candidate>>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Candidate {
    pub(crate) at: u64,
    pub(crate) writer: Option<WriterId>,
    pub(crate) number: u64,
    pub(crate) value: Scalar,
}

impl Entry {
    /// Not there, and something of it is.
    pub(crate) fn is_hidden(&self) -> bool {
        let empty = self.labels.is_empty() && self.values.is_empty();
        !self.present && !empty
    }

    pub(crate) fn conflicts(&self) -> impl Iterator<Item = (&Text, &[Candidate])> {
        let differ = |values: &[Candidate]| values.iter().any(|one| one.value != values[0].value);
        self.values.iter().map(|(path, values)| (path, values.as_slice())).filter(move |(_, values)| differ(values))
    }
}

impl Model {
    /// Replays the list. An edit that made another number of writes than the replica says is an error.
    pub(crate) fn replay(
        log: &[Record],
        writers: [Option<WriterId>; PEERS],
        catalog: &Catalog,
    ) -> Result<Self, String> {
        let (edits, things, around) = (Vec::with_capacity(log.len()), HashMap::new(), HashMap::new());
        let mut model = Self { writers, edits, things, around, written: Seen::default() };
        for record in log {
            let Record { who, at, seen, upto, ops } = record;
            if seen[*who] != model.written[*who] {
                let name = NAMES[*who];
                return Err(format!("{name} forgot writes of its own: {} of {}", seen[*who], model.written[*who]));
            }
            model.edits.push((*at, *seen));
            ops.iter().for_each(|op| model.perform(*who, op));
            if *upto != model.written[*who] {
                let made = model.written[*who];
                let words: Vec<_> = record.ops.iter().map(|op| op.describe(catalog)).collect();
                let words = words.join(", ");
                return Err(format!("{} counts {upto} writes, not {made}, after: {words}", NAMES[*who]));
            }
        }
        Ok(model)
    }

    fn perform(&mut self, who: usize, op: &Op) {
        let concept = |concept: &Concept| Thing::Concept(*concept);
        match op {
            Op::Add(c) => self.add(who, concept(c), true),
            Op::Restore(c) => self.add(who, concept(c), false),
            Op::Remove(c) => self.remove(who, &concept(c)),
            Op::RemoveWithRelations(c) => {
                // A relation from a concept to itself is there twice, and gone after the first time.
                for relation in self.around.get(c).cloned().unwrap_or_default() {
                    self.remove(who, &Thing::Relation(relation));
                }
                self.remove(who, &concept(c));
            }
            Op::Label(c, label) => self.write(who, concept(c), Field::Label(label.clone()), What::Presence),
            Op::Unlabel(c, label) => self.erase(who, concept(c), Field::Label(label.clone())),
            Op::Set(thing, path, value) => {
                self.write(who, thing.clone(), Field::Property(path.clone()), What::Value(value.clone()));
            }
            Op::Unset(thing, path) => self.erase(who, thing.clone(), Field::Property(path.clone())),
            Op::Link(r) => self.state(who, r, true),
            Op::Relink(r) => self.state(who, r, false),
            Op::Unlink(r) => self.remove(who, &Thing::Relation(r.clone())),
        }
    }

    fn state(&mut self, who: usize, relation: &Relation, anew: bool) {
        let thing = Thing::Relation(relation.clone());
        if !self.things.contains_key(&thing) {
            for end in [relation.from, relation.to] {
                self.around.entry(end).or_default().push(relation.clone());
            }
        }
        self.add(who, thing, anew);
    }

    /// Where something hidden is left, `anew` deletes it first.
    fn add(&mut self, who: usize, thing: Thing, anew: bool) {
        if self.has(who, &thing, |write| write.field == Field::Root) {
            return;
        }
        if anew && self.has(who, &thing, |_| true) {
            self.write(who, thing.clone(), Field::Root, What::Removal);
        }
        self.write(who, thing, Field::Root, What::Presence);
    }

    fn remove(&mut self, who: usize, thing: &Thing) {
        if self.has(who, thing, |write| write.field == Field::Root) {
            self.write(who, thing.clone(), Field::Root, What::Removal);
        }
    }

    fn erase(&mut self, who: usize, thing: Thing, field: Field) {
        if self.has(who, &thing, |write| write.field == field) {
            self.write(who, thing, field, What::Removal);
        }
    }

    fn write(&mut self, who: usize, thing: Thing, field: Field, what: What) {
        self.written[who] += 1;
        let write = Write { who, number: self.written[who], edit: self.edits.len() - 1, field, what };
        // Most things get one write only.
        self.things.entry(thing).or_insert_with(|| Vec::with_capacity(1)).push(write);
    }

    /// Whether the one who makes the latest edit sees such a write alive, those of this very edit among them.
    fn has(&self, who: usize, thing: &Thing, is_such: impl Fn(&Write) -> bool) -> bool {
        let mut version = self.edits.last().map(|(_, seen)| *seen).unwrap_or_default();
        version[who] = self.written[who];
        self.alive(thing, &version).any(is_such)
    }

    /// The definition.
    fn alive<'a>(&'a self, thing: &Thing, version: &Seen) -> impl Iterator<Item = &'a Write> + use<'a> {
        let writes = self.things.get(thing).map(Vec::as_slice).unwrap_or_default();
        let version = *version;
        let killed = move |write: &Write| {
            writes.iter().any(|other| {
                other.within(&version) && (other.field == write.field || other.deletes()) && self.had_seen(other, write)
            })
        };
        writes.iter().filter(move |w| w.what != What::Removal && w.within(&version) && !killed(w))
    }

    fn had_seen(&self, later: &Write, earlier: &Write) -> bool {
        match later.who == earlier.who {
            true => earlier.number < later.number,
            false => earlier.within(&self.edits[later.edit].1),
        }
    }

    /// What can be read of a thing once everybody has seen everything.
    pub(crate) fn entry(&self, thing: &Thing) -> Entry {
        let mut entry = Entry::default();
        for write in self.alive(thing, &self.written) {
            match (&write.field, &write.what) {
                (Field::Label(label), _) => drop(entry.labels.insert(label.clone())),
                (Field::Property(path), What::Value(value)) => {
                    let (at, writer) = (self.edits[write.edit].0, self.writers[write.who]);
                    let candidate = Candidate { at, writer, number: write.number, value: value.clone() };
                    entry.values.entry(path.clone()).or_default().push(candidate);
                }
                _ => entry.present = true,
            }
        }
        // The later stamp shows, then the greater id, then the greater number.
        entry.values.values_mut().for_each(|values| values.sort_unstable_by(|a, b| b.cmp(a)));
        entry
    }

    pub(crate) fn is_present(&self, thing: &Thing) -> bool {
        self.alive(thing, &self.written).any(|write| write.field == Field::Root)
    }

    pub(crate) fn is_dangling(&self, relation: &Relation) -> bool {
        [relation.from, relation.to].iter().any(|end| !self.is_present(&Thing::Concept(*end)))
    }

    /// Everything that was ever written to.
    pub(crate) fn things(&self) -> impl Iterator<Item = &Thing> {
        self.things.keys()
    }

    /// How many writes each replica has made.
    pub(crate) fn version(&self) -> &Seen {
        &self.written
    }
}
