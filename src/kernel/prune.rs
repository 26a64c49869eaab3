//! Forgetting tombstones.

use crate::bugs::{Bug, is};
use crate::clock::Stamp;
use crate::id::Dot;
use crate::kernel::key::{Field, Sibling};
use crate::kernel::state::State;

impl State {
    /// The dots of all tombstones held.
    pub(crate) fn tombstones(&self) -> impl Iterator<Item = Dot> + '_ {
        self.derived.tombstones.iter().map(|(dot, _)| dot)
    }

    /// All tombstones held, with when they were written and about how many bytes of memory each takes. O(n log n).
    pub(crate) fn dated_tombstones(&self) -> impl Iterator<Item = (Dot, Stamp, u64)> + '_ {
        self.derived.tombstones.iter().filter_map(|(dot, entity)| {
            let cells = self.cells(entity)?;
            let field = cells.field_of(dot)?;
            let stamp = cells.get(field.as_bytes(), dot)?.stamp;
            let bytes = size_of::<Sibling>() + size_of::<Field>() + field.as_bytes().len();
            Some((dot, stamp, bytes as u64))
        })
    }

    /// Drops the tombstones with these dots and remembers that it did. Returns how many. What is alive stays as it is.
    pub(crate) fn prune(&mut self, dots: impl IntoIterator<Item = Dot>) -> usize {
        let held = dots.into_iter().filter(|dot| self.derived.tombstones.get(*dot).is_some());
        let dropped: Vec<Dot> = held.collect();
        dropped.iter().for_each(|dot| drop(self.drop_dot(*dot)));
        self.close();
        if !is(Bug::PruneForgets) {
            // Under the table of today: it may have been an older one.
            self.pruned.adopt(&self.version);
            self.pruned.observe_all(dropped.iter().copied());
        }
        dropped.len()
    }
}
