//! What the peer lacks, and the cheapest way to it.

use crate::kernel::{Crdt, Delta};
use crate::replica::Replica;
use crate::sync::session::machine::{Peer, Session};
use crate::sync::session::outgoing::Outgoing;
use crate::sync::session::report::SessionError;
use crate::sync::session::stream::{Header, StreamForm};
use crate::sync::session::telling::{Announced, Point};

/// A state of so few live siblings goes as a whole sooner than the peer is asked what it holds: that takes some 300 bytes and
/// two round trips.
const SMALL: usize = 16;

/// How many reconciliations may come to nothing before everything is sent instead.
const MAX_FAILED_ROUNDS: u32 = 3;

/// How many times two are repaired in a session before something else must be wrong.
const MAX_REPAIRS: u64 = 8;

enum Cut {
    Delta(Delta),
    /// Whose place in time is not that of our state: `pruned` says more.
    Complete(Delta),
    /// What has changed since a stream that broke off, and the rest.
    Resumed(Box<(Delta, Delta)>),
    Reconcile,
}

impl<T: Crdt> Session<T> {
    /// Begins whatever brings the peer up with us, unless something is under way.
    pub(super) fn begin(&mut self, replica: &Replica<T>, point: &Point) -> Result<(), SessionError> {
        let Some(heard) = self.peer.as_ref().and_then(|peer| peer.heard.clone()) else { return Ok(()) };
        // Nothing leaves that is not durable, and a delta holds all that there is.
        if self.outgoing.is_some() || *point != Point::of(replica) {
            return Ok(());
        }
        if heard.point.standing.version().includes(point.standing.version()) {
            let contradicts = heard.point.standing.version() == point.standing.version()
                && heard.point.fingerprint != point.fingerprint;
            if contradicts {
                return self.begin_repair(replica, &heard, point);
            }
            self.offer = None;
            return Ok(());
        }
        self.offer = None;
        match self.cut(replica, &heard) {
            Cut::Delta(delta) => self.begin_stream(StreamForm::Whole, &heard, Some(point), None, &delta),
            Cut::Complete(delta) => self.begin_stream(StreamForm::Whole, &heard, None, None, &delta),
            Cut::Resumed(both) => {
                let (changes, rest) = &*both;
                self.begin_stream(StreamForm::Resumed, &heard, Some(point), Some(changes), rest)
            }
            Cut::Reconcile => self.begin_round(replica, &heard, point),
        }
    }

    /// The cheapest of what is possible.
    fn cut(&mut self, replica: &Replica<T>, heard: &Announced) -> Cut {
        let resume = self.peer.as_mut().and_then(|peer: &mut Peer| peer.resume.take());
        if let Some((since, upto, last)) = resume
            && let Some(both) = replica.delta_since_beyond(&since, &upto, last)
        {
            return Cut::Resumed(Box::new(both));
        }
        let live = replica.state().state().live_len();
        match replica.delta_since(heard.point.standing.version()) {
            // Mostly tombstones: what is alive is less, and says as much.
            Ok(delta) if delta.siblings() > 2 * live + SMALL => Cut::Complete(replica.complete()),
            Ok(delta) => Cut::Delta(delta),
            Err(_) => match self.difference.take().map(|difference| replica.reconcile_difference(&difference)) {
                Some(Ok(delta)) => Cut::Delta(delta),
                _ if live <= SMALL || self.failed_rounds >= MAX_FAILED_ROUNDS => Cut::Complete(replica.complete()),
                _ => Cut::Reconcile,
            },
        }
    }

    /// Both sides send everything, and each keeps what neither contradicts.
    fn begin_repair(&mut self, replica: &Replica<T>, heard: &Announced, point: &Point) -> Result<(), SessionError> {
        // Until the peer has heard where we stand, it cannot know that there is something to repair.
        if !self.options.repair || self.counters.repairs >= MAX_REPAIRS {
            return Err(SessionError::Contradiction);
        }
        let offer = (point.clone(), self.counters.repairs);
        if self.offer.as_ref() == Some(&offer) {
            // The peer has what we hold. Now it has to be our turn.
            return Ok(());
        }
        self.offer = Some(offer);
        self.due.announce |= !self.said.is(point);
        self.begin_stream(StreamForm::Repair, heard, None, None, &replica.complete())
    }

    fn begin_stream(
        &mut self,
        form: StreamForm,
        heard: &Announced,
        tells: Option<&Point>,
        changes: Option<&Delta>,
        delta: &Delta,
    ) -> Result<(), SessionError> {
        let told = tells.map_or(0, |point| self.said.number(point));
        let fingerprint = tells.map(|point| point.fingerprint).unwrap_or_default();
        self.streams += 1;
        let header = Header { form, builds_on: heard.number, told, fingerprint, changes: 0 };
        let outgoing = Outgoing::new(self.streams, &header, changes, delta, &heard.point.standing);
        let limit = self.peer.as_ref().map_or(0, |peer| peer.staging_limit);
        if outgoing.len() > limit {
            return Err(SessionError::PeerStagingLimit { len: outgoing.len(), limit });
        }
        // What does not say where we stand leaves that to an announcement.
        self.due.announce |= tells.is_none();
        self.outgoing = Some(outgoing);
        Ok(())
    }
}
