//! Tables for people, in Markdown, and the same as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::Failure;
use crate::rows::{LIBRARIES, Row};

/// The lock file of this package, which says the releases.
const LOCK: &str = include_str!("../Cargo.lock");

/// A figure, or the reason why there is none.
type Cell = Result<f64, String>;

/// Rows of figures, one of each library.
pub(crate) struct Table {
    title: String,
    rows: Vec<(&'static str, &'static str, Vec<Cell>)>,
}

impl Table {
    pub(crate) fn new(
        title: String,
        rows: &[&Row],
        figures: &BTreeMap<(String, &'static str), f64>,
        reasons: &BTreeMap<(&'static str, &'static str), String>,
    ) -> Self {
        let cell = |row: &Row, library: &'static str| -> Cell {
            if let Some(figure) = figures.get(&(row.id.to_owned(), library)) {
                return Ok(*figure);
            }
            let without = row.without.iter().find(|(other, _)| *other == library).map(|(_, why)| (*why).to_owned());
            let ended = reasons.get(&(row.step, library)).cloned();
            Err(without.or(ended).unwrap_or_else(|| "no figure".to_owned()))
        };
        let of_row = |row: &&Row| (row.what, row.unit, LIBRARIES.map(|library| cell(row, library)).to_vec());
        Self { title, rows: rows.iter().map(of_row).collect() }
    }
}

/// Prints the machine and the releases.
pub(crate) fn print_head() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let releases: Vec<String> = LIBRARIES.iter().map(|library| format!("{library} {}", release(library))).collect();
    println!("{cores} cores. {}.\n", releases.join(", "));
}

/// The release of a package by the lock file.
fn release(package: &str) -> &'static str {
    let after = LOCK.split_once(&format!("name = \"{package}\"\nversion = \"")).map(|(_, after)| after);
    after.and_then(|after| after.split('"').next()).unwrap_or("?")
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        let has_peers = self.rows.iter().any(|(.., cells)| cells[1..].iter().any(Result::is_ok));
        let shown = if has_peers { LIBRARIES.len() } else { 1 };
        write!(f, "| |")?;
        LIBRARIES[..shown].iter().try_for_each(|library| write!(f, " {library} |"))?;
        writeln!(f, "{}", if has_peers { " against the best peer |" } else { "" })?;
        writeln!(f, "|---|{}", "---:|".repeat(if has_peers { shown + 1 } else { 1 }))?;
        for (what, unit, cells) in &self.rows {
            write!(f, "| {what} |")?;
            for cell in &cells[..shown] {
                match cell {
                    Ok(figure) => write!(f, " {} {unit} |", thousands(*figure))?,
                    Err(_) => write!(f, " – |")?,
                }
            }
            if has_peers {
                write!(f, " {} |", against_best(cells))?;
            }
            writeln!(f)?;
        }
        if !has_peers {
            return Ok(());
        }
        writeln!(f)?;
        let mut rows_without: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for (what, _, cells) in &self.rows {
            for (library, cell) in LIBRARIES.iter().zip(cells) {
                if let Err(reason) = cell {
                    rows_without.entry((library, reason)).or_default().push(what.trim_start_matches("— "));
                }
            }
        }
        for ((library, reason), rows) in rows_without {
            writeln!(f, "- – of {library}: {reason} ({}).", rows.join("; "))?;
        }
        Ok(())
    }
}

/// By how much ours is less than the least of the peers.
fn against_best(cells: &[Cell]) -> String {
    let best = cells[1..].iter().flatten().copied().reduce(f64::min);
    match (&cells[0], best) {
        (Ok(ours), Some(best)) if *ours > 0.0 && best > 0.0 => {
            let ahead = best / ours;
            format!("{} ×{}", thousands(ahead), if ahead < 0.995 { " (behind)" } else { "" })
        }
        _ => "–".to_owned(),
    }
}

/// The tables as JSON: a figure or a reason for each row and library.
pub(crate) fn json(tables: &[Table]) -> Result<String, Failure> {
    let row = |(what, unit, cells): &(&'static str, &'static str, Vec<Cell>)| {
        let cell = |(library, cell): (&&str, &Cell)| {
            let value = match cell {
                Ok(figure) => json!(figure),
                Err(reason) => json!({ "reason": reason }),
            };
            ((*library).to_owned(), value)
        };
        let figures: Map<String, Value> = LIBRARIES.iter().zip(cells).map(cell).collect();
        json!({ "row": what, "unit": unit, "figures": figures })
    };
    let table = |table: &Table| json!({ "title": table.title, "rows": table.rows.iter().map(row).collect::<Vec<_>>() });
    let releases: Map<String, Value> =
        LIBRARIES.iter().map(|library| ((*library).to_owned(), json!(release(library)))).collect();
    let all = json!({
        "seconds_since_1970": SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "releases": releases,
        "tables": tables.iter().map(table).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

/// A number for people: three digits that count, or all before the point.
pub(crate) fn thousands(number: f64) -> String {
    if number.abs() < 99.5 {
        let digits = match number.abs() {
            ..0.0995 => 3,
            ..9.95 => 2,
            _ => 1,
        };
        return format!("{number:.digits$}");
    }
    let digits = format!("{:.0}", number.abs());
    let begin = digits.len() % 3;
    let mut grouped = digits[..begin].to_owned();
    for group in digits.as_bytes()[begin..].chunks(3) {
        if !grouped.is_empty() {
            grouped.push(',');
        }
        grouped.extend(group.iter().map(|digit| char::from(*digit)));
    }
    if number < 0.0 { format!("-{grouped}") } else { grouped }
}
