//! The reading of one of several kinds at a path.

use std::fmt;

use crate::document::{Place, Tree};
use crate::escape::Escaped;
use crate::kernel::Cells;
use crate::kind::Kind;

/// The value that one of several kinds at a path would read as, were it alone. Made from the cells when it is asked for, so
/// listing nested conflicts does not copy what lies below for each of them.
#[derive(Clone)]
pub struct Reads<'a> {
    cells: Cells<'a>,
    place: Place,
    kind: Kind,
}

impl<'a> Reads<'a> {
    pub(super) fn new(cells: Cells<'a>, place: Place, kind: Kind) -> Self {
        Self { cells, place, kind }
    }

    /// The value as JSON. O(cells of the kind; for a map, cells below the path).
    pub fn to_json(&self) -> serde_json::Value {
        Tree::of_kind(self.cells, &self.place, self.kind).to_nested().into_json()
    }
}

/// Equal if they read as the same JSON.
impl PartialEq for Reads<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

impl PartialEq<serde_json::Value> for Reads<'_> {
    fn eq(&self, other: &serde_json::Value) -> bool {
        self.to_json() == *other
    }
}

/// Writes the value as JSON, with control characters escaped.
impl fmt::Display for Reads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.to_json()).fmt(f)
    }
}

/// Writes the value as JSON.
impl fmt::Debug for Reads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(f)
    }
}
