//! A map of registers.

use std::fmt;

use im::OrdMap;

use crate::error::EditError;
use crate::kernel::{Crdt, Edit, Entity, Sibling, State, Touched};
use crate::types::element::{from_key, to_key, to_payload, value_of};
use crate::types::{Change, Element, crdt_basics, crdt_state};

/// A map from keys to registers in which adding wins: inserted and removed concurrently, a key is there.
///
/// Of concurrent values of one key the later shows, as in [`LwwRegister`](crate::LwwRegister); [`get_all`](Self::get_all)
/// shows all of them. Lost is what a writer saw and replaced or removed. A clear is one write, and removes what it saw.
///
/// Some 140 bytes an entry, and key and value twice: as bytes and decoded; nothing for one that was removed, once its
/// tombstone is pruned.
///
/// ```
/// use driftless::{OrMap, Replica};
/// let mut laptop = Replica::<OrMap<String, u32>>::new();
/// let mut phone = laptop.fork();
/// let (_, a) = laptop.edit(|stock| stock.insert("apples".into(), 3))?;
/// let (_, b) = phone.edit(|stock| stock.insert("pears".into(), 5))?;
/// laptop.merge(&b)?;
/// phone.merge(&a)?;
/// assert_eq!(laptop.state(), phone.state());
/// assert_eq!(laptop.state().get(&"pears".into()), Some(&5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct OrMap<K: Element, V: Element> {
    state: State,
    entries: OrdMap<K, V>,
}

impl<K: Element, V: Element> Crdt for OrMap<K, V> {
    const SCHEMA: &'static str = "driftless.or-map";

    type Change = Change<K>;

    crdt_state!();

    fn follow(&mut self, touched: &Touched) {
        let Some(key) = from_key(touched.field.as_bytes()) else { return };
        match touched.cell_now().find_latest(|sibling| value_of(sibling)) {
            Some(value) => drop(self.entries.insert(key, value)),
            None => drop(self.entries.remove(&key)),
        }
    }

    fn describe(touched: &Touched) -> Option<Change<K>> {
        Change::of(from_key(touched.field.as_bytes())?, touched)
    }

    fn revert(edit: &mut Edit<'_, Self>, cells: &[Touched]) -> Result<(), EditError> {
        let shows = |sibling: &Sibling| (value_of::<V>(sibling).is_some(), sibling.precedence());
        cells.iter().try_for_each(|cell| edit.put_back_by(cell, shows).map(drop))
    }
}

impl<K: Element, V: Element> OrMap<K, V> {
    /// The value of a key: of concurrent ones, the latest. O(log n).
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    /// All concurrent values of a key, in the order of their dots.
    pub fn get_all(&self, key: &K) -> impl Iterator<Item = V> + '_ {
        let cells = to_key(key).ok().and_then(|field| Some((field, self.state.cells(Entity::SELF)?)));
        let siblings = cells.map(|(field, cells)| cells.siblings(&field)).unwrap_or_default();
        siblings.filter_map(value_of)
    }

    /// Whether the key is there. O(log n).
    pub fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// The keys with their values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> + '_ {
        self.entries.iter()
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> + '_ {
        self.entries.keys()
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> + '_ {
        self.entries.values()
    }

    /// The number of entries. O(1).
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<'a, K: Element, V: Element> Edit<'a, OrMap<K, V>> {
    /// Sets the value of a key and returns the one that showed before. Always writes, so that it beats a removal made
    /// elsewhere at the same time.
    pub fn insert(&mut self, key: K, value: V) -> Result<Option<V>, EditError> {
        let before = self.get(&key).cloned();
        self.write(Entity::SELF, &to_key(&key)?, to_payload(&value)?)?;
        Ok(before)
    }

    /// Removes a key and returns the value that showed. A value inserted concurrently stays.
    pub fn remove(&mut self, key: &K) -> Result<Option<V>, EditError> {
        let before = self.get(key).cloned();
        self.erase(Entity::SELF, &to_key(key)?)?;
        Ok(before)
    }

    /// The place of a key, to change or fill by what shows there.
    ///
    /// ```
    /// use driftless::{OrMap, Replica};
    /// let mut replica = Replica::<OrMap<String, u32>>::new();
    /// for fruit in ["apple", "pear", "apple"] {
    ///     replica.edit(|stock| stock.entry(fruit.into()).and_modify(|n| *n += 1)?.or_insert(1))?;
    /// }
    /// assert_eq!(replica.state().get(&"apple".into()), Some(&2));
    /// # Ok::<(), driftless::EditError>(())
    /// ```
    pub fn entry(&mut self, key: K) -> OrMapEntry<'_, 'a, K, V> {
        OrMapEntry { edit: self, key }
    }

    /// Removes every entry with one write. What others insert concurrently stays.
    pub fn clear(&mut self) -> Result<bool, EditError> {
        self.delete(Entity::SELF)
    }
}

/// The place of a key in an [`OrMap`], as [`Edit::entry`](Edit::<OrMap<K, V>>::entry) gives it. Whatever it writes is an
/// insertion: it beats a removal made elsewhere at the same time, and of two of them made at the same time the later shows.
pub struct OrMapEntry<'e, 'a, K: Element, V: Element> {
    edit: &'e mut Edit<'a, OrMap<K, V>>,
    key: K,
}

impl<K: Element, V: Element> OrMapEntry<'_, '_, K, V> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Inserts a value if none shows. Returns the one that shows then.
    pub fn or_insert(self, value: V) -> Result<V, EditError> {
        self.or_insert_with(|| value)
    }

    /// Inserts what a closure gives if no value shows. Returns the one that shows then.
    pub fn or_insert_with(self, value: impl FnOnce() -> V) -> Result<V, EditError> {
        match self.edit.get(&self.key) {
            Some(value) => Ok(value.clone()),
            None => {
                let value = value();
                self.edit.insert(self.key, value.clone())?;
                Ok(value)
            }
        }
    }

    /// Changes the value if one shows; what it does not change it does not write.
    pub fn and_modify(self, change: impl FnOnce(&mut V)) -> Result<Self, EditError> {
        if let Some(before) = self.edit.get(&self.key) {
            let mut value = before.clone();
            change(&mut value);
            if value != *before {
                self.edit.insert(self.key.clone(), value)?;
            }
        }
        Ok(self)
    }
}

impl<K: Element, V: Element> fmt::Debug for OrMapEntry<'_, '_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrMapEntry").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<K: Element, V: Element> Default for OrMap<K, V> {
    fn default() -> Self {
        Self { state: State::default(), entries: OrdMap::new() }
    }
}

impl<K: Element, V: Element> fmt::Debug for OrMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

crdt_basics!(OrMap<K, V>);
