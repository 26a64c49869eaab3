//! Each rule of the kernel, in the smallest story that goes wrong without it.

#[path = "support/raw.rs"]
mod raw;

use driftless::kernel::Payload;
use driftless::testing::{Raw, TestEnvironment};
use driftless::{Crdt, CutError, Delta, Graph, JoinError, LwwRegister, MergeError, NodeId, Prune, Replica};
use raw::{THING, erase, holds, replicas, write};

fn reconcile(from: &Replica<Raw>, to: &Replica<Raw>) -> Delta {
    from.reconcile(to.version(), &to.live_dots())
}

/// The whole entity travels when its root changed.
#[test]
fn deleting_an_entity_removes_every_field_elsewhere() {
    let [mut a, mut b] = replicas();
    b.merge(&write(&mut a, "f")).unwrap();
    let (_, deletion) = a.edit(|raw| raw.delete(THING)).unwrap();
    assert_eq!(deletion.len(), 1, "one tombstone, whatever the number of fields");
    b.merge(&deletion).unwrap();
    assert!(!holds(&b, "f"));
    assert_eq!(a.state(), b.state());
}

/// A delta with a causal gap is refused.
#[test]
fn a_late_joiner_does_not_claim_to_have_seen_what_it_missed() {
    let [mut a, mut b] = replicas();
    let first = write(&mut a, "f");
    let second = write(&mut a, "g");
    let refused = b.merge(&second).unwrap_err();
    assert_eq!(refused, MergeError::Gap { have: b.version().clone(), need: second.since().clone() });
    b.merge(&first).unwrap();
    b.merge(&second).unwrap();
    assert!(holds(&b, "f") && holds(&b, "g"));
}

/// Below the pruned version there is no incremental delta, only a reconciled one.
#[test]
fn what_was_deleted_stays_deleted_though_its_tombstone_is_gone() {
    let [mut a, mut b] = replicas();
    b.merge(&write(&mut a, "f")).unwrap();
    erase(&mut a, "f");
    a.prune(Prune::All);
    assert_eq!(a.delta_since(b.version()), Err(CutError::Pruned { pruned: a.state().state().pruned().clone() }));
    let delta = reconcile(&a, &b);
    b.merge(&delta).unwrap();
    assert!(!holds(&b, "f"));
    assert_eq!(a.state(), b.state());
}

/// A peer that holds nothing holds nothing dead: it needs no reconciliation.
#[test]
fn an_empty_peer_is_served_at_once_whatever_was_pruned() {
    let [mut a, mut b] = replicas();
    write(&mut a, "f");
    write(&mut a, "g");
    erase(&mut a, "f");
    a.prune(Prune::All);
    b.merge(&a.delta_since(b.version()).unwrap()).unwrap();
    assert_eq!(a.state(), b.state());
}

/// A reconciled delta also judges what its receiver learnt after it was cut.
#[test]
fn a_reconciled_delta_that_comes_late_still_buries_what_its_sender_knew_dead() {
    let [mut a, mut b, mut c] = replicas();
    b.merge(&write(&mut a, "old")).unwrap();
    let news = write(&mut c, "f");
    a.merge(&news).unwrap();
    erase(&mut a, "f");
    a.prune(Prune::All);
    let under_way = reconcile(&a, &b);
    b.merge(&news).unwrap();
    assert!(holds(&b, "f"));
    b.merge(&under_way).unwrap();
    assert!(!holds(&b, "f"));
    assert_eq!(a.state(), b.state());
}

/// A reconciled delta applies to whoever has seen what it was cut for, and to nobody else.
#[test]
fn a_reconciled_delta_for_somebody_else_is_refused() {
    let [mut a, mut b, mut c] = replicas();
    b.merge(&write(&mut a, "f")).unwrap();
    erase(&mut a, "f");
    a.prune(Prune::All);
    let for_b = reconcile(&a, &b);
    assert!(matches!(c.merge(&for_b), Err(MergeError::Gap { .. })));
    assert!(c.version().is_empty());
}

/// What is cut for a peer that holds nothing may arrive when it holds something, or at somebody else's.
#[test]
fn an_answer_to_an_empty_peer_that_comes_late_buries_what_was_deleted() {
    let [mut a, mut b, mut c] = replicas();
    let asked = b.version().clone();
    let first = write(&mut a, "f");
    b.merge(&first).unwrap();
    c.merge(&first).unwrap();
    write(&mut c, "g");
    erase(&mut a, "f");
    a.prune(Prune::All);
    let answer = a.delta_since(&asked).unwrap();
    for late in [&mut b, &mut c] {
        late.merge(&answer).unwrap();
        assert!(!holds(late, "f"));
    }
    assert_eq!(a.state(), b.state());
    assert!(holds(&c, "g"));
}

/// Who merges inherits what the sender has pruned.
#[test]
fn a_second_hand_deletion_whose_tombstone_is_gone_is_not_forgotten_by_the_third() {
    let [mut a, mut b, mut c] = replicas();
    let first = write(&mut a, "f");
    b.merge(&first).unwrap();
    c.merge(&first).unwrap();
    erase(&mut a, "f");
    a.prune(Prune::All);
    let delta = reconcile(&a, &b);
    b.merge(&delta).unwrap();
    assert!(matches!(b.delta_since(c.version()), Err(CutError::Pruned { .. })), "b has no tombstone to tell c of");
    let delta = reconcile(&b, &c);
    c.merge(&delta).unwrap();
    assert!(!holds(&c, "f"));
}

/// A complete delta that leaves its tombstones out counts them as pruned.
#[test]
fn a_deletion_learnt_from_a_complete_state_is_passed_on() {
    let [mut a, mut b, mut c] = replicas();
    let first = write(&mut a, "f");
    b.merge(&first).unwrap();
    c.merge(&first).unwrap();
    erase(&mut a, "f");
    b.merge(&a.complete()).unwrap();
    assert!(!holds(&b, "f"));
    assert!(matches!(b.delta_since(c.version()), Err(CutError::Pruned { .. })), "b has no tombstone to tell c of");
    let delta = reconcile(&b, &c);
    c.merge(&delta).unwrap();
    assert!(!holds(&c, "f"));
}

/// Only deltas that chain join into one.
#[test]
fn deltas_with_something_missing_between_them_do_not_join() {
    let [mut a, mut b] = replicas();
    let (first, second, third) = (write(&mut a, "f"), write(&mut a, "g"), write(&mut a, "h"));
    assert_eq!(first.join(&third), Err(JoinError::NoChain));
    assert_eq!(second.join(&first), Err(JoinError::NoChain));
    assert_eq!(first.join(&a.complete()), Err(JoinError::Kind));
    let all = first.join(&second).unwrap().join(&third).unwrap();
    b.merge(&all).unwrap();
    assert_eq!(a.state(), b.state());
}

/// Equal versions mean equal live state: the second of two concurrent writes does not replace the first.
#[test]
fn concurrent_writes_are_both_kept_until_somebody_who_saw_both_writes() {
    let [mut a, mut b] = replicas();
    let (of_a, of_b) = (write(&mut a, "f"), write(&mut b, "f"));
    a.merge(&of_b).unwrap();
    b.merge(&of_a).unwrap();
    let siblings = |r: &Replica<Raw>| r.state().state().cells(THING).unwrap().siblings(b"f").count();
    assert_eq!((siblings(&a), siblings(&b)), (2, 2));
    b.merge(&write(&mut a, "f")).unwrap();
    assert_eq!((siblings(&a), siblings(&b)), (1, 1));
    assert_eq!(a.state(), b.state());
}

#[test]
fn a_write_that_was_not_seen_survives_a_removal_and_a_deletion() {
    let [mut a, mut b] = replicas();
    b.merge(&write(&mut a, "f")).unwrap();
    let news = write(&mut b, "f");
    a.merge(&erase(&mut a.fork_with(TestEnvironment::new(9)), "f")).unwrap();
    a.merge(&news).unwrap();
    assert!(holds(&a, "f"));

    let newer = write(&mut b, "g");
    a.edit(|raw| raw.delete(THING)).unwrap();
    a.merge(&newer).unwrap();
    assert!(holds(&a, "g") && !holds(&a, "f"));
}

#[test]
fn an_edit_that_fails_or_panics_leaves_no_trace() {
    let [mut a] = replicas();
    let (before, id) = (a.snapshot(), a.writer());
    let failed = a.edit(|raw| {
        raw.write(THING, b"f", Payload::new(1, b"x"))?;
        raw.delete(THING)?;
        raw.write(THING, &[b'k'; 5000], Payload::new(1, b"x"))
    });
    assert!(failed.is_err());
    assert_eq!((a.state(), a.writer()), (&before, id));

    write(&mut a, "f");
    write(&mut a, "g");
    let before = a.snapshot();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = a.edit(|raw| -> Result<(), _> {
            raw.erase(THING, b"f")?;
            raw.write(THING, b"h", Payload::new(1, b"x"))?;
            raw.delete(THING)?;
            panic!("the app's own");
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(a.state(), &before);
    a.state().state().check_invariants().unwrap();
    // The next write takes the next dot, as if nothing had been.
    let next = write(&mut a, "f");
    assert_eq!(next.since(), before.state().version());
}

#[test]
fn merging_a_replica_with_itself_changes_nothing() {
    let [mut a] = replicas();
    write(&mut a, "f");
    erase(&mut a, "f");
    write(&mut a, "g");
    let before = a.snapshot();
    let all = driftless::Version::new();
    // The complete delta comes last: it leaves the tombstone out, which then counts as pruned there, and is kept here.
    for delta in [a.delta_since(&all).unwrap(), reconcile(&a, &a), a.complete()] {
        let report = a.merge(&delta).unwrap();
        assert!(report.changes().next().is_none());
        assert_eq!(a.state(), &before);
        assert_eq!((a.state().state().tombstones_len(), a.state().state().pruned()), (1, delta.pruned()));
    }
}

#[test]
fn a_delta_of_another_type_is_refused() {
    let [mut a] = replicas();
    let mut graph = Replica::<driftless::Graph>::new();
    let (_, delta) = graph.edit(|g| g.add_node("person:ada")).unwrap();
    assert!(matches!(a.merge(&delta), Err(MergeError::Schema { .. })));
}

#[test]
fn a_clock_far_ahead_is_merged_and_reported_and_not_followed() {
    let (ahead, here) = (TestEnvironment::new(1), TestEnvironment::new(2));
    ahead.clock().fetch_add(86_400_000, std::sync::atomic::Ordering::Relaxed);
    let mut a = Replica::<Raw>::with_environment(ahead);
    let mut b = Replica::<Raw>::with_environment(here);
    let delta = write(&mut a, "f");
    let report = b.merge(&delta).unwrap();
    assert_eq!(report.ahead().len(), 1);
    assert!(holds(&b, "f"));
    write(&mut b, "f");
    let winner = b.state().state().cells(THING).unwrap().winner(b"f").unwrap();
    // Having seen it, the later write wins with the earlier stamp.
    assert_eq!((winner.dot.writer, winner.stamp.millis()), (b.writer().unwrap(), 1_000_000));
}

/// A receiver may hold tombstones that its sender has pruned; what it then cuts and joins must survive its bytes.
#[test]
fn a_joined_delta_with_stale_tombstones_survives_its_bytes() {
    let [mut a, mut r] = replicas();
    r.merge(&write(&mut a, "f")).unwrap();
    a.merge(&erase(&mut r, "f")).unwrap();
    write(&mut a, "f");
    a.edit(|raw| raw.delete(THING)).unwrap();
    a.prune(Prune::All);
    let delta = reconcile(&a, &r);
    r.merge(&delta).unwrap();
    let none = driftless::Version::new();
    for (x, y) in [(&a, &r), (&r, &a), (&a, &a), (&r, &r)] {
        if let Ok(joined) = x.delta_since(&none).unwrap().join(&y.delta_since(&none).unwrap()) {
            assert_eq!(Delta::from_bytes(&joined.to_bytes()).unwrap(), joined);
        }
    }
}

/// A replica may keep a tombstone that a write it has heard of replaced, if that write's own tombstone was pruned. A delta that
/// names it, joined with one that had seen it and held it no more, was refused by everybody.
#[test]
fn a_stale_tombstone_that_two_joined_deltas_name_does_not_have_them_refused() {
    let [mut a, mut b, mut c] = replicas();
    let begun = write(&mut a, "f");
    b.merge(&begun).unwrap();
    let removal = erase(&mut a, "f");
    let at = begun.upto().clone();
    write(&mut a, "f");
    erase(&mut a, "f");
    let first = a.delta_since(&at).unwrap(); // has seen the first removal, and holds the last alone
    a.prune(Prune::All);
    erase(&mut b, "f");
    b.merge(&removal).unwrap();
    let delta = reconcile(&a, &b);
    b.merge(&delta).unwrap(); // and keeps the first removal beside its own
    let second = b.delta_since(first.upto()).unwrap();

    let joined = first.join(&second).unwrap();
    let joined = Delta::from_bytes(&joined.to_bytes()).unwrap();
    c.merge(&begun).unwrap();
    let mut one_by_one = c.fork();
    c.merge(&joined).unwrap();
    one_by_one.merge(&first).unwrap();
    one_by_one.merge(&second).unwrap();
    assert_eq!((c.state(), c.version()), (one_by_one.state(), one_by_one.version()));
    // Whoever holds the stale one lets go of it by either way.
    let mut holds = b.fork();
    holds.merge(&joined).unwrap();
    assert_eq!((holds.state(), holds.fingerprint()), (b.state(), b.fingerprint()));
}

/// A cell of thousands of siblings, as a hostile peer may make it, costs in proportion and not by its square.
#[test]
fn a_cell_with_thousands_of_siblings_is_merged_and_buried_in_time() {
    let [mut a, mut b] = replicas();
    let siblings = 2_000;
    let writers = (0..siblings).map(|seed| Replica::<Raw>::with_environment(TestEnvironment::new(100 + seed)));
    for mut writer in writers {
        a.merge(&write(&mut writer, "f")).unwrap();
        if a.state().state().live_len() % 500 == 0 {
            b.merge(&a.complete()).unwrap();
        }
    }
    let start = std::time::Instant::now();
    b.merge(&a.complete()).unwrap();
    write(&mut a, "f");
    a.prune(Prune::All);
    let delta = reconcile(&a, &b);
    b.merge(&delta).unwrap();
    assert_eq!(a.state(), b.state());
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

/// What was pruned between two deltas their join hands on: it may hold less than both one after the other, but whoever gets it
/// must know so.
#[test]
fn a_removal_that_was_pruned_between_two_deltas_that_join_is_not_forgotten() {
    let [mut a, mut b, mut c, mut d] = replicas();
    a.merge(&write(&mut b, "f")).unwrap();
    let concurrent = write(&mut c, "f");
    b.merge(&concurrent).unwrap();
    erase(&mut a, "f");
    let none = driftless::Version::new();
    let first = a.delta_since(&none).unwrap();
    a.merge(&concurrent).unwrap();
    a.prune(Prune::All);
    let joined = first.join(&a.delta_since(first.upto()).unwrap()).unwrap();
    d.merge(&joined).unwrap();
    // `b` has seen all that is left in the cell, and not the removal.
    assert!(matches!(d.delta_since(b.version()), Err(CutError::Pruned { .. })));
    b.merge(&reconcile(&d, &b)).unwrap();
    assert_eq!(b.state(), a.state());
}

/// Of an entity of many fields too, a delta holds what has changed and no more.
#[test]
fn of_a_large_entity_the_cell_that_changed_is_sent_alone() {
    for fields in [10, 100] {
        let [mut a] = replicas();
        (0..fields).for_each(|n| drop(write(&mut a, &format!("field {n}"))));
        let seen = a.version().clone();
        write(&mut a, "field 5");
        let delta = a.delta_since(&seen).unwrap();
        assert_eq!(delta.len(), 1);
        assert_eq!(a.delta_since(a.version()).unwrap().len(), 0);
    }
}

/// Of a type that says nothing else, each cell goes back by itself.
#[test]
fn a_type_without_a_way_of_its_own_goes_back_cell_by_cell() {
    let [mut a] = replicas();
    ["kept", "erased"].iter().for_each(|field| drop(write(&mut a, field)));
    let before = a.snapshot();
    write(&mut a, "added");
    erase(&mut a, "erased");
    assert_eq!(a.edit(|raw| raw.revert_to(&before)).unwrap().0, 2);
    assert!(holds(&a, "kept") && holds(&a, "erased") && !holds(&a, "added"));
}

// ---- what is compared and printed ----

#[test]
fn states_are_equal_if_they_have_seen_and_hold_the_same() {
    let add = |replica: &mut Replica<Graph>, name: &str| drop(replica.edit(|g| g.add_node(name)).unwrap());
    let new = |seed| Replica::<Graph>::with_environment(TestEnvironment::new(seed));
    // Nothing is alive in either, and one has seen something.
    let (mut a, nothing) = (new(1), new(2));
    add(&mut a, "gone");
    a.edit(|g| g.remove_node(NodeId::named("gone"))).unwrap();
    assert_eq!((a.state().state().live_len(), a.fingerprint()), (0, nothing.fingerprint()));
    assert!(a.state().state() != nothing.state().state());
    // Both have seen the same, and what they hold differs.
    let mut a = new(1);
    add(&mut a, "common");
    let saved = a.save();
    // As after a copy of a process in memory: both draw the same writer.
    let open = || Replica::<Graph>::load_with(TestEnvironment::new(3), &saved).unwrap();
    let (mut a, mut copy) = (open(), open());
    add(&mut a, "one");
    add(&mut copy, "other");
    assert_eq!(a.version(), copy.version());
    assert!(a.state().state() != copy.state().state());
    assert!(a.state().state() == a.fork().state().state());
}

#[test]
fn what_is_printed_says_what_there_is() {
    let mut a = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    let (_, delta) = a.edit(|g| g.add_node("ada")).unwrap();
    let id = a.writer().unwrap().to_string();
    let state = a.state().state();
    for (printed, says) in [
        (format!("{:?}", a.version()), &id),
        (format!("{:?}", a.live_dots()), &id),
        (format!("{delta:?}"), &id),
        (format!("{state:?}"), &id),
        (format!("{:?}", state.fingerprint()), &state.fingerprint().to_string()),
        (format!("{:?}", Payload::new(5, b"content")), &"5:\"content\"".to_owned()),
    ] {
        assert!(printed.contains(says), "{printed}");
    }
    let print = state.fingerprint();
    let hex: String = print.to_bytes().iter().rev().map(|byte| format!("{byte:02x}")).collect();
    let forwards: String = print.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!([hex, forwards].contains(&print.to_string()), "{print}");
    let printed = a.edit(|g| Ok(format!("{g:?}"))).unwrap().0;
    assert!(printed.starts_with("Edit("), "{printed}");
}

#[test]
fn a_replica_of_ones_own_writes_by_the_clock_on_the_wall() {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let mut replica = Replica::<LwwRegister<u8>>::new();
    let before = now();
    replica.edit(|r| r.set(1)).unwrap();
    let (_, _, sibling) = replica.state().state().live_siblings().next().unwrap();
    assert!((before..=now()).contains(&sibling.stamp.millis()), "{}", sibling.stamp);
}
