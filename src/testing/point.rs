//! A replica at one moment, and what the model knows that it has seen.

use std::fmt;

use crate::id::{Dot, WriterId};
use crate::kernel::{Crdt, CutError, Delta, DeltaKind, DotSet};
use crate::replica::Replica;
use crate::testing::history::Seen;
use crate::testing::{TestEnvironment, same};
use crate::version::Version;

/// A writer, by the model's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Born {
    pub(super) id: WriterId,
    /// The counter after which its own begin.
    pub(super) after: u64,
    /// The write that it goes on from: of which writer, and which one of that writer's.
    pub(super) parent: Option<(usize, u64)>,
}

/// The writers by number; none before its first write.
#[derive(Clone, Default, Debug)]
pub(super) struct Ids(Vec<Option<Born>>);

impl Ids {
    /// Writers of known ids, whose counters begin after these.
    pub(super) fn of(born: impl IntoIterator<Item = Born>) -> Self {
        Self(born.into_iter().map(Some).collect())
    }

    /// The number of the next writer.
    pub(super) fn next(&mut self) -> usize {
        self.0.push(None);
        self.0.len() - 1
    }

    /// Notes who the writer of this number is, which has made so many writes, and if these are its first was born at this
    /// dot.
    pub(super) fn note<T: Crdt>(
        &mut self,
        writer: usize,
        replica: &Replica<T>,
        count: u64,
        birthplace: Option<Dot>,
    ) -> Result<(), String> {
        self.0.resize(self.0.len().max(writer + 1), None);
        if count == 0 {
            return Ok(());
        }
        let id = replica.writer().ok_or("a replica that wrote has a writer")?;
        let last = replica.version().get(id);
        let after = last.checked_sub(count).ok_or("how many writes its writer made: fewer than the model says")?;
        let born = match self.0[writer] {
            Some(born) => born,
            None => {
                let begins = birthplace.map_or(0, |dot| dot.counter);
                same("the counter after which those of a new writer begin", after, begins)?;
                let parent = self.parent(writer, 0, birthplace)?;
                *self.0[writer].insert(Born { id, after, parent })
            }
        };
        same("the writer of an opening", id, born.id)?;
        same("how many writes its writer made", last.saturating_sub(born.after), count)
    }

    /// The write that a writer goes on from which has made so many: the one it was born at, or will be with its first.
    pub(super) fn parent(
        &self,
        writer: usize,
        count: u64,
        birthplace: Option<Dot>,
    ) -> Result<Option<(usize, u64)>, String> {
        if count > 0 {
            return Ok(self.0.get(writer).copied().flatten().and_then(|born| born.parent));
        }
        let Some(dot) = birthplace else { return Ok(None) };
        let known = self.0.iter().position(|born| born.is_some_and(|born| born.id == dot.writer));
        let number = known.and_then(|writer| Some((writer, dot.counter.checked_sub(self.0[writer]?.after)?)));
        match number {
            Some((_, 0)) | None => Err(format!("a writer is born at {dot}, which nobody wrote")),
            parent => Ok(parent),
        }
    }

    /// The path of a writer that has made so many writes: those, and before them all that lead to the one it was born at.
    pub(super) fn path(&self, writer: usize, count: u64, birthplace: Option<Dot>) -> Result<Seen, String> {
        let (mut path, mut next) = (Seen::default().with(writer, count), self.parent(writer, count, birthplace)?);
        while let Some((writer, number)) = next {
            path = path.with(writer, number);
            next = self.parent(writer, number, None)?;
        }
        Ok(path)
    }

    /// How many writes of each writer a version of a replica covers.
    pub(super) fn seen(&self, version: &Version) -> Seen {
        let count = |born: &Option<Born>| born.map_or(0, |born| version.get(born.id).saturating_sub(born.after));
        Seen::new(self.0.iter().map(count).collect())
    }

    /// Compares what a replica has seen of each writer with what it must have seen.
    pub(super) fn check(&self, version: &Version, seen: &Seen) -> Result<(), String> {
        for (writer, born) in self.0.iter().enumerate() {
            let Some(Born { id, after, .. }) = *born else { continue };
            let count = seen.of(writer);
            let must = if count == 0 { 0 } else { after + count };
            same(format!("the last write that it has seen of writer {writer}"), version.get(id), must)?;
        }
        Ok(())
    }
}

pub(super) struct Point<T: Crdt> {
    pub(super) replica: Replica<T>,
    pub(super) seen: Seen,
}

/// A copy that nobody writes to, so the seed of its ids does not matter.
pub(super) fn copy<T: Crdt>(replica: &Replica<T>) -> Replica<T> {
    replica.fork_with(TestEnvironment::new(u64::MAX))
}

/// Says what differs between two values of the type, if they do: their states too, where they look alike.
pub(super) fn alike<T: Crdt + PartialEq + fmt::Debug>(
    what: impl fmt::Display,
    found: &T,
    expected: &T,
) -> Result<(), String> {
    let dots = |value: &T| value.state().live_dots();
    match found == expected {
        true => Ok(()),
        false => Err(format!(
            "{what}: found {found:?}, must be {expected:?}\nfound {:?} with {:?},\nmust be {:?} with {:?}",
            found.state(),
            dots(found),
            expected.state(),
            dots(expected),
        )),
    }
}

/// Takes a delta through its bytes. Decoding undoes encoding, and what was decoded encodes to the same bytes.
pub(super) fn carry(delta: &Delta) -> Result<Delta, String> {
    let bytes = delta.to_bytes();
    let arrived = Delta::from_bytes(&bytes).map_err(|e| format!("a delta that was just cut cannot be decoded: {e}"))?;
    same("a delta that was decoded", &arrived, delta)?;
    match arrived.to_bytes() == bytes {
        true => Ok(arrived),
        false => Err("a decoded delta encodes to other bytes".into()),
    }
}

impl<T: Crdt> Point<T> {
    pub(super) fn copy(&self) -> Self {
        Self { replica: copy(&self.replica), seen: self.seen.clone() }
    }

    pub(super) fn pruned(&self) -> &Version {
        self.replica.state().state().pruned()
    }

    /// What the other lacks: reconciled, if tombstones were pruned that it has not seen. What it asks by goes through bytes.
    pub(super) fn delta_for(&self, other: &Self) -> Result<Delta, String> {
        let at = Version::from_bytes(&other.replica.version().to_bytes()).map_err(|e| e.to_string())?;
        let live = DotSet::from_bytes(&other.replica.live_dots().to_bytes()).map_err(|e| e.to_string())?;
        let delta = match self.replica.delta_since(&at) {
            Ok(delta) => delta,
            Err(CutError::Pruned { .. }) => self.replica.reconcile(&at, &live),
        };
        carry(&delta)
    }

    /// What the receiver of this delta must have seen, which was cut for the other.
    ///
    /// The model knows what both have seen. The sender may know of less, if the other was opened so often that its version
    /// does not tell all of its path: the delta then builds on less, and never on more.
    pub(super) fn need(&self, delta: &Delta, other: &Self, ids: &Ids) -> Result<Seen, String> {
        let both = other.seen.meet(&self.seen);
        let since =
            self.replica.version().resolve(delta.since()).ok_or("a delta that begins where its sender never was")?;
        let since = ids.seen(&since);
        if !both.includes(&since) {
            return Err(format!("a delta builds on {since:?}, and both have seen {both:?}"));
        }
        Ok(match delta.kind() {
            DeltaKind::Complete => Seen::default(),
            // Where nothing is known to be common, nothing is listed as dead, and it applies to everybody.
            DeltaKind::Reconciled { at, dead } if at.is_empty() && dead.is_empty() => since,
            DeltaKind::Reconciled { .. } => other.seen.clone(),
            DeltaKind::Incremental => since,
        })
    }

    /// `self ⊔ δ`, where the delta was cut at `of`.
    pub(super) fn after(&self, delta: &Delta, of: &Self) -> Result<Self, String> {
        let mut joined = self.copy();
        joined.replica.merge(&carry(delta)?).map_err(|e| format!("a delta that applies was refused: {e}"))?;
        joined.seen.join(&of.seen);
        Ok(joined)
    }

    /// `self ⊔ other`, by everything that the other has.
    pub(super) fn join(&self, other: &Self) -> Result<Self, String> {
        self.after(&other.replica.complete(), other)
    }
}
