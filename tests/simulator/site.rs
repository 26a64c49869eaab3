//! A replica, its disk, and its clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::sync::Devices;
use driftless::testing::TestEnvironment;
use driftless::{Delta, Edit, EditError, Environment, Graph, NodeId, Replica, Version};

use crate::letters::letters;
use crate::random::Random;

/// So that a clock can be a day slow.
const START: u64 = 1_000_000_000;
const DAY: u64 = 24 * 60 * 60 * 1000;

/// Randomness of a process that may be a copy of another: from some time on each draws numbers of its own.
struct Entropy {
    known: TestEnvironment,
    /// Mixed into each number to tell the copies apart; 0 until they part.
    own: Arc<AtomicU64>,
}

impl Environment for Entropy {
    fn now_ms(&mut self) -> u64 {
        self.known.now_ms()
    }

    fn random(&mut self) -> [u8; 16] {
        let own = u128::from(self.own.load(Ordering::Relaxed));
        (u128::from_be_bytes(self.known.random()) ^ own).to_be_bytes()
    }
}

pub(crate) struct Site {
    pub(crate) replica: Replica<Graph>,
    clock: Arc<AtomicU64>,
    own: Arc<AtomicU64>,
    /// How far the clock is off.
    ahead: u64,
    /// The last is what a crash comes back with.
    pub(crate) disk: Vec<Save>,
    /// Whether a save is to come.
    pub(crate) save_due: bool,
    pub(crate) waits: bool,
    /// What is durable was once replaced by an older state, or by another's.
    pub(crate) set_back: bool,
    /// What was written and merged since the last save, with whether it was written here; none if some of it is missing.
    pub(crate) log: Option<Vec<(bool, Delta)>>,
    /// Something was pruned since the last save: no log tells of it.
    pub(crate) has_pruned: bool,
    pub(crate) devices: Devices,
}

#[derive(Clone)]
pub(crate) struct Save {
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: Version,
}

fn environment(seed: u64) -> (Entropy, Arc<AtomicU64>, Arc<AtomicU64>) {
    let (known, own) = (TestEnvironment::new(seed), Arc::new(AtomicU64::new(0)));
    let clock = known.clock();
    (Entropy { known, own: Arc::clone(&own) }, clock, own)
}

impl Site {
    pub(crate) fn new(seed: u64, waits: bool, ahead: Option<u64>) -> Self {
        let (environment, clock, own) = environment(seed);
        let replica = Replica::with_environment(environment);
        let (disk, devices) = (Vec::new(), Devices::new());
        let ahead = DAY + ahead.map_or(0, |ahead| ahead % (2 * DAY));
        let log = Some(Vec::new());
        Self {
            replica,
            clock,
            own,
            ahead,
            disk,
            save_due: false,
            waits,
            set_back: false,
            log,
            has_pruned: false,
            devices,
        }
    }

    pub(crate) fn set_clock(&self, now: u64) {
        self.clock.store(self.time(now), Ordering::Relaxed);
    }

    pub(crate) fn time(&self, now: u64) -> u64 {
        START + self.ahead + now
    }

    pub(crate) fn save(&mut self) {
        let (bytes, version) = (self.replica.save(), self.replica.version().clone());
        self.disk.push(Save { bytes, version });
        self.save_due = false;
        (self.log, self.has_pruned) = (Some(Vec::new()), false);
    }

    pub(crate) fn is_saved(&self) -> bool {
        self.disk.last().is_some_and(|save| save.version == *self.replica.version())
    }

    /// Opens a save of whatever age, of whatever site.
    pub(crate) fn open(&mut self, seed: u64, save: &Save, now: u64) -> Result<(), String> {
        let environment;
        (environment, self.clock, self.own) = crate::site::environment(seed);
        self.set_clock(now);
        self.replica =
            Replica::load_with(environment, &save.bytes).map_err(|e| format!("a save cannot be opened: {e}"))?;
        if *self.replica.version() != save.version {
            return Err(format!("saved at {:?}, opened at {:?}", save.version, self.replica.version()));
        }
        self.save_due = false;
        (self.log, self.has_pruned) = (Some(Vec::new()), false);
        Ok(())
    }

    /// Goes through the first so many entries of a log again.
    pub(crate) fn replay(&mut self, log: &[(bool, Delta)]) -> Result<(), String> {
        for (is_own, delta) in log {
            let report = if *is_own { self.replica.replay(delta) } else { self.replica.merge(delta) };
            report.map_err(|e| format!("a log cannot be replayed: {e}"))?;
        }
        self.log = Some(log.to_vec());
        Ok(())
    }

    /// Process and memory of another: both go on as one writer, and do not know it.
    pub(crate) fn copy_process(&mut self, seed: u64, other: &mut Self, now: u64) -> Result<(), String> {
        other.save();
        let save = other.disk.last().cloned().ok_or("just saved")?;
        self.ahead = other.ahead;
        [&mut *self, other].into_iter().try_for_each(|site| site.open(seed, &save, now))
    }

    /// From now on what is drawn here is drawn nowhere else.
    pub(crate) fn part(&self, from: u64) {
        self.own.store(from, Ordering::Relaxed);
    }
}

const NAMES: [&str; 4] = ["ada", "eve", "joe", "mia"];

pub(crate) fn base_name(n: usize) -> String {
    format!("base {n}")
}

/// One operation of a small alphabet, so that writers meet. What cannot be done is left out.
pub(crate) fn write(
    g: &mut Edit<'_, Graph>,
    random: &mut Random,
    nodes: usize,
    text_len: usize,
) -> Result<(), EditError> {
    let name = |random: &mut Random| match nodes > 0 && random.percent(30) {
        true => base_name(random.below(nodes)),
        false => NAMES[random.below(NAMES.len())].to_owned(),
    };
    let (name, other, p) = (name(random), NodeId::named(&name(random)), random.below(3));
    let node = NodeId::named(&name);
    // Where texts are long, most of what is done is to write some.
    let done = match random.below(if text_len > 1 << 10 { 14 } else { 24 }) {
        0..=3 => g.add_node(&name).map(drop),
        4 => g.remove_node(node).map(drop),
        5 => g.remove_node_with_edges(node).map(drop),
        6 => g.restore_node(&name).map(drop),
        7 => g.label(node, ["x", "y"][p % 2]),
        8 => g.unlabel(node, ["x", "y"][p % 2]).map(drop),
        9..=13 => {
            let len = random.below(text_len) + 16;
            g.set(node, format!("/{p}"), &letters(random.next(), len))
        }
        14..=16 => g.unset(node, format!("/{p}")).map(drop),
        17..=18 => g.link(node, "knows", other).map(drop),
        19 => g.unlink(driftless::EdgeId::between(node, "knows", other)).map(drop),
        20..=21 => g.properties_mut(node).add("/count", 1 + p as i64),
        _ => g.set(driftless::EdgeId::between(node, "knows", other), "/since", p as i64),
    };
    match done {
        Err(EditError::NoNode(_) | EditError::NoEdge(_)) => Ok(()),
        other => other,
    }
}
