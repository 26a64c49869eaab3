//! Random schedules over a small graph, judged by a model of what a graph means that shares no code with the crate.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::testing::TestEnvironment;
use driftless::{ConflictKind, CutError, Delta, EdgeId, Edit, EditError, Graph, NodeId, Owner, Prune, Replica};
use proptest::prelude::*;

const REPLICAS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Thing {
    Node(u8),
    Edge(u8, u8, u64),
}

#[derive(Clone, Debug)]
enum Op {
    AddNode(u8),
    RemoveNode(u8),
    RemoveNodeWithEdges(u8),
    RestoreNode(u8),
    Label(u8, u8),
    Unlabel(u8, u8),
    Set(Thing, u8, i32),
    Unset(Thing, u8),
    Link(u8, u8, u64),
    Unlink(u8, u8, u64),
    RestoreEdge(u8, u8, u64),
}

#[derive(Clone, Debug)]
enum Step {
    Edit { by: usize, ops: Vec<Op> },
    Send { from: usize, to: usize, complete: bool },
    Deliver { which: usize, again: bool },
    Prune { by: usize },
    Restart { who: usize },
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        3 => (0..3u8).prop_map(Thing::Node),
        1 => (0..3u8, 0..3u8, 0..2u64).prop_map(|(s, t, n)| Thing::Edge(s, t, n)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let n = || 0..3u8;
    prop_oneof![
        6 => n().prop_map(Op::AddNode),
        2 => n().prop_map(Op::RemoveNode),
        1 => n().prop_map(Op::RemoveNodeWithEdges),
        1 => n().prop_map(Op::RestoreNode),
        2 => (n(), 0..2u8).prop_map(|(n, l)| Op::Label(n, l)),
        2 => (n(), 0..2u8).prop_map(|(n, l)| Op::Unlabel(n, l)),
        12 => (thing(), 0..2u8, 0..5i32).prop_map(|(t, p, v)| Op::Set(t, p, v)),
        1 => (thing(), 0..2u8).prop_map(|(t, p)| Op::Unset(t, p)),
        4 => (n(), n(), 0..2u64).prop_map(|(s, t, k)| Op::Link(s, t, k)),
        2 => (n(), n(), 0..2u64).prop_map(|(s, t, k)| Op::Unlink(s, t, k)),
        1 => (n(), n(), 0..2u64).prop_map(|(s, t, k)| Op::RestoreEdge(s, t, k)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (0..REPLICAS, prop::collection::vec(op(), 1..3)).prop_map(|(by, ops)| Step::Edit { by, ops }),
        5 => (0..REPLICAS, 0..REPLICAS, prop::bool::weighted(0.2))
            .prop_map(|(from, to, complete)| Step::Send { from, to, complete }),
        6 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(which, again)| Step::Deliver { which, again }),
        1 => (0..REPLICAS).prop_map(|by| Step::Prune { by }),
        1 => (0..REPLICAS).prop_map(|who| Step::Restart { who }),
    ];
    prop::collection::vec(step, 10..70)
}

// ---- the model ----

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Root,
    Label(u8),
    Property(u8),
}

type Version = BTreeMap<usize, usize>;

#[derive(Clone, Debug)]
struct Event {
    by: usize,
    number: usize,
    seen: Version,
    thing: Thing,
    place: Place,
    /// None for a removal; presence alone is 0.
    value: Option<i32>,
    time: u64,
}

/// All writes that anybody made. What somebody reads follows from those that they have seen.
#[derive(Clone, Default)]
struct Model {
    events: Vec<Event>,
}

struct View<'a> {
    alive: Vec<&'a Event>,
}

impl Model {
    fn view(&self, version: &Version) -> View<'_> {
        let seen = |e: &Event, v: &Version| v.get(&e.by).is_some_and(|n| *n >= e.number);
        let mine: Vec<_> = self.events.iter().filter(|e| seen(e, version)).collect();
        let killed = |e: &Event| {
            mine.iter().any(|k| {
                let deletes = k.place == Place::Root && k.value.is_none();
                k.thing == e.thing && seen(e, &k.seen) && (k.place == e.place || deletes)
            })
        };
        View { alive: mine.iter().filter(|e| e.value.is_some() && !killed(e)).copied().collect() }
    }

    /// What an operation writes for somebody at this version; none if it fails.
    fn writes(&self, op: &Op, version: &Version) -> Option<Vec<(Thing, Place, Option<i32>)>> {
        let view = self.view(version);
        let create = |thing: Thing| match (view.is_there(thing), view.holds_anything(thing)) {
            (true, _) => vec![],
            (false, true) => vec![(thing, Place::Root, None), (thing, Place::Root, Some(0))],
            (false, false) => vec![(thing, Place::Root, Some(0))],
        };
        let delete = |thing: Thing| if view.is_there(thing) { vec![(thing, Place::Root, None)] } else { vec![] };
        let restore = |thing: Thing| if view.is_there(thing) { vec![] } else { vec![(thing, Place::Root, Some(0))] };
        let on_live = |thing: Thing, writes| view.is_there(thing).then_some(writes);
        match *op {
            Op::AddNode(n) => Some(create(Thing::Node(n))),
            Op::Link(s, t, k) => Some(create(Thing::Edge(s, t, k))),
            Op::RemoveNode(n) => Some(delete(Thing::Node(n))),
            Op::Unlink(s, t, k) => Some(delete(Thing::Edge(s, t, k))),
            Op::RestoreNode(n) => Some(restore(Thing::Node(n))),
            Op::RestoreEdge(s, t, k) => Some(restore(Thing::Edge(s, t, k))),
            Op::RemoveNodeWithEdges(n) => {
                let edges =
                    view.edges().into_iter().filter(|e| matches!(e, Thing::Edge(s, t, _) if *s == n || *t == n));
                Some(edges.chain([Thing::Node(n)]).flat_map(delete).collect())
            }
            Op::Label(n, l) => on_live(Thing::Node(n), vec![(Thing::Node(n), Place::Label(l), Some(0))]),
            Op::Unlabel(n, l) => {
                let there = view.values(Thing::Node(n), Place::Label(l)).next().is_some();
                on_live(Thing::Node(n), there.then_some((Thing::Node(n), Place::Label(l), None)).into_iter().collect())
            }
            Op::Set(thing, p, v) => on_live(thing, vec![(thing, Place::Property(p), Some(v))]),
            Op::Unset(thing, p) => {
                let there = view.values(thing, Place::Property(p)).next().is_some();
                on_live(thing, there.then_some((thing, Place::Property(p), None)).into_iter().collect())
            }
        }
    }
}

impl View<'_> {
    fn values(&self, thing: Thing, place: Place) -> impl Iterator<Item = &Event> + '_ {
        self.alive.iter().copied().filter(move |e| e.thing == thing && e.place == place)
    }

    fn is_there(&self, thing: Thing) -> bool {
        self.values(thing, Place::Root).next().is_some()
    }

    fn holds_anything(&self, thing: Thing) -> bool {
        self.alive.iter().any(|e| e.thing == thing)
    }

    fn nodes(&self) -> BTreeSet<Thing> {
        let roots = self.alive.iter().filter(|e| e.place == Place::Root).map(|e| e.thing);
        roots.filter(|t| matches!(t, Thing::Node(_))).collect()
    }

    fn edges(&self) -> BTreeSet<Thing> {
        let roots = self.alive.iter().filter(|e| e.place == Place::Root).map(|e| e.thing);
        roots.filter(|t| matches!(t, Thing::Edge(..))).collect()
    }

    fn dangles(&self, edge: Thing) -> bool {
        let Thing::Edge(s, t, _) = edge else { return false };
        !self.is_there(Thing::Node(s)) || !self.is_there(Thing::Node(t))
    }

    fn hidden(&self) -> BTreeSet<Thing> {
        let fields = self.alive.iter().filter(|e| e.place != Place::Root).map(|e| e.thing);
        fields.filter(|t| !self.is_there(*t)).collect()
    }

    /// Things and places where the living disagree.
    fn conflicts(&self) -> BTreeSet<(Thing, Place)> {
        let mut values: BTreeMap<(Thing, Place), BTreeSet<Option<i32>>> = BTreeMap::new();
        for e in &self.alive {
            values.entry((e.thing, e.place)).or_default().insert(e.value);
        }
        values.into_iter().filter(|(_, values)| values.len() > 1).map(|(place, _)| place).collect()
    }
}

// ---- the crate ----

fn name(n: u8) -> String {
    format!("node {n}")
}

fn node(n: u8) -> NodeId {
    NodeId::named(&name(n))
}

fn edge(s: u8, t: u8, k: u64) -> EdgeId {
    EdgeId::numbered(node(s), "knows", node(t), k)
}

fn owner(thing: Thing) -> Owner {
    match thing {
        Thing::Node(n) => node(n).into(),
        Thing::Edge(s, t, k) => edge(s, t, k).into(),
    }
}

fn label(l: u8) -> String {
    format!("label {l}")
}

fn path(p: u8) -> String {
    format!("/property/{p}")
}

fn apply(g: &mut Edit<'_, Graph>, op: &Op) -> Result<(), EditError> {
    match *op {
        Op::AddNode(n) => g.add_node(&name(n)).map(drop),
        Op::RemoveNode(n) => g.remove_node(node(n)).map(drop),
        Op::RemoveNodeWithEdges(n) => g.remove_node_with_edges(node(n)).map(drop),
        Op::RestoreNode(n) => g.restore_node(&name(n)).map(drop),
        Op::Label(n, l) => g.label(node(n), &label(l)),
        Op::Unlabel(n, l) => g.unlabel(node(n), &label(l)).map(drop),
        Op::Set(thing, p, v) => g.set(owner(thing), path(p), v),
        Op::Unset(thing, p) => g.unset(owner(thing), path(p)).map(drop),
        Op::Link(s, t, k) => g.link_numbered(node(s), "knows", node(t), k).map(drop),
        Op::Unlink(s, t, k) => g.unlink(edge(s, t, k)).map(drop),
        Op::RestoreEdge(s, t, k) => g.restore_edge(node(s), "knows", node(t), k).map(drop),
    }
}

struct World {
    replicas: Vec<Replica<Graph>>,
    clocks: Vec<Arc<AtomicU64>>,
    versions: Vec<Version>,
    under_way: Vec<(usize, Version, Delta)>,
    model: Model,
    time: u64,
    seeds: u64,
    conflicts: u32,
    hidden: u32,
    dangling: u32,
}

impl World {
    fn new() -> Self {
        let environments: Vec<_> = (0..REPLICAS as u64).map(TestEnvironment::new).collect();
        Self {
            clocks: environments.iter().map(TestEnvironment::clock).collect(),
            replicas: environments.into_iter().map(Replica::with_environment).collect(),
            versions: vec![Version::new(); REPLICAS],
            under_way: Vec::new(),
            model: Model::default(),
            time: 1_000_000,
            seeds: REPLICAS as u64,
            conflicts: 0,
            hidden: 0,
            dangling: 0,
        }
    }

    /// Something for everybody to collide on: two nodes and an edge.
    fn begin(&mut self) -> Result<(), TestCaseError> {
        self.edit(0, &[Op::AddNode(0), Op::AddNode(1), Op::Link(0, 1, 0)])?;
        for to in 1..REPLICAS {
            let (version, delta) = (self.versions[0].clone(), self.delta_for(0, to));
            self.merge(to, &version, &delta)?;
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Edit { by, ops } => self.edit(by, &ops),
            Step::Send { from, to, complete } => {
                let delta = if complete { self.replicas[from].complete() } else { self.delta_for(from, to) };
                self.under_way.push((to, self.versions[from].clone(), delta));
                Ok(())
            }
            Step::Deliver { which, again } => {
                if self.under_way.is_empty() {
                    return Ok(());
                }
                let i = which % self.under_way.len();
                let (to, version, delta) = self.under_way[i].clone();
                if !again {
                    self.under_way.swap_remove(i);
                }
                self.merge(to, &version, &delta)
            }
            Step::Prune { by } => {
                self.replicas[by].prune(Prune::All);
                self.check(by)
            }
            Step::Restart { who } => {
                let (bytes, lease) = self.replicas[who].save();
                let environment = TestEnvironment::new(self.seeds);
                self.seeds += 1;
                self.clocks[who] = environment.clock();
                self.replicas[who] = Replica::resume_with(environment, &bytes, lease).unwrap();
                self.check(who)
            }
        }
    }

    fn edit(&mut self, by: usize, ops: &[Op]) -> Result<(), TestCaseError> {
        self.time += 1;
        self.clocks[by].store(self.time, Ordering::Relaxed);
        let (before, version) = (self.model.clone(), self.versions[by].clone());
        let mut succeeds = true;
        for op in ops {
            let Some(writes) = self.model.writes(op, &self.versions[by]) else {
                succeeds = false;
                break;
            };
            for (thing, place, value) in writes {
                let seen = self.versions[by].clone();
                let number = self.versions[by].entry(by).or_default();
                *number += 1;
                self.model.events.push(Event { by, number: *number, seen, thing, place, value, time: self.time });
            }
        }
        let result = self.replicas[by].edit(|g| ops.iter().try_for_each(|op| apply(g, op)));
        prop_assert_eq!(result.is_ok(), succeeds, "{:?}", result);
        if !succeeds {
            (self.model, self.versions[by]) = (before, version);
        }
        self.check(by)
    }

    fn delta_for(&self, from: usize, to: usize) -> Delta {
        let (from, to) = (&self.replicas[from], &self.replicas[to]);
        from.delta_since(to.version())
            .unwrap_or_else(|CutError::Pruned { .. }| from.reconcile(to.version(), &to.live_dots()))
    }

    fn merge(&mut self, to: usize, version: &Version, delta: &Delta) -> Result<(), TestCaseError> {
        let arrived = Delta::from_bytes(&delta.to_bytes()).unwrap();
        if self.replicas[to].merge(&arrived).is_ok() {
            for (who, number) in version {
                let seen = self.versions[to].entry(*who).or_default();
                *seen = (*seen).max(*number);
            }
        }
        self.check(to)
    }

    /// Everything that can be read.
    fn check(&mut self, who: usize) -> Result<(), TestCaseError> {
        let graph = self.replicas[who].state();
        graph.check_invariants().map_err(TestCaseError::fail)?;
        let view = self.model.view(&self.versions[who]);

        let nodes: BTreeSet<NodeId> = view.nodes().iter().map(|t| node_of(*t)).collect();
        prop_assert_eq!(graph.nodes().map(|n| n.id()).collect::<BTreeSet<_>>(), nodes.clone());
        prop_assert_eq!(graph.node_count(), nodes.len());
        let edges: BTreeSet<_> = view.edges();
        let (dangling, whole): (Vec<_>, Vec<_>) = edges.iter().partition(|e| view.dangles(**e));
        let ids = |things: &[Thing]| things.iter().map(|t| edge_of(*t)).collect::<BTreeSet<_>>();
        prop_assert_eq!(graph.edges().map(|e| e.id()).collect::<BTreeSet<_>>(), ids(&whole));
        prop_assert_eq!(graph.dangling().map(|e| e.id()).collect::<BTreeSet<_>>(), ids(&dangling));
        prop_assert_eq!(graph.edge_count(), edges.len());
        let hidden: BTreeSet<Owner> = view.hidden().into_iter().map(owner).collect();
        prop_assert_eq!(graph.hidden().map(|h| h.owner()).collect::<BTreeSet<_>>(), hidden.clone());

        for n in 0..3 {
            let thing = Thing::Node(n);
            let leaving = |e: &&Thing| matches!(e, Thing::Edge(s, _, _) if *s == n);
            let arriving = |e: &&Thing| matches!(e, Thing::Edge(_, t, _) if *t == n);
            let out = ids(&whole.iter().filter(leaving).copied().collect::<Vec<_>>());
            let into = ids(&whole.iter().filter(arriving).copied().collect::<Vec<_>>());
            prop_assert_eq!(graph.outgoing(node(n)).map(|e| e.id()).collect::<BTreeSet<_>>(), out.clone());
            prop_assert_eq!(graph.outgoing_of(node(n), "knows").map(|e| e.id()).collect::<BTreeSet<_>>(), out);
            prop_assert_eq!(graph.incoming(node(n)).map(|e| e.id()).collect::<BTreeSet<_>>(), into);
            prop_assert_eq!(graph.outgoing_of(node(n), "hates").count(), 0);
            let found = graph.node(node(n));
            prop_assert_eq!(found.is_some(), view.is_there(thing));
            let Some(found) = found else { continue };
            prop_assert_eq!(found.name().map(str::to_owned), Some(name(n)));
            let expected: Vec<_> =
                (0..2).filter(|l| view.values(thing, Place::Label(*l)).next().is_some()).map(label).collect();
            prop_assert_eq!(found.labels().collect::<Vec<_>>(), expected);
        }
        for thing in (0..3)
            .map(Thing::Node)
            .chain((0..3).flat_map(|s| (0..3).flat_map(move |t| (0..2).map(move |k| Thing::Edge(s, t, k)))))
        {
            let properties = match thing {
                Thing::Node(n) => graph.node(node(n)).map(|n| n.properties()),
                Thing::Edge(s, t, k) => graph.edge(edge(s, t, k)).map(|e| e.properties()),
            };
            let hidden = graph.hidden().find(|h| h.owner() == owner(thing)).map(|h| h.properties());
            let Some(properties) = properties.or(hidden) else { continue };
            for p in 0..2 {
                let mut expected: Vec<_> =
                    view.values(thing, Place::Property(p)).map(|e| (e.time, e.value.unwrap())).collect();
                expected.sort();
                let mut found: Vec<_> =
                    properties.get_all(path(p)).map(|(v, s)| (s.stamp.millis(), v.as_int().unwrap() as i32)).collect();
                found.sort();
                prop_assert_eq!(&found, &expected);
                let shown = properties.get(path(p)).and_then(|v| v.as_int()).map(|v| v as i32);
                prop_assert_eq!(shown, expected.last().map(|(_, v)| *v));
            }
        }
        let of_kind = |kind: fn(&ConflictKind) -> bool| {
            let all = graph.conflicts().filter(move |c| kind(&c.kind));
            all.map(|c| (c.of.unwrap(), c.path.to_string())).collect::<BTreeSet<_>>()
        };
        let owners = |owners: &BTreeSet<Owner>| owners.iter().map(|o| (*o, String::new())).collect::<BTreeSet<_>>();
        prop_assert_eq!(of_kind(|k| *k == ConflictKind::EditDelete), owners(&hidden));
        let loose = dangling.iter().map(|e| owner(*e)).collect();
        prop_assert_eq!(of_kind(|k| matches!(k, ConflictKind::Dangling { .. })), owners(&loose));
        let conflicts = of_kind(|k| *k == ConflictKind::ConcurrentEdit);
        let expected: BTreeSet<_> = view
            .conflicts()
            .into_iter()
            .filter_map(|(thing, place)| match place {
                Place::Property(p) => Some((owner(thing), path(p))),
                _ => None,
            })
            .collect();
        prop_assert_eq!(&conflicts, &expected);
        self.conflicts += u32::from(!conflicts.is_empty());
        self.hidden += u32::from(!hidden.is_empty());
        self.dangling += u32::from(!dangling.is_empty());
        Ok(())
    }
}

fn node_of(thing: Thing) -> NodeId {
    match thing {
        Thing::Node(n) => node(n),
        Thing::Edge(..) => unreachable!("only nodes are asked for"),
    }
}

fn edge_of(thing: Thing) -> EdgeId {
    match thing {
        Thing::Edge(s, t, k) => edge(s, t, k),
        Thing::Node(_) => unreachable!("only edges are asked for"),
    }
}

#[test]
fn whatever_three_replicas_do_each_reads_what_it_has_seen() {
    let (cases, conflicts, hidden, dangling) = (Cell::new(0u32), Cell::new(0u32), Cell::new(0u32), Cell::new(0u32));
    let config = ProptestConfig { cases: 500, source_file: Some(file!()), ..ProptestConfig::default() };
    let result = proptest::test_runner::TestRunner::new(config).run(&steps(), |steps| {
        let mut world = World::new();
        world.begin()?;
        for step in steps {
            world.step(step)?;
        }
        for _ in 0..2 {
            for from in 0..REPLICAS {
                for to in (0..REPLICAS).filter(|to| *to != from) {
                    let (version, delta) = (world.versions[from].clone(), world.delta_for(from, to));
                    world.merge(to, &version, &delta)?;
                }
            }
        }
        for other in &world.replicas[1..] {
            prop_assert_eq!(world.replicas[0].state(), other.state());
            let fingerprint = |r: &Replica<Graph>| r.fingerprint();
            prop_assert_eq!(fingerprint(&world.replicas[0]), fingerprint(other));
        }
        cases.set(cases.get() + 1);
        conflicts.set(conflicts.get() + u32::from(world.conflicts > 0));
        hidden.set(hidden.get() + u32::from(world.hidden > 0));
        dangling.set(dangling.get() + u32::from(world.dangling > 0));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    for (what, count) in [("conflicts", &conflicts), ("hidden survivors", &hidden), ("dangling edges", &dangling)] {
        let share = f64::from(count.get()) / f64::from(cases.get());
        assert!(share > 0.3, "{what} in {share} of the cases");
    }
}

/// What shows can change though the same values are there.
#[test]
fn a_value_that_shows_instead_of_another_is_reported() {
    let environments: [TestEnvironment; 3] = std::array::from_fn(|seed| TestEnvironment::new(seed as u64));
    let clocks: Vec<_> = environments.iter().map(TestEnvironment::clock).collect();
    let [mut a, mut b, mut c] = environments.map(Replica::<Graph>::with_environment);
    let (ada, first) = a.edit(|g| g.add_node("ada")).unwrap();
    b.merge(&first).unwrap();
    c.merge(&first).unwrap();
    let set = |r: &mut Replica<Graph>, clock: usize, time, value: &str| {
        clocks[clock].store(time, Ordering::Relaxed);
        r.edit(|g| g.set(ada, "/name", value)).unwrap().1
    };
    c.merge(&set(&mut a, 0, 1_000_050, "x")).unwrap();
    c.merge(&set(&mut b, 1, 1_000_040, "y")).unwrap();
    assert_eq!(c.state().node(ada).unwrap().get("/name"), Some("x".into()));
    let report = c.merge(&set(&mut b, 1, 1_000_070, "y")).unwrap();
    assert_eq!(c.state().node(ada).unwrap().get("/name"), Some("y".into()));
    assert_eq!(report.changes().count(), 1);
}

fn joined(a: &Replica<Graph>, b: &Replica<Graph>) -> Result<Replica<Graph>, TestCaseError> {
    let mut joined = a.fork_with(TestEnvironment::new(u64::MAX));
    joined.merge(&b.complete()).map_err(|e| TestCaseError::fail(e.to_string()))?;
    joined.state().check_invariants().map_err(TestCaseError::fail)?;
    Ok(joined)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn joining_graphs_is_a_join_and_a_delta_does_as_much(steps in steps()) {
        let mut world = World::new();
        world.begin()?;
        for step in steps {
            world.step(step)?;
        }
        let [a, b, c] = &world.replicas[..] else { unreachable!() };
        let (ab, ba, aa) = (joined(a, b)?, joined(b, a)?, joined(a, a)?);
        prop_assert_eq!(ab.state(), ba.state());
        prop_assert_eq!(aa.state(), a.state());
        let (ab_c, a_bc, ab_b) = (joined(&ab, c)?, joined(a, &joined(b, c)?)?, joined(&ab, b)?);
        prop_assert_eq!(ab_c.state(), a_bc.state());
        prop_assert_eq!(ab_b.state(), ab.state());
        let mut by_delta = a.fork_with(TestEnvironment::new(u64::MAX));
        by_delta.merge(&world.delta_for(1, 0)).unwrap();
        prop_assert_eq!(by_delta.state(), ab.state());
        prop_assert!(by_delta.state().conflicts().eq(ab.state().conflicts()));
    }
}
