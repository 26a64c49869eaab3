//! Writing what the others lack, and deleting what a checkpoint replaces.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::kernel::{Crdt, Delta};
use crate::replica::Replica;
use crate::statement::Statement;
use crate::sync::device::DeviceName;
use crate::sync::folder::chain::Chain;
use crate::sync::folder::files::{self, Listing, Unit};
use crate::sync::folder::format::{self, Summary};
use crate::sync::folder::handle::{Folder, MAX_CHAIN_FILES, MIN_CHAIN_LEN};
use crate::sync::folder::names;
use crate::sync::folder::pull::{Content, Known};
use crate::sync::folder::report::{FolderError, FolderReport, SkipReason, SkippedFile, WrittenFile};
use crate::sync::replicated::Replicated;
use crate::version::Version;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Always,
    UnlessToldByOthers,
}

/// The content of the next file.
enum Next {
    Nothing,
    /// Where the replica stands, and nothing else.
    Statement,
    /// The writes that the chain lacks.
    News,
    /// Everything, since older files may say something else.
    Checkpoint,
}

/// A delta of this device that lies in the folder, with its summary unless it is damaged.
type OwnUnit<'a> = (&'a Unit, Option<Summary>);

impl<T: Crdt> Folder<T> {
    pub(super) fn write_out(
        &mut self,
        replica: &mut dyn Replicated<T>,
        write: Write,
    ) -> Result<FolderReport, FolderError> {
        replica.persist().map_err(FolderError::NotDurable)?;
        let replica = replica.replica();
        let Listing { units, headless, leftovers, highest, .. } = self.list()?;
        let mut report = FolderReport::default();
        for (_, SkippedFile { path, reason }) in headless.into_iter().filter(|(device, _)| *device == self.device) {
            may_be_passed_over(&path, reason)?;
        }
        let mut own: Vec<OwnUnit<'_>> = Vec::new();
        let mut others: BTreeMap<&DeviceName, Vec<(Summary, u64)>> = BTreeMap::new();
        for unit in &units {
            let loaded = self.load(unit, &mut report.bytes_read).map(|(summary, _)| summary);
            match loaded {
                Ok(summary) if unit.device == self.device => own.push((unit, Some(summary))),
                Ok(summary) => others.entry(&unit.device).or_default().push((summary, unit.len())),
                Err(reason) if unit.device == self.device => {
                    may_be_passed_over(unit.path(), reason)?;
                    own.push((unit, None));
                }
                Err(_) => {}
            }
        }
        for leftover in leftovers {
            remove(&leftover, &mut report);
        }
        let (ours, here) = (replica.version(), replica.statement());
        let chain = Chain::of(own.iter().filter_map(|(unit, summary)| Some((summary.as_ref()?, unit.len()))), ours);
        let next = {
            let of_own = own.iter().filter_map(|(_, summary)| summary.as_ref());
            let all = || of_own.clone().chain(others.values().flatten().map(|(summary, _)| summary));
            let is_settled = of_own.clone().any(|summary| summary.is_checkpoint && summary.statement == here);
            // Whatever was settled is in the folder.
            self.settled &= !is_settled;
            let is_told = |files: &Vec<(Summary, u64)>| {
                Chain::of(files.iter().map(|(summary, len)| (summary, *len)), ours).reach.includes(ours)
            };
            let is_written =
                chain.reach.includes(ours) || write == Write::UnlessToldByOthers && others.values().any(is_told);
            match () {
                () if ours.is_empty() => Next::Nothing,
                () if !is_settled && (self.settled || all().any(|summary| summary.statement.contradicts(&here))) => {
                    Next::Checkpoint
                }
                () if !is_written => Next::News,
                () if !all().any(|summary| summary.statement == here) => Next::Statement,
                () => Next::Nothing,
            }
        };
        let delta = match next {
            Next::Nothing => None,
            Next::Statement => Some(replica.delta_since(ours).unwrap_or_else(|_| everything(replica))),
            Next::News => Some(self::news(replica, &chain)),
            Next::Checkpoint => Some(everything(replica)),
        };
        if let Some(delta) = delta {
            let (unit, summary) = self.write_delta(&delta, here, highest, &mut report)?;
            self.settled &= !summary.is_checkpoint;
            own.retain(|(old, old_summary)| {
                // What an older file states is no longer so, and it says nothing else.
                let is_stale = old_summary.as_ref().is_some_and(|s| s.is_bare_statement() && ours.includes(&s.upto));
                !(is_stale && self.delete(old, &mut report))
            });
            let unit: &Unit = &unit;
            own.push((unit, Some(summary)));
            self.delete_replaced(replica, here, &own, &mut report)?;
        } else {
            // The last push may have been cut off before it deleted what its checkpoint replaces.
            self.delete_replaced(replica, here, &own, &mut report)?;
        }
        Ok(report)
    }

    /// Writes a delta to one file, or to several if one would be too long.
    fn write_delta(
        &mut self,
        delta: &Delta,
        here: Statement,
        highest: u64,
        report: &mut FolderReport,
    ) -> Result<(Unit, Summary), FolderError> {
        let Some(parts) = format::files_of(delta, here, names::random(), self.limit) else {
            let len = (format::HEADER_LEN + delta.to_bytes().len()) as u64;
            return Err(FolderError::TooLarge { len, limit: self.limit });
        };
        let mut unit = Unit { device: self.device.clone(), files: Vec::with_capacity(parts.len()) };
        for (number, bytes) in (highest.saturating_add(1)..).zip(parts) {
            match files::write(&self.folder, &self.device, number, &bytes) {
                Ok(file) => unit.files.push(file),
                Err(error) => {
                    // Parts alone say nothing.
                    for file in &unit.files {
                        remove(&file.path, report);
                    }
                    return Err(error);
                }
            }
        }
        let mut summary = Summary::of(delta, here);
        summary.taken_at = Some(here);
        report.written = Some(WrittenFile {
            path: unit.path().to_owned(),
            bytes: unit.len(),
            parts: unit.files.len(),
            is_checkpoint: summary.is_checkpoint,
        });
        self.read.insert(unit.path().to_owned(), Known::new(&unit, Content::Delta(summary.clone())));
        Ok((unit, summary))
    }

    /// Deletes the files of this device that a checkpoint of it replaces. The rule, for two openings at once as well:
    ///
    /// 1. An increment goes if a checkpoint includes its `upto`.
    /// 2. A checkpoint goes if one that was made from the state as it is now includes its `upto`, and the state has taken it
    ///    in. Of two that state the same the later name stays, so that two openings never delete both. One that
    ///    contradicts the state goes whatever its name is: two openings with unequal states cannot both have taken in
    ///    each other's checkpoint, so they never delete both either.
    /// 3. Parts of a delta of which others are missing go like the delta. A damaged file stays: nobody knows what it holds.
    fn delete_replaced(
        &mut self,
        replica: &Replica<T>,
        here: Statement,
        own: &[OwnUnit<'_>],
        report: &mut FolderReport,
    ) -> Result<(), FolderError> {
        let ours = replica.version();
        let checkpoints: Vec<_> = own
            .iter()
            .filter_map(|(unit, summary)| {
                let summary = summary.as_ref().filter(|summary| summary.is_checkpoint)?;
                Some((*unit, summary, ours.resolve(&summary.upto)?))
            })
            .collect();
        if checkpoints.is_empty() {
            return Ok(());
        }
        let mut replaced = Vec::new();
        for (unit, summary) in own {
            let upto = match summary {
                Some(summary) => summary.upto.clone(),
                None if unit.is_complete() => continue,
                None => match self.upto_of_part(unit, report) {
                    Some(upto) => upto,
                    None => continue,
                },
            };
            let is_checkpoint = summary.as_ref().is_some_and(|summary| summary.is_checkpoint);
            let states_here = summary.as_ref().is_some_and(|summary| summary.statement == here);
            let replaces = |(other, other_summary, reach): &&(&Unit, &Summary, Version)| {
                !std::ptr::eq(*other, *unit)
                    && reach.includes(&upto)
                    && (!is_checkpoint || other_summary.statement == here && (!states_here || name(unit) < name(other)))
            };
            if checkpoints.iter().any(|checkpoint| replaces(&checkpoint))
                && (!is_checkpoint || self.is_taken_in(unit, replica, report))
            {
                replaced.push(*unit);
            }
        }
        if !replaced.is_empty() {
            // Before anything goes, what replaces it is there to stay.
            files::sync_directory(&self.folder.join(self.device.as_str()))?;
        }
        for unit in replaced {
            self.delete(unit, report);
        }
        Ok(())
    }

    /// The version that a delta reaches of which some parts are missing.
    fn upto_of_part(&self, unit: &Unit, report: &mut FolderReport) -> Option<Version> {
        let bytes = files::read(&unit.files[0], self.limit).ok()?;
        report.bytes_read += bytes.len() as u64;
        format::open(&bytes, unit.header()).ok()?.upto
    }

    /// True if a checkpoint says nothing that the state does not hold: it was not written by a copy of a process that holds
    /// something else.
    fn is_taken_in(&self, unit: &Unit, replica: &Replica<T>, report: &mut FolderReport) -> bool {
        let Ok((_, delta)) = self.read_unit(unit, &mut report.bytes_read) else { return false };
        let mut copy = replica.fork();
        copy.take_in(&delta).is_ok() && copy.statement() == replica.statement()
    }

    /// Deletes the files of a delta of this device.
    fn delete(&mut self, unit: &Unit, report: &mut FolderReport) -> bool {
        let mut is_gone = true;
        for file in &unit.files {
            is_gone &= remove(&file.path, report);
        }
        report.dropped += usize::from(is_gone);
        is_gone
    }
}

fn name(unit: &Unit) -> (u64, &Path) {
    (unit.files[0].number, unit.path())
}

/// Passes over a file of this device that is damaged or not all there, which the next file makes up for. What cannot be read
/// for another reason may say something that has to be known.
fn may_be_passed_over(path: &Path, reason: SkipReason) -> Result<(), FolderError> {
    match reason {
        SkipReason::Incomplete
        | SkipReason::Damaged(_)
        | SkipReason::PartsMissing { .. }
        | SkipReason::Placeholder
        | SkipReason::TooLarge { .. } => Ok(()),
        reason => Err(FolderError::OwnFile { path: path.to_owned(), reason }),
    }
}

/// Everything, with its tombstones: without them all who merge it would count them as pruned, and have to write everything
/// too.
fn everything<T: Crdt>(replica: &Replica<T>) -> Delta {
    replica.complete_with_tombstones()
}

/// Cuts what the chain lacks, or everything if the chain has become too long or too old.
fn news<T: Crdt>(replica: &Replica<T>, chain: &Chain) -> Delta {
    if !chain.reach.is_empty()
        && chain.increments < MAX_CHAIN_FILES
        && let Ok(delta) = replica.delta_since(&chain.reach)
        && chain.len + delta.to_bytes().len() as u64 <= chain.base_len.max(MIN_CHAIN_LEN)
    {
        return delta;
    }
    everything(replica)
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
