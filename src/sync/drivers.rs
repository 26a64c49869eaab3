//! Sessions for those who need not know that there are any.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::kernel::{Crdt, Environment, SystemEnvironment};
use crate::numbers::write_number;
use crate::replica::Replica;
use crate::report::{MergeReport, Repair};
use crate::standing::Standing;
use crate::sync::device::DeviceName;
use crate::sync::replicated::Replicated;
use crate::sync::session::{Counters, Event, MAX_FRAME_LEN, Options, Parting, Session, SessionError, Staged};

/// Syncs with whoever is at the other end of a stream of bytes and does the same: TCP, a Unix socket, a pipe, a child
/// process. Returns once both hold the same.
///
/// Blocks, on reads and writes of the stream alone; so set its time-outs, or a peer that falls silent is waited for as long as
/// the stream allows. Both ends speak in turns, so nothing has to be buffered between them but a hello of at most 4 KB.
///
/// ```
/// use std::net::{TcpListener, TcpStream};
/// use driftless::{Graph, Replica, sync};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let phone = std::thread::spawn(move || {
///     let mut phone = Replica::<Graph>::new();
///     sync::blocking(&mut phone, listener.accept()?.0)?;
///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(phone)
/// });
///
/// let mut laptop = Replica::<Graph>::new();
/// laptop.edit(|g| g.add_node("person:ada"))?;
/// sync::blocking(&mut laptop, TcpStream::connect(address)?)?;
/// let phone = phone.join().unwrap().unwrap();
/// assert_eq!(laptop.state(), phone.state());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// For peers that stay connected and hear of every edit, see [`Session`].
///
/// Nothing of a sync is durable when this returns: save the replica then, or make each merge durable before the peer hears that
/// it has arrived, by [`blocking_durable`].
///
/// Returns on both sides at about the same time; either may hang up then, or sync again over the same stream. Each turn is
/// one write, so the stream needs no buffer and no `TCP_NODELAY`.
///
/// # Errors
///
/// [`SyncError`] says why, and what was merged before.
pub fn blocking<T: Crdt>(
    replica: &mut dyn Replicated<T>,
    stream: impl Read + Write,
) -> Result<Synced<T>, SyncError<T>> {
    blocking_with(replica, stream, Options::new())
}

/// Syncs like [`blocking`], with a name, limits and whatever else [`Options`] hold. When to say something again does not matter
/// here, nor does [`Options::waiting_for_persisted`]: all that is merged is acknowledged. A peer that talks, and says nothing of use for longer than the
/// patience, is given up; one that sends nothing at all is waited for as long as the stream waits.
pub fn blocking_with<T: Crdt>(
    replica: &mut dyn Replicated<T>,
    stream: impl Read + Write,
    options: Options,
) -> Result<Synced<T>, SyncError<T>> {
    blocking_durable(replica, stream, options, |_, _| Ok(()))
}

/// Syncs like [`blocking_with`], and calls `persist` after each merge and each repair, before the peer hears that it has arrived.
///
/// `persist` gets the replica as it is then and the event: [`Event::Merged`] holds the delta, for a log of deltas;
/// [`Event::Repaired`] holds none, so then save the whole state. If it fails, nothing is acknowledged, the peer is told that this
/// side leaves ([`Parting::NotDurable`](crate::sync::Parting::NotDurable)), and the error is
/// [`SyncErrorReason::Persist`]. What the replica holds at the beginning is taken for durable.
///
/// ```
/// use std::net::{TcpListener, TcpStream};
/// use driftless::sync::{self, Event, Options};
/// use driftless::{Graph, Replica};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let phone = std::thread::spawn(move || {
///     let (mut phone, mut log) = (Replica::<Graph>::new(), Vec::new());
///     sync::blocking_durable(&mut phone, listener.accept().unwrap().0, Options::new(), |phone, event| {
///         match event {
///             Event::Merged { delta, .. } => log.push(delta.to_bytes()), // append it to a file, and sync that
///             _ => log = vec![phone.complete().to_bytes()],
///         }
///         Ok(())
///     })
///     .unwrap();
///     log.len()
/// });
/// let mut laptop = Replica::<Graph>::new();
/// laptop.edit(|g| g.add_node("person:ada"))?;
/// sync::blocking(&mut laptop, TcpStream::connect(address)?)?;
/// assert_eq!(phone.join().unwrap(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn blocking_durable<T: Crdt>(
    replica: &mut dyn Replicated<T>,
    mut stream: impl Read + Write,
    options: Options,
    mut persist: impl FnMut(&Replica<T>, &Event<T>) -> io::Result<()>,
) -> Result<Synced<T>, SyncError<T>> {
    let mut speaker = Speaker::new(replica.replica(), options);
    match speaker.converse(replica, &mut stream, &mut persist) {
        Ok(()) => Ok(speaker.synced),
        Err(reason) => {
            speaker.note();
            let Speaker { session, synced, .. } = speaker;
            Err(SyncError { reason, done: Box::new(synced), staged: session.into_staged() })
        }
    }
}

/// Syncs two replicas in one process. Both hold the same afterwards.
///
/// ```
/// use driftless::{Graph, Replica, sync};
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// laptop.edit(|g| g.add_node("person:ada"))?;
/// phone.edit(|g| g.add_node("note:g"))?;
/// let (on_laptop, on_phone) = sync::in_memory(&mut laptop, &mut phone)?;
/// assert_eq!((on_laptop.merged.len(), on_phone.merged.len()), (1, 1));
/// assert_eq!(laptop.state(), phone.state());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn in_memory<T: Crdt>(
    one: &mut dyn Replicated<T>,
    other: &mut dyn Replicated<T>,
) -> Result<(Synced<T>, Synced<T>), InMemoryError<T>> {
    let (mut a, mut b) = (Speaker::new(one.replica(), Options::new()), Speaker::new(other.replica(), Options::new()));
    match converse_in_memory((&mut a, one), (&mut b, other)) {
        Ok(()) => Ok((a.synced, b.synced)),
        Err(reason) => {
            a.note();
            b.note();
            Err(InMemoryError { reason, done: Box::new((a.synced, b.synced)) })
        }
    }
}

fn converse_in_memory<T: Crdt>(
    (a, one): (&mut Speaker<T>, &mut dyn Replicated<T>),
    (b, other): (&mut Speaker<T>, &mut dyn Replicated<T>),
) -> Result<(), SessionError> {
    while !(a.is_done(one.replica()) && b.is_done(other.replica())) {
        let said = a.tell(one, |frame| b.hear(other, frame))?;
        let answered = b.tell(other, |frame| a.hear(one, frame))?;
        if !said && !answered {
            a.wait()?;
            b.wait()?;
        }
    }
    Ok(())
}

/// The result of a sync on this side.
#[non_exhaustive]
pub struct Synced<T> {
    /// What each delta changed that came.
    pub merged: Vec<MergeReport<T>>,
    /// What was repaired, and dropped by it.
    pub repaired: Vec<Repair<T>>,
    /// What the peer calls itself.
    pub peer: Option<DeviceName>,
    /// What the two have in common now: for [`Devices`](crate::sync::Devices) to remember under the peer's name.
    pub standing: Standing,
    /// What was sent and received.
    pub counters: Counters,
}

impl<T> fmt::Debug for Synced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Synced")
            .field("merged", &self.merged)
            .field("repaired", &self.repaired.len())
            .field("peer", &self.peer)
            .field("standing", &self.standing)
            .field("counters", &self.counters)
            .finish()
    }
}

/// A sync that was broken off: why, and what it had done before. What was merged stays; nothing else has changed.
#[derive(Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct SyncError<T> {
    /// The reason.
    #[source]
    pub reason: SyncErrorReason,
    /// Merges and repairs before that, for an index beside the replica to follow.
    pub done: Box<Synced<T>>,
    /// The beginning of a delta that has come: with [`Options::with_staged`], the next sync with this peer goes on from there.
    pub staged: Option<Box<Staged>>,
}

impl<T> fmt::Debug for SyncError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, done, staged } = self;
        let mut shown = f.debug_struct("SyncError");
        shown.field("reason", reason).field("done", done).field("staged", &staged.as_ref().map(|staged| staged.len()));
        shown.finish()
    }
}

/// The reason why a sync was broken off.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SyncErrorReason {
    /// The stream failed, or ended: connect again.
    #[error("the connection broke: {0}; connect again, and what has come goes on from `staged`")]
    Io(#[from] io::Error),
    /// A merge could not be made durable: the replica holds it, the peer takes it for not arrived.
    #[error("what was merged could not be made durable: {0}; save the replica, then sync again")]
    Persist(#[source] io::Error),
    /// The two cannot go on.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// A sync in one process that was broken off: why, and what it had done on both sides before.
#[derive(Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct InMemoryError<T> {
    /// The reason.
    #[source]
    pub reason: SessionError,
    /// Merges and repairs before that, of the first replica and of the second.
    pub done: Box<(Synced<T>, Synced<T>)>,
}

impl<T> fmt::Debug for InMemoryError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryError").field("reason", &self.reason).field("done", &self.done).finish()
    }
}

/// Makes durable what an event tells of.
type Persist<'a, T> = &'a mut dyn FnMut(&Replica<T>, &Event<T>) -> io::Result<()>;

/// One end of a session that ends when both hold the same.
struct Speaker<T: Crdt> {
    session: Session<T>,
    synced: Synced<T>,
    start: Instant,
    /// Time that we pretend has passed, when neither has anything to say.
    skipped: Duration,
    patience: Duration,
}

impl<T: Crdt> Speaker<T> {
    fn new(replica: &Replica<T>, options: Options) -> Self {
        let patience = options.patience();
        let session = Session::new(replica, options.acknowledging_at_once(), SystemEnvironment.random());
        let (merged, repaired, standing) = (Vec::new(), Vec::new(), Standing::default());
        let synced = Synced { merged, repaired, peer: None, standing, counters: Counters::default() };
        Self { session, synced, start: Instant::now(), skipped: Duration::ZERO, patience }
    }

    fn now(&self) -> Duration {
        self.start.elapsed().saturating_add(self.skipped)
    }

    /// Nobody has anything to say: what else would come with time comes now, and after a few times the end, also for a peer
    /// of which nothing is waited for.
    fn wait(&mut self) -> Result<(), SessionError> {
        self.skipped = self.skipped.saturating_add(self.patience / 8);
        match self.session.is_stale() {
            true => Err(SessionError::Silence),
            false => Ok(()),
        }
    }

    /// Says all that there is to say, of what is durable. Returns whether it was anything.
    fn tell<E: From<SessionError>>(
        &mut self,
        replica: &mut dyn Replicated<T>,
        mut send: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let persisted = replica.persist().map_err(SessionError::NotDurable);
        if persisted.is_err() {
            self.session.leave(Parting::NotDurable);
        }
        let mut said = false;
        while let Some(frame) = self.session.poll_frame(replica.replica(), self.now())? {
            said = true;
            send(&frame)?;
        }
        persisted?;
        Ok(said)
    }

    fn hear(&mut self, replica: &mut dyn Replicated<T>, frame: &[u8]) -> Result<(), SessionError> {
        self.hear_durably(replica, frame, &mut |_, _| Ok(())).1
    }

    /// Hears a frame. Returns whether what it brought is durable, and whether the session goes on.
    fn hear_durably(
        &mut self,
        replica: &mut dyn Replicated<T>,
        frame: &[u8],
        persist: Persist<'_, T>,
    ) -> (io::Result<()>, Result<(), SessionError>) {
        let result = self.session.handle_frame(replica, frame, self.now());
        let mut durable = Ok(());
        while let Some(event) = self.session.poll_event() {
            if durable.is_ok() && matches!(event, Event::Merged { .. } | Event::Repaired(_)) {
                durable = persist(replica.replica(), &event);
            }
            match event {
                Event::Met { device } => self.synced.peer = device,
                Event::Merged { report, .. } => self.synced.merged.push(*report),
                Event::Repaired(report) => self.synced.repaired.push(*report),
                Event::Equal | Event::Left => {}
            }
        }
        (durable, result)
    }

    fn is_done(&mut self, replica: &Replica<T>) -> bool {
        let done = self.session.is_equal(replica);
        if done {
            self.note();
        }
        done
    }

    /// Notes what the session knows so far.
    fn note(&mut self) {
        self.synced.standing = self.session.standing().unwrap_or_default();
        self.synced.counters = self.session.counters();
    }

    /// Speaks and listens in turns until both hold the same.
    fn converse(
        &mut self,
        replica: &mut dyn Replicated<T>,
        stream: &mut (impl Read + Write),
        persist: Persist<'_, T>,
    ) -> Result<(), SyncErrorReason> {
        // Hellos are short enough to be written by both at once.
        self.write(replica, stream, false)?;
        if let Some(hello) = read_frame(stream)? {
            self.hear_or_part(replica, stream, &hello, persist)?;
        }
        let mut speaking = self.session.speaks_first();
        let mut silent_turns = 0;
        while !self.is_done(replica.replica()) {
            let mut silent = true;
            if speaking {
                silent = !self.write(replica, stream, true)?;
            } else {
                while let Some(frame) = read_frame(stream)? {
                    silent = false;
                    self.hear_or_part(replica, stream, &frame, persist)?;
                    if self.is_done(replica.replica()) {
                        return Ok(());
                    }
                    if self.session.is_stale() {
                        return Err(SessionError::Silence.into());
                    }
                }
            }
            speaking = !speaking;
            silent_turns = if silent { silent_turns + 1 } else { 0 };
            if silent_turns >= 2 {
                self.wait()?;
            }
        }
        Ok(())
    }

    fn hear_or_part(
        &mut self,
        replica: &mut dyn Replicated<T>,
        stream: &mut impl Write,
        frame: &[u8],
        persist: Persist<'_, T>,
    ) -> Result<(), SyncErrorReason> {
        let (durable, heard) = self.hear_durably(replica, frame, persist);
        let reason = match (heard, durable) {
            (Err(error), _) => SyncErrorReason::Session(error),
            (_, Err(error)) => {
                self.session.leave(Parting::NotDurable);
                SyncErrorReason::Persist(error)
            }
            (Ok(()), Ok(())) => match self.session.counters().errors as u32 {
                0 => return Ok(()),
                // A stream damages nothing: this is no peer of ours.
                errors => return Err(SessionError::Nonsense(errors).into()),
            },
        };
        // The peer is told why, if it still listens.
        let _ = self.write(replica, stream, false);
        Err(reason)
    }

    /// Writes all frames that there are, and after them that it is the peer's turn, unless both are done: at once, as far as
    /// that is not too long. A second write of a few bytes would wait until the peer has acknowledged the first, up to 40 ms
    /// over TCP. Returns whether there were any frames.
    fn write(
        &mut self,
        replica: &mut dyn Replicated<T>,
        stream: &mut impl Write,
        then_turn: bool,
    ) -> Result<bool, SyncErrorReason> {
        let mut out = Vec::new();
        let said = self.tell(replica, |frame| {
            if !out.is_empty() && out.len() + frame.len() >= WRITE_LEN {
                stream.write_all(&out)?;
                out.clear();
            }
            write_number(&mut out, frame.len() as u64);
            out.extend_from_slice(frame);
            Ok::<_, SyncErrorReason>(())
        });
        if then_turn && said.is_ok() && !self.is_done(replica.replica()) {
            out.push(TURN);
        }
        if !out.is_empty() {
            stream.write_all(&out)?;
            stream.flush()?;
        }
        said
    }
}

/// Bytes that go to the stream at once.
const WRITE_LEN: usize = 64 << 10;

/// Instead of a frame: now the other may speak.
const TURN: u8 = 0;

/// The next frame; none if it is our turn. A frame has its length before it, as LEB128.
fn read_frame(stream: &mut impl Read) -> Result<Option<Vec<u8>>, SyncErrorReason> {
    let (mut len, mut shift) = (0usize, 0);
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        len |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if len > MAX_FRAME_LEN || shift > 28 {
            return Err(SessionError::Nonsense(1).into());
        }
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    if len == 0 {
        return Ok(None);
    }
    // Room is made as bytes come, not as they are announced.
    let mut frame = Vec::new();
    stream.take(len as u64).read_to_end(&mut frame)?;
    match frame.len() == len {
        true => Ok(Some(frame)),
        false => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}
