//! What is told, acknowledged, shown or remembered is durable; and a storage that breaks its own promises hangs nobody.

#[path = "support/copied.rs"]
mod copied;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use copied::Copied;
use driftless::sync::{self, Folder, Options as SessionOptions, Pump, Session};
use driftless::{Graph, NodeId, Replica};
use driftless_store::{
    BlobName, Cut, Durability, Load, MemoryStorage, Options, Recovery, SharedStore, SimulatedDisk, Sink, Storage,
    StorageError, Store, StoreError, Usage,
};

const NAP: Duration = Duration::from_millis(50);

fn open(disk: &SimulatedDisk, durability: Durability) -> Store<Graph> {
    Options::new().with_durability(durability).without_background().open_on(disk.clone()).unwrap()
}

/// The store as it is after the machine has stopped, and nothing survived that need not.
fn after_a_crash(disk: &SimulatedDisk) -> Store<Graph> {
    open(&SimulatedDisk::with(&disk.crash(|_| false)), Durability::Immediate)
}

fn add(store: &mut Store<Graph>, name: &str) {
    store.edit(|g| g.add_node(name)).unwrap();
}

fn has(graph: &Graph, name: &str) -> bool {
    graph.node(NodeId::named(name)).is_some()
}

/// Brings a store and a peer together.
type Way<'a> = &'a dyn Fn(&mut Store<Graph>, &mut Replica<Graph>);

const LAZY: [Durability; 2] = [Durability::Manual, Durability::Batched(Duration::from_secs(3_600))];

#[test]
fn drivers_pumps_and_folders_tell_and_acknowledge_only_what_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let ways: [Way<'_>; 3] = [
        &|store, peer| drop(sync::in_memory(store, peer).unwrap()),
        &|store, peer| {
            drop(Folder::open(directory.path(), "phone").unwrap().sync(peer).unwrap());
            drop(Folder::open(directory.path(), "laptop").unwrap().sync(store).unwrap());
            drop(Folder::open(directory.path(), "phone").unwrap().sync(peer).unwrap());
        },
        &|store, peer| {
            let mut theirs = Pump::new(peer, SessionOptions::new());
            let mut ours = Pump::new(store.replica(), SessionOptions::new());
            let mut message = Vec::new();
            for _ in 0..20 {
                message = ours.exchange(store, &message).unwrap().message;
                message = theirs.exchange(peer, &message).unwrap().message;
            }
        },
    ];
    for durability in LAZY {
        for way in ways {
            let disk = SimulatedDisk::new();
            let (mut store, mut peer) = (open(&disk, durability), Replica::<Graph>::new());
            add(&mut store, "ours");
            peer.edit(|g| g.add_node("theirs")).unwrap();
            way(&mut store, &mut peer);
            assert!(has(peer.state(), "ours") && has(store.state(), "theirs"));
            let found = after_a_crash(&disk);
            assert!(has(found.state(), "ours"), "told, and not durable");
            assert!(has(found.state(), "theirs"), "acknowledged, and not durable");
        }
    }
}

#[test]
fn a_session_polled_by_hand_tells_only_what_is_durable() {
    for durability in LAZY {
        let disk = SimulatedDisk::new();
        let (mut store, mut peer) = (open(&disk, durability), Replica::<Graph>::new());
        add(&mut store, "before");
        let mut ours = store.session(SessionOptions::new()).unwrap();
        add(&mut store, "after");
        let mut theirs = Session::new(&peer, SessionOptions::new(), [9; 16]);
        for second in 0..20 {
            let now = Duration::from_secs(second);
            while let Ok(Some(frame)) = ours.poll_frame(store.replica(), now) {
                theirs.handle_frame(&mut peer, &frame, now).unwrap();
            }
            while let Ok(Some(frame)) = theirs.poll_frame(&peer, now) {
                ours.handle_frame(&mut store, &frame, now).unwrap();
            }
            if second == 5 {
                let found = after_a_crash(&disk);
                assert!(has(found.state(), "before") && !has(found.state(), "after"));
                assert!(!has(peer.state(), "after"), "told, and not durable");
                store.flush().unwrap();
            }
            store.persisted(&mut ours);
        }
        assert!(has(peer.state(), "after"));
    }
}

#[test]
fn what_a_device_has_seen_is_remembered_durably() {
    for durability in LAZY {
        let disk = SimulatedDisk::new();
        let mut store = open(&disk, durability);
        add(&mut store, "a");
        let version = store.version().clone();
        store.acknowledge("phone", version).unwrap();
        assert_eq!(after_a_crash(&disk).devices().iter().count(), 1);
        store.forget("phone").unwrap();
        assert_eq!(after_a_crash(&disk).devices().iter().count(), 0);
    }
}

#[test]
fn a_store_whose_disk_fails_tells_nobody() {
    let disk = SimulatedDisk::new();
    let (mut store, mut peer) = (open(&disk, Durability::Manual), Replica::<Graph>::new());
    add(&mut store, "ours");
    disk.set_fault(driftless_store::Fault::Stop(disk.changes()));
    let error = sync::in_memory(&mut store, &mut peer).unwrap_err().to_string();
    assert!(error.contains("could not be made durable, so no peer is told"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let unwritten = Folder::open(directory.path(), "laptop").unwrap().sync(&mut store).unwrap().unwritten.unwrap();
    assert!(unwritten.to_string().contains("was not written to the folder"), "{unwritten}");
    assert!(peer.state().node_count() == 0 && std::fs::read_dir(directory.path()).unwrap().next().is_none());
}

#[test]
fn readers_see_what_a_checkpoint_or_a_repair_made_durable() {
    for durability in [Durability::Immediate, LAZY[0], LAZY[1]] {
        let options = || Options::new().with_durability(durability);
        let shared = SharedStore::new(options().open_storage::<Graph>(MemoryStorage::new()).unwrap()).unwrap();
        let mut watcher = shared.watch();
        let mut store = shared.lock();
        add(&mut store, "a");
        store.compact().unwrap();
        assert!(store.is_durable());
        drop(store);
        assert!(has(&shared.snapshot(), "a") && watcher.wait(NAP).is_some());

        let copy = || options().with_environment(Copied).open_storage::<Graph>(MemoryStorage::new()).unwrap();
        let (mut one, mut other) = (copy(), copy());
        add(&mut one, "one");
        add(&mut other, "other");
        let shared = SharedStore::new(one).unwrap();
        let mut watcher = shared.watch();
        shared.lock().repair(&other.replica().complete()).unwrap();
        assert!(shared.snapshot() == shared.lock().snapshot() && shared.snapshot().node_count() == 2);
        assert!(watcher.wait(NAP).is_some());
    }
}

/// A storage that breaks its promises.
#[derive(Clone, Debug, Default)]
struct Odd {
    inner: MemoryStorage,
    sync: Arc<AtomicU32>,
}

const PANICS: u32 = 1;
const SAYS_TOO_LITTLE: u32 = 2;

impl Storage for Odd {
    fn load(&self, schema: &str, load: Load, sink: &mut dyn Sink) -> Result<Recovery, StorageError> {
        self.inner.load(schema, load, sink)
    }

    fn replace(&self, parts: &[&[u8]]) -> Result<(), StorageError> {
        self.inner.replace(parts)
    }

    fn append(&self, record: &[u8]) -> Result<u64, StorageError> {
        self.inner.append(record)
    }

    fn sync(&self) -> Result<u64, StorageError> {
        match self.sync.swap(0, Ordering::SeqCst) {
            PANICS => panic!("on purpose"),
            SAYS_TOO_LITTLE => Ok(0),
            _ => self.inner.sync(),
        }
    }

    fn cut(&self) -> Result<Cut, StorageError> {
        self.inner.cut()
    }

    fn checkpoint(&self, cut: Cut, parts: &[&[u8]]) -> Result<(), StorageError> {
        self.inner.checkpoint(cut, parts)
    }

    fn put_blob(&self, name: &BlobName, content: &[u8]) -> Result<(), StorageError> {
        self.inner.put_blob(name, content)
    }

    fn blob(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.blob(name)
    }

    fn blobs(&self) -> Result<Vec<BlobName>, StorageError> {
        self.inner.blobs()
    }

    fn remove_blob(&self, name: &BlobName) -> Result<bool, StorageError> {
        self.inner.remove_blob(name)
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn close(&self) {
        self.inner.close();
    }
}

#[test]
fn a_storage_whose_sync_panics_or_lies_poisons_the_store_and_hangs_nobody() {
    let (done, waiting) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for how in [PANICS, SAYS_TOO_LITTLE] {
            let odd = Odd::default();
            let mut store = Options::new().open_storage::<Graph>(odd.clone()).unwrap();
            odd.sync.store(how, Ordering::SeqCst);
            let edited = catch_unwind(AssertUnwindSafe(|| store.edit(|g| g.add_node("a")).map(drop)));
            assert!(edited.is_err() || edited.is_ok_and(|edited| edited.is_err()));
            poisoned(store.edit(|g| g.add_node("b")).map(drop));
            poisoned(store.flush());
            poisoned(store.health());
            drop(store);

            let odd = Odd::default();
            let options = Options::new().with_durability(Durability::Batched(Duration::from_millis(1)));
            let mut store = options.open_storage::<Graph>(odd.clone()).unwrap();
            odd.sync.store(how, Ordering::SeqCst);
            add(&mut store, "a");
            while store.health().is_ok() {
                thread::sleep(Duration::from_millis(1));
            }
            poisoned(store.edit(|g| g.add_node("b")).map(drop));
            assert!(!store.is_durable());
            drop(store);
        }
        done.send(()).unwrap();
    });
    waiting.recv_timeout(Duration::from_secs(20)).expect("somebody hangs, or the thread failed");
}

fn poisoned(result: Result<(), StoreError>) {
    assert!(matches!(result, Err(StoreError::Storage(StorageError::Poisoned { .. }))), "{result:?}");
}

#[test]
fn an_edit_whose_sync_failed_is_told_to_nobody() {
    let (disk, mut peer) = (SimulatedDisk::new(), Replica::<Graph>::new());
    let mut store = open(&disk, Durability::Immediate);
    let mut ours = store.session(SessionOptions::new()).unwrap();
    add(&mut store, "before");
    disk.set_fault(driftless_store::Fault::Stop(disk.changes() + 1));
    store.edit(|g| g.add_node("lost")).unwrap_err();
    assert!(has(store.state(), "lost"), "the write was to succeed, and the sync to fail");
    let mut theirs = Session::new(&peer, SessionOptions::new(), [9; 16]);
    for second in 0..20 {
        let now = Duration::from_secs(second);
        store.persisted(&mut ours);
        while let Ok(Some(frame)) = ours.poll_frame(store.replica(), now) {
            theirs.handle_frame(&mut peer, &frame, now).unwrap();
        }
        while let Ok(Some(frame)) = theirs.poll_frame(&peer, now) {
            ours.handle_frame(&mut store, &frame, now).unwrap();
        }
    }
    poisoned(store.session(SessionOptions::new()).map(drop));
    sync::in_memory(&mut store, &mut peer).unwrap_err();
    assert!(!has(peer.state(), "lost"));
}
