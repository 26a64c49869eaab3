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

#[test]
fn every_amount_counts_once_whatever_is_copied_restored_or_pruned() {
    let (mut restored, mut most) = (0, 0);
    for seed in 0..60 {
        let ids = Arc::new(AtomicU64::new(seed * 100_000));
        let mut random = Random((seed + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let env = || Env(Arc::clone(&ids));
        let mut replicas: Vec<Replica<PnCounter>> = (0..4).map(|_| Replica::with_environment(env())).collect();
        let mut saves: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 4];
        let mut amounts: Vec<(Dot, i128)> = Vec::new();
        for _ in 0..120 {
            let (i, j) = (random.below(4) as usize, random.below(4) as usize);
            match random.below(10) {
                0..=3 => {
                    let amount = random.below(9) as i64 - 4;
                    let replica = &mut replicas[i];
                    replica
                        .edit(|votes| match amount {
                            0.. => votes.add(amount.unsigned_abs()),
                            _ => votes.subtract(amount.unsigned_abs()),
                        })
                        .unwrap();
                    let writer = replica.writer().unwrap();
                    amounts.push((Dot { writer, counter: replica.version().get(writer) }, amount.into()));
                }
                4 => saves[i].push(replicas[i].save()),
                5 | 6 => {
                    // Its own save or another's, the latest or any.
                    let of = if random.below(4) == 0 { j } else { i };
                    let (count, latest) = (saves[of].len() as u64, random.below(2) == 0);
                    if count > 0 {
                        let which = if latest { count - 1 } else { random.below(count) };
                        replicas[i] = Replica::load_with(env(), &saves[of][which as usize]).unwrap();
                        restored += 1;
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
            let counted = amounts.iter().filter(|(dot, _)| replica.version().covers(*dot));
            let sum: i128 = counted.map(|(_, amount)| amount).sum();
            assert_eq!(replica.state().range(), (sum, sum), "seed {seed}");
            most = most.max(replica.state().state().live_len());
        }
    }
    assert!(restored > 300 && most < 20, "{restored} restored, {most} cells at most");
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
