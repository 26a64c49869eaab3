//! When to say something again, and when to give up: one timer for each thing that the peer owes.
//!
//! Each [`Awaited`] thing has a timer of its own, so that traffic about one thing never postpones the repetition of another.
//!
//! 1. A timer starts when its thing is first awaited, and starts anew with each progress of *this* thing.
//! 2. When the timer is due, the request is repeated. While the peer is silent, the delay doubles with each repetition, up to
//!    sixteen times, because the peer may be away. Each frame of the peer's session shows that it is there, so then the delay
//!    is the shortest again: the repetition, or its answer, was lost.
//! 3. The session ends if the peer is *silent*: something is awaited, and nothing of use has come for the patience. It also
//!    ends if the peer is *stuck*: one thing has made no progress for the patience, although the peer was heard after each
//!    of [`MAX_IGNORED`] repetitions. The second condition never counts repetitions that nobody could hear, so a connection
//!    that was away for a while does not end a session whose peer has just come back.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How often the time between two repetitions doubles at most.
const DOUBLINGS: u32 = 4;

/// Repetitions that a peer which is heard may leave unanswered. With one frame in ten lost in each direction, that many are
/// lost once in 600,000 times, and only the patience decides.
const MAX_IGNORED: u32 = 8;

/// Something that the peer owes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Awaited {
    /// A sign that the peer has heard our hello.
    Hello,
    /// The peer's standing, after a form of it that could not be resolved.
    Standing,
    /// Word of how much of our stream has arrived, or that it was merged.
    Acknowledgement,
    /// The rest of the peer's stream.
    Rest,
    /// The next turn of a reconciliation.
    Turn,
    /// The peer's half of a repair.
    Repair,
}

impl Awaited {
    pub(super) const ALL: [Self; 6] =
        [Self::Hello, Self::Standing, Self::Acknowledgement, Self::Rest, Self::Turn, Self::Repair];
}

/// The timers of all awaited things.
pub(super) struct Timers {
    after: Duration,
    patience: Duration,
    seed: u64,
    /// A timer runs while its thing is awaited.
    running: [Option<Timer>; Awaited::ALL.len()],
    /// Time when something of use last came.
    useful: Duration,
}

#[derive(Clone, Copy)]
struct Timer {
    /// Time of the last progress, or of the start.
    since: Duration,
    /// Time of the next repetition.
    next: Duration,
    /// Repetitions since the last progress.
    repeated: u32,
    /// How often the delay has doubled since the peer was last heard.
    doublings: u32,
    /// Repetitions after which the peer was heard.
    ignored: u32,
    /// True if a repetition went out and the peer was not heard since.
    unheard: bool,
}

/// A reaction that a peer can cause by saying little: each happens at most once in a while, however often the peer asks. An
/// honest peer asks again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reaction {
    /// Says hello again.
    Hello,
    /// Announces our standing again.
    Announce,
    /// Begins anew with the delta that is being sent.
    Restart,
    /// Sends again the parts that were sent.
    Again,
    /// Looks through all live dots.
    Round,
}

/// When each reaction is next due at the earliest.
pub(super) struct Pace {
    interval: Duration,
    next: [Duration; 5],
}

impl Pace {
    pub(super) fn new(retry_after: Duration) -> Self {
        Self { interval: retry_after / 4, next: [Duration::ZERO; 5] }
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    pub(super) fn allows(&mut self, reaction: Reaction, now: Duration) -> bool {
        let next = &mut self.next[reaction as usize];
        let allowed = *next <= now;
        if allowed {
            *next = now.saturating_add(self.interval);
        }
        allowed
    }
}

/// The verdict of the timers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// These are to be repeated.
    Again(Vec<Awaited>),
    GiveUp,
}

impl Timers {
    pub(super) fn new(after: Duration, patience: Duration, seed: u64) -> Self {
        Self { after, patience, seed, running: Default::default(), useful: Duration::ZERO }
    }

    /// Repetitions of the request for this thing since its last progress.
    pub(super) fn repeated(&self, awaited: Awaited) -> u32 {
        self.running[awaited as usize].map_or(0, |timer| timer.repeated)
    }

    /// True if the timer of this thing runs.
    pub(super) fn is_running(&self, awaited: Awaited) -> bool {
        self.running[awaited as usize].is_some()
    }

    /// Notes that something of use has come.
    pub(super) fn useful(&mut self, now: Duration) {
        self.useful = now;
    }

    /// Notes progress of one thing: its timer starts anew if the thing is still awaited.
    pub(super) fn progress(&mut self, awaited: Awaited) {
        self.running[awaited as usize] = None;
    }

    /// Stops all timers: the peer has begun another session.
    pub(super) fn reset(&mut self) {
        self.running = Default::default();
    }

    /// Notes that a frame of the peer's session has come, whatever it says: nothing that is overdue waits any longer than a
    /// first repetition does.
    pub(super) fn heard(&mut self, now: Duration) {
        let soon = now.saturating_add(self.delay(0));
        for timer in self.running.iter_mut().flatten() {
            timer.ignored += u32::from(std::mem::take(&mut timer.unheard));
            if std::mem::take(&mut timer.doublings) > 0 {
                timer.next = timer.next.min(soon);
            }
        }
    }

    /// True if nothing of use has come for the patience.
    pub(super) fn is_stale(&self, now: Duration) -> bool {
        now.saturating_sub(self.useful) >= self.patience
    }

    /// Returns the things to ask for again. Call it often, with the things that are awaited now.
    pub(super) fn poll(&mut self, is_awaited: impl Fn(Awaited) -> bool, now: Duration) -> Due {
        let first = now.saturating_add(self.delay(0));
        let mut due = Vec::new();
        for awaited in Awaited::ALL {
            if !is_awaited(awaited) {
                self.running[awaited as usize] = None;
                continue;
            }
            let start = Timer { since: now, next: first, repeated: 0, doublings: 0, ignored: 0, unheard: false };
            let timer = *self.running[awaited as usize].get_or_insert(start);
            if now >= self.end(&timer) {
                return Due::GiveUp;
            }
            if now >= timer.next {
                let doublings = (timer.doublings + 1).min(DOUBLINGS);
                let (repeated, next) = (timer.repeated.saturating_add(1), now.saturating_add(self.delay(doublings)));
                self.running[awaited as usize] = Some(Timer { next, repeated, doublings, unheard: true, ..timer });
                due.push(awaited);
            }
        }
        Due::Again(due)
    }

    /// Time of the next [`poll`](Self::poll), at the latest.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.running.iter().flatten().map(|timer| timer.next.min(self.end(timer))).min()
    }

    /// Time when this thing is given up, unless something happens before.
    fn end(&self, timer: &Timer) -> Duration {
        let silent = self.useful.max(timer.since);
        let since = if timer.ignored >= MAX_IGNORED { timer.since } else { silent };
        since.saturating_add(self.patience)
    }

    /// The delay after so many doublings, a quarter less or more: two that began at once do not stay in step.
    fn delay(&self, doublings: u32) -> Duration {
        let doubled = self.after.saturating_mul(1 << doublings);
        let random = xxh3_64_with_seed(&doublings.to_le_bytes(), self.seed) % 512;
        doubled.saturating_mul(768 + random as u32) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Polls with these awaited: the things to repeat, or none if the session is to end.
    fn poll(timers: &mut Timers, awaited: &[Awaited], now: Duration) -> Option<Vec<Awaited>> {
        match timers.poll(|one| awaited.contains(&one), now) {
            Due::Again(due) => Some(due),
            Due::GiveUp => None,
        }
    }

    #[test]
    fn repetitions_to_a_silent_peer_are_further_and_further_apart_and_end() {
        let mut timers = Timers::new(SECOND, 100 * SECOND, 7);
        let (mut now, mut times) = (Duration::ZERO, Vec::new());
        while let Some(due) = poll(&mut timers, &[Awaited::Hello], now) {
            times.extend((!due.is_empty()).then_some(now));
            now = timers.deadline().unwrap();
        }
        assert_eq!(now, 100 * SECOND);
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (i, gap) in gaps.iter().enumerate() {
            let expected = SECOND * (1 << (i as u32 + 1).min(DOUBLINGS));
            assert!(*gap >= expected * 3 / 4 && *gap <= expected * 5 / 4, "{gaps:?}");
        }
        assert!(gaps.len() >= 5, "{gaps:?}");
    }

    #[test]
    fn progress_of_one_thing_does_not_postpone_another() {
        let mut timers = Timers::new(SECOND, 100 * SECOND, 7);
        let mut repeated = 0;
        for tenths in 0..600 {
            let now = SECOND / 10 * tenths;
            let due = poll(&mut timers, &[Awaited::Acknowledgement, Awaited::Rest], now).unwrap();
            assert!(!due.contains(&Awaited::Rest));
            repeated += due.len();
            timers.progress(Awaited::Rest);
            timers.useful(now);
            timers.heard(now);
        }
        assert!((45..80).contains(&repeated), "once a second, however much is heard of other things: {repeated}");
        assert_eq!(timers.repeated(Awaited::Acknowledgement) as usize, repeated);
    }

    #[test]
    fn a_peer_that_talks_of_other_things_is_given_up_after_the_patience_and_eight_repetitions() {
        for (patience, end) in [(100, 100..101), (2, 6..12)] {
            let mut timers = Timers::new(SECOND, patience * SECOND, 7);
            let mut now = Duration::ZERO;
            while poll(&mut timers, &[Awaited::Turn], now).is_some() {
                timers.useful(now);
                timers.heard(now);
                now += SECOND / 10;
            }
            assert!((end.start * SECOND..=end.end * SECOND).contains(&now), "{now:?}");
        }
    }

    #[test]
    fn a_peer_that_comes_back_is_not_given_up_for_what_it_could_not_hear() {
        let mut timers = Timers::new(SECOND, 60 * SECOND, 7);
        let mut now = Duration::ZERO;
        while now < 59 * SECOND {
            poll(&mut timers, &[Awaited::Acknowledgement], now).unwrap();
            now += SECOND / 10;
        }
        // It is heard, of another thing; the next repetition comes as soon as a first one does.
        timers.useful(now);
        timers.heard(now);
        assert!(timers.deadline().unwrap() <= now + 5 * SECOND / 4);
        while now < 62 * SECOND {
            poll(&mut timers, &[Awaited::Acknowledgement], now).unwrap();
            timers.useful(now);
            now += SECOND / 10;
        }
        // Not heard any more, it is given up as any that is silent.
        let useful = now;
        timers.useful(useful);
        while poll(&mut timers, &[Awaited::Acknowledgement], now).is_some() {
            now = timers.deadline().unwrap();
        }
        assert_eq!(now, useful + 60 * SECOND);
    }

    #[test]
    fn repetitions_are_counted_and_progress_begins_anew() {
        let mut timers = Timers::new(SECOND, 10 * SECOND, 7);
        assert_eq!(poll(&mut timers, &[Awaited::Hello], Duration::ZERO), Some(vec![]));
        for repeated in 1..4 {
            let at = timers.deadline().unwrap();
            assert_eq!(poll(&mut timers, &[Awaited::Hello], at), Some(vec![Awaited::Hello]));
            assert_eq!(timers.repeated(Awaited::Hello), repeated);
        }
        assert!(!timers.is_stale(10 * SECOND - Duration::from_nanos(1)) && timers.is_stale(10 * SECOND));
        timers.useful(5 * SECOND);
        timers.progress(Awaited::Hello);
        assert_eq!(timers.repeated(Awaited::Hello), 0);
        assert!(!timers.is_stale(10 * SECOND) && timers.is_stale(15 * SECOND));
        assert_eq!(Pace::new(4 * SECOND).interval(), SECOND);
    }

    #[test]
    fn reactions_are_no_faster_than_their_pace() {
        let mut pace = Pace::new(4 * SECOND);
        let mut count = 0;
        for ms in 0..10_000 {
            count += u32::from(pace.allows(Reaction::Again, Duration::from_millis(ms)));
        }
        assert_eq!(count, 10);
        assert!(pace.allows(Reaction::Round, Duration::ZERO), "each has its own");
    }

    #[test]
    fn a_session_that_awaits_nothing_is_never_called() {
        let mut timers = Timers::new(SECOND, 10 * SECOND, 7);
        for i in 0..100 {
            assert!(poll(&mut timers, &[Awaited::Turn], 9 * SECOND * i).is_some());
            timers.useful(9 * SECOND * i);
            timers.progress(Awaited::Turn);
        }
        assert_eq!(poll(&mut timers, &[], Duration::MAX), Some(vec![]));
        assert_eq!(timers.deadline(), None);
        assert_eq!(poll(&mut timers, &[Awaited::Turn], 2000 * SECOND), Some(vec![]));
    }
}
