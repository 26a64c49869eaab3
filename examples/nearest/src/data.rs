//! The files: concepts, one a line, and their vectors, one a row in the same order.

use std::error::Error;
use std::fs;

use driftless::{Model, NodeId, VectorError};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/wordnet-animals");

pub(crate) struct Concept {
    pub(crate) name: String,
    pub(crate) lemma: String,
    pub(crate) gloss: String,
    pub(crate) numbers: Vec<f32>,
}

impl Concept {
    pub(crate) fn node(&self) -> NodeId {
        NodeId::named(&self.name)
    }
}

/// Whatever made the file's vectors.
pub(crate) fn model() -> Result<Model, VectorError> {
    Model::new("wordnet-animals", 384)
}

pub(crate) fn concepts() -> Result<Vec<Concept>, Box<dyn Error>> {
    let (lines, bytes) = (fs::read_to_string(format!("{FOLDER}.jsonl"))?, fs::read(format!("{FOLDER}.f32"))?);
    let numbers: Vec<f32> = bytes.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
    let mut rows = numbers.chunks_exact(model()?.dimension());
    let mut concepts = Vec::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line)?;
        // Relations stand among the concepts.
        let Some(name) = line["node"].as_str() else { continue };
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(format!("{name} lacks a text"));
        let numbers = rows.next().ok_or("there are more concepts than vectors")?.to_vec();
        let (lemma, gloss) = (text(&line["lemmas"][0])?, text(&line["gloss"])?);
        concepts.push(Concept { name: format!("wn:{name}"), lemma, gloss, numbers });
    }
    match rows.next() {
        Some(_) => Err("there are more vectors than concepts".into()),
        None => Ok(concepts),
    }
}
