//! Differences between states, and going back to one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use driftless::kernel::{Field, Sibling};
use driftless::testing::TestEnvironment;
use driftless::{
    Crdt, Diff, Document, DwFlag, EdgeId, Edit, EditError, EwFlag, GCounter, Graph, GraphChange, LwwRegister,
    MaxRegister, MinRegister, MvRegister, NodeId, OrMap, OrSet, PnCounter, Prune, Replica, Restored, RwSet,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

#[path = "support/random.rs"]
mod random;

use random::{LiveCells, World, conflicts, live_cells, ops, reading, steps};

fn replica<T: Crdt>(seed: u64) -> Replica<T> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// Both ways, by whatever kind of delta it takes.
fn sync<T: Crdt>(a: &mut Replica<T>, b: &mut Replica<T>) {
    let (for_a, for_b) = (b.delta_since(a.version()).unwrap(), a.delta_since(b.version()).unwrap());
    a.merge(&for_a).unwrap();
    b.merge(&for_b).unwrap();
}

fn ada() -> NodeId {
    NodeId::named("ada")
}

fn add_ada(g: &mut Edit<'_, Graph>) -> Result<(), EditError> {
    g.add_node("ada")?;
    g.label(ada(), "Person")?;
    g.set(ada(), "/name", "Ada Lovelace")?;
    g.set(ada(), "/born", 1815)
}

// ---- differences ----

fn text(siblings: &[Sibling]) -> BTreeSet<String> {
    siblings.iter().map(|sibling| format!("{sibling:?}")).collect()
}

fn check_diff<T: Crdt>(older: &T, newer: &T) {
    let (was, now) = (live_cells(older), live_cells(newer));
    let keys: BTreeSet<_> = was.keys().chain(now.keys()).collect();
    let of = |cells: &LiveCells, key| cells.get(key).cloned().unwrap_or_default();
    let expected: BTreeMap<_, _> = keys
        .into_iter()
        .map(|key| (key.clone(), (of(&was, key), of(&now, key))))
        .filter(|(_, (was, now))| was != now)
        .collect();
    let diff = Diff::between(older, newer);
    let found: Vec<_> = (diff.touched().iter())
        .map(|t| ((format!("{:?}", t.entity), t.field.as_bytes().to_vec()), (text(t.was()), text(t.now()))))
        .collect();
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "each cell once, in order");
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), expected);
    assert_eq!(diff.is_empty(), expected.is_empty());
    for touched in diff.touched() {
        let cells = newer.state().cells(touched.entity);
        assert_eq!(touched.is_live, cells.is_some_and(|cells| cells.is_live()));
    }
    let contested = |value: &T| -> BTreeSet<_> {
        value.state().contested().map(|(e, f)| (format!("{e:?}"), f.as_bytes().to_vec())).collect()
    };
    let key = |(e, f): (driftless::kernel::Entity, &Field)| (format!("{e:?}"), f.as_bytes().to_vec());
    let (opened, closed): (BTreeSet<_>, BTreeSet<_>) =
        (diff.opened().map(key).collect(), diff.closed().map(key).collect());
    assert_eq!(opened, &contested(newer) - &contested(older));
    assert_eq!(closed, &contested(older) - &contested(newer));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_diff_is_what_comparing_all_live_cells_finds(before in steps(), after in steps()) {
        let mut world = World::new();
        world.run(&before);
        let snapshots: Vec<_> = world.replicas.iter().map(Replica::snapshot).collect();
        world.run(&after);
        for now in &world.replicas {
            for then in &snapshots {
                check_diff(then, now.state());
                check_diff(now.state(), then);
            }
            // The same where no memory is shared.
            let mut elsewhere = replica::<Graph>(9);
            elsewhere.merge(&now.complete()).unwrap();
            check_diff(elsewhere.state(), now.state());
            check_diff(&snapshots[0], elsewhere.state());
        }
    }

    /// Entities of some dozens of cells are kept in another layout than small ones.
    #[test]
    fn a_diff_of_large_entities_is_complete(
        before in prop::collection::btree_set(0..90u32, 0..90),
        after in prop::collection::vec((0..90u32, any::<bool>()), 0..90),
        clear in any::<bool>(),
    ) {
        let mut set = replica::<OrSet<u32>>(1);
        set.edit(|set| before.iter().try_for_each(|n| set.insert(*n).map(drop))).unwrap();
        let then = set.snapshot();
        set.edit(|set| {
            if clear {
                set.clear()?;
            }
            after.iter().try_for_each(|(n, add)| if *add { set.insert(*n) } else { set.remove(n) }.map(drop))
        })
        .unwrap();
        check_diff(&then, set.state());
        check_diff(set.state(), &then);
        let now = set.snapshot();
        set.edit(|set| set.revert_to(&then)).unwrap();
        prop_assert!(set.state().iter().eq(then.iter()));
        set.edit(|set| set.revert_to(&now)).unwrap();
        prop_assert!(set.state().iter().eq(now.iter()));
    }
}

#[test]
fn pruned_tombstones_are_no_difference() {
    let mut a = replica::<Graph>(1);
    a.edit(add_ada).unwrap();
    a.edit(|g| g.unset(ada(), "/name")).unwrap();
    let before = a.snapshot();
    assert!(a.prune(Prune::All) > 0);
    assert!(a.diff(&before).is_empty());
}

#[test]
fn a_diff_speaks_the_language_of_the_type_and_passes_over_the_same_value_written_again() {
    let mut a = replica::<Graph>(1);
    a.edit(add_ada).unwrap();
    let before = a.snapshot();
    a.edit(|g| {
        g.set(ada(), "/name", "Ada Lovelace")?;
        g.unlabel(ada(), "Person")
    })
    .unwrap();
    let diff = a.diff(&before);
    let removed = GraphChange::LabelRemoved { node: ada(), label: "Person".into() };
    assert_eq!((diff.touched().len(), diff.changes().collect::<Vec<_>>()), (2, vec![removed]));
}

// ---- going back ----

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn reverted_everything_reads_as_in_the_snapshot(before in steps(), after in steps(), meanwhile in ops()) {
        let mut world = World::new();
        world.run(&before);
        let then = world.replicas[0].snapshot();
        world.run(&after);
        world.edit(1, &meanwhile);

        let mut twin = world.replicas[0].fork();
        let version = world.replicas[0].version().clone();
        let (writes, delta) = world.replicas[0].edit(|g| g.revert_to(&then)).unwrap();
        let made: u64 = world.replicas[0].version().iter().map(|(id, n)| n - version.get(id)).sum();
        prop_assert_eq!(writes as u64, made);
        let now = world.replicas[0].state();
        now.check_invariants().unwrap();
        prop_assert_eq!(reading(now), reading(&then));
        // What remains of conflicts is as it was: none opened since, none with other values.
        prop_assert!(conflicts(now).is_subset(&conflicts(&then)), "{:?} {:?}", conflicts(now), conflicts(&then));

        twin.merge(&delta).unwrap();
        prop_assert_eq!(twin.state(), now);

        let (again, _) = world.replicas[0].edit(|g| g.revert_to(&then)).unwrap();
        prop_assert_eq!(again, 0, "a second revert writes nothing");

        // What the other wrote unseen survives.
        let seen = world.replicas[0].version().clone();
        let unseen: Vec<_> = (world.replicas[1].state().state().live_siblings())
            .filter(|(_, _, sibling)| !seen.covers(sibling.dot))
            .map(|(_, _, sibling)| sibling.dot)
            .collect();
        world.merge(1, 0);
        world.merge(0, 1);
        prop_assert_eq!(world.replicas[0].state(), world.replicas[1].state());
        let live = world.replicas[0].live_dots();
        prop_assert!(unseen.iter().all(|dot| live.contains(*dot)), "a write that the reverter had not seen is gone");
    }

    #[test]
    fn two_that_revert_to_the_same_snapshot_make_no_conflict(
        before in steps(), ours in prop::collection::vec(ops(), 0..6), theirs in prop::collection::vec(ops(), 0..6),
    ) {
        let mut world = World::new();
        world.run(&before);
        world.merge(0, 1);
        world.merge(1, 0);
        let then = world.replicas[0].snapshot();
        ours.iter().for_each(|ops| world.edit(0, ops));
        theirs.iter().for_each(|ops| world.edit(1, ops));
        for replica in &mut world.replicas {
            replica.edit(|g| g.revert_to(&then)).unwrap();
        }
        world.merge(0, 1);
        world.merge(1, 0);
        let now = world.replicas[0].state();
        prop_assert_eq!(now, world.replicas[1].state());
        prop_assert_eq!(reading(now), reading(&then));
        prop_assert!(conflicts(now).is_subset(&conflicts(&then)), "{:?} {:?}", conflicts(now), conflicts(&then));
    }

    #[test]
    fn restored_a_node_has_what_survived_and_else_what_the_snapshot_holds(before in steps(), after in steps()) {
        let mut world = World::new();
        world.run(&before);
        let then = world.replicas[0].snapshot();
        world.run(&after);
        let replica = &mut world.replicas[0];
        for id in (0..3).map(random::node) {
            let (was, now) = (then.node(id), replica.snapshot());
            let Some(was) = was.filter(|_| !now.contains_node(id)) else { continue };
            prop_assert_eq!(replica.edit(|g| g.restore_from(&then, id)).unwrap().0, Restored::Whole);
            let (node, survivors) = (replica.state().node(id).unwrap(), now.hidden_of(id));
            prop_assert_eq!(node.name(), was.name());
            let survived: Vec<_> = survivors.iter().flat_map(|hidden| hidden.labels()).collect();
            let labels: BTreeSet<_> = was.labels().chain(survived).collect();
            prop_assert_eq!(node.labels().collect::<BTreeSet<_>>(), labels);
            let mut properties: BTreeMap<_, _> = was.properties().iter().collect();
            properties.extend(survivors.iter().flat_map(|hidden| hidden.properties().iter()));
            prop_assert_eq!(node.properties().iter().collect::<BTreeMap<_, _>>(), properties);
            replica.state().check_invariants().unwrap();
        }
    }

    /// One entity at a time comes to the same.
    #[test]
    fn reverting_each_node_and_edge_is_reverting_all(before in steps(), after in steps()) {
        let mut world = World::new();
        world.run(&before);
        let then = world.replicas[0].snapshot();
        world.run(&after);
        let edges = (0..9).map(|n| EdgeId::between(random::node(n / 3), "knows", random::node(n % 3)));
        world.replicas[0].edit(|g| {
            for n in 0..3 {
                g.revert(random::node(n), &then)?;
            }
            edges.into_iter().try_for_each(|edge| g.revert(edge, &then).map(drop))
        }).unwrap();
        prop_assert_eq!(reading(world.replicas[0].state()), reading(&then));
    }
}

/// What the properties above are worth: how often random steps come to what they are about.
#[test]
fn random_steps_come_to_all_that_reverting_has_to_deal_with() {
    let mut runner = TestRunner::deterministic();
    let mut hits = BTreeMap::<&str, usize>::new();
    for _ in 0..500 {
        let (before, after) = (steps(), steps()).new_tree(&mut runner).unwrap().current();
        let mut world = World::new();
        world.run(&before);
        let then = world.replicas[0].snapshot();
        world.run(&after);
        let now = world.replicas[0].state();
        let ids = |graph: &Graph| graph.nodes().map(|node| node.id()).collect::<BTreeSet<_>>();
        let hidden = |graph: &Graph| graph.hidden().count();
        let (was, is) = (conflicts(&then), conflicts(now));
        for (what, hit) in [
            ("a node to delete", !ids(now).is_subset(&ids(&then))),
            ("a node to bring back", !ids(&then).is_subset(&ids(now))),
            ("a survivor to hide again", hidden(&then) > 0 && reading(&then) != reading(now)),
            ("a survivor to take away", hidden(now) > hidden(&then)),
            ("a conflict that changed", !was.is_subset(&is)),
            ("a conflict that opened", !is.is_subset(&was)),
            ("a conflict that stayed", was.intersection(&is).next().is_some()),
        ] {
            *hits.entry(what).or_default() += usize::from(hit);
        }
    }
    println!("of 500: {hits:?}");
    assert!(hits.values().all(|hits| *hits >= 10), "{hits:?}");
}

#[test]
fn what_was_added_since_is_deleted_with_one_write_whatever_it_holds() {
    let mut a = replica::<Graph>(1);
    let empty = a.snapshot();
    a.edit(|g| {
        add_ada(g)?;
        (0..100).try_for_each(|n| g.set(ada(), format!("/{n}"), n))
    })
    .unwrap();
    assert_eq!(a.edit(|g| g.revert_to(&empty)).unwrap().0, 1);
    assert_eq!(a.state().state().live_len(), 0);
}

#[test]
fn what_reads_the_same_is_not_written() {
    let mut a = replica::<Graph>(1);
    a.edit(add_ada).unwrap();
    let before = a.snapshot();
    a.edit(|g| {
        g.set(ada(), "/name", "Countess")?;
        g.set(ada(), "/name", "Ada Lovelace")?;
        g.set(ada(), "/born", 1851)
    })
    .unwrap();
    assert_eq!(a.edit(|g| g.revert_to(&before)).unwrap().0, 1);
}

#[test]
fn a_conflict_that_changed_since_comes_back_as_its_winner() {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    a.edit(add_ada).unwrap();
    sync(&mut a, &mut b);
    a.edit(|g| g.set(ada(), "/name", "Countess")).unwrap();
    b.edit(|g| g.set(ada(), "/name", "Lady Byron")).unwrap();
    sync(&mut a, &mut b);
    let shown = a.state().node(ada()).unwrap().get("/name").unwrap().to_string();
    let before = a.snapshot();
    assert_eq!(before.conflicts().count(), 1);
    // Untouched, it stays.
    assert_eq!(a.edit(|g| g.revert_to(&before)).unwrap().0, 0);
    a.edit(|g| g.set(ada(), "/name", "somebody else")).unwrap();
    assert_eq!(a.edit(|g| g.revert_to(&before)).unwrap().0, 1);
    assert_eq!(a.state().node(ada()).unwrap().get("/name").unwrap().to_string(), shown);
    assert_eq!(a.state().conflicts().count(), 0);
}

#[test]
fn a_conflict_between_the_same_values_written_anew_stays() {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    a.edit(add_ada).unwrap();
    sync(&mut a, &mut b);
    let disagree = |a: &mut Replica<Graph>, b: &mut Replica<Graph>| {
        a.edit(|g| g.set(ada(), "/name", "Countess")).unwrap();
        b.edit(|g| g.set(ada(), "/name", "Lady Byron")).unwrap();
        sync(a, b);
    };
    disagree(&mut a, &mut b);
    let before = a.snapshot();
    a.edit(|g| g.set(ada(), "/name", "both")).unwrap();
    sync(&mut a, &mut b);
    disagree(&mut a, &mut b);
    assert_ne!(a.state(), &before);
    // It reads as it did, conflict and all.
    assert_eq!(a.edit(|g| g.revert_to(&before)).unwrap().0, 0);
    assert_eq!(a.state().conflicts().count(), 1);
}

#[test]
fn a_conflict_that_opened_since_is_settled() {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    a.edit(add_ada).unwrap();
    sync(&mut a, &mut b);
    let before = a.snapshot();
    a.edit(|g| g.set(ada(), "/name", "Ada Lovelace")).unwrap();
    b.edit(|g| g.set(ada(), "/name", "Countess")).unwrap();
    sync(&mut a, &mut b);
    assert_eq!(a.state().conflicts().count(), 1);
    a.edit(|g| g.revert_to(&before)).unwrap();
    assert_eq!(a.state().conflicts().count(), 0);
    assert_eq!(a.state().node(ada()).unwrap().get("/name"), Some("Ada Lovelace".into()));
}

#[test]
fn hidden_survivors_are_hidden_again() {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    a.edit(add_ada).unwrap();
    sync(&mut a, &mut b);
    a.edit(|g| g.remove_node(ada())).unwrap();
    b.edit(|g| g.set(ada(), "/died", 1852)).unwrap();
    sync(&mut a, &mut b);
    let before = a.snapshot();
    a.edit(|g| g.add_node("ada")).unwrap();
    assert_eq!(a.edit(|g| g.revert_to(&before)).unwrap().0, 2); // the deletion and the survivor
    assert!(!a.state().contains_node(ada()));
    assert_eq!(a.state().hidden_of(ada()).unwrap().properties().get("/died"), Some(1852.into()));
}

#[test]
fn a_nodes_name_comes_back_even_beside_a_later_root_without_one() {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    a.edit(|g| g.add_node("ada")).unwrap();
    let environment = TestEnvironment::new(3);
    environment.clock().fetch_add(1_000, std::sync::atomic::Ordering::Relaxed);
    let mut later = Replica::<Graph>::with_environment(environment);
    later.edit(|g| g.add_node(ada())).unwrap();
    sync(&mut a, &mut later);
    sync(&mut a, &mut b);
    let before = a.snapshot();
    assert_eq!(before.node(ada()).unwrap().name(), Some("ada"));
    a.edit(|g| g.remove_node(ada())).unwrap();
    a.edit(|g| g.revert_to(&before)).unwrap();
    assert_eq!(a.state().node(ada()).unwrap().name(), Some("ada"));
    b.edit(|g| g.remove_node(ada())).unwrap();
    b.edit(|g| g.restore_from(&before, ada())).unwrap();
    assert_eq!(b.state().node(ada()).unwrap().name(), Some("ada"));
}

#[test]
fn an_edit_that_reverts_and_then_fails_leaves_nothing() {
    let mut a = replica::<Graph>(1);
    let empty = a.snapshot();
    a.edit(add_ada).unwrap();
    let before = a.snapshot();
    let failed = a.edit(|g| {
        g.revert_to(&empty)?;
        Err::<(), _>(EditError::abort("no"))
    });
    assert!(failed.is_err());
    assert_eq!(*a.state(), before);
    a.state().check_invariants().unwrap();
}

#[test]
fn a_snapshot_of_another_replica_is_gone_to_by_its_values() {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    a.edit(add_ada).unwrap();
    b.edit(|g| g.add_node("eve")).unwrap();
    a.edit(|g| g.revert_to(b.state())).unwrap();
    assert_eq!(reading(a.state()), reading(b.state()));
    sync(&mut a, &mut b);
    assert_eq!(a.state(), b.state());
}

// ---- going back in the standalone types ----

/// Random edits of two replicas, and whether each is followed by a merge.
type Edits = Vec<(bool, u8, u8, bool)>;

fn edits() -> impl Strategy<Value = Edits> {
    prop::collection::vec((any::<bool>(), 0..6u8, 0..3u8, prop::bool::weighted(0.3)), 0..15)
}

/// What the type's `Debug` prints is what it reads.
fn check_revert<T: Crdt + Debug + PartialEq>(
    before: &Edits,
    after: &Edits,
    edit: impl Fn(&mut Edit<'_, T>, u8, u8) -> Result<(), EditError>,
) -> String {
    let (mut a, mut b) = (replica::<T>(1), replica::<T>(2));
    let run = |a: &mut Replica<T>, b: &mut Replica<T>, edits: &Edits| {
        for (first, op, value, merge) in edits {
            if *first { &mut *a } else { &mut *b }.edit(|value_of| edit(value_of, *op, *value)).unwrap();
            if *merge {
                sync(a, b);
            }
        }
    };
    run(&mut a, &mut b, before);
    let then = a.snapshot();
    run(&mut a, &mut b, after);
    a.edit(|value| value.revert_to(&then)).unwrap();
    let reads = format!("{:?}", a.state());
    assert_eq!(a.edit(|value| value.revert_to(&then)).unwrap().0, 0, "a second revert writes nothing");
    if !reads.contains("MvRegister") {
        assert_eq!(reads, format!("{then:?}"));
    }
    sync(&mut a, &mut b);
    assert_eq!(a.state(), b.state());
    format!("{reads} {then:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn reverted_every_type_reads_as_in_the_snapshot(before in edits(), after in edits()) {
        check_revert::<EwFlag>(&before, &after, |f, op, _| if op < 4 { f.enable() } else { f.disable().map(drop) });
        check_revert::<DwFlag>(&before, &after, |f, op, _| if op < 4 { f.enable() } else { f.disable() });
        check_revert::<LwwRegister<u8>>(&before, &after, |r, op, v| if op < 5 { r.set(v) } else { r.clear().map(drop) });
        check_revert::<MvRegister<u8>>(&before, &after, |r, op, v| if op < 5 { r.set(v) } else { r.clear().map(drop) });
        check_revert::<MaxRegister<u8>>(&before, &after, |r, op, v| if op < 5 { r.raise(v) } else { r.clear() }.map(drop));
        check_revert::<MinRegister<u8>>(&before, &after, |r, op, v| if op < 5 { r.lower(v) } else { r.clear() }.map(drop));
        check_revert::<OrSet<u8>>(&before, &after, |s, op, v| match op {
            0..3 => s.insert(v),
            3..5 => s.remove(&v),
            _ => s.clear(),
        }.map(drop));
        check_revert::<RwSet<u8>>(&before, &after, |s, op, v| match op {
            0..3 => s.insert(v),
            3..5 => s.remove(&v),
            _ => s.clear(),
        }.map(drop));
        check_revert::<OrMap<u8, u8>>(&before, &after, |m, op, v| match op {
            0..4 => m.insert(v % 2, v).map(drop),
            4 => m.remove(&(v % 2)).map(drop),
            _ => m.clear().map(drop),
        });
        check_revert::<PnCounter>(&before, &after, |c, op, v| match op {
            0..3 => c.add(v.into()),
            3..5 => c.subtract(v.into()),
            _ => c.reset().map(drop),
        });
    }
}

#[test]
fn a_greatest_value_that_is_not_the_latest_comes_back() {
    let (mut a, mut b) = (replica::<MaxRegister<u8>>(1), replica::<MaxRegister<u8>>(2));
    a.edit(|r| r.raise(9)).unwrap();
    b.edit(|r| r.raise(5)).unwrap();
    sync(&mut a, &mut b);
    let before = (a.snapshot(), b.snapshot());
    a.edit(|r| r.clear()).unwrap();
    a.edit(|r| r.revert_to(&before.0)).unwrap();
    assert_eq!(a.state().get(), Some(&9));
}

#[test]
fn reverting_a_counter_takes_back_what_others_counted_too_and_not_what_they_count_meanwhile() {
    let (mut a, mut b) = (replica::<PnCounter>(1), replica::<PnCounter>(2));
    a.edit(|c| c.add(5)).unwrap();
    let before = a.snapshot();
    sync(&mut a, &mut b);
    b.edit(|c| c.add(3)).unwrap();
    a.edit(|c| c.subtract(1)).unwrap();
    sync(&mut a, &mut b);
    assert_eq!(a.state().value(), 7);
    b.edit(|c| c.add(10)).unwrap(); // meanwhile
    assert_eq!(a.edit(|c| c.revert_to(&before)).unwrap().0, 1);
    assert_eq!(a.state().value(), 5);
    sync(&mut a, &mut b);
    assert_eq!((a.state().value(), b.state().value()), (15, 15));
}

#[test]
fn two_that_revert_a_counter_concurrently_both_add_what_they_miss() {
    let (mut a, mut b) = (replica::<PnCounter>(1), replica::<PnCounter>(2));
    let before = a.snapshot();
    a.edit(|c| c.add(5)).unwrap();
    sync(&mut a, &mut b);
    a.edit(|c| c.revert_to(&before)).unwrap();
    b.edit(|c| c.revert_to(&before)).unwrap();
    sync(&mut a, &mut b);
    assert_eq!((a.state().value(), b.state().value()), (-5, -5));
}

#[test]
fn a_counter_that_only_grows_is_not_taken_back() {
    let mut a = replica::<GCounter>(1);
    let zero = a.snapshot();
    a.edit(|c| c.add(5)).unwrap();
    let five = a.snapshot();
    let refused = a.edit(|c| c.revert_to(&zero)).unwrap_err();
    assert!(matches!(refused, EditError::OnlyGrows { by: 5 }), "{refused}");
    assert_eq!(*a.state(), five);
    // After a reset it can grow back.
    a.edit(|c| c.reset()).unwrap();
    a.edit(|c| c.revert_to(&five)).unwrap();
    assert_eq!(a.state().value(), 5);
}

// ---- restoring ----

#[test]
fn a_restored_node_has_its_name_labels_and_properties_and_its_edges() {
    let mut a = replica::<Graph>(1);
    a.edit(add_ada).unwrap();
    let edge = a.edit(|g| {
        g.add_node("eve")?;
        let edge = g.link(ada(), "knows", NodeId::named("eve"))?;
        g.set(edge, "/since", 1833)?;
        Ok(edge)
    });
    let (edge, _) = edge.unwrap();
    let before = a.snapshot();
    a.edit(|g| g.remove_node_with_edges(ada())).unwrap();
    let (done, _) = a.edit(|g| Ok((g.restore_from(&before, ada())?, g.restore_from(&before, edge)?))).unwrap();
    assert_eq!(done, (Restored::Whole, Restored::Whole));
    assert_eq!(reading(a.state()), reading(&before));
}

#[test]
fn a_survivor_that_others_wrote_is_not_overwritten_by_restoring() {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    a.edit(add_ada).unwrap();
    sync(&mut a, &mut b);
    let before = a.snapshot();
    a.edit(|g| g.remove_node(ada())).unwrap();
    b.edit(|g| g.set(ada(), "/born", 1816)).unwrap();
    sync(&mut a, &mut b);
    a.edit(|g| g.restore_from(&before, ada())).unwrap();
    let node = a.state().node(ada()).unwrap();
    assert_eq!((node.get("/born"), node.get("/name")), (Some(1816.into()), Some("Ada Lovelace".into())));
    assert_eq!(a.state().conflicts().count(), 0);
}

#[test]
fn what_others_write_while_it_is_restored_stays_beside() {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    a.edit(add_ada).unwrap();
    sync(&mut a, &mut b);
    let before = a.snapshot();
    a.edit(|g| g.remove_node(ada())).unwrap();
    a.edit(|g| g.restore_from(&before, ada())).unwrap();
    b.edit(|g| g.set(ada(), "/born", 1816)).unwrap();
    sync(&mut a, &mut b);
    assert_eq!(a.state(), b.state());
    assert_eq!(a.state().node(ada()).unwrap().properties().get_all("/born").count(), 2);
}

#[test]
fn nothing_is_restored_that_is_there_or_was_not_there_then() {
    let mut a = replica::<Graph>(1);
    let empty = a.snapshot();
    a.edit(add_ada).unwrap();
    let (before, edge) = (a.snapshot(), EdgeId::between(ada(), "knows", ada()));
    a.edit(|g| g.set(ada(), "/name", "Countess")).unwrap();
    assert_eq!(a.edit(|g| g.restore_from(&before, ada())).unwrap().0, Restored::WasThere);
    assert_eq!(a.state().node(ada()).unwrap().get("/name"), Some("Countess".into()));
    a.edit(|g| g.remove_node(ada())).unwrap();
    let refused = a.edit(|g| g.restore_from(&empty, ada())).unwrap_err();
    assert!(matches!(refused, EditError::NodeNotInSnapshot(id) if id == ada()), "{refused}");
    let refused = a.edit(|g| g.restore_from(&before, edge)).unwrap_err();
    assert!(matches!(refused, EditError::EdgeNotInSnapshot(id) if id == edge), "{refused}");
}

// ---- documents ----

#[derive(Clone, Debug)]
enum Change {
    Set(usize, i64),
    Unset(usize),
    Add(usize, i64),
    Insert(usize, i64),
    Remove(usize, i64),
    Raise(usize, i64),
    Lower(usize, i64),
    Empty(usize),
    Clear,
}

const PATHS: [&str; 6] = ["/a", "/a/x", "/a/y", "/b", "/c", "/d"];

fn changes() -> impl Strategy<Value = Vec<(usize, Change)>> {
    let path = || 0..PATHS.len();
    let change = prop_oneof![
        4 => (path(), 0..5i64).prop_map(|(p, n)| Change::Set(p, n)),
        3 => path().prop_map(Change::Unset),
        4 => (path(), -3..4i64).prop_map(|(p, n)| Change::Add(p, n)),
        3 => (path(), 0..3i64).prop_map(|(p, n)| Change::Insert(p, n)),
        2 => (path(), 0..3i64).prop_map(|(p, n)| Change::Remove(p, n)),
        2 => (path(), 0..5i64).prop_map(|(p, n)| Change::Raise(p, n)),
        2 => (path(), 0..5i64).prop_map(|(p, n)| Change::Lower(p, n)),
        1 => path().prop_map(Change::Empty),
        1 => Just(Change::Clear),
    ];
    prop::collection::vec((0..3usize, change), 0..12)
}

/// Makes a change, if the path takes it; 2 instead of a replica lets the two hear of each other.
fn make(replicas: &mut [Replica<Document>; 2], (by, change): (usize, Change)) {
    let [a, b] = replicas;
    let Some(replica) = [&mut *a, &mut *b].into_iter().nth(by) else {
        let (for_a, for_b) = (b.complete(), a.complete());
        a.merge(&for_a).unwrap();
        b.merge(&for_b).unwrap();
        return;
    };
    let _ = replica.edit(|d| match change {
        Change::Set(p, n) => d.set(PATHS[p], n),
        Change::Unset(p) => d.unset(PATHS[p]).map(drop),
        Change::Add(p, n) => d.add(PATHS[p], n),
        Change::Insert(p, n) => d.insert(PATHS[p], n).map(drop),
        Change::Remove(p, n) => d.remove(PATHS[p], n).map(drop),
        Change::Raise(p, n) => d.raise(PATHS[p], n).map(drop),
        Change::Lower(p, n) => d.lower(PATHS[p], n).map(drop),
        Change::Empty(p) => d.update(PATHS[p], &serde_json::json!({})).map(drop),
        Change::Clear => d.clear().map(drop),
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_document_reads_as_in_the_snapshot_that_it_goes_back_to(before in changes(), after in changes()) {
        let mut replicas = [1, 2].map(|seed| Replica::<Document>::with_environment(TestEnvironment::new(seed)));
        before.into_iter().for_each(|change| make(&mut replicas, change));
        let snapshot = replicas[0].snapshot();
        after.into_iter().for_each(|change| make(&mut replicas, change));
        replicas[0].edit(|d| d.revert_to(&snapshot)).unwrap();
        let document = replicas[0].state();
        prop_assert_eq!(document.to_json(), snapshot.to_json());
        for path in PATHS {
            prop_assert_eq!(document.properties().kind(path), snapshot.properties().kind(path), "{}", path);
            prop_assert_eq!(document.properties().counter(path), snapshot.properties().counter(path), "{}", path);
        }
        document.check_invariants().map_err(TestCaseError::fail)?;
        let (again, delta) = replicas[0].edit(|d| d.revert_to(&snapshot)).unwrap();
        prop_assert!(again == 0 && delta.is_empty(), "{} writes more", again);
    }
}
