//! A corpus of damaged messages, made mechanically from good ones: each is a typed error, or a value that spells the same
//! bytes again; nothing changes on an error; and decoding takes no more memory than is promised.
//!
//! `cargo test --test malformed -- --nocapture` prints how many inputs there are of each kind, how many of them could still
//! be read, and the memory that the worst took. A further kind of message is one more [`Golden`] in [`golden_messages`].

#[path = "support/conversation.rs"]
mod conversation;
#[path = "support/damage.rs"]
mod damage;
#[path = "support/frames.rs"]
mod frames;
#[path = "support/memory.rs"]
mod memory;
mod support;

use std::collections::BTreeMap;

use conversation::conversations;
use damage::{
    ROWS_VERSION, Visit, damage_bytes, damage_claims, damage_envelope, damage_frame, damage_lightly, damage_numbers,
    int, seal,
};
use driftless::kernel::{Entity, Payload};
use driftless::sync::{Devices, Turn};
use driftless::testing::{TestEnvironment, repair_checksum, reread_frame};
use driftless::{
    Crdt, DecodeError, Delta, Document, Dot, DotSet, DwFlag, EditError, EwFlag, GCounter, Graph, Kind, LwwRegister,
    MaxRegister, MinRegister, MvRegister, NodeId, OrMap, OrSet, PnCounter, Replica, RwSet, Value, Version, WriterId,
};
use memory::{alone, peak_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use support::{replica, samples};

/// What decoding may take whatever it is given.
const FIXED: usize = 64 << 10;
/// And for each byte of a message.
const PER_BYTE: usize = 8;
/// And for each byte of a delta or a saved state, whose columns tell of what is alike in few bytes. See `column_rules` for what
/// bounds it.
const PER_BYTE_OF_COLUMNS: usize = 700;
/// And for each byte of heads and births: a birth takes 11 bytes, and in memory a name that may be empty.
const PER_BYTE_OF_VERSIONS: usize = 16;
/// And for each byte of a turn, whose sets have gaps of one byte where memory has words.
const PER_BYTE_OF_TURN: usize = 32;

/// And for each byte of a list of devices: a name and a version take what they take in memory, were they empty.
const PER_BYTE_OF_DEVICES: usize = 96;

/// A good message, how it is damaged, and what must hold of any bytes in its place.
struct Golden {
    name: &'static str,
    bytes: Vec<u8>,
    damage: fn(&[u8], Visit<'_>),
    judge: Judge,
    /// How many damaged inputs there are at least.
    at_least: usize,
}

/// Reads any bytes. Whether they could be read, or what is wrong with the library.
type Judge = Box<dyn Fn(&[u8], &mut Peak) -> Result<bool, String>>;

/// The most memory that decoding took: in bytes, and for each byte of input beyond what is fixed.
#[derive(Default)]
struct Peak {
    last: usize,
    most: usize,
    ratio: f64,
}

impl Peak {
    /// Decodes within the promised memory.
    fn of<M>(&mut self, bytes: &[u8], per_byte: usize, read: impl FnOnce(&[u8]) -> M) -> Result<M, String> {
        let (peak, result) = peak_of(|| read(bytes));
        self.last = peak;
        self.most = self.most.max(peak);
        self.ratio = self.ratio.max(peak as f64 / bytes.len().max(1) as f64);
        match peak <= FIXED + per_byte * bytes.len() {
            true => Ok(result),
            false => Err(format!("{peak} bytes at the peak for {} of input", bytes.len())),
        }
    }
}

/// A judge of messages: how they are read and written, and what else must hold of one that can be read.
fn judge<M: 'static>(
    per_byte: usize,
    read: fn(&[u8]) -> Result<M, DecodeError>,
    write: fn(&M) -> Vec<u8>,
    check: impl Fn(&M) -> Result<(), String> + 'static,
) -> Judge {
    Box::new(move |bytes, peak| match peak.of(bytes, per_byte, read)? {
        // The format before spells all but the parts of deltas alike.
        Ok(message) if in_format(bytes[4], write(&message)) == bytes => check(&message).map(|()| true),
        Ok(_) => Err("read, but other bytes spell it".into()),
        Err(_) => Ok(false),
    })
}

/// A message as one of another format.
fn in_format(format: u8, mut message: Vec<u8>) -> Vec<u8> {
    if message.starts_with(b"DRFT") && format == ROWS_VERSION {
        message[4] = format;
        repair_checksum(&mut message);
    }
    message
}

/// A judge of deltas: merged, one leaves everything consistent and readable, or nothing.
fn delta_judge<T: Crdt + PartialEq>(receiver: Replica<T>, check: fn(&T) -> Result<(), String>) -> Judge {
    judge(PER_BYTE_OF_COLUMNS, Delta::from_bytes, Delta::to_bytes, move |delta| {
        let mut target = receiver.fork_with(TestEnvironment::new(99));
        let before = (target.version().clone(), target.fingerprint(), tombstones(&target));
        match target.merge(delta) {
            Ok(_) if !target.version().includes(delta.upto()) => Err("merged, and not seen".into()),
            // One that changed nothing left everything as consistent as it was.
            Ok(_) if target.state() == receiver.state() => Ok(()),
            Ok(_) => check(target.state()),
            Err(error) => {
                let after = (target.version().clone(), target.fingerprint(), tombstones(&target));
                let unchanged = target.state() == receiver.state() && before == after;
                if unchanged { Ok(()) } else { Err(format!("changed though it was refused: {error}")) }
            }
        }
    })
}

fn tombstones<T: Crdt>(replica: &Replica<T>) -> usize {
    replica.state().state().tombstones_len()
}

fn check_graph(graph: &Graph) -> Result<(), String> {
    graph.check_invariants()?;
    // Reading whatever it brought does not panic.
    for node in graph.nodes() {
        let _ = (node.name(), node.labels().count(), node.properties().to_json());
        let _ = (graph.outgoing(node.id()).count(), graph.neighbors(node.id()).count());
        node.embeddings().iter().for_each(|embedding| drop(embedding.to_vec()));
    }
    graph.edges().chain(graph.dangling()).for_each(|edge| drop((edge.edge_type(), edge.properties().to_json())));
    graph.hidden().for_each(|hidden| drop((hidden.labels().count(), hidden.properties().to_json())));
    graph.conflicts().for_each(|conflict| drop(conflict.to_string()));
    Ok(())
}

fn check_document(document: &Document) -> Result<(), String> {
    document.check_invariants()?;
    drop(document.to_json());
    document.properties().iter().for_each(|(path, value)| drop((path.to_string(), value.to_string())));
    document.conflicts().for_each(|conflict| drop(conflict.to_string()));
    Ok(())
}

type Map = OrMap<String, Vec<u64>>;

fn check_map(map: &Map) -> Result<(), String> {
    map.state().check_invariants()?;
    match map.iter().all(|(key, value)| map.get(key) == Some(value)) && map.keys().count() == map.len() {
        true => Ok(()),
        false => Err("a key that is listed and not found".into()),
    }
}

/// A judge of saved states: opened, they are saved as the same bytes, and whoever opens them can write.
fn state_judge() -> Judge {
    Box::new(|bytes, peak| {
        let open_state = |bytes: &[u8]| Replica::<Graph>::load_with(TestEnvironment::new(98), bytes);
        let Ok(opened) = peak.of(bytes, PER_BYTE_OF_COLUMNS, open_state)? else { return Ok(false) };
        check_graph(opened.state())?;
        // What is saved says which process saved it: the 16 bytes after the schema.
        let without_process = |bytes: &[u8]| {
            let body = &bytes[15..];
            let at = body.windows(2).position(|two| two == [0xc4, 16]).unwrap_or(0);
            [&body[..at], &body[body.len().min(at + 18)..]].concat()
        };
        if without_process(&opened.save()) != without_process(bytes) {
            return Err("opened, but saved as other bytes".into());
        }
        let mut opened = opened;
        match opened.edit(|g| g.add_node("written after")) {
            Ok(_) => check_graph(opened.state()).map(|()| true),
            Err(error) => Err(format!("opened, and cannot write: {error}")),
        }
    })
}

fn damage_turn(bytes: &[u8], visit: Visit<'_>) {
    damage_bytes(bytes, visit);
    damage_numbers(bytes, visit);
}

/// A document with a value of every sort and a conflict.
fn document() -> Replica<Document> {
    let mut a = Replica::<Document>::with_environment(TestEnvironment::new(5));
    let mut b = Replica::<Document>::with_environment(TestEnvironment::new(6));
    let (_, delta) = b.edit(|d| d.set("/é", true)).unwrap();
    a.edit(|d| {
        d.update("", &json!({"é": [1, {"k": [-1.5, null]}], "n": {"f": 1.5, "empty": {}}}))?;
        d.set("/n/bytes", &[7u8; 3][..])?;
        d.set("/n/uint", u64::MAX)?;
        d.add("/count", 300)?;
        d.insert("/set", "x")?;
        d.raise("/max", -7)?;
        d.lower("/min", ()).map(drop)
    })
    .unwrap();
    a.merge(&delta).unwrap();
    a
}

/// Texts that two typed into.
fn texts() -> Replica<Document> {
    let mut a = Replica::<Document>::with_environment(TestEnvironment::new(5));
    a.edit(|d| d.text_mut("/text").update("naïve 日本 🦀 text")).unwrap();
    let mut b = a.fork_with(TestEnvironment::new(6));
    b.edit(|d| d.text_mut("/text").insert(3, "-1-")).unwrap();
    a.edit(|d| {
        d.text_mut("/other").insert(0, "ab")?;
        d.text_mut("/other").insert(0, "c")?;
        d.text_mut("/text").delete(5..9)
    })
    .unwrap();
    a.merge(&b.complete()).unwrap();
    a
}

/// Lists that two moved, removed and wrote to.
fn lists() -> Replica<Document> {
    let mut a = Replica::<Document>::with_environment(TestEnvironment::new(8));
    a.edit(|d| (0..4).try_for_each(|n| d.list_mut("/list").push(&[("n", n)].into_iter().collect::<BTreeMap<_, _>>())))
        .unwrap();
    let mut b = a.fork_with(TestEnvironment::new(9));
    b.edit(|d| {
        d.list_mut("/list").move_to(0, 2)?;
        d.list_mut("/list").move_to(1, 3)?;
        d.text_mut("/list/2/text").insert(0, "typed")
    })
    .unwrap();
    a.edit(|d| {
        d.list_mut("/list").move_to(0, 3)?;
        d.list_mut("/list").remove(1)?;
        d.list_mut("/list").insert(1, "new")
    })
    .unwrap();
    a.merge(&b.complete()).unwrap();
    a
}

fn map() -> Replica<Map> {
    let mut a = Replica::<Map>::with_environment(TestEnvironment::new(7));
    a.edit(|m| m.insert("key".into(), vec![1, 1 << 40, 300])).unwrap();
    a.edit(|m| m.insert("another".into(), vec![])).unwrap();
    a
}

/// One of each. The files of a shared folder are deltas.
fn golden_messages() -> Vec<Golden> {
    let s = samples();
    let enveloped = |name, bytes, judge, at_least| Golden { name, bytes, damage: damage_envelope, judge, at_least };
    let graph = || delta_judge(s.receiver.fork_with(TestEnvironment::new(9)), check_graph);
    let ids = |n: u8| WriterId::from([n; 10]);
    let version: Version = (1..=14).map(|n| (ids(n), 70_000 * u64::from(n))).collect();
    let dots: DotSet = [1, 2, 63, 64, 700, 66_000]
        .into_iter()
        .flat_map(|counter| [1, 3, 4, 7, 9].map(|n| Dot { writer: ids(n), counter }))
        .collect();
    let mut devices = Devices::new();
    devices.acknowledge("laptop", version.clone());
    devices.acknowledge("phone", Version::new());
    devices.acknowledge("téléphone", s.receiver.version().clone());
    let mut all = vec![
        enveloped("incremental delta", s.incremental.to_bytes(), graph(), 20_000),
        enveloped("complete delta", s.complete.to_bytes(), graph(), 20_000),
        enveloped("reconciled delta", s.reconciled.to_bytes(), graph(), 20_000),
        enveloped("saved state", s.state.clone(), state_judge(), 20_000),
        enveloped(
            "delta of a document",
            document().complete().to_bytes(),
            delta_judge(document(), check_document),
            20_000,
        ),
        enveloped(
            "delta of texts",
            texts().complete_with_tombstones().to_bytes(),
            delta_judge(texts(), check_document),
            10_000,
        ),
        enveloped(
            "delta of lists",
            lists().complete_with_tombstones().to_bytes(),
            delta_judge(lists(), check_document),
            10_000,
        ),
        enveloped("delta of a map", map().complete().to_bytes(), delta_judge(map(), check_map), 5_000),
        enveloped(
            "version",
            version.to_bytes(),
            judge(PER_BYTE, Version::from_bytes, Version::to_bytes, |_| Ok(())),
            3_000,
        ),
        enveloped("dots", dots.to_bytes(), judge(PER_BYTE, DotSet::from_bytes, DotSet::to_bytes, check_dots), 3_000),
        enveloped(
            "devices",
            devices.to_bytes(),
            judge(PER_BYTE, Devices::from_bytes, Devices::to_bytes, |_| Ok(())),
            3_000,
        ),
    ];
    all.extend(conversations().into_iter().map(|(name, conversation)| Golden {
        name,
        bytes: conversation.last().to_bytes(),
        damage: damage_turn,
        judge: judge(PER_BYTE_OF_TURN, Turn::from_bytes, Turn::to_bytes, move |turn| {
            let _ = conversation.hear(turn);
            Ok(())
        }),
        at_least: 300,
    }));
    all
}

/// The files of `tests/golden`, with more in them than the messages above.
fn golden_files() -> Vec<Golden> {
    fn of<T: Crdt + PartialEq>(name: &'static str, before: &[&str], check: fn(&T) -> Result<(), String>) -> Golden {
        let mut receiver = Replica::<T>::with_environment(TestEnvironment::new(9));
        before.iter().for_each(|name| drop(receiver.merge(&Delta::from_bytes(&file(name)).unwrap()).unwrap()));
        let (bytes, damage, judge) = (file(name), damage_lightly, delta_judge(receiver, check));
        Golden { name, at_least: bytes.len(), bytes, damage, judge }
    }
    fn alone<T: Crdt + PartialEq>(name: &'static str) -> Golden {
        of::<T>(name, &[], |value| value.state().check_invariants())
    }
    vec![
        of("graph-base", &[], check_graph),
        of("graph-incremental", &["graph-base"], check_graph),
        of("graph-complete", &["graph-base"], check_graph),
        of("graph-reconciled", &["graph-base"], check_graph),
        of("later", &[], check_graph),
        of("document", &[], check_document),
        of("texts", &[], check_document),
        of("lists", &[], check_document),
        alone::<LwwRegister<String>>("lww-register"),
        alone::<MvRegister<u64>>("mv-register"),
        alone::<MaxRegister<i64>>("max-register"),
        alone::<MinRegister<i64>>("min-register"),
        alone::<EwFlag>("ew-flag"),
        alone::<DwFlag>("dw-flag"),
        alone::<OrSet<String>>("or-set"),
        alone::<RwSet<u8>>("rw-set"),
        alone::<OrMap<String, (bool, Vec<u8>)>>("or-map"),
        alone::<GCounter>("g-counter"),
        alone::<PnCounter>("pn-counter"),
    ]
}

/// Frames of every kind: those of the sessions in `tests/golden` that are short enough to be damaged all over, and some of the
/// kinds that those sessions do not have. What becomes of replicas is said in `tests/hostile_peer.rs`.
fn golden_frames() -> Vec<Golden> {
    let files = std::fs::read_dir(frames::session_file("any").parent().unwrap()).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    names.sort();
    let said = names.iter().flat_map(|path| frames::session_in_file(path.file_stem().unwrap().to_str().unwrap()));
    let mut all: Vec<Vec<u8>> = said.flatten().map(|(_, frame)| frame).filter(|frame| frame.len() < 500).collect();
    all.extend([frames::ask(7, 1, 300, 1), frames::ask(7, 1 << 20, 0, 0)]);
    all.push(frames::frame(frames::GONE, Some(7), &[0x80, 1]));
    for parting in [&[0][..], &[1, 2, 3], &[2, 5, b'g', b'r', b'a', b'p', b'h'], &[3, 0x80, 1, 5], &[4], &[200, 1, 2]] {
        all.push(frames::bye(7, 1 << 40, parting));
    }
    let of = |bytes: Vec<u8>| {
        let name = match frames::kind(&bytes) {
            frames::HELLO => "frame: hello",
            frames::ANNOUNCE => "frame: announce",
            frames::NEED => "frame: need",
            frames::PART => "frame: part",
            frames::ASK => "frame: ask",
            frames::TURN => "frame: turn",
            frames::BYE => "frame: bye",
            frames::GONE => "frame: gone",
            other => panic!("a kind of frame that is new: {other}"),
        };
        Golden { name, at_least: bytes.len() * 20, bytes, damage: damage_frame, judge: Box::new(judge_frame) }
    };
    all.into_iter().map(of).collect()
}

fn judge_frame(bytes: &[u8], peak: &mut Peak) -> Result<bool, String> {
    let Ok(spelled) = peak.of(bytes, PER_BYTE, reread_frame)? else { return Ok(false) };
    // What a later protocol says after what this one knows of a hello or of a reason to leave.
    let known = &spelled[..spelled.len() - 4];
    let is_longer =
        [frames::HELLO, frames::BYE].contains(&frames::kind(bytes)) && bytes[..bytes.len() - 4].starts_with(known);
    match spelled == bytes || is_longer {
        true => Ok(true),
        false => Err("read, but other bytes spell it".into()),
    }
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/golden/format-3/{name}.drift", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn check_dots(dots: &DotSet) -> Result<(), String> {
    match dots.iter().take(10_000).all(|dot| dots.contains(dot) && dot.counter > 0) {
        true => Ok(()),
        false => Err("a dot that is listed and not held".into()),
    }
}

#[test]
fn a_damaged_message_is_an_error_or_says_what_it_spells() {
    // Before any message is read: memory is counted for all threads together.
    let _alone = alone();
    damage_all(golden_messages().into_iter().chain(golden_files()), 200_000);
}

#[test]
fn a_damaged_frame_is_an_error_or_says_what_it_spells() {
    // Before any message is read: memory is counted for all threads together.
    let _alone = alone();
    damage_all(golden_frames().into_iter(), 10_000);
}

fn damage_all(messages: impl Iterator<Item = Golden>, least: usize) {
    let begun = std::time::Instant::now();
    let (mut all, mut by_damage, mut failures) = (0, BTreeMap::<&str, [usize; 2]>::new(), Vec::new());
    println!("| message | bytes | inputs | read all the same | most memory | time |\n|---|---|---|---|---|---|");
    for golden in messages {
        let begun = std::time::Instant::now();
        let Golden { name, bytes, damage, judge, at_least } = golden;
        let (mut inputs, mut read, mut peak) = (0, 0, Peak::default());
        assert_eq!(judge(&bytes, &mut peak), Ok(true), "{name}, undamaged");
        damage(&bytes, &mut |sort, damaged| {
            if damaged == bytes {
                return;
            }
            inputs += 1;
            let counts = by_damage.entry(sort).or_default();
            counts[0] += 1;
            match judge(damaged, &mut peak) {
                Ok(was_read) => {
                    read += usize::from(was_read);
                    counts[1] += usize::from(was_read);
                }
                Err(what) if failures.len() < 20 => failures.push(format!("{name}, {sort}: {what}: {damaged:02x?}")),
                Err(_) => {}
            }
        });
        let time = begun.elapsed();
        println!("| {name} | {} | {inputs} | {read} | {} | {time:.1?} |", bytes.len(), peak.most);
        assert!(inputs >= at_least, "only {inputs} inputs of {name}");
        assert!(read * 200 > inputs, "only {read} of {inputs} inputs of {name} got past being read");
        all += inputs;
    }
    println!("\n| damage | inputs | read all the same |\n|---|---|---|");
    by_damage.iter().for_each(|(damage, [inputs, read])| println!("| {damage} | {inputs} | {read} |"));
    println!("\n{all} inputs in all, {:.1?}", begun.elapsed());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(all >= least, "only {all} inputs");
}

// ---- memory ----

/// Messages of some 50 KB of the least parts that there are, which take the most memory for their bytes.
fn large_messages() -> Vec<(&'static str, Vec<u8>, usize)> {
    const PARTS: u64 = 2_500;
    let mut source = replica(1);
    let node = NodeId::from([7; 16]);
    source
        .edit(|g| {
            g.add_node(node)?;
            (0..PARTS).try_for_each(|n| g.set(node, format!("/{n:x}"), ()))
        })
        .unwrap();
    let nothing = Version::new();
    let incremental = source.delta_since(&nothing).unwrap();
    let (complete, state) = (source.complete(), source.save());
    let receiver = source.version().clone();
    // The whole entity, of which the receiver has all but the root.
    source.edit(|g| g.write(Entity::new(1, [7; 16]), b"", Payload::new(16, b""))).unwrap();
    let known = source.delta_since(&receiver).unwrap();

    let id = |n: u64| WriterId::from(*(u128::from(n) << 64).to_be_bytes().last_chunk().unwrap());
    let version: Version = (0..2_500).map(|n| (id(n), 1)).collect();
    // A word each, as near as words can be.
    let dots: DotSet = (1..15_000).map(|n| Dot { writer: id(1), counter: 64 * n }).collect();
    let writers: DotSet = (0..2_000).map(|n| Dot { writer: id(n), counter: 1 }).collect();
    let mut devices = Devices::new();
    (0..600).for_each(|n| {
        devices.acknowledge(format!("device {n}"), version.heads().iter().take(3).copied().collect::<Version>())
    });
    let mut unknown = Devices::new();
    (0..10_000).for_each(|n| unknown.acknowledge(format!("{n:x}"), Version::new()));
    // Births take the least bytes in one chain, and in memory the most with names.
    let births = |names: bool| {
        let ids: Vec<u8> = (0..5_000u32).flat_map(|n| [&[0; 6], &n.to_be_bytes()[..]].concat()).collect();
        let name = |n: i128| [int(n), vec![0xa1, b'x']].concat();
        let named: Vec<u8> = if names { (0..5_000).flat_map(name).collect() } else { vec![] };
        let steps: Vec<u8> = (0..5_000).map(|n| u8::from(n > 0)).collect();
        let head = [&[0x98, 0xaf], &b"driftless.graph"[..], &[0xc0]].concat();
        let versions = [&[0, 0, 0, 0, 0, 0xc4, 0, 0xc4, 10][..], &ids[ids.len() - 10..]].concat();
        let versions = [&versions[..], &[0, 0, 0, 1, 0], &int(5_000), &[0, 0]].concat();
        let ids = [&[0xc5][..], &(ids.len() as u16).to_be_bytes(), &ids].concat();
        let names = [int(if names { 5_000 } else { 0 }), named].concat();
        let body = [head, int(5_000), versions, vec![1, 0xc0], ids, steps, names, NO_PARTS.into()].concat();
        seal(2, &body)
    };
    // A reconciled delta of which three versions have the same writers, and no head is the same.
    let heads = {
        let ids: Vec<u8> = (0..3_000u32).flat_map(|n| [&[0; 6], &n.to_be_bytes()[..]].concat()).collect();
        let come = |counter| -> Vec<u8> { (0..3_000).flat_map(|n| [int(n), int(counter)].concat()).collect() };
        let version = |counter| [&[0][..], &int(3_000), &come(counter)].concat();
        let head = [&[0x98, 0xaf], &b"driftless.graph"[..], &[0xc0, 0, 0, 0, 0, 0, 0, 0xc4, 0, 0xc5]].concat();
        let ids = [&(ids.len() as u16).to_be_bytes(), &ids[..]].concat();
        seal(3, &[head, ids, vec![0, 0], version(3), version(2), version(1), vec![0], NO_PARTS.into()].concat())
    };
    let mut turn = vec![5, 0, 0xd0, 0x86, 0x03];
    turn.resize(turn.len() + 50_000, 0x7f);
    vec![
        ("incremental delta", incremental.to_bytes(), PER_BYTE_OF_COLUMNS),
        ("complete delta", complete.to_bytes(), PER_BYTE_OF_COLUMNS),
        ("delta of what is known", known.to_bytes(), PER_BYTE_OF_COLUMNS),
        ("reconciled delta", seal(3, &many_dead(15_000)), PER_BYTE),
        ("heads", heads, PER_BYTE_OF_VERSIONS),
        ("births", births(false), PER_BYTE_OF_VERSIONS),
        ("births with names", births(true), PER_BYTE_OF_VERSIONS),
        ("saved state", state, PER_BYTE_OF_COLUMNS),
        ("version", version.to_bytes(), PER_BYTE),
        ("dots of one writer", dots.to_bytes(), PER_BYTE),
        ("dots of many writers", writers.to_bytes(), PER_BYTE),
        ("devices", devices.to_bytes(), PER_BYTE_OF_DEVICES),
        ("devices that have seen nothing", unknown.to_bytes(), PER_BYTE_OF_DEVICES),
        ("turn", turn, PER_BYTE_OF_TURN),
    ]
}

/// The body of a reconciled delta that tells of dead dots alone, each in a block of its own.
fn many_dead(words: u64) -> Vec<u8> {
    let begins = dead_begins(1, 64 * words + 1, &[[1; 10]]);
    // The first dot of the first block would be number 0.
    [begins, [&[0x92, 0], &int(words.into())[..]].concat(), [0x92, 1, 1].repeat(words as usize), NO_PARTS.into()]
        .concat()
}

/// The columns of a delta that holds none.
const NO_PARTS: [u8; 2] = [0xc4, 0];

/// What comes before dead dots: a head, no writers of siblings, these ids, versions of which `since` and so all others have
/// the first id as head if there is a counter for it, and no births.
fn dead_begins(dead: u8, counter: u64, ids: &[[u8; 10]]) -> Vec<u8> {
    let head = [&[0x98, 0xaf], &b"driftless.graph"[..], &[0xc0, 0, 0, dead, 0, 0, 0]].concat();
    let table = [&[0xc4, 0, 0xc4, 10 * ids.len() as u8][..], &ids.concat()].concat();
    let since = match counter {
        0 => vec![0, 0],
        counter => [&[0, 1, 0][..], &int(counter.into())].concat(),
    };
    // Nothing was pruned: the head of `since` is gone.
    let pruned = if counter > 0 { vec![1, 0, 0] } else { vec![0, 0] };
    [head, table, since, vec![0, 0], pruned, vec![0, 0], vec![0]].concat()
}

/// Whether these bytes are a message of any kind. No kind is mistaken for another.
fn decode(bytes: &[u8]) -> bool {
    let as_state = |bytes| match Replica::<Graph>::load_with(TestEnvironment::new(1), bytes) {
        Ok(_) => true,
        Err(DecodeError::Kind { .. }) => Delta::from_bytes(bytes).is_ok(),
        Err(_) => false,
    };
    match bytes.get(..6) {
        Some([b'D', b'R', b'F', b'T', _, kind]) => match kind {
            1..=3 => Delta::from_bytes(bytes).is_ok(),
            4 => as_state(bytes),
            5 => Version::from_bytes(bytes).is_ok(),
            6 => DotSet::from_bytes(bytes).is_ok(),
            _ => Devices::from_bytes(bytes).is_ok(),
        },
        _ => Turn::from_bytes(bytes).is_ok(),
    }
}

#[test]
fn decoding_a_large_message_takes_a_small_multiple_of_its_bytes_whatever_it_claims() {
    let _alone = alone();
    println!("| message | bytes | inputs | most for a byte of input |\n|---|---|---|---|");
    for (name, bytes, per_byte) in large_messages() {
        let (mut peak, mut inputs) = (Peak::default(), 0);
        let mut check = |bytes: &[u8]| {
            inputs += 1;
            peak.of(bytes, per_byte, decode).unwrap_or_else(|what| panic!("{name}: {what}"))
        };
        assert!(check(&bytes), "{name}, undamaged");
        if bytes.starts_with(b"DRFT") {
            damage_claims(&bytes, &mut |_, damaged| {
                check(damaged);
            });
        }
        println!("| {name} | {} | {inputs} | {:.2} |", bytes.len(), peak.ratio);
    }
}

/// Nine tenths of a message are what its first list says; its second claims as much as the whole could hold.
#[test]
fn lists_of_which_each_claims_a_whole_message_are_not_believed_one_after_the_other() {
    let _alone = alone();
    let words = [0x92, 1, 1].repeat(15_000);
    let claim = int(words.len() as i128 / 3);
    let id = |n: u8| [&[0xc4, 10][..], &[n; 10]].concat();
    let dots =
        [&[2, 0x92][..], &id(1), &int(15_000), &words, &[0x92], &id(2), &claim, &[0x92, 1, 1].repeat(1_500)].concat();
    let lists = [&[0x92, 0][..], &int(15_000), &words, &[0x92, 1], &claim, &[0x92, 1, 1].repeat(1_500)].concat();
    let dead = [dead_begins(2, 0, &[[1; 10], [2; 10]]), lists].concat();
    // Heads: those of `since` take most, and those of `upto` claim as much as the whole could hold.
    let ids: Vec<u8> = (0..4_000u32).flat_map(|n| [&[0; 6], &n.to_be_bytes()[..]].concat()).collect();
    let heads: Vec<u8> = (0..4_000).flat_map(|n| [int(n), int(1)].concat()).collect();
    let head = [&[0x98, 0xaf], &b"driftless.graph"[..], &[0xc0, 0, 0, 0, 0, 0, 0, 0xc4, 0, 0xc5]].concat();
    let len = (ids.len() as u16).to_be_bytes();
    let versions = [&[0][..], &int(4_000), &heads, &[0], &int(26_000), &heads].concat();
    let versions = [&head[..], &len, &ids, &versions].concat();
    for message in [seal(6, &dots), seal(3, &dead), seal(1, &versions)] {
        assert_eq!(Peak::default().of(&message, PER_BYTE, decode), Ok(false));
    }
}

// ---- nesting within what is carried ----

/// Deeper than any stack bears.
const DEPTH: usize = 100_000;

/// A value nested so deeply is dropped without recursion.
fn drop_deep(mut value: Json) {
    loop {
        value = match value {
            Json::Array(mut items) => items.pop().unwrap_or(Json::Null),
            Json::Object(entries) => entries.into_iter().next().map_or(Json::Null, |(_, inner)| inner),
            _ => return,
        };
    }
}

#[test]
fn json_nested_without_end_is_refused_and_changes_nothing() {
    let _alone = alone();
    let layers: [fn(Json) -> Json; 3] = [
        |inner| Json::Array(vec![inner]),
        |inner| Json::Object([("k".to_owned(), inner)].into_iter().collect()),
        |inner| Json::Array(vec![Json::Object([("k".to_owned(), inner)].into_iter().collect())]),
    ];
    let mut replica = document();
    let before = (replica.snapshot(), replica.version().clone(), replica.fingerprint());
    for layer in layers {
        let deep = (0..DEPTH).fold(Json::Null, |inner, _| layer(inner));
        for path in ["", "/n", "/new/place", "/count", "/set"] {
            let update = replica.edit(|d| d.update(path, &deep).map(drop)).map(drop);
            let extend = replica.edit(|d| d.extend(path, &deep).map(drop)).map(drop);
            for refused in [update, extend] {
                assert!(matches!(refused, Err(EditError::TooDeep { .. })), "{path}: {:?}", refused.err());
            }
        }
        drop_deep(deep);
    }
    assert_eq!((replica.state(), replica.version(), replica.fingerprint()), (&before.0, &before.1, before.2));
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Nest(Vec<Nest>);

/// As a hostile peer may send it: well-formed deltas, in whose content values nest without end.
#[test]
fn content_nested_without_end_is_kept_and_not_read() {
    let _alone = alone();
    let nested = |depth: usize| [vec![0x91; depth], vec![0x90]].concat();
    let map = |depth: usize| [vec![0x91], [0x81, 0xa0].repeat(depth), vec![0xc0]].concat();

    let mut hostile = document();
    let field = |path: &[u8], kind: u8, key: &[u8]| [&[2][..], path, &[0, 0xfe, 0, kind], key].concat();
    let ours = hostile.state().to_json();
    hostile
        .edit(|d| {
            d.write(Entity::SELF, &field(b"deep", 2, b""), Payload::new(8, &nested(DEPTH)))?;
            d.write(Entity::SELF, &field(b"maps", 2, b""), Payload::new(8, &map(DEPTH)))?;
            d.write(Entity::SELF, &field(b"max", 5, b""), Payload::new(8, &nested(DEPTH)))?;
            d.write(Entity::SELF, &field(b"elements", 4, &[&[8], &nested(4_000)[..]].concat()), Payload::new(16, b""))
        })
        .unwrap();
    let mut here = Replica::<Document>::with_environment(TestEnvironment::new(20));
    here.merge(&Delta::from_bytes(&hostile.complete().to_bytes()).unwrap()).unwrap();
    check_document(here.state()).unwrap();
    assert!(matches!(here.state().get("/deep"), Some(Value::Unknown { kind: 8, bytes }) if bytes.len() == DEPTH + 1));
    assert!(matches!(here.state().get("/maps"), Some(Value::Unknown { kind: 8, .. })));
    assert_eq!((here.state().json("/n"), here.state().kind("/max")), (ours.get("n").cloned(), Some(Kind::Max)));
    assert_eq!(here.complete().to_bytes(), hostile.complete().to_bytes());

    // Types of the app's own, of which the deserialiser would recurse; what nests less is read.
    for (depth, is_read) in [(2, true), (DEPTH, false)] {
        let mut hostile = Replica::<MvRegister<Nest>>::with_environment(TestEnvironment::new(21));
        hostile.edit(|r| r.write(Entity::SELF, b"", Payload::new(32, &nested(depth)))).unwrap();
        let mut here = Replica::<MvRegister<Nest>>::with_environment(TestEnvironment::new(22));
        here.edit(|r| r.set(Nest(vec![]))).unwrap();
        here.merge(&Delta::from_bytes(&hostile.complete().to_bytes()).unwrap()).unwrap();
        assert_eq!(here.state().get().len(), 1 + usize::from(is_read));
        assert_eq!(here.state().state().live_len(), 2);
    }
    for (depth, is_read) in [(2, true), (4_000, false)] {
        let mut hostile = Replica::<OrSet<Nest>>::with_environment(TestEnvironment::new(23));
        hostile.edit(|s| s.write(Entity::SELF, &nested(depth), Payload::new(33, b""))).unwrap();
        let mut here = Replica::<OrSet<Nest>>::with_environment(TestEnvironment::new(24));
        here.edit(|s| s.insert(Nest(vec![]))).unwrap();
        here.merge(&Delta::from_bytes(&hostile.complete().to_bytes()).unwrap()).unwrap();
        assert_eq!(here.state().len(), 1 + usize::from(is_read));
        assert_eq!(here.state().state().live_len(), 2);
    }
}
