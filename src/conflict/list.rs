//! Finds the conflicts.

use std::cmp::Reverse;

use xxhash_rust::xxh3::Xxh3;

use crate::conflict::lists::moved_field;
use crate::conflict::nested::{self, Dots};
use crate::conflict::places::node_of;
use crate::conflict::{Candidate, Conflict, ConflictKind, Content, Reads};
use crate::document::{
    Anchor, AsPath, Document, ElementId, FieldBytes, Mixed, Path, Place, PlaceRef, Property, Sequenced, Sequences,
    Text, Tree, Value, moved_field_of, seek,
};
use crate::error::PathError;
use crate::graph::{
    Edge, Graph, Hidden, Owner, Placing, embedding_field, embedding_in, label_of, later_text_of, model_of, owner_of,
    place_in, tree_of,
};
use crate::id::{ConflictId, NodeId};
use crate::kernel::{Crdt, Entity, Field, SiblingRef, State};
use crate::kind::Kind;

impl Graph {
    /// Everything that replicas disagree on. Kept up with every change, so listing costs what it lists: O(siblings of the
    /// cells in conflict, and cells at and below paths of several kinds; nested ones are gone over once for all). What is
    /// skipped costs as much: maxima and minima that were raised and lowered concurrently, which are no conflicts, and
    /// [unresolved](Self::unresolved) edges.
    ///
    /// ```
    /// use driftless::{ConflictKind, Graph, NodeId, Replica, Resolution};
    /// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    /// let ada = NodeId::named("person:ada");
    /// let (_, delta) = laptop.edit(|g| g.add_node("person:ada"))?;
    /// phone.merge(&delta)?;
    /// let (_, a) = laptop.edit(|g| g.set(ada, "/name", "Augusta Ada King"))?;
    /// let (_, b) = phone.edit(|g| g.set(ada, "/name", "Countess of Lovelace"))?;
    /// laptop.merge(&b)?;
    /// phone.merge(&a)?;
    ///
    /// let conflict = phone.state().conflicts().next().ok_or("a conflict")?;
    /// assert_eq!((conflict.kind.clone(), conflict.candidates.len()), (ConflictKind::ConcurrentEdit, 2));
    /// let (id, chosen) = (conflict.id, conflict.candidates[1].dot);
    /// phone.edit(|g| g.resolve(id, Resolution::Pick(chosen)))?;
    /// assert_eq!(phone.state().conflicts().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn conflicts(&self) -> impl Iterator<Item = Conflict<'_>> + '_ {
        self.source().all()
    }

    /// Everything that replicas disagree on about one node or edge.
    pub fn conflicts_of(&self, of: impl Into<Owner>) -> impl Iterator<Item = Conflict<'_>> + '_ {
        self.source().of(of.into().entity())
    }

    /// Everything that replicas disagree on about the properties of a node or edge at and below a path.
    pub fn conflicts_at(
        &self,
        of: impl Into<Owner>,
        path: impl AsPath,
    ) -> Result<impl Iterator<Item = Conflict<'_>> + '_, PathError> {
        Ok({
            let (source, entity) = (self.source(), of.into().entity());
            source.at(entity, &source.place(entity, path)?)
        })
    }
}

impl Document {
    /// Everything that replicas disagree on: as in a [`Graph`](Graph::conflicts).
    pub fn conflicts(&self) -> impl Iterator<Item = Conflict<'_>> + '_ {
        self.source().all()
    }

    /// Everything that replicas disagree on at and below a path.
    pub fn conflicts_at(&self, path: impl AsPath) -> Result<impl Iterator<Item = Conflict<'_>> + '_, PathError> {
        let (source, entity) = (self.source(), Entity::SELF);
        Ok(source.at(entity, &source.place(entity, path)?))
    }
}

/// A type that has conflicts.
pub(super) trait Disputed: Crdt {
    fn source(&self) -> Source<'_>;
}

impl Disputed for Graph {
    fn source(&self) -> Source<'_> {
        Source { state: self.state(), mixed: self.mixed(), sequences: self.sequences(), graph: Some(self) }
    }
}

impl Text {
    /// The conflicts of the text: different texts that were put where none was, and characters under one position. Listing costs as in a
    /// [`Graph`](Graph::conflicts).
    pub fn conflicts(&self) -> impl Iterator<Item = Conflict<'_>> + '_ {
        self.source().all()
    }
}

impl Disputed for Text {
    fn source(&self) -> Source<'_> {
        Source { state: self.state(), mixed: self.mixed(), sequences: self.sequences(), graph: None }
    }
}

impl Disputed for Document {
    fn source(&self) -> Source<'_> {
        Source { state: self.state(), mixed: self.mixed(), sequences: self.sequences(), graph: None }
    }
}

/// The parts of a state in which conflicts are found.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) state: &'a State,
    mixed: &'a Mixed,
    pub(super) sequences: &'a Sequences,
    pub(super) graph: Option<&'a Graph>,
}

impl<'a> Source<'a> {
    pub(super) fn all(self) -> impl Iterator<Item = Conflict<'a>> {
        let edits = self.state.contested().filter_map(move |(entity, field)| self.contested(entity, field));
        let kinds = self.mixed.by_entity().flat_map(move |(entity, places)| self.kinds(entity, places));
        let hidden = self.graph.into_iter().flat_map(Graph::hidden).filter_map(move |hidden| self.edit_delete(&hidden));
        let dangling = self.graph.into_iter().flat_map(Graph::dangling).filter_map(move |edge| self.dangling(&edge));
        let displaced = self.graph.into_iter().flat_map(Graph::displaced);
        let displaced = displaced.filter_map(move |(field, node)| self.displaced(field, node));
        let orphaned = self.graph.into_iter().flat_map(Graph::orphaned);
        let orphaned = orphaned.filter_map(move |(field, missing, node)| self.orphaned(field, missing, node));
        let texts = self.sequences.texts.doubled().filter_map(move |(entity, place)| self.two_texts(entity, place));
        let moved =
            self.sequences.lists.leftovers().filter_map(move |(entity, field)| self.moved_while_removed(entity, field));
        edits.chain(kinds).chain(texts).chain(moved).chain(hidden).chain(dangling).chain(displaced).chain(orphaned)
    }

    pub(super) fn of(self, entity: Entity) -> impl Iterator<Item = Conflict<'a>> {
        let fields: Vec<_> = self.state.contested_in(entity, []).collect();
        let places: Vec<_> = self.mixed.within(entity, []).collect();
        let edits = fields.into_iter().filter_map(move |field| self.contested(entity, field));
        let texts =
            self.sequences.texts.doubled_within(entity, &[]).filter_map(move |place| self.two_texts(entity, place));
        let moved = self.sequences.lists.leftovers_within(entity, &[]);
        let moved = moved.filter_map(move |field| self.moved_while_removed(entity, field));
        edits
            .chain(self.kinds(entity, places))
            .chain(texts)
            .chain(moved)
            .chain(self.whole(entity))
            .chain(self.places(entity))
    }

    /// The place of a path; also of an element that is not there.
    fn place(self, entity: Entity, path: impl AsPath) -> Result<Place, PathError> {
        match self.sequences.lists.place(|| self.state.cells(entity), entity, &path) {
            Err(PathError::NoElement { .. }) => Place::of(path),
            place => place,
        }
    }

    /// The conflicts about the properties of an entity at and below a place.
    fn at(self, entity: Entity, place: &Place) -> impl Iterator<Item = Conflict<'a>> + use<'a> {
        let fields: Vec<_> = self.state.contested_in(entity, place.as_bytes()).collect();
        let places: Vec<_> = self.mixed.within(entity, place.as_bytes()).collect();
        let edits = fields.into_iter().filter_map(move |field| self.contested(entity, field));
        let texts = self.sequences.texts.doubled_within(entity, place.as_bytes());
        let texts = texts.filter_map(move |place| self.two_texts(entity, place));
        // The cell that says where an element was moved to lies beside the elements.
        let own = moved_field_of(place);
        let own_move = own.clone().and_then(|own| self.contested(entity, self.state.contested_at(entity, &own)?));
        let own_left = own.into_iter().flat_map(move |own| self.sequences.lists.leftovers_within(entity, &own));
        let moved = self.sequences.lists.leftovers_within(entity, place.as_bytes()).chain(own_left);
        let moved = moved.filter_map(move |field| self.moved_while_removed(entity, field)).chain(own_move);
        edits.chain(self.kinds(entity, places)).chain(texts).chain(moved)
    }

    /// The conflict at this very spot, if it is still there. O(log n + its candidates).
    pub(super) fn same(self, entity: Entity, spot: &Spot) -> Option<Conflict<'a>> {
        match spot {
            Spot::Cell(field) => self.contested(entity, self.state.contested_at(entity, field)?),
            Spot::Kinds(place) => self.kinds(entity, vec![self.mixed.at(entity, place)?]).next(),
            Spot::Texts(place) => {
                // The text at the place itself comes first.
                let found = self.sequences.texts.doubled_within(entity, place.as_bytes()).next();
                found.filter(|found| *found == place.as_ref()).and_then(|place| self.two_texts(entity, place))
            }
            Spot::Leftover(field) => {
                let found = self.sequences.lists.leftovers_within(entity, field).next();
                found
                    .filter(|found| found.as_bytes() == &field[..])
                    .and_then(|field| self.moved_while_removed(entity, field))
            }
            Spot::Whole => self.whole(entity).next(),
            Spot::Displaced(field) => self.displaced(self.field(entity, field)?, node_of(entity)?),
            Spot::Orphaned(field, missing) => self.orphaned(self.field(entity, field)?, *missing, node_of(entity)?),
        }
    }

    /// A field of an entity as it lies in the state.
    fn field(self, entity: Entity, field: &[u8]) -> Option<&'a Field> {
        let (found, _) = self.state.cells(entity)?.named(field).next()?;
        (found.as_bytes() == field).then_some(found)
    }

    /// Returns whether several kinds are at a path.
    pub(super) fn is_mixed(self, entity: Entity, path: &Path) -> bool {
        Place::of(path).is_ok_and(|place| self.mixed.at(entity, &place).is_some())
    }

    /// Returns whether several kinds are where the list of an element is.
    pub(super) fn is_list_mixed(self, entity: Entity, element: &Path) -> bool {
        let place = Place::of(element).ok();
        let list = place.as_ref().and_then(|place| place.as_ref().as_element());
        list.is_some_and(|(list, _)| self.mixed.at(entity, &list.into()).is_some())
    }

    /// The conflicts of an entity as a whole: an edit of what was deleted, or an end that is missing.
    fn whole(self, entity: Entity) -> impl Iterator<Item = Conflict<'a>> {
        let owner = owner_of(entity);
        let hidden = self.graph.zip(owner).and_then(|(graph, owner)| graph.hidden_of(owner));
        let dangling = match (self.graph, owner) {
            (Some(graph), Some(Owner::Edge(id))) => graph.edge(id),
            _ => None,
        };
        let hidden = hidden.and_then(|hidden| self.edit_delete(&hidden));
        hidden.into_iter().chain(dangling.and_then(|edge| self.dangling(&edge)))
    }

    /// A cell with unequal siblings: a register, the vectors by a model, the places in a tree, or a character of a text.
    fn contested(self, entity: Entity, field: &'a Field) -> Option<Conflict<'a>> {
        let cells = self.state.cells(entity)?;
        let mut siblings: Vec<SiblingRef<'_>> = cells.live(field.as_bytes()).collect();
        siblings.sort_unstable_by_key(|sibling| Reverse(sibling.precedence()));
        let dots = siblings.iter().map(|sibling| sibling.dot).collect();
        if let Some(model) = self.graph.and_then(|_| model_of(field)) {
            let vectors: Vec<_> = siblings.iter().filter_map(|s| Some((embedding_in(cells, field, *s)?, *s))).collect();
            // Vectors that were made from one text say the same, whatever machine rounded them.
            let mut texts = vectors.iter().map(|(vector, _)| vector.text_hash());
            let first = texts.next()?;
            if vectors.len() < 2 || (first.is_some() && texts.all(|text| text == first)) {
                return None;
            }
            let candidates =
                vectors.into_iter().map(|(vector, s)| Candidate::new(Content::Embedding(vector), s)).collect();
            return self.conflict(ConflictKind::Embedding { model }, entity, Path::default(), candidates, dots);
        }
        if self.graph.is_some() && tree_of(field).is_some() {
            return self.moved(entity, field, siblings, dots);
        }
        let property = Property::of(field.as_bytes())?;
        if property.kind == Kind::Text {
            return self.letters(entity, property, &siblings, dots);
        }
        if property.kind == Kind::List {
            return self.element_move(entity, property, &siblings, dots);
        }
        if property.kind != Kind::Register {
            return None;
        }
        let value = |sibling: SiblingRef<'a>| {
            let value = Value::from_payload(sibling.payload?);
            Some(Candidate::new(Content::Value(value), sibling))
        };
        let candidates = siblings.iter().copied().filter_map(value).collect();
        self.conflict(ConflictKind::ConcurrentEdit, entity, property.place.path()?, candidates, dots)
    }

    /// The conflicts of kinds at some places of an entity, which are sorted. O(cells at and below them), nested or not.
    fn kinds(self, entity: Entity, places: Vec<PlaceRef<'a>>) -> impl Iterator<Item = Conflict<'a>> + use<'a> {
        let cells = self.state.cells(entity);
        let found = cells.map(|cells| nested::summaries(cells, &places)).unwrap_or_default();
        found.into_iter().zip(places).filter_map(move |(kinds, place)| {
            let (cells, path) = (cells?, place.path()?);
            let mut dots = Dots::default();
            let mut candidates = Vec::new();
            // Moves of elements that are not there make no list.
            let there: Vec<Kind> = seek::kinds(cells, place).collect();
            for (kind, summary) in kinds.into_iter().filter(|(kind, _)| there.contains(kind)) {
                dots.join(summary.dots);
                let reads = Reads::new(cells, place.into(), kind);
                candidates.push(Candidate::new(Content::Kind { kind, reads }, summary.latest));
            }
            self.conflict(ConflictKind::Kind, entity, path, candidates, dots)
        })
    }

    fn edit_delete(self, hidden: &Hidden<'a>) -> Option<Conflict<'a>> {
        let entity = hidden.owner().entity();
        let cells = self.state.cells(entity)?;
        let mut candidates = properties_of(&Tree::at(cells, &Place::root()), Path::default());
        let mut dots = Dots::default();
        for (field, sibling) in cells.iter().filter(|(_, sibling)| sibling.is_live()) {
            dots.add(sibling.dot);
            if Property::of(field.as_bytes()).is_some() {
                continue;
            }
            // A field that does not lie in the state by itself is spelled as characters' are: nobody's, if it is no property.
            let content = field.held().and_then(|field| {
                let embedding = || embedding_in(cells, field, sibling).map(Content::Embedding);
                let later_text = || later_text_of(field).map(Content::LaterText);
                let place = || {
                    let placing = sibling.payload.and_then(Placing::of)?;
                    tree_of(field).map(|tree| Content::Place { tree, parent: placing.spot.parent })
                };
                label_of(field).map(Content::Label).or_else(embedding).or_else(later_text).or_else(place)
            });
            candidates.push(Candidate::new(content.unwrap_or(Content::Unknown), sibling));
        }
        candidates.sort_by_key(|candidate| Reverse((candidate.stamp, candidate.dot)));
        self.conflict(ConflictKind::EditDelete, entity, Path::default(), candidates, dots)
    }

    fn dangling(self, edge: &Edge<'a>) -> Option<Conflict<'a>> {
        let owner = Owner::from(edge.id());
        // An end that no writer of the edge had seen is unresolved, not deleted.
        let missing = self.graph?.lost_ends(edge);
        if missing.is_empty() {
            return None;
        }
        let content = Content::Edge { source: edge.source(), edge_type: edge.edge_type(), target: edge.target() };
        let root = self.state.cells(owner.entity())?.siblings(Field::ROOT.as_bytes());
        let root: Vec<_> = root.filter(|sibling| sibling.is_live()).collect();
        let candidates = root.iter().max_by_key(|s| s.precedence()).map(|s| Candidate::new(content, *s));
        let dots = root.iter().map(|sibling| sibling.dot).collect();
        let kind = ConflictKind::Dangling { missing };
        self.conflict(kind, owner.entity(), Path::default(), candidates.into_iter().collect(), dots)
    }

    pub(super) fn conflict(
        self,
        kind: ConflictKind,
        entity: Entity,
        path: Path,
        mut candidates: Vec<Candidate<'a>>,
        dots: Dots,
    ) -> Option<Conflict<'a>> {
        let id = id(&kind, entity, &path, dots);
        let cells = self.state.cells(entity)?;
        let of = self.graph.and_then(|_| owner_of(entity));
        // An entity that is neither a node nor an edge nor the document is of a later version, and has no conflicts here.
        if of.is_none() && (self.graph.is_some() || entity != Entity::SELF) {
            return None;
        }
        let name = match (of, self.graph) {
            (Some(Owner::Node(node)), Some(graph)) => graph.node(node).and_then(|node| node.name()),
            _ => None,
        };
        let is_hidden = of.is_some() && !cells.is_live();
        for candidate in &mut candidates {
            candidate.device = self.state.version().device(candidate.dot.writer);
        }
        Some(Conflict { id, kind, of, name, path, is_hidden, candidates })
    }
}

/// The content of a tree, path by path: of each the write of the latest stamp, and what it reads as without what lies below.
fn properties_of<'a>(tree: &Tree<'a>, path: Path) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    let own = tree.own_alone();
    let is_shown = own.shows();
    if let Some(latest) = own.siblings().into_iter().filter(|_| is_shown).max_by_key(|sibling| sibling.precedence()) {
        let content = Content::Property { path: path.clone(), reads: own.to_nested().into_json() };
        found.push(Candidate::new(content, latest));
    }
    // Paths in the state are none too deep.
    for (name, child) in &tree.children {
        found.extend(path.child(name).map(|path| properties_of(child, path)).unwrap_or_default());
    }
    for (born, element) in tree.in_order() {
        let path = path.element(ElementId::of(born));
        found.extend(path.map(|path| properties_of(element, path)).unwrap_or_default());
    }
    found
}

/// A spot at which a conflict is found again.
pub(super) enum Spot {
    /// A cell with unequal siblings.
    Cell(FieldBytes),
    /// A path of several kinds.
    Kinds(Place),
    /// A text of several imports.
    Texts(Place),
    /// The move of an element that is not there.
    Leftover(FieldBytes),
    /// The entity.
    Whole,
    /// The place of a node that does not show where its latest says.
    Displaced(FieldBytes),
    /// The place of a node under one that is not there.
    Orphaned(FieldBytes, NodeId),
}

impl Spot {
    pub(super) fn of(conflict: &Conflict<'_>) -> Result<Self, PathError> {
        Ok(match &conflict.kind {
            ConflictKind::ConcurrentEdit => Self::Cell(Place::of(&conflict.path)?.field(Kind::Register)),
            ConflictKind::Embedding { model } => Self::Cell(embedding_field(model)),
            ConflictKind::Kind => Self::Kinds(Place::of(&conflict.path)?),
            ConflictKind::TwoTexts => Self::Texts(Place::of(&conflict.path)?),
            ConflictKind::SamePosition { at } => Self::Cell(position_field(&conflict.path, at)?),
            ConflictKind::ElementMove => Self::Cell(moved_field(&conflict.path)?),
            ConflictKind::MovedWhileRemoved => Self::Leftover(moved_field(&conflict.path)?),
            ConflictKind::EditDelete | ConflictKind::Dangling { .. } => Self::Whole,
            ConflictKind::ConcurrentMove { tree } => Self::Cell(place_in(tree)),
            ConflictKind::Circle { tree } | ConflictKind::Detached { tree } => Self::Displaced(place_in(tree)),
            ConflictKind::Orphaned { tree, missing } => Self::Orphaned(place_in(tree), *missing),
        })
    }
}

/// The field of a character.
pub(super) fn position_field(path: &Path, at: &Anchor) -> Result<FieldBytes, PathError> {
    let mut field = Place::of(path)?.field(Kind::Text);
    field.extend_from_slice(at.position());
    Ok(field)
}

fn id(kind: &ConflictKind, entity: Entity, path: &Path, dots: Dots) -> ConflictId {
    let mut hash = Xxh3::new();
    let text = path.to_string();
    match kind {
        ConflictKind::ConcurrentEdit => hash.update(&[1]),
        ConflictKind::Kind => hash.update(&[2]),
        ConflictKind::EditDelete => hash.update(&[3]),
        ConflictKind::Dangling { missing } => {
            hash.update(&[4]);
            missing.iter().for_each(|node| hash.update(node.as_bytes()));
        }
        ConflictKind::Embedding { model } => {
            hash.update(&[5]);
            hash.update(&embedding_field(model));
        }
        ConflictKind::ConcurrentMove { tree } => {
            hash.update(&[6]);
            hash.update(&place_in(tree));
        }
        ConflictKind::Circle { tree } => {
            hash.update(&[7]);
            hash.update(&place_in(tree));
        }
        ConflictKind::Detached { tree } => {
            hash.update(&[8]);
            hash.update(&place_in(tree));
        }
        ConflictKind::SamePosition { at } => {
            hash.update(&[10]);
            hash.update(&(at.position().len() as u64).to_be_bytes());
            hash.update(at.position());
        }
        ConflictKind::TwoTexts => hash.update(&[11]),
        ConflictKind::ElementMove => hash.update(&[12]),
        ConflictKind::MovedWhileRemoved => hash.update(&[13]),
        ConflictKind::Orphaned { tree, missing } => {
            hash.update(&[9]);
            hash.update(missing.as_bytes());
            hash.update(&place_in(tree));
        }
    }
    // Lengths before what has no fixed one.
    hash.update(&(text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
    hash.update(&dots.to_bytes());
    ConflictId::new(entity.kind(), *entity.id(), hash.digest128())
}

/// The entity that a conflict is about.
pub(super) fn entity_of(id: ConflictId) -> Entity {
    let (kind, of) = id.entity();
    Entity::new(kind, of)
}
