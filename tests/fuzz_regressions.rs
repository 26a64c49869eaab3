//! What fuzzing has found and no other file of tests is about, each as a test of its own.

use std::time::Duration;

use driftless::sync::{self, Options, Session};
use driftless::testing::{TestEnvironment, repair_frame_checksum};
use driftless::{Graph, Replica};

/// Whoever hears of a standing that was damaged, with a checksum that fits by chance or by a peer's broken memory, cuts deltas
/// for it that the peer cannot use. The peer says so, and says again where it stands, under the same number; as long as that
/// is not heard, the same is sent and refused. The parts are of use by themselves, so nobody ever gives up.
#[test]
fn two_of_whom_one_has_misheard_where_the_other_stands_talk_for_ever() {
    let [mut a, mut b] = [1, 2].map(|seed| Replica::<Graph>::with_environment(TestEnvironment::new(seed)));
    a.edit(|g| g.add_node("a")).unwrap();
    b.edit(|g| g.add_node("b")).unwrap();
    let options = Options::new().with_part_len(20).with_patience(Duration::from_secs(60));
    let [mut on_a, mut on_b] =
        [(&a, 1), (&b, 2)].map(|(replica, seed)| Session::new(replica, options.clone(), [seed; 16]));
    let mut now = Duration::ZERO;

    // One bit of an id, in the standing at the end of the hello: behind it are two numbers and the checksum.
    let mut hello = on_a.poll_frame(&a, now).unwrap().unwrap();
    let id = hello.len() - 4 - 2 - 1;
    hello[id] ^= 1;
    repair_frame_checksum(&mut hello);
    on_b.handle_frame(&mut b, &hello, now).unwrap();

    while !(on_a.is_equal(&a) && on_b.is_equal(&b)) {
        let mut silent = true;
        while let Ok(Some(frame)) = on_a.poll_frame(&a, now) {
            let _ = on_b.handle_frame(&mut b, &frame, now);
            silent = false;
        }
        while let Ok(Some(frame)) = on_b.poll_frame(&b, now) {
            let _ = on_a.handle_frame(&mut a, &frame, now);
            silent = false;
        }
        if on_a.is_over() && on_b.is_over() {
            // A new session begins with what is true.
            sync::in_memory(&mut a, &mut b).unwrap();
            break;
        }
        if silent {
            let due = on_a.poll_timeout().into_iter().chain(on_b.poll_timeout()).min();
            now = due.unwrap_or(now + Duration::from_secs(1));
        }
        assert!(now < Duration::from_secs(300), "neither equal nor over: {:?}, {:?}", on_a.counters(), on_b.counters());
    }
    assert!(a.state() == b.state());
}

/// A peer that has acknowledged a delta may stand at writes of writers that have not arrived here, so its standing does not
/// show that it has the delta. As long as its own delta is held back, the same was sent again, as fast as the line took it.
#[test]
fn a_delta_is_sent_again_and_again_to_a_peer_that_stands_at_unknown_writes_and_holds_its_own_back() {
    let [mut a, mut b] = [1, 2].map(|seed| Replica::<Graph>::with_environment(TestEnvironment::new(seed)));
    // The trail of a version names the first write of a path, and not the second.
    for name in ["b", "c"] {
        let (_, first) = b.edit(|g| g.add_node(name)).unwrap();
        a.merge(&first).unwrap();
    }
    a.edit(|g| g.add_node("a")).unwrap();
    for opening in 0..6 {
        b = Replica::load_with(TestEnvironment::new(10 + opening), &b.save()).unwrap();
        b.edit(|g| g.add_node(&format!("b{opening}"))).unwrap();
    }
    let session = |replica: &Replica<Graph>, seed| Session::new(replica, Options::new(), [seed; 16]);
    let (mut on_a, mut on_b) = (session(&a, 1), session(&b, 2));
    let mut now = Duration::ZERO;
    // A session of the peer's before this one has said hello, so the next one holds its delta back.
    let hello = session(&a, 3).poll_frame(&a, now).unwrap().unwrap();
    on_b.handle_frame(&mut b, &hello, now).unwrap();
    let mut frames = 0;
    while !(on_a.is_equal(&a) && on_b.is_equal(&b)) {
        let mut silent = true;
        while let Some(frame) = on_a.poll_frame(&a, now).unwrap() {
            on_b.handle_frame(&mut b, &frame, now).unwrap();
            silent = false;
            frames += 1;
        }
        while let Some(frame) = on_b.poll_frame(&b, now).unwrap() {
            on_a.handle_frame(&mut a, &frame, now).unwrap();
            silent = false;
            frames += 1;
        }
        assert!(frames < 30, "{frames} frames and not equal: {:?}, {:?}", on_a.counters(), on_b.counters());
        if silent {
            now = on_a.poll_timeout().into_iter().chain(on_b.poll_timeout()).min().expect("somebody waits");
        }
    }
    assert!(a.state() == b.state());
    assert_eq!(on_a.counters().deltas_sent, 1);
}

/// Seeds of an older format are refused at once, and fuzzing never gets behind the header: it did 86 million runs there.
/// `cargo run --example seeds` in `fuzz` writes them anew.
#[test]
fn the_seeds_of_fuzzing_are_of_the_present_format() {
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let read = |path: &str| std::fs::read(seeds.join(path)).unwrap();
    for delta in ["complete", "incremental", "reconciled"] {
        driftless::Delta::from_bytes(&read(&format!("delta/{delta}")))
            .unwrap_or_else(|error| panic!("{delta}: {error}"));
    }
    driftless::Replica::<driftless::Graph>::load(&read("state/graph")).unwrap();
}
