//! Texts that were put where none was, and are named by their content.
//!
//! Two replicas that put different texts into one place have both, one after the other: a conflict. Those that put the same have it once.

use std::ops::Range;

use im::OrdSet;
use smallvec::SmallVec;

use crate::document::mixed::Prefix;
use crate::document::place::{Place, PlaceRef};
use crate::document::text::edit::{Name, TextMut};
use crate::document::text::rope::Rope;
use crate::document::text::texts::{Texted, shown, start_of};
use crate::error::EditError;
use crate::kernel::{Cells, Entity, Field, SiblingRef};
use crate::offset::OffsetError;
use crate::position::{import_of, import_start};

/// The texts that may hold several imports: derived, and kept up with every change. Which they are is looked at when they are listed.
pub(super) type Doubled = OrdSet<(Entity, Prefix)>;

/// What is alive of one import.
pub(crate) struct Import<'a> {
    /// The name of its bunch.
    pub(crate) tag: u32,
    /// The live siblings of each cell, in order.
    pub(crate) letters: Vec<(&'a Field, SmallVec<[SiblingRef<'a>; 1]>)>,
}

impl Import<'_> {
    /// The letters that show.
    pub(crate) fn text(&self) -> String {
        let shown = self.letters.iter().filter_map(|(_, siblings)| shown(siblings.iter().copied()));
        shown.flat_map(|shown| shown.letters().to_vec()).collect()
    }
}

/// What is alive of each import at a place, in the order of their names. O(cells of imports, and what hangs from them).
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
    let first_from = |key: &[u8]| rope.first_from(&[start, key].concat()).map(|field| &field.as_bytes()[start.len()..]);
    let Some((tag, _)) = first_from(&import_start(None)).and_then(import_of) else { return false };
    // Tags have thirty bits.
    first_from(&import_start(Some(tag + 1))).and_then(import_of).is_some()
}

/// Letters in a row, and what is to stand in their place.
type Row = (Range<usize>, Vec<char>);

impl<T: Texted> TextMut<'_, '_, T> {
    /// Settles that several imports are there: keeps one and deletes the others, or makes all one text, which stands as it stood.
    pub(crate) fn settle_imports(&mut self, keep: Option<u32>) -> Result<(), EditError> {
        let place = self.place()?;
        let rows = self.import_rows(&place, keep)?;
        // From the right, so that what is still to come stays where it is.
        for (row, letters) in rows.into_iter().rev() {
            self.splice(row, &letters, Name::Content)?;
        }
        Ok(())
    }

    /// The rows of letters that are to go, from the left, and what is to stand in place of each.
    fn import_rows(&self, place: &Place, keep: Option<u32>) -> Result<Vec<Row>, OffsetError> {
        let found = self.cells().map(|cells| imports(cells, place.as_ref())).unwrap_or_default();
        let kept = keep.or(found.first().map(|import| import.tag));
        let others = found.iter().filter(|import| Some(import.tag) != kept).flat_map(|import| &import.letters);
        let text = self.read();
        let ends = |field: &Field| {
            let end = |including| text.rope().map_or(0, |rope| rope.before(field.as_bytes(), including).scalars);
            end(false)..end(true)
        };
        // Rows into which nobody has written.
        let mut rows: Vec<Range<usize>> = Vec::new();
        for range in others.map(|(field, _)| ends(field)) {
            match rows.last_mut() {
                Some(row) if row.end == range.start => row.end = range.end,
                _ => rows.push(range),
            }
        }
        let letters = |row: &Range<usize>| match keep {
            Some(_) => Ok(Vec::new()),
            None => text.chars_in(row.clone()).map(Iterator::collect),
        };
        let letters = rows.iter().map(letters).collect::<Result<Vec<Vec<char>>, _>>()?;
        Ok(rows.into_iter().zip(letters).collect())
    }
}
