//! The libraries, each behind the same few functions and by its documented fast path.
//!
//! In the peers a graph is a map of nodes by their keys, each node is a map of its properties, and an edge is an entry
//! of its source's map, `>kind target`. That is the leanest model of a graph there: an edge adds no container.

use std::hash::{Hash, Hasher};

use crate::Failure;

pub(crate) mod automerge;
pub(crate) mod crdts;
pub(crate) mod driftless;
pub(crate) mod loro;
pub(crate) mod yrs;

/// A value of a property.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Number(f64),
}

impl Hash for Value<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match self {
            Self::Text(text) => text.hash(hasher),
            Self::Number(number) => number.to_bits().hash(hasher),
        }
    }
}

/// A node and its properties by their paths, such as `/name`.
pub(crate) struct Node<'a> {
    pub(crate) key: &'a str,
    pub(crate) properties: Vec<(&'a str, Value<'a>)>,
}

/// An edge between two nodes that are there.
pub(crate) struct Edge<'a> {
    pub(crate) from: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) to: &'a str,
    /// Key of the edge in the map of its source, for libraries without edges.
    pub(crate) key: &'a str,
}

/// A write of a number to the property that is overwritten ([`WEIGHT`](crate::data::WEIGHT)).
pub(crate) type Write<'a> = (&'a str, f64);

/// A replica of a graph. Each method that writes makes one transaction.
pub(crate) trait Library: Sized {
    /// The writes that a replica has seen.
    type Version;

    fn new() -> Result<Self, Failure>;

    fn add(&mut self, nodes: &[Node<'_>]) -> Result<(), Failure>;

    fn link(&mut self, edges: &[Edge<'_>]) -> Result<(), Failure>;

    fn set(&mut self, writes: &[Write<'_>]) -> Result<(), Failure>;

    /// Writes like [`set`](Self::set), and returns the update for a peer that has seen all before it.
    ///
    /// By default the update is a delta by version. A library that offers the update of a transaction itself uses that.
    fn set_and_update(&mut self, writes: &[Write<'_>]) -> Result<Vec<u8>, Failure> {
        let before = self.version()?;
        self.set(writes)?;
        self.delta_since(&before)
    }

    fn remove(&mut self, keys: &[&str]) -> Result<(), Failure>;

    /// Looks nodes up by their keys, and passes each property that is there to `see`.
    fn read(&self, keys: &[&str], paths: &[&str], see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure>;

    /// Passes a property of every node that has it to `see`, in any order, by the fastest documented walk of all nodes.
    fn each(&self, path: &str, see: &mut dyn FnMut(Value<'_>)) -> Result<(), Failure>;

    /// Makes repeated reads fast, where the library has a setting for that.
    fn read_often(&mut self) {}

    fn node_count(&self) -> usize;

    /// Counts those of the edges that are there.
    fn count_edges(&self, edges: &[Edge<'_>]) -> Result<usize, Failure>;

    /// Encodes the state, uncompressed where the library leaves the choice.
    fn encode(&mut self) -> Result<Vec<u8>, Failure>;

    /// Encodes the state compressed by the library itself. None if it cannot; then the bench compresses what
    /// [`encode`](Self::encode) returned by zstd at level 1.
    fn encode_compressed(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }

    /// Encodes the state without what deletions and overwrites left, where the library can drop that. Libraries that
    /// lock out peers or lose something thereby say so.
    fn encode_trimmed(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }

    /// Opens another replica from what [`encode`](Self::encode) returned.
    fn load(bytes: &[u8]) -> Result<Self, Failure>;

    /// The version of this replica, from which a delta is made later.
    fn version(&mut self) -> Result<Self::Version, Failure>;

    fn delta_since(&mut self, version: &Self::Version) -> Result<Vec<u8>, Failure>;

    fn apply(&mut self, update: &[u8]) -> Result<(), Failure>;
}

/// The key of a property in a map.
fn key_of(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

fn missing(what: &str) -> Failure {
    format!("`{what}` is not there").into()
}
