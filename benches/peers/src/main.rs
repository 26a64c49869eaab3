//! driftless beside automerge, loro, yrs and crdts, in one run: see the README.

use std::error::Error;
use std::path::PathBuf;

mod alone;
mod bench;
mod case;
mod data;
mod libraries;
mod measure;
mod rows;
mod steps;
mod table;

use bench::Bench;
use rows::STEPS;

/// Whatever went wrong, for whoever reads it.
type Failure = Box<dyn Error + Send + Sync>;

/// Compresses by zstd at level 1.
fn zstd1(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    Ok(zstd::bulk::compress(bytes, 1)?)
}

const USAGE: &str = "options: --size NODES (may be repeated), --only STEP,STEP, --json FILE, --wordnet PATH, --smoke";

/// The sizes, steps and outputs of a run.
struct Options {
    sizes: Vec<usize>,
    only: Option<Vec<String>>,
    json: Option<PathBuf>,
    wordnet: Option<PathBuf>,
    vectors: usize,
    runs: usize,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == case::FLAG) {
        return case::run(&arguments[1..]);
    }
    Bench::new(options(arguments)?)?.run()
}

fn options(arguments: Vec<String>) -> Result<Options, Failure> {
    let mut options = Options { sizes: Vec::new(), only: None, json: None, wordnet: None, vectors: 100_000, runs: 3 };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut next = || arguments.next().ok_or_else(|| format!("`{argument}` wants a value; {USAGE}"));
        match argument.as_str() {
            "--size" => options.sizes.push(next()?.replace('_', "").parse()?),
            "--only" => options.only = Some(next()?.split(',').map(str::to_owned).collect()),
            "--json" => options.json = Some(next()?.into()),
            "--wordnet" => options.wordnet = Some(next()?.into()),
            "--smoke" => {
                options.sizes.push(1_000);
                (options.vectors, options.runs) = (1_000, 1);
            }
            other => return Err(format!("`{other}` is unknown; {USAGE}").into()),
        }
    }
    if let Some(unknown) = options.only.iter().flatten().find(|step| !STEPS.contains(&step.as_str())) {
        return Err(format!("`{unknown}` is no step; steps: {}", STEPS.join(", ")).into());
    }
    if options.sizes.iter().any(|size| *size < 2) {
        return Err("two replicas write to different nodes, so there must be two at least".into());
    }
    if options.sizes.is_empty() {
        options.sizes = vec![10_000, 100_000, 1_000_000];
    }
    Ok(options)
}
