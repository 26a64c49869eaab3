//! Counters under copies, restored backups and restarts: every amount counts once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::testing::{TestEnvironment, twin};
use driftless::{Crdt, Document, Dot, Environment, PnCounter, Prune, Replica};

/// Time and ids that never come twice, whoever asks.
struct Env(Arc<AtomicU64>);

impl Environment for Env {
    fn now_ms(&mut self) -> u64 {
        1_000 + self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn random(&mut self) -> [u8; 16] {
        let n = u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1;
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) % n
    }
}

fn pair<T>(all: &mut [T], i: usize, j: usize) -> (&mut T, &mut T) {
    let (low, high) = all.split_at_mut(i.max(j));
    if i < j { (&mut low[i], &mut high[0]) } else { (&mut high[0], &mut low[j]) }
}

/// Counts over all schedules.
#[derive(Default, Debug)]
struct Counted {
    restored: usize,
    /// Live cells, at most.
    cells: usize,
    /// Openings on one path, at least.
    openings: usize,
    /// Sums that were exact though a cell does not note all openings, and sums that were a range.
    exact: usize,
    ranges: usize,
}

/// Four counters that are written to, saved, opened, copied, pruned and merged at random; of ten steps so many open the latest
/// save and count. What each must read follows from the list of all amounts: the sum of those whose write it has seen.
fn play(seed: u64, steps: usize, reopened: u64, counted: &mut Counted) {
    let ids = Arc::new(AtomicU64::new(seed * 100_000));
    let mut random = Random((seed + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let env = || Env(Arc::clone(&ids));
    let mut replicas: Vec<Replica<PnCounter>> = (0..4).map(|_| Replica::with_environment(env())).collect();
    let (mut openings, mut all) = ([0; 4], 0);
    let mut saves: Vec<Vec<(Vec<u8>, usize)>> = vec![Vec::new(); 4];
    let mut amounts: Vec<(Dot, i128)> = Vec::new();
    for _ in 0..steps {
        let (i, j) = (random.below(4) as usize, random.below(4) as usize);
        let reopens = random.below(10) < reopened;
        if reopens {
            replicas[i] = Replica::load_with(env(), &replicas[i].save()).unwrap();
        }
        match if reopens { 0 } else { random.below(10) } {
            0..=3 => {
                let amount = random.below(9) as i64 - 4;
                let replica = &mut replicas[i];
                let is_new = usize::from(replica.writer().is_none());
                (openings[i], all) = (openings[i] + is_new, all + is_new);
                replica
                    .edit(|votes| match amount {
                        0.. => votes.add(amount.unsigned_abs()),
                        _ => votes.subtract(amount.unsigned_abs()),
                    })
                    .unwrap();
                let writer = replica.writer().unwrap();
                amounts.push((Dot { writer, counter: replica.version().get(writer) }, amount.into()));
            }
            4 => saves[i].push((replicas[i].save(), openings[i])),
            5 | 6 => {
                // Its own save or another's, the latest or any.
                let of = if random.below(4) == 0 { j } else { i };
                let (count, latest) = (saves[of].len() as u64, random.below(2) == 0);
                if count > 0 {
                    let which = if latest { count - 1 } else { random.below(count) };
                    let (save, opened) = &saves[of][which as usize];
                    (replicas[i], openings[i]) = (Replica::load_with(env(), save).unwrap(), *opened);
                    counted.restored += 1;
                }
            }
            7 => drop(replicas[i].prune(Prune::All)),
            _ if i != j => {
                let (to, from) = pair(&mut replicas, i, j);
                let delta = from.delta_since(to.version());
                let delta = delta.unwrap_or_else(|_| from.reconcile(to.version(), &to.live_dots()));
                to.merge(&delta).unwrap();
            }
            _ => {}
        }
        let replica = &replicas[i];
        let seen = amounts.iter().filter(|(dot, _)| replica.version().covers(*dot));
        let sum: i128 = seen.map(|(_, amount)| amount).sum();
        let (least, greatest) = replica.state().range();
        assert!(least <= sum && sum <= greatest, "seed {seed}: {least} to {greatest}, must be {sum}");
        counted.openings = counted.openings.max(openings[i]);
        match all {
            ..=32 => assert_eq!(least, greatest, "seed {seed}: a range where all openings are noted"),
            _ if least == greatest => counted.exact += 1,
            _ => counted.ranges += 1,
        }
        let (cells, branches) = (replica.state().state().live_len(), replica.version().len());
        assert!(cells <= branches, "seed {seed}: {cells} cells for {branches} branches");
        counted.cells = counted.cells.max(cells);
    }
}

#[test]
fn every_amount_counts_once_whatever_is_copied_restored_or_pruned() {
    let mut counted = Counted::default();
    (0..60).for_each(|seed| play(seed, 120, 0, &mut counted));
    println!("{counted:?}");
    assert!(counted.restored > 300 && counted.cells < 20 && counted.ranges == 0, "{counted:?}");
}

#[test]
fn a_sum_lies_in_its_range_where_branches_were_opened_more_often_than_a_cell_notes() {
    let mut counted = Counted::default();
    (0..40).for_each(|seed| play(seed, 300, 7, &mut counted));
    println!("{counted:?}");
    assert!(counted.openings > 40 && counted.exact > 300 && counted.ranges > 5, "{counted:?}");
}

/// A counter, as it was after some openings that each added one and after some more, and a copy of the earlier one that was
/// opened some times too.
fn parted(before: usize, ours: usize, theirs: usize) -> [Replica<PnCounter>; 2] {
    let opened = |mut replica: Replica<PnCounter>, times: usize| {
        for _ in 0..times {
            replica = Replica::load(&replica.save()).unwrap();
            replica.edit(|votes| votes.add(1)).unwrap();
        }
        replica
    };
    let before = opened(Replica::new(), before).save();
    [ours, theirs].map(|times| opened(Replica::load(&before).unwrap(), times))
}

/// Each merges the other, and both read this.
fn joined([mut one, mut other]: [Replica<PnCounter>; 2]) -> ([Replica<PnCounter>; 2], (i128, i128)) {
    let [a, b] = [&one, &other].map(|replica| replica.complete());
    one.merge(&b).unwrap();
    other.merge(&a).unwrap();
    assert_eq!(one.state().range(), other.state().range());
    let range = one.state().range();
    ([one, other], range)
}

#[test]
fn two_copies_count_exactly_while_the_opening_at_which_they_part_is_noted() {
    for (before, ours, theirs) in [(1, 1, 1), (5, 27, 27), (90, 30, 30), (60, 1, 31)] {
        let sum = (before + ours + theirs) as i128;
        let (_, range) = joined(parted(before, ours, theirs));
        assert_eq!(range, (sum, sum), "parted after {before}, opened {ours} and {theirs} times");
    }
}

#[test]
fn two_copies_that_part_where_nothing_is_noted_give_a_range_no_wider_than_what_is_not_noted() {
    for (before, ours, theirs) in [(20, 60, 1), (20, 1, 60), (50, 50, 50), (2, 33, 33), (100, 100, 5)] {
        let sum = (before + ours + theirs) as i128;
        let (_, (least, greatest)) = joined(parted(before, ours, theirs));
        assert!(least <= sum && sum <= greatest && least < greatest, "{least} to {greatest}, must be {sum}");
        // The first opening is noted by both, and the last thirty of each are its own.
        let most = before + ours.max(theirs) - 31;
        assert!(greatest - least <= most as i128, "{least} to {greatest} after {before}, {ours}, {theirs}");
    }
}

#[test]
fn branches_that_know_of_each_other_count_exactly_however_often_they_are_opened_later() {
    let (both, (least, greatest)) = joined(parted(10, 10, 10));
    assert_eq!((least, greatest), (30, 30));
    let later = both.map(|mut replica| {
        for _ in 0..80 {
            replica = Replica::load(&replica.save()).unwrap();
            replica.edit(|votes| votes.add(1)).unwrap();
        }
        replica
    });
    let (_, range) = joined(later);
    assert_eq!(range, (190, 190));
}

#[test]
fn a_counter_takes_one_cell_for_each_branch_and_not_for_each_opening() {
    let mut replica = Replica::<Document>::new();
    let mut backup = Vec::new();
    for opening in 0..200 {
        replica.edit(|d| d.add("/visits", 1)).unwrap();
        let bytes = replica.save();
        replica = Replica::load(&bytes).unwrap();
        if opening == 99 {
            backup = bytes;
        }
    }
    assert_eq!((replica.state().counter("/visits"), replica.state().state().live_len()), (Some(200), 1));
    assert_eq!(replica.version().len(), 1);
    let mut restored = Replica::<Document>::load(&backup).unwrap();
    restored.edit(|d| d.add("/visits", 5)).unwrap();
    replica.merge(&restored.delta_since(replica.version()).unwrap()).unwrap();
    assert_eq!(replica.state().state().live_len(), 2);
    // More openings have counted on one side than a cell notes, so the sum is a range, which nobody takes for exact.
    let (least, greatest) = replica.state().properties().counter_range("/visits").unwrap();
    assert!(least <= 205 && 205 <= greatest && least < greatest, "{least} to {greatest}");
    assert_eq!(replica.state().counter("/visits"), Some(greatest));
}

#[test]
fn what_two_copies_of_a_process_counted_under_one_dot_is_a_range() {
    let mut one = Replica::<PnCounter>::with_environment(TestEnvironment::new(1));
    one.edit(|votes| votes.add(10)).unwrap();
    let mut other = twin(&one, TestEnvironment::new(2));
    let (_, a) = one.edit(|votes| votes.add(1)).unwrap();
    let (_, b) = other.edit(|votes| votes.add(2)).unwrap();
    one.merge(&b).unwrap();
    other.merge(&a).unwrap();
    assert_eq!(one.state(), other.state());
    let (least, greatest) = one.state().range();
    assert!(least <= 13 && 13 <= greatest, "{least} to {greatest}");
    // To go on counting loses nothing of either.
    one.edit(|votes| votes.add(100)).unwrap();
    assert_eq!(one.state().range(), (least + 100, greatest + 100));
}
