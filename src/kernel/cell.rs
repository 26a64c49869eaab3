//! The siblings of one cell.

use std::fmt;
use std::sync::{Arc, OnceLock};

use im::ordmap::{self, DiffItem};
use im::{OrdMap, OrdSet};
use smallvec::SmallVec;

use crate::clock::Stamp;
use crate::id::Dot;
use crate::kernel::key::{Payload, Sibling, SiblingRef};
use crate::kernel::many::dots_between;
use crate::kernel::visits;
use crate::version::Version;

/// A cell with more siblings than this is a [`Crowd`]. More than a small entity holds, so only a large one has crowds.
const MANY: usize = 64;

/// A crowd of fewer siblings than this becomes a list again; the gap keeps a cell at the edge from flapping.
const FEW: usize = 32;

/// The siblings of one cell, each dot once, in the order of their dots. Nearly always a single sibling, which needs no
/// allocation.
#[derive(Clone)]
pub(crate) struct Cell(Repr);

#[derive(Clone)]
enum Repr {
    One(Sibling),
    /// None or several, sorted by dot.
    Few(Vec<Sibling>),
    Crowd(Arc<Crowd>),
}

/// Many concurrent siblings. Persistent: cloning is O(1), and adding or removing a sibling is O(log siblings), so merging
/// *n* concurrent siblings one by one is O(n log n). Some 250 bytes a sibling.
#[derive(Default)]
struct Crowd {
    siblings: OrdMap<Dot, Sibling>,
    /// The live siblings by [precedence](Sibling::precedence).
    live: OrdSet<(Stamp, Dot)>,
    /// The payloads of the live siblings, with how many hold each.
    payloads: OrdMap<Payload, usize>,
    /// All siblings as a list, made when somebody asks for one.
    list: OnceLock<Box<[Sibling]>>,
}

/// The siblings of one cell that a version covers: mostly one or none.
pub(crate) type Covered<'a> = SmallVec<[SiblingRef<'a>; 4]>;

/// A sibling that two versions of a cell do not share.
pub(crate) enum Change<'a> {
    Gone(&'a Sibling),
    Come(&'a Sibling),
}

/// The siblings of one cell, in the order of their dots.
#[derive(Clone)]
pub(crate) enum CellSiblings<'a> {
    Few(std::slice::Iter<'a, Sibling>),
    Crowd(ordmap::Iter<'a, Dot, Sibling, im::shared_ptr::DefaultSharedPtr>),
}

impl<'a> Iterator for CellSiblings<'a> {
    type Item = &'a Sibling;

    fn next(&mut self) -> Option<&'a Sibling> {
        match self {
            Self::Few(siblings) => siblings.next(),
            Self::Crowd(siblings) => siblings.next().map(|(_, sibling)| sibling),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = match self {
            Self::Few(siblings) => siblings.len(),
            Self::Crowd(siblings) => siblings.len(),
        };
        (len, Some(len))
    }
}

impl ExactSizeIterator for CellSiblings<'_> {}

impl Default for CellSiblings<'_> {
    fn default() -> Self {
        Self::Few([].iter())
    }
}

impl Cell {
    pub(crate) fn new() -> Self {
        Self(Repr::Few(Vec::new()))
    }

    pub(crate) fn single(sibling: Sibling) -> Self {
        Self(Repr::One(sibling))
    }

    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Repr::Crowd(crowd) => crowd.siblings.len(),
            _ => self.few().len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The siblings as a slice; of a crowd there is none.
    fn few(&self) -> &[Sibling] {
        match &self.0 {
            Repr::One(sibling) => std::slice::from_ref(sibling),
            Repr::Few(siblings) => siblings,
            Repr::Crowd(_) => &[],
        }
    }

    /// The only sibling, if there is one and no other.
    pub(super) fn only(&self) -> Option<&Sibling> {
        match self.few() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The only sibling; else the cell as it is.
    pub(crate) fn into_single(self) -> Result<Sibling, Self> {
        match self.0 {
            Repr::One(sibling) => Ok(sibling),
            repr => Err(Self(repr)),
        }
    }

    /// The siblings, to keep.
    pub(crate) fn into_siblings(self) -> impl Iterator<Item = Sibling> {
        let siblings: SmallVec<[Sibling; 1]> = match self.0 {
            Repr::One(sibling) => SmallVec::from_buf([sibling]),
            Repr::Few(siblings) => SmallVec::from_vec(siblings),
            Repr::Crowd(crowd) => crowd.siblings.iter().map(|(_, sibling)| sibling.clone()).collect(),
        };
        siblings.into_iter()
    }

    /// The siblings as a slice. O(siblings) for a crowd, the first time.
    pub(crate) fn as_slice(&self) -> &[Sibling] {
        match &self.0 {
            Repr::Crowd(crowd) => crowd.list.get_or_init(|| self.iter().cloned().collect()),
            _ => self.few(),
        }
    }

    /// All siblings, in the order of their dots.
    pub(crate) fn iter(&self) -> CellSiblings<'_> {
        match &self.0 {
            Repr::Crowd(crowd) => {
                visits::count(crowd.siblings.len());
                CellSiblings::Crowd(crowd.siblings.iter())
            }
            _ => CellSiblings::Few(self.few().iter()),
        }
    }

    /// The live siblings. Those of a crowd that is all tombstones are found without a look at it.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Sibling> + Clone {
        let all = if self.is_live() { self.iter() } else { CellSiblings::default() };
        all.filter(|sibling| sibling.is_live())
    }

    /// The sibling of this dot. O(log siblings).
    pub(crate) fn get(&self, dot: Dot) -> Option<&Sibling> {
        match &self.0 {
            Repr::Crowd(crowd) => crowd.siblings.get(&dot),
            _ => {
                let few = self.few();
                few.binary_search_by_key(&dot, |sibling| sibling.dot).ok().map(|i| &few[i])
            }
        }
    }

    /// The siblings that a version covers. O(siblings), or O(writers of the version · log siblings) for a crowd of more
    /// siblings than these are writers.
    pub(crate) fn covered(&self, version: &Version) -> Covered<'_> {
        match &self.0 {
            Repr::Crowd(crowd) if let Some(writers) = version.few_writers(crowd.siblings.len()) => {
                visits::count(writers.len());
                let dots = writers.into_iter().map(|(writer, after, upto)| dots_between(writer, after, upto));
                dots.flat_map(|dots| crowd.siblings.range(dots)).map(|(_, sibling)| sibling.as_ref()).collect()
            }
            _ => self.iter().filter(|sibling| version.covers(sibling.dot)).map(Sibling::as_ref).collect(),
        }
    }

    /// True if a sibling is not a tombstone. O(1) for a crowd.
    pub(crate) fn is_live(&self) -> bool {
        match &self.0 {
            Repr::Crowd(crowd) => !crowd.live.is_empty(),
            _ => self.few().iter().any(Sibling::is_live),
        }
    }

    /// True if live siblings differ in payload. O(1) for a crowd.
    pub(crate) fn is_contested(&self) -> bool {
        match &self.0 {
            Repr::Crowd(crowd) => crowd.payloads.len() > 1,
            _ if self.few().len() < 2 => false,
            _ => {
                let mut payloads = self.payloads();
                payloads.next().is_some_and(|first| payloads.any(|other| other != first))
            }
        }
    }

    /// The live sibling of the greatest [precedence](Sibling::precedence). O(log siblings) for a crowd.
    pub(crate) fn latest(&self) -> Option<&Sibling> {
        match &self.0 {
            Repr::Crowd(crowd) => crowd.siblings.get(&crowd.live.get_max()?.1),
            _ => self.few().iter().filter(|sibling| sibling.is_live()).max_by_key(|sibling| sibling.precedence()),
        }
    }

    /// The first result of a function for the live siblings, in the order of falling precedence. O(log siblings) for a crowd
    /// whose latest sibling has one.
    pub(crate) fn find_latest<R>(&self, mut find: impl FnMut(&Sibling) -> Option<R>) -> Option<R> {
        match &self.0 {
            Repr::Crowd(crowd) => {
                crowd.live.iter().rev().find_map(|(_, dot)| crowd.siblings.get(dot).and_then(&mut find))
            }
            _ => {
                let mut live: Vec<_> = self.few().iter().filter(|sibling| sibling.is_live()).collect();
                live.sort_unstable_by_key(|sibling| std::cmp::Reverse(sibling.precedence()));
                live.into_iter().find_map(find)
            }
        }
    }

    /// The payloads of the live siblings. Each at least once, in no given order; O(distinct payloads) for a crowd.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &Payload> + Clone {
        let distinct = match &self.0 {
            Repr::Crowd(crowd) => Some(crowd.payloads.iter().map(|(payload, _)| payload)),
            _ => None,
        };
        self.few().iter().filter_map(|sibling| sibling.payload.as_ref()).chain(distinct.into_iter().flatten())
    }

    /// True if both cells hold the same live payloads, equally often. O(changes · log siblings) for crowds, of which one came
    /// from the other.
    pub(crate) fn reads_like(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Crowd(ours), Repr::Crowd(theirs)) => ours.payloads.diff(&theirs.payloads).next().is_none(),
            (Repr::Crowd(_), _) | (_, Repr::Crowd(_)) => false,
            _ => self.payloads().eq(other.payloads()),
        }
    }

    /// The same without its tombstones. O(1) for a crowd that has none.
    pub(crate) fn without_tombstones(&self) -> Self {
        match &self.0 {
            Repr::Crowd(crowd) if crowd.live.len() == crowd.siblings.len() => self.clone(),
            _ => self.live().cloned().collect(),
        }
    }

    /// Adds a sibling, in place of one of the same dot. O(log siblings).
    pub(crate) fn insert(&mut self, sibling: Sibling) {
        match &mut self.0 {
            Repr::Crowd(crowd) => Crowd::change(crowd).insert(sibling),
            Repr::Few(few) if few.is_empty() => self.0 = Repr::One(sibling),
            Repr::Few(few) => match few.binary_search_by_key(&sibling.dot, |s| s.dot) {
                Ok(i) => few[i] = sibling,
                Err(i) => {
                    few.insert(i, sibling);
                    self.settle();
                }
            },
            Repr::One(one) if one.dot == sibling.dot => *one = sibling,
            Repr::One(one) => {
                let mut both = vec![one.clone(), sibling];
                both.sort_unstable_by_key(|sibling| sibling.dot);
                self.0 = Repr::Few(both);
            }
        }
    }

    /// Takes the sibling of a dot out, if it is there. O(log siblings).
    pub(crate) fn remove(&mut self, dot: Dot) {
        match &mut self.0 {
            Repr::Crowd(crowd) if crowd.siblings.contains_key(&dot) => {
                Crowd::change(crowd).remove(dot);
                self.settle();
            }
            Repr::One(one) if one.dot == dot => self.0 = Repr::Few(Vec::new()),
            Repr::Few(few) => {
                if let Ok(i) = few.binary_search_by_key(&dot, |s| s.dot) {
                    few.remove(i);
                    self.settle();
                }
            }
            Repr::Crowd(_) | Repr::One(_) => {}
        }
    }

    /// Chooses the representation by the number of siblings.
    fn settle(&mut self) {
        match &mut self.0 {
            Repr::Few(few) if few.len() == 1 => self.0 = few.pop().map_or(Repr::Few(Vec::new()), Repr::One),
            Repr::Few(few) if few.len() > MANY => {
                visits::count(few.len());
                let mut crowd = Crowd::default();
                std::mem::take(few).into_iter().for_each(|sibling| crowd.insert(sibling));
                self.0 = Repr::Crowd(Arc::new(crowd));
            }
            Repr::Crowd(crowd) if crowd.siblings.len() < FEW => {
                self.0 = Repr::Few(crowd.siblings.iter().map(|(_, sibling)| sibling.clone()).collect());
            }
            _ => {}
        }
    }

    /// Calls `each` with the siblings that only one of the two versions of a cell holds just so; one that was replaced under
    /// its dot goes before the other comes. O(changes · log siblings) for crowds of which one came from the other, else
    /// O(siblings).
    pub(crate) fn changes<'a>(was: &'a Self, now: &'a Self, mut each: impl FnMut(Change<'a>)) {
        if let (Repr::Crowd(was), Repr::Crowd(now)) = (&was.0, &now.0) {
            for item in was.siblings.diff(&now.siblings) {
                match item {
                    DiffItem::Add(_, come) => each(Change::Come(come)),
                    DiffItem::Update { old: (_, gone), new: (_, come) } => {
                        each(Change::Gone(gone));
                        each(Change::Come(come));
                    }
                    DiffItem::Remove(_, gone) => each(Change::Gone(gone)),
                }
            }
            return;
        }
        match (was.few(), now.few()) {
            // Nearly always.
            ([], [come]) if was.is_empty() => return each(Change::Come(come)),
            ([gone], [come]) if gone.dot != come.dot => {
                each(Change::Gone(gone));
                return each(Change::Come(come));
            }
            _ => {}
        }
        was.iter().filter(|sibling| now.get(sibling.dot) != Some(sibling)).for_each(|gone| each(Change::Gone(gone)));
        now.iter().filter(|sibling| was.get(sibling.dot) != Some(sibling)).for_each(|come| each(Change::Come(come)));
    }

    /// How much memory of its own it takes beyond itself, without payloads; a crowd shares what it has with the cell that
    /// it came from.
    pub(crate) fn spilled(&self) -> usize {
        match &self.0 {
            Repr::Few(few) => size_of_val(&few[..]),
            Repr::One(_) | Repr::Crowd(_) => 0,
        }
    }

    /// True if it shares its siblings with the cell that it came from.
    pub(crate) fn is_crowd(&self) -> bool {
        matches!(self.0, Repr::Crowd(_))
    }
}

impl Crowd {
    /// The crowd for writing, in place unless something else shares it.
    fn change(crowd: &mut Arc<Self>) -> &mut Self {
        let crowd = Arc::make_mut(crowd);
        crowd.list.take();
        crowd
    }

    fn insert(&mut self, sibling: Sibling) {
        self.remove(sibling.dot);
        if let Some(payload) = &sibling.payload {
            self.live.insert(sibling.precedence());
            match self.payloads.get_mut(payload) {
                Some(holders) => *holders += 1,
                None => drop(self.payloads.insert(payload.clone(), 1)),
            }
        }
        self.siblings.insert(sibling.dot, sibling);
    }

    fn remove(&mut self, dot: Dot) {
        let Some(sibling) = self.siblings.remove(&dot) else { return };
        let Some(payload) = &sibling.payload else { return };
        self.live.remove(&sibling.precedence());
        match self.payloads.get_mut(payload) {
            Some(holders) if *holders > 1 => *holders -= 1,
            _ => drop(self.payloads.remove(payload)),
        }
    }
}

/// Without the list: a clone is made to be changed.
impl Clone for Crowd {
    fn clone(&self) -> Self {
        Self {
            siblings: self.siblings.clone(),
            live: self.live.clone(),
            payloads: self.payloads.clone(),
            list: OnceLock::new(),
        }
    }
}

impl Default for Cell {
    fn default() -> Self {
        Self::new()
    }
}

/// From siblings of distinct dots, in any order.
impl FromIterator<Sibling> for Cell {
    fn from_iter<I: IntoIterator<Item = Sibling>>(siblings: I) -> Self {
        let mut siblings = siblings.into_iter();
        let Some(first) = siblings.next() else { return Self::new() };
        let Some(second) = siblings.next() else { return Self::single(first) };
        let mut few: Vec<_> = [first, second].into_iter().chain(siblings).collect();
        few.sort_unstable_by_key(|sibling| sibling.dot);
        debug_assert!(few.windows(2).all(|pair| pair[0].dot < pair[1].dot), "one dot twice in a cell");
        let mut cell = Self(Repr::Few(few));
        cell.settle();
        cell
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Crowd(ours), Repr::Crowd(theirs)) => {
                Arc::ptr_eq(ours, theirs) || ours.siblings.diff(&theirs.siblings).next().is_none()
            }
            _ => self.len() == other.len() && self.iter().eq(other.iter()),
        }
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::id::WriterId;

    fn dot(n: u8) -> Dot {
        Dot { writer: WriterId::from([n % 16; 10]), counter: u64::from(n / 16) + 1 }
    }

    fn sibling(n: u8, time: u64, payload: Option<u8>) -> Sibling {
        Sibling { dot: dot(n), stamp: Stamp::new(time, 0), payload: payload.map(|byte| Payload::new(1, &[byte])) }
    }

    #[test]
    fn a_cell_of_one_sibling_is_as_small_as_the_sibling() {
        assert_eq!(size_of::<Cell>(), size_of::<Sibling>());
    }

    proptest! {
        /// Grown past the size of a crowd and shrunk again, with dots that come back with other contents.
        #[test]
        fn a_cell_of_any_size_agrees_with_a_plain_map(
            steps in prop::collection::vec((0u8..=255, 0u64..4, prop::option::weighted(0.8, 0u8..3)), 0..150),
            removed in prop::collection::vec(0u8..=255, 0..200),
        ) {
            let (mut cell, mut model) = (Cell::new(), BTreeMap::new());
            let removed = removed.into_iter().map(|n| (n, None));
            for (n, come) in steps.into_iter().map(|(n, time, payload)| (n, Some(sibling(n, time, payload)))).chain(removed) {
                let (was, model_was) = (cell.clone(), model.clone());
                match come {
                    Some(sibling) => {
                        cell.insert(sibling.clone());
                        model.insert(sibling.dot, sibling);
                    }
                    None => {
                        cell.remove(dot(n));
                        model.remove(&dot(n));
                    }
                }
                let all: Vec<Sibling> = model.values().cloned().collect();
                prop_assert_eq!(cell.as_slice(), &all[..]);
                prop_assert_eq!(cell.len(), all.len());
                prop_assert_eq!(&cell, &all.iter().rev().cloned().collect());
                prop_assert_eq!(cell.get(dot(n)), model.get(&dot(n)));
                let live: Vec<_> = all.iter().filter(|s| s.is_live()).collect();
                prop_assert_eq!(cell.live().collect::<Vec<_>>(), live.clone());
                prop_assert_eq!(cell.is_live(), !live.is_empty());
                prop_assert_eq!(cell.without_tombstones(), live.iter().map(|s| (*s).clone()).collect());
                prop_assert_eq!(cell.latest(), live.iter().copied().max_by_key(|s| s.precedence()));
                prop_assert_eq!(cell.find_latest(|s| Some(s.dot)), cell.latest().map(|s| s.dot));
                let mut payloads: Vec<_> = live.iter().filter_map(|s| s.payload.clone()).collect();
                payloads.sort();
                payloads.dedup();
                prop_assert_eq!(cell.is_contested(), payloads.len() > 1);
                let mut found: Vec<_> = cell.payloads().cloned().collect();
                found.sort();
                found.dedup();
                prop_assert_eq!(found, payloads);
                let (mut gone, mut come) = (Vec::new(), Vec::new());
                Cell::changes(&was, &cell, |change| match change {
                    Change::Gone(sibling) => gone.push(sibling.clone()),
                    Change::Come(sibling) => come.push(sibling.clone()),
                });
                let missing = |of: &BTreeMap<Dot, Sibling>, from: &BTreeMap<Dot, Sibling>| {
                    of.values().filter(|s| from.get(&s.dot) != Some(s)).cloned().collect::<Vec<_>>()
                };
                prop_assert_eq!((gone, come), (missing(&model_was, &model), missing(&model, &model_was)));
                prop_assert_eq!(was.as_slice(), &model_was.into_values().collect::<Vec<_>>()[..]);
            }
        }
    }
}
