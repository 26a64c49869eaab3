//! What is derived from a graph's cells whether or not anybody asks: adjacency, labels, types, counts, hidden survivors.

use im::OrdSet;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::bugs::{Bug, is};
use crate::graph::keys::{EDGE, Ends, NODE, label_of, labels, node as node_entity};
use crate::id::{EdgeId, NodeId};
use crate::kernel::{Cells, Entity, State, Touched, visits};
use crate::packed::Set;

/// Persistent, like the state that it follows.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Every live edge twice: at its source and at its target. See [`hop`].
    hops: Set<HOP>,
    nodes: usize,
    /// Entities without a live root that hold something live.
    hidden: OrdSet<Entity>,
    /// Nodes that are not there and at which edges end: dangling ones.
    absent: OrdSet<NodeId>,
    /// The labels of the nodes that are there, by their hashes.
    labels: Set<HASHED>,
    /// Every live edge by the hash of its type.
    types: Set<HASHED>,
    /// The [hops](hop) of edges that came with the merge under way, which are indexed in order when it [ends](Self::index_waiting).
    waiting: Vec<[u8; HOP]>,
}

/// The length of a [hop].
const HOP: usize = 16 + 1 + 4 + 16;

/// The length of a hash and an id.
const HASHED: usize = 4 + 16;

impl Index {
    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    pub(super) fn edges(&self) -> usize {
        self.hops.len() / 2
    }

    pub(super) fn absent(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.absent.iter().copied()
    }

    pub(super) fn hidden(&self) -> impl Iterator<Item = Entity> + '_ {
        self.hidden.iter().copied()
    }

    /// The edges at a node in one direction, all or of one type (and of types that hash alike).
    pub(super) fn hops(
        &self,
        node: NodeId,
        incoming: bool,
        edge_type: Option<&str>,
    ) -> impl Iterator<Item = EdgeId> + use<'_> {
        let prefix = match edge_type {
            Some(edge_type) => {
                SmallVec::<[u8; 32]>::from_slice(&hop(node, incoming, edge_type, EdgeId::from([0; 16]))[..HOP - 16])
            }
            None => SmallVec::from_slice(&hop(node, incoming, "", EdgeId::from([0; 16]))[..17]),
        };
        self.hops.with_prefix(prefix).map(|hop| id(hop))
    }

    /// The nodes with a label, or with one that hashes alike, in the order of their ids.
    pub(super) fn labelled(&self, label: &str) -> impl Iterator<Item = NodeId> + use<'_> {
        self.labels.with_prefix(hash(label)).map(|key| id(key))
    }

    /// The edges of a type, or of one that hashes alike, in the order of their ids.
    pub(super) fn typed(&self, edge_type: &str) -> impl Iterator<Item = EdgeId> + use<'_> {
        self.types.with_prefix(hash(edge_type)).map(|key| id(key))
    }

    /// Follows one cell. New edges wait for [`index_waiting`](Self::index_waiting).
    pub(super) fn follow(&mut self, state: &State, touched: &Touched) {
        let entity = touched.entity;
        if !matches!(entity.kind(), NODE | EDGE) {
            return;
        }
        if touched.field.is_root() {
            match entity.kind() {
                NODE => {
                    self.nodes = self.nodes + usize::from(touched.is_live) - usize::from(touched.was_live());
                    self.follow_end(NodeId::from(*entity.id()), touched.is_live);
                }
                _ => self.follow_edge(state, touched),
            }
        }
        self.follow_labels(state, touched);
        let was_live = if touched.field.is_root() { touched.was_live() } else { touched.is_live };
        if touched.is_live && was_live {
            return;
        }
        let hidden = !touched.is_live && state.cells(entity).is_some_and(|cells| cells.has_live_fields());
        match hidden {
            true => drop(self.hidden.insert(entity)),
            false if self.hidden.is_empty() => {}
            false => drop(self.hidden.remove(&entity)),
        }
    }

    fn follow_edge(&mut self, state: &State, touched: &Touched) {
        let id = EdgeId::from(*touched.entity.id());
        let (was, now) =
            (Ends::among(id, touched.cell_was().payloads()), Ends::among(id, touched.cell_now().payloads()));
        // Of one id there is one pair of ends.
        match (was, now) {
            (Some(_), None) if is(Bug::AdjacencyKept) => {}
            (Some(ends), None) => {
                self.index_waiting(state);
                for hop in hops(id, ends) {
                    self.hops.remove(&hop);
                }
                self.types.remove(&hashed(ends.edge_type, id.as_bytes()));
                // A node that is not missing is not missed for one edge fewer.
                for node in [ends.source, ends.target] {
                    if self.absent.contains(&node) {
                        self.follow_end(node, false);
                    }
                }
            }
            (None, Some(ends)) => self.waiting.extend(hops(id, ends)),
            _ => {}
        }
    }

    /// Indexes the edges that wait. O(edges · log n), or O(n) for many.
    pub(super) fn index_waiting(&mut self, state: &State) {
        if self.waiting.is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_unstable();
        self.hops.insert_sorted(&waiting);
        self.types.extend(waiting.iter().filter(|hop| !is_incoming(hop)).map(type_of));
        // Other nodes may be half merged, but what their roots say now is what was followed, or will be.
        for ends in waiting.chunk_by(|a, b| node_of(a) == node_of(b)) {
            let node = node_of(&ends[0]);
            self.follow_end(node, state.cells(node_entity(node)).is_some_and(Cells::is_live));
        }
        // The room stays for the next edges of an edit, unless it is large.
        waiting.clear();
        waiting.shrink_to(2);
        self.waiting = waiting;
    }

    /// Keeps up the labels of a node: of the label that changed, or of all that are alive where the node comes or goes. O(labels
    /// changed · log n).
    fn follow_labels(&mut self, state: &State, touched: &Touched) {
        let bears = touched.field.is_root() || label_of(&touched.field).is_some();
        if !bears || touched.entity.kind() != NODE || touched.was_live() == touched.is_now_live() {
            return;
        }
        let (node, cells) = (NodeId::from(*touched.entity.id()), state.cells(touched.entity));
        let is_there = cells.is_some_and(Cells::is_live);
        if let Some(label) = label_of(&touched.field) {
            let has_label = cells.is_some_and(|cells| cells.live(touched.field.as_bytes()).next().is_some());
            self.set_label(label, node, is_there && has_label);
        } else if touched.field.is_root() && (is_there || !is(Bug::LabelKept)) {
            let labels = cells.into_iter().flat_map(labels);
            labels.for_each(|label| self.set_label(label, node, is_there));
        }
    }

    fn set_label(&mut self, label: &str, node: NodeId, has_label: bool) {
        let key = hashed(label, node.as_bytes());
        match has_label {
            true => self.labels.insert(key),
            false => self.labels.remove(&key),
        };
    }

    /// Keeps up whether a node is missing where edges end.
    fn follow_end(&mut self, node: NodeId, is_there: bool) {
        visits::count(1);
        let is_absent = !is_there && [false, true].iter().any(|way| self.hops(node, *way, None).next().is_some());
        match is_absent {
            true => drop(self.absent.insert(node)),
            false if self.absent.is_empty() => {}
            false => drop(self.absent.remove(&node)),
        }
    }

    #[cfg(feature = "testing")]
    pub(super) fn check(&self, state: &State) -> Result<(), String> {
        let mut fresh = Self::default();
        for (entity, cells) in state.entities() {
            match entity.kind() {
                NODE => {
                    fresh.nodes += usize::from(cells.is_live());
                    let node = NodeId::from(*entity.id());
                    let labels = labels(cells).filter(|_| cells.is_live());
                    fresh.labels.extend(labels.map(|label| hashed(label, node.as_bytes())));
                }
                EDGE => {
                    let id = EdgeId::from(*entity.id());
                    let ends = Ends::of(id, cells.siblings(crate::kernel::Field::ROOT.as_bytes()));
                    fresh.types.extend(ends.map(|ends| hashed(ends.edge_type, id.as_bytes())));
                    fresh.hops.extend(ends.into_iter().flat_map(|ends| hops(id, ends)));
                }
                _ => continue,
            }
            if !cells.is_live() && cells.has_live_fields() {
                fresh.hidden.insert(entity);
            }
        }
        let ends: std::collections::BTreeSet<_> = fresh.hops.iter().map(node_of).collect();
        let is_there = |node: &NodeId| state.cells(node_entity(*node)).is_some_and(Cells::is_live);
        fresh.absent.extend(ends.into_iter().filter(|node| !is_there(node)));
        let checks = [
            ("absent ends", self.absent == fresh.absent),
            ("adjacency", self.hops == fresh.hops),
            ("labels", self.labels == fresh.labels),
            ("types", self.types == fresh.types),
            ("node count", self.nodes == fresh.nodes),
            ("hidden survivors", self.hidden == fresh.hidden),
            ("edges that wait", self.waiting.is_empty()),
        ];
        match checks.iter().find(|(_, holds)| !holds) {
            Some((what, _)) => Err(format!("{what} does not follow from the cells")),
            None => Ok(()),
        }
    }
}

fn node_of(hop: &[u8; HOP]) -> NodeId {
    NodeId::from(hop.first_chunk().copied().unwrap_or_default())
}

fn is_incoming(hop: &[u8; HOP]) -> bool {
    hop[16] == 1
}

/// The hash of the type and the edge, as [`hashed`] joins them.
fn type_of(hop: &[u8; HOP]) -> [u8; HASHED] {
    hop.last_chunk().copied().unwrap_or_default()
}

/// One end of an edge: the node, 1 if the edge leads to it, the hash of the type, the edge. Types are hashed to have one length, and
/// who reads an edge reads its type.
fn hop(node: NodeId, incoming: bool, edge_type: &str, edge: EdgeId) -> [u8; HOP] {
    let mut hop = [0; HOP];
    hop[..16].copy_from_slice(node.as_bytes());
    hop[16] = incoming.into();
    hop[17..21].copy_from_slice(&hash(edge_type));
    hop[21..].copy_from_slice(edge.as_bytes());
    hop
}

/// Both ends of an edge of this id, which is a hash of them.
fn hops(edge: EdgeId, ends: Ends<'_>) -> [[u8; HOP]; 2] {
    [hop(ends.source, false, ends.edge_type, edge), hop(ends.target, true, ends.edge_type, edge)]
}

/// An id by the hash of a text.
fn hashed(text: &str, id: &[u8; 16]) -> [u8; HASHED] {
    let mut key = [0; HASHED];
    key[..4].copy_from_slice(&hash(text));
    key[4..].copy_from_slice(id);
    key
}

/// The id that a key ends with.
fn id<I: From<[u8; 16]>>(key: &[u8]) -> I {
    I::from(key.last_chunk().copied().unwrap_or_default())
}

fn hash(text: &str) -> [u8; 4] {
    xxh3_64(text.as_bytes()).to_be_bytes().first_chunk().copied().unwrap_or_default()
}
