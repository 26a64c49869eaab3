//! Names: which entries of a folder are files of driftless, and what else lies there.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::sync::device::DeviceName;
use crate::sync::folder::report::SkipReason;

/// The digits of a file's number, so that names sort in the order of their making.
const NUMBER_DIGITS: usize = 10;

/// The digits of the random part of a name.
const RANDOM_DIGITS: usize = 16;

/// The last number. A device that writes a file each second reaches it after three hundred years, and uses it again then.
const MAX_NUMBER: u64 = 9_999_999_999;

const EXTENSION: &str = ".drift";
const TEMPORARY: &str = ".tmp";
const PLACEHOLDER: &str = ".icloud";

/// How many entries of a directory are looked at to tell if it holds files of driftless.
const PEEK: usize = 256;

/// A name that nobody has given before: a number for the order, and 64 random bits.
///
/// The random part is drawn for each file. So neither two openings nor two copies of one process ever write one name, and a
/// name is not given again because the file that bore it is not there now.
pub(super) fn new_name(number: u64) -> String {
    format!("{:0NUMBER_DIGITS$}-{:0RANDOM_DIGITS$x}{EXTENSION}", number.min(MAX_NUMBER), random())
}

pub(super) fn random() -> u64 {
    // Of the 128 bits of the identifier 6 are fixed; of these none.
    let random = uuid::Uuid::new_v4().as_u128();
    (random >> 64) as u64 ^ random as u64
}

/// The number in a name that driftless gives.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let (number, random) = name.strip_suffix(EXTENSION)?.split_once('-')?;
    let is_number = number.len() == NUMBER_DIGITS && number.bytes().all(|b| b.is_ascii_digit());
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let is_random = random.len() == RANDOM_DIGITS && random.bytes().all(is_hex);
    (is_number && is_random).then(|| number.parse().ok()).flatten()
}

pub(super) fn temporary_name(name: &str) -> String {
    format!("{name}{TEMPORARY}")
}

/// True if it is the name of a file of driftless while it is written.
pub(super) fn is_temporary(name: &str) -> bool {
    name.strip_suffix(TEMPORARY).is_some_and(|name| number_of(name).is_some())
}

fn resembles_ours(name: &OsStr) -> bool {
    name.to_string_lossy().to_ascii_lowercase().contains(EXTENSION)
}

/// An entry of a directory.
pub(super) enum Entry {
    /// A device's directory, in the folder.
    Device(DeviceName),
    /// A file, in a device's directory.
    File(u64),
    /// A file that is being written, or was when its writer crashed.
    Temporary,
    /// Nothing that anybody has to know of: names that begin with a dot, which desktops and sync tools leave everywhere.
    Hidden,
    Skipped(SkipReason),
}

/// An entry of the folder.
pub(super) fn in_folder(entry: &fs::DirEntry) -> Entry {
    let (name, kind) = (entry.file_name(), entry.file_type().ok());
    let (is_dir, is_link) = (kind.is_some_and(|k| k.is_dir()), kind.is_some_and(|k| k.is_symlink()));
    let text = name.to_str().unwrap_or_default();
    let device = text.parse::<DeviceName>().ok();
    Entry::Skipped(match device {
        Some(device) if is_dir => return Entry::Device(device),
        Some(_) if is_link => SkipReason::Link,
        Some(_) => SkipReason::NotOurs,
        None if is_placeholder(text) => SkipReason::Placeholder,
        None if text.starts_with('.') => return Entry::Hidden,
        None if is_dir && holds_ours(&entry.path()) => match text.to_lowercase().parse::<DeviceName>() {
            Ok(device) => SkipReason::OtherCase { expected: device.to_string() },
            Err(_) => SkipReason::CopiedDirectory,
        },
        None if !is_dir && resembles_ours(&name) => SkipReason::Misplaced,
        None => SkipReason::NotOurs,
    })
}

/// An entry of a device's directory.
pub(super) fn in_device(entry: &fs::DirEntry) -> Entry {
    let (name, kind) = (entry.file_name(), entry.file_type().ok());
    let is_dir = kind.is_some_and(|kind| kind.is_dir());
    let text = name.to_str().unwrap_or_default();
    if let Some(number) = number_of(text) {
        return match kind {
            Some(kind) if kind.is_file() => Entry::File(number),
            Some(kind) if kind.is_symlink() => Entry::Skipped(SkipReason::Link),
            _ => Entry::Skipped(SkipReason::NotAFile),
        };
    }
    if is_temporary(text) {
        return Entry::Temporary;
    }
    let lower = text.to_ascii_lowercase();
    Entry::Skipped(match () {
        () if is_placeholder(text) => SkipReason::Placeholder,
        () if text.starts_with('.') => return Entry::Hidden,
        () if is_dir && holds_ours(&entry.path()) => SkipReason::Misplaced,
        () if is_dir => SkipReason::NotOurs,
        () if number_of(&lower).is_some() => SkipReason::OtherCase { expected: lower },
        () if resembles_ours(&name) => SkipReason::CopiedFile,
        () => SkipReason::NotOurs,
    })
}

/// `.name.icloud` stands for a file that iCloud has evicted.
fn is_placeholder(name: &str) -> bool {
    let evicted = name.strip_prefix('.').and_then(|name| name.strip_suffix(PLACEHOLDER));
    evicted.is_some_and(|name| resembles_ours(OsStr::new(name)))
}

/// True if a directory, or one in it, holds what may be files of driftless.
fn holds_ours(directory: &Path) -> bool {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().take(PEEK);
    let mut dirs = Vec::new();
    for entry in entries(directory) {
        if resembles_ours(&entry.file_name()) {
            return true;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && dirs.len() < 8 {
            dirs.push(entry.path());
        }
    }
    dirs.iter().any(|dir| entries(dir).any(|entry| resembles_ours(&entry.file_name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_driftless_gives_are_read() {
        let name = new_name(7);
        assert_eq!(number_of(&name), Some(7));
        assert_ne!(name, new_name(7));
        assert!(is_temporary(&temporary_name(&name)));
        assert_eq!(number_of(&new_name(u64::MAX)), Some(MAX_NUMBER));
        for bad in ["0000000001.drift", "1-0123456789abcdef.drift", "0000000001-0123456789ABCDEF.drift", "", "-.drift"]
        {
            assert_eq!(number_of(bad), None, "{bad}");
        }
    }
}
