//! Versions and lines against a plain map from writers to counters, which says the same in the length of all openings.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

type Plain = BTreeMap<WriterId, u64>;

/// How the writer of a write comes about.
#[derive(Clone, Copy, Debug)]
enum By {
    /// That of the last write, if there was one since the site was opened.
    Same,
    /// A new one that goes on from the owner.
    Owner,
    /// A new one that goes on from one of the dots that are covered.
    Any(usize),
    Root,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize, By),
    /// A site learns what another has seen, or had seen some steps ago.
    Learn(usize, usize, usize),
    /// A site goes back to a version that some site had; by its own table of then, or by one that is read anew.
    Restore(usize, usize, bool),
}

const SITES: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let site = || 0..SITES;
    let by = prop_oneof![
        4 => Just(By::Same),
        3 => Just(By::Owner),
        1 => any::<usize>().prop_map(By::Any),
        1 => Just(By::Root)
    ];
    let step = prop_oneof![
        6 => (site(), by).prop_map(|(site, by)| Step::Write(site, by)),
        4 => (site(), site(), 0..6usize).prop_map(|(from, to, back)| Step::Learn(from, to, back)),
        1 => (site(), any::<usize>(), any::<bool>()).prop_map(|(site, which, anew)| Step::Restore(site, which, anew)),
    ];
    prop::collection::vec(step, 1..50)
}

#[derive(Clone)]
struct Site {
    version: Version,
    plain: Plain,
    writer: Option<WriterId>,
    owner: Option<WriterId>,
}

/// What nobody in it can see.
struct World {
    births: BTreeMap<WriterId, Birth>,
    sites: Vec<Site>,
    past: Vec<Site>,
}

impl World {
    fn new() -> Self {
        let site = Site { version: Version::whole(), plain: Plain::new(), writer: None, owner: None };
        Self { births: BTreeMap::new(), sites: vec![site; SITES], past: Vec::new() }
    }

    fn after(&self, writer: WriterId) -> u64 {
        self.births[&writer].after()
    }

    fn covers(&self, plain: &Plain, dot: Dot) -> bool {
        dot.counter > self.after(dot.writer) && plain.get(&dot.writer).is_some_and(|last| dot.counter <= *last)
    }

    fn dots(&self, plain: &Plain) -> Vec<Dot> {
        let of = |(writer, last): (&WriterId, &u64)| {
            let writer = *writer;
            (self.after(writer) + 1..=*last).map(move |counter| Dot { writer, counter })
        };
        plain.iter().flat_map(of).collect()
    }

    /// The dot before one on its path.
    fn before(&self, dot: Dot) -> Option<Dot> {
        match dot.counter - 1 == self.after(dot.writer) {
            true => self.births[&dot.writer].parent,
            false => Some(Dot { counter: dot.counter - 1, ..dot }),
        }
    }

    fn heads(&self, plain: &Plain) -> Vec<Dot> {
        let dots = self.dots(plain);
        let inner: BTreeSet<Dot> = dots.iter().filter_map(|dot| self.before(*dot)).collect();
        dots.into_iter().filter(|dot| !inner.contains(dot)).collect()
    }

    fn births_of(&self, plain: &Plain) -> Vec<Birth> {
        plain.keys().map(|writer| self.births[writer].clone()).collect()
    }

    /// A version by a table that is made anew.
    fn read(&self, plain: &Plain) -> Version {
        self.learnt(&Version::whole(), plain)
    }

    fn learnt(&self, version: &Version, plain: &Plain) -> Version {
        let heads = self.heads(plain);
        let table = version.learn(&self.births_of(plain), &heads).unwrap();
        let theirs = table.resolve(&heads.iter().copied().collect()).unwrap();
        let mut version = version.clone();
        version.adopt(&table);
        version.join(&theirs);
        version
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(who, by) => self.write(who, by),
            Step::Learn(from, to, back) => {
                let back = self.past.len().checked_sub(1 + back).filter(|_| back > 0);
                let theirs = back.map_or(&self.sites[from], |i| &self.past[i]).plain.clone();
                self.sites[to].version = self.learnt(&self.sites[to].version, &theirs);
                self.sites[to].plain = join(&self.sites[to].plain, &theirs);
            }
            Step::Restore(who, which, anew) => {
                let Some(which) = which.checked_rem(self.past.len()) else { return };
                let mut site = self.past[which].clone();
                (site.owner, site.writer) = (site.writer.or(site.owner), None);
                if anew {
                    site.version = self.read(&site.plain);
                }
                self.sites[who] = site;
            }
        }
        self.past.extend(self.sites.iter().cloned());
    }

    fn write(&mut self, who: usize, by: By) {
        let site = &self.sites[who];
        let same = site.writer.filter(|_| matches!(by, By::Same));
        let (writer, parent) = match (same, by) {
            (Some(writer), _) => (writer, None),
            (None, by) => {
                let dots = self.dots(&site.plain);
                let parent = match by {
                    By::Any(which) => which.checked_rem(dots.len()).map(|i| dots[i]),
                    By::Root => None,
                    _ => site.writer.or(site.owner).and_then(|owner| site.version.goes_on_from(owner)),
                };
                // In no order.
                let n = self.births.len() as u8;
                (WriterId::from([n.wrapping_mul(37) ^ 0x5a; 10]), parent)
            }
        };
        if same.is_none() {
            if let (Some(parent), By::Same | By::Owner) = (parent, by) {
                assert!(self.heads(&site.plain).contains(&parent), "{parent} is no head");
            }
            let birth = Birth { writer, parent, name: None };
            self.births.insert(writer, birth.clone());
            self.sites[who].version.bear(&birth).unwrap();
            self.sites[who].writer = Some(writer);
        }
        let (after, site) = (self.births[&writer].after(), &mut self.sites[who]);
        let counter = site.plain.get(&writer).map_or(after, |last| *last) + 1;
        assert_eq!(site.version.mint(writer, &mut 0), Some(Dot { writer, counter }));
        site.plain.insert(writer, counter);
    }

    /// Everything that a version says, of every dot that there is.
    fn check(&self, version: &Version, plain: &Plain) -> Result<(), TestCaseError> {
        prop_assert_eq!(version.heads(), &self.heads(plain)[..]);
        for writer in self.births.keys() {
            prop_assert_eq!(version.get(*writer), plain.get(writer).copied().unwrap_or(0), "{}", writer);
            for counter in 0..self.after(*writer) + 12 {
                let dot = Dot { writer: *writer, counter };
                prop_assert_eq!(version.covers(dot), self.covers(plain, dot), "{}", dot);
            }
        }
        // Each covered dot stands in one contribution, and counters within one are without gaps.
        let mut all = Vec::new();
        for contribution in version.contributions() {
            prop_assert!(contribution.windows(2).all(|pair| pair[0].2 == pair[1].1), "{:?}", contribution);
            let of = |(writer, after, last): (WriterId, u64, u64)| {
                (after + 1..=last).map(move |counter| Dot { writer, counter })
            };
            all.extend(contribution.into_iter().flat_map(of));
        }
        all.sort_unstable();
        prop_assert_eq!(all, self.dots(plain));
        Ok(())
    }

    fn check_pair(&self, a: &Site, b: &Site) -> Result<(), TestCaseError> {
        let (x, y) = (&a.version, &b.version);
        let (least, most) = (meet(&a.plain, &b.plain), join(&a.plain, &b.plain));
        prop_assert_eq!(x == y, a.plain == b.plain);
        prop_assert_eq!(x.includes(y), least == b.plain);
        prop_assert_eq!(x.includes(&y.bare()), least == b.plain);
        prop_assert_eq!(
            x.partial_cmp(y),
            match (least == a.plain, least == b.plain) {
                (true, true) => Some(Ordering::Equal),
                (true, false) => Some(Ordering::Less),
                (false, true) => Some(Ordering::Greater),
                (false, false) => None,
            }
        );
        let both = x.meet(y);
        self.check(&both, &least)?;
        // By bytes it may know less of the other's past, never more.
        let told = Version::from_bytes(&y.to_bytes()).unwrap();
        prop_assert!(both.includes(&x.meet(&told)));
        self.check(&self.learnt(x, &b.plain), &most)?;

        // By one table: what is new, and the births that are.
        let table = x.learn(&self.births_of(&b.plain), y.heads()).unwrap();
        let theirs = table.resolve(y).unwrap();
        self.check(&theirs, &b.plain)?;
        let mut news = BTreeMap::<WriterId, BTreeSet<u64>>::new();
        for (writer, seen, last) in theirs.news(&x.resolve_by(&table)) {
            for counter in seen + 1..=last {
                prop_assert!(news.entry(writer).or_default().insert(counter), "{}:{} is new twice", writer, counter);
            }
        }
        let mut expected = BTreeMap::<WriterId, BTreeSet<u64>>::new();
        for dot in self.dots(&b.plain).into_iter().filter(|dot| !self.covers(&a.plain, *dot)) {
            expected.entry(dot.writer).or_default().insert(dot.counter);
        }
        prop_assert_eq!(news, expected);
        let births: Vec<WriterId> = theirs.births_since(&x.resolve_by(&table)).iter().map(|b| b.writer).collect();
        let new: Vec<WriterId> = b.plain.keys().filter(|writer| !a.plain.contains_key(writer)).copied().collect();
        prop_assert_eq!(births, new);

        // Whatever was learnt first, the same heads contribute the same.
        let [ours, anew] = [&both, &self.read(&least)].map(Version::contributions);
        prop_assert_eq!(&ours, &y.meet(x).contributions());
        prop_assert_eq!(ours, anew);
        Ok(())
    }

    fn check_paths(&self, site: &Site) -> Result<(), TestCaseError> {
        let dots = self.dots(&site.plain);
        for of in self.heads(&site.plain) {
            let mut path = BTreeSet::from([of]);
            let mut last = of;
            while let Some(dot) = self.before(last) {
                path.insert(dot);
                last = dot;
            }
            for dot in &dots {
                prop_assert_eq!(site.version.is_on_path(*dot, of), path.contains(dot), "{} below {}", dot, of);
            }
        }
        Ok(())
    }
}

fn meet(a: &Plain, b: &Plain) -> Plain {
    a.iter().filter_map(|(writer, last)| Some((*writer, *last.min(b.get(writer)?)))).collect()
}

fn join(a: &Plain, b: &Plain) -> Plain {
    let mut all = a.clone();
    for (writer, last) in b {
        all.insert(*writer, a.get(writer).map_or(*last, |ours| *ours.max(last)));
    }
    all
}

impl Version {
    /// The same by a later table.
    fn resolve_by(&self, table: &Self) -> Self {
        let mut version = self.clone();
        version.adopt(table);
        version
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn heads_and_lines_say_what_a_map_of_all_writers_would(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            for site in &world.sites {
                world.check(&site.version, &site.plain)?;
            }
        }
        for a in &world.sites {
            world.check_paths(a)?;
            for b in &world.sites {
                world.check_pair(a, b)?;
            }
            // Earlier versions keep their meaning.
            for b in world.past.iter().step_by(7) {
                world.check(&b.version, &b.plain)?;
                world.check_pair(a, b)?;
                world.check_pair(b, a)?;
            }
        }
    }
}

fn id(n: u8) -> WriterId {
    WriterId::from([n; 10])
}

fn dot(n: u8, counter: u64) -> Dot {
    Dot { writer: id(n), counter }
}

fn birth(n: u8, parent: Option<Dot>) -> Birth {
    Birth { writer: id(n), parent, name: None }
}

#[test]
fn a_second_other_birth_of_one_writer_is_refused() {
    let mut version = Version::whole();
    version.bear(&birth(1, None)).unwrap();
    version.bear(&birth(1, None)).unwrap();
    assert_eq!(version.bear(&birth(1, Some(dot(2, 1)))), Err(LineageError::TwoBirths(id(1))));
}

#[test]
fn a_path_without_an_end_is_refused() {
    // Two writers, each of which goes on from the other.
    let births = [birth(1, Some(dot(2, 5))), birth(2, Some(dot(1, 5)))];
    let learnt = Version::whole().learn(&births, &[dot(1, 6)]);
    assert_eq!(learnt.err(), Some(LineageError::Impossible(id(2))));
    // One that goes on from its own write.
    let learnt = Version::whole().learn(&[birth(3, Some(dot(3, 5)))], &[dot(3, 6)]);
    assert_eq!(learnt.err(), Some(LineageError::Impossible(id(3))));
}

#[test]
fn a_dot_whose_path_is_not_known_is_unknown_and_changes_nothing() {
    let version = Version::whole();
    assert_eq!(version.learn(&[], &[dot(1, 1)]).err(), Some(LineageError::Unknown(id(1))));
    assert_eq!(version.learn(&[birth(1, Some(dot(2, 5)))], &[dot(1, 6)]).err(), Some(LineageError::Unknown(id(2))));
    assert_eq!(
        version.learn(&[birth(1, None)], &[dot(1, MAX_COUNTER + 1)]).err(),
        Some(LineageError::Impossible(id(1)))
    );
    assert!(version.is_empty() && version.writers() == 0);
}

#[test]
fn a_name_holds_for_all_writers_that_go_on_from_there() {
    let named = |n, parent, name: &str| Birth { name: Some(name.into()), ..birth(n, parent) };
    let births = [named(1, None, "laptop"), birth(2, Some(dot(1, 3))), named(3, Some(dot(2, 4)), "phone")];
    let version = Version::whole().learn(&births, &[dot(3, 5)]).unwrap();
    let names = [1, 2, 3, 4].map(|n| version.device(id(n)));
    assert_eq!(names, [Some("laptop"), Some("laptop"), Some("phone"), None]);
}

/// Beside each writer of a path that forks, is forked from and goes on beside it, what its device is called.
#[test]
fn a_name_is_found_wherever_a_path_leaves_the_line_of_the_one_that_bears_it() {
    let named = |n, parent, name: &str| Birth { name: Some(name.into()), ..birth(n, parent) };
    let births = [
        named(1, None, "laptop"),
        birth(2, Some(dot(1, 3))),
        named(3, Some(dot(1, 2)), "phone"),
        birth(4, Some(dot(3, 4))),
        birth(5, Some(dot(1, 1))),
        birth(6, Some(dot(5, 2))),
        birth(7, None),
        named(8, Some(dot(7, 1)), "desk"),
        birth(9, Some(dot(7, 1))),
        birth(10, Some(dot(8, 2))),
    ];
    let heads = [dot(1, 9), dot(2, 4), dot(4, 5), dot(6, 3), dot(10, 3), dot(9, 2)];
    let must = ["laptop", "laptop", "phone", "phone", "laptop", "laptop", "", "desk", "", "desk"];
    // In whichever order the heads are learnt, so whichever line is whose.
    for first in 0..heads.len() {
        let mut version = Version::whole().learn(&births, &heads[first..=first]).unwrap();
        version = version.learn(&[], &heads).unwrap();
        let names: Vec<&str> = (1..=10).map(|n| version.device(id(n)).unwrap_or("")).collect();
        assert_eq!(names, must, "after {}", heads[first]);
        for birth in &births {
            let before = version.last_of(birth.writer).filter(|last| last.writer != birth.writer);
            assert!(before.is_none() || before == birth.parent, "{birth:?}");
        }
        assert_eq!(version.learn(&births, &[]).err(), None);
    }
    // No dot is known yet.
    let version = Version::whole().learn(&births, &[]).unwrap();
    let names: Vec<&str> = (1..=10).map(|n| version.device(id(n)).unwrap_or("")).collect();
    assert_eq!(names, must);
}
