//! What is derived from a graph's cells whether or not anybody asks: adjacency, labels, types, counts, hidden survivors.

use im::{OrdMap, OrdSet};
use xxhash_rust::xxh3::xxh3_64;

use crate::bugs::{Bug, is};
use crate::graph::keys::{EDGE, Ends, NODE, label_of, labels, node as node_entity};
use crate::id::{EdgeId, NodeId};
use crate::kernel::{Cells, Entity, State, Touched, visits};

/// Persistent, like the state that it follows.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Every live edge twice: from its source and from its target, with the other end.
    hops: OrdMap<Hop, NodeId>,
    nodes: usize,
    /// Entities without a live root that hold something live.
    hidden: OrdSet<Entity>,
    /// Nodes that are not there and at which edges end: dangling ones.
    absent: OrdSet<NodeId>,
    /// The labels of the nodes that are there, by their hashes.
    labels: OrdSet<(u64, NodeId)>,
    /// Every live edge by the hash of its type.
    types: OrdSet<(u64, EdgeId)>,
}

/// One end of an edge. Types are hashed: a key of fixed size sorts and copies fast, and who reads an edge reads its type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Hop {
    node: NodeId,
    incoming: bool,
    edge_type: u64,
    pub(super) edge: EdgeId,
}

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

    /// The edges at a node in one direction, all or of one type (and of types that hash alike), with their other ends.
    pub(super) fn hops(
        &self,
        node: NodeId,
        incoming: bool,
        edge_type: Option<&str>,
    ) -> impl Iterator<Item = (EdgeId, NodeId)> + '_ {
        let hash = edge_type.map(hash);
        let hop = |edge_type: u64, edge: [u8; 16]| Hop { node, incoming, edge_type, edge: edge.into() };
        let first = hop(hash.unwrap_or(0), [0; 16]);
        let last = hop(hash.unwrap_or(u64::MAX), [0xff; 16]);
        self.hops.range(first..=last).map(|(hop, other)| (hop.edge, *other))
    }

    /// The nodes with a label, or with one that hashes alike, in the order of their ids.
    pub(super) fn labelled(&self, label: &str) -> impl Iterator<Item = NodeId> + use<'_> {
        of_hash(&self.labels, hash(label), [[0; 16], [0xff; 16]].map(NodeId::from))
    }

    /// The edges of a type, or of one that hashes alike, in the order of their ids.
    pub(super) fn typed(&self, edge_type: &str) -> impl Iterator<Item = EdgeId> + use<'_> {
        of_hash(&self.types, hash(edge_type), [[0; 16], [0xff; 16]].map(EdgeId::from))
    }

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
            false => drop(self.hidden.remove(&entity)),
        }
    }

    fn follow_edge(&mut self, state: &State, touched: &Touched) {
        let id = EdgeId::from(*touched.entity.id());
        let (was, now) =
            (Ends::among(id, touched.cell_was().payloads()), Ends::among(id, touched.cell_now().payloads()));
        // Of one id there is one pair of ends.
        let ends = match (was, now) {
            (Some(_), None) if is(Bug::AdjacencyKept) => return,
            (Some(ends), None) => {
                for (hop, _) in hops(id, ends) {
                    self.hops.remove(&hop);
                }
                self.types.remove(&(hash(ends.edge_type), id));
                // A node that is not missing is not missed for one edge fewer.
                for node in [ends.source, ends.target] {
                    if self.absent.contains(&node) {
                        self.follow_end(node, false);
                    }
                }
                return;
            }
            (None, Some(ends)) => {
                self.hops.extend(hops(id, ends));
                self.types.insert((hash(ends.edge_type), id));
                ends
            }
            _ => return,
        };
        for node in [ends.source, ends.target] {
            // Others may be half merged, but what their root says now is what was followed, or will be.
            let is_there = state.cells(node_entity(node)).is_some_and(Cells::is_live);
            self.follow_end(node, is_there);
        }
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
        match has_label {
            true => drop(self.labels.insert((hash(label), node))),
            false => drop(self.labels.remove(&(hash(label), node))),
        }
    }

    /// Keeps up whether a node is missing where edges end.
    fn follow_end(&mut self, node: NodeId, is_there: bool) {
        visits::count(1);
        let is_absent = !is_there && [false, true].iter().any(|way| self.hops(node, *way, None).next().is_some());
        match is_absent {
            true => drop(self.absent.insert(node)),
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
                    fresh.labels.extend(labels.map(|label| (hash(label), node)));
                }
                EDGE => {
                    let id = EdgeId::from(*entity.id());
                    let ends = Ends::of(id, cells.siblings(crate::kernel::Field::ROOT.as_bytes()));
                    fresh.types.extend(ends.map(|ends| (hash(ends.edge_type), id)));
                    fresh.hops.extend(ends.into_iter().flat_map(|ends| hops(id, ends)));
                }
                _ => continue,
            }
            if !cells.is_live() && cells.has_live_fields() {
                fresh.hidden.insert(entity);
            }
        }
        let ends: std::collections::BTreeSet<_> = fresh.hops.keys().map(|hop| hop.node).collect();
        let is_there = |node: &NodeId| state.cells(node_entity(*node)).is_some_and(Cells::is_live);
        fresh.absent.extend(ends.into_iter().filter(|node| !is_there(node)));
        let checks = [
            ("absent ends", self.absent == fresh.absent),
            ("adjacency", self.hops == fresh.hops),
            ("labels", self.labels == fresh.labels),
            ("types", self.types == fresh.types),
            ("node count", self.nodes == fresh.nodes),
            ("hidden survivors", self.hidden == fresh.hidden),
        ];
        match checks.iter().find(|(_, holds)| !holds) {
            Some((what, _)) => Err(format!("{what} does not follow from the cells")),
            None => Ok(()),
        }
    }
}

/// Both ends of an edge of this id, which is a hash of them.
fn hops(edge: EdgeId, ends: Ends<'_>) -> [(Hop, NodeId); 2] {
    let hop = |node, incoming| Hop { node, incoming, edge_type: hash(ends.edge_type), edge };
    [(hop(ends.source, false), ends.target), (hop(ends.target, true), ends.source)]
}

fn of_hash<I: Ord + Copy>(all: &OrdSet<(u64, I)>, hash: u64, [first, last]: [I; 2]) -> impl Iterator<Item = I> {
    all.range((hash, first)..=(hash, last)).map(|(_, id)| *id)
}

fn hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}
