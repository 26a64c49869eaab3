//! Juno, an agent whose persona lives on a laptop, a phone and a server, and stays one.
//!
//! The persona is a `Document`: a profile, preferences, weighted traits, interests, and memories that tell who said so,
//! when, and how sure that is. Three devices edit it while they are offline, meet, see what they disagree on, and settle
//! it: by hand, by a closure, by a policy that nobody watches. Every claim that the story makes, it checks.
//!
//! | file | idea |
//! |---|---|
//! | `model` | the persona as structs; which path is of which kind; how it reads |
//! | `device` | a replica with a name and a clock; bytes between two of them; a restart |
//! | `story` | what happens, in order |
//! | `settle` | how it is put right what they disagree on |
//! | `show` | telling it |

mod device;
mod model;
mod settle;
mod show;
mod story;

use std::error::Error;
use std::io::{ErrorKind, Write};

use lexopt::prelude::*;

const HELP: &str = "\
The persona of an agent on three devices, edited apart and brought together.

Usage: cargo run -p persona -- [OPTIONS]

  --json   the persona that all three agree on in the end, and nothing else
  --help   this text
";

fn main() -> Result<(), Box<dyn Error>> {
    let (mut json, mut parser) = (false, lexopt::Parser::from_env());
    while let Some(arg) = parser.next()? {
        match arg {
            Long("json") => json = true,
            Long("help") | Short('h') => return print(HELP),
            other => return Err(other.unexpected().into()),
        }
    }
    let (told, persona) = story::tell()?;
    match json {
        true => print(&format!("{persona:#}\n")),
        false => print(&told),
    }
}

/// To standard output; that nobody listens any longer is no error.
fn print(text: &str) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
