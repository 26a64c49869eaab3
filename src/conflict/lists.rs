//! Conflicts within lists, and how they are settled.

use std::collections::HashSet;

use crate::conflict::list::Source;
use crate::conflict::nested::Dots;
use crate::conflict::resolve::{Outcome, Settling, Write};
use crate::conflict::{Candidate, Conflict, ConflictKind, Content, Resolution};
use crate::document::{ElementId, FieldBytes, Path, Place, Plan, Property, moved_field_of, moved_to};
use crate::error::{EditError, PathError};
use crate::kernel::{Entity, Field, SiblingRef};

impl<'a> Source<'a> {
    /// Different places of an element that is there.
    pub(super) fn element_move(
        self,
        entity: Entity,
        property: Property<'a>,
        siblings: &[SiblingRef<'a>],
        dots: Dots,
    ) -> Option<Conflict<'a>> {
        let born = moved_element(property)?;
        let start = Place::from(property.place).field(property.kind);
        let order = self.sequences.lists.get(entity, &start).filter(|order| order.index_of(born).is_some())?;
        let (mut candidates, mut known) = (Vec::new(), HashSet::new());
        for sibling in siblings {
            let Some(to) = sibling.payload.and_then(moved_to) else { continue };
            if known.insert(to) {
                candidates.push(Candidate::new(Content::Index(order.before(to, born)), *sibling));
            }
        }
        let path = property.place.path()?.element(ElementId::of(born)).ok()?;
        (candidates.len() > 1).then(|| self.conflict(ConflictKind::ElementMove, entity, path, candidates, dots))?
    }

    /// The place of an element that is not there.
    pub(super) fn moved_while_removed(self, entity: Entity, field: &'a Field) -> Option<Conflict<'a>> {
        let property = Property::of(field.as_bytes())?;
        let born = moved_element(property)?;
        let live = || self.state.cells(entity).into_iter().flat_map(|cells| cells.live(field.as_bytes()));
        let latest = live().max_by_key(|sibling| sibling.precedence())?;
        let start = Place::from(property.place).field(property.kind);
        let order = self.sequences.lists.get(entity, &start);
        let to = latest.payload.and_then(moved_to).unwrap_or(born);
        let content = Content::Index(order.map_or(0, |order| order.before(to, born)));
        let path = property.place.path()?.element(ElementId::of(born)).ok()?;
        let dots = live().map(|sibling| sibling.dot).collect();
        self.conflict(ConflictKind::MovedWhileRemoved, entity, path, vec![Candidate::new(content, latest)], dots)
    }
}

impl Settling<'_, '_> {
    /// Writes the place that is chosen.
    pub(super) fn element_move<'v>(&self, resolution: &Resolution<'_>) -> Result<Outcome<'v>, EditError> {
        let field = moved_field(&self.conflict.path)?;
        let chosen = self.chosen(resolution)?.map(|candidate| candidate.dot);
        let sibling = chosen.and_then(|dot| self.cells?.get(&field, dot));
        let Some(payload) = sibling.and_then(|sibling| sibling.payload) else {
            return Err(self.does_not_fit(resolution, "one of the places can be chosen"));
        };
        let shows = self.conflict.candidates.first().map(|candidate| candidate.dot) == chosen;
        let write = Write::Plan(Plan::of(field, payload.to_payload()));
        Ok(if shows { Outcome::Shows(write) } else { Outcome::Write(write) })
    }

    /// Removes what is left of an element.
    pub(super) fn moved_while_removed<'v>(&self, resolution: &Resolution<'_>) -> Result<Outcome<'v>, EditError> {
        match resolution {
            Resolution::Confirm | Resolution::Delete => {
                Ok(Outcome::Write(Write::Plan(Plan::erasing(moved_field(&self.conflict.path)?))))
            }
            _ => Err(self.does_not_fit(resolution, "the removal can be confirmed; what was in the element is gone")),
        }
    }
}

/// The position at which the element was born that a cell says the place of.
fn moved_element(property: Property<'_>) -> Option<&[u8]> {
    property.key.strip_prefix(&[crate::kind::MOVED])
}

/// The field of the cell that says where the element of a path was moved to.
pub(super) fn moved_field(path: &Path) -> Result<FieldBytes, PathError> {
    let place = Place::of(path)?;
    moved_field_of(&place).ok_or_else(|| PathError::Element(path.to_string()))
}
