//! An approximate index that follows a graph.
//!
//! Like most of its kind, the index can add points and cannot remove them. So a point is only ever *current* or not: a
//! table says which point is a node's current one, and what is not current is skipped when found. Once too many points
//! are dead, the index is built anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use driftless::{Graph, GraphChange, Model, NodeId, Owner};
use hnsw_rs::prelude::{Distance, Hnsw};

/// Links of a point: the usual number for some hundred dimensions.
const LINKS: usize = 16;
/// How many points are looked at to link a new one.
const BREADTH_OF_BUILDING: usize = 64;
/// How many points are looked at, at least, to answer a query.
const BREADTH_OF_SEARCH: usize = 40;
/// One in so many points may be dead before the index is built anew: that costs as much as building it did.
const DEAD: usize = 6;
const MAX_LAYERS: usize = 16;
const EXPECTED: usize = 4_096;

pub(crate) struct Index {
    model: Model,
    points: Hnsw<'static, f32, Angle>,
    /// Whose each point is; none once it is dead.
    owners: Vec<Option<NodeId>>,
    /// The point of each node, with the vector that it was made from.
    current: BTreeMap<NodeId, (usize, Vec<f32>)>,
    pub(crate) took: Duration,
    pub(crate) replaced: usize,
    rebuilt: usize,
}

impl Index {
    pub(crate) fn new(model: &Model) -> Self {
        let (owners, current, took) = (Vec::new(), BTreeMap::new(), Duration::ZERO);
        Self { model: model.clone(), points: empty(), owners, current, took, replaced: 0, rebuilt: 0 }
    }

    /// Follows the changes that a merge reports.
    ///
    /// The vector of a node that goes or comes back does not change by that, so those are looked up again as well.
    pub(crate) fn follow(&mut self, graph: &Graph, changes: impl Iterator<Item = GraphChange>) {
        let nodes = changes.filter_map(|change| match change {
            GraphChange::NodeAdded(node) | GraphChange::NodeRemoved(node) => Some(node),
            GraphChange::EmbeddingChanged { of: Owner::Node(node), model } if model == self.model => Some(node),
            _ => None,
        });
        // Several cells of a node may have changed.
        let nodes: BTreeSet<NodeId> = nodes.collect();
        nodes.into_iter().for_each(|node| self.look_up(graph, node));
    }

    /// Makes the index agree with the graph at one node.
    pub(crate) fn look_up(&mut self, graph: &Graph, node: NodeId) {
        let start = Instant::now();
        let shown = graph.node(node).and_then(|node| node.embedding(&self.model)).map(|shown| unit(shown.iter()));
        let known = self.current.get(&node).map(|(_, numbers)| numbers);
        if known != shown.as_ref() {
            if let Some((point, _)) = self.current.remove(&node) {
                self.owners[point] = None;
                self.replaced += 1;
            }
            if let Some(numbers) = shown {
                self.add(node, numbers);
            }
            if DEAD * (self.owners.len() - self.current.len()) > self.owners.len() {
                self.rebuild();
            }
        }
        self.took += start.elapsed();
    }

    fn add(&mut self, node: NodeId, numbers: Vec<f32>) {
        let point = self.owners.len();
        self.points.insert((&numbers, point));
        self.owners.push(Some(node));
        self.current.insert(node, (point, numbers));
    }

    fn rebuild(&mut self) {
        (self.points, self.owners) = (empty(), Vec::new());
        let current = std::mem::take(&mut self.current);
        current.into_iter().for_each(|(node, (_, numbers))| self.add(node, numbers));
        self.rebuilt += 1;
    }

    /// The `k` nodes that the index takes for the nearest, the nearest first.
    pub(crate) fn nearest(&self, query: &[f32], k: usize) -> Vec<NodeId> {
        let query = unit(query.iter().copied());
        // Among the points found may be dead ones: then look at more.
        let mut wanted = k;
        loop {
            let found = self.points.search(&query, wanted, BREADTH_OF_SEARCH.max(2 * wanted));
            let mut nodes: Vec<NodeId> = found.iter().filter_map(|point| self.owners[point.d_id]).collect();
            if nodes.len() >= k || wanted >= self.owners.len() {
                nodes.truncate(k);
                return nodes;
            }
            wanted *= 2;
        }
    }

    pub(crate) fn holds(&self, node: NodeId) -> bool {
        self.current.contains_key(&node)
    }

    /// Whether it holds the vectors that show, and no other.
    pub(crate) fn agrees(&self, graph: &Graph) -> bool {
        let shown = graph.nodes().filter_map(|node| Some((node.id(), node.embedding(&self.model)?)));
        let mut count = 0;
        let agree = shown.inspect(|_| count += 1).all(|(node, shown)| {
            self.current
                .get(&node)
                .is_some_and(|(point, numbers)| self.owners[*point] == Some(node) && *numbers == unit(shown.iter()))
        });
        agree && count == self.current.len() && count == self.owners.iter().flatten().count()
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dead = self.owners.len() - self.current.len();
        write!(f, "{} points are current, {dead} dead", self.current.len())?;
        write!(f, "; {} were replaced or removed, rebuilt: {}", self.replaced, self.rebuilt)
    }
}

fn empty() -> Hnsw<'static, f32, Angle> {
    Hnsw::new(LINKS, EXPECTED, MAX_LAYERS, BREADTH_OF_BUILDING, Angle)
}

/// Of length 1, so that the dot product is the cosine.
fn unit(numbers: impl Iterator<Item = f32> + Clone) -> Vec<f32> {
    let length = numbers.clone().map(|n| n * n).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    numbers.map(|n| n / length).collect()
}

/// 1 less the cosine, of vectors of length 1.
struct Angle;

impl Distance<f32> for Angle {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        // Eight sums that need not wait for each other.
        let mut sums = [0.0; 8];
        for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
            for lane in 0..8 {
                sums[lane] += a[lane] * b[lane];
            }
        }
        let rest = a.as_chunks::<8>().1.iter().zip(b.as_chunks::<8>().1).map(|(a, b)| a * b);
        (1.0 - sums.iter().sum::<f32>() - rest.sum::<f32>()).max(0.0)
    }
}
