//! A storage in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{BlobName, Cut, Load, OpenProgress, Recovery, Sink, Storage, StorageError, Usage};

/// A storage in memory, for tests of apps: nothing reaches a disk. Clones share what they hold, so a store can be opened again by a
/// clone of the storage of one that was dropped.
///
/// ```
/// use driftless::Graph;
/// use driftless_store::{MemoryStorage, Options};
/// let storage = MemoryStorage::new();
/// let mut store = Options::new().open_storage::<Graph>(storage.clone())?;
/// store.edit(|g| g.add_node("person:ada"))?;
/// drop(store);
/// assert_eq!(Options::new().open_storage::<Graph>(storage)?.state().node_count(), 1);
/// # Ok::<(), driftless_store::StoreError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    schema: Option<String>,
    checkpoint: Option<Vec<u8>>,
    /// Number of the first record that is kept.
    first: u64,
    records: Vec<Vec<u8>>,
    blobs: BTreeMap<BlobName, Vec<u8>>,
    usage: Usage,
}

impl MemoryStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn last(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn set_checkpoint(&mut self, parts: &[&[u8]]) {
        let checkpoint = parts.concat();
        self.usage.checkpoint = checkpoint.len() as u64;
        self.usage.log = self.records.iter().map(|record| record.len() as u64).sum();
        self.checkpoint = Some(checkpoint);
    }
}

impl Storage for MemoryStorage {
    fn load(&self, schema: &str, _: Load, sink: &mut dyn Sink) -> Result<Recovery, StorageError> {
        let mut content = self.content();
        let created = content.schema.is_none();
        let found = content.schema.get_or_insert_with(|| schema.to_owned()).clone();
        let location = "a storage in memory".to_owned();
        if found != schema {
            return Err(StorageError::Schema { location, found, expected: schema.to_owned() });
        }
        let wrong = |what| StorageError::damaged(&location, 0, what);
        if let Some(checkpoint) = &content.checkpoint {
            sink.checkpoint(checkpoint).map_err(wrong)?;
        }
        for record in &content.records {
            sink.record(record).map_err(wrong)?;
        }
        let records = content.records.len() as u64;
        let bytes = content.usage.checkpoint + content.usage.log;
        sink.progress(OpenProgress { bytes, bytes_expected: bytes, records });
        Ok(Recovery { created, was_closed: !created, records, ..Recovery::default() })
    }

    fn replace(&self, parts: &[&[u8]]) -> Result<(), StorageError> {
        let mut content = self.content();
        content.first = content.last();
        content.records.clear();
        content.set_checkpoint(parts);
        Ok(())
    }

    fn append(&self, record: &[u8]) -> Result<u64, StorageError> {
        let mut content = self.content();
        content.records.push(record.to_vec());
        content.usage.log += record.len() as u64;
        content.usage.written += record.len() as u64;
        Ok(content.last())
    }

    fn sync(&self) -> Result<u64, StorageError> {
        Ok(self.content().last())
    }

    fn cut(&self) -> Result<Cut, StorageError> {
        Ok(Cut::new(self.content().last()))
    }

    fn checkpoint(&self, cut: Cut, parts: &[&[u8]]) -> Result<(), StorageError> {
        let mut content = self.content();
        let Some(done) = cut.number().checked_sub(content.first) else { return Ok(()) };
        let done = usize::try_from(done).unwrap_or(usize::MAX).min(content.records.len());
        content.records.drain(..done);
        content.first = cut.number();
        content.set_checkpoint(parts);
        Ok(())
    }

    fn put_blob(&self, name: &BlobName, blob: &[u8]) -> Result<(), StorageError> {
        self.content().blobs.insert(name.clone(), blob.to_vec());
        Ok(())
    }

    fn blob(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.content().blobs.get(name).cloned())
    }

    fn blobs(&self) -> Result<Vec<BlobName>, StorageError> {
        Ok(self.content().blobs.keys().cloned().collect())
    }

    fn remove_blob(&self, name: &BlobName) -> Result<bool, StorageError> {
        Ok(self.content().blobs.remove(name).is_some())
    }

    fn usage(&self) -> Usage {
        self.content().usage
    }

    fn close(&self) {}
}
