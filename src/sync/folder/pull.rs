//! Reading what the files hold, and repairing.
//!
//! 1. In passes, each delta that holds news and whose past has been seen is merged, until a pass merges nothing.
//! 2. A checkpoint is *taken in* the first time that it is read, whether it holds news or not: it is joined into the state by
//!    the rules of a repair. Where no divergence is, that changes nothing. A merge alone is not enough: of a content that
//!    the checkpoint holds under a derived dot, the merge keeps the first dot alive.
//! 3. If a file states that its device stands where the replica stands and holds something else, all checkpoints are taken
//!    in once more, unless that was done from this very state.
//!
//! The invariant: after a pull the state is at least the join of all checkpoints that can be read, in the order in which a
//! death is above every content, and contents are ordered canonically. A join does not depend on the order of arrival.

use crate::codec::DecodeError;
use crate::kernel::{Crdt, Delta, MergeError, RepairError};
use crate::replica::Replica;
use crate::sync::folder::files::{self, Listing, Mark, Unit};
use crate::sync::folder::format::{self, Summary};
use crate::sync::folder::handle::{Folder, LEAST_MEMORY, MEMORY_PER_BYTE};
use crate::sync::folder::report::{Diverged, FolderError, FolderReport, MergedFile, SkipReason, SkippedFile};
use crate::sync::replicated::Replicated;

/// A delta that was read, as it is remembered.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The marks of all its files.
    pub(super) marks: Vec<Mark>,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Delta(Summary),
    /// A delta of another type.
    Schema(String),
}

impl Known {
    pub(super) fn new(unit: &Unit, content: Content) -> Self {
        Self { marks: unit.files.iter().map(|file| file.mark.clone()).collect(), content }
    }

    fn is_of(&self, unit: &Unit) -> bool {
        self.marks.iter().eq(unit.files.iter().map(|file| &file.mark))
    }
}

enum Taken {
    /// Merged, or nothing new.
    Done,
    /// Perhaps in the next pass.
    Not(SkipReason),
}

impl<T: Crdt> Folder<T> {
    pub(super) fn read_in(&mut self, replica: &mut dyn Replicated<T>) -> Result<FolderReport, FolderError> {
        let Listing { units, skipped, headless, .. } = self.list()?;
        let skipped = skipped.into_iter().filter(|skipped| self.is_to_be_told(skipped)).collect();
        let mut report = FolderReport { skipped, ..FolderReport::default() };
        report.skipped.extend(headless.into_iter().map(|(_, skipped)| skipped));
        let mut left: Vec<&Unit> = units.iter().collect();
        loop {
            let (merged, mut waiting) = (report.merged.len(), Vec::new());
            for unit in left {
                match self.take(unit, replica, &mut report) {
                    Ok(Taken::Done) => {}
                    Ok(Taken::Not(reason)) => waiting.push((unit, reason)),
                    Err(reason) => report.skipped.push(SkippedFile { path: unit.path().to_owned(), reason }),
                }
            }
            let settled = merged == report.merged.len() && self.settle(&units, replica, &mut report);
            if merged == report.merged.len() && !settled {
                let skipped = |(unit, reason): (&Unit, _)| SkippedFile { path: unit.path().to_owned(), reason };
                report.skipped.extend(waiting.into_iter().map(skipped));
                break;
            }
            left = waiting.into_iter().map(|(unit, _)| unit).collect();
        }
        let here = replica.replica().statement();
        let diverged = units.iter().filter(|unit| self.summary(unit).is_some_and(|s| s.statement.contradicts(&here)));
        report.diverged =
            diverged.map(|unit| Diverged { device: unit.device.clone(), path: unit.path().to_owned() }).collect();
        Ok(report)
    }

    /// True unless it was told before and nothing has to be done about it.
    fn is_to_be_told(&mut self, skipped: &SkippedFile) -> bool {
        !matches!(skipped.reason, SkipReason::NotOurs) || self.told.insert(skipped.path.clone())
    }

    /// Merges a delta if it says anything new and can be merged by now.
    fn take(
        &mut self,
        unit: &Unit,
        replica: &mut dyn Replicated<T>,
        report: &mut FolderReport,
    ) -> Result<Taken, SkipReason> {
        let mut summary = self.load(unit, &mut report.bytes_read)?;
        if let (None, Some(known)) = (&summary.1, self.summary(unit)) {
            let is_done =
                replica.replica().version().includes(&known.upto) && (!known.is_checkpoint || known.taken_at.is_some());
            match hinders(known, replica.replica()) {
                Some(reason) => return Ok(Taken::Not(reason)),
                None if is_done => return Ok(Taken::Done),
                None => {}
            }
            self.read.remove(unit.path());
            summary = self.load(unit, &mut report.bytes_read)?;
        }
        let (summary, delta) = summary;
        if let Some(reason) = hinders(&summary, replica.replica()) {
            return Ok(Taken::Not(reason));
        }
        let Some(delta) = delta else { return Ok(Taken::Done) };
        if replica.replica().version().includes(&summary.upto) {
            if summary.is_checkpoint {
                self.take_in(unit, &delta, replica, report)?;
            }
            return Ok(Taken::Done);
        }
        match replica.merge(&delta) {
            Ok(changes) => {
                report.ahead.extend_from_slice(changes.ahead());
                report.dropped_contents.extend_from_slice(changes.dropped());
                self.settled |= !changes.dropped().is_empty();
                report.merged.push(MergedFile {
                    device: unit.device.clone(),
                    path: unit.path().to_owned(),
                    bytes: unit.len(),
                    siblings: delta.len(),
                });
                match summary.is_checkpoint {
                    true => self.take_in(unit, &delta, replica, report)?,
                    false => self.mark_taken(unit, replica.replica()),
                }
                Ok(Taken::Done)
            }
            Err(MergeError::Gap { have, need }) => Ok(Taken::Not(SkipReason::Waiting { have, need })),
            Err(MergeError::Schema { ours, theirs }) => Err(SkipReason::Schema { found: theirs, ours }),
            Err(error) => Err(SkipReason::Refused(error)),
        }
    }

    /// Joins a checkpoint whose news the state has into the state: any difference is a divergence.
    fn take_in(
        &mut self,
        unit: &Unit,
        delta: &Delta,
        replica: &mut dyn Replicated<T>,
        report: &mut FolderReport,
    ) -> Result<(), SkipReason> {
        if self.summary(unit).is_some_and(|summary| summary.statement == replica.replica().statement()) {
            self.mark_taken(unit, replica.replica());
            return Ok(());
        }
        let settled = replica.take_in(delta).map_err(SkipReason::Unrepaired)?;
        report.ahead.extend_from_slice(settled.ahead());
        report.dropped_contents.extend_from_slice(settled.dropped());
        self.settled |= !settled.dropped().is_empty();
        self.mark_taken(unit, replica.replica());
        Ok(())
    }

    fn mark_taken(&mut self, unit: &Unit, replica: &Replica<T>) {
        if let Some(Known { content: Content::Delta(summary), .. }) = self.read.get_mut(unit.path()) {
            summary.taken_at = Some(replica.statement());
        }
    }

    /// Takes in all checkpoints again if a file contradicts the state. Returns true if that changed anything.
    fn settle(&mut self, units: &[Unit], replica: &mut dyn Replicated<T>, report: &mut FolderReport) -> bool {
        let before = replica.replica().statement();
        if !units.iter().any(|unit| self.summary(unit).is_some_and(|s| s.statement.contradicts(&before))) {
            return false;
        }
        for unit in units {
            let here = replica.replica().statement();
            let is_wanted = self.summary(unit).is_some_and(|summary| {
                summary.is_checkpoint && summary.statement != here && summary.taken_at != Some(here)
            });
            if is_wanted && let Ok((_, delta)) = self.read_unit(unit, &mut report.bytes_read) {
                // A checkpoint that holds news is merged by the next pass. A refusal is reported, once a pull.
                if let Err(reason @ SkipReason::Unrepaired(RepairError::Refused(_))) =
                    self.take_in(unit, &delta, replica, report)
                    && report.skipped.iter().all(|skipped| skipped.path != unit.path())
                {
                    report.skipped.push(SkippedFile { path: unit.path().to_owned(), reason });
                }
            }
        }
        replica.replica().statement() != before
    }

    /// Returns what is remembered of a unit.
    pub(super) fn summary(&self, unit: &Unit) -> Option<&Summary> {
        match self.read.get(unit.path()).filter(|known| known.is_of(unit)).map(|known| &known.content) {
            Some(Content::Delta(summary)) => Some(summary),
            _ => None,
        }
    }

    /// Returns what is remembered of a delta, or else reads the delta and returns it too.
    pub(super) fn load(&mut self, unit: &Unit, bytes_read: &mut u64) -> Result<(Summary, Option<Delta>), SkipReason> {
        let schema = |found: &String| SkipReason::Schema { found: found.clone(), ours: T::SCHEMA };
        match self.read.get(unit.path()).filter(|known| known.is_of(unit)).map(|known| &known.content) {
            Some(Content::Delta(summary)) => return Ok((summary.clone(), None)),
            Some(Content::Schema(found)) => return Err(schema(found)),
            None => {}
        }
        if !unit.is_complete() {
            let (have, of) = (unit.files.len(), usize::from(unit.header().parts));
            return Err(SkipReason::PartsMissing { have, of });
        }
        let (summary, delta) = self.read_unit(unit, bytes_read)?;
        // Only what is whole is remembered: what is not may be mended under the same length and time.
        if delta.schema() != T::SCHEMA {
            let found = delta.schema().to_owned();
            let reason = schema(&found);
            self.read.insert(unit.path().to_owned(), Known::new(unit, Content::Schema(found)));
            return Err(reason);
        }
        self.read.insert(unit.path().to_owned(), Known::new(unit, Content::Delta(summary.clone())));
        Ok((summary, Some(delta)))
    }

    /// Reads a delta from all its files.
    pub(super) fn read_unit(&self, unit: &Unit, bytes_read: &mut u64) -> Result<(Summary, Delta), SkipReason> {
        let (statement, mut all) = (unit.header().statement, Vec::new());
        for file in &unit.files {
            let bytes = files::read(file, self.limit)?;
            *bytes_read += bytes.len() as u64;
            if file.mark.header.statement != statement {
                return Err(SkipReason::Damaged(DecodeError::Malformed("parts that do not belong together")));
            }
            let body = format::open(&bytes, &file.mark.header)?;
            all.extend_from_slice(body.delta);
        }
        let longest = self.limit.max(all.len() as u64);
        let delta = format::decode(&all, statement, longest.saturating_mul(MEMORY_PER_BYTE).max(LEAST_MEMORY))?;
        Ok((Summary::of(&delta, statement), delta))
    }

    /// Lists the folder and forgets what is no longer there.
    pub(super) fn list(&mut self) -> Result<Listing, FolderError> {
        let listing = files::list(&self.folder, &self.device)?;
        let mut known = std::mem::take(&mut self.read);
        self.read = listing.units.iter().filter_map(|unit| known.remove_entry(unit.path())).collect();
        let mut told = std::mem::take(&mut self.told);
        self.told = listing.skipped.iter().filter_map(|skipped| told.take(&skipped.path)).collect();
        Ok(listing)
    }
}

/// Why a delta cannot be merged as things stand.
fn hinders<T: Crdt>(summary: &Summary, replica: &Replica<T>) -> Option<SkipReason> {
    let (have, need) = (replica.version(), &summary.need);
    (!have.includes(need)).then(|| SkipReason::Waiting { have: have.bare(), need: need.clone() })
}
