//! Moving nodes in trees.

use std::collections::{BTreeMap, BTreeSet};

use crate::bugs::{Bug, is};
use crate::clock::Stamp;
use crate::error::EditError;
use crate::graph::Graph;
use crate::graph::keys::{self, Owner, PLACES, tree_of};
use crate::graph::tree::claims::{Claim, Claims, Placing, Spot};
use crate::graph::tree::index::claims_in;
use crate::graph::tree::read::Tree;
use crate::id::{Dot, NodeId};
use crate::kernel::{Crdt, Edit, Field, Touched};
use crate::position::{MAX_STEPS, Neighbour, PositionBytes, between};

/// A place in a tree, as it shows now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TreePlace {
    /// The first at the top.
    First,
    /// The last at the top.
    Last,
    /// The first child of a node.
    FirstIn(NodeId),
    /// The last child of a node.
    LastIn(NodeId),
    /// Beside a node, before it.
    Before(NodeId),
    /// Beside a node, after it.
    After(NodeId),
}

/// A tree of a graph, to edit. Made by [`Edit::tree_mut`].
pub struct TreeMut<'e, 'a> {
    edit: &'e mut Edit<'a, Graph>,
    name: String,
    field: Field,
}

impl<'a> Edit<'a, Graph> {
    /// A tree by name, to edit: see [`Tree`]. It need not be made, and is gone once no node has a place in it.
    pub fn tree_mut(&mut self, name: &str) -> TreeMut<'_, 'a> {
        TreeMut { edit: self, name: name.to_owned(), field: Field::new(&keys::place_in(name)) }
    }

    /// Puts the place of a node back, if a cell holds one that would put the node under itself: it remembers where the node
    /// shows now, or the top. Else it does nothing, and returns false.
    pub(in crate::graph) fn put_place_back(&mut self, cell: &Touched) -> Result<bool, EditError> {
        let then = cell.was().iter().filter(|sibling| sibling.is_live()).max_by_key(|sibling| sibling.precedence());
        let then = then.and_then(|sibling| sibling.payload.as_ref()).and_then(|payload| Placing::of(payload.as_ref()));
        let (Some(then), Some(name)) = (then, tree_of(&cell.field)) else { return Ok(false) };
        let (node, tree) = (NodeId::from(*cell.entity.id()), self.tree(name));
        let is_under = |parent| parent == node || tree.ancestors(parent).any(|above| above == node);
        if cell.entity.kind() != keys::NODE || !then.spot.parent.is_some_and(is_under) {
            return Ok(false);
        }
        let (mut claims, passed_over) = self.tree_claims(&cell.field, node);
        let now = (passed_over < claims.len()).then(|| claims.swap_remove(passed_over));
        let at_top = || (Spot { parent: None, ..then.spot.clone() }, Stamp::default());
        let from = now.map_or_else(at_top, |claim| (claim.spot, claim.rank.0));
        let placing = Placing { spot: then.spot.clone(), from: Some(from) };
        self.write(cell.entity, cell.field.as_bytes(), placing.to_payload())?;
        Ok(true)
    }

    /// Writes down, after places were put back, what shows elsewhere than in `like` because of circles. What was written since is
    /// `free` to, unless it shows nowhere.
    pub(in crate::graph) fn keep_trees(&mut self, like: &Graph, free: bool) -> Result<(), EditError> {
        for round in 0..ROUNDS {
            let displaced = like.displaced().chain(Graph::displaced(self)).map(|(field, _)| field.clone());
            let mut moved = Vec::new();
            for field in displaced.collect::<BTreeSet<Field>>() {
                let [now, then] = [&**self, like].map(|graph| graph.tree_in(field.as_bytes()));
                let jumped = now.changed_since(then).into_iter().filter(|node| {
                    let is_written = || self.tree_claims(&field, *node).0 != like.tree_claims(&field, *node).0;
                    now.contains(*node) && (now.spot(*node).is_none() || !(free && is_written()))
                });
                let kept = jumped.filter_map(|node| {
                    // The node goes to the top if it showed nowhere, or would close a circle again.
                    let at_top = || self.tree_claims(&field, node).0.into_iter().next();
                    let at_top = || at_top().map(|claim| Spot { parent: None, ..claim.spot });
                    let showed = then.spot(node).filter(|_| round < ROUNDS / 2).cloned();
                    Some((node, showed.or_else(at_top)?))
                });
                let payload = |spot| Placing { spot, from: None }.to_payload();
                moved.extend(kept.map(|(node, spot)| (keys::node(node), field.clone(), payload(spot))));
            }
            if moved.is_empty() {
                break;
            }
            self.write_all(moved)?;
        }
        Ok(())
    }

    /// Writes down the nodes that would jump if a node went, in each tree. See [`TreeMut::put`].
    pub(in crate::graph) fn keep_tree_without(&mut self, node: NodeId) -> Result<(), EditError> {
        let cells = self.state().cells(keys::node(node)).into_iter();
        let places = cells.flat_map(|cells| cells.named(PLACES)).filter(|(_, sibling)| sibling.is_live());
        let mut fields: Vec<Field> = places.map(|(field, _)| field.clone()).collect();
        fields.dedup();
        fields.into_iter().try_for_each(|field| keep_others(self, &field, node, &Claims::new()))
    }
}

impl TreeMut<'_, '_> {
    /// Puts a node that is there somewhere in the tree, or moves it there with all that is under it. One write.
    ///
    /// The node shows there at once, and no other moves. If it is in a [circle](crate::ConflictKind::Circle) that was broken at
    /// another node, those that would jump because of that are written down where they show, one write each; of more than 64
    /// nodes that are displaced around it, all are. One that is [detached](Tree::detached) is then written down at the top.
    /// Where there is no room between two siblings, since that place was split 256 times in a row, ever deeper, or their
    /// positions are equal, these siblings are put anew where they are.
    ///
    /// O(log n); for a node with children O(depth), to see that the place is not under the node itself. Around a circle
    /// O(log n) for each node of it and around it, a few times over.
    ///
    /// # Errors
    ///
    /// The node, or the parent that it would have, is not there ([`EditError::NoNode`]); a sibling shows nowhere in the tree
    /// ([`EditError::NotInTree`]); or the place is under the node ([`EditError::UnderItself`]).
    ///
    /// ```
    /// use driftless::{Graph, Replica, TreePlace};
    /// let mut replica = Replica::<Graph>::new();
    /// replica.edit(|g| {
    ///     let [plan, tea, cake] = [g.add_node("plan")?, g.add_node("tea")?, g.add_node("cake")?];
    ///     let mut tree = g.tree_mut("outline");
    ///     tree.put(plan, TreePlace::Last)?;
    ///     tree.put(tea, TreePlace::LastIn(plan))?;
    ///     tree.put(cake, TreePlace::Before(tea))?;
    ///     let under_plan: Vec<_> = tree.read().children(plan).collect();
    ///     assert_eq!(under_plan, [cake, tea]);
    ///     assert!(tree.put(plan, TreePlace::LastIn(tea)).is_err());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), driftless::EditError>(())
    /// ```
    pub fn put(&mut self, node: NodeId, place: TreePlace) -> Result<(), EditError> {
        self.edit.require(Owner::Node(node))?;
        let (parent, sibling) = match place {
            TreePlace::First | TreePlace::Last => (None, None),
            TreePlace::FirstIn(parent) | TreePlace::LastIn(parent) => (Some(parent), None),
            TreePlace::Before(sibling) | TreePlace::After(sibling) => {
                let spot = self.read().spot(sibling);
                let not_there = || EditError::NotInTree { tree: self.name.clone(), node: sibling };
                (spot.ok_or_else(not_there)?.parent, Some(sibling))
            }
        };
        parent.map_or(Ok(()), |parent| self.edit.require(Owner::Node(parent)))?;
        self.check_above(node, parent)?;
        if sibling == Some(node) {
            return Ok(());
        }
        // The node may show elsewhere already once others are written down.
        let was = self.claim(node);
        let then = self.anywhere_in(parent, was.clone())?;
        keep_others(self.edit, &self.field, node, &then)?;
        let tree = self.read();
        let (before, after) = match place {
            TreePlace::First | TreePlace::FirstIn(_) => (None, tree.beside(parent, None, true, node)),
            TreePlace::Last | TreePlace::LastIn(_) => (tree.beside(parent, None, false, node), None),
            TreePlace::Before(sibling) => (tree.beside(parent, Some(sibling), false, node), Some(sibling)),
            TreePlace::After(sibling) => (Some(sibling), tree.beside(parent, Some(sibling), true, node)),
        };
        self.write_between((node, was), parent, before, after)
    }

    /// A parent must not be the node itself or under it. What nothing is under is above nothing.
    fn check_above(&self, node: NodeId, parent: Option<NodeId>) -> Result<(), EditError> {
        let Some(parent) = parent else { return Ok(()) };
        let tree = self.read();
        let is_above = || tree.children(node).next().is_some() && tree.ancestors(parent).any(|above| above == node);
        match parent == node || is_above() {
            true => Err(EditError::UnderItself { tree: self.name.clone(), node, parent }),
            false => Ok(()),
        }
    }

    /// Puts a node that is there where somebody has put it already, as that was spelled, and leaves all others where they show. The
    /// parent may be missing.
    pub(crate) fn put_as(&mut self, node: NodeId, placing: Placing) -> Result<(), EditError> {
        self.check_above(node, placing.spot.parent)?;
        let rank = (Stamp::from_bits(u64::MAX), Dot { writer: self.edit.writer()?, counter: u64::MAX });
        let mut then: Claims = [Claim { spot: placing.spot.clone(), rank }].into_iter().collect();
        then.extend(placing.from.clone().map(|(spot, stamp)| Claim { spot, rank: (stamp, rank.1) }));
        keep_others(self.edit, &self.field, node, &then)?;
        self.edit.write_to(Owner::Node(node), self.field.as_bytes(), placing.to_payload())
    }

    /// Takes a node out of the tree: it stays in the graph, and what is under it stays under it. Returns whether it had a place; if
    /// not, nothing is written. A move elsewhere at the same time beats it.
    pub fn take_out(&mut self, node: NodeId) -> Result<bool, EditError> {
        if !self.read().contains(node) {
            return Ok(false);
        }
        keep_others(self.edit, &self.field, node, &Claims::new())?;
        self.edit.erase(keys::node(node), self.field.as_bytes())
    }

    /// Deletes a node and all that shows under it from the graph: one write each, and those of [`put`](Self::put) around circles. Returns
    /// how many were there.
    ///
    /// A node that somebody puts under one of them at the same time stays, as an [orphan](Tree::orphans). Edges dangle: see
    /// [`remove_node`](Edit::remove_node), which leaves what is under a node as orphans.
    pub fn remove_with_descendants(&mut self, node: NodeId) -> Result<usize, EditError> {
        let under: Vec<NodeId> = self.read().walk_from(node).map(|step| step.node).collect();
        // From below: what is deleted is under nothing that is missing meanwhile.
        under.into_iter().rev().try_fold(0, |gone, node| Ok(gone + usize::from(self.edit.remove_node(node)?)))
    }

    /// The tree as it is now, with what this edit has done.
    pub fn read(&self) -> Tree<'_> {
        self.edit.tree_in(self.field.as_bytes())
    }

    /// The claim that a node follows.
    fn claim(&self, node: NodeId) -> Option<Claim> {
        let (mut claims, passed_over) = self.edit.tree_claims(&self.field, node);
        (passed_over < claims.len()).then(|| claims.swap_remove(passed_over))
    }

    fn neighbour(&self, node: NodeId) -> Option<Neighbour> {
        let claim = self.claim(node)?;
        Some(Neighbour { position: claim.spot.position()?, dot: claim.rank.1 })
    }

    /// Puts a node, with the claim that it followed, between two siblings.
    fn write_between(
        &mut self,
        (moved, was): (NodeId, Option<Claim>),
        parent: Option<NodeId>,
        before: Option<NodeId>,
        after: Option<NodeId>,
    ) -> Result<(), EditError> {
        let mut places = match self.positions(before, after, 1)? {
            Some(bytes) => bytes.into_iter().zip([moved]).collect(),
            None => Vec::new(),
        };
        if places.is_empty() {
            let (before, siblings, after) = self.crowded(moved, before, after);
            for sibling in siblings.iter().filter(|sibling| **sibling != moved) {
                let then = self.anywhere_in(parent, self.claim(*sibling))?;
                keep_others(self.edit, &self.field, *sibling, &then)?;
            }
            let bytes = self.positions(before, after, siblings.len())?;
            let bytes =
                bytes.ok_or_else(|| EditError::abort("no place is left between these siblings; move one of them"))?;
            places.extend(bytes.into_iter().zip(siblings));
        }
        for (position, node) in places {
            let from = if node == moved { was.clone() } else { self.claim(node) };
            let from = from.filter(|_| !is(Bug::MoveForgetsFrom));
            let from = from.map(|claim| (claim.spot, claim.rank.0));
            let placing = Placing { spot: Spot::new(parent, &position), from };
            self.edit.write_to(Owner::Node(node), self.field.as_bytes(), placing.to_payload())?;
        }
        Ok(())
    }

    /// The bytes of positions between two siblings for nodes that are written next; `None` if there is no room.
    fn positions(
        &mut self,
        before: Option<NodeId>,
        after: Option<NodeId>,
        len: usize,
    ) -> Result<Option<Vec<PositionBytes>>, EditError> {
        let writer = self.edit.writer()?;
        let next = Dot { writer, counter: self.edit.last_counter() + 1 };
        let [a, b] = [before, after].map(|sibling| sibling.and_then(|node| self.neighbour(node)));
        // Between two that tie there is nothing: forged ones, or of two bunches under one tag.
        let is_room = a.as_ref().zip(b.as_ref()).is_none_or(|(a, b)| a.position < b.position);
        let positions = if is_room { between(a.as_ref(), b.as_ref(), None, next, len) } else { Vec::new() };
        let spelled = positions.iter().map(|position| position.to_bytes().filter(|_| position.depth() <= MAX_STEPS));
        Ok(spelled.collect::<Option<Vec<_>>>().filter(|spelled| spelled.len() == len))
    }

    /// A node that is put between two siblings among those around it whose positions leave no room; and the siblings beside these.
    fn crowded(
        &self,
        node: NodeId,
        before: Option<NodeId>,
        after: Option<NodeId>,
    ) -> (Option<NodeId>, Vec<NodeId>, Option<NodeId>) {
        let tree = self.read();
        let beside = |of: NodeId, is_after| tree.beside(tree.parent(of), Some(of), is_after, node);
        let is_crowded = |of: &NodeId| {
            let ties = |other| tree.spot(other).map(|spot| &spot.position) == tree.spot(*of).map(|spot| &spot.position);
            let leaves_room = tree.spot(*of).and_then(Spot::position).is_some_and(|position| position.leaves_room());
            !leaves_room || [false, true].into_iter().filter_map(|is_after| beside(*of, is_after)).any(ties)
        };
        let [(mut left, before), (right, after)] = [(before, false), (after, true)].map(|(first, is_after)| {
            let mut way = std::iter::successors(first, |at| beside(*at, is_after)).peekable();
            let crowded: Vec<NodeId> = std::iter::from_fn(|| way.next_if(is_crowded)).collect();
            (crowded, way.next())
        });
        left.reverse();
        left.push(node);
        left.extend(right);
        (before, left, after)
    }

    /// The claims of a node once it is put somewhere under a parent: the position follows from the dot, which is not made yet.
    fn anywhere_in(&mut self, parent: Option<NodeId>, was: Option<Claim>) -> Result<Claims, EditError> {
        let rank = (Stamp::from_bits(u64::MAX), Dot { writer: self.edit.writer()?, counter: u64::MAX });
        let mut then: Claims = [Claim { spot: Spot::new(parent, &[]), rank }].into_iter().collect();
        then.extend(was.map(|claim| Claim { rank: (claim.rank.0, rank.1), ..claim }));
        Ok(then)
    }
}

impl std::fmt::Debug for TreeMut<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeMut").field("name", &self.name).field("tree", &self.read()).finish()
    }
}

/// The number of times that trees are looked at: writing a node down may free others from circles.
const ROUNDS: usize = 4;

/// The most displaced nodes among which those are looked for that a move would make jump; of more, all are written down.
const FEW: usize = 64;

/// Writes down where they show the nodes that would show elsewhere if the claims of a node were these: a circle that it is in, and
/// that was broken elsewhere, would be none. And those because of which it would not show at the first of its claims.
fn keep_others(edit: &mut Edit<'_, Graph>, field: &Field, node: NodeId, then: &Claims) -> Result<(), EditError> {
    if is(Bug::MovesOthers) {
        return Ok(());
    }
    let tree = edit.tree_in(field.as_bytes());
    let Some((index, knot)) = tree.index().and_then(|index| Some((index, index.knot(node)?))) else { return Ok(()) };
    let displaced: Vec<NodeId> =
        knot.iter().copied().filter(|n| index.claims_passed_over(*n) > 0 && *n != node).collect();
    let mut kept: BTreeMap<NodeId, Spot> = BTreeMap::new();
    for round in 0.. {
        let mut trial = index.clone();
        let changed: Vec<NodeId> = kept.keys().copied().chain([node]).collect();
        trial.change(&changed, |other| match kept.get(&other) {
            _ if other == node => then.clone(),
            // The latest of all, as it will be.
            Some(spot) => claims_in(edit.state(), field, other)
                .first()
                .map(|claim| Claim { spot: spot.clone(), rank: (Stamp::from_bits(u64::MAX), claim.rank.1) })
                .into_iter()
                .collect(),
            None => claims_in(edit.state(), field, other),
        });
        let shows = |node: NodeId| trial.shown(node).flatten();
        let is_moved = |other: &&NodeId| match kept.get(*other) {
            Some(spot) => shows(**other) != Some(spot),
            None => trial.shown(**other) != index.shown(**other),
        };
        let mut others = knot.iter().filter(|other| **other != node);
        if trial.claims_passed_over(node) == 0 && !others.any(|other| is_moved(&other)) {
            break;
        }
        let moved: Vec<NodeId> = displaced.iter().filter(is_moved).copied().collect();
        // Each round looks at the whole knot: what would not be found soon is not looked for.
        let is_enough = round < 2 && displaced.len() <= FEW && moved.iter().any(|other| !kept.contains_key(other));
        let more = if is_enough { &moved } else { &displaced };
        let before = kept.len();
        // A detached node shows at the top from now on.
        let name = tree_of(field).unwrap_or_default();
        kept.extend(more.iter().filter_map(|other| Some((*other, edit.shown_place(name, *other)?.spot))));
        if kept.len() == before {
            break;
        }
    }
    let payload = |spot| Placing { spot, from: None }.to_payload();
    // Together, since each of them has the tree look at the whole knot.
    edit.write_all(kept.into_iter().map(|(other, spot)| (keys::node(other), field.clone(), payload(spot))))
}
