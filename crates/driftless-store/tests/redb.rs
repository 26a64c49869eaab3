//! A store in a redb database: the stories of a storage, and what is left when a write or a sync fails.

#[path = "support/storage.rs"]
mod stories;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use driftless_store::{BlobName, Load, RedbStorage, Storage, StorageError};
use redb::StorageBackend;
use stories::{Content, SCHEMA, load};

#[test]
fn in_a_database_file() {
    stories::run(|| {
        let directory = tempfile::tempdir().unwrap();
        move || RedbStorage::open(directory.path().join("store.redb")).unwrap()
    });
}

#[test]
fn in_a_backend_in_memory() {
    stories::run(|| {
        let medium = Medium::default();
        move || RedbStorage::with_backend(medium.clone()).unwrap()
    });
}

#[test]
fn a_second_opener_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let storage = RedbStorage::open(&path).unwrap();
    let second = RedbStorage::open(&path).unwrap_err();
    assert!(matches!(second, StorageError::Locked { .. }), "{second}");
    drop(storage);
    RedbStorage::open(&path).unwrap();
}

#[test]
fn nothing_is_written_before_it_was_read() {
    let storage = RedbStorage::with_backend(Medium::default()).unwrap();
    for refused in [storage.append(b"x"), storage.sync(), storage.cut().map(|cut| cut.number())] {
        assert!(matches!(refused, Err(StorageError::Poisoned { .. })), "{refused:?}");
    }
}

#[test]
fn a_file_that_is_no_store_is_refused_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text");
    std::fs::write(&text, "no database, but long enough to be taken for one at first sight".repeat(100)).unwrap();
    let refused = RedbStorage::open(&text).unwrap_err();
    assert!(matches!(refused, StorageError::Damaged { .. }), "{refused}");

    let path = directory.path().join("app.redb");
    let table = redb::TableDefinition::<u64, u64>::new("of an app");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = load(&RedbStorage::open(&path).unwrap()).unwrap_err();
    assert!(matches!(refused, StorageError::Foreign { .. }), "{refused}");
}

#[test]
fn what_is_whole_is_salvaged_and_the_rest_set_aside() {
    /// Takes no record that begins with `x`.
    struct Picky(Content);
    impl driftless_store::Sink for Picky {
        fn checkpoint(&mut self, content: &[u8]) -> Result<(), String> {
            self.0.checkpoint(content)
        }
        fn record(&mut self, content: &[u8]) -> Result<(), String> {
            if content.starts_with(b"x") { Err("it begins with x".to_owned()) } else { self.0.record(content) }
        }
    }
    let medium = Medium::default();
    let storage = RedbStorage::with_backend(medium.clone()).unwrap();
    load(&storage).unwrap();
    for record in [b"a", b"x", b"b"] {
        storage.append(record).unwrap();
    }
    storage.sync().unwrap();
    drop(storage);
    let open = || RedbStorage::with_backend(medium.clone()).unwrap();
    let refused = open().load(SCHEMA, Load::Whole, &mut Picky(Content::default())).unwrap_err();
    assert!(refused.to_string().contains("record 2: it begins with x"), "{refused}");
    for _ in 0..2 {
        let storage = open();
        let mut picky = Picky(Content::default());
        let recovery = storage.load(SCHEMA, Load::Salvage, &mut picky).unwrap();
        assert!(matches!(storage.append(b"c"), Err(StorageError::Poisoned { .. })));
        assert_eq!(picky.0.records.len() as u64, recovery.records);
        storage.replace(&[b"a and b"]).unwrap();
        storage.append(b"xx").unwrap();
        storage.sync().unwrap();
    }
    let (content, _) = load(&open()).unwrap();
    assert_eq!(content, Content { checkpoint: Some(b"a and b".to_vec()), records: vec![b"xx".to_vec()] });
}

/// A medium in memory that knows what was synced, and fails when it is asked to. Clones share it.
///
/// After a crash any of the writes since the last sync may be there, each of them whole or not at all.
#[derive(Clone, Debug, Default)]
struct Medium(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync.
    pending: Vec<Change>,
    /// Changes and syncs so far.
    operations: u64,
    /// The operation that fails, and whether all after it do as well.
    fails: Option<(u64, bool)>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => {
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(written);
            }
            Self::Len(len) => bytes.resize(*len, 0),
        }
    }
}

impl Medium {
    fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State { now: bytes.clone(), durable: bytes, ..State::default() })))
    }

    /// What a machine could find that has stopped: of the pending changes those for which `keeps` is true.
    fn crash(&self, mut keeps: impl FnMut(usize) -> bool) -> Medium {
        let state = self.0.lock().unwrap();
        let mut bytes = state.durable.clone();
        let kept = state.pending.iter().enumerate().filter(|(n, _)| keeps(*n));
        kept.for_each(|(_, change)| change.apply(&mut bytes));
        Self::of(bytes)
    }

    fn pending(&self) -> usize {
        self.0.lock().unwrap().pending.len()
    }
}

impl State {
    fn operation(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        match self.fails {
            Some((fails, goes_on)) if number == fails || (goes_on && number > fails) => {
                Err(io::Error::other("as asked for"))
            }
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        self.operation()?;
        change.apply(&mut self.now);
        self.pending.push(change);
        Ok(())
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let bytes = state.now.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().change(Change::Len(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.operation()?;
        state.durable = state.now.clone();
        state.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().change(Change::Write(offset as usize, data.to_vec()))
    }
}

/// What a history has been told.
#[derive(Debug, Default)]
struct Told {
    /// Records that were appended, in order.
    appended: Vec<Vec<u8>>,
    /// How many of them were acknowledged.
    synced: usize,
    /// How many records each checkpoint holds that was begun, and the last that was acknowledged.
    checkpoints: Vec<usize>,
    checkpointed: usize,
    /// Contents that were put under the name, none if it was removed; and from which on one was acknowledged.
    blobs: Vec<Option<Vec<u8>>>,
    blob: usize,
}

fn state(records: &[Vec<u8>]) -> Vec<u8> {
    // Larger than a chunk's transaction holds at once would be slow here; a few pages do.
    [&(records.len() as u64).to_le_bytes()[..], &records.concat().repeat(100)].concat()
}

/// A small history, until something fails.
fn history(medium: &Medium, told: &mut Told) -> Result<(), StorageError> {
    let name = BlobName::new("blob").unwrap();
    for session in 0..2u8 {
        let storage = RedbStorage::with_backend(medium.clone())?;
        load(&storage)?;
        for step in 0..6u8 {
            for n in 0..=step % 3 {
                let record = [session, step, n].repeat(1 + 200 * usize::from(n));
                storage.append(&record)?;
                told.appended.push(record);
            }
            if step != 3 {
                storage.sync()?;
                told.synced = told.appended.len();
            }
            if step % 3 == 1 {
                let cut = storage.cut()?;
                let covered = told.appended.len();
                storage.append(&[session, step, 100])?;
                told.appended.push(vec![session, step, 100]);
                if session == 1 {
                    storage.sync()?;
                    told.synced = told.appended.len();
                }
                told.checkpoints.push(covered);
                storage.checkpoint(cut, &[&state(&told.appended[..covered])])?;
                told.checkpointed = covered;
                told.synced = told.synced.max(covered);
                told.blobs.push((step == 1).then(|| vec![session; 3_000]));
                match step {
                    1 => storage.put_blob(&name, &[session; 3_000])?,
                    _ => drop(storage.remove_blob(&name)?),
                }
                told.blob = told.blobs.len();
            }
        }
        storage.close();
        told.synced = match storage.sync() {
            Ok(_) => told.appended.len(),
            Err(error) => return Err(error),
        };
    }
    Ok(())
}

/// All that was acknowledged is there, and nothing that was never written.
fn check(medium: Medium, told: &Told, context: &str) {
    let storage = RedbStorage::with_backend(medium).unwrap_or_else(|error| panic!("{context}: {error}"));
    let (content, _) = load(&storage).unwrap_or_else(|error| panic!("{context}: {error}"));
    let covered = content.checkpoint.as_ref().map_or(0, |bytes| u64::from_le_bytes(bytes[..8].try_into().unwrap()));
    let covered = covered as usize;
    assert!(covered >= told.checkpointed, "{context}: an acknowledged checkpoint is gone");
    if let Some(checkpoint) = &content.checkpoint {
        assert!(told.checkpoints.contains(&covered), "{context}: a checkpoint that nobody wrote");
        assert!(*checkpoint == state(&told.appended[..covered]), "{context}: the checkpoint is another");
    }
    let end = covered + content.records.len();
    assert!(end >= told.synced, "{context}: {end} of {} records", told.synced);
    assert!(content.records == told.appended[covered..end], "{context}: the records are others");
    let blob = storage.blob(&BlobName::new("blob").unwrap()).unwrap();
    let possible = [None].into_iter().chain(told.blobs.iter().cloned()).skip(told.blob);
    assert!(possible.collect::<BTreeSet<_>>().contains(&blob), "{context}: the blob is another");
    // It goes on.
    let number = storage.append(b"more").unwrap();
    assert!(storage.sync().unwrap() >= number, "{context}");
}

#[test]
fn whichever_write_or_sync_fails_what_was_acknowledged_is_there() {
    let whole = Medium::default();
    let mut told = Told::default();
    history(&whole, &mut told).unwrap();
    let operations = whole.0.lock().unwrap().operations;
    check(whole.crash(|_| false), &told, "nothing failed");
    let (mut failed, mut reopened) = (0, 0);
    for fails in 0..operations {
        for goes_on in [false, true] {
            let medium = Medium::default();
            medium.0.lock().unwrap().fails = Some((fails, goes_on));
            let mut told = Told::default();
            failed += u32::from(history(&medium, &mut told).is_err());
            medium.0.lock().unwrap().fails = None;
            let context = format!("operation {fails} of {operations} fails, all after it: {goes_on}");
            // The process was killed: the system still has all that was written.
            check(medium.crash(|_| true), &told, &context);
            // The machine stopped.
            let pending = medium.pending();
            check(medium.crash(|_| false), &told, &context);
            for n in 0..pending.min(40) {
                check(medium.crash(|change| change == n), &told, &context);
                check(medium.crash(|change| change != n), &told, &context);
                check(medium.crash(|change| change < n), &told, &context);
                reopened += 3;
            }
            reopened += 2;
        }
    }
    println!("{operations} operations failed, {failed} histories ended by it, {reopened} reopened");
    assert!(failed > 100 && reopened > 1_000, "{failed} {reopened}");
}
