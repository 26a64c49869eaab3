//! A delta in slices: stretches of its entities, in order, that travel one by one.
//!
//! A slice is a delta in form alone. It bears the versions of the whole and holds a part of it, so to merge one would be to
//! take what the others hold for dead. Slices are put together first.

use std::vec;

use crate::bugs::{Bug, is};
use crate::id::ReplicaId;
use crate::kernel::delta::{Delta, DeltaBuilder, DeltaKind, DeltaWrite, FieldTable, Known, Part};
use crate::kernel::dots::DotSet;
use crate::kernel::key::Entity;

/// About how many bytes things take once they are encoded, names and payloads aside.
mod about {
    pub(super) const PART: usize = 24;
    pub(super) const WRITE: usize = 12;
    pub(super) const KNOWN: usize = 8;
    pub(super) const FIELD: usize = 2;
    pub(super) const DEAD_WORD: usize = 12;
}

impl Delta {
    /// The delta in slices, each of about `target_len` bytes once it is encoded (versions aside) and of one entity at
    /// least. A delta without entities is one slice. The dead dots of a reconciled one are all in the first.
    ///
    /// O(slice + writers) for each, made as they are asked for.
    pub(crate) fn slices(&self, target_len: usize) -> impl Iterator<Item = Self> + '_ {
        let fields = self.fields.len();
        Slices { delta: self, target_len, start: 0, number: 0, met: vec![0; fields], places: vec![0; fields] }
    }

    /// What [`slices`](Self::slices) took apart, of any length, put together again. O(all).
    ///
    /// `None` if these are no slices of one delta: if their type, kind or versions differ, if any but the first has dead
    /// dots, if entities do not ascend or a dot comes twice.
    pub(crate) fn concat(mut slices: Vec<Self>) -> Option<Self> {
        if is(Bug::SliceLost) && slices.len() > 1 {
            slices.pop();
        }
        let first = slices.first()?;
        let (whole, later_kind) = (first.head(first.kind.clone()), first.kind.without_dead());
        let mut last = None;
        for (i, slice) in slices.iter().enumerate() {
            let fits = (i == 0 || slice.kind == later_kind)
                && slice.schema == whole.schema
                && slice.since == whole.since
                && slice.upto == whole.upto
                && slice.pruned == whole.pruned
                && slice.replicas == whole.replicas;
            let ascends = slice.parts.first().is_none_or(|first| last.is_none_or(|last| last < first.entity));
            if !fits || !ascends {
                return None;
            }
            last = slice.last_entity().or(last);
        }
        let order: Vec<usize> = slices.iter().map(|slice| slice.parts.len()).collect();
        let order = order.into_iter().enumerate().flat_map(|(i, parts)| std::iter::repeat_n((i, true), parts));
        let whole = whole.gather(slices, order);
        whole.has_distinct_dots().then_some(whole)
    }

    /// What the sender of a delta that was broken off would send now in its place, from what came of it and two more.
    ///
    /// `prefix` is all of the delta up to its last entity; the others are what
    /// [`delta_since_beyond`](crate::State::delta_since_beyond) makes for it. Of tombstones that the sender has pruned
    /// since, the prefix still holds its own, which changes nothing of what is alive; in all else the result is what the
    /// sender would have cut now. `None` if the three do not fit together. O(all).
    pub(crate) fn resume(mut prefix: Self, changes: &Self, rest: Self) -> Option<Self> {
        if !prefix.goes_on_with(changes, &rest) {
            return None;
        }
        let (since, upto, pruned) = (rest.since.clone(), rest.upto.clone(), rest.pruned.clone());
        let mut joined = DeltaBuilder::new(&rest.schema, rest.kind.clone(), since, upto, pruned);
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

        prefix.take_writers(&rest.replicas)?;
        let head = rest.head(rest.kind.clone());
        let resumed = head.gather(vec![prefix, joined.finish(), rest], order.into_iter()).with_used_fields();
        resumed.has_distinct_dots().then_some(resumed)
    }

    fn goes_on_with(&self, changes: &Self, rest: &Self) -> bool {
        let kinds = changes.kind == DeltaKind::Incremental
            && match &rest.kind {
                DeltaKind::Incremental => self.kind == DeltaKind::Incremental,
                // What a peer gets that holds nothing, once there was pruning.
                DeltaKind::Reconciled { at, dead } => {
                    at.is_empty() && dead.is_empty() && (self.kind == DeltaKind::Incremental || self.kind == rest.kind)
                }
                DeltaKind::Complete => false,
            };
        let versions = self.since == rest.since
            && self.upto == changes.since
            && changes.upto == rest.upto
            && changes.pruned == rest.pruned
            && rest.pruned.includes(&self.pruned)
            // Else a removal could be missing.
            && self.upto.includes(&rest.pruned);
        let (last, first) = (self.last_entity(), rest.parts.first().map(|part| part.entity));
        let schemas = self.schema == changes.schema && self.schema == rest.schema;
        schemas && kinds && versions && changes.last_entity() <= last && first.is_none_or(|first| last < Some(first))
    }

    /// Takes another table of writers, if all of its own are there.
    fn take_writers(&mut self, replicas: &[ReplicaId]) -> Option<()> {
        let place = |replica: &ReplicaId| Some(replicas.binary_search(replica).ok()? as u32);
        let places: Vec<u32> = self.replicas.iter().map(place).collect::<Option<_>>()?;
        self.known.iter_mut().for_each(|known| known.replica = places[known.replica as usize]);
        self.writes.iter_mut().for_each(|write| write.replica = places[write.replica as usize]);
        self.replicas = replicas.to_vec();
        Some(())
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

    /// The last entity that it holds anything of.
    pub(crate) fn last_entity(&self) -> Option<Entity> {
        self.parts.last().map(|part| part.entity)
    }

    /// A delta of another kind, else like this one, without what it holds.
    fn head(&self, kind: DeltaKind) -> Self {
        Self {
            schema: self.schema.clone(),
            kind,
            since: self.since.clone(),
            upto: self.upto.clone(),
            pruned: self.pruned.clone(),
            replicas: self.replicas.clone(),
            fields: FieldTable::default(),
            parts: Vec::new(),
            known: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// Fills an empty delta from others with the same writers: `order` says from which the next part comes, and whether
    /// it is kept. O(all).
    fn gather(mut self, sources: Vec<Self>, order: impl Iterator<Item = (usize, bool)>) -> Self {
        let (fields, places) = merge_tables(&sources);
        self.fields = fields;
        self.parts.reserve_exact(sources.iter().map(|source| source.parts.len()).sum());
        self.known.reserve_exact(sources.iter().map(|source| source.known.len()).sum());
        self.writes.reserve_exact(sources.iter().map(|source| source.writes.len()).sum());
        let mut sources: Vec<_> = sources.into_iter().zip(places).map(|(delta, p)| Source::new(delta, p)).collect();
        for (source, kept) in order {
            let source = &mut sources[source];
            let Some(part) = source.parts.next() else { continue };
            let known = source.known.by_ref().take(part.known_end - source.known_end);
            let writes = source.writes.by_ref().take(part.writes_end - source.writes_end);
            (source.known_end, source.writes_end) = (part.known_end, part.writes_end);
            let place = |field: u32| source.places[field as usize];
            if !kept {
                known.for_each(drop);
                writes.for_each(drop);
                continue;
            }
            self.known.extend(known.map(|known| Known { field: place(known.field), ..known }));
            self.writes.extend(writes.map(|write| DeltaWrite { field: place(write.field), ..write }));
            self.parts.push(Part { known_end: self.known.len(), writes_end: self.writes.len(), ..part });
        }
        self
    }
}

impl DeltaKind {
    fn without_dead(&self) -> Self {
        match self {
            Self::Reconciled { at, .. } => Self::Reconciled { at: at.clone(), dead: DotSet::new() },
            other => other.clone(),
        }
    }
}

/// The slices that are still to come.
struct Slices<'a> {
    delta: &'a Delta,
    target_len: usize,
    /// The first part of the next slice.
    start: usize,
    /// How many there were.
    number: usize,
    /// For each field the last slice that used it, counted from 1, and its place there.
    met: Vec<usize>,
    places: Vec<u32>,
}

impl Iterator for Slices<'_> {
    type Item = Delta;

    fn next(&mut self) -> Option<Delta> {
        let (delta, start, is_first) = (self.delta, self.start, self.number == 0);
        if start == delta.parts.len() && !is_first {
            return None;
        }
        self.number += 1;
        let mut slice = delta.head(if is_first { delta.kind.clone() } else { delta.kind.without_dead() });
        let (end, fields) = self.measure(&slice.kind);
        for (place, field) in fields.into_iter().enumerate() {
            slice.fields.push(delta.fields.get(field));
            self.places[field as usize] = place as u32;
        }
        let ends =
            |i: usize| i.checked_sub(1).map_or((0, 0), |i| (delta.parts[i].known_end, delta.parts[i].writes_end));
        let ((known, writes), (known_end, writes_end)) = (ends(start), ends(end));
        let place = |field: u32| self.places[field as usize];
        slice.parts.extend(delta.parts[start..end].iter().map(|part| Part {
            known_end: part.known_end - known,
            writes_end: part.writes_end - writes,
            ..*part
        }));
        slice.known.extend(delta.known[known..known_end].iter().map(|k| Known { field: place(k.field), ..*k }));
        let writes = delta.writes[writes..writes_end].iter();
        slice.writes.extend(writes.map(|w| DeltaWrite { field: place(w.field), ..w.clone() }));
        self.start = end;
        Some(slice)
    }
}

impl Slices<'_> {
    /// Where the next slice ends, and the fields that it uses, sorted.
    fn measure(&mut self, kind: &DeltaKind) -> (usize, Vec<u32>) {
        let (delta, mut end, mut fields) = (self.delta, self.start, Vec::new());
        let mut len = match kind {
            DeltaKind::Reconciled { dead, .. } => dead.writers().map(|(_, words)| words.len() * about::DEAD_WORD).sum(),
            _ => 0,
        };
        while end < delta.parts.len() {
            let (part, before) = (delta.part(end), fields.len());
            let payloads = part.writes.iter().filter_map(|write| Some(write.payload.as_ref()?.bytes().len()));
            len += about::PART + part.known.len() * about::KNOWN + part.writes.len() * about::WRITE;
            len += payloads.sum::<usize>();
            for field in part.known.iter().map(|k| k.field).chain(part.writes.iter().map(|w| w.field)) {
                if std::mem::replace(&mut self.met[field as usize], self.number) != self.number {
                    fields.push(field);
                    len += about::FIELD + delta.fields.get(field).len();
                }
            }
            if len > self.target_len && end > self.start {
                fields.truncate(before);
                break;
            }
            end += 1;
        }
        fields.sort_unstable();
        (end, fields)
    }
}

/// A delta whose parts are moved into another.
struct Source {
    parts: vec::IntoIter<Part>,
    known: vec::IntoIter<Known>,
    writes: vec::IntoIter<DeltaWrite>,
    /// Where the last part ended.
    known_end: usize,
    writes_end: usize,
    /// Where its fields stand in the table of the other.
    places: Vec<u32>,
}

impl Source {
    fn new(delta: Delta, places: Vec<u32>) -> Self {
        let (parts, known, writes) = (delta.parts.into_iter(), delta.known.into_iter(), delta.writes.into_iter());
        Self { parts, known, writes, known_end: 0, writes_end: 0, places }
    }
}

/// One table of the fields of all, and where those of each stand in it.
fn merge_tables(deltas: &[Delta]) -> (FieldTable, Vec<Vec<u32>>) {
    let mut places: Vec<Vec<u32>> = deltas.iter().map(|delta| vec![0; delta.fields.len()]).collect();
    let tables = deltas.iter().enumerate();
    let mut all: Vec<(&[u8], usize, usize)> =
        tables.flat_map(|(t, delta)| delta.fields.iter().enumerate().map(move |(i, field)| (field, t, i))).collect();
    // A stable sort merges what is sorted already.
    all.sort();
    let mut merged = FieldTable::default();
    for same in all.chunk_by(|a, b| a.0 == b.0) {
        same.iter().for_each(|(_, t, i)| places[*t][*i] = merged.len() as u32);
        merged.push(same[0].0);
    }
    (merged, places)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::kernel::{Crdt, Environment, Payload};
    use crate::version::VersionVector;
    use crate::{Graph, Prune, Replica};

    /// Time that stands still, and ids that differ.
    struct Still(Arc<AtomicU64>);

    impl Environment for Still {
        fn now_ms(&mut self) -> u64 {
            1_000
        }

        fn random(&mut self) -> [u8; 16] {
            // In no order: writers are sorted by what comes of it.
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            (u128::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize, u8, u8),
        Erase(usize, u8, u8),
        Delete(usize, u8),
        Merge(usize, usize),
        Prune(usize),
        PruneSeen(usize),
    }

    const REPLICAS: usize = 3;

    fn steps(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
        let (who, entity, field) = (|| 0..REPLICAS, || 0..9u8, || 0..4u8);
        let step = prop_oneof![
            12 => (who(), entity(), field()).prop_map(|(by, e, f)| Step::Write(by, e, f)),
            3 => (who(), entity(), 1..4u8).prop_map(|(by, e, f)| Step::Erase(by, e, f)),
            2 => (who(), entity()).prop_map(|(by, e)| Step::Delete(by, e)),
            5 => (who(), who()).prop_map(|(from, to)| Step::Merge(from, to)),
            1 => who().prop_map(Step::Prune),
            1 => who().prop_map(Step::PruneSeen),
        ];
        prop::collection::vec(step, len)
    }

    fn entity(n: u8) -> Entity {
        Entity::new(200, [n; 16])
    }

    struct World(Vec<Replica<Graph>>, Arc<AtomicU64>);

    impl World {
        fn new() -> Self {
            let ids = Arc::new(AtomicU64::new(0));
            Self((0..REPLICAS).map(|_| Replica::with_environment(Still(ids.clone()))).collect(), ids)
        }

        fn run(&mut self, steps: &[Step]) {
            let field = |f: u8| [b'f', f][..if f == 0 { 0 } else { 2 }].to_vec();
            for (n, step) in steps.iter().enumerate() {
                match *step {
                    Step::Write(by, e, f) => {
                        let payload = Payload::new(200, &vec![n as u8; usize::from(e) * 5]);
                        self.0[by].edit(|g| g.write(entity(e), &field(f), payload)).map(drop).unwrap();
                    }
                    Step::Erase(by, e, f) => drop(self.0[by].edit(|g| g.erase(entity(e), &field(f))).unwrap()),
                    Step::Delete(by, e) => drop(self.0[by].edit(|g| g.delete(entity(e))).unwrap()),
                    Step::Merge(from, to) => self.merge(from, to),
                    Step::Prune(by) => drop(self.0[by].prune(Prune::All)),
                    Step::PruneSeen(by) => {
                        let seen = self.0[0].version().meet(self.0[1].version()).meet(self.0[2].version());
                        self.0[by].prune(Prune::Upto(&seen));
                    }
                }
            }
        }

        fn merge(&mut self, from: usize, to: usize) {
            let delta = self.cut(from, to);
            self.0[to].merge(&delta).unwrap();
        }

        fn fork(&self, replica: usize) -> Replica<Graph> {
            self.0[replica].fork_with(Still(self.1.clone()))
        }

        fn cut(&self, from: usize, to: usize) -> Delta {
            let (from, to) = (&self.0[from], &self.0[to]);
            from.delta_since(to.version()).unwrap_or_else(|_| from.reconcile(to.version(), &to.live_dots()))
        }
    }

    #[test]
    fn slices_put_together_are_the_delta_whatever_their_length() {
        let (reconciled, several) = (Cell::new(0), Cell::new(0));
        let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
        let run = runner.run(&(steps(0..80), 0..200usize), |(steps, len)| {
            let mut world = World::new();
            world.run(&steps);
            let whole = world.0[0].complete();
            for delta in [world.cut(0, 1), world.cut(1, 2), whole] {
                let slices: Vec<_> = delta.slices(len).collect();
                reconciled.set(reconciled.get() + usize::from(!delta.kind.is_without_dead()));
                several.set(several.get() + usize::from(slices.len() > 1));
                for slice in &slices {
                    prop_assert!(slice.parts.len() == 1 || slice.to_bytes().len() < len + 500);
                    prop_assert!(slices.len() == 1 || !slice.parts.is_empty());
                    // What the format says of tables holds for each.
                    prop_assert_eq!(Delta::from_bytes(&slice.to_bytes()), Ok(slice.clone()));
                }
                prop_assert_eq!(slices.last().and_then(Delta::last_entity), delta.last_entity());
                for few in [1, 2, 3] {
                    let few: Option<Vec<_>> = slices.chunks(few).map(|few| Delta::concat(few.to_vec())).collect();
                    prop_assert_eq!(few.and_then(Delta::concat), Some(delta.clone()));
                }
                prop_assert_eq!(Delta::concat(delta.slices(usize::MAX).collect()), Some(delta.clone()));
                prop_assert_eq!(delta.slices(usize::MAX).count(), 1);
            }
            Ok(())
        });
        run.unwrap();
        assert!(reconciled.get() > 20 && several.get() > 300, "{reconciled:?} {several:?}");
    }

    /// Five nodes, one of them written twice by two who did not see each other; and a dead one.
    fn reconciled() -> Delta {
        let mut world = World::new();
        world.run(&[Step::Write(0, 8, 1), Step::Merge(0, 1), Step::Delete(0, 8), Step::Prune(0)]);
        world.run(&[Step::Write(2, 3, 2), Step::Merge(2, 0)]);
        world.run(&(1..5).map(|e| Step::Write(0, e, 1)).collect::<Vec<_>>());
        world.cut(0, 1)
    }

    #[test]
    fn what_is_no_series_of_slices_is_not_put_together() {
        let delta = reconciled();
        let slices: Vec<_> = delta.slices(0).collect();
        assert!(slices.len() == 4 && !delta.kind.is_without_dead());
        let with = |i: usize, change: &dyn Fn(&mut Delta)| {
            let mut slices = slices.clone();
            change(&mut slices[i]);
            Delta::concat(slices)
        };
        assert_eq!(with(1, &|_| {}), Some(delta.clone()));
        let later = delta.upto.iter().map(|(replica, counter)| (replica, counter + 1)).collect::<VersionVector>();
        let changes: [&dyn Fn(&mut Delta); 6] = [
            &|slice| slice.schema.push('x'),
            &|slice| slice.kind = DeltaKind::Incremental,
            &|slice| slice.kind = delta.kind.clone(),
            &|slice| slice.upto = later.clone(),
            &|slice| slice.pruned = later.clone(),
            &|slice| slice.since = delta.upto.clone(),
        ];
        for (i, change) in changes.into_iter().enumerate() {
            assert_eq!(with(1, change), None, "{i}");
        }
        assert_eq!(Delta::concat(vec![]), None);
        assert_eq!(Delta::concat(slices.iter().rev().cloned().collect()), None, "another order");
        assert_eq!(Delta::concat(slices.iter().flat_map(|s| [s.clone(), s.clone()]).collect()), None, "one twice");
        // One dot in two entities that are in order.
        let dot = slices[0].writes[0].clone();
        let twice = with(1, &|slice| {
            slice.writes[0].counter = dot.counter;
            slice.writes[0].replica = dot.replica;
        });
        assert_eq!(twice, None, "a dot in two slices");
    }

    #[test]
    fn a_dot_that_comes_twice_is_found_however_great_its_counter() {
        for counter in [3, 1 << 47, 1 << 48, u64::MAX] {
            let mut delta = reconciled();
            assert!(delta.writes.len() > 2);
            for (write, counter) in delta.writes.iter_mut().zip([counter, counter - 1, counter]) {
                (write.replica, write.counter) = (0, counter);
            }
            assert!(!delta.has_distinct_dots(), "{counter}");
            delta.writes[0].replica = 1;
            assert_eq!(delta.writes.iter().filter(|w| (w.replica, w.counter) == (1, counter)).count(), 1);
            assert!(delta.has_distinct_dots(), "{counter}");
        }
    }

    /// Takes out of a resumed delta the dots that were tombstones when the prefix was cut and that the sender has pruned
    /// since; whatever else the direct one lacks stays. Returns how many these were.
    fn without_pruned(resumed: &Delta, direct: &Delta, tombstones: &DotSet) -> (Delta, usize) {
        let held: DotSet = direct.dots().collect();
        let gone = |dot| !held.contains(dot) && tombstones.contains(dot) && direct.pruned.covers(dot);
        let (mut clean, mut count) = (resumed.head(resumed.kind.clone()), 0);
        clean.fields = resumed.fields.clone();
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
        (clean.with_used_fields(), count)
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
                let resumed = Delta::resume(prefix, &changes, rest.clone()).unwrap();
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
                prefix = Delta::resume(was, &changes, rest).unwrap();
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
            Delta::resume(prefix, &changes, rest)
        };
        assert_eq!(resume(&|_, _, _| {}), world.0[0].delta_since(&since).ok());
        let more = |version: &VersionVector| version.iter().map(|(r, c)| (r, c + 1)).collect::<VersionVector>();
        type Change<'a> = &'a dyn Fn(&mut Delta, &mut Delta, &mut Delta);
        let cases: [Change<'_>; 11] = [
            &|prefix, _, _| *prefix = slices[0].clone(),
            &|prefix, _, _| *prefix = delta.clone(),
            &|_, _, rest| rest.schema.push('x'),
            &|_, changes, _| changes.kind = DeltaKind::Complete,
            &|prefix, _, _| prefix.kind = DeltaKind::Complete,
            &|prefix, _, _| prefix.since = VersionVector::new(),
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

    impl DeltaKind {
        fn is_without_dead(&self) -> bool {
            *self == self.without_dead()
        }
    }
}
