//! Moves in a tree on three replicas: what shows is what the definition says, whatever was forged.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftless_fuzz::trees::run(data));
