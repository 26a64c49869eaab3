//! Reading a list.

use crate::document::list::lists::{Element, Order};
use crate::document::path::{ElementId, Path, Segment};
use crate::document::place::Place;
use crate::document::read::value_at;
use crate::document::tree::Tree;
use crate::document::value::Value;
use crate::kernel::Cells;

/// A list as it is in a state: at a path of a [`Document`](crate::Document), of a node or of an edge.
///
/// Elements are found by index, and indices by element, in O(log n).
#[derive(Clone, Debug)]
pub struct ListRef<'a> {
    /// None if it has no elements.
    order: Option<&'a Order>,
    cells: Option<Cells<'a>>,
    place: Place,
}

impl<'a> ListRef<'a> {
    pub(in crate::document) fn new(order: Option<&'a Order>, cells: Option<Cells<'a>>, place: Place) -> Self {
        Self { order, cells, place }
    }

    /// The number of elements. O(1).
    pub fn len(&self) -> usize {
        self.order.map_or(0, Order::len)
    }

    /// Returns whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.order.is_none()
    }

    /// The value that shows at an element, as [`Properties::get`](crate::Properties::get) has it; `None` if a map, a list, a set or a text is
    /// there, or no element. O(log n).
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        value_at(self.cells?, self.element(index)?)
    }

    /// Everything that shows at and below an element, as JSON.
    pub fn json(&self, index: usize) -> Option<serde_json::Value> {
        Some(Tree::at(self.cells?, &self.element(index)?).to_nested().into_json())
    }

    /// The elements as a JSON array. O(cells at and below them).
    pub fn to_json(&self) -> serde_json::Value {
        (0..self.len()).filter_map(|index| self.json(index)).collect()
    }

    /// The path of an element, which leads to it wherever it stands, on every replica. O(log n).
    ///
    /// ```
    /// use driftless::{Document, Replica};
    /// let mut replica = Replica::<Document>::new();
    /// replica.edit(|d| d.list_mut("/todo").push("milk"))?;
    /// let milk = replica.state().list("/todo").and_then(|todo| todo.path(0)).ok_or("an element")?;
    ///
    /// replica.edit(|d| d.list_mut("/todo").insert(0, "bread"))?;
    /// assert_eq!(replica.state().get(&milk), Some("milk".into()));
    /// assert_eq!(replica.state().list("/todo").and_then(|todo| todo.index_of(&milk)), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn path(&self, index: usize) -> Option<Path> {
        self.element(index)?.as_ref().path()
    }

    /// The index at which the element of a path stands; of a path that leads into an element, that of this one. `None` if it is not in this
    /// list. O(log n).
    pub fn index_of(&self, path: &Path) -> Option<usize> {
        let list = self.place.as_ref().path()?;
        let mut segments = path.segments();
        let is_here = list.segments().all(|segment| segments.next() == Some(segment));
        match segments.next().filter(|_| is_here)? {
            Segment::Element(element) => self.order?.index_of(element.position()),
            Segment::Name(_) => None,
        }
    }

    /// The elements from an index on, in order. O(log n), and O(1) each.
    pub fn elements(&self, from: usize) -> impl Iterator<Item = ElementId<'a>> + use<'a> {
        let order = self.order.filter(|order| from < order.len());
        order.into_iter().flat_map(move |order| order.from(from)).map(|element| ElementId::of(element.born))
    }

    pub(super) fn order(&self) -> Option<&'a Order> {
        self.order
    }

    pub(super) fn at(&self, index: usize) -> Option<Element<'a>> {
        self.order?.at(index)
    }

    fn element(&self, index: usize) -> Option<Place> {
        Some(self.place.element(self.at(index)?.born))
    }
}
