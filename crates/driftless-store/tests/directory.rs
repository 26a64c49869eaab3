//! Directories that are not what a store hopes for: empty, not to be written, on a disk that is full.
//!
//! What needs a file system of its own mounts one in memory, in a mount namespace that ends with the test's child process. Where
//! the system does not let it (other systems than Linux, no user namespaces), the test says that it is skipped; `crash` judges a full
//! disk everywhere, on a simulated one.

use std::path::Path;

use driftless::{Graph, NodeId};
use driftless_store::{Options, StorageError, Store, StoreError};

/// Writes one more note, and its number into the local table.
fn write(store: &mut Store<Graph>, number: u64) -> Result<(), StoreError> {
    store
        .try_edit_with(|g, table| {
            let note = g.add_node(NodeId::new())?;
            g.set(note, "/text", "x".repeat(8_000).as_str())?;
            table.put("notes", number.to_le_bytes());
            Ok::<_, StoreError>(())
        })
        .map(drop)
}

/// How many notes there are, by the state and by the table alike.
fn notes(store: &Store<Graph>) -> u64 {
    let in_table = store.get("notes").map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    assert_eq!(store.state().node_count() as u64, in_table, "the table and the state disagree");
    in_table
}

/// Its files are open, and their names are not: names would lead into whatever lies there now.
#[cfg(unix)]
#[test]
fn a_directory_that_is_moved_away_while_it_is_open_keeps_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let [place, away] = ["place", "away"].map(|name| directory.path().join(name));
    let options = || driftless_store::Options::new().with_segment_len(500);
    let add = |store: &mut Store<Graph>, name: &str| store.edit(|g| g.add_node(name)).map(drop);
    let mut first = options().open::<Graph>(&place).unwrap();
    add(&mut first, "first").unwrap();
    std::fs::rename(&place, &away).unwrap();
    let mut second = options().open::<Graph>(&place).unwrap();
    let (mut acknowledged, mut error) = (vec!["first".to_owned()], None);
    for n in 0..20 {
        let name = format!("note:{n}");
        add(&mut second, &name).unwrap();
        match add(&mut first, &name) {
            Ok(()) => acknowledged.push(name),
            Err(why) => error = Some(why.to_string()),
        }
    }
    let error = error.unwrap();
    assert!(error.contains("the directory was moved or removed") || error.contains("refuses to go on"), "{error}");
    first.compact().unwrap_err();
    drop((first, second));
    let has = |graph: &Graph, name: &str| graph.node(driftless::NodeId::named(name)).is_some();
    let (first, second) = (Store::<Graph>::open(&away).unwrap(), Store::<Graph>::open(&place).unwrap());
    assert!(acknowledged.iter().all(|name| has(first.state(), name)));
    assert!((0..20).all(|n| has(second.state(), &format!("note:{n}"))) && !has(second.state(), "first"));
}

#[test]
fn there_is_no_store_where_none_was_begun() {
    let root = tempfile::tempdir().unwrap();
    for directory in [root.path().join("nowhere"), root.path().to_owned()] {
        let error = Store::<Graph>::read(&directory).unwrap_err();
        assert!(error.to_string().starts_with("there is no store in"), "{error}");
        assert!(Store::<Graph>::verify(&directory).is_err());
    }
    assert!(!root.path().join("nowhere").exists(), "looking made a directory");
    std::fs::write(root.path().join("notes.txt"), "mine").unwrap();
    drop(Store::<Graph>::open(root.path()).unwrap());
    assert_eq!(std::fs::read_to_string(root.path().join("notes.txt")).unwrap(), "mine");
}

#[test]
fn a_store_begins_in_directories_that_are_not_there_yet() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("of").join("an").join("agent");
    write(&mut Store::<Graph>::open(&directory).unwrap(), 1).unwrap();
    assert_eq!(notes(&Store::<Graph>::open(&directory).unwrap()), 1);
}

#[cfg(unix)]
#[test]
fn a_directory_that_may_not_be_written_is_read_and_not_opened() {
    use std::os::unix::fs::PermissionsExt;

    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("store");
    write(&mut Store::<Graph>::open(&directory).unwrap(), 1).unwrap();
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o444)).unwrap();
    }
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(Store::<Graph>::read(&directory).unwrap().node_count(), 1);
    // Permissions do not hold up root; a file system that is mounted read-only does, below.
    if let Err(error) = Store::<Graph>::open(&directory) {
        assert!(error.to_string().contains("could not"), "{error}");
    }
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Says to the test process that it is the child, and where its file system is.
const MOUNTED: &str = "DRIFTLESS_MOUNTED";

/// Runs a test of this file with a file system of so many bytes. True if this is the child, and has one.
fn is_in_file_system(test: &str, bytes: u64) -> bool {
    if std::env::var_os(MOUNTED).is_some() {
        return true;
    }
    let root = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec "$3" "$4" --exact --nocapture"#;
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", &bytes.to_string()]);
    command.arg(root.path()).arg(std::env::current_exe().unwrap()).arg(test).env(MOUNTED, root.path());
    let said = match command.output() {
        Ok(output) if String::from_utf8_lossy(&output.stdout).starts_with("mounted") => output,
        Ok(output) => {
            println!("SKIPPED {test}: nothing can be mounted here: {}", String::from_utf8_lossy(&output.stderr).trim());
            return false;
        }
        Err(error) => {
            println!("SKIPPED {test}: `unshare` does not run here: {error}");
            return false;
        }
    };
    print!("{}", String::from_utf8_lossy(&said.stdout));
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    false
}

fn mounted() -> std::path::PathBuf {
    std::env::var_os(MOUNTED).unwrap().into()
}

#[test]
fn a_file_system_that_is_read_only_is_read_and_not_opened() {
    if !is_in_file_system("a_file_system_that_is_read_only_is_read_and_not_opened", 4 << 20) {
        return;
    }
    let directory = mounted().join("store");
    write(&mut Store::<Graph>::open(&directory).unwrap(), 1).unwrap();
    let mount = |options: &str| {
        let mut command = std::process::Command::new("mount");
        assert!(command.args(["-o", options]).arg(mounted()).status().unwrap().success());
    };
    mount("remount,ro");
    assert_eq!(Store::<Graph>::read(&directory).unwrap().node_count(), 1);
    assert!(Store::<Graph>::verify(&directory).unwrap().lost.is_empty());
    for directory in [directory.clone(), mounted().join("another")] {
        let error = Store::<Graph>::open(&directory).unwrap_err();
        assert!(error.to_string().contains("could not"), "{error}");
    }
    mount("remount,rw");
    assert_eq!(notes(&Store::<Graph>::open(&directory).unwrap()), 1);
}

#[test]
fn a_disk_that_is_full_changes_nothing_and_room_is_enough_to_go_on() {
    if !is_in_file_system("a_disk_that_is_full_changes_nothing_and_room_is_enough_to_go_on", 4 << 20) {
        return;
    }
    let directory = mounted().join("store");
    let open = || Options::new().with_segment_len(100_000).with_compaction_floor(200_000).without_background();
    let ballast: Vec<_> = (0..6).map(|number| mounted().join(format!("ballast-{number}"))).collect();
    ballast.iter().for_each(|path| std::fs::write(path, vec![7; 400_000]).unwrap());

    let mut store = open().open::<Graph>(&directory).unwrap();
    let (mut number, mut refused, mut uncompacted) = (0, 0, 0);
    for (round, ballast) in ballast.iter().enumerate() {
        // Until it is full. The first refusal may be of the room that a segment takes in advance, of which it takes less the next time.
        let mut refusals = 0;
        while refusals < 2 {
            match write(&mut store, number + 1) {
                Ok(()) => (number, refusals) = (number + 1, 0),
                Err(error) => {
                    is_full(&error);
                    (refused, refusals) = (refused + 1, refusals + 1);
                }
            }
        }
        uncompacted += u64::from(store.compaction_error().is_some());
        assert_eq!(notes(&store), number, "a write that was refused is in memory");
        assert_eq!(read(&directory), number, "a write that was refused is on the disk");
        if round % 2 == 1 {
            // A store that was closed opens without any room.
            drop(store);
            assert_eq!(notes(&open().open(&directory).unwrap()), number);
            assert_eq!(read(&directory), number);
            std::fs::remove_file(ballast).unwrap();
            store = open().open(&directory).unwrap();
        } else {
            std::fs::remove_file(ballast).unwrap();
        }
        write(&mut store, number + 1).unwrap();
        number += 1;
    }
    drop(store);
    assert_eq!(notes(&Store::open(&directory).unwrap()), number);
    assert!(Store::<Graph>::verify(&directory).unwrap().lost.is_empty());
    println!("{refused} writes refused, {number} notes, {uncompacted} times no room for a checkpoint");
}

fn read(directory: &Path) -> u64 {
    Store::<Graph>::read(directory).unwrap().node_count() as u64
}

fn is_full(error: &StoreError) {
    assert!(matches!(error, StoreError::Storage(StorageError::Full { .. })), "{error}");
}
