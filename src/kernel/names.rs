//! Names that stand for ids in a delta.
//!
//! The id of a node that was added by name is derived from the name, and a name is often told in fewer bytes than the sixteen of an
//! id. A delta that holds the node's root tells the name with it. One that holds other cells of the node alone keeps the name
//! beside them: whoever reads it computes the id, and needs to know nothing of the node.

use crate::id::NodeId;
use crate::kernel::cells::Cells;
use crate::kernel::delta::Part;
use crate::kernel::key::{Entity, Field, Payload};
use crate::kinds::{entity::NODE, payload::NAME};

/// The longest name that stands for an id, in bytes. Of a longer one, more than sixteen bytes would mostly be others than in the name
/// before.
pub(crate) const MAX_NAME_LEN: usize = 32;

/// Names that roots told, by entity. Whether one gives the id of its entity is [checked](Self::telling) where it is to stand for
/// it, so that a delta that is never sent costs no hash. If it does, it does so whatever becomes of the entity.
#[derive(Clone, Default, Debug)]
pub(crate) struct Names(Vec<(Entity, Payload)>);

impl Names {
    /// Adds the first name that a root tells, if it tells one. Entities come in order.
    pub(super) fn add(&mut self, entity: Entity, cells: Cells<'_>) {
        if entity.kind() != NODE {
            return;
        }
        let live = cells.live(Field::ROOT.as_bytes()).filter_map(|sibling| sibling.payload);
        let mut names = live.filter(|payload| payload.kind() == NAME && payload.bytes().len() <= MAX_NAME_LEN);
        self.0.extend(names.next().map(|name| (entity, name.to_payload())));
    }

    /// Adds a name that a reader has computed the id from, in any order until all are [sorted](Self::sort).
    pub(crate) fn push(&mut self, entity: Entity, name: Payload) {
        self.0.push((entity, name));
    }

    pub(crate) fn sort(&mut self) {
        self.0.sort_unstable_by_key(|(entity, _)| *entity);
    }

    /// The name that gives the id of an entity.
    pub(crate) fn telling(&self, entity: Entity) -> Option<&Payload> {
        self.get(entity).filter(|name| NodeId::named_in_bytes(name.bytes()).as_bytes() == entity.id())
    }

    pub(crate) fn get(&self, entity: Entity) -> Option<&Payload> {
        self.0.binary_search_by_key(&entity, |(of, _)| *of).ok().map(|i| &self.0[i].1)
    }

    fn between(&self, first: Entity, last: Entity) -> &[(Entity, Payload)] {
        let start = self.0.partition_point(|(entity, _)| *entity < first);
        let end = self.0.partition_point(|(entity, _)| *entity <= last);
        &self.0[start..end]
    }

    /// All names in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Payload> {
        self.0.iter().map(|(_, name)| name)
    }

    /// The names among several sorted tables that are of these parts. O(names between the first part and the last · log parts).
    pub(super) fn of_parts<'a>(tables: impl IntoIterator<Item = &'a Self>, parts: &[Part]) -> Self {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Self::default() };
        // A whole part tells the name with its root. A root that is dead tells none, and nothing else shall.
        let is_part = |entity: &Entity| {
            parts.binary_search_by_key(entity, |part| part.entity).is_ok_and(|place| !parts[place].whole)
        };
        let all = tables.into_iter().flat_map(|names| names.between(first.entity, last.entity));
        let mut names = Self(all.filter(|(entity, _)| is_part(entity)).cloned().collect());
        names.sort();
        names.0.dedup_by_key(|(entity, _)| *entity);
        names
    }
}

/// Always: how an id is told is no part of what a delta says.
impl PartialEq for Names {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Names {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Delta;
    use crate::testing::TestEnvironment;
    use crate::{EditError, Graph, Prune, Replica};

    fn name(n: usize) -> String {
        format!("person:{n:03}")
    }

    /// Writes to each node, of which every third has an id that no name gives, and one a name that is too long.
    fn write(replica: &mut Replica<Graph>, nodes: std::ops::Range<usize>, value: i64) -> Delta {
        let edit = replica.edit(|g| {
            nodes.into_iter().try_for_each(|n| {
                let long = "x".repeat(MAX_NAME_LEN + 1);
                let id = match n {
                    3 => g.add_node(&long)?,
                    _ if n % 3 == 0 => g.add_node(NodeId::from([n as u8; 16]))?,
                    _ => g.add_node(&name(n))?,
                };
                g.set(id, "/value", value)
            })?;
            Ok::<_, EditError>(())
        });
        edit.unwrap().1
    }

    fn set(replica: &mut Replica<Graph>, nodes: impl Iterator<Item = usize> + Clone, value: i64) -> Delta {
        let edit = replica.edit(|g| nodes.clone().try_for_each(|n| g.set(NodeId::named(&name(n)), "/value", value)));
        edit.unwrap().1
    }

    fn names_in(delta: &Delta) -> Vec<String> {
        let of = |part: &Part| delta.names.telling(part.entity);
        let names = delta.parts.iter().filter_map(of).map(|name| String::from_utf8(name.bytes().to_vec()).unwrap());
        let mut names: Vec<_> = names.collect();
        assert!(delta.names.0.iter().all(|(of, _)| delta.parts.iter().any(|part| part.entity == *of)));
        names.sort();
        names
    }

    fn named(nodes: std::ops::Range<usize>) -> Vec<String> {
        nodes.filter(|n| n % 3 != 0).map(name).collect()
    }

    #[test]
    fn a_delta_keeps_the_names_of_parts_without_roots_in_whatever_pieces() {
        let mut ada = Replica::<Graph>::with_environment(TestEnvironment::new(1));
        let added = write(&mut ada, 0..60, 1);
        assert_eq!(names_in(&added), Vec::<String>::new(), "the roots tell them");
        let of_named = |range: std::ops::Range<usize>| range.filter(|n| n % 3 != 0);
        let first = set(&mut ada, of_named(0..40), 2);
        let second = set(&mut ada, of_named(20..60), 3);
        assert_eq!((names_in(&first), names_in(&second)), (named(0..40), named(20..60)));
        assert_eq!(names_in(&first.join(&second).unwrap()), named(0..60));
        let all = added.join(&first).unwrap();
        assert_eq!((names_in(&all), Delta::from_bytes(&all.to_bytes()).unwrap()), (vec![], all), "the roots tell them");

        let whole = ada.delta_since(added.upto()).unwrap();
        let slices: Vec<_> = whole.slices(200).collect();
        assert!(slices.len() > 3);
        let mut of_slices: Vec<_> = slices.iter().flat_map(names_in).collect();
        of_slices.sort();
        assert_eq!((of_slices, names_in(&Delta::concat(slices).unwrap())), (named(0..60), named(0..60)));

        // Gone on with after a break, by a sender that has written in between.
        let prefix = Delta::concat(whole.slices(200).take(2).collect()).unwrap();
        set(&mut ada, of_named(0..60), 4);
        let (changes, rest) = ada.delta_since_beyond(&prefix.broken().unwrap()).unwrap();
        let resumed = Delta::resume(prefix, &changes, rest, ada.version()).unwrap();
        let direct = ada.delta_since(added.upto()).unwrap();
        assert_eq!((&resumed, names_in(&resumed)), (&direct, named(0..60)));
        assert_eq!(resumed.to_bytes(), direct.to_bytes());

        // Nor does a delta tell the name of a node that is gone.
        let before = ada.version().clone();
        let written = set(&mut ada, of_named(0..5), 5);
        let deleted = ada.edit(|g| g.remove_node(NodeId::named(&name(2)))).unwrap().1;
        let joined = written.join(&deleted).unwrap();
        assert_eq!(names_in(&joined), [name(1), name(4)]);
        assert_eq!(joined.to_bytes(), ada.delta_since(&before).unwrap().to_bytes());
    }

    #[test]
    fn a_name_is_told_by_who_has_the_root_and_needs_nothing_of_who_reads_it() {
        let mut ada = Replica::<Graph>::with_environment(TestEnvironment::new(1));
        write(&mut ada, 0..60, 1);
        let mut bob = Replica::<Graph>::with_environment(TestEnvironment::new(2));
        bob.merge(&ada.complete()).unwrap();
        let delta = set(&mut ada, (0..60).filter(|n| n % 3 != 0), 2);
        let read = Delta::from_bytes(&delta.to_bytes()).unwrap();
        assert_eq!((&read, names_in(&read)), (&delta, named(0..60)));
        // Bob knows no node any more, nor that there was one.
        bob.edit(|g| (0..60).try_for_each(|n| g.remove_node(NodeId::named(&name(n))).map(drop))).unwrap();
        bob.prune(Prune::All);
        bob.merge(&read).unwrap();
        assert_eq!(bob.state().hidden().count(), 40);
        let back = bob.delta_since(ada.version()).unwrap_or_else(|_| bob.complete());
        assert!(names_in(&back).is_empty(), "no root tells them");
        ada.merge(&Delta::from_bytes(&back.to_bytes()).unwrap()).unwrap();
        assert_eq!(ada.state(), bob.state());
        // A root that does not give the id names nothing.
        let forged = Payload::new(NAME, b"person:002");
        let entity = Entity::new(NODE, [9; 16]);
        ada.edit(|g| g.write(entity, b"", forged).map(drop)).unwrap();
        let delta = ada.edit(|g| g.set(NodeId::from([9; 16]), "/value", 5)).unwrap().1;
        assert_eq!(names_in(&delta), Vec::<String>::new());
        let read = Delta::from_bytes(&delta.to_bytes()).unwrap();
        assert_eq!((&read, read.names.iter().count(), delta.names.iter().count()), (&delta, 0, 1));
    }
}
