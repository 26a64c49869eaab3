//! Whose vectors they are.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::VectorError;
use crate::escape::Escaped;
use crate::kernel::MAX_PAYLOAD_LEN;
use crate::vector::payload::MAX_HEADER_LEN;

/// The most numbers that a vector may have: what fits into a value at four bytes each.
pub const MAX_DIMENSION: usize = (MAX_PAYLOAD_LEN - MAX_HEADER_LEN) / 4;

/// The longest name of a model in bytes: it stands in every cell's key, and those of model hubs are under 200.
pub const MAX_MODEL_NAME_LEN: usize = 1024;

/// What turns texts or pictures into vectors: its name, and how many numbers its vectors have.
///
/// Both are part of an embedding's key: a node has one embedding for each model, and vectors of two models are never
/// compared. Where a new release of a model gives other vectors, give it another name.
///
/// ```
/// use driftless::{Model, VectorError};
/// let model = Model::new("all-MiniLM-L6-v2", 384)?;
/// assert_eq!(model.to_string(), "all-MiniLM-L6-v2 (384)");
/// assert_eq!(Model::new("", 384), Err(VectorError::NoName));
/// # Ok::<(), VectorError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Model {
    name: Arc<str>,
    dimension: u32,
}

/// How a model is serialised.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Model")]
struct Parts {
    name: String,
    dimension: usize,
}

impl From<Model> for Parts {
    fn from(model: Model) -> Self {
        Self { name: model.name().to_owned(), dimension: model.dimension() }
    }
}

impl TryFrom<Parts> for Model {
    type Error = VectorError;

    fn try_from(Parts { name, dimension }: Parts) -> Result<Self, VectorError> {
        Self::new(&name, dimension)
    }
}

impl Model {
    /// The model of this name, whose vectors have so many numbers.
    pub fn new(name: &str, dimension: usize) -> Result<Self, VectorError> {
        Self::check(name, dimension)?;
        Ok(Self::of_checked(name, dimension))
    }

    /// Whether there can be such a model.
    pub(crate) fn check(name: &str, dimension: usize) -> Result<(), VectorError> {
        let (len, limit) = (name.len(), MAX_MODEL_NAME_LEN);
        if len == 0 {
            return Err(VectorError::NoName);
        }
        // A zero byte ends the name in a key.
        if len > limit || name.contains('\0') {
            return Err(VectorError::Name { len, limit });
        }
        check_dimension(dimension)
    }

    /// The model of a name and a dimension that have been checked; so the dimension fits.
    pub(super) fn of_checked(name: &str, dimension: usize) -> Self {
        Self { name: name.into(), dimension: dimension as u32 }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many numbers its vectors have.
    pub fn dimension(&self) -> usize {
        self.dimension as usize
    }

    /// Whether a vector of this length can be one of the model's.
    pub(crate) fn check_len(&self, found: usize) -> Result<(), VectorError> {
        match self.dimension() {
            expected if expected == found => Ok(()),
            expected => Err(VectorError::Length { model: self.name().to_owned(), expected, found }),
        }
    }
}

pub(super) fn check_dimension(dimension: usize) -> Result<(), VectorError> {
    match dimension {
        1..=MAX_DIMENSION => Ok(()),
        _ => Err(VectorError::Dimension { dimension, limit: MAX_DIMENSION }),
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", Escaped(&self.name), self.dimension)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({self})")
    }
}
