//! Everything that a replica can come to hold, each made once and judged once.
//!
//! What the library does depends on what a replica holds and what arrives, not on how either came about: that is checked
//! whenever the same comes about again. So each act is done once for each that is different, and a world is a few numbers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use crate::id::{Dot, WriterId};
use crate::kernel::{Crdt, Delta, DeltaKind, State};
use crate::replica::Replica;
use crate::testing::TestEnvironment;
use crate::testing::acts::{self, Edited};
use crate::testing::explore::Exploration;
use crate::testing::history::{History, Seen};
use crate::testing::laws::Joins;
use crate::testing::model::{Model, same};
use crate::testing::point::{Born, Ids, Point, alike, carry};
use crate::testing::raw::{Raw, RawOp};
use crate::version::Version;

/// Milliseconds between one edit and one that has seen it: more than there are writers.
const TICK: u64 = 1024;

/// The number of those who write nothing: on them the laws are tried, since a replica cannot hear from itself what it is
/// yet to write.
const NOBODY: usize = usize::MAX;

/// What a replica holds, and all that it will do follows from.
struct Local<M: Model> {
    past: usize,
    /// The writer of the opening: the number of the site, and for each opening that wrote there before as many more as there
    /// are sites.
    writer: usize,
    /// The writer that it goes on from, if it has not written.
    owner: Option<usize>,
    point: Point<M::Type>,
}

/// What somebody has seen: some edits, with all that those had seen.
struct Past<M: Model> {
    /// Numbers of edits; later ones are greater than those that they have seen.
    edits: Rc<[usize]>,
    seen: Seen,
    history: History<M>,
    /// All writers, as they were born in it.
    ids: Ids,
    /// The greatest time in it, in ticks.
    age: u64,
    /// The first that came to have seen this: all others must be like it.
    first: Option<usize>,
    collides: bool,
}

/// An edit that wrote something.
struct Made<M: Model> {
    history: History<M>,
    age: u64,
    writer: usize,
    /// The counter after which those of its writer begin.
    after: u64,
    /// The write that its writer was born at.
    parent: Option<(usize, u64)>,
}

/// A delta that was cut, and what the model knows of it.
struct Parcel {
    /// Of several who cut the same, the first that was met.
    what: What,
    delta: Delta,
    need: Seen,
    past: usize,
}

/// The writer of an opening, and the one that it goes on from if it has not written.
type Who = (usize, Option<usize>);

/// What an editor holds then, and the delta of it, if anything was written; none if the edit is refused.
type AfterEdit = Option<(usize, Option<usize>)>;

/// For whoever reads of it.
#[derive(Clone, Copy)]
enum What {
    OfEdit(usize),
    For(usize, usize),
    All(usize),
    Joined,
}

/// Who writes, what it will be born at, what was seen, the tombstones, what was pruned: what is alive follows, which is
/// checked.
type Key = (usize, Birthplace, usize, Vec<Dot>, Version);

/// The writer that an opening goes on from which has not written, and the dot that its own writer would be born at now.
type Birthplace = (Option<usize>, Option<Dot>);

/// Replicas, deltas, what was seen and edited, each under a number, and what came of each act.
pub(super) struct Table<M: Model> {
    replicas: usize,
    /// Those to explore, and what the model begins with.
    ops: Vec<M::Op>,
    alphabet: usize,
    ids: Vec<WriterId>,
    /// By writer: among those who write in the same tick the one with the greatest id is the earliest.
    ranks: Vec<u64>,
    edits: Vec<Made<M>>,
    edit_numbers: HashMap<(usize, usize, Birthplace, usize), usize>,
    pasts: Vec<Past<M>>,
    past_numbers: HashMap<Rc<[usize]>, usize>,
    locals: Vec<Local<M>>,
    local_numbers: HashMap<Key, usize>,
    parcels: Vec<Parcel>,
    parcel_numbers: HashMap<(Vec<u8>, Seen, usize), usize>,
    // What came of each act.
    joined: HashMap<(usize, usize), usize>,
    edited: HashMap<(usize, usize), AfterEdit>,
    pruned: HashMap<usize, usize>,
    opened: HashMap<(usize, usize), usize>,
    arrived: HashMap<(usize, usize), Option<usize>>,
    cut: HashMap<(usize, usize), usize>,
    complete: HashMap<usize, usize>,
    chained: HashMap<(usize, usize), Option<usize>>,
    /// Everything that somebody holds, by what was seen and what was pruned.
    spelled: HashMap<(usize, Version), usize>,
    arrivals: u64,
    refused: u64,
    /// Done to each delta that is cut: nothing, but where this explorer is itself explored.
    pub(super) spoil: fn(&mut Delta, &State),
}

impl<M: Model> Table<M> {
    pub(super) fn new(replicas: usize, writers: usize, ops: &[M::Op]) -> Result<Self, String> {
        let ids: Vec<WriterId> = (0..writers).map(id_of).collect::<Result<_, _>>()?;
        let rank = |id: &WriterId| ids.iter().filter(|other| *other > id).count() as u64;
        let ranks = ids.iter().map(rank).collect();
        let mut table = Self {
            replicas,
            ops: ops.iter().cloned().chain(M::begin()).collect(),
            alphabet: ops.len(),
            ids,
            ranks,
            edits: Vec::new(),
            edit_numbers: HashMap::new(),
            pasts: Vec::new(),
            past_numbers: HashMap::new(),
            locals: Vec::new(),
            local_numbers: HashMap::new(),
            parcels: Vec::new(),
            parcel_numbers: HashMap::new(),
            joined: HashMap::new(),
            edited: HashMap::new(),
            pruned: HashMap::new(),
            opened: HashMap::new(),
            arrived: HashMap::new(),
            cut: HashMap::new(),
            complete: HashMap::new(),
            chained: HashMap::new(),
            spelled: HashMap::new(),
            arrivals: 0,
            refused: 0,
            spoil: |_, _| {},
        };
        table.past(Rc::new([]));
        Ok(table)
    }

    /// The replicas as they are at the beginning, all with what the model begins with.
    pub(super) fn begin(&mut self) -> Result<Vec<usize>, String> {
        let none = |writer: usize| Replica::with_environment(TestEnvironment::new(writer as u64));
        let mut locals =
            (0..self.replicas).map(|who| self.local((who, None), 0, none(who))).collect::<Result<Vec<_>, _>>()?;
        for op in self.alphabet..self.ops.len() {
            locals[0] = self.edit(locals[0], op)?.ok_or("what the model begins with is refused")?.0;
        }
        let all = self.complete(locals[0])?;
        for other in &mut locals[1..] {
            *other = self.after(other, &all, other)?;
        }
        Ok(locals)
    }

    /// How many operations there are to explore.
    pub(super) fn alphabet(&self) -> usize {
        self.alphabet
    }

    pub(super) fn op(&self, op: usize) -> &M::Op {
        &self.ops[op]
    }

    pub(super) fn past_of(&self, local: usize) -> usize {
        self.locals[local].past
    }

    pub(super) fn edits_in(&self, past: usize) -> usize {
        self.pasts[past].edits.len()
    }

    /// Whether there are writes in it that collide and do not know of each other.
    pub(super) fn collides(&self, past: usize) -> bool {
        self.pasts[past].collides
    }

    pub(super) fn describe(&self, parcel: usize) -> String {
        let Parcel { what, delta, .. } = &self.parcels[parcel];
        let kind = match delta.kind() {
            DeltaKind::Incremental => "incremental",
            DeltaKind::Complete => "complete",
            DeltaKind::Reconciled { .. } => "reconciled",
        };
        match what {
            What::OfEdit(by) => format!("the delta of the edit of replica {by}"),
            What::For(from, to) => format!("what replica {from} had for replica {to} ({kind})"),
            What::All(from) => format!("all that replica {from} had"),
            // Never under way: made to be tried.
            What::Joined => "joined deltas".into(),
        }
    }

    /// What came about.
    pub(super) fn count(&self) -> Exploration {
        Exploration {
            replicas: self.locals.len(),
            versions: self.pasts.len(),
            deltas: self.parcels.len(),
            arrivals: self.arrivals,
            refused: self.refused,
            ..Exploration::default()
        }
    }

    /// Where it is.
    pub(super) fn site(&self, local: usize) -> usize {
        self.locals[local].writer % self.replicas
    }

    fn wrote(&self, local: usize) -> bool {
        let Local { past, writer, .. } = &self.locals[local];
        self.pasts[*past].seen.of(*writer) > 0
    }

    // ---- what is the same, under one number ----

    fn past(&mut self, edits: Rc<[usize]>) -> usize {
        if let Some(number) = self.past_numbers.get(&edits) {
            return *number;
        }
        let mut history = History::new();
        edits.iter().for_each(|edit| history.append(&self.edits[*edit].history));
        let seen = history.seen();
        let mut born: Vec<Born> = self.ids.iter().map(|id| Born { id: *id, after: 0, parent: None }).collect();
        for made in edits.iter().map(|edit| &self.edits[*edit]) {
            (born[made.writer].after, born[made.writer].parent) = (made.after, made.parent);
        }
        let ids = Ids::of(born);
        let age = edits.iter().map(|edit| self.edits[*edit].age).max().unwrap_or(0);
        let collides = history.collides();
        let number = self.pasts.len();
        self.past_numbers.insert(Rc::clone(&edits), number);
        self.pasts.push(Past { edits, seen, history, ids, age, first: None, collides });
        number
    }

    pub(super) fn join_pasts(&mut self, a: usize, b: usize) -> usize {
        if a == b {
            return a;
        }
        if let Some(joined) = self.joined.get(&(a, b)) {
            return *joined;
        }
        let mut edits: Vec<usize> = self.pasts[a].edits.iter().chain(&*self.pasts[b].edits).copied().collect();
        edits.sort_unstable();
        edits.dedup();
        let joined = self.past(edits.into());
        self.joined.insert((a, b), joined);
        joined
    }

    /// Judges what a replica holds after something was done to it, and finds the number of it.
    fn local(&mut self, who: Who, past: usize, replica: Replica<M::Type>) -> Result<usize, String> {
        let (writer, _) = who;
        let name = || if writer == NOBODY { "a copy".into() } else { format!("replica {}", writer % self.replicas) };
        self.examine(past, &replica).map_err(|e| format!("{}: {e}", name()))?;
        self.number(who, past, replica)
    }

    fn examine(&self, past: usize, replica: &Replica<M::Type>) -> Result<(), String> {
        let Past { seen, history, ids, .. } = &self.pasts[past];
        acts::examine::<M>(replica, ids, seen, &history.view(seen))
    }

    /// The number of what a replica holds, which is compared with all that have seen the same.
    fn number(&mut self, who: Who, past: usize, replica: Replica<M::Type>) -> Result<usize, String> {
        let (writer, owner) = who;
        if let Some(first) = self.pasts[past].first {
            let first = &self.locals[first].point.replica;
            alike("what is read at equal versions", replica.state(), first.state())?;
            same("the fingerprint at equal versions", replica.fingerprint(), first.fingerprint())?;
            same("the version of who has seen the same", replica.version(), first.version())?;
        }
        let owner = owner.filter(|_| writer != NOBODY && self.pasts[past].seen.of(writer) == 0);
        let key = (writer, self.birthplace(owner, &replica), past, tombstones(&replica), pruned(&replica));
        if let Some(number) = self.local_numbers.get(&key) {
            return Ok(*number);
        }
        let (loaded, _) = acts::load(&replica)?;
        self.examine(past, &loaded).map_err(|e| format!("once saved and loaded: {e}"))?;
        let point = Point {
            replica: replica.twin_with(TestEnvironment::new(writer as u64)),
            seen: self.pasts[past].seen.clone(),
        };
        let number = self.locals.len();
        self.pasts[past].first.get_or_insert(number);
        self.locals.push(Local { past, writer, owner, point });
        self.local_numbers.insert(key, number);
        Ok(number)
    }

    fn parcel(&mut self, parcel: Parcel) -> usize {
        let key = (parcel.delta.to_bytes(), parcel.need.clone(), parcel.past);
        *self.parcel_numbers.entry(key).or_insert_with(|| {
            self.parcels.push(parcel);
            self.parcels.len() - 1
        })
    }

    /// A copy that nobody writes to.
    pub(super) fn copy(&mut self, local: usize) -> usize {
        let Local { past, writer, point, .. } = &self.locals[local];
        if *writer == NOBODY {
            return local;
        }
        let replica = &point.replica;
        let key = (NOBODY, (None, None), *past, tombstones(replica), pruned(replica));
        match self.local_numbers.entry(key) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let copy = Local { past: *past, writer: NOBODY, owner: None, point: point.copy() };
                self.locals.push(copy);
                *new.insert(self.locals.len() - 1)
            }
        }
    }

    // ---- acts ----

    fn twin(&self, local: usize) -> Replica<M::Type> {
        let Local { writer, point, .. } = &self.locals[local];
        point.replica.twin_with(TestEnvironment::new(*writer as u64))
    }

    pub(super) fn edit(&mut self, local: usize, op: usize) -> Result<AfterEdit, String> {
        if let Some(done) = self.edited.get(&(local, op)) {
            return Ok(*done);
        }
        let Local { past, writer, owner, point } = &self.locals[local];
        let (past, writer, owner) = (*past, *writer, *owner);
        let birthplace = self.birthplace(owner, &point.replica);
        let Past { history, seen, age, ids, .. } = &self.pasts[past];
        let parent = ids.parent(writer, seen.of(writer), birthplace.1)?;
        let path = ids.path(writer, seen.of(writer), birthplace.1)?;
        let age = age + 1;
        let time = TestEnvironment::START + age * TICK + self.ranks[writer];
        let environment = TestEnvironment::new(writer as u64);
        environment.clock().store(time, Ordering::Relaxed);
        let mut replica = point.replica.twin_with(environment);

        let writes = M::writes(&self.ops[op], &history.view_along(seen, &path), writer);
        let (allowed, mut history, mut all, before) = (writes.is_some(), history.clone(), seen.clone(), history.len());
        history.record(writes.unwrap_or_default(), writer, time, &mut all);
        let written = history.split_off(before);
        let edited = acts::edit::<M>(&mut replica, std::slice::from_ref(&self.ops[op]), allowed)?;
        let done = match edited {
            None => None,
            Some(Edited { delta, mirror }) => {
                let (after, empty) = match written.len() {
                    0 => (past, true),
                    _ => {
                        let id = self.ids[writer];
                        same("the writer of the edit", replica.writer(), Some(id))?;
                        let begins = replica.version().get(id).checked_sub(all.of(writer));
                        let begins = begins.ok_or("fewer writes than were made")?;
                        let made = Made { history: written, age, writer, after: begins, parent };
                        (self.made((past, writer, birthplace, op), made), false)
                    }
                };
                let now = self.local((writer, owner), after, replica)?;
                let need = self.pasts[past].seen.clone();
                self.examine(after, &mirror).map_err(|e| format!("by the delta of the edit: {e}"))?;
                let what = What::OfEdit(writer % self.replicas);
                Some((now, (!empty).then(|| self.parcel(Parcel { what, delta, need, past: after }))))
            }
        };
        self.edited.insert((local, op), done);
        Ok(done)
    }

    /// The past of somebody who made an edit.
    fn made(&mut self, edit: (usize, usize, Birthplace, usize), made: Made<M>) -> usize {
        let (new, past) = (self.edits.len(), edit.0);
        let number = *self.edit_numbers.entry(edit).or_insert(new);
        if number == new {
            self.edits.push(made);
        }
        let edits = self.pasts[past].edits.iter().copied().chain([number]);
        self.past(edits.collect())
    }

    pub(super) fn prune(&mut self, local: usize) -> Result<usize, String> {
        if let Some(done) = self.pruned.get(&local) {
            return Ok(*done);
        }
        let mut replica = self.twin(local);
        acts::prune(&mut replica)?;
        same("how many tombstones are left", replica.state().state().tombstones_len(), 0)?;
        let Local { past, writer, owner, .. } = self.locals[local];
        let done = self.local((writer, owner), past, replica)?;
        self.pruned.insert(local, done);
        Ok(done)
    }

    /// Opens at a site what was saved there or elsewhere. `now` is what the site holds: an opening that has written is followed
    /// by a writer of its own, and no writer writes twice.
    pub(super) fn open(&mut self, saved: usize, now: usize) -> Result<usize, String> {
        let used = self.locals[now].writer;
        let writer = if self.wrote(now) { used + self.replicas } else { used };
        if let Some(done) = self.opened.get(&(saved, writer)) {
            return Ok(*done);
        }
        let Local { past, writer: saver, owner, ref point } = self.locals[saved];
        let owner = if self.wrote(saved) { Some(saver) } else { owner };
        let replica = acts::open(&point.replica.save(), TestEnvironment::new(writer as u64))?;
        let done = self.local((writer, owner), past, replica)?;
        self.opened.insert((saved, writer), done);
        Ok(done)
    }

    /// Where the writer of an opening would be born that has not written.
    fn birthplace(&self, owner: Option<usize>, replica: &Replica<M::Type>) -> Birthplace {
        (owner, owner.and_then(|owner| replica.version().goes_on_from(self.ids[owner])))
    }

    /// What comes of a delta; none if it is refused.
    pub(super) fn arrive(&mut self, local: usize, parcel: usize) -> Result<Option<usize>, String> {
        if let Some(done) = self.arrived.get(&(local, parcel)) {
            return Ok(*done);
        }
        let Local { past, writer, owner, point } = &self.locals[local];
        let (past, who) = (*past, (*writer, *owner));
        let Parcel { delta, need, past: theirs, .. } = &self.parcels[parcel];
        let (gap, theirs) = (!point.seen.includes(need), *theirs);
        let mut replica = self.twin(local);
        self.arrivals += 1;
        let touched = acts::merge(&mut replica, delta, gap)?;
        let done = match gap {
            true => {
                self.refused += 1;
                None
            }
            false => {
                let (all, known) = (self.join_pasts(past, theirs), self.locals.len());
                let now = match touched || all != past {
                    true => self.local(who, all, replica)?,
                    // Nothing that is read can have changed.
                    false => self.number(who, past, replica)?,
                };
                if now == known {
                    acts::merge_again(&self.locals[now].point.replica, &self.parcels[parcel].delta)?;
                }
                Some(now)
            }
        };
        self.arrived.insert((local, parcel), done);
        Ok(done)
    }

    /// What one has for another, as both stand.
    pub(super) fn cut(&mut self, from: usize, to: usize) -> Result<usize, String> {
        // What the receiver tells of itself follows from what it has seen.
        let past = self.locals[to].past;
        if let Some(done) = self.cut.get(&(from, past)) {
            return Ok(*done);
        }
        let (sender, receiver) = (&self.locals[from], &self.locals[to]);
        let mut delta = sender.point.delta_for(&receiver.point)?;
        (self.spoil)(&mut delta, sender.point.replica.state().state());
        let need = sender.point.need(&delta, &receiver.point, &self.pasts[sender.past].ids)?;
        let parcel = Parcel { what: What::For(self.site(from), self.site(to)), delta, need, past: sender.past };
        let done = self.parcel(parcel);
        self.cut.insert((from, past), done);
        Ok(done)
    }

    pub(super) fn complete(&mut self, from: usize) -> Result<usize, String> {
        if let Some(done) = self.complete.get(&from) {
            return Ok(*done);
        }
        let sender = &self.locals[from];
        let mut delta = carry(&sender.point.replica.complete())?;
        (self.spoil)(&mut delta, sender.point.replica.state().state());
        let (past, pruned) = (sender.past, delta.pruned().clone());
        let done = self.parcel(Parcel { what: What::All(self.site(from)), delta, need: Seen::default(), past });
        if *self.spelled.entry((past, pruned)).or_insert(done) != done {
            return Err("equal cells, versions and pruned versions are different bytes".into());
        }
        self.complete.insert(from, done);
        Ok(done)
    }

    /// The join of two deltas; none if they do not chain.
    pub(super) fn chain(&mut self, first: usize, second: usize) -> Result<Option<usize>, String> {
        if let Some(done) = self.chained.get(&(first, second)) {
            return Ok(*done);
        }
        let (a, b) = (&self.parcels[first], &self.parcels[second]);
        let [upto_a, upto_b] = [a, b].map(|parcel| &self.pasts[parcel.past].seen);
        let incremental = self.is_incremental(first) && self.is_incremental(second);
        let chain = incremental && *upto_a == b.need && upto_b.includes(upto_a);
        let done = match (a.delta.join(&b.delta), chain) {
            (Err(_), false) => None,
            (Ok(joined), true) => {
                let delta = carry(&joined)?;
                let parcel = Parcel { what: What::Joined, delta, need: a.need.clone(), past: b.past };
                Some(self.parcel(parcel))
            }
            (Ok(_), false) => return Err("deltas were joined that do not chain".into()),
            (Err(error), true) => return Err(format!("deltas that chain do not join: {error}")),
        };
        self.chained.insert((first, second), done);
        Ok(done)
    }

    pub(super) fn is_incremental(&self, parcel: usize) -> bool {
        *self.parcels[parcel].delta.kind() == DeltaKind::Incremental
    }

    /// Two deltas do the same at once as one after the other, to whoever lacks something of the second.
    pub(super) fn regroup(&mut self, x: usize, first: usize, second: usize, joined: usize) -> Result<(), String> {
        let [past, upto] = [self.locals[x].past, self.parcels[second].past];
        if upto == self.parcels[first].past || self.join_pasts(past, upto) == past {
            return Ok(());
        }
        let Some(at_once) = self.arrive(x, joined)? else { return Ok(()) };
        let one = self.after(&x, &first, &x)?;
        let one_by_one = self.after(&one, &second, &x)?;
        self.equal("regrouped deltas: x ⊔ δ₁·δ₂ = x ⊔ δ₁ ⊔ δ₂", &at_once, &one_by_one)
    }
}

/// Points by their numbers. Whatever came to have seen the same was compared already.
impl<M: Model> Joins for Table<M> {
    type Point = usize;
    type Delta = usize;

    fn join(&mut self, x: &usize, y: &usize) -> Result<usize, String> {
        let whole = self.complete(*y)?;
        self.after(x, &whole, y)
    }

    fn delta(&mut self, x: &usize, y: &usize) -> Result<usize, String> {
        self.cut(*y, *x)
    }

    fn after(&mut self, x: &usize, delta: &usize, _: &usize) -> Result<usize, String> {
        self.arrive(*x, *delta)?.ok_or_else(|| "a delta that applies was refused".into())
    }

    fn equal(&mut self, law: &str, a: &usize, b: &usize) -> Result<(), String> {
        let [a, b] = [a, b].map(|local| &self.pasts[self.locals[*local].past].edits);
        same(law, a, b)
    }
}

fn tombstones<T: Crdt>(replica: &Replica<T>) -> Vec<Dot> {
    replica.state().state().tombstones().collect()
}

fn pruned<T: Crdt>(replica: &Replica<T>) -> Version {
    replica.state().state().pruned().clone()
}

fn id_of(writer: usize) -> Result<WriterId, String> {
    let mut replica = Replica::<Raw>::with_environment(TestEnvironment::new(writer as u64));
    replica.edit(|raw| Raw::apply(raw, &RawOp::Write(0, 0, 0))).map_err(|e| e.to_string())?;
    replica.writer().ok_or_else(|| "whoever wrote has a writer".into())
}
