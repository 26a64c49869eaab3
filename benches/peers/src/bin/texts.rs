//! Texts of driftless beside diamond-types, cola, loro, yrs and automerge, in one run.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml --bin texts -- --traces DIR`
//!
//! The directory holds `automerge-paper.json.gz` of <https://github.com/josephg/editing-traces>.
//! All libraries must end in the same text after each step. Times are the processor's, medians of several repetitions;
//! heap is live bytes, counted by the allocator, without the input.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use automerge::ReadDoc as _;
use automerge::transaction::Transactable as _;
use diamond_types::list::ListCRDT;
use diamond_types::list::encoding::{ENCODE_FULL, ENCODE_PATCH};
use driftless::{Delta, Environment, Replica, SystemEnvironment};
use loro::ExportMode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use yrs::updates::decoder::Decode as _;
use yrs::{GetString as _, ReadTxn as _, Text as _, Transact as _};

#[path = "../measure.rs"]
mod measure;

use measure::{live, now};

type Failure = Box<dyn Error + Send + Sync>;
type Result<T, E = Failure> = std::result::Result<T, E>;

/// The lock file of this package, which says the releases.
const LOCK: &str = include_str!("../../Cargo.lock");

const USAGE: &str = "options: --traces DIR (else the variable DRIFTLESS_TRACES), --repeat N, --full (a text of a million \
                     characters, too), --only LIBRARY,LIBRARY (driftless always), --json FILE";

/// Edits of a delta.
const BATCH: usize = 100;

/// Insertions at random places.
const INSERTIONS: usize = 10_000;

/// Replicas that insert concurrently, and characters of the text that they insert into.
const REPLICAS: usize = 1_000;
const SHARED_LEN: usize = 10_000;

/// Time in milliseconds from one edit to the next, as the clock of driftless tells: stamps take bytes.
const EDIT_MS: u64 = 200;

/// A run that takes longer is not repeated.
const SHORT: Duration = Duration::from_secs(10);

// ---- input ----

/// An edit, one transaction: a place, the number of characters deleted there, and the characters that take their place.
#[derive(Clone, Copy)]
struct Edit {
    at: usize,
    deleted: usize,
    /// Leaked: it stays until the process ends.
    inserted: &'static str,
}

/// A text, insertions into it, and the text after them.
struct Scattered {
    text: Edit,
    insertions: Vec<Edit>,
    expected: String,
}

struct Input {
    /// The edits of the trace, and the text after them.
    edits: Vec<Edit>,
    end: String,
    /// Insertions one after the other, for each length of a text.
    random: Vec<Scattered>,
    concurrent: Scattered,
    repeats: usize,
}

/// The file of a trace: it begins with an empty text, and each of its transactions has one patch.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    end_content: String,
    txns: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    patches: Vec<(usize, usize, String)>,
}

/// Numbers below a bound in an order without a pattern, the same in each run (a linear congruential generator).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

fn insertion(at: usize, inserted: String) -> Edit {
    Edit { at, deleted: 0, inserted: inserted.leak() }
}

/// The text after some edits, one after the other.
fn edited(text: &str, edits: &[Edit]) -> String {
    let mut text = text.to_owned();
    edits.iter().for_each(|edit| text.replace_range(edit.at..edit.at + edit.deleted, edit.inserted));
    text
}

fn letters(random: &mut Random, len: usize) -> Edit {
    let letters = b"etaoin shrdlu";
    insertion(0, (0..len).map(|_| char::from(letters[random.below(letters.len())])).collect())
}

impl Scattered {
    fn in_turn(len: usize) -> Self {
        let mut random = Random(5);
        let text = letters(&mut random, len);
        let insert = |n| Edit { at: random.below(len + n + 1), deleted: 0, inserted: "x" };
        let insertions: Vec<Edit> = (0..INSERTIONS).map(insert).collect();
        Self { text, expected: edited(text.inserted, &insertions), insertions }
    }

    /// Insertions that do not know of each other. Each has a place of its own, because the libraries order those at one place
    /// differently.
    fn concurrent() -> Self {
        let mut random = Random(7);
        let text = letters(&mut random, SHARED_LEN);
        let (mut places, mut insertions) = (BTreeSet::new(), Vec::new());
        while insertions.len() < REPLICAS {
            let at = random.below(SHARED_LEN + 1);
            if places.insert(at) {
                insertions.push(insertion(at, format!("{:>10}", insertions.len())));
            }
        }
        // Sorted from the right, so that the places to the left stay as they are.
        let mut sorted = insertions.clone();
        sorted.sort_by_key(|edit| std::cmp::Reverse(edit.at));
        Self { text, expected: edited(text.inserted, &sorted), insertions }
    }
}

impl Input {
    fn new(folder: &Path, repeats: usize, is_full: bool) -> Result<Self> {
        let path = folder.join("automerge-paper.json.gz");
        let file = fs::File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut json = Vec::new();
        flate2::read::GzDecoder::new(file).read_to_end(&mut json)?;
        let trace: Trace = serde_json::from_slice(&json)?;
        if !trace.end_content.is_ascii() {
            return Err("the text must be ASCII, because the libraries count in different units".into());
        }
        let patches = trace.txns.into_iter().flat_map(|edit| edit.patches);
        let edits = patches.map(|(at, deleted, text)| Edit { deleted, ..insertion(at, text) }).collect();
        let lens: &[usize] = if is_full { &[100_000, 1_000_000] } else { &[100_000] };
        let random = lens.iter().map(|len| Scattered::in_turn(*len)).collect();
        Ok(Self { edits, end: trace.end_content, random, concurrent: Scattered::concurrent(), repeats })
    }
}

// ---- libraries ----

/// A replica of a text by one library.
trait Peer: Sized {
    /// A delta as another replica receives it: bytes, if the library writes any.
    type Delta;

    /// An empty text. Numbers of replicas begin with 1.
    fn new(id: u64) -> Result<Self>;

    /// Makes one transaction.
    fn edit(&mut self, edit: &Edit) -> Result<()>;

    /// Makes one transaction for each edit, and returns the delta of them all.
    fn delta(&mut self, edits: &[Edit]) -> Result<Self::Delta>;

    fn merge(&mut self, delta: &Self::Delta) -> Result<()>;

    fn text(&mut self) -> Result<String>;

    /// The state as bytes, with all history or without. None if the library does not write it so.
    fn save(&self, has_history: bool) -> Result<Option<Vec<u8>>>;

    fn load(bytes: &[u8], id: u64) -> Result<Self>;

    /// Another replica with the same text. The text is read, because a library may decode as late as that.
    fn fork(&self, id: u64) -> Result<Self> {
        let saved = self.save(true)?.map_or_else(|| self.save(false), |saved| Ok(Some(saved)))?;
        let mut fork = Self::load(&saved.ok_or("nothing is saved")?, id)?;
        black_box(fork.text()?);
        Ok(fork)
    }
}

/// driftless: a `Text` by itself. A saved state has the tombstones of deleted characters, and no history.
struct Driftless(Replica<driftless::Text>);

/// The clock of all replicas of driftless: it goes on with each edit.
static CLOCK: AtomicU64 = AtomicU64::new(1_700_000_000_000);

struct Clock;

impl Environment for Clock {
    fn now_ms(&mut self) -> u64 {
        CLOCK.load(Ordering::Relaxed)
    }

    fn random(&mut self) -> [u8; 16] {
        SystemEnvironment.random()
    }
}

impl Peer for Driftless {
    type Delta = Vec<u8>;

    fn new(_id: u64) -> Result<Self> {
        Ok(Self(Replica::with_environment(Clock)))
    }

    fn edit(&mut self, edit: &Edit) -> Result<()> {
        CLOCK.fetch_add(EDIT_MS, Ordering::Relaxed);
        self.0.edit(|t| t.replace(edit.at..edit.at + edit.deleted, edit.inserted))?;
        Ok(())
    }

    fn delta(&mut self, edits: &[Edit]) -> Result<Vec<u8>> {
        let since = self.0.version().clone();
        edits.iter().try_for_each(|edit| self.edit(edit))?;
        Ok(self.0.delta_since(&since)?.to_bytes())
    }

    fn merge(&mut self, delta: &Vec<u8>) -> Result<()> {
        self.0.merge(&Delta::from_bytes(delta)?)?;
        Ok(())
    }

    fn text(&mut self) -> Result<String> {
        Ok(self.0.state().to_string())
    }

    fn save(&self, has_history: bool) -> Result<Option<Vec<u8>>> {
        Ok((!has_history).then(|| self.0.save()))
    }

    fn load(bytes: &[u8], _id: u64) -> Result<Self> {
        Ok(Self(Replica::load_with(Clock, bytes)?))
    }
}

/// diamond-types: a `ListCRDT`, which is a log of operations and a rope. Content is compressed by LZ4, as by default.
struct Diamond {
    crdt: ListCRDT,
    agent: diamond_types::AgentId,
}

impl Diamond {
    fn of(mut crdt: ListCRDT, id: u64) -> Self {
        Self { agent: crdt.get_or_create_agent_id(&id.to_string()), crdt }
    }
}

impl Peer for Diamond {
    type Delta = Vec<u8>;

    fn new(id: u64) -> Result<Self> {
        Ok(Self::of(ListCRDT::new(), id))
    }

    fn edit(&mut self, edit: &Edit) -> Result<()> {
        if edit.deleted > 0 {
            self.crdt.delete_without_content(self.agent, edit.at..edit.at + edit.deleted);
        }
        if !edit.inserted.is_empty() {
            self.crdt.insert(self.agent, edit.at, edit.inserted);
        }
        Ok(())
    }

    fn delta(&mut self, edits: &[Edit]) -> Result<Vec<u8>> {
        let since = self.crdt.oplog.local_version();
        edits.iter().try_for_each(|edit| self.edit(edit))?;
        Ok(self.crdt.oplog.encode_from(ENCODE_PATCH, &since))
    }

    fn merge(&mut self, delta: &Vec<u8>) -> Result<()> {
        self.crdt.merge_data_and_ff(delta)?;
        Ok(())
    }

    fn text(&mut self) -> Result<String> {
        Ok(self.crdt.branch.content().to_string())
    }

    fn save(&self, has_history: bool) -> Result<Option<Vec<u8>>> {
        Ok(has_history.then(|| self.crdt.oplog.encode(ENCODE_FULL)))
    }

    fn load(bytes: &[u8], id: u64) -> Result<Self> {
        Ok(Self::of(ListCRDT::load_from(bytes)?, id))
    }
}

/// cola: positions alone. The text is put together from its changes when it is asked for, so no time counts it.
struct Cola {
    crdt: cola::Replica,
    /// The text without the latest changes.
    text: String,
    changes: Vec<Edit>,
}

enum Change {
    Insertion(cola::Insertion, &'static str),
    Deletion(cola::Deletion),
}

impl Cola {
    fn write(&mut self, edit: &Edit) -> [Option<Change>; 2] {
        let Edit { at, deleted, inserted } = *edit;
        self.changes.push(*edit);
        let deletion = (deleted > 0).then(|| Change::Deletion(self.crdt.deleted(at..at + deleted)));
        let insert = || Change::Insertion(self.crdt.inserted(at, inserted.len()), inserted);
        [deletion, (!inserted.is_empty()).then(insert)]
    }
}

impl Peer for Cola {
    type Delta = Vec<Change>;

    fn new(id: u64) -> Result<Self> {
        Ok(Self { crdt: cola::Replica::new(id, 0), text: String::new(), changes: Vec::new() })
    }

    fn edit(&mut self, edit: &Edit) -> Result<()> {
        self.write(edit);
        Ok(())
    }

    fn delta(&mut self, edits: &[Edit]) -> Result<Vec<Change>> {
        Ok(edits.iter().flat_map(|edit| self.write(edit)).flatten().collect())
    }

    fn merge(&mut self, delta: &Vec<Change>) -> Result<()> {
        for change in delta {
            match change {
                Change::Insertion(insertion, inserted) => {
                    let at = self.crdt.integrate_insertion(insertion).ok_or("an insertion waits for another")?;
                    self.changes.push(Edit { at, deleted: 0, inserted });
                }
                Change::Deletion(deletion) => {
                    let ranges = self.crdt.integrate_deletion(deletion).into_iter().rev();
                    self.changes.extend(ranges.map(|range| Edit {
                        at: range.start,
                        deleted: range.len(),
                        inserted: "",
                    }));
                }
            }
        }
        Ok(())
    }

    fn text(&mut self) -> Result<String> {
        self.text = edited(&self.text, &std::mem::take(&mut self.changes));
        Ok(self.text.clone())
    }

    fn save(&self, _has_history: bool) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn load(_bytes: &[u8], _id: u64) -> Result<Self> {
        Err("cola reads no bytes without its feature `encode`".into())
    }

    fn fork(&self, id: u64) -> Result<Self> {
        Ok(Self { crdt: self.crdt.fork(id), text: self.text.clone(), changes: self.changes.clone() })
    }
}

/// loro: a `LoroText`. States are snapshots, or shallow snapshots without history; both are compressed by LZ4.
struct Loro {
    document: loro::LoroDoc,
    text: loro::LoroText,
}

impl Loro {
    fn of(document: loro::LoroDoc, id: u64) -> Result<Self> {
        document.set_peer_id(id)?;
        Ok(Self { text: document.get_text("text"), document })
    }
}

impl Peer for Loro {
    type Delta = Vec<u8>;

    fn new(id: u64) -> Result<Self> {
        Self::of(loro::LoroDoc::new(), id)
    }

    fn edit(&mut self, edit: &Edit) -> Result<()> {
        if edit.deleted > 0 {
            self.text.delete(edit.at, edit.deleted)?;
        }
        if !edit.inserted.is_empty() {
            self.text.insert(edit.at, edit.inserted)?;
        }
        self.document.commit();
        Ok(())
    }

    fn delta(&mut self, edits: &[Edit]) -> Result<Vec<u8>> {
        let since = self.document.oplog_vv();
        edits.iter().try_for_each(|edit| self.edit(edit))?;
        Ok(self.document.export(ExportMode::updates(&since))?)
    }

    fn merge(&mut self, delta: &Vec<u8>) -> Result<()> {
        self.document.import(delta)?;
        Ok(())
    }

    fn text(&mut self) -> Result<String> {
        Ok(self.text.to_string())
    }

    fn save(&self, has_history: bool) -> Result<Option<Vec<u8>>> {
        let frontiers = self.document.oplog_frontiers();
        let mode = if has_history { ExportMode::Snapshot } else { ExportMode::shallow_snapshot(&frontiers) };
        Ok(Some(self.document.export(mode)?))
    }

    fn load(bytes: &[u8], id: u64) -> Result<Self> {
        Self::of(loro::LoroDoc::from_snapshot(bytes)?, id)
    }
}

/// yrs: a `TextRef`, by the second encoding. Deleted content is collected, as by default. A delta is the updates of all its
/// transactions, merged into one.
struct Yrs {
    document: yrs::Doc,
    text: yrs::TextRef,
}

impl Yrs {
    /// Makes a transaction and returns its update, if it is asked for.
    fn write(&self, edit: &Edit, is_asked: bool) -> Option<Vec<u8>> {
        let mut transaction = self.document.transact_mut();
        if edit.deleted > 0 {
            self.text.remove_range(&mut transaction, edit.at as u32, edit.deleted as u32);
        }
        self.text.insert(&mut transaction, edit.at as u32, edit.inserted);
        is_asked.then(|| transaction.encode_update_v2())
    }
}

impl Peer for Yrs {
    type Delta = Vec<u8>;

    fn new(id: u64) -> Result<Self> {
        let document = yrs::Doc::with_client_id(id);
        Ok(Self { text: document.get_or_insert_text("text"), document })
    }

    fn edit(&mut self, edit: &Edit) -> Result<()> {
        self.write(edit, false);
        Ok(())
    }

    fn delta(&mut self, edits: &[Edit]) -> Result<Vec<u8>> {
        let updates: Vec<Vec<u8>> = edits.iter().filter_map(|edit| self.write(edit, true)).collect();
        Ok(yrs::merge_updates_v2(updates)?)
    }

    fn merge(&mut self, delta: &Vec<u8>) -> Result<()> {
        Ok(self.document.transact_mut().apply_update(yrs::Update::decode_v2(delta)?)?)
    }

    fn text(&mut self) -> Result<String> {
        Ok(self.text.get_string(&self.document.transact()))
    }

    fn save(&self, has_history: bool) -> Result<Option<Vec<u8>>> {
        let save = || self.document.transact().encode_state_as_update_v2(&yrs::StateVector::default());
        Ok((!has_history).then(save))
    }

    fn load(bytes: &[u8], id: u64) -> Result<Self> {
        let mut loaded = Self::new(id)?;
        loaded.merge(&bytes.to_vec())?;
        Ok(loaded)
    }
}

/// automerge: a text in the root. Deltas are `save_after`; `save` compresses by DEFLATE.
struct Automerge {
    document: automerge::Automerge,
    text: automerge::ObjId,
}

fn actor(id: u64) -> automerge::ActorId {
    automerge::ActorId::from(id.to_be_bytes().to_vec())
}

impl Peer for Automerge {
    type Delta = Vec<u8>;

    fn new(id: u64) -> Result<Self> {
        let mut document = automerge::Automerge::new().with_actor(actor(id));
        let mut transaction = document.transaction();
        let text = transaction.put_object(automerge::ROOT, "text", automerge::ObjType::Text)?;
        transaction.commit();
        Ok(Self { document, text })
    }

    fn edit(&mut self, edit: &Edit) -> Result<()> {
        let mut transaction = self.document.transaction();
        transaction.splice_text(&self.text, edit.at, edit.deleted as isize, edit.inserted)?;
        transaction.commit();
        Ok(())
    }

    fn delta(&mut self, edits: &[Edit]) -> Result<Vec<u8>> {
        let since = self.document.get_heads();
        edits.iter().try_for_each(|edit| self.edit(edit))?;
        Ok(self.document.save_after(&since))
    }

    fn merge(&mut self, delta: &Vec<u8>) -> Result<()> {
        self.document.load_incremental(delta)?;
        Ok(())
    }

    fn text(&mut self) -> Result<String> {
        Ok(self.document.text(&self.text)?)
    }

    fn save(&self, has_history: bool) -> Result<Option<Vec<u8>>> {
        Ok(has_history.then(|| self.document.save()))
    }

    fn load(bytes: &[u8], id: u64) -> Result<Self> {
        let document = automerge::Automerge::load(bytes)?.with_actor(actor(id));
        let text = document.get(automerge::ROOT, "text")?.ok_or("the document has no text")?.1;
        Ok(Self { document, text })
    }
}

// ---- steps ----

/// The figures of one library, one for each row.
type Figures = Vec<Option<f64>>;

/// Runs something several times, unless it takes long, and returns the median of each figure.
fn repeat<const N: usize>(repeats: usize, mut run: impl FnMut() -> Result<[f64; N]>) -> Result<[f64; N]> {
    let mut all = Vec::new();
    for _ in 0..repeats {
        let begin = now();
        all.push(run()?);
        if now() - begin > SHORT {
            break;
        }
    }
    Ok(std::array::from_fn(|n| {
        let mut figures: Vec<f64> = all.iter().map(|run| run[n]).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    }))
}

fn seconds<R>(run: impl FnOnce() -> Result<R>) -> Result<(f64, R)> {
    let begin = now();
    let result = run()?;
    Ok(((now() - begin).as_secs_f64(), result))
}

fn check<P: Peer>(peer: &mut P, expected: &str) -> Result<()> {
    let found = peer.text()?;
    if found == expected {
        return Ok(());
    }
    Err(format!("another text, of {} bytes where {} are expected", found.len(), expected.len()).into())
}

/// Measures all rows, in the order of [`rows`].
fn measure<P: Peer>(name: &str, input: &Input) -> Result<Figures> {
    let tell = |step: &str| eprintln!("{name}: {step}");
    tell("typed");
    let (typed, peer) = typed::<P>(input)?;
    let mut figures: Figures = typed.map(Some).to_vec();
    tell("load");
    for has_history in [true, false] {
        figures.extend(loaded::<P>(peer.save(has_history)?, input)?);
    }
    drop(peer);
    tell("deltas");
    figures.extend(deltas::<P>(input)?.map(Some));
    tell("random");
    for scattered in &input.random {
        figures.push(Some(random::<P>(scattered, input.repeats)?));
    }
    tell("concurrent");
    figures.push(Some(concurrent::<P>(&input.concurrent, input.repeats)?));
    Ok(figures)
}

/// The label and unit of each row.
fn rows(input: &Input) -> Vec<(String, &'static str)> {
    let mut rows = vec![("typed, per edit".to_owned(), "ns"), ("heap after that, per character".to_owned(), "B")];
    for history in ["with history", "without history"] {
        rows.push((format!("saved {history}"), "KB"));
        rows.push((format!("— loaded {history}, and read"), "ms"));
        rows.push((format!("— heap after that {history}, per character"), "B"));
    }
    rows.push((format!("delta of {BATCH} edits merged"), "µs"));
    rows.push(("— per character that comes or goes".to_owned(), "µs"));
    for scattered in &input.random {
        rows.push((format!("character inserted at a random place of {}", scattered.text.inserted.len()), "ns"));
    }
    rows.push((format!("run of 10 characters merged, of {REPLICAS} concurrent ones"), "µs"));
    rows
}

fn typed<P: Peer>(input: &Input) -> Result<([f64; 2], P)> {
    let mut last: Option<P> = None;
    let figures = repeat(input.repeats, || {
        drop(last.take());
        let before = live();
        let (time, mut peer) = seconds(|| {
            let mut peer = P::new(1)?;
            input.edits.iter().try_for_each(|edit| peer.edit(edit))?;
            Ok(peer)
        })?;
        check(&mut peer, &input.end)?;
        let heap = (live() - before) as f64 / input.end.len() as f64;
        last = Some(peer);
        Ok([time * 1e9 / input.edits.len() as f64, heap])
    })?;
    Ok((figures, last.ok_or("nothing was typed")?))
}

/// Loads a state and reads its text, because a library may decode as late as that.
fn loaded<P: Peer>(saved: Option<Vec<u8>>, input: &Input) -> Result<[Option<f64>; 3]> {
    let Some(saved) = saved else { return Ok([None; 3]) };
    let [time, heap] = repeat(input.repeats, || {
        let before = live();
        let (time, mut peer) = seconds(|| {
            let mut peer = P::load(&saved, 2)?;
            black_box(peer.text()?);
            Ok(peer)
        })?;
        check(&mut peer, &input.end)?;
        Ok([time * 1e3, (live() - before) as f64 / input.end.len() as f64])
    })?;
    Ok([Some(saved.len() as f64 / 1e3), Some(time), Some(heap)])
}

/// Merges the second half of the trace into replicas that have the first.
fn deltas<P: Peer>(input: &Input) -> Result<[f64; 2]> {
    let (first, second) = input.edits.split_at(input.edits.len() / 2);
    let mut sender = P::new(1)?;
    first.iter().try_for_each(|edit| sender.edit(edit))?;
    let half = sender.fork(2)?;
    let deltas = second.chunks(BATCH).map(|edits| sender.delta(edits)).collect::<Result<Vec<_>>>()?;
    let chars: usize = second.iter().map(|edit| edit.deleted + edit.inserted.len()).sum();
    let mut id = 2;
    repeat(input.repeats, || {
        id += 1;
        let mut receiver = half.fork(id)?;
        let (time, ()) = seconds(|| deltas.iter().try_for_each(|delta| receiver.merge(delta)))?;
        check(&mut receiver, &input.end)?;
        Ok([time * 1e6 / deltas.len() as f64, time * 1e6 / chars as f64])
    })
}

/// Inserts characters at random places, a transaction each.
fn random<P: Peer>(scattered: &Scattered, repeats: usize) -> Result<f64> {
    let insertions = &scattered.insertions;
    let [figure] = repeat(repeats, || {
        let mut peer = P::new(1)?;
        peer.edit(&scattered.text)?;
        let (time, ()) = seconds(|| insertions.iter().try_for_each(|edit| peer.edit(edit)))?;
        check(&mut peer, &scattered.expected)?;
        Ok([time * 1e9 / insertions.len() as f64])
    })?;
    Ok(figure)
}

/// Merges what many replicas insert concurrently, a run and a delta each.
fn concurrent<P: Peer>(scattered: &Scattered, repeats: usize) -> Result<f64> {
    let mut base = P::new(1)?;
    base.edit(&scattered.text)?;
    let mut id = 1;
    let mut deltas = Vec::with_capacity(REPLICAS);
    for edit in &scattered.insertions {
        id += 1;
        deltas.push(base.fork(id)?.delta(&[*edit])?);
    }
    let [figure] = repeat(repeats, || {
        id += 1;
        let mut receiver = base.fork(id)?;
        let (time, ()) = seconds(|| deltas.iter().try_for_each(|delta| receiver.merge(delta)))?;
        check(&mut receiver, &scattered.expected)?;
        Ok([time * 1e6 / deltas.len() as f64])
    })?;
    Ok(figure)
}

// ---- output ----

type Measure = fn(&str, &Input) -> Result<Figures>;

/// The columns by the names of packages, ours first.
const LIBRARIES: [(&str, Measure); 6] = [
    ("driftless", measure::<Driftless>),
    ("diamond-types", measure::<Diamond>),
    ("cola-crdt", measure::<Cola>),
    ("loro", measure::<Loro>),
    ("yrs", measure::<Yrs>),
    ("automerge", measure::<Automerge>),
];

const NOTES: &str = "\
- History: driftless has none but tombstones, and yrs collects deleted content; diamond-types and automerge always save it. A state of loro
  without history is a shallow snapshot.
- cola has positions and no text: its times leave the text out, its heap has it as a string, and its deltas are not bytes. Bytes would need
  its feature `encode`.
- driftless alone stamps its edits; its clock goes on by 200 ms with each.";

struct Options {
    traces: Option<PathBuf>,
    repeats: usize,
    is_full: bool,
    only: Option<Vec<String>>,
    json: Option<PathBuf>,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let traces = std::env::var_os("DRIFTLESS_TRACES").map(PathBuf::from);
    let mut options = Options { traces, repeats: 3, is_full: false, only: None, json: None };
    while let Some(argument) = arguments.next() {
        let mut next = || arguments.next().ok_or_else(|| format!("`{argument}` wants a value; {USAGE}"));
        match argument.as_str() {
            "--traces" => options.traces = Some(next()?.into()),
            "--repeat" => options.repeats = next()?.parse()?,
            "--full" => options.is_full = true,
            "--only" => options.only = Some(next()?.split(',').map(str::to_owned).collect()),
            "--json" => options.json = Some(next()?.into()),
            other => return Err(format!("`{other}` is unknown; {USAGE}").into()),
        }
    }
    if options.repeats == 0 {
        return Err("at least one repetition is needed".into());
    }
    Ok(options)
}

/// The release of a package by the lock file.
fn release(package: &str) -> &'static str {
    let after = LOCK.split_once(&format!("name = \"{package}\"\nversion = \"")).map(|(_, after)| after);
    after.and_then(|after| after.split('"').next()).unwrap_or("?")
}

/// A number with three digits that count.
fn shown(number: f64) -> String {
    let digits = match number.abs() {
        ..0.0995 => 3,
        ..9.95 => 2,
        ..99.5 => 1,
        _ => 0,
    };
    format!("{number:.digits$}")
}

/// The least of the others divided by ours: above 1 if ours is ahead.
fn against_best(cells: &[Option<f64>]) -> String {
    let best = cells[1..].iter().flatten().copied().reduce(f64::min);
    match (cells[0], best) {
        (Some(ours), Some(best)) if ours > 0.0 && best > 0.0 => {
            let ahead = best / ours;
            format!("{} ×{}", shown(ahead), if ahead < 0.995 { " (behind)" } else { "" })
        }
        _ => "–".to_owned(),
    }
}

fn main() -> Result<()> {
    let options = options(std::env::args().skip(1))?;
    let input = Input::new(&options.traces.ok_or(USAGE)?, options.repeats, options.is_full)?;
    let rows = rows(&input);
    let is_wanted = |name: &str| options.only.as_ref().is_none_or(|only| only.iter().any(|wanted| wanted == name));
    let (mut names, mut columns) = (Vec::new(), Vec::new());
    for (name, measure) in LIBRARIES.into_iter().filter(|(name, _)| *name == LIBRARIES[0].0 || is_wanted(name)) {
        columns.push(measure(name, &input).map_err(|error| format!("{name}: {error}"))?);
        names.push(name);
    }

    let releases: Vec<String> = names.iter().map(|name| format!("{name} {}", release(name))).collect();
    println!("{} edits, {} characters. {}.\n", input.edits.len(), input.end.len(), releases.join(", "));
    println!("| | {} | against the best peer |\n|---|{}", names.join(" | "), "---:|".repeat(names.len() + 1));
    let mut found = Vec::new();
    for (n, (what, unit)) in rows.iter().enumerate() {
        let cells: Vec<Option<f64>> = columns.iter().map(|figures| figures[n]).collect();
        let cell =
            |cell: &Option<f64>| cell.map_or_else(|| "–".to_owned(), |figure| format!("{} {unit}", shown(figure)));
        let printed: Vec<String> = cells.iter().map(cell).collect();
        println!("| {what} | {} | {} |", printed.join(" | "), against_best(&cells));
        let figures: Map<String, Value> =
            names.iter().zip(&cells).map(|(name, cell)| ((*name).to_owned(), json!(cell))).collect();
        found.push(json!({ "row": what, "unit": unit, "figures": figures }));
    }
    println!("\n{NOTES}");
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&json!({ "releases": releases, "rows": found }))? + "\n")?;
    }
    Ok(())
}
