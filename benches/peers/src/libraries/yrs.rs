//! yrs: a root map of maps, garbage-collected as by default.
//!
//! A node is one `MapPrelim`. The second encoding (v2) is the compact one, so it is used throughout. Deltas by version
//! are `encode_state_as_update_v2` with the peer's state vector; the update of a transaction is its own
//! `encode_update_v2`, which is the documented path for changes as they are made.

use yrs::updates::decoder::Decode;
use yrs::{Any, Doc, Map, MapPrelim, MapRef, Out, ReadTxn, StateVector, Transact, TransactionMut, Update};

use super::{Edge, Library, Node, Value, Write, key_of, missing};
use crate::Failure;
use crate::data::WEIGHT;

pub(crate) struct Peer {
    document: Doc,
    nodes: MapRef,
}

fn map_of(nodes: &MapRef, transaction: &impl ReadTxn, key: &str) -> Result<MapRef, Failure> {
    match nodes.get(transaction, key) {
        Some(Out::YMap(map)) => Ok(map),
        _ => Err(missing(key)),
    }
}

fn show(value: Option<Out>, see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure> {
    match value {
        Some(Out::Any(Any::String(text))) => see(Value::Text(&text)),
        // Whole numbers are kept as such.
        Some(Out::Any(Any::Number(number))) => see(Value::Number(number.as_f64().ok_or("a number is too large")?)),
        Some(other) => return Err(format!("unexpected value {other:?}").into()),
        None => {}
    }
    Ok(())
}

fn set(nodes: &MapRef, transaction: &mut TransactionMut<'_>, writes: &[Write<'_>]) -> Result<(), Failure> {
    for (key, weight) in writes {
        map_of(nodes, transaction, key)?.insert(transaction, key_of(WEIGHT), *weight);
    }
    Ok(())
}

impl Library for Peer {
    type Version = StateVector;

    fn new() -> Result<Self, Failure> {
        let document = Doc::new();
        Ok(Self { nodes: document.get_or_insert_map("nodes"), document })
    }

    fn add(&mut self, nodes: &[Node<'_>]) -> Result<(), Failure> {
        let mut transaction = self.document.transact_mut();
        for node in nodes {
            let properties = node.properties.iter().map(|(path, value)| {
                let value = match value {
                    Value::Text(text) => Any::from(*text),
                    Value::Number(number) => Any::from(*number),
                };
                (key_of(path), value)
            });
            self.nodes.insert(&mut transaction, node.key, properties.collect::<MapPrelim>());
        }
        Ok(())
    }

    fn link(&mut self, edges: &[Edge<'_>]) -> Result<(), Failure> {
        let mut transaction = self.document.transact_mut();
        for edge in edges {
            map_of(&self.nodes, &transaction, edge.from)?.insert(&mut transaction, edge.key, true);
        }
        Ok(())
    }

    fn set(&mut self, writes: &[Write<'_>]) -> Result<(), Failure> {
        set(&self.nodes, &mut self.document.transact_mut(), writes)
    }

    fn set_and_update(&mut self, writes: &[Write<'_>]) -> Result<Vec<u8>, Failure> {
        let mut transaction = self.document.transact_mut();
        set(&self.nodes, &mut transaction, writes)?;
        Ok(transaction.encode_update_v2())
    }

    fn remove(&mut self, keys: &[&str]) -> Result<(), Failure> {
        let mut transaction = self.document.transact_mut();
        for key in keys {
            self.nodes.remove(&mut transaction, key);
        }
        Ok(())
    }

    fn read(&self, keys: &[&str], paths: &[&str], see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure> {
        let transaction = self.document.transact();
        for key in keys {
            let node = map_of(&self.nodes, &transaction, key)?;
            for path in paths {
                show(node.get(&transaction, key_of(path)), see)?;
            }
        }
        Ok(())
    }

    fn each(&self, path: &str, see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure> {
        let (transaction, key) = (self.document.transact(), key_of(path));
        for (_, node) in self.nodes.iter(&transaction) {
            let Out::YMap(node) = node else { return Err(missing("a node")) };
            show(node.get(&transaction, key), see)?;
        }
        Ok(())
    }

    fn node_count(&self) -> usize {
        self.nodes.len(&self.document.transact()) as usize
    }

    fn count_edges(&self, edges: &[Edge<'_>]) -> Result<usize, Failure> {
        let (transaction, mut count) = (self.document.transact(), 0);
        for edge in edges {
            let source = map_of(&self.nodes, &transaction, edge.from)?;
            count += usize::from(source.contains_key(&transaction, edge.key));
        }
        Ok(count)
    }

    fn encode(&mut self) -> Result<Vec<u8>, Failure> {
        Ok(self.document.transact().encode_state_as_update_v2(&StateVector::default()))
    }

    fn load(bytes: &[u8]) -> Result<Self, Failure> {
        let mut peer = Self::new()?;
        peer.apply(bytes)?;
        Ok(peer)
    }

    fn version(&mut self) -> Result<StateVector, Failure> {
        Ok(self.document.transact().state_vector())
    }

    fn delta_since(&mut self, version: &StateVector) -> Result<Vec<u8>, Failure> {
        Ok(self.document.transact().encode_state_as_update_v2(version))
    }

    fn apply(&mut self, update: &[u8]) -> Result<(), Failure> {
        Ok(self.document.transact_mut().apply_update(Update::decode_v2(update)?)?)
    }
}
