//! Any bytes as files of a shared folder, beside good ones: what is good arrives, what is not is reported.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftless_fuzz::folder_file::run(data));
