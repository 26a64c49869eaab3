//! Three replicas, everything under way between them, and the model that judges what they read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::id::WriterId;
use crate::kernel::{Delta, DeltaKind};
use crate::replica::Replica;
use crate::testing::acts::{self, Edited};
use crate::testing::history::{History, Seen};
use crate::testing::model::{Model, same};
use crate::testing::point::{Point, alike, carry};
use crate::testing::report::Report;
use crate::testing::schedule::{REPLICAS, Step, What};
use crate::testing::{TestEnvironment, laws};
use crate::version::Version;

pub(super) struct World<M: Model> {
    pub(super) sites: Vec<Site<M>>,
    history: History<M>,
    /// The ids of the writers, by number; none before the first write.
    ids: Vec<Option<WriterId>>,
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
    /// What was done here last.
    last_edit: Option<Parcel>,
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
        world.step(step).map_err(|e| format!("step {i}, {step:?}: {e}"))?;
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
            Site { past: vec![now.copy()], now, clock, writer, latest: [0; REPLICAS], last_edit: None }
        };
        Self {
            sites: (0..REPLICAS).map(site).collect(),
            history: History::new(),
            ids: vec![None; REPLICAS],
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
            Step::Restart { who, lease } => self.restart(who % REPLICAS, *lease),
        }
    }

    /// Does what the model says, or nothing; and the delta of the edit does as much elsewhere.
    fn edit(&mut self, by: usize, ops: &[M::Op]) -> Result<(), String> {
        self.edits += 1;
        let time = TestEnvironment::START + self.edits;
        self.sites[by].clock.store(time, Ordering::Relaxed);
        let planned = self.plan(by, ops, time);
        let site = &mut self.sites[by];
        match acts::edit::<M>(&mut site.now.replica, ops, planned.is_some())?.zip(planned) {
            None => self.report.edits.one_of("refused"),
            Some((Edited { delta, mirror }, seen)) => {
                self.report.edits.one_of(if delta.is_empty() { "wrote nothing" } else { "wrote" });
                let need = std::mem::replace(&mut site.now.seen, seen.clone());
                self.ids[site.writer] = site.now.replica.id();
                let parcel = Parcel { from: by, to: by, number: 0, arrived: false, need, seen, delta };
                site.last_edit = Some(parcel);
                self.examine(&mirror, &self.sites[by].now.seen)
                    .map_err(|e| format!("by the delta of the edit: {e}"))?;
            }
        }
        self.check(by)
    }

    /// What the editor will have seen, if the edit succeeds; then its writes are in the history.
    fn plan(&mut self, by: usize, ops: &[M::Op], time: u64) -> Option<Seen> {
        let (before, writer) = (self.history.len(), self.sites[by].writer);
        let mut seen = self.sites[by].now.seen.clone();
        for op in ops {
            let Some(writes) = M::writes(op, &self.history.view(&seen), writer) else {
                self.history.truncate(before);
                return None;
            };
            if self.history.record(writes, writer, time, &mut seen) {
                self.report.cases.hold("concurrency");
            }
        }
        Some(seen)
    }

    fn send(&mut self, from: usize, to: usize, what: What) -> Result<(), String> {
        let sender = &self.sites[from];
        let parcel = match (what, &sender.last_edit) {
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
        let need = sender.need(&delta, receiver);
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

    /// Saves and opens again, under the same id if the lease proves that it may.
    fn restart(&mut self, who: usize, lease: bool) -> Result<(), String> {
        let environment = TestEnvironment::new(self.seeds);
        self.seeds += 1;
        let site = &mut self.sites[who];
        let clock = environment.clock();
        (site.now.replica, site.clock) = (acts::restart(&mut site.now.replica, environment, lease)?, clock);
        if site.now.replica.id().is_none() {
            site.writer = self.ids.len();
            self.ids.push(None);
        }
        self.check(who)
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
        let loaded = acts::load(&site.now.replica).map_err(|e| format!("replica {who}: {e}"))?;
        self.examine(&loaded, &site.now.seen).map_err(|e| format!("replica {who}, once saved and loaded: {e}"))?;
        let site = &mut self.sites[who];
        if site.past.last().is_none_or(|last| last.replica.version() != site.now.replica.version()) {
            site.past.push(site.now.copy());
        }
        Ok(())
    }

    /// Compares a replica with what must be there for whoever has seen this.
    pub(super) fn examine(&self, replica: &Replica<M::Type>, seen: &Seen) -> Result<Vec<&'static str>, String> {
        let ids = self.ids.iter().enumerate();
        let version: Version = ids.filter_map(|(writer, id)| Some(((*id)?, seen.of(writer)))).collect();
        let view = self.history.view(seen);
        acts::examine(replica, &version, &view)?;
        Ok(M::facets(&view))
    }

    /// Whether two replicas are one and the same, and what they must be.
    pub(super) fn equal(&self, law: &str, a: &Point<M::Type>, b: &Point<M::Type>) -> Result<(), String> {
        self.examine(&a.replica, &a.seen).map_err(|e| format!("{law}: {e}"))?;
        alike(law, a.replica.state(), b.replica.state())?;
        same(law, a.replica.fingerprint(), b.replica.fingerprint())
    }
}
