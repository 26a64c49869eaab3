//! A model of what a graph means that shares no code with the crate.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use driftless::testing::{Model, Write, Writes, same};
use driftless::{ConflictKind, EdgeId, Edit, EditError, Graph, NodeId, Owner};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Thing {
    Node(u8),
    Edge(u8, u8, u64),
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
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

// ---- the model ----

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Place {
    Root,
    Label(u8),
    Property(u8),
}

pub(crate) enum Small {}

pub(crate) type View<'a> = driftless::testing::View<'a, Small>;

/// What a view means.
pub(crate) trait Read {
    fn is_there(&self, thing: Thing) -> bool;
    fn holds_anything(&self, thing: Thing) -> bool;
    fn roots(&self) -> BTreeSet<Thing>;
    fn dangles(&self, edge: Thing) -> bool;
    /// The ends of an edge that no live root of it says were there, as its value has them: 1 the source, 2 the target.
    fn unseen(&self, edge: Thing) -> i32;
    fn lost(&self, edge: Thing) -> bool;
    fn hidden(&self) -> BTreeSet<Thing>;
    fn conflicts(&self) -> BTreeSet<(Thing, u8)>;
    fn edges(&self) -> BTreeSet<Thing> {
        self.roots().into_iter().filter(|t| matches!(t, Thing::Edge(..))).collect()
    }
    fn nodes(&self) -> BTreeSet<Thing> {
        self.roots().into_iter().filter(|t| matches!(t, Thing::Node(_))).collect()
    }
}

impl Read for View<'_> {
    fn is_there(&self, thing: Thing) -> bool {
        self.holds(&(thing, Place::Root))
    }

    fn holds_anything(&self, thing: Thing) -> bool {
        self.all().any(|w| w.cell.0 == thing)
    }

    fn roots(&self) -> BTreeSet<Thing> {
        self.all().filter(|w| w.cell.1 == Place::Root).map(|w| w.cell.0).collect()
    }

    fn dangles(&self, edge: Thing) -> bool {
        let Thing::Edge(s, t, _) = edge else { return false };
        !self.is_there(Thing::Node(s)) || !self.is_there(Thing::Node(t))
    }

    fn unseen(&self, edge: Thing) -> i32 {
        self.of(&(edge, Place::Root)).fold(3, |unseen, root| unseen & *root.value)
    }

    /// Whether an end is missing that some writer of the edge saw.
    fn lost(&self, edge: Thing) -> bool {
        missing_ends(self, edge) & !self.unseen(edge) != 0
    }

    fn hidden(&self) -> BTreeSet<Thing> {
        self.all().map(|w| w.cell.0).filter(|t| !self.is_there(*t)).collect()
    }

    /// Properties whose living values differ.
    fn conflicts(&self) -> BTreeSet<(Thing, u8)> {
        let mut values: BTreeMap<(Thing, u8), BTreeSet<i32>> = BTreeMap::new();
        for w in self.all() {
            if let (thing, Place::Property(p)) = *w.cell {
                values.entry((thing, p)).or_default().insert(*w.value);
            }
        }
        values.into_iter().filter(|(_, values)| values.len() > 1).map(|(place, _)| place).collect()
    }
}

/// The ends of an edge that are not there: 1 the source, 2 the target.
fn missing_ends(view: &View<'_>, edge: Thing) -> i32 {
    let Thing::Edge(s, t, _) = edge else { return 0 };
    i32::from(!view.is_there(Thing::Node(s))) | i32::from(!view.is_there(Thing::Node(t))) << 1
}

impl Model for Small {
    type Type = Graph;
    type Op = Op;
    type Cell = (Thing, Place);
    type Group = Thing;
    /// Presence alone is 0; the root of an edge tells which ends its writer did not see.
    type Value = i32;

    fn group((thing, _): &Self::Cell) -> Thing {
        *thing
    }

    /// Something for everybody to collide on: two nodes and an edge.
    fn begin() -> Vec<Op> {
        vec![Op::AddNode(0), Op::AddNode(1), Op::Link(0, 1, 0)]
    }

    fn writes(op: &Op, view: &View<'_>, _: usize) -> Option<Writes<Self>> {
        let root = |thing: Thing| Write::Put((thing, Place::Root), missing_ends(view, thing));
        let create = |thing: Thing| match (view.is_there(thing), view.holds_anything(thing)) {
            (true, _) if view.unseen(thing) & !missing_ends(view, thing) != 0 && matches!(thing, Thing::Edge(..)) => {
                vec![Write::Put((thing, Place::Root), view.unseen(thing) & missing_ends(view, thing))]
            }
            (true, _) => vec![],
            (false, true) => vec![Write::Delete(thing), root(thing)],
            (false, false) => vec![root(thing)],
        };
        let delete = |thing: Thing| if view.is_there(thing) { vec![Write::Delete(thing)] } else { vec![] };
        let restore = |thing: Thing| if view.is_there(thing) { vec![] } else { vec![root(thing)] };
        let put = |thing: Thing, place, value| view.is_there(thing).then(|| vec![Write::Put((thing, place), value)]);
        let remove = |thing: Thing, place| {
            let there = view.holds(&(thing, place)).then_some(Write::Remove((thing, place)));
            view.is_there(thing).then(|| there.into_iter().collect())
        };
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
            Op::Label(n, l) => put(Thing::Node(n), Place::Label(l), 0),
            Op::Unlabel(n, l) => remove(Thing::Node(n), Place::Label(l)),
            Op::Set(thing, p, v) => put(thing, Place::Property(p), v),
            Op::Unset(thing, p) => remove(thing, Place::Property(p)),
        }
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

    fn check(view: &View<'_>, graph: &Graph) -> Result<(), String> {
        check_members(view, graph)?;
        (0..3).try_for_each(|n| check_node(view, graph, n))?;
        let edges = edges().map(|(s, t, k)| Thing::Edge(s, t, k));
        (0..3).map(Thing::Node).chain(edges).try_for_each(|thing| check_properties(view, graph, thing))?;
        check_conflicts(view, graph)
    }

    fn invariants(graph: &Graph) -> Result<(), String> {
        graph.check_invariants()
    }

    fn kind(op: &Op) -> &'static str {
        match op {
            Op::AddNode(_) => "add_node",
            Op::RemoveNode(_) => "remove_node",
            Op::RemoveNodeWithEdges(_) => "remove_node_with_edges",
            Op::RestoreNode(_) => "restore_node",
            Op::Label(..) => "label",
            Op::Unlabel(..) => "unlabel",
            Op::Set(..) => "set",
            Op::Unset(..) => "unset",
            Op::Link(..) => "link",
            Op::Unlink(..) => "unlink",
            Op::RestoreEdge(..) => "restore_edge",
        }
    }

    fn facets(view: &View<'_>) -> Vec<&'static str> {
        let facets = [
            ("conflicts", !view.conflicts().is_empty()),
            ("hidden survivors", !view.hidden().is_empty()),
            ("dangling edges", view.edges().iter().any(|e| view.lost(*e))),
            ("unresolved edges", view.edges().iter().any(|e| view.dangles(*e) && !view.lost(*e))),
        ];
        facets.into_iter().filter(|(_, holds)| *holds).map(|(what, _)| what).collect()
    }
}

// ---- the crate ----

pub(crate) fn name(n: u8) -> String {
    format!("node {n}")
}

/// Ids are hashes, and asked for so often that hashing would take most of the time.
pub(crate) static NODES: LazyLock<[NodeId; 3]> = LazyLock::new(|| [0, 1, 2].map(|n| NodeId::named(&name(n))));

pub(crate) static EDGES: LazyLock<BTreeMap<(u8, u8, u64), EdgeId>> = LazyLock::new(|| {
    let id = |(s, t, k)| EdgeId::numbered(node(s), "knows", node(t), k);
    edges().map(|ends| (ends, id(ends))).collect()
});

pub(crate) fn node(n: u8) -> NodeId {
    NODES[usize::from(n)]
}

pub(crate) fn edge(s: u8, t: u8, k: u64) -> EdgeId {
    EDGES[&(s, t, k)]
}

/// The ends and numbers of all edges that there may be.
pub(crate) fn edges() -> impl Iterator<Item = (u8, u8, u64)> {
    (0..3).flat_map(|s| (0..3).flat_map(move |t| (0..2).map(move |k| (s, t, k))))
}

pub(crate) fn owner(thing: Thing) -> Owner {
    match thing {
        Thing::Node(n) => node(n).into(),
        Thing::Edge(s, t, k) => edge(s, t, k).into(),
    }
}

pub(crate) fn owners<'a>(things: impl IntoIterator<Item = &'a Thing>) -> BTreeSet<Owner> {
    things.into_iter().map(|thing| owner(*thing)).collect()
}

pub(crate) fn label(l: u8) -> String {
    format!("label {l}")
}

pub(crate) fn path(p: u8) -> String {
    format!("/property/{p}")
}

pub(crate) fn ids<'a>(edges: impl Iterator<Item = driftless::Edge<'a>>) -> BTreeSet<Owner> {
    edges.map(|e| e.id().into()).collect()
}

/// What is there, what dangles, what is hidden.
pub(crate) fn check_members(view: &View<'_>, graph: &Graph) -> Result<(), String> {
    let (nodes, edges) = (view.nodes(), view.edges());
    same("nodes", graph.nodes().map(|n| n.id().into()).collect(), owners(&nodes))?;
    same("node count", graph.node_count(), nodes.len())?;
    let (dangling, whole): (Vec<_>, Vec<_>) = edges.iter().partition(|e| view.dangles(**e));
    same("edges", ids(graph.edges()), owners(&whole))?;
    same("dangling edges", ids(graph.dangling()), owners(&dangling))?;
    let unresolved: Vec<_> = dangling.iter().filter(|e| !view.lost(**e)).collect();
    same("unresolved edges", ids(graph.unresolved()), owners(unresolved))?;
    same("edge count", graph.edge_count(), edges.len())?;
    same("hidden", graph.hidden().map(|h| h.owner()).collect(), owners(&view.hidden()))
}

/// A node, its labels, and the edges at it.
pub(crate) fn check_node(view: &View<'_>, graph: &Graph, n: u8) -> Result<(), String> {
    let whole: Vec<_> = view.edges().into_iter().filter(|e| !view.dangles(*e)).collect();
    let leaving = whole.iter().filter(|e| matches!(e, Thing::Edge(s, _, _) if *s == n));
    let arriving = whole.iter().filter(|e| matches!(e, Thing::Edge(_, t, _) if *t == n));
    let out = owners(leaving);
    same(format!("edges from {n}"), ids(graph.outgoing(node(n))), out.clone())?;
    same(format!("edges of the type from {n}"), ids(graph.outgoing_of(node(n), "knows")), out)?;
    same(format!("edges to {n}"), ids(graph.incoming(node(n))), owners(arriving))?;
    same(format!("edges of another type from {n}"), graph.outgoing_of(node(n), "hates").count(), 0)?;
    let found = graph.node(node(n));
    same(format!("node {n} is there"), found.is_some(), view.is_there(Thing::Node(n)))?;
    let Some(found) = found else { return Ok(()) };
    same(format!("name of {n}"), found.name().map(str::to_owned), Some(name(n)))?;
    let expected: Vec<_> = (0..2).filter(|l| view.holds(&(Thing::Node(n), Place::Label(*l)))).map(label).collect();
    same(format!("labels of {n}"), found.labels().map(str::to_owned).collect(), expected)
}

/// All values of each property, and the one that shows, of hidden things too.
pub(crate) fn check_properties(view: &View<'_>, graph: &Graph, thing: Thing) -> Result<(), String> {
    let properties = match thing {
        Thing::Node(n) => graph.node(node(n)).map(|n| n.properties()),
        Thing::Edge(s, t, k) => graph.edge(edge(s, t, k)).map(|e| e.properties()),
    };
    let hidden = graph.hidden().find(|h| h.owner() == owner(thing)).map(|h| h.properties());
    let Some(properties) = properties.or(hidden) else { return Ok(()) };
    for p in 0..2 {
        let cell = (thing, Place::Property(p));
        let mut expected: Vec<_> = view.of(&cell).map(|w| (w.time, *w.value)).collect();
        expected.sort();
        let mut found: Vec<_> =
            properties.get_all(path(p)).map(|(v, s)| (s.stamp.millis(), v.as_int().unwrap() as i32)).collect();
        found.sort();
        same(format!("values at {cell:?}"), found, expected)?;
        let shown = properties.get(path(p)).and_then(|v| v.as_int()).map(|v| v as i32);
        same(format!("what shows at {cell:?}"), shown, view.latest(&cell).map(|w| *w.value))?;
    }
    Ok(())
}

/// The one list, by kinds.
pub(crate) fn check_conflicts(view: &View<'_>, graph: &Graph) -> Result<(), String> {
    let of_kind = |is_it: fn(&ConflictKind) -> bool| {
        let all = graph.conflicts().filter(move |conflict| is_it(&conflict.kind));
        all.filter_map(|conflict| Some((conflict.of?, conflict.path.to_string()))).collect::<BTreeSet<_>>()
    };
    let whole = |things: BTreeSet<Owner>| things.into_iter().map(|owner| (owner, String::new())).collect();
    let edits = view.conflicts().into_iter().map(|(t, p)| (owner(t), path(p))).collect();
    same("concurrent edits", of_kind(|kind| *kind == ConflictKind::ConcurrentEdit), edits)?;
    let hidden = whole(owners(&view.hidden()));
    same("edits of what was deleted", of_kind(|kind| *kind == ConflictKind::EditDelete), hidden)?;
    let loose: Vec<Thing> = view.edges().into_iter().filter(|edge| view.lost(*edge)).collect();
    let loose = whole(owners(&loose));
    same("edges without an end", of_kind(|kind| matches!(kind, ConflictKind::Dangling { .. })), loose)
}
