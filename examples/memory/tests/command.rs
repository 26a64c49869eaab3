//! The command as people run it, and killed while it runs.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
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
        assert!(!said(&phone, &["notes"]).contains("green tea") && !said(&laptop, &["notes"]).contains("green tea"));
    }
    assert!(said(&phone, &["notes"]).ends_with("1 notes; 1 were taken here\n"));
    assert!(said(&laptop, &["notes"]).ends_with("1 notes; 1 were taken here\n"), "the count is each device's own");

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

    // The log of the laptop: what it wrote, and what came from the phone and opened a conflict.
    let log = said(&laptop, &["log"]);
    let merge = log.lines().find(|line| line.contains("conflicts: 1 opened")).unwrap();
    assert!(merge.contains(" merge from ") && merge.contains("phone"), "{log}");
    assert!(log.lines().next().unwrap().ends_with(" edit: 1 writes"), "the latest is the settling: {log}");

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

/// What a process has said is done.
#[derive(Default)]
struct Done {
    notes: BTreeSet<String>,
    forgotten: BTreeSet<String>,
    /// It was told to forget this note and was killed before it said that it had.
    undecided: Vec<String>,
}

impl Done {
    /// Takes notes, forgets every third and syncs after every seventh, until the process is gone.
    fn drive(mut self, mut ask: impl FnMut(&str) -> Option<String>, other: &Path) -> Self {
        for number in 1.. {
            let Some(id) = ask(&format!("add note {number}")) else { break };
            self.notes.insert(id.clone());
            if number % 3 == 0 {
                self.notes.remove(&id);
                match ask(&format!("forget {id}")) {
                    Some(answer) => assert_eq!(answer, "forgotten"),
                    None => {
                        self.undecided.push(id);
                        break;
                    }
                }
                self.forgotten.insert(id);
            }
            if number % 7 == 0 && ask(&format!("sync {}", other.display())).is_none() {
                break;
            }
        }
        self
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    const KILLS: u64 = 10;
    let root = tempfile::tempdir().unwrap();
    let (directory, other) = (root.path().join("laptop"), root.path().join("phone"));
    let mut done = Done::default();
    for kill in 0..KILLS {
        let mut child = command(&directory, &["stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (answered, answers) = mpsc::channel();
        let ask = move |request: &str| {
            writeln!(stdin, "{request}").ok()?;
            let mut answer = String::new();
            stdout.read_line(&mut answer).ok()?;
            // The last line may lack its end.
            let answer = answer.strip_suffix('\n')?.to_owned();
            assert!(!answer.starts_with("error"), "{request}: {answer}");
            let _ = answered.send(());
            Some(answer)
        };
        let to = other.clone();
        let driver = thread::spawn(move || done.drive(ask, &to));
        // One dies while it opens the store; the others have done something.
        if kill > 0 {
            answers.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        thread::sleep(Duration::from_millis(1 + kill * 37 % 60));
        child.kill().unwrap();
        child.wait().unwrap();
        done = driver.join().unwrap();
    }

    // What is there is what was acknowledged, and for each kill at most one thing more.
    let notes = said(&directory, &["notes"]);
    done.notes.iter().for_each(|id| assert!(notes.contains(id), "{id} was acknowledged and is gone"));
    done.forgotten.iter().for_each(|id| assert!(!notes.contains(id), "{id} was forgotten and is back"));
    let last = notes.lines().last().unwrap();
    let counts: Vec<usize> = last.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    let (listed, taken) = (counts[0], counts[1]);
    let known = done.notes.len() + done.forgotten.len() + done.undecided.len();
    assert!((known..=known + KILLS as usize).contains(&taken), "{known} notes were acknowledged, {taken} were taken");
    // The count is in the local table; a note and its count are one edit.
    let forgotten = done.forgotten.len()..=done.forgotten.len() + done.undecided.len();
    assert!(forgotten.contains(&(taken - listed)), "{last}, {forgotten:?} forgotten");
    assert!(known >= KILLS as usize - 1, "{known} notes");

    // A device that was away, and met some of it, brings nothing back.
    said(&other, &["sync", directory.to_str().unwrap()]);
    said(&directory, &["sync", other.to_str().unwrap()]);
    let list =
        |notes: &str| notes.lines().filter(|line| line.contains(" note ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(list(&said(&other, &["notes"])), list(&notes));
    assert_eq!(list(&said(&directory, &["notes"])), list(&notes));
    for directory in [&directory, &other] {
        assert!(said(directory, &["doctor"]).starts_with("all is whole"));
    }
    println!("{KILLS} kills: {known} notes acknowledged, {taken} taken, {} forgotten", done.forgotten.len());
}
