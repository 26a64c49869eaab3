//! automerge: maps in the root of a document.
//!
//! `Automerge` with explicit transactions instead of `AutoCommit`. Nodes are added by `batch_create_object`, which its
//! documentation calls much faster than single puts. Texts are plain strings, not collaborative text. Deltas are
//! `save_after`, and are applied by `load_incremental`.

use std::collections::HashMap;

use automerge::hydrate;
use automerge::iter::{DocItem, MapRangeItem};
use automerge::transaction::Transactable;
use automerge::{Automerge, ChangeHash, ObjId, ROOT, ReadDoc, ScalarValue, ScalarValueRef, ValueRef};

use super::{Edge, Library, Node, Value, Write, key_of, missing};
use crate::Failure;
use crate::data::WEIGHT;

pub(crate) struct Peer(Automerge);

fn map_of(document: &impl ReadDoc, key: &str) -> Result<ObjId, Failure> {
    Ok(document.get(ROOT, key)?.ok_or_else(|| missing(key))?.1)
}

impl Library for Peer {
    type Version = Vec<ChangeHash>;

    fn new() -> Result<Self, Failure> {
        Ok(Self(Automerge::new()))
    }

    fn add(&mut self, nodes: &[Node<'_>]) -> Result<(), Failure> {
        let mut transaction = self.0.transaction();
        for node in nodes {
            let properties = node.properties.iter().map(|(path, value)| {
                let value = match value {
                    Value::Text(text) => hydrate::Value::scalar(*text),
                    Value::Number(number) => hydrate::Value::scalar(*number),
                };
                (key_of(path), value)
            });
            let value = hydrate::Value::from(properties.collect::<HashMap<_, _>>());
            transaction.batch_create_object(ROOT, node.key, &value, false)?;
        }
        transaction.commit();
        Ok(())
    }

    fn link(&mut self, edges: &[Edge<'_>]) -> Result<(), Failure> {
        let mut transaction = self.0.transaction();
        for edge in edges {
            let source = map_of(&transaction, edge.from)?;
            transaction.put(&source, edge.key, true)?;
        }
        transaction.commit();
        Ok(())
    }

    fn set(&mut self, writes: &[Write<'_>]) -> Result<(), Failure> {
        let mut transaction = self.0.transaction();
        for (key, weight) in writes {
            let node = map_of(&transaction, key)?;
            transaction.put(&node, key_of(WEIGHT), *weight)?;
        }
        transaction.commit();
        Ok(())
    }

    fn remove(&mut self, keys: &[&str]) -> Result<(), Failure> {
        let mut transaction = self.0.transaction();
        keys.iter().try_for_each(|key| transaction.delete(ROOT, *key))?;
        transaction.commit();
        Ok(())
    }

    fn read(&self, keys: &[&str], paths: &[&str], see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure> {
        for key in keys {
            let node = map_of(&self.0, key)?;
            for path in paths {
                match self.0.get(&node, key_of(path))? {
                    Some((automerge::Value::Scalar(scalar), _)) => match scalar.as_ref() {
                        ScalarValue::Str(text) => see(Value::Text(text)),
                        ScalarValue::F64(number) => see(Value::Number(*number)),
                        other => return Err(format!("unexpected value {other:?}").into()),
                    },
                    Some((other, _)) => return Err(format!("unexpected value {other:?}").into()),
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// By `iter`, which visits every property of the document: some four times as fast as a `get` for each node.
    fn each(&self, path: &str, see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure> {
        let key = key_of(path);
        for item in self.0.iter() {
            match item.item {
                DocItem::Map(MapRangeItem { key: of, value: ValueRef::Scalar(scalar), .. }) if of == key => {
                    match scalar {
                        ScalarValueRef::Str(text) => see(Value::Text(&text)),
                        ScalarValueRef::F64(number) => see(Value::Number(number)),
                        other => return Err(format!("unexpected value {other:?}").into()),
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn node_count(&self) -> usize {
        self.0.length(ROOT)
    }

    fn count_edges(&self, edges: &[Edge<'_>]) -> Result<usize, Failure> {
        let mut count = 0;
        for edge in edges {
            count += usize::from(self.0.get(map_of(&self.0, edge.from)?, edge.key)?.is_some());
        }
        Ok(count)
    }

    fn encode(&mut self) -> Result<Vec<u8>, Failure> {
        Ok(self.0.save_nocompress())
    }

    /// `save` compresses by DEFLATE.
    fn encode_compressed(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(Some(self.0.save()))
    }

    fn load(bytes: &[u8]) -> Result<Self, Failure> {
        Ok(Self(Automerge::load(bytes)?))
    }

    fn version(&mut self) -> Result<Vec<ChangeHash>, Failure> {
        Ok(self.0.get_heads())
    }

    fn delta_since(&mut self, version: &Vec<ChangeHash>) -> Result<Vec<u8>, Failure> {
        Ok(self.0.save_after(version))
    }

    fn apply(&mut self, update: &[u8]) -> Result<(), Failure> {
        self.0.load_incremental(update)?;
        Ok(())
    }
}
