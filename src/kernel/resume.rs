//! Going on with a delta that was broken off, whatever its kind.
//!
//! The delta was cut at version S for a receiver that is known to have seen `since`. The receiver has its *prefix*: all of it up
//! to and including an entity. A replica at S′ goes on with it: the sender, another opening of the sender's save, or any other
//! replica, as long as S′ includes S. It sends
//!
//! 1. the *changes*: the incremental delta from S to S′ of the entities of the prefix;
//! 2. the *rest*: what a delta of the same kind, cut at S′, holds of the entities beyond.
//!
//! The receiver joins prefix and changes, and appends the rest. The invariant: **the result is a delta from `since` to S′ that a
//! replica at S′ could cut**, so it may be merged by whoever may merge such a delta. By the kind:
//!
//! - *Incremental.* The prefix holds each cell that changed between `since` and S, the changes hold each that changed between S and
//!   S′. A cell without a change in either has none between `since` and S′. Tombstones that were pruned are the exception: a
//!   cell whose tombstone is gone looks unchanged. So `since` must cover all that S′ has pruned, as for a delta that
//!   is cut anew.
//! - *Complete.* The prefix holds each live sibling at S. The changes hold each cell that was written since, with all its
//!   siblings, so they tell which of these have died; S must cover all that S′ has pruned, or a removal could be missing.
//!   The prefix lacks the tombstones of S. The changes name these without content, and they are left out. The result counts
//!   them as pruned: the rest counts all tombstones of S′ as pruned, and a tombstone that was overwritten since is told by the
//!   write that overwrote it.
//! - *Reconciled.* The prefix holds what an incremental one would, and the dots within `since` that are alive at the receiver
//!   and dead at the sender. A dot on neither side of the break may die in between: by a cell that was written since S, which
//!   the changes or the rest hold; by one between `since` and S, which they hold unless its tombstone was pruned. The list was
//!   made when the two compared, which may be before S, so it need not name what died later. So what S′ has pruned must be covered by
//!   `since` (then the receiver has seen the removal itself) or by what S had pruned (then the list answers for it).
//!   Nothing is within an empty `since`, so there S must cover what S′ has pruned, as above.
//!
//! The *receiver* may have written, merged and pruned in between: a delta may always arrive late. If it has less than before, `need`
//! refuses the result, as any delta. The *sender* may have done all of that too, within these conditions; if it comes back with less
//! than S, it begins again.
//!
//! *Dots with two contents* (section 4 of the design) are the limit. A repair at the sender may move a dot to another entity; if it
//! moves out of the rest and into the prefix, or out of what was sent, the result holds it nowhere and takes it for dead. If
//! S′ is S, the fingerprint shows it, and the sender begins again. So a delta that repairs goes on only if nothing has
//! changed. If S′ is later, two replicas whose contents of a dot differ are repaired when they meet.

use std::sync::Arc;

use crate::bugs::{Bug, is};
use crate::id::Dot;
use crate::kernel::delta::{Delta, DeltaBuilder, DeltaKind, FieldTable};
use crate::kernel::fingerprint::Fingerprint;
use crate::kernel::key::Entity;
use crate::version::Version;

/// A delta that was broken off, as its receiver describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Broken {
    pub(crate) kind: BrokenKind,
    pub(crate) since: Version,
    pub(crate) upto: Version,
    pub(crate) pruned: Version,
    /// Fingerprint of the sender at `upto`.
    pub(crate) fingerprint: Fingerprint,
    /// Last entity that has come.
    pub(crate) last: Entity,
}

/// A [`DeltaKind`] without its contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BrokenKind {
    Incremental,
    Reconciled,
    Complete,
}

impl Delta {
    /// Describes this prefix of a delta, for its sender to go on. `None` if it has no entity.
    pub(crate) fn broken(&self) -> Option<Broken> {
        let kind = match self.kind {
            DeltaKind::Incremental => BrokenKind::Incremental,
            DeltaKind::Reconciled { .. } => BrokenKind::Reconciled,
            DeltaKind::Complete => BrokenKind::Complete,
        };
        let (since, upto, pruned) = (self.since.clone(), self.upto.clone(), self.pruned.clone());
        let fingerprint = self.fingerprint.unwrap_or_default();
        Some(Broken { kind, since, upto, pruned, fingerprint, last: self.last_entity()? })
    }

    /// Joins the prefix of a delta that was broken off with the changes and the rest that
    /// [`delta_since_beyond`](crate::State::delta_since_beyond) made for it. O(all).
    ///
    /// The result is the delta that the sender would have cut now, with two exceptions that change nothing of what is alive: the
    /// prefix still holds tombstones that the sender has pruned since, and the prefix of a complete delta may hold tombstones of
    /// its later changes. `None` if the three do not fit together, by the writers that the receiver knows.
    pub(crate) fn resume(prefix: Self, changes: &Self, rest: Self, receiver: &Version) -> Option<Self> {
        let kind = prefix.resumed_kind(&rest)?;
        let common = prefix.goes_on_with(changes, &rest, receiver)?;
        let (since, upto, pruned) = (rest.since.clone(), rest.upto.clone(), rest.pruned.clone());
        let births = Arc::clone(&rest.births);
        let mut joined =
            DeltaBuilder::with_births(&rest.schema, kind.clone(), [since, upto, pruned], births, rest.news);
        let mut order = Vec::with_capacity(prefix.parts.len() + changes.parts.len() + rest.parts.len());
        let [from_prefix, from_joined, from_rest] = [0, 1, 2];
        let mut next = 0;
        for part in changes.parts() {
            let before = prefix.parts[next..].partition_point(|earlier| earlier.entity < part.entity);
            order.extend(std::iter::repeat_n((from_prefix, true), before));
            next += before;
            let earlier = (next < prefix.parts.len()).then(|| prefix.part(next)).filter(|x| x.entity == part.entity);
            if earlier.is_some() {
                order.push((from_prefix, false));
                next += 1;
            }
            let earlier = earlier.filter(|_| !is(Bug::ResumeForgets));
            // Beyond `since` the prefix has the content of all that was alive when it was cut.
            let is_dead = |dot: Dot| !common.covers(dot);
            if prefix.join_parts(changes, (earlier, Some(part)), &mut joined, is_dead) {
                order.push((from_joined, true));
            }
        }
        order.extend(std::iter::repeat_n((from_prefix, true), prefix.parts.len() - next));
        order.extend(std::iter::repeat_n((from_rest, true), rest.parts.len()));

        joined.names_of([&prefix, changes]);
        let head = rest.head(kind);
        let gathered = head.gather(vec![prefix, joined.finish(), rest], order.into_iter());
        let resumed = gathered.with_used_fields().with_used_writers();
        resumed.has_distinct_dots().then_some(resumed)
    }

    /// The kind of what this prefix and the rest become, if they fit together. The rest lists no dead dots: the prefix does.
    fn resumed_kind(&self, rest: &Self) -> Option<DeltaKind> {
        let lists_nothing = |kind: &DeltaKind| matches!(kind, DeltaKind::Reconciled { at, dead } if *at == rest.since && dead.is_empty());
        match &self.kind {
            DeltaKind::Incremental if rest.kind == DeltaKind::Incremental => Some(DeltaKind::Incremental),
            // A peer that is not known to hold anything gets this kind once there was pruning.
            DeltaKind::Incremental if rest.since.is_empty() && lists_nothing(&rest.kind) => Some(rest.kind.clone()),
            DeltaKind::Reconciled { .. } if lists_nothing(&rest.kind) => Some(self.kind.clone()),
            DeltaKind::Complete if rest.kind == DeltaKind::Complete => Some(DeltaKind::Complete),
            _ => None,
        }
    }

    /// Checks that this prefix, the changes and the rest follow from each other. Returns `since`, resolved.
    fn goes_on_with(&self, changes: &Self, rest: &Self, receiver: &Version) -> Option<Version> {
        let is_complete = self.kind == DeltaKind::Complete;
        let (last, first) = (self.last_entity(), rest.parts.first().map(|part| part.entity));
        let fits = self.schema == changes.schema
            && self.schema == rest.schema
            && changes.kind == DeltaKind::Incremental
            && self.since == rest.since
            && self.upto == changes.since
            && changes.upto == rest.upto
            && (changes.pruned == rest.pruned || is_complete)
            && changes.last_entity() <= last
            && first.is_none_or(|first| last < Some(first));
        if !fits {
            return None;
        }
        let table = receiver.learn(&rest.births, rest.upto.heads()).ok()?;
        let resolve = |version: &Version| table.resolve(version);
        let (since, then, before) = (resolve(&self.since)?, resolve(&self.upto)?, resolve(&self.pruned)?);
        let (pruned, counted) = (resolve(&changes.pruned)?, resolve(&rest.pruned)?);
        let mut known = before.clone();
        known.join(&since);
        // Else a removal could be missing.
        let is_told = then.includes(&pruned)
            && counted.includes(&pruned)
            && (is_complete || counted.includes(&before))
            && (since.is_empty() || known.includes(&pruned));
        is_told.then_some(since)
    }

    /// Drops the writers that nothing uses.
    fn with_used_writers(mut self) -> Self {
        let mut used = vec![false; self.writers.len()];
        self.known.iter().for_each(|known| used[known.writer as usize] = true);
        self.writes.iter().for_each(|write| used[write.writer as usize] = true);
        let mut places = Vec::with_capacity(used.len());
        let mut next = 0;
        for used in &used {
            places.push(next);
            next += u32::from(*used);
        }
        let mut keep = used.into_iter();
        self.writers.retain(|_| keep.next() == Some(true));
        self.known.iter_mut().for_each(|known| known.writer = places[known.writer as usize]);
        self.writes.iter_mut().for_each(|write| write.writer = places[write.writer as usize]);
        self
    }

    /// Drops the fields that nothing uses.
    fn with_used_fields(mut self) -> Self {
        let mut used = vec![false; self.fields.len()];
        self.known.iter().for_each(|known| used[known.field as usize] = true);
        self.writes.iter().for_each(|write| used[write.field as usize] = true);
        if used.iter().all(|used| *used) {
            return self;
        }
        let (mut fields, mut places) = (FieldTable::default(), Vec::with_capacity(used.len()));
        for (field, used) in self.fields.iter().zip(used) {
            places.push(fields.len() as u32);
            if used {
                fields.push(field);
            }
        }
        self.fields = fields;
        self.known.iter_mut().for_each(|known| known.field = places[known.field as usize]);
        self.writes.iter_mut().for_each(|write| write.field = places[write.field as usize]);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::kernel::delta::Part;
    use crate::kernel::histories::{Step, Still, World, steps};
    use crate::kernel::{Crdt, DotSet, Entity};
    use crate::{Dot, Graph, Replica};

    /// An incremental delta that broke off.
    fn broken(since: &Version, upto: &Version, last: Entity) -> Broken {
        let (since, upto, pruned) = (since.clone(), upto.clone(), Version::new());
        Broken { kind: BrokenKind::Incremental, since, upto, pruned, fingerprint: Fingerprint::default(), last }
    }

    /// Takes out of a resumed delta the dots that were tombstones when the prefix was cut and that the sender has pruned
    /// since; whatever else the direct one lacks stays. Returns how many these were.
    fn without_pruned(resumed: &Delta, direct: &Delta, tombstones: &DotSet) -> (Delta, usize) {
        let held: DotSet = direct.dots().collect();
        let gone = |dot| !held.contains(dot) && tombstones.contains(dot) && direct.pruned.covers(dot);
        let (mut clean, mut count) = (resumed.head(resumed.kind.clone()), 0);
        (clean.fields, clean.writers) = (resumed.fields.clone(), resumed.writers.clone());
        for part in resumed.parts() {
            let (known, writes) = (clean.known.len(), clean.writes.len());
            clean.known.extend(part.known.iter().copied().filter(|k| !gone(resumed.known_dot(k))));
            clean.writes.extend(part.writes.iter().filter(|w| !gone(resumed.write_dot(w))).cloned());
            let (known_end, writes_end) = (clean.known.len(), clean.writes.len());
            let here = part.known.len() + part.writes.len() - (known_end - known) - (writes_end - writes);
            count += here;
            // It was sent whole for its root, which may be what is gone.
            let roots = part.writes.iter().filter(|w| resumed.fields.get(w.field).is_empty());
            let whole = part.whole && !roots.map(|w| resumed.write_dot(w)).all(gone);
            if whole || here == 0 || (known, writes) != (known_end, writes_end) {
                clean.parts.push(Part { entity: part.entity, whole, known_end, writes_end });
            }
        }
        (clean.with_used_fields().with_used_writers(), count)
    }

    /// A peer may claim any version to have been where the stream that broke off began or ended.
    #[test]
    fn nobody_goes_on_from_where_the_sender_never_was() {
        let mut world = World::new();
        world.run(&(0..8).map(|e| Step::Write(0, e, 1)).collect::<Vec<_>>());
        let sender = &world.0[0];
        let then = sender.state().state().version().clone();
        let last = sender.complete().last_entity().unwrap();
        let nothing = Version::new();
        let goes_on = |sender: &Replica<Graph>, from: &Version, to: &Version| {
            let fingerprint = sender.fingerprint();
            sender.delta_since_beyond(&Broken { fingerprint, ..broken(from, to, last) }).is_some()
        };
        assert!(goes_on(sender, &nothing, &then));
        assert!(sender.delta_since_beyond(&broken(&nothing, &then, last)).is_none(), "with other contents of a dot");
        assert!(!goes_on(sender, &then, &nothing), "it began after it ended");
        let further: Version = then.heads().iter().map(|head| Dot { counter: head.counter + 1, ..*head }).collect();
        assert!(!goes_on(sender, &nothing, &further), "what is not here yet was sent");
        world.run(&[Step::Delete(0, 3), Step::Prune(0)]);
        assert!(!goes_on(&world.0[0], &nothing, &then), "a removal would be missing");
    }

    /// The list of a reconciled delta names what was dead when the two compared; later deaths are told by their tombstones alone.
    #[test]
    fn a_removal_that_its_tombstone_alone_tells_is_not_lost_if_that_is_pruned_after_a_break() {
        let mut world = World::new();
        world.run(&(0..8).map(|e| Step::Write(0, e, 1)).collect::<Vec<_>>());
        world.run(&[Step::Merge(0, 1), Step::Delete(0, 1), Step::Prune(0)]);
        let (at, then) = (world.0[1].version().clone(), world.0[0].version().clone());
        let (here, there) = (world.0[0].live_dots(), world.0[1].live_dots());
        let only_there: DotSet = there.iter().filter(|dot| !here.contains(*dot)).collect();
        world.run(&[Step::Write(0, 0, 2), Step::Delete(0, 7)]);
        let state = |world: &World| world.0[0].state().state().clone();
        let delta = state(&world).reconcile_since(Graph::SCHEMA, &at, &then, &at, &only_there).unwrap();
        let prefix = Delta::concat(delta.slices(0).take(1).collect()).unwrap();
        let broken = prefix.broken().unwrap();
        assert_eq!(broken.kind, BrokenKind::Reconciled);
        assert!(world.0[0].delta_since_beyond(&broken).is_some());
        world.run(&[Step::Prune(0)]);
        assert!(world.0[0].delta_since_beyond(&broken).is_none());
    }

    #[test]
    fn what_does_not_follow_is_not_gone_on_with() {
        type Change<'a> = &'a dyn Fn(&mut [Delta; 3]);
        let mut world = World::new();
        world.run(&(0..8).map(|e| Step::Write(0, e, 1)).collect::<Vec<_>>());
        world.run(&[Step::Delete(0, 3), Step::Prune(0)]);
        // To who has nothing, after there was pruning: reconciled with nothing.
        let slices: Vec<_> = world.0[0].delta_since(&Version::new()).unwrap().slices(0).take(3).collect();
        let prefix = Delta::concat(slices).unwrap();
        let last = prefix.last_entity().unwrap();
        world.run(&[Step::Write(0, 0, 2)]);
        let (changes, rest) = world.0[0].delta_since_beyond(&prefix.broken().unwrap()).unwrap();
        assert!(!changes.parts.is_empty() && rest.parts.len() > 1);
        let with = |change: Change<'_>| {
            let mut all = [prefix.clone(), changes.clone(), rest.clone()];
            change(&mut all);
            let [prefix, changes, rest] = all;
            Delta::resume(prefix, &changes, rest, &Version::whole())
        };
        assert!(with(&|_| {}).is_some());
        assert!(with(&|[prefix, ..]| prefix.kind = DeltaKind::Incremental).is_some(), "before there was pruning");
        let version = || rest.upto.clone();
        let dead: DotSet = rest.dots().take(1).collect();
        let since = |at| DeltaKind::Reconciled { at, dead: DotSet::new() };
        let without = |dead: &DotSet| DeltaKind::Reconciled { at: Version::new(), dead: dead.clone() };
        let changes: [Change<'_>; 11] = [
            &|[_, _, rest]| rest.kind = since(version()),
            &|[_, _, rest]| rest.kind = without(&dead),
            &|[prefix, _, rest]| {
                [&mut prefix.kind, &mut rest.kind].into_iter().for_each(|kind| *kind = since(version()))
            },
            &|[prefix, _, rest]| [&mut prefix.kind, &mut rest.kind].into_iter().for_each(|kind| *kind = without(&dead)),
            &|[prefix, ..]| prefix.kind = DeltaKind::Complete,
            &|[_, _, rest]| rest.kind = DeltaKind::Complete,
            &|[_, _, rest]| rest.parts[0].entity = last,
            &|[_, _, rest]| rest.since = version(),
            &|[_, changes, _]| changes.kind = rest.kind.clone(),
            &|[_, changes, _]| changes.parts[0].entity = rest.parts[0].entity,
            &|[_, changes, _]| changes.schema.push('x'),
        ];
        for (i, change) in changes.into_iter().enumerate() {
            assert_eq!(with(change), None, "{i}");
        }
    }

    /// The break of a session at a random slice: what the sender says then and what came before must be what it would say
    /// to who asks now. And after a second break as well.
    #[test]
    fn what_goes_on_after_a_break_is_the_delta_that_would_be_cut_now() {
        let counts: [Cell<u32>; 6] = Default::default();
        let [begun_again, resumed_ones, changed, pruned_ones, from_nothing, twice] = &counts;
        let count = |cell: &Cell<u32>, yes: bool| cell.set(cell.get() + u32::from(yes));
        let mut runner = TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
        let later = || prop_oneof![1 => steps(0..4), 3 => steps(0..30)];
        let at = || any::<prop::sample::Index>();
        let strategy = (steps(0..60), (later(), later()), (0..150usize, at(), at()), any::<bool>());
        let run = runner.run(&strategy, |(before, (then, later), (len, at, at_again), new)| {
            let mut world = World::new();
            world.run(&before);
            // The peer is another replica, or one that has seen nothing.
            let peer = if new { Replica::with_environment(Still(world.1.clone())) } else { world.fork(1) };
            let Ok(delta) = world.0[0].delta_since(peer.version()) else { return Ok(()) };
            let slices: Vec<_> = delta.slices(len).collect();
            let mut prefix = Delta::concat(slices[..=at.index(slices.len())].to_vec()).unwrap();
            let (mut tombstones, mut breaks): (DotSet, _) = (world.0[0].state().state().tombstones().collect(), 0);
            for (steps, at) in [(then, at_again), (later, at)] {
                let Some(last) = prefix.last_entity() else { return Ok(()) };
                world.run(&steps);
                let sender = &world.0[0];
                let direct = sender.delta_since(&prefix.since);
                let broken = prefix.broken().unwrap();
                let Some((changes, rest)) = sender.delta_since_beyond(&broken) else {
                    // Nothing of that goes back here.
                    prop_assert!(direct.is_err() || !prefix.upto.includes(sender.state().state().pruned()));
                    count(begun_again, true);
                    return Ok(());
                };
                let direct = direct.unwrap();
                prop_assert!(changes.parts.iter().all(|part| part.entity <= last));
                let was = prefix.clone();
                let resumed = Delta::resume(prefix, &changes, rest.clone(), peer.version()).unwrap();
                let (clean, pruned) = without_pruned(&resumed, &direct, &tombstones);
                prop_assert_eq!(&clean, &direct);
                prop_assert_eq!(Delta::from_bytes(&resumed.to_bytes()), Ok(resumed.clone()));

                // To the peer as it was, and to one that has learnt more, both deltas are the same.
                let fork = |r: &Replica<Graph>| r.fork_with(Still(world.1.clone()));
                for to in [&peer, &world.0[1], &world.0[2]].into_iter().filter(|to| direct.need() <= *to.version()) {
                    let (mut one, mut other) = (fork(to), fork(to));
                    one.merge(&direct).unwrap();
                    other.merge(&resumed).unwrap();
                    prop_assert_eq!(one.state(), other.state());
                    prop_assert_eq!(one.version(), other.version());
                    prop_assert_eq!(one.state().state().pruned(), other.state().state().pruned());
                    prop_assert_eq!(one.fingerprint(), other.fingerprint());
                }

                count(resumed_ones, true);
                count(changed, !changes.parts.is_empty());
                count(pruned_ones, pruned > 0);
                count(from_nothing, resumed.kind != DeltaKind::Incremental);
                count(twice, breaks == 1);
                breaks += 1;
                let slices: Vec<_> = rest.slices(len).collect();
                let rest = Delta::concat(slices[..=at.index(slices.len())].to_vec()).unwrap();
                prefix = Delta::resume(was, &changes, rest, peer.version()).unwrap();
                tombstones = tombstones.iter().chain(sender.state().state().tombstones()).collect();
            }
            Ok(())
        });
        run.unwrap();
        let counts: Vec<_> = counts.iter().map(Cell::get).collect();
        println!("begun again, resumed, changed, pruned, from nothing, twice: {counts:?}");
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    }

    /// The same of complete deltas, and of reconciled ones that were cut later than the two had compared. Replicas that merge
    /// the result must hold what the sender holds, and tell others of each removal.
    #[test]
    fn what_goes_on_after_a_break_does_what_a_new_delta_does_whatever_its_kind() {
        let counts: [Cell<u32>; 6] = Default::default();
        let [begun_again, complete, reconciled, changed, dead, twice] = &counts;
        let count = |cell: &Cell<u32>, yes: bool| cell.set(cell.get() + u32::from(yes));
        let mut runner = TestRunner::new(Config { cases: 2000, failure_persistence: None, ..Config::default() });
        let at = || any::<prop::sample::Index>();
        let strategy =
            (steps(0..60), steps(0..6), (steps(0..20), steps(0..20)), (0..150usize, at(), at()), any::<bool>());
        let run = runner.run(&strategy, |(before, late, (then, later), (len, at, at_again), is_complete)| {
            let mut world = World::new();
            world.run(&before);
            let peer = world.fork(1);
            let compared = world.0[0].version().clone();
            let common = compared.meet(peer.version());
            let here = world.0[0].live_dots();
            let only_there: DotSet =
                peer.live_dots().iter().filter(|dot| common.covers(*dot) && !here.contains(*dot)).collect();
            world.run(&late);
            let sender = &world.0[0];
            let delta = match is_complete {
                true => sender.complete(),
                false => {
                    let state = sender.state().state();
                    match state.reconcile_since(Graph::SCHEMA, &common, &compared, peer.version(), &only_there) {
                        Ok(delta) => delta,
                        Err(_) => return Ok(()),
                    }
                }
            };
            let slices: Vec<_> = delta.slices(len).collect();
            let mut prefix = Delta::concat(slices[..=at.index(slices.len())].to_vec()).unwrap();
            for (breaks, (steps, at)) in [(then, at_again), (later, at)].into_iter().enumerate() {
                let Some(broken) = prefix.broken() else { return Ok(()) };
                world.run(&steps);
                let sender = &world.0[0];
                let Some((changes, rest)) = sender.delta_since_beyond(&broken) else {
                    prop_assert!(!is_complete || !prefix.upto.includes(sender.state().state().pruned()));
                    count(begun_again, true);
                    return Ok(());
                };
                let was = prefix.clone();
                let resumed = Delta::resume(prefix, &changes, rest.clone(), peer.version());
                prop_assert!(resumed.is_some());
                let resumed = resumed.unwrap();
                prop_assert_eq!(Delta::from_bytes(&resumed.to_bytes()), Ok(resumed.clone()));
                let fork = |r: &Replica<Graph>| r.fork_with(Still(world.1.clone()));
                for to in [&peer, &world.0[1], &world.0[2]].into_iter().filter(|to| resumed.need() <= *to.version()) {
                    let (mut one, mut other) = (fork(to), fork(to));
                    let direct = match is_complete {
                        true => sender.complete(),
                        false => sender.reconcile(to.version(), &to.live_dots()),
                    };
                    one.merge(&direct).unwrap();
                    other.merge(&resumed).unwrap();
                    prop_assert_eq!(one.state(), other.state());
                    prop_assert_eq!(one.version(), other.version());
                    prop_assert_eq!(one.fingerprint(), other.fingerprint());
                    prop_assert_eq!(other.state().check_invariants(), Ok(()));
                    // Each removal goes on to a third.
                    for third in &world.0 {
                        let (mut of_one, mut of_other) = (fork(third), fork(third));
                        for (from, to) in [(&one, &mut of_one), (&other, &mut of_other)] {
                            let delta = from.delta_since(to.version());
                            let delta = delta.unwrap_or_else(|_| from.reconcile(to.version(), &to.live_dots()));
                            to.merge(&delta).unwrap();
                        }
                        prop_assert_eq!(of_one.state(), of_other.state());
                    }
                }
                count(if is_complete { complete } else { reconciled }, true);
                count(changed, !changes.parts.is_empty());
                count(dead, !only_there.is_empty() && !is_complete);
                count(twice, breaks == 1);
                let slices: Vec<_> = rest.slices(len).collect();
                let rest = Delta::concat(slices[..=at.index(slices.len())].to_vec()).unwrap();
                prefix = Delta::resume(was, &changes, rest, peer.version()).unwrap();
            }
            Ok(())
        });
        run.unwrap();
        let counts: Vec<_> = counts.iter().map(Cell::get).collect();
        println!("begun again, complete, reconciled, changed, with dead dots, twice: {counts:?}");
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    }

    #[test]
    fn what_does_not_fit_together_is_not_resumed() {
        let mut world = World::new();
        world.run(&[Step::Write(0, 1, 1), Step::Merge(0, 1)]);
        let since = world.0[1].version().clone();
        world.run(&(1..6).map(|e| Step::Write(0, e, 2)).collect::<Vec<_>>());
        let delta = world.0[0].delta_since(&since).unwrap();
        let slices: Vec<_> = delta.slices(0).collect();
        let prefix = Delta::concat(slices[..3].to_vec()).unwrap();
        world.run(&[Step::Write(0, 2, 3), Step::Write(2, 0, 3), Step::Merge(2, 0), Step::Write(0, 5, 3)]);
        let (changes, rest) = world.0[0].delta_since_beyond(&prefix.broken().unwrap()).unwrap();
        assert!(changes.parts.len() == 2 && rest.parts.len() == 2);
        let resume = |change: &dyn Fn(&mut Delta, &mut Delta, &mut Delta)| {
            let (mut prefix, mut changes, mut rest) = (prefix.clone(), changes.clone(), rest.clone());
            change(&mut prefix, &mut changes, &mut rest);
            Delta::resume(prefix, &changes, rest, world.0[1].version())
        };
        assert_eq!(resume(&|_, _, _| {}), world.0[0].delta_since(&since).ok());
        let more = |version: &Version| {
            version.heads().iter().map(|head| Dot { counter: head.counter + 1, ..*head }).collect::<Version>()
        };
        type Change<'a> = &'a dyn Fn(&mut Delta, &mut Delta, &mut Delta);
        let cases: [Change<'_>; 11] = [
            &|prefix, _, _| *prefix = slices[0].clone(),
            &|prefix, _, _| *prefix = delta.clone(),
            &|_, _, rest| rest.schema.push('x'),
            &|_, changes, _| changes.kind = DeltaKind::Complete,
            &|prefix, _, _| prefix.kind = DeltaKind::Complete,
            &|prefix, _, _| prefix.since = Version::new(),
            &|_, changes, _| changes.since = since.clone(),
            &|_, changes, _| changes.upto = more(&changes.upto),
            &|_, changes, _| changes.pruned = since.clone(),
            &|_, changes, rest| (changes.pruned, rest.pruned) = (rest.upto.clone(), rest.upto.clone()),
            // A dot of the prefix once more.
            &|prefix, _, rest| rest.writes[0].counter = prefix.writes[2].counter,
        ];
        for (i, case) in cases.into_iter().enumerate() {
            assert_eq!(resume(case), None, "{i}");
        }
    }
}
