//! The graph, judged by a model of what a graph means.

#[path = "support/graph.rs"]
mod small;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use driftless::testing::{TestEnvironment, judge};
use driftless::{Direction, Graph, NodeId, Replica, Step};
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
        13 => (thing(), p(), 0..9i32).prop_map(|(t, p, v)| Op::Set(t, p, v)),
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
    // A third of 250 cases has conflicts, give or take a tenth of that.
    for (what, least) in [("concurrency", 0.5), ("conflicts", 0.2), ("hidden survivors", 0.2), ("dangling edges", 0.3)]
    {
        let share = report.cases.of(what);
        assert!(share > least, "{what} in {share} of the cases");
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

/// Who can be gone to from where, by the list of all edges alone.
fn steps(graph: &Graph, direction: Direction, edge_type: Option<&str>) -> Vec<(NodeId, NodeId)> {
    let edges = graph.edges().filter(|edge| edge_type.is_none_or(|t| edge.edge_type() == t));
    let ways = edges.flat_map(|edge| {
        let (source, target) = (edge.source(), edge.target());
        match direction {
            Direction::Outgoing => vec![(source, target)],
            Direction::Incoming => vec![(target, source)],
            Direction::Both => vec![(source, target), (target, source)],
        }
    });
    ways.collect()
}

/// How far each node is from a start, by going along every edge until nothing comes nearer.
fn distances(graph: &Graph, start: NodeId, ways: &[(NodeId, NodeId)]) -> BTreeMap<NodeId, usize> {
    let mut far: BTreeMap<NodeId, usize> = graph.contains_node(start).then_some((start, 0)).into_iter().collect();
    loop {
        let nearer = |(from, to): &(NodeId, NodeId)| {
            let through = far.get(from)? + 1;
            far.get(to).is_none_or(|there| through < *there).then_some((*to, through))
        };
        let Some((to, through)) = ways.iter().find_map(nearer) else { return far };
        far.insert(to, through);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_walk_reaches_what_can_be_reached_once_and_by_the_shortest_way(
        nodes in 1..9usize,
        edges in prop::collection::vec((0..9usize, 0..9usize, 0..2usize), 0..25),
        deleted in prop::collection::vec(0..9usize, 0..3),
        start in 0..9usize,
        max_depth in prop_oneof![Just(usize::MAX), 0..4usize],
    ) {
        const TYPES: [&str; 2] = ["likes", "knows"];
        let mut replica = Replica::<Graph>::with_environment(TestEnvironment::new(1));
        let id = |n: usize| NodeId::named(&format!("node {n}"));
        let all = replica.edit(|g| {
            (0..nodes).try_for_each(|n| g.add_node(&format!("node {n}")).map(drop))?;
            // Some lack an end: it was never added, or it goes.
            edges.iter().try_for_each(|(s, t, kind)| g.link(id(*s), TYPES[*kind], id(*t)).map(drop))?;
            deleted.iter().try_for_each(|n| g.remove_node(id(*n)).map(drop))
        });
        all.unwrap();
        let graph = replica.state();
        for direction in [Direction::Outgoing, Direction::Incoming, Direction::Both] {
            for edge_type in [None, Some(TYPES[0]), Some("none is of this")] {
                let walk = graph.walk(id(start)).direction(direction).max_depth(max_depth);
                let walked: Vec<Step> = match edge_type {
                    Some(edge_type) => walk.along(edge_type).collect(),
                    None => walk.collect(),
                };
                let ways = steps(graph, direction, edge_type);
                let mut far = distances(graph, id(start), &ways);
                far.retain(|_, depth| *depth <= max_depth);
                prop_assert_eq!(walked.len(), far.len());
                prop_assert_eq!(walked.iter().map(|step| (step.node, step.depth)).collect::<BTreeMap<_, _>>(), far.clone());
                prop_assert!(walked.is_sorted_by_key(|step| step.depth));
                for step in walked {
                    let Some(via) = step.via else {
                        prop_assert_eq!((step.node, step.depth), (id(start), 0));
                        continue;
                    };
                    let edge = graph.edge(via).unwrap();
                    let ends = [(edge.source(), edge.target()), (edge.target(), edge.source())];
                    let leads_here = |way: &(NodeId, NodeId)| {
                        way.1 == step.node && far.get(&way.0) == Some(&(step.depth - 1)) && ways.contains(way)
                    };
                    prop_assert!(ends.iter().any(leads_here), "{:?}", step);
                }
            }
        }
    }
}
