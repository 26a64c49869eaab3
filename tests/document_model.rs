//! Random schedules over a small document, judged by a model of what a document means that shares no code with the crate.

use std::collections::{BTreeMap, BTreeSet};

use driftless::testing::{Model, View, Write, Writes, judge, same};
use driftless::{ConflictKind, Document, Edit, EditError, Kind};
use proptest::prelude::*;
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

fn ops() -> impl Strategy<Value = Op> {
    let path = || prop::sample::select(&PATHS[..]);
    // Each kind has a place that it is at home in, so that not everything is refused.
    let at = |home: Path| prop_oneof![4 => Just(home), 1 => path()];
    let number = || -2i64..3;
    prop_oneof![
        9 => (at("c"), -9i64..9).prop_map(|(p, n)| Op::Set(p, n)),
        3 => path().prop_map(Op::Unset),
        3 => (at("ax"), number()).prop_map(|(p, n)| Op::Add(p, n)),
        3 => (at("ay"), number()).prop_map(|(p, n)| Op::Insert(p, n)),
        3 => (at("ay"), number()).prop_map(|(p, n)| Op::Remove(p, n)),
        3 => (at("bx"), number()).prop_map(|(p, n)| Op::Raise(p, n)),
        3 => (at("by"), number()).prop_map(|(p, n)| Op::Lower(p, n)),
        3 => path().prop_map(Op::Empty),
        4 => (path(), number()).prop_map(|(p, n)| Op::Update(p, n)),
        3 => Just(Op::Clear),
    ]
}

/// A path, a kind, and which of its cells: an element, a replica.
type Cell = (Path, Kind, i64);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Value {
    Number(i64),
    /// Added and taken away.
    Totals(i64, i64),
    Present,
}

impl Value {
    fn number(self) -> i64 {
        match self {
            Self::Number(n) => n,
            Self::Totals(added, taken) => added - taken,
            Self::Present => 1,
        }
    }
}

pub(crate) enum Small {}

/// What stands, in the terms of a document.
struct Standing<'v, 'w>(&'v View<'w, Small>);

impl Standing<'_, '_> {
    fn cells(&self, path: &str) -> impl Iterator<Item = (Cell, Value, u64)> + '_ {
        let path = path.to_owned();
        self.0.all().map(|w| (*w.cell, *w.value, w.time)).filter(move |((at, _, _), _, _)| *at == path)
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
        of_kind.map(|(_, value, time)| (time, value.number())).collect()
    }

    fn sum(&self, path: &str) -> i64 {
        // A cell whose writer wrote twice unseen (which only a clone can) does not come about here.
        self.cells(path).filter(|((_, k, _), _, _)| *k == Kind::Counter).map(|(_, value, _)| value.number()).sum()
    }

    fn value(&self, path: &str, kind: Kind) -> Option<i64> {
        let values = self.values(path, kind);
        match kind {
            Kind::Register => values.last().map(|(_, value)| *value),
            Kind::Max => values.iter().map(|(_, value)| *value).max(),
            Kind::Min => values.iter().map(|(_, value)| *value).min(),
            Kind::Counter => (!values.is_empty()).then(|| self.sum(path)),
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

    /// Our totals with so much added.
    fn counted(&self, path: Path, by: usize, amount: i64) -> Write<Cell, (), Value> {
        let cell = (path, Kind::Counter, by as i64);
        let own = self.0.of(&cell).map(|w| *w.value).max().unwrap_or(Value::Totals(0, 0));
        let Value::Totals(added, taken) = own else { unreachable!("counters hold totals") };
        Write::Put(
            cell,
            if amount < 0 { Value::Totals(added, taken - amount) } else { Value::Totals(added + amount, taken) },
        )
    }
}

fn removed(cells: BTreeSet<Cell>) -> Writes<Small> {
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
            Op::Add(p, n) => standing.takes(p, Kind::Counter).then(|| vec![standing.counted(p, by, n)]),
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
                        Some((difference != 0).then(|| standing.counted(p, by, difference)).into_iter().collect())
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
        let properties = document.properties();
        for p in PATHS {
            let at = pointer(p);
            let shown = standing.shown(p);
            same(format!("kind at {at}"), properties.kind(&at), shown)?;
            let value = shown.and_then(|kind| standing.value(p, kind));
            same(format!("what shows at {at}"), properties.get(&at).and_then(|v| v.as_int()), value)?;
            let counted = standing.values(p, Kind::Counter);
            let sum = (!counted.is_empty()).then(|| i128::from(standing.sum(p)));
            same(format!("sum at {at}"), properties.counter(&at), sum)?;
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

    fn facets(view: &View<'_, Self>) -> Vec<&'static str> {
        let standing = Standing(view);
        let all = conflicting(&standing);
        let facets = [
            ("concurrent edits", all.iter().any(|(_, kinds)| !kinds)),
            ("several kinds", all.iter().any(|(_, kinds)| *kinds)),
            ("counters", PATHS.iter().any(|p| standing.values(p, Kind::Counter).len() > 1)),
        ];
        facets.into_iter().filter(|(_, holds)| *holds).map(|(what, _)| what).collect()
    }
}

/// Paths in conflict, and whether it is about kinds.
fn conflicting(standing: &Standing<'_, '_>) -> BTreeSet<(String, bool)> {
    let values = |p: &str| standing.values(p, Kind::Register).into_iter().map(|(_, v)| v).collect::<BTreeSet<_>>();
    let edits = PATHS.iter().filter(|p| values(p).len() > 1).map(|p| (pointer(p), false));
    let kinds = PATHS.iter().filter(|p| standing.kinds(p).len() > 1).map(|p| (pointer(p), true));
    edits.chain(kinds).collect()
}

fn pointer(path: &str) -> String {
    path.chars().map(|segment| format!("/{segment}")).collect()
}

#[test]
fn whatever_three_replicas_do_each_reads_what_it_has_seen() {
    let report = judge::<Small>(ops(), 150);
    println!("{report}");
    for what in ["concurrency", "concurrent edits", "several kinds"] {
        let share = report.cases.of(what);
        assert!(share > 0.3, "{what} in {share} of the cases");
    }
}
