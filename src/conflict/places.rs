//! Conflicts of places in trees, and how they are settled.

use crate::conflict::list::Source;
use crate::conflict::nested::Dots;
use crate::conflict::resolve::{Outcome, Settling, Write};
use crate::conflict::{Candidate, Conflict, ConflictKind, Content, Resolution};
use crate::document::Path;
use crate::error::EditError;
use crate::graph::{Claim, Owner, Placing, owner_of, place_in, tree_of};
use crate::id::NodeId;
use crate::kernel::{Entity, Field, SiblingRef};

impl<'a> Source<'a> {
    /// The places of a node that do not show, or show under what is not there.
    pub(super) fn places(self, entity: Entity) -> impl Iterator<Item = Conflict<'a>> {
        let of_node = self.graph.and_then(|graph| Some((graph, node_of(entity)?, self.state.cells(entity)?)));
        of_node.into_iter().flat_map(move |(graph, node, cells)| {
            let mut fields: Vec<&Field> = cells.named(place_in("")).map(|(field, _)| field).collect();
            fields.dedup();
            fields.into_iter().flat_map(move |field| {
                let parent = tree_of(field).and_then(|tree| graph.tree(tree).parent(node));
                let orphaned = parent.and_then(|parent| self.orphaned(field, parent, node));
                self.displaced(field, node).into_iter().chain(orphaned)
            })
        })
    }

    /// A node that does not show at its latest place in a tree.
    pub(super) fn displaced(self, field: &'a Field, node: NodeId) -> Option<Conflict<'a>> {
        let (claims, passed_over) = self.graph?.tree_claims(field, node);
        if passed_over == 0 {
            return None;
        }
        let tree = tree_of(field)?;
        let kind = match claims.get(passed_over) {
            Some(_) => ConflictKind::Circle { tree: tree.to_owned() },
            None => ConflictKind::Detached { tree: tree.to_owned() },
        };
        let shown_first = claims.get(passed_over).into_iter().chain(&claims[..passed_over]);
        // Concurrent places that it has not come to are in no other conflict.
        let siblings = self.state.cells(Owner::Node(node).entity())?.live(field.as_bytes());
        let siblings = siblings.filter(|sibling| sibling.payload.and_then(Placing::of).is_some()).count();
        let others = claims.get(passed_over + 1..siblings).unwrap_or_default();
        let candidates: Vec<_> = shown_first.chain(others).map(|claim| place(tree, claim)).collect();
        // Claims that are passed over count twice: others' writes may change which they are.
        let passed_over = claims[..passed_over].iter().map(|claim| claim.rank.1);
        let dots = candidates.iter().map(|candidate| candidate.dot).chain(passed_over).collect();
        self.conflict(kind, Owner::Node(node).entity(), Path::default(), candidates, dots)
    }

    /// A node that shows under one that is not there.
    pub(super) fn orphaned(self, field: &'a Field, missing: NodeId, node: NodeId) -> Option<Conflict<'a>> {
        let graph = self.graph?;
        let tree = tree_of(field)?;
        if graph.contains_node(missing) || graph.tree(tree).parent(node) != Some(missing) {
            return None;
        }
        let (mut claims, passed_over) = graph.tree_claims(field, node);
        let claim = (passed_over < claims.len()).then(|| claims.swap_remove(passed_over))?;
        let kind = ConflictKind::Orphaned { tree: tree.to_owned(), missing };
        let dots = [claim.rank.1].into_iter().collect();
        self.conflict(kind, Owner::Node(node).entity(), Path::default(), vec![place(tree, &claim)], dots)
    }

    /// A node that was moved to several places of a tree. If it does not show at the latest, it is in a circle.
    pub(super) fn moved(
        self,
        entity: Entity,
        field: &'a Field,
        siblings: Vec<SiblingRef<'a>>,
        dots: Dots,
    ) -> Option<Conflict<'a>> {
        let (graph, tree) = (self.graph?, tree_of(field)?);
        let placings = siblings.iter().filter_map(|s| Some((*s, Placing::of(s.payload?)?)));
        let places: Vec<_> = placings.map(|(sibling, placing)| (placing.spot, sibling)).collect();
        let (first, rest) = places.split_first()?;
        let is_moved = rest.iter().any(|(spot, _)| *spot != first.0);
        if !is_moved || node_of(entity).is_none_or(|node| graph.tree_claims(field, node).1 > 0) {
            return None;
        }
        let content = |parent| Content::Place { tree, parent };
        let candidates = places.iter().map(|(spot, sibling)| Candidate::new(content(spot.parent), *sibling)).collect();
        let kind = ConflictKind::ConcurrentMove { tree: tree.to_owned() };
        self.conflict(kind, entity, Path::default(), candidates, dots)
    }
}

impl Settling<'_, '_> {
    /// Writes the place that is chosen again, as its writer spelled it.
    pub(super) fn moves<'v>(&self, tree: &str, resolution: &Resolution<'_>) -> Result<Outcome<'v>, EditError> {
        let field = place_in(tree);
        let chosen = match resolution {
            Resolution::MergeFields => self.conflict.winner(),
            _ => self.chosen(resolution)?,
        };
        let placing =
            chosen.and_then(|candidate| self.cells?.get(&field, candidate.dot)?.payload).and_then(Placing::of);
        let (Some(placing), Some(Owner::Node(node))) = (placing, self.conflict.of) else {
            return Err(self.does_not_fit(resolution, "there are places to choose from"));
        };
        let shows = chosen.map(|candidate| candidate.dot) == self.conflict.winner().map(|winner| winner.dot);
        let write = Write::Place { tree: tree.to_owned(), node, placing };
        Ok(if shows { Outcome::Shows(write) } else { Outcome::Write(write) })
    }

    /// Writes down where a node shows; at the top, if it shows nowhere. Everybody who sees the same writes the same.
    pub(super) fn displaced<'v>(&self, tree: &str, resolution: &Resolution<'_>) -> Result<Outcome<'v>, EditError> {
        match (resolution, self.source.graph, self.conflict.of) {
            (Resolution::Confirm, Some(graph), Some(Owner::Node(node)))
                if let Some(placing) = graph.shown_place(tree, node) =>
            {
                Ok(Outcome::Shows(Write::Place { tree: tree.to_owned(), node, placing }))
            }
            _ => Err(self.does_not_fit(resolution, "where the node shows can be confirmed, or the node put elsewhere")),
        }
    }
}

/// A claim of a place as a candidate.
fn place<'a>(tree: &'a str, claim: &Claim) -> Candidate<'a> {
    let (content, (stamp, dot)) = (Content::Place { tree, parent: claim.spot.parent }, claim.rank);
    Candidate { content, dot, stamp, device: None }
}

pub(super) fn node_of(entity: Entity) -> Option<NodeId> {
    match owner_of(entity)? {
        Owner::Node(node) => Some(node),
        Owner::Edge(_) => None,
    }
}
