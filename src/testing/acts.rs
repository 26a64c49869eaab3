//! What a replica does, each with what must hold of it whatever the schedule.

use std::fmt;

use crate::kernel::{Crdt, Delta, Environment, MergeError};
use crate::replica::{Prune, Replica};
use crate::report::MergeReport;
use crate::testing::TestEnvironment;
use crate::testing::history::{Seen, View};
use crate::testing::model::{Model, same};
use crate::testing::point::{Ids, Point, alike, carry, copy};

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
    let (mut mirror, writer) = (copy(replica), replica.writer());
    match (allowed, replica.edit(|edit| ops.iter().try_for_each(|op| M::apply(edit, op)))) {
        (true, Err(error)) => Err(format!("the edit was refused, and must not be: {error}")),
        (false, Ok(_)) => Err("the edit must be refused, and was not".into()),
        (false, Err(_)) => {
            alike("what a refused edit leaves behind", replica.state(), mirror.state())?;
            same("the writer after a refused edit", replica.writer(), writer)?;
            Ok(None)
        }
        (true, Ok((_, delta))) => {
            same("what the delta of an edit builds on", delta.since(), mirror.version())?;
            same("the writer of an opening that wrote before", replica.writer(), writer.or(replica.writer()))?;
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
    merge_by(replica, gap, |replica| replica.merge(delta))
}

/// The same with a delta of the device's own log.
pub(super) fn replay<T>(replica: &mut Replica<T>, delta: &Delta, gap: bool) -> Result<bool, String>
where
    T: Crdt + PartialEq + fmt::Debug,
{
    merge_by(replica, gap, |replica| replica.replay(delta))
}

fn merge_by<T>(
    replica: &mut Replica<T>,
    gap: bool,
    merge: impl FnOnce(&mut Replica<T>) -> Result<MergeReport<T>, MergeError>,
) -> Result<bool, String>
where
    T: Crdt + PartialEq + fmt::Debug,
{
    let (before, writer) = (replica.snapshot(), replica.writer());
    let merged = merge(replica);
    same("the writer after a merge", replica.writer(), writer)?;
    match (merged, gap) {
        (Ok(report), false) => {
            same("the writer that is shared with another process", report.shared_writer(), None)?;
            Ok(!report.touched().is_empty())
        }
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

/// Opens a saved state, which reads as the replica did that was saved. The opening has no writer before it writes.
pub(super) fn open<T: Crdt + PartialEq + fmt::Debug>(
    bytes: &[u8],
    environment: impl Environment + 'static,
) -> Result<Replica<T>, String> {
    let opened =
        Replica::load_with(environment, bytes).map_err(|e| format!("what was saved cannot be opened: {e}"))?;
    same("the writer of what was just opened", opened.writer(), None)?;
    Ok(opened)
}

/// Saved and loaded, it reads the same and is saved as the same bytes. Returns these, too.
pub(super) fn load<T: Crdt + PartialEq + fmt::Debug>(replica: &Replica<T>) -> Result<(Replica<T>, Vec<u8>), String> {
    let bytes = replica.save();
    let loaded = open::<T>(&bytes, TestEnvironment::new(u64::MAX))?;
    alike("what is read once it is saved and loaded", loaded.state(), replica.state())?;
    match loaded.save() == bytes {
        true => Ok((loaded, bytes)),
        false => Err("what was loaded is saved as other bytes".into()),
    }
}

/// Compares a replica with what must be there for whoever has seen this.
pub(super) fn examine<M: Model>(
    replica: &Replica<M::Type>,
    ids: &Ids,
    seen: &Seen,
    view: &View<'_, M>,
) -> Result<(), String> {
    M::invariants(replica.state())?;
    ids.check(replica.version(), seen)?;
    M::check(view, replica.state()).map_err(|e| format!("{e}\nwhat stands: {view:?}"))
}

/// Two replicas that have seen the same hold the same, and have seen the same if the model says so.
pub(super) fn agree<T: Crdt + PartialEq + fmt::Debug>(a: &Point<T>, b: &Point<T>) -> Result<(), String> {
    let equal = a.replica.version() == b.replica.version();
    same("whether versions are equal", equal, a.seen == b.seen)?;
    same("whether one version includes the other", a.replica.version() >= b.replica.version(), a.seen.includes(&b.seen))?;
    if !equal {
        return Ok(());
    }
    alike("what is read at equal versions", a.replica.state(), b.replica.state())?;
    same("the fingerprint at equal versions", a.replica.fingerprint(), b.replica.fingerprint())
}
