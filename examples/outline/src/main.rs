//! A shared outliner in the terminal: nested bullets that several people move, type in and fold at once, each on a replica of their own.
//!
//! | file | idea |
//! |---|---|
//! | `outline` | the bullets: a tree over the nodes of a graph, and what is done to it |
//! | `command` | lines that a person types |
//! | `opml` | outlines as files of other outliners |

mod command;
mod opml;
mod outline;

use std::error::Error;
use std::fs;
use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use driftless::sync;
use lexopt::prelude::*;

use outline::Outline;

const HELP: &str = "\
A shared outliner in the terminal.

Usage: cargo run -p outline -- [--data FILE.opml] [--listen ADDRESS | --connect ADDRESS]
       cargo run -p outline -- [--data FILE.opml] --script FILE

  --data FILE.opml      reads the outline from a file if it is there, and writes it back at the end
  --listen ADDRESS      lets others connect, as to 127.0.0.1:7400
  --connect ADDRESS     syncs with one that listens: after each line, and twice a second; one side
                        listens, the other connects
  --script FILE         replays lines: `a: LINE` and `b: LINE` for two outlines side by side, `sync` for both

Type `help` for what there is to do.
";

/// The time that the side that connects waits until it asks again.
const PAUSE: Duration = Duration::from_millis(500);

/// The time that a side waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) type Failed = Box<dyn Error>;

fn main() {
    if let Err(error) = run() {
        let _ = writeln!(std::io::stderr(), "outline: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Failed> {
    let (mut data, mut listen, mut connect, mut script) = (None, None, None, None);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(std::io::stdout().write_all(HELP.as_bytes())?),
            Long("data") => data = Some(PathBuf::from(parser.value()?)),
            Long("listen") => listen = Some(parser.value()?.string()?),
            Long("connect") => connect = Some(parser.value()?.string()?),
            Long("script") => script = Some(PathBuf::from(parser.value()?)),
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(script) = script {
        let lines = fs::read_to_string(&script).map_err(|error| format!("{}: {error}", script.display()))?;
        return replay(&lines, data.as_deref());
    }
    let mut outline = Outline::new();
    if let Some(data) = &data {
        open(&mut outline, data)?;
    }
    let shared = Arc::new(Mutex::new(outline));
    if let Some(address) = listen {
        let listener = TcpListener::bind(&address).map_err(|error| format!("{address}: {error}"))?;
        say(&format!("listening on {}", listener.local_addr()?))?;
        let shared = shared.clone();
        thread::spawn(move || serve(&listener, &shared));
    }
    if let Some(address) = connect.clone() {
        let shared = shared.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(PAUSE);
                // An exchange that fails is tried again; `sync` tells why.
                let _ = exchange(&address, &shared);
            }
        });
    }
    say(&lock(&shared).show())?;
    prompt()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.trim() {
            "quit" => break,
            "sync" => match &connect {
                Some(address) => exchange(address, &shared).map(|()| lock(&shared).show()),
                None => Err("only the side that was started with --connect syncs by itself".into()),
            },
            "save" => save(&lock(&shared), data.as_deref()),
            line => command::answer(&mut lock(&shared), line),
        };
        match answer {
            Ok(text) => say(&text)?,
            Err(error) => say(&format!("cannot do that: {error}"))?,
        }
        if let Some(address) = &connect {
            let _ = exchange(address, &shared);
        }
        prompt()?;
    }
    if data.is_some() {
        say(&save(&lock(&shared), data.as_deref())?)?;
    }
    Ok(())
}

/// Another thread that panicked has left no half edit: edits are atomic.
fn lock(shared: &Mutex<Outline>) -> std::sync::MutexGuard<'_, Outline> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(listener: &TcpListener, shared: &Mutex<Outline>) {
    for stream in listener.incoming().flatten() {
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let before = lock(shared).show();
        let _ = sync::blocking(lock(shared).replica(), stream);
        let now = lock(shared).show();
        if now != before {
            let _ = say(&now).and_then(|()| prompt());
        }
    }
}

fn exchange(address: &str, shared: &Mutex<Outline>) -> Result<(), Failed> {
    let stream = TcpStream::connect(address).map_err(|error| format!("{address}: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut outline = lock(shared);
    let before = outline.show();
    sync::blocking(outline.replica(), stream).map_err(|error| error.to_string())?;
    let now = outline.show();
    if now != before {
        say(&now)?;
        prompt()?;
    }
    Ok(())
}

/// Two outlines side by side, as the lines say. Nothing in it depends on the clock.
fn replay(lines: &str, data: Option<&Path>) -> Result<(), Failed> {
    let mut outlines = [Outline::scripted(1), Outline::scripted(2)];
    if let Some(data) = data {
        open(&mut outlines[0], data)?;
    }
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        say(&format!("> {line}"))?;
        if line == "sync" {
            let [a, b] = &mut outlines;
            let (to_a, to_b) = (b.replica().complete(), a.replica().complete());
            a.replica().merge(&to_a)?;
            b.replica().merge(&to_b)?;
            say(&format!(
                "{}{}",
                a.show(),
                if a.show() == b.show() { "both show this\n" } else { "b shows another\n" }
            ))?;
            continue;
        }
        let Some((who, rest)) = line.split_once(": ") else { return Err(format!("`{line}` is nobody's").into()) };
        let outline = match who {
            "a" => &mut outlines[0],
            "b" => &mut outlines[1],
            _ => return Err(format!("there are `a` and `b`, and no `{who}`").into()),
        };
        match command::answer(outline, rest) {
            Ok(text) => say(&text)?,
            Err(error) => say(&format!("cannot do that: {error}\n"))?,
        }
    }
    if data.is_some() {
        say(&save(&outlines[0], data)?)?;
    }
    Ok(())
}

fn open(outline: &mut Outline, data: &Path) -> Result<(), Failed> {
    let text = match fs::read_to_string(data) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|error| format!("{}: {error}", data.display()))?,
    };
    let left_out = opml::import(outline, &text).map_err(|error| format!("{}: {error}", data.display()))?;
    if left_out > 0 {
        say(&format!("{left_out} comments and texts between bullets have no place in an outline, and are left out\n"))?;
    }
    Ok(())
}

fn save(outline: &Outline, data: Option<&Path>) -> Result<String, Failed> {
    let data = data.ok_or("start with --data FILE.opml to save")?;
    // A crash leaves the old file or the new one.
    let beside = data.with_extension("opml.new");
    fs::write(&beside, opml::export(outline)).and_then(|()| fs::rename(&beside, data))?;
    Ok(format!("saved {}\n", data.display()))
}

fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn prompt() -> std::io::Result<()> {
    if std::io::stdin().is_terminal() {
        let mut out = std::io::stdout().lock();
        out.write_all(b"> ")?;
        out.flush()?;
    }
    Ok(())
}
