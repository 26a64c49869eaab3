//! Any bytes as a record of a store, as its checkpoint, as damage of its files: an error that is typed, or a store that is
//! consistent, goes on, and opens again as it was.
#![no_main]

use std::sync::OnceLock;

use driftless::testing::{TestEnvironment, repair_checksum};
use driftless::{Crdt, Graph};
use driftless_store::{
    FileOptions, FileStorage, Image, Load, Options, SimulatedDisk, Sink, Storage, Store, StoreError,
};
use libfuzzer_sys::fuzz_target;
use serde_bytes::ByteBuf;

fn options(seed: u64) -> Options {
    Options::new()
        .with_environment(TestEnvironment::new(seed))
        .with_segment_len(600)
        .with_compaction_floor(3_000)
        .without_background()
}

/// A small store: a checkpoint, two segments, a table.
fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let disk = SimulatedDisk::new();
        let mut store: Store<Graph> = options(1).open_on(disk.clone()).expect("a new store");
        for name in ["a", "b", "c", "d"] {
            store.edit(|g| g.add_node(name)).expect("a plain edit");
            store.put(name, "value").expect("a plain entry");
            if name == "b" {
                store.compact().expect("a checkpoint");
            }
        }
        store.close().expect("nothing fails");
        disk.image()
    })
}

struct Nothing;

impl Sink for Nothing {
    fn checkpoint(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
    fn record(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// Puts content where only the store itself writes.
fn with(disk: &SimulatedDisk, write: impl FnOnce(&FileStorage)) {
    let storage = FileStorage::new(disk.clone(), &FileOptions::default()).expect("nobody has it open");
    storage.load(Graph::SCHEMA, Load::Whole, &mut Nothing).expect("an intact store");
    write(&storage);
    storage.close();
}

fn check(opened: Result<Store<Graph>, StoreError>, disk: &SimulatedDisk) {
    let Ok(mut store) = opened else { return };
    store.state().state().check_invariants().expect("a consistent graph");
    store.edit(|g| g.add_node("after")).expect("a plain edit");
    store.compact().expect("a checkpoint");
    let was = store.snapshot();
    drop(store);
    let again: Store<Graph> = options(4).open_on(disk.clone()).expect("what was written");
    assert!(again.state() == &was);
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    let disk = SimulatedDisk::with(image());
    match mode % 4 {
        0 => with(&disk, |storage| drop(storage.append(data).expect("room"))),
        1 => {
            let Some((kind, delta)) = data.split_first() else { return };
            let mut delta = delta.to_vec();
            repair_checksum(&mut delta);
            let table: Vec<(ByteBuf, Option<ByteBuf>)> = Vec::new();
            let record = rmp_serde::to_vec(&(kind % 4, ByteBuf::from(delta), table)).expect("numbers and bytes");
            with(&disk, |storage| drop(storage.append(&record).expect("room")));
        }
        2 => with(&disk, |storage| {
            let cut = storage.cut().expect("room");
            storage.checkpoint(cut, &[data]).expect("room");
        }),
        _ => {
            let mut damaged = image().clone();
            let names: Vec<String> = damaged.keys().cloned().collect();
            for change in data.chunks_exact(4) {
                let [file, high, low, value] = change else { continue };
                let name = &names[usize::from(*file) % names.len()];
                let bytes = damaged.get_mut(name).expect("a file of the image");
                let at = usize::from(u16::from_be_bytes([*high, *low]));
                match bytes.len() {
                    0 => bytes.push(*value),
                    _ if value % 16 == 0 => bytes.truncate(at % (bytes.len() + 1)),
                    len => bytes[at % len] ^= value,
                }
            }
            let disk = SimulatedDisk::with(&damaged);
            check(options(2).open_on(disk.clone()), &disk);
            let disk = SimulatedDisk::with(&damaged);
            check(options(3).salvage_on(disk.clone()), &disk);
            return;
        }
    }
    check(options(2).open_on(disk.clone()), &disk);
    check(options(3).salvage_on(disk.clone()), &disk);
});
