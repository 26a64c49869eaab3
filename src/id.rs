//! Identifiers: who wrote, what was written, and the dot that names one write.

use std::cmp::Ordering;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest, Sha1};
use uuid::{Builder, Uuid};

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Takes a UUID that was made elsewhere.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID behind this id.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }

            /// The sixteen bytes of the id, in the order that it sorts by.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        /// By the sixteen bytes.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                // As numbers they compare in two instructions, in the same order.
                self.0.as_u128().cmp(&other.0.as_u128())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<[u8; 16]> for $name {
            fn from(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

/// Names one writer: one opening of a replica that wrote. 79 random bits.
///
/// A [`Replica`](crate::Replica) draws one at its first write after it was made, loaded or forked, so no two openings
/// share one, whatever was copied or restored. Its *birth* says which dot it continues. 12 bytes for good in every
/// replica; ids are this short since none is ever forgotten. Two of two million writers are equal with a probability
/// of 3 · 10⁻¹².
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WriterId([u8; 10]);

/// By the bytes.
impl Ord for WriterId {
    fn cmp(&self, other: &Self) -> Ordering {
        // Numbers compare in a few instructions. Their order is that of the bytes.
        let numbers = |[a, b, c, d, e, f, g, h, i, j]: [u8; 10]| {
            (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u16::from_be_bytes([i, j]))
        };
        numbers(self.0).cmp(&numbers(other.0))
    }
}

impl PartialOrd for WriterId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The first bit of ids that nobody draws.
const DERIVED: u8 = 0x80;

impl WriterId {
    /// The length of an id, in bytes.
    pub const LEN: usize = 10;

    /// True if the id was made from a content that had lost its dot, and not drawn: see [`Dropped`](crate::kernel::Dropped).
    pub const fn is_derived(&self) -> bool {
        self.0[0] & DERIVED != 0
    }

    /// The id of this name that no replica draws.
    pub(crate) const fn derived(mut self) -> Self {
        self.0[0] |= DERIVED;
        self
    }

    /// The id of this name that a replica draws.
    pub(crate) const fn drawn(mut self) -> Self {
        self.0[0] &= !DERIVED;
        self
    }

    /// The bytes of the id, in the order that it sorts by.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<[u8; 10]> for WriterId {
    fn from(bytes: [u8; 10]) -> Self {
        Self(bytes)
    }
}

/// Twenty hexadecimal digits.
impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriterId({self})")
    }
}

impl std::str::FromStr for WriterId {
    type Err = ParseWriterIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 2 * Self::LEN && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten().ok_or(ParseWriterIdError)?;
        let mut id = [0; Self::LEN];
        id.copy_from_slice(&number.to_be_bytes()[16 - Self::LEN..]);
        Ok(Self(id))
    }
}

/// As text where the format is for people, else as bytes.
impl Serialize for WriterId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serde_bytes::Bytes::new(&self.0).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for WriterId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        match deserializer.is_human_readable() {
            true => String::deserialize(deserializer)?.parse().map_err(D::Error::custom),
            false => {
                let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
                <[u8; 10]>::try_from(&bytes[..]).map(Self).map_err(|_| D::Error::custom(ParseWriterIdError))
            }
        }
    }
}

/// The text is no [`WriterId`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the id of a writer: that is 20 lower-case hexadecimal digits")]
pub struct ParseWriterIdError;

uuid_id! {
    /// Names one node of a graph, in every replica and for ever.
    ///
    /// ```
    /// use driftless::NodeId;
    /// // Two replicas that import the same fact get the same node.
    /// assert_eq!(NodeId::named("wn:n00015388"), NodeId::named("wn:n00015388"));
    /// assert_ne!(NodeId::new(), NodeId::new());
    /// ```
    NodeId
}

uuid_id! {
    /// Names one edge of a graph. It is derived from the edge's ends and type (and a number, for parallel edges), so
    /// the same fact stated by two replicas is one edge.
    EdgeId
}

/// Namespace of [`NodeId::named`] (version 5 of the URL namespace and this crate's name).
const NODE_NAMESPACE: Uuid = Uuid::from_u128(0x5c0c_3f6e_0d5b_5a40_8b3f_2f0d_6a5e_9b01);
/// Namespace of derived [`EdgeId`]s.
const EDGE_NAMESPACE: Uuid = Uuid::from_u128(0x5c0c_3f6e_0d5b_5a40_8b3f_2f0d_6a5e_9b02);

impl NodeId {
    /// A new id that sorts by the time it was made (UUID version 7, RFC 9562): new nodes lie side by side in memory.
    /// It tells everyone who sees it when it was made; take `NodeId::from(Uuid::new_v4())` where that matters.
    #[allow(clippy::new_without_default, reason = "a default that differs each time would surprise")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of what already has a name: the same name gives the same id everywhere (UUID version 5, RFC 9562).
    /// Names are compared byte by byte; normalise Unicode before, if your names come from keyboards.
    pub fn named(name: &str) -> Self {
        Self::named_in_bytes(name.as_bytes())
    }

    /// The id of a name, of which it is not known whether it is text.
    pub(crate) fn named_in_bytes(name: &[u8]) -> Self {
        Self(named_id(&NODE_NAMESPACE, &[name]))
    }
}

impl EdgeId {
    /// The id of the edge `source --edge_type--> target`.
    pub fn between(source: NodeId, edge_type: &str, target: NodeId) -> Self {
        Self::numbered(source, edge_type, target, 0)
    }

    /// The id of one of several parallel edges; number 0 is [`between`](Self::between).
    pub fn numbered(source: NodeId, edge_type: &str, target: NodeId, number: u64) -> Self {
        Self::numbered_in_bytes(source.as_bytes(), edge_type.as_bytes(), target.as_bytes(), number)
    }

    /// The same of ids and a type of which it is not known whether it is text.
    pub(crate) fn numbered_in_bytes(source: &[u8; 16], edge_type: &[u8], target: &[u8; 16], number: u64) -> Self {
        // Fixed-width parts first: no two different edges spell the same bytes.
        let ends = [source, target, &number.to_be_bytes()[..], edge_type];
        Self(named_id(&EDGE_NAMESPACE, &ends))
    }
}

/// The UUID of version 5 (RFC 9562) of a name that these parts make up.
fn named_id(namespace: &Uuid, name: &[&[u8]]) -> Uuid {
    let mut hasher = Sha1::new_with_prefix(namespace.as_bytes());
    name.iter().for_each(|part| hasher.update(part));
    let hash: [u8; 20] = hasher.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    Builder::from_sha1_bytes(id).into_uuid()
}

/// Names exactly one write to exactly one cell, anywhere and for ever (Almeida, Shoker, Baquero: *Delta State
/// Replicated Data Types*, 2018). Every mutation mints one, removals too.
///
/// The counter is the depth of the write on its path: the first write of a writer that continues dot 7 of another has
/// counter 8. A root begins at 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Dot {
    /// The writer.
    pub writer: WriterId,
    /// Sequence number of the write, counted along the writer's path.
    pub counter: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.writer, self.counter)
    }
}

/// Names a conflict: made from what it is about and the dots of all that is in it, so it is the same in every replica that
/// sees the same of it, and another as soon as something of it is written.
///
/// As text, and serialised, it is 66 hexadecimal digits. The first of them are a hash, so a few digits name a conflict to
/// a person, and [`conflict`](crate::Document::conflict) finds it by them.
///
/// ```
/// use driftless::{Document, Replica};
/// let (mut laptop, mut phone) = (Replica::<Document>::new(), Replica::<Document>::new());
/// laptop.edit(|d| d.set("/name", "Ada"))?;
/// let (_, delta) = phone.edit(|d| d.set("/name", "Augusta"))?;
/// laptop.merge(&delta)?;
/// let id = laptop.state().conflicts().next().ok_or("a conflict")?.id;
/// assert_eq!(id.to_string().parse(), Ok(id));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConflictId {
    kind: u8,
    entity: [u8; 16],
    hash: u128,
}

impl ConflictId {
    pub(crate) fn new(kind: u8, entity: [u8; 16], hash: u128) -> Self {
        Self { kind, entity, hash }
    }

    /// The first eight digits: enough to tell some thousand conflicts apart.
    pub fn short(&self) -> String {
        format!("{:08x}", self.hash >> 96)
    }

    /// Kind and id of the entity that the conflict is about.
    pub(crate) fn entity(self) -> (u8, [u8; 16]) {
        (self.kind, self.entity)
    }
}

/// 66 hexadecimal digits: the hash, then the entity, which many conflicts share.
impl fmt::Display for ConflictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}{:02x}{:032x}", self.hash, self.kind, u128::from_be_bytes(self.entity))
    }
}

impl fmt::Debug for ConflictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConflictId({self})")
    }
}

impl std::str::FromStr for ConflictId {
    type Err = ParseConflictIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |from: usize, to: usize| {
            let digits = text.get(from..to).filter(|d| d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
            digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()).ok_or(ParseConflictIdError)
        };
        if text.len() != 66 {
            return Err(ParseConflictIdError);
        }
        let kind = part(32, 34)? as u8;
        Ok(Self { kind, entity: part(34, 66)?.to_be_bytes(), hash: part(0, 32)? })
    }
}

impl Serialize for ConflictId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConflictId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A text is no [`ConflictId`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the id of a conflict: that is 66 lower-case hexadecimal digits, as it was listed")]
pub struct ParseConflictIdError;

#[cfg(test)]
mod tests {
    use super::*;

    /// Values computed by Python's `uuid.uuid5`.
    #[test]
    fn names_give_the_ids_that_version_5_of_uuids_gives() {
        let id = |name| NodeId::named(name).to_string();
        assert_eq!(id("person:ada"), "e67a6bc4-5246-59a8-b9f5-16dbf03ca70a");
        assert_eq!(id(&"long".repeat(40)), "084c6db1-3ac3-5ebe-b356-844f5f4c6aae");
        let edge = EdgeId::numbered(NodeId::named("a"), "knows", NodeId::named("b"), 3);
        assert_eq!(edge.to_string(), "cf660465-d1ce-5c3c-bb6f-df5f4eba5b0d");
    }
}
