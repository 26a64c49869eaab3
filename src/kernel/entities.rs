//! The entities of a state and their cells.
//!
//! Entities lie by id in [pages](super::page), and the pages in a [directory](super::directory). One entity at a time is
//! *open*: what is written to it changes a list, and it is packed into its page when another is opened. So four writes to a new node
//! are one look-up and one copy of a page. Whoever reads meets the open one in its place.

use std::ops::RangeInclusive;

use crate::kernel::cells::Cells;
use crate::kernel::directory::Directory;
use crate::kernel::key::Entity;
use crate::kernel::many::Open;
use crate::kernel::page::NewRecord;
use crate::kernel::record::{Write, pack_few, pack_many};
use crate::kernel::tables::Tables;

/// Persistent: cloning is O(1).
#[derive(Clone, Debug, Default)]
pub(super) struct Entities {
    directory: Directory,
    tables: Tables,
    open: Option<Opened>,
    /// What the last one that was open left: empty, with room.
    list: Vec<Write>,
    bytes: Vec<u8>,
}

/// The entity that is open. Its page holds it as it was before.
#[derive(Clone, Debug)]
struct Opened {
    entity: Entity,
    cells: Open,
    is_changed: bool,
}

const FIRST: Entity = Entity::new(0, [0; 16]);
const LAST: Entity = Entity::new(u8::MAX, [0xff; 16]);

impl Entities {
    /// The cells of an entity. O(log n).
    pub(super) fn get(&self, entity: Entity) -> Option<Cells<'_>> {
        if let Some(open) = self.open.as_ref().filter(|open| open.entity == entity) {
            return open.cells();
        }
        let page = self.directory.page(entity)?;
        let place = page.find(entity).ok()?;
        Some(Cells::of_record(page.record(place), &self.tables))
    }

    /// All entities with their cells, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Entity, Cells<'_>)> {
        self.range(FIRST..=LAST)
    }

    /// The entities from one to another, with their cells, by id.
    pub(super) fn range(&self, range: RangeInclusive<Entity>) -> impl Iterator<Item = (Entity, Cells<'_>)> {
        let (first, last) = range.into_inner();
        let open = self.open.as_ref().filter(|open| (first..=last).contains(&open.entity));
        // The open one has its place among the others.
        let at = open.map(|open| open.entity);
        let split = at.unwrap_or(LAST);
        let before = self.packed(first, last.min(split)).filter(move |(entity, _)| Some(*entity) != at);
        let after = at.map(|at| self.packed(at, last).filter(move |(entity, _)| *entity != at));
        let open = open.and_then(|open| Some((open.entity, open.cells()?)));
        before.chain(open).chain(after.into_iter().flatten())
    }

    /// What is packed from one entity to another.
    fn packed(&self, first: Entity, last: Entity) -> impl Iterator<Item = (Entity, Cells<'_>)> {
        let in_pages = self.directory.pages_from(first).flat_map(move |page| {
            (0..page.len()).map(move |place| (page.entity(place), Cells::of_record(page.record(place), &self.tables)))
        });
        in_pages.skip_while(move |(entity, _)| *entity < first).take_while(move |(entity, _)| *entity <= last)
    }

    /// The entities whose cells may be others in the other state, each once, by id. O(pages that the two do not share).
    pub(super) fn unshared(&self, other: &Self) -> Vec<Entity> {
        let mut found: Vec<_> = [self, other].iter().filter_map(|of| Some(of.open.as_ref()?.entity)).collect();
        for page in self.directory.unshared(&other.directory) {
            found.extend((0..page.len()).map(|place| page.entity(place)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Opens an entity for change, new or old. Packs the one that was open.
    pub(super) fn open(&mut self, entity: Entity) -> Opening<'_> {
        if self.open.as_ref().is_none_or(|open| open.entity != entity) {
            self.close();
            let list = std::mem::take(&mut self.list);
            let cells = match self.get(entity) {
                Some(cells) => cells.to_open(list),
                None => Open::Few(list),
            };
            self.open = Some(Opened { entity, cells, is_changed: false });
        }
        let open = self.open.as_mut().expect("opened above");
        Opening { cells: &mut open.cells, is_changed: &mut open.is_changed }
    }

    /// Packs the entity that is open, and gives back the room for the next one.
    pub(super) fn finish(&mut self) {
        self.close();
        (self.list, self.bytes) = (Vec::new(), Vec::new());
    }

    /// Packs the entity that is open.
    fn close(&mut self) {
        let Some(Opened { entity, cells, is_changed }) = self.open.take() else { return };
        if is_changed && cells.len() == 0 {
            self.directory.remove(entity);
        } else if is_changed {
            let mut objects = Vec::new();
            self.bytes.clear();
            match &cells {
                Open::Few(writes) => pack_few(writes, &mut self.tables, &mut self.bytes, &mut objects),
                Open::Many(many) => pack_many(many, &mut self.bytes, &mut objects),
            }
            self.directory.put(&NewRecord { entity, bytes: &self.bytes, objects: &objects });
            self.bytes.clear();
        }
        if let Open::Few(mut list) = cells {
            list.clear();
            self.list = list;
        }
    }

    /// Checks the layout: for tests.
    #[cfg(feature = "testing")]
    pub(super) fn check(&self) -> Result<(), String> {
        self.directory.check()
    }
}

/// The entity that is open for change.
pub(super) struct Opening<'a> {
    pub(super) cells: &'a mut Open,
    pub(super) is_changed: &'a mut bool,
}

impl Opened {
    fn cells(&self) -> Option<Cells<'_>> {
        Some(Cells::of_open(&self.cells)).filter(|cells| !cells.is_empty())
    }
}
