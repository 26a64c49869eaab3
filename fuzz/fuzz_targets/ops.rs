//! Sequences of operations on three replicas: each reads what a model says that it must.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftless_fuzz::ops::run(data));
