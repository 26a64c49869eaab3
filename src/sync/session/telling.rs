//! Where both sides stand, and telling each other.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bugs::{Bug, is};
use crate::id::Dot;
use crate::kernel::{Crdt, Fingerprint};
use crate::replica::Replica;
use crate::standing::{Standing, StandingChange};
use crate::sync::session::frame::{Form, Frame, Hello, MAX_FRAME_LEN, READS_COMPRESSED, Says, Told};
use crate::sync::session::machine::{Session, pair};
use crate::sync::session::report::SessionError;
use crate::version::{HeadsChange, Version};

/// A hello tells the whole standing up to this many bytes; it must fit into whatever buffer lies between two that say hello at
/// the same time, and a pipe's may be that small.
const MAX_HELLO_LEN: usize = 4000;

/// The most bytes that a dot takes.
const MAX_DOT_LEN: usize = 18;

/// Announcements that the peer may build on: it may be behind by as many. Each is kept as its difference from the one before.
const MAX_SAID: usize = 4096;

/// Differences that these take at most, of one head each: some 2.5 MB.
const MAX_SAID_CHANGES: usize = 1 << 16;

/// Where a replica stands, and the fingerprint of what it holds there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) standing: Standing,
    pub(super) fingerprint: Fingerprint,
}

impl Point {
    pub(super) fn of<T: Crdt>(replica: &Replica<T>) -> Self {
        let state = replica.state().state();
        let standing = Standing { version: state.version().clone(), pruned: state.pruned().bare() };
        Self { standing, fingerprint: replica.fingerprint() }
    }

    /// Whether both hold the same. Where tombstones were pruned does not matter.
    pub(super) fn is_equal(&self, other: &Self) -> bool {
        self.standing.version == other.standing.version && self.fingerprint == other.fingerprint
    }
}

/// A moment in the life of a replica, up to which it can be [durable](crate::sync::Session::handle_persisted).
///
/// Of two checkpoints of one replica the one that was drawn later holds more. One checkpoint serves all sessions of the replica.
/// It is of no use in another process, where each session begins with what was loaded. O(writers).
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub(super) point: Point,
    /// Place in the order in which checkpoints were drawn and deltas merged, in this process.
    pub(super) order: u64,
}

impl Checkpoint {
    /// Draws a checkpoint of all that the replica holds now.
    pub fn of<T: Crdt>(replica: &Replica<T>) -> Self {
        Self { point: Point::of(replica), order: Self::next_order() }
    }

    /// True if what the other one holds is durable with this one: it was drawn later, or nothing has changed since.
    pub(super) fn holds(&self, other: &Self) -> bool {
        other.order <= self.order || self.point.is_equal(&other.point)
    }

    fn next_order() -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        LAST.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What was announced under a number.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub(super) number: u64,
    pub(super) point: Point,
}

/// Our latest announcements.
///
/// The peer names the announcement that it builds on, so each must be found until the peer has heard a later one. A session
/// that both sides write in announces often, so the history is long: it holds the oldest standing in full and of each later one
/// only the heads that changed.
pub(super) struct Said {
    oldest: Announced,
    later: VecDeque<Difference>,
    /// Heads in all of `later`.
    changes: usize,
    last: Announced,
}

/// One announcement, as its difference from the one before it.
struct Difference {
    digest: u64,
    version: Heads,
    pruned: Heads,
}

/// Heads that are gone, and that have come.
struct Heads {
    gone: Vec<Dot>,
    come: Vec<Dot>,
}

impl Heads {
    fn between(base: &Version, version: &Version) -> Self {
        let beyond = |a: &Version, b: &Version| {
            a.heads().iter().filter(|head| b.heads().binary_search(head).is_err()).copied().collect()
        };
        Self { gone: beyond(base, version), come: beyond(version, base) }
    }

    fn len(&self) -> usize {
        self.gone.len() + self.come.len()
    }
}

impl Difference {
    fn between(base: &Standing, standing: &Standing) -> Self {
        let version = Heads::between(base.version(), standing.version());
        Self { digest: standing.digest(), version, pruned: Heads::between(base.pruned(), standing.pruned()) }
    }

    fn len(&self) -> usize {
        self.version.len() + self.pruned.len()
    }
}

/// Applies differences to a version, in their order.
fn after<'a>(base: &Version, changes: impl Iterator<Item = &'a Heads>) -> Version {
    let mut heads: BTreeSet<Dot> = base.heads().iter().copied().collect();
    for Heads { gone, come } in changes {
        heads.retain(|head| !gone.contains(head));
        heads.extend(come);
    }
    Version::told(heads.into_iter().collect(), Vec::new())
}

impl Said {
    pub(super) fn new(point: Point) -> Self {
        let first = Announced { number: 1, point };
        Self { oldest: first.clone(), later: VecDeque::new(), changes: 0, last: first }
    }

    pub(super) fn last(&self) -> &Announced {
        &self.last
    }

    pub(super) fn is(&self, point: &Point) -> bool {
        self.last.point == *point
    }

    /// Returns the number under which this is announced: a new one unless it was announced last. O(heads).
    pub(super) fn number(&mut self, point: &Point) -> u64 {
        if self.is(point) {
            return self.last.number;
        }
        let difference = Difference::between(&self.last.point.standing, &point.standing);
        self.changes += difference.len();
        self.later.push_back(difference);
        self.last = Announced { number: self.last.number + 1, point: point.clone() };
        while self.later.len() >= MAX_SAID || self.changes > MAX_SAID_CHANGES {
            let Some(difference) = self.later.pop_front() else { break };
            self.changes -= difference.len();
            self.oldest.number += 1;
            self.oldest.point.standing = self.after(std::iter::once(&difference));
        }
        self.last.number
    }

    /// Returns the standing that was announced under a number. O(heads + differences).
    pub(super) fn find(&self, number: u64) -> Option<Standing> {
        if number == self.last.number {
            return Some(self.last.point.standing.clone());
        }
        let later = usize::try_from(number.checked_sub(self.oldest.number)?).ok()?;
        Some(self.after(self.later.range(..(later <= self.later.len()).then_some(later)?)))
    }

    fn named(&self, digest: u64) -> Option<Standing> {
        if self.oldest.point.standing.digest() == digest {
            return Some(self.oldest.point.standing.clone());
        }
        let place = self.later.iter().rposition(|difference| difference.digest == digest)?;
        self.find(self.oldest.number + place as u64 + 1)
    }

    /// Applies differences to the oldest standing, in their order.
    fn after<'a>(&self, changes: impl Iterator<Item = &'a Difference> + Clone) -> Standing {
        let Standing { version, pruned } = &self.oldest.point.standing;
        let version = after(version, changes.clone().map(|difference| &difference.version));
        Standing { version, pruned: after(pruned, changes.map(|difference| &difference.pruned)) }
    }
}

impl<T: Crdt> Session<T> {
    /// What the session may tell of: all that there is, or all that is durable.
    pub(super) fn point(&self, replica: &Replica<T>) -> Point {
        let durable = self.persisted.as_ref().filter(|_| !is(Bug::UndurableTold));
        durable.map_or_else(|| Point::of(replica), |checkpoint| checkpoint.point.clone())
    }

    pub(super) fn hello(&mut self, point: &Point) -> Result<Frame<'static>, SessionError> {
        let told = self.told(point, true)?;
        let hello = Hello {
            oldest: Self::PROTOCOLS.0,
            newest: Self::PROTOCOLS.1,
            schema: Self::schema_digest(),
            nonce: self.nonce,
            device: self.options.device.clone(),
            staging_limit: self.options.staging_limit.ilog2() as u8,
            told,
            abilities: if self.options.compression { READS_COMPRESSED } else { 0 },
        };
        let to = self.peer.as_ref().map(|peer| pair(peer.nonce, self.nonce));
        Ok(Frame { to, says: Says::Hello(Box::new(hello)) })
    }

    pub(super) fn told(&mut self, point: &Point, is_hello: bool) -> Result<Told, SessionError> {
        let (number, Point { standing, fingerprint }) = (self.said.number(point), point.clone());
        let heard = self.peer.as_ref().and_then(|peer| peer.heard.as_ref());
        let fits = |form: &Form| !is_hello || form.len() <= MAX_HELLO_LEN;
        // What leads from a standing, with as many dots below the heads as there is room for.
        let form = |base: &Standing, form: &dyn Fn(StandingChange) -> Form| {
            let bare = form(standing.changes_from(base, 0));
            let room = if is_hello { MAX_HELLO_LEN.saturating_sub(bare.len()) } else { MAX_HELLO_LEN };
            let told = form(standing.changes_from(base, room / MAX_DOT_LEN));
            Some(told).filter(fits)
        };
        let whole = || form(&Standing::default(), &Form::Whole);
        let from_known = || {
            let known = self.options.peer.as_ref()?;
            form(known, &|changes| Form::FromDigest(known.digest(), changes))
        };
        let from_heard = heard.and_then(|heard| {
            let base = &heard.point.standing;
            let shorter = HeadsChange::between(base.version(), standing.version()).len() < standing.version().len();
            shorter.then(|| form(base, &|changes| Form::FromAnnounced(heard.number, changes)))?
        });
        let form = from_heard.or_else(whole).or_else(from_known).unwrap_or_else(|| Form::Digest(standing.digest()));
        let resume = match (&form, &self.options.staged) {
            (Form::Digest(_), _) | (_, None) => None,
            (_, Some(staged)) => {
                let resume = staged.resume(&standing);
                resume.filter(|resume| !is_hello || form.len() + resume.len() <= MAX_HELLO_LEN)
            }
        };
        self.told_whole |= !matches!(form, Form::Digest(_));
        let told = Told { number, fingerprint, form, resume };
        match told.form.len() {
            len if len > MAX_FRAME_LEN / 2 => Err(SessionError::FrameTooLong { len }),
            _ => Ok(told),
        }
    }

    /// Hears where the peer stands. Returns whether that was of use.
    pub(super) fn hear(&mut self, told: &Told) -> bool {
        let Some(peer) = &self.peer else { return false };
        if peer.heard.as_ref().is_some_and(|heard| told.number < heard.number) {
            return false;
        }
        let Some(standing) = self.resolve(&told.form) else {
            self.due.need = true;
            self.peer.iter_mut().for_each(|peer| peer.unresolved = peer.unresolved.max(told.number));
            // If it builds on what we have said too long ago, it has not heard what we have said since.
            self.due.announce |= matches!(told.form, Form::FromAnnounced(..));
            return false;
        };
        let resume = told.resume.as_ref().and_then(|resume| resume.broken(&standing));
        let point = Point { standing, fingerprint: told.fingerprint };
        // The same number again is as a rule the same again; else one of the two was damaged, and it will be said once more.
        if peer.heard.as_ref().is_some_and(|heard| heard.number == told.number && heard.point == point) {
            return false;
        }
        let differs = !self.said.last().point.is_equal(&point);
        if let Some(peer) = &mut self.peer {
            // Now what differs can be told to whom a digest had to do.
            self.due.announce |= peer.heard.is_none() && !self.told_whole && differs;
            peer.heard = Some(Announced { number: told.number, point });
            peer.resume = resume.or(peer.resume.take());
        }
        true
    }

    /// Adds what the peer has acknowledged to where it stands, if it stands at writes that are not known here. Else its standing
    /// tells all that it has by itself, and is believed against an acknowledgement.
    pub(super) fn tell_acknowledged(&mut self) {
        let ours = &self.said.last().point.standing.version;
        let Some(peer) = &mut self.peer else { return };
        let Some(heard) = &mut peer.heard else { return };
        match ours.resolve(&heard.point.standing.version) {
            Some(version) if peer.has.iter().all(|dot| version.covers(*dot)) => {}
            Some(_) => peer.has.clear(),
            None => heard.point.standing.version.tell_below(&peer.has),
        }
    }

    pub(super) fn resolve(&self, form: &Form) -> Option<Standing> {
        let (digest, changes) = match form {
            Form::Whole(changes) => return Standing::default().changed_by(changes),
            Form::FromAnnounced(number, changes) => return self.said.find(*number)?.changed_by(changes),
            Form::Digest(digest) => (*digest, &StandingChange::default()),
            Form::FromDigest(digest, changes) => (*digest, changes),
        };
        let device = self.peer.as_ref().and_then(|peer| peer.device.as_ref());
        let remembered = device.and_then(|device| self.options.devices.acknowledged(device.as_str()));
        let mut known = remembered.into_iter().chain(&self.options.peer);
        let base = known.find(|standing| standing.digest() == digest).cloned().or_else(|| self.said.named(digest));
        base?.changed_by(changes)
    }

    /// Returns the standing that both sides have in common, for [`Devices`](crate::sync::Devices) to remember under the peer's
    /// name. `None` before the peer has said where it stands, and while it stands at writes of writers that are not known here.
    pub fn standing(&self) -> Option<Standing> {
        let heard = self.peer.as_ref()?.heard.as_ref()?;
        self.said.last().point.standing.common(&heard.point.standing)
    }
}
