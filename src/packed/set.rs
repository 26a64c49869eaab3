//! A persistent set of keys of fixed length, some bytes more than the keys themselves.

use std::fmt;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::packed::tree::{Leaf, Tree};

/// A sorted set. Cloning is O(1); adding and removing is O(log n), and copies a thousand bytes or two.
#[derive(Clone)]
pub(crate) struct Set<const N: usize> {
    tree: Tree<Keys<N>>,
    len: usize,
}

/// A leaf: its keys, and no room for more.
#[derive(Clone)]
struct Keys<const N: usize>(Arc<[[u8; N]]>);

impl<const N: usize> Keys<N> {
    /// The most keys of a leaf.
    const FULL: usize = 2048 / N;

    /// A leaf of all the parts.
    fn of(before: &[[u8; N]], new: &[[u8; N]], after: &[[u8; N]]) -> Self {
        Self(before.iter().chain(new).chain(after).copied().collect())
    }
}

impl<const N: usize> Set<N> {
    /// Returns whether it was not there.
    pub(crate) fn insert(&mut self, key: [u8; N]) -> bool {
        let is_new = self.tree.put(&key);
        self.len += usize::from(is_new);
        is_new
    }

    /// Adds keys that are in order. O(keys · log n), or O(n) where there are many: then all leaves are made anew, and full.
    pub(crate) fn insert_sorted(&mut self, keys: &[[u8; N]]) {
        debug_assert!(keys.is_sorted());
        if keys.len() < self.len / 8 {
            for key in keys {
                self.insert(*key);
            }
            return;
        }
        let mut all = Vec::new();
        let all = if self.len == 0 && keys.is_sorted_by(|a, b| a < b) {
            keys
        } else {
            // Two runs in order, which sorting merges in O(n).
            all.reserve_exact(self.len + keys.len());
            all.extend(self.iter().chain(keys));
            all.sort();
            all.dedup();
            &all
        };
        self.len = all.len();
        self.tree = Tree::of_leaves(all.chunks(Keys::<N>::FULL).map(|keys| Keys(keys.into())));
    }

    /// Returns whether it was there.
    pub(crate) fn remove(&mut self, key: &[u8; N]) -> bool {
        let removed = self.tree.remove(*key);
        self.len -= usize::from(removed);
        removed
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The keys that begin with these bytes, in order.
    pub(crate) fn with_prefix<'a, P: AsRef<[u8]>>(
        &'a self,
        prefix: P,
    ) -> impl Iterator<Item = &'a [u8; N]> + use<'a, P, N> {
        let mut first = [0; N];
        let len = prefix.as_ref().len().min(N);
        first[..len].copy_from_slice(&prefix.as_ref()[..len]);
        let mut from = Some(first);
        let keys = self.tree.leaves_from(first).flat_map(move |leaf| {
            // All keys of later leaves are greater.
            let start = from.take().map_or(0, |first| leaf.find(first).unwrap_or_else(|place| place));
            leaf.0[start..].iter()
        });
        keys.take_while(move |key| key.starts_with(prefix.as_ref()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8; N]> {
        self.with_prefix([])
    }
}

impl<const N: usize> Leaf for Keys<N> {
    type Key = [u8; N];
    type Item<'a> = [u8; N];

    fn key_of(item: &[u8; N]) -> [u8; N] {
        *item
    }

    fn prefix(key: &[u8; N]) -> u64 {
        // Keys have more bytes than that.
        key.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }

    fn single(item: &[u8; N]) -> Self {
        Self([*item].into())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn key(&self, place: usize) -> [u8; N] {
        self.0[place]
    }

    fn find(&self, key: [u8; N]) -> Result<usize, usize> {
        // Few keys begin alike, so numbers decide nearly every comparison.
        let prefix = Self::prefix(&key);
        self.0.binary_search_by(|of| Self::prefix(of).cmp(&prefix).then_with(|| of.cmp(&key)))
    }

    fn address(&self) -> *const u8 {
        Arc::as_ptr(&self.0).cast()
    }

    fn with(&self, place: Result<usize, usize>, item: &[u8; N]) -> SmallVec<[Self; 1]> {
        let Err(place) = place else { return smallvec![self.clone()] };
        let (before, after) = self.0.split_at(place);
        if self.len() < Self::FULL {
            return smallvec![Self::of(before, &[*item], after)];
        }
        // Keys that come in order fill their leaves.
        if after.is_empty() {
            return smallvec![self.clone(), Self::single(item)];
        }
        let all = [before, &[*item], after].concat();
        let (first, second) = all.split_at(all.len() / 2);
        smallvec![Self(first.into()), Self(second.into())]
    }

    fn overwrite(&mut self, _: usize, _: &[u8; N]) -> bool {
        true
    }

    fn without(&self, place: usize) -> Self {
        Self::of(&self.0[..place], &[], &self.0[place + 1..])
    }

    fn is_sparse(&self) -> bool {
        self.len() < Self::FULL / 4
    }

    fn join(&self, after: &Self) -> Option<Self> {
        (self.len() + after.len() <= Self::FULL).then(|| Self::of(&self.0, &[], &after.0))
    }

    #[cfg(any(test, feature = "testing"))]
    fn check(&self) -> Result<(), String> {
        if self.len() <= Self::FULL { Ok(()) } else { Err(format!("a leaf of {} keys", self.len())) }
    }
}

impl<const N: usize> Default for Set<N> {
    fn default() -> Self {
        Self { tree: Tree::default(), len: 0 }
    }
}

/// O(n).
impl<const N: usize> PartialEq for Set<N> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<const N: usize> Extend<[u8; N]> for Set<N> {
    fn extend<I: IntoIterator<Item = [u8; N]>>(&mut self, keys: I) {
        // A single key needs no allocation.
        let mut keys: SmallVec<[_; 2]> = keys.into_iter().collect();
        keys.sort_unstable();
        self.insert_sorted(&keys);
    }
}

impl<const N: usize> fmt::Debug for Set<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn many_keys_at_once_make_branches_of_branches_that_shrink_again() {
        let key = |n: u32| {
            let mut key = [0; 20];
            key[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
            key
        };
        let mut keys: Vec<_> = (0..101_287).map(key).collect();
        keys.sort();
        let mut set = Set::<20>::default();
        set.insert_sorted(&keys);
        assert_eq!((set.tree.check(), set.len()), (Ok(()), keys.len()));
        assert!(set.iter().eq(&keys));
        for (left, n) in (0..101_287).rev().zip(0..) {
            assert!(set.remove(&key(n)));
            if left % 10_000 == 0 {
                assert_eq!((set.tree.check(), set.iter().count()), (Ok(()), left));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn a_set_agrees_with_a_plain_one(
            steps in prop::collection::vec((any::<bool>(), 0u16..700), 0..3000),
            ascending in 0u16..2000,
            prefix in 0u8..3,
        ) {
            let (mut set, mut model) = (Set::<20>::default(), BTreeSet::new());
            let mut snapshots = Vec::new();
            let key = |n: u16| {
                let mut key = [0; 20];
                key[..2].copy_from_slice(&n.to_be_bytes());
                key
            };
            let all = (0..ascending).map(|n| (true, n)).chain(steps).chain((0..ascending / 2).map(|n| (false, n)));
            for (step, (is_added, n)) in all.enumerate() {
                match is_added {
                    // Now and then many at once, some of which are there.
                    true if step % 97 == 96 => {
                        let many: BTreeSet<_> = (0..n % 400).map(|i| key((n / 2 + i * 3) % 700)).collect();
                        set.insert_sorted(&many.iter().copied().collect::<Vec<_>>());
                        model.extend(many);
                    }
                    true => prop_assert_eq!(set.insert(key(n)), model.insert(key(n))),
                    false => prop_assert_eq!(set.remove(&key(n)), model.remove(&key(n))),
                }
                if step % 500 == 0 {
                    snapshots.push((set.clone(), model.clone()));
                }
            }
            snapshots.push((set, model));
            for (set, model) in snapshots {
                prop_assert_eq!(set.tree.check(), Ok(()));
                prop_assert_eq!(set.len(), model.len());
                prop_assert!(set.iter().eq(model.iter()));
                prop_assert!(model.iter().all(|key| set.with_prefix(key).eq([key])));
                let with_prefix = model.iter().filter(|key| key[0] == prefix);
                prop_assert!(set.with_prefix([prefix]).eq(with_prefix));
                prop_assert!(set.with_prefix([prefix, 7, 0]).eq(model.iter().filter(|key| key[..3] == [prefix, 7, 0])));
            }
        }
    }
}
