//! The positions that what is put between two neighbours gets: Fugue's rule (Weidner and Kleppmann 2023), by bunches.
//!
//! A writer that places otherwise agrees with all others all the same: these rules are about what people mean, and none is a rule of
//! merging or reading. Two things bind: a place lies between its neighbours, and none is used twice. The second follows from
//! offsets, which are distances of dots, since only its maker lengthens a bunch.

use crate::bugs::{Bug, is};
use crate::id::Dot;
use crate::position::{AFTER, BEFORE, IMPORTED, Position, Step, tag, tag_of};

/// From so many steps on, a new bunch is put as high as order allows.
pub(crate) const EASY_STEPS: usize = 12;

/// A writer keeps to what it put with so many of its last dots.
const RECENT: u64 = 64;

/// Something beside the place that is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) position: Position,
    /// The write that put it there.
    pub(crate) dot: Dot,
}

/// Positions for `len` elements between two neighbours, of which there may be none. The first is written with the dot `next`, the others
/// with the dots after it.
///
/// `held` is the next thing after `a` that is still there, dead or alive: a hint, by which what replaces a deleted word shows before
/// what another had put after that.
pub(crate) fn between(
    a: Option<&Neighbour>,
    b: Option<&Neighbour>,
    held: Option<&Neighbour>,
    next: Dot,
    len: usize,
) -> Vec<Position> {
    let held = held.filter(|_| !is(Bug::HeldIgnored));
    let is_deep = |x: Option<&Neighbour>| x.is_some_and(|x| x.position.depth() >= EASY_STEPS);
    let put_lately = |dot: Dot| dot.writer == next.writer && dot.counter.saturating_add(RECENT) >= next.counter;
    let is_recent = |x: Option<&Neighbour>| x.is_some_and(|x| put_lately(x.dot));
    let is_high = (is_deep(a) || is_deep(b)) && !is_recent(a) && !is_recent(b);
    let live = [a, b].map(|beside| beside.map(|beside| &beside.position));
    let bunch = Bunch { next: Some(next), tag: tag(next), between: is_high.then_some(live) };
    let hangs_from_b = |a: &Neighbour| b.is_some_and(|b| b.position.has_on_line(&a.position));
    let mut keeps_to_b = is_recent(b) && !is_recent(a) && !a.is_some_and(hangs_from_b);
    if let (Some(held), Some(b)) = (held, b)
        && held.position != b.position
        && held.dot.writer == next.writer
        && held.dot.counter > b.dot.counter
    {
        // Since b was put, this writer has deleted what stood before it: the new element replaces that.
        keeps_to_b = false;
    }
    // A dead neighbour is heeded as long as it is not deep: else an element that is replaced for ever would nest for ever.
    let b = if keeps_to_b || is_deep(a) || is_deep(held) { b } else { held.or(b) };
    match (a, b) {
        (None, None) => bunch.root().along(0, len),
        (Some(a), None) => bunch.after(a, None, len),
        (None, Some(b)) => bunch.before(None, b, len),
        (Some(a), Some(b)) => match keeps_to_b || a.position.is_followed_by(&b.position) {
            true => bunch.before(Some(a), b, len),
            false => bunch.after(a, Some(b), len),
        },
    }
}

/// Positions for elements that are named by their content and by their live neighbours, of which there is at least one: whoever puts the
/// same between the same two gives it the same positions.
pub(crate) fn named(a: Option<&Neighbour>, b: Option<&Neighbour>, content: &str, len: usize) -> Vec<Position> {
    let live = [a, b].map(|beside| beside.map(|beside| &beside.position));
    let is_deep = live.iter().flatten().any(|position| position.depth() >= EASY_STEPS);
    let bunch = Bunch { next: None, tag: tag_of(content, live), between: is_deep.then_some(live) };
    match (a, b) {
        (None, None) => Vec::new(),
        (Some(a), None) => bunch.after(a, None, len),
        (None, Some(b)) => bunch.before(None, b, len),
        (Some(a), Some(b)) if a.position.is_followed_by(&b.position) => bunch.before(Some(a), b, len),
        (Some(a), Some(b)) => bunch.after(a, Some(b), len),
    }
}

/// Positions for elements that are put where nothing is, named by their content.
pub(crate) fn imported(content: &str, len: usize) -> Vec<Position> {
    let root = Position([Step { side: IMPORTED, tag: tag_of(content, [None; 2]), offset: 0 }].into_iter().collect());
    root.along(0, len)
}

/// A row of elements to be put, which go on with a bunch of their writer or begin one.
struct Bunch<'a> {
    /// The next dot of the writer; none if the bunch is named by its content.
    next: Option<Dot>,
    /// The tag of a new bunch.
    tag: u32,
    /// The neighbours, if a new bunch goes as high as order allows between them.
    between: Option<[Option<&'a Position>; 2]>,
}

impl Bunch<'_> {
    /// The counter of the dot that began the bunch of an element, if this writer made the bunch.
    fn start_of(&self, element: &Neighbour) -> Option<u64> {
        let (_, last) = element.position.split();
        let counter = element.dot.counter.checked_sub(last.offset.unsigned_abs())?;
        let start = Dot { counter, ..element.dot };
        let is_own = element.dot.writer == self.next?.writer && last.tag == tag(start);
        (is_own || is(Bug::AnyoneLengthens)).then_some(counter)
    }

    /// The distance of the next dot from the one that began the bunch of an element, if this writer made the bunch.
    fn distance(&self, element: &Neighbour) -> Option<i64> {
        i64::try_from(self.next?.counter.checked_sub(self.start_of(element)?)?).ok()
    }

    fn step(&self, side: i64) -> Step {
        Step { side, tag: self.tag, offset: 0 }
    }

    fn root(&self) -> Position {
        Position([self.step(AFTER)].into_iter().collect())
    }

    fn after(&self, a: &Neighbour, b: Option<&Neighbour>, len: usize) -> Vec<Position> {
        let (_, last) = a.position.split();
        // The end of an own line goes on, unless b lies on it.
        let is_end = last.offset >= 0 && !b.is_some_and(|b| a.position.has_on_line(&b.position));
        match self.distance(a).filter(|_| is_end) {
            Some(distance) => a.position.along(distance, len),
            None => {
                let low = || a.position.hang(last.offset, AFTER, self.tag, len);
                self.highest().map_or_else(low, |high| high.along(0, len))
            }
        }
    }

    fn before(&self, a: Option<&Neighbour>, b: &Neighbour, len: usize) -> Vec<Position> {
        let (_, last) = b.position.split();
        let is_end = len == 1 && last.offset <= 0 && !a.is_some_and(|a| b.position.has_on_line(&a.position));
        match self.distance(b).filter(|_| is_end) {
            Some(distance) => b.position.along(-distance, len),
            None => {
                let low = || b.position.hang(last.offset.saturating_sub(1), BEFORE, self.tag, len);
                self.highest().map_or_else(low, |high| high.along(0, len))
            }
        }
    }

    /// The highest place for a new bunch between the neighbours, if it is to go there. It keeps logs that are written at one end for
    /// years from growing deep.
    fn highest(&self) -> Option<Position> {
        let [a, b] = self.between?;
        let deepest = a.map_or(0, Position::depth).max(b.map_or(0, Position::depth));
        for depth in 0..deepest {
            for (beside, way) in [(a, 1), (b, -1)] {
                let Some((above, step)) = beside.and_then(|beside| Some((&beside.0[..depth], beside.0.get(depth)?)))
                else {
                    continue;
                };
                let mut high = Position(above.into());
                high.0.push(self.step(step.side.saturating_add(way)));
                let is_between = a.is_none_or(|a| *a < high) && b.is_none_or(|b| high < *b);
                let is_import = depth == 0 && high.split().1.side == IMPORTED;
                if is_between && !is_import && high.to_bytes().is_some() {
                    return Some(high);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::WriterId;

    fn hex(text: &str) -> Vec<u8> {
        let digits = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }

    fn dot(text: &str) -> Dot {
        let (writer, counter) = text.split_once(':').unwrap();
        Dot { writer: WriterId::from([writer.parse().unwrap(); 10]), counter: counter.parse().unwrap() }
    }

    fn neighbour(text: &str) -> Option<Neighbour> {
        let (position, at) = text.split_once('@')?;
        Some(Neighbour { position: Position::from_bytes(&hex(position)).unwrap(), dot: dot(at) })
    }

    /// The executable model says what is expected: `tests/model/positions.py` wrote the file.
    #[test]
    fn places_are_those_of_the_model() {
        let mut deepest = 0;
        for line in include_str!("../../tests/model/positions.txt").lines() {
            let parts: Vec<&str> = line.split(' ').collect();
            let [a, b, held, next, len, expected] = parts[..] else { panic!("{line}") };
            let (a, b, held) = (neighbour(a), neighbour(b), neighbour(held));
            let found = between(a.as_ref(), b.as_ref(), held.as_ref(), dot(next), len.parse().unwrap());
            deepest = deepest.max(found[0].depth());
            let spelled = |p: &Position| p.to_bytes().unwrap().iter().map(|b| format!("{b:02x}")).collect::<String>();
            assert_eq!(found.iter().map(spelled).collect::<Vec<_>>().join(","), expected, "{line}");
            let all = a.iter().map(|a| &a.position).chain(&found).chain(b.iter().map(|b| &b.position));
            assert!(all.is_sorted_by(|a, b| a < b), "{line}");
        }
        assert!(deepest > EASY_STEPS, "{deepest}");
    }
}
