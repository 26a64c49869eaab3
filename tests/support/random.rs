//! Random edits and merges of a few replicas of a small graph, and everything that can be read of one.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::testing::TestEnvironment;
use driftless::{Crdt, EdgeId, Edit, EditError, Graph, NodeId, Owner, Properties, Prune, Replica};
use proptest::prelude::*;

pub(crate) const REPLICAS: usize = 2;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Add(usize, bool),
    Remove(usize, bool),
    Restore(usize),
    Label(usize, u8),
    Unlabel(usize, u8),
    Set(usize, u8, i32),
    SetOnEdge(usize, usize, i32),
    Unset(usize, u8),
    Link(usize, usize),
    Unlink(usize, usize),
    RestoreEdge(usize, usize),
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Edit(usize, Vec<Op>),
    Merge(usize),
    Prune(usize),
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let n = || 0..3usize;
    let op = prop_oneof![
        3 => (n(), any::<bool>()).prop_map(|(n, named)| Op::Add(n, named)),
        1 => (n(), any::<bool>()).prop_map(|(n, edges)| Op::Remove(n, edges)),
        1 => n().prop_map(Op::Restore),
        2 => (n(), 0..2u8).prop_map(|(n, l)| Op::Label(n, l)),
        1 => (n(), 0..2u8).prop_map(|(n, l)| Op::Unlabel(n, l)),
        14 => (n(), 0..2u8, 0..4i32).prop_map(|(n, p, v)| Op::Set(n, p, v)),
        2 => (n(), n(), 0..4i32).prop_map(|(s, t, v)| Op::SetOnEdge(s, t, v)),
        1 => (n(), 0..2u8).prop_map(|(n, p)| Op::Unset(n, p)),
        4 => (n(), n()).prop_map(|(s, t)| Op::Link(s, t)),
        2 => (n(), n()).prop_map(|(s, t)| Op::Unlink(s, t)),
        1 => (n(), n()).prop_map(|(s, t)| Op::RestoreEdge(s, t)),
    ];
    prop::collection::vec(op, 1..4)
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || 0..REPLICAS;
    let step = prop_oneof![
        6 => (who(), ops()).prop_map(|(by, ops)| Step::Edit(by, ops)),
        3 => who().prop_map(Step::Merge),
        1 => who().prop_map(Step::Prune),
    ];
    prop::collection::vec(step, 0..40)
}

const NAMES: [&str; 3] = ["ada", "eve", "joe"];

pub(crate) fn node(n: usize) -> NodeId {
    NodeId::named(NAMES[n])
}

fn edge(s: usize, t: usize) -> EdgeId {
    EdgeId::between(node(s), "knows", node(t))
}

/// What cannot be done (a property of a node that is not there) is left out.
pub(crate) fn apply(g: &mut Edit<'_, Graph>, op: &Op) -> Result<(), EditError> {
    let done = match *op {
        Op::Add(n, true) => g.add_node(NAMES[n]).map(drop),
        Op::Add(n, false) => g.add_node(node(n)).map(drop),
        Op::Remove(n, true) => g.remove_node_with_edges(node(n)).map(drop),
        Op::Remove(n, false) => g.remove_node(node(n)).map(drop),
        Op::Restore(n) => g.restore_node(NAMES[n]).map(drop),
        Op::Label(n, l) => g.label(node(n), &l.to_string()),
        Op::Unlabel(n, l) => g.unlabel(node(n), &l.to_string()).map(drop),
        Op::Set(n, p, v) => g.set(node(n), format!("/{p}"), v),
        Op::SetOnEdge(s, t, v) => g.set(edge(s, t), "/0", v),
        Op::Unset(n, p) => g.unset(node(n), format!("/{p}")).map(drop),
        Op::Link(s, t) => g.link(node(s), "knows", node(t)).map(drop),
        Op::Unlink(s, t) => g.unlink(edge(s, t)).map(drop),
        Op::RestoreEdge(s, t) => g.restore_edge(node(s), "knows", node(t), 0).map(drop),
    };
    match done {
        Err(EditError::NoNode(_) | EditError::NoEdge(_)) => Ok(()),
        other => other,
    }
}

/// Replicas that share a clock, so that stamps do not follow ids.
pub(crate) struct World {
    pub(crate) replicas: Vec<Replica<Graph>>,
    clock: Arc<AtomicU64>,
}

impl World {
    /// All have one node and may add the others.
    pub(crate) fn new() -> Self {
        let mut world = Self::empty();
        world.edit(0, &[Op::Add(0, true), Op::Link(0, 0)]);
        (1..REPLICAS).for_each(|to| world.merge(0, to));
        world
    }

    fn empty() -> Self {
        let clock = Arc::new(AtomicU64::new(1_000));
        let replicas = (0..REPLICAS as u64).map(|seed| Replica::with_environment(SharedClock::new(seed, &clock)));
        Self { replicas: replicas.collect(), clock }
    }

    pub(crate) fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.clock.fetch_add(1, Ordering::Relaxed);
            match step {
                Step::Edit(by, ops) => self.edit(*by, ops),
                Step::Merge(to) => self.merge((to + 1) % REPLICAS, *to),
                Step::Prune(by) => drop(self.replicas[*by].prune(Prune::All)),
            }
        }
    }

    pub(crate) fn edit(&mut self, by: usize, ops: &[Op]) {
        self.replicas[by].edit(|g| ops.iter().try_for_each(|op| apply(g, op))).unwrap();
    }

    pub(crate) fn merge(&mut self, from: usize, to: usize) {
        let version = self.replicas[to].version().clone();
        let delta = self.replicas[from].delta_since(&version);
        let delta = delta.unwrap_or_else(|_| self.replicas[from].reconcile(&version, &self.replicas[to].live_dots()));
        self.replicas[to].merge(&delta).unwrap();
    }
}

struct SharedClock {
    random: TestEnvironment,
    clock: Arc<AtomicU64>,
}

impl SharedClock {
    fn new(seed: u64, clock: &Arc<AtomicU64>) -> Self {
        Self { random: TestEnvironment::new(seed), clock: Arc::clone(clock) }
    }
}

impl driftless::Environment for SharedClock {
    fn now_ms(&mut self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn random(&mut self) -> [u8; 16] {
        self.random.random()
    }
}

type Fields = (Vec<String>, BTreeMap<String, String>);

/// Everything that shows, and what is hidden; conflicts aside.
#[derive(PartialEq, Debug)]
pub(crate) struct Reading {
    nodes: BTreeMap<NodeId, (Option<String>, Fields)>,
    edges: BTreeMap<EdgeId, (NodeId, NodeId, Fields)>,
    dangling: BTreeSet<EdgeId>,
    outgoing: BTreeMap<NodeId, Vec<EdgeId>>,
    hidden: BTreeMap<Owner, Fields>,
}

pub(crate) fn reading(graph: &Graph) -> Reading {
    fn fields<'a>(labels: impl Iterator<Item = &'a str>, properties: Properties<'_>) -> Fields {
        let labels = labels.map(str::to_owned).collect();
        (labels, properties.iter().map(|(path, value)| (path.to_string(), value.to_string())).collect())
    }
    Reading {
        nodes: (graph.nodes())
            .map(|n| (n.id(), (n.name().map(str::to_owned), fields(n.labels(), n.properties()))))
            .collect(),
        edges: (graph.edges().chain(graph.dangling()))
            .map(|e| (e.id(), (e.source(), e.target(), fields([].into_iter(), e.properties()))))
            .collect(),
        dangling: graph.dangling().map(|edge| edge.id()).collect(),
        outgoing: graph.nodes().map(|n| (n.id(), graph.outgoing(n.id()).map(|e| e.id()).collect())).collect(),
        hidden: graph.hidden().map(|h| (h.owner(), fields(h.labels(), h.properties()))).collect(),
    }
}

/// The values that each conflict is between.
pub(crate) fn conflicts(graph: &Graph) -> BTreeSet<(Owner, String, BTreeSet<String>)> {
    let values = |c: &driftless::Conflict<'_>| c.candidates.iter().map(|c| c.content.to_string()).collect();
    let edits = graph.conflicts().filter(|c| c.kind == driftless::ConflictKind::ConcurrentEdit);
    edits.filter_map(|c| Some((c.of?, c.path.to_string(), values(&c)))).collect()
}

/// Every cell with its live siblings, as text.
pub(crate) type LiveCells = BTreeMap<(String, Vec<u8>), BTreeSet<String>>;

pub(crate) fn live_cells<T: Crdt>(value: &T) -> LiveCells {
    let mut cells = LiveCells::new();
    for (entity, field, sibling) in value.state().live_siblings() {
        let cell = cells.entry((format!("{entity:?}"), field.as_bytes().to_vec())).or_default();
        cell.insert(format!("{:?}", sibling.to_sibling()));
    }
    cells
}
