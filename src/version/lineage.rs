//! Which writer continues which: births, and the lines that the paths of dots run along.
//!
//! The **path** of a dot is every dot of its writer before it, then the dot that its writer was born at, and so on to a
//! root. A counter is a depth: the path has one dot for each counter from 1. A **line** is a stretch of path without a
//! fork, as this replica has come to know it. So a version, which with a dot covers its whole path, is one counter for each
//! line, however many writers lie on it.
//!
//! To make a dot known:
//!
//! 1. make its path known first, back to what is known already; if a birth is missing, the dot stays unknown;
//! 2. let `b` be the dot before it on its path. If `b` is the tip of its line, the dot extends that line;
//! 3. otherwise it begins a line, attached at `b`.
//!
//! **Invariant:** the table only grows and no known dot ever changes its line. So versions, indexes and snapshots that were
//! made under an earlier table keep their meaning. Lines are local: peers know them in another order, and no message
//! names one.

use std::sync::Arc;

use im::OrdMap;

use crate::bugs::{Bug, is};
use crate::id::{Dot, WriterId};

/// The number of a line.
pub(crate) type Line = u32;

/// The largest counter that a dot may have: far beyond any number of writes, and no arithmetic on counters overflows.
pub(crate) const MAX_COUNTER: u64 = (1 << 53) - 1;

/// The longest name of a device, in bytes.
pub(crate) const MAX_NAME_LEN: usize = 64;

/// How a writer began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Birth {
    pub(crate) writer: WriterId,
    /// The dot that the writer continues: its author had seen the path of it. The counters of the writer begin after.
    pub(crate) parent: Option<Dot>,
    /// Name of the device that it writes on, if that is not its parent's.
    pub(crate) name: Option<Arc<str>>,
}

impl Birth {
    /// Counter of the dot that the writer continues; 0 for a root.
    pub(crate) fn after(&self) -> u64 {
        self.parent.map_or(0, |parent| parent.counter)
    }
}

/// Why births or a dot cannot be what a valid writer made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LineageError {
    /// A writer was born otherwise, as is known here.
    TwoBirths(WriterId),
    /// The birth of a writer on the path is not known.
    Unknown(WriterId),
    /// A birth at a dot that its parent never wrote, or past the largest counter.
    Impossible(WriterId),
}

/// The table of writers and lines. Persistent: cloning is O(1).
///
/// A writer takes some 60 bytes, so what follows from the rest is not kept: where a writer's stretch of a line ends is where
/// the next one begins, and the parent of a writer of whom a dot is known is the dot before its first.
#[derive(Clone, Default)]
pub(crate) struct Lineage {
    writers: OrdMap<WriterId, Written>,
    lines: Arc<Vec<Stretch>>,
    /// The writers on each line after its first one, in blocks by the counter of the first dot there.
    members: OrdMap<(Line, u64), Arc<Vec<Member>>>,
    aside: Arc<Aside>,
}

/// Facts that few writers have, in one place, because a snapshot should hold as little as possible of its own.
#[derive(Clone, Default)]
struct Aside {
    /// The parents of the writers of whom no dot is known yet.
    unplaced: OrdMap<WriterId, WriterId>,
    /// The lines of the later dots of a writer that is on more than one line: those from a counter on.
    forks: OrdMap<(WriterId, u64), Line>,
    names: OrdMap<WriterId, Arc<str>>,
    /// The writers that have a name of their own, by line and the counter of their first dot there.
    named: OrdMap<(Line, u64), WriterId>,
}

/// The number of writers in a full block.
const BLOCK: usize = 32;

/// A counter in seven bytes, which need no alignment.
#[derive(Clone, Copy)]
struct Counter([u8; 7]);

impl Counter {
    /// Takes counters up to the largest that a dot may have.
    fn new(counter: u64) -> Self {
        let [bytes @ .., _] = counter.to_le_bytes();
        Self(bytes)
    }

    fn get(self) -> u64 {
        let [a, b, c, d, e, f, g] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, 0])
    }
}

/// A writer on a line, and the counter of its first dot there.
#[derive(Clone, Copy)]
struct Member {
    writer: WriterId,
    first: Counter,
}

/// One writer, as far as it is known.
#[derive(Clone, Copy)]
struct Written {
    after: Counter,
    line: [u8; 4],
}

impl Written {
    /// Counter of the dot that it continues.
    fn after(self) -> u64 {
        self.after.get()
    }

    /// The line of its first dots; `None` while no dot of it is known.
    fn line(self) -> Option<Line> {
        Some(Line::from_le_bytes(self.line)).filter(|line| *line != NONE)
    }
}

const NONE: Line = Line::MAX;

#[derive(Clone, Copy)]
struct Stretch {
    /// The line that it is attached to; `NONE` if it begins at a root.
    to: Line,
    /// The writer of its first dot.
    first: WriterId,
    /// Its last writer: nearly every look-up is about that one.
    last: WriterId,
    /// The counter of the last writer's first dot on it.
    last_from: u64,
    /// The counter at which it is attached: that of its first dot less one.
    at: u64,
    /// Its highest known counter.
    tip: u64,
}

impl Lineage {
    /// The number of writers known.
    pub(crate) fn len(&self) -> usize {
        self.writers.len()
    }

    /// The number of lines.
    pub(crate) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// The dot that a line is attached at.
    pub(crate) fn attached(&self, line: Line) -> Option<(Line, u64)> {
        let stretch = self.lines.get(line as usize)?;
        (stretch.to != NONE).then_some((stretch.to, stretch.at))
    }

    /// How a known writer began.
    pub(crate) fn birth(&self, writer: WriterId) -> Option<Birth> {
        self.writers.get(&writer)?;
        Some(Birth { writer, parent: self.parent(writer), name: self.aside.names.get(&writer).cloned() })
    }

    /// Counter of the dot that a known writer continues; 0 for a root and for one that is not known.
    pub(crate) fn after(&self, writer: WriterId) -> u64 {
        self.writers.get(&writer).map_or(0, |written| written.after())
    }

    /// The name of the device that a writer writes on: its own, or that of the nearest writer before it that has one.
    /// O(lines of its path · log writers), however often the device was opened since it was named.
    pub(crate) fn name(&self, writer: WriterId) -> Option<&Arc<str>> {
        if self.aside.names.is_empty() {
            return None;
        }
        // No dot of the writer may be known, nor of its parent.
        let mut writer = writer;
        let mut place = loop {
            if let Some(name) = self.aside.names.get(&writer) {
                return Some(name);
            }
            let written = self.writers.get(&writer)?;
            match written.line() {
                Some(line) => break (line, written.after()),
                None => writer = *self.aside.unplaced.get(&writer)?,
            }
        };
        loop {
            if let Some((_, named)) = self.aside.named.range((place.0, 0)..=place).next_back() {
                return self.aside.names.get(named);
            }
            place = self.attached(place.0)?;
        }
    }

    /// The line of a known dot. O(log writers).
    pub(crate) fn place(&self, dot: Dot) -> Option<Line> {
        let written = *self.writers.get(&dot.writer)?;
        let (line, first) = self.stretches(dot.writer, written, dot.counter).next()?;
        (first <= dot.counter && dot.counter <= self.end(line, first)).then_some(line)
    }

    /// The lines that a writer is on with dots up to a counter, each with the counter of its first one there, the last first.
    fn stretches(&self, writer: WriterId, written: Written, upto: u64) -> impl Iterator<Item = (Line, u64)> + '_ {
        let forks = (!self.aside.forks.is_empty()).then(|| self.aside.forks.range((writer, 0)..=(writer, upto)).rev());
        let later = forks.into_iter().flatten().map(|((_, first), line)| (*line, *first));
        later.chain(written.line().map(|line| (line, written.after() + 1)))
    }

    /// The last counter of the writer whose stretch of a line begins at `first`. O(log writers).
    fn end(&self, line: Line, first: u64) -> u64 {
        let next = self.members(line, first + 1, u64::MAX).next();
        next.map_or_else(|| self.lines[line as usize].tip, |(_, next)| next - 1)
    }

    /// The writers on a line after its first one, whose first dots there have these counters. O(log writers + block).
    fn members(&self, line: Line, from: u64, to: u64) -> impl Iterator<Item = (WriterId, u64)> + '_ {
        let last = self.lines.get(line as usize).map_or(0, |stretch| stretch.last_from);
        let blocks = (from <= to.min(last)).then(|| {
            let block = self.members.range((line, 0)..=(line, from)).next_back();
            self.members.range((line, block.map_or(from, |((_, first), _)| *first))..=(line, to))
        });
        let members = blocks.into_iter().flatten().flat_map(move |(_, block)| {
            let skip = block.partition_point(|member| member.first.get() < from);
            block[skip..].iter().map(|member| (member.writer, member.first.get()))
        });
        members.take_while(move |(_, first)| *first <= to)
    }

    /// The last dot of a writer that a version covers, by its counter for each line. 0 if it covers none.
    /// O(log writers + forks of the writer).
    pub(crate) fn covered(&self, writer: WriterId, counters: &[u64]) -> u64 {
        let Some(written) = self.writers.get(&writer) else { return 0 };
        let of = |line: Line| counters.get(line as usize).copied().unwrap_or(0);
        let covered = self.stretches(writer, *written, u64::MAX).find(|(line, first)| of(*line) >= *first);
        covered.map_or(0, |(line, first)| of(line).min(self.end(line, first)))
    }

    /// The dot of a line at a counter that the line has. O(log writers).
    pub(crate) fn dot_at(&self, line: Line, counter: u64) -> Option<Dot> {
        let stretch = self.lines.get(line as usize).filter(|stretch| counter > stretch.at)?;
        if counter >= stretch.last_from {
            return Some(Dot { writer: stretch.last, counter });
        }
        let block = self.members.range((line, 0)..=(line, counter)).next_back();
        let writer = block.and_then(|(_, block)| {
            let i = block.partition_point(|member| member.first.get() <= counter);
            Some(block.get(i.checked_sub(1)?)?.writer)
        });
        Some(Dot { writer: writer.unwrap_or(stretch.first), counter })
    }

    /// The stretches of writers on a line past one counter, up to another: (writer, counter before the first, last).
    /// O(log writers + stretches).
    pub(crate) fn between(&self, line: Line, after: u64, upto: u64) -> Vec<(WriterId, u64, u64)> {
        let mut stretches: Vec<(WriterId, u64, u64)> = Vec::new();
        if after >= upto {
            return stretches;
        }
        stretches.extend(self.dot_at(line, after + 1).map(|dot| (dot.writer, after, upto)));
        for (writer, first) in self.members(line, after + 2, upto) {
            if let Some(last) = stretches.last_mut() {
                last.2 = first - 1;
            }
            stretches.push((writer, first - 1, upto));
        }
        stretches
    }

    /// The dot before a writer's first: the next step down a path. O(log writers).
    pub(crate) fn parent(&self, writer: WriterId) -> Option<Dot> {
        let written = self.writers.get(&writer)?;
        let counter = written.after();
        let Some(line) = written.line() else {
            return Some(Dot { writer: *self.aside.unplaced.get(&writer)?, counter });
        };
        match self.attached(line) {
            Some((to, at)) if at == counter => self.dot_at(to, counter),
            _ => self.dot_at(line, counter),
        }
    }

    /// Learns how writers began. What is known already must say the same.
    pub(crate) fn learn(&mut self, births: &[Birth]) -> Result<(), LineageError> {
        for birth in births {
            match self.birth(birth.writer) {
                Some(known) if known == *birth => continue,
                Some(_) => return Err(LineageError::TwoBirths(birth.writer)),
                None => {}
            }
            if birth.after() >= MAX_COUNTER || birth.parent.is_some_and(|parent| parent.counter == 0) {
                return Err(LineageError::Impossible(birth.writer));
            }
            let written = Written { after: Counter::new(birth.after()), line: NONE.to_le_bytes() };
            self.writers.insert(birth.writer, written);
            if let Some(parent) = birth.parent {
                Arc::make_mut(&mut self.aside).unplaced.insert(birth.writer, parent.writer);
            }
            if let Some(name) = &birth.name {
                Arc::make_mut(&mut self.aside).names.insert(birth.writer, Arc::clone(name));
            }
        }
        Ok(())
    }

    /// Makes a dot known, and with it its whole path. O(writers that were unknown · log writers).
    pub(crate) fn extend(&mut self, dot: Dot) -> Result<Line, LineageError> {
        if dot.counter > MAX_COUNTER {
            return Err(LineageError::Impossible(dot.writer));
        }
        let (mut unknown, mut next) = (Vec::new(), Some(dot));
        while let Some(dot) = next.filter(|dot| self.place(*dot).is_none()) {
            let written = self.writers.get(&dot.writer).ok_or(LineageError::Unknown(dot.writer))?;
            // A path goes down with every step, or it would never end.
            if dot.counter <= written.after() {
                return Err(LineageError::Impossible(dot.writer));
            }
            unknown.push(dot);
            next = self.parent(dot.writer);
        }
        for dot in unknown.into_iter().rev() {
            self.extend_one(dot);
        }
        self.place(dot).ok_or(LineageError::Unknown(dot.writer))
    }

    /// Makes the next dot of a writer known, if its last one is the tip of its line. Returns the line.
    pub(crate) fn advance(&mut self, last: Dot) -> Option<Line> {
        let line = self.place(last)?;
        let tip = self.lines[line as usize].tip;
        (tip == last.counter).then(|| {
            Arc::make_mut(&mut self.lines)[line as usize].tip += 1;
            line
        })
    }

    /// Makes the next dot of a writer known, if its last one is the tip of this line.
    pub(crate) fn advance_on(&mut self, line: Line, last: Dot) -> Option<Dot> {
        let stretch = self.lines.get(line as usize)?;
        let is_tip = (stretch.last, stretch.tip) == (last.writer, last.counter) && stretch.last_from <= last.counter;
        (is_tip && last.counter < MAX_COUNTER).then(|| {
            let stretch = &mut Arc::make_mut(&mut self.lines)[line as usize];
            stretch.tip += 1;
            Dot { counter: stretch.tip, ..last }
        })
    }

    /// The dot on the path of a known dot at a lower counter. O(lines of the path + log writers).
    pub(crate) fn below(&self, dot: Dot, counter: u64) -> Option<Dot> {
        if counter == 0 || counter >= dot.counter {
            return None;
        }
        let mut line = self.place(dot)?;
        while let Some((to, _)) = self.attached(line).filter(|(_, at)| *at >= counter) {
            line = to;
        }
        self.dot_at(line, counter)
    }

    /// Makes a dot of one writer known whose path below that writer is known.
    fn extend_one(&mut self, dot: Dot) {
        let Some(written) = self.writers.get(&dot.writer).copied() else { return };
        let last = self.stretches(dot.writer, written, u64::MAX).next().map(|(line, first)| self.end(line, first));
        let before = match last {
            Some(counter) => Some(Dot { counter, ..dot }),
            None => self.parent(dot.writer),
        };
        let before = before.and_then(|before| Some((self.place(before)?, before.counter)));
        let first = last.unwrap_or(written.after()) + 1;
        let lines = Arc::make_mut(&mut self.lines);
        let line = match before {
            Some((line, counter)) if lines[line as usize].tip == counter || is(Bug::ForkOnOneLine) => {
                lines[line as usize].tip = dot.counter.max(lines[line as usize].tip);
                if last.is_some() {
                    return;
                }
                (lines[line as usize].last, lines[line as usize].last_from) = (dot.writer, first);
                self.append(line, Member { writer: dot.writer, first: Counter::new(first) });
                line
            }
            attached => {
                let (to, at) = attached.unwrap_or((NONE, 0));
                let (first, last) = (dot.writer, dot.writer);
                lines.push(Stretch { to, first, last, last_from: at + 1, at, tip: dot.counter });
                (lines.len() - 1) as Line
            }
        };
        match self.writers.get_mut(&dot.writer).filter(|written| written.line().is_none()) {
            Some(written) => {
                written.line = line.to_le_bytes();
                Arc::make_mut(&mut self.aside).unplaced.remove(&dot.writer);
                if self.aside.names.contains_key(&dot.writer) {
                    Arc::make_mut(&mut self.aside).named.insert((line, first), dot.writer);
                }
            }
            None => drop(Arc::make_mut(&mut self.aside).forks.insert((dot.writer, first), line)),
        }
    }

    /// Adds a writer at the end of a line.
    fn append(&mut self, line: Line, member: Member) {
        let last = self.members.range((line, 0)..=(line, u64::MAX)).next_back();
        let open = last.filter(|(_, block)| block.len() < BLOCK).map(|(key, _)| *key);
        match open.and_then(|key| self.members.get_mut(&key)) {
            Some(block) => Arc::make_mut(block).push(member),
            None => drop(self.members.insert((line, member.first.get()), Arc::new(vec![member]))),
        }
    }
}
