//! A shared folder: whatever happens to its files, replicas become equal and what is deleted stays deleted.
#![allow(unused_must_use, reason = "a report is asserted where it matters")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use driftless::sync::{Folder, FolderError, FolderReport, MAX_CHAIN_FILES, SkipReason};
use driftless::testing::TestEnvironment;
use driftless::{Delta, Graph, Lease, OrMap, Prune, Replica};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

type Notes = OrMap<u32, String>;

struct Device {
    name: &'static str,
    directory: PathBuf,
    replica: Replica<Notes>,
    folder: Folder<Notes>,
}

impl Device {
    fn new(directory: &Path, name: &'static str) -> Self {
        let replica = Replica::with_environment(TestEnvironment::new(
            name.bytes().fold(0, |seed, byte| seed << 8 | u64::from(byte)),
        ));
        Self::with(directory, name, replica)
    }

    fn with(directory: &Path, name: &'static str, replica: Replica<Notes>) -> Self {
        let folder = Folder::open(directory, name).unwrap();
        Self { name, directory: directory.to_owned(), replica, folder }
    }

    fn add(&mut self, key: u32) {
        self.add_text(key, "a note");
    }

    fn add_text(&mut self, key: u32, text: &str) {
        self.replica.edit(|notes| notes.insert(key, text.into())).unwrap();
    }

    fn remove(&mut self, key: u32) {
        self.replica.edit(|notes| notes.remove(&key)).unwrap();
    }

    fn keys(&self) -> Vec<u32> {
        self.replica.state().keys().copied().collect()
    }

    fn sync(&mut self) -> FolderReport {
        self.folder.sync(&mut self.replica).unwrap()
    }

    /// One that must have nothing to complain of.
    fn clean_sync(&mut self) -> FolderReport {
        let report = self.sync();
        assert!(report.skipped.is_empty(), "{}: {:?}", self.name, report.skipped);
        assert!(report.unwritten.is_none(), "{}: {:?}", self.name, report.unwritten);
        report
    }

    fn files(&self) -> Vec<PathBuf> {
        files(&self.directory.join(self.name))
    }

    fn save(&mut self) -> (Vec<u8>, Option<Lease>) {
        self.replica.save()
    }

    /// The process ends and begins again from what was saved.
    fn restart_from(&mut self, (bytes, lease): (Vec<u8>, Option<Lease>), seed: u64) {
        self.replica = Replica::resume_with(TestEnvironment::new(seed), &bytes, lease).unwrap();
        self.folder = Folder::open(&self.directory, self.name).unwrap();
    }
}

/// The files of a directory, sorted; none if it is not there.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn temporary() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A laptop with five files in its chain, and their paths.
fn chain_of_five(directory: &Path) -> (Device, Vec<PathBuf>) {
    let mut laptop = Device::new(directory, "laptop");
    for key in 0..5 {
        laptop.add(key);
        laptop.clean_sync();
    }
    let files = laptop.files();
    assert_eq!(files.len(), 5);
    (laptop, files)
}

fn only_reason(report: &FolderReport) -> &SkipReason {
    assert_eq!(report.skipped.len(), 1, "{:?}", report.skipped);
    &report.skipped[0].reason
}

// ---- what should happen ----

/// Somebody who has nothing but the folder.
fn newcomer(directory: &Path) -> Device {
    let mut newcomer = Device::new(directory, "newcomer");
    newcomer.clean_sync();
    newcomer
}

#[test]
fn two_that_share_a_folder_become_equal_and_then_write_nothing() {
    let directory = temporary();
    let (mut a, mut b) = (Device::new(directory.path(), "a"), Device::new(directory.path(), "b"));
    a.add(1);
    b.add(2);
    a.clean_sync();
    b.clean_sync();
    a.clean_sync();
    assert_eq!(a.replica.state(), b.replica.state());
    assert_eq!(a.keys(), [1, 2]);
    for device in [&mut a, &mut b] {
        let report = device.clean_sync();
        assert!(report.written.is_none() && report.merged.is_empty() && report.bytes_read == 0, "{report:?}");
    }
}

/// Or three devices would answer each other's files with files for ever.
#[test]
fn who_only_reads_writes_nothing() {
    let directory = temporary();
    let mut writer = Device::new(directory.path(), "writer");
    let mut readers = ["r1", "r2"].map(|name| Device::new(directory.path(), name));
    for key in 0..10 {
        writer.add(key);
        writer.clean_sync();
        readers.iter_mut().for_each(|reader| drop(reader.clean_sync()));
    }
    for reader in &readers {
        assert_eq!(reader.replica.state(), writer.replica.state());
        assert!(reader.files().is_empty());
    }
    assert_eq!(writer.files().len(), 10);
}

#[test]
fn what_only_a_reader_still_holds_is_written_by_it_once_its_writers_files_are_gone() {
    let directory = temporary();
    let (mut writer, mut reader) = (Device::new(directory.path(), "writer"), Device::new(directory.path(), "reader"));
    writer.add(1);
    writer.clean_sync();
    reader.clean_sync();
    fs::remove_dir_all(directory.path().join("writer")).unwrap();
    assert!(reader.clean_sync().written.is_some());
    let newcomer = newcomer(directory.path());
    assert_eq!(newcomer.keys(), [1]);
}

#[test]
fn nothing_is_made_in_a_folder_before_there_is_something_to_say() {
    let directory = temporary();
    Device::new(directory.path(), "a").clean_sync();
    assert!(files(directory.path()).is_empty());
    let missing = directory.path().join("not plugged in");
    assert!(matches!(Folder::<Graph>::open(&missing, "a"), Err(FolderError::Io { .. })));
    assert!(!missing.exists());
    assert!(matches!(Folder::<Graph>::open(directory.path(), "../a"), Err(FolderError::Device(_))));
}

// ---- files that come late, twice, in part ----

#[test]
fn files_that_come_in_any_order_are_applied_once_the_gap_is_filled() {
    let (home, elsewhere) = (temporary(), temporary());
    let (laptop, files) = chain_of_five(home.path());
    let mut phone = Device::new(elsewhere.path(), "phone");
    let there = elsewhere.path().join("laptop");
    fs::create_dir(&there).unwrap();
    for (arrived, i) in [4, 2, 1, 3, 0].into_iter().enumerate() {
        assert!(phone.keys().is_empty());
        let report = phone.sync();
        assert_eq!(report.skipped.len(), arrived);
        assert!(report.skipped.iter().all(|s| matches!(s.reason, SkipReason::Waiting { .. })));
        fs::copy(&files[i], there.join(files[i].file_name().unwrap())).unwrap();
    }
    assert_eq!(phone.clean_sync().merged.len(), 5);
    assert_eq!(phone.replica.state(), laptop.replica.state());
    // Once more, under another time.
    for file in &files {
        fs::copy(file, there.join(file.file_name().unwrap())).unwrap();
    }
    assert!(phone.clean_sync().merged.is_empty());
}

#[test]
fn a_gap_in_one_chain_is_filled_by_another_devices_files() {
    let directory = temporary();
    let (laptop, files) = chain_of_five(directory.path());
    let mut zoe = Device::new(directory.path(), "zoe");
    zoe.folder.pull(&mut zoe.replica).unwrap();
    zoe.add(100);
    zoe.clean_sync();
    fs::remove_file(&files[1]).unwrap();
    let newcomer = newcomer(directory.path());
    assert_eq!(newcomer.keys(), [0, 1, 2, 3, 4, 100]);
    drop(laptop);
}

#[test]
fn a_hole_in_ones_own_chain_is_mended_by_the_next_file() {
    let directory = temporary();
    let (mut laptop, files) = chain_of_five(directory.path());
    fs::remove_file(&files[1]).unwrap();
    fs::write(&files[3], "").unwrap();
    let report = laptop.sync();
    assert!(report.written.is_some());
    let mut newcomer = Device::new(directory.path(), "newcomer");
    newcomer.sync();
    assert_eq!(newcomer.replica.state(), laptop.replica.state());
}

// ---- files that are no good ----

#[test]
fn damage_of_any_kind_is_reported_and_stops_nothing_else() {
    let directory = temporary();
    let (_, files) = chain_of_five(directory.path());
    let mut other = Device::new(directory.path(), "other");
    other.add(7);
    other.clean_sync();
    let good = fs::read(&files[0]).unwrap();
    let mut damaged = vec![Vec::new(), good[..good.len() / 2].to_vec(), good[..3].to_vec(), b"no delta".to_vec()];
    for bit in (0..good.len() * 8).step_by(7) {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        damaged.push(flipped);
    }
    for bytes in damaged {
        fs::write(&files[0], &bytes).unwrap();
        let mut phone = Device::new(directory.path(), "phone");
        let report = phone.sync();
        assert!(report.skipped.iter().any(|skipped| skipped.path == files[0]), "{:?}", report.skipped);
        for skipped in &report.skipped {
            let expected = match skipped.path == files[0] {
                true => {
                    matches!(skipped.reason, SkipReason::Incomplete | SkipReason::Damaged(_) | SkipReason::TooNew(_))
                }
                false => matches!(skipped.reason, SkipReason::Waiting { .. }),
            };
            assert!(expected, "{skipped:?}");
        }
        // The other had seen all that the damaged file says.
        assert!(phone.keys().contains(&7));
    }
    fs::write(&files[0], &good).unwrap();
    Device::new(directory.path(), "phone").clean_sync();
}

#[test]
fn a_file_that_is_mended_under_the_same_length_is_read_again() {
    let directory = temporary();
    let (laptop, files) = chain_of_five(directory.path());
    let (good, time) = (fs::read(&files[0]).unwrap(), fs::metadata(&files[0]).unwrap().modified().unwrap());
    let put = |bytes: &[u8]| {
        fs::write(&files[0], bytes).unwrap();
        fs::File::options().write(true).open(&files[0]).unwrap().set_modified(time).unwrap();
    };
    put(&vec![0; good.len()]);
    let mut phone = Device::new(directory.path(), "phone");
    assert!(phone.sync().merged.is_empty());
    put(&good);
    phone.clean_sync();
    assert_eq!(phone.replica.state(), laptop.replica.state());
}

#[test]
fn a_later_version_another_type_and_a_saved_state_are_told_apart() {
    let directory = temporary();
    let strange = directory.path().join("strange");
    fs::create_dir(&strange).unwrap();
    let file = strange.join("0000000001.drift");
    let (_, delta) = Replica::<Notes>::new().edit(|notes| notes.insert(1, "x".into())).unwrap();
    let mut phone = Device::new(directory.path(), "phone");

    let mut later = delta.to_bytes();
    later[4] += 1;
    fs::write(&file, &later).unwrap();
    assert!(matches!(only_reason(&phone.sync()), SkipReason::TooNew(_)));

    let (_, graph) = Replica::<Graph>::new().edit(|g| g.add_node("ada")).unwrap();
    fs::write(&file, graph.to_bytes()).unwrap();
    for _ in 0..2 {
        let report = phone.sync();
        assert!(matches!(only_reason(&report), SkipReason::Schema { found, .. } if found == graph.schema()));
    }
    fs::write(&file, Replica::<Notes>::new().save().0).unwrap();
    assert!(matches!(only_reason(&phone.sync()), SkipReason::Damaged(_)));

    fs::write(&file, delta.to_bytes()).unwrap();
    phone.folder = Folder::open(directory.path(), "phone").unwrap().with_file_limit(10);
    assert!(matches!(only_reason(&phone.sync()), SkipReason::TooLarge { limit: 10, .. }));
    phone.add(2);
    assert!(matches!(phone.sync().unwritten, Some(FolderError::TooLarge { limit: 10, .. })));
    phone.folder = Folder::open(directory.path(), "phone").unwrap();
    phone.clean_sync();
    assert_eq!(phone.keys(), [1, 2]);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let directory = temporary();
    let (_, files) = chain_of_five(directory.path());
    for name in [".git", "Laptop (copy)", "laptop 2", "ä", ".stversions"] {
        fs::create_dir(directory.path().join(name)).unwrap();
        fs::copy(&files[0], directory.path().join(name).join("0000000001.drift")).unwrap();
    }
    fs::write(directory.path().join("README.md"), "hello").unwrap();
    fs::write(directory.path().join("phone"), "a file where a device's directory would be").unwrap();
    fs::write(directory.path().join("laptop/.DS_Store"), "x").unwrap();
    fs::write(directory.path().join("laptop/0000000009.drift.tmp"), "another's leftovers").unwrap();
    let mut tablet = Device::new(directory.path(), "tablet");
    tablet.clean_sync();
    for name in ["1.drift", "0000000001.drift (conflict)", "00000000001.drift", "000000000a.drift", "notes.txt"] {
        fs::write(directory.path().join("laptop").join(name), "x").unwrap();
    }
    fs::create_dir(directory.path().join("laptop/0000000042.drift")).unwrap();
    let report = tablet.sync();
    let foreign = report.skipped.iter().filter(|s| matches!(s.reason, SkipReason::Foreign)).count();
    let no_files = report.skipped.iter().filter(|s| matches!(s.reason, SkipReason::NotAFile)).count();
    assert_eq!((foreign, no_files, report.skipped.len()), (5, 1, 6));
    assert!(directory.path().join("laptop/0000000009.drift.tmp").exists());

    let mut phone = Device::new(directory.path(), "phone");
    phone.add(9);
    assert!(matches!(phone.sync().unwritten, Some(FolderError::OwnFile { reason: SkipReason::NotAFile, .. })));
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let (directory, outside) = (temporary(), temporary());
    let (_, files) = chain_of_five(outside.path());
    symlink(outside.path().join("laptop"), directory.path().join("laptop")).unwrap();
    fs::create_dir(directory.path().join("tablet")).unwrap();
    symlink(&files[0], directory.path().join("tablet/0000000001.drift")).unwrap();
    symlink(outside.path(), directory.path().join("phone")).unwrap();
    let mut phone = Device::new(directory.path(), "phone");
    let report = phone.sync();
    assert!(matches!(only_reason(&report), SkipReason::NotAFile));
    assert!(phone.keys().is_empty());
    phone.add(1);
    assert!(matches!(phone.sync().unwritten, Some(FolderError::OwnFile { reason: SkipReason::NotAFile, .. })));
    assert_eq!(self::files(outside.path()).len(), 1, "nothing was written through the link");
}

// ---- tombstones ----

#[test]
fn what_was_deleted_and_pruned_stays_deleted_for_who_was_away() {
    let directory = temporary();
    let (mut a, mut b) = (Device::new(directory.path(), "a"), Device::new(directory.path(), "b"));
    a.add(1);
    a.add(2);
    a.clean_sync();
    b.add(3);
    b.clean_sync();
    a.clean_sync();
    a.remove(1);
    a.remove(3);
    assert_eq!(a.folder.prune(&mut a.replica, Prune::All).unwrap(), 2);
    a.add(4);
    let written = a.clean_sync().written.unwrap();
    assert!(!written.is_checkpoint, "the tombstones were written before they were pruned");
    b.clean_sync();
    assert_eq!(b.keys(), [2, 4]);
    a.clean_sync();
    assert_eq!(a.replica.state(), b.replica.state());
}

/// What others pruned beyond our last file cannot be told by an increment of ours.
#[test]
fn who_inherits_pruned_tombstones_writes_a_checkpoint() {
    let directory = temporary();
    let (mut a, mut b) = (Device::new(directory.path(), "a"), Device::new(directory.path(), "b"));
    b.add(1);
    b.clean_sync();
    a.clean_sync();
    a.remove(1);
    a.folder.prune(&mut a.replica, Prune::All).unwrap();
    a.add(2);
    a.clean_sync();
    b.clean_sync();
    b.add(3);
    let report = b.clean_sync();
    assert!(report.written.unwrap().is_checkpoint);
    assert_eq!((report.dropped, b.files().len()), (1, 1));
    // One that only gets b's files, and knows the note that was deleted.
    let elsewhere = temporary();
    let mut c = Device::new(elsewhere.path(), "c");
    fs::create_dir(elsewhere.path().join("b")).unwrap();
    fs::copy(&b.files()[0], elsewhere.path().join("b/0000000002.drift")).unwrap();
    c.clean_sync();
    assert_eq!(c.keys(), [2, 3]);
}

#[test]
fn nothing_is_pruned_that_could_not_be_written() {
    let directory = temporary();
    let mut a = Device::new(directory.path(), "a");
    a.add(1);
    a.clean_sync();
    a.remove(1);
    let tombstones = a.replica.state().clone();
    a.folder = Folder::open(directory.path(), "a").unwrap().with_file_limit(1);
    assert!(a.folder.prune(&mut a.replica, Prune::All).is_err());
    assert_eq!(a.replica.prune(Prune::All), 1);
    drop(tombstones);
}

// ---- checkpoints ----

#[test]
fn a_chain_that_grows_is_dropped_for_a_checkpoint_and_a_newcomer_needs_no_more() {
    let directory = temporary();
    let mut a = Device::new(directory.path(), "a");
    let text = "x".repeat(10_000);
    let (mut checkpoints, mut dropped, mut written) = (0, 0, 0);
    for key in 0..60 {
        a.add_text(key % 7, &text);
        let report = a.clean_sync();
        let file = report.written.unwrap();
        checkpoints += usize::from(file.is_checkpoint);
        dropped += report.dropped;
        written += file.bytes;
    }
    assert!((4..=20).contains(&checkpoints), "{checkpoints}");
    assert_eq!(dropped + a.files().len(), 60);
    assert!(written < 4 * 60 * 10_000, "{written}");
    let newcomer = newcomer(directory.path());
    assert_eq!(newcomer.replica.state(), a.replica.state());
}

#[test]
fn a_chain_never_has_more_than_so_many_files() {
    let directory = temporary();
    let mut a = Device::new(directory.path(), "a");
    // So large that bytes alone would allow for many more.
    (0..20).for_each(|key| a.add_text(key, &"x".repeat(10_000)));
    for key in 0..=MAX_CHAIN_FILES as u32 + 3 {
        a.add_text(1000, &key.to_string());
        a.folder.push(&a.replica).unwrap();
        assert!(a.files().len() <= MAX_CHAIN_FILES + 1);
    }
    assert!(a.files().len() < 10);
}

/// A checkpoint that dropped its tombstones would make everybody who merges it write one too.
#[test]
fn a_checkpoint_of_one_device_makes_no_other_write_one() {
    let directory = temporary();
    let (mut a, mut b) = (Device::new(directory.path(), "a"), Device::new(directory.path(), "b"));
    b.add(999);
    b.clean_sync();
    a.clean_sync();
    let (text, mut checkpoints) = ("x".repeat(20_000), 0);
    for key in 0..12 {
        a.add_text(key, &text);
        a.remove(key / 2);
        checkpoints += usize::from(a.clean_sync().written.unwrap().is_checkpoint);
    }
    assert!(checkpoints > 1);
    b.clean_sync();
    let pruned = b.replica.delta_since(&Default::default()).unwrap().pruned().clone();
    assert!(pruned.is_empty());
    assert_eq!(a.replica.state(), b.replica.state());
}

// ---- crashes ----

/// After the temporary file was written, in part or in full.
#[test]
fn a_crash_before_the_name_leaves_nothing_but_a_leftover_that_is_cleaned() {
    let directory = temporary();
    let (mut laptop, _) = chain_of_five(directory.path());
    let leftover = directory.path().join("laptop/0000000006.drift.tmp");
    fs::write(&leftover, "half").unwrap();
    let mut phone = Device::new(directory.path(), "phone");
    phone.clean_sync();
    assert!(leftover.exists(), "nobody cleans another's");
    let saved = laptop.save();
    laptop.restart_from(saved, 77);
    laptop.add(6);
    laptop.clean_sync();
    assert!(!leftover.exists());
    phone.clean_sync();
    assert_eq!(phone.replica.state(), laptop.replica.state());
}

/// After the name was given: the file is there, and who wrote it does not remember.
#[test]
fn a_crash_after_the_name_writes_nothing_twice() {
    let directory = temporary();
    let (mut laptop, files) = chain_of_five(directory.path());
    let saved = laptop.save();
    laptop.restart_from(saved, 77);
    assert!(laptop.clean_sync().written.is_none());
    laptop.add(6);
    laptop.clean_sync();
    assert_eq!(laptop.files().len(), files.len() + 1);
}

/// Between the checkpoint and the deletion of what it stands for.
#[test]
fn a_crash_before_old_files_were_dropped_is_made_up_for() {
    let directory = temporary();
    let (mut laptop, files) = chain_of_five(directory.path());
    let old: Vec<_> = files.iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    laptop.remove(0);
    laptop.replica.prune(Prune::All);
    let report = laptop.clean_sync();
    assert!(report.written.unwrap().is_checkpoint);
    assert_eq!(report.dropped, 5);
    old.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());

    let newcomer = newcomer(directory.path());
    assert_eq!(newcomer.replica.state(), laptop.replica.state());
    let saved = laptop.save();
    laptop.restart_from(saved, 77);
    let report = laptop.clean_sync();
    assert!(report.written.is_none());
    assert_eq!((report.dropped, laptop.files().len()), (5, 1));
}

// ---- backups and clones ----

#[test]
fn a_crash_before_the_save_is_found_out_and_reclaimed() {
    let directory = temporary();
    let mut laptop = Device::new(directory.path(), "laptop");
    laptop.add(1);
    let saved = laptop.save();
    laptop.add(2);
    laptop.clean_sync();
    let before = laptop.files();

    laptop.restart_from(saved, 77);
    let report = laptop.sync();
    assert!(matches!(only_reason(&report), SkipReason::OwnDots { ours: 1, theirs: 2, .. }));
    assert!(matches!(report.unwritten, Some(FolderError::OwnDots { .. })));
    assert_eq!(laptop.files(), before);
    laptop.replica.rotate().unwrap();
    let report = laptop.sync();
    assert!(matches!(only_reason(&report), SkipReason::OwnFileAhead));
    assert!(matches!(report.unwritten, Some(FolderError::OwnFilesAhead { .. })));
    laptop.add(3);
    assert_eq!(laptop.folder.reclaim(&mut laptop.replica).unwrap().merged.len(), 1);
    laptop.clean_sync();
    assert_eq!(laptop.keys(), [1, 2, 3]);
    let newcomer = newcomer(directory.path());
    assert_eq!(newcomer.replica.state(), laptop.replica.state());
}

/// Versions are equal then, and the two would differ for ever.
#[test]
fn a_crash_before_the_save_is_found_out_even_after_as_many_writes() {
    for is_told_first in [false, true] {
        let directory = temporary();
        let mut laptop = Device::new(directory.path(), "laptop");
        laptop.add(1);
        let saved = laptop.save();
        laptop.add(2);
        laptop.clean_sync();
        let mut phone = Device::new(directory.path(), "phone");
        phone.clean_sync();
        let before = laptop.files();

        laptop.restart_from(saved, 77);
        if is_told_first {
            assert!(laptop.sync().unwritten.is_some());
        }
        laptop.add(3);
        let report = laptop.sync();
        assert!(matches!(only_reason(&report), SkipReason::OtherWrites { .. }));
        assert!(matches!(report.unwritten, Some(FolderError::OtherWrites { .. })));
        assert_eq!(laptop.files(), before);
        laptop.replica.rotate().unwrap();
        assert_eq!(laptop.folder.reclaim(&mut laptop.replica).unwrap().merged.len(), 1);
        laptop.clean_sync();
        phone.clean_sync();
        assert_eq!(laptop.keys(), [1, 2, 3]);
        assert_eq!(phone.replica.state(), laptop.replica.state());
    }
}

#[test]
fn a_restored_backup_overwrites_nothing_and_takes_another_name() {
    let directory = temporary();
    let mut laptop = Device::new(directory.path(), "laptop");
    laptop.add(1);
    laptop.clean_sync();
    let (backup, _) = laptop.save();
    laptop.add(2);
    laptop.remove(1);
    laptop.clean_sync();
    let contents = |device: &Device| device.files().iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>();
    let before = contents(&laptop);

    laptop.restart_from((backup.clone(), None), 77);
    laptop.add(3);
    let report = laptop.sync();
    assert!(report.skipped.iter().all(|s| matches!(s.reason, SkipReason::OwnFileAhead)) && !report.skipped.is_empty());
    assert!(matches!(report.unwritten, Some(FolderError::OwnFilesAhead { .. })));
    assert!(laptop.folder.prune(&mut laptop.replica, Prune::All).is_err());
    assert_eq!(contents(&laptop), before);

    let mut renamed = Device::with(directory.path(), "laptop-2", laptop.replica);
    renamed.clean_sync();
    assert_eq!(renamed.keys(), [2, 3]);
}

#[test]
fn a_clone_that_went_on_under_our_id_is_found_in_another_devices_files() {
    let directory = temporary();
    let mut laptop = Device::new(directory.path(), "laptop");
    laptop.add(1);
    laptop.clean_sync();
    let (bytes, lease) = laptop.save();
    // The disk was copied, lease and all, and the copy uses another name at least.
    let mut clone = Device::new(directory.path(), "clone");
    clone.restart_from((bytes, lease), 77);
    clone.add(2);
    clone.add(20);
    clone.clean_sync();

    let report = laptop.sync();
    assert!(matches!(only_reason(&report), SkipReason::OwnDots { ours: 1, theirs: 3, .. }));
    assert!(matches!(report.unwritten, Some(FolderError::OwnDots { .. })));
    laptop.add(3);
    let report = laptop.sync();
    assert!(matches!(only_reason(&report), SkipReason::OtherWrites { .. }));
    assert!(matches!(report.unwritten, Some(FolderError::OtherWrites { .. })));
    laptop.replica.rotate().unwrap();
    laptop.clean_sync();
    clone.clean_sync();
    assert_eq!(laptop.keys(), [1, 2, 3, 20]);
    assert_eq!(laptop.replica.state(), clone.replica.state());
}

// ---- anything at all ----

#[derive(Clone, Debug)]
enum Step {
    Add(usize),
    Remove(usize, usize),
    Pull(usize),
    Push(usize),
    Sync(usize),
    Prune(usize),
    /// Past the folder, so that the files never tell.
    BarePrune(usize),
    Restart(usize),
    /// A tool moves some files from one folder to the other: whole or cut off, with or without deletions.
    Carry {
        from: usize,
        which: u64,
        cut_off: bool,
        deletions: bool,
    },
    /// A crash left a temporary file.
    Leftover(usize),
}

const DEVICES: [(&str, usize); 4] = [("ann", 0), ("bob", 0), ("cat", 1), ("dan", 1)];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = 0..DEVICES.len();
    let step = prop_oneof![
        6 => device.clone().prop_map(Step::Add),
        4 => (device.clone(), any::<usize>()).prop_map(|(device, pick)| Step::Remove(device, pick)),
        3 => device.clone().prop_map(Step::Pull),
        3 => device.clone().prop_map(Step::Push),
        9 => device.clone().prop_map(Step::Sync),
        1 => device.clone().prop_map(Step::Prune),
        1 => device.clone().prop_map(Step::BarePrune),
        1 => device.clone().prop_map(Step::Restart),
        6 => (0..2usize, any::<u64>(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(from, which, cut_off, deletions)| Step::Carry { from, which, cut_off, deletions }),
        1 => device.prop_map(Step::Leftover),
    ];
    prop::collection::vec(step, 20..140)
}

/// Devices of two folders, and what must be true of them.
struct World {
    folders: [TempDir; 2],
    devices: Vec<Device>,
    added: u32,
    removed: BTreeSet<u32>,
    /// By device: what it held, and what it held once and has lost.
    held: Vec<(BTreeSet<u32>, BTreeSet<u32>)>,
    hits: Hits,
}

/// How often it was about what it is about.
#[derive(Default)]
struct Hits {
    merged: usize,
    waiting: usize,
    incomplete: usize,
    checkpoints: usize,
    dropped: usize,
}

impl World {
    fn new() -> Self {
        let folders = [temporary(), temporary()];
        let devices = DEVICES.iter().map(|(name, home)| Device::new(folders[*home].path(), name)).collect();
        let held = vec![Default::default(); DEVICES.len()];
        Self { folders, devices, added: 0, removed: BTreeSet::new(), held, hits: Hits::default() }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Add(device) => {
                // Large enough for chains to grow past their limit.
                let text = self.added.to_string().repeat(9_000);
                self.devices[device].add_text(self.added, &text);
                self.added += 1;
            }
            Step::Remove(device, pick) => {
                let keys = self.devices[device].keys();
                if let Some(key) = keys.get(pick % keys.len().max(1)) {
                    self.devices[device].remove(*key);
                    self.removed.insert(*key);
                }
            }
            Step::Pull(device) => {
                let Device { folder, replica, .. } = &mut self.devices[device];
                let report = folder.pull(replica).unwrap();
                self.count(&report);
            }
            Step::Push(device) => {
                let Device { folder, replica, .. } = &mut self.devices[device];
                let report = folder.push(replica).unwrap();
                self.count(&report);
            }
            Step::Sync(device) => {
                let report = self.devices[device].sync();
                assert!(report.unwritten.is_none(), "{:?}", report.unwritten);
                self.count(&report);
            }
            Step::Prune(device) => {
                let Device { folder, replica, .. } = &mut self.devices[device];
                folder.prune(replica, Prune::All).unwrap();
            }
            Step::BarePrune(device) => drop(self.devices[device].replica.prune(Prune::All)),
            Step::Restart(device) => {
                let saved = self.devices[device].save();
                self.devices[device].restart_from(saved, 1000 + u64::from(self.added) * 10 + device as u64);
            }
            Step::Carry { from, which, cut_off, deletions } => self.carry(from, which, cut_off, deletions),
            Step::Leftover(device) => {
                let directory = self.devices[device].directory.join(DEVICES[device].0);
                fs::create_dir_all(&directory).unwrap();
                fs::write(directory.join("0000000003.drift.tmp"), "half").unwrap();
            }
        }
        self.check();
    }

    fn carry(&mut self, from: usize, which: u64, cut_off: bool, deletions: bool) {
        let [from_path, to_path] = [from, 1 - from].map(|i| self.folders[i].path());
        for (name, _) in DEVICES.iter().filter(|(_, home)| *home == from) {
            let (here, there) = (from_path.join(name), to_path.join(name));
            fs::create_dir_all(&there).unwrap();
            for (i, file) in files(&here).iter().enumerate() {
                let target = there.join(file.file_name().unwrap());
                if which >> (i % 64) & 1 == 0 || fs::read(&target).ok() == fs::read(file).ok() {
                    continue;
                }
                let bytes = fs::read(file).unwrap();
                let len = if cut_off { bytes.len() / 2 } else { bytes.len() };
                fs::write(&target, &bytes[..len]).unwrap();
            }
            if deletions {
                let gone = files(&there).into_iter().filter(|file| !here.join(file.file_name().unwrap()).exists());
                gone.for_each(|file| fs::remove_file(file).unwrap());
            }
        }
    }

    fn count(&mut self, report: &FolderReport) {
        let hits = &mut self.hits;
        hits.merged += report.merged.len();
        hits.checkpoints += usize::from(report.written.as_ref().is_some_and(|file| file.is_checkpoint));
        hits.dropped += report.dropped;
        for skipped in &report.skipped {
            match skipped.reason {
                SkipReason::Waiting { .. } => hits.waiting += 1,
                SkipReason::Incomplete => hits.incomplete += 1,
                _ => panic!("{skipped:?}"),
            }
        }
    }

    fn check(&mut self) {
        for (device, (held, lost)) in self.devices.iter().zip(&mut self.held) {
            let keys: BTreeSet<u32> = device.keys().into_iter().collect();
            lost.extend(held.difference(&keys));
            assert!(lost.is_subset(&self.removed), "{}: lost what nobody removed", device.name);
            assert!(lost.is_disjoint(&keys), "{}: {lost:?} was gone, and returns", device.name);
            *held = keys;
        }
    }

    /// Everything arrives in the end, and then all is quiet.
    fn heal(&mut self) {
        for _ in 0..4 {
            (0..DEVICES.len()).for_each(|device| self.step(&Step::Sync(device)));
            for from in [0, 1] {
                self.step(&Step::Carry { from, which: u64::MAX, cut_off: false, deletions: true });
            }
        }
        let expected: Vec<u32> = (0..self.added).filter(|key| !self.removed.contains(key)).collect();
        for device in &mut self.devices {
            let report = device.clean_sync();
            assert!(report.written.is_none() && report.merged.is_empty(), "{}: {report:?}", device.name);
            assert_eq!(device.keys(), expected, "{}", device.name);
        }
        let newcomer = newcomer(self.folders[0].path());
        for device in self.devices.iter().chain([&newcomer]) {
            assert_eq!(device.replica.version(), self.devices[0].replica.version());
            assert_eq!(device.replica.state(), self.devices[0].replica.state());
            assert_eq!(device.replica.fingerprint(), self.devices[0].replica.fingerprint());
        }
    }
}

#[test]
fn whatever_happens_to_files_all_become_equal_and_nothing_deleted_returns() {
    let hits = RefCell::new(Hits::default());
    let cases = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(1) * 48;
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&steps(), |steps| {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.heal();
        let (mut all, Hits { merged, waiting, incomplete, checkpoints, dropped }) = (hits.borrow_mut(), world.hits);
        all.merged += merged;
        all.waiting += waiting;
        all.incomplete += incomplete;
        all.checkpoints += checkpoints;
        all.dropped += dropped;
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let Hits { merged, waiting, incomplete, checkpoints, dropped } = hits.into_inner();
    println!(
        "{merged} files merged, {waiting} waited, {incomplete} were cut off, {checkpoints} checkpoints, {dropped} dropped"
    );
    let cases = cases as usize;
    // A third of what is usual, or less.
    assert!(merged > 8 * cases && waiting > cases / 2 && incomplete > cases, "too little happened");
    assert!(checkpoints > 2 * cases && dropped > 2 * cases, "too little was written");
}

// ---- what it costs ----

/// Prints what a person's notes come to in a folder.
#[test]
fn figures_of_a_years_use() {
    let directory = temporary();
    let open = |name| (Replica::<Graph>::new(), Folder::<Graph>::open(directory.path(), name).unwrap());
    let ((mut a, mut on_a), (mut b, mut on_b)) = (open("laptop"), open("phone"));
    let (mut written, mut files) = (0, 0);
    for day in 0..365u32 {
        for (replica, folder, who) in [(&mut a, &mut on_a, "laptop"), (&mut b, &mut on_b, "phone")] {
            let _ = folder.pull(replica).unwrap();
            replica
                .edit(|g| {
                    for n in 0..3 {
                        let note = g.add_node(&format!("note:{who}:{day}:{n}"))?;
                        g.set(note, "/title", &format!("What {who} thought of on day {day}, number {n}"))?;
                        g.set(note, "/day", day)?;
                    }
                    Ok(())
                })
                .unwrap();
            let report = folder.push(replica).unwrap();
            let file = report.written.unwrap();
            written += file.bytes;
            files += 1;
        }
    }
    let held: Vec<u64> = ["laptop", "phone"]
        .iter()
        .flat_map(|name| self::files(&directory.path().join(name)))
        .map(|file| fs::metadata(file).unwrap().len())
        .collect();
    let (mut newcomer, mut folder) = open("newcomer");
    let report = folder.pull(&mut newcomer).unwrap();
    let state = newcomer.complete().to_bytes().len() as u64;
    println!(
        "{files} pushes wrote {written} bytes; {} files of {} bytes are left; the state is {state} bytes; a newcomer \
         reads {} bytes and merges {} files",
        held.len(),
        held.iter().sum::<u64>(),
        report.bytes_read,
        report.merged.len()
    );
    assert!(held.iter().sum::<u64>() <= 5 * state, "each of two devices keeps at most twice the state, and versions");
    assert!(written < 12 * state);
    assert!(Delta::from_bytes(&fs::read(&self::files(&directory.path().join("phone"))[0]).unwrap()).is_ok());
}
