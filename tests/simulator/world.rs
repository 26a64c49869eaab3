//! Replicas in sessions with each other, over a network that loses, repeats, reorders, delays and damages what they say.
//!
//! A virtual clock and a queue of events: the same seed gives the same run, byte by byte.

use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use driftless::sync::{Checkpoint, DeviceName, Event, Options, Session, SessionError, Staged};
use driftless::{Budget, Crdt, Delta, Graph, Prune, Version};

use crate::frame::{self, Begins};
use crate::letters::letters;
use crate::plan::Plan;
use crate::random::Random;
use crate::site::{Save, Site, base_name, write};
use crate::tally::Tally;
use crate::truth::{Alive, Truth, alive};

/// Whose end, with whom.
type Key = (usize, usize);

/// More than this many frames at once are no answer to anything.
const MAX_FRAMES_AT_ONCE: usize = 5_000;

/// More frames than any run needs: each is answered by more than one.
const MAX_FRAMES: u64 = 200_000;

/// A slice of a delta, and some: a stream goes on from whole slices.
const BROKEN_OFF_AT: u64 = 150 << 10;

/// How long frames are late that come very late, at most.
const VERY_LATE: u64 = 20_000;

pub(crate) struct World {
    plan: Plan,
    random: Random,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    happenings: u64,
    sites: Vec<Site>,
    ends: BTreeMap<Key, End>,
    /// What came of streams that broke off.
    staged: BTreeMap<Key, Box<Staged>>,
    dead_links: BTreeSet<Key>,
    links: BTreeMap<Key, Link>,
    healed: bool,
    /// Nothing may be said any more that is not an answer.
    frames_sent: u64,
    truth: Truth,
    epochs: u64,
    seeds: u64,
    pub(crate) tally: Tally,
    trace: DefaultHasher,
    shows: bool,
}

struct End {
    session: Session<Graph>,
    epoch: u64,
    /// The earliest time at which it is to be polled, if that is in the queue.
    wake: Option<u64>,
    was_equal: bool,
}

/// What is under way in one direction.
#[derive(Default)]
struct Link {
    sent: u64,
    arrived: u64,
    /// The form of the last stream that was begun, and when a reconciliation was.
    stream: Option<u8>,
    round: Option<u64>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Act,
    Open(Key),
    Frame { from: usize, to: usize, number: u64, bytes: Vec<u8> },
    Wake { key: Key, epoch: u64 },
    Save(usize),
    Look,
}

/// Runs one seed. Returns what it was made of and the hash of its trace.
pub(crate) fn run(seed: u64, shows: bool) -> Result<(Tally, u64), String> {
    let mut world = World::new(seed, shows)?;
    world.push(0, Happening::Act);
    for _ in 0..world.plan.actions {
        world.act_until_next()?;
    }
    world.heal()?;
    world.become_equal()?;
    world.fall_silent()?;
    world.tally.add("runs", 1);
    Ok((world.tally, world.trace.finish()))
}

impl World {
    fn new(seed: u64, shows: bool) -> Result<Self, String> {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
        let mut seeds = seed << 20;
        let sites = plan.waits.iter().map(|waits| {
            seeds += 1;
            Site::new(seeds, *waits, plan.skewed.then(|| random.next()))
        });
        let sites = sites.collect();
        let mut world = Self {
            plan,
            random,
            now: 0,
            queue: BinaryHeap::new(),
            happenings: 0,
            sites,
            ends: BTreeMap::new(),
            staged: BTreeMap::new(),
            dead_links: BTreeSet::new(),
            links: BTreeMap::new(),
            healed: false,
            frames_sent: 0,
            truth: Truth::default(),
            epochs: 0,
            seeds,
            tally: Tally::default(),
            trace: DefaultHasher::new(),
            shows,
        };
        world.begin()?;
        Ok(world)
    }

    /// What all know from the beginning, written by as many writers as the plan says.
    fn begin(&mut self) -> Result<(), String> {
        let (nodes, writers) = (self.plan.nodes, self.plan.writers);
        let text_len = self.plan.text_len;
        for n in 0..writers.max(usize::from(nodes > 0)) {
            let who = n % self.sites.len();
            self.record(who, |site, _| {
                let edit = site.replica.edit(|g| {
                    (n..nodes.max(n + 1)).step_by(writers.max(1)).try_for_each(|n| {
                        let node = g.add_node(&base_name(n))?;
                        g.set(node, "/text", &letters(n as u64, text_len))
                    })
                });
                edit.map(|(_, delta)| delta).map_err(|e| e.to_string())
            })?;
            if writers > 0 {
                // The next write of this site is another writer's.
                self.seeds += 1;
                let (seed, now) = (self.seeds, self.now);
                let site = &mut self.sites[who];
                site.save();
                let save = site.disk.pop().ok_or("just saved")?;
                site.open(seed, &save, now)?;
            }
        }
        for from in 0..self.sites.len() {
            let whole = self.sites[from].replica.complete();
            for to in 0..self.sites.len() {
                if !(self.plan.newcomers && to % 2 == 1) {
                    self.sites[to].replica.merge(&whole).map_err(|e| e.to_string())?;
                }
            }
        }
        self.sites.iter_mut().for_each(Site::save);
        (0..self.sites.len()).try_for_each(|who| self.check(who))
    }

    fn note(&mut self, text: impl FnOnce(&Self) -> String) {
        self.now.hash(&mut self.trace);
        let text = text(self);
        text.hash(&mut self.trace);
        if self.shows {
            println!("{:8} {text}", self.now);
        }
    }

    fn push(&mut self, after: u64, happening: Happening) {
        self.happenings += 1;
        self.queue.push(Reverse((self.now + after, self.happenings, happening)));
    }

    /// Returns false if nothing will ever happen again.
    fn step(&mut self) -> Result<bool, String> {
        let Some(Reverse((at, _, happening))) = self.queue.pop() else { return Ok(false) };
        if self.frames_sent > MAX_FRAMES {
            return Err("a storm: there is no end of frames".into());
        }
        self.now = at;
        match happening {
            Happening::Act | Happening::Look => {}
            Happening::Open(key) => {
                if !self.ends.contains_key(&key) {
                    self.open(key)?;
                }
            }
            Happening::Frame { from, to, number, bytes } => self.arrive(from, to, number, &bytes)?,
            Happening::Wake { key, epoch } => {
                if let Some(end) = self.ends.get_mut(&key).filter(|end| end.epoch == epoch && end.wake == Some(at)) {
                    end.wake = None;
                    self.poll(key)?;
                }
            }
            Happening::Save(who) => {
                if self.sites[who].save_due {
                    self.save(who)?;
                }
            }
        }
        Ok(true)
    }

    fn act_until_next(&mut self) -> Result<(), String> {
        while !matches!(self.queue.peek(), Some(Reverse((_, _, Happening::Act))) | None) {
            self.step()?;
        }
        self.step()?;
        self.act()?;
        let after = self.random.within(0, self.plan.pace);
        self.push(after, Happening::Act);
        Ok(())
    }

    // ---- what the apps do ----

    fn act(&mut self) -> Result<(), String> {
        let who = self.random.below(self.sites.len());
        match self.random.below(100) {
            0..=39 => self.edit(who),
            40..=61 => {
                let pair = self.random.below(self.plan.pairs.len());
                let (a, b) = self.plan.pairs.iter().copied().nth(pair).unwrap_or((0, 1));
                let mut key = if self.random.percent(50) { (a, b) } else { (b, a) };
                if self.random.percent(15) {
                    // Somebody else than usual.
                    key = (who, (who + 1) % self.sites.len());
                }
                match self.ends.contains_key(&key) {
                    true => Ok(()),
                    false => self.open(key),
                }
            }
            62..=65 => self.leave(who),
            66..=71 => self.prune(who),
            72..=78 => self.crash(who),
            79 if self.plan.clones => self.copy_process(who),
            80..=89 if self.plan.partitions => self.break_links(who),
            _ => self.save(who),
        }
    }

    /// An edit, of which the truth is told.
    fn record(
        &mut self,
        who: usize,
        work: impl FnOnce(&mut Site, &mut Random) -> Result<Delta, String>,
    ) -> Result<(), String> {
        let site = &mut self.sites[who];
        site.set_clock(self.now);
        let before = (site.replica.version().clone(), alive(site.replica.state()));
        let delta = work(site, &mut self.random)?;
        site.log.iter_mut().for_each(|log| log.push((true, delta.clone())));
        let after = (site.replica.version().clone(), alive(site.replica.state()));
        if let Some(writer) = site.replica.writer() {
            self.truth.record(writer, (&before.0, &before.1), (&after.0, &after.1));
        }
        if before.0 != after.0 {
            self.tally.add("edits", 1);
            self.changed(who)?;
        }
        Ok(())
    }

    fn edit(&mut self, who: usize) -> Result<(), String> {
        let Plan { nodes, text_len, .. } = self.plan;
        self.record(who, |site, random| {
            let ops = 1 + random.below(4);
            let edit = site.replica.edit(|g| (0..ops).try_for_each(|_| write(g, random, nodes, text_len)));
            edit.map(|(_, delta)| delta).map_err(|e| format!("an edit was refused: {e}"))
        })?;
        self.note(|world| format!("{who} edits: {:?}", world.sites[who].replica.fingerprint()));
        Ok(())
    }

    fn prune(&mut self, who: usize) -> Result<(), String> {
        let site = &mut self.sites[who];
        let all = self.random.percent(50);
        let before = alive(site.replica.state());
        let count = match all {
            true => site.replica.prune(Prune::All),
            false => {
                let plan =
                    site.devices.plan(&site.replica, &Budget { count: 20, ..Budget::default() }, site.time(self.now));
                site.replica.prune(Prune::Upto(&plan))
            }
        };
        site.has_pruned |= count > 0;
        self.tally.add(if all { "prunes of all" } else { "prunes of what all have seen" }, u64::from(count > 0));
        self.note(|_| format!("{who} prunes {count}"));
        if alive(self.sites[who].replica.state()) != before {
            return Err("pruning has changed what is alive".into());
        }
        self.changed(who)
    }

    fn save(&mut self, who: usize) -> Result<(), String> {
        self.note(|_| format!("{who} saves"));
        let site = &mut self.sites[who];
        site.save();
        let keys: Vec<Key> = self.ends.keys().copied().filter(|key| key.0 == who).collect();
        for key in keys {
            if let Some(end) = self.ends.get_mut(&key) {
                end.session.handle_persisted(&Checkpoint::of(&self.sites[who].replica));
            }
            self.poll(key)?;
        }
        Ok(())
    }

    /// Closes a session, or forgets about it without a word.
    fn leave(&mut self, who: usize) -> Result<(), String> {
        let keys: Vec<Key> = self.ends.keys().copied().filter(|key| key.0 == who).collect();
        let Some(key) = keys.get(self.random.below(keys.len())).copied() else { return Ok(()) };
        if self.random.percent(50) {
            self.note(|_| format!("{key:?} closes"));
            self.tally.add("sessions closed", 1);
            if let Some(end) = self.ends.get_mut(&key) {
                end.session.close();
            }
            return self.poll(key);
        }
        self.note(|_| format!("{key:?} forgets"));
        self.tally.add("restarts of one end of a session", u64::from(self.ends.contains_key(&(key.1, key.0))));
        self.end(key, None)?;
        if self.random.percent(50) {
            self.open(key)?;
        }
        Ok(())
    }

    fn break_links(&mut self, who: usize) -> Result<(), String> {
        let n = self.sites.len();
        match self.random.below(4) {
            0 => {
                let groups: Vec<bool> = (0..n).map(|_| self.random.percent(50)).collect();
                let keys = (0..n).flat_map(|a| (0..n).map(move |b| (a, b)));
                self.dead_links = keys.filter(|(a, b)| groups[*a] != groups[*b]).collect();
                self.tally.add("partitions", u64::from(!self.dead_links.is_empty()));
            }
            1 => {
                let other = (who + 1 + self.random.below(n - 1)) % n;
                self.dead_links.insert((who, other));
                self.tally.add("dead directions", 1);
            }
            _ => self.dead_links.clear(),
        }
        self.note(|world| format!("dead links: {:?}", world.dead_links));
        Ok(())
    }

    /// All sessions of a site are gone, without a word.
    fn forget_sessions(&mut self, who: usize) -> Result<(), String> {
        let keys: Vec<Key> = self.ends.keys().copied().filter(|key| key.0 == who).collect();
        for key in keys {
            self.tally.add("restarts of one end of a session", u64::from(self.ends.contains_key(&(key.1, key.0))));
            self.end(key, None)?;
        }
        if self.random.percent(70) {
            self.staged.retain(|key, _| key.0 != who);
        }
        Ok(())
    }

    /// A crash and what comes back: the last save, with what a log has of what came after it; an old save; or another site's.
    fn crash(&mut self, who: usize) -> Result<(), String> {
        if self.random.percent(20) {
            self.save(who)?;
        }
        let copied =
            self.random.percent(15).then(|| (who + 1 + self.random.below(self.sites.len() - 1)) % self.sites.len());
        let disk = &self.sites[copied.unwrap_or(who)].disk;
        let last = disk.len() - 1;
        let old = (self.random.percent(30) && last > 0).then(|| self.random.below(last));
        let save: Save = disk[old.unwrap_or(last)].clone();
        let site = &self.sites[who];
        let had = (site.replica.version().clone(), alive(site.replica.state()));
        let had_pruned = site.has_pruned;
        let mut log = site.log.clone().filter(|log| copied.is_none() && old.is_none() && !log.is_empty());
        self.tally.add("crashes", 1);
        self.tally.add("old backups", u64::from(old.is_some()));
        self.tally.add("copies of saves to other sites", u64::from(copied.is_some()));
        self.forget_sessions(who)?;
        if self.random.percent(30) {
            self.sites[who].devices = Default::default();
        }
        self.seeds += 1;
        let (seed, now) = (self.seeds, self.now);
        let site = &mut self.sites[who];
        site.open(seed, &save, now)?;
        if old.is_some() || copied.is_some() {
            site.disk.push(save);
            site.set_back = true;
        }
        if let Some(log) = log.as_mut().filter(|_| self.random.percent(50)) {
            let all = self.random.percent(70);
            let kept = if all { log.len() } else { self.random.below(log.len()) };
            log.truncate(kept);
            site.replay(log)?;
            self.tally.add(if all { "replays" } else { "replays of a part" }, 1);
            // Of two contents under one dot the removal may have been pruned before the other came. The log has the removal
            // still, so what comes after is found to be doubled, and written again under a dot that the replica did not have.
            let knows_more = self.plan.clones && had_pruned && site.replica.version().includes(&had.0);
            if all && *site.replica.version() != had.0 && !knows_more {
                return Err(format!(
                    "{who} replays all and stands at {:?}, not at {:?}",
                    site.replica.version(),
                    had.0
                ));
            }
        }
        self.tally.add("crashes that lost writes", u64::from(!site.replica.version().includes(&had.0)));
        self.note(|world| {
            let site = &world.sites[who].replica;
            format!("{who} crashes and is back, from {copied:?} {old:?}, at {:?}", site.version())
        });
        self.lose(&had)?;
        self.changed(who)
    }

    /// Two go on from one state as one writer, as a virtual machine does that is resumed twice.
    fn copy_process(&mut self, who: usize) -> Result<(), String> {
        let other = (who + 1 + self.random.below(self.sites.len() - 1)) % self.sites.len();
        self.note(|_| format!("{other} becomes a copy of the process of {who}"));
        self.tally.add("processes copied with their memory", 1);
        [who, other].into_iter().try_for_each(|who| self.forget_sessions(who))?;
        let site = &self.sites[other];
        let had = (site.replica.version().clone(), alive(site.replica.state()));
        self.seeds += 1;
        let (low, high) = (who.min(other), who.max(other));
        let (lower, higher) = self.sites.split_at_mut(high);
        let (lower, higher) = (&mut lower[low], &mut higher[0]);
        let (of, copy) = if who == low { (lower, higher) } else { (higher, lower) };
        copy.copy_process(self.seeds, of, self.now)?;
        copy.set_back = true;
        copy.disk.extend(of.disk.last().cloned());
        self.lose(&had)?;
        // What they write first was written before the one was copied: by a writer that both take for their own.
        let name = format!("before copy {}", self.seeds);
        for who in [who, other] {
            self.record(who, |site, _| {
                let edit = site.replica.edit(|g| g.add_node(&name));
                edit.map(|(_, delta)| delta).map_err(|e| e.to_string())
            })?;
        }
        self.sites[other].part(self.seeds);
        let (a, b) = (&self.sites[who].replica, &self.sites[other].replica);
        match (a.writer(), a.version(), a.state()) == (b.writer(), b.version(), b.state()) {
            true => Ok(()),
            false => Err(format!("{other} is no copy of {who}")),
        }
    }

    /// What of it nobody has now.
    fn lose(&mut self, had: &(Version, Alive)) -> Result<(), String> {
        let left: Vec<_> =
            self.sites.iter().map(|site| (site.replica.version(), alive(site.replica.state()))).collect();
        self.truth.lose(&had.0, &had.1, &left, self.plan.clones);
        Ok(())
    }

    // ---- sessions ----

    fn open(&mut self, key: Key) -> Result<(), String> {
        let (me, peer) = key;
        if self.sites[me].waits && !self.sites[me].is_saved() {
            // A session takes for durable what there is when it begins.
            self.save(me)?;
        }
        let name = |n: usize| -> Result<DeviceName, String> { format!("d{n}").parse().map_err(|e| format!("{e}")) };
        let plan = &self.plan;
        let staged = self.staged.remove(&key);
        let mut options = Options::new()
            .with_part_len(plan.part_len)
            .with_retry_after(plan.retry_after)
            .with_patience(plan.patience)
            .with_staged(staged);
        if plan.remembers {
            options = options.with_device(name(me)?).with_devices(&self.sites[me].devices);
            if self.random.percent(60) {
                options = options.with_peer(&format!("d{peer}"));
            }
            let known = self.sites[me].devices.acknowledged(&format!("d{peer}")).is_some();
            self.tally.add("remembered standings", u64::from(known));
        }
        if self.sites[me].waits {
            options = options.waiting_for_persisted();
        }
        self.epochs += 1;
        self.note(|_| format!("{key:?} opens"));
        self.tally.add("sessions", 1);
        let session = Session::new(&self.sites[me].replica, options, self.random.bytes());
        self.ends.insert(key, End { session, epoch: self.epochs, wake: None, was_equal: false });
        self.poll(key)
    }

    /// Says all that there is to say, and sees to it that it is asked again in time.
    fn poll(&mut self, key: Key) -> Result<(), String> {
        let now = Duration::from_millis(self.now);
        let mut failed = None;
        for said in 0.. {
            if said > MAX_FRAMES_AT_ONCE {
                return Err(format!("{key:?} does not stop speaking"));
            }
            let Some(end) = self.ends.get_mut(&key) else { return Ok(()) };
            let site = &self.sites[key.0];
            site.set_clock(self.now);
            match end.session.poll_frame(&site.replica, now) {
                Ok(Some(frame)) => self.send(key, &frame),
                Ok(None) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        self.take_events(key)?;
        let Some(end) = self.ends.get_mut(&key) else { return Ok(()) };
        if end.session.is_over() {
            return self.end(key, failed);
        }
        // A millisecond is the least that passes.
        let at = end.session.poll_timeout().map(|at| (at.as_millis() as u64 + 1).max(self.now + 1));
        if let Some(at) = at {
            self.wake(key, at - self.now);
        }
        Ok(())
    }

    fn wake(&mut self, key: Key, after: u64) {
        let at = self.now + after;
        let Some(end) = self.ends.get_mut(&key) else { return };
        if end.wake.is_none_or(|wake| wake > at) {
            end.wake = Some(at);
            let epoch = end.epoch;
            self.push(after, Happening::Wake { key, epoch });
        }
    }

    fn take_events(&mut self, key: Key) -> Result<bool, String> {
        let mut merged = false;
        while let Some(event) = self.ends.get_mut(&key).and_then(|end| end.session.poll_event()) {
            match event {
                Event::Met { .. } | Event::Left => {}
                Event::Merged { report, delta } => {
                    self.sites[key.0].log.iter_mut().for_each(|log| log.push((false, (*delta).clone())));
                    self.tally.add("writers found to be shared", u64::from(report.shared_writer().is_some()));
                    self.tally.add(
                        "contents written again",
                        report.dropped().iter().filter(|d| d.rescued.is_some()).count() as u64,
                    );
                    self.truth.report(report.dropped());
                    if !self.plan.clones && (report.has_diverged() || !report.dropped().is_empty()) {
                        return Err(format!(
                            "{key:?} merged, dropped {:?}, and no process was copied",
                            report.dropped()
                        ));
                    }
                    merged = true;
                    self.tally.add("deltas merged", 1);
                    let link = self.links.entry((key.1, key.0)).or_default();
                    self.tally.add("resumed streams merged", u64::from(link.stream == Some(frame::RESUMED)));
                    self.note(|world| format!("{key:?} merged: {:?}", world.sites[key.0].replica.version()));
                }
                Event::Repaired(repair) => {
                    merged = true;
                    self.tally.add("repairs", 1);
                    self.note(|_| format!("{key:?} repaired: {:?}", repair.dropped()));
                    self.truth.report(repair.dropped());
                    if !self.plan.clones {
                        return Err(format!("{key:?} repaired, and no process was copied"));
                    }
                    self.tally.add("writers found to be shared", u64::from(repair.shared_writer().is_some()));
                    self.sites[key.0].log = None;
                }
                Event::Equal => {
                    self.note(|_| format!("{key:?} equal"));
                    if let Some(end) = self.ends.get_mut(&key) {
                        end.was_equal = true;
                        if self.plan.remembers
                            && let (Some(peer), Some(standing)) = (end.session.peer(), end.session.standing())
                        {
                            let peer = peer.as_str().to_owned();
                            self.sites[key.0].devices.acknowledge(peer, standing);
                        }
                    }
                }
                other => return Err(format!("an event that is not known: {other:?}")),
            }
        }
        Ok(merged)
    }

    /// A session is over, or is given up without a word if it is not.
    fn end(&mut self, key: Key, error: Option<SessionError>) -> Result<(), String> {
        let Some(end) = self.ends.remove(&key) else { return Ok(()) };
        let counters = end.session.counters();
        self.tally.add("retries", counters.retries);
        self.tally.add("frames for an earlier session", counters.stale);
        self.tally.add("frames without sense", counters.errors);
        self.tally.add("reconciliations", counters.reconciliations);
        self.tally.most("most repairs in a session", counters.repairs);
        let given_up = !end.session.is_over();
        if let Some(staged) = end.session.into_staged() {
            self.staged.insert(key, staged);
        }
        if given_up {
            return Ok(());
        }
        self.note(|_| format!("{key:?} ends: {error:?}"));
        match &error {
            None => {}
            Some(SessionError::Silence) => {
                self.tally.add("silences", 1);
                self.tally.add("silences over a sound network", u64::from(self.healed));
            }
            Some(SessionError::Left(_)) => self.tally.add("sessions that the peer broke off", 1),
            Some(SessionError::Nonsense(_)) if self.plan.damage > 0 => self.tally.add("sessions ended by nonsense", 1),
            Some(SessionError::Contradiction) if self.plan.clones => self.tally.add("contradictions that stayed", 1),
            Some(error) => return Err(format!("{key:?} ended: {error}")),
        }
        let again = self.random.within(10, 300);
        if self.healed || self.random.percent(70) {
            let (a, b) = (key.0.min(key.1), key.0.max(key.1));
            if !self.healed || self.plan.pairs.contains(&(a, b)) {
                self.push(again, Happening::Open(key));
            }
        }
        Ok(())
    }

    /// A replica is another than it was: it is looked at, and so are all its sessions soon.
    fn changed(&mut self, who: usize) -> Result<(), String> {
        self.check(who)?;
        let keys: Vec<Key> = self.ends.keys().copied().filter(|key| key.0 == who).collect();
        for key in keys {
            let after = self.random.within(1, 20);
            self.wake(key, after);
        }
        if self.sites[who].waits && !self.sites[who].save_due {
            self.sites[who].save_due = true;
            let after = self.random.within(0, self.plan.save_after);
            self.push(after, Happening::Save(who));
        }
        Ok(())
    }

    fn check(&mut self, who: usize) -> Result<(), String> {
        let replica = &self.sites[who].replica;
        let found: Alive = alive(replica.state());
        let checked = self.truth.check(replica.version(), &found, self.plan.clones);
        checked.map_err(|e| format!("replica {who}: {e}\nat {:?}", replica.version()))?;
        for (other, site) in self.sites.iter().enumerate().filter(|(other, _)| *other != who) {
            let prints = replica.fingerprint() == site.replica.fingerprint();
            let is_compared = replica.version() == site.replica.version() && (prints || !self.plan.clones);
            if is_compared && !(prints && replica.state() == site.replica.state()) {
                return Err(format!(
                    "{who} and {other} have seen the same and do not hold the same: {:?}",
                    replica.version()
                ));
            }
        }
        Ok(())
    }

    // ---- the network ----

    fn send(&mut self, key: Key, bytes: &[u8]) {
        let (from, to) = key;
        self.frames_sent += 1;
        self.tally.add("frames sent", 1);
        bytes.hash(&mut self.trace);
        let begins = frame::begins(bytes);
        self.note(|_| format!("{key:?} says {} ({} bytes) {begins:?}", frame::kind(bytes), bytes.len()));
        let round_of_theirs = self.links.entry((to, from)).or_default().round;
        let link = self.links.entry(key).or_default();
        match begins {
            Some(Begins::Stream { total, form, parts }) => {
                if link.stream.replace(form) != Some(form) || form != frame::RESUMED {
                    self.tally.add("resumed streams", u64::from(form == frame::RESUMED));
                }
                self.tally.add("streams of several parts", u64::from(parts));
                self.tally.add("streams of several windows", u64::from(total > 1 << 20));
            }
            Some(Begins::Round) => {
                link.round = Some(self.now);
                let at_once = round_of_theirs.is_some_and(|at| self.now - at <= self.plan.delay);
                self.tally.add("reconciliations begun by both", u64::from(at_once));
            }
            None => {}
        }
        if self.healed {
            let after = self.random.within(1, 30);
            return self.carry(key, after, bytes.to_vec());
        }
        if self.dead_links.contains(&key) {
            return self.tally.add("frames into a dead link", 1);
        }
        if self.random.percent(self.plan.loss) {
            return self.tally.add("frames lost", 1);
        }
        let twice = self.random.percent(self.plan.duplication);
        self.tally.add("frames duplicated", u64::from(twice));
        for _ in 0..1 + u64::from(twice) {
            let mut bytes = bytes.to_vec();
            if self.random.percent(self.plan.damage) {
                self.tally.add("frames damaged", 1);
                for _ in 0..self.random.within(1, 3) {
                    let at = self.random.below(bytes.len());
                    bytes[at] ^= 1 << self.random.below(8);
                }
                if self.random.percent(20) {
                    bytes.truncate(self.random.below(bytes.len()));
                }
            }
            let very_late = self.random.percent(2);
            self.tally.add("frames very late", u64::from(very_late));
            let after = self.random.within(1, if very_late { VERY_LATE } else { self.plan.delay });
            self.carry(key, after, bytes);
        }
    }

    fn carry(&mut self, (from, to): Key, after: u64, bytes: Vec<u8>) {
        let link = self.links.entry((from, to)).or_default();
        link.sent += 1;
        let number = link.sent;
        self.push(after, Happening::Frame { from, to, number, bytes });
    }

    fn arrive(&mut self, from: usize, to: usize, number: u64, bytes: &[u8]) -> Result<(), String> {
        let key = (to, from);
        let link = self.links.entry((from, to)).or_default();
        self.tally.add("frames reordered", u64::from(number < link.arrived));
        link.arrived = link.arrived.max(number);
        if !self.ends.contains_key(&key) {
            if self.healed && !self.plan.pairs.contains(&(from.min(to), from.max(to))) {
                return Ok(());
            }
            self.open(key)?;
        }
        let now = Duration::from_millis(self.now);
        let Some(end) = self.ends.get_mut(&key) else { return Ok(()) };
        let site = &mut self.sites[to];
        site.set_clock(self.now);
        let before = (site.replica.version().clone(), site.replica.fingerprint());
        // What it fails with comes again when it is polled.
        let _ = end.session.handle_frame(&mut site.replica, bytes, now);
        let changed = before != (site.replica.version().clone(), site.replica.fingerprint());
        if !site.replica.version().includes(&before.0) {
            return Err(format!("{key:?} has unlearned: {:?} before {:?}", before.0, site.replica.version()));
        }
        let standing = end.session.standing();
        // What is merged may say no more than what was pruned, and is to be saved all the same.
        let merged = self.take_events(key)?;
        if changed || merged {
            self.changed(to)?;
        }
        let durable = &self.sites[from];
        if let Some(standing) = standing
            && !self.plan.clones
            && durable.waits
            && !durable.set_back
            && !durable.disk.iter().any(|save| save.version.includes(standing.version()))
        {
            return Err(format!("{from} has acknowledged to {to} what was never durable: {:?}", standing.version()));
        }
        let much = |end: &End| end.session.progress().receiving.bytes > BROKEN_OFF_AT;
        if !self.healed && self.ends.get(&key).is_some_and(much) && self.random.percent(self.plan.breaks) {
            self.note(|_| format!("{key:?} loses its connection"));
            self.end(key, None)?;
            return self.open(key);
        }
        self.poll(key)
    }

    // ---- the end ----

    fn heal(&mut self) -> Result<(), String> {
        self.note(|_| "healed".into());
        self.healed = true;
        self.dead_links.clear();
        let pairs = self.plan.pairs.clone();
        let others: Vec<Key> =
            self.ends.keys().copied().filter(|(a, b)| !pairs.contains(&(*a.min(b), *a.max(b)))).collect();
        others.into_iter().try_for_each(|key| self.end(key, None))?;
        for (a, b) in pairs {
            for key in [(a, b), (b, a)] {
                let after = self.random.within(0, 100);
                self.push(after, Happening::Open(key));
            }
        }
        Ok(())
    }

    /// Within a time that the plan bounds, all hold the same and know it.
    fn become_equal(&mut self) -> Result<(), String> {
        let begin = self.now;
        let patience = self.plan.patience.as_millis() as u64;
        // Each hop may have to wait for a session to be given up, and what is very late may begin it all anew.
        let limit = VERY_LATE + (self.plan.diameter + 1) * (2 * patience + 2_000);
        loop {
            self.push(50, Happening::Look);
            while !matches!(self.queue.peek(), Some(Reverse((_, _, Happening::Look))) | None) {
                self.step()?;
            }
            self.step()?;
            match self.difference() {
                None => break,
                Some(difference) if self.now - begin > limit => {
                    return Err(format!("after {limit} ms over a sound network: {}", self.tell(difference)));
                }
                Some(_) => {}
            }
        }
        let took = self.now - begin;
        self.tally.add("milliseconds until equal", took);
        self.tally.most("most milliseconds until equal", took);
        self.tally.most("most hundredths of the time allowed", took * 100 / limit);
        self.check_end()
    }

    fn check_end(&mut self) -> Result<(), String> {
        for who in 0..self.sites.len() {
            self.check(who)?;
            let (first, other) = (self.sites[0].replica.state(), self.sites[who].replica.state());
            if first != other {
                return Err(format!("{who} reads otherwise than 0, at one version and fingerprint"));
            }
        }
        let replica = &self.sites[0].replica;
        let end = self.truth.check_end(replica.version(), &alive(replica.state()), self.plan.clones)?;
        for (what, count) in [
            ("contents under doubled dots", end.doubled),
            ("of them ended, and reported", end.reported),
            ("of them ended by what nobody can tell from an overwrite", end.unseen),
        ] {
            self.tally.add(what, count);
        }
        Ok(())
    }

    /// Whom nothing was said to has nothing to say: once all are equal and the last frame has come, there is silence.
    fn fall_silent(&mut self) -> Result<(), String> {
        self.note(|_| "all are equal".into());
        let (begin, sent) = (self.now, self.frames_sent);
        while self.step()? {
            if self.now - begin > 4 * VERY_LATE + 10 * self.plan.patience.as_millis() as u64 {
                return Err("all are equal, and still they speak".into());
            }
        }
        self.tally.most("most frames after all were equal", self.frames_sent - sent);
        if let Some(difference) = self.difference() {
            return Err(format!("when nothing happens any more: {}", self.tell(difference)));
        }
        for (key, end) in &self.ends {
            if !end.was_equal {
                return Err(format!("{key:?} was never told that they are equal"));
            }
        }
        let keys: Vec<Key> = self.ends.keys().copied().collect();
        for key in keys {
            self.end(key, None)?;
        }
        self.check_end()
    }

    fn difference(&self) -> Option<Difference> {
        let first = &self.sites[0].replica;
        let differs = |site: &Site| {
            site.replica.version() != first.version() || site.replica.fingerprint() != first.fingerprint()
        };
        if let Some(who) = self.sites.iter().position(differs) {
            return Some(Difference::Replica(who));
        }
        let mut keys = self.plan.pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
        keys.find_map(|key| match self.ends.get(&key) {
            None => Some(Difference::NoSession(key)),
            Some(end) if end.session.is_equal(&self.sites[key.0].replica) => None,
            Some(_) => Some(Difference::Session(key)),
        })
    }

    fn tell(&self, difference: Difference) -> String {
        let replica = |who: usize| {
            let replica = &self.sites[who].replica;
            format!(
                "{:?} {:?}, pruned {:?}",
                replica.fingerprint(),
                replica.version(),
                replica.state().state().pruned()
            )
        };
        match difference {
            Difference::Replica(who) => format!("{who} is not as 0:\n{}\n{}", replica(who), replica(0)),
            Difference::NoSession(key) => format!("{key:?} is in no session"),
            Difference::Session(key) => {
                format!("{key:?} does not know that they are equal: {:?}", self.ends.get(&key).map(|end| &end.session))
            }
        }
    }
}

/// Why not all are equal yet.
enum Difference {
    Replica(usize),
    NoSession(Key),
    Session(Key),
}
