//! Any bytes as a saved state: an error, or a consistent graph that saves, loads again and can be edited.
#![no_main]

use driftless::testing::{TestEnvironment, repair_checksum};
use driftless::{Graph, Replica};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    repair_checksum(&mut bytes);
    let Ok(mut replica) = Replica::<Graph>::load_with(TestEnvironment::new(1), &bytes) else { return };
    replica.state().check_invariants().expect("a consistent graph");
    let again = Replica::<Graph>::load_with(TestEnvironment::new(2), &replica.save());
    assert!(again.expect("what was saved").state() == replica.state());
    // Counters may be used up; else it goes on from whatever owner the bytes name.
    if replica.edit(|g| g.add_node("one more")).is_ok() {
        replica.state().check_invariants().expect("a consistent graph");
        let again = Replica::<Graph>::load_with(TestEnvironment::new(3), &replica.save());
        assert!(again.expect("what was saved").state() == replica.state());
    }
});
