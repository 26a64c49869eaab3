//! Lists: random schedules against what causality alone says is alive, and stories named after what goes wrong
//! elsewhere.

#[path = "support/list.rs"]
mod small;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use driftless::testing::TestEnvironment;
use driftless::{
    ConflictKind, Content, Delta, Document, Dot, EditError, Graph, Kind, NodeId, Path, PathError, Prune, Replica,
    Resolution, UndoStack,
};
use serde_json::{Value as Json, json};
use small::{PATH, leftovers, play, rows};

/// `DRIFTLESS_SCHEDULES=20` runs twenty times as many.
#[test]
fn any_schedule_shows_the_elements_that_are_alive() {
    let times: u64 = std::env::var("DRIFTLESS_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let seeds = 160 * times;
    let mut seen = BTreeMap::<&'static str, u32>::new();
    let mut failed = Vec::new();
    for seed in 0..seeds {
        match catch_unwind(AssertUnwindSafe(|| play(seed))) {
            Ok(Ok(found)) => {
                found.into_iter().for_each(|(what, times)| *seen.entry(what).or_default() += u32::from(times > 0));
            }
            Ok(Err(error)) => failed.push(format!("seed {seed}: {error}")),
            Err(_) => failed.push(format!("seed {seed}: a panic, told above")),
        }
    }
    println!("of {seeds} schedules: {seen:?}");
    let first = failed.iter().take(10).map(|error| format!("\n{error}")).collect::<String>();
    assert!(failed.is_empty(), "{} of {seeds} schedules fail, among them:{first}", failed.len());
    for (what, least) in [
        ("moves", 0.9),
        ("updates", 0.7),
        ("updates by two", 0.6),
        ("concurrent", 0.5),
        ("moved by two", 0.05),
        ("moved while removed", 0.05),
        ("survived a removal", 0.03),
        ("settled", 0.02),
        ("pruned", 0.4),
        ("reconciled", 0.3),
        ("refused", 0.05),
        ("lost", 0.3),
    ] {
        let share = f64::from(seen.get(what).copied().unwrap_or(0)) / seeds as f64;
        assert!(share > least, "{what} in {share} of the schedules");
    }
}

// ---- stories ----

fn replica(seed: u64) -> Replica<Document> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// A replica whose list is this array.
fn with(values: &Json) -> Replica<Document> {
    let mut replica = replica(1);
    update(&mut replica, values);
    replica
}

fn fork(of: &Replica<Document>, seed: u64) -> Replica<Document> {
    of.fork_with(TestEnvironment::new(seed))
}

/// A fork whose clock runs ahead by a second, so that of concurrent writes the fork's are the latest.
fn later_fork(of: &Replica<Document>, seed: u64) -> Replica<Document> {
    let environment = TestEnvironment::new(seed);
    environment.clock().fetch_add(1_000, Ordering::Relaxed);
    of.fork_with(environment)
}

fn insert(replica: &mut Replica<Document>, at: usize, value: &Json) -> Delta {
    replica.edit(|d| d.list_mut(PATH).insert(at, value)).unwrap().1
}

fn push(replica: &mut Replica<Document>, value: &Json) -> Delta {
    replica.edit(|d| d.list_mut(PATH).push(value)).unwrap().1
}

fn remove(replica: &mut Replica<Document>, at: usize) -> Delta {
    replica.edit(|d| d.list_mut(PATH).remove(at)).unwrap().1
}

fn move_to(replica: &mut Replica<Document>, from: usize, to: usize) -> Delta {
    replica.edit(|d| d.list_mut(PATH).move_to(from, to)).unwrap().1
}

fn update(replica: &mut Replica<Document>, values: &Json) -> (bool, Delta) {
    replica.edit(|d| d.list_mut(PATH).update(values)).unwrap()
}

fn set(replica: &mut Replica<Document>, path: &str, value: i64) -> Delta {
    replica.edit(|d| d.set(path, value)).unwrap().1
}

fn make_list(replica: &mut Replica<Document>, path: &str) -> bool {
    replica.edit(|d| d.make_list(path)).unwrap().0
}

fn shown(replica: &Replica<Document>) -> Json {
    replica.state().json(PATH).unwrap_or(json!([]))
}

fn path_of(replica: &Replica<Document>, at: usize) -> Path {
    replica.state().list(PATH).unwrap().path(at).unwrap()
}

fn index_of(replica: &Replica<Document>, path: &Path) -> Option<usize> {
    replica.state().list(PATH).unwrap().index_of(path)
}

const NONE: [ConflictKind; 0] = [];

fn kinds(replica: &Replica<Document>) -> Vec<ConflictKind> {
    replica.state().conflicts().map(|conflict| conflict.kind).collect()
}

/// All replicas merge all, and are equal.
#[track_caller]
fn sync(replicas: &mut [&mut Replica<Document>]) -> Json {
    let deltas: Vec<Delta> = replicas.iter().map(|replica| replica.complete()).collect();
    for replica in replicas.iter_mut() {
        deltas.iter().for_each(|delta| drop(replica.merge(delta).unwrap()));
    }
    for replica in replicas.iter() {
        replica.state().check_invariants().unwrap();
        assert_eq!(replica.state(), replicas[0].state());
        assert_eq!(rows(replica.state()).unwrap(), rows(replicas[0].state()).unwrap());
        assert_eq!(small::conflicts(replica.state()), small::conflicts(replicas[0].state()));
    }
    shown(replicas[0])
}

/// Settles the only conflict.
fn settle(replica: &mut Replica<Document>, resolution: Resolution<'_>) {
    let id = replica.state().conflicts().next().unwrap().id;
    replica.edit(|d| d.resolve(id, resolution)).unwrap();
    assert_eq!(kinds(replica), NONE);
}

fn is_no_element<R>(result: Result<R, EditError>) -> bool {
    matches!(result, Err(EditError::Path(PathError::NoElement { .. })))
}

// ---- moves ----

#[test]
fn an_element_moved_by_two_shows_once() {
    for is_picked in [false, true] {
        let mut a = with(&json!(["a", "b", "c", "d"]));
        let mut b = later_fork(&a, 2);
        let element = path_of(&a, 0);
        move_to(&mut a, 0, 3);
        move_to(&mut b, 0, 1);
        assert_eq!((shown(&a), shown(&b)), (json!(["b", "c", "d", "a"]), json!(["b", "a", "c", "d"])));
        assert_eq!(sync(&mut [&mut a, &mut b]), json!(["b", "a", "c", "d"]));
        let conflict = a.state().conflicts().next().unwrap();
        assert!(matches!(conflict.kind, ConflictKind::ElementMove), "{conflict:?}");
        assert_eq!((&conflict.path, index_of(&a, &element)), (&element, Some(1)));
        let places: Vec<usize> = (conflict.candidates.iter())
            .map(|candidate| if let Content::Index(at) = candidate.content { at } else { panic!("{candidate:?}") })
            .collect();
        assert_eq!(places, [1, 3]);
        assert_eq!(conflict.winner().map(|winner| winner.dot), Some(conflict.candidates[0].dot));
        let dots: Vec<Dot> = conflict.candidates.iter().map(|candidate| candidate.dot).collect();
        drop(conflict);
        match is_picked {
            true => settle(&mut a, Resolution::Pick(dots[1])),
            false => drop(move_to(&mut a, 1, 3)),
        }
        assert_eq!(kinds(&a), NONE);
        assert_eq!(sync(&mut [&mut a, &mut b]), json!(["b", "c", "d", "a"]));
        assert_eq!((kinds(&b), index_of(&b, &element)), (vec![], Some(3)));
    }
}

#[test]
fn two_that_move_an_element_to_one_place_have_it_once() {
    for (from, to) in [(0, 3), (3, 0), (1, 2)] {
        let mut a = with(&json!([0, 1, 2, 3]));
        let mut b = fork(&a, 2);
        move_to(&mut a, from, to);
        move_to(&mut b, from, to);
        let expected = shown(&a);
        assert_eq!(sync(&mut [&mut a, &mut b]), expected);
    }
}

#[test]
fn removed_and_moved_converge() {
    for pruned in 0..4u32 {
        for way in 0..4 {
            let mut a = with(&json!(["a", "b", "c", "d"]));
            let mut b = later_fork(&a, 2);
            let element = path_of(&a, 1);
            remove(&mut a, 1);
            move_to(&mut b, 1, 3);
            for (bit, replica) in [&mut a, &mut b].into_iter().enumerate() {
                if pruned >> bit & 1 == 1 {
                    replica.prune(Prune::All);
                }
            }
            assert_eq!(sync(&mut [&mut a, &mut b]), json!(["a", "c", "d"]));
            let conflict = a.state().conflicts().next().unwrap();
            assert!(matches!(conflict.kind, ConflictKind::MovedWhileRemoved), "{conflict:?}");
            assert_eq!((conflict.path.clone(), conflict.candidates.len()), (element.clone(), 1));
            drop(conflict);
            assert_eq!((leftovers(a.state()), index_of(&a, &element), a.state().json(&element)), (1, None, None));
            match way {
                0 => settle(&mut a, Resolution::Confirm),
                1 => settle(&mut a, Resolution::Delete),
                2 => drop(push(&mut a, &json!("e"))),
                _ => drop(move_to(&mut b, 0, 0)),
            }
            let last = sync(&mut [&mut a, &mut b]);
            match way {
                0 | 1 => assert_eq!((last, kinds(&b)), (json!(["a", "c", "d"]), vec![])),
                2 => assert_eq!((last, kinds(&b)), (json!(["a", "c", "d", "e"]), vec![])),
                // A move to the same place writes nothing.
                _ => assert_eq!((last, leftovers(b.state())), (json!(["a", "c", "d"]), 1)),
            }
        }
    }
}

#[test]
fn a_removal_takes_the_place_of_the_element_with_it() {
    let mut a = with(&json!(["a", "b", "c"]));
    move_to(&mut a, 0, 2);
    let mut b = fork(&a, 2);
    remove(&mut a, 2);
    assert_eq!((shown(&a), kinds(&a)), (json!(["b", "c"]), vec![]));
    a.edit(|d| d.unset("/list/0")).unwrap();
    a.edit(|d| d.list_mut(PATH).remove_range(0..1)).unwrap();
    // The last element takes the list with it.
    assert_eq!((a.state().kind(PATH), a.state().list(PATH).is_none(), kinds(&a)), (None, true, vec![]));
    assert_eq!(sync(&mut [&mut a, &mut b]), json!([]));
    a.edit(|d| d.set(PATH, 1)).unwrap();
    assert_eq!(a.state().kind(PATH), Some(Kind::Register));
}

#[test]
fn moves_then_appends_converge_with_three() {
    for ways in 0..27usize {
        let start = with(&json!([0, 1, 2, 3, 4]));
        let mut replicas: Vec<_> = (0..3).map(|n| fork(&start, 10 + n)).collect();
        for (n, replica) in replicas.iter_mut().enumerate() {
            // All move the first, or the one that another moves too, or each another.
            let way = ways / 3usize.pow(n as u32) % 3;
            move_to(replica, [0, n, 4][way], [4, 0, 1 + n][way]);
            push(replica, &json!(10 + n));
            move_to(replica, 5, n);
            push(replica, &json!(20 + n));
        }
        // Each passes all that it has on to the next, twice around.
        for turn in 0..6 {
            let delta = replicas[turn % 3].complete();
            replicas[(turn + 1) % 3].merge(&delta).unwrap();
        }
        let mut all: Vec<&mut Replica<Document>> = replicas.iter_mut().collect();
        let merged = sync(&mut all);
        let mut numbers: Vec<u64> = merged.as_array().unwrap().iter().filter_map(Json::as_u64).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 10, 11, 12, 20, 21, 22], "{ways}: {merged}");
        // All write on, having seen all.
        for replica in &mut replicas {
            let len = shown(replica).as_array().unwrap().len();
            move_to(replica, len - 1, 0);
        }
        let mut all: Vec<&mut Replica<Document>> = replicas.iter_mut().collect();
        assert_eq!(sync(&mut all).as_array().unwrap().len(), 11);
    }
}

#[test]
fn an_element_that_was_moved_is_met_when_iterating() {
    let mut a = with(&json!(["a", "b", {"n": "c"}, "d"]));
    let mut b = fork(&a, 2);
    move_to(&mut a, 0, 3);
    move_to(&mut b, 2, 0);
    let merged = sync(&mut [&mut a, &mut b]);
    assert_eq!(merged, json!([{"n": "c"}, "b", "d", "a"]));
    let list = b.state().list(PATH).unwrap();
    let by_index: Json = (0..list.len()).map(|at| list.json(at).unwrap()).collect();
    assert_eq!((by_index, list.to_json()), (merged.clone(), merged.clone()));
    let by_path: Json = (0..list.len()).map(|at| b.state().json(list.path(at).unwrap()).unwrap()).collect();
    assert_eq!((by_path, b.state().to_json()), (merged.clone(), json!({"list": merged})));
    // A walk over all values meets each once.
    let met: Vec<(Path, String)> =
        b.state().properties().iter().map(|(path, value)| (path, value.as_str().unwrap().to_owned())).collect();
    let values: BTreeSet<&str> = met.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!((values, met.len()), (["a", "b", "c", "d"].into(), 4));
    for (path, value) in &met {
        assert_eq!(b.state().get(path).and_then(|value| value.as_str()), Some(value.as_str()));
        assert!(list.index_of(path).is_some(), "{path}");
    }
}

// ---- insertions and removals ----

#[test]
fn replacing_an_element_for_ever_does_not_grow_the_state() {
    for way in 0..3 {
        let mut a = with(&json!(["first", "middle", "last"]));
        let mut b = fork(&a, 2);
        let mut longest = 0;
        for n in 0..2_000u32 {
            let (writer, reader) = if way == 2 && n % 2 == 1 { (&mut b, &mut a) } else { (&mut a, &mut b) };
            let delta = match way {
                1 => update(writer, &json!(["first", n, "last"])).1,
                _ => {
                    let replace = |d: &mut driftless::Edit<'_, Document>| {
                        d.list_mut(PATH).remove(1)?;
                        d.list_mut(PATH).insert(1, &n)
                    };
                    writer.edit(replace).unwrap().1
                }
            };
            reader.merge(&delta).unwrap();
            a.prune(Prune::All);
            b.prune(Prune::All);
            longest = longest.max(path_of(&a, 1).to_string().len());
        }
        assert_eq!(sync(&mut [&mut a, &mut b]), json!(["first", 1_999, "last"]));
        let saved = a.save();
        println!("way {way}: {} bytes, and paths of {longest} bytes at most", saved.len());
        assert!(saved.len() < 1024, "{} bytes", saved.len());
        assert!(longest < 200, "a path of {longest} bytes");
    }
}

#[test]
fn an_edit_beats_a_removal() {
    for pruned in 0..4u32 {
        for is_moved in [false, true] {
            let mut a = with(&json!([1, {"text": "milk", "done": false}, 3]));
            if is_moved {
                move_to(&mut a, 1, 0);
                move_to(&mut a, 1, 2);
            }
            let at = if is_moved { 0 } else { 1 };
            let mut b = fork(&a, 2);
            let element = path_of(&a, at);
            remove(&mut a, at);
            b.edit(|d| d.set(format!("{element}/done"), true)).unwrap();
            for (bit, replica) in [&mut a, &mut b].into_iter().enumerate() {
                if pruned >> bit & 1 == 1 {
                    replica.prune(Prune::All);
                }
            }
            let merged = sync(&mut [&mut a, &mut b]);
            // The text was seen and removed. The element shows where it was born: behind 1, which may have moved, and
            // before 3.
            assert_eq!(b.state().json(&element), Some(json!({"done": true})));
            match is_moved {
                false => assert_eq!(merged, json!([1, {"done": true}, 3])),
                true => assert_eq!(merged, json!([{"done": true}, 3, 1])),
            }
            assert_eq!(leftovers(a.state()), 0);
        }
    }
    // The same with a scalar.
    let mut a = with(&json!([1, 2, 3]));
    let mut b = fork(&a, 2);
    remove(&mut a, 1);
    set(&mut b, "/list/1", 20);
    assert_eq!(sync(&mut [&mut a, &mut b]), json!([1, 20, 3]));
    assert_eq!(kinds(&a), NONE);
}

#[test]
fn elements_inserted_at_one_spot_do_not_interleave() {
    for base in [json!([]), json!(["(", ")"])] {
        for ways in 0..8usize {
            let start = with_elements(&base);
            let at = base.as_array().unwrap().len() / 2;
            let mut others: Vec<_> = (0..3).map(|n| fork(&start, 10 + n)).collect();
            for (n, other) in others.iter_mut().enumerate() {
                let is_forward = ways >> n & 1 == 0;
                for k in 0..6 {
                    let number = json!(10 * n + k);
                    insert(other, if is_forward { at + k } else { at }, &number);
                }
            }
            let mut all: Vec<&mut Replica<Document>> = others.iter_mut().collect();
            let merged = sync(&mut all);
            let merged = merged.as_array().unwrap();
            assert_eq!(merged.len(), base.as_array().unwrap().len() + 18);
            for n in 0..3 {
                let mut row: Vec<Json> = (0..6).map(|k| json!(10 * n + k)).collect();
                if ways >> n & 1 == 1 {
                    row.reverse();
                }
                assert!(merged.windows(6).any(|window| window == row), "{ways:03b}: {merged:?}");
            }
        }
    }
}

/// A replica whose list has these elements; without a list if there are none.
fn with_elements(values: &Json) -> Replica<Document> {
    if values.as_array().is_some_and(Vec::is_empty) { replica(1) } else { with(values) }
}

#[test]
fn removing_is_undone_where_it_was() {
    for is_pruned in [false, true] {
        let mut a = with(&json!(["a", {"text": "b", "done": true}, "c", "d"]));
        move_to(&mut a, 1, 2);
        let (before, element) = (shown(&a), path_of(&a, 2));
        let mut undo = UndoStack::new();
        undo.edit(&mut a, |d| d.list_mut(PATH).remove(2)).unwrap();
        if is_pruned {
            a.prune(Prune::All);
        }
        let mut b = fork(&a, 2);
        undo.undo(&mut a).unwrap().unwrap();
        assert_eq!((shown(&a), index_of(&a, &element)), (before.clone(), Some(2)));
        undo.redo(&mut a).unwrap().unwrap();
        assert_eq!((shown(&a), kinds(&a)), (json!(["a", "c", "d"]), vec![]));
        // Another inserts around the place meanwhile.
        insert(&mut b, 2, &json!("x"));
        insert(&mut b, 0, &json!("y"));
        sync(&mut [&mut a, &mut b]);
        undo.undo(&mut a).unwrap().unwrap();
        let merged = sync(&mut [&mut a, &mut b]);
        let back = index_of(&b, &element).unwrap();
        assert!(back == 3 || back == 4, "{merged}");
        let others: Json = merged.as_array().unwrap().iter().filter(|value| value.is_string()).cloned().collect();
        assert_eq!(others, json!(["y", "a", "c", "x", "d"]));
        assert_eq!(merged[back], json!({"text": "b", "done": true}));
    }
    // A move is taken back too, and so are insertions.
    let mut a = with(&json!([1, 2, 3]));
    let mut undo = UndoStack::new();
    undo.edit(&mut a, |d| d.list_mut(PATH).move_to(0, 2)).unwrap();
    undo.edit(&mut a, |d| d.list_mut(PATH).insert(1, &4)).unwrap();
    assert_eq!(shown(&a), json!([2, 4, 3, 1]));
    undo.undo(&mut a).unwrap().unwrap();
    undo.undo(&mut a).unwrap().unwrap();
    assert_eq!((shown(&a), kinds(&a)), (json!([1, 2, 3]), vec![]));
    a.state().check_invariants().unwrap();
}

#[test]
fn a_large_list_beyond_an_arrays_limit() {
    let values: Vec<String> = (0..20_000).map(|n| format!("element number {n:05}")).collect();
    let mut a = replica(1);
    // One value cannot be as long.
    let refused = a.edit(|d| d.update("/array", &values));
    assert!(matches!(refused, Err(EditError::ValueTooLong { .. })));
    assert!(make_list(&mut a, PATH));
    a.edit(|d| d.list_mut(PATH).update(&values)).unwrap();
    assert!(shown(&a).to_string().len() > 256 << 10);
    let list = a.state().list(PATH).unwrap();
    assert_eq!(list.len(), values.len());
    assert_eq!(list.get(19_999).and_then(|value| value.as_str()), Some("element number 19999"));
    assert_eq!(a.state().deserialize::<Vec<String>>(PATH).unwrap(), Some(values.clone()));
    let mut b = Replica::<Document>::load_with(TestEnvironment::new(2), &a.save()).unwrap();
    assert_eq!((b.state(), shown(&b)), (a.state(), shown(&a)));
    b.state().check_invariants().unwrap();
    // One element in the middle is one write.
    let delta = insert(&mut b, 10_000, &json!("new"));
    assert_eq!(delta.len(), 1);
    a.merge(&delta).unwrap();
    let delta = move_to(&mut a, 0, 20_000);
    assert_eq!(delta.len(), 1);
    b.merge(&delta).unwrap();
    assert_eq!(a.state(), b.state());
    let list = b.state().list(PATH).unwrap();
    let found = [9_999, 20_000].map(|at| list.get(at).and_then(|value| value.as_str()).map(str::to_owned));
    assert_eq!(found, [Some("new".to_owned()), Some(values[0].clone())]);
}

// ---- updates ----

#[test]
fn an_array_made_a_list_by_two_shows_once() {
    let array = json!(["x", "y", {"n": 1}, "x"]);
    let mut a = replica(1);
    a.edit(|d| d.update(PATH, &array)).unwrap();
    assert_eq!(a.state().kind(PATH), Some(Kind::Register));
    let mut b = later_fork(&a, 2);
    for replica in [&mut a, &mut b] {
        assert!(make_list(replica, PATH));
        assert!(!make_list(replica, PATH));
        assert_eq!((replica.state().kind(PATH), shown(replica)), (Some(Kind::List), array.clone()));
    }
    insert(&mut a, 1, &json!("a"));
    set(&mut b, "/list/2/n", 2);
    assert_eq!(sync(&mut [&mut a, &mut b]), json!(["x", "a", "y", {"n": 2}, "x"]));
    assert!(!kinds(&a).contains(&ConflictKind::Kind));
}

#[test]
fn an_empty_list_that_was_made_stays_one() {
    let mut a = replica(1);
    assert!(make_list(&mut a, "/made"));
    assert!(!make_list(&mut a, "/made"));
    assert_eq!(a.state().to_json(), json!({"made": []}));
    a.edit(|d| d.list_mut("/made").push("one")).unwrap();
    a.edit(|d| d.list_mut("/made").remove(0)).unwrap();
    let made = a.state().list("/made").unwrap();
    assert_eq!((a.state().kind("/made"), made.len(), made.is_empty()), (Some(Kind::List), 0, true));
    // Other kinds stay as they are.
    a.edit(|d| {
        d.add("/counter", 1)?;
        d.set("/number", 1)?;
        d.set("/map/n", 1)?;
        d.text_mut("/text").insert(0, "text")
    })
    .unwrap();
    let before = a.snapshot();
    for path in ["/counter", "/number", "/map", "/text"] {
        for refused in [a.edit(|d| d.make_list(path).map(drop)), a.edit(|d| d.list_mut(path).push(&1))] {
            assert!(matches!(refused, Err(EditError::OtherKind { wanted: Kind::List, .. })), "{path}: {refused:?}");
        }
        assert!(a.state().list(path).is_none());
    }
    assert_eq!(a.state(), &before);
}

#[test]
fn one_update_made_by_two_shows_once() {
    let arrays = [
        json!([1, 2, "new", "new", {"n": 1}, 3]),
        json!([3, 2, 1, {"n": 1}]),
        json!([{"n": 1}, "one", 3, "two"]),
        json!(["only", {"n": 2}]),
        json!([1, {"n": 7, "x": [1]}, 2, 3, {"m": 1}]),
    ];
    for (array, is_pruned) in arrays.iter().flat_map(|array| [(array, false), (array, true)]) {
        let mut a = with(&json!([1, 2, {"n": 1}, 3]));
        let mut b = fork(&a, 2);
        for replica in [&mut a, &mut b] {
            assert!(update(replica, array).0);
            assert!(!update(replica, array).0);
            assert_eq!(shown(replica), *array);
            if is_pruned {
                replica.prune(Prune::All);
            }
        }
        assert_eq!(sync(&mut [&mut a, &mut b]), *array);
        assert_eq!(kinds(&a), NONE, "{array}");
    }
    // Lists that two make of one array where nothing is.
    let (mut a, mut b) = (replica(1), replica(2));
    for replica in [&mut a, &mut b] {
        update(replica, &json!(["same", "array"]));
    }
    assert_eq!(sync(&mut [&mut a, &mut b]), json!(["same", "array"]));
}

#[test]
fn update_moves_what_moved() {
    let mut values: Vec<Json> = (0..50).map(|n| json!({"id": n, "text": format!("task {n}"), "done": false})).collect();
    let mut a = with(&json!(values));
    let mut b = fork(&a, 2);
    let element = path_of(&a, 49);
    let last = values.pop().unwrap();
    values.insert(0, last);
    // A write that another makes to the element meanwhile moves along.
    b.edit(|d| d.set(format!("{element}/done"), true)).unwrap();
    let (is_changed, delta) = update(&mut a, &json!(values));
    assert!(is_changed);
    assert_eq!((delta.len(), index_of(&a, &element)), (1, Some(0)));
    sync(&mut [&mut a, &mut b]);
    assert_eq!(a.state().json("/list/0"), Some(json!({"id": 49, "text": "task 49", "done": true})));
    // Through the document, too, and then it stays a list.
    values[0]["done"] = json!(true);
    values[7]["text"] = json!("changed");
    values.swap(20, 21);
    values.remove(30);
    let kept = path_of(&a, 7);
    let (is_changed, delta) = a.edit(|d| d.update(PATH, &values)).unwrap();
    assert!(is_changed);
    // One entry, one move, and the three cells of what is gone.
    assert_eq!((delta.len(), index_of(&a, &kept)), (5, Some(7)));
    assert_eq!((a.state().kind(PATH), shown(&a)), (Some(Kind::List), json!(values)));
    assert!(!a.edit(|d| d.update(PATH, &values)).unwrap().0);
    // An array is one value as before, if nothing or a register is there.
    for array in [json!([1, 2]), json!([2, 1])] {
        a.edit(|d| d.update("/array", &array)).unwrap();
        assert_eq!((a.state().kind("/array"), a.state().json("/array")), (Some(Kind::Register), Some(array)));
    }
    let refused = a.edit(|d| d.update(PATH, &json!("no array")));
    assert!(matches!(refused, Err(EditError::Misfit { is: Kind::List, .. })), "{refused:?}");
    let refused = a.edit(|d| d.list_mut(PATH).update("no array"));
    assert!(matches!(refused, Err(EditError::Misfit { .. })), "{refused:?}");
}

#[test]
fn update_by_id_keeps_elements_that_changed() {
    let mut a = with(&json!([{"id": 1, "text": "a"}, {"id": 2, "text": "b"}, {"id": 3, "text": "c"}]));
    let mut b = fork(&a, 2);
    let elements: Vec<Path> = (0..3).map(|at| path_of(&a, at)).collect();
    let values = json!([{"id": 3, "text": "changed"}, {"id": 4, "text": "new"}, {"id": 1, "text": "a"}]);
    assert!(a.edit(|d| d.list_mut(PATH).update_by("id", &values)).unwrap().0);
    assert!(!a.edit(|d| d.list_mut(PATH).update_by("id", &values)).unwrap().0);
    assert_eq!(shown(&a), values);
    let found: Vec<Option<usize>> = elements.iter().map(|element| index_of(&a, element)).collect();
    assert_eq!(found, [Some(2), None, Some(0)]);
    b.edit(|d| {
        d.set(format!("{}/done", elements[2]), true)?;
        d.set(format!("{}/done", elements[0]), false)
    })
    .unwrap();
    let merged = sync(&mut [&mut a, &mut b]);
    let expected = json!([
        {"id": 3, "text": "changed", "done": true}, {"id": 4, "text": "new"}, {"id": 1, "text": "a", "done": false}
    ]);
    assert_eq!(merged, expected);
}

// ---- paths ----

#[test]
fn an_element_path_survives_insertions_and_moves() {
    let mut a = with(&json!([{"text": "milk"}, {"text": "eggs"}]));
    let element = path_of(&a, 1);
    let text = element.to_string();
    assert!(text.starts_with("/list/~@"), "{text}");
    assert_eq!(text.parse::<Path>().unwrap(), element);
    let mut b = fork(&a, 2);
    insert(&mut a, 0, &json!("first"));
    insert(&mut a, 2, &json!("between"));
    move_to(&mut b, 1, 0);
    b.edit(|d| d.set(format!("{element}/done"), true)).unwrap();
    sync(&mut [&mut a, &mut b]);
    for replica in [&a, &b] {
        let at = index_of(replica, &element).unwrap();
        let eggs = json!({"text": "eggs", "done": true});
        assert_eq!((path_of(replica, at), shown(replica)[at].clone()), (element.clone(), eggs.clone()));
        assert_eq!(replica.state().json(&element), Some(eggs));
        assert_eq!(replica.state().get(format!("{element}/text")), Some("eggs".into()));
        assert_eq!(replica.state().get(element.child("done").unwrap()), Some(true.into()));
        // The index of what is in an element is that of the element.
        assert_eq!(index_of(replica, &element.child("done").unwrap()), Some(at));
        assert_eq!(index_of(replica, &"/other".parse().unwrap()), None);
    }
    let mut c = Replica::<Document>::load_with(TestEnvironment::new(3), &b.save()).unwrap();
    assert_eq!(index_of(&c, &element), index_of(&b, &element));
    // A conflict in it is listed there.
    set(&mut c, &format!("{element}/n"), 1);
    set(&mut b, &format!("{element}/n"), 2);
    sync(&mut [&mut b, &mut c]);
    let conflict = b.state().conflicts_at(&element).unwrap().next().unwrap();
    assert_eq!((&conflict.kind, conflict.path), (&ConflictKind::ConcurrentEdit, element.child("n").unwrap()));
    // It goes by its path, and then the path leads nowhere.
    assert!(c.edit(|d| d.unset(&element)).unwrap().0);
    assert_eq!((index_of(&c, &element), c.state().json(&element)), (None, None));
    assert!(is_no_element(c.edit(|d| d.set(format!("{element}/done"), false))));
    assert!(is_no_element(c.edit(|d| d.set(&element, 1))));
}

#[test]
fn an_index_beyond_the_list_is_a_typed_error_and_changes_nothing() {
    let mut a = with(&json!([1, {"n": 2}, 3]));
    let gone = {
        let mut other = fork(&a, 2);
        push(&mut other, &json!("elsewhere"));
        path_of(&other, 3)
    };
    let (before, version) = (a.snapshot(), a.version().clone());
    let list = a.state().list(PATH).unwrap();
    assert_eq!((list.get(3), list.json(3), list.path(3)), (None, None, None));
    assert_eq!((list.get(usize::MAX), list.index_of(&gone)), (None, None));
    for path in ["/list/3", "/list/3/n", "/list/-1", "/list/name", "/list/99999999999999999999", "/list/1/x/y"] {
        assert_eq!((a.state().get(path), a.state().json(path)), (None, None), "{path}");
    }
    assert_eq!((a.state().get(&gone), a.state().kind(&gone)), (None, None));
    for at in [4, usize::MAX] {
        let refused = [
            a.edit(|d| d.list_mut(PATH).insert(at, &0)),
            a.edit(|d| d.list_mut(PATH).remove(at)),
            a.edit(|d| d.list_mut(PATH).remove_range(1..at)),
            a.edit(|d| d.list_mut(PATH).move_to(at, 0)),
            a.edit(|d| d.list_mut(PATH).move_to(0, at)),
            a.edit(|d| d.list_mut("/other").insert(at, &0)),
            a.edit(|d| d.list_mut("/other").remove(at)),
        ];
        for (n, refused) in refused.into_iter().enumerate() {
            assert!(matches!(refused, Err(EditError::Index { .. })), "{n}, {at}: {refused:?}");
        }
    }
    #[allow(clippy::reversed_empty_ranges, reason = "that is the error")]
    let reversed = 2..1;
    let ends = [
        a.edit(|d| d.list_mut(PATH).remove(3)),
        a.edit(|d| d.list_mut(PATH).move_to(0, 3)),
        a.edit(|d| d.list_mut(PATH).move_to(3, 3)),
        a.edit(|d| d.list_mut(PATH).remove_range(reversed)),
    ];
    for refused in ends {
        assert!(matches!(refused, Err(EditError::Index { .. })), "{refused:?}");
    }
    assert!(is_no_element(a.edit(|d| d.set("/list/3", 1))));
    assert!(is_no_element(a.edit(|d| d.set("/list/3/n", 1))));
    assert!(is_no_element(a.edit(|d| d.unset("/list/3"))));
    assert!(is_no_element(a.edit(|d| d.update("/list/7", &json!({"n": 1})))));
    assert!(is_no_element(a.edit(|d| d.set(&gone, 1))));
    assert!(is_no_element(a.edit(|d| d.text_mut("/list/3/text").insert(0, "x"))));
    assert!(is_no_element(a.edit(|d| d.list_mut("/list/3").push(&1))));
    // A name leads to no element.
    assert!(a.edit(|d| d.set("/list/name", 1)).is_err());
    // One that fails in the end takes with it what the edit did before.
    let refused = a.edit(|d| {
        d.list_mut(PATH).push(&4)?;
        d.list_mut(PATH).move_to(0, 2)?;
        d.list_mut(PATH).remove(4)
    });
    assert!(matches!(refused, Err(EditError::Index { .. })), "{refused:?}");
    assert_eq!((a.state(), a.version()), (&before, &version));
    a.state().check_invariants().unwrap();
    // An empty range is no error.
    a.edit(|d| d.list_mut(PATH).remove_range(3..3)).unwrap();
    assert_eq!(a.state(), &before);
}

// ---- what is in elements ----

#[test]
fn lists_nest() {
    let mut a = with(&json!([[1, 2], {"items": ["x", "y"]}, "scalar"]));
    // Arrays in elements are values, until they are made lists.
    assert_eq!(a.state().kind("/list/0"), Some(Kind::Register));
    assert!(make_list(&mut a, "/list/0"));
    assert!(make_list(&mut a, "/list/1/items"));
    assert_eq!(a.state().kind("/list/0"), Some(Kind::List));
    let mut b = fork(&a, 2);
    let row = path_of(&a, 0);
    // One moves and fills the lists, the other moves what they are in.
    a.edit(|d| {
        d.list_mut("/list/0").push(&3)?;
        d.list_mut("/list/0").move_to(0, 2)?;
        d.list_mut("/list/1/items").insert(0, "w")?;
        d.set("/list/1/items/2", "changed")
    })
    .unwrap();
    move_to(&mut b, 0, 2);
    b.edit(|d| d.list_mut(format!("{row}")).insert(1, &json!({"n": 0}))).unwrap();
    let merged = sync(&mut [&mut a, &mut b]);
    assert_eq!(merged[0], json!({"items": ["w", "x", "changed"]}));
    assert_eq!((&merged[1], index_of(&a, &row)), (&json!("scalar"), Some(2)));
    // The other inserted it between 1, which was moved behind 3, and 2.
    assert_eq!(merged[2], json!([{"n": 0}, 2, 3, 1]));
    assert_eq!(a.state().get("/list/2/0/n"), Some(0.into()));
    let inner = a.state().list("/list/2").unwrap();
    let path = inner.path(0).unwrap();
    assert!(path.to_string().starts_with(&format!("{row}/~@")), "{path}");
    assert_eq!((inner.len(), inner.index_of(&path)), (4, Some(0)));
    // An update goes into lists within.
    a.edit(|d| d.update("/list/2", &json!([2, {"n": 0}, 1]))).unwrap();
    assert_eq!(
        (a.state().kind("/list/2"), a.state().json("/list/2")),
        (Some(Kind::List), Some(json!([2, {"n": 0}, 1])))
    );
    // The outer element takes along all that is in it.
    remove(&mut a, 2);
    assert_eq!(a.state().json(&path), None);
    assert_eq!(sync(&mut [&mut a, &mut b]), json!([{"items": ["w", "x", "changed"]}, "scalar"]));
    // A scalar has no elements.
    let refused = a.edit(|d| d.list_mut("/list/1").push(&1));
    assert!(matches!(refused, Err(EditError::OtherKind { .. })), "{refused:?}");
}

#[test]
fn a_text_in_an_element_is_typed_into_by_two() {
    let mut a = with(&json!([{"title": "one"}, {"title": "two"}]));
    a.edit(|d| d.text_mut("/list/1/text").insert(0, "The fox jumps.")).unwrap();
    let mut b = fork(&a, 2);
    let element = path_of(&a, 1);
    a.edit(|d| {
        d.list_mut(PATH).move_to(1, 0)?;
        d.text_mut("/list/0/text").insert(4, "quick ")
    })
    .unwrap();
    b.edit(|d| d.text_mut("/list/1/text").insert(13, " twice")).unwrap();
    let merged = sync(&mut [&mut a, &mut b]);
    assert_eq!(merged, json!([{"title": "two", "text": "The quick fox jumps twice."}, {"title": "one"}]));
    for path in ["/list/0/text".to_owned(), format!("{element}/text")] {
        assert_eq!(b.state().text(&path).unwrap(), "The quick fox jumps twice.");
        assert_eq!(b.state().kind(&path), Some(Kind::Text));
    }
    assert_eq!(kinds(&a), NONE);
    // A counter and a set in an element as well.
    for replica in [&mut a, &mut b] {
        replica.edit(|d| d.add("/list/0/count", 2)).unwrap();
    }
    b.edit(|d| d.insert("/list/1/tags", "tag").map(drop)).unwrap();
    move_to(&mut a, 0, 1);
    sync(&mut [&mut a, &mut b]);
    assert_eq!((b.state().counter("/list/1/count"), b.state().contains("/list/0/tags", "tag")), (Some(4), true));
}

#[test]
fn a_list_beside_a_register_is_a_conflict_of_kinds() {
    assert!(Kind::Map < Kind::List && Kind::List < Kind::Text);
    for picked in [Kind::Register, Kind::List] {
        let (mut a, mut b) = (replica(1), replica(2));
        a.edit(|d| d.update(PATH, &json!([1, 2]))).unwrap();
        push(&mut b, &json!(3));
        assert_eq!(sync(&mut [&mut a, &mut b]), json!([3]));
        assert_eq!((a.state().kind(PATH), kinds(&a)), (Some(Kind::List), vec![ConflictKind::Kind]));
        let conflict = a.state().conflicts().next().unwrap();
        let candidates: Vec<(Kind, Json, Dot)> = (conflict.candidates.iter())
            .map(|candidate| match &candidate.content {
                Content::Kind { kind, reads } => (*kind, reads.to_json(), candidate.dot),
                other => panic!("{other:?}"),
            })
            .collect();
        let of = |candidate: &(Kind, Json, Dot)| (candidate.0, candidate.1.clone());
        let found: Vec<(Kind, Json)> = candidates.iter().map(of).collect();
        assert_eq!(found, [(Kind::List, json!([3])), (Kind::Register, json!([1, 2]))]);
        drop(conflict);
        let (_, expected, dot) = candidates.into_iter().find(|(kind, ..)| *kind == picked).unwrap();
        settle(&mut a, Resolution::Pick(dot));
        assert_eq!(sync(&mut [&mut a, &mut b]), expected);
        assert_eq!((b.state().kind(PATH), kinds(&b)), (Some(picked), vec![]));
    }
}

// ---- in a graph ----

fn graph(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn todo(replica: &Replica<Graph>, node: NodeId) -> Option<Json> {
    Some(replica.state().node(node)?.list("/todo")?.to_json())
}

#[test]
fn a_list_in_a_node() {
    let (mut a, mut b) = (graph(1), graph(2));
    let node = NodeId::named("person:ada");
    let (edge, _) = a
        .edit(|g| {
            g.add_node("person:ada")?;
            let other = g.add_node("person:charles")?;
            let edge = g.link(node, "knows", other)?;
            g.list_mut(node, "/todo").push(&json!({"text": "notes", "done": false}))?;
            g.list_mut(node, "/todo").push("letters")?;
            g.list_mut(edge, "/letters").push(&1833)?;
            Ok(edge)
        })
        .unwrap();
    b.merge(&a.complete()).unwrap();
    a.edit(|g| {
        g.set(node, "/todo/0/done", true)?;
        g.list_mut(edge, "/letters").insert(0, &1832)
    })
    .unwrap();
    b.edit(|g| {
        g.list_mut(node, "/todo").move_to(0, 1)?;
        g.list_mut(node, "/todo").insert(0, "first")?;
        g.list_mut(edge, "/letters").push(&1834)
    })
    .unwrap();
    a.merge(&b.complete()).unwrap();
    b.merge(&a.complete()).unwrap();
    assert_eq!(a.state(), b.state());
    [&a, &b].iter().for_each(|replica| replica.state().check_invariants().unwrap());
    assert_eq!(todo(&b, node), Some(json!(["first", "letters", {"text": "notes", "done": true}])));
    assert_eq!(b.state().edge(edge).unwrap().list("/letters").unwrap().to_json(), json!([1832, 1833, 1834]));
    let properties = b.state().node(node).unwrap().properties();
    assert_eq!((properties.kind("/todo"), properties.list("/none").is_none()), (Some(Kind::List), true));
    // Two move one element: a conflict of the node.
    a.edit(|g| g.list_mut(node, "/todo").move_to(0, 1)).unwrap();
    b.edit(|g| g.list_mut(node, "/todo").move_to(0, 2)).unwrap();
    a.merge(&b.complete()).unwrap();
    let (id, dot) = {
        let conflict = a.state().conflicts_of(node).next().unwrap();
        assert!(matches!(conflict.kind, ConflictKind::ElementMove), "{conflict:?}");
        (conflict.id, conflict.candidates[0].dot)
    };
    a.edit(|g| g.resolve(id, Resolution::Pick(dot))).unwrap();
    assert_eq!(a.state().conflicts().count(), 0);
    // Arrays are made lists here too, and what is not there is an error.
    a.edit(|g| g.update(node, "/array", &json!([1, 2]))).unwrap();
    assert!(a.edit(|g| g.make_list(node, "/array")).unwrap().0);
    assert!(!a.edit(|g| g.make_list(node, "/array")).unwrap().0);
    assert!(is_no_element(a.edit(|g| g.set(node, "/array/2", 1))));
    let missing = NodeId::named("missing");
    let refused = a.edit(|g| g.list_mut(missing, "/todo").push(&1));
    assert!(matches!(refused, Err(EditError::NoNode(of)) if of == missing), "{refused:?}");
    a.state().check_invariants().unwrap();
}

#[test]
fn deleting_the_node_hides_the_list() {
    let (mut a, mut b) = (graph(1), graph(2));
    let node = NodeId::named("person:ada");
    a.edit(|g| {
        g.add_node("person:ada")?;
        g.list_mut(node, "/todo").update(&json!(["notes", "letters"])).map(drop)
    })
    .unwrap();
    b.merge(&a.complete()).unwrap();
    let before = a.snapshot();
    a.edit(|g| g.remove_node(node)).unwrap();
    a.prune(Prune::All);
    b.edit(|g| g.list_mut(node, "/todo").push("engine")).unwrap();
    let (for_a, for_b) = (b.complete(), a.complete());
    a.merge(&for_a).unwrap();
    b.merge(&for_b).unwrap();
    assert_eq!(a.state(), b.state());
    assert!(a.state().node(node).is_none());
    let hidden = a.state().hidden_of(node).unwrap().properties().to_json();
    assert_eq!(hidden, json!({"todo": ["engine"]}));
    let refused = a.edit(|g| g.list_mut(node, "/todo").push(&1));
    assert!(matches!(refused, Err(EditError::NoNode(of)) if of == node), "{refused:?}");
    let (id, kind) = {
        let conflict = a.state().conflicts().next().unwrap();
        (conflict.id, conflict.kind)
    };
    assert_eq!((kind, a.state().conflicts().count()), (ConflictKind::EditDelete, 1));
    b.edit(|g| g.resolve(id, Resolution::Restore)).unwrap();
    assert_eq!(todo(&b, node), Some(json!(["engine"])));
    a.edit(|g| g.resolve(id, Resolution::RestoreFrom(&before))).unwrap();
    assert_eq!(todo(&a, node), Some(json!(["notes", "letters", "engine"])));
    a.merge(&b.complete()).unwrap();
    b.merge(&a.complete()).unwrap();
    assert_eq!(a.state(), b.state());
    assert_eq!(todo(&b, node), Some(json!(["notes", "letters", "engine"])));
    [&a, &b].iter().for_each(|replica| replica.state().check_invariants().unwrap());
}

// ---- what reviews found ----

#[test]
fn what_stands_elsewhere_is_not_taken_for_what_is_put_where_it_was() {
    for item in [json!("X"), json!({"n": 1})] {
        let mut a = with(&json!(["A", "B"]));
        update(&mut a, &json!(["A", item, "B"]));
        move_to(&mut a, 1, 2);
        a.edit(|d| d.set("/other", 1)).unwrap();
        update(&mut a, &json!(["A", item, "B", item]));
        assert_eq!(shown(&a), json!(["A", item, "B", item]));
        // The same again, with what was put there twice.
        move_to(&mut a, 1, 2);
        update(&mut a, &json!(["A", item, "B", item, item]));
        assert_eq!(shown(&a), json!(["A", item, "B", item, item]));
    }
}

#[test]
fn a_list_is_no_deeper_than_a_path() {
    let deep = "/a".repeat(64);
    let mut a = replica(1);
    a.edit(|d| d.update(&deep, &[5, 6])).unwrap();
    let before = a.snapshot();
    let refused =
        |result: Result<(), EditError>| assert!(matches!(result, Err(EditError::TooDeep { .. })), "{result:?}");
    refused(a.edit(|d| d.make_list(&deep).map(drop)).map(drop));
    refused(a.edit(|d| d.list_mut("/b".repeat(64)).push(&1)).map(drop));
    refused(a.edit(|d| d.list_mut("/b".repeat(64)).update(&[1]).map(drop)).map(drop));
    // A map in an element is one deeper.
    let path = "/b".repeat(63);
    let error = a.edit(|d| d.list_mut(&path).push(&json!({"k": 1}))).unwrap_err();
    assert!(matches!(&error, EditError::TooDeep { path: at } if at.starts_with(&format!("{path}/0"))), "{error}");
    assert_eq!(*a.state(), before);
    a.edit(|d| d.list_mut(&path).push(&1)).unwrap();
    assert_eq!(a.state().json(&path), Some(json!([1])));
}

#[test]
fn a_move_without_its_element_is_nothing() {
    let mut a = with(&json!([1, 2]));
    let mut b = fork(&a, 2);
    move_to(&mut a, 0, 1);
    b.edit(|d| d.unset("")).unwrap();
    let _ = sync(&mut [&mut a, &mut b]);
    let a = a.state();
    assert_eq!((a.to_json(), a.kind(PATH), a.properties().keys("")), (json!({}), None, vec![]));
    assert!(a.properties().is_empty());
    assert_eq!(a.conflicts().map(|conflict| conflict.kind).collect::<Vec<_>>(), [ConflictKind::MovedWhileRemoved]);

    // Within an element, a map, and a list within.
    let mut a = with(&json!([{"in": {}}, "z"]));
    a.edit(|d| d.list_mut("/list/0/in/list").update(&["x", "y"])).unwrap();
    let mut b = fork(&a, 2);
    a.edit(|d| d.list_mut("/list/0/in/list").move_to(0, 1)).unwrap();
    b.edit(|d| d.list_mut(PATH).remove(0)).unwrap();
    assert_eq!(sync(&mut [&mut a, &mut b]), json!(["z"]));
}

#[test]
fn an_element_goes_with_the_last_thing_in_it_and_so_does_its_move() {
    let mut a = with(&json!([{"a": 1}, {"b": 2}, {"c": 3}, {"d": {}}]));
    a.edit(|d| {
        d.list_mut(PATH).move_to(0, 3)?;
        d.list_mut(PATH).move_to(0, 2)?;
        d.list_mut(PATH).move_to(0, 1)?;
        d.unset("/list/3/a").map(drop)
    })
    .unwrap();
    assert_eq!(shown(&a), json!([{"d": {}}, {"c": 3}, {"b": 2}]));
    a.edit(|d| {
        d.insert("/list/2/set", "x")?;
        d.unset("/list/2/b")?;
        d.remove("/list/2/set", "x").map(drop)
    })
    .unwrap();
    a.edit(|d| {
        d.text_mut("/list/1/text").insert(0, "x")?;
        d.unset("/list/1/c")?;
        d.text_mut("/list/1/text").delete(0..1)
    })
    .unwrap();
    assert_eq!((shown(&a), kinds(&a)), (json!([{"d": {}}]), vec![]));
}

#[test]
fn what_is_pushed_and_written_to_in_turn_stays_in_order_and_small() {
    let fill = |replica: &mut Replica<Document>, names: &[String]| {
        for name in names {
            push(replica, &json!({"done": false, "text": name}));
            let last = replica.state().list(PATH).unwrap().len() - 1;
            replica.edit(|d| d.set(format!("{PATH}/{last}/done"), true)).unwrap();
        }
    };
    let names = |of: &str, len: usize| (0..len).map(|n| format!("{of}{n}")).collect::<Vec<_>>();
    for len in (0..60).step_by(7) {
        let mut a = replica(1);
        fill(&mut a, &names("t", len));
        let mut b = fork(&a, 2);
        fill(&mut a, &names("a", 30));
        fill(&mut b, &names("b", 30));
        let merged = sync(&mut [&mut a, &mut b]);
        let texts: Vec<&str> = merged.as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap()).collect();
        assert_eq!(texts[..len], names("t", len));
        let of = |name: &str| texts.iter().filter(|text| text.starts_with(name)).copied().collect::<Vec<_>>();
        assert_eq!(
            (of("a"), of("b")),
            (names("a", 30).iter().map(String::as_str).collect(), names("b", 30).iter().map(String::as_str).collect())
        );
        assert_eq!(kinds(&a), []);
    }
    let mut a = replica(1);
    fill(&mut a, &names("t", 1_000));
    a.prune(Prune::All);
    let saved = a.save().len();
    assert!(saved < 200_000, "{saved} bytes");
}

#[test]
fn a_scalar_takes_the_place_of_a_map_and_a_list() {
    let mut a = replica(1);
    let mut b = fork(&a, 2);
    a.edit(|d| d.set("/list/k", 1)).unwrap();
    push(&mut b, &json!(1));
    a.merge(&b.complete()).unwrap();
    assert_eq!(shown(&a), json!({"k": 1}));
    a.edit(|d| d.update(PATH, &5)).unwrap();
    assert_eq!((shown(&a), kinds(&a)), (json!(5), vec![]));
}

#[test]
fn a_list_is_updated_beside_a_register() {
    let mut a = with(&json!([1]));
    let mut b = replica(2);
    b.edit(|d| d.set(PATH, 7)).unwrap();
    assert_eq!(sync(&mut [&mut a, &mut b]), json!([1]));
    update(&mut a, &json!([2]));
    assert_eq!((shown(&a), a.state().kind(PATH)), (json!([2]), Some(Kind::List)));
}

#[test]
fn what_extends_a_list_overwrites_nothing() {
    let mut a = with(&json!([{"id": 1, "t": "milk"}, "z"]));
    a.edit(|d| d.extend(PATH, &json!([{"id": 2, "t": "eggs"}, "z", "new"]))).unwrap();
    assert_eq!(shown(&a), json!([{"id": 1, "t": "milk"}, {"id": 2, "t": "eggs"}, "z", "new"]));
}

#[test]
fn a_conflict_is_found_at_its_own_path() {
    let mut a = with(&json!([1, 2, 3]));
    let mut b = later_fork(&a, 2);
    move_to(&mut a, 0, 1);
    move_to(&mut b, 0, 2);
    let _ = sync(&mut [&mut a, &mut b]);
    let of = |replica: &Replica<Document>, path: &Path| {
        let found = replica.state().conflicts_at(path).unwrap();
        found.map(|conflict| (conflict.kind, conflict.path)).collect::<Vec<_>>()
    };
    let conflict = |replica: &Replica<Document>| {
        let conflict = replica.state().conflicts().next().unwrap();
        (conflict.kind, conflict.path)
    };
    let moved = conflict(&a);
    assert_eq!(of(&a, &moved.1), std::slice::from_ref(&moved));
    // A removal that has seen one of the moves.
    let mut b = fork(&a, 3);
    move_to(&mut a, 0, 1);
    let (element, at) = (path_of(&b, 0), 0);
    remove(&mut b, at);
    let _ = sync(&mut [&mut a, &mut b]);
    let left = a.state().conflicts().find(|c| c.kind == ConflictKind::MovedWhileRemoved).unwrap().path;
    assert_eq!((of(&a, &left).len(), left), (1, element));
}

#[test]
fn elements_at_one_position_can_be_parted() {
    let mut a = with(&json!([1, 2, 3, 4]));
    // Forged: the second is moved to where the third stands.
    let bytes = |path: &Path| {
        let text = path.to_string();
        let digits = text.split_once("~@").unwrap().1.to_owned();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect::<Vec<u8>>()
    };
    let (second, third) = (bytes(&path_of(&a, 1)), bytes(&path_of(&a, 2)));
    let field = [b"\x02list\x00\xfe\x00\x08\x01", &second[..]].concat();
    let payload = driftless::kernel::Payload::new(25, &third);
    a.edit(|d| d.write(driftless::kernel::Entity::SELF, &field, payload).map(drop)).unwrap();
    let together = shown(&a);
    for at in 0..=4 {
        let mut b = fork(&a, at + 10);
        insert(&mut b, at as usize, &json!("new"));
        let mut expected = together.as_array().unwrap().clone();
        expected.insert(at as usize, json!("new"));
        assert_eq!(shown(&b), Json::from(expected));
    }
}

#[test]
fn bytes_in_a_list_survive_an_update_from_its_json() {
    let mut a = with(&json!([1, 2]));
    a.edit(|d| d.set("/list/0", &b"bytes"[..])).unwrap();
    let mut values = shown(&a);
    values.as_array_mut().unwrap().push(json!("more"));
    let (_, delta) = update(&mut a, &values);
    assert_eq!(delta.len(), 1);
    assert_eq!(
        a.state().get("/list/0").and_then(|value| value.as_bytes().map(<[u8]>::to_vec)),
        Some(b"bytes".to_vec())
    );
}

#[test]
fn an_insertion_behind_a_text_whose_beginning_was_deleted_goes_where_it_is_put() {
    let mut a = with(&json!(["first", {"n": 1}, "last"]));
    a.edit(|d| d.text_mut("/list/1/a").insert(0, &"x".repeat(200))).unwrap();
    a.edit(|d| d.text_mut("/list/1/a").delete(0..150)).unwrap();
    insert(&mut a, 2, &json!("new"));
    assert_eq!(a.state().get("/list/2"), Some("new".into()));
}

#[test]
fn cells_that_nobody_could_have_written_do_not_slow_a_list_down() {
    let mut a = with(&json!([{"n": 1}]));
    let digits = path_of(&a, 0).to_string().split_once("~@").unwrap().1.to_owned();
    let born: Vec<u8> =
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
    let below = [b"\x02list\x00\xfe\x00\x08", &born[..], b"\x00\xfe"].concat();
    let took = |replica: &mut Replica<Document>, len: usize| {
        replica
            .edit(|d| {
                for n in 0..len {
                    let unreadable = [&below[..], b"a\xff", &(n as u32).to_be_bytes(), b"\x00\xfe\x00\x02"].concat();
                    d.write(driftless::kernel::Entity::SELF, &unreadable, driftless::kernel::Payload::new(1, &[]))?;
                }
                Ok(())
            })
            .unwrap();
        let (_, delta) = replica.edit(|d| (0..len).try_for_each(|n| d.set(format!("/list/0/z{n}"), 1))).unwrap();
        let mut other = Replica::<Document>::with_environment(TestEnvironment::new(9));
        let started = std::time::Instant::now();
        other.merge(&replica.complete()).unwrap();
        assert!(delta.len() == len && other.state() == replica.state());
        started.elapsed()
    };
    let few = took(&mut fork(&a, 2), 1_000);
    let many = took(&mut a, 8_000);
    assert!(many < few * 40, "{few:?} for 1,000, {many:?} for 8,000");
}
