//! The local table: what belongs to this replica and is never told to another.

use std::collections::BTreeMap;
use std::fmt;

/// Keys and values of bytes beside a state: cursors, settings, ids of events. Never replicated.
///
/// Cloning is O(1), reading and writing O(log n). All of it is in memory.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    entries: im::OrdMap<Vec<u8>, Vec<u8>>,
}

impl Table {
    /// Returns the value under a key.
    pub(crate) fn get(&self, key: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.entries.get(key.as_ref()).map(Vec::as_slice)
    }

    /// Returns all entries, in the order of the keys' bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + '_ {
        self.entries.iter().map(|(key, value)| (&key[..], &value[..]))
    }

    /// Returns the entries whose keys begin with `prefix`, in the order of the keys' bytes. O(log n + entries).
    pub(crate) fn scan(&self, prefix: impl AsRef<[u8]>) -> impl Iterator<Item = (&[u8], &[u8])> + '_ {
        let prefix = prefix.as_ref().to_vec();
        let from = self.entries.range(prefix.clone()..);
        from.map(|(key, value)| (&key[..], &value[..])).take_while(move |(key, _)| key.starts_with(&prefix))
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => drop(self.entries.insert(key.to_vec(), value.to_vec())),
            None => drop(self.entries.remove(key)),
        }
    }
}

impl FromIterator<(Vec<u8>, Vec<u8>)> for Table {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect() }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Keys of the store's own begin with this, and those of the app with [`APP`].
pub(crate) const OWN: u8 = 0;
const APP: u8 = 1;

pub(crate) fn app_key(key: &[u8]) -> Vec<u8> {
    [&[APP], key].concat()
}

/// Changes of a table, by key: the new value, or none if the entry goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.0.iter().map(|(key, value)| (&key[..], value.as_deref()))
    }

    pub(crate) fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.0.insert(key, value);
    }

    pub(crate) fn apply(self, table: &mut Table) {
        for (key, value) in self.0 {
            table.set(&key, value.as_deref());
        }
    }
}

/// A table that is being changed. It reads with all that was changed so far.
#[derive(Debug)]
pub struct TableEdit<'a> {
    table: &'a Table,
    changes: &'a mut Changes,
}

impl<'a> TableEdit<'a> {
    pub(crate) fn new(table: &'a Table, changes: &'a mut Changes) -> Self {
        Self { table, changes }
    }

    /// Returns the value under a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&[u8]> {
        let key = app_key(key.as_ref());
        match self.changes.0.get(&key) {
            Some(changed) => changed.as_deref(),
            None => self.table.get(key),
        }
    }

    /// Sets the value under a key.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.changes.0.insert(app_key(key.as_ref()), Some(value.as_ref().to_vec()));
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: impl AsRef<[u8]>) {
        self.changes.0.insert(app_key(key.as_ref()), None);
    }
}
