//! Compares what a replica reads with what must be there by definition.

use std::collections::BTreeSet;

use driftless::{Conflict, ConflictKind, Dot, Edge, Graph, Node, Owner, Properties, Stamp, Value};
use serde::Serialize;

use crate::catalog::{Catalog, Concept, Relation, Thing};
use crate::model::{Candidate, Entry, Model};

/// How much there is of what.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Totals {
    pub(crate) concepts: usize,
    /// Those with both ends.
    pub(crate) relations: usize,
    pub(crate) dangling: usize,
    pub(crate) hidden: usize,
    pub(crate) conflicts: usize,
}

impl Totals {
    /// What the definition says.
    pub(crate) fn of_model(model: &Model) -> Self {
        let mut totals = Self::default();
        for thing in model.things() {
            let entry = model.entry(thing);
            totals.hidden += usize::from(entry.is_hidden());
            totals.conflicts += entry.conflicts().count();
            match thing {
                _ if !entry.present => {}
                Thing::Concept(_) => totals.concepts += 1,
                Thing::Relation(relation) if model.is_dangling(relation) => totals.dangling += 1,
                Thing::Relation(_) => totals.relations += 1,
            }
        }
        totals
    }
}

/// Everything in which a graph differs from the definition.
pub(crate) fn differences(graph: &Graph, model: &Model, catalog: &Catalog, expected: &Totals) -> Vec<String> {
    let mut check = Check { model, catalog, found: Vec::new() };
    let mut totals = Totals::default();
    for node in graph.nodes() {
        totals.concepts += 1;
        check.node(&node);
    }
    for edge in graph.edges() {
        totals.relations += 1;
        check.edge(&edge, false);
    }
    for edge in graph.dangling() {
        totals.dangling += 1;
        check.edge(&edge, true);
    }
    for hidden in graph.hidden() {
        totals.hidden += 1;
        check.hidden(hidden.owner(), hidden.labels().collect(), &hidden.properties());
    }
    for (of, conflict) in contested(graph) {
        totals.conflicts += 1;
        check.conflict(of, &conflict);
    }
    // All that the graph has is right; if it has as much of each as there must be, nothing is missing either.
    check.expect(totals == *expected, || format!("there are {totals:?}, and must be {expected:?}"));
    let (nodes, edges) = (graph.node_count(), graph.edge_count());
    check.expect(nodes == totals.concepts, || format!("the graph counts {nodes} nodes"));
    check.expect(edges == totals.relations + totals.dangling, || format!("the graph counts {edges} edges"));
    check.found
}

struct Check<'a> {
    model: &'a Model,
    catalog: &'a Catalog,
    found: Vec<String>,
}

impl Check<'_> {
    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.found.push(otherwise());
        }
    }

    fn expect_of(&mut self, thing: &Thing, holds: bool, otherwise: impl FnOnce() -> String) {
        let catalog = self.catalog;
        self.expect(holds, || format!("{}: {}", catalog.describe(thing), otherwise()));
    }

    /// What must be there of a thing; `None`, and a difference, if nobody ever wrote to it.
    fn entry(&mut self, owner: Owner) -> Option<(Thing, Entry)> {
        let thing = self.catalog.find_thing(owner);
        self.expect(thing.is_some(), || format!("{owner} is nobody's"));
        thing.map(|thing| (thing.clone(), self.model.entry(&thing)))
    }

    fn node(&mut self, node: &Node<'_>) {
        let Some((thing, entry)) = self.entry(node.id().into()) else { return };
        let name = self.catalog.find(node.id()).map(|concept| &**self.catalog.name(concept));
        self.expect_of(&thing, node.name() == name, || format!("has the name {:?}, not {name:?}", node.name()));
        self.expect_of(&thing, entry.present, || "is there, and must not be".to_owned());
        self.labels(&thing, &entry, node.labels().collect());
        self.properties(&thing, &entry, &node.properties());
    }

    fn edge(&mut self, edge: &Edge<'_>, dangling: bool) {
        let Some((thing, entry)) = self.entry(edge.id().into()) else { return };
        let stated = self.catalog.stated(edge).map(Thing::Relation);
        self.expect_of(&thing, stated.as_ref() == Some(&thing), || format!("reads as {stated:?}"));
        self.expect_of(&thing, entry.present, || "is there, and must not be".to_owned());
        let dangles = matches!(&thing, Thing::Relation(relation) if self.model.is_dangling(relation));
        self.expect_of(&thing, dangles == dangling, || format!("dangles: {dangling}, and must be: {dangles}"));
        self.properties(&thing, &entry, &edge.properties());
    }

    fn hidden(&mut self, owner: Owner, labels: Vec<&str>, properties: &Properties<'_>) {
        let Some((thing, entry)) = self.entry(owner) else { return };
        self.expect_of(&thing, entry.is_hidden(), || "is hidden, and must not be".to_owned());
        self.labels(&thing, &entry, labels);
        self.properties(&thing, &entry, properties);
    }

    fn labels(&mut self, thing: &Thing, entry: &Entry, found: Vec<&str>) {
        let expected: Vec<&str> = entry.labels.iter().map(|label| &**label).collect();
        self.expect_of(thing, found == expected, || format!("has the labels {found:?}, and must have {expected:?}"));
    }

    fn properties(&mut self, thing: &Thing, entry: &Entry, properties: &Properties<'_>) {
        let mut paths = 0;
        for (path, shown) in properties.iter() {
            let path = path.to_string();
            let expected = entry.values.get(&*path).map(Vec::as_slice).unwrap_or_default();
            let shows = expected.first().map(|candidate| candidate.value.value());
            self.expect_of(thing, shows == Some(shown), || format!("{path} shows {shown}, and must show {shows:?}"));
            let found = properties.get_all(&path).map(|(value, sibling)| Found {
                value,
                stamp: sibling.stamp,
                dot: sibling.dot,
            });
            // They come in the order of their dots.
            let mut found: Vec<Found<'_>> = found.collect();
            found.sort_unstable_by_key(|found| std::cmp::Reverse((found.stamp, found.dot)));
            self.values(thing, &path, &found, expected);
            paths += 1;
        }
        let expected = entry.values.len();
        self.expect_of(thing, paths == expected, || format!("has {paths} properties, and must have {expected}"));
    }

    fn conflict(&mut self, of: Owner, conflict: &Conflict<'_>) {
        let Some((thing, entry)) = self.entry(of) else { return };
        let path = conflict.path.to_string();
        let expected = entry.conflicts().find(|(at, _)| ***at == *path).map(|(_, values)| values).unwrap_or_default();
        let found = conflict.candidates.iter();
        let found = found.filter_map(|c| Some(Found { value: c.value()?, stamp: c.stamp, dot: c.dot }));
        self.values(&thing, &path, &found.collect::<Vec<_>>(), expected);
    }

    /// All concurrent values at a path, the one that shows first, each with who wrote it and when.
    fn values(&mut self, thing: &Thing, path: &str, found: &[Found<'_>], expected: &[Candidate]) {
        let same = found.len() == expected.len() && found.iter().zip(expected).all(|(found, one)| found.is(one));
        self.expect_of(thing, same, || {
            let found: Vec<String> = found.iter().map(|f| format!("{} ({}, {:?})", f.value, f.dot, f.stamp)).collect();
            format!("{path} holds {}; must hold {expected:?}", found.join(", "))
        });
    }
}

/// A value as a replica holds it.
struct Found<'a> {
    value: Value<'a>,
    stamp: Stamp,
    dot: Dot,
}

impl Found<'_> {
    fn is(&self, expected: &Candidate) -> bool {
        // One edit in a millisecond, so no stamp needs its counter.
        self.stamp == Stamp::new(expected.at, 0)
            && Some(self.dot.writer) == expected.writer
            && self.dot.counter == expected.number
            && self.value == expected.value.value()
    }
}

/// The properties that were set to different values, and whose they are.
pub(crate) fn contested(graph: &Graph) -> impl Iterator<Item = (Owner, Conflict<'_>)> {
    let edits = graph.conflicts().filter(|conflict| conflict.kind == ConflictKind::ConcurrentEdit);
    edits.filter_map(|conflict| Some((conflict.of?, conflict)))
}

/// The deleted ends of a dangling relation.
pub(crate) fn missing_ends(graph: &Graph, catalog: &Catalog, relation: &Relation) -> Vec<Concept> {
    let ends = BTreeSet::from([relation.from, relation.to]);
    ends.into_iter().filter(|end| !graph.contains_node(catalog.node_id(*end))).collect()
}
