//! Time and heap of this process: for both binaries that compare libraries.

use std::alloc::System;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts live bytes of the heap.
///
/// `stats_alloc`, because it hands each call on to the allocator of the system, reallocations too. `peak_alloc`, with
/// which the library's own benches count, copies at each reallocation, which would slow the growth of large buffers down.
#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Live bytes of the heap.
pub(crate) fn live() -> isize {
    let stats = HEAP.stats();
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

/// The processor's time that this process has had, all threads together: neighbours on a busy machine disturb it less than
/// a clock on the wall.
#[cfg(unix)]
pub(crate) fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

#[cfg(not(unix))]
pub(crate) fn now() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}
