//! Costs of a list of 100,000 short strings: inserting, saving and loading, reading, moving, updating by an array, merging.
//!
//! `cargo bench --bench list` prints a table in Markdown. A number is another size, a multiple of 1,000; `-- --test` runs a small one.
//! Times are of the processor, memory is live heap, counted by the allocator.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that fails should say where")]

#[allow(dead_code, reason = "a list needs no ids of nodes")]
#[path = "../tests/support/scattered.rs"]
mod scattered;

#[path = "../tests/support/processor.rs"]
mod processor;

use std::hint::black_box;
use std::time::Duration;

use driftless::testing::TestEnvironment;
use driftless::{Document, Replica};
use peak_alloc::PeakAlloc;
use processor::now;
use scattered::Random;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn timed<R>(act: impl FnOnce() -> R) -> (R, Duration) {
    let started = now();
    let result = act();
    (result, now() - started)
}

fn row(what: &str, time: Duration, times: usize, more: &str) {
    println!("| {what} | {:.2} µs | {more} |", time.as_secs_f64() * 1e6 / times.max(1) as f64);
}

fn len(replica: &Replica<Document>) -> usize {
    replica.state().list("/list").unwrap().len()
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_test = args.iter().any(|arg| arg == "--test");
    let size = args.iter().find_map(|arg| arg.parse().ok());
    let elements: usize = size.unwrap_or(if is_test { 1_000 } else { 100_000 });
    let times = elements / 10;
    println!("| {elements} elements | for each | |\n|---|---|---|");

    let mut random = Random(1);
    let before = ALLOCATOR.current_usage();
    let mut a = Replica::<Document>::with_environment(TestEnvironment::new(1));
    let (_, time) = timed(|| {
        for n in 0..elements {
            a.edit(|d| d.list_mut("/list").push(&format!("item {n}"))).unwrap();
        }
    });
    let memory = (ALLOCATOR.current_usage() - before) as f64 / elements as f64;
    let saved = a.save();
    let more = format!("an edit each; {memory:.0} bytes of memory, {:.1} saved", saved.len() as f64 / elements as f64);
    row("element put at the end", time, elements, &more);

    let (loaded, time) = timed(|| Replica::<Document>::load_with(TestEnvironment::new(2), &saved).unwrap());
    row("element loaded", time, elements, "");
    assert_eq!(loaded.state(), a.state());
    drop(loaded);

    let paths: Vec<String> = (0..times).map(|_| format!("/list/{}", random.below(elements))).collect();
    let (_, time) = timed(|| paths.iter().filter(|path| black_box(a.state().get(path)).is_some()).count());
    row("element read by index", time, times, "by a path");
    let (_, time) = timed(|| black_box(a.state().json("/list")));
    row("element read as JSON", time, elements, "all of them");

    let mut other = a.fork_with(TestEnvironment::new(3));
    let (_, time) = timed(|| {
        for n in 0..times {
            let at = random.below(len(&a) + 1);
            a.edit(|d| d.list_mut("/list").insert(at, &format!("new {n}"))).unwrap();
        }
    });
    row("insertion at a random place", time, times, "an edit each");
    let (_, time) = timed(|| {
        for _ in 0..times {
            let (from, to) = (random.below(len(&a)), random.below(len(&a)));
            a.edit(|d| d.list_mut("/list").move_to(from, to)).unwrap();
        }
    });
    row("move from a random place to another", time, times, "an edit each");
    let (_, time) = timed(|| {
        for _ in 0..times {
            let at = random.below(len(&a));
            a.edit(|d| d.list_mut("/list").remove(at)).unwrap();
        }
    });
    row("removal at a random place", time, times, "an edit each");

    let delta = a.delta_since(other.version()).unwrap();
    let bytes = delta.to_bytes().len() as f64 / (3 * times) as f64;
    let (_, time) = timed(|| other.merge(&delta).unwrap());
    assert_eq!(other.state(), a.state());
    row("change merged", time, 3 * times, &format!("all in one delta, of {bytes:.0} bytes a change"));

    let mut array = a.state().json("/list").unwrap().as_array().unwrap().clone();
    for _ in 0..10 {
        let at = random.below(array.len());
        array[at] = "another".into();
        let (from, to) = (random.below(array.len()), random.below(array.len()));
        let moved = array.remove(from);
        array.insert(to, moved);
    }
    let (((), delta), time) = timed(|| a.edit(|d| d.list_mut("/list").update(&array).map(drop)).unwrap());
    assert_eq!(a.state().json("/list"), Some(array.into()));
    let more = format!("ten elements differ and ten stand elsewhere: {} writes", delta.len());
    row("element of an array that the list is made", time, elements, &more);
    a.state().check_invariants().unwrap();
}
