//! One list of everything that replicas disagreed on.

use std::fmt;

use crate::clock::Stamp;
use crate::document::{Path, Property, Value};
use crate::graph::{Graph, Owner, owner_of};
use crate::id::{Dot, ReplicaId};
use crate::kernel::{Crdt, Sibling};
use crate::kind::Kind;

/// A property that was set concurrently to different values. All of them are kept until somebody writes again, having
/// seen them.
///
/// A function of the live siblings: equal states have equal conflicts, whatever each replica has pruned. Equal values
/// written concurrently are none.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Conflict<'a> {
    /// The node or edge.
    pub of: Owner,
    /// The property.
    pub path: Path,
    /// Whether the node or edge is deleted: the conflict is among its [hidden survivors](Graph::hidden), and can be
    /// settled once the owner is restored.
    pub is_hidden: bool,
    /// The values, the one that shows first, then by falling precedence.
    pub candidates: Vec<Candidate<'a>>,
}

/// One of the values in a conflict.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// What was written.
    pub value: Value<'a>,
    /// Which write it was.
    pub dot: Dot,
    /// When, by its writer's clock.
    pub stamp: Stamp,
}

impl<'a> Candidate<'a> {
    fn new(sibling: &'a Sibling) -> Option<Self> {
        let value = Value::from_payload(sibling.payload.as_ref()?);
        Some(Self { value, dot: sibling.dot, stamp: sibling.stamp })
    }

    /// Who wrote it.
    pub fn replica(&self) -> ReplicaId {
        self.dot.replica
    }
}

impl<'a> Conflict<'a> {
    /// The value that shows: that of the latest stamp.
    pub fn winner(&self) -> Option<&Candidate<'a>> {
        self.candidates.first()
    }
}

impl fmt::Display for Conflict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}:", self.path, self.of)?;
        for (i, candidate) in self.candidates.iter().enumerate() {
            let shows = if i == 0 { ", shows" } else { "" };
            let (separator, millis) = (if i == 0 { " " } else { " | " }, candidate.stamp.millis());
            write!(f, "{separator}{} ({}, at {millis} ms{shows})", candidate.value, candidate.replica())?;
        }
        Ok(())
    }
}

impl Graph {
    /// Everything that replicas disagree on. Kept up with every change: listing costs what it lists.
    pub fn conflicts(&self) -> impl Iterator<Item = Conflict<'_>> + '_ {
        self.state().contested().filter_map(|(entity, field)| {
            let property = Property::of(field.as_bytes()).filter(|p| p.kind == Kind::Register)?;
            let (of, path, cells) = (owner_of(entity)?, property.place.path()?, self.state().cells(entity)?);
            let mut siblings: Vec<_> = cells.live(field.as_bytes()).collect();
            siblings.sort_unstable_by_key(|s| std::cmp::Reverse(s.precedence()));
            let candidates = siblings.into_iter().filter_map(Candidate::new).collect();
            Some(Conflict { of, path, is_hidden: !cells.is_live(), candidates })
        })
    }
}
