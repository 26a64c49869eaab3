//! A process that is killed while it writes, again and again, on one directory. The page cache survives it, so this judges the order in
//! which a process does things; `crash` judges what a medium does.
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
use driftless_store::{Durability, Options, Store, StoreError};

/// Says to the test process that it is the one that writes, and where.
const DIRECTORY: &str = "DRIFTLESS_WRITER_DIRECTORY";
const BATCHED: &str = "DRIFTLESS_WRITER_BATCHED";

const ITEMS: u64 = 40;

/// How long a child may take until it writes.
const START: Duration = Duration::from_secs(20);

fn options(batched: bool) -> Options {
    let durability = if batched { Durability::Batched(Duration::from_millis(2)) } else { Durability::Immediate };
    Options::new().with_segment_len(6_000).with_compaction_floor(25_000).with_durability(durability)
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
            if number.is_multiple_of(13) {
                g.set(id(item), "/filler", "x".repeat(3_000).as_str()).map_err(StoreError::from)?;
            }
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
    let batched = std::env::var_os(BATCHED).is_some();
    let mut store = options(batched).waiting_for_lock(Duration::from_secs(10)).open::<Graph>(&directory).unwrap();
    let writes = writes_in(store.state());
    let mut out = std::io::stdout().lock();
    for number in writes + 1.. {
        write(&mut store, number).unwrap();
        if batched && number.is_multiple_of(10) {
            store.flush().unwrap();
        }
        if !batched || number.is_multiple_of(10) {
            writeln!(out, "acknowledged {number}").unwrap();
            out.flush().unwrap();
        }
        if number.is_multiple_of(150) {
            let backup = Path::new(&directory).with_extension("backup");
            let _ = std::fs::remove_dir_all(&backup);
            store.backup_to(&backup).unwrap();
        }
    }
}

/// A child that writes to a directory, and the last write that it has acknowledged.
fn start(directory: &Path, batched: bool) -> (Child, Arc<AtomicU64>, thread::JoinHandle<()>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["writer", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).stdout(Stdio::piped()).stderr(Stdio::inherit());
    if batched {
        command.env(BATCHED, "1");
    }
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
    (child, acknowledged, listener)
}

/// Splitmix64.
fn mix(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ seed >> 31
}

#[test]
fn nothing_acknowledged_is_lost_whenever_the_process_is_killed() {
    if std::env::var_os(DIRECTORY).is_some() {
        return;
    }
    let kills = std::env::var("DRIFTLESS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(100);
    let root = tempfile::tempdir().unwrap();
    let (mut beyond, mut truncated, mut checkpoints, mut killed_early) = (0, 0, 0, 0);
    let mut total = 0;
    for (directory, batched) in [("immediate", false), ("batched", true)] {
        let directory = root.path().join(directory);
        let mut last = 0;
        for kill in 0..kills / 2 {
            let (mut child, acknowledged, listener) = start(&directory, batched);
            // Some die while they open the store; the others once they write, however busy the machine is.
            let begun = Instant::now();
            while kill % 5 != 0 && acknowledged.load(Ordering::SeqCst) == 0 && begun.elapsed() < START {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_micros(500 + mix(kill) % 50_000));
            child.kill().unwrap();
            child.wait().unwrap();
            listener.join().unwrap();
            let acknowledged = acknowledged.load(Ordering::SeqCst);
            killed_early += u64::from(acknowledged == 0);
            let acknowledged = acknowledged.max(last);
            if !directory.join("head").exists() {
                continue;
            }
            let checkpoint = |name: &str| name.starts_with("checkpoint-") && name.ends_with(".tmp");
            let files = std::fs::read_dir(&directory).unwrap();
            let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            checkpoints += u64::from(names.into_iter().any(|name| checkpoint(&name)));
            let writes = match kill % 3 {
                // Then it is the next child that recovers.
                0 => writes_in(&Store::<Graph>::read(&directory).unwrap()),
                _ => {
                    let store = options(batched).open::<Graph>(&directory).unwrap();
                    truncated += u64::from(store.recovery().truncated.is_some());
                    let writes = writes_in(store.state());
                    let in_table = store.get("writes").map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
                    assert_eq!(in_table, writes, "the table and the state disagree");
                    writes
                }
            };
            assert!(writes >= acknowledged, "{acknowledged} writes were acknowledged, {writes} are there");
            assert!(batched || writes <= acknowledged.max(last) + 1, "{acknowledged} acknowledged, {writes} there");
            beyond += writes - acknowledged;
            last = writes;
        }
        total += last;
    }
    println!(
        "{kills} kills: {total} writes, {beyond} found beyond those acknowledged, {killed_early} killed before the first, \
         {truncated} truncated, {checkpoints} while a checkpoint was written"
    );
    assert!(total > 10 * kills && killed_early < kills, "hardly anything was written");
}

#[test]
fn a_directory_that_is_copied_while_it_is_written_to_opens_as_it_was_or_is_refused() {
    if std::env::var_os(DIRECTORY).is_some() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("store");
    let (mut child, acknowledged, listener) = start(&directory, false);
    let (mut opened, mut refused) = (0, 0);
    while acknowledged.load(Ordering::SeqCst) < 20 {
        thread::sleep(Duration::from_millis(1));
    }
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
                assert!(writes_in(store.state()) <= acknowledged.load(Ordering::SeqCst) + 1);
                opened += 1;
            }
            Err(StoreError::Storage(error)) => {
                assert!(error.to_string().contains('`'), "names no file: {error}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    listener.join().unwrap();
    println!("30 copies: {opened} opened, {refused} refused");
    assert!(opened > 0, "not one copy opened");
}

#[cfg(unix)]
#[test]
fn a_directory_that_may_not_be_written_is_read_and_not_opened() {
    use std::os::unix::fs::PermissionsExt;

    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("store");
    let mut store = Store::<Graph>::open(&directory).unwrap();
    write(&mut store, 1).unwrap();
    drop(store);
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o444)).unwrap();
    }
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(writes_in(&Store::<Graph>::read(&directory).unwrap()), 1);
    // Whoever may do everything, as root may, is not held up by permissions.
    if let Err(error) = Store::<Graph>::open(&directory) {
        assert!(error.to_string().contains("could not"), "{error}");
    }
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn there_is_no_store_where_none_was_begun() {
    let root = tempfile::tempdir().unwrap();
    for directory in [root.path().join("nowhere"), root.path().to_owned()] {
        let error = Store::<Graph>::read(&directory).unwrap_err();
        assert!(error.to_string().starts_with("there is no store in"), "{error}");
        assert!(Store::<Graph>::verify(&directory).is_err());
    }
    assert!(!root.path().join("nowhere").exists(), "looking made a directory");
    std::fs::write(root.path().join("notes.txt"), "mine").unwrap();
    drop(Store::<Graph>::open(root.path()).unwrap());
    assert_eq!(std::fs::read_to_string(root.path().join("notes.txt")).unwrap(), "mine");
}
