//! A reconciliation within a session.
//!
//! Both sides may write while it runs, so it builds on nothing that later writes replace:
//!
//! 1. The first turn carries the standing of the side that begins, and names the announcement of the other side that it means.
//!    Both sides begin their machines from these two standings, however many announcements have followed.
//! 2. Each side keeps the dots that were alive when its machine began. What has died since, even if its tombstones were pruned, is
//!    named in the delta at the end ([`Replica::reconcile_moved`]). So each round that ends has a delta.
//! 3. The dead dots of the last few rounds are remembered, so a stream that was cut by one of them is still understood after
//!    the next has begun.
//!
//! **Durability.** The row that is compared is of standings that were announced, so of durable ones; the dots that are looked up in
//! it are those alive now. So the peer may learn that a dot is dead here though its removal is not durable. It must not count that
//! as seen, and it does not. The difference serves two deltas:
//!
//! - ours for the peer, which leaves that dot out of its list because both know it. It is sent once all that it holds is durable;
//! - the peer's for us, which does not list the dot as dead, since it is not alive here. We merge that delta after the removal.
//!   If we crash and come back without the removal, we come back without the delta too, and the acknowledgement of it was
//!   never sent: what is durable is a state of the past, and it holds either both or not the delta.
//!
//! So neither the side that begins nor the side that answers waits for durability.

use crate::kernel::{Crdt, DotSet};
use crate::replica::Replica;
use crate::sync::reconcile::{Difference, Reconciling, Step, Turn};
use crate::sync::session::frame::{MAX_FRAME_LEN, Says, Told};
use crate::sync::session::machine::Session;
use crate::sync::session::report::SessionError;
use crate::sync::session::retry::{Awaited, Reaction};
use crate::sync::session::stream::RoundName;
use crate::sync::session::telling::{Announced, Point};

/// How often we ask how a reconciliation of the peer's goes on, before we take it for given up.
const MAX_ASKED: u32 = 3;

/// The longest turn: in a frame there is room for a standing beside it.
const MAX_TURN_LEN: usize = MAX_FRAME_LEN / 2 - 1024;

/// Reconciliations whose end is remembered, for streams of the peer that are cut by them.
const MAX_RECONCILED: usize = 4;

/// One reconciliation, from our side.
pub(super) struct Round {
    pub(super) name: RoundName,
    machine: Reconciling,
    /// Dots that were alive here when it began.
    pub(super) live: DotSet,
    /// What we have said last, and its place.
    last: Option<(u64, Vec<u8>)>,
    /// Our standing and the peer's announcement that the first turn builds on, while that is our last turn.
    builds_on: Option<(Told, u64)>,
    /// What it came to.
    pub(super) difference: Option<Difference>,
    /// Whether a delta for the peer can still be made of it.
    pub(super) is_fresh: bool,
}

impl Round {
    fn new(name: RoundName, machine: Reconciling, live: DotSet) -> Self {
        Self { name, machine, live, last: None, builds_on: None, difference: None, is_fresh: true }
    }

    /// What we have said last, to be said, or said again.
    pub(super) fn frame(&self) -> Option<Says<'_>> {
        let (place, turn) = self.last.as_ref()?;
        let RoundName { number, begun_by_us } = self.name;
        let builds_on = self.builds_on.clone().map(Box::new);
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
        // The two must agree where both stand: so the first turn says it.
        let ours = Told { resume: None, ..self.told(point, false)? };
        self.rounds += 1;
        let (number, nonce) = (self.rounds, self.random(self.rounds));
        let (live, theirs) = (replica.live_dots(), heard.point.standing.version());
        match Reconciling::ask(&live, point.standing.version(), theirs, nonce) {
            Ok((machine, turn)) => {
                let round = Round::new(RoundName { number, begun_by_us: true }, machine, live);
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
        builds_on: Option<&(Told, u64)>,
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
            (true, 0, Some(builds_on)) => self.answer_round(replica, number, &turn, builds_on),
            _ => {
                // One that we have given up.
                self.due.need |= begun_by_sender && self.peer.as_ref().is_some_and(|peer| peer.round == number);
                Ok(false)
            }
        }
    }

    fn answer_round(
        &mut self,
        replica: &Replica<T>,
        number: u64,
        first: &Turn,
        (told, ours): &(Told, u64),
    ) -> Result<bool, SessionError> {
        let Some(peer) = &self.peer else { return Ok(false) };
        if number <= peer.round || !self.pace.allows(Reaction::Round, self.now) {
            return Ok(false);
        }
        // Of two that were begun at once, one is enough.
        let begun_by_us = |round: &Round| round.name.begun_by_us && round.is_under_way();
        if self.round.as_ref().is_some_and(begun_by_us) && self.nonce < peer.nonce {
            return Ok(false);
        }
        // The turn tells both where the peer stands and which of our announcements it means, so neither has to be the latest.
        let theirs = self.resolve(&told.form);
        let ours = self.said.find(*ours).and_then(|ours| replica.version().resolve(ours.version()));
        let (Some(theirs), Some(ours)) = (theirs, ours) else {
            (self.due.need, self.due.announce) = (true, true);
            return Ok(false);
        };
        self.hear(told);
        let live = replica.live_dots();
        match (Reconciling::answer(&live, &ours, theirs.version(), first), &mut self.peer) {
            (Ok((machine, step)), Some(peer)) => {
                peer.round = number;
                self.round = Some(Round::new(RoundName { number, begun_by_us: false }, machine, live));
                self.step(1, step);
                Ok(true)
            }
            _ => {
                (self.due.need, self.due.announce) = (true, true);
                Ok(false)
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
                if self.reconciled.len() == MAX_RECONCILED {
                    self.reconciled.pop_front();
                }
                self.reconciled.push_back((round.name, difference.only_here().clone()));
                round.difference = Some(difference);
                self.failed_rounds = 0;
                self.counters.reconciliations += 1;
                last
            }
        };
        round.last = turn.map(|turn| (place, turn.to_bytes()));
        self.due.turn = round.last.is_some();
        if round.last.as_ref().is_some_and(|(_, turn)| turn.len() > MAX_TURN_LEN) {
            (self.round, self.failed_rounds, self.due.turn) = (None, u32::MAX, false);
        }
    }
}
