//! What a store writes: records of the log, and checkpoints.

use std::sync::{Arc, Mutex, PoisonError};

use driftless::{
    Budget, Crdt, Delta, Environment, Journal, JournalLimit, MergeError, MergeReport, Prune, Replica, SystemEnvironment,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::audit::{AuditAction, AuditEntry};
use crate::export::{JOURNALED, UNLIMITED};
use crate::storage::{OpenProgress, Sink};
use crate::table::{Changes, Table};

/// Where a delta came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// No delta: changes of the table alone.
    Table = 0,
    /// An edit of this replica. Replayed, the replica goes on from its writer.
    Edit = 1,
    /// A merge.
    Merge = 2,
}

/// A record, as it is written: an array of MessagePack. A field that is added later goes to the end, with a default.
#[derive(Serialize, Deserialize)]
struct Written {
    kind: u8,
    delta: ByteBuf,
    table: Vec<(ByteBuf, Option<ByteBuf>)>,
    #[serde(default)]
    audit: Option<AuditEntry>,
}

/// Encodes a record: all that is to be there at once or not at all.
pub(crate) fn encode(kind: Kind, delta: Option<&Delta>, table: &Changes, audit: Option<&AuditEntry>) -> Vec<u8> {
    let table = table.iter().map(|(key, value)| (ByteBuf::from(key), value.map(ByteBuf::from)));
    let delta = ByteBuf::from(delta.map(Delta::to_bytes).unwrap_or_default());
    let written = Written { kind: kind as u8, delta, table: table.collect(), audit: audit.cloned() };
    // Numbers and bytes are always encodable.
    rmp_serde::to_vec(&written).unwrap_or_default()
}

/// The state and the table as a checkpoint: the length of the state, the state, the table.
pub(crate) fn encode_checkpoint<T: Crdt>(replica: &Replica<T>, table: &Table) -> [Vec<u8>; 3] {
    let state = replica.save();
    let entries: Vec<(ByteBuf, ByteBuf)> =
        table.iter().map(|(key, value)| (ByteBuf::from(key), ByteBuf::from(value))).collect();
    let table = rmp_serde::to_vec(&entries).unwrap_or_default();
    [(state.len() as u64).to_le_bytes().to_vec(), state, table]
}

/// Builds a replica and its table from what a storage holds.
pub(crate) struct Loader<'a, T: Crdt> {
    clock: Clock,
    budget: Option<Budget>,
    pub(crate) replica: Replica<T>,
    pub(crate) table: Table,
    /// Entries of the audit in the log.
    pub(crate) audit: Vec<AuditEntry>,
    /// Number of the last change that is exported, if changes are.
    exported: Option<u64>,
    /// The number that the journal had reached at the checkpoint.
    pub(crate) journaled: Option<u64>,
    progress: Option<&'a mut dyn FnMut(OpenProgress)>,
}

impl<'a, T: Crdt> Loader<'a, T> {
    pub(crate) fn new(clock: Clock, budget: Option<Budget>, progress: Option<&'a mut dyn FnMut(OpenProgress)>) -> Self {
        let mut replica = Replica::with_environment(clock.clone());
        replica.set_pruning(budget);
        Self {
            clock,
            budget,
            replica,
            table: Table::default(),
            audit: Vec::new(),
            exported: None,
            journaled: None,
            progress,
        }
    }

    /// Journals what the files of an export do not hold.
    pub(crate) fn exporting(mut self, exported: Option<u64>) -> Self {
        self.exported = exported;
        self
    }

    /// Takes what the table says of the journal.
    fn follow_table(&mut self) {
        let number = self.table.get(JOURNALED).and_then(|number| Some(u64::from_le_bytes(number.try_into().ok()?)));
        if let (Some(_), Some(number)) = (self.exported, number) {
            self.replica.keep_journal_after(number, UNLIMITED);
        }
        self.journaled = number;
    }

    /// Merges what was merged before.
    ///
    /// If a dot had two contents then, a checkpoint was written, and nobody was told of the merge before that. So if a dot has
    /// two here, one is a removal whose tombstone had been pruned when the delta was merged.
    fn merge_again(&mut self, is_edit: bool, delta: &Delta) -> Result<MergeReport<T>, MergeError> {
        let merge = |replica: &mut Replica<T>| if is_edit { replica.replay(delta) } else { replica.merge(delta) };
        let is_all_new = delta.since().includes(self.replica.version());
        let before = (!is_all_new).then(|| self.replica.fork_with(self.clock.clone()));
        let journaled = self.replica.journal().map(Journal::last);
        let report = merge(&mut self.replica)?;
        let Some(before) = before.filter(|_| report.is_doubled()) else { return Ok(report) };
        self.replica = before;
        if let Some(number) = journaled {
            self.replica.keep_journal_after(number, UNLIMITED);
        }
        self.replica.prune(Prune::All);
        merge(&mut self.replica)
    }

    /// For what is read and not written to.
    pub(crate) fn to_read() -> Self {
        Self::new(Clock::new(SystemEnvironment), None, None)
    }
}

/// The clock and the randomness of a store and its replica.
#[derive(Clone)]
pub(crate) struct Clock(Arc<Mutex<Box<dyn Environment>>>);

impl Clock {
    pub(crate) fn new(environment: impl Environment + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(environment))))
    }

    fn with<R>(&self, of: impl FnOnce(&mut dyn Environment) -> R) -> R {
        of(&mut **self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Environment for Clock {
    fn now_ms(&mut self) -> u64 {
        self.with(|environment| environment.now_ms())
    }

    fn random(&mut self) -> [u8; 16] {
        self.with(|environment| environment.random())
    }

    fn process(&mut self) -> u32 {
        self.with(|environment| environment.process())
    }
}

impl<T: Crdt> Sink for Loader<'_, T> {
    fn checkpoint(&mut self, content: &[u8]) -> Result<(), String> {
        let parts = content.split_first_chunk::<8>().and_then(|(len, rest)| {
            let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
            rest.split_at_checked(len)
        });
        let (state, table) = parts.ok_or("it is no checkpoint of a store")?;
        let table: Vec<(ByteBuf, ByteBuf)> =
            rmp_serde::from_slice(table).map_err(|error| format!("its table makes no sense: {error}"))?;
        let replica = Replica::load_with(self.clock.clone(), state);
        self.replica = replica.map_err(|error| format!("its state makes no sense: {error}"))?;
        self.replica.set_pruning(self.budget);
        self.table = table.into_iter().map(|(key, value)| (key.into_vec(), value.into_vec())).collect();
        self.follow_table();
        Ok(())
    }

    fn record(&mut self, content: &[u8]) -> Result<(), String> {
        let Written { kind, delta, table, mut audit } =
            rmp_serde::from_slice(content).map_err(|error| format!("a record makes no sense: {error}"))?;
        if !delta.is_empty() {
            // The store wrote it, and has checked that it is whole.
            let delta = Delta::from_bytes_within(&delta, u64::MAX)
                .map_err(|error| format!("the delta of a record: {error}"))?;
            if kind != Kind::Edit as u8 && kind != Kind::Merge as u8 {
                return Err(format!("a record of kind {kind}, which this version does not know"));
            }
            let report = self.merge_again(kind == Kind::Edit as u8, &delta);
            let report = report.map_err(|error| format!("the delta of a record does not apply: {error}"))?;
            if let Some(entry) = audit.as_mut().filter(|entry| entry.action != AuditAction::Edit) {
                (entry.opened, entry.closed) = (report.opened().count() as u64, report.closed().count() as u64);
            }
        } else if kind != Kind::Table as u8 {
            return Err(format!("a record of kind {kind} without a delta"));
        }
        let is_numbered = table.iter().any(|(key, _)| key == JOURNALED);
        for (key, value) in table {
            self.table.set(&key, value.as_ref().map(|value| &value[..]));
        }
        if is_numbered {
            self.follow_table();
        }
        if self.replica.journal().is_some_and(|journal| self.exported >= Some(journal.last())) {
            self.replica.keep_journal(JournalLimit { entries: 0, bytes: 0 });
            self.replica.keep_journal(UNLIMITED);
        }
        self.audit.extend(audit);
        Ok(())
    }

    fn progress(&mut self, progress: OpenProgress) {
        if let Some(tell) = &mut self.progress {
            tell(progress);
        }
    }
}
