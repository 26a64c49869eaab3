//! driftless-store beside SQLite and redb, on one disk in one run: see the README.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod child;
mod systems;

use child::{Case, Found};
use systems::{Until, change_len};

/// Whatever went wrong, for whoever reads it.
type Failure = Box<dyn Error + Send + Sync>;

const SYSTEMS: [&str; 3] = ["driftless", "sqlite", "redb"];

/// How long, how often and on how much.
struct Size {
    /// One round of edits.
    time: Duration,
    rounds: usize,
    /// Nodes of the store that is edited.
    edited: u64,
    /// Edits of one writer that are traced.
    traced: u64,
    opened: Vec<u64>,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == child::FLAG) {
        return child::run(&arguments[1..]);
    }
    let (mut size, mut directory) = (whole(), std::env::temp_dir());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => size = quick(),
            "--dir" => directory = arguments.next().ok_or("--dir wants a path")?.into(),
            other => return Err(format!("`{other}` is none of --quick, --dir PATH").into()),
        }
    }
    fs::create_dir_all(&directory)?;
    let place = tempfile::tempdir_in(&directory)?;
    Bench { size, place: place.path().to_owned(), rows: Vec::new(), notes: Vec::new() }.run()
}

fn whole() -> Size {
    Size { time: Duration::from_secs(2), rounds: 5, edited: 10_000, traced: 10_000, opened: vec![100_000, 1_000_000] }
}

fn quick() -> Size {
    Size { time: Duration::from_millis(300), rounds: 3, edited: 2_000, traced: 500, opened: vec![10_000, 100_000] }
}

/// One line of the table: a figure of each of the systems, in their order.
struct Row {
    what: String,
    figures: [Option<f64>; 3],
    unit: &'static str,
    more_is_better: bool,
}

struct Bench {
    size: Size,
    place: PathBuf,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Bench {
    fn run(mut self) -> Result<(), Failure> {
        let syncs = sync_rate(&self.place, self.size.time)?;
        self.edits()?;
        self.syncs()?;
        for nodes in self.size.opened.clone() {
            self.opening(nodes)?;
        }
        let syncs_after = sync_rate(&self.place, self.size.time)?;
        println!("4 KiB written and synced (`fdatasync`) in a loop: {syncs:.0}/s before, {syncs_after:.0}/s after.\n");
        println!("| | driftless-store | SQLite | redb | against the better |");
        println!("|---|---:|---:|---:|---:|");
        for row in &self.rows {
            println!("{row}");
        }
        println!();
        for note in &self.notes {
            println!("- {note}");
        }
        Ok(())
    }

    fn case(&self, what: &'static str, system: &'static str, nodes: u64) -> Case {
        let name = system.trim_end_matches("-shared");
        let directory = self.place.join(format!("{name}-{nodes}"));
        Case { what, system, directory, nodes, until: Until::Elapsed(self.size.time) }
    }

    fn build(&self, system: &'static str, nodes: u64) -> Result<Case, Failure> {
        let case = self.case("build", system, nodes);
        if case.directory.exists() {
            fs::remove_dir_all(&case.directory)?;
        }
        fs::create_dir_all(&case.directory)?;
        eprintln!("builds {nodes} nodes in {system}");
        case.run()?;
        Ok(case)
    }

    fn row(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        more_is_better: bool,
        figures: impl IntoIterator<Item = Option<f64>>,
    ) {
        let mut of_each = [None; 3];
        of_each.iter_mut().zip(figures).for_each(|(place, figure)| *place = figure);
        self.rows.push(Row { what: what.into(), figures: of_each, unit, more_is_better });
    }

    /// Edits of one writer, of eight, and in batches: rounds of all systems in turn, of which the median counts.
    fn edits(&mut self) -> Result<(), Failure> {
        let nodes = self.size.edited;
        for system in SYSTEMS {
            self.build(system, nodes)?;
        }
        let kinds = [
            ("edit", "durable edits, one writer"),
            ("edit-by-eight", "durable edits, eight writers"),
            ("batch", "edits in batches of 1,000"),
        ];
        for (kind, what) in kinds {
            let with_shared = [&SYSTEMS[..], &["sqlite-shared"]].concat();
            let systems = if kind == "edit-by-eight" { &with_shared[..] } else { &SYSTEMS };
            let mut rounds: Vec<Vec<Found>> = vec![Vec::new(); systems.len()];
            for round in 0..self.size.rounds {
                eprintln!("{what}: round {} of {}", round + 1, self.size.rounds);
                for (system, found) in systems.iter().zip(&mut rounds) {
                    found.push(self.case(kind, system, nodes).run()?);
                }
            }
            let per_edit = |name: &'static str| move |found: &Found| Some(found.get(name)? / found.get("edits")?);
            let mut rates = of_each(&rounds, median, |found| found.get("rate").copied());
            let handed = of_each(&rounds, median, per_edit("handed"));
            // Whatever else writes to the disk is counted as well, so the least is nearest.
            let device = of_each(&rounds, least, per_edit("device"));
            if let Some(shared) = rates.get(3).copied().flatten() {
                let own = rates[1].unwrap_or_default();
                self.notes.push(format!(
                    "Eight writers of SQLite: {}/s with a connection each, {}/s with one connection behind a mutex.",
                    thousands(own),
                    thousands(shared)
                ));
                rates[1] = Some(own.max(shared));
            }
            self.row(what, "/s", true, rates);
            self.row("— bytes handed to the system per edit", "B", false, handed);
            self.row("— bytes written to the device per edit", "B", false, device.clone());
            if kind == "edit" {
                let per_byte = device.into_iter().map(|bytes| Some(bytes? / change_len() as f64));
                self.row("— bytes written to the device per byte of change", "", false, per_byte);
            }
            let ours = &rounds[..1];
            let own = ["counted_written", "counted_syncs"].map(|name| of_each(ours, median, per_edit(name))[0]);
            if let [Some(written), Some(syncs)] = own {
                self.notes.push(format!(
                    "{what}: `Usage` of the store counts {} bytes and {} syncs per edit.",
                    thousands(written),
                    thousands(syncs)
                ));
            }
        }
        Ok(())
    }

    /// Syncs of edits, as the system sees them.
    fn syncs(&mut self) -> Result<(), Failure> {
        for (kind, what) in [("edit", "one writer"), ("edit-by-eight", "eight writers")] {
            let mut per_edit = Vec::new();
            for system in SYSTEMS {
                if (kind, system) == ("edit-by-eight", "driftless") {
                    // strace slows calls down, and so changes how many writers share a sync; the store counts rightly, as one
                    // writer shows.
                    let found = self.case(kind, system, self.size.edited).run()?;
                    per_edit
                        .push(found.get("counted_syncs").zip(found.get("edits")).map(|(syncs, edits)| syncs / edits));
                    continue;
                }
                let until = |edits| Case { until: Until::Done(edits), ..self.case(kind, system, self.size.edited) };
                let (few, many) = (until(self.size.traced / 2).syncs()?, until(self.size.traced).syncs()?);
                // What opening and closing sync is in both.
                per_edit.push(few.zip(many).and_then(|((few, found_few), (many, found_many))| {
                    let edits = found_many.get("edits")? - found_few.get("edits")?;
                    Some((many as f64 - few as f64) / edits)
                }));
            }
            self.row(format!("syncs per edit, {what}"), "", false, per_edit);
        }
        Ok(())
    }

    fn opening(&mut self, nodes: u64) -> Result<(), Failure> {
        let mut opened: Vec<Vec<Found>> = Vec::new();
        let mut on_disk = Vec::new();
        for system in SYSTEMS {
            let built = self.build(system, nodes)?;
            on_disk.push(Some(disk_len(&built.directory)? as f64 / nodes as f64));
            opened.push(Vec::new());
        }
        for round in 0..3 {
            eprintln!("opens {nodes} nodes: round {} of 3", round + 1);
            for (system, found) in SYSTEMS.iter().zip(&mut opened) {
                found.push(self.case("open", system, nodes).run()?);
            }
        }
        let figures = |name: &str, scale: f64| of_each(&opened, median, |found| Some(found.get(name)? * scale));
        let count = thousands(nodes as f64);
        self.row(format!("opening {count} nodes"), "ms", false, figures("seconds", 1e3));
        self.row(format!("— peak memory of that, {count} nodes"), "MB", false, figures("peak", 1e-6));
        self.row(format!("— bytes on disk per node, {count} nodes, closed"), "B", false, on_disk);
        for system in SYSTEMS {
            fs::remove_dir_all(self.case("build", system, nodes).directory)?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [ours, others @ ..] = self.figures;
        write!(f, "| {} |", self.what)?;
        for figure in self.figures {
            match figure {
                Some(figure) => write!(
                    f,
                    " {}{}{} |",
                    thousands(figure),
                    if self.unit.is_empty() || self.unit == "/s" { "" } else { " " },
                    self.unit
                )?,
                None => write!(f, " – |")?,
            }
        }
        let others = others.into_iter().flatten();
        let best = if self.more_is_better { others.reduce(f64::max) } else { others.reduce(f64::min) };
        match (ours, best) {
            (Some(ours), Some(best)) => {
                let ahead = if self.more_is_better { ours / best } else { best / ours };
                write!(f, " {ahead:.2} × {}|", if ahead < 0.995 { "(behind) " } else { "" })
            }
            _ => write!(f, " – |"),
        }
    }
}

/// A number for people: three digits that count, or all before the point.
fn thousands(number: f64) -> String {
    if number < 99.5 {
        let digits = if number < 9.95 { 2 } else { 1 };
        return format!("{number:.digits$}");
    }
    let digits = format!("{number:.0}");
    let begin = digits.len() % 3;
    let mut grouped = digits[..begin].to_owned();
    for group in digits.as_bytes()[begin..].chunks(3) {
        if !grouped.is_empty() {
            grouped.push(',');
        }
        grouped.extend(group.iter().map(|digit| char::from(*digit)));
    }
    grouped
}

/// The figure of each system, of its rounds.
fn of_each(
    rounds: &[Vec<Found>],
    of: fn(Vec<f64>) -> Option<f64>,
    figure: impl Fn(&Found) -> Option<f64>,
) -> Vec<Option<f64>> {
    rounds.iter().map(|rounds| of(rounds.iter().filter_map(&figure).collect())).collect()
}

fn least(figures: Vec<f64>) -> Option<f64> {
    figures.into_iter().reduce(f64::min)
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// Bytes that the files of a directory take on the disk.
fn disk_len(directory: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    fs::read_dir(directory)?.map(|entry| Ok(entry?.metadata()?.blocks() * 512)).sum()
}

/// How often a second 4 KiB can be written and synced, in a file that has the room.
fn sync_rate(directory: &Path, time: Duration) -> Result<f64, Failure> {
    let mut file = File::create(directory.join("syncs"))?;
    file.write_all(&vec![0; 4 << 20])?;
    file.sync_all()?;
    let (begin, block) = (Instant::now(), [1; 4096]);
    let mut syncs = 0;
    while begin.elapsed() < time {
        file.write_all_at(&block, syncs % 1024 * 4096)?;
        file.sync_data()?;
        syncs += 1;
    }
    Ok(syncs as f64 / begin.elapsed().as_secs_f64())
}
