//! A test kit: for the tests of this crate, and for those of types that others build on it. Feature `testing`.
//!
//! - [`judge`] and [`Model`]: random schedules of edits, sends, losses, restarts, copies, restored backups over three
//!   replicas of a type, judged by what you say of it.
//! - [`explore`]: all schedules of a few steps, for the same model.
//! - [`TestEnvironment`]: time and randomness that replay exactly.
//! - [`Raw`]: the kernel with nothing on top, to write any cell.
//! - [`Oracle`]: what must be alive, recomputed from the list of all writes by a rule that shares no code with the kernel.
//!
//! # Judging a type of your own
//!
//! Say in a [`Model`] what each operation writes and what must be read; give [`judge`] a strategy for operations. The
//! shopping list of [`Crdt`](crate::Crdt), in which of concurrent quantities the greatest counts:
//!
//! ```
//! use driftless::testing::proptest::prelude::*;
//! use driftless::testing::{Model, View, Write, Writes, judge, same};
//! use driftless::{Edit, EditError};
//! # use driftless::kernel::{Entity, Payload, Touched};
//! # use driftless::{Crdt, State};
//! # #[derive(Clone, Default, PartialEq, Debug)]
//! # struct ShoppingList { state: State }
//! # impl Crdt for ShoppingList {
//! #     const SCHEMA: &'static str = "com.example.shopping-list";
//! #     type Change = String;
//! #     fn state(&self) -> &State { &self.state }
//! #     fn state_mut(&mut self) -> &mut State { &mut self.state }
//! #     fn follow(&mut self, _: &Touched) {}
//! #     fn describe(touched: &Touched) -> Option<String> {
//! #         String::from_utf8(touched.field.as_bytes().to_vec()).ok()
//! #     }
//! # }
//! # impl ShoppingList {
//! #     fn quantity(&self, article: &str) -> u8 {
//! #         let cells = self.state.cells(Entity::SELF).into_iter();
//! #         let wanted = cells.flat_map(|cells| cells.live(article.as_bytes()));
//! #         wanted.filter_map(|s| s.payload.as_ref()?.bytes().first().copied()).max().unwrap_or(0)
//! #     }
//! # }
//! # trait EditShoppingList {
//! #     fn want(&mut self, article: &str, quantity: u8) -> Result<(), EditError>;
//! # }
//! # impl EditShoppingList for Edit<'_, ShoppingList> {
//! #     fn want(&mut self, article: &str, quantity: u8) -> Result<(), EditError> {
//! #         self.write(Entity::SELF, article.as_bytes(), Payload::new(1, &[quantity])).map(drop)
//! #     }
//! # }
//!
//! const ARTICLES: [&str; 2] = ["apples", "bread"];
//!
//! /// `want(article, quantity)`
//! #[derive(Clone, Debug)]
//! struct Want(&'static str, u8);
//!
//! enum Shopping {}
//!
//! impl Model for Shopping {
//!     type Type = ShoppingList;
//!     type Op = Want;
//!     type Cell = &'static str; // one for each article
//!     type Group = (); // nothing is deleted together
//!     type Value = u8;
//!
//!     fn group(_: &&'static str) {}
//!
//!     fn apply(edit: &mut Edit<'_, ShoppingList>, Want(article, quantity): &Want) -> Result<(), EditError> {
//!         edit.want(article, *quantity)
//!     }
//!
//!     fn writes(Want(article, quantity): &Want, _: &View<'_, Self>, _: usize) -> Option<Writes<Self>> {
//!         Some(vec![Write::Put(*article, *quantity)])
//!     }
//!
//!     fn check(view: &View<'_, Self>, list: &ShoppingList) -> Result<(), String> {
//!         ARTICLES.iter().try_for_each(|article| {
//!             let greatest = view.of(article).map(|standing| *standing.value).max();
//!             same(article, list.quantity(article), greatest.unwrap_or(0))
//!         })
//!     }
//!
//!     fn kind(_: &Want) -> &'static str {
//!         "want"
//!     }
//! }
//!
//! let wants = (prop::sample::select(&ARTICLES[..]), 0..5u8).prop_map(|(article, quantity)| Want(article, quantity));
//! let report = judge::<Shopping>(wants, 20);
//! println!("{report}");
//! ```
//!
//! # What is checked
//!
//! All deltas, versions and sets of live dots go through bytes, and come out as they went in.
//!
//! | when | what must hold | a failure means |
//! |---|---|---|
//! | a replica was touched | [`Model::invariants`], [`Model::check`]; it has seen as many writes as the model says | what is derived does not follow the cells; the reading rule, or what an operation writes, is another than the model's |
//! | | saved and loaded it reads the same, and is saved as the same bytes | something that is read does not lie in the cells |
//! | it edited | the delta of the edit, merged into it as it was before, is the edit | as above |
//! | an edit is refused | nothing is left of it | what is derived does not follow when a change is undone |
//! | a delta arrives | it is refused if it builds on what has not been seen here, and then leaves nothing; else it is merged, and merging it again changes nothing | as above |
//! | it prunes | it reads the same | the type reads tombstones |
//! | a saved state is opened, the latest, an older one or another site's | it reads as it did then, and goes on as a writer of its own | something that is read does not lie in the cells |
//! | after every step | replicas of equal versions are equal, with equal fingerprints | something that is read depends on the order of arrival |
//! | after the schedule | the laws below, on the three replicas and their past | something that is read depends on the order of arrival |
//! | at the end | all sync with all, and all are equal, with equal fingerprints, and nothing left to send | as above |
//!
//! | law | |
//! |---|---|
//! | commutative | `a ⊔ b = b ⊔ a` |
//! | associative | `(a ⊔ b) ⊔ c = a ⊔ (b ⊔ c)` |
//! | idempotent | `a ⊔ a = a`, `(a ⊔ b) ⊔ b = a ⊔ b` |
//! | inflationary | `a ⊔ past = a`, `past ⊔ a = a` |
//! | a delta is the whole | `x ⊔ δ = x ⊔ y`, with δ what `x` lacks of `y` |
//! | reordered deltas | `a ⊔ δb ⊔ δc = a ⊔ δc ⊔ δb = a ⊔ b ⊔ c` |
//! | regrouped deltas | `x ⊔ δ₁ ⊔ δ₂ ⊔ δ₃ = x ⊔ (δ₁·δ₂)·δ₃ = x ⊔ δ₁·(δ₂·δ₃) = x ⊔ whole`, with `·` [`Delta::join`](crate::kernel::Delta::join); deltas that overlap, one after the other, likewise. What is inherited as pruned is the same too |
//! | one state, one spelling | equal cells, versions and pruned versions are equal bytes |
//!
//! [`explore`] checks the same of every state that a few steps lead to, and tells a shortest schedule to what is wrong. Random
//! schedules are longer and mix more operations; an exploration leaves none out. A type deserves both.
//!
//! The kernel keeps the laws for all that lies in cells. A type breaks them by what it derives, and by what its `PartialEq`
//! compares beyond its state.

mod acts;
mod environment;
mod explore;
mod history;
mod judge;
mod laws;
mod model;
mod oracle;
mod point;
mod raw;
mod report;
mod schedule;
mod world;

/// The strategies that [`judge`] takes, in the version that it takes.
pub use proptest;

pub use environment::TestEnvironment;
pub use explore::{Exploration, Scope, explore, try_explore};
pub use history::{Standing, View};
pub use judge::{judge, replay, try_judge};
pub use model::{Model, Write, Writes, same};
pub use oracle::Oracle;
pub use raw::{Raw, RawOp};
pub use report::{Report, Shares};
pub use schedule::{Step, What, schedules};

/// Wrong variants of this crate, to test its tests: see `src/bugs.rs`.
#[cfg(driftless_bugs)]
pub mod bugs {
    pub use crate::bugs::{Bug, with};
}

/// A replica once more, as if its process had been copied with its memory: both go on as one writer, and write one dot with
/// two contents.
pub fn twin<T: crate::kernel::Crdt>(
    replica: &crate::replica::Replica<T>,
    environment: impl crate::kernel::Environment + 'static,
) -> crate::replica::Replica<T> {
    replica.twin_with(environment)
}

/// The version of a replica that has seen so many writes of each of these writers, none of which goes on from another.
pub fn version_of_roots(heads: impl IntoIterator<Item = (crate::id::WriterId, u64)>) -> crate::version::Version {
    crate::version::Version::rooted(heads)
}

/// Makes the checksum of a message fit its other bytes, so that damage reaches what lies behind it.
pub fn repair_checksum(message: &mut [u8]) {
    crate::codec::repair_checksum(message);
}

/// A part of a delta that a test spells by hand: nothing of it needs to make sense. Fields and writers are places in the tables of
/// the delta.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SpelledPart {
    /// Kind and id of the entity.
    pub entity: (u8, [u8; 16]),
    /// True if the part claims to hold all cells of the entity.
    pub whole: bool,
    /// Siblings without content: field, writer, counter.
    pub known: Vec<(u32, u32, u64)>,
    /// Writes.
    pub writes: Vec<SpelledWrite>,
}

/// A write that a test spells by hand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SpelledWrite {
    /// Place of the field.
    pub field: u32,
    /// Place of the writer.
    pub writer: u32,
    /// Counter of the dot.
    pub counter: u64,
    /// Bits of the stamp.
    pub stamp: u64,
    /// Kind and bytes of the payload; `None` for a tombstone.
    pub payload: Option<(u8, Vec<u8>)>,
}

/// The parts of a delta with these fields, in the spelling of the format: the end of the body of a message.
pub fn spell_parts(fields: &[Vec<u8>], parts: &[SpelledPart]) -> Vec<u8> {
    use crate::kernel::{DeltaWrite, Entity, Known, Part, Payload};
    let replica = crate::replica::Replica::<Raw>::with_environment(TestEnvironment::new(0));
    let mut delta = replica.complete();
    fields.iter().for_each(|field| delta.fields.push(field));
    for part in parts {
        let known = part.known.iter().map(|(field, writer, counter)| Known {
            field: *field,
            writer: *writer,
            counter: *counter,
        });
        delta.known.extend(known);
        delta.writes.extend(part.writes.iter().map(|write| DeltaWrite {
            field: write.field,
            writer: write.writer,
            counter: write.counter,
            stamp: crate::clock::Stamp::from_bits(write.stamp),
            payload: write.payload.as_ref().map(|(kind, bytes)| Payload::new(*kind, bytes)),
        }));
        let (known_end, writes_end) = (delta.known.len(), delta.writes.len());
        let entity = Entity::new(part.entity.0, part.entity.1);
        delta.parts.push(Part { entity, whole: part.whole, known_end, writes_end });
    }
    crate::codec::spell_parts(&delta)
}

/// A message of this kind around any body, with the length and the checksum that fit.
///
/// # Errors
///
/// [`DecodeError`](crate::DecodeError) if no message has this kind.
pub fn seal_message(kind: u8, body: Vec<u8>) -> Result<Vec<u8>, crate::codec::DecodeError> {
    crate::codec::seal_message(kind, body)
}

/// Makes the checksum of a frame of a [`Session`](crate::sync::Session) fit its other bytes.
pub fn repair_frame_checksum(frame: &mut [u8]) {
    crate::sync::repair_frame_checksum(frame);
}

/// A frame of a [`Session`](crate::sync::Session), read and written again: the same bytes, but that what a later protocol adds to
/// a hello is gone.
///
/// # Errors
///
/// [`DecodeError`](crate::DecodeError) if no session would read it.
pub fn reread_frame(frame: &[u8]) -> Result<Vec<u8>, crate::codec::DecodeError> {
    crate::sync::reread_frame(frame)
}

/// A delta as one slice of a stream of a [`Session`](crate::sync::Session), for a receiver that stands at this version and
/// has pruned nothing: so that a test can send what no session would.
pub fn slice_for(delta: &crate::kernel::Delta, receiver: &crate::version::Version) -> Vec<u8> {
    let (version, pruned) = (receiver.clone(), crate::version::Version::new());
    let reference = crate::codec::Reference { since: version.clone(), upto: version.clone(), pruned, at: version };
    crate::codec::encode_slice(delta, &reference)
}

/// How many cells cutting, merging and comparing have looked at (of an entity that a comparison only passes, one) on this thread since the last call.
pub fn cells_visited() -> usize {
    crate::kernel::visits::take()
}
