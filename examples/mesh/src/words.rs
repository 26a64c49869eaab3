//! Numbers, times and texts as a person reads them.

use std::time::Duration;

pub(crate) fn ms(duration: Duration) -> f64 {
    // Two digits are what a single run can tell.
    (duration.as_secs_f64() * 1e5).round() / 100.0
}

pub(crate) fn milliseconds(duration: Duration) -> String {
    match duration.as_millis() {
        0..1000 => format!("{:.1} ms", ms(duration)),
        millis => format!("{} ms", count(millis)),
    }
}

pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// With a comma between thousands.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or_default().to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|g| str::from_utf8(g).ok()).collect();
    groups.join(",")
}

/// The time of day (UTC).
pub(crate) fn time(millis: u64) -> String {
    let seconds = millis / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// At most `width` characters; the middle gives way, since texts that compete tend to differ at an end.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= width {
        return text.to_owned();
    }
    let head = width.saturating_sub(3) / 2;
    let tail = width.saturating_sub(3 + head);
    chars[..head].iter().chain(&['.'; 3]).chain(&chars[chars.len() - tail..]).collect()
}

/// `one relation`, `3 relations`.
pub(crate) fn plural(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", count(number as u64)) }
}

/// Columns side by side: text to the left, what begins with a digit or is headed by `>` to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A heading that begins with `>` makes a column of numbers.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn lines(mut self) -> Vec<String> {
        let Some(headings) = self.rows.first_mut() else { return Vec::new() };
        let right: Vec<bool> = headings.iter().map(|heading| heading.starts_with('>')).collect();
        headings.iter_mut().for_each(|heading| *heading = heading.trim_start_matches('>').to_owned());
        let width = |i: usize| self.rows.iter().filter_map(|row| row.get(i)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..right.len()).map(|i| width(i).unwrap_or_default()).collect();
        let pad = |(i, cell): (usize, &String)| match right.get(i) {
            Some(true) => format!("{cell:>width$}", width = widths[i]),
            _ => format!("{cell:<width$}", width = widths.get(i).copied().unwrap_or_default()),
        };
        let line = |row: &Vec<String>| row.iter().enumerate().map(pad).collect::<Vec<_>>().join("  ");
        self.rows.iter().map(|row| format!("  {}", line(row)).trim_end().to_owned()).collect()
    }
}
