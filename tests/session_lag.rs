//! Sessions while both sides write, over lines that lose and delay frames: how late an edit is at most.

#[path = "support/frames.rs"]
mod frames;
#[path = "support/letters.rs"]
mod letters;
#[path = "support/line.rs"]
mod line;

use driftless::sync::{Options, SessionError};
use driftless::{Graph, NodeId, Prune};
use frames::{ANNOUNCE, PART, kind};
use letters::letters;
use line::{Line, replica};

/// Two that edit twice a second each, for this many seconds.
fn both_edit(loss: u64, latency: u64, seconds: u64, seed: u64) -> Line {
    let mut line = Line::new([replica(1), replica(2)], Options::new(), latency, loss, seed);
    while line.now < seconds * 1_000 {
        for who in 0..2 {
            if line.now % 500 == 130 * who as u64 {
                line.write(who, &format!("{who} at {}", line.now));
            }
        }
        line.tick(&mut |_, _| false);
        assert_eq!(line.ended, None, "seed {seed}, after {} ms", line.now);
    }
    line
}

#[test]
fn one_lost_frame_delays_its_direction_by_seconds_however_much_the_peer_talks() {
    for lost_kind in [PART, ANNOUNCE] {
        let mut line = Line::new([replica(1), replica(2)], Options::new(), 20, 0, 1);
        let mut lost = 0;
        while line.now < 60_000 {
            if line.now == 5_000 || line.now == 5_300 {
                line.write(0, &format!("edit at {}", line.now));
            }
            if line.now.is_multiple_of(500) {
                line.write(1, &format!("of the peer at {}", line.now));
            }
            let window = line.now >= 5_000 && lost == 0;
            // The part with the edit, or its acknowledgement.
            let who_loses = usize::from(lost_kind == ANNOUNCE);
            line.tick(&mut |who, frame| {
                let loses = window && who == who_loses && kind(frame) == lost_kind;
                lost += u32::from(loses);
                loses
            });
        }
        assert_eq!((lost, &line.ended), (1, &None));
        assert_eq!(line.ends[1].lags.len(), 2);
        assert!(line.worst() < 3_000, "{} ms without one frame of kind {lost_kind}", line.worst());
    }
}

#[test]
fn while_both_write_and_frames_are_lost_every_edit_arrives_within_seconds() {
    for (loss, seconds, limit) in [(0, 60, 900), (20, 600, 9_000), (100, 600, 25_000)] {
        for seed in 1..=6 {
            let line = both_edit(loss, 200, seconds, seed);
            let mut lags: Vec<u64> = line.ends.iter().flat_map(|end| end.lags.iter().copied()).collect();
            lags.sort_unstable();
            let (median, late) = (lags[lags.len() / 2], lags[lags.len() * 99 / 100]);
            println!("{loss} of 1,000 lost, seed {seed}: median {median}, 99th {late}, longest {} ms", line.worst());
            assert!(line.worst() <= limit, "{loss} of 1,000 lost, seed {seed}: {} ms", line.worst());
            assert_eq!(line.ends[0].session.counters().errors + line.ends[1].session.counters().errors, 0);
        }
    }
}

#[test]
fn a_peer_that_talks_and_never_acknowledges_is_given_up() {
    let mut line = Line::new([replica(1), replica(2)], Options::new(), 20, 0, 1);
    while line.ended.is_none() && line.now < 600_000 {
        if line.now == 5_000 {
            line.write(0, "the edit");
        }
        if line.now.is_multiple_of(500) {
            line.write(1, &format!("of the peer at {}", line.now));
        }
        // The second part and all after it are lost.
        let now = line.now;
        line.tick(&mut |who, frame| now >= 5_000 && who == 0 && kind(frame) == PART);
    }
    assert_eq!(line.ended, Some(SessionError::Silence));
    assert!((60_000..75_000).contains(&line.now), "{}", line.now);
}

#[test]
fn a_line_that_is_away_for_less_than_the_patience_ends_no_session() {
    for away in [10_000..60_000, 10_000..35_000] {
        let mut line = Line::new([replica(1), replica(2)], Options::new(), 50, 20, 3);
        while line.now < 120_000 {
            for who in 0..2 {
                if line.now % 700 == 130 * who as u64 {
                    line.write(who, &format!("{who} at {}", line.now));
                }
            }
            let gone = away.contains(&line.now);
            line.tick(&mut |_, _| gone);
        }
        assert_eq!(line.ended, None, "away for {away:?}");
        let (last, arrived) = (line.ends[0].lags.len(), line.ends[1].lags.len());
        assert!(last > 150 && arrived > 150, "{last} {arrived}");
    }
}

/// Two that hold the same nodes; then the first removes and prunes, so that only a reconciliation tells the second.
fn to_be_reconciled(nodes: usize) -> [driftless::Replica<Graph>; 2] {
    let (mut a, mut b) = (replica(1), replica(2));
    a.edit(|g| (0..nodes).try_for_each(|n| g.add_node(&format!("node {n}")).map(drop))).unwrap();
    b.merge(&a.complete()).unwrap();
    a.edit(|g| g.remove_node(NodeId::named("node 5"))).unwrap();
    a.prune(Prune::All);
    [a, b]
}

/// Writes with each tick, forty to a round trip, and says all that there is to say after each.
fn reconcile_while_both_write(loss: u64, prune: bool, seed: u64) -> Line {
    let mut line = Line::new(to_be_reconciled(200), Options::new(), 200, loss, seed);
    while line.now < 60_000 {
        if line.now < 55_000 {
            for who in 0..2 {
                line.write(who, &format!("{who} at {}", line.now));
                if prune && line.now % 500 == 250 {
                    line.remove(who, &format!("node {}", 20 + who + line.now as usize / 500));
                    line.ends[who].replica.prune(Prune::All);
                }
            }
        }
        line.tick(&mut |_, _| false);
        assert_eq!(line.ended, None, "seed {seed}, after {} ms", line.now);
    }
    line
}

#[test]
fn a_reconciliation_ends_though_forty_edits_are_made_on_each_side_in_a_round_trip() {
    for (loss, prune, limit) in [(0, false, 3_000), (0, true, 5_000), (20, true, 15_000)] {
        let line = reconcile_while_both_write(loss, prune, 1);
        let counters = [0, 1].map(|i: usize| line.ends[i].session.counters());
        let [a, b] = &counters;
        println!("loss {loss}, pruning {prune}: longest {} ms, {} frames, {a:?}", line.worst(), line.sent);
        assert!(line.worst() <= limit, "loss {loss}, pruning {prune}: {} ms", line.worst());
        assert!(a.reconciliations > 0 && a.errors + b.errors == 0, "{counters:?}");
        assert!(line.ends.iter().all(|end| end.replica.state().node(NodeId::named("node 5")).is_none()));
        assert!(line.is_equal(), "loss {loss}, pruning {prune}");
        assert_eq!(line.ends[0].replica.state(), line.ends[1].replica.state());
    }
}

#[test]
fn a_long_stream_is_merged_though_its_receiver_announces_a_hundred_times_meanwhile() {
    let (mut a, b) = (replica(1), replica(2));
    let fill = |g: &mut driftless::Edit<'_, Graph>| {
        (0..3_000).try_for_each(|n| {
            let node = g.add_node(&format!("long {n}"))?;
            g.set(node, "/text", &letters(n, 1_000))
        })
    };
    a.edit(fill).unwrap();
    let mut line = Line::new([a, b], Options::new().with_part_len(4 << 10), 100, 0, 1);
    line.spacing = 50;
    while line.now < 60_000 {
        if line.now < 50_000 && line.now.is_multiple_of(100) {
            line.write(1, &format!("of the receiver at {}", line.now));
        }
        line.tick(&mut |_, _| false);
        assert_eq!(line.ended, None);
    }
    let counters = [0, 1].map(|i: usize| line.ends[i].session.counters());
    println!("{counters:?}");
    assert!(line.is_equal());
    assert_eq!((line.ends[1].merged, counters[1].errors), (1, 0), "{counters:?}");
}
