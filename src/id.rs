//! Identifiers: who wrote, what was written, and the dot that names one write.

use std::cmp::Ordering;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

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

uuid_id! {
    /// Names one writer: whoever mints dots under it is one sequence of writes.
    ///
    /// A [`Replica`](crate::Replica) mints its own at its first write, so two of them never share one unless a disk or
    /// a process was cloned; see [`Replica::rotate`](crate::Replica::rotate) for what happens then.
    ReplicaId
}

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
        Self(Uuid::new_v5(&NODE_NAMESPACE, name.as_bytes()))
    }
}

impl EdgeId {
    /// The id of the edge `source --edge_type--> target`.
    pub fn between(source: NodeId, edge_type: &str, target: NodeId) -> Self {
        Self::numbered(source, edge_type, target, 0)
    }

    /// The id of one of several parallel edges; number 0 is [`between`](Self::between).
    pub fn numbered(source: NodeId, edge_type: &str, target: NodeId, number: u64) -> Self {
        // Fixed-width parts first: no two different edges spell the same bytes.
        let mut name = Vec::with_capacity(40 + edge_type.len());
        name.extend_from_slice(source.as_bytes());
        name.extend_from_slice(target.as_bytes());
        name.extend_from_slice(&number.to_be_bytes());
        name.extend_from_slice(edge_type.as_bytes());
        Self(Uuid::new_v5(&EDGE_NAMESPACE, &name))
    }
}

/// Names exactly one write to exactly one cell, anywhere and for ever (Almeida, Shoker, Baquero: *Delta State
/// Replicated Data Types*, 2018). Every mutation mints one, removals too. Counters start at 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Dot {
    /// Who wrote.
    pub replica: ReplicaId,
    /// The writer's how-many-eth write.
    pub counter: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.replica, self.counter)
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
