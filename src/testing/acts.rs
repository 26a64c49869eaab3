//! What a replica does, each with what must hold of it whatever the schedule.

use std::fmt;

use crate::kernel::{Crdt, Delta, Environment, MergeError};
use crate::replica::{Prune, Replica};
use crate::testing::TestEnvironment;
use crate::testing::history::View;
use crate::testing::model::{Model, same};
use crate::testing::point::{alike, carry, copy};
use crate::version::Version;

/// What came of an edit.
pub(super) struct Edited<T: Crdt> {
    /// As it came out of its bytes.
    pub(super) delta: Delta,
    /// The replica as it was before, with the delta merged.
    pub(super) mirror: Replica<T>,
}

/// Edits, or is refused and leaves nothing behind; and the delta of the edit does as much elsewhere.
pub(super) fn edit<M: Model>(
    replica: &mut Replica<M::Type>,
    ops: &[M::Op],
    allowed: bool,
) -> Result<Option<Edited<M::Type>>, String> {
    let (mut mirror, id) = (copy(replica), replica.id());
    match (allowed, replica.edit(|edit| ops.iter().try_for_each(|op| M::apply(edit, op)))) {
        (true, Err(error)) => Err(format!("the edit was refused, and must not be: {error}")),
        (false, Ok(_)) => Err("the edit must be refused, and was not".into()),
        (false, Err(_)) => {
            alike("what a refused edit leaves behind", replica.state(), mirror.state())?;
            same("the id after a refused edit", replica.id(), id)?;
            Ok(None)
        }
        (true, Ok((_, delta))) => {
            same("what the delta of an edit builds on", delta.since(), mirror.version())?;
            let delta = carry(&delta)?;
            mirror.merge(&delta).map_err(|e| format!("the delta of the edit was refused: {e}"))?;
            alike("what the delta of an edit does", mirror.state(), replica.state())?;
            Ok(Some(Edited { delta, mirror }))
        }
    }
}

/// Merges what arrives, or refuses it and stays as it was, if it builds on what has not been seen here. Returns whether any
/// cell was touched.
pub(super) fn merge<T>(replica: &mut Replica<T>, delta: &Delta, gap: bool) -> Result<bool, String>
where
    T: Crdt + PartialEq + fmt::Debug,
{
    let before = replica.snapshot();
    match (replica.merge(delta), gap) {
        (Ok(report), false) => Ok(!report.touched().is_empty()),
        (Err(MergeError::Gap { .. }), true) => {
            alike("what a refused delta leaves behind", replica.state(), &before).map(|()| false)
        }
        (Ok(_), true) => Err("a delta was merged that builds on what has not been seen here".into()),
        (Err(error), _) => Err(format!("a delta was refused: {error}")),
    }
}

/// Merges what has arrived before: nothing changes.
pub(super) fn merge_again<T>(replica: &Replica<T>, delta: &Delta) -> Result<(), String>
where
    T: Crdt + PartialEq + fmt::Debug,
{
    let mut twice = copy(replica);
    twice.merge(delta).map_err(|e| format!("a delta was refused when it came again: {e}"))?;
    alike("what a delta does that comes again", twice.state(), replica.state())
}

/// Forgets its tombstones, and reads the same.
pub(super) fn prune<T: Crdt + PartialEq + fmt::Debug>(replica: &mut Replica<T>) -> Result<(), String> {
    let before = replica.snapshot();
    replica.prune(Prune::All);
    alike("what is read after pruning", replica.state(), &before)
}

/// Is saved and opened again, under the same id if the lease proves that it may.
pub(super) fn restart<T: Crdt + PartialEq + fmt::Debug>(
    replica: &mut Replica<T>,
    environment: impl Environment + 'static,
    lease: bool,
) -> Result<Replica<T>, String> {
    let (bytes, proof) = replica.save();
    let again = Replica::resume_with(environment, &bytes, proof.filter(|_| lease))
        .map_err(|e| format!("what was saved cannot be opened: {e}"))?;
    same("the id after a restart", again.id(), replica.id().filter(|_| lease))?;
    alike("what is read after a restart", again.state(), replica.state())?;
    Ok(again)
}

/// Saved and loaded, it reads the same and is saved as the same bytes.
pub(super) fn load<T: Crdt + PartialEq + fmt::Debug>(replica: &Replica<T>) -> Result<Replica<T>, String> {
    let bytes = copy(replica).save().0;
    let loaded = Replica::<T>::resume_with(TestEnvironment::new(u64::MAX), &bytes, None)
        .map_err(|e| format!("what was saved cannot be opened: {e}"))?;
    alike("what is read once it is saved and loaded", loaded.state(), replica.state())?;
    match copy(&loaded).save().0 == bytes {
        true => Ok(loaded),
        false => Err("what was loaded is saved as other bytes".into()),
    }
}

/// Compares a replica with what must be there for whoever has seen this.
pub(super) fn examine<M: Model>(
    replica: &Replica<M::Type>,
    version: &Version,
    view: &View<'_, M>,
) -> Result<(), String> {
    M::invariants(replica.state())?;
    same("how many writes of each writer it has seen", replica.version(), version)?;
    M::check(view, replica.state()).map_err(|e| format!("{e}\nwhat stands: {view:?}"))
}
