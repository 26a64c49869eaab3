//! All writes that anybody made, and what of them must be alive for whoever has seen some of them.
//!
//! What an edit wrote, and what it put an end to, is read off the writer, before and after. All else follows: a write is alive
//! in a version that covers it unless the version covers an edit that ended it. Nothing of the kernel's is used to say so.

use std::collections::{BTreeMap, BTreeSet};

use driftless::kernel::{Dropped, Entity, Field, Sibling, Touched};
use driftless::{Crdt, Dot, WriterId, Version};

/// A live sibling and its cell.
pub(crate) type Held = (Entity, Field, Sibling);

pub(crate) type Alive = BTreeMap<Dot, Held>;

pub(crate) fn alive<T: Crdt>(value: &T) -> Alive {
    let siblings = value.state().live_siblings();
    siblings.map(|(entity, field, sibling)| (sibling.dot, (entity, field.clone(), sibling.clone()))).collect()
}

struct Write {
    held: Held,
    /// By anybody, of any write under this dot.
    ended: bool,
    /// A repair has said that it did so.
    dropped: bool,
    /// A merge has, and said so.
    buried: bool,
    /// It is written under another dot now, where it was written.
    renamed: bool,
    /// Nobody had it when the one who had it crashed.
    lost: bool,
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
    minted: BTreeMap<WriterId, u64>,
}

impl Truth {
    /// An edit, or a rotation, by what the writer held before and after.
    pub(crate) fn record(&mut self, before: (&Version, &Alive), after: (&Version, &Alive), rotates: bool) {
        let ended: Vec<&Held> =
            before.1.iter().filter(|(dot, held)| after.1.get(dot) != Some(held)).map(|(_, held)| held).collect();
        let places: Vec<usize> = ended.iter().flat_map(|held| self.find(held)).collect();
        if rotates {
            places.iter().for_each(|place| self.writes[*place].renamed = true);
        }
        for (replica, upto) in after.0.iter() {
            let since = before.0.get(replica);
            if upto <= since {
                continue;
            }
            for counter in since + 1..=upto {
                let dot = Dot { writer: replica, counter };
                match after.1.get(&dot) {
                    Some(held) => self.write(held.clone()),
                    None => drop(self.stillborn.insert(dot)),
                }
            }
            self.minted.entry(replica).and_modify(|most| *most = upto.max(*most)).or_insert(upto);
            if !rotates {
                self.edits.push(Edit { last: Dot { writer: replica, counter: upto }, ended: places.clone() });
            }
        }
        if !rotates {
            for held in ended {
                for place in self.by_dot.get(&held.2.dot).into_iter().flatten() {
                    self.writes[*place].ended = true;
                }
            }
        }
    }

    fn write(&mut self, held: Held) {
        let dot = held.2.dot;
        if self.find(&held).is_some() {
            return;
        }
        let ended = self.by_dot.get(&dot).into_iter().flatten().any(|place| self.writes[*place].ended);
        self.by_dot.entry(dot).or_default().push(self.writes.len());
        self.writes.push(Write { held, ended, dropped: false, buried: false, renamed: false, lost: false });
    }

    fn find(&self, held: &Held) -> Option<usize> {
        self.by_dot.get(&held.2.dot)?.iter().copied().find(|place| self.writes[*place].held == *held)
    }

    /// What a writer wrote past a counter never left it, and it goes on from there.
    pub(crate) fn forget(&mut self, replica: WriterId, past: u64) {
        let goes = |dot: &Dot| dot.writer == replica && dot.counter > past;
        self.by_dot.retain(|dot, _| !goes(dot));
        self.stillborn.retain(|dot| !goes(dot));
        self.edits.retain(|edit| !goes(&edit.last));
        self.minted.entry(replica).and_modify(|most| *most = past.min(*most));
    }

    /// What somebody held who crashed, and who is left does not.
    pub(crate) fn lose(
        &mut self,
        version: &Version,
        held: &Alive,
        left: &[(&Version, Alive)],
        clones: bool,
    ) {
        for places in self.by_dot.values() {
            for place in places {
                let write = &mut self.writes[*place];
                let dot = write.held.2.dot;
                write.lost |= match clones {
                    true => {
                        held.get(&dot) == Some(&write.held)
                            && left.iter().all(|(_, left)| left.get(&dot) != Some(&write.held))
                    }
                    false => version.covers(dot) && !left.iter().any(|(version, _)| version.covers(dot)),
                };
            }
        }
    }

    pub(crate) fn drop_by_repair(&mut self, dropped: &[Dropped]) -> Result<(), String> {
        for Dropped { was, .. } in dropped {
            let held = (was.entity, was.field.clone(), was.sibling.clone());
            let place = self.find(&held).ok_or_else(|| format!("a repair dropped what nobody wrote: {held:?}"))?;
            self.writes[place].dropped = true;
        }
        Ok(())
    }

    /// What a merge changed, by its own report. Returns how many writes it ended whose dot somebody else holds otherwise.
    pub(crate) fn bury(&mut self, touched: &[Touched]) -> u64 {
        let mut contested = 0;
        for cell in touched {
            for was in cell.was().iter().filter(|was| was.is_live() && !cell.now().contains(was)) {
                let held = (cell.entity, cell.field.clone(), was.clone());
                if let Some(place) = self.find(&held) {
                    self.writes[place].buried = true;
                    contested += u64::from(self.by_dot[&was.dot].len() > 1);
                }
            }
        }
        contested
    }

    /// What somebody holds alive who has seen this much. Where ids were cloned, only that it was written.
    pub(crate) fn check(&self, version: &Version, found: &Alive, clones: bool) -> Result<(), String> {
        for (replica, counter) in version.iter() {
            let minted = self.minted.get(&replica).copied().unwrap_or(0);
            if counter > minted {
                return Err(format!("{counter} writes of {replica} are known, and it made {minted}"));
            }
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

    /// When all are equal: every write that somebody held durably is there, or somebody has ended it who had seen it.
    pub(crate) fn check_end(&self, version: &Version, found: &Alive, clones: bool) -> Result<(), String> {
        for (dot, place) in self.by_dot.iter().flat_map(|(dot, places)| places.iter().map(move |place| (*dot, *place)))
        {
            let Write { held, ended, dropped, buried, renamed, lost } = &self.writes[place];
            // A merge takes whatever another held under the same dot for this, so what ended that ends this.
            let is_told = *dropped || *renamed || (*buried && self.by_dot[&dot].len() > 1);
            let is_there = match clones {
                true => found.get(&dot) == Some(held) || *ended || is_told || self.stillborn.contains(&dot),
                false => version.covers(dot),
            };
            if !is_there && !lost {
                let under_it = self.by_dot[&dot].len();
                return Err(format!("a write vanished: {held:?}, one of {under_it} under its dot"));
            }
        }
        Ok(())
    }
}
