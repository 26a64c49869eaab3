//! Any bytes as a delta: an error, or a delta of exactly these bytes (if they are not compressed) whose merge leaves a consistent graph.
#![no_main]

use std::sync::OnceLock;

use driftless::testing::{TestEnvironment, repair_checksum};
use driftless::{Delta, Graph, Replica};
use libfuzzer_sys::fuzz_target;

/// A saved graph for deltas to collide with.
fn receiver() -> Replica<Graph> {
    static SAVED: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = SAVED.get_or_init(|| {
        let mut replica = Replica::<Graph>::with_environment(TestEnvironment::new(1));
        let edit = replica.edit(|g| {
            let (a, b) = (g.add_node("a")?, g.add_node("b")?);
            g.label(a, "Thing")?;
            g.set(a, "/name", "A")?;
            g.link(a, "knows", b)?;
            g.unset(a, "/name")
        });
        edit.expect("a plain edit");
        replica.save()
    });
    Replica::load_with(TestEnvironment::new(2), bytes).expect("what was saved")
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    repair_checksum(&mut bytes);
    let Ok(delta) = Delta::from_bytes(&bytes) else { return };
    let written = delta.to_bytes();
    let (format, flags) = (bytes[4], bytes[6]);
    match (format, flags) {
        // Nothing is written in the format before.
        (2, _) => assert_eq!(Delta::from_bytes(&written).as_ref(), Ok(&delta)),
        (_, 0) => assert_eq!(written, bytes),
        // One content has many compressed forms.
        _ => {
            assert_eq!(Delta::from_bytes(&written).as_ref(), Ok(&delta));
            assert_eq!(Delta::from_bytes(&delta.to_bytes_compressed()).as_ref(), Ok(&delta));
        }
    }
    let mut replica = receiver();
    let before = replica.snapshot();
    match replica.merge(&delta) {
        Ok(_) => replica.state().check_invariants().expect("a consistent graph"),
        Err(_) => assert!(replica.state() == &before),
    }
});
