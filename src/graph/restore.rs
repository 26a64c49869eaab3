//! Going back to what a snapshot holds: of a whole graph, of one node or edge, or after a deletion.

use std::iter;

use crate::document::{kind, put_back, put_back_counters};
use crate::error::EditError;
use crate::graph::Graph;
use crate::graph::keys::{self, Ends, Owner};
use crate::id::NodeId;
use crate::kernel::{Crdt, Edit, Sibling, Touched, entity_differences};

/// How much of a deleted node or edge an edit brought back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Restored {
    /// It is there, and was: nothing had to come back.
    WasThere,
    /// Its root came back, and with it what was written by those who had not seen the deletion. All that the deletion had
    /// seen is missing: labels, properties, vectors, and the name of a node that was not given by name. A snapshot from
    /// before the deletion, here or on another replica, still holds it: see
    /// [`restore_from`](crate::Edit::restore_from).
    Survivors,
    /// All that the snapshot holds came back, beside what survived.
    Whole,
}

/// Going back.
impl Edit<'_, Graph> {
    /// Makes one node or edge read as in a snapshot: [`revert_to`](Self::revert_to) for it alone. Returns how many writes
    /// that took.
    ///
    /// One that was not there then is deleted. Edges at a node are things of their own and stay as they are. O(cells that
    /// differ · log n).
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    /// let [ada, eve] = ["person:ada", "person:eve"].map(NodeId::named);
    /// laptop.edit(|g| g.add_node("person:ada"))?;
    /// let before = laptop.snapshot();
    /// laptop.edit(|g| {
    ///     g.add_node("person:eve")?;
    ///     g.label(ada, "Hacker")
    /// })?;
    /// laptop.edit(|g| g.revert(ada, &before))?;
    /// phone.merge(&laptop.complete())?;
    /// assert!(!phone.state().node(ada).ok_or("there")?.has_label("Hacker"));
    /// assert!(phone.state().contains_node(eve));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn revert(&mut self, of: impl Into<Owner>, snapshot: &Graph) -> Result<usize, EditError> {
        let (before, was) = (self.writes_made(), Graph::clone(self));
        self.revert_entity(of.into().entity(), snapshot)?;
        self.keep_trees(&was, true)?;
        Ok(self.writes_made() - before)
    }

    /// Brings a deleted node or edge back with its contents of a snapshot: [`Restored::Whole`]. On one that is there nothing
    /// is written. An error if the snapshot does not hold it.
    ///
    /// Written are its root, with a node's name or an edge's ends, and each label and property of the snapshot that nobody
    /// has written since the deletion or beside it: [hidden survivors](Graph::hidden) are newer and stay as they are.
    /// Concurrent writes stay beside what is written, as always. The edges of a node are back when it is; those that were
    /// deleted with it are to be restored too. O(cells of the snapshot · log n).
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    /// let ada = NodeId::named("person:ada");
    /// let (_, delta) = laptop.edit(|g| {
    ///     g.add_node("person:ada")?;
    ///     g.set(ada, "/name", "Ada Lovelace")?;
    ///     g.set(ada, "/born", 1851)
    /// })?;
    /// phone.merge(&delta)?;
    ///
    /// let before = laptop.snapshot();
    /// laptop.edit(|g| g.remove_node(ada))?;
    /// let (_, correction) = phone.edit(|g| g.set(ada, "/born", 1815))?; // had not seen the deletion
    /// laptop.merge(&correction)?;
    ///
    /// laptop.edit(|g| g.restore_from(&before, ada))?;
    /// let node = laptop.state().node(ada).ok_or("back again")?;
    /// assert_eq!(node.name(), Some("person:ada"));
    /// assert_eq!(node.get("/name"), Some("Ada Lovelace".into()));
    /// assert_eq!(node.get("/born"), Some(1815.into())); // newer than the snapshot
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore_from(&mut self, snapshot: &Graph, owner: impl Into<Owner>) -> Result<Restored, EditError> {
        let owner = owner.into();
        let holds = |graph: &Graph| match owner {
            Owner::Node(id) => graph.contains_node(id),
            Owner::Edge(id) => graph.contains_edge(id),
        };
        match owner {
            _ if holds(self) => return Ok(Restored::WasThere),
            _ if holds(snapshot) => {}
            Owner::Node(id) => return Err(EditError::NodeNotInSnapshot(id)),
            Owner::Edge(id) => return Err(EditError::EdgeNotInSnapshot(id)),
        }
        let (entity, was) = (owner.entity(), Graph::clone(self));
        let mut cells = entity_differences(entity, snapshot.state().cells(entity), self.state().cells(entity));
        // The root of an edge may be live, with what is nobody's.
        cells.retain(|cell| cell.field.is_root() || !cell.is_now_live());
        revert(self, &cells)?;
        self.keep_trees(&was, true)?;
        Ok(Restored::Whole)
    }
}

/// Each cell by itself; of several roots the one that tells a node's name, or an edge's ends.
pub(super) fn revert(edit: &mut Edit<'_, Graph>, cells: &[Touched]) -> Result<(), EditError> {
    for cell in cells {
        if put_back(edit, cell)? || edit.put_place_back(cell)? {
            continue;
        }
        let owner = keys::owner_of(cell.entity).filter(|_| cell.field.is_root());
        let shows = |sibling: &Sibling| (owner.is_some_and(|owner| tells(owner, sibling)), sibling.precedence());
        edit.put_back_by(cell, shows)?;
    }
    cells.first().map_or(Ok(()), |first| put_back_counters(edit, first.entity, cells))
}

fn tells(owner: Owner, root: &Sibling) -> bool {
    match owner {
        Owner::Edge(id) => Ends::of(id, iter::once(root.as_ref())).is_some(),
        Owner::Node(id) => {
            let name = root.payload.as_ref().filter(|payload| payload.kind() == kind::NAME);
            name.and_then(|name| str::from_utf8(name.bytes()).ok()).is_some_and(|name| NodeId::named(name) == id)
        }
    }
}
