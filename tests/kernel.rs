//! Random schedules over raw cells, judged by an oracle that shares no code with the kernel.

use std::cell::Cell;

use driftless::kernel::{Entity, Payload};
use driftless::testing::{Oracle, Raw, TestEnvironment};
use driftless::{Crdt, CutError, Delta, MergeError, MergeReport, Prune, Replica};
use proptest::prelude::*;

const REPLICAS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Write {
        by: usize,
        entity: u8,
        field: u8,
    },
    Erase {
        by: usize,
        entity: u8,
        field: u8,
    },
    Delete {
        by: usize,
        entity: u8,
    },
    /// Writes so many fields of an entity that it is kept as a map.
    Widen {
        by: usize,
        entity: u8,
    },
    /// Prunes the tombstones whose place among the others is marked.
    PruneSome {
        by: usize,
        seen_by: usize,
    },
    PruneAll {
        by: usize,
    },
    /// Cuts a delta for a replica, which may go astray to another.
    Send {
        from: usize,
        to: usize,
        complete: bool,
        astray: Option<usize>,
    },
    /// Delivers one of the deltas under way; it may stay under way (and come again), and may be joined with another.
    Deliver {
        which: usize,
        again: bool,
        join: Option<usize>,
    },
    /// A site opens what a site saved some steps ago: its own latest, a backup of its own, or a copy of another's.
    Restart {
        who: usize,
        of: usize,
        back: usize,
    },
    /// A site replays the deltas of its own edits from one on, in order.
    Replay {
        who: usize,
        from: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..90)
}

/// Of entities both small and large.
fn wide_steps() -> impl Strategy<Value = Vec<Step>> {
    let widen = (0..REPLICAS, 0..2u8).prop_map(|(by, entity)| Step::Widen { by, entity });
    let write = (0..REPLICAS, 0..2u8, 3..63u8).prop_map(|(by, entity, field)| Step::Write { by, entity, field });
    let erase = (0..REPLICAS, 0..2u8, 3..63u8).prop_map(|(by, entity, field)| Step::Erase { by, entity, field });
    prop::collection::vec(prop_oneof![12 => step(), 1 => widen, 2 => write, 3 => erase], 1..50)
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..REPLICAS;
    prop_oneof![
        34 => (who.clone(), 0..2u8, 0..3u8).prop_map(|(by, entity, field)| Step::Write { by, entity, field }),
        6 => (who.clone(), 0..2u8, 1..3u8).prop_map(|(by, entity, field)| Step::Erase { by, entity, field }),
        12 => (who.clone(), 0..2u8).prop_map(|(by, entity)| Step::Delete { by, entity }),
        4 => (who.clone(), who.clone()).prop_map(|(by, seen_by)| Step::PruneSome { by, seen_by }),
        4 => who.clone().prop_map(|by| Step::PruneAll { by }),
        22 => (who.clone(), who.clone(), prop::bool::weighted(0.15), prop::option::weighted(0.4, who.clone()))
            .prop_map(|(from, to, complete, astray)| Step::Send { from, to, complete, astray }),
        26 => (any::<usize>(), prop::bool::weighted(0.3), prop::option::weighted(0.5, any::<usize>()))
            .prop_map(|(which, again, join)| Step::Deliver { which, again, join }),
        4 => (who.clone(), who.clone(), any::<bool>(), prop_oneof![1 => Just(0), 2 => 0..10usize])
            .prop_map(|(who, of, own, back)| Step::Restart { who, of: if own { who } else { of }, back }),
        2 => (who, 0..10usize).prop_map(|(who, from)| Step::Replay { who, from }),
    ]
}

fn fork(replica: &Replica<Raw>) -> Replica<Raw> {
    replica.fork_with(TestEnvironment::new(u64::MAX))
}

/// Merges two whole states.
fn joined(a: &Replica<Raw>, b: &Replica<Raw>) -> Result<Replica<Raw>, TestCaseError> {
    let mut joined = fork(a);
    joined.merge(&b.complete()).map_err(|e| TestCaseError::fail(e.to_string()))?;
    Raw::state(joined.state()).check_invariants().map_err(TestCaseError::fail)?;
    Ok(joined)
}

/// How often a case held what it is there to hold.
#[derive(Default)]
struct Seen {
    cases: Cell<u32>,
    concurrent: Cell<u32>,
    reconciled: Cell<u32>,
    gaps: Cell<u32>,
    joined: Cell<u32>,
    restored: Cell<u32>,
    replayed: Cell<u32>,
}

fn bump(counter: &Cell<u32>) {
    counter.set(counter.get() + 1);
}

struct World {
    replicas: Vec<Replica<Raw>>,
    oracle: Oracle,
    under_way: Vec<(usize, Delta)>,
    ids: u64,
    written: u64,
    /// What each site saved after each step.
    saves: Vec<Vec<Vec<u8>>>,
    /// The deltas of all edits of each site.
    edits: Vec<Vec<Delta>>,
}

fn entity(n: u8) -> Entity {
    Entity::new(1, [n; 16])
}

fn field(n: u8) -> Vec<u8> {
    if n == 0 { vec![] } else { vec![b'f', n] }
}

impl World {
    fn new() -> Self {
        let replicas = (0..REPLICAS as u64).map(|seed| Replica::with_environment(TestEnvironment::new(seed))).collect();
        Self {
            replicas,
            oracle: Oracle::default(),
            under_way: Vec::new(),
            ids: REPLICAS as u64,
            written: 0,
            saves: vec![vec![Replica::<Raw>::new().save()]; REPLICAS],
            edits: vec![Vec::new(); REPLICAS],
        }
    }

    fn delta_for(&self, from: usize, to: usize, seen: &Seen) -> Delta {
        let (from, to) = (&self.replicas[from], &self.replicas[to]);
        from.delta_since(to.version()).unwrap_or_else(|CutError::Pruned { .. }| {
            bump(&seen.reconciled);
            from.reconcile(to.version(), &to.live_dots())
        })
    }

    /// Through bytes, as all deltas go.
    fn merge(&mut self, who: usize, delta: &Delta, seen: &Seen) -> Result<(), TestCaseError> {
        let arrived = Delta::from_bytes(&delta.to_bytes()).unwrap();
        prop_assert_eq!(&arrived, delta);
        self.join(who, seen, |replica| replica.merge(&arrived))
    }

    fn join(
        &mut self,
        who: usize,
        seen: &Seen,
        merge: impl FnOnce(&mut Replica<Raw>) -> Result<MergeReport<Raw>, MergeError>,
    ) -> Result<(), TestCaseError> {
        let before = self.replicas[who].snapshot();
        match merge(&mut self.replicas[who]) {
            Ok(report) => {
                let state = Raw::state(self.replicas[who].state());
                prop_assert!(state.version() >= before.state().version());
                prop_assert_eq!(report.shared_writer(), None);
                if report.opened().next().is_some() {
                    bump(&seen.concurrent);
                }
            }
            Err(MergeError::Gap { .. }) => {
                bump(&seen.gaps);
                prop_assert_eq!(&before, self.replicas[who].state());
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
        self.check(who)
    }

    fn check(&self, who: usize) -> Result<(), TestCaseError> {
        let state = Raw::state(self.replicas[who].state());
        state.check_invariants().map_err(TestCaseError::fail)?;
        self.oracle.check(state).map_err(TestCaseError::fail)
    }

    /// Whatever came before: equal versions, equal state, of all pairs.
    fn agree(&self) -> Result<(), TestCaseError> {
        for (i, a) in self.replicas.iter().enumerate() {
            for b in self.replicas[..i].iter().filter(|b| b.version() == a.version()) {
                prop_assert_eq!(a.fingerprint(), b.fingerprint());
                prop_assert_eq!(a.state(), b.state());
            }
        }
        Ok(())
    }

    /// The delta of an edit does elsewhere what it must, or is refused; and the device keeps it.
    fn keep(&mut self, by: usize, delta: Delta) -> Result<(), TestCaseError> {
        for other in self.replicas.iter().enumerate().filter(|(who, _)| *who != by).map(|(_, other)| other) {
            let mut there = fork(other);
            match there.merge(&delta) {
                Ok(_) => self.oracle.check(Raw::state(there.state())).map_err(TestCaseError::fail)?,
                Err(MergeError::Gap { .. }) => prop_assert_eq!(there.state(), other.state()),
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
        self.edits[by].push(delta);
        Ok(())
    }

    fn step(&mut self, step: Step, seen: &Seen) -> Result<(), TestCaseError> {
        self.act(step, seen)?;
        for (replica, saves) in self.replicas.iter().zip(&mut self.saves) {
            saves.push(replica.save());
        }
        self.agree()
    }

    fn act(&mut self, step: Step, seen: &Seen) -> Result<(), TestCaseError> {
        match step {
            Step::Write { by, entity: e, field: f } => {
                let before = self.replicas[by].version().clone();
                self.written += 1;
                let content = self.written.to_be_bytes();
                let (dot, delta) =
                    self.replicas[by].edit(|raw| raw.write(entity(e), &field(f), Payload::new(1, &content))).unwrap();
                prop_assert_eq!(delta.since(), &before);
                self.oracle.record(dot, entity(e), &field(f), Some((1, &content)), &before);
                self.check(by)?;
                self.keep(by, delta)?;
            }
            Step::Erase { by, entity: e, field: f } => {
                let before = self.replicas[by].version().clone();
                let (found, delta) = self.replicas[by].edit(|raw| raw.erase(entity(e), &field(f))).unwrap();
                self.record_removal(by, found, e, &field(f), &before);
                self.check(by)?;
                self.keep(by, delta)?;
            }
            Step::Delete { by, entity: e } => {
                let before = self.replicas[by].version().clone();
                let (found, delta) = self.replicas[by].edit(|raw| raw.delete(entity(e))).unwrap();
                prop_assert_eq!(delta.len(), usize::from(found));
                self.record_removal(by, found, e, &[], &before);
                self.check(by)?;
                self.keep(by, delta)?;
            }
            Step::Widen { by, entity: e } => {
                let before = self.replicas[by].version().clone();
                let (dots, delta): (Vec<_>, _) = self.replicas[by]
                    .edit(|raw| (3..63).map(|f| raw.write(entity(e), &field(f), Payload::new(2, &[f]))).collect())
                    .unwrap();
                for (f, dot) in (3..63).zip(dots) {
                    self.oracle.record(dot, entity(e), &field(f), Some((2, &[f])), &before);
                }
                self.check(by)?;
                self.keep(by, delta)?;
            }
            Step::PruneSome { by, seen_by } => {
                let version = self.replicas[seen_by].version().clone();
                self.replicas[by].prune(Prune::Upto(&version));
                self.check(by)?;
            }
            Step::PruneAll { by } => {
                self.replicas[by].prune(Prune::All);
                prop_assert_eq!(Raw::state(self.replicas[by].state()).tombstones_len(), 0);
                self.check(by)?;
            }
            Step::Send { from, to, complete, astray } => {
                let delta = match (complete, astray) {
                    (true, None) => self.replicas[from].complete(),
                    // As for a peer that holds nothing, and then it reaches one that does.
                    (true, Some(_)) => self.replicas[from].delta_since(&driftless::Version::new()).unwrap(),
                    (false, _) => self.delta_for(from, to, seen),
                };
                self.under_way.push((astray.unwrap_or(to), delta));
            }
            Step::Deliver { which, again, join } => {
                if self.under_way.is_empty() {
                    return Ok(());
                }
                let i = which % self.under_way.len();
                let (to, mut delta) = self.under_way[i].clone();
                if let Some(j) = join.map(|j| j % self.under_way.len()).filter(|j| *j != i)
                    && let Ok(joined) = delta.join(&self.under_way[j].1)
                {
                    bump(&seen.joined);
                    delta = joined;
                }
                if !again {
                    self.under_way.swap_remove(i);
                }
                self.merge(to, &delta, seen)?;
            }
            Step::Restart { who, of, back } => {
                let saves = &self.saves[of];
                let back = back % saves.len();
                let environment = TestEnvironment::new(self.ids);
                self.ids += 1;
                let opened = Replica::load_with(environment, &saves[saves.len() - 1 - back]).unwrap();
                prop_assert_eq!(opened.writer(), None);
                if opened.version() != self.replicas[who].version() {
                    bump(&seen.restored);
                }
                self.replicas[who] = opened;
                self.check(who)?;
            }
            Step::Replay { who, from } => {
                for i in from.min(self.edits[who].len())..self.edits[who].len() {
                    let delta = self.edits[who][i].clone();
                    self.join(who, seen, |replica| replica.replay(&delta))?;
                    bump(&seen.replayed);
                }
            }
        }
        Ok(())
    }

    fn record_removal(&mut self, by: usize, found: bool, e: u8, field: &[u8], before: &driftless::Version) {
        let replica = &self.replicas[by];
        if found {
            let writer = replica.writer().unwrap();
            let dot = driftless::Dot { writer, counter: replica.version().get(writer) };
            self.oracle.record(dot, entity(e), field, None, before);
        } else {
            assert_eq!(replica.version(), before);
        }
    }

    /// Everybody gets everything from everybody: at most as many rounds as there are replicas.
    fn exchange(&mut self, seen: &Seen) -> Result<(), TestCaseError> {
        for _ in 0..2 {
            for from in 0..REPLICAS {
                for to in (0..REPLICAS).filter(|to| *to != from) {
                    let delta = self.delta_for(from, to, seen);
                    self.merge(to, &delta, seen)?;
                }
            }
        }
        let first = self.replicas[0].state();
        for other in &self.replicas[1..] {
            let (a, b) = (Raw::state(first), Raw::state(other.state()));
            prop_assert_eq!(a.version(), b.version());
            prop_assert_eq!(a.fingerprint(), b.fingerprint());
            prop_assert_eq!(first, other.state());
            prop_assert!(a.contested().eq(b.contested()));
        }
        Ok(())
    }
}

/// `DRIFTLESS_SCHEDULES=20` runs twenty times as many, for a longer look.
fn run(cases: u32, steps: impl Strategy<Value = Vec<Step>>) -> Seen {
    let seen = Seen::default();
    let times: u32 = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let cases = cases.saturating_mul(times);
    let config = ProptestConfig { cases, source_file: Some(file!()), ..ProptestConfig::default() };
    let result = proptest::test_runner::TestRunner::new(config).run(&steps, |steps| {
        bump(&seen.cases);
        let mut world = World::new();
        for step in steps {
            world.step(step, &seen)?;
        }
        world.exchange(&seen)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    seen
}

#[test]
fn any_schedule_over_large_entities_ends_where_the_oracle_says() {
    run(150, wide_steps());
}

#[test]
fn any_schedule_ends_where_the_oracle_says() {
    let seen = run(1500, steps());
    // A schedule in which nothing collides tests nothing.
    let share = |counter: &Cell<u32>| f64::from(counter.get()) / f64::from(seen.cases.get());
    assert!(share(&seen.concurrent) > 0.5, "contests opened per case: {}", share(&seen.concurrent));
    assert!(share(&seen.reconciled) > 0.3, "reconciled deltas per case: {}", share(&seen.reconciled));
    assert!(share(&seen.gaps) > 0.3, "gaps per case: {}", share(&seen.gaps));
    assert!(share(&seen.joined) > 0.2, "joined deltas per case: {}", share(&seen.joined));
    assert!(share(&seen.restored) > 0.5, "backups and copies per case: {}", share(&seen.restored));
    assert!(share(&seen.replayed) > 0.5, "deltas replayed per case: {}", share(&seen.replayed));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever states a schedule leaves behind, joining them is a join.
    #[test]
    fn merge_is_commutative_associative_and_idempotent(steps in steps()) {
        let (seen, mut world) = (Seen::default(), World::new());
        for step in steps {
            world.step(step, &seen)?;
        }
        let [a, b, c, _] = &world.replicas[..] else { unreachable!() };
        let (ab, ba) = (joined(a, b)?, joined(b, a)?);
        prop_assert_eq!(ab.state(), ba.state());
        let (ab_c, a_bc) = (joined(&ab, c)?, joined(a, &joined(b, c)?)?);
        prop_assert_eq!(ab_c.state(), a_bc.state());
        let (abb, aa) = (joined(&ab, b)?, joined(a, a)?);
        prop_assert_eq!(abb.state(), ab.state());
        prop_assert_eq!(aa.state(), a.state());
        prop_assert!(ab.version() >= a.version() && ab.version() >= b.version());
        world.oracle.check(Raw::state(ab.state())).map_err(TestCaseError::fail)?;
    }

    /// Cutting what the other lacks and merging that is merging the whole states.
    #[test]
    fn a_delta_does_what_the_whole_state_would(steps in steps()) {
        let (seen, mut world) = (Seen::default(), World::new());
        for step in steps {
            world.step(step, &seen)?;
        }
        for from in 0..REPLICAS {
            for to in 0..REPLICAS {
                let delta = world.delta_for(from, to, &seen);
                let whole = joined(&world.replicas[to], &world.replicas[from])?;
                let mut by_delta = fork(&world.replicas[to]);
                by_delta.merge(&delta).unwrap();
                prop_assert_eq!(by_delta.state(), whole.state());
            }
        }
    }

    /// What an edit returns does elsewhere what the edit did here, and deltas of one replica join into one.
    #[test]
    fn the_delta_of_an_edit_is_the_edit(
        before in steps(),
        edits in prop::collection::vec((0u8..2, 0u8..3, 0u8..3), 1..12),
    ) {
        let (seen, mut world) = (Seen::default(), World::new());
        for step in before {
            world.step(step, &seen)?;
        }
        let mut replica = world.replicas.swap_remove(0);
        let (mut one_by_one, mut at_once) = (fork(&replica), fork(&replica));
        let mut chain: Option<Delta> = None;
        for (e, f, what) in edits {
            let (_, delta) = replica.edit(|raw| match what {
                0 => raw.write(entity(e), &field(f), Payload::new(1, b"x")).map(|_| true),
                1 => raw.erase(entity(e), &field(f)),
                _ => raw.delete(entity(e)),
            }).unwrap();
            one_by_one.merge(&delta).unwrap();
            prop_assert_eq!(one_by_one.state(), replica.state());
            chain = Some(match chain {
                Some(chain) => chain.join(&delta).unwrap(),
                None => delta,
            });
        }
        let chain = chain.unwrap();
        prop_assert_eq!(Delta::from_bytes(&chain.to_bytes()).unwrap(), chain.clone());
        at_once.merge(&chain).unwrap();
        prop_assert_eq!(at_once.state(), replica.state());
    }
}
