//! What the peer sends, once all of it is there.

use crate::bugs::{Bug, is};
use crate::codec::{DecodeError, decode_slice};
use crate::kernel::{Crdt, Delta, DeltaKind, MergeError, RepairError};
use crate::replica::Replica;
use crate::standing::Standing;
use crate::sync::replicated::Replicated;
use crate::sync::session::incoming::{Basis, Incoming};
use crate::sync::session::machine::Session;
use crate::sync::session::outgoing::reference;
use crate::sync::session::report::{Event, SessionError};
use crate::sync::session::retry::{Awaited, Reaction};
use crate::sync::session::staged::Staged;
use crate::sync::session::stream::{self, RoundName, Stream, StreamForm};
use crate::sync::session::telling::{Announced, Checkpoint, Point};
use crate::version::Version;

/// Why a stream was not merged.
enum Refusal {
    /// It is built on what we do not know, or is damaged: the peer may begin again.
    Unfit,
    End(SessionError),
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        match error {
            // A new stream would need as much memory.
            DecodeError::Memory { needed, limit } => Self::End(SessionError::Memory { needed, limit }),
            _ => Self::Unfit,
        }
    }
}

impl<T: Crdt> Session<T> {
    /// Takes a part of a stream. Returns whether it was of use.
    pub(super) fn receive(
        &mut self,
        replica: &mut dyn Replicated<T>,
        number: u64,
        total: u64,
        (offset, part): (u64, &[u8]),
    ) -> Result<bool, SessionError> {
        if let Some(peer) = self.peer.as_ref().filter(|peer| number <= peer.merged) {
            // The peer does not know that it was merged; as long as that is not durable, it only hears that all has arrived.
            let is_durable = number <= peer.durable;
            if self.pace.allows(Reaction::Announce, self.now) {
                self.due.announce |= is_durable;
                self.due.arrived = (!is_durable).then_some((number, total));
            }
            return Ok(false);
        }
        if self.incoming.as_ref().is_none_or(|incoming| number > incoming.number) {
            let limit = self.options.staging_limit;
            if total > limit {
                return Err(SessionError::StagingLimit { len: total, limit });
            }
            self.incoming = Some(Incoming::new(number, total));
        }
        let Some(incoming) = &mut self.incoming else { return Ok(false) };
        if number < incoming.number || total != incoming.total() || !incoming.add(offset, part) {
            return Ok(false);
        }
        self.timers.progress(Awaited::Rest);
        if incoming.is_ask_due() {
            self.due.ask.get_or_insert(false);
        }
        if self.take_basis().is_err() {
            return self.refuse().map(|()| false);
        }
        if !self.incoming.as_ref().is_some_and(Incoming::is_complete) {
            return Ok(true);
        }
        let Some(incoming) = self.incoming.take() else { return Ok(false) };
        match self.finish(replica, &incoming) {
            Ok(()) => Ok(true),
            Err(Refusal::End(error)) => Err(error),
            Err(Refusal::Unfit) => {
                // What we staged may be what does not fit.
                self.options.staged = None;
                self.refuse().map(|()| false)
            }
        }
    }

    /// Drops the stream and has the peer begin anew, from where we stand now.
    fn refuse(&mut self) -> Result<(), SessionError> {
        self.incoming = None;
        (self.due.need, self.due.announce) = (true, true);
        self.nonsense()
    }

    /// Keeps what the stream builds on, once its header is there.
    fn take_basis(&mut self) -> Result<(), Refusal> {
        let Some(incoming) = self.incoming.as_mut().filter(|incoming| incoming.basis.is_none()) else { return Ok(()) };
        let Some(header) = stream::read_header(incoming.bytes())? else { return Ok(()) };
        let standing = self.said.find(header.builds_on).ok_or(Refusal::Unfit)?;
        let mut reconciled = self.reconciled.iter();
        let dead = match header.form {
            StreamForm::Reconciled(name) => reconciled.find(|(of, _)| *of == name).map(|(_, dead)| dead.clone()),
            _ => None,
        };
        incoming.basis = Some(Basis { header, standing, dead });
        Ok(())
    }

    fn finish(&mut self, replica: &mut dyn Replicated<T>, incoming: &Incoming) -> Result<(), Refusal> {
        let Stream { slices, .. } = self.read_stream(incoming, true)?;
        let basis = incoming.basis.as_ref().ok_or(Refusal::Unfit)?;
        let header = basis.header;
        let mut is_repair = header.form == StreamForm::Repair;
        let delta = match header.form {
            StreamForm::Resumed => {
                let staged = self.options.staged.take().ok_or(Refusal::Unfit)?;
                is_repair = staged.is_repair;
                resume(staged.delta, basis, &slices, replica.replica().version(), self.options.memory())?
            }
            StreamForm::Whole | StreamForm::Repair => decode(basis, &slices, &mut self.options.memory())?,
            StreamForm::Reconciled(name) => self.decode_reconciled(name, basis, &slices)?,
        };
        let new_writers = self.check_claims(replica.replica(), &delta)?;
        let standing = Standing { version: delta.upto().clone(), pruned: delta.pruned().clone() };
        if is_repair {
            self.repair(replica, &delta)?
        } else {
            self.merge(replica, delta)?
        }
        self.new_writers = new_writers;
        if let Some(peer) = &mut self.peer {
            peer.merged = incoming.number + u64::from(is(Bug::MergedAhead));
            let merged = self.persisted.as_ref().map(|persisted| (persisted, Checkpoint::of(replica.replica())));
            match merged.filter(|(persisted, merged)| !persisted.holds(merged)) {
                None => peer.durable = incoming.number,
                Some((_, merged)) => self.undurable = Some((incoming.number, merged)),
            }
            if header.told > 0 && !is_repair && peer.heard.as_ref().is_none_or(|heard| heard.number < header.told) {
                let point = Point { standing, fingerprint: header.fingerprint };
                peer.heard = Some(Announced { number: header.told, point });
            }
        }
        Ok(())
    }

    /// Reads the slices of a stream, whose length counts before they were compressed.
    fn read_stream<'a>(&self, incoming: &'a Incoming, complete: bool) -> Result<Stream<'a>, Refusal> {
        let stream = stream::read(incoming.bytes(), complete)?;
        if stream.is_compressed && !self.options.compression {
            return Err(Refusal::Unfit);
        }
        let (len, limit) = (stream.plain_len, self.options.staging_limit);
        match len <= limit {
            true => Ok(stream),
            false => Err(Refusal::End(SessionError::StagingLimit { len, limit })),
        }
    }

    /// Decodes a reconciled stream, or what has come of it, with the dead dots that it leaves out.
    fn decode_reconciled(&self, name: RoundName, basis: &Basis, slices: &[&[u8]]) -> Result<Delta, Refusal> {
        let later = || self.reconciled.iter().find(|(of, _)| *of == name).map(|(_, dead)| dead);
        let dead = basis.dead.as_ref().or_else(later).ok_or(Refusal::Unfit)?;
        let delta = decode(basis, slices, &mut self.options.memory())?;
        // Dead are those that both know of, and those that have died at the peer since.
        let DeltaKind::Reconciled { dead: since, .. } = delta.kind() else { return Err(Refusal::Unfit) };
        let dead = dead.iter().chain(since.iter()).collect();
        Ok(delta.with_dead(dead))
    }

    /// What no honest peer would claim, as a rule, needs the app's consent. Returns how many writers the peer has brought with
    /// these.
    fn check_claims(&self, replica: &Replica<T>, delta: &Delta) -> Result<usize, Refusal> {
        let ours = replica.version();
        let born = delta.births().filter(|writer| ours.get(*writer) == 0).count();
        let new_writers = self.new_writers + born;
        let jump = ours.jump_to(delta.births_table(), delta.upto()).unwrap_or(0);
        if jump > self.options.jump_limit {
            return Err(Refusal::End(SessionError::Jump { jump }));
        }
        if new_writers > self.options.writers_limit {
            return Err(Refusal::End(SessionError::Writers(new_writers)));
        }
        Ok(new_writers)
    }

    fn merge(&mut self, replica: &mut dyn Replicated<T>, delta: Delta) -> Result<(), Refusal> {
        let report = match replica.merge(&delta) {
            Ok(report) => report,
            // The peer takes us for further than we are: it will hear where we stand.
            Err(MergeError::Gap { .. }) => return Err(Refusal::Unfit),
            Err(error) => return Err(Refusal::End(error.into())),
        };
        self.options.staged = None;
        self.counters.deltas_merged += 1;
        self.counters.conflicts_opened += report.opened().count() as u64;
        self.counters.conflicts_closed += report.closed().count() as u64;
        self.tell(Event::Merged { delta: Box::new(delta), report: Box::new(report) });
        Ok(())
    }

    fn repair(&mut self, replica: &mut dyn Replicated<T>, theirs: &Delta) -> Result<(), Refusal> {
        if !self.options.repair {
            return Err(Refusal::End(SessionError::Contradiction));
        }
        match replica.repair(theirs) {
            Ok(report) => {
                self.counters.repairs += 1;
                self.tell(Event::Repaired(Box::new(report)));
                Ok(())
            }
            // Something was written meanwhile: it is not what both have seen that differs.
            Err(RepairError::Version { .. }) => {
                self.due.announce = true;
                Ok(())
            }
            Err(RepairError::Refused(refused)) => Err(Refusal::End(MergeError::Refused(refused).into())),
            Err(_) => Err(Refusal::Unfit),
        }
    }

    /// Returns the part of a delta that came before the connection broke, for the next session to go on from. `None` if there is
    /// none: less than a slice has come, or the end of the reconciliation that the delta builds on has not.
    pub fn into_staged(self) -> Option<Box<Staged>> {
        let partial = self.incoming.as_ref().and_then(|incoming| self.stage(incoming).ok()?);
        partial.map(Box::new).or(self.options.staged)
    }

    fn stage(&self, incoming: &Incoming) -> Result<Option<Staged>, Refusal> {
        let Stream { slices, plain_len, .. } = self.read_stream(incoming, false)?;
        let basis = incoming.basis.as_ref().ok_or(Refusal::Unfit)?;
        let (mut is_repair, mut len) = (basis.header.form == StreamForm::Repair, plain_len);
        let delta = match basis.header.form {
            StreamForm::Whole | StreamForm::Repair => decode(basis, &slices, &mut self.options.memory())?,
            StreamForm::Reconciled(name) => self.decode_reconciled(name, basis, &slices)?,
            StreamForm::Resumed => {
                let before = self.options.staged.as_deref().ok_or(Refusal::Unfit)?;
                (is_repair, len) = (before.is_repair, len + before.bytes);
                let version = self.said.last().point.standing.version();
                resume(before.delta.clone(), basis, &slices, version, self.options.memory())?
            }
        };
        // Breaking off again and again must not gather more than one stream may bring.
        Ok(Staged::new(delta, is_repair, len).filter(|staged| staged.bytes <= self.options.staging_limit))
    }
}

/// Decodes slices within so much memory, and takes what they need from it.
fn decode(basis: &Basis, slices: &[&[u8]], memory: &mut u64) -> Result<Delta, Refusal> {
    let reference = reference(&basis.standing);
    // Each slice that is decoded holds all versions, so only some are at a time.
    let some = slices.len().isqrt().max(1);
    let joined = slices.chunks(some).map(|some| {
        let decoded = some.iter().map(|slice| decode_slice(slice, &reference, memory));
        Delta::concat(decoded.collect::<Result<_, _>>()?).ok_or(Refusal::Unfit)
    });
    Delta::concat(joined.collect::<Result<_, _>>()?).ok_or(Refusal::Unfit)
}

/// Joins what was staged, what has changed since, and what follows. The last may not be empty.
fn resume(
    staged: Delta,
    basis: &Basis,
    slices: &[&[u8]],
    receiver: &Version,
    mut memory: u64,
) -> Result<Delta, Refusal> {
    let changes = usize::try_from(basis.header.changes).ok().filter(|changes| *changes < slices.len());
    let (changes, rest) = slices.split_at(changes.ok_or(Refusal::Unfit)?);
    let (changes, rest) = (decode(basis, changes, &mut memory)?, decode(basis, rest, &mut memory)?);
    Delta::resume(staged, &changes, rest, receiver).ok_or(Refusal::Unfit)
}
