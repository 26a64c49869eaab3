//! Random histories of three replicas, kept so that each oracle can judge them by itself. Nothing is checked while one is made.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::testing::{Raw, RawOp, TestEnvironment};
use driftless::{
    Crdt, Delta, Dot, EdgeId, Edit, EditError, GCounter, Graph, LwwRegister, NodeId, Prune, Replica, Version,
};

use crate::random::Random;

const REPLICAS: usize = 3;
const STEPS: usize = 70;

/// A type whose histories are judged.
pub(crate) trait Subject: Crdt + PartialEq + Debug {
    type Op: Clone + Debug;

    fn op(random: &mut Random) -> Self::Op;
    /// Those of one edit.
    fn ops(random: &mut Random) -> Vec<Self::Op> {
        (0..random.within(1, 3)).map(|_| Self::op(random)).collect()
    }
    fn apply(edit: &mut Edit<'_, Self>, op: &Self::Op) -> Result<(), EditError>;
    /// Has the value derive what it derives only on demand.
    fn demand(&self) {}
    /// All that a reader sees which is not a cell: what the type derives.
    fn read(&self) -> String;
    /// What is derived, recomputed.
    fn check(&self) -> Result<(), String> {
        self.state().check_invariants()
    }
}

/// A replica as it was once. Nobody writes to it.
pub(crate) type Moment<T> = Replica<T>;

/// An edit, or one that failed: then without a delta.
pub(crate) struct Edited<T: Crdt> {
    pub(crate) before: Moment<T>,
    pub(crate) delta: Option<Delta>,
    pub(crate) after: Moment<T>,
}

pub(crate) struct History<T: Subject> {
    /// By replica, each after all that was done to it.
    pub(crate) moments: Vec<Vec<Moment<T>>>,
    pub(crate) edits: Vec<Edited<T>>,
    pub(crate) deltas: Vec<Delta>,
    /// What each write did, under which dot, and what its writer had seen.
    pub(crate) writes: Vec<(Dot, T::Op, Version)>,
    pub(crate) saved: Vec<Vec<u8>>,
}

struct Site<T: Crdt> {
    replica: Replica<T>,
    clock: Arc<AtomicU64>,
    /// As it was saved last: what it comes back from.
    backup: Option<Vec<u8>>,
    last_edit: Option<Delta>,
}

pub(crate) fn moment<T: Crdt>(replica: &Replica<T>) -> Moment<T> {
    replica.fork_with(TestEnvironment::new(u64::MAX))
}

/// What the one lacks of the other.
pub(crate) fn delta_for<T: Crdt>(from: &Replica<T>, to: &Replica<T>) -> Delta {
    from.delta_since(to.version()).unwrap_or_else(|_| from.reconcile(to.version(), &to.live_dots()))
}

impl<T: Subject> History<T> {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut environments = 0;
        let mut environment = || {
            environments += 1;
            TestEnvironment::new(seed << 16 | environments)
        };
        let site = |environment: TestEnvironment| {
            let clock = environment.clock();
            let replica = Replica::<T>::with_environment(environment);
            replica.state().demand();
            Site { clock, replica, backup: None, last_edit: None }
        };
        let mut sites: Vec<Site<T>> = (0..REPLICAS).map(|_| site(environment())).collect();
        let moments = sites.iter().map(|site| vec![moment(&site.replica)]).collect();
        let mut history =
            Self { moments, edits: Vec::new(), deltas: Vec::new(), writes: Vec::new(), saved: Vec::new() };
        let mut under_way: Vec<(usize, Delta)> = Vec::new();
        for step in 0..STEPS as u64 {
            let who = random.below(REPLICAS);
            // Several write in one millisecond; and in some histories one is far ahead of its time.
            let ahead = if seed % 4 == 0 && who == 0 { 1 << 47 } else { 0 };
            sites[who].clock.store(1_000_000 + step / 8 + ahead, Ordering::Relaxed);
            match random.below(100) {
                0..40 => history.edit(&mut sites[who], &mut random),
                40..60 => {
                    let to = (who + 1 + random.below(REPLICAS - 1)) % REPLICAS;
                    let from = &sites[who];
                    let delta = match (random.below(8), &from.last_edit) {
                        (0, _) => from.replica.complete(),
                        (1 | 2, Some(edit)) => edit.clone(),
                        _ => delta_for(&from.replica, &sites[to].replica),
                    };
                    history.deltas.push(delta.clone());
                    under_way.push((to, delta));
                }
                60..84 if !under_way.is_empty() => {
                    let which = random.below(under_way.len());
                    let (mut to, mut delta) = under_way[which].clone();
                    let other = &under_way[random.below(under_way.len())];
                    if random.percent(30) && other.0 == to {
                        delta = delta.join(&other.1).unwrap_or(delta);
                    }
                    if random.percent(75) {
                        under_way.swap_remove(which);
                    }
                    if random.percent(20) {
                        to = random.below(REPLICAS);
                    }
                    // What is refused is not judged here.
                    let _ = sites[to].replica.merge(&delta);
                    history.moments[to].push(moment(&sites[to].replica));
                    continue;
                }
                84..94 => {
                    let version = sites[random.below(REPLICAS)].replica.version().clone();
                    let all = random.percent(50);
                    sites[who].replica.prune(if all { Prune::All } else { Prune::Upto(&version) });
                }
                94.. => {
                    let site = &mut sites[who];
                    let bytes = site.replica.save();
                    history.saved.push(bytes.clone());
                    // It goes on, or comes back from what was saved before.
                    let bytes = match random.percent(60) {
                        true => bytes,
                        false => site.backup.replace(bytes.clone()).unwrap_or(bytes),
                    };
                    let environment = environment();
                    let clock = environment.clock();
                    if let Ok(opened) = Replica::<T>::load_with(environment, &bytes) {
                        opened.state().demand();
                        (site.replica, site.clock) = (opened, clock);
                    }
                }
                _ => continue,
            }
            history.moments[who].push(moment(&sites[who].replica));
        }
        history.sync(&mut sites);
        history
    }

    fn edit(&mut self, site: &mut Site<T>, random: &mut Random) {
        let before = moment(&site.replica);
        let ops = T::ops(random);
        let fails = random.percent(12);
        let mut writes = Vec::new();
        let edited = site.replica.edit(|edit| {
            for op in ops {
                let seen = edit.state().version().clone();
                T::apply(edit, &op)?;
                if *edit.state().version() != seen {
                    let writer = edit.writer()?;
                    let counter = edit.state().version().get(writer);
                    writes.push((Dot { writer, counter }, op, seen));
                }
            }
            if fails { Err(EditError::abort("thought better of it")) } else { Ok(()) }
        });
        let delta = edited.ok().map(|(_, delta)| delta);
        if delta.is_some() {
            self.writes.extend(writes);
            site.last_edit.clone_from(&delta);
        }
        self.edits.push(Edited { before, delta, after: moment(&site.replica) });
    }

    /// Everybody gets from everybody what they lack.
    fn sync(&mut self, sites: &mut [Site<T>]) {
        for from in 0..REPLICAS {
            for to in (0..REPLICAS).filter(|to| *to != from) {
                let delta = delta_for(&sites[from].replica, &sites[to].replica);
                let _ = sites[to].replica.merge(&delta);
                self.moments[to].push(moment(&sites[to].replica));
            }
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Moment<T>> {
        self.moments.iter().flatten()
    }

    /// Three of them as a history leaves them before all sync, whose deltas still differ.
    pub(crate) fn three(&self) -> [&Moment<T>; REPLICAS] {
        [0, 1, 2].map(|i| &self.moments[i][self.moments[i].len() * 2 / 3])
    }
}

impl Subject for Raw {
    type Op = RawOp;

    fn op(random: &mut Random) -> RawOp {
        let (e, f) = (random.below(2) as u8, random.below(3) as u8);
        match random.below(100) {
            0..65 => RawOp::Write(e, f, random.below(4) as u8),
            65..75 => RawOp::Write(2, random.below(60) as u8, random.below(4) as u8),
            75..88 => RawOp::Erase(e, f),
            88..98 => RawOp::Delete(e),
            _ => RawOp::Delete(2),
        }
    }

    /// Now and then so many fields of an entity that it is laid out otherwise.
    fn ops(random: &mut Random) -> Vec<RawOp> {
        match random.percent(4) {
            true => (1..60).map(|f| RawOp::Write(2, f, random.below(4) as u8)).collect(),
            false => (0..random.within(1, 3)).map(|_| Self::op(random)).collect(),
        }
    }

    fn apply(edit: &mut Edit<'_, Self>, op: &RawOp) -> Result<(), EditError> {
        <Self as driftless::testing::Model>::apply(edit, op)
    }

    fn read(&self) -> String {
        format!("{:?}", self.state().contested().collect::<Vec<_>>())
    }
}

/// What is done to a graph of three nodes.
#[derive(Clone, Debug)]
pub(crate) enum GraphOp {
    Add(usize),
    Remove(usize),
    Restore(usize),
    Set(usize, i32),
    Label(usize),
    Link(usize, usize),
    Unlink(usize, usize),
}

impl Subject for Graph {
    type Op = GraphOp;

    fn op(random: &mut Random) -> GraphOp {
        let [a, b] = [random.below(3), random.below(3)];
        match random.below(100) {
            0..20 => GraphOp::Add(a),
            20..35 => GraphOp::Remove(a),
            35..42 => GraphOp::Restore(a),
            42..60 => GraphOp::Set(a, random.below(5) as i32),
            60..65 => GraphOp::Label(a),
            65..85 => GraphOp::Link(a, b),
            _ => GraphOp::Unlink(a, b),
        }
    }

    fn apply(edit: &mut Edit<'_, Self>, op: &GraphOp) -> Result<(), EditError> {
        let node = |n: usize| NodeId::named(&n.to_string());
        match *op {
            GraphOp::Add(n) => edit.add_node(&*n.to_string()).map(drop),
            GraphOp::Remove(n) => edit.remove_node(node(n)).map(drop),
            GraphOp::Restore(n) => edit.restore_node(&*n.to_string()).map(drop),
            GraphOp::Set(n, value) if edit.contains_node(node(n)) => edit.set(node(n), "/value", value).map(drop),
            GraphOp::Label(n) if edit.contains_node(node(n)) => edit.label(node(n), "label").map(drop),
            GraphOp::Set(..) | GraphOp::Label(_) => Ok(()),
            GraphOp::Link(a, b) => edit.link(node(a), "knows", node(b)).map(drop),
            GraphOp::Unlink(a, b) => edit.unlink(EdgeId::between(node(a), "knows", node(b))).map(drop),
        }
    }

    fn demand(&self) {
        self.index_property("/value").unwrap();
    }

    fn read(&self) -> String {
        let node = |n: usize| NodeId::named(&n.to_string());
        let edges = |n: usize| self.outgoing(node(n)).map(|edge| edge.id()).collect::<Vec<_>>();
        let dangling = self.dangling().count();
        format!(
            "{} {} {dangling} {} {:?}",
            self.node_count(),
            self.edge_count(),
            self.hidden().count(),
            [0, 1, 2].map(edges)
        )
    }

    fn check(&self) -> Result<(), String> {
        self.check_invariants()
    }
}

impl Subject for LwwRegister<u8> {
    type Op = Option<u8>;

    fn op(random: &mut Random) -> Option<u8> {
        Some(random.below(6) as u8).filter(|value| *value > 0)
    }

    fn apply(edit: &mut Edit<'_, Self>, op: &Option<u8>) -> Result<(), EditError> {
        match op {
            Some(value) => edit.set(*value),
            None => edit.clear().map(drop),
        }
    }

    fn read(&self) -> String {
        format!("{:?}", self.get())
    }
}

impl Subject for GCounter {
    type Op = u64;

    fn op(random: &mut Random) -> u64 {
        random.within(1, 9)
    }

    fn apply(edit: &mut Edit<'_, Self>, op: &u64) -> Result<(), EditError> {
        edit.add(*op).map(drop)
    }

    fn read(&self) -> String {
        format!("{:?}", self.value())
    }
}
