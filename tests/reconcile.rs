//! Finding what is alive on one side only, judged by plain sets; what it costs, in bytes and turns.
//!
//! `cargo test --release --test reconcile -- --nocapture bytes` prints the table.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use driftless::sync::{Difference, ReconcileError, Reconciling, Step, Turn};
use driftless::testing::TestEnvironment;
use driftless::testing::version_of_roots;
use driftless::{CutError, Dot, DotSet, Graph, NodeId, Prune, Replica, Version, WriterId};
use proptest::prelude::*;

/// Four round trips.
const TURNS: usize = 8;

#[derive(Clone, Debug, Default)]
struct Side {
    live: DotSet,
    version: Version,
}

#[derive(Debug, Default)]
struct Costs {
    turns: usize,
    asking: usize,
    answering: usize,
    time: Duration,
}

impl Costs {
    fn bytes(&self) -> usize {
        self.asking + self.answering
    }
}

/// Lets the two talk through bytes, and returns what the one who asks and the one who answers learn.
fn talk(a: &Side, b: &Side, nonce: [u8; 16]) -> (Difference, Difference, Costs) {
    let mut costs = Costs::default();
    let begun = Instant::now();
    let (mut asking, first) = Reconciling::ask(&a.live, &a.version, &b.version, nonce).unwrap();
    let mut bytes = first.to_bytes();
    costs.asking += bytes.len();
    costs.turns += 1;
    let first = Turn::from_bytes(&bytes).unwrap();
    let (mut answering, mut step) = Reconciling::answer(&b.live, &b.version, &a.version, &first).unwrap();
    let (mut learnt_a, mut learnt_b) = (None, None);
    let mut b_speaks = true;
    loop {
        let (turn, learnt) = match step {
            Step::Say(turn) => (Some(turn), None),
            Step::Done { difference, last } => (last, Some(difference)),
        };
        let side = if b_speaks { &mut learnt_b } else { &mut learnt_a };
        assert!(side.is_none());
        *side = learnt;
        let Some(turn) = turn else { break };
        bytes = turn.to_bytes();
        *(if b_speaks { &mut costs.answering } else { &mut costs.asking }) += bytes.len();
        costs.turns += 1;
        assert!(costs.turns <= TURNS);
        let turn = Turn::from_bytes(&bytes).unwrap();
        step = if b_speaks { asking.handle(&turn) } else { answering.handle(&turn) }.unwrap();
        b_speaks = !b_speaks;
    }
    costs.time = begun.elapsed();
    (learnt_a.unwrap(), learnt_b.unwrap(), costs)
}

/// By plain sets.
fn expected(a: &Side, b: &Side) -> (Vec<Dot>, Vec<Dot>) {
    let covered = |side: &Side| -> BTreeSet<Dot> {
        side.live.iter().filter(|dot| a.version.covers(*dot) && b.version.covers(*dot)).collect()
    };
    let (x, y) = (covered(a), covered(b));
    (x.difference(&y).copied().collect(), y.difference(&x).copied().collect())
}

fn check(a: &Side, b: &Side, nonce: [u8; 16]) -> Costs {
    let (learnt_a, learnt_b, costs) = talk(a, b, nonce);
    let (only_a, only_b) = expected(a, b);
    let dots = |set: &DotSet| set.iter().collect::<Vec<_>>();
    assert_eq!((dots(learnt_a.only_here()), dots(learnt_a.only_there())), (only_a.clone(), only_b.clone()));
    assert_eq!((dots(learnt_b.only_here()), dots(learnt_b.only_there())), (only_b, only_a));
    costs
}

/// As a bitmap on the wire, eight bytes for each block that holds any dot that both cover.
fn bitmap(side: &Side, other: &Side) -> usize {
    words(common(side, other))
}

/// The same of what one holds and the other does not.
fn difference(a: &Side, b: &Side) -> usize {
    let [a, b] = [common(a, b), common(b, a)].map(BTreeSet::from_iter);
    words(a.symmetric_difference(&b).copied())
}

/// What a descent may cost, whoever says all its words.
fn at_the_worst(a: &Side, b: &Side) -> usize {
    bitmap(a, b).max(bitmap(b, a)) * 105 / 100 + difference(a, b) + 600
}

fn common(side: &Side, other: &Side) -> impl Iterator<Item = Dot> {
    let both = side.version.meet(&other.version);
    side.live.iter().filter(move |dot| both.covers(*dot))
}

fn words(dots: impl Iterator<Item = Dot>) -> usize {
    dots.map(|dot| (dot.writer, dot.counter / 64)).collect::<BTreeSet<_>>().len() * 8
}

fn replica(n: u64) -> WriterId {
    let number = u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    WriterId::from(*number.to_be_bytes().last_chunk().unwrap())
}

/// Numbers that only look random, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Writers with as many dots each, of which a share in five is dead on both sides.
fn world(random: &mut Random, writers: u64, each: u64) -> (Vec<Dot>, Version) {
    let dots = (0..writers).flat_map(|r| (1..=each).map(move |counter| Dot { writer: replica(r), counter }));
    let mut dots: Vec<Dot> = dots.filter(|_| random.below(5) > 0).collect();
    dots.sort_unstable();
    (dots, version_of_roots((0..writers).map(|r| (replica(r), each))))
}

fn without(random: &mut Random, dots: &[Dot], removals: usize) -> DotSet {
    let mut dead = BTreeSet::new();
    while dead.len() < removals {
        dead.insert(random.below(dots.len() as u64) as usize);
    }
    dots.iter().enumerate().filter(|(i, _)| !dead.contains(i)).map(|(_, dot)| *dot).collect()
}

#[test]
fn bytes_follow_the_differences() {
    println!("| writers × dots | removals | bytes, asking | bytes, answering | bytes | turns | CPU of both |");
    println!("|---|---|---|---|---|---|---|");
    // Without optimisation the plain sets take a minute and more.
    let (worlds, counts) = if cfg!(debug_assertions) { (1, 5) } else { (3, 9) };
    for (writers, each) in [(1, 1_250_000), (10, 125_000), (5_000, 250)].into_iter().take(worlds) {
        let mut random = Random(7);
        let (dots, version) = world(&mut random, writers, each);
        let a = Side { live: dots.iter().copied().collect(), version: version.clone() };
        for (removals, most) in [
            (0, 1_000),
            (1, 1_000),
            (10, 5_000),
            (100, 25_000),
            (1_000, 110_000),
            (3_000, usize::MAX),
            (10_000, usize::MAX),
            (100_000, usize::MAX),
            (dots.len(), usize::MAX),
        ]
        .into_iter()
        .take(counts)
        {
            let b = Side { live: without(&mut random, &dots, removals), version: version.clone() };
            let costs = check(&a, &b, [9; 16]);
            let Costs { turns, asking, answering, time } = &costs;
            let time = format!("{:.1} ms", time.as_secs_f64() * 1e3);
            let bytes = costs.bytes();
            println!("| {writers} × {each} | {removals} | {asking} | {answering} | {bytes} | {turns} | {time} |");
            assert!(bytes <= most, "{bytes} for {removals}");
            let whole = bitmap(&a, &b);
            assert!(bytes <= whole * 2 * 105 / 100, "{bytes}, and {whole} for a bitmap");
        }
        println!("| {writers} × {each} | | | | {} | | one bitmap |", bitmap(&a, &a));
        println!("| {writers} × {each} | | | | {} | | `DotSet::to_bytes` |", a.live.to_bytes().len());
    }
}

/// Differences that lie together, as those of deleted nodes do, on both sides.
#[test]
fn neighbouring_removals_cost_less_than_scattered_ones() {
    let mut random = Random(3);
    let (dots, version) = world(&mut random, 3, 100_000);
    let runs: Vec<u64> = (0..100).map(|_| random.below(dots.len() as u64 - 10)).collect();
    let removed: BTreeSet<u64> = runs.iter().flat_map(|start| *start..start + 10).collect();
    let live = |parity| -> DotSet {
        let kept = dots.iter().zip(0..).filter(|(_, i)| i / 1000 % 2 == parity || !removed.contains(i));
        kept.map(|(dot, _)| *dot).collect()
    };
    let (a, b) = (Side { live: live(0), version: version.clone() }, Side { live: live(1), version });
    let costs = check(&a, &b, [1; 16]);
    assert!(costs.bytes() < 12_000, "{costs:?}");
}

/// What a worst case for the descent costs beyond a bitmap: nothing predicts that the parts differ that do.
#[test]
fn whatever_differs_a_descent_is_never_much_more_than_the_bitmaps() {
    for (stride, keep) in [(64, 1), (256, 1), (256, 64), (1024, 64), (1024, 256), (4096, 2048), (16_384, 256), (1, 1)] {
        let version = version_of_roots([(replica(1), 500_000)]);
        let dot = |counter| Dot { writer: replica(1), counter };
        let all = Side { live: (1..=500_000).map(dot).collect(), version: version.clone() };
        let some = (1..=500_000).filter(|c| c % stride >= keep).map(dot).collect();
        let some = Side { live: some, version };
        for (a, b) in [(&all, &some), (&some, &all)] {
            let (bytes, one, other) = (check(a, b, [4; 16]).bytes(), bitmap(a, b), bitmap(b, a));
            assert!(bytes <= (one + other) * 105 / 100 + 600, "{stride}, {keep}: {bytes} of {one} + {other}");
        }
    }
}

/// Up to two thousand blocks it may be who holds all that says the words, to one who holds nothing: twice what need be.
#[test]
fn who_holds_nothing_is_told_everything_at_most_twice() {
    let mut twice = 0;
    for blocks in (1..40).chain((40..4_000).step_by(60)) {
        let version = version_of_roots([(replica(1), blocks * 64 - 1)]);
        let dots = (1..blocks * 64).map(|counter| Dot { writer: replica(1), counter });
        let all = Side { live: dots.collect(), version: version.clone() };
        let none = Side { live: DotSet::new(), version };
        for (a, b) in [(&all, &none), (&none, &all)] {
            let bytes = check(a, b, [4; 16]).bytes();
            assert!(bytes <= at_the_worst(a, b), "{bytes} of {blocks} blocks");
            twice = if bytes > bitmap(&all, &none) * 3 / 2 { twice.max(blocks) } else { twice };
        }
    }
    println!("twice the bitmap up to {twice} blocks");
    assert!(twice < 2_080, "{twice}");
}

fn side(writers: u64) -> impl Strategy<Value = Side> {
    let writer = (0..writers, prop_oneof![1u64..70, 1u64..3000], 0u64..100);
    (prop::collection::vec(writer, 0..12), any::<u64>()).prop_map(|(writers, seed)| {
        let mut random = Random(seed);
        let version = version_of_roots(writers.iter().map(|(r, upto, _)| (replica(*r), *upto)));
        let share = writers.first().map_or(50, |(_, _, share)| *share);
        let of = |head: &Dot| {
            let writer = head.writer;
            (1..=head.counter).map(move |counter| Dot { writer, counter })
        };
        let dots = version.heads().iter().flat_map(of);
        let live = dots.filter(|_| random.below(100) < share).collect();
        Side { live, version }
    })
}

/// Two sides that mostly hold the same, and each of which saw what the other did not.
fn sides() -> impl Strategy<Value = (Side, Side)> {
    let alike =
        (side(40), prop::collection::vec((any::<prop::sample::Index>(), 0u64..30, any::<bool>()), 0..20), 0u64..50);
    let alike = alike.prop_map(|(base, removals, more)| {
        let dots: Vec<Dot> = base.live.iter().collect();
        let (mut a, mut b) = (BTreeSet::from_iter(dots.iter().copied()), BTreeSet::from_iter(dots.iter().copied()));
        for (at, run, which) in removals.iter().filter(|_| !dots.is_empty()) {
            let at = at.index(dots.len());
            let side = if *which { &mut a } else { &mut b };
            dots[at..dots.len().min(at + *run as usize)].iter().for_each(|dot| _ = side.remove(dot));
        }
        let later = |counter| Dot { writer: replica(1), counter: base.version.get(replica(1)) + counter };
        a.extend((1..=more).map(later));
        let heads = base.version.heads().iter().copied().chain((more > 0).then(|| later(more)));
        let version = version_of_roots(heads.map(|head| (head.writer, head.counter)));
        let a = Side { live: a.into_iter().collect(), version };
        let b = Side { live: b.into_iter().collect(), version: base.version };
        (a, b)
    });
    prop_oneof![
        alike,
        (side(6), side(6)),
        (side(6), Just(Side { live: DotSet::new(), version: version_of_roots([]) })),
        (side(3000), side(3000))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn both_learn_the_symmetric_difference((a, b) in sides(), nonce: [u8; 16]) {
        let costs = check(&a, &b, nonce);
        prop_assert!(costs.bytes() <= at_the_worst(&a, &b), "{:?}, {}", costs, at_the_worst(&a, &b));
        check(&b, &a, nonce);
    }

    /// Whatever arrives: turns of another conversation, damaged ones, the same ones again.
    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing(
        (a, b) in sides(),
        (c, d) in sides(),
        nonce: [u8; 16],
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let noise: Vec<Turn> = turns(&c, &d, nonce).into_iter().chain(turns(&a, &b, [0; 16])).collect();
        let mut damaged: Vec<Turn> = Vec::new();
        for turn in turns(&a, &b, nonce) {
            let mut bytes = turn.to_bytes();
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            damaged.extend(Turn::from_bytes(&bytes));
        }
        let (mut asking, first) = Reconciling::ask(&a.live, &a.version, &b.version, nonce).unwrap();
        for turn in &damaged {
            drop(Reconciling::answer(&b.live, &b.version, &a.version, turn));
        }
        let (mut answering, mut step) = Reconciling::answer(&b.live, &b.version, &a.version, &first).unwrap();
        let mut b_speaks = true;
        let mut heard: Vec<Turn> = vec![first];
        loop {
            let turn = match step {
                Step::Say(turn) => turn,
                Step::Done { last: Some(turn), .. } => turn,
                Step::Done { last: None, .. } => break,
            };
            let hearing = if b_speaks { &mut asking } else { &mut answering };
            for other in heard.iter() {
                // A turn that repeats: it is refused, unless it says nothing that could be told from an answer.
                prop_assert!(hearing.handle(other).is_err());
            }
            step = hearing.handle(&turn).unwrap();
            heard.push(turn);
            b_speaks = !b_speaks;
        }
        // A peer that says what it likes: an end is reached all the same, and nothing panics.
        let (mut asking, _) = Reconciling::ask(&a.live, &a.version, &b.version, nonce).unwrap();
        let accepted = noise.iter().chain(&damaged).cycle().take(100).filter(|turn| asking.handle(turn).is_ok()).count();
        prop_assert!(accepted <= TURNS / 2);
    }
}

/// All that two say to each other.
fn turns(a: &Side, b: &Side, nonce: [u8; 16]) -> Vec<Turn> {
    let (mut asking, first) = Reconciling::ask(&a.live, &a.version, &b.version, nonce).unwrap();
    let (mut answering, mut step) = Reconciling::answer(&b.live, &b.version, &a.version, &first).unwrap();
    let mut turns = vec![first];
    loop {
        let (Step::Say(turn) | Step::Done { last: Some(turn), .. }) = step else { return turns };
        let hearing = if turns.len() % 2 == 1 { &mut asking } else { &mut answering };
        step = hearing.handle(&turn).unwrap();
        turns.push(turn);
    }
}

#[test]
fn sides_that_mean_different_versions_find_out_at_once() {
    let a = Side { live: DotSet::new(), version: version_of_roots([(replica(1), 5)]) };
    let (_, first) = Reconciling::ask(&a.live, &a.version, &a.version, [0; 16]).unwrap();
    let older = version_of_roots([(replica(1), 4)]);
    // What it was told of, the one who answers has not got.
    let answer = Reconciling::answer(&a.live, &older, &a.version, &first);
    assert_eq!(answer.map(|_| ()).unwrap_err(), ReconcileError::Versions);
}

#[test]
fn more_writes_than_can_be_told_apart_are_refused() {
    let version = version_of_roots((0..1024).map(|n| (replica(n), (1 << 53) - 1)));
    let asked = Reconciling::ask(&DotSet::new(), &version, &version, [0; 16]);
    assert_eq!(asked.map(|_| ()).unwrap_err(), ReconcileError::TooMany);
}

/// Few dots in a long history: the stretches are large and the bytes few.
#[test]
fn a_long_history_of_which_little_is_left_costs_little() {
    let version = version_of_roots([(replica(1), 1 << 50), (replica(2), 1 << 40)]);
    let mut random = Random(5);
    let dots: Vec<Dot> = (0..10_000).map(|_| Dot { writer: replica(1), counter: 1 + random.below(1 << 50) }).collect();
    let a = Side { live: dots.iter().copied().collect(), version: version.clone() };
    let b = Side { live: without(&mut random, &dots, 3), version };
    let costs = check(&a, &b, [0; 16]);
    assert!(costs.bytes() < bitmap(&a, &b) + 1000, "{costs:?}");
}

fn graph(seed: u64) -> Replica<Graph> {
    Replica::with_environment(TestEnvironment::new(seed))
}

fn side_of(replica: &Replica<Graph>) -> Side {
    Side { live: replica.live_dots(), version: replica.version().clone() }
}

fn two_with_nodes(nodes: u32) -> (Replica<Graph>, Replica<Graph>) {
    let (mut a, mut b) = (graph(1), graph(2));
    let (_, delta) = a.edit(|g| (0..nodes).try_for_each(|n| g.add_node(&format!("n:{n}")).map(drop))).unwrap();
    b.merge(&delta).unwrap();
    (a, b)
}

fn node(n: u32) -> NodeId {
    NodeId::named(&format!("n:{n}"))
}

/// The delta made from the difference is the one made from all live dots, in both directions at once.
#[test]
fn what_was_pruned_on_both_sides_is_buried_on_both() {
    let (mut a, mut b) = two_with_nodes(500);
    a.edit(|g| g.remove_node(node(7))).unwrap();
    b.edit(|g| g.remove_node(node(400)).and_then(|_| g.set(node(8), "/name", "eight"))).unwrap();
    a.prune(Prune::All);
    b.prune(Prune::All);
    assert!(matches!(a.delta_since(b.version()), Err(CutError::Pruned { .. })));
    let (for_b, for_a, _) = talk(&side_of(&a), &side_of(&b), [3; 16]);
    let to_b = a.reconcile_difference(&for_b).unwrap();
    let to_a = b.reconcile_difference(&for_a).unwrap();
    assert_eq!(to_b, a.reconcile(b.version(), &b.live_dots()));
    assert_eq!(to_a, b.reconcile(a.version(), &a.live_dots()));
    b.merge(&to_b).unwrap();
    a.merge(&to_a).unwrap();
    assert_eq!(a.state(), b.state());
    assert_eq!(a.fingerprint(), b.fingerprint());
    assert!(a.state().node(node(7)).is_none() && a.state().node(node(400)).is_none());
}

/// A deletion after the live dots were taken is told by its tombstone; if that is pruned too, nothing tells of it.
#[test]
fn a_difference_that_pruning_overtook_makes_no_delta() {
    let (mut a, mut b) = two_with_nodes(10);
    a.edit(|g| g.remove_node(node(1))).unwrap();
    a.prune(Prune::All);
    let (difference, ..) = talk(&side_of(&a), &side_of(&b), [3; 16]);
    a.edit(|g| g.remove_node(node(2))).unwrap();
    let delta = a.reconcile_difference(&difference).unwrap();
    a.prune(Prune::All);
    assert!(matches!(a.reconcile_difference(&difference), Err(CutError::Pruned { .. })));
    b.merge(&delta).unwrap();
    assert_eq!(a.state(), b.state());
}
