//! Outlines as OPML 2.0, the format that outliners exchange (<http://opml.org/spec2.opml>).
//!
//! The head is kept as it is, and so is every attribute of a bullet. What is not written back: comments and texts between bullets, which
//! the format has no meaning for; the import counts them. Which bullets are folded is the head's to say (`expansionState`), so it is
//! not written.

use std::fmt::Write;

use driftless::{Edit, EditError, Graph, NodeId, TreePlace, Value};
use roxmltree::{Document, Node};

use crate::Failed;
use crate::outline::{Outline, TREE, path};

/// Adds the bullets of a file at the end, in one edit. Returns how many things have no place in an outline.
pub(crate) fn import(outline: &mut Outline, text: &str) -> Result<usize, Failed> {
    let text = text.trim_start_matches('\u{feff}');
    let document = Document::parse(text)?;
    let root = document.root_element();
    let part = |name: &str| root.children().find(|node| node.has_tag_name(name));
    if !root.has_tag_name("opml") {
        return Err(format!("it is <{}> and not <opml>", root.tag_name().name()).into());
    }
    let body = part("body").ok_or("it has no <body>")?;
    let left_out = outline.edit(|g| {
        if let Some(head) = part("head") {
            let prefixes = root.namespaces().filter_map(|namespace| Some((namespace.name()?, namespace.uri())));
            Outline::set_head(g, inner(&head, text), prefixes)?;
        }
        // Bullets whose children are still to be added: no recursion, however deep a file nests.
        let (mut todo, mut left_out) = (vec![(body, None)], 0);
        while let Some((of, parent)) = todo.pop() {
            for child in of.children() {
                match child.has_tag_name("outline") {
                    true => todo.push((child, Some(add(g, &child, parent)?))),
                    false => left_out += usize::from(!child.is_text() || has_words(&child)),
                }
            }
        }
        Ok(left_out)
    })?;
    Ok(left_out)
}

fn has_words(node: &Node<'_, '_>) -> bool {
    node.text().is_some_and(|text| !text.trim().is_empty())
}

fn inner<'a>(node: &Node<'_, '_>, text: &'a str) -> &'a str {
    let (first, last) = (node.first_child(), node.last_child());
    let range = first.zip(last).map(|(first, last)| first.range().start..last.range().end);
    range.and_then(|range| text.get(range)).unwrap_or_default()
}

fn add(g: &mut Edit<'_, Graph>, from: &Node<'_, '_>, parent: Option<NodeId>) -> Result<NodeId, EditError> {
    let node = Outline::add(g, from.attribute("text"), parent.map_or(TreePlace::Last, TreePlace::LastIn))?;
    for attribute in from.attributes().filter(|attribute| attribute.name() != "text" || attribute.namespace().is_some())
    {
        // A name of a namespace goes with it, so that it can be declared again.
        let name = match attribute.namespace() {
            Some(namespace) => format!("{{{namespace}}}{}", attribute.name()),
            None => attribute.name().to_owned(),
        };
        g.set(node, path("attributes", &name), attribute.value())?;
    }
    Ok(node)
}

/// The outline as a file.
pub(crate) fn export(outline: &Outline) -> String {
    let head = outline.head().unwrap_or_default();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<opml version=\"2.0\"");
    for (prefix, namespace) in outline.prefixes() {
        let _ = write!(text, " xmlns:{prefix}=");
        quoted(&mut text, &namespace);
    }
    let _ = write!(text, ">\n<head>{head}</head>\n<body>\n");
    let tree = outline.graph().tree(TREE);
    let mut depths = Vec::new();
    let (strays, mut steps) = (outline.strays(), Vec::new());
    steps.extend(tree.walk().map(|step| (step.node, step.depth)));
    // Bullets that are on no walk from the top come at the end rather than nowhere.
    steps.extend(strays.iter().flat_map(|node| tree.walk_from(*node).map(|step| (step.node, step.depth))));
    for (i, (node, depth)) in steps.iter().enumerate() {
        while depths.last().is_some_and(|open| open >= depth) {
            depths.pop();
            text.push_str("</outline>\n");
        }
        text.push_str("<outline");
        if let Some(of_bullet) = outline.text(*node) {
            text.push_str(" text=");
            quoted(&mut text, &of_bullet);
        }
        attributes(&mut text, outline, *node);
        match steps.get(i + 1).is_some_and(|(_, next)| next > depth) {
            true => {
                depths.push(*depth);
                text.push_str(">\n");
            }
            false => text.push_str("/>\n"),
        }
    }
    text.push_str(&"</outline>\n".repeat(depths.len()));
    text.push_str("</body>\n</opml>\n");
    text
}

fn attributes(text: &mut String, outline: &Outline, node: NodeId) {
    let Some(node) = outline.graph().node(node) else { return };
    for (i, name) in node.properties().keys("/attributes").iter().enumerate() {
        let value = node.get(path("attributes", name));
        let Some(value) = value.as_ref().and_then(Value::as_str) else { continue };
        match name.strip_prefix('{').and_then(|name| name.split_once('}')) {
            Some((namespace, local)) => {
                let _ = write!(text, " xmlns:n{i}=");
                quoted(text, namespace);
                let _ = write!(text, " n{i}:{local}=");
            }
            None => drop(write!(text, " {name}=")),
        }
        quoted(text, value);
    }
}

/// A value of an attribute, with its quotes. Line ends and tabs would come back as spaces if they were not spelled.
fn quoted(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '"' => text.push_str("&quot;"),
            '\n' | '\r' | '\t' => drop(write!(text, "&#{};", c as u32)),
            c => text.push(c),
        }
    }
    text.push('"');
}
