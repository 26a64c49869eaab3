//! Two replicas search the same concepts by their vectors, each with an approximate index that it keeps for itself.
//!
//! Vectors are replicated, an index is not: it follows from them, so each replica builds its own and lets it follow what
//! it edits and what a merge reports. A laptop reads the animals of WordNet with their vectors, a phone gets them as
//! deltas. The phone answers queries approximately and exactly. Then both go on apart: vectors are changed and removed,
//! nodes deleted and embedded at the same time. Once they have merged, neither index returns what is gone or stale.
//!
//! | file | idea |
//! |---|---|
//! | `data` | the files: concepts and their vectors |
//! | `index` | an approximate index that follows a graph |
//! | `measure` | approximate against exact answers |
//! | `peer` | a replica with its index |

mod data;
mod index;
mod measure;
mod peer;

use std::error::Error;
use std::time::Instant;

use driftless::{Graph, Metric, NodeId, Vector};

use data::Concept;
use peer::Peer;

/// Concepts to a transaction.
const CHUNK: usize = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let concepts = data::concepts()?;
    let model = data::model()?;
    let (mut laptop, mut phone) = (Peer::new("laptop", &model), Peer::new("phone", &model));

    let (start, mut bytes) = (Instant::now(), 0);
    for chunk in concepts.chunks(CHUNK) {
        let message = laptop.edit(|g| {
            let add = |concept: &Concept| {
                let node = g.add_node(&concept.name)?;
                g.set(node, "/lemma", &concept.lemma)?;
                g.embed(node, &model, &Vector::i8(&concept.numbers)?.of_text(&concept.gloss))?;
                Ok(node)
            };
            chunk.iter().map(add).collect()
        })?;
        bytes += message.len();
        phone.receive(&message)?;
    }
    println!("{} concepts of {} numbers each, quantised to i8", concepts.len(), model.dimension());
    let bytes = bytes as f64 / 1e6;
    println!("  as deltas: {bytes:.1} MB; edited, merged and indexed twice in {:.1?}", start.elapsed());
    println!("  of that the phone's index took {:.1?}", phone.index.took);
    show(&phone, &concepts, "wolf")?;
    measure::print(&phone, &concepts)?;

    println!("\nApart: each changes and deletes, and both embed the same nodes.");
    let wolf = apart(&mut laptop, &mut phone, &concepts)?;
    exchange(&mut laptop, &mut phone)?;
    for peer in [&laptop, &phone] {
        println!("  {}: {}", peer.name, peer.index);
        assert!(peer.index.replaced > 0);
        // The phone's vector is there, hidden: no vector changed by the deletion, and yet it may not be found.
        let hidden = peer.replica.state().hidden_of(wolf.node()).ok_or("the phone's vector was lost")?;
        assert!(!hidden.embeddings().is_empty() && !peer.index.holds(wolf.node()));
    }
    show(&phone, &concepts, "wolf")?;
    measure::print(&laptop, &concepts)?;
    measure::print(&phone, &concepts)?;

    println!("\nThe laptop restores the timber wolf: the phone's vector of it comes back, and nobody wrote it again.");
    laptop.edit(|g| g.restore_node(&wolf.name).map(|_| vec![wolf.node()]))?;
    exchange(&mut laptop, &mut phone)?;
    for peer in [&laptop, &phone] {
        assert!(peer.index.holds(wolf.node()) && peer.index.agrees(peer.replica.state()));
    }
    println!("Both replicas are equal; neither index holds what is gone or stale.");
    Ok(())
}

/// Each gets what it lacks.
fn exchange(a: &mut Peer, b: &mut Peer) -> Result<(), Box<dyn Error>> {
    let (for_a, for_b) = (b.delta_for(a)?, a.delta_for(b)?);
    a.receive(&for_a)?;
    b.receive(&for_b)?;
    assert_eq!(a.replica.state(), b.replica.state());
    Ok(())
}

/// What happens while the two do not hear of each other. Returns a concept that the laptop deletes while the phone embeds
/// it.
fn apart<'a>(laptop: &mut Peer, phone: &mut Peer, concepts: &'a [Concept]) -> Result<&'a Concept, Box<dyn Error>> {
    let model = data::model()?;
    let wolf = concepts.iter().find(|c| c.lemma == "timber wolf").ok_or("the timber wolf is missing")?;
    // Every so manieth, and one beside it: from another text comes another vector.
    let some = |step: usize, from: usize| concepts.iter().skip(from).step_by(step);
    let pairs = |step: usize, beside: usize| some(step, 0).zip(some(step, beside));

    laptop.edit(|g| {
        let mut changed = Vec::new();
        for concept in some(20, 3).chain([wolf]) {
            g.remove_node(concept.node())?;
            changed.push(concept.node());
        }
        for concept in some(40, 5) {
            g.unembed(concept.node(), &model)?;
            changed.push(concept.node());
        }
        for (concept, other) in pairs(10, 1) {
            g.embed(concept.node(), &model, &Vector::i8(&other.numbers)?.of_text(&other.gloss))?;
            changed.push(concept.node());
        }
        Ok(changed)
    })?;

    phone.edit(|g| {
        let mut changed = Vec::new();
        for (concept, other) in pairs(30, 2).chain([(wolf, &concepts[0])]) {
            g.embed(concept.node(), &model, &Vector::f16(&other.numbers)?)?;
            changed.push(concept.node());
        }
        // What hardly differs from the replicated vector is not written, and costs nobody anything.
        for concept in some(30, 7) {
            let written = g.embed_if_changed(concept.node(), &model, &Vector::f32(&concept.numbers)?, 0.999)?;
            assert!(!written, "rounding to i8 costs less than a thousandth");
        }
        Ok(changed)
    })?;

    Ok(wolf)
}

/// What is nearest to a concept, by the index and exactly.
fn show(peer: &Peer, concepts: &[Concept], lemma: &str) -> Result<(), Box<dyn Error>> {
    let concept = concepts.iter().find(|c| c.lemma == lemma).ok_or("no such concept")?;
    let graph = peer.replica.state();
    let exact = graph.nearest(&data::model()?, &concept.numbers, Metric::Cosine, 6)?;
    let approximate = peer.index.nearest(&concept.numbers, 6);
    let lines = [("exactly", exact.iter().map(|n| n.node).collect::<Vec<_>>()), ("approximately", approximate)];
    for (how, found) in lines {
        println!(
            "  nearest to {lemma} {how}: {}",
            found.iter().map(|n| lemma_of(graph, *n)).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(())
}

fn lemma_of(graph: &Graph, node: NodeId) -> &str {
    graph.node(node).and_then(|node| node.get("/lemma")?.as_str()).unwrap_or("?")
}
