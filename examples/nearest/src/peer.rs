//! A replica with its index.

use std::error::Error;

use driftless::{Delta, Edit, EditError, Graph, Model, NodeId, Replica};

use crate::index::Index;

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) replica: Replica<Graph>,
    pub(crate) index: Index,
}

impl Peer {
    pub(crate) fn new(name: &'static str, model: &Model) -> Self {
        Self { name, replica: Replica::new(), index: Index::new(model) }
    }

    /// Edits, and lets the index follow at the nodes that the closure says it changed. Returns the delta as bytes.
    pub(crate) fn edit(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_, Graph>) -> Result<Vec<NodeId>, EditError>,
    ) -> Result<Vec<u8>, EditError> {
        let (changed, delta) = self.replica.edit(edit)?;
        changed.into_iter().for_each(|node| self.index.look_up(self.replica.state(), node));
        Ok(delta.to_bytes())
    }

    /// Merges, and lets the index follow what the merge reports.
    pub(crate) fn receive(&mut self, message: &[u8]) -> Result<(), Box<dyn Error>> {
        let report = self.replica.merge(&Delta::from_bytes(message)?)?;
        self.index.follow(self.replica.state(), report.changes());
        Ok(())
    }

    pub(crate) fn delta_for(&self, peer: &Peer) -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(self.replica.delta_since(peer.replica.version())?.to_bytes())
    }
}
