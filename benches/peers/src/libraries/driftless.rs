//! driftless: a `Graph`, with edges of its own.

use driftless::{Delta, Edit, EditError, Graph, NodeId, Prune, Replica, Version};

use super::{Edge, Library, Node, Value, Write};
use crate::data::WEIGHT;
use crate::{Failure, libraries};

pub(crate) struct Driftless(pub(crate) Replica<Graph>);

fn set(g: &mut Edit<'_, Graph>, writes: &[Write<'_>]) -> Result<(), EditError> {
    writes.iter().try_for_each(|(key, weight)| g.set(NodeId::named(key), WEIGHT, *weight))
}

pub(crate) fn add(g: &mut Edit<'_, Graph>, nodes: &[Node<'_>]) -> Result<(), EditError> {
    for node in nodes {
        let id = g.add_node(node.key)?;
        let mut properties = g.properties_mut(id);
        for (path, value) in &node.properties {
            match value {
                Value::Text(text) => properties.set(*path, *text)?,
                Value::Number(number) => properties.set(*path, *number)?,
            }
        }
    }
    Ok(())
}

fn value(value: driftless::Value<'_>) -> Result<Value<'_>, Failure> {
    match value {
        driftless::Value::Str(text) => Ok(Value::Text(text)),
        driftless::Value::Float(number) => Ok(Value::Number(number)),
        // Whole numbers are stored as such.
        driftless::Value::Int(number) => Ok(Value::Number(number as f64)),
        other => Err(format!("unexpected value {other:?}").into()),
    }
}

impl Library for Driftless {
    type Version = Version;

    fn new() -> Result<Self, Failure> {
        Ok(Self(Replica::new()))
    }

    fn add(&mut self, nodes: &[Node<'_>]) -> Result<(), Failure> {
        self.0.edit(|g| add(g, nodes))?;
        Ok(())
    }

    fn link(&mut self, edges: &[Edge<'_>]) -> Result<(), Failure> {
        self.0.edit(|g| {
            edges
                .iter()
                .try_for_each(|edge| g.link(NodeId::named(edge.from), edge.kind, NodeId::named(edge.to)).map(drop))
        })?;
        Ok(())
    }

    fn set(&mut self, writes: &[Write<'_>]) -> Result<(), Failure> {
        self.0.edit(|g| set(g, writes))?;
        Ok(())
    }

    /// An edit returns its delta.
    fn set_and_update(&mut self, writes: &[Write<'_>]) -> Result<Vec<u8>, Failure> {
        let (_, delta) = self.0.edit(|g| set(g, writes))?;
        Ok(delta.to_bytes())
    }

    fn remove(&mut self, keys: &[&str]) -> Result<(), Failure> {
        self.0.edit(|g| keys.iter().try_for_each(|key| g.remove_node(NodeId::named(key)).map(drop)))?;
        Ok(())
    }

    fn read(&self, keys: &[&str], paths: &[&str], see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure> {
        for key in keys {
            let node = self.0.state().node(NodeId::named(key)).ok_or_else(|| libraries::missing(key))?;
            for path in paths {
                if let Some(found) = node.get(*path) {
                    see(value(found)?);
                }
            }
        }
        Ok(())
    }

    fn each(&self, path: &str, see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure> {
        for found in self.0.state().nodes().filter_map(|node| node.get(path)) {
            see(value(found)?);
        }
        Ok(())
    }

    fn node_count(&self) -> usize {
        self.0.state().node_count()
    }

    fn count_edges(&self, edges: &[Edge<'_>]) -> Result<usize, Failure> {
        let state = self.0.state();
        let is_there = |edge: &&Edge<'_>| {
            let target = NodeId::named(edge.to);
            state.outgoing_of(NodeId::named(edge.from), edge.kind).any(|found| found.target() == target)
        };
        Ok(edges.iter().filter(is_there).count())
    }

    /// Tombstones are encoded too, until they are pruned.
    fn encode(&mut self) -> Result<Vec<u8>, Failure> {
        Ok(self.0.save())
    }

    /// Without tombstones. A peer that has not seen a pruned deletion learns of it all the same.
    fn encode_trimmed(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        self.0.prune(Prune::All);
        Ok(Some(self.0.save()))
    }

    fn load(bytes: &[u8]) -> Result<Self, Failure> {
        Ok(Self(Replica::load(bytes)?))
    }

    fn version(&mut self) -> Result<Version, Failure> {
        Ok(self.0.version().clone())
    }

    fn delta_since(&mut self, version: &Version) -> Result<Vec<u8>, Failure> {
        Ok(self.0.delta_since(version)?.to_bytes())
    }

    fn apply(&mut self, update: &[u8]) -> Result<(), Failure> {
        self.0.merge(&Delta::from_bytes(update)?)?;
        Ok(())
    }
}
