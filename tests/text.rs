//! Texts: random schedules against the reading rule by its definition, and stories named after what goes wrong elsewhere.

#[path = "support/text.rs"]
mod small;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use driftless::kernel::{Entity, Payload};
use driftless::testing::TestEnvironment;
use driftless::{
    Anchor, Bias, ConflictKind, Content, Crdt, Delta, Document, Dot, EditError, Graph, Kind, NodeId, Offset,
    OffsetError, Prune, Replica, Resolution, Text, UndoStack,
};
use proptest::prelude::*;
use serde_json::json;
use small::{LETTER, MAX_STEPS, PATH, START, check, check_offsets, definition, lengths, lengths_of, play, replayed};

/// `DRIFTLESS_SCHEDULES=20` runs twenty times as many.
#[test]
fn any_schedule_shows_the_text_of_the_definition() {
    let times: u32 = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let cases = 2000 * times;
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let seen = std::cell::RefCell::new(BTreeMap::<&'static str, u32>::new());
    let run = proptest::test_runner::TestRunner::new(config).run(&small::schedules(), |schedule| {
        for (what, times) in play(&schedule).map_err(TestCaseError::fail)? {
            *seen.borrow_mut().entry(what).or_default() += u32::from(times > 0);
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    println!("of {cases} schedules: {:?}", seen.borrow());
    for (what, least) in [
        ("plain", 0.6),
        ("forged", 0.1),
        ("bursts", 0.6),
        ("imports", 0.15),
        ("updates", 0.2),
        ("retyped", 0.2),
        ("undone", 0.3),
        ("redone", 0.02),
        ("pruned", 0.2),
        ("concurrent", 0.3),
        ("joined", 0.02),
        ("deep", 0.05),
    ] {
        let share = f64::from(seen.borrow().get(what).copied().unwrap_or(0)) / f64::from(cases);
        assert!(share > least, "{what} in {share} of the schedules");
    }
}

// ---- stories ----

fn replica(seed: u64) -> Replica<Document> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// A replica whose document is this text.
fn with(text: &str) -> Replica<Document> {
    let mut replica = replica(1);
    insert(&mut replica, 0, text);
    replica
}

fn fork(of: &Replica<Document>, seed: u64) -> Replica<Document> {
    of.fork_with(TestEnvironment::new(seed))
}

fn insert(replica: &mut Replica<Document>, at: usize, text: &str) -> Delta {
    replica.edit(|d| d.text_mut(PATH).insert(at, text)).unwrap().1
}

fn delete(replica: &mut Replica<Document>, range: Range<usize>) -> Delta {
    replica.edit(|d| d.text_mut(PATH).delete(range)).unwrap().1
}

fn update(replica: &mut Replica<Document>, text: &str) -> bool {
    replica.edit(|d| d.text_mut(PATH).update(text)).unwrap().0
}

/// Types a word at an offset, letter by letter, each in an edit of its own.
fn type_in(replica: &mut Replica<Document>, at: usize, word: &str, is_forward: bool) {
    let letters: Vec<char> = word.chars().collect();
    match is_forward {
        true => (at..).zip(&letters).for_each(|(at, letter)| drop(insert(replica, at, &letter.to_string()))),
        false => letters.iter().rev().for_each(|letter| drop(insert(replica, at, &letter.to_string()))),
    }
}

fn text(replica: &Replica<Document>) -> String {
    replica.state().text(PATH).map(|text| text.to_string()).unwrap_or_default()
}

/// All replicas merge all, and are equal.
#[track_caller]
fn sync(replicas: &mut [&mut Replica<Document>]) -> String {
    let deltas: Vec<Delta> = replicas.iter().map(|replica| replica.complete()).collect();
    for replica in replicas.iter_mut() {
        deltas.iter().for_each(|delta| drop(replica.merge(delta).unwrap()));
    }
    for (seed, replica) in replicas.iter().enumerate() {
        assert_eq!(replica.state(), replicas[0].state());
        assert_eq!(text(replica), text(replicas[0]));
        check(replica.state(), seed, true).unwrap();
    }
    text(replicas[0])
}

/// The field of the character at an offset.
fn field_at(replica: &Replica<Document>, at: usize) -> Vec<u8> {
    definition(replica.state())[at].0.clone()
}

fn write(replica: &mut Replica<Document>, field: &[u8], payload: Payload) -> Delta {
    replica.edit(|d| d.write(Entity::SELF, field, payload)).unwrap().1
}

fn letter(of: &str) -> Payload {
    Payload::new(LETTER, of.as_bytes())
}

#[test]
fn words_typed_in_one_place_do_not_interleave() {
    for base in ["", "()"] {
        for ways in 0..8u32 {
            let is_forward = |writer: usize| ways >> writer & 1 == 0;
            let mut start = with(base);
            let at = base.len() / 2;
            let words = ["alpha", "delta", "omega"];
            let mut others: Vec<_> = (0..3).map(|i| fork(&start, 10 + i)).collect();
            for (i, other) in others.iter_mut().enumerate() {
                type_in(other, at, words[i], is_forward(i));
            }
            let mut all: Vec<&mut Replica<Document>> = others.iter_mut().chain([&mut start]).collect();
            let merged = sync(&mut all);
            assert_eq!(merged.len(), base.len() + 15, "{merged}");
            for word in words {
                assert!(merged.contains(word), "{merged} by ways {ways:03b}");
            }
        }
    }
}

/// Two writers who each begin in the middle of their own word, too.
#[test]
fn words_typed_to_and_fro_do_not_interleave() {
    for seed in 0..20u64 {
        let mut start = with("()");
        let (mut a, mut b) = (fork(&start, seed * 10 + 2), fork(&start, seed * 10 + 3));
        for (replica, letters) in [(&mut a, "ABCDEF"), (&mut b, "abcdef")] {
            let (mut at, mut bits) = (1, seed.wrapping_mul(0x9e37_79b9));
            for letter in letters.chars() {
                insert(replica, at, &letter.to_string());
                at = (at + (bits & 3) as usize).saturating_sub(1).clamp(1, text(replica).len() - 1);
                bits >>= 2;
            }
        }
        let words = [&a, &b].map(|replica| text(replica).trim_matches(['(', ')']).to_owned());
        let merged = sync(&mut [&mut start, &mut a, &mut b]);
        assert!(words.iter().all(|word| merged.contains(word)), "{merged} of {words:?}");
    }
}

#[test]
fn prepended_sessions_of_one_author_stay_together() {
    for is_forward in [true, false] {
        let mut start = with("base");
        let (mut a, mut b) = (fork(&start, 10), fork(&start, 20));
        for (author, sessions, seed) in [(&mut a, ["3rd ", "2nd ", "1st "], 30), (&mut b, ["III ", "II ", "I "], 40)] {
            for (session, word) in (seed..).zip(sessions) {
                *author = Replica::load_with(TestEnvironment::new(session), &author.save()).unwrap();
                type_in(author, 0, word, is_forward);
            }
        }
        let merged = sync(&mut [&mut start, &mut a, &mut b]);
        assert!(
            ["1st 2nd 3rd I II III base", "I II III 1st 2nd 3rd base"].contains(&merged.as_str()),
            "{merged} {is_forward}"
        );
    }
}

#[test]
fn a_retyped_word_stays_before_what_another_had_appended() {
    for is_one_edit in [true, false] {
        let mut a = with("a red wine");
        let mut b = fork(&a, 2);
        type_in(&mut b, 5, "dish", true);
        match is_one_edit {
            true => drop(a.edit(|d| d.text_mut(PATH).replace(2..5, "blue")).unwrap()),
            false => {
                delete(&mut a, 2..5);
                type_in(&mut a, 2, "blue", true);
            }
        }
        assert_eq!(sync(&mut [&mut a, &mut b]), "a bluedish wine");
    }
}

#[test]
fn insertions_beside_a_tombstone_order_alike_pruned_or_not() {
    let mut orders = Vec::new();
    for pruned in 0..16u32 {
        let mut a = with("abc");
        let (mut b, mut c) = (fork(&a, 2), fork(&a, 3));
        delete(&mut a, 1..2);
        insert(&mut a, 1, "X");
        insert(&mut b, 2, "Y");
        insert(&mut c, 1, "Z");
        let prune = |replica: &mut Replica<Document>, bit: u32| {
            if pruned >> bit & 1 == 1 {
                replica.prune(Prune::All);
            }
        };
        prune(&mut a, 0);
        b.merge(&a.complete()).unwrap();
        prune(&mut b, 1);
        c.merge(&b.complete()).unwrap();
        prune(&mut c, 2);
        a.merge(&c.complete()).unwrap();
        prune(&mut a, 3);
        orders.push(sync(&mut [&mut a, &mut b, &mut c]));
    }
    orders.dedup();
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!(orders[0].len(), 5);
}

#[test]
fn overlapping_undos_show_the_text_once() {
    for pruned in 0..4u32 {
        let mut a = with("hello world");
        let mut b = fork(&a, 2);
        let (mut undo_a, mut undo_b) = (UndoStack::new(), UndoStack::new());
        undo_a.edit(&mut a, |d| d.text_mut(PATH).delete(0..6)).unwrap();
        undo_b.edit(&mut b, |d| d.text_mut(PATH).delete(3..8)).unwrap();
        if pruned & 1 == 1 {
            a.prune(Prune::All);
        }
        if pruned & 2 == 2 {
            b.prune(Prune::All);
        }
        // Each takes back its own deletion, not having seen that of the other.
        undo_a.undo(&mut a).unwrap().unwrap();
        undo_b.undo(&mut b).unwrap().unwrap();
        assert_eq!((text(&a), text(&b)), ("hello world".into(), "hello world".into()));
        assert_eq!(sync(&mut [&mut a, &mut b]), "hello world");
    }
}

#[test]
fn one_deletion_that_two_take_back_shows_the_text_once() {
    for is_pruned in [false, true] {
        let mut a = with("hello world");
        let before = a.snapshot();
        delete(&mut a, 2..9);
        let mut b = fork(&a, 2);
        for replica in [&mut a, &mut b] {
            if is_pruned {
                replica.prune(Prune::All);
            }
            replica.edit(|d| d.revert_to(&before)).unwrap();
            assert_eq!(text(replica), "hello world");
        }
        assert_eq!(sync(&mut [&mut a, &mut b]), "hello world");
    }
}

#[test]
fn undo_of_a_deletion_puts_letters_back_among_what_others_typed() {
    let mut a = with("one two three");
    let mut undo = UndoStack::new();
    undo.edit(&mut a, |d| d.text_mut(PATH).delete(4..8)).unwrap();
    let mut b = fork(&a, 2);
    a.prune(Prune::All);
    insert(&mut b, 4, "<");
    sync(&mut [&mut a, &mut b]);
    undo.undo(&mut a).unwrap().unwrap();
    let shown = sync(&mut [&mut a, &mut b]);
    assert!(["one <two three", "one two <three"].contains(&shown.as_str()), "{shown}");
    // The undo of an insertion deletes what is still alive of it, and leaves what others put within.
    undo.clear();
    undo.edit(&mut a, |d| d.text_mut(PATH).insert(0, "0123")).unwrap();
    b.merge(&a.complete()).unwrap();
    delete(&mut b, 1..2);
    insert(&mut b, 2, "|");
    sync(&mut [&mut a, &mut b]);
    undo.undo(&mut a).unwrap().unwrap();
    assert_eq!(sync(&mut [&mut a, &mut b]), format!("|{shown}"));
}

#[test]
fn an_emoji_is_never_split_by_an_edit_or_an_index() {
    let mut a = with("a👍b");
    let before = a.snapshot();
    let inside = [Offset::Utf16(2), Offset::Byte(2), Offset::Byte(3), Offset::Byte(4)];
    for at in inside {
        let shown = a.state().text(PATH).unwrap();
        assert!(matches!(shown.locate(at), Err(OffsetError::Inside { .. })), "{at:?}");
        assert!(matches!(shown.slice(Offset::Scalar(0)..at), Err(OffsetError::Inside { .. })), "{at:?}");
        assert!(shown.anchor(at, Bias::Left).is_err());
        assert!(a.edit(|d| d.text_mut(PATH).insert(at, "x")).is_err());
        assert!(a.edit(|d| d.text_mut(PATH).delete(at..Offset::Scalar(3))).is_err());
        assert!(a.edit(|d| d.text_mut(PATH).replace(Offset::Scalar(0)..at, "x")).is_err());
        assert_eq!(a.state(), &before);
    }
    // Two that delete and insert at both sides of it.
    let mut b = fork(&a, 2);
    a.edit(|d| d.text_mut(PATH).replace(Offset::Utf16(0)..Offset::Utf16(1), "😀")).unwrap();
    b.edit(|d| d.text_mut(PATH).insert(Offset::Utf16(3), "😀")).unwrap();
    assert_eq!(sync(&mut [&mut a, &mut b]), "😀👍😀b");
}

#[test]
fn offsets_are_converted_in_all_units() {
    let strings = [
        "",
        "plain\ntext\n",
        "e\u{301}é\u{200d}\u{fe0f}",
        "👩\u{200d}👩\u{200d}👧 𝄞 字\r\nline\r\n\r\nend",
        "\n\n",
        "\u{10ffff}\0\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}",
        // A line separator is no newline.
        "a\u{2028}b\rc\n",
    ];
    let long = strings.concat().repeat(40);
    for string in strings.iter().copied().chain([long.as_str()]) {
        let mut a = with("");
        insert(&mut a, 0, string);
        let letters: Vec<char> = string.chars().collect();
        let Some(shown) = a.state().text(PATH) else {
            assert_eq!(string, "");
            continue;
        };
        assert_eq!(shown.to_string(), string);
        assert_eq!(lengths(shown.extent()), lengths_of(string));
        for seed in 0..40 {
            check_offsets(&shown, &letters, seed * 5).unwrap();
        }
        // Each line, as a string has it.
        let mut begins = 0;
        for (n, line) in string.split('\n').enumerate() {
            let at = shown.locate(Offset::Line(n)).unwrap();
            assert_eq!((at.bytes, at.newlines), (begins, n));
            let end = shown.locate(Offset::Byte(begins + line.len())).unwrap();
            assert_eq!(shown.slice(Offset::Line(n)..Offset::Scalar(end.scalars)), Ok(line.to_owned()));
            begins += line.len() + 1;
        }
    }
    // Edits count in any unit, too.
    let mut a = with("😀 one\ntwo\nthree");
    a.edit(|d| d.text_mut(PATH).insert(Offset::Line(1), "> ")).unwrap();
    a.edit(|d| d.text_mut(PATH).delete(Offset::Line(2)..Offset::Byte("😀 one\n> two\nthr".len()))).unwrap();
    a.edit(|d| d.text_mut(PATH).replace(Offset::Utf16(3)..Offset::Scalar(5), "1")).unwrap();
    assert_eq!(text(&a), "😀 1\n> two\nee");
}

#[test]
fn offsets_beyond_the_text_are_errors_and_leave_nothing() {
    let mut a = with("abc");
    let before = a.snapshot();
    let shown = a.state().text(PATH).unwrap();
    for at in [Offset::Scalar(4), Offset::Utf16(4), Offset::Byte(4), Offset::Line(1), Offset::Scalar(usize::MAX)] {
        assert!(matches!(shown.locate(at), Err(OffsetError::Beyond { .. })), "{at:?}");
        assert!(matches!(shown.slice(Offset::Scalar(0)..at), Err(OffsetError::Beyond { .. })), "{at:?}");
        assert!(matches!(shown.anchor(at, Bias::Right), Err(OffsetError::Beyond { .. })), "{at:?}");
    }
    #[allow(clippy::reversed_empty_ranges, reason = "that is the error")]
    let reversed: Range<usize> = 2..1;
    assert!(matches!(shown.slice(reversed.clone()), Err(OffsetError::Reversed { .. })));
    for range in [1..4, 4..4, reversed] {
        let refused = a.edit(|d| d.text_mut(PATH).delete(range.clone()));
        assert!(matches!(refused, Err(EditError::Offset(_))), "{refused:?}");
        assert!(a.edit(|d| d.text_mut(PATH).replace(range, "x")).is_err());
    }
    assert!(a.edit(|d| d.text_mut(PATH).insert(4, "x")).is_err());
    assert!(a.edit(|d| d.text_mut("/other").insert(1, "x")).is_err());
    assert_eq!(a.state(), &before);
    assert!(a.state().text("/other").is_none());
}

#[test]
fn an_edit_that_fails_leaves_nothing() {
    let mut a = with("some text");
    let before = a.snapshot();
    let failed = a.edit(|d| {
        let mut text = d.text_mut(PATH);
        text.insert(4, " more")?;
        text.delete(0..2)?;
        assert_eq!(text.read().to_string(), "me more text");
        text.update("another one")?;
        text.insert(100, "x")
    });
    assert!(matches!(failed, Err(EditError::Offset(_))), "{failed:?}");
    assert_eq!((a.state(), text(&a).as_str()), (&before, "some text"));
    check(a.state(), 1, true).unwrap();
}

/// In place of a run without characters, which the format of runs is to refuse: edits and cells without characters.
#[test]
fn an_edit_of_no_characters_writes_nothing() {
    let mut a = with("abc");
    let version = a.version().clone();
    insert(&mut a, 1, "");
    delete(&mut a, 2..2);
    a.edit(|d| d.text_mut(PATH).replace(3..3, "")).unwrap();
    assert!(!update(&mut a, "abc"));
    assert_eq!(a.version(), &version);
    // A cell without a character, or with two, shows nothing.
    let field = field_at(&a, 1);
    for payload in [letter(""), letter("xy"), Payload::new(LETTER, b"\xff")] {
        write(&mut a, &field, payload);
        assert_eq!(text(&a), "ac");
        check(a.state(), 1, true).unwrap();
        let mut b = replica(2);
        b.merge(&a.complete()).unwrap();
        assert_eq!(b.state(), a.state());
    }
}

#[test]
fn one_text_imported_by_two_shows_once() {
    let (mut a, mut b) = (replica(1), replica(2));
    assert!(update(&mut a, "A note.\nTwo lines.") && update(&mut b, "A note.\nTwo lines."));
    type_in(&mut a, 2, "short ", true);
    assert_eq!(sync(&mut [&mut a, &mut b]), "A short note.\nTwo lines.");
    assert_eq!(a.state().conflicts().count(), 0);
    // A deletion of one that has seen only its own import leaves what the other imported.
    let (mut a, mut b) = (replica(1), replica(2));
    assert!(update(&mut a, "one") && update(&mut b, "one"));
    delete(&mut a, 0..3);
    assert_eq!(sync(&mut [&mut a, &mut b]), "one");
    delete(&mut a, 0..3);
    assert_eq!(sync(&mut [&mut a, &mut b]), "");
    // Typing the same twice is two things.
    let (mut a, mut b) = (replica(1), replica(2));
    insert(&mut a, 0, "one");
    insert(&mut b, 0, "one");
    assert_eq!(sync(&mut [&mut a, &mut b]), "oneone");
}

#[test]
fn one_update_made_by_two_shows_once() {
    let mut a = replica(1);
    update(&mut a, "the quick fox jumps over the lazy dog");
    let mut b = fork(&a, 2);
    for replica in [&mut a, &mut b] {
        assert!(update(replica, "the quick brown fox leaps over the dog"));
        assert_eq!(text(replica), "the quick brown fox leaps over the dog");
    }
    assert_eq!(sync(&mut [&mut a, &mut b]), "the quick brown fox leaps over the dog");
    // Updates of different words are both made.
    update(&mut a, "a quick brown fox leaps over the dog");
    update(&mut b, "the quick brown fox leaps over the cat");
    assert_eq!(sync(&mut [&mut a, &mut b]), "a quick brown fox leaps over the cat");
}

#[test]
fn replacing_an_element_for_ever_does_not_grow_the_state() {
    for every in [1, 10, 100] {
        let mut a = with("(x)");
        for turn in 0..2000 {
            a.edit(|d| d.text_mut(PATH).replace(1..2, "y")).unwrap();
            if turn % every == every - 1 {
                a.prune(Prune::All);
                // A position of at most 12 steps, whatever stood there before.
                assert!(a.save().len() < 350, "{} bytes after {turn}", a.save().len());
            }
        }
        assert_eq!(text(&a), "(y)");
    }
}

#[test]
fn an_anchor_survives_the_pruning_of_its_character() {
    let mut a = with("one two three");
    let mut b = fork(&a, 2);
    let anchors: Vec<(usize, [Anchor; 2])> = (0..=13)
        .map(|at| (at, [Bias::Left, Bias::Right].map(|bias| a.state().text(PATH).unwrap().anchor(at, bias).unwrap())))
        .collect();
    delete(&mut a, 4..8);
    a.prune(Prune::All);
    insert(&mut b, 0, "zero ");
    let resolved = |replica: &Replica<Document>| -> Vec<[usize; 2]> {
        let shown = replica.state().text(PATH).unwrap();
        anchors.iter().map(|(_, anchors)| anchors.each_ref().map(|anchor| shown.resolve(anchor))).collect()
    };
    assert_eq!(sync(&mut [&mut a, &mut b]), "zero one three");
    assert_eq!(resolved(&a), resolved(&b));
    for ((at, _), found) in anchors.iter().zip(resolved(&a)) {
        let at = *at;
        // Offsets within the deleted word resolve to the gap between its neighbours.
        let now = 5 + at.min(4) + at.saturating_sub(8);
        let left = if at == 0 { 0 } else { now };
        assert_eq!(found, [left, now], "{at}");
    }
    // All is gone, and comes back.
    let whole = a.snapshot();
    delete(&mut a, 0..14);
    a.prune(Prune::All);
    insert(&mut a, 0, "x");
    let gone = resolved(&a);
    assert!(gone.is_sorted() && gone[0][0] == 0 && gone[13][1] == 1, "{gone:?}");
    a.edit(|d| d.revert_to(&whole)).unwrap();
    assert_eq!(resolved(&a), resolved(&b));
}

#[test]
fn an_anchor_keeps_to_its_side() {
    let mut a = with("ab");
    let shown = a.state().text(PATH).unwrap();
    let [left, right] = [Bias::Left, Bias::Right].map(|bias| shown.anchor(1, bias).unwrap());
    let [first, last] = [(0, Bias::Left), (2, Bias::Right)].map(|(at, bias)| shown.anchor(at, bias).unwrap());
    insert(&mut a, 1, "xyz");
    insert(&mut a, 0, "<");
    insert(&mut a, 6, ">");
    let shown = a.state().text(PATH).unwrap();
    assert_eq!(shown, "<axyzb>");
    assert_eq!([&left, &right, &first, &last].map(|anchor| shown.resolve(anchor)), [2, 5, 0, 7]);
}

#[test]
fn kinds_of_a_later_version_are_kept_not_half_read() {
    let mut a = with("abc");
    let position = field_at(&a, 1)[START.len()..].to_vec();
    let key = |key: &[u8]| [&START[..], key].concat();
    let deep = [0x40u8, 0, 0, 1, 0x80].repeat(MAX_STEPS + 1);
    let later = [
        // A mark, whatever is in it.
        (key(&[0x01, 9, 9, 9]), Payload::new(40, b"bold")),
        (key(&[0x01, 9, 9, 8]), letter("x")),
        (key(&[0x1f, 0x40, 0, 0, 1, 0x80]), letter("x")),
        // Payloads that are no character, in the cells of new ones.
        (key(&[&position[..], &[0x40, 0, 0, 1, 0x80]].concat()), Payload::new(LETTER + 50, b"x")),
        (key(&[&position[..], &[0x40, 0, 0, 2, 0x80]].concat()), Payload::new(6, b"x")),
        // Keys that are no positions.
        (key(&[0x40, 0, 0, 1]), letter("x")),
        (key(&[0xe0, 0, 0, 0, 1, 0x80]), letter("x")),
        (key(&deep), letter("x")),
    ];
    for (n, (field, payload)) in later.iter().enumerate() {
        write(&mut a, field, payload.clone());
        assert_eq!(text(&a), "abc", "{n}");
        assert_eq!(a.state().to_json(), json!("abc"), "{n}");
        check(a.state(), n, true).unwrap();
        // It is relayed, through bytes, by a replica that only passes it on.
        let mut b = replica(10 + n as u64);
        b.merge(&Delta::from_bytes(&a.complete().to_bytes()).unwrap()).unwrap();
        let c = Replica::<Document>::load_with(TestEnvironment::new(50 + n as u64), &b.save()).unwrap();
        assert_eq!((a.state(), text(&c).as_str()), (c.state(), "abc"));
        let live = c.state().state().live_siblings();
        assert_eq!(live.filter(|(_, of, _)| of.as_bytes() == field).count(), 1, "{n}");
    }
    // Editing goes on around all of it.
    insert(&mut a, 2, "|");
    delete(&mut a, 0..1);
    assert_eq!(text(&a), "b|c");
    check(a.state(), 1, true).unwrap();
    // A mark alone shows no character.
    let mut alone = replica(90);
    write(&mut alone, &later[0].0, later[0].1.clone());
    assert_eq!(text(&alone), "");
    insert(&mut alone, 0, "x");
    assert_eq!(text(&alone), "x");
    check(alone.state(), 1, true).unwrap();
}

/// Forged, or of two bunches under one tag: different letters in one cell.
#[test]
fn letters_that_share_a_cell_all_show_and_go_one_by_one() {
    let mut start = with("ab");
    let field = [&field_at(&start, 0)[..], &[0x40, 0, 0, 1, 0x80]].concat();
    let (mut a, mut b) = (fork(&start, 2), fork(&start, 3));
    write(&mut a, &field, letter("x"));
    write(&mut b, &field, letter("y"));
    start.merge(&a.complete()).unwrap();
    start.merge(&b.complete()).unwrap();
    let shared = text(&start);
    assert!(["axyb", "ayxb"].contains(&shared.as_str()), "{shared}");
    check(start.state(), 1, false).unwrap();
    let mut seeds = 10..;
    let mut edited = |edit: &dyn Fn(&mut Replica<Document>)| {
        let mut one = fork(&start, seeds.next().unwrap());
        edit(&mut one);
        check(one.state(), 2, false).unwrap();
        text(&one)
    };
    let without = |at: usize| -> String {
        shared.chars().enumerate().filter(|(i, _)| *i != at).map(|(_, letter)| letter).collect()
    };
    for at in 0..4 {
        assert_eq!(edited(&|one| drop(delete(one, at..at + 1))), without(at), "{shared}, {at}");
    }
    assert_eq!(edited(&|one| drop(delete(one, 1..3))), "ab");
    assert_eq!(edited(&|one| drop(delete(one, 0..2))), shared[2..]);
    assert_eq!(edited(&|one| drop(delete(one, 2..4))), shared[..2]);
    assert_eq!(edited(&|one| drop(insert(one, 1, "|"))), format!("a|{}", &shared[1..]));
    assert_eq!(edited(&|one| drop(insert(one, 3, "|"))), format!("{}|b", &shared[..3]));
    assert_eq!(edited(&|one| assert!(update(one, "ab"))), "ab");
    assert_eq!(edited(&|one| assert!(update(one, &format!("{shared}!")))), format!("{shared}!"));
}

#[test]
fn text_and_register_at_one_path_are_both_kept_and_the_text_shows() {
    let (mut a, mut b) = (replica(1), replica(2));
    a.edit(|d| d.set("/x", 1)).unwrap();
    b.edit(|d| d.text_mut("/x").insert(0, "hi")).unwrap();
    let (for_a, for_b) = (b.complete(), a.complete());
    a.merge(&for_a).unwrap();
    b.merge(&for_b).unwrap();
    assert_eq!(a.state(), b.state());
    assert_eq!((a.state().kind("/x"), a.state().to_json()), (Some(Kind::Text), json!({"x": "hi"})));
    assert!(Kind::Map < Kind::Text && Kind::Text < Kind::Register);
    let conflict = a.state().conflicts().next().unwrap();
    assert_eq!((conflict.kind.clone(), conflict.path.to_string()), (ConflictKind::Kind, "/x".into()));
    let kinds: Vec<(Kind, serde_json::Value)> = conflict
        .candidates
        .iter()
        .map(|candidate| match &candidate.content {
            Content::Kind { kind, reads } => (*kind, reads.to_json()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [(Kind::Text, json!("hi")), (Kind::Register, json!(1))]);
    let (id, register) = (conflict.id, conflict.candidates[1].dot);
    drop(conflict);
    let refused = a.edit(|d| d.set("/x", 2));
    assert!(matches!(refused, Err(EditError::OtherKind { is: Kind::Text, wanted: Kind::Register, .. })), "{refused:?}");
    for (resolution, shows) in [(Resolution::Confirm, json!("hi")), (Resolution::Pick(register), json!(1))] {
        let mut one = fork(&a, 9);
        one.edit(|d| d.resolve(id, resolution)).unwrap();
        assert_eq!((one.state().to_json(), one.state().conflicts().count()), (json!({"x": shows}), 0));
        one.state().check_invariants().unwrap();
    }
    // A map shows before a text.
    let mut c = replica(3);
    c.edit(|d| d.set("/x/y", 3)).unwrap();
    c.merge(&a.complete()).unwrap();
    assert_eq!((c.state().kind("/x"), c.state().to_json()), (Some(Kind::Map), json!({"x": {"y": 3}})));
}

#[test]
fn a_path_of_another_kind_takes_no_text_until_it_is_unset() {
    let mut a = replica(1);
    a.edit(|d| d.set("/x", 1)).unwrap();
    let refused = a.edit(|d| d.text_mut("/x").insert(0, "hi"));
    assert!(matches!(refused, Err(EditError::OtherKind { is: Kind::Register, .. })), "{refused:?}");
    let refused = a.edit(|d| d.text_mut("/x/y").insert(0, "hi"));
    assert!(matches!(refused, Err(EditError::IntoScalar { .. })), "{refused:?}");
    a.edit(|d| {
        d.unset("/x")?;
        d.text_mut("/x").insert(0, "hi")
    })
    .unwrap();
    assert_eq!(a.state().to_json(), json!({"x": "hi"}));
    assert!(a.edit(|d| d.set("/x/y", 1)).is_err());
    a.edit(|d| d.unset("/x")).unwrap();
    assert_eq!((a.state().to_json(), a.state().text("/x").is_none()), (json!({}), true));
    a.edit(|d| d.set("/x/y", 1)).unwrap();
    // An update to nothing makes an empty text, which is there.
    a.edit(|d| d.text_mut("/note").update("")).unwrap();
    assert_eq!(a.state().to_json(), json!({"note": "", "x": {"y": 1}}));
    assert_eq!(a.state().text("/note").map(|text| (text.len(), text.is_empty())), Some((0, true)));
}

#[test]
fn update_of_the_whole_document_keeps_a_text_and_edits_it() {
    let mut a = replica(1);
    a.edit(|d| {
        d.set("/done", false)?;
        d.text_mut("/note").insert(0, "buy milk today")
    })
    .unwrap();
    let mut b = fork(&a, 2);
    b.edit(|d| d.text_mut("/note").insert(8, " and bread")).unwrap();
    assert!(a.edit(|d| d.update("", &json!({"done": true, "note": "buy oat milk today"}))).unwrap().0);
    assert_eq!(a.state().kind("/note"), Some(Kind::Text));
    a.merge(&b.complete()).unwrap();
    assert_eq!(a.state().to_json(), json!({"done": true, "note": "buy oat milk and bread today"}));
    assert!(a.edit(|d| d.update("/note", &json!("buy oat milk"))).unwrap().0);
    assert!(!a.edit(|d| d.update("/note", &json!("buy oat milk"))).unwrap().0);
    assert_eq!(a.state().text("/note").unwrap(), "buy oat milk");
    let misfit = a.edit(|d| d.update("/note", &json!(5)));
    assert!(matches!(misfit, Err(EditError::Misfit { is: Kind::Text, .. })), "{misfit:?}");
    let as_string: Option<String> = a.state().deserialize("/note").unwrap();
    assert_eq!(as_string.as_deref(), Some("buy oat milk"));
    // A value without the text removes it.
    a.edit(|d| d.update("", &json!({"done": true}))).unwrap();
    assert_eq!((a.state().to_json(), a.state().text("/note").is_none()), (json!({"done": true}), true));
    a.state().check_invariants().unwrap();
}

#[test]
fn text_typed_under_a_deleted_node_is_listed_and_comes_back() {
    let graph = |seed| Replica::<Graph>::with_environment(TestEnvironment::new(seed));
    let (mut a, mut b) = (graph(1), graph(2));
    let node = NodeId::named("note");
    a.edit(|g| {
        g.add_node("note")?;
        g.text_mut(node, "/text").insert(0, "before")
    })
    .unwrap();
    b.merge(&a.complete()).unwrap();
    let before = a.snapshot();
    assert_eq!(a.state().node(node).unwrap().properties().text("/text").unwrap(), "before");
    a.edit(|g| g.remove_node(node)).unwrap();
    b.edit(|g| g.text_mut(node, "/text").insert(6, " and after")).unwrap();
    let (for_a, for_b) = (b.complete(), a.complete());
    a.merge(&for_a).unwrap();
    b.merge(&for_b).unwrap();
    assert_eq!(a.state(), b.state());
    assert!(a.state().node(node).is_none());
    assert_eq!(a.state().hidden_of(node).unwrap().properties().text("/text").unwrap(), " and after");
    assert!(matches!(a.edit(|g| g.text_mut(node, "/text").insert(0, "x")), Err(EditError::NoNode(of)) if of == node));
    let conflict = a.state().conflicts().next().unwrap();
    assert_eq!((conflict.kind.clone(), a.state().conflicts().count()), (ConflictKind::EditDelete, 1));
    assert_eq!(conflict.candidates.len(), 1);
    let Content::Property { path, reads } = &conflict.candidates[0].content else { panic!("{conflict:?}") };
    assert_eq!((path.to_string(), reads), ("/text".into(), &json!(" and after")));
    let id = conflict.id;
    drop(conflict);
    b.edit(|g| g.resolve(id, Resolution::Restore)).unwrap();
    assert_eq!(b.state().node(node).unwrap().properties().text("/text").unwrap(), " and after");
    a.edit(|g| g.resolve(id, Resolution::RestoreFrom(&before))).unwrap();
    let whole = a.state().node(node).unwrap().properties().text("/text").unwrap().to_string();
    assert_eq!(whole, "before and after");
    a.merge(&b.complete()).unwrap();
    b.merge(&a.complete()).unwrap();
    assert_eq!(a.state(), b.state());
    [&a, &b].iter().for_each(|replica| replica.state().check_invariants().unwrap());
}

#[test]
fn a_text_by_itself_merges_and_tells_what_changed() {
    let alone = |seed| Replica::<Text>::with_environment(TestEnvironment::new(seed));
    let (mut a, mut b) = (alone(1), alone(2));
    let (_, delta) = a.edit(|t| t.insert(0, "The fox jumps.")).unwrap();
    b.merge(&delta).unwrap();
    let before = b.snapshot();
    let (_, from_a) = a.edit(|t| t.replace(4..7, "quick fox")).unwrap();
    let (_, from_b) = b.edit(|t| t.update("The fox jumps twice.")).unwrap();
    a.merge(&from_b).unwrap();
    b.merge(&from_a).unwrap();
    assert_eq!((a.state(), a.state().to_string()), (b.state(), b.state().read().to_string()));
    assert_eq!(a.state().read(), "The quick fox jumps twice.");
    assert_eq!(replayed(&before.read(), &b.state().read()), Ok(a.state().to_string()));
    a.edit(|t| t.text_mut().delete(0..26)).unwrap();
    assert!(a.state().read().is_empty());
    a.state().check_invariants().unwrap();
}

#[test]
fn several_texts_of_a_document_do_not_meet() {
    let mut a = replica(1);
    a.edit(|d| {
        d.text_mut("/a").insert(0, "first")?;
        d.text_mut("/a\0b").insert(0, "second")?;
        d.text_mut("/m/a").insert(0, "third")
    })
    .unwrap();
    let mut b = fork(&a, 2);
    a.edit(|d| d.text_mut("/a").delete(0..5)).unwrap();
    b.edit(|d| d.text_mut("/m/a").insert(5, "!")).unwrap();
    a.merge(&b.complete()).unwrap();
    assert_eq!(a.state().to_json(), json!({"a\0b": "second", "m": {"a": "third!"}}));
    assert!(a.state().text("/a").is_none() && a.state().text("/m").is_none() && a.state().text("no path").is_none());
    assert_eq!(a.state().get("/m/a"), None);
    a.state().check_invariants().unwrap();
}

/// Ever deeper between the same two characters, two writers in turn: each new character goes beside the one before, on the other side.
#[test]
fn a_place_that_is_split_for_ever_goes_on() {
    let mut a = with("()");
    let mut b = fork(&a, 2);
    let mut expected: Vec<char> = "()".chars().collect();
    // The gap is before the character at this offset.
    let mut gap = 1;
    let mut deepest = 0;
    for n in 0..300u32 {
        let new = char::from_u32(0x4e00 + n).unwrap();
        let (writer, reader) = if n % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        let delta = insert(writer, gap, &new.to_string());
        reader.merge(&delta).unwrap();
        expected.insert(gap, new);
        // In turn before the new character and behind it.
        gap += (n / 2 % 2) as usize;
        let shown: String = expected.iter().collect();
        assert_eq!((text(writer), text(reader)), (shown.clone(), shown), "{n}");
        let depths =
            definition(writer.state()).into_iter().map(|(field, _)| small::steps(&field[START.len()..]).unwrap());
        deepest = deepest.max(depths.max().unwrap());
    }
    println!("{deepest} steps at most");
    assert!(deepest <= MAX_STEPS);
    assert_eq!(sync(&mut [&mut a, &mut b]), expected.iter().collect::<String>());
}

/// The character beside the place has as many steps as there can be: it is put again, higher, with what is inserted.
#[test]
fn beside_a_position_of_the_most_steps_there_is_room() {
    for at in [1, 2, 3] {
        let mut a = with("(");
        insert(&mut a, 1, ")");
        let deep = [0x40u8, 0, 0, 1, 0x80].repeat(MAX_STEPS - 1);
        let field = [field_at(&a, 0), deep].concat();
        write(&mut a, &field, letter("x"));
        assert_eq!(text(&a), "(x)");
        let mut expected = "(x)".to_owned();
        expected.insert_str(at, "two");
        insert(&mut a, at, "two");
        assert_eq!(text(&a), expected);
        type_in(&mut a, at + 3, "more", true);
        expected.insert_str(at + 3, "more");
        assert_eq!(text(&a), expected);
        check(a.state(), at, true).unwrap();
    }
}

/// `cargo test --release --all-features --test text a_million -- --ignored`
#[test]
#[ignore = "takes a minute"]
fn a_million_edits_whose_characters_are_deleted_and_pruned_leave_less_than_a_kilobyte() {
    let mut a = replica(1);
    let mut random = 1u64;
    for len in 0..1_000_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        insert(&mut a, (random >> 33) as usize % (len + 1), "x");
    }
    delete(&mut a, 0..1_000_000);
    a.prune(Prune::All);
    let saved = a.save();
    assert!(text(&a).is_empty() && saved.len() < 1024, "{} bytes", saved.len());
}

#[test]
fn a_text_of_which_all_is_deleted_and_pruned_is_small() {
    let mut a = replica(1);
    for _ in 0..500 {
        for at in 0..100 {
            insert(&mut a, at, "x");
        }
        delete(&mut a, 0..100);
    }
    a.prune(Prune::All);
    assert_eq!(text(&a), "");
    let saved = a.save();
    assert!(saved.len() < 1024, "{} bytes", saved.len());
    let mut b = Replica::<Document>::load_with(TestEnvironment::new(2), &saved).unwrap();
    insert(&mut b, 0, "x");
    a.merge(&b.complete()).unwrap();
    assert_eq!((text(&a), text(&b)), ("x".into(), "x".into()));
    check(a.state(), 1, true).unwrap();
}

#[test]
fn changes_of_a_long_text_are_told_exactly() {
    let mut a = with(&"All work and no play makes Jack a dull boy.\n".repeat(200));
    let before = a.snapshot();
    let mut b = fork(&a, 2);
    for (n, at) in [(1, 8000usize), (2, 5000), (3, 3000), (4, 100), (5, 0)] {
        a.edit(|d| d.text_mut(PATH).replace(at..at + n, "新")).unwrap();
        b.edit(|d| d.text_mut(PATH).insert(at + 50, "𝄞𝄞")).unwrap();
    }
    let merged = sync(&mut [&mut a, &mut b]);
    for newer in [a.snapshot(), b.snapshot()] {
        let (old, new) = (before.text(PATH).unwrap(), newer.text(PATH).unwrap());
        assert_eq!(replayed(&old, &new), Ok(merged.clone()));
        assert_eq!(replayed(&new, &old), Ok(old.to_string()));
        let touched: usize = new.changes_since(&old).iter().map(|s| s.deleted + s.inserted.chars().count()).sum();
        assert_eq!(touched, 15 + 5 + 10);
        assert!(new.changes_since(&new).is_empty());
    }
}

// ---- texts that are put into one place at once ----

fn exchange(replicas: &mut [&mut Replica<Document>]) -> String {
    let deltas: Vec<Delta> = replicas.iter().map(|replica| replica.complete()).collect();
    for replica in replicas.iter_mut() {
        deltas.iter().for_each(|delta| drop(replica.merge(delta).unwrap()));
        replica.state().check_invariants().unwrap();
    }
    assert!(replicas.iter().all(|replica| replica.state() == replicas[0].state()));
    text(replicas[0])
}

fn kinds(replica: &Replica<Document>) -> Vec<ConflictKind> {
    replica.state().conflicts().map(|conflict| conflict.kind).collect()
}

/// Two replicas, each of which has put a text of its own into an empty place.
fn two_texts() -> (Replica<Document>, Replica<Document>) {
    let (mut a, mut b) = (replica(1), replica(2));
    update(&mut a, "alpha");
    update(&mut b, "omega");
    exchange(&mut [&mut a, &mut b]);
    assert_eq!(kinds(&a), [ConflictKind::TwoTexts]);
    (a, b)
}

fn settled(replica: &mut Replica<Document>, resolution: Resolution<'_>) {
    let id = replica.state().conflicts().next().unwrap().id;
    replica.edit(|d| d.resolve(id, resolution)).unwrap();
}

#[test]
fn of_two_texts_one_is_picked_and_if_two_pick_differently_both_stay_in_conflict() {
    let (mut a, mut b) = two_texts();
    let (both, candidates) = (text(&a), |replica: &Replica<Document>| -> Vec<_> {
        let conflict = replica.state().conflicts().next().unwrap();
        conflict.candidates.iter().map(|candidate| (candidate.dot, candidate.content.to_string())).collect()
    });
    let found = candidates(&a);
    assert_eq!(found.iter().map(|(_, text)| text.as_str()).collect::<BTreeSet<_>>(), ["\"alpha\"", "\"omega\""].into());
    let mut alone = fork(&a, 3);
    settled(&mut alone, Resolution::Pick(found[0].0));
    assert_eq!((format!("{:?}", text(&alone)), kinds(&alone)), (found[0].1.clone(), vec![]));
    settled(&mut a, Resolution::Pick(found[0].0));
    settled(&mut b, Resolution::Pick(found[1].0));
    assert_eq!(exchange(&mut [&mut a, &mut b]), both);
    assert_eq!(kinds(&a), [ConflictKind::TwoTexts]);
    // Unattended it comes to rest.
    for _ in 0..2 {
        for replica in [&mut a, &mut b] {
            replica.edit(|d| d.settle(|_| Resolution::LastWriter)).unwrap();
        }
        exchange(&mut [&mut a, &mut b]);
    }
    assert_eq!((kinds(&a), ["alpha", "omega"].contains(&text(&a).as_str())), (vec![], true));
}

#[test]
fn texts_that_are_confirmed_stay_side_by_side_with_all_that_is_typed_and_anchored() {
    let (mut a, mut b) = two_texts();
    let both = text(&a);
    let anchors: Vec<_> = (0..=10).map(|at| a.state().text(PATH).unwrap().anchor(at, Bias::Right).unwrap()).collect();
    insert(&mut b, 7, "-");
    for replica in [&mut a, &mut b] {
        replica.edit(|d| d.settle(|_| Resolution::Confirm)).unwrap();
    }
    let typed = format!("{}-{}", &both[..7], &both[7..]);
    assert_eq!((exchange(&mut [&mut a, &mut b]), kinds(&b)), (typed.clone(), vec![]));
    let at: Vec<usize> = anchors.iter().map(|anchor| a.state().text(PATH).unwrap().resolve(anchor)).collect();
    assert_eq!(at, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]);
    // One who has imported one of them long ago changes nothing; one with another text opens the conflict again.
    let (mut late, mut other) = (replica(3), replica(4));
    update(&mut late, "omega");
    update(&mut other, "other");
    assert_eq!((exchange(&mut [&mut a, &mut b, &mut late]), kinds(&a)), (typed, vec![]));
    exchange(&mut [&mut a, &mut b, &mut other]);
    assert_eq!(kinds(&a), [ConflictKind::TwoTexts]);
    // Undo of a confirmation opens it again, and the last character takes it with it.
    settled(&mut a, Resolution::Union);
    let len = a.state().text(PATH).unwrap().len();
    delete(&mut a, 0..len);
    assert_eq!((a.state().kind(PATH), kinds(&a)), (None, vec![]));
}

#[test]
fn a_text_by_itself_lists_and_settles_its_conflicts() {
    let [mut a, mut b] = [1, 2].map(|seed| Replica::<Text>::with_environment(TestEnvironment::new(seed)));
    a.edit(|t| t.update("alpha")).unwrap();
    let (_, delta) = b.edit(|t| t.update("omega")).unwrap();
    a.merge(&delta).unwrap();
    let id = a.state().conflicts().next().unwrap().id;
    a.edit(|t| t.resolve(id, Resolution::LastWriter)).unwrap();
    assert!(a.state().conflicts().next().is_none() && a.state().read().len() == 5);
}

/// Forged, or of two bunches under one tag.
#[test]
fn one_of_the_letters_of_a_cell_can_be_picked() {
    let mut start = with("ab");
    let field = [&field_at(&start, 0)[..], &[0x40, 0, 0, 1, 0x80]].concat();
    let (mut a, mut b) = (fork(&start, 2), fork(&start, 3));
    write(&mut a, &field, letter("x"));
    write(&mut b, &field, letter("y"));
    start.merge(&a.complete()).unwrap();
    start.merge(&b.complete()).unwrap();
    let conflict = start.state().conflicts().next().unwrap();
    let ConflictKind::SamePosition { at } = &conflict.kind else { panic!("{conflict:?}") };
    assert_eq!((start.state().text(PATH).unwrap().resolve(at), conflict.winner()), (1, None));
    let (dot, picked) = (conflict.candidates[0].dot, conflict.candidates[0].content.to_string());
    settled(&mut start, Resolution::Pick(dot));
    assert_eq!((format!("a{}b", picked.trim_matches('"')), kinds(&start)), (text(&start), vec![]));
}

#[test]
fn kinds_that_two_pick_differently_stay_in_conflict() {
    for with_text in [false, true] {
        let (mut a, mut b) = (replica(1), replica(2));
        a.edit(|d| d.set(PATH, 1)).unwrap();
        b.edit(|d| if with_text { d.text_mut(PATH).insert(0, "hi") } else { d.insert(PATH, 5).map(drop) }).unwrap();
        exchange(&mut [&mut a, &mut b]);
        let dots: Vec<Dot> = a.state().conflicts().next().unwrap().candidates.iter().map(|c| c.dot).collect();
        settled(&mut a, Resolution::Pick(dots[0]));
        settled(&mut b, Resolution::Pick(dots[1]));
        exchange(&mut [&mut a, &mut b]);
        assert_eq!(kinds(&a), [ConflictKind::Kind], "{with_text}");
        assert_eq!(a.state().conflicts().next().unwrap().candidates.len(), 2);
    }
}

/// Letters that lie too deep for another are put again by both who insert there.
#[test]
fn two_who_insert_where_there_is_no_room_have_what_is_around_it_once() {
    let mut start = with("ab");
    let deep = [0x40u8, 0, 0, 1, 0x80].repeat(MAX_STEPS - 1);
    let field = [&field_at(&start, 0)[..], &deep].concat();
    write(&mut start, &field, letter("x"));
    assert_eq!(text(&start), "axb");
    let (mut a, mut b) = (fork(&start, 2), fork(&start, 3));
    insert(&mut a, 2, "1");
    insert(&mut b, 2, "2");
    let merged = exchange(&mut [&mut a, &mut b]);
    assert!(["ax12b", "ax21b"].contains(&merged.as_str()), "{merged}");
}

#[test]
fn a_path_that_leaves_no_room_for_positions_is_refused_before_anything_is_written() {
    for len in [3_800, 3_830, 3_840, 3_900, 4_085] {
        let path = format!("/{}", "p".repeat(len));
        let mut a = replica(1);
        let refused = a.edit(|d| d.text_mut(&path).insert(0, "one two"));
        match len {
            ..3_835 => drop(refused.unwrap()),
            _ => assert!(matches!(refused, Err(EditError::KeyTooLong { path: Some(_), .. })), "{refused:?}"),
        }
        if len < 3_835 {
            // Two in turn, for ever deeper.
            let mut b = a.fork_with(TestEnvironment::new(2));
            for turn in 0..60 {
                let (one, other) = if turn % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
                let (_, delta) = one.edit(|d| d.text_mut(&path).insert(3 + turn / 2, "x")).unwrap();
                other.merge(&delta).unwrap();
            }
            assert_eq!(a.state().text(&path).unwrap(), format!("one{} two", "x".repeat(60)).as_str());
        }
    }
}

#[test]
fn a_text_that_changed_is_told_once() {
    let mut a = replica(1);
    a.edit(|d| d.text_mut("/some").insert(0, "some text")).unwrap();
    a.edit(|d| d.set("/n", 1)).unwrap();
    a.edit(|d| d.text_mut("/other").insert(0, "another")).unwrap();
    let mut b = replica(2);
    let report = b.merge(&a.complete()).unwrap();
    let told: Vec<String> = report.changes().map(|path| path.to_string()).collect();
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len(), "{told:?}");
    assert_eq!((told.len(), report.touched().len()), (3, 17));
    let mut graph = Replica::<Graph>::with_environment(TestEnvironment::new(3));
    let node = NodeId::named("n");
    graph.edit(|g| g.add_node("n").map(drop)).unwrap();
    let before = graph.snapshot();
    graph.edit(|g| g.text_mut(node, "/t").insert(0, "many letters")).unwrap();
    assert_eq!(graph.diff(&before).changes().count(), 1);
}
