//! What a caller can do wrong when writing. Errors of other causes stand where they arise: `MergeError`, `CutError`,
//! `JoinError`, `DecodeError`.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::escape::Escaped;
use crate::id::{ConflictId, Dot, EdgeId, NodeId, WriterId};
use crate::kind::Kind;
use crate::offset::OffsetError;

/// How many segments a path may have: far deeper than people nest, shallow enough that nothing that walks it by
/// recursion can run out of stack.
pub const MAX_DEPTH: usize = 64;

/// Why an edit failed. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EditError {
    /// There is no live node with this id.
    #[error("there is no node {0}; add it first")]
    NoNode(NodeId),
    /// There is no live edge with this id.
    #[error("there is no edge {0}; link its ends first")]
    NoEdge(EdgeId),
    /// The node has no place in the tree to be put beside.
    #[error("node {node} has no place in the tree `{}`; put it there first", Escaped(.tree))]
    NotInTree {
        /// The name of the tree.
        tree: String,
        /// The node.
        node: NodeId,
    },
    /// The place is under the node that was to be put there.
    #[error(
        "node {node} cannot be put under node {parent} in the tree `{}`, which is itself or under it; move that one first",
        Escaped(.tree)
    )]
    UnderItself {
        /// The name of the tree.
        tree: String,
        /// The node that was to be moved.
        node: NodeId,
        /// The parent that it was to have.
        parent: NodeId,
    },
    /// The path is not a JSON Pointer, or too deep.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The model, the vector or the threshold is none, or the vector is not of the model's length.
    #[error(transparent)]
    Vector(#[from] VectorError),
    /// The offset is no place in the text.
    #[error(transparent)]
    Offset(#[from] OffsetError),
    /// JSON has neither NaN nor infinity.
    #[error("{value} at `{}` is not a finite number, and JSON knows no other", Escaped(.path))]
    NotFinite {
        /// Where it was to be written.
        path: String,
        /// The number.
        value: f64,
    },
    /// The path holds something of another kind.
    #[error(
        "`{}` is a {is}, not a {wanted}; `unset` it first to make it one, or `resolve` the conflict if it is in one",
        Escaped(.path)
    )]
    OtherKind {
        /// The path.
        path: String,
        /// The kind of what is there.
        is: Kind,
        /// The kind of what was to be written.
        wanted: Kind,
    },
    /// The kind at the path takes other values only.
    #[error("`{}` is a {is} and takes {takes}; `unset` it first to make it something else", Escaped(.path))]
    Misfit {
        /// The path.
        path: String,
        /// The kind of what is there.
        is: Kind,
        /// The values that the kind takes.
        takes: &'static str,
    },
    /// The path leads into something that has no parts.
    #[error(
        "`{}` leads into the {is} at `{}`, which has no parts; `unset` that first",
        Escaped(.path), Escaped(.above)
    )]
    IntoScalar {
        /// The path.
        path: String,
        /// The path above it that is no map.
        above: String,
        /// The kind of what is there.
        is: Kind,
    },
    /// An index is beyond the end of a list.
    #[error("the list at `{}` has {len} elements, and {index} is beyond them; take an index within it", Escaped(.path))]
    Index {
        /// The path of the list.
        path: String,
        /// The index.
        index: usize,
        /// The length of the list.
        len: usize,
    },
    /// A path in a value has more segments than [`MAX_DEPTH`], or an array in it nests deeper.
    #[error("the value at `{}` nests deeper than {MAX_DEPTH} levels; flatten it", Escaped(.path))]
    TooDeep {
        /// Where it was to be written.
        path: String,
    },
    /// A value that this version cannot read (of a kind that it does not know, or spelled otherwise) is kept and sent on, not
    /// written.
    #[error("a value of kind {0} that this version cannot read cannot be written by it either; write one of your own")]
    UnknownKind(u8),
    /// A name, a label, an edge type, a path or an element of a set is too long.
    #[error("a key of {len} bytes{} is too long: at most {limit}", At(.path))]
    KeyTooLong {
        /// The path that it was to be written at; none if it is no part of a document.
        path: Option<String>,
        /// Its length in bytes.
        len: usize,
        /// The longest there may be.
        limit: usize,
    },
    /// A value is too long.
    #[error(
        "a value of {len} bytes{} is too long: at most {limit}; keep large things outside, with their hash here",
        At(.path)
    )]
    ValueTooLong {
        /// The path that it was to be written at; none if it is no part of a document.
        path: Option<String>,
        /// Its length in bytes.
        len: usize,
        /// The longest there may be.
        limit: usize,
    },
    /// A conflict cannot be settled so.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The value cannot be serialised, or holds what has no form here: a whole number beyond 64 bits in a document, say.
    #[error("a value cannot be written at `{path}`: {reason}")]
    Unserialisable {
        /// Where in the value, below the path that it was to be written at.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The value would be read back as another one, or not at all: `Some(())`, which serialises as `None` does; a field that
    /// serde skips and that is not its default; two entries of one name.
    #[error("the value at `{path}` would not be read back as it is: {reason}; write it in a form that survives serde")]
    Unreadable {
        /// Where in the value, below the path that it was to be written at.
        path: String,
        /// The reason: what would be read instead.
        reason: String,
    },
    /// A replica's running total has reached the end of 64 bits.
    #[error("the counter's running total here would pass 2⁶⁴ − 1; nothing was counted")]
    CounterOverflow,
    /// A counter that only grows cannot go back to less.
    #[error("a counter that only grows cannot go back by {by}; use a `PnCounter` where that is wanted")]
    OnlyGrows {
        /// By how much it has grown since.
        by: u128,
    },
    /// The snapshot does not hold the node either.
    #[error("the snapshot does not hold node {0}, so there is nothing to bring back from it; take an earlier one")]
    NodeNotInSnapshot(NodeId),
    /// The snapshot does not hold the edge either.
    #[error("the snapshot does not hold edge {0}, so there is nothing to bring back from it; take an earlier one")]
    EdgeNotInSnapshot(EdgeId),
    /// The counters of a writer are used up, and so are those of the next.
    #[error("the counters of {0} are used up; write again")]
    CounterExhausted(WriterId),
    /// The closure gave up for reasons of its own.
    #[error("the edit was abandoned: {0}")]
    Aborted(#[source] Box<dyn StdError + Send + Sync>),
}

/// The place in an error's message, if there is one.
struct At<'a>(&'a Option<String>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |path| write!(f, " at `{}`", Escaped(path)))
    }
}

impl EditError {
    /// Adds the path to an error of what is too long, which is found where nothing is known of paths.
    pub(crate) fn with_path(mut self, of: impl FnOnce() -> Option<String>) -> Self {
        if let Self::KeyTooLong { path: path @ None, .. } | Self::ValueTooLong { path: path @ None, .. } = &mut self {
            *path = of();
        }
        self
    }

    /// Puts the right beginning in place of one that was made up to find the error.
    pub(crate) fn within(mut self, made_up: &str, place: &str) -> Self {
        let path = match &mut self {
            Self::TooDeep { path }
            | Self::NotFinite { path, .. }
            | Self::Misfit { path, .. }
            | Self::KeyTooLong { path: Some(path), .. }
            | Self::ValueTooLong { path: Some(path), .. } => path,
            _ => return self,
        };
        if let Some(below) = path.strip_prefix(made_up) {
            *path = format!("{place}{below}");
        }
        self
    }

    /// Gives up an edit with an error of the caller's own.
    ///
    /// ```
    /// use driftless::{EditError, Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let result = replica.edit(|g| {
    ///     g.add_node("person:ada")?;
    ///     Err::<(), _>(EditError::abort("changed my mind"))
    /// });
    /// assert!(matches!(result, Err(EditError::Aborted(_))));
    /// assert_eq!(replica.state().node_count(), 0);
    /// ```
    pub fn abort(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Aborted(reason.into())
    }
}

/// Why a conflict was not settled. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is no such conflict, or something of it has been written since.
    #[error("there is no conflict {0}, or it is another by now; list them again")]
    Stale(ConflictId),
    /// The write is not one of the conflict's candidates.
    #[error("{dot} is no candidate of {of}; pick one that is listed")]
    NoCandidate {
        /// The conflict.
        of: ConflictId,
        /// The write.
        dot: Dot,
    },
    /// The resolution means nothing for this conflict.
    #[error("`{resolution}` does not fit the conflict at `{}`: {}", Escaped(.path), Escaped(.reason))]
    DoesNotFit {
        /// The property; empty if the conflict is about a whole node or edge.
        path: String,
        /// The resolution.
        resolution: &'static str,
        /// Why not.
        reason: String,
    },
    /// The node or edge is deleted.
    #[error("`{}` belongs to what is deleted; restore that first", Escaped(.path))]
    Hidden {
        /// The property.
        path: String,
    },
    /// A deleted edge no longer knows what it connected.
    #[error(
        "the edge {0} is deleted and no longer knows its ends; call `restore_edge` with them, or resolve it with \
         `RestoreFrom` and a snapshot that holds it"
    )]
    NeedsEnds(EdgeId),
    /// The texts were changed in the same place.
    #[error(
        "the texts at `{}` were changed in the same place; settle it by hand, from `merged` perhaps",
        Escaped(.path)
    )]
    Overlap {
        /// The property.
        path: String,
        /// The merge, with marks where both changed something.
        merged: String,
    },
    /// Two replicas that settle so at once, each for itself, would never agree.
    #[error("`{0}` depends on who settles, so it cannot be a policy; name one that is the same for all")]
    Asymmetric(&'static str),
}

/// Why the beginning of an id names no single conflict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FindConflictError {
    /// Not 1 to 66 hexadecimal digits.
    #[error("`{}` is not the beginning of a conflict's id; give 1 to 66 hexadecimal digits", Escaped(.0))]
    NotHex(String),
    /// No conflict has such an id; it may have been settled, or written to.
    #[error("no conflict has an id that begins with `{0}`; list them again")]
    NoneSuch(String),
    /// Several have.
    #[error("the ids of {} conflicts or more begin with `{prefix}`; give more digits", .ids.len())]
    Ambiguous {
        /// The beginning.
        prefix: String,
        /// Ids that begin so: at most sixteen of them.
        ids: Vec<ConflictId>,
    },
}

/// Why a text is not a path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// Every segment of a JSON Pointer begins with a slash.
    #[error("the path `{text}` does not begin with `/`; write `/{text}`", text = Escaped(.0))]
    NoSlash(String),
    /// `~` stands only before 0 or 1.
    #[error("the path `{}` has a `~` that is neither `~0` (for `~`) nor `~1` (for `/`)", Escaped(.0))]
    Escape(String),
    /// No element stands at the number, or there is none with the id.
    #[error(
        "the list at `{}` has {len} elements, and none at `{}`; take a number below its length, or a path that it tells",
        Escaped(.list), Escaped(.segment)
    )]
    NoElement {
        /// The path of the list.
        list: String,
        /// The segment that names no element.
        segment: String,
        /// The length of the list.
        len: usize,
    },
    /// `~@` begins the id of an element of a list.
    #[error("in the path `{}` what follows `~@` is no id of an element; write a number, or an id as it was told", Escaped(.0))]
    Element(String),
    /// In a pattern, `**` stands for everything below, so nothing can follow it.
    #[error("in `{}` something follows `**`, which stands for all that lies below; put it at the end", Escaped(.0))]
    Wildcard(String),
    /// More segments than [`MAX_DEPTH`].
    #[error("a path of {0} segments is too deep: at most {MAX_DEPTH}")]
    TooDeep(usize),
}

/// The reason why a property cannot be looked up by its value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The text is not a path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Nobody declared an index of the path since the graph was opened.
    #[error("no index of `{}` is kept; declare it by `index_property` after the graph was opened", Escaped(.0))]
    NotIndexed(String),
}

/// The fault of a model, a vector, a query or a threshold.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum VectorError {
    /// Vectors of different models cannot be told apart without a name.
    #[error("a model needs a name; give the one that its maker gave it")]
    NoName,
    /// The model's name is too long, or has a zero byte.
    #[error("a model's name of {len} bytes is too long, or has a zero byte: at most {limit}, none of them 0")]
    Name {
        /// Its length in bytes.
        len: usize,
        /// The longest there may be.
        limit: usize,
    },
    /// A vector has at least one number, and fits into a value.
    #[error("a vector of {dimension} numbers cannot be kept: at least 1, at most {limit}")]
    Dimension {
        /// How many numbers.
        dimension: usize,
        /// The most there may be.
        limit: usize,
    },
    /// A number is NaN or infinite.
    #[error("number {position} of the vector is {value}; mend whatever computed it")]
    NotFinite {
        /// Where, counted from 0.
        position: usize,
        /// The number that stands there.
        value: f32,
    },
    /// A number is larger than the greatest of 16 bits, 65,504.
    #[error(
        "number {position} of the vector is {value}, too large for 16 bits; use f32 or i8, or scale the vector down"
    )]
    TooLargeForF16 {
        /// Where, counted from 0.
        position: usize,
        /// The number that stands there.
        value: f32,
    },
    /// The vector or query is not as long as the model's vectors are.
    #[error(
        "the vectors of {} have {expected} numbers, and this one has {found}; was it made by another model?",
        Escaped(.model)
    )]
    Length {
        /// The model's name.
        model: String,
        /// How many numbers its vectors have.
        expected: usize,
        /// How many this one has.
        found: usize,
    },
    /// Vectors of two models have nothing to do with each other, whatever their lengths.
    #[error(
        "a vector of {} cannot be compared with one of {}; embed both by one model",
        Escaped(.left), Escaped(.right)
    )]
    Models {
        /// The one model, with its dimension.
        left: String,
        /// The other.
        right: String,
    },
    /// A cosine lies between −1 and 1.
    #[error("the threshold {0} is no cosine; give one between -1 and 1")]
    Threshold(f32),
}

/// The reason why a store or a gate around a replica refused what was to be merged.
///
/// Cloning is O(1). Two are equal if one is a clone of the other.
///
/// ```
/// use std::io;
///
/// use driftless::{MergeError, Refused};
/// let full = Refused::new(io::Error::from(io::ErrorKind::StorageFull));
/// let error = MergeError::Refused(full.clone());
/// assert_eq!(error, MergeError::Refused(full.clone()));
/// assert_ne!(error, MergeError::Refused(Refused::new("the delta is too long")));
/// let cause = full.get_ref().downcast_ref::<io::Error>();
/// assert_eq!(cause.map(io::Error::kind), Some(io::ErrorKind::StorageFull));
/// ```
#[derive(Clone, Debug)]
pub struct Refused(Arc<dyn StdError + Send + Sync>);

impl Refused {
    /// Wraps an error, or a text.
    pub fn new(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Arc::from(reason.into()))
    }

    /// Returns the error, to look at or to downcast.
    pub fn get_ref(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Refused {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl PartialEq for Refused {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Refused {}
