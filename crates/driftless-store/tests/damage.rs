//! Rot: every bit flipped, every file cut, taken away, or swapped. Nothing wrong is read as right, and what is found is named.

#[path = "support/crash.rs"]
mod crash;

use std::collections::BTreeMap;

use crash::{nodes, open_image, options, small_store};
use driftless::Graph;
use driftless_store::{Durability, Fault, Image, SimulatedDisk, StorageError, Store, StoreError};

/// The file that an error names.
fn named(error: &StoreError) -> Option<&str> {
    match error {
        StoreError::Storage(
            StorageError::Damaged { file, .. }
            | StorageError::Missing { file }
            | StorageError::Foreign { file }
            | StorageError::Format { file, .. },
        ) => Some(file),
        _ => None,
    }
}

/// Whether what is held could have been held earlier: every number is one that was written.
fn was_written(nodes: &BTreeMap<u8, i64>) -> bool {
    let written = [(1, 1), (1, 4), (2, 2), (2, 5), (3, 3), (4, 1)];
    nodes.iter().all(|(node, value)| written.contains(&(*node, *value)))
}

#[test]
fn every_flipped_bit_of_a_closed_store_is_found_and_named() {
    let (image, _) = small_store(true);
    let mut bits = 0;
    for (name, bytes) in &image {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = image.clone();
            flipped.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let error = open_image(&flipped).expect_err(&format!("bit {bit} of {name} went unseen"));
            // Of two neighbours either may be named: a segment's end is told by the next.
            let file = named(&error).unwrap_or_else(|| panic!("bit {bit} of {name}: {error}"));
            let is_near = file.split('-').next() == name.split('-').next();
            assert!(is_near, "bit {bit} of {name} was told of {file}: {error}");
            bits += 1;
        }
    }
    println!("{bits} bits of {} files", image.len());
    assert!(bits > 10_000 && image.len() >= 3, "{bits} bits of {:?}", image.keys());
}

#[test]
fn of_a_store_that_was_not_closed_only_the_end_may_be_cut_and_that_is_told() {
    let (image, held) = small_store(false);
    let (mut found, mut cut) = (0, 0);
    for (name, bytes) in &image {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = image.clone();
            flipped.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            match open_image(&flipped) {
                Err(error) => {
                    assert!(named(&error).is_some(), "bit {bit} of {name}: {error}");
                    found += 1;
                }
                Ok((nodes, truncated)) => {
                    assert!(name.starts_with("segment"), "bit {bit} of {name} went unseen");
                    assert!(truncated, "bit {bit} of {name} went unseen");
                    assert!(was_written(&nodes) && nodes.len() + 1 >= held.len(), "bit {bit} of {name}: {nodes:?}");
                    cut += 1;
                }
            }
            // Room that was prepared is all zeros: one bit in it is as good as another.
            if name.starts_with("segment") && bit / 8 > 4_000 && bytes.len() - bit / 8 > 4_000 {
                break;
            }
        }
    }
    println!("{found} bits found, {cut} told as cut off");
    assert!(found > 5_000 && cut > 100);
}

#[test]
fn every_file_cut_at_every_byte_is_found_or_told() {
    let (closed, held) = small_store(true);
    for (name, bytes) in &closed {
        for len in 0..bytes.len() {
            let mut cut = closed.clone();
            cut.get_mut(name).unwrap().truncate(len);
            let error = open_image(&cut).expect_err(&format!("{name} cut at {len} went unseen"));
            assert!(named(&error).is_some(), "{name} cut at {len}: {error}");
        }
    }
    let (open, _) = small_store(false);
    for (name, bytes) in &open {
        for len in (0..bytes.len()).filter(|len| *len < 4_000) {
            let mut cut = open.clone();
            cut.get_mut(name).unwrap().truncate(len);
            match open_image(&cut) {
                Err(error) => assert!(named(&error).is_some(), "{name} cut at {len}: {error}"),
                // At the end of a frame nothing tells that there was more; so it is with any log.
                Ok((nodes, _)) => {
                    assert!(was_written(&nodes) && nodes.len() <= held.len(), "{name} cut at {len}: {nodes:?}")
                }
            }
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let (image, _) = small_store(true);
    for name in image.keys() {
        let mut missing = image.clone();
        missing.remove(name);
        let error = open_image(&missing).expect_err(&format!("{name} was missing, and nobody said so"));
        assert_eq!(named(&error), Some(&name[..]), "{error}");
    }
}

#[test]
fn a_file_of_another_store_is_refused() {
    let (image, _) = small_store(true);
    let (other, _) = small_store(true);
    for name in image.keys() {
        let mut swapped = image.clone();
        swapped.insert(name.clone(), other[name].clone());
        let error = open_image(&swapped).expect_err(&format!("{name} was of another store, and nobody said so"));
        let is_foreign = matches!(error, StoreError::Storage(StorageError::Foreign { .. }));
        assert!(is_foreign || named(&error).is_some(), "{name}: {error}");
        assert!(is_foreign, "{name}: {error}");
    }
    // Two of its own files under each other's names.
    let segments: Vec<&String> = image.keys().filter(|name| name.starts_with("segment")).collect();
    if let [first, .., last] = segments[..] {
        let mut swapped = image.clone();
        swapped.insert(first.clone(), image[last].clone());
        swapped.insert(last.clone(), image[first].clone());
        assert!(named(&open_image(&swapped).unwrap_err()).is_some());
    }
}

#[test]
fn a_later_format_says_so() {
    let (image, _) = small_store(true);
    let mut later = image.clone();
    let head = later.get_mut("head").unwrap();
    head[4] = 99;
    let end = head.len() - 8;
    let checksum = xxhash_rust::xxh3::xxh3_64(&head[..end]).to_le_bytes();
    head[end..].copy_from_slice(&checksum);
    let error = open_image(&later).unwrap_err();
    assert!(matches!(error, StoreError::Storage(StorageError::Format { found: 99, newest: 1, .. })), "{error}");
}

/// Opens what is whole, and then once more as usual.
fn salvaged(image: &Image) -> (BTreeMap<u8, i64>, usize) {
    let disk = SimulatedDisk::with(image);
    let store: Store<Graph> = options(Durability::Immediate).salvage_on(disk.clone()).unwrap();
    let lost = store.recovery().lost.len();
    let nodes = crash::nodes(store.state());
    drop(store);
    assert_eq!(open_image(&disk.image()).unwrap().0, nodes, "a salvaged store does not open as it was");
    (nodes, lost)
}

#[test]
fn salvage_keeps_what_is_whole_and_says_what_is_not() {
    let (image, held) = small_store(true);
    assert_eq!(salvaged(&image), (held.clone(), 0));
    let mut salvages = 0;
    for (name, bytes) in &image {
        for byte in (0..bytes.len()).step_by(7) {
            let mut damaged = image.clone();
            damaged.get_mut(name).unwrap()[byte] ^= 0x10;
            let (nodes, lost) = salvaged(&damaged);
            assert!(lost > 0, "byte {byte} of {name}");
            assert!(was_written(&nodes), "byte {byte} of {name}: {nodes:?}");
            if name == "head" {
                assert_eq!(nodes, held, "all is whole but the head");
            }
            salvages += 1;
        }
        let mut missing = image.clone();
        missing.remove(name);
        let (nodes, lost) = salvaged(&missing);
        assert!(lost > 0 && was_written(&nodes), "without {name}: {nodes:?}");
    }
    println!("{salvages} salvages");
}

#[test]
fn a_salvage_that_stops_loses_nothing_to_the_next_one() {
    let (mut image, held) = small_store(true);
    image.get_mut("head").unwrap()[20] ^= 0x10;
    for at in 0.. {
        let disk = SimulatedDisk::with(&image);
        disk.set_fault(Fault::Stop(at));
        let options = || options(Durability::Immediate);
        drop(options().salvage_on::<Graph>(disk.clone()));
        if disk.changes() <= at {
            break;
        }
        let units = 0..disk.unsynced();
        let some = units.clone().flat_map(|one| [disk.crash(|unit| unit == one), disk.crash(|unit| unit != one)]);
        for left in some.chain([disk.crash(|_| false), disk.crash(|_| true)]) {
            let disk = SimulatedDisk::with(&left);
            let opened = options().open_on::<Graph>(disk.clone());
            let store = opened.or_else(|_| options().salvage_on(disk)).unwrap();
            assert_eq!(nodes(store.state()), held, "stopped at {at}");
        }
    }
}

#[test]
fn a_salvage_that_stops_or_fails_sets_aside_all_the_same() {
    let (whole, _) = small_store(true);
    let options = || options(Durability::Immediate);
    for name in whole.keys() {
        let mut image = whole.clone();
        let bytes = image.get_mut(name).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        let damaged = bytes.clone();
        let held = options().salvage_on::<Graph>(SimulatedDisk::with(&image)).unwrap().snapshot();
        for at in 0.. {
            let (mut is_over, other) = (false, std::io::ErrorKind::Other);
            for fault in [Fault::Stop(at), Fault::Fail(at, other), Fault::Fail(at, std::io::ErrorKind::StorageFull)] {
                let disk = SimulatedDisk::with(&image);
                disk.set_fault(fault);
                drop(options().salvage_on::<Graph>(disk.clone()));
                is_over |= disk.changes() <= at;
                for keeps in [false, true] {
                    let left = disk.crash(|_| keeps);
                    let disk = SimulatedDisk::with(&left);
                    let opened = options().open_on::<Graph>(disk.clone());
                    let store = opened.or_else(|_| options().salvage_on(disk.clone())).unwrap();
                    assert_eq!(store.state(), &held, "{name}, {fault:?}");
                    drop(store);
                    // Twice opened, nothing more is to be done, and nothing is removed.
                    drop(options().open_on::<Graph>(disk.clone()).unwrap());
                    let image = disk.image();
                    assert!(image.values().any(|bytes| *bytes == damaged), "{name} is gone, {fault:?}");
                    assert!(!image.contains_key("salvage"), "{name}, {fault:?}");
                }
            }
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn a_salvaged_store_gets_back_from_a_peer_what_it_lost() {
    let (image, held) = small_store(true);
    let whole: Store<Graph> = options(Durability::Immediate).open_on(SimulatedDisk::with(&image)).unwrap();
    for name in image.keys() {
        let mut damaged = image.clone();
        let bytes = damaged.get_mut(name).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let mut store: Store<Graph> = options(Durability::Immediate).salvage_on(SimulatedDisk::with(&damaged)).unwrap();
        let mut peer = whole.replica().fork();
        store.edit(|g| g.add_node("node:8").map(drop)).unwrap();
        driftless::sync::in_memory(&mut store, &mut peer).unwrap();
        assert_eq!((store.state(), store.fingerprint()), (peer.state(), peer.fingerprint()), "without {name}");
        assert!(
            held.keys()
                .all(|node| store.state().node(driftless::NodeId::named(format!("node:{node}").as_str())).is_some())
        );
    }
}

#[test]
fn verify_finds_damage_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (image, _) = small_store(true);
    let write = |image: &Image| {
        for (name, bytes) in image {
            std::fs::write(directory.path().join(name), bytes).unwrap();
        }
    };
    write(&image);
    assert!(Store::<Graph>::verify(directory.path()).unwrap().lost.is_empty());
    for name in image.keys() {
        let mut damaged = image.clone();
        let bytes = damaged.get_mut(name).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        write(&damaged);
        let lost = Store::<Graph>::verify(directory.path()).unwrap().lost;
        assert!(lost.iter().any(|lost| lost.file == *name), "{name}: {lost:?}");
        for (name, bytes) in &damaged {
            assert_eq!(&std::fs::read(directory.path().join(name)).unwrap(), bytes, "{name} was changed");
        }
    }
}
