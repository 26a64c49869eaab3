//! Reading rules: how an app wants concurrent values to read.

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::document::nested::Nested;
use crate::document::path::{AsPath, ElementId, Path, Segment};
use crate::document::read::Properties;
use crate::document::tree::Tree;
use crate::document::value::Value;
use crate::error::PathError;
use crate::escape::Escaped;
use crate::kernel::SiblingRef;
use crate::kind::Kind;

/// A way to read the concurrent values of a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Rule {
    /// The one of the latest stamp: how everything reads without a rule.
    LastWriter,
    /// The distinct values as an array, the latest first; of a single value an array of one.
    KeepAll,
    /// One array with the elements of all arrays, each once, those of the latest first.
    Union,
    /// The greatest of numbers, texts or truth values.
    Max,
    /// The least of numbers, texts or truth values.
    Min,
}

/// Rules, and the paths at which each holds. Part of how an app reads, never of the state: replicas may have different ones and change them
/// at any moment.
///
/// A pattern is a JSON Pointer in which a segment `*` stands for any one, an element of a list too, and `**` at the end for all that lie below. The
/// first rule whose pattern fits a path holds. Rules are about registers; counters, sets, maxima and minima have their own.
///
/// ```
/// use driftless::{Document, Replica, Rule, Rules};
/// use serde_json::json;
/// let rules = Rules::new().with("/skills/*/level", Rule::Max)?.with("/tags", Rule::Union)?;
///
/// let (mut laptop, mut phone) = (Replica::<Document>::new(), Replica::<Document>::new());
/// let (_, a) = laptop.edit(|d| d.update("", &json!({"skills": {"chess": {"level": 3}}, "tags": ["a", "b"]})))?;
/// let (_, b) = phone.edit(|d| d.update("", &json!({"skills": {"chess": {"level": 5}}, "tags": ["b", "c"]})))?;
/// laptop.merge(&b)?;
/// phone.merge(&a)?;
///
/// let read = rules.json(&phone.state().properties(), "")?.unwrap_or_default();
/// assert_eq!(read["skills"]["chess"]["level"], 5);
/// assert_eq!(read["tags"].as_array().map(Vec::len), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rules {
    patterns: Vec<(Pattern, Rule)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern {
    path: Path,
    /// True if the pattern ends with `**`, and so fits all that lies below the path.
    is_open: bool,
}

/// A rule does not fit what is at a path it was declared for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the rule {rule:?} does not fit `{}`: {} is there; declare another rule for it, or none",
    Escaped(.path), Escaped(.found)
)]
pub struct RuleError {
    /// The path.
    pub path: Path,
    /// The rule.
    pub rule: Rule,
    /// A description of what is there.
    pub found: String,
}

/// The reason why something could not be read by rules.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A rule does not fit.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The value that is there is not of the type that was to be read.
    #[error(transparent)]
    Shape(#[from] serde_json::Error),
}

impl Rules {
    /// None: everything reads as the last writer's.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule, behind those that are there.
    pub fn with(mut self, pattern: &str, rule: Rule) -> Result<Self, PathError> {
        let mut path: Path = pattern.parse()?;
        let is_open = path.segments().next_back() == Some(Segment::Name("**"));
        if is_open {
            path.pop();
        }
        if path.segments().any(|segment| segment == Segment::Name("**")) {
            return Err(PathError::Wildcard(pattern.to_owned()));
        }
        self.patterns.push((Pattern { path, is_open }, rule));
        Ok(self)
    }

    /// The rule for a path.
    pub fn rule(&self, path: &Path) -> Rule {
        let fitting = self.patterns.iter().find(|(pattern, _)| pattern.fits(path));
        fitting.map_or(Rule::LastWriter, |(_, rule)| *rule)
    }

    /// The value at and below a path as JSON, with every register read by its rule. O(cells there).
    ///
    /// An error if a rule does not fit what somebody wrote; [`read`](Self::read) goes on.
    pub fn json(&self, properties: &Properties<'_>, path: impl AsPath) -> Result<Option<serde_json::Value>, RuleError> {
        let (value, misfits) = self.read(properties, path);
        misfits.into_iter().next().map_or(Ok(value), Err)
    }

    /// Like [`json`](Self::json), but what a rule does not fit reads as without one, and is told beside it: for an app that
    /// must not fall silent because one peer wrote a text where all others write numbers.
    pub fn read(&self, properties: &Properties<'_>, path: impl AsPath) -> (Option<serde_json::Value>, Vec<RuleError>) {
        let (place, mut misfits) = (properties.place(path), Vec::new());
        let mut at = place.as_ref().and_then(|place| place.as_ref().path()).unwrap_or_default();
        let tree = place.and_then(|place| properties.tree(&place)).filter(|tree| tree.kind().is_some());
        let value = tree.map(|tree| self.nested(&tree, &mut at, &mut misfits).into_json());
        (value, misfits)
    }

    /// Deserialises the value at and below a path from what [`json`](Self::json) reads.
    pub fn deserialize<T: DeserializeOwned>(
        &self,
        properties: &Properties<'_>,
        path: impl AsPath,
    ) -> Result<Option<T>, ReadError> {
        Ok(self.json(properties, path)?.map(serde_json::from_value).transpose()?)
    }

    fn nested(&self, tree: &Tree<'_>, at: &mut Path, misfits: &mut Vec<RuleError>) -> Nested {
        match tree.kind() {
            Some(Kind::Map) => {
                let entries = tree.shown_children().map(|(name, child)| {
                    at.push(Segment::Name(name));
                    let value = self.nested(child, at, misfits);
                    at.pop();
                    (name.clone(), value)
                });
                Nested::Map(entries.collect())
            }
            Some(Kind::List) => {
                let elements = tree.in_order().into_iter().map(|(born, element)| {
                    at.push(Segment::Element(ElementId::of(born)));
                    let value = self.nested(element, at, misfits);
                    at.pop();
                    value
                });
                Nested::Array(elements.collect())
            }
            Some(kind) => {
                let path = at.clone();
                let rule = self.rule(&path);
                let read = match (rule, kind) {
                    (Rule::LastWriter, _) => Ok(tree.to_nested()),
                    (_, Kind::Register) => {
                        let siblings = tree.own.get(&kind).into_iter().flat_map(|cells| cells.values()).flatten();
                        apply(rule, &distinct(siblings.copied()))
                    }
                    _ => Err(format!("a {kind}")),
                };
                read.unwrap_or_else(|found| {
                    misfits.push(RuleError { path, rule, found });
                    tree.to_nested()
                })
            }
            None => Nested::Null,
        }
    }
}

impl Pattern {
    fn fits(&self, path: &Path) -> bool {
        let len = path.segments().len();
        let wanted = self.path.segments();
        let is_long_enough = if self.is_open { len > wanted.len() } else { len == wanted.len() };
        is_long_enough && wanted.zip(path.segments()).all(|(wanted, got)| wanted == Segment::Name("*") || wanted == got)
    }
}

/// The distinct values among siblings, that of the latest stamp first.
pub(crate) fn distinct<'a>(siblings: impl Iterator<Item = SiblingRef<'a>>) -> Vec<Value<'a>> {
    let mut siblings: Vec<_> = siblings.collect();
    siblings.sort_unstable_by_key(|sibling| std::cmp::Reverse(sibling.precedence()));
    let mut values: Vec<Value<'a>> = Vec::new();
    for value in siblings.into_iter().filter_map(|s| s.payload).map(Value::from_payload) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

/// One value out of distinct ones, the latest first; or what does not fit.
fn apply(rule: Rule, values: &[Value<'_>]) -> Result<Nested, String> {
    match rule {
        Rule::LastWriter => Ok(values.first().map_or(Nested::Null, |value| value.to_nested())),
        Rule::KeepAll => Ok(Nested::Array(values.iter().map(|value| value.to_nested()).collect())),
        Rule::Union => union(values),
        Rule::Max => {
            ordered(values).map(|values| values.max_by(Value::total_cmp).map_or(Nested::Null, Value::to_nested))
        }
        Rule::Min => {
            ordered(values).map(|values| values.min_by(Value::total_cmp).map_or(Nested::Null, Value::to_nested))
        }
    }
}

/// One array with the elements of all, each once, those of the first array first.
pub(crate) fn union(arrays: &[Value<'_>]) -> Result<Nested, String> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for value in arrays {
        let Nested::Array(items) = value.to_nested() else { return Err(format!("{value}, which is no array,")) };
        // Told apart by what they are written as.
        all.extend(items.into_iter().filter(|item| seen.insert(item.spelled())));
    }
    Ok(Nested::Array(all))
}

fn ordered<'a, 'b>(values: &'b [Value<'a>]) -> Result<impl Iterator<Item = Value<'a>> + use<'a, 'b>, String> {
    let sort = |value: &Value<'_>| match value {
        Value::Bool(_) => Some(0),
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => Some(1),
        Value::Str(_) => Some(2),
        _ => None,
    };
    let first = values.first().and_then(sort);
    match values.iter().find(|value| sort(value).is_none() || sort(value) != first) {
        Some(odd) => Err(format!("{odd} among {} values, which have no order,", values.len())),
        None => Ok(values.iter().copied()),
    }
}
