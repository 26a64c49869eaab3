//! What bytes from strangers can do: nothing but return an error.

mod support;

use driftless::kernel::{Entity, MAX_FIELD_LEN, MAX_PAYLOAD_LEN, Payload};
use driftless::testing::{Raw, TestEnvironment, repair_checksum};
use driftless::{Crdt, DecodeError, Delta, DeltaKind, DotSet, EditError, Graph, NodeId, Replica, Value, Version};
use proptest::prelude::*;
use support::{replica, samples};

#[test]
fn every_kind_survives_its_bytes() {
    let s = samples();
    for delta in [&s.incremental, &s.complete, &s.reconciled] {
        let bytes = delta.to_bytes();
        let again = Delta::from_bytes(&bytes).unwrap();
        assert_eq!(&again, delta);
        assert_eq!(again.to_bytes(), bytes);
    }
    assert!(matches!(s.incremental.kind(), DeltaKind::Incremental));
    assert!(matches!(s.complete.kind(), DeltaKind::Complete));
    assert!(matches!(s.reconciled.kind(), DeltaKind::Reconciled { dead, .. } if !dead.is_empty()));
    let loaded = Replica::<Graph>::load(&s.state).unwrap();
    assert_eq!(loaded.state().state().tombstones_len(), 1);
}

#[test]
fn equal_states_have_equal_bytes_however_they_came_about() {
    let (mut a, mut b) = (replica(1), replica(2));
    let (_, first) = a.edit(|g| g.add_node("x").and_then(|x| g.set(x, "/p", 1))).unwrap();
    let (_, second) = b.edit(|g| g.add_node("y").and_then(|y| g.set(y, "/q", 2))).unwrap();
    a.merge(&second).unwrap();
    b.merge(&first).unwrap();
    assert_eq!(a.complete().to_bytes(), b.complete().to_bytes());
}

#[test]
fn every_truncation_and_every_flipped_bit_is_found() {
    let s = samples();
    for bytes in [s.incremental.to_bytes(), s.complete.to_bytes(), s.reconciled.to_bytes()] {
        for len in 0..bytes.len() {
            assert!(Delta::from_bytes(&bytes[..len]).is_err());
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Delta::from_bytes(&damaged).is_err(), "bit {bit}");
        }
    }
    for len in 0..s.state.len() {
        assert!(Replica::<Graph>::load(&s.state[..len]).is_err());
    }
}

/// Decodes damaged bytes whose checksum fits. What decodes must encode to the same bytes, and merging it must leave a
/// consistent state or none of it.
fn judge(bytes: &[u8], receiver: &Replica<Graph>) -> Result<bool, String> {
    let Ok(delta) = Delta::from_bytes(bytes) else { return Ok(false) };
    if delta.to_bytes() != bytes {
        return Err("decoded to something that other bytes spell".into());
    }
    let mut target = receiver.fork_with(TestEnvironment::new(99));
    let before = target.snapshot();
    match target.merge(&delta) {
        Ok(_) => target.state().check_invariants()?,
        Err(_) if target.state() == &before => {}
        Err(error) => return Err(format!("changed though it was refused: {error}")),
    }
    // Reading whatever it brought does not panic.
    let graph = target.state();
    for node in graph.nodes() {
        let _ = (node.name(), node.labels().count(), node.properties().iter().count());
        let _ = (graph.outgoing(node.id()).count(), graph.neighbors(node.id()).count());
    }
    let _ = (graph.edges().count(), graph.dangling().count(), graph.hidden().count());
    graph.conflicts().for_each(|conflict| drop(conflict.to_string()));
    Ok(true)
}

#[test]
fn damage_behind_a_fitting_checksum_is_found_or_harmless() {
    let s = samples();
    let (mut read, mut all) = (0, 0);
    for bytes in [s.incremental.to_bytes(), s.complete.to_bytes(), s.reconciled.to_bytes()] {
        for i in 15..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0x90, 0xc0, 0xc4, 0xcf, 0xdd, 0xff, bytes[i] ^ 1, bytes[i] ^ 0x10] {
                let mut damaged = bytes.clone();
                damaged[i] = value;
                repair_checksum(&mut damaged);
                read += usize::from(judge(&damaged, &s.receiver).unwrap_or_else(|e| panic!("byte {i} = {value}: {e}")));
                all += 1;
            }
        }
    }
    assert!(read * 50 > all, "only {read} of {all} got as far as a merge");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn heavier_damage_is_found_or_harmless(
        which in 0..3usize,
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..4usize, prop::collection::vec(any::<u8>(), 0..4)), 1..4),
    ) {
        let s = samples();
        let mut bytes = [&s.incremental, &s.complete, &s.reconciled][which].to_bytes();
        // The length takes two bytes, which are set right below.
        let body = bytes.split_off(17);
        let mut body = body;
        for (at, remove, insert) in cuts {
            let at = at.index(body.len());
            let end = (at + remove).min(body.len());
            body.splice(at..end, insert);
        }
        bytes[15] = body.len() as u8 | 0x80;
        bytes[16] = (body.len() >> 7) as u8;
        bytes.extend(body);
        repair_checksum(&mut bytes);
        judge(&bytes, &s.receiver).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn noise_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Delta::from_bytes(&bytes).is_err());
        prop_assert!(Replica::<Graph>::load(&bytes).is_err());
    }
}

#[test]
fn what_a_peer_asks_by_survives_its_bytes_and_nothing_else_does() {
    let s = samples();
    let (version, dots) = (s.receiver.version().clone(), s.receiver.live_dots());
    assert!(!dots.is_empty() && !version.is_empty());
    let messages = [version.to_bytes(), dots.to_bytes()];
    assert_eq!(Version::from_bytes(&messages[0]), Ok(version));
    assert_eq!(DotSet::from_bytes(&messages[1]), Ok(dots));
    assert!(Version::from_bytes(&messages[1]).is_err() && DotSet::from_bytes(&messages[0]).is_err());
    for bytes in messages {
        for len in 0..bytes.len() {
            assert!(Version::from_bytes(&bytes[..len]).is_err() && DotSet::from_bytes(&bytes[..len]).is_err());
        }
        for i in 15..bytes.len() {
            for value in 0..=255 {
                let mut damaged = bytes.clone();
                damaged[i] = value;
                repair_checksum(&mut damaged);
                assert!(
                    Version::from_bytes(&damaged).is_ok_and(|v| v.to_bytes() == damaged)
                        || DotSet::from_bytes(&damaged).is_ok_and(|d| d.to_bytes() == damaged)
                        || Version::from_bytes(&damaged).is_err() && DotSet::from_bytes(&damaged).is_err()
                );
            }
        }
    }
}

#[test]
fn a_delta_is_no_state_and_a_state_no_delta() {
    let s = samples();
    assert!(matches!(Delta::from_bytes(&s.state), Err(DecodeError::Kind { .. })));
    assert!(matches!(Replica::<Graph>::load(&s.complete.to_bytes()), Err(DecodeError::Kind { .. })));
    let other = Replica::<driftless::testing::Raw>::load(&s.state);
    assert!(matches!(other, Err(DecodeError::Schema { found, .. }) if found == "driftless.graph"));
}

/// A mesh can be upgraded peer by peer: what a later version writes passes through this one unharmed.
#[test]
fn what_this_version_does_not_know_is_kept_merged_and_passed_on() {
    let (mut later, mut here, mut another) = (replica(1), replica(2), replica(3));
    let unknown = Entity::new(200, [3; 16]);
    later
        .edit(|g| {
            let ada = g.add_node("ada")?;
            g.set(ada, "/name", "Ada")?;
            let on_node = Entity::new(1, *ada.as_bytes());
            g.write(on_node, &[99, 1], Payload::new(255, &[5; 60]))?;
            g.write(on_node, b"\x02name\x00\xfe\x00\x02", Payload::new(254, b"a kind to come"))?;
            g.write(unknown, b"", Payload::new(253, b"root"))
        })
        .unwrap();
    here.merge(&later.delta_since(here.version()).unwrap()).unwrap();
    let bytes = here.save();
    let reopened = Replica::<Graph>::load(&bytes).unwrap();
    another.merge(&reopened.delta_since(another.version()).unwrap()).unwrap();
    assert_eq!(another.state(), later.state());
    let ada = another.state().node(NodeId::named("ada")).unwrap();
    assert_eq!(ada.get("/name"), Some(Value::Unknown { kind: 254, bytes: b"a kind to come" }));
    assert!(matches!(
        another.edit(|g| g.set(NodeId::named("ada"), "/name", Value::Unknown { kind: 254, bytes: b"" })),
        Err(EditError::UnknownKind(254)),
    ));
    // Deleting the node takes with it what is not known.
    another.edit(|g| g.remove_node(NodeId::named("ada"))).unwrap();
    assert_eq!(another.state().state().live_len(), 1);
}

#[test]
fn what_peers_would_refuse_cannot_be_written() {
    let mut a = replica(1);
    let too_long = "x".repeat(5000);
    let huge = vec![0u8; MAX_PAYLOAD_LEN + 1];
    let ada = NodeId::named("ada");
    a.edit(|g| g.add_node("ada")).unwrap();
    let before = a.snapshot();
    let results = [
        a.edit(|g| g.label(ada, &too_long)).map(|_| ()),
        a.edit(|g| g.link(ada, &too_long, ada)).map(|_| ()),
        a.edit(|g| g.add_node(&too_long)).map(|_| ()),
        a.edit(|g| g.set(ada, format!("/{too_long}"), 1)).map(|_| ()),
        a.edit(|g| g.set(ada, "/big", Value::Bytes(&huge))).map(|_| ()),
        a.edit(|g| g.set(ada, "name", 1)).map(|_| ()),
        a.edit(|g| g.set(ada, "/a".repeat(65), 1)).map(|_| ()),
        a.edit(|g| g.set(ada, "/nan", f64::NAN)).map(|_| ()),
        a.edit(|g| g.set(NodeId::named("nobody"), "/name", 1)).map(|_| ()),
        a.edit(|g| g.label(NodeId::named("nobody"), "x")).map(|_| ()),
    ];
    for (i, result) in results.iter().enumerate() {
        assert!(result.is_err(), "{i}");
    }
    assert_eq!(a.state(), &before);

    // The longest that they take can be written, and is read.
    let mut raw = Replica::<Raw>::with_environment(TestEnvironment::new(9));
    let longest = [vec![7; MAX_FIELD_LEN], vec![7; MAX_PAYLOAD_LEN]];
    let write = |field: &[u8], content: &[u8], raw: &mut Replica<Raw>| {
        raw.edit(|r| r.write(Entity::SELF, field, Payload::new(1, content)).map(drop)).map(drop)
    };
    write(&longest[0], &longest[1], &mut raw).unwrap();
    let delta = raw.complete();
    assert_eq!(Delta::from_bytes(&delta.to_bytes()), Ok(delta));
    let too_long = write(&[7; MAX_FIELD_LEN + 1], b"", &mut raw).unwrap_err();
    assert!(matches!(too_long, EditError::KeyTooLong { path: None, len: 4097, limit: MAX_FIELD_LEN }), "{too_long}");
    let too_long = write(b"f", &huge, &mut raw).unwrap_err();
    assert!(
        matches!(too_long, EditError::ValueTooLong { path: None, len: 16_777_217, limit: MAX_PAYLOAD_LEN }),
        "{too_long}"
    );
}
