//! loro: a root map of maps.
//!
//! One commit for each transaction, with the default merging of changes. The state is a snapshot, which loro compresses
//! by LZ4 itself; deltas are `ExportMode::updates`. A snapshot is loaded lazily, so the bench also reads every node.

use loro::{Container, ExportMode, LoroDoc, LoroMap, LoroValue, ValueOrContainer, VersionVector};

use super::{Edge, Library, Node, Value, Write, key_of, missing};
use crate::Failure;
use crate::data::WEIGHT;

pub(crate) struct Peer {
    document: LoroDoc,
    nodes: LoroMap,
}

impl Peer {
    fn of(document: LoroDoc) -> Self {
        Self { nodes: document.get_map("nodes"), document }
    }

    fn map_of(&self, key: &str) -> Result<LoroMap, Failure> {
        map(self.nodes.get(key)).ok_or_else(|| missing(key))
    }
}

fn map(value: Option<ValueOrContainer>) -> Option<LoroMap> {
    match value {
        Some(ValueOrContainer::Container(Container::Map(map))) => Some(map),
        _ => None,
    }
}

impl Library for Peer {
    type Version = VersionVector;

    fn new() -> Result<Self, Failure> {
        Ok(Self::of(LoroDoc::new()))
    }

    fn add(&mut self, nodes: &[Node<'_>]) -> Result<(), Failure> {
        for node in nodes {
            // A map that is filled before it is inserted is somewhat faster than one that is filled afterwards.
            let map = LoroMap::new();
            for (path, value) in &node.properties {
                match value {
                    Value::Text(text) => map.insert(key_of(path), *text)?,
                    Value::Number(number) => map.insert(key_of(path), *number)?,
                }
            }
            self.nodes.insert_container(node.key, map)?;
        }
        self.document.commit();
        Ok(())
    }

    fn link(&mut self, edges: &[Edge<'_>]) -> Result<(), Failure> {
        for edge in edges {
            self.map_of(edge.from)?.insert(edge.key, true)?;
        }
        self.document.commit();
        Ok(())
    }

    fn set(&mut self, writes: &[Write<'_>]) -> Result<(), Failure> {
        for (key, weight) in writes {
            self.map_of(key)?.insert(key_of(WEIGHT), *weight)?;
        }
        self.document.commit();
        Ok(())
    }

    fn remove(&mut self, keys: &[&str]) -> Result<(), Failure> {
        keys.iter().try_for_each(|key| self.nodes.delete(key))?;
        self.document.commit();
        Ok(())
    }

    fn read(&self, keys: &[&str], paths: &[&str], see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure> {
        for key in keys {
            let node = self.map_of(key)?;
            for path in paths {
                match node.get(key_of(path)) {
                    Some(ValueOrContainer::Value(LoroValue::String(text))) => see(Value::Text(&text)),
                    Some(ValueOrContainer::Value(LoroValue::Double(number))) => see(Value::Number(number)),
                    Some(other) => return Err(format!("unexpected value {other:?}").into()),
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// By `for_each`: faster than by `get_deep_value`.
    fn each(&self, path: &str, see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure> {
        let (key, mut unexpected) = (key_of(path), None);
        self.nodes.for_each(|_, node| match map(Some(node)).and_then(|node| node.get(key)) {
            Some(ValueOrContainer::Value(LoroValue::String(text))) => see(Value::Text(&text)),
            Some(ValueOrContainer::Value(LoroValue::Double(number))) => see(Value::Number(number)),
            Some(other) => unexpected = Some(format!("unexpected value {other:?}")),
            None => {}
        });
        unexpected.map_or(Ok(()), |unexpected| Err(unexpected.into()))
    }

    /// By default some 2,000 values are kept decoded.
    fn read_often(&mut self) {
        self.document.set_decoded_value_cache_limit(usize::MAX);
    }

    fn node_count(&self) -> usize {
        self.nodes.len()
    }

    fn count_edges(&self, edges: &[Edge<'_>]) -> Result<usize, Failure> {
        let mut count = 0;
        for edge in edges {
            count += usize::from(self.map_of(edge.from)?.get(edge.key).is_some());
        }
        Ok(count)
    }

    fn encode(&mut self) -> Result<Vec<u8>, Failure> {
        Ok(self.document.export(ExportMode::Snapshot)?)
    }

    /// A shallow snapshot: a peer whose version is older can no longer be merged with.
    fn encode_trimmed(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let frontiers = self.document.oplog_frontiers();
        Ok(Some(self.document.export(ExportMode::shallow_snapshot(&frontiers))?))
    }

    fn load(bytes: &[u8]) -> Result<Self, Failure> {
        Ok(Self::of(LoroDoc::from_snapshot(bytes)?))
    }

    fn version(&mut self) -> Result<VersionVector, Failure> {
        Ok(self.document.oplog_vv())
    }

    fn delta_since(&mut self, version: &VersionVector) -> Result<Vec<u8>, Failure> {
        Ok(self.document.export(ExportMode::updates(version))?)
    }

    fn apply(&mut self, update: &[u8]) -> Result<(), Failure> {
        self.document.import(update)?;
        Ok(())
    }
}
