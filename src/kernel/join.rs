//! Chaining deltas.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::bugs::{Bug, is};
use crate::id::Dot;
use crate::kernel::delta::{Delta, DeltaBuilder, DeltaKind, PartRef};
use crate::kernel::key::{Field, Sibling};
use crate::version::Birth;

/// Why two deltas could not be joined. Apply them one after the other instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// They are parts of different types.
    #[error("the deltas belong to different types")]
    Schema,
    /// Only incremental deltas can be joined.
    #[error("only incremental deltas can be joined; apply the two one after the other")]
    Kind,
    /// The second does not begin where the first ends, or ends before it.
    #[error("the second delta does not continue the first; apply the two one after the other")]
    NoChain,
}

/// The siblings of one cell in a delta; without content those whose content was not sent.
type Sent = BTreeMap<Dot, Option<Sibling>>;

impl Delta {
    /// One delta that does what `self` and then `later` do. O(both).
    ///
    /// They must chain: `later.since()` is `self.upto()`.
    pub fn join(&self, later: &Self) -> Result<Self, JoinError> {
        if self.schema != later.schema {
            return Err(JoinError::Schema);
        }
        if self.kind != DeltaKind::Incremental || later.kind != DeltaKind::Incremental {
            return Err(JoinError::Kind);
        }
        let chain = self.upto == later.since;
        if !chain && !is(Bug::JoinUnchained) {
            return Err(JoinError::NoChain);
        }
        let mut pruned = self.pruned.clone();
        if !is(Bug::JoinForgetsPruned) {
            pruned = pruned.heads().iter().chain(later.pruned.heads()).copied().collect();
        }
        let mut births: Vec<Birth> = self.births.iter().chain(later.births.iter()).cloned().collect();
        births.sort_by_key(|birth| birth.writer);
        births.dedup_by_key(|birth| birth.writer);
        let news = self.news.saturating_add(later.news);
        let versions = [self.since.clone(), later.upto.clone(), pruned];
        let mut joined =
            DeltaBuilder::with_births(&self.schema, DeltaKind::Incremental, versions, Arc::new(births), news)
                .with_fingerprint(later.fingerprint);
        let (mut a, mut b) = (self.parts().peekable(), later.parts().peekable());
        loop {
            let order = match (a.peek(), b.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(x), Some(y)) => x.entity.cmp(&y.entity),
            };
            let x = if order.is_le() { a.next() } else { None };
            let y = if order.is_ge() { b.next() } else { None };
            self.join_parts(later, (x, y), &mut joined, |_| false);
        }
        joined.names_of([self, later]);
        Ok(joined.finish())
    }

    /// Joins the parts of one entity, without the dots that are known to be dead and stand there without their content.
    /// Returns whether anything is left.
    pub(super) fn join_parts(
        &self,
        later: &Self,
        (x, y): (Option<PartRef<'_>>, Option<PartRef<'_>>),
        joined: &mut DeltaBuilder,
        is_dead: impl Fn(Dot) -> bool,
    ) -> bool {
        let Some(entity) = x.or(y).map(|part| part.entity) else { return false };
        let later_whole = y.is_some_and(|part| part.whole);
        let whole = later_whole || x.is_some_and(|part| part.whole);
        let mut cells: BTreeMap<&[u8], (Option<Sent>, Option<Sent>)> = BTreeMap::new();
        for (field, sent) in x.iter().flat_map(|part| self.cells_of(part)) {
            cells.entry(field).or_default().0 = Some(sent);
        }
        for (field, sent) in y.iter().flat_map(|part| later.cells_of(part)) {
            cells.entry(field).or_default().1 = Some(sent);
        }
        for (field, (first, second)) in cells {
            // What the later delta sends of a cell is all of it.
            let judged = later_whole || second.is_some();
            let (first, second) = (first.unwrap_or_default(), second.unwrap_or_default());
            let mut cell = Sent::new();
            for (dot, sibling) in &first {
                // The later delta has seen all that the first holds: what it does not hold of a cell is dead.
                let stays = second.contains_key(dot) && !is(Bug::JoinDropsSiblings);
                if !judged || stays {
                    cell.insert(*dot, sibling.clone());
                }
            }
            for (dot, sibling) in second {
                cell.entry(dot).or_insert(sibling);
            }
            let field = Field::new(field);
            for (dot, sibling) in cell {
                match sibling {
                    Some(sibling) => joined.push_write(&field, sibling.as_ref()),
                    None if is_dead(dot) => {}
                    None => joined.push_known(&field, dot),
                }
            }
        }
        joined.part(entity, whole)
    }

    fn cells_of<'a>(&'a self, part: &PartRef<'a>) -> BTreeMap<&'a [u8], Sent> {
        let mut cells: BTreeMap<&[u8], Sent> = BTreeMap::new();
        for known in part.known {
            cells.entry(self.fields.get(known.field)).or_default().insert(self.known_dot(known), None);
        }
        for write in part.writes {
            let dot = self.write_dot(write);
            let sibling = Sibling { dot, stamp: write.stamp, payload: write.payload.clone() };
            cells.entry(self.fields.get(write.field)).or_default().insert(dot, Some(sibling));
        }
        cells
    }
}
