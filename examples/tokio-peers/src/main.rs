//! Two replicas that stay equal over TCP while both are edited: `sync::Session` in async code.
//!
//! A session does no I/O, so it runs under any runtime; here under tokio, on one thread. `connection` is the loop, to copy and
//! to change: it reads and writes at once, sends edits as they are made, and ends a session so that nothing is lost.
//!
//! | file | idea |
//! |---|---|
//! | `connection` | one connection: a session, a stream, and the loop around them |
//! | `shared` | a replica that tasks share, and that tells connections of edits |

mod connection;
mod shared;

use std::time::Duration;

use driftless::{Graph, Replica};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use shared::Shared;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Edits on each side.
const EDITS: usize = 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (laptop, phone) = (Shared::new(Replica::new()), Shared::new(Replica::new()));
    let (deltas, bytes) = timeout(Duration::from_secs(60), story(&laptop, &phone)).await??;
    println!("Each side made {EDITS} edits while connected; {deltas} deltas and {bytes} bytes made both equal.");
    Ok(())
}

/// Connects the two, edits both, and ends the session once both hold the same. Returns how many deltas the phone has
/// merged, and how many bytes it has sent and received.
async fn story(laptop: &Shared<Graph>, phone: &Shared<Graph>) -> Result<(u64, u64), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (close, closed) = oneshot::channel();
    // The phone is never told to close: it stays until the laptop leaves.
    let (_keep, never) = oneshot::channel();

    let on_phone = async { connection::run(phone, listener.accept().await?.0, never).await };
    let on_laptop = async { connection::run(laptop, TcpStream::connect(address).await?, closed).await };
    let people = async {
        for n in 0..EDITS {
            laptop.edit(|g| g.add_node(&format!("laptop:{n}")))?;
            phone.edit(|g| g.add_node(&format!("phone:{n}")))?;
            sleep(Duration::from_millis(5)).await;
        }
        while laptop.read(|g| g.nodes().count()) < 2 * EDITS {
            sleep(Duration::from_millis(5)).await;
        }
        let _ = close.send(());
        Ok::<_, Error>(())
    };
    let (_, counters, ()) = tokio::try_join!(on_laptop, on_phone, people)?;
    let (ours, theirs) = (laptop.read(Graph::clone), phone.read(Graph::clone));
    match ours == theirs && ours.nodes().count() == 2 * EDITS {
        true => Ok((counters.deltas_merged, counters.bytes_sent + counters.bytes_received)),
        false => Err("the two differ".into()),
    }
}
