//! What a session does in each corner of its protocol, in the smallest story that gets there: to a peer that is made by hand.

#[path = "support/damage.rs"]
mod damage;
#[path = "support/frames.rs"]
mod frames;
#[path = "support/victim.rs"]
mod victim;

use std::io::{self, Read, Write};
use std::time::Duration;

use driftless::sync::{
    self, Event, MAX_FRAME_LEN, Options, Parting, Reconciling, SessionError, Staged, SyncError, SyncErrorReason,
};
use driftless::testing::TestEnvironment;
use driftless::{Crdt, Delta, DotSet, Graph, NodeId, Prune, Replica, WriterId};
use frames::{
    ANNOUNCE, BYE, Form, GONE, HELLO, Hello, NEED, PART, Stands, TURN, Told, frame, header, kind, slice, with_slices,
};
use victim::{MALLORY, NO_PRINT, Victim, add, filled, print, replica, stands, writer};

const SECOND: Duration = Duration::from_secs(1);

fn kinds(said: &[Vec<u8>]) -> Vec<u8> {
    said.iter().map(|frame| kind(frame)).collect()
}

/// One that has met a peer that holds the same.
fn met_an_equal() -> Victim {
    let replica = filled(1, 3, 10);
    let (stands, fingerprint) = (stands(replica.version()), print(&replica));
    let mut victim = Victim::met(replica, stands, fingerprint);
    assert!(victim.says().is_empty());
    victim
}

/// One that has met a peer that holds nothing, and has sent it all that there is.
fn met_one_that_has_nothing() -> Victim {
    let mut victim = Victim::met(filled(1, 3, 10), Stands::new(), NO_PRINT);
    assert_eq!(kinds(&victim.says()), [PART]);
    victim
}

impl Victim {
    /// Lets time pass until it says something.
    fn says_later(&mut self) -> Vec<Vec<u8>> {
        for _ in 0..100 {
            self.now = self.now.max(self.session.poll_timeout().expect("it waits for something"));
            let said = self.says();
            if !said.is_empty() {
                return said;
            }
        }
        panic!("it says nothing any more");
    }

    /// Whom its frames are for, as it says it.
    fn to_peer(&self) -> u32 {
        frames::pair(MALLORY, frames::nonce_of(&self.hello))
    }

    fn waits(&mut self) -> bool {
        assert!(self.says().is_empty());
        self.session.poll_timeout().is_some()
    }
}

// ---- what counts ----

#[test]
fn what_comes_late_or_for_another_session_is_counted_and_left_alone() {
    let mut victim = met_an_equal();
    let stale = |victim: &Victim| victim.session.counters().stale;
    assert_eq!(stale(&victim), 0);
    victim.hear(&frames::need(victim.to + 1)).unwrap();
    assert_eq!(stale(&victim), 1);
    victim.hear(&frames::bye(victim.to, MALLORY + 1, &[0])).unwrap();
    victim.hear(&frames::bye(victim.to + 1, MALLORY, &[0])).unwrap();
    assert_eq!(stale(&victim), 3);
    // What it has heard, and a stream that it does not send.
    let told = Told::whole(1, stands(victim.replica.version()), print(&victim.replica));
    victim.hear(&frames::announce(victim.to, 0, &told)).unwrap();
    victim.hear(&frames::ask(victim.to, 9, 0, 0)).unwrap();
    assert_eq!(stale(&victim), 5);
    // A question is never late, and what is new is of use.
    victim.hear(&frames::need(victim.to)).unwrap();
    let told = Told::whole(2, Stands::new(), NO_PRINT);
    victim.hear(&frames::announce(victim.to, 0, &told)).unwrap();
    assert_eq!((stale(&victim), victim.session.counters().errors), (5, 0));
}

#[test]
fn conflicts_that_a_delta_opens_and_closes_are_counted() {
    let (mut a, mut b) = (filled(1, 2, 1), replica(2));
    b.merge(&a.complete()).unwrap();
    let write = |replica: &mut Replica<Graph>, text: &str| {
        replica.edit(|g| (0..2).try_for_each(|n| g.set(NodeId::named(&format!("node {n}")), "/text", text))).unwrap();
    };
    write(&mut a, "by a");
    write(&mut b, "by b");
    let (on_a, on_b) = sync::in_memory(&mut a, &mut b).unwrap();
    for on in [on_a, on_b] {
        assert_eq!((on.counters.conflicts_opened, on.counters.conflicts_closed), (2, 0));
    }
    write(&mut b, "by both");
    let (on_a, on_b) = sync::in_memory(&mut a, &mut b).unwrap();
    assert_eq!((on_a.counters.conflicts_opened, on_a.counters.conflicts_closed), (0, 2));
    assert_eq!((on_b.counters.conflicts_opened, on_b.counters.conflicts_closed), (0, 0));
}

#[test]
fn the_65th_frame_in_a_row_that_makes_no_sense_is_the_end() {
    let mut victim = met_an_equal();
    for _ in 0..64 {
        victim.hear(b"no sense").unwrap();
    }
    // What is of use ends the row.
    victim.hear(&frames::announce(victim.to, 0, &Told::whole(2, Stands::new(), NO_PRINT))).unwrap();
    for _ in 0..64 {
        victim.hear(b"no sense").unwrap();
    }
    assert_eq!(victim.session.counters().errors, 128);
    assert_eq!(victim.hear(b"no sense").unwrap_err(), SessionError::Nonsense(65));
}

#[test]
fn parts_that_are_none_make_no_sense() {
    let mut victim = met_an_equal();
    let errors = |victim: &Victim| victim.session.counters().errors;
    for (n, part) in (1..).zip([
        frames::part(victim.to, 1, 10, 0, b""),
        frames::part(victim.to, 1, 10, 5, b""),
        frames::part(victim.to, 1, 10, 0, &[0; 11]),
        frames::part(victim.to, 1, 10, 9, &[0; 2]),
        frames::part(victim.to, 1, 10, u64::MAX, &[0; 2]),
    ]) {
        victim.hear(&part).unwrap();
        assert_eq!((errors(&victim), victim.session.progress().receiving.bytes_expected), (n, 0));
    }
    victim.hear(&frames::part(victim.to, 1, 10, 0, &[1; 9])).unwrap();
    assert_eq!((errors(&victim), victim.session.progress().receiving.bytes), (5, 9));
}

#[test]
fn the_longest_frame_is_read_and_no_longer_one() {
    let mut victim = met_an_equal();
    let part = |len: usize| frames::part(victim.to, 1, 1 << 24, 0, &vec![1; len]);
    let around = part(1).len() - 1;
    let [longest, longer] = [0, 1].map(|more| part(MAX_FRAME_LEN - around + more));
    assert_eq!(longest.len(), MAX_FRAME_LEN);
    victim.hear(&longer).unwrap();
    assert_eq!((victim.session.counters().errors, victim.session.progress().receiving.bytes), (1, 0));
    victim.hear(&longest).unwrap();
    assert_eq!(victim.session.progress().receiving.bytes as usize, MAX_FRAME_LEN - around);
}

// ---- what the app says beforehand, and asks ----

#[test]
fn parts_are_as_long_as_the_app_wants_and_fit_in_a_frame() {
    let longest = |options: Options, text: usize| {
        let mut victim = Victim::with(filled(1, 2, text), options);
        let hello = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT)).frame(Some(victim.to));
        let said = victim.answers(&hello).unwrap();
        said.iter().filter(|frame| kind(frame) == PART).map(Vec::len).max().unwrap()
    };
    let around = longest(Options::new().with_part_len(1), 1) - 1;
    assert!(around < 20, "{around}");
    assert_eq!(longest(Options::new().with_part_len(0), 1), longest(Options::new().with_part_len(1), 1));
    assert!((100..130).contains(&longest(Options::new().with_part_len(100), 1_000)));
    let most = longest(Options::new().with_part_len(usize::MAX), 3 << 20);
    assert!((MAX_FRAME_LEN / 2..MAX_FRAME_LEN).contains(&most), "{most}");
}

#[test]
fn what_is_not_answered_is_said_again_after_the_time_that_the_app_wants_and_given_up_after_its_patience() {
    let replica = filled(1, 1, 1);
    for after in [SECOND / 4, 7 * SECOND] {
        let options = Options::new().with_retry_after(after).with_patience(9 * after);
        let mut victim = Victim::with(filled(1, 1, 1), options);
        assert!(victim.says().is_empty());
        let again = victim.session.poll_timeout().unwrap();
        assert!(again >= after * 3 / 4 && again <= after * 5 / 4, "{again:?}");
        assert_eq!(victim.says_later(), [victim.hello.clone()]);
        assert_eq!(victim.session.counters().retries, 1);
        assert_eq!((victim.wait(), victim.now), (Some(SessionError::Silence), 9 * after));
        assert_eq!(victim.session.counters().retries, 3);
        assert!(*victim.replica.state() == *replica.state());
    }
}

#[test]
fn who_leaves_says_so_and_the_other_hears_it() {
    let mut victim = met_an_equal();
    assert_eq!(victim.session.peer().map(|device| device.as_str()), Some("mallory"));
    victim.session.close();
    assert!(victim.session.is_over());
    let said = victim.says();
    assert_eq!(kinds(&said), [BYE]);
    assert_eq!(victim.session.poll_timeout(), None);
    // The same, said to it.
    let mut victim = met_an_equal();
    victim.session.handle_frame(&mut victim.replica, &frames::bye(victim.to, MALLORY, &[0]), victim.now).unwrap();
    assert!(victim.session.is_over());
    let mut left = false;
    while let Some(event) = victim.session.poll_event() {
        left |= matches!(event, Event::Left);
    }
    assert!(left);
    // Who has met nobody has nobody to tell.
    let mut victim = Victim::new(filled(1, 3, 10));
    assert!(victim.session.peer().is_none());
    victim.session.close();
    assert!(victim.session.is_over() && victim.says().is_empty());
}

#[test]
fn the_reason_why_the_peer_left_is_a_type_and_reads_as_words() {
    let said = |parting| SessionError::Left(parting).to_string();
    assert_eq!(said(Parting::Done), "the peer left: all done");
    assert_eq!(
        said(Parting::Protocol { oldest: 2, newest: 3 }),
        "the peer left: it speaks versions 2 to 3 of the protocol"
    );
    assert_eq!(said(Parting::Schema("another".into())), "the peer left: it holds a `another`");
    assert_eq!(
        said(Parting::TooLong { len: 9, limit: 8 }),
        "the peer left: a delta of 9 bytes is longer than the 8 that are staged"
    );
    assert_eq!(said(Parting::NotDurable), "the peer left: it could not make durable what it merged");
    assert_eq!(said(Parting::Refused), "the peer left: its store or its gate refused what it was sent");
    assert_eq!(said(Parting::Other(99)), "the peer left: for a reason of a later version, number 99");
    let mut victim = met_an_equal();
    assert_eq!(
        victim.hear(&frames::bye(victim.to, MALLORY, &[4])).unwrap_err(),
        SessionError::Left(Parting::NotMergeable)
    );
    let shown = format!("{:?}", victim.session);
    assert!(shown.contains("mallory") && shown.contains("NotMergeable"), "{shown}");
}

#[test]
fn what_has_come_before_a_break_is_counted_in_siblings() {
    let peer = filled(2, 200, 1_000);
    let mut victim = Victim::met(replica(1), Stands::new(), NO_PRINT);
    let delta = peer.delta_since(&Default::default()).unwrap();
    let bytes = with_slices(header(0, 1, 2, print(&peer), 0), &[slice(&delta)]);
    victim.hear(&frames::part(victim.to, 1, bytes.len() as u64 + 1, 0, &bytes)).unwrap();
    let staged: Box<Staged> = victim.session.into_staged().unwrap();
    assert_eq!((staged.len(), staged.is_empty()), (delta.len(), false));
    assert!(staged.len() > 200);
}

// ---- claims ----

#[test]
fn a_jump_is_counted_from_what_was_seen() {
    let mut peer = replica(2);
    peer.edit(|g| (0..50).try_for_each(|n| g.add_node(&format!("seen {n}")).map(drop))).unwrap();
    let mut here = replica(1);
    here.merge(&peer.complete()).unwrap();
    let seen = here.version().heads()[0].counter;
    let (_, delta) = peer.edit(|g| (0..10).try_for_each(|n| g.add_node(&format!("new {n}")).map(drop))).unwrap();
    let jump = delta.upto().heads()[0].counter - seen;
    for (limit, fits) in [(jump, true), (jump - 1, false)] {
        let here = here.fork_with(TestEnvironment::new(5));
        let mut victim = Victim::with(here, Options::new().with_jump_limit(limit));
        let mut session = sync::Session::new(&peer, Options::new(), [9; 16]);
        session.handle_frame(&mut peer, &victim.hello, Duration::ZERO).unwrap();
        let mut result = Ok(());
        while let Some(frame) = session.poll_frame(&peer, Duration::ZERO).unwrap() {
            result = result.and_then(|()| victim.hear(&frame));
        }
        assert_eq!(result, if fits { Ok(()) } else { Err(SessionError::Jump { jump }) });
        assert_eq!(victim.merged, usize::from(fits));
    }
}

#[test]
fn a_stream_that_says_where_an_earlier_announcement_stood_does_not_set_the_peer_back() {
    let peer = filled(2, 3, 10);
    let mut victim = Victim::met(replica(1), Stands::new(), NO_PRINT);
    // The fifth says more than the third, which comes later.
    let fifth = Told::whole(5, Stands::at(vec![(writer(7), 100)]), [5; 16]);
    victim.hear(&frames::announce(victim.to, 0, &fifth)).unwrap();
    let bytes =
        with_slices(header(0, 1, 3, print(&peer), 0), &[slice(&peer.delta_since(&Default::default()).unwrap())]);
    victim.hear(&frames::stream(victim.to, 1, &bytes)).unwrap();
    victim.says();
    assert_eq!(victim.merged, 1);
    // The peer has said since that it stands elsewhere.
    assert!(!victim.session.is_equal(&victim.replica));
    assert_eq!(victim.session.standing(), None, "nobody here knows the writer at whose head the peer stands");
    // As the sixth it counts.
    let mut victim = Victim::met(replica(1), Stands::new(), NO_PRINT);
    let fifth = Told::whole(5, Stands::at(vec![(writer(7), 100)]), [5; 16]);
    victim.hear(&frames::announce(victim.to, 0, &fifth)).unwrap();
    let bytes =
        with_slices(header(0, 1, 6, print(&peer), 0), &[slice(&peer.delta_since(&Default::default()).unwrap())]);
    victim.hear(&frames::stream(victim.to, 1, &bytes)).unwrap();
    victim.says();
    assert!(victim.session.is_equal(&victim.replica));
    assert_eq!(victim.session.standing().unwrap().version(), peer.version());
}

#[test]
fn of_an_earlier_stream_and_of_one_of_another_length_no_part_is_taken() {
    let mut victim = met_an_equal();
    let received = |victim: &Victim| victim.session.progress().receiving;
    victim.hear(&frames::part(victim.to, 2, 100, 0, &[1; 40])).unwrap();
    victim.hear(&frames::part(victim.to, 1, 100, 40, &[1; 40])).unwrap();
    victim.hear(&frames::part(victim.to, 2, 101, 40, &[1; 40])).unwrap();
    assert_eq!((received(&victim).bytes, received(&victim).bytes_expected), (40, 100));
    assert_eq!(victim.session.counters().stale, 2);
    victim.hear(&frames::part(victim.to, 2, 100, 40, &[1; 40])).unwrap();
    assert_eq!(received(&victim).bytes, 80);
    // A later one takes its place.
    victim.hear(&frames::part(victim.to, 3, 50, 0, &[1; 10])).unwrap();
    assert_eq!((received(&victim).bytes, received(&victim).bytes_expected), (10, 50));
}

#[test]
fn a_stream_that_is_gone_is_no_longer_waited_for() {
    let mut victim = met_an_equal();
    victim.hear(&frames::part(victim.to, 2, 100, 0, &[1; 40])).unwrap();
    let gone = |stream: u8| frame(GONE, Some(victim.to), &[stream]);
    let (another, it) = (gone(1), gone(2));
    victim.hear(&another).unwrap();
    assert!(victim.waits() && victim.session.progress().receiving.bytes == 40);
    victim.hear(&it).unwrap();
    assert!(!victim.waits() && victim.session.progress().receiving.bytes_expected == 0);
}

#[test]
fn an_ask_for_a_stream_that_is_not_sent_is_answered_and_one_for_what_is_sent_is_not() {
    let mut victim = met_one_that_has_nothing();
    let said = victim.answers(&frames::ask(victim.to, 9, 0, 0)).unwrap();
    assert_eq!(said, [frame(GONE, Some(victim.to_peer()), &[9])]);
    assert!(victim.answers(&frames::ask(victim.to, 1, 0, 0)).unwrap().is_empty());
    // Again if it is asked for, but not at once.
    victim.now += 10 * SECOND;
    assert_eq!(kinds(&victim.answers(&frames::ask(victim.to, 1, 0, 1)).unwrap()), [PART]);
    assert!(victim.answers(&frames::ask(victim.to, 1, 0, 1)).unwrap().is_empty());
}

#[test]
fn a_resumed_stream_of_which_nothing_follows_is_refused() {
    let peer = filled(2, 200, 1_000);
    let all = peer.delta_since(&Default::default()).unwrap();
    let mut victim = Victim::met(replica(1), Stands::new(), NO_PRINT);
    let bytes = with_slices(header(0, 1, 2, print(&peer), 0), &[slice(&all)]);
    victim.hear(&frames::part(victim.to, 1, bytes.len() as u64 + 1, 0, &bytes)).unwrap();
    let staged = victim.session.into_staged();
    let mut victim = Victim::with(replica(1), Options::new().with_staged(staged));
    victim.answers(&victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT)).frame(Some(victim.to))).unwrap();
    // As many slices of changes as there are slices.
    let bytes = with_slices(header(1, 1, 2, print(&peer), 1), &[slice(&all)]);
    let said = victim.answers(&frames::stream(victim.to, 1, &bytes)).unwrap();
    assert_eq!((victim.merged, victim.session.counters().errors), (0, 1));
    assert!(kinds(&said).contains(&NEED), "{said:?}");
}

#[test]
fn a_stream_whose_last_slice_is_cut_off_is_refused_whole() {
    let peer = filled(2, 3, 10);
    let all = peer.delta_since(&Default::default()).unwrap();
    for more in [&[100, 1][..], &[0x80]] {
        let mut victim = Victim::met(replica(1), Stands::new(), NO_PRINT);
        let bytes = [&with_slices(header(0, 1, 2, print(&peer), 0), &[slice(&all)])[..], more].concat();
        victim.hear(&frames::stream(victim.to, 1, &bytes)).unwrap();
        assert_eq!((victim.merged, victim.session.counters().errors), (0, 1));
    }
}

#[test]
fn a_hello_says_what_it_goes_on_with_if_that_is_short_enough_for_any_buffer() {
    for (writers, fits) in [(100, true), (500, false)] {
        let mut peer = replica(2);
        for n in 0..writers {
            peer.merge(&filled(100 + n, 1, 1_000).complete()).unwrap();
        }
        add(&mut peer, 0..300, 1_000);
        let mut sides = [replica(1), peer];
        let mut sessions = [0, 1].map(|i: usize| sync::Session::new(&sides[i], Options::new(), [i as u8; 16]));
        // Until it breaks off in the middle of what the second sends.
        let mut parts = 0;
        while parts < 3 {
            for from in 0..2 {
                while let Some(frame) = sessions[from].poll_frame(&sides[from], Duration::ZERO).unwrap() {
                    sessions[1 - from].handle_frame(&mut sides[1 - from], &frame, Duration::ZERO).unwrap();
                    parts += usize::from(kind(&frame) == PART);
                    if parts == 3 {
                        break;
                    }
                }
            }
        }
        let [first, _] = sessions;
        let staged = first.into_staged();
        assert!(staged.is_some());
        let mut again = sync::Session::new(&sides[0], Options::new().with_staged(staged), [7; 16]);
        let hello = again.poll_frame(&sides[0], Duration::ZERO).unwrap().unwrap();
        match fits {
            true => assert!((1_000..4_000).contains(&hello.len()), "{}", hello.len()),
            false => assert!(hello.len() < 200, "{}", hello.len()),
        }
    }
}

// ---- what is said again ----

#[test]
fn who_is_not_answered_says_hello_again_until_the_peer_knows_it() {
    let replica = filled(1, 3, 10);
    let (at, fingerprint) = (stands(replica.version()), print(&replica));
    // The peer's hello is for nobody in particular: it may not have heard ours.
    let mut victim = Victim::new(replica);
    let hello = victim.hello_of(Told::whole(1, at, fingerprint));
    assert!(victim.answers(&hello.frame(None)).unwrap().is_empty());
    assert!(victim.waits());
    let again = victim.says_later();
    assert_eq!(kinds(&again), [HELLO]);
    assert_eq!(again[0][..5], [&[HELLO | 0x80][..], &victim.to_peer().to_le_bytes()].concat());
    // Now it knows.
    victim.hear(&hello.frame(Some(victim.to))).unwrap();
    victim.says();
    assert!(!victim.waits());
}

#[test]
fn who_knows_us_and_says_hello_again_is_told_where_we_stand() {
    let mut victim = met_an_equal();
    let told = Told::whole(1, stands(victim.replica.version()), print(&victim.replica));
    let hello = victim.hello_of(told).frame(Some(victim.to));
    assert_eq!(kinds(&victim.answers(&hello).unwrap()), [ANNOUNCE]);
    // Not each time.
    assert!(victim.answers(&hello).unwrap().is_empty());
}

#[test]
fn a_digest_that_says_nothing_here_is_asked_about_until_it_is_answered() {
    let mut victim = Victim::new(filled(1, 3, 10));
    let digest = Told { number: 1, fingerprint: [7; 16], form: Form::Digest(99), resume: None };
    let said = victim.answers(&victim.hello_of(digest).frame(Some(victim.to))).unwrap();
    assert_eq!(kinds(&said), [NEED]);
    assert!(victim.waits());
    for retries in 1..4 {
        assert_eq!(kinds(&victim.says_later()), [NEED]);
        assert_eq!(victim.session.counters().retries, retries);
    }
    let told = Told::whole(2, stands(victim.replica.version()), print(&victim.replica));
    victim.hear(&frames::announce(victim.to, 0, &told)).unwrap();
    victim.says();
    assert!(!victim.waits());
}

#[test]
fn what_builds_on_what_was_never_said_is_asked_about() {
    // The peer has not heard what we have said since, so it is told as well.
    let mut victim = met_an_equal();
    let unknown =
        |number| Told { number, fingerprint: [7; 16], form: Form::FromAnnounced(99, Stands::new()), resume: None };
    let said = victim.answers(&frames::announce(victim.to, 0, &unknown(2))).unwrap();
    assert_eq!(kinds(&said), [NEED, ANNOUNCE]);
    // In a hello that is for an earlier session, what it builds on was said there.
    let mut victim = Victim::new(filled(1, 3, 10));
    let told = Told { number: 1, fingerprint: [7; 16], form: Form::FromAnnounced(1, Stands::new()), resume: None };
    let said = victim.answers(&victim.hello_of(told.clone()).frame(None)).unwrap();
    assert_eq!(kinds(&said), [NEED]);
    // In one that is for us it was said here.
    let mut victim = Victim::new(filled(1, 3, 10));
    let told = Told { fingerprint: print(&victim.replica), ..told };
    assert!(victim.answers(&victim.hello_of(told).frame(Some(victim.to))).unwrap().is_empty());
    assert!(victim.session.is_equal(&victim.replica));
}

#[test]
fn to_a_peer_that_has_begun_anew_nothing_is_sent_at_once() {
    let mut victim = met_one_that_has_nothing();
    // Its new session says hello to whom it has not heard of yet.
    let mut hello = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT));
    hello.nonce = MALLORY + 1;
    let said = victim.answers(&hello.frame(None)).unwrap();
    assert_eq!(kinds(&said), [HELLO]);
    // It is not believed before it knows our name, since it may be late.
    assert!(victim.says().is_empty());
    let to_us = frames::pair(frames::nonce_of(&victim.hello), MALLORY + 1);
    victim.hear(&hello.frame(Some(to_us))).unwrap();
    // A peer that begins anew over and over is not worth a delta each time.
    let then = victim.session.poll_timeout().unwrap();
    assert_eq!(then, SECOND / 2);
    victim.now = then - Duration::from_millis(1);
    assert!(victim.says().is_empty());
    victim.now = then;
    assert_eq!(kinds(&victim.says()), [PART]);
}

#[test]
fn a_hello_that_comes_late_from_a_session_that_the_peer_has_left_does_not_set_it_back() {
    let mut victim = met_one_that_has_nothing();
    let earlier = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT));
    let mut hello = earlier.clone();
    hello.nonce = MALLORY + 1;
    let to_us = frames::pair(frames::nonce_of(&victim.hello), MALLORY + 1);
    victim.answers(&hello.frame(Some(to_us))).unwrap();
    let stale = victim.session.counters().stale;
    for to in [None, Some(victim.to)] {
        assert!(victim.answers(&earlier.frame(to)).unwrap().is_empty());
    }
    assert_eq!(victim.session.counters().stale, stale + 2);
    // The later one is still who we speak with.
    victim.now = victim.session.poll_timeout().unwrap();
    let to_later = frames::pair(MALLORY + 1, frames::nonce_of(&victim.hello));
    let said = victim.says();
    assert_eq!(kinds(&said), [PART]);
    assert!(said[0].windows(4).any(|bytes| bytes == to_later.to_le_bytes()), "{to_later:x}");
}

#[test]
fn a_late_hello_of_a_session_that_was_never_known_does_not_take_the_place_of_the_peer() {
    let mut victim = met_one_that_has_nothing();
    let mut late = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT));
    late.nonce = MALLORY + 1;
    // The peer is asked whether it is still there, and answers; so the same hello once more changes nothing either.
    for _ in 0..3 {
        victim.now += SECOND;
        assert!(kinds(&victim.answers(&late.frame(None)).unwrap()).contains(&HELLO));
        let hello = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT));
        victim.answers(&hello.frame(Some(victim.to))).unwrap();
    }
    // A second hello while the peer is silent takes its place.
    victim.now += SECOND;
    victim.answers(&late.frame(None)).unwrap();
    victim.now += SECOND;
    victim.hear(&late.frame(None)).unwrap();
    let to_it = frames::pair(MALLORY + 1, frames::nonce_of(&victim.hello));
    victim.now += SECOND;
    let said = victim.says();
    assert!(said.iter().all(|frame| frame.windows(4).any(|bytes| bytes == to_it.to_le_bytes())), "{said:?}");
    assert!(!said.is_empty());
}

#[test]
fn who_has_offered_all_to_repair_a_contradiction_reminds_the_peer_of_its_part() {
    let replica = filled(1, 3, 10);
    let at = stands(replica.version());
    let mut victim = Victim::met(replica, at.clone(), [9; 16]);
    assert_eq!(kinds(&victim.says()), [ANNOUNCE, PART]);
    // It has come, and nothing comes back.
    victim.hear(&frames::announce(victim.to, 1, &Told::whole(1, at, [9; 16]))).unwrap();
    assert!(victim.says().is_empty());
    assert_eq!(kinds(&victim.says_later()), [ANNOUNCE]);
}

// ---- reconciliations ----

/// One that has pruned what the peer has not seen, and the reconciliation that it begins.
fn reconciling() -> (Victim, Vec<u8>) {
    let mut here = filled(1, 40, 10);
    let seen = stands(here.version());
    let fingerprint = print(&here);
    here.edit(|g| g.remove_node(NodeId::named("node 7"))).unwrap();
    here.prune(Prune::All);
    let mut victim = Victim::met(here, seen, fingerprint);
    let said = victim.says();
    assert_eq!(kinds(&said), [TURN]);
    (victim, said[0].clone())
}

/// One with which the peer has begun to reconcile, the first turn, and the answer.
fn reconciled_with() -> (Victim, Vec<u8>, Vec<u8>) {
    let here = filled(1, 40, 10);
    let version = here.version().clone();
    let mut victim = Victim::met(here, stands(&version), print(&filled(1, 40, 10)));
    victim.says();
    // The peer has none of it any more.
    let (_, first) = Reconciling::ask(&DotSet::new(), &version, &version, [3; 16]).unwrap();
    let told = Told::whole(1, stands(&version), print(&filled(1, 40, 10)));
    let first = frames::turn(victim.to, 1, 1, 0, Some((told, 1)), &first.to_bytes());
    let said = victim.answers(&first).unwrap();
    assert_eq!(kinds(&said), [TURN]);
    (victim, first, said[0].clone())
}

#[test]
fn a_turn_that_is_not_answered_is_said_again() {
    let (mut victim, turn) = reconciling();
    assert!(victim.waits());
    for _ in 0..3 {
        assert_eq!(victim.says_later(), std::slice::from_ref(&turn));
    }
}

#[test]
fn the_first_turn_of_a_reconciliation_tells_the_peer_where_it_begins() {
    let mut victim = met_an_equal();
    // Pruned at once: since it was said where this stands, more has happened than can be told otherwise.
    add(&mut victim.replica, 10..50, 10);
    let told = Told::whole(2, stands(victim.replica.version()), print(&victim.replica));
    victim.says();
    victim.hear(&frames::announce(victim.to, 1, &told)).unwrap();
    assert!(victim.says().is_empty());
    victim.replica.edit(|g| g.remove_node(NodeId::named("node 20"))).unwrap();
    victim.replica.prune(Prune::All);
    let said = victim.says();
    assert_eq!(kinds(&said), [TURN]);
}

#[test]
fn a_turn_that_comes_again_is_answered_with_the_last_that_was_said() {
    let (mut victim, first, answer) = reconciled_with();
    assert_eq!(victim.answers(&first).unwrap(), std::slice::from_ref(&answer));
    // One that is further than that is nothing to go on with yet.
    let ahead = frames::turn(victim.to, 1, 1, 5, None, &answer[8..answer.len() - 4]);
    assert!(victim.answers(&ahead).unwrap().is_empty());
    assert_eq!(victim.session.counters().errors, 0);
}

#[test]
fn a_reconciliation_that_the_peer_has_begun_and_left_is_asked_about_three_times() {
    let (mut victim, _, answer) = reconciled_with();
    assert!(victim.waits());
    for _ in 0..3 {
        assert_eq!(victim.says_later(), std::slice::from_ref(&answer));
    }
    victim.now = victim.session.poll_timeout().unwrap();
    assert!(victim.says().is_empty());
    assert!(!victim.waits(), "it is given up");
}

#[test]
fn a_reconciliation_that_was_given_up_is_not_gone_on_with_nor_begun_a_second_time() {
    let (mut victim, first, answer) = reconciled_with();
    assert_eq!(kinds(&victim.answers(&frames::need(victim.to)).unwrap()), [ANNOUNCE]);
    victim.now += 10 * SECOND;
    // From the beginning: that was answered, and is over.
    assert!(victim.answers(&first).unwrap().is_empty());
    // In the middle.
    let turn = &answer[8..answer.len() - 4];
    assert_eq!(kinds(&victim.answers(&frames::turn(victim.to, 1, 1, 2, None, turn)).unwrap()), [NEED]);
    // Another's middle is nothing to us.
    assert!(victim.answers(&frames::turn(victim.to, 1, 2, 2, None, turn)).unwrap().is_empty());
}

// ---- over a stream ----

/// A peer that answers a hello, and then says the same for ever.
struct Talker {
    hello: Hello,
    /// What it says now.
    says: Vec<u8>,
    then: Vec<u8>,
}

impl Read for Talker {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.says.is_empty() {
            self.says.clone_from(&self.then);
        }
        let take = buffer.len().min(self.says.len());
        buffer[..take].copy_from_slice(&self.says[..take]);
        self.says.drain(..take);
        Ok(take)
    }
}

impl Write for Talker {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.hello.nonce == 0 {
            // The first frame, after its length; nobody is found by a nonce of 0.
            let frame = &buffer[1 + usize::from(buffer[0] >= 0x80)..];
            let nonce = frames::nonce_and_schema(frame).0;
            self.hello.nonce = 1;
            self.says = with_len(&self.hello.frame(Some(frames::pair(nonce, 1))));
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Syncs with one that says that it stands here, and then this for ever.
fn talked_to(stands: Stands, then: Vec<u8>, options: Options) -> SyncError<Graph> {
    let mut here = filled(1, 1, 1);
    let victim = Victim::new(here.fork_with(TestEnvironment::new(9)));
    let hello = Hello { nonce: 0, ..victim.hello_of(Told::whole(1, stands, NO_PRINT)) };
    sync::blocking_with(&mut here, Talker { hello, says: Vec::new(), then }, options).unwrap_err()
}

fn with_len(frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frames::number(&mut out, frame.len() as u64);
    [&out, frame].concat()
}

/// One that has nothing is waited for; one that has all, and more, is not.
fn behind_and_ahead() -> [Stands; 2] {
    let mut more = victim::heads(filled(1, 1, 1).version());
    more.push((WriterId::from([0x7f; 10]), 5));
    more.sort_unstable();
    [Stands::new(), Stands::at(more)]
}

#[test]
fn a_peer_that_talks_for_ever_without_saying_anything_is_given_up() {
    for stands in behind_and_ahead() {
        let error = talked_to(stands, with_len(&frames::need(1)), Options::new().with_patience(SECOND / 20));
        assert!(matches!(error.reason, SyncErrorReason::Session(SessionError::Silence)), "{error:?}");
        assert!(error.done.counters.stale > 0 && error.done.counters.errors == 0, "{:?}", error.done.counters);
    }
}

#[test]
fn a_peer_that_only_passes_the_turn_back_is_given_up_at_once() {
    let begun = std::time::Instant::now();
    for stands in behind_and_ahead() {
        let error = talked_to(stands, vec![0], Options::new().with_patience(1_000 * SECOND));
        assert!(matches!(error.reason, SyncErrorReason::Session(SessionError::Silence)), "{error:?}");
    }
    assert!(begun.elapsed() < 100 * SECOND);
}

#[test]
fn an_event_shows_what_it_is_and_of_a_merge_what_came() {
    let mut other = replica(7);
    add(&mut other, 0..1, 3);
    let delta = Box::new(other.complete());
    let report = Box::new(replica(8).merge(&delta).unwrap());
    let shown = [
        Event::Met { device: Some("phone".parse().unwrap()) },
        Event::Merged { delta, report },
        Event::<Graph>::Equal,
        Event::Left,
    ]
    .map(|event| format!("{event:?}"));
    assert!(shown[0].starts_with("Met") && shown[0].contains("phone"), "{shown:?}");
    assert!(shown[1].starts_with("Merged") && shown[1].contains("Complete"), "{shown:?}");
    assert_eq!(shown[2..], ["Equal", "Left"]);
}

// ---- to the byte ----

/// The whole length of a stream, as its first part says it.
fn length(part: &[u8]) -> u64 {
    assert_eq!((kind(part), part[5]), (PART, 1), "the first stream");
    let len = part[6..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
    part[6..6 + len].iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
}

#[test]
fn as_much_as_the_peer_stages_is_sent_and_one_byte_more_ends_it() {
    let (mut most, mut least) = (0, u64::MAX);
    for text in 3_900..4_100 {
        let mut victim = Victim::new(filled(1, 1, text));
        let hello = Hello { staging_limit: 12, ..victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT)) };
        victim.hear(&hello.frame(Some(victim.to))).unwrap();
        let mut poll = || victim.session.poll_frame(&victim.replica, victim.now);
        match poll().unwrap().unwrap() {
            bye if kind(&bye) == BYE => match poll() {
                Err(SessionError::PeerStagingLimit { len, limit: 4_096 }) => least = least.min(len),
                other => panic!("{other:?}"),
            },
            part => most = most.max(length(&part)),
        }
    }
    assert_eq!((most, least), (4_096, 4_097));
}

/// A replica that has heard of so many writers, some of whom have written a number that takes a byte more.
fn acquainted_with(writers: u64, with_long: u64) -> Replica<Graph> {
    const NONE: u8 = 0xc0;
    let name = Graph::SCHEMA.as_bytes();
    let counter = |n: u64| if n < with_long { 128 } else { 1 };
    let ids: Vec<u8> = (0..writers).flat_map(|n| *writer(n).as_bytes()).collect();
    // No fingerprint, so many writes, and nothing else; the writers of siblings, which are none, and of heads.
    let mut body = [&[0x98, 0xa0 | name.len() as u8][..], name, &[NONE]].concat();
    body.extend(damage::int((0..writers).map(|n| i128::from(counter(n))).sum()));
    body.extend([0; 5]);
    body.extend([&[0xc4, 0, 0xc6][..], &(ids.len() as u32).to_be_bytes(), &ids].concat());
    // It begins with nothing, ends at a head of each, and has pruned nothing.
    body.extend([&[0, 0, 0][..], &damage::int(writers.into())].concat());
    for n in 0..writers {
        body.extend([damage::int(n.into()), damage::int(counter(n).into())].concat());
    }
    body.extend([0, 0]);
    // Each writer begins a chain of births of its own.
    body.extend(damage::int(writers.into()));
    for id in ids.chunks(WriterId::LEN) {
        body.extend([&[NONE, 0xc4, WriterId::LEN as u8][..], id, &[0, 0]].concat());
    }
    // No parts.
    body.extend([0xc4, 0]);
    let mut replica = replica(1);
    replica.merge(&Delta::from_bytes(&damage::seal(1, &body)).unwrap()).unwrap();
    replica
}

#[test]
fn where_it_stands_is_said_in_half_a_frame_or_not_at_all() {
    // 11 bytes for each head, and one to say that it was not pruned; three for each number of heads, and one for each of
    // nothing gone, nothing come and no dots below.
    let room = MAX_FRAME_LEN as u64 / 2 - 2 * 3 - 3;
    let (writers, spare) = (room / 12, room % 12);
    for (more, fits) in [(0, true), (1, false)] {
        let mut victim = Victim::new(acquainted_with(writers, spare + more));
        let told = Told { number: 1, fingerprint: NO_PRINT, form: Form::Digest(7), resume: None };
        victim.hear(&victim.hello_of(told).frame(Some(victim.to))).unwrap();
        victim.hear(&frames::need(victim.to)).unwrap();
        let mut said = Vec::new();
        let end = loop {
            match victim.session.poll_frame(&victim.replica, victim.now) {
                Ok(Some(frame)) => said.push(frame),
                other => break other.map(drop),
            }
        };
        assert_eq!(kinds(&said).contains(&ANNOUNCE), fits);
        assert!(said.iter().all(|frame| frame.len() <= MAX_FRAME_LEN));
        let len = MAX_FRAME_LEN / 2 + 1;
        assert_eq!(end, if fits { Ok(()) } else { Err(SessionError::FrameTooLong { len }) });
    }
}
