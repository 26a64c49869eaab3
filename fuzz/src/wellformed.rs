//! Deltas that are well-formed and that nobody would make, merged into a replica with all that it derives.

use driftless::kernel::{Entity, Payload, State};
use driftless::testing::TestEnvironment;
use driftless::{Crdt, Delta, Document, EditError, Graph, JournalLimit, Model, NodeId, Prune, Replica, Vector};

use crate::input::Input;
use crate::reading::{Readable, exercise};
use crate::talk::converge;
use crate::wire::{Hostile, Palette, Receiver};

fn replica<T: Crdt>(seed: u64) -> Replica<T> {
    Replica::with_environment(TestEnvironment::new(seed))
}

/// An honest pair of graphs that have collided, with everything that a graph can hold.
fn graphs() -> [Replica<Graph>; 2] {
    let (mut a, mut b) = (replica::<Graph>(1), replica::<Graph>(2));
    let (ada, eve) = (NodeId::named("ada"), NodeId::named("eve"));
    let begin = a.edit(|g| {
        (g.add_node("ada")?, g.add_node("eve")?);
        g.label(ada, "Person")?;
        g.update(ada, "", &serde_json::json!({"name": "Ada", "map": {"n": 1}, "list": [1, "two"]}))?;
        g.properties_mut(ada).add("/visits", 2)?;
        g.properties_mut(ada).insert("/likes", "tea")?;
        g.properties_mut(eve).raise("/trust", 1)?;
        g.embed(ada, &Model::new("m", 2)?, &Vector::f32(&[1.0, 0.5])?.of_text("Ada"))?;
        let edge = g.link(ada, "knows", eve)?;
        g.set(edge, "/since", 1843)
    });
    b.merge(&begin.expect("a plain edit").1).expect("a plain delta");
    let on_a = a.edit(|g| g.set(ada, "/name", "Augusta").and_then(|()| g.remove_node(eve)));
    let on_b = b.edit(|g| {
        g.set(ada, "/name", "Countess")?;
        g.set(ada, "/map", 7).or_else(|_| g.set(ada, "/other", 7))?;
        g.properties_mut(ada).add("/visits", 3)?;
        g.set(eve, "/name", "Eve")?;
        g.link(eve, "knows", ada).map(drop)
    });
    a.merge(&on_b.expect("a plain edit").1).expect("a plain delta");
    b.merge(&on_a.expect("a plain edit").1).expect("a plain delta");
    [a, b]
}

fn documents() -> [Replica<Document>; 2] {
    let (mut a, mut b) = (replica::<Document>(1), replica::<Document>(2));
    let begin = a.edit(|d| {
        d.update("", &serde_json::json!({"x": {"y": 1, "empty": {}}, "list": [1, null, {"k": 0.5}], "s": "text"}))?;
        d.add("/visits", 2)?;
        d.insert("/likes", "tea")?;
        d.raise("/max", 3)?;
        d.lower("/min", 3).map(drop)
    });
    b.merge(&begin.expect("a plain edit").1).expect("a plain delta");
    let on_a = a.edit(|d| d.set("/s", "one").and_then(|()| d.set("/z", 1)));
    let on_b = b.edit(|d| d.set("/s", "two").and_then(|()| d.set("/z/w", 1)).and_then(|()| d.unset("/x")));
    a.merge(&on_b.expect("a plain edit").1).expect("a plain delta");
    b.merge(&on_a.expect("a plain edit").1).expect("a plain delta");
    [a, b]
}

/// Merges what the input says into one of two that have seen the same, exercises it, and lets it sync with the other.
fn judge<T: Readable>([mut victim, mut peer]: [Replica<T>; 2], input: &mut Input<'_>) {
    let states: [&State; 2] = [victim.state().state(), peer.state().state()];
    let palette = Palette::of(T::SCHEMA, states);
    let options = input.byte();
    if options & 1 == 1 {
        victim.keep_journal(JournalLimit::default());
    }
    // Somebody who speaks for itself alone, and writes any cell.
    let mut writer = victim.fork_with(TestEnvironment::new(3));
    for _ in 0..8 {
        if input.is_empty() {
            break;
        }
        let before = victim.snapshot();
        let delta = match input.below(8) {
            0..=3 => {
                let bytes = Hostile::new(input, &palette, &Receiver::of(&victim)).to_bytes();
                // Most are fit to be read; what is not is for the other targets.
                Delta::from_bytes(&bytes).ok().inspect(|delta| assert_eq!(delta.to_bytes(), bytes))
            }
            4 | 5 => {
                for _ in 0..1 + input.below(6) {
                    let written = writer.edit(|edit| write_any(edit, input, &palette));
                    assert!(!matches!(written, Err(EditError::Aborted(_))));
                }
                Some(writer.complete())
            }
            6 => {
                let (how, value) = (input.byte(), input.byte());
                let _ = victim.edit(|edit| T::write(edit, how, value));
                None
            }
            _ => {
                victim.prune(Prune::All);
                None
            }
        };
        let before_merge = victim.snapshot();
        if let Some(delta) = delta {
            match victim.merge(&delta) {
                Ok(report) => {
                    let _ = (report.changes().count(), report.opened().count(), report.closed().count());
                    let once = victim.snapshot();
                    let again = victim.merge(&delta).expect("what was merged");
                    assert!(
                        again.changes().count() == 0 && *victim.state() == once,
                        "merging it again changes something"
                    );
                }
                Err(_) => assert!(*victim.state() == before_merge, "a refused delta left something behind"),
            }
        }
        exercise(&mut victim, &before, input.byte());
    }
    if let Some(journal) = victim.journal() {
        journal.entries().for_each(|entry| drop((entry.change::<T>(), serde_json::to_string(entry).expect("as JSON"))));
    }
    converge(&mut victim, &mut peer);
    exercise(&mut victim, &peer.snapshot(), options);
}

fn write_any<T: Crdt>(
    edit: &mut driftless::Edit<'_, T>,
    input: &mut Input<'_>,
    palette: &Palette,
) -> Result<(), EditError> {
    let (kind, id) = palette.entity(input);
    let (entity, field) = (Entity::new(kind, id), palette.field(input));
    match input.byte() {
        ..20 => edit.delete(entity).map(drop),
        20..50 => edit.erase(entity, &field).map(drop),
        _ => {
            let (kind, bytes) = palette.payload(input);
            edit.write(entity, &field, Payload::new(kind, &bytes)).map(drop)
        }
    }
}

/// Whatever a delta claims: it is merged whole or refused whole, and everything goes on.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.flag() {
        true => judge(graphs(), &mut input),
        false => judge(documents(), &mut input),
    }
}
