//! What a merge did, in the terms of a graph.

use crate::document::{Path, changed_path, reads_otherwise};
use crate::graph::keys::{self, Ends, Owner};
use crate::id::{EdgeId, NodeId};
use crate::kernel::{Field, Touched};
use crate::vector::Model;

/// One thing that a merge changed. Look the new state up by the id: the report tells where, not what.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GraphChange {
    /// A node is there that was not.
    NodeAdded(NodeId),
    /// A node is gone.
    NodeRemoved(NodeId),
    /// A node has a label that it had not.
    LabelAdded {
        /// The node.
        node: NodeId,
        /// The label.
        label: String,
    },
    /// A node has a label no longer.
    LabelRemoved {
        /// The node.
        node: NodeId,
        /// The label.
        label: String,
    },
    /// An edge is there that was not; it may dangle.
    EdgeAdded(EdgeId),
    /// An edge is gone.
    EdgeRemoved(EdgeId),
    /// The values at a path are others: one was set, removed, or joined by a concurrent one.
    PropertyChanged {
        /// The node or edge.
        of: Owner,
        /// Where.
        path: Path,
    },
    /// The vectors by a model are others: one was set, removed, or joined by a concurrent one.
    ///
    /// An index that follows looks a node up again at [`NodeAdded`](Self::NodeAdded) and [`NodeRemoved`](Self::NodeRemoved) too (or the like of an edge):
    /// a vector may be hidden, and come back, without being changed.
    EmbeddingChanged {
        /// The node or edge.
        of: Owner,
        /// Whose vectors.
        model: Model,
    },
    /// The place of a node in a tree is another: it was put there, moved, taken out, or moved concurrently.
    ///
    /// A node that comes or goes ([`NodeAdded`](Self::NodeAdded), [`NodeRemoved`](Self::NodeRemoved)) takes its place along without a change of
    /// it. Where a [circle](crate::ConflictKind::Circle) comes or goes, another node than the one that was moved may show elsewhere:
    /// [`Tree::changed_since`](crate::Tree::changed_since) tells of all.
    Moved {
        /// The node.
        node: NodeId,
        /// The name of the tree.
        tree: String,
    },
}

pub(super) fn describe(touched: &Touched) -> Option<GraphChange> {
    let (was_live, is_live) = (touched.was_live(), touched.is_now_live());
    let owner = keys::owner_of(touched.entity)?;
    if let Some(path) = changed_path(touched) {
        return Some(GraphChange::PropertyChanged { of: owner, path });
    }
    if let Some((name, dimension)) = keys::embedding_of(&touched.field) {
        let model = Model::new(name, dimension).ok()?;
        return reads_otherwise(touched).then_some(GraphChange::EmbeddingChanged { of: owner, model });
    }
    match owner {
        Owner::Node(node) if touched.field.is_root() => {
            either(was_live, is_live, GraphChange::NodeAdded(node), GraphChange::NodeRemoved(node))
        }
        Owner::Node(node) if let Some(tree) = keys::tree_of(&touched.field) => {
            reads_otherwise(touched).then(|| GraphChange::Moved { node, tree: tree.to_owned() })
        }
        Owner::Node(node) => {
            let label = keys::label_of(&touched.field)?.to_owned();
            let removed = GraphChange::LabelRemoved { node, label: label.clone() };
            either(was_live, is_live, GraphChange::LabelAdded { node, label }, removed)
        }
        Owner::Edge(edge) if touched.field == Field::ROOT => {
            let was = Ends::among(edge, touched.cell_was().payloads()).is_some();
            let is = Ends::among(edge, touched.cell_now().payloads()).is_some();
            either(was, is, GraphChange::EdgeAdded(edge), GraphChange::EdgeRemoved(edge))
        }
        Owner::Edge(_) => None,
    }
}

fn either(was: bool, is: bool, added: GraphChange, removed: GraphChange) -> Option<GraphChange> {
    match (was, is) {
        (false, true) => Some(added),
        (true, false) => Some(removed),
        _ => None,
    }
}
