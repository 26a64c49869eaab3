//! The nodes whose vectors are nearest to one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::error::VectorError;
use crate::graph::{Embeddings, Graph, keys};
use crate::id::NodeId;
use crate::vector::{Metric, Model, Query};

/// A node and how near its vector is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Neighbor {
    /// The node.
    pub node: NodeId,
    /// Its cosine, dot product or distance, as the [metric](Metric) says.
    pub score: f32,
}

impl Graph {
    /// The `k` nodes whose vectors by a model are nearest to a query, the nearest first, equally near ones by their ids:
    /// the same list in every replica of the same state.
    ///
    /// Exact: it looks at the vector that shows of every node that is there, in O(nodes · dimension) with O(k) of memory.
    /// Among 100,000 vectors of 384 numbers a query takes 110 to 170 ms on one core of a cloud machine; for more of either,
    /// keep an approximate index beside the graph and let it follow the reports of merges, as the example `nearest` does.
    ///
    /// ```
    /// use driftless::{Graph, Metric, Model, Replica, Vector};
    /// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    /// let model = Model::new("tiny", 2)?;
    /// let (_, delta) = laptop.edit(|g| {
    ///     for (name, numbers) in [("dog", [1.0, 0.1]), ("wolf", [0.9, 0.3]), ("teapot", [-0.2, 1.0])] {
    ///         let node = g.add_node(name)?;
    ///         g.embed(node, &model, &Vector::f32(&numbers)?)?;
    ///     }
    ///     Ok(())
    /// })?;
    /// phone.merge(&delta)?;
    ///
    /// let nearest = phone.state().nearest(&model, &[1.0, 0.2], Metric::Cosine, 2)?;
    /// let names: Vec<_> = nearest.iter().filter_map(|n| phone.state().node(n.node)?.name()).collect();
    /// assert_eq!(names, ["dog", "wolf"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn nearest(
        &self,
        model: &Model,
        query: &[f32],
        metric: Metric,
        k: usize,
    ) -> Result<Vec<Neighbor>, VectorError> {
        let query = Query::new(model, query, metric)?;
        let key = keys::embedding(model);
        // The worst of the best is on top.
        let mut best = BinaryHeap::new();
        for node in self.nodes() {
            let Some(embedding) = Embeddings::new(node.cells).shown_numbers(&key) else { continue };
            let score = embedding.score_of(&query);
            best.push(Ranked { nearness: query.nearness(score), neighbor: Neighbor { node: node.id(), score } });
            if best.len() > k {
                best.pop();
            }
        }
        Ok(best.into_sorted_vec().into_iter().map(|ranked| ranked.neighbor).collect())
    }
}

/// The nearer, the less; of equally near ones, the less the id.
struct Ranked {
    nearness: f32,
    neighbor: Neighbor,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        // Never NaN, and 0 stays 0: see `compare`.
        other.nearness.total_cmp(&self.nearness).then_with(|| self.neighbor.node.cmp(&other.neighbor.node))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}
