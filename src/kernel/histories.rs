//! Random histories of three replicas, for the tests of what deltas are taken apart into.

#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use crate::kernel::{Delta, Entity, Environment, Payload};
use crate::{Graph, Prune, Replica};

/// Time that stands still, and ids that differ.
pub(super) struct Still(pub(super) Arc<AtomicU64>);

impl Environment for Still {
    fn now_ms(&mut self) -> u64 {
        1_000
    }

    fn random(&mut self) -> [u8; 16] {
        // In no order: writers are sorted by what comes of it.
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        (u128::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()
    }
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(usize, u8, u8),
    Erase(usize, u8, u8),
    Delete(usize, u8),
    Merge(usize, usize),
    Prune(usize),
    PruneSeen(usize),
}

pub(super) const REPLICAS: usize = 3;

pub(super) fn steps(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let (who, entity, field) = (|| 0..REPLICAS, || 0..9u8, || 0..4u8);
    let step = prop_oneof![
        12 => (who(), entity(), field()).prop_map(|(by, e, f)| Step::Write(by, e, f)),
        3 => (who(), entity(), 1..4u8).prop_map(|(by, e, f)| Step::Erase(by, e, f)),
        2 => (who(), entity()).prop_map(|(by, e)| Step::Delete(by, e)),
        5 => (who(), who()).prop_map(|(from, to)| Step::Merge(from, to)),
        1 => who().prop_map(Step::Prune),
        1 => who().prop_map(Step::PruneSeen),
    ];
    prop::collection::vec(step, len)
}

pub(super) fn entity(n: u8) -> Entity {
    Entity::new(200, [n; 16])
}

pub(super) struct World(pub(super) Vec<Replica<Graph>>, pub(super) Arc<AtomicU64>);

impl World {
    pub(super) fn new() -> Self {
        let ids = Arc::new(AtomicU64::new(0));
        Self((0..REPLICAS).map(|_| Replica::with_environment(Still(ids.clone()))).collect(), ids)
    }

    pub(super) fn run(&mut self, steps: &[Step]) {
        let field = |f: u8| [b'f', f][..if f == 0 { 0 } else { 2 }].to_vec();
        for (n, step) in steps.iter().enumerate() {
            match *step {
                Step::Write(by, e, f) => {
                    let payload = Payload::new(200, &vec![n as u8; usize::from(e) * 5]);
                    self.0[by].edit(|g| g.write(entity(e), &field(f), payload)).map(drop).unwrap();
                }
                Step::Erase(by, e, f) => drop(self.0[by].edit(|g| g.erase(entity(e), &field(f))).unwrap()),
                Step::Delete(by, e) => drop(self.0[by].edit(|g| g.delete(entity(e))).unwrap()),
                Step::Merge(from, to) => self.merge(from, to),
                Step::Prune(by) => drop(self.0[by].prune(Prune::All)),
                Step::PruneSeen(by) => {
                    let seen = self.0[0].version().meet(self.0[1].version()).meet(self.0[2].version());
                    self.0[by].prune(Prune::Upto(&seen));
                }
            }
        }
    }

    pub(super) fn merge(&mut self, from: usize, to: usize) {
        let delta = self.cut(from, to);
        self.0[to].merge(&delta).unwrap();
    }

    pub(super) fn fork(&self, replica: usize) -> Replica<Graph> {
        self.0[replica].fork_with(Still(self.1.clone()))
    }

    pub(super) fn cut(&self, from: usize, to: usize) -> Delta {
        let (from, to) = (&self.0[from], &self.0[to]);
        from.delta_since(to.version()).unwrap_or_else(|_| from.reconcile(to.version(), &to.live_dots()))
    }
}
