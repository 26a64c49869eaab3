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
use crate::escape::Escaped;
use crate::id::{Dot, ReplicaId};
use crate::kernel::cells::Cell;
use crate::kernel::delta::{Delta, DeltaKind};
use crate::kernel::key::{Entity, Field, Interner, Payload, Sibling};
use crate::kernel::state::{Before, State, Touched};
use crate::kernel::visits;
use crate::version::VersionVector;

/// Why a replica was not repaired. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The delta does not hold all that lives at the peer: what it leaves out would be taken for dead.
    #[error("only a complete delta tells what is alive at the peer: ask it for one (`complete`)")]
    Kind,
    /// The two have not seen the same, so a difference proves nothing.
    #[error(
        "the peer has not seen exactly what was seen here: merge each other's deltas first, then ask it for a complete \
         delta again"
    )]
    Version {
        /// What has been seen here.
        ours: VersionVector,
        /// What the peer has seen.
        theirs: VersionVector,
    },
    /// The delta belongs to another type.
    #[error("a delta of type `{}` cannot repair a `{ours}`", Escaped(.theirs))]
    Schema {
        /// The type of this replica.
        ours: &'static str,
        /// The type that the delta names.
        theirs: String,
    },
}

/// A live sibling, and the cell that it stands in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The entity of the cell.
    pub entity: Entity,
    /// The field of the cell.
    pub field: Field,
    /// What the cell holds.
    pub sibling: Sibling,
}

/// What was alive here before a repair and no longer is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// What stood here.
    pub was: Held,
    /// What the peer holds under the same dot, and we do now; `None` if the dot is dead there.
    pub now: Option<Held>,
}

/// What lives at the peer.
struct Theirs<'a> {
    entity: Entity,
    field: &'a [u8],
    dot: Dot,
    stamp: Stamp,
    payload: &'a Payload,
}

/// The canonical order of what two replicas hold under one dot. Total: equal means the same.
type Canonical<'a> = (Entity, &'a [u8], Stamp, Option<&'a Payload>);

impl Theirs<'_> {
    fn canonical(&self) -> Canonical<'_> {
        (self.entity, self.field, self.stamp, Some(self.payload))
    }

    fn held(&self, interner: &mut Interner) -> Held {
        let sibling = Sibling { dot: self.dot, stamp: self.stamp, payload: Some(self.payload.clone()) };
        Held { entity: self.entity, field: interner.intern(self.field), sibling }
    }
}

impl Held {
    fn canonical(&self) -> Canonical<'_> {
        (self.entity, self.field.as_bytes(), self.sibling.stamp, self.sibling.payload.as_ref())
    }
}

/// A sibling that leaves its cell or comes into one. Sorted, all that leave go before all that come: no dot is ever in two
/// cells.
struct Move {
    comes: bool,
    held: Held,
}

impl Move {
    fn entity(&self) -> (bool, Entity) {
        (self.comes, self.held.entity)
    }

    fn order(&self) -> (bool, Entity, &[u8], Dot) {
        (self.comes, self.held.entity, self.held.field.as_bytes(), self.held.sibling.dot)
    }
}

/// A repair under way: all is judged, and then it goes one entity a step, so that what is derived from cells can follow.
pub(crate) struct Repairing {
    /// What a peer must have seen to be told of later changes alone.
    pruned: VersionVector,
    /// What is dropped here, by dot.
    dropped: Vec<Dropped>,
    /// Whether the two differ in a write of our own.
    pub(crate) own_differs: bool,
    moves: Vec<Move>,
    next: usize,
    /// Every cell that has changed, as it was.
    before: BTreeMap<(Entity, Field), Cell>,
}

impl Repairing {
    /// Judges every dot that is alive here or there. O(n).
    pub(crate) fn new(
        state: &State,
        theirs: &Delta,
        own: Option<ReplicaId>,
        interner: &mut Interner,
    ) -> Result<Self, RepairError> {
        if theirs.kind != DeltaKind::Complete {
            return Err(RepairError::Kind);
        }
        if theirs.upto != state.version {
            return Err(RepairError::Version { ours: state.version.clone(), theirs: theirs.upto.clone() });
        }
        let (only_here, only_there) = differences(state, theirs);
        let differing = || only_here.keys().chain(only_there.keys());
        let own_differs = differing().any(|dot| Some(dot.replica) == own);
        // What such a write overwrote on one side is dead now on both, and no cell may be left to tell so: like a pruned
        // tombstone.
        let mut pruned = theirs.pruned.clone();
        differing().for_each(|dot| pruned.observe(*dot));
        let (mut dropped, mut moves) = (Vec::new(), Vec::new());
        for (dot, was) in only_here {
            let there = only_there.get(&dot);
            // What is dead there is dead.
            if there.is_some_and(|there| there.canonical() <= was.canonical() || is(Bug::RepairKeepsOurs)) {
                continue;
            }
            let now = there.map(|there| there.held(interner));
            moves.push(Move { comes: false, held: was.clone() });
            moves.extend(now.iter().map(|now| Move { comes: true, held: now.clone() }));
            dropped.push(Dropped { was, now });
        }
        moves.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
        Ok(Self { pruned, dropped, own_differs, moves, next: 0, before: BTreeMap::new() })
    }

    /// Changes the next entity and says what it touched. Returns false once all is done.
    pub(crate) fn step(&mut self, state: &mut State, touched: &mut Vec<Touched>) -> bool {
        touched.clear();
        let rest = &self.moves[self.next..];
        let Some(of_entity) = rest.chunk_by(|a, b| a.entity() == b.entity()).next() else {
            state.pruned.join(&self.pruned);
            return false;
        };
        self.next += of_entity.len();
        state.change(of_entity[0].held.entity, |ours| {
            for of_cell in of_entity.chunk_by(|a, b| a.held.field == b.held.field) {
                let field = &of_cell[0].held.field;
                let moved = |dot: Dot| of_cell.binary_search_by_key(&dot, |m| m.held.sibling.dot).is_ok();
                let stay = ours.cells().siblings(field.as_bytes()).filter(|sibling| !moved(sibling.dot)).cloned();
                let come = of_cell.iter().filter(|m| m.comes).map(|m| m.held.sibling.clone());
                let mut next: Cell = stay.chain(come).collect();
                next.sort_unstable_by_key(|sibling| sibling.dot);
                visits::count(1);
                touched.push(ours.replace(field, next));
            }
        });
        for touched in touched.iter() {
            let cell = (touched.entity, touched.field.clone());
            self.before.entry(cell).or_insert_with(|| touched.was().iter().cloned().collect());
        }
        true
    }

    /// Each cell that changed, once: a sibling may have left it and another have come.
    pub(crate) fn finish(self, state: &State) -> (Vec<Dropped>, Vec<Touched>) {
        let before = self.before.into_iter().map(|((entity, field), was)| Before { entity, field, was });
        (self.dropped, before.map(|before| before.until(state)).collect())
    }
}

/// What lives on one side and not just so on the other, by dot.
fn differences<'a>(state: &State, theirs: &'a Delta) -> (BTreeMap<Dot, Held>, BTreeMap<Dot, Theirs<'a>>) {
    let (mut only_here, mut only_there) = (BTreeMap::new(), BTreeMap::new());
    let hold = |(entity, field, sibling): (Entity, &Field, &Sibling)| Held {
        entity,
        field: field.clone(),
        sibling: sibling.clone(),
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
        if let (Some((_, _, ours)), Some(theirs)) = (ours, &theirs)
            && (ours.stamp, ours.payload.as_ref()) == (theirs.stamp, Some(theirs.payload))
        {
            continue;
        }
        only_here.extend(ours.map(|ours| (ours.2.dot, hold(ours))));
        only_there.extend(theirs.map(|theirs| (theirs.dot, theirs)));
    }
    (only_here, only_there)
}

fn live_in(delta: &Delta) -> impl Iterator<Item = Theirs<'_>> {
    let writes = delta.parts().flat_map(|part| part.writes.iter().map(move |write| (part.entity, write)));
    writes.filter_map(|(entity, write)| {
        let (field, dot) = (delta.fields.get(write.field), delta.write_dot(write));
        Some(Theirs { entity, field, dot, stamp: write.stamp, payload: write.payload.as_ref()? })
    })
}
