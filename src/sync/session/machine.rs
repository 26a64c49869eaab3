//! The state machine.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

use crate::id::Dot;
use crate::kernel::{Broken, Crdt, DotSet, MergeError};
use crate::replica::Replica;
use crate::sync::device::DeviceName;
use crate::sync::replicated::Replicated;
use crate::sync::session::frame::{Frame, Parting, Says};
use crate::sync::session::incoming::Incoming;
use crate::sync::session::options::Options;
use crate::sync::session::outgoing::Outgoing;
use crate::sync::session::reconciling::Round;
use crate::sync::session::report::{Counters, Event, Progress, SessionError};
use crate::sync::session::retry::{Awaited, Due, Pace, Timers};
use crate::sync::session::sending::Withheld;
use crate::sync::session::stream::RoundName;
use crate::sync::session::telling::{Announced, Checkpoint, Point, Said};

/// Two replicas of one value getting equal, and staying so: one end of a conversation with one peer.
///
/// A pure state machine: no I/O, no clock, no threads. Bytes of frames come in by [`handle_frame`](Self::handle_frame) and go out by
/// [`poll_frame`](Self::poll_frame); what happens is told by [`poll_event`](Self::poll_event); time is passed in, as the time since any
/// moment that does not change. Frames may be lost, come twice, late or damaged: that costs time, never data. The replica
/// stays the app's: whatever is written to it, or merged from elsewhere, between two calls is picked up by the next.
///
/// After each call that hands something in, and when [`poll_timeout`](Self::poll_timeout) has come, send all that `poll_frame` returns
/// until there is nothing more, and take all events.
///
/// Both sides say hello at once; none is client or server. All that is known of the peer comes from what it has said in this
/// session, and can be thrown away: the next session begins where the replicas stand.
///
/// [`blocking`](crate::sync::blocking) and [`in_memory`](crate::sync::in_memory) do all this for the usual cases. How to
/// [end a session](crate::sync#ending-a-session), and how to run one in [async code](crate::sync#async-code), is told in
/// [`sync`](crate::sync).
///
/// ```
/// use std::time::Duration;
/// use driftless::sync::{Options, Session};
/// use driftless::{Graph, Replica};
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// laptop.edit(|g| g.add_node("person:ada"))?;
///
/// let mut on_laptop = Session::new(&laptop, Options::new(), *b"drawn at random!");
/// let mut on_phone = Session::new(&phone, Options::new(), *b"and another one.");
/// let now = Duration::ZERO; // since any moment
/// while !(on_laptop.is_equal(&laptop) && on_phone.is_equal(&phone)) {
///     while let Some(frame) = on_laptop.poll_frame(&laptop, now)? {
///         on_phone.handle_frame(&mut phone, &frame, now)?; // over any channel
///     }
///     while let Some(frame) = on_phone.poll_frame(&phone, now)? {
///         on_laptop.handle_frame(&mut laptop, &frame, now)?;
///     }
/// }
/// assert_eq!(laptop.state(), phone.state());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it costs
///
/// | | bytes both ways | half round trips |
/// |---|---|---|
/// | equal peers | 78 (80 with the feature `compression`), their names and versions | 1 |
/// | changes | the deltas of them, and some 60 | 2; 3 until they are acknowledged |
/// | removals that were pruned | see [`Reconciling`](crate::sync::Reconciling) | up to 8 |
///
/// A version is told in full if it is short (up to 4,000 bytes, some 200 writers); else as what differs from what the two last
/// had in common, if both [remember](Options::with_devices) it, or as a digest first. Deltas are compressed if both sides
/// have the feature `compression` (see [`Options::without_compression`]). In memory: what is
/// [staged](Options::with_staging_limit), the bytes of the delta that is being sent, and versions.
///
/// # What a peer can do
///
/// Peers are to be authenticated, by TLS or the like: a session does not ask who speaks. Whatever such a peer sends, nothing
/// panics, hangs, or takes more memory than stated, and what is refused changes nothing.
///
/// But what it says about content is believed. It can write in the name of any writer under dots that nobody else has seen
/// yet, and then the true writer's are taken for known; delete, by claiming to have seen what it does not hold; say that it
/// has seen all, and is sent nothing; use up counters, by at most [`Options::with_jump_limit`] each time; bring ids of writers, up to
/// [`Options::with_writers_limit`] in a session; make a replica draw a new writer, by claiming writes of its writer; and change what
/// a dot holds, by contradicting it (see [`Options::without_repair`]). None of it makes replicas differ for good. Whoever must not
/// do so must not be let in, or must be cut off from the writers' dots by signatures, which are the app's to add.
pub struct Session<T: Crdt> {
    pub(super) options: Options,
    seed: [u8; 16],
    /// Names this session.
    pub(super) nonce: u64,
    pub(super) said: Said,
    /// Whether any frame so far has told the whole standing, or what leads to it.
    pub(super) told_whole: bool,
    /// The last checkpoint that is durable, if that is waited for.
    pub(super) persisted: Option<Checkpoint>,
    /// The last stream that was merged and is not durable yet, and where we stood once it was.
    pub(super) undurable: Option<(u64, Checkpoint)>,
    pub(super) peer: Option<Peer>,
    /// Names of the peer's sessions before this one, the latest last: what comes late of them is not heard.
    pub(super) earlier: VecDeque<u64>,
    /// Another session that said hello without our name while the peer was known, since when that has said nothing.
    pub(super) doubtful: Option<u64>,
    pub(super) outgoing: Option<Outgoing>,
    /// The next delta, which waits to be durable.
    pub(super) withheld: Option<Withheld>,
    pub(super) incoming: Option<Incoming>,
    /// How many streams we have begun.
    pub(super) streams: u64,
    pub(super) round: Option<Round>,
    /// The latest reconciliations that came to an end, with the dots that are alive here and dead at the peer.
    pub(super) reconciled: VecDeque<(RoundName, DotSet)>,
    /// How many reconciliations we have begun.
    pub(super) rounds: u64,
    /// How many of them came to nothing, since the last that did not.
    pub(super) failed_rounds: u32,
    /// Where we stood when we last sent everything to be compared, and how many repairs there had been; while the two
    /// contradict each other.
    pub(super) offer: Option<(Point, u64)>,
    pub(super) due: DueFrames,
    pub(super) timers: Timers,
    pub(super) pace: Pace,
    /// The time of the last call.
    pub(super) now: Duration,
    /// Nothing is begun before: a peer that starts over and over is not worth a delta each time.
    pub(super) hold: Option<Duration>,
    pub(super) counters: Counters,
    /// Frames in a row that made no sense.
    pub(super) nonsense: u32,
    /// Writers that the peer has brought.
    pub(super) new_writers: usize,
    events: VecDeque<Event<T>>,
    /// Whether the app knows that both hold the same.
    equal: bool,
    pub(super) end: Option<Result<(), SessionError>>,
}

/// What was heard of the peer.
pub(super) struct Peer {
    pub(super) nonce: u64,
    pub(super) device: Option<DeviceName>,
    pub(super) staging_limit: u64,
    /// True if it said in its hello that it reads compressed slices.
    pub(super) reads_compressed: bool,
    /// It has said something to us, so it has heard our hello.
    pub(super) knows_us: bool,
    pub(super) heard: Option<Announced>,
    /// Heads of what it has acknowledged of ours: they lie below the heads that it announces, of which we may not know that.
    pub(super) has: Vec<Dot>,
    /// Number of the newest announcement that could not be resolved, so that a resolvable one was asked for; 0 if there is none.
    pub(super) unresolved: u64,
    /// The stream that broke off of which it has staged the beginning, and whether that was to repair.
    pub(super) resume: Option<(Broken, bool)>,
    /// The last of its reconciliations that we have answered.
    pub(super) round: u64,
    /// The last of its streams that was merged.
    pub(super) merged: u64,
    /// The last that may be acknowledged.
    pub(super) durable: u64,
    /// The last that was acknowledged.
    pub(super) acknowledged: u64,
}

/// Frames to be made when they are polled.
#[derive(Default)]
pub(super) struct DueFrames {
    pub(super) hello: bool,
    pub(super) need: bool,
    pub(super) announce: bool,
    /// Whether to send again what was sent.
    pub(super) ask: Option<bool>,
    /// A stream that was merged and is not durable yet, and its length.
    pub(super) arrived: Option<(u64, u64)>,
    /// Which stream there is not any longer.
    pub(super) gone: Option<u64>,
    pub(super) turn: bool,
    /// What was under way is to be begun again: it is still waited for.
    pub(super) again: bool,
    bye: Option<(u32, Parting)>,
}

impl<T: Crdt> Session<T> {
    /// The oldest and the newest version of the protocol that this version of the crate speaks.
    pub const PROTOCOLS: (u8, u8) = (2, 2);

    /// One end of a session. The seed is 16 random bytes, fresh for each.
    ///
    /// What the replica holds now counts as durable, if [that is waited for](Options::waiting_for_persisted).
    pub fn new(replica: &Replica<T>, options: Options, seed: [u8; 16]) -> Self {
        let nonce = xxh3_64(&seed);
        let point = Point::of(replica);
        Self {
            seed,
            nonce,
            said: Said::new(point),
            told_whole: false,
            persisted: options.wait_for_persisted.then(|| Checkpoint::of(replica)),
            undurable: None,
            peer: None,
            earlier: VecDeque::new(),
            doubtful: None,
            outgoing: None,
            withheld: None,
            incoming: None,
            streams: 0,
            round: None,
            reconciled: VecDeque::new(),
            rounds: 0,
            failed_rounds: 0,
            offer: None,
            due: DueFrames { hello: true, ..DueFrames::default() },
            timers: Timers::new(options.retry_after, options.patience, xxh3_64_with_seed(&seed, 1)),
            pace: Pace::new(options.retry_after),
            now: Duration::ZERO,
            hold: None,
            counters: Counters::default(),
            nonsense: 0,
            new_writers: 0,
            events: VecDeque::new(),
            equal: false,
            end: None,
            options,
        }
    }

    /// Takes a frame of the peer's. What makes no sense, or comes late or twice, is counted and left alone.
    ///
    /// An error is the end of the session, and comes from each later call as well. What was merged stays.
    pub fn handle_frame(
        &mut self,
        replica: &mut dyn Replicated<T>,
        frame: &[u8],
        now: Duration,
    ) -> Result<(), SessionError> {
        if let Some(end) = &self.end {
            return end.clone();
        }
        self.now = now;
        self.counters.frames_received += 1;
        self.counters.bytes_received += frame.len() as u64;
        let result = match Frame::from_bytes(frame) {
            Ok(frame) => self.handle(replica, &frame),
            Err(_) => self.nonsense().map(|()| false),
        };
        match result {
            Ok(true) => {
                self.timers.useful(now);
                self.nonsense = 0;
            }
            Ok(false) => {}
            Err(error) => return Err(self.fail(error)),
        }
        // Time passes even for a peer that talks without saying anything.
        self.check_time(now)
    }

    /// The next frame to send, if there is one. An error is the end, as in [`handle_frame`](Self::handle_frame); before it
    /// comes what is to be said to the peer about it.
    pub fn poll_frame(&mut self, replica: &Replica<T>, now: Duration) -> Result<Option<Vec<u8>>, SessionError> {
        self.now = now;
        if self.end.is_none() {
            // What it finds may be the end, and be told first.
            let _ = self.check_time(now);
        }
        if let Some((to, parting)) = self.due.bye.take() {
            return Ok(Some(self.bye(to, parting)));
        }
        if let Some(end) = &self.end {
            return end.clone().map(|()| None);
        }
        match self.next_frame(replica) {
            Ok(None) => {
                self.tell_equal(replica);
                Ok(None)
            }
            Ok(frame) => Ok(frame),
            Err(error) => {
                let error = self.fail(error);
                match self.due.bye.take() {
                    Some((to, parting)) => Ok(Some(self.bye(to, parting))),
                    None => Err(error),
                }
            }
        }
    }

    /// When to call [`poll_frame`](Self::poll_frame) again at the latest, though nothing has come: while an answer is waited for.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let held = self.hold.filter(|hold| *hold > self.now);
        self.timers.deadline().into_iter().chain(held).min()
    }

    /// The next thing that has happened.
    pub fn poll_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    /// Notes that everything up to a [`Checkpoint`] is durable, for a session that [waits](Options::waiting_for_persisted) for it.
    ///
    /// Draw the checkpoint together with the bytes that are saved, and hand it in once they are durable. What was written or
    /// merged after it was drawn stays unacknowledged until a later one comes. A checkpoint that was drawn before the last one
    /// that was handed in changes nothing.
    ///
    /// ```
    /// use driftless::sync::{Checkpoint, Options, Session};
    /// use driftless::{Graph, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let mut session = Session::new(&replica, Options::new().waiting_for_persisted(), [7; 16]);
    /// replica.edit(|g| g.add_node("person:ada"))?;
    /// let (checkpoint, bytes) = (Checkpoint::of(&replica), replica.save());
    /// // Any time later, when `bytes` are on the disk:
    /// session.handle_persisted(&checkpoint);
    /// # drop(bytes);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_persisted(&mut self, checkpoint: &Checkpoint) {
        let Some(persisted) = self.persisted.as_mut().filter(|last| last.order < checkpoint.order) else { return };
        persisted.clone_from(checkpoint);
        let durable = self.undurable.take_if(|(_, merged)| checkpoint.holds(merged));
        if let (Some(peer), Some((stream, _))) = (&mut self.peer, durable) {
            peer.durable = stream;
        }
    }

    /// Leaves: the peer will be told, and [`poll_frame`](Self::poll_frame) returns one last frame.
    pub fn close(&mut self) {
        self.leave(Parting::Done);
    }

    pub(in crate::sync) fn leave(&mut self, parting: Parting) {
        if self.end.is_none() {
            self.due.bye = self.peer.as_ref().map(|peer| (pair(peer.nonce, self.nonce), parting));
            self.end = Some(Ok(()));
        }
    }

    /// Whether both hold the same, as far as both have told.
    pub fn is_equal(&self, replica: &Replica<T>) -> bool {
        let (point, peer) = (self.point(replica), self.peer.as_ref());
        let heard = peer.and_then(|peer| Some((peer, peer.heard.as_ref()?)));
        heard.is_some_and(|(peer, heard)| {
            heard.point.is_equal(&point)
                && point == Point::of(replica)
                && self.said.last().point.is_equal(&point)
                && peer.acknowledged == peer.merged
                && self.outgoing.is_none()
                && !self.due.hello
        })
    }

    /// Whether this side, or the other, has left.
    pub fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// What the peer calls itself, once it has said hello.
    pub fn peer(&self) -> Option<&DeviceName> {
        self.peer.as_ref()?.device.as_ref()
    }

    /// What was sent and received so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How far the deltas are that are on their way.
    pub fn progress(&self) -> Progress {
        let sending = self.outgoing.as_ref().map(|outgoing| outgoing.amount(self.options.part_len));
        let receiving = self.incoming.as_ref().map(Incoming::amount);
        Progress { sending: sending.unwrap_or_default(), receiving: receiving.unwrap_or_default() }
    }

    /// Whether nothing of use has come for as long as we are patient.
    pub(in crate::sync) fn is_stale(&self) -> bool {
        self.timers.is_stale(self.now)
    }

    /// Which of two that can only speak in turns begins: both know, once they have said hello.
    pub(in crate::sync) fn speaks_first(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| self.nonce < peer.nonce)
    }

    /// The frame that is due, or the next thing to begin.
    fn next_frame(&mut self, replica: &Replica<T>) -> Result<Option<Vec<u8>>, SessionError> {
        let point = self.point(replica);
        if std::mem::take(&mut self.due.hello) {
            let hello = self.hello(&point)?;
            return Ok(Some(self.sent(&hello)));
        }
        let Some(peer) = &self.peer else { return Ok(None) };
        let to = Some(pair(peer.nonce, self.nonce));
        if std::mem::take(&mut self.due.need) {
            return Ok(Some(self.sent(&Frame { to, says: Says::Need })));
        }
        if let Some(stream) = self.due.gone.take() {
            return Ok(Some(self.sent(&Frame { to, says: Says::Gone { stream } })));
        }
        if let Some((stream, have)) = self.due.arrived.take() {
            return Ok(Some(self.sent(&Frame { to, says: Says::Ask { stream, have, again: false } })));
        }
        if self.due.turn {
            self.due.turn = false;
            let turn = self.round.as_ref().and_then(Round::frame);
            if let Some(bytes) = turn.map(|says| Frame { to, says }.to_bytes()) {
                return Ok(Some(self.count_sent(bytes)));
            }
        }
        self.begin(replica, &point)?;
        self.due.again = false;
        if let Some(merged) = self.is_announcement_due(&point) {
            self.due.announce = false;
            let told = self.told(&point, false)?;
            if let Some(peer) = &mut self.peer {
                peer.acknowledged = merged;
            }
            return Ok(Some(self.sent(&Frame { to, says: Says::Announce { merged, told } })));
        }
        if self.due.turn {
            return self.next_frame(replica);
        }
        if let (Some(again), Some(incoming)) = (self.due.ask.take(), &self.incoming) {
            let says = Says::Ask { stream: incoming.number, have: incoming.have(), again };
            return Ok(Some(self.sent(&Frame { to, says })));
        }
        let Some(outgoing) = &mut self.outgoing else { return Ok(None) };
        let (stream, total) = (outgoing.number, outgoing.len());
        let part = outgoing.next_part(self.options.part_len);
        let part =
            part.map(|(offset, bytes)| Frame { to, says: Says::Part { stream, total, offset, bytes } }.to_bytes());
        Ok(part.map(|bytes| self.count_sent(bytes)))
    }

    /// Whether to say where we stand; then, the last stream that it acknowledges.
    fn is_announcement_due(&self, point: &Point) -> Option<u64> {
        let peer = self.peer.as_ref()?;
        // A delta that the peer lacks will say where we stand. Until then, even while it has to be reconciled first, each
        // announcement would only make those older that the peer builds on.
        let lacks_nothing = |heard: &Announced| heard.point.standing.version().includes(point.standing.version());
        let untold = self.outgoing.is_none() && peer.heard.as_ref().is_some_and(lacks_nothing) && !self.said.is(point);
        let due = self.due.announce || untold || peer.acknowledged != peer.durable;
        due.then_some(peer.durable)
    }

    fn bye(&mut self, to: u32, parting: Parting) -> Vec<u8> {
        let says = Says::Bye { nonce: self.nonce, parting };
        self.sent(&Frame { to: Some(to), says })
    }

    fn sent(&mut self, frame: &Frame<'_>) -> Vec<u8> {
        let bytes = frame.to_bytes();
        self.count_sent(bytes)
    }

    fn count_sent(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.counters.frames_sent += 1;
        self.counters.bytes_sent += bytes.len() as u64;
        bytes
    }

    /// The end, of which the peer is told what concerns it.
    fn fail(&mut self, error: SessionError) -> SessionError {
        let parting = match &error {
            SessionError::Left(_) | SessionError::Myself => None,
            SessionError::Silence => Some(Parting::Silence),
            SessionError::Protocol { ours: (oldest, newest), .. } => {
                Some(Parting::Protocol { oldest: *oldest, newest: *newest })
            }
            SessionError::Schema { theirs: Some(_), .. } => None,
            SessionError::Schema { ours, .. } => Some(Parting::Schema((*ours).to_owned())),
            SessionError::StagingLimit { len, limit } | SessionError::PeerStagingLimit { len, limit } => {
                Some(Parting::TooLong { len: *len, limit: *limit })
            }
            SessionError::FrameTooLong { len } => Some(Parting::FrameTooLong { len: *len as u64 }),
            SessionError::Jump { jump } => Some(Parting::Jump { jump: *jump }),
            SessionError::Writers(writers) => Some(Parting::Writers(*writers as u64)),
            SessionError::Merge(MergeError::Refused(_)) => Some(Parting::Refused),
            SessionError::Merge(_) | SessionError::Memory { .. } => Some(Parting::NotMergeable),
            SessionError::NotDurable(_) => Some(Parting::NotDurable),
            SessionError::Contradiction => Some(Parting::Contradiction),
            SessionError::Nonsense(_) => Some(Parting::Nonsense),
        };
        self.due.bye = self.peer.as_ref().map(|peer| pair(peer.nonce, self.nonce)).zip(parting);
        self.end = Some(Err(error.clone()));
        error
    }

    fn check_time(&mut self, now: Duration) -> Result<(), SessionError> {
        let awaited = Awaited::ALL.map(|awaited| self.end.is_none() && self.is_awaited(awaited));
        match self.timers.poll(|one| awaited[one as usize], now) {
            Due::GiveUp => Err(self.fail(SessionError::Silence)),
            Due::Again(due) => {
                due.into_iter().for_each(|awaited| self.say_again(awaited));
                Ok(())
            }
        }
    }

    /// True if the peer owes this.
    pub(super) fn is_awaited(&self, awaited: Awaited) -> bool {
        let Some(peer) = &self.peer else { return awaited == Awaited::Hello };
        // A transfer that is to begin anew keeps its timer, or a peer that asks for that again and again is never given up.
        let again = self.due.again && self.timers.is_running(awaited);
        let in_transit = self.outgoing.is_some() || self.incoming.is_some();
        match awaited {
            Awaited::Hello => !peer.knows_us,
            Awaited::Standing => {
                peer.knows_us && peer.heard.as_ref().is_none_or(|heard| heard.number < peer.unresolved)
            }
            Awaited::Acknowledgement => self.outgoing.is_some() || again,
            Awaited::Rest => self.incoming.is_some(),
            Awaited::Turn => self.round.as_ref().is_some_and(Round::is_under_way) || again,
            // The peer's half may be long: while anything is in transit, the timers of the transfers count.
            Awaited::Repair => (self.offer.is_some() && !in_transit) || again,
        }
    }

    /// Repeats what was said about this.
    fn say_again(&mut self, awaited: Awaited) {
        self.counters.retries += 1;
        match awaited {
            Awaited::Hello => self.due.hello = true,
            Awaited::Standing => self.due.need = true,
            Awaited::Acknowledgement => {
                let is_first = self.timers.repeated(awaited) == 1;
                self.outgoing.iter_mut().for_each(|outgoing| outgoing.nudge(is_first));
            }
            Awaited::Rest => self.due.ask = Some(true),
            Awaited::Turn => self.nudge_round(),
            // The peer may not know that it has to send everything as well.
            Awaited::Repair => self.due.announce = true,
        }
    }

    fn tell_equal(&mut self, replica: &Replica<T>) {
        let equal = self.is_equal(replica);
        if equal && !self.equal {
            self.events.push_back(Event::Equal);
        }
        self.equal = equal;
    }

    pub(super) fn tell(&mut self, event: Event<T>) {
        self.events.push_back(event);
    }

    pub(super) fn schema_digest() -> u32 {
        xxh3_64(T::SCHEMA.as_bytes()) as u32
    }

    /// Random bytes that nobody else knows before they are said.
    pub(super) fn random(&self, number: u64) -> [u8; 16] {
        let mut input = [0; 32];
        input[..16].copy_from_slice(&self.seed);
        input[16..24].copy_from_slice(&number.to_le_bytes());
        xxh3_128(&input).to_le_bytes()
    }
}

/// Names two sessions in the direction of one: by the first bytes of the receiver's nonce and the last of the sender's. What
/// either has said in an earlier session is told apart.
pub(super) fn pair(receiver: u64, sender: u64) -> u32 {
    receiver as u32 ^ (sender >> 32) as u32
}

impl<T: Crdt> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("peer", &self.peer())
            .field("progress", &self.progress())
            .field("counters", &self.counters)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
