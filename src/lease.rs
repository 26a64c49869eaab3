//! The lease: what proves that a saved state was not continued by anybody else.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::id::ReplicaId;

/// Proof that a saved state was not continued by anybody else: handed out by [`Replica::save`](crate::Replica::save), handed back to
/// [`Replica::resume`](crate::Replica::resume).
///
/// Keep it apart from the state, where a restored backup does not bring back an old one: that is all its worth. As text
/// (`Display`, `FromStr`) it fits in a file, a keychain, a registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    pub(crate) replica: ReplicaId,
    pub(crate) counter: u64,
    pub(crate) generation: u64,
}

/// Why a text is not a lease.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a lease; without one, `load` opens the state under a new id")]
pub struct LeaseError;

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.replica, self.counter, self.generation)
    }
}

impl FromStr for Lease {
    type Err = LeaseError;

    fn from_str(text: &str) -> Result<Self, LeaseError> {
        let mut parts = text.trim().split(':');
        let mut part = || parts.next().ok_or(LeaseError);
        let lease = Self {
            replica: part()?.parse().map_err(|_| LeaseError)?,
            counter: part()?.parse().map_err(|_| LeaseError)?,
            generation: part()?.parse().map_err(|_| LeaseError)?,
        };
        parts.next().is_none().then_some(lease).ok_or(LeaseError)
    }
}
