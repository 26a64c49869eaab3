//! Messages spelled by hand from the documented format, each against one rule of it: what a checksum that fits must not hide.

#[path = "support/damage.rs"]
mod damage;

use damage::seal;
use driftless::kernel::{MAX_FIELD_LEN, MAX_PAYLOAD_LEN};
use driftless::{DecodeError, Delta, DeltaKind, Dot, DotSet, Version, WriterId};
use serde::Serialize;
use serde_bytes::Bytes;

const INCREMENTAL: u8 = 1;
const COMPLETE: u8 = 2;
const RECONCILED: u8 = 3;

/// Field, writer, counter, stamp, kind and one, content.
type Write = (u32, u32, u64, u64, u16, Vec<u8>);

/// A delta as it is spelled, with nothing checked.
#[derive(Clone)]
struct Spelled {
    kind: u8,
    schema: String,
    /// Id, then counters in `since`, `upto`, `pruned`, `at`.
    writers: Vec<(Vec<u8>, [u64; 4])>,
    fields: Vec<Vec<u8>>,
    /// A writer's place, and its words with their blocks.
    dead: Vec<(u32, Vec<(u64, u64)>)>,
    parts: Vec<SpelledPart>,
    /// What is announced beyond what follows: writers, fields, dead, parts, known, writes.
    announced: [u64; 6],
}

#[derive(Clone)]
struct SpelledPart {
    entity: (u8, Vec<u8>),
    whole: bool,
    /// Field, writer, counter.
    known: Vec<(u32, u32, u64)>,
    writes: Vec<Write>,
    /// What is announced beyond what follows: known, writes.
    announced: [u64; 2],
}

fn put(out: &mut Vec<u8>, value: impl Serialize) {
    rmp_serde::encode::write(out, &value).unwrap();
}

/// Differences, modulo 2⁶⁴.
fn from(last: &mut u64, number: u64) -> i64 {
    let difference = number.wrapping_sub(*last) as i64;
    *last = number;
    difference
}

impl Spelled {
    fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let [writers, fields, dead, parts, known, writes] = self.announced;
        let count = |of: fn(&SpelledPart) -> usize| self.parts.iter().map(of).sum::<usize>() as u64;
        put(
            &mut out,
            (
                &self.schema,
                self.writers.len() as u64 + writers,
                self.fields.len() as u64 + fields,
                self.dead.len() as u64 + dead,
                self.parts.len() as u64 + parts,
                known.wrapping_add(count(|part| part.known.len())),
                writes.wrapping_add(count(|part| part.writes.len())),
            ),
        );
        for (id, [since, upto, pruned, at]) in &self.writers {
            let [upto, pruned, at] = [upto, pruned, at].map(|counter| counter.wrapping_sub(*since) as i64);
            put(&mut out, (Bytes::new(id), since, upto, pruned, at));
        }
        self.fields.iter().for_each(|field| put(&mut out, Bytes::new(field)));
        for (writer, words) in &self.dead {
            put(&mut out, (writer, words.len() as u64));
            let mut last = 0;
            words.iter().for_each(|(block, word)| put(&mut out, (from(&mut last, *block), word)));
        }
        let (mut known_counters, mut counters, mut stamps) = (0, 0, 0);
        for part in &self.parts {
            let [known, writes] = [part.known.len(), part.writes.len()].map(|len| len as u64);
            let [more_known, more_writes] = part.announced;
            let (kind, id) = &part.entity;
            put(&mut out, (kind, Bytes::new(id), part.whole, known + more_known, writes + more_writes));
            for (field, writer, counter) in &part.known {
                put(&mut out, (field, writer, from(&mut known_counters, *counter)));
            }
            for (field, writer, counter, stamp, kind, content) in &part.writes {
                let (counter, stamp) = (from(&mut counters, *counter), from(&mut stamps, *stamp));
                put(&mut out, (field, writer, counter, stamp, kind, Bytes::new(content)));
            }
        }
        out
    }

    fn read(&self) -> Result<Delta, DecodeError> {
        let bytes = seal(self.kind, &self.body());
        let read = Delta::from_bytes(&bytes);
        assert!(read.as_ref().map_or(true, |delta| delta.to_bytes() == bytes));
        read
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }
}

fn id(n: u8) -> Vec<u8> {
    vec![n; 16]
}

/// A well-formed delta, with something of everything that its kind may hold.
fn good(kind: u8) -> Spelled {
    let write = |field, writer, counter, kind, content: &[u8]| (field, writer, counter, 77, kind, content.to_vec());
    let is_complete = kind == COMPLETE;
    let since = if is_complete { 0 } else { 10 };
    let at = if kind == RECONCILED { 12 } else { 0 };
    Spelled {
        kind,
        schema: "of a test".into(),
        writers: vec![(id(1), [since, 200, 3, at]), (id(2), [since, 20, 20, at])],
        fields: vec![b"".to_vec(), b"a".to_vec(), b"b".to_vec()],
        dead: if kind == RECONCILED { vec![(0, vec![(0, 0b1100), (2, 1)]), (1, vec![(0, 1 << 20)])] } else { vec![] },
        parts: vec![
            SpelledPart {
                entity: (1, id(7)),
                whole: true,
                known: if is_complete { vec![] } else { vec![(0, 1, 4), (1, 0, 5), (1, 0, 6)] },
                writes: vec![write(0, 0, 11, 5, b"root"), write(1, 0, 13, 0, b""), write(1, 1, 12, 256, b"")],
                announced: [0; 2],
            },
            SpelledPart {
                entity: (1, id(8)),
                whole: is_complete,
                known: vec![],
                writes: vec![write(2, 1, 20, 1, b"")],
                announced: [0; 2],
            },
        ],
        announced: [0; 6],
    }
}

#[track_caller]
fn fine(spelled: &Spelled) -> Delta {
    spelled.read().unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(spelled: &Spelled, why: &'static str) {
    assert_eq!(spelled.read(), Err(DecodeError::Malformed(why)));
}

#[track_caller]
fn too_large(spelled: &Spelled, what: &'static str, found: u64, limit: u64) {
    assert_eq!(spelled.read(), Err(DecodeError::TooLarge { what, found, limit }));
}

#[test]
fn what_is_spelled_right_is_read() {
    for kind in [INCREMENTAL, COMPLETE, RECONCILED] {
        let delta = fine(&good(kind));
        let found = match delta.kind() {
            DeltaKind::Incremental => INCREMENTAL,
            DeltaKind::Complete => COMPLETE,
            _ => RECONCILED,
        };
        if let DeltaKind::Reconciled { dead, at } = delta.kind() {
            assert_eq!(dead.iter().map(|dot| dot.counter).collect::<Vec<_>>(), [2, 3, 128, 20]);
            assert_eq!(at.iter().map(|(_, counter)| counter).collect::<Vec<_>>(), [12, 12]);
        }
        assert_eq!((found, delta.schema()), (kind, "of a test"));
        assert_eq!(delta.upto().iter().map(|(_, counter)| counter).collect::<Vec<_>>(), [200, 20]);
        assert_eq!(delta.pruned().iter().map(|(_, counter)| counter).collect::<Vec<_>>(), [3, 20]);
    }
}

#[test]
fn lengths_have_limits() {
    let good = good(INCREMENTAL);
    fine(&good.with(|d| d.schema = "s".repeat(128)));
    too_large(&good.with(|d| d.schema = "s".repeat(129)), "the name of the type", 129, 128);
    let limit = MAX_FIELD_LEN as u64;
    fine(&good.with(|d| d.fields[2] = vec![b'b'; MAX_FIELD_LEN]));
    too_large(&good.with(|d| d.fields[2] = vec![b'b'; MAX_FIELD_LEN + 1]), "a field", limit + 1, limit);
    let limit = MAX_PAYLOAD_LEN as u64;
    fine(&good.with(|d| d.parts[0].writes[0].5 = vec![0; MAX_PAYLOAD_LEN]));
    let longer = good.with(|d| d.parts[0].writes[0].5 = vec![0; MAX_PAYLOAD_LEN + 1]);
    too_large(&longer, "a value", limit + 1, limit);
}

#[test]
fn counts_are_believed_if_there_is_room_for_them() {
    let good = good(RECONCILED);
    let (known, writes) = (3, 4);
    let most = u64::from(u32::MAX);
    let siblings = "the number of siblings";
    let announces = |place: usize, more: u64| good.with(|d| d.announced[place] = more);
    too_large(&announces(4, most - known - writes + 1), siblings, most + 1, most);
    too_large(&announces(5, most - known - writes + 1), siblings, most + 1, most);
    too_large(&announces(5, u64::MAX - writes), siblings, u64::MAX, most);
    let no_room = "more is announced than the body can hold";
    refused(&announces(4, most - known - writes), no_room);
    for place in 0..6 {
        refused(&announces(place, 1 << 31), no_room);
        refused(&announces(place, good.body().len() as u64), no_room);
    }
    // One more of anything is missed.
    for (place, what) in [(4, "fewer known siblings than were announced"), (5, "fewer siblings than were announced")] {
        let long = good.with(|d| d.parts[0].writes[0].5 = vec![0; 100]);
        refused(&long.with(|d| d.announced[place] = 1), what);
    }
}

/// To the byte: what is believed before it is read bounds what is reserved for it.
#[test]
fn what_is_announced_is_believed_up_to_the_least_that_it_can_take() {
    let no_room = DecodeError::Malformed("more is announced than the body can hold");
    // Writers, fields, writers of dead dots with one word each, parts, known, writes.
    let least = [23, 2, 6, 23, 4, 8];
    let good = good(RECONCILED);
    let held: u64 = [2, 3, 2, 2, 3, 4].iter().zip(least).map(|(count, least)| count * least).sum();
    for (place, least) in least.into_iter().enumerate() {
        let (mut believed, mut refused) = (0, 0);
        for more in 0..200 {
            let announced = good.with(|d| {
                d.announced[place] = more;
                d.parts[0].writes[0].5 = vec![0; 100];
            });
            let has_room = held + more * least <= announced.body().len() as u64;
            let error = announced.read().err();
            assert_eq!(error == Some(no_room.clone()), !has_room, "{more} at {place}: {error:?}");
            *if has_room { &mut believed } else { &mut refused } += 1;
        }
        assert!(believed > 0 && refused > 0, "{place}: {believed} and {refused}");
    }
    // A writer with one word, and a writer: 23 bytes and 20.
    let with_room = |count: u64, more: usize| {
        let mut body = Vec::new();
        put(&mut body, count);
        body.resize(body.len() + more, 0xc0);
        body
    };
    for count in 1..100 {
        for more in 0..200 {
            let body = with_room(count, more);
            let refused = |least| Some(no_room.clone()).filter(|_| count * least > body.len() as u64);
            let dots = DotSet::from_bytes(&seal(6, &body)).unwrap_err();
            assert_eq!(Some(dots).filter(|error| *error == no_room), refused(23));
            let version = Version::from_bytes(&seal(5, &body)).unwrap_err();
            assert_eq!(Some(version).filter(|error| *error == no_room), refused(20));
        }
    }
}

#[test]
fn a_version_names_each_writer_once_and_in_order() {
    let read = |writers: &[(u8, u64)]| {
        let mut body = Vec::new();
        put(&mut body, writers.len() as u64);
        writers.iter().for_each(|(writer, counter)| put(&mut body, (Bytes::new(&id(*writer)), counter)));
        Version::from_bytes(&seal(5, &body)).map(|version| version.iter().count())
    };
    assert_eq!(read(&[(1, 5), (2, 1)]), Ok(2));
    let order = Err(DecodeError::Malformed("writers out of order"));
    assert_eq!(read(&[(2, 1), (1, 5)]), order);
    assert_eq!(read(&[(1, 5), (1, 5)]), order);
    assert_eq!(read(&[(1, 5), (2, 0)]), Err(DecodeError::Malformed("a writer that no version has heard of")));
}

#[test]
fn versions_fit_together() {
    let good = good(RECONCILED);
    let counters = |counters: [u64; 4]| good.with(|d| d.writers[0].1 = counters);
    refused(&good.with(|d| d.writers.swap(0, 1)), "writers out of order");
    refused(&good.with(|d| d.writers[1].0 = id(1)), "writers out of order");
    refused(&good.with(|d| d.writers[1].0 = vec![2; 15]), "an id that is not 16 bytes long");
    refused(&counters([201, 200, 3, 201]), "a delta that ends before it begins");
    refused(&counters([10, 200, 201, 12]), "a pruned version beyond what was seen");
    fine(&counters([10, 200, 200, 12]));
    let add = |counters: [u64; 4]| good.with(|d| d.writers.push((id(3), counters)));
    refused(&add([0; 4]), "a writer that no version has heard of");
    fine(&add([0, 0, 0, 1]));
    fine(&add([0, 1, 0, 0]));
    fine(&add([5, 5, 5, 5]));
    fine(&add([0, u64::MAX, u64::MAX, u64::MAX]));
}

#[test]
fn names_of_cells_are_sorted_and_used() {
    let good = good(INCREMENTAL);
    refused(&good.with(|d| d.fields.swap(1, 2)), "fields out of order");
    refused(&good.with(|d| d.fields[2] = b"a".to_vec()), "fields out of order");
    refused(&good.with(|d| d.fields.push(b"c".to_vec())), "a field that nothing uses");
    refused(&good.with(|d| d.parts[1].writes[0].0 = 3), "a field that is not listed");
    refused(&good.with(|d| d.parts[1].writes[0].1 = 2), "a writer that is not listed");
    refused(&good.with(|d| d.parts[0].known[2].0 = 3), "a field that is not listed");
    refused(&good.with(|d| d.parts[0].known[0].1 = 2), "a writer that is not listed");
}

#[test]
fn the_dead_are_sorted_and_were_seen() {
    let good = good(RECONCILED);
    let dead = |dead: &[(u32, Vec<(u64, u64)>)]| good.with(|d| d.dead = dead.to_vec());
    refused(&dead(&[(2, vec![(0, 1)])]), "a dead dot of a writer that is not listed");
    let unsorted = "dead dots out of order";
    refused(&dead(&[(1, vec![(0, 2)]), (0, vec![(0, 2)])]), unsorted);
    refused(&dead(&[(0, vec![(0, 2)]), (0, vec![(1, 2)])]), unsorted);
    refused(&dead(&[(0, vec![(1, 2), (0, 2)])]), unsorted);
    refused(&dead(&[(0, vec![(1, 2), (1, 4)])]), unsorted);
    // No words, a word without dots, a dot 0, and a block past all counters.
    refused(&dead(&[(0, vec![])]), unsorted);
    refused(&dead(&[(0, vec![(0, 0)])]), unsorted);
    refused(&dead(&[(0, vec![(0, 3)])]), unsorted);
    refused(&dead(&[(0, vec![(1 << 58, 1)])]), unsorted);
    // The last that was seen of the first is 200, in the block from 192.
    fine(&dead(&[(0, vec![(3, 1 << 8)])]));
    let unseen = "a dead dot that the sender has not seen";
    refused(&dead(&[(0, vec![(3, 1 << 9)])]), unseen);
    refused(&dead(&[(0, vec![(4, 1)])]), unseen);
    refused(&dead(&[(0, vec![((1 << 58) - 1, 1 << 63)])]), unseen);
}

#[test]
fn each_kind_holds_what_it_may() {
    let dead = |kind| good(kind).with(|d| d.dead = vec![(0, vec![(0, 2)])]);
    refused(&dead(INCREMENTAL), "dead dots in an incremental delta");
    let left_out = "a complete delta that leaves content out";
    refused(&dead(COMPLETE), left_out);
    refused(&good(COMPLETE).with(|d| d.parts[0].known = vec![(0, 1, 4)]), left_out);
    refused(&good(COMPLETE).with(|d| d.writers[0].1[0] = 1), "a complete delta that builds on something");
    let beyond = "a reconciled delta that builds on more than it was cut for";
    refused(&good(RECONCILED).with(|d| d.writers[0].1[3] = 9), beyond);
    fine(&good(RECONCILED).with(|d| d.writers[0].1[3] = 10));
    // Only a reconciled one has a version that it was cut for.
    assert_eq!(good(INCREMENTAL).with(|d| d.writers[0].1[3] = 12).read(), Err(DecodeError::NotCanonical));
    let partial = "a part of an entity in a complete delta";
    refused(&good(COMPLETE).with(|d| d.parts[1].whole = false), partial);
}

#[test]
fn entities_are_sorted_and_hold_something() {
    let good_one = good(INCREMENTAL);
    refused(&good_one.with(|d| d.parts.swap(0, 1)), "entities out of order");
    refused(&good_one.with(|d| d.parts[1].entity = (1, id(7))), "entities out of order");
    refused(&good_one.with(|d| d.parts[0].entity = (2, id(7))), "entities out of order");
    fine(&good_one.with(|d| d.parts[1].entity = (2, id(0))));
    let id_len = "an entity whose id is not 16 bytes long";
    refused(&good_one.with(|d| d.parts[1].entity = (1, vec![8; 17])), id_len);
    let empty = |kind, whole| {
        good(kind).with(|d| {
            let (known, writes) = (vec![], vec![]);
            d.parts.push(SpelledPart { entity: (3, id(1)), whole, known, writes, announced: [0; 2] });
        })
    };
    refused(&empty(INCREMENTAL, false), "an entity without siblings");
    refused(&empty(COMPLETE, true), "an entity without siblings");
    fine(&empty(INCREMENTAL, true));
    fine(&empty(RECONCILED, true));
    // Something is enough.
    fine(&good_one.with(|d| d.parts[0].writes.clear()).with(|d| d.parts[0].whole = false));
    let announces = |part: usize, announced| good_one.with(|d| d.parts[part].announced = announced);
    refused(&announces(0, [1, 0]), "more known siblings than were announced");
    refused(&announces(1, [1, 0]), "more known siblings than were announced");
    refused(&announces(0, [0, 2]), "more siblings than were announced");
    refused(&announces(1, [0, 1]), "more siblings than were announced");
}

#[test]
fn siblings_are_sorted_and_each_is_where_its_dot_may_be() {
    let good = good(INCREMENTAL);
    let known = |known: &[(u32, u32, u64)]| good.with(|d| d.parts[0].known = known.to_vec());
    let unsorted = "known siblings out of order";
    refused(&known(&[(1, 0, 5), (0, 1, 4)]), unsorted);
    refused(&known(&[(0, 1, 4), (0, 0, 4)]), unsorted);
    refused(&known(&[(0, 1, 4), (0, 1, 4)]), unsorted);
    refused(&known(&[(0, 1, 4), (0, 1, 3)]), unsorted);
    let content_missing = "a sibling without its content";
    refused(&known(&[(0, 1, 0)]), content_missing);
    fine(&known(&[(0, 1, 10)]));
    refused(&known(&[(0, 1, 11)]), content_missing);

    let write = |n: usize, change: fn(&mut Write)| good.with(|d| change(&mut d.parts[0].writes[n]));
    let unsorted = "siblings out of order";
    refused(&write(0, |w| w.0 = 2), unsorted);
    refused(&write(1, |w| w.1 = 1).with(|d| d.parts[0].writes[2].1 = 0), unsorted);
    refused(&write(2, |w| (w.1, w.2) = (0, 13)), unsorted);
    refused(&write(2, |w| (w.1, w.2) = (0, 12)), unsorted);
    fine(&write(2, |w| (w.1, w.2) = (0, 14)));
    refused(&write(0, |w| w.2 = 10), "the content of a sibling that the receiver has");
    refused(&write(0, |w| w.2 = 0), "the content of a sibling that the receiver has");
    fine(&write(0, |w| w.2 = 200));
    refused(&write(0, |w| w.2 = 201), "a sibling that the sender has not seen");
    refused(&write(0, |w| w.4 = 257), "a kind past 255");
    refused(&write(1, |w| w.5 = vec![0]), "a tombstone with content");
}

#[test]
fn a_dot_has_one_place() {
    let twice = "one dot in two places";
    let good = good(INCREMENTAL);
    refused(&good.with(|d| d.parts[1].writes[0].2 = 12), twice);
    refused(&good.with(|d| d.parts[0].known[0] = (0, 0, 5)), twice);
    refused(&good.with(|d| (d.parts[1].writes[0].1, d.parts[1].writes[0].2) = (0, 13)), twice);
    fine(&good.with(|d| (d.parts[1].writes[0].1, d.parts[1].writes[0].2) = (0, 14)));
    // Counters too great for two of them to be compared in a word each.
    for great in [1 << 48, u64::MAX] {
        let far = good.with(|d| {
            d.writers[0].1[1] = u64::MAX;
            d.parts[0].writes[1].2 = great;
            (d.parts[1].writes[0].1, d.parts[1].writes[0].2) = (0, great);
        });
        refused(&far, twice);
        fine(&far.with(|d| d.parts[1].writes[0].2 = great - 1));
    }
    // All of them too great, and equal in a word.
    let all_far = good.with(|d| {
        d.writers.iter_mut().for_each(|(_, counters)| counters[1] = u64::MAX);
        d.parts[0].known.clear();
        d.parts[0].writes.truncate(1);
        d.parts[0].whole = false;
        d.fields = vec![b"".to_vec(), b"b".to_vec()];
        (d.parts[0].writes[0].1, d.parts[0].writes[0].2) = (0, (1 << 48) + 12);
        (d.parts[1].writes[0].0, d.parts[1].writes[0].1, d.parts[1].writes[0].2) = (1, 1, (1 << 48) + 12);
    });
    fine(&all_far);
    // The 12 of the second, were the counter cut off there.
    let far = good.with(|d| d.writers[0].1[1] = u64::MAX);
    fine(&far.with(|d| (d.parts[1].writes[0].1, d.parts[1].writes[0].2) = (0, (1 << 48) + 12)));
}

/// What is past the last value, and what is missing of it.
#[test]
fn a_body_ends_where_it_ends() {
    for kind in [INCREMENTAL, COMPLETE, RECONCILED] {
        let body = good(kind).body();
        assert!(Delta::from_bytes(&seal(kind, &[&body[..], &[0]].concat())).is_err());
        assert!(Delta::from_bytes(&seal(kind, &body[..body.len() - 1])).is_err());
    }
}

#[test]
fn an_envelope_says_how_much_of_it_is_missing_or_too_much() {
    let whole = seal(INCREMENTAL, &good(INCREMENTAL).body());
    let read = |bytes: &[u8]| Delta::from_bytes(bytes).unwrap_err();
    let truncated = |missing: usize| DecodeError::Truncated { missing: missing as u64 };
    // Of a head, and one byte of length.
    for len in 0..damage::HEAD {
        assert_eq!(read(&whole[..len]), truncated(damage::HEAD + 1 - len), "{len}");
    }
    let body = whole.len() - damage::open(&whole).1.len();
    assert_eq!(read(&whole[..damage::HEAD]), truncated(1));
    for len in body..whole.len() {
        assert_eq!(read(&whole[..len]), truncated(whole.len() - len), "{len}");
    }
    for more in 1..4 {
        assert_eq!(read(&[&whole[..], &vec![0; more]].concat()), DecodeError::Trailing(more as u64));
    }
    for (len, magic) in [(1, "d"), (2, "Dr"), (4, "DRFt")] {
        assert_eq!(read(&[magic.as_bytes(), &whole[len..]].concat()), DecodeError::Magic);
        assert_eq!(read(magic.as_bytes()), DecodeError::Magic);
    }
}

#[test]
fn the_length_is_a_number_of_64_bits_in_its_shortest_form() {
    let read = |length: &[u8]| {
        let mut bytes = [&seal(INCREMENTAL, b"")[..damage::HEAD], length].concat();
        driftless::testing::repair_checksum(&mut bytes);
        Delta::from_bytes(&bytes).unwrap_err()
    };
    let most = [&[0xff; 9][..], &[1]].concat();
    assert_eq!(read(&most), DecodeError::Truncated { missing: u64::MAX });
    let too_long = DecodeError::Malformed("a number of more than 64 bits");
    assert_eq!(read(&[&[0xff; 9][..], &[2]].concat()), too_long);
    assert_eq!(read(&[&[0x80; 9][..], &[0x81, 1]].concat()), too_long);
    assert_eq!(read(&[&[0x80; 9][..], &[0]].concat()), DecodeError::NotCanonical);
    assert_eq!(read(&[0x85, 0]), DecodeError::NotCanonical);
    assert_eq!(read(&[0x85]), DecodeError::Truncated { missing: 1 });
}

#[test]
fn what_is_found_instead_is_named() {
    let version: Version = [(WriterId::from([1; 16]), 7)].into_iter().collect();
    let dots: DotSet = [Dot { writer: WriterId::from([1; 16]), counter: 7 }].into_iter().collect();
    let delta = fine(&good(COMPLETE)).to_bytes();
    let (version, dots) = (version.to_bytes(), dots.to_bytes());
    let instead = |found, expected| Some(DecodeError::Kind { found, expected });
    assert_eq!(Delta::from_bytes(&version).err(), instead("a version", "a delta"));
    assert_eq!(Delta::from_bytes(&dots).err(), instead("a set of dots", "a delta"));
    assert_eq!(Version::from_bytes(&delta).err(), instead("a delta", "a version"));
    assert_eq!(DotSet::from_bytes(&version).err(), instead("a version", "a set of dots"));
}
