//! Listing, reading, writing: all that touches the disk.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::sync::device::DeviceName;
use crate::sync::folder::format::{FileHeader, HEADER_LEN};
use crate::sync::folder::names::{self, Entry};
use crate::sync::folder::report::{FolderError, SkipReason, SkippedFile};

/// How many entries of a folder are looked at, over all devices: some two hundred devices with their longest chains.
const MAX_ENTRIES: usize = 65_536;

/// A temporary file is left alone for so long: another process may be writing it.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// A file that may hold a delta, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct FileEntry {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) mark: Mark,
}

/// By what a file that was read is known to be the same: its header has the checksum of all of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub(super) len: u64,
    modified: Option<SystemTime>,
    pub(super) header: FileHeader,
}

/// The files that hold one delta: one, or several parts.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) device: DeviceName,
    /// By their parts. Not empty.
    pub(super) files: Vec<FileEntry>,
}

impl Unit {
    pub(super) fn is_complete(&self) -> bool {
        self.files.len() == usize::from(self.header().parts)
    }

    pub(super) fn header(&self) -> &FileHeader {
        &self.files[0].mark.header
    }

    /// The path of its first file.
    pub(super) fn path(&self) -> &Path {
        &self.files[0].path
    }

    pub(super) fn len(&self) -> u64 {
        self.files.iter().map(|file| file.mark.len).sum()
    }
}

/// What lies in a folder.
#[derive(Default)]
pub(super) struct Listing {
    /// By device, then number.
    pub(super) units: Vec<Unit>,
    /// What is not read because of its name or kind.
    pub(super) skipped: Vec<SkippedFile>,
    /// Files of devices whose first bytes are not a header.
    pub(super) headless: Vec<(DeviceName, SkippedFile)>,
    /// Half-written files of our own that nobody is writing any longer.
    pub(super) leftovers: Vec<PathBuf>,
    /// The highest number of a file of our own.
    pub(super) highest: u64,
}

pub(super) fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FolderError + 'a {
    move |source| FolderError::Io { doing, path: path.to_owned(), source }
}

/// Lists the devices' directories, and tells of all else that lies in the folder. Links are not followed.
pub(super) fn list(folder: &Path, own: &DeviceName) -> Result<Listing, FolderError> {
    let (mut listing, mut room) = (Listing::default(), MAX_ENTRIES);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        if !spend(&mut room, folder, &mut listing) {
            break;
        }
        let path = entry.path();
        let device = match names::in_folder(&entry) {
            Entry::Device(device) => device,
            Entry::Skipped(reason) => {
                listing.skipped.push(SkippedFile { path, reason });
                continue;
            }
            Entry::File(_) | Entry::Temporary | Entry::Hidden => continue,
        };
        if let Err(error) = list_device(&path, &device, own, &mut room, &mut listing, &mut files) {
            match device == *own {
                true => return Err(failed("list", &path)(error)),
                false => listing.skipped.push(SkippedFile { path, reason: SkipReason::Unreadable(error) }),
            }
        }
    }
    listing.units = units(files);
    listing.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

fn spend(room: &mut usize, path: &Path, listing: &mut Listing) -> bool {
    if *room == 0 {
        if !listing.skipped.iter().any(|skipped| matches!(skipped.reason, SkipReason::TooMany(_))) {
            listing.skipped.push(SkippedFile { path: path.to_owned(), reason: SkipReason::TooMany(MAX_ENTRIES) });
        }
        return false;
    }
    *room -= 1;
    true
}

fn list_device(
    directory: &Path,
    device: &DeviceName,
    own: &DeviceName,
    room: &mut usize,
    listing: &mut Listing,
    files: &mut Vec<(DeviceName, FileEntry)>,
) -> io::Result<()> {
    let (skipped_before, mut is_devices) = (listing.skipped.len(), device == own);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !spend(room, directory, listing) {
            break;
        }
        let path = entry.path();
        match names::in_device(&entry) {
            Entry::File(number) => {
                is_devices = true;
                if device == own {
                    listing.highest = listing.highest.max(number);
                }
                match look_at(&path) {
                    Ok(mark) => files.push((device.clone(), FileEntry { number, path, mark })),
                    // Gone since.
                    Err(SkipReason::Unreadable(error)) if error.kind() == ErrorKind::NotFound => {}
                    Err(reason) => listing.headless.push((device.clone(), SkippedFile { path, reason })),
                }
            }
            Entry::Temporary => {
                is_devices = true;
                let modified = entry.metadata().and_then(|metadata| metadata.modified());
                let age = modified.ok().and_then(|modified| modified.elapsed().ok());
                if device == own && age.is_some_and(|age| age > LEFTOVER_AGE) {
                    listing.leftovers.push(path);
                }
            }
            Entry::Skipped(reason) => {
                is_devices |= !matches!(reason, SkipReason::NotOurs);
                listing.skipped.push(SkippedFile { path, reason });
            }
            Entry::Device(_) | Entry::Hidden => {}
        }
    }
    if !is_devices && listing.skipped.len() > skipped_before {
        // A directory of the user's own whose name could be a device's: it is told of once, and not file by file.
        let of_directory = |skipped: &SkippedFile| !matches!(skipped.reason, SkipReason::NotOurs);
        let mut found = listing.skipped.split_off(skipped_before);
        found.retain(of_directory);
        listing.skipped.append(&mut found);
        listing.skipped.push(SkippedFile { path: directory.to_owned(), reason: SkipReason::NotOurs });
    }
    Ok(())
}

/// Length, time and header of a file.
fn look_at(path: &Path) -> Result<Mark, SkipReason> {
    let look = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut header = Vec::with_capacity(HEADER_LEN);
        file.take(HEADER_LEN as u64).read_to_end(&mut header)?;
        Ok((metadata, header))
    };
    let (metadata, header) = look().map_err(SkipReason::Unreadable)?;
    let header = FileHeader::read(&header)?;
    Ok(Mark { len: metadata.len(), modified: metadata.modified().ok(), header })
}

/// Puts parts of one delta together. A part that is there twice begins a unit of its own.
fn units(mut files: Vec<(DeviceName, FileEntry)>) -> Vec<Unit> {
    files.sort_unstable_by(|(a, x), (b, y)| (a, x.number, &x.path).cmp(&(b, y.number, &y.path)));
    let mut sets: BTreeMap<(DeviceName, u64, u16), Vec<usize>> = BTreeMap::new();
    let mut times: BTreeMap<(DeviceName, u64, u16, u16), usize> = BTreeMap::new();
    let mut units: Vec<Unit> = Vec::with_capacity(files.len());
    for (device, file) in files {
        let header = file.mark.header;
        if header.parts == 1 {
            units.push(Unit { device, files: vec![file] });
            continue;
        }
        let of_set = sets.entry((device.clone(), header.set, header.parts)).or_default();
        let time = times.entry((device.clone(), header.set, header.parts, header.part)).or_default();
        let unit = of_set.get(*time);
        *time += 1;
        match unit {
            Some(i) => units[*i].files.push(file),
            None => {
                of_set.push(units.len());
                units.push(Unit { device, files: vec![file] });
            }
        }
    }
    for unit in &mut units {
        unit.files.sort_by_key(|file| file.mark.header.part);
    }
    units
}

/// All bytes of a file, unless they are more than `limit`.
pub(super) fn read(file: &FileEntry, limit: u64) -> Result<Vec<u8>, SkipReason> {
    let too_large = |len| SkipReason::TooLarge { len, limit };
    if file.mark.len > limit {
        return Err(too_large(file.mark.len));
    }
    let mut bytes = Vec::new();
    // It may have grown since it was listed.
    let read = File::open(&file.path).and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes));
    match read {
        Ok(len) if len as u64 > limit => Err(too_large(len as u64)),
        Ok(_) => Ok(bytes),
        Err(error) => Err(SkipReason::Unreadable(error)),
    }
}

/// Writes a file of our own under a new name: whole and durable, or not at all.
pub(super) fn write(folder: &Path, device: &DeviceName, number: u64, bytes: &[u8]) -> Result<FileEntry, FolderError> {
    let directory = folder.join(device.as_str());
    match fs::create_dir(&directory) {
        Ok(()) => sync_directory(folder)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("make", &directory)(error)),
    }
    let kind = fs::symlink_metadata(&directory).map_err(failed("look at", &directory))?.file_type();
    if !kind.is_dir() {
        let reason = if kind.is_symlink() { SkipReason::Link } else { SkipReason::NotAFile };
        return Err(FolderError::OwnFile { path: directory, reason });
    }
    let name = names::new_name(number);
    let (path, temporary) = (directory.join(&name), directory.join(names::temporary_name(&name)));
    let result =
        write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, &path).map_err(failed("name", &path)));
    if result.is_err() {
        // If that fails too, a later push tries again.
        let _ = fs::remove_file(&temporary);
    }
    result?;
    sync_directory(&directory)?;
    match look_at(&path) {
        Ok(mark) => Ok(FileEntry { number, path, mark }),
        Err(reason) => Err(FolderError::OwnFile { path, reason }),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed("make", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", path))
}

/// Makes names durable, where the platform can.
pub(super) fn sync_directory(directory: &Path) -> Result<(), FolderError> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        // Some network file systems know no such thing.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result.map_err(failed("sync", directory)),
    }
}
