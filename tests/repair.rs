//! Repair: two that have seen the same and do not hold the same are made equal, and whoever loses something is told.

#[path = "support/random.rs"]
mod random;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use driftless::kernel::{Dropped, Entity, Held, Payload, State};
use driftless::testing::{Raw, TestEnvironment, repair_checksum};
use driftless::{
    Crdt, CutError, Delta, Document, Dot, EdgeId, Edit, EditError, Environment, Graph, GraphChange, JournalLimit,
    LwwRegister, NodeId, OrMap, OrSet, Origin, PnCounter, Prune, Repair, RepairError, Replica,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

/// What is derived follows from the cells.
trait Consistent: Crdt + PartialEq + std::fmt::Debug {
    fn check(&self) -> Result<(), String> {
        self.state().check_invariants()
    }
}

impl Consistent for Raw {}
impl Consistent for LwwRegister<String> {}
impl Consistent for OrSet<String> {}
impl Consistent for OrMap<String, i64> {}
impl Consistent for PnCounter {}

impl Consistent for Graph {
    fn check(&self) -> Result<(), String> {
        self.check_invariants()
    }
}

impl Consistent for Document {
    fn check(&self) -> Result<(), String> {
        self.check_invariants()
    }
}

fn replica<T: Crdt>(seed: u64) -> Replica<T> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// The randomness of a process that was copied in memory: the same for the next draw, and then not.
struct Twin {
    next: Option<[u8; 16]>,
    rest: TestEnvironment,
}

impl Environment for Twin {
    fn now_ms(&mut self) -> u64 {
        self.rest.now_ms()
    }

    fn random(&mut self) -> [u8; 16] {
        self.next.take().unwrap_or_else(|| self.rest.random())
    }
}

/// A running process is copied with its memory, and each copy goes on as one writer.
fn clones<T: Crdt, const N: usize>(base: &mut Replica<T>) -> [Replica<T>; N] {
    let bytes = base.save();
    let seeds = std::array::from_fn::<u64, N, _>(|i| 100 + i as u64);
    let clones = seeds.map(|seed| {
        let twin = Twin { next: Some([77; 16]), rest: TestEnvironment::new(seed) };
        let mut clone: Replica<T> = Replica::load_with(twin, &bytes).unwrap();
        edit(&mut clone, |e| e.writer());
        clone
    });
    assert!(clones.iter().all(|clone| clone.writer().is_some() && clone.writer() == clones[0].writer()));
    clones
}

fn edit<T: Crdt, R>(replica: &mut Replica<T>, edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, EditError>) -> R {
    replica.edit(edit).unwrap().0
}

/// What one has seen and the other has not, by merging.
fn pull<T: Crdt>(to: &mut Replica<T>, from: &Replica<T>) {
    let delta = from.delta_since(to.version()).unwrap_or_else(|_| from.reconcile(to.version(), &to.live_dots()));
    to.merge(&through_bytes(&delta)).unwrap();
}

/// By complete deltas, which hold the content of every dot: an incremental one names a dot that both have seen without its
/// content, and what it leaves out of a cell counts as overwritten, also where the other content of the dot stands.
fn sync<T: Crdt>(a: &mut Replica<T>, b: &mut Replica<T>) {
    for _ in 0..4 {
        if a.version() == b.version() {
            return;
        }
        a.merge(&through_bytes(&b.complete())).unwrap();
        b.merge(&through_bytes(&a.complete())).unwrap();
    }
}

/// Both sync, cut what they hold, and then each repairs by the other's.
#[track_caller]
fn repair<T: Consistent>(a: &mut Replica<T>, b: &mut Replica<T>) -> [Repair<T>; 2] {
    sync(a, b);
    assert_eq!(a.version(), b.version(), "there is nothing to sync");
    let (for_a, for_b) = (through_bytes(&b.complete_with_tombstones()), through_bytes(&a.complete_with_tombstones()));
    let repairs = [a.repair(&for_a).unwrap(), b.repair(&for_b).unwrap()];
    assert_eq!(a.version(), b.version());
    equal(a, b);
    repairs
}

fn through_bytes(delta: &Delta) -> Delta {
    Delta::from_bytes(&delta.to_bytes()).unwrap()
}

#[track_caller]
fn equal<T: Consistent>(a: &Replica<T>, b: &Replica<T>) {
    a.state().check().unwrap();
    b.state().check().unwrap();
    assert_eq!(a.fingerprint(), b.fingerprint());
    assert_eq!(a.state(), b.state());
}

/// Another with the same state, to try the same again on.
fn again<T: Crdt>(replica: &Replica<T>) -> Replica<T> {
    replica.fork_with(TestEnvironment::new(999))
}

/// What a delta leaves a replica of nothing with.
fn holding<T: Crdt>(delta: &Delta) -> Replica<T> {
    let mut fresh = replica(998);
    fresh.merge(delta).unwrap();
    fresh
}

/// Every byte that decides, of every live sibling; kind 0 without a payload is a removal.
type Bytes = (u8, [u8; 16], Vec<u8>, u64, u8, Vec<u8>);

fn bytes((entity, field, sibling): (Entity, &driftless::kernel::Field, driftless::kernel::SiblingRef<'_>)) -> Bytes {
    let (kind, payload) =
        sibling.payload.as_ref().map_or((0, &[][..]), |payload| (payload.kind() + 1, payload.bytes()));
    let stamp = sibling.stamp.to_bits();
    (entity.kind(), *entity.id(), field.as_bytes().to_vec(), stamp, kind, payload.to_vec())
}

fn live(state: &State) -> BTreeMap<Dot, Bytes> {
    state.live_siblings().map(|(entity, field, sibling)| (sibling.dot, bytes((entity, &field, sibling)))).collect()
}

fn of(held: &Held) -> (Dot, Bytes) {
    (held.sibling.dot, bytes((held.entity, &held.field, held.sibling.as_ref())))
}

/// What a repair says lost its dot or its life, and what it says came instead.
fn told<T: Crdt>(repair: &Repair<T>) -> BTreeSet<(Dot, Bytes, Option<Bytes>)> {
    let told = repair.dropped().iter().map(|Dropped { was, now, rescued }| {
        let ((dot, was), now) = (of(was), now.as_ref().map(of));
        assert!(now.as_ref().is_none_or(|(other, _)| *other == dot), "another dot's content");
        assert_eq!(rescued.is_some(), now.is_some(), "what is alive on both sides is written again");
        (dot, was, now.map(|(_, now)| now).filter(|(_, _, _, _, kind, _)| *kind > 0))
    });
    told.collect()
}

fn entity(n: u8) -> Entity {
    Entity::new(1, [n; 16])
}

fn write(replica: &mut Replica<Raw>, entity: Entity, field: &[u8], text: &[u8]) -> Dot {
    edit(replica, |raw| raw.write(entity, field, Payload::new(1, text)))
}

fn shown(replica: &Replica<Raw>, entity: Entity, field: &[u8]) -> Vec<Vec<u8>> {
    let cells = Crdt::state(replica.state()).cells(entity);
    let live = cells.into_iter().flat_map(|c| c.live(field));
    let mut shown: Vec<_> = live.map(|s| s.payload.as_ref().unwrap().bytes().to_vec()).collect();
    shown.sort();
    shown
}

fn raw() -> Replica<Raw> {
    let mut base = replica(1);
    write(&mut base, entity(1), b"base", b"base");
    base
}

// ---- the rules ----

#[test]
fn of_two_contents_in_one_cell_the_greater_keeps_the_dot_and_the_other_is_written_again() {
    let [mut a, mut b] = clones(&mut raw());
    let dot = write(&mut a, entity(1), b"f", b"lesser");
    assert_eq!(write(&mut b, entity(1), b"f", b"more"), dot);
    let repairs = repair(&mut a, &mut b);
    for replica in [&a, &b] {
        assert_eq!(shown(replica, entity(1), b"f"), [&b"lesser"[..], b"more"]);
        assert_eq!(shown(replica, entity(1), b"base"), [b"base"]);
    }
    for repair in &repairs {
        let [Dropped { was, now: Some(now), rescued: Some(rescued) }] = repair.dropped() else { panic!("{repair:?}") };
        assert_eq!((was.entity, was.field.as_bytes(), was.sibling.dot), (entity(1), &b"f"[..], dot));
        assert_eq!(was.sibling.payload, Some(Payload::new(1, b"lesser")));
        assert_eq!(now.sibling.payload, Some(Payload::new(1, b"more")));
        assert!(rescued.writer.is_derived() && rescued.counter == 1);
        // The delta of what was written again says it to anybody.
        let mut fresh = replica::<Raw>(5);
        fresh.merge(&through_bytes(repair.rescue().unwrap())).unwrap();
        assert_eq!(shown(&fresh, entity(1), b"f"), [b"lesser"]);
        assert!(fresh.version().covers(*rescued));
        let [touched] = repair.touched() else { panic!("{repair:?}") };
        assert_eq!(touched.now().len(), 2);
    }
    // Nothing comes twice, whoever says it again.
    repair(&mut a, &mut b);
    assert_eq!(shown(&a, entity(1), b"f").len(), 2);
}

#[test]
fn each_part_of_a_content_decides_before_those_after_it() {
    // Each is greater in one part than the one before, and smaller in all that follow.
    let e = |kind, id| Entity::new(kind, [id; 16]);
    let ladder: [(u64, Entity, &[u8], Payload); 6] = [
        (9, e(1, 1), b"b", Payload::new(1, b"z")),
        (9, e(1, 1), b"b", Payload::new(3, b"y")),
        (10, e(1, 1), b"b", Payload::new(2, b"x")),
        (8, e(1, 1), b"c", Payload::new(1, b"w")),
        (7, e(1, 2), b"a", Payload::new(1, b"v")),
        (6, e(2, 0), b"", Payload::new(1, b"u")),
    ];
    for (i, lesser) in ladder.iter().enumerate() {
        for greater in &ladder[i + 1..] {
            let base = raw();
            let bytes = base.save();
            let [mut a, mut b] = [lesser, greater].map(|(millis, entity, field, payload)| {
                let environment = TestEnvironment::new(7);
                environment.clock().store(1_000_000 + millis, Ordering::Relaxed);
                let mut clone = Replica::<Raw>::load_with(environment, &bytes).unwrap();
                edit(&mut clone, |raw| raw.write(*entity, field, payload.clone()));
                clone
            });
            let kept = live(Crdt::state(b.state()));
            let [of_a, of_b] = repair(&mut a, &mut b);
            let mut ends = live(Crdt::state(a.state()));
            ends.retain(|dot, _| !dot.writer.is_derived());
            assert_eq!(ends, kept, "{lesser:?} against {greater:?}");
            assert_eq!((of_a.dropped().len(), of_b.dropped().len()), (1, 1));
            assert_eq!(
                shown(&b, lesser.1, lesser.2).len(),
                1 + usize::from((lesser.1, lesser.2) == (greater.1, greater.2))
            );
        }
    }
}

#[test]
fn a_dot_in_two_cells_of_one_entity_stands_in_one_afterwards() {
    let [mut a, mut b] = clones(&mut raw());
    write(&mut a, entity(1), b"f", b"z");
    write(&mut b, entity(1), b"g", b"a");
    let [of_a, of_b] = repair(&mut a, &mut b);
    // The other content stands under its derived dot.
    assert_eq!((shown(&a, entity(1), b"f"), shown(&a, entity(1), b"g")), (vec![b"z".to_vec()], vec![b"a".to_vec()]));
    assert_eq!((of_a.touched().len(), of_a.dropped().len()), (2, 1));
    assert_eq!((of_b.touched().len(), of_b.dropped().len()), (1, 1));
}

#[test]
fn a_dot_in_two_entities_stands_in_one_afterwards() {
    let [mut a, mut b] = clones(&mut raw());
    write(&mut a, entity(3), b"f", b"x");
    write(&mut b, entity(2), b"f", b"x");
    let [of_a, of_b] = repair(&mut a, &mut b);
    assert_eq!((of_a.dropped()[0].was.entity, of_b.dropped()[0].was.entity), (entity(2), entity(2)));
    assert_eq!((shown(&b, entity(2), b"f"), shown(&b, entity(3), b"f")), (vec![b"x".to_vec()], vec![b"x".to_vec()]));
}

/// Two dots trade places, so each comes into a cell that the other leaves.
#[test]
fn dots_that_trade_cells_are_never_in_two() {
    let [mut a, mut b] = clones(&mut raw());
    for (replica, fields) in [(&mut a, [b"f", b"g"]), (&mut b, [b"g", b"f"])] {
        for field in fields {
            write(replica, entity(1), field, field);
        }
    }
    let [of_a, of_b] = repair(&mut a, &mut b);
    // Both dots are in the greater cell.
    assert_eq!((shown(&a, entity(1), b"g").len(), shown(&a, entity(1), b"f").len()), (2, 2));
    assert_eq!((of_a.dropped().len(), of_b.dropped().len()), (2, 2));
    let contested: Vec<_> = Crdt::state(a.state()).contested().collect();
    assert_eq!(contested.len(), 0, "the same value twice is no conflict");
}

#[test]
fn contests_that_a_repair_opens_are_told() {
    let mut late: Replica<Raw> = replica(51);
    write(&mut late, entity(1), b"f", b"beside");
    write(&mut late, entity(2), b"f", b"beside");
    let [mut a, mut b] = clones(&mut raw());
    write(&mut a, entity(1), b"f", b"here in one cell");
    write(&mut b, entity(2), b"f", b"there in another");
    for replica in [&mut a, &mut b] {
        replica.merge(&late.complete()).unwrap();
    }
    let [of_a, of_b] = repair(&mut a, &mut b);
    for (repair, opens) in [(&of_a, entity(2)), (&of_b, entity(1))] {
        let opened: Vec<_> = repair.opened().map(|(entity, field)| (entity, field.as_bytes())).collect();
        assert_eq!((opened, repair.closed().count()), (vec![(opens, &b"f"[..])], 0));
    }
    assert_eq!(Crdt::state(a.state()).contested().count(), 2);
}

#[test]
fn what_is_overwritten_on_one_side_is_dead_on_both() {
    let mut base = raw();
    let old = write(&mut base, entity(1), b"g", b"old");
    let [mut a, mut b] = clones(&mut base);
    let new = write(&mut a, entity(1), b"f", b"x");
    write(&mut b, entity(1), b"g", b"new");
    let [of_a, of_b] = repair(&mut a, &mut b);
    assert_eq!(shown(&a, entity(1), b"g"), [b"new"], "the greater cell has the dot");
    assert_eq!(shown(&a, entity(1), b"f"), [b"x"], "the other was written again");
    let dots = |repair: &Repair<Raw>| -> BTreeSet<_> {
        repair.dropped().iter().map(|d| (d.was.sibling.dot, d.now.is_some())).collect()
    };
    assert_eq!(dots(&of_a), [(old, false), (new, true)].into());
    assert_eq!(dots(&of_b), [(new, true)].into());
}

#[test]
fn what_a_tombstone_ended_on_one_side_is_dead_on_both_pruned_or_not() {
    for prune in [false, true] {
        let mut base = raw();
        write(&mut base, entity(1), b"f", b"f");
        let [mut a, mut b] = clones(&mut base);
        assert!(edit(&mut a, |raw| raw.erase(entity(1), b"f")));
        write(&mut b, entity(1), b"g", b"g");
        if prune {
            a.prune(Prune::All);
        }
        let [of_a, of_b] = repair(&mut a, &mut b);
        // While the tombstone tells that the dot has two contents, the one that is no removal is written again.
        assert_eq!((shown(&a, entity(1), b"f").len(), shown(&a, entity(1), b"g").len()), (0, usize::from(!prune)));
        assert_eq!(Crdt::state(a.state()).tombstones_len(), usize::from(!prune), "it stays as it is");
        let dropped = |repair: &Repair<Raw>| -> BTreeSet<_> {
            let dropped = repair.dropped().iter();
            dropped.map(|d| (d.was.field.as_bytes().to_vec(), d.now.is_some(), d.rescued.is_some())).collect()
        };
        let g = (b"g".to_vec(), !prune, !prune);
        assert_eq!(dropped(&of_a), BTreeSet::from_iter((!prune).then(|| g.clone())));
        assert_eq!(dropped(&of_b), [(b"f".to_vec(), false, false), g].into());
    }
}

#[test]
fn two_tombstones_under_one_dot_kill_what_either_killed() {
    let mut base = raw();
    write(&mut base, entity(1), b"f", b"f");
    write(&mut base, entity(1), b"g", b"g");
    let mut late = base.fork_with(TestEnvironment::new(50));
    let [mut a, mut b] = clones(&mut base);
    edit(&mut a, |raw| raw.erase(entity(1), b"f"));
    edit(&mut b, |raw| raw.erase(entity(1), b"g"));
    repair(&mut a, &mut b);
    assert_eq!(Crdt::state(a.state()).live_len(), 1);
    // Neither tombstone tells a third of both: it reconciles.
    for replica in [&a, &b] {
        let mut late = again(&late);
        assert!(matches!(replica.delta_since(late.version()), Err(CutError::Pruned { .. })));
        late.merge(&replica.reconcile(late.version(), &late.live_dots())).unwrap();
        equal(&late, replica);
    }
    late.merge(&a.complete()).unwrap();
    equal(&late, &b);
}

/// What a dropped write had overwritten is dead, and the write is no longer there to tell so.
#[test]
fn who_had_not_seen_what_was_dropped_is_told_of_all_that_is_dead() {
    let mut base = raw();
    for field in [b"f", b"g"] {
        write(&mut base, entity(1), field, b"old");
    }
    let late = base.fork_with(TestEnvironment::new(50));
    let [mut a, mut b] = clones(&mut base);
    write(&mut a, entity(1), b"f", b"new");
    write(&mut b, entity(1), b"g", b"new");
    repair(&mut a, &mut b);
    for field in [b"f", b"g"] {
        assert_eq!(shown(&a, entity(1), field), [b"new"]);
    }
    for replica in [&a, &b] {
        let mut late = again(&late);
        assert!(matches!(replica.delta_since(late.version()), Err(CutError::Pruned { .. })));
        late.merge(&replica.reconcile(late.version(), &late.live_dots())).unwrap();
        equal(&late, replica);
    }
}

// ---- bit rot ----

/// Changes bytes of a message that stand in it once, so that the checksum fits.
fn rotten(delta: &Delta, good: &[u8], bad: &[u8]) -> Delta {
    let mut bytes = delta.to_bytes();
    let mut places = bytes.windows(good.len()).enumerate().filter(|(_, window)| *window == good);
    let (Some((at, _)), None) = (places.next(), places.next()) else { panic!("not once") };
    bytes[at..at + bad.len()].copy_from_slice(bad);
    repair_checksum(&mut bytes);
    Delta::from_bytes(&bytes).unwrap()
}

#[test]
fn bit_rot_in_a_value_is_mended_alike_on_both_sides_and_shows_both() {
    for bad in ["Adb Lovelace", "AdA Lovelace"] {
        let mut good: Replica<Graph> = replica(1);
        let ada = NodeId::named("ada");
        edit(&mut good, |g| g.add_node("ada").and_then(|_| g.set(ada, "/name", "Ada Lovelace")));
        let mut rotted = holding(&rotten(&good.complete(), b"Ada Lovelace", bad.as_bytes()));
        assert_eq!(good.version(), rotted.version());
        assert_ne!(good.fingerprint(), rotted.fingerprint());
        let repairs = repair(&mut good, &mut rotted);
        for replica in [&good, &rotted] {
            let node = replica.state().node(ada).unwrap();
            let names: BTreeSet<_> =
                node.properties().get_all("/name").map(|(name, _)| name.as_str().unwrap().to_owned()).collect();
            assert_eq!(names, [bad.to_owned(), "Ada Lovelace".to_owned()].into());
        }
        assert!(repairs.iter().all(|repair| repair.dropped().len() == 1), "both are told");
    }
}

#[test]
fn bit_rot_in_a_name_of_a_node_leaves_no_half_of_it() {
    let mut good: Replica<Graph> = replica(1);
    let ada = NodeId::named("ada");
    edit(&mut good, |g| {
        g.add_node("ada")?;
        g.link(ada, "knows", ada)
    });
    let mut id = *ada.as_bytes();
    id[15] ^= 1;
    // Under another id there is no such node, since its name does not give it; and the edge has lost its ends.
    let whole = good.complete().to_bytes();
    let at: Vec<_> = (0..whole.len() - 16).filter(|i| whole[*i..*i + 16] == *ada.as_bytes()).collect();
    for at in at {
        let mut bytes = whole.clone();
        bytes[at..at + 16].copy_from_slice(&id);
        repair_checksum(&mut bytes);
        let mut bad: Replica<Graph> = holding(&Delta::from_bytes(&bytes).unwrap());
        bad.state().check().unwrap();
        let [of_good, of_bad] = repair(&mut again(&good), &mut bad);
        assert_eq!((of_good.dropped().len(), of_bad.dropped().len()), (1, 1));
    }
}

// ---- a join ----

/// Three copies with three contents under each of their dots, one of them dead, one in another entity.
fn three() -> [Replica<Graph>; 3] {
    let mut base: Replica<Graph> = replica(1);
    let [ada, eve] = ["ada", "eve"].map(NodeId::named);
    edit(&mut base, |g| {
        g.add_node("ada")?;
        g.add_node("eve")?;
        g.set(eve, "/x", 0)?;
        g.link(ada, "knows", eve)
    });
    let [mut a, mut b, mut c] = clones(&mut base);
    edit(&mut a, |g| {
        g.set(ada, "/name", "first")?;
        g.add_node("joe")?;
        g.set(eve, "/x", 1)?;
        g.label(ada, "A")
    });
    edit(&mut b, |g| {
        g.remove_node(eve)?;
        g.set(ada, "/name", "second")?;
        g.set(ada, "/y", 2)?;
        g.link(ada, "knows", NodeId::named("joe"))
    });
    edit(&mut c, |g| {
        g.set(eve, "/name", "third")?;
        g.unlink(EdgeId::between(ada, "knows", eve))?;
        g.set(eve, "/x", 3)?;
        g.link(eve, "knows", NodeId::named("joe"))
    });
    assert!(a.version() == b.version() && b.version() == c.version());
    [a, b, c]
}

/// Three copies of which none killed anything.
fn three_alive() -> [Replica<Raw>; 3] {
    let mut copies = clones::<Raw, 3>(&mut raw());
    for (i, copy) in copies.iter_mut().enumerate() {
        for n in 0..4u8 {
            let contents: [&[u8]; 3] = [b"x", b"y", b"z"];
            write(copy, entity((n + i as u8) % 3), &[b'f', n], contents[(usize::from(n) + i) % 3]);
        }
    }
    copies
}

fn in_all_orders<T: Consistent>(make: impl Fn() -> [Replica<T>; 3]) -> BTreeSet<String> {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let pairs = [(0, 1), (1, 2), (2, 0)];
    let mut ends = BTreeSet::new();
    for order in orders {
        {
            let mut replicas = make().map(|replica| again(&replica));
            // Once more with the first pair, which may lack what the last found.
            for pair in order.into_iter().chain([order[0]]) {
                let (a, b) = pairs[pair];
                let [a, b] = replicas.get_disjoint_mut([a, b]).unwrap();
                sync(a, b);
                let (for_a, for_b) = (b.complete_with_tombstones(), a.complete_with_tombstones());
                a.repair(&for_a).unwrap();
                b.repair(&for_b).unwrap();
                equal(a, b);
            }
            for (a, b) in pairs {
                let [a, b] = replicas.get_disjoint_mut([a, b]).unwrap();
                sync(a, b);
                equal(a, b);
            }
            ends.insert(format!("{:?}", live(Crdt::state(replicas[0].state()))));
        }
    }
    ends
}

#[test]
fn three_replicas_end_with_the_same_in_whatever_order_they_repair() {
    assert_eq!(in_all_orders(three_alive).len(), 1);
}

#[test]
fn all_contents_of_a_dot_are_alive_in_the_end_once_each() {
    let before: Vec<BTreeSet<Bytes>> =
        three_alive().iter().map(|copy| live(Crdt::state(copy.state())).into_values().collect()).collect();
    let all: BTreeSet<Bytes> = before.into_iter().flatten().collect();
    let [mut a, mut b, mut c] = three_alive();
    repair(&mut a, &mut b);
    repair(&mut b, &mut c);
    repair(&mut c, &mut a);
    for replica in [&a, &c] {
        let live = live(Crdt::state(replica.state()));
        assert_eq!(live.len(), all.len(), "nothing is there twice");
        assert_eq!(live.into_values().collect::<BTreeSet<_>>(), all);
    }
    pull(&mut b, &a);
    equal(&a, &b);
}

/// The copies are made from one that has merged a third replica's past, and the writers of a peer are their heads too.
#[test]
fn copies_with_a_common_past_of_another_replica_are_repaired() {
    let mut other: Replica<Raw> = replica(60);
    write(&mut other, entity(5), b"o", b"other");
    let mut base = raw();
    pull(&mut base, &other);
    let [mut a, mut b] = clones(&mut base);
    write(&mut a, entity(5), b"o", b"from a");
    write(&mut b, entity(5), b"o", b"from b");
    repair(&mut a, &mut b);
    assert_eq!(shown(&a, entity(5), b"o"), [b"from a", b"from b"]);
    pull(&mut other, &a);
    equal(&other, &b);
    // Whoever heard of one copy alone is told of both contents by any of them.
    let [mut a, mut b] = clones(&mut base);
    let [mut p, mut q]: [Replica<Raw>; 2] = [replica(61), replica(62)];
    write(&mut a, entity(5), b"o", b"from a");
    write(&mut b, entity(5), b"o", b"from b");
    pull(&mut p, &a);
    pull(&mut q, &b);
    repair(&mut p, &mut q);
    assert_eq!(shown(&q, entity(5), b"o"), [b"from a", b"from b"]);
    repair(&mut a, &mut q);
    repair(&mut b, &mut p);
    equal(&a, &b);
    assert_eq!(shown(&a, entity(5), b"o").len(), 2);
}

#[test]
fn repairing_again_changes_nothing() {
    let [mut a, mut b, _] = three();
    repair(&mut a, &mut b);
    let saved = a.complete();
    for delta in [&b.complete(), &saved] {
        let again = a.repair(delta).unwrap();
        assert!(again.dropped().is_empty() && again.is_empty() && again.ahead().is_empty());
        assert_eq!(a.complete(), saved);
    }
}

#[test]
fn replicas_that_are_equal_have_nothing_to_repair() {
    let [mut a, ..] = three();
    a.prune(Prune::All);
    let mut b = again(&a);
    let (before, id) = (a.complete(), a.writer());
    assert!(id.is_some());
    let [of_a, of_b] = repair(&mut a, &mut b);
    assert!(of_a.dropped().is_empty() && of_a.is_empty() && of_b.dropped().is_empty());
    assert_eq!((a.complete(), a.writer()), (before, id));
}

/// On its way since before the repair, or in a file: it knows nothing that is not known here.
#[test]
fn a_delta_from_before_a_repair_does_not_undo_it() {
    let [mut a, mut b] = clones(&mut raw());
    let fresh = a.version().clone();
    write(&mut a, entity(1), b"f", b"x");
    write(&mut b, entity(1), b"g", b"x");
    let none = driftless::DotSet::new();
    let cut = |r: &Replica<Raw>| [r.complete(), r.delta_since(&fresh).unwrap(), r.reconcile(&fresh, &none)];
    let old = [cut(&a), cut(&b)].concat();
    repair(&mut a, &mut b);
    for delta in &old {
        assert!(a.merge(delta).unwrap().is_empty() && b.merge(delta).unwrap().is_empty());
        equal(&a, &b);
    }
    assert_eq!(shown(&a, entity(1), b"g"), [b"x"]);
}

// ---- refusals ----

#[test]
fn what_cannot_repair_is_refused_and_changes_nothing() {
    let [mut a, mut b, _] = three();
    let (before, snapshot, id) = (a.complete(), a.snapshot(), a.writer());
    let incremental = b.delta_since(&Default::default()).unwrap();
    let reconciled = b.reconcile(a.version(), &a.live_dots());
    let refused = |a: &mut Replica<Graph>, delta: &Delta| a.repair(delta).unwrap_err();
    assert_eq!(refused(&mut a, &incremental), RepairError::Kind);
    assert_eq!(refused(&mut a, &reconciled), RepairError::Kind);
    let mut raw = raw();
    let schema = RepairError::Schema { ours: "driftless.graph", theirs: "driftless.testing.raw".into() };
    assert_eq!(refused(&mut a, &raw.complete()), schema);
    assert!(matches!(raw.repair(&before), Err(RepairError::Schema { .. })));
    // One has seen more, or each something that the other has not.
    edit(&mut b, |g| g.add_node("late"));
    let version = RepairError::Version { ours: a.version().clone(), theirs: b.version().clone() };
    assert_eq!(refused(&mut a, &b.complete()), version);
    assert!(matches!(refused(&mut b, &before), RepairError::Version { .. }));
    assert!(version.to_string().contains("merge each other's deltas first"), "{version}");
    assert_eq!((a.complete(), a.state(), a.writer()), (before, &snapshot, id));
}

// ---- identity ----

#[test]
fn two_that_wrote_under_one_id_write_under_two_from_then_on() {
    let mut base = raw();
    let old = base.writer();
    let [mut a, mut b] = clones(&mut base);
    write(&mut a, entity(1), b"f", b"x");
    write(&mut b, entity(1), b"f", b"y");
    repair(&mut a, &mut b);
    assert_eq!((a.writer(), b.writer()), (None, None));
    write(&mut a, entity(1), b"f", b"a");
    write(&mut b, entity(1), b"f", b"b");
    assert!(a.writer() != b.writer() && a.writer() != old && b.writer() != old);
    let (for_a, for_b) = (b.delta_since(a.version()).unwrap(), a.delta_since(b.version()).unwrap());
    a.merge(&for_a).unwrap();
    b.merge(&for_b).unwrap();
    equal(&a, &b);
    assert_eq!(shown(&a, entity(1), b"f").len(), 2, "nothing is lost again");
}

#[test]
fn who_is_not_to_blame_keeps_its_id() {
    let [mut a, mut b] = clones(&mut raw());
    write(&mut a, entity(1), b"f", b"x");
    write(&mut b, entity(1), b"f", b"y");
    let mut witness: Replica<Raw> = replica(50);
    write(&mut witness, entity(2), b"w", b"w");
    let id = witness.writer();
    witness.merge(&a.complete()).unwrap();
    b.merge(&witness.delta_since(b.version()).unwrap()).unwrap();
    repair(&mut witness, &mut b);
    assert_eq!((witness.writer(), b.writer()), (id, None));
}

#[test]
fn writes_after_a_repair_come_after_the_stamps_that_came() {
    let bytes = raw().save();
    let [mut a, mut b, mut mad] = [10, 2_000, 1 << 40].map(|ahead| {
        let environment = TestEnvironment::new(7);
        environment.clock().fetch_add(ahead, Ordering::Relaxed);
        let mut clone = Replica::<Raw>::load_with(environment, &bytes).unwrap();
        write(&mut clone, entity(1), b"f", b"x");
        clone
    });
    repair(&mut a, &mut b);
    let stamps = |r: &Replica<Raw>| Crdt::state(r.state()).live_siblings().map(|(_, _, s)| s.stamp).max().unwrap();
    let came = stamps(&a);
    write(&mut a, entity(1), b"g", b"later");
    assert!(stamps(&a) > came);
    // A clock that is far ahead does not drag ours along.
    repair(&mut b, &mut mad);
    write(&mut b, entity(1), b"f", b"by our clock");
    assert!(Crdt::state(b.state()).live_siblings().all(|(_, _, s)| s.stamp.millis() < 1 << 40));
}

// ---- what is derived ----

#[test]
fn adjacency_and_journal_follow_a_node_that_only_one_side_has() {
    let mut names = ["ada", "eve"];
    names.sort_by_key(|name| NodeId::named(name));
    let [low, high] = names.map(NodeId::named);
    let mut base: Replica<Graph> = replica(1);
    edit(&mut base, |g| g.add_node(names[1]));
    let [mut a, mut b] = clones(&mut base);
    let edge = edit(&mut a, |g| {
        g.add_node(names[0])?;
        g.link(high, "knows", low)
    });
    edit(&mut b, |g| {
        g.set(high, "/x", 1)?;
        g.set(high, "/y", 2)
    });
    a.keep_journal(JournalLimit::default());
    b.keep_journal(JournalLimit::default());
    assert_eq!(a.state().neighbors(high).count(), 1);

    // The property of the one is the greater entity, and so is the edge; the node and the other property are written again.
    let [of_a, of_b] = repair(&mut a, &mut b);
    for graph in [a.state(), b.state()] {
        assert!(graph.node(low).is_some() && graph.node_count() == 2);
        assert_eq!(graph.dangling().count(), 0);
        assert_eq!(graph.outgoing(high).map(|edge| edge.id()).collect::<Vec<_>>(), [edge]);
        assert_eq!(graph.neighbors(high).count(), 1);
        assert_eq!(graph.node(high).unwrap().properties().to_json(), json!({"x": 1, "y": 2}));
    }
    let of_b: Vec<_> = of_b.changes().collect();
    assert!(of_b.contains(&GraphChange::NodeAdded(low)) && of_b.contains(&GraphChange::EdgeAdded(edge)), "{of_b:?}");
    for (replica, changes) in [(&a, of_a.changes().collect()), (&b, of_b)] {
        let entries: Vec<_> = replica.journal().unwrap().entries().collect();
        assert!(entries.iter().all(|entry| entry.origin() == Origin::Repair));
        assert_eq!(entries.iter().filter_map(|entry| entry.change::<Graph>()).collect::<Vec<_>>(), changes);
    }
}

#[test]
fn the_journal_names_the_write_whose_content_became_another() {
    let [mut a, mut b] = clones(&mut raw());
    let dot = write(&mut a, entity(1), b"f", b"x");
    write(&mut b, entity(1), b"f", b"y");
    a.keep_journal(JournalLimit::default());
    repair(&mut a, &mut b);
    let entries: Vec<_> = a.journal().unwrap().entries().collect();
    let [entry] = entries[..] else { panic!("{entries:?}") };
    assert!(entry.writes().iter().any(|(written, _)| *written == dot));
    let text = |s: &driftless::kernel::Sibling| s.payload.as_ref().unwrap().bytes().to_vec();
    assert_eq!(
        (entry.was().map(text).collect(), entry.now().map(text).collect()),
        (vec![b"x".to_vec()], vec![b"y".to_vec(), b"x".to_vec()])
    );
    assert_eq!(a.repair(&b.complete()).unwrap().touched().len(), 0);
    assert_eq!(a.journal().unwrap().len(), 1, "nothing changed, nothing is recorded");
}

#[test]
fn a_snapshot_from_before_stays_as_it_is_and_brings_back_what_was_dropped() {
    let [mut a, mut b, _] = three();
    let (before, state) = (a.snapshot(), a.state().clone());
    let [of_a, _] = repair(&mut a, &mut b);
    assert!(!of_a.dropped().is_empty());
    assert_eq!((&before, of_a.before()), (&state, &state));
    edit(&mut a, |g| g.revert_to(of_a.before()));
    let texts = |graph: &Graph| {
        let nodes = graph.nodes().map(|n| (n.id(), n.properties().to_json().to_string())).collect::<BTreeMap<_, _>>();
        (nodes, graph.edges().map(|edge| edge.id()).collect::<BTreeSet<_>>())
    };
    assert_eq!(texts(a.state()), texts(&before));
    b.merge(&a.delta_since(b.version()).unwrap()).unwrap();
    equal(&a, &b);
}

// ---- other types ----

#[test]
fn documents_are_repaired_path_by_path() {
    let mut base: Replica<Document> = replica(1);
    edit(&mut base, |d| d.set("/name", "base"));
    let [mut a, mut b] = clones(&mut base);
    edit(&mut a, |d| {
        d.set("/name", "first")?;
        d.set("/kind", 1)?;
        d.add("/visits", 5)
    });
    edit(&mut b, |d| {
        d.set("/name", "second")?;
        d.set("/kind/deep", 2)?;
        d.add("/visits", 7)
    });
    let [of_a, of_b] = repair(&mut a, &mut b);
    assert!(of_a.dropped().len() >= 3 && of_b.dropped().len() >= 3);
    assert_eq!(of_a.before().properties().to_json(), json!({"name": "first", "kind": 1, "visits": 5}));
    for document in [a.state(), b.state()] {
        let names: BTreeSet<_> = document.properties().get_all("/name").map(|(name, _)| name.to_string()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(document.conflicts().count() >= 2);
    }
    let paths: BTreeSet<_> = of_a.changes().map(|path| path.to_string()).collect();
    assert!(paths.contains("/kind/deep") && paths.contains("/name"), "{paths:?}");
}

#[test]
fn what_standalone_types_have_decoded_follows() {
    let mut base: Replica<LwwRegister<String>> = replica(1);
    edit(&mut base, |r| r.set("base".into()));
    let [mut a, mut b] = clones(&mut base);
    edit(&mut a, |r| r.set("aaaa".into()));
    edit(&mut b, |r| r.set("bbbb".into()));
    let [of_a, _] = repair(&mut a, &mut b);
    assert_eq!((a.state().get(), of_a.before().get().unwrap()), (b.state().get(), &"aaaa".to_owned()));

    let mut base: Replica<OrSet<String>> = replica(1);
    edit(&mut base, |s| s.insert("base".into()));
    let [mut a, mut b] = clones(&mut base);
    edit(&mut a, |s| s.insert("x".into()));
    edit(&mut b, |s| s.insert("y".into()));
    repair(&mut a, &mut b);
    for set in [a.state(), b.state()] {
        assert_eq!(set.iter().map(String::as_str).collect::<Vec<_>>(), ["base", "x", "y"]);
    }

    let mut base: Replica<OrMap<String, i64>> = replica(1);
    edit(&mut base, |m| m.insert("k".into(), 1));
    let [mut a, mut b] = clones(&mut base);
    edit(&mut a, |m| m.remove(&"k".into()));
    edit(&mut b, |m| m.insert("l".into(), 2));
    repair(&mut a, &mut b);
    for map in [a.state(), b.state()] {
        assert_eq!((map.get(&"k".into()), map.get(&"l".into()), map.len()), (None, Some(&2), 1));
    }

    let mut base: Replica<PnCounter> = replica(1);
    edit(&mut base, |c| c.add(1));
    let [mut a, mut b] = clones(&mut base);
    edit(&mut a, |c| c.add(5));
    edit(&mut b, |c| c.add(7));
    let [of_a, of_b] = repair(&mut a, &mut b);
    // What the copies added is a range, of which both show the same end.
    assert_eq!(a.state().value(), b.state().value());
    assert_eq!((of_a.before().value(), of_b.before().value()), (6, 8));
    edit(&mut a, |c| c.add(5));
    b.merge(&a.delta_since(b.version()).unwrap()).unwrap();
    assert_eq!(b.state().value(), a.state().value());
}

// ---- at random ----

/// How often a case held what it is there to hold.
#[derive(Default)]
struct Seen {
    cases: Cell<u32>,
    contents: Cell<u32>,
    moved: Cell<u32>,
    dead: Cell<u32>,
    reconciled: Cell<u32>,
}

fn bump(counter: &Cell<u32>) {
    counter.set(counter.get() + 1);
}

/// What must be alive in the end: all contents of dots that all hold alive.
fn expected<T: Crdt>(replicas: &[Replica<T>]) -> BTreeSet<Bytes> {
    let all: Vec<_> = replicas.iter().map(|replica| live(replica.state().state())).collect();
    let everywhere = all[0].keys().filter(|dot| all.iter().all(|live| live.contains_key(dot)));
    everywhere.flat_map(|dot| all.iter().map(|live| live[dot].clone())).collect()
}

/// Repairs every pair of three, with everything that must hold of it; `late` has seen what all had before they parted.
fn judge<T: Consistent>(clones: &mut [Replica<T>; 3], late: &Replica<T>, seen: &Seen) -> Result<(), TestCaseError> {
    let all = expected(clones);
    // The first two lack what the third brought.
    for (a, b) in [(0, 1), (1, 2), (0, 2), (0, 1)] {
        let [left, right] = clones.get_disjoint_mut([a, b]).unwrap();
        sync(left, right);
        prop_assert_eq!(left.version(), right.version());
        let (for_left, for_right) =
            (through_bytes(&right.complete_with_tombstones()), through_bytes(&left.complete_with_tombstones()));
        for (replica, delta) in [(&mut *left, &for_left), (&mut *right, &for_right)] {
            let before = live(replica.state().state());
            let repair = replica.repair(delta).unwrap();
            replica.state().check().map_err(TestCaseError::fail)?;
            let after = live(replica.state().state());
            // All that disappeared was told, with what came instead.
            let gone = before.iter().filter(|(dot, content)| after.get(dot) != Some(content));
            let gone: BTreeSet<_> = gone.map(|(dot, was)| (*dot, was.clone(), after.get(dot).cloned())).collect();
            prop_assert!(told(&repair).is_superset(&gone));
            prop_assert_eq!(live(repair.before().state()), before);
            for Dropped { was, now, .. } in repair.dropped() {
                bump(if now.is_some() { &seen.contents } else { &seen.dead });
                if now.as_ref().is_some_and(|now| (now.entity, &now.field) != (was.entity, &was.field)) {
                    bump(&seen.moved);
                }
            }
            // The report is a diff of before and after.
            let diff = driftless::Diff::between(repair.before(), replica.state());
            let cells = |diff: &driftless::Diff<T>| {
                diff.touched().iter().map(|t| (t.entity, t.field.clone(), t.contest)).collect::<Vec<_>>()
            };
            prop_assert_eq!(cells(&repair), cells(&diff));
            // What was saved is what is here.
            let reloaded = Replica::<T>::load(&replica.save()).unwrap();
            prop_assert_eq!(reloaded.state(), replica.state());
            prop_assert_eq!(reloaded.version(), replica.version());
        }
        prop_assert_eq!(left.version(), right.version());
        prop_assert_eq!(left.state(), right.state());
        prop_assert_eq!(left.fingerprint(), right.fingerprint());
        let whole = right.complete_with_tombstones();
        prop_assert!(left.repair(&whole).unwrap().is_empty());
    }
    for clone in clones.iter() {
        let live: BTreeSet<Bytes> = live(clone.state().state()).into_values().collect();
        prop_assert!(live.is_superset(&all), "what all held alive is not alive: {:?}", all.difference(&live));
        prop_assert_eq!(clone.fingerprint(), clones[0].fingerprint());
        // Who saw nothing of it ends with the same, without a repair.
        let mut late = again(late);
        let delta = clone.delta_since(late.version()).unwrap_or_else(|_| {
            bump(&seen.reconciled);
            clone.reconcile(late.version(), &late.live_dots())
        });
        late.merge(&delta).unwrap();
        late.state().check().map_err(TestCaseError::fail)?;
        prop_assert_eq!(late.state(), clone.state());
        prop_assert_eq!(late.fingerprint(), clone.fingerprint());
    }
    Ok(())
}

/// All write on until each has written as much as the one that wrote most.
fn pad<T: Crdt>(clones: &mut [Replica<T>; 3], mut once: impl FnMut(&mut Replica<T>, u64)) {
    let id = clones[0].writer().unwrap();
    let most = clones.iter().map(|clone| clone.version().get(id)).max().unwrap();
    for clone in clones.iter_mut() {
        while clone.version().get(id) < most {
            let before = clone.version().get(id);
            once(clone, before + 1);
            assert!(clone.version().get(id) == before + 1 || before == 0);
        }
    }
}

fn share(counter: &Cell<u32>, seen: &Seen) -> f64 {
    f64::from(counter.get()) / f64::from(seen.cases.get())
}

fn enough(seen: &Seen) {
    let parts = [&seen.contents, &seen.moved, &seen.dead, &seen.reconciled].map(|counter| share(counter, seen));
    assert!(parts.iter().all(|part| *part > 0.5), "contents, moved, dead, reconciled per case: {parts:?}");
}

#[derive(Clone, Debug)]
enum Write {
    Put(u8, u8, u8),
    Erase(u8, u8),
    Delete(u8),
    Prune,
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let write = prop_oneof![
        8 => (0..3u8, 0..4u8, 0..4u8).prop_map(|(e, f, v)| Write::Put(e, f, v)),
        2 => (0..3u8, 0..4u8).prop_map(|(e, f)| Write::Erase(e, f)),
        1 => (0..3u8).prop_map(Write::Delete),
        1 => Just(Write::Prune),
    ];
    prop::collection::vec(write, 1..10)
}

fn perform(replica: &mut Replica<Raw>, writes: &[Write]) {
    for write in writes {
        let field = |n: u8| vec![b'f'; usize::from(n)];
        match *write {
            Write::Put(e, f, v) => {
                edit(replica, |raw| raw.write(entity(e), &field(f), Payload::new(v % 2, &[v])));
            }
            Write::Erase(e, f) => drop(edit(replica, |raw| raw.erase(entity(e), &field(f)))),
            Write::Delete(e) => drop(edit(replica, |raw| raw.delete(entity(e)))),
            Write::Prune => drop(replica.prune(Prune::All)),
        }
    }
}

#[test]
fn copies_that_wrote_as_much_end_with_the_same_and_know_what_they_lost() {
    let seen = Seen::default();
    let three = || [writes(), writes(), writes()];
    let strategy = (writes(), writes(), three(), three());
    let result = TestRunner::new(config(300)).run(&strategy, |(before, beside, after, later)| {
        bump(&seen.cases);
        let mut base = raw();
        perform(&mut base, &before);
        let mut other = base.fork_with(TestEnvironment::new(50));
        perform(&mut other, &beside);
        let mut copies: [_; 3] = clones(&mut base);
        copies.iter_mut().zip(&after).for_each(|(clone, writes)| perform(clone, writes));
        for clone in &mut copies {
            clone.merge(&other.complete()).unwrap();
        }
        copies.iter_mut().zip(&later).for_each(|(clone, writes)| perform(clone, writes));
        pad(&mut copies, |clone, n| {
            write(clone, entity(n as u8 % 3), b"pad", &[n as u8]);
        });
        judge(&mut copies, &other, &seen)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    enough(&seen);
}

/// Cells that nobody could have written, among those of a graph.
fn strange() -> impl Strategy<Value = Vec<(u8, u8, u8, u8)>> {
    prop::collection::vec((0..3u8, 0..4u8, 0..6u8, 0..5u8), 0..5)
}

fn write_strange(g: &mut Edit<'_, Graph>, writes: &[(u8, u8, u8, u8)], roots: &[Payload]) -> Result<(), EditError> {
    for (kind, id, field, payload) in writes {
        let entity = match kind {
            0 => Entity::new(1, *random::node(usize::from(*id) % 3).as_bytes()),
            1 => {
                let (s, t) = (random::node(usize::from(*id) % 3), random::node(usize::from(*id) / 2));
                Entity::new(2, *EdgeId::between(s, "knows", t).as_bytes())
            }
            _ => Entity::new(*id, [*id; 16]),
        };
        let fields: [&[u8]; 6] = [b"", b"\x01label", b"\x02\x30\x00\xfe\x00\x02", b"\x02", b"\x03", b"\xff"];
        let own = [Payload::new(16, b""), Payload::new(6, b"text"), Payload::new(200, b"\xff")];
        let payload = own.iter().chain(roots).cycle().nth(usize::from(*payload));
        g.write(entity, fields[usize::from(*field)], payload.cloned().unwrap_or_else(|| own[0].clone()))?;
    }
    Ok(())
}

#[test]
fn graphs_that_wrote_as_much_end_with_the_same_whatever_is_in_their_cells() {
    let seen = Seen::default();
    let three = || [random::ops(), random::ops(), random::ops()];
    let odd = || [strange(), strange(), strange()];
    let strategy = (random::steps(), three(), odd(), three());
    let result = TestRunner::new(config(200)).run(&strategy, |(before, after, odd, later)| {
        bump(&seen.cases);
        let mut world = random::World::new();
        world.run(&before);
        let mut base = world.replicas.swap_remove(0);
        edit(&mut base, |g| g.add_node("base").and_then(|base| g.label(base, "Base")));
        let late = base.fork_with(TestEnvironment::new(50));
        let mut copies: [_; 3] = clones(&mut base);
        // Roots as they are written, to stand in other entities.
        let roots = late.state().state().live_siblings().filter(|(_, field, _)| field.is_root());
        let roots: Vec<Payload> =
            roots.filter_map(|(_, _, sibling)| Some(sibling.payload?.to_payload())).take(4).collect();
        for (i, clone) in copies.iter_mut().enumerate() {
            edit(clone, |g| after[i].iter().try_for_each(|op| random::apply(g, op)));
            edit(clone, |g| write_strange(g, &odd[i], &roots));
            edit(clone, |g| later[i].iter().try_for_each(|op| random::apply(g, op)));
        }
        pad(&mut copies, |clone, n| {
            edit(clone, |g| g.add_node(&format!("pad {n}")[..]));
        });
        judge(&mut copies, &late, &seen)?;
        for clone in &copies {
            random::reading(clone.state());
            clone.state().conflicts().for_each(drop);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    enough(&seen);
}

fn config(cases: u32) -> ProptestConfig {
    let times: u32 = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    ProptestConfig { cases: cases.saturating_mul(times), source_file: Some(file!()), ..ProptestConfig::default() }
}

/// Whatever a peer claims: nothing panics, and all that is derived follows.
#[test]
fn every_damaged_delta_that_decodes_repairs_or_is_refused() {
    let [a, b, _] = three();
    let whole = b.complete_with_tombstones().to_bytes();
    let (mut repaired, mut refused) = (0, 0);
    for at in 0..whole.len() {
        for change in [1, 2, 16, 128, 255] {
            let mut damaged = whole.clone();
            damaged[at] ^= change;
            repair_checksum(&mut damaged);
            let Ok(delta) = Delta::from_bytes(&damaged) else { continue };
            let mut a = again(&a);
            let before = a.complete();
            match a.repair(&delta) {
                Ok(_) => {
                    a.state().check().unwrap();
                    random::reading(a.state());
                    repaired += 1;
                    let mut peer: Replica<Graph> = replica(998);
                    if peer.merge(&delta).is_ok() {
                        peer.repair(&before).unwrap();
                        equal(&a, &peer);
                    }
                }
                Err(_) => {
                    assert_eq!(a.complete(), before);
                    refused += 1;
                }
            }
        }
    }
    assert!(repaired > 200 && refused > 20, "{repaired} repaired, {refused} refused");
}

/// A walk of both, and what differs: twice as large costs twice as much.
#[test]
fn a_repair_looks_at_each_cell_once() {
    let visits = |nodes: usize| {
        let mut base: Replica<Graph> = replica(1);
        edit(&mut base, |g| {
            (0..nodes).try_for_each(|n| g.add_node(&format!("node {n}")[..]).and_then(|id| g.set(id, "/n", n as i64)))
        });
        let [mut a, mut b] = clones(&mut base);
        edit(&mut a, |g| g.set(NodeId::named("node 0"), "/x", 1));
        edit(&mut b, |g| g.set(NodeId::named("node 1"), "/x", 1));
        let delta = b.complete();
        driftless::testing::cells_visited();
        a.repair(&delta).unwrap();
        driftless::testing::cells_visited()
    };
    let (small, large) = (visits(1_000), visits(2_000));
    assert!((2..=2_000 + 16).contains(&small) && (2..=4_000 + 16).contains(&large), "{small} and {large}");
}
