//! Undo: taking back what an edit did, and leaving what others did since.

use std::collections::VecDeque;
use std::fmt;

use crate::diff::Diff;
use crate::error::EditError;
use crate::kernel::{Cells, Crdt, Delta, Edit, Field, Own, Touched};
use crate::replica::Replica;

/// The outcome of [`Edit::take_back`].
#[derive(Clone)]
pub struct TakenBack<T> {
    writes: usize,
    left: Diff<T>,
}

impl<T: Crdt> TakenBack<T> {
    /// The number of writes that it took; 0 if nothing was to be taken back.
    pub fn writes(&self) -> usize {
        self.writes
    }

    /// The cells of the edit that were left as they are, because somebody else has written them since, or something that depends on
    /// them: from what the edit made of them to what they are now.
    pub fn left(&self) -> &Diff<T> {
        &self.left
    }
}

impl<T> fmt::Debug for TakenBack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakenBack").field("writes", &self.writes).field("left", &self.left).finish()
    }
}

/// Taking back.
impl<T: Crdt> Edit<'_, T> {
    /// Takes back what an edit did, by ordinary writes, and leaves what others did since. `done` is the difference that the edit
    /// made; an [`UndoStack`] keeps such differences.
    ///
    /// - A cell that still holds the values that the edit gave it, by writes of this replica, gets those that it had before. One
    ///   that somebody else has written since, even to the same value, is [left](TakenBack::left).
    /// - A node, an edge that the edit added is deleted, with one write, if nothing is alive in it but what is taken back. Else
    ///   it stays, and what the edit wrote in it beside is taken back. Edges that others hung on a node are things of their
    ///   own: they dangle.
    /// - One that the edit deleted comes back with all that it held, unless somebody else has added it since. One that somebody
    ///   has deleted since stays so.
    /// - A node in a [tree](crate::Tree) that would be under itself by now stays where it shows, as a
    ///   [circle](crate::ConflictKind::Circle); so do all that the edit did not move.
    /// - What was added to a counter is taken away, however much was counted since. A [`GCounter`](crate::GCounter) cannot take
    ///   anything back: [`EditError::OnlyGrows`].
    ///
    /// Concurrent writes of others survive beside it, as with any write. O(cells of `done` · log n).
    ///
    /// ```
    /// use driftless::{Diff, Graph, NodeId, Replica};
    /// let mut replica = Replica::<Graph>::new();
    /// let ada = NodeId::named("person:ada");
    /// replica.edit(|g| g.add_node("person:ada"))?;
    /// let before = replica.snapshot();
    /// replica.edit(|g| g.set(ada, "/born", 1851))?;
    /// let done = Diff::between(&before, replica.state());
    /// replica.edit(|g| g.set(ada, "/died", 1852))?;
    ///
    /// let (taken_back, _) = replica.edit(|g| g.take_back(&done))?;
    /// assert_eq!((taken_back.writes(), taken_back.left().is_empty()), (1, true));
    /// let node = replica.state().node(ada).ok_or("there")?;
    /// assert_eq!((node.get("/born"), node.get("/died")), (None, Some(1852.into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_back(&mut self, done: &Diff<T>) -> Result<TakenBack<T>, EditError> {
        let (before, own, was) = (self.writes_made(), self.own(), T::clone(self));
        let mut left = Vec::new();
        for cells in done.touched().chunk_by(|a, b| a.entity == b.entity) {
            self.take_back_in_entity(cells, &own, &mut left)?;
        }
        T::finish_revert(self, &was, true)?;
        Ok(TakenBack { writes: self.writes_made() - before, left: Diff::new(left) })
    }

    /// Takes back the cells of one entity.
    fn take_back_in_entity(&mut self, cells: &[Touched], own: &Own, left: &mut Vec<Touched>) -> Result<(), EditError> {
        let state = self.state();
        let (mut back, mut changed): (Vec<&Touched>, Vec<&Touched>) =
            cells.iter().partition(|cell| T::is_total(&cell.field) || is_unchanged(&cell.since(state), own));
        let now = cells.first().and_then(|cell| state.cells(cell.entity));
        let is_live = now.is_some_and(Cells::is_live);
        let was_deleted_since = cells.iter().any(|cell| cell.is_live) && !is_live;
        let was_added_since = changed.iter().any(|cell| cell.field.is_root() && !cell.is_now_live());
        let mut is_new = back.iter().any(|cell| cell.field.is_root() && cell.is_now_live() && !cell.was_live());
        if was_deleted_since || was_added_since {
            changed = cells.iter().collect();
            back.clear();
            is_new = false;
        } else if is_new {
            let is_taken_back = |field: &Field| back.binary_search_by(|cell| cell.field.cmp(field)).is_ok();
            let mut live = now.into_iter().flat_map(|cells| cells.iter()).filter(|(_, sibling)| sibling.is_live());
            if !live.all(|(field, _)| is_taken_back(&field)) {
                // The root comes first.
                changed.push(back.remove(0));
                is_new = false;
            }
        }
        left.extend(changed.iter().map(|cell| cell.since(state)));
        if is_new {
            self.delete(cells[0].entity)?;
            // Hidden survivors, which an addition deletes, are hidden again.
            back.retain(|cell| cell.was_live());
        }
        let state = self.state();
        // A total is taken back by what the edit added to it; any other cell is put back from what it holds now.
        let until = |cell: &&Touched| if T::is_total(&cell.field) { (*cell).clone() } else { cell.until(state) };
        let back: Vec<Touched> = back.iter().map(until).collect();
        T::revert(self, &back)
    }
}

/// True if a cell holds the values that an edit gave it, and nobody but this replica has written any of them since.
fn is_unchanged(since: &Touched, own: &Own) -> bool {
    let is_of_edit = |dot| since.was().iter().any(|sibling| sibling.dot == dot);
    // A removal that another made at the same time may have been pruned, so it counts for nothing.
    let mut now = since.now().iter().filter(|sibling| sibling.is_live());
    since.has_same_values() && now.all(|sibling| is_of_edit(sibling.dot) || own.wrote(sibling.dot))
}

/// The edits of one user, to be taken back and made again: undo and redo.
///
/// Undo takes back what *this* user did, and leaves what others did since: see [`Edit::take_back`]. It is an edit like any other,
/// with a delta that is sent to peers; the stack itself is no part of the state, and is kept by the app for as long as it likes.
///
/// Memory: the cells that each edit changed, as they were and as they became; no snapshot is kept. The last 1,000
/// edits are kept by default; older ones are forgotten, and can no longer be undone.
///
/// ```
/// use driftless::{Graph, NodeId, Replica, UndoStack};
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// let mut stack = UndoStack::new();
/// let ada = NodeId::named("person:ada");
/// let (_, delta) = stack.edit(&mut laptop, |g| {
///     g.add_node("person:ada")?;
///     g.set(ada, "/name", "Ada")
/// })?;
/// phone.merge(&delta)?;
/// stack.edit(&mut laptop, |g| g.set(ada, "/name", "Countess"))?;
/// let (_, delta) = phone.edit(|g| g.set(ada, "/born", 1815))?;
/// laptop.merge(&delta)?;
///
/// stack.undo(&mut laptop)?; // the name, and nothing that the phone wrote
/// let name = |replica: &Replica<Graph>| replica.state().node(ada)?.get("/name").map(|name| name.to_string());
/// assert_eq!(name(&laptop).as_deref(), Some("\"Ada\""));
/// assert_eq!(laptop.state().node(ada).ok_or("there")?.get("/born"), Some(1815.into()));
/// stack.redo(&mut laptop)?;
/// assert_eq!(name(&laptop).as_deref(), Some("\"Countess\""));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct UndoStack<T> {
    done: VecDeque<Diff<T>>,
    undone: Vec<Diff<T>>,
    limit: usize,
}

impl<T: Crdt> UndoStack<T> {
    /// An empty stack that keeps the last 1,000 edits.
    pub fn new() -> Self {
        Self::with_limit(1000)
    }

    /// An empty stack that keeps so many edits.
    pub fn with_limit(limit: usize) -> Self {
        Self { done: VecDeque::new(), undone: Vec::new(), limit }
    }

    /// Edits like [`Replica::edit`], and keeps what the edit changed. What was undone before can then no longer be made again. An
    /// edit that fails or changes nothing that can be read is not kept.
    ///
    /// O(pages that the edit changed), beside the edit itself.
    pub fn edit<R>(
        &mut self,
        replica: &mut Replica<T>,
        edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, EditError>,
    ) -> Result<(R, Delta), EditError> {
        let before = replica.snapshot();
        let edited = replica.edit(edit)?;
        self.push(Diff::between(&before, replica.state()));
        Ok(edited)
    }

    /// Keeps an edit that was made in another way, such as through a store: the [difference](Diff::between) that it made, and
    /// nothing that others did.
    pub fn push(&mut self, done: Diff<T>) {
        if !done.is_empty() {
            self.undone.clear();
            self.keep(done);
        }
    }

    fn keep(&mut self, done: Diff<T>) {
        self.done.push_back(done);
        while self.done.len() > self.limit {
            self.done.pop_front();
        }
    }

    /// Takes the last edit back. `None` if there is none. O(cells that the edit changed · log n).
    ///
    /// # Errors
    ///
    /// Those of [`Edit::take_back`]. Nothing has changed then, and the edit stays on the stack.
    pub fn undo(&mut self, replica: &mut Replica<T>) -> Result<Option<(TakenBack<T>, Delta)>, EditError> {
        let Some(last) = self.done.back() else { return Ok(None) };
        let (made, taken_back) = take_back(replica, last)?;
        self.done.pop_back();
        self.undone.push(made);
        Ok(Some(taken_back))
    }

    /// Makes the edit that was undone last again, as far as nobody else has changed since what undoing it had brought back. `None`
    /// if there is none. If it fails, nothing has changed, and the edit can still be made again.
    pub fn redo(&mut self, replica: &mut Replica<T>) -> Result<Option<(TakenBack<T>, Delta)>, EditError> {
        let Some(last) = self.undone.last() else { return Ok(None) };
        let (made, taken_back) = take_back(replica, last)?;
        self.undone.pop();
        self.keep(made);
        Ok(Some(taken_back))
    }

    /// The number of edits that can be undone.
    pub fn undo_len(&self) -> usize {
        self.done.len()
    }

    /// The number of edits that can be made again.
    pub fn redo_len(&self) -> usize {
        self.undone.len()
    }

    /// Forgets all edits.
    pub fn clear(&mut self) {
        self.done.clear();
        self.undone.clear();
    }
}

/// The difference that taking an edit back made, and what is told of it.
type Made<T> = (Diff<T>, (TakenBack<T>, Delta));

fn take_back<T: Crdt>(replica: &mut Replica<T>, done: &Diff<T>) -> Result<Made<T>, EditError> {
    let before = replica.snapshot();
    let taken_back = replica.edit(|edit| edit.take_back(done))?;
    Ok((Diff::between(&before, replica.state()), taken_back))
}

impl<T: Crdt> Default for UndoStack<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for UndoStack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UndoStack").field("done", &self.done.len()).field("undone", &self.undone.len()).finish()
    }
}
