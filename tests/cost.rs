//! What things cost: bytes of memory and on the wire, and cells looked at. Counted where that is possible, so the same
//! everywhere; where only time tells, how it grows and not what it is.

#[path = "support/growth.rs"]
mod growth;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/spelling.rs"]
mod spelling;

use driftless::kernel::{Entity, Payload};
use driftless::testing::{TestEnvironment, cells_visited, repair_checksum};
use driftless::{
    ConflictKind, Content, Crdt, DecodeError, Delta, Diff, Document, DwFlag, Edit, EditError, EwFlag, Graph, Kind,
    LwwRegister, MaxRegister, Metric, Model, MvRegister, NodeId, OrMap, OrSet, Prune, Replica, Resolution, Rule, Rules,
    RwSet, Value, Vector, WriterId,
};
use growth::{grows_in_proportion, time};
use memory::{ALLOCATOR, alone, peak_of};
use serde_json::json;
use spelling::{ARRAY, COUNTER, NULL, REGISTER, field};
use uuid::Uuid;

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
fn a_node_of_three_properties_costs_at_most_160_bytes() {
    let _alone = alone();
    let before = ALLOCATOR.current_usage();
    let replica = graph(100_000);
    let bytes = (ALLOCATOR.current_usage() - before) / 100_000;
    println!("{bytes} bytes of live heap a node");
    assert!(bytes <= 160, "{bytes} bytes a node");
    let saved = replica.save();
    drop(replica);
    let before = ALLOCATOR.current_usage();
    let again = Replica::<Graph>::load(&saved).unwrap();
    let bytes = (ALLOCATOR.current_usage() - before) / 100_000;
    println!("{bytes} once loaded");
    assert!(bytes <= 160 && again.state().node_count() == 100_000, "{bytes} bytes a node");
}

#[test]
fn an_edge_costs_at_most_260_bytes() {
    let _alone = alone();
    let mut replica = replica(1);
    replica.edit(|g| (0..10_000).try_for_each(|n| g.add_node(id(n)).map(drop))).unwrap();
    let before = ALLOCATOR.current_usage();
    for chunk in (0..100_000).collect::<Vec<usize>>().chunks(100) {
        let link = |n: &usize| (id(n % 10_000), id(n * 7_919 % 10_007 % 10_000), (n / 10_000) as u64);
        replica
            .edit(|g| {
                chunk.iter().map(link).try_for_each(|(source, target, number)| {
                    g.link_numbered(source, "hypernym", target, number).map(drop)
                })
            })
            .unwrap();
    }
    let bytes = (ALLOCATOR.current_usage() - before) / 100_000;
    println!("{bytes} bytes of live heap an edge");
    assert!(bytes <= 260 && replica.state().edge_count() == 100_000, "{bytes} bytes an edge");
}

/// Fifty devices, each opened so often, and each opening writes what the one before wrote.
fn opened(openings: u64) -> Replica<OrMap<u32, u32>> {
    let mut all = Replica::with_environment(TestEnvironment::new(1));
    for device in 0..50 {
        let mut one = Replica::<OrMap<u32, u32>>::with_environment(TestEnvironment::new(2 + device));
        for _ in 0..openings {
            one.new_writer();
            one.edit(|map| map.insert(device as u32, 1)).unwrap();
        }
        all.merge(&one.complete()).unwrap();
    }
    all
}

#[test]
fn an_opening_costs_memory_for_good() {
    let _alone = alone();
    let before = ALLOCATOR.current_usage();
    let replica = opened(1_000);
    let bytes = (ALLOCATOR.current_usage() - before) / 50_000;
    let saved = replica.save();
    println!("{bytes} bytes of live heap an opening; {} as bytes", saved.len() / 50_000);
    drop(replica);
    let loaded = Replica::<OrMap<u32, u32>>::load(&saved).unwrap();
    let again = (ALLOCATOR.current_usage() - before - saved.capacity()) / 50_000;
    println!("{again} once loaded");
    drop(loaded);
    assert!(bytes <= 75 && again <= 90, "{bytes}, {again} bytes an opening");
}

#[test]
fn an_opening_walks_all_openings_before_it() {
    let _alone = alone();
    for name in ["", "laptop"] {
        grows_in_proportion(&format!("opening a replica of the device {name:?}"), 1_000, |openings| {
            let mut replica = document(1);
            time(|| {
                for n in 0..openings {
                    replica.new_writer();
                    if !name.is_empty() {
                        replica.set_device(name);
                    }
                    replica.edit(|d| d.set("/x", n as u64)).unwrap();
                }
            })
        });
    }
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
        a.state().nearest(&model, &numbers, Metric::Cosine, 10).unwrap();
        let bytes = (ALLOCATOR.current_usage() - before) / 10_000;
        println!("{bytes} bytes more once somebody has searched");
        assert!(bytes <= 384 + 130, "{bytes} bytes");
        let (peak, found) = peak_of(|| a.state().nearest(&model, &numbers, Metric::Cosine, 10).unwrap());
        assert_eq!(found.len(), 10);
        assert!(peak <= 8192, "{peak} bytes to find 10 among 10,000");
    }
}

#[test]
fn an_index_of_a_property_costs_at_most_250_bytes_a_node() {
    let _alone = alone();
    let mut a = graph(10_000);
    (0..10_000).for_each(|n| drop(a.edit(|g| g.set(id(n), "/born", n as i64)).unwrap()));
    let before = ALLOCATOR.current_usage();
    a.state().index_property("/born").unwrap();
    let bytes = (ALLOCATOR.current_usage() - before) / 10_000;
    println!("{bytes} bytes a node for an index of its property");
    assert!(bytes <= 250, "{bytes} bytes");
    assert_eq!(a.state().nodes_by("/born", 17).unwrap().count(), 1);
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
    assert!((200..=400).contains(&visited[0]), "{visited:?}");
}

/// Names that are numbered, floats with few digits, nodes in random order.
#[test]
fn a_delta_of_a_hundred_random_writes_takes_at_most_1100_bytes() {
    let mut ada = replica(1);
    let name = |n: usize| format!("person:{n:07}");
    ada.edit(|g| (0..10_000).try_for_each(|n| g.add_node(&name(n)).map(drop))).unwrap();
    let random = |n: usize| NodeId::named(&name(n.wrapping_mul(0x9e37_79b9) >> 7 & 0x1fff));
    let write = |n: usize| (random(n), (n * 7919 % 40_000) as f64 * 0.25);
    let edit = ada.edit(|g| (0..100).map(write).try_for_each(|(node, weight)| g.set(node, "/weight", weight)));
    let len = edit.unwrap().1.to_bytes().len();
    println!("{len} bytes");
    assert!(len <= 1100, "{len} bytes");
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
    assert!(visited.iter().all(|cells| (19..=400).contains(cells)), "{visited:?}");
    assert!(reverted.iter().all(|cells| (19..=800).contains(cells)), "{reverted:?}");
}

#[test]
fn overwriting_everything_ten_times_leaves_no_history() {
    let _alone = alone();
    let mut a = graph(1_000);
    overwrite(&mut a, 0..1_000, "the same length 0");
    let once = a.save().len();
    let before = ALLOCATOR.current_usage();
    for round in 1..10 {
        overwrite(&mut a, 0..1_000, &format!("the same length {round}"));
    }
    let tenfold = a.save().len();
    let grown = ALLOCATOR.current_usage().saturating_sub(before);
    println!("{once} bytes after one overwrite, {tenfold} after ten; {grown} bytes of memory more");
    // Counters are larger numbers, so a little longer as bytes.
    assert!(tenfold <= once + once / 50, "{once} -> {tenfold}");
    assert!(grown < 100_000, "{grown} bytes of memory more");
}

#[test]
fn overwriting_after_loading_costs_as_much_whoever_overwrites() {
    let _alone = alone();
    let first = graph(10_000);
    let (saved, old) = (first.save(), first.writer().unwrap());
    // The id of the new writer sorts after that of the old one, then before it.
    let mut grown = [false, true].map(|is_before| {
        let mut replicas = (2..).map(|seed| Replica::<Graph>::load_with(TestEnvironment::new(seed), &saved).unwrap());
        let mut replica = replicas
            .find_map(|mut replica| {
                overwrite(&mut replica, 0..1, "overwritten");
                (replica.writer().is_some_and(|new| new < old) == is_before).then_some(replica)
            })
            .unwrap();
        (0..100)
            .for_each(|n| drop(overwrite(&mut replica, (0..10_000).filter(|i| i * 7919 % 100 == n), "overwritten")));
        replica.save().len()
    });
    println!("{} bytes; with all names overwritten {grown:?}", saved.len());
    grown.sort();
    assert!(grown[1] - grown[0] < grown[0] / 100, "{grown:?}");
    // Each of the new dots is told by itself, since the names were overwritten in no order.
    assert!(grown[1] < saved.len() * 6 / 5, "{grown:?} of {}", saved.len());
}

#[test]
fn deleting_everything_and_pruning_leaves_next_to_nothing() {
    let _alone = alone();
    let before = ALLOCATOR.current_usage();
    let mut a = graph(1_000);
    a.edit(|g| (0..1_000).try_for_each(|n| g.remove_node(id(n)).map(drop))).unwrap();
    assert_eq!(a.prune(Prune::All), 1_000);
    let bytes = a.save();
    println!("{} bytes left, {} in memory", bytes.len(), ALLOCATOR.current_usage() - before);
    assert!(bytes.len() < 1_000, "{} bytes", bytes.len());
    assert!(ALLOCATOR.current_usage() - before < 100_000);
}

/// Damaged messages, of which the worst claim much and hold little.
#[test]
fn decoding_takes_at_most_as_much_as_was_foreseen() {
    let _alone = alone();
    let mut source = graph(50);
    source.edit(|g| (0..25).try_for_each(|n| g.unset(id(n), "/name").map(drop))).unwrap();
    let bytes = source.complete().to_bytes();
    for i in 15..bytes.len() {
        for value in [0, 0x7f, 0xcd, 0xcf, 0xdc, 0xdd, 0xdf, 0xc6, 0xff] {
            let mut damaged = bytes.clone();
            damaged[i] = value;
            repair_checksum(&mut damaged);
            check_decoding(&damaged);
        }
    }
}

/// Well-formed messages that are as small as they can be for what they hold.
#[test]
fn decoding_many_tiny_siblings_takes_at_most_as_much_as_was_foreseen() {
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
    check_decoding(&a.delta_since(&driftless::Version::new()).unwrap().to_bytes());
}

fn check_decoding(bytes: &[u8]) {
    let (peak, delta) = peak_of(|| Delta::from_bytes(bytes));
    let foreseen = match Delta::from_bytes_within(bytes, 0) {
        Err(DecodeError::Memory { needed, .. }) => needed as usize,
        _ => 0,
    };
    // Versions and fields come on top.
    let limit = 64 * 1024 + 16 * bytes.len() + foreseen;
    assert!(
        peak <= limit && foreseen <= 700 * bytes.len(),
        "{peak} bytes at the peak for {} of input: {:?}",
        bytes.len(),
        delta.map(|_| ())
    );
}

#[test]
fn a_snapshot_costs_nothing_and_stays_as_it_is() {
    let _alone = alone();
    let mut a = graph(10_000);
    let before = ALLOCATOR.current_usage();
    let snapshots: Vec<Graph> = (0..1_000).map(|_| a.snapshot()).collect();
    let each = (ALLOCATOR.current_usage() - before) / 1_000;
    assert!(each < 700, "{each} bytes a snapshot");
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

// ---- documents and conflicts ----

fn document(seed: u64) -> Replica<Document> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// A document that two replicas wrote at the same time.
fn disputed(
    ours: impl FnOnce(&mut Edit<'_, Document>) -> Result<(), EditError>,
    theirs: impl FnOnce(&mut Edit<'_, Document>) -> Result<(), EditError>,
) -> Replica<Document> {
    let (mut a, environment) = (document(1), TestEnvironment::new(2));
    // They are the later.
    environment.clock().store(9_000_000, std::sync::atomic::Ordering::Relaxed);
    let (_, delta) = Replica::<Document>::with_environment(environment).edit(theirs).unwrap();
    a.edit(ours).unwrap();
    a.merge(&delta).unwrap();
    a
}

#[test]
fn listing_the_conflict_of_a_deleted_node_copies_its_set_for_each_element() {
    let _alone = alone();
    let peaks = [1_000, 4_000].map(|n: u32| {
        let node = id(0);
        let mut a = replica(1);
        a.edit(|g| g.add_node(node)).unwrap();
        let mut b = a.fork_with(TestEnvironment::new(2));
        a.edit(|g| g.remove_node(node)).unwrap();
        let (_, delta) = b.edit(|g| (0..n).try_for_each(|i| g.properties_mut(node).insert("/s", i).map(drop))).unwrap();
        a.merge(&delta).unwrap();
        let (peak, kind) = peak_of(|| a.state().conflicts().map(|conflict| conflict.kind).next());
        assert_eq!(kind, Some(ConflictKind::EditDelete));
        peak
    });
    println!("{peaks:?} bytes to list a conflict with 1,000 and 4,000 survivors");
    assert!(peaks[1] < 6 * peaks[0], "{peaks:?}");
    assert!(peaks[1] < 4_000 * 500, "{peaks:?}");
}

#[test]
fn settling_looks_at_all_conflicts_for_each() {
    let _alone = alone();
    let each = |value: [u8; 1]| {
        move |d: &mut Edit<'_, Document>, n: usize| (0..n).try_for_each(|i| d.update(format!("/{i}"), &value).map(drop))
    };
    for (policy, writes) in [(Resolution::Union, true), (Resolution::LastWriter, false), (Resolution::Manual, false)] {
        grows_in_proportion(&format!("settling by {policy:?}"), 300, |n| {
            let mut a = disputed(|d| each([1])(d, n), |d| each([2])(d, n));
            time(|| {
                let (settled, _) = a.edit(|d| d.settle(|_| policy.clone())).unwrap();
                assert_eq!(settled.written, if writes { n } else { 0 });
            })
        });
    }
}

#[test]
fn a_union_of_arrays_compares_each_element_with_each() {
    let _alone = alone();
    let arrays = |n: usize| {
        let both = [0..n, n / 2..n + n / 2].map(Vec::from_iter);
        disputed(|d| d.update("/x", &both[0]).map(drop), |d| d.update("/x", &both[1]).map(drop))
    };
    grows_in_proportion("settling by a union", 1_000, |n| {
        let mut a = arrays(n);
        time(|| assert_eq!(a.edit(|d| d.settle(|_| Resolution::Union)).unwrap().0.written, 1))
    });
    let rules = Rules::new().with("/x", Rule::Union).unwrap();
    grows_in_proportion("reading a union", 1_000, |n| {
        let a = arrays(n);
        time(|| {
            assert_eq!(rules.json(&a.state().properties(), "/x").unwrap().unwrap().as_array().unwrap().len(), n + n / 2)
        })
    });
}

#[test]
fn updating_a_set_compares_each_element_with_each() {
    let _alone = alone();
    let text = |i: usize| format!("{i:08}");
    grows_in_proportion("updating a set", 500, |n| {
        let mut a = document(1);
        a.edit(|d| (0..n).try_for_each(|i| d.insert("/s", i as u64).map(drop))).unwrap();
        let next: Vec<_> = (1..=n).collect();
        time(|| assert_eq!(a.edit(|d| d.update("/s", &next)).unwrap().1.len(), 2))
    });
    grows_in_proportion("updating a set of bytes by their JSON", 500, |n| {
        let mut a = document(1);
        a.edit(|d| (0..n).try_for_each(|i| d.insert("/s", text(i).as_bytes()).map(drop))).unwrap();
        let mut read = a.state().to_json();
        // Not in the order in which they are found.
        read["s"].as_array_mut().unwrap().reverse();
        time(|| assert!(!a.edit(|d| d.update("", &read)).unwrap().0))
    });
}

#[test]
fn a_set_that_is_churned_and_never_pruned_is_searched_through_its_tombstones() {
    let _alone = alone();
    grows_in_proportion("churning a set", 400, |n| {
        let mut a = document(1);
        time(|| {
            for i in 0..n as u64 {
                a.edit(|d| Ok((d.insert("/q", i)?, d.remove("/q", i)?))).unwrap();
            }
        })
    });
    // Reads and writes there, whatever lay there once.
    grows_in_proportion("reading and writing where a set was churned", 1_000, |n| {
        let mut a = document(1);
        a.edit(|d| {
            (0..n as u64).try_for_each(|i| {
                d.insert("/q", i)?;
                d.remove("/q", i).map(drop)
            })
        })
        .unwrap();
        time(|| {
            for i in 0..n as u64 / 10 {
                assert_eq!(a.state().get("/q"), None);
                a.edit(|d| Ok((d.set("/q/x", i)?, d.unset("/q/x")?))).unwrap();
            }
        })
    });
}

#[test]
fn burying_a_big_map_looks_at_all_of_it_for_each_entry() {
    let _alone = alone();
    grows_in_proportion("burying a map", 400, |n| {
        let mut a = disputed(|d| (0..n).try_for_each(|i| d.set(format!("/x/{i}"), i as u64)), |d| d.set("/x", 1));
        time(|| {
            assert_eq!(a.edit(|d| d.settle(|_| Resolution::LastWriter)).unwrap().0.written, 1);
            assert_eq!(a.state().kind("/x"), Some(Kind::Register));
        })
    });
    // Whoever hears of it removes as much.
    grows_in_proportion("merging what buried a map", 400, |n| {
        let mut a = disputed(|d| (0..n).try_for_each(|i| d.set(format!("/x/{i}"), i as u64)), |d| d.set("/x", 1));
        let mut b = a.fork_with(TestEnvironment::new(3));
        let (_, delta) = a.edit(|d| d.settle(|_| Resolution::LastWriter)).unwrap();
        time(|| b.merge(&delta).unwrap())
    });
}

// ---- many of one thing ----

/// What the last of many concurrent siblings of one cell costs to merge: bytes of memory at the peak, and cells looked at.
fn cost_of_one_more<T: Crdt>(
    siblings: u64,
    write: impl Fn(&mut Edit<'_, T>, u64) -> Result<(), EditError>,
) -> (usize, usize) {
    let fork = |of: &Replica<T>, n: u64| of.fork_with(TestEnvironment::new(n));
    let base = Replica::<T>::with_environment(TestEnvironment::new(1));
    // All writers are known beforehand, so that each merge costs as much of the version.
    let mut a = fork(&base, 2);
    let hello = |e: &mut Edit<'_, T>| e.write(Entity::new(9, [9; 16]), b"hello", Payload::new(NULL, b"")).map(drop);
    let writers: Vec<_> = (0..=siblings)
        .map(|n| {
            let mut writer = fork(&base, 3 + n);
            let (_, greeting) = writer.edit(hello).unwrap();
            a.merge(&greeting).unwrap();
            writer
        })
        .collect();
    a.edit(|e| e.delete(Entity::new(9, [9; 16])).map(drop)).unwrap();
    let mut deltas =
        writers.into_iter().enumerate().map(|(n, mut writer)| writer.edit(|e| write(e, n as u64)).unwrap().1);
    let last = deltas.next_back().unwrap();
    deltas.for_each(|delta| drop(a.merge(&delta).unwrap()));
    cells_visited();
    let (peak, report) = peak_of(|| a.merge(&last).unwrap());
    assert_eq!(report.touched().len(), 1);
    report.changes().for_each(drop);
    (peak, cells_visited())
}

#[test]
fn merging_one_more_of_many_concurrent_siblings_copies_all_of_them() {
    let _alone = alone();
    macro_rules! check {
        ($what:literal, $type:ty, $write:expr) => {
            let costs = [250, 2_000].map(|siblings| cost_of_one_more::<$type>(siblings, $write));
            println!("{}: {costs:?} bytes at the peak and cells looked at, among 250 and 2,000 siblings", $what);
            for ((peak, visited), siblings) in costs.into_iter().zip([250, 2_000]) {
                // Besides, the new version and its table: 80 bytes a writer.
                assert!(peak <= 32_768 + 96 * siblings && visited <= 30, "{}: {peak} bytes, {visited} cells", $what);
            }
        };
    }
    check!("a property of a document", Document, |d, n| d.set("/x", n));
    check!("an equal property of a document", Document, |d, _| d.set("/x", true));
    check!("a removed property of a document", Document, |d, n| {
        d.set("/x", n)?;
        d.unset("/x").map(drop)
    });
    check!("a property of a node", Graph, |g, n| {
        g.write(Entity::new(1, *id(0).as_bytes()), &field(&[b"x"], REGISTER, b""), {
            Payload::new(NULL, &n.to_be_bytes())
        })
        .map(drop)
    });
    check!("a node", Graph, |g, _| g.add_node(id(0)).map(drop));
    check!("an edge", Graph, |g, _| g.link(id(0), "knows", id(1)).map(drop));
    check!("a register of the last writer", LwwRegister<u64>, |r, n| r.set(n));
    check!("a register of all values", MvRegister<u64>, |r, n| r.set(n));
    check!("a maximum", MaxRegister<u64>, |r, n| r.raise(n + 1).map(drop));
    check!("an entry of a map", OrMap<u8, u64>, |m, n| m.insert(1, n).map(drop));
    check!("an element of a set", OrSet<u8>, |s, _| s.insert(1).map(drop));
    check!("an element of a set in which removing wins", RwSet<u8>, |s, _| s.insert(1).map(drop));
    check!("a flag", EwFlag, |f, _| f.enable());
    check!("a flag in which disabling wins", DwFlag, |f, _| f.enable());
}

#[test]
fn adding_a_large_node_once_more_walks_all_of_it() {
    let _alone = alone();
    let visited = [1_000, 8_000].map(|fields| {
        let mut a = replica(1);
        let mut b = replica(2);
        a.edit(|g| {
            g.add_node(id(0))?;
            (0..fields).try_for_each(|n| g.set(id(0), format!("/{n}"), n))
        })
        .unwrap();
        let (_, delta) = b.edit(|g| g.add_node(id(0))).unwrap();
        cells_visited();
        a.merge(&delta).unwrap();
        cells_visited()
    });
    println!("{visited:?} cells looked at to merge a node of 1,000 and 8,000 fields that was added elsewhere too");
    assert!(visited.iter().all(|cells| *cells <= 5), "{visited:?}");
}

#[test]
fn a_failing_edit_takes_every_change_back_by_itself() {
    let _alone = alone();
    let undone = [500, 5_000, 20_000].map(|fields| {
        let mut a = replica(1);
        a.edit(|g| {
            g.add_node(id(0))?;
            (0..fields).try_for_each(|n| g.set(id(0), format!("/{n}"), n))
        })
        .unwrap();
        let before = a.snapshot();
        cells_visited();
        let failed: Result<((), _), _> = a.edit(|g| {
            g.remove_node(id(0))?;
            Err(EditError::abort("on purpose"))
        });
        failed.unwrap_err();
        let undone = cells_visited();
        assert_eq!((a.state(), a.version()), (&before, before.state().version()));
        a.state().check_invariants().unwrap();
        undone
    });
    println!("{undone:?} changes undone one by one of a failing deletion of 500, 5,000 and 20,000 fields");
    // And a look at the node's edges, for each change of its root.
    assert_eq!(undone, [501, 1_024, 1_024].map(|changes| changes + 2));
}

#[test]
fn deleting_a_node_looks_for_every_edge_whether_its_ends_are_there() {
    let _alone = alone();
    let hub = |n: usize| {
        let mut a = replica(1);
        a.edit(|g| {
            g.add_node(id(0))?;
            // The other end of every second edge is missing.
            (1..=n).filter(|i| i % 2 == 0).try_for_each(|i| g.add_node(id(i)).map(drop))?;
            (1..=n).try_for_each(|i| g.link(id(0), "e", id(i)).map(drop))
        })
        .unwrap();
        a
    };
    for n in [1_000, 8_000] {
        let mut a = hub(n);
        cells_visited();
        let (edges, _) = a.edit(|g| g.remove_node_with_edges(id(0))).unwrap();
        let visited = cells_visited();
        println!("{visited} cells looked at to delete a node with {n} edges");
        assert!(edges == n && visited <= n + n / 2 + 10, "{visited} cells for {n} edges");
        a.state().check_invariants().unwrap();
    }
    grows_in_proportion("deleting a node with its edges", 1_000, |n| {
        let mut a = hub(n);
        time(|| a.edit(|g| g.remove_node_with_edges(id(0))).unwrap())
    });
}

#[test]
fn listing_nested_conflicts_of_kinds_reads_all_that_lies_below_for_each() {
    let _alone = alone();
    const LEAVES: usize = 2_000;
    for depth in [5, 40] {
        let at = |depth: usize| "/k".repeat(depth);
        let mut a = document(1);
        a.edit(|d| (0..LEAVES).try_for_each(|n| d.set(format!("{}/{n}", at(depth)), n as u64))).unwrap();
        for level in 1..=depth {
            let (_, delta) = document(1 + level as u64).edit(|d| d.set(at(level), 1)).unwrap();
            a.merge(&delta).unwrap();
        }
        cells_visited();
        let (peak, conflicts) = peak_of(|| a.state().conflicts().count());
        let visited = cells_visited();
        println!(
            "{visited} cells looked at and {peak} bytes at the peak to list {conflicts} conflicts over {LEAVES} leaves"
        );
        assert!(conflicts == depth && visited <= LEAVES + 2 * depth, "{visited} cells");
        assert!(peak <= 65_536, "{peak} bytes");
        let all: Vec<_> = a.state().conflicts().collect();
        for conflict in &all {
            // By itself it is the same.
            let alone = a.state().conflicts_at(&conflict.path).unwrap().next().unwrap();
            assert_eq!(alone.id, conflict.id);
        }
        // The innermost map has all leaves.
        let Content::Kind { kind: Kind::Map, reads } = &all[depth - 1].candidates[0].content else { panic!() };
        assert_eq!(reads.to_json().as_object().unwrap().len(), LEAVES);
        let (settled, _) = a.edit(|d| d.settle(|_| Resolution::LastWriter)).unwrap();
        assert!(settled.written >= 1);
        a.state().check_invariants().unwrap();
    }
}

/// A register and a counter at the same path of empty segments, of many nodes.
fn empty_segments(segments: usize, nodes: usize) -> [Delta; 2] {
    let path = vec![&b""[..]; segments];
    let mut hostile = replica(1);
    [(REGISTER, Vec::new()), (COUNTER, vec![7; WriterId::LEN])].map(|(kind, key)| {
        let field = field(&path, kind, &key);
        let write = |g: &mut Edit<'_, Graph>, n: usize| {
            g.write(Entity::new(1, *id(n).as_bytes()), &field, Payload::new(NULL, b"")).map(drop)
        };
        hostile.edit(|g| (0..nodes).try_for_each(|n| write(g, n))).unwrap().1
    })
}

#[test]
fn merging_fields_of_many_empty_segments_takes_memory_or_time_for_each_beginning_of_their_paths() {
    let _alone = alone();
    // As many as a path can have, and as many as a field can hold.
    for segments in [64, 2_038] {
        let deltas = empty_segments(segments, 200).map(|delta| delta.to_bytes());
        // Nodes share the field; each beginning of it would be as much again, and so would one for each node.
        let limit = 200 * 1_024 + 4 * (2 * segments + 20);
        let mut a = replica(2);
        for bytes in deltas {
            let (peak, ()) = peak_of(|| drop(a.merge(&Delta::from_bytes(&bytes).unwrap()).unwrap()));
            println!("{peak} bytes at the peak of merging {segments} segments of 200 nodes each");
            assert!(peak <= limit, "{peak} bytes for {segments} segments of 200 nodes each");
        }
        assert_eq!(a.state().conflicts().count(), if segments == 64 { 200 + 200 } else { 200 });
        a.state().check_invariants().unwrap();
    }
    // A register at every beginning of one long path, so that each is of several kinds.
    let segments = vec![&[b'k'; 60][..]; 64];
    let mut hostile = replica(1);
    let write = |g: &mut Edit<'_, Graph>, n: usize| {
        let node = Entity::new(1, *id(n).as_bytes());
        let fields = (0..=64).map(|depth| field(&segments[..depth], REGISTER, b""));
        fields.into_iter().try_for_each(|field| g.write(node, &field, Payload::new(NULL, b"")).map(drop))
    };
    let (_, delta) = hostile.edit(|g| (0..30).try_for_each(|n| write(g, n))).unwrap();
    let bytes = delta.to_bytes();
    let mut a = replica(2);
    let (peak, ()) = peak_of(|| drop(a.merge(&Delta::from_bytes(&bytes).unwrap()).unwrap()));
    println!("{peak} bytes at the peak of merging {} with 30 times 64 paths of several kinds", bytes.len());
    assert!(peak <= 30 * 65 * 750 + 4 * bytes.len(), "{peak} bytes for {}", bytes.len());
    // The whole field can be walked some times, but not once for each of its segments.
    for nodes in [1, 30] {
        grows_in_proportion(&format!("merging empty segments of {nodes} nodes"), 500, |segments| {
            let deltas = empty_segments(segments, nodes);
            let mut a = replica(2);
            time(|| deltas.iter().for_each(|delta| drop(a.merge(delta).unwrap())))
        });
    }
}

/// An array of as many of one item as fit into so many bytes.
fn packed(item: &[u8], len: usize) -> Vec<u8> {
    let items = (len - 5) / item.len();
    [&[0xdd], &(items as u32).to_be_bytes()[..], &item.repeat(items)].concat()
}

#[test]
fn reading_that_an_array_is_there_makes_a_value_of_it() {
    let _alone = alone();
    const LONGEST: usize = 256 << 10;
    for item in [&[0xc0u8][..], &[0], &[0x90], &[0x91, 0], &[0x80], &[0x81, 0xa0, 0xc0], &[0xa0], &[0xa1, b'a']] {
        let bytes = packed(item, LONGEST);
        let mut a = document(1);
        let x = field(&[b"x"], REGISTER, b"");
        a.edit(|d| d.write(Entity::SELF, &x, Payload::new(ARRAY, &bytes))).unwrap();
        let (peak, is_array) = peak_of(|| matches!(a.state().get("/x"), Some(Value::Array(_))));
        assert!(is_array, "{item:?}");
        assert!(peak <= 1_024, "{peak} bytes to find an array of {item:?}");
        let (peak, shown) = peak_of(|| a.state().properties().iter().count());
        assert!(shown == 1 && peak <= 1_024, "{peak} bytes to go over an array of {item:?}");
        let (peak, read) = peak_of(|| a.state().to_json());
        println!("{peak} bytes, {} times its own, to read an array of {item:?}", peak / bytes.len());
        assert!(peak <= 300 * bytes.len(), "{peak} bytes to read {} of {item:?}", bytes.len());
        assert!(read["x"].is_array());
    }
}

#[test]
fn an_array_beyond_the_limit_is_read() {
    let _alone = alone();
    const LONGEST: usize = 256 << 10;
    for (len, is_read) in [(LONGEST, true), (LONGEST + 1, false), (1 << 20, false)] {
        let bytes = packed(&[0xc0], len);
        assert_eq!(bytes.len(), len);
        let mut a = document(1);
        let x = field(&[b"x"], REGISTER, b"");
        a.edit(|d| d.write(Entity::SELF, &x, Payload::new(ARRAY, &bytes))).unwrap();
        assert_eq!(matches!(a.state().get("/x"), Some(Value::Array(_))), is_read, "{len} bytes");
        assert_eq!(matches!(a.state().get("/x"), Some(Value::Unknown { kind: ARRAY, .. })), !is_read, "{len} bytes");
        let (peak, json) = peak_of(|| a.state().to_json());
        assert_eq!(json["x"].is_array(), is_read);
        assert!(is_read || (peak <= 8_192 && json == json!({"x": null})), "{peak} bytes");
        // Nor is one written.
        let written = a.edit(|d| d.update("/y", &vec![(); len - 5]));
        assert_eq!(written.is_ok(), is_read, "{len} bytes");
    }
}

/// A set of numbers that lie so far apart that each has a word to itself, and so near that each gap is one byte.
#[test]
fn reading_a_turn_takes_at_most_thirty_two_times_the_input() {
    let _alone = alone();
    // A difference, as gaps: 200,000 of them.
    let mut bytes = vec![5, 0, 0xc0, 0x9a, 0x0c];
    bytes.resize(bytes.len() + 200_000, 0x7f);
    let (took, turn) = peak_of(|| driftless::sync::Turn::from_bytes(&bytes));
    assert!(turn.is_ok() && took <= 32 * bytes.len() + 65_536, "{took} for {}, {:?}", bytes.len(), turn.err());
}
