//! Lines that a person types.

use driftless::{NodeId, TreePlace};

use crate::Failed;
use crate::outline::{Outline, TEXT, TREE};

const HELP: &str = "\
  add TEXT             adds a bullet at the end
  under N TEXT         adds one under bullet N, as its last
  before N TEXT        adds one before bullet N
  after N TEXT         adds one after bullet N
  edit N TEXT          writes another text; words that stay are kept, so two can edit one bullet at once
  type N AT TEXT       types text after the first AT characters; in \"quotes\" it keeps its spaces
  erase N FROM TO      erases the characters from FROM up to TO, counted from 0
  split N AT           moves the text after the first AT characters to a new bullet after it
  join N               joins it to the one before it
  move N under M       moves a bullet with all that is under it; also `before M`, `after M`, `top`
  in N, out N          moves it under the one before it, or after the one above it
  up N, down N         swaps it with a neighbour
  fold N               folds what is under it, or unfolds it
  delete N             deletes it with all that is under it
  undo, redo           takes back what you did, and not what others did
  conflicts            lists what you disagree on
  settle N HOW         settles one of them: confirm, latest, restore, delete, or the number of a candidate
  show                 prints the outline
  sync, save, quit
";

/// Does what a line says, and tells what shows then.
pub(crate) fn answer(outline: &mut Outline, line: &str) -> Result<String, Failed> {
    let (word, rest) = first(line);
    match (word, rest) {
        ("", "") | ("show", "") => {}
        ("help", "") => return Ok(HELP.to_owned()),
        ("add", text) => drop(outline.edit(|g| Outline::add(g, text, TreePlace::Last))?),
        ("under" | "before" | "after", rest) => {
            let (number, text) = first(rest);
            let place = place(word, outline.find(number)?);
            outline.edit(|g| Outline::add(g, text, place))?;
        }
        ("edit", rest) => {
            let (number, text) = first(rest);
            let node = outline.find(number)?;
            outline.edit(|g| g.text_mut(node, TEXT).update(text))?;
        }
        ("type", rest) => {
            let (number, rest) = first(rest);
            let (at, text) = first(rest);
            let (node, at) = (outline.find(number)?, index(at)?);
            outline.edit(|g| g.text_mut(node, TEXT).insert(at, unquoted(text)))?;
        }
        ("erase", rest) => {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let [number, from, to] = words[..] else { return Err("say `erase N FROM TO`".into()) };
            let (node, range) = (outline.find(number)?, index(from)?..index(to)?);
            outline.edit(|g| g.text_mut(node, TEXT).delete(range))?;
        }
        ("split", rest) => {
            let (number, at) = first(rest);
            let node = outline.find(number)?;
            outline.split(node, index(at)?)?;
        }
        ("join", number) => {
            let node = outline.find(number)?;
            outline.join(node)?;
        }
        ("move", rest) => {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let (node, place) = match words[..] {
                [number, "top"] => (outline.find(number)?, TreePlace::Last),
                [number, way @ ("under" | "before" | "after"), to] => {
                    (outline.find(number)?, place(way, outline.find(to)?))
                }
                _ => return Err("say `move N under M`, `before M`, `after M` or `top`".into()),
            };
            put(outline, node, place)?;
        }
        ("in" | "out" | "up" | "down", number) => {
            let node = outline.find(number)?;
            let tree = outline.graph().tree(TREE);
            let place = match word {
                "in" => tree.previous_sibling(node).map(TreePlace::LastIn),
                "out" => tree.parent(node).map(TreePlace::After),
                "up" => tree.previous_sibling(node).map(TreePlace::Before),
                _ => tree.next_sibling(node).map(TreePlace::After),
            };
            put(outline, node, place.ok_or("there is nowhere to go")?)?;
        }
        ("fold", number) => {
            let node = outline.find(number)?;
            let is_folded = outline.is_folded(node);
            outline.edit(|g| g.set(node, "/folded", !is_folded))?;
        }
        ("delete", number) => {
            let node = outline.find(number)?;
            outline.edit(|g| g.tree_mut(TREE).remove_with_descendants(node))?;
        }
        ("undo", "") => return outline.undo(),
        ("redo", "") => return outline.redo(),
        ("conflicts", "") => return Ok(outline.conflicts()),
        ("settle", rest) => {
            let (number, how) = rest.split_once(' ').ok_or("say `settle N HOW`")?;
            return outline.settle(number, how.trim());
        }
        _ => return Err(format!("`{word}` is nothing to do here; `help` lists what is").into()),
    }
    Ok(outline.show())
}

/// The first word of a line, and the rest.
fn first(line: &str) -> (&str, &str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    (word, rest.trim())
}

fn index(word: &str) -> Result<usize, Failed> {
    word.parse().map_err(|_| format!("`{word}` is no number of characters").into())
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

fn place(way: &str, of: NodeId) -> TreePlace {
    match way {
        "before" => TreePlace::Before(of),
        "after" => TreePlace::After(of),
        _ => TreePlace::LastIn(of),
    }
}

fn put(outline: &mut Outline, node: NodeId, place: TreePlace) -> Result<(), Failed> {
    Ok(outline.edit(|g| g.tree_mut(TREE).put(node, place))?)
}
