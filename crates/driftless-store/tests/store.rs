//! What a store promises, through its public methods, on a real directory.

use std::time::Duration;

use driftless::sync::{self, Replicated};
use driftless::{Delta, Graph, NodeId, Replica};
use driftless_store::{Durability, MemoryStorage, Options, SharedStore, StorageError, Store, StoreError};

fn add(store: &mut Store<Graph>, name: &str) -> Delta {
    store.edit(|g| g.add_node(name)).unwrap().1
}

fn has(graph: &Graph, name: &str) -> bool {
    graph.node(NodeId::named(name)).is_some()
}

#[test]
fn what_was_written_is_there_when_the_store_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::<Graph>::open(directory.path()).unwrap();
    assert!(store.recovery().created);
    add(&mut store, "person:ada");
    let (version, fingerprint) = (store.version().clone(), store.fingerprint());
    drop(store);
    for _ in 0..3 {
        let store = Store::<Graph>::open(directory.path()).unwrap();
        assert!(store.recovery().was_closed && !store.recovery().created);
        assert_eq!((store.version(), store.fingerprint()), (&version, fingerprint));
    }
}

#[test]
fn each_opening_goes_on_from_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    for n in 0..20 {
        let mut store = Options::new().with_device("laptop").open::<Graph>(directory.path()).unwrap();
        assert_eq!(store.state().node_count(), n);
        add(&mut store, &format!("note:{n}"));
        // One line of writers: the version has one head, however often the store was opened.
        assert_eq!(store.version().len(), 1);
        if n % 7 == 3 {
            store.compact().unwrap();
        }
    }
}

/// A command that opens the store for each edit left a file each time, and the next opening read all of them.
#[test]
fn a_thousand_openings_leave_no_thousand_files() {
    let disk = driftless_store::SimulatedDisk::new();
    let mut most = 0;
    for n in 0..1_000 {
        let mut store = Options::new().with_device("laptop").open_on::<Graph>(disk.clone()).unwrap();
        store
            .edit(|g| {
                let id = g.add_node("note:one")?;
                g.set(id, "/n", n)
            })
            .unwrap();
        store.close().unwrap();
        most = most.max(disk.image().len());
    }
    assert!(most < 75, "{most} files");
    let store = Options::new().open_on::<Graph>(disk).unwrap();
    assert_eq!((store.version().len(), store.state().node_count()), (1, 1));
    assert!(store.usage().log + store.usage().checkpoint < 150_000, "{:?}", store.usage());
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Options::new().with_device("laptop").open::<Graph>(directory.path()).unwrap();
    let second = Store::<Graph>::open(directory.path()).unwrap_err();
    assert!(
        matches!(&second, StoreError::Storage(StorageError::Locked { holder, .. }) if holder.contains("laptop")),
        "{second}"
    );
    assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
    let waiting = std::thread::scope(|scope| {
        let path = directory.path();
        let waiting =
            scope.spawn(move || Options::new().waiting_for_lock(Duration::from_secs(20)).open::<Graph>(path).map(drop));
        std::thread::sleep(Duration::from_millis(50));
        drop(store);
        waiting.join().unwrap()
    });
    waiting.unwrap();
}

#[test]
fn a_store_of_another_type_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::<Graph>::open(directory.path()).unwrap());
    let other = Store::<driftless::Document>::open(directory.path()).unwrap_err();
    assert!(matches!(other, StoreError::Storage(StorageError::Schema { .. })), "{other}");
}

#[test]
fn an_edit_and_the_table_are_there_together() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::<Graph>::open(directory.path()).unwrap();
    store
        .try_edit_with(|g, table| {
            g.add_node("mail:1").map_err(StoreError::from)?;
            assert_eq!(table.get("cursor"), None);
            table.put("cursor", b"1");
            assert_eq!(table.get("cursor"), Some(&b"1"[..]));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    store.put("mail/a", b"x").unwrap();
    store.put("mail/b", b"y").unwrap();
    store.remove("mail/a").unwrap();
    let failed = store.try_edit_with(|g, table| {
        g.add_node("mail:2").map_err(StoreError::from)?;
        table.put("cursor", b"2");
        Err::<(), _>(StoreError::from(driftless::EditError::abort("no")))
    });
    assert!(failed.is_err());
    let check = |store: &Store<Graph>| {
        assert_eq!((store.get("cursor"), store.state().node_count()), (Some(&b"1"[..]), 1));
        assert_eq!(store.scan("mail/").collect::<Vec<_>>(), [(&b"mail/b"[..], &b"y"[..])]);
        assert_eq!(store.scan("").count(), 2);
    };
    check(&store);
    drop(store);
    let mut store = Store::<Graph>::open(directory.path()).unwrap();
    check(&store);
    store.compact().unwrap();
    drop(store);
    check(&Store::<Graph>::open(directory.path()).unwrap());
}

#[test]
fn stores_sync_by_sessions_and_folders_like_replicas() {
    let (one, other, folder) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut laptop = Store::<Graph>::open(one.path()).unwrap();
    let mut phone = Options::new().with_durability(Durability::Manual).open::<Graph>(other.path()).unwrap();
    add(&mut laptop, "person:ada");
    add(&mut phone, "person:bob");
    phone.flush().unwrap();
    sync::in_memory(&mut laptop, &mut phone).unwrap();
    assert_eq!(laptop.state(), phone.state());

    let mut third = Replica::<Graph>::new();
    let mut files = sync::Folder::open(folder.path(), "laptop").unwrap();
    assert!(files.sync(&mut laptop).unwrap().unwritten.is_none());
    let mut read = sync::Folder::open(folder.path(), "third").unwrap();
    assert_eq!(read.pull(&mut third).unwrap().merged.len(), 1);
    assert_eq!(third.state(), laptop.state());
    drop(laptop);
    let laptop = Store::<Graph>::open(one.path()).unwrap();
    assert_eq!(laptop.state(), third.state());
    assert_eq!(Replicated::replica(&laptop).version(), third.version());
}

#[test]
fn a_long_log_is_replaced_by_a_checkpoint_beside_writing() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        || Options::new().with_compaction_floor(20_000).with_segment_len(8_000).with_durability(Durability::Manual);
    let mut store = options().open::<Graph>(directory.path()).unwrap();
    for n in 0..2_000 {
        store
            .edit(|g| {
                let id = g.add_node("note:one")?;
                g.set(id, "/n", n)
            })
            .unwrap();
    }
    assert!(store.compaction_error().is_none());
    store.close().unwrap();
    let on_disk: u64 =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    // All that is alive is one node.
    assert!(on_disk < 50_000, "{on_disk} bytes in files");
    let store = options().open::<Graph>(directory.path()).unwrap();
    assert_eq!(store.state().node_count(), 1);
}

#[test]
fn a_backup_is_a_store_and_so_is_what_an_app_kept_itself() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second, third] = ["a", "b", "c"].map(|name| directory.path().join(name));
    let mut replica = Replica::<Graph>::new();
    replica.edit(|g| g.add_node("person:ada")).unwrap();
    let saved = replica.save();
    let (_, later) = replica.edit(|g| g.add_node("person:bob")).unwrap();
    let mut store = Store::<Graph>::import(&first, &saved, [&later]).unwrap();
    assert_eq!((store.state(), store.version()), (replica.state(), replica.version()));
    assert!(Store::<Graph>::import(&first, &saved, []).is_err(), "a store was overwritten");
    store.put("k", "v").unwrap();
    store.backup_to(&second).unwrap();
    assert!(store.backup_to(&second).is_err(), "a backup was overwritten");
    add(&mut store, "person:eve");
    let mut backup = Store::<Graph>::open(&second).unwrap();
    assert_eq!((backup.state().node_count(), backup.get("k")), (2, Some(&b"v"[..])));
    // Both go on: nothing collides.
    add(&mut backup, "person:mallory");
    sync::in_memory(&mut store, &mut backup).unwrap();
    assert_eq!((store.state(), store.state().node_count()), (backup.state(), 4));
    drop(store);
    assert!(Store::<Graph>::import(&third, b"no state", []).is_err());
    assert!(Store::<Graph>::read(&third).is_err(), "a failed import left a store");
}

#[test]
fn a_store_is_read_while_another_process_writes_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut store =
        Options::new().with_compaction_floor(10_000).with_segment_len(3_000).open::<Graph>(directory.path()).unwrap();
    std::thread::scope(|scope| {
        let path = directory.path();
        let reader = scope.spawn(move || {
            let (mut last, mut reads) = (0, 0);
            while last < 150 {
                let count = Store::<Graph>::read(path).unwrap().node_count();
                assert!(count >= last, "a reader went back from {last} to {count}");
                (last, reads) = (count, reads + 1);
            }
            reads
        });
        for n in 0..150 {
            add(&mut store, &format!("note:{n}"));
        }
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn staged_bytes_and_devices_survive() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::<Graph>::open(directory.path()).unwrap();
    add(&mut store, "person:ada");
    let version = store.version().clone();
    store.acknowledge("phone", version.clone()).unwrap();
    assert!(store.staged("phone").unwrap().is_none());
    drop(store);
    let mut store = Store::<Graph>::open(directory.path()).unwrap();
    assert_eq!(store.devices().acknowledged("phone").unwrap().version(), &version);
    store.edit(|g| g.remove_node(NodeId::named("person:ada")).map(drop)).unwrap();
    // The phone has not seen the removal.
    assert_eq!(store.acknowledge("phone", version).unwrap(), 0);
    let now = store.version().clone();
    assert_eq!(store.acknowledge("phone", now).unwrap(), 1);
    assert_eq!(store.scan("").count(), 0, "the store's own entries are not the app's");
}

#[test]
fn writers_in_many_threads_share_syncs() {
    let directory = tempfile::tempdir().unwrap();
    let store = SharedStore::new(Store::<Graph>::open(directory.path()).unwrap()).unwrap();
    let mut watcher = store.watch();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..25 {
                    store.edit(|g| g.add_node(format!("note:{writer}:{n}").as_str())).unwrap();
                    // One's own write is there.
                    assert!(has(&store.snapshot(), &format!("note:{writer}:{n}")));
                }
            });
        }
    });
    assert_eq!(store.snapshot().node_count(), 200);
    assert_eq!(watcher.wait(Duration::ZERO).as_ref(), Some(&store.version()));
    assert!(watcher.wait(Duration::from_millis(1)).is_none());
    store.lock().put("k", "v").unwrap();
    drop((store, watcher));
    let store = Store::<Graph>::open(directory.path()).unwrap();
    assert_eq!((store.state().node_count(), store.get("k")), (200, Some(&b"v"[..])));
}

#[test]
fn a_batched_store_becomes_durable_by_itself() {
    let storage = MemoryStorage::new();
    let batched = Options::new().with_durability(Durability::Batched(Duration::from_millis(5)));
    let mut store = batched.open_storage::<Graph>(storage.clone()).unwrap();
    add(&mut store, "person:ada");
    let begun = std::time::Instant::now();
    while !store.is_durable() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody syncs");
        std::thread::sleep(Duration::from_millis(1));
    }
    let shared = SharedStore::new(store).unwrap();
    let mut watcher = shared.watch();
    shared.edit(|g| g.add_node("person:bob")).unwrap();
    assert!(watcher.wait(Duration::from_secs(20)).is_some());
    assert_eq!(shared.snapshot().node_count(), 2);
}

/// A clock that is set by the test.
struct Clock(std::sync::Arc<std::sync::atomic::AtomicU64>);

impl driftless::Environment for Clock {
    fn now_ms(&mut self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
    fn random(&mut self) -> [u8; 16] {
        driftless::SystemEnvironment.random()
    }
}

#[test]
fn a_clock_that_jumps_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    for (n, now) in [1_800_000_000_000, 1, 4_000_000_000_000, u64::MAX, 0, 1_800_000_000_001].into_iter().enumerate() {
        clock.store(now, std::sync::atomic::Ordering::Relaxed);
        let mut store = Options::new().with_environment(Clock(clock.clone())).open::<Graph>(directory.path()).unwrap();
        store
            .edit(|g| {
                let id = g.add_node("note:one")?;
                g.set(id, "/n", n as i64)
            })
            .unwrap();
        store.compact().unwrap();
        let node = store.state().node(NodeId::named("note:one")).unwrap();
        // What was written last by whoever had seen all before it shows, whatever the clock said.
        assert_eq!(node.get("/n").unwrap().as_int(), Some(n as i64));
    }
}

#[test]
fn any_type_lives_in_a_store() {
    use driftless::{Document, GCounter, LwwRegister, OrSet};

    fn reopened<T: driftless::Crdt + PartialEq + std::fmt::Debug>(
        edit: impl FnOnce(&mut driftless::Edit<'_, T>) -> Result<(), driftless::EditError>,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::<T>::open(directory.path()).unwrap();
        store.edit(edit).unwrap();
        let was = store.snapshot();
        drop(store);
        let mut store = Store::<T>::open(directory.path()).unwrap();
        assert_eq!(store.state(), &was);
        store.compact().unwrap();
        drop(store);
        assert_eq!(Store::<T>::open(directory.path()).unwrap().state(), &was);
    }
    reopened::<Document>(|d| d.set("/name", "Ada"));
    reopened::<GCounter>(|c| c.add(3));
    reopened::<LwwRegister<String>>(|r| r.set("one".to_owned()));
    reopened::<OrSet<u32>>(|s| s.insert(7).map(drop));
}

/// Stores of released formats open for good. `DRIFTLESS_GOLDEN=write` makes the files anew, for a new format.
#[test]
fn a_store_of_format_1_still_opens() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store-1");
    if std::env::var("DRIFTLESS_GOLDEN").as_deref() == Ok("write") {
        let _ = std::fs::remove_dir_all(&golden);
        let mut store = Store::<Graph>::open(&golden).unwrap();
        add(&mut store, "person:ada");
        store.put("k", "v").unwrap();
        store.compact().unwrap();
        add(&mut store, "person:bob");
        let mut peer = Replica::<Graph>::new();
        peer.edit(|g| g.add_node("person:eve")).unwrap();
        store.merge(&peer.complete()).unwrap();
        store.edit(|g| g.remove_node(NodeId::named("person:ada")).map(drop)).unwrap();
        store.close().unwrap();
        for name in ["lock", "holder"] {
            std::fs::remove_file(golden.join(name)).unwrap();
        }
    }
    // Opening writes.
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&golden).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    let mut store = Store::<Graph>::open(directory.path()).unwrap();
    assert!(store.recovery().was_closed);
    assert_eq!(store.get("k"), Some(&b"v"[..]));
    assert!(has(store.state(), "person:bob") && has(store.state(), "person:eve") && !has(store.state(), "person:ada"));
    add(&mut store, "person:new");
}

#[test]
fn opening_tells_how_far_it_is() {
    use std::cell::RefCell;
    use std::rc::Rc;

    let directory = tempfile::tempdir().unwrap();
    let mut store = Options::new().with_segment_len(500).open::<Graph>(directory.path()).unwrap();
    add(&mut store, "note:0");
    store.compact().unwrap();
    for n in 1..20 {
        add(&mut store, &format!("note:{n}"));
    }
    drop(store);
    let told = Rc::new(RefCell::new(Vec::new()));
    let tell = Rc::clone(&told);
    let store =
        Options::new().with_progress(move |progress| tell.borrow_mut().push(progress)).open::<Graph>(directory.path());
    assert_eq!(store.unwrap().recovery().records, 19);
    let told = told.borrow();
    assert!(told.len() >= 20 && told.is_sorted_by_key(|progress| (progress.bytes, progress.records)));
    assert!(told.iter().all(|progress| progress.bytes <= progress.bytes_expected));
    let last = told.last().unwrap();
    assert_eq!(last.bytes, last.bytes_expected);
}

#[test]
fn a_waker_may_read_the_store() {
    use std::sync::{Arc, OnceLock, mpsc};
    use std::task::{Context, Wake, Waker};

    /// Reads what it hears of, as an executor does that runs a task at once.
    struct Reader(SharedStore<Graph>, OnceLock<usize>);

    impl Wake for Reader {
        fn wake(self: Arc<Self>) {
            self.1.set(self.0.snapshot().node_count()).unwrap();
        }
    }

    let store = SharedStore::new(Options::new().open_storage::<Graph>(MemoryStorage::new()).unwrap()).unwrap();
    let reader = Arc::new(Reader(store.clone(), OnceLock::new()));
    let mut watcher = store.watch();
    assert!(watcher.poll_changed(&mut Context::from_waker(&Waker::from(Arc::clone(&reader)))).is_pending());
    let (done, written) = mpsc::channel();
    std::thread::spawn(move || {
        store.edit(|g| g.add_node("person:ada")).unwrap();
        done.send(()).unwrap();
    });
    if written.recv_timeout(Duration::from_secs(20)).is_err() {
        // Dropping it would wait as well.
        std::mem::forget(watcher);
        panic!("the writer waits for itself");
    }
    assert_eq!(reader.1.get(), Some(&1));
}
