//! What every storage promises, as stories that run over each of them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use driftless::{Graph, NodeId};
use driftless_store::{BlobName, Load, Options, Recovery, Sink, Storage, StorageError};

pub(crate) const SCHEMA: &str = "story";

/// What a storage held when it was opened.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) checkpoint: Option<Vec<u8>>,
    pub(crate) records: Vec<Vec<u8>>,
}

impl fmt::Debug for Content {
    /// Of everything the length and the beginning: a failure is to be read by people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |bytes: &Vec<u8>| format!("{} {:x?}", bytes.len(), bytes.get(..4).unwrap_or(bytes));
        let records = self.records.iter().map(short);
        f.debug_struct("Content")
            .field("checkpoint", &self.checkpoint.as_ref().map(short))
            .field("records", &records.collect::<Vec<_>>())
            .finish()
    }
}

impl Sink for Content {
    fn checkpoint(&mut self, content: &[u8]) -> Result<(), String> {
        assert!(self.checkpoint.is_none() && self.records.is_empty(), "the checkpoint comes first, and once");
        self.checkpoint = Some(content.to_vec());
        Ok(())
    }

    fn record(&mut self, content: &[u8]) -> Result<(), String> {
        self.records.push(content.to_vec());
        Ok(())
    }
}

pub(crate) fn load(storage: &impl Storage) -> Result<(Content, Recovery), StorageError> {
    let mut content = Content::default();
    let recovery = storage.load(SCHEMA, Load::Whole, &mut content)?;
    Ok((content, recovery))
}

/// Runs all stories, each in a place of its own. `place` makes one; what it returns opens it, again and again.
pub(crate) fn run<S: Storage, O: Fn() -> S>(place: impl Fn() -> O) {
    what_was_synced_is_there_when_it_is_opened_again(&place());
    one_sync_covers_all_that_was_appended_before_it(&place());
    syncs_of_many_threads_cover_what_each_has_appended(&place());
    a_checkpoint_replaces_the_records_before_its_cut_alone(&place());
    records_are_appended_and_synced_while_a_checkpoint_is_written(&place());
    a_cut_older_than_the_checkpoint_changes_nothing(&place());
    records_and_checkpoints_may_be_empty_or_large(&place());
    blobs_are_kept_beside_the_rest(&place());
    another_schema_is_refused_and_changes_nothing(&place());
    a_store_lives_in_it(&place());
}

fn opened<S: Storage>(open: impl Fn() -> S) -> (S, Content, Recovery) {
    let storage = open();
    let (content, recovery) = load(&storage).unwrap();
    (storage, content, recovery)
}

fn records(range: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    range.map(|n| n.to_le_bytes().repeat(1 + n as usize % 50)).collect()
}

fn append(storage: &impl Storage, range: std::ops::Range<u32>) -> u64 {
    let mut last = None;
    for record in records(range) {
        let number = storage.append(&record).unwrap();
        assert!(last.is_none_or(|last| number == last + 1), "a number is one more than the one before");
        last = Some(number);
    }
    last.unwrap()
}

fn sync(storage: &impl Storage, at_least: u64) {
    let synced = storage.sync().unwrap();
    assert!(synced >= at_least, "{synced} of {at_least}");
}

fn what_was_synced_is_there_when_it_is_opened_again<S: Storage>(open: &impl Fn() -> S) {
    let (storage, content, recovery) = opened(open);
    assert_eq!((content, recovery.created), (Content::default(), true));
    for n in 0..5 {
        let last = append(&storage, 10 * n..10 * n + 10);
        sync(&storage, last);
    }
    drop(storage); // as a crash does, without closing
    for n in 5..8 {
        let (storage, content, recovery) = opened(open);
        assert_eq!(content, Content { checkpoint: None, records: records(0..10 * n) });
        assert_eq!((recovery.created, recovery.records), (false, u64::from(10 * n)));
        let last = append(&storage, 10 * n..10 * n + 10);
        sync(&storage, last);
        storage.close();
    }
    let (storage, content, recovery) = opened(open);
    assert_eq!((content.records, recovery.was_closed), (records(0..80), true));
    drop(storage);
}

fn one_sync_covers_all_that_was_appended_before_it<S: Storage>(open: &impl Fn() -> S) {
    let (storage, ..) = opened(open);
    sync(&storage, 0);
    let last = append(&storage, 0..1_000);
    sync(&storage, last);
    let syncs = storage.usage().syncs;
    sync(&storage, last);
    assert_eq!(storage.usage().syncs, syncs, "there was nothing to sync");
    append(&storage, 1_000..1_010);
    drop(storage);
    let (_, content, _) = opened(open);
    // What was not synced is there in part: the first of it, in order.
    assert!(content.records.len() >= 1_000);
    assert_eq!(content.records, records(0..content.records.len() as u32));
}

fn syncs_of_many_threads_cover_what_each_has_appended<S: Storage>(open: &impl Fn() -> S) {
    let (storage, ..) = opened(open);
    thread::scope(|scope| {
        for thread in 0..4u8 {
            let storage = &storage;
            scope.spawn(move || {
                for n in 0..20u8 {
                    let number = storage.append(&[thread, n]).unwrap();
                    assert!(storage.sync().unwrap() >= number);
                }
            });
        }
    });
    drop(storage);
    let (_, content, _) = opened(open);
    assert_eq!(content.records.len(), 80);
    for thread in 0..4 {
        let of_thread = content.records.iter().filter(|record| record[0] == thread).map(|record| record[1]);
        assert!(of_thread.eq(0..20), "a thread's records are in its order");
    }
}

fn a_checkpoint_replaces_the_records_before_its_cut_alone<S: Storage>(open: &impl Fn() -> S) {
    let (storage, ..) = opened(open);
    let last = append(&storage, 0..100);
    sync(&storage, last);
    append(&storage, 100..110);
    let log = storage.usage().log;
    let cut = storage.cut().unwrap();
    let last = append(&storage, 110..120);
    storage.checkpoint(cut, &[b"the ", b"", b"first"]).unwrap();
    assert!(storage.usage().log < log, "the log is shorter");
    assert!(storage.usage().checkpoint >= 9);
    sync(&storage, last);
    let last = append(&storage, 120..130);
    sync(&storage, last);
    drop(storage);
    let expected =
        |checkpoint: &[u8], range| Content { checkpoint: Some(checkpoint.to_vec()), records: records(range) };
    let (storage, content, _) = opened(open);
    assert_eq!(content, expected(b"the first", 110..130));
    let cut = storage.cut().unwrap();
    storage.checkpoint(cut, &[b"second"]).unwrap();
    drop(storage);
    let (storage, content, _) = opened(open);
    assert_eq!(content, expected(b"second", 0..0));
    let last = append(&storage, 130..131);
    sync(&storage, last);
    drop(storage);
    assert_eq!(opened(open).1, expected(b"second", 130..131));
}

fn records_are_appended_and_synced_while_a_checkpoint_is_written<S: Storage>(open: &impl Fn() -> S) {
    let (storage, ..) = opened(open);
    let (next, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..2_000u64 {
                let number = storage.append(&n.to_le_bytes()).unwrap();
                next.store(n + 1, Ordering::Release);
                if n % 10 == 0 {
                    assert!(storage.sync().unwrap() >= number);
                }
            }
            storage.sync().unwrap();
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            // Whoever cuts keeps others from appending, as a store does; here the cut may hold more than it says.
            let held = next.load(Ordering::Acquire);
            let cut = storage.cut().unwrap();
            let covered = next.load(Ordering::Acquire);
            if held == covered {
                let checkpoint = [&covered.to_le_bytes()[..], &[7; 100_000]].concat();
                storage.checkpoint(cut, &[&checkpoint]).unwrap();
            }
            thread::yield_now();
        }
    });
    drop(storage);
    let (_, content, _) = opened(open);
    let covered = content.checkpoint.map_or(0, |bytes| u64::from_le_bytes(bytes[..8].try_into().unwrap()));
    let records: Vec<u64> =
        content.records.iter().map(|record| u64::from_le_bytes(record[..].try_into().unwrap())).collect();
    // A record that was appended just before the cut and not yet counted is before it as well.
    let first = records.first().copied().unwrap_or(covered);
    assert!(first == covered || first == covered + 1, "{first} after {covered}");
    assert!(records.iter().copied().eq(first..2_000), "no record is missing");
}

fn a_cut_older_than_the_checkpoint_changes_nothing<S: Storage>(open: &impl Fn() -> S) {
    let (storage, ..) = opened(open);
    append(&storage, 0..10);
    let old = storage.cut().unwrap();
    append(&storage, 10..20);
    let new = storage.cut().unwrap();
    let last = append(&storage, 20..30);
    sync(&storage, last);
    assert!(old < new);
    storage.checkpoint(new, &[b"new"]).unwrap();
    storage.checkpoint(old, &[b"old"]).unwrap();
    drop(storage);
    let (_, content, _) = opened(open);
    assert_eq!(content, Content { checkpoint: Some(b"new".to_vec()), records: records(20..30) });
}

fn records_and_checkpoints_may_be_empty_or_large<S: Storage>(open: &impl Fn() -> S) {
    let (storage, ..) = opened(open);
    let large: Vec<u8> = (0..10_000_000u32).map(|n| (n / 7) as u8).collect();
    let cut = storage.cut().unwrap();
    storage.checkpoint(cut, &[]).unwrap();
    storage.append(&[]).unwrap();
    storage.append(&large[..3_000_000]).unwrap();
    let last = storage.append(b"small").unwrap();
    sync(&storage, last);
    drop(storage);
    let (storage, content, _) = opened(open);
    let expected = vec![Vec::new(), large[..3_000_000].to_vec(), b"small".to_vec()];
    assert!(content == Content { checkpoint: Some(Vec::new()), records: expected });
    for end in [10_000_000, 1_044_480, 5_000_000] {
        let cut = storage.cut().unwrap();
        storage.checkpoint(cut, &[&large[..1_000_000], &large[1_000_000..end]]).unwrap();
    }
    drop(storage);
    let (_, content, _) = opened(open);
    assert!(content == Content { checkpoint: Some(large[..5_000_000].to_vec()), records: Vec::new() });
}

fn blobs_are_kept_beside_the_rest<S: Storage>(open: &impl Fn() -> S) {
    let name = |name| BlobName::new(name).unwrap();
    let (storage, ..) = opened(open);
    assert_eq!((storage.blob(&name("a")).unwrap(), storage.blobs().unwrap()), (None, Vec::new()));
    storage.put_blob(&name("b"), b"one").unwrap();
    storage.put_blob(&name("a"), &[1; 200_000]).unwrap();
    storage.put_blob(&name("b"), b"").unwrap();
    storage.put_blob(&name("c"), b"three").unwrap();
    let cut = storage.cut().unwrap();
    storage.checkpoint(cut, &[b"state"]).unwrap();
    assert!(storage.remove_blob(&name("c")).unwrap());
    assert!(!storage.remove_blob(&name("c")).unwrap(), "it is gone");
    drop(storage);
    let (storage, content, _) = opened(open);
    assert_eq!(content, Content { checkpoint: Some(b"state".to_vec()), records: Vec::new() });
    assert_eq!(storage.blobs().unwrap(), [name("a"), name("b")]);
    assert_eq!(storage.blob(&name("a")).unwrap(), Some(vec![1; 200_000]));
    assert_eq!(storage.blob(&name("b")).unwrap(), Some(Vec::new()));
}

fn another_schema_is_refused_and_changes_nothing<S: Storage>(open: &impl Fn() -> S) {
    let (storage, ..) = opened(open);
    let last = append(&storage, 0..3);
    sync(&storage, last);
    drop(storage);
    let storage = open();
    let mut content = Content::default();
    let refused = storage.load("another", Load::Whole, &mut content).unwrap_err();
    assert!(
        matches!(&refused, StorageError::Schema { found, expected, .. } if found == SCHEMA && expected == "another"),
        "{refused}"
    );
    assert_eq!(content, Content::default());
    drop(storage);
    assert_eq!(opened(open).1.records, records(0..3));
}

fn a_store_lives_in_it<S: Storage>(open: &impl Fn() -> S) {
    for n in 0..6 {
        let mut store = Options::new().with_device("laptop").open_storage::<Graph>(open()).unwrap();
        assert_eq!((store.state().node_count(), store.recovery().was_closed), (n, n > 0));
        assert_eq!(store.get("cursor"), (n > 0).then_some(&[n as u8][..]));
        store.edit(|g| g.add_node(format!("note:{n}").as_str())).unwrap();
        store.put("cursor", [n as u8 + 1]).unwrap();
        if n % 3 == 2 {
            store.compact().unwrap();
        }
    }
    let store = Options::new().open_storage::<Graph>(open()).unwrap();
    assert!((0..6).all(|n| store.state().node(NodeId::named(&format!("note:{n}"))).is_some()));
}
