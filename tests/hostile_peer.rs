//! A peer that says anything: nothing panics, is lost or comes back, and no more memory and time is taken than it sends.
//!
//! Frames are spelled by hand, so this also shows that the documented format is the one that is spoken.

#[path = "support/frames.rs"]
mod frames;
#[path = "support/growth.rs"]
mod growth;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/victim.rs"]
mod victim;

use std::time::Duration;

use driftless::kernel::{Entity, Payload};
use driftless::sync::{Options, Parting, Session, SessionError};
use driftless::testing::{TestEnvironment, repair_frame_checksum, slice_for};
use driftless::{Crdt, Delta, Fingerprint, Graph, NodeId, Prune, Replica};
use frames::{
    ANNOUNCE, BYE, Change, Form, GONE, HELLO, Hello, PART, Stands, TURN, Told, header, kind, slice, with_slices,
};
use growth::{grows_in_proportion, time};
use memory::{alone, peak_of};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use victim::{MALLORY, NO_PRINT, Victim, add, filled, heads, print, replica, stands, writer};

// ---- the format ----

#[test]
fn the_documented_format_is_the_one_that_is_spoken() {
    let _alone = alone();
    let mut a = filled(1, 3, 10);
    a.edit(|g| g.remove_node(NodeId::named("node 1"))).unwrap();
    a.prune(Prune::All);
    a.edit(|g| g.add_node("after it")).unwrap();
    let (version, pruned) = (heads(a.version()), heads(a.state().state().pruned()));
    assert!(version.len() == 1 && pruned.len() == 1 && pruned != version);
    let stands_at = Stands { pruned: Change { gone: vec![0], come: pruned }, ..Stands::at(version) };
    let told = Told::whole(1, stands_at, print(&a));
    let options = Options::new().without_compression();
    let mut victim = Victim::with(a, options.with_device("laptop".parse().unwrap()));
    let hello =
        Hello { nonce: frames::nonce_and_schema(&victim.hello).0, device: b"laptop".to_vec(), ..victim.hello_of(told) };
    assert_eq!(victim.hello, hello.frame(None));

    // A peer that is made by hand takes what there is.
    let theirs = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT));
    let said = victim.answers(&theirs.frame(Some(victim.to))).unwrap();
    assert_eq!(said.iter().map(|frame| kind(frame)).collect::<Vec<_>>(), [PART]);
    let told = Told::whole(2, stands(victim.replica.version()), print(&victim.replica));
    assert!(victim.answers(&frames::announce(victim.to, 1, &told)).unwrap().is_empty());
    assert!(victim.session.is_equal(&victim.replica));
    assert_eq!(victim.session.counters().deltas_sent, 1);
    assert_eq!(victim.wait(), None);

    // It brings something, and says that this is where it stands.
    let mut peer = replica(2);
    let (_, delta) = peer.edit(|g| g.add_node("by hand")).unwrap();
    let mut victim = Victim::met(replica(3), Stands::new(), NO_PRINT);
    let bytes = with_slices(header(0, 1, 2, print(&peer), 0), &[slice(&delta)]);
    let said = victim.answers(&frames::stream(victim.to, 1, &bytes)).unwrap();
    assert_eq!(said.iter().map(|frame| kind(frame)).collect::<Vec<_>>(), [ANNOUNCE]);
    assert_eq!(victim.merged, 1);
    assert!(victim.replica.state().node(NodeId::named("by hand")).is_some());
    assert!(victim.session.is_equal(&victim.replica));
    assert_eq!(victim.replica.state(), peer.state());
    assert_eq!(victim.wait(), None);
}

// ---- conversations of real sessions ----

type Begin = fn() -> [Replica<Graph>; 2];

/// What both sides said, in order, and how the two began.
struct Recorded {
    name: &'static str,
    begin: Begin,
    /// Who said it, 0 or 1.
    frames: Vec<(usize, Vec<u8>)>,
}

const SEEDS: [&[u8; 16]; 2] = [b"the seed of one.", b"that of another."];

fn common() -> [Replica<Graph>; 2] {
    let a = filled(1, 20, 30);
    let mut b = replica(2);
    b.merge(&a.complete()).unwrap();
    b.edit(|g| g.add_node("of b")).unwrap();
    let mut a = a;
    a.merge(&b.delta_since(a.version()).unwrap()).unwrap();
    [a, b]
}

fn begin_incremental() -> [Replica<Graph>; 2] {
    let [mut a, mut b] = common();
    a.edit(|g| g.set(NodeId::named("node 1"), "/text", "of a")).unwrap();
    b.edit(|g| g.set(NodeId::named("node 1"), "/text", "of b")).unwrap();
    [a, b]
}

fn begin_reconciled() -> [Replica<Graph>; 2] {
    let [mut a, mut b] = common();
    a.edit(|g| g.remove_node(NodeId::named("node 1"))).unwrap();
    a.prune(Prune::All);
    b.edit(|g| g.set(NodeId::named("node 1"), "/text", "of b")).unwrap();
    [a, b]
}

fn begin_repair() -> [Replica<Graph>; 2] {
    let [mut a, mut b] = common();
    // The process of `a` once more, as if copied with its memory: the same writer.
    let [mut copy, _] = common();
    a.edit(|g| g.add_node("one")).unwrap();
    copy.edit(|g| g.add_node("other")).unwrap();
    b.merge(&copy.delta_since(b.version()).unwrap()).unwrap();
    [a, b]
}

fn begin_with_nothing() -> [Replica<Graph>; 2] {
    [common().into_iter().next().unwrap(), replica(3)]
}

fn recorded() -> Vec<Recorded> {
    let begins: [(&'static str, Begin); 4] = [
        ("incremental", begin_incremental),
        ("reconciled", begin_reconciled),
        ("repair", begin_repair),
        ("with nothing", begin_with_nothing),
    ];
    begins.into_iter().map(|(name, begin)| record(name, begin)).collect()
}

fn record(name: &'static str, begin: Begin) -> Recorded {
    let mut replicas = begin();
    let mut sessions = [0, 1].map(|i| Session::new(&replicas[i], Options::new(), *SEEDS[i]));
    let (mut frames, mut quiet) = (Vec::new(), 0);
    while quiet < 2 {
        for from in 0..2 {
            quiet += 1;
            while let Some(frame) = sessions[from].poll_frame(&replicas[from], Duration::ZERO).unwrap() {
                quiet = 0;
                frames.push((from, frame.clone()));
                sessions[1 - from].handle_frame(&mut replicas[1 - from], &frame, Duration::ZERO).unwrap();
            }
        }
    }
    assert!(sessions[0].is_equal(&replicas[0]) && sessions[1].is_equal(&replicas[1]), "{name}");
    Recorded { name, begin, frames }
}

#[test]
fn recorded_conversations_are_of_every_sort() {
    let _alone = alone();
    let kinds: std::collections::BTreeSet<u8> =
        recorded().iter().flat_map(|recorded| recorded.frames.iter().map(|(_, frame)| kind(frame))).collect();
    assert!([HELLO, ANNOUNCE, PART, TURN].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
}

/// One side as it is after the first so many frames of a conversation.
fn after(recorded: &Recorded, side: usize, frames: usize) -> Victim {
    let [a, b] = (recorded.begin)();
    let replica = if side == 0 { a } else { b };
    let session = Session::new(&replica, Options::new(), *SEEDS[side]);
    let (to, schema) = (0, [0; 4]);
    let mut victim =
        Victim { replica, session, now: Duration::ZERO, to, schema, hello: Vec::new(), merged: 0, repaired: 0 };
    for (from, frame) in &recorded.frames[..frames] {
        match *from == side {
            true => assert_eq!(victim.session.poll_frame(&victim.replica, victim.now).unwrap().as_ref(), Some(frame)),
            false => victim.hear(frame).unwrap(),
        }
    }
    victim
}

#[test]
fn a_frame_of_a_real_conversation_that_is_cut_or_damaged_changes_nothing_by_itself() {
    let _alone = alone();
    let (mut tried, mut random) = (0u32, TestEnvironment::new(9));
    for recorded in recorded() {
        for (i, (from, frame)) in recorded.frames.iter().enumerate() {
            let honest = after(&recorded, 1 - from, i);
            let mut versions = vec![honest.replica.version().clone()];
            let mut good = after(&recorded, 1 - from, i);
            good.hear(frame).unwrap();
            versions.push(good.replica.version().clone());
            let mut damaged: Vec<Vec<u8>> = (0..frame.len()).step_by(5).map(|len| frame[..len].to_vec()).collect();
            for at in (0..frame.len() - 4).step_by(1 + frame.len() / 80) {
                let random = driftless::Environment::random(&mut random);
                for byte in [frame[at] ^ 1 << (random[0] % 8), random[1]] {
                    let mut other = frame.clone();
                    other[at] = byte;
                    damaged.push(other);
                }
            }
            for (n, bytes) in damaged.iter_mut().enumerate() {
                // Without its checksum it is noise.
                let mut victim = after(&recorded, 1 - from, i);
                let before = (victim.merged, victim.repaired, victim.replica.snapshot());
                if n % 8 == 0 && bytes != frame {
                    victim.hear(bytes).unwrap();
                    assert_eq!(victim.session.counters().errors, 1, "{}", recorded.name);
                    assert!(victim.replica.state() == &before.2);
                }
                repair_frame_checksum(bytes);
                let heard = victim.hear(bytes);
                tried += 1;
                if (victim.merged, victim.repaired) == (before.0, before.1) {
                    assert!(victim.replica.state() == &before.2, "{} {i}", recorded.name);
                }
                assert!(heard.is_err() == victim.session.is_over() || *bytes == *frame || kind(bytes) == BYE);
                if n % 24 == 0 {
                    let before = victim.replica.snapshot();
                    victim.says();
                    victim.survives(&before);
                }
            }
        }
    }
    println!("{tried} frames that were damaged");
}

#[test]
fn real_frames_in_any_order_doubled_dropped_mixed_and_reflected_do_no_harm() {
    let _alone = alone();
    let recorded = recorded();
    let mut pool: Vec<Vec<u8>> = recorded.iter().flat_map(|r| r.frames.iter().map(|(_, f)| f.clone())).collect();
    pool.sort();
    pool.dedup();
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let frames = prop::collection::vec(any::<prop::sample::Index>(), 0..40);
    let run = runner.run(&(0..recorded.len(), 0..2usize, frames, any::<bool>()), |(which, side, frames, answers)| {
        let mut victim = after(&recorded[which], side, 0);
        let before = victim.replica.snapshot();
        for index in frames {
            if victim.hear(&pool[index.index(pool.len())]).is_err() {
                break;
            }
            if answers {
                victim.says();
            }
        }
        victim.survives(&before);
        Ok(())
    });
    run.unwrap();
}

#[test]
fn any_bytes_do_no_harm() {
    let _alone = alone();
    let config = Config { cases: 250, failure_persistence: None, ..Config::default() };
    let frame = (0..9u8, any::<bool>(), prop::collection::vec(any::<u8>(), 0..60));
    let frames = prop::collection::vec((frame, any::<bool>()), 0..80);
    let run = TestRunner::new(config).run(&(frames, any::<bool>()), |(frames, met)| {
        let mut victim = match met {
            true => Victim::met(filled(1, 3, 10), Stands::new(), NO_PRINT),
            false => Victim::new(filled(1, 3, 10)),
        };
        let before = victim.replica.snapshot();
        for ((kind, addressed, says), is_sound) in frames {
            let to = addressed.then_some(victim.to);
            let bytes = if is_sound { frames::frame(kind, to, &says) } else { says };
            if victim.hear(&bytes).is_err() {
                break;
            }
            victim.says();
        }
        victim.survives(&before);
        Ok(())
    });
    run.unwrap();
}

#[test]
fn a_peer_that_only_makes_no_sense_is_left() {
    let _alone = alone();
    let mut victim = Victim::met(filled(1, 3, 10), Stands::new(), NO_PRINT);
    let before = victim.replica.snapshot();
    let error = (0..1_000).find_map(|n: u32| victim.hear(&n.to_le_bytes()).err());
    assert!(matches!(error, Some(SessionError::Nonsense(_))), "{error:?}");
    victim.survives(&before);
}

// ---- hellos ----

#[test]
fn absurd_hellos_end_with_an_error_that_says_why_or_do_no_harm() {
    let _alone = alone();
    let base = filled(1, 3, 10);
    let (own, ours) = (base.writer().unwrap(), base.version().clone());
    let right = print(&base);
    let hello = |change: &dyn Fn(&mut Hello)| {
        let mut victim = Victim::new(base.fork_with(TestEnvironment::new(5)));
        let mut hello = victim.hello_of(Told::whole(1, stands(&ours), right));
        change(&mut hello);
        let before = victim.replica.snapshot();
        let to = victim.to;
        let result = victim.hear(&hello.frame(Some(to)));
        victim.says();
        let errors = victim.session.counters().errors;
        victim.survives(&before);
        (result, errors)
    };
    let stand = |stands: Stands| hello(&move |hello: &mut Hello| hello.told.form = Form::Whole(stands.clone()));
    let no_sense = Ok(());

    assert_eq!(hello(&|_| {}), (Ok(()), 0));
    for range in [(0, 0), (1, 1), (3, 3), (3, 255), (2, 1), (255, 0)] {
        let (result, _) = hello(&|hello| (hello.oldest, hello.newest) = range);
        assert_eq!(
            result,
            Err(SessionError::Protocol { ours: Session::<Graph>::PROTOCOLS, theirs: range }),
            "{range:?}"
        );
    }
    // What will be, but still speaks with us.
    assert_eq!(hello(&|hello| (hello.oldest, hello.newest) = (0, 255)).0, Ok(()));
    let (result, _) = hello(&|hello| hello.schema[0] ^= 1);
    assert!(matches!(result, Err(SessionError::Schema { theirs: None, .. })), "{result:?}");
    let victim = Victim::new(replica(1));
    let own_nonce = frames::nonce_and_schema(&victim.hello).0;
    assert_eq!(hello(&|hello| hello.nonce = own_nonce).0, Err(SessionError::Myself));

    for device in [&b"../etc"[..], b"CON", b"con", b" ", &[0xff], &[b'a'; 41], &[b'a'; 300], "\u{202e}".as_bytes()] {
        assert_eq!(hello(&|hello| hello.device = device.to_vec()), (no_sense.clone(), 1), "{device:?}");
    }
    for limit in [0, 1, 63, 64, 255] {
        assert_eq!(hello(&|hello| hello.staging_limit = limit).0, Ok(()), "{limit}");
    }
    // Standings that are none: they cannot be resolved, so the peer is asked again.
    let come = |come: frames::Dots| Change { gone: Vec::new(), come };
    for version in [
        come(vec![(writer(1), 0)]),
        come(vec![(writer(2), 1), (writer(1), 1)]),
        come(vec![(writer(1), 1), (writer(1), 1)]),
        come(vec![(writer(1), 1), (writer(1), 2)]),
        come(vec![(writer(1), u64::MAX)]),
        come(vec![(own, u64::MAX)]),
        come((0..1_000).map(|n| (writer(n), u64::MAX)).collect()),
        Change { gone: vec![0], come: Vec::new() },
        Change { gone: vec![0, 0, 1 << 60], come: vec![(writer(1), 1)] },
    ] {
        for pruned in [
            Change::default(),
            Change { gone: vec![0], come: vec![(writer(1), u64::MAX)] },
            Change { gone: vec![1 << 60], come: Vec::new() },
            come(vec![(writer(7), 7)]),
            come(vec![(own, 0)]),
        ] {
            for trail in
                [Vec::new(), vec![(writer(9), 0), (writer(3), u64::MAX), (writer(3), 1)], vec![(own, u64::MAX)]]
            {
                let stands = Stands { version: version.clone(), pruned: pruned.clone(), trail };
                assert_eq!(stand(stands.clone()), (Ok(()), 0), "{stands:?}");
            }
        }
    }
    // Places past all that can be.
    let stands = Stands { version: Change { gone: vec![u64::MAX, u64::MAX], come: Vec::new() }, ..Stands::new() };
    assert_eq!(stand(stands), (Ok(()), 1));
    assert_eq!(stand(Stands::new()), (Ok(()), 0));
    for form in [
        Form::Digest(0),
        Form::FromDigest(0, Stands::new()),
        Form::FromAnnounced(0, Stands::new()),
        Form::FromAnnounced(u64::MAX, Stands::at(vec![(writer(1), 1)])),
    ] {
        assert_eq!(hello(&|hello| hello.told.form = form.clone()).0, Ok(()));
    }
    for number in [0, u64::MAX] {
        assert_eq!(hello(&|hello| hello.told.number = number).0, Ok(()), "{number}");
    }
    let counters = [
        come(vec![(writer(1), u64::MAX)]),
        Change { gone: vec![0], come: vec![(own, u64::MAX)] },
        come(vec![(writer(2), 1), (writer(1), 1)]),
        Change { gone: vec![3, 1 << 60], come: Vec::new() },
        Change::default(),
    ];
    for (n, since) in counters.iter().enumerate() {
        for (m, upto) in counters.iter().enumerate() {
            let (kind, pruned) = ((n + m) as u8 % 4, &counters[(n + 2 * m) % counters.len()]);
            let versions = [since, upto, pruned].map(Clone::clone);
            let resume = Some(frames::Resume { kind, fingerprint: NO_PRINT, versions, last: [0xff; 17] });
            assert_eq!(hello(&|hello| hello.told.resume = resume.clone()).0, Ok(()));
            let nothing = Form::Whole(Stands::new());
            assert_eq!(hello(&|h| (h.told.resume, h.told.form) = (resume.clone(), nothing.clone())).0, Ok(()));
        }
    }
}

#[test]
fn a_hello_that_knows_more_of_our_own_writes_than_we_do_changes_nothing() {
    let _alone = alone();
    let base = filled(1, 3, 10);
    let (own, ours) = (base.writer().unwrap(), base.version().get(base.writer().unwrap()));
    for theirs in [ours + 1, u64::MAX] {
        let mut victim = Victim::new(filled(1, 3, 10));
        let before = victim.replica.snapshot();
        let hello = victim.hello_of(Told::whole(1, Stands::at(vec![(own, theirs)]), NO_PRINT));
        victim.hear(&hello.frame(None)).unwrap();
        victim.says();
        // It is a claim: only a delta shows that another writes as we do.
        assert_eq!(victim.replica.writer(), Some(own));
        victim.survives(&before);
    }
}

#[test]
fn a_hello_of_a_million_writers_is_more_than_a_frame_holds_and_the_most_takes_a_multiple_of_its_bytes() {
    let _alone = alone();
    let mut victim = Victim::new(filled(1, 3, 10));
    let before = victim.replica.snapshot();
    let many = |n: u64| Stands::at((0..n).map(|n| (writer(n), u64::MAX)).collect());
    let hello = victim.hello_of(Told::whole(1, many(1_000_000), NO_PRINT)).frame(None);
    let (peak, heard) = peak_of(|| victim.hear(&hello));
    assert_eq!((heard, victim.session.counters().errors), (Ok(()), 1));
    assert!(peak < 4_096, "{peak} bytes for what is not read");
    // A count without its bytes.
    let mut claim = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT)).says();
    claim.pop();
    frames::number(&mut claim, u64::MAX / 18);
    let claim = frames::frame(HELLO, None, &claim);
    let (peak, heard) = peak_of(|| victim.hear(&claim));
    assert_eq!((heard, victim.session.counters().errors), (Ok(()), 2));
    assert!(peak < 4_096, "{peak} bytes for what is not there");

    let hello = victim.hello_of(Told::whole(1, many(150_000), NO_PRINT)).frame(None);
    let (peak, heard) = peak_of(|| victim.hear(&hello));
    heard.unwrap();
    println!("{peak} bytes at the peak of a hello of {}", hello.len());
    assert!(peak <= 8 * hello.len(), "{peak} bytes for {}", hello.len());
    // It is not remembered, and not told on to anybody.
    assert_eq!(victim.replica.version().len(), 1);
    victim.survives(&before);
}

// ---- floods ----

/// Frames in a row, each followed by all that the other has to say; how long that takes, and the bytes of it.
fn flood(victim: &mut Victim, mut frame: impl FnMut(usize, u32) -> Vec<u8>, n: usize) -> (Duration, usize) {
    let (mut sent, to) = (0, victim.to);
    let took = time(|| {
        for i in 0..n {
            let frame = frame(i, to);
            if victim.hear(&frame).is_err() {
                break;
            }
            sent += victim.says().iter().map(Vec::len).sum::<usize>();
        }
    });
    (took, sent)
}

#[test]
fn a_flood_costs_as_much_as_it_has_frames_and_no_memory() {
    let _alone = alone();
    type Make = fn(usize, u32) -> Vec<u8>;
    let floods: [(&str, Make); 10] = [
        ("needs", |_, to| frames::need(to)),
        ("asks", |_, to| frames::ask(to, 1, 0, 1)),
        ("asks for other streams", |i, to| frames::ask(to, i as u64, i as u64, (i % 2) as u8)),
        ("parts of one byte", |i, to| frames::part(to, 1, 1 << 20, i as u64, &[1])),
        ("parts of one byte with gaps", |i, to| frames::part(to, 1, 1 << 20, 1 + 2 * i as u64, &[1])),
        ("parts of ever new streams", |i, to| frames::part(to, 1 + i as u64, 1 << 28, 5, &[0; 100])),
        ("turns that begin", |i, to| {
            frames::turn(to, 1, 1 + i as u64, 0, Some((Told::whole(1, Stands::new(), NO_PRINT), 1)), &[0; 20])
        }),
        ("turns that go on", |i, to| frames::turn(to, (i % 2) as u8, 1, i as u64, None, &[i as u8; 20])),
        ("announcements", |i, to| frames::announce(to, i as u64, &Told::whole(2 + i as u64, Stands::new(), NO_PRINT))),
        ("frames for somebody else", |i, to| frames::need(to.wrapping_add(1 + i as u32))),
    ];
    for (name, make) in floods {
        grows_in_proportion(name, 250, |n| {
            let mut victim = Victim::met(filled(1, 3, 10), Stands::new(), NO_PRINT);
            victim.says();
            flood(&mut victim, make, n).0
        });
        let mut victim = Victim::met(filled(1, 3, 10), Stands::new(), NO_PRINT);
        let before = victim.replica.snapshot();
        victim.says();
        let (peak, _) = peak_of(|| flood(&mut victim, make, 2_000));
        println!("{peak} bytes at the peak of 2,000 {name}");
        assert!(peak < 200_000, "{peak} bytes at the peak of 2,000 {name}");
        victim.survives(&before);
    }
}

#[test]
fn a_flood_of_hellos_of_ever_new_peers_costs_as_much_as_it_has_frames_and_no_memory() {
    let _alone = alone();
    let run = |n: usize| {
        let mut victim = Victim::new(filled(1, 3, 10));
        let before = victim.replica.snapshot();
        let hello = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT));
        let frame =
            |i: usize, to: u32| Hello { nonce: i as u64, ..hello.clone() }.frame(i.is_multiple_of(2).then_some(to));
        let (peak, (took, _)) = peak_of(|| flood(&mut victim, frame, n));
        assert!(peak < 100_000, "{peak} bytes");
        victim.survives(&before);
        took
    };
    grows_in_proportion("hellos", 250, run);
}

/// To cut a delta again is the price of recovery from any confusion; a peer that is confused all the time gets it once in a while.
#[test]
fn needs_make_us_cut_again_once_in_a_while_and_one_delta_is_held() {
    let _alone = alone();
    let base = filled(1, 2_000, 500);
    let whole = base.complete().to_bytes().len();
    let mut victim = Victim::met(base, Stands::new(), NO_PRINT);
    let before = victim.replica.snapshot();
    victim.says();
    let (peak, (took, sent)) = peak_of(|| flood(&mut victim, |_, to| frames::need(to), 10));
    println!("10 needs of {whole} bytes: {took:?}, {sent} bytes sent, {peak} at the peak");
    // Each slice has tables and shapes of its own.
    assert!(sent <= whole + 8_192, "{sent} bytes");
    assert!(peak <= 4 * whole, "{peak} bytes for {whole}");
    victim.survives(&before);
}

#[test]
fn a_flood_of_asks_gets_one_window_in_a_while() {
    let _alone = alone();
    let mut victim = Victim::met(filled(1, 8_500, 500), Stands::new(), NO_PRINT);
    victim.says();
    let again = victim.answers(&frames::ask(victim.to, 1, 0, 1)).unwrap();
    let window: usize = again.iter().map(Vec::len).sum();
    assert!((4 << 20..(4 << 20) + 4_096).contains(&window), "{window}");
    assert!(victim.answers(&frames::ask(victim.to, 1, 0, 1)).unwrap().is_empty());
    // What it claims to have beyond the end, or of another stream, moves nothing.
    for have in [u64::MAX, 1 << 40] {
        assert!(victim.answers(&frames::ask(victim.to, 1, have, 0)).unwrap().is_empty(), "{have}");
    }
    for (stream, have) in [(2, 1 << 20), (0, 0), (u64::MAX, 5)] {
        let answers = victim.answers(&frames::ask(victim.to, stream, have, 0)).unwrap();
        assert!(matches!(&answers[..], [gone] if kind(gone) == GONE && gone.len() < 24), "{stream} {have}");
    }
    // Back to before what it has said that it has: no.
    victim.answers(&frames::ask(victim.to, 1, 1 << 20, 0)).unwrap();
    assert!(victim.answers(&frames::ask(victim.to, 1, 0, 1)).unwrap().is_empty());
}

// ---- streams ----

#[test]
fn a_stream_that_claims_much_and_sends_little_takes_what_was_sent() {
    let _alone = alone();
    let mut victim = Victim::met(replica(1), Stands::new(), NO_PRINT);
    let before = victim.replica.snapshot();
    let part = frames::part(victim.to, 1, 1 << 28, 0, &[0; 1_000]);
    let (peak, heard) = peak_of(|| victim.hear(&part));
    heard.unwrap();
    assert!(peak < 16_384, "{peak} bytes for 1,000 of {}", 1 << 28);
    let part = frames::part(victim.to, 2, (1 << 28) + 1, 0, &[0; 1_000]);
    let error = victim.hear(&part).unwrap_err();
    assert_eq!(error, SessionError::StagingLimit { len: (1 << 28) + 1, limit: 1 << 28 });
    victim.survives(&before);
}

#[test]
fn what_is_staged_stays_within_the_limit_wherever_the_parts_lie() {
    let _alone = alone();
    let options = Options::new().with_staging_limit(1 << 20);
    for gap in [0, 1, 1_000, 100_000] {
        let mut victim = Victim::with(replica(1), options.clone());
        let hello = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT));
        victim.hear(&hello.frame(Some(victim.to))).unwrap();
        let before = victim.replica.snapshot();
        let frame = |i: usize, to: u32| {
            let offset = (gap + i * 1_500) as u64 % ((1 << 20) - 3_000);
            frames::part(to, 1, 1 << 20, offset, &[i as u8; 2_900])
        };
        let (peak, _) = peak_of(|| flood(&mut victim, frame, 3_000));
        println!("{peak} bytes at the peak of parts with a gap of {gap}");
        // The limit, once more while the room for it grows, and a window beyond a gap.
        assert!(peak <= (2 << 20) + (2 << 20) + 300_000, "{peak} bytes");
        victim.survives(&before);
    }
}

/// A staged delta is decoded as a whole: here within eight times its bytes.
fn staged_and_decoded(replica: Replica<Graph>, bytes: &[u8]) -> (usize, Victim) {
    let version = stands(replica.version());
    let print = print(&replica);
    let mut victim = Victim::met(replica, version, print);
    let len = bytes.len() as u64;
    let (peak, ()) = peak_of(|| {
        for (i, part) in bytes.chunks(1 << 16).enumerate() {
            let frame = frames::part(victim.to, 1, len, (i << 16) as u64, part);
            victim.hear(&frame).unwrap();
        }
    });
    (peak, victim)
}

#[test]
fn a_stream_of_empty_slices_takes_no_more_than_eight_times_its_bytes() {
    let _alone = alone();
    let bytes = [header(0, 1, 0, NO_PRINT, 0), vec![0; 2 << 20]].concat();
    let (peak, victim) = staged_and_decoded(replica(1), &bytes);
    println!("{peak} bytes at the peak for {} of empty slices", bytes.len());
    assert!(peak <= 8 * bytes.len(), "{peak} bytes for {}", bytes.len());
    assert_eq!(victim.merged, 0);
    let before = victim.replica.snapshot();
    victim.survives(&before);
}

#[test]
fn a_stream_of_tiny_slices_does_not_take_a_version_for_each() {
    let _alone = alone();
    // Who knows many writers reads them with each slice.
    let mut many = replica(1);
    for n in 0..1_000 {
        many.merge(&replica(1_000 + n).edit(|g| g.add_node("ada")).unwrap().1).unwrap();
    }
    let empty = slice(&replica(2).edit(|_| Ok(())).unwrap().1);
    let slices = vec![empty; 5_000];
    let bytes = with_slices(header(0, 1, 0, NO_PRINT, 0), &slices);
    let (peak, victim) = staged_and_decoded(many, &bytes);
    println!("{peak} bytes at the peak for {} of tiny slices", bytes.len());
    assert!(peak <= 8 * bytes.len() + 1_000 * 1_000, "{peak} bytes for {}", bytes.len());
    let before = victim.replica.snapshot();
    victim.survives(&before);
}

/// A delta without cells, in which so many writers have written once; all beyond the ids that `writer` makes.
fn heard_of(writers: u16) -> Vec<u8> {
    let number = |slice: &mut Vec<u8>, n: u16| match n {
        0..128 => slice.push(n as u8),
        128..256 => slice.extend([0xcc, n as u8]),
        _ => slice.extend([&[0xcd][..], &n.to_be_bytes()].concat()),
    };
    let mut slice = slice(&replica(2).edit(|_| Ok(())).unwrap().1);
    // Six numbers, of which the first is that of writes; two tables of ids, three versions, no births and no parts.
    slice.truncate(slice.len() - 6 - 2 * 2 - 3 * 2 - 1 - NO_PARTS.len());
    number(&mut slice, writers);
    slice.extend([0; 5]);
    let ids: Vec<[u8; 10]> =
        (0..writers).map(|n| [&[0x7f; 8][..], &n.to_be_bytes()].concat().try_into().unwrap()).collect();
    slice.extend([0xc4, 0, 0xc6]);
    slice.extend((10 * u32::from(writers)).to_be_bytes());
    slice.extend(ids.iter().flatten());
    slice.extend([0, 0, 0]);
    number(&mut slice, writers);
    for n in 0..writers {
        number(&mut slice, n);
        slice.push(1);
    }
    slice.extend([0, 0]);
    number(&mut slice, writers);
    for id in ids {
        slice.extend([0xc0, 0xc4, 10]);
        slice.extend(id);
        slice.extend([0, 0]);
    }
    slice.extend(NO_PARTS);
    slice
}

/// The columns of a delta that holds none.
const NO_PARTS: [u8; 2] = [0xc4, 0];

#[test]
fn a_delta_of_many_slices_does_not_take_a_version_for_each() {
    let _alone = alone();
    const WRITERS: u16 = 20_000;
    let bytes = with_slices(header(0, 1, 0, NO_PRINT, 0), &[heard_of(WRITERS)]);
    let (_, victim) = staged_and_decoded(replica(1), &bytes);
    assert_eq!((victim.merged, victim.replica.version().len()), (1, usize::from(WRITERS)));
    let mut sender = victim.replica.fork_with(TestEnvironment::new(3));
    add(&mut sender, 0..1_000, 4_000);
    let mut victim = Victim::new(victim.replica);
    let mut session = Session::new(&sender, Options::new(), [3; 16]);
    let (mut peak, mut sent, mut quiet) = (0, 0, 0);
    while quiet < 2 {
        quiet += 1;
        while let Some(frame) = session.poll_frame(&sender, victim.now).unwrap() {
            (quiet, sent) = (0, sent + frame.len());
            peak = peak.max(peak_of(|| victim.hear(&frame).unwrap()).0);
        }
        for frame in std::iter::once(victim.hello.clone()).filter(|_| sent < 1_000).chain(victim.says()) {
            quiet = 0;
            session.handle_frame(&mut sender, &frame, victim.now).unwrap();
        }
    }
    assert_eq!((victim.merged, victim.replica.state()), (1, sender.state()));
    println!("{peak} bytes at the peak of hearing {sent} with {WRITERS} writers");
    assert!(peak <= 4 * sent + 300 * usize::from(WRITERS), "{peak} bytes for {sent}");
}

#[test]
fn a_stream_of_tiny_siblings_takes_no_more_than_twice_what_merging_them_takes() {
    let _alone = alone();
    let mut hostile = replica(2);
    let entity = Entity::new(9, [9; 16]);
    let write = |n: u32, g: &mut driftless::Edit<'_, Graph>| {
        g.write(entity, &n.to_le_bytes()[..1 + (n > 255) as usize], Payload::new(1, b"")).map(drop)
    };
    let (_, delta) = hostile.edit(|g| (0..20_000).try_for_each(|n| write(n, g))).unwrap();
    let bytes = with_slices(header(0, 1, 0, NO_PRINT, 0), &[slice(&delta)]);
    let message = delta.to_bytes();
    let (merging, _) = peak_of(|| {
        let (delta, mut fresh) = (Delta::from_bytes(&message).unwrap(), replica(1));
        let report = fresh.merge(&delta).unwrap();
        (delta, fresh, report)
    });
    let (peak, victim) = staged_and_decoded(replica(1), &bytes);
    println!("{peak} bytes at the peak for {} of siblings; {merging} to merge them", bytes.len());
    assert!(peak <= 2 * merging, "{peak} bytes, {merging} to merge them");
    assert_eq!(victim.merged, 1);
    victim.replica.state().check_invariants().unwrap();
}

#[test]
fn a_stream_is_refused_that_builds_on_what_was_never_announced_or_staged() {
    let _alone = alone();
    let mut hostile = replica(2);
    let (_, delta) = hostile.edit(|g| g.add_node("x")).unwrap();
    let one = [slice(&delta)];
    let twice = [slice(&delta), slice(&delta)];
    for (name, bytes) in [
        ("never announced", with_slices(header(0, 2, 0, NO_PRINT, 0), &one)),
        ("announced under 0", with_slices(header(0, 0, 0, NO_PRINT, 0), &one)),
        ("announced at the end of time", with_slices(header(0, u64::MAX, u64::MAX, NO_PRINT, 0), &one)),
        ("nothing was staged", with_slices(header(1, 1, 0, NO_PRINT, 1), &twice)),
        ("nothing was staged, all changes", with_slices(header(1, 1, 0, NO_PRINT, u64::MAX), &twice)),
        ("no slices", header(0, 1, 0, NO_PRINT, 0)),
        ("the same slice twice", with_slices(header(0, 1, 0, NO_PRINT, 0), &twice)),
        ("repair at other versions", with_slices(header(2, 1, 0, NO_PRINT, 0), &[slice(&hostile.complete())])),
        ("repair by a delta", with_slices(header(2, 1, 0, NO_PRINT, 0), &one)),
        ("a form that there is not", with_slices(header(5, 1, 0, NO_PRINT, 0), &one)),
    ] {
        let mut victim = Victim::met(replica(1), Stands::new(), NO_PRINT);
        let before = victim.replica.snapshot();
        for stream in 1..4 {
            let said = victim.answers(&frames::stream(victim.to, stream, &bytes)).unwrap();
            // The peer hears where we stand, to begin anew.
            assert!(said.iter().any(|frame| kind(frame) == ANNOUNCE), "{name}: {said:?}");
        }
        assert_eq!((victim.merged, victim.repaired), (0, 0), "{name}");
        victim.survives(&before);
    }
    // For ever, it is a peer that makes no sense.
    let mut victim = Victim::met(replica(1), Stands::new(), NO_PRINT);
    let bytes = with_slices(header(0, 2, 0, NO_PRINT, 0), &one);
    let error = (1..1_000).find_map(|stream| victim.answers(&frames::stream(victim.to, stream, &bytes)).err());
    assert!(matches!(error, Some(SessionError::Nonsense(_))), "{error:?}");
}

#[test]
fn a_stream_that_is_refused_does_not_use_up_the_writers_that_may_come() {
    let _alone = alone();
    let (mut one, mut other, mut third) = (replica(2), replica(3), replica(4));
    one.edit(|g| g.add_node("a")).unwrap();
    other.merge(&one.complete()).unwrap();
    other.edit(|g| g.add_node("b")).unwrap();
    third.merge(&other.complete()).unwrap();
    let (_, gap) = third.edit(|g| g.add_node("c")).unwrap();
    let mut victim = Victim::with(replica(1), Options::new().with_writers_limit(3));
    let hello = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT));
    victim.hear(&hello.frame(Some(victim.to))).unwrap();
    let bytes = |delta: &Delta| with_slices(header(0, 1, 0, NO_PRINT, 0), &[slice(delta)]);
    victim.answers(&frames::stream(victim.to, 1, &bytes(&gap))).unwrap();
    assert_eq!(victim.merged, 0);
    victim.answers(&frames::stream(victim.to, 2, &bytes(&third.complete()))).unwrap();
    assert_eq!(victim.merged, 1);
}

// ---- silence ----

#[test]
fn a_peer_that_says_nothing_is_given_up_after_the_patience() {
    let _alone = alone();
    let patience = Duration::from_secs(60);
    let mut never = Victim::new(filled(1, 3, 10));
    assert_eq!(never.wait(), Some(SessionError::Silence));
    assert_eq!(never.now, patience);
    // Also one that said hello once.
    let mut once = Victim::met(filled(1, 3, 10), Stands::new(), NO_PRINT);
    assert_eq!(once.wait(), Some(SessionError::Silence));
    assert_eq!(once.now, patience);
    let before = once.replica.snapshot();
    once.survives(&before);
}

#[test]
fn a_peer_that_only_repeats_itself_or_talks_past_us_is_given_up_after_the_patience() {
    let _alone = alone();
    type Make = fn(&Victim) -> Vec<u8>;
    let repeated: [(&str, Make); 6] = [
        ("the same hello", |v| v.hello_of(Told::whole(1, Stands::new(), NO_PRINT)).frame(None)),
        ("the same hello to us", |v| v.hello_of(Told::whole(1, Stands::new(), NO_PRINT)).frame(Some(v.to))),
        ("needs", |v| frames::need(v.to)),
        ("an ask", |v| frames::ask(v.to, 1, 0, 1)),
        ("an acknowledgement of nothing", |v| frames::announce(v.to, 0, &Told::whole(1, Stands::new(), NO_PRINT))),
        ("noise for another", |v| frames::need(v.to ^ 1)),
    ];
    for (name, make) in repeated {
        let mut victim = Victim::met(filled(1, 3, 10), Stands::new(), NO_PRINT);
        let before = victim.replica.snapshot();
        let mut end = None;
        for _ in 0..200 {
            victim.says();
            victim.now += Duration::from_secs(1);
            let frame = make(&victim);
            if let Err(error) = victim.hear(&frame) {
                end = Some(error);
                break;
            }
        }
        assert_eq!(end, Some(SessionError::Silence), "{name}");
        assert!(victim.now <= Duration::from_secs(70), "{name}: {:?}", victim.now);
        victim.survives(&before);
    }
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_changes_nothing_for_good() {
    let _alone = alone();
    for merged in [1, 5, u64::MAX] {
        let mut victim = Victim::met(filled(1, 3, 10), Stands::new(), NO_PRINT);
        let before = victim.replica.snapshot();
        victim.says();
        // It still says that it has nothing, so it is sent all again; once for each time it says so.
        let said =
            victim.answers(&frames::announce(victim.to, merged, &Told::whole(2, Stands::new(), NO_PRINT))).unwrap();
        assert_eq!(said.iter().filter(|frame| kind(frame) == PART).count(), 1);
        assert!(!victim.session.is_equal(&victim.replica));
        victim.survives(&before);
    }
}

#[test]
fn a_bye_in_the_middle_ends_the_session_and_leaves_what_was_merged() {
    let _alone = alone();
    type IsRight = fn(&Result<(), SessionError>) -> bool;
    let partings: [(&[u8], IsRight); 7] = [
        (&[0], |end| end.is_ok()),
        (&[1, 7, 9], |end| matches!(end, Err(SessionError::Protocol { theirs: (7, 9), .. }))),
        (&[2, 1, b'x'], |end| matches!(end, Err(SessionError::Schema { theirs: Some(x), .. }) if x == "x")),
        (&[3, 5, 4], |end| matches!(end, Err(SessionError::Left(_)))),
        (&[4], |end| matches!(end, Err(SessionError::Left(_)))),
        (&[5], |end| matches!(end, Err(SessionError::Left(Parting::Contradiction)))),
        (&[200, 1, 2], |end| matches!(end, Err(SessionError::Left(Parting::Other(200))))),
    ];
    for (says, is_right) in partings {
        let mut victim = Victim::met(filled(1, 3, 10), Stands::new(), NO_PRINT);
        let before = victim.replica.snapshot();
        let end = victim.hear(&frames::bye(victim.to, MALLORY, says));
        assert!(is_right(&end), "{says:?}: {end:?}");
        assert!(victim.session.is_over() && victim.says().iter().all(|frame| kind(frame) == BYE));
        victim.survives(&before);
    }
    for says in [&[8][..], &[], &[2, 200], &[0, 0], &[1, 1], &[2, 1, 0xff]] {
        let mut victim = Victim::met(filled(1, 3, 10), Stands::new(), NO_PRINT);
        assert_eq!(victim.hear(&frames::bye(victim.to, MALLORY, says)), Ok(()), "{says:?}");
        assert_eq!(victim.session.counters().errors, 1, "{says:?}");
    }
    // Not for us: a peer of an earlier session has left.
    let mut victim = Victim::met(filled(1, 3, 10), Stands::new(), NO_PRINT);
    victim.hear(&frames::bye(victim.to ^ 1, MALLORY, &[0])).unwrap();
    assert!(!victim.session.is_over());
}

// ---- reconciliation ----

#[test]
fn turns_that_are_forged_or_out_of_order_end_in_a_delta_of_everything() {
    let _alone = alone();
    let begin = || {
        let [a, _] = begin_reconciled();
        // The peer has not seen the removal that was pruned.
        let [_, b] = common();
        (a, stands(b.version()), print(&b))
    };
    let mut turns: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0xff; 40]];
    for (_, frame) in record("reconciled", begin_reconciled).frames {
        if kind(&frame) == TURN {
            // The receiver, a flag, numbers: the turn follows within a few bytes.
            turns.extend((8..14).filter(|at| *at + 4 < frame.len()).map(|at| frame[at..frame.len() - 4].to_vec()));
        }
    }
    for turn in turns {
        for (flags, round, begins) in [(0, 1, false), (1, 1, true), (1, u64::MAX, true), (1, 1, false)] {
            let (a, theirs, print) = begin();
            let told = Told::whole(1, theirs.clone(), print);
            let mut victim = Victim::met(a, theirs, print);
            let before = victim.replica.snapshot();
            let said = victim.says();
            assert!(said.iter().any(|frame| kind(frame) == TURN), "{said:?}");
            for place in [1, 0, 2, u64::MAX, 1] {
                let frame = frames::turn(victim.to, flags, round, place, begins.then(|| (told.clone(), 1)), &turn);
                if victim.answers(&frame).is_err() {
                    break;
                }
            }
            assert_eq!(victim.merged, 0);
            victim.survives(&before);
        }
    }
}

// ---- what a peer can do by lying, as documented ----

#[test]
fn who_says_that_it_has_seen_all_is_sent_nothing() {
    let _alone = alone();
    let base = filled(1, 3, 10);
    let seen = heads(base.version());
    let mut more = seen.clone();
    more.push((writer(u64::MAX - 1), 5));
    more.sort();
    for claim in [Stands::at(seen), Stands::at(more)] {
        let mut victim = Victim::met(base.fork_with(TestEnvironment::new(2)), claim, print(&base));
        let said = victim.says();
        assert!(said.iter().all(|frame| kind(frame) != PART), "{said:?}");
    }
}

fn brings(delta: &Delta, options: Options) -> (Result<(), SessionError>, Victim) {
    let mut victim = Victim::with(replica(1), options);
    let hello = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT));
    victim.hear(&hello.frame(Some(victim.to))).unwrap();
    let bytes = with_slices(header(0, 1, 0, NO_PRINT, 0), &[slice(delta)]);
    let result = victim.hear(&frames::stream(victim.to, 1, &bytes));
    (result, victim)
}

#[test]
fn a_jump_beyond_the_limit_needs_consent() {
    let _alone = alone();
    let hostile = filled(2, 10, 5);
    let writes = hostile.version().get(hostile.writer().unwrap());
    let (result, victim) = brings(&hostile.complete(), Options::new().with_jump_limit(writes));
    assert_eq!((result, victim.merged), (Ok(()), 1));
    let (result, victim) = brings(&hostile.complete(), Options::new().with_jump_limit(writes - 1));
    assert_eq!((result, victim.merged), (Err(SessionError::Jump { jump: writes }), 0));
    let before = victim.replica.snapshot();
    victim.survives(&before);
}

#[test]
fn writers_beyond_the_limit_need_consent_in_one_delta_or_in_many() {
    let _alone = alone();
    let mut hostile = replica(2);
    for n in 0..5 {
        hostile.merge(&replica(10 + n).edit(|g| g.add_node("x")).unwrap().1).unwrap();
    }
    let (result, victim) = brings(&hostile.complete(), Options::new().with_writers_limit(5));
    assert_eq!((result, victim.merged), (Ok(()), 1));
    let (result, victim) = brings(&hostile.complete(), Options::new().with_writers_limit(4));
    assert_eq!((result, victim.merged), (Err(SessionError::Writers(5)), 0));
    let before = victim.replica.snapshot();
    victim.survives(&before);

    // One after the other it is as many.
    let mut victim = Victim::with(replica(1), Options::new().with_writers_limit(4));
    let hello = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT));
    victim.hear(&hello.frame(Some(victim.to))).unwrap();
    let mut results = Vec::new();
    for n in 0..5 {
        let delta = replica(10 + n).edit(|g| g.add_node("x")).unwrap().1;
        let bytes = with_slices(header(0, 1, 0, NO_PRINT, 0), &[slice(&delta)]);
        results.push(victim.hear(&frames::stream(victim.to, 1 + n, &bytes)));
        victim.says();
    }
    assert_eq!(results[..4], [Ok(()), Ok(()), Ok(()), Ok(())]);
    assert_eq!(results[4], Err(SessionError::Writers(5)));
    assert_eq!(victim.merged, 4);
}

#[test]
fn a_delta_in_our_own_name_is_merged_and_we_write_in_another() {
    let _alone = alone();
    // The process once more, as if copied with its memory: the same writer.
    let (base, mut thief) = (filled(1, 2, 5), filled(1, 2, 5));
    let (own, ours) = (base.writer().unwrap(), base.version().clone());
    let (_, delta) = thief.edit(|g| g.add_node("stolen")).unwrap();
    let mut victim = Victim::met(base, stands(&ours), print(&thief));
    let bytes = with_slices(header(0, 1, 0, NO_PRINT, 0), &[slice_for(&delta, &ours)]);
    victim.hear(&frames::stream(victim.to, 1, &bytes)).unwrap();
    assert_eq!((victim.merged, victim.replica.writer()), (1, None));
    assert_eq!(victim.replica.state(), thief.state());
    add(&mut victim.replica, 7..8, 5);
    assert_ne!(victim.replica.writer(), Some(own));
    let before = victim.replica.snapshot();
    victim.survives(&before);
}

#[test]
fn a_contradiction_is_repaired_or_ends_the_session_as_the_app_wants() {
    let _alone = alone();
    let base = filled(1, 3, 10);
    let other = Fingerprint::from_bytes([7; 16]);
    let wrong = |options: Options| {
        let mut victim = Victim::with(base.fork_with(TestEnvironment::new(2)), options);
        let hello = victim.hello_of(Told::whole(1, stands(base.version()), other.to_bytes()));
        victim.hear(&hello.frame(Some(victim.to))).unwrap();
        victim
    };
    let mut victim = wrong(Options::new().without_repair());
    let before = victim.replica.snapshot();
    assert_eq!(victim.says().iter().map(|frame| kind(frame)).collect::<Vec<_>>(), [BYE]);
    assert_eq!(victim.session.poll_frame(&victim.replica, victim.now), Err(SessionError::Contradiction));
    victim.survives(&before);

    // It offers what it holds. Nothing changes here by a claim alone.
    let mut victim = wrong(Options::new());
    let before = victim.replica.snapshot();
    assert!(victim.says().iter().any(|frame| kind(frame) == PART));
    victim.sound(&before);
    // What the peer holds under the same dots is believed, as documented: what is dead there is dead.
    let mut nothing = base.fork_with(TestEnvironment::new(3));
    nothing.edit(|g| (0..3).try_for_each(|n| g.remove_node(NodeId::named(&format!("node {n}"))).map(drop))).unwrap();
    victim.survives(&before);
}

#[test]
fn a_peer_may_bury_by_claiming_to_have_seen_and_it_is_the_same_everywhere() {
    let _alone = alone();
    let base = filled(1, 3, 10);
    let mut liar = base.fork_with(TestEnvironment::new(3));
    liar.edit(|g| g.remove_node(NodeId::named("node 1"))).unwrap();
    liar.prune(Prune::All);
    // The delta says that what it does not hold is dead: so it is, here as with whoever hears it.
    let mut victim = Victim::met(base.fork_with(TestEnvironment::new(2)), stands(base.version()), print(&base));
    let said = with_slices(header(0, 1, 0, NO_PRINT, 0), &[slice_for(&liar.complete(), base.version())]);
    victim.answers(&frames::stream(victim.to, 1, &said)).unwrap();
    assert_eq!(victim.merged, 1, "{:?}", victim.session);
    assert!(victim.replica.state().node(NodeId::named("node 1")).is_none());
    assert_eq!(victim.replica.state(), liar.state());
    let before = victim.replica.snapshot();
    victim.survives(&before);
}
