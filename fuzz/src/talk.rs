//! Two replicas over a clean network get equal, within bounds.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use driftless::sync::{Checkpoint, Event, Options, Session, SessionError};
use driftless::{Crdt, Replica};

/// Far more frames than any conversation of ours takes.
const MAX_FRAMES: usize = 20_000;

/// How often nobody says anything before time has passed.
const MAX_PAUSES: usize = 400;

/// One end of a conversation.
pub(crate) struct End<'a, T: Crdt> {
    pub(crate) replica: &'a mut Replica<T>,
    pub(crate) session: Session<T>,
    /// Frames on their way to it.
    pub(crate) inbox: VecDeque<Vec<u8>>,
}

/// Limits that no claim exceeds.
pub(crate) fn trusting() -> Options {
    Options::new().with_jump_limit(u64::MAX).with_writers_limit(usize::MAX)
}

/// How a conversation that was not brought to its end ended: who found it, and what.
pub(crate) type Ended = (usize, SessionError);

/// Lets two talk until both hold the same. `told` hears of all events.
pub(crate) fn converse<T: Crdt>(
    ends: &mut [End<'_, T>; 2],
    now: &mut Duration,
    told: &mut impl FnMut(Event<T>),
) -> Result<(), Ended> {
    let (mut frames, mut pauses, mut was_idle) = (0, 0, false);
    loop {
        let mut silent = true;
        for who in 0..2 {
            let other = 1 - who;
            let end = &mut ends[who];
            while let Some(frame) = end.inbox.pop_front() {
                silent = false;
                end.session.handle_frame(end.replica, &frame, *now).map_err(|error| (who, error))?;
            }
            loop {
                let end = &mut ends[who];
                let Some(frame) = end.session.poll_frame(end.replica, *now).map_err(|error| (who, error))? else {
                    break;
                };
                silent = false;
                frames += 1;
                ends[other].inbox.push_back(frame);
            }
            while let Some(event) = ends[who].session.poll_event() {
                told(event);
            }
        }
        assert!(frames < MAX_FRAMES, "{frames} frames and not equal");
        if ends.iter().all(|end| end.inbox.is_empty() && end.session.is_equal(end.replica)) {
            return Ok(());
        }
        if let Some(who) = ends.iter().position(|end| end.session.is_over()) {
            return Err((who, SessionError::Silence));
        }
        was_idle &= silent;
        if silent {
            pauses += 1;
            assert!(pauses < MAX_PAUSES, "they are silent and not equal");
            // A session waits for its merges to be durable without a timer of its own: now they are.
            for end in &mut *ends {
                end.session.handle_persisted(&Checkpoint::of(end.replica));
            }
            match ends.iter().filter_map(|end| end.session.poll_timeout()).min() {
                Some(due) => *now = due.max(*now + Duration::from_millis(1)),
                None => assert!(!std::mem::replace(&mut was_idle, true), "neither waits, and they are not equal"),
            }
        }
    }
}

/// Makes two equal in one session, whatever they hold.
pub(crate) fn converge<T: Crdt + PartialEq + fmt::Debug>(one: &mut Replica<T>, other: &mut Replica<T>) {
    let session = |replica: &Replica<T>, side: u8| Session::new(replica, trusting(), [100 + side; 16]);
    let (on_one, on_other) = (session(one, 0), session(other, 1));
    let mut ends = [
        End { replica: one, session: on_one, inbox: VecDeque::new() },
        End { replica: other, session: on_other, inbox: VecDeque::new() },
    ];
    let mut now = Duration::ZERO;
    if let Err((_, error)) = converse(&mut ends, &mut now, &mut |_| {}) {
        panic!("between two that speak clearly: {error}");
    }
    let [End { replica: one, .. }, End { replica: other, .. }] = ends;
    assert!(one.state() == other.state() && one.fingerprint() == other.fingerprint(), "equal and not equal");
}
