//! One dot with two contents: a running process was copied with its memory, and both copies went on as one writer.
//!
//! Every merge and every repair settles what it meets of that in the same way, so replicas may do so in any order:
//!
//! 1. Of two contents under one dot the greater keeps it: a removal above every content, and contents by entity, field,
//!    stamp and payload.
//! 2. A content that loses its dot is written again under a **derived** dot: the writer is a root whose id is a hash of dot
//!    and content, and its counter is 1. It replaces nothing. Whoever rescues the content writes the same dot, so there
//!    are no duplicates. If the version covers the derived dot already, the content is there, or was removed since.
//! 3. The dots that were settled count as pruned: what such a write overwrote on one side is dead on both, and there may be no cell
//!    left to tell a third replica so.
//!
//! A derived dot has one content, so it is never rescued. At most [`MAX_RESCUED`] contents are rescued at once, since
//! each is a head for good; others stand in the report, for the app to write again.

use std::collections::{BTreeMap, HashSet};

use crate::id::{Dot, WriterId};
use crate::kernel::delta::{Delta, DeltaBuilder, DeltaKind};
use crate::kernel::edit::hashed;
use crate::kernel::key::{Entity, Field, Interner, Sibling};
use crate::kernel::state::{Before, State, Touched};
use crate::kernel::visits;
use crate::version::{Birth, Version};

/// How many contents one merge or repair rescues.
pub const MAX_RESCUED: usize = 64;

/// A sibling, and the cell that it stands in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The entity of the cell.
    pub entity: Entity,
    /// The field of the cell.
    pub field: Field,
    /// What the cell holds.
    pub sibling: Sibling,
}

impl Held {
    /// The order of contents under one dot. Total: equal means the same. A removal is above every content.
    pub(super) fn rank(&self) -> (bool, Entity, &[u8], crate::clock::Stamp, Option<&crate::kernel::Payload>) {
        let Sibling { stamp, payload, .. } = &self.sibling;
        (payload.is_none(), self.entity, self.field.as_bytes(), *stamp, payload.as_ref())
    }

    /// The writer that the content is written again by.
    fn derived(&self) -> WriterId {
        let Self { entity, field, sibling: Sibling { dot, stamp, payload } } = self;
        let mut bytes = vec![entity.kind()];
        bytes.extend_from_slice(entity.id());
        bytes.extend_from_slice(dot.writer.as_bytes());
        bytes.extend_from_slice(&dot.counter.to_be_bytes());
        bytes.extend_from_slice(&stamp.to_bits().to_be_bytes());
        bytes.extend_from_slice(&(field.as_bytes().len() as u32).to_be_bytes());
        bytes.extend_from_slice(field.as_bytes());
        bytes.extend(payload.as_ref().map(|payload| payload.kind()));
        bytes.extend_from_slice(payload.as_ref().map_or(&[], |payload| payload.bytes()));
        WriterId::from(hashed(&bytes)).derived()
    }
}

/// A content that lost its dot, or its life, to what a peer holds under the same dot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// The content.
    pub was: Held,
    /// What stands under the dot now; none if the dot is dead.
    pub now: Option<Held>,
    /// The dot that the content was written again under; none if it was not.
    pub rescued: Option<Dot>,
}

/// A sibling that leaves its cell or comes into one. Sorted, all that leave go before all that come: no dot is ever in two
/// cells.
pub(super) struct Move {
    pub(super) comes: bool,
    pub(super) held: Held,
}

impl Move {
    fn entity(&self) -> (bool, Entity) {
        (self.comes, self.held.entity)
    }

    fn order(&self) -> (bool, Entity, &[u8], Dot) {
        (self.comes, self.held.entity, self.held.field.as_bytes(), self.held.sibling.dot)
    }
}

/// Moves under way, one entity a step.
#[derive(Default)]
pub(super) struct Moves {
    moves: Vec<Move>,
    next: usize,
}

impl Moves {
    pub(super) fn new(mut moves: Vec<Move>) -> Self {
        moves.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
        Self { moves, next: 0 }
    }

    /// Changes the next entity and says what it touched. Returns false once all is done.
    pub(super) fn step(&mut self, state: &mut State, touched: &mut Vec<Touched>) -> bool {
        let rest = &self.moves[self.next..];
        let Some(of_entity) = rest.chunk_by(|a, b| a.entity() == b.entity()).next() else { return false };
        self.next += of_entity.len();
        state.change(of_entity[0].held.entity, |ours| {
            for of_cell in of_entity.chunk_by(|a, b| a.held.field == b.held.field) {
                let field = &of_cell[0].held.field;
                let mut next = ours.cells().cell(field.as_bytes());
                of_cell.iter().for_each(|moved| next.remove(moved.held.sibling.dot));
                of_cell.iter().filter(|m| m.comes).for_each(|m| next.insert(m.held.sibling.clone()));
                visits::count(1);
                touched.push(ours.replace(field, next));
            }
        });
        true
    }
}

/// What a delta holds under dots that we hold with another content.
#[derive(Default)]
pub(super) struct Doubled {
    pub(super) dots: HashSet<Dot>,
    pub(super) moves: Vec<Move>,
    pub(super) dropped: Vec<Dropped>,
}

impl Doubled {
    /// O(|delta| · log n).
    pub(super) fn find(state: &State, delta: &Delta, had: &[u64], interner: &mut Interner) -> Self {
        let mut doubled = Self::default();
        for part in delta.parts() {
            // Known in another cell: our content is not what the delta buries there.
            for known in part.known {
                let dot = delta.known_dot(known);
                let elsewhere =
                    |ours: &Held| (ours.entity, ours.field.as_bytes()) != (part.entity, delta.fields.get(known.field));
                if state.held(dot).is_some_and(|ours| elsewhere(&ours)) {
                    doubled.dots.insert(dot);
                }
            }
            for write in part.writes.iter().filter(|write| write.counter <= had[write.writer as usize]) {
                let dot = delta.write_dot(write);
                let Some(ours) = state.held(dot) else { continue };
                let bytes = delta.fields.get(write.field);
                let same = ours.entity == part.entity
                    && ours.field.as_bytes() == bytes
                    && (ours.sibling.stamp, &ours.sibling.payload) == (write.stamp, &write.payload);
                if same {
                    continue;
                }
                let sibling = Sibling { dot, stamp: write.stamp, payload: write.payload.clone() };
                let theirs = Held { entity: part.entity, field: interner.intern(bytes), sibling };
                doubled.dots.insert(dot);
                doubled.settle(ours, theirs);
            }
            // What is written again there has lost its dot to another content, which we may not have: it is not dead. We
            // keep it until we meet that.
            let again = part.writes.iter().map(|write| (write, delta.write_dot(write)));
            let again =
                again.filter(|(write, dot)| dot.writer.is_derived() && dot.counter > had[write.writer as usize]);
            for (write, derived) in again {
                let Some(cells) = state.cells(part.entity) else { continue };
                let bytes = delta.fields.get(write.field);
                for sibling in cells.siblings(bytes).filter(|sibling| sibling.is_live()) {
                    let (field, sibling) = (interner.intern(bytes), sibling.to_sibling());
                    let ours = Held { entity: part.entity, field, sibling };
                    if ours.derived() == derived.writer {
                        doubled.dots.insert(ours.sibling.dot);
                    }
                }
            }
        }
        doubled
    }

    fn settle(&mut self, ours: Held, theirs: Held) {
        let (kept, lost) = if theirs.rank() > ours.rank() {
            self.moves.push(Move { comes: false, held: ours.clone() });
            self.moves.push(Move { comes: true, held: theirs.clone() });
            (theirs, ours)
        } else {
            (ours, theirs)
        };
        if lost.sibling.is_live() {
            self.dropped.push(Dropped { was: lost, now: Some(kept), rescued: None });
        }
    }
}

impl State {
    /// What is held under a dot. O(log n).
    pub(super) fn held(&self, dot: Dot) -> Option<Held> {
        let entity = self.derived.live.get(dot).or_else(|| self.derived.tombstones.get(dot))?;
        let cells = self.cells(entity)?;
        let field = cells.field_of(dot)?.to_field();
        let sibling = cells.get(field.as_bytes(), dot)?.to_sibling();
        Some(Held { entity, field, sibling })
    }

    /// Covers the dots that contents which lost theirs are written again under, and returns the writes.
    pub(super) fn rescue(&mut self, dropped: &mut [Dropped]) -> Moves {
        let mut moves = Vec::new();
        for dropped in dropped.iter_mut().filter(|dropped| dropped.now.is_some()) {
            let writer = dropped.was.derived();
            let dot = Dot { writer, counter: 1 };
            if self.version.covers(dot) {
                dropped.rescued = Some(dot);
                continue;
            }
            let birth = Birth { writer, parent: None, name: None };
            let known = dropped.was.sibling.dot.writer.is_derived() || moves.len() == MAX_RESCUED;
            if known || self.version.bear(&birth).is_err() || self.version.mint(writer, &mut 0) != Some(dot) {
                continue;
            }
            dropped.rescued = Some(dot);
            let sibling = Sibling { dot, ..dropped.was.sibling.clone() };
            moves.push(Move { comes: true, held: Held { sibling, ..dropped.was.clone() } });
        }
        Moves::new(moves)
    }

    /// What was written again, as a delta that applies to every replica. None if nothing was.
    pub(crate) fn rescued(&self, schema: &str, dropped: &[Dropped]) -> Option<Delta> {
        let rescued = dropped.iter().filter_map(|dropped| self.held(dropped.rescued?));
        let mut rescued: Vec<Held> = rescued.collect();
        rescued.sort_by(|a, b| {
            (a.entity, a.field.as_bytes(), a.sibling.dot).cmp(&(b.entity, b.field.as_bytes(), b.sibling.dot))
        });
        rescued.dedup();
        let upto: Version = rescued.iter().map(|held| held.sibling.dot).collect();
        let mut births: Vec<Birth> =
            rescued.iter().map(|held| Birth { writer: held.sibling.dot.writer, parent: None, name: None }).collect();
        births.sort_by_key(|birth| birth.writer);
        let versions = [Version::new(), upto, Version::new()];
        let mut delta =
            DeltaBuilder::with_births(schema, DeltaKind::Incremental, versions, births.into(), rescued.len() as u64);
        for of_entity in rescued.chunk_by(|a, b| a.entity == b.entity) {
            of_entity.iter().for_each(|held| delta.push_write(&held.field, held.sibling.as_ref()));
            delta.part(of_entity[0].entity, false);
        }
        (!rescued.is_empty()).then(|| delta.finish())
    }
}

/// Each cell that changed, once, as it was and is: a sibling may have left it and another have come.
pub(crate) fn once(touched: Vec<Touched>, state: &State) -> Vec<Touched> {
    let mut first: BTreeMap<(Entity, Field), Before> = BTreeMap::new();
    for touched in touched {
        let cell = (touched.entity, touched.field.clone());
        first.entry(cell).or_insert_with(|| touched.into_before());
    }
    first.into_values().map(|before| before.until(state)).collect()
}
