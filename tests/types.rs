//! The standalone types, each judged by its reading rule over the list of all operations: a rule that is written down here
//! and shares no code with the crate.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::atomic::Ordering;

use driftless::testing::TestEnvironment;
use driftless::{
    Crdt, CutError, Delta, DwFlag, Edit, EditError, EwFlag, GCounter, LwwRegister, MaxRegister, MinRegister,
    MvRegister, OrMap, OrSet, PnCounter, Prune, Replica, RwSet,
};
use proptest::prelude::*;

const REPLICAS: usize = 3;

/// Every operation of every type: registers and flags have one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Put(u8, u8),
    Take(u8),
    Clear,
}

#[derive(Clone, Debug)]
enum Step {
    Edit { by: usize, op: Op },
    Sync { from: usize, to: usize, complete: bool },
    Late { which: usize },
    Prune { by: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let op = prop_oneof![
        5 => (0..3u8, 0..6u8).prop_map(|(k, v)| Op::Put(k, v)),
        3 => (0..3u8).prop_map(Op::Take),
        1 => Just(Op::Clear),
    ];
    let step = prop_oneof![
        8 => (0..REPLICAS, op).prop_map(|(by, op)| Step::Edit { by, op }),
        4 => (0..REPLICAS, 0..REPLICAS, prop::bool::weighted(0.2))
            .prop_map(|(from, to, complete)| Step::Sync { from, to, complete }),
        2 => any::<usize>().prop_map(|which| Step::Late { which }),
        1 => (0..REPLICAS).prop_map(|by| Step::Prune { by }),
    ];
    prop::collection::vec(step, 1..50)
}

type Version = BTreeMap<usize, usize>;

#[derive(Clone, Debug)]
struct Event {
    by: usize,
    number: usize,
    seen: Version,
    op: Op,
    time: u64,
    /// For counters: what the writer had added and taken away in all.
    totals: (u64, u64),
}

fn seen(e: &Event, v: &Version) -> bool {
    v.get(&e.by).is_some_and(|n| *n >= e.number)
}

/// The operations of a view that no other of it saw and overrode.
fn standing<'a>(events: &'a [Event], version: &Version, own_key: bool) -> Vec<&'a Event> {
    let view: Vec<_> = events.iter().filter(|e| seen(e, version)).collect();
    let key = |e: &Event| match e.op {
        // A counter has one key for each replica.
        Op::Put(..) | Op::Take(..) if own_key => Some(e.by as u8),
        Op::Put(k, _) | Op::Take(k) => Some(k),
        Op::Clear => None,
    };
    let overridden = |e: &Event| view.iter().any(|o| seen(e, &o.seen) && (o.op == Op::Clear || key(o) == key(e)));
    view.iter().filter(|e| e.op != Op::Clear && !overridden(e)).copied().collect()
}

/// A type under test: how it is edited and read, and what must be read.
trait Subject: Crdt + PartialEq + Debug {
    type Read: PartialEq + Debug;
    /// Whether a removal writes even if nothing is there.
    const TAKE_ALWAYS: bool = false;
    /// Whether operations concern the writer's own cell, whatever their key.
    const OWN_KEY: bool = false;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError>;
    fn read(&self) -> Self::Read;
    fn expected(standing: &[&Event]) -> Self::Read;
    /// Whether the operation is one of this type, and would write, for somebody to whom these operations stand.
    fn writes(op: Op, standing: &[&Event]) -> bool {
        match op {
            Op::Put(..) => true,
            Op::Take(k) => Self::TAKE_ALWAYS || standing.iter().any(|e| matches!(e.op, Op::Put(l, _) if l == k)),
            Op::Clear => !standing.is_empty(),
        }
    }
    /// Operations of one type on one key, in its own terms.
    fn normal(op: Op) -> Op {
        op
    }
}

fn puts<'a>(standing: &'a [&Event]) -> impl Iterator<Item = (u8, u8, u64)> + 'a {
    standing.iter().filter_map(|e| if let Op::Put(k, v) = e.op { Some((k, v, e.time)) } else { None })
}

fn register(op: Op) -> Op {
    match op {
        Op::Put(_, v) => Op::Put(0, v),
        Op::Take(_) | Op::Clear => Op::Clear,
    }
}

impl Subject for LwwRegister<u8> {
    type Read = Option<u8>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(_, v) = op { edit.set(v) } else { edit.clear().map(drop) }
    }
    fn read(&self) -> Option<u8> {
        self.get().copied()
    }
    fn expected(standing: &[&Event]) -> Option<u8> {
        puts(standing).max_by_key(|(_, _, time)| *time).map(|(_, v, _)| v)
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for MvRegister<u8> {
    type Read = BTreeSet<u8>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(_, v) = op { edit.set(v) } else { edit.clear().map(drop) }
    }
    fn read(&self) -> BTreeSet<u8> {
        let set: BTreeSet<u8> = self.get().iter().copied().collect();
        assert_eq!(set.len(), self.get().len(), "a value twice");
        set
    }
    fn expected(standing: &[&Event]) -> BTreeSet<u8> {
        puts(standing).map(|(_, v, _)| v).collect()
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for MaxRegister<u8> {
    type Read = Option<u8>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(_, v) = op { edit.raise(v).map(drop) } else { edit.clear().map(drop) }
    }
    fn read(&self) -> Option<u8> {
        self.get().copied()
    }
    fn expected(standing: &[&Event]) -> Option<u8> {
        puts(standing).map(|(_, v, _)| v).max()
    }
    fn writes(op: Op, standing: &[&Event]) -> bool {
        if let Op::Put(_, v) = op { Self::expected(standing).is_none_or(|max| v > max) } else { !standing.is_empty() }
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for MinRegister<u8> {
    type Read = Option<u8>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(_, v) = op { edit.lower(v).map(drop) } else { edit.clear().map(drop) }
    }
    fn read(&self) -> Option<u8> {
        self.get().copied()
    }
    fn expected(standing: &[&Event]) -> Option<u8> {
        puts(standing).map(|(_, v, _)| v).min()
    }
    fn writes(op: Op, standing: &[&Event]) -> bool {
        if let Op::Put(_, v) = op { Self::expected(standing).is_none_or(|min| v < min) } else { !standing.is_empty() }
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for EwFlag {
    type Read = bool;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(..) = op { edit.enable() } else { edit.disable().map(drop) }
    }
    fn read(&self) -> bool {
        self.is_on()
    }
    fn expected(standing: &[&Event]) -> bool {
        puts(standing).next().is_some()
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for DwFlag {
    type Read = bool;
    const TAKE_ALWAYS: bool = true;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(..) = op { edit.enable() } else { edit.disable() }
    }
    fn read(&self) -> bool {
        self.is_on()
    }
    fn expected(standing: &[&Event]) -> bool {
        !standing.is_empty() && standing.iter().all(|e| matches!(e.op, Op::Put(..)))
    }
    fn normal(op: Op) -> Op {
        if let Op::Put(_, v) = op { Op::Put(0, v) } else { Op::Take(0) }
    }
}

impl Subject for OrSet<u8> {
    type Read = Vec<u8>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        match op {
            Op::Put(k, _) => edit.insert(k).map(drop),
            Op::Take(k) => edit.remove(&k).map(drop),
            Op::Clear => edit.clear().map(drop),
        }
    }
    fn read(&self) -> Vec<u8> {
        assert!(self.iter().all(|k| self.contains(k)) && self.len() == self.iter().count());
        self.iter().copied().collect()
    }
    fn expected(standing: &[&Event]) -> Vec<u8> {
        puts(standing).map(|(k, _, _)| k).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Subject for RwSet<u8> {
    type Read = Vec<u8>;
    const TAKE_ALWAYS: bool = true;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        match op {
            Op::Put(k, _) => edit.insert(k).map(drop),
            Op::Take(k) => edit.remove(&k).map(drop),
            Op::Clear => edit.clear().map(drop),
        }
    }
    fn read(&self) -> Vec<u8> {
        self.iter().copied().collect()
    }
    fn expected(standing: &[&Event]) -> Vec<u8> {
        let removed: BTreeSet<u8> =
            standing.iter().filter_map(|e| if let Op::Take(k) = e.op { Some(k) } else { None }).collect();
        let added: BTreeSet<u8> = puts(standing).map(|(k, _, _)| k).collect();
        added.difference(&removed).copied().collect()
    }
}

impl Subject for OrMap<u8, u8> {
    type Read = BTreeMap<u8, (u8, BTreeSet<u8>)>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        match op {
            Op::Put(k, v) => edit.insert(k, v).map(drop),
            Op::Take(k) => edit.remove(&k).map(drop),
            Op::Clear => edit.clear().map(drop),
        }
    }
    fn read(&self) -> Self::Read {
        assert!(self.iter().all(|(k, v)| self.get(k) == Some(v)) && self.len() == self.keys().count());
        self.iter().map(|(k, v)| (*k, (*v, self.get_all(k).collect()))).collect()
    }
    fn expected(standing: &[&Event]) -> Self::Read {
        let mut all: BTreeMap<u8, Vec<(u64, u8)>> = BTreeMap::new();
        puts(standing).for_each(|(k, v, time)| all.entry(k).or_default().push((time, v)));
        let read = |mut values: Vec<(u64, u8)>| {
            values.sort();
            (values.last().unwrap().1, values.into_iter().map(|(_, v)| v).collect())
        };
        all.into_iter().map(|(k, values)| (k, read(values))).collect()
    }
}

impl Subject for GCounter {
    type Read = i128;
    const OWN_KEY: bool = true;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(_, v) = op { edit.add(v.into()) } else { edit.reset().map(drop) }
    }
    fn read(&self) -> i128 {
        self.value()
    }
    fn expected(standing: &[&Event]) -> i128 {
        standing.iter().map(|e| i128::from(e.totals.0) - i128::from(e.totals.1)).sum()
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for PnCounter {
    type Read = i128;
    const TAKE_ALWAYS: bool = true;
    const OWN_KEY: bool = true;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        match op {
            Op::Put(_, v) => edit.add(v.into()),
            Op::Take(k) => edit.subtract(k.into()),
            Op::Clear => edit.reset().map(drop),
        }
    }
    fn read(&self) -> i128 {
        self.value()
    }
    fn expected(standing: &[&Event]) -> i128 {
        GCounter::expected(standing)
    }
}

struct World<T: Subject> {
    replicas: Vec<Replica<T>>,
    clocks: Vec<std::sync::Arc<std::sync::atomic::AtomicU64>>,
    versions: Vec<Version>,
    events: Vec<Event>,
    late: Vec<(usize, Version, Delta)>,
    concurrent: bool,
}

impl<T: Subject> World<T> {
    fn new() -> Self {
        let environments: Vec<_> = (0..REPLICAS as u64).map(TestEnvironment::new).collect();
        Self {
            clocks: environments.iter().map(TestEnvironment::clock).collect(),
            replicas: environments.into_iter().map(Replica::with_environment).collect(),
            versions: vec![Version::new(); REPLICAS],
            events: Vec::new(),
            late: Vec::new(),
            concurrent: false,
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Edit { by, op } => self.edit(by, T::normal(op)),
            Step::Sync { from, to, complete } => {
                let delta = if complete { self.replicas[from].complete() } else { self.delta_for(from, to) };
                let version = self.versions[from].clone();
                self.late.push((to, version.clone(), delta.clone()));
                self.merge(to, &version, &delta)
            }
            Step::Late { which } if !self.late.is_empty() => {
                let (to, version, delta) = self.late[which % self.late.len()].clone();
                self.merge((to + which) % REPLICAS, &version, &delta)
            }
            Step::Late { .. } => Ok(()),
            Step::Prune { by } => {
                self.replicas[by].prune(Prune::All);
                self.check(by)
            }
        }
    }

    fn edit(&mut self, by: usize, op: Op) -> Result<(), TestCaseError> {
        let time = 1_000_001 + self.events.len() as u64;
        self.clocks[by].store(time, Ordering::Relaxed);
        let standing = standing(&self.events, &self.versions[by], T::OWN_KEY);
        let own = standing.iter().find(|e| e.by == by).map_or((0, 0), |e| e.totals);
        let totals = match op {
            Op::Put(_, v) => (own.0 + u64::from(v), own.1),
            Op::Take(k) => (own.0, own.1 + u64::from(k)),
            Op::Clear => own,
        };
        if T::writes(op, &standing) {
            let seen = self.versions[by].clone();
            let number = seen.get(&by).copied().unwrap_or(0) + 1;
            self.concurrent |= self.events.iter().any(|e| seen.get(&e.by).is_none_or(|n| *n < e.number));
            self.versions[by].insert(by, number);
            self.events.push(Event { by, number, seen, op, time, totals });
        }
        let mut mirror = self.replicas[by].fork_with(TestEnvironment::new(99));
        let (_, delta) = self.replicas[by].edit(|e| T::apply(e, op)).unwrap();
        mirror.merge(&delta).unwrap();
        prop_assert_eq!(mirror.state(), self.replicas[by].state());
        prop_assert_eq!(mirror.state().read(), self.replicas[by].state().read());
        self.check(by)
    }

    fn delta_for(&self, from: usize, to: usize) -> Delta {
        let (from, to) = (&self.replicas[from], &self.replicas[to]);
        from.delta_since(to.version())
            .unwrap_or_else(|CutError::Pruned { .. }| from.reconcile(to.version(), &to.live_dots()))
    }

    fn merge(&mut self, to: usize, version: &Version, delta: &Delta) -> Result<(), TestCaseError> {
        let arrived = Delta::from_bytes(&delta.to_bytes()).unwrap();
        if self.replicas[to].merge(&arrived).is_ok() {
            for (who, number) in version {
                let seen = self.versions[to].entry(*who).or_default();
                *seen = (*seen).max(*number);
            }
        }
        self.check(to)
    }

    fn check(&self, who: usize) -> Result<(), TestCaseError> {
        let state = self.replicas[who].state();
        state.state().check_invariants().map_err(TestCaseError::fail)?;
        let expected = T::expected(&standing(&self.events, &self.versions[who], T::OWN_KEY));
        prop_assert_eq!(state.read(), expected);
        // What is derived while it changes is what would be derived from scratch.
        let (bytes, _) = self.replicas[who].fork_with(TestEnvironment::new(98)).save();
        let loaded = Replica::<T>::resume_with(TestEnvironment::new(97), &bytes, None).unwrap();
        prop_assert_eq!(loaded.state().read(), state.read());
        Ok(())
    }
}

fn judge<T: Subject>() {
    let (cases, concurrent) = (Cell::new(0u32), Cell::new(0u32));
    let config = ProptestConfig { cases: 150, source_file: Some(file!()), ..ProptestConfig::default() };
    let result = proptest::test_runner::TestRunner::new(config).run(&steps(), |steps| {
        let mut world = World::<T>::new();
        for step in steps {
            world.step(step)?;
        }
        for _ in 0..2 {
            for from in 0..REPLICAS {
                for to in (0..REPLICAS).filter(|to| *to != from) {
                    let (version, delta) = (world.versions[from].clone(), world.delta_for(from, to));
                    world.merge(to, &version, &delta)?;
                }
            }
        }
        for other in &world.replicas[1..] {
            prop_assert_eq!(world.replicas[0].state(), other.state());
        }
        cases.set(cases.get() + 1);
        concurrent.set(concurrent.get() + u32::from(world.concurrent));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let share = f64::from(concurrent.get()) / f64::from(cases.get());
    assert!(share > 0.5, "concurrent operations in {share} of the cases");
}

macro_rules! judged {
    ($($test:ident: $subject:ty),* $(,)?) => {$(
        #[test]
        fn $test() {
            judge::<$subject>();
        }
    )*};
}

judged! {
    lww_register_reads_what_its_rule_says: LwwRegister<u8>,
    mv_register_reads_what_its_rule_says: MvRegister<u8>,
    max_register_reads_what_its_rule_says: MaxRegister<u8>,
    min_register_reads_what_its_rule_says: MinRegister<u8>,
    ew_flag_reads_what_its_rule_says: EwFlag,
    dw_flag_reads_what_its_rule_says: DwFlag,
    or_set_reads_what_its_rule_says: OrSet<u8>,
    rw_set_reads_what_its_rule_says: RwSet<u8>,
    or_map_reads_what_its_rule_says: OrMap<u8, u8>,
    g_counter_reads_what_its_rule_says: GCounter,
    pn_counter_reads_what_its_rule_says: PnCounter,
}
