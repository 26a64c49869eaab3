//! crdts: a `Map` of `Map`s of `MVReg`s.
//!
//! The crate has no documents, transactions, deltas or bytes. So a transaction is a list of operations, an update is the
//! list since the peer's version in MessagePack (the format of driftless, too), and the state is the map in MessagePack.
//! The list is kept only from the first call of `version`, so that building does not pay for it.

use crdts::{CmRDT, MVReg, Map, map};
use serde::{Deserialize, Serialize};

use super::{Edge, Library, Node, Value, Write, key_of, missing};
use crate::Failure;
use crate::data::WEIGHT;

/// The id of a replica.
type Actor = u64;

type Properties = Map<String, MVReg<Owned, Actor>, Actor>;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Owned {
    Text(String),
    Number(f64),
    Edge,
}

impl From<Value<'_>> for Owned {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Number(number) => Self::Number(number),
        }
    }
}

pub(crate) struct Peer {
    nodes: Map<String, Properties, Actor>,
    actor: Actor,
    /// Operations since the first call of `version`.
    log: Option<Vec<map::Op<String, Properties, Actor>>>,
}

impl Peer {
    fn of(nodes: Map<String, Properties, Actor>) -> Self {
        // A random number: the hash of 0 by the random keys of the standard library.
        let actor = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
        Self { nodes, actor, log: None }
    }

    fn write(&mut self, key: &str, field: &str, value: Owned) {
        let context = self.nodes.read_ctx().derive_add_ctx(self.actor);
        self.apply_own(self.nodes.update(key, context, |node, context| {
            node.update(field, context, |register, context| register.write(value, context))
        }));
    }

    fn apply_own(&mut self, operation: map::Op<String, Properties, Actor>) {
        if let Some(log) = &mut self.log {
            log.push(operation.clone());
        }
        self.nodes.apply(operation);
    }

    fn node(&self, key: &str) -> Result<Properties, Failure> {
        self.nodes.get(&key.to_owned()).val.ok_or_else(|| missing(key))
    }
}

/// The value of a property: one, for no two replicas write one concurrently in this bench.
fn value(node: &Properties, field: &str) -> Option<Owned> {
    node.get(&field.to_owned()).val?.read().val.pop()
}

fn show(value: Option<Owned>, see: &mut dyn FnMut(Value<'_>)) {
    match value {
        Some(Owned::Text(text)) => see(Value::Text(&text)),
        Some(Owned::Number(number)) => see(Value::Number(number)),
        Some(Owned::Edge) | None => {}
    }
}

impl Library for Peer {
    type Version = usize;

    fn new() -> Result<Self, Failure> {
        Ok(Self::of(Map::new()))
    }

    fn add(&mut self, nodes: &[Node<'_>]) -> Result<(), Failure> {
        for node in nodes {
            for (path, value) in &node.properties {
                self.write(node.key, key_of(path), (*value).into());
            }
        }
        Ok(())
    }

    fn link(&mut self, edges: &[Edge<'_>]) -> Result<(), Failure> {
        edges.iter().for_each(|edge| self.write(edge.from, edge.key, Owned::Edge));
        Ok(())
    }

    fn set(&mut self, writes: &[Write<'_>]) -> Result<(), Failure> {
        writes.iter().for_each(|(key, weight)| self.write(key, key_of(WEIGHT), Owned::Number(*weight)));
        Ok(())
    }

    fn remove(&mut self, keys: &[&str]) -> Result<(), Failure> {
        for key in keys {
            let context = self.nodes.get(&(*key).to_owned()).derive_rm_ctx();
            self.apply_own(self.nodes.rm(*key, context));
        }
        Ok(())
    }

    /// `get` clones the whole node: the crate has no other look-up.
    fn read(&self, keys: &[&str], paths: &[&str], see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure> {
        for key in keys {
            let node = self.node(key)?;
            for path in paths {
                show(value(&node, key_of(path)), see);
            }
        }
        Ok(())
    }

    fn each(&self, path: &str, see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure> {
        self.nodes.values().for_each(|node| show(value(node.val, key_of(path)), see));
        Ok(())
    }

    fn node_count(&self) -> usize {
        self.nodes.len().val
    }

    fn count_edges(&self, edges: &[Edge<'_>]) -> Result<usize, Failure> {
        let mut count = 0;
        for edge in edges {
            count += usize::from(self.node(edge.from)?.get(&edge.key.to_owned()).val.is_some());
        }
        Ok(count)
    }

    fn encode(&mut self) -> Result<Vec<u8>, Failure> {
        Ok(rmp_serde::to_vec(&self.nodes)?)
    }

    fn load(bytes: &[u8]) -> Result<Self, Failure> {
        Ok(Self::of(rmp_serde::from_slice(bytes)?))
    }

    fn version(&mut self) -> Result<usize, Failure> {
        Ok(self.log.get_or_insert_default().len())
    }

    fn delta_since(&mut self, version: &usize) -> Result<Vec<u8>, Failure> {
        let log = self.log.as_deref().unwrap_or_default();
        Ok(rmp_serde::to_vec(log.get(*version..).unwrap_or_default())?)
    }

    fn apply(&mut self, update: &[u8]) -> Result<(), Failure> {
        let operations: Vec<_> = rmp_serde::from_slice(update)?;
        operations.into_iter().for_each(|operation| self.nodes.apply(operation));
        Ok(())
    }
}
