//! What the concepts and relations of the story are called, outside every replica.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use driftless::{Edge, EdgeId, NodeId, Owner};

/// Text that the log of edits, the catalog and the recomputation share.
pub(crate) type Text = Rc<str>;

/// A concept, by its number in the catalog.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Concept(u32);

/// A relation, by what it says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Relation {
    pub(crate) from: Concept,
    pub(crate) kind: Text,
    pub(crate) to: Concept,
}

/// Whatever can hold properties.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Thing {
    Concept(Concept),
    Relation(Relation),
}

#[derive(Default)]
pub(crate) struct Catalog {
    entries: Vec<Entry>,
    concepts: HashMap<NodeId, Concept>,
    /// A deleted edge no longer knows its ends, so a reader who wants to name it keeps them.
    relations: HashMap<EdgeId, Relation>,
    texts: HashSet<Text>,
}

struct Entry {
    name: Text,
    id: NodeId,
    word: Text,
}

impl Catalog {
    /// The concept of a name such as `wn:n00015388`, new or known.
    pub(crate) fn concept(&mut self, name: &str) -> Concept {
        let id = NodeId::named(name);
        let next = Concept(self.entries.len() as u32);
        let concept = *self.concepts.entry(id).or_insert(next);
        if concept == next {
            let name = Text::from(name);
            self.entries.push(Entry { word: name.clone(), name, id });
        }
        concept
    }

    /// Says by which word a person knows a concept; until then its name must do.
    pub(crate) fn call(&mut self, concept: Concept, word: &str) {
        self.entries[concept.0 as usize].word = word.into();
    }

    pub(crate) fn remember(&mut self, relation: &Relation) {
        let id = self.edge_id(relation);
        self.relations.entry(id).or_insert_with(|| relation.clone());
    }

    /// One shared copy of a text that comes again and again.
    pub(crate) fn text(&mut self, text: &str) -> Text {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let new = Text::from(text);
        self.texts.insert(new.clone());
        new
    }

    pub(crate) fn concepts(&self) -> impl Iterator<Item = Concept> + use<> {
        (0..self.entries.len() as u32).map(Concept)
    }

    pub(crate) fn name(&self, concept: Concept) -> &Text {
        &self.entries[concept.0 as usize].name
    }

    pub(crate) fn word(&self, concept: Concept) -> &str {
        &self.entries[concept.0 as usize].word
    }

    pub(crate) fn node_id(&self, concept: Concept) -> NodeId {
        self.entries[concept.0 as usize].id
    }

    pub(crate) fn edge_id(&self, relation: &Relation) -> EdgeId {
        EdgeId::between(self.node_id(relation.from), &relation.kind, self.node_id(relation.to))
    }

    pub(crate) fn owner(&self, thing: &Thing) -> Owner {
        match thing {
            Thing::Concept(concept) => self.node_id(*concept).into(),
            Thing::Relation(relation) => self.edge_id(relation).into(),
        }
    }

    pub(crate) fn find(&self, node: NodeId) -> Option<Concept> {
        self.concepts.get(&node).copied()
    }

    pub(crate) fn find_thing(&self, owner: Owner) -> Option<Thing> {
        match owner {
            Owner::Node(id) => self.find(id).map(Thing::Concept),
            Owner::Edge(id) => self.relations.get(&id).cloned().map(Thing::Relation),
        }
    }

    /// The relation that an edge states.
    pub(crate) fn stated(&self, edge: &Edge<'_>) -> Option<Relation> {
        let (from, to) = (self.find(edge.source())?, self.find(edge.target())?);
        let kind = self.texts.get(edge.edge_type())?.clone();
        (edge.number() == 0).then_some(Relation { from, kind, to })
    }

    /// A concept or relation in words.
    pub(crate) fn describe(&self, thing: &Thing) -> String {
        match thing {
            Thing::Concept(concept) => format!("\"{}\"", self.word(*concept)),
            Thing::Relation(Relation { from, kind, to }) => {
                format!("\"{}\" {kind} \"{}\"", self.word(*from), self.word(*to))
            }
        }
    }
}
