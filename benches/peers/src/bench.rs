//! The whole run: each step of each library at each size, compared and collected.

use std::collections::{BTreeMap, BTreeSet};

use tempfile::TempDir;

use crate::case::{Case, End, Found, PATIENCE};
use crate::rows::{LIBRARIES, ROWS, Row, STEPS, takes_part};
use crate::table::{Table, thousands};
use crate::{Failure, Options, table};

pub(crate) struct Bench {
    options: Options,
    place: TempDir,
    /// Steps that a library did not get to the end of: not tried at larger sizes.
    ended: BTreeSet<(&'static str, &'static str)>,
    /// Cases that failed. The run goes on, and fails at its end.
    failed: Vec<String>,
}

impl Bench {
    pub(crate) fn new(options: Options) -> Result<Self, Failure> {
        Ok(Self { options, place: tempfile::tempdir()?, ended: BTreeSet::new(), failed: Vec::new() })
    }

    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let mut sizes = self.options.sizes.clone();
        sizes.sort_unstable();
        sizes.dedup();
        table::print_head();
        let mut tables = Vec::new();
        // The short ones first.
        if self.options.wordnet.is_some() {
            tables.extend(self.table("WordNet".to_owned(), 0, &["wordnet"])?);
        }
        let vectors = self.options.vectors;
        let title = format!("The nearest 10 of {} vectors of 384 numbers", thousands(vectors as f64));
        tables.extend(self.table(title, vectors, &["nearest"])?);
        for size in sizes {
            let steps: Vec<_> = STEPS.into_iter().filter(|step| !matches!(*step, "wordnet" | "nearest")).collect();
            tables.extend(self.table(format!("{} nodes", thousands(size as f64)), size, &steps)?);
        }
        if let Some(path) = &self.options.json {
            std::fs::write(path, table::json(&tables)?)?;
        }
        if self.failed.is_empty() { Ok(()) } else { Err(self.failed.join("; ").into()) }
    }

    fn is_wanted(&self, step: &str) -> bool {
        self.options.only.as_ref().is_none_or(|only| only.iter().any(|wanted| wanted == step))
    }

    /// Runs steps, and prints their table once all are done. None if none of the steps is wanted.
    fn table(&mut self, title: String, size: usize, steps: &[&'static str]) -> Result<Option<Table>, Failure> {
        let wanted: Vec<_> = steps.iter().copied().filter(|step| self.is_wanted(step)).collect();
        // Most steps begin from the state that `build` leaves.
        let needs_build = wanted.iter().any(|step| !matches!(*step, "words" | "snapshots" | "wordnet" | "nearest"));
        let runs = steps.iter().copied().filter(|step| wanted.contains(step) || (*step == "build" && needs_build));
        let mut all = BTreeMap::new();
        let mut reasons = BTreeMap::new();
        for step in runs {
            let mut answers: Option<(&str, Found)> = None;
            for library in LIBRARIES.into_iter().filter(|library| takes_part(step, library)) {
                let before = ["build", step].into_iter().find(|before| self.ended.contains(&(*before, library)));
                if let Some(before) = before.filter(|_| step != "wordnet") {
                    reasons.insert((step, library), format!("not tried after the end of `{before}`"));
                    continue;
                }
                eprintln!("{title}: {step}, {library}");
                let found = self.case(step, library, size).run()?;
                if let Some(end) = found.ended {
                    self.ended.insert((step, library));
                    let reason = match end {
                        End::Late => format!("`{step}` was ended after {} s", PATIENCE.as_secs()),
                        End::Failed => format!("`{step}` failed"),
                    };
                    if end == End::Failed {
                        self.failed.push(format!("{title}: {step} of {library} failed"));
                    }
                    reasons.insert((step, library), reason);
                    continue;
                }
                if let Some((other, expected)) = &answers
                    && found.answers != expected.answers
                {
                    let (one, two) = (&found.answers, &expected.answers);
                    return Err(format!("{step}: {library} answers {one:?}, {other} {two:?}").into());
                }
                all.extend(found.figures.iter().map(|(name, figure)| ((name.clone(), library), *figure)));
                answers.get_or_insert((library, found));
            }
        }
        let rows: Vec<&Row> = ROWS.iter().filter(|row| wanted.contains(&row.step)).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        let table = Table::new(title, &rows, &all, &reasons);
        println!("{table}");
        Ok(Some(table))
    }

    fn case(&self, step: &'static str, library: &'static str, size: usize) -> Case {
        let state = self.place.path().join(format!("{library}-{size}"));
        let wordnet = self.options.wordnet.clone().unwrap_or_default();
        Case { step, library, size, runs: self.options.runs, state, wordnet }
    }
}
