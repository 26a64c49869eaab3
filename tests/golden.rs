//! Messages of every kind as files, in `tests/golden`: they stay readable, and mean what they meant.
//!
//! The files in `format-3` are of the format that is written. Those beside them are of format 2, which is still read: each as the file
//! of the same name in `format-3`. Format 1, which was never released, is refused, and one file of it (`format-1`) shows so. From
//! the first release on the format only changes with a version step: a test here that fails means that files and saved
//! states in the world cannot be read any longer, or are read as something else. Whoever changes the format raises its
//! version, keeps reading the old one, and adds files beside these; none of them is ever written anew.
//!
//! `cargo test --test golden -- --ignored` writes files that are missing; to see one change, delete it first.
//!
//! The files in `compressed` are the only ones that are not compared byte by byte, because another version of the compressor may write
//! other bytes for the same contents.
//!
//! A further kind of message is one more line in [`written`] and a test of what it says. What sessions say to each other is in
//! `golden_sessions`.

#[path = "support/conversation.rs"]
mod conversation;
#[path = "support/damage.rs"]
mod damage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use conversation::{Conversation, conversations};
use damage::{leb128, open};
use driftless::kernel::{Entity, Payload};
use driftless::sync::{self, Devices, Options, Reconciling, Session, Staged, Step, Turn};
use driftless::testing::TestEnvironment;
use driftless::{
    ConflictKind, Crdt, DecodeError, Delta, DeltaKind, Document, DotSet, DwFlag, EwFlag, GCounter, Graph, Kind,
    LwwRegister, MaxRegister, MergeError, MinRegister, Model, MvRegister, NodeId, OrMap, OrSet, Owner, PnCounter,
    Properties, Prune, Replica, RwSet, Value, Vector, Version, WriterId,
};
use serde_json::json;

fn before() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn directory() -> PathBuf {
    before().join("format-3")
}

#[track_caller]
fn golden(name: &str) -> Vec<u8> {
    in_file(&directory(), name)
}

/// A file of a format before the present one.
#[track_caller]
fn golden_before(name: &str) -> Vec<u8> {
    in_file(&before(), name)
}

#[track_caller]
fn in_file(directory: &Path, name: &str) -> Vec<u8> {
    let path = directory.join(format!("{name}.drift"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn delta(name: &str) -> Delta {
    let bytes = golden(name);
    let delta = Delta::from_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(delta.to_bytes(), bytes, "{name}");
    delta
}

/// A replica that merged these.
#[track_caller]
fn merged<T: Crdt>(names: &[&str]) -> Replica<T> {
    let mut replica = Replica::with_environment(TestEnvironment::new(99));
    names.iter().for_each(|name| drop(replica.merge(&delta(name)).unwrap_or_else(|error| panic!("{name}: {error}"))));
    replica
}

// ---- what is written ----

/// Every file, with what this version writes into it.
fn written() -> BTreeMap<String, Vec<u8>> {
    let mut all = graph();
    all.insert("document".into(), document().to_bytes());
    all.insert("texts".into(), texts().to_bytes());
    all.insert("lists".into(), lists().to_bytes());
    all.extend(standalone().into_iter().map(|(name, delta)| (name.to_owned(), delta.to_bytes())));
    let turns = conversation().turns;
    all.extend(turns.iter().enumerate().map(|(n, turn)| (format!("turn-{n}"), turn.to_bytes())));
    let whole = conversations().into_iter().find(|(name, _)| *name == "turn: whole").unwrap().1;
    all.insert("turn-whole".into(), whole.last().to_bytes());
    all.insert("later".into(), later().to_bytes());
    all.insert("openings".into(), openings().complete().to_bytes());
    all.insert("devices".into(), devices().to_bytes());
    all.insert("staged".into(), staged().1.to_bytes());
    all
}

/// Two replicas, with the hands of their clocks.
fn two<T: Crdt>() -> ([Replica<T>; 2], [Arc<AtomicU64>; 2]) {
    let environments = [TestEnvironment::new(1), TestEnvironment::new(2)];
    let clocks = [environments[0].clock(), environments[1].clock()];
    (environments.map(Replica::with_environment), clocks)
}

/// Moves the clocks of the two, the second a millisecond further.
fn later_by(millis: u64, clocks: &[Arc<AtomicU64>; 2]) {
    (0..).zip(clocks).for_each(|(ahead, clock)| {
        clock.fetch_add(millis + ahead, Ordering::Relaxed);
    });
}

const TEXT: &str = "naïve 日本語 🦀 e\u{301} \0 \"quoted\"";

/// A graph with everything in it that a graph can hold, as the delta of its beginnings and as each kind of message that
/// leads from there to its end.
fn graph() -> BTreeMap<String, Vec<u8>> {
    let ([mut a, mut b], clocks) = two::<Graph>();
    let [ada, note, gone] = ["person:ada", "note:g", "person:gone"].map(NodeId::named);
    let unnamed = NodeId::from([7; 16]);
    let model = |dimension| Model::new("models/ünï", dimension).unwrap();
    let (_, base) = a
        .edit(|g| {
            g.add_node("person:ada")?;
            g.label(ada, "Person")?;
            g.label(ada, "Émigrée")?;
            g.add_node("note:g")?;
            g.add_node("person:gone")?;
            g.add_node(unnamed)?;
            g.update(
                ada,
                "",
                &json!({
                    "name": "Ada",
                    "values": {
                        "null": null, "false": false, "true": true, "small": 7, "negative": -129, "least": i64::MIN,
                        "greatest": u64::MAX, "float": -1.5, "text": TEXT, "array": [1, [null, {"k": [0.5, "v"]}]],
                        "empty": {}, "a/b~c": "escaped", "": "no name",
                    },
                }),
            )?;
            let mut properties = g.properties_mut(ada);
            properties.set("/values/bytes", &[0u8, 255, 7][..])?;
            properties.add("/visits", 300)?;
            properties.insert("/languages", "en")?;
            properties.insert("/languages", 5)?;
            properties.raise("/trust", 0.25)?;
            properties.lower("/rank", 10)?;
            let edge = g.link(ada, "wrote", note)?;
            g.set(edge, "/year", 1843)?;
            g.link_numbered(ada, "wrote", note, 3)?;
            g.link(gone, "knows", ada)?;
            g.embed(ada, &model(3), &Vector::f32(&[0.1, -0.0, 3.5e-20]).unwrap().of_text("Ada"))?;
            g.embed(ada, &model(4), &Vector::f16(&[0.1, -2.0, 65504.0, 0.0]).unwrap())?;
            g.embed(note, &model(5), &Vector::i8(&[0.1, -2.0, 1.0, 0.0, 1.99]).unwrap().of_text("G"))?;
            g.set(note, "/draft", true)
        })
        .unwrap();
    b.merge(&base).unwrap();
    let at_base = (b.version().clone(), b.live_dots());

    later_by(1_500, &clocks);
    a.edit(|g| {
        g.set(ada, "/name", "Countess of Lovelace")?;
        g.set(ada, "/home", "London")?;
        g.unlabel(ada, "Émigrée")?;
        g.properties_mut(ada).add("/visits", -1)?;
        g.properties_mut(ada).insert("/languages", "fr")?;
        g.unset(note, "/draft")?;
        g.set(note, "/text", "edited while it was deleted")?;
        g.embed(ada, &model(3), &Vector::f32(&[1.0, 2.0, 3.0]).unwrap().of_text("Countess"))?;
        g.remove_node(gone).map(drop)
    })
    .unwrap();
    b.edit(|g| {
        g.set(ada, "/name", "Augusta Ada King")?;
        g.set(ada, "/home/city", "Ockham")?;
        g.properties_mut(ada).add("/visits", 41)?;
        g.properties_mut(ada).remove("/languages", 5)?;
        g.properties_mut(ada).raise("/trust", 2)?;
        g.properties_mut(ada).lower("/rank", -3)?;
        g.embed(ada, &model(3), &Vector::f32(&[4.0, 5.0, 6.0]).unwrap().of_text("Augusta"))?;
        g.remove_node(note).map(drop)
    })
    .unwrap();
    a.merge(&b.delta_since(a.version()).unwrap()).unwrap();

    let incremental = a.delta_since(&at_base.0).unwrap();
    let state = a.save();
    let (version, dots) = (a.version().to_bytes(), a.live_dots().to_bytes());
    a.prune(Prune::All);
    let complete = a.complete();
    let reconciled = a.reconcile(&at_base.0, &at_base.1);
    [
        ("graph-base", base.to_bytes()),
        ("graph-incremental", incremental.to_bytes()),
        ("graph-complete", complete.to_bytes()),
        ("graph-reconciled", reconciled.to_bytes()),
        ("graph-state", state),
        ("graph-version", version),
        ("graph-dots", dots),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

/// Devices of which much, little and nothing is known.
fn devices() -> Devices {
    let mut devices = Devices::new();
    let all = graph();
    let [mut told, mut teller] = ["graph-base", "graph-complete"].map(|name| {
        let mut replica = Replica::<Graph>::with_environment(TestEnvironment::new(99));
        replica.merge(&Delta::from_bytes(&all[name]).unwrap()).unwrap();
        replica
    });
    let (_, with_pruned) = sync::in_memory(&mut told, &mut teller).unwrap();
    devices.acknowledge("phone", with_pruned.standing);
    devices.acknowledge("téléphone", version());
    devices.acknowledge("laptop", Version::new());
    devices
}

/// A document on which two disagree.
fn document() -> Delta {
    let ([mut a, mut b], _) = two::<Document>();
    let (_, delta) = b.edit(|d| d.update("", &json!({"bio": "theirs", "likes": ["tea"], "age": 36}))).unwrap();
    a.edit(|d| {
        d.update("", &json!({"bio": "ours", "likes": ["tea"], "address": {"city": "London", "geo": [51.5, -0.25]}}))?;
        d.add("/age", 7)?;
        d.insert("/interests", &b"bytes"[..])?;
        d.set("/removed", 1)
    })
    .unwrap();
    a.edit(|d| d.unset("/removed")).unwrap();
    a.merge(&delta).unwrap();
    a.delta_since(&Version::new()).unwrap()
}

/// Texts that two typed into: imports, rows that go on forward and backward, tombstones, letters in one cell, and an empty one.
fn texts() -> Delta {
    let ([mut a, mut b], clocks) = two::<Document>();
    a.edit(|d| d.text_mut("/note").update("naïve 日本 🦀")).unwrap();
    b.edit(|d| d.text_mut("/note").update("another")).unwrap();
    b.merge(&a.complete()).unwrap();
    for letter in ["r", "e", "v"] {
        later_by(90_000, &clocks);
        a.edit(|d| d.text_mut("/typed").insert(0, letter)).unwrap();
    }
    b.merge(&a.complete()).unwrap();
    a.edit(|d| d.text_mut("/typed").insert(3, "y")).unwrap();
    b.edit(|d| {
        d.text_mut("/typed").insert(2, "-")?;
        d.text_mut("/note").delete(2..5)?;
        d.text_mut("/empty").update("").map(drop)
    })
    .unwrap();
    let cell = b"\x02t\x00\xfe\x00\x07\x40\x00\x00\x01\x80";
    for (one, letter) in [(&mut a, "x"), (&mut b, "y")] {
        one.edit(|d| d.write(Entity::SELF, cell, Payload::new(23, letter.as_bytes())).map(drop)).unwrap();
    }
    a.merge(&b.complete_with_tombstones()).unwrap();
    a.delta_since(&Version::new()).unwrap()
}

/// Lists that two moved, removed and wrote to at once.
fn lists() -> Delta {
    let ([mut a, mut b], clocks) = two::<Document>();
    a.edit(|d| {
        d.update("/tags", &json!(["logic", "music"]))?;
        d.make_list("/tags")?;
        d.make_list("/empty")?;
        ["a", "b", "c"].iter().try_for_each(|n| d.list_mut("/l").push(&json!({"n": n, "in": {}})))?;
        d.make_list("/l/2/in/list")?;
        d.list_mut("/l/2/in/list").push(&1)?;
        d.text_mut("/l/0/text").insert(0, "typed")
    })
    .unwrap();
    b.merge(&a.complete()).unwrap();
    later_by(90_000, &clocks);
    a.edit(|d| {
        d.list_mut("/l").move_to(2, 0)?;
        d.list_mut("/tags").remove(0)?;
        d.list_mut("/tags").push(&())
    })
    .unwrap();
    b.edit(|d| {
        d.list_mut("/l").move_to(2, 1)?;
        d.list_mut("/tags").move_to(0, 1)?;
        d.set("/l/2/n", "B")
    })
    .unwrap();
    a.merge(&b.complete_with_tombstones()).unwrap();
    a.delta_since(&Version::new()).unwrap()
}

/// One of each type that stands alone, written to by two at once.
fn standalone() -> Vec<(&'static str, Delta)> {
    fn by_two<T: Crdt>(
        first: impl FnOnce(&mut driftless::Edit<'_, T>) -> Result<(), driftless::EditError>,
        second: impl FnOnce(&mut driftless::Edit<'_, T>) -> Result<(), driftless::EditError>,
    ) -> Delta {
        let ([mut a, mut b], clocks) = two::<T>();
        a.edit(first).unwrap();
        later_by(0, &clocks);
        let (_, delta) = b.edit(second).unwrap();
        a.merge(&delta).unwrap();
        a.complete()
    }
    let text = str::to_owned;
    vec![
        ("lww-register", by_two::<LwwRegister<String>>(|r| r.set(text("first")), |r| r.set(text("sécond")))),
        ("mv-register", by_two::<MvRegister<u64>>(|r| r.set(300), |r| r.set(u64::MAX))),
        ("max-register", by_two::<MaxRegister<i64>>(|r| r.raise(-5).map(drop), |r| r.raise(-7).map(drop))),
        ("min-register", by_two::<MinRegister<i64>>(|r| r.lower(-5).map(drop), |r| r.lower(-7).map(drop))),
        ("ew-flag", by_two::<EwFlag>(|f| f.enable(), |f| f.enable().and_then(|()| f.disable()).map(drop))),
        ("dw-flag", by_two::<DwFlag>(|f| f.enable(), |f| f.disable())),
        (
            "or-set",
            by_two::<OrSet<String>>(|s| s.insert(text("é")).map(drop), |s| s.insert(text("e\u{301}")).map(drop)),
        ),
        (
            "rw-set",
            by_two::<RwSet<u8>>(
                |s| s.insert(1).and_then(|_| s.insert(2)).map(drop),
                |s| s.insert(2).and_then(|_| s.remove(&2)).map(drop),
            ),
        ),
        (
            "or-map",
            by_two::<OrMap<String, (bool, Vec<u8>)>>(
                |m| m.insert(text("k"), (true, vec![1])).map(drop),
                |m| m.insert(text("k"), (false, vec![])).and_then(|_| m.insert(text("l"), (true, vec![9]))).map(drop),
            ),
        ),
        ("g-counter", by_two::<GCounter>(|c| c.add(2), |c| c.add(1 << 40))),
        ("pn-counter", by_two::<PnCounter>(|c| c.add(2), |c| c.subtract(5))),
    ]
}

/// A state that was opened again and again, on two devices with names, of which the second went on from an old copy.
fn openings() -> Replica<Graph> {
    let open = |seed, saved: &[u8], device: &str| {
        let mut replica = Replica::<Graph>::load_with(TestEnvironment::new(seed), saved).unwrap();
        replica.set_device(device);
        replica
    };
    let mut laptop = Replica::<Graph>::with_environment(TestEnvironment::new(10));
    laptop.set_device("laptop");
    let (mut seed, mut copy) = (10, Vec::new());
    for name in ["one", "two", "three"] {
        laptop.edit(|g| g.add_node(name)).unwrap();
        copy = if name == "two" { laptop.save() } else { copy };
        seed += 1;
        laptop = open(seed, &laptop.save(), "laptop");
    }
    let mut phone = open(20, &copy, "téléphone");
    phone.edit(|g| g.add_node("four").and_then(|_| g.add_node("five"))).unwrap();
    laptop.merge(&phone.delta_since(laptop.version()).unwrap()).unwrap();
    laptop
}

fn conversation() -> Conversation {
    Conversation::new(3_000, [&[], &[70, 5_000]]).all().pop().unwrap()
}

/// What the later version of the library puts beside what this one knows.
struct Unknown {
    entity: Entity,
    field: Vec<u8>,
    payload: (u8, Vec<u8>),
}

fn unknown() -> Vec<Unknown> {
    let ada = Entity::new(1, *NodeId::named("person:ada").as_bytes());
    let of = |entity, field: &[u8], kind, content: &[u8]| Unknown {
        entity,
        field: field.to_vec(),
        payload: (kind, content.to_vec()),
    };
    vec![
        // Something that is neither node nor edge, with a root.
        of(Entity::new(200, [0xab; 16]), b"", 253, b"the root of a sort of entity to come"),
        of(Entity::new(200, [0xab; 16]), b"\xff\x00field", 252, &[0xee; 300]),
        // On a node that this version knows: a field of another scheme, a kind of property, a kind of value.
        of(ada, b"\x63of a later scheme", 251, b""),
        of(ada, b"\x02list\x00\xfe\x00\x09k", 250, b"a kind of property to come"),
        of(ada, b"\x02name\x00\xfe\x00\x02", 249, b"a kind of value to come"),
        // And a vector of another precision.
        of(ada, b"\x03model\x00\x00\x00\x00\x02", 19, &[9, 0, 1, 2]),
    ]
}

fn later() -> Delta {
    let mut later = Replica::<Graph>::with_environment(TestEnvironment::new(8));
    let edit = later.edit(|g| {
        let ada = g.add_node("person:ada")?;
        g.set(ada, "/born", 1815)?;
        unknown().iter().try_for_each(|unknown| {
            let (kind, content) = &unknown.payload;
            g.write(unknown.entity, &unknown.field, Payload::new(*kind, content)).map(drop)
        })
    });
    edit.unwrap().1
}

/// Two replicas, and what the second has of a delta of the first, whose connection broke in the middle of a long node.
fn staged() -> ([Replica<Graph>; 2], Staged) {
    let ([mut a, mut b], _) = two::<Graph>();
    let text = "long".repeat(50_000);
    a.edit(|g| {
        [([1; 16], "short"), ([2; 16], text.as_str())].into_iter().try_for_each(|(id, text)| {
            let node = g.add_node(NodeId::from(id))?;
            g.set(node, "/text", text)
        })
    })
    .unwrap();
    let plain = Options::new().without_compression();
    let mut on_a = Session::new(&a, plain.with_part_len(10_000), [1; 16]);
    let mut on_b = Session::new(&b, Options::new(), [2; 16]);
    let now = Duration::ZERO;
    for _ in 0..2 {
        while let Some(frame) = on_b.poll_frame(&b, now).unwrap() {
            on_a.handle_frame(&mut a, &frame, now).unwrap();
        }
        for _ in 0..4 {
            let frame = on_a.poll_frame(&a, now).unwrap();
            frame.iter().for_each(|frame| on_b.handle_frame(&mut b, frame, now).unwrap());
        }
    }
    ([a, b], *on_b.into_staged().expect("a node has come"))
}

#[test]
#[ignore = "writes files that are missing: the format only changes with a version step"]
fn write_what_is_missing() {
    std::fs::create_dir_all(directory()).unwrap();
    for (name, bytes) in written() {
        let path = directory().join(format!("{name}.drift"));
        if !path.exists() {
            println!("{} bytes to {}", bytes.len(), path.display());
            std::fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn the_same_content_is_written_as_the_same_bytes_as_ever() {
    let written = written();
    for (name, bytes) in &written {
        let there = golden(name);
        let first = bytes.iter().zip(&there).position(|(a, b)| a != b);
        assert!(*bytes == there, "{name}: {} bytes, {} in the file, unequal from {first:?}", bytes.len(), there.len());
    }
    let files = std::fs::read_dir(directory()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    for file in files.map(|entry| entry.file_name().into_string().unwrap()) {
        assert!(file.strip_suffix(".drift").is_some_and(|name| written.contains_key(name)), "no test reads {file}");
    }
}

/// A file of compressed contents: of the delta or state that the file of the same name in `format-3` holds.
#[track_caller]
fn golden_compressed(name: &str) -> Vec<u8> {
    in_file(&before().join("compressed"), name)
}

#[test]
#[cfg(feature = "compression")]
#[ignore = "writes files that are missing: they stay readable, whatever the compressor writes later"]
fn write_what_is_missing_compressed() {
    let directory = before().join("compressed");
    std::fs::create_dir_all(&directory).unwrap();
    let state = Replica::<Graph>::load(&golden("graph-state")).unwrap().save_compressed();
    for (name, bytes) in [("graph-complete", delta("graph-complete").to_bytes_compressed()), ("graph-state", state)] {
        let path = directory.join(format!("{name}.drift"));
        if !path.exists() {
            std::fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn compressed_files_hold_what_the_plain_ones_hold() {
    let (complete, state) = (golden_compressed("graph-complete"), golden_compressed("graph-state"));
    assert!([&complete, &state].iter().all(|bytes| bytes[6] == 1));
    let (read, loaded) = (Delta::from_bytes(&complete), Replica::<Graph>::load(&state));
    if cfg!(feature = "compression") {
        assert_eq!(read, Ok(delta("graph-complete")));
        assert_eq!(loaded.unwrap().save(), golden("graph-state"));
    } else {
        assert_eq!(read, Err(DecodeError::Compressed));
        let error = loaded.unwrap_err();
        assert_eq!(error, DecodeError::Compressed);
        assert!(error.to_string().contains("enable the feature `compression`"), "{error}");
    }
}

/// Files that lie on somebody's disk since format 2 are read as what is written today.
#[test]
fn files_of_format_2_are_read_as_the_same() {
    let mut names = 0;
    for entry in std::fs::read_dir(before()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        let file = entry.file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".drift").filter(|name| *name != "format-1") else {
            assert!(["graph-base.txt", "graph.txt", "format-1.drift"].contains(&&file[..]), "no test reads {file}");
            continue;
        };
        let (old, new) = (golden_before(name), golden(name));
        let is_message = old.starts_with(b"DRFT");
        assert!(!is_message || (old[4], new[4]) == (2, 3), "{name}");
        // Rows keep no names beside parts, so a delta that was read from them spells ids instead: it is equal all the same.
        let is_same = |delta: &Delta| Delta::from_bytes(&new).as_ref() == Ok(delta);
        let again = match old[5] {
            _ if !is_message => Turn::from_bytes(&old).map(|turn| turn.to_bytes()),
            1..=3 => Delta::from_bytes(&old).map(|delta| if is_same(&delta) { new.clone() } else { delta.to_bytes() }),
            4 => Replica::<Graph>::load(&old).map(|replica| replica.save()),
            5 => Version::from_bytes(&old).map(|version| version.to_bytes()),
            6 => DotSet::from_bytes(&old).map(|dots| dots.to_bytes()),
            7 => Devices::from_bytes(&old).map(|devices| devices.to_bytes()),
            _ => Staged::from_bytes(&old).map(|staged| staged.to_bytes()),
        };
        assert!(again.as_ref() == Ok(&new), "{name}: {:?}", again.err());
        names += 1;
        // The one spelling of a delta is still asked for.
        if is_message && (1..=4).contains(&old[5]) {
            let body = open(&old).1;
            let mut longer = [&old[..15], &leb128(body.len() as u64 + 1), body, &[0]].concat();
            driftless::testing::repair_checksum(&mut longer);
            let refused = match old[5] {
                4 => Replica::<Graph>::load(&longer).err(),
                _ => Delta::from_bytes(&longer).err(),
            };
            assert_eq!(refused, Some(DecodeError::NotCanonical), "{name}");
        }
    }
    assert!(names >= 29, "{names}");
}

// ---- what they say ----

/// Everything that can be read of a graph, a line for each thing.
fn describe(graph: &Graph) -> String {
    let mut lines = Vec::new();
    for node in graph.nodes() {
        lines.push(format!("{} labelled {:?}", name_of(node.id()), node.labels().collect::<Vec<_>>()));
        lines.extend(node.name().is_none().then(|| "  added without a name".into()));
        lines.extend(describe_properties(&node.properties()));
        for e in node.embeddings().iter() {
            let text = ["Ada", "G", "Countess", "Augusta"].into_iter().find(|text| e.is_stale(text) == Some(false));
            lines.push(format!("  by {:?} of {text:?}: {:?} {:?}", e.model_name(), e.precision(), e.to_vec()));
        }
    }
    let dangling = graph.dangling().map(|edge| (edge, "which dangles"));
    for (edge, dangles) in graph.edges().map(|edge| (edge, "")).chain(dangling) {
        let [source, target] = [edge.source(), edge.target()].map(name_of);
        lines.push(format!("{source} --{} {}--> {target} {dangles}", edge.edge_type(), edge.number()));
        lines.extend(describe_properties(&edge.properties()));
    }
    for hidden in graph.hidden() {
        lines.push(format!("hidden, labelled {:?}", hidden.labels().collect::<Vec<_>>()));
        lines.extend(describe_properties(&hidden.properties()));
    }
    for conflict in graph.conflicts() {
        let of = conflict.of.map_or_else(String::new, |of| match of {
            Owner::Node(id) => name_of(id),
            Owner::Edge(id) => id.to_string(),
        });
        let sort = match &conflict.kind {
            ConflictKind::Embedding { model } => format!("Embedding of {} by {:?}", model.dimension(), model.name()),
            ConflictKind::Dangling { missing } => {
                format!("Dangling without {:?}", missing.iter().copied().map(name_of).collect::<Vec<_>>())
            }
            other => format!("{other:?}"),
        };
        lines.push(format!("conflict: {sort} at {:?} of {of}", conflict.path.to_string()));
        let candidates = conflict.candidates.iter();
        lines.extend(candidates.map(|c| format!("  {} by {} at {}", c.content, c.dot, c.stamp.millis())));
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

fn name_of(id: NodeId) -> String {
    let known = ["person:ada", "note:g", "person:gone"].into_iter().find(|name| NodeId::named(name) == id);
    known.map_or_else(|| id.to_string(), str::to_owned)
}

/// What shows at each path, with its type, and all of it as JSON.
fn describe_properties(properties: &Properties<'_>) -> Vec<String> {
    let value = |value: Value<'_>| match value {
        Value::Array(array) => format!("Array({})", array.to_json()),
        value => format!("{value:?}"),
    };
    let mut lines: Vec<_> = properties.iter().map(|(path, shown)| format!("  {path}: {}", value(shown))).collect();
    lines.extend((!properties.is_empty()).then(|| format!("  in all: {}", properties.to_json())));
    lines
}

#[track_caller]
fn reads(graph: &Graph, expected: &str) {
    graph.check_invariants().unwrap();
    assert_eq!(describe(graph), expected.trim_end());
}

const BASE: &str = include_str!("golden/graph-base.txt");
const END: &str = include_str!("golden/graph.txt");

#[test]
fn a_graph_in_an_incremental_delta_reads_as_ever() {
    let base = merged::<Graph>(&["graph-base"]);
    reads(base.state(), BASE);
    assert_eq!(delta("graph-base").since(), &Version::new());
    let mut end = merged::<Graph>(&["graph-base", "graph-incremental"]);
    reads(end.state(), END);
    // One removed label, property and element each, and two deleted nodes; what they removed stays removed.
    assert_eq!(end.state().state().tombstones_len(), 5);
    assert_eq!(delta("graph-incremental").since(), base.version());
    end.merge(&delta("graph-base")).unwrap();
    reads(end.state(), END);
    // It builds on what is in the first.
    let mut nobody = Replica::<Graph>::new();
    assert!(matches!(nobody.merge(&delta("graph-incremental")), Err(MergeError::Gap { .. })));
}

#[test]
fn a_graph_in_a_complete_delta_reads_as_ever() {
    for names in [&["graph-complete"][..], &["graph-base", "graph-complete"]] {
        let end = merged::<Graph>(names);
        reads(end.state(), END);
        assert_eq!(end.version(), &version());
        assert_eq!(end.state().state().pruned(), delta("graph-complete").pruned());
        assert!(!end.state().state().pruned().is_empty());
    }
}

#[test]
fn a_graph_in_a_reconciled_delta_reads_as_ever() {
    let end = merged::<Graph>(&["graph-base", "graph-reconciled"]);
    reads(end.state(), END);
    let reconciled = delta("graph-reconciled");
    let DeltaKind::Reconciled { at, dead } = reconciled.kind() else { panic!("{reconciled:?}") };
    assert_eq!(at, merged::<Graph>(&["graph-base"]).version());
    assert!(!dead.is_empty() && dead.iter().all(|dot| at.covers(dot)));
}

#[test]
fn a_saved_graph_reads_as_ever_and_its_next_opening_goes_on() {
    let bytes = golden("graph-state");
    let mut opened = Replica::<Graph>::load(&bytes).unwrap();
    reads(opened.state(), END);
    assert_eq!((opened.writer(), opened.state().state().tombstones_len()), (None, 5));
    assert_eq!(opened.save(), bytes);
    // From the first of the two: the version has no further head.
    let [first, second] = [FIRST, SECOND].map(|id| id.parse::<WriterId>().unwrap());
    opened.edit(|g| g.add_node("after")).unwrap();
    let heads: Vec<_> = opened.version().heads().iter().map(|head| (head.writer, head.counter)).collect();
    let mut expected = [(opened.writer().unwrap(), version().get(first) + 1), (second, version().get(second))];
    expected.sort();
    assert_eq!(heads, expected);
}

const FIRST: &str = "17fd85580f7955d45b9d";
const SECOND: &str = "404fccef7619fd744af4";

fn version() -> Version {
    [(FIRST, 43), (SECOND, 8)].into_iter().map(|(id, counter)| (id.parse().unwrap(), counter)).collect()
}

#[test]
fn what_a_peer_asks_by_reads_as_ever() {
    assert_eq!(Version::from_bytes(&golden("graph-version")), Ok(version()));
    assert_eq!(version().to_bytes(), golden("graph-version"));
    let dots = DotSet::from_bytes(&golden("graph-dots")).unwrap();
    assert_eq!(dots.to_bytes(), golden("graph-dots"));
    let of = |id: &str| {
        let id: WriterId = id.parse().unwrap();
        dots.iter().filter(|dot| dot.writer == id).map(|dot| dot.counter).collect::<Vec<_>>()
    };
    assert_eq!((of(FIRST), of(SECOND)), (DOTS.0.to_vec(), DOTS.1.to_vec()));
    assert_eq!(dots, merged::<Graph>(&["graph-complete"]).live_dots());
}

/// Counters of what is alive; the rest was overwritten or removed.
const DOTS: (&[u64], &[u64]) = (
    &[1, 2, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23, 27, 28, 29, 30, 32, 35, 36, 38, 39, 41, 42],
    &[1, 2, 3, 5, 6, 7],
);

#[test]
fn what_continues_what_and_on_which_device_reads_as_ever() {
    let read = merged::<Graph>(&["openings"]);
    let writers = |replica: &Replica<Graph>| {
        let mut writers: Vec<_> = replica.live_dots().iter().collect();
        writers.sort_by_key(|dot| (dot.counter, dot.writer));
        writers.into_iter().map(|dot| (dot.counter, replica.version().device(dot.writer).map(str::to_owned))).collect()
    };
    let on = |counter, device: &str| (counter, Some(device.to_owned()));
    let found: Vec<_> = writers(&read);
    let mut expected = [on(1, "laptop"), on(2, "laptop"), on(3, "laptop"), on(3, "téléphone"), on(4, "téléphone")];
    expected.sort();
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    // Two branches, however many openings there were.
    assert_eq!((read.version().len(), read.version().writers()), (2, 4));
}

/// Nothing of another format is taken for what it is not: neither what was written before this one, nor what is to come.
#[test]
fn a_file_of_the_format_before_or_of_a_later_one_is_refused_and_named() {
    let before = golden_before("format-1");
    assert_eq!(Delta::from_bytes(&before), Err(DecodeError::Format(1)));
    let mut later = golden("graph-complete");
    later[4] = 4;
    driftless::testing::repair_checksum(&mut later);
    assert_eq!(Delta::from_bytes(&later), Err(DecodeError::Format(4)));
    // Nor is one of the two formats that are read taken for the other.
    for (mut bytes, other) in [(golden("graph-complete"), 2), (golden_before("graph-complete"), 3)] {
        bytes[4] = other;
        driftless::testing::repair_checksum(&mut bytes);
        assert!(Delta::from_bytes(&bytes).is_err());
    }
    let mut state = golden("graph-state");
    for format in [0, 1, 4, u8::MAX] {
        state[4] = format;
        driftless::testing::repair_checksum(&mut state);
        assert_eq!(Replica::<Graph>::load(&state).err(), Some(DecodeError::Format(format)));
    }
    let error = DecodeError::Format(4).to_string();
    assert!(
        error.contains("format version 4") && error.contains("reads formats 2 to 3") && error.contains("update"),
        "{error}"
    );
}

#[test]
fn a_list_of_devices_reads_as_ever() {
    let devices = Devices::from_bytes(&golden("devices")).unwrap();
    assert_eq!(devices.to_bytes(), golden("devices"));
    assert_eq!(devices.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["laptop", "phone", "téléphone"]);
    let standing = |device: &str| devices.acknowledged(device).unwrap();
    assert!(standing("laptop").version().is_empty() && standing("laptop").pruned().is_empty());
    assert_eq!((standing("téléphone").version(), standing("téléphone").pruned()), (&version(), &Version::new()));
    assert_eq!(standing("phone").version(), &version());
    assert_eq!(standing("phone").pruned(), delta("graph-complete").pruned());
    assert!(!standing("phone").pruned().is_empty());
}

#[test]
fn a_document_reads_as_ever() {
    let document = merged::<Document>(&["document"]);
    let document = document.state();
    document.check_invariants().unwrap();
    assert_eq!(
        document.to_json(),
        json!({
            "bio": "theirs", "age": 36, "likes": ["tea"], "address": {"city": "London", "geo": [51.5, -0.25]},
            "interests": [[98, 121, 116, 101, 115]],
        })
    );
    assert!(document.contains("/interests", &b"bytes"[..]));
    assert_eq!((document.kind("/age"), document.counter("/age")), (Some(Kind::Register), Some(7)));
    assert_eq!(
        document.properties().get_all("/bio").map(|(bio, _)| bio).collect::<Vec<_>>(),
        ["ours".into(), "theirs".into()]
    );
    assert_eq!((document.conflicts().count(), document.state().tombstones_len()), (2, 1));
}

#[test]
fn texts_read_as_ever() {
    let texts = merged::<Document>(&["texts"]);
    let texts = texts.state();
    texts.check_invariants().unwrap();
    assert_eq!(texts.to_json(), json!({"note": "anernaïve 日本 🦀", "typed": "ve-ry", "empty": "", "t": "xy"}));
    assert_eq!((texts.conflicts().count(), texts.state().tombstones_len()), (2, 3));
}

#[test]
fn lists_read_as_ever() {
    let lists = merged::<Document>(&["lists"]);
    let lists = lists.state();
    lists.check_invariants().unwrap();
    let (a, b) = (json!({"n": "a", "in": {}, "text": "typed"}), json!({"n": "B", "in": {}}));
    let c = json!({"n": "c", "in": {"list": [1]}});
    assert_eq!(lists.to_json(), json!({"tags": ["music", null], "empty": [], "l": [a, c, b]}));
    assert_eq!(lists.conflicts().count(), 2);
}

#[test]
fn the_types_that_stand_alone_read_as_ever() {
    let text = str::to_owned;
    assert_eq!(merged::<LwwRegister<String>>(&["lww-register"]).state().get(), Some(&text("sécond")));
    assert_eq!(merged::<MvRegister<u64>>(&["mv-register"]).state().get(), [u64::MAX, 300]);
    assert_eq!(merged::<MaxRegister<i64>>(&["max-register"]).state().get(), Some(&-5));
    assert_eq!(merged::<MinRegister<i64>>(&["min-register"]).state().get(), Some(&-7));
    assert!(merged::<EwFlag>(&["ew-flag"]).state().is_on());
    assert!(!merged::<DwFlag>(&["dw-flag"]).state().is_on());
    let set = merged::<OrSet<String>>(&["or-set"]);
    assert_eq!(set.state().iter().collect::<Vec<_>>(), ["e\u{301}", "é"]);
    let set = merged::<RwSet<u8>>(&["rw-set"]);
    assert_eq!(set.state().iter().collect::<Vec<_>>(), [&1]);
    let map = merged::<OrMap<String, (bool, Vec<u8>)>>(&["or-map"]);
    assert_eq!(map.state().get(&text("k")), Some(&(false, vec![])));
    assert_eq!(map.state().get_all(&text("k")).count(), 2);
    assert_eq!(map.state().get(&text("l")), Some(&(true, vec![9])));
    assert_eq!(merged::<GCounter>(&["g-counter"]).state().value(), (1 << 40) + 2);
    assert_eq!(merged::<PnCounter>(&["pn-counter"]).state().value(), -3);
}

/// Turns as they lie there, said to two that hold what the two held who said them.
#[test]
fn a_conversation_of_two_that_reconcile_comes_to_the_same_as_ever() {
    let turns: Vec<Turn> = (0..5).map(|n| Turn::from_bytes(&golden(&format!("turn-{n}"))).unwrap()).collect();
    let [(a, seen_a), (b, seen_b)] = Conversation::new(3_000, [&[], &[70, 5_000]]).sides;
    let (mut asking, first) = Reconciling::ask(&a, &seen_a, &seen_b, Conversation::NONCE).unwrap();
    assert_eq!(first, turns[0]);
    let (mut answering, second) = Reconciling::answer(&b, &seen_b, &seen_a, &turns[0]).unwrap();
    let said = [second, asking.handle(&turns[1]).unwrap(), answering.handle(&turns[2]).unwrap()];
    for (step, turn) in said.iter().zip(&turns[1..]) {
        assert!(matches!(step, Step::Say(said) if said == turn), "{step:?}");
    }
    // The words of the second side tell the first all; the last turn tells the second.
    let Step::Done { difference, last } = asking.handle(&turns[3]).unwrap() else { panic!("not done") };
    assert_eq!(last.as_ref(), Some(&turns[4]));
    let dots: Vec<_> = difference.only_here().iter().map(|dot| (dot.writer, dot.counter)).collect();
    assert_eq!(dots, [(WriterId::from([3; 10]), 71), (WriterId::from([4; 10]), 2_001)]);
    assert!(difference.only_there().is_empty());
    let Step::Done { difference, last: None } = answering.handle(&turns[4]).unwrap() else { panic!("not done") };
    assert_eq!(difference.only_there().len(), 2);
    let whole = golden("turn-whole");
    assert_eq!(Turn::from_bytes(&whole).unwrap().to_bytes(), whole);
}

#[test]
fn what_was_staged_is_read_and_gone_on_with() {
    let bytes = golden("staged");
    let staged = Staged::from_bytes(&bytes).unwrap();
    assert_eq!(staged.to_bytes(), bytes);
    let ([mut a, mut b], _) = self::staged();
    let mut on_a = Session::new(&a, Options::new(), [3; 16]);
    let mut on_b = Session::new(&b, Options::new().with_staged(Some(Box::new(staged))), [4; 16]);
    let now = Duration::ZERO;
    while !(on_a.is_equal(&a) && on_b.is_equal(&b)) {
        while let Some(frame) = on_b.poll_frame(&b, now).unwrap() {
            on_a.handle_frame(&mut a, &frame, now).unwrap();
        }
        while let Some(frame) = on_a.poll_frame(&a, now).unwrap() {
            on_b.handle_frame(&mut b, &frame, now).unwrap();
        }
    }
    let node = b.state().node(NodeId::from([1; 16])).unwrap();
    assert_eq!(node.get("/text"), Some("short".into()), "it came before the break");
    assert!(b.state().node(NodeId::from([2; 16])).is_some());
}

// ---- what a later version wrote ----

/// As MessagePack has them: the very bytes that were sent.
fn spelled(bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len();
    let head = if len < 256 { vec![0xc4, len as u8] } else { [&[0xc5][..], &(len as u16).to_be_bytes()].concat() };
    [&head, bytes].concat()
}

fn holds(message: &[u8], bytes: &[u8]) -> bool {
    message.windows(bytes.len()).any(|window| window == bytes)
}

#[track_caller]
fn holds_all_that_is_unknown(message: &[u8]) {
    for Unknown { field, payload: (_, content), .. } in unknown() {
        assert!(holds(message, &spelled(&field)), "{field:?}");
        // Each is the first in the column of its field and kind, so it shares nothing with another.
        assert!(content.is_empty() || holds(message, &content), "{content:?}");
    }
}

#[track_caller]
fn all_that_is_unknown_is_there(graph: &Graph) {
    graph.check_invariants().unwrap();
    for Unknown { entity, field, payload: (kind, content) } in unknown() {
        let live: Vec<_> = graph.state().cells(entity).unwrap().live(&field).collect();
        assert_eq!(live.len(), 1, "{field:?}");
        assert_eq!(live[0].payload, Some(Payload::new(kind, &content).as_ref()));
    }
}

#[test]
fn what_a_later_version_wrote_is_relayed_verbatim() {
    let file = golden("later");
    holds_all_that_is_unknown(&file);
    let mut here = merged::<Graph>(&["later"]);
    all_that_is_unknown_is_there(here.state());
    let ada = NodeId::named("person:ada");
    assert_eq!(here.state().node(ada).unwrap().get("/born"), Some(1815.into()));

    // Sent on to whoever has nothing it is the same message; saved and opened again, too.
    let nothing = Version::new();
    assert_eq!(here.delta_since(&nothing).unwrap().to_bytes(), file);
    let saved = here.save();
    holds_all_that_is_unknown(&saved);
    let mut reopened = Replica::<Graph>::load(&saved).unwrap();
    all_that_is_unknown_is_there(reopened.state());
    assert_eq!(reopened.delta_since(&nothing).unwrap().to_bytes(), file);
    holds_all_that_is_unknown(&reopened.complete().to_bytes());
    let reconciled = reopened.reconcile(&nothing, &DotSet::new());
    holds_all_that_is_unknown(&reconciled.to_bytes());

    // And so it is after something was written beside it.
    let (_, beside) = reopened
        .edit(|g| {
            g.set(ada, "/born", 1816)?;
            g.add_node("note:g")?;
            g.link(ada, "wrote", NodeId::named("note:g"))
        })
        .unwrap();
    all_that_is_unknown_is_there(reopened.state());
    let sent = reopened.delta_since(&nothing).unwrap();
    holds_all_that_is_unknown(&sent.to_bytes());
    holds_all_that_is_unknown(&reopened.save());
    let joined = delta("later").join(&beside).unwrap();
    holds_all_that_is_unknown(&joined.to_bytes());
    for delta in [sent, reopened.complete(), joined] {
        let mut third = Replica::<Graph>::new();
        third.merge(&Delta::from_bytes(&delta.to_bytes()).unwrap()).unwrap();
        all_that_is_unknown_is_there(third.state());
        assert_eq!(third.state(), reopened.state());
    }
    // The later version gets back what it wrote, and what was written beside it.
    here.merge(&reopened.delta_since(here.version()).unwrap()).unwrap();
    assert_eq!(here.state(), reopened.state());
}
