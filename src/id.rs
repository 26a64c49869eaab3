//! Identifiers: who wrote, what was written, and the dot that names one write.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};
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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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
