//! Messages taken apart and put together again without the library's own reader, and every way in which one can be damaged.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::ops::Range;

use driftless::testing::{repair_checksum, repair_frame_checksum};

/// The bytes of an envelope before the length of its body.
pub(crate) const HEAD: usize = 15;
/// The version of the format that is written.
pub(crate) const FORMAT_VERSION: u8 = 3;
/// The version of the format that is read beside it, with rows of parts.
pub(crate) const ROWS_VERSION: u8 = 2;
const FORMAT: usize = 4;
const KIND: usize = 5;
const FLAGS: usize = 6;

/// An envelope around any body, whose length and checksum fit.
pub(crate) fn seal(kind: u8, body: &[u8]) -> Vec<u8> {
    seal_as(FORMAT_VERSION, kind, body)
}

/// The same in any format.
pub(crate) fn seal_as(format: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = [&b"DRFT"[..], &[format, kind, 0], &[0; 8], &leb128(body.len() as u64)].concat();
    message.extend_from_slice(body);
    repair_checksum(&mut message);
    message
}

/// The kind and the body of a message.
pub(crate) fn open(message: &[u8]) -> (u8, &[u8]) {
    let length = message[HEAD..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
    (message[KIND], &message[HEAD + length..])
}

pub(crate) fn leb128(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// What a MessagePack value is, by its marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    Int,
    Text,
    Bytes,
    Array,
    Map,
    Other,
}

/// One MessagePack value, with all that is in it.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) sort: Sort,
    /// The number, or the length.
    pub(crate) number: i128,
    /// The marker, and the number or length.
    pub(crate) head: Range<usize>,
    pub(crate) end: usize,
    pub(crate) depth: usize,
}

impl Value {
    pub(crate) fn range(&self) -> Range<usize> {
        self.head.start..self.end
    }
}

/// All values of a body, each before those within it.
pub(crate) fn values(body: &[u8]) -> Vec<Value> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < body.len() {
        at = walk(body, at, 0, &mut found);
    }
    found
}

/// The first value of a body and those within it.
pub(crate) fn first_values(body: &[u8]) -> Vec<Value> {
    let mut found = Vec::new();
    walk(body, 0, 0, &mut found);
    found
}

fn walk(body: &[u8], start: usize, depth: usize, found: &mut Vec<Value>) -> usize {
    let big_endian = |bytes: usize| body[start + 1..][..bytes].iter().fold(0i128, |n, byte| n << 8 | i128::from(*byte));
    let signed = |bytes: usize| big_endian(bytes) << (128 - 8 * bytes) >> (128 - 8 * bytes);
    let marker = body[start];
    // With how many bytes of a number after the marker.
    let (sort, number, width) = match marker {
        0x00..=0x7f => (Sort::Int, marker.into(), 0),
        0x80..=0x8f => (Sort::Map, (marker & 0x0f).into(), 0),
        0x90..=0x9f => (Sort::Array, (marker & 0x0f).into(), 0),
        0xa0..=0xbf => (Sort::Text, (marker & 0x1f).into(), 0),
        0xc0..=0xc3 => (Sort::Other, 0, 0),
        0xc4..=0xc6 => (Sort::Bytes, big_endian(1 << (marker - 0xc4)), 1 << (marker - 0xc4)),
        0xcc..=0xcf => (Sort::Int, big_endian(1 << (marker - 0xcc)), 1 << (marker - 0xcc)),
        0xd0..=0xd3 => (Sort::Int, signed(1 << (marker - 0xd0)), 1 << (marker - 0xd0)),
        0xd9..=0xdb => (Sort::Text, big_endian(1 << (marker - 0xd9)), 1 << (marker - 0xd9)),
        0xdc..=0xdd => (Sort::Array, big_endian(2 << (marker - 0xdc)), 2 << (marker - 0xdc)),
        0xde..=0xdf => (Sort::Map, big_endian(2 << (marker - 0xde)), 2 << (marker - 0xde)),
        0xe0..=0xff => (Sort::Int, (marker as i8).into(), 0),
        other => panic!("no message of this library has a value that begins with {other:#x}"),
    };
    let head = start..start + 1 + width;
    let (place, mut end) = (found.len(), head.end);
    found.push(Value { sort, number, head, end, depth });
    let within = match sort {
        Sort::Array => number,
        Sort::Map => 2 * number,
        _ => 0,
    };
    (0..within).for_each(|_| end = walk(body, end, depth + 1, found));
    if matches!(sort, Sort::Text | Sort::Bytes) {
        end += number as usize;
    }
    found[place].end = end;
    end
}

/// A number as short as can be.
pub(crate) fn int(number: i128) -> Vec<u8> {
    let widths: &[u8] = match number {
        -32..=0x7f => return vec![number as u8],
        0x80.. => &[0xcc, 0xcd, 0xce, 0xcf],
        _ => &[0xd0, 0xd1, 0xd2, 0xd3],
    };
    let spelled = widths.iter().filter_map(|marker| int_as(*marker, number)).next();
    spelled.unwrap_or_else(|| panic!("{number} does not fit"))
}

/// A number with this marker, if it can hold it.
fn int_as(marker: u8, number: i128) -> Option<Vec<u8>> {
    let (width, fits) = match marker {
        0xcc..=0xcf => (1usize << (marker - 0xcc), number >= 0 && number < 1 << (8usize << (marker - 0xcc))),
        _ => {
            let half = 1i128 << ((8usize << (marker - 0xd0)) - 1);
            (1usize << (marker - 0xd0), (-half..half).contains(&number))
        }
    };
    fits.then(|| [&[marker], &number.to_be_bytes()[16 - width..]].concat())
}

/// The heads of a text, of bytes, an array or a map of this length, in all forms that can hold it: the shortest first.
fn heads(sort: Sort, len: u64) -> Vec<Vec<u8>> {
    let long = |marker: u8, width: usize| {
        let fits = width == 8 || len < 1 << (8 * width);
        fits.then(|| [&[marker], &len.to_be_bytes()[8 - width..]].concat())
    };
    let short = |marker: u8, limit: u64| (len < limit).then(|| vec![marker | len as u8]);
    let forms = match sort {
        Sort::Text => vec![short(0xa0, 32), long(0xd9, 1), long(0xda, 2), long(0xdb, 4)],
        Sort::Bytes => vec![long(0xc4, 1), long(0xc5, 2), long(0xc6, 4)],
        Sort::Array => vec![short(0x90, 16), long(0xdc, 2), long(0xdd, 4)],
        Sort::Map => vec![short(0x80, 16), long(0xde, 2), long(0xdf, 4)],
        Sort::Int | Sort::Other => vec![],
    };
    forms.into_iter().flatten().collect()
}

/// Lengths and counts that a reader may trip over.
fn tripping(number: i128) -> impl Iterator<Item = i128> {
    let wrong = [0, 1, number - 1, number + 1, 1 << 16, (1 << 32) - 1];
    let in_range = 0..=u64::MAX.into();
    wrong.into_iter().filter(move |wrong| *wrong != number && in_range.contains(wrong))
}

/// Told of each damaged message, with the sort of damage.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&'static str, &[u8]);

/// All damage to a message in an envelope: within the body with length and checksum repaired, and to the envelope itself.
pub(crate) fn damage_envelope(message: &[u8], visit: Visit<'_>) {
    let (kind, body) = open(message);
    damage_bytes(body, &mut |sort, damaged| visit(sort, &seal(kind, damaged)));
    damage_values(body, &mut |sort, damaged| visit(sort, &seal(kind, damaged)));
    damage_columns(body, &mut |sort, damaged| visit(sort, &seal(kind, damaged)));

    damage_as_it_is(message, visit);
    let mut repaired = |mut damaged: Vec<u8>| {
        repair_checksum(&mut damaged);
        visit("envelope", &damaged);
    };
    for at in [FORMAT, KIND, FLAGS] {
        for value in (0..=u8::MAX).filter(|value| *value != message[at]) {
            let mut damaged = message.to_vec();
            damaged[at] = value;
            repaired(damaged);
        }
    }
    let with_length = |length: &[u8]| [&message[..HEAD], length, body].concat();
    let len = body.len() as u64;
    for wrong in tripping(len.into()).map(|wrong| wrong as u64).chain([u64::MAX, len << 1, len >> 1]) {
        repaired(with_length(&leb128(wrong)));
    }
    padded(len).into_iter().for_each(|length| repaired(with_length(&length)));
    for trailing in [&[0][..], &[0xc0], &message[..HEAD], message] {
        repaired([message, trailing].concat());
    }
}

/// Damage to the columns that end a body, in a binary whose length fits.
fn damage_columns(body: &[u8], visit: Visit<'_>) {
    let all = values(body);
    let Some(last) = all.iter().rfind(|value| value.depth == 0).filter(|value| value.sort == Sort::Bytes) else {
        return;
    };
    let columns = &body[last.head.end..last.end];
    let mut in_place = |sort, damaged: &[u8]| {
        let head = &heads(Sort::Bytes, damaged.len() as u64)[0];
        visit(sort, &[&body[..last.head.start], head, damaged].concat());
    };
    damage_bytes(columns, &mut in_place);
    damage_numbers(columns, &mut in_place);
}

/// Of a message of many parts: cut off anywhere, or one bit of any byte flipped.
pub(crate) fn damage_lightly(message: &[u8], visit: Visit<'_>) {
    let (kind, body) = open(message);
    (0..body.len()).for_each(|len| visit("truncation", &seal(kind, &body[..len])));
    for at in 0..body.len() {
        let mut damaged = body.to_vec();
        damaged[at] ^= 1 << (at % 8);
        visit("bit", &seal(kind, &damaged));
    }
}

/// Of a large message: the counts that it begins with, and markers of the greatest lengths at some places in it.
pub(crate) fn damage_claims(message: &[u8], visit: Visit<'_>) {
    let (kind, body) = open(message);
    let all = values(body);
    let begins = all.iter().filter(|value| value.depth == 0).take(2).last().map_or(0, |value| value.end);
    for count in all.iter().filter(|value| value.sort == Sort::Int && value.end <= begins) {
        for wrong in tripping(count.number).chain([u64::MAX.into(), body.len() as i128, body.len() as i128 / 24]) {
            let wrong = [&body[..count.head.start], &int(wrong), &body[count.end..]].concat();
            visit("count", &seal(kind, &wrong));
        }
    }
    for at in (0..16).map(|n| n * body.len() / 16) {
        for marker in [0xc6, 0xcf, 0xdb, 0xdd, 0xdf] {
            let mut damaged = body.to_vec();
            damaged[at] = marker;
            visit("marker", &seal(kind, &damaged));
        }
    }
}

/// A LEB128 number in all its longer forms.
fn padded(number: u64) -> Vec<Vec<u8>> {
    let mut forms = vec![leb128(number)];
    for _ in 0..11 {
        let mut longer = forms[forms.len() - 1].clone();
        *longer.last_mut().unwrap() |= 0x80;
        longer.push(0);
        forms.push(longer);
    }
    forms.split_off(1)
}

/// Damage that asks for no structure.
pub(crate) fn damage_bytes(bytes: &[u8], visit: Visit<'_>) {
    (0..bytes.len()).for_each(|len| visit("truncation", &bytes[..len]));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        visit("bit", &damaged);
    }
    for at in 0..bytes.len() {
        // Beginnings of values of every sort, the greatest that a length can claim among them.
        for value in [
            0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xc0, 0xc1, 0xc3, 0xc4, 0xc6, 0xc7, 0xcb, 0xcd, 0xcf, 0xd3, 0xd9,
            0xdb, 0xdd, 0xdf, 0xe0, 0xff,
        ] {
            if (value ^ bytes[at]).count_ones() > 1 {
                let mut damaged = bytes.to_vec();
                damaged[at] = value;
                visit("byte", &damaged);
            }
        }
        visit("byte left out", &[&bytes[..at], &bytes[at + 1..]].concat());
        visit("byte twice", &[&bytes[..=at], &bytes[at..]].concat());
    }
    for trailing in [&[0][..], &[0xc0], &[0xc1], &[0xff; 9], &[0x91; 2000], bytes] {
        visit("trailing bytes", &[bytes, trailing].concat());
    }
}

/// Every byte taken for the beginning of a LEB128 number: another number, and the same in longer forms.
pub(crate) fn damage_numbers(bytes: &[u8], visit: Visit<'_>) {
    for at in 0..bytes.len() {
        let len = bytes[at..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
        if len > 10 || at + len > bytes.len() {
            continue;
        }
        let number = bytes[at..at + len].iter().rev().fold(0u128, |n, byte| n << 7 | u128::from(byte & 0x7f)) as u64;
        let with = |spelled: &[u8]| [&bytes[..at], spelled, &bytes[at + len..]].concat();
        for wrong in tripping(number.into()).chain([u64::MAX.into(), 1 << 63]) {
            visit("number", &with(&leb128(wrong as u64)));
        }
        padded(number).into_iter().for_each(|longer| visit("overlong number", &with(&longer)));
    }
}

/// All damage to a frame of a session, with its checksum repaired, and cut or flipped as it is.
pub(crate) fn damage_frame(frame: &[u8], visit: Visit<'_>) {
    let body = &frame[..frame.len() - 4];
    let mut repaired = |sort, damaged: &[u8]| {
        let mut frame = [damaged, &[0; 4]].concat();
        repair_frame_checksum(&mut frame);
        visit(sort, &frame);
    };
    damage_bytes(body, &mut repaired);
    damage_numbers(body, &mut repaired);
    damage_as_it_is(frame, visit);
}

/// Cut off anywhere, or one bit flipped, and nothing repaired.
fn damage_as_it_is(message: &[u8], visit: Visit<'_>) {
    (0..message.len()).for_each(|len| visit("unrepaired truncation", &message[..len]));
    for bit in 0..message.len() * 8 {
        let mut damaged = message.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        visit("unrepaired bit", &damaged);
    }
}

/// Damage to a sequence of MessagePack values, each found by walking through it.
fn damage_values(body: &[u8], visit: Visit<'_>) {
    let all = values(body);
    let with = |range: Range<usize>, spelled: &[u8]| [&body[..range.start], spelled, &body[range.end..]].concat();
    for value in &all {
        let number = value.number;
        match value.sort {
            Sort::Int => {
                let extremes = [i64::MAX.into(), i64::MIN.into(), u64::MAX.into(), -1, -number, 1 << 31, 63, 64];
                let extremes = extremes.into_iter().filter(|extreme| *extreme != number && *extreme >= i64::MIN.into());
                for wrong in tripping(number).chain(extremes) {
                    visit("integer", &with(value.head.clone(), &int(wrong)));
                }
                let forms = (0xcc..=0xd3).filter_map(|marker| int_as(marker, number));
                for form in forms.filter(|form| form[..] != body[value.head.clone()]) {
                    visit("overlong integer", &with(value.head.clone(), &form));
                }
                for float in [
                    &[&[0xca][..], &(number as f32).to_be_bytes()].concat(),
                    &[&[0xcb][..], &(number as f64).to_be_bytes()].concat(),
                ] {
                    visit("integer as float", &with(value.head.clone(), float));
                }
            }
            Sort::Other => {}
            sort => {
                for wrong in tripping(number) {
                    heads(sort, wrong as u64).iter().for_each(|head| visit("length", &with(value.head.clone(), head)));
                }
                for form in heads(sort, number as u64).iter().filter(|form| form[..] != body[value.head.clone()]) {
                    visit("overlong length", &with(value.head.clone(), form));
                }
                for other in
                    [Sort::Text, Sort::Bytes, Sort::Array, Sort::Map].into_iter().filter(|other| *other != sort)
                {
                    visit("another sort", &with(value.head.clone(), &heads(other, number as u64)[0]));
                }
            }
        }
        for (layer, innermost) in [(&[0x91][..], &[0xc0][..]), (&[0x81, 0xa0], &[0xc0]), (&[0x81], &[])] {
            for depth in [4, 6_000] {
                visit("deep nesting", &with(value.range(), &[&layer.repeat(depth), innermost].concat()));
            }
        }
    }
    // Nested as deep as can be thought of, wherever a top-level value stands.
    for value in all.iter().filter(|value| value.depth == 0).step_by(16) {
        visit("deep nesting", &with(value.range(), &[0x91; 100_000]));
    }
    damage_order(body, &all, visit);
    damage_two_integers(body, &all, visit);
}

/// Entries of lists left out, repeated and exchanged, with the counts before them as they were and made to fit.
fn damage_order(body: &[u8], all: &[Value], visit: Visit<'_>) {
    let is_int = |value: &&Value| value.sort == Sort::Int;
    let top: Vec<usize> = (0..all.len()).filter(|i| all[*i].depth == 0).collect();
    let bytes_of = |i: usize| &body[all[i].range()];
    let ints_in = |i: usize| {
        all.iter()
            .filter(is_int)
            .filter(move |int| all[i].range().contains(&int.head.start))
            .cloned()
            .collect::<Vec<_>>()
    };
    let shape = |i: usize| (all[i].sort, all[i].number * i128::from(all[i].sort != Sort::Int));
    // Where counts stand: the two values that messages begin with, and whatever a list stands under.
    let begins: Vec<Value> = top.iter().take(2).flat_map(|i| ints_in(*i)).collect();
    for (n, i) in top.iter().enumerate() {
        let above = top[..n].iter().rev().find(|j| shape(**j) != shape(*i));
        let above: Vec<Value> = above.map(|j| ints_in(*j)).unwrap_or_default();
        let entry = all[*i].range();
        let (before, after) = (&body[..entry.start], &body[entry.end..]);
        for (change, spelled) in [(1i128, [bytes_of(*i), bytes_of(*i)].concat()), (-1, Vec::new())] {
            let what = if change == 1 { "entry twice" } else { "entry left out" };
            visit(what, &[before, &spelled, after].concat());
            // The counts that are to fit stand before the entry.
            let counted = |counts: &[&Value]| {
                let (mut out, mut at) = (Vec::new(), 0);
                for count in counts {
                    out.extend_from_slice(&body[at..count.head.start]);
                    out.extend(int((count.number + change).max(0)));
                    at = count.head.end;
                }
                out.extend_from_slice(&body[at..entry.start]);
                [&out[..], &spelled, after].concat()
            };
            let is_before = |count: &&Value| count.head.end <= entry.start;
            for first in begins.iter().filter(is_before) {
                visit(what, &counted(&[first]));
                for second in above.iter().filter(is_before).filter(|second| second.head.start >= first.head.end) {
                    visit(what, &counted(&[first, second]));
                }
            }
        }
        if let Some(next) = top.get(n + 1) {
            visit("entries exchanged", &[before, bytes_of(*next), bytes_of(*i), &body[all[*next].end..]].concat());
        }
        visit("entry at the front", &[bytes_of(*i), before, after].concat());
        visit("entry at the end", &[before, after, bytes_of(*i)].concat());
        // The same within an entry that is an array.
        let inner: Vec<&Value> = all.iter().filter(|v| v.depth == 1 && entry.contains(&v.head.start)).collect();
        for pair in inner.windows(2) {
            let exchanged = [&body[..pair[0].head.start], &body[pair[1].range()], &body[pair[0].range()]].concat();
            visit("items exchanged", &[&exchanged[..], &body[pair[1].end..]].concat());
        }
        if all[*i].sort == Sort::Array {
            for item in inner {
                for (items, change) in [(2, 1), (0, -1)] {
                    let head = &heads(Sort::Array, (all[*i].number + change) as u64)[0];
                    let start = [before, head, &body[all[*i].head.end..item.head.start]].concat();
                    let item_bytes = body[item.range()].repeat(items);
                    visit("item twice or left out", &[&start[..], &item_bytes, &body[item.end..]].concat());
                }
            }
        }
    }
}

/// Two of the counts that a message begins with, or two integers that stand near each other, both wrong: each could be
/// believed because of the other.
fn damage_two_integers(body: &[u8], all: &[Value], visit: Visit<'_>) {
    let begins = all.iter().filter(|value| value.depth == 0).take(2).last().map_or(0, |value| value.end);
    let integers: Vec<&Value> = all.iter().filter(|value| value.sort == Sort::Int).collect();
    for (i, first) in integers.iter().enumerate() {
        for (j, second) in integers.iter().enumerate().skip(i + 1) {
            if j > i + 3 && second.end > begins {
                break;
            }
            let wrong = |number: i128| tripping(number).chain([-1, u64::MAX.into()]).map(int);
            for a in wrong(first.number) {
                for b in wrong(second.number) {
                    let between = &body[first.end..second.head.start];
                    let (before, after) = (&body[..first.head.start], &body[second.end..]);
                    visit("two integers", &[before, &a, between, &b, after].concat());
                }
            }
        }
    }
}
