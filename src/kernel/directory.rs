//! The pages of a state by entity: a persistent B+ tree whose leaves are pages.
//!
//! It is found in fewer steps than a map of single entities, because a page holds a dozen, and whatever changes is a page and
//! its path. Nodes are copied only where a snapshot shares them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::kernel::key::Entity;
use crate::kernel::page::{NewRecord, Page};

/// The most children of a branch. Copying one that a snapshot shares counts references to each.
const WIDE: usize = 32;

/// A branch of fewer children is joined with a neighbour.
const NARROW: usize = 8;

/// Persistent: cloning is O(1).
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    root: Option<Arc<Node>>,
}

#[derive(Clone, Debug)]
enum Node {
    Branch(Branch),
    Leaf(Page),
}

#[derive(Clone, Debug)]
struct Branch {
    /// How many steps lead down to the pages.
    height: u8,
    /// What is not less than the first entity of a child, and less than that of the next, is in the child; what is less than all, in
    /// the first.
    firsts: Vec<Entity>,
    children: Vec<Arc<Node>>,
}

/// A node that comes after another, and its first entity.
type Next = (Entity, Arc<Node>);

impl Directory {
    /// The page in which an entity is, if it is in any. O(log pages).
    pub(super) fn page(&self, entity: Entity) -> Option<&Page> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Leaf(page) => return Some(page),
                Node::Branch(branch) => node = &branch.children[branch.child(entity)],
            }
        }
    }

    /// The pages in order, from that in which an entity would be.
    pub(super) fn pages_from(&self, entity: Entity) -> Pages<'_> {
        let (mut branches, mut leaf) = (Vec::new(), None);
        let mut next = self.root.as_deref();
        while let Some(node) = next.take() {
            match node {
                Node::Leaf(page) => leaf = Some(page),
                Node::Branch(branch) => {
                    let child = branch.child(entity);
                    branches.push((branch, child + 1));
                    next = Some(&branch.children[child]);
                }
            }
        }
        Pages { branches, leaf }
    }

    /// Puts a record in its place. O(log pages), and a copy of its page.
    pub(super) fn put(&mut self, record: &NewRecord<'_>) {
        let Some(root) = &mut self.root else {
            self.root = Some(leaf(Page::single(record)));
            return;
        };
        let next = put(root, record);
        if let Some((first, _)) = next.first() {
            // What is less than all is in the first, so any entity will do.
            let first = (*first).min(record.entity);
            let height = root.height() + 1;
            let (firsts, children) = [(first, root.clone())].into_iter().chain(next).unzip();
            *root = Arc::new(Node::Branch(Branch { height, firsts, children }));
        }
    }

    /// Takes the record of an entity out, if it is there.
    pub(super) fn remove(&mut self, entity: Entity) {
        let Some(root) = &mut self.root else { return };
        if remove(root, entity) {
            self.root = None;
            return;
        }
        while let Node::Branch(Branch { children, .. }) = &**root
            && let [only] = &children[..]
        {
            *root = only.clone();
        }
    }

    /// The pages of the two that the other does not hold. O(nodes that the two do not share · width).
    pub(super) fn unshared<'a>(&'a self, other: &'a Self) -> Vec<&'a Page> {
        let [mut ours, mut theirs] = [self, other].map(|of| of.root.iter().collect::<Vec<_>>());
        loop {
            let held = |nodes: &[&Arc<Node>]| nodes.iter().map(|node| Arc::as_ptr(node)).collect::<HashSet<_>>();
            let (held_here, held_there) = (held(&ours), held(&theirs));
            ours.retain(|node| !held_there.contains(&Arc::as_ptr(node)));
            theirs.retain(|node| !held_here.contains(&Arc::as_ptr(node)));
            let height = ours.iter().chain(&theirs).map(|node| node.height()).max().unwrap_or(0);
            if height == 0 {
                break;
            }
            // The highest first, so that what is shared meets itself whatever lies above it.
            for nodes in [&mut ours, &mut theirs] {
                let opened = nodes.iter().flat_map(|node| match &***node {
                    Node::Branch(branch) if branch.height == height => branch.children.iter().collect(),
                    _ => vec![*node],
                });
                *nodes = opened.collect();
            }
        }
        let page = |node: &'a Arc<Node>| match &**node {
            Node::Leaf(page) => Some(page),
            Node::Branch(_) => None,
        };
        ours.into_iter().chain(theirs).filter_map(page).collect()
    }

    /// Checks the layout: for tests.
    #[cfg(feature = "testing")]
    pub(super) fn check(&self) -> Result<(), String> {
        fn check(node: &Node, last: &mut Option<Entity>, is_root: bool) -> Result<(), String> {
            match node {
                Node::Leaf(page) => {
                    page.check()?;
                    for place in 0..page.len() {
                        let entity = page.entity(place);
                        if last.replace(entity).is_some_and(|last| last >= entity) {
                            return Err(format!("{entity:?} is out of order"));
                        }
                    }
                    Ok(())
                }
                Node::Branch(Branch { height, firsts, children }) => {
                    if children.len() > WIDE || children.is_empty() || (is_root && children.len() == 1) {
                        return Err(format!("a branch of {} children", children.len()));
                    }
                    for (i, (first, child)) in firsts.iter().zip(children).enumerate() {
                        if child.height() + 1 != *height {
                            return Err("children of unlike heights".into());
                        }
                        if i > 0 && last.is_some_and(|last| last >= *first) {
                            return Err(format!("an entity before {first:?} lies after it"));
                        }
                        check(child, last, false)?;
                        if firsts.get(i + 1).is_some_and(|next| *next <= *first) {
                            return Err("children out of order".into());
                        }
                    }
                    Ok(())
                }
            }
        }
        self.root.as_deref().map_or(Ok(()), |root| check(root, &mut None, true))
    }
}

/// Puts a page in place of a node, into the same memory unless a snapshot shares it.
fn set(node: &mut Arc<Node>, page: Page) {
    match Arc::get_mut(node) {
        Some(node) => *node = Node::Leaf(page),
        None => *node = leaf(page),
    }
}

fn leaf(page: Page) -> Arc<Node> {
    Arc::new(Node::Leaf(page))
}

impl Node {
    fn height(&self) -> u8 {
        match self {
            Self::Branch(branch) => branch.height,
            Self::Leaf(_) => 0,
        }
    }
}

impl Branch {
    fn child(&self, entity: Entity) -> usize {
        self.firsts.partition_point(|first| *first <= entity).saturating_sub(1)
    }

    fn split_off(&mut self, at: usize) -> Next {
        let (firsts, children) = (self.firsts.split_off(at), self.children.split_off(at));
        (firsts[0], Arc::new(Node::Branch(Self { height: self.height, firsts, children })))
    }

    /// Joins a child with a neighbour, if it is small and both fit into one.
    fn join(&mut self, child: usize) {
        for left in [Some(child), child.checked_sub(1)].into_iter().flatten() {
            let (Some(a), Some(b)) = (self.children.get(left), self.children.get(left + 1)) else { continue };
            let joined = match (&**a, &**b) {
                (Node::Leaf(a), Node::Leaf(b)) => a.join(b).map(leaf),
                (Node::Branch(a), Node::Branch(b)) if a.children.len() + b.children.len() <= WIDE => {
                    let mut joined = a.clone();
                    joined.firsts.extend_from_slice(&b.firsts);
                    // What was less than all of `b` is not.
                    joined.firsts[a.firsts.len()] = self.firsts[left + 1];
                    joined.children.extend_from_slice(&b.children);
                    Some(Arc::new(Node::Branch(joined)))
                }
                _ => None,
            };
            if let Some(joined) = joined {
                self.children[left] = joined;
                self.children.remove(left + 1);
                self.firsts.remove(left + 1);
                return;
            }
        }
    }
}

/// Puts a record into a node. Returns the nodes that come after it now.
fn put(node: &mut Arc<Node>, record: &NewRecord<'_>) -> Vec<Next> {
    if let Node::Leaf(page) = &**node {
        // Overwritten in place, unless a snapshot shares it.
        if let Ok(place) = page.find(record.entity)
            && let Some(Node::Leaf(page)) = Arc::get_mut(node)
            && page.overwrite(place, record)
        {
            return Vec::new();
        }
        let Node::Leaf(page) = &**node else { return Vec::new() };
        let mut pages = page.with(record);
        set(node, pages.remove(0));
        return pages.into_iter().map(|page| (page.entity(0), leaf(page))).collect();
    }
    let Node::Branch(branch) = Arc::make_mut(node) else { return Vec::new() };
    let child = branch.child(record.entity);
    let next = put(&mut branch.children[child], record);
    if next.is_empty() {
        return next;
    }
    let (firsts, children): (Vec<_>, Vec<_>) = next.into_iter().unzip();
    branch.firsts.splice(child + 1..child + 1, firsts);
    branch.children.splice(child + 1..child + 1, children);
    let mut next = Vec::new();
    while branch.children.len() > WIDE {
        // What comes in order fills its branches.
        let at = if child + 2 >= branch.children.len() { branch.children.len() - 2 } else { branch.children.len() / 2 };
        next.insert(0, branch.split_off(at));
    }
    next
}

/// Takes the record of an entity out of a node. Returns whether nothing is left there.
fn remove(node: &mut Arc<Node>, entity: Entity) -> bool {
    if let Node::Leaf(page) = &**node {
        let Ok(place) = page.find(entity) else { return false };
        let rest = page.splice(place..place + 1, None);
        let is_empty = rest.len() == 0;
        set(node, rest);
        return is_empty;
    }
    let Node::Branch(branch) = Arc::make_mut(node) else { return false };
    let child = branch.child(entity);
    if remove(&mut branch.children[child], entity) {
        branch.children.remove(child);
        branch.firsts.remove(child);
        return branch.children.is_empty();
    }
    let is_small = match &*branch.children[child] {
        Node::Leaf(page) => page.is_sparse(),
        Node::Branch(branch) => branch.children.len() < NARROW,
    };
    if is_small {
        branch.join(child);
    }
    false
}

/// Pages in order.
pub(super) struct Pages<'a> {
    /// From the root down, each with the child that comes next.
    branches: Vec<(&'a Branch, usize)>,
    leaf: Option<&'a Page>,
}

impl<'a> Iterator for Pages<'a> {
    type Item = &'a Page;

    fn next(&mut self) -> Option<&'a Page> {
        if let Some(page) = self.leaf.take() {
            return Some(page);
        }
        loop {
            let (branch, child) = self.branches.last_mut()?;
            let Some(node) = branch.children.get(*child) else {
                self.branches.pop();
                continue;
            };
            *child += 1;
            match &**node {
                Node::Leaf(page) => return Some(page),
                Node::Branch(branch) => self.branches.push((branch, 0)),
            }
        }
    }
}
