//! Sessions for those who need not know that there are any.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::codec::write_number;
use crate::kernel::{Crdt, Environment, SystemEnvironment};
use crate::replica::Replica;
use crate::report::{MergeReport, Repair};
use crate::standing::Standing;
use crate::sync::device::DeviceName;
use crate::sync::session::{Counters, Event, MAX_FRAME_LEN, Options, Session, SessionError, Staged};

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
pub fn blocking<T: Crdt>(replica: &mut Replica<T>, stream: impl Read + Write) -> Result<Synced<T>, SyncError> {
    blocking_with(replica, stream, Options::new())
}

/// Like [`blocking`], with a name, limits and whatever else [`Options`] hold. When to say something again does not matter here,
/// nor what is durable: all that is merged is acknowledged. A peer that talks, and says nothing of use for longer than the
/// patience, is given up; one that sends nothing at all is waited for as long as the stream waits.
pub fn blocking_with<T: Crdt>(
    replica: &mut Replica<T>,
    mut stream: impl Read + Write,
    options: Options,
) -> Result<Synced<T>, SyncError> {
    let mut speaker = Speaker::new(replica, options);
    match speaker.converse(replica, &mut stream) {
        Ok(()) => Ok(speaker.synced),
        Err(reason) => {
            let Speaker { session, synced, .. } = speaker;
            let counters = Box::new(session.counters());
            Err(SyncError { reason, counters, staged: session.into_staged(), peer: synced.peer })
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
    one: &mut Replica<T>,
    other: &mut Replica<T>,
) -> Result<(Synced<T>, Synced<T>), SessionError> {
    let (mut a, mut b) = (Speaker::new(one, Options::new()), Speaker::new(other, Options::new()));
    while !(a.is_done(one) && b.is_done(other)) {
        let said = a.tell(one, |frame| b.hear(other, frame))?;
        let answered = b.tell(other, |frame| a.hear(one, frame))?;
        if !said && !answered {
            a.wait()?;
            b.wait()?;
        }
    }
    Ok((a.synced, b.synced))
}

/// What a sync did here.
#[derive(Debug)]
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

/// Why a sync was broken off. What was merged before stays; nothing else has changed.
#[derive(Debug, Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct SyncError {
    /// What has happened.
    #[source]
    pub reason: SyncErrorReason,
    /// What has come of a delta: with [`Options::with_staged`], the next sync with this peer goes on from there.
    pub staged: Option<Box<Staged>>,
    /// What was sent and received.
    pub counters: Box<Counters>,
    /// What the peer calls itself, if it has said so.
    pub peer: Option<DeviceName>,
}

/// What has broken a sync off.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SyncErrorReason {
    /// The stream failed, or ended: connect again.
    #[error("the connection broke: {0}; connect again, and what has come goes on from `staged`")]
    Io(#[from] io::Error),
    /// The two cannot go on.
    #[error(transparent)]
    Session(#[from] SessionError),
}

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

    /// Says all that there is to say. Returns whether it was anything.
    fn tell<E: From<SessionError>>(
        &mut self,
        replica: &Replica<T>,
        mut send: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut said = false;
        while let Some(frame) = self.session.poll_frame(replica, self.now())? {
            said = true;
            send(&frame)?;
        }
        Ok(said)
    }

    fn hear(&mut self, replica: &mut Replica<T>, frame: &[u8]) -> Result<(), SessionError> {
        let result = self.session.handle_frame(replica, frame, self.now());
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Met { device } => self.synced.peer = device,
                Event::Merged { report, .. } => self.synced.merged.push(*report),
                Event::Repaired(report) => self.synced.repaired.push(*report),
                Event::Equal | Event::Left => {}
            }
        }
        result
    }

    fn is_done(&mut self, replica: &Replica<T>) -> bool {
        let done = self.session.is_equal(replica);
        if done {
            self.synced.standing = self.session.standing().unwrap_or_default();
            self.synced.counters = self.session.counters();
        }
        done
    }

    /// Speaks and listens in turns until both hold the same.
    fn converse(&mut self, replica: &mut Replica<T>, stream: &mut (impl Read + Write)) -> Result<(), SyncErrorReason> {
        // Hellos are short enough to be written by both at once.
        self.write(replica, stream)?;
        if let Some(hello) = read_frame(stream)? {
            self.hear_or_part(replica, stream, &hello)?;
        }
        let mut speaking = self.session.speaks_first();
        let mut silent_turns = 0;
        while !self.is_done(replica) {
            let mut silent = true;
            if speaking {
                silent = !self.write(replica, stream)?;
                if self.is_done(replica) {
                    break;
                }
                stream.write_all(&[TURN])?;
                stream.flush()?;
            } else {
                while let Some(frame) = read_frame(stream)? {
                    silent = false;
                    self.hear_or_part(replica, stream, &frame)?;
                    if self.is_done(replica) {
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
        replica: &mut Replica<T>,
        stream: &mut impl Write,
        frame: &[u8],
    ) -> Result<(), SyncErrorReason> {
        self.hear(replica, frame).map_err(|error| {
            // The peer is told why, if it still listens.
            let _ = self.write(replica, stream);
            SyncErrorReason::from(error)
        })?;
        match self.session.counters().errors as u32 {
            0 => Ok(()),
            // A stream damages nothing: this is no peer of ours.
            errors => Err(SessionError::Nonsense(errors).into()),
        }
    }

    /// Writes all frames that there are. Returns whether there were any.
    fn write(&mut self, replica: &Replica<T>, stream: &mut impl Write) -> Result<bool, SyncErrorReason> {
        let mut out = Vec::new();
        let said = self.tell(replica, |frame| {
            write_number(&mut out, frame.len() as u64);
            out.extend_from_slice(frame);
            if out.len() >= WRITE_LEN {
                stream.write_all(&out)?;
                out.clear();
            }
            Ok::<_, SyncErrorReason>(())
        });
        stream.write_all(&out)?;
        stream.flush()?;
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
