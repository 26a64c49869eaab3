//! Deltas that nobody would make and every reader takes for well-formed: any claim about any writer, any birth, any write to
//! any cell, in the one spelling that the format has for it.

use std::collections::{BTreeMap, BTreeSet};

use driftless::testing::{SpelledPart, SpelledWrite, seal_message, spell_parts};
use driftless::{Crdt, Replica, State, Version, WriterId};

use crate::input::Input;

/// Of a writer.
type Id = [u8; WriterId::LEN];

/// Of an entity.
type EntityId = [u8; 16];

type Dot = (Id, u64);

/// A version as its heads, by writer.
type Heads = BTreeMap<Id, u64>;

/// A field and a dot.
type Place = (Vec<u8>, Id, u64);

/// Devices that nobody has heard of.
const STRANGERS: u8 = 4;

fn heads(version: &Version) -> Heads {
    version.heads().iter().map(|head| (*head.writer.as_bytes(), head.counter)).collect()
}

#[derive(Default)]
struct Part {
    whole: bool,
    known: BTreeSet<Place>,
    /// Stamp, kind of payload plus one or 0, bytes.
    writes: BTreeMap<Place, (u64, u16, Vec<u8>)>,
}

/// How a writer began: the dot that it continues, and the name of its device.
struct Birth {
    parent: Option<Dot>,
    name: Option<String>,
}

/// The replica that a delta is for.
pub(crate) struct Receiver {
    seen: Heads,
    pruned: Heads,
    version: Version,
    /// The number of writes that it has seen.
    writes: u64,
}

impl Receiver {
    pub(crate) fn of<T: Crdt>(replica: &Replica<T>) -> Self {
        let (version, pruned) = (replica.version().clone(), heads(replica.state().state().pruned()));
        Self { seen: heads(&version), pruned, version, writes: replica.complete().len() as u64 }
    }
}

/// What hostile deltas are about, so that they hit something.
pub(crate) struct Palette {
    pub(crate) schema: &'static str,
    pub(crate) writers: Vec<Id>,
    /// Dots that are alive, and heads.
    pub(crate) dots: Vec<Dot>,
    pub(crate) entities: Vec<(u8, EntityId)>,
    pub(crate) fields: Vec<Vec<u8>>,
    pub(crate) payloads: Vec<(u8, Vec<u8>)>,
}

impl Palette {
    /// All that a few states hold, and a stranger.
    pub(crate) fn of<'a>(schema: &'static str, states: impl IntoIterator<Item = &'a State>) -> Self {
        let (mut dots, mut entities) =
            (BTreeSet::from([(stranger(0), 1)]), BTreeSet::from([(0, [0; 16]), (9, [1; 16])]));
        let (mut fields, mut payloads) =
            (BTreeSet::from([Vec::new(), vec![2, 0, 2]]), BTreeSet::from([(16, Vec::new())]));
        for state in states {
            dots.extend(heads(state.version()));
            for (entity, field, sibling) in state.live_siblings() {
                dots.insert((*sibling.dot.writer.as_bytes(), sibling.dot.counter));
                entities.insert((entity.kind(), *entity.id()));
                fields.insert(field.as_bytes().to_vec());
                payloads.extend(sibling.payload.as_ref().map(|payload| (payload.kind(), payload.bytes().to_vec())));
            }
        }
        let writers: BTreeSet<Id> = dots.iter().map(|(writer, _)| *writer).collect();
        let (writers, dots) = (writers.into_iter().collect(), dots.into_iter().collect());
        let (entities, fields) = (entities.into_iter().collect(), fields.into_iter().collect());
        Self { schema, writers, dots, entities, fields, payloads: payloads.into_iter().collect() }
    }

    pub(crate) fn entity(&self, input: &mut Input<'_>) -> (u8, EntityId) {
        match input.byte() {
            255 => (input.byte() % 4, input.array()),
            n => self.entities[usize::from(n) % self.entities.len()],
        }
    }

    pub(crate) fn field(&self, input: &mut Input<'_>) -> Vec<u8> {
        match input.byte() {
            200.. => input.bytes().to_vec(),
            n => self.fields[usize::from(n) % self.fields.len()].clone(),
        }
    }

    pub(crate) fn payload(&self, input: &mut Input<'_>) -> (u8, Vec<u8>) {
        match input.byte() {
            200.. => (input.byte() % 40, input.bytes().to_vec()),
            n => self.payloads[usize::from(n) % self.payloads.len()].clone(),
        }
    }

    fn dot(&self, input: &mut Input<'_>) -> Dot {
        match input.byte() {
            230.. => (*input.pick(&self.writers), input.number().max(1)),
            n => self.dots[usize::from(n) % self.dots.len()],
        }
    }
}

fn stranger(n: u8) -> Id {
    [0x70 + n % STRANGERS; WriterId::LEN]
}

/// A delta in plain words.
pub(crate) struct Hostile {
    /// 1 incremental, 2 complete, 3 reconciled.
    kind: u8,
    schema: &'static str,
    fingerprint: Option<[u8; 16]>,
    /// How many writes it says that it tells of.
    news: u64,
    since: Heads,
    upto: Heads,
    pruned: Heads,
    at: Heads,
    births: BTreeMap<Id, Birth>,
    dead: BTreeMap<Id, BTreeMap<u64, u64>>,
    parts: BTreeMap<(u8, EntityId), Part>,
    /// Stretches of dots that are news: a writer, the counter before the first, the last.
    room: Vec<(Id, u64, u64)>,
}

impl Hostile {
    /// A delta as the input says. What would make it malformed is bent until it is not.
    pub(crate) fn new(input: &mut Input<'_>, palette: &Palette, receiver: &Receiver) -> Self {
        let kind = input.below(3) as u8 + 1;
        let mut delta = Self {
            kind,
            schema: palette.schema,
            fingerprint: None,
            news: 0,
            since: receiver.seen.clone(),
            upto: receiver.seen.clone(),
            pruned: Heads::new(),
            at: Heads::new(),
            births: BTreeMap::new(),
            dead: BTreeMap::new(),
            parts: BTreeMap::new(),
            room: Vec::new(),
        };
        delta.begin(input, palette, receiver);
        for _ in 0..input.below(5) {
            delta.go_on(input, palette, receiver);
        }
        match input.byte() {
            ..200 => {}
            200..230 => delta.pruned = delta.upto.clone(),
            _ => delta.pruned = some(input, palette),
        }
        if kind == 3 {
            delta.at = match input.byte() {
                ..150 => receiver.seen.clone(),
                150..200 => delta.since.clone(),
                _ => some(input, palette),
            };
        }
        if input.byte() > 220 {
            delta.fingerprint = Some(input.array());
        }
        if input.byte() > 245 {
            delta.news = input.number();
        }
        let mut dots = BTreeSet::new();
        for _ in 0..input.below(12) {
            delta.add_part(input, palette, &mut dots);
        }
        if kind == 3 {
            for _ in 0..input.below(6) {
                let (id, counter) = palette.dot(input);
                *delta.dead.entry(id).or_default().entry(counter / 64).or_default() |= 1 << (counter % 64);
            }
        }
        delta
    }

    /// The versions between which it tells something: as a rule what the receiver has seen, or all of it.
    fn begin(&mut self, input: &mut Input<'_>, palette: &Palette, receiver: &Receiver) {
        match input.byte() {
            n if self.kind == 2 || (150..190).contains(&n) => {
                self.since.clear();
                self.news = receiver.writes;
                self.room.extend(palette.dots.iter().map(|(id, counter)| (*id, counter - 1, *counter)));
            }
            ..150 => {}
            190..235 => {
                let head = self.since.keys().nth(input.below(self.since.len().max(1))).copied();
                if let Some((id, counter)) = head.and_then(|id| Some((id, self.since.get_mut(&id)?))) {
                    let upto = *counter;
                    *counter = upto.saturating_sub(1 + input.number() % 4).max(1);
                    self.news = upto - *counter;
                    self.room.push((id, *counter, upto));
                }
            }
            _ => {
                self.since = some(input, palette);
                self.news = input.number();
            }
        }
        if input.byte() > 240 {
            self.upto = if input.flag() { self.since.clone() } else { some(input, palette) };
            self.news = if self.upto == self.since { 0 } else { input.number() };
        }
    }

    /// A writer of it writes more, or another is born and writes.
    fn go_on(&mut self, input: &mut Input<'_>, palette: &Palette, receiver: &Receiver) {
        let head = self.upto.keys().nth(input.below(self.upto.len().max(1))).copied();
        let head = head.map(|id| (id, self.upto[&id]));
        let count = match input.byte() {
            250.. => input.number().max(1),
            n => u64::from(n % 8) + 1,
        };
        let how = input.byte();
        let (id, after) = match head {
            Some((id, counter)) if how < 80 => (id, counter),
            _ => {
                let id = match input.byte() {
                    220.. => input.array(),
                    n => stranger(n),
                };
                if receiver.version.get(WriterId::from(id)) > 0 || self.births.contains_key(&id) {
                    return;
                }
                let parent = match how {
                    ..180 => head,
                    180..210 => None,
                    _ => Some(palette.dot(input)),
                };
                let name =
                    (input.byte() > 200).then(|| String::from_utf8_lossy(input.bytes()).chars().take(16).collect());
                let after = parent.map_or(0, |(_, counter)| counter);
                if parent == head
                    && let Some((head, _)) = head
                {
                    self.upto.remove(&head);
                }
                // A birth that is missing is a claim as well.
                if input.byte() < 245 {
                    self.births.insert(id, Birth { parent, name });
                }
                (id, after)
            }
        };
        let upto = after.saturating_add(count);
        if after < upto {
            self.upto.insert(id, upto);
            self.news = self.news.saturating_add(count);
            self.room.push((id, after, upto));
        }
    }

    fn add_part(&mut self, input: &mut Input<'_>, palette: &Palette, dots: &mut BTreeSet<Dot>) {
        let entity = palette.entity(input);
        let part = self.parts.entry(entity).or_default();
        part.whole |= self.kind == 2 || input.flag();
        for _ in 0..1 + input.below(4) {
            let field = palette.field(input);
            if self.kind != 2 && input.byte() > 200 {
                let (id, counter) = palette.dot(input);
                if dots.insert((id, counter)) {
                    part.known.insert((field, id, counter));
                }
                continue;
            }
            let (id, counter) = match input.byte() {
                250.. => palette.dot(input),
                n => {
                    let Some((id, after, upto)) = self.room.get(usize::from(n) % self.room.len().max(1)) else {
                        continue;
                    };
                    // A head that was lowered below its birth leaves no room.
                    let Some(room) = upto.checked_sub(*after).filter(|room| *room > 0) else { continue };
                    (*id, after + 1 + input.number() % room)
                }
            };
            if dots.insert((id, counter)) {
                let stamp = match input.byte() {
                    255 => u64::from_le_bytes(input.array()),
                    n => (1_000_000 + u64::from(n)) << 16,
                };
                let (kind, bytes) = match input.byte() {
                    ..60 => (0, Vec::new()),
                    _ => {
                        let (kind, bytes) = palette.payload(input);
                        (u16::from(kind) + 1, bytes)
                    }
                };
                part.writes.insert((field, id, counter), (stamp, kind, bytes));
            }
        }
        let says_nothing = part.known.is_empty() && part.writes.is_empty();
        if says_nothing && (self.kind == 2 || !part.whole) {
            self.parts.remove(&entity);
        }
    }

    /// As a message.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let body = self.body(&Heads::new(), &Heads::new());
        seal_message(self.kind, body).expect("a kind that there is")
    }

    /// As a slice within a session, for a receiver that said this of itself.
    pub(crate) fn to_slice(&self, receiver: &Receiver) -> Vec<u8> {
        let mut slice = vec![self.kind];
        slice.extend(self.body(&receiver.seen, &receiver.pruned));
        slice
    }

    fn body(&self, seen: &Heads, pruned: &Heads) -> Vec<u8> {
        let mut out = Pack(Vec::new());
        let fields: BTreeSet<&Vec<u8>> = self.parts.values().flat_map(Part::places).map(|(field, ..)| field).collect();
        let writers: BTreeSet<&Id> = self.parts.values().flat_map(Part::places).map(|(_, id, _)| id).collect();
        let (known_count, writes): (Vec<usize>, Vec<usize>) =
            self.parts.values().map(|part| (part.known.len(), part.writes.len())).unzip();
        out.array(8);
        out.text(self.schema);
        match &self.fingerprint {
            Some(fingerprint) => out.bytes(fingerprint),
            None => out.nil(),
        }
        out.uint(self.news);
        let counts = [fields.len(), self.dead.len(), self.parts.len()];
        counts.into_iter().chain([known_count.iter().sum(), writes.iter().sum()]).for_each(|n| out.uint(n as u64));
        out.bytes(&writers.iter().copied().copied().collect::<Vec<Id>>().concat());

        let base = |known| if Heads::is_empty(known) { &self.since } else { known };
        let mut changes = vec![
            Change::between(seen, &self.since),
            Change::between(base(seen), &self.upto),
            Change::between(base(pruned), &self.pruned),
        ];
        if self.kind == 3 {
            changes.push(Change::between(base(seen), &self.at));
        }
        let named = changes.iter().flat_map(|change| &change.come).map(|(id, _)| *id);
        let table: BTreeSet<Id> = named.chain(self.dead.keys().copied()).collect();
        out.bytes(&table.iter().copied().collect::<Vec<Id>>().concat());
        let place_in_table = |id: &Id| table.range(..*id).count() as u64;
        changes.iter().for_each(|change| change.write(&mut out, place_in_table));
        self.write_births(&mut out);
        for field in &fields {
            out.bytes(field);
        }
        for (id, words) in &self.dead {
            out.array(2);
            out.uint(place_in_table(id));
            out.uint(words.len() as u64);
            let mut last = 0;
            for (block, word) in words {
                out.array(2);
                out.int(block.wrapping_sub(last) as i64);
                out.uint(*word);
                last = *block;
            }
        }
        let place_of = |id: &Id| writers.iter().take_while(|other| **other < id).count() as u64;
        let place_of_field = |field: &Vec<u8>| fields.iter().take_while(|other| **other < field).count() as u64;
        let spell = |((kind, id), part): (&(u8, EntityId), &Part)| SpelledPart {
            entity: (*kind, *id),
            whole: part.whole,
            known: part
                .known
                .iter()
                .map(|(field, id, counter)| (place_of_field(field) as u32, place_of(id) as u32, *counter))
                .collect(),
            writes: part
                .writes
                .iter()
                .map(|((field, id, counter), (stamp, kind, bytes))| SpelledWrite {
                    field: place_of_field(field) as u32,
                    writer: place_of(id) as u32,
                    counter: *counter,
                    stamp: *stamp,
                    payload: kind.checked_sub(1).map(|kind| (kind as u8, bytes.clone())),
                })
                .collect(),
        };
        let parts: Vec<SpelledPart> = self.parts.iter().map(spell).collect();
        let fields: Vec<Vec<u8>> = fields.iter().map(|field| field.to_vec()).collect();
        out.0.extend(spell_parts(&fields, &parts));
        out.0
    }

    /// Births in chains, each writer born in the one before it, in the last of its children.
    fn write_births(&self, out: &mut Pack) {
        let mut next: BTreeMap<Id, (u64, Id)> = BTreeMap::new();
        for (id, birth) in &self.births {
            if let Some((parent, counter)) = birth.parent.filter(|(parent, _)| self.births.contains_key(parent)) {
                let last = next.entry(parent).or_insert((counter, *id));
                *last = (*last).max((counter, *id));
            }
        }
        let goes_on = |id: &Id, birth: &Birth| {
            birth.parent.and_then(|(parent, _)| next.get(&parent)).is_some_and(|(_, last)| last == id)
        };
        let first: Vec<&Id> = self.births.iter().filter(|(id, birth)| !goes_on(id, birth)).map(|(id, _)| id).collect();
        out.uint(first.len() as u64);
        for id in first {
            let chain: Vec<Id> = std::iter::successors(Some(*id), |id| next.get(id).map(|(_, id)| *id)).collect();
            match self.births[id].parent {
                Some((parent, _)) => out.bytes(&parent),
                None => out.nil(),
            }
            out.bytes(&chain.concat());
            let mut before = 0;
            for id in &chain {
                let after = self.births[id].parent.map_or(0, |(_, counter)| counter);
                out.uint(after.wrapping_sub(before));
                before = after;
            }
            let named: Vec<_> = chain.iter().map(|id| &self.births[id].name).enumerate().collect();
            out.uint(named.iter().filter(|(_, name)| name.is_some()).count() as u64);
            for (i, name) in named {
                if let Some(name) = name {
                    out.uint(i as u64);
                    out.text(name);
                }
            }
        }
    }
}

impl Part {
    fn places(&self) -> impl Iterator<Item = &Place> {
        self.known.iter().chain(self.writes.keys())
    }
}

/// A few heads, of any writers.
fn some(input: &mut Input<'_>, palette: &Palette) -> Heads {
    (0..input.below(4)).map(|_| palette.dot(input)).collect()
}

/// What leads from the heads of one version to those of another.
struct Change {
    /// Places among the heads of the first.
    gone: Vec<u64>,
    come: Vec<Dot>,
}

impl Change {
    fn between(base: &Heads, version: &Heads) -> Self {
        let gone = base.iter().enumerate().filter(|(_, (id, counter))| version.get(*id) != Some(*counter));
        let come = version.iter().filter(|(id, counter)| base.get(*id) != Some(*counter));
        Self { gone: gone.map(|(i, _)| i as u64).collect(), come: come.map(|(id, counter)| (*id, *counter)).collect() }
    }

    fn write(&self, out: &mut Pack, place: impl Fn(&Id) -> u64) {
        out.uint(self.gone.len() as u64);
        let mut next = 0;
        for i in &self.gone {
            out.uint(i - next);
            next = i + 1;
        }
        out.uint(self.come.len() as u64);
        for (id, counter) in &self.come {
            out.uint(place(id));
            out.uint(*counter);
        }
    }
}

/// MessagePack, as short as can be.
struct Pack(Vec<u8>);

impl Pack {
    fn array(&mut self, len: u8) {
        self.0.push(0x90 | len);
    }

    fn nil(&mut self) {
        self.0.push(0xc0);
    }

    fn uint(&mut self, number: u64) {
        match number {
            0..=0x7f => self.0.push(number as u8),
            0x80..=0xff => self.0.extend([0xcc, number as u8]),
            0x100..=0xffff => self.tagged(0xcd, &(number as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.tagged(0xce, &(number as u32).to_be_bytes()),
            _ => self.tagged(0xcf, &number.to_be_bytes()),
        }
    }

    fn int(&mut self, number: i64) {
        match number {
            0.. => self.uint(number as u64),
            -32..=-1 => self.0.push(number as u8),
            -128..=-33 => self.0.extend([0xd0, number as u8]),
            -0x8000..=-129 => self.tagged(0xd1, &(number as i16).to_be_bytes()),
            -0x8000_0000..=-0x8001 => self.tagged(0xd2, &(number as i32).to_be_bytes()),
            _ => self.tagged(0xd3, &number.to_be_bytes()),
        }
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        self.0.extend(bytes);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match bytes.len() {
            len @ 0..=0xff => self.0.extend([0xc4, len as u8]),
            len => self.tagged(0xc5, &(len as u16).to_be_bytes()),
        }
        self.0.extend(bytes);
    }

    /// Of at most 255 bytes.
    fn text(&mut self, text: &str) {
        match text.len() {
            len @ 0..=31 => self.0.push(0xa0 | len as u8),
            len => self.0.extend([0xd9, len as u8]),
        }
        self.0.extend(text.as_bytes());
    }
}
