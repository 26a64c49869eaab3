//! The audit: an entry for each edit and merge that is durable, none twice, none of what did not happen, and bounded.

use std::time::Duration;

use driftless::{Document, Graph, Replica};
use driftless_store::{
    AuditAction, AuditEntry, AuditLimit, Durability, Fault, MemoryStorage, Options, SimulatedDisk, Storage, Store,
    StoreError,
};

fn options(limit: AuditLimit) -> Options {
    Options::new().with_device("laptop").with_audit(limit).with_segment_len(700).without_background()
}

fn open(disk: &SimulatedDisk) -> Result<Store<Graph>, StoreError> {
    options(AuditLimit::default()).with_compaction_floor(1_500).open_on(disk.clone())
}

fn numbers(entries: &[AuditEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.number).collect()
}

fn add(store: &mut Store<Graph>, n: u64) -> Result<(), StoreError> {
    store.edit(|g| g.add_node(format!("note:{n}").as_str())).map(drop)
}

#[test]
fn entries_survive_openings_and_checkpoints() {
    let disk = SimulatedDisk::new();
    for n in 0..30 {
        let mut store = open(&disk).unwrap();
        add(&mut store, n).unwrap();
        if n % 11 == 10 {
            store.compact().unwrap();
        }
        assert_eq!(numbers(&store.audit().unwrap()), (1..=n + 1).collect::<Vec<_>>());
    }
    let store = open(&disk).unwrap();
    let entries = store.audit().unwrap();
    assert!(entries.iter().all(|entry| entry.action == AuditAction::Edit && entry.writes > 0 && entry.at_millis > 0));
    assert!(entries.iter().all(|entry| entry.device.as_deref() == Some("laptop")));
    assert!(disk.image().keys().any(|name| name.starts_with("blob-audit-")));
}

#[test]
fn a_merge_tells_where_it_came_from_and_what_it_did_to_conflicts() {
    let disk = SimulatedDisk::new();
    let mut store: Store<Document> = options(AuditLimit::default()).open_on(disk.clone()).unwrap();
    store.edit(|d| d.set("/name", "Ada")).unwrap();
    let mut peer = Replica::<Document>::new();
    let (_, delta) = peer.edit(|d| d.set("/name", "Augusta")).unwrap();
    store.set_origin(Some("phone"));
    store.merge(&delta).unwrap();
    store.merge(&delta).unwrap(); // nothing new
    peer.merge(&store.replica().complete()).unwrap();
    let (_, settled) = peer.edit(|d| d.set("/name", "Augusta Ada")).unwrap();
    store.merge(&settled).unwrap();
    let told = |entries: &[AuditEntry]| -> Vec<_> {
        entries.iter().map(|entry| (entry.action, entry.origin.clone(), entry.opened, entry.closed)).collect()
    };
    let phone = Some("phone".to_owned());
    let expected = vec![
        (AuditAction::Edit, None, 0, 0),
        (AuditAction::Merge, phone.clone(), 1, 0),
        (AuditAction::Merge, phone, 0, 1),
    ];
    assert_eq!(told(&store.audit().unwrap()), expected);
    // From the log, and then from a blob.
    for _ in 0..2 {
        drop(store);
        store = options(AuditLimit::default()).open_on(disk.clone()).unwrap();
        assert_eq!(told(&store.audit().unwrap()), expected);
        store.compact().unwrap();
    }
}

#[test]
fn a_refusal_is_told_with_its_reason_and_a_failed_edit_is_not() {
    let mut store: Store<Graph> = options(AuditLimit::default()).open_storage(MemoryStorage::new()).unwrap();
    let mut other = Replica::<Document>::new();
    let (_, delta) = other.edit(|d| d.set("/name", "Ada")).unwrap();
    assert!(store.merge(&delta).is_err());
    assert!(store.edit(|_| Err::<(), _>(driftless::EditError::abort("no"))).is_err());
    store.edit(|_| Ok(())).unwrap();
    store.put("k", "v").unwrap();
    let [entry] = &store.audit().unwrap()[..] else { panic!("{:?}", store.audit()) };
    assert_eq!(entry.action, AuditAction::Refused);
    assert!(entry.reason.as_ref().unwrap().contains("cannot be merged into"), "{entry:?}");
}

#[test]
fn nothing_is_kept_unless_asked_for() {
    let storage = MemoryStorage::new();
    let mut store: Store<Graph> = Options::new().open_storage(storage.clone()).unwrap();
    add(&mut store, 1).unwrap();
    store.compact().unwrap();
    assert!(store.audit().unwrap().is_empty() && storage.blobs().unwrap().is_empty());
}

#[test]
fn the_oldest_entries_go_first_when_there_are_too_many() {
    let disk = SimulatedDisk::new();
    let limit = AuditLimit { bytes: 1_000, age: Duration::MAX };
    let mut store: Store<Graph> = options(limit).open_on(disk.clone()).unwrap();
    for n in 0..200 {
        add(&mut store, n).unwrap();
        if n % 5 == 0 {
            store.compact().unwrap();
        }
        let entries = numbers(&store.audit().unwrap());
        assert!(entries.is_sorted() && entries.last() == Some(&(n + 1)));
        assert!(entries.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap within: {entries:?}");
    }
    let kept: usize =
        disk.image().iter().filter(|(name, _)| name.starts_with("blob-audit")).map(|(_, b)| b.len()).sum();
    assert!(kept < 1_400, "{kept} bytes");
    let old = AuditLimit { bytes: u64::MAX, age: Duration::ZERO };
    drop(store);
    let mut store: Store<Graph> = options(old).open_on(disk).unwrap();
    std::thread::sleep(Duration::from_millis(3));
    add(&mut store, 1_000).unwrap();
    std::thread::sleep(Duration::from_millis(3));
    store.compact().unwrap();
    assert!(store.audit().unwrap().is_empty(), "all of it is older than nothing");
}

#[test]
fn a_peer_that_sends_nothing_but_what_is_refused_does_not_fill_the_disk() {
    let disk = SimulatedDisk::new();
    let limit = AuditLimit { bytes: 5_000, age: Duration::MAX };
    let mut store: Store<Graph> = options(limit).with_compaction_floor(10_000).open_on(disk.clone()).unwrap();
    let mut other = Replica::<Document>::new();
    let (_, delta) = other.edit(|d| d.set("/name", "Ada")).unwrap();
    for _ in 0..1_000 {
        store.merge(&delta).unwrap_err();
    }
    let bytes: usize = disk.image().values().map(Vec::len).sum();
    assert!(bytes < 150_000, "{bytes} bytes");
    assert!(store.audit().unwrap().len() < 500);
}

#[test]
fn wherever_the_machine_stops_no_entry_is_lost_and_none_is_there_twice() {
    let (mut crashes, mut in_blobs) = (0, 0);
    for stop in 0.. {
        let disk = SimulatedDisk::new();
        disk.set_fault(Fault::Stop(stop));
        let mut acknowledged = 0;
        if let Ok(mut store) = open(&disk) {
            while acknowledged < 14 && add(&mut store, acknowledged).is_ok() {
                acknowledged += 1;
                if acknowledged % 6 == 0 && store.compact().is_err() {
                    break;
                }
            }
        }
        let units = disk.unsynced();
        for kept in 0..=units {
            for image in [disk.crash(|unit| unit < kept), disk.crash(|unit| unit >= kept)] {
                crashes += 1;
                let store = open(&SimulatedDisk::with(&image)).unwrap();
                let entries = numbers(&store.audit().unwrap());
                let nodes = store.state().node_count() as u64;
                assert_eq!(entries, (1..=nodes).collect::<Vec<_>>(), "stopped at {stop}, kept {kept}");
                assert!(nodes >= acknowledged);
                in_blobs += u64::from(image.keys().any(|name| name.starts_with("blob-audit")));
            }
        }
        if disk.changes() <= stop {
            break;
        }
    }
    assert!(crashes > 300 && in_blobs > 50, "{crashes} crashes, {in_blobs} with entries in blobs");
}

#[test]
fn what_did_not_fit_is_not_in_the_audit() {
    for room in (300..6_000).step_by(131) {
        let disk = SimulatedDisk::new();
        let mut store: Store<Graph> =
            options(AuditLimit::default()).with_durability(Durability::Immediate).open_on(disk.clone()).unwrap();
        disk.set_fault(Fault::Full(room));
        let mut done = 0;
        for n in 0..20 {
            done += u64::from(add(&mut store, n).is_ok());
        }
        disk.set_fault(Fault::None);
        add(&mut store, 100).unwrap();
        assert_eq!(store.audit().unwrap().len() as u64, done + 1);
        drop(store);
        assert_eq!(open(&disk).unwrap().audit().unwrap().len() as u64, done + 1);
    }
}

#[test]
fn a_damaged_portion_is_told_and_hinders_nobody() {
    let disk = SimulatedDisk::new();
    let mut store = open(&disk).unwrap();
    for n in 0..9 {
        add(&mut store, n).unwrap();
        if n % 3 == 2 {
            store.compact().unwrap();
        }
    }
    drop(store);
    let mut image = disk.image();
    let second = image.keys().filter(|name| name.starts_with("blob-audit")).nth(1).unwrap().clone();
    image.get_mut(&second).unwrap()[60] ^= 1;
    let mut store = open(&SimulatedDisk::with(&image)).unwrap();
    let [lost] = &store.recovery().lost[..] else { panic!("{:?}", store.recovery()) };
    assert_eq!(lost.file, second);
    add(&mut store, 10).unwrap();
    assert_eq!(numbers(&store.audit().unwrap()), [1, 2, 3, 7, 8, 9, 10]);
}
