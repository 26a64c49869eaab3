//! Restore points: states that are kept under a name, to look at and to go back to.
//!
//! A point is two blobs: `pointstate-…` holds the state, `point-…` what a list tells of it. The second is written last and removed
//! first, so a point is there if that one is. Its name is spelled in theirs, so a damaged point can be named.

use std::collections::BTreeSet;

use driftless::{Crdt, Diff, Environment, Prune, Replica, Version};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use thiserror::Error;

use crate::error::StoreError;
use crate::storage::{BlobName, StorageError};
use crate::store::Store;

/// The longest name of a restore point, in bytes: what fits into a [`BlobName`] whatever it is made of.
pub const MAX_POINT_NAME_LEN: usize = 64;

const INFO: &str = "point-";
const STATE: &str = "pointstate-";

/// A restore point, without its state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Point {
    /// Its name.
    pub name: String,
    /// When it was set, in milliseconds since 1970 by the local clock.
    pub at_millis: u64,
    /// The version of its state.
    pub version: Version,
    /// Bytes of its state.
    pub bytes: u64,
}

/// The reason why a restore point could not be set or read. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PointError {
    /// The name is empty or too long.
    #[error("a restore point cannot have a name of {len} bytes; choose one of 1 to {MAX_POINT_NAME_LEN}")]
    Name {
        /// Bytes of the name.
        len: usize,
    },
    /// There is a restore point of the name.
    #[error("there is a restore point `{}` already; remove it first, or choose another name", name.escape_debug())]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no restore point of the name.
    #[error("there is no restore point `{}`; `points` lists those that there are", name.escape_debug())]
    NoPoint {
        /// The name.
        name: String,
    },
    /// There are as many restore points as [`Options::with_points_limit`](crate::Options::with_points_limit) allows.
    #[error("there are {limit} restore points, as many as there may be; remove one first")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// What was kept is not what it was. The store itself is whole.
    #[error("the restore point `{}` is damaged: {what}; remove it, or take it from a backup", name.escape_debug())]
    Damaged {
        /// The name.
        name: String,
        /// The file, and what is wrong with it.
        what: String,
    },
}

/// What a list tells of a point, as it is written: an array of MessagePack. A field that is added later goes to the end, with a
/// default.
#[derive(Serialize, Deserialize)]
struct Info {
    at: u64,
    version: ByteBuf,
    bytes: u64,
}

/// Restore points: named states that are kept beside the store. Off unless asked for: nothing is written before the first
/// [`set_point`](Self::set_point).
///
/// ```
/// use driftless::{Graph, NodeId};
/// use driftless_store::Store;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// let ada = NodeId::named("person:ada");
/// let mut store = Store::<Graph>::open(path)?;
/// store.edit(|g| g.add_node("person:ada"))?;
/// store.set_point("before the import")?;
///
/// store.edit(|g| g.remove_node(ada).map(drop))?;
/// assert_eq!(store.compare_with("before the import")?.changes().count(), 1);
/// assert!(store.point("before the import")?.node(ada).is_some());
///
/// assert_eq!(store.revert_to("before the import")?, 1); // one node has changed
/// assert!(store.state().node(ada).is_some());
/// for point in store.points() {
///     let point = point?;
///     println!("{} of {} ({} bytes)", point.name, point.at_millis, point.bytes);
/// }
/// assert!(store.remove_point("before the import")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A point costs what a checkpoint costs without its tombstones, in time and on the disk, for as long as it is kept. It is read when
/// it is asked for, O(n). Points go into [backups](Self::backup_to).
///
/// A point that is damaged hinders neither opening nor writing nor the other points: whoever reads it is told
/// ([`PointError::Damaged`]). [`verify`](Self::verify) finds it, and a backup fails until it is removed.
impl<T: Crdt> Store<T> {
    /// Keeps the value as it is now under a name. O(n). Durable when it returns, with all that was written before.
    ///
    /// # Errors
    ///
    /// [`PointError::Exists`], [`Name`](PointError::Name) and [`TooMany`](PointError::TooMany); [`StorageError::Full`] if there is no
    /// room. Nothing has changed then. If a sync fails, the point may be there, and the store is poisoned.
    pub fn set_point(&mut self, name: &str) -> Result<(), StoreError> {
        let (info, state) = names(name)?;
        let blobs = self.storage.blobs()?;
        let points: BTreeSet<&str> = blobs.iter().filter_map(|blob| blob.as_str().strip_prefix(INFO)).collect();
        if blobs.contains(&info) {
            return Err(PointError::Exists { name: name.to_owned() }.into());
        }
        if let Some(limit) = self.points_limit.filter(|limit| points.len() >= *limit) {
            return Err(PointError::TooMany { limit }.into());
        }
        // A point is never ahead of its store.
        self.flush()?;
        for blob in blobs.iter().filter(|blob| blob.as_str().strip_prefix(STATE).is_some_and(|p| !points.contains(p))) {
            // A crash came between the two blobs of a point.
            self.storage.remove_blob(blob)?;
        }
        let mut replica = self.replica.fork();
        replica.prune(Prune::All);
        let saved = replica.save();
        let written = Info {
            at: self.clock.now_ms(),
            version: ByteBuf::from(self.version().to_bytes()),
            bytes: saved.len() as u64,
        };
        self.storage.put_blob(&state, &saved)?;
        // Numbers and bytes are always encodable.
        Ok(self.storage.put_blob(&info, &rmp_serde::to_vec(&written).unwrap_or_default())?)
    }

    /// Returns all restore points, in no order that means anything. One that is damaged is an error, and the others follow.
    pub fn points(&self) -> impl Iterator<Item = Result<Point, StoreError>> {
        let (blobs, error) = match self.storage.blobs() {
            Ok(blobs) => (blobs, None),
            Err(error) => (Vec::new(), Some(Err(error.into()))),
        };
        let names = blobs.into_iter().filter_map(|blob| decode(blob.as_str().strip_prefix(INFO)?));
        names.filter_map(|name| self.point_info(&name).transpose()).chain(error)
    }

    /// Returns the value as it was when a restore point was set. O(n).
    ///
    /// # Errors
    ///
    /// [`PointError::NoPoint`], and [`PointError::Damaged`].
    pub fn point(&self, name: &str) -> Result<T, StoreError> {
        let no_point = || PointError::NoPoint { name: name.to_owned() };
        let (_, blob) = names(name).map_err(|_| no_point())?;
        let info = self.point_info(name)?.ok_or_else(no_point)?;
        let damaged = |what: String| PointError::Damaged { name: name.to_owned(), what };
        let bytes = self.storage.blob(&blob).map_err(|error| told(name, error))?;
        let bytes = bytes.ok_or_else(|| damaged(format!("`{blob}` is missing")))?;
        let replica = Replica::<T>::load(&bytes).map_err(|error| damaged(format!("`{blob}`: {error}")))?;
        match *replica.version() == info.version {
            true => Ok(replica.snapshot()),
            false => Err(damaged(format!("`{blob}` holds a state of another version")).into()),
        }
    }

    /// Returns all that is otherwise now than it was when a restore point was set. O(n).
    ///
    /// # Errors
    ///
    /// As of [`point`](Self::point).
    pub fn compare_with(&self, name: &str) -> Result<Diff<T>, StoreError> {
        Ok(Diff::between(&self.point(name)?, self.state()))
    }

    /// Makes everything read as it did when a restore point was set, by an ordinary edit: see
    /// [`Edit::revert_to`](driftless::Edit::revert_to). Returns how many entities (nodes, edges) have changed. O(n).
    ///
    /// Peers get it like any other edit. To go forward again, set another point first.
    ///
    /// # Errors
    ///
    /// As of [`point`](Self::point) and [`edit`](Self::edit). Nothing has changed then.
    pub fn revert_to(&mut self, name: &str) -> Result<usize, StoreError> {
        let (then, before) = (self.point(name)?, self.snapshot());
        self.edit(|value| value.revert_to(&then))?;
        let diff = Diff::between(&before, self.state());
        Ok(diff.touched().iter().map(|touched| touched.entity).collect::<BTreeSet<_>>().len())
    }

    /// Removes a restore point, durably, damaged or not. Returns whether there was one.
    pub fn remove_point(&mut self, name: &str) -> Result<bool, StoreError> {
        let Ok((info, state)) = names(name) else { return Ok(false) };
        let was_there = self.storage.remove_blob(&info)?;
        self.storage.remove_blob(&state)?;
        Ok(was_there)
    }

    fn point_info(&self, name: &str) -> Result<Option<Point>, StoreError> {
        let Ok((blob, _)) = names(name) else { return Ok(None) };
        let Some(bytes) = self.storage.blob(&blob).map_err(|error| told(name, error))? else { return Ok(None) };
        let damaged = |what: String| PointError::Damaged { name: name.to_owned(), what: format!("`{blob}`: {what}") };
        let Info { at, version, bytes } = rmp_serde::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let version = Version::from_bytes(&version).map_err(|error| damaged(error.to_string()))?;
        Ok(Some(Point { name: name.to_owned(), at_millis: at, version, bytes }))
    }
}

/// An error of reading a blob: damage is that of a point.
fn told(name: &str, error: StorageError) -> StoreError {
    match error {
        StorageError::Damaged { .. } | StorageError::Missing { .. } | StorageError::Foreign { .. } => {
            let what = match error {
                StorageError::Damaged { file, offset, what } => format!("`{file}` at byte {offset}: {what}"),
                StorageError::Foreign { file } => format!("`{file}` belongs to another store"),
                other => other.to_string(),
            };
            PointError::Damaged { name: name.to_owned(), what }.into()
        }
        other => other.into(),
    }
}

/// The blobs of a point.
fn names(name: &str) -> Result<(BlobName, BlobName), PointError> {
    if !(1..=MAX_POINT_NAME_LEN).contains(&name.len()) {
        return Err(PointError::Name { len: name.len() });
    }
    let spelled = encode(name);
    Ok((BlobName::allowed(format!("{INFO}{spelled}")), BlobName::allowed(format!("{STATE}{spelled}"))))
}

/// Base 32, RFC 4648, in small letters and without padding.
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn encode(name: &str) -> String {
    let (mut text, mut bits, mut held) = (String::new(), 0u32, 0);
    for byte in name.bytes() {
        (bits, held) = (bits << 8 | u32::from(byte), held + 8);
        while held >= 5 {
            held -= 5;
            text.push(char::from(DIGITS[(bits >> held & 31) as usize]));
        }
    }
    if held > 0 {
        text.push(char::from(DIGITS[(bits << (5 - held) & 31) as usize]));
    }
    text
}

/// The name that is spelled so; none if none is.
fn decode(text: &str) -> Option<String> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        (bits, held) = (bits << 5 | value as u32, held + 5);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    (encode(&name) == text).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_spelled_in_that_of_a_blob_and_read_back() {
        let long = "ä".repeat(MAX_POINT_NAME_LEN / 2);
        for name in ["a", "ab", "abc", "abcd", "abcde", "Before the import, 2024/11/03 ☃", "\0\n", "..", &long] {
            let (info, state) = names(name).unwrap();
            assert_eq!(decode(info.as_str().strip_prefix(INFO).unwrap()).as_deref(), Some(name));
            for blob in [info, state] {
                assert!(BlobName::new(blob.as_str()).is_some(), "{blob}");
            }
        }
        assert!(matches!(names(""), Err(PointError::Name { len: 0 })));
        assert!(matches!(names(&format!("{long}x")), Err(PointError::Name { len: 65 })));
        assert_eq!((decode("a"), decode("ab1")), (None, None));
    }
}
