//! Reading what others wrote.

use crate::codec::DecodeError;
use crate::kernel::{Crdt, Delta, MergeError};
use crate::replica::Replica;
use crate::sync::folder::chain::Header;
use crate::sync::folder::files::{self, FileEntry, Listing};
use crate::sync::folder::handle::Folder;
use crate::sync::folder::report::{FolderError, FolderReport, MergedFile, SkipReason, SkippedFile};

/// What is remembered of a file that was read.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Delta(Header),
    /// A delta of another type.
    Schema(String),
}

/// A file that was read, with its delta if it was read just now.
pub(super) type Loaded = (Header, Option<Delta>);

enum Taken {
    /// Merged, or nothing new.
    Done,
    /// Perhaps in the next pass.
    Not(SkipReason),
}

impl<T: Crdt> Folder<T> {
    pub(super) fn read_in(&mut self, replica: &mut Replica<T>) -> Result<FolderReport, FolderError> {
        let Listing { files, skipped, .. } = self.list()?;
        let mut report = FolderReport { skipped, ..FolderReport::default() };
        let mut left = files;
        loop {
            let (merged, mut waiting) = (report.merged.len(), Vec::new());
            for file in left {
                match self.take(&file, replica, &mut report) {
                    Ok(Taken::Done) => {}
                    Ok(Taken::Not(reason)) => waiting.push((file, reason)),
                    Err(reason) => report.skipped.push(SkippedFile { path: file.path, reason }),
                }
            }
            if waiting.is_empty() || merged == report.merged.len() {
                let skipped = waiting.into_iter().map(|(file, reason)| SkippedFile { path: file.path, reason });
                report.skipped.extend(skipped);
                return Ok(report);
            }
            left = waiting.into_iter().map(|(file, _)| file).collect();
        }
    }

    /// Merges a file if it says anything new and can be merged by now.
    fn take(
        &mut self,
        file: &FileEntry,
        replica: &mut Replica<T>,
        report: &mut FolderReport,
    ) -> Result<Taken, SkipReason> {
        let (mut header, mut delta) = self.load(file, &mut report.bytes_read)?;
        if delta.is_none() && hinders(&header, replica).is_none() {
            if replica.version().includes(&header.upto) {
                return Ok(Taken::Done);
            }
            self.read.remove(&file.path);
            (header, delta) = self.load(file, &mut report.bytes_read)?;
        }
        if replica.version().includes(&header.upto) {
            return Ok(Taken::Done);
        }
        if let Some(reason) = hinders(&header, replica) {
            return Ok(Taken::Not(reason));
        }
        let Some(delta) = delta else { return Ok(Taken::Done) };
        match replica.merge(&delta) {
            Ok(changes) => {
                report.ahead.extend_from_slice(changes.ahead());
                report.merged.push(MergedFile {
                    device: file.device.clone(),
                    path: file.path.clone(),
                    bytes: file.mark.len,
                    siblings: delta.len(),
                });
                Ok(Taken::Done)
            }
            Err(MergeError::Gap { have, need }) => Ok(Taken::Not(SkipReason::Waiting { have, need })),
            Err(MergeError::Schema { ours, theirs }) => Err(SkipReason::Schema { found: theirs, ours }),
            Err(error) => Err(SkipReason::Refused(error)),
        }
    }

    /// What is known of a file, or else what it says of itself.
    pub(super) fn load(
        &mut self,
        file: &FileEntry,
        bytes_read: &mut u64,
    ) -> Result<Loaded, SkipReason> {
        let schema = |found: &String| SkipReason::Schema { found: found.clone(), ours: T::SCHEMA };
        match self.read.get(&file.path) {
            Some((mark, Content::Delta(header))) if *mark == file.mark => return Ok((header.clone(), None)),
            Some((mark, Content::Schema(found))) if *mark == file.mark => return Err(schema(found)),
            _ => {}
        }
        let bytes = files::read(file, self.limit)?;
        *bytes_read += bytes.len() as u64;
        let delta = Delta::from_bytes(&bytes).map_err(|error| match error {
            DecodeError::Truncated { .. } => SkipReason::Incomplete,
            DecodeError::Format(_) | DecodeError::Flags(_) | DecodeError::UnknownKind(_) => SkipReason::TooNew(error),
            other => SkipReason::Damaged(other),
        })?;
        // Only what is whole is remembered: what is not may be mended under the same length and time.
        if delta.schema() != T::SCHEMA {
            let found = delta.schema().to_owned();
            let reason = schema(&found);
            self.read.insert(file.path.clone(), (file.mark.clone(), Content::Schema(found)));
            return Err(reason);
        }
        let header = Header::of(&delta);
        self.read.insert(file.path.clone(), (file.mark.clone(), Content::Delta(header.clone())));
        Ok((header, Some(delta)))
    }

    /// Lists the folder and forgets what is no longer there.
    pub(super) fn list(&mut self) -> Result<Listing, FolderError> {
        let listing = files::list(&self.folder, &self.device)?;
        let mut known = std::mem::take(&mut self.read);
        self.read = listing.files.iter().filter_map(|file| known.remove_entry(&file.path)).collect();
        Ok(listing)
    }
}

/// Why what a file holds cannot be merged as things stand.
fn hinders<T: Crdt>(header: &Header, replica: &Replica<T>) -> Option<SkipReason> {
    let (have, need) = (replica.version(), &header.need);
    (!have.includes(need)).then(|| SkipReason::Waiting { have: have.bare(), need: need.clone() })
}
