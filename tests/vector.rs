//! Vectors of nodes and edges: on the real ones of 4,017 concepts, and on made-up ones where it has to be exact.

use std::cell::Cell;
use std::sync::OnceLock;

use driftless::kernel::{Entity, Payload};
use driftless::testing::TestEnvironment;
use driftless::{
    Crdt, Delta, EditError, Graph, GraphChange, MAX_DIMENSION, MAX_MODEL_NAME_LEN, Metric, Model, Neighbor, NodeId,
    Owner, Precision, Prune, Replica, Vector, VectorError,
};
use proptest::prelude::*;

const DIMENSION: usize = 384;

struct Animals {
    names: Vec<String>,
    vectors: Vec<Vec<f32>>,
}

fn animals() -> &'static Animals {
    static ANIMALS: OnceLock<Animals> = OnceLock::new();
    ANIMALS.get_or_init(|| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/wordnet-animals");
        let lines = std::fs::read_to_string(format!("{folder}.jsonl")).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let names = lines.filter(|line| line["node"].is_string()).map(|line| {
            let lemmas = line["lemmas"].as_array().unwrap();
            format!("{} {}", line["node"].as_str().unwrap(), lemmas[0].as_str().unwrap())
        });
        let bytes = std::fs::read(format!("{folder}.f32")).unwrap();
        let numbers: Vec<f32> = bytes.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
        let animals =
            Animals { names: names.collect(), vectors: numbers.chunks(DIMENSION).map(<[f32]>::to_vec).collect() };
        assert_eq!((animals.names.len(), animals.vectors.len()), (4_017, 4_017));
        animals
    })
}

fn model() -> Model {
    Model::new("wordnet-animals", DIMENSION).unwrap()
}

fn replica(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn make(precision: Precision, numbers: &[f32]) -> Vector {
    let vector = match precision {
        Precision::F16 => Vector::f16(numbers),
        Precision::I8 => Vector::i8(numbers),
        _ => Vector::f32(numbers),
    };
    vector.unwrap()
}

/// Shares no code with what it judges.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    match dot(a, a) == 0.0 || dot(b, b) == 0.0 {
        true => 0.0,
        false => dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt()),
    }
}

/// All animals, embedded in one precision.
fn zoo(precision: Precision) -> Replica<Graph> {
    let mut replica = replica(1);
    let animals = animals();
    for (names, vectors) in animals.names.chunks(400).zip(animals.vectors.chunks(400)) {
        replica
            .edit(|g| {
                names.iter().zip(vectors).try_for_each(|(name, vector)| {
                    let node = g.add_node(name)?;
                    g.embed(node, &model(), &make(precision, vector))
                })
            })
            .unwrap();
    }
    replica
}

// ---- real vectors ----

/// Measured: at worst 0.000 076 of cosine lost by i8, 0.000 000 03 by f16.
#[test]
fn rounding_real_vectors_costs_at_most_a_thousandth_of_cosine() {
    let mut worst = [(Precision::F16, 0.0f64, 0.000_001), (Precision::I8, 0.0, 0.001)];
    for numbers in &animals().vectors {
        for (precision, worst, _) in &mut worst {
            *worst = worst.max(1.0 - cosine(numbers, &make(*precision, numbers).to_vec()));
        }
    }
    println!("cosine lost at worst: {worst:?}");
    for (precision, worst, limit) in worst {
        assert!(worst <= limit, "{precision} loses {worst}");
    }
}

#[test]
fn rounding_what_was_rounded_changes_nothing() {
    for numbers in &animals().vectors {
        for precision in [Precision::F32, Precision::F16, Precision::I8] {
            let once = make(precision, numbers);
            assert_eq!(make(precision, &once.to_vec()), once);
        }
        assert_eq!(Vector::f32(numbers).unwrap().to_vec(), *numbers);
    }
}

#[test]
fn a_concept_is_nearest_to_itself_and_its_like_are_near() {
    let animals = animals();
    let replica = zoo(Precision::F32);
    let nearest = |lemma: &str| {
        let at = animals.names.iter().position(|name| name.ends_with(&format!(" {lemma}"))).unwrap();
        let found = replica.state().nearest(&model(), &animals.vectors[at], Metric::Cosine, 6).unwrap();
        assert_eq!((found[0].node, found[0].score), (NodeId::named(&animals.names[at]), 1.0));
        let name = |n: &Neighbor| replica.state().node(n.node).unwrap().name().unwrap().split_once(' ').unwrap().1;
        found.iter().skip(1).map(name).collect::<Vec<_>>()
    };
    for (lemma, like) in [("wolf", "timber wolf"), ("honeybee", "bee"), ("salmon", "sockeye"), ("owl", "hawk")] {
        let near = nearest(lemma);
        println!("{lemma}: {near:?}");
        assert!(near.iter().any(|n| n.contains(like)), "{lemma}: {near:?}");
    }
}

/// Every precision finds nearly the same neighbours: what rounding costs a search.
#[test]
fn searching_rounded_vectors_finds_the_same_neighbours() {
    let animals = animals();
    let found = |replica: &Replica<Graph>, at: usize| -> Vec<NodeId> {
        let found = replica.state().nearest(&model(), &animals.vectors[at], Metric::Cosine, 10).unwrap();
        found.iter().map(|n| n.node).collect()
    };
    let exact = zoo(Precision::F32);
    for (precision, limit) in [(Precision::F16, 0.995), (Precision::I8, 0.97)] {
        let rounded = zoo(precision);
        // Without optimisation a search takes its time.
        let queries = (0..animals.vectors.len()).step_by(if cfg!(debug_assertions) { 400 } else { 60 });
        let shared: Vec<usize> = queries
            .map(|at| {
                let exact = found(&exact, at);
                found(&rounded, at).iter().filter(|node| exact.contains(node)).count()
            })
            .collect();
        let recall = shared.iter().sum::<usize>() as f64 / (10 * shared.len()) as f64;
        println!("{precision}: recall@10 {recall}");
        assert!(recall >= limit, "{precision}: {recall}");
    }
}

// ---- what wins, what is kept ----

fn tiny() -> Model {
    Model::new("tiny", 3).unwrap()
}

/// Two replicas with a node and an edge; the clock of the second runs ahead.
fn two() -> (Replica<Graph>, Replica<Graph>, NodeId, Owner) {
    let mut a = replica(1);
    let ((node, edge), delta) = a
        .edit(|g| {
            let node = g.add_node("dog")?;
            g.add_node("canine")?;
            Ok((node, g.link(node, "is a", NodeId::named("canine"))?))
        })
        .unwrap();
    let environment = TestEnvironment::new(2);
    environment.clock().store(1_000_500, std::sync::atomic::Ordering::Relaxed);
    let mut b = Replica::with_environment(environment);
    b.merge(&delta).unwrap();
    (a, b, node, edge.into())
}

fn embed(replica: &mut Replica<Graph>, of: impl Into<Owner>, numbers: &[f32]) -> Delta {
    replica.edit(|g| g.embed(of, &tiny(), &Vector::f32(numbers)?)).unwrap().1
}

fn changes(replica: &mut Replica<Graph>, delta: &Delta) -> Vec<GraphChange> {
    let report = replica.merge(&Delta::from_bytes(&delta.to_bytes()).unwrap()).unwrap();
    replica.state().check_invariants().unwrap();
    report.changes().collect()
}

#[test]
fn vectors_set_concurrently_are_both_kept_and_the_later_shows_everywhere() {
    let (mut a, mut b, node, edge) = two();
    for of in [node.into(), edge] {
        let (from_a, from_b) = (embed(&mut a, of, &[1.0, 0.0, 0.0]), embed(&mut b, of, &[0.0, 1.0, 0.0]));
        let changed = [GraphChange::EmbeddingChanged { of, model: tiny() }];
        assert_eq!(changes(&mut a, &from_b), changed);
        // It shows as before, and there is another beside it.
        assert_eq!(changes(&mut b, &from_a), changed);
        assert_eq!(changes(&mut b, &from_a), []);
    }
    assert_eq!(a.state(), b.state());
    assert_eq!(a.fingerprint(), b.fingerprint());
    for graph in [a.state(), b.state()] {
        let (node, edge) = (graph.node(node).unwrap(), graph.outgoing(node).next().unwrap());
        for (shown, all) in [(node.embedding(&tiny()), node.embeddings()), (edge.embedding(&tiny()), edge.embeddings())]
        {
            assert_eq!(shown.unwrap().to_vec(), [0.0, 1.0, 0.0]);
            assert_eq!(all.get_all(&tiny()).count(), 2);
            assert_eq!(all.get_all(&tiny()).filter(|(_, s)| s.dot.writer == b.writer().unwrap()).count(), 1);
            // Each model once.
            assert_eq!(all.iter().collect::<Vec<_>>(), [shown.unwrap()]);
        }
    }
    // Who has seen both and writes leaves one.
    let settled = embed(&mut a, node, &[0.0, 0.0, 1.0]);
    b.merge(&settled).unwrap();
    assert_eq!(b.state().node(node).unwrap().embeddings().get_all(&tiny()).count(), 1);
    assert_eq!(b.state().node(node).unwrap().embedding(&tiny()).unwrap().to_vec(), [0.0, 0.0, 1.0]);
}

#[test]
fn a_vector_set_while_it_is_removed_stays() {
    let (mut a, mut b, node, _) = two();
    b.merge(&embed(&mut a, node, &[1.0, 0.0, 0.0])).unwrap();
    let (was_there, removal) = a.edit(|g| g.unembed(node, &tiny())).unwrap();
    assert!(was_there);
    assert!(!a.edit(|g| g.unembed(node, &tiny())).unwrap().0);
    let set = embed(&mut b, node, &[0.0, 1.0, 0.0]);
    a.merge(&set).unwrap();
    b.merge(&removal).unwrap();
    assert_eq!(a.state(), b.state());
    assert_eq!(a.state().node(node).unwrap().embedding(&tiny()).unwrap().to_vec(), [0.0, 1.0, 0.0]);
}

/// What an index that follows must know: the vector itself does not change when its node goes and comes back.
#[test]
fn a_vector_set_on_a_deleted_node_is_hidden_and_comes_back_with_it() {
    let (mut a, mut b, node, _) = two();
    b.merge(&embed(&mut a, node, &[1.0, 0.0, 0.0])).unwrap();
    let (_, deletion) = a.edit(|g| g.remove_node(node)).unwrap();
    let set = embed(&mut b, node, &[0.0, 1.0, 0.0]);
    a.merge(&set).unwrap();
    assert_eq!(changes(&mut b, &deletion), [GraphChange::NodeRemoved(node)]);
    assert_eq!(a.state(), b.state());
    assert_eq!(b.state().nearest(&tiny(), &[1.0, 1.0, 0.0], Metric::Cosine, 10).unwrap(), []);
    let hidden = b.state().hidden_of(node).unwrap();
    assert_eq!(hidden.embeddings().get(&tiny()).unwrap().to_vec(), [0.0, 1.0, 0.0]);
    let (_, restored) = a.edit(|g| g.restore_node("dog")).unwrap();
    assert_eq!(changes(&mut b, &restored), [GraphChange::NodeAdded(node)]);
    assert_eq!(b.state().nearest(&tiny(), &[1.0, 1.0, 0.0], Metric::Cosine, 10).unwrap().len(), 1);
}

#[test]
fn what_a_deletion_saw_is_reported_gone_though_its_tombstones_are_pruned() {
    let (mut a, mut b, node, _) = two();
    b.merge(&embed(&mut a, node, &[1.0, 0.0, 0.0])).unwrap();
    a.edit(|g| g.remove_node(node)).unwrap();
    a.prune(Prune::All);
    let delta = a.reconcile(b.version(), &b.live_dots());
    let changed = changes(&mut b, &delta);
    assert!(changed.contains(&GraphChange::NodeRemoved(node)));
    assert!(changed.contains(&GraphChange::EmbeddingChanged { of: node.into(), model: tiny() }));
    assert_eq!(a.state(), b.state());
}

#[test]
fn a_node_has_a_vector_for_each_model_and_dimension() {
    let mut replica = replica(1);
    let models = [("tiny", 3), ("tiny", 2), ("small", 3)].map(|(name, n)| Model::new(name, n).unwrap());
    let (node, _) = replica
        .edit(|g| {
            let node = g.add_node("dog")?;
            models
                .iter()
                .try_for_each(|model| g.embed(node, model, &Vector::f32(&vec![1.0; model.dimension()])?))
                .map(|()| node)
        })
        .unwrap();
    let node = replica.state().node(node).unwrap();
    let found: Vec<_> = node.embeddings().iter().collect();
    assert_eq!(
        found.iter().map(|e| e.model()).collect::<Vec<_>>(),
        [&models[2], &models[1], &models[0]].map(Clone::clone)
    );
    for pair in found.windows(2) {
        for score in [pair[0].cosine(&pair[1]), pair[0].dot(&pair[1]), pair[0].euclidean(&pair[1])] {
            assert!(matches!(score, Err(VectorError::Models { .. })), "{score:?}");
        }
    }
}

// ---- suppressing what hardly differs ----

/// Compared with what was computed last, a vector could wander anywhere in steps too small to be written.
#[test]
fn small_steps_do_not_add_up_past_the_threshold_unseen() {
    let (mut a, mut b, node, _) = two();
    let (model, threshold) = (tiny(), 0.99f32);
    let mut writes = 0;
    for step in 0..2_000 {
        let angle = f64::from(step) * 0.002;
        let numbers = [angle.cos() as f32, angle.sin() as f32, 0.5];
        let before = (a.version().clone(), a.fingerprint());
        let vector = Vector::i8(&numbers).unwrap();
        let (written, delta) = a.edit(|g| g.embed_if_changed(node, &model, &vector, threshold)).unwrap();
        assert_eq!(written, before != (a.version().clone(), a.fingerprint()));
        writes += u32::from(written);
        b.merge(&delta).unwrap();
        let shown = b.state().node(node).unwrap().embedding(&model).unwrap().to_vec();
        let kept = cosine(&shown, &vector.to_vec());
        assert!(kept >= f64::from(threshold) - 1e-6, "step {step}: {kept}");
    }
    println!("{writes} of 2,000 written");
    assert!((10..100).contains(&writes), "{writes}");
}

#[test]
fn what_is_kept_stands_for_the_new_text() {
    let (mut a, _, node, _) = two();
    let vector = |text: &str| Vector::f32(&[1.0, 0.5, 0.0]).unwrap().of_text(text);
    a.edit(|g| g.embed(node, &tiny(), &vector("a dog"))).unwrap();
    let (written, delta) = a.edit(|g| g.embed_if_changed(node, &tiny(), &vector("one dog"), 0.999)).unwrap();
    assert!(!written && delta.len() == 1);
    let shown = a.state().node(node).unwrap().embedding(&tiny()).unwrap();
    assert_eq!((shown.is_stale("a dog"), shown.is_stale("one dog")), (Some(true), Some(false)));
    assert_eq!(shown.to_vector(), vector("one dog"));
    // It is compared with what shows, even if another wrote it.
    let (written, _) = a.edit(|g| g.embed_if_changed(node, &tiny(), &Vector::f32(&[0.0, 0.5, 1.0])?, 0.999)).unwrap();
    assert!(written);
    assert_eq!(a.state().node(node).unwrap().embedding(&tiny()).unwrap().is_stale("a dog"), None);
}

/// A node with a vector of a text, and what the vector reads as.
fn kept(numbers: &[f32], text: &str) -> (Replica<Graph>, Replica<Graph>, NodeId) {
    let (mut a, mut b, node, _) = two();
    let vector = Vector::f32(numbers).unwrap().of_text(text);
    let (_, delta) = a.edit(|g| g.embed(node, &tiny(), &vector)).unwrap();
    b.merge(&delta).unwrap();
    (a, b, node)
}

fn is_stale(replica: &Replica<Graph>, node: NodeId, text: &str) -> Option<bool> {
    replica.state().node(node).unwrap().embedding(&tiny()).unwrap().is_stale(text)
}

fn offer(replica: &mut Replica<Graph>, node: NodeId, numbers: &[f32], text: &str) -> (bool, usize) {
    let vector = Vector::f32(numbers).unwrap().of_text(text);
    let (written, delta) = replica.edit(|g| g.embed_if_changed(node, &tiny(), &vector, 0.999)).unwrap();
    (written, delta.len())
}

#[test]
fn a_suppressed_vector_does_not_leave_the_one_that_is_kept_stale_for_ever() {
    let (mut a, mut b, node) = kept(&[1.0, 0.5, 0.0], "a dog");
    assert_eq!(offer(&mut a, node, &[1.0, 0.501, 0.0], "a dog."), (false, 1));
    assert_eq!((is_stale(&a, node, "a dog."), is_stale(&a, node, "a dog")), (Some(false), Some(true)));
    // The hash alone travels, not the numbers.
    let delta = a.delta_since(b.version()).unwrap();
    assert!(delta.to_bytes().len() < 200, "{}", delta.to_bytes().len());
    b.merge(&delta).unwrap();
    assert_eq!(is_stale(&b, node, "a dog."), Some(false));
    assert!(b.state().conflicts().next().is_none());
    // Offered again, there and back, it is one small write for each change of the text and none else.
    assert_eq!(offer(&mut b, node, &[1.0, 0.501, 0.0], "a dog."), (false, 0));
    assert_eq!(offer(&mut b, node, &[1.0, 0.5, 0.0], "a dog"), (false, 1));
    assert_eq!(is_stale(&b, node, "a dog"), Some(false));
    // Read every way, it is the same.
    let shown = b.state().node(node).unwrap();
    let embeddings = shown.embeddings();
    let all: Vec<_> = embeddings.get_all(&tiny()).map(|(embedding, _)| embedding).collect();
    assert_eq!(embeddings.iter().collect::<Vec<_>>(), all);
    assert_eq!(shown.embedding(&tiny()), all.first().copied());
    // A vector that is written anew has its own text, even if its bytes are those of before.
    offer(&mut b, node, &[1.0, 0.501, 0.0], "a dog.");
    let again = Vector::f32(&[1.0, 0.5, 0.0]).unwrap().of_text("a dog");
    b.edit(|g| g.embed(node, &tiny(), &again)).unwrap();
    assert_eq!((is_stale(&b, node, "a dog"), is_stale(&b, node, "a dog.")), (Some(false), Some(true)));
    b.edit(|g| g.unembed(node, &tiny())).unwrap();
    assert_eq!(
        b.state()
            .state()
            .cells(entity_of(&b, node))
            .unwrap()
            .iter()
            .filter(|(f, s)| s.is_live() && f.as_bytes().first() == Some(&4))
            .count(),
        0
    );
    b.state().check_invariants().unwrap();
}

fn entity_of(replica: &Replica<Graph>, node: NodeId) -> Entity {
    let mut live = replica.state().state().live_siblings();
    live.find(|(entity, ..)| entity.id() == node.as_bytes()).unwrap().0
}

#[test]
fn a_later_text_says_nothing_about_a_vector_that_was_set_concurrently() {
    let (mut a, mut b, node) = kept(&[1.0, 0.5, 0.0], "a dog");
    offer(&mut a, node, &[1.0, 0.501, 0.0], "a dog.");
    embed(&mut b, node, &[0.0, 0.0, 1.0]);
    let (for_a, for_b) = (b.delta_since(a.version()).unwrap(), a.delta_since(b.version()).unwrap());
    a.merge(&for_a).unwrap();
    b.merge(&for_b).unwrap();
    assert_eq!(a.state(), b.state());
    assert_eq!((is_stale(&a, node, "a dog."), is_stale(&b, node, "a dog.")), (None, None));
    // On a node deleted meanwhile, it is told by its name.
    let (mut a, mut b, node) = kept(&[1.0, 0.5, 0.0], "a dog");
    offer(&mut a, node, &[1.0, 0.501, 0.0], "a dog.");
    b.edit(|g| g.remove_node(node)).unwrap();
    b.merge(&a.delta_since(b.version()).unwrap()).unwrap();
    let conflict = b.state().conflicts_of(node).next().unwrap();
    assert_eq!(conflict.candidates[0].content.to_string(), "a later text of the vector by tiny");
}

#[test]
fn equal_bytes_write_nothing_whatever_the_threshold_and_zeros_neither() {
    for numbers in [[0.3f32, 0.7, -0.2], [0.0; 3]] {
        let (mut a, _, node) = kept(&numbers, "a dog");
        for threshold in [1.0, 0.0, -1.0] {
            for make in [Precision::F32, Precision::F16, Precision::I8] {
                let same = self::make(make, &numbers).of_text("a dog");
                a.edit(|g| g.embed(node, &tiny(), &same)).unwrap();
                let (written, delta) = a.edit(|g| g.embed_if_changed(node, &tiny(), &same, threshold)).unwrap();
                assert!(!written && delta.is_empty(), "{numbers:?} at {threshold}");
            }
        }
    }
    // Zeros of another precision are the same vector; zeros beside others are not, whatever the threshold.
    let (mut a, _, node) = kept(&[0.0; 3], "a dog");
    let zeros = Vector::f16(&[0.0; 3]).unwrap().of_text("a dog");
    assert!(!a.edit(|g| g.embed_if_changed(node, &tiny(), &zeros, 1.0)).unwrap().0);
    for numbers in [[1.0, 0.0, 0.0], [0.0; 3]] {
        let vector = Vector::f32(&numbers).unwrap();
        assert!(a.edit(|g| g.embed_if_changed(node, &tiny(), &vector, -1.0)).unwrap().0, "{numbers:?}");
    }
}

// ---- refusals ----

#[test]
fn what_is_refused_leaves_no_trace() {
    let (mut a, _, node, edge) = two();
    embed(&mut a, node, &[1.0, 0.0, 0.0]);
    let before = (a.snapshot(), a.fingerprint(), a.version().clone());
    let a = std::cell::RefCell::new(a);
    let ok = || Vector::f32(&[1.0, 0.0, 0.0]).unwrap();
    let refused = |edit: &dyn Fn(&mut driftless::Edit<'_, Graph>) -> Result<(), EditError>| {
        let mut a = a.borrow_mut();
        // Alone, and after what the same edit wrote before.
        let alone = a.edit(|g| edit(g)).unwrap_err();
        let result = a.edit(|g| {
            g.set(node, "/name", "dog")?;
            edit(g)
        });
        assert_eq!((a.snapshot(), a.fingerprint(), a.version().clone()), before);
        let error = result.unwrap_err();
        assert_eq!(alone.to_string(), error.to_string());
        error
    };
    let error = refused(&|g| g.embed(node, &tiny(), &Vector::f32(&[1.0, 0.0])?));
    let length = VectorError::Length { model: "tiny".into(), expected: 3, found: 2 };
    assert!(matches!(error, EditError::Vector(e) if e == length));
    let error = refused(&|g| g.embed_if_changed(edge, &tiny(), &Vector::i8(&[1.0; 4])?, 0.9).map(drop));
    assert!(matches!(error, EditError::Vector(VectorError::Length { expected: 3, found: 4, .. })));
    for numbers in [[0.0, f32::NAN, 0.0], [0.0, f32::INFINITY, 0.0], [1.0, f32::NEG_INFINITY, f32::NAN]] {
        for make in [Vector::f32, Vector::f16, Vector::i8] {
            let error = refused(&|g| g.embed(node, &tiny(), &make(&numbers)?));
            assert!(matches!(error, EditError::Vector(VectorError::NotFinite { position: 1, .. })));
        }
        let found = a.borrow().state().nearest(&tiny(), &numbers, Metric::Dot, 1);
        assert!(matches!(found, Err(VectorError::NotFinite { position: 1, .. })));
    }
    for threshold in [f32::NAN, 1.000_1, -1.000_1, f32::INFINITY] {
        let error = refused(&|g| g.embed_if_changed(node, &tiny(), &ok(), threshold).map(drop));
        assert!(matches!(error, EditError::Vector(VectorError::Threshold(t)) if t.to_bits() == threshold.to_bits()));
    }
    let nobody = NodeId::named("nobody");
    assert!(matches!(refused(&|g| g.embed(nobody, &tiny(), &ok())), EditError::NoNode(id) if id == nobody));
    let error = refused(&|g| g.embed_if_changed(nobody, &tiny(), &ok(), 0.9).map(drop));
    assert!(matches!(error, EditError::NoNode(id) if id == nobody));
    assert!(matches!(refused(&|g| g.unembed(nobody, &tiny()).map(drop)), EditError::NoNode(id) if id == nobody));
    let query = a.borrow().state().nearest(&tiny(), &[1.0; 2], Metric::Cosine, 1);
    assert_eq!(query, Err(VectorError::Length { model: "tiny".into(), expected: 3, found: 2 }));
}

#[test]
fn limits_are_told() {
    let error = Vector::f16(&[1.0, 65_520.0]).unwrap_err();
    assert_eq!(error, VectorError::TooLargeForF16 { position: 1, value: 65_520.0 });
    assert_eq!(Vector::f16(&[65_519.0]).unwrap().to_vec(), [65_504.0]);
    let dimension = |dimension| VectorError::Dimension { dimension, limit: MAX_DIMENSION };
    assert_eq!(Vector::f32(&[]).unwrap_err(), dimension(0));
    assert_eq!(Model::new("m", 0).unwrap_err(), dimension(0));
    assert_eq!(Model::new("m", MAX_DIMENSION + 1).unwrap_err(), dimension(MAX_DIMENSION + 1));
    assert_eq!(Model::new("", 3).unwrap_err(), VectorError::NoName);
    let name = |len| VectorError::Name { len, limit: MAX_MODEL_NAME_LEN };
    assert_eq!(Model::new("a\0b", 3).unwrap_err(), name(3));
    assert_eq!(Model::new(&"m".repeat(MAX_MODEL_NAME_LEN + 1), 3).unwrap_err(), name(MAX_MODEL_NAME_LEN + 1));
    // The longest name and the longest vector fit.
    let model = Model::new(&"m".repeat(MAX_MODEL_NAME_LEN), MAX_DIMENSION).unwrap();
    let vector = Vector::f32(&vec![1.0; MAX_DIMENSION]).unwrap().of_text("long");
    let mut replica = replica(1);
    let (node, _) = replica
        .edit(|g| {
            let node = g.add_node("dog")?;
            g.embed(node, &model, &vector).map(|()| node)
        })
        .unwrap();
    let node = replica.state().node(node).unwrap();
    assert_eq!(node.embedding(&model).unwrap().dimension(), MAX_DIMENSION);
    assert_eq!(Vector::f32(&vec![1.0; MAX_DIMENSION + 1]).unwrap_err(), dimension(MAX_DIMENSION + 1));
}

// ---- searching ----

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nearest_is_the_head_of_the_sorted_list(
        // Few values, so that many are equally near.
        vectors in prop::collection::vec((0u8..30, 0usize..3, [-2i8..3, -2i8..3, -2i8..3]), 0..40),
        query in [-2i8..3, -2i8..3, -2i8..3],
        k in 0usize..50,
    ) {
        let numbers = |[x, y, z]: [i8; 3]| [x, y, z].map(|n| f32::from(n) / 2.0);
        let (mut replica, query) = (replica(1), numbers(query));
        let node = |n: u8| NodeId::named(&format!("node {n}"));
        let precisions = [Precision::F32, Precision::F16, Precision::I8];
        for (n, which, vector) in &vectors {
            let vector = make(precisions[*which], &numbers(*vector));
            replica.edit(|g| { g.add_node(node(*n))?; g.embed(node(*n), &tiny(), &vector) }).unwrap();
        }
        replica.edit(|g| { g.add_node("without")?; g.remove_node(node(0)) }).unwrap();
        for metric in [Metric::Cosine, Metric::Dot, Metric::Euclidean] {
            let mut expected: Vec<Neighbor> = replica.state().nodes().filter_map(|node| {
                let stored = node.embedding(&tiny())?.to_vec();
                let pairs = || stored.iter().zip(query).map(|(a, b)| (f64::from(*a), f64::from(b)));
                let score = match metric {
                    Metric::Dot => pairs().map(|(a, b)| a * b).sum(),
                    Metric::Euclidean => pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
                    _ => cosine(&query, &stored),
                };
                Some(Neighbor { node: node.id(), score: score as f32 })
            }).collect();
            expected.sort_by(|a, b| {
                let order = a.score.partial_cmp(&b.score).unwrap();
                let order = if metric == Metric::Euclidean { order } else { order.reverse() };
                order.then(a.node.cmp(&b.node))
            });
            expected.truncate(k);
            let found = replica.state().nearest(&tiny(), &query, metric, k).unwrap();
            prop_assert_eq!(found, expected, "{:?}", metric);
        }
    }
}

// ---- hostile bytes ----

/// The field and the payload of a cell in the place of a vector: nearly right, mostly.
fn foreign() -> impl Strategy<Value = (Vec<u8>, Payload)> {
    let byte = || prop::sample::select(vec![0u8, 1, 0x3c, 0x7f, 0x80, 0x81, 0xff]);
    let field = prop_oneof![
        9 => Just(b"\x03tiny\0\0\0\0\x03".to_vec()),
        1 => prop::collection::vec(prop::sample::select(vec![0u8, 1, 3, b't', 0xff]), 1..9)
            .prop_map(|rest| [vec![3], rest].concat()),
    ];
    let scale = prop::sample::select(vec![0u32, 0x3c00_0000, 0x3c00_0100, 0x3c00_0001, 0x7f80_0000, 0x8000_0000, 1]);
    let payload = (1u8..5, 0u8..3, scale, prop::collection::vec(byte(), 12), -1i8..12, prop::bool::weighted(0.9));
    let payload = payload.prop_map(|(precision, flags, scale, numbers, longer, is_vector)| {
        let mut bytes = vec![precision, flags];
        bytes.extend(vec![7; if flags == 1 { 16 } else { 0 }]);
        bytes.extend(scale.to_le_bytes().iter().filter(|_| precision == 3));
        let exact = [12, 6, 3, 3][usize::from(precision) - 1];
        bytes.extend(numbers.iter().take(exact));
        // Mostly of the right length.
        match longer {
            -1 => drop(bytes.pop()),
            1 => bytes.push(0),
            _ => {}
        }
        Payload::new(if is_vector { 19 } else { 18 }, &bytes)
    });
    (field, payload)
}

/// Whatever a peer puts in the place of a vector is kept, merged and sent on, and read only if it spells one.
#[test]
fn foreign_bytes_are_relayed_and_never_panic() {
    let (cases, vectors) = (Cell::new(0u32), Cell::new(0u32));
    let config = ProptestConfig { cases: 1_000, source_file: Some(file!()), ..ProptestConfig::default() };
    let result = proptest::test_runner::TestRunner::new(config).run(&foreign(), |(field, payload)| {
        let (mut a, mut b, node, _) = two();
        let entity = Entity::new(1, *node.as_bytes());
        let (_, delta) = a.edit(|g| g.write(entity, &field, payload.clone())).unwrap();
        let report = b.merge(&Delta::from_bytes(&delta.to_bytes()).unwrap()).unwrap();
        report.changes().for_each(drop);
        prop_assert_eq!(a.state(), b.state());
        let found = b.state().node(node).unwrap();
        let kept = b.state().state().cells(entity).unwrap().live(&field).next().unwrap();
        prop_assert_eq!(kept.payload, Some(payload.as_ref()));
        cases.set(cases.get() + 1);
        for embedding in found.embeddings().iter() {
            vectors.set(vectors.get() + 1);
            prop_assert_eq!(embedding.dimension(), embedding.to_vec().len());
            prop_assert!(embedding.iter().all(|n| n.is_finite() && (n != 0.0 || n.is_sign_positive())));
            prop_assert_eq!(embedding.euclidean(&embedding).unwrap(), 0.0);
            // Made again from its numbers it has the same bytes; so it has when it is written again.
            let (model, vector) = (embedding.model(), embedding.to_vector());
            let again = make(embedding.precision(), &embedding.to_vec());
            prop_assert_eq!((again.precision(), again.to_vec()), (vector.precision(), vector.to_vec()));
            a.edit(|g| g.embed(node, &model, &vector)).unwrap();
            let written = a.state().state().cells(entity).unwrap().live(&field).next().unwrap();
            prop_assert_eq!(written.payload, Some(payload.as_ref()));
        }
        let found = b.state().nearest(&tiny(), &[1.0, 2.0, 3.0], Metric::Cosine, 3).unwrap();
        prop_assert!(found.iter().all(|n| (-1.0..=1.0).contains(&n.score)));
        // A vector that can be read is written over it.
        embed(&mut b, node, &[1.0, 0.0, 0.0]);
        prop_assert!(b.state().node(node).unwrap().embedding(&tiny()).is_some());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let share = f64::from(vectors.get()) / f64::from(cases.get());
    println!("a vector in {share} of the cases");
    assert!((0.05..0.9).contains(&share), "a vector in {share} of the cases");
}

/// A concurrent sibling that cannot be read hides none that can.
#[test]
fn a_vector_that_can_be_read_shows_beside_one_that_cannot() {
    let (mut a, mut b, node, _) = two();
    let known = embed(&mut a, node, &[1.0, 0.0, 0.0]);
    let entity = Entity::new(1, *node.as_bytes());
    let (_, unknown) = b.edit(|g| g.write(entity, b"\x03tiny\0\0\0\0\x03", Payload::new(19, &[9, 9, 9]))).unwrap();
    a.merge(&unknown).unwrap();
    b.merge(&known).unwrap();
    assert_eq!(a.state(), b.state());
    assert_eq!(b.state().node(node).unwrap().embedding(&tiny()).unwrap().to_vec(), [1.0, 0.0, 0.0]);
    assert_eq!(b.state().state().cells(entity).unwrap().live(b"\x03tiny\0\0\0\0\x03").count(), 2);
}
