//! What must be alive, by definition.

use std::collections::BTreeMap;

use crate::id::Dot;
use crate::kernel::{Entity, State};
use crate::version::Version;

/// The list of all writes that anybody made, and what follows from it for whoever has seen some of them.
///
/// A write is alive in a version unless another write of that version had seen it and overwrote its cell or deleted its
/// entity: the definition, in O(n²), sharing no code with what it judges.
#[derive(Clone, Default, Debug)]
pub struct Oracle {
    writes: BTreeMap<Dot, Event>,
}

/// A live write: which, where, what.
type Alive = (Dot, Entity, Vec<u8>, (u8, Vec<u8>));

#[derive(Clone, Debug)]
struct Event {
    entity: Entity,
    field: Vec<u8>,
    /// Kind and bytes; none for a removal.
    value: Option<(u8, Vec<u8>)>,
    seen: Version,
}

impl Oracle {
    /// Records a write made by a replica of version `seen`. The removal of a root deletes the entity.
    ///
    /// `seen` is a clone of the replica's own version before the edit: one that came as bytes does not know all that it covers.
    /// Of several writes of one edit each has seen those before it.
    pub fn record(&mut self, dot: Dot, entity: Entity, field: &[u8], value: Option<(u8, &[u8])>, seen: &Version) {
        let value = value.map(|(kind, bytes)| (kind, bytes.to_vec()));
        let event = Event { entity, field: field.to_vec(), value, seen: seen.clone() };
        let before = self.writes.insert(dot, event);
        assert!(before.is_none(), "{dot} was minted twice");
    }

    /// What is alive for somebody who has seen `version`, sorted by dot.
    fn alive(&self, version: &Version) -> Vec<Alive> {
        let of_version: Vec<_> = self.writes.iter().filter(|(dot, _)| version.covers(**dot)).collect();
        let saw = |other: &Dot, by: &Event, dot: &Dot| {
            by.seen.covers(*dot) || (dot.writer == other.writer && dot.counter < other.counter)
        };
        let killed = |dot: &Dot, event: &Event| {
            of_version.iter().any(|(other, by)| {
                let deletes = by.field.is_empty() && by.value.is_none();
                *other != dot
                    && by.entity == event.entity
                    && saw(other, by, dot)
                    && (by.field == event.field || deletes)
            })
        };
        of_version
            .iter()
            .filter(|(dot, event)| !killed(dot, event))
            .filter_map(|(dot, event)| Some((**dot, event.entity, event.field.clone(), event.value.clone()?)))
            .collect()
    }

    /// Compares a state with what must be alive at its version.
    pub fn check(&self, state: &State) -> Result<(), String> {
        let mut found: Vec<Alive> = state
            .live_siblings()
            .filter_map(|(entity, field, sibling)| {
                let payload = sibling.payload.as_ref()?;
                Some((sibling.dot, entity, field.as_bytes().to_vec(), (payload.kind(), payload.bytes().to_vec())))
            })
            .collect();
        found.sort();
        let expected = self.alive(state.version());
        match found == expected {
            true => Ok(()),
            false => Err(format!("alive: {found:?}\nmust be alive: {expected:?}")),
        }
    }
}
