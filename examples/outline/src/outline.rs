//! The bullets: a tree over the nodes of a graph.
//!
//! A bullet's text is a collaborative text: two people who edit it at once get both edits. The folded state of a bullet and the
//! other attributes that an OPML file gives it are registers. The bullets that are printed have numbers, by which a person names them.

use std::fmt::Write;

use driftless::kernel::Environment;
use driftless::{
    Conflict, ConflictKind, Content, Edit, EditError, Graph, NodeId, Owner, Path, Replica, Resolution, TreePlace,
    UndoStack,
};

use crate::Failed;

/// The name of the tree.
pub(crate) const TREE: &str = "outline";

/// The path of a bullet's text.
pub(crate) const TEXT: &str = "/text";

/// The node that holds what a file says beside its bullets.
const FILE: &str = "outline:file";

pub(crate) struct Outline {
    replica: Replica<Graph>,
    undo: UndoStack<Graph>,
}

/// One printed line.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) node: NodeId,
    pub(crate) depth: usize,
}

impl Outline {
    pub(crate) fn new() -> Self {
        Self { replica: Replica::new(), undo: UndoStack::new() }
    }

    /// One whose clock counts its own edits, so that a script shows the same each time.
    pub(crate) fn scripted(seed: u8) -> Self {
        Self { replica: Replica::with_environment(Scripted { now: seed.into(), seed }), undo: UndoStack::new() }
    }

    pub(crate) fn replica(&mut self) -> &mut Replica<Graph> {
        &mut self.replica
    }

    pub(crate) fn graph(&self) -> &Graph {
        self.replica.state()
    }

    /// One edit, which `undo` takes back.
    pub(crate) fn edit<R>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_, Graph>) -> Result<R, EditError>,
    ) -> Result<R, EditError> {
        self.undo.edit(&mut self.replica, edit).map(|(result, _)| result)
    }

    pub(crate) fn undo(&mut self) -> Result<String, Failed> {
        let undone = self.undo.undo(&mut self.replica)?;
        self.tell(undone.map(|(back, _)| back.left().is_empty()), "nothing to undo")
    }

    pub(crate) fn redo(&mut self) -> Result<String, Failed> {
        let redone = self.undo.redo(&mut self.replica)?;
        self.tell(redone.map(|(back, _)| back.left().is_empty()), "nothing to redo")
    }

    fn tell(&self, is_whole: Option<bool>, nothing: &str) -> Result<String, Failed> {
        match is_whole {
            None => Err(nothing.into()),
            Some(true) => Ok(self.show()),
            Some(false) => Ok(format!("{}what others have changed since stays\n", self.show())),
        }
    }

    pub(crate) fn text(&self, node: NodeId) -> Option<String> {
        Some(self.graph().node(node)?.text(TEXT)?.to_string())
    }

    /// The text on one line.
    fn one_line(&self, node: NodeId) -> String {
        self.text(node).unwrap_or_default().replace('\n', " ⏎ ")
    }

    pub(crate) fn is_folded(&self, node: NodeId) -> bool {
        self.graph().node(node).and_then(|node| node.get("/folded")) == Some(true.into())
    }

    /// The head of the file, which stands before the bullets.
    pub(crate) fn head(&self) -> Option<&str> {
        self.graph().node(NodeId::named(FILE))?.get("/head")?.as_str()
    }

    /// The prefixes of names that the head may use, with their namespaces.
    pub(crate) fn prefixes(&self) -> Vec<(String, String)> {
        let Some(file) = self.graph().node(NodeId::named(FILE)) else { return Vec::new() };
        let namespace = |prefix: &String| Some(file.get(path("prefixes", prefix))?.as_str()?.to_owned());
        let prefixes = file.properties().keys("/prefixes").into_iter();
        prefixes.filter_map(|prefix| Some((prefix.clone(), namespace(&prefix)?))).collect()
    }

    pub(crate) fn set_head<'a>(
        g: &mut Edit<'_, Graph>,
        head: &str,
        prefixes: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), EditError> {
        let file = g.add_node(FILE)?;
        g.set(file, "/head", head)?;
        for (prefix, namespace) in prefixes {
            g.set(file, path("prefixes", prefix), namespace)?;
        }
        Ok(())
    }

    /// Adds a bullet; one of a file may lack a text.
    pub(crate) fn add<'t>(
        g: &mut Edit<'_, Graph>,
        text: impl Into<Option<&'t str>>,
        place: TreePlace,
    ) -> Result<NodeId, EditError> {
        let node = g.add_node(NodeId::new())?;
        if let Some(text) = text.into() {
            g.text_mut(node, TEXT).update(text)?;
        }
        g.tree_mut(TREE).put(node, place)?;
        Ok(node)
    }

    /// Cuts a bullet in two: the text from an index on goes to a new bullet after it, and the bullets under it stay.
    ///
    /// Text that others type in the second half at the same time stays in the first bullet, because it was written to that one.
    pub(crate) fn split(&mut self, node: NodeId, at: usize) -> Result<(), Failed> {
        let tail: String = self.text(node).unwrap_or_default().chars().skip(at).collect();
        let split = self.edit(|g| {
            g.text_mut(node, TEXT).delete(at..at + tail.chars().count())?;
            Self::add(g, tail.as_str(), TreePlace::After(node))
        });
        Ok(split.map(drop)?)
    }

    /// Joins a bullet to its previous sibling: the text goes to the end of the sibling's text, and the bullets under it go under the
    /// sibling. The joined bullet is deleted, with its attributes.
    pub(crate) fn join(&mut self, node: NodeId) -> Result<(), Failed> {
        let tree = self.graph().tree(TREE);
        let before = tree.previous_sibling(node).ok_or("there is no bullet before it to join it to")?;
        let under: Vec<NodeId> = tree.children(node).collect();
        let [end, text] = [before, node].map(|node| self.text(node).unwrap_or_default());
        let joined = self.edit(|g| {
            g.text_mut(before, TEXT).insert(end.chars().count(), &text)?;
            for child in under {
                g.tree_mut(TREE).put(child, TreePlace::LastIn(before))?;
            }
            g.remove_node(node)
        });
        Ok(joined.map(drop)?)
    }

    /// The printed lines: all bullets, but for those under folded ones.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let (mut lines, mut folded) = (Vec::new(), None);
        for step in self.graph().tree(TREE).walk() {
            if folded.is_some_and(|depth| step.depth > depth) {
                continue;
            }
            folded = self.is_folded(step.node).then_some(step.depth);
            lines.push(Line { node: step.node, depth: step.depth });
        }
        lines
    }

    /// Bullets that are on no walk from the top, because of what was done elsewhere: nothing is lost in silence.
    pub(crate) fn strays(&self) -> Vec<NodeId> {
        let tree = self.graph().tree(TREE);
        tree.orphans().map(|(_, node)| node).chain(tree.detached()).collect()
    }

    /// A bullet by its number.
    pub(crate) fn find(&self, number: &str) -> Result<NodeId, Failed> {
        let lines: Vec<NodeId> = self.lines().iter().map(|line| line.node).chain(self.strays()).collect();
        let found = number.parse::<usize>().ok().and_then(|number| lines.get(number.checked_sub(1)?).copied());
        found.ok_or_else(|| format!("there is no bullet {number}; give a number from 1 to {}", lines.len()).into())
    }

    pub(crate) fn show(&self) -> String {
        let mut text = String::new();
        let lines = self.lines();
        for (i, line) in lines.iter().enumerate() {
            let hidden = match self.is_folded(line.node) {
                true => self.graph().tree(TREE).walk_from(line.node).count() - 1,
                false => 0,
            };
            let _ = write!(text, "{:>3}  {}- {}", i + 1, "  ".repeat(line.depth), self.one_line(line.node));
            match hidden {
                0 => text.push('\n'),
                _ => drop(writeln!(text, " (+{hidden})")),
            }
        }
        if lines.is_empty() {
            text.push_str("     (nothing yet: `add TEXT`)\n");
        }
        for (i, node) in self.strays().into_iter().enumerate() {
            let _ = writeln!(text, "{:>3}  ? {}", lines.len() + i + 1, self.one_line(node));
        }
        let conflicts = self.graph().conflicts().count();
        if conflicts > 0 {
            let _ = writeln!(text, "     {conflicts} to settle: `conflicts`");
        }
        text
    }

    pub(crate) fn conflicts(&self) -> String {
        let mut text = String::new();
        for (i, conflict) in self.graph().conflicts().enumerate() {
            let _ = writeln!(text, "{:>3}  {}", i + 1, self.describe(&conflict));
        }
        if text.is_empty() { "nothing to settle\n".to_owned() } else { text }
    }

    fn describe(&self, conflict: &Conflict<'_>) -> String {
        let of = match conflict.of {
            Some(Owner::Node(node)) => self.one_line(node),
            _ => String::new(),
        };
        let parent = |parent: &Option<NodeId>| match parent {
            Some(parent) => format!("under \"{}\"", self.one_line(*parent)),
            None => "at the top".to_owned(),
        };
        let all = conflict.candidates.iter().map(|candidate| match &candidate.content {
            Content::Place { parent: at, .. } => parent(at),
            other => other.to_string(),
        });
        let all = all.collect::<Vec<_>>().join(" | ");
        match &conflict.kind {
            ConflictKind::ConcurrentMove { .. } => format!("\"{of}\" was moved to several places: {all}"),
            ConflictKind::Circle { .. } => format!("\"{of}\" was moved under what is under it; it shows {all}"),
            ConflictKind::Detached { .. } => format!("\"{of}\" has no place left: {all}"),
            ConflictKind::Orphaned { .. } => format!("\"{of}\" is under a bullet that was deleted"),
            ConflictKind::EditDelete => format!("a bullet was deleted while somebody wrote to it: {all}"),
            _ => format!("{of}: {all}"),
        }
    }

    /// Settles a conflict by its number in the list.
    pub(crate) fn settle(&mut self, number: &str, how: &str) -> Result<String, Failed> {
        let listed = number.parse::<usize>().ok().and_then(|n| self.graph().conflicts().nth(n.checked_sub(1)?));
        let conflict = listed.ok_or("there is no such conflict; `conflicts` lists them")?;
        let resolution = match how {
            "confirm" => Resolution::Confirm,
            "latest" => Resolution::LastWriter,
            "restore" => Resolution::Restore,
            "delete" => Resolution::Delete,
            number => {
                let chosen = number.parse::<usize>().ok().and_then(|n| conflict.candidates.get(n.checked_sub(1)?));
                let chosen = chosen.ok_or("say confirm, latest, restore, delete, or the number of a candidate")?;
                Resolution::Pick(chosen.dot)
            }
        };
        let (id, of) = (conflict.id, conflict.of);
        self.edit(|g| {
            g.resolve(id, resolution)?;
            match of {
                // The place of a deleted bullet was deleted with it.
                Some(Owner::Node(node)) if how == "restore" && !g.tree(TREE).contains(node) => {
                    g.tree_mut(TREE).put(node, TreePlace::Last)
                }
                _ => Ok(()),
            }
        })?;
        Ok(self.show())
    }
}

/// The path of a property whose name may hold whatever names hold.
pub(crate) fn path(map: &str, name: &str) -> Path {
    Path::new([map, name]).unwrap_or_default()
}

/// A clock that counts, and ids that follow from a seed.
struct Scripted {
    now: u64,
    seed: u8,
}

impl Environment for Scripted {
    fn now_ms(&mut self) -> u64 {
        // Two of them never tell the same time.
        self.now += 2;
        self.now
    }

    fn random(&mut self) -> [u8; 16] {
        [self.seed; 16]
    }
}
