//! What a replica does by itself: pruning, names of devices, statements.

use std::sync::atomic::Ordering;
use std::time::Duration;

use driftless::testing::{TestEnvironment, twin};
use driftless::{Budget, Crdt, Delta, Graph, JournalLimit, NodeId, OrSet, Origin, Replica, Statement};

fn add_and_remove(replica: &mut Replica<OrSet<u32>>, n: u32) {
    replica.edit(|set| set.insert(n)).unwrap();
    replica.edit(|set| set.remove(&n)).unwrap();
}

#[test]
fn tombstones_do_not_grow_past_the_budget_though_nobody_prunes() {
    let mut replica = Replica::<OrSet<u32>>::new();
    replica.set_pruning(Some(Budget { count: 100, ..Budget::default() }));
    for n in 0..1_000 {
        add_and_remove(&mut replica, n);
        assert!(replica.state().state().tombstones_len() <= 101, "{n}");
    }
    assert!(replica.state().state().tombstones_len() >= 50, "it prunes no more than it must");
    let mut hoarder = Replica::<OrSet<u32>>::new();
    hoarder.set_pruning(None);
    (0..1_000).for_each(|n| add_and_remove(&mut hoarder, n));
    assert_eq!(hoarder.state().state().tombstones_len(), 1_000);
}

#[test]
fn a_tombstone_of_last_season_goes_though_it_is_alone() {
    let environment = TestEnvironment::new(1);
    let clock = environment.clock();
    let mut replica = Replica::<OrSet<u32>>::with_environment(environment);
    add_and_remove(&mut replica, 1);
    assert_eq!(replica.state().state().tombstones_len(), 1);
    clock.fetch_add(Duration::from_secs(100 * 24 * 60 * 60).as_millis() as u64, Ordering::Relaxed);
    // It looks at the tombstones after some thousand changes, and soon after a state was opened.
    let bytes = replica.save();
    let late = TestEnvironment::new(2);
    late.clock().store(clock.load(Ordering::Relaxed), Ordering::Relaxed);
    let mut opened = Replica::<OrSet<u32>>::load_with(late, &bytes).unwrap();
    opened.edit(|set| set.insert(2)).unwrap();
    assert_eq!(opened.state().state().tombstones_len(), 0);
    (0..5_000).for_each(|n| drop(replica.edit(|set| set.insert(n % 2 + 10)).unwrap()));
    assert_eq!(replica.state().state().tombstones_len(), 0);
}

#[test]
fn what_was_pruned_by_itself_stays_deleted_at_a_peer_that_was_away() {
    let (mut here, mut away) = (Replica::<OrSet<u32>>::new(), Replica::<OrSet<u32>>::new());
    here.set_pruning(Some(Budget { count: 10, ..Budget::default() }));
    (0..50).for_each(|n| drop(here.edit(|set| set.insert(n)).unwrap()));
    away.merge(&here.complete()).unwrap();
    (0..50).for_each(|n| drop(here.edit(|set| set.remove(&n)).unwrap()));
    assert!(here.delta_since(away.version()).is_err(), "it has to reconcile");
    away.merge(&here.reconcile(away.version(), &away.live_dots())).unwrap();
    assert_eq!((away.state().len(), away.state()), (0, here.state()));
}

#[test]
fn conflicts_and_journals_say_the_devices_name_in_all_later_openings() {
    let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    laptop.set_device("laptop");
    phone.set_device("phone\u{1b}[2J");
    let ada = NodeId::named("ada");
    let (_, delta) = laptop.edit(|g| g.add_node("ada")).unwrap();
    phone.merge(&delta).unwrap();
    // The name holds for what is opened later, and naming the device again costs nothing.
    let mut laptop = Replica::<Graph>::load(&laptop.save()).unwrap();
    laptop.set_device("laptop");
    phone.keep_journal(JournalLimit::default());
    let (_, a) = laptop.edit(|g| g.set(ada, "/name", "Ada")).unwrap();
    let (_, b) = phone.edit(|g| g.set(ada, "/name", "Augusta")).unwrap();
    phone.merge(&a).unwrap();
    laptop.merge(&Delta::from_bytes(&b.to_bytes()).unwrap()).unwrap();
    for replica in [&laptop, &phone] {
        let conflict = replica.state().conflicts().next().unwrap();
        let mut devices: Vec<_> = conflict.candidates.iter().map(|candidate| candidate.device).collect();
        devices.sort_unstable();
        assert_eq!(devices, [Some("laptop"), Some("phone\u{1b}[2J")]);
        let text = conflict.to_string();
        assert!(text.contains("(laptop, ") && text.contains("\\u{1b}") && !text.contains('\u{1b}'), "{text}");
    }
    let entries = phone.journal().unwrap().since(0).unwrap();
    let said: Vec<_> = entries.map(|entry| (entry.origin(), entry.device())).collect();
    assert_eq!(said, [(Origin::Edit, Some("phone\u{1b}[2J")), (Origin::Merge, Some("laptop"))]);
}

#[test]
fn a_name_is_cut_where_a_character_ends() {
    let mut replica = Replica::<Graph>::new();
    replica.set_device(&"é".repeat(40));
    let (_, delta) = replica.edit(|g| g.add_node("ada")).unwrap();
    assert!(Delta::from_bytes(&delta.to_bytes()).is_ok());
    assert_eq!(replica.version().device(replica.writer().unwrap()), Some(&*"é".repeat(32)));
}

#[test]
fn two_that_have_seen_the_same_and_differ_find_out_by_any_delta_that_ends_there() {
    let mut laptop = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    let ada = NodeId::named("ada");
    laptop.edit(|g| g.add_node("ada")).unwrap();
    let mut copy = twin(&laptop, TestEnvironment::new(2));
    laptop.edit(|g| g.set(ada, "/born", 1815)).unwrap();
    copy.edit(|g| g.set(ada, "/died", 1852)).unwrap();
    assert_eq!(laptop.version(), copy.version());
    assert!(laptop.statement().contradicts(&Statement::from_bytes(copy.statement().to_bytes())));
    // An empty delta says where its sender stands.
    let nothing = copy.delta_since(laptop.version()).unwrap();
    assert!(nothing.is_empty());
    assert!(laptop.merge(&Delta::from_bytes(&nothing.to_bytes()).unwrap()).unwrap().has_diverged());
    let (for_copy, for_laptop) = (laptop.complete_with_tombstones(), copy.complete_with_tombstones());
    laptop.repair(&for_laptop).unwrap();
    copy.repair(&for_copy).unwrap();
    assert_eq!(laptop.state(), copy.state());
    assert!(!laptop.statement().contradicts(&copy.statement()));
    let node = laptop.state().node(ada).unwrap();
    assert_eq!((node.get("/born"), node.get("/died")), (Some(1815.into()), Some(1852.into())));
}
