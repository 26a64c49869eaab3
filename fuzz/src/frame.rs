//! Any bytes as frames, at any point of a real conversation.

use std::collections::VecDeque;
use std::time::Duration;

use driftless::kernel::State;
use driftless::sync::{Checkpoint, Event, Session};
use driftless::testing::{TestEnvironment, repair_frame_checksum};
use driftless::{Crdt, Graph, NodeId, Prune, Replica};

use crate::input::Input;
use crate::reading::Readable;
use crate::talk::{converge, trusting};
use crate::wire::{Hostile, Palette, Receiver};

const PART: u8 = 4;

/// With a receiver.
const TO: u8 = 0x80;

/// Far more frames than are due at once.
const MAX_DUE: usize = 2_000;

type Two = [Replica<Graph>; 2];

fn edit(replica: &mut Replica<Graph>, names: std::ops::Range<usize>) {
    let edit = replica.edit(|g| {
        names.clone().try_for_each(|n| {
            let id = g.add_node(&format!("node {n}"))?;
            g.set(id, "/n", n as i64)
        })
    });
    edit.expect("a plain edit");
}

/// Two that have something to say to each other: the victim and its peer.
fn scene(which: usize) -> Two {
    let mut two = [1, 2].map(|seed| Replica::<Graph>::with_environment(TestEnvironment::new(seed)));
    let [victim, peer] = &mut two;
    edit(victim, 0..20);
    peer.merge(&victim.complete()).expect("what was made");
    let remove = |replica: &mut Replica<Graph>, n: usize| {
        replica.edit(|g| g.remove_node(NodeId::named(&format!("node {n}")))).expect("a plain edit");
        replica.prune(Prune::All);
    };
    match which {
        0 => {}
        1 => {
            edit(victim, 20..22);
            edit(peer, 21..24);
        }
        2 => {
            remove(victim, 3);
            edit(peer, 30..32);
        }
        3 => {
            remove(peer, 3);
            remove(peer, 4);
        }
        4 => {
            remove(peer, 3);
            remove(victim, 4);
        }
        5 => {
            // A process and its copy in memory: one writer with two histories, since both draw the same id.
            let saved = victim.save();
            let copy = || Replica::load_with(TestEnvironment::new(3), &saved).expect("what was saved");
            (*victim, *peer) = (copy(), copy());
            edit(victim, 20..21);
            edit(peer, 21..22);
        }
        6 => *victim = Replica::with_environment(TestEnvironment::new(4)),
        _ => *peer = Replica::with_environment(TestEnvironment::new(4)),
    }
    two
}

struct Talk {
    victim: Replica<Graph>,
    peer: Replica<Graph>,
    on_victim: Session<Graph>,
    on_peer: Session<Graph>,
    /// Whom frames are for, as the peer says it.
    to: [u8; 4],
    /// The victim as it stood when it said hello.
    greeted: Receiver,
    said: VecDeque<Vec<u8>>,
    now: Duration,
    live: Graph,
}

impl Talk {
    fn new(input: &mut Input<'_>) -> Self {
        let options = input.byte();
        let [victim, peer] = scene(usize::from(options % 8));
        let mut for_victim = trusting().with_part_len(if options & 8 == 0 { 100 } else { 64 << 10 });
        if options & 16 != 0 {
            for_victim = for_victim.waiting_for_persisted();
        }
        if options & 32 != 0 {
            for_victim = for_victim.with_staging_limit(1 << 12);
        }
        if options & 64 != 0 {
            // What a broken session has left.
            let staged = Self::start(scene(options as usize % 8), for_victim.clone(), 5, input).on_victim.into_staged();
            for_victim = for_victim.with_staged(staged);
        }
        Self::start([victim, peer], for_victim, 6, input)
    }

    fn start([victim, mut peer]: Two, options: driftless::sync::Options, seed: u8, input: &mut Input<'_>) -> Self {
        let mut on_victim = Session::new(&victim, options, [seed; 16]);
        let answering = || Session::new(&peer, trusting().with_part_len(100), [seed + 10; 16]);
        let (on_peer, mut probe) = (answering(), answering());
        let hello = on_victim.poll_frame(&victim, Duration::ZERO).expect("a fresh session").expect("a hello");
        probe.handle_frame(&mut peer, &hello, Duration::ZERO).expect("a hello");
        let answer = probe.poll_frame(&peer, Duration::ZERO).expect("a fresh session").expect("a hello");
        let to = answer[1..5].try_into().expect("four bytes");
        let (greeted, live) = (Receiver::of(&victim), victim.snapshot());
        let (said, now) = ([hello].into(), Duration::ZERO);
        let mut talk = Self { victim, peer, on_victim, on_peer, to, greeted, said, now, live };
        for _ in 0..input.byte() % 64 {
            talk.hear_peer(&mut |_| {});
            talk.peer_hears();
        }
        talk
    }

    /// Hands the victim a frame, with all that must hold of it.
    fn hand(&mut self, frame: &[u8]) {
        let was = (self.victim.version().clone(), self.victim.fingerprint());
        let _ = self.on_victim.handle_frame(&mut self.victim, frame, self.now);
        let mut merged = false;
        while let Some(event) = self.on_victim.poll_event() {
            merged |= matches!(event, Event::Merged { .. } | Event::Repaired(_));
        }
        if merged {
            self.live = self.victim.snapshot();
            self.victim.state().check_invariants().expect("a consistent graph");
        }
        let now = (self.victim.version().clone(), self.victim.fingerprint());
        assert!(merged || was == now, "changed without a delta that was merged");
        for due in 0.. {
            match self.on_victim.poll_frame(&self.victim, self.now) {
                Ok(Some(frame)) => self.said.push_back(frame),
                _ => break,
            }
            assert!(due < MAX_DUE, "no end of frames");
        }
        let _ = (self.on_victim.poll_timeout(), self.on_victim.progress(), self.on_victim.standing());
    }

    /// The peer's next frame reaches the victim, as it is or not.
    fn hear_peer(&mut self, damage: &mut dyn FnMut(&mut Vec<u8>)) {
        if let Ok(Some(mut frame)) = self.on_peer.poll_frame(&self.peer, self.now) {
            damage(&mut frame);
            self.hand(&frame);
        }
    }

    fn peer_hears(&mut self) {
        if let Some(frame) = self.said.pop_front() {
            let _ = self.on_peer.handle_frame(&mut self.peer, &frame, self.now);
            while self.on_peer.poll_event().is_some() {}
        }
    }

    /// A frame of these bytes, for the victim and with a checksum that fits.
    fn frame(&self, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind];
        if kind & TO != 0 {
            frame.extend(self.to);
        }
        frame.extend(body);
        frame.extend([0; 4]);
        repair_frame_checksum(&mut frame);
        frame
    }

    fn step(&mut self, input: &mut Input<'_>, palette: &Palette) {
        match input.below(16) {
            0..=3 => {
                let (kind, body) = (input.byte(), input.bytes());
                self.hand(&self.frame(kind, body));
            }
            4 => {
                // As it is.
                let frame = input.bytes();
                self.hand(frame);
            }
            5..=7 => {
                let stream = self.stream(input, palette);
                let (number, at) = (input.number(), input.below(stream.len() + 1).min(stream.len()));
                for (offset, bytes) in [(0, &stream[..at]), (at, &stream[at..])] {
                    let mut body = Vec::new();
                    [number, stream.len() as u64, offset as u64].into_iter().for_each(|n| leb128(&mut body, n));
                    body.extend(bytes);
                    self.hand(&self.frame(PART | TO, &body));
                }
            }
            8 | 9 => self.hear_peer(&mut |_| {}),
            10 => {
                let (at, with) = (input.number() as usize, input.byte());
                let repaired = input.flag();
                self.hear_peer(&mut |frame| {
                    let at = at % frame.len();
                    frame[at] ^= with;
                    if repaired {
                        repair_frame_checksum(frame);
                    }
                });
            }
            11 | 12 => self.peer_hears(),
            13 => self.now += Duration::from_millis(100 * input.number().min(10_000)),
            14 => {
                let (how, value) = (input.byte(), input.byte());
                let _ = self.victim.edit(|g| Graph::write(g, how, value));
                if how > 200 {
                    self.victim.prune(Prune::All);
                }
                self.live = self.victim.snapshot();
            }
            _ => self.on_victim.handle_persisted(&Checkpoint::of(&self.victim)),
        }
    }

    /// A stream of slices that are whole: a header as the input says, and deltas, or anything.
    fn stream(&self, input: &mut Input<'_>, palette: &Palette) -> Vec<u8> {
        let form = match input.byte() {
            ..150 => 0,
            n => n % 6,
        };
        let mut stream = vec![form];
        let numbers = match form {
            3 | 4 => 3,
            _ => 2,
        };
        for place in 0..numbers {
            let number = match input.byte() {
                // What it builds on is most often our first announcement.
                ..150 => u64::from(place + 2 == numbers),
                _ => input.number(),
            };
            leb128(&mut stream, number);
            if place + 1 == numbers && number > 0 {
                stream.extend(input.array::<16>());
            }
        }
        if form == 1 {
            leb128(&mut stream, input.number());
        }
        // Several slices have to go together, so most streams are of one.
        for _ in 0..1 + input.below(256) / 120 {
            let slice = match input.byte() {
                200.. => input.bytes().to_vec(),
                _ => Hostile::new(input, palette, &self.greeted).to_slice(&self.greeted),
            };
            leb128(&mut stream, slice.len() as u64);
            stream.extend(slice);
        }
        stream
    }
}

fn leb128(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Whatever is said to a session at whatever point: nothing panics, what is refused changes nothing, and with an honest
/// peer it gets equal afterwards.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut talk = Talk::new(&mut input);
    let states: [&State; 2] = [talk.victim.state().state(), talk.peer.state().state()];
    let palette = Palette::of(Graph::SCHEMA, states);
    for _ in 0..40 {
        if input.is_empty() {
            break;
        }
        talk.step(&mut input, &palette);
    }
    let Talk { mut victim, mut peer, on_victim, live, .. } = talk;
    assert!(*victim.state() == live, "changed without a delta that was merged");
    let _ = on_victim.into_staged();
    victim.state().read();
    converge(&mut victim, &mut peer);
    victim.state().read();
}
