//! A process that is killed while it writes, again and again, on one directory. The page cache survives it, so this judges the order in
//! which a process does things; `crash` judges what a medium does.
//!
//! The child is this test's own executable, told by the environment to run nothing but `writer`. It numbers its edits and prints a line
//! for each that has returned, so the parent knows what was acknowledged.
//!
//! `DRIFTLESS_KILLS=1000` kills more often than the hundred times of the normal run.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use driftless::{Graph, NodeId};
use driftless_store::{Durability, Options, StorageError, Store, StoreError};

/// Says to the test process that it is the one that writes, and where.
const DIRECTORY: &str = "DRIFTLESS_WRITER_DIRECTORY";
const MODE: &str = "DRIFTLESS_WRITER_MODE";

const ITEMS: u64 = 40;

/// In batches, the child flushes and acknowledges each time after so many edits.
const BATCH: u64 = 10;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// Every edit is acknowledged.
    Immediate,
    /// Edits are acknowledged after each flush.
    Batched,
    /// As `Immediate`, with segments that stay for as long as a copy takes.
    Copied,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Immediate, Self::Batched, Self::Copied];

    fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Batched => "batched",
            Self::Copied => "copied",
        }
    }

    /// How many writes are acknowledged at once.
    fn batch(self) -> u64 {
        if self == Self::Batched { BATCH } else { 1 }
    }

    /// Segments and checkpoints so small that a child begins several in the time that it lives.
    fn options(self) -> Options {
        let options = match self {
            Self::Immediate | Self::Batched => Options::new().with_segment_len(1_500).with_compaction_floor(3_000),
            Self::Copied => Options::new().with_segment_len(60_000).with_compaction_floor(600_000),
        };
        let delay = Duration::from_millis(2);
        options.with_durability(if self == Self::Batched { Durability::Batched(delay) } else { Durability::Immediate })
    }
}

/// What the write of this number does: it sets one item, and every few removes another.
fn effect(number: u64) -> ((u64, i64), Option<u64>) {
    ((number * 7 % ITEMS, number as i64), number.is_multiple_of(3).then_some(number * 11 % ITEMS))
}

/// What there is after so many writes, by a map.
fn model(writes: u64) -> BTreeMap<u64, i64> {
    let mut items = BTreeMap::new();
    for ((item, value), removed) in (1..=writes).map(effect) {
        items.insert(item, value);
        if let Some(removed) = removed {
            items.remove(&removed);
        }
    }
    items
}

fn id(item: u64) -> NodeId {
    NodeId::named(format!("item:{item}").as_str())
}

fn int(graph: &Graph, node: NodeId) -> Option<i64> {
    Some(graph.node(node)?.get("/n")?.as_int().unwrap())
}

/// How many writes a graph holds, by the counter in it; and that it holds exactly these.
fn writes_in(graph: &Graph) -> u64 {
    let writes = int(graph, NodeId::named("counter")).unwrap_or(0) as u64;
    let items: BTreeMap<u64, i64> = (0..ITEMS).filter_map(|item| Some((item, int(graph, id(item))?))).collect();
    assert_eq!(items, model(writes), "after {writes} writes");
    writes
}

fn write(store: &mut Store<Graph>, number: u64) -> Result<(), StoreError> {
    let ((item, value), removed) = effect(number);
    store
        .try_edit_with(|g, table| {
            let set = |g: &mut driftless::Edit<'_, Graph>, name: &str, value: i64| {
                let id = g.add_node(name)?;
                g.set(id, "/n", value)
            };
            set(g, "counter", number as i64).map_err(StoreError::from)?;
            set(g, &format!("item:{item}"), value).map_err(StoreError::from)?;
            // Now and then a record of many pages, of which a killed process may have written some.
            let filler = match number {
                _ if number.is_multiple_of(31) => 300_000,
                _ if number.is_multiple_of(5) => 2_000,
                _ => 10,
            };
            g.set(NodeId::named("counter"), "/filler", "x".repeat(filler).as_str()).map_err(StoreError::from)?;
            if let Some(removed) = removed.filter(|removed| g.node(id(*removed)).is_some()) {
                g.remove_node(id(removed)).map_err(StoreError::from)?;
            }
            table.put("writes", number.to_le_bytes());
            Ok::<_, StoreError>(())
        })
        .map(drop)
}

/// The child: writes until it is killed, and says of each write when it is acknowledged.
#[test]
fn writer() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let mode = std::env::var(MODE).unwrap();
    let mode = Mode::ALL.into_iter().find(|known| known.name() == mode).unwrap();
    let open = || mode.options().waiting_for_lock(Duration::from_secs(10)).open::<Graph>(&directory).unwrap();
    let mut store = open();
    let writes = writes_in(store.state());
    let mut out = std::io::stdout().lock();
    for number in writes + 1.. {
        write(&mut store, number).unwrap();
        if number.is_multiple_of(mode.batch()) {
            // Of an immediate store, all is durable by now.
            store.flush().unwrap();
            writeln!(out, "acknowledged {number}").unwrap();
            out.flush().unwrap();
        }
        if number.is_multiple_of(70) {
            let backup = Path::new(&directory).with_extension("backup");
            let _ = std::fs::remove_dir_all(&backup);
            store.backup_to(&backup).unwrap();
        }
        if number.is_multiple_of(110) {
            store.close().unwrap();
            store = open();
        }
    }
}

struct Writer {
    child: Child,
    /// The last write that it has acknowledged.
    acknowledged: Arc<AtomicU64>,
    listener: thread::JoinHandle<()>,
}

impl Writer {
    fn start(directory: &Path, mode: Mode) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["writer", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(DIRECTORY, directory).env(MODE, mode.name());
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let heard = Arc::clone(&acknowledged);
        let listener = thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // The first of them follows, on its line, what the test harness says of the test.
                let number = line.split_once("acknowledged ").and_then(|(_, number)| number.parse().ok());
                number.into_iter().for_each(|number| heard.store(number, Ordering::SeqCst));
            }
        });
        Self { child, acknowledged, listener }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until it has acknowledged the write of this number, or a later one.
    fn wait_for(&self, number: u64) {
        let start = Instant::now();
        while self.acknowledged() < number {
            assert!(start.elapsed() < Duration::from_secs(60), "the writer does not write");
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Kills it. Returns the last write that it has acknowledged; 0 if there was none.
    fn kill(mut self) -> u64 {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.code().is_none(), "the writer ended by itself: {status}");
        self.listener.join().unwrap();
        self.acknowledged.load(Ordering::SeqCst)
    }
}

/// Splitmix64.
fn mix(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ seed >> 31
}

/// What the kills met.
#[derive(Debug, Default)]
struct Met {
    /// Killed before it had acknowledged a write.
    early: u64,
    /// Writes that were acknowledged, or found by the parent.
    known: u64,
    /// Writes that were found and had not been acknowledged.
    beyond: u64,
    /// Openings that cut off the end of the log.
    truncated: u64,
    /// A checkpoint was being written, or had its name and was not in use yet.
    compacting: u64,
    /// Openings that found a checkpoint.
    checkpoints: u64,
    /// Backups that opened, and that were half-written and refused.
    backups: (u64, u64),
}

#[test]
fn nothing_acknowledged_is_lost_whenever_the_process_is_killed() {
    if std::env::var_os(DIRECTORY).is_some() {
        return;
    }
    let kills = std::env::var("DRIFTLESS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(100);
    let root = tempfile::tempdir().unwrap();
    let mut met = Met::default();
    for mode in [Mode::Immediate, Mode::Batched] {
        let directory = root.path().join(mode.name());
        let mut last = 0;
        for kill in 0..kills / 2 {
            let writer = Writer::start(&directory, mode);
            // One in five dies while it opens the store; the others write, however slow the disk is.
            if kill % 5 != 0 {
                writer.wait_for(last + 1);
            }
            thread::sleep(Duration::from_micros(1_000 + mix(kill) % 59_000));
            let acknowledged = writer.kill();
            met.early += u64::from(acknowledged == 0);
            if directory.join("head").exists() {
                last = inspect(&directory, mode, kill, last, acknowledged, &mut met);
            }
        }
        met.known += last;
    }
    println!("{kills} kills: {met:?}");
    assert!(met.early <= kills / 5, "hardly anything was written");
    assert!(met.checkpoints > 0, "the log was never replaced by a checkpoint");
}

/// Opens what a killed process has left behind. Returns how many writes are there.
fn inspect(directory: &Path, mode: Mode, kill: u64, last: u64, acknowledged: u64, met: &mut Met) -> u64 {
    let files = std::fs::read_dir(directory).unwrap();
    let names: Vec<String> = files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let checkpoints: Vec<_> = names.iter().filter(|name| name.starts_with("checkpoint-")).collect();
    met.compacting += u64::from(checkpoints.len() > 1 || checkpoints.iter().any(|name| name.ends_with(".tmp")));

    let acknowledged = acknowledged.max(last);
    let writes = match kill % 3 {
        // Then it is the next child that recovers.
        0 => {
            let found = Store::<Graph>::verify(directory).unwrap();
            assert!(found.lost.is_empty(), "a kill damaged the store: {:?}", found.lost);
            writes_in(&Store::<Graph>::read(directory).unwrap())
        }
        _ => {
            let store = mode.options().open::<Graph>(directory).unwrap();
            let recovery = store.recovery();
            assert!(recovery.lost.is_empty() && !recovery.created, "{recovery:?}");
            if let Some(cut) = &recovery.truncated {
                assert!(!recovery.was_closed && cut.bytes > 0 && cut.file.starts_with("segment-"), "{recovery:?}");
                met.truncated += 1;
            }
            met.checkpoints += u64::from(store.usage().checkpoint > 0);
            let writes = writes_in(store.state());
            let in_table = store.get("writes").map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
            assert_eq!(in_table, writes, "the table and the state disagree");
            writes
        }
    };
    assert!(writes >= acknowledged, "{acknowledged} writes were acknowledged, {writes} are there");
    assert!(writes <= acknowledged + mode.batch(), "{acknowledged} writes were acknowledged, {writes} are there");
    met.beyond += writes - acknowledged;

    match Store::<Graph>::read(directory.with_extension("backup")) {
        Ok(copy) => {
            assert!(writes_in(&copy) <= writes);
            met.backups.0 += 1;
        }
        Err(StoreError::Storage(
            StorageError::NoStore { .. } | StorageError::Missing { .. } | StorageError::Damaged { .. },
        )) => met.backups.1 += u64::from(directory.with_extension("backup").exists()),
        Err(other) => panic!("{other}"),
    }
    writes
}

#[test]
fn a_directory_that_is_copied_while_it_is_written_to_opens_as_it_was_or_is_refused() {
    if std::env::var_os(DIRECTORY).is_some() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("store");
    let writer = Writer::start(&directory, Mode::Copied);
    let (mut opened, mut refused, mut most) = (0, 0, 0);
    writer.wait_for(20);
    for copy in 0..30 {
        let to = root.path().join(format!("copy-{copy}"));
        std::fs::create_dir(&to).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        // In any order, as tools do.
        names.sort_by_key(|name| {
            mix(copy ^ name.len() as u64 ^ u64::from(name.as_encoded_bytes().last().copied().unwrap_or(0)))
        });
        for name in names {
            // What is gone is gone.
            let _ = std::fs::copy(directory.join(&name), to.join(&name));
            thread::sleep(Duration::from_micros(mix(copy) % 900));
        }
        match Store::<Graph>::open(&to) {
            Ok(store) => {
                most = writes_in(store.state()).max(most);
                opened += 1;
            }
            Err(StoreError::Storage(error)) => {
                assert!(error.to_string().contains('`'), "names no file: {error}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let acknowledged = writer.kill();
    assert!(most <= acknowledged + 1, "{acknowledged} writes were acknowledged, {most} are in a copy");
    println!("30 copies: {opened} opened, {refused} refused");
    assert!(opened > 0, "not one copy opened");
}
