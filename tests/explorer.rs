//! Every schedule of small scopes, for the kernel and each type: what `judge` draws at random elsewhere is here complete.
//!
//! An operation is an edit. Beside six of two replicas, or four and more of three, a schedule has room for deltas that arrive
//! (any that was ever cut, anywhere, again and late too), for forgotten tombstones and for replicas that are opened again; see
//! [`Scope`]. Each type has as many operations as keep its scope at some 100,000 states and more: few steps of many
//! operations, or many steps of two.
//!
//! `cargo test --release --all-features --test explorer -- --ignored` looks further: three replicas and five edits, with
//! two more steps.

#[path = "support/document.rs"]
mod document;
#[path = "support/graph.rs"]
mod graph;
#[path = "support/types.rs"]
mod subjects;

use document::Op::{Add, Set as Write, Unset};
use driftless::testing::{Exploration, Model, Raw, RawOp, Scope, explore};
use driftless::{
    DwFlag, EwFlag, GCounter, LwwRegister, MaxRegister, MinRegister, MvRegister, OrMap, OrSet, PnCounter, RwSet,
};
use graph::Op::{AddNode, Label, Link, RemoveNode, RestoreNode, Set, Unlink};
use graph::Thing::Node;
use subjects::Judged;
use subjects::Op::{Clear, Put, Take};

/// Fewer states than this are no small scope but a tiny one.
const STATES: usize = 20_000;

fn explored<M: Model>(scope: Scope, ops: &[M::Op]) -> Exploration {
    let begun = std::time::Instant::now();
    let found = explore::<M>(scope, ops);
    println!("{scope:?} of {ops:?}\n{found}, in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(found.states > STATES, "{} states", found.states);
    assert!(found.concurrent * 4 > found.states, "too few of the states hold real concurrency");
    assert!(found.refused > 100, "hardly a delta came too early");
    found
}

/// A replica opens an earlier state of its own or one of another, once, at any step: each such opening leads to states that no
/// other way does, so these scopes are smaller.
fn restored<M: Model>(scope: Scope, ops: &[M::Op]) {
    let found = explore::<M>(scope, ops);
    println!("{scope:?} of {ops:?}\n{found}");
    assert!(found.states > 5_000 && found.concurrent * 5 > found.states && found.refused > 100, "{found}");
}

mod copies_and_backups {
    use super::*;

    #[test]
    fn kernel() {
        restored::<Raw>(Scope::new(2, 5), &[RawOp::Write(0, 1, 1), RawOp::Delete(0), RawOp::Erase(0, 1)]);
    }

    #[test]
    fn mv_register() {
        restored::<Judged<MvRegister<u8>>>(Scope::new(2, 5), &[Put(0, 1), Put(0, 2), Clear]);
    }

    #[test]
    fn g_counter() {
        restored::<Judged<GCounter>>(Scope::new(2, 5), &[Put(0, 1), Clear, Put(0, 2)]);
    }

    #[test]
    fn counter_in_a_document() {
        restored::<document::Small>(Scope::new(2, 5), &[Add("a", 1), Unset("a"), Add("a", 2)]);
    }

    #[test]
    fn document() {
        restored::<document::Small>(Scope::new(2, 5), &[Write("ax", 1), Unset("a"), Write("ax", 2)]);
    }

    #[test]
    fn graph() {
        restored::<graph::Small>(Scope::new(2, 5), &[Set(Node(0), 0, 1), RemoveNode(0), RestoreNode(0)]);
    }
}

macro_rules! explored {
    ($($test:ident: $model:ty, $two:expr, $two_ops:expr, $three:expr, $three_ops:expr;)*) => {
        mod two_replicas {
            use super::*;

            $(#[test]
            fn $test() {
                explored::<$model>($two, &$two_ops);
            })*
        }

        mod three_replicas {
            use super::*;

            $(#[test]
            fn $test() {
                explored::<$model>($three, &$three_ops);
            })*
        }

        mod further {
            use super::*;

            $(#[test]
            #[ignore = "takes minutes and gigabytes"]
            fn $test() {
                explored::<$model>(Scope::new(3, 7).edits(5).restores(0), &$three_ops[..2]);
            })*
        }
    };
}

const TWO: Scope = Scope::new(2, 6).restores(0);
/// Of few operations, or such as often write nothing, a step more.
const TWO_AND_ONE: Scope = Scope::new(2, 7).edits(6).restores(0);
const THREE: Scope = Scope::new(3, 6).restores(0);
/// Of operations that always write.
const THREE_AND_TWO: Scope = Scope::new(3, 6).edits(4).restores(0);

explored! {
    kernel: Raw,
        TWO, [RawOp::Write(0, 1, 1), RawOp::Delete(0), RawOp::Erase(0, 1), RawOp::Write(1, 0, 2)],
        THREE, [RawOp::Write(0, 1, 1), RawOp::Delete(0)];
    lww_register: Judged<LwwRegister<u8>>,
        TWO, [Put(0, 1), Put(0, 2), Clear],
        THREE_AND_TWO, [Put(0, 1), Put(0, 2)];
    mv_register: Judged<MvRegister<u8>>,
        TWO, [Put(0, 1), Put(0, 2), Clear],
        THREE, [Put(0, 1), Clear];
    max_register: Judged<MaxRegister<u8>>,
        TWO_AND_ONE, [Put(0, 1), Clear, Put(0, 2)],
        THREE_AND_TWO, [Put(0, 1), Clear, Put(0, 2)];
    min_register: Judged<MinRegister<u8>>,
        TWO_AND_ONE, [Put(0, 2), Clear, Put(0, 1)],
        THREE_AND_TWO, [Put(0, 2), Clear, Put(0, 1)];
    ew_flag: Judged<EwFlag>,
        TWO_AND_ONE, [Put(0, 1), Clear],
        THREE, [Put(0, 1), Clear];
    dw_flag: Judged<DwFlag>,
        TWO_AND_ONE, [Put(0, 1), Take(0)],
        THREE_AND_TWO, [Put(0, 1), Take(0)];
    or_set: Judged<OrSet<u8>>,
        TWO, [Put(0, 0), Put(1, 0), Clear],
        THREE, [Put(0, 0), Take(0)];
    rw_set: Judged<RwSet<u8>>,
        TWO, [Put(0, 0), Take(0), Clear],
        THREE_AND_TWO, [Put(0, 0), Take(0)];
    or_map: Judged<OrMap<u8, u8>>,
        TWO, [Put(0, 1), Put(0, 2), Clear],
        THREE, [Put(0, 1), Take(0)];
    g_counter: Judged<GCounter>,
        TWO, [Put(0, 1), Clear, Put(0, 2)],
        THREE, [Put(0, 1), Clear];
    pn_counter: Judged<PnCounter>,
        TWO, [Put(0, 1), Take(1), Clear],
        THREE, [Put(0, 1), Clear];
    document: document::Small,
        TWO, [Write("ax", 1), Unset("a"), Write("ax", 2)],
        THREE, [Write("ax", 1), Unset("a")];
    document_of_several_kinds: document::Small,
        TWO, [Write("ax", 1), Write("a", 2), Unset("a"), Add("a", 1)],
        THREE, [Write("ax", 1), Write("a", 2)];
    graph: graph::Small,
        TWO, [Set(Node(0), 0, 1), RemoveNode(0), RestoreNode(0), Label(0, 0)],
        THREE, [Set(Node(0), 0, 1), RemoveNode(0)];
    graph_and_its_edges: graph::Small,
        TWO, [Link(0, 1, 0), RemoveNode(0), Unlink(0, 1, 0), AddNode(0)],
        THREE, [Unlink(0, 1, 0), Link(0, 1, 0)];
}
