//! Many replicas in sessions with each other over a network that loses, repeats, reorders, delays and damages what they say;
//! they crash, come back from backups, prune and close sessions at any moment. Nothing is lost, nothing comes back, and once
//! the network is sound all hold the same.
//!
//! | file | idea |
//! |---|---|
//! | `world` | the replicas, their sessions and the network, in virtual time |
//! | `plan` | what a run is like, from its seed |
//! | `site` | a replica, its disk, its clock, what it writes |
//! | `truth` | what must be alive, by what writers saw |
//! | `tally` | how much of each hazard there was |

mod frame;
#[path = "../support/letters.rs"]
mod letters;
mod plan;
mod random;
mod site;
mod tally;
mod truth;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tally::{HAZARDS, Tally};

/// How many seeds the normal run takes; `DRIFTLESS_SCHEDULES=20` takes twenty times as many, for a longer look.
const SEEDS: u64 = 160;

fn run(seed: u64, shows: bool) -> Result<(Tally, u64), String> {
    let result = catch_unwind(AssertUnwindSafe(|| world::run(seed, shows)));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    });
    let again = format!("DRIFTLESS_SEED={seed} cargo test --all-features --test simulator one_seed -- --nocapture");
    result.map_err(|why| format!("seed {seed}: {why}\nto see it alone: {again}"))
}

#[test]
fn nothing_is_lost_and_all_become_equal() {
    let times = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse::<u64>().ok()).unwrap_or(1);
    let mut total = Tally::default();
    let mut failures = Vec::new();
    for seed in 0..SEEDS * times {
        match run(seed, false) {
            Ok((tally, _)) => total.join(&tally),
            Err(why) => failures.push(why),
        }
    }
    println!("{total}");
    assert!(
        failures.is_empty(),
        "{} of {} seeds:\n{}",
        failures.len(),
        SEEDS * times,
        failures[..failures.len().min(12)].join("\n\n")
    );
    for hazard in HAZARDS {
        assert!(total.of(hazard) > 0, "{hazard}: none\n{total}");
    }
    // Losses that the design cannot see, where two processes share a writer, stay rare.
    let unseen = total.of("of them ended by what nobody can tell from an overwrite");
    let doubled = total.of("contents under doubled dots");
    assert!(
        unseen * 10 <= doubled,
        "{unseen} of {doubled} contents of doubled dots vanished without a report\n{total}"
    );
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    for seed in 0..12 {
        assert_eq!(run(seed, false), run(seed, false), "seed {seed}");
    }
}

/// The seed that `DRIFTLESS_SEED` names, with all that happens.
#[test]
fn one_seed() {
    let Some(seed) = std::env::var("DRIFTLESS_SEED").ok().and_then(|seed| seed.parse().ok()) else { return };
    match run(seed, true) {
        Ok((tally, _)) => println!("{tally}"),
        Err(why) => panic!("{why}"),
    }
}
