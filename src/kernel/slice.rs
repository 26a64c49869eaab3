//! A delta in slices: stretches of its entities, in order, that travel one by one.
//!
//! A slice is a delta in form alone. It bears the versions of the whole and holds a part of it, so to merge one would be to
//! take what the others hold for dead. Slices are put together first.

use std::mem::take;
use std::sync::Arc;
use std::vec;

use crate::bugs::{Bug, is};
use crate::id::WriterId;
use crate::kernel::delta::{Delta, DeltaKind, DeltaWrite, FieldTable, Known, Part};
use crate::kernel::dots::DotSet;
use crate::kernel::key::Entity;
use crate::kernel::names::Names;

/// About how many bytes things take once they are encoded, names and payloads aside: as long as they are not much alike. What is alike takes
/// fewer.
mod about {
    /// The id, the number of the shape, and the dot that begins its run.
    pub(super) const PART: usize = 20;
    /// A dot of its own, or a stretch of a shape.
    pub(super) const WRITE: usize = 6;
    pub(super) const KNOWN: usize = 6;
    pub(super) const FIELD: usize = 2;
    pub(super) const DEAD_WORD: usize = 12;
}

impl Delta {
    /// The delta in slices, each of about `target_len` bytes once it is encoded (versions aside) and of one entity at
    /// least. A delta without entities is one slice. Births, and the dead dots of a reconciled one, are all in the first.
    ///
    /// O(slice · log slice) for each, made as they are asked for.
    pub(crate) fn slices(&self, target_len: usize) -> impl Iterator<Item = Self> + '_ {
        let fields = self.fields.len();
        Slices { delta: self, target_len, start: 0, number: 0, met: vec![0; fields], places: vec![0; fields] }
    }

    /// What [`slices`](Self::slices) took apart, of any length, put together again. O(all).
    ///
    /// `None` if these are no slices of one delta: if their type, kind or versions differ, if any but the first has births
    /// or dead dots, if entities do not ascend or a dot comes twice.
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
                && (slice.fingerprint, slice.news) == (whole.fingerprint, whole.news)
                && (i == 0 || slice.births.is_empty());
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

    /// The last entity that it holds anything of.
    pub(crate) fn last_entity(&self) -> Option<Entity> {
        self.parts.last().map(|part| part.entity)
    }

    /// A delta of another kind, else like this one, without what it holds.
    pub(super) fn head(&self, kind: DeltaKind) -> Self {
        Self {
            schema: self.schema.clone(),
            kind,
            since: self.since.clone(),
            upto: self.upto.clone(),
            pruned: self.pruned.clone(),
            news: self.news,
            fingerprint: self.fingerprint,
            births: Arc::clone(&self.births),
            writers: Vec::new(),
            fields: FieldTable::default(),
            parts: Vec::new(),
            names: Names::default(),
            known: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// Fills an empty delta from others: `order` says from which the next part comes, and whether
    /// it is kept. O(all).
    pub(super) fn gather(mut self, mut sources: Vec<Self>, order: impl Iterator<Item = (usize, bool)>) -> Self {
        let tables: Vec<Vec<&[u8]>> = sources.iter().map(|delta| delta.fields.iter().collect()).collect();
        let (fields, places) = merge_tables(&tables);
        fields.into_iter().for_each(|field| self.fields.push(field));
        let tables: Vec<Vec<WriterId>> = sources.iter().map(|delta| delta.writers.clone()).collect();
        let (writers, of_writers) = merge_tables(&tables);
        self.writers = writers;
        self.parts.reserve_exact(sources.iter().map(|source| source.parts.len()).sum());
        self.known.reserve_exact(sources.iter().map(|source| source.known.len()).sum());
        self.writes.reserve_exact(sources.iter().map(|source| source.writes.len()).sum());
        let names: Vec<Names> = sources.iter_mut().map(|source| take(&mut source.names)).collect();
        let places = places.into_iter().zip(of_writers);
        let mut sources: Vec<_> = sources.into_iter().zip(places).map(|(delta, p)| Source::new(delta, p)).collect();
        for (source, kept) in order {
            let source = &mut sources[source];
            let Some(part) = source.parts.next() else { continue };
            let known = source.known.by_ref().take(part.known_end - source.known_end);
            let writes = source.writes.by_ref().take(part.writes_end - source.writes_end);
            (source.known_end, source.writes_end) = (part.known_end, part.writes_end);
            let (place, of) = (|field: u32| source.places[field as usize], |w: u32| source.writers[w as usize]);
            if !kept {
                known.for_each(drop);
                writes.for_each(drop);
                continue;
            }
            self.known.extend(known.map(|k| Known { field: place(k.field), writer: of(k.writer), ..k }));
            self.writes.extend(writes.map(|w| DeltaWrite { field: place(w.field), writer: of(w.writer), ..w }));
            self.parts.push(Part { known_end: self.known.len(), writes_end: self.writes.len(), ..part });
        }
        self.names = Names::of_parts(&names, &self.parts);
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
        if !is_first {
            slice.births = Arc::default();
        }
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
        slice.names = Names::of_parts([&delta.names], &slice.parts);
        let (known, writes) = (&delta.known[known..known_end], &delta.writes[writes..writes_end]);
        let mut used: Vec<u32> = known.iter().map(|k| k.writer).chain(writes.iter().map(|w| w.writer)).collect();
        used.sort_unstable();
        used.dedup();
        slice.writers = used.iter().map(|writer| delta.writers[*writer as usize]).collect();
        let of = |writer: u32| used.partition_point(|used| *used < writer) as u32;
        slice.known.extend(known.iter().map(|k| Known { field: place(k.field), writer: of(k.writer), ..*k }));
        let writes = writes.iter().cloned();
        slice.writes.extend(writes.map(|w| DeltaWrite { field: place(w.field), writer: of(w.writer), ..w }));
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
    /// Where its fields and its writers stand in the tables of the other.
    places: Vec<u32>,
    writers: Vec<u32>,
}

impl Source {
    fn new(delta: Delta, (places, of_writers): (Vec<u32>, Vec<u32>)) -> Self {
        let (parts, known, writes) = (delta.parts.into_iter(), delta.known.into_iter(), delta.writes.into_iter());
        Self { parts, known, writes, known_end: 0, writes_end: 0, places, writers: of_writers }
    }
}

/// One sorted table of what is in several, and where the items of each stand in it.
fn merge_tables<T: Ord + Copy>(tables: &[Vec<T>]) -> (Vec<T>, Vec<Vec<u32>>) {
    let mut places: Vec<Vec<u32>> = tables.iter().map(|table| vec![0; table.len()]).collect();
    let items = |(t, table): (usize, &Vec<T>)| {
        table.iter().copied().enumerate().map(move |(i, item)| (item, t, i)).collect::<Vec<_>>()
    };
    let mut all: Vec<(T, usize, usize)> = tables.iter().enumerate().flat_map(items).collect();
    // A stable sort merges what is sorted already.
    all.sort();
    let mut merged = Vec::new();
    for same in all.chunk_by(|a, b| a.0 == b.0) {
        same.iter().for_each(|(_, t, i)| places[*t][*i] = merged.len() as u32);
        merged.push(same[0].0);
    }
    (merged, places)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::clock::Stamp;
    use crate::id::{Dot, WriterId};
    use crate::kernel::delta::DeltaBuilder;
    use crate::kernel::histories::{Step, World, steps};
    use crate::kernel::key::{Field, Payload, Sibling};
    use crate::version::Version;

    #[test]
    fn slices_put_together_are_the_delta_whatever_their_length() {
        let (reconciled, several) = (Cell::new(0), Cell::new(0));
        let mut runner = TestRunner::new(Config { cases: 900, failure_persistence: None, ..Config::default() });
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
        let later = delta.upto.heads().iter().map(|head| (head.writer, head.counter + 1)).collect::<Version>();
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
        let entity = slices[0].parts[0].entity;
        assert_eq!(with(1, &|slice| slice.parts[0].entity = entity), None, "an entity in two slices");
        // One dot in two entities that are in order.
        let dot = slices[0].writes[0].clone();
        let twice = with(1, &|slice| {
            slice.writes[0].counter = dot.counter;
            slice.writes[0].writer = dot.writer;
            slice.writers = slices[0].writers.clone();
        });
        assert_eq!(twice, None, "a dot in two slices");
    }

    #[test]
    fn a_slice_is_about_as_long_as_was_asked_for() {
        const LEN: usize = 5_000;
        let writer = WriterId::from([1; 10]);
        let version = |upto| -> Version { [(writer, upto)].into_iter().collect() };
        let dot = |counter| Dot { writer, counter };
        let dead: DotSet = (0..400).flat_map(|n| [n * 64 + 1, n * 64 + n % 60 + 2]).map(dot).collect();
        let none = DotSet::new();
        // Known siblings, writes, letters of each name, bytes of each payload, and what is dead.
        let sorts = [
            (30, 0, 4, 0, &none),
            (0, 30, 4, 0, &none),
            (0, 1, 100, 0, &none),
            (0, 2, 4, 100, &none),
            (0, 3, 4, 9, &dead),
        ];
        for (known, writes, letters, bytes, dead) in sorts {
            let kind = DeltaKind::Reconciled { at: version(50_000), dead: dead.clone() };
            let mut delta = DeltaBuilder::new("", kind, version(20_000), version(50_000), Version::new());
            for n in 0..300 {
                // Short names are the same for all, long ones each another's.
                let name =
                    |i: u64| Field::new(format!("{:0letters$}", if letters > 4 { n * 100 + i } else { i }).as_bytes());
                (0..known).for_each(|i| delta.push_known(&name(i), dot(n * known + i + 1)));
                for i in 0..writes {
                    // Each unlike the others.
                    let content: Vec<u8> =
                        (0..bytes as u64).map(|at| ((n * 31 + i * 17 + at) * (at + n + 3)) as u8).collect();
                    let payload = Some(Payload::new(1, &content));
                    let sibling = Sibling { dot: dot(20_001 + n * writes + i), stamp: Stamp::default(), payload };
                    delta.push(&name(known + i), sibling.as_ref());
                }
                delta.part(Entity::new(1, (u128::from(n) << 100).to_be_bytes()), false);
            }
            let delta = delta.finish();
            let lens: Vec<_> = delta.slices(LEN).map(|slice| slice.to_bytes().len()).collect();
            let (_, but_last) = lens.split_last().unwrap();
            // Dots that follow each other are told in fewer bytes than others are.
            let shortest = match (letters, bytes) {
                (100, _) | (_, 100) => LEN * 3 / 4,
                _ => LEN / 10,
            };
            assert!(but_last.len() > 2 && but_last.iter().all(|len| (shortest..LEN + 200).contains(len)), "{lens:?}");
            assert_eq!(Delta::concat(delta.slices(LEN).collect()), Some(delta));
        }
    }

    #[test]
    fn a_dot_that_comes_twice_is_found_however_great_its_counter() {
        for counter in [3, 1 << 47, 1 << 48, u64::MAX] {
            let mut delta = reconciled();
            assert!(delta.writes.len() > 2);
            for (write, counter) in delta.writes.iter_mut().zip([counter, counter - 1, counter]) {
                (write.writer, write.counter) = (0, counter);
            }
            assert!(!delta.has_distinct_dots(), "{counter}");
            delta.writes[0].writer = 1;
            assert_eq!(delta.writes.iter().filter(|w| (w.writer, w.counter) == (1, counter)).count(), 1);
            assert!(delta.has_distinct_dots(), "{counter}");
        }
    }

    impl DeltaKind {
        fn is_without_dead(&self) -> bool {
            *self == self.without_dead()
        }
    }
}
