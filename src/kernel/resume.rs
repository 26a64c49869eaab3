//! Going on with a delta that was broken off: the part that has come, what has changed in it since, and the rest.

use std::sync::Arc;

use crate::bugs::{Bug, is};
use crate::kernel::delta::{Delta, DeltaBuilder, DeltaKind, FieldTable};
use crate::version::Version;

impl Delta {
    /// What the sender of a delta that was broken off would send now in its place, from what came of it and two more.
    ///
    /// `prefix` is all of the delta up to its last entity; the others are what
    /// [`delta_since_beyond`](crate::State::delta_since_beyond) makes for it. Of tombstones that the sender has pruned
    /// since, the prefix still holds its own, which changes nothing of what is alive; in all else the result is what the
    /// sender would have cut now. `None` if the three do not fit together, by what the receiver knows of writers. O(all).
    pub(crate) fn resume(prefix: Self, changes: &Self, rest: Self, receiver: &Version) -> Option<Self> {
        if !prefix.goes_on_with(changes, &rest, receiver) {
            return None;
        }
        let (since, upto, pruned) = (rest.since.clone(), rest.upto.clone(), rest.pruned.clone());
        let births = Arc::clone(&rest.births);
        let mut joined =
            DeltaBuilder::with_births(&rest.schema, rest.kind.clone(), [since, upto, pruned], births, rest.news);
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
            if prefix.join_parts(changes, earlier, Some(part), &mut joined) {
                order.push((from_joined, true));
            }
        }
        order.extend(std::iter::repeat_n((from_prefix, true), prefix.parts.len() - next));
        order.extend(std::iter::repeat_n((from_rest, true), rest.parts.len()));

        let head = rest.head(rest.kind.clone());
        let gathered = head.gather(vec![prefix, joined.finish(), rest], order.into_iter());
        let resumed = gathered.with_used_fields().with_used_writers();
        resumed.has_distinct_dots().then_some(resumed)
    }

    fn goes_on_with(&self, changes: &Self, rest: &Self, receiver: &Version) -> bool {
        let kinds = changes.kind == DeltaKind::Incremental
            && match &rest.kind {
                DeltaKind::Incremental => self.kind == DeltaKind::Incremental,
                // What a peer gets that is not known to hold anything, once there was pruning.
                DeltaKind::Reconciled { at, dead } => {
                    at.is_empty() && rest.since.is_empty() && dead.is_empty() && (self.kind == DeltaKind::Incremental || self.kind == rest.kind)
                }
                DeltaKind::Complete => false,
            };
        let versions = self.since == rest.since
            && self.upto == changes.since
            && changes.upto == rest.upto
            && changes.pruned == rest.pruned;
        let pruned = || {
            let table = receiver.learn(&rest.births, rest.upto.heads()).ok()?;
            let [before, then, pruned] = [table.resolve(&self.pruned)?, table.resolve(&self.upto)?, table.resolve(&rest.pruned)?];
            // Else a removal could be missing.
            Some(pruned.includes(&before) && then.includes(&pruned))
        };
        let versions = versions && pruned() == Some(true);
        let (last, first) = (self.last_entity(), rest.parts.first().map(|part| part.entity));
        let schemas = self.schema == changes.schema && self.schema == rest.schema;
        schemas && kinds && versions && changes.last_entity() <= last && first.is_none_or(|first| last < Some(first))
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
    use crate::kernel::{Crdt, DotSet};
    use crate::{Dot, Graph, Replica};

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
        assert!(sender.delta_since_beyond(&nothing, &then, last).is_some());
        assert!(sender.delta_since_beyond(&then, &nothing, last).is_none(), "it began after it ended");
        let further: Version = then.heads().iter().map(|head| Dot { counter: head.counter + 1, ..*head }).collect();
        assert!(sender.delta_since_beyond(&nothing, &further, last).is_none(), "what is not here yet was sent");
        world.run(&[Step::Delete(0, 3), Step::Prune(0)]);
        assert!(world.0[0].delta_since_beyond(&nothing, &then, last).is_none(), "a removal would be missing");
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
        let (changes, rest) = world.0[0].delta_since_beyond(&prefix.since, &prefix.upto, last).unwrap();
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
                let Some((changes, rest)) = sender.delta_since_beyond(&prefix.since, &prefix.upto, last) else {
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
        let (changes, rest) =
            world.0[0].delta_since_beyond(&since, &prefix.upto, prefix.last_entity().unwrap()).unwrap();
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
