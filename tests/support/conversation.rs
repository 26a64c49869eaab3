//! Conversations of two that reconcile, with turns of every sort.
#![allow(dead_code, reason = "each test takes what it needs")]

use driftless::sync::{Reconciling, Step, Turn};
use driftless::testing::version_of_roots;
use driftless::{Dot, DotSet, Version, WriterId};

/// A conversation of two that reconcile, up to one of its turns.
#[derive(Clone)]
pub(crate) struct Conversation {
    pub(crate) sides: [(DotSet, Version); 2],
    pub(crate) turns: Vec<Turn>,
}

impl Conversation {
    pub(crate) const NONCE: [u8; 16] = *b"drawn at random!";

    /// Two that cover so many dots of each of two writers, and of whom each holds all but a few.
    pub(crate) fn new(dots: u64, dead: [&[u64]; 2]) -> Self {
        let ids = [WriterId::from([3; 10]), WriterId::from([4; 10])];
        let version = version_of_roots(ids.map(|id| (id, dots)));
        let sides = dead.map(|dead| {
            let dots = ids.iter().flat_map(|id| (1..=dots).map(|counter| Dot { writer: *id, counter }));
            let live = dots.enumerate().filter(|(i, _)| !dead.contains(&(*i as u64))).map(|(_, dot)| dot);
            (live.collect(), version.clone())
        });
        let (_, first) = Reconciling::ask(&sides[0].0, &sides[0].1, &sides[1].1, Self::NONCE).unwrap();
        Self { sides, turns: vec![first] }
    }

    /// What whoever is spoken to answers if the last turn is this one. Should it be refused, nothing has changed: what was
    /// really said is answered as if nothing had been.
    pub(crate) fn hear(&self, last: &Turn) -> Result<Step, String> {
        let [(a, seen_a), (b, seen_b)] = &self.sides;
        let (really, said) = self.turns.split_last().unwrap();
        let Some(first) = said.first() else {
            return Reconciling::answer(b, seen_b, seen_a, last)
                .map(|(_, step)| step)
                .map_err(|error| error.to_string());
        };
        let listener = || {
            // Who asks says turns 0, 2, 4; who answers hears the first of them as it begins.
            let (mut listener, heard) = match said.len() % 2 {
                0 => (Reconciling::answer(b, seen_b, seen_a, first).unwrap().0, 2),
                _ => (Reconciling::ask(a, seen_a, seen_b, Self::NONCE).unwrap().0, 1),
            };
            said.iter().skip(heard).step_by(2).for_each(|turn| drop(listener.handle(turn).unwrap()));
            listener
        };
        let mut refusing = listener();
        refusing.handle(last).map_err(|error| {
            let answers = [refusing.handle(really), listener().handle(really)].map(|answer| format!("{answer:?}"));
            assert_eq!(answers[0], answers[1], "changed by what was refused: {error}");
            error.to_string()
        })
    }

    pub(crate) fn last(&self) -> &Turn {
        &self.turns[self.turns.len() - 1]
    }

    /// This conversation and what it comes to, turn by turn.
    pub(crate) fn all(mut self) -> Vec<Self> {
        let mut all = vec![self.clone()];
        while let Ok(Step::Say(next) | Step::Done { last: Some(next), .. }) = self.hear(self.last()) {
            self.turns.push(next);
            all.push(self.clone());
        }
        all
    }
}

/// One turn of each sort, with all that was said before it.
pub(crate) fn conversations() -> Vec<(&'static str, Conversation)> {
    let mut all = Conversation::new(3_000, [&[], &[70, 5_000]]).all();
    // A first turn whose check is of something else, though all that it asks about is equal: as if a fingerprint collided.
    let mut collided = Conversation::new(400, [&[], &[]]);
    let mut bytes = collided.turns[0].to_bytes();
    bytes[27] ^= 1;
    collided.turns[0] = Turn::from_bytes(&bytes).unwrap();
    all.extend(collided.all().into_iter().skip(1));
    // By what the first byte says.
    let sorts = [
        (1, "turn: start"),
        (2, "turn: fingerprints"),
        (3, "turn: words"),
        (4, "turn: whole"),
        (5, "turn: difference"),
    ];
    let of = |sort: u8| {
        let says = |c: &&Conversation| c.last().to_bytes()[0] & 0x7f == sort;
        all.iter().find(says).cloned().unwrap_or_else(|| panic!("nobody said {sort}"))
    };
    sorts.map(|(sort, name)| (name, of(sort))).into()
}
