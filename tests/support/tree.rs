//! Random schedules over a tree, against the reading rule by its definition.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::kernel::{Entity, Payload};
use driftless::testing::{TestEnvironment, same};
use driftless::{
    ConflictKind, Crdt, Delta, Dot, EditError, Graph, NodeId, Prune, Replica, Resolution, Stamp, TreePlace, UndoStack,
};
use proptest::prelude::*;

pub(crate) const TREE: &str = "outline";
pub(crate) const NODES: u8 = 8;

pub(crate) fn node(n: u8) -> NodeId {
    NodeId::named(&name(n))
}

pub(crate) fn name(n: u8) -> String {
    format!("node {n}")
}

// ---- the reading rule, by its definition, from the cells and by a reader of its own ----

/// A place that a node may show at: the parent, the bytes of the position, the rank.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Claim {
    parent: Option<NodeId>,
    position: Vec<u8>,
    rank: (Stamp, Dot),
}

const POSITIONS: [&[u8]; 5] = [
    &[0x40, 0, 0, 1, 0x80],
    &[0x40, 0, 0, 1, 0x7f],
    &[0x80, 0, 0, 1, 0x80, 0x40, 0, 0, 1, 0x80],
    // The least and the greatest that can be spelled in one step.
    &[0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0, 0, 0, 0, 0, 0],
    &[0xde, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
];

/// A place that is well-formed, in bytes.
fn forged(parent: u8, position: u8, from: u8) -> Payload {
    let node = |n: u8| match n % 12 {
        n @ 0..NODES => Some(node(n)),
        // One that is nowhere.
        8 => Some(NodeId::named("nobody")),
        _ => None,
    };
    let at = |n: u8| POSITIONS[usize::from(n) % POSITIONS.len()];
    let (parent, before) = (node(parent), node(from));
    let mut bytes = vec![u8::from(parent.is_some())];
    bytes.extend(parent.iter().flat_map(|parent| *parent.as_bytes()));
    if !from.is_multiple_of(3) {
        bytes[0] |= 2 | u8::from(before.is_some()) << 2;
        bytes.extend(before.iter().flat_map(|parent| *parent.as_bytes()));
        let stamp = [0, u64::MAX, (1_000_000 + u64::from(position)) << 16][usize::from(position / 5) % 3];
        bytes.extend(stamp.to_be_bytes());
        let position = at(position / 7);
        bytes.extend([0, position.len() as u8]);
        bytes.extend(position);
    }
    bytes.extend(at(position));
    Payload::new(22, &bytes)
}

type Shown = BTreeMap<NodeId, Option<(Option<NodeId>, Vec<u8>)>>;

fn spot(bytes: &mut &[u8], has_parent: bool) -> Option<NodeId> {
    has_parent.then(|| {
        let (id, rest) = bytes.split_first_chunk::<16>().unwrap();
        *bytes = rest;
        NodeId::from(*id)
    })
}

fn claims_of(payload: &[u8], rank: (Stamp, Dot)) -> (Claim, Option<Claim>) {
    let (flags, mut bytes) = payload.split_first().unwrap();
    let parent = spot(&mut bytes, flags & 1 != 0);
    let from = (flags & 2 != 0).then(|| {
        let parent = spot(&mut bytes, flags & 4 != 0);
        let stamp = u64::from_be_bytes(bytes[..8].try_into().unwrap());
        let len = usize::from(bytes[8]) << 8 | usize::from(bytes[9]);
        let position = bytes[10..10 + len].to_vec();
        bytes = &bytes[10 + len..];
        Claim { parent, position, rank: (Stamp::from_bits(stamp), rank.1) }
    });
    (Claim { parent, position: bytes.to_vec(), rank }, from)
}

fn claims(graph: &Graph, tree: &str) -> BTreeMap<NodeId, Vec<Claim>> {
    let (mut first, mut past) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
    let field = [b"\x05", tree.as_bytes()].concat();
    for (entity, of, sibling) in graph.state().live_siblings() {
        let node = NodeId::from(*entity.id());
        if entity.kind() == 1 && of.as_bytes() == field && graph.contains_node(node) {
            let (claim, from) = claims_of(sibling.payload.unwrap().bytes(), (sibling.stamp, sibling.dot));
            first.entry(node).or_default().push(claim);
            past.entry(node).or_default().extend(from);
        }
    }
    for (node, claims) in &mut first {
        let past = past.get_mut(node).unwrap();
        claims.sort_by_key(|claim| std::cmp::Reverse(claim.rank));
        past.sort_by_key(|claim| std::cmp::Reverse(claim.rank));
        claims.append(past);
    }
    first
}

/// The tree that shows, and the number of claims of each node that do not: the seed chooses the order of breaking circles.
fn definition(claims: &BTreeMap<NodeId, Vec<Claim>>, mut seed: u64) -> (Shown, BTreeMap<NodeId, usize>) {
    let mut at: BTreeMap<NodeId, usize> = claims.keys().map(|node| (*node, 0)).collect();
    loop {
        let claim = |at: &BTreeMap<NodeId, usize>, node: &NodeId| claims[node].get(at[node]).cloned();
        let mut nodes: Vec<NodeId> = at.keys().copied().collect();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let turn = (seed >> 33) as usize % nodes.len().max(1);
        nodes.rotate_left(turn);
        let circle = nodes.iter().find_map(|start| {
            let (mut trail, mut here) = (Vec::new(), Some(*start));
            while let Some(node) = here.filter(|node| at.contains_key(node)) {
                if let Some(from) = trail.iter().position(|seen| *seen == node) {
                    return Some(trail.split_off(from));
                }
                trail.push(node);
                here = claim(&at, &node).and_then(|claim| claim.parent);
            }
            None
        });
        let Some(circle) = circle else {
            let shown = at.keys().map(|node| (*node, claim(&at, node).map(|claim| (claim.parent, claim.position))));
            return (shown.collect(), at);
        };
        let latest = circle.into_iter().max_by_key(|node| claim(&at, node).unwrap().rank).unwrap();
        *at.get_mut(&latest).unwrap() += 1;
    }
}

/// Everything that a graph tells of a tree, against the definition.
pub(crate) fn check(graph: &Graph, seed: u64) -> Result<(), String> {
    graph.check_invariants()?;
    let claims = claims(graph, TREE);
    let (shown, passed_over) = definition(&claims, seed);
    let tree = graph.tree(TREE);
    same("nodes in the tree", tree.len(), shown.len())?;
    same(
        "trees",
        graph.trees().map(str::to_owned).collect(),
        if shown.is_empty() { vec![] } else { vec![TREE.to_owned()] },
    )?;
    let mut under: BTreeMap<Option<NodeId>, Vec<(&[u8], NodeId)>> = BTreeMap::new();
    for (node, spot) in &shown {
        let parent = spot.as_ref().and_then(|(parent, _)| *parent);
        same(format!("parent of {node}"), tree.parent(*node), parent)?;
        same(
            format!("{node} is at the top"),
            tree.is_top(*node),
            spot.as_ref().is_some_and(|(parent, _)| parent.is_none()),
        )?;
        if let Some((parent, position)) = spot {
            under.entry(*parent).or_default().push((position, *node));
        }
    }
    for (parent, children) in &mut under {
        children.sort();
        let expected: Vec<NodeId> = children.iter().map(|(_, node)| *node).collect();
        let found: Vec<NodeId> = match parent {
            Some(parent) => tree.children(*parent).collect(),
            None => tree.tops().filter(|node| tree.contains(*node)).collect(),
        };
        same(format!("under {parent:?}"), found, expected.clone())?;
        for pair in expected.windows(2) {
            same("next sibling", tree.next_sibling(pair[0]), Some(pair[1]))?;
            same("previous sibling", tree.previous_sibling(pair[1]), Some(pair[0]))?;
        }
        same("the first has none before it", tree.previous_sibling(expected[0]), None)?;
    }
    // Every node is met once: from a top, a detached one, a missing parent or one without a place.
    let detached: Vec<NodeId> = shown.iter().filter(|(_, spot)| spot.is_none()).map(|(node, _)| *node).collect();
    same("detached", tree.detached().collect(), detached.clone())?;
    let unplaced: BTreeSet<NodeId> = under.keys().flatten().filter(|node| !shown.contains_key(node)).copied().collect();
    let missing: BTreeSet<NodeId> = unplaced.iter().filter(|node| !graph.contains_node(**node)).copied().collect();
    same("unplaced", tree.unplaced().collect::<BTreeSet<_>>(), &unplaced - &missing)?;
    same("missing", tree.orphans().map(|(missing, _)| missing).collect::<BTreeSet<_>>(), missing.clone())?;
    let from_others = detached.iter().chain(&missing).flat_map(|node| tree.walk_from(*node).map(|step| step.node));
    let mut met: Vec<NodeId> = tree.walk().map(|step| step.node).chain(from_others).collect();
    met.retain(|node| !unplaced.contains(node));
    met.sort();
    same("nodes met by walking", met, shown.keys().copied().collect())?;
    for step in tree.walk() {
        same("depth", step.depth, tree.ancestors(step.node).count())?;
        let path = tree.path(step.node);
        same("path", (path.len(), path.last().copied()), (step.depth + 1, Some(step.node)))?;
    }
    // The one list.
    let listed = |is_it: fn(&ConflictKind) -> bool| {
        // Conflicts of deleted nodes are hidden, and in no tree.
        let all = graph.conflicts().filter(move |conflict| is_it(&conflict.kind) && !conflict.is_hidden);
        all.map(|conflict| conflict.of.unwrap()).collect::<Vec<_>>()
    };
    let owners = |nodes: Vec<NodeId>| nodes.into_iter().map(Into::into).collect::<Vec<_>>();
    let circles = passed_over.iter().filter(|(node, at)| (1..claims[node].len()).contains(at)).map(|(node, _)| *node);
    same("circles", listed(|kind| matches!(kind, ConflictKind::Circle { .. })), owners(circles.collect()))?;
    same("listed as detached", listed(|kind| matches!(kind, ConflictKind::Detached { .. })), owners(detached))?;
    let orphans = missing.iter().flat_map(|parent| tree.children(*parent)).collect();
    same("listed as orphans", listed(|kind| matches!(kind, ConflictKind::Orphaned { .. })), owners(orphans))?;
    let moves: Vec<NodeId> = claims
        .iter()
        .filter(|(node, claims)| {
            let entity = Entity::new(1, *node.as_bytes());
            let siblings = graph.state().cells(entity).unwrap().live(b"\x05outline").count();
            let first = &claims[0];
            let differs = |claim: &Claim| (claim.parent, &claim.position) != (first.parent, &first.position);
            passed_over[node] == 0 && claims[..siblings].iter().any(differs)
        })
        .map(|(node, _)| *node)
        .collect();
    same("concurrent moves", listed(|kind| matches!(kind, ConflictKind::ConcurrentMove { .. })), owners(moves))?;
    for conflict in graph.conflicts() {
        let again = graph.conflicts_of(conflict.of.unwrap()).filter(|other| other.id == conflict.id).count();
        same("a conflict is listed once with its node", again, 1)?;
        let _ = conflict.to_string();
    }
    let ids: BTreeSet<_> = graph.conflicts().map(|conflict| conflict.id).collect();
    same("ids of conflicts are different", ids.len(), graph.conflicts().count())
}

// ---- random schedules ----

#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Adds a node, if it is not there, and puts it somewhere.
    Add(u8, u8, u8),
    Move(u8, u8, u8),
    TakeOut(u8),
    Remove(u8),
    RemoveWithDescendants(u8),
    Restore(u8),
    /// Several moves, and then nothing of them.
    Fail(u8, u8),
    /// Goes back to what was kept.
    Revert,
    Keep,
    Undo,
    Redo,
    Settle(u8, u8),
    Prune,
    Restart,
    RestoreBackup,
    Tick(u16),
    /// Sends what another lacks: to it, or astray.
    Send(u8, bool),
    SendAll(u8),
    Arrive(u8, bool),
    /// A place that nobody would write: any parent, a position that others have or at the end of what can be spelled, and any place before
    /// with any stamp.
    Forge(u8, u8, u8, u8),
}

pub(crate) fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let n = || 0..NODES;
    let byte = any::<u8>;
    let act = prop_oneof![
        5 => (n(), byte(), byte()).prop_map(|(n, k, to)| Act::Add(n, k, to)),
        40 => (n(), byte(), byte()).prop_map(|(n, k, to)| Act::Move(n, k, to)),
        1 => n().prop_map(Act::TakeOut),
        2 => n().prop_map(Act::Remove),
        1 => n().prop_map(Act::RemoveWithDescendants),
        2 => n().prop_map(Act::Restore),
        1 => (n(), byte()).prop_map(|(n, k)| Act::Fail(n, k)),
        1 => Just(Act::Revert),
        1 => Just(Act::Keep),
        2 => Just(Act::Undo),
        1 => Just(Act::Redo),
        3 => (byte(), byte()).prop_map(|(which, how)| Act::Settle(which, how)),
        1 => Just(Act::Prune),
        1 => Just(Act::Restart),
        1 => Just(Act::RestoreBackup),
        2 => (0..300u16).prop_map(Act::Tick),
        5 => (0..3u8, any::<bool>()).prop_map(|(to, astray)| Act::Send(to, astray)),
        3 => (0..3u8).prop_map(Act::SendAll),
        6 => (byte(), any::<bool>()).prop_map(|(which, stays)| Act::Arrive(which, stays)),
        2 => (n(), byte(), byte(), byte()).prop_map(|(n, parent, position, from)| Act::Forge(n, parent, position, from)),
    ];
    prop::collection::vec((0..3usize, act), 1..90)
}

struct Site {
    replica: Replica<Graph>,
    clock: Arc<AtomicU64>,
    backup: Vec<u8>,
    kept: Graph,
    undo: UndoStack<Graph>,
}

struct World {
    sites: Vec<Site>,
    flight: Vec<(usize, Delta)>,
    openings: u64,
    seen: BTreeMap<&'static str, u32>,
}

/// A place that somebody may ask for.
fn place(k: u8, to: u8) -> TreePlace {
    let to = node(to % NODES);
    match k % 12 {
        0 => TreePlace::First,
        1 => TreePlace::Last,
        2 => TreePlace::Before(to),
        3 => TreePlace::After(to),
        4..8 => TreePlace::FirstIn(to),
        _ => TreePlace::LastIn(to),
    }
}

/// The spot that a node is asked to show at: the parent, and the siblings before and after it, itself left out.
fn wanted(graph: &Graph, of: NodeId, place: TreePlace) -> (Option<NodeId>, Vec<NodeId>, usize) {
    let tree = graph.tree(TREE);
    let parent = match place {
        TreePlace::First | TreePlace::Last => None,
        TreePlace::FirstIn(parent) | TreePlace::LastIn(parent) => Some(parent),
        TreePlace::Before(sibling) | TreePlace::After(sibling) => tree.parent(sibling),
    };
    let mut siblings: Vec<NodeId> = match parent {
        Some(parent) => tree.children(parent).collect(),
        None => tree.tops().filter(|node| tree.contains(*node)).collect(),
    };
    siblings.retain(|sibling| *sibling != of);
    let at = |of: NodeId| siblings.iter().position(|sibling| *sibling == of).unwrap_or(0);
    let index = match place {
        TreePlace::First | TreePlace::FirstIn(_) => 0,
        TreePlace::Last | TreePlace::LastIn(_) => siblings.len(),
        TreePlace::Before(sibling) => at(sibling),
        TreePlace::After(sibling) => at(sibling) + 1,
    };
    (parent, siblings, index)
}

fn parents(graph: &Graph) -> BTreeMap<NodeId, Option<NodeId>> {
    let tree = graph.tree(TREE);
    let detached: BTreeSet<NodeId> = tree.detached().collect();
    // A node that shows nowhere may be written down somewhere.
    let placed = (0..NODES).map(node).filter(|node| tree.contains(*node) && !detached.contains(node));
    placed.map(|node| (node, tree.parent(node))).collect()
}

impl World {
    fn new() -> Self {
        let sites = (0..3).map(|seed| {
            let environment = TestEnvironment::new(seed);
            let clock = environment.clock();
            // One clock runs ahead.
            clock.fetch_add(seed * 40, Ordering::Relaxed);
            let replica = Replica::with_environment(environment);
            Site { backup: replica.save(), kept: replica.snapshot(), replica, clock, undo: UndoStack::new() }
        });
        Self { sites: sites.collect(), flight: Vec::new(), openings: 3, seen: BTreeMap::new() }
    }

    /// A tree that all know.
    fn begin(&mut self) {
        for n in 0..5 {
            self.act(0, &Act::Add(n, 3, n.wrapping_sub(1))).unwrap();
        }
        for n in 0..5 {
            self.act(0, &Act::Move(n, 4, n / 2)).unwrap();
        }
        self.exchange().unwrap();
        for site in &mut self.sites {
            (site.backup, site.kept) = (site.replica.save(), site.replica.snapshot());
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn act(&mut self, at: usize, act: &Act) -> Result<(), String> {
        // Time goes on everywhere, so that not all stamps tie.
        self.sites.iter().for_each(|site| _ = site.clock.fetch_add(1, Ordering::Relaxed));
        let site = &mut self.sites[at];
        let before = site.replica.snapshot();
        match act {
            Act::Add(n, k, to) => {
                site.undo.edit(&mut site.replica, |g| g.add_node(&name(*n)).map(drop)).unwrap();
                if !before.tree(TREE).contains(node(*n)) {
                    return self.act(at, &Act::Move(*n, *k, *to));
                }
            }
            Act::Move(n, k, to) => {
                let (of, place) = (node(*n), place(*k, *to));
                let (parent, siblings, index) = wanted(&before, of, place);
                match site.undo.edit(&mut site.replica, |g| g.tree_mut(TREE).put(of, place)) {
                    Ok(_) => {
                        let is_itself = matches!(place, TreePlace::Before(to) | TreePlace::After(to) if to == of);
                        let tree = site.replica.state().tree(TREE);
                        if !is_itself {
                            same("a move shows", tree.parent(of), parent)?;
                            let mut expected = siblings;
                            expected.insert(index, of);
                            let found: Vec<NodeId> = match parent {
                                Some(parent) => tree.children(parent).collect(),
                                None => tree.tops().filter(|node| tree.contains(*node)).collect(),
                            };
                            // A detached node that is written down because of the move comes at the top.
                            let known: Vec<_> = found.iter().filter(|n| expected.contains(n)).copied().collect();
                            same("a move shows where it was made", known, expected)?;
                            if before.tree(TREE).contains(of) && !before.tree(TREE).detached().any(|other| other == of)
                            {
                                let named = claims(site.replica.state(), TREE)[&of].get(1).map(|claim| claim.parent);
                                same("a move remembers where from", named, Some(before.tree(TREE).parent(of)))?;
                            }
                        }
                        let (mut was, mut now) = (parents(&before), parents(site.replica.state()));
                        was.remove(&of);
                        now.retain(|node, _| was.contains_key(node));
                        same("a local move makes another jump", now, was)?;
                        self.note("moves");
                    }
                    Err(EditError::NoNode(missing)) => {
                        assert!(!before.contains_node(missing));
                    }
                    Err(EditError::NotInTree { node, .. }) => {
                        let tree = before.tree(TREE);
                        assert!(!tree.contains(node) || tree.detached().any(|detached| detached == node));
                    }
                    Err(EditError::UnderItself { parent, .. }) => {
                        let tree = before.tree(TREE);
                        assert!(parent == of || tree.ancestors(parent).any(|above| above == of));
                        self.note("moves under themselves");
                    }
                    Err(other) => return Err(other.to_string()),
                }
            }
            Act::TakeOut(n) => {
                let of = node(*n);
                site.undo.edit(&mut site.replica, |g| g.tree_mut(TREE).take_out(of)).unwrap();
                assert!(!site.replica.state().tree(TREE).contains(of));
                let mut was = parents(&before);
                was.remove(&of);
                let mut now = parents(site.replica.state());
                now.retain(|node, _| was.contains_key(node));
                same("taking one out makes another jump", now, was)?;
            }
            Act::Remove(n) => {
                site.undo.edit(&mut site.replica, |g| g.remove_node(node(*n))).unwrap();
                let mut was = parents(&before);
                was.remove(&node(*n));
                let mut now = parents(site.replica.state());
                now.retain(|node, _| was.contains_key(node));
                same("deleting one makes another jump", now, was)?;
            }
            Act::RemoveWithDescendants(n) => {
                let under: BTreeSet<_> = before.tree(TREE).walk_from(node(*n)).map(|step| step.node).collect();
                let there = under.iter().filter(|node| before.contains_node(**node)).count();
                let edit = |g: &mut driftless::Edit<'_, Graph>| g.tree_mut(TREE).remove_with_descendants(node(*n));
                let (gone, _) = site.undo.edit(&mut site.replica, edit).unwrap();
                same("deleted with what is under it", gone, there)?;
                assert!(under.iter().all(|node| !site.replica.state().contains_node(*node)));
            }
            Act::Restore(n) => drop(site.replica.edit(|g| g.restore_node(&name(*n))).unwrap()),
            Act::Fail(n, k) => {
                let failed = site.replica.edit(|g| {
                    let _ = g.tree_mut(TREE).put(node(*n), place(*k, k / 7));
                    g.remove_node(node(k % NODES))?;
                    let _ = g.tree_mut(TREE).put(node(*n), place(k / 5, *n));
                    Err::<(), _>(EditError::abort("no"))
                });
                assert!(failed.is_err());
                same("a failed edit leaves nothing", site.replica.state() == &before, true)?;
            }
            Act::Revert => {
                let kept = site.kept.clone();
                site.replica.edit(|g| g.revert_to(&kept)).unwrap();
                // All that is alive reads as then; only the writes of places are later.
                let nodes = |g: &Graph| g.nodes().map(|node| node.id()).collect::<Vec<_>>();
                same("nodes after going back", nodes(site.replica.state()), nodes(&kept))?;
                let (now, then) = (parents(site.replica.state()), parents(&kept));
                same(
                    "the tree after going back",
                    then.iter().all(|(node, parent)| now.get(node) == Some(parent)),
                    true,
                )?;
            }
            Act::Keep => site.kept = site.replica.snapshot(),
            Act::Undo | Act::Redo => {
                match act {
                    Act::Undo => drop(site.undo.undo(&mut site.replica).unwrap()),
                    _ => drop(site.undo.redo(&mut site.replica).unwrap()),
                }
                let detached = |g: &Graph| g.tree(TREE).detached().count();
                same("undo detaches", detached(site.replica.state()) > detached(&before), false)?;
                let (mut was, mut now) = (parents(&before), parents(site.replica.state()));
                let (then, since) = (claims(&before, TREE), claims(site.replica.state(), TREE));
                was.retain(|node, _| then.get(node) == since.get(node));
                now.retain(|node, _| was.contains_key(node));
                same("undo makes another jump", now, was)?;
            }
            Act::Settle(which, how) => {
                let conflicts: Vec<_> = before.conflicts().collect();
                if let Some(conflict) = conflicts.get(usize::from(*which) % conflicts.len().max(1)) {
                    let dot = conflict.candidates.first().map(|candidate| candidate.dot);
                    let resolution = match how % 7 {
                        0 => Resolution::Confirm,
                        1 => Resolution::LastWriter,
                        2 => Resolution::Restore,
                        3 => Resolution::Delete,
                        4 => Resolution::RestoreFrom(&before),
                        5 => Resolution::PreferRemote,
                        _ => dot.map_or(Resolution::Manual, Resolution::Pick),
                    };
                    let confirms = matches!(resolution, Resolution::Confirm);
                    let id = conflict.id;
                    let is_of_place =
                        matches!(conflict.kind, ConflictKind::ConcurrentMove { .. } | ConflictKind::Circle { .. });
                    let settled = site.replica.edit(|g| g.resolve(id, resolution));
                    if settled.is_ok() && confirms && is_of_place {
                        let (was, mut now) = (parents(&before), parents(site.replica.state()));
                        now.retain(|node, _| was.contains_key(node));
                        same("confirming moves nothing", now, was)?;
                        same("it is settled", site.replica.state().conflicts().any(|c| c.id == id), false)?;
                    }
                    self.note("settled");
                }
            }
            Act::Forge(n, parent, position, from) => {
                let payload = forged(*parent, *position, *from);
                let entity = Entity::new(1, *node(*n).as_bytes());
                site.replica.edit(|g| g.write(entity, b"\x05outline", payload)).unwrap();
            }
            Act::Prune => drop(site.replica.prune(Prune::All)),
            Act::Restart | Act::RestoreBackup => {
                let saved = site.replica.save();
                let bytes = if matches!(act, Act::Restart) { saved } else { site.backup.clone() };
                self.openings += 1;
                let environment = TestEnvironment::new(self.openings);
                let now = site.clock.load(Ordering::Relaxed);
                site.clock = environment.clock();
                site.clock.store(now, Ordering::Relaxed);
                site.replica = Replica::load_with(environment, &bytes).unwrap();
                site.backup = site.replica.save();
                site.undo.clear();
            }
            Act::Tick(by) => _ = site.clock.fetch_add(u64::from(*by), Ordering::Relaxed),
            Act::Send(to, astray) => {
                let to = usize::from(*to);
                let since = self.sites[to].replica.version().clone();
                if let Ok(delta) = self.sites[at].replica.delta_since(&since) {
                    let to = if *astray { (to + 1) % 3 } else { to };
                    self.flight.push((to, delta));
                }
            }
            Act::SendAll(to) => {
                let delta = self.sites[at].replica.complete();
                self.flight.push((usize::from(*to), delta));
            }
            Act::Arrive(which, stays) => {
                if !self.flight.is_empty() {
                    let which = usize::from(*which) % self.flight.len();
                    let (to, delta) = self.flight[which].clone();
                    if !stays {
                        self.flight.remove(which);
                    }
                    // A gap is refused.
                    let _ = self.sites[to].replica.merge(&delta);
                    check(self.sites[to].replica.state(), u64::from(self.seen.len() as u32))?;
                    self.count(to);
                }
            }
        }
        check(self.sites[at].replica.state(), 7)
    }

    fn count(&mut self, at: usize) {
        let conflicts: Vec<_> = self.sites[at].replica.state().conflicts().map(|conflict| conflict.kind).collect();
        for kind in conflicts {
            self.note(match kind {
                ConflictKind::Circle { .. } => "circles",
                ConflictKind::Detached { .. } => "detached",
                ConflictKind::Orphaned { .. } => "orphans",
                ConflictKind::ConcurrentMove { .. } => "concurrent moves",
                _ => "others",
            });
        }
    }

    fn exchange(&mut self) -> Result<(), String> {
        for _ in 0..2 {
            for from in 0..3 {
                let delta = self.sites[from].replica.complete();
                for to in 0..3 {
                    self.sites[to].replica.merge(&delta).map_err(|error| error.to_string())?;
                }
            }
        }
        self.count(0);
        let first = self.sites[0].replica.snapshot();
        for (at, site) in self.sites.iter().enumerate() {
            same("equal states", site.replica.state() == &first, true)?;
            check(site.replica.state(), at as u64 * 31)?;
            let tree = |graph: &Graph| (parents(graph), format!("{:?}", graph.tree(TREE)));
            same("equal trees", tree(site.replica.state()), tree(&first))?;
            let ids = |graph: &Graph| graph.conflicts().map(|conflict| conflict.id).collect::<Vec<_>>();
            same("equal conflicts", ids(site.replica.state()), ids(&first))?;
        }
        Ok(())
    }
}

/// Plays a schedule with all checks, and tells in how many of its moments there was what.
pub(crate) fn play(acts: &[(usize, Act)]) -> Result<BTreeMap<&'static str, u32>, String> {
    let mut world = World::new();
    world.begin();
    for (at, act) in acts {
        world.act(*at, act)?;
    }
    world.exchange()?;
    Ok(world.seen)
}
