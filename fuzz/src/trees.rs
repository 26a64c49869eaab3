//! Schedules over a tree on three replicas, by its definition.

use crate::input::Input;

#[path = "../../tests/support/tree.rs"]
mod tree;

use tree::{Act, NODES, play};

/// The most acts of a schedule: each is checked against the definition.
const ACTS: usize = 120;

fn act(input: &mut Input<'_>) -> Act {
    let (choice, n) = (input.byte(), input.byte() % NODES);
    match choice % 64 {
        0..4 => Act::Add(n, input.byte(), input.byte()),
        4..30 => Act::Move(n, input.byte(), input.byte()),
        30 => Act::TakeOut(n),
        31 | 32 => Act::Remove(n),
        33 => Act::RemoveWithDescendants(n),
        34 | 35 => Act::Restore(n),
        36 => Act::Fail(n, input.byte()),
        37 => Act::Revert,
        38 => Act::Keep,
        39 | 40 => Act::Undo,
        41 => Act::Redo,
        42..45 => Act::Settle(input.byte(), input.byte()),
        45 => Act::Prune,
        46 => Act::Restart,
        47 => Act::RestoreBackup,
        48 => Act::Tick(u16::from(input.byte()) * 4),
        49..53 => Act::Send(n % 3, input.flag()),
        53..55 => Act::SendAll(n % 3),
        55..61 => Act::Arrive(input.byte(), input.flag()),
        _ => Act::Forge(n, input.byte(), input.byte(), input.byte()),
    }
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut acts = Vec::new();
    while !input.is_empty() && acts.len() < ACTS {
        acts.push((input.below(3), act(&mut input)));
    }
    if let Err(why) = play(&acts) {
        panic!("{why}\n{acts:#?}");
    }
}
