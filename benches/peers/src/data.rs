//! The nodes and edges that every library is given, the same in each run.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use crate::Failure;
use crate::libraries::{Edge, Node, Value};

/// Path of the property that is overwritten. In the maps of the peers its key is the same without the slash.
pub(crate) const WEIGHT: &str = "/weight";

/// Properties of a person.
pub(crate) const FIELDS: [&str; 3] = ["/name", "/title", WEIGHT];

const VOCABULARY: [&str; 32] = [
    "amber", "anchor", "basin", "birch", "candle", "cedar", "copper", "delta", "ember", "falcon", "garden", "harbor",
    "island", "juniper", "kettle", "lantern", "marble", "meadow", "north", "orchard", "pepper", "quartz", "river",
    "saddle", "timber", "umber", "valley", "willow", "winter", "yarrow", "zephyr", "zinc",
];

/// Numbers below a bound in an order without a pattern, the same in each run (a linear congruential generator).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    /// A multiple of ¼, so that sums of weights are exact in any order.
    pub(crate) fn weight(&mut self) -> f64 {
        self.below(40_000) as f64 * 0.25
    }
}

/// The texts and numbers of a graph without edges.
pub(crate) struct Persons(Vec<(String, String, f64)>);

impl Persons {
    /// Persons whose names are numbered: `person:0000123`.
    pub(crate) fn numbered(count: usize) -> Self {
        Self::with_names((0..count).map(|n| format!("person:{n:07}")))
    }

    /// Persons whose names are random words of 6 to 12 letters, in alphabetical order.
    pub(crate) fn of_random_words(count: usize) -> Self {
        let (mut random, mut words) = (Random(11), BTreeSet::new());
        while words.len() < count {
            let length = 6 + random.below(7);
            words.insert((0..length).map(|_| char::from(b'a' + random.below(26) as u8)).collect::<String>());
        }
        Self::with_names(words)
    }

    fn with_names(names: impl IntoIterator<Item = String>) -> Self {
        let mut random = Random(3);
        let person = |name| {
            let words: Vec<_> = (0..3).map(|_| VOCABULARY[random.below(VOCABULARY.len())]).collect();
            (name, words.join(" "), random.weight())
        };
        Self(names.into_iter().map(person).collect())
    }

    /// The persons as nodes: the key is the name, which is a property too.
    pub(crate) fn nodes(&self) -> Vec<Node<'_>> {
        let persons = self.0.iter().map(|(name, title, weight)| {
            let values = [Value::Text(name), Value::Text(title), Value::Number(*weight)];
            Node { key: name, properties: FIELDS.into_iter().zip(values).collect() }
        });
        persons.collect()
    }

    pub(crate) fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, ..)| name.as_str()).collect()
    }
}

/// A line of the file: a concept or a relation.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Concept { node: String, pos: String, lemmas: Vec<String>, gloss: String },
    Relation { edge: String, from: String, to: String },
}

/// WordNet as text, read from JSON lines as the example `mesh` reads them.
#[derive(Default)]
pub(crate) struct WordNet {
    concepts: Vec<(String, String, String, Vec<String>)>,
    relations: Vec<(String, String, String, String)>,
    /// Paths of lemmas: `/lemma0`, `/lemma1`, …
    lemma_paths: Vec<String>,
}

impl WordNet {
    /// Reads a file of JSON lines, compressed by zstd if its name ends so.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let is_compressed = path.extension().is_some_and(|extension| extension == "zst");
        let reader: Box<dyn Read> = if is_compressed { Box::new(zstd::Decoder::new(file)?) } else { Box::new(file) };
        let mut all = Self::default();
        for line in BufReader::new(reader).lines() {
            match serde_json::from_str(&line?)? {
                Line::Concept { node, pos, lemmas, gloss } => all.concepts.push((node, pos, gloss, lemmas)),
                Line::Relation { edge, from, to } => {
                    let key = format!(">{edge} {to}");
                    all.relations.push((from, edge, to, key));
                }
            }
        }
        let most = all.concepts.iter().map(|(.., lemmas)| lemmas.len()).max().unwrap_or_default();
        all.lemma_paths = (0..most).map(|n| format!("/lemma{n}")).collect();
        Ok(all)
    }

    pub(crate) fn nodes(&self) -> Vec<Node<'_>> {
        let nodes = self.concepts.iter().map(|(key, pos, gloss, lemmas)| {
            let fixed = [("/pos", Value::Text(pos)), ("/gloss", Value::Text(gloss))];
            let lemmas = self.lemma_paths.iter().zip(lemmas);
            let lemmas = lemmas.map(|(path, lemma)| (path.as_str(), Value::Text(lemma)));
            Node { key, properties: fixed.into_iter().chain(lemmas).collect() }
        });
        nodes.collect()
    }

    pub(crate) fn edges(&self) -> Vec<Edge<'_>> {
        self.relations.iter().map(|(from, kind, to, key)| Edge { from, kind, to, key }).collect()
    }
}
