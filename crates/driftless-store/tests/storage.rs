//! The stories of a storage over those that need no database: see `tests/support/storage.rs`.

#[path = "support/storage.rs"]
mod stories;

use driftless_store::{FileOptions, FileStorage, MemoryStorage, OsDisk, SimulatedDisk};

#[test]
fn in_memory() {
    stories::run(|| {
        let storage = MemoryStorage::new();
        move || storage.clone()
    });
}

#[test]
fn in_files_of_a_simulated_disk() {
    stories::run(|| {
        let disk = SimulatedDisk::new();
        move || FileStorage::new(disk.clone(), &FileOptions::default()).unwrap()
    });
}

#[test]
fn in_files_of_short_segments() {
    let options = FileOptions { segment_len: 4_000, ..FileOptions::default() };
    stories::run(|| {
        let (disk, options) = (SimulatedDisk::new(), options.clone());
        move || FileStorage::new(disk.clone(), &options).unwrap()
    });
}

#[test]
fn in_files_of_a_directory() {
    stories::run(|| {
        let directory = tempfile::tempdir().unwrap();
        move || FileStorage::new(OsDisk::create(directory.path()).unwrap(), &FileOptions::default()).unwrap()
    });
}
