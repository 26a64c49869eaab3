//! Cutting deltas out of a state.

use thiserror::Error;

use crate::bugs::{Bug, is};
use crate::kernel::delta::{Delta, DeltaBuilder, DeltaKind};
use crate::kernel::dots::DotSet;
use crate::kernel::key::{Entity, Field, Sibling};
use crate::kernel::state::State;
use crate::kernel::visits;
use crate::version::{VersionVector, news};

/// Why a delta could not be cut.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CutError {
    /// Tombstones were pruned that the peer has not seen: an incremental delta would bring back what they removed.
    #[error(
        "tombstones were pruned that the peer has not seen; reconcile with its live dots, or send a complete delta"
    )]
    Pruned {
        /// What was pruned here.
        pruned: VersionVector,
    },
}

impl State {
    /// What `since` lacks. O(changes · log n + writers), never a walk of the state.
    pub(crate) fn delta_since(&self, schema: &str, since: &VersionVector) -> Result<Delta, CutError> {
        match self.kind_since(since) {
            Some(kind) => Ok(self.cut(schema, kind, since)),
            None => Err(CutError::Pruned { pruned: self.pruned.clone() }),
        }
    }

    fn kind_since(&self, since: &VersionVector) -> Option<DeltaKind> {
        match since.includes(&self.pruned) || is(Bug::NoReconciling) {
            true => Some(DeltaKind::Incremental),
            // A peer that holds nothing holds nothing dead. But it may when the answer comes, or somebody else may get
            // it: so it has to be a delta that judges what its receiver has learnt since.
            false => since.is_empty().then(|| DeltaKind::Reconciled { at: since.clone(), dead: DotSet::new() }),
        }
    }

    /// How to go on with a delta from `since` to `then` that was broken off, for a peer that has all of it up to and
    /// including an entity: what was done since then to these entities, and what `since` lacks of those beyond.
    /// [`Delta::resume`] makes one delta of it all. O(changes · log n + writers).
    ///
    /// `since` is what the delta itself says: what the peer has seen beyond it, the delta was not cut for. `None` if only
    /// beginning again is right: this state is not `then` and what came after, or tombstones were pruned that `then` or
    /// `since` does not cover.
    pub(crate) fn delta_since_beyond(
        &self,
        schema: &str,
        since: &VersionVector,
        then: &VersionVector,
        last: Entity,
    ) -> Option<(Delta, Delta)> {
        let kind = self.kind_since(since)?;
        if !then.includes(since) || !self.version.includes(then) || !then.includes(&self.pruned) {
            return None;
        }
        let changes = self.cut_of(schema, DeltaKind::Incremental, then, |entity| entity <= last);
        Some((changes, self.cut_of(schema, kind, since, |entity| entity > last)))
    }

    /// What was done since a version that this very state had: no tombstone that it lacks can have been pruned.
    pub(crate) fn delta_of_edit(&self, schema: &str, since: &VersionVector) -> Delta {
        self.cut(schema, DeltaKind::Incremental, since)
    }

    /// All live cells. O(n). Without the tombstones their dots count as pruned.
    pub(crate) fn complete(&self, schema: &str, with_tombstones: bool) -> Delta {
        let mut pruned = self.pruned.clone();
        if !with_tombstones && !is(Bug::LeftOutNotPruned) {
            self.derived.tombstones.iter().for_each(|(dot, _)| pruned.observe(dot));
        }
        let (none, all) = (VersionVector::new(), self.version.clone());
        let mut delta = DeltaBuilder::new(schema, DeltaKind::Complete, none, all, pruned);
        for (entity, cells) in self.entities() {
            let mut siblings = cells.iter().filter(|(_, s)| with_tombstones || s.is_live()).peekable();
            if siblings.peek().is_some() {
                siblings.for_each(|(field, sibling)| delta.push(field, sibling));
                delta.part(entity, true);
            }
        }
        delta.finish()
    }

    /// What a peer at version `at` with these live dots lacks, whatever was pruned. O(changes · log n + the peer's dots).
    pub(crate) fn reconcile(&self, schema: &str, at: &VersionVector, live_there: &DotSet) -> Delta {
        let dead = live_there
            .iter()
            .filter(|dot| self.version.covers(*dot) && self.derived.live.get(*dot).is_none() && !is(Bug::DeadDropped))
            .collect();
        self.cut(schema, DeltaKind::Reconciled { at: at.clone(), dead }, at)
    }

    /// The same from what is known to be alive there and was dead here at version `then`.
    ///
    /// What died here since is told by the cells that killed it, unless their tombstones were pruned; and what a tombstone
    /// killed that the peer had seen was not alive there.
    pub(crate) fn reconcile_since(
        &self,
        schema: &str,
        then: &VersionVector,
        at: &VersionVector,
        only_there: &DotSet,
    ) -> Result<Delta, CutError> {
        let mut known = then.clone();
        known.join(at);
        match known.includes(&self.pruned) {
            true => Ok(self.reconcile(schema, at, only_there)),
            false => Err(CutError::Pruned { pruned: self.pruned.clone() }),
        }
    }

    fn cut(&self, schema: &str, kind: DeltaKind, since: &VersionVector) -> Delta {
        self.cut_of(schema, kind, since, |_| true)
    }

    /// Cuts a delta of some entities alone.
    fn cut_of(&self, schema: &str, kind: DeltaKind, since: &VersionVector, of: impl Fn(Entity) -> bool) -> Delta {
        // What the peer has seen and we have not is no concern of this delta: all that it leaves out is what both have.
        let since = since.meet(&self.version);
        let (mut changed, news) = (Vec::new(), news(&since, &self.version).collect::<Vec<_>>());
        for (replica, seen, _) in news.iter().copied() {
            self.derived.live.entities_after(replica, seen, &mut changed);
            self.derived.tombstones.entities_after(replica, seen, &mut changed);
        }
        changed.retain(|entity| of(*entity));
        changed.sort_unstable();
        changed.dedup();

        let mut upto = self.version.clone();
        if let (Some((replica, _, counter)), true) = (news.first(), is(Bug::OverClaim)) {
            upto.set(*replica, counter + 1);
        }
        let mut delta = DeltaBuilder::new(schema, kind, since.clone(), upto, self.pruned.clone());
        for entity in changed {
            let Some(cells) = self.cells(entity) else { continue };
            // What a change of the root killed is told by sending all that is left.
            let whole = cells.siblings(Field::ROOT.as_bytes()).any(|sibling| !since.covers(sibling.dot));
            let whole = whole && !is(Bug::PartOfEntity);
            if whole {
                visits::count(cells.len());
                cells.iter().for_each(|(field, sibling)| delta.push(field, sibling));
            } else {
                let send = |field: &Field, sibling: &Sibling| delta.push(field, sibling);
                visits::count(cells.changed_since(&since, &news, send));
            }
            delta.part(entity, whole);
        }
        delta.finish()
    }
}
