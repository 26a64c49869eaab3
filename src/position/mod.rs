//! Positions: keys that sort as what they are keys of is ordered, between any two of which there is room for more.
//!
//! A position holds all that its order depends on. So order is a function of what is alive, nothing dead is needed for it, and a
//! tombstone may go at any moment.
//!
//! | file | idea |
//! |---|---|
//! | `bytes` | the spelling of a position, which sorts as it does |
//! | `place` | the positions that what is put between two neighbours gets |
//! | `letter` | the fields of characters, taken apart |

mod bytes;
mod letter;
mod place;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::id::{Dot, WriterId};

use bytes::split_offset;
pub(crate) use bytes::{PositionBytes, is_position, offset_bytes, split_position};
pub(crate) use letter::{LONG, Row, split_letter};
pub(crate) use place::{Neighbour, between, imported, named};

use place::EASY_STEPS;

/// The most steps that a position has.
pub(crate) const MAX_STEPS: usize = 256;

/// The side of what was put after an element, in the gap behind it: before what was put [`BEFORE`] the next one.
const AFTER: i64 = 0;
const BEFORE: i64 = 1;

/// The side of what is put where nothing is and named by its content. A side of its own, so that it is told from all else that was put there at once.
const IMPORTED: i64 = 1000;

/// A place in an order: a list of steps, compared step by step; one that is the beginning of another comes first.
///
/// A *bunch* is a line of integers. It hangs in a gap of its parent's line (the gap of `o` lies between `o` and `o + 1`) and is
/// named by its side there and its tag. All steps but the last say in which gap the next bunch hangs; the last says where on
/// its own line the element is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Position(SmallVec<[Step; 2]>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Step {
    side: i64,
    tag: u32,
    offset: i64,
}

impl Position {
    /// The number of steps; each costs some five bytes.
    pub(crate) fn depth(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is room for many beside it: few steps, none of them at the end of what can be spelled.
    pub(crate) fn leaves_room(&self) -> bool {
        let is_near = |step: &Step| step.side.unsigned_abs() < 1 << 24 && step.offset.unsigned_abs() < 1 << 40;
        self.0.len() <= EASY_STEPS && self.0.iter().all(is_near)
    }

    /// Returns whether a dot may be that of the write that was put here.
    pub(crate) fn is_of(&self, dot: Dot) -> bool {
        let (_, last) = self.split();
        let start = dot.counter.checked_sub(last.offset.unsigned_abs());
        start.is_some_and(|counter| last.tag == tag(Dot { counter, ..dot }))
    }

    /// The last step, and those above it. A position has at least one.
    fn split(&self) -> (&[Step], Step) {
        match self.0.split_last() {
            Some((last, above)) => (above, *last),
            None => (&[], Step { side: AFTER, tag: 0, offset: 0 }),
        }
    }

    /// Returns whether another lies on this one's line, or hangs from it.
    fn has_on_line(&self, other: &Self) -> bool {
        let (above, last) = self.split();
        other.0.len() > above.len()
            && other.0[..above.len()] == *above
            && (other.0[above.len()].side, other.0[above.len()].tag) == (last.side, last.tag)
    }

    /// Returns whether another was put after this one: to its right on the far half of the line, or hanging from it.
    fn is_followed_by(&self, other: &Self) -> bool {
        if !self.has_on_line(other) {
            return false;
        }
        let (above, last) = self.split();
        let hangs =
            |at: usize| other.0[at].offset == last.offset && other.0.get(at + 1).is_some_and(|step| step.side <= AFTER);
        last.offset >= 0 || hangs(above.len())
    }

    /// The same line at other offsets.
    fn along(&self, first: i64, len: usize) -> Vec<Self> {
        (0..).map(|k| self.with_last(first.saturating_add(k))).take(len).collect()
    }

    fn with_last(&self, offset: i64) -> Self {
        let mut steps = self.0.clone();
        steps.iter_mut().next_back().into_iter().for_each(|last| last.offset = offset);
        Self(steps)
    }

    /// A new bunch that hangs in a gap of this one's line.
    fn hang(&self, gap: i64, side: i64, tag: u32, len: usize) -> Vec<Self> {
        let mut bunch = self.with_last(gap);
        bunch.0.push(Step { side, tag, offset: 0 });
        bunch.along(0, len)
    }
}

/// The spellings of a line of positions, and of one that hangs in one of its gaps.
#[cfg(test)]
pub(crate) fn two_lines(gap: i64, len: usize) -> [Vec<PositionBytes>; 2] {
    let line = imported("", len);
    let below = line[0].hang(gap, AFTER, 7, len);
    [line, below].map(|line| line.iter().filter_map(Position::to_bytes).collect())
}

/// The tag of the bunch that a dot begins: it need only differ from those of bunches that are put into the same gap concurrently.
fn tag(start: Dot) -> u32 {
    let mut bytes = [0; WriterId::LEN + 8];
    bytes[..WriterId::LEN].copy_from_slice(start.writer.as_bytes());
    bytes[WriterId::LEN..].copy_from_slice(&start.counter.to_be_bytes());
    (xxh3_64(&bytes) & u64::from(MAX_TAG)) as u32
}

/// The tag of a bunch that is named by its content and by what it stands between.
fn tag_of(content: &str, between: [Option<&Position>; 2]) -> u32 {
    let mut bytes = Vec::new();
    for beside in between {
        let beside = beside.and_then(Position::to_bytes).unwrap_or_default();
        // Lengths before what has no fixed one.
        bytes.extend((beside.len() as u64).to_be_bytes());
        bytes.extend(beside);
    }
    bytes.extend(content.as_bytes());
    (xxh3_64(&bytes) & u64::from(MAX_TAG)) as u32
}

/// The bytes that the positions of all imports begin with, or those on or below the line of the import of a tag.
pub(crate) fn import_start(tag: Option<u32>) -> PositionBytes {
    let step = Step { side: IMPORTED, tag: tag.unwrap_or(0), offset: 0 };
    let mut bytes = Position([step].into_iter().collect()).to_bytes().unwrap_or_default();
    // The offset takes one byte, the tag four.
    bytes.truncate(bytes.len() - if tag.is_some() { 1 } else { 5 });
    bytes
}

/// The tag of the import that a position is on or below the line of, and whether it is on it.
pub(crate) fn import_of(bytes: &[u8]) -> Option<(u32, bool)> {
    let position = Position::from_bytes(bytes)?;
    let first = position.0.first().filter(|first| first.side == IMPORTED)?;
    Some((first.tag, position.depth() == 1))
}

/// Thirty bits.
const MAX_TAG: u32 = (1 << 30) - 1;
