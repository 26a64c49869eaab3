//! Somebody at work: picks edits that a person might make, mostly on a few concepts, so that edits collide.

use driftless::{Direction, Graph, Owner};

use crate::catalog::{Catalog, Concept, Relation, Text, Thing};
use crate::check::contested;
use crate::mesh::{Mesh, PEERS};
use crate::op::{Op, Scalar};
use crate::random::Random;

/// What sort of edit it is, in the words of the report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Reword,
    Review,
    AddLemma,
    DropLemma,
    Label,
    Unlabel,
    Relate,
    Unrelate,
    Relink,
    Weigh,
    Delete,
    DeleteAll,
    AddAgain,
    Restore,
    Coin,
    Settle,
}

impl Kind {
    /// Every kind, in order: how often it comes, and its name.
    pub(crate) const ALL: [(Self, usize, &str); 16] = [
        (Self::Reword, 20, "gloss reworded"),
        (Self::Review, 10, "status set"),
        (Self::AddLemma, 7, "lemma added"),
        (Self::DropLemma, 4, "lemma dropped"),
        (Self::Label, 8, "label put on"),
        (Self::Unlabel, 5, "label taken off"),
        (Self::Relate, 12, "relation added"),
        (Self::Unrelate, 6, "relation removed"),
        (Self::Relink, 3, "relation restored"),
        (Self::Weigh, 8, "relation weighed"),
        (Self::Delete, 5, "concept deleted"),
        (Self::DeleteAll, 2, "concept deleted with its relations"),
        (Self::AddAgain, 1, "concept added anew"),
        (Self::Restore, 1, "concept restored"),
        (Self::Coin, 3, "concept coined"),
        (Self::Settle, 4, "conflict settled"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize].2
    }
}

const NOTES: [&str; 10] = [
    "as seen in the field",
    "by the latest survey",
    "in the words of a child",
    "needs a source",
    "not to be confused with its kin",
    "rarely seen by day",
    "after the museum's label",
    "wording of the second edition",
    "often kept as a pet",
    "known from fossils as well",
];
const STATES: [&str; 3] = ["draft", "reviewed", "disputed"];
const ADJECTIVES: [&str; 5] = ["common", "true", "wild", "lesser", "old-world"];
const LABELS: [&str; 5] = ["Noun", "Pet", "Wild", "Endangered", "Checked"];
const RELATIONS: [&str; 3] = ["resembles", "eats", "see_also"];
const BEASTS: [&str; 12] = [
    "griffin",
    "basilisk",
    "kraken",
    "phoenix",
    "unicorn",
    "manticore",
    "chimera",
    "wyvern",
    "jackalope",
    "hippogriff",
    "cockatrice",
    "sea serpent",
];

/// How many concepts nearly everybody works on.
const POOL: usize = 60;
/// Percentage of the edits that are made to them.
const HOT: usize = 80;
/// Of a concept's relations, so many are worked on.
const RELATIONS_IN_REACH: usize = 4;
/// Nobody deletes a concept with more neighbours in passing.
const MANY_NEIGHBORS: usize = 12;

pub(crate) struct Editor {
    random: Random,
    pool: Vec<Concept>,
    all: Vec<Concept>,
    /// What each has removed, to be restored some day.
    removed: [Vec<Relation>; PEERS],
}

impl Editor {
    /// The pool is a neighbourhood: edits to it meet at its relations, too.
    pub(crate) fn new(mut random: Random, mesh: &Mesh, reader: usize) -> Self {
        let (graph, catalog) = (mesh.graph(reader), &mesh.catalog);
        let all: Vec<Concept> = catalog.concepts().filter(|c| graph.contains_node(catalog.node_id(*c))).collect();
        let start = random.pick(&all).map(|concept| catalog.node_id(concept));
        let walk = start.into_iter().flat_map(|start| graph.walk(start).direction(Direction::Both));
        let mut pool: Vec<Concept> = walk.filter_map(|step| catalog.find(step.node)).take(POOL).collect();
        while pool.len() < POOL.min(all.len()) {
            pool.extend(random.pick(&all).filter(|concept| !pool.contains(concept)));
        }
        Self { random, pool, all, removed: Default::default() }
    }

    /// The next edit of one peer, who sees `graph`.
    pub(crate) fn next(&mut self, who: usize, graph: &Graph, catalog: &mut Catalog) -> (Kind, Vec<Op>) {
        let total = Kind::ALL.iter().map(|(_, weight, _)| weight).sum();
        for _ in 0..100 {
            let mut place = self.random.below(total);
            let kind = Kind::ALL.iter().find(|(_, weight, _)| match place.checked_sub(*weight) {
                Some(rest) => {
                    place = rest;
                    false
                }
                None => true,
            });
            let Some((kind, _, _)) = kind else { continue };
            if let Some(ops) = self.propose(*kind, who, graph, catalog) {
                return (*kind, ops);
            }
        }
        // Always possible.
        (Kind::Coin, self.coin(catalog))
    }

    /// An edit of this kind, unless what was picked does not allow it.
    fn propose(&mut self, kind: Kind, who: usize, graph: &Graph, catalog: &mut Catalog) -> Option<Vec<Op>> {
        let seen = &mut Seen { graph, catalog };
        Some(match kind {
            Kind::Reword => vec![self.reword(seen)?],
            Kind::Review => vec![self.review(seen)?],
            Kind::AddLemma => vec![self.add_lemma(seen)?],
            Kind::DropLemma => vec![self.drop_lemma(seen)?],
            Kind::Label => {
                let label = self.random.pick(&LABELS)?;
                vec![Op::Label(self.present(seen)?, seen.catalog.text(label))]
            }
            Kind::Unlabel => vec![self.unlabel(seen)?],
            Kind::Relate => vec![self.relate(seen)?],
            Kind::Unrelate => {
                let relation = self.relation(seen)?;
                self.removed[who].push(relation.clone());
                vec![Op::Unlink(relation)]
            }
            Kind::Relink => vec![self.relink(who, seen)?],
            Kind::Weigh => {
                let (relation, path) = (self.relation(seen)?, seen.catalog.text("/weight"));
                vec![Op::Set(Thing::Relation(relation), path, Scalar::Number(self.random.below(100) as i64))]
            }
            Kind::Delete => vec![Op::Remove(self.of_few_neighbors(seen)?)],
            Kind::DeleteAll => vec![Op::RemoveWithRelations(self.of_few_neighbors(seen)?)],
            Kind::AddAgain => {
                let concept = self.missing(seen)?;
                let gloss = format!("{} - {}", seen.catalog.word(concept), self.random.pick(&NOTES)?);
                vec![Op::Add(concept), seen.set(concept, "/gloss", &gloss)]
            }
            Kind::Restore => vec![Op::Restore(self.missing(seen)?)],
            Kind::Coin => self.coin(catalog),
            Kind::Settle => vec![self.settle(seen)?],
        })
    }

    fn concept(&mut self) -> Option<Concept> {
        let from = if self.random.chance(HOT) { &self.pool } else { &self.all };
        self.random.pick(from)
    }

    fn present(&mut self, seen: &Seen<'_>) -> Option<Concept> {
        self.concept().filter(|concept| seen.has(*concept))
    }

    fn missing(&mut self, seen: &Seen<'_>) -> Option<Concept> {
        let missing: Vec<Concept> = self.pool.iter().copied().filter(|concept| !seen.has(*concept)).collect();
        self.random.pick(&missing)
    }

    fn of_few_neighbors(&mut self, seen: &Seen<'_>) -> Option<Concept> {
        let concept = self.present(seen)?;
        let neighbors = seen.graph.neighbors(seen.catalog.node_id(concept)).count();
        (neighbors <= MANY_NEIGHBORS).then_some(concept)
    }

    fn relation(&mut self, seen: &Seen<'_>) -> Option<Relation> {
        let concept = self.present(seen)?;
        let id = seen.catalog.node_id(concept);
        let edges = seen.graph.outgoing(id).chain(seen.graph.incoming(id));
        let relations: Vec<_> = edges.take(RELATIONS_IN_REACH).filter_map(|edge| seen.catalog.stated(&edge)).collect();
        self.random.pick(&relations)
    }

    fn reword(&mut self, seen: &mut Seen<'_>) -> Option<Op> {
        let concept = self.present(seen)?;
        let gloss = seen.text(concept, "/gloss").unwrap_or_else(|| seen.catalog.word(concept).to_owned());
        // The first clause, without what others noted.
        let clause = gloss.split([';', ':']).next()?.split(" - ").next()?.trim();
        let gloss = format!("{clause} - {}", self.random.pick(&NOTES)?);
        Some(seen.set(concept, "/gloss", &gloss))
    }

    fn review(&mut self, seen: &mut Seen<'_>) -> Option<Op> {
        let concept = self.present(seen)?;
        let state = self.random.pick(&STATES)?;
        Some(seen.set(concept, "/status", state))
    }

    fn add_lemma(&mut self, seen: &mut Seen<'_>) -> Option<Op> {
        let concept = self.present(seen)?;
        let lemma = format!("{} {}", self.random.pick(&ADJECTIVES)?, seen.catalog.word(concept));
        let path = format!("/lemmas/{}", seen.lemmas(concept));
        Some(seen.set(concept, &path, &lemma))
    }

    fn drop_lemma(&mut self, seen: &mut Seen<'_>) -> Option<Op> {
        let concept = self.present(seen)?;
        let last = seen.lemmas(concept).checked_sub(1)?;
        Some(Op::Unset(Thing::Concept(concept), seen.catalog.text(&format!("/lemmas/{last}"))))
    }

    /// Sometimes one that is not on it, which writes nothing.
    fn unlabel(&mut self, seen: &mut Seen<'_>) -> Option<Op> {
        let concept = self.present(seen)?;
        let mut labels: Vec<&str> = seen.graph.node(seen.catalog.node_id(concept))?.labels().collect();
        labels.extend(self.random.pick(&LABELS));
        let label = self.random.pick(&labels)?;
        Some(Op::Unlabel(concept, seen.catalog.text(label)))
    }

    /// To one of the next in the pool, so that others have the same idea.
    fn relate(&mut self, seen: &mut Seen<'_>) -> Option<Op> {
        let place = self.random.below(self.pool.len());
        let next = (place + 1 + self.random.below(3)) % self.pool.len();
        let (from, to) = (self.pool[place], self.pool[next]);
        let kind = self.random.pick(&RELATIONS)?;
        let both = seen.has(from) && seen.has(to);
        both.then(|| Op::Link(Relation { from, kind: seen.catalog.text(kind), to }))
    }

    fn relink(&mut self, who: usize, seen: &Seen<'_>) -> Option<Op> {
        let relation = self.random.pick(&self.removed[who])?;
        let missing = !seen.graph.contains_edge(seen.catalog.edge_id(&relation));
        missing.then_some(Op::Relink(relation))
    }

    fn coin(&mut self, catalog: &mut Catalog) -> Vec<Op> {
        let word = self.random.pick(&BEASTS).unwrap_or_default();
        let concept = catalog.concept(&format!("coined:{word}"));
        catalog.call(concept, word);
        let gloss = format!("a fabulous beast - {}", self.random.pick(&NOTES).unwrap_or_default());
        let gloss = Op::Set(Thing::Concept(concept), catalog.text("/gloss"), Scalar::Text(gloss.into()));
        let mut ops = vec![Op::Add(concept), gloss, Op::Label(concept, catalog.text("Mythical"))];
        let kin = self.concept().map(|to| Relation { from: concept, kind: catalog.text("resembles"), to });
        ops.extend(kin.map(Op::Link));
        ops
    }

    /// Somebody looks at a conflict and takes one of the values.
    fn settle(&mut self, seen: &mut Seen<'_>) -> Option<Op> {
        let graph = seen.graph;
        let open = |of: &Owner| match of {
            Owner::Node(id) => graph.contains_node(*id),
            Owner::Edge(id) => graph.contains_edge(*id),
        };
        let conflicts: Vec<_> = contested(graph).filter(|(of, _)| open(of)).collect();
        let (of, conflict) = self.random.pick(&conflicts)?;
        let candidate = self.random.pick(&conflict.candidates)?;
        let (thing, path) = (seen.catalog.find_thing(of)?, seen.catalog.text(&conflict.path.to_string()));
        Some(Op::Set(thing, path, Scalar::of(&candidate.value()?)?))
    }
}

/// What the one at work looks at.
struct Seen<'a> {
    graph: &'a Graph,
    catalog: &'a mut Catalog,
}

impl Seen<'_> {
    fn has(&self, concept: Concept) -> bool {
        self.graph.contains_node(self.catalog.node_id(concept))
    }

    fn text(&self, concept: Concept, path: &str) -> Option<String> {
        let node = self.graph.node(self.catalog.node_id(concept))?;
        Some(node.get(path)?.as_str()?.to_owned())
    }

    fn lemmas(&self, concept: Concept) -> usize {
        (0..).take_while(|i| self.text(concept, &format!("/lemmas/{i}")).is_some()).count()
    }

    fn set(&mut self, concept: Concept, path: &str, text: &str) -> Op {
        Op::Set(Thing::Concept(concept), self.catalog.text(path), Scalar::Text(Text::from(text)))
    }
}
