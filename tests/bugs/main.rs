//! Who finds out what: each of some wrong variants of the crate, given to each oracle by itself.
//!
//! `RUSTFLAGS="--cfg driftless_bugs" cargo test --release --all-features --test bugs -- --nocapture`
//!
//! In an optimized build, so that it is the oracles who speak and not the assertions. The bugs are listed in `src/bugs.rs`.
#![cfg(driftless_bugs)]

#[path = "../simulator/frame.rs"]
mod frame;
#[path = "../support/graph.rs"]
mod graph;
mod history;
#[path = "../support/letters.rs"]
mod letters;
#[path = "../support/list.rs"]
mod list;
mod oracles;
#[path = "../simulator/plan.rs"]
mod plan;
#[path = "../simulator/random.rs"]
mod random;
mod sessions;
#[path = "../simulator/site.rs"]
mod site;
#[path = "../support/types.rs"]
mod subjects;
mod suite;
#[allow(dead_code, reason = "it counts for the simulator's own tests")]
#[path = "../simulator/tally.rs"]
mod tally;
#[path = "../support/text.rs"]
mod text;
#[path = "../support/tree.rs"]
mod tree;
#[path = "../simulator/truth.rs"]
mod truth;
#[path = "../simulator/world.rs"]
mod world;

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use driftless::testing::Raw;
use driftless::testing::bugs::{Bug, with};
use driftless::{GCounter, Graph, LwwRegister};
use oracles::{Verdict, codec, derived, laws, model, mutation, versions};

struct Oracle {
    name: &'static str,
    /// How many cases it takes at most.
    cases: u64,
    judge: fn(u64) -> Verdict,
}

/// An oracle by turns on a history of each type.
macro_rules! of_each {
    ($oracle:ident) => {
        |seed| match seed % 5 {
            0..2 => $oracle::<Raw>(seed),
            2 => $oracle::<Graph>(seed),
            3 => $oracle::<LwwRegister<u8>>(seed),
            _ => $oracle::<GCounter>(seed),
        }
    };
}

const ORACLES: [Oracle; 13] = [
    Oracle { name: "versions", cases: 300, judge: of_each!(versions) },
    Oracle { name: "laws", cases: 300, judge: of_each!(laws) },
    Oracle { name: "mutation", cases: 300, judge: of_each!(mutation) },
    Oracle { name: "model", cases: 300, judge: model },
    Oracle { name: "derived", cases: 300, judge: of_each!(derived) },
    Oracle { name: "codec", cases: 60, judge: of_each!(codec) },
    Oracle { name: "kit", cases: 300, judge: suite::kit },
    Oracle { name: "trees", cases: 600, judge: suite::trees },
    Oracle { name: "texts", cases: 600, judge: suite::texts },
    Oracle { name: "lists", cases: 100, judge: suite::lists },
    Oracle { name: "explorer", cases: 2, judge: suite::explorer },
    Oracle { name: "sessions", cases: 12, judge: sessions::judge },
    Oracle { name: "simulator", cases: 60, judge: suite::simulator },
];

/// How a bug was found out.
#[derive(Clone)]
enum Found {
    /// Not at all.
    Not,
    /// By what was judged, in so many cases.
    Judged(u64, String),
    /// Something panicked.
    Panicked(u64, String),
}

fn judge(oracle: &Oracle, bug: Option<Bug>) -> Found {
    for seed in 0..oracle.cases {
        match catch_unwind(AssertUnwindSafe(|| with(bug, || (oracle.judge)(seed)))) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Found::Judged(seed + 1, why),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                return Found::Panicked(seed + 1, text.unwrap_or_default());
            }
        }
    }
    Found::Not
}

/// What each oracle makes of each bug; the first line without any.
fn all() -> Vec<(Option<Bug>, Vec<Found>)> {
    let bugs: Vec<Option<Bug>> = std::iter::once(None).chain(Bug::ALL.iter().copied().map(Some)).collect();
    let tasks: Vec<_> = bugs.iter().flat_map(|bug| ORACLES.iter().map(move |oracle| (*bug, oracle))).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((bug, oracle)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((*bug, oracle.name, judge(oracle, *bug)));
        }
        done
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let done: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let found = |bug: Option<Bug>, oracle: &Oracle| {
        done.iter()
            .find(|(b, name, _)| *b == bug && *name == oracle.name)
            .map_or(Found::Not, |(.., found)| found.clone())
    };
    bugs.into_iter().map(|bug| (bug, ORACLES.iter().map(|oracle| found(bug, oracle)).collect())).collect()
}

fn table(rows: &[(Option<Bug>, Vec<Found>)]) -> String {
    let mut text = String::from("| bug |");
    ORACLES.iter().for_each(|oracle| write!(text, " {} |", oracle.name).unwrap());
    text += "\n|---|";
    text += &"---|".repeat(ORACLES.len());
    for (bug, found) in rows {
        write!(text, "\n| {} |", bug.map_or("(none)", Bug::what)).unwrap();
        for found in found {
            match found {
                Found::Not => text += " — |",
                Found::Judged(cases, _) => write!(text, " {cases} |").unwrap(),
                Found::Panicked(cases, _) => write!(text, " {cases}! |").unwrap(),
            }
        }
    }
    text
}

#[test]
fn every_bug_is_found_out_and_no_oracle_is_idle() {
    std::panic::set_hook(Box::new(|_| {}));
    let rows = all();
    drop(std::panic::take_hook());
    println!("{}", table(&rows));
    let (right, wrong) = rows.split_first().unwrap();
    for (oracle, found) in ORACLES.iter().zip(&right.1) {
        if let Found::Judged(seed, why) | Found::Panicked(seed, why) = found {
            panic!("{} finds a bug where none was put, in case {seed}: {why}", oracle.name);
        }
    }
    let missed = wrong.iter().filter(|(_, found)| found.iter().all(|found| matches!(found, Found::Not)));
    let missed: Vec<_> = missed.filter_map(|(bug, _)| *bug).collect();
    assert!(missed.is_empty(), "nobody finds {missed:?}");
    for (i, oracle) in ORACLES.iter().enumerate() {
        let kills = wrong.iter().filter(|(_, found)| matches!(found[i], Found::Judged(..))).count();
        println!("{} finds {kills} of {}", oracle.name, wrong.len());
        assert!(kills >= 3, "{} finds {kills} bugs", oracle.name);
    }
}

/// One bug, by one oracle, with what is said of it: `DRIFTLESS_BUG=KeepOurs DRIFTLESS_ORACLE=laws`.
#[test]
fn one_bug() {
    let (Ok(bug), Ok(name)) = (std::env::var("DRIFTLESS_BUG"), std::env::var("DRIFTLESS_ORACLE")) else { return };
    let bug = Bug::ALL.iter().copied().find(|b| format!("{b:?}") == bug);
    let oracle = ORACLES.iter().find(|oracle| oracle.name == name).unwrap();
    match judge(oracle, bug) {
        Found::Not => println!("{bug:?} passes"),
        Found::Judged(case, why) => println!("{bug:?}, case {case}: {why}"),
        Found::Panicked(case, why) => println!("{bug:?}, case {case} panics: {why}"),
    }
}
