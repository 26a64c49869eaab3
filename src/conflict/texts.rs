//! Conflicts within texts, and how they are settled.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::conflict::list::Source;
use crate::conflict::nested::Dots;
use crate::conflict::resolve::{Outcome, Settling, Write};
use crate::conflict::{Candidate, Conflict, ConflictKind, Content, Resolution};
use crate::document::{
    Import, Place, PlaceRef, Plan, Property, anchor_at, are_settled, imports, letter, letter_payload,
};
use crate::error::EditError;
use crate::kernel::{Entity, SiblingRef};

impl<'a> Source<'a> {
    /// Several letters under one position.
    pub(super) fn letters(
        self,
        entity: Entity,
        property: Property<'a>,
        siblings: &[SiblingRef<'a>],
        dots: Dots,
    ) -> Option<Conflict<'a>> {
        let (mut candidates, mut known): (Vec<Candidate<'a>>, _) = (Vec::new(), HashSet::new());
        for sibling in siblings {
            let Some(letter) = sibling.payload.and_then(letter) else { continue };
            if known.insert(letter) {
                candidates.push(Candidate::new(Content::Text(letter.into()), *sibling));
            }
        }
        if candidates.len() < 2 {
            return None;
        }
        let kind = ConflictKind::SamePosition { at: anchor_at(property.key) };
        self.conflict(kind, entity, property.place.path()?, candidates, dots)
    }

    /// Texts that were put where none was, if there are several.
    pub(super) fn two_texts(self, entity: Entity, place: PlaceRef<'a>) -> Option<Conflict<'a>> {
        let cells = self.state.cells(entity)?;
        if are_settled(cells, place, &self.sequences.texts.import_tags(entity, place)) {
            return None;
        }
        let imports = imports(cells, place);
        let tags: Vec<u32> = imports.iter().map(|import| import.tag).collect();
        if imports.len() < 2 || are_settled(cells, place, &tags) {
            return None;
        }
        let dots = imports.iter().flat_map(|import| &import.letters).flat_map(|(_, siblings)| siblings);
        let dots = dots.map(|sibling| sibling.dot).collect();
        let candidate = |import: &Import<'a>| {
            let siblings = import.letters.iter().flat_map(|(_, siblings)| siblings).copied();
            let latest = siblings.max_by_key(|sibling| sibling.precedence())?;
            Some(Candidate::new(Content::Text(import.text()), latest))
        };
        let mut candidates: Vec<_> = imports.iter().filter_map(candidate).collect();
        candidates.sort_by_key(|candidate| Reverse((candidate.stamp, candidate.dot)));
        self.conflict(ConflictKind::TwoTexts, entity, place.path()?, candidates, dots)
    }
}

impl Settling<'_, '_> {
    /// Writes the letter that is chosen.
    pub(super) fn same_position<'v>(
        &self,
        field: &[u8],
        resolution: &Resolution<'_>,
    ) -> Result<Outcome<'v>, EditError> {
        match self.chosen(resolution)?.map(|candidate| &candidate.content) {
            Some(Content::Text(text)) if let Some(letter) = text.chars().next() => {
                Ok(Outcome::Write(Write::Plan(Plan::of(field.into(), letter_payload(letter)))))
            }
            _ => Err(self.does_not_fit(resolution, "one of the characters can be chosen; as it is, all show")),
        }
    }

    /// Keeps the text that is chosen, or says that all are to stand side by side, as they show.
    pub(super) fn two_texts<'v>(&self, place: Place, resolution: &Resolution<'_>) -> Result<Outcome<'v>, EditError> {
        if let Resolution::Confirm | Resolution::MergeFields | Resolution::Union = resolution {
            return Ok(Outcome::Write(Write::Texts { place, keep: None }));
        }
        let chosen = self.chosen(resolution)?;
        let found = self.cells.map(|cells| imports(cells, place.as_ref())).unwrap_or_default();
        let is_of = |import: &Import<'_>| {
            let mut siblings = import.letters.iter().flat_map(|(_, siblings)| siblings);
            chosen.is_some_and(|chosen| siblings.any(|sibling| sibling.dot == chosen.dot))
        };
        match found.iter().find(|import| is_of(import)) {
            Some(import) => Ok(Outcome::Write(Write::Texts { place: place.clone(), keep: Some(import.tag) })),
            None => Err(self.does_not_fit(resolution, "one of the texts can be chosen, or all kept as they show")),
        }
    }
}
