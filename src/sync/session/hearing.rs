//! What each frame of the peer's does.

use crate::bugs::{Bug, is};
use crate::kernel::Crdt;
use crate::sync::replicated::Replicated;
use crate::sync::session::frame::{Form, Frame, Hello, Parting, READS_COMPRESSED, Says};
use crate::sync::session::machine::{Peer, Session, pair};
use crate::sync::session::report::{Event, SessionError};
use crate::sync::session::retry::{Awaited, Reaction};

/// How many frames in a row may make no sense: damage comes in bursts, but not for ever.
const MAX_NONSENSE: u32 = 64;

/// Number of earlier sessions of the peer that are told apart.
const MAX_EARLIER: usize = 16;

impl<T: Crdt> Session<T> {
    /// Returns whether the frame was of use.
    pub(super) fn handle(&mut self, replica: &mut dyn Replicated<T>, frame: &Frame<'_>) -> Result<bool, SessionError> {
        if let Says::Hello(hello) = &frame.says {
            let to_us = frame.to == Some(pair(self.nonce, hello.nonce));
            return self.meet(hello, to_us, frame.to.is_some() && !to_us);
        }
        if let Says::Bye { nonce, parting } = &frame.says {
            // It may be refused for our hello, and its own may be lost.
            let from_peer = self.peer.as_ref().is_none_or(|peer| peer.nonce == *nonce);
            return match from_peer && frame.to == Some(pair(self.nonce, *nonce)) {
                true => self.part(parting).map(|()| true),
                false => {
                    self.counters.stale += 1;
                    Ok(false)
                }
            };
        }
        // Before the peer's hello, which will come again, its session cannot be told from an earlier one.
        let is_from = |peer: &Peer| frame.to == Some(pair(self.nonce, peer.nonce)) || is(Bug::EarlierSessionHeard);
        let from = self.peer.as_mut().filter(|peer| is_from(peer));
        let Some(peer) = from else {
            self.counters.stale += 1;
            return Ok(false);
        };
        let newly_met = !std::mem::replace(&mut peer.knows_us, true);
        self.doubtful = None;
        self.timers.heard(self.now);
        let useful = match &frame.says {
            Says::Announce { merged, told } => {
                let arrived = self.outgoing.take_if(|outgoing| *merged >= outgoing.number);
                let acknowledged = arrived.is_some();
                self.counters.deltas_sent += u64::from(acknowledged);
                if let (Some(peer), Some(outgoing)) = (&mut self.peer, arrived) {
                    // A delta that was not sent whole cannot have been merged.
                    if outgoing.is_sent() {
                        peer.has = outgoing.upto.heads().to_vec();
                    }
                    self.timers.progress(Awaited::Acknowledgement);
                }
                let heard = self.hear(told);
                self.tell_acknowledged();
                heard || acknowledged
            }
            Says::Need => {
                self.due.announce |= self.pace.allows(Reaction::Announce, self.now);
                // It could not use what was sent: it may have less than it seemed to have acknowledged.
                self.peer.iter_mut().for_each(|peer| peer.has.clear());
                if self.pace.allows(Reaction::Restart, self.now) {
                    self.due.again = self.outgoing.is_some() || self.round.is_some() || self.offer.is_some();
                    (self.outgoing, self.withheld, self.round, self.offer) = (None, None, None, None);
                }
                false
            }
            Says::Part { stream, total, offset, bytes } => self.receive(replica, *stream, *total, (*offset, bytes))?,
            Says::Ask { stream, have, again } => {
                let outgoing = self.outgoing.as_mut().filter(|outgoing| outgoing.number == *stream);
                self.due.gone = outgoing.is_none().then_some(*stream);
                let again = *again && self.pace.allows(Reaction::Again, self.now);
                let progress = outgoing.is_some_and(|outgoing| outgoing.ask(*have, again));
                if progress {
                    self.timers.progress(Awaited::Acknowledgement);
                }
                progress
            }
            Says::Gone { stream } => self.incoming.take_if(|incoming| incoming.number == *stream).is_some(),
            Says::Turn { round, begun_by_sender, place, builds_on, turn } => {
                let progress =
                    self.take_turn(replica.replica(), (*begun_by_sender, *round, *place), builds_on.as_deref(), turn)?;
                if progress {
                    self.timers.progress(Awaited::Turn);
                }
                progress
            }
            Says::Hello(_) | Says::Bye { .. } => false,
        };
        self.counters.stale += u64::from(!useful && frame.says != Says::Need);
        Ok(useful || newly_met)
    }

    fn meet(&mut self, hello: &Hello, to_us: bool, to_another: bool) -> Result<bool, SessionError> {
        let theirs = (hello.oldest, hello.newest);
        if hello.nonce == self.nonce {
            return Err(SessionError::Myself);
        }
        let is_known = self.peer.as_ref().is_some_and(|peer| peer.nonce == hello.nonce);
        let is_first = self.peer.is_none();
        if !is_known && self.earlier.contains(&hello.nonce) {
            self.counters.stale += 1;
            return Ok(false);
        }
        // A hello without our nonce comes from a session that has begun anew, or comes late from one that we never knew. So ask
        // the peer that we know. A session that has begun anew answers with our nonce, or says hello once more.
        let is_doubtful = !is_known && !to_us && self.peer.as_ref().is_some_and(|peer| peer.knows_us);
        if is_doubtful && self.doubtful != Some(hello.nonce) {
            self.doubtful = Some(hello.nonce);
            self.due.hello |= self.pace.allows(Reaction::Hello, self.now);
            return Ok(false);
        }
        if !is_known {
            if let Some(peer) = &self.peer {
                self.earlier.push_back(peer.nonce);
                if self.earlier.len() > MAX_EARLIER {
                    self.earlier.pop_front();
                }
            }
            // Another session of the peer's, or the first: nothing that was said before holds.
            self.doubtful = None;
            self.hold = self.peer.as_ref().map(|_| self.now.saturating_add(self.pace.interval()));
            self.peer = Some(Peer {
                nonce: hello.nonce,
                device: hello.device.clone(),
                staging_limit: 1u64.checked_shl(hello.staging_limit.into()).unwrap_or(u64::MAX),
                reads_compressed: hello.abilities & READS_COMPRESSED != 0,
                knows_us: false,
                heard: None,
                has: Vec::new(),
                unresolved: 0,
                resume: None,
                round: 0,
                merged: 0,
                durable: 0,
                acknowledged: 0,
            });
            (self.outgoing, self.withheld, self.incoming) = (None, None, None);
            (self.round, self.offer, self.due.arrived) = (None, None, None);
            self.timers.reset();
            self.reconciled.clear();
            self.undurable = None;
            let ours = Self::PROTOCOLS;
            if theirs.0 > ours.1 || theirs.1 < ours.0 {
                return Err(SessionError::Protocol { ours, theirs });
            }
            if hello.schema != Self::schema_digest() {
                return Err(SessionError::Schema { ours: T::SCHEMA, theirs: None });
            }
            self.tell(Event::Met { device: hello.device.clone() });
        }
        if to_us {
            self.timers.heard(self.now);
            self.doubtful = None;
        }
        // The peer takes us for an earlier session of ours, so tell it our nonce.
        self.due.hello |= is_first && to_another && self.pace.allows(Reaction::Hello, self.now);
        // A hello for an earlier session of ours builds on what was announced there.
        let is_for_another = !to_us && matches!(hello.told.form, Form::FromAnnounced(..));
        self.due.need |= is_for_another;
        let heard = !is_for_another && self.hear(&hello.told);
        if let Some(peer) = &mut self.peer {
            // Who says hello again waits for a sign that we have heard it, and who has begun anew has not heard ours.
            match to_us {
                true => self.due.announce |= is_known && self.pace.allows(Reaction::Announce, self.now),
                false => self.due.hello |= !is_first && self.pace.allows(Reaction::Hello, self.now),
            }
            peer.knows_us |= to_us;
        }
        Ok(heard || !is_known)
    }

    fn part(&mut self, parting: &Parting) -> Result<(), SessionError> {
        match parting {
            Parting::Done => {
                self.end = Some(Ok(()));
                self.tell(Event::Left);
                Ok(())
            }
            Parting::Schema(name) => Err(SessionError::Schema { ours: T::SCHEMA, theirs: Some(name.clone()) }),
            Parting::Protocol { oldest, newest } => {
                Err(SessionError::Protocol { ours: Self::PROTOCOLS, theirs: (*oldest, *newest) })
            }
            other => Err(SessionError::Left(other.clone())),
        }
    }

    /// A frame that makes no sense. Too many in a row are the end.
    pub(super) fn nonsense(&mut self) -> Result<(), SessionError> {
        self.counters.errors += 1;
        self.nonsense += 1;
        match self.nonsense > MAX_NONSENSE {
            true => Err(SessionError::Nonsense(self.nonsense)),
            false => Ok(()),
        }
    }
}
