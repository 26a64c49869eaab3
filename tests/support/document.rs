//! A model of what a small document means that shares no code with the crate.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};

use driftless::testing::{Model, View, Write, Writes, same};
use driftless::{ConflictKind, Crdt, Document, Edit, EditError, Kind};
use serde_json::{Value as Json, json};

/// Segments of one letter.
pub(crate) type Path = &'static str;

/// What is addressed: two maps with two entries each, and a register.
pub(crate) const PATHS: [Path; 7] = ["a", "ax", "ay", "b", "bx", "by", "c"];

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Set(Path, i64),
    Unset(Path),
    Add(Path, i64),
    Insert(Path, i64),
    Remove(Path, i64),
    Raise(Path, i64),
    Lower(Path, i64),
    Empty(Path),
    Update(Path, i64),
    Clear,
}

/// A path, a kind, and which of its cells: an element, a writer.
pub(crate) type Cell = (Path, Kind, i64);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Value {
    Number(i64),
    /// All that one branch has counted.
    Counted(Amounts),
    Present,
}

/// Amounts, each under the name of the write that added it: the number of the writer, and which of its writes. So an amount
/// that several cells hold is seen to be one.
type Amounts = BTreeMap<(usize, u64), i64>;

pub(crate) enum Small {}

/// What stands, in the terms of a document.
pub(crate) struct Standing<'v, 'w>(&'v View<'w, Small>);

impl Standing<'_, '_> {
    fn cells(&self, path: &str) -> impl Iterator<Item = (Cell, Value, u64)> + '_ {
        let path = path.to_owned();
        self.0.all().map(|w| (*w.cell, w.value.clone(), w.time)).filter(move |((at, _, _), _, _)| *at == path)
    }

    fn below(&self, path: &str) -> BTreeSet<Cell> {
        self.0.all().map(|w| *w.cell).filter(|(at, _, _)| at.len() > path.len() && at.starts_with(path)).collect()
    }

    fn own(&self, path: &str) -> BTreeSet<Cell> {
        self.cells(path).map(|(cell, _, _)| cell).collect()
    }

    fn kinds(&self, path: &str) -> BTreeSet<Kind> {
        let map = (!self.below(path).is_empty()).then_some(Kind::Map);
        self.cells(path).map(|((_, kind, _), _, _)| kind).chain(map).collect()
    }

    fn shown(&self, path: &str) -> Option<Kind> {
        self.kinds(path).into_iter().min()
    }

    /// Whether a path leads through maps alone.
    fn leads(&self, path: &str) -> bool {
        (1..path.len()).all(|len| self.shown(&path[..len]).is_none_or(|kind| kind == Kind::Map))
    }

    fn takes(&self, path: &str, kind: Kind) -> bool {
        self.leads(path) && self.shown(path).is_none_or(|shown| shown == kind)
    }

    fn values(&self, path: &str, kind: Kind) -> BTreeSet<(u64, i64)> {
        let of_kind = self.cells(path).filter(|((_, k, _), _, _)| *k == kind);
        let number = |value| if let Value::Number(number) = value { number } else { 0 };
        of_kind.map(|(_, value, time)| (time, number(value))).collect()
    }

    /// The number of cells of a counter.
    fn counters(&self, path: &str) -> usize {
        self.cells(path).filter(|((_, kind, _), _, _)| *kind == Kind::Counter).count()
    }

    /// The number of amounts that the cells of a counter hold, each as often as there are cells that hold it.
    fn held(&self, path: &str) -> usize {
        self.cells(path).map(|(_, value, _)| if let Value::Counted(held) = value { held.len() } else { 0 }).sum()
    }

    /// All that the cells of a counter hold, each amount once.
    fn amounts(&self, path: &str) -> Amounts {
        let held =
            self.cells(path).map(|(_, value, _)| if let Value::Counted(held) = value { held } else { Amounts::new() });
        held.flatten().collect()
    }

    fn sum(&self, path: &str) -> i64 {
        self.amounts(path).values().sum()
    }

    fn value(&self, path: &str, kind: Kind) -> Option<i64> {
        let values = self.values(path, kind);
        match kind {
            Kind::Register => values.last().map(|(_, value)| *value),
            Kind::Max => values.iter().map(|(_, value)| *value).max(),
            Kind::Min => values.iter().map(|(_, value)| *value).min(),
            Kind::Counter => (self.counters(path) > 0).then(|| self.sum(path)),
            _ => None,
        }
    }

    fn elements(&self, path: &str) -> BTreeSet<i64> {
        self.cells(path).filter(|((_, k, _), _, _)| *k == Kind::Set).map(|((_, _, key), _, _)| key).collect()
    }

    fn json(&self, path: &str) -> Json {
        match self.shown(path) {
            Some(Kind::Map) => self.map(path),
            Some(Kind::Set) => {
                let elements: BTreeSet<String> = self.elements(path).iter().map(i64::to_string).collect();
                json!(elements)
            }
            Some(kind) => json!(self.value(path, kind)),
            None => Json::Null,
        }
    }

    fn map(&self, path: &str) -> Json {
        let depth = path.len();
        let names: BTreeSet<&str> = self.below(path).iter().map(|(at, _, _)| &at[depth..=depth]).collect();
        let entries: BTreeMap<&str, Json> =
            names.into_iter().map(|name| (name, self.json(&format!("{path}{name}")))).collect();
        json!(entries)
    }

    /// The writer's cell with all that its branch has counted: what stood last of those that it goes on from, which is gone
    /// with that unless it is the writer's own, and the amount.
    fn counted(&self, path: Path, by: usize, amount: i64) -> Writes<Small> {
        let of_counter = self.0.all().filter(|w| (w.cell.0, w.cell.1) == (path, Kind::Counter));
        let before = of_counter.filter(|w| w.is_own).last();
        let mut amounts = match before.map(|w| w.value) {
            Some(Value::Counted(amounts)) => amounts.clone(),
            _ => Amounts::new(),
        };
        amounts.insert((by, self.0.seen_of(by) + 1), amount);
        let cell = (path, Kind::Counter, by as i64);
        let taken_over = before.map(|w| *w.cell).filter(|taken| *taken != cell);
        [Write::Put(cell, Value::Counted(amounts))].into_iter().chain(taken_over.map(Write::Remove)).collect()
    }
}

pub(crate) fn removed(cells: BTreeSet<Cell>) -> Writes<Small> {
    cells.into_iter().map(Write::Remove).collect()
}

impl Model for Small {
    type Type = Document;
    type Op = Op;
    type Cell = Cell;
    type Group = ();
    type Value = Value;

    fn group(_: &Cell) {}

    fn apply(d: &mut Edit<'_, Document>, op: &Op) -> Result<(), EditError> {
        match *op {
            Op::Set(p, n) => d.set(pointer(p), n),
            Op::Unset(p) => d.unset(pointer(p)).map(drop),
            Op::Add(p, n) => d.add(pointer(p), n),
            Op::Insert(p, n) => d.insert(pointer(p), &*n.to_string()).map(drop),
            Op::Remove(p, n) => d.remove(pointer(p), &*n.to_string()).map(drop),
            Op::Raise(p, n) => d.raise(pointer(p), n).map(drop),
            Op::Lower(p, n) => d.lower(pointer(p), n).map(drop),
            Op::Empty(p) => d.update(pointer(p), &json!({})).map(drop),
            Op::Update(p, n) => d.update(pointer(p), &n).map(drop),
            Op::Clear => d.clear().map(drop),
        }
    }

    fn writes(op: &Op, view: &View<'_, Self>, by: usize) -> Option<Writes<Self>> {
        let standing = Standing(view);
        let put = |p: Path, kind: Kind, key: i64, value: Value| {
            standing.takes(p, kind).then(|| vec![Write::Put((p, kind, key), value)])
        };
        match *op {
            Op::Set(p, n) => put(p, Kind::Register, 0, Value::Number(n)),
            Op::Unset(p) => Some(removed(standing.own(p).into_iter().chain(standing.below(p)).collect())),
            Op::Add(p, n) => standing.takes(p, Kind::Counter).then(|| standing.counted(p, by, n)),
            Op::Insert(p, n) => put(p, Kind::Set, n, Value::Present),
            Op::Remove(p, n) => {
                Some(removed(standing.own(p).into_iter().filter(|c| *c == (p, Kind::Set, n)).collect()))
            }
            Op::Raise(p, n) => {
                let raises = standing.value(p, Kind::Max).is_none_or(|max| n > max);
                let write = put(p, Kind::Max, 0, Value::Number(n))?;
                Some(if raises { write } else { vec![] })
            }
            Op::Lower(p, n) => {
                let lowers = standing.value(p, Kind::Min).is_none_or(|min| n < min);
                let write = put(p, Kind::Min, 0, Value::Number(n))?;
                Some(if lowers { write } else { vec![] })
            }
            Op::Empty(p) => {
                let mut writes = match standing.shown(p) {
                    _ if !standing.leads(p) => return None,
                    None | Some(Kind::Map) => removed(standing.below(p)),
                    Some(Kind::Register) => removed(standing.own(p)),
                    Some(_) => return None,
                };
                let marker = (p, Kind::Map, 0);
                if !view.holds(&marker) {
                    writes.push(Write::Put(marker, Value::Present));
                }
                Some(writes)
            }
            Op::Update(p, n) => {
                let shown = standing.shown(p);
                let write = |kind| vec![Write::Put((p, kind, 0), Value::Number(n))];
                match shown {
                    _ if !standing.leads(p) => None,
                    None => Some(write(Kind::Register)),
                    Some(Kind::Map) => {
                        // A register under the map is written over.
                        let others = standing.own(p).into_iter().filter(|(_, kind, _)| *kind != Kind::Register);
                        let mut writes = removed(others.chain(standing.below(p)).collect());
                        writes.extend(write(Kind::Register));
                        Some(writes)
                    }
                    Some(Kind::Counter) => {
                        let difference = n - standing.sum(p);
                        Some(if difference != 0 { standing.counted(p, by, difference) } else { vec![] })
                    }
                    Some(Kind::Set) => None,
                    Some(kind) if standing.value(p, kind) == Some(n) => Some(vec![]),
                    Some(kind) => Some(write(kind)),
                }
            }
            Op::Clear => Some(if view.all().next().is_some() { vec![Write::Delete(())] } else { vec![] }),
        }
    }

    fn check(view: &View<'_, Self>, document: &Document) -> Result<(), String> {
        let standing = Standing(view);
        // A write that stands is one live sibling, and nothing else is alive.
        same("live cells", document.state().live_len(), view.all().count())?;
        let properties = document.properties();
        for p in PATHS {
            let at = pointer(p);
            let shown = standing.shown(p);
            same(format!("kind at {at}"), properties.kind(&at), shown)?;
            let value = shown.and_then(|kind| standing.value(p, kind));
            same(format!("what shows at {at}"), properties.get(&at).and_then(|v| v.as_int()), value)?;
            let cells = standing.counters(p);
            let sum = (cells > 0).then(|| i128::from(standing.sum(p)));
            same(format!("sum at {at}"), properties.counter(&at), sum)?;
            same(format!("range at {at}"), properties.counter_range(&at), sum.map(|sum| (sum, sum)))?;
            let branches = document.state().version().len();
            if cells > branches {
                return Err(format!("{cells} cells at {at} for {branches} branches"));
            }
            let mut registers: Vec<_> =
                properties.get_all(&at).map(|(v, s)| (s.stamp.millis(), v.as_int().unwrap_or(i64::MIN))).collect();
            registers.sort_unstable();
            same(format!("registers at {at}"), registers, standing.values(p, Kind::Register).into_iter().collect())?;
            let elements = properties.elements(&at).filter_map(|v| v.as_str()?.parse().ok()).collect();
            same(format!("elements at {at}"), elements, standing.elements(p))?;
        }
        same("JSON", document.to_json(), standing.map(""))?;
        let conflicts = document.conflicts().map(|c| (c.path.to_string(), c.kind)).collect::<Vec<_>>();
        same(
            "conflicts",
            conflicts.into_iter().map(|(p, k)| (p, k == ConflictKind::Kind)).collect(),
            conflicting(&standing),
        )
    }

    fn invariants(document: &Document) -> Result<(), String> {
        document.check_invariants()
    }

    fn kind(op: &Op) -> &'static str {
        match op {
            Op::Set(..) => "set",
            Op::Unset(_) => "unset",
            Op::Add(..) => "add",
            Op::Insert(..) => "insert",
            Op::Remove(..) => "remove",
            Op::Raise(..) => "raise",
            Op::Lower(..) => "lower",
            Op::Empty(_) => "empty",
            Op::Update(..) => "update",
            Op::Clear => "clear",
        }
    }

    fn collide(a: &Cell, b: &Cell) -> bool {
        // Each writer has a cell of its own in a counter.
        a == b || (a.1 == Kind::Counter && (a.0, a.1) == (b.0, b.1))
    }

    fn facets(view: &View<'_, Self>) -> Vec<&'static str> {
        let standing = Standing(view);
        let all = conflicting(&standing);
        let facets = [
            ("concurrent edits", all.iter().any(|(_, kinds)| !kinds)),
            ("several kinds", all.iter().any(|(_, kinds)| *kinds)),
            ("counters", PATHS.iter().any(|p| standing.counters(p) > 1)),
            ("amounts that several cells hold", PATHS.iter().any(|p| standing.held(p) > standing.amounts(p).len())),
        ];
        facets.into_iter().filter(|(_, holds)| *holds).map(|(what, _)| what).collect()
    }
}

/// Paths in conflict, and whether it is about kinds.
pub(crate) fn conflicting(standing: &Standing<'_, '_>) -> BTreeSet<(String, bool)> {
    let values = |p: &str| standing.values(p, Kind::Register).into_iter().map(|(_, v)| v).collect::<BTreeSet<_>>();
    let edits = PATHS.iter().filter(|p| values(p).len() > 1).map(|p| (pointer(p), false));
    let kinds = PATHS.iter().filter(|p| standing.kinds(p).len() > 1).map(|p| (pointer(p), true));
    edits.chain(kinds).collect()
}

pub(crate) fn pointer(path: &str) -> String {
    path.chars().map(|segment| format!("/{segment}")).collect()
}
