//! The entities of a state and their cells.
//!
//! Entities lie by id in [pages](super::page), and the pages are the leaves of a [tree](crate::packed). One entity at a time is
//! *open*: writes change a list of its siblings, which is packed into its page when another entity is opened. So four writes to a new
//! node are one look-up and one copy of a page. Readers find the open entity in its place among the others.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::kernel::cells::Cells;
use crate::kernel::key::Entity;
use crate::kernel::many::Open;
use crate::kernel::page::{NewRecord, Page};
use crate::kernel::record::{pack_few, pack_many};
use crate::kernel::tables::Tables;
use crate::packed::{Leaf, Tree};

/// The entities of a state. Persistent: cloning is O(1).
#[derive(Clone, Default)]
pub(super) struct Entities {
    pages: Tree<Page>,
    tables: Arc<Tables>,
    /// The entity that is open. `None` between edits and merges, so that a snapshot takes next to nothing.
    opened: Option<Box<Opened>>,
}

/// The entity that is open. Its page holds it as it was before, if it was small.
#[derive(Clone)]
struct Opened {
    /// The id; `None` while the next entity is looked up.
    entity: Option<Entity>,
    cells: Open,
    is_changed: bool,
    /// Buffer in which the next record is made.
    bytes: Vec<u8>,
}

const FIRST: Entity = Entity::new(0, [0; 16]);
const LAST: Entity = Entity::new(u8::MAX, [0xff; 16]);

impl Entities {
    /// The cells of an entity. O(log n).
    pub(super) fn get(&self, entity: Entity) -> Option<Cells<'_>> {
        match self.open() {
            Some((open, cells)) if open == entity => Some(cells).filter(|cells| !cells.is_empty()),
            _ => self.packed(entity),
        }
    }

    fn open(&self) -> Option<(Entity, Cells<'_>)> {
        let opened = self.opened.as_ref()?;
        Some((opened.entity?, Cells::of_open(&opened.cells)))
    }

    fn packed(&self, entity: Entity) -> Option<Cells<'_>> {
        let page = self.pages.leaf(entity)?;
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
        let open = self.open().filter(|(entity, _)| (first..=last).contains(entity));
        // The open one has its place among the others.
        let at = open.map(|(entity, _)| entity);
        let before = self.packed_between(first, at.unwrap_or(last)).filter(move |(entity, _)| Some(*entity) != at);
        let after = at.map(|at| self.packed_between(at, last).filter(move |(entity, _)| *entity != at));
        let open = open.filter(|(_, cells)| !cells.is_empty());
        before.chain(open).chain(after.into_iter().flatten())
    }

    /// The entities in pages from one to another, with their cells.
    fn packed_between(&self, first: Entity, last: Entity) -> impl Iterator<Item = (Entity, Cells<'_>)> {
        let in_pages = self.pages.leaves_from(first).flat_map(move |page| {
            (0..page.len()).map(move |place| (page.entity(place), Cells::of_record(page.record(place), &self.tables)))
        });
        in_pages.skip_while(move |(entity, _)| *entity < first).take_while(move |(entity, _)| *entity <= last)
    }

    /// The entities whose cells may be others in the other state, each once, by id. O(pages that the two do not share).
    pub(super) fn unshared(&self, other: &Self) -> Vec<Entity> {
        let mut found: Vec<_> = [self, other].iter().filter_map(|of| Some(of.open()?.0)).collect();
        for page in self.pages.unshared(&other.pages) {
            found.extend((0..page.len()).map(|place| page.entity(place)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Opens an entity for change, new or old. Packs the one that was open.
    pub(super) fn change(&mut self, entity: Entity) -> Opening<'_> {
        if self.opened.as_ref().is_none_or(|opened| opened.entity != Some(entity)) {
            self.close();
            let mut opened = self.opened.take().unwrap_or_default();
            let list = match std::mem::take(&mut opened.cells) {
                Open::Few(list) => list,
                Open::Many(_) => Vec::new(),
            };
            opened.cells = match self.packed(entity) {
                Some(cells) => cells.to_open(list),
                None => Open::Few(list),
            };
            opened.entity = Some(entity);
            if matches!(opened.cells, Open::Many(_)) {
                // The page drops its reference until the entity is closed, so that maps that nothing shares are changed in place.
                self.pages.remove(entity);
                opened.is_changed = true;
            }
            self.opened = Some(opened);
        }
        let Opened { cells, is_changed, .. } = &mut **self.opened.get_or_insert_default();
        Opening { cells, is_changed }
    }

    /// Packs the entity that is open, and gives back the room for the next one.
    pub(super) fn finish(&mut self) {
        self.close();
        self.opened = None;
    }

    /// Packs the entity that is open.
    fn close(&mut self) {
        let Some(opened) = &mut self.opened else { return };
        let Opened { entity, cells, is_changed, bytes } = &mut **opened;
        let Some(entity) = entity.take() else { return };
        if std::mem::take(is_changed) {
            if cells.len() == 0 {
                self.pages.remove(entity);
            } else {
                let (tables, mut objects) = (&mut self.tables, Vec::new());
                match &*cells {
                    Open::Few(writes) => pack_few(writes, tables, bytes, &mut objects),
                    Open::Many(many) => pack_many(many, bytes, &mut objects),
                }
                self.pages.put(&NewRecord { entity, bytes, objects: &objects });
                bytes.clear();
            }
        }
        match cells {
            Open::Few(list) => list.clear(),
            Open::Many(_) => *cells = Open::default(),
        }
    }

    /// Checks the layout: for tests.
    #[cfg(feature = "testing")]
    pub(super) fn check(&self) -> Result<(), String> {
        self.pages.check()
    }
}

/// The entity that is open for change.
pub(super) struct Opening<'a> {
    pub(super) cells: &'a mut Open,
    pub(super) is_changed: &'a mut bool,
}

impl Default for Opened {
    fn default() -> Self {
        Self { entity: None, cells: Open::default(), is_changed: false, bytes: Vec::with_capacity(256) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Stamp;
    use crate::id::{Dot, WriterId};
    use crate::kernel::cell::Cell;
    use crate::kernel::key::{Field, Payload, Sibling};

    /// Spread over all ids, or side by side.
    fn entity(n: u16, spread: bool) -> Entity {
        let id = if spread { u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) } else { n.into() };
        Entity::new((n % 3) as u8, id.to_be_bytes())
    }

    fn sibling(counter: u64, len: usize) -> Sibling {
        let dot = Dot { writer: WriterId::from([1; 10]), counter };
        Sibling { dot, stamp: Stamp::default(), payload: Some(Payload::new(1, &vec![counter as u8; len])) }
    }

    type Model = BTreeMap<Entity, BTreeMap<Vec<u8>, Sibling>>;

    fn agree(entities: &Entities, model: &Model) -> Result<(), TestCaseError> {
        let read = |(entity, cells): (Entity, Cells<'_>)| {
            (entity, cells.iter().map(|(f, s)| (f.as_bytes().to_vec(), s.to_sibling())).collect::<BTreeMap<_, _>>())
        };
        prop_assert_eq!(&entities.iter().map(read).collect::<Model>(), model);
        prop_assert_eq!(entities.iter().count(), model.len());
        for (entity, cells) in model {
            let found = entities.get(*entity).map(|cells| read((*entity, cells)).1);
            prop_assert_eq!(found.as_ref(), Some(cells));
        }
        Ok(())
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Writes so many bytes to a field, or takes the field out.
        Write(u16, u8, Option<usize>),
        Delete(u16),
        Close,
        Snapshot,
        /// Goes back to the last snapshot.
        Back,
    }

    fn step() -> impl Strategy<Value = Step> {
        let entity = prop_oneof![0u16..20, 0u16..400];
        let len = prop_oneof![6 => 0usize..30, 1 => 100usize..130, 1 => Just(1000)];
        prop_oneof![
            12 => (entity.clone(), prop_oneof![4 => 0u8..4, 1 => 0u8..80], prop::option::weighted(0.8, len))
                .prop_map(|(entity, field, len)| Step::Write(entity, field, len)),
            6 => entity.prop_map(Step::Delete),
            1 => Just(Step::Close),
            1 => Just(Step::Snapshot),
            1 => Just(Step::Back),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn entities_in_pages_agree_with_a_plain_map(
            fill in prop::collection::vec((any::<u16>(), 0u8..6, 0usize..40), 0..600),
            steps in prop::collection::vec(step(), 0..400),
            spread in any::<bool>(),
        ) {
            let (mut entities, mut model) = (Entities::default(), Model::new());
            let mut snapshots = vec![(entities.clone(), model.clone())];
            let fill = fill.into_iter().map(|(n, field, len)| Step::Write(n, field, Some(len)));
            for (counter, step) in (1..).zip(fill.chain(steps)) {
                match step {
                    Step::Write(n, field, len) => {
                        let entity = entity(n, spread);
                        let Opening { cells, is_changed } = entities.change(entity);
                        let sibling = len.map(|len| sibling(counter, len));
                        let next = sibling.clone().map(Cell::single).unwrap_or_default();
                        cells.replace(&Field::new(&vec![field; usize::from(field > 0)]), next);
                        *is_changed = true;
                        let of = model.entry(entity).or_default();
                        let name = vec![field; usize::from(field > 0)];
                        match sibling {
                            Some(sibling) => drop(of.insert(name, sibling)),
                            None => drop(of.remove(&name)),
                        }
                        if of.is_empty() {
                            model.remove(&entity);
                        }
                    }
                    Step::Delete(n) => {
                        let entity = entity(n, spread);
                        let Opening { cells, is_changed } = entities.change(entity);
                        (*cells, *is_changed) = (Open::Few(Vec::new()), true);
                        model.remove(&entity);
                    }
                    Step::Close => entities.finish(),
                    Step::Snapshot => snapshots.push((entities.clone(), model.clone())),
                    Step::Back => (entities, model) = snapshots[snapshots.len() - 1].clone(),
                }
                let last = model.keys().nth(model.len() / 2).copied();
                prop_assert_eq!(last.map(|last| entities.get(last).is_some()).unwrap_or(true), true);
            }
            snapshots.push((entities, model));
            for (entities, model) in &snapshots {
                #[cfg(feature = "testing")]
                prop_assert_eq!(entities.check(), Ok(()));
                agree(entities, model)?;
                let (now, now_model) = &snapshots[snapshots.len() - 1];
                let differing = model.iter().filter(|(entity, cells)| now_model.get(entity) != Some(cells));
                let gone_or_changed: Vec<_> = differing.map(|(entity, _)| *entity).collect();
                let unshared = entities.unshared(now);
                prop_assert!(gone_or_changed.iter().all(|entity| unshared.binary_search(entity).is_ok()));
                let new: Vec<_> = now_model.keys().filter(|entity| !model.contains_key(entity)).collect();
                prop_assert!(new.iter().all(|entity| unshared.binary_search(entity).is_ok()));
                for kind in 0..4 {
                    let range = Entity::new(kind, [0; 16])..=Entity::new(kind, [0xff; 16]);
                    let found: Vec<_> = entities.range(range.clone()).map(|(entity, _)| entity).collect();
                    prop_assert_eq!(found, model.range(range).map(|(entity, _)| *entity).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_pages_and_what_goes_leaves_none() {
        let mut entities = Entities::default();
        let write = |entities: &mut Entities, n: u128, len: Option<usize>| {
            let Opening { cells, is_changed } = entities.change(Entity::new(1, n.to_be_bytes()));
            cells.replace(&Field::ROOT, len.map(|len| Cell::single(sibling(1, len))).unwrap_or_default());
            *is_changed = true;
        };
        (0..20_000).for_each(|n| write(&mut entities, n, Some(40)));
        entities.finish();
        let pages = entities.pages.leaves_from(FIRST).count();
        // Each record takes 40 bytes, 13 of its own, its id and where it ends.
        assert!((20_000 * (40 + 13 + 21) / 2048..20_000 * (40 + 15 + 21) / 1900).contains(&pages), "{pages}");
        (0..20_000).for_each(|n| write(&mut entities, n, None));
        entities.finish();
        assert_eq!((entities.iter().count(), entities.pages.leaves_from(FIRST).count()), (0, 0));
    }

    #[test]
    fn a_large_entity_is_changed_in_place() {
        let mut entities = Entities::default();
        let write = |entities: &mut Entities, field: u8| {
            let Opening { cells, is_changed } = entities.change(Entity::SELF);
            cells.replace(&Field::new(&[field]), Cell::single(sibling(field.into(), 3)));
            *is_changed = true;
            let Open::Many(many) = cells else { return 0 };
            Arc::strong_count(many)
        };
        for field in 0..100 {
            write(&mut entities, field);
        }
        entities.finish();
        assert_eq!(write(&mut entities, 7), 1);
        entities.finish();
        let before = entities.clone();
        assert_eq!(write(&mut entities, 200), 1);
        let len = |entities: &Entities| entities.get(Entity::SELF).map(|cells| cells.len());
        // Readers find it once, whether it is open or not.
        assert_eq!((len(&before), len(&entities), entities.iter().count()), (Some(100), Some(101), 1));
        entities.finish();
        assert_eq!((len(&before), len(&entities), entities.iter().count()), (Some(100), Some(101), 1));
        assert_eq!(before.unshared(&entities), [Entity::SELF]);
    }

    #[test]
    fn a_small_change_is_found_without_a_look_at_the_rest() {
        let mut entities = Entities::default();
        let write = |entities: &mut Entities, n: u128, len| {
            let Opening { cells, is_changed } = entities.change(Entity::new(1, n.to_be_bytes()));
            cells.replace(&Field::ROOT, Cell::single(sibling(1, len)));
            *is_changed = true;
        };
        (0..50_000).for_each(|n| write(&mut entities, n, 40));
        entities.finish();
        let before = entities.clone();
        write(&mut entities, 31_415, 41);
        entities.finish();
        let unshared = before.unshared(&entities);
        assert!(unshared.contains(&Entity::new(1, 31_415u128.to_be_bytes())));
        // Those of its page.
        assert!(unshared.len() < 50, "{}", unshared.len());
        assert!(before.unshared(&before).is_empty());
    }
}
