//! The laws of a join, on three replicas as a schedule left them.

use crate::kernel::{Delta, JoinError};
use crate::replica::Replica;
use crate::testing::TestEnvironment;
use crate::testing::history::Seen;
use crate::testing::model::{Model, same};
use crate::testing::point::Point;
use crate::testing::world::World;

/// Something that joins: points, and deltas cut from one for another.
pub(super) trait Joins {
    type Point;
    type Delta;

    /// `x ⊔ y`, by everything that the other has.
    fn join(&mut self, x: &Self::Point, y: &Self::Point) -> Result<Self::Point, String>;

    /// What `x` lacks of `y`.
    fn delta(&mut self, x: &Self::Point, y: &Self::Point) -> Result<Self::Delta, String>;

    /// `x ⊔ δ`, where the delta was cut at `of`.
    fn after(&mut self, x: &Self::Point, delta: &Self::Delta, of: &Self::Point) -> Result<Self::Point, String>;

    /// Whether the two are one and the same, and what they must be.
    fn equal(&mut self, law: &str, a: &Self::Point, b: &Self::Point) -> Result<(), String>;
}

impl<M: Model> Joins for &World<M> {
    type Point = Point<M::Type>;
    type Delta = Delta;

    fn join(&mut self, x: &Self::Point, y: &Self::Point) -> Result<Self::Point, String> {
        x.join(y)
    }

    fn delta(&mut self, x: &Self::Point, y: &Self::Point) -> Result<Delta, String> {
        y.delta_for(x)
    }

    fn after(&mut self, x: &Self::Point, delta: &Delta, of: &Self::Point) -> Result<Self::Point, String> {
        x.after(delta, of)
    }

    fn equal(&mut self, law: &str, a: &Self::Point, b: &Self::Point) -> Result<(), String> {
        World::equal(self, law, a, b)
    }
}

/// Every law, on every pair. What comes out of each join is compared with the model as well.
pub(super) fn check<M: Model>(world: &mut World<M>) -> Result<(), String> {
    let all: Vec<&Point<M::Type>> = world.sites.iter().map(|site| &site.now).collect();
    let [a, b, c] = all[..] else { return Err("the laws are about three replicas".into()) };
    let mut joins = &*world;
    join(&mut joins, a, b, c)?;
    for (x, y) in [(a, b), (a, c), (b, a), (b, c), (c, a), (c, b)] {
        delta(&mut joins, x, y)?;
    }
    order(&mut joins, a, b, c)?;
    bytes(world, a, b)?;
    let mut regrouped = false;
    for (site, base) in world.sites.iter().zip([b, c, a]) {
        if let (Some(now), Some(earlier)) = (site.past.last(), site.past.get(site.past.len() / 2)) {
            if !now.replica.version().includes(earlier.replica.version()) {
                return Err("inflationary: a state has seen what its past had seen".into());
            }
            inflation(&mut joins, now, earlier)?;
        }
        regrouped |= groups(world, &site.past, base)?;
    }
    if regrouped {
        world.report.cases.hold("regrouped deltas");
    }
    Ok(())
}

/// Commutative: `a ⊔ b = b ⊔ a`. Associative: `(a ⊔ b) ⊔ c = a ⊔ (b ⊔ c)`. Idempotent: `a ⊔ a = a`, `(a ⊔ b) ⊔ b = a ⊔ b`.
pub(super) fn join<J: Joins>(joins: &mut J, a: &J::Point, b: &J::Point, c: &J::Point) -> Result<(), String> {
    let (ab, ba, bc) = (joins.join(a, b)?, joins.join(b, a)?, joins.join(b, c)?);
    joins.equal("commutative: a ⊔ b = b ⊔ a", &ab, &ba)?;
    let (ab_c, a_bc) = (joins.join(&ab, c)?, joins.join(a, &bc)?);
    joins.equal("associative: (a ⊔ b) ⊔ c = a ⊔ (b ⊔ c)", &ab_c, &a_bc)?;
    let (aa, abb) = (joins.join(a, a)?, joins.join(&ab, b)?);
    joins.equal("idempotent: a ⊔ a = a", &aa, a)?;
    joins.equal("idempotent: (a ⊔ b) ⊔ b = a ⊔ b", &abb, &ab)
}

/// Inflationary: a state is above all that it was, so its own past adds nothing, `a ⊔ past = a`; and whoever is brought
/// up from its past gets to it, `past ⊔ a = a`.
pub(super) fn inflation<J: Joins>(joins: &mut J, now: &J::Point, earlier: &J::Point) -> Result<(), String> {
    let (again, up) = (joins.join(now, earlier)?, joins.join(earlier, now)?);
    joins.equal("inflationary: a ⊔ past = a", &again, now)?;
    joins.equal("inflationary: past ⊔ a = a", &up, now)
}

/// A delta does what the whole state would: `x ⊔ δ(y, x) = x ⊔ y`.
pub(super) fn delta<J: Joins>(joins: &mut J, x: &J::Point, y: &J::Point) -> Result<(), String> {
    let delta = joins.delta(x, y)?;
    let (by_delta, whole) = (joins.after(x, &delta, y)?, joins.join(x, y)?);
    joins.equal("a delta is the whole: x ⊔ δ = x ⊔ y", &by_delta, &whole)
}

/// Deltas whose past is there do the same in any order: `a ⊔ δ(b, a) ⊔ δ(c, a) = a ⊔ δ(c, a) ⊔ δ(b, a) = a ⊔ b ⊔ c`.
pub(super) fn order<J: Joins>(joins: &mut J, a: &J::Point, b: &J::Point, c: &J::Point) -> Result<(), String> {
    let (of_b, of_c) = (joins.delta(a, b)?, joins.delta(a, c)?);
    let whole = joins.join(a, b)?;
    let whole = joins.join(&whole, c)?;
    let (ab, ac) = (joins.after(a, &of_b, b)?, joins.after(a, &of_c, c)?);
    let (abc, acb) = (joins.after(&ab, &of_c, c)?, joins.after(&ac, &of_b, b)?);
    joins.equal("reordered deltas: a ⊔ δb ⊔ δc = a ⊔ b ⊔ c", &abc, &whole)?;
    joins.equal("reordered deltas: a ⊔ δc ⊔ δb = a ⊔ b ⊔ c", &acb, &whole)
}

/// Everybody gets from everybody what they lack, and then all are equal.
pub(super) fn sync<J: Joins>(joins: &mut J, points: &mut [J::Point]) -> Result<(), String> {
    for from in 0..points.len() {
        for to in (0..points.len()).filter(|to| *to != from) {
            let delta = joins.delta(&points[to], &points[from])?;
            points[to] = joins.after(&points[to], &delta, &points[from])?;
        }
    }
    points.iter().try_for_each(|point| joins.equal("when all have synced with all, all are equal", point, &points[0]))
}

/// Deltas that chain may be grouped anyhow: with `δ₁ δ₂ δ₃` from one past to the next,
/// `x ⊔ δ₁ ⊔ δ₂ ⊔ δ₃ = x ⊔ ((δ₁·δ₂)·δ₃) = x ⊔ (δ₁·(δ₂·δ₃)) = x ⊔ whole`; those that overlap, of another replica too, do
/// the same one after the other; and one that comes again late adds nothing.
///
/// Returns whether there was such a chain: where tombstones were pruned on the way there is none.
fn groups<M: Model>(world: &World<M>, past: &[Point<M::Type>], base: &Point<M::Type>) -> Result<bool, String> {
    let at = |i: usize| past.get(i * past.len().saturating_sub(1) / 3);
    let (Some(p0), Some(p1), Some(p2), Some(p3)) = (at(0), at(1), at(2), at(3)) else { return Ok(false) };
    let cut = |later: &Point<M::Type>, earlier: &Point<M::Type>| later.replica.delta_since(earlier.replica.version());
    let (Ok(d1), Ok(d2), Ok(d3)) = (cut(p1, p0), cut(p2, p1), cut(p3, p2)) else { return Ok(false) };
    let chain = |x: &Delta, y: &Delta| match x.join(y) {
        Ok(joined) => Ok(Some(joined)),
        // The answer to nothing seen, where tombstones were pruned.
        Err(JoinError::Kind) => Ok(None),
        Err(error) => Err(format!("deltas that chain do not join: {error}")),
    };
    let (Some(first), Some(last)) = (chain(&d1, &d2)?, chain(&d2, &d3)?) else { return Ok(false) };
    let (Some(left), Some(right)) = (chain(&first, &d3)?, chain(&d1, &last)?) else { return Ok(false) };
    let x = base.join(p0)?;
    let whole = x.join(p3)?;
    let one_by_one = x.after(&d1, p1)?.after(&d2, p2)?.after(&d3, p3)?;
    world.equal("deltas one by one: x ⊔ δ₁ ⊔ δ₂ ⊔ δ₃ = x ⊔ whole", &one_by_one, &whole)?;
    let (by_left, by_right) = (x.after(&left, p3)?, x.after(&right, p3)?);
    world.equal("regrouped deltas: x ⊔ (δ₁·δ₂)·δ₃ = x ⊔ whole", &by_left, &whole)?;
    world.equal("regrouped deltas: x ⊔ δ₁·(δ₂·δ₃) = x ⊔ whole", &by_right, &whole)?;
    for at_once in [&by_left, &by_right] {
        same("what was pruned, by regrouped deltas", at_once.pruned(), one_by_one.pruned())?;
    }
    world.equal("regrouped deltas: x ⊔ δ₁ ⊔ δ₂·δ₃ = x ⊔ whole", &x.after(&d1, p1)?.after(&last, p3)?, &whole)?;
    // Deltas that overlap are merged one after the other.
    let sum = base.after(&p3.delta_for(base)?, p3)?;
    for (later, overlapping) in [(p3, cut(p3, p0)), (&sum, cut(&sum, p0))] {
        let Ok(overlapping) = overlapping else { continue };
        if d1.join(&overlapping).is_ok() != (overlapping.since() == d1.upto() && overlapping.kind() == d1.kind()) {
            return Err("deltas were joined that do not chain".into());
        }
        let one_by_one = x.after(&d1, p1)?.after(&overlapping, later)?;
        world.equal("overlapping deltas: x ⊔ δ₁ ⊔ δ = x ⊔ whole", &one_by_one, &x.join(later)?)?;
    }
    world.equal("a late delta adds nothing", &whole.after(&first, p2)?.after(&d2, p2)?, &whole)?;
    Ok(d1.upto() != d1.since() && d2.upto() != d2.since() && d3.upto() != d3.since())
}

/// Equal cells, versions and pruned versions are equal bytes, however they came about.
fn bytes<M: Model>(world: &World<M>, a: &Point<M::Type>, b: &Point<M::Type>) -> Result<(), String> {
    let none = Point { replica: Replica::with_environment(TestEnvironment::new(u64::MAX)), seen: Seen::default() };
    let (ab, ba) = (none.join(a)?.join(b)?, none.join(b)?.join(a)?);
    world.equal("commutative: ∅ ⊔ a ⊔ b = ∅ ⊔ b ⊔ a", &ab, &ba)?;
    let (x, y) = (ab.replica.complete(), ba.replica.complete());
    if x.pruned() != y.pruned() {
        return Err(format!("what is pruned depends on the order: {:?} and {:?}", x.pruned(), y.pruned()));
    }
    match x.to_bytes() == y.to_bytes() {
        true => Ok(()),
        false => Err("equal cells, versions and pruned versions are different bytes".into()),
    }
}
