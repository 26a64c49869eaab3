//! Breadth first through all that a few replicas can come to.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::testing::explore::table::Table;
use crate::testing::explore::{Exploration, Scope};
use crate::testing::laws;
use crate::testing::model::Model;

/// The numbers of what the replicas hold.
type Locals = SmallVec<[usize; 3]>;

struct State {
    locals: Locals,
    /// The number of the set of deltas that can arrive.
    pool: usize,
    /// The number of the set of all that was ever saved; that of the empty set once no more of it may be opened.
    saves: usize,
    /// How many times something else was opened than the latest of the site's own.
    restored: usize,
    /// The state that it came from, and how.
    from: usize,
    act: Option<Act>,
}

#[derive(Clone, Copy)]
enum Act {
    Edit { by: usize, op: usize },
    Prune { by: usize },
    /// Opens what was saved, there or elsewhere.
    Open { saved: usize, who: usize },
    Arrive { parcel: usize, at: usize },
}

/// Sets of deltas or of saved states, each under one number.
#[derive(Default)]
struct Pools {
    sets: Vec<Rc<[usize]>>,
    numbers: HashMap<Rc<[usize]>, usize>,
}

impl Pools {
    fn number(&mut self, mut parcels: Vec<usize>) -> usize {
        parcels.sort_unstable();
        parcels.dedup();
        let parcels: Rc<[usize]> = parcels.into();
        *self.numbers.entry(Rc::clone(&parcels)).or_insert_with(|| {
            self.sets.push(parcels);
            self.sets.len() - 1
        })
    }
}

pub(super) struct Search<M: Model> {
    scope: Scope,
    table: Table<M>,
    states: Vec<State>,
    known: HashSet<(Locals, usize, usize, usize)>,
    pools: Pools,
    judged: HashSet<Locals>,
    /// How many edits were made before the first step.
    begun: usize,
    concurrent: usize,
}

impl<M: Model> Search<M> {
    pub(super) fn new(scope: Scope, ops: &[M::Op]) -> Result<Self, String> {
        if scope.replicas < 2 {
            return Err("a replica by itself has nobody to differ from".into());
        }
        Ok(Self {
            scope,
            // Each step may open a replica again, which then has a new writer.
            table: Table::new(scope.replicas, scope.replicas * (scope.steps + 1), ops)?,
            states: Vec::new(),
            known: HashSet::new(),
            pools: Pools::default(),
            judged: HashSet::new(),
            begun: 0,
            concurrent: 0,
        })
    }

    /// Does something to each delta that is cut, to see whether it is found out.
    #[cfg(test)]
    pub(super) fn spoil(&mut self, spoil: fn(&mut crate::kernel::Delta, &crate::kernel::State)) {
        self.table.spoil = spoil;
    }

    pub(super) fn run(mut self) -> Result<Exploration, String> {
        let locals: Locals = self.table.begin()?.into();
        self.begun = self.edits(&locals);
        let mut pool = Vec::new();
        (0..locals.len()).try_for_each(|who| self.cut(&locals, who, &mut pool))?;
        let (pool, saves) = (self.pools.number(pool), self.saves(&[], &locals, 0));
        self.come_to(State { locals, pool, saves, restored: 0, from: 0, act: None });
        let (mut first, mut by_steps) = (0, vec![1]);
        for _ in 0..self.scope.steps {
            let end = self.states.len();
            (first..end).try_for_each(|state| self.leave(state))?;
            by_steps.push(self.states.len() - end);
            first = end;
        }
        Ok(Exploration {
            states: self.states.len(),
            by_steps,
            concurrent: self.concurrent,
            combinations: self.judged.len(),
            ..self.table.count()
        })
    }

    /// Does all that can be done next.
    fn leave(&mut self, state: usize) -> Result<(), String> {
        let State { locals, pool, saves, .. } = &self.states[state];
        let [pool, saves] = [pool, saves].map(|set| Rc::clone(&self.pools.sets[*set]));
        let locals = locals.clone();
        let ops = if self.edits(&locals) - self.begun < self.scope.edits { self.table.alphabet() } else { 0 };
        for who in 0..locals.len() {
            let edits = (0..ops).map(|op| Act::Edit { by: who, op });
            let arrivals = pool.iter().map(|parcel| Act::Arrive { parcel: *parcel, at: who });
            let earlier = saves.iter().filter(|saved| **saved != locals[who]);
            let opens = [locals[who]].into_iter().chain(earlier.copied()).map(|saved| Act::Open { saved, who });
            for act in edits.chain([Act::Prune { by: who }]).chain(opens).chain(arrivals) {
                self.act(state, act).map_err(|why| self.tell(state, act, &why))?;
            }
        }
        Ok(())
    }

    fn act(&mut self, state: usize, act: Act) -> Result<(), String> {
        let State { locals, pool, saves, restored, .. } = &self.states[state];
        let (mut locals, pool, saves, mut restored) = (locals.clone(), *pool, *saves, *restored);
        let mut cut = Vec::new();
        let (who, now) = match act {
            Act::Edit { by, op } => {
                let Some((now, delta)) = self.table.edit(locals[by], op)? else { return Ok(()) };
                cut.extend(delta);
                (by, now)
            }
            Act::Prune { by } => (by, self.table.prune(locals[by])?),
            Act::Open { saved, who } => {
                restored += usize::from(saved != locals[who]);
                (who, self.table.open(saved, locals[who])?)
            }
            Act::Arrive { parcel, at } => {
                let Some(now) = self.table.arrive(locals[at], parcel)? else { return Ok(()) };
                (at, now)
            }
        };
        let before = std::mem::replace(&mut locals[who], now);
        if before == now {
            return Ok(());
        }
        self.cut(&locals, who, &mut cut)?;
        let old = Rc::clone(&self.pools.sets[pool]);
        cut.sort_unstable();
        cut.dedup();
        cut.retain(|parcel| old.binary_search(parcel).is_err());
        if self.judged.insert(locals.clone()) {
            let judged = self.judge(&locals, who, before, act).and_then(|()| self.regroup(&locals, &old, &cut));
            judged.map_err(|e| format!("by the laws, of what there is then: {e}"))?;
        }
        let pool = match cut.is_empty() {
            true => pool,
            false => self.pools.number(old.iter().chain(&cut).copied().collect()),
        };
        let saves = self.saves(&Rc::clone(&self.pools.sets[saves]), &locals, restored);
        self.come_to(State { locals, pool, saves, restored, from: state, act: Some(act) });
        Ok(())
    }

    fn come_to(&mut self, state: State) {
        if self.known.insert((state.locals.clone(), state.pool, state.saves, state.restored)) {
            let all = self.all(&state.locals);
            self.concurrent += usize::from(self.table.collides(all));
            self.states.push(state);
        }
    }

    /// All that was saved, with what the replicas hold now.
    fn saves(&mut self, saves: &[usize], locals: &Locals, restored: usize) -> usize {
        let go_on = restored < self.scope.restores;
        self.pools.number(saves.iter().chain(locals).copied().filter(|_| go_on).collect())
    }

    /// What was done in all.
    fn all(&mut self, locals: &Locals) -> usize {
        let table = &mut self.table;
        let first = table.past_of(locals[0]);
        locals[1..].iter().fold(first, |all, local| {
            let past = table.past_of(*local);
            table.join_pasts(all, past)
        })
    }

    fn edits(&mut self, locals: &Locals) -> usize {
        let all = self.all(locals);
        self.table.edits_in(all)
    }

    /// All that can be cut by or for a replica.
    fn cut(&mut self, locals: &Locals, who: usize, cut: &mut Vec<usize>) -> Result<(), String> {
        cut.push(self.table.complete(locals[who])?);
        for other in (0..locals.len()).filter(|other| *other != who) {
            cut.push(self.table.cut(locals[who], locals[other])?);
            cut.push(self.table.cut(locals[other], locals[who])?);
        }
        Ok(())
    }

    /// The laws, of replicas one of which has changed; and all sync with all.
    fn judge(&mut self, locals: &Locals, who: usize, before: usize, act: Act) -> Result<(), String> {
        let table = &mut self.table;
        let mut locals: Locals = locals.iter().map(|local| table.copy(*local)).collect();
        let before = table.copy(before);
        if !matches!(act, Act::Open { .. }) {
            laws::inflation(table, &locals[who], &before)?;
        }
        locals.swap(0, who);
        let (now, one) = (locals[0], locals[1]);
        let other = locals.get(2).copied().unwrap_or(before);
        laws::join(table, &now, &one, &other)?;
        laws::order(table, &now, &one, &other)?;
        for other in &locals[1..] {
            laws::delta(table, &now, other)?;
            laws::delta(table, other, &now)?;
        }
        laws::sync(table, &mut locals)
    }

    /// What was just cut, joined with what it chains with of all that can arrive.
    fn regroup(&mut self, locals: &Locals, old: &[usize], new: &[usize]) -> Result<(), String> {
        let table = &mut self.table;
        let locals: Locals = locals.iter().map(|local| table.copy(*local)).collect();
        let incremental = |parcels: &[usize]| -> Vec<usize> {
            parcels.iter().copied().filter(|parcel| table.is_incremental(*parcel)).collect()
        };
        let (old, new) = (incremental(old), incremental(new));
        for (i, a) in new.iter().enumerate() {
            for b in old.iter().chain(&new[..i]) {
                for (first, second) in [(*a, *b), (*b, *a)] {
                    if let Some(joined) = table.chain(first, second)? {
                        locals.iter().try_for_each(|x| table.regroup(*x, first, second, joined))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What led to a failure, and where each delta that arrived was cut.
    fn tell(&mut self, state: usize, last: Act, why: &str) -> String {
        let (mut path, mut at) = (vec![state], state);
        while self.states[at].act.is_some() {
            at = self.states[at].from;
            path.push(at);
        }
        path.reverse();
        let mut text = format!("{why}\nthat is what these steps lead to, and no fewer:\n");
        for i in 0..path.len() {
            let act = path.get(i + 1).map_or(Some(last), |next| self.states[*next].act);
            let what = match act {
                Some(Act::Edit { by, op }) => format!("replica {by}: {:?}", self.table.op(op)),
                Some(Act::Prune { by }) => format!("replica {by} forgets its tombstones"),
                Some(Act::Open { saved, who }) => {
                    let had = |state: &usize| self.states[*state].locals.contains(&saved);
                    let step = path.iter().position(had).unwrap_or_default();
                    format!("replica {who} opens what replica {} had after step {step}", self.table.site(saved))
                }
                Some(Act::Arrive { parcel, at }) => {
                    let had = |state: &usize| self.pools.sets[self.states[*state].pool].binary_search(&parcel).is_ok();
                    let step = path.iter().position(had).unwrap_or_default();
                    format!("replica {at} gets {}, cut after step {step}", self.table.describe(parcel))
                }
                None => continue,
            };
            let _ = writeln!(text, "  {}. {what}", i + 1);
        }
        text
    }
}
