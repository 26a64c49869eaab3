//! Names, listing, reading, writing: all that touches the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::sync::device::DeviceName;
use crate::sync::folder::report::{FolderError, SkipReason, SkippedFile};

/// How many entries of a folder are looked at, over all devices: some two hundred devices with their longest chains.
const MAX_ENTRIES: usize = 65_536;

/// The digits of a file's number, so that names sort like numbers.
const DIGITS: usize = 10;

/// A number for each second of three hundred years.
pub(super) const MAX_NUMBER: u64 = 9_999_999_999;

const EXTENSION: &str = ".drift";
const TEMPORARY: &str = ".tmp";

/// A file that may hold a delta.
#[derive(Clone, Debug)]
pub(super) struct FileEntry {
    pub(super) device: DeviceName,
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) mark: Mark,
}

/// By what a file that was read is known to be the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub(super) len: u64,
    modified: Option<SystemTime>,
}

impl Mark {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// What lies in a folder.
#[derive(Default)]
pub(super) struct Listing {
    /// By device, then number.
    pub(super) files: Vec<FileEntry>,
    pub(super) skipped: Vec<SkippedFile>,
    /// Half-written files of our own.
    pub(super) leftovers: Vec<PathBuf>,
}

pub(super) fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FolderError + 'a {
    move |source| FolderError::Io { doing, path: path.to_owned(), source }
}

/// Lists the devices' directories; whatever else lies in the folder is not looked at. Links are not followed.
pub(super) fn list(folder: &Path, own: &DeviceName) -> Result<Listing, FolderError> {
    let (mut listing, mut room) = (Listing::default(), MAX_ENTRIES);
    let entries = fs::read_dir(folder).map_err(failed("list", folder))?;
    for entry in entries {
        let entry = entry.map_err(failed("list", folder))?;
        let device = entry.file_name().to_str().and_then(|name| name.parse::<DeviceName>().ok());
        if !spend(&mut room, folder, &mut listing) {
            break;
        }
        let (Some(device), true) = (device, entry.file_type().is_ok_and(|kind| kind.is_dir())) else { continue };
        let path = entry.path();
        if let Err(error) = list_device(&path, &device, device == *own, &mut room, &mut listing) {
            match device == *own {
                true => return Err(failed("list", &path)(error)),
                false => listing.skipped.push(SkippedFile { path, reason: SkipReason::Unreadable(error) }),
            }
        }
    }
    listing.files.sort_unstable_by(|a, b| (&a.device, a.number).cmp(&(&b.device, b.number)));
    listing.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

fn spend(room: &mut usize, path: &Path, listing: &mut Listing) -> bool {
    if *room == 0 {
        listing.skipped.push(SkippedFile { path: path.to_owned(), reason: SkipReason::TooMany(MAX_ENTRIES) });
        return false;
    }
    *room -= 1;
    true
}

fn list_device(
    directory: &Path,
    device: &DeviceName,
    is_own: bool,
    room: &mut usize,
    listing: &mut Listing,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !spend(room, directory, listing) {
            break;
        }
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_str();
        if let Some(name) = name.and_then(|name| name.strip_suffix(TEMPORARY)) {
            if is_own && number_of(name).is_some() {
                listing.leftovers.push(path);
            }
            continue;
        }
        if name.is_some_and(|name| name.starts_with('.')) {
            // What sync tools and desktops leave everywhere.
            continue;
        }
        let Some(number) = name.and_then(number_of) else {
            listing.skipped.push(SkippedFile { path, reason: SkipReason::Foreign });
            continue;
        };
        // Of the link itself, if it is one.
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => {
                let (device, mark) = (device.clone(), Mark::of(&metadata));
                listing.files.push(FileEntry { device, number, path, mark });
            }
            Ok(_) => listing.skipped.push(SkippedFile { path, reason: SkipReason::NotAFile }),
            // Gone since.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => listing.skipped.push(SkippedFile { path, reason: SkipReason::Unreadable(error) }),
        }
    }
    Ok(())
}

fn name_of(number: u64) -> String {
    format!("{number:0DIGITS$}{EXTENSION}")
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?;
    let is_number = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
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

/// Writes a file of our own: whole and durable, or not at all. One that is there is not touched.
pub(super) fn write(folder: &Path, device: &DeviceName, number: u64, bytes: &[u8]) -> Result<FileEntry, FolderError> {
    let directory = folder.join(device.as_str());
    match fs::create_dir(&directory) {
        Ok(()) => sync_directory(folder)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("make", &directory)(error)),
    }
    if !fs::symlink_metadata(&directory).map_err(failed("look at", &directory))?.is_dir() {
        return Err(FolderError::OwnFile { path: directory, reason: SkipReason::NotAFile });
    }
    let path = directory.join(name_of(number));
    let temporary = directory.join(name_of(number) + TEMPORARY);
    let result = write_new(&temporary, bytes).and_then(|()| match fs::symlink_metadata(&path) {
        Ok(_) => Err(FolderError::Taken(path.clone())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::rename(&temporary, &path).map_err(failed("name", &path))
        }
        Err(error) => Err(failed("look at", &path)(error)),
    });
    if result.is_err() {
        // If that fails too, the next push tries again.
        let _ = fs::remove_file(&temporary);
    }
    result?;
    sync_directory(&directory)?;
    let mark = Mark::of(&fs::symlink_metadata(&path).map_err(failed("look at", &path))?);
    Ok(FileEntry { device: device.clone(), number, path, mark })
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
