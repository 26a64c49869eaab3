//! What an agent remembers.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use driftless::{Graph, Metric, Model, Node, NodeId, Resolution, Stamp, sync};
use driftless_store::{AuditAction, AuditEntry, Store, StoreError};

use crate::words;

type Failed = Box<dyn Error>;

const NOTE: &str = "Note";
const PERSONA: &str = "persona";
/// So many notes are found.
const FOUND: usize = 5;
/// So many changes are told of.
const LATELY: usize = 20;
/// Notes that are less alike than this are not found by likeness.
const ALIKE: f32 = 0.35;

pub(crate) struct Memory {
    store: Store<Graph>,
    model: Model,
}

impl Memory {
    pub(crate) fn new(store: Store<Graph>) -> Result<Self, Failed> {
        Ok(Self { store, model: words::model()? })
    }

    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.store.close()
    }

    /// The note and its vector are one edit, and with them how many notes this device has taken.
    pub(crate) fn add(&mut self, text: &str, labels: &[String]) -> Result<String, Failed> {
        let vector = words::vector(text).transpose()?;
        let taken = self.taken() + 1;
        let (id, _) = self.store.try_edit_with(|g, table| {
            let edited = (|| {
                let id = g.add_node(NodeId::new())?;
                g.label(id, NOTE)?;
                labels.iter().try_for_each(|label| g.label(id, label))?;
                g.set(id, "/text", text)?;
                if let Some(vector) = &vector {
                    g.embed(id, &self.model, vector)?;
                }
                Ok(id)
            })();
            table.put("taken", taken.to_le_bytes());
            edited.map_err(StoreError::Edit)
        })?;
        Ok(format!("{id}\n"))
    }

    /// How many notes this device has taken: nobody else's business, so it is in the local table.
    pub(crate) fn taken(&self) -> u64 {
        let bytes = self.store.get("taken").and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }

    pub(crate) fn link(&mut self, from: &str, relation: &str, to: &str) -> Result<String, Failed> {
        let (from, to) = (self.find(from)?, self.find(to)?);
        let (edge, _) = self.store.edit(|g| g.link(from, relation, to))?;
        Ok(format!("{edge}\n"))
    }

    /// Those that have all the words first, then those that are alike.
    pub(crate) fn search(&self, query: &str) -> Result<String, Failed> {
        let wanted: BTreeSet<String> = words::words(query).collect();
        let state = self.store.state();
        let has_all = |node: &Node<'_>| {
            let held: BTreeSet<String> = words::words(text(node)).collect();
            wanted.is_subset(&held)
        };
        let mut found: Vec<NodeId> = notes(state).filter(has_all).map(|node| node.id()).take(FOUND).collect();
        if let Some(numbers) = words::numbers(query) {
            let alike = state.nearest(&self.model, &numbers, Metric::Cosine, FOUND)?;
            found.extend(alike.into_iter().filter(|near| near.score >= ALIKE).map(|near| near.node));
        }
        let mut seen = BTreeSet::new();
        found.retain(|id| seen.insert(*id));
        Ok(found.into_iter().take(FOUND).filter_map(|id| state.node(id)).map(|node| line(&node)).collect())
    }

    pub(crate) fn show(&self, id: &str) -> Result<String, Failed> {
        let state = self.store.state();
        let id = self.find(id)?;
        let node = state.node(id).ok_or("it is gone")?;
        let mut shown = line(&node);
        for label in node.labels() {
            writeln!(shown, "  is a {}", label.escape_debug())?;
        }
        for edge in state.outgoing(id) {
            writeln!(shown, "  {} {:.8}", edge.edge_type().escape_debug(), edge.target().to_string())?;
        }
        Ok(shown)
    }

    pub(crate) fn forget(&mut self, id: &str) -> Result<String, Failed> {
        let id = self.find(id)?;
        self.store.edit(|g| g.remove_node_with_edges(id))?;
        Ok("forgotten\n".to_owned())
    }

    pub(crate) fn persona(&self, path: &str) -> Result<String, Failed> {
        let node = self.store.state().node(NodeId::named(PERSONA));
        let Some(node) = node else { return Ok("null\n".to_owned()) };
        let whole: Option<serde_json::Value> = node.properties().deserialize("")?;
        let part = whole.as_ref().and_then(|whole| whole.pointer(path));
        Ok(format!("{:#}\n", part.unwrap_or(&serde_json::Value::Null)))
    }

    pub(crate) fn set_persona(&mut self, path: &str, json: &str) -> Result<String, Failed> {
        let value: serde_json::Value = serde_json::from_str(json)?;
        self.store.edit(|g| {
            let persona = g.add_node(PERSONA)?;
            g.update(persona, path, &value)
        })?;
        self.persona(path)
    }

    pub(crate) fn conflicts(&self) -> String {
        self.store.state().conflicts().map(|conflict| format!("{} {conflict}\n", conflict.id.short())).collect()
    }

    /// Candidates are numbered from 1, in the order in which they are listed. What was deleted while it was written to is restored or
    /// deleted.
    pub(crate) fn settle(&mut self, conflict: &str, how: &str) -> Result<String, Failed> {
        let found = self.store.state().conflict(conflict)?;
        let id = found.id;
        let resolution = match how {
            "restore" => Resolution::Restore,
            "delete" => Resolution::Delete,
            number => {
                let index = number.parse::<usize>()?.checked_sub(1);
                let candidate = index.and_then(|index| found.candidates.get(index));
                Resolution::Pick(candidate.ok_or("there is no candidate of this number")?.dot)
            }
        };
        self.store.edit(|g| g.resolve(id, resolution))?;
        Ok("settled\n".to_owned())
    }

    pub(crate) fn notes(&self) -> String {
        let mut notes: Vec<Node<'_>> = notes(self.store.state()).collect();
        // Ids of nodes begin with the time at which they were made.
        notes.sort_by_key(|node| std::cmp::Reverse(node.id()));
        let lines: String = notes.iter().map(line).collect();
        format!("{lines}{} notes; {} were taken here\n", notes.len(), self.taken())
    }

    /// What the audit of the store says, the latest first.
    pub(crate) fn log(&self) -> Result<String, Failed> {
        let entries = self.store.audit()?;
        Ok(entries.iter().rev().take(LATELY).map(told).collect())
    }

    pub(crate) fn sync(&mut self, other: &mut Self, from: &str) -> Result<String, Failed> {
        self.store.set_origin(Some(from));
        let synced = sync::in_memory(&mut self.store, &mut other.store);
        self.store.set_origin(None);
        let (here, there) = synced?;
        let conflicts = self.store.state().conflicts().count();
        Ok(format!("{} came, {} went, {conflicts} conflicts\n", here.merged.len(), there.merged.len()))
    }

    pub(crate) fn backup(&self, directory: &Path) -> Result<String, Failed> {
        self.store.backup_to(directory)?;
        Ok("copied\n".to_owned())
    }

    /// The one note whose id begins so.
    fn find(&self, prefix: &str) -> Result<NodeId, Failed> {
        let mut found = notes(self.store.state()).map(|node| node.id()).filter(|id| id.to_string().starts_with(prefix));
        let first = found.next().ok_or_else(|| format!("no note's id begins with `{}`", prefix.escape_debug()))?;
        match found.next() {
            None => Ok(first),
            Some(_) => Err(format!("several notes' ids begin with `{}`", prefix.escape_debug()).into()),
        }
    }
}

fn notes(graph: &Graph) -> impl Iterator<Item = Node<'_>> + '_ {
    graph.nodes().filter(|node| node.has_label(NOTE))
}

fn text<'a>(node: &Node<'a>) -> &'a str {
    node.get("/text").and_then(|text| text.as_str()).unwrap_or_default()
}

fn told(entry: &AuditEntry) -> String {
    let what = match entry.action {
        AuditAction::Edit => "edit",
        AuditAction::Merge => "merge",
        AuditAction::Refused => "refused merge",
        _ => "repair",
    };
    let from = entry.origin.as_ref().map_or(String::new(), |origin| format!(" from {}", origin.escape_debug()));
    let conflicts = match (entry.opened, entry.closed) {
        (0, 0) => String::new(),
        (opened, closed) => format!(", conflicts: {opened} opened, {closed} closed"),
    };
    let reason = entry.reason.as_ref().map_or(String::new(), |reason| format!(" ({})", reason.escape_debug()));
    format!("{} {what}{from}: {} writes{conflicts}{reason}\n", Stamp::new(entry.at_millis, 0), entry.writes)
}

fn line(node: &Node<'_>) -> String {
    format!("{} {}\n", node.id(), text(node).escape_debug())
}
