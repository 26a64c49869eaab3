//! The graph, judged by a model of what a graph means.

#[path = "support/graph.rs"]
mod small;

use std::sync::atomic::Ordering;

use driftless::testing::{TestEnvironment, judge};
use driftless::{Graph, Replica};
use proptest::prelude::*;
use small::{Op, Small, Thing};

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        8 => prop_oneof![4 => 0..2u8, 1 => Just(2)].prop_map(Thing::Node),
        1 => (0..3u8, 0..3u8, 0..2u64).prop_map(|(s, t, n)| Thing::Edge(s, t, n)),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    let n = || 0..3u8;
    let p = || prop_oneof![7 => Just(0u8), 1 => Just(1)];
    prop_oneof![
        4 => n().prop_map(Op::AddNode),
        3 => n().prop_map(Op::RemoveNode),
        3 => n().prop_map(Op::RemoveNodeWithEdges),
        3 => n().prop_map(Op::RestoreNode),
        3 => (n(), 0..2u8).prop_map(|(n, l)| Op::Label(n, l)),
        3 => (n(), 0..2u8).prop_map(|(n, l)| Op::Unlabel(n, l)),
        16 => (thing(), p(), 0..9i32).prop_map(|(t, p, v)| Op::Set(t, p, v)),
        3 => (thing(), p()).prop_map(|(t, p)| Op::Unset(t, p)),
        4 => (n(), n(), 0..2u64).prop_map(|(s, t, k)| Op::Link(s, t, k)),
        3 => (n(), n(), 0..2u64).prop_map(|(s, t, k)| Op::Unlink(s, t, k)),
        3 => (n(), n(), 0..2u64).prop_map(|(s, t, k)| Op::RestoreEdge(s, t, k)),
    ]
}

#[test]
fn whatever_three_replicas_do_each_reads_what_it_has_seen() {
    let report = judge::<Small>(ops(), 250);
    println!("{report}");
    for what in ["concurrency", "conflicts", "hidden survivors", "dangling edges"] {
        let share = report.cases.of(what);
        assert!(share > 0.3, "{what} in {share} of the cases");
    }
}

/// What shows can change though the same values are there.
#[test]
fn a_value_that_shows_instead_of_another_is_reported() {
    let environments: [TestEnvironment; 3] = std::array::from_fn(|seed| TestEnvironment::new(seed as u64));
    let clocks: Vec<_> = environments.iter().map(TestEnvironment::clock).collect();
    let [mut a, mut b, mut c] = environments.map(Replica::<Graph>::with_environment);
    let (ada, first) = a.edit(|g| g.add_node("ada")).unwrap();
    b.merge(&first).unwrap();
    c.merge(&first).unwrap();
    let set = |r: &mut Replica<Graph>, clock: usize, time, value: &str| {
        clocks[clock].store(time, Ordering::Relaxed);
        r.edit(|g| g.set(ada, "/name", value)).unwrap().1
    };
    c.merge(&set(&mut a, 0, 1_000_050, "x")).unwrap();
    c.merge(&set(&mut b, 1, 1_000_040, "y")).unwrap();
    assert_eq!(c.state().node(ada).unwrap().get("/name"), Some("x".into()));
    let report = c.merge(&set(&mut b, 1, 1_000_070, "y")).unwrap();
    assert_eq!(c.state().node(ada).unwrap().get("/name"), Some("y".into()));
    assert_eq!(report.changes().count(), 1);
}
