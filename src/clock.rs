//! The hybrid logical clock (Kulkarni, Demirbas et al.: *Logical Physical Clocks*, 2014). Time is passed in.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// When a write was made: 48 bits of milliseconds since 1970 and a 16-bit counter for what happened within one.
///
/// A stamp orders *concurrent* writes and dates them, nothing else: a write that has seen another beats it whatever the
/// stamps say.
///
/// Serialised it is its milliseconds and its counter: as one number it would be more than JavaScript can hold.
///
/// ```
/// use driftless::Stamp;
/// let stamp = Stamp::new(1_700_000_000_000, 3);
/// let json = serde_json::to_string(&stamp)?;
/// assert_eq!(json, r#"{"millis":1700000000000,"counter":3}"#);
/// assert_eq!(serde_json::from_str::<Stamp>(&json)?, stamp);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(u64);

#[derive(Serialize, Deserialize)]
#[serde(rename = "Stamp")]
struct Parts {
    millis: u64,
    counter: u16,
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Parts { millis: self.millis(), counter: self.counter() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Parts::deserialize(deserializer)? {
            Parts { millis, counter } if millis <= MAX_MILLIS => Ok(Self::new(millis, counter)),
            Parts { millis, .. } => {
                Err(D::Error::custom(format!("{millis} milliseconds do not fit in the 48 bits of a stamp")))
            }
        }
    }
}

/// Milliseconds are kept in 48 bits: enough until the year 10889.
const MAX_MILLIS: u64 = (1 << 48) - 1;

/// A stamp further ahead of the local clock than this is merged and reported, but does not drag the local clock along:
/// one device with a wrong clock must not push everybody's stamps into next year. Five minutes is far beyond what
/// time synchronisation leaves and far below what a wrong time zone makes.
pub const MAX_DRIFT_MILLIS: u64 = 5 * 60 * 1000;

impl Stamp {
    /// The stamp of a millisecond and a counter within it. Milliseconds past 48 bits count as the last one.
    pub const fn new(millis: u64, counter: u16) -> Self {
        let millis = if millis > MAX_MILLIS { MAX_MILLIS } else { millis };
        Self(millis << 16 | counter as u64)
    }

    /// Milliseconds since 1970-01-01 UTC, by the clock of whoever wrote.
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// The counter within the millisecond.
    pub const fn counter(self) -> u16 {
        self.0 as u16
    }

    /// The stamp as one number that sorts alike.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The inverse of [`to_bits`](Self::to_bits).
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether this stamp lies so far ahead of `now_ms` that the clock which made it must be wrong.
    pub const fn is_ahead_of(self, now_ms: u64) -> bool {
        self.millis() > now_ms.saturating_add(MAX_DRIFT_MILLIS)
    }
}

/// The millisecond as RFC 3339 has it, in UTC; past the year 9999 as a number.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The last millisecond of the year 9999.
        const LAST: u64 = 253_402_300_799_999;
        match self.millis() {
            millis @ 0..=LAST => {
                let time = UNIX_EPOCH + Duration::from_millis(millis);
                humantime::format_rfc3339_millis(time).fmt(f)
            }
            millis => write!(f, "{millis} ms"),
        }
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stamp({}.{})", self.millis(), self.counter())
    }
}

/// The clock of one replica: follows the stamps that it merges, and grows as long as the local clock is right to within
/// [`MAX_DRIFT_MILLIS`].
///
/// The drift limit holds for the replica's own past too. A local clock that ran a year ahead and was put right leaves a
/// last stamp in next year; the next write is stamped with the present, not with next year.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HybridClock {
    last: Stamp,
}

impl HybridClock {
    /// Returns the stamp of a write made at `now_ms`.
    ///
    /// If the last stamp lies within the drift limit, the new one is greater. At the limit itself, and in the last
    /// millisecond that a stamp can hold, it stays equal: own writes that fast must not carry the clock past the limit,
    /// where it would be let go. If the last stamp lies beyond the limit, it is forgotten.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Stamp {
        let limit = Stamp::new(now_ms.saturating_add(MAX_DRIFT_MILLIS), u16::MAX);
        let next = match self.last <= limit {
            true => Stamp(self.last.0.saturating_add(1)).min(limit),
            false => Stamp::default(),
        };
        self.last = Stamp::new(now_ms, 0).max(next);
        self.last
    }

    /// Follows a stamp seen in a merge. Returns false, and does not follow, if it is far ahead of `now_ms`.
    pub(crate) fn observe(&mut self, stamp: Stamp, now_ms: u64) -> bool {
        let plausible = !stamp.is_ahead_of(now_ms);
        if plausible {
            self.last = self.last.max(stamp);
        }
        plausible
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_does_not_run_backwards() {
        let mut clock = HybridClock::default();
        let first = clock.tick(MAX_DRIFT_MILLIS + 10);
        let second = clock.tick(10);
        assert!(second > first);
    }

    #[test]
    fn a_clock_that_ran_a_year_ahead_and_was_put_right_stamps_the_present() {
        let (now, year) = (1_700_000_000_000, 365 * 24 * 3_600_000);
        let mut clock = HybridClock::default();
        assert_eq!(clock.tick(now + year).millis(), now + year);
        assert_eq!(clock.tick(now), Stamp::new(now, 0));
        // Put right while a merge came between.
        clock.tick(now + year);
        assert!(clock.observe(Stamp::new(now - 1, 7), now));
        assert_eq!(clock.tick(now), Stamp::new(now, 0));
        assert!(clock.tick(now) > Stamp::new(now, 0));
    }

    #[test]
    fn writes_at_the_limit_of_drift_do_not_push_the_clock_past_it() {
        let (mut clock, now) = (HybridClock::default(), 1_000_000);
        let limit = Stamp::new(now + MAX_DRIFT_MILLIS, u16::MAX);
        assert!(clock.observe(limit, now));
        for _ in 0..3 {
            assert_eq!(clock.tick(now), limit);
        }
        assert!(clock.tick(now + 1) > limit);
    }

    #[test]
    fn a_million_writes_in_one_millisecond_stay_ordered() {
        let mut clock = HybridClock::default();
        let mut last = clock.tick(7);
        for _ in 0..1_000_000 {
            let next = clock.tick(7);
            assert!(next > last);
            last = next;
        }
        assert_eq!(last.millis(), 7 + 1_000_000 / 65_536);
    }

    #[test]
    fn a_stamp_from_next_year_does_not_drag_the_clock_along() {
        let mut clock = HybridClock::default();
        let now = 1_000_000;
        assert!(!clock.observe(Stamp::new(now + MAX_DRIFT_MILLIS + 1, 0), now));
        assert_eq!(clock.tick(now).millis(), now);
        assert!(clock.observe(Stamp::new(now + MAX_DRIFT_MILLIS, 0), now));
        assert_eq!(clock.tick(now).millis(), now + MAX_DRIFT_MILLIS);
    }

    #[test]
    fn the_last_stamp_of_all_saturates() {
        let mut clock = HybridClock { last: Stamp::from_bits(u64::MAX) };
        assert_eq!(clock.tick(u64::MAX), Stamp::from_bits(u64::MAX));
    }
}
