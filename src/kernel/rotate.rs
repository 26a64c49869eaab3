//! What a replica needs that goes on under a new id.

use smallvec::SmallVec;

use crate::id::{Dot, ReplicaId};
use crate::kernel::key::{Entity, Field, Sibling};
use crate::kernel::state::{State, Touched};

impl State {
    /// What a writer wrote past a counter and the state still holds, in the order that it was written.
    pub(crate) fn written_by(&self, replica: ReplicaId, past: u64) -> Vec<(Dot, Entity, Field)> {
        let dots = self.derived.live.after(replica, past).chain(self.derived.tombstones.after(replica, past));
        let mut written: Vec<_> =
            dots.filter_map(|(dot, entity)| Some((dot, entity, self.cells(entity)?.field_of(dot)?.clone()))).collect();
        written.sort_unstable_by_key(|(dot, ..)| *dot);
        written
    }

    /// Gives a sibling another dot.
    pub(crate) fn rename(&mut self, entity: Entity, field: &Field, from: Dot, to: Dot) -> Touched {
        let siblings = self.cells(entity).map(|cells| cells.siblings(field.as_bytes())).unwrap_or_default();
        let rename = |s: &Sibling| if s.dot == from { Sibling { dot: to, ..s.clone() } } else { s.clone() };
        let mut next: SmallVec<[Sibling; 1]> = siblings.map(rename).collect();
        next.sort_unstable_by_key(|s| s.dot);
        self.replace(entity, field, next)
    }

    /// Sets a writer's version back, once nothing that it wrote later is held. A pruned tombstone of it counts as
    /// `instead`, if given, so that peers who have not seen it are still told to reconcile.
    pub(crate) fn set_back(&mut self, replica: ReplicaId, counter: u64, instead: Option<Dot>) {
        debug_assert!(self.written_by(replica, counter).is_empty(), "a version that covers less than is held");
        self.version.set(replica, counter);
        if self.pruned.get(replica) > counter {
            self.pruned.set(replica, counter);
        }
        instead.into_iter().for_each(|dot| self.pruned.observe(dot));
    }
}
