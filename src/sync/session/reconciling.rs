//! A reconciliation within a session.

use crate::kernel::Crdt;
use crate::replica::Replica;
use crate::sync::reconcile::{Difference, Reconciling, Step, Turn};
use crate::sync::session::frame::{MAX_FRAME_LEN, Says};
use crate::sync::session::machine::Session;
use crate::sync::session::report::SessionError;
use crate::sync::session::retry::{Awaited, Reaction};
use crate::sync::session::stream::RoundName;
use crate::sync::session::telling::{Announced, Point};

/// How often we ask how a reconciliation of the peer's goes on, before we take it for given up.
const MAX_ASKED: u32 = 3;

/// One reconciliation, from our side.
pub(super) struct Round {
    pub(super) name: RoundName,
    machine: Reconciling,
    /// What we have said last, and its place.
    last: Option<(u64, Vec<u8>)>,
    /// The announcements that the first turn builds on, ours first, while that is what we have said last.
    builds_on: Option<(u64, u64)>,
    /// What it came to.
    pub(super) difference: Option<Difference>,
    /// Whether a delta for the peer can still be made of it.
    pub(super) is_fresh: bool,
}

impl Round {
    fn new(name: RoundName, machine: Reconciling) -> Self {
        Self { name, machine, last: None, builds_on: None, difference: None, is_fresh: true }
    }

    /// What we have said last, to be said, or said again.
    pub(super) fn frame(&self) -> Option<Says<'_>> {
        let (place, turn) = self.last.as_ref()?;
        let Self { name: RoundName { number, begun_by_us }, builds_on, .. } = *self;
        Some(Says::Turn { round: number, begun_by_sender: begun_by_us, place: *place, builds_on, turn })
    }

    /// Whether the peer has to say something.
    pub(super) fn is_under_way(&self) -> bool {
        self.difference.is_none()
    }
}

impl<T: Crdt> Session<T> {
    /// Finds out together with the peer what is alive on one side only.
    pub(super) fn begin_round(
        &mut self,
        replica: &Replica<T>,
        heard: &Announced,
        point: &Point,
    ) -> Result<(), SessionError> {
        // One that the peer has begun tells us as much.
        if self.round.as_ref().is_some_and(Round::is_under_way) {
            return Ok(());
        }
        // The two must agree where both stand.
        self.due.announce |= !self.said.is(point);
        let ours = self.said.number(point);
        self.rounds += 1;
        let (number, nonce) = (self.rounds, self.random(self.rounds));
        let (live, theirs) = (replica.live_dots(), heard.point.standing.version());
        match Reconciling::ask(&live, point.standing.version(), theirs, nonce) {
            Ok((machine, turn)) => {
                let round = Round::new(RoundName { number, begun_by_us: true }, machine);
                let (last, builds_on) = (Some((0, turn.to_bytes())), Some((ours, heard.number)));
                self.round = Some(Round { last, builds_on, ..round });
                self.due.turn = true;
            }
            // Too many writes for any history: everything will be sent.
            Err(_) => self.failed_rounds = u32::MAX,
        }
        Ok(())
    }

    /// Takes a turn of the peer's. Returns whether it was of use.
    pub(super) fn take_turn(
        &mut self,
        replica: &Replica<T>,
        (begun_by_sender, number, place): (bool, u64, u64),
        builds_on: Option<(u64, u64)>,
        turn: &[u8],
    ) -> Result<bool, SessionError> {
        let Ok(turn) = Turn::from_bytes(turn) else {
            return self.nonsense().map(|()| false);
        };
        let name = RoundName { number, begun_by_us: !begun_by_sender };
        if self.round.as_ref().is_some_and(|round| round.name == name) {
            return Ok(self.go_on(place, &turn));
        }
        match (begun_by_sender, place, builds_on) {
            (true, 0, Some((theirs, ours))) => Ok(self.answer_round(replica, number, &turn, (theirs, ours))),
            _ => {
                // One that we have given up.
                self.due.need |= begun_by_sender && self.peer.as_ref().is_some_and(|peer| peer.round == number);
                Ok(false)
            }
        }
    }

    fn answer_round(&mut self, replica: &Replica<T>, number: u64, first: &Turn, builds_on: (u64, u64)) -> bool {
        let Some(peer) = &mut self.peer else { return false };
        if number <= peer.round || !self.pace.allows(Reaction::Round, self.now) {
            return false;
        }
        // Of two that were begun at once, one is enough.
        let ours = |round: &Round| round.name.begun_by_us && round.is_under_way();
        if self.round.as_ref().is_some_and(ours) && self.nonce < peer.nonce {
            return false;
        }
        let heard = peer.heard.as_ref().filter(|heard| heard.number == builds_on.0);
        let (Some(heard), Some(ours)) = (heard, self.said.find(builds_on.1)) else {
            (self.due.need, self.due.announce) = (true, true);
            return false;
        };
        let (live, theirs) = (replica.live_dots(), heard.point.standing.version());
        match Reconciling::answer(&live, ours.version(), theirs, first) {
            Ok((machine, step)) => {
                peer.round = number;
                self.round = Some(Round::new(RoundName { number, begun_by_us: false }, machine));
                self.step(1, step);
                true
            }
            Err(_) => {
                (self.due.need, self.due.announce) = (true, true);
                false
            }
        }
    }

    fn go_on(&mut self, place: u64, turn: &Turn) -> bool {
        let Some(round) = &mut self.round else { return false };
        let said = round.last.as_ref().map_or(0, |(place, _)| *place);
        if place != said + 1 || round.difference.is_some() {
            // What we have said last did not get there, if this came before.
            self.due.turn |= place < said + 1 && round.last.is_some();
            return false;
        }
        match round.machine.handle(turn) {
            Ok(step) => {
                self.step(place + 1, step);
                true
            }
            Err(_) => {
                // Somebody has misunderstood: from the beginning, or everything instead.
                (self.round, self.failed_rounds) = (None, self.failed_rounds.saturating_add(1));
                (self.due.need, self.due.announce) = (true, true);
                false
            }
        }
    }

    /// Says again what was said last, if somebody has to go on.
    pub(super) fn nudge_round(&mut self) {
        let repeated = self.timers.repeated(Awaited::Turn);
        let given_up = |round: &Round| !round.name.begun_by_us && round.is_under_way() && repeated > MAX_ASKED;
        if self.round.as_ref().is_some_and(given_up) {
            self.round = None;
        }
        self.due.turn |= self.round.as_ref().is_some_and(Round::is_under_way);
    }

    fn step(&mut self, place: u64, step: Step) {
        let Some(round) = &mut self.round else { return };
        round.builds_on = None;
        let turn = match step {
            Step::Say(turn) => Some(turn),
            Step::Done { difference, last } => {
                round.difference = Some(difference);
                self.failed_rounds = 0;
                self.counters.reconciliations += 1;
                last
            }
        };
        round.last = turn.map(|turn| (place, turn.to_bytes()));
        self.due.turn = round.last.is_some();
        if round.last.as_ref().is_some_and(|(_, turn)| turn.len() > MAX_FRAME_LEN / 2) {
            (self.round, self.failed_rounds, self.due.turn) = (None, u32::MAX, false);
        }
    }
}
