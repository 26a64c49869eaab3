//! The tests themselves: each wrong variant of the crate must be found out by one of them.
//!
//! `RUSTFLAGS="--cfg driftless_bugs" cargo test --release -p driftless-store --test bugs -- --nocapture`
#![cfg(driftless_bugs)]

#[path = "support/crash.rs"]
mod crash;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crash::{
    Effort, checkpoint_and_tombstones, fail_everywhere, fill_everywhere, histories, open_image, small_store,
    stop_everywhere,
};
use driftless_store::{Bug, switch};

const EFFORT: Effort = Effort { all: 6, samples: 10, again: 100 };

fn stops() -> Result<(), String> {
    histories()
        .iter()
        .try_for_each(|(name, durability, steps)| stop_everywhere(name, *durability, steps, EFFORT).map(drop))
}

fn faults() -> Result<(), String> {
    histories().iter().try_for_each(|(name, durability, steps)| fail_everywhere(name, *durability, steps).map(drop))
}

fn room() -> Result<(), String> {
    histories().iter().try_for_each(|(name, durability, steps)| fill_everywhere(name, *durability, steps, 97).map(drop))
}

fn rot() -> Result<(), String> {
    for closed in [true, false] {
        let (image, held) = small_store(closed);
        for (name, bytes) in &image {
            for byte in (0..bytes.len().min(3_000)).step_by(3) {
                let mut flipped = image.clone();
                flipped.get_mut(name).unwrap()[byte] ^= 4;
                match open_image(&flipped) {
                    Ok((_, false)) => return Err(format!("byte {byte} of {name} went unseen")),
                    Ok((nodes, true)) if closed || nodes.len() + 1 < held.len() => {
                        return Err(format!("byte {byte} of {name} was told as the end"));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_mistake_is_found() {
    let oracles: [(&str, fn() -> Result<(), String>); 5] =
        [("stops", stops), ("faults", faults), ("room", room), ("rot", rot), ("stories", checkpoint_and_tombstones)];
    println!("| mistake | stops | faults | room | rot | stories |\n|---|---|---|---|---|---|");
    std::panic::set_hook(Box::new(|_| ()));
    let mut unfound = Vec::new();
    for bug in std::iter::once(None).chain(Bug::ALL.iter().copied().map(Some)) {
        switch(bug);
        let found = oracles.map(|(name, oracle)| match catch_unwind(AssertUnwindSafe(oracle)) {
            Ok(Ok(())) => "—",
            Ok(Err(why)) => {
                if bug.is_none() || std::env::var_os("DRIFTLESS_TELL").is_some() {
                    println!("{bug:?} by {name}: {why}");
                }
                "found"
            }
            Err(_) => "found!",
        });
        println!("| {} | {} |", bug.map_or("(none)", Bug::what), found.join(" | "));
        let is_found = found.iter().any(|found| *found != "—");
        if is_found != bug.is_some() {
            unfound.push(bug);
        }
    }
    let _ = std::panic::take_hook();
    switch(None);
    assert!(unfound.is_empty(), "{unfound:?}");
}
