//! Sessions: two replicas become equal, at the cost of what differs, whatever the channel does.

#[path = "support/frames.rs"]
mod frames;
#[path = "support/letters.rs"]
mod letters;

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use driftless::sync::{
    self, Amount, Checkpoint, Counters, Devices, Event, Options, PART_LEN, Parting, Progress, Session, SessionError,
    Staged, SyncErrorReason,
};
use driftless::testing::{TestEnvironment, twin};
use driftless::{Document, Graph, NodeId, Prune, Replica};
use frames::{ANNOUNCE, ASK, HELLO, PART, TURN, kind};
use letters::letters;

fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn two() -> (Replica<Graph>, Replica<Graph>) {
    let (mut a, mut b) = (replica(1), replica(2));
    a.edit(|g| (0..100).try_for_each(|n| g.add_node(&format!("node {n}")).map(drop))).unwrap();
    b.merge(&a.complete()).unwrap();
    (a, b)
}

/// Adds nodes with a text of a kilobyte each.
fn fill(replica: &mut Replica<Graph>, name: &str, nodes: usize) {
    let add = |n: usize, g: &mut driftless::Edit<'_, Graph>| {
        let node = g.add_node(&format!("{name} {n}"))?;
        g.set(node, "/text", &letters(n as u64, 1_000))
    };
    replica.edit(|g| (0..nodes).try_for_each(|n| add(n, g))).unwrap();
}

fn set(replica: &mut Replica<Graph>, node: &str, text: &str) {
    replica.edit(|g| g.set(NodeId::named(node), "/text", text)).unwrap();
}

fn has(replica: &Replica<Graph>, node: &str) -> bool {
    replica.state().node(NodeId::named(node)).is_some()
}

/// One side: a replica, its session, and what has happened.
struct Side {
    replica: Replica<Graph>,
    session: Session<Graph>,
    happened: Vec<&'static str>,
    progress: Vec<Progress>,
}

impl Side {
    fn new(replica: Replica<Graph>, options: Options, seed: u8) -> Self {
        let session = Session::new(&replica, options, [seed; 16]);
        Self { replica, session, happened: Vec::new(), progress: Vec::new() }
    }

    fn poll(&mut self, now: Duration) -> Option<Vec<u8>> {
        let frame = self.session.poll_frame(&self.replica, now).unwrap();
        self.watch();
        frame
    }

    fn hear(&mut self, frame: &[u8], now: Duration) {
        self.session.handle_frame(&mut self.replica, frame, now).unwrap();
        self.watch();
    }

    fn watch(&mut self) {
        self.progress.push(self.session.progress());
        while let Some(event) = self.session.poll_event() {
            self.happened.push(match event {
                Event::Met { .. } => "met",
                Event::Merged { .. } => "merged",
                Event::Repaired(_) => "repaired",
                Event::Equal => "equal",
                Event::Left => "left",
                _ => "other",
            });
        }
    }

    fn is_equal(&self) -> bool {
        self.session.is_equal(&self.replica)
    }
}

/// Two sides and what lies between them.
struct Pair {
    sides: [Side; 2],
    /// To each side.
    ways: [VecDeque<Vec<u8>>; 2],
    now: Duration,
    /// All frames that were sent, and by whom.
    sent: Vec<(usize, Vec<u8>)>,
}

/// Options of sessions that compress nothing: many tests ask how long deltas are, and when they break off. Sessions that compress are
/// judged in `compression`, and in the simulator.
fn plain() -> Options {
    Options::new().without_compression()
}

impl Pair {
    fn new(a: Replica<Graph>, b: Replica<Graph>) -> Self {
        Self::with(a, b, [plain(), plain()])
    }

    fn with(a: Replica<Graph>, b: Replica<Graph>, [of_a, of_b]: [Options; 2]) -> Self {
        let sides = [Side::new(a, of_a, 1), Side::new(b, of_b, 2)];
        Self { sides, ways: Default::default(), now: Duration::ZERO, sent: Vec::new() }
    }

    /// One round: both say all that they have to say, then both hear it. Returns whether anything was said.
    fn round(&mut self, channel: &mut impl FnMut(usize, usize, Vec<u8>, &mut VecDeque<Vec<u8>>)) -> bool {
        let before = self.sent.len();
        for from in 0..2 {
            while let Some(frame) = self.sides[from].poll(self.now) {
                self.sent.push((from, frame.clone()));
                channel(self.sent.len() - 1, from, frame, &mut self.ways[1 - from]);
            }
        }
        for to in 0..2 {
            while let Some(frame) = self.ways[to].pop_front() {
                self.sides[to].hear(&frame, self.now);
            }
        }
        self.sent.len() > before
    }

    /// Until both are equal; time passes only when nothing is said.
    #[track_caller]
    fn run_through(&mut self, mut channel: impl FnMut(usize, usize, Vec<u8>, &mut VecDeque<Vec<u8>>)) {
        for _ in 0..2_000 {
            let said = self.round(&mut channel);
            if !said && self.sides.iter().all(Side::is_equal) {
                assert_eq!(self.sides[0].replica.state(), self.sides[1].replica.state());
                self.sides.iter().for_each(|side| side.replica.state().check_invariants().unwrap());
                return;
            }
            if !said {
                let timeouts = self.sides.iter().filter_map(|side| side.session.poll_timeout());
                let next = timeouts.min().expect("nobody waits and they are not equal");
                self.now = self.now.max(next);
            }
        }
        panic!("no end: {:?} {:?}", self.sides[0].session, self.sides[1].session);
    }

    #[track_caller]
    fn run(&mut self) {
        self.run_through(|_, _, frame, way| way.push_back(frame));
    }

    fn bytes(&self) -> usize {
        self.sent.iter().map(|(_, frame)| frame.len()).sum()
    }

    fn kinds(&self) -> Vec<u8> {
        self.sent.iter().map(|(_, frame)| kind(frame)).collect()
    }

    fn counters(&self) -> [Counters; 2] {
        [0, 1].map(|i| self.sides[i].session.counters())
    }
}

fn name(name: &str) -> Options {
    plain().with_device(name.parse().unwrap())
}

// ---- who can sync at all ----

#[test]
fn another_protocol_is_an_error_on_both_sides() {
    let (a, b) = two();
    let mut sides = [Side::new(a, plain(), 1), Side::new(b, plain(), 2)];
    let now = Duration::ZERO;
    let mut hellos = [0, 1].map(|i: usize| sides[i].poll(now).unwrap());
    // A later version that speaks with us no longer.
    (hellos[1][1], hellos[1][2]) = (7, 9);
    driftless::testing::repair_frame_checksum(&mut hellos[1]);
    let Side { replica, session, .. } = &mut sides[0];
    let error = session.handle_frame(replica, &hellos[1], now).unwrap_err();
    assert_eq!(error, SessionError::Protocol { ours: (2, 2), theirs: (7, 9) });
    // It is told what we speak, and knows it for the same error.
    let bye = session.poll_frame(replica, now).unwrap().unwrap();
    let Side { replica, session, .. } = &mut sides[1];
    let told = session.handle_frame(replica, &bye, now).unwrap_err();
    assert_eq!(told, SessionError::Protocol { ours: (2, 2), theirs: (2, 2) });
}

#[test]
fn another_type_is_an_error_on_both_sides_whoever_hears_first() {
    let now = Duration::ZERO;
    let begin = || {
        let a = replica(1);
        let b = Replica::<Document>::with_environment(TestEnvironment::new(2));
        let (on_a, on_b) = (Session::new(&a, plain(), [1; 16]), Session::new(&b, plain(), [2; 16]));
        (a, b, on_a, on_b)
    };
    let (mut a, mut b, mut on_a, mut on_b) = begin();
    let (to_b, to_a) = (on_a.poll_frame(&a, now).unwrap().unwrap(), on_b.poll_frame(&b, now).unwrap().unwrap());
    let errors = [on_a.handle_frame(&mut a, &to_a, now), on_b.handle_frame(&mut b, &to_b, now)];
    assert!(errors.iter().all(|e| matches!(e, Err(SessionError::Schema { theirs: None, .. }))), "{errors:?}");

    let (mut a, mut b, mut on_a, mut on_b) = begin();
    on_a.poll_frame(&a, now).unwrap();
    let to_a = on_b.poll_frame(&b, now).unwrap().unwrap();
    on_a.handle_frame(&mut a, &to_a, now).unwrap_err();
    let bye = on_a.poll_frame(&a, now).unwrap().unwrap();
    let error = on_b.handle_frame(&mut b, &bye, now).unwrap_err();
    assert!(
        matches!(&error, SessionError::Schema { theirs: Some(theirs), .. } if theirs.contains("graph")),
        "{error:?}"
    );
}

// ---- what it costs ----

#[test]
fn equal_peers_exchange_one_hello_each() {
    let (a, b) = two();
    let mut pair = Pair::with(a, b, [name("laptop1"), name("phone12")]);
    pair.run();
    assert_eq!(pair.kinds(), [HELLO, HELLO]);
    // One writer: its id and two small counters, and their number.
    let version = 1 + 16 + 1 + 1;
    let beyond = pair.bytes() - 2 * version;
    println!("{beyond} bytes beyond the versions");
    assert!(beyond <= 96, "{beyond} bytes beyond the versions");
    assert_eq!(pair.sides[0].happened, ["met", "equal"]);
}

fn of_many_writers(writers: u64) -> (Replica<Graph>, Replica<Graph>) {
    let (mut a, mut b) = (replica(1), replica(2));
    for n in 0..writers {
        a.merge(&replica(10_000 + n).edit(|g| g.add_node(&format!("node {n}"))).unwrap().1).unwrap();
    }
    b.merge(&a.complete()).unwrap();
    (a, b)
}

#[test]
fn peers_that_know_each_other_say_hello_in_a_kilobyte_whatever_the_number_of_writers() {
    let (mut a, mut b) = of_many_writers(5_000);
    let (on_a, _) = sync::in_memory(&mut a, &mut b).unwrap();
    let (mut of_a, mut of_b) = (Devices::new(), Devices::new());
    of_a.acknowledge("phone", on_a.standing.clone());
    of_b.acknowledge("laptop", on_a.standing);
    set(&mut a, "node 1", "of a");
    set(&mut b, "node 1", "of b");
    let known = |own: &str, devices: &Devices, peer: &str| name(own).with_devices(devices).with_peer(peer);
    let options = [known("laptop", &of_a, "phone"), known("phone", &of_b, "laptop")];
    let mut pair = Pair::with(a, b, options);
    pair.run();
    println!("{:?}", pair.sent.iter().map(|(_, f)| (kind(f), f.len())).collect::<Vec<_>>());
    assert!(pair.sent[..2].iter().all(|(_, hello)| hello.len() < 200));
    assert!(pair.bytes() < 1_000, "{} bytes", pair.bytes());
}

#[test]
fn strangers_with_long_versions_get_equal_too() {
    let (mut a, mut b) = of_many_writers(1_000);
    set(&mut a, "node 1", "of a");
    set(&mut b, "node 1", "of b");
    let mut pair = Pair::new(a, b);
    pair.run();
    // A digest first.
    assert!(pair.sent[..2].iter().all(|(_, hello)| kind(hello) == HELLO && hello.len() < 100));
    // Each says the whole of it at most once.
    let longest = pair.sent.iter().filter(|(_, frame)| frame.len() > 10_000).count();
    assert!(longest <= 2, "{:?}", pair.sent.iter().map(|(_, f)| (kind(f), f.len())).collect::<Vec<_>>());

    // If they are equal, the digest is all.
    let (a, b) = of_many_writers(1_000);
    let mut pair = Pair::new(a, b);
    pair.run();
    assert_eq!(pair.kinds(), [HELLO, HELLO]);
}

#[test]
fn who_has_nothing_gets_everything_in_one_delta() {
    let (a, _) = two();
    let mut pair = Pair::new(a, replica(3));
    pair.run();
    assert_eq!(pair.kinds(), [HELLO, HELLO, PART, ANNOUNCE]);
    assert_eq!(pair.sides[1].happened, ["met", "merged", "equal"]);
}

/// The sender never goes further ahead than its window, and is told in time that it may go on: nobody waits.
#[test]
fn what_is_longer_than_the_window_goes_without_a_pause() {
    let mut a = replica(1);
    fill(&mut a, "long", 10_000);
    let mut pair = Pair::new(a, replica(3));
    pair.run();
    let parts = pair.kinds().iter().filter(|kind| **kind == PART).count();
    let window = (4 << 20) / PART_LEN;
    assert!(parts > 2 * window && pair.kinds().contains(&ASK), "{parts} parts");
    assert_eq!(pair.now, Duration::ZERO);
}

#[test]
fn both_ways() {
    let (mut a, mut b) = two();
    a.edit(|g| g.add_node("a")).unwrap();
    b.edit(|g| g.add_node("b")).unwrap();
    let mut pair = Pair::new(a, b);
    pair.run();
    let [a, b] = pair.counters();
    assert_eq!((a.deltas_sent, a.deltas_merged, b.deltas_sent, b.deltas_merged), (1, 1, 1, 1));
}

#[test]
fn what_one_sent_the_other_received() {
    for begin in CONVERSATIONS {
        let (a, b, part_len) = begin.1();
        let mut pair = Pair::with(a, b, [part_len, part_len].map(|len| plain().with_part_len(len)));
        pair.run();
        let [a, b] = pair.counters();
        for (a, b) in [(a, b), (b, a)] {
            assert_eq!((a.frames_sent, a.bytes_sent), (b.frames_received, b.bytes_received), "{}", begin.0);
            assert_eq!((a.errors, a.retries), (0, 0), "{}", begin.0);
            // Of two that repair both announce where they stand, and one may know it by then.
            assert!(a.stale <= u64::from(begin.0 == "repair"), "{}: {}", begin.0, a.stale);
        }
        assert_eq!(a.deltas_sent + b.deltas_sent, a.deltas_merged + b.deltas_merged + a.repairs + b.repairs);
        assert_eq!(a.bytes_sent + b.bytes_sent, pair.bytes() as u64);
        assert_eq!((begin.0 == "repair") as u64 * 2, a.repairs + b.repairs);
        assert_eq!(begin.0 == "reconciled", a.reconciliations + b.reconciliations > 0);
    }
}

// ---- while it runs ----

#[test]
fn edits_made_while_it_runs_and_after_are_picked_up() {
    let (a, b) = two();
    let mut pair = Pair::new(a, b);
    for n in 0..10 {
        pair.sides[n % 2].replica.edit(|g| g.add_node(&format!("during {n}"))).unwrap();
        pair.round(&mut |_, _, frame, way| way.push_back(frame));
    }
    pair.run();
    // Both are equal; now live.
    let before = pair.sent.len();
    for n in 0..4 {
        pair.sides[n % 2].replica.edit(|g| g.add_node(&format!("live {n}"))).unwrap();
        assert!(!pair.sides[n % 2].is_equal());
        pair.run();
    }
    let mut live = pair.kinds()[before..].to_vec();
    live.sort();
    assert_eq!(live, [ANNOUNCE, ANNOUNCE, ANNOUNCE, ANNOUNCE, PART, PART, PART, PART]);
    assert!(has(&pair.sides[0].replica, "live 3") && has(&pair.sides[1].replica, "during 8"));
    let equal = pair.sides[0].happened.iter().filter(|what| **what == "equal").count();
    assert!(equal >= 3, "{:?}", pair.sides[0].happened);
}

#[test]
fn a_replica_has_several_sessions_at_once() {
    let (a, b) = two();
    let mut hub = a;
    let mut others = [Side::new(b, plain(), 2), Side::new(replica(3), plain(), 3)];
    others[0].replica.edit(|g| g.add_node("of b")).unwrap();
    others[1].replica.edit(|g| g.add_node("of c")).unwrap();
    let mut sessions = [4, 5].map(|seed| Session::new(&hub, plain(), [seed; 16]));
    let now = Duration::ZERO;
    let mut quiet = 0;
    while quiet < 2 {
        quiet += 1;
        for i in 0..2 {
            while let Some(frame) = sessions[i].poll_frame(&hub, now).unwrap() {
                quiet = 0;
                others[i].hear(&frame, now);
            }
            while let Some(frame) = others[i].poll(now) {
                quiet = 0;
                sessions[i].handle_frame(&mut hub, &frame, now).unwrap();
            }
        }
    }
    for i in 0..2 {
        assert!(sessions[i].is_equal(&hub) && others[i].is_equal());
        assert_eq!(others[i].replica.state(), hub.state());
    }
    assert!(has(&others[0].replica, "of c") && has(&others[1].replica, "of b"));
}

#[test]
fn progress_only_grows_and_comes_to_what_was_expected() {
    let (mut a, b) = two();
    // More than the sender sends unasked.
    fill(&mut a, "new", 5_000);
    let mut pair = Pair::with(a, b, [plain(), plain()]);
    pair.run();
    let check = |amounts: Vec<Amount>| {
        let some: Vec<Amount> = amounts.into_iter().filter(|amount| amount.bytes_expected > 0).collect();
        let (first, last) = (some[0], some[some.len() - 1]);
        assert!(first.bytes_expected > 1_500_000 && first.parts_expected > 20, "{first:?}");
        for pair in some.windows(2) {
            assert_eq!(pair[0].bytes_expected, pair[1].bytes_expected);
            assert_eq!(pair[0].parts_expected, pair[1].parts_expected);
            assert!(pair[0].bytes <= pair[1].bytes && pair[0].parts <= pair[1].parts);
            assert!(pair[1].bytes <= pair[1].bytes_expected && pair[1].parts <= pair[1].parts_expected);
        }
        (first, last)
    };
    let (_, last) = check(pair.sides[1].progress.iter().map(|progress| progress.receiving).collect());
    // The last part makes it a delta that is merged.
    assert!(last.bytes + PART_LEN as u64 >= last.bytes_expected && last.parts + 1 >= last.parts_expected, "{last:?}");
    let (_, last) = check(pair.sides[0].progress.iter().map(|progress| progress.sending).collect());
    assert!(last.bytes > 0, "{last:?}");
    assert!(pair.sides.iter().all(|side| side.session.progress() == Progress::default()));
}

#[test]
fn nothing_is_acknowledged_or_sent_that_is_not_durable() {
    let (mut a, b) = two();
    a.edit(|g| g.add_node("of a")).unwrap();
    let mut pair = Pair::with(a, b, [plain(), plain().waiting_for_persisted()]);
    let mut channel = |_: usize, _: usize, frame: Vec<u8>, way: &mut VecDeque<Vec<u8>>| way.push_back(frame);
    pair.sides[1].replica.edit(|g| g.add_node("of b")).unwrap();
    while pair.round(&mut channel) {}
    // It was merged, and not said.
    assert!(has(&pair.sides[1].replica, "of a") && !has(&pair.sides[0].replica, "of b"));
    assert!(!pair.sides[0].is_equal() && !pair.sides[1].is_equal());
    assert_eq!(pair.counters()[0].deltas_sent, 0);
    assert!(pair.sent.iter().all(|(from, frame)| *from == 0 || kind(frame) == HELLO));
    // Nor when it is asked again.
    pair.now += Duration::from_secs(5);
    while pair.round(&mut channel) {}
    assert_eq!(pair.counters()[0].deltas_sent, 0);

    let side = &mut pair.sides[1];
    side.session.handle_persisted(&Checkpoint::of(&side.replica));
    pair.run();
    assert!(has(&pair.sides[0].replica, "of b"));
    assert_eq!(pair.counters()[0].deltas_sent, 1);
    // The same for what is written later.
    pair.sides[1].replica.edit(|g| g.add_node("later")).unwrap();
    assert!(!pair.round(&mut channel));
    let side = &mut pair.sides[1];
    side.session.handle_persisted(&Checkpoint::of(&side.replica));
    pair.run();
    assert!(has(&pair.sides[0].replica, "later"));
}

// ---- bad channels ----

type Begin = fn() -> (Replica<Graph>, Replica<Graph>, usize);

const CONVERSATIONS: [(&str, Begin); 5] = [
    ("equal", || {
        let (a, b) = two();
        (a, b, PART_LEN)
    }),
    ("incremental", || {
        let (mut a, mut b) = two();
        a.edit(|g| g.add_node("a")).unwrap();
        b.edit(|g| g.add_node("b")).unwrap();
        (a, b, PART_LEN)
    }),
    ("reconciled", || {
        let (mut a, mut b) = two();
        a.edit(|g| g.remove_node(NodeId::named("node 5"))).unwrap();
        a.prune(Prune::All);
        b.edit(|g| g.add_node("b")).unwrap();
        (a, b, PART_LEN)
    }),
    ("repair", || {
        let (mut a, _) = two();
        let mut b = twin(&a, TestEnvironment::new(7));
        a.edit(|g| g.add_node("a")).unwrap();
        b.edit(|g| g.add_node("b")).unwrap();
        (a, b, PART_LEN)
    }),
    ("many parts", || {
        let (mut a, mut b) = two();
        fill(&mut a, "a", 4);
        fill(&mut b, "b", 3);
        (a, b, 500)
    }),
];

fn conversation((_, begin): &(&str, Begin)) -> Pair {
    let (a, b, part_len) = begin();
    Pair::with(a, b, [part_len, part_len].map(|len| plain().with_part_len(len)))
}

#[test]
fn two_that_are_equal_fall_silent() {
    for begin in &CONVERSATIONS {
        let mut pair = conversation(begin);
        pair.run();
        let said = pair.sent.len();
        // Whoever said hello before hearing the other's wants to know once that it was heard.
        while let Some(next) = pair.sides.iter().filter_map(|side| side.session.poll_timeout()).min() {
            pair.now = pair.now.max(next);
            pair.round(&mut |_, _, frame, way| way.push_back(frame));
            assert!(pair.sent.len() <= said + 4, "{}: {:?}", begin.0, pair.kinds());
        }
        assert!(pair.sides.iter().all(Side::is_equal) && pair.now < Duration::from_secs(10), "{}", begin.0);
    }
}

#[test]
fn a_lost_frame_costs_time_whichever_it_is() {
    for begin in &CONVERSATIONS {
        let mut whole = conversation(begin);
        whole.run();
        assert_eq!(whole.now, Duration::ZERO);
        for lost in 0..whole.sent.len() {
            let mut pair = conversation(begin);
            pair.run_through(|i, _, frame, way| way.extend((i != lost).then_some(frame)));
            assert!(pair.now < Duration::from_secs(10), "{} without {lost}: {:?}", begin.0, pair.now);
        }
    }
}

#[test]
fn all_that_is_lost_for_a_while_costs_time() {
    for begin in &CONVERSATIONS {
        let mut whole = conversation(begin);
        whole.run();
        for first in 0..whole.sent.len() {
            let mut pair = conversation(begin);
            let lost = first..first + 4;
            pair.run_through(|i, _, frame, way| way.extend((!lost.contains(&i)).then_some(frame)));
            assert!(pair.now < Duration::from_secs(60), "{} without {lost:?}: {:?}", begin.0, pair.now);
        }
    }
}

#[test]
fn a_frame_that_comes_twice_changes_nothing_whichever_it_is() {
    for begin in &CONVERSATIONS {
        let mut whole = conversation(begin);
        whole.run();
        for twice in 0..whole.sent.len() {
            let mut pair = conversation(begin);
            pair.run_through(|i, _, frame, way| {
                way.extend((i == twice).then(|| frame.clone()));
                way.push_back(frame);
            });
            assert_eq!(pair.now, Duration::ZERO, "{} with {twice} twice", begin.0);
        }
        let mut pair = conversation(begin);
        pair.run_through(|_, _, frame, way| way.extend([frame.clone(), frame]));
        assert_eq!(pair.now, Duration::ZERO, "{}", begin.0);
    }
}

#[test]
fn a_frame_that_comes_after_the_next_one_costs_at_most_time() {
    for begin in &CONVERSATIONS {
        let mut whole = conversation(begin);
        whole.run();
        for late in 0..whole.sent.len() {
            let mut pair = conversation(begin);
            let mut held: Option<(usize, Vec<u8>)> = None;
            pair.run_through(|i, from, frame, way| {
                if i == late {
                    held = Some((from, frame));
                    return;
                }
                way.push_back(frame);
                // As soon as the same side says something more.
                way.extend(held.take_if(|(by, _)| *by == from).map(|(_, frame)| frame));
            });
            assert!(pair.now < Duration::from_secs(10), "{} with {late} late: {:?}", begin.0, pair.now);
        }
    }
}

#[test]
fn a_peer_that_begins_later_is_met() {
    for wait in [1, 10, 50] {
        let (mut a, b) = two();
        a.edit(|g| g.add_node("a")).unwrap();
        let mut pair = Pair::new(a, b);
        // Nobody hears the first hellos.
        while pair.now < Duration::from_secs(wait) {
            while pair.sides[0].poll(pair.now).is_some() {}
            pair.now = pair.sides[0].session.poll_timeout().unwrap().min(Duration::from_secs(wait));
        }
        pair.run();
        assert!(pair.now <= Duration::from_secs(wait + 40), "{:?}", pair.now);
    }
}

#[test]
fn a_peer_that_restarts_in_the_middle_goes_on_from_where_its_replica_stands() {
    for begin in &CONVERSATIONS {
        for rounds in 0..6 {
            for who in 0..2 {
                let mut pair = conversation(begin);
                for _ in 0..rounds {
                    pair.round(&mut |_, _, frame, way| way.push_back(frame));
                }
                let Pair { sides, .. } = &mut pair;
                sides[who].session = Session::new(&sides[who].replica, plain(), [9; 16]);
                pair.run();
                assert!(pair.now < Duration::from_secs(10), "{} {rounds}: {:?}", begin.0, pair.now);
            }
        }
    }
}

#[test]
fn who_has_missed_all_that_was_announced_of_late_is_told_where_we_stand() {
    let (mut a, mut b) = two();
    for (i, replica) in [&mut a, &mut b].into_iter().enumerate() {
        replica.edit(|g| (0..40).try_for_each(|n| g.add_node(&format!("{i} {n}")).map(drop))).unwrap();
        replica
            .edit(|g| (0..40).try_for_each(|n| g.remove_node(NodeId::named(&format!("{i} {n}"))).map(drop)))
            .unwrap();
    }
    let mut pair = Pair::new(a, b);
    pair.run();
    // What b prunes it announces; a hears nothing of it.
    let id = pair.sides[1].replica.writer().unwrap();
    for counter in 41..=80 {
        let version = [(id, counter)].into_iter().collect();
        pair.sides[1].replica.prune(Prune::Upto(&version));
        pair.round(&mut |_, _, _, _| {});
    }
    assert!(pair.sent.len() > 40);
    // What a says of itself builds on what b has said long ago.
    let own = pair.sides[0].replica.writer().unwrap();
    let version = [(own, pair.sides[0].replica.version().get(own))].into_iter().collect();
    assert!(pair.sides[0].replica.prune(Prune::Upto(&version)) > 0);
    let before = pair.sent.len();
    for _ in 0..20 {
        pair.round(&mut |_, _, frame, way| way.push_back(frame));
    }
    let said = pair.sent.len() - before;
    assert!(said < 10, "{said} frames, and no end: {:?}", pair.kinds());
    pair.run();
}

// ---- broken off ----

const LARGE: usize = 1_690;

fn large() -> (Replica<Graph>, Replica<Graph>) {
    let (mut a, b) = two();
    fill(&mut a, "new", LARGE);
    (a, b)
}

/// Lets so many parts through, then breaks. What is left on the receiver's side, and the two.
fn broken_after(parts: usize) -> (Replica<Graph>, Replica<Graph>, Option<Box<Staged>>) {
    let (a, b) = large();
    broken(a, b, parts)
}

fn broken(a: Replica<Graph>, b: Replica<Graph>, parts: usize) -> (Replica<Graph>, Replica<Graph>, Option<Box<Staged>>) {
    let mut pair = Pair::new(a, b);
    let mut through = 0;
    while through < parts {
        let said = pair.round(&mut |_, _, frame, way| {
            through += usize::from(kind(&frame) == PART);
            way.extend((kind(&frame) != PART || through <= parts).then_some(frame));
        });
        if !said {
            break;
        }
    }
    let [a, b] = pair.sides;
    (a.replica, b.replica, b.session.into_staged())
}

fn resumed(a: Replica<Graph>, b: Replica<Graph>, staged: Option<Box<Staged>>) -> (u64, Pair) {
    let mut pair = Pair::with(a, b, [plain(), plain().with_staged(staged)]);
    pair.run();
    (pair.counters()[0].bytes_sent, pair)
}

#[test]
fn after_a_break_only_the_rest_is_sent() {
    let (a, b) = large();
    let (all, _) = resumed(a, b, None);
    for parts in [1, 2, 3, 4, 8, 13, 20, 25] {
        let (a, b, staged) = broken_after(parts);
        assert!(!has(&b, "new 1"), "nothing was merged");
        let staged_len = staged.as_ref().map_or(0, |staged| staged.len());
        let (sent, pair) = resumed(a, b, staged);
        // What is lost is the slice that was under way, and what stands for the versions.
        let arrived = (parts * PART_LEN) as u64;
        let most = all.saturating_sub(arrived) + (140 << 10);
        println!("{parts} parts of {all} bytes, {staged_len} siblings staged: {sent} bytes, at most {most}");
        assert!(sent <= most, "{parts} parts: {sent} of {all}");
        assert!(parts < 3 || sent < all);
        assert_eq!(pair.sides[1].happened, ["met", "merged", "equal"]);
    }
}

/// A hello says where it stands and what it has kept, both in full, as long as they fit together.
#[test]
fn after_a_break_only_the_rest_is_sent_whoever_else_has_written() {
    let (mut a, mut b) = large();
    for n in 0..90 {
        let mut another = replica(100 + n);
        another.edit(|g| g.add_node(&format!("of another {n}"))).unwrap();
        [&mut a, &mut b].into_iter().for_each(|replica| drop(replica.merge(&another.complete()).unwrap()));
    }
    let (a, b, staged) = broken(a, b, 13);
    let (sent, pair) = resumed(a, b, staged);
    // Of 1.7 MB; 13 parts are 852 KB.
    assert!(sent < 1_000_000, "{sent}");
    assert_eq!(pair.sides[1].happened, ["met", "merged", "equal"]);
}

#[test]
fn after_several_breaks_only_the_rest_is_sent() {
    let (a, b) = large();
    let (all, _) = resumed(a, b, None);
    let (mut a, mut b, mut staged) = broken_after(8);
    let mut sent = 0;
    for _ in 0..2 {
        let mut pair = Pair::with(a, b, [plain(), plain().with_staged(staged)]);
        let mut through = 0;
        for _ in 0..3 {
            pair.round(&mut |_, _, frame, way| {
                through += usize::from(kind(&frame) == PART);
                way.extend((kind(&frame) != PART || through <= 6).then_some(frame));
            });
        }
        sent += 6 * PART_LEN as u64;
        let [one, other] = pair.sides;
        (a, b, staged) = (one.replica, other.replica, other.session.into_staged());
    }
    let (rest, _) = resumed(a, b, staged);
    let total = 8 * PART_LEN as u64 + sent + rest;
    println!("{all} bytes at once, {total} in four goes");
    assert!(total <= all + 4 * (140 << 10), "{total} of {all}");
}

#[test]
fn after_a_break_what_the_sender_has_changed_meanwhile_comes_along() {
    let (a, b) = large();
    let (all, _) = resumed(a, b, None);
    let (mut a, b, staged) = broken_after(16);
    set(&mut a, "new 3", "changed meanwhile");
    a.edit(|g| g.remove_node(NodeId::named("new 4"))).unwrap();
    a.edit(|g| g.remove_node(NodeId::named("node 7"))).unwrap();
    a.edit(|g| g.add_node("even newer")).unwrap();
    let (sent, pair) = resumed(a, b, staged);
    assert!(sent < all / 2, "{sent} of {all}");
    let b = &pair.sides[1].replica;
    assert!(has(b, "even newer") && !has(b, "new 4") && !has(b, "node 7"));
}

#[test]
fn after_a_break_and_a_pruning_all_is_sent_again() {
    let (mut a, b, staged) = broken_after(16);
    a.edit(|g| g.remove_node(NodeId::named("new 4"))).unwrap();
    a.edit(|g| g.remove_node(NodeId::named("node 7"))).unwrap();
    a.prune(Prune::All);
    let (sent, pair) = resumed(a, b, staged);
    assert!(sent > LARGE as u64 * 1_000, "{sent}");
    let b = &pair.sides[1].replica;
    assert!(!has(b, "new 4") && !has(b, "node 7"));
}

#[test]
fn what_was_staged_of_another_peer_or_is_outdated_does_no_harm() {
    // The receiver has it all by other ways; or the sender is another.
    let (a, mut b, staged) = broken_after(16);
    b.merge(&a.delta_since(b.version()).unwrap()).unwrap();
    let (sent, _) = resumed(a, b, staged);
    assert!(sent < 1_000, "{sent}");
    let (_, b, staged) = broken_after(16);
    let (mut other, _) = two();
    other.edit(|g| g.add_node("another")).unwrap();
    let other = {
        let mut fresh = replica(9);
        fresh.merge(&other.complete()).unwrap();
        fresh
    };
    drop(b);
    let (_, b) = two();
    let (_, pair) = resumed(other, b, staged);
    assert!(has(&pair.sides[1].replica, "another"));
}

/// Syncs over a line that breaks whenever it has carried so many bytes. Both sides save what they have staged. Returns how many
/// connections and bytes it took, and what the two hold then.
fn over_a_line_that_breaks(
    [mut a, mut b]: [Replica<Graph>; 2],
    breaks_after: usize,
    mut between: impl FnMut(usize, &mut Replica<Graph>, &mut Replica<Graph>),
) -> (usize, usize, [Replica<Graph>; 2]) {
    let (mut bytes, mut staged) = (0, [None, None]);
    for tries in 1..=20 {
        let options = staged.map(|staged| plain().with_staged(staged));
        let mut pair = Pair::with(a, b, options);
        let (mut carried, mut broken) = (0, false);
        while !broken {
            let said = pair.round(&mut |_, _, frame, way| {
                broken |= carried + frame.len() > breaks_after;
                if broken {
                    return;
                }
                carried += frame.len();
                way.push_back(frame);
            });
            if !said && pair.sides.iter().all(Side::is_equal) {
                let [a, b] = pair.sides.map(|side| side.replica);
                assert_eq!(a.state(), b.state());
                [&a, &b].into_iter().for_each(|replica| replica.state().check_invariants().unwrap());
                return (tries, bytes + carried, [a, b]);
            }
            if !said {
                let timeouts = pair.sides.iter().filter_map(|side| side.session.poll_timeout());
                pair.now = pair.now.max(timeouts.min().expect("nobody waits and they are not equal"));
            }
        }
        // The frame that did not get through counts too, as far as the connection carried it.
        bytes += breaks_after;
        let [one, other] = pair.sides;
        (a, b) = (one.replica, other.replica);
        staged = [one.session, other.session].map(|session| {
            let bytes = session.into_staged()?.to_bytes();
            Some(Box::new(Staged::from_bytes(&bytes).unwrap()))
        });
        between(tries, &mut a, &mut b);
    }
    panic!("not done after 20 tries and {bytes} bytes");
}

type Make = fn() -> [Replica<Graph>; 2];

/// Some 1.16 MB that go to the second, as a delta of each kind.
const KINDS: [(&str, Make); 4] = [
    ("incremental", || {
        let (mut a, b) = two();
        fill(&mut a, "new", LONG);
        [a, b]
    }),
    ("from nothing", || {
        let (mut a, _) = two();
        fill(&mut a, "new", LONG);
        a.edit(|g| g.remove_node(NodeId::named("node 3"))).unwrap();
        a.prune(Prune::All);
        [a, replica(3)]
    }),
    // The recent removals outnumber the live cells.
    ("complete", || {
        let (mut a, b) = two();
        fill(&mut a, "new", LONG);
        let names: Vec<_> = (0..4_000).map(|n| format!("gone {n}")).collect();
        a.edit(|g| names.iter().try_for_each(|name| g.add_node(name).map(drop))).unwrap();
        a.edit(|g| names.iter().try_for_each(|name| g.remove_node(NodeId::named(name)).map(drop))).unwrap();
        [a, b]
    }),
    ("reconciled", || {
        let (mut a, b) = two();
        a.edit(|g| (0..10).try_for_each(|n| g.remove_node(NodeId::named(&format!("node {n}"))).map(drop))).unwrap();
        a.prune(Prune::All);
        fill(&mut a, "new", LONG);
        [a, b]
    }),
];

const LONG: usize = 1_150;

/// Returns the bytes that go over a line that does not break.
fn at_once([a, b]: [Replica<Graph>; 2]) -> usize {
    over_a_line_that_breaks([a, b], usize::MAX, |_, _, _| panic!("it does not break")).1
}

#[test]
fn a_stream_of_any_kind_goes_on_where_it_broke() {
    for (kind, two) in KINDS {
        let all = at_once(two());
        let (tries, bytes, [_, b]) = over_a_line_that_breaks(two(), 400_000, |_, _, b| assert!(!has(b, "new 1")));
        println!("{kind}: {all} bytes at once; over a line that breaks after 400,000, {bytes} in {tries} tries");
        assert!((1_150_000..1_200_000).contains(&all), "{kind}: {all}");
        assert!(tries <= 4, "{kind}: {tries} tries");
        assert!(bytes * 10 <= all * 13, "{kind}: {bytes} of {all}");
        assert!(has(&b, "new 1"));
    }
    // Each is of its kind.
    let [a, b] = KINDS[2].1();
    assert!(a.complete().to_bytes().len() < a.delta_since(b.version()).unwrap().to_bytes().len());
    let [a, b] = KINDS[3].1();
    assert!(a.delta_since(b.version()).is_err());
}

#[test]
fn a_repair_goes_on_where_it_broke() {
    let contradicting = || {
        let (mut a, _) = two();
        fill(&mut a, "both", LONG);
        let mut b = twin(&a, TestEnvironment::new(7));
        fill(&mut a, "one", 10);
        fill(&mut b, "two", 10);
        [a, b]
    };
    let [a, b] = contradicting();
    let (all, _) = resumed(a, b, None);
    let [a, b] = contradicting();
    let (a, b, staged) = broken(a, b, 13);
    let (rest, pair) = resumed(a, b, staged);
    println!("{all} bytes of one side at once; after a break, {rest}");
    assert!(all > 1_160_000 && rest <= all - 13 * PART_LEN as u64 + (140 << 10), "{rest} of {all}");
    let [a, b] = pair.sides.map(|side| side.replica);
    assert!(["one 1", "two 1"].iter().all(|node| has(&a, node) && has(&b, node)));
    // If anything was written since, the stream begins again, and nothing is lost.
    let [a, b] = contradicting();
    let (mut a, b, staged) = broken(a, b, 13);
    a.edit(|g| g.add_node("later")).unwrap();
    let (_, pair) = resumed(a, b, staged);
    let [a, b] = pair.sides.map(|side| side.replica);
    assert!(["one 1", "two 1", "later"].iter().all(|node| has(&a, node) && has(&b, node)));
}

#[test]
fn two_that_know_different_births_of_one_writer_end_in_an_error_and_not_in_silence() {
    let names = |from: usize, upto: usize| (from..upto).map(|n| format!("node {n}"));
    let mut first = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    first.edit(|g| g.add_node("first")).unwrap();
    // Repeated randomness: the writer goes on from the first on one side, and from nobody on the other.
    let mut one = Replica::<Graph>::load_with(TestEnvironment::new(9), &first.save()).unwrap();
    names(0, 4).for_each(|name| drop(one.edit(|g| g.add_node(&name)).unwrap()));
    let mut other = Replica::<Graph>::with_environment(TestEnvironment::new(9));
    names(0, 5).for_each(|name| drop(other.edit(|g| g.add_node(&name)).unwrap()));
    other.merge(&first.complete()).unwrap();
    assert_eq!(one.writer(), other.writer());
    let error = sync::in_memory(&mut one, &mut other).unwrap_err();
    // One side finds it, and the other hears of it.
    assert_eq!(error.reason, SessionError::Left(Parting::Contradiction));
}

#[test]
fn what_both_write_between_breaks_comes_along_whatever_the_kind() {
    for (kind, two) in KINDS {
        let all = at_once(two());
        let (tries, bytes, [a, b]) = over_a_line_that_breaks(two(), 400_000, |tries, a, b| {
            set(a, &format!("new {tries}"), "changed meanwhile");
            a.edit(|g| g.remove_node(NodeId::named(&format!("new {}", 100 + tries)))).unwrap();
            a.edit(|g| g.remove_node(NodeId::named(&format!("node {}", 50 + tries)))).unwrap();
            a.edit(|g| g.add_node(&format!("by the sender {tries}"))).unwrap();
            b.edit(|g| g.add_node(&format!("by the receiver {tries}"))).unwrap();
            if tries == 2 && kind != "from nothing" {
                set(b, "node 77", "by the receiver");
                b.prune(Prune::All);
            }
        });
        println!("{kind}: {all} bytes without breaks, {bytes} in {tries} tries");
        assert!(tries <= 5 && bytes * 10 <= all * 14, "{kind}: {bytes} of {all} in {tries}");
        for n in 1..tries {
            for name in ["by the sender", "by the receiver"].map(|name| format!("{name} {n}")) {
                assert!(has(&a, &name) && has(&b, &name), "{kind}: {name}");
            }
            for gone in [format!("new {}", 100 + n), format!("node {}", 50 + n)] {
                assert!(!has(&a, &gone) && !has(&b, &gone), "{kind}: {gone}");
            }
            let text = b.state().node(NodeId::named(&format!("new {n}"))).unwrap().get("/text");
            assert_eq!(text, Some("changed meanwhile".into()), "{kind}");
        }
    }
}

/// Each opening of the sender's is a writer of its own, and no version is ever lowered: a stream goes on from another opening, from
/// a copy, and not from a backup that has less.
#[test]
fn a_stream_that_is_resumed_after_its_sender_was_opened_anew_drops_no_writes_at_the_sender() {
    for (kind, two) in KINDS {
        let opened = |bytes: &[u8], seed| Replica::<Graph>::load_with(TestEnvironment::new(seed), bytes).unwrap();
        // Opened anew after each break.
        let (tries, bytes, [a, b]) = over_a_line_that_breaks(two(), 400_000, |tries, a, _| {
            *a = opened(&a.save(), 50 + tries as u64);
            a.edit(|g| g.add_node(&format!("of opening {tries}"))).unwrap();
        });
        assert!(tries <= 5 && bytes <= 1_700_000, "{kind}: {bytes} in {tries}");
        for replica in [&a, &b] {
            assert!((0..LONG).all(|n| has(replica, &format!("new {n}"))), "{kind}");
            assert!((1..tries).all(|n| has(replica, &format!("of opening {n}"))), "{kind}");
        }
        // A backup goes on that lacks half of what was sent; the original comes back later.
        let [a, b] = two();
        let backup = a.save();
        let mut original = opened(&backup, 61);
        fill(&mut original, "later", 100);
        let mut away = None;
        let (_, _, [a, mut b]) = over_a_line_that_breaks([original, b], 400_000, |tries, a, _| {
            if tries == 1 {
                away = Some(std::mem::replace(a, opened(&backup, 62)));
                a.edit(|g| g.add_node("of the backup")).unwrap();
            }
        });
        let mut original = away.unwrap();
        assert!(
            [&a, &b].into_iter().all(|replica| has(replica, "of the backup") && !has(replica, "later 7")),
            "{kind}"
        );
        sync::in_memory(&mut original, &mut b).unwrap();
        for replica in [&original, &b] {
            assert!(has(replica, "of the backup") && (0..100).all(|n| has(replica, &format!("later {n}"))), "{kind}");
        }
        assert_eq!(original.state(), b.state());
    }
}

#[test]
fn what_was_staged_is_read_from_its_own_bytes_alone() {
    let (_, _, staged) = broken_after(13);
    let staged = staged.unwrap();
    let bytes = staged.to_bytes();
    let again = Staged::from_bytes(&bytes).unwrap();
    assert_eq!((again.len(), again.to_bytes()), (staged.len(), bytes.clone()));
    let (a, _) = two();
    assert!(Staged::from_bytes(&a.complete().to_bytes()).is_err() && driftless::Delta::from_bytes(&bytes).is_err());
    for at in (0..bytes.len()).step_by(9_973).chain([0, 5, 15, 20]) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Staged::from_bytes(&damaged).is_err(), "{at}");
        assert!(Staged::from_bytes(&bytes[..at]).is_err(), "{at}");
    }
}

#[test]
fn a_delta_that_is_longer_than_what_is_staged_is_an_error_on_both_sides() {
    let (a, b) = large();
    let limit = plain().with_staging_limit(1 << 20);
    let mut sides = [Side::new(a, plain(), 1), Side::new(b, limit, 2)];
    let now = Duration::ZERO;
    let hellos = [0, 1].map(|i: usize| sides[i].poll(now).unwrap());
    sides[0].hear(&hellos[1], now);
    sides[1].hear(&hellos[0], now);
    // Who would send it knows; and says so.
    let bye = sides[0].poll(now).unwrap();
    let Side { replica, session, .. } = &mut sides[0];
    let error = session.poll_frame(replica, now).unwrap_err();
    let SessionError::PeerStagingLimit { len, limit } = error else { panic!("{error:?}") };
    assert!(len > 1_600_000 && limit == 1 << 20);
    let Side { replica, session, .. } = &mut sides[1];
    let told = session.handle_frame(replica, &bye, now).unwrap_err();
    assert_eq!(told, SessionError::Left(Parting::TooLong { len, limit }));
    // The same by a stream.
    let (mut a, mut b) = large();
    let (one, other) = io_pairs();
    let on_b = std::thread::spawn(move || {
        sync::blocking_with(&mut b, other, plain().with_staging_limit(1 << 20)).unwrap_err()
    });
    let on_a = sync::blocking(&mut a, one).unwrap_err();
    let on_b = on_b.join().unwrap();
    assert!(matches!(on_a.reason, SyncErrorReason::Session(SessionError::PeerStagingLimit { .. })), "{on_a:?}");
    assert!(matches!(on_b.reason, SyncErrorReason::Session(SessionError::Left(Parting::TooLong { .. }))), "{on_b:?}");
}

// ---- drivers ----

/// Both ends of two pipes, as the standard input and output of a process are.
struct Pipes(PipeReader, PipeWriter);

impl Read for Pipes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Pipes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}

fn io_pairs() -> (Pipes, Pipes) {
    let ((from_one, to_other), (from_other, to_one)) = (io::pipe().unwrap(), io::pipe().unwrap());
    (Pipes(from_one, to_one), Pipes(from_other, to_other))
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

fn both_large() -> (Replica<Graph>, Replica<Graph>) {
    let (mut a, mut b) = two();
    fill(&mut a, "of a", 1_300);
    fill(&mut b, "of b", 1_300);
    (a, b)
}

/// Both ends do the same; there are no roles.
fn sync_over<S: Read + Write + Send + 'static>(one: S, other: S) {
    let (mut a, mut b) = both_large();
    let on_b = std::thread::spawn(move || {
        let synced = sync::blocking(&mut b, other).unwrap();
        (b, synced)
    });
    let on_a = sync::blocking(&mut a, one).unwrap();
    let (b, on_b) = on_b.join().unwrap();
    assert_eq!(a.state(), b.state());
    assert!(has(&a, "of b 1299") && has(&b, "of a 1299"));
    assert_eq!((on_a.merged.len(), on_b.merged.len()), (1, 1));
    assert_eq!(on_a.standing, on_b.standing);
    assert_eq!(on_a.counters.bytes_sent, on_b.counters.bytes_received);
    assert_eq!(on_b.counters.bytes_sent, on_a.counters.bytes_received);
}

#[test]
fn both_send_large_deltas_at_once_over_tcp() {
    let (one, other) = tcp();
    sync_over(one, other);
}

#[cfg(unix)]
#[test]
fn both_send_large_deltas_at_once_over_a_socket_of_unix() {
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    sync_over(one, other);
}

#[test]
fn both_send_large_deltas_at_once_over_pipes() {
    let (one, other) = io_pairs();
    sync_over(one, other);
}

/// A stream that breaks after so many bytes have been read.
struct Breaking<S>(S, usize);

impl<S: Read> Read for Breaking<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(self.1);
        let read = self.0.read(&mut into[..most])?;
        self.1 -= read;
        Ok(read)
    }
}

impl<S: Write> Write for Breaking<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_sync_that_breaks_off_in_the_middle_goes_on_with_the_next() {
    let (mut a, mut b) = large();
    let (one, other) = tcp();
    let on_a = std::thread::spawn(move || {
        let error = sync::blocking(&mut a, one).unwrap_err();
        (a, error)
    });
    let error = sync::blocking(&mut b, Breaking(other, 1_000_000)).unwrap_err();
    let (mut a, on_a) = on_a.join().unwrap();
    assert!(matches!(error.reason, SyncErrorReason::Io(_)) && matches!(on_a.reason, SyncErrorReason::Io(_)));
    assert!(!has(&b, "new 1"));
    let first = error.done.counters.bytes_received;
    assert!(first > 800_000, "{first}");
    let staged = error.staged;
    assert!(staged.as_ref().is_some_and(|staged| !staged.is_empty()));

    let (one, other) = tcp();
    let on_a = std::thread::spawn(move || {
        sync::blocking(&mut a, one).unwrap();
        a
    });
    let synced = sync::blocking_with(&mut b, other, plain().with_staged(staged)).unwrap();
    assert_eq!(on_a.join().unwrap().state(), b.state());
    println!("{first} bytes, then {}", synced.counters.bytes_received);
    assert!(synced.counters.bytes_received < 1_100_000);
}

#[test]
fn garbage_on_a_stream_is_an_error_at_once() {
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: a browser with a name\r\nAccept: */*\r\n\r\n",
        &[0xff; 1_000],
        &[7; 1_000],
        &[0x85, 0x80, 0x80, 0x80, 0],
        b"SSH-2.0-OpenSSH_9.6 and then whatever comes to its mind, for as long as it takes to fill a frame of this length",
    ];
    for bytes in garbage {
        let (one, mut other) = tcp();
        one.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // It stays connected, and waits for an answer.
        other.write_all(bytes).unwrap();
        let mut a = replica(1);
        let error = sync::blocking(&mut a, one).unwrap_err();
        assert!(matches!(error.reason, SyncErrorReason::Session(SessionError::Nonsense(_))), "{bytes:?}: {error:?}");
    }
    // Who hangs up has broken the connection.
    let (one, other) = tcp();
    drop(other);
    let error = sync::blocking(&mut replica(1), one).unwrap_err();
    assert!(matches!(error.reason, SyncErrorReason::Io(_)), "{error:?}");
}

#[test]
fn in_memory_every_sort_of_difference_ends_in_equality() {
    for (name, begin) in CONVERSATIONS {
        let (mut a, mut b, _) = begin();
        let (on_a, on_b) = sync::in_memory(&mut a, &mut b).unwrap();
        assert_eq!(a.state(), b.state(), "{name}");
        assert_eq!((on_a.repaired.len(), on_b.repaired.len()), if name == "repair" { (2, 1) } else { (0, 0) });
        assert_eq!(on_a.counters.bytes_sent, on_b.counters.bytes_received, "{name}");
        let again = sync::in_memory(&mut a, &mut b).unwrap();
        assert_eq!((again.0.counters.frames_sent, again.1.counters.frames_sent), (1, 1), "{name}");
    }
    // One has seen a fraction, one has buried what the other wrote on.
    let (mut a, mut b) = two();
    a.edit(|g| (0..50).try_for_each(|n| g.remove_node(NodeId::named(&format!("node {n}"))).map(drop))).unwrap();
    b.edit(|g| g.set(NodeId::named("node 1"), "/text", "wrote on")).unwrap();
    a.prune(Prune::All);
    b.prune(Prune::All);
    let (on_a, _) = sync::in_memory(&mut a, &mut b).unwrap();
    assert_eq!(a.state(), b.state());
    assert_eq!(a.state().node_count(), 50);
    assert!(on_a.counters.reconciliations > 0);
}

#[test]
fn turns_and_asks_are_said_where_they_are_needed() {
    // What the tests above lose, double and delay is there.
    let mut kinds: Vec<u8> = Vec::new();
    for begin in &CONVERSATIONS {
        let mut pair = conversation(begin);
        pair.run();
        kinds.extend(pair.kinds());
    }
    assert!(kinds.contains(&TURN) && kinds.contains(&PART) && kinds.contains(&ANNOUNCE));
    let (mut a, b) = two();
    fill(&mut a, "new", 5_000);
    let mut pair = Pair::new(a, b);
    pair.run();
    assert!(pair.kinds().contains(&ASK));
}
