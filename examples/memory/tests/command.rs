//! The command as people run it, and killed while it runs.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

fn command(directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memory"));
    command.arg(directory).args(words).env("MEMORY_DEVICE", directory.file_name().unwrap());
    command
}

/// What a command says; it must succeed.
fn said(directory: &Path, words: &[&str]) -> String {
    let out = command(directory, words).output().unwrap();
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn refused(directory: &Path, words: &[&str]) -> String {
    let out = command(directory, words).output().unwrap();
    assert!(!out.status.success(), "{words:?} said {}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8(out.stderr).unwrap()
}

#[test]
fn two_devices_remember_forget_and_agree() {
    let root = tempfile::tempdir().unwrap();
    let (laptop, phone) = (root.path().join("laptop"), root.path().join("phone"));
    let tea = said(&laptop, &["add", "Ada likes green tea", "--label", "Taste"]);
    let tea = tea.trim();
    let bus = said(&phone, &["add", "The bus leaves at eight"]);
    let bus = bus.trim();
    said(&laptop, &["sync", phone.to_str().unwrap()]);
    assert!(said(&phone, &["search", "green tea"]).starts_with(tea));
    assert!(said(&phone, &["search", "tea which is green"]).contains("Ada"), "found by likeness alone");
    said(&phone, &["link", bus, "reminds_of", tea]);
    assert!(said(&phone, &["show", bus]).contains("reminds_of"));
    said(&laptop, &["sync", phone.to_str().unwrap()]);
    assert!(said(&phone, &["show", tea]).contains("Taste"));

    // Forgotten on one device, it is forgotten on both, and stays so.
    said(&laptop, &["forget", tea]);
    for _ in 0..2 {
        said(&phone, &["sync", laptop.to_str().unwrap()]);
        assert!(!said(&phone, &["log"]).contains("green tea") && !said(&laptop, &["log"]).contains("green tea"));
    }
    assert!(said(&phone, &["log"]).ends_with("1 notes, 1 of them taken here\n"));
    assert!(said(&laptop, &["log"]).ends_with("1 notes, 1 of them taken here\n"), "the count is each device's own");

    // Both set the tone; a person settles it.
    said(&laptop, &["persona", "/tone", "\"dry\""]);
    said(&phone, &["persona", "/tone", "\"warm\""]);
    assert!(said(&laptop, &["sync", phone.to_str().unwrap()]).ends_with("1 conflicts\n"));
    let conflicts = said(&laptop, &["conflicts"]);
    assert!(conflicts.contains("laptop") && conflicts.contains("phone"), "{conflicts}");
    let id = conflicts.split_whitespace().next().unwrap();
    let dry = 1 + usize::from(conflicts.find("dry").unwrap() > conflicts.find("warm").unwrap());
    said(&laptop, &["settle", id, &dry.to_string()]);
    said(&laptop, &["sync", phone.to_str().unwrap()]);
    assert_eq!(said(&phone, &["persona", "/tone"]), "\"dry\"\n");
    assert_eq!(said(&phone, &["conflicts"]), "");

    let copy = root.path().join("copy");
    said(&phone, &["backup", copy.to_str().unwrap()]);
    assert_eq!(said(&copy, &["persona"]), said(&phone, &["persona"]));
    assert!(said(&copy, &["doctor"]).starts_with("all is whole"));
    assert!(refused(&copy, &["show", "ffffffff"]).contains("no note's id begins with"));
}

#[test]
fn damage_is_named_and_nothing_is_made_of_it() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("laptop");
    said(&directory, &["add", "a note"]);
    let segment = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("segment-"))
        .max()
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    for words in [&["doctor"][..], &["log"], &["add", "another note"]] {
        let error = refused(&directory, words);
        assert!(error.contains("segment-") || error.contains("1 faults"), "{words:?}: {error}");
    }
}

#[test]
fn a_note_that_was_acknowledged_survives_a_kill() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("laptop");
    let mut acknowledged = Vec::new();
    for kill in 0..8 {
        let mut child = command(&directory, &["stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        // It is fed until it is gone.
        let writer = thread::spawn(move || (0..).all(|n| writeln!(stdin, "add note {kill} {n}").is_ok()));
        let reader = thread::spawn(move || stdout.lines().map_while(Result::ok).collect::<Vec<_>>());
        thread::sleep(Duration::from_millis(25 + 13 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
        writer.join().unwrap();
        let mut said = reader.join().unwrap();
        // The last line may lack its end.
        said.pop();
        acknowledged.extend(said);
    }
    let log = said(&directory, &["log"]);
    assert!(acknowledged.len() > 20, "{} notes", acknowledged.len());
    for id in &acknowledged {
        assert!(log.contains(id.as_str()), "{id} was acknowledged and is gone");
    }
    // The notes and the count of them, which is in the local table, were written together.
    let last = log.lines().last().unwrap();
    let counts: Vec<usize> = last.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    assert_eq!(counts[0], counts[1], "{last}");
    assert!(said(&directory, &["doctor"]).starts_with("all is whole"));
}
