//! Any bytes as a saved state: an error, or a consistent graph that saves and loads again.
#![no_main]

use driftless::testing::{TestEnvironment, repair_checksum};
use driftless::{Graph, Replica};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    repair_checksum(&mut bytes);
    let Ok(mut replica) = Replica::<Graph>::resume_with(TestEnvironment::new(1), &bytes, None) else { return };
    replica.state().check_invariants().expect("a consistent graph");
    let again = Replica::<Graph>::resume_with(TestEnvironment::new(2), &replica.save().0, None);
    assert!(again.expect("what was saved").state() == replica.state());
});
