//! A file becomes a graph: one replica reads it, some hundred lines to a transaction.

use std::collections::HashSet;
use std::error::Error;
use std::time::{Duration, Instant};

use crate::catalog::{Catalog, Relation, Thing};
use crate::exchange::Message;
use crate::mesh::Mesh;
use crate::op::{Op, Scalar};
use crate::progress;
use crate::source::{Line, Source};

/// Lines to a transaction.
const LINES: usize = 400;

/// The replica that reads the file.
pub(crate) const IMPORTER: usize = 0;

#[derive(Default)]
pub(crate) struct Imported {
    pub(crate) concepts: usize,
    pub(crate) relations: usize,
    pub(crate) transactions: usize,
    pub(crate) took: Duration,
}

/// The steps of the transaction under way, each with its line for whoever has to name it.
#[derive(Default)]
struct Batch {
    ops: Vec<Op>,
    lines: Vec<usize>,
    size: usize,
}

/// Returns the delta of each transaction, too.
///
/// Relations may come before their concepts, and lead to concepts that the file does not hold: those dangle.
pub(crate) fn import(source: &mut Source, mesh: &mut Mesh) -> Result<(Imported, Vec<Message>), Box<dyn Error>> {
    let start = Instant::now();
    let bar = progress::bar(source.size)?;
    let (mut imported, mut messages, mut batch) = (Imported::default(), Vec::new(), Batch::default());
    let mut known = HashSet::new();
    while let Some(line) = source.next()? {
        match &line {
            Line::Concept { name, .. } => {
                imported.concepts += 1;
                let concept = mesh.catalog.concept(&prefixed(name));
                if !known.insert(concept) {
                    return Err(source.fault(source.lines, format!("the concept \"{name}\" came before")).into());
                }
            }
            Line::Relation { .. } => imported.relations += 1,
        }
        batch.push(ops_of(line, &mut mesh.catalog), source.lines);
        if batch.size == LINES {
            messages.extend(commit(&mut batch, source, mesh)?);
            bar.set_position(source.read);
        }
    }
    messages.extend(commit(&mut batch, source, mesh)?);
    bar.finish_and_clear();
    if imported.concepts == 0 {
        return Err(source.fault_of_all("expected concepts, found none").into());
    }
    (imported.transactions, imported.took) = (messages.len(), start.elapsed());
    Ok((imported, messages))
}

/// Makes one edit of what has been read, if anything has.
fn commit(batch: &mut Batch, source: &Source, mesh: &mut Mesh) -> Result<Option<Message>, Box<dyn Error>> {
    let Batch { ops, lines, .. } = std::mem::take(batch);
    mesh.peers[IMPORTER].clock.advance(1);
    let edited = mesh.edit(IMPORTER, ops);
    edited.map_err(|refused| match lines.get(refused.step) {
        Some(line) => source.fault(*line, refused.error.to_string()).into(),
        None => refused.into(),
    })
}

impl Batch {
    fn push(&mut self, ops: Vec<Op>, line: usize) {
        self.lines.resize(self.lines.len() + ops.len(), line);
        self.ops.extend(ops);
        self.size += 1;
    }
}

fn prefixed(name: &str) -> String {
    format!("wn:{name}")
}

fn ops_of(line: Line, catalog: &mut Catalog) -> Vec<Op> {
    match line {
        Line::Relation { kind, from, to } => {
            let (from, to) = (catalog.concept(&prefixed(&from)), catalog.concept(&prefixed(&to)));
            vec![Op::Link(Relation { from, kind: catalog.text(&kind), to })]
        }
        Line::Concept { name, pos, lemmas, gloss } => {
            let concept = catalog.concept(&prefixed(&name));
            if let Some(first) = lemmas.first() {
                catalog.call(concept, first);
            }
            let mut ops = vec![
                Op::Add(concept),
                Op::Label(concept, catalog.text("Concept")),
                Op::Label(concept, catalog.text(&capitalised(&pos))),
            ];
            let mut set = |path: &str, value: &str| {
                ops.push(Op::Set(Thing::Concept(concept), catalog.text(path), Scalar::Text(value.into())));
            };
            set("/pos", &pos);
            set("/gloss", &gloss);
            for (i, lemma) in lemmas.iter().enumerate() {
                set(&format!("/lemmas/{i}"), lemma);
            }
            ops
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
