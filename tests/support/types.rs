//! The standalone types, each with its reading rule over the writes that stand: a rule that is written down here and shares no
//! code with the crate.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::marker::PhantomData;

use driftless::testing::{Model, View, Write, Writes, same};
use driftless::{
    Crdt, DwFlag, Edit, EditError, EwFlag, GCounter, LwwRegister, MaxRegister, MinRegister, MvRegister, OrMap, OrSet,
    PnCounter, RwSet, State,
};

/// Every operation of every type: registers and flags have one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    Put(u8, u8),
    Take(u8),
    Clear,
}

/// What a cell holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Held {
    Value(u8),
    /// That it was taken away, where that is something to be seen.
    Taken,
    /// All that one branch has counted.
    Counted(Amounts),
}

/// Amounts, each under the name of the write that added it: the number of the writer, and which of its writes. So an amount
/// that several cells hold is seen to be one.
pub(crate) type Amounts = BTreeMap<(usize, u64), i128>;

/// A type under test: how it is edited and read, and what must be read.
pub(crate) trait Subject: Crdt + PartialEq + Debug {
    type Read: PartialEq + Debug;
    /// Whether each replica has a cell of its own, and all are read together.
    const OWN_CELLS: bool = false;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError>;
    fn read(&self) -> Result<Self::Read, String>;
    fn expected(view: &View<'_, Judged<Self>>) -> Self::Read;

    fn writes(op: Op, view: &View<'_, Judged<Self>>, _: usize) -> Writes<Judged<Self>> {
        match op {
            Op::Put(k, v) => vec![Write::Put(k.into(), Held::Value(v))],
            Op::Take(k) if view.holds(&k.into()) => vec![Write::Remove(k.into())],
            Op::Clear if !view.is_empty() => vec![Write::Delete(())],
            Op::Take(_) | Op::Clear => vec![],
        }
    }

    /// Operations of one type on one key, in its own terms.
    fn normal(op: Op) -> Op {
        op
    }
}

/// The model of a subject. All that it holds can be cleared at once; its cells are keys, or the numbers of writers.
pub(crate) struct Judged<T>(PhantomData<T>);

impl<T: Subject> Model for Judged<T> {
    type Type = T;
    type Op = Op;
    type Cell = usize;
    type Group = ();
    type Value = Held;

    fn group(_: &usize) {}

    fn apply(edit: &mut Edit<'_, T>, op: &Op) -> Result<(), EditError> {
        T::apply(edit, *op)
    }

    fn writes(op: &Op, view: &View<'_, Self>, by: usize) -> Option<Writes<Self>> {
        Some(T::writes(*op, view, by))
    }

    fn check(view: &View<'_, Self>, found: &T) -> Result<(), String> {
        // A write that stands is one live sibling, and nothing else is alive.
        same("live cells", found.state().live_len(), view.all().count())?;
        same("what is read", found.read()?, T::expected(view))
    }

    fn kind(op: &Op) -> &'static str {
        match op {
            Op::Put(..) => "put",
            Op::Take(_) => "take",
            Op::Clear => "clear",
        }
    }

    fn collide(a: &usize, b: &usize) -> bool {
        T::OWN_CELLS || a == b
    }

    fn facets(view: &View<'_, Self>) -> Vec<&'static str> {
        let amounts = view.all().map(|w| if let Held::Counted(amounts) = w.value { amounts.len() } else { 0 });
        if amounts.sum::<usize>() > counted(view).len() { vec!["amounts that several cells hold"] } else { vec![] }
    }
}

/// Keys, values and times of all that stands and was not taken.
pub(crate) fn values<T: Subject>(view: &View<'_, Judged<T>>) -> impl Iterator<Item = (u8, u8, u64)> {
    view.all().filter_map(|w| if let Held::Value(v) = *w.value { Some((*w.cell as u8, v, w.time)) } else { None })
}

pub(crate) fn register(op: Op) -> Op {
    match op {
        Op::Put(_, v) => Op::Put(0, v),
        Op::Take(_) | Op::Clear => Op::Clear,
    }
}

impl Subject for LwwRegister<u8> {
    type Read = Option<u8>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(_, v) = op { edit.set(v) } else { edit.clear().map(drop) }
    }
    fn read(&self) -> Result<Self::Read, String> {
        Ok(self.get().copied())
    }
    fn expected(view: &View<'_, Judged<Self>>) -> Option<u8> {
        values(view).max_by_key(|(_, _, time)| *time).map(|(_, v, _)| v)
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for MvRegister<u8> {
    type Read = BTreeSet<u8>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(_, v) = op { edit.set(v) } else { edit.clear().map(drop) }
    }
    fn read(&self) -> Result<Self::Read, String> {
        let set: BTreeSet<u8> = self.get().iter().copied().collect();
        same("distinct values", self.get().len(), set.len())?;
        Ok(set)
    }
    fn expected(view: &View<'_, Judged<Self>>) -> BTreeSet<u8> {
        values(view).map(|(_, v, _)| v).collect()
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for MaxRegister<u8> {
    type Read = Option<u8>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(_, v) = op { edit.raise(v).map(drop) } else { edit.clear().map(drop) }
    }
    fn read(&self) -> Result<Self::Read, String> {
        Ok(self.get().copied())
    }
    fn expected(view: &View<'_, Judged<Self>>) -> Option<u8> {
        values(view).map(|(_, v, _)| v).max()
    }
    fn writes(op: Op, view: &View<'_, Judged<Self>>, _: usize) -> Writes<Judged<Self>> {
        match op {
            Op::Put(_, v) if Self::expected(view).is_none_or(|max| v > max) => vec![Write::Put(0, Held::Value(v))],
            Op::Clear if !view.is_empty() => vec![Write::Delete(())],
            _ => vec![],
        }
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for MinRegister<u8> {
    type Read = Option<u8>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(_, v) = op { edit.lower(v).map(drop) } else { edit.clear().map(drop) }
    }
    fn read(&self) -> Result<Self::Read, String> {
        Ok(self.get().copied())
    }
    fn expected(view: &View<'_, Judged<Self>>) -> Option<u8> {
        values(view).map(|(_, v, _)| v).min()
    }
    fn writes(op: Op, view: &View<'_, Judged<Self>>, _: usize) -> Writes<Judged<Self>> {
        match op {
            Op::Put(_, v) if Self::expected(view).is_none_or(|min| v < min) => vec![Write::Put(0, Held::Value(v))],
            Op::Clear if !view.is_empty() => vec![Write::Delete(())],
            _ => vec![],
        }
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for EwFlag {
    type Read = bool;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(..) = op { edit.enable() } else { edit.disable().map(drop) }
    }
    fn read(&self) -> Result<bool, String> {
        Ok(self.is_on())
    }
    fn expected(view: &View<'_, Judged<Self>>) -> bool {
        !view.is_empty()
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for DwFlag {
    type Read = bool;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(..) = op { edit.enable() } else { edit.disable() }
    }
    fn read(&self) -> Result<bool, String> {
        Ok(self.is_on())
    }
    fn expected(view: &View<'_, Judged<Self>>) -> bool {
        !view.is_empty() && view.all().all(|w| *w.value != Held::Taken)
    }
    fn writes(op: Op, _: &View<'_, Judged<Self>>, _: usize) -> Writes<Judged<Self>> {
        let held = if let Op::Put(_, v) = op { Held::Value(v) } else { Held::Taken };
        vec![Write::Put(0, held)]
    }
    fn normal(op: Op) -> Op {
        if let Op::Put(_, v) = op { Op::Put(0, v) } else { Op::Take(0) }
    }
}

impl Subject for OrSet<u8> {
    type Read = Vec<u8>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        match op {
            Op::Put(k, _) => edit.insert(k).map(drop),
            Op::Take(k) => edit.remove(&k).map(drop),
            Op::Clear => edit.clear().map(drop),
        }
    }
    fn read(&self) -> Result<Vec<u8>, String> {
        same("every element is contained", self.iter().all(|k| self.contains(k)), true)?;
        same("length", self.len(), self.iter().count())?;
        Ok(self.iter().copied().collect())
    }
    fn expected(view: &View<'_, Judged<Self>>) -> Vec<u8> {
        values(view).map(|(k, _, _)| k).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Subject for RwSet<u8> {
    type Read = Vec<u8>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        match op {
            Op::Put(k, _) => edit.insert(k).map(drop),
            Op::Take(k) => edit.remove(&k).map(drop),
            Op::Clear => edit.clear().map(drop),
        }
    }
    fn read(&self) -> Result<Vec<u8>, String> {
        same("every element is contained", self.iter().all(|k| self.contains(k)), true)?;
        same("length", self.len(), self.iter().count())?;
        Ok(self.iter().copied().collect())
    }
    fn expected(view: &View<'_, Judged<Self>>) -> Vec<u8> {
        let taken: BTreeSet<u8> = view.all().filter(|w| *w.value == Held::Taken).map(|w| *w.cell as u8).collect();
        let added: BTreeSet<u8> = values(view).map(|(k, _, _)| k).collect();
        added.difference(&taken).copied().collect()
    }
    fn writes(op: Op, view: &View<'_, Judged<Self>>, _: usize) -> Writes<Judged<Self>> {
        match op {
            Op::Put(k, v) => vec![Write::Put(k.into(), Held::Value(v))],
            Op::Take(k) => vec![Write::Put(k.into(), Held::Taken)],
            Op::Clear if !view.is_empty() => vec![Write::Delete(())],
            Op::Clear => vec![],
        }
    }
}

impl Subject for OrMap<u8, u8> {
    type Read = BTreeMap<u8, (u8, BTreeSet<u8>)>;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        match op {
            Op::Put(k, v) => edit.insert(k, v).map(drop),
            Op::Take(k) => edit.remove(&k).map(drop),
            Op::Clear => edit.clear().map(drop),
        }
    }
    fn read(&self) -> Result<Self::Read, String> {
        same("every value is found by its key", self.iter().all(|(k, v)| self.get(k) == Some(v)), true)?;
        same("length", self.len(), self.keys().count())?;
        Ok(self.iter().map(|(k, v)| (*k, (*v, self.get_all(k).collect()))).collect())
    }
    fn expected(view: &View<'_, Judged<Self>>) -> Self::Read {
        let mut all: BTreeMap<u8, Vec<(u64, u8)>> = BTreeMap::new();
        values(view).for_each(|(k, v, time)| all.entry(k).or_default().push((time, v)));
        let read = |mut values: Vec<(u64, u8)>| {
            values.sort();
            (values.last().unwrap().1, values.into_iter().map(|(_, v)| v).collect())
        };
        all.into_iter().map(|(k, values)| (k, read(values))).collect()
    }
}

/// The writer's cell holds all that its branch has counted: what stood last of those that it goes on from, which is gone
/// with that unless it is the writer's own, and the amount.
pub(crate) fn counts<T: Subject>(amount: i128, view: &View<'_, Judged<T>>, by: usize) -> Writes<Judged<T>> {
    let before = view.all().filter(|w| w.is_own).last();
    let mut amounts = match before.map(|w| w.value) {
        Some(Held::Counted(amounts)) => amounts.clone(),
        _ => Amounts::new(),
    };
    amounts.insert((by, view.seen_of(by) + 1), amount);
    let taken_over = before.map(|w| *w.cell).filter(|cell| *cell != by);
    [Write::Put(by, Held::Counted(amounts))].into_iter().chain(taken_over.map(Write::Remove)).collect()
}

/// Whatever any cell holds, each amount once.
fn counted<T: Subject>(view: &View<'_, Judged<T>>) -> Amounts {
    let mut all = Amounts::new();
    for held in view.all() {
        if let Held::Counted(amounts) = held.value {
            all.extend(amounts);
        }
    }
    all
}

pub(crate) fn total<T: Subject>(view: &View<'_, Judged<T>>) -> i128 {
    counted(view).values().sum()
}

/// The sum of a counter. It is exact where no branch was opened more than 32 times, and there is a cell for each branch at
/// most.
fn sum(value: i128, range: (i128, i128), state: &State) -> Result<i128, String> {
    same("the range of a sum", range, (value, value))?;
    let (cells, branches) = (state.live_len(), state.version().len());
    if cells > branches {
        return Err(format!("{cells} cells for {branches} branches"));
    }
    Ok(value)
}

impl Subject for GCounter {
    type Read = i128;
    const OWN_CELLS: bool = true;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        if let Op::Put(_, v) = op { edit.add(v.into()) } else { edit.reset().map(drop) }
    }
    fn read(&self) -> Result<i128, String> {
        sum(self.value(), self.range(), self.state())
    }
    fn expected(view: &View<'_, Judged<Self>>) -> i128 {
        total(view)
    }
    fn writes(op: Op, view: &View<'_, Judged<Self>>, by: usize) -> Writes<Judged<Self>> {
        match op {
            Op::Put(_, v) => counts(v.into(), view, by),
            _ if view.is_empty() => vec![],
            _ => vec![Write::Delete(())],
        }
    }
    fn normal(op: Op) -> Op {
        register(op)
    }
}

impl Subject for PnCounter {
    type Read = i128;
    const OWN_CELLS: bool = true;

    fn apply(edit: &mut Edit<'_, Self>, op: Op) -> Result<(), EditError> {
        match op {
            Op::Put(_, v) => edit.add(v.into()),
            Op::Take(k) => edit.subtract(k.into()),
            Op::Clear => edit.reset().map(drop),
        }
    }
    fn read(&self) -> Result<i128, String> {
        sum(self.value(), self.range(), self.state())
    }
    fn expected(view: &View<'_, Judged<Self>>) -> i128 {
        total(view)
    }
    fn writes(op: Op, view: &View<'_, Judged<Self>>, by: usize) -> Writes<Judged<Self>> {
        match op {
            Op::Put(_, v) => counts(v.into(), view, by),
            Op::Take(k) => counts(-i128::from(k), view, by),
            Op::Clear if view.is_empty() => vec![],
            Op::Clear => vec![Write::Delete(())],
        }
    }
}
