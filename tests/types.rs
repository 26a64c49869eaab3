//! The standalone types, each judged by its reading rule.

#[path = "support/branching.rs"]
mod branching;
#[path = "support/types.rs"]
mod subjects;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use branching::judge_branching;
use driftless::testing::{TestEnvironment, judge};
use driftless::{
    Change, DwFlag, EwFlag, GCounter, LwwRegister, MaxRegister, MinRegister, MvRegister, OrMap, OrSet, PnCounter,
    Replica, RwSet,
};
use proptest::prelude::*;
use subjects::{Judged, Op, Subject};

fn ops<T: Subject>() -> impl Strategy<Value = Op> {
    let op = prop_oneof![
        5 => (0..3u8, 0..6u8).prop_map(|(k, v)| Op::Put(k, v)),
        3 => (0..3u8).prop_map(Op::Take),
        1 => Just(Op::Clear),
    ];
    op.prop_map(T::normal)
}

macro_rules! judged {
    ($($test:ident: $subject:ty),* $(,)?) => {$(
        #[test]
        fn $test() {
            let report = judge::<Judged<$subject>>(ops::<$subject>(), 80);
            println!("{report}");
            let share = report.cases.of("concurrency");
            assert!(share > 0.5, "concurrent operations in {share} of the cases");
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

#[test]
fn counters_of_copies_and_backups_count_each_amount_once() {
    fn judged<T: Subject>() {
        let ops = prop_oneof![8 => (1..6u8).prop_map(|n| Op::Put(0, n)), 2 => Just(Op::Take(1)), 1 => Just(Op::Clear)];
        let ops = ops.prop_filter("takes away", |op| T::normal(*op) == *op || *op == Op::Clear);
        let share = judge_branching::<Judged<T>>(ops, 150, "amounts that several cells hold");
        println!("amounts that several cells hold in {share} of the cases");
        // On average 14 and 28 %, give or take 3 in 150 cases.
        assert!(share > 0.02, "in {share} of the cases");
    }
    judged::<GCounter>();
    judged::<PnCounter>();
}

/// What each merge reports of keys is what has come and gone of what shows, and at least what shows another value.
fn reports_what_shows<T: Subject<Change = Change<u8>>>(shown: fn(&T) -> BTreeMap<u8, u8>) {
    let counts = [const { Cell::new(0) }; 3];
    let step = prop_oneof![3 => ops::<T>().prop_map(Some), 2 => Just(None)];
    let schedule = prop::collection::vec((0..3usize, 0..3usize, step), 0..40);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) };
    let run = proptest::test_runner::TestRunner::new(config).run(&schedule, |schedule| {
        let mut replicas = [1, 2, 3].map(|seed| Replica::<T>::with_environment(TestEnvironment::new(seed)));
        for (at, from, op) in schedule {
            if let Some(op) = op {
                replicas[at].edit(|edit| T::apply(edit, op)).unwrap();
                continue;
            }
            let (before, delta) = (shown(replicas[at].state()), replicas[from].complete());
            let report = replicas[at].merge(&delta).unwrap();
            let after = shown(replicas[at].state());
            let [mut added, mut removed, mut changed] = [const { BTreeSet::new() }; 3];
            for change in report.changes() {
                let is_new = match change {
                    Change::Added(key) => added.insert(key),
                    Change::Removed(key) => removed.insert(key),
                    Change::Changed(key) => changed.insert(key),
                };
                prop_assert!(is_new, "a key twice");
            }
            let difference = |a: &BTreeMap<u8, u8>, b: &BTreeMap<u8, u8>| -> BTreeSet<u8> {
                a.keys().copied().filter(|key| !b.contains_key(key)).collect()
            };
            prop_assert!(added == difference(&after, &before), "{added:?} added");
            prop_assert!(removed == difference(&before, &after), "{removed:?} removed");
            for (key, value) in &before {
                let shows_another = after.get(key).is_some_and(|now| now != value);
                prop_assert!(!shows_another || changed.contains(key), "{} changed", key);
            }
            prop_assert!(changed.iter().all(|key| before.contains_key(key) && after.contains_key(key)));
            [added, removed, changed].iter().zip(&counts).for_each(|(keys, count)| count.set(count.get() + keys.len()));
        }
        Ok(())
    });
    run.unwrap();
    println!("{:?} added, removed, changed", counts.each_ref().map(Cell::get));
    assert!(counts[0].get() > 100 && counts[1].get() > 30, "{counts:?}");
}

#[test]
fn a_merge_reports_what_it_did_to_a_set_and_a_map() {
    reports_what_shows::<OrSet<u8>>(|set| set.iter().map(|element| (*element, 0)).collect());
    reports_what_shows::<RwSet<u8>>(|set| set.iter().map(|element| (*element, 0)).collect());
    reports_what_shows::<OrMap<u8, u8>>(|map| map.iter().map(|(key, value)| (*key, *value)).collect());
}

#[test]
fn a_merge_reports_what_it_did_to_what_has_one_place() {
    let two = || [1, 2].map(|seed| Replica::<EwFlag>::with_environment(TestEnvironment::new(seed)));
    let [mut a, mut b] = two();
    a.edit(|flag| flag.enable()).unwrap();
    let changes = |report: driftless::MergeReport<EwFlag>| report.changes().collect::<Vec<_>>();
    assert_eq!(changes(b.merge(&a.complete()).unwrap()), [Change::Added(())]);
    assert_eq!(changes(b.merge(&a.complete()).unwrap()), []);
    a.edit(|flag| flag.disable()).unwrap();
    assert_eq!(changes(b.merge(&a.complete()).unwrap()), [Change::Removed(())]);
    // On by two is one more write, and on as before.
    let [mut a, mut b] = two();
    a.edit(|flag| flag.enable()).unwrap();
    b.edit(|flag| flag.enable()).unwrap();
    assert_eq!(changes(b.merge(&a.complete()).unwrap()), [Change::Changed(())]);

    let mut register = Replica::<LwwRegister<String>>::with_environment(TestEnvironment::new(3));
    let mut other = Replica::<LwwRegister<String>>::with_environment(TestEnvironment::new(4));
    register.edit(|r| r.set("one".into())).unwrap();
    let report = other.merge(&register.complete()).unwrap();
    assert_eq!(report.changes().collect::<Vec<_>>(), [Change::Added(())]);
    register.edit(|r| r.set("another".into())).unwrap();
    let report = other.merge(&register.complete()).unwrap();
    assert_eq!(report.changes().collect::<Vec<_>>(), [Change::Changed(())]);
}

#[test]
fn the_place_of_a_key_in_a_map_is_filled_or_changed_by_what_shows_there() {
    let mut replica = Replica::<OrMap<String, u32>>::with_environment(TestEnvironment::new(1));
    let (shown, _) = replica
        .edit(|map| {
            assert_eq!(map.entry("pear".into()).key(), "pear");
            assert_eq!(map.entry("pear".into()).or_insert(3)?, 3);
            assert_eq!(map.entry("pear".into()).or_insert_with(|| unreachable!("one shows"))?, 3);
            assert_eq!(map.entry("plum".into()).and_modify(|n| *n += 1)?.or_insert_with(|| 7)?, 7);
            map.entry("pear".into()).and_modify(|n| *n += 1)?.or_insert(9)
        })
        .unwrap();
    assert_eq!(shown, 4);
    let map = replica.state();
    assert_eq!(map.iter().map(|(key, n)| (key.as_str(), *n)).collect::<Vec<_>>(), [("pear", 4), ("plum", 7)]);
    assert_eq!((map.keys().count(), map.values().sum::<u32>(), map.len()), (2, 11, 2));
    assert!(map.contains_key(&"pear".into()) && !map.is_empty() && map.get(&"fig".into()).is_none());
    // What a closure leaves as it was is not written.
    let before = replica.version().clone();
    replica.edit(|map| map.entry("pear".into()).and_modify(|n| *n = 4).map(drop)).unwrap();
    assert_eq!(replica.version(), &before);
    // Two that filled a place at once: both are there, the later shows.
    let environments = [2, 3].map(TestEnvironment::new);
    let clock = environments[0].clock();
    let [mut a, mut b] = environments.map(Replica::<OrMap<String, u32>>::with_environment);
    clock.fetch_add(1_000, Ordering::Relaxed);
    a.edit(|map| map.entry("fig".into()).or_insert(1)).unwrap();
    b.edit(|map| map.entry("fig".into()).or_insert(2)).unwrap();
    b.merge(&a.complete()).unwrap();
    let mut all: Vec<u32> = b.state().get_all(&"fig".into()).collect();
    all.sort_unstable();
    assert_eq!(all, [1, 2]);
    assert_eq!(b.state().get(&"fig".into()), Some(&1));
    b.edit(|map| map.entry("fig".into()).and_modify(|n| *n = 5).map(drop)).unwrap();
    assert_eq!(b.state().get_all(&"fig".into()).collect::<Vec<_>>(), [5]);
    b.edit(|map| map.clear()).unwrap();
    assert!(b.state().is_empty());
}
