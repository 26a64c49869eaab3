//! A page: the records of some entities that are neighbours by id, in one run of bytes.
//!
//! The bytes are the number of records; for each where it ends, and where its objects end; for each its entity, ascending; and the
//! records. There is no room between them. A change copies the page, which is some thousand bytes; so a page takes no more than its
//! records do, and a snapshot needs no copy of its own.

use std::iter::repeat_n;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::kernel::key::Entity;
use crate::kernel::record::{Object, Record};
use crate::packed::Leaf;

/// The largest size of a page with more than one record, in bytes.
const FULL: usize = 2048;

/// A page of fewer bytes is joined with a neighbour.
const SPARSE: usize = 512;

const COUNT: usize = 2;
const END: usize = 4;
const ENTITY: usize = 17;

#[derive(Clone, Debug)]
pub(super) struct Page {
    bytes: Arc<[u8]>,
    /// Objects of all records; `None` if no record has one.
    objects: Option<Arc<[Object]>>,
}

/// A record to put into a page.
pub(super) struct NewRecord<'a> {
    pub(super) entity: Entity,
    pub(super) bytes: &'a [u8],
    pub(super) objects: &'a [Object],
}

impl Page {
    /// The memory that the page takes, in bytes.
    fn size(&self) -> usize {
        self.bytes.len() + size_of_val(self.objects())
    }

    fn objects(&self) -> &[Object] {
        self.objects.as_deref().unwrap_or_default()
    }

    /// The ends of the records and of the objects up to a place.
    fn end(&self, place: usize) -> (usize, usize) {
        match place.checked_sub(1) {
            None => (0, 0),
            Some(before) => {
                let [a, b, c, d] = self.ends()[before];
                (u16::from_le_bytes([a, b]).into(), u16::from_le_bytes([c, d]).into())
            }
        }
    }

    fn ends(&self) -> &[[u8; END]] {
        self.bytes[COUNT..COUNT + self.len() * END].as_chunks().0
    }

    fn entities(&self) -> &[[u8; ENTITY]] {
        self.bytes[COUNT + self.len() * END..self.records_start()].as_chunks().0
    }

    pub(super) fn entity(&self, place: usize) -> Entity {
        let [kind, id @ ..] = self.entities()[place];
        Entity::new(kind, id)
    }

    fn records_start(&self) -> usize {
        COUNT + self.len() * (END + ENTITY)
    }

    pub(super) fn record(&self, place: usize) -> Record<'_> {
        let (start, (from, objects_from), (to, objects_to)) =
            (self.records_start(), self.end(place), self.end(place + 1));
        Record { bytes: &self.bytes[start + from..start + to], objects: &self.objects()[objects_from..objects_to] }
    }

    /// A copy with a record in place of a range, or without the range.
    fn splice(&self, range: Range<usize>, with: Option<&NewRecord<'_>>) -> Self {
        let (old, new) = (self.len(), self.len() - range.len() + usize::from(with.is_some()));
        let (added, added_objects) = with.map_or((0, 0), |with| (with.bytes.len(), with.objects.len()));
        let ((from, objects_from), (to, objects_to), (end, objects_end)) =
            (self.end(range.start), self.end(range.end), self.end(old));
        let len = COUNT + new * (END + ENTITY) + end - (to - from) + added;
        let mut bytes: Arc<[u8]> = repeat_n(0, len).collect();
        // A new page is shared by nobody.
        let mut rest = Arc::get_mut(&mut bytes).unwrap_or_default();
        let mut push = |part: &[u8]| {
            let (place, after) = mem::take(&mut rest).split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
            place
        };
        let number = |number: usize| (number as u16).to_le_bytes();
        push(&number(new));
        push(&self.bytes[COUNT..COUNT + range.start * END]);
        if with.is_some() {
            push(&number(from + added));
            push(&number(objects_from + added_objects));
        }
        // Modulo 2¹⁶, as both differences may be negative.
        let moved = (added as u16).wrapping_sub((to - from) as u16);
        let objects_moved = (added_objects as u16).wrapping_sub((objects_to - objects_from) as u16);
        for [a, b, c, d] in push(self.ends()[range.end..].as_flattened()).as_chunks_mut::<END>().0 {
            [*a, *b] = u16::from_le_bytes([*a, *b]).wrapping_add(moved).to_le_bytes();
            [*c, *d] = u16::from_le_bytes([*c, *d]).wrapping_add(objects_moved).to_le_bytes();
        }
        let entities = &self.bytes[COUNT + old * END..self.records_start()];
        push(&entities[..range.start * ENTITY]);
        if let Some(with) = with {
            push(&[with.entity.kind()]);
            push(with.entity.id());
        }
        push(&entities[range.end * ENTITY..]);
        let records = &self.bytes[self.records_start()..];
        push(&records[..from]);
        push(with.map_or(&[], |with| with.bytes));
        push(&records[to..]);
        debug_assert!(rest.is_empty());
        let objects = match objects_end + added_objects {
            0 => None,
            _ => {
                let with = with.map_or(&[][..], |with| with.objects);
                let parts = [&self.objects()[..objects_from], with, &self.objects()[objects_to..]];
                Some(parts.concat().into())
            }
        };
        Self { bytes, objects }
    }

    /// The records before and after a place.
    fn split(&self, place: usize) -> [Self; 2] {
        [self.splice(place..self.len(), None), self.splice(0..place, None)]
    }

    fn is_within_limit(&self) -> bool {
        self.len() <= 1 || self.size() <= FULL
    }

    /// The same in pages that are within the limit.
    fn parts(self) -> SmallVec<[Self; 1]> {
        if self.is_within_limit() {
            return smallvec![self];
        }
        self.split(self.middle()).into_iter().flat_map(Self::parts).collect()
    }

    /// The place that leaves as much before as after, at least one record.
    fn middle(&self) -> usize {
        let half = self.end(self.len()).0 / 2;
        let last = self.len() - 1;
        (1..last).find(|place| self.end(*place).0 >= half).unwrap_or(last)
    }
}

impl Leaf for Page {
    type Key = Entity;
    type Item<'a> = NewRecord<'a>;

    fn key_of(record: &NewRecord<'_>) -> Entity {
        record.entity
    }

    fn prefix(key: &Entity) -> u64 {
        let [a, b, c, d, e, f, g, ..] = *key.id();
        u64::from_be_bytes([key.kind(), a, b, c, d, e, f, g])
    }

    fn single(record: &NewRecord<'_>) -> Self {
        let empty = Self { bytes: [0; COUNT].into(), objects: None };
        empty.splice(0..0, Some(record))
    }

    fn len(&self) -> usize {
        usize::from(u16::from_le_bytes([self.bytes[0], self.bytes[1]]))
    }

    fn key(&self, place: usize) -> Entity {
        self.entity(place)
    }

    fn find(&self, key: Entity) -> Result<usize, usize> {
        // Few entities begin alike, so numbers decide nearly every comparison.
        let prefix = Self::prefix(&key);
        self.entities().binary_search_by(|[kind, id @ ..]| {
            let entity = Entity::new(*kind, *id);
            Self::prefix(&entity).cmp(&prefix).then_with(|| entity.cmp(&key))
        })
    }

    fn with(&self, place: Result<usize, usize>, record: &NewRecord<'_>) -> SmallVec<[Self; 1]> {
        let (range, is_last) = match place {
            Ok(place) => (place..place + 1, false),
            Err(place) => (place..place, place == self.len()),
        };
        let page = self.splice(range, Some(record));
        if is_last && !page.is_within_limit() {
            // Entities that come in order fill their pages.
            return page.split(page.len() - 1).into_iter().flat_map(Self::parts).collect();
        }
        page.parts()
    }

    fn address(&self) -> *const u8 {
        Arc::as_ptr(&self.bytes).cast()
    }

    /// Does it if the old record has the same length and neither has objects.
    fn overwrite(&mut self, place: usize, with: &NewRecord<'_>) -> bool {
        let (start, (from, objects_from), (to, objects_to)) =
            (self.records_start(), self.end(place), self.end(place + 1));
        let fits = to - from == with.bytes.len() && objects_from == objects_to && with.objects.is_empty();
        let bytes = Arc::get_mut(&mut self.bytes).filter(|_| fits);
        bytes.map(|bytes| bytes[start + from..start + to].copy_from_slice(with.bytes)).is_some()
    }

    fn without(&self, place: usize) -> Self {
        self.splice(place..place + 1, None)
    }

    fn is_sparse(&self) -> bool {
        self.size() < SPARSE
    }

    fn join(&self, after: &Self) -> Option<Self> {
        if self.size() + after.size() > FULL {
            return None;
        }
        let mut joined = self.clone();
        for place in 0..after.len() {
            let Record { bytes, objects } = after.record(place);
            let record = NewRecord { entity: after.entity(place), bytes, objects };
            joined = joined.splice(joined.len()..joined.len(), Some(&record));
        }
        Some(joined)
    }

    #[cfg(any(test, feature = "testing"))]
    fn check(&self) -> Result<(), String> {
        match self.is_within_limit() {
            true => Ok(()),
            false => Err(format!("a page of {} records and {} bytes", self.len(), self.size())),
        }
    }
}
