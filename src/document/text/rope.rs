//! The letters that a text shows, in order, with sums: a persistent B+ tree.
//!
//! An entry is a cell with the letters that it shows, or [letters in a row](Row) with one field for all; entries are sorted by field, and so in
//! the order of the text, and nothing lies between the letters of a row. Each node knows the
//! [`Extent`] of what lies below it, so an offset in any unit is found by one descent, and so is the offset of a field. Nodes
//! are counted references: a clone is O(1), and two versions of a text share what they have in common, by which [`Rope::splices`]
//! compares them.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::{Add, AddAssign};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::bugs::{Bug, is};
use crate::kernel::{Field, FieldRef};
use crate::offset::Offset;
use crate::position::{LONG, Row};

/// Lengths of a piece of text.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Extent {
    /// Unicode scalar values.
    pub scalars: usize,
    /// UTF-16 code units.
    pub utf16: usize,
    /// Bytes of UTF-8.
    pub bytes: usize,
    /// Newlines (U+000A).
    pub newlines: usize,
}

impl Extent {
    fn of(letter: char) -> Self {
        Self { scalars: 1, utf16: letter.len_utf16(), bytes: letter.len_utf8(), newlines: usize::from(letter == '\n') }
    }

    /// The length of a string. O(n).
    pub fn of_str(text: &str) -> Self {
        text.chars().map(Self::of).fold(Self::default(), Self::add)
    }

    /// The length in the unit of an offset.
    pub(super) fn measure(&self, unit: Offset) -> usize {
        match unit {
            Offset::Scalar(_) => self.scalars,
            Offset::Utf16(_) => self.utf16,
            Offset::Byte(_) => self.bytes,
            Offset::Line(_) => self.newlines,
        }
    }
}

impl Add for Extent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            scalars: self.scalars + other.scalars,
            utf16: self.utf16 + other.utf16,
            bytes: self.bytes + other.bytes,
            newlines: self.newlines + other.newlines,
        }
    }
}

impl AddAssign for Extent {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The letters that one cell shows: at least one, and nearly always no more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::document) enum Shown {
    One(char),
    /// Different letters under one position, in the order of their dots.
    Several(Arc<[char]>),
}

impl Shown {
    /// `None` if there is no letter.
    pub(super) fn of(mut letters: impl Iterator<Item = char>) -> Option<Self> {
        let first = letters.next()?;
        let Some(second) = letters.next().map(|second| [first, second]) else { return Some(Self::One(first)) };
        Some(Self::Several(second.into_iter().chain(letters).collect()))
    }

    pub(in crate::document) fn letters(&self) -> &[char] {
        match self {
            Self::One(letter) => std::slice::from_ref(letter),
            Self::Several(letters) => letters,
        }
    }

    fn extent(&self) -> Extent {
        self.letters().iter().map(|letter| Extent::of(*letter)).fold(Extent::default(), Extent::add)
    }
}

/// A field, and the letters that show at it.
#[derive(Clone, PartialEq, Debug)]
struct Entry {
    field: Field,
    holds: Holds,
}

#[derive(Clone, PartialEq, Debug)]
enum Holds {
    Cell(Shown),
    /// The letters of several cells; the field is that of the first.
    Row(Arc<InRow>),
}

// `Eq`, so that those in one place are equal without a look at them.
#[derive(Clone, PartialEq, Eq, Debug)]
struct InRow {
    row: Row,
    extent: Short,
    text: String,
}

/// The extent of letters in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Short {
    scalars: u16,
    utf16: u16,
    bytes: u16,
    newlines: u16,
}

/// A row has [few](LONG) letters.
impl From<Extent> for Short {
    fn from(Extent { scalars, utf16, bytes, newlines }: Extent) -> Self {
        let [scalars, utf16, bytes, newlines] = [scalars, utf16, bytes, newlines].map(|len| len as u16);
        Self { scalars, utf16, bytes, newlines }
    }
}

impl From<Short> for Extent {
    fn from(Short { scalars, utf16, bytes, newlines }: Short) -> Self {
        let [scalars, utf16, bytes, newlines] = [scalars, utf16, bytes, newlines].map(usize::from);
        Self { scalars, utf16, bytes, newlines }
    }
}

impl InRow {
    /// The byte at which the letter of a place begins.
    fn byte_of(&self, place: usize) -> usize {
        match self.text.len() == self.row.len() {
            true => place,
            false => self.text.char_indices().nth(place).map_or(self.text.len(), |(at, _)| at),
        }
    }
}

impl Entry {
    fn new(field: &Field, shown: Shown) -> Self {
        Self { field: field.clone(), holds: Holds::Cell(shown) }
    }

    fn extent(&self) -> Extent {
        match &self.holds {
            Holds::Cell(shown) => shown.extent(),
            Holds::Row(row) => row.extent.into(),
        }
    }

    /// The number of cells.
    fn len(&self) -> usize {
        match &self.holds {
            Holds::Cell(_) => 1,
            Holds::Row(row) => row.row.len(),
        }
    }

    fn letters(&self) -> EntryLetters<'_> {
        match &self.holds {
            Holds::Cell(shown) => EntryLetters::Cell(shown.letters().iter()),
            Holds::Row(row) => EntryLetters::Row(row.text.chars()),
        }
    }

    /// The field of the cell at a place.
    fn field(&self, place: usize) -> FieldRef<'_> {
        match &self.holds {
            Holds::Row(row) if place > 0 => FieldRef::made(&row.row.field(self.field.as_bytes(), place)),
            _ => (&self.field).into(),
        }
    }

    /// The place of the cell of a field, or that at which it would be.
    fn place(&self, field: &[u8]) -> Result<usize, usize> {
        match &self.holds {
            Holds::Row(row) => row.row.place(self.field.as_bytes(), field),
            Holds::Cell(_) => match self.field.as_bytes().cmp(field) {
                Ordering::Equal => Ok(0),
                Ordering::Less => Err(1),
                Ordering::Greater => Err(0),
            },
        }
    }

    /// The extent of the cells before a place.
    fn before(&self, place: usize) -> Extent {
        match &self.holds {
            _ if place == self.len() => self.extent(),
            Holds::Row(row) => Extent::of_str(&row.text[..row.byte_of(place)]),
            Holds::Cell(_) => Extent::default(),
        }
    }

    /// The cells from one place to another; `None` for none.
    fn part(&self, from: usize, to: usize) -> Option<Self> {
        let row = match &self.holds {
            Holds::Row(row) => row,
            Holds::Cell(_) => return Some(self.clone()).filter(|_| from < to),
        };
        let part = row.row.part(from, to)?;
        let text = &row.text[row.byte_of(from)..row.byte_of(to)];
        let field = self.field(from).to_field();
        let holds = match (part.len(), text.chars().next()) {
            (1, Some(letter)) => Holds::Cell(Shown::One(letter)),
            _ => Holds::Row(Arc::new(InRow { row: part, extent: Extent::of_str(text).into(), text: text.to_owned() })),
        };
        Some(Self { field, holds })
    }

    /// The row of the letters; `None` if they cannot be in one.
    fn row(&self) -> Option<Row> {
        match &self.holds {
            Holds::Row(row) => Some(row.row),
            Holds::Cell(Shown::One(_)) => Row::of(self.field.as_bytes()),
            Holds::Cell(Shown::Several(_)) => None,
        }
    }

    /// Appends the next entry if both are letters in a row. Returns whether it did.
    fn append(&mut self, next: &Self) -> bool {
        let Some(more) = next.row() else { return false };
        let Some(row) = self.row().filter(|row| row.goes_on(self.field.as_bytes(), &more, next.field.as_bytes()))
        else {
            return false;
        };
        if let Holds::Cell(shown) = &self.holds {
            let text = shown.letters().iter().collect();
            self.holds = Holds::Row(Arc::new(InRow { row, extent: self.extent().into(), text }));
        }
        if let Holds::Row(row) = &mut self.holds {
            let row = Arc::make_mut(row);
            row.row.append(&more);
            row.extent = (Extent::from(row.extent) + next.extent()).into();
            row.text.extend(next.letters());
        }
        true
    }
}

/// The letters of an entry.
#[derive(Clone)]
enum EntryLetters<'a> {
    Cell(std::slice::Iter<'a, char>),
    Row(std::str::Chars<'a>),
}

impl Iterator for EntryLetters<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::Cell(letters) => letters.next().copied(),
            Self::Row(letters) => letters.next(),
        }
    }
}

/// Says in a leaf what a cell shows from now on. Returns whether the last entry changed.
fn set_in(leaf: &mut Vec<Entry>, field: &Field, shown: Option<Shown>) -> bool {
    let at = leaf.partition_point(|entry| entry.field <= *field);
    // The entry that holds the cell, or that reaches across its place.
    let around = at.checked_sub(1).map(|before| (before, &leaf[before], leaf[before].place(field.as_bytes())));
    if shown.is_none() && !matches!(around, Some((.., Ok(_)))) {
        return false;
    }
    let (range, [left, right]) = match around {
        Some((before, entry, Ok(place))) => (before..at, [entry.part(0, place), entry.part(place + 1, entry.len())]),
        Some((before, entry, Err(place))) if place < entry.len() => {
            (before..at, [entry.part(0, place), entry.part(place, entry.len())])
        }
        _ => (at..at, [None, None]),
    };
    let place = range.start + usize::from(left.is_some());
    let new = shown.map(|shown| Entry::new(field, shown));
    leaf.splice(range, [left, new, right].into_iter().flatten());
    let is_last = place + 1 >= leaf.len();
    // A gap between two rows may have been filled, or what stood between them is gone.
    for left in [Some(place), place.checked_sub(1)].into_iter().flatten() {
        let pair = leaf.get_mut(left..).and_then(|rest| rest.first_chunk_mut());
        if pair.is_some_and(|[entry, next]| entry.append(next)) {
            leaf.remove(left + 1);
        }
    }
    is_last
}

/// The most entries of a leaf, and children of a branch.
const WIDE: usize = 64;

/// The most letters of a leaf, unless one cell shows more.
const MOST: usize = 4 * LONG;

/// Neighbours that have no more together are joined.
const NARROW: usize = WIDE / 2;

#[derive(Clone, Debug)]
enum Node {
    Leaf(Arc<Vec<Entry>>),
    Branch(Arc<Vec<Child>>),
}

/// A node with what is known of it.
#[derive(Clone, Debug)]
struct Child {
    node: Node,
    extent: Extent,
    /// The field of the first entry.
    first: Field,
}

impl Child {
    /// `None` if the node holds nothing.
    fn of(node: Node) -> Option<Self> {
        let (extent, first) = match &node {
            Node::Leaf(entries) => {
                (entries.iter().map(Entry::extent).fold(Extent::default(), Extent::add), entries.first()?.field.clone())
            }
            Node::Branch(children) => (
                children.iter().map(|child| child.extent).fold(Extent::default(), Extent::add),
                children.first()?.first.clone(),
            ),
        };
        Some(Self { node, extent, first })
    }

    fn of_leaf(entries: Vec<Entry>) -> Option<Self> {
        Self::of(Node::Leaf(Arc::new(entries)))
    }

    fn of_branch(children: Vec<Child>) -> Option<Self> {
        Self::of(Node::Branch(Arc::new(children)))
    }

    /// Sets or removes an entry. Returns what takes the child's place: nothing, one node or two.
    fn set(self, field: &Field, shown: Option<Shown>) -> [Option<Self>; 2] {
        match self.node {
            Node::Leaf(mut leaf) => {
                let entries = Arc::make_mut(&mut leaf);
                let is_at_end = set_in(entries, field, shown);
                let letters: usize = entries.iter().map(|entry| entry.extent().scalars).sum();
                let right = (entries.len() > WIDE || (letters > MOST && entries.len() > 1)).then(|| {
                    // A text that is typed at its end leaves full leaves behind.
                    let full = (entries.len() - 1).min(WIDE);
                    let right = entries.split_off(if is_at_end { full } else { entries.len() / 2 });
                    entries.shrink_to_fit();
                    right
                });
                [Self::of(Node::Leaf(leaf)), right.and_then(Self::of_leaf)]
            }
            Node::Branch(mut branch) => {
                let children = Arc::make_mut(&mut branch);
                let at = child_of(children, field);
                let [left, right] = children.remove(at).set(field, shown);
                children.splice(at..at, left.into_iter().chain(right));
                join(children, at);
                let right = (children.len() > WIDE).then(|| children.split_off(WIDE / 2));
                [Self::of(Node::Branch(branch)), right.and_then(Self::of_branch)]
            }
        }
    }

    fn len(&self) -> usize {
        match &self.node {
            Node::Leaf(entries) => entries.len(),
            Node::Branch(children) => children.len(),
        }
    }
}

/// The child in which a field is, or would be.
fn child_of(children: &[Child], field: &Field) -> usize {
    children.partition_point(|child| child.first <= *field).saturating_sub(1)
}

/// Joins a child with its neighbour if both are small.
fn join(children: &mut Vec<Child>, at: usize) {
    let Some(at) = [at.checked_sub(1), Some(at)].into_iter().flatten().find(|left| {
        let pair = children.get(*left).zip(children.get(left + 1));
        pair.is_some_and(|(left, right)| {
            let is_short = left.extent.scalars + right.extent.scalars <= MOST;
            left.len() + right.len() <= NARROW && (is_short || matches!(left.node, Node::Branch(_)))
        })
    }) else {
        return;
    };
    let right = children.remove(at + 1);
    let left = children.remove(at);
    let joined = match (left.node, right.node) {
        (Node::Leaf(left), Node::Leaf(right)) => Child::of_leaf([&left[..], &right[..]].concat()),
        (Node::Branch(left), Node::Branch(right)) => Child::of_branch([&left[..], &right[..]].concat()),
        // All leaves lie equally deep.
        _ => None,
    };
    children.splice(at..at, joined);
}

/// A leaf, and the number of its letters.
type LeafRef<'a> = (&'a Arc<Vec<Entry>>, usize);

/// The letters that a text shows.
#[derive(Clone, Default, Debug)]
pub(crate) struct Rope(Option<Child>);

impl Rope {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(in crate::document) fn extent(&self) -> Extent {
        self.0.as_ref().map_or_else(Extent::default, |root| root.extent)
    }

    /// Says what a cell shows from now on. O(log n).
    pub(in crate::document) fn set(&mut self, field: &Field, shown: Option<Shown>) {
        let root = match (self.0.take(), shown) {
            (None, Some(shown)) => Child::of_leaf(vec![Entry::new(field, shown)]),
            (None, None) => None,
            (Some(root), shown) => match root.set(field, shown) {
                [Some(left), Some(right)] => Child::of_branch(vec![left, right]),
                [left, right] => left.or(right),
            },
        };
        self.0 = root;
        // A branch of one child is that child.
        while let Some(Child { node: Node::Branch(children), .. }) = &self.0
            && children.len() == 1
        {
            self.0 = children.first().cloned();
        }
    }

    /// The shortest beginning that reaches an offset: it ends there, or, if the offset lies inside a letter, behind that letter. `None` beyond the
    /// end. O(log n).
    pub(super) fn reach(&self, to: Offset) -> Option<Extent> {
        let (mut before, mut node) = (Extent::default(), self.0.as_ref());
        let wanted = to.value();
        if self.extent().measure(to) < wanted {
            return None;
        }
        while let Some(child) = node.filter(|_| before.measure(to) < wanted) {
            match &child.node {
                Node::Branch(children) => {
                    node = children.iter().find(|child| {
                        let reaches = (before + child.extent).measure(to) >= wanted;
                        if !reaches {
                            before += child.extent;
                        }
                        reaches
                    });
                }
                Node::Leaf(entries) => {
                    let short = entries.iter().find(|entry| {
                        let reaches = (before + entry.extent()).measure(to) >= wanted;
                        if !reaches {
                            before += entry.extent();
                        }
                        reaches
                    });
                    for letter in short.into_iter().flat_map(Entry::letters) {
                        if before.measure(to) >= wanted {
                            break;
                        }
                        before += Extent::of(letter);
                    }
                    node = None;
                }
            }
        }
        Some(before)
    }

    /// The extent of what is shown by cells up to one, with that one or without. O(log n).
    pub(in crate::document) fn before(&self, field: &[u8], including: bool) -> Extent {
        let is_before = |other: &Field| match including {
            true => other.as_bytes() <= field,
            false => other.as_bytes() < field,
        };
        let (mut before, mut node) = (Extent::default(), self.0.as_ref());
        while let Some(child) = node {
            match &child.node {
                Node::Branch(children) => {
                    let at = children.partition_point(|child| is_before(&child.first));
                    before +=
                        children[..at.saturating_sub(1)].iter().map(|c| c.extent).fold(Extent::default(), Extent::add);
                    node = at.checked_sub(1).and_then(|at| children.get(at));
                }
                Node::Leaf(entries) => {
                    let at = entries.partition_point(|entry| is_before(&entry.field));
                    let (last, all) =
                        entries[..at].split_last().map_or((None, &[][..]), |(last, all)| (Some(last), all));
                    before += all.iter().map(Entry::extent).fold(Extent::default(), Extent::add);
                    if let Some(last) = last {
                        let place = match last.place(field) {
                            Ok(place) => place + usize::from(including),
                            Err(place) => place,
                        };
                        before += last.before(place);
                    }
                    node = None;
                }
            }
        }
        before
    }

    /// The first cell from some bytes on. O(log n).
    pub(super) fn first_from(&self, field: &[u8]) -> Option<FieldRef<'_>> {
        self.letters(self.before(field, false).scalars).next().map(|letter| letter.field())
    }

    /// The letters from one on, each with its cell. O(log n), and O(1) each.
    pub(in crate::document) fn letters(&self, from: usize) -> Letters<'_> {
        let (mut left, mut node) = (from, self.0.as_ref());
        let (mut above, mut entries) = (Vec::new(), [].iter());
        while let Some(child) = node {
            match &child.node {
                Node::Branch(children) => {
                    let at = children.iter().position(|child| {
                        let holds = left < child.extent.scalars;
                        left -= if holds { 0 } else { child.extent.scalars };
                        holds
                    });
                    let mut rest = children[at.unwrap_or(children.len())..].iter();
                    node = rest.next();
                    above.push(rest);
                }
                Node::Leaf(leaf) => {
                    entries = leaf.iter();
                    node = None;
                }
            }
        }
        // At most the entries of one leaf, and the letters of one entry.
        while let Some(entry) = entries.as_slice().first().filter(|entry| left >= entry.extent().scalars) {
            left -= entry.extent().scalars;
            entries.next();
        }
        let mut letters = Letters { above, entries, entry: None };
        while left > 0 && letters.next().is_some() {
            left -= 1;
        }
        letters
    }

    /// The differences from an older text, from the left: how many scalars stand before, how many are to be deleted there, and what is to be
    /// inserted. O(pieces of some 64 letters + what differs).
    pub(super) fn splices(&self, older: &Self) -> Vec<Splice> {
        let (old, new) = (older.leaves(), self.leaves());
        // Most of a text is the same, at both ends.
        let same = |(old, new): &(&LeafRef<'_>, &LeafRef<'_>)| Arc::ptr_eq(old.0, new.0);
        let head = old.iter().zip(&new).take_while(same).count();
        let at = new[..head].iter().map(|(_, len)| len).sum();
        let (old, new) = (&old[head..], &new[head..]);
        let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
        let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
        let address = |leaf: &LeafRef<'_>| Arc::as_ptr(leaf.0).addr();
        let known: HashSet<usize> = old.iter().map(address).collect();
        let shared: HashSet<usize> = new.iter().map(address).filter(|at| known.contains(at)).collect();
        let is_shared = |leaf: &&LeafRef<'_>| shared.contains(&address(leaf));
        let mut found = Found { at, end: 0, splices: Vec::new() };
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        // Shared leaves come in the same order, so between two of them the others stand face to face.
        loop {
            let gone = std::iter::from_fn(|| old.next_if(|leaf| !is_shared(leaf)));
            let gone: Vec<&Entry> = gone.flat_map(|(leaf, _)| leaf.iter()).collect();
            let come = std::iter::from_fn(|| new.next_if(|leaf| !is_shared(leaf)));
            let come: Vec<&Entry> = come.flat_map(|(leaf, _)| leaf.iter()).collect();
            // Most entries of a leaf are those that it had before.
            let head = gone.iter().zip(&come).take_while(|(old, new)| old == new).count();
            let (gone, (same_before, come)) = (&gone[head..], come.split_at(head));
            let tail = gone.iter().rev().zip(come.iter().rev()).take_while(|(old, new)| old == new).count();
            let (came, same) = come.split_at(come.len() - tail);
            let letters = |entries: &[&Entry]| entries.iter().map(|entry| entry.extent().scalars).sum::<usize>();
            found.at += letters(same_before);
            found.compare(cells_of(&gone[..gone.len() - tail]), cells_of(came));
            found.at += letters(same);
            if old.next().is_none() {
                return found.splices;
            }
            found.at += new.next().map_or(0, |(_, len)| *len);
        }
    }

    fn leaves(&self) -> Vec<LeafRef<'_>> {
        let mut found = Vec::new();
        let mut open: Vec<&Child> = self.0.iter().collect();
        while let Some(child) = open.pop() {
            match &child.node {
                Node::Leaf(leaf) => found.push((leaf, child.extent.scalars)),
                Node::Branch(children) => open.extend(children.iter().rev()),
            }
        }
        found
    }

    /// Checks sums, sizes and order, and compares the letters with those that the cells show.
    #[cfg(feature = "testing")]
    pub(super) fn check(&self, expected: &[(Field, Shown)]) -> Result<(), String> {
        let found: Vec<(Field, char)> =
            self.letters(0).map(|letter| (letter.field().to_field(), letter.letter)).collect();
        let expected =
            expected.iter().flat_map(|(field, shown)| shown.letters().iter().map(|letter| (field.clone(), *letter)));
        let expected: Vec<(Field, char)> = expected.collect();
        if found != expected {
            return Err(format!("a text shows {found:?}, and its cells {expected:?}"));
        }
        let mut open: Vec<&Child> = self.0.iter().collect();
        while let Some(child) = open.pop() {
            let fresh = Child::of(child.node.clone()).ok_or("an empty node")?;
            if (fresh.extent, &fresh.first) != (child.extent, &child.first) || child.len() > WIDE {
                return Err("sums of a text that are not up to date".into());
            }
            if let Node::Leaf(entries) = &child.node
                && entries
                    .iter()
                    .any(|entry| entry.letters().map(Extent::of).fold(Extent::default(), Extent::add) != entry.extent())
            {
                return Err("sums of letters in a row that are not up to date".into());
            }
            if let Node::Branch(children) = &child.node {
                open.extend(children.iter());
            }
        }
        Ok(())
    }
}

/// A letter where it lies.
#[derive(Clone, Copy)]
pub(in crate::document) struct LetterRef<'a> {
    pub(in crate::document) letter: char,
    entry: &'a Entry,
    /// The place among the letters of the entry.
    at: usize,
}

impl<'a> LetterRef<'a> {
    /// The field of its cell.
    pub(in crate::document) fn field(self) -> FieldRef<'a> {
        self.entry.field(self.at)
    }

    /// Returns whether it is of the same cell as another.
    pub(in crate::document) fn is_beside(self, other: Self) -> bool {
        std::ptr::eq(self.entry, other.entry) && matches!(self.entry.holds, Holds::Cell(_))
    }
}

/// Letters in order.
#[derive(Clone)]
pub(in crate::document) struct Letters<'a> {
    /// The children that are still to come, from the root down.
    above: Vec<std::slice::Iter<'a, Child>>,
    entries: std::slice::Iter<'a, Entry>,
    /// The current entry, the place of its letter that comes next, and the rest of its letters.
    entry: Option<(&'a Entry, usize, EntryLetters<'a>)>,
}

impl<'a> Iterator for Letters<'a> {
    type Item = LetterRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((entry, at, rest)) = &mut self.entry
                && let Some(letter) = rest.next()
            {
                *at += 1;
                return Some(LetterRef { letter, entry, at: *at - 1 });
            }
            self.entry = self.entries.next().map(|entry| (entry, 0, entry.letters()));
            if self.entry.is_some() {
                continue;
            }
            let child = loop {
                match self.above.last_mut()?.next() {
                    Some(child) => break child,
                    None => drop(self.above.pop()),
                }
            };
            match &child.node {
                Node::Leaf(entries) => self.entries = entries.iter(),
                Node::Branch(children) => self.above.push(children.iter()),
            }
        }
    }
}

/// One change of a text: at an offset, some scalars are deleted and others inserted.
///
/// Changes are made one after the other: the offset of each counts what the changes before it made of the text.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Splice {
    /// The offset in scalars.
    pub at: usize,
    /// The number of scalars that are deleted there.
    pub deleted: usize,
    /// The text that is inserted there.
    pub inserted: String,
}

/// The field of a cell, and what it shows.
type CellRef<'a> = (FieldRef<'a>, SmallVec<[char; 1]>);

/// The cells of some entries.
fn cells_of<'a>(entries: &'a [&'a Entry]) -> impl Iterator<Item = CellRef<'a>> {
    entries.iter().flat_map(|entry| {
        let all: SmallVec<[CellRef<'a>; 1]> = match &entry.holds {
            Holds::Cell(shown) => SmallVec::from_buf([(entry.field(0), shown.letters().into())]),
            Holds::Row(_) => {
                (0..).zip(entry.letters()).map(|(at, l)| (entry.field(at), SmallVec::from_buf([l]))).collect()
            }
        };
        all
    })
}

/// Splices in the making.
struct Found {
    /// The offset in the newer text that has been reached.
    at: usize,
    /// The offset at which the last splice ends.
    end: usize,
    splices: Vec<Splice>,
}

impl Found {
    fn compare<'e>(&mut self, gone: impl Iterator<Item = CellRef<'e>>, come: impl Iterator<Item = CellRef<'e>>) {
        let (mut gone, mut come) = (gone.peekable(), come.peekable());
        loop {
            let order = match (gone.peek(), come.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let old = if order.is_le() { gone.next() } else { None };
            let new = if order.is_ge() { come.next() } else { None };
            let [old, new] = [&old, &new].map(|cell| cell.as_ref().map_or(&[][..], |(_, letters)| letters));
            if old == new || (new.is_empty() && is(Bug::DeletionUntold)) {
                self.at += new.len();
            } else {
                self.replace(old.len(), new);
            }
        }
    }

    fn replace(&mut self, deleted: usize, inserted: &[char]) {
        match self.splices.last_mut() {
            // It goes on where the last one ended.
            Some(last) if self.end == self.at => {
                last.deleted += deleted;
                last.inserted.extend(inserted);
            }
            _ => self.splices.push(Splice { at: self.at, deleted, inserted: inserted.iter().collect() }),
        }
        self.at += inserted.len();
        self.end = self.at;
    }
}
