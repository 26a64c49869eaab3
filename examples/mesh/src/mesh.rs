//! The replicas, their clocks, and the list of everything that anybody did.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{Crdt, EditError, Environment, Graph, Replica, WriterId};

use crate::catalog::Catalog;
use crate::exchange::Message;
use crate::op::Op;
use crate::random::Random;

pub(crate) const PEERS: usize = 3;
pub(crate) const NAMES: [&str; PEERS] = ["laptop", "phone", "server"];

/// A version as a plain list: how many writes of each peer.
pub(crate) type Seen = [u64; PEERS];

/// 2026-01-05 08:00:00 UTC, when every run begins.
const BEGINNING: u64 = 1_767_600_000_000;

/// The hands of a clock: the story moves them, the replica reads them.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self, seconds: usize) {
        self.0.fetch_add(seconds as u64 * 1000, Ordering::Relaxed);
    }
}

/// Time and randomness that replay exactly.
struct Staged {
    clock: Clock,
    random: Random,
}

impl Environment for Staged {
    fn now_ms(&mut self) -> u64 {
        self.clock.now()
    }

    fn random(&mut self) -> [u8; 16] {
        (u128::from(self.random.next()) << 64 | u128::from(self.random.next())).to_be_bytes()
    }
}

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) replica: Replica<Graph>,
    pub(crate) clock: Clock,
}

/// One edit: what a replica did in one transaction, when, and what it had seen.
pub(crate) struct Record {
    pub(crate) who: usize,
    pub(crate) at: u64,
    pub(crate) seen: Seen,
    /// How many writes the replica had made afterwards, by its own version.
    pub(crate) upto: u64,
    pub(crate) ops: Vec<Op>,
}

pub(crate) struct Mesh {
    pub(crate) peers: [Peer; PEERS],
    /// What each has seen, by our own count: what it wrote, and what it was sent.
    pub(crate) heard: [Seen; PEERS],
    pub(crate) catalog: Catalog,
    pub(crate) log: Vec<Record>,
}

pub(crate) fn includes(version: &Seen, other: &Seen) -> bool {
    version.iter().zip(other).all(|(ours, theirs)| ours >= theirs)
}

pub(crate) fn join(version: &mut Seen, other: &Seen) {
    version.iter_mut().zip(other).for_each(|(ours, theirs)| *ours = theirs.max(ours).to_owned());
}

/// Which step of an edit a replica refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) step: usize,
    pub(crate) error: EditError,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} of an edit was refused: {}", self.step + 1, self.error)
    }
}

impl Error for Refused {}

impl Mesh {
    pub(crate) fn new(seed: u64) -> Self {
        let mut seeds = Random::new(seed);
        let peers = NAMES.map(|name| {
            let clock = Clock(Arc::new(AtomicU64::new(BEGINNING)));
            let staged = Staged { clock: clock.clone(), random: Random::new(seeds.next()) };
            Peer { name, replica: Replica::with_environment(staged), clock }
        });
        Self { peers, heard: Default::default(), catalog: Catalog::default(), log: Vec::new() }
    }

    /// Lets one replica make an edit, and records it. Returns its delta; none if it wrote nothing.
    pub(crate) fn edit(&mut self, who: usize, ops: Vec<Op>) -> Result<Option<Message>, Refused> {
        for op in &ops {
            if let Op::Link(relation) = op {
                self.catalog.remember(relation);
            }
        }
        let (peer, catalog) = (&mut self.peers[who], &self.catalog);
        let mut step = 0;
        let edited = peer.replica.edit(|graph| {
            ops.iter().enumerate().try_for_each(|(i, op)| {
                step = i;
                op.perform(catalog, graph)
            })
        });
        let ((), delta) = edited.map_err(|error| Refused { step, error })?;
        let (at, seen) = (peer.clock.now(), self.heard[who]);
        self.heard[who][who] = self.version(who)[who];
        let upto = self.heard[who];
        self.log.push(Record { who, at, seen, upto: upto[who], ops });
        Ok((!delta.is_empty()).then(|| Message { bytes: delta.to_bytes(), since: seen, upto }))
    }

    /// What a replica says that it has seen. A peer that never wrote has no id, and nobody has seen anything of it.
    pub(crate) fn version(&self, who: usize) -> Seen {
        let version = self.peers[who].replica.version();
        self.ids().map(|id| id.map_or(0, |id| version.get(id)))
    }

    /// Whether that is what it has heard.
    pub(crate) fn check_version(&self, who: usize) -> Result<(), String> {
        let (says, heard) = (self.version(who), self.heard[who]);
        match says == heard {
            true => Ok(()),
            false => Err(format!("{} says that it has seen {says:?} writes, and has heard {heard:?}", NAMES[who])),
        }
    }

    pub(crate) fn ids(&self) -> [Option<WriterId>; PEERS] {
        std::array::from_fn(|who| self.peers[who].replica.id())
    }

    pub(crate) fn graph(&self, who: usize) -> &Graph {
        self.peers[who].replica.state()
    }

    /// The fingerprint of a replica's state, in hexadecimal.
    pub(crate) fn fingerprint(&self, who: usize) -> String {
        let bytes = self.graph(who).state().fingerprint().to_bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Who writes under an id.
    pub(crate) fn name_of(&self, id: WriterId) -> &'static str {
        self.ids().iter().position(|known| *known == Some(id)).map_or("somebody", |who| NAMES[who])
    }

    /// Sets all clocks to the latest of them and some seconds more: the replicas can hear each other again.
    pub(crate) fn set_clocks(&self, seconds: usize) {
        let latest = self.peers.iter().map(|peer| peer.clock.now()).max().unwrap_or_default();
        for peer in &self.peers {
            peer.clock.0.store(latest, Ordering::Relaxed);
            peer.clock.advance(seconds);
        }
    }
}
