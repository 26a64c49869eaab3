//! Reading: nodes, edges, properties. Nothing here panics; what is not there is `None` or absent from an iterator.

use std::collections::BTreeSet;

use crate::document::{AsPath, ListRef, Properties, Sequences, TextRef, Value};
use crate::graph::keys::{self, Ends, Owner, SeenEnds};
use crate::graph::{Graph, Placing, Walk};
use crate::id::{EdgeId, NodeId};
use crate::kernel::{Cells, Field};

impl Graph {
    /// A node. O(log n).
    pub fn node(&self, id: NodeId) -> Option<Node<'_>> {
        self.state.cells(keys::node(id)).filter(|cells| cells.is_live()).map(|cells| Node {
            id,
            cells,
            sequences: &self.sequences,
        })
    }

    /// All nodes, in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> + '_ {
        let live = self.state.entities_of(keys::NODE).filter(|(_, cells)| cells.is_live());
        live.map(|(entity, cells)| Node { id: NodeId::from(*entity.id()), cells, sequences: &self.sequences })
    }

    /// An edge, dangling or not. O(log n).
    pub fn edge(&self, id: EdgeId) -> Option<Edge<'_>> {
        Edge::new(id, self.state.cells(keys::edge(id))?, &self.sequences)
    }

    /// All edges whose ends are both there, in the order of their ids. O(log n) each.
    pub fn edges(&self) -> impl Iterator<Item = Edge<'_>> + '_ {
        self.stated_edges().filter(|edge| !self.is_dangling(edge))
    }

    /// All edges that lack an end: somebody deleted it, which is a [conflict](Self::conflicts), or nobody has added it yet,
    /// which leaves the edge [unresolved](Self::unresolved). They are hidden from traversal and come back when the end
    /// does. O(log n) each.
    pub fn dangling(&self) -> impl Iterator<Item = Edge<'_>> + '_ {
        self.index.absent().flat_map(|node| {
            let leaving = self.index.hops(node, false, None).filter_map(|edge| self.hop(edge));
            let arriving = self.index.hops(node, true, None).filter_map(|edge| self.hop(edge));
            // What lacks both ends was met at its source.
            leaving.chain(arriving.filter(|edge| self.contains_node(edge.source())))
        })
    }

    /// The dangling edges none of whose missing ends a writer of the edge had seen: as a rule the end is yet to come, in an
    /// import or from a peer. They are no conflicts. O(log n) for each dangling edge.
    ///
    /// Whether a writer saw the end stands in the edge itself, so replicas that have seen the same list the same, whatever
    /// they pruned. An edge that was linked before its end came stays unresolved if the end is deleted later;
    /// [linking](crate::Edit::link) it again while the end is there says that it was.
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let [page, target] = ["page", "target"].map(NodeId::named);
    /// replica.edit(|g| {
    ///     g.add_node("page")?;
    ///     g.link(page, "links to", target)
    /// })?;
    /// assert_eq!((replica.state().unresolved().count(), replica.state().conflicts().count()), (1, 0));
    ///
    /// replica.edit(|g| {
    ///     g.add_node("target")?;
    ///     g.link(page, "links to", target)
    /// })?;
    /// replica.edit(|g| g.remove_node(target))?;
    /// assert_eq!((replica.state().unresolved().count(), replica.state().conflicts().count()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unresolved(&self) -> impl Iterator<Item = Edge<'_>> + '_ {
        self.dangling().filter(|edge| self.lost_ends(edge).is_empty())
    }

    /// The ends of an edge that are missing though some writer of the edge had seen them: somebody deleted them.
    pub(crate) fn lost_ends(&self, edge: &Edge<'_>) -> Vec<NodeId> {
        let seen = edge.seen();
        let ends = [(edge.source(), seen.source), (edge.target(), seen.target)];
        let lost = ends.into_iter().filter(|(node, seen)| *seen && !self.contains_node(*node));
        let mut lost: Vec<_> = lost.map(|(node, _)| node).collect();
        lost.dedup();
        lost
    }

    fn stated_edges(&self) -> impl Iterator<Item = Edge<'_>> + '_ {
        self.state
            .entities_of(keys::EDGE)
            .filter_map(|(entity, cells)| Edge::new(EdgeId::from(*entity.id()), cells, &self.sequences))
    }

    /// The edges at a node that lack an end, be it this one or the other. O(degree · log n).
    pub fn dangling_at(&self, node: NodeId) -> impl Iterator<Item = Edge<'_>> + '_ {
        self.edges_at(node).into_iter().filter_map(|edge| self.hop(edge)).filter(|edge| self.is_dangling(edge))
    }

    /// Whether an edge lacks an end.
    pub fn is_dangling(&self, edge: &Edge<'_>) -> bool {
        !self.contains_node(edge.source()) || !self.contains_node(edge.target())
    }

    /// The edges from a node to nodes that are there, grouped by type. None if the node is not there. O(log n) each.
    pub fn outgoing(&self, node: NodeId) -> impl Iterator<Item = Edge<'_>> + '_ {
        self.hops(node, false, None).map(|(edge, _)| edge)
    }

    /// The edges to a node from nodes that are there, grouped by type. None if the node is not there. O(log n) each.
    pub fn incoming(&self, node: NodeId) -> impl Iterator<Item = Edge<'_>> + '_ {
        self.hops(node, true, None).map(|(edge, _)| edge)
    }

    /// The [`outgoing`](Self::outgoing) edges of one type. O(log n) each, whatever else the node has.
    pub fn outgoing_of<'a>(&'a self, node: NodeId, edge_type: &'a str) -> impl Iterator<Item = Edge<'a>> + 'a {
        let hops = self.hops(node, false, Some(edge_type));
        hops.map(|(edge, _)| edge).filter(move |edge| edge.edge_type() == edge_type)
    }

    /// The [`incoming`](Self::incoming) edges of one type. O(log n) each, whatever else the node has.
    pub fn incoming_of<'a>(&'a self, node: NodeId, edge_type: &'a str) -> impl Iterator<Item = Edge<'a>> + 'a {
        let hops = self.hops(node, true, Some(edge_type));
        hops.map(|(edge, _)| edge).filter(move |edge| edge.edge_type() == edge_type)
    }

    /// The nodes that an edge leads to or comes from, each once, in the order of their ids. O(degree · log n).
    pub fn neighbors(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let hops = self.hops(node, false, None).chain(self.hops(node, true, None));
        hops.map(|(_, other)| other).collect::<BTreeSet<_>>().into_iter()
    }

    /// Walks breadth first from a node.
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let ids = ["dog", "canine", "carnivore"].map(NodeId::named);
    /// replica.edit(|g| {
    ///     for name in ["dog", "canine", "carnivore"] {
    ///         g.add_node(name)?;
    ///     }
    ///     g.link(ids[0], "hypernym", ids[1])?;
    ///     g.link(ids[1], "hypernym", ids[2])
    /// })?;
    /// let walk = replica.state().walk(ids[0]).along("hypernym");
    /// let depths: Vec<_> = walk.map(|step| (step.node, step.depth)).collect();
    /// assert_eq!(depths, [(ids[0], 0), (ids[1], 1), (ids[2], 2)]);
    /// # Ok::<(), driftless::EditError>(())
    /// ```
    pub fn walk(&self, start: NodeId) -> Walk<'_> {
        Walk::new(self, start)
    }

    /// What was written to nodes and edges that are not there: as a rule by somebody who had not seen the deletion. It
    /// comes back with [`restore_node`](crate::Edit::restore_node), and is gone for good when the node is added anew.
    pub fn hidden(&self) -> impl Iterator<Item = Hidden<'_>> + '_ {
        self.index.hidden().filter_map(|entity| self.hidden_of(keys::owner_of(entity)?))
    }

    /// What is left of a node or edge that is not there, if anything is. O(log n).
    pub fn hidden_of(&self, owner: impl Into<Owner>) -> Option<Hidden<'_>> {
        let owner = owner.into();
        let cells = self.state.cells(owner.entity())?;
        (!cells.is_live() && cells.has_live_fields()).then_some(Hidden { owner, cells, sequences: &self.sequences })
    }

    /// An edge that the index knows, so that its root has been checked.
    pub(super) fn hop(&self, id: EdgeId) -> Option<Edge<'_>> {
        let cells = self.state.cells(keys::edge(id))?;
        let ends = Ends::of_checked(id, cells.siblings(Field::ROOT.as_bytes()))?;
        Some(Edge { id, ends, cells, sequences: &self.sequences })
    }

    /// The edges from a live node to live nodes, with these, or to it from these; all or of one type (and of types that hash
    /// alike). O(log n) each.
    pub(super) fn hops(
        &self,
        node: NodeId,
        incoming: bool,
        edge_type: Option<&str>,
    ) -> impl Iterator<Item = (Edge<'_>, NodeId)> + use<'_> {
        let hops = self.contains_node(node).then(|| self.index.hops(node, incoming, edge_type));
        let edges = hops.into_iter().flatten().filter_map(|edge| self.hop(edge));
        let with_other = edges.map(move |edge| (edge, if incoming { edge.source() } else { edge.target() }));
        with_other.filter(|(_, other)| self.contains_node(*other))
    }

    /// The edges at a node in both directions, whether or not either end is there; a loop once.
    pub(super) fn edges_at(&self, node: NodeId) -> Vec<EdgeId> {
        let both = [false, true].into_iter().flat_map(|incoming| self.index.hops(node, incoming, None));
        let mut edges: Vec<_> = both.collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }

    #[cfg(feature = "testing")]
    /// Recomputes everything that is derived and compares: for tests.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.state.check_invariants()?;
        self.mixed.check(&self.state)?;
        self.index.check(&self.state)?;
        self.trees.check(&self.state)?;
        self.sequences.check(&self.state)?;
        self.on_demand.check(&self.state)
    }
}

/// A node.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    id: NodeId,
    pub(super) cells: Cells<'a>,
    sequences: &'a Sequences,
}

impl<'a> Node<'a> {
    /// Its id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The name that it was added by, if it was.
    pub fn name(&self) -> Option<&'a str> {
        keys::node_name(self.id, self.cells)
    }

    /// Its labels, in the order of their bytes.
    pub fn labels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        keys::labels(self.cells)
    }

    /// Whether it has a label.
    pub fn has_label(&self, label: &str) -> bool {
        self.cells.live(&keys::label(label)).next().is_some()
    }

    /// The value that shows at a path (RFC 6901): see [`Properties::get`].
    pub fn get(&self, path: impl AsPath) -> Option<Value<'a>> {
        self.properties().get(path)
    }

    /// The text at a path: see [`Properties::text`].
    pub fn text(&self, path: impl AsPath) -> Option<TextRef<'a>> {
        self.properties().text(path)
    }

    /// The list at a path: see [`Properties::list`].
    pub fn list(&self, path: impl AsPath) -> Option<ListRef<'a>> {
        self.properties().list(path)
    }

    /// All its properties.
    pub fn properties(&self) -> Properties<'a> {
        Properties::new(Some(self.cells), keys::node(self.id), self.sequences)
    }
}

/// An edge.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    id: EdgeId,
    ends: Ends<'a>,
    pub(super) cells: Cells<'a>,
    sequences: &'a Sequences,
}

impl<'a> Edge<'a> {
    pub(super) fn new(id: EdgeId, cells: Cells<'a>, sequences: &'a Sequences) -> Option<Self> {
        let ends = Ends::of(id, cells.siblings(Field::ROOT.as_bytes()))?;
        Some(Self { id, ends, cells, sequences })
    }

    /// Its id.
    pub fn id(&self) -> EdgeId {
        self.id
    }

    /// Where it starts.
    pub fn source(&self) -> NodeId {
        self.ends.source
    }

    /// Where it ends.
    pub fn target(&self) -> NodeId {
        self.ends.target
    }

    /// Its type.
    pub fn edge_type(&self) -> &'a str {
        self.ends.edge_type
    }

    /// Which of several parallel edges it is; 0 unless it was linked by number.
    pub fn number(&self) -> u64 {
        self.ends.number
    }

    /// The ends that some writer of it had seen.
    pub(super) fn seen(&self) -> SeenEnds {
        self.ends.seen(self.cells.siblings(Field::ROOT.as_bytes()))
    }

    /// The value that shows at a path (RFC 6901): see [`Properties::get`].
    pub fn get(&self, path: impl AsPath) -> Option<Value<'a>> {
        self.properties().get(path)
    }

    /// The text at a path: see [`Properties::text`].
    pub fn text(&self, path: impl AsPath) -> Option<TextRef<'a>> {
        self.properties().text(path)
    }

    /// The list at a path: see [`Properties::list`].
    pub fn list(&self, path: impl AsPath) -> Option<ListRef<'a>> {
        self.properties().list(path)
    }

    /// All its properties.
    pub fn properties(&self) -> Properties<'a> {
        Properties::new(Some(self.cells), keys::edge(self.id), self.sequences)
    }
}

/// What is left of a node or edge that is not there.
#[derive(Clone, Copy, Debug)]
pub struct Hidden<'a> {
    owner: Owner,
    pub(super) cells: Cells<'a>,
    sequences: &'a Sequences,
}

impl<'a> Hidden<'a> {
    /// The node or edge.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Labels that survived.
    pub fn labels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        keys::labels(self.cells)
    }

    /// Properties that survived.
    pub fn properties(&self) -> Properties<'a> {
        Properties::new(Some(self.cells), self.owner.entity(), self.sequences)
    }

    /// Places in [trees](crate::Tree) that survived: the name of the tree, and the parent, which is none at the top.
    pub fn places(&self) -> impl Iterator<Item = (&'a str, Option<NodeId>)> + use<'a> {
        let live = self.cells.named(keys::PLACES).filter(|(_, sibling)| sibling.is_live());
        live.filter_map(|(field, sibling)| Some((keys::tree_of(field)?, Placing::of(sibling.payload?)?.spot.parent)))
    }
}
