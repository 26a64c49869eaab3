//! How the story looks.

use std::fmt::Display;

use driftless::{Conflict, ConflictKind, Content, Document};

use crate::device::name_of;
use crate::model::Persona;

/// So wide is a line at most.
const WIDTH: usize = 100;
/// Where the words of an event begin.
const INDENT: usize = 15;
/// So long is the bar of a weight of one.
const BAR: usize = 10;

/// What has been told so far.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) text: String,
    chapters: usize,
}

impl Page {
    pub(crate) fn line(&mut self, line: impl Display) {
        self.text.push_str(format!("  {line}").trim_end());
        self.text.push('\n');
    }

    pub(crate) fn chapter(&mut self, title: &str, lines: &[&str]) {
        self.chapters += 1;
        let head = format!("── {}  {title} ", self.chapters);
        // One empty line before a chapter, whatever the last one ended with.
        self.text.truncate(self.text.trim_end().len());
        let before = if self.text.is_empty() { "" } else { "\n\n" };
        self.text.push_str(&format!("{before}{head:─<WIDTH$}\n\n"));
        lines.iter().for_each(|line| self.line(line));
        self.line("");
    }

    pub(crate) fn event(&mut self, millis: u64, who: &str, what: impl Display) {
        self.line(format!("{}  {who:<6}  {what}", clock(millis)));
    }

    /// What follows from an event, below it, in as many lines as it takes.
    pub(crate) fn outcome(&mut self, what: impl Display) {
        let (margin, mut line) = (" ".repeat(INDENT), String::new());
        for word in what.to_string().split_whitespace() {
            if !line.is_empty() && 2 + INDENT + line.chars().count() + word.chars().count() >= WIDTH {
                self.line(format!("{margin}{line}"));
                line.clear();
            }
            line += if line.is_empty() { "" } else { " " };
            line += word;
        }
        self.line(format!("{margin}{line}"));
    }

    /// Says something only if it is true.
    pub(crate) fn check(&mut self, claim: &str, holds: bool) -> Result<(), String> {
        self.line(format!("✓ {claim}"));
        if holds { Ok(()) } else { Err(format!("it is not true that {claim}")) }
    }

    pub(crate) fn conflicts(&mut self, document: &Document) {
        document.conflicts().for_each(|conflict| self.conflict(document, &conflict));
    }

    fn conflict(&mut self, document: &Document, conflict: &Conflict<'_>) {
        let what = match conflict.kind {
            ConflictKind::ConcurrentEdit => format!("{} values", conflict.candidates.len()),
            ConflictKind::Kind => format!("{} kinds", conflict.candidates.len()),
            _ => String::new(),
        };
        self.line(format!("{}: {what}", conflict.path));
        for (i, candidate) in conflict.candidates.iter().enumerate() {
            let shows = if i == 0 { "shows" } else { "" };
            let (who, when) = (name_of(document, candidate.replica()), clock(candidate.stamp.millis()));
            let content = match &candidate.content {
                Content::Kind { kind, reads } => format!("as a {kind}: {reads}"),
                content => content.to_string(),
            };
            self.line(format!("  {shows:<5}  {when}  {who:<6}  {content}"));
        }
    }

    pub(crate) fn persona(&mut self, persona: &Persona) {
        card(persona).iter().for_each(|line| self.line(line));
    }
}

/// A persona as a person reads it.
pub(crate) fn card(persona: &Persona) -> Vec<String> {
    let Persona { profile, preferences, traits, interests, last_talk, memories, devices } = persona;
    let mut card = vec![format!("{}, {}", profile.name, profile.role), format!("“{}”", profile.bio)];
    let weight = |(name, weight): (&String, &f64)| format!("{} {weight:.2} {name}", bar(*weight));
    section(&mut card, "traits", traits.iter().map(weight));
    section(&mut card, "preferences", preferences.iter().map(|(name, value)| format!("{name}: {value}")));
    section(&mut card, "interests", [interests.iter().map(String::as_str).collect::<Vec<_>>().join(", ")]);
    let memories = memories.values().flat_map(|memory| {
        let tags: Vec<String> = memory.tags.iter().map(|tag| format!("#{tag}")).collect();
        let (by, at) = (&memory.said_by, date(&memory.said_at));
        let sure = format!("{} {:.2} sure", bar(memory.confidence), memory.confidence);
        let recalled = format!("recalled {}×", memory.recalled);
        [format!("{}  {}", memory.text, tags.join(" ")), format!("  {sure}, {recalled}; source: {by}, {at}")]
    });
    section(&mut card, "memories", memories);
    section(&mut card, "last talk", [date(last_talk)]);
    section(&mut card, "lives on", [devices.values().map(String::as_str).collect::<Vec<_>>().join(", ")]);
    card
}

fn section(card: &mut Vec<String>, title: &str, lines: impl IntoIterator<Item = String>) {
    let titles = std::iter::once(title).chain(std::iter::repeat(""));
    card.extend(titles.zip(lines).map(|(title, line)| format!("  {title:<13}{line}")));
}

fn bar(weight: f64) -> String {
    // A weight out of range makes no longer bar.
    let full = ((weight * BAR as f64).round() as usize).min(BAR);
    "█".repeat(full) + &"░".repeat(BAR - full)
}

/// The time of day (UTC).
fn clock(millis: u64) -> String {
    let minutes = millis / 60_000 % (24 * 60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The day and minute of a time as text.
fn date(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}
