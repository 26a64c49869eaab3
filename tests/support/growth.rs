//! How what something costs grows: whatever the machine, what is in proportion stays so.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::time::Duration;

#[path = "processor.rs"]
mod processor;

use processor::now;

/// Fails if what takes some time for `n` things takes eight times as long or more for four times as many: four is in
/// proportion, sixteen is quadratic. Both are measured one after the other, in twelve rounds at most, of which two must be in
/// proportion: caches that others fill, and a machine that is faster for a while, make single rounds differ.
#[track_caller]
pub(crate) fn grows_in_proportion(what: &str, n: usize, run: impl Fn(usize) -> Duration) {
    let (mut small, mut large, mut good) = (Duration::MAX, Duration::MAX, 0);
    for round in 1..=12 {
        // The two of a round are compared: a machine may be twice as fast for a while.
        let (one, four) = (run(n), run(4 * n));
        (small, large) = (small.min(one), large.min(four));
        good += u32::from(four < 8 * one);
        if good == 2 {
            println!("{what}: {one:?} for {n}, {four:?} for four times as many, in round {round}");
            return;
        }
    }
    panic!("{what}: {small:?} for {n}, {large:?} for four times as many");
}

/// What it takes of the processor.
pub(crate) fn time<R>(run: impl FnOnce() -> R) -> Duration {
    let start = now();
    let result = run();
    let elapsed = now() - start;
    drop(result);
    elapsed
}
