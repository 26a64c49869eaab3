//! One step of an edit, as data: performed on a replica here, and a second time by the recomputation.

use driftless::{Edit, EditError, Graph, Value};

use crate::catalog::{Catalog, Concept, Relation, Text, Thing};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Add(Concept),
    Restore(Concept),
    Remove(Concept),
    RemoveWithRelations(Concept),
    Label(Concept, Text),
    Unlabel(Concept, Text),
    Set(Thing, Text, Scalar),
    Unset(Thing, Text),
    Link(Relation),
    Unlink(Relation),
    /// Brings a deleted relation back with what its deleter had not seen.
    Relink(Relation),
}

/// What a property of the story holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Scalar {
    Text(Text),
    Number(i64),
}

impl Scalar {
    pub(crate) fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Str(text) => Some(Self::Text((*text).into())),
            Value::Int(number) => Some(Self::Number(*number)),
            _ => None,
        }
    }

    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Str(text),
            Self::Number(number) => Value::Int(*number),
        }
    }
}

impl Op {
    /// Performs the step on a replica.
    pub(crate) fn perform(&self, catalog: &Catalog, graph: &mut Edit<'_, Graph>) -> Result<(), EditError> {
        let id = |concept: &Concept| catalog.node_id(*concept);
        match self {
            Self::Add(c) => drop(graph.add_node(&**catalog.name(*c))?),
            Self::Restore(c) => drop(graph.restore_node(&**catalog.name(*c))?),
            Self::Remove(c) => drop(graph.remove_node(id(c))?),
            Self::RemoveWithRelations(c) => drop(graph.remove_node_with_edges(id(c))?),
            Self::Label(c, label) => graph.label(id(c), label)?,
            Self::Unlabel(c, label) => drop(graph.unlabel(id(c), label)?),
            Self::Set(thing, path, scalar) => graph.set(catalog.owner(thing), path, scalar.value())?,
            Self::Unset(thing, path) => drop(graph.unset(catalog.owner(thing), path)?),
            Self::Link(r) => drop(graph.link(id(&r.from), &r.kind, id(&r.to))?),
            Self::Unlink(r) => drop(graph.unlink(catalog.edge_id(r))?),
            Self::Relink(r) => drop(graph.restore_edge(id(&r.from), &r.kind, id(&r.to), 0)?),
        }
        Ok(())
    }

    /// The step in words.
    pub(crate) fn describe(&self, catalog: &Catalog) -> String {
        let concept = |c: &Concept| catalog.describe(&Thing::Concept(*c));
        let relation = |r: &Relation| catalog.describe(&Thing::Relation(r.clone()));
        match self {
            Self::Add(c) => format!("adds {}", concept(c)),
            Self::Restore(c) => format!("restores {}", concept(c)),
            Self::Remove(c) => format!("deletes {}", concept(c)),
            Self::RemoveWithRelations(c) => format!("deletes {} with its relations", concept(c)),
            Self::Label(c, label) => format!("labels {} {label}", concept(c)),
            Self::Unlabel(c, label) => format!("takes the label {label} off {}", concept(c)),
            Self::Set(thing, path, scalar) => {
                format!("sets {path} of {} to {}", catalog.describe(thing), scalar.value())
            }
            Self::Unset(thing, path) => format!("removes {path} of {}", catalog.describe(thing)),
            Self::Link(r) => format!("states: {}", relation(r)),
            Self::Unlink(r) => format!("removes: {}", relation(r)),
            Self::Relink(r) => format!("restores: {}", relation(r)),
        }
    }

    /// The concepts that the step is about: of a relation where it begins, and of a new one where it ends, too.
    pub(crate) fn concepts(&self) -> Vec<Concept> {
        match self {
            Self::Add(c) | Self::Restore(c) | Self::Remove(c) | Self::RemoveWithRelations(c) => vec![*c],
            Self::Label(c, _) | Self::Unlabel(c, _) => vec![*c],
            Self::Set(Thing::Concept(c), _, _) | Self::Unset(Thing::Concept(c), _) => vec![*c],
            Self::Set(Thing::Relation(r), _, _) | Self::Unset(Thing::Relation(r), _) => vec![r.from],
            Self::Unlink(r) | Self::Relink(r) => vec![r.from],
            Self::Link(r) => vec![r.from, r.to],
        }
    }
}
