//! A vector as it is read.

use std::fmt;

use crate::error::VectorError;
use crate::escape::Escaped;
use crate::kernel::PayloadRef;
use crate::vector::compare::{self, Metric, Query};
use crate::vector::make::{self, Vector};
use crate::vector::model::Model;
use crate::vector::payload;
use crate::vector::spelling::{Numbers, Precision};

/// The vector of a node or edge by one model, borrowed from the state. Comparing it reads the stored bytes: nothing is
/// copied.
///
/// ```
/// use driftless::{Graph, Model, NodeId, Replica, Vector};
/// let mut replica = Replica::<Graph>::new();
/// let (dog, model) = (NodeId::named("dog"), Model::new("tiny", 2)?);
/// replica.edit(|g| {
///     g.add_node("dog")?;
///     g.embed(dog, &model, &Vector::f16(&[0.5, 0.25])?.of_text("a dog"))
/// })?;
/// let node = replica.state().node(dog).ok_or("added")?;
/// let embedding = node.embedding(&model).ok_or("embedded")?;
/// assert_eq!(embedding.to_vec(), [0.5, 0.25]);
/// assert_eq!(embedding.is_stale("a dog"), Some(false));
/// assert_eq!(embedding.is_stale("a large dog"), Some(true)); // time to embed it again
/// assert_eq!(embedding.cosine(&embedding)?, 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Embedding<'a> {
    name: &'a str,
    text: Option<u128>,
    numbers: Numbers<'a>,
}

impl<'a> Embedding<'a> {
    /// The vector that a payload spells; `None` if this version does not spell it so.
    pub(crate) fn from_payload(name: &'a str, dimension: usize, payload: impl Into<PayloadRef<'a>>) -> Option<Self> {
        let (text, numbers) = payload::decode(payload, dimension)?;
        Some(Self { name, text, numbers })
    }

    /// The same vector, made from a text of this hash.
    pub(crate) fn of_text(self, text: u128) -> Self {
        Self { text: Some(text), ..self }
    }

    /// The name of the model that made it.
    pub fn model_name(&self) -> &'a str {
        self.name
    }

    /// How many numbers it has.
    pub fn dimension(&self) -> usize {
        self.numbers.len()
    }

    /// The model that made it.
    pub fn model(&self) -> Model {
        Model::of_checked(self.name, self.dimension())
    }

    /// How its numbers are kept.
    pub fn precision(&self) -> Precision {
        self.numbers.precision
    }

    /// Its numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f32> + Clone + use<'a> {
        self.numbers.iter()
    }

    /// Its numbers.
    pub fn to_vec(&self) -> Vec<f32> {
        self.iter().collect()
    }

    /// The same vector, of the same precision and text, to write it elsewhere.
    pub fn to_vector(&self) -> Vector {
        Vector::of(self.text, self.numbers)
    }

    /// The hash of the text that it was made from, XXH3-128 of its bytes; none if its writer gave none.
    ///
    /// If a later text gave hardly another vector, so that [`embed_if_changed`](crate::Edit::embed_if_changed) kept this
    /// one, it is the hash of the later text.
    pub fn text_hash(&self) -> Option<u128> {
        self.text
    }

    /// Whether it was made from another text than this one; `None` if its writer gave no text.
    pub fn is_stale(&self, text: &str) -> Option<bool> {
        self.text.map(|hash| hash != make::hash(text))
    }

    /// The cosine of the angle to another vector of the same model, from −1 to 1. Precisions may differ. 0 if either is
    /// all zeros.
    pub fn cosine(&self, other: &Embedding<'_>) -> Result<f32, VectorError> {
        self.score(Metric::Cosine, other)
    }

    /// The dot product with another vector of the same model; infinite if no f32 can hold it.
    pub fn dot(&self, other: &Embedding<'_>) -> Result<f32, VectorError> {
        self.score(Metric::Dot, other)
    }

    /// The Euclidean distance to another vector of the same model; infinite if no f32 can hold it.
    pub fn euclidean(&self, other: &Embedding<'_>) -> Result<f32, VectorError> {
        self.score(Metric::Euclidean, other)
    }

    fn score(&self, metric: Metric, other: &Embedding<'_>) -> Result<f32, VectorError> {
        match self.name == other.name && self.dimension() == other.dimension() {
            true => Ok(metric.score(self.numbers, other.numbers)),
            false => {
                let (left, right) = (self.model().to_string(), other.model().to_string());
                Err(VectorError::Models { left, right })
            }
        }
    }

    /// True if a vector of the same model has a cosine of at least `threshold` to this one, or the same numbers. The cosine
    /// of a vector of zeros says nothing, so one is like another and like no other vector.
    pub(crate) fn is_like(&self, vector: &Vector, threshold: f32) -> bool {
        let (ours, theirs) = (self.numbers, vector.numbers());
        let same = ours.precision == theirs.precision && ours.scale == theirs.scale && ours.bytes == theirs.bytes;
        let is_zero = |numbers: Numbers<'_>| numbers.iter().all(|number| number == 0.0);
        same || match (is_zero(ours), is_zero(theirs)) {
            (false, false) => Metric::Cosine.score(ours, theirs) >= threshold,
            (ours, theirs) => ours == theirs,
        }
    }

    pub(super) fn numbers(&self) -> Numbers<'a> {
        self.numbers
    }

    /// Its length in space.
    pub(super) fn norm(&self) -> f64 {
        compare::square(self.numbers).sqrt()
    }

    /// How it compares with a query for the same model.
    pub(crate) fn score_of(&self, query: &Query) -> f32 {
        query.score(self.numbers)
    }
}

/// Equal if model, precision, text and the stored bytes of the numbers are.
impl PartialEq for Embedding<'_> {
    fn eq(&self, other: &Self) -> bool {
        let of = |e: &Self| (e.text, e.numbers.precision, e.numbers.scale.to_bits());
        self.name == other.name && of(self) == of(other) && self.numbers.bytes == other.numbers.bytes
    }
}

impl fmt::Debug for Embedding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedding({}: {} × {})", Escaped(self.name), self.dimension(), self.precision())
    }
}
