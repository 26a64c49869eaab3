//! The measurements, the same for each library.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::time::Duration;

use crate::case::{Setting, answer, figure};
use crate::data::{FIELDS, Persons, Random, WEIGHT, WordNet};
use crate::libraries::{Library, Node, Value, Write};
use crate::measure::{live, now};
use crate::{Failure, zstd1};

/// Nodes, edges or writes of one transaction.
pub(crate) const BATCH: usize = 100;

/// Writes of each of two replicas that write concurrently.
const CONCURRENT: usize = 1_000;

/// The number of times that each weight is overwritten.
const OVERWRITES: usize = 10;

/// Nodes that are looked up, at most, to compare the libraries.
const LOOKED_UP: usize = 10_000;

/// A run that takes longer is not repeated.
const SHORT: Duration = Duration::from_secs(10);

pub(crate) fn run<L: Library>(step: &str, setting: &Setting<'_>) -> Result<(), Failure> {
    if step == "wordnet" {
        return wordnet::<L>(setting);
    }
    let persons = match step {
        "words" => Persons::of_random_words(setting.size),
        _ => Persons::numbered(setting.size),
    };
    let begin = Begin { setting, keys: persons.keys() };
    match step {
        "build" => build::<L>(setting, &persons),
        "words" => words::<L>(setting, &persons),
        "load" => begin.load::<L>(),
        "read" => begin.read::<L>(),
        "delta" => begin.delta::<L>(),
        "concurrent" => begin.concurrent::<L>(),
        "overwrite" => begin.overwrite::<L>(),
        "delete" => begin.delete::<L>(),
        other => Err(format!("there is no step `{other}`").into()),
    }
}

/// Runs something several times, unless it takes long, and prints the median of each figure.
pub(crate) fn repeat<const N: usize>(
    runs: usize,
    names: [&str; N],
    mut run: impl FnMut() -> Result<[f64; N], Failure>,
) -> Result<(), Failure> {
    let mut all = Vec::new();
    for _ in 0..runs {
        let begin = now();
        all.push(run()?);
        if now() - begin > SHORT {
            break;
        }
    }
    for (n, name) in names.into_iter().enumerate() {
        let mut figures: Vec<f64> = all.iter().map(|figures| figures[n]).collect();
        figures.sort_by(f64::total_cmp);
        figure(name, figures[figures.len() / 2]);
    }
    Ok(())
}

/// Runs something, and returns the time that it took beside its result.
pub(crate) fn seconds<R>(run: impl FnOnce() -> Result<R, Failure>) -> Result<(f64, R), Failure> {
    let begin = now();
    let result = run()?;
    Ok(((now() - begin).as_secs_f64(), result))
}

fn add_all<L: Library>(library: &mut L, nodes: &[Node<'_>]) -> Result<(), Failure> {
    nodes.chunks(BATCH).try_for_each(|batch| library.add(batch))
}

fn look_at_each<L: Library>(library: &L, path: &str) -> Result<(), Failure> {
    library.each(path, &mut |value| {
        black_box(value);
    })
}

/// The state compressed, and how long that takes with its encoding, of which the uncompressed form took `encode`.
fn compressed<L: Library>(library: &mut L, encode: f64, encoded: &[u8]) -> Result<(f64, Vec<u8>), Failure> {
    let (time, by_library) = seconds(|| library.encode_compressed())?;
    if let Some(bytes) = by_library {
        return Ok((time, bytes));
    }
    let (time, bytes) = seconds(|| zstd1(encoded))?;
    Ok((encode + time, bytes))
}

/// Hash of the properties of some nodes, each looked up by its key, and of one property of all nodes.
fn digest<L: Library>(library: &L, keys: &[&str], paths: [&str; 3]) -> Result<String, Failure> {
    let mut hash = DefaultHasher::new();
    let some: Vec<&str> = keys.iter().copied().step_by(keys.len() / LOOKED_UP + 1).collect();
    library.read(&some, &paths, &mut |value| value.hash(&mut hash))?;
    let mut all = 0_u64;
    library.each(paths[2], &mut |value| {
        let mut hash = DefaultHasher::new();
        value.hash(&mut hash);
        // Each library has an order of its own.
        all = all.wrapping_add(hash.finish());
    })?;
    (all, library.node_count()).hash(&mut hash);
    Ok(format!("{:016x}", hash.finish()))
}

fn build<L: Library>(setting: &Setting<'_>, persons: &Persons) -> Result<(), Failure> {
    let (nodes, keys) = (persons.nodes(), persons.keys());
    let per_node = 1e6 / setting.size as f64;
    let mut state = Vec::new();
    let names = ["build", "heap", "encode", "encoded", "compress", "compressed"];
    repeat(setting.runs, names, || {
        // The state of the run before is not to be counted.
        state = Vec::new();
        let before = live();
        let (build, mut library) = seconds(|| {
            let mut library = L::new()?;
            add_all(&mut library, &nodes)?;
            Ok(library)
        })?;
        let heap = (live() - before) as f64;
        let (encode, bytes) = seconds(|| library.encode())?;
        let (compress, compressed) = compressed(&mut library, encode, &bytes)?;
        answer("built", digest(&library, &keys, FIELDS)?);
        state = bytes;
        let (encoded, compressed) = (state.len() as f64, compressed.len() as f64);
        let size = setting.size as f64;
        Ok([build * per_node, heap / size, encode * per_node, encoded / size, compress * per_node, compressed / size])
    })?;
    Ok(std::fs::write(setting.state, &state)?)
}

fn words<L: Library>(setting: &Setting<'_>, persons: &Persons) -> Result<(), Failure> {
    let (mut library, nodes) = (L::new()?, persons.nodes());
    add_all(&mut library, &nodes)?;
    let encoded = library.encode()?;
    let (_, compressed) = compressed(&mut library, 0.0, &encoded)?;
    figure("words_compressed", compressed.len() as f64 / setting.size as f64);
    answer("words", digest(&library, &persons.keys(), FIELDS)?);
    Ok(())
}

/// Begins each run from the encoded state.
struct Begin<'a> {
    setting: &'a Setting<'a>,
    keys: Vec<&'a str>,
}

impl<'a> Begin<'a> {
    fn state(&self) -> Result<Vec<u8>, Failure> {
        Ok(std::fs::read(self.setting.state)?)
    }

    /// A replica that has read each of its nodes, so that nothing is left to be loaded.
    fn ready<L: Library>(&self) -> Result<L, Failure> {
        let library = L::load(&self.state()?)?;
        look_at_each(&library, WEIGHT)?;
        Ok(library)
    }

    /// Writes to random nodes: to all of them, or to those with an even or odd number.
    fn writes(&self, random: &mut Random, count: usize, parity: Option<usize>) -> Vec<Write<'a>> {
        let half = self.keys.len() / 2;
        let mut pick = || match parity {
            Some(parity) => 2 * random.below(half) + parity,
            None => random.below(self.keys.len()),
        };
        let picked: Vec<usize> = (0..count).map(|_| pick()).collect();
        picked.into_iter().map(|n| (self.keys[n], random.weight())).collect()
    }

    fn load<L: Library>(&self) -> Result<(), Failure> {
        let (state, per_node) = (self.state()?, 1e6 / self.setting.size as f64);
        repeat(self.setting.runs, ["load", "load_all", "heap_loaded"], || {
            let before = live();
            let begin = now();
            let mut library = L::load(&state)?;
            let load = (now() - begin).as_secs_f64();
            library.set(&[(self.keys[0], 0.5)])?;
            look_at_each(&library, WEIGHT)?;
            let load_all = (now() - begin).as_secs_f64();
            let heap = (live() - before) as f64;
            answer("loaded", digest(&library, &self.keys, FIELDS)?);
            Ok([load * per_node, load_all * per_node, heap / self.setting.size as f64])
        })
    }

    fn read<L: Library>(&self) -> Result<(), Failure> {
        let mut library: L = self.ready()?;
        library.read_often();
        look_at_each(&library, WEIGHT)?;
        repeat(self.setting.runs, ["read"], || {
            let (mut sum, mut unexpected) = (0.0, 0);
            let (time, ()) = seconds(|| {
                library.each(WEIGHT, &mut |value| match value {
                    Value::Number(number) => sum += number,
                    Value::Text(_) => unexpected += 1,
                })
            })?;
            answer("sum", format!("{sum}-{unexpected}"));
            Ok([time * 1e9 / self.setting.size as f64])
        })
    }

    fn delta<L: Library>(&self) -> Result<(), Failure> {
        let (mut a, mut b): (L, L) = (self.ready()?, self.ready()?);
        let mut random = Random(17);
        // The first round of a replica does more than the next ones, so it does not count.
        let mut round = |a: &mut L, b: &mut L| {
            let before = a.version()?;
            let writes = self.writes(&mut random, BATCH, None);
            let (write, ()) = seconds(|| a.set(&writes))?;
            let (delta, bytes) = seconds(|| {
                let delta = a.delta_since(&before)?;
                b.apply(&delta)?;
                Ok(delta.len())
            })?;
            let writes = self.writes(&mut random, BATCH, None);
            let (send, sent) = seconds(|| {
                let update = a.set_and_update(&writes)?;
                b.apply(&update)?;
                Ok(update.len())
            })?;
            Ok([write * 1e6, delta * 1e6, bytes as f64, send * 1e6, sent as f64])
        };
        round(&mut a, &mut b)?;
        // Figures of some microseconds need more runs than others.
        let runs = 3 * self.setting.runs;
        repeat(runs, ["write", "delta", "delta_bytes", "send", "send_bytes"], || round(&mut a, &mut b))?;
        // The number of runs depends on the time that they take, so the weights are not compared with other libraries'.
        self.same(&a, &b).map(drop)
    }

    fn same<L: Library>(&self, a: &L, b: &L) -> Result<String, Failure> {
        let [of_a, of_b] = [digest(a, &self.keys, FIELDS)?, digest(b, &self.keys, FIELDS)?];
        if of_a == of_b { Ok(of_a) } else { Err("two replicas differ that have seen the same".into()) }
    }

    fn concurrent<L: Library>(&self) -> Result<(), Failure> {
        repeat(self.setting.runs, ["concurrent", "concurrent_bytes"], || {
            let (mut a, mut b): (L, L) = (self.ready()?, self.ready()?);
            let before = (a.version()?, b.version()?);
            let mut random = Random(19);
            for (library, parity) in [(&mut a, 0), (&mut b, 1)] {
                let writes = self.writes(&mut random, CONCURRENT, Some(parity));
                writes.chunks(BATCH).try_for_each(|batch| library.set(batch))?;
            }
            let (time, bytes) = seconds(|| {
                let (for_b, for_a) = (a.delta_since(&before.0)?, b.delta_since(&before.1)?);
                a.apply(&for_a)?;
                b.apply(&for_b)?;
                Ok(for_a.len() + for_b.len())
            })?;
            answer("exchanged", self.same(&a, &b)?);
            Ok([time * 1e3, bytes as f64 / 1e3])
        })
    }

    fn overwrite<L: Library>(&self) -> Result<(), Failure> {
        let before = self.state()?.len() as f64;
        repeat(self.setting.runs, ["overwrite", "growth"], || {
            let (mut library, mut random): (L, _) = (self.ready()?, Random(23));
            let mut total = 0.0;
            for _ in 0..OVERWRITES {
                let writes: Vec<Write<'_>> = self.keys.iter().map(|key| (*key, random.weight())).collect();
                total += seconds(|| writes.chunks(BATCH).try_for_each(|batch| library.set(batch)))?.0;
            }
            answer("overwritten", digest(&library, &self.keys, FIELDS)?);
            let growth = library.encode()?.len() as f64 / before - 1.0;
            Ok([total * 1e6 / (OVERWRITES * self.keys.len()) as f64, growth * 100.0])
        })
    }

    fn delete<L: Library>(&self) -> Result<(), Failure> {
        let size = self.setting.size as f64;
        let mut trimmed = None;
        repeat(self.setting.runs, ["delete", "left"], || {
            let mut library: L = self.ready()?;
            let (time, ()) = seconds(|| self.keys.chunks(BATCH).try_for_each(|batch| library.remove(batch)))?;
            answer("left", library.node_count());
            let left = library.encode()?.len() as f64;
            trimmed = library.encode_trimmed()?.map(|bytes| bytes.len());
            Ok([time * 1e6 / size, left / size])
        })?;
        if let Some(trimmed) = trimmed {
            figure("trimmed", trimmed as f64);
        }
        Ok(())
    }
}

fn wordnet<L: Library>(setting: &Setting<'_>) -> Result<(), Failure> {
    let wordnet = WordNet::read(setting.wordnet)?;
    let (nodes, edges) = (wordnet.nodes(), wordnet.edges());
    let keys: Vec<&str> = nodes.iter().map(|node| node.key).collect();
    let paths = ["/pos", "/lemma0", "/gloss"];
    let summary = |library: &L| -> Result<String, Failure> {
        Ok(format!("{}-{}", digest(library, &keys, paths)?, library.count_edges(&edges)?))
    };
    let names = ["build", "heap", "encode", "encoded", "compress", "compressed", "load", "load_all"];
    let names = names.map(|name| format!("wordnet_{name}"));
    repeat(setting.runs, names.each_ref().map(String::as_str), || {
        let before = live();
        let (build, mut library) = seconds(|| {
            let mut library = L::new()?;
            add_all(&mut library, &nodes)?;
            edges.chunks(BATCH).try_for_each(|batch| library.link(batch))?;
            Ok(library)
        })?;
        let heap = (live() - before) as f64;
        let (encode, bytes) = seconds(|| library.encode())?;
        let (compress, compressed) = compressed(&mut library, encode, &bytes)?;
        answer("wordnet", summary(&library)?);
        drop(library);
        let begin = now();
        let mut loaded = L::load(&bytes)?;
        let load = (now() - begin).as_secs_f64();
        loaded.set(&[(keys[0], 0.5)])?;
        look_at_each(&loaded, "/gloss")?;
        let load_all = (now() - begin).as_secs_f64();
        answer("wordnet-loaded", summary(&loaded)?);
        let megabytes = |bytes: &[u8]| bytes.len() as f64 / 1e6;
        Ok([build, heap / 1e6, encode, megabytes(&bytes), compress, megabytes(&compressed), load, load_all])
    })
}
