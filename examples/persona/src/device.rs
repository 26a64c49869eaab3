//! A device: a replica with a name and a clock, and what travels between two of them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{Conflict, Delta, Document, Edit, EditError, Environment, Path, Replica, WriterId, Version};

/// Time and randomness that replay exactly. An app has no need of it: `Replica::new` asks the system.
#[derive(Clone, Default)]
pub(crate) struct Stage {
    now: Arc<AtomicU64>,
    minted: Arc<AtomicU64>,
}

impl Stage {
    pub(crate) fn set_clock(&self, millis: u64) {
        self.now.store(millis, Ordering::Relaxed);
    }
}

impl Environment for Stage {
    fn now_ms(&mut self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn random(&mut self) -> [u8; 16] {
        u128::from(self.minted.fetch_add(1, Ordering::Relaxed) + 1).to_be_bytes()
    }
}

pub(crate) struct Device {
    pub(crate) name: &'static str,
    replica: Replica<Document>,
    stage: Stage,
}

/// What one device told another.
pub(crate) struct Sent {
    bytes: usize,
    writes: usize,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>2} writes in {:>4} bytes", self.writes, self.bytes)
    }
}

impl Device {
    pub(crate) fn new(name: &'static str, stage: &Stage) -> Self {
        Self { name, replica: Replica::with_environment(stage.clone()), stage: stage.clone() }
    }

    pub(crate) fn document(&self) -> &Document {
        self.replica.state()
    }

    /// The document as it is now, to keep: the base of a later merge of texts. O(1).
    pub(crate) fn snapshot(&self) -> Document {
        self.replica.snapshot()
    }

    pub(crate) fn id(&self) -> Option<WriterId> {
        self.replica.id()
    }

    /// Its delta is dropped, since peers ask for what they lack.
    pub(crate) fn edit<R>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_, Document>) -> Result<R, EditError>,
    ) -> Result<R, EditError> {
        self.replica.edit(edit).map(|(result, _)| result)
    }

    /// Says in the document what it is called, so that every device can name whoever wrote something.
    pub(crate) fn introduce(&mut self) -> Result<(), EditError> {
        let name = self.name;
        self.edit(|d| {
            let id = d.own_id().to_string();
            d.set(Path::new(["devices", &id])?, name)
        })
    }

    /// The first conflict at or below a path.
    pub(crate) fn conflict(&self, path: &str) -> Result<Conflict<'_>, Box<dyn Error>> {
        let first = self.document().conflicts_at(path)?.next();
        first.ok_or_else(|| format!("{} knows no conflict at {path}", self.name).into())
    }

    /// Answers a peer that says what it has seen, both as the bytes that travel.
    fn answer(&self, seen: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let seen = Version::from_bytes(seen)?;
        Ok(self.replica.delta_since(&seen)?.to_bytes())
    }

    /// Asks a peer for what it lacks.
    fn pull(&mut self, from: &Self) -> Result<Sent, Box<dyn Error>> {
        let bytes = from.answer(&self.replica.version().to_bytes())?;
        let delta = Delta::from_bytes(&bytes)?;
        self.replica.merge(&delta)?;
        Ok(Sent { bytes: bytes.len(), writes: delta.len() })
    }

    /// Both directions: what each was sent.
    pub(crate) fn exchange(&mut self, other: &mut Self) -> Result<[Sent; 2], Box<dyn Error>> {
        Ok([self.pull(other)?, other.pull(self)?])
    }

    /// Goes to sleep and wakes up. An app writes the bytes to a file and the lease to a place that no backup brings back.
    /// Returns how many bytes were saved.
    pub(crate) fn restart(&mut self) -> Result<usize, Box<dyn Error>> {
        let (bytes, lease) = self.replica.save();
        let lease = lease.map(|lease| lease.to_string());
        let lease = lease.map(|text| text.parse()).transpose()?;
        self.replica = Replica::resume_with(self.stage.clone(), &bytes, lease)?;
        Ok(bytes.len())
    }
}

/// What the device is called that writes under an id.
pub(crate) fn name_of(document: &Document, id: WriterId) -> &str {
    let path = Path::new(["devices", &id.to_string()]);
    let name = path.ok().and_then(|path| document.get(path)?.as_str());
    name.unwrap_or("somebody")
}
