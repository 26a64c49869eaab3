//! Walking a graph breadth first.

use std::collections::{HashSet, VecDeque};

use crate::graph::Graph;
use crate::id::{EdgeId, NodeId};

/// Which way along the edges.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Direction {
    /// From source to target.
    #[default]
    Outgoing,
    /// From target to source.
    Incoming,
    /// Both ways.
    Both,
}

/// A walk breadth first: each node that can be reached once, nearest first, beginning with the start. Dangling edges lead
/// nowhere; a start that is not there reaches nothing. Made by [`Graph::walk`].
///
/// Holds what it has seen: O(nodes reached) of memory.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    graph: &'a Graph,
    direction: Direction,
    edge_type: Option<String>,
    max_depth: usize,
    queue: VecDeque<Step>,
    seen: HashSet<NodeId>,
}

/// One node of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The node.
    pub node: NodeId,
    /// How many edges lie between it and the start.
    pub depth: usize,
    /// The edge by which it was reached; none for the start.
    pub via: Option<EdgeId>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(graph: &'a Graph, start: NodeId) -> Self {
        let first = Step { node: start, depth: 0, via: None };
        let queue = graph.contains_node(start).then_some(first).into_iter().collect();
        let (direction, edge_type, max_depth) = (Direction::Outgoing, None, usize::MAX);
        Self { graph, direction, edge_type, max_depth, queue, seen: HashSet::from([start]) }
    }

    /// Which way to walk; outgoing unless said otherwise.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Only along edges of one type.
    #[must_use]
    pub fn along(mut self, edge_type: impl Into<String>) -> Self {
        self.edge_type = Some(edge_type.into());
        self
    }

    /// No further than this many edges.
    #[must_use]
    pub fn max_depth(mut self, depth: usize) -> Self {
        self.max_depth = depth;
        self
    }
}

impl Iterator for Walk<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let step = self.queue.pop_front()?;
        if step.depth < self.max_depth {
            let ways: &[bool] = match self.direction {
                Direction::Outgoing => &[false],
                Direction::Incoming => &[true],
                Direction::Both => &[false, true],
            };
            for incoming in ways {
                let edge_type = self.edge_type.as_deref();
                for (edge, node) in self.graph.hops(step.node, *incoming, edge_type) {
                    // Types are indexed by hash: make sure.
                    let is_of_type = edge_type.is_none_or(|wanted| edge.edge_type() == wanted);
                    if is_of_type && self.seen.insert(node) {
                        self.queue.push_back(Step { node, depth: step.depth + 1, via: Some(edge.id()) });
                    }
                }
            }
        }
        Some(step)
    }
}
