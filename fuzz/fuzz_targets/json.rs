//! Any bytes as JSON, or as what a cell of a document holds: what is read is what was written.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftless_fuzz::json::run(data));
