//! The persona as structs, the kinds of its paths, and how it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use driftless::{Document, Edit, EditError, Path, PathError, Rule, Rules};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whatever can be absent has a default: a set or a map goes with its last entry.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Persona {
    pub(crate) profile: Profile,
    /// What an app of tomorrow may add to.
    pub(crate) preferences: BTreeMap<String, Value>,
    pub(crate) traits: BTreeMap<String, f64>,
    /// A set.
    pub(crate) interests: BTreeSet<String>,
    /// A maximum: times as text sort by time.
    pub(crate) last_talk: String,
    pub(crate) memories: BTreeMap<String, Memory>,
    /// Who writes under which id.
    pub(crate) devices: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) bio: String,
}

#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    pub(crate) text: String,
    pub(crate) said_by: String,
    pub(crate) said_at: String,
    /// A maximum: the best evidence counts.
    pub(crate) confidence: f64,
    /// A counter: every device adds its own.
    pub(crate) recalled: u64,
    /// An array is one value: concurrent ones conflict, and read as their union.
    pub(crate) tags: Vec<String>,
}

impl Persona {
    /// What a document says, each register read by its rule.
    pub(crate) fn of(document: &Document, rules: &Rules) -> Result<Self, Box<dyn Error>> {
        match rules.json(&document.properties(), "")? {
            Some(json) => Ok(serde_json::from_value(json)?),
            None => Ok(Self::default()),
        }
    }

    /// Writes all of it into an empty document.
    pub(crate) fn write(&self, d: &mut Edit<'_, Document>) -> Result<(), EditError> {
        d.update("/profile", &self.profile)?;
        d.update("/preferences", &self.preferences)?;
        d.update("/traits", &self.traits)?;
        d.raise("/last_talk", &self.last_talk)?;
        self.interests.iter().try_for_each(|interest| d.insert("/interests", interest).map(drop))?;
        self.memories.iter().try_for_each(|(id, memory)| remember(d, id, memory))
    }
}

/// Kinds come first: `update` keeps those that it finds, and makes a register of what is not there yet.
pub(crate) fn remember(d: &mut Edit<'_, Document>, id: &str, memory: &Memory) -> Result<(), EditError> {
    d.raise(memory_at(id, "confidence")?, memory.confidence)?;
    d.add(memory_at(id, "recalled")?, 0)?;
    d.update(Path::new(["memories", id])?, memory).map(drop)
}

/// Where a part of a memory is. Typed, so an id may hold any character; a JSON Pointer would have to escape some.
pub(crate) fn memory_at(id: &str, part: &str) -> Result<Path, PathError> {
    Path::new(["memories", id, part])
}

/// Ids of what is left of memories that were forgotten here and recalled there: a count without a text.
pub(crate) fn fragments(document: &Document) -> Vec<String> {
    let mut ids = document.properties().keys("/memories");
    ids.retain(|id| memory_at(id, "text").is_ok_and(|text| document.get(text).is_none()));
    ids
}

/// How concurrent values read; everything else reads as the last writer's.
pub(crate) fn rules() -> Result<Rules, PathError> {
    Rules::new().with("/memories/*/tags", Rule::Union)
}
