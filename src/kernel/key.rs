//! What cells are made of: entities, fields, payloads, siblings.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::clock::Stamp;
use crate::id::Dot;

/// One thing that has cells: a node, an edge, or (for the standalone types) the value itself.
///
/// A kind and sixteen bytes. Kinds keep the types of a graph apart; a type of your own takes the kinds it likes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entity {
    kind: u8,
    id: [u8; 16],
}

impl Entity {
    /// The only entity of a type that needs no more than one.
    pub const SELF: Self = Self::new(0, [0; 16]);

    /// The entity of a kind with an id.
    pub const fn new(kind: u8, id: [u8; 16]) -> Self {
        Self { kind, id }
    }

    /// What sort of entity this is, in the terms of the type that it belongs to.
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// The sixteen bytes of the id.
    pub const fn id(&self) -> &[u8; 16] {
        &self.id
    }
}

/// By kind, then by the bytes of the id.
impl Ord for Entity {
    fn cmp(&self, other: &Self) -> Ordering {
        // As numbers the ids compare in two instructions; the order is that of the bytes.
        let number = |e: &Self| u128::from_be_bytes(e.id);
        self.kind.cmp(&other.kind).then_with(|| number(self).cmp(&number(other)))
    }
}

impl PartialOrd for Entity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:032x}", self.kind, u128::from_be_bytes(self.id))
    }
}

/// The longest field in bytes. A path of a few dozen segments fits; a document in a key does not.
pub const MAX_FIELD_LEN: usize = 4096;

/// The longest payload in bytes: 16 MiB, far beyond a text or an embedding. What is larger belongs in an object store
/// with its hash here: a cell is written, sent and kept whole.
pub const MAX_PAYLOAD_LEN: usize = 16 << 20;

/// The name of a cell within its entity: bytes, in whatever scheme the type has. The empty one is the **root**.
///
/// A handle of one word; replicas keep one copy of the fields they meet often.
#[derive(Clone, Default)]
pub struct Field(Option<Arc<Box<[u8]>>>);

impl Field {
    /// The root field of every entity: a tombstone here deletes the entity.
    pub const ROOT: Self = Self(None);

    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self((!bytes.is_empty()).then(|| Arc::new(bytes.into())))
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |bytes| bytes)
    }

    /// Where in memory the name lies: the same for handles that share it.
    pub(crate) fn address(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| Arc::as_ptr(bytes).addr())
    }

    /// Whether two handles share one name. Equal ones need not.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.address() == other.address()
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_none()
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl Eq for Field {}

impl std::hash::Hash for Field {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// By their bytes, so the root comes first.
impl Ord for Field {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => Ordering::Equal,
            _ => self.as_bytes().cmp(other.as_bytes()),
        }
    }
}

impl PartialOrd for Field {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// The name of a cell where it lies in a state. The names of characters in a row lie there as one; those of all but the first are
/// spelled out when somebody asks.
#[derive(Clone)]
pub struct FieldRef<'a>(FieldRepr<'a>);

#[derive(Clone)]
enum FieldRepr<'a> {
    Held(&'a Field),
    Made(Field),
}

impl<'a> FieldRef<'a> {
    pub(crate) fn made(bytes: &[u8]) -> Self {
        Self(FieldRepr::Made(Field::new(bytes)))
    }

    /// The name where it lies; `None` if it does not lie there by itself.
    pub(crate) fn held(&self) -> Option<&'a Field> {
        match &self.0 {
            FieldRepr::Held(field) => Some(field),
            FieldRepr::Made(_) => None,
        }
    }

    /// Returns a handle of its own.
    pub fn to_field(&self) -> Field {
        Field::clone(self)
    }
}

impl<'a> From<&'a Field> for FieldRef<'a> {
    fn from(field: &'a Field) -> Self {
        Self(FieldRepr::Held(field))
    }
}

impl std::ops::Deref for FieldRef<'_> {
    type Target = Field;

    fn deref(&self) -> &Field {
        match &self.0 {
            FieldRepr::Held(field) => field,
            FieldRepr::Made(field) => field,
        }
    }
}

impl PartialEq for FieldRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for FieldRef<'_> {}

/// By their bytes.
impl Ord for FieldRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(other)
    }
}

impl PartialOrd for FieldRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for FieldRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Lets equal fields share one allocation. A cache of fixed size, not a table: a million distinct set elements make it
/// miss, never grow.
#[derive(Default, Debug)]
pub(crate) struct Interner {
    /// None before the first name: many replicas are only read.
    slots: Box<[Field]>,
}

impl Interner {
    /// Enough for the property names of a large schema; 8 KiB.
    const SLOTS: usize = 1024;

    pub(crate) fn intern(&mut self, bytes: &[u8]) -> Field {
        if bytes.is_empty() {
            return Field::ROOT;
        }
        if self.slots.is_empty() {
            self.slots = vec![Field::ROOT; Self::SLOTS].into();
        }
        let slot = &mut self.slots[xxh3_64(bytes) as usize % Self::SLOTS];
        if slot.as_bytes() != bytes {
            *slot = Field::new(bytes);
        }
        slot.clone()
    }
}

/// What a live sibling holds: a kind and bytes. The kernel never looks inside; equal means the same bytes. A kind that
/// this version does not know is kept, merged and sent on like any other.
#[derive(Clone)]
pub struct Payload(Repr);

/// Twenty-four bytes, and as many of content without an allocation; what is longer is shared between the state, its
/// snapshots and deltas.
#[derive(Clone)]
enum Repr {
    Inline { kind: u8, len: u8, bytes: [u8; Payload::INLINE] },
    Shared { kind: u8, bytes: Arc<[u8]> },
}

impl Payload {
    const INLINE: usize = 21;

    /// A payload of this kind.
    pub fn new(kind: u8, content: &[u8]) -> Self {
        Self(match content.len() {
            len @ 0..=Self::INLINE => {
                let mut bytes = [0; Self::INLINE];
                bytes[..len].copy_from_slice(content);
                Repr::Inline { kind, len: len as u8, bytes }
            }
            _ => Repr::Shared { kind, bytes: content.into() },
        })
    }

    /// What the bytes mean, in the terms of the type that wrote them.
    pub fn kind(&self) -> u8 {
        match &self.0 {
            Repr::Inline { kind, .. } | Repr::Shared { kind, .. } => *kind,
        }
    }

    /// The content.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes, .. } => &bytes[..usize::from(*len)],
            Repr::Shared { bytes, .. } => bytes,
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.bytes() == other.bytes()
    }
}

impl Eq for Payload {}

/// By kind, then by bytes: a total order that every replica agrees on, whatever the bytes mean.
impl Ord for Payload {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.kind(), self.bytes()).cmp(&(other.kind(), other.bytes()))
    }
}

impl PartialOrd for Payload {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// A [`Payload`] where it lies in a state. Copying it copies no content.
#[derive(Clone, Copy)]
pub struct PayloadRef<'a> {
    kind: u8,
    bytes: &'a [u8],
    /// The same bytes in an allocation that others may share.
    shared: Option<&'a Arc<[u8]>>,
}

impl Payload {
    /// The payload without a copy of its content.
    pub fn as_ref(&self) -> PayloadRef<'_> {
        let shared = match &self.0 {
            Repr::Inline { .. } => None,
            Repr::Shared { bytes, .. } => Some(bytes),
        };
        PayloadRef { kind: self.kind(), bytes: self.bytes(), shared }
    }
}

impl<'a> PayloadRef<'a> {
    pub(super) fn packed(kind: u8, bytes: &'a [u8]) -> Self {
        Self { kind, bytes, shared: None }
    }

    pub(super) fn shared(kind: u8, bytes: &'a Arc<[u8]>) -> Self {
        Self { kind, bytes, shared: Some(bytes) }
    }

    /// The allocation of a long content.
    pub(super) fn allocation(self) -> Option<&'a Arc<[u8]>> {
        self.shared
    }

    /// What the bytes mean, in the terms of the type that wrote them.
    pub fn kind(self) -> u8 {
        self.kind
    }

    /// The content.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// A payload of its own. Long contents are shared, not copied.
    pub fn to_payload(self) -> Payload {
        match self.shared {
            Some(bytes) => Payload(Repr::Shared { kind: self.kind, bytes: bytes.clone() }),
            None => Payload::new(self.kind, self.bytes),
        }
    }

    fn parts(self) -> (u8, &'a [u8]) {
        (self.kind, self.bytes)
    }
}

impl<'a> From<&'a Payload> for PayloadRef<'a> {
    fn from(payload: &'a Payload) -> Self {
        payload.as_ref()
    }
}

impl PartialEq for PayloadRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for PayloadRef<'_> {}

/// The order of [`Payload`]s.
impl Ord for PayloadRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for PayloadRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for PayloadRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:\"{}\"", self.kind, self.bytes.escape_ascii())
    }
}

/// One of the concurrent writes that a cell holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sibling {
    /// Which write this is.
    pub dot: Dot,
    /// When it was made, by its writer's clock.
    pub stamp: Stamp,
    /// What it wrote; `None` is ⊥, a tombstone.
    pub payload: Option<Payload>,
}

impl Sibling {
    /// Whether this is not a tombstone.
    pub fn is_live(&self) -> bool {
        self.payload.is_some()
    }

    /// What decides between concurrent siblings where only one can show: the later stamp, then the greater dot. Total,
    /// so every replica decides alike.
    pub fn precedence(&self) -> (Stamp, Dot) {
        (self.stamp, self.dot)
    }

    /// The sibling without a copy of its content.
    pub fn as_ref(&self) -> SiblingRef<'_> {
        SiblingRef { dot: self.dot, stamp: self.stamp, payload: self.payload.as_ref().map(Payload::as_ref) }
    }
}

/// A [`Sibling`] where it lies in a state. Copying it copies no content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SiblingRef<'a> {
    /// Which write this is.
    pub dot: Dot,
    /// When it was made, by its writer's clock.
    pub stamp: Stamp,
    /// What it wrote; `None` is ⊥, a tombstone.
    pub payload: Option<PayloadRef<'a>>,
}

impl SiblingRef<'_> {
    /// Returns whether this is not a tombstone.
    pub fn is_live(self) -> bool {
        self.payload.is_some()
    }

    /// Returns the key that decides between concurrent siblings: see [`Sibling::precedence`].
    pub fn precedence(self) -> (Stamp, Dot) {
        (self.stamp, self.dot)
    }

    /// A sibling of its own. Long contents are shared, not copied.
    pub fn to_sibling(self) -> Sibling {
        Sibling { dot: self.dot, stamp: self.stamp, payload: self.payload.map(|payload| payload.to_payload()) }
    }
}

impl<'a> From<&'a Sibling> for SiblingRef<'a> {
    fn from(sibling: &'a Sibling) -> Self {
        sibling.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_shows_its_bytes() {
        assert_eq!(format!("{:?} {:?}", Field::new(b"a\"\xff"), Field::ROOT), r#""a\"\xff" """#);
    }

    #[test]
    fn a_cell_stays_small() {
        assert_eq!(size_of::<Payload>(), 24);
        assert_eq!(size_of::<Option<Payload>>(), 24);
        assert_eq!(size_of::<Field>(), 8);
        assert_eq!(size_of::<Entity>(), 17);
        assert_eq!(size_of::<(Field, Sibling)>(), 64);
    }

    #[test]
    fn payloads_keep_their_bytes_at_the_edge_of_inlining() {
        for len in [0, 1, Payload::INLINE, Payload::INLINE + 1, 300] {
            let content = vec![7; len];
            let payload = Payload::new(9, &content);
            assert_eq!((payload.kind(), payload.bytes()), (9, &content[..]));
            assert_eq!(payload, payload.clone());
        }
    }

    #[test]
    fn interning_shares_and_never_mixes_up() {
        let mut interner = Interner::default();
        for n in 0..10_000u32 {
            let name = n.to_string();
            assert_eq!(interner.intern(name.as_bytes()).as_bytes(), name.as_bytes());
        }
        let (a, b) = (interner.intern(b"name"), interner.intern(b"name"));
        assert!(Arc::ptr_eq(a.0.as_ref().unwrap(), b.0.as_ref().unwrap()));
        assert!(interner.intern(b"").is_root());
    }
}
