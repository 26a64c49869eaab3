//! What the peer sends, once all of it is there.

use crate::bugs::{Bug, is};
use crate::codec::{DecodeError, decode_slice};
use crate::kernel::{Crdt, Delta, DeltaKind, Entity, MergeError, RepairError};
use crate::replica::Replica;
use crate::standing::Standing;
use crate::sync::session::incoming::Incoming;
use crate::sync::session::machine::Session;
use crate::sync::session::outgoing::reference;
use crate::sync::session::report::{Event, SessionError};
use crate::sync::session::retry::{Awaited, Reaction};
use crate::sync::session::stream::{self, Header, StreamForm};
use crate::sync::session::telling::{Announced, Point};
use crate::version::Version;

/// The beginning of a delta whose connection broke: give it to the next session with the same peer by
/// [`Options::with_staged`](crate::sync::Options::with_staged), and only the rest is sent.
#[derive(Clone, Debug)]
pub struct Staged {
    pub(super) delta: Delta,
    /// The last entity that is there.
    pub(super) last: Entity,
}

impl Staged {
    fn new(delta: Delta) -> Option<Self> {
        let builds_on_nothing = delta.need().is_empty() && *delta.kind() != DeltaKind::Complete;
        let resumable = *delta.kind() == DeltaKind::Incremental || builds_on_nothing;
        let last = delta.last_entity().filter(|_| resumable)?;
        Some(Self { delta, last })
    }

    /// How many siblings are there.
    pub fn len(&self) -> usize {
        self.delta.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.delta.len() == 0
    }
}

/// Why a stream was not merged.
enum Refusal {
    /// It is built on what we do not know, or is damaged: the peer may begin again.
    Unfit,
    End(SessionError),
}

impl From<DecodeError> for Refusal {
    fn from(_: DecodeError) -> Self {
        Self::Unfit
    }
}

impl<T: Crdt> Session<T> {
    /// Takes a part of a stream. Returns whether it was of use.
    pub(super) fn receive(
        &mut self,
        replica: &mut Replica<T>,
        number: u64,
        total: u64,
        (offset, part): (u64, &[u8]),
    ) -> Result<bool, SessionError> {
        if self.peer.as_ref().is_some_and(|peer| number <= peer.merged) {
            // The peer does not know that it was merged.
            self.due.announce |= self.pace.allows(Reaction::Announce, self.now);
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
        if !incoming.is_complete() {
            return Ok(true);
        }
        let Some(incoming) = self.incoming.take() else { return Ok(false) };
        match self.finish(replica, &incoming) {
            Ok(()) => Ok(true),
            Err(Refusal::End(error)) => Err(error),
            Err(Refusal::Unfit) => {
                (self.due.need, self.due.announce) = (true, true);
                // What we staged may be what does not fit.
                self.options.staged = None;
                self.nonsense()?;
                Ok(false)
            }
        }
    }

    fn finish(&mut self, replica: &mut Replica<T>, incoming: &Incoming) -> Result<(), Refusal> {
        let (header, slices) = stream::read(incoming.bytes(), true)?;
        let delta = match header.form {
            StreamForm::Resumed => {
                let staged = self.options.staged.take().ok_or(Refusal::Unfit)?;
                self.resume(*staged, &header, &slices, replica.version())?
            }
            StreamForm::Whole | StreamForm::Repair => self.decode(&header, &slices)?,
            StreamForm::Reconciled(name) => {
                let round = self.round.as_ref().filter(|round| round.name == name);
                let difference = round.and_then(|round| round.difference.as_ref()).ok_or(Refusal::Unfit)?;
                self.decode(&header, &slices)?.with_dead(difference.only_here().clone())
            }
        };
        let new_writers = self.check_claims(replica, &delta)?;
        let standing = Standing { version: delta.upto().clone(), pruned: delta.pruned().clone() };
        let is_repair = header.form == StreamForm::Repair;
        if is_repair {
            self.repair(replica, &delta)?
        } else {
            self.merge(replica, delta)?
        }
        self.new_writers = new_writers;
        if let Some(peer) = &mut self.peer {
            peer.merged = incoming.number + u64::from(is(Bug::MergedAhead));
            if self.persisted.is_none() {
                peer.durable = incoming.number;
            }
            if header.told > 0 && !is_repair && peer.heard.as_ref().is_none_or(|heard| heard.number < header.told) {
                let point = Point { standing, fingerprint: header.fingerprint };
                peer.heard = Some(Announced { number: header.told, point });
            }
        }
        Ok(())
    }

    fn decode(&self, header: &Header, slices: &[&[u8]]) -> Result<Delta, Refusal> {
        let reference = reference(self.said.find(header.builds_on).ok_or(Refusal::Unfit)?);
        // Each slice that is decoded holds all versions, so only some are at a time.
        let some = slices.len().isqrt().max(1);
        let joined = slices.chunks(some).map(|some| {
            let decoded = some.iter().map(|slice| decode_slice(slice, &reference));
            Delta::concat(decoded.collect::<Result<_, _>>()?).ok_or(Refusal::Unfit)
        });
        Delta::concat(joined.collect::<Result<_, _>>()?).ok_or(Refusal::Unfit)
    }

    /// What was staged, with what has changed since and what follows. Of the latter something must be there.
    fn resume(
        &self,
        staged: Staged,
        header: &Header,
        slices: &[&[u8]],
        receiver: &Version,
    ) -> Result<Delta, Refusal> {
        let changes = usize::try_from(header.changes).ok().filter(|changes| *changes < slices.len());
        let (changes, rest) = slices.split_at(changes.ok_or(Refusal::Unfit)?);
        let (changes, rest) = (self.decode(header, changes)?, self.decode(header, rest)?);
        Delta::resume(staged.delta, &changes, rest, receiver).ok_or(Refusal::Unfit)
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

    fn merge(&mut self, replica: &mut Replica<T>, delta: Delta) -> Result<(), Refusal> {
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

    fn repair(&mut self, replica: &mut Replica<T>, theirs: &Delta) -> Result<(), Refusal> {
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
            Err(_) => Err(Refusal::Unfit),
        }
    }

    /// What has come of a delta before the connection broke, for the next session to go on from. None if it was too little,
    /// or cannot be gone on from.
    pub fn into_staged(self) -> Option<Box<Staged>> {
        let partial = self.incoming.as_ref().and_then(|incoming| {
            let (header, slices) = stream::read(incoming.bytes(), false).ok()?;
            Staged::new(match header.form {
                StreamForm::Whole => self.decode(&header, &slices).ok()?,
                StreamForm::Resumed => {
                    let staged = self.options.staged.as_deref()?.clone();
                    self.resume(staged, &header, &slices, self.said.last()?.point.standing.version()).ok()?
                }
                StreamForm::Repair | StreamForm::Reconciled(_) => return None,
            })
        });
        partial.map(Box::new).or(self.options.staged)
    }
}
