//! Traps that replicated state falls into, each with a test. Where one exists elsewhere it is not repeated:
//!
//! | trap | test |
//! |---|---|
//! | a restored backup writes on | here; and after it pruned, and before it hears of what it lost `identity.rs` |
//! | … and its files are in a shared folder | `folder.rs` |
//! | a disk that was cloned, and all clones write on | here |
//! | one dot with two contents, by a process that was copied in memory | here; found at the first contact `identity.rs` |
//! | a stamp far in the future | `rules.rs`: `a_clock_far_ahead_is_merged_and_reported_and_not_followed`; the last stamp of all `clock.rs` and here |
//! | a stamp far in the past | here |
//! | a counter at its end | here; too many writes to reconcile `reconcile.rs`: `more_writes_than_can_be_told_apart_are_refused` |
//! | a version with a million writers | here |
//! | −0 and NaN | here; in vectors `vector.rs`: `what_is_refused_leaves_no_trace`, `limits_are_told` |
//! | Unicode that is equal only once normalised | here |
//! | a panic inside an edit | `rules.rs`: `an_edit_that_fails_or_panics_leaves_no_trace`; in the journal `journal.rs`: `an_edit_that_fails_or_panics_leaves_no_entry`; what a graph derives, here |
//! | a replica merged with itself | `rules.rs`: `merging_a_replica_with_itself_changes_nothing`; a graph, and through bytes, here |
//! | a claim that reserves memory | here; in damaged and in large messages `malformed.rs` |

#[path = "support/damage.rs"]
mod damage;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/spelling.rs"]
mod spelling;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use damage::{FORMAT_VERSION, ROWS_VERSION, int, open, seal, seal_as};
use driftless::kernel::{Entity, Payload};
use driftless::testing::TestEnvironment;
use driftless::{
    Crdt, DecodeError, Delta, Document, Dot, DotSet, EdgeId, EditError, Graph, MergeError, NodeId, OrMap, OrSet, Prune,
    Replica, Stamp, Value, Version, WriterId,
};
use memory::{alone, peak_of};
use serde_json::json;
use spelling::{REGISTER, field};

fn document(seed: u64) -> Replica<Document> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn graph(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn through_bytes(delta: &Delta) -> Delta {
    let again = Delta::from_bytes(&delta.to_bytes()).unwrap();
    assert_eq!(&again, delta);
    again
}

/// Whatever either lacks of the other, through bytes.
#[track_caller]
fn sync<T: Crdt + PartialEq + std::fmt::Debug>(a: &mut Replica<T>, b: &mut Replica<T>) {
    for _ in 0..2 {
        let cut = |from: &Replica<T>, to: &Replica<T>| {
            let reconciled = || from.reconcile(to.version(), &to.live_dots());
            through_bytes(&from.delta_since(to.version()).unwrap_or_else(|_| reconciled()))
        };
        b.merge(&cut(a, b)).unwrap();
        a.merge(&cut(b, a)).unwrap();
    }
    assert_eq!(a.state(), b.state());
    assert_eq!(a.fingerprint(), b.fingerprint());
}

// ---- backups and clones ----

/// A backup goes on as a writer of its own.
#[test]
fn a_restored_backup_takes_nobodys_dots() {
    let _alone = alone();
    let (mut a, mut b) = (document(1), document(2));
    a.edit(|d| d.set("/x", "saved")).unwrap();
    let backup = a.save();
    a.edit(|d| d.set("/y", "after the backup")).unwrap();
    b.merge(&a.complete()).unwrap();

    let mut restored = Replica::<Document>::load_with(TestEnvironment::new(3), &backup).unwrap();
    assert_eq!(restored.writer(), None);
    restored.edit(|d| d.set("/z", "by the backup")).unwrap();
    assert_ne!(restored.writer(), a.writer());
    // The original is gone or goes on: neither is in the other's way.
    a.edit(|d| d.set("/y", "and further")).unwrap();
    sync(&mut restored, &mut b);
    sync(&mut restored, &mut a);
    sync(&mut a, &mut b);
    assert_eq!(restored.state().to_json(), json!({"x": "saved", "y": "and further", "z": "by the backup"}));
    assert_eq!(b.state(), restored.state());
}

/// All copies of a disk write on, one of them further than the rest.
#[test]
fn clones_of_a_disk_that_all_write_on_lose_nothing() {
    let _alone = alone();
    let mut original = document(1);
    original.edit(|d| d.set("/base", 0)).unwrap();
    let disk = original.save();
    let [mut first, mut second, mut third] =
        [11, 12, 13].map(|seed| Replica::<Document>::load_with(TestEnvironment::new(seed), &disk).unwrap());
    (0..1).for_each(|n| drop(first.edit(|d| d.set(format!("/first/{n}"), n)).unwrap()));
    (0..2).for_each(|n| drop(second.edit(|d| d.set(format!("/second/{n}"), n)).unwrap()));
    (0..3).for_each(|n| drop(third.edit(|d| d.set(format!("/third/{n}"), n)).unwrap()));
    // The longest is heard of by the others.
    let mut peer = document(9);
    peer.merge(&third.complete()).unwrap();
    for clone in [&mut first, &mut second] {
        let report = clone.merge(&peer.delta_since(clone.version()).unwrap()).unwrap();
        assert_eq!(report.shared_writer(), None);
        sync(clone, &mut peer);
    }
    for clone in [&mut first, &mut second, &mut third] {
        sync(clone, &mut peer);
        clone.state().check_invariants().unwrap();
    }
    let expected = json!({
        "base": 0, "first": {"0": 0}, "second": {"0": 0, "1": 1}, "third": {"0": 0, "1": 1, "2": 2},
    });
    assert_eq!(peer.state().to_json(), expected);
}

/// Two copies of a process made as many writes, so no version tells: both contents are kept all the same.
#[test]
fn one_dot_with_two_contents_shows_in_the_fingerprints_and_breaks_nothing() {
    let _alone = alone();
    let mut original = document(1);
    original.edit(|d| d.set("/base", 0)).unwrap();
    let disk = original.save();
    // Equal randomness: both draw the same writer.
    let [mut a, mut b] =
        [11, 11].map(|seed| Replica::<Document>::load_with(TestEnvironment::new(seed), &disk).unwrap());
    let (_, from_a) = a.edit(|d| d.set("/x", "of a")).unwrap();
    let (_, from_b) = b.edit(|d| d.set("/y", "of b")).unwrap();
    assert_eq!((a.version(), from_a.upto()), (b.version(), from_b.upto()));

    // Each keeps one under the dot and writes the other again under a derived one.
    for delta in [&from_b, &b.delta_since(a.version()).unwrap()] {
        a.merge(&through_bytes(delta)).unwrap();
    }
    b.merge(&through_bytes(&from_a)).unwrap();
    for document in [a.state(), b.state()] {
        assert_eq!((document.get("/x"), document.get("/y")), (Some("of a".into()), Some("of b".into())));
    }
    assert_eq!(a.fingerprint(), b.fingerprint());

    // Whole states and reconciliations leave consistent states too.
    for delta in [b.complete(), b.reconcile(a.version(), &a.live_dots())] {
        let mut merged = a.fork_with(TestEnvironment::new(20));
        merged.merge(&through_bytes(&delta)).unwrap();
        merged.state().check_invariants().unwrap();
    }
    // In one cell, and with the same content but for its stamp.
    let (_, x_of_b) = b.edit(|d| d.set("/x", "of b")).unwrap();
    let (_, x_of_a) = a.edit(|d| d.set("/x", "of a, again")).unwrap();
    let mut third = document(3);
    third.merge(&original.complete()).unwrap();
    assert_eq!((x_of_a.len(), x_of_b.len()), (1, 1));
    for from in [&a, &b] {
        third.merge(&from.reconcile(third.version(), &third.live_dots())).unwrap();
        third.state().check_invariants().unwrap();
    }
    // It still can be written to, and what is written spreads.
    third.edit(|d| d.set("/x", "settled")).unwrap();
    a.merge(&third.delta_since(a.version()).unwrap()).unwrap();
    assert_eq!(a.state().get("/x"), Some("settled".into()));
    a.state().check_invariants().unwrap();
}

// ---- clocks ----

/// A document with a register at `/x` whose one sibling has any stamp and counter.
fn stamped(stamp: u64, counter: u64, text: &str) -> Delta {
    let x = field(&[b"x"], REGISTER, b"");
    let body = [
        // No fingerprint, and as many writes as the counter says.
        &[0x98, 0xaf + 3][..],
        b"driftless.document",
        &[0xc0],
        &int(counter.into()),
        &[1, 0, 1, 0, 1],
        // The writers of siblings, and those of versions.
        &[0xc4, 10],
        &[0xee; 10],
        &[0xc4, 10],
        &[0xee; 10],
        // The versions: no head is gone, and of one of them one has come.
        &[0, 0],
        &[0, 1, 0],
        &int(counter.into()),
        &[0, 0],
        // One birth, of a root without a name.
        &[1, 0xc0, 0xc4, 10],
        &[0xee; 10],
        &[0, 0],
        &[0xc4, x.len() as u8],
        &x,
        &[0x95, 0, 0xc4, 16],
        &[0; 16],
        &[0xc3, 0, 1],
        &[0x96, 0, 0],
        // Modulo 2^64, as differences from 0.
        &int((counter as i64).into()),
        &int((stamp as i64).into()),
        &[spelling::STR + 1, 0xc4, text.len() as u8],
        text.as_bytes(),
    ];
    Delta::from_bytes(&seal_as(ROWS_VERSION, 2, &body.concat())).unwrap()
}

fn stranger() -> WriterId {
    WriterId::from([0xee; 10])
}

/// The largest counter that a dot may have.
const MOST: u64 = (1 << 53) - 1;

#[test]
fn a_stamp_at_the_end_of_time_shows_until_somebody_who_saw_it_writes() {
    let _alone = alone();
    let mut a = document(1);
    a.edit(|d| d.set("/x", "now")).unwrap();
    for stamp in [u64::MAX, Stamp::new(1 << 40, 0).to_bits()] {
        let mut a = a.fork_with(TestEnvironment::new(2));
        let report = a.merge(&through_bytes(&stamped(stamp, 1, "from the future"))).unwrap();
        assert_eq!(report.ahead(), [(Dot { writer: stranger(), counter: 1 }, Stamp::from_bits(stamp))]);
        assert_eq!(a.state().get("/x"), Some("from the future".into()));
        assert_eq!(a.state().conflicts().count(), 1);
        // Saved and opened it is the same, and drags no clock along.
        let mut a = Replica::<Document>::load_with(TestEnvironment::new(3), &a.save()).unwrap();
        assert_eq!(a.state().get("/x"), Some("from the future".into()));
        let (_, delta) = a.edit(|d| d.set("/x", "now again")).unwrap();
        let (_, sibling) = a.state().properties().get_all("/x").next().unwrap();
        assert_eq!(sibling.stamp.millis(), 1_000_000);
        let mut b = document(4);
        b.merge(&through_bytes(&stamped(stamp, 1, "from the future"))).unwrap();
        sync(&mut a, &mut b);
        assert_eq!((b.state().get("/x"), b.state().conflicts().count()), (Some("now again".into()), 0));
        drop(delta);
        b.state().check_invariants().unwrap();
    }
}

#[test]
fn a_stamp_at_the_beginning_of_time_is_hidden_by_what_it_did_not_see_and_by_nothing_else() {
    let _alone = alone();
    // A clock that stands at 1970.
    let environment = TestEnvironment::new(1);
    environment.clock().store(0, Ordering::Relaxed);
    let mut past = Replica::<Document>::with_environment(environment);
    let mut now = document(2);
    now.edit(|d| d.set("/x", "now").and_then(|()| d.set("/y", "now"))).unwrap();
    past.edit(|d| d.set("/x", "then")).unwrap();
    sync(&mut past, &mut now);
    assert_eq!(now.state().get("/x"), Some("now".into()));
    assert_eq!(now.state().conflicts().count(), 1);
    // Who has seen it overwrites it, however early its clock.
    past.edit(|d| d.set("/x", "settled then")).unwrap();
    sync(&mut past, &mut now);
    assert_eq!((now.state().get("/x"), now.state().conflicts().count()), (Some("settled then".into()), 0));
    // A stamp of zero itself, as no clock of ours makes one.
    let report = now.merge(&through_bytes(&stamped(0, 1, "zero"))).unwrap();
    assert!(report.ahead().is_empty());
    assert_eq!(now.state().get("/x"), Some("settled then".into()));
    assert_eq!(now.state().properties().get_all("/x").count(), 2);
    now.state().check_invariants().unwrap();
}

// ---- counters ----

#[test]
fn a_counter_at_its_end_is_an_error_of_its_writer_and_of_nobody_else() {
    let _alone = alone();
    for counter in [MOST, MOST - 1, 1 << 52] {
        let last = through_bytes(&stamped(5, counter, "the last"));
        let (mut a, mut b) = (document(1), document(2));
        a.merge(&last).unwrap();
        a.state().check_invariants().unwrap();
        assert_eq!(a.version().get(stranger()), counter);
        assert_eq!(Version::from_bytes(&a.version().to_bytes()).as_ref(), Ok(a.version()));
        let dots = a.live_dots();
        assert!(dots.contains(Dot { writer: stranger(), counter }) && dots.len() == 1);
        assert_eq!(DotSet::from_bytes(&dots.to_bytes()), Ok(dots));
        // Everything that is done with versions and dots.
        let bytes = a.save();
        assert_eq!(Replica::<Document>::load(&bytes).unwrap().state(), a.state());
        b.edit(|d| d.set("/x", "ours")).unwrap();
        sync(&mut a, &mut b);
        assert_eq!(b.state().conflicts().count(), 1);
        b.merge(&through_bytes(&a.reconcile(b.version(), &b.live_dots()))).unwrap();
        b.edit(|d| d.set("/x", "settled")).unwrap();
        b.edit(|d| d.unset("/x")).unwrap();
        assert_eq!(b.prune(Prune::All), 1);
        sync(&mut a, &mut b);
        assert_eq!(a.state().to_json(), json!({}));
        // The same write heard again stays dead.
        a.merge(&last).unwrap();
        assert_eq!(a.state().to_json(), json!({}));
        a.state().check_invariants().unwrap();
    }
    // No larger one is taken from anybody, and nothing has changed then.
    for counter in [MOST + 1, 1 << 63, u64::MAX] {
        let mut a = document(1);
        let refused = a.merge(&through_bytes(&stamped(5, counter, "too far"))).map(drop);
        assert!(matches!(refused, Err(MergeError::Invalid(_))), "{refused:?}");
        assert!(a.version().is_empty() && a.version().writers() == 0);
    }
    // Whoever goes on from the exhausted writer begins anew.
    let owned = [&[0xc4, 10][..], &[0xee; 10], open(&stamped(5, MOST, "the last").to_bytes()).1].concat();
    let mut exhausted = Replica::<Document>::load_with(TestEnvironment::new(7), &seal(4, &owned)).unwrap();
    let (_, delta) = exhausted.edit(|d| d.set("/y", 1)).unwrap();
    assert_eq!(exhausted.version().get(exhausted.writer().unwrap()), 1);
    assert_eq!(exhausted.state().to_json(), json!({"x": "the last", "y": 1}));
    exhausted.state().check_invariants().unwrap();
    let mut other = document(8);
    other.merge(&stamped(5, MOST, "the last")).unwrap();
    other.merge(&through_bytes(&delta)).unwrap();
    assert_eq!(other.state(), exhausted.state());
    // And one that writes its last in this very opening.
    let mut last = document(9);
    last.merge(&stamped(5, MOST - 1, "the last but one")).unwrap();
    let owned = [&[0xc4, 10][..], &[0xee; 10], open(&last.complete().to_bytes()).1].concat();
    let mut last = Replica::<Document>::load_with(TestEnvironment::new(10), &seal(4, &owned)).unwrap();
    let edits = ["a", "b"].map(|text| {
        last.edit(|d| d.set("/y", text)).unwrap();
        last.writer().map(|writer| last.version().get(writer))
    });
    assert_eq!(edits, [Some(MOST), Some(1)]);
    last.state().check_invariants().unwrap();
}

#[test]
fn a_sum_beyond_every_number_is_an_error_of_who_adds_and_reads_as_the_nearest() {
    let _alone = alone();
    // Each counts from where the one before ended, so they share nothing.
    let most = |n: u8| Payload::new(spelling::TOTALS, &[&[n - 1][..], &[0xff; 9], &[1, 0]].concat());
    let mut a = document(1);
    // Three strangers, each with the greatest total that there is.
    for n in 1..=3 {
        a.edit(|d| d.write(Entity::SELF, &field(&[b"n"], spelling::COUNTER, &[n; 10]), most(n))).unwrap();
    }
    assert_eq!(a.state().counter("/n"), Some(3 * i128::from(u64::MAX)));
    assert_eq!(a.state().get("/n"), Some(Value::Float(3.0 * u64::MAX as f64)));
    let before = a.snapshot();
    let refused = a.edit(|d| d.set("/m", 2).and_then(|()| d.add("/n", 1))).map(drop);
    assert!(matches!(refused, Err(EditError::CounterOverflow)), "{refused:?}");
    assert_eq!(a.state(), &before);
    a.state().check_invariants().unwrap();
}

// ---- a million writers ----

const WRITERS: u64 = 1_000_000;

fn writer(n: u64) -> [u8; 10] {
    let mut id = [0; 10];
    id[..8].copy_from_slice(&n.to_be_bytes());
    id
}

/// All their ids in one value.
fn writers() -> Vec<u8> {
    let len = u32::try_from(10 * WRITERS).unwrap().to_be_bytes();
    [0xc6].into_iter().chain(len).chain((0..WRITERS).flat_map(writer)).collect()
}

/// A head of each, with one write.
fn heads() -> Vec<u8> {
    let mut heads = [&[0][..], &int(WRITERS.into())].concat();
    (0..WRITERS).for_each(|n| heads.extend([&int(n.into())[..], &[1]].concat()));
    heads
}

/// What looks at each writer a few times takes a second or two even without optimisation; with each other, hours.
fn in_time<R>(what: &str, run: impl FnOnce() -> R) -> R {
    let begun = Instant::now();
    let (peak, result) = peak_of(run);
    let took = begun.elapsed();
    println!("{what}: {took:?}, {} MiB at the peak", peak >> 20);
    assert!(took < Duration::from_secs(30), "{what}: {took:?}");
    // The table of so many writers and lines takes some 150 bytes each; a merge holds two at a time.
    assert!(peak < 384 << 20, "{what}: {peak} bytes");
    result
}

#[test]
fn a_version_that_names_a_million_writers_costs_its_length_and_stops_nothing() {
    let _alone = alone();
    // As whoever wants to harm us would send it: ids of one write each that nobody ever made.
    let body = [&writers()[..], &heads(), &[0]].concat();
    let message = seal(5, &body);
    let version = in_time("reading the version", || Version::from_bytes(&message)).unwrap();
    assert_eq!(version.len() as u64, WRITERS);
    let mut a = document(1);
    a.edit(|d| d.set("/x", 1)).unwrap();
    // A peer that asks by it is answered with what we have.
    let answer = in_time("cutting a delta for it", || a.delta_since(&version)).unwrap();
    assert_eq!((answer.len(), answer.since().len()), (1, 0));
    drop((body, message));

    let mut body = [&[0x98, 0xaf + 3][..], b"driftless.document", &[0xc0]].concat();
    body.extend([&int(WRITERS.into())[..], &[0; 5], &[0xc4, 0], &writers()].concat());
    body.extend([&[0, 0][..], &heads(), &[0, 0], &int(WRITERS.into())].concat());
    (0..WRITERS).for_each(|n| body.extend([&[0xc0, 0xc4, 10][..], &writer(n), &[0, 0]].concat()));
    // No parts.
    body.extend([0xc4, 0]);
    let message = seal(1, &body);
    drop(body);
    let delta = in_time("reading the delta", || Delta::from_bytes(&message)).unwrap();
    in_time("merging it", || a.merge(&delta)).unwrap();
    assert_eq!(a.version().len() as u64, WRITERS + 1);
    drop((delta, message));

    // All goes on, at that price.
    let base = a.version().clone();
    in_time("an edit", || a.edit(|d| d.set("/y", 2))).unwrap();
    in_time("an edit that fails", || a.edit(|d| d.set("no path", 2))).unwrap_err();
    in_time("an edit that removes", || a.edit(|d| d.unset("/x"))).unwrap();
    let delta = in_time("cutting a delta", || a.delta_since(&base)).unwrap();
    assert_eq!(delta.len(), 2);
    let bytes = in_time("writing a delta", || delta.to_bytes());
    let mut b = document(2);
    b.edit(|d| d.set("/z", 3)).unwrap();
    let complete = a.complete();
    in_time("merging everything", || b.merge(&complete)).unwrap();
    b.merge(&Delta::from_bytes(&bytes).unwrap()).unwrap();
    let for_a = b.delta_since(a.version()).unwrap();
    in_time("merging what a peer wrote", || a.merge(&for_a)).unwrap();
    assert_eq!(a.state(), b.state());
    assert_eq!(in_time("pruning", || a.prune(Prune::All)), 1);
    let reconciled = in_time("reconciling", || b.reconcile(&base, &a.live_dots()));
    b.merge(&reconciled).unwrap();
    let saved = in_time("saving", || a.save());
    let opened = in_time("opening", || Replica::<Document>::load(&saved)).unwrap();
    assert_eq!(opened.state(), a.state());
    assert_eq!(opened.state().to_json(), json!({"y": 2, "z": 3}));
    a.new_writer();
    in_time("the first edit of a writer", || a.edit(|d| d.set("/y", 4))).unwrap();
    a.state().check_invariants().unwrap();
}

// ---- values ----

#[test]
fn minus_zero_is_zero_and_nan_is_nowhere() {
    let _alone = alone();
    let (mut a, mut b) = (document(1), document(2));
    a.edit(|d| d.set("/x", 0.0).and_then(|()| d.insert("/s", 0.0)).and_then(|_| d.raise("/max", 0.0))).unwrap();
    b.edit(|d| d.set("/x", -0.0).and_then(|()| d.insert("/s", -0.0)).and_then(|_| d.raise("/max", -0.0))).unwrap();
    sync(&mut a, &mut b);
    assert_eq!((a.state().conflicts().count(), a.state().properties().elements("/s").count()), (0, 1));
    assert!(a.state().contains("/s", -0.0) && a.state().contains("/s", 0.0));
    let bits = |value: Option<Value<'_>>| value.and_then(|value| value.as_f64()).map(f64::to_bits);
    assert_eq!((bits(a.state().get("/x")), bits(a.state().get("/max"))), (Some(0), Some(0)));
    // Nor does either raise the other, nor in an array.
    assert!(!a.edit(|d| d.raise("/max", -0.0)).unwrap().0);
    a.edit(|d| d.update("/array", &[-0.0, 1.0])).unwrap();
    assert!(!a.edit(|d| d.update("/array", &[0.0, 1.0])).unwrap().0);

    let before = a.snapshot();
    for number in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let refused = [
            a.edit(|d| d.set("/x", number)).map(drop),
            a.edit(|d| d.insert("/s", number)).map(drop),
            a.edit(|d| d.raise("/max", number)).map(drop),
            a.edit(|d| d.lower("/min", number)).map(drop),
            a.edit(|d| d.update("/x", &[1.0, number])).map(drop),
            a.edit(|d| d.update("", &std::collections::BTreeMap::from([("x", number)]))).map(drop),
        ];
        assert!(refused.iter().all(|result| matches!(result, Err(EditError::NotFinite { .. }))), "{refused:?}");
    }
    assert_eq!(a.state(), &before);

    // What others spell so is theirs: relayed, and no number. What can be read shows in its place.
    for number in [-0.0f64, f64::NAN, f64::INFINITY] {
        let spelled = Payload::new(5, &number.to_be_bytes());
        let (mut a, mut hostile) = (document(1), document(3));
        a.edit(|d| d.raise("/max", -1.5)).unwrap();
        hostile
            .edit(|d| {
                d.write(Entity::SELF, &field(&[b"x"], REGISTER, b""), spelled.clone())?;
                d.write(Entity::SELF, &field(&[b"max"], spelling::MAX, b""), spelled)
            })
            .unwrap();
        sync(&mut a, &mut hostile);
        let bytes = &number.to_be_bytes()[..];
        assert_eq!(a.state().get("/x"), Some(Value::Unknown { kind: 5, bytes }));
        assert_eq!(a.state().get("/max"), Some(Value::Float(-1.5)));
        assert_eq!(a.state().to_json(), json!({"x": null, "max": -1.5}));
        a.state().check_invariants().unwrap();
    }
}

/// "é" as one letter, and as an e and an accent: equal to the eye and to whoever normalises, and two names here.
#[test]
fn names_that_are_equal_only_once_normalised_stay_two_and_both_survive() {
    let _alone = alone();
    let [composed, decomposed] = ["caf\u{e9}", "cafe\u{301}"];
    let (mut a, mut b) = (graph(1), graph(2));
    // Each on one side, so that neither has seen the other.
    for (replica, name) in [(&mut a, composed), (&mut b, decomposed)] {
        replica
            .edit(|g| {
                let node = g.add_node(name)?;
                let hub = g.add_node("hub")?;
                g.label(hub, name)?;
                g.set(hub, format!("/{name}"), name)?;
                g.properties_mut(hub).insert("/set", name)?;
                g.update(hub, format!("/map-{}", name.len()), &json!({ name: [name, {name: 1}] }))?;
                g.link(hub, name, node)
            })
            .unwrap();
    }
    sync(&mut a, &mut b);
    let saved = a.save();
    let opened = Replica::<Graph>::load(&saved).unwrap();
    let mut last = graph(3);
    last.merge(&through_bytes(&opened.complete())).unwrap();
    for state in [a.state(), b.state(), opened.state(), last.state()] {
        let hub = state.node(NodeId::named("hub")).unwrap();
        assert_eq!(hub.labels().collect::<Vec<_>>(), [decomposed, composed]);
        assert_eq!(hub.properties().elements("/set").collect::<Vec<_>>(), [decomposed.into(), composed.into()]);
        assert_eq!((state.node_count(), state.conflicts().count()), (3, 0));
        for name in [composed, decomposed] {
            assert_eq!(state.node(NodeId::named(name)).unwrap().name(), Some(name));
            assert_eq!(hub.get(format!("/{name}")), Some(name.into()));
            assert_eq!(hub.properties().json(format!("/map-{}", name.len())), Some(json!({ name: [name, {name: 1}] })));
            let edge = EdgeId::between(hub.id(), name, NodeId::named(name));
            assert_eq!(state.edge(edge).unwrap().edge_type(), name);
            assert_eq!(state.outgoing_of(hub.id(), name).count(), 1);
        }
    }
    // And taken away one by one.
    a.edit(|g| g.unlabel(NodeId::named("hub"), composed)?.then_some(()).ok_or_else(|| EditError::abort("none")))
        .unwrap();
    a.edit(|g| g.unset(NodeId::named("hub"), format!("/{decomposed}"))).unwrap();
    sync(&mut a, &mut b);
    let hub = b.state().node(NodeId::named("hub")).unwrap();
    assert_eq!(hub.labels().collect::<Vec<_>>(), [decomposed]);
    assert_eq!((hub.get(format!("/{composed}")), hub.get(format!("/{decomposed}"))), (Some(composed.into()), None));

    let [mut a, mut b] =
        [1, 2].map(|seed| Replica::<OrMap<String, String>>::with_environment(TestEnvironment::new(seed)));
    a.edit(|m| m.insert(composed.into(), decomposed.into())).unwrap();
    b.edit(|m| m.insert(decomposed.into(), composed.into())).unwrap();
    sync(&mut a, &mut b);
    assert_eq!(
        b.state().iter().collect::<Vec<_>>(),
        [(&decomposed.to_owned(), &composed.to_owned()), (&composed.to_owned(), &decomposed.to_owned())]
    );
}

// ---- edits and merges ----

#[test]
fn a_panic_within_an_edit_leaves_nothing_in_what_a_graph_derives() {
    let _alone = alone();
    let mut a = graph(1);
    let (ada, note) = (NodeId::named("ada"), NodeId::named("note"));
    a.edit(|g| {
        g.add_node("ada")?;
        g.add_node("note")?;
        g.set(ada, "/x", 1)?;
        g.link(ada, "wrote", note)
    })
    .unwrap();
    let (before, bytes) = ((a.snapshot(), a.version().clone(), a.fingerprint()), a.complete().to_bytes());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _ = a.edit(|g| -> Result<(), EditError> {
            g.remove_node(note)?;
            g.set(ada, "/x", 2)?;
            g.set(ada, "/deep/er", 3)?;
            g.add_node("new")?;
            g.link(ada, "knows", NodeId::named("new"))?;
            g.remove_node_with_edges(ada)?;
            g.add_node("ada")?;
            panic!("the app's own")
        });
    }));
    assert!(panicked.is_err());
    assert_eq!((a.state(), a.version(), a.fingerprint()), (&before.0, &before.1, before.2));
    a.state().check_invariants().unwrap();
    assert_eq!((a.state().node_count(), a.state().edge_count(), a.state().dangling().count()), (2, 1, 0));
    assert_eq!(a.complete().to_bytes(), bytes);
    // And it goes on.
    let (_, delta) = a.edit(|g| g.set(ada, "/x", 4)).unwrap();
    assert_eq!(delta.since(), &before.1);
}

#[test]
fn a_graph_merged_with_itself_through_bytes_changes_nothing() {
    let _alone = alone();
    let (mut a, mut b) = (graph(1), graph(2));
    let ada = NodeId::named("ada");
    let (_, first) =
        a.edit(|g| g.add_node("ada").and_then(|_| g.add_node("note")).and_then(|_| g.set(ada, "/x", 1))).unwrap();
    b.merge(&first).unwrap();
    b.edit(|g| g.set(ada, "/x", 2)).unwrap();
    let (_, second) = a.edit(|g| g.set(ada, "/x", 3).and_then(|()| g.remove_node(NodeId::named("note")))).unwrap();
    a.merge(&b.delta_since(a.version()).unwrap()).unwrap();
    assert_eq!(a.state().conflicts().count(), 1);
    let before = (a.snapshot(), a.version().clone(), a.fingerprint());
    let nothing = Version::new();
    let own = [
        first,
        second,
        a.delta_since(&nothing).unwrap(),
        a.delta_since(a.version()).unwrap(),
        a.reconcile(a.version(), &a.live_dots()),
        a.reconcile(&nothing, &DotSet::new()),
        a.complete(),
    ];
    for delta in own {
        let report = a.merge(&through_bytes(&delta)).unwrap();
        assert_eq!(report.changes().count(), 0, "{delta:?}");
        assert_eq!((a.state(), a.version(), a.fingerprint()), (&before.0, &before.1, before.2), "{delta:?}");
        a.state().check_invariants().unwrap();
    }
}

// ---- claims ----

/// The shortest messages that claim the most: a few bytes that say how much would follow.
#[test]
fn a_few_bytes_that_claim_everything_reserve_next_to_nothing() {
    let _alone = alone();
    const LIMIT: usize = 64 << 10;
    let claims = [1u64 << 16, (1 << 32) - 1, 1 << 32, 1 << 61, u64::MAX].map(|claim| int(claim.into()));
    let (id, ids) = ([&[0xc4, 16][..], &[0xee; 16]].concat(), [&[0xc4, 10][..], &[0xee; 10]].concat());
    let mut messages: Vec<(u8, Vec<u8>)> = Vec::new();
    for claim in &claims {
        // Dots, words of a writer's dots, devices, and the version of one.
        messages.extend((6..=7).map(|kind| (kind, claim.clone())));
        messages.push((6, [&[1, 0x92][..], &ids, claim].concat()));
        // Heads that are gone, such as have come, and dots below them.
        messages.push((5, [&ids[..], claim].concat()));
        messages.push((5, [&ids[..], &[0], claim].concat()));
        messages.push((5, [&ids[..], &[0, 0], claim].concat()));
        messages.push((7, [&[1][..], &ids, &[0xa1, b'x'], claim, &[0; 8]].concat()));
        messages.push((7, [&[1][..], &ids, &[0xa1, b'x', 0], claim, &[0; 8]].concat()));
        // Each count of a delta, and all at once; then those of a part and of a writer of dead dots.
        let head = |at: usize| {
            let counts: Vec<u8> =
                (0..5).flat_map(|i| if at == i || at == 5 { claim.clone() } else { vec![0] }).collect();
            [&[0x98, 0xaf][..], b"driftless.graph", &[0xc0, 0], &counts].concat()
        };
        for kind in 1..=3 {
            messages.extend((0..6).map(|at| (kind, head(at))));
        }
        messages.extend((0..6).map(|at| (4, [&[0xc0][..], &head(at)].concat())));
        // Writers, versions, births: then what follows them.
        let start = |counts: [u8; 5], writers: &[u8], versions: &[u8]| {
            [&[0x98, 0xaf][..], b"driftless.graph", &[0xc0, 0], &counts, writers, &ids, versions, &[0]].concat()
        };
        messages.push((3, [&start([0, 1, 0, 0, 0], &[0xc4, 0], &[0; 8])[..], &[0x92, 0], claim, &[1; 20]].concat()));
        for before in [&[][..], &[0], &[0, 0], &[0, 0, 0], &[0; 6]] {
            let start = [&[0x98, 0xaf][..], b"driftless.graph", &[0xc0], &[0; 6], &[0xc4, 0], &ids].concat();
            messages.push((1, [&start[..], before, claim, &[0; 20]].concat()));
        }
        for (known, writes) in [(&claim[..], &[1][..]), (&[1], claim), (claim, claim)] {
            let part = [&start([0, 0, 1, 1, 1], &ids, &[0; 6])[..], &[0x95, 1], &id, &[0xc2], known, writes, &[0; 40]];
            messages.push((1, part.concat()));
        }
    }
    let counts = messages.len();
    // Lengths of texts, bytes, arrays, maps, extensions, wherever a value stands.
    for marker in [0xc6u8, 0xc9, 0xdb, 0xdd, 0xdf] {
        let claim = [&[marker][..], &[0xff; 4]].concat();
        for kind in 1..=7 {
            messages.push((kind, claim.clone()));
            messages.push((kind, [&[0x97][..], &claim].concat()));
            messages.push((kind, [&[1, 0x92][..], &claim].concat()));
        }
    }
    let all = messages.len();
    let messages = messages.into_iter().enumerate();
    let in_both = messages.flat_map(|(place, (kind, body))| {
        [FORMAT_VERSION, ROWS_VERSION].map(|format| (place, kind, seal_as(format, kind, &body)))
    });
    for (place, kind, bytes) in in_both {
        let (peak, error) = peak_of(|| match kind {
            1..=3 => Delta::from_bytes(&bytes).err(),
            4 => Replica::<Graph>::load(&bytes).err(),
            5 => Version::from_bytes(&bytes).err(),
            6 => DotSet::from_bytes(&bytes).err(),
            _ => driftless::sync::Devices::from_bytes(&bytes).err(),
        });
        assert!(
            matches!(error, Some(DecodeError::Malformed(_) | DecodeError::TooLarge { .. })),
            "{error:?}: {bytes:02x?}"
        );
        // Nor is a count refused only because what stands before it is spelled wrong.
        let before_counts = matches!(error, Some(DecodeError::Malformed("the owner" | "the head" | "writers")));
        assert!(place >= counts || !before_counts, "{error:?}: {bytes:02x?}");
        assert!(peak <= LIMIT, "{peak} bytes for {bytes:02x?}");
    }
    assert!(counts > 200 && all > counts, "{counts} of {all}");

    // Turns: fingerprints, and sets as gaps and as words, in every place.
    for claim in [1u64 << 16, (1 << 32) - 1, 1 << 60, u64::MAX].map(damage::leb128) {
        let start = [&[0x81][..], &[0; 40]].concat();
        for before in [
            &start[..],
            &[2, 0],
            &[2, 1],
            &[2, 0, 0],
            &[3, 0],
            &[3, 1],
            &[4, 0],
            &[4, 1],
            &[5, 0],
            &[5, 1],
            &[5, 1, 1, 0],
        ] {
            let bytes = [before, &claim].concat();
            let (peak, turn) = peak_of(|| driftless::sync::Turn::from_bytes(&bytes));
            assert!(turn.is_err() && peak <= LIMIT, "{peak} bytes for {bytes:02x?}");
        }
    }
}

/// Content of an app's own type, which claims more than it holds: decoded when it is merged.
#[test]
fn content_that_claims_everything_reserves_what_serde_allows_and_no_more() {
    let _alone = alone();
    type Sets = OrSet<Vec<Vec<u64>>>;
    // serde itself reserves up to 1 MiB for what a list claims, and gives it back at once.
    const LIMIT: usize = 3 << 20;
    for claim in [&[0xdd, 0xff, 0xff, 0xff, 0xff][..], &[0x91, 0xdd, 0xff, 0xff, 0xff, 0xff], &[0xdc, 0xff, 0xff]] {
        let mut hostile = Replica::<Sets>::with_environment(TestEnvironment::new(1));
        hostile
            .edit(|s| {
                (0..100u8)
                    .try_for_each(|n| s.write(Entity::SELF, &[claim, &[n]].concat(), Payload::new(33, b"")).map(drop))
            })
            .unwrap();
        let bytes = hostile.complete().to_bytes();
        let mut here = Replica::<Sets>::with_environment(TestEnvironment::new(2));
        let (peak, result) = peak_of(|| here.merge(&Delta::from_bytes(&bytes).unwrap()).map(drop));
        assert!(result.is_ok() && peak <= LIMIT, "{peak} bytes");
        assert_eq!((here.state().len(), here.state().state().live_len()), (0, 100));
        assert_eq!(here.complete().to_bytes(), bytes);
    }
}
