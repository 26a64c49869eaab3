//! What a cell of a counter holds, and how the cells of one counter add up.
//!
//! A counter has one live cell for each *branch* that counts: for each writer that others do not go on from. The cell holds
//! the totals of all amounts on the writer's path since its `base`, and for each earlier opening on the path that counted
//! how far it got: its last counter, and the totals there.
//!
//! - **To add**, a writer adds to its own cell. If it has none, it takes over the cell that lies deepest on its own path:
//!   it copies the totals, notes how far that writer got, and removes the cell in the same edit. If there is none, it
//!   begins at nothing, with its last counter as the base.
//! - **To read**, add one cell after the other, less what it shares with an earlier one. Two cells share what was counted
//!   up to where their paths part: on the last writer that both name, up to the lesser of the two counters; the cell that
//!   names that counter names the totals there too. They share nothing if the base of either lies beyond.
//!
//! So every amount counts once, whatever was copied, restored or opened how often, and a counter takes room for each
//! branch, not for each opening. The value follows from the live cells alone.
//!
//! A cell notes up to [`EARLIER`] openings, and besides the two between which the path of another known cell parts. If more have
//! counted on one branch before anybody knew of a fork, what two cells share lies between two notes: then the sum is a range.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::codec::{Cursor, DecodeError};
use crate::error::EditError;
use crate::id::{Dot, WriterId};
use crate::kernel::{Crdt, Edit, Payload, Sibling, SiblingRef};
use crate::kinds::payload::TOTALS;
use crate::numbers::write_number;

/// Number of earlier openings that a cell notes, beside the first and those between which other branches are known to part.
const EARLIER: usize = 32;

/// What was added and taken away.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Totals {
    added: u64,
    taken: u64,
}

impl Totals {
    /// With so much added, or taken away if it is negative; `None` past 64 bits.
    fn and(self, amount: i128) -> Option<Self> {
        let by = u64::try_from(amount.unsigned_abs()).ok()?;
        Some(match amount < 0 {
            false => Self { added: self.added.checked_add(by)?, ..self },
            true => Self { taken: self.taken.checked_add(by)?, ..self },
        })
    }

    /// The greater of each, of those there are.
    fn most(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        a.into_iter().chain(b).reduce(|a, b| Self { added: a.added.max(b.added), taken: a.taken.max(b.taken) })
    }

    pub(crate) fn net(self) -> i128 {
        i128::from(self.added) - i128::from(self.taken)
    }
}

/// How far a writer on the path got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reached {
    writer: WriterId,
    counter: u64,
    totals: Totals,
    /// True if notes of later openings were dropped.
    gap: bool,
}

/// What one cell holds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Count {
    /// The counter after which the totals count.
    base: u64,
    totals: Totals,
    /// The openings before, the earliest first.
    earlier: Vec<Reached>,
}

impl Count {
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    fn to_payload(&self) -> Payload {
        let mut bytes = Vec::new();
        [self.base, self.totals.added, self.totals.taken].into_iter().for_each(|n| write_number(&mut bytes, n));
        for reached in &self.earlier {
            bytes.extend_from_slice(reached.writer.as_bytes());
            let numbers = [reached.counter, reached.totals.added, reached.totals.taken, reached.gap.into()];
            numbers.into_iter().for_each(|number| write_number(&mut bytes, number));
        }
        Payload::new(TOTALS, &bytes)
    }

    /// What a sibling holds; nothing if no valid writer makes it.
    pub(crate) fn of<'a>(sibling: impl Into<SiblingRef<'a>>) -> Option<Self> {
        let payload = sibling.into().payload.filter(|payload| payload.kind() == TOTALS)?;
        let read = || -> Result<Self, DecodeError> {
            let mut cursor = Cursor::new(payload.bytes());
            let base = cursor.number()?;
            let totals = Totals { added: cursor.number()?, taken: cursor.number()? };
            let mut earlier = Vec::new();
            while !cursor.rest().is_empty() {
                let (writer, counter) = (WriterId::from(cursor.array()?), cursor.number()?);
                let totals = Totals { added: cursor.number()?, taken: cursor.number()? };
                let gap = match cursor.number()? {
                    0 => false,
                    1 => true,
                    _ => return Err(DecodeError::NotCanonical),
                };
                earlier.push(Reached { writer, counter, totals, gap });
            }
            Ok(Self { base, totals, earlier })
        };
        read().ok()
    }

    /// The notes with that of the writer itself, the latest first.
    fn path(&self, dot: Dot) -> impl Iterator<Item = Reached> + '_ {
        let own = Reached { writer: dot.writer, counter: dot.counter, totals: self.totals, gap: false };
        std::iter::once(own).chain(self.earlier.iter().rev().copied())
    }
}

/// The sum of a counter: the least and the greatest that it can be, nearly always the same.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Sum {
    pub(crate) least: i128,
    pub(crate) greatest: i128,
}

/// Adds up the live siblings of all cells of one counter. O(cells · notes).
pub(crate) fn sum<'a>(live: impl IntoIterator<Item = SiblingRef<'a>>) -> Sum {
    let mut cells: Vec<(Dot, Count)> = live.into_iter().filter_map(|s| Some((s.dot, Count::of(s)?))).collect();
    cells.sort_unstable_by_key(|(dot, _)| *dot);
    let mut sum = Sum::default();
    // Of each writer on the path of a cell that was added, by base: how far it got at most, and what came next if not all that
    // came is noted.
    let mut known: HashMap<(WriterId, u64), (Reached, Option<Totals>)> = HashMap::new();
    for (dot, count) in &cells {
        // One that was written again after its dot went to another: they may have all in common, or nothing.
        let net = count.totals.net();
        if dot.writer.is_derived() {
            (sum.least, sum.greatest) = (sum.least + net.min(0), sum.greatest + net.max(0));
            continue;
        }
        let mut next = count.totals;
        let mut shared = None;
        for reached in count.path(*dot) {
            let beyond = reached.gap.then_some(next);
            next = reached.totals;
            let Some((other, other_beyond)) = known.get(&(reached.writer, count.base)) else { continue };
            let parted = if reached.counter <= other.counter { &reached } else { other };
            if parted.counter <= count.base {
                break;
            }
            shared = Some(match (beyond, other_beyond, reached.counter == other.counter) {
                // Both go on from here, and not all that came next is noted. The other may have gone on anywhere in such a
                // gap, so they may share as much as lies before its end.
                (beyond, other_beyond, true) if beyond.is_some() || other_beyond.is_some() => {
                    let most = Totals::most(beyond, *other_beyond).unwrap_or_default();
                    let to = |of: fn(&Totals) -> u64| of(&most).min(of(&count.totals));
                    (parted.totals, Totals { added: to(|t| t.added), taken: to(|t| t.taken) })
                }
                _ => (parted.totals, parted.totals),
            });
            break;
        }
        let (from, to) = shared.unwrap_or_default();
        let (least, greatest) = (
            i128::from(from.added) - i128::from(to.taken.max(from.taken)),
            i128::from(to.added.max(from.added)) - i128::from(from.taken),
        );
        (sum.least, sum.greatest) = (sum.least + net - greatest, sum.greatest + net - least);
        let mut next = count.totals;
        for reached in count.path(*dot) {
            let beyond = reached.gap.then_some(next);
            next = reached.totals;
            let entry = known.entry((reached.writer, count.base)).or_insert((reached, beyond));
            match entry.0.counter.cmp(&reached.counter) {
                Ordering::Less => *entry = (reached, beyond),
                Ordering::Equal => entry.1 = Totals::most(entry.1, beyond),
                Ordering::Greater => {}
            }
        }
    }
    sum
}

/// What to write to add to a counter.
pub(crate) struct Adding {
    /// The writer that names our cell.
    pub(crate) writer: WriterId,
    pub(crate) payload: Payload,
    /// The writer that names the cell which was taken over, to be removed.
    pub(crate) taken_over: Option<WriterId>,
}

/// Finds what to write to add to the counter with these live cells, each with the writer that names it. O(cells · lines).
pub(crate) fn adding<T: Crdt>(
    edit: &mut Edit<'_, T>,
    live: Vec<(WriterId, Sibling)>,
    amount: i128,
) -> Result<Adding, EditError> {
    let named = |cell: WriterId| live.iter().filter(move |(of, _)| *of == cell).count();
    let mut writer = edit.writer()?;
    if named(writer) > 1 {
        // A content that lost its dot stands beside ours: to write our cell would be to remove it.
        writer = edit.new_writer()?;
    }
    let (own, last) = (edit.own(), edit.last_counter());
    let read = |(of, sibling): &(WriterId, Sibling)| Some((*of, sibling.dot, Count::of(sibling)?));
    let on_path = live.iter().filter_map(read).filter(|(of, dot, _)| own.wrote(*dot) && named(*of) == 1);
    let deepest = on_path.max_by_key(|(_, dot, _)| dot.counter);
    let (count, taken_over) = match deepest {
        None => (Count { base: last, ..Count::default() }, None),
        Some((of, _, count)) if of == writer => (count, None),
        Some((of, dot, mut count)) => {
            count.earlier.push(Reached { writer: dot.writer, counter: dot.counter, totals: count.totals, gap: false });
            let others = live.iter().filter(|(other, _)| *other != of);
            forget(&mut count, others.filter_map(|(_, sibling)| Some((sibling.dot, Count::of(sibling)?))));
            (count, Some(of))
        }
    };
    let totals = count.totals.and(amount).ok_or(EditError::CounterOverflow)?;
    Ok(Adding { writer, payload: Count { totals, ..count }.to_payload(), taken_over })
}

/// Drops notes if there are too many: the oldest, but not the first, nor the two between which another cell is known to part.
fn forget(count: &mut Count, others: impl Iterator<Item = (Dot, Count)>) {
    if count.earlier.len() <= EARLIER {
        return;
    }
    let mut kept = vec![0];
    for (dot, other) in others {
        let noted = |writer| count.earlier.iter().position(|e| e.writer == writer);
        // With the next one, or it would look as if they might have gone on together.
        kept.extend(other.path(dot).find_map(|reached| noted(reached.writer)).into_iter().flat_map(|i| [i, i + 1]));
    }
    if let Some(oldest) = (0..=count.earlier.len() - EARLIER).find(|i| !kept.contains(i)) {
        count.earlier.remove(oldest);
        if let Some(before) = oldest.checked_sub(1) {
            count.earlier[before].gap = true;
        }
    }
}
