//! One changed cell.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::clock::Stamp;
use crate::id::{Dot, WriterId};
use crate::kernel::{Cell, Crdt, Sibling, Touched};

/// How a change came to be here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// By an edit of this replica, or the [replay](crate::Replica::replay) of one.
    Edit,
    /// By a merge of what others wrote.
    Merge,
    /// By a [`repair`](crate::Replica::repair).
    Repair,
}

/// One cell that an edit or a merge changed: who did, when, from what to what.
///
/// [`change`](Self::change) tells it in the terms of the type. Serialised (it is no part of the crate's own format), an entry
/// is meant for people and for other programs: as JSON one line each, with ids as text and values as JSON.
///
/// ```
/// use driftless::{JournalLimit, LwwRegister, Replica};
/// let (mut laptop, mut phone) = (Replica::<LwwRegister<String>>::new(), Replica::<LwwRegister<String>>::new());
/// phone.keep_journal(JournalLimit::default());
/// let (_, delta) = laptop.edit(|title| title.set("Notes".into()))?;
/// phone.merge(&delta)?;
/// for entry in phone.journal().ok_or("it is on")?.since(0)? {
///     let line = serde_json::to_string(entry)?;
///     assert!(line.starts_with(r#"{"number":1,"at":"#) && line.ends_with(r#""was":[],"now":["Notes"]}"#), "{line}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Entry {
    number: u64,
    at: u64,
    origin: Origin,
    touched: Touched,
    writes: Writes,
    device: Option<Arc<str>>,
    pub(super) kind: Kind,
}

pub(super) type Writes = SmallVec<[(Dot, Stamp); 1]>;

/// What an entry knows of the type that it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) schema: &'static str,
    pub(super) describe: fn(&Touched) -> Option<String>,
}

impl Kind {
    pub(super) fn of<T: Crdt>() -> Self {
        Self { schema: T::SCHEMA, describe: |touched| T::describe(touched).map(|change| format!("{change:?}")) }
    }
}

impl Entry {
    /// `writes_of_root` are to blame where the cell itself tells nobody: it was killed by a deletion.
    pub(super) fn new(
        number: u64,
        at: u64,
        origin: Origin,
        touched: Touched,
        kind: Kind,
        writes_of_root: impl FnOnce() -> Writes,
        device: impl FnOnce(WriterId) -> Option<Arc<str>>,
    ) -> Self {
        // Not by dot alone: a repair may put another content under one.
        let mut writes: Writes = touched.come().map(|s| (s.dot, s.stamp)).collect();
        if writes.is_empty() && !touched.field.is_root() {
            writes = writes_of_root();
        }
        let device = writes.first().and_then(|(dot, _)| device(dot.writer));
        Self { number, at, origin, touched, writes, device, kind }
    }

    /// Its number: one more than that of the entry before.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When it came here, in milliseconds since 1970 by the local clock.
    pub fn at_millis(&self) -> u64 {
        self.at
    }

    /// Whether it was made here or came by a merge.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The writes that did it, each with its stamp: those that the cell holds now and did not before, removals too. If it
    /// was killed by the deletion of its entity, that deletion. None if whoever told us of the removal had forgotten the
    /// tombstone, or a `repair` dropped it.
    pub fn writes(&self) -> &[(Dot, Stamp)] {
        &self.writes
    }

    /// The name of the device that the first of these writes was made on, if it was
    /// [given one](crate::Replica::set_device).
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// The live siblings before.
    pub fn was(&self) -> impl Iterator<Item = &Sibling> + '_ {
        self.touched.cell_was().live()
    }

    /// The live siblings after.
    pub fn now(&self) -> impl Iterator<Item = &Sibling> + '_ {
        self.touched.cell_now().live()
    }

    /// The cell, with all that it held before and after.
    pub fn touched(&self) -> &Touched {
        &self.touched
    }

    /// What changed, in the terms of the type; `None` if that is nothing to a user, or it is another type.
    pub fn change<T: Crdt>(&self) -> Option<T::Change> {
        if T::SCHEMA == self.kind.schema { T::describe(&self.touched) } else { None }
    }

    /// How much memory it takes, as if it shared none; of a cell of very many siblings, which shares nearly all of it with
    /// the entry before, only what has come.
    pub(super) fn bytes(&self) -> usize {
        let content = |sibling: &Sibling| sibling.payload.as_ref().map_or(0, |payload| payload.bytes().len());
        let cell = |cell: &Cell| match cell.is_crowd() {
            true => self.touched.come().map(|sibling| size_of::<Sibling>() + content(sibling)).sum(),
            false => cell.spilled() + cell.iter().map(content).sum::<usize>(),
        };
        let writes = if self.writes.spilled() { size_of_val(&self.writes[..]) } else { 0 };
        let touched = &self.touched;
        size_of::<Self>()
            + touched.field.as_bytes().len()
            + cell(touched.cell_was())
            + cell(touched.cell_now())
            + writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_what_is_said() {
        assert!((200..=250).contains(&size_of::<Entry>()), "{} bytes", size_of::<Entry>());
    }
}
