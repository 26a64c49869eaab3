//! Vectors of nodes and edges: writing and reading.

use crate::error::{EditError, VectorError};
use crate::graph::keys::{self, EMBEDDINGS, Owner};
use crate::graph::{Edge, Graph, Hidden, Node};
use crate::kernel::{Cells, Edit, Field, Sibling};
use crate::vector::{Embedding, Model, Vector};

/// Embedding nodes and edges.
impl Edit<'_, Graph> {
    /// Sets the vector of a node or edge by a model. One write, whatever its length.
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
        self.write_to(of.into(), &keys::embedding(model), vector.to_payload())
    }

    /// Sets the vector of a node or edge unless it hardly differs from the replicated one: unless the cosine between the
    /// two is at least `threshold`. Returns whether it was written.
    ///
    /// It is compared with the vector that shows here, which others have too or will have, and not with the last one
    /// computed: so however small the steps, what is replicated is never further than the threshold from what was
    /// offered last. Where none shows, it is written; where concurrent ones are kept and it is not, they stay.
    ///
    /// The cosine knows directions alone, so a vector that is merely longer is not written; one of zeros always is. The
    /// vector that is kept keeps the hash of *its* text, by which it goes on being [stale](Embedding::is_stale).
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
        let cells = self.state.cells(of.entity());
        let shown = cells.and_then(|cells| Embeddings::new(cells).get(model));
        let changed = shown.is_none_or(|shown| shown.cosine_to(vector) < threshold);
        if changed {
            self.embed(of, model, vector)?;
        }
        Ok(changed)
    }

    /// Removes the vector of a node or edge by a model. Returns whether it had one. One that somebody sets concurrently
    /// stays.
    pub fn unembed(&mut self, of: impl Into<Owner>, model: &Model) -> Result<bool, EditError> {
        let of = of.into();
        self.require(of)?;
        self.erase(of.entity(), &keys::embedding(model))
    }
}

/// The vectors of a node or edge.
///
/// A vector that this version cannot read is kept and sent on, and is not among them.
#[derive(Clone, Copy, Debug)]
pub struct Embeddings<'a> {
    cells: &'a Cells,
}

impl<'a> Embeddings<'a> {
    pub(super) fn new(cells: &'a Cells) -> Self {
        Self { cells }
    }

    /// The vector by a model: of concurrent ones, that of the latest stamp.
    pub fn get(&self, model: &Model) -> Option<Embedding<'a>> {
        self.shown(&keys::embedding(model))
    }

    /// All concurrent vectors by a model, in the order of their dots, each with who wrote it and when.
    pub fn get_all(&self, model: &Model) -> impl Iterator<Item = (Embedding<'a>, &'a Sibling)> + use<'a> {
        let key = keys::embedding(model);
        self.fields().filter(move |(field, _)| field.as_bytes() == &key[..]).filter_map(read)
    }

    /// The vectors that show, one for each model, in the order of the models' names.
    pub fn iter(&self) -> impl Iterator<Item = Embedding<'a>> + use<'a> {
        let (cells, mut last) = (self.cells, None);
        let fields = self.fields().map(|(field, _)| field).filter(move |field| last.replace(*field) != Some(*field));
        fields.filter_map(move |field| greatest(cells.siblings(field.as_bytes()).map(|sibling| (field, sibling))))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The vector at a key that shows.
    pub(super) fn shown(&self, key: &[u8]) -> Option<Embedding<'a>> {
        greatest(self.fields().filter(|(field, _)| field.as_bytes() == key))
    }

    fn fields(&self) -> impl Iterator<Item = (&'a Field, &'a Sibling)> + use<'a> {
        self.cells.with_prefix(EMBEDDINGS)
    }
}

/// The model that a field is of, if it is of a vector.
pub(crate) fn model_of(field: &Field) -> Option<Model> {
    let (name, dimension) = keys::embedding_of(field)?;
    Model::new(name, dimension).ok()
}

/// The vector that a sibling of a field holds, if it can be read.
pub(crate) fn embedding_in<'a>(field: &'a Field, sibling: &'a Sibling) -> Option<Embedding<'a>> {
    read((field, sibling)).map(|(embedding, _)| embedding)
}

/// Of those that can be read, the one that shows.
fn greatest<'a>(cell: impl Iterator<Item = (&'a Field, &'a Sibling)>) -> Option<Embedding<'a>> {
    cell.filter_map(read).max_by_key(|(_, sibling)| sibling.precedence()).map(|(embedding, _)| embedding)
}

fn read<'a>((field, sibling): (&'a Field, &'a Sibling)) -> Option<(Embedding<'a>, &'a Sibling)> {
    let (name, dimension) = keys::embedding_of(field)?;
    Some((Embedding::from_payload(name, dimension, sibling.payload.as_ref()?)?, sibling))
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
