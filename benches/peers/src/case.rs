//! One step of one library at one size, in a process of its own, so that its memory is its own and it can be ended.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::libraries::automerge::Peer as Automerge;
use crate::libraries::crdts::Peer as Crdts;
use crate::libraries::driftless::Driftless;
use crate::libraries::loro::Peer as Loro;
use crate::libraries::yrs::Peer as Yrs;
use crate::{Failure, alone, steps};

/// The argument by which the program knows that it is to run one case.
pub(crate) const FLAG: &str = "--case";

/// A step that takes longer, with what prepares it, is ended, and its figures are left out.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// One step of one library.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) step: &'static str,
    pub(crate) library: &'static str,
    /// Number of nodes, or of vectors.
    pub(crate) size: usize,
    /// Runs of which the median counts.
    pub(crate) runs: usize,
    /// The encoded state: the step `build` writes it, the others begin from it.
    pub(crate) state: PathBuf,
    pub(crate) wordnet: PathBuf,
}

/// Figures and answers of a case. Equal steps of all libraries must give equal answers.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) figures: BTreeMap<String, f64>,
    pub(crate) answers: BTreeMap<String, String>,
    /// The reason why the case did not get to its end.
    pub(crate) ended: Option<End>,
}

/// The reason why a case did not get to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It took longer than [`PATIENCE`].
    Late,
    /// It failed; the message went to stderr.
    Failed,
}

impl Case {
    /// Runs the case in a child, and reads the lines that the child prints.
    pub(crate) fn run(&self) -> Result<Found, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([FLAG, self.step, self.library, &self.size.to_string(), &self.runs.to_string()]);
        command.arg(&self.state).arg(&self.wordnet);
        let (begin, mut child) = (Instant::now(), command.stdout(Stdio::piped()).spawn()?);
        // A pipe holds far more than a case prints, so it can be read once the child is done.
        let ended = loop {
            match child.try_wait()? {
                Some(status) => break (!status.success()).then_some(End::Failed),
                None if begin.elapsed() > PATIENCE => {
                    child.kill()?;
                    child.wait()?;
                    break Some(End::Late);
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let mut lines = String::new();
        child.stdout.take().ok_or("no output")?.read_to_string(&mut lines)?;
        let mut found = Found { ended, ..Found::default() };
        for line in lines.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["figure", name, number] => drop(found.figures.insert(name.to_owned(), number.parse()?)),
                ["answer", name, answer] => drop(found.answers.insert(name.to_owned(), answer.to_owned())),
                _ => return Err(format!("unexpected line `{line}`").into()),
            }
        }
        Ok(found)
    }
}

/// The arguments of a case within its process.
pub(crate) struct Setting<'a> {
    pub(crate) size: usize,
    pub(crate) runs: usize,
    pub(crate) state: &'a Path,
    pub(crate) wordnet: &'a Path,
}

/// Runs the case that the arguments name, and prints figures and answers.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let [step, library, size, runs, state, wordnet] = arguments else {
        return Err("the arguments of a case are not for people; run without any".into());
    };
    let setting =
        Setting { size: size.parse()?, runs: runs.parse()?, state: Path::new(state), wordnet: Path::new(wordnet) };
    match step.as_str() {
        "snapshots" => return alone::snapshots(&setting),
        "nearest" => return alone::nearest(&setting),
        _ => {}
    }
    match library.as_str() {
        "driftless" => steps::run::<Driftless>(step, &setting),
        "automerge" => steps::run::<Automerge>(step, &setting),
        "loro" => steps::run::<Loro>(step, &setting),
        "yrs" => steps::run::<Yrs>(step, &setting),
        "crdts" => steps::run::<Crdts>(step, &setting),
        other => Err(format!("there is no library `{other}`").into()),
    }
}

pub(crate) fn figure(name: &str, number: f64) {
    println!("figure {name} {number}");
}

pub(crate) fn answer(name: &str, answer: impl std::fmt::Display) {
    println!("answer {name} {answer}");
}
