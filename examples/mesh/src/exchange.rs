//! Bytes between two replicas: what is sent, what comes of it, what it costs.

use std::error::Error;
use std::time::{Duration, Instant};

use driftless::{CutError, Delta, MergeError};
use serde::Serialize;

use crate::mesh::{Mesh, NAMES, Seen, includes, join};

/// A delta on its way.
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    /// What its sender had seen before it and with it, by our own count.
    pub(crate) since: Seen,
    pub(crate) upto: Seen,
}

/// What one exchange took, for the table.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Exchange {
    pub(crate) step: String,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    /// Sent, those that were lost or came twice among them.
    pub(crate) messages: usize,
    pub(crate) lost: usize,
    /// Refused at first, since they build on something that had not arrived.
    pub(crate) early: usize,
    /// They told nothing new.
    pub(crate) stale: usize,
    /// Of the messages, those that the receiver had asked for.
    pub(crate) pulled: usize,
    /// Of those, the ones that had to be reconciled, since tombstones were pruned.
    pub(crate) reconciled: usize,
    pub(crate) bytes: usize,
    #[serde(rename = "send_ms", serialize_with = "as_ms")]
    pub(crate) send: Duration,
    #[serde(rename = "apply_ms", serialize_with = "as_ms")]
    pub(crate) apply: Duration,
}

fn as_ms<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(crate::words::ms(*duration))
}

/// What became of a message.
pub(crate) enum Arrival {
    New,
    Stale,
    /// It builds on something that has not arrived: kept until it can be applied, or until something is pulled.
    Early(Box<Early>),
}

/// A delta that waits.
pub(crate) struct Early {
    delta: Delta,
    since: Seen,
    upto: Seen,
}

impl Exchange {
    pub(crate) fn new(step: impl Into<String>, from: &'static str, to: &'static str) -> Self {
        Self { step: step.into(), from, to, ..Self::default() }
    }

    /// A message is sent that never arrives, if it is so.
    pub(crate) fn lose(&mut self, loses: bool) {
        self.messages += usize::from(loses);
        self.lost += usize::from(loses);
    }

    /// A message arrives.
    pub(crate) fn deliver(&mut self, message: &Message, mesh: &mut Mesh, to: usize) -> Result<Arrival, Box<dyn Error>> {
        self.messages += 1;
        self.bytes += message.bytes.len();
        let start = Instant::now();
        let delta = Delta::from_bytes(&message.bytes)?;
        self.apply += start.elapsed();
        let early = Early { delta, since: message.since, upto: message.upto };
        let arrival = self.apply(early, mesh, to)?;
        match arrival {
            Arrival::New => {}
            Arrival::Stale => self.stale += 1,
            Arrival::Early(_) => self.early += 1,
        }
        Ok(arrival)
    }

    /// Merges, and makes sure that just what comes too early is refused.
    fn apply(&mut self, early: Early, mesh: &mut Mesh, to: usize) -> Result<Arrival, Box<dyn Error>> {
        let start = Instant::now();
        let merged = mesh.peers[to].replica.merge(&early.delta);
        self.apply += start.elapsed();
        let heard = &mut mesh.heard[to];
        let (fits, stale) = (includes(heard, &early.since), includes(heard, &early.upto));
        match merged {
            Ok(_) if fits => join(heard, &early.upto),
            Ok(_) => return Err(format!("{} merged a delta that builds on what it lacks", NAMES[to]).into()),
            Err(MergeError::Gap { .. }) if !fits => return Ok(Arrival::Early(Box::new(early))),
            Err(error) => return Err(format!("{} refused a delta: {error}", NAMES[to]).into()),
        }
        mesh.check_version(to)?;
        Ok(if stale { Arrival::Stale } else { Arrival::New })
    }

    /// Messages arrive; those that are early wait until what they build on has come. Returns how many still wait.
    pub(crate) fn deliver_patiently<'a>(
        &mut self,
        messages: impl IntoIterator<Item = &'a Message>,
        mesh: &mut Mesh,
        to: usize,
    ) -> Result<usize, Box<dyn Error>> {
        let mut waiting = Vec::new();
        for message in messages {
            match self.deliver(message, mesh, to)? {
                Arrival::Early(early) => waiting.push(early),
                Arrival::New => self.retry(&mut waiting, mesh, to)?,
                Arrival::Stale => {}
            }
        }
        Ok(waiting.len())
    }

    /// Tries what waits until nothing more goes through.
    #[allow(clippy::vec_box, reason = "they go in and out of the list again and again")]
    fn retry(&mut self, waiting: &mut Vec<Box<Early>>, mesh: &mut Mesh, to: usize) -> Result<(), Box<dyn Error>> {
        loop {
            let before = waiting.len();
            for early in std::mem::take(waiting) {
                if let Arrival::Early(early) = self.apply(*early, mesh, to)? {
                    waiting.push(early);
                }
            }
            if waiting.len() == before {
                return Ok(());
            }
        }
    }

    /// The receiver asks for what it lacks. If tombstones were pruned that it has not seen, it names what it holds alive
    /// and is told which of that is dead.
    pub(crate) fn pull(&mut self, mesh: &mut Mesh, from: usize, to: usize) -> Result<(), Box<dyn Error>> {
        let (sender, receiver) = (&mesh.peers[from].replica, &mesh.peers[to].replica);
        let start = Instant::now();
        let delta = match sender.delta_since(receiver.version()) {
            Ok(delta) => delta,
            Err(CutError::Pruned { .. }) => {
                self.reconciled += 1;
                sender.reconcile(receiver.version(), &receiver.live_dots())
            }
        };
        let bytes = delta.to_bytes();
        self.send += start.elapsed();
        self.pulled += 1;
        let message = Message { bytes, since: mesh.heard[to], upto: mesh.heard[from] };
        match self.deliver(&message, mesh, to)? {
            Arrival::Early(_) => Err(format!("{} cut a delta that {} cannot merge", NAMES[from], NAMES[to]).into()),
            Arrival::New | Arrival::Stale => Ok(()),
        }
    }
}
