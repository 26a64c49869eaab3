//! Going back to a snapshot, by writing.

use crate::error::EditError;
use crate::kernel::{Cells, Crdt, Edit, Entity, entity_differences};

/// Going back.
impl<T: Crdt> Edit<'_, T> {
    /// Makes everything read as in a snapshot, by ordinary writes: undo, whoever made the changes. Returns how many writes
    /// that took; none if everything reads so already.
    ///
    /// - A cell that holds other values than then gets the one that showed then; one that held nothing is erased. A conflict
    ///   that has changed since comes back as its winner alone, and one that has opened since is settled. What holds the
    ///   same values as then and shows the same one, or holds nothing but that one, is not written.
    /// - An entity (a node, an edge) that was not there then is deleted, with one write. One that is there no longer comes
    ///   back first with its root and then with all that it held. Hidden survivors are hidden again.
    /// - Nodes in a [tree](crate::Tree) get the places that their latest writes said then. Those that showed elsewhere, since that would have
    ///   made a circle, and do not now, are written down where they showed.
    /// - A [`PnCounter`](crate::PnCounter) gets the difference added to this replica's own totals. A
    ///   [`GCounter`](crate::GCounter) that has grown cannot go back: [`EditError::OnlyGrows`].
    ///
    /// What others write concurrently survives beside it, as with any write (hidden, if it is to a node or edge that goes): it
    /// undoes what is seen here, no more. Two
    /// replicas that go back to the same snapshot concurrently write equal values, which are no conflict (to a counter both
    /// add what they miss).
    ///
    /// O(differences · log n) for a snapshot of this replica or of one that it was forked from, O(n) for any other.
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    /// let ada = NodeId::named("person:ada");
    /// let (_, delta) = laptop.edit(|g| {
    ///     g.add_node("person:ada")?;
    ///     g.set(ada, "/name", "Ada Lovelace")
    /// })?;
    /// phone.merge(&delta)?;
    ///
    /// let before = laptop.snapshot();
    /// laptop.edit(|g| g.set(ada, "/name", "Countess"))?;
    /// laptop.edit(|g| g.remove_node(ada))?;
    /// let (_, born) = phone.edit(|g| g.set(ada, "/born", 1815))?; // meanwhile
    ///
    /// let (writes, _) = laptop.edit(|g| g.revert_to(&before))?;
    /// assert_eq!(writes, 2); // the node and its name
    /// laptop.merge(&born)?;
    /// phone.merge(&laptop.delta_since(phone.version())?)?;
    /// assert_eq!(laptop.state(), phone.state());
    /// let node = phone.state().node(ada).ok_or("back again")?;
    /// assert_eq!(node.get("/name"), Some("Ada Lovelace".into()));
    /// assert_eq!(node.get("/born"), Some(1815.into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn revert_to(&mut self, snapshot: &T) -> Result<usize, EditError> {
        let before = self.writes_made();
        for entity in snapshot.state().differing_entities(self.state()) {
            self.revert_entity(entity, snapshot)?;
        }
        T::finish_revert(self, snapshot, false)?;
        Ok(self.writes_made() - before)
    }

    /// Like [`revert_to`](Self::revert_to) for one entity: for the methods of a type of your own.
    pub fn revert_entity(&mut self, entity: Entity, snapshot: &T) -> Result<usize, EditError> {
        let (before, then) = (self.writes_made(), snapshot.state().cells(entity));
        let is_live = |cells: Option<Cells<'_>>| cells.is_some_and(Cells::is_live);
        if is_live(self.state().cells(entity)) && !is_live(then) {
            self.delete(entity)?;
        }
        let cells = entity_differences(entity, then, self.state().cells(entity));
        T::revert(self, &cells)?;
        Ok(self.writes_made() - before)
    }
}
