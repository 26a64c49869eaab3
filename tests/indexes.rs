//! Each index of a graph against a plain scan, through random schedules of edits, failed edits, merges, snapshots, reverts,
//! repairs, pruning and loading.

use std::ops::Bound;

use driftless::testing::TestEnvironment;
use driftless::{
    EdgeId, EdgeNeighbor, Edit, EditError, Graph, IndexError, Metric, Model, Neighbor, NodeId, Prune, Replica, Value,
    Vector,
};
use proptest::prelude::*;

const NODES: u8 = 4;
const TYPES: [&str; 2] = ["knows", "likes"];
const LABELS: [&str; 2] = ["Person", "Note"];
/// The second lies below the first.
const PATHS: [&str; 2] = ["/a", "/a/b"];
const VALUES: [Value<'_>; 12] = [
    Value::Null,
    Value::Bool(false),
    Value::Bool(true),
    Value::Int(-1),
    Value::Int(1),
    Value::Float(1.0),
    Value::Float(-0.5),
    Value::Uint(u64::MAX),
    Value::Str(""),
    Value::Str("a"),
    Value::Str("a text that is longer than what lies in a key without an allocation"),
    Value::Bytes(b"a"),
];
const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::Euclidean];

#[derive(Clone, Debug)]
enum Op {
    Add(u8),
    Remove(u8),
    RemoveWithEdges(u8),
    Restore(u8),
    Link(u8, u8, u8),
    Unlink(u8, u8, u8),
    RestoreEdge(u8, u8, u8),
    /// A vector of a node by one of two models.
    Embed(u8, u8, u8),
    Unembed(u8, u8),
    EmbedEdge(u8, u8, u8, u8),
    Label(u8, u8),
    Unlabel(u8, u8),
    /// A value of a node at one of two paths.
    Set(u8, u8, u8),
    SetEdge(u8, u8, u8, u8),
    Unset(u8, u8),
    /// Makes the path a counter, a maximum or a map, if it is nothing else yet.
    Count(u8, u8),
    Raise(u8, u8, u8),
    SetBelow(u8, u8, u8),
}

#[derive(Clone, Debug)]
enum Step {
    /// Some operations in one edit, and whether it fails after them.
    Edit(usize, Vec<Op>, bool),
    Merge(usize, usize),
    Snapshot(usize),
    /// Back to the last snapshot of any replica.
    Revert(usize),
    Repair(usize, usize),
    Prune(usize),
    Load(usize),
    /// Declares an index of one of two paths.
    Declare(usize, u8),
    /// Asks a replica, or the last snapshot: the first question builds what answers it.
    Ask(Option<usize>),
}

fn op() -> impl Strategy<Value = Op> {
    let n = || 0..NODES;
    let t = || 0..2u8;
    prop_oneof![
        4 => n().prop_map(Op::Add),
        2 => n().prop_map(Op::Remove),
        1 => n().prop_map(Op::RemoveWithEdges),
        3 => n().prop_map(Op::Restore),
        4 => (n(), t(), n()).prop_map(|(s, t, e)| Op::Link(s, t, e)),
        2 => (n(), t(), n()).prop_map(|(s, t, e)| Op::Unlink(s, t, e)),
        2 => (n(), t(), n()).prop_map(|(s, t, e)| Op::RestoreEdge(s, t, e)),
        6 => (n(), t(), 0..30u8).prop_map(|(n, m, v)| Op::Embed(n, m, v)),
        2 => (n(), t()).prop_map(|(n, m)| Op::Unembed(n, m)),
        4 => (n(), t(), n(), 0..30u8).prop_map(|(s, t, e, v)| Op::EmbedEdge(s, t, e, v)),
        4 => (n(), t()).prop_map(|(n, l)| Op::Label(n, l)),
        2 => (n(), t()).prop_map(|(n, l)| Op::Unlabel(n, l)),
        8 => (n(), t(), 0..VALUES.len() as u8).prop_map(|(n, p, v)| Op::Set(n, p, v)),
        3 => (n(), t(), n(), 0..VALUES.len() as u8).prop_map(|(s, t, e, v)| Op::SetEdge(s, t, e, v)),
        2 => (n(), t()).prop_map(|(n, p)| Op::Unset(n, p)),
        1 => (n(), t()).prop_map(|(n, p)| Op::Count(n, p)),
        1 => (n(), t(), 0..VALUES.len() as u8).prop_map(|(n, p, v)| Op::Raise(n, p, v)),
        1 => (n(), t(), 0..VALUES.len() as u8).prop_map(|(n, p, v)| Op::SetBelow(n, p, v)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let site = || 0..2usize;
    prop_oneof![
        10 => (site(), prop::collection::vec(op(), 1..5), prop::bool::weighted(0.2)).prop_map(|(s, o, f)| Step::Edit(s, o, f)),
        5 => (site(), site()).prop_map(|(a, b)| Step::Merge(a, b)),
        2 => site().prop_map(Step::Snapshot),
        1 => site().prop_map(Step::Revert),
        1 => (site(), site()).prop_map(|(a, b)| Step::Repair(a, b)),
        1 => site().prop_map(Step::Prune),
        1 => site().prop_map(Step::Load),
        3 => (site(), 0..2u8).prop_map(|(s, p)| Step::Declare(s, p)),
        3 => prop::option::weighted(0.7, site()).prop_map(Step::Ask),
    ]
}

fn name(n: u8) -> String {
    format!("node {n}")
}

fn node(n: u8) -> NodeId {
    NodeId::named(&name(n))
}

fn edge(s: u8, t: u8, e: u8) -> EdgeId {
    EdgeId::between(node(s), TYPES[usize::from(t)], node(e))
}

/// Two models of one name, of which one is longer than a load.
fn model(m: u8) -> Model {
    Model::new("model", [3, 17][usize::from(m)]).unwrap()
}

fn numbers(m: u8, v: u8) -> Vec<f32> {
    let number = |i: usize| match (v % 10, i) {
        (0, _) => 0.0,
        (1, 0) => f32::MAX / 2.0,
        (2, _) => f32::from_bits(1 + i as u32),
        (v, i) => f32::from(v) - 5.0 + (i * usize::from(v)) as f32 / 7.0,
    };
    (0..model(m).dimension()).map(number).collect()
}

fn vector(m: u8, v: u8) -> Vector {
    let numbers = numbers(m, v);
    match v / 10 {
        0 => Vector::f32(&numbers),
        1 => Vector::f16(&numbers).or_else(|_| Vector::f32(&numbers)),
        _ => Vector::i8(&numbers),
    }
    .unwrap()
}

fn apply(g: &mut Edit<'_, Graph>, op: &Op) -> Result<(), EditError> {
    let there = |g: &Edit<'_, Graph>, n: u8| g.contains_node(node(n));
    match *op {
        Op::Add(n) => g.add_node(&name(n)).map(drop),
        Op::Remove(n) => g.remove_node(node(n)).map(drop),
        Op::RemoveWithEdges(n) => g.remove_node_with_edges(node(n)).map(drop),
        Op::Restore(n) => g.restore_node(&name(n)).map(drop),
        Op::Link(s, t, e) => g.link(node(s), TYPES[usize::from(t)], node(e)).map(drop),
        Op::Unlink(s, t, e) => g.unlink(edge(s, t, e)).map(drop),
        Op::RestoreEdge(s, t, e) => g.restore_edge(node(s), TYPES[usize::from(t)], node(e), 0).map(drop),
        Op::Embed(n, m, v) if there(g, n) => g.embed(node(n), &model(m), &vector(m, v)),
        Op::Unembed(n, m) if there(g, n) => g.unembed(node(n), &model(m)).map(drop),
        Op::EmbedEdge(s, t, e, v) if g.contains_edge(edge(s, t, e)) => g.embed(edge(s, t, e), &model(0), &vector(0, v)),
        Op::Label(n, l) if there(g, n) => g.label(node(n), LABELS[usize::from(l)]),
        Op::Unlabel(n, l) if there(g, n) => g.unlabel(node(n), LABELS[usize::from(l)]).map(drop),
        Op::SetEdge(s, t, e, v) if g.contains_edge(edge(s, t, e)) => {
            allowed(g.set(edge(s, t, e), PATHS[0], VALUES[usize::from(v)]))
        }
        Op::Set(n, p, v) if there(g, n) => allowed(g.set(node(n), PATHS[usize::from(p)], VALUES[usize::from(v)])),
        Op::Unset(n, p) if there(g, n) => allowed(g.properties_mut(node(n)).unset(PATHS[usize::from(p)]).map(drop)),
        Op::Count(n, p) if there(g, n) => allowed(g.properties_mut(node(n)).add(PATHS[usize::from(p)], 2)),
        Op::Raise(n, p, v) if there(g, n) => {
            allowed(g.properties_mut(node(n)).raise(PATHS[usize::from(p)], VALUES[usize::from(v)]).map(drop))
        }
        Op::SetBelow(n, p, v) if there(g, n) => {
            let path = format!("{}/below", PATHS[usize::from(p)]);
            allowed(g.set(node(n), path, VALUES[usize::from(v)]))
        }
        _ => Ok(()),
    }
}

/// A path of another kind refuses, and the edit goes on.
fn allowed(written: Result<(), EditError>) -> Result<(), EditError> {
    match written {
        Err(EditError::OtherKind { .. } | EditError::IntoScalar { .. } | EditError::Misfit { .. }) => Ok(()),
        written => written,
    }
}

/// The nearest by a look at every vector, by what is public of a single one.
fn scanned<'a, I: Ord + Copy>(
    all: impl Iterator<Item = (I, driftless::Embeddings<'a>)>,
    (m, query): (u8, &[f32]),
    metric: Metric,
    k: usize,
) -> Vec<(I, f32)> {
    let mut probe = Replica::<Graph>::with_environment(TestEnvironment::new(9));
    let at = NodeId::named("query");
    probe.edit(|g| g.add_node("query").and_then(|_| g.embed(at, &model(m), &Vector::f32(query)?))).unwrap();
    let query = probe.state().node(at).unwrap().embedding(&model(m)).unwrap();
    let score = |embedding: driftless::Embedding<'_>| match metric {
        Metric::Cosine => embedding.cosine(&query).unwrap(),
        Metric::Dot => embedding.dot(&query).unwrap(),
        _ => embedding.euclidean(&query).unwrap(),
    };
    let mut found: Vec<(I, f32)> = all.filter_map(|(id, e)| Some((id, score(e.get(&model(m))?)))).collect();
    found.sort_by(|(a, x), (b, y)| {
        let by_score = if metric == Metric::Euclidean { x.total_cmp(y) } else { y.total_cmp(x) };
        by_score.then_with(|| a.cmp(b))
    });
    found.truncate(k);
    found
}

fn check_nearest(graph: &Graph) {
    let queries = [(0, 4), (0, 0), (0, 1), (0, 2), (1, 7)].map(|(m, v)| (m, numbers(m, v)));
    for ((m, query), metric) in queries.iter().flat_map(|query| METRICS.map(|metric| (query, metric))) {
        for k in [0, 1, 2, 20] {
            let found = graph.nearest(&model(*m), query, metric, k).unwrap();
            let nodes = || graph.nodes().map(|node| (node.id(), node.embeddings()));
            let expected = scanned(nodes(), (*m, query), metric, k);
            assert_eq!(found, neighbors(expected), "{metric:?} {k}");
            let found = graph.nearest_where(&model(*m), query, metric, k, |n| n.id() > node(1)).unwrap();
            let expected = scanned(nodes().filter(|(id, _)| *id > node(1)), (*m, query), metric, k);
            assert_eq!(found, neighbors(expected), "{metric:?} {k} with a filter");
            let edges = || graph.edges().map(|edge| (edge.id(), edge.embeddings()));
            let found = graph.nearest_edges(&model(*m), query, metric, k).unwrap();
            let expected = scanned(edges(), (*m, query), metric, k);
            assert_eq!(found, edge_neighbors(expected), "edges {metric:?} {k}");
            let found = graph.nearest_edges_where(&model(*m), query, metric, k, |e| e.edge_type() == TYPES[0]).unwrap();
            let of_type = edges().filter(|(id, _)| graph.edge(*id).unwrap().edge_type() == TYPES[0]);
            assert_eq!(found, edge_neighbors(scanned(of_type, (*m, query), metric, k)), "edges with a filter");
        }
    }
}

fn neighbors(found: Vec<(NodeId, f32)>) -> Vec<Neighbor> {
    found.into_iter().map(|(node, score)| Neighbor { node, score }).collect()
}

fn edge_neighbors(found: Vec<(EdgeId, f32)>) -> Vec<EdgeNeighbor> {
    found.into_iter().map(|(edge, score)| EdgeNeighbor { edge, score }).collect()
}

fn check_labels_and_types(graph: &Graph) {
    for label in LABELS {
        let found: Vec<_> = graph.nodes_with_label(label).map(|node| node.id()).collect();
        let expected: Vec<_> = graph.nodes().filter(|node| node.has_label(label)).map(|node| node.id()).collect();
        assert_eq!(found, expected, "{label}");
    }
    for edge_type in TYPES {
        let found: Vec<_> = graph.edges_of_type(edge_type).map(|edge| edge.id()).collect();
        let of_type = graph.edges().filter(|edge| edge.edge_type() == edge_type);
        assert_eq!(found, of_type.map(|edge| edge.id()).collect::<Vec<_>>(), "{edge_type}");
    }
}

fn in_order<'a, I: Ord>(values: impl Iterator<Item = (I, Option<Value<'a>>)>) -> Vec<(Value<'a>, I)> {
    let mut all: Vec<_> = values.filter_map(|(id, value)| Some((value?, id))).collect();
    all.sort_by(|(a, x), (b, y)| a.total_cmp(b).then_with(|| x.cmp(y)));
    all
}

fn check_values(graph: &Graph) {
    for path in PATHS {
        let nodes = in_order(graph.nodes().map(|node| (node.id(), node.get(path))));
        let edges = in_order(graph.edges().map(|edge| (edge.id(), edge.get(path))));
        let Ok(all) = graph.nodes_within(path, ..) else {
            assert_eq!(graph.nodes_by(path, 1).err(), Some(IndexError::NotIndexed(path.to_owned())));
            continue;
        };
        assert_eq!(all.map(|node| node.id()).collect::<Vec<_>>(), nodes.iter().map(|(_, id)| *id).collect::<Vec<_>>());
        for (a, b) in VALUES.iter().flat_map(|a| VALUES.iter().map(move |b| (a, b))) {
            let bounds = [
                (Bound::Included(*a), Bound::Included(*b)),
                (Bound::Excluded(*a), Bound::Excluded(*b)),
                (Bound::Unbounded, Bound::Excluded(*b)),
                (Bound::Excluded(*a), Bound::Unbounded),
            ];
            for bounds in bounds {
                let is_within = |value: &Value<'_>| {
                    let starts = match bounds.0 {
                        Bound::Included(a) => a.total_cmp(value).is_le(),
                        Bound::Excluded(a) => a.total_cmp(value).is_lt(),
                        Bound::Unbounded => true,
                    };
                    starts
                        && match bounds.1 {
                            Bound::Included(b) => value.total_cmp(&b).is_le(),
                            Bound::Excluded(b) => value.total_cmp(&b).is_lt(),
                            Bound::Unbounded => true,
                        }
                };
                let found = graph.nodes_within(path, bounds).unwrap().map(|node| node.id());
                let expected = nodes.iter().filter(|(value, _)| is_within(value)).map(|(_, id)| *id);
                assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{path} {bounds:?}");
                let found = graph.edges_within(path, bounds).unwrap().map(|edge| edge.id());
                let expected = edges.iter().filter(|(value, _)| is_within(value)).map(|(_, id)| *id);
                assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "edges {path} {bounds:?}");
            }
        }
        for value in VALUES {
            let found = graph.nodes_by(path, value).unwrap().map(|node| node.id());
            let expected = nodes.iter().filter(|(other, _)| *other == value).map(|(_, id)| *id);
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{path} {value}");
            let found = graph.edges_by(path, value).unwrap().map(|edge| edge.id());
            let expected = edges.iter().filter(|(other, _)| *other == value).map(|(_, id)| *id);
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "edges {path} {value}");
        }
    }
}

fn ask(graph: &Graph) {
    check_nearest(graph);
    check_labels_and_types(graph);
    check_values(graph);
}

/// Two replicas; if they are given the same randomness, they write as one writer, and dots have two contents.
fn run(steps: &[Step], is_one_writer: bool) {
    let environment = |site: u64| TestEnvironment::new(if is_one_writer { 1 } else { site });
    let mut sites: Vec<_> = (0..2).map(|site| Replica::<Graph>::with_environment(environment(site))).collect();
    let mut last = sites[0].snapshot();
    let mut opened = 10;
    for step in steps {
        match step {
            Step::Edit(site, ops, fails) => {
                let edited = sites[*site].edit(|g| {
                    ops.iter().try_for_each(|op| apply(g, op))?;
                    if *fails { Err(EditError::abort("thought better of it")) } else { Ok(()) }
                });
                assert_eq!(edited.is_err(), *fails);
            }
            Step::Merge(from, to) => {
                let to_version = sites[*to].version().clone();
                let delta = sites[*from].delta_since(&to_version);
                let delta = delta.unwrap_or_else(|_| sites[*from].reconcile(&to_version, &sites[*to].live_dots()));
                sites[*to].merge(&delta).unwrap();
            }
            Step::Snapshot(site) => last = sites[*site].snapshot(),
            Step::Revert(site) => {
                // A snapshot of what has not been seen here cannot be gone back to.
                let _ = sites[*site].edit(|g| g.revert_to(&last));
            }
            Step::Repair(from, to) => {
                let theirs = sites[*from].complete_with_tombstones();
                // Only of equal versions.
                let _ = sites[*to].repair(&theirs);
            }
            Step::Prune(site) => drop(sites[*site].prune(Prune::All)),
            Step::Load(site) => {
                let bytes = sites[*site].save();
                opened += 1;
                sites[*site] = Replica::load_with(TestEnvironment::new(opened), &bytes).unwrap();
            }
            Step::Declare(site, path) => sites[*site].state().index_property(PATHS[usize::from(*path)]).unwrap(),
            Step::Ask(Some(site)) => ask(sites[*site].state()),
            Step::Ask(None) => ask(&last),
        }
        for graph in sites.iter().map(Replica::state).chain([&last]) {
            graph.check_invariants().unwrap();
        }
    }
    sites.iter().for_each(|site| ask(site.state()));
    ask(&last);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_index_finds_what_a_scan_finds(steps in prop::collection::vec(step(), 1..30)) {
        run(&steps, false);
    }

    #[test]
    fn every_index_follows_what_settles_two_contents_of_a_dot(steps in prop::collection::vec(step(), 1..30)) {
        run(&steps, true);
    }
}

#[test]
fn an_index_is_neither_saved_nor_equal_relevant_and_snapshots_and_forks_have_it() {
    let mut replica = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    let bare = replica.snapshot();
    assert_eq!(replica.state().nodes_by("/a", 1).err(), Some(IndexError::NotIndexed("/a".to_owned())));
    assert!(matches!(replica.state().nodes_by("a", 1).err(), Some(IndexError::Path(_))));
    assert!(replica.state().index_property("a").is_err());
    replica.edit(|g| g.add_node("n").and_then(|n| g.set(n, "/a", 1))).unwrap();
    let before = (replica.save(), replica.snapshot());
    replica.state().index_property("/a").unwrap();
    assert_eq!((replica.save(), replica.state()), (before.0.clone(), &before.1));
    let (snapshot, mut fork) = (replica.snapshot(), replica.fork());
    fork.edit(|g| g.set(NodeId::named("n"), "/a", 2)).unwrap();
    let count = |graph: &Graph, value: i32| graph.nodes_by("/a", value).map(Iterator::count);
    assert_eq!((count(&snapshot, 1), count(&snapshot, 2)), (Ok(1), Ok(0)));
    assert_eq!((count(fork.state(), 1), count(fork.state(), 2)), (Ok(0), Ok(1)));
    assert!(count(&bare, 1).is_err());
    let loaded = Replica::<Graph>::load_with(TestEnvironment::new(2), &before.0).unwrap();
    assert!(count(loaded.state(), 1).is_err());
}

/// A filter that asks the graph, or searches it, meets no lock.
#[test]
fn a_search_within_a_filter_of_a_search_ends() {
    let mut replica = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    replica
        .edit(|g| {
            (0..NODES).try_for_each(|n| g.add_node(&name(n)).and_then(|id| g.embed(id, &model(0), &vector(0, 3 + n))))
        })
        .unwrap();
    let graph = replica.state();
    let query = numbers(0, 4);
    let nearest = graph.nearest_where(&model(0), &query, Metric::Cosine, 1, |node| {
        graph.index_property("/a").unwrap();
        let own = node.embedding(&model(0)).unwrap().to_vec();
        graph.nearest(&model(0), &own, Metric::Euclidean, 1).unwrap()[0].node == node.id()
    });
    assert_eq!(nearest.unwrap().len(), 1);
}
