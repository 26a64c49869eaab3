//! Forgetting tombstones.

use crate::id::Dot;
use crate::kernel::state::State;

impl State {
    /// The dots of all tombstones held.
    pub(crate) fn tombstones(&self) -> impl Iterator<Item = Dot> + '_ {
        self.derived.tombstones.iter().map(|(dot, _)| dot)
    }

    /// Drops the tombstones with these dots and remembers that it did. Returns how many. What is alive stays as it is.
    pub(crate) fn prune(&mut self, dots: impl IntoIterator<Item = Dot>) -> usize {
        let mut pruned = 0;
        for dot in dots {
            if self.derived.tombstones.get(dot).is_some() {
                self.drop_dot(dot);
                self.pruned.observe(dot);
                pruned += 1;
            }
        }
        pruned
    }
}
