//! The audit: who changed what, when, and from where, bounded in bytes and age.
//!
//! The entry of an edit or a merge lies in the record of its delta, so it is durable exactly when that is. What a merge did to conflicts
//! is known only afterwards; a replay merges again, and finds the same. A checkpoint drops the records before it, so before it is
//! written the entries since the last one are put into a blob. Entries are numbered: one that is both in a blob and in the log counts
//! once.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::storage::{BlobName, Lost, Storage, StorageError};

const PREFIX: &str = "audit-";

/// How much of an audit is kept. The oldest entries go first, in portions: those between two checkpoints go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLimit {
    /// Bytes on the disk, beside the entries since the last checkpoint.
    pub bytes: u64,
    /// Time since the last entry of a portion, by the local clock.
    pub age: Duration,
}

impl Default for AuditLimit {
    /// 16 MiB, a year.
    fn default() -> Self {
        Self { bytes: 16 << 20, age: Duration::from_secs(365 * 24 * 60 * 60) }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditAction {
    /// An edit of this store.
    Edit,
    /// A merge of what others wrote.
    Merge,
    /// Edits of this device that were merged from a log of its own.
    Replay,
    /// A repair.
    Repair,
    /// A merge that was refused; for another reason than a gap, which is nobody's fault.
    Refused,
}

/// One entry of an audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Grows by one from entry to entry. A gap says that older entries were dropped.
    pub number: u64,
    /// When, in milliseconds since 1970 by the local clock.
    pub at_millis: u64,
    /// What was done.
    pub action: AuditAction,
    /// This device, by the name that the store was opened with.
    pub device: Option<String>,
    /// Where it came from: see [`Store::set_origin`](crate::Store::set_origin).
    pub origin: Option<String>,
    /// How many writes the delta held.
    pub writes: u64,
    /// Cells in which it opened a conflict.
    pub opened: u64,
    /// Cells in which a merge closed one. An edit that settles a conflict is no merge: 0.
    pub closed: u64,
    /// Why it was refused.
    pub reason: Option<String>,
}

/// The audit of a store, if it is asked for.
#[derive(Debug)]
pub(crate) struct Audit {
    limit: AuditLimit,
    device: Option<String>,
    pub(crate) origin: Option<String>,
    /// Number of the next entry.
    next: u64,
    /// Entries that are in no blob, oldest first.
    recent: VecDeque<AuditEntry>,
    /// The blobs, oldest first.
    portions: VecDeque<Portion>,
}

#[derive(Clone, Debug)]
struct Portion {
    name: BlobName,
    bytes: u64,
    last_at: u64,
}

/// Entries that go into a blob with the next checkpoint.
pub(crate) struct Outgoing {
    name: BlobName,
    content: Vec<u8>,
    last: u64,
    last_at: u64,
}

impl Audit {
    /// Goes on from what the blobs and the log hold. A blob that is damaged is lost and told; it hinders nobody from opening the store.
    pub(crate) fn load(
        storage: &dyn Storage,
        limit: AuditLimit,
        device: Option<String>,
        logged: Vec<AuditEntry>,
    ) -> Result<(Self, Vec<Lost>), StorageError> {
        let (mut portions, mut last, mut lost) = (VecDeque::new(), 0, Vec::new());
        for name in storage.blobs()?.into_iter() {
            let Some(first) = name.as_str().strip_prefix(PREFIX) else { continue };
            let read = storage.blob(&name).and_then(|content| {
                let Some(content) = content else { return Ok(None) };
                Ok(Some((decode(&name, &content)?.pop(), content)))
            });
            let (newest, content) = match read {
                Ok(Some(read)) => read,
                Ok(None) => continue,
                Err(StorageError::Damaged { file, offset, what }) => {
                    lost.push(Lost { file, offset, bytes: 0, what });
                    last = last.max(first.parse().unwrap_or(0));
                    continue;
                }
                Err(error) => return Err(error),
            };
            last = newest.as_ref().map_or(last, |newest| newest.number.max(last));
            let last_at = newest.map_or(0, |newest| newest.at_millis);
            portions.push_back(Portion { name, bytes: content.len() as u64, last_at });
        }
        // A crash came between a blob and its checkpoint.
        let recent: VecDeque<AuditEntry> = logged.into_iter().filter(|entry| entry.number > last).collect();
        let next = recent.back().map_or(last, |entry| entry.number) + 1;
        Ok((Self { limit, device, origin: None, next, recent, portions }, lost))
    }

    /// An entry with the next number, which is not taken yet.
    pub(crate) fn entry(&self, action: AuditAction, at_millis: u64, writes: u64) -> AuditEntry {
        let (device, origin) = (self.device.clone(), self.origin.clone());
        let number = self.next;
        AuditEntry { number, at_millis, action, device, origin, writes, opened: 0, closed: 0, reason: None }
    }

    pub(crate) fn push(&mut self, entry: AuditEntry) {
        self.next = entry.number + 1;
        self.recent.push_back(entry);
    }

    /// All entries, oldest first.
    pub(crate) fn entries(&self, storage: &dyn Storage) -> Result<Vec<AuditEntry>, StorageError> {
        let mut entries = Vec::new();
        for portion in &self.portions {
            if let Some(content) = storage.blob(&portion.name)? {
                entries.append(&mut decode(&portion.name, &content)?);
            }
        }
        entries.extend(self.recent.iter().cloned());
        Ok(entries)
    }

    /// What is to go into a blob before a checkpoint is written.
    pub(crate) fn outgoing(&self) -> Option<Outgoing> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let name = BlobName::allowed(format!("{PREFIX}{:020}", first.number));
        // Text, numbers and options are always encodable.
        let content = rmp_serde::to_vec(&self.recent).unwrap_or_default();
        Some(Outgoing { name, content, last: last.number, last_at: last.at_millis })
    }

    /// Notes that entries are in a blob and a checkpoint has replaced their records, and drops the oldest beyond the limits.
    pub(crate) fn written(&mut self, storage: &dyn Storage, outgoing: &Outgoing, now: u64) -> Result<(), StorageError> {
        self.recent.retain(|entry| entry.number > outgoing.last);
        let bytes = outgoing.content.len() as u64;
        self.portions.retain(|portion| portion.name != outgoing.name);
        self.portions.push_back(Portion { name: outgoing.name.clone(), bytes, last_at: outgoing.last_at });
        let age = u64::try_from(self.limit.age.as_millis()).unwrap_or(u64::MAX);
        loop {
            let total: u64 = self.portions.iter().map(|portion| portion.bytes).sum();
            let is_old = |portion: &Portion| total > self.limit.bytes || now.saturating_sub(portion.last_at) > age;
            let Some(oldest) = self.portions.front().filter(|oldest| is_old(oldest)) else { return Ok(()) };
            storage.remove_blob(&oldest.name)?;
            self.portions.pop_front();
        }
    }
}

impl Outgoing {
    pub(crate) fn write(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        storage.put_blob(&self.name, &self.content)
    }
}

fn decode(name: &BlobName, content: &[u8]) -> Result<Vec<AuditEntry>, StorageError> {
    let entries = rmp_serde::from_slice(content);
    entries.map_err(|error| StorageError::damaged(name.as_str(), 0, format!("it is no portion of an audit: {error}")))
}
