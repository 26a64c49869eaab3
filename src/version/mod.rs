//! Versions: everything that a replica has seen.

mod change;
mod lineage;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{Dot, WriterId};

pub(crate) use change::HeadsChange;
pub(crate) use lineage::{Birth, Line, Lineage, LineageError, MAX_COUNTER, MAX_NAME_LEN};

/// Everything that a replica has seen: a version vector (Parker et al.: *Detection of Mutual Inconsistency in
/// Distributed Systems*, 1983), told by its **heads**.
///
/// A version is causally closed: with a dot it covers the whole path of the dot, which is all earlier dots of its writer,
/// and all that the writer continues. So its heads say all of it: the dots that no other dot of it descends from. There
/// is one for each branch, as a rule one for each device, however often each was opened. Equal heads mean equal
/// versions, and equal versions mean equal live state.
///
/// The version of a [`Replica`](crate::Replica) knows the paths of all its dots. One that came as bytes, or in a delta,
/// knows its heads and some dots below them; what it says of other dots is "not covered", and a delta that is cut for
/// it may hold more than its replica lacks, never less.
///
/// Cloning is O(1). Comparing and joining are O(lines · log writers); a line is a stretch of history without a fork.
///
/// ```
/// use driftless::{Dot, Version, WriterId};
/// let a = WriterId::from([1; 10]);
/// let seen: Version = [(a, 7)].into_iter().collect();
/// assert!(seen.covers(Dot { writer: a, counter: 7 }));
/// assert!(Version::new() <= seen);
/// ```
#[derive(Clone)]
pub struct Version {
    /// Sorted.
    heads: Arc<Vec<Dot>>,
    ground: Ground,
}

/// How many writers before each head a trail names one by one.
const NEAREST: u32 = 4;

/// What a version knows below its heads.
#[derive(Clone)]
enum Ground {
    /// The paths of all dots: the highest counter of each line.
    Whole { lineage: Lineage, counters: Arc<Vec<u64>> },
    /// Some more dots that it covers.
    Told(Arc<Vec<Dot>>),
}

impl Version {
    /// The version of a replica that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The dots that no other dot of the version descends from, sorted. O(1).
    pub fn heads(&self) -> &[Dot] {
        &self.heads
    }

    /// The number of heads. O(1).
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// True if nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The last counter of a writer that is known to be covered; 0 if none is. O(log writers).
    pub fn get(&self, writer: WriterId) -> u64 {
        match &self.ground {
            Ground::Whole { lineage, counters } => lineage.covered(writer, counters),
            Ground::Told(more) => {
                let of = |dots: &[Dot]| {
                    let end = dots.partition_point(|dot| dot.writer <= writer);
                    end.checked_sub(1).map(|i| dots[i]).filter(|dot| dot.writer == writer).map_or(0, |dot| dot.counter)
                };
                of(&self.heads).max(of(more))
            }
        }
    }

    /// The counter after which those of a writer begin, as far as its birth is known.
    pub(crate) fn begins_after(&self, writer: WriterId) -> u64 {
        match &self.ground {
            Ground::Whole { lineage, .. } => lineage.after(writer),
            Ground::Told(_) => 0,
        }
    }

    /// True if that write is known to be covered. O(log writers).
    ///
    /// A dot that its writer cannot have written (counters begin after the dot that a writer continues) is not.
    pub fn covers(&self, dot: Dot) -> bool {
        match &self.ground {
            Ground::Whole { lineage, counters } => {
                let counter = |line: Line| counters.get(line as usize).copied().unwrap_or(0);
                lineage.place(dot).is_some_and(|line| counter(line) >= dot.counter)
            }
            Ground::Told(_) => dot.counter > 0 && dot.counter <= self.get(dot.writer),
        }
    }

    /// True if everything in `other` is known to be covered. The same as `other <= self`. O(heads of `other` · log writers).
    pub fn includes(&self, other: &Self) -> bool {
        let covers = |head: &Dot| self.is_head(head) || self.covers(*head);
        if Arc::ptr_eq(&self.heads, &other.heads) || other.heads.iter().all(covers) {
            return true;
        }
        // The table of the other may know our paths.
        let known = match &self.ground {
            Ground::Whole { .. } => None,
            Ground::Told(_) => other.resolve(self),
        };
        known.is_some_and(|known| other.heads.iter().all(|head| known.covers(*head)))
    }

    /// Everything that both are known to cover. O(heads · log writers).
    ///
    /// The meet of the versions of all peers is what everybody has seen: what [`Prune::Upto`](crate::Prune::Upto) takes.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        match (&self.ground, &other.ground) {
            (Ground::Whole { .. }, _) => self.common(other),
            (_, Ground::Whole { .. }) => other.common(self),
            (Ground::Told(_), Ground::Told(_)) => {
                let least = |dot: &Dot| Dot { counter: dot.counter.min(other.get(dot.writer)), ..*dot };
                self.dots().map(|dot| least(&dot)).collect()
            }
        }
    }

    /// True if the dot is one of the heads: quicker than to ask the table. O(log heads).
    fn is_head(&self, dot: &Dot) -> bool {
        self.heads.binary_search(dot).is_ok()
    }

    /// The heads, and what else is known to be covered, as dots.
    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        let more = match &self.ground {
            Ground::Whole { .. } => &[][..],
            Ground::Told(more) => more,
        };
        self.heads.iter().chain(more).copied()
    }

    /// The number of writers heard of.
    pub fn writers(&self) -> usize {
        match &self.ground {
            Ground::Whole { lineage, .. } => lineage.len(),
            Ground::Told(_) => self.heads.len(),
        }
    }

    /// The name of the device that a writer wrote on, if it was given one and the version knows of it.
    pub fn device(&self, writer: WriterId) -> Option<&str> {
        match &self.ground {
            Ground::Whole { lineage, .. } => lineage.name(writer).map(|name| &**name),
            Ground::Told(_) => None,
        }
    }

    /// The same, to keep.
    pub(crate) fn shared_device(&self, writer: WriterId) -> Option<Arc<str>> {
        match &self.ground {
            Ground::Whole { lineage, .. } => lineage.name(writer).cloned(),
            Ground::Told(_) => None,
        }
    }

    /// Names the version: 64 bits of XXH3 over its heads. Finds equality; does not prove it.
    pub(crate) fn digest(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.head_bytes())
    }

    /// The same with 128 bits.
    pub(crate) fn long_digest(&self) -> u128 {
        xxhash_rust::xxh3::xxh3_128(&self.head_bytes())
    }

    fn head_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(18 * self.heads.len());
        for head in self.heads.iter() {
            bytes.extend_from_slice(head.writer.as_bytes());
            bytes.extend_from_slice(&head.counter.to_be_bytes());
        }
        bytes
    }
}

/// The version of a state: it knows all paths.
impl Version {
    /// The version of a state that is empty.
    pub(crate) fn whole() -> Self {
        let ground = Ground::Whole { lineage: Lineage::default(), counters: Arc::default() };
        Self { heads: Arc::default(), ground }
    }

    fn whole_ground(&self) -> (Lineage, Arc<Vec<u64>>) {
        match &self.ground {
            Ground::Whole { lineage, counters } => (lineage.clone(), Arc::clone(counters)),
            Ground::Told(_) => (Lineage::default(), Arc::default()),
        }
    }

    /// The version of nothing under the table of this one.
    pub(crate) fn nothing(&self) -> Self {
        let (lineage, _) = self.whole_ground();
        Self { heads: Arc::default(), ground: Ground::Whole { lineage, counters: Arc::default() } }
    }

    /// A version that was told, as far as this one covers it: for each dot of it the deepest that both cover. Exact if
    /// the table knows the heads of `other`; else no more than the meet.
    fn common(&self, other: &Self) -> Self {
        if Arc::ptr_eq(&self.heads, &other.heads) {
            return self.clone();
        }
        let mut meet = self.nothing();
        let Ground::Whole { lineage, counters } = &self.ground else { return meet };
        let mut walked = HashSet::new();
        let mut add = |dot: Dot| {
            let counter = match self.is_head(&dot) {
                true => dot.counter,
                false => dot.counter.min(lineage.covered(dot.writer, counters)),
            };
            if counter > 0 {
                meet.cover(Dot { counter, ..dot });
            }
            counter > 0
        };
        for dot in other.dots() {
            if add(dot) {
                continue;
            }
            // Down its path, as far as either knows it, to where we join it, or to where another head's path went before.
            let theirs = match &other.ground {
                Ground::Whole { lineage, .. } => lineage,
                Ground::Told(_) => lineage,
            };
            let mut next = theirs.parent(dot.writer);
            while let Some(dot) = next.filter(|dot| !add(*dot) && walked.insert(dot.writer)) {
                next = theirs.parent(dot.writer);
            }
        }
        meet.find_heads();
        meet
    }

    /// The same version by our own table, if it knows all its heads.
    pub(crate) fn resolve(&self, other: &Self) -> Option<Self> {
        let Ground::Whole { lineage, .. } = &self.ground else { return None };
        if self.heads == other.heads {
            return Some(self.clone());
        }
        let new: Vec<Dot> = other.heads.iter().filter(|head| !self.is_head(head)).copied().collect();
        if new.iter().any(|head| lineage.place(*head).is_none()) {
            return None;
        }
        // Most often it is a little ahead of this one: then it is this one with the heads that are new.
        if 4 * new.len() <= self.heads.len() {
            let mut version = self.clone();
            new.iter().for_each(|head| version.cover(*head));
            version.find_heads();
            if version.heads == other.heads {
                return Some(version);
            }
        }
        let mut version = self.nothing();
        other.heads.iter().for_each(|head| version.cover(*head));
        version.find_heads();
        Some(version)
    }

    /// Learns births, and makes these heads known: the table of a delta's receiver, before anything else changes.
    pub(crate) fn learn(&self, births: &[Birth], heads: &[Dot]) -> Result<Self, LineageError> {
        let mut learnt = self.clone();
        let Ground::Whole { lineage, .. } = &mut learnt.ground else { return Ok(learnt) };
        lineage.learn(births)?;
        // Our own heads are known.
        let new = heads.iter().filter(|head| !self.is_head(head));
        new.into_iter().try_for_each(|head| lineage.extend(*head).map(drop))?;
        Ok(learnt)
    }

    /// Takes a later table, which knows at least as much.
    pub(crate) fn adopt(&mut self, later: &Self) {
        let (table, _) = later.whole_ground();
        if let Ground::Whole { lineage, .. } = &mut self.ground {
            *lineage = table;
        }
    }

    /// Raises the lines of a dot and of its path. [`find_heads`](Self::find_heads) must follow.
    fn cover(&mut self, dot: Dot) {
        let Ground::Whole { lineage, counters } = &mut self.ground else { return };
        let mut next = lineage.place(dot).map(|line| (line, dot.counter));
        while let Some((line, counter)) = next {
            let i = line as usize;
            if counters.get(i).is_some_and(|have| *have >= counter) {
                return;
            }
            let counters = Arc::make_mut(counters);
            if counters.len() <= i {
                counters.resize(i + 1, 0);
            }
            counters[i] = counter;
            next = lineage.attached(line);
        }
    }

    /// Finds the heads anew: the ends of lines at which no other line of the version is attached.
    fn find_heads(&mut self) {
        let Ground::Whole { lineage, counters } = &self.ground else { return };
        let mut inner = vec![false; counters.len()];
        for (line, _) in counters.iter().enumerate().filter(|(_, counter)| **counter > 0) {
            if let Some((to, at)) = lineage.attached(line as Line)
                && counters[to as usize] == at
            {
                inner[to as usize] = true;
            }
        }
        let ends = counters.iter().zip(inner).enumerate().filter(|(_, (counter, inner))| **counter > 0 && !inner);
        let mut heads: Vec<Dot> =
            ends.filter_map(|(line, (counter, _))| lineage.dot_at(line as Line, *counter)).collect();
        heads.sort_unstable();
        self.heads = Arc::new(heads);
    }

    /// Covers many dots.
    pub(crate) fn observe_all(&mut self, dots: impl IntoIterator<Item = Dot>) {
        let had = self.counters();
        dots.into_iter().for_each(|dot| self.cover(dot));
        if !Arc::ptr_eq(&had, &self.counters()) {
            self.find_heads();
        }
    }

    fn counters(&self) -> Arc<Vec<u64>> {
        self.whole_ground().1
    }

    /// Joins a version of the same table or an earlier one. O(lines).
    pub(crate) fn join(&mut self, other: &Self) {
        let Ground::Whole { counters: theirs, .. } = &other.ground else {
            return self.observe_all(other.heads.to_vec());
        };
        let Ground::Whole { counters, .. } = &mut self.ground else { return };
        let at_most =
            |a: &[u64], b: &[u64]| a.iter().enumerate().all(|(i, counter)| *counter <= b.get(i).copied().unwrap_or(0));
        if at_most(theirs, counters) {
            return;
        }
        if at_most(counters, theirs) {
            (*counters, self.heads) = (Arc::clone(theirs), Arc::clone(&other.heads));
            return;
        }
        let ours = Arc::make_mut(counters);
        ours.resize(ours.len().max(theirs.len()), 0);
        ours.iter_mut().zip(theirs.iter()).for_each(|(ours, theirs)| *ours = (*ours).max(*theirs));
        self.find_heads();
    }

    /// The writers of whom this version covers more than `since`, of the same table: (writer, covered by `since`, covered
    /// here). A writer on several lines comes several times. O(lines + writers with news, each · log writers).
    pub(crate) fn news(&self, since: &Self) -> Vec<(WriterId, u64, u64)> {
        let Ground::Whole { lineage, counters } = &self.ground else { return Vec::new() };
        let seen = since.counters();
        let mut news = Vec::new();
        for (line, upto) in counters.iter().enumerate() {
            let seen = seen.get(line).copied().unwrap_or(0);
            // A line has no dots up to where it is attached.
            let begin = lineage.attached(line as Line).map_or(0, |(_, at)| at);
            news.extend(lineage.between(line as Line, seen.max(begin), *upto));
        }
        news
    }

    /// The number of writes that this version covers beyond `since`, of the same table. Births and counters are what peers
    /// claim, so the sum stops at the largest number there is.
    pub(crate) fn writes_since(&self, since: &Self) -> u64 {
        self.news(since).into_iter().fold(0, |sum: u64, (_, seen, upto)| sum.saturating_add(upto - seen))
    }

    /// The stretches of writers that are covered (writer, counter before the first, last), if they are fewer than `limit`.
    pub(crate) fn few_writers(&self, limit: usize) -> Option<Vec<(WriterId, u64, u64)>> {
        let Ground::Whole { lineage, counters } = &self.ground else { return None };
        let mut writers = Vec::new();
        for (line, upto) in counters.iter().enumerate().filter(|(_, upto)| **upto > 0) {
            let begin = lineage.attached(line as Line).map_or(0, |(_, at)| at);
            writers.extend(lineage.between(line as Line, begin, *upto));
            if writers.len() >= limit {
                return None;
            }
        }
        Some(writers)
    }

    /// The most writes of one writer that a version, with births that are yet to be learnt, has beyond this one. `None` if
    /// its heads cannot be placed.
    pub(crate) fn jump_to(&self, births: &[Birth], upto: &Self) -> Option<u64> {
        let table = self.learn(births, upto.heads()).ok()?;
        let news = table.resolve(upto)?.news(&table);
        Some(news.into_iter().map(|(_, seen, upto)| upto - seen).max().unwrap_or(0))
    }

    /// The births of the writers that `since`, of the same table, does not cover at all, by writer.
    pub(crate) fn births_since(&self, since: &Self) -> Vec<Birth> {
        let (lineage, _) = self.whole_ground();
        let news = self.news(since).into_iter();
        let new = news.filter(|(writer, seen, _)| {
            // Its first stretch, from the beginning.
            lineage.after(*writer) == *seen
        });
        let mut births: Vec<Birth> = new.filter_map(|(writer, ..)| lineage.birth(writer)).collect();
        births.sort_unstable_by_key(|birth| birth.writer);
        births
    }

    /// The head that a new opening continues: that of the line of its owner's last covered dot.
    pub(crate) fn goes_on_from(&self, owner: WriterId) -> Option<Dot> {
        let Ground::Whole { lineage, counters } = &self.ground else { return None };
        let last = lineage.covered(owner, counters);
        let line = lineage.place(Dot { writer: owner, counter: last })?;
        let counter = counters.get(line as usize).copied().filter(|counter| *counter < MAX_COUNTER)?;
        lineage.dot_at(line, counter)
    }

    /// The last dot of a writer that is covered, or the one that it continues.
    pub(crate) fn last_of(&self, writer: WriterId) -> Option<Dot> {
        match (&self.ground, self.get(writer)) {
            (Ground::Whole { lineage, .. }, 0) => lineage.parent(writer),
            (_, 0) => None,
            (_, counter) => Some(Dot { writer, counter }),
        }
    }

    /// True if a dot lies on the path of another, or is it. O(lines + log writers).
    pub(crate) fn is_on_path(&self, dot: Dot, of: Dot) -> bool {
        match &self.ground {
            Ground::Whole { lineage, .. } => dot == of || lineage.below(of, dot.counter) == Some(dot),
            Ground::Told(_) => dot.writer == of.writer && dot.counter <= of.counter,
        }
    }

    /// Makes the birth of a new writer known.
    pub(crate) fn bear(&mut self, birth: &Birth) -> Result<(), LineageError> {
        match &mut self.ground {
            Ground::Whole { lineage, .. } => lineage.learn(std::slice::from_ref(birth)),
            Ground::Told(_) => Ok(()),
        }
    }

    /// The next dot of a writer whose birth is known. `None` if its counters are used up. O(log writers + log heads).
    pub(crate) fn mint(&mut self, writer: WriterId) -> Option<Dot> {
        let Ground::Whole { lineage, counters } = &mut self.ground else { return None };
        let last = lineage.covered(writer, counters);
        let counter = match last {
            0 => lineage.after(writer),
            last => last,
        };
        let before = Dot { writer, counter: last };
        let dot = Dot { writer, counter: counter + 1 };
        if dot.counter > MAX_COUNTER {
            return None;
        }
        if let Some(line) = lineage.advance(before) {
            Arc::make_mut(counters)[line as usize] = dot.counter;
            let heads = Arc::make_mut(&mut self.heads);
            if let Ok(i) = heads.binary_search(&before) {
                heads[i] = dot;
                return Some(dot);
            }
        } else {
            lineage.extend(dot).ok()?;
            self.cover(dot);
        }
        self.find_heads();
        Some(dot)
    }

    /// Dots on the paths of the heads, for a peer that does not know these: with them it finds what both have seen.
    ///
    /// `base` is what the peer is known to have seen. For each head of a writer that it does not name, the last dots of the
    /// writers before: the nearest few, then at distances that double, down to a writer that it names. Round by round for
    /// all heads, up to `limit` dots. O(limit · log writers).
    pub(crate) fn trail(&self, base: &Self, limit: usize) -> Vec<Dot> {
        let Ground::Whole { lineage, .. } = &self.ground else {
            return self.dots().skip(self.heads.len()).take(limit).collect();
        };
        // Each head, and where we stand below it.
        let is_known = |dot: &Dot| base.get(dot.writer) > 0;
        let heads = self.heads.iter().filter(|head| !is_known(head));
        let mut steps: Vec<(Dot, Dot)> = heads.map(|head| (*head, *head)).collect();
        let (mut trail, mut round) = (Vec::new(), 0);
        while !steps.is_empty() && trail.len() < limit {
            steps.retain_mut(|(head, dot)| {
                let depth = head.counter.saturating_sub(2 * (head.counter - dot.counter).max(1));
                let next = match round < NEAREST {
                    true => lineage.parent(dot.writer),
                    false => lineage.below(*dot, depth),
                };
                next.map(|next| *dot = next).is_some()
            });
            let room = limit - trail.len();
            trail.extend(steps.iter().map(|(_, dot)| *dot).take(room));
            steps.retain(|(_, dot)| !is_known(dot));
            round += 1;
        }
        trail.sort_unstable();
        trail.dedup();
        trail
    }

    /// The same heads, told with some dots below them.
    pub(crate) fn told(heads: Vec<Dot>, mut more: Vec<Dot>) -> Self {
        more.sort_unstable();
        Self { heads: Arc::new(heads), ground: Ground::Told(Arc::new(more)) }
    }

    /// The dots below its heads that a version was told with, without the heads.
    pub(crate) fn below(&self) -> Self {
        match &self.ground {
            Ground::Whole { .. } => Self::new(),
            Ground::Told(more) => Self { heads: Arc::default(), ground: Ground::Told(Arc::clone(more)) },
        }
    }

    /// The heads alone: what messages hold. O(1).
    pub(crate) fn bare(&self) -> Self {
        static NOTHING: LazyLock<Arc<Vec<Dot>>> = LazyLock::new(Arc::default);
        Self { heads: Arc::clone(&self.heads), ground: Ground::Told(Arc::clone(&NOTHING)) }
    }

    /// The stretches of writers that the paths of the heads run over, head by head in the order of their ids, each without
    /// what heads before it contributed: the same for everybody who knows these heads. Within one contribution the
    /// counters are without gaps. (writer, counter before the first, last), deepest first.
    pub(crate) fn contributions(&self) -> Vec<Vec<(WriterId, u64, u64)>> {
        let Ground::Whole { lineage, .. } = &self.ground else { return Vec::new() };
        let mut done: Vec<u64> = vec![0; lineage.lines()];
        let mut contributions = Vec::with_capacity(self.heads.len());
        for head in self.heads.iter() {
            let (mut stretches, mut next) = (Vec::new(), lineage.place(*head).map(|line| (line, head.counter)));
            while let Some((line, upto)) = next.filter(|(line, upto)| done[*line as usize] < *upto) {
                let attached = lineage.attached(line);
                let begin = attached.map_or(0, |(_, at)| at).max(done[line as usize]);
                let fresh = done[line as usize] == 0;
                done[line as usize] = upto;
                stretches.push(lineage.between(line, begin, upto));
                next = attached.filter(|_| fresh);
            }
            let mut contribution: Vec<(WriterId, u64, u64)> = Vec::new();
            for (writer, after, last) in stretches.into_iter().rev().flatten() {
                // Where a writer lies on several lines depends on what was learnt first.
                match contribution.last_mut().filter(|before| before.0 == writer && before.2 == after) {
                    Some(before) => before.2 = last,
                    None => contribution.push((writer, after, last)),
                }
            }
            contributions.push(contribution);
        }
        contributions
    }
}

#[cfg(any(test, feature = "testing"))]
impl Version {
    /// The version of a replica that has seen so many writes of each of these writers, none of which goes on from another.
    /// What cannot be is left out.
    pub(crate) fn rooted(heads: impl IntoIterator<Item = (WriterId, u64)>) -> Self {
        let mut version = Self::whole();
        for (writer, counter) in heads {
            let learnt = version.learn(&[Birth { writer, parent: None, name: None }], &[Dot { writer, counter }]);
            version.adopt(&learnt.unwrap_or_else(|_| version.clone()));
            version.cover(Dot { writer, counter });
        }
        version.find_heads();
        version
    }
}

/// Nothing seen.
impl Default for Version {
    fn default() -> Self {
        static NOTHING: LazyLock<Version> = LazyLock::new(|| Version::told(Vec::new(), Vec::new()));
        NOTHING.clone()
    }
}

/// Equal heads: everything seen there was seen here, and nothing else.
impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.heads, &other.heads) || self.heads == other.heads
    }
}

impl Eq for Version {}

impl std::hash::Hash for Version {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.heads.hash(state);
    }
}

/// By inclusion; two versions that each saw something the other did not are not comparable.
impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self == other, self.includes(other), other.includes(self)) {
            (true, ..) | (_, true, true) => Some(Ordering::Equal),
            (_, true, false) => Some(Ordering::Greater),
            (_, false, true) => Some(Ordering::Less),
            (_, false, false) => None,
        }
    }
}

/// The version with these heads. Of several counters for one writer the highest counts; 0 is none.
impl FromIterator<(WriterId, u64)> for Version {
    fn from_iter<I: IntoIterator<Item = (WriterId, u64)>>(heads: I) -> Self {
        heads.into_iter().map(|(writer, counter)| Dot { writer, counter }).collect()
    }
}

/// The version with these heads. Of several dots of one writer the last counts.
impl FromIterator<Dot> for Version {
    fn from_iter<I: IntoIterator<Item = Dot>>(heads: I) -> Self {
        let mut heads: Vec<Dot> = heads.into_iter().filter(|dot| dot.counter > 0).collect();
        // The highest counter first within a writer, so that `dedup` keeps it.
        heads.sort_unstable_by(|a, b| a.writer.cmp(&b.writer).then(b.counter.cmp(&a.counter)));
        heads.dedup_by_key(|dot| dot.writer);
        Self::told(heads, Vec::new())
    }
}

/// As a list of its heads.
impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.heads.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Dot>::deserialize(deserializer).map(Self::from_iter)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.heads.iter().map(|head| head.to_string())).finish()
    }
}
