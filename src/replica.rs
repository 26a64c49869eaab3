//! `Replica<T>`: the only way to write, and everything that a replica can do.

use std::fmt;

use crate::budget::{Budget, Pruning};
use crate::bugs::{Bug, is};
use crate::clock::Stamp;
use crate::codec::{self, DecodeError, SavedState};
use crate::error::EditError;
use crate::id::{Dot, WriterId};
use crate::journal::{Journal, Origin};
use crate::kernel::{
    Author, Broken, Checked, Crdt, CutError, Delta, DotSet, Dropped, Edit, Environment, Fingerprint, Log,
    MAX_SCHEMA_LEN, MergeError, Merging, RepairError, Repairing, SystemEnvironment, Touched, once,
};
use crate::report::{MergeReport, Repair};
use crate::version::{MAX_NAME_LEN, Version};

/// A value of type `T` that can be edited and merged.
///
/// Each opening that writes is a writer of its own: `new`, `load` and `fork` make replicas whose first write draws a random
/// [`WriterId`]. So a saved state can be copied, restored and opened any number of times, in any number of processes, and
/// no two writes ever bear one dot. Not `Clone`, since two that write as one would; [`fork`](Self::fork) makes another. For reading there are [`state`](Self::state) and [`snapshot`](Self::snapshot).
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
    /// Room for the log of the next edit.
    log: Log<T>,
    /// None if it is switched off.
    pruning: Option<Pruning>,
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
            log: Log::default(),
            pruning: Some(Pruning::new(Budget::default())),
            journal: None,
            journaled: 0,
        }
    }

    /// Opens a saved state: any intact one, also an old one, any number of times. O(n).
    ///
    /// Its first write draws a new writer, which goes on from the writer that the state was saved by. Every writer stays
    /// known for good, at some 12 bytes; versions and deltas do not grow by it.
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// replica.edit(|g| g.add_node("person:ada"))?;
    /// let bytes = replica.save();
    ///
    /// // Two copies that both go on lose nothing of each other.
    /// let (mut one, mut other) = (Replica::<Graph>::load(&bytes)?, Replica::<Graph>::load(&bytes)?);
    /// let (_, a) = one.edit(|g| g.set(NodeId::named("person:ada"), "/born", 1815))?;
    /// let (_, b) = other.edit(|g| g.set(NodeId::named("person:ada"), "/died", 1852))?;
    /// one.merge(&b)?;
    /// other.merge(&a)?;
    /// assert_eq!(one.state(), other.state());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::load_with(SystemEnvironment, bytes)
    }

    /// Opens a saved state with a clock and a randomness of the caller's; else like [`load`](Self::load).
    pub fn load_with(environment: impl Environment + 'static, bytes: &[u8]) -> Result<Self, DecodeError> {
        let SavedState { delta, owner } = codec::decode_state(bytes, T::SCHEMA)?;
        let mut replica = Self::with_environment(environment);
        let versions = replica.target.state().check(&delta);
        let versions = versions.map_err(|_| DecodeError::Malformed("a state that makes no sense"))?;
        replica.apply(&delta, versions, |_| {});
        replica.author.owner = owner;
        Ok(replica)
    }

    /// Another replica with the same state, a writer of its own, and the system's clock and randomness. O(1).
    pub fn fork(&self) -> Self {
        self.fork_with(SystemEnvironment)
    }

    /// Like [`fork`](Self::fork), with a clock and a randomness of the caller's.
    pub fn fork_with(&self, environment: impl Environment + 'static) -> Self {
        let mut fork = Self::with_environment(environment);
        fork.target = self.target.clone();
        fork.author.clock = self.author.clock;
        fork.pruning = self.pruning;
        (fork.author.owner, fork.author.device) = (self.author.owner(), self.author.device.clone());
        fork
    }

    /// The dot that the writer of this opening will be born at with its first write; none if it has written, or if it goes on
    /// from nobody.
    #[cfg(feature = "testing")]
    pub(crate) fn birthplace(&self) -> Option<crate::id::Dot> {
        let owner = self.author.owner.filter(|_| self.author.writer.is_none())?;
        self.version().goes_on_from(owner)
    }

    /// This very replica once more, writer and all, as a copy of its process in memory would be: for the test kit, which
    /// goes on from one state in several ways.
    #[cfg(feature = "testing")]
    pub(crate) fn twin_with(&self, environment: impl Environment + 'static) -> Self {
        let mut twin = self.fork_with(environment);
        twin.author.copy_writer(&self.author);
        twin
    }

    /// The state as bytes, for [`load`](Self::load). O(n).
    ///
    /// Write the bytes durably before a delta that they hold is sent: a device that loses writes which it has sent loses
    /// nothing in the mesh, since it gets them back by merging, but its next opening forks, and every version grows by one
    /// head (some 13 bytes) for good.
    ///
    /// Two processes that save to one file lose data: the one that saves last replaces what the other wrote, which
    /// survives only where it was sent. Use a file lock, or a file for each.
    pub fn save(&self) -> Vec<u8> {
        let delta = self.target.state().complete(T::SCHEMA, true);
        codec::encode_state(&SavedState { delta, owner: self.author.owner() })
    }

    /// Returns the state as bytes like [`save`](Self::save), compressed by DEFLATE. O(n): some 20 ns for each byte that `save`
    /// returns, and as much memory as those bytes, beside the costs of `save`. A graph with texts takes a third of the bytes.
    ///
    /// [`load`](Self::load) reads both, in every build with the feature `compression`. Other builds return
    /// [`DecodeError::Compressed`]. A state that does not become shorter is written plain. Equal states may be compressed to
    /// different bytes, so compare states and not these bytes.
    ///
    /// ```
    /// use driftless::{Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// replica.edit(|g| {
    ///     let ada = g.add_node("person:ada")?;
    ///     g.set(ada, "/bio", &"wrote the first program, and notes that are longer. ".repeat(40))
    /// })?;
    /// let bytes = replica.save_compressed();
    /// assert!(bytes.len() < replica.save().len() / 2);
    /// assert_eq!(Replica::<Graph>::load(&bytes)?.state(), replica.state());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "compression")]
    pub fn save_compressed(&self) -> Vec<u8> {
        let delta = self.target.state().complete(T::SCHEMA, true);
        codec::encode_state_compressed(&SavedState { delta, owner: self.author.owner() })
    }

    /// Names the device, for conflicts, journals and reports to say "laptop" where else the id of a writer stands. At most
    /// 64 bytes; what is longer is cut. The name travels with the first write under it, and holds for all later openings
    /// of the saved state. Give it after each opening: a name that has not changed costs nothing.
    pub fn set_device(&mut self, name: &str) {
        let mut end = name.len().min(MAX_NAME_LEN);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let name = &name[..end];
        let named = self.author.owner().and_then(|owner| self.version().device(owner)) == Some(name);
        self.author.device = Some(name.into());
        if !named {
            self.new_writer();
        }
    }

    /// Has the next write draw a writer of its own. Call it if the app notices that the process may have been copied in
    /// memory (a virtual machine that was resumed): the one case in which two would go on as one writer. 12 bytes for
    /// good.
    pub fn new_writer(&mut self) {
        self.author.retire();
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

    /// The writer of this opening; none before its first write, and before the next if the writer was found to be shared
    /// with another process.
    pub fn writer(&self) -> Option<WriterId> {
        self.author.writer
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
    pub fn version(&self) -> &Version {
        self.target.state().version()
    }
}

/// Writing.
impl<T: Crdt> Replica<T> {
    /// Edits the value and returns what the closure returned, and the delta of it all.
    ///
    /// What the closure is given reads like the value itself, with all that it has written so far.
    ///
    /// Atomic: if the closure returns an error or panics, nothing has changed. O(changes · log n + lines); undoing a
    /// failed edit costs no more than undoing its first 1,024 changes.
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
        self.try_edit_with(edit, |_, _| Ok(()))
    }

    /// Edits the value like [`try_edit`](Self::try_edit), and has `commit` decide by the delta whether the edit stands: a store
    /// makes it durable there, a gate checks it.
    ///
    /// If `commit` fails or panics, nothing has changed, and the next write draws a new writer (12 bytes for good), because bytes of
    /// the refused delta may have got somewhere.
    ///
    /// ```
    /// use driftless::{EditError, Graph, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let mut log = Vec::new();
    /// replica.try_edit_with(
    ///     |g| g.add_node("person:ada"),
    ///     |_, delta| {
    ///         log.push(delta.to_bytes());
    ///         Ok::<_, EditError>(())
    ///     },
    /// )?;
    /// let full = replica.try_edit_with(|g| g.add_node("person:bob"), |_, _| Err(EditError::abort("the disk is full")));
    /// assert!(full.is_err());
    /// assert_eq!((replica.state().node_count(), log.len()), (1, 1));
    /// # Ok::<(), EditError>(())
    /// ```
    pub fn try_edit_with<R, E>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, E>,
        commit: impl FnOnce(&R, &Delta) -> Result<(), E>,
    ) -> Result<(R, Delta), E> {
        self.author.begin();
        let mut undo = Undo::new(self);
        let Undo { replica, log, .. } = &mut undo;
        let result = edit(&mut Edit::new(&mut replica.target, &mut replica.author, log))?;
        undo.replica.target.state_mut().close();
        let delta = undo.replica.target.state().delta_of_edit(T::SCHEMA, &undo.version);
        undo.is_told = true;
        commit(&result, &delta)?;
        undo.keep();
        self.prune_by_itself();
        Ok((result, delta))
    }

    /// Checks whether [`merge`](Self::merge) would take a delta, and changes nothing. Unless something else is merged or written
    /// in between, `merge` then cannot fail. O(|delta| + lines).
    ///
    /// # Errors
    ///
    /// The [`MergeError`] that `merge` would return.
    ///
    /// ```
    /// use driftless::{Graph, MergeError, Replica};
    /// let (mut laptop, phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    /// let (_, first) = laptop.edit(|g| g.add_node("person:ada"))?;
    /// let (_, second) = laptop.edit(|g| g.add_node("person:bob"))?;
    /// assert!(phone.check(&first).is_ok());
    /// assert!(matches!(phone.check(&second), Err(MergeError::Gap { .. })));
    /// assert!(phone.version().is_empty()); // nothing was merged
    /// # Ok::<(), driftless::EditError>(())
    /// ```
    pub fn check(&self, delta: &Delta) -> Result<(), MergeError> {
        self.checked(delta).map(drop)
    }

    fn checked(&self, delta: &Delta) -> Result<Checked, MergeError> {
        if delta.schema() != T::SCHEMA {
            return Err(MergeError::Schema { ours: T::SCHEMA, theirs: delta.schema().to_owned() });
        }
        self.target.state().check(delta)
    }

    /// Joins a delta into the value. Idempotent, and order-free among deltas whose past is covered. O(|delta| · log n).
    ///
    /// What is refused is refused whole. Afterwards everything in [`Delta::upto`] has been seen.
    pub fn merge(&mut self, delta: &Delta) -> Result<MergeReport<T>, MergeError> {
        self.merge_from(delta, Origin::Merge)
    }

    fn merge_from(&mut self, delta: &Delta, origin: Origin) -> Result<MergeReport<T>, MergeError> {
        let versions = self.checked(delta)?;
        let mut touched = Vec::new();
        let since = self.journal.as_ref().map(|_| self.version().clone());
        let Applied { ahead, shared, is_doubled, dropped } = self.apply(delta, versions, |step| touched.append(step));
        if !dropped.is_empty() {
            touched = once(touched, self.target.state());
        }
        let rescue = self.target.state().rescued(T::SCHEMA, &dropped);
        if let (Some(journal), Some(since)) = (&mut self.journal, since) {
            journal.record_merge(&touched, self.target.state(), &since, origin, self.author.environment.now_ms());
        }
        let state = self.target.state();
        let differs = delta.fingerprint.is_some_and(|theirs| theirs != state.fingerprint());
        let diverged = differs && delta.upto() == state.version();
        self.prune_by_itself();
        let report = MergeReport::new(touched, ahead).with_doubled(shared, dropped, rescue);
        Ok(report.with_doubled_dots(is_doubled).with_divergence(diverged))
    }

    /// Merges a delta that an earlier opening of this device made by [`edit`](Self::edit) and kept in a log, and goes on from
    /// the writer that made it. [`merge`](Self::merge) is right as well; with `replay` versions do not grow by a head.
    ///
    /// Only for what this device wrote: what it merged from others is merged again.
    pub fn replay(&mut self, delta: &Delta) -> Result<MergeReport<T>, MergeError> {
        let report = self.merge_from(delta, Origin::Edit)?;
        let mut news = delta.upto().heads().iter().filter(|head| !delta.since().covers(**head));
        if let (Some(last), None) = (news.next(), news.next()) {
            self.author.go_on_from(last.writer);
        }
        Ok(report)
    }

    /// Applies a checked delta, and finds the stamps that are too far ahead, of writes that had not been seen before: a write
    /// is reported once, however often it comes.
    fn apply(&mut self, delta: &Delta, versions: Checked, mut report: impl FnMut(&mut Vec<Touched>)) -> Applied {
        let beyond = |writer: &WriterId| versions.upto.get(*writer) > self.version().get(*writer);
        let beyond = self.author.writer.filter(beyond);
        let interner = &mut self.author.interner;
        let mut merging = Merging::new(delta, versions, self.target.state_mut(), interner);
        let wrote = |writer: &WriterId| merging.doubled().iter().any(|dot| dot.writer == *writer);
        let shared = beyond.or(self.author.writer.filter(wrote));
        if shared.is_some() {
            self.author.retire();
        }
        let mut touched = Vec::new();
        while merging.step(self.target.state_mut(), &mut self.author.interner, &mut touched) {
            if !is(Bug::NotFollowed) {
                self.target.follow_all(&touched);
            }
            report(&mut touched);
        }
        self.target.finish_merge();
        self.target.state_mut().close();
        let now = self.author.environment.now_ms();
        let clock = &mut self.author.clock;
        let news = delta.stamps().filter(|(dot, _)| merging.is_news(*dot));
        let ahead = news.filter(|(_, stamp)| !clock.observe(*stamp, now)).collect();
        Applied { ahead, shared, is_doubled: !merging.doubled().is_empty(), dropped: merging.finish() }
    }

    /// Makes two replicas equal that have seen the same and are not: their [versions](Self::version) are equal and their
    /// [fingerprints](Self::fingerprint) differ. That is bit rot, or one dot with two contents: a running process was copied
    /// with its memory (a virtual machine resumed twice), and both went on as one writer.
    ///
    /// `theirs` is the peer's delta [with tombstones](Self::complete_with_tombstones), and the peer repairs by ours; cut
    /// before or after the peer's own repair, it comes to the same. Then both hold the same. Among more than two, repair in
    /// pairs: in whatever order, all end with the same. By a delta without tombstones ([`complete`](Self::complete)) too, but
    /// one side may then write again what the other had alive under the dot of a removal, and the other has to merge it.
    ///
    /// - Of two contents under one dot a removal keeps it, or else the canonically greater one, in its own cell: by entity
    ///   (kind, then id), field, stamp, kind of payload and payload, bytes compared as bytes. The other is written again,
    ///   beside it, under a dot that follows from it, the same everywhere.
    /// - A write that is alive on one side alone, with nothing under its dot on the other, is dead. What was alive here comes
    ///   back in [`MergeReport::dropped`].
    ///
    /// If they differ in a write of our own writer, another process writes as it too: our next write draws a new one.
    ///
    /// A peer that has not seen some write in which they differed reconciles, as if its tombstone had been pruned.
    ///
    /// What is refused is refused whole. Idempotent. O(n).
    pub fn repair(&mut self, theirs: &Delta) -> Result<Repair<T>, RepairError> {
        self.repair_by(theirs, false)
    }

    /// The same with the complete delta of a state that has seen what this replica has seen, or less: of what it had seen, the
    /// two hold the same afterwards. Without a divergence nothing changes.
    pub(crate) fn take_in(&mut self, theirs: &Delta) -> Result<Repair<T>, RepairError> {
        self.repair_by(theirs, true)
    }

    fn repair_by(&mut self, theirs: &Delta, may_be_older: bool) -> Result<Repair<T>, RepairError> {
        if theirs.schema() != T::SCHEMA {
            return Err(RepairError::Schema { ours: T::SCHEMA, theirs: theirs.schema().to_owned() });
        }
        let author = &mut self.author;
        let (state, interner) = (self.target.state(), &mut author.interner);
        let mut repairing = Repairing::new(state, theirs, may_be_older, author.writer, interner)?;
        let before = self.target.clone();
        let (mut step, mut touched) = (Vec::new(), Vec::new());
        while repairing.step(self.target.state_mut(), &mut step) {
            self.target.follow_all(&step);
            touched.append(&mut step);
        }
        self.target.finish_merge();
        self.target.state_mut().close();
        let shared = self.author.writer.filter(|_| repairing.own_differs);
        if shared.is_some() {
            self.author.retire();
        }
        let (dropped, touched) = (repairing.finish(), once(touched, self.target.state()));
        let now = self.author.environment.now_ms();
        let come = dropped.iter().filter_map(|dropped| dropped.now.as_ref());
        let stamps = come.map(|held| (held.sibling.dot, held.sibling.stamp));
        let ahead = stamps.filter(|(_, stamp)| !self.author.clock.observe(*stamp, now)).collect();
        if let Some(journal) = &mut self.journal {
            journal.record_merge(&touched, self.target.state(), before.state().version(), Origin::Repair, now);
        }
        let rescue = self.target.state().rescued(T::SCHEMA, &dropped);
        let report = MergeReport::new(touched, ahead).with_doubled(shared, dropped, rescue);
        Ok(Repair::new(report, before))
    }

    fn prune_by_itself(&mut self) {
        let Some(pruning) = &mut self.pruning else { return };
        let state = self.target.state_mut();
        if state.tombstones_len() > 0 {
            let dots = pruning.after_change(state, self.author.environment.now_ms());
            state.prune(dots);
        }
    }

    /// Sets the budget by which edits and merges prune tombstones by themselves, or switches that off. A new replica has
    /// the default [`Budget`]: 100,000 tombstones, 16 MiB, ninety days.
    ///
    /// An app that knows its devices prunes sooner, and what all of them have seen, by
    /// [`Devices::plan`](crate::sync::Devices::plan).
    pub fn set_pruning(&mut self, budget: Option<Budget>) {
        self.pruning = budget.map(Pruning::new);
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
}

/// Deltas for peers.
impl<T: Crdt> Replica<T> {
    /// What a peer that has seen `since` lacks. O(changes · log n + lines), never a walk of the state.
    ///
    /// Fails if tombstones were pruned that the peer has not seen (unless it has seen nothing at all); then [`reconcile`](Self::reconcile), or send it
    /// [`complete`](Self::complete).
    pub fn delta_since(&self, since: &Version) -> Result<Delta, CutError> {
        self.target.state().delta_since(T::SCHEMA, since)
    }

    /// Returns the rest of a delta that was broken off: see [`State::delta_since_beyond`].
    ///
    /// [`State::delta_since_beyond`]: crate::State::delta_since_beyond
    pub(crate) fn delta_since_beyond(&self, broken: &Broken) -> Option<(Delta, Delta)> {
        self.target.state().delta_since_beyond(T::SCHEMA, broken)
    }

    /// Everything, as a delta that applies to every replica whatever it has seen. O(n). Tombstones are left out and
    /// count as pruned.
    pub fn complete(&self) -> Delta {
        self.target.state().complete(T::SCHEMA, false)
    }

    /// The same with the tombstones that are kept: what a peer [repairs](Self::repair) by. O(n).
    pub fn complete_with_tombstones(&self) -> Delta {
        self.target.state().complete(T::SCHEMA, true)
    }

    /// What a peer lacks that has seen `at` and holds `live_there` alive, whatever was pruned here:
    /// [`delta_since`](Self::delta_since) plus the dots that are dead.
    pub fn reconcile(&self, at: &Version, live_there: &DotSet) -> Delta {
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
        f.debug_struct("Replica").field("writer", &self.writer()).field("state", &self.target).finish()
    }
}

/// What came of applying a delta, beside what it touched.
struct Applied {
    /// Stamps that are too far ahead.
    ahead: Vec<(Dot, Stamp)>,
    /// Our writer, if another process writes as it too.
    shared: Option<WriterId>,
    /// A dot had two contents.
    is_doubled: bool,
    dropped: Vec<Dropped>,
}

/// Which tombstones [`Replica::prune`] drops.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Prune<'a> {
    /// Those that a version covers. The [meet](Version::meet) of all peers' versions covers those that everybody has
    /// seen, and then it costs nobody anything; peers that have not seen some of them reconcile.
    /// [`Devices`](crate::sync::Devices) keeps such a version.
    Upto(&'a Version),
    /// All of them: peers that have not seen them reconcile.
    All,
}

/// Puts everything back unless told to keep it: on an error, and on a panic as well.
///
/// By undoing each of the first changes, not by a snapshot taken before: see [`Log`].
struct Undo<'a, T: Crdt> {
    replica: &'a mut Replica<T>,
    log: Log<T>,
    writer: Option<WriterId>,
    version: Version,
    /// True once the delta was shown to somebody.
    is_told: bool,
    kept: bool,
}

impl<'a, T: Crdt> Undo<'a, T> {
    fn new(replica: &'a mut Replica<T>) -> Self {
        let (writer, version) = (replica.author.writer, replica.version().clone());
        let mut log = std::mem::take(&mut replica.log);
        log.keeps_all = replica.journal.is_some();
        Self { replica, log, writer, version, is_told: false, kept: false }
    }

    fn keep(mut self) {
        self.kept = true;
        let Replica { target, author, journal, .. } = &mut *self.replica;
        if let Some(journal) = journal {
            journal.record_edit(self.log.changes(), target.state(), &self.version, author.environment.now_ms());
        }
        self.log.clear();
        self.replica.log = std::mem::take(&mut self.log);
    }
}

impl<T: Crdt> Drop for Undo<'_, T> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let target = &mut self.replica.target;
        self.log.undo(target);
        target.state_mut().close();
        if !is(Bug::UndoKeepsVersion) {
            target.state_mut().version = std::mem::take(&mut self.version);
        }
        let author = &mut self.replica.author;
        author.writer = self.writer;
        if self.is_told {
            author.retire();
        }
    }
}
