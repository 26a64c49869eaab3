//! Nested values by path: alone as a [`Document`], and as the properties of nodes and edges.
//!
//! | file | idea |
//! |---|---|
//! | `path`, `place` | paths; how they are spelled in the fields of cells |
//! | `value`, `array` | what one cell holds |
//! | `nested`, `serialize` | whole nested values; from anything that serialises |
//! | `seek`, `tree` | what is at a path; all that lies below it |
//! | `read`, `edit` | [`Properties`], [`PropertiesMut`] |
//! | `text` | text that several replicas type into |
//! | `list` | elements that several replicas insert, remove and move |
//! | `sequences` | both of them, kept up with every change |
//! | `update` | what to write so that a value becomes another |
//! | `mixed` | paths of several kinds, kept up with every change |
//! | `rules` | reading rules |
//! | `revert` | what makes properties read as they were |

mod array;
mod edit;
mod list;
mod mixed;
mod nested;
mod path;
mod place;
mod read;
mod revert;
mod rules;
pub(crate) mod seek;
mod sequences;
mod serialize;
mod text;
mod tree;
mod update;
mod value;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::EditError;
use crate::kernel::{Crdt, Edit, Entity, Field, State, Touched};
use crate::kind::Kind;

pub use array::Array;
pub use edit::PropertiesMut;
pub use list::{ListMut, ListRef};
pub use path::{AsPath, ElementId, Path, Segment};
pub use read::Properties;
pub use rules::{ReadError, Rule, RuleError, Rules};
pub use text::{Anchor, Bias, Extent, Splice, Text, TextMut, TextRef};
pub use value::Value;

pub(crate) use list::{moved_field_of, moved_to};
pub(crate) use mixed::Mixed;
pub(crate) use nested::Nested;
pub(crate) use place::{FieldBytes, PROPERTY, Place, PlaceRef, Property};
pub(crate) use read::value_at;
pub(crate) use revert::{is_counter, put_back, put_back_counters};
pub(crate) use rules::union;
pub(crate) use sequences::{Sequenced, Sequences, place_in};
pub(crate) use text::{Import, anchor_at, are_of_one_text, are_settled, imports, letter, letter_payload};
pub(crate) use tree::{Tree, live_of_kind};
pub(crate) use update::Plan;
pub(crate) use value::{hex, kind};

/// A replicated nested value, such as JSON has, addressed by path.
///
/// The results of concurrent edits:
///
/// | concurrently | result |
/// |---|---|
/// | two paths are written | both are, also below a map that both have just made |
/// | a register is set twice | both values are kept, a conflict; the later stamp shows until somebody writes again |
/// | a path is written and removed | it is there; of a removed map, what was written below it |
/// | an array is changed twice | as a register: an array is one value |
/// | a [list](ListMut) is inserted into twice, or an element moved while somebody writes to it | all of it is there |
/// | a [text](TextMut) is typed into twice | both insertions are there |
/// | a path is made a map here and a register there | both are kept, a conflict; the map shows |
/// | a counter is added to twice | both count |
/// | a counter is removed and added to | the adder's whole total is back: no removal knows what others add |
/// | a value is put into a set and taken out | it is in (add wins) |
/// | a maximum is raised twice | the greater shows |
///
/// Lost is what a writer saw and overwrote or removed, nothing else. So what is removed here while somebody writes to a part
/// of it there is that part alone, and no conflict: let structs have defaults for their fields, mark what is to be forgotten
/// with a field, or keep it in a node of a [`Graph`](crate::Graph), whose deletion is one thing.
///
/// Each value takes a cell: some 100 bytes and what it holds beyond 21 bytes; a removed one a tombstone of that size until
/// it is [pruned](crate::Replica::prune). Reads are O(log n), cloning is O(1).
///
/// ```
/// use driftless::{Document, Replica};
/// use serde_json::json;
/// let mut laptop = Replica::<Document>::new();
/// let (_, delta) = laptop.edit(|d| d.update("", &json!({"name": "Ada", "languages": ["en"]})))?;
/// let mut phone = Replica::<Document>::new();
/// phone.merge(&delta)?;
///
/// // Both offline: the same nested map is made on both sides.
/// let (_, a) = laptop.edit(|d| d.set("/address/city", "London"))?;
/// let (_, b) = phone.edit(|d| {
///     d.set("/address/country", "GB")?;
///     d.add("/visits", 1)
/// })?;
/// laptop.merge(&b)?;
/// phone.merge(&a)?;
///
/// assert_eq!(laptop.state(), phone.state());
/// assert_eq!(
///     phone.state().to_json(),
///     json!({
///         "name": "Ada",
///         "languages": ["en"],
///         "address": {"city": "London", "country": "GB"},
///         "visits": 1,
///     })
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Document {
    state: State,
    mixed: Mixed,
    sequences: Sequences,
}

impl Crdt for Document {
    const SCHEMA: &'static str = "driftless.document";

    /// The path at which something changed.
    type Change = Path;

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn follow(&mut self, touched: &Touched) {
        self.follow_all(std::slice::from_ref(touched));
    }

    fn follow_all(&mut self, touched: &[Touched]) {
        self.mixed.follow(&self.state, touched);
        self.sequences.follow(&self.state, touched);
    }

    fn describe(touched: &Touched) -> Option<Path> {
        changed_path(touched).filter(|_| touched.entity == Entity::SELF)
    }

    fn is_one_change(told: &Touched, touched: &Touched) -> bool {
        are_of_one_text(told, touched)
    }

    fn is_total(field: &Field) -> bool {
        is_counter(field)
    }

    fn revert(edit: &mut Edit<'_, Self>, cells: &[Touched]) -> Result<(), EditError> {
        for cell in cells {
            if !put_back(edit, cell)? {
                edit.put_back(cell)?;
            }
        }
        put_back_counters(edit, Entity::SELF, cells)
    }
}

impl Sequenced for Document {
    fn sequences(&self) -> &Sequences {
        &self.sequences
    }
}

impl Document {
    /// Returns the properties of the document, for reading.
    pub fn properties(&self) -> Properties<'_> {
        Properties::new(self.state.cells(Entity::SELF), Entity::SELF, &self.sequences)
    }

    /// The value that shows at a path: see [`Properties::get`].
    pub fn get(&self, path: impl AsPath) -> Option<Value<'_>> {
        self.properties().get(path)
    }

    /// The kind that shows at a path.
    pub fn kind(&self, path: impl AsPath) -> Option<Kind> {
        self.properties().kind(path)
    }

    /// The exact sum of the counter at a path.
    pub fn counter(&self, path: impl AsPath) -> Option<i128> {
        self.properties().counter(path)
    }

    /// The text at a path.
    pub fn text(&self, path: impl AsPath) -> Option<TextRef<'_>> {
        self.properties().text(path)
    }

    /// The list at a path.
    pub fn list(&self, path: impl AsPath) -> Option<ListRef<'_>> {
        self.properties().list(path)
    }

    /// Returns whether a value is in the set at a path.
    pub fn contains<'v>(&self, path: impl AsPath, value: impl Into<Value<'v>>) -> bool {
        self.properties().contains(path, value)
    }

    /// Everything at and below a path as JSON: see [`Properties::json`].
    pub fn json(&self, path: impl AsPath) -> Option<serde_json::Value> {
        self.properties().json(path)
    }

    /// The document as JSON: of each path what shows. O(n).
    pub fn to_json(&self) -> serde_json::Value {
        self.properties().to_json()
    }

    /// Deserialises the value at and below a path from its JSON; `None` if nothing is there.
    pub fn deserialize<T: DeserializeOwned>(&self, path: impl AsPath) -> Result<Option<T>, serde_json::Error> {
        self.properties().deserialize(path)
    }

    pub(crate) fn mixed(&self) -> &Mixed {
        &self.mixed
    }

    #[cfg(feature = "testing")]
    /// Recomputes everything that is derived and compares: for tests.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.state.check_invariants()?;
        self.mixed.check(&self.state)?;
        self.sequences.check(&self.state)
    }
}

/// Editing a document: see [`PropertiesMut`], which has the same methods. All that reads can be called too.
impl<'a> Edit<'a, Document> {
    /// Returns the properties of the document, for writing.
    pub fn properties_mut(&mut self) -> PropertiesMut<'_, 'a, Document> {
        PropertiesMut::new(self, Entity::SELF, None)
    }

    /// Sets the register at a path: [`PropertiesMut::set`].
    pub fn set<'v>(&mut self, path: impl AsPath, value: impl Into<Value<'v>>) -> Result<(), EditError> {
        self.properties_mut().set(path, value)
    }

    /// The text at a path, for writing: [`PropertiesMut::text_mut`].
    pub fn text_mut(&mut self, path: impl AsPath) -> TextMut<'_, 'a, Document> {
        let place = place_in(self, Entity::SELF, path);
        TextMut::new(self, Entity::SELF, None, place)
    }

    /// The list at a path, for writing: [`PropertiesMut::list_mut`].
    pub fn list_mut(&mut self, path: impl AsPath) -> ListMut<'_, 'a, Document> {
        let place = place_in(self, Entity::SELF, path);
        ListMut::new(self, Entity::SELF, None, place)
    }

    /// Makes an array a list, or an empty list where nothing is: [`PropertiesMut::make_list`].
    pub fn make_list(&mut self, path: impl AsPath) -> Result<bool, EditError> {
        self.properties_mut().make_list(path)
    }

    /// Removes everything that is seen at and below a path: [`PropertiesMut::unset`].
    pub fn unset(&mut self, path: impl AsPath) -> Result<bool, EditError> {
        self.properties_mut().unset(path)
    }

    /// Writes what differs: [`PropertiesMut::update`].
    pub fn update<V: Serialize + ?Sized>(&mut self, path: impl AsPath, value: &V) -> Result<bool, EditError> {
        self.properties_mut().update(path, value)
    }

    /// Writes what differs, if the value can be read back: [`PropertiesMut::update_checked`].
    pub fn update_checked<V>(&mut self, path: impl AsPath, value: &V) -> Result<bool, EditError>
    where
        V: Serialize + DeserializeOwned + PartialEq,
    {
        self.properties_mut().update_checked(path, value)
    }

    /// Writes what differs, and removes nothing: [`PropertiesMut::extend`].
    pub fn extend<V: Serialize + ?Sized>(&mut self, path: impl AsPath, value: &V) -> Result<bool, EditError> {
        self.properties_mut().extend(path, value)
    }

    /// Adds to the counter at a path: [`PropertiesMut::add`].
    pub fn add(&mut self, path: impl AsPath, amount: i64) -> Result<(), EditError> {
        self.properties_mut().add(path, amount)
    }

    /// Puts a value into the set at a path: [`PropertiesMut::insert`].
    pub fn insert<'v>(&mut self, path: impl AsPath, value: impl Into<Value<'v>>) -> Result<bool, EditError> {
        self.properties_mut().insert(path, value)
    }

    /// Takes a value out of the set at a path: [`PropertiesMut::remove`].
    pub fn remove<'v>(&mut self, path: impl AsPath, value: impl Into<Value<'v>>) -> Result<bool, EditError> {
        self.properties_mut().remove(path, value)
    }

    /// Raises the maximum at a path: [`PropertiesMut::raise`].
    pub fn raise<'v>(&mut self, path: impl AsPath, value: impl Into<Value<'v>>) -> Result<bool, EditError> {
        self.properties_mut().raise(path, value)
    }

    /// Lowers the minimum at a path: [`PropertiesMut::lower`].
    pub fn lower<'v>(&mut self, path: impl AsPath, value: impl Into<Value<'v>>) -> Result<bool, EditError> {
        self.properties_mut().lower(path, value)
    }

    /// Removes everything that is seen with one write. Returns whether anything was there.
    pub fn clear(&mut self) -> Result<bool, EditError> {
        self.delete(Entity::SELF)
    }
}

/// The path of a property whose cell was touched, if something else is read there now.
pub(crate) fn changed_path(touched: &Touched) -> Option<Path> {
    let path = Property::of(touched.field.as_bytes())?.place.path()?;
    reads_otherwise(touched).then_some(path)
}

/// True if other values are there than before, or another of them shows.
pub(crate) fn reads_otherwise(touched: &Touched) -> bool {
    touched.has_other_payloads() || touched.shows_another()
}

/// Equal if everything that can be read is, and the same has been seen. O(n).
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

impl Eq for Document {}

/// Writes the document as JSON.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({})", self.to_json())
    }
}
