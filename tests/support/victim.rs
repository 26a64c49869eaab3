//! A replica with its session, to which a peer that is made by hand says what it likes.
#![allow(dead_code, reason = "each test takes what it needs")]

#[path = "letters.rs"]
mod letters;

use std::time::Duration;

use driftless::sync::{Event, Options, Session, SessionError};
use driftless::testing::TestEnvironment;
use driftless::{Crdt, Graph, Replica, Version, WriterId};
use letters::letters;

use crate::frames::{self, Hello, Told};

pub(crate) fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// Nodes with a text of this length each.
pub(crate) fn filled(seed: u64, nodes: usize, text: usize) -> Replica<Graph> {
    let mut replica = replica(seed);
    add(&mut replica, 0..nodes, text);
    replica
}

pub(crate) fn add(replica: &mut Replica<Graph>, nodes: std::ops::Range<usize>, text: usize) {
    let add = |n: usize, g: &mut driftless::Edit<'_, Graph>| {
        let node = g.add_node(&format!("node {n}"))?;
        g.set(node, "/text", &letters(n as u64, text))
    };
    replica.edit(|g| nodes.clone().try_for_each(|n| add(n, g))).unwrap();
}

pub(crate) fn writer(n: u64) -> WriterId {
    let mut bytes = [0; WriterId::LEN];
    bytes[WriterId::LEN - 8..].copy_from_slice(&(n + 1).to_be_bytes());
    WriterId::from(bytes)
}

/// A replica with its session, and what a hand-made peer says to it.
pub(crate) struct Victim {
    pub(crate) replica: Replica<Graph>,
    pub(crate) session: Session<Graph>,
    pub(crate) now: Duration,
    pub(crate) to: u32,
    pub(crate) schema: [u8; 4],
    pub(crate) hello: Vec<u8>,
    /// Deltas that were merged, and repairs.
    pub(crate) merged: usize,
    pub(crate) repaired: usize,
}

pub(crate) const MALLORY: u64 = 0x6d61_6c6c_6f72_7901;

impl Victim {
    pub(crate) fn new(replica: Replica<Graph>) -> Self {
        Self::with(replica, Options::new())
    }

    pub(crate) fn with(replica: Replica<Graph>, options: Options) -> Self {
        let mut session = Session::new(&replica, options, *b"the seed of one.");
        let hello = session.poll_frame(&replica, Duration::ZERO).unwrap().unwrap();
        let (nonce, schema) = frames::nonce_and_schema(&hello);
        let to = frames::pair(nonce, MALLORY);
        Self { replica, session, now: Duration::ZERO, to, schema, hello, merged: 0, repaired: 0 }
    }

    /// One that has met a peer that stands here.
    pub(crate) fn met(replica: Replica<Graph>, stands: frames::Stands, fingerprint: [u8; 16]) -> Self {
        let mut victim = Self::new(replica);
        let hello = victim.hello_of(Told::whole(1, stands, fingerprint));
        victim.hear(&hello.frame(Some(victim.to))).unwrap();
        victim
    }

    pub(crate) fn hello_of(&self, told: Told) -> Hello {
        let (schema, device) = (self.schema, b"mallory".to_vec());
        Hello { oldest: 2, newest: 2, schema, nonce: MALLORY, device, staging_limit: 28, told }
    }

    pub(crate) fn hear(&mut self, frame: &[u8]) -> Result<(), SessionError> {
        let result = self.session.handle_frame(&mut self.replica, frame, self.now);
        self.take_events();
        result
    }

    pub(crate) fn take_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Merged { .. } => self.merged += 1,
                Event::Repaired(_) => self.repaired += 1,
                _ => {}
            }
        }
    }

    /// All that it has to say now.
    pub(crate) fn says(&mut self) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        while let Ok(Some(frame)) = self.session.poll_frame(&self.replica, self.now) {
            said.push(frame);
        }
        self.take_events();
        said
    }

    pub(crate) fn answers(&mut self, frame: &[u8]) -> Result<Vec<Vec<u8>>, SessionError> {
        self.hear(frame)?;
        Ok(self.says())
    }

    /// Lets time pass until there is nothing more to wait for; how it ended.
    pub(crate) fn wait(&mut self) -> Option<SessionError> {
        for _ in 0..1_000 {
            match self.session.poll_frame(&self.replica, self.now) {
                Err(error) => return Some(error),
                Ok(Some(_)) => {}
                Ok(None) => match self.session.poll_timeout() {
                    Some(at) => self.now = self.now.max(at),
                    None => return None,
                },
            }
        }
        panic!("it waits for ever");
    }

    /// The replica is sound, unchanged if nothing was merged; and what is left of the session syncs with an honest peer, or
    /// has ended, and then a new one does.
    #[track_caller]
    pub(crate) fn survives(mut self, before: &Graph) {
        self.sound(before);
        let mut honest = replica(77);
        honest.edit(|g| g.add_node("honest")).unwrap();
        if self.session.is_over() || self.session.poll_frame(&self.replica, self.now).is_err() {
            self.session = Session::new(&self.replica, Options::new(), *b"another session!");
        }
        let mut session = Session::new(&honest, Options::new(), *b"an honest peer's");
        for _ in 0..200 {
            let (mut out, mut back) = (Vec::new(), Vec::new());
            while let Some(frame) = self.session.poll_frame(&self.replica, self.now).unwrap() {
                out.push(frame);
            }
            while let Some(frame) = session.poll_frame(&honest, self.now).unwrap() {
                back.push(frame);
            }
            if out.is_empty() && back.is_empty() {
                if session.is_equal(&honest) && self.session.is_equal(&self.replica) {
                    assert_eq!(honest.state(), self.replica.state());
                    self.replica.state().check_invariants().unwrap();
                    return;
                }
                self.now += Duration::from_secs(1);
            }
            out.iter().for_each(|frame| session.handle_frame(&mut honest, frame, self.now).unwrap());
            back.iter().for_each(|frame| self.session.handle_frame(&mut self.replica, frame, self.now).unwrap());
        }
        panic!("no honest peer gets through: {:?}, {session:?}", self.session);
    }

    #[track_caller]
    pub(crate) fn sound(&self, before: &Graph) {
        self.replica.state().check_invariants().unwrap();
        if self.merged + self.repaired == 0 {
            assert!(self.replica.state() == before);
            assert_eq!(self.replica.state().state().version(), before.state().version());
            assert_eq!(self.replica.fingerprint(), before.state().fingerprint());
        }
    }
}

pub(crate) fn heads(version: &Version) -> frames::Dots {
    version.heads().iter().map(|head| (head.writer, head.counter)).collect()
}

pub(crate) fn stands(version: &Version) -> frames::Stands {
    frames::Stands::at(heads(version))
}

pub(crate) fn print(replica: &Replica<Graph>) -> [u8; 16] {
    replica.fingerprint().to_bytes()
}

pub(crate) const NO_PRINT: [u8; 16] = [0; 16];
