//! Costs of a text of 100,000 characters: typing it, saving and loading, reading, inserting and deleting within it, merging.
//!
//! `cargo bench --features compression --bench text` prints a table in Markdown; without the feature it leaves compressed bytes out. A
//! number is another size, a multiple of 1,000; `-- --test` runs a small one. Times are of the processor, memory is live heap, counted by
//! the allocator. Letters are random and about as frequent as in English, so real text takes fewer bytes compressed.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that fails should say where")]

#[allow(dead_code, reason = "a text needs no ids of nodes")]
#[path = "../tests/support/scattered.rs"]
mod scattered;

#[path = "../tests/support/processor.rs"]
mod processor;

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use driftless::testing::TestEnvironment;
use driftless::{Delta, Offset, Replica, Text};
use peak_alloc::PeakAlloc;
use processor::now;
use scattered::Random;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Characters that are typed in a row.
const RUN: usize = 10;

/// Time that passes from one edit to the next while a text is typed: stamps take bytes.
const EDIT_MS: u64 = 200;

/// Letters as often as they are drawn: words of five, lines of some hundred.
const LETTERS: &[u8] =
    b"eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddllllcccuuummmwwffggyyppbvk\
    \x20                 \n";

fn timed<R>(act: impl FnOnce() -> R) -> (R, Duration) {
    let started = now();
    let result = act();
    (result, now() - started)
}

fn row(what: &str, time: Duration, times: usize, more: &str) {
    println!("| {what} | {:.3} µs | {more} |", time.as_secs_f64() * 1e6 / times.max(1) as f64);
}

fn letters(random: &mut Random, len: usize) -> String {
    (0..len).map(|_| char::from(LETTERS[random.below(LETTERS.len())])).collect()
}

/// An environment whose clock is where another one is.
fn environment(seed: u64, clock: &AtomicU64) -> TestEnvironment {
    let environment = TestEnvironment::new(seed);
    environment.clock().store(clock.load(Ordering::Relaxed), Ordering::Relaxed);
    environment
}

#[cfg(feature = "compression")]
fn compressed_len(replica: &Replica<Text>) -> Option<usize> {
    Some(replica.save_compressed().len())
}

#[cfg(not(feature = "compression"))]
fn compressed_len(_: &Replica<Text>) -> Option<usize> {
    None
}

/// The bytes that a character takes in memory and saved.
fn bytes(replica: &Replica<Text>, memory: usize) -> String {
    let len = replica.state().read().len() as f64;
    let each = |bytes: usize| bytes as f64 / len;
    let compressed = compressed_len(replica).map_or_else(String::new, |len| format!(", {:.2} compressed", each(len)));
    format!("{:.0} bytes of memory, {:.2} saved{compressed}", each(memory), each(replica.save().len()))
}

/// Types runs at random places, one edit each.
fn type_runs(replica: &mut Replica<Text>, random: &mut Random, times: usize) -> Vec<Delta> {
    let run = |_| {
        let (at, run) = (random.below(replica.state().read().len() + 1), letters(random, RUN));
        replica.edit(|t| t.insert(at, &run)).unwrap().1
    };
    (0..times).map(run).collect()
}

/// Inserts characters at random places, one edit each; with a snapshot of each state before, which is dropped after the edit.
fn insert(replica: &mut Replica<Text>, random: &mut Random, times: usize, has_snapshots: bool) {
    for _ in 0..times {
        let at = random.below(replica.state().read().len() + 1);
        let before = has_snapshots.then(|| replica.snapshot());
        replica.edit(|t| t.insert(at, "x")).unwrap();
        drop(before);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_test = args.iter().any(|arg| arg == "--test");
    let size = args.iter().find_map(|arg| arg.parse().ok());
    let chars: usize = size.unwrap_or(if is_test { 1_000 } else { 100_000 });
    let (times, runs) = (chars / 10, chars / 100);
    println!("| {chars} characters | for each | |\n|---|---|---|");

    let mut random = Random(1);
    let typed = letters(&mut random, chars);
    let first = TestEnvironment::new(1);
    let clock = first.clock();
    let before = ALLOCATOR.current_usage();
    let mut a = Replica::<Text>::with_environment(first);
    let (_, time) = timed(|| {
        for at in (0..chars).step_by(RUN) {
            clock.fetch_add(EDIT_MS, Ordering::Relaxed);
            a.edit(|t| t.insert(at, &typed[at..at + RUN])).unwrap();
        }
    });
    let memory = ALLOCATOR.current_usage() - before;
    row("character typed in a row", time, chars, &format!("in edits of {RUN}; {}", bytes(&a, memory)));
    type_at_random_places(&mut random, times);

    let saved = a.save();
    let (loaded, time) = timed(|| Replica::<Text>::load_with(environment(9, &clock), &saved).unwrap());
    row("character loaded", time, chars, "");
    assert_eq!(loaded.state(), a.state());
    drop(loaded);

    read(&a, &mut random, times);
    let older = a.snapshot();
    a.edit(|t| t.insert(chars / 2, "x")).unwrap();
    let (text, older_text) = (a.state().read(), older.read());
    let (changes, time) = timed(|| (0..100).map(|_| black_box(text.changes_since(&older_text)).len()).sum::<usize>());
    assert_eq!(changes, 100);
    row("`changes_since` after one character", time, 100, "");
    drop(older);

    update_words(&mut a, &mut random, 10);
    merge_runs(&mut a, &mut random, runs, &clock);

    let (_, time) = timed(|| insert(&mut a, &mut random, times, false));
    row("insertion at a random place", time, times, "a character, an edit each");
    let (_, time) = timed(|| insert(&mut a, &mut random, times, true));
    row("the same with a snapshot before each", time, times, "");
    let (_, time) = timed(|| {
        for _ in 0..times {
            let at = random.below(a.state().read().len());
            a.edit(|t| t.delete_range(at..at + 1)).unwrap();
        }
    });
    row("deletion at a random place", time, times, "a character, an edit each");
    a.state().check_invariants().unwrap();
}

fn type_at_random_places(random: &mut Random, times: usize) {
    let typed = letters(random, times);
    let first = TestEnvironment::new(2);
    let clock = first.clock();
    let before = ALLOCATOR.current_usage();
    let mut replica = Replica::<Text>::with_environment(first);
    let (_, time) = timed(|| {
        for n in 0..times {
            clock.fetch_add(EDIT_MS, Ordering::Relaxed);
            let at = random.below(n + 1);
            replica.edit(|t| t.insert(at, &typed[n..n + 1])).unwrap();
        }
    });
    let memory = ALLOCATOR.current_usage() - before;
    let more = format!("{times} of them, an edit each; {}", bytes(&replica, memory));
    row("character of a text typed at random places", time, times, &more);
}

fn read(replica: &Replica<Text>, random: &mut Random, times: usize) {
    let text = replica.state().read();
    let (len, lines) = (text.len(), text.extent().newlines + 1);
    let mut locate = |offset: fn(usize) -> Offset, bound: usize| {
        timed(|| {
            let mut found = 0;
            for _ in 0..times {
                found += black_box(text.locate(offset(random.below(bound))).unwrap()).scalars;
            }
            found
        })
    };
    let (_, time) = locate(Offset::Utf16, len);
    row("offset in UTF-16 located", time, times, "");
    let (_, time) = locate(Offset::Line, lines);
    row("line located", time, times, &format!("{lines} lines"));
    let (_, time) = timed(|| black_box(text.chars().filter(|letter| *letter == ' ').count()));
    row("character met by iteration", time, len, "all of them");
    let (_, time) = timed(|| black_box(text.to_string()));
    row("character put into a string", time, len, "all of them");
}

/// Replaces words one by one, by the whole text as it shall be.
fn update_words(replica: &mut Replica<Text>, random: &mut Random, times: usize) {
    let mut time = Duration::ZERO;
    for _ in 0..times {
        let mut wanted = replica.state().to_string();
        let start = random.below(wanted.len() / 2);
        let start = start + wanted[start..].find(' ').unwrap() + 1;
        let end = start + wanted[start..].find([' ', '\n']).unwrap();
        wanted.replace_range(start..end, "another");
        let (has_changed, update) = timed(|| replica.edit(|t| t.update(&wanted)).unwrap().0);
        assert!(has_changed);
        time += update;
    }
    row("word replaced by `update`", time, times, "with the whole text given");
}

/// Two that have typed apart: one merges what the other has typed, in one delta, and run by run.
fn merge_runs(replica: &mut Replica<Text>, random: &mut Random, runs: usize, clock: &AtomicU64) {
    let mut other = replica.fork_with(environment(3, clock));
    let deltas = type_runs(&mut other, random, runs);
    type_runs(replica, random, runs);
    let mut twin = replica.fork_with(environment(4, clock));
    let (_, time) = timed(|| deltas.iter().for_each(|delta| drop(twin.merge(delta).unwrap())));
    let len: usize = deltas.iter().map(|delta| delta.to_bytes().len()).sum();
    let more = format!("{} bytes a run", len / runs);
    row(&format!("concurrent run of {RUN} merged, a delta each"), time, runs, &more);
    let delta = other.delta_since(replica.version()).unwrap();
    let (_, time) = timed(|| replica.merge(&delta).unwrap());
    let more = format!("{} bytes a run", delta.to_bytes().len() / runs);
    row("the same, all in one delta", time, runs, &more);
    assert_eq!(replica.state(), twin.state());
}
