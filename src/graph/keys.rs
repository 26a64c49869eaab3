//! Where in the cells of a graph what lies. The numbers are part of the format.

use serde::{Deserialize, Serialize};

use crate::document::{FieldBytes, kind};
use crate::id::{EdgeId, NodeId};
use crate::kernel::{Cells, Entity, Field, Payload, PayloadRef, SiblingRef};
pub(super) use crate::kinds::entity::{EDGE, NODE};
use crate::vector::Model;

/// A field that begins with this is a label; its text follows.
const LABEL: u8 = 1;
// 2 is for properties: see `document::place`.
/// A field that begins with this is an embedding; its model follows: the name, a zero byte, the dimension.
const EMBEDDING: u8 = 3;
/// A field that begins with this is the later text of an embedding; its model follows in the same way.
const LATER_TEXT: u8 = 4;
/// A field that begins with this is the place of a node in a tree; the tree's name follows.
const PLACE: u8 = 5;

pub(super) fn node(id: NodeId) -> Entity {
    Entity::new(NODE, *id.as_bytes())
}

pub(super) fn edge(id: EdgeId) -> Entity {
    Entity::new(EDGE, *id.as_bytes())
}

/// Whoever has properties: a node or an edge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// True if a node or edge is there, by its cells. The root of an edge that tells of other ends is ignored: no valid writer
/// produces it.
pub(super) fn is_there(entity: Entity, cells: Cells<'_>) -> bool {
    match entity.kind() {
        NODE => cells.is_live(),
        EDGE => Ends::of(EdgeId::from(*entity.id()), cells.siblings(Field::ROOT.as_bytes())).is_some(),
        _ => false,
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
pub(super) fn node_name(id: NodeId, cells: Cells<'_>) -> Option<&str> {
    let names = cells.live(Field::ROOT.as_bytes()).filter_map(|s| s.payload).filter(|p| p.kind() == kind::NAME);
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

    /// Spells the ends, and which of them the writer sees.
    pub(super) fn to_payload(self, seen: SeenEnds) -> Payload {
        let mut bytes = Vec::with_capacity(41 + self.edge_type.len());
        let kind = match seen.unseen() {
            0 => kind::ENDS,
            unseen => {
                bytes.push(unseen);
                kind::OPEN_ENDS
            }
        };
        bytes.extend_from_slice(self.source.as_bytes());
        bytes.extend_from_slice(self.target.as_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(self.edge_type.as_bytes());
        Payload::new(kind, &bytes)
    }

    fn from_payload(payload: impl Into<PayloadRef<'a>>) -> Option<(Self, SeenEnds)> {
        let payload = payload.into();
        let (seen, rest) = match payload.kind() {
            kind::ENDS => (SeenEnds::BOTH, payload.bytes()),
            kind::OPEN_ENDS => {
                let (unseen, rest) = payload.bytes().split_first()?;
                (SeenEnds::of_unseen(*unseen)?, rest)
            }
            _ => return None,
        };
        let (source, rest) = rest.split_first_chunk::<16>()?;
        let (target, rest) = rest.split_first_chunk::<16>()?;
        let (number, edge_type) = rest.split_first_chunk::<8>()?;
        let ends = Self {
            source: NodeId::from(*source),
            target: NodeId::from(*target),
            number: u64::from_be_bytes(*number),
            edge_type: str::from_utf8(edge_type).ok()?,
        };
        Some((ends, seen))
    }

    /// The ends that a root tells of which the index says that they are right: then a single sibling needs no check.
    pub(super) fn of_checked(id: EdgeId, root: impl Iterator<Item = SiblingRef<'a>> + Clone) -> Option<Self> {
        let mut live = root.clone().filter(|sibling| sibling.is_live());
        match (live.next(), live.next()) {
            (Some(single), None) => single.payload.and_then(Self::from_payload).map(|(ends, _)| ends),
            _ => Self::of(id, root),
        }
    }

    /// The ends that a root tells. An edge's id is derived from its ends, so they cannot change, and a root that tells
    /// of others is nobody's.
    pub(super) fn of(id: EdgeId, root: impl Iterator<Item = SiblingRef<'a>>) -> Option<Self> {
        Self::among(id, root.filter_map(|s| s.payload))
    }

    /// The ends that the payloads of a root tell: see [`of`](Self::of).
    pub(super) fn among(id: EdgeId, root: impl Iterator<Item = impl Into<PayloadRef<'a>>>) -> Option<Self> {
        let mut told = root.filter_map(Self::from_payload);
        told.find(|(ends, _)| ends.id() == id).map(|(ends, _)| ends)
    }

    /// The ends that some writer of the edge had seen, of all that a root holds.
    pub(super) fn seen(&self, root: impl Iterator<Item = SiblingRef<'a>>) -> SeenEnds {
        let told = root.filter_map(|s| s.payload).filter_map(Self::from_payload);
        told.filter(|(ends, _)| ends == self).fold(SeenEnds::NONE, |all, (_, seen)| all.or(seen))
    }
}

/// The ends of an edge that were there when it was written.
///
/// The marker tells an edge whose end somebody deleted from one whose end nobody has added yet. It is part of the live
/// root, so equal versions read it alike, whatever tombstones were pruned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SeenEnds {
    pub(super) source: bool,
    pub(super) target: bool,
}

impl SeenEnds {
    const BOTH: Self = Self { source: true, target: true };
    const NONE: Self = Self { source: false, target: false };

    /// Bit 0 for the source, bit 1 for the target.
    fn unseen(self) -> u8 {
        u8::from(!self.source) | u8::from(!self.target) << 1
    }

    /// An edge that sees both ends is of the other kind, so 0 spells nothing.
    fn of_unseen(unseen: u8) -> Option<Self> {
        matches!(unseen, 1..=3).then_some(Self { source: unseen & 1 == 0, target: unseen & 2 == 0 })
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self { source: self.source || other.source, target: self.target || other.target }
    }
}

pub(super) fn label(label: &str) -> FieldBytes {
    let mut field = FieldBytes::from_slice(&[LABEL]);
    field.extend_from_slice(label.as_bytes());
    field
}

const LABELS: &[u8] = &[LABEL];

pub(crate) fn label_of(field: &Field) -> Option<&str> {
    field.as_bytes().strip_prefix(LABELS).and_then(|text| str::from_utf8(text).ok())
}

/// The live labels, in the order of their bytes, each once.
pub(super) fn labels(cells: Cells<'_>) -> impl Iterator<Item = &str> + use<'_> {
    let mut last = None;
    let live = cells.named(LABELS).filter(|(_, sibling)| sibling.is_live());
    live.filter_map(|(field, _)| label_of(field)).filter(move |label| last.replace(*label) != Some(*label))
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

/// The field of the later text of the embeddings in a field.
pub(super) fn later_text(embedding: &[u8]) -> FieldBytes {
    let mut field = FieldBytes::from_slice(embedding);
    field.iter_mut().take(1).for_each(|tag| *tag = LATER_TEXT);
    field
}

/// The model whose embeddings' later text a field holds.
pub(crate) fn later_text_of(field: &Field) -> Option<Model> {
    let (name, dimension) = model_in(field.as_bytes().strip_prefix(&[LATER_TEXT])?)?;
    Model::new(name, dimension).ok()
}

/// The fields of all places begin so.
pub(super) const PLACES: &[u8] = &[PLACE];

/// The field of the places in a tree.
pub(crate) fn place_in(tree: &str) -> FieldBytes {
    let mut field = FieldBytes::from_slice(PLACES);
    field.extend_from_slice(tree.as_bytes());
    field
}

/// The tree that a field holds the place in. A name that is no text is none's.
pub(crate) fn tree_of(field: &Field) -> Option<&str> {
    field.as_bytes().strip_prefix(PLACES).and_then(|name| str::from_utf8(name).ok())
}

/// The name and dimension of the model that an embedding is of; `None` if there can be no such model.
pub(super) fn embedding_of(field: &Field) -> Option<(&str, usize)> {
    model_in(field.as_bytes().strip_prefix(EMBEDDINGS)?)
}

fn model_in(key: &[u8]) -> Option<(&str, usize)> {
    let (name, dimension) = key.split_last_chunk()?;
    let name = str::from_utf8(name.strip_suffix(&[0])?).ok()?;
    let dimension = usize::try_from(u32::from_be_bytes(*dimension)).ok()?;
    Model::check(name, dimension).ok().map(|()| (name, dimension))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Sibling;

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
            payload: Some(ends.to_payload(SeenEnds::BOTH)),
        };
        let (honest, forged) = (sibling(ends), sibling(Ends { target: a, ..ends }));
        assert_eq!(Ends::of(ends.id(), [&forged, &honest].into_iter().map(Sibling::as_ref)), Some(ends));
        assert_eq!(Ends::of(ends.id(), [&forged].into_iter().map(Sibling::as_ref)), None);
    }

    #[test]
    fn each_pair_of_seen_ends_has_one_spelling() {
        let ends = Ends { source: NodeId::named("a"), target: NodeId::named("b"), number: 7, edge_type: "knows" };
        for (source, target) in [(false, false), (false, true), (true, false), (true, true)] {
            let seen = SeenEnds { source, target };
            assert_eq!(Ends::from_payload(&ends.to_payload(seen)), Some((ends, seen)));
        }
        let bytes = ends.to_payload(SeenEnds::BOTH);
        for flags in [0, 4, 255] {
            let forged = Payload::new(kind::OPEN_ENDS, &[&[flags], bytes.bytes()].concat());
            assert_eq!(Ends::from_payload(&forged), None, "{flags}");
        }
    }
}
