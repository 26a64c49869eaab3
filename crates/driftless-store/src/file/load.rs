//! Reading what a directory holds.
//!
//! 1. The head names the checkpoint, the first and the last segment. The checkpoint is read, and checked whole.
//! 2. Of each segment the frames are read in order. Each names the one before it. All segments but the last end where the
//!    next one says.
//! 3. The last segment ends where the head says if the store was closed. Else it ends before the first bad frame, for sectors that
//!    were not synced reach the disk in any order, so a whole frame may lie behind a torn one. But if a frame behind it says that
//!    the segment had been durable beyond the bad one, that one was written whole once: it is damage, not the end.
//! 4. The *tail* is what nobody can say of whether it is durable: the frames behind the last durable end.
//!
//! Invariant: what was durable once is delivered to the sink, or the directory is refused.

use std::collections::BTreeSet;
use std::io;

use crate::bugs::{Bug, is};
use crate::disk::{Disk, read_all};
use crate::file::checked;
use crate::file::frame::{self, Frame};
use crate::file::head::{HEAD, Head};
use crate::file::segment::{End, SEGMENT_HEAD, SegmentHead, segment_name, segment_number};
use crate::file::{checkpoint_name, checkpoint_number};
use crate::storage::{Load, Lost, OpenProgress, Recovery, Sink, StorageError, Truncated};

/// The result of reading.
pub(super) struct Loaded {
    pub(super) head: Head,
    /// The last durable end of the last segment.
    pub(super) end: End,
    /// Records behind it.
    pub(super) tail: Vec<Vec<u8>>,
    pub(super) checkpoint_bytes: u64,
    pub(super) log_bytes: u64,
    pub(super) recovery: Recovery,
}

/// Reads the head; none if there is no store.
pub(super) fn read_head(disk: &dyn Disk) -> Result<Option<Head>, StorageError> {
    match disk.open(HEAD) {
        Ok(file) => {
            let bytes = read_all(&*file).map_err(|e| StorageError::io("read", HEAD, e))?;
            Head::from_bytes(&bytes).map(Some)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("open", HEAD, error)),
    }
}

/// What is left to be known of a store whose head is gone or damaged: its newest checkpoint and all segments.
pub(super) fn guess_head(disk: &dyn Disk, names: &BTreeSet<String>, schema: &str) -> Option<Head> {
    let segments: BTreeSet<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    let checkpoint = names.iter().filter_map(|name| checkpoint_number(name)).max().unwrap_or(0);
    let mut files = names.iter().filter(|name| segment_number(name).is_some() || checkpoint_number(name).is_some());
    let store = files.find_map(|name| {
        let bytes = read_all(&*disk.open(name).ok()?).ok()?;
        match SegmentHead::parse(&bytes) {
            Some(Ok(head)) => Some(head.store),
            _ => checked::store_of(&bytes),
        }
    })?;
    let first = segments.iter().copied().find(|number| *number >= checkpoint).unwrap_or(checkpoint.max(1));
    let last = segments.last().copied().unwrap_or(first).max(first);
    Some(Head { store, schema: schema.to_owned(), checkpoint, first, last, closed: None })
}

/// Reads all that belongs to a head.
pub(super) fn load(disk: &dyn Disk, head: Head, mode: Load, sink: &mut dyn Sink) -> Result<Loaded, StorageError> {
    let mut loading = Loading { disk, mode, sink, progress: Progress::default(), recovery: Recovery::default() };
    loading.recovery.was_closed = head.closed.is_some();
    loading.progress.expect(disk, &head);
    let checkpoint_bytes = loading.checkpoint(&head)?;
    let (mut log_bytes, mut end, mut tail) = (0, End::default(), Vec::new());
    let mut segment = loading.segment(&head, head.first)?;
    for number in head.first..=head.last {
        let next = if number < head.last { loading.segment(&head, number + 1)? } else { None };
        let ends = match &next {
            Some((next, _)) => Ends::At(next.before),
            None if number < head.last => Ends::Unknown,
            None => head.closed.map_or(Ends::Anywhere, Ends::At),
        };
        if let Some((segment, bytes)) = segment {
            (end, tail) = loading.frames(segment, &bytes, ends)?;
            log_bytes += end.offset;
        }
        segment = next;
    }
    // Room behind the end of a segment is not read, and headers are not counted.
    loading.advance(loading.progress.expected.saturating_sub(loading.progress.bytes));
    Ok(Loaded { head, end, tail, checkpoint_bytes, log_bytes, recovery: loading.recovery })
}

/// Where a segment ends.
#[derive(Clone, Copy)]
enum Ends {
    At(End),
    /// Before the first frame that is torn.
    Anywhere,
    /// The file that would tell is lost.
    Unknown,
}

#[derive(Default)]
struct Progress {
    bytes: u64,
    expected: u64,
}

impl Progress {
    fn expect(&mut self, disk: &dyn Disk, head: &Head) {
        let segments = (head.first..=head.last).map(segment_name);
        let names = segments.chain((head.checkpoint > 0).then(|| checkpoint_name(head.checkpoint)));
        // What cannot be opened is found out when it is read.
        let lens = names.map(|name| disk.open(&name).and_then(|file| file.len()).unwrap_or(0));
        self.expected = lens.sum();
    }
}

struct Loading<'a> {
    disk: &'a dyn Disk,
    mode: Load,
    sink: &'a mut dyn Sink,
    progress: Progress,
    recovery: Recovery,
}

impl Loading<'_> {
    /// Delivers the checkpoint, and returns its length.
    fn checkpoint(&mut self, head: &Head) -> Result<u64, StorageError> {
        if head.checkpoint == 0 {
            return Ok(0);
        }
        let file = checkpoint_name(head.checkpoint);
        let content = checked::read(self.disk, &file, head.store)
            .and_then(|content| content.ok_or_else(|| StorageError::Missing { file: file.clone() }));
        let taken = content.and_then(|content| {
            let taken = self.sink.checkpoint(&content);
            taken.map_err(|what| StorageError::damaged(&file, 0, what)).map(|()| content.len() as u64)
        });
        let len = match taken {
            Ok(len) => len,
            Err(error) => {
                self.lose(error, 0)?;
                0
            }
        };
        self.advance(len);
        Ok(len)
    }

    /// Reads a segment and its beginning; none if it is lost.
    fn segment(&mut self, head: &Head, number: u64) -> Result<Option<(SegmentHead, Vec<u8>)>, StorageError> {
        let name = segment_name(number);
        let read = match self.disk.open(&name) {
            Ok(file) => read_all(&*file).map_err(|e| StorageError::io("read", &name, e)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StorageError::Missing { file: name }),
            Err(error) => Err(StorageError::io("open", &name, error)),
        };
        let read = read.and_then(|bytes| Ok((SegmentHead::read(&bytes, head.store, number)?, bytes)));
        read.map(Some).or_else(|error| self.lose(error, 0).map(|()| None))
    }

    /// Delivers the frames of a segment. Returns its last durable end, and the records behind that.
    fn frames(&mut self, segment: SegmentHead, bytes: &[u8], ends: Ends) -> Result<(End, Vec<Vec<u8>>), StorageError> {
        let file = segment_name(segment.number);
        let seed = segment.seed();
        let mut end = End { offset: SEGMENT_HEAD as u64, name: seed };
        let mut ends_whole = true;
        let (mut durable, mut tail) = (segment.created_with, Vec::<(End, Vec<u8>)>::new());
        loop {
            if matches!(ends, Ends::At(at) if at.offset <= end.offset) {
                break;
            }
            let next = frame::read(bytes, seed, end.offset).filter(|frame| frame.previous == end.name);
            let next = match next {
                Some(next) => next,
                None => match self.behind(&file, bytes, seed, end.offset, segment.created_with, ends)? {
                    Some(next) => next,
                    None => {
                        ends_whole = false;
                        break;
                    }
                },
            };
            self.record(&file, next)?;
            durable = durable.max(next.durable);
            if matches!(ends, Ends::Anywhere) {
                tail.push((end, next.content.to_vec()));
                tail.retain(|(begin, _)| begin.offset >= durable);
            }
            self.advance(next.end() - end.offset);
            end = End { offset: next.end(), name: next.name };
        }
        if let Ends::At(at) = ends
            && ends_whole
            && at != end
        {
            self.lose(StorageError::damaged(&file, at.offset, "it does not end where it ended"), 0)?;
        }
        let end = tail.first().map_or(end, |(begin, _)| *begin);
        Ok((end, tail.into_iter().map(|(_, content)| content).collect()))
    }

    /// Decides about a bad frame: the end of the log, or damage. If it is gone on from, returns the first whole frame behind it.
    fn behind<'b>(
        &mut self,
        file: &str,
        bytes: &'b [u8],
        seed: u64,
        offset: u64,
        created_with: u64,
        ends: Ends,
    ) -> Result<Option<Frame<'b>>, StorageError> {
        let next = frame::find(bytes, seed, offset + 8);
        let later = std::iter::successors(next, |frame| frame::find(bytes, seed, frame.end()));
        let durable = later.map(|frame| frame.durable).max().unwrap_or(0).max(created_with);
        let is_damage = !matches!(ends, Ends::Anywhere) || durable > offset;
        if !is_damage || is(Bug::DamageIsTorn) {
            let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
            let len = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            if len > 0 {
                self.recovery.truncated = Some(Truncated { file: file.to_owned(), offset, bytes: len });
            }
            return Ok(None);
        }
        let until = match ends {
            Ends::At(end) => end.offset,
            _ => bytes.len() as u64,
        };
        let until = next.map_or(until, |next| next.offset);
        self.lose(
            StorageError::damaged(file, offset, "a record that was durable is not whole"),
            until - offset.min(until),
        )?;
        Ok(next)
    }

    fn record(&mut self, file: &str, frame: Frame<'_>) -> Result<(), StorageError> {
        match self.sink.record(frame.content) {
            Ok(()) => self.recovery.records += 1,
            Err(what) => {
                self.lose(StorageError::damaged(file, frame.offset, what), frame.end() - frame.offset)?;
            }
        }
        Ok(())
    }

    /// Refuses the store, or notes the damage and goes on.
    fn lose(&mut self, error: StorageError, bytes: u64) -> Result<(), StorageError> {
        if self.mode == Load::Whole {
            return Err(error);
        }
        let (file, offset, what) = match error {
            StorageError::Damaged { file, offset, what } => (file, offset, what),
            StorageError::Missing { file } => (file, 0, "it is missing".to_owned()),
            StorageError::Foreign { file } => (file, 0, "it belongs to another store".to_owned()),
            StorageError::Io { action, file, source } => (file, 0, format!("could not {action} it: {source}")),
            // Not damage: a later version reads it.
            other => return Err(other),
        };
        self.recovery.lost.push(Lost { file, offset, bytes, what });
        Ok(())
    }

    fn advance(&mut self, bytes: u64) {
        self.progress.bytes += bytes;
        self.sink.progress(OpenProgress {
            bytes: self.progress.bytes,
            bytes_expected: self.progress.expected.max(self.progress.bytes),
            records: self.recovery.records,
        });
    }
}
