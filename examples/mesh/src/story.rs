//! What happens, in order: bring up, cut apart, heal, a while on a bad line, and the last pulls.

use std::error::Error;
use std::rc::Rc;

use driftless::{Prune, Version};
use serde::Serialize;

use crate::editor::{Editor, Kind};
use crate::exchange::{Arrival, Exchange, Message};
use crate::import::IMPORTER;
use crate::mesh::{Mesh, NAMES, PEERS};
use crate::random::Random;

const LAPTOP: usize = 0;
const PHONE: usize = 1;
const SERVER: usize = 2;

/// Percentages of messages.
const LOST: usize = 12;
const RARELY_LOST: usize = 2;
const REPEATED: usize = 12;
/// So many messages that follow each other come in any order.
const OUT_OF_ORDER: usize = 20;
/// How many edits later a message on the bad line arrives at the latest.
const DELAY: usize = 6;

/// What happened, for whoever tells it.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) brought_up: Vec<Exchange>,
    pub(crate) done: Vec<Done>,
    pub(crate) healing: Vec<Exchange>,
    pub(crate) pruned: Vec<Pruned>,
}

/// An edit that somebody chose to make.
pub(crate) struct Done {
    pub(crate) kind: Kind,
    /// Its place in the mesh's log.
    pub(crate) record: usize,
    /// Whether it was made while nobody heard of anybody.
    pub(crate) apart: bool,
}

/// Tombstones that somebody dropped.
#[derive(Serialize)]
pub(crate) struct Pruned {
    pub(crate) peer: &'static str,
    pub(crate) tombstones: usize,
    /// After this many of the exchanges in [`Story::healing`].
    pub(crate) after: usize,
    pub(crate) seen_by_all: bool,
}

/// The edits that each made while nobody heard of it.
type Kept = [Vec<Message>; PEERS];

pub(crate) struct Teller<'a> {
    pub(crate) mesh: &'a mut Mesh,
    pub(crate) editor: Editor,
    pub(crate) random: Random,
    pub(crate) story: Story,
}

impl Teller<'_> {
    /// Two empty replicas get what the third has read: one at once, one as it was read.
    pub(crate) fn bring_up(&mut self, messages: &[Message]) -> Result<(), Box<dyn Error>> {
        let mut at_once = Exchange::new("one delta since nothing", NAMES[IMPORTER], NAMES[PHONE]);
        at_once.pull(self.mesh, IMPORTER, PHONE)?;
        let mut as_read = Exchange::new("the delta of each transaction", NAMES[IMPORTER], NAMES[SERVER]);
        as_read.deliver_patiently(messages, self.mesh, SERVER)?;
        self.story.brought_up = vec![at_once, as_read];
        Ok(())
    }

    /// Nobody hears of anybody, and everybody goes on.
    pub(crate) fn cut_apart(&mut self, edits: usize) -> Result<Kept, Box<dyn Error>> {
        self.mesh.set_clocks(60);
        let mut kept = Kept::default();
        for (who, kept) in kept.iter_mut().enumerate() {
            for _ in 0..edits {
                // In whole seconds, so that two may write in the same one.
                self.mesh.peers[who].clock.advance(1 + self.random.below(20));
                kept.extend(self.edit(who, true)?);
            }
        }
        self.mesh.set_clocks(60);
        Ok(kept)
    }

    /// One edit of one peer; no message if it wrote nothing.
    fn edit(&mut self, who: usize, apart: bool) -> Result<Option<Message>, Box<dyn Error>> {
        let Mesh { peers, catalog, log, .. } = &mut *self.mesh;
        let (kind, ops) = self.editor.next(who, peers[who].replica.state(), catalog);
        self.story.done.push(Done { kind, record: log.len(), apart });
        Ok(self.mesh.edit(who, ops)?)
    }

    /// They hear each other again, each pair in another way.
    pub(crate) fn heal(&mut self, kept: &Kept) -> Result<(), Box<dyn Error>> {
        let waiting = self.send_kept("edits kept, out of order, some lost", LAPTOP, PHONE, kept, RARELY_LOST)?;
        if waiting > 0 {
            self.pull(format!("pull, since {waiting} still wait for lost ones"), LAPTOP, PHONE)?;
        }
        self.send_backwards("edits kept, the last one first", PHONE, SERVER, kept)?;
        self.prune_all(SERVER);
        self.pull("pull", SERVER, LAPTOP)?;
        self.send_kept("edits kept, out of order", SERVER, PHONE, kept, 0)?;
        self.pull("pull", LAPTOP, SERVER)
    }

    /// Returns how many wait in vain.
    fn send_kept(
        &mut self,
        step: &str,
        from: usize,
        to: usize,
        kept: &Kept,
        lost: usize,
    ) -> Result<usize, Box<dyn Error>> {
        let mut exchange = Exchange::new(step, NAMES[from], NAMES[to]);
        let mut messages = Vec::new();
        for message in &kept[from] {
            let copies = if self.random.chance(REPEATED) { 2 } else { 1 };
            for _ in 0..copies {
                let loses = self.random.chance(lost);
                exchange.lose(loses);
                messages.extend((!loses).then_some(message));
            }
        }
        messages.chunks_mut(OUT_OF_ORDER).for_each(|some| self.random.shuffle(some));
        let waiting = exchange.deliver_patiently(messages, self.mesh, to)?;
        self.story.healing.push(exchange);
        Ok(waiting)
    }

    fn send_backwards(&mut self, step: &str, from: usize, to: usize, kept: &Kept) -> Result<(), Box<dyn Error>> {
        let mut exchange = Exchange::new(step, NAMES[from], NAMES[to]);
        exchange.deliver_patiently(kept[from].iter().rev(), self.mesh, to)?;
        self.story.healing.push(exchange);
        Ok(())
    }

    /// Somebody gets again what he has had, in any order, and what it removed he has forgotten: nothing may come back.
    pub(crate) fn send_again(&mut self, kept: &Kept) -> Result<(), Box<dyn Error>> {
        let mut exchange = Exchange::new("edits kept, all of them once more", "others", NAMES[SERVER]);
        let mut messages: Vec<&Message> = kept[LAPTOP].iter().chain(&kept[PHONE]).collect();
        self.random.shuffle(&mut messages);
        exchange.deliver_patiently(messages, self.mesh, SERVER)?;
        self.story.healing.push(exchange);
        Ok(())
    }

    fn pull(&mut self, step: impl Into<String>, from: usize, to: usize) -> Result<(), Box<dyn Error>> {
        let mut exchange = Exchange::new(step, NAMES[from], NAMES[to]);
        exchange.pull(self.mesh, from, to)?;
        self.story.healing.push(exchange);
        Ok(())
    }

    /// Drops tombstones that others have not seen: those who lack them have to reconcile.
    fn prune_all(&mut self, who: usize) {
        let tombstones = self.mesh.peers[who].replica.prune(Prune::All);
        let (peer, after) = (NAMES[who], self.story.healing.len());
        self.story.pruned.push(Pruned { peer, tombstones, after, seen_by_all: false });
    }

    /// All go on editing and tell the others at once, over a line that loses, repeats and delays.
    pub(crate) fn edit_on_a_bad_line(&mut self, edits: usize) -> Result<(), Box<dyn Error>> {
        let mut line = Line::default();
        let mut exchanges = NAMES.map(|name| Exchange::new("edits as they are made, on a bad line", "others", name));
        for now in 0..edits {
            self.mesh.set_clocks(1 + self.random.below(9));
            let who = self.random.below(PEERS);
            if let Some(message) = self.edit(who, false)? {
                self.send(who, message, now, &mut line, &mut exchanges);
            }
            if now == edits / 2 {
                self.prune_all(PHONE);
            }
            self.receive(line.due(now), &mut exchanges)?;
        }
        self.receive(line.due(usize::MAX), &mut exchanges)?;
        self.story.healing.extend(exchanges);
        Ok(())
    }

    fn send(&mut self, from: usize, message: Message, now: usize, line: &mut Line, to: &mut [Exchange; PEERS]) {
        let message = Rc::new(message);
        for (receiver, exchange) in to.iter_mut().enumerate().filter(|(receiver, _)| *receiver != from) {
            let copies = if self.random.chance(REPEATED) { 2 } else { 1 };
            for _ in 0..copies {
                let loses = self.random.chance(LOST);
                exchange.lose(loses);
                if !loses {
                    let due = now + self.random.below(DELAY);
                    line.under_way.push(Letter { from, to: receiver, due, message: message.clone() });
                }
            }
        }
    }

    /// What is early is not kept: the receiver pulls from its sender at once, and has it with all that it builds on.
    fn receive(&mut self, mut letters: Vec<Letter>, exchanges: &mut [Exchange; PEERS]) -> Result<(), Box<dyn Error>> {
        self.random.shuffle(&mut letters);
        for Letter { from, to, message, .. } in letters {
            let exchange = &mut exchanges[to];
            if let Arrival::Early(_) = exchange.deliver(&message, self.mesh, to)? {
                exchange.pull(self.mesh, from, to)?;
            }
        }
        Ok(())
    }

    /// Everybody pulls from everybody who has seen something new, until all have seen all.
    pub(crate) fn settle(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            let mut exchanges = NAMES.map(|name| Exchange::new("last pulls, until all have seen all", "others", name));
            for (from, to) in (0..PEERS * PEERS).map(|pair| (pair / PEERS, pair % PEERS)) {
                let (sender, receiver) = (&self.mesh.peers[from].replica, &self.mesh.peers[to].replica);
                if !receiver.version().includes(sender.version()) {
                    exchanges[to].pull(self.mesh, from, to)?;
                }
            }
            let pulled = exchanges.into_iter().filter(|exchange| exchange.pulled > 0);
            let before = self.story.healing.len();
            self.story.healing.extend(pulled);
            if self.story.healing.len() == before {
                return Ok(());
            }
        }
    }

    /// What everybody has seen, everybody can forget: it costs nobody anything.
    pub(crate) fn tidy_up(&mut self) {
        let Some(seen_by_all) = meet(self.mesh.peers.iter().map(|peer| peer.replica.version())) else { return };
        let after = self.story.healing.len();
        for peer in &mut self.mesh.peers {
            let tombstones = peer.replica.prune(Prune::Upto(&seen_by_all));
            self.story.pruned.push(Pruned { peer: peer.name, tombstones, after, seen_by_all: true });
        }
    }
}

/// What all of these have seen.
fn meet<'a>(mut versions: impl Iterator<Item = &'a Version>) -> Option<Version> {
    let first = versions.next()?.clone();
    Some(versions.fold(first, |all, next| all.iter().map(|(id, n)| (id, n.min(next.get(id)))).collect()))
}

/// A line between all peers that takes its time.
#[derive(Default)]
struct Line {
    under_way: Vec<Letter>,
}

struct Letter {
    from: usize,
    to: usize,
    /// After which edit it arrives.
    due: usize,
    message: Rc<Message>,
}

impl Line {
    fn due(&mut self, now: usize) -> Vec<Letter> {
        self.under_way.extract_if(.., |letter| letter.due <= now).collect()
    }
}
