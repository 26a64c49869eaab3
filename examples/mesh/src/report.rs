//! What happened, for a person to read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use driftless::{Conflict, Hidden, Owner};

use crate::Outcome;
use crate::catalog::{Concept, Relation, Thing};
use crate::check::{contested, missing_ends};
use crate::editor::Kind;
use crate::exchange::Exchange;
use crate::mesh::{NAMES, PEERS};
use crate::op::Op;
use crate::story::{Done, Pruned};
use crate::words::{Table, count, milliseconds, plural, shortened, size, time};

/// How many of each are shown in full.
const CONFLICTS: usize = 5;
const HIDDEN: usize = 3;
const DANGLING: usize = 3;
const STORY: usize = 8;
/// Texts are cut to this many characters.
const WIDTH: usize = 64;
/// And lines that tell of several things to this many.
const LINE: usize = 112;

/// The whole report.
pub(crate) fn text(outcome: &Outcome) -> String {
    let sections = [
        outcome.import(),
        outcome.edits(),
        outcome.one_concept(),
        outcome.healing(),
        outcome.conflicts(),
        outcome.hidden(),
        outcome.dangling(),
        outcome.result(),
    ];
    sections
        .iter()
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join("\n") + "\n")
        .collect::<Vec<_>>()
        .join("\n")
}

impl Outcome {
    fn import(&self) -> Vec<String> {
        let Self { imported, file, .. } = self;
        let mut lines = vec![
            format!("{}: {}, {} lines, seed {}", file.name, size(file.bytes), count(file.lines as u64), self.seed),
            format!(
                "  laptop imports {} and {}: {} writes in {}, {}",
                plural(imported.concepts, "concept", "concepts"),
                plural(imported.relations, "relation", "relations"),
                count(self.imported_writes),
                plural(imported.transactions, "transaction", "transactions"),
                milliseconds(imported.took),
            ),
            "  The others get them as bytes:".to_owned(),
        ];
        lines.extend(exchange_table(&self.story.brought_up, &[]));
        lines
    }

    fn edits(&self) -> Vec<String> {
        let done = &self.story.done;
        let apart = done.iter().filter(|done| done.apart).count();
        let title =
            format!("{} edits: {apart} while cut apart, {} later on a bad line", done.len(), done.len() - apart);
        let headings = ["kind", ">laptop", ">phone", ">server", "  kind", ">laptop", ">phone", ">server"];
        let mut table = Table::new(&headings);
        let (left, right) = Kind::ALL.split_at(Kind::ALL.len() / 2);
        for ((left, _, _), (right, _, _)) in left.iter().zip(right) {
            let half = |kind: Kind, indent: &str| {
                let counts = (0..PEERS).map(move |who| self.count_of(kind, who).to_string());
                std::iter::once(format!("{indent}{}", kind.name())).chain(counts)
            };
            table.row(half(*left, "").chain(half(*right, "  ")));
        }
        std::iter::once(title).chain(table.lines()).collect()
    }

    pub(crate) fn count_of(&self, kind: Kind, who: usize) -> usize {
        let of_peer = |done: &&Done| done.kind == kind && self.mesh.log[done.record].who == who;
        self.story.done.iter().filter(of_peer).count()
    }

    /// The concept that most collided over, and what became of it.
    fn one_concept(&self) -> Vec<String> {
        let mut edits: BTreeMap<Concept, Vec<&Done>> = BTreeMap::new();
        for done in self.story.done.iter().filter(|done| done.apart) {
            let ops = &self.mesh.log[done.record].ops;
            let concepts: BTreeSet<Concept> = ops.iter().flat_map(Op::concepts).collect();
            concepts.into_iter().for_each(|concept| edits.entry(concept).or_default().push(done));
        }
        let variety = |done: &[&Done]| {
            let peers: BTreeSet<usize> = done.iter().map(|done| self.mesh.log[done.record].who).collect();
            let kinds: BTreeSet<Kind> = done.iter().map(|done| done.kind).collect();
            let deleted = kinds.contains(&Kind::Delete) || kinds.contains(&Kind::DeleteAll);
            // All of it shall fit.
            (peers.len(), deleted && done.len() <= STORY, deleted, kinds.len())
        };
        let Some((concept, mut done)) = edits.into_iter().max_by_key(|(_, done)| variety(done)) else {
            return Vec::new();
        };
        done.sort_by_key(|done| (self.mesh.log[done.record].at, self.mesh.log[done.record].who));
        let word = self.mesh.catalog.word(concept);
        let mut lines = vec![format!("What befell \"{word}\" while nobody heard of anybody")];
        lines.extend(done.iter().take(STORY).map(|done| self.edit_in_words(done)));
        if done.len() > STORY {
            lines.push(format!("  and {}", plural(done.len() - STORY, "more edit", "more edits")));
        }
        lines.push(format!("  In the end it {}", self.fate(concept)));
        lines
    }

    fn edit_in_words(&self, done: &Done) -> String {
        let (record, catalog) = (&self.mesh.log[done.record], &self.mesh.catalog);
        // An edit of several steps begins with what it is about; a coined concept ends with what it is like.
        let first = record.ops.first().map(|op| op.describe(catalog)).unwrap_or_default();
        let words = match (done.kind, record.ops.last()) {
            (Kind::Coin, Some(last)) => format!("{first}, with its gloss, and {}", last.describe(catalog)),
            _ => first,
        };
        shortened(&format!("  {}  {:<6}  {words}", time(record.at), NAMES[record.who]), LINE)
    }

    fn fate(&self, concept: Concept) -> String {
        let graph = self.mesh.graph(0);
        let id = self.mesh.catalog.node_id(concept);
        let Some(node) = graph.node(id) else {
            let hidden = graph.hidden().any(|hidden| hidden.owner() == Owner::Node(id));
            return if hidden { "is deleted, with something hidden to restore" } else { "is deleted" }.to_owned();
        };
        let properties = node.properties();
        let contested = properties.iter().filter(|(path, _)| {
            let mut values = properties.get_all(path).map(|(value, _)| value);
            values.next().is_some_and(|first| values.any(|other| other != first))
        });
        let labels: Vec<&str> = node.labels().collect();
        let relations = graph.outgoing(id).count() + graph.incoming(id).count();
        format!(
            "is there: {}; {}, {} contested; {}",
            if labels.is_empty() { "no label".to_owned() } else { format!("labelled {}", labels.join(", ")) },
            plural(properties.iter().count(), "property", "properties"),
            match contested.count() {
                0 => "none".to_owned(),
                n => n.to_string(),
            },
            plural(relations, "relation", "relations"),
        )
    }

    fn healing(&self) -> Vec<String> {
        let mut lines = vec!["Healing, all as bytes".to_owned()];
        lines.extend(exchange_table(&self.story.healing, &self.story.pruned));
        lines
    }

    fn conflicts(&self) -> Vec<String> {
        let graph = self.mesh.graph(0);
        let mut all: Vec<(Owner, Conflict<'_>)> = contested(graph).collect();
        all.sort_by_key(|(_, conflict)| std::cmp::Reverse(conflict.candidates.len()));
        let mut lines =
            vec![format!("Conflicts: {} more than one value", plural(all.len(), "property has", "properties have"))];
        for (of, conflict) in all.iter().take(CONFLICTS) {
            let hidden = if self.is_there(*of) { "" } else { " (deleted, so hidden)" };
            lines.push(format!("  {} of {}{hidden}", conflict.path, self.words_for(*of)));
            for (i, candidate) in conflict.candidates.iter().enumerate() {
                let (shows, who) = (if i == 0 { "shows" } else { "  and" }, self.mesh.name_of(candidate.replica()));
                let value = shortened(&candidate.content.to_string(), WIDTH);
                lines.push(format!("    {shows} {value:<WIDTH$}  {who:<6}  {}", time(candidate.stamp.millis())));
            }
        }
        if all.len() > CONFLICTS {
            lines.push(format!("  and {}", plural(all.len() - CONFLICTS, "more", "more")));
        }
        lines
    }

    pub(crate) fn is_there(&self, owner: Owner) -> bool {
        match owner {
            Owner::Node(id) => self.mesh.graph(0).contains_node(id),
            Owner::Edge(id) => self.mesh.graph(0).contains_edge(id),
        }
    }

    pub(crate) fn words_for(&self, owner: Owner) -> String {
        let thing = self.mesh.catalog.find_thing(owner);
        thing.map_or_else(|| owner.to_string(), |thing| self.mesh.catalog.describe(&thing))
    }

    fn hidden(&self) -> Vec<String> {
        let graph = self.mesh.graph(0);
        let is_node = |hidden: &Hidden<'_>| matches!(hidden.owner(), Owner::Node(_));
        let concepts = graph.hidden().filter(is_node).count();
        let relations = graph.hidden().count() - concepts;
        let title = format!(
            "Hidden: {} and {} hold what their deleter had not seen",
            plural(concepts, "deleted concept", "deleted concepts"),
            plural(relations, "deleted relation", "deleted relations"),
        );
        let nodes = graph.hidden().filter(is_node).take(HIDDEN - 1);
        let edges = graph.hidden().filter(|hidden| !is_node(hidden)).take(1);
        let examples = nodes.chain(edges).map(|hidden| self.hidden_in_words(&hidden));
        std::iter::once(title).chain(examples).collect()
    }

    fn hidden_in_words(&self, hidden: &Hidden<'_>) -> String {
        let properties = hidden.properties();
        let values = properties.iter().map(|(path, value)| {
            let pointer = path.to_string();
            let writers: BTreeSet<_> = properties.get_all(&pointer).map(|(_, s)| s.dot.writer).collect();
            let writers: Vec<_> = writers.into_iter().map(|id| self.mesh.name_of(id)).collect();
            format!("{path} {} by {}", shortened(&value.to_string(), 36), writers.join(" and "))
        });
        let mut all = values.chain(hidden.labels().map(|label| format!("label {label}")));
        let first = all.next().unwrap_or_default();
        let more = match all.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let of = self.words_for(hidden.owner());
        shortened(&format!("  {of}{}: {first}{more}", self.deleted_by(hidden.owner())), LINE)
    }

    /// Who deleted it last, by the list of edits: the replicas have forgotten.
    fn deleted_by(&self, owner: Owner) -> String {
        let thing = self.mesh.catalog.find_thing(owner);
        let deletes = |op: &Op| match (op, &thing) {
            (Op::Remove(c) | Op::RemoveWithRelations(c), Some(Thing::Concept(concept))) => c == concept,
            (Op::RemoveWithRelations(c), Some(Thing::Relation(r))) => *c == r.from || *c == r.to,
            (Op::Unlink(r), Some(Thing::Relation(relation))) => r == relation,
            _ => false,
        };
        let record = self.mesh.log.iter().rfind(|record| record.ops.iter().any(deletes));
        record.map_or_else(String::new, |record| format!(", deleted by {}", NAMES[record.who]))
    }

    fn dangling(&self) -> Vec<String> {
        let (graph, catalog) = (self.mesh.graph(0), &self.mesh.catalog);
        let title =
            format!("Dangling: {} an end", plural(graph.dangling().count(), "relation lacks", "relations lack"));
        let relations = graph.dangling().filter_map(|edge| catalog.stated(&edge)).take(DANGLING);
        let words = |relation: Relation| {
            let missing = missing_ends(graph, catalog, &relation).into_iter().map(|end| {
                let by = self.deleted_by(catalog.node_id(end).into());
                format!("\"{}\" is not there{by}", catalog.word(end))
            });
            let missing = missing.collect::<Vec<_>>().join("; ");
            shortened(&format!("  {}: {missing}", catalog.describe(&Thing::Relation(relation))), LINE)
        };
        std::iter::once(title).chain(relations.map(words)).collect()
    }

    fn result(&self) -> Vec<String> {
        let [laptop, phone, server] = [0, 1, 2].map(|who| self.mesh.fingerprint(who));
        let same = |holds: bool| if holds { "equal" } else { "DIFFERENT" };
        let version = self.model_version.map(count);
        let fingerprints = if self.verdict.fingerprints { laptop } else { [laptop, phone, server].join(" / ") };
        let writes: Vec<String> = NAMES.iter().zip(version).map(|(name, n)| format!("{n} of {name}")).collect();
        let totals = &self.totals;
        let mut lines = vec![
            "Result: laptop, phone and server".to_owned(),
            format!("  state        {}", same(self.verdict.states)),
            format!("  version      {}: {}", same(self.verdict.versions), writes.join(", ")),
            format!("  fingerprint  {}: {fingerprints}", same(self.verdict.fingerprints)),
            format!(
                "  recomputed   from the list of {} edits, by definition: {}",
                count(self.mesh.log.len() as u64),
                milliseconds(self.replayed),
            ),
            format!(
                "               {}, {}, {} dangling, {} hidden, {} conflicts",
                plural(totals.concepts, "concept", "concepts"),
                plural(totals.relations, "relation", "relations"),
                totals.dangling,
                totals.hidden,
                totals.conflicts,
            ),
        ];
        lines.push(match self.differences.len() {
            0 => format!("  compared     all three with it, value by value: equal, {}", milliseconds(self.compared)),
            n => format!("  compared     {}, see above", plural(n, "DIFFERENCE", "DIFFERENCES")),
        });
        lines
    }
}

/// One line for each exchange, and between them what was pruned.
fn exchange_table(exchanges: &[Exchange], pruned: &[Pruned]) -> Vec<String> {
    let headings = ["", "from", "to", ">sent", ">lost", ">early", ">stale", ">pulls", ">bytes", ">send", ">apply"];
    let mut table = Table::new(&headings);
    for exchange in exchanges {
        let number = |n: usize| if n == 0 { "-".to_owned() } else { count(n as u64) };
        let Exchange { step, from, to, messages, lost, early, stale, pulled, bytes, .. } = exchange;
        let numbers = [messages, lost, early, stale, pulled].map(|n| number(*n));
        let words = [step.clone(), (*from).to_owned(), (*to).to_owned()];
        let cost = |took: Duration| if took.is_zero() { "-".to_owned() } else { milliseconds(took) };
        let costs = [size(*bytes), cost(exchange.send), cost(exchange.apply)];
        table.row(words.into_iter().chain(numbers).chain(costs));
    }
    let mut lines = table.lines();
    // From the last, so that the places before stay right; the first line is the headings.
    let reconciled = exchanges.iter().enumerate().filter(|(_, exchange)| exchange.reconciled > 0);
    let mut notes: Vec<(usize, String)> = pruned.iter().map(note_of_pruning).collect();
    notes.extend(reconciled.map(|(i, exchange)| (i + 1, note_of_reconciling(exchange))));
    notes.sort();
    for (after, note) in notes.into_iter().rev() {
        lines.insert(after + 1, note);
    }
    lines
}

fn note_of_pruning(pruned: &Pruned) -> (usize, String) {
    let Pruned { peer, tombstones, after, seen_by_all } = pruned;
    let why = if *seen_by_all { "that all have seen" } else { "that others have not seen" };
    (*after, format!("    {peer} forgets {} {why}", plural(*tombstones, "tombstone", "tombstones")))
}

fn note_of_reconciling(exchange: &Exchange) -> String {
    let pulls = plural(exchange.reconciled, "pull was", "pulls were");
    format!("    {pulls} refused, since tombstones are pruned, and reconciled instead")
}
