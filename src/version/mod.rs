//! Versions: everything that a replica has seen.

mod change;
mod lineage;
#[cfg(test)]
mod tests;
mod told;
mod whole;

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{Dot, WriterId};

pub(crate) use change::HeadsChange;
pub(crate) use lineage::{Birth, Line, Lineage, LineageError, MAX_COUNTER, MAX_NAME_LEN};

/// Everything that a replica has seen: a version vector (Parker et al.: *Detection of Mutual Inconsistency in
/// Distributed Systems*, 1983), told by its **heads**.
///
/// A version is causally closed: with a dot it covers the whole path of the dot, which is all earlier dots of its writer,
/// and all that the writer continues. So its heads say all of it: the dots that no other dot of it descends from. There
/// is one for each branch, as a rule one for each device, however often each was opened. Equal heads mean equal
/// versions, and equal versions mean equal live state.
///
/// The version of a [`Replica`](crate::Replica) knows the paths of all its dots. One that came as bytes, or in a delta,
/// knows its heads and some dots below them; what it says of other dots is "not covered", and a delta that is cut for
/// it may hold more than its replica lacks, never less.
///
/// Cloning is O(1). Comparing and joining are O(lines · log writers); a line is a stretch of history without a fork.
///
/// ```
/// use driftless::{Dot, Version, WriterId};
/// let a = WriterId::from([1; 10]);
/// let seen: Version = [(a, 7)].into_iter().collect();
/// assert!(seen.covers(Dot { writer: a, counter: 7 }));
/// assert!(Version::new() <= seen);
/// ```
#[derive(Clone)]
pub struct Version {
    /// Sorted.
    heads: Arc<Vec<Dot>>,
    ground: Ground,
}

/// The dots that a version knows below its heads.
#[derive(Clone)]
enum Ground {
    /// The paths of all dots: the highest counter of each line.
    Whole { lineage: Lineage, counters: Arc<Vec<u64>> },
    /// Some more dots that it covers.
    Told(Arc<Vec<Dot>>),
}

impl Version {
    /// The version of a replica that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The dots that no other dot of the version descends from, sorted. O(1).
    pub fn heads(&self) -> &[Dot] {
        &self.heads
    }

    /// The number of heads. O(1).
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// True if nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The last counter of a writer that is known to be covered; 0 if none is. O(log writers).
    pub fn get(&self, writer: WriterId) -> u64 {
        match &self.ground {
            Ground::Whole { lineage, counters } => lineage.covered(writer, counters),
            Ground::Told(more) => {
                let of = |dots: &[Dot]| {
                    let end = dots.partition_point(|dot| dot.writer <= writer);
                    end.checked_sub(1).map(|i| dots[i]).filter(|dot| dot.writer == writer).map_or(0, |dot| dot.counter)
                };
                of(&self.heads).max(of(more))
            }
        }
    }

    /// The counter after which those of a writer begin, as far as its birth is known.
    pub(crate) fn begins_after(&self, writer: WriterId) -> u64 {
        match &self.ground {
            Ground::Whole { lineage, .. } => lineage.after(writer),
            Ground::Told(_) => 0,
        }
    }

    /// True if that write is known to be covered. O(log writers).
    ///
    /// A dot that its writer cannot have written (counters begin after the dot that a writer continues) is not.
    pub fn covers(&self, dot: Dot) -> bool {
        match &self.ground {
            Ground::Whole { lineage, counters } => {
                let counter = |line: Line| counters.get(line as usize).copied().unwrap_or(0);
                lineage.place(dot).is_some_and(|line| counter(line) >= dot.counter)
            }
            Ground::Told(_) => dot.counter > 0 && dot.counter <= self.get(dot.writer),
        }
    }

    /// True if the dot is one of the heads: quicker than to ask the table. O(log heads).
    fn is_head(&self, dot: &Dot) -> bool {
        self.heads.binary_search(dot).is_ok()
    }

    /// True if everything in `other` is known to be covered. The same as `other <= self`. O(heads of `other` · log writers).
    pub fn includes(&self, other: &Self) -> bool {
        let covers = |head: &Dot| self.is_head(head) || self.covers(*head);
        if Arc::ptr_eq(&self.heads, &other.heads) || other.heads.iter().all(covers) {
            return true;
        }
        // The table of the other may know our paths.
        let known = match &self.ground {
            Ground::Whole { .. } => None,
            Ground::Told(_) => other.resolve(self),
        };
        known.is_some_and(|known| other.heads.iter().all(|head| known.covers(*head)))
    }

    /// Everything that both are known to cover. O(heads · log writers).
    ///
    /// The meet of the versions of all peers is what everybody has seen: what [`Prune::Upto`](crate::Prune::Upto) takes.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        match (&self.ground, &other.ground) {
            (Ground::Whole { .. }, _) => self.common(other),
            (_, Ground::Whole { .. }) => other.common(self),
            (Ground::Told(_), Ground::Told(_)) => {
                let least = |dot: &Dot| Dot { counter: dot.counter.min(other.get(dot.writer)), ..*dot };
                self.dots().map(|dot| least(&dot)).collect()
            }
        }
    }

    /// The heads, and the dots below them that the version was told with.
    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        let more = match &self.ground {
            Ground::Whole { .. } => &[][..],
            Ground::Told(more) => more,
        };
        self.heads.iter().chain(more).copied()
    }

    /// The number of writers heard of.
    pub fn writers(&self) -> usize {
        match &self.ground {
            Ground::Whole { lineage, .. } => lineage.len(),
            Ground::Told(_) => self.heads.len(),
        }
    }

    /// The name of the device that a writer wrote on, if it was given one and the version knows of it.
    pub fn device(&self, writer: WriterId) -> Option<&str> {
        match &self.ground {
            Ground::Whole { lineage, .. } => lineage.name(writer).map(|name| &**name),
            Ground::Told(_) => None,
        }
    }

    /// The same, to keep.
    pub(crate) fn shared_device(&self, writer: WriterId) -> Option<Arc<str>> {
        match &self.ground {
            Ground::Whole { lineage, .. } => lineage.name(writer).cloned(),
            Ground::Told(_) => None,
        }
    }

    /// Names the version: 64 bits of XXH3 over its heads. Finds equality; does not prove it.
    pub(crate) fn digest(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.head_bytes())
    }

    /// The same with 128 bits.
    pub(crate) fn long_digest(&self) -> u128 {
        xxhash_rust::xxh3::xxh3_128(&self.head_bytes())
    }

    fn head_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(18 * self.heads.len());
        for head in self.heads.iter() {
            bytes.extend_from_slice(head.writer.as_bytes());
            bytes.extend_from_slice(&head.counter.to_be_bytes());
        }
        bytes
    }
}

/// Nothing seen.
impl Default for Version {
    fn default() -> Self {
        static NOTHING: LazyLock<Version> = LazyLock::new(|| Version::told(Vec::new(), Vec::new()));
        NOTHING.clone()
    }
}

/// Equal heads: everything seen there was seen here, and nothing else.
impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.heads, &other.heads) || self.heads == other.heads
    }
}

impl Eq for Version {}

impl std::hash::Hash for Version {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.heads.hash(state);
    }
}

/// By inclusion; two versions that each saw something the other did not are not comparable.
impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self == other, self.includes(other), other.includes(self)) {
            (true, ..) | (_, true, true) => Some(Ordering::Equal),
            (_, true, false) => Some(Ordering::Greater),
            (_, false, true) => Some(Ordering::Less),
            (_, false, false) => None,
        }
    }
}

/// The version with these heads. Of several counters for one writer the highest counts; 0 is none.
impl FromIterator<(WriterId, u64)> for Version {
    fn from_iter<I: IntoIterator<Item = (WriterId, u64)>>(heads: I) -> Self {
        heads.into_iter().map(|(writer, counter)| Dot { writer, counter }).collect()
    }
}

/// The version with these heads. Of several dots of one writer the last counts.
impl FromIterator<Dot> for Version {
    fn from_iter<I: IntoIterator<Item = Dot>>(heads: I) -> Self {
        let mut heads: Vec<Dot> = heads.into_iter().filter(|dot| dot.counter > 0).collect();
        // The highest counter first within a writer, so that `dedup` keeps it.
        heads.sort_unstable_by(|a, b| a.writer.cmp(&b.writer).then(b.counter.cmp(&a.counter)));
        heads.dedup_by_key(|dot| dot.writer);
        Self::told(heads, Vec::new())
    }
}

/// As a list of its heads.
impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.heads.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Dot>::deserialize(deserializer).map(Self::from_iter)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.heads.iter().map(|head| head.to_string())).finish()
    }
}
