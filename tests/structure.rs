//! A module uses only modules of lower rank, or its own parts.

use std::fs;
use std::path::Path;

/// From the ground up. A file that is not listed fails the test.
const RANKS: &[(&str, u8)] = &[
    ("bugs", 1),
    ("id", 1),
    ("clock", 1),
    ("version", 1),
    ("standing", 1),
    ("error", 1),
    ("escape", 1),
    ("kind", 1),
    ("kinds", 1),
    ("numbers", 1),
    ("packed", 1),
    ("offset", 1),
    ("position", 1),
    ("tokens", 1),
    ("kernel", 2),
    ("codec", 3),
    ("count", 4),
    ("vector", 4),
    ("document", 5),
    ("diff", 5),
    ("types", 6),
    ("graph", 6),
    ("journal", 6),
    ("report", 6),
    ("budget", 6),
    ("revert", 6),
    ("conflict", 7),
    ("replica", 7),
    ("statement", 8),
    ("undo", 8),
    ("following", 8),
    ("sync", 9),
    ("testing", 10),
    ("lib", 11),
];

fn rank(module: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank)
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_module_uses_only_what_lies_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 20);
    for file in files {
        let relative = file.strip_prefix(&src).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        let own = rank(module).unwrap_or_else(|| panic!("{module} has no rank: give it one"));
        let text = fs::read_to_string(&file).unwrap();
        // Unit tests may look around, and so may files that are there for them alone.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        if code.contains("\n#![cfg(test)]\n") {
            continue;
        }
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let name = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                if name != module && module != "lib" {
                    let used = rank(name).unwrap_or_else(|| panic!("{relative:?}:{}: {name}?", number + 1));
                    assert!(used < own || used == 1, "{relative:?}:{}: {module} may not use {name}", number + 1);
                }
            }
        }
    }
}
