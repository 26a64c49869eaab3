//! One entity of raw cells, for stories of the kernel.

use driftless::kernel::{Entity, Payload};
use driftless::testing::{Raw, TestEnvironment};
use driftless::{Crdt, Delta, Replica};

/// The entity that all cells belong to.
pub(crate) const THING: Entity = Entity::new(1, [7; 16]);

/// Replicas that have seen nothing.
pub(crate) fn replicas<const N: usize>() -> [Replica<Raw>; N] {
    std::array::from_fn(|seed| Replica::with_environment(TestEnvironment::new(seed as u64)))
}

/// Writes the name of a field into it.
pub(crate) fn write(replica: &mut Replica<Raw>, field: &str) -> Delta {
    replica.edit(|raw| raw.write(THING, field.as_bytes(), Payload::new(1, field.as_bytes()))).unwrap().1
}

/// Erases a field.
pub(crate) fn erase(replica: &mut Replica<Raw>, field: &str) -> Delta {
    replica.edit(|raw| raw.erase(THING, field.as_bytes())).unwrap().1
}

/// True if a field holds anything alive.
pub(crate) fn holds(replica: &Replica<Raw>, field: &str) -> bool {
    replica.state().state().cells(THING).is_some_and(|cells| cells.live(field.as_bytes()).next().is_some())
}
