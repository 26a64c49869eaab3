//! Everything that writes to a graph.

use serde::Serialize;

use crate::bugs::{Bug, is};
use crate::document::{AsPath, ListMut, PropertiesMut, Sequenced, TextMut, Value, kind, place_in};
use crate::error::EditError;
use crate::graph::keys::{self, Ends, NodeKey, Owner, SeenEnds, owner_of};
use crate::graph::{Edge, Graph, Restored};
use crate::id::{EdgeId, NodeId};
use crate::kernel::{Cells, Crdt, Edit, Entity, Field, MAX_FIELD_LEN, Payload};

/// Editing a graph.
impl<'a> Edit<'a, Graph> {
    /// Adds a node, by id or by name, and returns its id. One write. On a node that is there none, unless it lacks the
    /// name that it is added by: then the name is written.
    ///
    /// Where a deleted node left hidden survivors, they are deleted with the same edit, by another write: a node that is
    /// added anew is new. To have them back, [`restore_node`](Self::restore_node).
    pub fn add_node<'n>(&mut self, node: impl Into<NodeKey<'n>>) -> Result<NodeId, EditError> {
        let NodeKey { id, name } = node.into();
        check_key(name.unwrap_or_default())?;
        match self.state().cells(keys::node(id)) {
            Some(cells) if cells.is_live() => {
                let has_name = name.is_none() || keys::node_name(id, cells).is_some();
                if !has_name {
                    self.write(keys::node(id), Field::ROOT.as_bytes(), keys::node_root(name))?;
                }
                return Ok(id);
            }
            Some(_) if is(Bug::AddRevives) => {}
            Some(_) => drop(self.delete(keys::node(id))?),
            None => {}
        }
        self.write(keys::node(id), Field::ROOT.as_bytes(), keys::node_root(name))?;
        Ok(id)
    }

    /// Deletes a node: one write, whatever it holds; and those of [`TreeMut::put`](crate::TreeMut::put) around circles that it is in. Its
    /// edges stay and dangle, and its children in a [tree](Graph::tree) are [orphans](crate::Tree::orphans). Returns whether it was
    /// there; if not, nothing is written.
    ///
    /// What others write to it concurrently is kept [hidden](Graph::hidden).
    pub fn remove_node(&mut self, id: NodeId) -> Result<bool, EditError> {
        if !self.contains_node(id) {
            return Ok(false);
        }
        self.keep_tree_without(id)?;
        self.delete(keys::node(id))
    }

    /// Deletes a node and every edge at it, dangling ones too: one write each. Edges at a node that is not there are deleted
    /// all the same. Returns how many edges went. An edge that somebody hangs
    /// on it concurrently stays and dangles.
    ///
    /// O(edges · log n), and as many tombstones of some 65 bytes. [`remove_node`](Self::remove_node)
    /// is one write whatever hangs on the node.
    pub fn remove_node_with_edges(&mut self, id: NodeId) -> Result<usize, EditError> {
        let edges = self.edges_at(id);
        for edge in &edges {
            self.delete(keys::edge(*edge))?;
        }
        self.remove_node(id)?;
        Ok(edges.len())
    }

    /// Brings a deleted node back: its edges, and what was written to it by those who had not seen the deletion.
    ///
    /// What the deletion saw is gone, so the result is [`Restored::Survivors`]; with a snapshot that still holds the node,
    /// [`restore_from`](Self::restore_from) brings back the whole. Given by name, the node has its name again. On a node
    /// that is there nothing is written, but for a name that it lacks.
    pub fn restore_node<'n>(&mut self, node: impl Into<NodeKey<'n>>) -> Result<Restored, EditError> {
        let key = node.into();
        if self.contains_node(key.id) {
            self.add_node(key)?;
            return Ok(Restored::WasThere);
        }
        check_key(key.name.unwrap_or_default())?;
        self.write(keys::node(key.id), Field::ROOT.as_bytes(), keys::node_root(key.name))?;
        Ok(Restored::Survivors)
    }

    /// Puts a label on a node. Always writes, so that it beats a removal made elsewhere at the same time.
    pub fn label(&mut self, node: NodeId, label: &str) -> Result<(), EditError> {
        self.write_to(node.into(), &keys::label(label), Payload::new(kind::UNIT, &[]))
    }

    /// Takes a label off a node. Returns whether it was there. The same label put on concurrently stays.
    pub fn unlabel(&mut self, node: NodeId, label: &str) -> Result<bool, EditError> {
        self.require(node.into())?;
        self.erase(keys::node(node), &keys::label(label))
    }

    /// The properties of a node or edge, for writing. An owner that is not there is an error once something is written.
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let ada = NodeId::named("person:ada");
    /// replica.edit(|g| {
    ///     g.add_node("person:ada")?;
    ///     let mut properties = g.properties_mut(ada);
    ///     properties.add("/visits", 1)?;
    ///     properties.insert("/languages", "en")
    /// })?;
    /// let node = replica.state().node(ada).ok_or("added")?;
    /// assert_eq!(node.get("/visits"), Some(1.into()));
    /// assert!(node.properties().contains("/languages", "en"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn properties_mut(&mut self, of: impl Into<Owner>) -> PropertiesMut<'_, 'a, Graph> {
        PropertiesMut::new(self, of.into().entity(), Some(require))
    }

    /// Sets the property of a node or edge at a path (RFC 6901, such as `/name` or `/address/city`): see
    /// [`PropertiesMut::set`].
    ///
    /// It replaces every value that is seen there. A value that somebody sets concurrently is kept beside it: a
    /// conflict, in which the later stamp shows.
    pub fn set<'v>(
        &mut self,
        of: impl Into<Owner>,
        path: impl AsPath,
        value: impl Into<Value<'v>>,
    ) -> Result<(), EditError> {
        self.properties_mut(of).set(path, value)
    }

    /// The text at a path of a node or edge, for writing: see [`PropertiesMut::text_mut`].
    pub fn text_mut(&mut self, of: impl Into<Owner>, path: impl AsPath) -> TextMut<'_, 'a, Graph> {
        let entity = of.into().entity();
        let place = place_in(self, entity, path);
        TextMut::new(self, entity, Some(require), place)
    }

    /// The list at a path of a node or edge, for writing: see [`PropertiesMut::list_mut`].
    pub fn list_mut(&mut self, of: impl Into<Owner>, path: impl AsPath) -> ListMut<'_, 'a, Graph> {
        let entity = of.into().entity();
        let place = place_in(self, entity, path);
        ListMut::new(self, entity, Some(require), place)
    }

    /// Makes an array a list, or an empty list where nothing is: see [`PropertiesMut::make_list`].
    pub fn make_list(&mut self, of: impl Into<Owner>, path: impl AsPath) -> Result<bool, EditError> {
        self.properties_mut(of).make_list(path)
    }

    /// Removes everything at and below a path: see [`PropertiesMut::unset`]. Returns whether anything was there. What
    /// somebody writes there concurrently stays.
    pub fn unset(&mut self, of: impl Into<Owner>, path: impl AsPath) -> Result<bool, EditError> {
        self.properties_mut(of).unset(path)
    }

    /// Makes the properties at and below a path those of a value, writing what differs: see [`PropertiesMut::update`].
    pub fn update<V: Serialize + ?Sized>(
        &mut self,
        of: impl Into<Owner>,
        path: impl AsPath,
        value: &V,
    ) -> Result<bool, EditError> {
        self.properties_mut(of).update(path, value)
    }

    /// Adds the edge `source --edge_type--> target` and returns its id. One write. Either end may be missing; then the edge
    /// dangles until the end is there, and is [unresolved](Graph::unresolved), since nobody is known to have deleted the
    /// end.
    ///
    /// On an edge that is there nothing is written, unless an end is there now that no writer of the edge had seen: then
    /// one write says so, and a later deletion of that end is a conflict.
    ///
    /// Where a deleted edge left hidden survivors, they are deleted with the same edit, by another write. To have them
    /// back, [`restore_edge`](Self::restore_edge).
    pub fn link(&mut self, source: NodeId, edge_type: &str, target: NodeId) -> Result<EdgeId, EditError> {
        self.link_numbered(source, edge_type, target, 0)
    }

    /// Adds one of several parallel edges. The same number is the same edge in every replica; number 0 is that of
    /// [`link`](Self::link).
    pub fn link_numbered(
        &mut self,
        source: NodeId,
        edge_type: &str,
        target: NodeId,
        number: u64,
    ) -> Result<EdgeId, EditError> {
        check_key(edge_type)?;
        let ends = Ends { source, target, number, edge_type };
        let (id, mut seen) = (ends.id(), self.sees(&ends));
        let held = self
            .state()
            .cells(keys::edge(id))
            .map(|cells| Edge::new(id, cells, self.sequences()).map(|edge| edge.seen()));
        match held {
            None => {}
            Some(None) => drop(self.delete(keys::edge(id))?),
            Some(Some(before)) => {
                seen = seen.or(before);
                if seen == before {
                    return Ok(id);
                }
            }
        }
        self.write(keys::edge(id), Field::ROOT.as_bytes(), ends.to_payload(seen))?;
        Ok(id)
    }

    fn sees(&self, ends: &Ends<'_>) -> SeenEnds {
        SeenEnds { source: self.contains_node(ends.source), target: self.contains_node(ends.target) }
    }

    /// Deletes an edge. Returns whether it was there. What others write to it concurrently is kept
    /// [hidden](Graph::hidden).
    pub fn unlink(&mut self, edge: EdgeId) -> Result<bool, EditError> {
        Ok(self.contains_edge(edge) && self.delete(keys::edge(edge))?)
    }

    /// Brings a deleted edge back with what was written to it by those who had not seen the deletion. It takes the ends,
    /// since a deleted edge no longer knows them. On an edge that is there nothing is written.
    ///
    /// What the deletion saw is gone, so the result is [`Restored::Survivors`]; with a snapshot that still holds the edge,
    /// [`restore_from`](Self::restore_from) brings back the whole, and needs no ends.
    pub fn restore_edge(
        &mut self,
        source: NodeId,
        edge_type: &str,
        target: NodeId,
        number: u64,
    ) -> Result<Restored, EditError> {
        check_key(edge_type)?;
        let ends = Ends { source, target, number, edge_type };
        if self.contains_edge(ends.id()) {
            return Ok(Restored::WasThere);
        }
        self.write(keys::edge(ends.id()), Field::ROOT.as_bytes(), ends.to_payload(self.sees(&ends)))?;
        Ok(Restored::Survivors)
    }

    pub(super) fn write_to(&mut self, owner: Owner, field: &[u8], payload: Payload) -> Result<(), EditError> {
        match self.write_to_live(owner.entity(), field, payload)? {
            Some(_) => Ok(()),
            None => Err(missing(owner)),
        }
    }

    pub(super) fn require(&self, owner: Owner) -> Result<(), EditError> {
        match owner {
            Owner::Node(id) if self.contains_node(id) => Ok(()),
            Owner::Edge(id) if self.contains_edge(id) => Ok(()),
            _ => Err(missing(owner)),
        }
    }
}

/// An edge whose root tells of other ends is not there.
fn require(entity: Entity, cells: Option<Cells<'_>>) -> Result<(), EditError> {
    let owner = owner_of(entity).ok_or_else(|| EditError::abort("no node and no edge"))?;
    match cells.is_some_and(|cells| keys::is_there(entity, cells)) {
        true => Ok(()),
        false => Err(missing(owner)),
    }
}

fn missing(owner: Owner) -> EditError {
    match owner {
        Owner::Node(id) => EditError::NoNode(id),
        Owner::Edge(id) => EditError::NoEdge(id),
    }
}

/// A name or an edge type is no field, but as long as one may be.
fn check_key(key: &str) -> Result<(), EditError> {
    match key.len() {
        0..=MAX_FIELD_LEN => Ok(()),
        len => Err(EditError::KeyTooLong { path: None, len, limit: MAX_FIELD_LEN }),
    }
}
