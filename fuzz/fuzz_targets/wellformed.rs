//! Deltas that are well-formed and that nobody would make: merged whole or refused whole, and all that reads, settles,
//! reverts, saves and syncs goes on.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftless_fuzz::wellformed::run(data));
