//! Edits of a text on three replicas, and cells that nobody would write: what shows is what the definition says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftless_fuzz::texts::run(data));
