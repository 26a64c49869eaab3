//! The drivers of sessions: what they write, what they make durable, and what their errors tell; and the pump.

#[path = "support/letters.rs"]
mod letters;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use driftless::sync::{self, Checkpoint, Event, Options, Parting, Pump, Session, SessionError, SyncErrorReason};
use driftless::testing::TestEnvironment;
use driftless::{Graph, NodeId, Prune, Replica};
use letters::letters;

fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn add(replica: &mut Replica<Graph>, name: &str) {
    replica.edit(|g| g.add_node(name)).unwrap();
}

fn fill(replica: &mut Replica<Graph>, name: &str, nodes: usize) {
    let add = |n: usize, g: &mut driftless::Edit<'_, Graph>| {
        let node = g.add_node(&format!("{name} {n}"))?;
        g.set(node, "/text", &letters(n as u64, 1_000))
    };
    replica.edit(|g| (0..nodes).try_for_each(|n| add(n, g))).unwrap();
}

fn has(replica: &Replica<Graph>, node: &str) -> bool {
    replica.state().node(NodeId::named(node)).is_some()
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// A stream that notes its reads and writes, each row of the same as one.
struct Noted(TcpStream, Arc<Mutex<(usize, usize, bool)>>);

impl Read for Noted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.1.lock().unwrap().2 = false;
        self.0.read(into)
    }
}

impl Write for Noted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut noted = self.1.lock().unwrap();
        noted.0 += 1;
        noted.1 += usize::from(noted.2);
        noted.2 = true;
        drop(noted);
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_turn_is_one_write_so_none_waits_for_an_acknowledgement_of_tcp() {
    let (mut a, mut b) = (replica(1), replica(2));
    let (mut one, mut other) = tcp();
    let mut rows = 0;
    for n in 0..50 {
        add(&mut a, &format!("of a {n}"));
        add(&mut b, &format!("of b {n}"));
        let notes = [0, 1].map(|_| Arc::new(Mutex::new((0, 0, false))));
        let (streams, begun) =
            ([Noted(one, notes[0].clone()), Noted(other, notes[1].clone())], std::time::Instant::now());
        let [mut on_a, mut on_b] = streams;
        std::thread::scope(|scope| {
            scope.spawn(|| sync::blocking(&mut a, &mut on_a).unwrap());
            sync::blocking(&mut b, &mut on_b).unwrap();
        });
        (one, other) = (on_a.0, on_b.0);
        for noted in notes {
            let (writes, in_a_row, _) = *noted.lock().unwrap();
            assert!(writes <= 4, "{writes} writes in a sync of two small deltas");
            rows += in_a_row;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }
    assert_eq!(a.state(), b.state());
    assert_eq!(rows, 0, "writes that follow a write without a read between");
}

#[test]
fn each_merge_is_durable_before_the_peer_hears_of_it() {
    let (mut a, mut b) = (replica(1), replica(2));
    add(&mut a, "of a");
    let (one, other) = tcp();
    // What the second has persisted, and whether the first knew of its merge by then.
    let on_a = std::thread::spawn(move || sync::blocking(&mut a, one).map(|synced| (a, synced)));
    let mut saved = Vec::new();
    let synced = sync::blocking_durable(&mut b, other, Options::new(), |b, event| {
        assert!(matches!(event, Event::Merged { .. }) && has(b, "of a"));
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!on_a.is_finished(), "acknowledged before it was durable");
        saved.push(b.version().clone());
        Ok(())
    });
    assert_eq!(synced.unwrap().merged.len(), 1);
    assert_eq!(saved.len(), 1);
    let (a, _) = on_a.join().unwrap().unwrap();
    assert_eq!(a.state(), b.state());
}

#[test]
fn a_merge_that_cannot_be_made_durable_is_not_acknowledged_and_the_error_holds_it() {
    let (mut a, mut b) = (replica(1), replica(2));
    add(&mut a, "of a");
    let (one, other) = tcp();
    let on_a = std::thread::spawn(move || sync::blocking(&mut a, one).unwrap_err());
    let full = |_: &Replica<Graph>, _: &Event<Graph>| Err(io::Error::other("the disk is full"));
    let error = sync::blocking_durable(&mut b, other, Options::new(), full).unwrap_err();
    assert!(matches!(error.reason, SyncErrorReason::Persist(_)), "{error:?}");
    assert_eq!((error.done.merged.len(), error.done.repaired.len()), (1, 0));
    let on_a = on_a.join().unwrap();
    assert!(matches!(on_a.reason, SyncErrorReason::Session(SessionError::Left(Parting::NotDurable))), "{on_a:?}");
    assert_eq!(on_a.done.counters.deltas_sent, 0);
}

/// A stream that fails at the write after so many.
struct Failing(TcpStream, usize);

impl Read for Failing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 = self.1.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_sync_that_fails_half_way_tells_what_was_merged_before() {
    let mut told = 0;
    for writes in 1..10 {
        let (mut a, mut b) = (replica(1), replica(2));
        add(&mut a, "of a");
        // Too long for one turn, so it is still at it when it has merged what the other has: texts of random letters, each another,
        // which do not become short.
        let mut random = 1u64;
        let mut letter = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + (random >> 40) as u8 % 90)
        };
        let mut text = || (0..64_000).map(|_| letter()).collect::<String>();
        b.edit(|g| (0..64).try_for_each(|n| g.add_node(&format!("{n}")).and_then(|id| g.set(id, "/text", &text()))))
            .unwrap();
        let (one, other) = tcp();
        let on_a = std::thread::spawn(move || sync::blocking(&mut a, one));
        let result = sync::blocking(&mut b, Failing(other, writes));
        let merged = usize::from(has(&b, "of a"));
        match result {
            Ok(synced) => assert_eq!(synced.merged.len(), merged),
            Err(error) => {
                assert_eq!(error.done.merged.len(), merged, "{writes} writes: {error:?}");
                told += merged;
            }
        }
        drop(on_a.join());
    }
    assert!(told > 0, "none failed after a merge");
}

#[test]
fn the_events_of_merges_are_there_after_the_error_that_ended_the_session() {
    let (mut a, mut b) = (replica(1), replica(2));
    add(&mut a, "of a");
    let now = std::time::Duration::ZERO;
    let mut on_a = Session::new(&a, Options::new(), [1; 16]);
    let mut on_b = Session::new(&b, Options::new(), [2; 16]);
    while !has(&b, "of a") {
        while let Some(frame) = on_a.poll_frame(&a, now).unwrap() {
            on_b.handle_frame(&mut b, &frame, now).unwrap();
        }
        while let Some(frame) = on_b.poll_frame(&b, now).unwrap() {
            on_a.handle_frame(&mut a, &frame, now).unwrap();
        }
    }
    let error = (0..100).find_map(|_| on_b.handle_frame(&mut b, b"no sense", now).err());
    assert!(matches!(error, Some(SessionError::Nonsense(_))));
    let events: Vec<_> = std::iter::from_fn(|| on_b.poll_event()).collect();
    assert!(events.iter().any(|event| matches!(event, Event::Merged { .. })), "{events:?}");
}

#[test]
fn a_merge_after_the_checkpoint_is_not_durable_by_it() {
    let (mut a, mut b) = (replica(1), replica(2));
    add(&mut a, "of a");
    let now = std::time::Duration::ZERO;
    let mut on_a = Session::new(&a, Options::new(), [1; 16]);
    let mut on_b = Session::new(&b, Options::new().waiting_for_persisted(), [2; 16]);
    let talk =
        |a: &mut Replica<Graph>, b: &mut Replica<Graph>, on_a: &mut Session<Graph>, on_b: &mut Session<Graph>| {
            for _ in 0..4 {
                while let Some(frame) = on_a.poll_frame(a, now).unwrap() {
                    on_b.handle_frame(b, &frame, now).unwrap();
                }
                while let Some(frame) = on_b.poll_frame(b, now).unwrap() {
                    on_a.handle_frame(a, &frame, now).unwrap();
                }
            }
            on_a.counters().deltas_sent
        };
    // A save begins; while it is written, a delta is merged.
    let early = Checkpoint::of(&b);
    assert_eq!(talk(&mut a, &mut b, &mut on_a, &mut on_b), 0);
    assert!(has(&b, "of a"));
    on_b.handle_persisted(&early);
    assert_eq!(talk(&mut a, &mut b, &mut on_a, &mut on_b), 0, "acknowledged what the save does not hold");
    let late = Checkpoint::of(&b);
    on_b.handle_persisted(&late);
    assert_eq!(talk(&mut a, &mut b, &mut on_a, &mut on_b), 1);
    // An earlier one that comes later takes nothing back.
    on_b.handle_persisted(&early);
    assert!(on_b.is_equal(&b) && on_a.is_equal(&a));
}

/// Two sessions, of which the second waits until what it holds is durable.
struct Durable {
    replicas: [Replica<Graph>; 2],
    sessions: [Session<Graph>; 2],
    now: Duration,
    /// Bytes that the first has sent.
    sent: usize,
}

impl Durable {
    fn new(replicas: [Replica<Graph>; 2], options: Options) -> Self {
        let on_a = Session::new(&replicas[0], options.clone(), [1; 16]);
        let on_b = Session::new(&replicas[1], options.waiting_for_persisted(), [2; 16]);
        Self { replicas, sessions: [on_a, on_b], now: Duration::ZERO, sent: 0 }
    }

    fn talk(&mut self) -> Result<(), SessionError> {
        let mut said = true;
        while said {
            said = false;
            for from in 0..2 {
                while let Some(frame) = self.sessions[from].poll_frame(&self.replicas[from], self.now)? {
                    said = true;
                    self.sent += if from == 0 { frame.len() } else { 0 };
                    self.sessions[1 - from].handle_frame(&mut self.replicas[1 - from], &frame, self.now)?;
                }
            }
        }
        Ok(())
    }
}

/// Each save takes so long that the app has written again before it is done, so what the replica holds is never all durable.
#[test]
fn an_app_that_writes_without_pause_still_tells_its_peer_what_is_durable() {
    type Prepare = fn(&mut Replica<Graph>);
    let prepare: [(&str, Prepare); 2] = [
        ("incremental", |_| {}),
        ("reconciled", |b| {
            b.edit(|g| (0..5).try_for_each(|n| g.remove_node(NodeId::named(&format!("node {n}"))).map(drop))).unwrap();
            b.prune(Prune::All);
        }),
    ];
    for (kind, prepare) in prepare {
        let (mut a, mut b) = (replica(1), replica(2));
        fill(&mut a, "node", 40);
        b.merge(&a.complete()).unwrap();
        prepare(&mut b);
        let mut two = Durable::new([a, b], Options::new());
        let mut saving: Option<Checkpoint> = None;
        for n in 0..50u32 {
            add(&mut two.replicas[1], &format!("of b {n}"));
            let begun = Checkpoint::of(&two.replicas[1]);
            add(&mut two.replicas[1], &format!("more of b {n}"));
            two.talk().unwrap();
            let durable = saving.replace(begun);
            durable.iter().for_each(|checkpoint| two.sessions[1].handle_persisted(checkpoint));
            two.talk().unwrap();
            two.now += Duration::from_secs(1);
            // Nothing arrives that no save holds: the last one that is done was begun in the round before.
            assert!(!has(&two.replicas[0], &format!("more of b {n}")), "{kind}: {n}");
            assert!(n == 0 || !has(&two.replicas[0], &format!("more of b {}", n - 1)), "{kind}: {n}");
            let late = n.checked_sub(4);
            assert!(late.is_none_or(|late| has(&two.replicas[0], &format!("of b {late}"))), "{kind}: {n}");
        }
        assert_eq!(two.sessions[1].counters().reconciliations > 0, kind == "reconciled");
        // At rest both get equal.
        two.sessions[1].handle_persisted(&Checkpoint::of(&two.replicas[1]));
        two.talk().unwrap();
        two.sessions[1].handle_persisted(&Checkpoint::of(&two.replicas[1]));
        two.talk().unwrap();
        assert_eq!(two.replicas[0].state(), two.replicas[1].state());
        assert!(two.sessions.iter().zip(&two.replicas).all(|(session, replica)| session.is_equal(replica)));
    }
}

/// The session is polled while the save is under way.
#[test]
fn a_delta_that_is_cut_after_the_checkpoint_that_holds_it_is_sent_with_it() {
    let (mut a, mut b) = (replica(1), replica(2));
    fill(&mut a, "node", 3);
    b.merge(&a.complete()).unwrap();
    let mut two = Durable::new([a, b], Options::new());
    two.talk().unwrap();
    add(&mut two.replicas[1], "of b");
    let checkpoint = Checkpoint::of(&two.replicas[1]);
    two.talk().unwrap();
    assert!(!has(&two.replicas[0], "of b"));
    two.sessions[1].handle_persisted(&checkpoint);
    two.talk().unwrap();
    assert!(has(&two.replicas[0], "of b"));
    assert!(two.sessions.iter().zip(&two.replicas).all(|(session, replica)| session.is_equal(replica)));
    // A checkpoint that was drawn before a further write does not hold that.
    add(&mut two.replicas[1], "held");
    let checkpoint = Checkpoint::of(&two.replicas[1]);
    add(&mut two.replicas[1], "not held");
    two.talk().unwrap();
    two.sessions[1].handle_persisted(&checkpoint);
    two.talk().unwrap();
    assert!(!has(&two.replicas[0], "not held"));
    two.sessions[1].handle_persisted(&Checkpoint::of(&two.replicas[1]));
    two.talk().unwrap();
    assert!(has(&two.replicas[0], "held") && has(&two.replicas[0], "not held"));
}

#[test]
fn a_merge_that_takes_long_to_become_durable_ends_no_session() {
    let (mut a, b) = (replica(1), replica(2));
    fill(&mut a, "node", 300);
    let mut two = Durable::new([a, b], Options::new().with_patience(Duration::from_secs(20)));
    two.talk().unwrap();
    assert!(has(&two.replicas[1], "node 1"));
    let once = two.sent;
    // Three minutes, in which the peer asks.
    while two.now < Duration::from_secs(180) {
        two.now += Duration::from_millis(500);
        two.talk().unwrap();
        assert_eq!(two.sessions[0].counters().deltas_sent, 0, "acknowledged before it is durable");
        assert!(!two.sessions[0].is_equal(&two.replicas[0]));
    }
    let more = two.sent - once;
    assert!(more < 80_000, "a part once more, and a few bytes each time: {more}");
    two.sessions[1].handle_persisted(&Checkpoint::of(&two.replicas[1]));
    two.talk().unwrap();
    assert_eq!(two.sessions[0].counters().deltas_sent, 1);
    assert!(two.sessions.iter().zip(&two.replicas).all(|(session, replica)| session.is_equal(replica)));
}

/// The content of the stream came on another way and is saved. No later checkpoint comes, because there is nothing to save.
#[test]
fn a_stream_that_changes_nothing_is_acknowledged_without_a_checkpoint_of_its_own() {
    let (mut a, b) = (replica(1), replica(2));
    add(&mut a, "of a");
    let brought = a.complete();
    let mut two = Durable::new([a, b], Options::new());
    let frames: Vec<Vec<u8>> = {
        let hello = two.sessions[1].poll_frame(&two.replicas[1], two.now).unwrap().unwrap();
        two.sessions[0].handle_frame(&mut two.replicas[0], &hello, two.now).unwrap();
        std::iter::from_fn(|| two.sessions[0].poll_frame(&two.replicas[0], two.now).unwrap()).collect()
    };
    two.replicas[1].merge(&brought).unwrap();
    two.sessions[1].handle_persisted(&Checkpoint::of(&two.replicas[1]));
    for frame in frames {
        two.sessions[1].handle_frame(&mut two.replicas[1], &frame, two.now).unwrap();
    }
    two.talk().unwrap();
    assert_eq!(two.sessions[0].counters().deltas_sent, 1);
    assert!(two.sessions.iter().zip(&two.replicas).all(|(session, replica)| session.is_equal(replica)));
}

/// Runs a client to its end; `lose` says which requests and answers do not arrive. Returns how many requests that took.
fn pump(a: &mut Replica<Graph>, b: &mut Replica<Graph>, len: usize, mut lose: impl FnMut(usize) -> bool) -> usize {
    // So many messages are asked for that nothing may be compressed.
    let mut client = Pump::new(a, Options::new().without_compression()).with_message_len(len);
    let mut server = Pump::new(b, Options::new().without_compression()).with_message_len(len);
    let (mut answer, mut events) = (Vec::new(), Vec::new());
    for requests in 0..2_000 {
        let next = client.exchange(a, &answer).unwrap();
        events.extend(next.events);
        if next.is_equal && next.message.is_empty() {
            assert!(server.session().is_equal(b));
            return requests;
        }
        answer.clear();
        if !lose(2 * requests) {
            let answered = server.exchange(b, &next.message).unwrap();
            if !lose(2 * requests + 1) {
                answer = answered.message;
            }
        }
    }
    panic!("no end: {client:?} {server:?}");
}

#[test]
fn a_pump_makes_two_equal_by_requests_and_answers() {
    let (mut a, mut b) = (replica(1), replica(2));
    fill(&mut a, "of a", 1_500);
    fill(&mut b, "of b", 1_500);
    let requests = pump(&mut a, &mut b, 100_000, |_| false);
    assert_eq!(a.state(), b.state());
    assert!((12..40).contains(&requests), "{requests}");
    // What a sync costs at the least: hellos, deltas, acknowledgements.
    add(&mut a, "one more");
    let requests = pump(&mut a, &mut b, 1 << 20, |_| false);
    assert!(requests <= 4, "{requests}");
}

#[test]
fn a_lost_request_or_answer_costs_a_pump_some_more() {
    for lost in 0..12 {
        let (mut a, mut b) = (replica(1), replica(2));
        fill(&mut a, "of a", 200);
        add(&mut b, "of b");
        let requests = pump(&mut a, &mut b, 50_000, |n| n == lost);
        assert_eq!(a.state(), b.state());
        assert!(requests < 40, "without {lost}: {requests}");
    }
}

#[test]
fn a_server_that_has_lost_its_pump_is_met_anew() {
    let (mut a, mut b) = (replica(1), replica(2));
    fill(&mut a, "of a", 300);
    let mut client = Pump::new(&a, Options::new()).with_message_len(50_000);
    let mut server = Pump::new(&b, Options::new()).with_message_len(50_000);
    let mut answer = Vec::new();
    for requests in 0..200 {
        let next = client.exchange(&mut a, &answer).unwrap();
        if next.is_equal && next.message.is_empty() {
            assert_eq!(a.state(), b.state());
            return;
        }
        if requests == 4 {
            server = Pump::new(&b, Options::new()).with_message_len(50_000);
        }
        answer = server.exchange(&mut b, &next.message).unwrap().message;
    }
    panic!("no end: {client:?} {server:?}");
}

#[test]
fn a_pump_gives_up_on_a_peer_that_never_answers_and_refuses_garbage() {
    let mut a = replica(1);
    let mut client = Pump::new(&a, Options::new());
    let error = (0..1_000).find_map(|_| client.exchange(&mut a, &[]).err()).unwrap();
    assert_eq!(error.reason, SessionError::Silence);
    for garbage in [&b"<html>502 Bad Gateway</html>"[..], &[0xff; 100], &[0], &[5, 1]] {
        let mut client = Pump::new(&a, Options::new());
        client.exchange(&mut a, &[]).unwrap();
        let error = client.exchange(&mut a, garbage).unwrap_err();
        assert!(matches!(error.reason, SessionError::Nonsense(_)), "{error:?}");
    }
}
