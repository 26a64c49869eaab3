//! The elements of a list that an array goes on with.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::document::nested::Nested;

/// The most elements that are compared each with each.
const MAX_ELEMENTS: usize = 8192;

/// A place in the list that is to be.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::document) enum Slot {
    /// An element that stays where it is, by its number in the list that is there.
    Kept(usize),
    /// An element that comes from elsewhere.
    Moved(usize),
    /// A new element, by its number in the array.
    New(usize),
}

/// Matches the elements of a list with an array. Returns the list that is to be, with which item of the array each element becomes. Elements that
/// it does not name are gone, or stay if `keeps`.
///
/// Equal elements are matched by a longest common subsequence, those that have an id by that; one that is gone here and new there is moved; what is
/// left over between two matches is paired in order, if both are maps or both arrays, unless what it does not name stays.
pub(in crate::document) fn slots(
    old: &[Nested],
    new: &[Nested],
    id: Option<&str>,
    keeps: bool,
) -> Vec<(Slot, Option<usize>)> {
    // Numbers for what is equal as JSON, in which bytes are an array.
    let mut known: HashMap<(bool, String), usize> = HashMap::new();
    let mut key = |value: &Nested| {
        let (has_id, of) = match (id, value) {
            (Some(id), Nested::Map(entries)) if let Some(id) = entries.get(id) => (true, id),
            _ => (false, value),
        };
        let next = known.len();
        (has_id, *known.entry((has_id, of.clone().into_json().to_string())).or_insert(next))
    };
    let (old_keys, new_keys): (Vec<_>, Vec<_>) =
        (old.iter().map(&mut key).collect(), new.iter().map(&mut key).collect());
    let same = common(&old_keys, &new_keys);
    // By number in the list: which item of the array the element becomes.
    let mut becomes: Vec<Option<usize>> = vec![None; old.len()];
    let mut is_moved = HashSet::new();
    same.iter().for_each(|(a, b)| becomes[*a] = Some(*b));
    let mut taken: HashSet<usize> = same.iter().map(|(_, b)| *b).collect();
    let mut gone: HashMap<_, VecDeque<usize>> = HashMap::new();
    for (a, key) in old_keys.iter().enumerate().filter(|(a, _)| becomes[*a].is_none()) {
        gone.entry(key).or_default().push_back(a);
    }
    for (b, key) in new_keys.iter().enumerate() {
        if taken.contains(&b) {
            continue;
        }
        if let Some(a) = gone.get_mut(key).and_then(VecDeque::pop_front) {
            becomes[a] = Some(b);
            taken.insert(b);
            is_moved.insert(b);
        }
    }
    // Between two matches.
    let mut from = (0, 0);
    for (a, b) in same.iter().copied().chain([(old.len(), new.len())]) {
        let mut rest = (from.1..b).filter(|b| !taken.contains(b) && !new_keys[*b].0).collect::<VecDeque<_>>();
        for a in (from.0..a).filter(|a| !old_keys[*a].0 && !keeps) {
            let alike = |b: &usize| {
                matches!((&old[a], &new[*b]), (Nested::Map(_), Nested::Map(_)) | (Nested::Array(_), Nested::Array(_)))
            };
            if becomes[a].is_none()
                && let Some(at) = rest.iter().position(alike)
                && let Some(b) = rest.drain(..=at).next_back()
            {
                becomes[a] = Some(b);
                taken.insert(b);
            }
        }
        from = (a + 1, b + 1);
    }
    let of: HashMap<usize, usize> = becomes.iter().enumerate().filter_map(|(a, b)| Some(((*b)?, a))).collect();
    let slot = |b: usize| match of.get(&b) {
        Some(a) if is_moved.contains(&b) => (Slot::Moved(*a), Some(b)),
        Some(a) => (Slot::Kept(*a), Some(b)),
        None => (Slot::New(b), Some(b)),
    };
    let named: Vec<_> = (0..new.len()).map(slot).collect();
    if !keeps {
        return named;
    }
    // The elements that it does not name stay behind the last that stays before them, ahead of what is new there.
    let kept = |slot: &Slot| if let Slot::Kept(a) = slot { Some(*a) } else { None };
    let ends: Vec<usize> = named.iter().filter_map(|(slot, _)| kept(slot)).chain([old.len()]).collect();
    let mut ends = ends.into_iter();
    let mut stays = |from: usize| {
        let end = ends.next().unwrap_or(from);
        (from..end).filter(|a| becomes[*a].is_none()).map(|a| (Slot::Kept(a), None)).collect::<Vec<_>>()
    };
    let mut slots = stays(0);
    for (slot, item) in named {
        let next = kept(&slot).map(|a| a + 1);
        slots.push((slot, item));
        slots.extend(next.map(&mut stays).into_iter().flatten());
    }
    slots
}

/// A common subsequence, as pairs of numbers: the longest, unless many elements are equal and what differs is long.
fn common<K: Hash + Ord>(old: &[K], new: &[K]) -> Vec<(usize, usize)> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_middle, new_middle) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    let mut same: Vec<(usize, usize)> = (0..head).map(|at| (at, at)).collect();
    let middle = match old_middle.len().max(new_middle.len()) <= MAX_ELEMENTS {
        true => capture_diff_slices(Algorithm::Myers, old_middle, new_middle)
            .into_iter()
            .filter_map(|op| match op {
                DiffOp::Equal { old_index, new_index, len } => Some((old_index, new_index, len)),
                _ => None,
            })
            .flat_map(|(old, new, len)| (0..len).map(move |at| (old + at, new + at)))
            .collect(),
        false => increasing(old_middle, new_middle),
    };
    same.extend(middle.into_iter().map(|(a, b)| (head + a, head + b)));
    same.extend((0..tail).map(|at| (old.len() - tail + at, new.len() - tail + at)));
    same
}

/// The longest common subsequence in which the first of equal elements goes with the first, the second with the second. O(n log n).
fn increasing<K: Eq + Hash>(old: &[K], new: &[K]) -> Vec<(usize, usize)> {
    let mut places: HashMap<&K, VecDeque<usize>> = HashMap::new();
    new.iter().enumerate().for_each(|(b, key)| places.entry(key).or_default().push_back(b));
    let pairs = old.iter().enumerate().filter_map(|(a, key)| Some((a, places.get_mut(key)?.pop_front()?)));
    let pairs: Vec<(usize, usize)> = pairs.collect();
    // By length: the pair that ends an increasing subsequence of it lowest; of each pair the one before it.
    let (mut ends, mut before): (Vec<usize>, Vec<Option<usize>>) = (Vec::new(), vec![None; pairs.len()]);
    for (at, (_, b)) in pairs.iter().enumerate() {
        let len = ends.partition_point(|end| pairs[*end].1 < *b);
        before[at] = len.checked_sub(1).map(|last| ends[last]);
        match ends.get_mut(len) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut found = Vec::new();
    let mut at = ends.last().copied();
    while let Some(pair) = at {
        found.push(pairs[pair]);
        at = before[pair];
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Nested> {
        let map = (0i64..4, 0i64..3).prop_map(|(id, n)| {
            Nested::Map([("id".to_owned(), Nested::Int(id)), ("n".to_owned(), Nested::Int(n))].into())
        });
        prop_oneof![2 => (0i64..5).prop_map(Nested::Int), 1 => map]
    }

    proptest! {
        #[test]
        fn the_list_that_is_to_be_is_the_array(
            old in prop::collection::vec(value(), 0..12),
            new in prop::collection::vec(value(), 0..12),
            by_id: bool,
        ) {
            let slots = slots(&old, &new, by_id.then_some("id"), false);
            let items: Vec<_> = slots.iter().map(|(_, item)| item.unwrap()).collect();
            prop_assert_eq!(items, (0..new.len()).collect::<Vec<_>>());
            // The elements that stay are in order, and none is taken twice.
            let kept: Vec<_> = slots.iter().filter_map(|(s, _)| if let Slot::Kept(a) = s { Some(*a) } else { None }).collect();
            prop_assert!(kept.is_sorted_by(|a, b| a < b));
            let moved = slots.iter().filter_map(|(s, _)| if let Slot::Moved(a) = s { Some(*a) } else { None });
            let taken: Vec<_> = kept.iter().copied().chain(moved).collect();
            prop_assert_eq!(taken.iter().collect::<HashSet<_>>().len(), taken.len());
            // No element is new that could be had from one that is gone.
            for (slot, item) in &slots {
                if let (Slot::New(_), Some(item)) = (slot, item) {
                    prop_assert!((0..old.len()).all(|a| taken.contains(&a) || old[a] != new[*item]));
                }
            }
        }

        #[test]
        fn with_what_stays_all_of_the_old_is_there_and_the_new_in_order(
            old in prop::collection::vec(value(), 0..12),
            new in prop::collection::vec(value(), 0..12),
        ) {
            let slots = slots(&old, &new, None, true);
            let items: Vec<_> = slots.iter().filter_map(|(_, item)| *item).collect();
            prop_assert_eq!(items, (0..new.len()).collect::<Vec<_>>());
            let mut all: Vec<_> = slots.iter().filter_map(|(s, _)| match s {
                Slot::Kept(a) | Slot::Moved(a) => Some(*a),
                Slot::New(_) => None,
            }).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..old.len()).collect::<Vec<_>>());
        }

        #[test]
        fn long_lists_without_repeats_are_compared_as_short_ones(mut old in Just((0..40).collect::<Vec<u8>>()).prop_shuffle(), cut in 0..40usize) {
            let new: Vec<u8> = (0..40).collect();
            old.truncate(cut);
            let slow = common(&old, &new).len();
            let found = increasing(&old, &new);
            prop_assert_eq!(found.len(), slow);
            prop_assert!(found.iter().all(|(a, b)| old[*a] == new[*b]));
            prop_assert!(found.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
        }
    }
}
