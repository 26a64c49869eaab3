//! Reading trees: parents, children, walks.

use std::iter;

use crate::graph::Graph;
use crate::graph::keys;
use crate::graph::tree::claims::{Claims, Placing, Spot};
use crate::graph::tree::index::{Children, TreeIndex, claims_in};
use crate::id::NodeId;
use crate::kernel::{Crdt, Field};

/// An ordered tree over nodes of a graph, to read: a [name](crate::Graph::tree) and every node that somebody
/// [put](crate::TreeMut::put) into it.
///
/// What wins, what is lost:
///
/// | concurrently | result |
/// |---|---|
/// | a node is moved to two places | it shows at the one of the later stamp; both are kept until somebody moves it again ([`ConcurrentMove`](crate::ConflictKind::ConcurrentMove)) |
/// | two moves put two nodes below each other | the later move gives way: its node shows where it was before ([`Circle`](crate::ConflictKind::Circle)) |
/// | several nodes are put at one spot | all show; those that one writer put in a row stay together |
/// | a node is moved and deleted | it is deleted; the move is kept [hidden](crate::Graph::hidden) |
/// | a node is deleted and another put below it | the other shows under what is not there, off the walk, until it is moved or the parent is back ([`Orphaned`](crate::ConflictKind::Orphaned)) |
///
/// So each node shows once, and none is above itself, whatever was moved where. A merge makes no place: nothing shows where nobody has
/// put it. A node that was moved into circles at once, and whose place before is in one too or was not remembered, is
/// [detached](Self::detached).
///
/// A circle is broken at its latest move, since whoever made that could not see another move of the circle (Kleppmann et al. 2022
/// keep every move ever made to find the place from before; here each move remembers the one that it replaced).
///
/// Positions are as in Fugue (Weidner, Kleppmann 2023), and need nothing dead. A node in a tree takes some 270 bytes of memory.
/// Reads are O(log n) for each node that is told.
///
/// ```
/// use driftless::{Graph, NodeId, Replica, TreePlace};
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// let [plan, tea, cake] = ["plan", "tea", "cake"].map(NodeId::named);
/// let (_, delta) = laptop.edit(|g| {
///     for name in ["plan", "tea", "cake"] {
///         let node = g.add_node(name)?;
///         g.tree_mut("outline").put(node, TreePlace::Last)?;
///     }
///     Ok(())
/// })?;
/// phone.merge(&delta)?;
///
/// // Both offline: each puts one below the other.
/// let (_, a) = laptop.edit(|g| g.tree_mut("outline").put(tea, TreePlace::LastIn(cake)))?;
/// let (_, b) = phone.edit(|g| g.tree_mut("outline").put(cake, TreePlace::FirstIn(tea)))?;
/// laptop.merge(&b)?;
/// phone.merge(&a)?;
///
/// // One of the moves gave way: its node shows where it was.
/// let shown = |replica: &Replica<Graph>| replica.state().tree("outline").walk().map(|step| (step.node, step.depth)).collect::<Vec<_>>();
/// assert_eq!(shown(&laptop), shown(&phone));
/// let tree = laptop.state().tree("outline");
/// assert_eq!((tree.len(), tree.parent(tea).is_some()), (3, tree.parent(cake).is_none()));
/// assert_eq!(laptop.state().conflicts().count(), 1);
/// # let _ = plan;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    graph: &'a Graph,
    /// None if nobody has a place in it.
    index: Option<&'a TreeIndex>,
}

impl Graph {
    /// A tree by name. One that nobody has put a node into is empty. O(log trees).
    pub fn tree(&self, name: &str) -> Tree<'_> {
        self.tree_in(&keys::place_in(name))
    }

    pub(super) fn tree_in(&self, field: &[u8]) -> Tree<'_> {
        Tree { graph: self, index: self.trees.get(field) }
    }

    /// The names of the trees that have a node, in the order of their bytes.
    pub fn trees(&self) -> impl Iterator<Item = &str> + '_ {
        self.trees.iter().filter_map(|(field, _)| keys::tree_of(field))
    }

    /// The claims of a node in a tree, and how many of them it does not follow because they close circles.
    pub(crate) fn tree_claims(&self, field: &Field, node: NodeId) -> (Claims, usize) {
        let passed_over = self.trees.get(field.as_bytes()).map_or(0, |tree| tree.claims_passed_over(node));
        (claims_in(self.state(), field, node), passed_over)
    }

    /// The place that a node shows at in a tree, to be written; at the top by its latest position if the node shows nowhere.
    pub(crate) fn shown_place(&self, tree: &str, node: NodeId) -> Option<Placing> {
        let (claims, _) = self.tree_claims(&Field::new(&keys::place_in(tree)), node);
        let at_top = || claims.into_iter().next().map(|claim| Spot { parent: None, ..claim.spot });
        Some(Placing { spot: self.tree(tree).spot(node).cloned().or_else(at_top)?, from: None })
    }

    /// The fields of the trees in which some node does not show where its latest place says, and these nodes.
    pub(crate) fn displaced(&self) -> impl Iterator<Item = (&Field, NodeId)> + '_ {
        self.trees.iter().flat_map(|(field, tree)| tree.displaced().map(move |node| (field, node)))
    }

    /// The fields of the trees in which nodes show under ones that are not there, and these nodes.
    pub(crate) fn orphaned(&self) -> impl Iterator<Item = (&Field, NodeId, NodeId)> + '_ {
        self.trees.iter().flat_map(move |(field, tree)| {
            let missing = tree.unplaced().filter(|node| !self.contains_node(*node));
            missing.flat_map(move |node| tree.children(Some(node), None).map(move |child| (field, node, child)))
        })
    }
}

impl<'a> Tree<'a> {
    /// The number of nodes that have a place in the tree and are there: those off the walk, too. O(1).
    pub fn len(self) -> usize {
        self.index.map_or(0, TreeIndex::len)
    }

    /// Returns whether no node has a place in the tree.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns whether a node is there and has a place in the tree.
    pub fn contains(self, node: NodeId) -> bool {
        self.index.is_some_and(|index| index.shown(node).is_some())
    }

    /// The node that a node shows under. None for what is at the top, detached, or not in the tree. The parent may be missing: see
    /// [`orphans`](Self::orphans).
    pub fn parent(self, node: NodeId) -> Option<NodeId> {
        self.spot(node)?.parent
    }

    /// Returns whether a node has a place at the top.
    pub fn is_top(self, node: NodeId) -> bool {
        self.spot(node).is_some_and(|spot| spot.parent.is_none())
    }

    /// The tops, in order: what has a place at the top, then what has [no place](Self::unplaced).
    pub fn tops(self) -> impl Iterator<Item = NodeId> + use<'a> {
        self.index.into_iter().flat_map(|index| index.children(None, None)).chain(self.unplaced())
    }

    /// The children that show under a node, in order: also if the node is not there, or has no place itself.
    pub fn children(self, node: NodeId) -> impl Iterator<Item = NodeId> + use<'a> {
        self.index.into_iter().flat_map(move |index| index.children(Some(node), None))
    }

    /// The sibling after a node.
    pub fn next_sibling(self, node: NodeId) -> Option<NodeId> {
        let (index, spot) = (self.index?, self.spot(node)?);
        index.children(spot.parent, Some((spot, node))).next()
    }

    /// The sibling before a node.
    pub fn previous_sibling(self, node: NodeId) -> Option<NodeId> {
        let (index, spot) = (self.index?, self.spot(node)?);
        index.children_back(spot.parent, Some((spot, node))).next()
    }

    /// The nodes above a node, the nearest first. The last is a top, detached, or missing.
    pub fn ancestors(self, node: NodeId) -> impl Iterator<Item = NodeId> + use<'a> {
        iter::successors(self.parent(node), move |above| self.parent(*above))
    }

    /// The nodes from above down to a node, with it: [`ancestors`](Self::ancestors) in reverse. Empty if the node has no place in the tree
    /// and nothing is under it.
    pub fn path(self, node: NodeId) -> Vec<NodeId> {
        let is_met = self.contains(node) || self.children(node).next().is_some();
        let mut path: Vec<_> = is_met.then_some(node).into_iter().chain(self.ancestors(node)).collect();
        path.reverse();
        path
    }

    /// Walks the tree depth first, each node before what is under it, from the [tops](Self::tops) on. What is
    /// [detached](Self::detached) or [orphaned](Self::orphans) is not on this walk; [`walk_from`](Self::walk_from) goes there.
    pub fn walk(self) -> TreeWalk<'a> {
        let levels = self.index.map(|index| index.children(None, None)).into_iter().collect();
        TreeWalk { tree: self, base: 0, next: None, levels, unplaced: self.unplaced().collect::<Vec<_>>().into_iter() }
    }

    /// Walks a node and all that is under it depth first, as [`walk`](Self::walk) does. Depths count from the node.
    pub fn walk_from(self, node: NodeId) -> TreeWalk<'a> {
        let is_there = self.graph.contains_node(node) || self.children(node).next().is_some();
        TreeWalk {
            tree: self,
            base: 0,
            next: is_there.then_some(node),
            levels: Vec::new(),
            unplaced: Vec::new().into_iter(),
        }
    }

    /// The nodes that show elsewhere than in an earlier state of the tree, are in it now and were not, or the other way round: also those
    /// that nobody has moved, because a circle came or went. In the order of their ids.
    ///
    /// O(differences · log n) for a snapshot of the same replica, O(n) for any other.
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica, TreePlace};
    /// let mut replica = Replica::<Graph>::new();
    /// let [tea, milk] = ["tea", "milk"].map(NodeId::named);
    /// replica.edit(|g| {
    ///     for name in ["tea", "milk"] {
    ///         let node = g.add_node(name)?;
    ///         g.tree_mut("outline").put(node, TreePlace::Last)?;
    ///     }
    ///     Ok(())
    /// })?;
    /// let before = replica.snapshot();
    /// replica.edit(|g| g.tree_mut("outline").put(milk, TreePlace::LastIn(tea)))?;
    /// let moved = replica.state().tree("outline").changed_since(before.tree("outline"));
    /// assert_eq!(moved, [milk]);
    /// # Ok::<(), driftless::EditError>(())
    /// ```
    pub fn changed_since(self, before: Tree<'_>) -> Vec<NodeId> {
        let empty = TreeIndex::default();
        before.index.unwrap_or(&empty).differences(self.index.unwrap_or(&empty))
    }

    /// The nodes that show nowhere, in the order of their ids: all their places would close circles. Each is listed as a conflict
    /// until somebody moves it.
    pub fn detached(self) -> impl Iterator<Item = NodeId> + use<'a> {
        self.index.into_iter().flat_map(TreeIndex::detached)
    }

    /// The nodes that show under a node that is not there, which comes first: somebody deleted it. Each is listed as a conflict.
    pub fn orphans(self) -> impl Iterator<Item = (NodeId, NodeId)> + use<'a> {
        let graph = self.graph;
        self.index.into_iter().flat_map(move |index| {
            let missing = index.unplaced().filter(|node| !graph.contains_node(*node));
            missing.flat_map(move |node| index.children(Some(node), None).map(move |child| (node, child)))
        })
    }

    /// The nodes that are there and have children in the tree, but no place: each is a top of its own, behind those with a place. In the
    /// order of their ids.
    pub fn unplaced(self) -> impl Iterator<Item = NodeId> + use<'a> {
        let graph = self.graph;
        self.index.into_iter().flat_map(TreeIndex::unplaced).filter(move |node| graph.contains_node(*node))
    }

    pub(super) fn spot(self, node: NodeId) -> Option<&'a Spot> {
        self.index?.shown(node)?
    }

    pub(super) fn index(self) -> Option<&'a TreeIndex> {
        self.index
    }

    /// The neighbours of a place among the children of a node or at the top: the last of them, or the first one on the other side of
    /// a sibling. `except` does not count.
    pub(super) fn beside(
        self,
        parent: Option<NodeId>,
        sibling: Option<NodeId>,
        is_after: bool,
        except: NodeId,
    ) -> Option<NodeId> {
        let index = self.index?;
        let sibling = sibling.and_then(|node| Some((self.spot(node)?, node)));
        match is_after {
            true => index.children(parent, sibling).find(|node| *node != except),
            false => index.children_back(parent, sibling).find(|node| *node != except),
        }
    }
}

impl std::fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.walk().map(|step| (step.depth, step.node))).finish()
    }
}

/// A walk depth first. Made by [`Tree::walk`]. It holds O(depth + unplaced nodes) of memory.
pub struct TreeWalk<'a> {
    tree: Tree<'a>,
    /// The depth of the lowest of the levels.
    base: usize,
    /// A node at the beginning of a walk.
    next: Option<NodeId>,
    levels: Vec<Children<'a>>,
    /// The tops that are walked after all levels.
    unplaced: std::vec::IntoIter<NodeId>,
}

/// One node of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeStep {
    /// The node.
    pub node: NodeId,
    /// The number of nodes of the walk that are above it.
    pub depth: usize,
}

impl Iterator for TreeWalk<'_> {
    type Item = TreeStep;

    fn next(&mut self) -> Option<TreeStep> {
        loop {
            let found = match self.levels.last_mut() {
                Some(level) => level.next().map(|node| TreeStep { node, depth: self.base + self.levels.len() - 1 }),
                None => {
                    // Below a node that no level has told.
                    self.base = 1;
                    Some(TreeStep { node: self.next.take().or_else(|| self.unplaced.next())?, depth: 0 })
                }
            };
            match found {
                Some(step) => {
                    self.levels.extend(self.tree.index.map(|index| index.children(Some(step.node), None)));
                    return Some(step);
                }
                None => drop(self.levels.pop()),
            }
        }
    }
}

impl std::fmt::Debug for TreeWalk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeWalk").field("depth", &self.levels.len()).finish()
    }
}
