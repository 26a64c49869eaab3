//! One connection: a session, a stream, and the loop around them.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use driftless::sync::{Counters, Event, MAX_FRAME_LEN, Options, Session, SessionError};
use driftless::{Crdt, Environment, Replica, SystemEnvironment};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Error;
use crate::shared::Shared;

/// Frames are made once fewer bytes than this wait to be sent, so a slow stream does not fill memory.
const OUTBOX_LEN: usize = 256 << 10;

/// Time for the peer to hang up after we have left.
const GRACE: Duration = Duration::from_secs(5);

/// Keeps the replica equal with the peer's at the other end of the stream, until `close` is sent (or dropped) or the peer
/// leaves.
pub(crate) async fn run<T: Crdt>(
    shared: &Shared<T>,
    mut stream: TcpStream,
    mut close: oneshot::Receiver<()>,
) -> Result<Counters, Error> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.split();
    let (mut inbox, mut outbox) = (Vec::new(), VecDeque::new());
    let mut changes = shared.changes();
    let start = Instant::now();
    let mut session = Session::new(&shared.lock(), Options::new(), SystemEnvironment.random());
    let mut closing = false;

    loop {
        // 1. Frames that are due, and events. An error comes after the frame that tells the peer of it.
        let result = fill(&mut session, &shared.lock(), start.elapsed(), &mut outbox);
        let merged = take_events(&mut session);
        if merged {
            shared.tell_changed(); // other connections pass it on
        }
        if result.is_err() || session.is_over() {
            // The last frame goes out; then we hang up.
            leave(&mut reader, &mut writer, outbox).await;
            return result.map(|()| session.counters()).map_err(Error::from);
        }
        // 2. Whatever comes first. `read_buf` and `write_buf` lose nothing when another branch wins.
        let deadline = session.poll_timeout().map(|after| start + after);
        select! {
            read = reader.read_buf(&mut inbox) => {
                if read? == 0 {
                    // No `Left` came before: the connection broke. What has come of a delta is in `into_staged`.
                    return Err("the connection broke; connect again".into());
                }
            }
            written = writer.write_buf(&mut outbox), if !outbox.is_empty() => {
                written?;
            }
            _ = changes.changed() => {}
            _ = &mut close, if !closing => {
                closing = true;
                session.close();
            }
            () = async { match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            } } => {}
        }
        // 3. Frames that have come.
        while let Some(frame) = next_frame(&mut inbox)? {
            // An error is returned by `poll_frame` as well, after what the peer is to hear.
            let _ = session.handle_frame(&mut *shared.lock(), &frame, start.elapsed());
        }
    }
}

/// Puts the frames that are due into the outbox, each after its length.
fn fill<T: Crdt>(
    session: &mut Session<T>,
    replica: &Replica<T>,
    now: Duration,
    outbox: &mut VecDeque<u8>,
) -> Result<(), SessionError> {
    while outbox.len() < OUTBOX_LEN {
        let Some(frame) = session.poll_frame(replica, now)? else { break };
        outbox.extend((frame.len() as u32).to_be_bytes());
        outbox.extend(frame);
    }
    Ok(())
}

/// Takes all events. Returns whether a delta was merged.
fn take_events<T: Crdt>(session: &mut Session<T>) -> bool {
    let mut merged = false;
    while let Some(event) = session.poll_event() {
        match event {
            // Here an app appends `delta.to_bytes()` to its log, and an index follows `report`.
            Event::Merged { .. } | Event::Repaired(_) => merged = true,
            _ => {}
        }
    }
    merged
}

/// Takes the first frame out of the inbox, once all of it has come.
fn next_frame(inbox: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    let Some((len, rest)) = inbox.split_first_chunk() else { return Ok(None) };
    let len = u32::from_be_bytes(*len) as usize;
    if len > MAX_FRAME_LEN {
        return Err("a frame is too long: the peer speaks something else".into());
    }
    let frame = rest.get(..len).map(<[u8]>::to_vec);
    if frame.is_some() {
        inbox.drain(..4 + len);
    }
    Ok(frame)
}

/// Writes what is left, hangs up, and waits for the peer to do the same.
///
/// Closing a TCP stream while bytes of the peer's are unread resets it, and the peer could lose our last frame. So we end our
/// side first, and read on until the peer has ended its own. Errors do not matter any more: the session is over.
async fn leave(
    reader: &mut (impl AsyncReadExt + Unpin),
    writer: &mut (impl AsyncWriteExt + Unpin),
    mut outbox: VecDeque<u8>,
) {
    let _ = timeout(GRACE, async {
        writer.write_all_buf(&mut outbox).await?;
        writer.shutdown().await?;
        let mut rest = [0; 4096];
        while reader.read(&mut rest).await? > 0 {}
        Ok::<_, std::io::Error>(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use driftless::{Graph, Replica};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    #[tokio::test]
    async fn large_deltas_in_both_directions_do_not_block_each_other() {
        let (one, other) = (Shared::<Graph>::new(Replica::new()), Shared::<Graph>::new(Replica::new()));
        let mut random = 1u64;
        let mut letter = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + (random >> 40) as u8 % 90)
        };
        for (shared, side) in [(&one, "one"), (&other, "other")] {
            shared
                .edit(|g| {
                    for n in 0..5_000 {
                        let node = g.add_node(&format!("{side}:{n}"))?;
                        // The letters are random, so that the text is sent at its length even if sessions compress.
                        let text: String = (0..2_400).map(|_| letter()).collect();
                        g.set(node, "/text", &*text)?;
                    }
                    Ok(())
                })
                .unwrap();
        }
        let (a, b) = pair().await;
        let (close, closed) = oneshot::channel();
        let (_keep, never) = oneshot::channel();
        let all = async {
            while one.read(|g| g.nodes().count()) + other.read(|g| g.nodes().count()) < 20_000 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            close.send(()).unwrap();
        };
        let both = async { tokio::join!(run(&one, a, closed), run(&other, b, never), all) };
        let (left, heard, ()) =
            timeout(Duration::from_secs(60), both).await.expect("neither waits for the other for ever");
        assert!(left.unwrap().bytes_sent > 8 << 20);
        heard.unwrap();
        assert!(one.read(Graph::clone) == other.read(Graph::clone));
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_an_error_at_the_other_end() {
        let shared = Shared::<Graph>::new(Replica::new());
        let (a, b) = pair().await;
        drop(b);
        let (_keep, never) = oneshot::channel();
        assert!(run(&shared, a, never).await.is_err());
    }
}
