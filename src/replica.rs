//! `Replica<T>`: the only way to write, and everything that a replica can do.

use std::fmt;

use crate::bugs::{Bug, is};
use crate::clock::Stamp;
use crate::codec::{self, DecodeError, SavedState};
use crate::error::EditError;
use crate::id::{Dot, ReplicaId};
use crate::journal::Journal;
use crate::kernel::{
    Author, Before, Crdt, CutError, Delta, DotSet, Edit, Entity, Environment, Fingerprint, MAX_SCHEMA_LEN, MergeError,
    Merging, RepairError, Repairing, SystemEnvironment, Touched,
};
use crate::lease::Lease;
use crate::report::{MergeReport, Repair};
use crate::version::VersionVector;

/// A value of type `T` with an identity: it can be edited and merged.
///
/// Not `Clone`, since two that write under one id would lose each other's writes; [`fork`](Self::fork) makes another
/// replica. For reading there are [`state`](Self::state) and [`snapshot`](Self::snapshot).
///
/// ```
/// use driftless::{Graph, NodeId, Replica};
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// let ada = NodeId::named("person:ada");
///
/// let (_, delta) = laptop.edit(|g| {
///     g.add_node("person:ada")?;
///     g.set(ada, "/name", "Ada Lovelace")
/// })?;
/// phone.merge(&delta)?;
/// assert_eq!(laptop.state(), phone.state());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Replica<T: Crdt> {
    target: T,
    author: Author,
    /// The counter of our id at the earliest point from which somebody else may have gone on: where we resumed, or saved
    /// for the first time. None while there is no such copy.
    forked_at: Option<u64>,
    /// Room for the log of the next edit.
    log: Vec<Before>,
    /// How often this state was saved; a lease names the save that it belongs to.
    generation: u64,
    /// Off unless asked for.
    pub(crate) journal: Option<Box<Journal>>,
    /// Where the next journal goes on: no reader of one takes it for the other.
    pub(crate) journaled: u64,
}

/// Opening.
impl<T: Crdt> Replica<T> {
    /// An empty replica with the system's clock and randomness.
    pub fn new() -> Self {
        Self::with_environment(SystemEnvironment)
    }

    /// An empty replica with a clock and a randomness of the caller's.
    pub fn with_environment(environment: impl Environment + 'static) -> Self {
        const {
            assert!(
                T::SCHEMA.len() <= MAX_SCHEMA_LEN,
                "`Crdt::SCHEMA` is longer than `kernel::MAX_SCHEMA_LEN` bytes, so no delta of the type could be read; shorten it"
            );
        }
        Self {
            target: T::default(),
            author: Author::new(Box::new(environment)),
            forked_at: None,
            log: Vec::new(),
            generation: 0,
            journal: None,
            journaled: 0,
        }
    }

    /// Opens a saved state under a new id, minted at the first write. O(n).
    pub fn load(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::new().opened(bytes, None)
    }

    /// Opens a saved state and goes on under its old id, if the lease proves that nobody else has: it must come from the
    /// very [`save`](Self::save) that wrote these bytes. Any other lease proves nothing, and the state opens as by
    /// [`load`](Self::load); [`id`](Self::id) tells.
    ///
    /// Every id that ever wrote stays in the version for good (some 20 bytes), so an app that is opened often should
    /// resume.
    ///
    /// ```
    /// use driftless::{Graph, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// replica.edit(|g| g.add_node("person:ada"))?;
    /// let (bytes, lease) = replica.save();
    ///
    /// let resumed = Replica::<Graph>::resume(&bytes, lease)?;
    /// assert_eq!(resumed.id(), replica.id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(bytes: &[u8], lease: Option<Lease>) -> Result<Self, DecodeError> {
        Self::new().opened(bytes, lease)
    }

    /// Opens a saved state with a clock and a randomness of the caller's; else like [`resume`](Self::resume).
    pub fn resume_with(
        environment: impl Environment + 'static,
        bytes: &[u8],
        lease: Option<Lease>,
    ) -> Result<Self, DecodeError> {
        Self::with_environment(environment).opened(bytes, lease)
    }

    fn opened(mut self, bytes: &[u8], lease: Option<Lease>) -> Result<Self, DecodeError> {
        let SavedState { delta, owner, generation } = codec::decode_state(bytes, T::SCHEMA)?;
        self.apply(&delta, |_| {});
        self.generation = generation;
        let counter = owner.map_or(0, |replica| delta.upto().get(replica));
        if let (Some(replica), Some(lease)) = (owner, lease)
            && (lease == (Lease { replica, counter, generation }) || is(Bug::ReusedDots))
        {
            self.author.id = Some(replica);
            self.forked_at = Some(counter);
        }
        Ok(self)
    }

    /// Another replica with the same state, an id of its own, and the system's clock and randomness. O(1).
    pub fn fork(&self) -> Self {
        self.fork_with(SystemEnvironment)
    }

    /// Like [`fork`](Self::fork), with a clock and a randomness of the caller's.
    pub fn fork_with(&self, environment: impl Environment + 'static) -> Self {
        let mut fork = Self::with_environment(environment);
        fork.target = self.target.clone();
        fork.author.clock = self.author.clock;
        fork
    }

    /// This very replica once more, id and all: for the test kit, which goes on from one state in several ways.
    #[cfg(feature = "testing")]
    pub(crate) fn twin_with(&self, environment: impl Environment + 'static) -> Self {
        let mut twin = self.fork_with(environment);
        twin.author.id = self.author.id;
        (twin.forked_at, twin.generation) = (self.forked_at, self.generation);
        twin
    }

    /// The state as bytes, and the lease to [`resume`](Self::resume) it with (none if this replica never wrote). O(n).
    ///
    /// Write the bytes durably before anything written since the last save leaves this machine, or give the lease up:
    /// a resumed replica would use the same dots again for other writes.
    pub fn save(&mut self) -> (Vec<u8>, Option<Lease>) {
        self.generation = self.generation.saturating_add(1);
        let state = self.target.state();
        let (owner, generation) = (self.author.id, self.generation);
        if let Some(replica) = owner {
            self.forked_at.get_or_insert(state.version().get(replica));
        }
        let saved = SavedState { delta: state.complete(T::SCHEMA, true), owner, generation };
        let lease = owner.map(|replica| Lease { replica, counter: state.version().get(replica), generation });
        (codec::encode_state(&saved), lease)
    }
}

/// Reading.
impl<T: Crdt> Replica<T> {
    /// The value as it stands.
    pub fn state(&self) -> &T {
        &self.target
    }

    /// The value as it stands, to keep: O(1), unmoved by whatever is written later, and readable from other threads.
    pub fn snapshot(&self) -> T {
        self.target.clone()
    }

    /// The id that this replica writes under; none before its first write, and the first after a
    /// [`repair`](Self::repair) that took the id away.
    pub fn id(&self) -> Option<ReplicaId> {
        self.author.id
    }

    /// The fingerprint of all that is alive: replicas of equal versions have equal ones, or they need
    /// [`repair`](Self::repair). O(1).
    pub fn fingerprint(&self) -> Fingerprint {
        self.target.state().fingerprint()
    }

    /// The dots of all that is alive: what to send a peer that is to [`reconcile`](Self::reconcile). O(dots / 64).
    pub fn live_dots(&self) -> DotSet {
        self.target.state().live_dots()
    }

    /// Everything that this replica has seen: what to send a peer that asks for a delta.
    pub fn version(&self) -> &VersionVector {
        self.target.state().version()
    }
}

/// Writing.
impl<T: Crdt> Replica<T> {
    /// Edits the value and returns what the closure returned, and the delta of it all.
    ///
    /// What the closure is given reads like the value itself, with all that it has written so far.
    ///
    /// Atomic: if the closure returns an error or panics, nothing has changed. O(changes · log n + writers).
    ///
    /// A closure that fails for reasons of its own returns [`EditError::abort`], or keeps its own error type with
    /// [`try_edit`](Self::try_edit).
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let (edge, delta) = replica.edit(|g| {
    ///     g.add_node("person:ada")?;
    ///     g.link(NodeId::named("person:ada"), "wrote", NodeId::named("note:g"))
    /// })?;
    /// assert!(replica.state().edge(edge).is_some());
    /// assert_eq!(delta.upto(), replica.version());
    /// # Ok::<(), driftless::EditError>(())
    /// ```
    pub fn edit<R>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, EditError>,
    ) -> Result<(R, Delta), EditError> {
        self.try_edit(edit)
    }

    /// Edits the value like [`edit`](Self::edit), with a closure that fails with an error type of the caller's own. The
    /// error comes back as it is, and nothing has changed.
    ///
    /// `?` converts an [`EditError`] inside the closure if the type is `From<EditError>`. A method of its own, because a
    /// closure that ends in `Ok(…)` does not say which error type it has: with a type parameter in `edit`, each such
    /// closure would need an annotation.
    ///
    /// ```
    /// use driftless::{EditError, Graph, NodeId, Replica};
    ///
    /// #[derive(Debug)]
    /// enum ImportError {
    ///     NoTitle,
    ///     Edit(EditError),
    /// }
    ///
    /// impl From<EditError> for ImportError {
    ///     fn from(error: EditError) -> Self {
    ///         Self::Edit(error)
    ///     }
    /// }
    ///
    /// fn import(replica: &mut Replica<Graph>, title: Option<&str>) -> Result<NodeId, ImportError> {
    ///     let (node, _) = replica.try_edit(|g| {
    ///         let node = g.add_node("note:g")?; // an `EditError`, converted
    ///         g.set(node, "/title", title.ok_or(ImportError::NoTitle)?)?;
    ///         Ok::<_, ImportError>(node)
    ///     })?;
    ///     Ok(node)
    /// }
    ///
    /// let mut replica = Replica::<Graph>::new();
    /// assert!(matches!(import(&mut replica, None), Err(ImportError::NoTitle)));
    /// assert_eq!(replica.state().node_count(), 0); // all or nothing
    /// assert!(import(&mut replica, Some("Note G")).is_ok());
    /// ```
    pub fn try_edit<R, E>(&mut self, edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, E>) -> Result<(R, Delta), E> {
        let mut undo = Undo::new(self);
        let Undo { replica, log, .. } = &mut undo;
        let result = edit(&mut Edit::new(&mut replica.target, &mut replica.author, log))?;
        let since = undo.keep();
        Ok((result, self.target.state().delta_of_edit(T::SCHEMA, &since)))
    }

    /// Joins a delta into the value. Idempotent, and order-free among deltas whose past is covered. O(|delta| · log n).
    ///
    /// What is refused is refused whole. Afterwards everything in [`Delta::upto`] has been seen.
    pub fn merge(&mut self, delta: &Delta) -> Result<MergeReport<T>, MergeError> {
        if delta.schema() != T::SCHEMA {
            return Err(MergeError::Schema { ours: T::SCHEMA, theirs: delta.schema().to_owned() });
        }
        self.target.state().check(delta, self.author.id)?;
        let mut touched = Vec::new();
        let since = self.journal.as_ref().map(|_| self.version().clone());
        let ahead = self.apply(delta, |step| touched.append(step));
        if let (Some(journal), Some(since)) = (&mut self.journal, since) {
            journal.record_merge(&touched, self.target.state(), &since, self.author.environment.now_ms());
        }
        Ok(MergeReport::new(touched, ahead))
    }

    /// Applies a checked delta. Returns the stamps that are too far ahead, of writes that had not been seen before: a write
    /// is reported once, however often it comes.
    fn apply(&mut self, delta: &Delta, mut report: impl FnMut(&mut Vec<Touched>)) -> Vec<(Dot, Stamp)> {
        let mut merging = Merging::new(delta, self.target.state_mut());
        let mut touched = Vec::new();
        while merging.step(self.target.state_mut(), &mut self.author.interner, &mut touched) {
            if !is(Bug::NotFollowed) {
                self.target.follow_all(&touched);
            }
            report(&mut touched);
        }
        let now = self.author.environment.now_ms();
        let clock = &mut self.author.clock;
        let news = delta.stamps().filter(|(dot, _)| merging.is_news(*dot));
        news.filter(|(_, stamp)| !clock.observe(*stamp, now)).collect()
    }

    /// Makes two replicas equal that have seen the same and are not: their [versions](Self::version) are equal and their
    /// [fingerprints](Self::fingerprint) differ. That is bit rot, or one dot with two contents (a restored backup that
    /// wrote on and made exactly as many writes as were lost, so that no merge found it).
    ///
    /// `theirs` is the peer's [`complete`](Self::complete) delta, and the peer repairs by ours; cut before or after the
    /// peer's own repair, it comes to the same. Then both hold the same. Among more than two, repair in pairs: in whatever
    /// order, all end with the same.
    ///
    /// - A write that is dead on either side is dead.
    /// - Of two contents under one dot the canonically greater one keeps it, in its own cell: by entity (kind, then id), field,
    ///   stamp, kind of payload and payload, bytes compared as bytes.
    /// - What was alive here and no longer is comes back in [`Repair::dropped`]: to be shown to somebody, or written again.
    ///
    /// If they differ in a write of our own id, somebody else writes under it too: our next write takes a new one.
    ///
    /// A peer that has not seen some write in which they differed reconciles, as if its tombstone had been pruned.
    ///
    /// What is refused is refused whole. Idempotent. O(n).
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let mut laptop = Replica::<Graph>::new();
    /// let ada = NodeId::named("person:ada");
    /// laptop.edit(|g| g.add_node("person:ada"))?;
    ///
    /// // The disk is copied, lease and all, and both go on with as many writes.
    /// let (bytes, lease) = laptop.save();
    /// let mut copy = Replica::<Graph>::resume(&bytes, lease)?;
    /// laptop.edit(|g| g.set(ada, "/born", 1815))?;
    /// copy.edit(|g| g.set(ada, "/died", 1852))?;
    /// assert_eq!(laptop.version(), copy.version());
    /// assert_ne!(laptop.fingerprint(), copy.fingerprint());
    ///
    /// let (for_copy, for_laptop) = (laptop.complete(), copy.complete());
    /// let repairs = [laptop.repair(&for_laptop)?, copy.repair(&for_copy)?];
    /// assert_eq!(laptop.state(), copy.state());
    ///
    /// // One of the two lost a write to the other: it is told, and writes it again.
    /// assert_eq!(repairs[0].dropped().len(), 1);
    /// assert_eq!(repairs[1].dropped().len(), 0);
    /// let born = repairs[0].before().node(ada).and_then(|node| node.get("/born")).ok_or("as it was")?;
    /// laptop.edit(|g| g.set(ada, "/born", born))?;
    /// copy.merge(&laptop.delta_since(copy.version())?)?;
    /// let node = copy.state().node(ada).ok_or("there")?;
    /// assert_eq!((node.get("/born"), node.get("/died")), (Some(1815.into()), Some(1852.into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repair(&mut self, theirs: &Delta) -> Result<Repair<T>, RepairError> {
        if theirs.schema() != T::SCHEMA {
            return Err(RepairError::Schema { ours: T::SCHEMA, theirs: theirs.schema().to_owned() });
        }
        let author = &mut self.author;
        let mut repairing = Repairing::new(self.target.state(), theirs, author.id, &mut author.interner)?;
        let before = self.target.clone();
        let mut step = Vec::new();
        while repairing.step(self.target.state_mut(), &mut step) {
            self.target.follow_all(&step);
        }
        if repairing.own_differs {
            self.author.id = None;
            self.forked_at = None;
        }
        let (dropped, touched) = repairing.finish(self.target.state());
        let now = self.author.environment.now_ms();
        let come = dropped.iter().filter_map(|dropped| dropped.now.as_ref());
        let stamps = come.map(|held| (held.sibling.dot, held.sibling.stamp));
        let ahead = stamps.filter(|(_, stamp)| !self.author.clock.observe(*stamp, now)).collect();
        if let Some(journal) = &mut self.journal {
            journal.record_merge(&touched, self.target.state(), before.state().version(), now);
        }
        Ok(Repair::new(MergeReport::new(touched, ahead), dropped, before))
    }

    /// Forgets tombstones: what `tombstones` names is dropped. Returns how many were. O(tombstones · log n).
    ///
    /// What is deleted stays deleted, whatever is pruned when. The price is paid by peers that have not seen a pruned
    /// tombstone: [`delta_since`](Self::delta_since) refuses them, and they reconcile.
    pub fn prune(&mut self, tombstones: Prune<'_>) -> usize {
        let state = self.target.state_mut();
        let dots: Vec<Dot> = match tombstones {
            Prune::All => state.tombstones().collect(),
            Prune::Upto(version) => state.tombstones().filter(|dot| version.covers(*dot)).collect(),
        };
        state.prune(dots)
    }

    /// Goes on under a new id after [`MergeError::OwnDots`]: a peer knows writes under our id that we did not make, so
    /// somebody else went on from the same saved state.
    ///
    /// What was written since that state was saved (by us, in the usual order of things since we resumed) is minted again
    /// under the new id, and the version of the old id goes back to where it stood then; after that the merge goes through.
    /// Nothing that either wrote is lost. What others deleted of it meanwhile may come back, since their deletion cannot
    /// tell ours from the other's, and a counter counts the greater of what the two added. Returns the delta of what was
    /// minted again, for peers that live on deltas. O(written since then).
    pub fn rotate(&mut self) -> Result<Delta, EditError> {
        let mut undo = Undo::new(self);
        let Undo { replica, log, .. } = &mut undo;
        let new = replica.author.new_id();
        let old = replica.author.id.replace(new);
        if let (Some(old), Some(forked_at)) = (old, replica.forked_at) {
            replica.mint_again(old, forked_at, log)?;
        }
        replica.forked_at = None;
        undo.keep();
        let mut since = self.version().clone();
        since.set(new, 0);
        Ok(self.target.state().delta_of_edit(T::SCHEMA, &since))
    }

    fn mint_again(&mut self, old: ReplicaId, past: u64, log: &mut Vec<Before>) -> Result<(), EditError> {
        let Self { target, author, .. } = self;
        for (dot, entity, field) in target.state().written_by(old, past) {
            let again = author.mint(&mut target.state_mut().version)?;
            let touched = target.state_mut().rename(entity, &field, dot, again);
            target.follow(&touched);
            log.push(touched.into_before());
        }
        // If a tombstone of ours is gone that peers have not seen, they must still be told to reconcile.
        let instead = match target.state().pruned().get(old) > past {
            true => Some(author.mint(&mut target.state_mut().version)?),
            false => None,
        };
        target.state_mut().set_back(old, past, instead);
        Ok(())
    }
}

/// Deltas for peers.
impl<T: Crdt> Replica<T> {
    /// What a peer that has seen `since` lacks. O(changes · log n + writers), never a walk of the state.
    ///
    /// Fails if tombstones were pruned that the peer has not seen (unless it has seen nothing at all); then [`reconcile`](Self::reconcile), or send it
    /// [`complete`](Self::complete).
    pub fn delta_since(&self, since: &VersionVector) -> Result<Delta, CutError> {
        self.target.state().delta_since(T::SCHEMA, since)
    }

    /// How to go on with a [`delta_since`](Self::delta_since) that was broken off: see [`State::delta_since_beyond`].
    ///
    /// [`State::delta_since_beyond`]: crate::State::delta_since_beyond
    pub(crate) fn delta_since_beyond(
        &self,
        since: &VersionVector,
        then: &VersionVector,
        last: Entity,
    ) -> Option<(Delta, Delta)> {
        self.target.state().delta_since_beyond(T::SCHEMA, since, then, last)
    }

    /// Everything, as a delta that applies to every replica whatever it has seen. O(n). Tombstones are left out and
    /// count as pruned.
    pub fn complete(&self) -> Delta {
        self.target.state().complete(T::SCHEMA, false)
    }

    /// What a peer lacks that has seen `at` and holds `live_there` alive, whatever was pruned here:
    /// [`delta_since`](Self::delta_since) plus the dots that are dead.
    pub fn reconcile(&self, at: &VersionVector, live_there: &DotSet) -> Delta {
        self.target.state().reconcile(T::SCHEMA, at, live_there)
    }
}

impl<T: Crdt> Default for Replica<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Crdt + fmt::Debug> fmt::Debug for Replica<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("id", &self.id()).field("state", &self.target).finish()
    }
}

/// Which tombstones [`Replica::prune`] drops.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Prune<'a> {
    /// Those that a version covers. The [meet](VersionVector::meet) of all peers' versions covers those that everybody has
    /// seen, and then it costs nobody anything; peers that have not seen some of them reconcile.
    /// [`Devices`](crate::sync::Devices) keeps such a version.
    Upto(&'a VersionVector),
    /// All of them: peers that have not seen them reconcile.
    All,
}

/// How long a log is kept for the next edit: the cells of some hundred nodes, 100 KB.
const SPARE_LOG: usize = 1024;

/// Puts everything back unless told to keep it: on an error, and on a panic as well.
///
/// By undoing each change, not by a snapshot taken before: an edit then writes in place wherever no snapshot of the
/// app's shares the memory.
struct Undo<'a, T: Crdt> {
    replica: &'a mut Replica<T>,
    log: Vec<Before>,
    id: Option<ReplicaId>,
    version: VersionVector,
    kept: bool,
}

impl<'a, T: Crdt> Undo<'a, T> {
    fn new(replica: &'a mut Replica<T>) -> Self {
        let (id, version) = (replica.author.id, replica.version().clone());
        let log = std::mem::take(&mut replica.log);
        Self { replica, log, id, version, kept: false }
    }

    /// Returns the version from before.
    fn keep(mut self) -> VersionVector {
        self.kept = true;
        let Replica { target, author, journal, .. } = &mut *self.replica;
        if let Some(journal) = journal {
            journal.record_edit(&self.log, target.state(), &self.version, author.environment.now_ms());
        }
        self.log.clear();
        if self.log.capacity() <= SPARE_LOG {
            self.replica.log = std::mem::take(&mut self.log);
        }
        std::mem::take(&mut self.version)
    }
}

impl<T: Crdt> Drop for Undo<'_, T> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let target = &mut self.replica.target;
        if is(Bug::UndoForwards) {
            self.log.reverse();
        }
        for before in self.log.drain(..).rev() {
            let undone = target.state_mut().undo(before);
            target.follow(&undone);
        }
        if !is(Bug::UndoKeepsVersion) {
            target.state_mut().version = std::mem::take(&mut self.version);
        }
        self.replica.author.id = self.id;
    }
}
