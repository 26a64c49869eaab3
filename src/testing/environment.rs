//! Time and randomness that replay exactly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::kernel::Environment;

/// A clock that stands still until it is moved, and ids that follow from a seed.
#[derive(Clone, Debug)]
pub struct TestEnvironment {
    now: Arc<AtomicU64>,
    random: u64,
}

impl TestEnvironment {
    /// When the clock starts, in milliseconds.
    pub(super) const START: u64 = 1_000_000;

    /// An environment at one million milliseconds.
    pub fn new(seed: u64) -> Self {
        Self { now: Arc::new(AtomicU64::new(Self::START)), random: seed }
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
