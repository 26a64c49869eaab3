//! Trees: random schedules against the reading rule by its definition, and stories named after what goes wrong elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use driftless::kernel::{Entity, Payload};
use driftless::testing::{TestEnvironment, same};
use driftless::{
    ConflictKind, Content, Crdt, Delta, Dot, EditError, Graph, GraphChange, NodeId, Prune, Replica, Resolution, Stamp,
    TreePlace, UndoStack,
};
use proptest::prelude::*;

const TREE: &str = "outline";
const NODES: u8 = 8;

fn node(n: u8) -> NodeId {
    NodeId::named(&name(n))
}

fn name(n: u8) -> String {
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

/// What shows, and how many claims of each node do not: circles are broken in an order that the seed chooses.
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
fn check(graph: &Graph, seed: u64) -> Result<(), String> {
    graph.check_invariants()?;
    let claims = claims(graph, TREE);
    let (shown, passed_over) = definition(&claims, seed);
    let tree = graph.tree(TREE);
    same("nodes in the tree", tree.len(), shown.len())?;
    same("trees", graph.trees().map(str::to_owned).collect(), if shown.is_empty() { vec![] } else { vec![TREE.to_owned()] })?;
    let mut under: BTreeMap<Option<NodeId>, Vec<(&[u8], NodeId)>> = BTreeMap::new();
    for (node, spot) in &shown {
        let parent = spot.as_ref().and_then(|(parent, _)| *parent);
        same(format!("parent of {node}"), tree.parent(*node), parent)?;
        same(format!("{node} is at the top"), tree.is_top(*node), spot.as_ref().is_some_and(|(parent, _)| parent.is_none()))?;
        if let Some((parent, position)) = spot {
            under.entry(*parent).or_default().push((position, *node));
        }
    }
    for (parent, children) in &mut under {
        children.sort();
        let expected: Vec<NodeId> = children.iter().map(|(_, node)| *node).collect();
        let found: Vec<NodeId> = match parent {
            Some(parent) => tree.children(*parent).collect(),
            None => tree.tops().collect(),
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
    let from_others = detached.iter().chain(&unplaced).flat_map(|node| tree.walk_from(*node).map(|step| step.node));
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
        // Those of deleted nodes are hidden, and in no tree.
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
enum Act {
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
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
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

/// Where a node is asked to show: the parent, and the siblings before and after it, itself left out.
fn wanted(graph: &Graph, of: NodeId, place: TreePlace) -> (Option<NodeId>, Vec<NodeId>, usize) {
    let tree = graph.tree(TREE);
    let parent = match place {
        TreePlace::First | TreePlace::Last => None,
        TreePlace::FirstIn(parent) | TreePlace::LastIn(parent) => Some(parent),
        TreePlace::Before(sibling) | TreePlace::After(sibling) => tree.parent(sibling),
    };
    let mut siblings: Vec<NodeId> = match parent {
        Some(parent) => tree.children(parent).collect(),
        None => tree.tops().collect(),
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
    // Whoever shows nowhere may be written down somewhere.
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
                                None => tree.tops().collect(),
                            };
                            // Who was detached, and is written down because of the move, comes at the top.
                            let known: Vec<_> = found.iter().filter(|n| expected.contains(n)).copied().collect();
                            same("a move shows where it was made", known, expected)?;
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
                // What is alive reads as then; only the writes of places are later.
                let nodes = |g: &Graph| g.nodes().map(|node| node.id()).collect::<Vec<_>>();
                same("nodes after going back", nodes(site.replica.state()), nodes(&kept))?;
            }
            Act::Keep => site.kept = site.replica.snapshot(),
            Act::Undo => drop(site.undo.undo(&mut site.replica).unwrap()),
            Act::Redo => drop(site.undo.redo(&mut site.replica).unwrap()),
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
                        same("confirming moves nothing", parents(site.replica.state()), parents(&before))?;
                        same("it is settled", site.replica.state().conflicts().any(|c| c.id == id), false)?;
                    }
                    self.note("settled");
                }
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

/// `DRIFTLESS_SCHEDULES=20` runs twenty times as many.
#[test]
fn any_schedule_shows_the_tree_of_the_definition() {
    let times: u32 = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let cases = 1500 * times;
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let seen = std::cell::RefCell::new(BTreeMap::<&'static str, u32>::new());
    let run = proptest::test_runner::TestRunner::new(config).run(&acts(), |acts| {
        let mut world = World::new();
        world.begin();
        for (at, act) in &acts {
            world.act(*at, act).map_err(TestCaseError::fail)?;
        }
        world.exchange().map_err(TestCaseError::fail)?;
        for (what, times) in world.seen {
            *seen.borrow_mut().entry(what).or_default() += u32::from(times > 0);
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    println!("of {cases} schedules: {:?}", seen.borrow());
    for (what, least) in [("circles", 0.015), ("detached", 0.0), ("orphans", 0.2), ("concurrent moves", 0.5), ("moves", 0.9)] {
        let share = f64::from(seen.borrow().get(what).copied().unwrap_or(0)) / f64::from(cases);
        assert!(share > least, "{what} in {share} of the schedules");
    }
}

// ---- stories ----

fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn put(replica: &mut Replica<Graph>, n: u8, place: TreePlace) -> Delta {
    let edit = |g: &mut driftless::Edit<'_, Graph>| {
        g.add_node(&name(n))?;
        g.tree_mut(TREE).put(node(n), place)
    };
    replica.edit(edit).unwrap().1
}

fn children(replica: &Replica<Graph>, of: u8) -> Vec<NodeId> {
    replica.state().tree(TREE).children(node(of)).collect()
}

#[test]
fn two_moves_that_make_a_circle_leave_one_where_it_was() {
    let mut a = replica(1);
    put(&mut a, 0, TreePlace::Last);
    put(&mut a, 1, TreePlace::LastIn(node(0)));
    put(&mut a, 2, TreePlace::LastIn(node(0)));
    let mut b = replica(2);
    b.merge(&a.complete()).unwrap();
    put(&mut a, 1, TreePlace::LastIn(node(2)));
    put(&mut b, 2, TreePlace::LastIn(node(1)));
    let (from_a, from_b) = (a.complete(), b.complete());
    a.merge(&from_b).unwrap();
    b.merge(&from_a).unwrap();
    for replica in [&a, &b] {
        let tree = replica.state().tree(TREE);
        let below: BTreeSet<_> = [1, 2].into_iter().filter_map(|n| tree.parent(node(n))).collect();
        assert!(below.contains(&node(0)) && below.len() == 2, "{tree:?}");
        assert_eq!((tree.len(), tree.walk().count()), (3, 3));
        let conflict = replica.state().conflicts().next().unwrap();
        assert_eq!(conflict.kind, ConflictKind::Circle { tree: TREE.to_owned() });
        let places: Vec<_> = conflict.candidates.iter().map(|candidate| candidate.content.clone()).collect();
        assert_eq!(places[0], Content::Place { tree: TREE, parent: Some(node(0)) });
        assert_eq!(conflict.candidates.len(), 2);
    }
    assert_eq!(format!("{:?}", a.state().tree(TREE)), format!("{:?}", b.state().tree(TREE)));
    // Confirmed, it stays as it shows; both that do so agree.
    for replica in [&mut a, &mut b] {
        let (settled, _) = replica.edit(|g| g.settle(|_| Resolution::Confirm)).unwrap();
        assert_eq!((settled.written, settled.open.len()), (1, 0));
    }
    let from_b = b.complete();
    a.merge(&from_b).unwrap();
    assert_eq!(a.state().conflicts().count(), 0);
    check(a.state(), 1).unwrap();
}

#[test]
fn children_of_a_deleted_parent_are_listed_and_come_back() {
    let mut a = replica(1);
    put(&mut a, 0, TreePlace::Last);
    put(&mut a, 1, TreePlace::Last);
    let mut b = replica(2);
    b.merge(&a.complete()).unwrap();
    let before = a.snapshot();
    a.edit(|g| g.remove_node(node(0))).unwrap();
    put(&mut b, 2, TreePlace::LastIn(node(0)));
    put(&mut b, 3, TreePlace::LastIn(node(0)));
    let (from_a, from_b) = (a.complete(), b.complete());
    a.prune(Prune::All);
    a.merge(&from_b).unwrap();
    b.merge(&from_a).unwrap();
    assert_eq!(a.state(), b.state());
    let tree = a.state().tree(TREE);
    assert_eq!(tree.orphans().collect::<Vec<_>>(), [(node(0), node(2)), (node(0), node(3))]);
    assert_eq!((tree.walk().count(), tree.len()), (1, 3));
    let ids: Vec<_> = a.state().conflicts().map(|conflict| (conflict.id, conflict.kind)).collect();
    let missing = ConflictKind::Orphaned { tree: TREE.to_owned(), missing: node(0) };
    assert!(ids.len() == 2 && ids.iter().all(|(_, kind)| *kind == missing));
    a.edit(|g| g.resolve(ids[0].0, Resolution::RestoreFrom(&before))).unwrap();
    assert_eq!(children(&a, 0), [node(2), node(3)]);
    assert_eq!((a.state().conflicts().count(), a.state().tree(TREE).walk().count()), (0, 4));
    // Or they go, with all that is under them.
    put(&mut b, 4, TreePlace::LastIn(node(2)));
    b.edit(|g| g.resolve(ids[0].0, Resolution::Delete)).unwrap();
    assert!(![2, 4].into_iter().any(|n| b.state().contains_node(node(n))));
    assert!(b.state().contains_node(node(3)));
}

#[test]
fn children_added_at_one_spot_do_not_interleave_or_tie() {
    for ways in 0..8u32 {
        let mut a = replica(1);
        put(&mut a, 0, TreePlace::Last);
        put(&mut a, 1, TreePlace::LastIn(node(0)));
        put(&mut a, 2, TreePlace::LastIn(node(0)));
        let mut others: Vec<_> = (0..3).map(|i| a.fork_with(TestEnvironment::new(10 + i))).collect();
        for (i, other) in others.iter_mut().enumerate() {
            let first = 10 * (i as u8 + 1);
            let forward = ways >> i & 1 == 0;
            put(other, first, TreePlace::After(node(1)));
            for n in first + 1..first + 6 {
                let beside = node(n - 1);
                put(other, n, if forward { TreePlace::After(beside) } else { TreePlace::Before(beside) });
            }
        }
        let deltas: Vec<_> = others.iter().map(Replica::complete).collect();
        for delta in &deltas {
            a.merge(delta).unwrap();
        }
        let shown: Vec<NodeId> = children(&a, 0);
        assert_eq!((shown.len(), shown[0], shown[19]), (20, node(1), node(2)));
        for i in 0..3u8 {
            let mut mine: Vec<NodeId> = (10 * (i + 1)..10 * (i + 1) + 6).map(node).collect();
            if ways >> i & 1 == 1 {
                mine.reverse();
            }
            assert!(shown.windows(6).any(|window| window == mine), "{ways}: {shown:?}");
        }
    }
}

#[test]
fn a_move_within_the_same_parent_of_many() {
    let mut a = replica(1);
    put(&mut a, 0, TreePlace::Last);
    let mut expected = Vec::new();
    for n in 1..250 {
        put(&mut a, n, TreePlace::LastIn(node(0)));
        expected.push(node(n));
    }
    for turn in 0..600usize {
        let (from, to) = (turn * 37 % 249, turn * 101 % 249);
        let moved = expected.remove(from);
        let of = (1..250).find(|n| node(*n) == moved).unwrap();
        match to.min(expected.len()) {
            to if to == expected.len() => drop(put(&mut a, of, TreePlace::LastIn(node(0)))),
            to => drop(put(&mut a, of, TreePlace::Before(expected[to]))),
        }
        expected.insert(to.min(expected.len()), moved);
    }
    assert_eq!(children(&a, 0), expected);
    check(a.state(), 1).unwrap();
}

/// Ever deeper between the same two: each new one beside the one before, on the other side.
#[test]
fn a_place_that_is_split_for_ever_stays_shallow() {
    let mut a = replica(1);
    let id = |n: usize| NodeId::named(&format!("deep {n}"));
    let mut add = |n: usize, place| {
        let edit = |g: &mut driftless::Edit<'_, Graph>| {
            g.add_node(&format!("deep {n}"))?;
            g.tree_mut(TREE).put(id(n), place)
        };
        a.edit(edit).unwrap();
        a.state().tree(TREE).tops().collect::<Vec<_>>()
    };
    let mut expected = vec![id(0), id(1)];
    add(0, TreePlace::Last);
    add(1, TreePlace::Last);
    // Two that are next to each other, with the gap between them; the new one goes between, and replaces one of the two.
    let (mut left, mut right) = (0, 1);
    for n in 2..1500 {
        let shown = add(n, TreePlace::After(id(left)));
        let at = expected.iter().position(|node| *node == id(left)).unwrap();
        expected.insert(at + 1, id(n));
        assert_eq!(shown, expected, "{n}");
        if n % 2 == 0 { left = n } else { right = n }
    }
    let _ = right;
    let longest = a.state().state().live_siblings().filter_map(|(_, _, s)| Some(s.payload?.bytes().len())).max();
    assert!(longest < Some(3200), "{longest:?}");
    check(a.state(), 1).unwrap();
    // What is written down has no conflict with itself.
    assert_eq!(a.state().conflicts().count(), 0);
}

#[test]
fn kinds_of_a_later_version_are_kept_not_half_read() {
    let mut a = replica(1);
    put(&mut a, 0, TreePlace::Last);
    put(&mut a, 1, TreePlace::LastIn(node(0)));
    let entity = Entity::new(1, *node(1).as_bytes());
    let good = a.state().state().cells(entity).unwrap().live(b"\x05outline").next().unwrap().payload.unwrap().to_payload();
    let mut flagged = good.bytes().to_vec();
    flagged[0] |= 8;
    let no_position = Payload::new(good.kind(), &good.bytes()[..17]);
    let mut long = good.bytes()[..17].to_vec();
    long.extend([0x40, 0, 0, 1, 0x80].repeat(257));
    let later = [
        Payload::new(good.kind() + 50, good.bytes()),
        Payload::new(good.kind(), &flagged),
        no_position,
        Payload::new(good.kind(), &long),
        Payload::new(good.kind(), &[]),
    ];
    for payload in later {
        let (_, delta) = a.edit(|g| g.write(entity, b"\x05outline", payload.clone())).unwrap();
        assert!(!a.state().tree(TREE).contains(node(1)), "{payload:?}");
        assert_eq!(a.state().tree(TREE).len(), 1);
        a.state().check_invariants().unwrap();
        let mut b = replica(2);
        b.merge(&a.complete()).unwrap();
        assert_eq!(a.state(), b.state());
        assert!(b.state().tree(TREE).parent(node(1)).is_none());
        let _ = delta;
        put(&mut a, 1, TreePlace::LastIn(node(0)));
    }
    // A tree whose name is no text is nobody's.
    a.edit(|g| g.write(entity, b"\x05\xff", good.clone())).unwrap();
    assert_eq!(a.state().trees().collect::<Vec<_>>(), [TREE]);
    a.state().check_invariants().unwrap();
}

#[test]
fn undo_takes_a_move_back_and_leaves_what_others_moved_since() {
    let mut a = replica(1);
    let mut undo = UndoStack::new();
    put(&mut a, 0, TreePlace::Last);
    put(&mut a, 1, TreePlace::LastIn(node(0)));
    put(&mut a, 2, TreePlace::LastIn(node(0)));
    undo.edit(&mut a, |g| g.tree_mut(TREE).put(node(1), TreePlace::LastIn(node(2)))).unwrap();
    assert_eq!(children(&a, 2), [node(1)]);
    undo.undo(&mut a).unwrap();
    assert_eq!(children(&a, 0), [node(1), node(2)]);
    undo.redo(&mut a).unwrap();
    assert_eq!(children(&a, 2), [node(1)]);
    let mut b = replica(2);
    b.merge(&a.complete()).unwrap();
    a.merge(&put(&mut b, 1, TreePlace::First)).unwrap();
    let (back, _) = undo.undo(&mut a).unwrap().unwrap();
    assert_eq!((back.writes(), back.left().is_empty()), (0, false));
    assert!(a.state().tree(TREE).is_top(node(1)));
}

#[test]
fn merges_and_differences_tell_what_was_moved() {
    let mut a = replica(1);
    let mut b = replica(2);
    put(&mut a, 0, TreePlace::Last);
    b.merge(&a.complete()).unwrap();
    let delta = put(&mut a, 1, TreePlace::LastIn(node(0)));
    let report = b.merge(&delta).unwrap();
    let moved = GraphChange::Moved { node: node(1), tree: TREE.to_owned() };
    assert_eq!(report.changes().collect::<Vec<_>>(), [GraphChange::NodeAdded(node(1)), moved]);
}

#[test]
fn several_trees_do_not_meet() {
    let mut a = replica(1);
    let edit = |g: &mut driftless::Edit<'_, Graph>| {
        for n in 0..3 {
            g.add_node(&name(n))?;
            g.tree_mut("a").put(node(n), TreePlace::First)?;
        }
        g.tree_mut("b").put(node(0), TreePlace::LastIn(node(1)))?;
        g.tree_mut("").put(node(1), TreePlace::LastIn(node(0)))
    };
    a.edit(edit).unwrap();
    let graph = a.state();
    assert_eq!(graph.trees().collect::<Vec<_>>(), ["", "a", "b"]);
    assert_eq!(graph.tree("a").tops().collect::<Vec<_>>(), [node(2), node(1), node(0)]);
    assert_eq!((graph.tree("b").parent(node(0)), graph.tree("").parent(node(1))), (Some(node(1)), Some(node(0))));
    assert_eq!(graph.tree("b").unplaced().collect::<Vec<_>>(), [node(1)]);
    assert_eq!(graph.tree("none").len(), 0);
    graph.check_invariants().unwrap();
    let long = "x".repeat(5000);
    let refused = a.edit(|g| g.tree_mut(&long).put(node(0), TreePlace::Last));
    assert!(matches!(refused, Err(EditError::KeyTooLong { .. })));
}

/// What a peer may send: everybody in one circle, and each of their earlier places closes another.
#[test]
fn circles_of_a_hundred_thousand_nodes_are_broken_in_seconds() {
    const MANY: u32 = 100_000;
    let id = |n: u32| NodeId::from(u128::from(n).to_be_bytes());
    let position = [0x40, 0, 0, 1, 0x80];
    let mut hostile = replica(1);
    let edit = |g: &mut driftless::Edit<'_, Graph>| {
        for n in 0..MANY {
            let node = g.add_node(id(n))?;
            // To the next one; before that to one that is far; before that, by a write of its own, to another.
            let from = id(n.wrapping_mul(2_654_435_761) % MANY);
            let mut payload = vec![7];
            payload.extend(id((n + 1) % MANY).as_bytes());
            payload.extend(from.as_bytes());
            payload.extend(u64::from(n.wrapping_mul(40_503) % MANY).to_be_bytes());
            payload.extend([0, 5]);
            payload.extend(position);
            payload.extend(position);
            g.write(Entity::new(1, *node.as_bytes()), b"\x05outline", Payload::new(22, &payload))?;
        }
        Ok(())
    };
    // By itself each is a valid write; one after the other they take the index once each.
    let started = Instant::now();
    let mut victim = replica(2);
    hostile.edit(edit).unwrap();
    let written = started.elapsed();
    let delta = hostile.complete();
    let started = Instant::now();
    victim.merge(&delta).unwrap();
    let merged = started.elapsed();
    println!("written in {written:?}, merged in {merged:?}");
    assert!(merged < Duration::from_secs(60), "{merged:?}");
    let tree = victim.state().tree(TREE);
    assert_eq!(tree.len(), MANY as usize);
    let listed = victim.state().conflicts().count();
    println!("{} detached, {listed} conflicts", tree.detached().count());
    assert!(listed > 0);
    // A single move writes down what would jump, and no more.
    let started = Instant::now();
    let (_, delta) = victim.edit(|g| g.tree_mut(TREE).put(id(5), TreePlace::Last)).unwrap();
    println!("one move: {:?}, {} bytes", started.elapsed(), delta.to_bytes().len());
    assert!(started.elapsed() < Duration::from_secs(60));
    victim.state().check_invariants().unwrap();
}
