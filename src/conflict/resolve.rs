//! Settling conflicts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::conflict::list::{Disputed, Source, Spot, entity_of, position_field};
use crate::conflict::text::{self, TextError};
use crate::conflict::{Candidate, Conflict, ConflictKind, Content, Resolution};
use crate::document::{Document, Nested, Place, Plan, PropertiesMut, Text, TextMut, Value, live_of_kind, union};
use crate::error::{EditError, ResolveError};
use crate::graph::{Graph, Owner, Placing, Restored, embedding_field};
use crate::id::{ConflictId, Dot, NodeId};
use crate::kernel::{Cells, Crdt, Edit, Entity, Own};
use crate::kind::Kind;
use crate::vector::{self, Embedding, Model};

macro_rules! resolving {
    ($type:ty) => {
        impl Edit<'_, $type> {
            /// Settles a conflict. Returns what came of it: [`Resolution::Manual`] leaves it open, and what a deletion saw
            /// comes back with [`Resolution::RestoreFrom`] alone.
            ///
            /// An ordinary write that has seen exactly the candidates: what arrives later and was written without having
            /// seen this is in conflict with it. If the conflict has changed since it was listed, it is
            /// [`ResolveError::Stale`]. Two replicas that settle the same conflict at once converge; if they chose
            /// differently, on a new conflict.
            pub fn resolve(&mut self, id: ConflictId, resolution: Resolution<'_>) -> Result<Resolved, EditError> {
                self.resolve_with(id, |_| resolution)
            }

            /// Settles a conflict by what a closure decides from its candidates. Else like [`resolve`](Self::resolve).
            pub fn resolve_with<'v>(
                &mut self,
                id: ConflictId,
                decide: impl FnOnce(&Conflict<'_>) -> Resolution<'v>,
            ) -> Result<Resolved, EditError> {
                let entity = entity_of(id);
                let source = self.source();
                let conflict = source.of(entity).find(|c| c.id == id).ok_or(ResolveError::Stale(id))?;
                let resolution = decide(&conflict);
                let (cells, own) = (self.state().cells(entity), self.own());
                let outcome = Settling { source, cells, own, conflict: &conflict }.outcome(&resolution)?;
                self.carry_out(entity, outcome)
            }

            /// Settles all conflicts by a policy, unattended, as far as it goes.
            ///
            /// A resolution that would decide differently in different replicas is refused ([`ResolveError::Asymmetric`]), and nothing
            /// is written where the outcome already shows, but for [`Resolution::Confirm`]: so replicas that do this unattended
            /// for ever come to rest, if they have the same policy. A conflict whose outcome shows stays listed, as
            /// [`Settled::shown`], until somebody writes there.
            ///
            /// `Confirm` writes what shows, so the conflict is closed for good. It comes to rest too: replicas that see the
            /// same candidates write equal values, and those that saw different ones are left with fewer values each time
            /// that they sync.
            ///
            /// O(conflicts).
            ///
            /// ```
            /// use driftless::{Document, Replica, Resolution};
            /// use serde_json::json;
            /// let (mut laptop, mut phone) = (Replica::<Document>::new(), Replica::<Document>::new());
            /// let (_, a) = laptop.edit(|d| d.update("", &json!({"tags": ["a"], "name": "Ada"})))?;
            /// let (_, b) = phone.edit(|d| d.update("", &json!({"tags": ["b"], "name": "Augusta"})))?;
            /// laptop.merge(&b)?;
            /// phone.merge(&a)?;
            ///
            /// // Both at once, each for itself.
            /// for replica in [&mut laptop, &mut phone] {
            ///     let (settled, _) = replica.edit(|d| {
            ///         d.settle(|conflict| match conflict.path.to_string().as_str() {
            ///             "/tags" => Resolution::Union,
            ///             _ => Resolution::Manual,
            ///         })
            ///     })?;
            ///     assert_eq!((settled.written, settled.open.len()), (1, 1));
            /// }
            /// phone.merge(&laptop.delta_since(phone.version())?)?;
            /// assert_eq!(phone.state().conflicts().count(), 1); // the name
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn settle<'v>(
                &mut self,
                mut policy: impl FnMut(&Conflict<'_>) -> Resolution<'v>,
            ) -> Result<Settled, EditError> {
                let (mut settled, mut outcomes) = (Settled::default(), Vec::new());
                // Vectors that are left open may be settled by their text.
                let mut vectors: BTreeMap<ConflictId, Spot> = BTreeMap::new();
                for conflict in self.source().all() {
                    let resolution = policy(&conflict);
                    if !resolution.is_symmetric() {
                        return Err(ResolveError::Asymmetric(resolution.name()).into());
                    }
                    let entity = entity_of(conflict.id);
                    let is_value = matches!(
                        conflict.kind,
                        ConflictKind::ConcurrentEdit | ConflictKind::SamePosition { .. } | ConflictKind::TwoTexts
                    );
                    let is_move = conflict.kind == ConflictKind::ElementMove;
                    if is_value && self.source().is_mixed(entity, &conflict.path)
                        || is_move && self.source().is_list_mixed(entity, &conflict.path)
                    {
                        // A value that is written now would be the latest of the kinds.
                        let reason = resolution.does_not_fit(&conflict, "several kinds are there; they come first");
                        settled.open.push((conflict.id, Some(reason)));
                        continue;
                    }
                    if matches!(conflict.kind, ConflictKind::Embedding { .. }) {
                        vectors.insert(conflict.id, Spot::of(&conflict)?);
                    }
                    let (source, cells, own) = (self.source(), self.state().cells(entity), self.own());
                    let confirms = matches!(resolution, Resolution::Confirm);
                    match (Settling { source, cells, own, conflict: &conflict }.outcome(&resolution)) {
                        Ok(Outcome::Open) => settled.open.push((conflict.id, None)),
                        Ok(Outcome::Shows(_)) if !confirms => settled.shown.push(conflict.id),
                        Ok(outcome) => outcomes.push((conflict.id, Spot::of(&conflict)?, outcome)),
                        Err(reason) => settled.open.push((conflict.id, Some(reason))),
                    }
                }
                for (id, spot, outcome) in outcomes {
                    let entity = entity_of(id);
                    match self.source().same(entity, &spot).map(|conflict| conflict.id == id) {
                        Some(true) => {
                            let resolved = self.carry_out(entity, outcome)?;
                            settled.written += usize::from(resolved != Resolved::Open);
                            settled.survivors.extend((resolved == Resolved::Survivors).then_some(id));
                        }
                        // Settling one can change another: its turn is the next time.
                        Some(false) => settled.open.push((id, Some(ResolveError::Stale(id).into()))),
                        // Or settle it.
                        None => settled.written += 1,
                    }
                }
                let is_settled = |id: &ConflictId| {
                    let spot = vectors.get(id);
                    spot.is_some_and(|spot| self.source().same(entity_of(*id), spot).is_none())
                };
                let listed = settled.open.len() + settled.shown.len();
                settled.open.retain(|(id, _)| !is_settled(id));
                settled.shown.retain(|id| !is_settled(id));
                settled.written += listed - settled.open.len() - settled.shown.len();
                Ok(settled)
            }

            /// Writes an outcome of a conflict that has just been looked at.
            fn carry_out(&mut self, entity: Entity, outcome: Outcome<'_>) -> Result<Resolved, EditError> {
                match outcome {
                    Outcome::Open => Ok(Resolved::Open),
                    Outcome::Shows(write) | Outcome::Write(write) => {
                        let plan = match write {
                            Write::Place { tree, node, placing } => {
                                return self.carry_out_whole(Whole::Place { tree, node, placing });
                            }
                            Write::Texts { place, keep } => {
                                TextMut::new(self, entity, None, Ok(place)).settle_imports(keep)?;
                                return Ok(Resolved::Settled);
                            }
                            Write::Plan(plan) => plan,
                            Write::Keep { place, kind, of } => {
                                Plan::keeping(self.state().cells(entity), &place, kind, &of)
                            }
                        };
                        PropertiesMut::new(self, entity, None).carry_out(plan)?;
                        Ok(Resolved::Settled)
                    }
                    Outcome::Whole(whole) => self.carry_out_whole(whole),
                }
            }
        }
    };
}

resolving!(Graph);
resolving!(Document);
resolving!(Text);

impl Edit<'_, Graph> {
    fn carry_out_whole(&mut self, whole: Whole<'_>) -> Result<Resolved, EditError> {
        match whole {
            Whole::Restore(nodes) => {
                let mut resolved = Resolved::Settled;
                for node in nodes {
                    if self.restore_node(node)? == Restored::Survivors {
                        resolved = Resolved::Survivors;
                    }
                }
                Ok(resolved)
            }
            Whole::RestoreFrom(snapshot, owners) => {
                owners.into_iter().try_for_each(|owner| self.restore_from(snapshot, owner).map(drop))?;
                Ok(Resolved::Settled)
            }
            Whole::Delete(owner) => self.delete(owner.entity()).map(|_| Resolved::Settled),
            Whole::DeleteWithDescendants { tree, node } => {
                self.tree_mut(&tree).remove_with_descendants(node).map(|_| Resolved::Settled)
            }
            Whole::Place { tree, node, placing } => {
                self.tree_mut(&tree).put_as(node, placing).map(|()| Resolved::Settled)
            }
        }
    }
}

impl Edit<'_, Text> {
    /// A text is neither deleted nor an edge.
    fn carry_out_whole(&mut self, _: Whole<'_>) -> Result<Resolved, EditError> {
        Ok(Resolved::Open)
    }
}

impl Edit<'_, Document> {
    /// A document is neither deleted nor an edge.
    fn carry_out_whole(&mut self, _: Whole<'_>) -> Result<Resolved, EditError> {
        Ok(Resolved::Open)
    }
}

/// The outcome of a [resolution](Resolution).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Resolved {
    /// The conflict is left open: nothing was written.
    Open,
    /// The conflict is settled.
    Settled,
    /// The conflict is settled by bringing back a node of which only that came back which was written without having seen
    /// the deletion: its name and all else that the deletion had seen is missing. [`Resolution::RestoreFrom`] brings back
    /// the whole; [`add_node`](crate::Edit::add_node) gives it its name.
    Survivors,
}

/// The report of an unattended [`settle`](Edit::<Graph>::settle).
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Settled {
    /// The number of conflicts that were settled.
    pub written: usize,
    /// The conflicts among them that were settled by bringing back a node without what the deletion had seen: see
    /// [`Resolved::Survivors`].
    pub survivors: Vec<ConflictId>,
    /// The conflicts in which the outcome shows already, so that nothing was written: listed until somebody writes there.
    pub shown: Vec<ConflictId>,
    /// The conflicts that are open: left so by the policy, or because its resolution does not fit, for the reason that is given.
    pub open: Vec<(ConflictId, Option<EditError>)>,
}

/// The writes that a resolution asks for.
pub(super) enum Outcome<'v> {
    Open,
    /// The outcome shows already: to settle the conflict is to write it again.
    Shows(Write),
    Write(Write),
    Whole(Whole<'v>),
}

pub(super) enum Write {
    Plan(Plan),
    /// Removes all kinds at a place but one: planned when it is carried out, since of nested conflicts each would list all
    /// that lies below.
    Keep {
        place: Place,
        kind: Kind,
        of: Vec<Kind>,
    },
    /// Keeps one of the texts that were put into one place, or says that all are to stand side by side.
    Texts {
        place: Place,
        keep: Option<u32>,
    },
    /// Puts a node somewhere in a tree.
    Place {
        tree: String,
        node: NodeId,
        placing: Placing,
    },
}

pub(super) enum Whole<'v> {
    Restore(Vec<NodeId>),
    RestoreFrom(&'v Graph, Vec<Owner>),
    Delete(Owner),
    /// With all that shows under it in a tree.
    DeleteWithDescendants {
        tree: String,
        node: NodeId,
    },
    Place {
        tree: String,
        node: NodeId,
        placing: Placing,
    },
}

impl Conflict<'_> {
    /// Returns whether something else has to be settled first.
    fn is_left_alone(&self) -> bool {
        self.is_hidden && self.kind != ConflictKind::EditDelete
    }
}

/// A conflict being settled.
pub(super) struct Settling<'c, 'a> {
    pub(super) source: Source<'a>,
    pub(super) cells: Option<Cells<'c>>,
    /// The writers that count as this replica, if it has ever written.
    own: Own,
    pub(super) conflict: &'c Conflict<'a>,
}

impl<'c, 'a> Settling<'c, 'a> {
    fn outcome<'v>(&self, resolution: &Resolution<'v>) -> Result<Outcome<'v>, EditError> {
        let conflict = self.conflict;
        if *resolution == Resolution::Manual {
            return Ok(Outcome::Open);
        }
        if conflict.is_left_alone() {
            return Err(ResolveError::Hidden { path: conflict.path.to_string() }.into());
        }
        match &conflict.kind {
            ConflictKind::ConcurrentEdit => Ok(self.with_vectors(self.values(resolution)?)),
            ConflictKind::Embedding { model } => self.vectors(model, resolution),
            ConflictKind::Kind => self.kinds(resolution),
            ConflictKind::EditDelete => self.edit_delete(resolution).map(Outcome::Whole),
            ConflictKind::Dangling { missing } => match (resolution, conflict.of) {
                (Resolution::Restore | Resolution::MergeFields | Resolution::Union, _) => {
                    Ok(Outcome::Whole(Whole::Restore(missing.clone())))
                }
                (Resolution::RestoreFrom(snapshot), _) => {
                    let owners = missing.iter().copied().map(Owner::from).collect();
                    Ok(Outcome::Whole(Whole::RestoreFrom(snapshot, owners)))
                }
                (Resolution::Delete | Resolution::Confirm, Some(of)) => Ok(Outcome::Whole(Whole::Delete(of))),
                _ => Err(self.does_not_fit(resolution, "the edge can be deleted, or its ends restored")),
            },
            ConflictKind::SamePosition { at } => self.same_position(&position_field(&conflict.path, at)?, resolution),
            ConflictKind::ElementMove => self.element_move(resolution),
            ConflictKind::MovedWhileRemoved => self.moved_while_removed(resolution),
            ConflictKind::TwoTexts => self.two_texts(Place::of(&conflict.path)?, resolution),
            ConflictKind::ConcurrentMove { tree } => self.moves(tree, resolution),
            ConflictKind::Circle { tree } | ConflictKind::Detached { tree } => self.displaced(tree, resolution),
            ConflictKind::Orphaned { tree, missing } => match (resolution, conflict.of) {
                (Resolution::Restore | Resolution::MergeFields | Resolution::Union, _) => {
                    Ok(Outcome::Whole(Whole::Restore(vec![*missing])))
                }
                (Resolution::RestoreFrom(snapshot), _) => {
                    Ok(Outcome::Whole(Whole::RestoreFrom(snapshot, vec![(*missing).into()])))
                }
                (Resolution::Delete, Some(Owner::Node(node))) => {
                    Ok(Outcome::Whole(Whole::DeleteWithDescendants { tree: tree.clone(), node }))
                }
                _ => Err(self.does_not_fit(resolution, "the parent can be restored, or the node deleted or moved")),
            },
        }
    }

    /// Settles the vectors of the texts in conflict with the text that is written: see [`Resolution`].
    fn with_vectors<'v>(&self, mut outcome: Outcome<'v>) -> Outcome<'v> {
        let (Outcome::Write(Write::Plan(plan)) | Outcome::Shows(Write::Plan(plan))) = &mut outcome else {
            return outcome;
        };
        let Some(Value::Str(text)) = plan.only_payload().map(Value::from_payload) else { return outcome };
        let texts = self.conflict.candidates.iter().filter_map(|candidate| candidate.value()?.as_str());
        let (texts, chosen) = (texts.map(vector::hash).collect::<BTreeSet<u128>>(), vector::hash(text));
        let entity = entity_of(self.conflict.id);
        let mut found = Vec::new();
        for conflict in self.source.of(entity) {
            let ConflictKind::Embedding { model } = &conflict.kind else { continue };
            let vectors = conflict.candidates.iter().filter_map(|candidate| match &candidate.content {
                Content::Embedding(vector) => Some(vector),
                _ => None,
            });
            let text_of = |vector: &&Embedding<'_>| vector.text_hash();
            let are_of_texts = vectors.clone().all(|v| text_of(&v).is_some_and(|text| texts.contains(&text)));
            let vector = vectors.clone().find(|vector| text_of(vector) == Some(chosen));
            if let Some(vector) = vector.filter(|_| are_of_texts) {
                found.push((embedding_field(model), vector.to_vector().to_payload()));
            }
        }
        found.into_iter().for_each(|(field, payload)| plan.add(field, payload));
        outcome
    }

    fn values<'v>(&self, resolution: &Resolution<'_>) -> Result<Outcome<'v>, EditError> {
        let all: Vec<Value<'a>> = self.conflict.candidates.iter().filter_map(Candidate::value).collect();
        if let Some(value) = self.chosen(resolution)?.and_then(Candidate::value) {
            return self.write_value(value);
        }
        match resolution {
            Resolution::Value(value) => self.write_value(*value),
            Resolution::Json(json) => self.write_nested(&[Kind::Register], &Nested::of(json, &self.conflict.path)?),
            Resolution::MergeFields => all.first().map_or(Ok(Outcome::Open), |first| self.write_value(*first)),
            Resolution::Union => {
                let nested =
                    union(&all).map_err(|found| self.does_not_fit(resolution, &format!("there is {found}")))?;
                self.write_nested(&[Kind::Register], &nested)
            }
            Resolution::MergeText { base } => {
                let texts: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
                let texts = texts.ok_or_else(|| self.does_not_fit(resolution, "not all values are texts"))?;
                let Some((first, others)) = texts.split_first() else { return Ok(Outcome::Open) };
                let merged =
                    others.iter().try_fold((*first).to_owned(), |merged, text| text::merge(base, &merged, text));
                match merged {
                    Ok(merged) => self.write_value(Value::Str(&merged)),
                    Err(TextError::Overlap(merged)) => Err(ResolveError::Overlap { path: self.path(), merged }.into()),
                    Err(TextError::TooLong) => Err(self.does_not_fit(resolution, "the texts have too many lines")),
                }
            }
            _ => Err(self.does_not_fit(resolution, "there are values to choose from, and nothing is deleted")),
        }
    }

    fn vectors<'v>(&self, model: &Model, resolution: &Resolution<'_>) -> Result<Outcome<'v>, EditError> {
        let chosen = self.chosen(resolution)?;
        let Some(Content::Embedding(vector)) = chosen.map(|candidate| &candidate.content) else {
            return Err(self.does_not_fit(resolution, "vectors cannot be merged; embed the text again, or choose one"));
        };
        let shows = chosen.map(|candidate| candidate.dot) == self.conflict.winner().map(|winner| winner.dot);
        let plan = Write::Plan(Plan::of(embedding_field(model), vector.to_vector().to_payload()));
        Ok(if shows { Outcome::Shows(plan) } else { Outcome::Write(plan) })
    }

    fn kinds<'v>(&self, resolution: &Resolution<'_>) -> Result<Outcome<'v>, EditError> {
        let kind_of = |candidate: &Candidate<'_>| match &candidate.content {
            Content::Kind { kind, .. } => Some(*kind),
            _ => None,
        };
        let all: Vec<Kind> = self.conflict.candidates.iter().filter_map(kind_of).collect();
        let keep = match resolution {
            Resolution::Value(value) => {
                let place = self.place()?;
                value.to_payload().map_err(|e| e.at(place.as_ref()))?;
                return self.write_nested(&all, &value.to_nested());
            }
            Resolution::Json(json) => return self.write_nested(&all, &Nested::of(json, &self.conflict.path)?),
            Resolution::Confirm => all.first().copied(),
            Resolution::MergeFields => all.contains(&Kind::Map).then_some(Kind::Map),
            Resolution::PreferLocal => self.kind_by(&all, |dot| self.own.wrote(dot))?,
            Resolution::PreferRemote => self.kind_by(&all, |dot| !self.own.wrote(dot))?,
            _ => self.chosen(resolution)?.and_then(kind_of),
        };
        let Some(kind) = keep else {
            return Err(self.does_not_fit(resolution, "there are kinds to choose from"));
        };
        let shows = all.first() == Some(&kind);
        let write = Write::Keep { place: self.place()?, kind, of: all };
        Ok(if shows { Outcome::Shows(write) } else { Outcome::Write(write) })
    }

    /// The kind that certain writers wrote to last; if they wrote to none, the one that was written to last.
    fn kind_by(&self, all: &[Kind], is_wanted: impl Fn(Dot) -> bool) -> Result<Option<Kind>, EditError> {
        let place = self.place()?;
        let latest = |kind: Kind| {
            let live = self.cells.into_iter().flat_map(|cells| live_of_kind(cells, &place, kind));
            live.map(|(_, s)| (is_wanted(s.dot), s.precedence())).max()
        };
        Ok(all.iter().copied().max_by_key(|kind| latest(*kind)))
    }

    fn edit_delete<'v>(&self, resolution: &Resolution<'v>) -> Result<Whole<'v>, EditError> {
        let mut dots = self.conflict.candidates.iter().map(|candidate| candidate.dot);
        let restores = match resolution {
            Resolution::Restore | Resolution::MergeFields | Resolution::Union => true,
            Resolution::RestoreFrom(snapshot) if let Some(of) = self.conflict.of => {
                return Ok(Whole::RestoreFrom(snapshot, vec![of]));
            }
            Resolution::Delete | Resolution::LastWriter | Resolution::Confirm => false,
            Resolution::PreferLocal => dots.any(|dot| self.own.wrote(dot)),
            Resolution::PreferRemote => dots.any(|dot| !self.own.wrote(dot)),
            _ => return Err(self.does_not_fit(resolution, "it can be restored or deleted")),
        };
        match (self.conflict.of, restores) {
            (Some(of), false) => Ok(Whole::Delete(of)),
            (Some(Owner::Node(node)), true) => Ok(Whole::Restore(vec![node])),
            (Some(Owner::Edge(edge)), true) => Err(ResolveError::NeedsEnds(edge).into()),
            (None, _) => Err(self.does_not_fit(resolution, "a document is never deleted")),
        }
    }

    /// The candidate that a resolution chooses, for those that choose one.
    pub(super) fn chosen(&self, resolution: &Resolution<'_>) -> Result<Option<&'c Candidate<'a>>, ResolveError> {
        let mut latest: Vec<&'c Candidate<'a>> = self.conflict.candidates.iter().collect();
        latest.sort_unstable_by_key(|candidate| Reverse((candidate.stamp, candidate.dot)));
        let by = |is_wanted: &dyn Fn(Dot) -> bool| {
            let wanted = latest.iter().find(|candidate| is_wanted(candidate.dot));
            wanted.or(latest.first()).copied()
        };
        Ok(match resolution {
            Resolution::Pick(dot) => {
                let picked = latest.iter().find(|candidate| candidate.dot == *dot).copied();
                Some(picked.ok_or(ResolveError::NoCandidate { of: self.conflict.id, dot: *dot })?)
            }
            Resolution::Confirm => self.conflict.winner(),
            Resolution::LastWriter => by(&|_| true),
            Resolution::PreferLocal => by(&|dot| self.own.wrote(dot)),
            Resolution::PreferRemote => by(&|dot| !self.own.wrote(dot)),
            _ => None,
        })
    }

    fn write_value<'v>(&self, value: Value<'_>) -> Result<Outcome<'v>, EditError> {
        let place = self.place()?;
        let payload = value.to_payload().map_err(|e| e.at(place.as_ref()))?;
        let shows = self.shows(Value::from_payload(&payload));
        let plan = Write::Plan(Plan::of(place.field(Kind::Register), payload));
        Ok(if shows { Outcome::Shows(plan) } else { Outcome::Write(plan) })
    }

    /// In place of what is there of these kinds.
    fn write_nested<'v>(&self, kinds: &[Kind], nested: &Nested) -> Result<Outcome<'v>, EditError> {
        let plan = Plan::replacing(self.cells, &self.place()?, kinds, nested)?;
        let shows = plan.only_payload().is_some_and(|payload| self.shows(Value::from_payload(payload)));
        let plan = Write::Plan(plan);
        Ok(if shows { Outcome::Shows(plan) } else { Outcome::Write(plan) })
    }

    fn shows(&self, value: Value<'_>) -> bool {
        self.conflict.winner().and_then(Candidate::value) == Some(value)
    }

    fn place(&self) -> Result<Place, EditError> {
        Ok(Place::of(&self.conflict.path)?)
    }

    fn path(&self) -> String {
        self.conflict.path.to_string()
    }

    pub(super) fn does_not_fit(&self, resolution: &Resolution<'_>, reason: &str) -> EditError {
        resolution.does_not_fit(self.conflict, reason)
    }
}
