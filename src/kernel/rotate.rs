//! What a replica needs that goes on under a new id.

use crate::id::{Dot, ReplicaId};
use crate::kernel::delta::{Delta, DeltaWrite};
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

    /// Whether a delta holds another write than we do under a dot of this writer: two that went on from one state, each
    /// under the same id. What either has since overwritten cannot be compared. O(|delta| · log n).
    pub(crate) fn contradicts(&self, delta: &Delta, replica: ReplicaId) -> bool {
        let differs = |entity, field: &[u8], dot: Dot, write: &DeltaWrite| {
            let here = self.derived.live.get(dot).or_else(|| self.derived.tombstones.get(dot));
            here.is_some_and(|here| {
                let same = |s: &Sibling| s.dot == dot && s.stamp == write.stamp && s.payload == write.payload;
                here != entity || !self.cells(here).is_some_and(|cells| cells.siblings(field).any(same))
            })
        };
        delta.parts().any(|part| {
            let writes = part.writes.iter().map(|write| (delta.write_dot(write), write));
            let mut own = writes.filter(|(dot, _)| dot.replica == replica);
            own.any(|(dot, write)| differs(part.entity, delta.fields.get(write.field), dot, write))
        })
    }

    /// Gives a sibling another dot.
    pub(crate) fn rename(&mut self, entity: Entity, field: &Field, from: Dot, to: Dot) -> Touched {
        let siblings = self.cells(entity).map(|cells| cells.siblings(field.as_bytes())).unwrap_or_default();
        let rename = |s: &Sibling| if s.dot == from { Sibling { dot: to, ..s.clone() } } else { s.clone() };
        let next = siblings.map(rename).collect();
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::kernel::Crdt;
    use crate::kernel::histories::Still;
    use crate::{Graph, NodeId, Replica};

    /// What two say under one dot, by whether they wrote the same, at the same time.
    fn contradict(same_value: bool, same_time: bool) -> bool {
        let ids = Arc::default();
        let set = |replica: &mut Replica<Graph>, n: i64| {
            replica.edit(|g| g.set(NodeId::named("ada"), "/n", n)).unwrap();
        };
        let mut one = Replica::<Graph>::with_environment(Still(Arc::clone(&ids)));
        one.edit(|g| g.add_node("ada")).unwrap();
        let (saved, lease) = one.save();
        let mut other = Replica::<Graph>::resume_with(Still(ids), &saved, lease).unwrap();
        let id = one.id().unwrap();
        if !same_time {
            // Two edits at one time have two stamps; the first is undone with its dot.
            let failed: Result<((), _), _> = other.edit(|g| {
                g.set(NodeId::named("ada"), "/n", 0)?;
                Err(crate::EditError::abort("on purpose"))
            });
            failed.unwrap_err();
        }
        set(&mut one, 1);
        set(&mut other, if same_value { 1 } else { 2 });
        assert_eq!(one.version(), other.version());
        one.state().state().contradicts(&other.complete(), id)
    }

    #[test]
    fn one_dot_with_another_value_or_another_time_is_a_contradiction() {
        assert!(!contradict(true, true));
        assert!(contradict(false, true));
        assert!(contradict(true, false));
        assert!(contradict(false, false));
    }
}
