//! The version of a state, which knows the paths of all its dots: one counter for each line of its table.

use std::collections::HashSet;
use std::sync::Arc;

use crate::id::{Dot, WriterId};
use crate::version::{Birth, Ground, Line, Lineage, LineageError, MAX_COUNTER, Version};

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
    pub(super) fn common(&self, other: &Self) -> Self {
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

    /// The next dot of a writer whose birth is known. `None` if its counters are used up. O(log heads) if `line` is the line of
    /// the writer's last dot, which it is from then on; else O(log writers + log heads).
    pub(crate) fn mint(&mut self, writer: WriterId, line: &mut Line) -> Option<Dot> {
        if let Some(dot) = self.mint_on(*line, writer) {
            return Some(dot);
        }
        let dot = self.mint_anywhere(writer)?;
        if let Ground::Whole { lineage, .. } = &self.ground {
            *line = lineage.place(dot)?;
        }
        Some(dot)
    }

    /// Does it if the writer's last dot is a head and the tip of this line.
    fn mint_on(&mut self, line: Line, writer: WriterId) -> Option<Dot> {
        let Ground::Whole { lineage, counters } = &mut self.ground else { return None };
        let before = Dot { writer, counter: *counters.get(line as usize)? };
        let head = self.heads.binary_search(&before).ok()?;
        let dot = lineage.advance_on(line, before)?;
        Arc::make_mut(counters)[line as usize] = dot.counter;
        Arc::make_mut(&mut self.heads)[head] = dot;
        Some(dot)
    }

    fn mint_anywhere(&mut self, writer: WriterId) -> Option<Dot> {
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
                // The lines of a writer depend on the order in which births were learnt, so join its stretches.
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
    /// A dot that cannot be is left out.
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
