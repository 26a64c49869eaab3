//! One list of everything that replicas disagree on, and how it is settled.
//!
//! | file | idea |
//! |---|---|
//! | `list` | what the conflicts are |
//! | `find` | one of them by the beginning of its id |
//! | `export` | a conflict as JSON or the like |
//! | `lists` | conflicts within lists |
//! | `nested` | which writes a conflict of kinds is about, for nested ones in one pass |
//! | `places` | conflicts of places in trees |
//! | `reads` | what one of several kinds reads as |
//! | `resolution` | the ways to settle one |
//! | `resolve` | settling one, or all by a policy |
//! | `texts` | conflicts within texts |
//! | `text` | three-way merge of texts |

mod export;
mod find;
mod list;
mod lists;
mod nested;
mod places;
mod reads;
mod resolution;
mod resolve;
mod text;
mod texts;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::document::{Anchor, Path, Value};
use crate::escape::Escaped;
use crate::graph::Owner;
use crate::id::{ConflictId, Dot, NodeId, WriterId};
use crate::kernel::SiblingRef;
use crate::kind::Kind;
use crate::vector::{Embedding, Model};

pub use reads::Reads;
pub use resolution::Resolution;
pub use resolve::{Resolved, Settled};

/// Something that replicas disagree on: all of it is kept until somebody settles it with
/// [`resolve`](crate::Edit::<crate::Graph>::resolve), or just writes there again, having seen it.
///
/// A function of the live siblings: equal states have equal conflicts, whatever each replica has pruned. Equal values
/// written concurrently are none, nor are maxima, minima, counters and sets: these have a rule of their own. Nor is an edge
/// whose end nobody has added yet: it is [unresolved](crate::Graph::unresolved).
///
/// It can be serialised, to be shown elsewhere; ids, kinds, owners, paths, stamps and models can be read back, so what was
/// chosen there can be [resolved](crate::Edit::<crate::Graph>::resolve) here. A conflict itself borrows from the state and
/// cannot be read back.
///
/// ```
/// use driftless::{ConflictId, Document, Replica};
/// let (mut laptop, mut phone) = (Replica::<Document>::new(), Replica::<Document>::new());
/// laptop.edit(|d| d.set("/name", "Ada"))?;
/// let (_, delta) = phone.edit(|d| d.set("/name", "Augusta"))?;
/// laptop.merge(&delta)?;
///
/// let conflict = laptop.state().conflicts().next().ok_or("a conflict")?;
/// let json = serde_json::to_value(&conflict)?;
/// assert_eq!((&json["kind"], &json["path"]), (&"concurrent_edit".into(), &"/name".into()));
/// // The first one shows.
/// let shown = laptop.state().get("/name").and_then(|name| name.as_str());
/// assert_eq!(json["candidates"][0]["content"]["value"].as_str(), shown);
/// assert_eq!(serde_json::from_value::<ConflictId>(json["id"].clone())?, conflict.id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Conflict<'a> {
    /// Names it, in every replica that sees the same of it. Whatever is written to what is in conflict gives another.
    pub id: ConflictId,
    /// The sort of disagreement.
    pub kind: ConflictKind,
    /// The node or edge; none in a [`Document`](crate::Document).
    pub of: Option<Owner>,
    /// The name of the node, if it was added by name.
    pub name: Option<&'a str>,
    /// The property; empty if it is about something else.
    pub path: Path,
    /// True if the node or edge is deleted: the conflict is among its [hidden survivors](crate::Graph::hidden), and can be
    /// settled once the owner is restored.
    pub is_hidden: bool,
    /// The contents to choose from, the one that shows first, then by falling precedence.
    pub candidates: Vec<Candidate<'a>>,
}

/// The sort of disagreement that a conflict is.
///
/// A counter whose sum is a range ([`PnCounter::range`](crate::PnCounter::range)) is none: there is nothing to choose
/// from, and counting on does not close the range; removing the counter and setting it anew does.
/// [`Properties::counter_range`](crate::Properties::counter_range) tells of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConflictKind {
    /// A register was set to different values. The latest stamp shows.
    ConcurrentEdit,
    /// A node or edge was embedded by one model from different texts, or from what nobody has said. The latest stamp shows.
    /// Vectors of one text are no conflict, however they differ.
    Embedding {
        /// The model.
        model: Model,
    },
    /// A path was made several kinds. The first of [`Kind`] shows.
    Kind,
    /// A node or edge was deleted while somebody wrote to it. What was written is hidden; the candidates are that.
    EditDelete,
    /// An edge lacks an end that some writer of the edge had seen, so somebody deleted the end. The edge is hidden; the
    /// only candidate is the edge.
    Dangling {
        /// The ends that were deleted.
        missing: Vec<NodeId>,
    },
    /// A node was moved to different places of a [tree](crate::Tree). The latest stamp shows.
    ConcurrentMove {
        /// The name of the tree.
        tree: String,
    },
    /// Nodes were moved below each other: a circle, which its latest move does not close, so that the node of that move shows where
    /// it was before. The first candidate is that place, then come those that it gave up, from the latest, and its other concurrent places.
    Circle {
        /// The name of the tree.
        tree: String,
    },
    /// A node shows nowhere in a tree, since each of its places would close a circle. The candidates are these.
    Detached {
        /// The name of the tree.
        tree: String,
    },
    /// Different characters are at one position of a text: two bunches have one tag, which is one chance in a thousand million for two that are put
    /// into one gap at once, or somebody forged them. All show.
    SamePosition {
        /// The place in the text.
        at: Anchor,
    },
    /// Different texts were [put](crate::TextMut::update) into one place at once. All show, one after the other.
    TwoTexts,
    /// An element of a [list](crate::ListMut) was moved to different places. The latest stamp shows. The path is that of the element.
    ElementMove,
    /// An element of a list was removed while somebody moved it: it is gone, and the move is left, the only candidate. A replica that sees it
    /// clears it, too, with the next element that it inserts, removes or moves through [`ListMut`](crate::ListMut) in that list, and when it
    /// erases something within an element of the list. The path is that of the element.
    MovedWhileRemoved,
    /// A node shows under one that was deleted. The only candidate is that place.
    Orphaned {
        /// The name of the tree.
        tree: String,
        /// The parent.
        missing: NodeId,
    },
}

/// One of the things to choose from in a conflict.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The content that was written.
    pub content: Content<'a>,
    /// The write; of several the latest. For a place that a node of a tree had before, the write that moved the node away and
    /// remembers that place.
    pub dot: Dot,
    /// The time of the write, by its writer's clock; of a place from before, the time at which that was written.
    pub stamp: Stamp,
    /// The name of the device that it was written on, if it was [given one](crate::Replica::set_device).
    pub device: Option<&'a str>,
}

/// The content of a candidate.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Content<'a> {
    /// A value of a register.
    Value(Value<'a>),
    /// A vector.
    Embedding(Embedding<'a>),
    /// A kind at the path, and what it would read as, were it alone.
    Kind {
        /// The kind.
        kind: Kind,
        /// The reading, made once it is asked for.
        reads: Reads<'a>,
    },
    /// A property of what was deleted.
    Property {
        /// The path.
        path: Path,
        /// The reading.
        reads: serde_json::Value,
    },
    /// A text, or a character of one.
    Text(String),
    /// The index in a list at which an element stands, or would stand.
    Index(usize),
    /// A label of a node that was deleted.
    Label(&'a str),
    /// A later text of a vector of what was deleted: see [`embed_if_changed`](crate::Edit::embed_if_changed).
    LaterText(Model),
    /// An edge that dangles.
    Edge {
        /// The node at which it starts.
        source: NodeId,
        /// Its type.
        edge_type: &'a str,
        /// The node at which it ends.
        target: NodeId,
    },
    /// A place in a tree.
    Place {
        /// The name of the tree.
        tree: &'a str,
        /// The node that it is under; none at the top.
        parent: Option<NodeId>,
    },
    /// Something of a later version.
    Unknown,
}

impl<'a> Candidate<'a> {
    fn new(content: Content<'a>, sibling: SiblingRef<'_>) -> Self {
        Self { content, dot: sibling.dot, stamp: sibling.stamp, device: None }
    }

    /// The writer of the candidate.
    pub fn writer(&self) -> WriterId {
        self.dot.writer
    }

    /// The value, if it is one of a register.
    pub fn value(&self) -> Option<Value<'a>> {
        if let Content::Value(value) = self.content { Some(value) } else { None }
    }
}

impl<'a> Conflict<'a> {
    /// Returns the candidate that shows; none of the candidates if it is about something hidden, or if all show.
    pub fn winner(&self) -> Option<&Candidate<'a>> {
        match self.kind {
            ConflictKind::ConcurrentEdit
            | ConflictKind::Embedding { .. }
            | ConflictKind::Kind
            | ConflictKind::ConcurrentMove { .. }
            | ConflictKind::ElementMove
            | ConflictKind::Circle { .. } => self.candidates.first(),
            ConflictKind::EditDelete
            | ConflictKind::Dangling { .. }
            | ConflictKind::Detached { .. }
            | ConflictKind::Orphaned { .. }
            | ConflictKind::SamePosition { .. }
            | ConflictKind::MovedWhileRemoved
            | ConflictKind::TwoTexts => None,
        }
    }
}

/// For people: what it is about, and each candidate with the name of its device (or the beginning of its writer's id) and when it was written. Control
/// characters in names and values are spelled out.
impl fmt::Display for Conflict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match (self.name, self.of) {
            (Some(name), _) => name.to_owned(),
            (None, Some(of)) => of.to_string(),
            (None, None) => "the document".to_owned(),
        };
        let (of, path) = (Escaped(&of), Escaped(&self.path));
        match &self.kind {
            ConflictKind::EditDelete => write!(f, "{of}, deleted while it was written to:")?,
            ConflictKind::Dangling { .. } => write!(f, "{of}, which lacks an end:")?,
            ConflictKind::ConcurrentMove { tree } => write!(f, "the place of {of} in the tree {}:", Escaped(tree))?,
            ConflictKind::Circle { tree } => {
                write!(f, "{of}, which moves in the tree {} would put under itself:", Escaped(tree))?;
            }
            ConflictKind::Detached { tree } => {
                write!(f, "{of}, for which moves leave no place in the tree {}:", Escaped(tree))?;
            }
            ConflictKind::Orphaned { tree, .. } => {
                write!(f, "{of}, which is under a deleted node in the tree {}:", Escaped(tree))?;
            }
            ConflictKind::Embedding { model } => write!(f, "the vector of {of} by {}:", Escaped(model.name()))?,
            ConflictKind::ConcurrentEdit
            | ConflictKind::Kind
            | ConflictKind::SamePosition { .. }
            | ConflictKind::ElementMove
            | ConflictKind::MovedWhileRemoved
            | ConflictKind::TwoTexts => {
                match self.path.segments().len() {
                    0 => write!(f, "{of}")?,
                    _ if self.of.is_some() => write!(f, "{path} of {of}")?,
                    _ => write!(f, "{path}")?,
                }
                f.write_str(match self.kind {
                    ConflictKind::Kind => ", of several kinds:",
                    ConflictKind::SamePosition { .. } => ", characters at one position:",
                    ConflictKind::TwoTexts => ", texts put there at once:",
                    ConflictKind::ElementMove => ", moved to several places:",
                    ConflictKind::MovedWhileRemoved => ", removed while it was moved:",
                    _ => ":",
                })?;
            }
        }
        for (i, candidate) in self.candidates.iter().enumerate() {
            let shows = if i == 0 && self.winner().is_some() { ", shows" } else { "" };
            let separator = if i == 0 { " " } else { " | " };
            write!(f, "{separator}{} (", candidate.content)?;
            match candidate.device {
                Some(device) => write!(f, "{}", Escaped(device))?,
                None => write!(f, "{:.8}", candidate.writer().to_string())?,
            }
            write!(f, ", {}{shows})", candidate.stamp)?;
        }
        Ok(())
    }
}

impl fmt::Display for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Embedding(vector) => write!(f, "{vector:?}"),
            Self::Kind { kind, reads } => write!(f, "{kind} {}", Escaped(reads)),
            Self::Property { path, reads } => write!(f, "{} = {}", Escaped(path), Escaped(reads)),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Index(index) => write!(f, "at {index}"),
            Self::Label(label) => write!(f, "label {label:?}"),
            Self::LaterText(model) => write!(f, "a later text of the vector by {}", Escaped(model.name())),
            Self::Edge { source, edge_type, target } => write!(f, "{source} --{}--> {target}", Escaped(edge_type)),
            Self::Place { tree, parent: Some(parent) } => {
                write!(f, "under node {parent} in the tree {}", Escaped(tree))
            }
            Self::Place { tree, parent: None } => write!(f, "at the top of the tree {}", Escaped(tree)),
            Self::Unknown => f.write_str("something of a later version"),
        }
    }
}
