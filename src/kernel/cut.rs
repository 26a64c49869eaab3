//! Cutting deltas out of a state.

use smallvec::SmallVec;
use thiserror::Error;

use crate::bugs::{Bug, is};
use crate::id::{Dot, WriterId};
use crate::kernel::delta::{Delta, DeltaBuilder, DeltaKind};
use crate::kernel::dots::DotSet;
use crate::kernel::key::{Entity, Field, SiblingRef};
use crate::kernel::resume::{Broken, BrokenKind};
use crate::kernel::state::State;
use crate::kernel::visits;
use crate::version::Version;

/// Why a delta could not be cut.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CutError {
    /// Tombstones were pruned that the peer has not seen: an incremental delta would bring back what they removed.
    #[error(
        "tombstones were pruned that the peer has not seen; reconcile with its live dots, or send a complete delta"
    )]
    Pruned {
        /// What was pruned here.
        pruned: Version,
    },
}

impl State {
    /// What a peer at version `at` lacks. O(changes · log n + lines), never a walk of the state.
    ///
    /// The delta is cut from what both are known to have seen. That may be less than both have (the table here may not know
    /// all heads of the peer): the delta then holds more, and applies to more replicas.
    pub(crate) fn delta_since(&self, schema: &str, at: &Version) -> Result<Delta, CutError> {
        let since = self.version.meet(at);
        match self.kind_since(&since) {
            Some(kind) => {
                let mut delta = self.cut(schema, kind, &since);
                if is(Bug::PeersVersion) {
                    delta.since = at.bare();
                }
                Ok(delta)
            }
            None => Err(CutError::Pruned { pruned: self.pruned.bare() }),
        }
    }

    fn kind_since(&self, since: &Version) -> Option<DeltaKind> {
        match since.includes(&self.pruned) || is(Bug::NoReconciling) {
            true => Some(DeltaKind::Incremental),
            // Nothing is known to be common, so the delta holds everything and judges all that its receiver holds, whatever
            // that has seen.
            false => since.is_empty().then(|| DeltaKind::Reconciled { at: Version::new(), dead: DotSet::new() }),
        }
    }

    /// Returns the rest of a delta that was broken off, for a receiver that has all of it up to and including an entity: the
    /// changes of these entities since the delta was cut, and the delta of the entities beyond. [`Delta::resume`] joins them;
    /// its module says why that is right. O(changes · log n + writers), or O(n) for a complete delta.
    ///
    /// `None` if only beginning again is right: this state does not include the delta's end, tombstones were pruned that the
    /// receiver would have to hear of, or dots have got another content.
    pub(crate) fn delta_since_beyond(&self, schema: &str, broken: &Broken) -> Option<(Delta, Delta)> {
        let resolve = |version: &Version| self.version.resolve(version);
        let (since, then, mut known) = (resolve(&broken.since)?, resolve(&broken.upto)?, resolve(&broken.pruned)?);
        known.join(&since);
        let is_told = then.includes(&self.pruned) && (since.is_empty() || known.includes(&self.pruned));
        let has_other_content = then == self.version && self.fingerprint() != broken.fingerprint;
        if !then.includes(&since) || !self.version.includes(&then) || !is_told || has_other_content {
            return None;
        }
        let beyond = |entity| entity > broken.last;
        let rest = match broken.kind {
            BrokenKind::Complete => self.complete_of(schema, false, beyond),
            BrokenKind::Incremental => self.cut_of(schema, self.kind_since(&since)?, &since, beyond),
            BrokenKind::Reconciled => {
                let kind = DeltaKind::Reconciled { at: since.bare(), dead: DotSet::new() };
                self.cut_of(schema, kind, &since, beyond)
            }
        };
        Some((self.cut_of(schema, DeltaKind::Incremental, &then, |entity| entity <= broken.last), rest))
    }

    /// What was done since a version that this very state had: no tombstone that it lacks can have been pruned.
    pub(crate) fn delta_of_edit(&self, schema: &str, since: &Version) -> Delta {
        self.cut(schema, DeltaKind::Incremental, since)
    }

    /// All live cells. O(n). Without the tombstones their dots count as pruned.
    pub(crate) fn complete(&self, schema: &str, with_tombstones: bool) -> Delta {
        self.complete_of(schema, with_tombstones, |_| true)
    }

    /// Cuts a complete delta of some entities alone.
    fn complete_of(&self, schema: &str, with_tombstones: bool, of: impl Fn(Entity) -> bool) -> Delta {
        let mut pruned = self.pruned.clone();
        // Under the table of today: it may have been an older one.
        pruned.adopt(&self.version);
        if !with_tombstones && !is(Bug::LeftOutNotPruned) {
            pruned.observe_all(self.derived.tombstones.iter().map(|(dot, _)| dot));
        }
        let (none, all) = (self.version.nothing(), self.version.clone());
        let mut delta = DeltaBuilder::new(schema, DeltaKind::Complete, none, all, pruned)
            .with_fingerprint(Some(self.fingerprint()));
        for (entity, cells) in self.entities().filter(|(entity, _)| of(*entity)) {
            let mut siblings = cells.iter().filter(|(_, s)| with_tombstones || s.is_live()).peekable();
            if siblings.peek().is_some() {
                siblings.for_each(|(field, sibling)| delta.push(&field, sibling));
                delta.part(entity, true);
            }
        }
        delta.finish()
    }

    /// What a peer at version `at` with these live dots lacks, whatever was pruned. O(changes · log n + the peer's dots).
    pub(crate) fn reconcile(&self, schema: &str, at: &Version, live_there: &DotSet) -> Delta {
        self.reconcile_from(schema, &self.version.meet(at), at, live_there)
    }

    /// The same from what the two have compared, which this state has seen.
    pub(crate) fn reconcile_common(&self, schema: &str, common: &Version, at: &Version, live_there: &DotSet) -> Delta {
        let since = self.version.resolve(common).unwrap_or_else(|| self.version.nothing());
        self.reconcile_from(schema, &since, at, live_there)
    }

    /// The same from what both are known to have seen.
    fn reconcile_from(&self, schema: &str, since: &Version, at: &Version, live_there: &DotSet) -> Delta {
        let is_dead = |dot: &Dot| self.derived.live.get(*dot).is_none() && !is(Bug::DeadDropped);
        let dead = live_there.iter().filter(|dot| since.covers(*dot)).filter(is_dead).collect();
        let at = if is(Bug::CommonAsNeed) { since.bare() } else { at.bare() };
        self.cut(schema, DeltaKind::Reconciled { at, dead }, since)
    }

    /// The same from what is known to be alive there, at version `at`, and was dead here at version `then`, among the dots
    /// that `since` covers.
    ///
    /// What died here since is told by the cells that killed it, unless their tombstones were pruned; and what a tombstone
    /// killed that the peer had seen was not alive there.
    pub(crate) fn reconcile_since(
        &self,
        schema: &str,
        since: &Version,
        then: &Version,
        at: &Version,
        only_there: &DotSet,
    ) -> Result<Delta, CutError> {
        let pruned = || CutError::Pruned { pruned: self.pruned.bare() };
        let since = self.version.resolve(since).filter(|since| self.version.includes(since)).ok_or_else(pruned)?;
        let mut known = self.version.resolve(then).ok_or_else(pruned)?;
        known.join(&self.version.meet(at));
        match known.includes(&self.pruned) {
            true => Ok(self.reconcile_from(schema, &since, at, only_there)),
            false => Err(pruned()),
        }
    }

    fn cut(&self, schema: &str, kind: DeltaKind, since: &Version) -> Delta {
        self.cut_of(schema, kind, since, |_| true)
    }

    /// Cuts a delta of some entities alone.
    fn cut_of(&self, schema: &str, kind: DeltaKind, since: &Version, of: impl Fn(Entity) -> bool) -> Delta {
        let (mut changed, news) = (Vec::new(), self.version.news(since));
        for (writer, seen, upto) in news.iter().copied() {
            self.derived.live.entities(writer, seen, upto, &mut changed);
            self.derived.tombstones.entities(writer, seen, upto, &mut changed);
        }
        changed.retain(|entity| of(*entity));
        changed.sort_unstable();
        changed.dedup();

        let mut upto = self.version.clone();
        if is(Bug::OverClaim) {
            upto = upto.heads().iter().map(|head| Dot { counter: head.counter + 1, ..*head }).collect();
        }
        let mut delta = DeltaBuilder::new(schema, kind, since.clone(), upto, self.pruned.clone());
        let fingerprint = Some(self.fingerprint()).filter(|_| !is(Bug::OverClaim));
        delta = delta.with_fingerprint(fingerprint);
        // Neighbours are mostly of few writers.
        let mut recent = SmallVec::<[(WriterId, u64); 4]>::new();
        let mut is_new = |dot: Dot| {
            let met = recent.iter().find(|(writer, _)| *writer == dot.writer).map(|(_, seen)| *seen);
            let seen = met.unwrap_or_else(|| {
                let seen = since.get(dot.writer);
                recent.truncate(3);
                recent.insert(0, (dot.writer, seen));
                seen
            });
            dot.counter > seen
        };
        for entity in changed {
            let Some(cells) = self.cells(entity) else { continue };
            // What a change of the root killed is told by sending all that is left.
            let whole = cells.siblings(Field::ROOT.as_bytes()).any(|sibling| is_new(sibling.dot));
            let whole = whole && !is(Bug::PartOfEntity);
            if whole {
                visits::count(cells.len());
                cells.iter().for_each(|(field, sibling)| delta.push(&field, sibling));
            } else {
                let send = |field: &Field, sibling: SiblingRef<'_>| delta.push(field, sibling);
                visits::count(cells.changed_since(&mut is_new, &news, send));
            }
            if delta.part(entity, whole) && !whole {
                delta.name(entity, cells);
            }
        }
        delta.finish()
    }
}
