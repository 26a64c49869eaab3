//! A persistent B+ tree whose leaves decide how they lie in memory.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

/// A leaf of a tree: some neighbours by key, in one piece of memory, to which the leaf is a counted reference.
pub(crate) trait Leaf: Clone {
    type Key: Copy + Ord + fmt::Debug;
    /// An item to put into a leaf.
    type Item<'a>;

    fn key_of(item: &Self::Item<'_>) -> Self::Key;

    /// The beginning of a key as a number: of two keys the lesser never has the greater number.
    fn prefix(key: &Self::Key) -> u64;

    fn single(item: &Self::Item<'_>) -> Self;

    fn len(&self) -> usize;

    fn key(&self, place: usize) -> Self::Key;

    /// The same with an item in its [place](Self::find), as one leaf or, if it is too much for one, as several.
    fn with(&self, place: Result<usize, usize>, item: &Self::Item<'_>) -> SmallVec<[Self; 1]>;

    /// Puts an item in place of one of the same key without moving another, into the same memory. Returns whether that was possible;
    /// if not, or if the memory is shared, nothing has changed.
    fn overwrite(&mut self, place: usize, item: &Self::Item<'_>) -> bool;

    /// The same without what is at a place.
    fn without(&self, place: usize) -> Self;

    /// Returns whether the leaf is to be joined with a neighbour.
    fn is_sparse(&self) -> bool;

    /// Joins the leaf with the one after it, if both fit into one.
    fn join(&self, after: &Self) -> Option<Self>;

    /// Checks what the leaf says of itself: for tests.
    #[cfg(any(test, feature = "testing"))]
    fn check(&self) -> Result<(), String>;

    /// Finds the place of a key, or the place where it would be.
    fn find(&self, key: Self::Key) -> Result<usize, usize>;

    /// The address of the leaf in memory: the same for leaves that share theirs.
    fn address(&self) -> *const u8;
}

/// The most children of a branch. Copying one that a snapshot shares counts references to each.
const WIDE: usize = 32;

/// A branch of fewer children is joined with a neighbour.
const NARROW: usize = 8;

/// A persistent B+ tree: cloning is O(1).
#[derive(Clone)]
pub(crate) struct Tree<L: Leaf> {
    root: Option<Node<L>>,
}

/// A node, where its parent holds it: so a step down the tree is one look at memory that is elsewhere.
#[derive(Clone)]
enum Node<L: Leaf> {
    Branch(Arc<Branch<L>>),
    Leaf(L),
}

#[derive(Clone)]
struct Branch<L: Leaf> {
    /// The number of steps down to the leaves.
    height: u8,
    /// The [prefixes](Leaf::prefix) of the first keys, then the greatest number: most searches look at these alone. The first is 0,
    /// since the first child holds all smaller keys whatever key stands for it.
    prefixes: [u64; WIDE],
    /// The first key of each child. A child holds the keys from its own first key up to that of the next child; the first child holds
    /// smaller keys, too.
    firsts: Vec<L::Key>,
    children: Vec<Node<L>>,
}

/// A node that comes after another, and its first key.
type Next<L> = (<L as Leaf>::Key, Node<L>);

impl<L: Leaf> Tree<L> {
    /// The leaf in which a key is, if it is in any. O(log n).
    pub(crate) fn leaf(&self, key: L::Key) -> Option<&L> {
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Node::Leaf(leaf) => return Some(leaf),
                Node::Branch(branch) => node = &branch.children[branch.child(key)],
            }
        }
    }

    /// The leaves in order, from that in which a key would be.
    pub(crate) fn leaves_from(&self, key: L::Key) -> Leaves<'_, L> {
        let (mut branches, mut leaf) = (Vec::new(), None);
        let mut next = self.root.as_ref();
        while let Some(node) = next.take() {
            match node {
                Node::Leaf(found) => leaf = Some(found),
                Node::Branch(branch) => {
                    let child = branch.child(key);
                    branches.push((&**branch, child + 1));
                    next = Some(&branch.children[child]);
                }
            }
        }
        Leaves { branches, leaf }
    }

    /// Builds a tree of leaves, which are in order and hold something. O(leaves).
    pub(crate) fn of_leaves(leaves: impl IntoIterator<Item = L>) -> Self {
        let mut nodes: Vec<Next<L>> = leaves.into_iter().map(|new| (new.key(0), Node::Leaf(new))).collect();
        let mut height = 0;
        while nodes.len() > 1 {
            height += 1;
            // Branches of equal width or one less, so that none is narrow.
            let (len, count) = (nodes.len(), nodes.len().div_ceil(WIDE));
            let branch = |i: usize| {
                let children = nodes[i * len / count..(i + 1) * len / count].iter();
                let (firsts, children): (Vec<_>, _) = children.cloned().unzip();
                (firsts[0], Branch::node(height, firsts, children))
            };
            nodes = (0..count).map(branch).collect();
        }
        Self { root: nodes.pop().map(|(_, root)| root) }
    }

    /// Puts an item in its place, in place of one of the same key. Returns whether there was none. O(log n), and a copy of its leaf.
    pub(crate) fn put(&mut self, item: &L::Item<'_>) -> bool {
        let Some(root) = &mut self.root else {
            self.root = Some(Node::Leaf(L::single(item)));
            return true;
        };
        let mut is_new = false;
        let next = put(root, item, &mut is_new);
        if let Some((first, _)) = next.first() {
            // The first child holds all smaller keys, so any key will do.
            let first = (*first).min(L::key_of(item));
            let height = root.height() + 1;
            let (firsts, children) = [(first, root.clone())].into_iter().chain(next).unzip();
            *root = Branch::node(height, firsts, children);
        }
        is_new
    }

    /// Takes the item of a key out. Returns whether it was there.
    pub(crate) fn remove(&mut self, key: L::Key) -> bool {
        let Some(root) = &mut self.root else { return false };
        let removed = remove(root, key);
        if removed == Removed::Last {
            self.root = None;
            return true;
        }
        while let Node::Branch(branch) = &*root
            && let [only] = &branch.children[..]
        {
            *root = only.clone();
        }
        removed != Removed::Nothing
    }

    /// The leaves of the two that the other does not hold. O(nodes that the two do not share · width).
    pub(crate) fn unshared<'a>(&'a self, other: &'a Self) -> Vec<&'a L> {
        let [mut ours, mut theirs] = [self, other].map(|of| of.root.iter().collect::<Vec<_>>());
        loop {
            let held = |nodes: &[&Node<L>]| nodes.iter().map(|node| node.address()).collect::<HashSet<_>>();
            let (held_here, held_there) = (held(&ours), held(&theirs));
            ours.retain(|node| !held_there.contains(&node.address()));
            theirs.retain(|node| !held_here.contains(&node.address()));
            let height = ours.iter().chain(&theirs).map(|node| node.height()).max().unwrap_or(0);
            if height == 0 {
                break;
            }
            // The highest nodes are opened first, so that shared nodes meet themselves whatever lies above them.
            for nodes in [&mut ours, &mut theirs] {
                let opened = nodes.iter().flat_map(|node| match *node {
                    Node::Branch(branch) if branch.height == height => branch.children.iter().collect(),
                    _ => vec![*node],
                });
                *nodes = opened.collect();
            }
        }
        let leaf = |node: &'a Node<L>| match node {
            Node::Leaf(leaf) => Some(leaf),
            Node::Branch(_) => None,
        };
        ours.into_iter().chain(theirs).filter_map(leaf).collect()
    }

    /// Checks the layout: for tests.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn check(&self) -> Result<(), String> {
        self.root.as_ref().map_or(Ok(()), |root| check(root, &mut None, true))
    }
}

#[cfg(any(test, feature = "testing"))]
fn check<L: Leaf>(node: &Node<L>, last: &mut Option<L::Key>, is_root: bool) -> Result<(), String> {
    match node {
        Node::Leaf(leaf) => {
            leaf.check()?;
            for key in (0..leaf.len()).map(|place| leaf.key(place)) {
                if last.replace(key).is_some_and(|last| last >= key) {
                    return Err(format!("{key:?} is out of order"));
                }
            }
            if leaf.len() == 0 { Err("a leaf of nothing".into()) } else { Ok(()) }
        }
        Node::Branch(branch) => {
            let Branch { height, prefixes, firsts, children } = &**branch;
            if *prefixes != branch.prefixes_of_firsts() {
                return Err("prefixes that are not those of the keys".into());
            }
            if children.len() > WIDE || children.is_empty() || (is_root && children.len() == 1) {
                return Err(format!("a branch of {} children", children.len()));
            }
            for (i, (first, child)) in firsts.iter().zip(children).enumerate() {
                if child.height() + 1 != *height {
                    return Err("children of unlike heights".into());
                }
                if i > 0 && last.is_some_and(|last| last >= *first) {
                    return Err(format!("a key before {first:?} lies after it"));
                }
                check(child, last, false)?;
                if i > 0 && last.is_some_and(|last| last < *first) {
                    return Err(format!("a key after {first:?} lies before it"));
                }
            }
            Ok(())
        }
    }
}

impl<L: Leaf> Node<L> {
    fn height(&self) -> u8 {
        match self {
            Self::Branch(branch) => branch.height,
            Self::Leaf(_) => 0,
        }
    }

    /// The address of the node in memory: the same for nodes that are shared.
    fn address(&self) -> *const u8 {
        match self {
            Self::Branch(branch) => Arc::as_ptr(branch).cast(),
            Self::Leaf(leaf) => leaf.address(),
        }
    }
}

impl<L: Leaf> Branch<L> {
    /// A branch of at most [`WIDE`] children.
    fn node(height: u8, firsts: Vec<L::Key>, children: Vec<Node<L>>) -> Node<L> {
        let mut branch = Self { height, prefixes: [u64::MAX; WIDE], firsts, children };
        branch.prefixes = branch.prefixes_of_firsts();
        Node::Branch(Arc::new(branch))
    }

    /// The prefixes as they have to be after a change of the first keys.
    fn prefixes_of_firsts(&self) -> [u64; WIDE] {
        let mut prefixes = [u64::MAX; WIDE];
        prefixes.iter_mut().zip(&self.firsts).for_each(|(prefix, first)| *prefix = L::prefix(first));
        prefixes[0] = 0;
        prefixes
    }

    fn child(&self, key: L::Key) -> usize {
        let (prefix, len) = (L::prefix(&key), self.firsts.len());
        let less = self.prefixes.partition_point(|of| *of < prefix).min(len);
        let alike = self.prefixes[less..len].iter().take_while(|of| **of == prefix).count();
        let upto = less + self.firsts[less..less + alike].partition_point(|first| *first <= key);
        upto.saturating_sub(1)
    }

    fn split_off(&mut self, at: usize) -> Next<L> {
        let (firsts, children) = (self.firsts.split_off(at), self.children.split_off(at));
        (firsts[0], Self::node(self.height, firsts, children))
    }

    /// Joins a child with a neighbour, if it is small and both fit into one.
    fn join(&mut self, child: usize) {
        for left in [Some(child), child.checked_sub(1)].into_iter().flatten() {
            let (Some(a), Some(b)) = (self.children.get(left), self.children.get(left + 1)) else { continue };
            let joined = match (a, b) {
                (Node::Leaf(a), Node::Leaf(b)) => a.join(b).map(Node::Leaf),
                (Node::Branch(a), Node::Branch(b)) if a.children.len() + b.children.len() <= WIDE => {
                    let mut firsts = [&a.firsts[..], &b.firsts].concat();
                    // The first key of `b` is not known by `b` itself, since a first child holds smaller keys.
                    firsts[a.firsts.len()] = self.firsts[left + 1];
                    Some(Self::node(a.height, firsts, [&a.children[..], &b.children].concat()))
                }
                _ => None,
            };
            if let Some(joined) = joined {
                self.children[left] = joined;
                self.children.remove(left + 1);
                self.firsts.remove(left + 1);
                self.prefixes = self.prefixes_of_firsts();
                return;
            }
        }
    }
}

/// Puts an item into a node, and says whether there was none of its key. Returns the nodes that come after it now.
fn put<L: Leaf>(node: &mut Node<L>, item: &L::Item<'_>, is_new: &mut bool) -> SmallVec<[Next<L>; 1]> {
    let branch = match node {
        Node::Branch(branch) => Arc::make_mut(branch),
        Node::Leaf(leaf) => {
            let place = leaf.find(L::key_of(item));
            *is_new = place.is_err();
            if place.is_ok_and(|place| leaf.overwrite(place, item)) {
                return SmallVec::new();
            }
            let mut leaves = leaf.with(place, item);
            *leaf = leaves.remove(0);
            return leaves.into_iter().map(|new| (new.key(0), Node::Leaf(new))).collect();
        }
    };
    let child = branch.child(L::key_of(item));
    let next = put(&mut branch.children[child], item, is_new);
    if next.is_empty() {
        return next;
    }
    let (firsts, children): (Vec<_>, Vec<_>) = next.into_iter().unzip();
    branch.firsts.splice(child + 1..child + 1, firsts);
    branch.children.splice(child + 1..child + 1, children);
    let mut next = SmallVec::new();
    while branch.children.len() > WIDE {
        // Keys that come in order fill their branches.
        let at = if child + 2 >= branch.children.len() { branch.children.len() - 2 } else { branch.children.len() / 2 };
        next.insert(0, branch.split_off(at));
    }
    branch.prefixes = branch.prefixes_of_firsts();
    next
}

/// The effect of a removal on a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removed {
    Nothing,
    One,
    /// One, and nothing is left.
    Last,
}

/// Takes the item of a key out of a node.
fn remove<L: Leaf>(node: &mut Node<L>, key: L::Key) -> Removed {
    let branch = match node {
        Node::Branch(branch) => Arc::make_mut(branch),
        Node::Leaf(leaf) => {
            let Ok(place) = leaf.find(key) else { return Removed::Nothing };
            if leaf.len() == 1 {
                return Removed::Last;
            }
            *leaf = leaf.without(place);
            return Removed::One;
        }
    };
    let child = branch.child(key);
    match remove(&mut branch.children[child], key) {
        Removed::Nothing => return Removed::Nothing,
        Removed::One => {}
        Removed::Last => {
            branch.children.remove(child);
            branch.firsts.remove(child);
            branch.prefixes = branch.prefixes_of_firsts();
            return if branch.children.is_empty() { Removed::Last } else { Removed::One };
        }
    }
    let is_small = match &branch.children[child] {
        Node::Leaf(leaf) => leaf.is_sparse(),
        Node::Branch(branch) => branch.children.len() < NARROW,
    };
    if is_small {
        branch.join(child);
    }
    Removed::One
}

/// Leaves in order.
pub(crate) struct Leaves<'a, L: Leaf> {
    /// The path from the root down, each branch with the child that comes next.
    branches: Vec<(&'a Branch<L>, usize)>,
    leaf: Option<&'a L>,
}

impl<'a, L: Leaf> Iterator for Leaves<'a, L> {
    type Item = &'a L;

    fn next(&mut self) -> Option<&'a L> {
        if let Some(leaf) = self.leaf.take() {
            return Some(leaf);
        }
        loop {
            let (branch, child) = self.branches.last_mut()?;
            let Some(node) = branch.children.get(*child) else {
                self.branches.pop();
                continue;
            };
            *child += 1;
            match node {
                Node::Leaf(leaf) => return Some(leaf),
                Node::Branch(branch) => self.branches.push((&**branch, 0)),
            }
        }
    }
}

impl<L: Leaf> Default for Tree<L> {
    fn default() -> Self {
        Self { root: None }
    }
}
