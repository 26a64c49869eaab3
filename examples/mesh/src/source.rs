//! The lines of a file of concepts and relations.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// What a line states.
pub(crate) enum Line {
    Concept { name: String, pos: String, lemmas: Vec<String>, gloss: String },
    Relation { kind: String, from: String, to: String },
}

/// What is wrong with a file, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    file: PathBuf,
    line: Option<usize>,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl Error for Fault {}

/// A file being read line by line.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    reader: BufReader<File>,
    pub(crate) size: u64,
    pub(crate) read: u64,
    pub(crate) lines: usize,
    buffer: Vec<u8>,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, Fault> {
        let fault = |error: std::io::Error| Fault {
            file: path.to_owned(),
            line: None,
            what: format!("cannot be read ({error}); expected a file of JSON lines, see --help"),
        };
        let file = File::open(path).map_err(fault)?;
        let size = file.metadata().map_err(fault)?.len();
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(Self { path: path.to_owned(), reader, size, read: 0, lines: 0, buffer: Vec::new() })
    }

    /// The next line that is not blank; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, Fault> {
        loop {
            self.buffer.clear();
            let read = self.reader.read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|error| self.fault(self.lines + 1, format!("cannot be read ({error})")))?;
            if read == 0 {
                return Ok(None);
            }
            self.read += read as u64;
            self.lines += 1;
            let line = self.buffer.trim_ascii_end();
            if !line.is_empty() {
                return parse(line).map(Some).map_err(|what| self.fault(self.lines, what));
            }
        }
    }

    pub(crate) fn fault(&self, line: usize, what: impl Into<String>) -> Fault {
        Fault { file: self.path.clone(), line: Some(line), what: what.into() }
    }

    pub(crate) fn fault_of_all(&self, what: impl Into<String>) -> Fault {
        Fault { file: self.path.clone(), line: None, what: what.into() }
    }
}

fn parse(line: &[u8]) -> Result<Line, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        // The line that the parser would name is always the first.
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        format!("no JSON at column {} ({what}); expected one object on a line", error.column())
    })?;
    let Value::Object(object) = &value else {
        return Err(format!("expected an object, found {}", name_of(&value)));
    };
    if object.contains_key("node") {
        let (name, pos, gloss) = (text(object, "node")?, text(object, "pos")?, text(object, "gloss")?);
        return Ok(Line::Concept { name, pos, lemmas: texts(object, "lemmas")?, gloss });
    }
    if object.contains_key("edge") {
        let (kind, from, to) = (text(object, "edge")?, text(object, "from")?, text(object, "to")?);
        return Ok(Line::Relation { kind, from, to });
    }
    Err("expected a key \"node\" (a concept) or \"edge\" (a relation), found neither".to_owned())
}

fn text(object: &Map<String, Value>, key: &str) -> Result<String, String> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("expected a text under \"{key}\", found {}", name_of(other))),
        None => Err(format!("expected a key \"{key}\", found none")),
    }
}

fn texts(object: &Map<String, Value>, key: &str) -> Result<Vec<String>, String> {
    let expected = |found: &Value| format!("expected a list of texts under \"{key}\", found {}", name_of(found));
    match object.get(key) {
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| expected(item))).collect()
        }
        Some(other) => Err(expected(other)),
        None => Err(format!("expected a key \"{key}\", found none")),
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
