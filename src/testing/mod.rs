//! A test kit: for the tests of this crate, and for those of types that others build on it.
//!
//! - [`TestEnvironment`]: time and randomness that replay exactly.
//! - [`Raw`]: the kernel with nothing on top, to write any cell.
//! - [`Oracle`]: what must be alive, recomputed from the list of all writes by a rule that shares no code with the kernel.

mod oracle;
mod raw;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use oracle::Oracle;
pub use raw::Raw;

use crate::kernel::Environment;

/// A clock that stands still until it is moved, and ids that follow from a seed.
#[derive(Clone, Debug)]
pub struct TestEnvironment {
    now: Arc<AtomicU64>,
    random: u64,
}

impl TestEnvironment {
    /// An environment at one million milliseconds.
    pub fn new(seed: u64) -> Self {
        Self { now: Arc::new(AtomicU64::new(1_000_000)), random: seed }
    }

    /// The hands of the clock, to keep outside the replica and move.
    pub fn clock(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.now)
    }
}

impl Environment for TestEnvironment {
    fn now_ms(&mut self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn random(&mut self) -> [u8; 16] {
        let mut word = || {
            // SplitMix64 (Steele, Lea, Flood 2014).
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        };
        (u128::from(word()) << 64 | u128::from(word())).to_be_bytes()
    }
}

/// Makes the checksum of a message fit its other bytes, so that damage reaches what lies behind it.
pub fn repair_checksum(message: &mut [u8]) {
    crate::codec::repair_checksum(message);
}

/// How many cells cutting, merging and comparing have looked at (of an entity that a comparison only passes, one) on this thread since the last call.
pub fn cells_visited() -> usize {
    crate::kernel::visits::take()
}
