//! The letters that a text shows, in order, with sums: a persistent B+ tree.
//!
//! An entry is a cell with the letters that it shows; entries are sorted by field, and so in the order of the text. Each node knows the
//! [`Extent`] of what lies below it, so an offset in any unit is found by one descent, and so is the offset of a field. Nodes
//! are counted references: a clone is O(1), and two versions of a text share what they have in common, by which [`Rope::splices`]
//! compares them.

use std::collections::HashSet;
use std::ops::{Add, AddAssign};
use std::sync::Arc;

use crate::bugs::{Bug, is};
use crate::kernel::Field;
use crate::offset::Offset;

/// Lengths of a piece of text.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Extent {
    /// Unicode scalar values.
    pub scalars: usize,
    /// UTF-16 code units.
    pub utf16: usize,
    /// Bytes of UTF-8.
    pub bytes: usize,
    /// Newlines (U+000A).
    pub newlines: usize,
}

impl Extent {
    fn of(letter: char) -> Self {
        Self { scalars: 1, utf16: letter.len_utf16(), bytes: letter.len_utf8(), newlines: usize::from(letter == '\n') }
    }

    /// The length of a string. O(n).
    pub fn of_str(text: &str) -> Self {
        text.chars().map(Self::of).fold(Self::default(), Self::add)
    }

    /// The length in the unit of an offset.
    pub(super) fn measure(&self, unit: Offset) -> usize {
        match unit {
            Offset::Scalar(_) => self.scalars,
            Offset::Utf16(_) => self.utf16,
            Offset::Byte(_) => self.bytes,
            Offset::Line(_) => self.newlines,
        }
    }
}

impl Add for Extent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            scalars: self.scalars + other.scalars,
            utf16: self.utf16 + other.utf16,
            bytes: self.bytes + other.bytes,
            newlines: self.newlines + other.newlines,
        }
    }
}

impl AddAssign for Extent {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The letters that one cell shows: at least one, and nearly always no more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::document) enum Shown {
    One(char),
    /// Different letters under one position, in the order of their dots.
    Several(Arc<[char]>),
}

impl Shown {
    /// `None` if there is no letter.
    pub(super) fn of(mut letters: impl Iterator<Item = char>) -> Option<Self> {
        let first = letters.next()?;
        let Some(second) = letters.next().map(|second| [first, second]) else { return Some(Self::One(first)) };
        Some(Self::Several(second.into_iter().chain(letters).collect()))
    }

    pub(in crate::document) fn letters(&self) -> &[char] {
        match self {
            Self::One(letter) => std::slice::from_ref(letter),
            Self::Several(letters) => letters,
        }
    }

    fn extent(&self) -> Extent {
        self.letters().iter().map(|letter| Extent::of(*letter)).fold(Extent::default(), Extent::add)
    }
}

/// A cell that shows something.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    field: Field,
    shown: Shown,
}

/// The most entries of a leaf, and children of a branch.
const WIDE: usize = 64;

/// Neighbours that have no more together are joined.
const NARROW: usize = WIDE / 2;

#[derive(Clone, Debug)]
enum Node {
    Leaf(Arc<Vec<Entry>>),
    Branch(Arc<Vec<Child>>),
}

/// A node with what is known of it.
#[derive(Clone, Debug)]
struct Child {
    node: Node,
    extent: Extent,
    /// The field of the first entry.
    first: Field,
}

impl Child {
    /// `None` if the node holds nothing.
    fn of(node: Node) -> Option<Self> {
        let (extent, first) = match &node {
            Node::Leaf(entries) => (
                entries.iter().map(|entry| entry.shown.extent()).fold(Extent::default(), Extent::add),
                entries.first()?.field.clone(),
            ),
            Node::Branch(children) => (
                children.iter().map(|child| child.extent).fold(Extent::default(), Extent::add),
                children.first()?.first.clone(),
            ),
        };
        Some(Self { node, extent, first })
    }

    fn of_leaf(entries: Vec<Entry>) -> Option<Self> {
        Self::of(Node::Leaf(Arc::new(entries)))
    }

    fn of_branch(children: Vec<Child>) -> Option<Self> {
        Self::of(Node::Branch(Arc::new(children)))
    }

    /// Sets or removes an entry. Returns what takes the child's place: nothing, one node or two.
    fn set(self, field: &Field, shown: Option<Shown>) -> [Option<Self>; 2] {
        match self.node {
            Node::Leaf(mut leaf) => {
                let place = leaf.binary_search_by(|entry| entry.field.cmp(field));
                match (place, shown) {
                    (Ok(at), Some(shown)) => Arc::make_mut(&mut leaf)[at].shown = shown,
                    (Ok(at), None) => drop(Arc::make_mut(&mut leaf).remove(at)),
                    (Err(at), Some(shown)) => {
                        Arc::make_mut(&mut leaf).insert(at, Entry { field: field.clone(), shown });
                    }
                    (Err(_), None) => {}
                }
                let right = (leaf.len() > WIDE).then(|| {
                    // A text that is typed at its end leaves full leaves behind.
                    let is_at_end = place == Err(leaf.len() - 1);
                    let leaf = Arc::make_mut(&mut leaf);
                    let right = leaf.split_off(if is_at_end { WIDE } else { WIDE / 2 });
                    leaf.shrink_to(WIDE);
                    right
                });
                [Self::of(Node::Leaf(leaf)), right.and_then(Self::of_leaf)]
            }
            Node::Branch(mut branch) => {
                let children = Arc::make_mut(&mut branch);
                let at = child_of(children, field);
                let [left, right] = children.remove(at).set(field, shown);
                children.splice(at..at, left.into_iter().chain(right));
                join(children, at);
                let right = (children.len() > WIDE).then(|| children.split_off(WIDE / 2));
                [Self::of(Node::Branch(branch)), right.and_then(Self::of_branch)]
            }
        }
    }

    fn len(&self) -> usize {
        match &self.node {
            Node::Leaf(entries) => entries.len(),
            Node::Branch(children) => children.len(),
        }
    }
}

/// The child in which a field is, or would be.
fn child_of(children: &[Child], field: &Field) -> usize {
    children.partition_point(|child| child.first <= *field).saturating_sub(1)
}

/// Joins a child with its neighbour if both are small.
fn join(children: &mut Vec<Child>, at: usize) {
    let Some(at) = [at.checked_sub(1), Some(at)].into_iter().flatten().find(|left| {
        let pair = children.get(*left).zip(children.get(left + 1));
        pair.is_some_and(|(left, right)| left.len() + right.len() <= NARROW)
    }) else {
        return;
    };
    let right = children.remove(at + 1);
    let left = children.remove(at);
    let joined = match (left.node, right.node) {
        (Node::Leaf(left), Node::Leaf(right)) => Child::of_leaf([&left[..], &right[..]].concat()),
        (Node::Branch(left), Node::Branch(right)) => Child::of_branch([&left[..], &right[..]].concat()),
        // All leaves lie equally deep.
        _ => None,
    };
    children.splice(at..at, joined);
}

/// A leaf, and the number of its letters.
type LeafRef<'a> = (&'a Arc<Vec<Entry>>, usize);

/// The letters that a text shows.
#[derive(Clone, Default, Debug)]
pub(crate) struct Rope(Option<Child>);

impl Rope {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(in crate::document) fn extent(&self) -> Extent {
        self.0.as_ref().map_or_else(Extent::default, |root| root.extent)
    }

    /// Says what a cell shows from now on. O(log n).
    pub(in crate::document) fn set(&mut self, field: &Field, shown: Option<Shown>) {
        let root = match (self.0.take(), shown) {
            (None, Some(shown)) => Child::of_leaf(vec![Entry { field: field.clone(), shown }]),
            (None, None) => None,
            (Some(root), shown) => match root.set(field, shown) {
                [Some(left), Some(right)] => Child::of_branch(vec![left, right]),
                [left, right] => left.or(right),
            },
        };
        self.0 = root;
        // A branch of one child is that child.
        while let Some(Child { node: Node::Branch(children), .. }) = &self.0
            && children.len() == 1
        {
            self.0 = children.first().cloned();
        }
    }

    /// The shortest beginning that reaches an offset: it ends there, or, if the offset lies inside a letter, behind that letter. `None` beyond the
    /// end. O(log n).
    pub(super) fn reach(&self, to: Offset) -> Option<Extent> {
        let (mut before, mut node) = (Extent::default(), self.0.as_ref());
        let wanted = to.value();
        if self.extent().measure(to) < wanted {
            return None;
        }
        while let Some(child) = node.filter(|_| before.measure(to) < wanted) {
            match &child.node {
                Node::Branch(children) => {
                    node = children.iter().find(|child| {
                        let reaches = (before + child.extent).measure(to) >= wanted;
                        if !reaches {
                            before += child.extent;
                        }
                        reaches
                    });
                }
                Node::Leaf(entries) => {
                    let letters = entries.iter().flat_map(|entry| entry.shown.letters());
                    for letter in letters {
                        if before.measure(to) >= wanted {
                            break;
                        }
                        before += Extent::of(*letter);
                    }
                    node = None;
                }
            }
        }
        Some(before)
    }

    /// The extent of what is shown by cells up to one, with that one or without. O(log n).
    pub(in crate::document) fn before(&self, field: &[u8], including: bool) -> Extent {
        let is_before = |other: &Field| match including {
            true => other.as_bytes() <= field,
            false => other.as_bytes() < field,
        };
        let (mut before, mut node) = (Extent::default(), self.0.as_ref());
        while let Some(child) = node {
            match &child.node {
                Node::Branch(children) => {
                    let at = children.partition_point(|child| is_before(&child.first));
                    before +=
                        children[..at.saturating_sub(1)].iter().map(|c| c.extent).fold(Extent::default(), Extent::add);
                    node = at.checked_sub(1).and_then(|at| children.get(at));
                }
                Node::Leaf(entries) => {
                    let at = entries.partition_point(|entry| is_before(&entry.field));
                    before += entries[..at].iter().map(|e| e.shown.extent()).fold(Extent::default(), Extent::add);
                    node = None;
                }
            }
        }
        before
    }

    /// The first cell from some bytes on. O(log n).
    pub(super) fn first_from(&self, field: &[u8]) -> Option<&Field> {
        self.letters(self.before(field, false).scalars).next().map(|(field, ..)| field)
    }

    /// The letters from one on, each with its cell and its place among the letters of that. O(log n), and O(1) each.
    pub(in crate::document) fn letters(&self, from: usize) -> Letters<'_> {
        let (mut left, mut node) = (from, self.0.as_ref());
        let (mut above, mut entries) = (Vec::new(), [].iter());
        while let Some(child) = node {
            match &child.node {
                Node::Branch(children) => {
                    let at = children.iter().position(|child| {
                        let holds = left < child.extent.scalars;
                        left -= if holds { 0 } else { child.extent.scalars };
                        holds
                    });
                    let mut rest = children[at.unwrap_or(children.len())..].iter();
                    node = rest.next();
                    above.push(rest);
                }
                Node::Leaf(leaf) => {
                    entries = leaf.iter();
                    node = None;
                }
            }
        }
        let mut letters = Letters { above, entries, entry: None };
        // At most the entries of one leaf.
        while left > 0 && letters.next().is_some() {
            left -= 1;
        }
        letters
    }

    /// The differences from an older text, from the left: how many scalars stand before, how many are to be deleted there, and what is to be
    /// inserted. O(pieces of some 64 letters + what differs).
    pub(super) fn splices(&self, older: &Self) -> Vec<Splice> {
        let (old, new) = (older.leaves(), self.leaves());
        // Most of a text is the same, at both ends.
        let same = |(old, new): &(&LeafRef<'_>, &LeafRef<'_>)| Arc::ptr_eq(old.0, new.0);
        let head = old.iter().zip(&new).take_while(same).count();
        let at = new[..head].iter().map(|(_, len)| len).sum();
        let (old, new) = (&old[head..], &new[head..]);
        let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
        let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
        let address = |leaf: &LeafRef<'_>| Arc::as_ptr(leaf.0).addr();
        let known: HashSet<usize> = old.iter().map(address).collect();
        let shared: HashSet<usize> = new.iter().map(address).filter(|at| known.contains(at)).collect();
        let is_shared = |leaf: &&LeafRef<'_>| shared.contains(&address(leaf));
        let mut found = Found { at, end: 0, splices: Vec::new() };
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        // Shared leaves come in the same order, so between two of them the others stand face to face.
        loop {
            let gone = std::iter::from_fn(|| old.next_if(|leaf| !is_shared(leaf)));
            let gone: Vec<&Entry> = gone.flat_map(|(leaf, _)| leaf.iter()).collect();
            let come = std::iter::from_fn(|| new.next_if(|leaf| !is_shared(leaf)));
            let come: Vec<&Entry> = come.flat_map(|(leaf, _)| leaf.iter()).collect();
            found.compare(&gone, &come);
            if old.next().is_none() {
                return found.splices;
            }
            found.at += new.next().map_or(0, |(_, len)| *len);
        }
    }

    fn leaves(&self) -> Vec<LeafRef<'_>> {
        let mut found = Vec::new();
        let mut open: Vec<&Child> = self.0.iter().collect();
        while let Some(child) = open.pop() {
            match &child.node {
                Node::Leaf(leaf) => found.push((leaf, child.extent.scalars)),
                Node::Branch(children) => open.extend(children.iter().rev()),
            }
        }
        found
    }

    /// Checks sums, sizes and order, and compares the letters with those that the cells show.
    #[cfg(feature = "testing")]
    pub(super) fn check(&self, expected: &[(Field, Shown)]) -> Result<(), String> {
        let entries: Vec<_> = self.leaves().into_iter().flat_map(|(leaf, _)| leaf.iter()).collect();
        let is_same = entries.len() == expected.len()
            && entries
                .iter()
                .zip(expected)
                .all(|(entry, (field, shown))| entry.field == *field && entry.shown == *shown);
        if !is_same {
            return Err(format!("a text shows {entries:?}, and its cells {expected:?}"));
        }
        let mut open: Vec<&Child> = self.0.iter().collect();
        while let Some(child) = open.pop() {
            let fresh = Child::of(child.node.clone()).ok_or("an empty node")?;
            if (fresh.extent, &fresh.first) != (child.extent, &child.first) || child.len() > WIDE {
                return Err("sums of a text that are not up to date".into());
            }
            if let Node::Branch(children) = &child.node {
                open.extend(children.iter());
            }
        }
        Ok(())
    }
}

/// Letters in order.
#[derive(Clone)]
pub(in crate::document) struct Letters<'a> {
    /// The children that are still to come, from the root down.
    above: Vec<std::slice::Iter<'a, Child>>,
    entries: std::slice::Iter<'a, Entry>,
    /// The current entry, and the place of its letter that comes next.
    entry: Option<(&'a Entry, usize)>,
}

impl<'a> Iterator for Letters<'a> {
    type Item = (&'a Field, usize, char);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((entry, at)) = &mut self.entry
                && let Some(letter) = entry.shown.letters().get(*at)
            {
                *at += 1;
                return Some((&entry.field, *at - 1, *letter));
            }
            self.entry = self.entries.next().map(|entry| (entry, 0));
            if self.entry.is_some() {
                continue;
            }
            let child = loop {
                match self.above.last_mut()?.next() {
                    Some(child) => break child,
                    None => drop(self.above.pop()),
                }
            };
            match &child.node {
                Node::Leaf(entries) => self.entries = entries.iter(),
                Node::Branch(children) => self.above.push(children.iter()),
            }
        }
    }
}

/// One change of a text: at an offset, some scalars are deleted and others inserted.
///
/// Changes are made one after the other: the offset of each counts what the changes before it made of the text.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Splice {
    /// The offset in scalars.
    pub at: usize,
    /// The number of scalars that are deleted there.
    pub deleted: usize,
    /// The text that is inserted there.
    pub inserted: String,
}

/// Splices in the making.
struct Found {
    /// The offset in the newer text that has been reached.
    at: usize,
    /// The offset at which the last splice ends.
    end: usize,
    splices: Vec<Splice>,
}

impl Found {
    fn compare(&mut self, gone: &[&Entry], come: &[&Entry]) {
        let (mut gone, mut come) = (gone.iter().peekable(), come.iter().peekable());
        loop {
            let order = match (gone.peek(), come.peek()) {
                (None, None) => return,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(old), Some(new)) => old.field.cmp(&new.field),
            };
            let old = if order.is_le() { gone.next() } else { None };
            let new = if order.is_ge() { come.next() } else { None };
            let [old, new] = [old, new].map(|entry| entry.map_or(&[][..], |entry| entry.shown.letters()));
            if old == new || (new.is_empty() && is(Bug::DeletionUntold)) {
                self.at += new.len();
            } else {
                self.replace(old.len(), new);
            }
        }
    }

    fn replace(&mut self, deleted: usize, inserted: &[char]) {
        match self.splices.last_mut() {
            // It goes on where the last one ended.
            Some(last) if self.end == self.at => {
                last.deleted += deleted;
                last.inserted.extend(inserted);
            }
            _ => self.splices.push(Splice { at: self.at, deleted, inserted: inserted.iter().collect() }),
        }
        self.at += inserted.len();
        self.end = self.at;
    }
}
