//! Which dots that both sides cover are alive on one side only, without sending either set.
//!
//! The live dots of all writers stand in a row of bits. The sides compare keyed fingerprints of stretches of it, go down
//! to the blocks within the stretches that differ, and say the words of those. In turns, so that every turn both answers
//! and asks:
//!
//! | turn | who | says |
//! |---|---|---|
//! | 1 | who asks | fingerprints of up to 128 stretches |
//! | 2 … 5 | in turn | which of them differ, and fingerprints of the stretches within |
//! | then | whose turn it is | which of them differ, and their words: as soon as another level would not pay |
//! | last | the other | the difference, which is checked against a fingerprint of 128 bits of everything |
//!
//! At most eight turns, whatever the peer says: each turn of fingerprints is one level down, after words there is only
//! the difference, and if that does not fit (a fingerprint collided) one whole bitmap goes across.

use thiserror::Error;

use crate::bugs::{Bug, is};
use crate::kernel::DotSet;
use crate::sync::reconcile::bits::Bits;
use crate::sync::reconcile::blocks::{Row, Universe};
use crate::sync::reconcile::shape::Shape;
use crate::sync::reconcile::turn::{Says, Turn};
use crate::version::{HeadsChange, Version};

/// Bytes that fingerprints may cost beyond a whole bitmap, in percent of it: what a descent that finds everything
/// different has lost.
const OVERHEAD: u64 = 5;

/// One side of a reconciliation: what to say, and in the end the [`Difference`]. Both sides learn it.
///
/// It is a pure state machine. Each [`Turn`] that the peer says is answered by the one that a [`Step`] holds, until it is
/// done. A turn that is refused changes nothing. O(live blocks) in time and memory; in bytes some 300, and 25 to 60 for
/// each difference, up to one bitmap and the difference.
///
/// ```
/// use driftless::sync::{Reconciling, Step};
/// use driftless::{Graph, NodeId, Prune, Replica};
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// let (_, delta) = laptop.edit(|g| {
///     g.add_node("person:ada")?;
///     g.add_node("person:grace")
/// })?;
/// phone.merge(&delta)?;
/// laptop.edit(|g| g.remove_node(NodeId::named("person:ada")))?;
/// laptop.prune(Prune::All); // no delta can tell the phone any longer
///
/// let nonce = *b"drawn at random!";
/// let (mut asking, first) = Reconciling::ask(&phone.live_dots(), phone.version(), laptop.version(), nonce)?;
/// let (mut answering, mut step) =
///     Reconciling::answer(&laptop.live_dots(), laptop.version(), phone.version(), &first)?;
/// let difference = loop {
///     step = match step {
///         Step::Say(turn) => asking.handle(&turn)?, // to the phone, as `turn.to_bytes()`
///         Step::Done { difference, .. } => break difference,
///     };
///     step = match step {
///         Step::Say(turn) => answering.handle(&turn)?,
///         Step::Done { last: Some(turn), .. } => answering.handle(&turn)?,
///         Step::Done { difference, .. } => break difference,
///     };
/// };
/// phone.merge(&laptop.reconcile_difference(&difference)?)?;
/// assert_eq!(laptop.state(), phone.state());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reconciling {
    ours: Version,
    theirs: Version,
    /// What both are known to have seen: who asks names it.
    common: Version,
    universe: Universe,
    shape: Shape,
    row: Row,
    /// The fingerprint of all that the peer holds, once it has said so.
    check: Option<u128>,
    /// Bytes of fingerprints so far, in both directions.
    spent: u64,
    waiting: Waiting,
}

/// What the peer is to answer.
enum Waiting {
    /// The fingerprints of stretches of one level.
    Fingerprints {
        level: u32,
        stretches: Vec<u64>,
    },
    /// The words of some of them.
    Words,
    /// The words of everything.
    Whole,
    Nothing,
}

/// What comes next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Say this, and handle the answer.
    Say(Turn),
    /// Both sides know, or will once the peer has heard the last turn.
    Done {
        /// What is alive on one side only.
        difference: Difference,
        /// What the peer has yet to hear.
        last: Option<Turn>,
    },
}

/// Which dots that two replicas both cover are alive on one side only: there the other has something to bury.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Our version when the live dots were taken.
    pub(super) ours: Version,
    /// The peer's.
    pub(super) theirs: Version,
    /// What was compared: the dots that both were known to cover.
    pub(super) common: Version,
    here: DotSet,
    there: DotSet,
}

impl Difference {
    /// Alive here and dead there.
    pub fn only_here(&self) -> &DotSet {
        &self.here
    }

    /// Alive there and dead here: what a [reconciled delta](crate::Replica::reconcile_difference) tells the peer.
    pub fn only_there(&self) -> &DotSet {
        &self.there
    }
}

/// Why a turn was refused. Nothing has changed; the two may begin again, or [send everything](crate::Replica::reconcile).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// The peer spoke of something else than was asked: a turn that came twice or late, or a peer that misbehaves.
    #[error("a turn that does not answer the last one; drop it, or begin again")]
    OutOfTurn,
    /// The peer answered something impossible.
    #[error("the peer's answer makes no sense: {0}; begin again")]
    Unfit(&'static str),
    /// The peer names dots as common that we do not cover, or speaks of another version of ours.
    #[error("the two sides began at different versions; exchange versions, then begin again")]
    Versions,
    /// What the peer says that it holds is not what it says in all.
    #[error("the peer contradicts its own fingerprint; begin again, or send all live dots")]
    Contradiction,
    /// More counters than can be put in a row: no history has so many.
    #[error("the versions count too many writes to compare; send all live dots")]
    TooMany,
}

impl Reconciling {
    /// Begins, as who wants the answer, with the live dots and the version at which they were taken, and the peer's
    /// version.
    ///
    /// The nonce is the key of all fingerprints: 16 random bytes, fresh each time, or a peer could prepare states that
    /// collide (and be found out by the check, at the cost of a whole bitmap).
    pub fn ask(
        live: &DotSet,
        ours: &Version,
        theirs: &Version,
        nonce: [u8; 16],
    ) -> Result<(Self, Turn), ReconcileError> {
        let mut this = Self::new(live, ours, theirs, ours.meet(theirs), nonce)?;
        let level = this.shape.top;
        let stretches: Vec<u64> = (0..this.shape.count(level)).collect();
        let fingerprints = this.fingerprints(level, &stretches);
        this.spent = fingerprints.len() as u64;
        this.waiting = Waiting::Fingerprints { level, stretches };
        let common = HeadsChange::between(theirs, &this.common);
        let says = Says::Start { nonce, universe: this.universe.digest(), common, fingerprints };
        let first = Turn { check: Some(this.row.check()), says };
        Ok((this, first))
    }

    /// Answers the first turn, as who is asked.
    pub fn answer(
        live: &DotSet,
        ours: &Version,
        theirs: &Version,
        first: &Turn,
    ) -> Result<(Self, Step), ReconcileError> {
        let Turn { check: Some(check), says: Says::Start { nonce, universe, common, fingerprints } } = first else {
            return Err(ReconcileError::OutOfTurn);
        };
        // It is told from our version, as we have announced it.
        let common = common.apply(ours).and_then(|common| ours.resolve(&common));
        let common = common.filter(|common| ours.includes(common)).ok_or(ReconcileError::Versions)?;
        let mut this = Self::new(live, ours, theirs, common, *nonce)?;
        if this.universe.digest() != *universe {
            return Err(ReconcileError::Versions);
        }
        if this.row.check() == *check {
            let difference = this.difference(&Bits::default())?;
            let last = Turn { check: Some(*check), says: Says::Difference { dots: Bits::default() } };
            return Ok((this, Step::Done { difference, last: Some(last) }));
        }
        let level = this.shape.top;
        let (says, waiting) = this.compare(level, (0..this.shape.count(level)).collect(), fingerprints)?;
        this.spent += fingerprints.len() as u64;
        this.check = Some(*check);
        let turn = Turn { check: Some(this.row.check()), says };
        Ok((Self { waiting, ..this }, Step::Say(turn)))
    }

    fn new(
        live: &DotSet,
        ours: &Version,
        theirs: &Version,
        common: Version,
        nonce: [u8; 16],
    ) -> Result<Self, ReconcileError> {
        let universe = Universe::new(&common).ok_or(ReconcileError::TooMany)?;
        let row = Row::new(universe.in_a_row(live), nonce);
        let shape = Shape::new(universe.blocks());
        let (ours, theirs, waiting) = (ours.clone(), theirs.clone(), Waiting::Nothing);
        Ok(Self { ours, theirs, common, universe, shape, row, check: None, spent: 0, waiting })
    }

    /// Handles what the peer says.
    pub fn handle(&mut self, turn: &Turn) -> Result<Step, ReconcileError> {
        let check = match (self.check, turn.check) {
            (Some(check), None) | (None, Some(check)) => check,
            _ => return Err(ReconcileError::OutOfTurn),
        };
        let mut spent = 0;
        let (step, waiting) = match (&self.waiting, &turn.says) {
            (Waiting::Fingerprints { level, stretches }, Says::Fingerprints { marks, fingerprints }) if *level > 0 => {
                let marked = marked(stretches, marks)?;
                let children = marked.iter().map(|stretch| self.shape.children(*level, *stretch));
                let count: u64 = children.clone().map(|range| range.end - range.start).sum();
                if count.saturating_mul(self.shape.width as u64) != fingerprints.len() as u64 {
                    return Err(ReconcileError::Unfit("not as many fingerprints as stretches"));
                }
                let (says, waiting) = self.compare(level - 1, children.flatten().collect(), fingerprints)?;
                spent = fingerprints.len() as u64 + own_fingerprints(&says);
                (Step::Say(Turn { check: None, says }), waiting)
            }
            (Waiting::Fingerprints { level, stretches }, Says::Words { marks, words }) => {
                let change = self.change(*level, &marked(stretches, marks)?, words)?;
                match self.row.check_with(&change) == check {
                    true => self.done(change)?,
                    false => (Step::Say(Turn { check: None, says: self.whole() }), Waiting::Whole),
                }
            }
            (Waiting::Fingerprints { .. } | Waiting::Words, Says::Whole { words }) => {
                let change = self.row.bits().xor(words);
                self.verify(&change, check)?;
                self.done(change)?
            }
            (Waiting::Fingerprints { .. } | Waiting::Words | Waiting::Whole, Says::Difference { dots }) => {
                self.verify(dots, check)?;
                (Step::Done { difference: self.difference(dots)?, last: None }, Waiting::Nothing)
            }
            _ => return Err(ReconcileError::OutOfTurn),
        };
        (self.check, self.waiting) = (Some(check), waiting);
        self.spent += spent;
        Ok(step)
    }

    fn done(&self, change: Bits) -> Result<(Step, Waiting), ReconcileError> {
        let difference = self.difference(&change)?;
        let last = Some(Turn { check: None, says: Says::Difference { dots: change } });
        Ok((Step::Done { difference, last }, Waiting::Nothing))
    }

    fn verify(&self, change: &Bits, check: u128) -> Result<(), ReconcileError> {
        match self.row.check_with(change) == check {
            true => Ok(()),
            false => Err(ReconcileError::Contradiction),
        }
    }

    /// The dots of the bits in which the sides differ.
    fn difference(&self, change: &Bits) -> Result<Difference, ReconcileError> {
        let own = |place| self.row.words(&(place..place + 1)).first().map_or(0, |(_, word)| *word);
        let part = |side: fn(u64, u64) -> u64| {
            let words = change.words().iter().map(|(place, word)| (*place, side(*word, own(*place))));
            let dots = self.universe.dots(&Bits::from_words(words));
            dots.ok_or(ReconcileError::Unfit("dots that not both of us cover"))
        };
        let (here, there) = (part(|word, own| word & own)?, part(|word, own| word & !own)?);
        let (here, there) = if is(Bug::DifferenceReversed) { (there, here) } else { (here, there) };
        Ok(Difference { ours: self.ours.clone(), theirs: self.theirs.clone(), common: self.common.clone(), here, there })
    }

    /// The bits in which words of the peer's differ from ours.
    fn change(&self, level: u32, marked: &[u64], words: &Bits) -> Result<Bits, ReconcileError> {
        // As the peer lists them: one stretch after the other, as if all were of full size.
        let ours = self.words_of(level, marked);
        let size = self.shape.size(level);
        let place = |(listed, word): &(u64, u64)| {
            let stretch = usize::try_from(listed / size).ok().and_then(|i| marked.get(i))?;
            let place = self.shape.blocks(level, *stretch).start + listed % size;
            (place < self.universe.blocks()).then_some((place, *word))
        };
        let changed = ours.xor(words).words().iter().map(place).collect::<Option<Vec<_>>>();
        changed.map(Bits::from_words).ok_or(ReconcileError::Unfit("words that nobody asked for"))
    }

    fn words_of(&self, level: u32, stretches: &[u64]) -> Bits {
        let size = self.shape.size(level);
        let words = (0..).zip(stretches).flat_map(|(i, stretch)| {
            let blocks = self.shape.blocks(level, *stretch);
            let start = blocks.start;
            self.row.words(&blocks).iter().map(move |(place, word)| (i * size + place - start, *word))
        });
        Bits::from_words(words)
    }

    fn whole(&self) -> Says {
        Says::Whole { words: self.row.bits().clone() }
    }

    fn fingerprints(&self, level: u32, stretches: &[u64]) -> Vec<u8> {
        stretches
            .iter()
            .flat_map(|stretch| self.fingerprint(level, *stretch).into_iter().take(self.shape.width))
            .collect()
    }

    fn fingerprint(&self, level: u32, stretch: u64) -> [u8; 16] {
        self.row.fingerprint(&self.shape.blocks(level, stretch)).to_le_bytes()
    }

    /// Answers the fingerprints of some stretches.
    fn compare(&self, level: u32, stretches: Vec<u64>, theirs: &[u8]) -> Result<(Says, Waiting), ReconcileError> {
        let width = self.shape.width;
        if theirs.len() != stretches.len().saturating_mul(width) {
            return Err(ReconcileError::Unfit("not as many fingerprints as stretches"));
        }
        let pairs = (0..).zip(&stretches).zip(theirs.chunks(width));
        let differing = pairs.filter(|((_, s), theirs)| self.fingerprint(level, **s)[..width] != **theirs);
        let (marks, marked): (Vec<u64>, Vec<u64>) = differing.map(|((i, stretch), _)| (i, *stretch)).unzip();
        if marked.is_empty() {
            // The whole differs, and so did the stretch above, but no part of it: a fingerprint collided.
            return Ok((self.whole(), Waiting::Whole));
        }
        let marks = Bits::from_numbers(marks);
        if !self.pays(level, &marked, theirs.len() as u64) {
            return Ok((Says::Words { marks, words: self.words_of(level, &marked) }, Waiting::Words));
        }
        let children: Vec<u64> = marked.iter().flat_map(|stretch| self.shape.children(level, *stretch)).collect();
        let fingerprints = self.fingerprints(level - 1, &children);
        Ok((
            Says::Fingerprints { marks, fingerprints },
            Waiting::Fingerprints { level: level - 1, stretches: children },
        ))
    }

    /// Whether to say the fingerprints of what is within these stretches, and not their words: if it is less should one
    /// part of each differ, and not too much should all of them.
    fn pays(&self, level: u32, marked: &[u64], heard: u64) -> bool {
        if level == 0 {
            return false;
        }
        let children = marked.iter().map(|stretch| self.shape.children(level, *stretch));
        let cost = children.map(|range| range.end - range.start).sum::<u64>().saturating_mul(self.shape.width as u64);
        let words =
            marked.iter().map(|stretch| cost_of(self.row.words(&self.shape.blocks(level, *stretch)))).sum::<u64>();
        let whole = cost_of(self.row.bits().words());
        let worst = self.spent.saturating_add(heard).saturating_add(cost).saturating_add(words);
        cost.saturating_add(words / self.shape.fan()) < words
            && worst.saturating_mul(100) <= whole.saturating_mul(100 + OVERHEAD)
    }
}

/// What words take on the wire, about: a set is written by its words or by the gaps between its numbers.
fn cost_of(words: &[(u64, u64)]) -> u64 {
    words.iter().map(|(_, word)| u64::from(word.count_ones() + 1).min(8)).sum()
}

fn own_fingerprints(says: &Says) -> u64 {
    match says {
        Says::Fingerprints { fingerprints, .. } => fingerprints.len() as u64,
        _ => 0,
    }
}

/// The stretches that the peer marked, of those that it was asked about.
fn marked(stretches: &[u64], marks: &Bits) -> Result<Vec<u64>, ReconcileError> {
    let find = |mark: u64| usize::try_from(mark).ok().and_then(|i| stretches.get(i)).copied();
    let marked = marks.numbers().map(find).collect::<Option<Vec<_>>>().filter(|marked| !marked.is_empty());
    marked.ok_or(ReconcileError::Unfit("marks where nothing was asked"))
}
