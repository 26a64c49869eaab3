//! Nodes and edges by label, by type, and by the value of a property.

use std::ops::RangeBounds;

use crate::document::{AsPath, Place, Value};
use crate::error::{IndexError, PathError};
use crate::graph::values::Values;
use crate::graph::{Edge, Graph, Node, keys};
use crate::id::{EdgeId, NodeId};

/// Looking up by label, type or value.
///
/// Indexes follow edits and merges, and are no part of the state: none is sent or saved, and graphs are equal whatever indexes
/// they keep.
impl Graph {
    /// The nodes with a label, in the order of their ids. O(log n) each.
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// replica.edit(|g| {
    ///     let ada = g.add_node("person:ada")?;
    ///     g.add_node("note:g")?;
    ///     g.label(ada, "Person")
    /// })?;
    /// let people: Vec<_> = replica.state().nodes_with_label("Person").map(|node| node.id()).collect();
    /// assert_eq!(people, [NodeId::named("person:ada")]);
    /// # Ok::<(), driftless::EditError>(())
    /// ```
    pub fn nodes_with_label<'a>(&'a self, label: &'a str) -> impl Iterator<Item = Node<'a>> + 'a {
        // Labels are indexed by hash: make sure.
        self.index.labelled(label).filter_map(|id| self.node(id)).filter(move |node| node.has_label(label))
    }

    /// The edges of a type whose ends are both there, in the order of their ids. O(log n) for each edge of the type, dangling
    /// ones included.
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let [ada, note] = ["person:ada", "note:g"].map(NodeId::named);
    /// let (wrote, _) = replica.edit(|g| {
    ///     g.add_node("person:ada")?;
    ///     g.add_node("note:g")?;
    ///     g.link(note, "about", ada)?;
    ///     g.link(ada, "wrote", note)
    /// })?;
    /// let edges: Vec<_> = replica.state().edges_of_type("wrote").map(|edge| edge.id()).collect();
    /// assert_eq!(edges, [wrote]);
    /// # Ok::<(), driftless::EditError>(())
    /// ```
    pub fn edges_of_type<'a>(&'a self, edge_type: &'a str) -> impl Iterator<Item = Edge<'a>> + 'a {
        let edges = self.index.typed(edge_type).filter_map(|id| self.hop(id));
        edges.filter(move |edge| edge.edge_type() == edge_type && !self.is_dangling(edge))
    }

    /// Keeps an index of the values at a path (RFC 6901) of all nodes and edges from now on, for [`nodes_by`](Self::nodes_by)
    /// and its like. O(n · log n); O(1) if it is kept already.
    ///
    /// A number in the path is the name of an entry of a map, never an element of a list.
    ///
    /// Local: no peer hears of it. Snapshots and forks that are taken later have it too. A replica that is loaded has none, so
    /// declare it after each opening, outside of an edit. It costs each write to the property O(log n), beside what reading it
    /// costs: of a counter, maximum or minimum O(concurrent writes). It takes some 190 bytes for each node or edge that has
    /// one, with a copy of a value longer than 21 bytes.
    ///
    /// # Errors
    ///
    /// The text is not a path.
    ///
    /// ```
    /// use driftless::{Graph, Replica, Value};
    /// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    /// phone.state().index_property("/born")?;
    /// let (_, delta) = laptop.edit(|g| {
    ///     for (name, born) in [("ada", 1815), ("alan", 1912), ("grace", 1906)] {
    ///         let node = g.add_node(name)?;
    ///         g.set(node, "/born", born)?;
    ///     }
    ///     Ok(())
    /// })?;
    /// phone.merge(&delta)?; // the index follows
    ///
    /// let graph = phone.state();
    /// let names = |nodes: Vec<driftless::Node<'_>>| nodes.iter().filter_map(|n| n.name().map(String::from)).collect::<Vec<_>>();
    /// assert_eq!(names(graph.nodes_by("/born", 1815)?.collect()), ["ada"]);
    /// let in_the_20th = Value::from(1901)..=Value::from(2000);
    /// assert_eq!(names(graph.nodes_within("/born", in_the_20th)?.collect()), ["grace", "alan"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn index_property(&self, path: impl AsPath) -> Result<(), PathError> {
        self.on_demand.index_values(&self.state, Place::of(path)?);
        Ok(())
    }

    /// The nodes at which a value shows at an [indexed](Self::index_property) path, in the order of their ids. O(log n) each.
    ///
    /// The value that [`Node::get`] reads counts, of concurrent ones. 1 and 1.0 are two values: a range holds both. A number in the path is
    /// the name of an entry of a map, also where a list shows, in which [`Node::get`] takes it for an element.
    ///
    /// # Errors
    ///
    /// The text is not a path, or no index of the path is kept.
    pub fn nodes_by<'v>(
        &self,
        path: impl AsPath,
        value: impl Into<Value<'v>>,
    ) -> Result<impl Iterator<Item = Node<'_>>, IndexError> {
        let value = value.into();
        self.nodes_within(path, value..=value)
    }

    /// The nodes whose values at an [indexed](Self::index_property) path lie in a range, by value and then by id. O(log n)
    /// each.
    ///
    /// The order is that of [`Value::total_cmp`], over values of all types: null, false, true, numbers, texts, bytes, arrays. So
    /// a range without an end goes on past the type of its start: `Value::from(1815)..` holds texts too, and
    /// `Value::from(1815)..Value::from("")` numbers alone.
    ///
    /// # Errors
    ///
    /// The text is not a path, or no index of the path is kept.
    pub fn nodes_within<'v>(
        &self,
        path: impl AsPath,
        range: impl RangeBounds<Value<'v>>,
    ) -> Result<impl Iterator<Item = Node<'_>>, IndexError> {
        let ids = self.values(path)?.within(keys::NODE, range);
        Ok(ids.filter_map(|id| self.node(NodeId::from(id))))
    }

    /// The edges at which a value shows at an [indexed](Self::index_property) path, in the order of their ids: as
    /// [`nodes_by`](Self::nodes_by), over the edges whose ends are both there.
    ///
    /// # Errors
    ///
    /// Those of [`nodes_by`](Self::nodes_by).
    pub fn edges_by<'v>(
        &self,
        path: impl AsPath,
        value: impl Into<Value<'v>>,
    ) -> Result<impl Iterator<Item = Edge<'_>>, IndexError> {
        let value = value.into();
        self.edges_within(path, value..=value)
    }

    /// The edges whose values at an [indexed](Self::index_property) path lie in a range, by value and then by id: as
    /// [`nodes_within`](Self::nodes_within), over the edges whose ends are both there.
    ///
    /// # Errors
    ///
    /// Those of [`nodes_within`](Self::nodes_within).
    pub fn edges_within<'v>(
        &self,
        path: impl AsPath,
        range: impl RangeBounds<Value<'v>>,
    ) -> Result<impl Iterator<Item = Edge<'_>>, IndexError> {
        let ids = self.values(path)?.within(keys::EDGE, range);
        Ok(ids.filter_map(|id| self.hop(EdgeId::from(id))).filter(|edge| !self.is_dangling(edge)))
    }

    fn values(&self, path: impl AsPath) -> Result<Values, IndexError> {
        let place = Place::of(path)?;
        let not_indexed = || IndexError::NotIndexed(place.as_ref().text().unwrap_or_default());
        self.on_demand.values(&place).ok_or_else(not_indexed)
    }
}
