//! Two replicas over a network that the input controls.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use driftless::kernel::{Dropped, Entity, MergeError, Payload};
use driftless::sync::{Checkpoint, Event, Options, Session, SessionError, Staged};
use driftless::testing::{Oracle, Raw, TestEnvironment, repair_frame_checksum};
use driftless::{Crdt, Delta, Dot, Environment, Fingerprint, Prune, Replica, Version};

use crate::input::Input;
use crate::talk::{End, converse, trusting};

/// How much goes wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum World {
    /// Frames are lost, come twice, late or damaged; replicas open any save that either of them ever made: the latest, a
    /// backup, a copy of the other's. Then what is alive is exactly what must be.
    Honest,
    /// A running process is copied with its memory, and both go on as one writer.
    Copies,
    /// And damage is repaired, so that it counts as what the peer says.
    Lies,
}

const FIELDS: [&[u8]; 4] = [b"", b"a", b"b", b"long name of a field"];

/// How many sessions it takes at most to get equal over a clean network.
const MAX_SESSIONS: usize = 12;

struct Site {
    replica: Replica<Raw>,
    session: Session<Raw>,
    inbox: VecDeque<Vec<u8>>,
    clock: Arc<AtomicU64>,
    saves: Vec<Vec<u8>>,
    /// What was last found to be in order.
    checked: (Version, Fingerprint),
}

struct Net {
    world: World,
    options: [Options; 2],
    sites: [Site; 2],
    oracle: Oracle,
    now: Duration,
    /// No two environments, sessions or values are alike.
    seeds: u64,
    /// A replica has opened a save that was not its latest, so a peer may have heard of more than it holds.
    set_back: bool,
    /// What a merge or a repair has handed back.
    dropped: BTreeSet<Vec<u8>>,
}

/// The environment of a process that was copied with its memory.
struct Copied {
    /// The randomness that its writer was drawn from, before it was copied.
    writer: Option<[u8; 16]>,
    own: TestEnvironment,
}

impl Environment for Copied {
    fn now_ms(&mut self) -> u64 {
        self.own.now_ms()
    }

    fn random(&mut self) -> [u8; 16] {
        self.writer.take().unwrap_or_else(|| self.own.random())
    }

    fn process(&mut self) -> u32 {
        self.own.process()
    }
}

fn alive(replica: &Replica<Raw>) -> BTreeSet<Vec<u8>> {
    let payloads = replica.state().state().live_siblings().filter_map(|(.., sibling)| sibling.payload);
    payloads.map(|payload| payload.bytes().to_vec()).collect()
}

fn session(replica: &Replica<Raw>, options: &Options, seed: u64) -> Session<Raw> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Session::new(replica, options.clone(), bytes)
}

impl Net {
    fn new(input: &mut Input<'_>) -> Self {
        let options = input.byte();
        let world = [World::Honest, World::Honest, World::Copies, World::Lies][usize::from(options % 4)];
        let option = |bit: u8| {
            let part_len = [20, 64 << 10][usize::from(options >> 4 & 1)];
            let options_of = trusting().with_part_len(part_len);
            if options & bit != 0 { options_of.waiting_for_persisted() } else { options_of }
        };
        let options = [option(4), option(8)];
        let site = |who: usize| {
            let environment = TestEnvironment::new(who as u64);
            let clock = environment.clock();
            let replica = Replica::with_environment(environment);
            let session = session(&replica, &options[who], who as u64);
            let checked = (Version::new(), replica.fingerprint());
            Site { replica, session, inbox: VecDeque::new(), clock, saves: Vec::new(), checked }
        };
        let sites = [site(0), site(1)];
        let (oracle, dropped) = (Oracle::default(), BTreeSet::new());
        Self { world, options, sites, oracle, now: Duration::ZERO, seeds: 2, set_back: false, dropped }
    }

    fn seed(&mut self) -> u64 {
        self.seeds += 1;
        self.seeds
    }

    /// What is alive at a site is what must be.
    fn check(&mut self, who: usize) {
        let site = &mut self.sites[who];
        let now = (site.replica.version().clone(), site.replica.fingerprint());
        if std::mem::replace(&mut site.checked, now.clone()) != now {
            self.check_all(who);
        }
    }

    fn check_all(&self, who: usize) {
        let state = self.sites[who].replica.state().state();
        state.check_invariants().expect("a consistent state");
        if self.world == World::Honest {
            self.oracle.check(state).expect("what must be alive");
        }
    }

    /// Writes a cell, or removes what it holds, or the whole entity.
    fn write(&mut self, who: usize, place: u8, what: u8) {
        let value = self.seed().to_be_bytes();
        let (entity, field) = (Entity::new(1, [place % 3; 16]), FIELDS[usize::from(place / 3) % FIELDS.len()]);
        let long = [&value[..], &[what; 40]].concat();
        let bytes = if what & 8 == 0 { &value[..] } else { &long };
        let site = &mut self.sites[who];
        let before = site.replica.version().clone();
        let edited = site.replica.edit(|raw| match what % 4 {
            0 | 1 => raw.write(entity, field, Payload::new(1, bytes)).map(|_| true),
            2 => raw.erase(entity, field),
            _ => raw.delete(entity),
        });
        let Ok((wrote, delta)) = edited else {
            assert!(self.world == World::Lies, "an edit was refused");
            return;
        };
        if wrote && self.world == World::Honest {
            let (field, value) = match what % 4 {
                0 | 1 => (field, Some((1, bytes))),
                2 => (field, None),
                _ => (&b""[..], None),
            };
            let dot = only_dot(&delta, &before);
            assert_eq!(site.replica.writer(), Some(dot.writer));
            self.oracle.record(dot, entity, field, value, &before);
        }
        self.check(who);
    }

    /// Takes what a session has to tell and to send.
    fn poll(&mut self, who: usize) {
        let mut due = 0;
        while due < 2_000 {
            let site = &mut self.sites[who];
            match site.session.poll_frame(&site.replica, self.now) {
                Ok(Some(frame)) => self.sites[1 - who].inbox.push_back(frame),
                Ok(None) => return,
                Err(error) => return ended(self.world, &error),
            }
            due += 1;
        }
        panic!("no end of frames");
    }

    fn deliver(&mut self, who: usize, which: usize) {
        let site = &mut self.sites[who];
        let Some(frame) = site.inbox.remove(which % site.inbox.len().max(1)) else { return };
        let result = site.session.handle_frame(&mut site.replica, &frame, self.now);
        let events: Vec<_> = std::iter::from_fn(|| site.session.poll_event()).collect();
        events.into_iter().for_each(|event| self.told(event));
        if let Err(error) = result {
            ended(self.world, &error);
        }
        self.check(who);
    }

    fn told(&mut self, event: Event<Raw>) {
        match event {
            Event::Repaired(repair) => {
                assert!(self.world != World::Honest, "a repair of what nobody contradicted");
                self.lost(repair.dropped());
            }
            Event::Merged { report, .. } => {
                let doubts = report.has_diverged() || report.shared_writer().is_some() || !report.dropped().is_empty();
                assert!(!doubts || self.world != World::Honest, "one dot with two contents");
                self.lost(report.dropped());
            }
            _ => {}
        }
    }

    fn lost(&mut self, dropped: &[Dropped]) {
        let payloads = dropped.iter().filter_map(|dropped| dropped.was.sibling.payload.as_ref());
        self.dropped.extend(payloads.map(|payload| payload.bytes().to_vec()));
    }

    /// Opens a state that was saved: what it holds now, or any that either of the two has saved before.
    fn restart(&mut self, who: usize, how: u8) {
        let environment = TestEnvironment::new(1_000 + self.seed());
        let of = if how & 2 != 0 { 1 - who } else { who };
        let saves = &self.sites[of].saves;
        let saved = match saves.get(usize::from(how / 8) % saves.len().max(1)).filter(|_| how & 4 != 0) {
            Some(earlier) => {
                self.set_back = true;
                earlier.clone()
            }
            None => self.sites[who].replica.save(),
        };
        let site = &mut self.sites[who];
        site.clock = environment.clock();
        site.replica = Replica::load_with(environment, &saved).expect("what was saved");
        self.reconnect(who, None);
        self.check_all(who);
    }

    /// A process goes on twice, with its memory: both draw the same writer and write by it.
    fn copy(&mut self, of: usize, place: u8, what: u8) {
        self.set_back = true;
        let original = self.sites[of].replica.fork();
        // Both are the writer that the process was. What they draw later comes from the system, and differs.
        let writer = TestEnvironment::new(1_000 + self.seed()).random();
        for site in 0..2 {
            let own = TestEnvironment::new(1_000 + self.seed());
            let site = &mut self.sites[site];
            site.clock = own.clock();
            site.replica = original.fork_with(Copied { writer: Some(writer), own });
            // Sessions and frames are those of the process that is gone.
            site.inbox.clear();
        }
        for who in 0..2 {
            self.reconnect(who, None);
            self.write(who, place.wrapping_add(who as u8), what);
        }
    }

    /// A new session, which goes on from what the last one has staged.
    fn reconnect(&mut self, who: usize, staged: Option<Box<Staged>>) {
        let (options, seed) = (self.options[who].clone().with_staged(staged), self.seed());
        let site = &mut self.sites[who];
        site.session = session(&site.replica, &options, seed);
    }

    fn take_staged(&mut self, who: usize) -> Option<Box<Staged>> {
        let spare = session(&self.sites[who].replica, &self.options[who], u64::MAX);
        std::mem::replace(&mut self.sites[who].session, spare).into_staged()
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.byte();
        let who = usize::from(op >> 7);
        match op & 0x1f {
            0..=4 => self.write(who, input.byte(), input.byte()),
            5 => {
                let seen = self.sites[1 - who].replica.version().clone();
                let all = input.flag();
                self.sites[who].replica.prune(if all { Prune::All } else { Prune::Upto(&seen) });
                self.check_all(who);
            }
            6..=11 => self.poll(who),
            12..=17 => self.deliver(who, 0),
            18 | 19 => self.deliver(who, input.byte().into()),
            20 => {
                // As good a network as there is, for a while.
                for _ in 0..input.byte() % 16 {
                    for who in 0..2 {
                        self.poll(who);
                        self.deliver(who, 0);
                    }
                }
            }
            21 => {
                let (inbox, which) = (&mut self.sites[who].inbox, input.below(256));
                if let Some(frame) = inbox.get(which % inbox.len().max(1)).cloned() {
                    inbox.push_back(frame);
                }
            }
            22 => {
                let (inbox, which) = (&mut self.sites[who].inbox, input.below(256));
                inbox.remove(which % inbox.len().max(1));
            }
            23 | 24 => {
                let (which, at, with) = (input.below(256), input.number() as usize, input.byte());
                let repaired = self.world == World::Lies && input.flag();
                let inbox = &mut self.sites[who].inbox;
                let len = inbox.len().max(1);
                if let Some(frame) = inbox.get_mut(which % len) {
                    let at = at % frame.len();
                    frame[at] ^= with;
                    if repaired {
                        repair_frame_checksum(frame);
                    }
                }
            }
            25 => self.now += Duration::from_millis(100 * u64::from(input.byte())),
            26 => drop(self.sites[who].clock.fetch_add(input.number() % 1_000_000, Ordering::Relaxed)),
            27 => {
                let how = input.byte();
                self.restart(who, how);
            }
            28 => {
                let staged = self.take_staged(who);
                self.reconnect(who, staged.filter(|_| op & 0x40 != 0));
            }
            29 => {
                if self.world != World::Honest && op & 0x40 != 0 {
                    return self.copy(who, input.byte(), input.byte());
                }
                let site = &mut self.sites[who];
                site.saves.push(site.replica.save());
            }
            30 => {
                let site = &mut self.sites[who];
                site.session.handle_persisted(&Checkpoint::of(&site.replica));
            }
            _ => self.sites[who].session.close(),
        }
    }

    /// The network is clean from now on. Both get equal, by these sessions if they are not over or else by others.
    fn heal(&mut self) {
        if self.world != World::Honest || self.set_back {
            // What is on its way may come from before a replica was set back, and nobody may hold it any more; and what a
            // session was told it believes until its end.
            self.reconnect_both();
        }
        let before = [0, 1].map(|who| alive(&self.sites[who].replica));
        for _ in 0..MAX_SESSIONS {
            for site in &mut self.sites {
                site.session.handle_persisted(&Checkpoint::of(&site.replica));
            }
            let over = self.sites.iter().any(|site| site.session.is_over());
            let result = match over {
                true => Err((0, SessionError::Silence)),
                false => self.converse(),
            };
            match result {
                Ok(()) => return self.check_equal(&before),
                Err((_, error)) => ended(self.world, &error),
            }
            if self.world == World::Lies && self.births_contradict() {
                return;
            }
            self.reconnect_both();
        }
        panic!("{MAX_SESSIONS} sessions and not equal");
    }

    /// True if a peer that lied made the two know other births of one writer: then neither takes a delta of the other's.
    fn births_contradict(&self) -> bool {
        let [one, other] = &self.sites;
        let mut fork = one.replica.fork_with(TestEnvironment::new(u64::MAX));
        matches!(fork.merge(&other.replica.complete()), Err(MergeError::TwoBirths { .. }))
    }

    fn reconnect_both(&mut self) {
        for who in 0..2 {
            self.options[who] = trusting();
            self.sites[who].inbox.clear();
            self.reconnect(who, None);
        }
    }

    fn converse(&mut self) -> Result<(), (usize, SessionError)> {
        let mut now = self.now;
        let mut events = Vec::new();
        let [one, other] = &mut self.sites;
        let spare = |site: &Site| session(&site.replica, &Options::new(), u64::MAX);
        let (for_one, for_other) = (spare(one), spare(other));
        let end =
            |site: &mut Site, spare| (std::mem::replace(&mut site.session, spare), std::mem::take(&mut site.inbox));
        let ((on_one, inbox_of_one), (on_other, inbox_of_other)) = (end(one, for_one), end(other, for_other));
        let mut ends = [
            End { replica: &mut one.replica, session: on_one, inbox: inbox_of_one },
            End { replica: &mut other.replica, session: on_other, inbox: inbox_of_other },
        ];
        let result = converse(&mut ends, &mut now, &mut |event| events.push(event));
        let [End { session: on_one, .. }, End { session: on_other, .. }] = ends;
        (one.session, other.session) = (on_one, on_other);
        self.now = now;
        events.into_iter().for_each(|event| self.told(event));
        result
    }

    fn check_equal(&self, before: &[BTreeSet<Vec<u8>>; 2]) {
        let [one, other] = &self.sites;
        assert!(one.replica.version() == other.replica.version(), "equal, and one has seen more");
        assert!(one.replica.fingerprint() == other.replica.fingerprint());
        (0..2).for_each(|who| self.check_all(who));
        if self.world == World::Copies {
            let now = alive(&one.replica);
            assert_eq!(now, alive(&other.replica));
            assert!(now.iter().all(|value| before.iter().any(|alive| alive.contains(value))), "what was dead is back");
            let held = before[0].intersection(&before[1]).filter(|value| !self.dropped.contains(*value));
            assert!(held.into_iter().all(|value| now.contains(value)), "what both held is gone");
        }
    }
}

/// A session came to its end: was there reason to?
fn ended(world: World, error: &SessionError) {
    match error {
        SessionError::Silence | SessionError::Nonsense(_) | SessionError::Left(_) => {}
        SessionError::Contradiction if world != World::Honest => {}
        _ if world == World::Lies => {}
        other => panic!("a session ended: {other}"),
    }
}

/// The one dot of an edit.
fn only_dot(delta: &Delta, before: &Version) -> Dot {
    let new: Vec<Dot> = delta.upto().heads().iter().copied().filter(|head| !before.covers(*head)).collect();
    assert_eq!((delta.len(), new.len()), (1, 1), "one write, one dot");
    new[0]
}

/// Whatever the network does, what is alive is what must be, and once it is clean both get equal.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut net = Net::new(&mut input);
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        net.step(&mut input);
    }
    net.heal();
}
