//! Two replicas in a session, over a channel that loses frames or breaks: in the end both hold what both held, and no more.
//!
//! What they hold before, and what must come of it, is made by the crate as it should be.

use std::collections::VecDeque;
use std::time::Duration;

use driftless::sync::{Options, Session, Staged};
use driftless::testing::TestEnvironment;
use driftless::testing::bugs::with;
use driftless::{Edit, Graph, NodeId, Prune, Replica};

use crate::history::moment;
use crate::letters::letters;
use crate::oracles::Verdict;
use crate::random::Random;

/// How often both say all that they have to say, before there is no hope.
const ROUNDS: usize = 2_000;

type Two = [Replica<Graph>; 2];

/// The first byte of a frame that carries a part of a delta, without its highest bit.
const PART: u8 = 4;

fn node(n: usize) -> NodeId {
    NodeId::named(&format!("node {n}"))
}

fn set(replica: &mut Replica<Graph>, n: usize, text: &str) {
    replica.edit(|g| g.set(node(n), "/text", text)).unwrap();
}

/// Two that know some hundred nodes in common.
fn two(seed: u64) -> Two {
    let [mut a, mut b] = [1, 2].map(|n| Replica::<Graph>::with_environment(TestEnvironment::new(seed << 8 | n)));
    a.edit(|g| (0..200).try_for_each(|n| g.add_node(&format!("node {n}")).map(drop))).unwrap();
    b.merge(&a.complete()).unwrap();
    set(&mut b, 0, "from b");
    a.merge(&b.delta_since(a.version()).unwrap()).unwrap();
    [a, b]
}

/// With some hundred kilobytes that only the first has.
fn large(seed: u64) -> Two {
    let [mut a, b] = two(seed);
    // Texts that are alike would take no more than one of them.
    let add = |g: &mut Edit<'_, Graph>, n: u64| {
        let id = g.add_node(&format!("node {n}"))?;
        g.set(id, "/text", &letters(n, 1_000))
    };
    a.edit(|g| (0..600).try_for_each(|n| add(g, n))).unwrap();
    [a, b]
}

/// What both must come to hold.
fn joined([a, b]: &Two) -> Replica<Graph> {
    let mut joined = moment(a);
    joined.merge(&b.complete()).unwrap();
    joined
}

/// What came of a session.
struct Ran {
    staged: Option<Box<Staged>>,
    repairs: u64,
}

/// Runs a session until both are equal, or until so many parts were sent and the connection breaks.
fn run(two: &mut Two, staged: Option<Box<Staged>>, loss: u64, parts: usize) -> Result<Ran, String> {
    let mut random = Random::new(loss);
    let options =
        [Options::new(), Options::new().with_staged(staged)].map(|o| o.with_patience(Duration::from_secs(3_600)));
    let [one, other] = options;
    let mut sessions = [Session::new(&two[0], one, [1; 16]), Session::new(&two[1], other, [2; 16])];
    let (mut ways, mut now, mut through) = ([VecDeque::new(), VecDeque::new()], Duration::ZERO, 0);
    for _ in 0..ROUNDS {
        let mut said = false;
        for from in 0..2 {
            while let Some(frame) = sessions[from].poll_frame(&two[from], now).map_err(|e| e.to_string())? {
                said = true;
                through += usize::from(frame[0] & 0x7f == PART);
                if !random.percent(loss) && through <= parts {
                    ways[1 - from].push_back(frame);
                }
            }
        }
        for to in 0..2 {
            while let Some(frame) = ways[to].pop_front() {
                sessions[to].handle_frame(&mut two[to], &frame, now).map_err(|e| e.to_string())?;
            }
        }
        if through > parts {
            let [_, broken] = sessions;
            return Ok(Ran { staged: broken.into_staged(), repairs: 0 });
        }
        if !said && (0..2).all(|i| sessions[i].is_equal(&two[i])) {
            return Ok(Ran { staged: None, repairs: sessions.iter().map(|session| session.counters().repairs).sum() });
        }
        if !said {
            let timeouts = sessions.iter().filter_map(|session| session.poll_timeout());
            now = now.max(timeouts.min().ok_or("nobody waits and they are not equal")?);
        }
    }
    Err("no end".into())
}

fn ends(two: &Two, expected: &Replica<Graph>, ran: &Ran, contradict: bool) -> Verdict {
    // A repair hides what went wrong before.
    if (ran.repairs > 0) != contradict {
        return Err(format!("{} repairs", ran.repairs));
    }
    for replica in two {
        let (found, must) = (replica.state(), expected.state());
        if found != must {
            return Err(format!("it ends with {found:?}, must be {must:?}"));
        }
        with(None, || found.check_invariants())?;
    }
    Ok(())
}

fn all_of_it(seed: u64) -> Verdict {
    let (mut two, expected) = with(None, || {
        let two = large(seed);
        let expected = joined(&two);
        (two, expected)
    });
    let ran = run(&mut two, None, 0, usize::MAX)?;
    ends(&two, &expected, &ran, false)
}

/// It breaks off; until it goes on, something that had come is changed, and something goes.
fn after_a_break(seed: u64) -> Verdict {
    let mut two = with(None, || large(seed));
    let Ran { staged, .. } = run(&mut two, None, 0, 3 + seed as usize % 3)?;
    if staged.is_none() {
        return Err("nothing had come when it broke off".into());
    }
    let expected = with(None, || {
        for n in (0..600).step_by(40) {
            two[0].edit(|g| g.set(node(n), "/more", "changed meanwhile")).unwrap();
        }
        two[0].edit(|g| g.remove_node(node(7))).unwrap();
        joined(&two)
    });
    let ran = run(&mut two, staged, 0, usize::MAX)?;
    ends(&two, &expected, &ran, false)
}

/// Both have forgotten what they removed: only a reconciliation can tell.
fn after_pruning(seed: u64) -> Verdict {
    let (mut two, expected) = with(None, || {
        // So much that everything would be too much.
        let mut two = large(seed);
        let [a, b] = &mut two;
        b.merge(&a.complete()).unwrap();
        two[0].edit(|g| (0..20).try_for_each(|n| g.remove_node(node(n)).map(drop))).unwrap();
        two[1].edit(|g| (20..25).try_for_each(|n| g.remove_node(node(n)).map(drop))).unwrap();
        set(&mut two[1], 3, "wrote on");
        for replica in &mut two {
            replica.prune(Prune::All);
        }
        let expected = joined(&two);
        (two, expected)
    });
    let ran = run(&mut two, None, seed % 3 * 10, usize::MAX)?;
    ends(&two, &expected, &ran, false)
}

/// Two went on as one writer with as many writes.
fn after_cloning(seed: u64) -> Verdict {
    let (mut two, expected) = with(None, || {
        let [a, _] = two(seed);
        let saved = a.save();
        // Equal randomness: both draw the same writer.
        let open = || Replica::load_with(TestEnvironment::new(!seed), &saved).unwrap();
        let (mut a, mut copy) = (open(), open());
        set(&mut a, 1, ["of the one", "the one's"][seed as usize % 2]);
        set(&mut copy, 1, "of the other");
        let mut expected = moment(&a);
        expected.repair(&copy.complete_with_tombstones()).unwrap();
        ([a, copy], expected)
    });
    let ran = run(&mut two, None, 0, usize::MAX)?;
    ends(&two, &expected, &ran, true)
}

/// Both write on, and frames are lost.
fn while_both_write(seed: u64) -> Verdict {
    let mut two = with(None, || two(seed));
    for round in 0..4 {
        let expected = with(None, || {
            set(&mut two[0], round, "one");
            set(&mut two[1], round, "other");
            two[1].edit(|g| g.remove_node(node(100 + round))).unwrap();
            joined(&two)
        });
        let ran = run(&mut two, None, 20, usize::MAX)?;
        ends(&two, &expected, &ran, false)?;
    }
    Ok(())
}

pub(crate) fn judge(seed: u64) -> Verdict {
    match seed % 5 {
        0 => all_of_it(seed),
        1 => after_a_break(seed),
        2 => after_pruning(seed),
        3 => after_cloning(seed),
        _ => while_both_write(seed),
    }
}
