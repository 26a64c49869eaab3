//! All writes that anybody made, and what of them must be alive for whoever has seen some of them.
//!
//! What an edit wrote, and what it put an end to, is read off the writer, before and after. All else follows: a write is alive
//! in a version that covers it unless the version covers an edit that ended it. Nothing of the kernel's is used to say so.

use std::collections::{BTreeMap, BTreeSet};

use driftless::kernel::{Dropped, Entity, Field, Sibling};
use driftless::{Crdt, Dot, Version, WriterId};

/// A live sibling and its cell.
pub(crate) type Held = (Entity, Field, Sibling);

pub(crate) type Alive = BTreeMap<Dot, Held>;

pub(crate) fn alive<T: Crdt>(value: &T) -> Alive {
    let siblings = value.state().live_siblings();
    siblings.map(|(entity, field, sibling)| (sibling.dot, (entity, field.to_field(), sibling.to_sibling()))).collect()
}

struct Write {
    held: Held,
    /// By anybody, of any write under this dot.
    ended: bool,
    /// Since the last crash nobody has had it.
    lost: bool,
    /// A repair found it dead at a peer, and said so.
    reported: bool,
}

/// The fate of contents of which two stood under one dot.
pub(crate) struct End {
    pub(crate) doubled: u64,
    pub(crate) reported: u64,
    pub(crate) unseen: u64,
}

struct Edit {
    last: Dot,
    /// By place in the list of writes.
    ended: Vec<usize>,
}

#[derive(Default)]
pub(crate) struct Truth {
    writes: Vec<Write>,
    by_dot: BTreeMap<Dot, Vec<usize>>,
    edits: Vec<Edit>,
    /// Dots that were overwritten in the edit that minted them.
    stillborn: BTreeSet<Dot>,
}

impl Truth {
    /// An edit, by what the writer held before and after.
    pub(crate) fn record(&mut self, writer: WriterId, before: (&Version, &Alive), after: (&Version, &Alive)) {
        let ended: Vec<&Held> =
            before.1.iter().filter(|(dot, held)| after.1.get(dot) != Some(held)).map(|(_, held)| held).collect();
        let places: Vec<usize> = ended.iter().flat_map(|held| self.find(held)).collect();
        let last = Dot { writer, counter: after.0.get(writer) };
        let is_new = |dot: &Dot| after.0.covers(*dot) && !before.0.covers(*dot);
        let minted = (1..=last.counter).rev().map(|counter| Dot { writer, counter }).take_while(is_new);
        for dot in minted {
            match after.1.get(&dot) {
                Some(held) => self.write(held.clone()),
                None => drop(self.stillborn.insert(dot)),
            }
        }
        for place in &places {
            let dot = self.writes[*place].held.2.dot;
            for place in self.by_dot.get(&dot).into_iter().flatten() {
                self.writes[*place].ended = true;
            }
        }
        if is_new(&last) {
            self.edits.push(Edit { last, ended: places });
        }
    }

    fn write(&mut self, held: Held) {
        let dot = held.2.dot;
        if self.find(&held).is_some() {
            return;
        }
        let ended = self.by_dot.get(&dot).into_iter().flatten().any(|place| self.writes[*place].ended);
        self.by_dot.entry(dot).or_default().push(self.writes.len());
        self.writes.push(Write { held, ended, lost: false, reported: false });
    }

    /// The write that is held: under its dot, or written again under one that is derived, because another holds its dot.
    fn find(&self, held: &Held) -> Option<usize> {
        match held.2.dot.writer.is_derived() {
            true => self.writes.iter().position(|write| is_again(held, &write.held)),
            false => self.by_dot.get(&held.2.dot)?.iter().copied().find(|place| self.writes[*place].held == *held),
        }
    }

    /// What somebody held who crashed, and who is left does not.
    pub(crate) fn lose(&mut self, version: &Version, held: &Alive, left: &[(&Version, Alive)], clones: bool) {
        for write in &mut self.writes {
            let dot = write.held.2.dot;
            write.lost |= match clones {
                true => has(held, &write.held) && !left.iter().any(|(_, left)| has(left, &write.held)),
                false => version.covers(dot) && !left.iter().any(|(version, _)| version.covers(dot)),
            };
        }
    }

    /// What somebody holds alive who has seen this much. Where processes were copied, only that it was written.
    pub(crate) fn check(&mut self, version: &Version, found: &Alive, clones: bool) -> Result<(), String> {
        let is_known = |dot: &Dot| self.by_dot.contains_key(dot) || self.stillborn.contains(dot);
        if let Some(head) = version.heads().iter().find(|head| !(is_known(head) || clones && head.writer.is_derived()))
        {
            return Err(format!("{head:?} is known, and nobody wrote it"));
        }
        for write in self.writes.iter_mut().filter(|write| write.lost) {
            write.lost = match clones {
                true => !has(found, &write.held),
                false => !version.covers(write.held.2.dot),
            };
        }
        if clones {
            return match found.values().find(|held| self.find(held).is_none()) {
                Some(held) => Err(format!("nobody wrote {held:?}")),
                None => Ok(()),
            };
        }
        let mut ended = vec![false; self.writes.len()];
        for edit in self.edits.iter().filter(|edit| version.covers(edit.last)) {
            edit.ended.iter().for_each(|place| ended[*place] = true);
        }
        for (dot, places) in self.by_dot.iter() {
            let expected = places.iter().find(|place| version.covers(*dot) && !ended[**place]);
            let expected = expected.map(|place| &self.writes[*place].held);
            match (found.get(dot), expected) {
                (None, Some(held)) => return Err(format!("a write is missing: {held:?}")),
                (Some(held), None) => return Err(format!("a write is back, or was never made: {held:?}")),
                (found, expected) if found != expected => return Err(format!("found {found:?}, must be {expected:?}")),
                _ => {}
            }
        }
        match found.keys().find(|dot| !self.by_dot.contains_key(dot)) {
            Some(dot) => Err(format!("nobody wrote {dot:?}")),
            None => Ok(()),
        }
    }

    /// Notes the contents that a merge or a repair reports as ended and not written again.
    pub(crate) fn report(&mut self, dropped: &[Dropped]) {
        for Dropped { was, .. } in dropped.iter().filter(|dropped| dropped.rescued.is_none()) {
            if let Some(place) = self.find(&(was.entity, was.field.clone(), was.sibling.clone())) {
                self.writes[place].reported = true;
            }
        }
    }

    /// When all are equal: every write that anybody has had since the last crash is there, or somebody has ended it who had
    /// seen it. Of two contents under one dot, whoever ended the one had seen the other, as far as anybody can tell; and if
    /// neither was ended, what is gone was reported, or a delta from who had the one has ended the other. Those are counted.
    pub(crate) fn check_end(&self, version: &Version, found: &Alive, clones: bool) -> Result<End, String> {
        let mut end = End { doubled: 0, reported: 0, unseen: 0 };
        for Write { held, ended, lost, reported } in &self.writes {
            let dot = held.2.dot;
            let under_it = self.by_dot[&dot].len();
            end.doubled += u64::from(under_it > 1);
            let is_there = match clones {
                true => has(found, held) || *ended || self.stillborn.contains(&dot),
                false => version.covers(dot),
            };
            match is_there || *lost {
                true => {}
                false if clones && *reported => end.reported += 1,
                false if clones && under_it > 1 => end.unseen += 1,
                false => return Err(format!("a write vanished: {held:?}, one of {under_it} under its dot")),
            }
        }
        Ok(end)
    }
}

/// Whether a content stands under a derived dot that was written under another.
fn is_again(derived: &Held, was: &Held) -> bool {
    let same = |a: &Sibling, b: &Sibling| (a.stamp, &a.payload) == (b.stamp, &b.payload);
    derived.2.dot.writer.is_derived() && (derived.0, &derived.1) == (was.0, &was.1) && same(&derived.2, &was.2)
}

fn has(found: &Alive, held: &Held) -> bool {
    found.get(&held.2.dot) == Some(held) || found.values().any(|derived| is_again(derived, held))
}
