//! What the peer lacks, and the cheapest way to it.

use crate::kernel::{Crdt, Delta, DeltaKind, DotSet};
use crate::replica::Replica;
use crate::sync::session::machine::Session;
use crate::sync::session::outgoing::Outgoing;
use crate::sync::session::report::SessionError;
use crate::sync::session::stream::{Header, RoundName, StreamForm};
use crate::sync::session::telling::{Announced, Checkpoint, Point};

/// A state of so few live siblings goes as a whole sooner than the peer is asked what it holds: that takes some 300 bytes and
/// two round trips.
const SMALL: usize = 16;

/// How many reconciliations may come to nothing before everything is sent instead.
const MAX_FAILED_ROUNDS: u32 = 3;

/// How many times two are repaired in a session before something else must be wrong.
const MAX_REPAIRS: u64 = 8;

pub(super) enum Cut {
    Delta(Delta),
    /// It says that more was pruned than we have pruned, so it does not tell where we stand.
    Complete(Delta),
    /// The changes since a stream that broke off, and its rest.
    Resumed(Box<(Delta, Delta)>),
    /// Without the dead dots that the peer knows from this reconciliation.
    Reconciled(RoundName, Delta),
    Reconcile,
}

/// A delta that holds what is not durable yet.
pub(super) struct Withheld {
    cut: Cut,
    /// The moment of the cut.
    at: Checkpoint,
}

impl<T: Crdt> Session<T> {
    /// Begins whatever brings the peer up with us, unless something is under way.
    ///
    /// If only what is durable may leave, and more was written, the delta is cut now and withheld until a later checkpoint is
    /// durable. To wait for a moment at which everything is durable could mean to wait for ever.
    pub(super) fn begin(&mut self, replica: &Replica<T>, point: &Point) -> Result<(), SessionError> {
        let Some(heard) = self.peer.as_ref().and_then(|peer| peer.heard.clone()) else { return Ok(()) };
        let held = self.hold.is_some_and(|hold| self.now < hold);
        if held || self.outgoing.is_some() {
            return Ok(());
        }
        if let Some(withheld) = self.withheld.take() {
            if self.persisted.as_ref().is_some_and(|persisted| !persisted.holds(&withheld.at)) {
                self.withheld = Some(withheld);
                return Ok(());
            }
            if !heard.point.standing.version().includes(withheld.at.point.standing.version()) {
                return self.send(withheld.cut, &heard, &withheld.at.point);
            }
        }
        let now = Point::of(replica);
        let (is_durable, theirs) = (*point == now, heard.point.standing.version());
        if theirs.includes(now.standing.version()) {
            // Versions that include each other are equal, unless the two know other births of one writer.
            if theirs != now.standing.version() && now.standing.version().includes(theirs) {
                return Err(SessionError::Contradiction);
            }
            if !is_durable {
                return Ok(());
            }
            if theirs == point.standing.version() && heard.point.fingerprint != point.fingerprint {
                return self.begin_repair(replica, &heard, point);
            }
            self.offer = None;
            return Ok(());
        }
        self.offer = None;
        match self.cut(replica, &heard) {
            Cut::Reconcile => self.begin_round(replica, &heard, point),
            cut if is_durable => self.send(cut, &heard, point),
            cut => {
                self.withheld = Some(Withheld { cut, at: Checkpoint::of(replica) });
                Ok(())
            }
        }
    }

    /// Sends what was cut when we stood here.
    fn send(&mut self, cut: Cut, heard: &Announced, point: &Point) -> Result<(), SessionError> {
        // While it was withheld a later standing may have been announced: then it must not count as the latest.
        let is_latest = point.standing.version().includes(self.said.last().point.standing.version());
        let tells = Some(point).filter(|_| is_latest);
        match cut {
            Cut::Delta(delta) => self.begin_stream(StreamForm::Whole, heard, tells, None, &delta),
            Cut::Complete(delta) => self.begin_stream(StreamForm::Whole, heard, None, None, &delta),
            Cut::Resumed(both) => {
                let (changes, rest) = &*both;
                // A complete delta counts more as pruned than we have pruned: see `Cut::Complete`.
                let tells = tells.filter(|_| *rest.kind() != DeltaKind::Complete);
                self.begin_stream(StreamForm::Resumed, heard, tells, Some(changes), rest)
            }
            Cut::Reconciled(round, delta) => {
                self.begin_stream(StreamForm::Reconciled(round), heard, tells, None, &delta)
            }
            // A reconciliation begins at once.
            Cut::Reconcile => Ok(()),
        }
    }

    /// The cheapest of what is possible.
    fn cut(&mut self, replica: &Replica<T>, heard: &Announced) -> Cut {
        if let Some(both) = self.go_on_with_broken(replica, false) {
            return Cut::Resumed(Box::new(both));
        }
        let live = replica.state().state().live_len();
        match replica.delta_since(heard.point.standing.version()) {
            // Mostly tombstones: what is alive is less, and says as much.
            Ok(delta) if delta.siblings() > 2 * live + SMALL => Cut::Complete(replica.complete()),
            Ok(delta) => Cut::Delta(delta),
            Err(_) => match self.cut_reconciled(replica) {
                Some(cut) => cut,
                None if live <= SMALL || self.failed_rounds >= MAX_FAILED_ROUNDS => Cut::Complete(replica.complete()),
                None => Cut::Reconcile,
            },
        }
    }

    /// The changes since the stream that broke off, and its rest; `None` if there is none of this purpose, or it cannot be gone
    /// on with.
    fn go_on_with_broken(&mut self, replica: &Replica<T>, is_repair: bool) -> Option<(Delta, Delta)> {
        let (broken, was_repair) = self.peer.as_mut()?.resume.take()?;
        // A repair compares contents of one version, so it goes on only where nothing was written.
        let fits = was_repair == is_repair && (!is_repair || broken.upto == *replica.version());
        replica.delta_since_beyond(&broken).filter(|_| fits)
    }

    /// By the last reconciliation, if that is of use.
    fn cut_reconciled(&mut self, replica: &Replica<T>) -> Option<Cut> {
        let round = self.round.as_mut().filter(|round| round.is_fresh)?;
        let difference = round.difference.as_ref()?;
        round.is_fresh = false;
        let delta = replica.reconcile_moved(difference, &round.live);
        let unknown: DotSet = match delta.kind() {
            DeltaKind::Reconciled { dead, .. } => {
                dead.iter().filter(|dot| !difference.only_there().contains(*dot)).collect()
            }
            _ => DotSet::new(),
        };
        Some(Cut::Reconciled(round.name, delta.with_dead(unknown)))
    }

    /// Both sides send everything, and each keeps what neither contradicts.
    fn begin_repair(&mut self, replica: &Replica<T>, heard: &Announced, point: &Point) -> Result<(), SessionError> {
        if !self.options.repair || self.counters.repairs >= MAX_REPAIRS {
            return Err(SessionError::Contradiction);
        }
        let offer = (point.clone(), self.counters.repairs);
        if self.offer.as_ref() == Some(&offer) {
            // The peer has what we hold. Now it has to be our turn.
            return Ok(());
        }
        self.offer = Some(offer);
        if let Some((changes, rest)) = self.go_on_with_broken(replica, true) {
            return self.begin_stream(StreamForm::Resumed, heard, None, Some(&changes), &rest);
        }
        self.begin_stream(StreamForm::Repair, heard, None, None, &replica.complete_with_tombstones())
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
        let peer = self.peer.as_ref();
        let (limit, reads_compressed) = peer.map_or((0, false), |peer| (peer.staging_limit, peer.reads_compressed));
        let is_compressed = self.options.compression && reads_compressed;
        let outgoing = Outgoing::new(self.streams, &header, changes, delta, (&heard.point.standing, is_compressed));
        let len = outgoing.plain_len();
        if len > limit {
            return Err(SessionError::PeerStagingLimit { len, limit });
        }
        // What does not say where we stand leaves that to an announcement.
        self.due.announce |= tells.is_none();
        self.outgoing = Some(outgoing);
        Ok(())
    }
}
