//! Sequences of operations, judged by the models of the tests, which share no code with the crate.

use driftless::testing::{Model, Step, What, replay};
use driftless::{
    DwFlag, EwFlag, GCounter, LwwRegister, MaxRegister, MinRegister, MvRegister, OrMap, OrSet, PnCounter, RwSet,
};

use crate::input::Input;

#[path = "../../tests/support/document.rs"]
mod document;
#[path = "../../tests/support/graph.rs"]
mod graph;
#[path = "../../tests/support/types.rs"]
mod types;
#[allow(dead_code, unused_imports)]
#[path = "../../tests/vector_model.rs"]
mod vectors;

/// Three parts as long as those of the kit's own schedules.
const MAX_STEPS: usize = 72;

fn judge<M: Model>(input: &mut Input<'_>, op: impl Fn(&mut Input<'_>) -> M::Op) {
    let mut steps = Vec::new();
    while !input.is_empty() && steps.len() < MAX_STEPS {
        steps.push(step(input, &op));
    }
    if let Err(why) = replay::<M>(&steps) {
        panic!("{why}\n{steps:#?}");
    }
}

/// What the kit draws, as often as it does.
fn step<Op>(input: &mut Input<'_>, op: &impl Fn(&mut Input<'_>) -> Op) -> Step<Op> {
    let choice = input.byte();
    let by = usize::from(choice / 26) % 3;
    match choice % 26 {
        0..=9 => Step::Edit { by, ops: (0..1 + input.below(2)).map(|_| op(input)).collect() },
        10..=14 => {
            let how = input.below(14);
            let what = [
                What::Lacking,
                What::LastEdit,
                What::Lacking,
                What::LastEdit,
                What::Lacking,
                What::Everything,
                What::Lacking,
            ][how / 2];
            Step::Send { from: by, to: (by + 1 + how % 2) % 3, what }
        }
        15..=20 => {
            let how = input.byte();
            Step::Deliver { which: (how / 16).into(), again: how & 3 == 3, astray: how & 12 == 12 }
        }
        21 | 22 => Step::Prune { by },
        23 | 24 => {
            // Its own latest save, an earlier one, or one of another site: a restart, a backup, a copy.
            let how = input.below(240);
            let of = if how % 5 == 4 { how / 5 % 3 } else { by };
            Step::Restart { who: by, of, back: (how / 15).saturating_sub(8) }
        }
        _ => Step::Replay { who: by, from: input.below(8) },
    }
}

fn graph_op(input: &mut Input<'_>) -> graph::Op {
    use graph::{Op, Thing};
    let (choice, place) = (input.byte(), input.byte());
    let (n, m, k) = (place % 3, place / 3 % 3, u64::from(place / 9 % 2));
    let thing = if place > 200 { Thing::Edge(n, m, k) } else { Thing::Node(n) };
    match choice % 24 {
        0 | 1 => Op::AddNode(n),
        2 => Op::RemoveNode(n),
        3 => Op::RemoveNodeWithEdges(n),
        4 => Op::RestoreNode(n),
        5 => Op::Label(n, m % 2),
        6 => Op::Unlabel(n, m % 2),
        7..=14 => Op::Set(thing, u8::from(choice > 220), (place / 9 % 9).into()),
        15 | 16 => Op::Unset(thing, u8::from(choice > 220)),
        17..=19 => Op::Link(n, m, k),
        20 | 21 => Op::Unlink(n, m, k),
        _ => Op::RestoreEdge(n, m, k),
    }
}

fn document_op(input: &mut Input<'_>) -> document::Op {
    use document::{Op, PATHS};
    let (choice, place) = (input.byte(), input.byte());
    let path = PATHS[usize::from(place) % PATHS.len()];
    // Each kind has a place that it is at home in, so that not everything is refused.
    let at = |home| if choice < 200 { home } else { path };
    let number = i64::from(place % 5) - 2;
    match choice % 20 {
        0..=4 => Op::Set(at("c"), number),
        5 | 6 => Op::Unset(path),
        7 | 8 => Op::Add(at("ax"), number),
        9 | 10 => Op::Insert(at("ay"), number),
        11 => Op::Remove(at("ay"), number),
        12 | 13 => Op::Raise(at("bx"), number),
        14 | 15 => Op::Lower(at("by"), number),
        16 => Op::Empty(path),
        17 | 18 => Op::Update(path, number),
        _ => Op::Clear,
    }
}

fn vector_op(input: &mut Input<'_>) -> vectors::Op {
    use vectors::Op;
    let (choice, place) = (input.byte(), input.byte());
    let (n, m) = (place & 1, place >> 1 & 1);
    match choice % 11 {
        0 => Op::Add(n),
        1 => Op::Remove(n),
        2 => Op::Restore(n),
        3..=9 => Op::Embed(n, m, place >> 2 & 3, (place & 32 != 0).then_some(place >> 4 & 1)),
        _ => Op::Unembed(n, m),
    }
}

fn judge_type<T: types::Subject>(input: &mut Input<'_>) {
    use types::Op;
    judge::<types::Judged<T>>(input, |input| {
        let (choice, place) = (input.byte(), input.byte());
        T::normal(match choice % 9 {
            0..=4 => Op::Put(place % 3, place / 3 % 6),
            5..=7 => Op::Take(place % 3),
            _ => Op::Clear,
        })
    });
}

/// Whatever three replicas do, each reads what it has seen.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(20) {
        0..=3 => judge::<graph::Small>(&mut input, graph_op),
        4..=7 => judge::<document::Small>(&mut input, document_op),
        8 => judge::<vectors::Small>(&mut input, vector_op),
        9 => judge_type::<LwwRegister<u8>>(&mut input),
        10 => judge_type::<MvRegister<u8>>(&mut input),
        11 => judge_type::<MaxRegister<u8>>(&mut input),
        12 => judge_type::<MinRegister<u8>>(&mut input),
        13 => judge_type::<EwFlag>(&mut input),
        14 => judge_type::<DwFlag>(&mut input),
        15 => judge_type::<OrSet<u8>>(&mut input),
        16 => judge_type::<RwSet<u8>>(&mut input),
        17 => judge_type::<OrMap<u8, u8>>(&mut input),
        18 => judge_type::<GCounter>(&mut input),
        _ => judge_type::<PnCounter>(&mut input),
    }
}
