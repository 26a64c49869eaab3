//! The memory of an agent in a directory: notes, links between them, a persona, and what devices disagree on.
//!
//! Each call opens the store, does one thing, and closes it. What it has said is done is on the disk, whenever the process is killed.
//!
//! | file | idea |
//! |---|---|
//! | `memory` | what an agent remembers: nodes, edges, vectors, a persona |
//! | `words` | vectors of texts, made on the spot from their words |

mod memory;
mod words;

use std::error::Error;
use std::io::{BufRead, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftless::Graph;
use driftless_store::{AuditLimit, Options, Store};
use lexopt::prelude::*;

use memory::Memory;

const HELP: &str = "\
The memory of an agent in a directory.

Usage: cargo run -p memory -- DIRECTORY COMMAND

  add TEXT [--label LABEL]...   remembers a note, and prints its id
  link ID RELATION ID           relates two notes
  search WORDS                  finds notes by words and by likeness
  show ID                       prints a note, its labels and its links
  forget ID                     forgets a note; it stays forgotten, whatever is synced
  persona [PATH [JSON]]         prints or sets a part of the persona, such as /tone '\"dry\"'
  conflicts                     lists what devices disagree on
  settle CONFLICT HOW           settles a conflict: by the number of a candidate, restore, delete
  notes                         lists the notes, the latest first
  log                           says what changed lately, and from where
  sync DIRECTORY                brings two memories up with each other
  backup DIRECTORY              copies the memory into a new directory
  doctor                        looks for damage, and changes nothing
  stdin                         reads one command a line, as above, and answers each

An id is the beginning of one, as long as no other begins so. The device is named by the variable MEMORY_DEVICE.
";

type Failed = Box<dyn Error>;

fn main() {
    let failed = run().err();
    if let Some(error) = failed {
        let _ = writeln!(std::io::stderr(), "memory: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Failed> {
    let (mut words, mut labels, mut parser) = (Vec::new(), Vec::new(), lexopt::Parser::from_env());
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return print(HELP),
            Long("label") => labels.push(parser.value()?.string()?),
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let [directory, command @ ..] = &words[..] else { return print(HELP) };
    let directory = PathBuf::from(directory);
    if command == ["doctor"] {
        return doctor(&directory);
    }
    let mut memory = open(&directory)?;
    if command != ["stdin"] {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        print(&answer(&mut memory, &command, &labels)?)?;
        return Ok(memory.close()?);
    }
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let command: Vec<&str> = line.split_whitespace().collect();
        match answer(&mut memory, &command, &[]) {
            Ok(said) => print(&said)?,
            Err(error) => print(&format!("error: {error}\n"))?,
        }
    }
    Ok(memory.close()?)
}

fn open(directory: &Path) -> Result<Memory, Failed> {
    let device = std::env::var("MEMORY_DEVICE").unwrap_or_else(|_| "this device".to_owned());
    // Another call may be at work.
    let options = Options::new().with_device(&device).waiting_for_lock(Duration::from_secs(10));
    let options = options.with_audit(AuditLimit::default());
    let store: Store<Graph> = options.open(directory)?;
    if let Some(cut) = &store.recovery().truncated {
        let _ = writeln!(
            std::io::stderr(),
            "memory: {} bytes of {} were being written when it stopped",
            cut.bytes,
            cut.file
        );
    }
    Memory::new(store)
}

fn answer(memory: &mut Memory, command: &[&str], labels: &[String]) -> Result<String, Failed> {
    Ok(match command {
        ["add", text @ ..] if !text.is_empty() => memory.add(&text.join(" "), labels)?,
        ["link", from, relation, to] => memory.link(from, relation, to)?,
        ["search", words @ ..] if !words.is_empty() => memory.search(&words.join(" "))?,
        ["show", id] => memory.show(id)?,
        ["forget", id] => memory.forget(id)?,
        ["persona"] => memory.persona("")?,
        ["persona", path] => memory.persona(path)?,
        ["persona", path, json @ ..] => memory.set_persona(path, &json.join(" "))?,
        ["conflicts"] => memory.conflicts(),
        ["settle", conflict, how] => memory.settle(conflict, how)?,
        ["notes"] => memory.notes(),
        ["log"] => memory.log()?,
        ["sync", other] => memory.sync(&mut open(Path::new(other))?, other)?,
        ["backup", directory] => memory.backup(Path::new(directory))?,
        _ => return Err("no such command; see --help".into()),
    })
}

fn doctor(directory: &Path) -> Result<(), Failed> {
    let found = Store::<Graph>::verify(directory)?;
    for lost in &found.lost {
        print(&format!("{} at byte {}: {}\n", lost.file, lost.offset, lost.what))?;
    }
    match found.lost.len() {
        0 => print(&format!("all is whole: {} records behind the last checkpoint\n", found.records)),
        faults => Err(format!("{faults} faults; restore a backup, or open it by `Options::salvage`").into()),
    }
}

/// To standard output; that nobody listens any longer is no error.
fn print(text: &str) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
