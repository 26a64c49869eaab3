//! Writing what others lack.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::kernel::{Crdt, Delta};
use crate::replica::Replica;
use crate::sync::device::DeviceName;
use crate::sync::folder::chain::{Chain, Header};
use crate::sync::folder::files::{self, FileEntry, Listing, MAX_NUMBER};
use crate::sync::folder::handle::{Folder, MAX_CHAIN_FILES, MIN_CHAIN_LEN};
use crate::sync::folder::pull::Content;
use crate::sync::folder::report::{FolderError, FolderReport, SkipReason, SkippedFile, WrittenFile};
use crate::version::Version;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Always,
    UnlessToldByOthers,
}

impl<T: Crdt> Folder<T> {
    pub(super) fn write_out(&mut self, replica: &Replica<T>, write: Write) -> Result<FolderReport, FolderError> {
        let Listing { files, leftovers, .. } = self.list()?;
        let mut report = FolderReport::default();
        let mut own = Vec::new();
        let mut others: BTreeMap<&DeviceName, Vec<(Header, u64)>> = BTreeMap::new();
        for file in &files {
            let loaded = self.load(file, &mut report.bytes_read);
            if file.device == self.device {
                own.push((file, readable(file, loaded.map(|(header, _)| header))?));
            } else if let Ok((header, _)) = loaded {
                others.entry(&file.device).or_default().push((header, file.mark.len));
            }
        }
        self.highest = own.iter().map(|(file, _)| file.number).fold(self.highest, u64::max);

        for leftover in leftovers {
            remove(&leftover, &mut report);
        }
        let ours = replica.version();
        let chain = Chain::of(own.iter().filter_map(|(file, header)| Some((header.as_ref()?, file.mark.len))), ours);
        let told = |(_, files): (_, &Vec<(Header, u64)>)| {
            Chain::of(files.iter().map(|(header, len)| (header, *len)), ours).reach.includes(replica.version())
        };
        let is_written = chain.reach.includes(replica.version());
        let checkpoint = if is_written || write == Write::UnlessToldByOthers && others.iter().any(told) {
            // The last push may have been cut off before it dropped what its checkpoint stands for.
            let newest = own.iter().rev().find_map(|(file, header)| {
                let header = header.as_ref().filter(|header| header.is_checkpoint)?;
                Some((file.number, ours.resolve(&header.upto)?))
            });
            newest.filter(|(newest, _)| own.iter().any(|(file, _)| file.number < *newest))
        } else {
            self.write_next(replica, &chain, &mut report)?
        };
        if let Some((number, upto)) = checkpoint {
            // Before anything goes, what stands for it is there to stay.
            files::sync_directory(&self.folder.join(self.device.as_str()))?;
            for (file, header) in own.iter().filter(|(file, _)| file.number < number) {
                if header.as_ref().is_none_or(|header| upto.includes(&header.upto)) {
                    report.dropped += usize::from(remove(&file.path, &mut report));
                }
            }
        }
        Ok(report)
    }

    /// Writes the next file. Returns number and version of it if it is a checkpoint.
    fn write_next(
        &mut self,
        replica: &Replica<T>,
        chain: &Chain,
        report: &mut FolderReport,
    ) -> Result<Option<(u64, Version)>, FolderError> {
        let number = self.highest + 1;
        if number > MAX_NUMBER {
            return Err(FolderError::NumbersUsedUp);
        }
        let (delta, bytes) = next(replica, chain);
        if bytes.len() as u64 > self.limit {
            return Err(FolderError::TooLarge { len: bytes.len() as u64, limit: self.limit });
        }
        let file = files::write(&self.folder, &self.device, number, &bytes)?;
        self.highest = number;
        let header = Header::of(&delta);
        let is_checkpoint = header.is_checkpoint;
        report.written = Some(WrittenFile { path: file.path.clone(), bytes: file.mark.len, is_checkpoint });
        let upto = replica.version().clone();
        self.read.insert(file.path, (file.mark, Content::Delta(header)));
        Ok(is_checkpoint.then_some((number, upto)))
    }
}

/// The header of a file of our own; none of one that is damaged, which the next file makes up for. What cannot be read for
/// another reason may say something that has to be known.
fn readable(file: &FileEntry, loaded: Result<Header, SkipReason>) -> Result<Option<Header>, FolderError> {
    match loaded {
        Ok(header) => Ok(Some(header)),
        Err(SkipReason::Incomplete | SkipReason::Damaged(_)) => Ok(None),
        Err(reason) => Err(FolderError::OwnFile { path: file.path.clone(), reason }),
    }
}

/// What the next file holds: what the chain lacks, or everything if it has become too long or too old.
fn next<T: Crdt>(replica: &Replica<T>, chain: &Chain) -> (Delta, Vec<u8>) {
    if !chain.reach.is_empty()
        && chain.files < MAX_CHAIN_FILES
        && let Ok(delta) = replica.delta_since(&chain.reach)
    {
        let bytes = delta.to_bytes();
        if chain.len + bytes.len() as u64 <= chain.base_len.max(MIN_CHAIN_LEN) {
            return (delta, bytes);
        }
    }
    // With its tombstones: without them all who merge it would count them as pruned, and have to write everything too.
    let delta = replica.state().state().complete(T::SCHEMA, true);
    let bytes = delta.to_bytes();
    (delta, bytes)
}

/// Deletes a file of our own. What cannot be is tried again next time.
fn remove(path: &Path, report: &mut FolderReport) -> bool {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            report.skipped.push(SkippedFile { path: path.to_owned(), reason: SkipReason::NotDropped(error) });
            false
        }
        result => result.is_ok(),
    }
}
