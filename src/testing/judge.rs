//! Judging a type by many schedules.

use std::cell::RefCell;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::testing::model::Model;
use crate::testing::report::Report;
use crate::testing::schedule::{Step, schedules};
use crate::testing::world::play;

/// Judges a type by this many random schedules of these operations, and returns what they were made of.
///
/// With `DRIFTLESS_SCHEDULES=20` in the environment it takes twenty times as many, for a longer look.
///
/// # Panics
///
/// If a check fails, with the shortest schedule found that makes it fail, to be kept with [`replay`]; or if the cases were
/// not worth running: see [`Report::check`].
#[track_caller]
#[allow(clippy::panic, reason = "this is an assertion; `try_judge` returns the verdict")]
pub fn judge<M: Model>(ops: impl Strategy<Value = M::Op>, cases: u32) -> Report {
    match try_judge::<M>(ops, cases) {
        Ok(report) => report,
        Err(why) => panic!("{why}"),
    }
}

/// Like [`judge`], and returns the verdict.
pub fn try_judge<M: Model>(ops: impl Strategy<Value = M::Op>, cases: u32) -> Result<Report, String> {
    let times = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse::<u32>().ok()).unwrap_or(1);
    let config = Config { cases: cases.saturating_mul(times), failure_persistence: None, ..Config::default() };
    let total = RefCell::new(Report::default());
    let result = TestRunner::new(config).run(&schedules(ops), |steps| {
        let report = play::<M>(&steps).map_err(TestCaseError::fail)?;
        total.borrow_mut().add(&report);
        Ok(())
    });
    result.map_err(|error| error.to_string())?;
    let report = total.into_inner();
    report.check()?;
    Ok(report)
}

/// Runs one schedule with all the checks of [`judge`]: to keep a schedule that once failed as a test.
pub fn replay<M: Model>(steps: &[Step<M::Op>]) -> Result<Report, String> {
    play::<M>(steps)
}
