//! Writing: the traits of a type and of its surroundings, and the one place where dots are minted.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::bugs::{Bug, is};
use crate::clock::{HybridClock, Stamp};
use crate::error::EditError;
use crate::id::{Dot, WriterId};
use crate::kernel::cell::Cell;
use crate::kernel::cells::Cells;
use crate::kernel::key::{Entity, Field, Interner, MAX_FIELD_LEN, MAX_PAYLOAD_LEN, Payload, Sibling};
use crate::kernel::state::{Before, State, Touched};
use crate::kernel::visits;
use crate::version::{Birth, Line, Version};

/// A replicated type: a newtype over the [`State`], with a key scheme and a reading rule.
///
/// Whatever the type, it converges: `merge` is the kernel's and knows nothing of it. What the type adds is where its
/// cells lie, how they read, and what it derives from them.
///
/// A value of the type that is not inside a [`Replica`](crate::Replica) is a snapshot: cloning is O(1) and nothing can
/// be written to it.
///
/// A type of your own, a shopping list in which of concurrent quantities the greatest counts:
///
/// ```
/// use driftless::kernel::{Entity, Payload, Touched};
/// use driftless::{Crdt, Edit, EditError, Replica, State};
///
/// #[derive(Clone, Default, PartialEq, Debug)]
/// struct ShoppingList {
///     state: State,
/// }
///
/// // The key scheme: one cell for each article, named by it. Nothing is derived, so there is nothing to follow.
/// impl Crdt for ShoppingList {
///     const SCHEMA: &'static str = "com.example.shopping-list";
///     type Change = String;
///
///     fn state(&self) -> &State {
///         &self.state
///     }
///     fn state_mut(&mut self) -> &mut State {
///         &mut self.state
///     }
///     fn follow(&mut self, _: &Touched) {}
///     fn describe(touched: &Touched) -> Option<String> {
///         String::from_utf8(touched.field.as_bytes().to_vec()).ok()
///     }
/// }
///
/// // The reading rule.
/// impl ShoppingList {
///     fn quantity(&self, article: &str) -> u8 {
///         let cells = self.state.cells(Entity::SELF).into_iter();
///         let wanted = cells.flat_map(|cells| cells.live(article.as_bytes()));
///         wanted.filter_map(|s| s.payload.as_ref()?.bytes().first().copied()).max().unwrap_or(0)
///     }
/// }
///
/// // What writes stands in a trait, since `Edit` is this crate's.
/// trait EditShoppingList {
///     fn want(&mut self, article: &str, quantity: u8) -> Result<(), EditError>;
/// }
///
/// impl EditShoppingList for Edit<'_, ShoppingList> {
///     fn want(&mut self, article: &str, quantity: u8) -> Result<(), EditError> {
///         self.write(Entity::SELF, article.as_bytes(), Payload::new(1, &[quantity])).map(drop)
///     }
/// }
///
/// let mut kitchen = Replica::<ShoppingList>::new();
/// let mut shop = kitchen.fork();
/// let (_, a) = kitchen.edit(|list| list.want("apples", 3))?;
/// let (_, b) = shop.edit(|list| list.want("apples", 5))?;
/// kitchen.merge(&b)?;
/// let report = shop.merge(&a)?;
/// assert_eq!(report.changes().collect::<Vec<_>>(), ["apples"]);
/// assert_eq!((kitchen.state().quantity("apples"), kitchen.state()), (5, shop.state()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Crdt: Clone + Default + Send + Sync + 'static {
    /// The name that deltas carry, so that none is merged into another type. Change it when old readers would
    /// misunderstand new cells; as a rule never.
    ///
    /// At most [`MAX_SCHEMA_LEN`](crate::kernel::MAX_SCHEMA_LEN) bytes: with a longer one nothing that makes a
    /// [`Replica`](crate::Replica) of the type compiles.
    ///
    /// ```compile_fail
    /// # use driftless::{Crdt, EditError, Replica, State, kernel::Touched};
    /// #[derive(Clone, Default)]
    /// struct Mine(State);
    ///
    /// impl Crdt for Mine {
    ///     const SCHEMA: &'static str = str_of::<129>();
    /// #   type Change = ();
    /// #   fn state(&self) -> &State { &self.0 }
    /// #   fn state_mut(&mut self) -> &mut State { &mut self.0 }
    /// #   fn follow(&mut self, _: &Touched) {}
    /// #   fn describe(_: &Touched) -> Option<()> { None }
    /// }
    /// # const fn str_of<const N: usize>() -> &'static str {
    /// #     match std::str::from_utf8(&[b'a'; N]) { Ok(text) => text, Err(_) => "" }
    /// # }
    ///
    /// Replica::<Mine>::new();
    /// ```
    const SCHEMA: &'static str;

    /// What [`Replica::merge`](crate::Replica::merge) reports, in the terms of the type.
    type Change: Clone + fmt::Debug + Send;

    /// The state behind the value.
    fn state(&self) -> &State;

    /// The state, for the engine to change. Others find no method on it that changes anything.
    fn state_mut(&mut self) -> &mut State;

    /// Follows one changed cell with whatever the type derives from its cells.
    ///
    /// Called after each change, entity by entity: look at the touched entity alone, since others may be half merged. Must
    /// not panic, nor may the `Ord` and `Deserialize` of what it decodes: a replica whose merge panicked is to be discarded
    /// and loaded again.
    fn follow(&mut self, touched: &Touched);

    /// Follows all cells of one entity that a merge changed, or an edit that writes many at once. As provided, one after the other; a type that looks at the entity
    /// for each can look once.
    fn follow_all(&mut self, touched: &[Touched]) {
        touched.iter().for_each(|touched| self.follow(touched));
    }

    /// Ends a merge, or many writes of an edit at once, of which every step has been [followed](Self::follow_all). As provided, it does nothing; a type whose derived
    /// data is made faster in one go can keep changes back until then, since nobody reads it before: a graph does. So a type that passes
    /// `follow_all` on to another passes this on, too.
    fn finish_merge(&mut self) {}

    /// Tells what a changed cell means to a user, when the report of a merge, a [`Diff`](crate::Diff) or a
    /// [`Journal`](crate::Journal) is read.
    fn describe(touched: &Touched) -> Option<Self::Change>;

    /// Tells whether a changed cell needs no telling beside another one of its entity, which has been told: both are characters of one text, say. As
    /// provided, each is told.
    fn is_one_change(_told: &Touched, _touched: &Touched) -> bool {
        false
    }

    /// Writes what makes cells of one entity read as they [were](Touched::was): the part of
    /// [`Edit::revert_to`] that depends on how a type reads. `cells` are all that differ, by field.
    ///
    /// As provided, it [puts back](Edit::put_back) each cell by itself. A type in which another sibling shows than the
    /// latest does so by [its own rule](Edit::put_back_by). Cells that are *running totals* of replicas are not put back,
    /// since only its replica may write one: the type sums up by how much they differ from before and adds the difference
    /// to this replica's own total. What cannot be taken back is an error, and the edit fails.
    fn revert(edit: &mut Edit<'_, Self>, cells: &[Touched]) -> Result<(), EditError> {
        cells.iter().try_for_each(|cell| edit.put_back(cell).map(drop))
    }

    /// Ends what put cells [back](Self::revert), of many entities perhaps, where what one reads as depends on others. After
    /// [`Edit::revert_to`] all is to read as `like`; after [`Edit::take_back`] what was put back is `free`, and all else is to read as
    /// `like`, which is how it was before. As provided, it does nothing.
    fn finish_revert(_edit: &mut Edit<'_, Self>, _like: &Self, _free: bool) -> Result<(), EditError> {
        Ok(())
    }

    /// Tells whether the cells of a field are running totals: then what an edit added is [taken back](Edit::take_back) by its
    /// difference, whatever was counted since. As provided, there are none.
    fn is_total(_field: &Field) -> bool {
        false
    }
}

/// The longest [name of a type](Crdt::SCHEMA) in bytes that a delta is read with.
pub const MAX_SCHEMA_LEN: usize = 128;

/// Where time and randomness come from. A replica asks nobody else, so a test or a simulator can replay it exactly.
pub trait Environment: Send + Sync {
    /// Milliseconds since 1970-01-01 UTC.
    fn now_ms(&mut self) -> u64;

    /// Sixteen random bytes, for a new writer. Its id is a hash of them all, so that a test may count in any of the bytes.
    /// Replicas that are given the same bytes take each other for themselves, and lose writes.
    fn random(&mut self) -> [u8; 16];

    /// The process: a replica that finds itself in another one (by `fork`) goes on under a writer of its own.
    fn process(&mut self) -> u32 {
        std::process::id()
    }
}

/// The clock and the randomness of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn now_ms(&mut self) -> u64 {
        // A clock before 1970 is as wrong as one at 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }

    fn random(&mut self) -> [u8; 16] {
        *Uuid::new_v4().as_bytes()
    }
}

/// The author of writes: its writer, its clock, and what it needs from outside.
pub(crate) struct Author {
    /// The writer of this opening; drawn at its first write.
    pub(crate) writer: Option<WriterId>,
    /// The writer that the next one drawn goes on from.
    pub(crate) owner: Option<WriterId>,
    /// Name of the device, for the births of writers.
    pub(crate) device: Option<Arc<str>>,
    /// The line that the writer writes on, as far as it is known: see [`Version::mint`].
    line: Line,
    /// The process that drew the writer: a forked one draws its own.
    process: u32,
    pub(crate) clock: HybridClock,
    pub(crate) environment: Box<dyn Environment>,
    pub(crate) interner: Interner,
}

impl Author {
    pub(crate) fn new(environment: Box<dyn Environment>) -> Self {
        Self {
            writer: None,
            owner: None,
            device: None,
            line: 0,
            process: 0,
            clock: HybridClock::default(),
            environment,
            interner: Interner::default(),
        }
    }

    /// The writer of this opening, or the one that it goes on from.
    pub(crate) fn owner(&self) -> Option<WriterId> {
        self.writer.or(self.owner)
    }

    /// Goes on from a writer with the next one that is drawn.
    pub(crate) fn go_on_from(&mut self, owner: WriterId) {
        if self.writer.is_none() {
            self.owner = Some(owner);
        }
    }

    /// Writes as another author does: what a copy of a process in memory would do.
    #[cfg(feature = "testing")]
    pub(crate) fn copy_writer(&mut self, other: &Self) {
        (self.writer, self.owner, self.process) = (other.writer, other.owner, other.process);
        self.device = other.device.clone();
    }

    /// Has the next write draw a writer anew, which goes on from the present one.
    pub(crate) fn retire(&mut self) {
        self.owner = self.owner();
        self.writer = None;
    }

    /// Retires the writer if it was drawn by another process: a fork of memory continues one writer twice.
    pub(crate) fn begin(&mut self) {
        if self.writer.is_some() && self.environment.process() != self.process {
            self.retire();
        }
    }

    /// The writer of this opening; drawn and born now if it has not written.
    pub(crate) fn writer(&mut self, version: &mut Version) -> Result<WriterId, EditError> {
        if let Some(writer) = self.writer {
            return Ok(writer);
        }
        if let Some(owner) = self.owner.filter(|_| is(Bug::OwnersWriter)) {
            self.process = self.environment.process();
            return Ok(*self.writer.insert(owner));
        }
        let mut writer = self.draw();
        // Randomness that repeats itself does not make two writers one.
        while version.begins_after(writer) > 0 || version.get(writer) > 0 {
            writer = WriterId::from(hashed(writer.as_bytes())).drawn();
        }
        let parent = self.owner.and_then(|owner| version.goes_on_from(owner));
        let inherited = parent.and_then(|parent| version.device(parent.writer));
        let name = self.device.clone().filter(|name| inherited != Some(&**name));
        let born = version.bear(&Birth { writer, parent, name });
        born.map_err(|_| EditError::abort("the writer that was drawn is known already; try again"))?;
        self.process = self.environment.process();
        Ok(*self.writer.insert(writer))
    }

    fn draw(&mut self) -> WriterId {
        WriterId::from(hashed(&self.environment.random())).drawn()
    }

    /// Mints the next dot: the only place where one is made.
    pub(crate) fn mint(&mut self, version: &mut Version) -> Result<Dot, EditError> {
        let writer = self.writer(version)?;
        if let Some(dot) = version.mint(writer, &mut self.line) {
            return Ok(dot);
        }
        // Its counters are used up: the next writer is a root.
        (self.writer, self.owner) = (None, None);
        let writer = self.writer(version)?;
        version.mint(writer, &mut self.line).ok_or(EditError::CounterExhausted(writer))
    }
}

/// Ten bytes of a hash.
pub(crate) fn hashed(bytes: &[u8]) -> [u8; WriterId::LEN] {
    let mut id = [0; WriterId::LEN];
    id.copy_from_slice(&xxhash_rust::xxh3::xxh3_128(bytes).to_be_bytes()[..WriterId::LEN]);
    id
}

/// Whether a cell is to be written, as what its entity holds decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Go {
    No,
    Yes,
    /// And its type has just seen that nothing else in the entity bears on it.
    Alone,
}

impl Go {
    fn if_true(go: bool) -> Self {
        if go { Self::Yes } else { Self::No }
    }
}

/// A type being edited: all its methods for reading, and those for writing.
///
/// Given to the closure of [`Replica::edit`](crate::Replica::edit). All writes of one edit bear one stamp, so where two
/// edits collide in several places the same one shows everywhere. Characters of texts alone may bear an earlier one: see
/// [`TextMut`](crate::TextMut).
///
/// The methods of `Edit<Graph>` are what a graph can do. Those that every type has ([`write`](Self::write),
/// [`erase`](Self::erase), [`delete`](Self::delete)) are for those who make a type of their own, and check none of what
/// a type's own methods check.
pub struct Edit<'a, T> {
    target: &'a mut T,
    author: &'a mut Author,
    log: &'a mut Log<T>,
    stamp: Option<Stamp>,
    /// The stamp of earlier writes, which those that go on with them bear.
    repeated: Option<Stamp>,
    made: usize,
}

/// The path of a replica's last write.
#[derive(Clone)]
pub(crate) struct Own(Option<(Version, Dot)>);

impl Own {
    /// True if the dot lies on the path. O(lines + log writers).
    pub(crate) fn wrote(&self, dot: Dot) -> bool {
        self.0.as_ref().is_some_and(|(version, last)| version.is_on_path(dot, *last))
    }
}

impl<T> Deref for Edit<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.target
    }
}

impl<'a, T: Crdt> Edit<'a, T> {
    /// Every change goes to `log`, for whoever may have to undo them.
    pub(crate) fn new(target: &'a mut T, author: &'a mut Author, log: &'a mut Log<T>) -> Self {
        Self { target, author, log, stamp: None, repeated: None, made: 0 }
    }

    /// The writer that this edit writes under; drawn now if this is the first write since the replica was opened.
    pub fn writer(&mut self) -> Result<WriterId, EditError> {
        self.author.writer(&mut self.target.state_mut().version)
    }

    /// A writer that goes on from this one, for the rest of the opening.
    pub(crate) fn new_writer(&mut self) -> Result<WriterId, EditError> {
        self.author.retire();
        self.writer()
    }

    /// What this replica wrote, in this opening and in those that it goes on from.
    pub(crate) fn own(&self) -> Own {
        let version = self.target.state().version();
        let last = self.author.owner().and_then(|writer| version.last_of(writer));
        Own(last.map(|last| (version.clone(), last)))
    }

    /// The counter of this replica's last write, or of the one that it goes on from; 0 if there is none.
    pub(crate) fn last_counter(&self) -> u64 {
        let version = self.target.state().version();
        let of = |writer| version.get(writer).max(version.begins_after(writer));
        self.author.owner().map_or(0, of)
    }

    /// The writer of this opening, if it has written.
    pub(crate) fn present_writer(&self) -> Option<WriterId> {
        self.author.writer
    }

    /// Makes writes bear the stamp of an earlier write that they go on with, if that is at most so many milliseconds old and this edit has
    /// no stamp yet. For characters of texts, between which no stamp decides.
    pub(crate) fn going_on<R>(
        &mut self,
        with: Option<Stamp>,
        span: u64,
        write: impl FnOnce(&mut Self) -> Result<R, EditError>,
    ) -> Result<R, EditError> {
        if self.stamp.is_none() {
            let now = self.author.environment.now_ms();
            self.repeated = with.filter(|stamp| now.abs_diff(stamp.millis()) <= span);
        }
        let result = write(self);
        self.repeated = None;
        result
    }

    /// The number of writes that this edit has made.
    pub(crate) fn writes_made(&self) -> usize {
        self.made
    }

    /// Writes a cell: the new sibling replaces all that are there. A concurrent write stays beside it.
    pub fn write(&mut self, entity: Entity, field: &[u8], payload: Payload) -> Result<Dot, EditError> {
        let dot = self.put(entity, field, Some(payload), |_| Ok(Go::Yes))?;
        // Without a condition something is always written.
        dot.ok_or_else(|| EditError::abort("nothing was written"))
    }

    /// Writes a cell of an entity whose root is live. On any other it writes nothing and returns `None`.
    pub fn write_to_live(&mut self, entity: Entity, field: &[u8], payload: Payload) -> Result<Option<Dot>, EditError> {
        self.put(entity, field, Some(payload), |cells| Ok(Go::if_true(cells.is_live())))
    }

    /// Removes what a cell holds: writes a tombstone. A concurrent write survives. Returns whether anything was there;
    /// if not, nothing is written. The root is removed by [`delete`](Self::delete).
    pub fn erase(&mut self, entity: Entity, field: &[u8]) -> Result<bool, EditError> {
        if field.is_empty() {
            return self.delete(entity);
        }
        Ok(self.put(entity, field, None, |cells| Ok(Go::if_true(cells.live(field).next().is_some())))?.is_some())
    }

    /// Deletes an entity with one dot and one tombstone, whatever it holds: every cell of it that is seen here is dead.
    /// A field written concurrently survives. Returns whether anything was there; if not, nothing is written.
    pub fn delete(&mut self, entity: Entity) -> Result<bool, EditError> {
        let Some(cells) = self.target.state().cells(entity) else { return Ok(false) };
        if !cells.is_live() && !cells.has_live_fields() {
            return Ok(false);
        }
        let mut fields: Vec<Field> =
            cells.iter().map(|(field, _)| field.to_field()).filter(|field| !field.is_root()).collect();
        fields.dedup();
        if is(Bug::DeleteMissesCell) {
            fields.pop();
        }
        // First what can fail.
        self.put(entity, Field::ROOT.as_bytes(), None, |_| Ok(Go::Yes))?;
        for field in fields {
            let touched = self.target.state_mut().replace(entity, &field, Cell::new());
            self.follow(touched);
        }
        Ok(true)
    }

    /// Writes cells of different entities, like [`write`](Self::write), and follows them together: for what is derived in one go.
    pub(crate) fn write_all(
        &mut self,
        writes: impl IntoIterator<Item = (Entity, Field, Payload)>,
    ) -> Result<(), EditError> {
        let (mut all, mut result) = (Vec::new(), Ok(()));
        for (entity, field, payload) in writes {
            match self.put_unfollowed(entity, field.as_bytes(), Some(payload), |_| Ok(Go::Yes)) {
                Ok(written) => all.extend(written.map(|(_, touched)| touched)),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        all.iter().for_each(|touched| self.target.follow_all(std::slice::from_ref(touched)));
        self.target.finish_merge();
        self.made += all.len();
        self.log.push_all(all, self.target);
        result
    }

    /// Writes a sibling in place of all that a cell holds, if the entity is as it should be.
    pub(crate) fn put(
        &mut self,
        entity: Entity,
        field: &[u8],
        payload: Option<Payload>,
        condition: impl FnOnce(Cells<'_>) -> Result<Go, EditError>,
    ) -> Result<Option<Dot>, EditError> {
        let written = self.put_unfollowed(entity, field, payload, condition)?;
        Ok(written.map(|(dot, touched)| {
            self.made += 1;
            self.follow(touched);
            dot
        }))
    }

    fn put_unfollowed(
        &mut self,
        entity: Entity,
        field: &[u8],
        payload: Option<Payload>,
        condition: impl FnOnce(Cells<'_>) -> Result<Go, EditError>,
    ) -> Result<Option<(Dot, Touched)>, EditError> {
        let (len, limit) = (field.len(), MAX_FIELD_LEN);
        if len > limit {
            return Err(EditError::KeyTooLong { path: None, len, limit });
        }
        let (len, limit) = (payload.as_ref().map_or(0, |payload| payload.bytes().len()), MAX_PAYLOAD_LEN);
        if len > limit {
            return Err(EditError::ValueTooLong { path: None, len, limit });
        }
        let author = &mut *self.author;
        let tick = || *self.stamp.get_or_insert_with(|| author.clock.tick(author.environment.now_ms()));
        let stamp = self.repeated.unwrap_or_else(tick);
        self.target.state_mut().change(entity, |changing| {
            let go = condition(changing.cells())?;
            if go == Go::No {
                return Ok(None);
            }
            let dot = author.mint(changing.version)?;
            let field = author.interner.intern(field);
            let mut next = Cell::single(Sibling { dot, stamp, payload });
            if is(Bug::SiblingsStay) {
                changing.cells().siblings(field.as_bytes()).for_each(|sibling| next.insert(sibling.to_sibling()));
            }
            let mut touched = changing.replace(&field, next);
            touched.is_alone = go == Go::Alone;
            Ok(Some((dot, touched)))
        })
    }

    fn follow(&mut self, touched: Touched) {
        self.target.follow(&touched);
        self.log.push_all([touched], self.target);
    }
}

/// How many changes of an edit are undone one by one: the cells of some hundred nodes.
const SHORT: usize = 1024;

/// What it takes to undo an edit.
///
/// The first 1,024 changes are kept one by one, so that a usual edit writes in place wherever no snapshot shares the
/// memory. Then a snapshot is taken, and what comes after it is undone by going back to it. So undoing costs at most 1,024
/// changes, O(log n) each, and the freeing of what was written, and the log of a huge edit takes no memory for each change.
#[derive(Debug)]
pub(crate) struct Log<T> {
    changes: Vec<Before>,
    /// The target after a number of changes, and that number.
    snapshot: Option<(T, usize)>,
    /// True if changes are kept after the snapshot too: for the journal.
    pub(crate) keeps_all: bool,
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self { changes: Vec::new(), snapshot: None, keeps_all: false }
    }
}

impl<T: Crdt> Log<T> {
    /// Adds changes that the target has just followed.
    pub(crate) fn push_all(&mut self, touched: impl IntoIterator<Item = Touched>, target: &T) {
        if self.snapshot.is_none() || self.keeps_all {
            self.changes.extend(touched.into_iter().map(Touched::into_before));
        }
        if self.snapshot.is_none() && self.changes.len() >= SHORT {
            self.snapshot = Some((target.clone(), self.changes.len()));
        }
    }

    /// All changes, if the log keeps all.
    pub(crate) fn changes(&self) -> &[Before] {
        &self.changes
    }

    /// Makes a target what it was before the first change, but for its version.
    pub(crate) fn undo(&mut self, target: &mut T) {
        if let Some((snapshot, changes)) = self.snapshot.take() {
            *target = snapshot;
            self.changes.truncate(changes);
        }
        if is(Bug::UndoForwards) {
            self.changes.reverse();
        }
        for before in self.changes.drain(..).rev() {
            visits::count(1);
            let undone = target.state_mut().undo(before);
            if !is(Bug::UndoNotFollowed) {
                target.follow(&undone);
            }
        }
    }

    /// Forgets all changes; keeps room for the next ones, some 20 KB.
    pub(crate) fn clear(&mut self) {
        self.snapshot = None;
        self.changes.clear();
        self.changes.shrink_to(SHORT / 4);
    }
}

impl<T: fmt::Debug> fmt::Debug for Edit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Edit").field(&self.target).finish()
    }
}
