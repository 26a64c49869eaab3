//! Deltas that nobody would make and every reader takes for well-formed: any claim about any writer, any write to any cell,
//! in the one spelling that the format has for it.

use std::collections::{BTreeMap, BTreeSet};

use driftless::testing::repair_checksum;
use driftless::{WriterId, State, Version};

use crate::input::Input;

type Id = [u8; 16];

/// Of a writer: `since`, `upto`, `pruned`, `at`.
pub(crate) type Counters = [u64; 4];

/// A field, a writer, a counter.
type Place = (Vec<u8>, Id, u64);

#[derive(Default)]
struct Part {
    whole: bool,
    known: BTreeSet<Place>,
    /// Stamp, kind of payload plus one or 0, bytes.
    writes: BTreeMap<Place, (u64, u16, Vec<u8>)>,
}

/// What hostile deltas are about, so that they hit something.
pub(crate) struct Palette {
    pub(crate) schema: &'static str,
    pub(crate) writers: Vec<Id>,
    pub(crate) entities: Vec<(u8, Id)>,
    pub(crate) fields: Vec<Vec<u8>>,
    pub(crate) payloads: Vec<(u8, Vec<u8>)>,
}

impl Palette {
    /// All that a few states hold, and a stranger.
    pub(crate) fn of<'a>(schema: &'static str, states: impl IntoIterator<Item = &'a State>) -> Self {
        let (mut writers, mut entities) = (BTreeSet::from([[0x77; 16]]), BTreeSet::from([(0, [0; 16]), (9, [1; 16])]));
        let (mut fields, mut payloads) =
            (BTreeSet::from([Vec::new(), vec![2, 0, 2]]), BTreeSet::from([(16, Vec::new())]));
        for state in states {
            writers.extend(state.version().iter().map(|(id, _)| *id.as_bytes()));
            for (entity, field, sibling) in state.live_siblings() {
                entities.insert((entity.kind(), *entity.id()));
                fields.insert(field.as_bytes().to_vec());
                payloads.extend(sibling.payload.as_ref().map(|payload| (payload.kind(), payload.bytes().to_vec())));
            }
        }
        let writers = writers.into_iter().collect();
        let (entities, fields) = (entities.into_iter().collect(), fields.into_iter().collect());
        Self { schema, writers, entities, fields, payloads: payloads.into_iter().collect() }
    }

    pub(crate) fn entity(&self, input: &mut Input<'_>) -> (u8, Id) {
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
}

/// A delta in plain words.
pub(crate) struct Hostile {
    /// 1 incremental, 2 complete, 3 reconciled.
    kind: u8,
    schema: &'static str,
    writers: BTreeMap<Id, Counters>,
    dead: BTreeMap<Id, BTreeMap<u64, u64>>,
    parts: BTreeMap<(u8, Id), Part>,
}

impl Hostile {
    /// A delta as the input says for somebody who has seen `seen` and writes as `own`. What would make it malformed is bent
    /// until it is not.
    pub(crate) fn new(input: &mut Input<'_>, palette: &Palette, seen: &Version, own: Option<WriterId>) -> Self {
        let kind = input.below(3) as u8 + 1;
        let mut writers = BTreeMap::new();
        for id in &palette.writers {
            let have = seen.get(WriterId::from(*id));
            let [since, mut upto, pruned, at] = counters(input, kind, have);
            // Claims about the receiver's own writes end it all, so they are rare.
            if own == Some(WriterId::from(*id)) && input.byte() < 240 {
                upto = upto.min(have.max(since));
            }
            writers.insert(*id, [since, upto, pruned.min(upto), at]);
        }
        let mut delta = Self { kind, schema: palette.schema, writers, dead: BTreeMap::new(), parts: BTreeMap::new() };
        let mut dots = BTreeSet::new();
        for _ in 0..input.below(12) {
            delta.add_part(input, palette, &mut dots);
        }
        if kind == 3 {
            for _ in 0..input.below(6) {
                let (id, number) = (*input.pick(&palette.writers), input.number());
                let upto = delta.writers[&id][1];
                if upto > 0 {
                    let counter = number % upto + 1;
                    *delta.dead.entry(id).or_default().entry(counter / 64).or_default() |= 1 << (counter % 64);
                }
            }
        }
        delta.writers.retain(|_, [_, upto, _, at]| *upto > 0 || *at > 0);
        delta
    }

    fn add_part(&mut self, input: &mut Input<'_>, palette: &Palette, dots: &mut BTreeSet<(Id, u64)>) {
        let entity = palette.entity(input);
        let part = self.parts.entry(entity).or_default();
        part.whole |= self.kind == 2 || input.flag();
        for _ in 0..1 + input.below(4) {
            let (field, id, number) = (palette.field(input), *input.pick(&palette.writers), input.number());
            let [since, upto, ..] = self.writers[&id];
            if self.kind != 2 && input.byte() > 200 {
                if since > 0 && dots.insert((id, number % since + 1)) {
                    part.known.insert((field, id, number % since + 1));
                }
                continue;
            }
            let room = upto - since;
            if room == 0 {
                continue;
            }
            let counter = since + 1 + number % room;
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
        let body = self.body(&BTreeMap::new());
        let mut message = b"DRFT\x01".to_vec();
        message.extend([self.kind, 0]);
        message.extend([0; 8]);
        leb128(&mut message, body.len() as u64);
        message.extend(body);
        repair_checksum(&mut message);
        message
    }

    /// As a slice within a session, for a receiver that stands like this.
    pub(crate) fn to_slice(&self, seen: &Version, pruned: &Version) -> Vec<u8> {
        let at = |counter| if self.kind == 3 { counter } else { 0 };
        let known = seen.iter().map(|(id, counter)| (*id.as_bytes(), [counter, counter, pruned.get(id), at(counter)]));
        let mut slice = vec![self.kind];
        slice.extend(self.body(&known.collect()));
        slice
    }

    fn body(&self, known: &BTreeMap<Id, Counters>) -> Vec<u8> {
        let mut out = Pack(Vec::new());
        let mut listed = self.writers.clone();
        // Of whom the reference knows and the delta does not, it has to be said that there is nothing.
        for id in known.keys() {
            listed.entry(*id).or_default();
        }
        listed.retain(|id, counters| known.get(id) != Some(counters));
        let fields: BTreeSet<&Vec<u8>> = self.parts.values().flat_map(Part::fields).collect();
        let (known_count, writes): (Vec<usize>, Vec<usize>) =
            self.parts.values().map(|part| (part.known.len(), part.writes.len())).unzip();
        out.array(7);
        out.text(self.schema);
        let counts = [listed.len(), fields.len(), self.dead.len(), self.parts.len()];
        counts.into_iter().chain([known_count.iter().sum(), writes.iter().sum()]).for_each(|n| out.uint(n as u64));
        for (id, [since, upto, pruned, at]) in &listed {
            out.array(5);
            out.bytes(id);
            out.uint(*since);
            [upto, pruned, at].into_iter().for_each(|counter| out.int(counter.wrapping_sub(*since) as i64));
        }
        let place_of = |id: &Id| self.writers.range(..*id).count() as u64;
        for field in &fields {
            out.bytes(field);
        }
        for (id, words) in &self.dead {
            out.array(2);
            out.uint(place_of(id));
            out.uint(words.len() as u64);
            let mut last = 0;
            for (block, word) in words {
                out.array(2);
                out.int(block.wrapping_sub(last) as i64);
                out.uint(*word);
                last = *block;
            }
        }
        let place_of_field = |field: &Vec<u8>| fields.iter().take_while(|other| **other < field).count() as u64;
        let [mut last_known, mut last_counter, mut last_stamp] = [0u64; 3];
        let step = |out: &mut Pack, last: &mut u64, number: u64| {
            out.int(number.wrapping_sub(*last) as i64);
            *last = number;
        };
        for ((kind, id), part) in &self.parts {
            out.array(5);
            out.uint((*kind).into());
            out.bytes(id);
            out.flag(part.whole);
            out.uint(part.known.len() as u64);
            out.uint(part.writes.len() as u64);
            for (field, id, counter) in &part.known {
                out.array(3);
                out.uint(place_of_field(field));
                out.uint(place_of(id));
                step(&mut out, &mut last_known, *counter);
            }
            for ((field, id, counter), (stamp, kind, bytes)) in &part.writes {
                out.array(6);
                out.uint(place_of_field(field));
                out.uint(place_of(id));
                step(&mut out, &mut last_counter, *counter);
                step(&mut out, &mut last_stamp, *stamp);
                out.uint((*kind).into());
                out.bytes(bytes);
            }
        }
        out.0
    }
}

impl Part {
    fn fields(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.known.iter().chain(self.writes.keys()).map(|(field, ..)| field)
    }
}

/// As a rule what follows what the receiver has; now and then anything that is no contradiction in itself.
fn counters(input: &mut Input<'_>, kind: u8, have: u64) -> Counters {
    let near = |input: &mut Input<'_>| match input.byte() {
        ..100 => have,
        100..160 => 0,
        160..220 => have / 2,
        _ => input.number(),
    };
    let since = if kind == 2 { 0 } else { near(input).min(have) };
    let upto = match input.byte() {
        ..150 => since.max(have).saturating_add(u64::from(input.byte() % 8)),
        150..200 => since,
        _ => input.number().max(since),
    };
    let pruned = if input.byte() < 200 { 0 } else { input.number().min(upto) };
    let at = if kind == 3 { near(input).max(since) } else { 0 };
    [since, upto, pruned, at]
}

fn leb128(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// MessagePack, as short as can be.
struct Pack(Vec<u8>);

impl Pack {
    fn array(&mut self, len: u8) {
        self.0.push(0x90 | len);
    }

    fn flag(&mut self, flag: bool) {
        self.0.push(0xc2 | u8::from(flag));
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
