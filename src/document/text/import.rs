//! Texts that were put where none was, and are named by their content.
//!
//! Two replicas that put different texts into one place have both, one after the other: a conflict. Those that put the same have it once.

use std::collections::HashSet;

use im::OrdSet;
use smallvec::SmallVec;

use crate::document::mixed::Prefix;
use crate::document::place::{FieldBytes, PlaceRef};
use crate::document::sequences::Sequenced;
use crate::document::text::edit::TextMut;
use crate::document::text::rope::Rope;
use crate::document::text::texts::{shown, start_of};
use crate::document::value::kind;
use crate::error::EditError;
use crate::kernel::{Cells, Entity, Field, FieldRef, Go, Payload, SiblingRef};
use crate::position::{import_of, import_start};

/// The texts that may hold several imports: derived, and kept up with every change. Which they are is looked at when they are listed.
pub(super) type Doubled = OrdSet<(Entity, Prefix)>;

/// The live letters of one import.
pub(crate) struct Import<'a> {
    /// The name of its bunch.
    pub(crate) tag: u32,
    /// The live siblings of each cell, in order.
    pub(crate) letters: Vec<(FieldRef<'a>, SmallVec<[SiblingRef<'a>; 1]>)>,
}

impl Import<'_> {
    /// The letters that show.
    pub(crate) fn text(&self) -> String {
        let shown = self.letters.iter().filter_map(|(_, siblings)| shown(siblings.iter().copied()));
        shown.flat_map(|shown| shown.letters().to_vec()).collect()
    }
}

/// The live letters of each import at a place, in the order of their names. O(cells of imports, and what hangs from them).
pub(crate) fn imports<'a>(cells: Cells<'a>, place: PlaceRef<'_>) -> Vec<Import<'a>> {
    let start = start_of(place);
    let mut from = start.clone();
    from.extend_from_slice(&import_start(None));
    let mut found: Vec<Import<'a>> = Vec::new();
    for (field, sibling) in cells.with_prefix(from).filter(|(_, sibling)| sibling.is_live()) {
        let Some((tag, true)) = import_of(&field.as_bytes()[start.len()..]) else { continue };
        if shown([sibling].into_iter()).is_none() {
            continue;
        }
        if found.last().is_none_or(|import| import.tag != tag) {
            found.push(Import { tag, letters: Vec::new() });
        }
        let Some(import) = found.last_mut() else { continue };
        match import.letters.last_mut() {
            Some((last, siblings)) if *last == field => siblings.push(sibling),
            _ => import.letters.push((field, [sibling].into_iter().collect())),
        }
    }
    found
}

/// Returns whether a field is on the line of an import or hangs from one.
pub(super) fn is_of_import(field: &Field, start_len: usize) -> bool {
    field.as_bytes()[start_len..].starts_with(&import_start(None))
}

/// Returns whether letters on or below the lines of several imports show. O(log n).
pub(super) fn is_doubled(rope: &Rope, start: &[u8]) -> bool {
    tags_of(rope, start).nth(1).is_some()
}

/// The key of the cell that says which imports are meant to stand side by side.
const SETTLED: u8 = 2;

/// The field of that cell.
pub(super) fn settled_field(start: &[u8]) -> FieldBytes {
    let mut field = FieldBytes::from_slice(start);
    field.push(SETTLED);
    field
}

/// Returns whether somebody has seen all these imports and said that they are to stand side by side.
pub(crate) fn are_settled(cells: Cells<'_>, place: PlaceRef<'_>, tags: &[u32]) -> bool {
    let field = settled_field(&start_of(place));
    let lists =
        cells.live(&field).filter_map(|sibling| sibling.payload.filter(|payload| payload.kind() == kind::SETTLED));
    lists.into_iter().any(|list| {
        let listed: HashSet<u32> = list.bytes().as_chunks().0.iter().map(|tag| u32::from_be_bytes(*tag)).collect();
        tags.iter().all(|tag| listed.contains(tag))
    })
}

/// The tags of the imports on or below whose lines letters show. O(log n) each.
pub(super) fn tags_of<'a>(rope: &'a Rope, start: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
    let mut from = import_start(None);
    std::iter::from_fn(move || {
        let field = rope.first_from(&[start, &from].concat())?;
        let (tag, _) = import_of(&field.as_bytes()[start.len()..])?;
        // Tags have thirty bits.
        from = import_start(Some(tag + 1));
        Some(tag)
    })
}

impl<T: Sequenced> TextMut<'_, '_, T> {
    /// Settles that several imports are there: keeps one and deletes the others, or says that all are to stand side by side.
    ///
    /// The text that is kept is written again, so that it stays if somebody keeps another at the same time.
    pub(crate) fn settle_imports(&mut self, keep: Option<u32>) -> Result<(), EditError> {
        let place = self.place()?;
        let mut writes: Vec<(Field, Option<Payload>)> = Vec::new();
        let mut tags = Vec::new();
        for import in self.cells().map(|cells| imports(cells, place.as_ref())).unwrap_or_default() {
            tags.extend(import.tag.to_be_bytes());
            for (field, siblings) in &import.letters {
                let [first, others @ ..] = &siblings[..] else { continue };
                let is_one = others.iter().all(|other| other.payload == first.payload);
                match keep {
                    // Different letters of one cell cannot be written at once, and stay as they are.
                    Some(kept) if kept == import.tag && is_one => {
                        writes.push((field.to_field(), first.payload.map(|payload| payload.to_payload())));
                    }
                    Some(kept) if kept != import.tag => writes.push((field.to_field(), None)),
                    _ => {}
                }
            }
        }
        if keep.is_none() {
            let field = settled_field(&start_of(place.as_ref()));
            return self.put(&field, Payload::new(kind::SETTLED, &tags));
        }
        for (field, payload) in writes {
            self.edit.put(self.entity, field.as_bytes(), payload, |_| Ok(Go::Yes))?;
        }
        Ok(())
    }
}
