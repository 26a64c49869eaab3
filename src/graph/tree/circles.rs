//! Breaking circles: which of its claims each node follows.
//!
//! Every node follows its first claim. A circle is broken at its latest claim, whose node follows its next one; a node that is out of
//! claims is detached. This goes on until there is no circle.
//!
//! The order in which circles are broken makes no difference. Those of a map from nodes to parents are disjoint; breaking one
//! changes one node's claim, so every other circle stays as it is until it is broken at its own latest claim. Any two breaks commute,
//! and there are finitely many claims, so all orders end alike (Newman 1942).

use std::collections::HashMap;

use crate::clock::Stamp;
use crate::graph::tree::claims::Claims;
use crate::graph::tree::forest::Forest;
use crate::graph::tree::index::TreeIndex;
use crate::id::{Dot, NodeId};
use crate::kernel::visits;

/// A node that may follow another claim than before.
pub(super) struct Open {
    pub(super) claims: Claims,
    /// The number of the claim that it follows; as many as there are, if it is out of claims.
    pub(super) at: usize,
}

pub(super) struct Breaking<'a, F> {
    index: &'a TreeIndex,
    claims: F,
    pub(super) open: HashMap<NodeId, Open>,
    /// Each node that was walked over, and whether its way is known to end: no break changes such a way.
    ends: HashMap<NodeId, bool>,
    /// The nodes of circles that were broken, with all whose claims bear on it.
    pub(super) knots: Vec<Vec<NodeId>>,
}

/// The nodes around a circle.
#[derive(Default)]
struct Tangle {
    forest: Forest<Option<(Stamp, Dot)>>,
    nodes: Vec<NodeId>,
    numbers: HashMap<NodeId, usize>,
    todo: Vec<usize>,
}

impl<'a, F: Fn(NodeId) -> Claims> Breaking<'a, F> {
    /// Breaks the circles that go through any of these nodes, all of which follow their first claims. O(nodes on the ways from them);
    /// for those around circles, and for each break, times log n.
    pub(super) fn new(index: &'a TreeIndex, changed: &[NodeId], claims: F) -> Self {
        let open = changed.iter().map(|node| (*node, Open { claims: claims(*node), at: 0 })).collect();
        let mut breaking = Self { index, claims, open, ends: HashMap::new(), knots: Vec::new() };
        match changed {
            [node] if !breaking.is_above_itself(*node) => {}
            _ => changed.iter().for_each(|node| breaking.walk(*node)),
        }
        breaking
    }

    /// Returns whether a circle goes through a node: the quick look at a single change, by which no other circle can have come.
    fn is_above_itself(&self, node: NodeId) -> bool {
        // A node that no other follows is above none.
        if self.index.children(Some(node), None).next().is_none() && self.parent(node) != Some(node) {
            return false;
        }
        std::iter::successors(self.parent(node), |above| self.parent(*above).filter(|_| *above != node))
            .any(|above| above == node)
    }

    /// The node that a node follows; none if its way ends there.
    fn parent(&self, node: NodeId) -> Option<NodeId> {
        visits::count(1);
        match self.open.get(&node) {
            Some(open) => open.claims.get(open.at)?.spot.parent,
            None => self.index.shown(node)??.parent,
        }
    }

    fn walk(&mut self, from: NodeId) {
        let (mut path, mut at) = (Vec::new(), Some(from));
        while let Some(node) = at {
            match self.ends.get(&node) {
                Some(true) => break,
                Some(false) => {
                    self.untie(node);
                    break;
                }
                None => {}
            }
            self.ends.insert(node, false);
            path.push(node);
            at = self.parent(node);
        }
        self.ends.extend(path.into_iter().map(|node| (node, true)));
    }

    /// Breaks the circle through a node, and those that this makes.
    fn untie(&mut self, on_circle: NodeId) {
        let mut tangle = Tangle::default();
        let mut at = Some(on_circle);
        while let Some(node) = at.filter(|node| !tangle.numbers.contains_key(node)) {
            self.tie(&mut tangle, node);
            at = self.parent(node);
        }
        while let Some(mut number) = tangle.todo.pop() {
            // A root, which is to hang from the node that it follows.
            while let Some(parent) = self.tied_parent(&mut tangle, number) {
                if tangle.forest.root(parent) != number {
                    tangle.forest.link(number, parent);
                    break;
                }
                let latest = tangle.forest.greatest(parent);
                let rank = self.give_way(tangle.nodes[latest]);
                if latest == number {
                    tangle.forest.set(number, rank);
                } else {
                    tangle.forest.cut(latest);
                    tangle.forest.set(latest, rank);
                    tangle.forest.link(number, parent);
                    number = latest;
                }
            }
        }
        self.ends.extend(tangle.nodes.iter().map(|node| (*node, true)));
        self.knots.push(tangle.nodes);
    }

    fn tie(&mut self, tangle: &mut Tangle, node: NodeId) {
        let rank = self.open(node).rank();
        let number = tangle.forest.add(rank);
        tangle.nodes.push(node);
        tangle.numbers.insert(node, number);
        tangle.todo.push(number);
    }

    /// The number of the node that a node follows, if its way does not end without passing the tangle.
    fn tied_parent(&mut self, tangle: &mut Tangle, number: usize) -> Option<usize> {
        let parent = self.parent(tangle.nodes[number])?;
        if let Some(number) = tangle.numbers.get(&parent) {
            return Some(*number);
        }
        let (mut path, mut at, mut on_path) = (Vec::new(), Some(parent), HashMap::new());
        while let Some(node) = at.filter(|node| self.ends.get(node) != Some(&true)) {
            if tangle.numbers.contains_key(&node) || on_path.insert(node, ()).is_some() {
                path.into_iter().for_each(|node| self.tie(tangle, node));
                return tangle.numbers.get(&parent).copied();
            }
            path.push(node);
            at = self.parent(node);
        }
        self.ends.extend(path.into_iter().map(|node| (node, true)));
        None
    }

    fn open(&mut self, node: NodeId) -> &mut Open {
        let (index, claims) = (self.index, &self.claims);
        self.open.entry(node).or_insert_with(|| Open { claims: claims(node), at: index.claims_passed_over(node) })
    }

    /// Makes a node follow its next claim, and returns the rank of that.
    fn give_way(&mut self, node: NodeId) -> Option<(Stamp, Dot)> {
        let open = self.open(node);
        open.at += 1;
        open.rank()
    }
}

impl Open {
    fn rank(&self) -> Option<(Stamp, Dot)> {
        self.claims.get(self.at).map(|claim| claim.rank)
    }
}
