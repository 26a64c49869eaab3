//! Copies, restored backups, two processes on one save, replays: what each of them lost as long as an opening went on as the
//! writer that the state was saved by. And how large versions are, however often a replica was opened.

#[path = "support/raw.rs"]
mod raw;

use driftless::testing::{Raw, TestEnvironment};
use driftless::{Crdt, CutError, Delta, MergeError, Prune, Replica, Version};
use raw::{THING, erase, holds, replicas, write};

fn open(seed: u64, saved: &[u8]) -> Replica<Raw> {
    Replica::load_with(TestEnvironment::new(1000 + seed), saved).unwrap()
}

fn pull(to: &mut Replica<Raw>, from: &Replica<Raw>) {
    let delta = from.delta_since(to.version());
    let delta = delta.unwrap_or_else(|CutError::Pruned { .. }| from.reconcile(to.version(), &to.live_dots()));
    to.merge(&delta).unwrap();
}

/// Everybody gets all from all, and then all are equal.
fn sync<const N: usize>(replicas: [&mut Replica<Raw>; N]) {
    for from in 0..N {
        for to in (0..N).filter(|to| *to != from) {
            let delta =
                replicas[from].delta_since(replicas[to].version()).unwrap_or_else(|CutError::Pruned { .. }| {
                    replicas[from].reconcile(replicas[to].version(), &replicas[to].live_dots())
                });
            replicas[to].merge(&delta).unwrap();
        }
    }
    for other in &replicas[1..] {
        assert_eq!(other.version(), replicas[0].version());
        assert_eq!(other.state(), replicas[0].state());
        assert_eq!(other.fingerprint(), replicas[0].fingerprint());
        other.state().state().check_invariants().unwrap();
    }
}

// ---- what was lost ----

#[test]
fn what_was_deleted_stays_deleted_at_a_peer_of_a_replica_that_prunes_and_opens_again() {
    let [mut a, mut peer] = replicas();
    a.merge(&write(&mut peer, "f")).unwrap();
    erase(&mut a, "f");
    a.prune(Prune::All);
    let mut again = open(1, &a.save());
    let after = write(&mut again, "g");
    // The delta of the first write alone builds on the deletion.
    assert!(matches!(peer.merge(&after), Err(MergeError::Gap { .. })));
    pull(&mut peer, &again);
    assert_eq!(peer.version(), again.version());
    assert!(!holds(&peer, "f") && holds(&peer, "g"));
    sync([&mut again, &mut peer]);
}

#[test]
fn what_a_copy_wrote_is_not_lost_when_the_original_meets_its_peers() {
    let [mut original, mut p, mut r] = replicas();
    write(&mut original, "common");
    let mut copy = open(1, &original.save());
    for field in ["copy 1", "copy 2"] {
        write(&mut copy, field);
    }
    write(&mut original, "original");
    pull(&mut p, &copy);
    pull(&mut r, &original);
    // The original hears of writes that were made from its own state, and goes on.
    pull(&mut original, &p);
    write(&mut original, "after");
    pull(&mut p, &original);
    pull(&mut r, &original);
    for replica in [&original, &p, &r] {
        for field in ["common", "copy 1", "copy 2", "original", "after"] {
            assert!(holds(replica, field), "{field}");
        }
    }
    sync([&mut original, &mut copy, &mut p, &mut r]);
}

#[test]
fn peers_that_saw_a_write_of_a_lost_opening_agree_on_its_deletion() {
    let [mut a, mut p, mut r] = replicas();
    write(&mut a, "before");
    let saved = a.save();
    write(&mut a, "k");
    pull(&mut p, &a);
    pull(&mut r, &a);
    erase(&mut p, "k");
    // The backup never wrote `k`, and learns that it is gone.
    let mut restored = open(1, &saved);
    pull(&mut restored, &p);
    let delta = write(&mut restored, "after");
    assert!(matches!(r.merge(&delta), Err(MergeError::Gap { .. })), "r has not seen the deletion");
    pull(&mut r, &restored);
    pull(&mut p, &restored);
    assert_eq!(p.version(), r.version());
    assert_eq!(p.state(), r.state());
    assert!(!holds(&r, "k") && holds(&r, "before") && holds(&r, "after"));
    sync([&mut restored, &mut p, &mut r]);
}

#[test]
fn what_was_written_since_a_restore_is_not_lost_to_the_servers_writes() {
    let [mut a, mut server] = replicas();
    write(&mut a, "f");
    let backup = a.save();
    // As many writes on both sides, so that numbers of writes tell nothing.
    for field in ["lost 1", "lost 2"] {
        write(&mut a, field);
    }
    pull(&mut server, &a);
    let mut restored = open(1, &backup);
    write(&mut restored, "new 1");
    // Saved and opened once more before it meets the server.
    let mut restored = open(2, &restored.save());
    write(&mut restored, "new 2");
    pull(&mut restored, &server);
    pull(&mut server, &restored);
    for replica in [&restored, &server] {
        for field in ["f", "lost 1", "lost 2", "new 1", "new 2"] {
            assert!(holds(replica, field), "{field}");
        }
    }
    sync([&mut restored, &mut server]);
}

#[test]
fn a_restored_backup_that_wrote_and_pruned_is_not_in_its_peers_way() {
    let [mut a, mut b] = replicas();
    write(&mut a, "f");
    let backup = a.save();
    write(&mut a, "g");
    pull(&mut b, &a);
    let mut restored = open(1, &backup);
    write(&mut restored, "h");
    write(&mut restored, "i");
    erase(&mut restored, "h");
    restored.prune(Prune::All);
    ["j", "k", "l"].iter().for_each(|field| drop(write(&mut a, field)));
    pull(&mut b, &a);
    sync([&mut restored, &mut a, &mut b]);
    for field in ["f", "g", "i", "j", "k", "l"] {
        assert!(holds(&b, field), "{field}");
    }
    assert!(!holds(&b, "h"));
}

#[test]
fn ones_own_deltas_replayed_in_order_give_the_same_state_at_an_equal_version() {
    let [mut a, mut peer] = replicas();
    let mut log = vec![write(&mut a, "f")];
    let saved = a.save();
    log.push(write(&mut a, "g"));
    let theirs = write(&mut peer, "g");
    a.merge(&theirs).unwrap();
    log.push(theirs);
    // The last write overwrites both siblings.
    log.push(write(&mut a, "g"));
    let mut again = open(1, &a.save());
    log.push(erase(&mut again, "f"));
    let own = |delta: &Delta| delta.upto().heads().iter().all(|head| peer.writer() != Some(head.writer));
    for (name, mut replayed) in
        [("from nothing", Replica::with_environment(TestEnvironment::new(77))), ("from a save", open(2, &saved))]
    {
        for delta in &log {
            if own(delta) { replayed.replay(delta) } else { replayed.merge(delta) }.unwrap();
        }
        assert_eq!(replayed.version(), again.version(), "{name}");
        assert_eq!(replayed.state(), again.state(), "{name}");
        // It goes on from the writer of the last delta: versions do not grow by a head.
        let heads = replayed.version().len();
        write(&mut replayed, "more");
        assert_eq!(replayed.version().len(), heads, "{name}");
    }
}

#[test]
fn two_processes_on_one_save_lose_nothing_and_both_converge() {
    let [mut a] = replicas();
    write(&mut a, "f");
    let saved = a.save();
    let (mut one, mut other) = (open(1, &saved), open(2, &saved));
    let (x, y) = (write(&mut one, "f"), write(&mut other, "f"));
    let shared = [one.merge(&y).unwrap().shared_writer(), other.merge(&x).unwrap().shared_writer()];
    assert_eq!(shared, [None, None]);
    assert_ne!(one.writer(), other.writer());
    assert_eq!(one.state(), other.state());
    // Two writes that did not know of each other, and both are there.
    assert_eq!(one.state().state().cells(THING).unwrap().siblings(b"f").count(), 2);
    sync([&mut a, &mut one, &mut other]);
}

#[test]
fn a_save_is_opened_again_and_again_whatever_was_saved_or_opened_since() {
    let [mut a] = replicas();
    write(&mut a, "f");
    let old = a.save();
    write(&mut a, "g");
    let new = a.save();
    assert_eq!(a.save(), new, "to save changes nothing");
    let mut all: Vec<Replica<Raw>> = Vec::new();
    for (seed, saved) in [&old, &new, &old, &old, &new].into_iter().enumerate() {
        let mut opened = open(seed as u64, saved);
        assert_eq!(opened.writer(), None);
        write(&mut opened, &format!("of {seed}"));
        all.push(opened);
    }
    let [v, w, x, y, z] = &mut all[..] else { panic!() };
    sync([&mut a, v, w, x, y, z]);
    assert_eq!(a.state().state().live_len(), 7);
}

/// A process that was copied in memory is the one case in which two go on as one writer.
#[test]
fn a_copy_of_a_process_in_memory_is_found_at_the_first_contact() {
    let [mut a] = replicas();
    write(&mut a, "f");
    let saved = a.save();
    // Equal randomness: both draw the same writer.
    let (mut one, mut other) = (open(1, &saved), open(1, &saved));
    let x = write(&mut one, "x");
    write(&mut other, "y");
    let z = write(&mut other, "z");
    let writer = one.writer();
    assert_eq!(other.writer(), writer);
    assert_eq!(other.merge(&x).unwrap().shared_writer(), writer);
    let report = one.merge(&z);
    assert!(report.is_ok_and(|report| report.shared_writer() == writer));
    for replica in [&mut one, &mut other] {
        assert_eq!(replica.writer(), None);
        write(replica, "after");
        assert_ne!(replica.writer(), writer);
    }
}

// ---- how large it gets ----

#[test]
fn a_device_that_is_opened_a_thousand_times_has_one_head() {
    let [mut a, mut peer] = replicas();
    let mut longest = 0;
    for opening in 0..1000 {
        let delta = write(&mut a, "f");
        longest = longest.max(delta.to_bytes().len());
        peer.merge(&delta).unwrap();
        a = open(opening, &a.save());
    }
    assert_eq!((a.version().len(), a.version().writers()), (1, 1000));
    assert!(longest < 200, "{longest} bytes");
    assert_eq!(a.state(), peer.state());
    let none = a.delta_since(&Version::new()).unwrap();
    assert_eq!(none.len(), 1000, "it tells of all writes, of which one is alive");
    assert!(none.to_bytes().len() < 1000 * 15, "{} bytes", none.to_bytes().len());
}

/// Writes of a lost opening that come back before the next write are continued.
#[test]
fn a_restored_backup_that_hears_of_its_lost_writes_first_makes_no_second_head() {
    let [mut a, mut peer] = replicas();
    write(&mut a, "f");
    let backup = a.save();
    write(&mut a, "g");
    pull(&mut peer, &a);
    let mut restored = open(1, &backup);
    pull(&mut restored, &peer);
    write(&mut restored, "h");
    assert_eq!(restored.version().len(), 1);
    // Without having heard of them, it forks.
    let mut forked = open(2, &backup);
    write(&mut forked, "i");
    pull(&mut forked, &restored);
    assert_eq!(forked.version().len(), 2);
}

#[test]
fn writers_have_the_name_of_their_device_and_copies_theirs() {
    let [mut laptop, mut peer] = replicas();
    laptop.set_device("laptop");
    let delta = write(&mut laptop, "f");
    let mut again = open(1, &laptop.save());
    again.set_device("laptop");
    write(&mut again, "g");
    let mut copy = open(2, &laptop.save());
    copy.set_device("phone");
    write(&mut copy, "h");
    peer.merge(&delta).unwrap();
    pull(&mut peer, &again);
    pull(&mut peer, &copy);
    let names = [&laptop, &again, &copy].map(|replica| peer.version().device(replica.writer().unwrap()));
    assert_eq!(names, [Some("laptop"), Some("laptop"), Some("phone")]);
}
