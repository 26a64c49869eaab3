//! The knowledge graph: nodes with labels and properties, typed edges with properties.
//!
//! | file | idea |
//! |---|---|
//! | `keys` | where in the cells what lies |
//! | `index` | adjacency, labels, types, counts and hidden survivors: derived, and kept up in O(1) cells per change |
//! | `read` | nodes, edges, properties |
//! | `lookup` | nodes and edges by label, by type, by the value of a property |
//! | `edit` | everything that writes |
//! | `embed` | vectors of nodes and edges |
//! | `nearest` | the nodes and edges whose vectors are nearest to one |
//! | `rows` | the vectors of one model in rows that lie together |
//! | `values` | the nodes and edges by their values at one path, in order |
//! | `demand` | what is derived once somebody asks for it, and then kept up |
//! | `walk` | breadth first |
//! | `tree` | ordered trees over nodes |
//! | `restore` | going back to what a snapshot holds |
//! | `change` | what a merge did, in the terms of a graph |

mod change;
mod demand;
mod edit;
mod embed;
mod index;
mod keys;
mod lookup;
mod nearest;
mod read;
mod restore;
mod rows;
mod tree;
mod values;
mod walk;

use std::fmt;

use crate::bugs::{Bug, is};
use crate::document::{Mixed, Sequenced, Sequences, are_of_one_text, is_counter};
use crate::error::EditError;
use crate::id::{EdgeId, NodeId};
use crate::kernel::{Cells, Crdt, Edit, Field, State, Touched};

use demand::OnDemand;
use index::Index;
use tree::Trees;

pub use change::GraphChange;
pub use embed::Embeddings;
pub use keys::{NodeKey, Owner};
pub use nearest::{EdgeNeighbor, Neighbor};
pub use read::{Edge, Hidden, Node};
pub use restore::Restored;
pub use tree::{Tree, TreeMut, TreePlace, TreeStep, TreeWalk};
pub use walk::{Direction, Step, Walk};

pub(crate) use embed::{embedding_in, model_of};
pub(crate) use keys::{embedding as embedding_field, label_of, later_text_of, owner_of, place_in, tree_of};
pub(crate) use tree::{Claim, Placing};

/// A replicated property graph.
///
/// What wins, what is lost:
///
/// | concurrently | result |
/// |---|---|
/// | a property is set twice | both values are kept; the later stamp shows until somebody writes again |
/// | a property is set and removed | it is set |
/// | a node is embedded twice by one model | both vectors are kept; the later stamp shows until somebody embeds it again |
/// | a vector is set and removed | it is set |
/// | a label is added and removed | it is there (add wins) |
/// | a node is deleted and edited | it is deleted; the edit is kept [hidden](Self::hidden) and comes back with the node |
/// | a node is deleted and an edge hung on it | the edge is kept and [dangling](Self::dangling); it comes back with the node |
/// | a node is deleted, and elsewhere deleted and added anew, or restored | it is there, without what the deletions saw |
/// | the same edge is added twice | one edge |
/// | a node is moved to two places of a [tree](Self::tree) | it shows at one of them, and the other is kept |
///
/// Lost is what a writer saw and overwrote or deleted, nothing else.
///
/// A node of three short properties takes some 130 bytes of memory, an edge some 210, a vector its numbers and some 100. A deleted node takes
/// 64 bytes until its tombstone is [pruned](crate::Replica::prune), and then nothing. Reads are O(log n), cloning is O(1).
///
/// ```
/// use driftless::{Graph, NodeId, Replica};
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// let ada = NodeId::named("person:ada");
/// let (_, delta) = laptop.edit(|g| {
///     g.add_node("person:ada")?;
///     g.set(ada, "/born", 1815)
/// })?;
/// phone.merge(&delta)?;
///
/// // Both offline: one deletes the node while the other learns more of her.
/// let (_, deletion) = laptop.edit(|g| g.remove_node(ada))?;
/// let (_, addition) = phone.edit(|g| g.set(ada, "/died", 1852))?;
/// laptop.merge(&addition)?;
/// phone.merge(&deletion)?;
///
/// assert_eq!(laptop.state(), phone.state());
/// assert!(!phone.state().contains_node(ada));
/// assert_eq!(phone.state().hidden().count(), 1);
///
/// // Restored, the node shows what the deletion had not seen.
/// phone.edit(|g| g.restore_node("person:ada"))?;
/// let node = phone.state().node(ada).ok_or("restored")?;
/// assert_eq!(node.get("/died"), Some(1852.into()));
/// assert_eq!(node.get("/born"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Graph {
    state: State,
    index: Index,
    mixed: Mixed,
    sequences: Sequences,
    trees: Trees,
    on_demand: OnDemand,
}

impl Crdt for Graph {
    const SCHEMA: &'static str = "driftless.graph";

    type Change = GraphChange;

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn follow(&mut self, touched: &Touched) {
        self.follow_cells(std::slice::from_ref(touched));
        self.finish_merge();
        self.on_demand.follow(&self.state, std::slice::from_ref(touched));
    }

    fn follow_all(&mut self, touched: &[Touched]) {
        self.follow_cells(touched);
        if !is(Bug::IndexNotMerged) {
            self.on_demand.follow(&self.state, touched);
        }
    }

    fn finish_merge(&mut self) {
        self.index.index_waiting(&self.state);
        self.trees.follow_waiting(&self.state);
    }

    fn describe(touched: &Touched) -> Option<GraphChange> {
        change::describe(touched)
    }

    fn is_one_change(told: &Touched, touched: &Touched) -> bool {
        are_of_one_text(told, touched)
    }

    fn is_total(field: &Field) -> bool {
        is_counter(field)
    }

    fn revert(edit: &mut Edit<'_, Self>, cells: &[Touched]) -> Result<(), EditError> {
        restore::revert(edit, cells)
    }

    fn finish_revert(edit: &mut Edit<'_, Self>, like: &Self, free: bool) -> Result<(), EditError> {
        edit.keep_trees(like, free)
    }
}

impl Sequenced for Graph {
    fn sequences(&self) -> &Sequences {
        &self.sequences
    }
}

impl Graph {
    /// Follows cells with what is derived whether or not anybody asks for it.
    fn follow_cells(&mut self, touched: &[Touched]) {
        for touched in touched {
            self.index.follow(&self.state, touched);
            self.trees.follow(&self.state, touched);
        }
        self.mixed.follow(&self.state, touched);
        self.sequences.follow(&self.state, touched);
    }

    pub(crate) fn mixed(&self) -> &Mixed {
        &self.mixed
    }

    /// The number of nodes. O(1).
    pub fn node_count(&self) -> usize {
        self.index.nodes()
    }

    /// The number of edges, dangling ones included (telling them apart takes a look at both ends of each). O(1).
    pub fn edge_count(&self) -> usize {
        self.index.edges()
    }

    /// Whether the node is there. O(log n).
    pub fn contains_node(&self, node: NodeId) -> bool {
        self.state.cells(keys::node(node)).is_some_and(Cells::is_live)
    }

    /// Whether the edge is there, dangling or not. O(log n).
    pub fn contains_edge(&self, edge: EdgeId) -> bool {
        self.edge(edge).is_some()
    }
}

/// Equal if everything that can be read is: O(n).
impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

impl Eq for Graph {}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("nodes", &self.node_count())
            .field("edges", &self.edge_count())
            .field("state", &self.state)
            .finish()
    }
}
