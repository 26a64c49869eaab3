//! A text by itself.

use std::fmt;
use std::ops::Range;

use crate::document::mixed::Mixed;
use crate::document::place::{Place, Property};
use crate::document::sequences::{Sequenced, Sequences};
use crate::document::text::edit::TextMut;
use crate::document::text::read::TextRef;
use crate::document::text::texts::{are_of_one_text, start_of};
use crate::error::EditError;
use crate::kernel::{Crdt, Edit, Entity, State, Touched};
use crate::kind::Kind;
use crate::offset::Offset;

/// A replicated text by itself, such as a note; for texts beside other values see [`Document::text`](crate::Document::text).
///
/// Merging, losses and costs are those of [`TextMut`].
///
/// ```
/// use driftless::{Replica, Text};
/// let mut laptop = Replica::<Text>::new();
/// let (_, delta) = laptop.edit(|t| t.insert(0, "The fox jumps."))?;
/// let mut phone = Replica::<Text>::new();
/// phone.merge(&delta)?;
///
/// let (_, a) = laptop.edit(|t| t.insert(4, "quick "))?;
/// let (_, b) = phone.edit(|t| t.replace(8..13, "sleeps"))?;
/// laptop.merge(&b)?;
/// phone.merge(&a)?;
/// assert_eq!(laptop.state().to_string(), "The quick fox sleeps.");
/// assert_eq!(laptop.state(), phone.state());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Text {
    state: State,
    mixed: Mixed,
    sequences: Sequences,
}

impl Crdt for Text {
    const SCHEMA: &'static str = "driftless.text";

    /// A sign that characters came or went; [`TextRef::changes_since`] tells where.
    type Change = ();

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

    fn is_one_change(told: &Touched, touched: &Touched) -> bool {
        are_of_one_text(told, touched)
    }

    fn describe(touched: &Touched) -> Option<()> {
        let property = Property::of(touched.field.as_bytes()).filter(|_| touched.entity == Entity::SELF)?;
        (property.kind == Kind::Text && property.place == Place::root().as_ref() && touched.has_other_payloads())
            .then_some(())
    }
}

impl Sequenced for Text {
    fn sequences(&self) -> &Sequences {
        &self.sequences
    }
}

impl Text {
    /// Returns the text, for reading.
    pub fn read(&self) -> TextRef<'_> {
        let start = start_of(Place::root().as_ref());
        TextRef::new(self.sequences.texts.get(Entity::SELF, &start), start)
    }

    /// The paths of several kinds: there are none but forged ones.
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

impl<'a> Edit<'a, Text> {
    /// Returns the text, for writing.
    pub fn text_mut(&mut self) -> TextMut<'_, 'a, Text> {
        TextMut::new(self, Entity::SELF, None, Ok(Place::root()))
    }

    /// Inserts a string at an offset: [`TextMut::insert`].
    pub fn insert(&mut self, at: impl Into<Offset>, text: &str) -> Result<(), EditError> {
        self.text_mut().insert(at, text)
    }

    /// Deletes a range: [`TextMut::delete`].
    pub fn delete_range<O: Into<Offset>>(&mut self, range: Range<O>) -> Result<(), EditError> {
        self.text_mut().delete(range)
    }

    /// Replaces a range with a string: [`TextMut::replace`].
    pub fn replace<O: Into<Offset>>(&mut self, range: Range<O>, text: &str) -> Result<(), EditError> {
        self.text_mut().replace(range, text)
    }

    /// Makes the text this one: [`TextMut::update`].
    pub fn update(&mut self, text: &str) -> Result<bool, EditError> {
        self.text_mut().update(text)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({:?})", self.read())
    }
}

/// Equal if everything that can be read is, and the same has been seen. O(n).
impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

impl Eq for Text {}
