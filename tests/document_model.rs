//! Random schedules over a small document, judged by a model of what a document means.

#[path = "support/branching.rs"]
mod branching;
#[path = "support/document.rs"]
mod small;

use branching::judge_branching;
use driftless::testing::judge;
use proptest::prelude::*;
use small::{Op, PATHS, Path, Small};

fn ops() -> impl Strategy<Value = Op> {
    let path = || prop::sample::select(&PATHS[..]);
    // Each kind has a place that it is at home in, so that not everything is refused.
    let at = |home: Path| prop_oneof![4 => Just(home), 1 => path()];
    let number = || -2i64..3;
    prop_oneof![
        9 => (at("c"), -9i64..9).prop_map(|(p, n)| Op::Set(p, n)),
        3 => path().prop_map(Op::Unset),
        3 => (at("ax"), number()).prop_map(|(p, n)| Op::Add(p, n)),
        3 => (at("ay"), number()).prop_map(|(p, n)| Op::Insert(p, n)),
        3 => (at("ay"), number()).prop_map(|(p, n)| Op::Remove(p, n)),
        3 => (at("bx"), number()).prop_map(|(p, n)| Op::Raise(p, n)),
        3 => (at("by"), number()).prop_map(|(p, n)| Op::Lower(p, n)),
        3 => path().prop_map(Op::Empty),
        4 => (path(), number()).prop_map(|(p, n)| Op::Update(p, n)),
        3 => Just(Op::Clear),
    ]
}

#[test]
fn whatever_three_replicas_do_each_reads_what_it_has_seen() {
    let report = judge::<Small>(ops(), 150);
    println!("{report}");
    for what in ["concurrency", "concurrent edits", "several kinds"] {
        let share = report.cases.of(what);
        assert!(share > 0.3, "{what} in {share} of the cases");
    }
    let share = report.cases.of("counters");
    // On average 12 %, give or take 3 in 150 cases.
    assert!(share > 0.01, "counters of several branches in {share} of the cases");
}

#[test]
fn counters_of_copies_and_backups_count_each_amount_once() {
    let number = || -2i64..3;
    let ops = prop_oneof![
        12 => number().prop_map(|n| Op::Add("ax", n)),
        2 => number().prop_map(|n| Op::Add("b", n)),
        1 => Just(Op::Unset("ax")),
        1 => Just(Op::Unset("a")),
        1 => number().prop_map(|n| Op::Update("ax", n)),
        1 => Just(Op::Clear),
    ];
    let share = judge_branching::<Small>(ops, 150, "amounts that several cells hold");
    println!("amounts that several cells hold in {share} of the cases");
    // On average 14 %, give or take 3 in 150 cases.
    assert!(share > 0.02, "in {share} of the cases");
}
