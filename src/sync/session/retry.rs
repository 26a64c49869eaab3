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
}

#[derive(Clone, Copy)]
struct Waiting {
    /// When something of use last came, or the waiting began.
    since: Duration,
    next: Duration,
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
        Self { after, patience, seed, attempts: 0, waiting: None }
    }

    /// How often it was said again, since something of use last came.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Something of use has come.
    pub(super) fn progress(&mut self) {
        self.attempts = 0;
        self.waiting = None;
    }

    /// Call often, with whether anything is waited for.
    pub(super) fn poll(&mut self, waits: bool, now: Duration) -> Due {
        if !waits {
            self.progress();
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
    fn progress_begins_anew_and_who_waits_for_nothing_is_never_called() {
        let mut retry = Retry::new(SECOND, 10 * SECOND, 7);
        for i in 0..100 {
            assert_ne!(retry.poll(true, 9 * SECOND * i), Due::GiveUp);
            retry.progress();
        }
        assert_eq!(retry.poll(false, Duration::MAX), Due::Nothing);
        assert_eq!(retry.deadline(), None);
        assert_eq!(retry.poll(true, Duration::MAX), Due::Nothing);
    }
}
