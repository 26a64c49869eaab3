//! Versions that travel: their heads, and some dots below them.
//!
//! The receiver may not know a head. Then it goes down the dots below that head to the deepest one that it covers. So a version
//! costs a few dots for each head, whatever came before, and what both have seen is found without a question.

use std::sync::{Arc, LazyLock};

use crate::id::Dot;
use crate::version::{Ground, Version};

/// Number of writers before each head that a trail names one by one.
const NEAREST: u32 = 4;

impl Version {
    /// Dots on the paths of the heads, for a peer that does not know these: with them it finds what both have seen.
    ///
    /// `base` is what the peer is known to have seen. For each head of a writer that it does not name, the last dots of the
    /// writers before: the nearest few, then at distances that double, down to a writer that it names or to the first dot of the
    /// path. Round by round for all heads, up to `limit` dots. O(limit · log writers).
    pub(crate) fn trail(&self, base: &Self, limit: usize) -> Vec<Dot> {
        let Ground::Whole { lineage, .. } = &self.ground else {
            return self.dots().skip(self.heads.len()).take(limit).collect();
        };
        // Each head, and where we stand below it.
        let is_known = |dot: &Dot| base.get(dot.writer) > 0;
        let heads = self.heads.iter().filter(|head| !is_known(head));
        let mut steps: Vec<(Dot, Dot)> = heads.map(|head| (*head, *head)).collect();
        let (mut trail, mut round) = (Vec::new(), 0);
        while !steps.is_empty() && trail.len() < limit {
            steps.retain_mut(|(head, dot)| {
                let depth = head.counter.saturating_sub(2 * (head.counter - dot.counter).max(1));
                let next = match round < NEAREST {
                    true => lineage.parent(dot.writer),
                    // The first dot of the path is the last that there is to name.
                    false => lineage.below(*dot, depth.max(1)),
                };
                next.map(|next| *dot = next).is_some()
            });
            let room = limit - trail.len();
            trail.extend(steps.iter().map(|(_, dot)| *dot).take(room));
            steps.retain(|(_, dot)| !is_known(dot));
            round += 1;
        }
        trail.sort_unstable();
        trail.dedup();
        trail
    }

    /// The same heads, told with some dots below them.
    pub(crate) fn told(heads: Vec<Dot>, mut more: Vec<Dot>) -> Self {
        more.sort_unstable();
        Self { heads: Arc::new(heads), ground: Ground::Told(Arc::new(more)) }
    }

    /// Adds dots to those below the heads of a version that was told. Changes nothing in a version with a table.
    pub(crate) fn tell_below(&mut self, dots: &[Dot]) {
        if let Ground::Told(more) = &mut self.ground
            && !dots.is_empty()
        {
            let more = Arc::make_mut(more);
            more.extend_from_slice(dots);
            more.sort_unstable();
            more.dedup();
        }
    }

    /// The dots below its heads that a version was told with, without the heads.
    pub(crate) fn below(&self) -> Self {
        match &self.ground {
            Ground::Whole { .. } => Self::new(),
            Ground::Told(more) => Self { heads: Arc::default(), ground: Ground::Told(Arc::clone(more)) },
        }
    }

    /// The heads alone: what messages hold. O(1).
    pub(crate) fn bare(&self) -> Self {
        static NOTHING: LazyLock<Arc<Vec<Dot>>> = LazyLock::new(Arc::default);
        Self { heads: Arc::clone(&self.heads), ground: Ground::Told(Arc::clone(&NOTHING)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::replica::Replica;

    #[test]
    fn a_trail_ends_at_the_first_dot_of_a_path() {
        let mut replica = Replica::<Graph>::new();
        let (_, first) = replica.edit(|g| g.add_node("first")).unwrap();
        for opening in 0..9 {
            replica = Replica::load(&replica.save()).unwrap();
            replica.edit(|g| g.add_node(&format!("node {opening}"))).unwrap();
            let trail = replica.version().trail(&Version::new(), 100);
            assert!(trail.contains(&first.upto().heads()[0]), "after {opening}: {trail:?}");
        }
    }
}
