//! The smallest whole run: every library takes every step and gives the same answers.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that fails should say where")]

use std::io::Write;
use std::process::{Command, Output};

use serde_json::Value;

const LINES: &str = r#"{"node": "n1", "pos": "noun", "lemmas": ["entity"], "gloss": "that which exists"}
{"node": "n2", "pos": "noun", "lemmas": ["thing", "object"], "gloss": "a separate entity"}
{"edge": "hyponym", "from": "n1", "to": "n2"}
"#;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_driftless-peers-bench")).args(arguments).output().unwrap()
}

#[test]
fn every_library_has_a_figure_or_a_reason_in_every_row() {
    let place = tempfile::tempdir().unwrap();
    let (json, wordnet) = (place.path().join("found.json"), place.path().join("wordnet.jsonl"));
    std::fs::File::create(&wordnet).unwrap().write_all(LINES.as_bytes()).unwrap();
    let output = bench(&["--smoke", "--json", json.to_str().unwrap(), "--wordnet", wordnet.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let found: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let tables = found["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 3);
    for row in tables.iter().flat_map(|table| table["rows"].as_array().unwrap()) {
        let figures = row["figures"].as_object().unwrap();
        assert_eq!(figures.len(), 5, "{row}");
        assert!(figures["driftless"].is_number(), "{row}");
        for figure in figures.values().filter(|figure| !figure.is_number()) {
            assert_ne!(figure["reason"], "no figure", "{row}");
        }
    }
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("### 1,000 nodes") && printed.contains("### WordNet"), "{printed}");
}

#[test]
fn only_the_steps_that_are_asked_for_are_shown() {
    let output = bench(&["--smoke", "--only", "load"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("| load, per node |") && !printed.contains("| build, per node |"), "{printed}");
}

#[test]
fn an_unknown_step_is_refused_by_name() {
    let output = bench(&["--only", "lod"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("`lod` is no step"));
}
