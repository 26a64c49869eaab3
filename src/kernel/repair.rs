//! Making two states of one version equal that are not: bit rot, or one dot with two contents.
//!
//! Each dot is judged by itself. To be dead is above every content, and contents (a cell, a stamp, a payload) are in a
//! total order: so of what several replicas hold under a dot there is one greatest, and whoever repairs by whom in whatever
//! order, it is what all end with.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use thiserror::Error;

use crate::bugs::{Bug, is};
use crate::clock::Stamp;
use crate::error::Refused;
use crate::escape::Escaped;
use crate::id::{Dot, WriterId};
use crate::kernel::delta::{Delta, DeltaKind};
use crate::kernel::doubled::{Dropped, Held, Move, Moves};
use crate::kernel::key::{Entity, FieldRef, Interner, Payload, Sibling, SiblingRef};
use crate::kernel::state::{State, Touched};
use crate::kernel::visits;
use crate::version::Version;

/// Why a replica was not repaired. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The delta does not hold all that lives at the peer: what it leaves out would be taken for dead.
    #[error("only a complete delta tells what is alive at the peer: ask it for one (`complete_with_tombstones`)")]
    Kind,
    /// The two have not seen the same, so a difference proves nothing.
    #[error(
        "the peer has not seen exactly what was seen here: merge each other's deltas first, then ask it for a complete \
         delta again"
    )]
    Version {
        /// What has been seen here.
        ours: Version,
        /// What the peer has seen.
        theirs: Version,
    },
    /// The delta belongs to another type.
    #[error("a delta of type `{}` cannot repair a `{ours}`", Escaped(.theirs))]
    Schema {
        /// The type of this replica.
        ours: &'static str,
        /// The type that the delta names.
        theirs: String,
    },
    /// The store or the gate around the replica refused the delta.
    #[error("the delta was refused before it was taken: {0}")]
    Refused(#[source] Refused),
}

/// What lives at the peer.
struct Theirs<'a> {
    entity: Entity,
    field: &'a [u8],
    dot: Dot,
    stamp: Stamp,
    payload: &'a Payload,
}

impl Theirs<'_> {
    fn held(&self, interner: &mut Interner) -> Held {
        let sibling = Sibling { dot: self.dot, stamp: self.stamp, payload: Some(self.payload.clone()) };
        Held { entity: self.entity, field: interner.intern(self.field), sibling }
    }
}

/// A repair under way: all is judged, and then it goes one entity a step, so that what is derived from cells can follow.
pub(crate) struct Repairing {
    /// What a peer must have seen to be told of later changes alone.
    pruned: Version,
    /// What is dropped here, or rescued, by dot.
    dropped: Vec<Dropped>,
    /// True if the two differ in a write of our own.
    pub(crate) own_differs: bool,
    moves: Moves,
    rescues: Option<Moves>,
}

impl Repairing {
    /// Judges every dot that is alive here or there and that `theirs` covers. O(n).
    ///
    /// With `may_be_older` the peer may have seen less than we have: then a dot that is alive there and dead here proves
    /// nothing, since it may have died since.
    pub(crate) fn new(
        state: &State,
        theirs: &Delta,
        may_be_older: bool,
        own: Option<WriterId>,
        interner: &mut Interner,
    ) -> Result<Self, RepairError> {
        if theirs.kind != DeltaKind::Complete {
            return Err(RepairError::Kind);
        }
        let is_older = may_be_older && theirs.upto != state.version;
        let upto = state.version.resolve(&theirs.upto).filter(|upto| state.version.includes(upto));
        let Some(upto) = upto.filter(|upto| is_older || *upto == state.version) else {
            return Err(RepairError::Version { ours: state.version.bare(), theirs: theirs.upto.clone() });
        };
        let (mut only_here, mut only_there) = differences(state, theirs);
        // A dot with a content on one side and a removal on the other has two contents.
        let removed_there = tombstones_in(theirs, |dot| only_here.contains_key(&dot), interner);
        let removed = |dot: &Dot| state.held(*dot).filter(|held| !held.sibling.is_live());
        let removed_here: BTreeMap<Dot, Held> =
            only_there.keys().filter_map(|dot| Some((*dot, removed(dot)?))).collect();
        if is_older {
            only_here.retain(|dot, _| upto.covers(*dot));
            only_there.retain(|dot, _| only_here.contains_key(dot) || removed_here.contains_key(dot));
        }
        let differing = || only_here.keys().chain(only_there.keys());
        let own_differs = differing().any(|dot| Some(dot.writer) == own);
        let mut pruned = state.version.resolve(&theirs.pruned).unwrap_or_else(|| state.version.clone());
        if may_be_older && only_here.is_empty() && only_there.is_empty() {
            pruned = state.version.nothing();
        }
        pruned.observe_all(differing().copied());
        if only_here.len() != only_there.len() || only_here.keys().any(|dot| !only_there.contains_key(dot)) {
            // The write that ended one of them may have left no cell to tell of it, and may be any that was seen since.
            pruned.join(&state.version);
        }
        let (mut dropped, mut moves) = (Vec::new(), Vec::new());
        let removed_here = removed_here.into_iter().filter_map(|(dot, held)| {
            let was = only_there.get(&dot)?.held(interner);
            Some(Dropped { was, now: Some(held), rescued: None })
        });
        dropped.extend(removed_here);
        for (dot, was) in only_here {
            let there = only_there.get(&dot).map(|there| there.held(interner));
            // What is dead there is dead.
            let Some(there) = there.or_else(|| removed_there.get(&dot).cloned()) else {
                moves.push(Move { comes: false, held: was.clone() });
                dropped.push(Dropped { was, now: None, rescued: None });
                continue;
            };
            if there.rank() < was.rank() || is(Bug::RepairKeepsOurs) {
                dropped.push(Dropped { was: there, now: Some(was), rescued: None });
                continue;
            }
            moves.push(Move { comes: false, held: was.clone() });
            // A tombstone need not come: the dot counts as pruned.
            if there.sibling.is_live() {
                moves.push(Move { comes: true, held: there.clone() });
            }
            dropped.push(Dropped { was, now: Some(there), rescued: None });
        }
        Ok(Self { pruned, dropped, own_differs, moves: Moves::new(moves), rescues: None })
    }

    /// Changes the next entity and says what it touched. Returns false once all is done.
    pub(crate) fn step(&mut self, state: &mut State, touched: &mut Vec<Touched>) -> bool {
        touched.clear();
        if self.moves.step(state, touched) {
            return true;
        }
        if self.rescues.get_or_insert_with(|| state.rescue(&mut self.dropped)).step(state, touched) {
            return true;
        }
        state.pruned.adopt(&state.version);
        state.pruned.join(&self.pruned);
        false
    }

    /// What lost its dot or its life.
    pub(crate) fn finish(self) -> Vec<Dropped> {
        self.dropped
    }
}

/// What lives on one side and not just so on the other, by dot.
fn differences<'a>(state: &State, theirs: &'a Delta) -> (BTreeMap<Dot, Held>, BTreeMap<Dot, Theirs<'a>>) {
    let (mut only_here, mut only_there) = (BTreeMap::new(), BTreeMap::new());
    let hold = |(entity, field, sibling): (Entity, FieldRef<'_>, SiblingRef<'_>)| Held {
        entity,
        field: field.to_field(),
        sibling: sibling.to_sibling(),
    };
    // Both are sorted by entity, field and dot.
    let (mut here, mut there) = (state.live_siblings().peekable(), live_in(theirs).peekable());
    loop {
        visits::count(1);
        let order = match (here.peek(), there.peek()) {
            (Some((entity, field, sibling)), Some(theirs)) => {
                (*entity, field.as_bytes(), sibling.dot).cmp(&(theirs.entity, theirs.field, theirs.dot))
            }
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        let ours = if order.is_le() { here.next() } else { None };
        let theirs = if order.is_ge() { there.next() } else { None };
        if let (Some((_, _, ours)), Some(theirs)) = (&ours, &theirs)
            && (ours.stamp, ours.payload) == (theirs.stamp, Some(theirs.payload.as_ref()))
        {
            continue;
        }
        only_here.extend(ours.map(|ours| (ours.2.dot, hold(ours))));
        only_there.extend(theirs.map(|theirs| (theirs.dot, theirs)));
    }
    (only_here, only_there)
}

/// The tombstones of a delta under some dots.
fn tombstones_in(delta: &Delta, of: impl Fn(Dot) -> bool, interner: &mut Interner) -> BTreeMap<Dot, Held> {
    let mut removed = BTreeMap::new();
    for part in delta.parts() {
        for write in part.writes.iter().filter(|write| write.payload.is_none()) {
            let dot = delta.write_dot(write);
            if of(dot) {
                let field = interner.intern(delta.fields.get(write.field));
                let sibling = Sibling { dot, stamp: write.stamp, payload: None };
                removed.insert(dot, Held { entity: part.entity, field, sibling });
            }
        }
    }
    removed
}

fn live_in(delta: &Delta) -> impl Iterator<Item = Theirs<'_>> {
    let writes = delta.parts().flat_map(|part| part.writes.iter().map(move |write| (part.entity, write)));
    writes.filter_map(|(entity, write)| {
        let (field, dot) = (delta.fields.get(write.field), delta.write_dot(write));
        Some(Theirs { entity, field, dot, stamp: write.stamp, payload: write.payload.as_ref()? })
    })
}
