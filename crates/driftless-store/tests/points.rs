//! Restore points: what is kept under a name is there again, whatever happens to the store in between.

use driftless::{Crdt, Environment, Graph, LwwRegister, NodeId, PnCounter};
use driftless_store::{
    BlobName, Durability, Fault, Image, MemoryStorage, Options, PointError, SharedStore, SimulatedDisk, Storage,
    StorageError, Store, StoreError,
};

fn id(node: u8) -> NodeId {
    NodeId::named(format!("node:{node}").as_str())
}

fn set(store: &mut Store<Graph>, node: u8, value: i64) {
    store
        .edit(|g| {
            let id = g.add_node(format!("node:{node}").as_str())?;
            g.set(id, "/value", value)
        })
        .unwrap();
}

fn values(graph: &Graph) -> Vec<(u8, i64)> {
    let value = |node: u8| Some((node, graph.node(id(node))?.get("/value")?.as_int()?));
    (0..=9).filter_map(value).collect()
}

fn names(store: &Store<Graph>) -> Vec<String> {
    let mut names: Vec<_> = store.points().map(|point| point.unwrap().name).collect();
    names.sort_unstable();
    names
}

fn point_error(result: Result<impl Sized, StoreError>) -> PointError {
    match result.map(drop).unwrap_err() {
        StoreError::Point(error) => error,
        other => panic!("{other}"),
    }
}

/// A clock that stands.
struct At(u64);

impl Environment for At {
    fn now_ms(&mut self) -> u64 {
        self.0
    }

    fn random(&mut self) -> [u8; 16] {
        driftless::SystemEnvironment.random()
    }
}

#[test]
fn a_point_holds_what_was_there_and_going_back_is_an_edit_that_peers_get() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Options::new().with_environment(At(1_700_000_000_000)).open::<Graph>(directory.path()).unwrap();
    set(&mut store, 1, 1);
    set(&mut store, 2, 2);
    store.edit(|g| g.remove_node(id(2)).map(drop)).unwrap();
    set(&mut store, 3, 3);
    let then = store.snapshot();
    store.set_point("then ☃").unwrap();
    set(&mut store, 1, 10);
    set(&mut store, 4, 4);
    store.edit(|g| g.remove_node(id(3)).map(drop)).unwrap();
    store.compact().unwrap();
    drop(store);

    let mut store = Store::<Graph>::open(directory.path()).unwrap();
    let [point] = &store.points().collect::<Result<Vec<_>, _>>().unwrap()[..] else { panic!("one point") };
    assert_eq!((&*point.name, point.at_millis, &point.version), ("then ☃", 1_700_000_000_000, then.state().version()));
    assert!(point.bytes > 50);
    assert_eq!(values(&store.point("then ☃").unwrap()), [(1, 1), (3, 3)]);
    assert_eq!(store.point("then ☃").unwrap(), then);
    let touched: std::collections::BTreeSet<_> =
        store.compare_with("then ☃").unwrap().touched().iter().map(|touched| touched.entity).collect();
    assert_eq!(touched.len(), 3);

    let mut peer = store.replica().fork();
    assert_eq!(store.revert_to("then ☃").unwrap(), 3);
    assert_eq!(values(store.state()), [(1, 1), (3, 3)]);
    assert_eq!(store.revert_to("then ☃").unwrap(), 0, "everything reads so already");
    peer.merge(&store.delta_since(peer.version()).unwrap()).unwrap();
    assert_eq!(values(peer.state()), [(1, 1), (3, 3)]);
    drop(store);
    let store = Store::<Graph>::open(directory.path()).unwrap();
    assert_eq!(values(store.state()), [(1, 1), (3, 3)], "going back was not durable");
}

#[test]
fn any_type_goes_back() {
    let mut counter = Options::new().open_storage::<PnCounter>(MemoryStorage::new()).unwrap();
    counter.edit(|c| c.add(5)).unwrap();
    counter.set_point("five").unwrap();
    counter.edit(|c| c.subtract(7)).unwrap();
    assert_eq!(counter.revert_to("five").unwrap(), 1);
    assert_eq!(counter.state().value(), 5);
    let mut title = Options::new().open_storage::<LwwRegister<String>>(MemoryStorage::new()).unwrap();
    title.set_point("empty").unwrap();
    title.edit(|t| t.set("Notes".into())).unwrap();
    assert_eq!(title.revert_to("empty").unwrap(), 1);
    assert_eq!(title.state().get(), None);
}

#[test]
fn nothing_is_written_before_a_point_is_set() {
    let storage = MemoryStorage::new();
    let mut store = Options::new().open_storage::<Graph>(storage.clone()).unwrap();
    set(&mut store, 1, 1);
    assert_eq!(store.points().count(), 0);
    assert!(matches!(point_error(store.point("x")), PointError::NoPoint { name } if name == "x"));
    assert!(!store.remove_point("x").unwrap());
    assert!(storage.blobs().unwrap().is_empty());
}

#[test]
fn a_name_is_never_given_twice_nor_cut() {
    let mut store = Options::new().with_points_limit(2).open_storage::<Graph>(MemoryStorage::new()).unwrap();
    let long = "n".repeat(64);
    store.set_point(&long).unwrap();
    assert!(matches!(point_error(store.set_point(&long)), PointError::Exists { .. }));
    assert!(matches!(point_error(store.set_point("")), PointError::Name { len: 0 }));
    assert!(matches!(point_error(store.set_point(&"n".repeat(65))), PointError::Name { len: 65 }));
    assert!(matches!(point_error(store.point(&"n".repeat(65))), PointError::NoPoint { .. }));
    store.set_point("b").unwrap();
    let full = point_error(store.set_point("c"));
    assert!(matches!(full, PointError::TooMany { limit: 2 }) && full.to_string().contains("remove one"), "{full}");
    assert_eq!(names(&store), ["b", &long]);
    assert!(store.remove_point(&long).unwrap());
    store.set_point("c").unwrap();
    assert_eq!(names(&store), ["b", "c"]);
}

#[test]
fn a_point_survives_backup_salvage_and_the_memory_of_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = ["a", "b"].map(|name| directory.path().join(name));
    let shared = SharedStore::new(Store::<Graph>::open(&first).unwrap()).unwrap();
    set(&mut shared.lock(), 1, 1);
    shared.lock().set_point("one").unwrap();
    set(&mut shared.lock(), 1, 2);
    shared.backup_to(&second).unwrap();
    drop(shared);
    for path in [&first, &second] {
        let store = Store::<Graph>::open(path).unwrap();
        assert_eq!(values(&store.point("one").unwrap()), [(1, 1)]);
        drop(store);
        assert!(Store::<Graph>::verify(path).unwrap().lost.is_empty());
        let store = Options::new().salvage::<Graph>(path).unwrap();
        assert_eq!((values(&store.point("one").unwrap()), values(store.state())), (vec![(1, 1)], vec![(1, 2)]));
    }
}

#[test]
fn a_damaged_point_is_told_by_name_and_hinders_nobody() {
    let disk = SimulatedDisk::new();
    let mut store = Options::new().open_on::<Graph>(disk.clone()).unwrap();
    set(&mut store, 1, 1);
    store.set_point("good").unwrap();
    set(&mut store, 1, 2);
    store.set_point("bad").unwrap();
    drop(store);
    let image = disk.image();
    let bad = |name: &String| name.starts_with("blob-") && name.ends_with("mjqwi");
    let files: Vec<String> = image.keys().filter(|name| bad(name)).cloned().collect();
    assert_eq!(files.len(), 2, "{:?}", image.keys());
    let judge = |image: &Image, what: &str, is_unseen: bool| {
        let mut store = Options::new().open_on::<Graph>(SimulatedDisk::with(image)).unwrap();
        assert_eq!(values(store.state()), [(1, 2)]);
        assert_eq!(values(&store.point("good").unwrap()), [(1, 1)], "{what}");
        let error = store.point("bad").map(drop).unwrap_err();
        let is_damaged = matches!(&error, StoreError::Point(PointError::Damaged { name, .. }) if name == "bad");
        let is_gone = is_unseen && matches!(&error, StoreError::Point(PointError::NoPoint { .. }));
        assert!(is_damaged || is_gone, "{what}: {error}");
        // The list goes on past it.
        let (good, damaged): (Vec<_>, Vec<_>) = store.points().partition(Result::is_ok);
        assert!(good.len() + damaged.len() == 2 || is_gone, "{what}");
        for error in damaged.into_iter().filter_map(Result::err) {
            assert!(error.to_string().contains("`bad`"), "{what}: {error}");
        }
        store.remove_point("bad").unwrap();
        assert_eq!(names(&store), ["good"], "{what}");
        store.set_point("bad").unwrap();
        assert_eq!(values(&store.point("bad").unwrap()), [(1, 2)], "{what}");
    };
    for file in &files {
        for bit in 0..image[file].len() * 8 {
            let mut image = image.clone();
            image.get_mut(file).unwrap()[bit / 8] ^= 1 << (bit % 8);
            judge(&image, &format!("bit {bit} of {file}"), false);
        }
        for len in 0..image[file].len() {
            let mut image = image.clone();
            image.get_mut(file).unwrap().truncate(len);
            judge(&image, &format!("{file} cut at {len}"), false);
        }
        let mut image = image.clone();
        let content = image.remove(file).unwrap();
        judge(&image, &format!("{file} missing"), true);
        let good = image.keys().find(|name| name.starts_with(&file[..11]) && !bad(name)).unwrap().clone();
        image.insert(file.clone(), image[&good].clone());
        image.insert(good.clone(), image[&good].clone());
        judge(&image, &format!("{good} in place of {file} ({} bytes)", content.len()), false);
    }
}

#[test]
fn a_state_of_another_version_is_not_taken_for_the_point() {
    let storage = MemoryStorage::new();
    let mut store = Options::new().open_storage::<Graph>(storage.clone()).unwrap();
    store.set_point("a").unwrap();
    set(&mut store, 1, 1);
    store.set_point("b").unwrap();
    let [a, b] = ["pointstate-me", "pointstate-mi"].map(|name| BlobName::new(name).unwrap());
    let state = storage.blob(&a).unwrap().unwrap();
    storage.put_blob(&b, &state).unwrap();
    assert!(matches!(point_error(store.point("b")), PointError::Damaged { name, .. } if name == "b"));
    assert!(matches!(point_error(store.revert_to("b")), PointError::Damaged { .. }));
    assert_eq!(values(store.state()), [(1, 1)], "it went back to another point");
}

/// What a store with a point does, for a disk that stops, fails or fills up.
fn history(store: &mut Store<Graph>) -> Result<(), StoreError> {
    let set = |store: &mut Store<Graph>, value: i64| {
        let edit = store.edit(|g| {
            let id = g.add_node("node:1")?;
            g.set(id, "/value", value)
        });
        edit.map(drop)
    };
    set(store, 1)?;
    store.set_point("one")?;
    set(store, 2)?;
    store.set_point("two")?;
    store.remove_point("one")?;
    store.revert_to("two")?;
    store.compact()?;
    store.set_point("one")?;
    set(store, 3)?;
    store.revert_to("one")?;
    store.remove_point("two").map(drop)
}

fn open(disk: &SimulatedDisk, durability: Durability) -> Result<Store<Graph>, StoreError> {
    Options::new().with_durability(durability).without_background().open_on(disk.clone())
}

/// Each point that is listed is whole, and holds what the store had held; the store is never behind it.
fn judge(image: &Image, durability: Durability, what: &str) {
    let mut store = open(&SimulatedDisk::with(image), durability).unwrap_or_else(|error| panic!("{what}: {error}"));
    let points: Vec<_> = store.points().map(|point| point.unwrap_or_else(|error| panic!("{what}: {error}"))).collect();
    for point in &points {
        let then = store.point(&point.name).unwrap_or_else(|error| panic!("{what}: {error}"));
        let value = values(&then)[0].1;
        assert!(value == 2 || (point.name == "one" && value == 1), "{what}: {} holds {value}", point.name);
        assert!(store.version().includes(&point.version), "{what}: the point `{}` is ahead", point.name);
    }
    for name in ["one", "two"] {
        store.remove_point(name).unwrap_or_else(|error| panic!("{what}: {error}"));
        store.set_point(name).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert_eq!(names(&store), ["one", "two"], "{what}");
}

#[test]
fn wherever_the_machine_stops_a_point_is_whole_or_not_there() {
    let mut crashes = 0;
    for durability in [Durability::Immediate, Durability::Manual] {
        for stop in 0.. {
            let disk = SimulatedDisk::new();
            disk.set_fault(Fault::Stop(stop));
            let done = open(&disk, durability).and_then(|mut store| history(&mut store));
            let units = disk.unsynced();
            let subsets = if units <= 5 { 1u64 << units } else { 32 };
            for subset in 0..subsets {
                // Of many: all up to one, and all but one.
                let keeps = |unit: usize| match units <= 5 {
                    true => subset >> unit & 1 == 1,
                    false if subset < 16 => (unit as u64) < subset * units as u64 / 15,
                    false => unit as u64 != (subset - 16) * units as u64 / 16,
                };
                judge(&disk.crash(keeps), durability, &format!("{durability:?}, stopped at {stop}, kept {subset:b}"));
                crashes += 1;
            }
            if done.is_ok() && disk.changes() <= stop {
                break;
            }
        }
    }
    println!("{crashes} crashes");
    assert!(crashes > 300, "{crashes}");
}

#[test]
fn a_point_that_does_not_fit_is_not_there_and_the_store_goes_on() {
    let (mut full, mut room) = (0, 0);
    loop {
        let disk = SimulatedDisk::new();
        let mut store = open(&disk, Durability::Immediate).unwrap();
        set(&mut store, 1, 1);
        store.set_point("one").unwrap();
        let used: usize = disk.image().values().map(Vec::len).sum();
        disk.set_fault(Fault::Full(used as u64 + room));
        let result = store.set_point("two");
        disk.set_fault(Fault::None);
        match result {
            Ok(()) => break,
            Err(error) => {
                assert!(matches!(error, StoreError::Storage(StorageError::Full { .. })), "{error}");
                assert_eq!(names(&store), ["one"]);
                store.set_point("two").unwrap();
                assert_eq!(names(&store), ["one", "two"]);
                (full, room) = (full + 1, room + 7);
            }
        }
    }
    assert!(full > 10, "{full}");
}
