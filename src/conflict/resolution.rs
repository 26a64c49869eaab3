//! The ways to settle a conflict.

use std::borrow::Cow;

use crate::conflict::Conflict;
use crate::document::Value;
use crate::error::{EditError, ResolveError};
use crate::graph::Graph;
use crate::id::Dot;

/// A way to settle a conflict.
///
/// | | values of a register, vectors, places in a tree | kinds | edit and deletion | dangling edge | circle, detached | orphan |
/// |---|---|---|---|---|---|---|
/// | `Pick` | the candidate | the candidate's kind | – | – | – | – |
/// | `Value`, `Json` | the value (no vector, no place) | the value, as a register or map | – | – | – | – |
/// | `Confirm` | the candidate that shows | the kind that shows | delete | delete the edge | where it shows; at the top if nowhere | – |
/// | `LastWriter` | the latest stamp | the kind of the latest stamp | delete | – | – | – |
/// | `PreferLocal` | the latest that this replica wrote, if any, else the latest | as left | restore if it wrote, else delete | – | – | – |
/// | `PreferRemote` | the latest that another wrote, if any, else the latest | as left | restore if another wrote, else delete | – | – | – |
/// | `MergeFields` | the latest stamp, field by field (no vector) | the map | restore | restore the ends | – | restore the parent |
/// | `Union` | of arrays, all elements, those of the latest first | – | restore | restore the ends | – | restore the parent |
/// | `MergeText` | of texts, the changes of all against the base | – | – | – | – | – |
/// | `Restore` | – | – | restore what survived of the node | restore the ends, likewise | – | restore the parent, likewise |
/// | `RestoreFrom` | – | – | restore the whole node or edge | restore the whole ends | – | restore the whole parent |
/// | `Delete` | – | – | delete what is hidden | delete the edge | – | delete the node and all under it |
/// | `Manual` | left open | left open | left open | left open | left open | left open |
///
/// Within a text that several type into: of [`TwoTexts`](crate::ConflictKind::TwoTexts), `Pick`, `LastWriter`, `PreferLocal` and `PreferRemote` keep one text and delete what is seen
/// of the others (what was typed into these stays); `Confirm`, `MergeFields` and `Union` say that all are to stand side by side, and write no character. Of
/// [`SamePosition`](crate::ConflictKind::SamePosition) the first four keep one character; as it is, all show.
///
/// **What is kept is written again**, but for counters, kinds of later versions and cells in conflicts of their own. So of kinds and of texts that two replicas keep
/// differently at once, both are there, in a new conflict.
///
/// **A text and its vector are settled together.** If all vectors of a conflict are of texts that are in conflict at one
/// path of the same node or edge (told by their hashes), settling the texts on one of them settles the vectors on the
/// vector of that text.
///
/// **What a deletion saw** is gone from every replica that merged it, the name of a node too. `Restore` brings back what was
/// written without having seen the deletion, and [`Resolved::Survivors`](crate::Resolved::Survivors) says so; with a
/// snapshot from before the deletion, `RestoreFrom` brings back all. A deleted edge does not know its ends, so `Restore` of
/// one is [`ResolveError::NeedsEnds`].
///
/// **A place** that would by now put its node under itself is [`EditError::UnderItself`]: put the node elsewhere.
///
/// A resolution that does not fit (–) is [`ResolveError::DoesNotFit`]. Fields of nested values never conflict as long as they are
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
    /// The reading that shows now, written again. Unlike the others it closes the conflict even when done unattended by
    /// [`settle`](crate::Edit::<crate::Graph>::settle): replicas that do so at once write equal values, which are no
    /// conflict.
    Confirm,
    /// The latest write.
    LastWriter,
    /// The latest write of this replica, in this opening and in those that it goes on from.
    PreferLocal,
    /// The latest write of another replica.
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
    /// Bring back what was deleted, or the missing ends of an edge, as far as it survived the deletion.
    Restore,
    /// Bring back the whole of what was deleted, or of the missing ends of an edge, as a snapshot holds it, names included:
    /// see [`restore_from`](crate::Edit::restore_from).
    RestoreFrom(&'v Graph),
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
            Self::Confirm => "confirm",
            Self::LastWriter => "last writer",
            Self::PreferLocal => "prefer local",
            Self::PreferRemote => "prefer remote",
            Self::MergeFields => "merge fields",
            Self::Union => "union",
            Self::MergeText { .. } => "merge text",
            Self::Restore => "restore",
            Self::RestoreFrom(_) => "restore from",
            Self::Delete => "delete",
            Self::Manual => "manual",
        }
    }

    pub(super) fn does_not_fit(&self, conflict: &Conflict<'_>, reason: &str) -> EditError {
        let (path, resolution) = (conflict.path.to_string(), self.name());
        ResolveError::DoesNotFit { path, resolution, reason: reason.to_owned() }.into()
    }

    /// Returns whether all replicas that see the same conflict settle it alike.
    pub(super) fn is_symmetric(&self) -> bool {
        !matches!(
            self,
            Self::Pick(_)
                | Self::Value(_)
                | Self::Json(_)
                | Self::PreferLocal
                | Self::PreferRemote
                | Self::RestoreFrom(_)
        )
    }
}
