//! Any bytes as frames, at any point of a conversation: no panic, no change without a delta that was merged, and an honest
//! peer is understood afterwards.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftless_fuzz::frame::run(data));
