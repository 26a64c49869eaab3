//! Two sessions over a network that the input controls: what is alive is what must be, and once the network is clean both
//! get equal.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftless_fuzz::sessions::run(data));
