//! The surroundings of a conflict, for Graphviz.

use std::collections::BTreeSet;

use driftless::{Graph, Owner};

use crate::Outcome;
use crate::catalog::{Catalog, Concept, Relation};
use crate::check::contested;
use crate::words::{shortened, time};

/// More neighbours than this are not drawn.
const NEIGHBORS: usize = 14;
const WIDTH: usize = 46;

/// What is drawn: a concept and the relations at it, dangling ones too.
struct Surroundings {
    center: Concept,
    relations: Vec<Relation>,
    concepts: BTreeSet<Concept>,
}

/// The surroundings of the conflict with the most of all that there is to see; `None` if no concept has a conflict.
pub(crate) fn dot(outcome: &Outcome) -> Option<String> {
    let surroundings = most_to_see(outcome)?;
    let (graph, catalog) = (outcome.mesh.graph(0), &outcome.mesh.catalog);
    let mut lines = vec![
        "digraph conflict {".to_owned(),
        "  rankdir=LR; nodesep=0.3; ranksep=1.2;".to_owned(),
        "  node [shape=box, style=rounded, fontname=\"Helvetica\", fontsize=11];".to_owned(),
        "  edge [fontname=\"Helvetica\", fontsize=9];".to_owned(),
    ];
    for concept in &surroundings.concepts {
        let id = catalog.node_id(*concept);
        let style = match (graph.contains_node(id), hides(graph, catalog, *concept)) {
            (true, _) if *concept == surroundings.center => ", penwidth=2, color=firebrick",
            (true, _) => "",
            (false, true) => ", style=\"rounded,filled\", fillcolor=gray85, color=gray50, fontcolor=gray35",
            (false, false) => ", style=\"rounded,dashed\", color=gray60, fontcolor=gray50",
        };
        lines.push(format!("  {} [label={}{style}];", key(catalog, *concept), label(outcome, *concept)));
    }
    for Relation { from, kind, to } in &surroundings.relations {
        let dangles = [from, to].iter().any(|end| !graph.contains_node(catalog.node_id(**end)));
        let style = if dangles { ", style=dashed, color=gray50" } else { "" };
        let (from, to) = (key(catalog, *from), key(catalog, *to));
        lines.push(format!("  {from} -> {to} [label={}{style}];", quoted(kind)));
    }
    lines.push("}\n".to_owned());
    Some(lines.join("\n"))
}

fn most_to_see(outcome: &Outcome) -> Option<Surroundings> {
    let (graph, catalog) = (outcome.mesh.graph(0), &outcome.mesh.catalog);
    let of_concepts = contested(graph).filter_map(|(of, _)| match of {
        Owner::Node(id) if graph.contains_node(id) => catalog.find(id),
        _ => None,
    });
    let centers: BTreeSet<Concept> = of_concepts.collect();
    let dangling: Vec<Relation> = graph.dangling().filter_map(|edge| catalog.stated(&edge)).collect();
    let surroundings = centers.into_iter().map(|center| surroundings(graph, catalog, center, &dangling));
    surroundings.max_by_key(|around| {
        let missing = around.concepts.iter().filter(|c| !graph.contains_node(catalog.node_id(**c)));
        let hidden = missing.clone().filter(|concept| hides(graph, catalog, **concept)).count();
        (hidden.min(2), missing.count().min(2), around.relations.len().min(NEIGHBORS))
    })
}

fn surroundings(graph: &Graph, catalog: &Catalog, center: Concept, dangling: &[Relation]) -> Surroundings {
    let id = catalog.node_id(center);
    let loose = dangling.iter().filter(|r| r.from == center || r.to == center).cloned();
    let whole = graph.outgoing(id).chain(graph.incoming(id)).filter_map(|edge| catalog.stated(&edge));
    let relations: BTreeSet<Relation> = loose.chain(whole).take(NEIGHBORS).collect();
    let ends = relations.iter().flat_map(|relation| [relation.from, relation.to]);
    let concepts = ends.chain([center]).collect();
    Surroundings { center, relations: relations.into_iter().collect(), concepts }
}

/// Whether a concept that is not there holds something.
fn hides(graph: &Graph, catalog: &Catalog, concept: Concept) -> bool {
    let id = catalog.node_id(concept);
    !graph.contains_node(id) && graph.hidden().any(|hidden| hidden.owner() == Owner::Node(id))
}

/// The word, and under it every value of every contested property.
fn label(outcome: &Outcome, concept: Concept) -> String {
    let (graph, catalog) = (outcome.mesh.graph(0), &outcome.mesh.catalog);
    let owner = Owner::Node(catalog.node_id(concept));
    let mut lines = vec![catalog.word(concept).to_owned()];
    if hides(graph, catalog, concept) {
        lines.push("(deleted, something hidden)".to_owned());
    } else if !outcome.is_there(owner) {
        lines.push("(not there)".to_owned());
    }
    for (_, conflict) in contested(graph).filter(|(of, _)| *of == owner) {
        lines.push(format!("{}:", conflict.path));
        for (i, candidate) in conflict.candidates.iter().enumerate() {
            let (mark, who) = (if i == 0 { "shows" } else { "and" }, outcome.mesh.name_of(candidate.replica()));
            let value = shortened(&candidate.content.to_string(), WIDTH);
            lines.push(format!("  {mark} {value}, {who} {}", time(candidate.stamp.millis())));
        }
    }
    match lines.len() {
        1 => quoted(&lines[0]),
        // Each line to the left.
        _ => quoted(&lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
    }
}

fn key(catalog: &Catalog, concept: Concept) -> String {
    quoted(catalog.name(concept))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\l"))
}
