//! Sessions over channels of requests and answers.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::kernel::{Crdt, Environment, SystemEnvironment};
use crate::numbers::write_number;
use crate::replica::Replica;
use crate::sync::replicated::Replicated;
use crate::sync::session::{Event, MAX_FRAME_LEN, Options, Parting, Session, SessionError};

/// Bytes of a message, unless [`Pump::with_message_len`] says otherwise; one frame may be longer.
const MESSAGE_LEN: usize = 1 << 20;

/// Time that a message takes, as the session counts it.
const STEP: Duration = Duration::from_millis(500);

/// One end of a [`Session`] over a channel of requests and answers, such as HTTP: the bytes of a message in, the bytes of the next
/// message out, in one call.
///
/// Both sides hold a pump. The client sends what [`exchange`](Self::exchange) returns as the body of a request, even if it is empty,
/// and hands in the answer, until both hold the same and there is nothing more to say. The server answers each request
/// with what its own `exchange` returns.
///
/// **What to keep between calls:** this value, one for each peer, at both sides; in memory is enough. If either is lost, the other side
/// meets the new one as a peer that has begun anew, and the replicas go on from where they stand. The server finds the
/// pump of a client by whatever names the client in the channel (a path, a cookie).
///
/// **Time** is counted in messages, half a second each, so nothing has to be called in between, and a client that polls once an
/// hour is not given up. If a request or its answer is lost, call `exchange` with nothing and send what it returns: what was
/// lost is said again.
///
/// ```
/// use driftless::sync::{Options, Pump};
/// use driftless::{Graph, Replica};
/// let (mut laptop, mut server) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// laptop.edit(|g| g.add_node("person:ada"))?;
/// server.edit(|g| g.add_node("person:grace"))?;
///
/// let mut on_server = Pump::new(&server, Options::new()); // kept for this client
/// let mut post = |body: &[u8]| on_server.exchange(&mut server, body).map(|answer| answer.message);
///
/// let mut on_laptop = Pump::new(&laptop, Options::new());
/// let mut answer = Vec::new();
/// loop {
///     let next = on_laptop.exchange(&mut laptop, &answer)?;
///     if next.is_equal && next.message.is_empty() {
///         break;
///     }
///     answer = post(&next.message)?; // over HTTP or the like
/// }
/// assert_eq!(laptop.state(), server.state());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To make merges durable before the peer hears of them, call [`receive`](Self::receive) and [`answer`](Self::answer) instead of
/// `exchange`, and persist in between.
pub struct Pump<T: Crdt> {
    session: Session<T>,
    now: Duration,
    message_len: usize,
}

/// The result of one [`exchange`](Pump::exchange).
#[derive(Debug)]
#[non_exhaustive]
pub struct Exchange<T> {
    /// The message to send.
    pub message: Vec<u8>,
    /// Merges and whatever else has happened.
    pub events: Vec<Event<T>>,
    /// True if both hold the same, as far as this side knows.
    pub is_equal: bool,
}

/// The end of a session over a pump. Begin with a new [`Pump`].
#[derive(Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct PumpError<T> {
    /// The reason.
    #[source]
    pub reason: SessionError,
    /// One last message, which tells the peer the reason; empty if there is none.
    pub message: Vec<u8>,
    /// Merges and whatever else has happened before.
    pub events: Vec<Event<T>>,
}

impl<T> fmt::Debug for PumpError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, message, events } = self;
        f.debug_struct("PumpError").field("reason", reason).field("message", message).field("events", events).finish()
    }
}

impl<T: Crdt> Pump<T> {
    /// One end, for one peer.
    pub fn new(replica: &Replica<T>, options: Options) -> Self {
        let session = Session::new(replica, options, SystemEnvironment.random());
        Self { session, now: Duration::ZERO, message_len: MESSAGE_LEN }
    }

    /// Ends a message once it has this many bytes, instead of a MiB; what is left goes with the next.
    #[must_use]
    pub fn with_message_len(mut self, bytes: usize) -> Self {
        self.message_len = bytes;
        self
    }

    /// Takes the message that has come, or nothing, and returns the next message.
    ///
    /// # Errors
    ///
    /// [`PumpError`] ends the session. It holds the events of merges that were done before.
    pub fn exchange(&mut self, replica: &mut dyn Replicated<T>, message: &[u8]) -> Result<Exchange<T>, PumpError<T>> {
        let events = self.receive(replica, message)?;
        if let Err(refused) = replica.persist() {
            self.session.leave(Parting::NotDurable);
            let error = self.fail(replica.replica(), SessionError::NotDurable(refused));
            return Err(PumpError { events: events.into_iter().chain(error.events).collect(), ..error });
        }
        match self.answer(replica.replica()) {
            Ok(answer) => Ok(Exchange { events, is_equal: self.session.is_equal(replica.replica()), message: answer }),
            Err(error) => Err(PumpError { events: events.into_iter().chain(error.events).collect(), ..error }),
        }
    }

    /// Takes the message that has come: the first half of [`exchange`](Self::exchange). Nothing is acknowledged before the second.
    ///
    /// # Errors
    ///
    /// As of [`exchange`](Self::exchange).
    pub fn receive(&mut self, replica: &mut dyn Replicated<T>, message: &[u8]) -> Result<Vec<Event<T>>, PumpError<T>> {
        if !self.session.is_equal(replica.replica()) {
            self.now = self.now.saturating_add(STEP);
        }
        let mut rest = message;
        while !rest.is_empty() {
            let result = match next_frame(&mut rest) {
                Some(frame) => self.session.handle_frame(replica, frame, self.now),
                None => Err(SessionError::Nonsense(1)),
            };
            result.map_err(|reason| self.fail(replica.replica(), reason))?;
        }
        Ok(self.events())
    }

    /// Returns the next message: the second half of [`exchange`](Self::exchange).
    ///
    /// # Errors
    ///
    /// As of [`exchange`](Self::exchange).
    pub fn answer(&mut self, replica: &Replica<T>) -> Result<Vec<u8>, PumpError<T>> {
        let mut out = Vec::new();
        self.poll(replica, &mut out)?;
        if self.session.is_over() || self.session.is_equal(replica) {
            return Ok(out);
        }
        if self.session.is_stale() {
            return Err(self.fail(replica, SessionError::Silence));
        }
        if out.is_empty()
            && let Some(next) = self.session.poll_timeout()
        {
            // Something was lost: what time would bring comes now.
            self.now = self.now.max(next);
            self.poll(replica, &mut out)?;
        }
        Ok(out)
    }

    /// Returns the session: to close it, to ask how far it is.
    pub fn session(&mut self) -> &mut Session<T> {
        &mut self.session
    }

    fn poll(&mut self, replica: &Replica<T>, out: &mut Vec<u8>) -> Result<(), PumpError<T>> {
        while out.len() < self.message_len.max(1) {
            match self.session.poll_frame(replica, self.now) {
                Ok(Some(frame)) => {
                    write_number(out, frame.len() as u64);
                    out.extend(frame);
                }
                Ok(None) => break,
                Err(reason) => {
                    let (message, events) = (std::mem::take(out), self.events());
                    return Err(PumpError { reason, message, events });
                }
            }
        }
        Ok(())
    }

    fn fail(&mut self, replica: &Replica<T>, reason: SessionError) -> PumpError<T> {
        let mut message = Vec::new();
        while let Ok(Some(frame)) = self.session.poll_frame(replica, self.now) {
            if !self.session.is_over() {
                break;
            }
            write_number(&mut message, frame.len() as u64);
            message.extend(frame);
        }
        PumpError { reason, message, events: self.events() }
    }

    fn events(&mut self) -> Vec<Event<T>> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }
}

impl<T: Crdt> fmt::Debug for Pump<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Takes a frame, with its length before it as LEB128, off the front.
fn next_frame<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (mut len, mut shift) = (0usize, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        len |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if len > MAX_FRAME_LEN || shift > 28 {
            return None;
        }
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (frame, after) = rest.split_at_checked(len).filter(|(frame, _)| !frame.is_empty())?;
    *rest = after;
    Some(frame)
}
