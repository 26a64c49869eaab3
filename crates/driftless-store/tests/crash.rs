//! Crash exhaustion: small histories stop at every operation of the disk, and of what was not synced any part is lost.
//!
//! `DRIFTLESS_CRASHES=20` tries more of the subsets that are too many to try all.

#[path = "support/crash.rs"]
mod crash;

use crash::{Counts, Effort, checkpoint_and_tombstones, fail_everywhere, fill_everywhere, histories, stop_everywhere};

fn effort() -> Effort {
    let times = std::env::var("DRIFTLESS_CRASHES").ok().and_then(|times| times.parse().ok());
    times.map_or(Effort { all: 7, samples: 20, again: 40 }, |times: u64| Effort {
        all: 10,
        samples: 50 * times,
        again: 11,
    })
}

fn all(of: impl Fn(&str, driftless_store::Durability, &[crash::Step]) -> Result<Counts, String>) -> Counts {
    let mut counts = Counts::default();
    for (name, durability, steps) in histories() {
        counts.add(of(name, durability, &steps).unwrap_or_else(|why| panic!("{why}")));
    }
    println!("{counts:?}");
    counts
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_machine_stops() {
    let counts = all(|name, durability, steps| stop_everywhere(name, durability, steps, effort()));
    assert!(
        counts.stops > 500 && counts.crashes > 10_000 && counts.truncated > 100 && counts.crashes_again > 5_000,
        "{counts:?}"
    );
}

#[test]
fn nothing_told_is_lost_whatever_operation_fails() {
    let counts = all(fail_everywhere);
    assert!(counts.faults > 200 && counts.refused > 50, "{counts:?}");
}

#[test]
fn a_full_disk_changes_nothing_and_freeing_space_is_enough() {
    let counts = all(|name, durability, steps| fill_everywhere(name, durability, steps, 97));
    assert!(counts.faults > 200, "{counts:?}");
}

#[test]
fn a_peer_that_was_away_during_a_checkpoint_need_not_reconcile() {
    checkpoint_and_tombstones().unwrap();
}
