//! What leads from one version to another: both sides know the first, and only the difference is said.

use crate::bugs::{Bug, is};
use crate::id::Dot;
use crate::version::Version;

/// The difference that leads from the heads of one version to those of another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HeadsChange {
    /// Places among the heads of the base, ascending, of those that are gone.
    pub(crate) gone: Vec<u64>,
    /// Heads that have come, sorted.
    pub(crate) come: Vec<Dot>,
}

impl HeadsChange {
    /// O(heads · log heads).
    pub(crate) fn between(base: &Version, version: &Version) -> Self {
        let (old, new) = (base.heads(), version.heads());
        let gone = old.iter().enumerate().filter(|(_, head)| new.binary_search(head).is_err());
        let come = new.iter().filter(|head| old.binary_search(head).is_err());
        Self { gone: gone.map(|(i, _)| i as u64).collect(), come: come.copied().collect() }
    }

    /// The number of heads that differ.
    pub(crate) fn len(&self) -> usize {
        self.gone.len() + self.come.len()
    }

    /// The version that the change leads to from `base`. `None` if it names a head that is not there, or makes two heads of
    /// one writer.
    pub(crate) fn apply(&self, base: &Version) -> Option<Version> {
        if self.len() == 0 {
            return Some(base.bare());
        }
        let ascending = self.gone.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || self.gone.last().is_some_and(|last| *last >= base.len() as u64) {
            return None;
        }
        let mut gone = self.gone.iter().peekable();
        let stay = base.heads().iter().enumerate().filter(|(i, _)| gone.next_if(|gone| **gone == *i as u64).is_none());
        let mut heads: Vec<Dot> = stay.map(|(_, head)| *head).collect();
        let told = self.come.len().saturating_sub(usize::from(is(Bug::StandingForgets)));
        heads.extend(&self.come[..told]);
        heads.sort_unstable();
        let distinct = heads.windows(2).all(|pair| pair[0].writer < pair[1].writer);
        let named = self.come.iter().all(|head| head.counter > 0);
        (distinct && named).then(|| Version::told(heads, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::WriterId;

    fn versions() -> impl Strategy<Value = Version> {
        prop::collection::btree_map(0u8..12, 1u64..4, 0..8)
            .prop_map(|heads| heads.into_iter().map(|(w, c)| (WriterId::from([w; 10]), c)).collect())
    }

    proptest! {
        #[test]
        fn a_change_leads_from_one_version_to_the_other(a in versions(), b in versions()) {
            let change = HeadsChange::between(&a, &b);
            prop_assert_eq!(change.apply(&a), Some(b.clone()));
            prop_assert_eq!(change.len() == 0, a == b);
        }
    }

    #[test]
    fn a_change_that_makes_no_sense_leads_nowhere() {
        let dot = |w: u8, counter| Dot { writer: WriterId::from([w; 10]), counter };
        let base: Version = [dot(1, 3), dot(2, 3)].into_iter().collect();
        let apply = |gone: &[u64], come: &[Dot]| HeadsChange { gone: gone.to_vec(), come: come.to_vec() }.apply(&base);
        assert_eq!(apply(&[2], &[]), None, "no such head");
        assert_eq!(apply(&[1, 1], &[]), None, "gone twice");
        assert_eq!(apply(&[1, 0], &[]), None, "out of order");
        assert_eq!(apply(&[], &[dot(1, 4)]), None, "two heads of one writer");
        assert_eq!(apply(&[], &[dot(3, 0)]), None, "a head that names no write");
        assert_eq!(apply(&[0], &[dot(1, 4)]), Some([dot(1, 4), dot(2, 3)].into_iter().collect()));
    }
}
