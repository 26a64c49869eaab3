//! The program as a person starts it.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn outline() -> Command {
    Command::new(env!("CARGO_BIN_EXE_outline"))
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// `two.expected` is what it printed when somebody had read it, line by line.
#[test]
fn a_script_shows_what_it_showed() {
    let run = || outline().arg("--script").arg(here("two.script")).output().unwrap();
    let output = run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8(output.stdout).unwrap();
    let expected = fs::read_to_string(here("two.expected")).unwrap_or_default();
    if shown != expected {
        fs::write(beside("two.shown"), &shown).unwrap();
    }
    assert_eq!(shown, expected);
}

/// Two edits of a bullet that says "black tea with milk", made apart, and the bullets that both show once they have synced.
const EDITS: [[&str; 3]; 5] = [
    ["edit 1 green tea with milk", "edit 1 black tea with oat milk", "  1  - green tea with oat milk\n"],
    ["type 1 9 ,", "erase 1 0 6", "  1  - tea, with milk\n"],
    ["erase 1 0 6", "erase 1 5 9", "  1  -  with milk\n"],
    ["split 1 9", "edit 1 strong black tea with milk", "  1  - strong black tea\n  2  -  with milk\n"],
    ["edit 1 green tea with milk", "edit 1 green tea with milk", "  1  - green tea with milk\n"],
];

#[test]
fn concurrent_edits_of_one_bullet_are_both_kept() {
    for (i, [a, b, both]) in EDITS.into_iter().enumerate() {
        for (order, [a, b]) in [[a, b], [b, a]].into_iter().enumerate() {
            let script = beside(&format!("edits-{i}-{order}.script"));
            fs::write(&script, format!("a: add black tea with milk\nsync\na: {a}\nb: {b}\nsync\n")).unwrap();
            let output = outline().arg("--script").arg(script).output().unwrap();
            let shown = String::from_utf8(output.stdout).unwrap();
            assert!(shown.ends_with(&format!("> sync\n{both}both show this\n")), "{shown}");
        }
    }
}

/// A bullet with its attributes, in order of their names, and what is under it.
type Bullet = (Vec<(String, String)>, Vec<usize>);

fn bullets(text: &str) -> Vec<Bullet> {
    let document = roxmltree::Document::parse(text).unwrap();
    let all: Vec<_> = document.descendants().filter(|node| node.has_tag_name("outline")).collect();
    let place = |of: &roxmltree::Node<'_, '_>| all.iter().position(|node| node == of).unwrap();
    let bullet = |node: &roxmltree::Node<'_, '_>| {
        let name = |a: roxmltree::Attribute<'_, '_>| format!("{}:{}", a.namespace().unwrap_or_default(), a.name());
        let mut attributes: Vec<_> = node.attributes().map(|a| (name(a), a.value().to_owned())).collect();
        attributes.sort();
        (attributes, node.children().filter(|child| child.has_tag_name("outline")).map(|child| place(&child)).collect())
    };
    all.iter().map(bullet).collect()
}

#[test]
fn a_file_of_awkward_content_goes_round_without_loss() {
    let (original, copy) = (fs::read_to_string(here("awkward.opml")).unwrap(), beside("awkward.opml"));
    fs::write(&copy, &original).unwrap();
    for _ in 0..2 {
        let mut child = outline().arg("--data").arg(&copy).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"quit\n").unwrap();
        assert!(child.wait().unwrap().success());
        let written = fs::read_to_string(&copy).unwrap();
        assert_eq!(bullets(&written), bullets(&original));
        assert!(bullets(&written).len() > 12);
        let head = |text: &str| {
            let document = roxmltree::Document::parse(text).unwrap();
            let head = document.descendants().find(|node| node.has_tag_name("head")).unwrap();
            text[head.range()].to_owned()
        };
        assert_eq!(head(&written), head(&original));
    }
}

#[test]
fn files_that_are_none_are_refused() {
    for (i, text) in ["", "<html/>", "<opml><head/></opml>", "<opml><body><outline></opml>"].into_iter().enumerate() {
        let file = beside(&format!("none-{i}.opml"));
        fs::write(&file, text).unwrap();
        let output = outline().arg("--data").arg(&file).output().unwrap();
        assert!(!output.status.success() && !output.stderr.is_empty(), "{text}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_side_by_side_over_a_socket_show_the_same() {
    let start = |args: &[&str]| {
        let mut child = outline().args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        (Running(child), input, output.lines().map(Result::unwrap))
    };
    let (_listening, mut ada, mut shown_to_ada) = start(&["--listen", "127.0.0.1:0"]);
    let first = shown_to_ada.next().unwrap();
    let address = first.strip_prefix("listening on ").unwrap();
    writeln!(ada, "add Tea").unwrap();
    let (_connected, mut eve, mut shown_to_eve) = start(&["--connect", address]);
    assert!(shown_to_eve.any(|line| line == "  1  - Tea"));
    writeln!(eve, "under 1 with milk").unwrap();
    assert!(shown_to_ada.any(|line| line == "  2    - with milk"));
    writeln!(ada, "before 1 Cake").unwrap();
    assert!(shown_to_eve.any(|line| line == "  1  - Cake"));
    writeln!(ada, "type 3 9 \" and sugar\"").unwrap();
    assert!(shown_to_eve.any(|line| line == "  3    - with milk and sugar"));
}
