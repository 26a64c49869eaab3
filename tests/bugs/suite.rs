//! The suite as it is: the test kit, the explorer and the simulator, with all their checks at once.

use driftless::testing::{Model, Raw, RawOp, Scope, replay, schedules, try_explore};
use driftless::{GCounter, LwwRegister};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::graph::{self, Thing};
use crate::oracles::Verdict;
use crate::subjects::{Judged, Op};
use crate::{list, text, tree, world};

/// The value that a strategy draws by a seed.
fn drawn<S: Strategy>(seed: u64, strategy: S) -> Result<S::Value, String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    Ok(strategy.new_tree(&mut runner).map_err(|why| why.to_string())?.current())
}

/// One schedule of the kit, without making it shorter if it fails.
fn schedule<M: Model>(seed: u64, ops: impl Strategy<Value = M::Op>) -> Verdict {
    replay::<M>(&drawn(seed, schedules(ops))?).map(drop)
}

pub(crate) fn kit(seed: u64) -> Verdict {
    let raw = prop_oneof![
        6 => (0..2u8, 0..3u8, 0..4u8).prop_map(|(e, f, v)| RawOp::Write(e, f, v)),
        2 => (0..2u8, 0..3u8).prop_map(|(e, f)| RawOp::Erase(e, f)),
        1 => (0..2u8).prop_map(RawOp::Delete),
    ];
    let n = || 0..3u8;
    let of_graph = prop_oneof![
        2 => n().prop_map(graph::Op::AddNode),
        2 => n().prop_map(graph::Op::RemoveNode),
        1 => n().prop_map(graph::Op::RestoreNode),
        3 => (n(), 0..2u8, 0..9i32).prop_map(|(t, p, v)| graph::Op::Set(Thing::Node(t), p, v)),
        2 => (n(), n(), 0..2u64).prop_map(|(s, t, k)| graph::Op::Link(s, t, k)),
        1 => (n(), n(), 0..2u64).prop_map(|(s, t, k)| graph::Op::Unlink(s, t, k)),
    ];
    let register = prop_oneof![3 => (0..6u8).prop_map(|v| Op::Put(0, v)), 1 => Just(Op::Clear)];
    match seed % 5 {
        0..2 => schedule::<Raw>(seed, raw),
        2 => schedule::<graph::Small>(seed, of_graph),
        3 => schedule::<Judged<LwwRegister<u8>>>(seed, register),
        _ => schedule::<Judged<GCounter>>(seed, register),
    }
}

pub(crate) fn trees(seed: u64) -> Verdict {
    tree::play(&drawn(seed, tree::acts())?).map(drop)
}

pub(crate) fn texts(seed: u64) -> Verdict {
    text::play(&drawn(seed, text::schedules())?).map(drop)
}

pub(crate) fn lists(seed: u64) -> Verdict {
    list::play(seed).map(drop)
}

/// Every schedule of a few steps: of two replicas, then of three.
pub(crate) fn explorer(seed: u64) -> Verdict {
    let ops = [RawOp::Write(0, 1, 1), RawOp::Delete(0), RawOp::Erase(0, 1)];
    let scope = [Scope::new(2, 5), Scope::new(3, 4)][seed as usize];
    try_explore::<Raw>(scope, &ops).map(drop)
}

pub(crate) fn simulator(seed: u64) -> Verdict {
    world::run(seed, false).map(drop)
}
