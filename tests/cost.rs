//! What things cost: bytes of memory and on the wire, and cells looked at. Counted, not timed, so the same everywhere.

use std::sync::{Mutex, MutexGuard};

use driftless::testing::{TestEnvironment, cells_visited, repair_checksum};
use driftless::{Crdt, Delta, Diff, Graph, Metric, Model, NodeId, Prune, Replica, Vector};
use peak_alloc::PeakAlloc;
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// One at a time: the allocator counts for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn id(n: usize) -> NodeId {
    // Random, as names are: the worst case for a tree.
    NodeId::from(Uuid::from_u128((n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
}

/// Nodes of three properties, in transactions of a hundred.
fn graph(nodes: usize) -> Replica<Graph> {
    let mut replica = replica(1);
    for chunk in (0..nodes).collect::<Vec<_>>().chunks(100) {
        replica
            .edit(|g| {
                chunk.iter().try_for_each(|n| {
                    let node = g.add_node(id(*n))?;
                    g.set(node, "/name", &format!("concept number {n}"))?;
                    g.set(node, "/part of speech", "noun")?;
                    g.set(node, "/weight", *n as f64)
                })
            })
            .unwrap();
    }
    replica
}

fn overwrite(replica: &mut Replica<Graph>, nodes: impl Iterator<Item = usize>, text: &str) -> Delta {
    let (_, delta) = replica.edit(|g| nodes.into_iter().try_for_each(|n| g.set(id(n), "/name", text))).unwrap();
    delta
}

#[test]
fn a_node_of_three_properties_costs_at_most_500_bytes() {
    let _alone = alone();
    let before = ALLOCATOR.current_usage();
    let replica = graph(100_000);
    let bytes = (ALLOCATOR.current_usage() - before) / 100_000;
    println!("{bytes} bytes of live heap a node");
    assert!(bytes <= 500, "{bytes} bytes a node");
    drop(replica);
}

#[test]
fn a_vector_costs_its_numbers_and_at_most_200_bytes_and_a_search_its_result() {
    let _alone = alone();
    let model = Model::new("all-MiniLM-L6-v2", 384).unwrap();
    let numbers: Vec<f32> = (0..384).map(|n| n as f32 / 100.0 - 1.0).collect();
    for (vector, size) in
        [(Vector::f32(&numbers), 4 * 384), (Vector::f16(&numbers), 2 * 384), (Vector::i8(&numbers), 384)]
    {
        let mut a = graph(10_000);
        let before = ALLOCATOR.current_usage();
        let vector = vector.unwrap().of_text("a text");
        (0..10_000).for_each(|n| drop(a.edit(|g| g.embed(id(n), &model, &vector)).unwrap()));
        let bytes = (ALLOCATOR.current_usage() - before) / 10_000;
        println!("{bytes} bytes of live heap for {vector:?}, {} beyond its numbers", bytes - size);
        assert!(bytes <= size + 200, "{bytes} bytes");

        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        assert_eq!(a.state().nearest(&model, &numbers, Metric::Cosine, 10).unwrap().len(), 10);
        let peak = ALLOCATOR.peak_usage() - before;
        assert!(peak <= 8192, "{peak} bytes to find 10 among 10,000");
    }
}

#[test]
fn cutting_and_merging_look_at_as_many_cells_whatever_the_state_holds() {
    let _alone = alone();
    let mut visited = Vec::new();
    for nodes in [1_000, 10_000, 100_000] {
        let mut a = graph(nodes);
        let mut b = replica(2);
        b.merge(&a.complete()).unwrap();
        overwrite(&mut a, (0..100).map(|n| n * (nodes / 100)), "changed");
        cells_visited();
        let delta = a.delta_since(b.version()).unwrap();
        b.merge(&delta).unwrap();
        visited.push(cells_visited());
        assert_eq!(a.state(), b.state());
    }
    println!("cells visited: {visited:?}");
    assert!(visited.iter().all(|cells| *cells == visited[0]), "{visited:?}");
    assert!(visited[0] <= 400, "{visited:?}");
}

#[test]
fn comparing_with_a_snapshot_looks_at_as_many_cells_whatever_the_state_holds() {
    let _alone = alone();
    let (mut visited, mut reverted) = (Vec::new(), Vec::new());
    for nodes in [1_000, 10_000, 100_000] {
        let mut a = graph(nodes);
        let snapshot = a.snapshot();
        // Overwritten, removed and added: what is added or removed moves its neighbours in the tree.
        overwrite(&mut a, (0..4).map(|n| n * (nodes / 4)), "changed");
        a.edit(|g| (1..4).try_for_each(|n| g.remove_node(id(n)).map(drop))).unwrap();
        a.edit(|g| (0..3).try_for_each(|n| g.add_node(id(nodes + n)).map(drop))).unwrap();
        a.prune(Prune::All);
        cells_visited();
        let diff = a.diff(&snapshot);
        visited.push(cells_visited());
        assert_eq!(diff.touched().len(), 4 + 3 * 4 + 3);
        a.edit(|g| g.revert_to(&snapshot)).unwrap();
        reverted.push(cells_visited());
        assert_eq!(Diff::between(&snapshot, a.state()).changes().count(), 0);
    }
    println!("cells visited by a comparison of 10 changes: {visited:?}, by going back: {reverted:?}");
    assert!(visited.iter().all(|cells| *cells <= 400), "{visited:?}");
    assert!(reverted.iter().all(|cells| *cells <= 800), "{reverted:?}");
}

#[test]
fn overwriting_everything_ten_times_leaves_no_history() {
    let _alone = alone();
    let mut a = graph(1_000);
    overwrite(&mut a, 0..1_000, "the same length 0");
    let once = a.save().0.len();
    let before = ALLOCATOR.current_usage();
    for round in 1..10 {
        overwrite(&mut a, 0..1_000, &format!("the same length {round}"));
    }
    let tenfold = a.save().0.len();
    let grown = ALLOCATOR.current_usage().saturating_sub(before);
    println!("{once} bytes after one overwrite, {tenfold} after ten; {grown} bytes of memory more");
    // Counters are larger numbers, so a little longer as bytes.
    assert!(tenfold <= once + once / 50, "{once} -> {tenfold}");
    assert!(grown < 100_000, "{grown} bytes of memory more");
}

#[test]
fn deleting_everything_and_pruning_leaves_next_to_nothing() {
    let _alone = alone();
    let before = ALLOCATOR.current_usage();
    let mut a = graph(1_000);
    a.edit(|g| (0..1_000).try_for_each(|n| g.remove_node(id(n)).map(drop))).unwrap();
    assert_eq!(a.prune(Prune::All), 1_000);
    let (bytes, _) = a.save();
    println!("{} bytes left, {} in memory", bytes.len(), ALLOCATOR.current_usage() - before);
    assert!(bytes.len() < 1_000, "{} bytes", bytes.len());
    assert!(ALLOCATOR.current_usage() - before < 100_000);
}

/// Damaged messages, of which the worst claim much and hold little.
#[test]
fn decoding_takes_at_most_eight_times_the_input() {
    let _alone = alone();
    let mut source = graph(50);
    source.edit(|g| (0..25).try_for_each(|n| g.unset(id(n), "/name").map(drop))).unwrap();
    let state = source.save().0;
    for bytes in [source.complete().to_bytes(), state] {
        for i in 15..bytes.len() {
            for value in [0, 0x7f, 0xcd, 0xcf, 0xdc, 0xdd, 0xdf, 0xc6, 0xff] {
                let mut damaged = bytes.clone();
                damaged[i] = value;
                repair_checksum(&mut damaged);
                check_decoding(&damaged);
            }
        }
    }
}

/// Well-formed messages that are as small as they can be for what they hold.
#[test]
fn decoding_many_tiny_siblings_takes_at_most_eight_times_the_input() {
    let _alone = alone();
    let mut a = replica(1);
    let node = id(0);
    a.edit(|g| {
        g.add_node(node)?;
        (0..20_000).try_for_each(|n| g.set(node, format!("/{n:x}"), ()))
    })
    .unwrap();
    check_decoding(&a.complete().to_bytes());
    a.edit(|g| (0..20_000).try_for_each(|n| g.unset(node, format!("/{n:x}")).map(drop))).unwrap();
    check_decoding(&a.save().0);
    check_decoding(&a.delta_since(&driftless::VersionVector::new()).unwrap().to_bytes());
}

fn check_decoding(bytes: &[u8]) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let delta = Delta::from_bytes(bytes);
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    let limit = 64 * 1024 + 8 * bytes.len();
    assert!(peak <= limit, "{peak} bytes at the peak for {} of input: {:?}", bytes.len(), delta.map(|_| ()));
}

#[test]
fn a_snapshot_costs_nothing_and_stays_as_it_is() {
    let _alone = alone();
    let mut a = graph(10_000);
    let before = ALLOCATOR.current_usage();
    let snapshots: Vec<Graph> = (0..1_000).map(|_| a.snapshot()).collect();
    let each = (ALLOCATOR.current_usage() - before) / 1_000;
    assert!(each < 500, "{each} bytes a snapshot");
    overwrite(&mut a, 0..10, "changed");
    let kept = &snapshots[0];
    let reader = std::thread::scope(|scope| {
        let reader = scope.spawn(|| kept.node(id(5)).unwrap().get("/name").unwrap().to_string());
        overwrite(&mut a, 5..6, "changed meanwhile");
        reader.join().unwrap()
    });
    assert_eq!(reader, "\"concept number 5\"");
    assert_eq!(a.state().node(id(5)).unwrap().get("/name"), Some("changed meanwhile".into()));
    assert_eq!(kept.state().live_len(), 40_000);
}

/// A set of numbers that lie so far apart that each has a word to itself, and so near that each gap is one byte.
#[test]
fn reading_a_turn_takes_at_most_thirty_two_times_the_input() {
    let _alone = alone();
    // A difference, as gaps: 200,000 of them.
    let mut bytes = vec![5, 0, 0xc0, 0x9a, 0x0c];
    bytes.resize(bytes.len() + 200_000, 0x7f);
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let turn = driftless::sync::Turn::from_bytes(&bytes);
    let took = ALLOCATOR.peak_usage() - before;
    assert!(turn.is_ok() && took <= 32 * bytes.len() + 65_536, "{took} for {}, {:?}", bytes.len(), turn.err());
}
