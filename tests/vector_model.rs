//! The vectors of a graph, judged by a model that shares no code with the crate.

use std::collections::BTreeSet;

use driftless::testing::{Model, View, Write, Writes, judge, same};
use driftless::{ConflictKind, Edit, EditError, Graph, NodeId, Vector};
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Add(u8),
    Remove(u8),
    Restore(u8),
    /// Node, model, vector, text.
    Embed(u8, u8, u8, Option<u8>),
    Unembed(u8, u8),
}

fn ops() -> impl Strategy<Value = Op> {
    let n = || 0..2u8;
    prop_oneof![
        1 => n().prop_map(Op::Add),
        1 => n().prop_map(Op::Remove),
        1 => n().prop_map(Op::Restore),
        7 => (n(), n(), 0..4u8, prop::option::of(0..2u8)).prop_map(|(n, m, v, t)| Op::Embed(n, m, v, t)),
        1 => (n(), n()).prop_map(|(n, m)| Op::Unembed(n, m)),
    ]
}

/// A node, and the model of one of its vectors or none for its root.
type Cell = (u8, Option<u8>);

pub(crate) enum Small {}

fn name(n: u8) -> String {
    format!("node {n}")
}

fn node(n: u8) -> NodeId {
    NodeId::named(&name(n))
}

/// Two models of one name, of two and three numbers.
fn model(m: u8) -> driftless::Model {
    driftless::Model::new("model", 2 + usize::from(m)).unwrap()
}

fn vector(m: u8, v: u8, text: Option<u8>) -> Vector {
    let numbers = [1.0, f32::from(v), 0.5];
    let vector = Vector::f16(&numbers[..2 + usize::from(m)]).unwrap();
    match text {
        Some(text) => vector.of_text(&text.to_string()),
        None => vector,
    }
}

fn is_there(view: &View<'_, Small>, n: u8) -> bool {
    view.holds(&(n, None))
}

impl Model for Small {
    type Type = Graph;
    type Op = Op;
    type Cell = Cell;
    type Group = u8;
    type Value = (u8, Option<u8>);

    fn group((n, _): &Cell) -> u8 {
        *n
    }

    fn apply(g: &mut Edit<'_, Graph>, op: &Op) -> Result<(), EditError> {
        match *op {
            Op::Add(n) => g.add_node(&name(n)).map(drop),
            Op::Remove(n) => g.remove_node(node(n)).map(drop),
            Op::Restore(n) => g.restore_node(&name(n)).map(drop),
            Op::Embed(n, m, v, text) => g.embed(node(n), &model(m), &vector(m, v, text)),
            Op::Unembed(n, m) => g.unembed(node(n), &model(m)).map(drop),
        }
    }

    fn writes(op: &Op, view: &View<'_, Self>, _: usize) -> Option<Writes<Self>> {
        let root = |n: u8| Write::Put((n, None), (0, None));
        Some(match *op {
            Op::Add(n) | Op::Restore(n) if is_there(view, n) => vec![],
            Op::Add(n) if view.all().any(|w| w.cell.0 == n) => vec![Write::Delete(n), root(n)],
            Op::Add(n) | Op::Restore(n) => vec![root(n)],
            Op::Remove(n) if is_there(view, n) => vec![Write::Delete(n)],
            Op::Remove(_) => vec![],
            Op::Embed(n, ..) | Op::Unembed(n, _) if !is_there(view, n) => return None,
            Op::Embed(n, m, v, text) => vec![Write::Put((n, Some(m)), (v, text))],
            Op::Unembed(n, m) if view.holds(&(n, Some(m))) => vec![Write::Remove((n, Some(m)))],
            Op::Unembed(..) => vec![],
        })
    }

    fn check(view: &View<'_, Self>, graph: &Graph) -> Result<(), String> {
        let read = |n: u8, m: u8| {
            let embeddings = match graph.node(node(n)) {
                Some(node) => node.embeddings(),
                None => graph.hidden_of(node(n))?.embeddings(),
            };
            let all: Vec<_> = embeddings.get_all(&model(m)).map(|(e, s)| (s.stamp.millis(), e.to_vec())).collect();
            Some((embeddings.get(&model(m)).map(|e| e.to_vec()), all))
        };
        let mut conflicts = BTreeSet::new();
        for (n, m) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let cell = (n, Some(m));
            let mut all: Vec<_> = view.of(&cell).map(|w| (w.time, vector(m, w.value.0, None).to_vec())).collect();
            all.sort_by_key(|(time, _)| *time);
            let (shown, mut found) = read(n, m).unwrap_or_default();
            found.sort_by_key(|(time, _)| *time);
            same(format!("vectors of {cell:?}"), found, all.clone())?;
            let latest = view.latest(&cell).map(|w| vector(m, w.value.0, None).to_vec());
            same(format!("what shows of {cell:?}"), shown, latest)?;
            let values: BTreeSet<_> = view.of(&cell).map(|w| *w.value).collect();
            let texts: BTreeSet<_> = values.iter().map(|(_, text)| *text).collect();
            if values.len() > 1 && (texts.len() > 1 || texts.contains(&None)) {
                conflicts.insert((node(n), model(m).dimension()));
            }
        }
        let found = graph.conflicts().filter_map(|conflict| match (conflict.kind, conflict.of) {
            (ConflictKind::Embedding { model }, Some(driftless::Owner::Node(n))) => Some((n, model.dimension())),
            _ => None,
        });
        same("conflicts", found.collect(), conflicts)
    }

    fn invariants(graph: &Graph) -> Result<(), String> {
        graph.check_invariants()
    }

    fn kind(op: &Op) -> &'static str {
        match op {
            Op::Add(_) => "add",
            Op::Remove(_) => "remove",
            Op::Restore(_) => "restore",
            Op::Embed(..) => "embed",
            Op::Unembed(..) => "unembed",
        }
    }

    fn begin() -> Vec<Op> {
        vec![Op::Add(0), Op::Add(1)]
    }
}

#[test]
fn whatever_three_replicas_do_each_reads_what_it_has_seen() {
    let report = judge::<Small>(ops(), 150);
    println!("{report}");
    assert!(report.cases.of("concurrency") > 0.5);
}
