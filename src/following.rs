//! What changes in a replica, for whoever follows it.

use crate::diff::Diff;
use crate::journal::{Journal, JournalLimit};
use crate::kernel::Crdt;
use crate::replica::Replica;

/// Following what changes.
impl<T: Crdt> Replica<T> {
    /// What changed since a snapshot was taken, by edits and merges alike: see [`Diff::between`].
    pub fn diff(&self, older: &T) -> Diff<T> {
        Diff::between(older, self.state())
    }

    /// Keeps a [`Journal`] of every change from now on, or changes the limit of the one that is kept.
    ///
    /// It costs each edit and merge a copy of the cells that it changes. Nothing is recorded of what came before: who
    /// follows begins with a look at the state.
    pub fn keep_journal(&mut self, limit: JournalLimit) {
        match &mut self.journal {
            Some(journal) => journal.set_limit(limit),
            None => self.journal = Some(Box::new(Journal::after::<T>(self.journaled, limit))),
        }
    }

    /// Keeps a [`Journal`] whose first entry has the number after this one, in place of the one that is kept: for an app that
    /// keeps the entries itself and goes on with them after a restart.
    ///
    /// ```
    /// use driftless::{Graph, JournalLimit, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// replica.keep_journal_after(41, JournalLimit::default());
    /// replica.edit(|g| g.add_node("person:ada"))?;
    /// assert_eq!(replica.journal().map(|journal| journal.last()), Some(42));
    /// # Ok::<(), driftless::EditError>(())
    /// ```
    pub fn keep_journal_after(&mut self, number: u64, limit: JournalLimit) {
        self.journal = Some(Box::new(Journal::after::<T>(number, limit)));
    }

    /// The journal, if one is kept.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_deref()
    }

    /// Keeps no journal any longer, and returns it. One that is kept later goes on past the numbers of this one, so that
    /// whoever followed this one is told of the [gap](crate::JournalGap).
    pub fn stop_journal(&mut self) -> Option<Journal> {
        let journal = self.journal.take()?;
        // One number stands for what is not recorded in between.
        self.journaled = journal.last() + 1;
        Some(*journal)
    }
}
