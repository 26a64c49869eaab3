//! The exported journal: every change that is durable is one line, numbered without a gap, whatever stops in between.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use driftless::{Graph, JournalLimit, NodeId, Replica};
use driftless_store::{
    Disk, DiskFile, Durability, ExportLimit, Fault, Lock, LockError, Options, SharedStore, SimulatedDisk, Store,
    StoreError,
};
use proptest::prelude::*;
use serde_json::Value;

/// A directory on a disk that others lie on too: they stop together.
#[derive(Debug)]
struct Directory(&'static str, SimulatedDisk);

impl Directory {
    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

#[derive(Debug)]
struct Unlocked;

impl Lock for Unlocked {}

impl Disk for Directory {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.1.create(&self.at(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.1.open(&self.at(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.1.rename(&self.at(from), &self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.1.remove(&self.at(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.1.sync_directory()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let (prefix, names) = (format!("{}/", self.0), self.1.list()?);
        Ok(names.iter().filter_map(|name| Some(name.strip_prefix(&prefix)?.to_owned())).collect())
    }

    fn lock(&self, _: &str, _: Duration) -> Result<Box<dyn Lock>, LockError> {
        Ok(Box::new(Unlocked))
    }

    fn location(&self) -> String {
        self.0.to_owned()
    }
}

const SMALL: ExportLimit = ExportLimit { file_bytes: 3_000, files: usize::MAX };

fn open(disk: &SimulatedDisk, durability: Durability, limit: ExportLimit) -> Result<Store<Graph>, StoreError> {
    let options = Options::new().with_durability(durability).with_segment_len(900).with_compaction_floor(4_000);
    let options = options.without_background().with_export_on(Directory("changes", disk.clone()), limit);
    options.open_on(Directory("store", disk.clone()))
}

/// All lines, in order.
fn lines(disk: &SimulatedDisk) -> Vec<Value> {
    let image = disk.image();
    let files: Vec<_> = image.iter().filter(|(name, _)| name.starts_with("changes/changes-")).collect();
    let mut lines = Vec::new();
    for (_, bytes) in files {
        assert!(bytes.is_empty() || bytes.ends_with(b"\n"));
        let text = std::str::from_utf8(bytes).unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    lines
}

type Cell = (u64, String, String);

fn cell(line: &Value) -> Cell {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (line["entity"]["kind"].as_u64().unwrap(), text(&line["entity"]["id"]), text(&line["field"]))
}

/// Checks that lines have no gap and go on from each other; returns what all cells hold in the end.
fn fold(lines: &[Value]) -> BTreeMap<Cell, Value> {
    let mut cells = BTreeMap::new();
    for (line, number) in lines.iter().zip(1..) {
        assert_eq!(line["number"], number, "{line}");
        let was = cells.insert(cell(line), line["now"].clone()).unwrap_or(Value::Array(Vec::new()));
        assert_eq!(was, line["was"], "{line}");
    }
    cells.retain(|_, now| now.as_array().is_some_and(|now| !now.is_empty()));
    cells
}

/// What all cells hold, as a journal says it that hears of them at once.
fn held(store: &Store<Graph>) -> BTreeMap<Cell, Value> {
    let mut replica = Replica::<Graph>::new();
    replica.keep_journal(JournalLimit { entries: usize::MAX, bytes: usize::MAX });
    replica.merge(&store.replica().complete()).unwrap();
    let entries = replica.journal().unwrap().entries().map(|entry| serde_json::to_value(entry).unwrap());
    entries.map(|line| (cell(&line), line["now"].clone())).collect()
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Set(u8, i64),
    Remove(u8),
    Link(u8, u8),
    Many(u8),
    Peer(u8, i64),
    Meet,
    Flush,
    Compact,
    Open,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0u8..6, any::<i64>()).prop_map(|(node, value)| Act::Set(node, value)),
        2 => (0u8..6).prop_map(Act::Remove),
        1 => (0u8..6, 0u8..6).prop_map(|(from, to)| Act::Link(from, to)),
        1 => (0u8..6).prop_map(Act::Many),
        2 => (0u8..6, any::<i64>()).prop_map(|(node, value)| Act::Peer(node, value)),
        2 => Just(Act::Meet),
        2 => Just(Act::Flush),
        1 => Just(Act::Compact),
        1 => Just(Act::Open),
    ]
}

fn id(node: u8) -> NodeId {
    NodeId::named(format!("node:{node}").as_str())
}

fn set(store: &mut Store<Graph>, node: u8, value: i64) -> Result<(), StoreError> {
    store.edit(|g| g.add_node(format!("node:{node}").as_str()).and_then(|id| g.set(id, "/value", value))).map(drop)
}

/// Does something; an error says that the disk has stopped.
fn act_on(store: &mut Store<Graph>, peer: &mut Replica<Graph>, act: Act) -> Result<(), StoreError> {
    match act {
        Act::Set(node, value) => set(store, node, value)?,
        Act::Remove(node) => drop(store.edit(|g| g.remove_node(id(node)))?),
        Act::Link(from, to) => drop(store.edit(|g| g.link(id(from), "knows", id(to)))?),
        Act::Many(value) => {
            let edited = store.edit(|g| {
                for node in (0..6).rev() {
                    g.add_node(format!("node:{node}").as_str())?;
                    g.set(id(node), "/value", i64::from(value))?;
                    g.label(id(node), "Many")?;
                }
                g.remove_node(id(value % 6)).map(drop)
            });
            drop(edited?);
        }
        Act::Peer(node, value) => {
            let name = format!("node:{node}");
            peer.edit(|g| g.add_node(name.as_str()).and_then(|id| g.set(id, "/value", value))).unwrap();
        }
        Act::Meet => {
            peer.merge(&store.delta_since(peer.version())?).unwrap();
            store.merge(&peer.delta_since(store.version()).unwrap())?;
        }
        Act::Flush => store.flush()?,
        Act::Compact => store.compact()?,
        Act::Open => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("DRIFTLESS_CRASHES").map_or(300, |_| 20_000), ..ProptestConfig::default() })]

    #[test]
    fn lines_tell_all_that_is_durable_wherever_the_machine_stops(
        acts in prop::collection::vec(act(), 1..40),
        stops in prop::collection::vec(1u64..160, 0..4),
        is_manual in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let durability = if is_manual { Durability::Manual } else { Durability::Immediate };
        let (mut disk, mut peer, mut stops) = (SimulatedDisk::new(), Replica::<Graph>::new(), stops.into_iter());
        let (mut random, mut acts) = (seed, acts.into_iter().peekable());
        let mut keeps = move |_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random >> 40 & 3 != 0
        };
        disk.set_fault(stops.next().map_or(Fault::None, Fault::Stop));
        while acts.peek().is_some() {
            let mut went = || -> Result<(), StoreError> {
                let mut store = open(&disk, durability, SMALL)?;
                assert_lines(&disk, &store);
                for act in acts.by_ref() {
                    act_on(&mut store, &mut peer, act)?;
                    if durability == Durability::Immediate {
                        assert_lines(&disk, &store);
                    }
                    if matches!(act, Act::Open) {
                        break;
                    }
                }
                store.close()
            };
            if went().is_err() {
                // The machine has stopped. The peer was told nothing that is lost, or it could not be equal below.
                disk = SimulatedDisk::with(&disk.crash(&mut keeps));
                let stop = stops.next();
                disk.set_fault(stop.map_or(Fault::None, Fault::Stop));
            }
        }
        let mut store = loop {
            match open(&disk, durability, SMALL) {
                Ok(store) => break store,
                Err(_) => disk = SimulatedDisk::with(&disk.crash(&mut keeps)),
            }
        };
        assert_lines(&disk, &store);
        disk.set_fault(Fault::None);
        if act_on(&mut store, &mut peer, Act::Meet).is_ok() {
            prop_assert!(store.state() == peer.state());
        }
    }
}

/// What the lines tell is what the store holds, unless the machine stopped while they were written.
fn assert_lines(disk: &SimulatedDisk, store: &Store<Graph>) {
    match store.export_error() {
        Some(error) => assert!(error.to_string().contains("the machine has stopped"), "{error}"),
        None => assert_eq!(fold(&lines(disk)), held(store)),
    }
}

fn numbers(disk: &SimulatedDisk) -> Vec<u64> {
    lines(disk).iter().map(|line| line["number"].as_u64().unwrap()).collect()
}

#[test]
fn a_failing_export_fails_no_edit_and_catches_up() {
    let disk = SimulatedDisk::new();
    let mut store = open_apart(&disk).unwrap();
    set(&mut store, 0, 0).unwrap();
    disk.set_fault(Fault::Full(disk.image().values().map(|bytes| bytes.len() as u64).sum::<u64>() + 100));
    for value in 1..40 {
        set(&mut store, 0, value).unwrap();
    }
    store.compact().unwrap();
    let error = store.export_error().unwrap().to_string();
    assert!(error.contains("there is no room for `changes-"), "{error}");
    disk.set_fault(Fault::None);
    set(&mut store, 0, 40).unwrap();
    assert!(store.export_error().is_none());
    assert_eq!(numbers(&disk), (1..=42).collect::<Vec<_>>());
    assert_eq!(fold(&lines(&disk)), held(&store));
}

/// The store lies elsewhere than its export.
fn open_apart(disk: &SimulatedDisk) -> Result<Store<Graph>, StoreError> {
    let options = Options::new().without_background().with_export_on(Directory("changes", disk.clone()), SMALL);
    options.open_storage(driftless_store::MemoryStorage::new())
}

#[test]
fn changes_that_a_checkpoint_took_before_they_were_exported_are_told_as_lost() {
    let (disk, storage) = (SimulatedDisk::new(), driftless_store::MemoryStorage::new());
    let open = || {
        let options = Options::new().without_background().with_export_on(Directory("changes", disk.clone()), SMALL);
        options.open_storage::<Graph>(storage.clone()).unwrap()
    };
    let mut store = open();
    set(&mut store, 0, 0).unwrap();
    disk.set_fault(Fault::Full(0));
    set(&mut store, 0, 1).unwrap();
    store.compact().unwrap();
    drop(store);
    disk.set_fault(Fault::None);
    let mut store = open();
    let [lost] = &store.recovery().lost[..] else { panic!("{:?}", store.recovery()) };
    assert_eq!(lost.what, "the changes 3 to 3 were not exported");
    set(&mut store, 0, 2).unwrap();
    assert_eq!(numbers(&disk), [1, 2, 4]);
}

#[test]
fn files_are_begun_by_size_and_the_oldest_go() {
    let (disk, limit) = (SimulatedDisk::new(), ExportLimit { file_bytes: 1_000, files: 3 });
    let mut store = open(&disk, Durability::Immediate, limit).unwrap();
    for value in 0..50 {
        set(&mut store, 1, value).unwrap();
    }
    let image = disk.image();
    let names: Vec<_> = image.keys().filter(|name| name.starts_with("changes/")).collect();
    assert_eq!(names.len(), 3);
    let told = numbers(&disk);
    assert_eq!(names[0], &format!("changes/changes-{:020}.jsonl", told[0]));
    assert_eq!(told, (told[0]..=51).collect::<Vec<_>>());
    assert!(image.iter().filter(|(name, _)| name.starts_with("changes/")).all(|(_, bytes)| bytes.len() < 2_000));
    drop(store);
    // Without room for a file there is still one.
    let mut store = open(&disk, Durability::Immediate, ExportLimit { file_bytes: 0, files: 0 }).unwrap();
    set(&mut store, 1, 50).unwrap();
    assert_eq!(numbers(&disk), [52]);
}

#[test]
fn what_was_not_recorded_is_a_gap_in_the_numbers() {
    let disk = SimulatedDisk::new();
    let without = || Options::new().without_background().open_on::<Graph>(Directory("store", disk.clone())).unwrap();
    let with = || open(&disk, Durability::Immediate, SMALL).unwrap();
    set(&mut without(), 0, 0).unwrap();
    set(&mut with(), 0, 1).unwrap();
    assert_eq!(numbers(&disk), [2]);
    // The log still holds what was written meanwhile: it is told late.
    set(&mut without(), 0, 2).unwrap();
    set(&mut with(), 0, 3).unwrap();
    assert_eq!(numbers(&disk), [2, 3, 4]);
    // A checkpoint does not.
    let mut store = without();
    set(&mut store, 0, 4).unwrap();
    store.compact().unwrap();
    drop(store);
    set(&mut with(), 0, 5).unwrap();
    assert_eq!(numbers(&disk), [2, 3, 4, 6]);
}

#[test]
fn an_old_backup_goes_on_after_what_was_told() {
    let directory = tempfile::tempdir().unwrap();
    let [store, backup, changes] = ["store", "backup", "changes"].map(|name| directory.path().join(name));
    let open = |path| Options::new().with_export(&changes, ExportLimit::default()).open::<Graph>(path);
    let mut first = open(&store).unwrap();
    set(&mut first, 0, 0).unwrap();
    first.backup_to(&backup).unwrap();
    set(&mut first, 0, 1).unwrap();
    let locked = open(&backup).unwrap_err().to_string();
    assert!(locked.contains("changes") && locked.contains("is open already"), "{locked}");
    drop(first);
    set(&mut open(&backup).unwrap(), 0, 2).unwrap();
    let text = std::fs::read_to_string(changes.join("changes-00000000000000000001.jsonl")).unwrap();
    let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["number"].as_u64().unwrap();
    assert_eq!(text.lines().map(number).collect::<Vec<_>>(), [1, 2, 3, 5]);
}

#[test]
fn the_end_that_is_not_whole_is_written_anew() {
    let disk = SimulatedDisk::new();
    let mut store = open(&disk, Durability::Immediate, SMALL).unwrap();
    set(&mut store, 0, 0).unwrap();
    set(&mut store, 1, 0).unwrap();
    let (whole, held) = (lines(&disk), held(&store));
    drop(store);
    let name = "changes/changes-00000000000000000001.jsonl";
    let bytes = disk.image()[name].clone();
    for end in 0..bytes.len() {
        for garbage in [&b""[..], b"\0\0\0", b"\n", b"\xff"] {
            let mut image = disk.image();
            image.insert(name.to_owned(), [&bytes[..end], garbage].concat());
            let disk = SimulatedDisk::with(&image);
            let store = open(&disk, Durability::Immediate, SMALL).unwrap();
            assert!(store.recovery().lost.is_empty());
            let told = lines(&disk);
            assert_eq!(fold(&told), held);
            let alike = |(told, whole): (&Value, &Value)| {
                ["number", "origin", "field", "was", "now", "writes"].iter().all(|key| told[*key] == whole[*key])
            };
            assert!(told.len() == whole.len() && told.iter().zip(&whole).all(alike), "{told:#?}");
        }
    }
}

#[test]
fn threads_export_what_they_share_and_a_journal_in_memory_stays() {
    let disk = SimulatedDisk::new();
    for durability in [Durability::Immediate, Durability::Batched(Duration::from_millis(1)), Durability::Manual] {
        let options =
            Options::new().with_durability(durability).with_export_on(Directory("changes", disk.clone()), SMALL);
        let options = options.with_journal(JournalLimit { entries: 3, bytes: usize::MAX });
        let store = SharedStore::new(options.open_on::<Graph>(Directory("store", disk.clone())).unwrap()).unwrap();
        let threads: Vec<_> = (0..4u8)
            .map(|thread| {
                let store = store.clone();
                std::thread::spawn(move || {
                    for value in 0..25i64 {
                        let edited = store.edit(|g| {
                            let node = g.add_node(format!("node:{thread}").as_str())?;
                            g.set(node, "/value", value)
                        });
                        edited.unwrap();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        store.flush().unwrap();
        let guard = store.lock();
        assert_eq!(fold(&lines(&disk)), held(&guard));
        assert_eq!(guard.journal().unwrap().len(), 3);
        assert!(guard.export_error().is_none());
    }
    assert_eq!(numbers(&disk), (1..=304).collect::<Vec<_>>());
}
