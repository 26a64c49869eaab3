//! The tree that shows, kept up with what changes.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use im::ordmap::DiffItem;
use im::shared_ptr::DefaultSharedPtr;
use im::{OrdMap, OrdSet, ordset};

use crate::bugs::{Bug, is};
use crate::graph::keys::{self, PLACES, node as node_entity, tree_of};
use crate::graph::tree::circles::Breaking;
use crate::graph::tree::claims::{Claims, Spot, claims};
use crate::id::NodeId;
use crate::kernel::{Field, Payload, State, Touched};

/// All trees of a graph. Persistent, like the state that it follows. Nothing until some node has a place: then none has to be looked
/// for when a node comes or goes, and a snapshot takes a word for it.
#[derive(Clone, Default, Debug)]
pub(in crate::graph) struct Trees(Option<Box<Placed>>);

#[derive(Clone, Default, Debug)]
struct Placed {
    trees: OrdMap<Field, TreeIndex>,
    /// The places that may have changed, which are looked at together.
    waiting: Vec<(Field, NodeId)>,
}

impl Trees {
    pub(in crate::graph) fn get(&self, field: &[u8]) -> Option<&TreeIndex> {
        self.0.as_ref()?.trees.get(field)
    }

    pub(in crate::graph) fn iter(&self) -> impl Iterator<Item = (&Field, &TreeIndex)> {
        self.0.iter().flat_map(|placed| placed.trees.iter())
    }

    /// Notes what one cell may change. O(1); for a node that comes or goes O(cells).
    pub(in crate::graph) fn follow(&mut self, state: &State, touched: &Touched) {
        if touched.entity.kind() != keys::NODE {
            return;
        }
        let node = NodeId::from(*touched.entity.id());
        if tree_of(&touched.field).is_some() {
            self.0.get_or_insert_default().waiting.push((touched.field.clone(), node));
        } else if let Some(placed) = &mut self.0
            && touched.field.is_root()
            && touched.was_live() != touched.is_now_live()
        {
            let cells = state.cells(touched.entity).into_iter();
            let places = cells.flat_map(|cells| cells.named(PLACES));
            let places = places.filter(|(field, sibling)| sibling.is_live() && tree_of(field).is_some());
            placed.waiting.extend(places.map(|(field, _)| (field.clone(), node)));
        }
    }

    /// Follows all that was noted. O(depth · log n) for each node; see [`Breaking`] for circles.
    pub(in crate::graph) fn follow_waiting(&mut self, state: &State) {
        let Some(placed) = self.0.as_mut().filter(|placed| !placed.waiting.is_empty()) else { return };
        let mut waiting = std::mem::take(&mut placed.waiting);
        waiting.sort_unstable();
        waiting.dedup();
        for of_tree in waiting.chunk_by(|a, b| a.0 == b.0) {
            let field = &of_tree[0].0;
            let mut tree = placed.trees.remove(field).unwrap_or_default();
            let nodes: Vec<NodeId> = of_tree.iter().map(|(_, node)| *node).collect();
            tree.change(&nodes, |node| claims_in(state, field, node));
            if !tree.is_empty() {
                placed.trees.insert(field.clone(), tree);
            }
        }
    }

    #[cfg(feature = "testing")]
    pub(in crate::graph) fn check(&self, state: &State) -> Result<(), String> {
        let mut fresh = Placed::default();
        for (entity, cells) in state.entities_of(keys::NODE) {
            let places = cells.named(PLACES).filter(|(field, _)| cells.is_live() && tree_of(field).is_some());
            fresh.waiting.extend(places.map(|(field, _)| (field.clone(), NodeId::from(*entity.id()))));
        }
        let mut fresh = Self(Some(Box::new(fresh)));
        fresh.follow_waiting(state);
        let is_same = self.iter().count() == fresh.iter().count()
            && self.iter().zip(fresh.iter()).all(|((field, ours), (other, theirs))| {
                field == other
                    && (&ours.shown, &ours.children, &ours.unplaced)
                        == (&theirs.shown, &theirs.children, &theirs.unplaced)
                    && (&ours.passed_over, &ours.detached) == (&theirs.passed_over, &theirs.detached)
                    && ours.passed_over.keys().all(|node| ours.knots.contains_key(node))
            });
        match is_same && self.0.as_ref().is_none_or(|placed| placed.waiting.is_empty()) {
            true => Ok(()),
            false => Err(format!("trees do not follow from the cells: {self:?}, and must be {fresh:?}")),
        }
    }
}

/// The claims of a node in a state.
pub(super) fn claims_in(state: &State, field: &Field, node: NodeId) -> Claims {
    claims(state.cells(node_entity(node)), field.as_bytes())
}

/// One tree.
#[derive(Clone, Default, Debug)]
pub(in crate::graph) struct TreeIndex {
    /// Every node that is there and has a place, with where it shows; nowhere if it is detached.
    shown: OrdMap<NodeId, Option<Spot>>,
    /// The parent, the position among the siblings, the node.
    children: OrdSet<(Option<NodeId>, Payload, NodeId)>,
    detached: OrdSet<NodeId>,
    /// Nodes that children show under, and that have no place: they are not there, or were never put into the tree.
    unplaced: OrdSet<NodeId>,
    /// The number of claims that a node does not follow because they close circles; 0 is not listed.
    passed_over: OrdMap<NodeId, usize>,
    /// The knot of each node in or around a circle that was broken: a change of one member opens all again. A knot holds more than
    /// the circles have, and what shows does not depend on which.
    knots: OrdMap<NodeId, Arc<[NodeId]>>,
}

impl TreeIndex {
    pub(super) fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.shown.len()
    }

    /// The spot that a node shows at; `None` if it has no place, `Some(None)` if it is detached.
    pub(super) fn shown(&self, node: NodeId) -> Option<Option<&Spot>> {
        self.shown.get(&node).map(Option::as_ref)
    }

    pub(in crate::graph) fn claims_passed_over(&self, node: NodeId) -> usize {
        self.passed_over.get(&node).copied().unwrap_or(0)
    }

    /// The nodes that do not show at their first claim. In the order of their ids.
    pub(in crate::graph) fn displaced(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.passed_over.keys().copied()
    }

    pub(super) fn detached(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.detached.iter().copied()
    }

    pub(in crate::graph) fn unplaced(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.unplaced.iter().copied()
    }

    /// The nodes that are in a knot with one.
    pub(super) fn knot(&self, node: NodeId) -> Option<&Arc<[NodeId]>> {
        self.knots.get(&node)
    }

    /// The children of a node, or what is at the top, behind one of them or from the first on. O(log n), and O(1) each.
    pub(in crate::graph) fn children(&self, parent: Option<NodeId>, behind: Option<(&Spot, NodeId)>) -> Children<'_> {
        let from = match behind {
            Some((spot, node)) => Bound::Excluded((parent, spot.position.clone(), node)),
            None => Bound::Included((parent, Payload::new(0, &[]), NodeId::from([0; 16]))),
        };
        Children { parent, rest: self.children.range((from, Bound::Unbounded)) }
    }

    /// The children of a node, or what is at the top, ahead of one of them or from the last on, in reverse. O(log n) each.
    pub(super) fn children_back(
        &self,
        parent: Option<NodeId>,
        ahead: Option<(&Spot, NodeId)>,
    ) -> impl Iterator<Item = NodeId> + '_ {
        let to = match ahead {
            Some((spot, node)) => Bound::Excluded((parent, spot.position.clone(), node)),
            // No position is of this kind.
            None => Bound::Excluded((parent, Payload::new(1, &[]), NodeId::from([0; 16]))),
        };
        let to = self.children.range((Bound::Unbounded, to)).rev();
        to.take_while(move |(of, _, _)| *of == parent).map(|(_, _, node)| *node)
    }

    /// The nodes that show elsewhere in a later state, in the order of their ids.
    pub(super) fn differences(&self, now: &Self) -> Vec<NodeId> {
        let node = |item| match item {
            DiffItem::Add(node, _) | DiffItem::Remove(node, _) | DiffItem::Update { new: (node, _), .. } => *node,
        };
        self.shown.diff(&now.shown).map(node).collect()
    }

    /// Follows nodes whose claims may be others. O(depth · log n) each, each node on their ways once; of circles that they are in, O(log n) for
    /// each node and claim of the knot.
    pub(super) fn change(&mut self, changed: &[NodeId], claims: impl Fn(NodeId) -> Claims) {
        let mut open: BTreeSet<NodeId> = changed.iter().copied().collect();
        for node in changed.iter().filter(|_| !is(Bug::CircleKept)) {
            for member in self.knots.get(node).cloned().iter().flat_map(|knot| knot.iter()) {
                self.knots.remove(member);
                open.extend(self.passed_over.remove(member).map(|_| *member));
            }
        }
        let open: Vec<NodeId> = open.into_iter().collect();
        let Breaking { open, knots, .. } = Breaking::new(self, &open, claims);
        for (node, open) in open {
            match open.at {
                0 => drop(self.passed_over.remove(&node)),
                at => drop(self.passed_over.insert(node, at)),
            }
            let spot = open.claims.get(open.at).map(|claim| claim.spot.clone());
            self.show(node, (!open.claims.is_empty()).then_some(spot));
        }
        for knot in knots {
            // Each old knot once.
            let mut all: BTreeSet<NodeId> = knot.iter().copied().collect();
            for node in &knot {
                let held = self.knots.remove(node);
                for member in held.iter().flat_map(|held| held.iter()) {
                    self.knots.remove(member);
                    all.insert(*member);
                }
            }
            let all: Arc<[NodeId]> = all.into_iter().collect();
            all.iter().for_each(|node| drop(self.knots.insert(*node, all.clone())));
        }
    }

    fn show(&mut self, node: NodeId, shown: Option<Option<Spot>>) {
        let was = match &shown {
            Some(spot) => self.shown.insert(node, spot.clone()),
            None => self.shown.remove(&node),
        };
        if was == shown {
            return;
        }
        match shown {
            Some(None) => drop(self.detached.insert(node)),
            _ if self.detached.is_empty() => {}
            _ => drop(self.detached.remove(&node)),
        }
        if was.is_some() != shown.is_some() {
            self.follow_unplaced(node);
        }
        if let Some(Spot { parent, position }) = was.flatten() {
            self.children.remove(&(parent, position, node));
            parent.into_iter().for_each(|parent| self.follow_unplaced(parent));
        }
        if let Some(Spot { parent, position }) = shown.flatten() {
            self.children.insert((parent, position, node));
            parent.into_iter().for_each(|parent| self.follow_unplaced(parent));
        }
    }

    fn follow_unplaced(&mut self, node: NodeId) {
        match !self.shown.contains_key(&node) && self.children(Some(node), None).next().is_some() {
            true => drop(self.unplaced.insert(node)),
            false if self.unplaced.is_empty() => {}
            false => drop(self.unplaced.remove(&node)),
        }
    }
}

/// The children of a node, or what is at the top, in order.
pub(in crate::graph) struct Children<'a> {
    parent: Option<NodeId>,
    rest: ordset::RangedIter<'a, (Option<NodeId>, Payload, NodeId), DefaultSharedPtr>,
}

impl Iterator for Children<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        let (parent, _, node) = self.rest.next()?;
        (*parent == self.parent).then_some(*node)
    }
}
