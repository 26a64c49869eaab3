//! A shared folder: whatever happens to its files, replicas become equal and what is deleted stays deleted.
#![allow(unused_must_use, reason = "a report is asserted where it matters")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use driftless::sync::{Folder, FolderError, FolderReport, MAX_CHAIN_FILES, SkipReason};
use driftless::{Dot, Environment, Graph, OrMap, Prune, Replica};
use tempfile::TempDir;

type Notes = OrMap<u32, String>;

/// A clock that stands still and a randomness that follows from a seed. With a second seed, that is what follows after the
/// first draw: so two that share the first are one process that was copied with its memory.
struct Seeded(u64, Option<u64>);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

impl Environment for Seeded {
    fn now_ms(&mut self) -> u64 {
        1_700_000_000_000
    }

    fn random(&mut self) -> [u8; 16] {
        let (a, b) = (self.next(), self.next());
        self.0 = self.1.take().unwrap_or(self.0);
        (u128::from(a) << 64 | u128::from(b)).to_be_bytes()
    }
}

struct Device {
    name: &'static str,
    directory: PathBuf,
    replica: Replica<Notes>,
    folder: Folder<Notes>,
}

impl Device {
    fn new(directory: &Path, name: &'static str) -> Self {
        Self::with(directory, name, Replica::new())
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

    /// The process ends and begins again from a saved state.
    fn restart_from(&mut self, saved: &[u8]) {
        self.replica = Replica::load(saved).unwrap();
        self.folder = Folder::open(&self.directory, self.name).unwrap();
    }

    fn restart(&mut self) {
        self.restart_from(&self.replica.save());
    }

    /// The process goes on, once more, in a copy of its memory.
    fn copy_process(&mut self, directory: &Path, name: &'static str, seed: u64) -> Self {
        let saved = self.replica.save();
        self.replica = Replica::load_with(Seeded(seed, Some(seed + 1)), &saved).unwrap();
        Self::with(directory, name, Replica::load_with(Seeded(seed, Some(seed + 2)), &saved).unwrap())
    }
}

/// Lets a file seem as old as so many seconds.
fn set_age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
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

/// The bytes of the only file that a device writes, which is taken away again.
fn written_by(device: &mut Device) -> Vec<u8> {
    let path = device.folder.push(&mut device.replica).unwrap().written.unwrap().path;
    let bytes = fs::read(&path).unwrap();
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    bytes
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
                    use SkipReason::{Damaged, Incomplete, Placeholder, TooNew};
                    matches!(skipped.reason, Incomplete | Damaged(_) | TooNew(_) | Placeholder)
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
    let file = strange.join("0000000001-0123456789abcdef.drift");
    let mut phone = Device::new(directory.path(), "phone");

    let mut notes = Device::new(directory.path(), "elsewhere");
    notes.add(1);
    let bytes = written_by(&mut notes);
    let mut later = bytes.clone();
    later[4] += 1;
    // A bit that has changed is no later version: its own device writes on.
    fs::write(&file, &later).unwrap();
    assert!(matches!(only_reason(&phone.sync()), SkipReason::Damaged(_)));
    let checksum = xxhash_rust::xxh3::xxh3_64(&later[..66]);
    later[66..74].copy_from_slice(&checksum.to_be_bytes());
    fs::write(&file, &later).unwrap();
    let report = phone.sync();
    let SkipReason::TooNew(error) = only_reason(&report) else { panic!("it is of a later version") };
    assert!(error.to_string().starts_with("a file of format version 2 "), "{error}");

    let mut graph = Replica::<Graph>::new();
    graph.edit(|g| g.add_node("ada")).unwrap();
    let elsewhere = temporary();
    Folder::open(elsewhere.path(), "strange").unwrap().push(&mut graph).unwrap();
    fs::copy(&files(&elsewhere.path().join("strange"))[0], &file).unwrap();
    for _ in 0..2 {
        let report = phone.sync();
        assert!(matches!(only_reason(&report), SkipReason::Schema { found, .. } if found == "driftless.graph"));
    }
    for foreign in [Replica::<Notes>::new().save(), notes.replica.complete().to_bytes()] {
        fs::write(&file, foreign).unwrap();
        assert!(matches!(only_reason(&phone.sync()), SkipReason::Damaged(_)));
    }

    fs::write(&file, &bytes).unwrap();
    phone.folder = Folder::open(directory.path(), "phone").unwrap().with_file_limit(10);
    assert!(matches!(only_reason(&phone.sync()), SkipReason::TooLarge { limit: 10, .. }));
    phone.add(2);
    assert!(matches!(phone.sync().unwritten, Some(FolderError::TooLarge { limit: 10, .. })));
    phone.folder = Folder::open(directory.path(), "phone").unwrap();
    phone.clean_sync();
    assert_eq!(phone.keys(), [1, 2]);
}

/// What a sync says of each path that it left out.
fn left_out(report: &FolderReport, directory: &Path) -> BTreeMap<String, String> {
    let relative = |path: &Path| path.strip_prefix(directory).unwrap().to_string_lossy().into_owned();
    let reason = |reason: &SkipReason| format!("{reason:?}").split([' ', '(', '{']).next().unwrap().to_owned();
    report.skipped.iter().map(|skipped| (relative(&skipped.path), reason(&skipped.reason))).collect()
}

#[test]
fn whatever_lies_in_the_folder_and_is_not_read_is_reported_with_its_reason() {
    let directory = temporary();
    let (_, own) = chain_of_five(directory.path());
    let good = own[0].file_name().unwrap().to_str().unwrap().to_owned();
    let at = |name: &str| directory.path().join(name);
    let mut expected = BTreeMap::new();
    let mut put = |name: &str, reason: &str| {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::copy(&own[0], at(name)).unwrap();
        if !reason.is_empty() {
            expected.insert(name.to_owned(), reason.to_owned());
        }
    };
    // Directories of devices that somebody renamed or copied.
    put(&format!("Tablet/{good}"), "");
    put(&format!("laptop (conflicted copy 2024-01-01)/{good}"), "");
    put(&format!("laptop.sync-conflict-20240101-120000-ABCDEFG/{good}"), "");
    put(&format!("Users-Ä/laptop/{good}"), "");
    // Files at the wrong level.
    put(&good, "Misplaced");
    put(&format!("laptop/laptop/{good}"), "");
    put(&format!("graph/laptop/{good}"), "");
    // Files under other names.
    put(&format!("laptop/{}", good.replace(".drift", " (1).drift")), "CopiedFile");
    put(&format!("laptop/{}", good.replace(".drift", ".sync-conflict-20240101-120000-ABCDEFG.drift")), "CopiedFile");
    put(&format!("laptop/{}", good.replace(".drift", ".DRIFT")), "OtherCase");
    put("laptop/0000000001.drift", "CopiedFile");
    // Placeholders.
    put(&format!("laptop/.{good}.icloud"), "Placeholder");
    put("laptop/0000000099-0123456789abcdef.drift", "Placeholder");
    put("laptop/0000000098-0123456789abcdef.drift", "Placeholder");
    // The user's own.
    put("README.md", "NotOurs");
    put("phone", "NotOurs");
    put("laptop/notes.txt", "NotOurs");
    put("Photos/1.jpg", "");
    put("photos-2/1.jpg", "");
    put("photos-2/2.jpg", "");
    // What nobody has to know of.
    put(&format!(".git/{good}"), "");
    put(&format!(".stversions/{good}"), "");
    put("laptop/.DS_Store", "");
    put(&format!("laptop/{good}.tmp"), "");
    fs::write(at("laptop/0000000099-0123456789abcdef.drift"), "").unwrap();
    fs::write(at("laptop/0000000098-0123456789abcdef.drift"), vec![0; 4096]).unwrap();
    fs::create_dir(at("laptop/0000000042-0123456789abcdef.drift")).unwrap();
    for (name, reason) in [
        ("Tablet", "OtherCase"),
        ("laptop (conflicted copy 2024-01-01)", "CopiedDirectory"),
        ("laptop.sync-conflict-20240101-120000-ABCDEFG", "CopiedDirectory"),
        ("Users-Ä", "CopiedDirectory"),
        ("laptop/laptop", "Misplaced"),
        ("graph/laptop", "Misplaced"),
        ("laptop/0000000042-0123456789abcdef.drift", "NotAFile"),
        ("Photos", "NotOurs"),
        ("photos-2", "NotOurs"),
    ] {
        expected.insert(name.to_owned(), reason.to_owned());
    }
    let mut reader = Device::new(directory.path(), "reader");
    let report = reader.sync();
    assert_eq!(left_out(&report, directory.path()), expected);
    for skipped in &report.skipped {
        let text = skipped.reason.to_string();
        assert!(text.contains(';') || text.contains("move") || text.contains("remove"), "it says what to do: {text}");
    }
    // The user's own are told once.
    expected.retain(|_, reason| reason != "NotOurs");
    assert_eq!(left_out(&reader.sync(), directory.path()), expected);
    assert_eq!(reader.keys(), [0, 1, 2, 3, 4]);

    fs::remove_file(at("phone")).unwrap();
    fs::write(at("phone"), "a file where this device's directory would be").unwrap();
    let mut phone = Device::new(directory.path(), "phone");
    phone.add(9);
    assert!(matches!(phone.sync().unwritten, Some(FolderError::OwnFile { reason: SkipReason::NotAFile, .. })));
}

#[cfg(unix)]
#[test]
fn links_are_reported_and_not_followed() {
    use std::os::unix::fs::symlink;
    let (directory, outside) = (temporary(), temporary());
    let (_, files) = chain_of_five(outside.path());
    symlink(outside.path().join("laptop"), directory.path().join("laptop")).unwrap();
    fs::create_dir(directory.path().join("tablet")).unwrap();
    symlink(&files[0], directory.path().join("tablet/0000000001-0123456789abcdef.drift")).unwrap();
    symlink(outside.path(), directory.path().join("phone")).unwrap();
    let mut phone = Device::new(directory.path(), "phone");
    let report = phone.sync();
    assert_eq!(report.skipped.len(), 3);
    assert!(report.skipped.iter().all(|skipped| matches!(skipped.reason, SkipReason::Link)), "{:?}", report.skipped);
    assert!(phone.keys().is_empty());
    phone.add(1);
    assert!(matches!(phone.sync().unwritten, Some(FolderError::OwnFile { reason: SkipReason::Link, .. })));
    assert_eq!(self::files(outside.path()).len(), 1, "nothing was written through the link");
}

#[test]
fn a_file_of_equal_length_and_time_but_other_content_is_read_again() {
    let directory = temporary();
    let mut contents = Vec::new();
    for key in [1, 2] {
        let elsewhere = temporary();
        let mut tablet = Device::new(elsewhere.path(), "tablet");
        tablet.add(key);
        contents.push(written_by(&mut tablet));
    }
    assert_eq!(contents[0].len(), contents[1].len());
    fs::create_dir(directory.path().join("tablet")).unwrap();
    let path = directory.path().join("tablet/0000000001-0123456789abcdef.drift");
    let time = SystemTime::now();
    let mut phone = Device::new(directory.path(), "phone");
    for bytes in contents {
        fs::write(&path, bytes).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        phone.folder.pull(&mut phone.replica).unwrap();
    }
    assert_eq!(phone.keys(), [1, 2]);
}

#[test]
fn a_name_is_not_given_again_because_the_newest_file_is_not_there_now() {
    let directory = temporary();
    let (mut laptop, files) = chain_of_five(directory.path());
    fs::remove_file(&files[4]).unwrap();
    laptop.restart();
    laptop.add(5);
    laptop.clean_sync();
    assert!(!files[4].exists());
    assert_eq!(laptop.files().len(), 5);
}

// ---- files past the limit ----

#[test]
fn past_the_file_limit_pushing_goes_on_in_parts() {
    let directory = temporary();
    let open = |name| Device {
        folder: Folder::open(directory.path(), name).unwrap().with_file_limit(2000),
        ..Device::new(directory.path(), name)
    };
    let (mut a, mut b) = (open("a"), open("b"));
    for key in 0..20 {
        a.add_text(key, &"x".repeat(500));
    }
    let report = a.clean_sync();
    let written = report.written.unwrap();
    assert!(written.parts > 4 && written.is_checkpoint, "{written:?}");
    assert_eq!(a.files().len(), written.parts);
    assert!(a.files().iter().all(|file| fs::metadata(file).unwrap().len() <= 2000));
    // Parts say nothing by themselves.
    let away = a.files()[2].with_extension("away");
    fs::rename(&a.files()[2], &away).unwrap();
    let report = b.sync();
    assert!(report.merged.is_empty());
    let missing =
        |s: &driftless::sync::SkippedFile| matches!(s.reason, SkipReason::PartsMissing { have, of } if have + 1 == of);
    assert_eq!(report.skipped.iter().filter(|skipped| missing(skipped)).count(), 1, "{:?}", report.skipped);
    fs::rename(&away, away.with_extension("drift")).unwrap();
    assert_eq!(b.clean_sync().merged.len(), 1);
    assert_eq!(a.replica.state(), b.replica.state());
    // Increments, too.
    for key in 20..40 {
        b.replica.edit(|notes| notes.insert(key, "y".repeat(500))).unwrap();
    }
    assert!(b.clean_sync().written.unwrap().parts > 4);
    a.clean_sync();
    assert_eq!(a.replica.state(), b.replica.state());
    // And checkpoints replace what came in parts.
    for round in 0..40 {
        a.add_text(round, &round.to_string().repeat(250));
        a.clean_sync();
    }
    assert!(a.files().len() < 200, "{}", a.files().len());
    let mut c = open("c");
    c.clean_sync();
    assert_eq!(a.replica.state(), c.replica.state());

    a.folder = Folder::open(directory.path(), "a").unwrap().with_file_limit(2000);
    a.add_text(1, &"z".repeat(600_000));
    assert!(matches!(a.sync().unwritten, Some(FolderError::TooLarge { limit: 2000, .. })));
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
    fs::copy(&b.files()[0], elsewhere.path().join("b/0000000002-0123456789abcdef.drift")).unwrap();
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
        a.folder.push(&mut a.replica).unwrap();
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
    let leftover = directory.path().join("laptop/0000000006-0123456789abcdef.drift.tmp");
    fs::write(&leftover, "half").unwrap();
    set_age(&leftover, 7200);
    let fresh = directory.path().join("laptop/0000000007-0123456789abcdef.drift.tmp");
    fs::write(&fresh, "another process is writing it").unwrap();
    let mut phone = Device::new(directory.path(), "phone");
    phone.clean_sync();
    assert!(leftover.exists(), "nobody cleans another's");
    laptop.restart();
    laptop.add(6);
    laptop.clean_sync();
    assert!(!leftover.exists() && fresh.exists());
    phone.clean_sync();
    assert_eq!(phone.replica.state(), laptop.replica.state());
}

/// After the name was given: the file is there, and who wrote it does not remember.
#[test]
fn a_crash_after_the_name_writes_nothing_twice() {
    let directory = temporary();
    let (mut laptop, files) = chain_of_five(directory.path());
    laptop.restart();
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
    laptop.restart();
    let report = laptop.clean_sync();
    assert!(report.written.is_none());
    assert_eq!((report.dropped, laptop.files().len()), (5, 1));
}

// ---- restarts, copies, two processes ----

#[test]
fn what_a_crash_lost_comes_back_out_of_the_folder() {
    let directory = temporary();
    let mut laptop = Device::new(directory.path(), "laptop");
    laptop.add(1);
    let saved = laptop.replica.save();
    laptop.add(2);
    laptop.clean_sync();

    laptop.restart_from(&saved);
    laptop.add(3);
    assert_eq!(laptop.clean_sync().merged.len(), 1);
    assert_eq!(laptop.keys(), [1, 2, 3]);
    let newcomer = newcomer(directory.path());
    assert_eq!(newcomer.replica.state(), laptop.replica.state());
}

#[test]
fn a_restored_backup_and_the_original_go_on_under_one_name_and_lose_nothing() {
    let directory = temporary();
    let mut original = Device::new(directory.path(), "laptop");
    original.add(1);
    original.clean_sync();
    let mut backup = Device::with(directory.path(), "laptop", Replica::load(&original.replica.save()).unwrap());
    original.add(2);
    original.remove(1);
    backup.add(3);
    for round in 10..40 {
        original.add_text(round, &"x".repeat(5_000));
        backup.add_text(round + 100, &"y".repeat(5_000));
        original.clean_sync();
        backup.clean_sync();
    }
    original.clean_sync();
    let expected: Vec<u32> = [2, 3].into_iter().chain(10..40).chain(110..140).collect();
    assert_eq!(original.keys(), expected);
    assert_eq!(backup.keys(), expected);
    assert!(original.files().len() < 40, "each deletes what the other wrote and a checkpoint includes");
    let newcomer = newcomer(directory.path());
    assert_eq!(newcomer.replica.state(), original.replica.state());
}

/// Each writes a checkpoint of the same state, and then each might take the other's for its own replacement.
#[test]
fn of_two_checkpoints_that_reach_equally_far_one_stays() {
    let directory = temporary();
    let mut laptop = Device::new(directory.path(), "laptop");
    laptop.add(1);
    laptop.clean_sync();
    let first = laptop.files().remove(0);
    let kept = first.with_file_name("0000000001-0000000000000000.drift");
    fs::copy(&first, &kept).unwrap();
    let mut other = Device::with(directory.path(), "laptop", laptop.replica.fork());
    laptop.clean_sync();
    other.clean_sync();
    laptop.clean_sync();
    assert_eq!(laptop.files().len(), 1);
    assert_eq!(newcomer(directory.path()).keys(), [1]);
}

#[test]
fn a_damaged_file_of_another_opening_is_not_deleted_since_nobody_knows_what_it_holds() {
    let directory = temporary();
    let mut laptop = Device::new(directory.path(), "laptop");
    let mut other = Device::with(directory.path(), "laptop", Replica::new());
    other.add(1);
    let written = other.clean_sync().written.unwrap().path;
    let whole = fs::read(&written).unwrap();
    fs::write(&written, &whole[..whole.len() / 2]).unwrap();
    laptop.add(2);
    assert!(laptop.sync().written.is_some());
    laptop.replica.prune(Prune::All);
    laptop.remove(2);
    laptop.replica.prune(Prune::All);
    assert!(laptop.sync().written.unwrap().is_checkpoint);
    fs::write(&written, &whole).unwrap();
    laptop.clean_sync();
    assert_eq!(laptop.keys(), [1]);
}

// ---- divergence ----

/// Two that hold something else at one version: the one knows of a removal, the other of an addition in its place.
fn diverged(directory: &Path) -> (Device, Device) {
    let mut laptop = Device::new(directory, "laptop");
    laptop.add(1);
    laptop.clean_sync();
    let mut copy = laptop.copy_process(directory, "copy", 5);
    laptop.remove(1);
    copy.add(9);
    assert_eq!(laptop.replica.version(), copy.replica.version());
    (laptop, copy)
}

#[test]
fn equal_versions_with_unequal_states_are_reported_and_repaired_without_a_session() {
    let directory = temporary();
    let (mut laptop, mut copy) = diverged(directory.path());
    laptop.clean_sync();
    let report = copy.clean_sync();
    assert!(!report.diverged.is_empty() || !report.dropped_contents.is_empty(), "{report:?}");
    for _ in 0..3 {
        laptop.clean_sync();
        copy.clean_sync();
    }
    assert_eq!(laptop.replica.version(), copy.replica.version());
    assert_eq!(laptop.keys(), copy.keys());
    assert_eq!(laptop.replica.fingerprint(), copy.replica.fingerprint());
    for device in [&mut laptop, &mut copy] {
        let report = device.clean_sync();
        assert!(report.diverged.is_empty() && report.written.is_none() && report.merged.is_empty(), "{report:?}");
    }
    let newcomer = newcomer(directory.path());
    assert_eq!(newcomer.replica.version(), laptop.replica.version());
    assert_eq!(newcomer.replica.fingerprint(), laptop.replica.fingerprint());
}

/// In whatever order the files come, and with what older files said.
#[test]
fn a_newcomer_never_reads_what_was_settled_otherwise() {
    let directory = temporary();
    let (mut laptop, mut copy) = diverged(directory.path());
    laptop.folder.push(&mut laptop.replica);
    copy.folder.push(&mut copy.replica);
    let stale: Vec<(PathBuf, Vec<u8>)> = ["laptop", "copy"]
        .iter()
        .flat_map(|name| files(&directory.path().join(name)))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    for _ in 0..4 {
        laptop.clean_sync();
        copy.clean_sync();
    }
    assert_eq!(laptop.replica.fingerprint(), copy.replica.fingerprint());
    // A slow tool brings back what was deleted.
    stale.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    for first in [&["laptop"][..], &["copy"], &[]] {
        let elsewhere = temporary();
        let mut late = Device::new(elsewhere.path(), "late");
        for names in [first, &["laptop", "copy"]] {
            for name in names {
                let there = elsewhere.path().join(name);
                fs::create_dir_all(&there).unwrap();
                for file in files(&directory.path().join(name)) {
                    fs::copy(&file, there.join(file.file_name().unwrap())).unwrap();
                }
            }
            late.sync();
        }
        assert_eq!(late.replica.version(), laptop.replica.version());
        assert_eq!(late.replica.fingerprint(), laptop.replica.fingerprint(), "{first:?}");
    }
}

/// One is at a version that no file was cut from: it says where it stands all the same, and only once.
#[test]
fn a_version_that_no_file_states_is_stated_once() {
    let directory = temporary();
    let mut one = Device::new(directory.path(), "laptop");
    let mut two = Device::with(directory.path(), "laptop", Replica::new());
    one.add(1);
    two.add(2);
    one.folder.push(&mut one.replica);
    two.folder.push(&mut two.replica);
    let written = one.clean_sync().written.unwrap();
    assert!(!written.is_checkpoint && written.bytes < 300, "{written:?}");
    for device in [&mut two, &mut one] {
        assert!(device.clean_sync().written.is_none());
    }
    two.add(3);
    two.clean_sync();
    assert!(!written.path.exists(), "the next file says it better");
}

/// Two copies of a process, under one name, each remove what the other keeps. The one that had not read yet wrote last.
#[test]
fn a_checkpoint_of_a_copy_that_says_otherwise_stays_for_ever_because_its_name_is_later() {
    let directory = temporary();
    let mut one = Device::new(directory.path(), "laptop");
    one.add(0);
    one.add(1);
    let mut two = one.copy_process(directory.path(), "laptop", 7);
    one.remove(0);
    two.remove(1);
    assert_eq!(one.replica.version(), two.replica.version());
    one.folder.push(&mut one.replica);
    let joined = two.sync().written.unwrap();
    let stale = one.folder.push(&mut one.replica).unwrap().written.unwrap();
    assert!(joined.is_checkpoint && stale.is_checkpoint && joined.path < stale.path);
    for _ in 0..2 {
        [&mut one, &mut two].into_iter().for_each(|device| drop(device.clean_sync()));
    }
    for device in [&mut one, &mut two] {
        let report = device.clean_sync();
        assert!(report.diverged.is_empty() && report.written.is_none(), "{report:?}");
        assert!(device.keys().is_empty());
    }
    assert!(!stale.path.exists() && two.files().len() == 1);
}

/// The greater of two contents under one dot was removed once the other had been written again.
#[test]
fn a_checkpoint_that_was_merged_is_never_taken_in_and_two_hold_one_content_under_two_dots_and_under_one() {
    let directory = temporary();
    let mut one = Device::new(directory.path(), "laptop");
    one.add(0);
    let mut two = one.copy_process(directory.path(), "phone", 7);
    one.add(1);
    two.add(2);
    assert_eq!(two.replica.merge(&one.replica.complete()).unwrap().dropped().len(), 1);
    assert_eq!(two.keys(), [0, 1, 2]);
    two.remove(2);
    assert!(two.sync().written.unwrap().is_checkpoint);
    for _ in 0..2 {
        [&mut one, &mut two].into_iter().for_each(|device| drop(device.clean_sync()));
    }
    for device in [&mut one, &mut two] {
        let report = device.clean_sync();
        assert!(report.diverged.is_empty() && report.written.is_none(), "{report:?}");
        assert_eq!(device.keys(), [0, 1]);
    }
    assert_eq!(one.replica.statement(), two.replica.statement());
}

// ---- anything at all ----

/// A device's name, and the folder that it syncs with. Two processes share a name.
const DEVICES: [(&str, usize); 5] = [("ann", 0), ("ann", 0), ("bob", 0), ("cat", 1), ("dan", 1)];

/// Devices of two folders, and what must be true of them.
struct World {
    rng: Seeded,
    folders: [TempDir; 2],
    devices: Vec<Device>,
    /// True if processes are copied with their memory.
    copies: bool,
    saves: Vec<Vec<u8>>,
    /// Each key with the dots of its writes; a dot that two processes wrote has two keys.
    keys: BTreeMap<Dot, BTreeSet<u32>>,
    added: u32,
    removed: BTreeSet<u32>,
    /// By device, since it was opened: what it held, and what it held once and has lost.
    held: Vec<(BTreeSet<u32>, BTreeSet<u32>)>,
    hits: Hits,
}

/// How often it was about what it is about.
#[derive(Default, Debug)]
struct Hits {
    merged: usize,
    waiting: usize,
    incomplete: usize,
    checkpoints: usize,
    dropped: usize,
    diverged: usize,
    doubled: usize,
    parts: usize,
    statements: usize,
}

impl World {
    fn new(seed: u64, copies: bool) -> Self {
        let folders = [temporary(), temporary()];
        let devices: Vec<_> = DEVICES.iter().map(|(name, home)| Device::new(folders[*home].path(), name)).collect();
        let mut world = Self {
            rng: Seeded(seed, None),
            folders,
            devices,
            copies,
            saves: Vec::new(),
            keys: BTreeMap::new(),
            added: 0,
            removed: BTreeSet::new(),
            held: vec![Default::default(); DEVICES.len()],
            hits: Hits::default(),
        };
        for i in 0..DEVICES.len() {
            let saved = world.devices[i].replica.save();
            world.open(i, &saved);
        }
        world
    }

    /// A new process, from a saved state.
    fn open(&mut self, i: usize, saved: &[u8]) {
        let environment = Seeded(self.rng.next(), None);
        self.open_with(i, saved, environment);
    }

    fn open_with(&mut self, i: usize, saved: &[u8], environment: Seeded) {
        let (name, home) = DEVICES[i];
        let replica = Replica::load_with(environment, saved).unwrap();
        let mut device = Device::with(self.folders[home].path(), name, replica);
        if self.rng.below(3) == 0 {
            let folder = Folder::open(&device.directory, name).unwrap();
            device.folder = folder.with_file_limit(24_000);
        }
        self.devices[i] = device;
        self.held[i] = (self.devices[i].keys().into_iter().collect(), BTreeSet::new());
    }

    fn step(&mut self) {
        let i = self.rng.below(DEVICES.len());
        match self.rng.below(100) {
            0..18 => self.add(i),
            18..28 => {
                let keys = self.devices[i].keys();
                if !keys.is_empty() {
                    let key = keys[self.rng.below(keys.len())];
                    self.devices[i].remove(key);
                    self.removed.insert(key);
                    // A dot that one process removes under, and its copy adds under, has two contents as well.
                    let stand_in = u32::MAX - self.added;
                    self.removed.insert(stand_in);
                    self.note_dot(i, stand_in);
                    self.added += 1;
                }
            }
            28..36 => {
                let Device { folder, replica, .. } = &mut self.devices[i];
                let report = folder.pull(replica).unwrap();
                self.count(&report);
            }
            36..44 => {
                let Device { folder, replica, .. } = &mut self.devices[i];
                let report = folder.push(replica).unwrap();
                self.count(&report);
            }
            44..64 => self.sync(i),
            64..67 => {
                let Device { folder, replica, .. } = &mut self.devices[i];
                folder.prune(replica, Prune::All).unwrap();
            }
            67..70 => drop(self.devices[i].replica.prune(Prune::All)),
            70..75 => self.saves.push(self.devices[i].replica.save()),
            // From a save of any age, its own or that of another device.
            75..81 if !self.saves.is_empty() => {
                let saved = self.saves[self.rng.below(self.saves.len())].clone();
                self.open(i, &saved);
            }
            81..84 if self.copies => {
                let (j, seed) = (self.rng.below(DEVICES.len()), self.rng.next());
                let saved = self.devices[i].replica.save();
                // The writer was drawn, and wrote, before the process was copied.
                let key = self.added;
                for device in [i, j] {
                    let next = self.rng.next();
                    self.open_with(device, &saved, Seeded(seed, Some(next)));
                    self.added = key;
                    self.add(device);
                }
            }
            84..88 => self.vanish(),
            88..98 => self.carry(),
            98 => {
                let path = self.devices[i].directory.join(DEVICES[i].0);
                fs::create_dir_all(&path).unwrap();
                let path = path.join("0000000003-0123456789abcdef.drift.tmp");
                fs::write(&path, "half").unwrap();
                set_age(&path, 10_000);
            }
            _ => {}
        }
        self.check(i);
    }

    fn add(&mut self, i: usize) {
        // Large enough for chains to grow past their limit.
        let text = self.added.to_string().repeat(6_000);
        self.devices[i].add_text(self.added, &text);
        self.note_dot(i, self.added);
        self.added += 1;
    }

    fn note_dot(&mut self, i: usize, key: u32) {
        let writer = self.devices[i].replica.writer().unwrap();
        let counter = self.devices[i].replica.version().get(writer);
        let keys = self.keys.entry(Dot { writer, counter }).or_default();
        keys.insert(key);
        self.hits.doubled += usize::from(keys.len() > 1);
    }

    fn sync(&mut self, i: usize) {
        let report = self.devices[i].sync();
        assert!(report.unwritten.is_none(), "{:?}", report.unwritten);
        self.count(&report);
    }

    /// A file vanishes, or its end does.
    fn vanish(&mut self) {
        let folder = self.folders[self.rng.below(2)].path();
        let all: Vec<PathBuf> = files(folder).iter().flat_map(|directory| files(directory)).collect();
        if all.is_empty() {
            return;
        }
        let path = &all[self.rng.below(all.len())];
        let bytes = fs::read(path).unwrap();
        match self.rng.below(2) {
            0 => fs::remove_file(path).unwrap(),
            _ => fs::write(path, &bytes[..self.rng.below(bytes.len().max(1))]).unwrap(),
        }
    }

    /// A tool moves some files from one folder to the other: whole or cut off, with or without deletions.
    fn carry(&mut self) {
        let (from, which, cut_off) = (self.rng.below(2), self.rng.next(), self.rng.below(5) == 0);
        let deletions = self.rng.below(2) == 0;
        self.carry_from(from, which, cut_off, deletions);
    }

    fn carry_from(&mut self, from: usize, which: u64, cut_off: bool, deletions: bool) {
        let [from_path, to_path] = [from, 1 - from].map(|i| self.folders[i].path());
        for name in DEVICES.iter().filter(|(_, home)| *home == from).map(|(name, _)| name) {
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
        if let Some(written) = &report.written {
            hits.checkpoints += usize::from(written.is_checkpoint);
            hits.parts += usize::from(written.parts > 1);
            hits.statements += usize::from(written.bytes < 300);
        }
        hits.dropped += report.dropped;
        hits.diverged += report.diverged.len() + report.dropped_contents.len();
        assert!(self.copies || report.diverged.is_empty() && report.dropped_contents.is_empty(), "{report:?}");
        for skipped in &report.skipped {
            match skipped.reason {
                SkipReason::Waiting { .. } | SkipReason::PartsMissing { .. } => hits.waiting += 1,
                SkipReason::Incomplete | SkipReason::Placeholder => hits.incomplete += 1,
                // A file of another device that is longer than the limit here.
                SkipReason::TooLarge { .. } => {}
                _ => panic!("{skipped:?}"),
            }
        }
    }

    fn check(&mut self, i: usize) {
        let keys: BTreeSet<u32> = self.devices[i].keys().into_iter().collect();
        let (held, lost) = &mut self.held[i];
        lost.extend(held.difference(&keys));
        if !self.copies {
            assert!(lost.is_subset(&self.removed), "{}: lost what nobody removed", DEVICES[i].0);
            assert!(lost.is_disjoint(&keys), "{}: {lost:?} was gone, and returns", DEVICES[i].0);
        }
        *held = keys;
    }

    /// All reports are heeded: limits are raised, and what is damaged is deleted where nobody can send it again.
    fn heed(&mut self) {
        for (device, (name, ..)) in self.devices.iter_mut().zip(DEVICES) {
            device.folder = Folder::open(&device.directory, name).unwrap();
            let Device { folder, replica, .. } = device;
            let report = folder.pull(replica).unwrap();
            for skipped in report.skipped {
                if matches!(skipped.reason, SkipReason::Incomplete | SkipReason::Placeholder) {
                    fs::remove_file(skipped.path).unwrap();
                }
            }
        }
    }

    fn is_quiet(&mut self) -> bool {
        let mut quiet = true;
        for i in 0..DEVICES.len() {
            let report = self.devices[i].sync();
            self.count(&report);
            quiet &= report.written.is_none() && report.merged.is_empty() && report.diverged.is_empty();
        }
        quiet
    }

    /// Everything arrives in the end, and then all is quiet.
    fn heal(&mut self) {
        // Of each key: whether a device has seen it, and whether one that has does not hold it.
        let (mut seen, mut dead) = (BTreeSet::new(), BTreeSet::new());
        for (dot, keys) in self.keys.iter().filter(|(_, keys)| keys.len() == 1) {
            for device in self.devices.iter().filter(|device| device.replica.version().covers(*dot)) {
                seen.extend(keys);
                dead.extend(keys.iter().filter(|key| device.replica.state().get(key).is_none()));
            }
        }
        self.heed();
        let mut rounds = 0;
        loop {
            let quiet = self.is_quiet();
            let before: Vec<_> = self.all_files();
            for from in [0, 1] {
                self.carry_from(from, u64::MAX, false, true);
            }
            if quiet && self.all_files() == before {
                break;
            }
            rounds += 1;
            assert!(rounds < 16, "it never comes to rest");
        }
        let first = &self.devices[0].replica;
        for device in &self.devices {
            assert_eq!(device.replica.version(), first.version(), "{}", device.name);
            assert_eq!(device.replica.fingerprint(), first.fingerprint(), "{}", device.name);
            assert_eq!(device.replica.state(), first.state(), "{}", device.name);
        }
        let keys: BTreeSet<u32> = self.devices[0].keys().into_iter().collect();
        for key in seen.difference(&self.removed) {
            assert!(keys.contains(key) || self.copies && dead.contains(key), "{key} is missing");
        }
        assert!(keys.is_disjoint(&dead), "{:?} was dead, and lives", keys.intersection(&dead));
        let mut newcomer = Device::new(self.folders[1].path(), "newcomer");
        newcomer.folder.pull(&mut newcomer.replica).unwrap();
        assert_eq!(newcomer.replica.version(), self.devices[0].replica.version());
        assert_eq!(newcomer.replica.fingerprint(), self.devices[0].replica.fingerprint());
    }

    fn all_files(&self) -> Vec<PathBuf> {
        let folders = self.folders.iter().flat_map(|folder| files(folder.path()));
        folders.flat_map(|directory| files(&directory)).collect()
    }
}

fn schedules(copies: bool) -> Hits {
    let cases = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(1) * 48;
    let mut all = Hits::default();
    for seed in 0..cases {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, copies);
            for _ in 0..20 + world.rng.below(120) {
                world.step();
            }
            world.heal();
            world.hits
        });
        let Ok(hits) = result else { panic!("schedule {seed} failed") };
        all.merged += hits.merged;
        all.waiting += hits.waiting;
        all.incomplete += hits.incomplete;
        all.checkpoints += hits.checkpoints;
        all.dropped += hits.dropped;
        all.diverged += hits.diverged;
        all.doubled += hits.doubled;
        all.parts += hits.parts;
        all.statements += hits.statements;
    }
    println!("{cases} schedules: {all:?}");
    let cases = cases as usize;
    // A third of what is usual, or less.
    assert!(all.merged > 5 * cases && all.waiting > cases / 2 && all.incomplete > cases / 2, "too little happened");
    assert!(all.checkpoints > cases && all.dropped > cases && all.parts > cases / 2, "too little was written");
    all
}

#[test]
fn whatever_happens_to_files_and_saved_states_all_become_equal_and_nothing_is_missing() {
    schedules(false);
}

#[test]
fn whatever_copied_processes_write_under_one_dot_all_become_equal() {
    let hits = schedules(true);
    assert!(hits.diverged > 10 && hits.doubled > 10, "too little happened");
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
    // Each file has a header and versions, some 300 bytes, while the state takes 14 bytes a note.
    assert!(written < 16 * state && written < 450_000);
}
