//! The environment of a process that was copied with its memory.

use driftless::Environment;

/// Gives the same clock and the same randomness to all: two stores that are opened with it write as one writer.
pub(crate) struct Copied;

impl Environment for Copied {
    fn now_ms(&mut self) -> u64 {
        1_000_000
    }

    fn random(&mut self) -> [u8; 16] {
        [5; 16]
    }
}
