//! Where in the cells of a graph what lies. The numbers are part of the format.

use crate::document::{FieldBytes, kind};
use crate::id::{EdgeId, NodeId};
use crate::kernel::{Cells, Entity, Field, Payload, Sibling};
use crate::vector::Model;

pub(super) const NODE: u8 = 1;
pub(super) const EDGE: u8 = 2;

/// A field that begins with this is a label; its text follows.
const LABEL: u8 = 1;
// 2 is for properties: see `document::place`.
/// A field that begins with this is an embedding; its model follows: the name, a zero byte, the dimension.
const EMBEDDING: u8 = 3;

pub(super) fn node(id: NodeId) -> Entity {
    Entity::new(NODE, *id.as_bytes())
}

pub(super) fn edge(id: EdgeId) -> Entity {
    Entity::new(EDGE, *id.as_bytes())
}

/// Whoever has properties: a node or an edge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Owner {
    /// A node.
    Node(NodeId),
    /// An edge.
    Edge(EdgeId),
}

impl From<NodeId> for Owner {
    fn from(id: NodeId) -> Self {
        Self::Node(id)
    }
}

impl From<EdgeId> for Owner {
    fn from(id: EdgeId) -> Self {
        Self::Edge(id)
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node {id}"),
            Self::Edge(id) => write!(f, "edge {id}"),
        }
    }
}

impl Owner {
    pub(crate) fn entity(self) -> Entity {
        match self {
            Self::Node(id) => node(id),
            Self::Edge(id) => edge(id),
        }
    }
}

/// The owner whose cells an entity's are; `None` for what a later version put there.
pub(crate) fn owner_of(entity: Entity) -> Option<Owner> {
    match entity.kind() {
        NODE => Some(Owner::Node(NodeId::from(*entity.id()))),
        EDGE => Some(Owner::Edge(EdgeId::from(*entity.id()))),
        _ => None,
    }
}

/// A node by id, or by a name that is kept with it: `add_node("person:ada")` gives the node
/// `NodeId::named("person:ada")` and lets [`Node::name`](crate::Node::name) tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeKey<'a> {
    pub(super) id: NodeId,
    pub(super) name: Option<&'a str>,
}

impl From<NodeId> for NodeKey<'_> {
    fn from(id: NodeId) -> Self {
        Self { id, name: None }
    }
}

impl<'a> From<&'a str> for NodeKey<'a> {
    fn from(name: &'a str) -> Self {
        Self { id: NodeId::named(name), name: Some(name) }
    }
}

impl<'a> From<&'a String> for NodeKey<'a> {
    fn from(name: &'a String) -> Self {
        Self::from(name.as_str())
    }
}

pub(super) fn node_root(name: Option<&str>) -> Payload {
    match name {
        Some(name) => Payload::new(kind::NAME, name.as_bytes()),
        None => Payload::new(kind::UNIT, &[]),
    }
}

/// The name that the node was added by; one that does not give the node's id is nobody's.
pub(super) fn node_name(id: NodeId, cells: &Cells) -> Option<&str> {
    let names =
        cells.live(Field::ROOT.as_bytes()).filter_map(|s| s.payload.as_ref()).filter(|p| p.kind() == kind::NAME);
    names.filter_map(|p| str::from_utf8(p.bytes()).ok()).find(|name| NodeId::named(name) == id)
}

/// What an edge connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ends<'a> {
    pub(super) source: NodeId,
    pub(super) target: NodeId,
    pub(super) number: u64,
    pub(super) edge_type: &'a str,
}

impl<'a> Ends<'a> {
    pub(super) fn id(&self) -> EdgeId {
        EdgeId::numbered(self.source, self.edge_type, self.target, self.number)
    }

    pub(super) fn to_payload(self) -> Payload {
        let mut bytes = Vec::with_capacity(40 + self.edge_type.len());
        bytes.extend_from_slice(self.source.as_bytes());
        bytes.extend_from_slice(self.target.as_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(self.edge_type.as_bytes());
        Payload::new(kind::ENDS, &bytes)
    }

    fn from_payload(payload: &'a Payload) -> Option<Self> {
        if payload.kind() != kind::ENDS {
            return None;
        }
        let (source, rest) = payload.bytes().split_first_chunk::<16>()?;
        let (target, rest) = rest.split_first_chunk::<16>()?;
        let (number, edge_type) = rest.split_first_chunk::<8>()?;
        Some(Self {
            source: NodeId::from(*source),
            target: NodeId::from(*target),
            number: u64::from_be_bytes(*number),
            edge_type: str::from_utf8(edge_type).ok()?,
        })
    }

    /// The ends that a root tells of which the index says that they are right: then a single sibling needs no check.
    pub(super) fn of_checked(id: EdgeId, root: impl Iterator<Item = &'a Sibling> + Clone) -> Option<Self> {
        let mut live = root.clone().filter(|sibling| sibling.is_live());
        match (live.next(), live.next()) {
            (Some(single), None) => single.payload.as_ref().and_then(Self::from_payload),
            _ => Self::of(id, root),
        }
    }

    /// The ends that a root tells. An edge's id is derived from its ends, so they cannot change, and a root that tells
    /// of others is nobody's.
    pub(super) fn of(id: EdgeId, root: impl Iterator<Item = &'a Sibling>) -> Option<Self> {
        Self::among(id, root.filter_map(|s| s.payload.as_ref()))
    }

    /// The ends that the payloads of a root tell: see [`of`](Self::of).
    pub(super) fn among(id: EdgeId, root: impl Iterator<Item = &'a Payload>) -> Option<Self> {
        root.filter_map(Self::from_payload).find(|ends| ends.id() == id)
    }
}

pub(super) fn label(label: &str) -> FieldBytes {
    let mut field = FieldBytes::from_slice(&[LABEL]);
    field.extend_from_slice(label.as_bytes());
    field
}

pub(super) const LABELS: &[u8] = &[LABEL];

pub(crate) fn label_of(field: &Field) -> Option<&str> {
    field.as_bytes().strip_prefix(LABELS).and_then(|text| str::from_utf8(text).ok())
}

pub(super) const EMBEDDINGS: &[u8] = &[EMBEDDING];

/// A name has no zero byte, so the first one ends it; one model's name may begin with another's.
pub(crate) fn embedding(model: &Model) -> FieldBytes {
    let mut field = FieldBytes::from_slice(EMBEDDINGS);
    field.extend_from_slice(model.name().as_bytes());
    field.push(0);
    // A dimension fits: see `MAX_DIMENSION`.
    field.extend_from_slice(&(model.dimension() as u32).to_be_bytes());
    field
}

/// The name and dimension of the model that an embedding is of; `None` if there can be no such model.
pub(super) fn embedding_of(field: &Field) -> Option<(&str, usize)> {
    let (name, dimension) = field.as_bytes().strip_prefix(EMBEDDINGS)?.split_last_chunk()?;
    let name = str::from_utf8(name.strip_suffix(&[0])?).ok()?;
    let dimension = usize::try_from(u32::from_be_bytes(*dimension)).ok()?;
    Model::check(name, dimension).ok().map(|()| (name, dimension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_whose_names_begin_alike_have_keys_of_their_own() {
        let keys =
            [("m", 3), ("m", 4), ("m\u{1}", 3), ("mm", 3)].map(|(name, n)| embedding(&Model::new(name, n).unwrap()));
        for (i, key) in keys.iter().enumerate() {
            assert!(keys.iter().skip(i + 1).all(|other| !other.starts_with(key) && !key.starts_with(other)));
            let (name, dimension) = embedding_of(&Field::new(key)).map(|(n, d)| (n.to_owned(), d)).unwrap();
            assert_eq!(&embedding(&Model::new(&name, dimension).unwrap()), key);
        }
        let none: [&[u8]; 5] =
            [b"\x03", b"\x03m\0\0\0\0", b"\x03\0\0\0\0\x03", b"\x03m\0\0\0\0\0", b"\x03m\0\xff\xff\xff\xff"];
        assert!(none.iter().all(|field| embedding_of(&Field::new(field)).is_none()));
    }

    #[test]
    fn a_root_that_tells_of_other_ends_is_nobodys() {
        let (a, b) = (NodeId::named("a"), NodeId::named("b"));
        let ends = Ends { source: a, target: b, number: 0, edge_type: "knows" };
        let sibling = |ends: Ends<'_>| Sibling {
            dot: crate::Dot { writer: crate::WriterId::from([1; 10]), counter: 1 },
            stamp: crate::Stamp::default(),
            payload: Some(ends.to_payload()),
        };
        let (honest, forged) = (sibling(ends), sibling(Ends { target: a, ..ends }));
        assert_eq!(Ends::of(ends.id(), [&forged, &honest].into_iter()), Some(ends));
        assert_eq!(Ends::of(ends.id(), [&forged].into_iter()), None);
    }
}
