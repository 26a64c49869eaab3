//! Three replicas, everything under way between them, and the model that judges what they read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::id::Dot;
use crate::kernel::{Delta, DeltaKind};
use crate::replica::Replica;
use crate::testing::acts::{self, Edited};
use crate::testing::history::{History, Seen};
use crate::testing::model::{Model, same};
use crate::testing::point::{Ids, Point, alike, carry};
use crate::testing::report::Report;
use crate::testing::schedule::{REPLICAS, Step, What};
use crate::testing::{TestEnvironment, laws};

pub(super) struct World<M: Model> {
    pub(super) sites: Vec<Site<M>>,
    history: History<M>,
    ids: Ids,
    under_way: Vec<Parcel>,
    /// The seed of the next environment: no two may mint the same ids.
    seeds: u64,
    edits: u64,
    sent: u64,
    pub(super) report: Report,
}

/// A place where a replica lives.
pub(super) struct Site<M: Model> {
    pub(super) now: Point<M::Type>,
    /// It as it was after each step that changed what it has seen.
    pub(super) past: Vec<Point<M::Type>>,
    clock: Arc<AtomicU64>,
    writer: usize,
    /// The latest delta that has arrived from each site.
    latest: [u64; REPLICAS],
    /// The deltas of all edits made here, in any opening: the log of the device.
    edits: Vec<Parcel>,
    /// What was saved after each step.
    saves: Vec<Save>,
}

/// A saved state.
#[derive(Clone)]
struct Save {
    bytes: Vec<u8>,
    seen: Seen,
}

/// A delta, and what the model knows of it.
#[derive(Clone)]
struct Parcel {
    from: usize,
    to: usize,
    number: u64,
    /// It has come to whom it is for, and stays under way.
    arrived: bool,
    /// What its receiver must have seen.
    need: Seen,
    /// What its receiver will have seen.
    seen: Seen,
    delta: Delta,
}

/// Runs a schedule, checks the laws on what it leaves behind, lets all replicas sync, and compares them.
pub(super) fn play<M: Model>(steps: &[Step<M::Op>]) -> Result<Report, String> {
    let mut world = World::<M>::new();
    world.begin()?;
    for (i, step) in steps.iter().enumerate() {
        world.step(step).and_then(|()| world.agree()).map_err(|e| format!("step {i}, {step:?}: {e}"))?;
    }
    laws::check(&mut world)?;
    world.sync()?;
    world.report.cases.total_one();
    Ok(world.report)
}

impl<M: Model> World<M> {
    fn new() -> Self {
        let site = |writer: usize| {
            let environment = TestEnvironment::new(writer as u64);
            let clock = environment.clock();
            let now = Point { replica: Replica::with_environment(environment), seen: Seen::default() };
            let saves = vec![Save { bytes: now.replica.save(), seen: Seen::default() }];
            Site { past: vec![now.copy()], now, clock, writer, latest: [0; REPLICAS], edits: Vec::new(), saves }
        };
        let mut ids = Ids::default();
        Self {
            sites: (0..REPLICAS).map(|_| site(ids.next())).collect(),
            history: History::new(),
            ids,
            under_way: Vec::new(),
            seeds: REPLICAS as u64,
            edits: 0,
            sent: 0,
            report: Report::default(),
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        let ops = M::begin();
        if ops.is_empty() {
            return Ok(());
        }
        self.edit(0, &ops)?;
        self.report = Report::default();
        (1..REPLICAS).try_for_each(|to| self.pull(0, to))
    }

    fn step(&mut self, step: &Step<M::Op>) -> Result<(), String> {
        match step {
            Step::Edit { by, ops } => {
                ops.iter().for_each(|op| self.report.ops.one_of(M::kind(op)));
                self.edit(by % REPLICAS, ops)
            }
            Step::Send { from, to, what } => self.send(from % REPLICAS, to % REPLICAS, *what),
            Step::Deliver { which, again, astray } => self.deliver(*which, *again, *astray),
            Step::Prune { by } => {
                let by = by % REPLICAS;
                acts::prune(&mut self.sites[by].now.replica)?;
                self.check(by)
            }
            Step::Restart { who, of, back } => self.restart(who % REPLICAS, of % REPLICAS, *back),
            Step::Replay { who, from } => self.replay(who % REPLICAS, *from),
        }
    }

    /// Does what the model says, or nothing; and the delta of the edit does as much elsewhere.
    fn edit(&mut self, by: usize, ops: &[M::Op]) -> Result<(), String> {
        self.edits += 1;
        let time = TestEnvironment::START + self.edits;
        self.sites[by].clock.store(time, Ordering::Relaxed);
        let birthplace = self.sites[by].now.replica.birthplace();
        let planned = self.plan(by, ops, time, birthplace)?;
        let site = &mut self.sites[by];
        match acts::edit::<M>(&mut site.now.replica, ops, planned.is_some())?.zip(planned) {
            None => self.report.edits.one_of("refused"),
            Some((Edited { delta, mirror }, seen)) => {
                self.report.edits.one_of(if delta.is_empty() { "wrote nothing" } else { "wrote" });
                let need = std::mem::replace(&mut site.now.seen, seen.clone());
                self.ids.note(site.writer, &site.now.replica, seen.of(site.writer), birthplace)?;
                let parcel = Parcel { from: by, to: by, number: 0, arrived: false, need, seen, delta };
                site.edits.push(parcel.clone());
                self.examine(&mirror, &self.sites[by].now.seen)
                    .map_err(|e| format!("by the delta of the edit: {e}"))?;
                self.try_elsewhere(&parcel)?;
            }
        }
        self.check(by)
    }

    /// What the editor will have seen, if the edit succeeds; then its writes are in the history.
    fn plan(&mut self, by: usize, ops: &[M::Op], time: u64, birthplace: Option<Dot>) -> Result<Option<Seen>, String> {
        let (before, writer) = (self.history.len(), self.sites[by].writer);
        let mut seen = self.sites[by].now.seen.clone();
        let path = self.ids.path(writer, seen.of(writer), birthplace)?;
        if !seen.includes(&path) {
            return Err(format!("a writer goes on from {path:?}, and has seen {seen:?}"));
        }
        for op in ops {
            let view = self.history.view_along(&seen, &path.with(writer, seen.of(writer)));
            let Some(writes) = M::writes(op, &view, writer) else {
                self.history.truncate(before);
                return Ok(None);
            };
            if self.history.record(writes, writer, time, &mut seen) {
                self.report.cases.hold("concurrency");
            }
        }
        Ok(Some(seen))
    }

    fn send(&mut self, from: usize, to: usize, what: What) -> Result<(), String> {
        let sender = &self.sites[from];
        let parcel = match (what, sender.edits.last()) {
            (What::LastEdit, Some(edit)) => Parcel { to, number: 0, ..edit.clone() },
            (What::Everything, _) => {
                let (delta, seen) = (sender.now.replica.complete(), sender.now.seen.clone());
                Parcel { from, to, number: 0, arrived: false, need: Seen::default(), seen, delta }
            }
            _ => self.parcel(from, to)?,
        };
        self.report.deltas.one_of(match (what, parcel.delta.kind()) {
            (What::LastEdit, DeltaKind::Incremental) => "of the last edit",
            (_, DeltaKind::Incremental) => "incremental",
            (_, DeltaKind::Complete) => "complete",
            (_, DeltaKind::Reconciled { .. }) => "reconciled",
        });
        self.sent += 1;
        self.under_way.push(Parcel { number: self.sent, ..parcel });
        Ok(())
    }

    /// What the one has for the other.
    fn parcel(&self, from: usize, to: usize) -> Result<Parcel, String> {
        let (sender, receiver) = (&self.sites[from].now, &self.sites[to].now);
        let delta = sender.delta_for(receiver)?;
        let need = sender.need(&delta, receiver, &self.ids)?;
        Ok(Parcel { from, to, number: 0, arrived: false, need, seen: sender.seen.clone(), delta })
    }

    fn deliver(&mut self, which: usize, again: bool, astray: bool) -> Result<(), String> {
        let Some(which) = which.checked_rem(self.under_way.len()) else { return Ok(()) };
        let mut parcel = self.under_way[which].clone();
        match again {
            true => self.under_way[which].arrived |= !astray,
            false => drop(self.under_way.swap_remove(which)),
        }
        if astray {
            parcel.to = (parcel.to + 1) % REPLICAS;
        }
        let latest = &mut self.sites[parcel.to].latest[parcel.from];
        let late = parcel.number < *latest;
        *latest = parcel.number.max(*latest);
        let merged = self.merge(&parcel)?;
        let arrivals = &mut self.report.arrivals;
        arrivals.one_of(if merged { "merged" } else { "refused" });
        let again = parcel.arrived && !astray;
        for (what, _) in [("again", again), ("late", late && !again), ("astray", astray)].iter().filter(|(_, is)| *is) {
            arrivals.also(what);
        }
        Ok(())
    }

    /// Merges what arrives, or refuses it and stays as it was, if it builds on what has not been seen here.
    fn merge(&mut self, parcel: &Parcel) -> Result<bool, String> {
        let arrived = carry(&parcel.delta)?;
        let site = &mut self.sites[parcel.to];
        let gap = !site.now.seen.includes(&parcel.need);
        acts::merge(&mut site.now.replica, &arrived, gap)?;
        if !gap {
            site.now.seen.join(&parcel.seen);
            acts::merge_again(&site.now.replica, &arrived)?;
        }
        self.check(parcel.to)?;
        Ok(!gap)
    }

    /// Opens what a site saved some steps ago, at this site or another.
    fn restart(&mut self, who: usize, of: usize, back: usize) -> Result<(), String> {
        let environment = TestEnvironment::new(self.seeds);
        self.seeds += 1;
        let saves = &self.sites[of].saves;
        let back = back % saves.len();
        let Save { bytes, seen } = saves[saves.len() - 1 - back].clone();
        let is_latest = seen == self.sites[of].now.seen;
        self.report.openings.one_of(match (of == who, is_latest) {
            (false, _) => "copied",
            (true, false) => "restored",
            (true, true) => "restarted",
        });
        let writer = self.ids.next();
        let site = &mut self.sites[who];
        site.clock = environment.clock();
        site.now = Point { replica: acts::open(&bytes, environment)?, seen };
        site.writer = writer;
        // A past that leads to here.
        let Site { now, past, .. } = site;
        past.retain(|point| now.seen.includes(&point.seen));
        self.check(who)
    }

    /// Merges what was edited here once more, from the device's own log.
    fn replay(&mut self, who: usize, from: usize) -> Result<(), String> {
        let Some(from) = from.checked_rem(self.sites[who].edits.len()) else { return Ok(()) };
        for i in from..self.sites[who].edits.len() {
            let site = &mut self.sites[who];
            let Parcel { delta, need, seen, .. } = &site.edits[i];
            let gap = !site.now.seen.includes(need);
            acts::replay(&mut site.now.replica, &carry(delta)?, gap)?;
            if !gap {
                site.now.seen.join(seen);
            }
            self.report.replays.one_of(if gap { "refused" } else { "merged" });
            self.check(who)?;
        }
        Ok(())
    }

    /// The delta of an edit does elsewhere what it must, or is refused.
    fn try_elsewhere(&self, parcel: &Parcel) -> Result<(), String> {
        for site in self.sites.iter().enumerate().filter(|(who, _)| *who != parcel.from).map(|(_, site)| site) {
            let mut there = site.now.copy();
            let gap = !there.seen.includes(&parcel.need);
            acts::merge(&mut there.replica, &parcel.delta, gap)?;
            if !gap {
                there.seen.join(&parcel.seen);
                self.examine(&there.replica, &there.seen).map_err(|e| format!("by the delta of the edit: {e}"))?;
            }
        }
        Ok(())
    }

    /// Equal versions, equal state: of all pairs.
    fn agree(&self) -> Result<(), String> {
        for (i, a) in self.sites.iter().enumerate() {
            for (j, b) in self.sites.iter().enumerate().filter(|(j, _)| *j != i) {
                acts::agree(&a.now, &b.now).map_err(|e| format!("replicas {i} and {j}: {e}"))?;
            }
        }
        Ok(())
    }

    /// Brings one replica up with another.
    fn pull(&mut self, from: usize, to: usize) -> Result<(), String> {
        let parcel = self.parcel(from, to)?;
        self.merge(&parcel).map(drop)
    }

    /// Everybody gets from everybody what they lack. Then all are equal, and nothing is left to send.
    fn sync(&mut self) -> Result<(), String> {
        self.under_way.iter().filter(|parcel| !parcel.arrived).for_each(|_| self.report.deltas.also("lost"));
        for from in 0..REPLICAS {
            for to in (0..REPLICAS).filter(|to| *to != from) {
                self.pull(from, to).map_err(|e| format!("when all sync, from {from} to {to}: {e}"))?;
            }
        }
        let [first, others @ ..] = &self.sites[..] else { return Ok(()) };
        for other in others {
            let (first, other) = (&first.now, &other.now);
            alike("a replica that has synced with all", other.replica.state(), first.replica.state())?;
            same("its fingerprint", other.replica.fingerprint(), first.replica.fingerprint())?;
            same("whether nothing is left to send", first.delta_for(other)?.is_empty(), true)?;
        }
        Ok(())
    }

    fn check(&mut self, who: usize) -> Result<(), String> {
        let site = &self.sites[who];
        let facets = self.examine(&site.now.replica, &site.now.seen).map_err(|e| format!("replica {who}: {e}"))?;
        facets.into_iter().for_each(|facet| self.report.cases.hold(facet));
        let (loaded, bytes) = acts::load(&site.now.replica).map_err(|e| format!("replica {who}: {e}"))?;
        self.examine(&loaded, &site.now.seen).map_err(|e| format!("replica {who}, once saved and loaded: {e}"))?;
        let site = &mut self.sites[who];
        site.saves.push(Save { bytes, seen: site.now.seen.clone() });
        if site.past.last().is_none_or(|last| last.replica.version() != site.now.replica.version()) {
            site.past.push(site.now.copy());
        }
        Ok(())
    }

    /// Compares a replica with what must be there for whoever has seen this.
    pub(super) fn examine(&self, replica: &Replica<M::Type>, seen: &Seen) -> Result<Vec<&'static str>, String> {
        let view = self.history.view(seen);
        acts::examine(replica, &self.ids, seen, &view)?;
        Ok(M::facets(&view))
    }

    /// Whether two replicas are one and the same, and what they must be.
    pub(super) fn equal(&self, law: &str, a: &Point<M::Type>, b: &Point<M::Type>) -> Result<(), String> {
        self.examine(&a.replica, &a.seen).map_err(|e| format!("{law}: {e}"))?;
        same(law, a.replica.version(), b.replica.version())?;
        alike(law, a.replica.state(), b.replica.state())?;
        same(law, a.replica.fingerprint(), b.replica.fingerprint())
    }
}
