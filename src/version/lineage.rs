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
#[derive(Clone, Default)]
pub(crate) struct Lineage {
    writers: OrdMap<WriterId, Written>,
    /// The writers on each line, by the counter of their first dot on it.
    members: OrdMap<(Line, u64), WriterId>,
    lines: Arc<Vec<Stretch>>,
    /// Where the later dots of a writer lie that is on more than one line: those from a counter on.
    forks: OrdMap<(WriterId, u64), (Line, u64)>,
    names: OrdMap<WriterId, Arc<str>>,
}

/// One writer, as far as it is known.
#[derive(Clone, Copy)]
struct Written {
    parent: Option<WriterId>,
    /// Counter of the dot that it continues.
    after: u64,
    /// The line of its first dots; `NONE` while no dot of it is known.
    line: Line,
    /// Its last counter on that line; `OPEN` while it is the line's last writer.
    end: u64,
    is_forked: bool,
}

const NONE: Line = Line::MAX;
const OPEN: u64 = u64::MAX;

#[derive(Clone, Copy)]
struct Stretch {
    attached: Option<(Line, u64)>,
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
        self.lines.get(line as usize)?.attached
    }

    /// How a known writer began.
    pub(crate) fn birth(&self, writer: WriterId) -> Option<Birth> {
        let written = self.writers.get(&writer)?;
        let parent = written.parent.map(|parent| Dot { writer: parent, counter: written.after });
        Some(Birth { writer, parent, name: self.names.get(&writer).cloned() })
    }

    /// The name of the device that a writer writes on: its own, or that of the nearest writer before it that has one.
    /// O(openings since the device was named).
    pub(crate) fn name(&self, writer: WriterId) -> Option<&Arc<str>> {
        let mut writer = Some(writer);
        while let Some(id) = writer {
            if let Some(name) = self.names.get(&id) {
                return Some(name);
            }
            writer = self.writers.get(&id)?.parent;
        }
        None
    }

    /// The line of a known dot. O(log writers).
    pub(crate) fn place(&self, dot: Dot) -> Option<Line> {
        let written = self.writers.get(&dot.writer)?;
        if dot.counter <= written.after || written.line == NONE {
            return None;
        }
        let within = |line: Line, end: u64| {
            let end = if end == OPEN { self.lines[line as usize].tip } else { end };
            (dot.counter <= end).then_some(line)
        };
        if !written.is_forked || dot.counter <= written.end {
            return within(written.line, written.end);
        }
        let stretch = self.forks.range((dot.writer, 0)..=(dot.writer, dot.counter)).next_back();
        stretch.and_then(|(_, (line, end))| within(*line, *end))
    }

    /// The last dot of a writer that a version covers, by its counter for each line. 0 if it covers none.
    /// O(log writers + forks of the writer).
    pub(crate) fn covered(&self, writer: WriterId, counters: &[u64]) -> u64 {
        let Some(written) = self.writers.get(&writer) else { return 0 };
        let of = |line: Line| counters.get(line as usize).copied().unwrap_or(0);
        if written.is_forked {
            let stretches = self.forks.range((writer, 0)..=(writer, u64::MAX));
            let covered = stretches.rev().find(|((_, first), (line, _))| of(*line) >= *first);
            if let Some((_, (line, end))) = covered {
                return of(*line).min(*end);
            }
        }
        match of(written.line).min(written.end) {
            counter if written.line != NONE && counter > written.after => counter,
            _ => 0,
        }
    }

    /// The dot of a line at a counter that the line has. O(log writers).
    pub(crate) fn dot_at(&self, line: Line, counter: u64) -> Option<Dot> {
        let (_, writer) = self.members.range((line, 0)..=(line, counter)).next_back()?;
        Some(Dot { writer: *writer, counter })
    }

    /// The stretches of writers on a line past one counter, up to another: (writer, counter before the first, last).
    /// O(log writers + stretches).
    pub(crate) fn between(&self, line: Line, after: u64, upto: u64) -> Vec<(WriterId, u64, u64)> {
        let mut stretches: Vec<(WriterId, u64, u64)> = Vec::new();
        if after >= upto {
            return stretches;
        }
        stretches.extend(self.dot_at(line, after + 1).map(|dot| (dot.writer, after, upto)));
        for ((_, first), writer) in self.members.range((line, after + 2)..=(line, upto)) {
            if let Some(last) = stretches.last_mut() {
                last.2 = first - 1;
            }
            stretches.push((*writer, first - 1, upto));
        }
        stretches
    }

    /// The dot before a writer's first: the next step down a path.
    pub(crate) fn parent(&self, writer: WriterId) -> Option<Dot> {
        let written = self.writers.get(&writer)?;
        Some(Dot { writer: written.parent?, counter: written.after })
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
            let (parent, after) = (birth.parent.map(|parent| parent.writer), birth.after());
            let written = Written { parent, after, line: NONE, end: OPEN, is_forked: false };
            self.writers.insert(birth.writer, written);
            if let Some(name) = &birth.name {
                self.names.insert(birth.writer, Arc::clone(name));
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
            if dot.counter <= written.after {
                return Err(LineageError::Impossible(dot.writer));
            }
            unknown.push(dot);
            next = written.parent.map(|writer| Dot { writer, counter: written.after });
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
        let last = self.last_known(dot.writer, written);
        let before = match last {
            Some(last) => Some((last, self.place(Dot { counter: last, ..dot }))),
            None => written.parent.map(|writer| (written.after, self.place(Dot { writer, counter: written.after }))),
        };
        let before = before.and_then(|(counter, line)| Some((line?, counter)));
        let lines = Arc::make_mut(&mut self.lines);
        let (line, begins) = match before {
            Some((line, counter)) if lines[line as usize].tip == counter || is(Bug::ForkOnOneLine) => {
                lines[line as usize].tip = dot.counter.max(lines[line as usize].tip);
                (line, last.is_none())
            }
            attached => {
                lines.push(Stretch { attached, tip: dot.counter });
                ((lines.len() - 1) as Line, true)
            }
        };
        if !begins {
            return;
        }
        let first = last.unwrap_or(written.after) + 1;
        // Whoever was last on the line ends where this one begins.
        if let Some((_, writer)) = self.members.range((line, 0)..=(line, u64::MAX)).next_back() {
            self.close(*writer, line, first - 1);
        }
        self.members.insert((line, first), dot.writer);
        if let Some(written) = self.writers.get_mut(&dot.writer) {
            if written.line == NONE {
                written.line = line;
                return;
            }
            written.is_forked = true;
        }
        self.forks.insert((dot.writer, first), (line, OPEN));
    }

    /// Ends a writer's stretch on a line.
    fn close(&mut self, writer: WriterId, line: Line, end: u64) {
        let last = self.forks.range((writer, 0)..=(writer, u64::MAX)).next_back().map(|(key, (line, _))| (*key, *line));
        match last {
            Some((key, forked)) if forked == line => drop(self.forks.insert(key, (line, end))),
            _ => {
                if let Some(written) = self.writers.get_mut(&writer).filter(|written| written.line == line) {
                    written.end = end;
                }
            }
        }
    }

    /// The highest known counter of a writer.
    fn last_known(&self, writer: WriterId, written: Written) -> Option<u64> {
        if written.line == NONE {
            return None;
        }
        let forked = self.forks.range((writer, 0)..=(writer, u64::MAX)).next_back().map(|(_, stretch)| *stretch);
        let (line, end) = forked.unwrap_or((written.line, written.end));
        Some(if end == OPEN { self.lines[line as usize].tip } else { end })
    }
}
