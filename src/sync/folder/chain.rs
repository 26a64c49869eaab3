//! What the files of one device give to a reader who has nothing.

use crate::sync::folder::format::Summary;
use crate::version::Version;

/// The deltas of a device, put in an order in which they apply.
#[derive(Default)]
pub(super) struct Chain {
    /// What a reader who had nothing will have seen after all of them.
    pub(super) reach: Version,
    /// The number of deltas that build on others.
    pub(super) increments: usize,
    /// Their bytes.
    pub(super) len: u64,
    /// The bytes of the largest delta that builds on nothing.
    pub(super) base_len: u64,
}

impl Chain {
    /// Builds the chain of some deltas, in whatever order they come. `ours` is the version of the replica here: a delta that
    /// holds what the replica has not seen is left out. O(deltas²) at worst, O(deltas) if they come in the order of their making.
    pub(super) fn of<'a>(deltas: impl IntoIterator<Item = (&'a Summary, u64)>, ours: &Version) -> Self {
        let mut chain = Self { reach: ours.nothing(), ..Self::default() };
        let mut waiting: Vec<(&Summary, u64, Version)> = Vec::new();
        for (delta, len) in deltas {
            if let Some(upto) = ours.resolve(&delta.upto).filter(|upto| ours.includes(upto)) {
                waiting.push((delta, len, upto));
            }
        }
        loop {
            let before = waiting.len();
            waiting.retain(|(delta, len, upto)| {
                if !chain.reach.includes(&delta.need) {
                    // A delta before it is missing or damaged: it is as good as not there, and the next file makes up for it.
                    return true;
                }
                match delta.need.is_empty() {
                    true => chain.base_len = chain.base_len.max(*len),
                    false => {
                        chain.increments += 1;
                        chain.len += len;
                    }
                }
                chain.reach.join(upto);
                false
            });
            if waiting.len() == before {
                return chain;
            }
        }
    }
}
