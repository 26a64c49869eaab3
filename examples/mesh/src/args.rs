//! The command line.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::prelude::*;

pub(crate) const HELP: &str = "\
Three replicas of one knowledge graph part, are edited, and meet again.

Usage: cargo run --release -p mesh -- [OPTIONS]

  --data FILE   what to import instead of the animals of WordNet: JSON lines of two forms,
                {\"node\": \"n1\", \"pos\": \"noun\", \"lemmas\": [\"cat\"], \"gloss\": \"feline mammal\"}
                {\"edge\": \"hypernym\", \"from\": \"n1\", \"to\": \"n2\"}
                (an edge to a node that the file does not hold is imported and dangles)
  --seed N      which edits are made; the same number makes the same ones       [default: 1]
  --edits N     how many each replica makes while it is cut off                 [default: 300]
  --json        figures for a program, and nothing else, on standard output
  --dot FILE    writes the surroundings of a conflict for Graphviz
  --help        this text

Exit status: 0 if all replicas are equal to each other and to the recomputation, 1 if not or if
the file cannot be used, 2 if an option makes no sense.
";

pub(crate) struct Args {
    pub(crate) data: PathBuf,
    pub(crate) seed: u64,
    pub(crate) edits: usize,
    pub(crate) json: bool,
    pub(crate) dot: Option<PathBuf>,
    pub(crate) help: bool,
}

impl Default for Args {
    fn default() -> Self {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/wordnet-animals.jsonl").into();
        Self { data, seed: 1, edits: 300, json: false, dot: None, help: false }
    }
}

impl Args {
    pub(crate) fn parse() -> Result<Self, lexopt::Error> {
        let (mut args, mut parser) = (Self::default(), lexopt::Parser::from_env());
        while let Some(arg) = parser.next()? {
            match arg {
                Long("data") => args.data = parser.value()?.into(),
                Long("seed") => args.seed = number("--seed", &parser.value()?)?,
                Long("edits") => args.edits = number("--edits", &parser.value()?)?,
                Long("json") => args.json = true,
                Long("dot") => args.dot = Some(parser.value()?.into()),
                Long("help") | Short('h') => args.help = true,
                other => return Err(other.unexpected()),
            }
        }
        Ok(args)
    }
}

fn number<T: FromStr>(option: &str, text: &OsStr) -> Result<T, String> {
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{option} expects a whole number, found {text:?}"))
}
