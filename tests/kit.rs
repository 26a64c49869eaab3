//! The test kit must fail what is wrong: types and models with one mistake each, and operations that never meet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::marker::PhantomData;

use driftless::kernel::{Entity, Payload, Touched};
use driftless::testing::{Model, Scope, Step, What, Write, Writes, judge, replay, same, try_explore, try_judge};
use driftless::{Crdt, Edit, EditError, OrSet, State};
use proptest::prelude::*;

// ---- a map from numbers to bytes, with something derived from it that may be wrong ----

#[derive(Clone, Default, PartialEq, Debug)]
struct Map<D> {
    state: State,
    derived: D,
}

impl<D: Derived> Crdt for Map<D> {
    const SCHEMA: &'static str = "test.map";

    type Change = ();

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn follow(&mut self, touched: &Touched) {
        self.derived.follow(touched);
    }

    fn describe(_: &Touched) -> Option<()> {
        None
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(u16, u8),
    Unset(u16),
    /// Sets, and then is refused.
    Fail(u16),
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..3u16, 0..4u8).prop_map(|(k, v)| Op::Set(k, v)),
        3 => (0..3u16).prop_map(Op::Unset),
        1 => (0..3u16).prop_map(Op::Fail),
    ]
}

type View<'a, D> = driftless::testing::View<'a, Judged<D>>;

/// What is derived, and what is said of it.
trait Derived: Clone + Default + PartialEq + Debug + Send + Sync + 'static {
    fn follow(&mut self, _: &Touched) {}

    fn check(&self, _: &View<'_, Self>) -> Result<(), String> {
        Ok(())
    }

    fn writes(op: &Op, view: &View<'_, Self>) -> Option<Writes<Judged<Self>>> {
        right(op, view)
    }
}

fn right<D: Derived>(op: &Op, view: &View<'_, D>) -> Option<Writes<Judged<D>>> {
    match op {
        Op::Set(k, v) => Some(vec![Write::Put(*k, *v)]),
        Op::Unset(k) => Some(view.holds(k).then_some(Write::Remove(*k)).into_iter().collect()),
        Op::Fail(_) => None,
    }
}

struct Judged<D>(PhantomData<D>);

impl<D: Derived> Model for Judged<D> {
    type Type = Map<D>;
    type Op = Op;
    type Cell = u16;
    type Group = ();
    type Value = u8;

    fn group(_: &u16) {}

    fn apply(edit: &mut Edit<'_, Map<D>>, op: &Op) -> Result<(), EditError> {
        match op {
            Op::Set(k, v) => edit.write(Entity::SELF, &k.to_be_bytes(), Payload::new(1, &[*v])).map(drop),
            Op::Unset(k) => edit.erase(Entity::SELF, &k.to_be_bytes()).map(drop),
            Op::Fail(k) => {
                edit.write(Entity::SELF, &k.to_be_bytes(), Payload::new(1, &[7]))?;
                Err(EditError::abort("refused"))
            }
        }
    }

    fn writes(op: &Op, view: &View<'_, D>, _: usize) -> Option<Writes<Self>> {
        D::writes(op, view)
    }

    fn check(view: &View<'_, D>, map: &Map<D>) -> Result<(), String> {
        map.derived.check(view)
    }

    fn kind(op: &Op) -> &'static str {
        match op {
            Op::Set(..) => "set",
            Op::Unset(_) => "unset",
            Op::Fail(_) => "fail",
        }
    }
}

fn verdict<D: Derived>() -> String {
    try_judge::<Judged<D>>(ops(), 100).expect_err("what is wrong passed")
}

fn key(touched: &Touched) -> u16 {
    u16::from_be_bytes(touched.field.as_bytes().try_into().unwrap())
}

fn values(touched: &Touched) -> Vec<u8> {
    touched.now().iter().filter_map(|s| s.payload.as_ref()).map(|p| p.bytes()[0]).collect()
}

// ---- what is right ----

/// The keys that are there.
#[derive(Clone, Default, PartialEq, Debug)]
struct Keys(BTreeSet<u16>);

impl Derived for Keys {
    fn follow(&mut self, touched: &Touched) {
        match values(touched).is_empty() {
            true => self.0.remove(&key(touched)),
            false => self.0.insert(key(touched)),
        };
    }

    fn check(&self, view: &View<'_, Self>) -> Result<(), String> {
        same("keys", self.0.clone(), view.all().map(|w| *w.cell).collect())
    }
}

#[test]
fn what_is_right_passes_and_its_schedules_hold_all_that_can_happen() {
    let report = judge::<Judged<Keys>>(ops(), 450);
    println!("{report}");
    let shares = [
        ("concurrency", report.cases.of("concurrency"), 0.6),
        ("regrouped deltas", report.cases.of("regrouped deltas"), 0.3),
        ("reconciled", report.deltas.of("reconciled"), 0.01),
        ("complete", report.deltas.of("complete"), 0.05),
        ("of the last edit", report.deltas.of("of the last edit"), 0.1),
        ("lost", report.deltas.of("lost"), 0.1),
        ("again", report.arrivals.of("again"), 0.05),
        ("late", report.arrivals.of("late"), 0.02),
        ("astray", report.arrivals.of("astray"), 0.1),
        ("refused arrivals", report.arrivals.of("refused"), 0.04),
        ("refused edits", report.edits.of("refused"), 0.1),
        ("restarted", report.openings.of("restarted"), 0.1),
        ("restored", report.openings.of("restored"), 0.2),
        ("copied", report.openings.of("copied"), 0.05),
        ("replayed", report.replays.of("merged"), 0.3),
    ];
    for (what, share, least) in shares {
        assert!(share > least, "{what}: {share}, and at least {least} is asked for");
    }
}

#[test]
fn a_schedule_that_once_failed_can_be_kept() {
    let steps = [
        Step::Edit { by: 1, ops: vec![Op::Set(0, 2)] },
        Step::Edit { by: 0, ops: vec![Op::Set(0, 1)] },
        Step::Send { from: 0, to: 1, what: What::Lacking },
        Step::Deliver { which: 0, again: false, astray: false },
        Step::Edit { by: 1, ops: vec![Op::Unset(0)] },
    ];
    replay::<Judged<Keys>>(&steps).unwrap();
    let why = replay::<Judged<Ours>>(&steps[..4]).unwrap_err();
    // The delta of an edit is tried on all others at once.
    assert!(why.contains("step 1") && why.contains("the edit: shown: found {0: 2}, must be {0: 1}"), "{why}");
}

// ---- types that are wrong ----

/// Shows the value that was there first, as long as it is alive.
#[derive(Clone, Default, PartialEq, Debug)]
struct Ours(BTreeMap<u16, u8>);

impl Derived for Ours {
    fn follow(&mut self, touched: &Touched) {
        let (key, values) = (key(touched), values(touched));
        match (self.0.get(&key), values.last()) {
            (_, None) => drop(self.0.remove(&key)),
            (Some(ours), _) if values.contains(ours) => {}
            (_, Some(last)) => drop(self.0.insert(key, *last)),
        }
    }

    fn check(&self, view: &View<'_, Self>) -> Result<(), String> {
        let latest = |k: u16| Some((k, *view.latest(&k)?.value));
        same("shown", self.0.clone(), (0..3).filter_map(latest).collect())
    }
}

/// Which law breaks first is up to the schedule.
fn breaks_a_law(verdict: &str) -> bool {
    ["commutative", "associative", "idempotent", "inflationary", "delta", "at the end"]
        .iter()
        .any(|law| verdict.contains(law))
}

#[test]
fn a_type_that_keeps_ours_fails() {
    // Two that wrote, and the one heard of the other, whether by a step or by what follows the schedule: a law, then. The
    // smallest that shrinking comes to is not always the smallest there is, so it has some tries.
    let few_steps = (0..5).any(|_| {
        let verdict = verdict::<Ours>();
        assert!(verdict.contains("minimal failing input"), "{verdict}");
        assert!(verdict.contains("shown: found") || breaks_a_law(&verdict), "{verdict}");
        verdict.matches("Edit").count() <= 8
    });
    assert!(few_steps, "no schedule of few steps");
}

/// The same, and nobody says what must be read: it is equal or not by what shows.
#[derive(Clone, Default, PartialEq, Debug)]
struct OursUnsaid(Ours);

impl Derived for OursUnsaid {
    fn follow(&mut self, touched: &Touched) {
        self.0.follow(touched);
    }
}

#[test]
fn a_type_that_keeps_ours_breaks_the_laws() {
    let verdict = verdict::<OursUnsaid>();
    assert!(breaks_a_law(&verdict) || verdict.contains("saved and loaded"), "{verdict}");
}

/// A count that goes up and not down.
#[derive(Clone, Default, PartialEq, Debug)]
struct OnlyUp(usize);

impl Derived for OnlyUp {
    fn follow(&mut self, touched: &Touched) {
        self.0 += usize::from(!touched.was_live() && !values(touched).is_empty());
    }

    fn check(&self, view: &View<'_, Self>) -> Result<(), String> {
        same("count", self.0, view.all().map(|w| w.cell).collect::<BTreeSet<_>>().len())
    }
}

#[test]
fn a_count_that_is_not_kept_up_fails() {
    verdict::<OnlyUp>();
}

/// How often anything changed: not a function of the cells.
#[derive(Clone, Default, PartialEq, Debug)]
struct Changes(usize);

impl Derived for Changes {
    fn follow(&mut self, _: &Touched) {
        self.0 += 1;
    }
}

#[test]
fn what_does_not_lie_in_the_cells_fails() {
    let verdict = verdict::<Changes>();
    let ways = ["saved and loaded", "a refused edit leaves behind", "what the delta of an edit does"];
    assert!(ways.iter().any(|way| verdict.contains(way)), "{verdict}");
}

/// How many tombstones there are.
#[derive(Clone, Default, PartialEq, Debug)]
struct Tombstones(usize);

impl Derived for Tombstones {
    fn follow(&mut self, touched: &Touched) {
        let dead = |siblings: &[driftless::kernel::Sibling]| siblings.iter().filter(|s| !s.is_live()).count();
        self.0 = self.0 + dead(touched.now()) - dead(touched.was());
    }
}

#[test]
fn a_type_that_reads_tombstones_fails() {
    verdict::<Tombstones>();
}

// ---- types that are wrong in few schedules ----

/// The verdict on all schedules of two replicas, and the steps that it tells.
fn explored<D: Derived>() -> (String, Vec<String>) {
    let ops = [Op::Set(0, 1), Op::Unset(0), Op::Set(0, 2), Op::Fail(0)];
    let verdict = try_explore::<Judged<D>>(Scope::new(2, 6), &ops).expect_err("what is wrong passed");
    let steps = verdict.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(". "));
    let steps = steps.map(|(_, step)| step.to_owned()).collect();
    (verdict, steps)
}

#[test]
fn what_is_right_is_right_in_all_schedules() {
    let ops = [Op::Set(0, 1), Op::Unset(0), Op::Fail(0)];
    let found = try_explore::<Judged<Keys>>(Scope::new(2, 5), &ops).unwrap();
    assert!(found.states > 2_000 && found.concurrent * 4 > found.states, "{found}");
}

#[test]
fn of_all_schedules_that_fail_the_shortest_is_told() {
    let (verdict, steps) = explored::<Ours>();
    assert!(verdict.contains("by the laws") && verdict.contains("0: 2"), "{verdict}");
    // Two that do not know of each other; that the one hears of the other is a law's doing.
    assert_eq!(steps.len(), 2, "{verdict}");
}

/// How many keys are there, and a key goes twice: when it is removed, and when its tombstone does.
#[derive(Clone, Default, PartialEq, Debug)]
struct Twice(i32);

impl Derived for Twice {
    fn follow(&mut self, touched: &Touched) {
        let is_live = !values(touched).is_empty();
        self.0 += i32::from(is_live && !touched.was_live()) - i32::from(touched.was_live() && !is_live);
        self.0 -= i32::from(touched.now().is_empty() && !touched.was_live());
    }

    fn check(&self, view: &View<'_, Self>) -> Result<(), String> {
        same("count", self.0, view.all().map(|w| *w.cell).collect::<BTreeSet<_>>().len() as i32)
    }
}

/// A tombstone goes without being pruned when all that somebody holds comes to where part of it is known already.
#[test]
fn a_type_that_is_wrong_when_something_known_comes_again_fails() {
    let (verdict, steps) = explored::<Twice>();
    assert!(verdict.contains("by the laws") && verdict.contains("count: found -1, must be 0"), "{verdict}");
    let elsewhere = |last: &String| last.starts_with("replica 1 gets") || last.starts_with("replica 1 opens");
    assert!(steps.len() <= 5 && steps.last().is_some_and(elsewhere), "{verdict}");
}

/// Keys in the order in which they came, with a place that a removed one keeps: unless its tombstone was forgotten.
#[derive(Clone, Default, Debug)]
struct Places(Vec<(u16, bool)>);

/// The order is the replica's own.
impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Derived for Places {
    fn follow(&mut self, touched: &Touched) {
        let (key, is_live) = (key(touched), !values(touched).is_empty());
        if touched.was().is_empty() {
            self.0.push((key, is_live));
        }
        self.0.iter_mut().filter(|(k, _)| *k == key).for_each(|(_, shown)| *shown = is_live);
    }

    fn check(&self, view: &View<'_, Self>) -> Result<(), String> {
        let mut shown: Vec<u16> = self.0.iter().filter(|(_, shown)| *shown).map(|(k, _)| *k).collect();
        shown.sort_unstable();
        same("keys", shown, view.all().map(|w| *w.cell).collect::<BTreeSet<_>>().into_iter().collect())
    }
}

#[test]
fn a_type_that_is_wrong_once_it_was_pruned_fails() {
    let (verdict, steps) = explored::<Places>();
    assert!(verdict.contains("keys: found [0, 0], must be [0]"), "{verdict}");
    assert_eq!(steps.len(), 4, "{verdict}");
}

// ---- models that are wrong ----

/// Says that setting the same value again writes nothing.
#[derive(Clone, Default, PartialEq, Debug)]
struct Idle;

impl Derived for Idle {
    fn writes(op: &Op, view: &View<'_, Self>) -> Option<Writes<Judged<Self>>> {
        match op {
            Op::Set(k, v) if view.of(k).any(|w| w.value == v) => Some(vec![]),
            _ => right(op, view),
        }
    }
}

#[test]
fn writes_that_the_model_does_not_know_of_fail() {
    // Every run fails; what the smallest history of one shows first depends on chance.
    let verdicts: Vec<String> = (0..20).map(|_| verdict::<Idle>()).collect();
    assert!(verdicts.iter().any(|verdict| verdict.contains("how many writes")), "{verdicts:?}");
}

/// Says that what is not there cannot be removed.
#[derive(Clone, Default, PartialEq, Debug)]
struct Strict;

impl Derived for Strict {
    fn writes(op: &Op, view: &View<'_, Self>) -> Option<Writes<Judged<Self>>> {
        match op {
            Op::Unset(k) if !view.holds(k) => None,
            _ => right(op, view),
        }
    }
}

#[test]
fn an_edit_that_ought_to_be_refused_fails() {
    let verdict = verdict::<Strict>();
    assert!(verdict.contains("must be refused, and was not"), "{verdict}");
}

/// Says that nothing is refused.
#[derive(Clone, Default, PartialEq, Debug)]
struct Lenient;

impl Derived for Lenient {
    fn writes(op: &Op, view: &View<'_, Self>) -> Option<Writes<Judged<Self>>> {
        match op {
            Op::Fail(k) => Some(vec![Write::Put(*k, 7)]),
            _ => right(op, view),
        }
    }
}

#[test]
fn an_edit_that_ought_not_to_be_refused_fails() {
    let verdict = verdict::<Lenient>();
    assert!(verdict.contains("was refused, and must not be"), "{verdict}");
}

/// An add-wins set, of which it is said that removing wins.
enum RemoveWins {}

impl Model for RemoveWins {
    type Type = OrSet<u8>;
    type Op = (u8, bool);
    type Cell = u8;
    type Group = ();
    type Value = bool;

    fn group(_: &u8) {}

    fn apply(edit: &mut Edit<'_, OrSet<u8>>, (k, add): &Self::Op) -> Result<(), EditError> {
        if *add { edit.insert(*k).map(drop) } else { edit.remove(k).map(drop) }
    }

    fn writes((k, add): &Self::Op, view: &driftless::testing::View<'_, Self>, _: usize) -> Option<Writes<Self>> {
        let is_there = view.holds(k) && view.of(k).all(|w| *w.value);
        Some(if *add || is_there { vec![Write::Put(*k, *add)] } else { vec![] })
    }

    fn check(view: &driftless::testing::View<'_, Self>, set: &OrSet<u8>) -> Result<(), String> {
        let removed: BTreeSet<u8> = view.all().filter(|w| !*w.value).map(|w| *w.cell).collect();
        let expected = view.all().map(|w| *w.cell).filter(|k| !removed.contains(k)).collect();
        same("elements", set.iter().copied().collect::<BTreeSet<_>>(), expected)
    }

    fn kind((_, add): &Self::Op) -> &'static str {
        if *add { "add" } else { "remove" }
    }
}

#[test]
fn a_set_in_which_adding_wins_fails_as_one_in_which_removing_wins() {
    let verdict = try_judge::<RemoveWins>((0..3u8, any::<bool>()), 100).expect_err("what is wrong passed");
    assert!(verdict.contains("elements: found {"), "{verdict}");
}

// ---- schedules that are not worth running ----

#[test]
fn operations_that_never_meet_fail() {
    let wide = any::<(u16, u8)>().prop_map(|(k, v)| Op::Set(k, v));
    let verdict = try_judge::<Judged<Keys>>(wide, 50).expect_err("nothing collided, and it passed");
    assert!(verdict.contains("of the cases hold real concurrency"), "{verdict}");
}

#[test]
fn operations_of_a_kind_that_is_never_drawn_fail() {
    let rare = prop_oneof![60 => (0..3u16).prop_map(|k| Op::Set(k, 1)), 1 => (0..3u16).prop_map(Op::Unset)];
    let verdict = try_judge::<Judged<Keys>>(rare, 50).expect_err("a rare operation, and it passed");
    assert!(verdict.contains("of the operations are `unset`"), "{verdict}");
}
