//! Replays of what people typed, recorded key by key: the traces of <https://github.com/josephg/editing-traces>, which are not part of
//! this repository; that collection says under which licence each of them is.
//!
//! ```sh
//! DRIFTLESS_TRACES=path/to/traces cargo test --release --test traces -- --ignored --nocapture --test-threads=1
//! ```
//!
//! The variable names a folder. Each `.json` or `.json.gz` in it is a trace, and nothing else may end so; traces of the kind
//! `concurrent` (`friendsforever`, `clownschool`) have an agent and parents for each edit, all others are of one author.

#[path = "support/processor.rs"]
mod processor;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use driftless::testing::TestEnvironment;
use driftless::{Delta, Prune, Replica, Text};
use processor::now;
use serde::Deserialize;

/// Time that passes from one edit of one author to the next: stamps take bytes, and most traces have no times.
const EDIT_MS: u64 = 200;

// ---- files ----

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    #[serde(skip)]
    name: String,
    kind: Option<String>,
    #[serde(default)]
    start_content: String,
    end_content: String,
    #[serde(rename = "txns")]
    edits: Vec<Recorded>,
}

/// An edit.
#[derive(Deserialize)]
struct Recorded {
    /// The edits that its author had seen last, by their numbers: and all that those had seen.
    #[serde(default)]
    parents: Vec<usize>,
    #[serde(default)]
    agent: usize,
    /// Offsets in scalar values, the lengths of what is deleted there, and what is inserted; each on top of those before it.
    patches: Vec<(usize, usize, String)>,
}

/// The traces of the folder, in the order of their names.
fn traces(is_concurrent: bool) -> Vec<Trace> {
    let Some(folder) = std::env::var_os("DRIFTLESS_TRACES").map(PathBuf::from) else {
        panic!("set DRIFTLESS_TRACES to a folder of editing traces; the top of this file says which");
    };
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("DRIFTLESS_TRACES is {}, which cannot be read: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut traces = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let json = if name.ends_with(".json") {
            fs::read(&file).unwrap()
        } else if name.ends_with(".json.gz") {
            unpacked(&fs::read(&file).unwrap())
        } else {
            continue;
        };
        let read = serde_json::from_slice(&json);
        let trace: Trace = read.unwrap_or_else(|error| panic!("{name} is no editing trace: {error}"));
        if (trace.kind.as_deref() == Some("concurrent")) == is_concurrent {
            traces.push(Trace { name, ..trace });
        }
    }
    let kind = if is_concurrent { "concurrent trace" } else { "trace of one author" };
    assert!(!traces.is_empty(), "DRIFTLESS_TRACES is {}, which holds no {kind}", folder.display());
    traces
}

/// Unpacks a gzip file (RFC 1952) whose header has a name at most.
fn unpacked(file: &[u8]) -> Vec<u8> {
    const HEADER: usize = 10;
    const NAMED: u8 = 1 << 3;
    let is_gzip = file.len() > HEADER + 8 && file.starts_with(&[0x1f, 0x8b, 8]) && file[3] & !NAMED == 0;
    assert!(is_gzip, "a file that is not packed as `gzip` packs it; unpack it with `gunzip`");
    let name = match file[3] & NAMED {
        0 => 0,
        _ => file[HEADER..].iter().position(|byte| *byte == 0).unwrap() + 1,
    };
    miniz_oxide::inflate::decompress_to_vec(&file[HEADER + name..]).unwrap()
}

// ---- one author ----

#[test]
#[ignore = "needs the traces: DRIFTLESS_TRACES=…"]
fn traces_of_one_author_end_in_their_text() {
    for trace in traces(false) {
        let environment = TestEnvironment::new(1);
        let clock = environment.clock();
        let mut replica = Replica::<Text>::with_environment(environment);
        if !trace.start_content.is_empty() {
            replica.edit(|t| t.insert(0, &trace.start_content)).unwrap();
        }
        let started = now();
        for n in 0..trace.edits.len() {
            clock.fetch_add(EDIT_MS, Ordering::Relaxed);
            apply(&mut replica, &trace, n, false);
        }
        let time = now() - started;
        assert!(replica.state().to_string() == trace.end_content, "{}: another text", trace.name);
        replica.state().check_invariants().unwrap();

        let len = replica.state().read().len();
        let (saved, tombstones) = (replica.save(), replica.prune(Prune::All));
        let each = |bytes: usize| bytes as f64 / len as f64;
        println!(
            "{}: {} edits, {:.2} µs each; {len} characters, {:.2} bytes each saved, {:.2} without {tombstones} tombstones",
            trace.name,
            trace.edits.len(),
            time.as_secs_f64() * 1e6 / trace.edits.len().max(1) as f64,
            each(saved.len()),
            each(replica.save().len()),
        );
        assert!(replica.state().to_string() == trace.end_content, "{}: another text without tombstones", trace.name);
        for bytes in [saved, replica.save()] {
            let loaded = Replica::<Text>::load_with(TestEnvironment::new(2), &bytes).unwrap();
            assert!(loaded.state() == replica.state(), "{}: another state loaded", trace.name);
            loaded.state().check_invariants().unwrap();
        }
    }
}

/// Makes one edit of a trace. `may_differ` says that the text need not be the one that its author saw, so it may be too short.
fn apply(replica: &mut Replica<Text>, trace: &Trace, n: usize, may_differ: bool) -> Delta {
    let edit = replica.edit(|t| {
        trace.edits[n].patches.iter().try_for_each(|(at, deleted, inserted)| {
            let len = if may_differ { t.read().len() } else { usize::MAX };
            let (start, end) = ((*at).min(len), (*at + *deleted).min(len));
            t.replace(start..end, inserted)
        })
    });
    edit.unwrap_or_else(|error| panic!("{}, edit {n}: {error}", trace.name)).1
}

// ---- several authors ----

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tombstones {
    /// All are held. Replicas send each other each edit by its own delta.
    Held,
    /// All are pruned after each edit. Replicas take what they lack from a copy of the other one.
    Pruned,
}

/// A replica of an agent, which has seen ever more. An agent that goes on from less than its replica has seen gets another one.
struct Branch {
    agent: usize,
    replica: Replica<Text>,
    /// The edits that it has made.
    made: Vec<usize>,
    /// The number of edits of each branch that it has seen.
    seen: Vec<usize>,
}

struct Replay<'t> {
    trace: &'t Trace,
    tombstones: Tombstones,
    branches: Vec<Branch>,
    /// The number of edits of each branch that had been seen, after each edit.
    after: Vec<Vec<usize>>,
    /// The delta of each edit, if tombstones are held.
    deltas: Vec<Delta>,
    /// The number of edits that go on from each.
    children: Vec<usize>,
    /// Copies of replicas as they were after edits, and how many still go on from each; if tombstones are pruned.
    copies: BTreeMap<usize, (Replica<Text>, usize)>,
    /// The number of incremental deltas that were refused, because its sender had pruned what the receiver had not seen.
    refused: usize,
}

/// Returns whether one has seen all that another has.
fn includes(seen: &[usize], other: &[usize]) -> bool {
    other.iter().enumerate().all(|(branch, edits)| seen.get(branch).copied().unwrap_or(0) >= *edits)
}

fn join(seen: &mut Vec<usize>, other: &[usize]) {
    if seen.len() < other.len() {
        seen.resize(other.len(), 0);
    }
    seen.iter_mut().zip(other).for_each(|(ours, theirs)| *ours = (*ours).max(*theirs));
}

/// A delta that brings a replica all that another has: a reconciled one if an incremental one is refused, and a complete one at times.
fn delta(from: &Replica<Text>, to: &Replica<Text>, refused: &mut usize) -> Delta {
    from.delta_since(to.version()).unwrap_or_else(|_| {
        *refused += 1;
        match *refused % 16 {
            0 => from.complete(),
            _ => from.reconcile(to.version(), &to.live_dots()),
        }
    })
}

impl<'t> Replay<'t> {
    /// Replays a trace, and has all replicas merge all in the end.
    fn of(trace: &'t Trace, tombstones: Tombstones) -> Self {
        assert!(trace.start_content.is_empty(), "{}: several authors begin with nothing", trace.name);
        let mut children = vec![0; trace.edits.len()];
        trace.edits.iter().flat_map(|edit| &edit.parents).for_each(|parent| children[*parent] += 1);
        let mut replay = Self {
            trace,
            tombstones,
            branches: Vec::new(),
            after: Vec::new(),
            deltas: Vec::new(),
            children,
            copies: BTreeMap::new(),
            refused: 0,
        };
        (0..trace.edits.len()).for_each(|n| replay.step(n));
        replay.exchange();
        replay
    }

    /// Makes an edit, on a replica that has seen what its author had, and no more.
    fn step(&mut self, n: usize) {
        let trace = self.trace;
        let edit = &trace.edits[n];
        let mut past = Vec::new();
        edit.parents.iter().for_each(|parent| join(&mut past, &self.after[*parent]));
        let at = self.branch(edit.agent, &past);
        match self.tombstones {
            Tombstones::Held => self.merge_edits(at, &past),
            Tombstones::Pruned => self.merge_copies(at, &edit.parents),
        }
        assert!(includes(&past, &self.branches[at].seen) && includes(&self.branches[at].seen, &past));

        let Branch { replica, made, seen, .. } = &mut self.branches[at];
        let delta = apply(replica, trace, n, self.tombstones == Tombstones::Pruned);
        made.push(n);
        // An edit of its own.
        join(seen, &[vec![0; at], vec![made.len()]].concat());
        self.after.push(seen.clone());
        match self.tombstones {
            Tombstones::Held => self.deltas.push(delta),
            Tombstones::Pruned => {
                replica.prune(Prune::All);
                if self.children[n] > 0 {
                    let copy = replica.fork_with(TestEnvironment::new(0));
                    self.copies.insert(n, (copy, self.children[n]));
                }
            }
        }
    }

    /// The branch of an agent that has seen nothing beyond a past; a new one if there is none.
    fn branch(&mut self, agent: usize, past: &[usize]) -> usize {
        let fits = |branch: &Branch| branch.agent == agent && includes(past, &branch.seen);
        if let Some(at) = self.branches.iter().position(fits) {
            return at;
        }
        let mut replica = Replica::<Text>::with_environment(TestEnvironment::new(self.branches.len() as u64 + 1));
        // No tombstone goes but by the test's own doing.
        replica.set_pruning(None);
        self.branches.push(Branch { agent, replica, made: Vec::new(), seen: Vec::new() });
        self.branches.len() - 1
    }

    /// Merges the deltas of the edits of a past that a branch lacks, in their order.
    fn merge_edits(&mut self, at: usize, past: &[usize]) {
        let seen = &self.branches[at].seen;
        let mut lacking: Vec<usize> = Vec::new();
        for (i, (branch, upto)) in self.branches.iter().zip(past).enumerate() {
            let from = seen.get(i).copied().unwrap_or(0);
            lacking.extend(&branch.made[from..*upto]);
        }
        lacking.sort_unstable();
        let Branch { replica, seen, .. } = &mut self.branches[at];
        for n in lacking {
            let merged = replica.merge(&self.deltas[n]);
            drop(merged.unwrap_or_else(|error| panic!("{}, the delta of edit {n}: {error}", self.trace.name)));
        }
        join(seen, past);
    }

    /// Takes what a branch lacks from copies of replicas as they were after some edits.
    fn merge_copies(&mut self, at: usize, parents: &[usize]) {
        let Branch { replica, seen, .. } = &mut self.branches[at];
        for parent in parents {
            let (copy, children) = self.copies.remove(parent).unwrap();
            if !includes(seen, &self.after[*parent]) {
                let delta = delta(&copy, replica, &mut self.refused);
                let merged = replica.merge(&delta);
                drop(merged.unwrap_or_else(|error| panic!("{}, all up to edit {parent}: {error}", self.trace.name)));
                replica.prune(Prune::All);
                join(seen, &self.after[*parent]);
            }
            if children > 1 {
                self.copies.insert(*parent, (copy, children - 1));
            }
        }
    }

    /// All replicas merge all.
    fn exchange(&mut self) {
        let all: Vec<usize> = self.branches.iter().map(|branch| branch.made.len()).collect();
        for to in 0..self.branches.len() {
            if self.tombstones == Tombstones::Held {
                self.merge_edits(to, &all);
                continue;
            }
            for from in (0..self.branches.len()).filter(|from| *from != to) {
                let [from, onto] = [from, to].map(|at| &self.branches[at].replica);
                let delta = delta(from, onto, &mut self.refused);
                self.branches[to].replica.merge(&delta).unwrap();
                self.branches[to].replica.prune(Prune::All);
            }
        }
    }

    /// Checks that all replicas are equal, and returns their text.
    fn agreed(&self) -> String {
        let first = &self.branches[0].replica;
        let text = first.state().to_string();
        for Branch { agent, replica, .. } in &self.branches {
            replica.state().check_invariants().unwrap();
            assert!(replica.state() == first.state(), "{}: another state of agent {agent}", self.trace.name);
            assert!(replica.state().to_string() == text, "{}: another text of agent {agent}", self.trace.name);
        }
        text
    }
}

#[test]
#[ignore = "needs the traces: DRIFTLESS_TRACES=…"]
fn traces_of_several_authors_end_in_their_text_while_tombstones_are_held() {
    for trace in traces(true) {
        let started = now();
        let replay = Replay::of(&trace, Tombstones::Held);
        let time = now() - started;
        println!("{}: {} edits on {} replicas in {time:.1?}", trace.name, trace.edits.len(), replay.branches.len());
        assert!(replay.agreed() == trace.end_content, "{}: another text than its authors'", trace.name);
    }
}

#[test]
#[ignore = "needs the traces: DRIFTLESS_TRACES=…"]
fn replicas_agree_on_traces_of_several_authors_if_each_tombstone_is_pruned_at_once() {
    for trace in traces(true) {
        let started = now();
        let replay = Replay::of(&trace, Tombstones::Pruned);
        let (time, text) = (now() - started, replay.agreed());
        assert!(replay.refused > 0, "{}: no incremental delta was refused", trace.name);
        println!(
            "{}: {} edits on {} replicas in {time:.1?}, {} deltas refused; {}",
            trace.name,
            trace.edits.len(),
            replay.branches.len(),
            replay.refused,
            difference(&text, &trace.end_content)
        );
    }
}

/// Says in which part two texts differ, if they do.
fn difference(text: &str, other: &str) -> String {
    let (text, other): (Vec<char>, Vec<char>) = (text.chars().collect(), other.chars().collect());
    if text == other {
        return "the text of its authors".into();
    }
    let start = text.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let most = text.len().min(other.len()) - start;
    let end = text.iter().rev().zip(other.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let part = |of: &[char]| of[start..of.len() - end].iter().take(80).collect::<String>();
    format!("at {start} {:?} where its authors had {:?}", part(&text), part(&other))
}
