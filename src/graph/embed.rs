//! Vectors of nodes and edges: writing and reading.

use crate::error::{EditError, VectorError};
use crate::graph::keys::{self, EMBEDDINGS, Owner};
use crate::graph::{Edge, Graph, Hidden, Node};
use crate::kernel::{Cells, Edit, Field, SiblingRef};
use crate::vector::{Embedding, Model, Vector, later_text, later_text_in};

/// Embedding nodes and edges.
impl Edit<'_, Graph> {
    /// Sets the vector of a node or edge by a model. One write, whatever its length, and another if a
    /// [later text](Self::embed_if_changed) was recorded for the vector before.
    ///
    /// It replaces every vector of that model that is seen there. One that somebody sets concurrently is kept beside it;
    /// then that of the later stamp shows. A vector that is not of the model's length is refused.
    ///
    /// ```
    /// use driftless::{Graph, Model, NodeId, Replica, Vector};
    /// let mut laptop = Replica::<Graph>::new();
    /// let (dog, model) = (NodeId::named("dog"), Model::new("tiny", 3)?);
    /// laptop.edit(|g| g.add_node("dog"))?;
    /// let mut phone = laptop.fork();
    ///
    /// // Both embed it, by the same model, from texts of their own.
    /// let (_, a) = laptop.edit(|g| g.embed(dog, &model, &Vector::f32(&[1.0, 0.0, 0.0])?.of_text("dog")))?;
    /// let (_, b) = phone.edit(|g| g.embed(dog, &model, &Vector::i8(&[0.9, 0.1, 0.0])?.of_text("a dog")))?;
    /// laptop.merge(&b)?;
    /// phone.merge(&a)?;
    ///
    /// let on_laptop = laptop.state().node(dog).ok_or("added")?;
    /// let on_phone = phone.state().node(dog).ok_or("added")?;
    /// assert_eq!(on_laptop.embedding(&model), on_phone.embedding(&model)); // the same one shows
    /// assert_eq!(on_laptop.embeddings().get_all(&model).count(), 2); // and neither is lost
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn embed(&mut self, of: impl Into<Owner>, model: &Model, vector: &Vector) -> Result<(), EditError> {
        model.check_len(vector.dimension())?;
        let (of, field) = (of.into(), keys::embedding(model));
        self.write_to(of, &field, vector.to_payload())?;
        self.erase(of.entity(), &keys::later_text(&field)).map(drop)
    }

    /// Sets the vector of a node or edge unless it hardly differs from the replicated one: unless the cosine between the
    /// two is at least `threshold`. Returns whether it was written.
    ///
    /// It is compared with the vector that shows here, which others have too or will have, and not with the last one
    /// computed: so however small the steps, what is replicated is never further than the threshold from what was
    /// offered last. Where none shows, it is written; where concurrent ones are kept and it is not, they stay.
    ///
    /// The vector that is kept stands for the new text from then on: if the new vector has a text, and it is another than
    /// that of the kept one, its hash is written (32 bytes, without the numbers). So the kept vector is not
    /// [stale](Embedding::is_stale) for the new text. A vector of the same numbers and text writes nothing.
    ///
    /// The cosine knows directions alone, so a vector that is merely longer is not written. With a vector of zeros there
    /// is no cosine: one of zeros is written beside any other, and not beside one of zeros.
    ///
    /// ```
    /// use driftless::{Graph, Model, NodeId, Replica, Vector};
    /// let mut replica = Replica::<Graph>::new();
    /// let (dog, model) = (NodeId::named("dog"), Model::new("tiny", 2)?);
    /// replica.edit(|g| {
    ///     g.add_node("dog")?;
    ///     g.embed(dog, &model, &Vector::f32(&[1.0, 0.50])?.of_text("a dog"))
    /// })?;
    /// let vector = Vector::f32(&[1.0, 0.51])?.of_text("a dog."); // the text changed, and the vector hardly did
    /// let (written, _) = replica.edit(|g| g.embed_if_changed(dog, &model, &vector, 0.999))?;
    /// let shown = replica.state().node(dog).ok_or("added")?.embedding(&model).ok_or("embedded")?;
    /// assert!(!written);
    /// assert_eq!((shown.to_vec(), shown.is_stale("a dog.")), (vec![1.0, 0.5], Some(false)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn embed_if_changed(
        &mut self,
        of: impl Into<Owner>,
        model: &Model,
        vector: &Vector,
        threshold: f32,
    ) -> Result<bool, EditError> {
        if !(-1.0..=1.0).contains(&threshold) {
            return Err(VectorError::Threshold(threshold).into());
        }
        model.check_len(vector.dimension())?;
        let of = of.into();
        self.require(of)?;
        let field = keys::embedding(model);
        let cells = self.state.cells(of.entity());
        let shown = cells.and_then(|cells| Embeddings::new(cells).shown_write(&field));
        let Some((shown, sibling)) = shown.filter(|(shown, _)| shown.is_like(vector, threshold)) else {
            self.embed(of, model, vector)?;
            return Ok(true);
        };
        let text = vector.text_hash().filter(|text| shown.text_hash() != Some(*text));
        if let Some((text, kept)) = text.zip(sibling.payload) {
            let record = later_text(text, kept);
            self.write_to(of, &keys::later_text(&field), record)?;
        }
        Ok(false)
    }

    /// Removes the vector of a node or edge by a model. Returns whether it had one. One that somebody sets concurrently
    /// stays.
    pub fn unembed(&mut self, of: impl Into<Owner>, model: &Model) -> Result<bool, EditError> {
        let of = of.into();
        self.require(of)?;
        let field = keys::embedding(model);
        self.erase(of.entity(), &keys::later_text(&field))?;
        self.erase(of.entity(), &field)
    }
}

/// The vectors of a node or edge.
///
/// A vector that this version cannot read is kept and sent on, and is not among them.
#[derive(Clone, Copy, Debug)]
pub struct Embeddings<'a> {
    cells: Cells<'a>,
}

impl<'a> Embeddings<'a> {
    pub(super) fn new(cells: Cells<'a>) -> Self {
        Self { cells }
    }

    /// The vector by a model: of concurrent ones, that of the latest stamp.
    pub fn get(&self, model: &Model) -> Option<Embedding<'a>> {
        self.shown_write(&keys::embedding(model)).map(|(embedding, _)| embedding)
    }

    /// All concurrent vectors by a model, in the order of their dots, each with who wrote it and when.
    pub fn get_all(&self, model: &Model) -> impl Iterator<Item = (Embedding<'a>, SiblingRef<'a>)> + use<'a> {
        let (cells, key) = (self.cells, keys::embedding(model));
        let cell = self.fields().filter(move |(field, _)| field.as_bytes() == &key[..]);
        cell.filter_map(move |(field, sibling)| Some((embedding_in(cells, field, sibling)?, sibling)))
    }

    /// The vectors that show, one for each model, in the order of the models' names.
    pub fn iter(&self) -> impl Iterator<Item = Embedding<'a>> + use<'a> {
        let (cells, mut last) = (self.cells, None);
        let fields = self.fields().map(|(field, _)| field).filter(move |field| last.replace(*field) != Some(*field));
        let shown = move |field: &'a Field| greatest(cells.siblings(field.as_bytes()).map(|sibling| (field, sibling)));
        fields.filter_map(move |field| shown(field).map(|shown| with_later_text(cells, field.as_bytes(), shown).0))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The vector at a key that shows, and the write that it comes from.
    fn shown_write(&self, key: &[u8]) -> Option<(Embedding<'a>, SiblingRef<'a>)> {
        let shown = greatest(self.fields().filter(|(field, _)| field.as_bytes() == key));
        shown.map(|shown| with_later_text(self.cells, key, shown))
    }

    fn fields(&self) -> impl Iterator<Item = (&'a Field, SiblingRef<'a>)> + use<'a> {
        self.cells.named(EMBEDDINGS)
    }
}

/// Calls `read` with the vector by a model that shows, which has the text of the vector alone, whatever later one was recorded.
/// O(log siblings) where many are concurrent, as long as the latest can be read.
pub(super) fn read_shown<R>(cells: Cells<'_>, model: &Model, mut read: impl FnMut(&Embedding<'_>) -> R) -> Option<R> {
    let (name, dimension) = (model.name(), model.dimension());
    cells.cell(&keys::embedding(model)).find_latest(|sibling| {
        Embedding::from_payload(name, dimension, sibling.payload.as_ref()?).map(|embedding| read(&embedding))
    })
}

/// The model that a field is of, if it is of a vector.
pub(crate) fn model_of(field: &Field) -> Option<Model> {
    let (name, dimension) = keys::embedding_of(field)?;
    Model::new(name, dimension).ok()
}

/// The vector that a sibling of a field holds, if it can be read.
pub(crate) fn embedding_in<'a>(cells: Cells<'a>, field: &'a Field, sibling: SiblingRef<'a>) -> Option<Embedding<'a>> {
    Some(with_later_text(cells, field.as_bytes(), read((field, sibling))?).0)
}

/// Gives a vector the later text that is recorded beside it: of concurrent ones, that of the latest stamp.
fn with_later_text<'a>(
    cells: Cells<'a>,
    key: &[u8],
    (embedding, sibling): (Embedding<'a>, SiblingRef<'a>),
) -> (Embedding<'a>, SiblingRef<'a>) {
    let text = |record: SiblingRef<'a>| later_text_in(record.payload?, sibling.payload?);
    let records = cells.live(&keys::later_text(key)).filter_map(|record| Some((record.precedence(), text(record)?)));
    match records.max_by_key(|(precedence, _)| *precedence) {
        Some((_, text)) => (embedding.of_text(text), sibling),
        None => (embedding, sibling),
    }
}

/// Of those that can be read, the one that shows.
fn greatest<'a>(cell: impl Iterator<Item = (&'a Field, SiblingRef<'a>)>) -> Option<(Embedding<'a>, SiblingRef<'a>)> {
    cell.filter_map(read).max_by_key(|(_, sibling)| sibling.precedence())
}

fn read<'a>((field, sibling): (&'a Field, SiblingRef<'a>)) -> Option<(Embedding<'a>, SiblingRef<'a>)> {
    let (name, dimension) = keys::embedding_of(field)?;
    Some((Embedding::from_payload(name, dimension, sibling.payload?)?, sibling))
}

impl<'a> Node<'a> {
    /// Its vector by a model: of concurrent ones, that of the latest stamp.
    pub fn embedding(&self, model: &Model) -> Option<Embedding<'a>> {
        self.embeddings().get(model)
    }

    /// All its vectors.
    pub fn embeddings(&self) -> Embeddings<'a> {
        Embeddings::new(self.cells)
    }
}

impl<'a> Edge<'a> {
    /// Its vector by a model: of concurrent ones, that of the latest stamp.
    pub fn embedding(&self, model: &Model) -> Option<Embedding<'a>> {
        self.embeddings().get(model)
    }

    /// All its vectors.
    pub fn embeddings(&self) -> Embeddings<'a> {
        Embeddings::new(self.cells)
    }
}

impl<'a> Hidden<'a> {
    /// Vectors that survived.
    pub fn embeddings(&self) -> Embeddings<'a> {
        Embeddings::new(self.cells)
    }
}
