//! Two sessions over a simulated line that delays and loses frames, in simulated time.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::VecDeque;
use std::time::Duration;

use driftless::sync::{Event, Options, Session, SessionError};
use driftless::testing::TestEnvironment;
use driftless::{Graph, NodeId, Replica};

pub(crate) const TICK: u64 = 10;

pub(crate) fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// One end: a replica, its session, and the edits of the other end that have not arrived here.
pub(crate) struct End {
    pub(crate) replica: Replica<Graph>,
    pub(crate) session: Session<Graph>,
    /// Names of the other end's nodes that are still to come, with the time when each was written.
    missing: VecDeque<(String, u64)>,
    /// Delay of each edit that has arrived, in ms.
    pub(crate) lags: Vec<u64>,
    /// Frames on their way to this end, with the time of arrival.
    way: VecDeque<(u64, Vec<u8>)>,
    pub(crate) merged: u64,
}

pub(crate) struct Line {
    pub(crate) ends: [End; 2],
    /// Milliseconds since the beginning.
    pub(crate) now: u64,
    pub(crate) latency: u64,
    /// Frames that are lost, of a thousand.
    pub(crate) loss: u64,
    /// Frames that were sent so far, by both.
    pub(crate) sent: u64,
    /// Time between two frames of more than 2,000 bytes; shorter ones overtake them.
    pub(crate) spacing: u64,
    last_long: u64,
    random: u64,
    pub(crate) ended: Option<SessionError>,
}

impl Line {
    pub(crate) fn new(replicas: [Replica<Graph>; 2], options: Options, latency: u64, loss: u64, seed: u64) -> Self {
        let mut n = 0;
        let ends = replicas.map(|replica| {
            n += 1;
            let session = Session::new(&replica, options.clone(), [n + seed as u8; 16]);
            let (missing, lags, way) = Default::default();
            End { replica, session, missing, lags, way, merged: 0 }
        });
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { ends, now: 0, latency, loss, sent: 0, spacing: 0, last_long: 0, random, ended: None }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }

    /// Writes a node at one end; the other end's lag is measured by it.
    pub(crate) fn write(&mut self, who: usize, name: &str) {
        self.ends[who].replica.edit(|g| g.add_node(name)).unwrap();
        self.ends[1 - who].missing.push_back((name.to_owned(), self.now));
    }

    pub(crate) fn remove(&mut self, who: usize, name: &str) {
        self.ends[who].replica.edit(|g| g.remove_node(NodeId::named(name))).unwrap();
    }

    /// Sends all that one end has to say; `lose` says which frames are lost beside those of the line.
    pub(crate) fn poll(&mut self, who: usize, lose: &mut impl FnMut(usize, &[u8]) -> bool) {
        let now = Duration::from_millis(self.now);
        loop {
            let end = &mut self.ends[who];
            match end.session.poll_frame(&end.replica, now) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    self.sent += 1;
                    let lost = self.random() % 1_000 < self.loss;
                    if !lose(who, &frame) && !lost {
                        let mut at = self.now + self.latency;
                        if frame.len() > 2_000 {
                            at = at.max(self.last_long + self.spacing);
                            self.last_long = at;
                        }
                        let way = &mut self.ends[1 - who].way;
                        way.insert(way.partition_point(|(earlier, _)| *earlier <= at), (at, frame));
                    }
                }
                Err(error) => {
                    self.ended.get_or_insert(error);
                    break;
                }
            }
        }
    }

    fn hear(&mut self, who: usize) {
        let (now, time) = (self.now, Duration::from_millis(self.now));
        let end = &mut self.ends[who];
        while end.way.front().is_some_and(|(at, _)| *at <= now) {
            let (_, frame) = end.way.pop_front().unwrap();
            if let Err(error) = end.session.handle_frame(&mut end.replica, &frame, time) {
                self.ended.get_or_insert(error);
            }
        }
        while let Some(event) = end.session.poll_event() {
            end.merged += u64::from(matches!(event, Event::Merged { .. }));
        }
        while end.missing.front().is_some_and(|(name, _)| end.replica.state().node(NodeId::named(name)).is_some()) {
            let (_, written) = end.missing.pop_front().unwrap();
            end.lags.push(now - written);
        }
    }

    /// Lets one tick pass.
    pub(crate) fn tick(&mut self, lose: &mut impl FnMut(usize, &[u8]) -> bool) {
        for who in 0..2 {
            self.poll(who, lose);
        }
        self.now += TICK;
        for who in 0..2 {
            self.hear(who);
        }
    }

    /// The longest delay of any edit so far, those included that have not arrived.
    pub(crate) fn worst(&self) -> u64 {
        let late = self.ends.iter().flat_map(|end| end.missing.iter().map(|(_, written)| self.now - written));
        self.ends.iter().flat_map(|end| end.lags.iter().copied()).chain(late).max().unwrap_or(0)
    }

    pub(crate) fn is_equal(&self) -> bool {
        self.ends.iter().all(|end| end.session.is_equal(&end.replica))
    }
}
