//! Schedules in which sites often open copies and backups, and go on writing in each: what the kit draws for any type makes
//! few branches that have a past in common.

use driftless::testing::{Model, Step, What, replay};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

fn schedules<Op: Clone + std::fmt::Debug>(ops: impl Strategy<Value = Op>) -> impl Strategy<Value = Vec<Step<Op>>> {
    let site = || 0..3usize;
    let step = prop_oneof![
        8 => (site(), ops).prop_map(|(by, op)| Step::Edit { by, ops: vec![op] }),
        6 => (site(), 1..3usize).prop_map(|(from, next)| Step::Send { from, to: (from + next) % 3, what: What::Lacking }),
        6 => (0..100usize, prop::bool::weighted(0.3))
            .prop_map(|(which, astray)| Step::Deliver { which, again: false, astray }),
        2 => (site(), site(), 0..6usize).prop_map(|(who, of, back)| Step::Restart { who, of, back }),
        1 => site().prop_map(|by| Step::Prune { by }),
    ];
    prop::collection::vec(step, 30..60)
}

/// Judges a type by so many of these schedules. Returns the share of them in which a [facet](Model::facets) held.
pub(crate) fn judge_branching<M: Model>(ops: impl Strategy<Value = M::Op>, cases: u32, facet: &str) -> f64 {
    let times = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse::<u32>().ok()).unwrap_or(1);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases * times) };
    let held = std::cell::Cell::new(0.0);
    let run = TestRunner::new(config).run(&schedules(ops), |steps| {
        let report = replay::<M>(&steps).map_err(TestCaseError::fail)?;
        held.set(held.get() + report.cases.of(facet));
        Ok(())
    });
    run.unwrap();
    held.get() / f64::from(cases * times)
}
