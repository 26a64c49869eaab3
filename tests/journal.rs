//! The journal: what changed, in order, for a reader to follow.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use driftless::testing::TestEnvironment;
use driftless::{
    Crdt, Diff, EditError, Entry, Graph, GraphChange, Journal, JournalGap, JournalLimit, LwwRegister, MergeError,
    NodeId, OrMap, Origin, PnCounter, Prune, Replica,
};
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "support/random.rs"]
mod random;

use random::{World, ops, steps};

const PLENTY: JournalLimit = JournalLimit { entries: usize::MAX, bytes: usize::MAX };

fn replica<T: Crdt>(seed: u64) -> Replica<T> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn ada() -> NodeId {
    NodeId::named("ada")
}

fn journal<T: Crdt>(replica: &Replica<T>) -> &Journal {
    replica.journal().expect("it is on")
}

type Cells = BTreeMap<(String, Vec<u8>), (BTreeSet<String>, BTreeSet<String>)>;

fn text<'a>(siblings: impl Iterator<Item = &'a driftless::kernel::Sibling>) -> BTreeSet<String> {
    siblings.map(|sibling| format!("{sibling:?}")).collect()
}

/// What the entries come to: of each cell the first before and the last after.
fn folded<'a>(entries: impl Iterator<Item = &'a Entry>) -> Cells {
    let mut cells = Cells::new();
    for entry in entries {
        let (touched, was, now) = (entry.touched(), text(entry.was()), text(entry.now()));
        assert_ne!(was, now, "an entry of nothing");
        let cell = cells.entry((format!("{:?}", touched.entity), touched.field.as_bytes().to_vec()));
        let cell = cell.or_insert_with(|| (was.clone(), was.clone()));
        assert_eq!(cell.1, was, "an entry goes on from where the one before left the cell");
        cell.1 = now;
    }
    cells.retain(|_, (was, now)| was != now);
    cells
}

fn of_diff<T: Crdt>(diff: &Diff<T>) -> Cells {
    let cells = diff.touched().iter();
    cells
        .map(|t| {
            ((format!("{:?}", t.entity), t.field.as_bytes().to_vec()), (text(t.was().iter()), text(t.now().iter())))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_entries_since_a_number_come_to_the_difference_since_then(
        before in steps(), after in steps(), last in ops(), pruning in any::<bool>(),
    ) {
        let mut world = World::new();
        for replica in &mut world.replicas {
            replica.keep_journal(PLENTY);
        }
        let empty = world.replicas[0].snapshot(); // of journals: both hold the same
        world.run(&before);
        let marks: Vec<_> = world.replicas.iter().map(|r| (r.snapshot(), journal(r).last())).collect();
        world.run(&after);
        if pruning {
            world.replicas[0].prune(Prune::All);
        }
        world.replicas[0].edit(|g| g.revert_to(&marks[0].0)).unwrap();
        world.edit(0, &last);
        for (replica, (then, number)) in world.replicas.iter().zip(&marks) {
            let journal = journal(replica);
            prop_assert_eq!(folded(journal.since(*number).unwrap()), of_diff(&replica.diff(then)));
            prop_assert_eq!(folded(journal.since(0).unwrap()), of_diff(&replica.diff(&empty)));
            let numbers: Vec<_> = journal.entries().map(Entry::number).collect();
            prop_assert_eq!(numbers, (1..=journal.last()).collect::<Vec<_>>());
            // Each entry says who did it, and once tombstones have not been pruned this is always known.
            for entry in journal.entries().filter(|_| !pruning) {
                for (dot, _) in entry.writes() {
                    prop_assert!(replica.version().covers(*dot));
                    let is_own = Some(dot.writer) == replica.writer();
                    prop_assert_eq!(is_own, entry.origin() == Origin::Edit);
                }
            }
        }
    }

    #[test]
    fn limits_hold_and_a_reader_that_is_too_late_is_told(
        steps in steps(), entries in 0..20usize, bytes in 0..6_000usize, asked in 0..30u64,
    ) {
        let mut world = World::new();
        let limit = JournalLimit { entries, bytes };
        world.replicas[0].keep_journal(limit);
        world.run(&steps);
        let journal = journal(&world.replicas[0]);
        prop_assert!(journal.len() <= entries && journal.bytes() <= bytes);
        let numbers: Vec<_> = journal.entries().map(Entry::number).collect();
        let first = numbers.first().copied().unwrap_or(journal.last() + 1);
        prop_assert_eq!(&numbers, &(first..=journal.last()).collect::<Vec<_>>(), "the oldest go first");
        let found = journal.since(asked).map(|entries| entries.map(Entry::number).collect::<Vec<_>>());
        if asked + 1 < first || asked > journal.last() {
            let gap = found.unwrap_err();
            prop_assert_eq!((gap.after, gap.first, gap.last), (asked, first, journal.last()));
        } else {
            prop_assert_eq!(found.unwrap(), (asked + 1..=journal.last()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn an_edit_that_fails_or_panics_leaves_no_entry() {
    let mut a = replica::<Graph>(1);
    a.keep_journal(PLENTY);
    let before = a.snapshot();
    a.edit(|g| {
        g.add_node("ada")?;
        Err::<(), _>(EditError::abort("no"))
    })
    .unwrap_err();
    catch_unwind(AssertUnwindSafe(|| {
        a.edit(|g| {
            g.add_node("ada")?;
            if g.contains_node(ada()) { panic!("no") } else { Ok(()) }
        })
    }))
    .unwrap_err();
    assert_eq!(*a.state(), before);
    assert_eq!((journal(&a).len(), journal(&a).last()), (0, 0));
    a.edit(|g| g.add_node("ada")).unwrap();
    assert_eq!(journal(&a).entries().map(Entry::number).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_refused_merge_leaves_no_entry() {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    a.edit(|g| g.add_node("ada")).unwrap();
    let (_, late) = a.edit(|g| g.label(ada(), "Person")).unwrap();
    b.keep_journal(PLENTY);
    assert!(matches!(b.merge(&late), Err(MergeError::Gap { .. })));
    assert!(journal(&b).is_empty());
}

#[test]
fn a_field_killed_by_a_deletion_names_the_deletion() {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    let (_, first) = a
        .edit(|g| {
            g.add_node("ada")?;
            g.set(ada(), "/born", 1815)
        })
        .unwrap();
    b.merge(&first).unwrap();
    a.keep_journal(PLENTY);
    b.keep_journal(PLENTY);
    let (_, deletion) = a.edit(|g| g.remove_node(ada())).unwrap();
    b.merge(&deletion).unwrap();
    for (replica, origin) in [(&a, Origin::Edit), (&b, Origin::Merge)] {
        let entries: Vec<_> = journal(replica).entries().collect();
        assert_eq!(entries.len(), 2);
        for entry in entries {
            assert_eq!((entry.origin(), entry.now().count(), entry.writes().len()), (origin, 0, 1));
            assert_eq!(entry.writes()[0].0.writer, a.writer().unwrap());
        }
    }
}

#[test]
fn an_entry_tells_who_when_and_from_what_to_what() {
    let environment = TestEnvironment::new(2);
    let clock = environment.clock();
    let (mut a, mut b) = (replica::<Graph>(1), Replica::<Graph>::with_environment(environment));
    b.keep_journal(PLENTY);
    let (_, delta) = a.edit(|g| g.add_node("ada")).unwrap();
    clock.store(5_000_000, Ordering::Relaxed);
    b.merge(&delta).unwrap();
    let entry = journal(&b).entries().next().unwrap();
    assert_eq!((entry.at_millis(), entry.origin(), entry.was().count()), (5_000_000, Origin::Merge, 0));
    let (dot, stamp) = entry.writes()[0];
    assert_eq!((Some(dot.writer), stamp.millis()), (a.writer(), 1_000_000));
    assert_eq!(entry.now().map(|s| (s.dot, s.stamp)).collect::<Vec<_>>(), [(dot, stamp)]);
    assert_eq!(entry.change::<Graph>(), Some(GraphChange::NodeAdded(ada())));
    assert_eq!(entry.change::<PnCounter>(), None, "of another type");
}

#[test]
fn a_journal_is_neither_forked_nor_saved_and_changes_nothing() {
    let (mut with, mut without) = (replica::<Graph>(1), replica::<Graph>(1));
    with.keep_journal(PLENTY);
    for replica in [&mut with, &mut without] {
        replica.edit(|g| g.add_node("ada")).unwrap();
    }
    assert_eq!(with.state(), without.state());
    let bytes = with.save();
    assert_eq!(bytes, without.save());
    assert!(with.fork().journal().is_none());
    assert!(Replica::<Graph>::load(&bytes).unwrap().journal().is_none());
}

#[test]
fn a_reader_is_told_of_what_happened_while_the_journal_was_off() {
    let mut a = replica::<Graph>(1);
    a.keep_journal(PLENTY);
    a.edit(|g| g.add_node("ada")).unwrap();
    let cursor = journal(&a).last();
    assert_eq!(a.stop_journal().unwrap().len(), 1);
    assert!(a.stop_journal().is_none() && a.journal().is_none());
    a.edit(|g| g.label(ada(), "Person")).unwrap();
    a.keep_journal(PLENTY);
    for number in [0, cursor] {
        let Err(JournalGap { after, .. }) = journal(&a).since(number) else { panic!("a gap") };
        assert_eq!(after, number);
    }
    let cursor = journal(&a).last();
    a.edit(|g| g.label(ada(), "Poet")).unwrap();
    assert_eq!(journal(&a).since(cursor).unwrap().count(), 1);
}

#[test]
fn a_smaller_limit_drops_at_once_and_a_larger_one_keeps() {
    let mut a = replica::<Graph>(1);
    a.keep_journal(PLENTY);
    a.edit(|g| (0..10).try_for_each(|n| g.add_node(&n.to_string()).map(drop))).unwrap();
    a.keep_journal(JournalLimit { entries: 3, ..PLENTY });
    assert_eq!(journal(&a).entries().map(Entry::number).collect::<Vec<_>>(), [8, 9, 10]);
    a.keep_journal(PLENTY);
    assert_eq!((journal(&a).len(), journal(&a).limit()), (3, PLENTY));
    // One entry larger than the whole limit is not kept either, and readers are told.
    a.keep_journal(JournalLimit { entries: 3, bytes: 2_000 });
    a.edit(|g| g.set(NodeId::named("1"), "/text", "long".repeat(1_000).as_str())).unwrap();
    assert!(journal(&a).is_empty() && journal(&a).since(10).is_err() && journal(&a).since(11).is_ok());
}

#[test]
fn a_merge_of_what_a_lost_opening_wrote_is_in_it() {
    let mut a = replica::<Graph>(1);
    a.edit(|g| g.add_node("ada")).unwrap();
    let mut restored = Replica::<Graph>::load(&a.save()).unwrap();
    let (_, lost) = a.edit(|g| g.add_node("eve")).unwrap();
    restored.keep_journal(PLENTY);
    restored.edit(|g| g.add_node("joe")).unwrap();
    restored.replay(&lost).unwrap();
    let entries: Vec<_> = journal(&restored).entries().collect();
    let writers = entries.iter().map(|entry| (entry.origin(), Some(entry.writes()[0].0.writer)));
    assert_eq!(writers.collect::<Vec<_>>(), [(Origin::Edit, restored.writer()), (Origin::Edit, a.writer())]);
    assert_eq!(entries[1].change::<Graph>(), Some(GraphChange::NodeAdded(NodeId::named("eve"))));
}

// ---- one line of JSON each ----

fn lines<T: Crdt>(replica: &Replica<T>) -> Vec<Value> {
    let lines = journal(replica).entries().map(|entry| serde_json::to_string(entry).unwrap());
    lines.inspect(|line| assert!(!line.contains('\n'))).map(|line| serde_json::from_str(&line).unwrap()).collect()
}

#[test]
fn a_real_sequence_reads_as_json() {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    b.keep_journal(PLENTY);
    let (_, delta) = a
        .edit(|g| {
            g.add_node("ada")?;
            g.set(ada(), "/name", "Ada \"Byron\"\n")?;
            g.set(ada(), "/born", 1815)?;
            g.set(ada(), "/height", 1.5)?;
            g.set(ada(), "/dead", true)?;
            g.set(ada(), "/title", ())?;
            g.set(ada(), "/é", &[1u8, 255][..])
        })
        .unwrap();
    b.merge(&delta).unwrap();
    let lines_of_b = lines(&b);
    let (id, replica) = (ada().to_string(), a.writer().unwrap().to_string());
    assert_eq!(
        lines_of_b[0],
        json!({
            "number": 1, "at": 1_000_000, "origin": "merge", "schema": "driftless.graph",
            "entity": { "kind": 1, "id": id }, "field": "", "path": null, "change": format!("NodeAdded(NodeId({id}))"),
            "device": null, "writes": [{ "writer": replica, "counter": 1, "millis": 1_000_000, "tick": 0 }],
            "was": [], "now": [{ "kind": 17, "hex": "616461" }],
        })
    );
    let now: BTreeMap<_, _> =
        lines_of_b.iter().map(|line| (line["field"].as_str().unwrap(), line["now"][0].clone())).collect();
    let of = |name: &str| now[format!("\\x02{name}\\x00\\xfe\\x00\\x02").as_str()].clone();
    assert_eq!(of("name"), json!("Ada \"Byron\"\n"));
    assert_eq!(
        (of("born"), of("height"), of("dead"), of("title")),
        (json!(1815), json!(1.5), json!(true), Value::Null)
    );
    assert_eq!(of("\\xc3\\xa9"), json!({ "bytes": "01ff" }));

    // A conflict: both values, the one that shows first.
    b.edit(|g| g.set(ada(), "/born", 1816)).unwrap();
    let (_, delta) = a.edit(|g| g.set(ada(), "/born", 1814)).unwrap();
    b.merge(&delta).unwrap();
    let last = lines(&b).pop().unwrap();
    let shown = b.state().node(ada()).unwrap().get("/born").unwrap().as_int().unwrap();
    assert_eq!((&last["was"], &last["now"]), (&json!([1816]), &json!([shown, 3630 - shown])));
}

#[test]
fn values_of_standalone_types_read_as_json() {
    let mut map = replica::<OrMap<String, BTreeMap<String, (u8, Option<i8>)>>>(1);
    map.keep_journal(PLENTY);
    map.edit(|m| m.insert("k".into(), [("a".into(), (1, Some(-2))), ("b".into(), (3, None))].into())).unwrap();
    let line = lines(&map).remove(0);
    assert_eq!((&line["now"], &line["field"]), (&json!([{ "a": [1, -2], "b": [3, null] }]), &json!("\\xa1k")));
    assert_eq!(line["change"], json!("Added(\"k\")"));

    let mut register = replica::<LwwRegister<BTreeMap<u8, u8>>>(1);
    register.keep_journal(PLENTY);
    register.edit(|r| r.set([(1, 2)].into())).unwrap();
    assert_eq!(lines(&register)[0]["now"], json!([{ "1": 2 }]), "keys that are no strings, as JSON has them");

    let mut counter = replica::<PnCounter>(1);
    counter.keep_journal(PLENTY);
    counter.edit(|c| c.add(1)).unwrap();
    assert_eq!(lines(&counter)[0]["now"][0], json!({ "kind": 36, "hex": "000100" }));
}

#[test]
fn bytes_that_are_no_value_are_spelled_as_bytes() {
    use driftless::kernel::{Entity, Payload};
    use driftless::testing::Raw;
    let mut raw = replica::<Raw>(1);
    raw.keep_journal(PLENTY);
    let deep = [0x91u8; 100_000];
    // Cut short, with something behind it, an announced gigabyte, nested beyond reason, and a kind of somebody else's.
    let cases: [(u8, &[u8]); 6] = [
        (32, &[0xa3, b'a']),
        (32, &[1, 1]),
        (32, &[0xdd, 0xff, 0xff, 0xff, 0xff]),
        (32, &[0xc6, 0xff, 0xff, 0xff, 0xff]),
        (32, &deep),
        (200, b"x"),
    ];
    for (kind, bytes) in cases {
        raw.edit(|raw| raw.write(Entity::SELF, b"f", Payload::new(kind, bytes))).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(lines(&raw).pop().unwrap()["now"], json!([{ "kind": kind, "hex": hex }]));
    }
}
