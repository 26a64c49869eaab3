//! The ways to settle a conflict.

use std::borrow::Cow;

use crate::conflict::Conflict;
use crate::document::Value;
use crate::error::{EditError, ResolveError};
use crate::id::Dot;

/// How a conflict is to be settled.
///
/// | | values of a register, vectors | kinds | edit and deletion | dangling edge |
/// |---|---|---|---|---|
/// | `Pick` | the candidate | the candidate's kind | – | – |
/// | `Value`, `Json` | the value (no vector) | the value, as a register or map | – | – |
/// | `LastWriter` | the latest stamp | the kind of the latest stamp | delete | – |
/// | `PreferLocal` | the latest that this replica wrote, if any, else the latest | as left | restore if it wrote, else delete | – |
/// | `PreferRemote` | the latest that another wrote, if any, else the latest | as left | restore if another wrote, else delete | – |
/// | `MergeFields` | the latest stamp, field by field (no vector) | the map | restore | restore the ends |
/// | `Union` | of arrays, all elements, those of the latest first | – | restore | restore the ends |
/// | `MergeText` | of texts, the changes of all against the base | – | – | – |
/// | `Restore` | – | – | restore the node, without its name | restore the ends |
/// | `Delete` | – | – | delete what is hidden | delete the edge |
/// | `Manual` | left open | left open | left open | left open |
///
/// What does not fit (–) is [`ResolveError::DoesNotFit`]; a deleted edge does not know its ends, so restoring one is
/// [`ResolveError::NeedsEnds`]. Fields of nested values never conflict as long as they are
/// different ones, so there is nothing left for `MergeFields` but one field's values.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Resolution<'v> {
    /// One of the candidates.
    Pick(Dot),
    /// A value of one's own.
    Value(Value<'v>),
    /// A nested value of one's own.
    Json(serde_json::Value),
    /// What was written last.
    LastWriter,
    /// What this replica wrote, in this opening and in those that it goes on from.
    PreferLocal,
    /// What others wrote.
    PreferRemote,
    /// Every field of every side, and of one field the last.
    MergeFields,
    /// The elements of all arrays, each once.
    Union,
    /// The changes of all texts against the one that they come from, word by word.
    ///
    /// A word is a run without spaces, with its punctuation, so a number, a date, an address, a path or a version is never put
    /// together from two. Changes of two texts are merged if a word, a line end, or four segments of a script without spaces
    /// lie unchanged between them; else the texts are [`ResolveError::Overlap`], with the merge by lines and marks. Blanks do
    /// not suffice: "5 kg" made "6 kg" and "5 lb" stays in conflict. Other line ends (CRLF) are no other text. What changed
    /// between the common ends can be 8,192 words long, beyond that as many lines.
    MergeText {
        /// The text that they come from: what showed before the replicas parted, as a snapshot of then tells.
        base: Cow<'v, str>,
    },
    /// Bring back what was deleted, or the missing ends of an edge.
    Restore,
    /// Let it be deleted: what is hidden, or the edge that lacks an end.
    Delete,
    /// Leave it open for a person.
    Manual,
}

impl Resolution<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Pick(_) => "pick",
            Self::Value(_) => "value",
            Self::Json(_) => "json",
            Self::LastWriter => "last writer",
            Self::PreferLocal => "prefer local",
            Self::PreferRemote => "prefer remote",
            Self::MergeFields => "merge fields",
            Self::Union => "union",
            Self::MergeText { .. } => "merge text",
            Self::Restore => "restore",
            Self::Delete => "delete",
            Self::Manual => "manual",
        }
    }

    pub(super) fn does_not_fit(&self, conflict: &Conflict<'_>, reason: &str) -> EditError {
        let (path, resolution) = (conflict.path.to_string(), self.name());
        ResolveError::DoesNotFit { path, resolution, reason: reason.to_owned() }.into()
    }

    /// Whether everybody who sees the same conflict settles it alike.
    pub(super) fn is_symmetric(&self) -> bool {
        !matches!(self, Self::Pick(_) | Self::Value(_) | Self::Json(_) | Self::PreferLocal | Self::PreferRemote)
    }
}
