//! When to say something again, and when to give up.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How often the time between two attempts doubles.
const DOUBLINGS: u32 = 4;

/// Exponential back-off with jitter.
pub(super) struct Retry {
    after: Duration,
    patience: Duration,
    seed: u64,
    attempts: u32,
    /// Set while something is waited for.
    waiting: Option<Waiting>,
    /// When something of use last came.
    useful: Duration,
}

#[derive(Clone, Copy)]
struct Waiting {
    /// When something of use last came, or the waiting began.
    since: Duration,
    next: Duration,
}

/// What a peer can make us do by saying little: each at most once in a while, however often it asks. It will ask again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reaction {
    /// To say hello again.
    Hello,
    /// To say again where we stand.
    Announce,
    /// To begin again with what is being sent.
    Restart,
    /// To send again what was sent.
    Again,
    /// To look through all that is alive.
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

/// What the time says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Nothing,
    Again,
    GiveUp,
}

impl Retry {
    pub(super) fn new(after: Duration, patience: Duration, seed: u64) -> Self {
        Self { after, patience, seed, attempts: 0, waiting: None, useful: Duration::ZERO }
    }

    /// How often it was said again, since something of use last came.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Something of use has come.
    pub(super) fn progress(&mut self, now: Duration) {
        self.attempts = 0;
        self.waiting = None;
        self.useful = now;
    }

    /// Whether nothing of use has come for as long as we are patient.
    pub(super) fn is_stale(&self, now: Duration) -> bool {
        now.saturating_sub(self.useful) >= self.patience
    }

    /// Call often, with whether anything is waited for.
    pub(super) fn poll(&mut self, waits: bool, now: Duration) -> Due {
        if !waits {
            self.attempts = 0;
            self.waiting = None;
            return Due::Nothing;
        }
        let delay = self.delay();
        let waiting = self.waiting.get_or_insert(Waiting { since: now, next: now.saturating_add(delay) });
        if now.saturating_sub(waiting.since) >= self.patience {
            return Due::GiveUp;
        }
        if now < waiting.next {
            return Due::Nothing;
        }
        self.attempts = self.attempts.saturating_add(1);
        let next = now.saturating_add(self.delay());
        if let Some(waiting) = &mut self.waiting {
            waiting.next = next;
        }
        Due::Again
    }

    /// When to poll again at the latest.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let waiting = self.waiting?;
        Some(waiting.next.min(waiting.since.saturating_add(self.patience)))
    }

    /// Doubled with each attempt, a quarter less or more: two that began at once do not stay in step.
    fn delay(&self) -> Duration {
        let doubled = self.after.saturating_mul(1 << self.attempts.min(DOUBLINGS));
        let random = xxh3_64_with_seed(&self.attempts.to_le_bytes(), self.seed) % 512;
        doubled.saturating_mul(768 + random as u32) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn attempts_are_further_and_further_apart_and_end() {
        let mut retry = Retry::new(SECOND, 100 * SECOND, 7);
        let (mut now, mut times) = (Duration::ZERO, Vec::new());
        loop {
            match retry.poll(true, now) {
                Due::Nothing => {}
                Due::Again => times.push(now),
                Due::GiveUp => break,
            }
            now = retry.deadline().unwrap();
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
    fn attempts_are_counted_and_what_is_of_no_use_is_no_progress() {
        let mut retry = Retry::new(SECOND, 10 * SECOND, 7);
        assert_eq!(retry.poll(true, Duration::ZERO), Due::Nothing);
        for attempts in 1..4 {
            let at = retry.deadline().unwrap();
            assert_eq!((retry.poll(true, at), retry.attempts()), (Due::Again, attempts));
        }
        assert!(!retry.is_stale(10 * SECOND - Duration::from_nanos(1)) && retry.is_stale(10 * SECOND));
        retry.progress(5 * SECOND);
        assert_eq!(retry.attempts(), 0);
        assert!(!retry.is_stale(10 * SECOND) && retry.is_stale(15 * SECOND));
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
    fn progress_begins_anew_and_who_waits_for_nothing_is_never_called() {
        let mut retry = Retry::new(SECOND, 10 * SECOND, 7);
        for i in 0..100 {
            assert_ne!(retry.poll(true, 9 * SECOND * i), Due::GiveUp);
            retry.progress(9 * SECOND * i);
        }
        assert_eq!(retry.poll(false, Duration::MAX), Due::Nothing);
        assert_eq!(retry.deadline(), None);
        assert_eq!(retry.poll(true, 2000 * SECOND), Due::Nothing);
    }
}
