//! The nodes and edges whose vectors are nearest to one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::error::VectorError;
use crate::graph::embed::read_shown;
use crate::graph::{Edge, Graph, Node, keys};
use crate::id::{EdgeId, NodeId};
use crate::kernel::Cells;
use crate::vector::{CoarseQuery, Embedding, Metric, Model, Query};

/// A node and how near its vector is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Neighbor {
    /// The node.
    pub node: NodeId,
    /// Its cosine, dot product or distance, as the [metric](Metric) says.
    pub score: f32,
}

/// An edge and how near its vector is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct EdgeNeighbor {
    /// The edge.
    pub edge: EdgeId,
    /// Its cosine, dot product or distance, as the [metric](Metric) says.
    pub score: f32,
}

/// Searching by vectors.
///
/// Every search is exact: it finds what a look at every vector finds. The first one by a model rounds the vectors of that
/// model to eight bits and lays them side by side, in O(entities · dimension), and edits and merges keep that up from then on;
/// it takes a byte a number and some 90 bytes a vector. A search then passes over these and computes the exact score only
/// where the bound that follows from the rounded one leaves open whether the vector is among the nearest. O(vectors ·
/// dimension), with O(k) of memory.
///
/// That is worth it as long as few vectors are about as near as the last result: where all differ by less than a hundredth
/// of their cosine, each is looked at.
impl Graph {
    /// The `k` nodes whose vectors by a model are nearest to a query, the nearest first, equally near ones by their ids:
    /// the same list in every replica of the same state. Of concurrent vectors of a node the one counts that shows.
    ///
    /// # Errors
    ///
    /// The query is not as long as the model's vectors, or has a number that is not finite.
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
        self.nearest_where(model, query, metric, k, |_| true)
    }

    /// The [`nearest`](Self::nearest) of the nodes that a filter accepts.
    ///
    /// The filter is asked once at most for each node, in no given order, and only for nodes that are nearer than the `k`
    /// nearest accepted so far. A filter that accepts few nodes is asked for many; if an index finds those few, scoring them by
    /// [`Embedding::cosine`](crate::Embedding::cosine) is cheaper.
    ///
    /// # Errors
    ///
    /// Those of [`nearest`](Self::nearest).
    ///
    /// ```
    /// use driftless::{Graph, Metric, Model, Replica, Vector};
    /// let mut replica = Replica::<Graph>::new();
    /// let model = Model::new("tiny", 2)?;
    /// replica.edit(|g| {
    ///     for (name, label, numbers) in [("dog", "Pet", [1.0, 0.1]), ("wolf", "Wild", [0.9, 0.3]), ("cat", "Pet", [0.2, 1.0])] {
    ///         let node = g.add_node(name)?;
    ///         g.label(node, label)?;
    ///         g.embed(node, &model, &Vector::f32(&numbers)?)?;
    ///     }
    ///     Ok(())
    /// })?;
    /// let graph = replica.state();
    /// let pets = graph.nearest_where(&model, &[0.9, 0.3], Metric::Cosine, 2, |node| node.has_label("Pet"))?;
    /// let names: Vec<_> = pets.iter().filter_map(|n| graph.node(n.node)?.name()).collect();
    /// assert_eq!(names, ["dog", "cat"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn nearest_where(
        &self,
        model: &Model,
        query: &[f32],
        metric: Metric,
        k: usize,
        mut accepts: impl FnMut(&Node<'_>) -> bool,
    ) -> Result<Vec<Neighbor>, VectorError> {
        let query = Query::new(model, query, metric)?;
        let cells = |id: NodeId| self.node(id).filter(&mut accepts).map(|node| node.cells);
        let found = self.nearest_of(keys::NODE, model, &query, k, cells);
        Ok(found.map(|(node, score)| Neighbor { node, score }).collect())
    }

    /// The `k` edges whose vectors by a model are nearest to a query, the nearest first: as [`nearest`](Self::nearest), over
    /// the edges whose ends are both there.
    ///
    /// # Errors
    ///
    /// Those of [`nearest`](Self::nearest).
    ///
    /// ```
    /// use driftless::{Graph, Metric, Model, NodeId, Replica, Vector};
    /// let mut replica = Replica::<Graph>::new();
    /// let model = Model::new("tiny", 2)?;
    /// let [ada, note] = ["person:ada", "note:g"].map(NodeId::named);
    /// let (wrote, _) = replica.edit(|g| {
    ///     g.add_node("person:ada")?;
    ///     g.add_node("note:g")?;
    ///     let wrote = g.link(ada, "wrote", note)?;
    ///     g.embed(wrote, &model, &Vector::f32(&[0.6, 0.8])?)?;
    ///     Ok(wrote)
    /// })?;
    /// let nearest = replica.state().nearest_edges(&model, &[0.6, 0.8], Metric::Euclidean, 1)?;
    /// assert_eq!((nearest[0].edge, nearest[0].score), (wrote, 0.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn nearest_edges(
        &self,
        model: &Model,
        query: &[f32],
        metric: Metric,
        k: usize,
    ) -> Result<Vec<EdgeNeighbor>, VectorError> {
        self.nearest_edges_where(model, query, metric, k, |_| true)
    }

    /// The [`nearest_edges`](Self::nearest_edges) that a filter accepts; it is asked as that of
    /// [`nearest_where`](Self::nearest_where).
    ///
    /// # Errors
    ///
    /// Those of [`nearest`](Self::nearest).
    pub fn nearest_edges_where(
        &self,
        model: &Model,
        query: &[f32],
        metric: Metric,
        k: usize,
        mut accepts: impl FnMut(&Edge<'_>) -> bool,
    ) -> Result<Vec<EdgeNeighbor>, VectorError> {
        let query = Query::new(model, query, metric)?;
        let edge = |id: EdgeId| self.hop(id).filter(|edge| !self.is_dangling(edge));
        let cells = |id: EdgeId| edge(id).filter(&mut accepts).map(|edge| edge.cells);
        let found = self.nearest_of(keys::EDGE, model, &query, k, cells);
        Ok(found.map(|(edge, score)| EdgeNeighbor { edge, score }).collect())
    }

    /// The nearest of those entities of a kind that `cells` gives the cells of, with their scores.
    ///
    /// 1. Pass over the rows. The `k` nearest so far, by exact score, are in a heap with the worst on top.
    /// 2. Skip a row whose upper bound is less than the worst of `k`: it cannot be a result, accepted or not.
    /// 3. Of any other, compute the exact score from its cells.
    fn nearest_of<'a, I: From<[u8; 16]> + Copy + Ord>(
        &self,
        kind: u8,
        model: &Model,
        query: &Query,
        k: usize,
        mut cells: impl FnMut(I) -> Option<Cells<'a>>,
    ) -> impl Iterator<Item = (I, f32)> {
        let coarse_query = CoarseQuery::new(query);
        let mut best: BinaryHeap<Ranked<I>> = BinaryHeap::new();
        if k > 0 {
            self.on_demand.rows(&self.state, kind, model).for_each(|id, coarse, numbers| {
                let worst = best.peek().filter(|_| best.len() >= k).map_or(f32::NEG_INFINITY, |worst| worst.nearness);
                // An upper bound that is NaN bounds nothing.
                if coarse_query.upper(numbers, coarse) < worst {
                    return;
                }
                let id = I::from(id);
                let score = |vector: &Embedding<'_>| vector.score_of(query);
                let Some(score) = cells(id).and_then(|cells| read_shown(cells, model, score)) else { return };
                best.push(Ranked { nearness: query.nearness(score), id, score });
                if best.len() > k {
                    best.pop();
                }
            });
        }
        best.into_sorted_vec().into_iter().map(|ranked| (ranked.id, ranked.score))
    }
}

/// The nearer, the less; of equally near ones, the less the id.
struct Ranked<I> {
    nearness: f32,
    id: I,
    score: f32,
}

impl<I: Ord> Ord for Ranked<I> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Never NaN, and 0 stays 0: see `compare`.
        other.nearness.total_cmp(&self.nearness).then_with(|| self.id.cmp(&other.id))
    }
}

impl<I: Ord> PartialOrd for Ranked<I> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<I: Ord> PartialEq for Ranked<I> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<I: Ord> Eq for Ranked<I> {}
