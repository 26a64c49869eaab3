//! Messages spelled by hand from the documented format, each against one rule of it: what a checksum that fits must not hide.

#[path = "support/damage.rs"]
mod damage;

use damage::{FORMAT_VERSION, ROWS_VERSION, seal, seal_as};
use driftless::kernel::{Entity, MAX_FIELD_LEN, MAX_PAYLOAD_LEN, Payload};
use driftless::testing::{Raw, SpelledWrite, TestEnvironment, spell_parts};
use driftless::{Crdt, DecodeError, Delta, DeltaKind, Dot, DotSet, MergeError, Replica, Version, WriterId};
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
    fingerprint: Option<Vec<u8>>,
    news: u64,
    /// Ids of the writers of siblings.
    writers: Vec<Vec<u8>>,
    /// Ids that versions and dead dots name.
    table: Vec<Vec<u8>>,
    /// `since`, told from nothing; `upto`, `pruned` and `at`, told from `since`.
    versions: Vec<SpelledVersion>,
    chains: Vec<Chain>,
    fields: Vec<Vec<u8>>,
    /// A writer's place, and its words with their blocks.
    dead: Vec<(u32, Vec<(u64, u64)>)>,
    parts: Vec<SpelledPart>,
    /// What is announced beyond what follows: fields, dead, parts, known, writes.
    announced: [u64; 5],
}

#[derive(Clone, Default)]
struct SpelledVersion {
    /// Gaps before the places of heads that are gone.
    gone: Vec<u64>,
    /// Place of the writer, counter.
    come: Vec<(u64, u64)>,
    /// What is announced beyond what follows: gone, come.
    announced: [u64; 2],
}

/// Births, each at a dot of the writer before.
#[derive(Clone)]
struct Chain {
    parent: Option<Vec<u8>>,
    ids: Vec<Vec<u8>>,
    /// How far the counter goes on from birth to birth.
    steps: Vec<u64>,
    names: Vec<(u64, String)>,
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

impl SpelledVersion {
    fn put(&self, out: &mut Vec<u8>) {
        let [gone, come] = self.announced;
        put(out, gone.wrapping_add(self.gone.len() as u64));
        self.gone.iter().for_each(|gap| put(out, gap));
        put(out, come.wrapping_add(self.come.len() as u64));
        self.come.iter().for_each(|(place, counter)| {
            put(out, place);
            put(out, counter);
        });
    }
}

impl Chain {
    fn put(&self, out: &mut Vec<u8>) {
        put(out, self.parent.as_ref().map(|id| Bytes::new(id)));
        put(out, Bytes::new(&self.ids.concat()));
        self.steps.iter().for_each(|step| put(out, step));
        put(out, self.names.len());
        self.names.iter().for_each(|(i, name)| {
            put(out, i);
            put(out, name);
        });
    }
}

impl Spelled {
    /// All that stands before the parts.
    fn tables(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let [fields, dead, parts, known, writes] = self.announced;
        let count = |of: fn(&SpelledPart) -> usize| self.parts.iter().map(of).sum::<usize>() as u64;
        put(
            &mut out,
            (
                &self.schema,
                self.fingerprint.as_ref().map(|bytes| Bytes::new(bytes)),
                self.news,
                self.fields.len() as u64 + fields,
                self.dead.len() as u64 + dead,
                parts.wrapping_add(self.parts.len() as u64),
                known.wrapping_add(count(|part| part.known.len())),
                writes.wrapping_add(count(|part| part.writes.len())),
            ),
        );
        put(&mut out, Bytes::new(&self.writers.concat()));
        put(&mut out, Bytes::new(&self.table.concat()));
        self.versions.iter().for_each(|version| version.put(&mut out));
        put(&mut out, self.chains.len());
        self.chains.iter().for_each(|chain| chain.put(&mut out));
        self.fields.iter().for_each(|field| put(&mut out, Bytes::new(field)));
        for (writer, words) in &self.dead {
            put(&mut out, (writer, words.len() as u64));
            let mut last = 0;
            words.iter().for_each(|(block, word)| put(&mut out, (from(&mut last, *block), word)));
        }
        out
    }

    /// The parts as columns, which have no numbers of siblings of their own.
    fn body(&self) -> Vec<u8> {
        let parts: Vec<_> = self.parts.iter().map(SpelledPart::in_columns).collect();
        [self.tables(), spell_parts(&self.fields, &parts)].concat()
    }

    /// The parts as rows.
    fn rows(&self) -> Vec<u8> {
        let mut out = self.tables();
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

    /// Read in both formats, with the same result.
    fn read(&self) -> Result<Delta, DecodeError> {
        let read = self.read_columns();
        assert_eq!(self.read_rows(), read, "rows, columns");
        read
    }

    fn read_columns(&self) -> Result<Delta, DecodeError> {
        let bytes = seal(self.kind, &self.body());
        let read = Delta::from_bytes(&bytes);
        assert!(read.as_ref().map_or(true, |delta| delta.to_bytes() == bytes));
        read
    }

    fn read_rows(&self) -> Result<Delta, DecodeError> {
        let bytes = seal_as(ROWS_VERSION, self.kind, &self.rows());
        let read = Delta::from_bytes(&bytes);
        if let Ok(delta) = &read {
            // Written again, it is of the present format.
            let written = delta.to_bytes();
            assert_eq!((written[4], Delta::from_bytes(&written).as_ref()), (FORMAT_VERSION, Ok(delta)));
        }
        read
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }
}

impl SpelledPart {
    fn in_columns(&self) -> driftless::testing::SpelledPart {
        let write = |(field, writer, counter, stamp, kind, content): &Write| SpelledWrite {
            field: *field,
            writer: *writer,
            counter: *counter,
            stamp: *stamp,
            payload: kind.checked_sub(1).map(|kind| (kind as u8, content.clone())),
        };
        driftless::testing::SpelledPart {
            entity: (self.entity.0, self.entity.1[..16].try_into().unwrap()),
            whole: self.whole,
            known: self.known.clone(),
            writes: self.writes.iter().map(write).collect(),
        }
    }
}

/// The id of an entity.
fn id(n: u8) -> Vec<u8> {
    vec![n; 16]
}

fn writer(n: u8) -> Vec<u8> {
    vec![n; 10]
}

/// Heads of places in the table, told from a version of so many.
fn version(gone: usize, come: &[(u64, u64)]) -> SpelledVersion {
    SpelledVersion { gone: vec![0; gone], come: come.to_vec(), announced: [0; 2] }
}

fn chain(parent: Option<u8>, ids: &[u8], steps: &[u64]) -> Chain {
    let ids = ids.iter().map(|n| writer(*n)).collect();
    Chain { parent: parent.map(writer), ids, steps: steps.to_vec(), names: vec![] }
}

/// A well-formed delta, with something of everything that its kind may hold. Writer 3 was born at dot 20 of writer 2, and
/// writer 4 at dot 22 of writer 3.
fn good(kind: u8) -> Spelled {
    let write = |field, writer, counter, kind, content: &[u8]| (field, writer, counter, 77, kind, content.to_vec());
    let is_complete = kind == COMPLETE;
    let known = if is_complete { 0 } else { 2 };
    let since = if is_complete { version(0, &[]) } else { version(0, &[(0, 10), (1, 10)]) };
    let mut versions = vec![since, version(known, &[(0, 200), (2, 25)]), version(known, &[(0, 3), (1, 20)])];
    if kind == RECONCILED {
        versions.push(version(known, &[(0, 12), (1, 12)]));
    }
    let mut chains = match is_complete {
        true => vec![chain(None, &[1], &[0]), chain(None, &[2, 3, 4], &[0, 20, 2])],
        false => vec![chain(Some(2), &[3, 4], &[20, 2])],
    };
    chains.last_mut().unwrap().names.push((1, "téléphone".into()));
    Spelled {
        kind,
        schema: "driftless.testing.raw".into(),
        fingerprint: Some(vec![9; 16]),
        news: if is_complete { 225 } else { 205 },
        writers: vec![writer(1), writer(2), writer(4)],
        table: vec![writer(1), writer(2), writer(4)],
        versions,
        chains,
        fields: vec![b"".to_vec(), b"a".to_vec(), b"b".to_vec()],
        dead: if kind == RECONCILED { vec![(0, vec![(0, 0b1100)]), (1, vec![(0, 1 << 10)])] } else { vec![] },
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
                writes: vec![write(2, 1, 20, 1, b""), write(2, 2, 23, 1, b"")],
                announced: [0; 2],
            },
        ],
        announced: [0; 5],
    }
}

/// A replica that has seen so many writes of the first two writers.
fn receiver(first: u64, second: u64) -> Replica<Raw> {
    let mut seen = good(COMPLETE);
    (seen.writers, seen.table) = (vec![], vec![writer(1), writer(2)]);
    seen.versions = vec![version(0, &[]), version(0, &[(0, first), (1, second)]), version(0, &[])];
    seen.chains = vec![chain(None, &[1], &[0]), chain(None, &[2], &[0])];
    (seen.news, seen.fields, seen.parts) = (first + second, vec![], vec![]);
    let mut replica = Replica::with_environment(TestEnvironment::new(1));
    replica.merge(&fine(&seen)).unwrap();
    replica
}

/// What is read, and merged into a replica that has seen enough: it changes all or nothing.
fn merged(spelled: &Spelled) -> Result<(), MergeError> {
    let delta = fine(spelled);
    let mut replica = if spelled.kind == COMPLETE { Replica::default() } else { receiver(12, 12) };
    let before = (replica.complete(), replica.save());
    let result = replica.merge(&delta).map(drop);
    match &result {
        Ok(()) => assert!(replica.version().includes(delta.upto())),
        Err(_) => assert!((replica.complete(), replica.save()) == before, "changed though it was refused"),
    }
    replica.state().state().check_invariants().unwrap();
    result
}

/// Read, and refused when it is merged.
#[track_caller]
fn invalid(spelled: &Spelled, why: &'static str) {
    assert_eq!(merged(spelled), Err(MergeError::Invalid(why)));
}

#[track_caller]
fn fine(spelled: &Spelled) -> Delta {
    spelled.read().unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(spelled: &Spelled, why: &'static str) {
    assert_eq!(spelled.read(), Err(DecodeError::Malformed(why)));
}

/// Errors that rows alone can spell.
#[track_caller]
fn refused_in_rows(spelled: &Spelled, why: &'static str) {
    assert_eq!(spelled.read_rows(), Err(DecodeError::Malformed(why)));
}

/// Errors that columns spell in another way than rows.
#[track_caller]
fn refused_in_columns(spelled: &Spelled, why: &'static str) {
    assert_eq!(spelled.read_columns(), Err(DecodeError::Malformed(why)));
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
        let heads = |version: &Version| version.heads().iter().map(|head| head.counter).collect::<Vec<_>>();
        if let DeltaKind::Reconciled { dead, at } = delta.kind() {
            assert_eq!(dead.iter().map(|dot| dot.counter).collect::<Vec<_>>(), [2, 3, 10]);
            assert_eq!(heads(at), [12, 12]);
        }
        assert_eq!((found, delta.schema()), (kind, "driftless.testing.raw"));
        assert_eq!((heads(delta.upto()), heads(delta.pruned())), (vec![200, 25], vec![3, 20]));
        assert_eq!(merged(&good(kind)), Ok(()));
    }
    let mut replica = receiver(12, 12);
    replica.merge(&fine(&good(INCREMENTAL))).unwrap();
    let [third, fourth] = [3, 4].map(|n| WriterId::from([n; 10]));
    assert_eq!((replica.version().device(third), replica.version().device(fourth)), (None, Some("téléphone")));
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
    let (known, writes) = (3, 5);
    let most = u64::from(u32::MAX);
    let siblings = "the number of siblings";
    let announces = |place: usize, more: u64| good.with(|d| d.announced[place] = more);
    too_large(&announces(3, most - known - writes + 1), siblings, most + 1, most);
    too_large(&announces(4, most - known - writes + 1), siblings, most + 1, most);
    too_large(&announces(4, u64::MAX - writes), siblings, u64::MAX, most);
    let no_room = "more is announced than the body can hold";
    refused(&announces(3, most - known - writes), no_room);
    for place in 0..5 {
        refused(&announces(place, 1 << 31), no_room);
        refused(&announces(place, good.body().len() as u64), no_room);
    }
    for version in 0..4 {
        let come = |more: u64| good.with(|d| d.versions[version].announced[1] = more);
        let listed = "more heads than writers are listed";
        refused(&come(1 << 31), listed);
        refused(&come(4), listed);
        refused(&come(u64::MAX - 2), listed);
        refused(&good.with(|d| d.versions[version].announced[0] = 3), "more heads are gone than there were");
    }
    // One more of anything is missed.
    for (place, what) in [(3, "fewer known siblings than were announced"), (4, "fewer siblings than were announced")] {
        let long = good.with(|d| d.parts[0].writes[0].5 = vec![0; 100]);
        refused_in_rows(&long.with(|d| d.announced[place] = 1), what);
        refused_in_columns(&long.with(|d| d.announced[place] = 1), "fewer siblings than were announced");
        let fewer = long.with(|d| d.announced[place] = u64::MAX);
        assert!(matches!(fewer.read_columns(), Err(DecodeError::Malformed("more siblings than were announced"))));
    }
    // A part more has no shape, and one less leaves something over.
    let long = good.with(|d| d.parts[0].writes[0].5 = vec![0; 100]);
    assert!(matches!(long.with(|d| d.announced[2] = 1).read_columns(), Err(DecodeError::Truncated { .. })));
    refused_in_columns(&long.with(|d| d.announced[2] = u64::MAX), "fewer siblings than were announced");
}

/// To the byte: what is believed before it is read bounds what is reserved for it.
#[test]
fn what_is_announced_is_believed_up_to_the_least_that_it_can_take() {
    let no_room = DecodeError::Malformed("more is announced than the body can hold");
    // Fields, writers of dead dots with one word each, parts, known, writes.
    let least = [2, 6, 23, 4, 8];
    let good = good(RECONCILED);
    let held: u64 = [3, 2, 2, 3, 5].iter().zip(least).map(|(count, least)| count * least).sum();
    for (place, least) in least.into_iter().enumerate() {
        let (mut believed, mut refused) = (0, 0);
        for more in 0..200 {
            let announced = good.with(|d| {
                d.announced[place] = more;
                d.parts[0].writes[0].5 = vec![0; 100];
            });
            let has_room = held + more * least <= announced.rows().len() as u64;
            let error = announced.read_rows().err();
            assert_eq!(error == Some(no_room.clone()), !has_room, "{more} at {place}: {error:?}");
            *if has_room { &mut believed } else { &mut refused } += 1;
        }
        assert!(believed > 0 && refused > 0, "{place}: {believed} and {refused}");
    }
    // A part takes a byte in columns, and a known sibling too; writes are few in a shape that parts share, or take three bytes each.
    let held: u64 = 3 * 2 + 2 * 6 + 2 + 3;
    for (place, least) in [(0, 2), (1, 6), (2, 1), (3, 1)] {
        let (mut believed, mut refused) = (0, 0);
        for more in 0..500 {
            let announced = good.with(|d| d.announced[place] = more);
            let has_room = held + more * least <= announced.body().len() as u64;
            let error = announced.read_columns().err();
            assert_eq!(error == Some(no_room.clone()), !has_room, "{more} at {place}: {error:?}");
            *if has_room { &mut believed } else { &mut refused } += 1;
        }
        assert!(believed > 0 && refused > 0, "{place}: {believed} and {refused}");
    }
    for more in 0..200 {
        let announced = good.with(|d| d.announced[4] = more);
        let has_room = 5 + more <= 2 * 16 + announced.body().len() as u64 / 3;
        assert_eq!(announced.read_columns().err() == Some(no_room.clone()), !has_room, "{more}");
    }
    // A writer with one word: 17 bytes.
    for count in 1..100u64 {
        for more in 0..200 {
            let mut body = Vec::new();
            put(&mut body, count);
            body.resize(body.len() + more, 0xc0);
            let refused = Some(no_room.clone()).filter(|_| count * 17 > body.len() as u64);
            let dots = DotSet::from_bytes(&seal(6, &body)).unwrap_err();
            assert_eq!(Some(dots).filter(|error| *error == no_room), refused);
        }
    }
    // A dot below heads: 2 bytes.
    for count in 1..100u64 {
        for more in 0..200 {
            let mut body = Vec::new();
            put(&mut body, Bytes::new(&[]));
            (0..2).for_each(|_| put(&mut body, 0u64));
            put(&mut body, count);
            body.resize(body.len() + more, 0xc0);
            let refused = Some(no_room.clone()).filter(|_| count * 2 > body.len() as u64);
            let version = Version::from_bytes(&seal(5, &body)).unwrap_err();
            assert_eq!(Some(version).filter(|error| *error == no_room), refused);
        }
    }
}

#[test]
fn a_version_names_each_writer_once_and_in_order() {
    let read = |table: &[u8], heads: &[(u64, u64)], below: &[(u64, u64)]| {
        let mut body = Vec::new();
        put(&mut body, Bytes::new(&table.iter().flat_map(|n| writer(*n)).collect::<Vec<_>>()));
        version(0, heads).put(&mut body);
        put(&mut body, below.len());
        below.iter().for_each(|(place, counter)| {
            put(&mut body, place);
            put(&mut body, counter);
        });
        Version::from_bytes(&seal(5, &body)).map(|version| version.len())
    };
    assert_eq!(read(&[1, 2], &[(0, 5), (1, 1)], &[]), Ok(2));
    assert_eq!(read(&[1, 2, 3], &[(0, 5), (2, 1)], &[(0, 2), (1, 3)]), Ok(2));
    assert_eq!(read(&[2, 1], &[(0, 5), (1, 1)], &[]), Err(DecodeError::Malformed("writers out of order")));
    assert_eq!(read(&[1, 1], &[(0, 5), (1, 1)], &[]), Err(DecodeError::Malformed("writers out of order")));
    let none = Err(DecodeError::Malformed("heads that are none of one version"));
    assert_eq!(read(&[1, 2], &[(0, 5), (0, 6)], &[]), none, "two heads of one writer");
    let more = Err(DecodeError::Malformed("more heads than writers are listed"));
    assert_eq!(read(&[1], &[(0, 5), (0, 6)], &[]), more);
    let below = |dots: u64| read(&[1, 2], &[(0, 5)], &(1..=dots).map(|counter| (1, counter)).collect::<Vec<_>>());
    assert_eq!(below(256), Ok(1));
    let (what, found, limit) = ("the number of dots below heads", 257, 256);
    assert_eq!(below(257), Err(DecodeError::TooLarge { what, found, limit }));
    assert_eq!(read(&[1, 2], &[(0, 5), (1, 0)], &[]), none, "a head that names no write");
    assert_eq!(read(&[1], &[(1, 5)], &[]), Err(DecodeError::Malformed("a head of a writer that is not listed")));
    assert_eq!(read(&[1], &[(0, 5)], &[(1, 5)]), Err(DecodeError::Malformed("a dot of a writer that is not listed")));
    let otherwise = Err(DecodeError::NotCanonical);
    assert_eq!(read(&[1, 2], &[(1, 5), (0, 1)], &[]), otherwise, "heads out of order");
    assert_eq!(read(&[1, 2], &[(0, 5)], &[]), otherwise, "a writer that nothing names");
    assert_eq!(read(&[1, 2, 3], &[(0, 5)], &[(2, 3), (1, 2)]), otherwise, "dots out of order");
}

#[test]
fn versions_are_heads_of_writers_that_are_listed() {
    let good = good(RECONCILED);
    let order = "writers out of order";
    let id_len = "the id of a writer that is not 10 bytes long";
    refused(&good.with(|d| d.table.swap(0, 1)), order);
    refused(&good.with(|d| d.table[1] = writer(1)), order);
    refused(&good.with(|d| d.table[1] = vec![2; 9]), id_len);
    refused(&good.with(|d| d.writers.swap(0, 1)), order);
    refused(&good.with(|d| d.writers[1] = writer(1)), order);
    refused(&good.with(|d| d.writers[1] = vec![2; 9]), id_len);
    for place in 0..4 {
        let version = |change: fn(&mut SpelledVersion)| good.with(|d| change(&mut d.versions[place]));
        refused(&version(|v| v.come[0].0 = 3), "a head of a writer that is not listed");
        let none = "heads that are none of one version";
        refused(&version(|v| v.come[1].0 = 0), none);
        refused(&version(|v| v.come[1] = v.come[0]), none);
        refused(&version(|v| v.come[0].1 = 0), none);
        assert_eq!(version(|v| v.come.swap(0, 1)).read(), Err(DecodeError::NotCanonical), "heads out of order");
    }
    // Of the version that the others are told from there are two heads.
    for place in 1..4 {
        let version = |change: fn(&mut SpelledVersion)| good.with(|d| change(&mut d.versions[place]));
        let none = "a head is gone that there was not";
        refused(&version(|v| v.gone = vec![2]), none);
        refused(&version(|v| v.gone = vec![0, 1]), none);
        refused(&version(|v| v.gone = vec![0, u64::MAX]), none);
        refused(&version(|v| v.gone = vec![1, u64::MAX]), none);
        refused(&version(|v| v.gone = vec![0, 0, 0]), "more heads are gone than there were");
        // Gone, and come again as it was.
        assert_eq!(version(|v| v.come[0] = (0, 10)).read(), Err(DecodeError::NotCanonical));
    }
    refused(&good.with(|d| d.versions[0].gone = vec![0]), "more heads are gone than there were");
    assert_eq!(
        good.with(|d| d.table.push(writer(5))).read(),
        Err(DecodeError::NotCanonical),
        "a writer that nothing names"
    );
}

#[test]
fn a_fingerprint_has_16_bytes() {
    for kind in [INCREMENTAL, COMPLETE, RECONCILED] {
        fine(&good(kind).with(|d| d.fingerprint = None));
        for len in [0, 15, 17] {
            let wrong = good(kind).with(|d| d.fingerprint = Some(vec![9; len]));
            refused(&wrong, "a fingerprint that is not 16 bytes long");
        }
    }
}

#[test]
fn births_are_told_once_each_and_in_chains() {
    let good = good(COMPLETE);
    let second = |change: fn(&mut Chain)| good.with(|d| change(&mut d.chains[1]));
    let twice = "two births of one writer";
    refused(&good.with(|d| d.chains.push(chain(None, &[1], &[0]))), twice);
    refused(&second(|c| c.ids[2] = writer(3)), twice);
    refused(&second(|c| c.ids[1] = writer(2)), twice);
    refused(&second(|c| c.ids[1] = vec![3; 9]), "the id of a writer that is not 10 bytes long");
    let at_none = "a birth at no write";
    refused(&second(|c| c.steps[1] = 0), at_none);
    refused(&second(|c| c.steps[0] = 1), at_none);
    refused(&second(|c| c.parent = Some(writer(1))), at_none);
    refused(&second(|c| c.steps[2] = u64::MAX), "a counter past its end");
    refused(&good.with(|d| d.chains.push(chain(None, &[], &[]))), "a chain without writers");
    let otherwise = |spelled: &Spelled| assert_eq!(spelled.read(), Err(DecodeError::NotCanonical));
    otherwise(&good.with(|d| d.chains.swap(0, 1)));
    // A chain cut in two, and one that goes on with another than the last that was born there.
    otherwise(&good.with(|d| {
        d.chains[1] = chain(None, &[2, 3], &[0, 20]);
        d.chains.push(chain(Some(3), &[4], &[22]));
    }));
    otherwise(&good.with(|d| {
        d.chains[1] = chain(None, &[2, 3], &[0, 20]);
        d.chains.push(chain(Some(2), &[4], &[22]));
    }));
    // Born below its parent's birth: no chain can say so, since counters only go on.
    otherwise(&good.with(|d| {
        d.chains[1] = chain(None, &[2, 3], &[0, 20]);
        d.chains.push(chain(Some(3), &[4], &[19]));
    }));
    // In circles: one writer by itself, and two.
    otherwise(&good.with(|d| d.chains.push(chain(Some(5), &[5], &[7]))));
    otherwise(&good.with(|d| d.chains.push(chain(Some(6), &[5, 6], &[7, 1]))));
}

#[test]
fn a_name_of_a_device_is_short_and_that_of_a_writer() {
    let named = |names: &[(u64, &str)]| {
        let names = names.iter().map(|(i, name)| (*i, (*name).to_owned())).collect();
        good(COMPLETE).with(|d| d.chains[1].names = names)
    };
    let (longest, longer) = ("x".repeat(64), "x".repeat(65));
    fine(&named(&[(0, &longest), (2, "")]));
    too_large(&named(&[(0, &longer)]), "the name of a device", 65, 64);
    refused(&named(&[(3, "x")]), "the name of no writer");
    refused(&named(&[(u64::MAX, "x")]), "the name of no writer");
    for names in [&[(0, "x"), (0, "x")][..], &[(1, "x"), (0, "x")]] {
        assert_eq!(named(names).read(), Err(DecodeError::NotCanonical));
    }
}

#[test]
fn births_fit_what_is_told_and_what_is_known() {
    let incremental = good(INCREMENTAL);
    let chains = |chains: &[Chain]| incremental.with(|d| d.chains = chains.to_vec());
    let missing = "it names a writer without its birth";
    invalid(&chains(&[]), missing);
    invalid(&chains(&[chain(Some(2), &[3], &[20])]), missing);
    invalid(&chains(&[chain(Some(3), &[4], &[22])]), missing);
    invalid(&chains(&[chain(Some(9), &[3, 4], &[20, 2])]), missing);
    // Of a writer that the table learns nothing of by `upto`.
    let unneeded = "the birth of a writer that wrote nothing";
    let with = |more: Chain| incremental.with(|d| d.chains.push(more));
    invalid(&with(chain(None, &[5], &[0])), unneeded);
    invalid(&with(chain(Some(1), &[5], &[200])), unneeded);
    invalid(&with(chain(Some(5), &[6], &[3])), unneeded);
    // A head at or below the birth of its writer, and births past what their parents can have reached.
    let impossible = "a counter that its writer cannot have reached";
    invalid(&incremental.with(|d| d.versions[1].come[1].1 = 22), impossible);
    invalid(&incremental.with(|d| d.versions[1].come[1].1 = 1), impossible);
    invalid(&chains(&[chain(Some(2), &[3, 4], &[20, MAX_COUNTER - 20])]), impossible);
    invalid(&chains(&[chain(Some(2), &[3, 4], &[20, u64::MAX - 20])]), impossible);
    // What is known here already, told again, and told otherwise.
    let known = chain(None, &[1], &[0]);
    assert_eq!(merged(&incremental.with(|d| d.chains.insert(0, known))), Ok(()));
    let other = chain(Some(2), &[1], &[5]);
    let two_births = MergeError::TwoBirths { writer: WriterId::from([1; 10]) };
    assert_eq!(merged(&incremental.with(|d| d.chains.insert(0, other))), Err(two_births.clone()));
    let mut named = chain(None, &[1], &[0]);
    named.names.push((0, "laptop".into()));
    assert_eq!(merged(&incremental.with(|d| d.chains.insert(0, named))), Err(two_births));
}

/// As it would be merged twice: the second of two births of one writer is refused though its delta is well-formed.
#[test]
fn a_writer_that_was_born_once_is_not_born_again_elsewhere() {
    let mut replica = receiver(12, 12);
    replica.merge(&fine(&good(INCREMENTAL))).unwrap();
    let before = replica.save();
    let other = good(INCREMENTAL).with(|d| {
        d.chains = vec![chain(Some(2), &[3, 4], &[19, 3])];
        d.versions[1].come[1].1 = 40;
        d.news = 219;
    });
    let refused = replica.merge(&fine(&other)).unwrap_err();
    assert_eq!(refused, MergeError::TwoBirths { writer: WriterId::from([3; 10]) });
    assert_eq!(replica.save(), before);
}

const MAX_COUNTER: u64 = (1 << 53) - 1;

#[test]
fn counters_end_at_two_to_the_53() {
    let good = good(INCREMENTAL);
    let first = |upto: u64| {
        good.with(|d| {
            d.versions[1].come[0].1 = upto;
            d.news = upto.wrapping_sub(10).wrapping_add(15);
        })
    };
    assert_eq!(merged(&first(MAX_COUNTER)), Ok(()));
    let impossible = "a counter that its writer cannot have reached";
    invalid(&first(MAX_COUNTER + 1), impossible);
    invalid(&first(u64::MAX), impossible);
    // Born at the last but one there is room for one write, and at the last for none.
    let born = |at: u64| {
        good.with(|d| {
            d.chains = vec![chain(Some(2), &[3, 4], &[20, at - 20])];
            d.versions[1].come[1].1 = at + 1;
            d.news = 190 + at + 1 - 10;
            d.parts[1].writes.truncate(1);
            d.writers.truncate(2);
        })
    };
    assert_eq!(merged(&born(MAX_COUNTER - 1)), Ok(()));
    invalid(&born(MAX_COUNTER), impossible);
}

#[test]
fn the_number_of_writes_is_that_which_the_versions_tell() {
    for kind in [INCREMENTAL, COMPLETE, RECONCILED] {
        let right = good(kind).news;
        for news in [0, right - 1, right + 1, u64::MAX] {
            invalid(&good(kind).with(|d| d.news = news), "another number of writes than its versions tell");
        }
    }
}

#[test]
fn versions_fit_together() {
    let good = good(RECONCILED);
    let first = |version: usize, counter: u64| good.with(|d| d.versions[version].come[0].1 = counter);
    let before = "it begins after it ends";
    invalid(&good.with(|d| (d.versions[1].come[0].1, d.news) = (9, 15)), before);
    invalid(&first(2, 201), "a pruned version beyond what was seen");
    assert_eq!(merged(&first(2, 200)), Ok(()));
    // Of writers that nobody here has heard of.
    let other = |version: usize| {
        good.with(|d| {
            d.table.push(writer(5));
            d.versions[version].come.push((3, 1));
        })
    };
    assert!(matches!(merged(&other(0)), Err(MergeError::Gap { .. })));
    invalid(&other(1), "it names a writer without its birth");
    invalid(&other(2), "a pruned version beyond what was seen");
    assert!(matches!(merged(&other(3)), Err(MergeError::Gap { .. })));
    // What was seen here is not what it builds on, or what it was cut for.
    assert!(matches!(merged(&first(0, 13)), Err(MergeError::Gap { .. })));
    assert!(matches!(merged(&first(3, 13)), Err(MergeError::Gap { .. })));
}

#[test]
fn names_of_cells_are_sorted_and_used() {
    let good = good(INCREMENTAL);
    refused(&good.with(|d| d.fields.swap(1, 2)), "fields out of order");
    refused(&good.with(|d| d.fields[2] = b"a".to_vec()), "fields out of order");
    refused(&good.with(|d| d.fields.push(b"c".to_vec())), "a field that nothing uses");
    refused(&good.with(|d| d.parts[1].writes[0].0 = 3), "a field that is not listed");
    refused(&good.with(|d| d.parts[1].writes[0].1 = 3), "a writer that is not listed");
    refused(&good.with(|d| d.parts[0].known[2].0 = 3), "a field that is not listed");
    refused(&good.with(|d| d.parts[0].known[0].1 = 3), "a writer that is not listed");
    refused(&good.with(|d| d.writers.push(writer(5))), "a writer that nothing uses");
}

#[test]
fn the_dead_are_sorted_and_were_seen() {
    let good = good(RECONCILED);
    let dead = |dead: &[(u32, Vec<(u64, u64)>)]| good.with(|d| d.dead = dead.to_vec());
    refused(&dead(&[(3, vec![(0, 1)])]), "a dead dot of a writer that is not listed");
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
    // The last of the first that it builds on is 10.
    assert_eq!(merged(&dead(&[(0, vec![(0, 1 << 10)])])), Ok(()));
    let unseen = "a dead dot that it does not build on";
    invalid(&dead(&[(0, vec![(0, 1 << 11)])]), unseen);
    invalid(&dead(&[(0, vec![(4, 1)])]), unseen);
    invalid(&dead(&[(0, vec![((1 << 58) - 1, 1 << 63)])]), unseen);
    invalid(&dead(&[(2, vec![(0, 1 << 5)])]), unseen);
}

#[test]
fn each_kind_holds_what_it_may() {
    let dead = |kind| good(kind).with(|d| d.dead = vec![(0, vec![(0, 2)])]);
    refused(&dead(INCREMENTAL), "dead dots in an incremental delta");
    let left_out = "a complete delta that leaves content out";
    refused(&dead(COMPLETE), left_out);
    refused(&good(COMPLETE).with(|d| d.parts[0].known = vec![(0, 1, 4)]), left_out);
    let builds = good(COMPLETE).with(|d| {
        d.versions[0].come = vec![(0, 1)];
        d.versions[1..].iter_mut().for_each(|version| version.gone = vec![0]);
    });
    refused(&builds, "a complete delta that builds on something");
    // Only a reconciled one has a version that it was cut for.
    let more = good(INCREMENTAL).with(|d| d.versions.push(version(2, &[(0, 12), (1, 12)])));
    assert!(Delta::from_bytes(&seal(INCREMENTAL, &more.body())).is_err());
    let partial = "a part of an entity in a complete delta";
    refused(&good(COMPLETE).with(|d| d.parts[1].whole = false), partial);
}

#[test]
fn entities_are_sorted_and_hold_something() {
    let good_one = good(INCREMENTAL);
    // The order of columns is that of the runs, whatever the entities are.
    for swapped in [good_one.with(|d| d.parts.swap(0, 1)), good_one.with(|d| d.parts[0].entity = (2, id(7)))] {
        refused_in_rows(&swapped, "entities out of order");
        assert!(swapped.read_columns().is_ok());
    }
    refused(&good_one.with(|d| d.parts[1].entity = (1, id(7))), "entities out of order");
    fine(&good_one.with(|d| d.parts[1].entity = (2, id(0))));
    let id_len = "an entity whose id is not 16 bytes long";
    refused_in_rows(&good_one.with(|d| d.parts[1].entity = (1, vec![8; 17])), id_len);
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
    refused_in_rows(&announces(0, [1, 0]), "more known siblings than were announced");
    refused_in_rows(&announces(1, [1, 0]), "more known siblings than were announced");
    refused_in_rows(&announces(0, [0, 3]), "more siblings than were announced");
    refused_in_rows(&announces(1, [0, 1]), "more siblings than were announced");
}

#[test]
fn siblings_are_sorted_and_each_is_where_its_dot_may_be() {
    let good = good(INCREMENTAL);
    let known = |known: &[(u32, u32, u64)]| good.with(|d| d.parts[0].known = known.to_vec());
    let unsorted = "known siblings out of order";
    // Fields of a shape ascend by the way in which they are told.
    refused_in_rows(&known(&[(1, 0, 5), (0, 1, 4)]), unsorted);
    refused_in_columns(&known(&[(1, 0, 5), (0, 1, 4)]), "a field that is not listed");
    refused(&known(&[(0, 1, 4), (0, 0, 4)]), unsorted);
    refused(&known(&[(0, 1, 4), (0, 1, 4)]), unsorted);
    refused(&known(&[(0, 1, 4), (0, 1, 3)]), unsorted);
    let content_missing = "a sibling without its content";
    refused(&known(&[(0, 1, 0)]), content_missing);
    assert_eq!(merged(&known(&[(0, 1, 10)])), Ok(()));
    // Beyond what it builds on: dead, as where two deltas were joined. Not beyond what it has seen.
    assert_eq!(merged(&known(&[(0, 1, 11)])), Ok(()));
    invalid(&known(&[(0, 1, 201)]), content_missing);
    // Of a writer that what it builds on does not name, which has written 23 to 25.
    assert_eq!(merged(&known(&[(0, 2, 24)])), Ok(()));
    invalid(&known(&[(0, 2, 26)]), content_missing);
    invalid(&known(&[(0, 2, 22)]), content_missing);

    let write = |n: usize, change: fn(&mut Write)| good.with(|d| change(&mut d.parts[0].writes[n]));
    let unsorted = "siblings out of order";
    refused_in_rows(&write(0, |w| w.0 = 2), unsorted);
    refused_in_columns(&write(0, |w| w.0 = 2), "a field that is not listed");
    refused(&write(1, |w| w.1 = 1).with(|d| d.parts[0].writes[2].1 = 0), unsorted);
    refused(&write(2, |w| (w.1, w.2) = (0, 13)), unsorted);
    refused(&write(2, |w| (w.1, w.2) = (0, 12)), unsorted);
    fine(&write(2, |w| (w.1, w.2) = (0, 14)));
    let impossible = "a sibling that it cannot hold";
    invalid(&write(0, |w| w.2 = 10), impossible);
    refused(&write(0, |w| w.2 = 0), "a sibling that no write made");
    assert_eq!(merged(&write(0, |w| w.2 = 200)), Ok(()));
    invalid(&write(0, |w| w.2 = 201), impossible);
    // The last writer has written 23 to 25.
    let last = |counter| good.with(|d| d.parts[1].writes[1].2 = counter);
    assert_eq!(merged(&last(25)), Ok(()));
    invalid(&last(26), impossible);
    invalid(&last(22), impossible);
    refused_in_rows(&write(0, |w| w.4 = 257), "a kind past 255");
    refused_in_rows(&write(1, |w| w.5 = vec![0]), "a tombstone with content");
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
            d.parts[0].writes[1].2 = great;
            (d.parts[1].writes[0].1, d.parts[1].writes[0].2) = (0, great);
        });
        refused(&far, twice);
        fine(&far.with(|d| d.parts[1].writes[0].2 = great - 1));
    }
    // The 12 of the second, were the counter cut off there.
    fine(&good.with(|d| (d.parts[1].writes[0].1, d.parts[1].writes[0].2) = (0, (1 << 48) + 12)));
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
    let version: Version = [(WriterId::from([1; 10]), 7)].into_iter().collect();
    let dots: DotSet = [Dot { writer: WriterId::from([1; 10]), counter: 7 }].into_iter().collect();
    let delta = fine(&good(COMPLETE)).to_bytes();
    let (version, dots) = (version.to_bytes(), dots.to_bytes());
    let instead = |found, expected| Some(DecodeError::Kind { found, expected });
    assert_eq!(Delta::from_bytes(&version).err(), instead("a version", "a delta"));
    assert_eq!(Delta::from_bytes(&dots).err(), instead("a set of dots", "a delta"));
    assert_eq!(Version::from_bytes(&delta).err(), instead("a delta", "a version"));
    assert_eq!(DotSet::from_bytes(&version).err(), instead("a version", "a set of dots"));
}

// ---- what a peer may claim within the rules ----

/// A complete delta that holds no sibling, of writers born as these chains say.
fn claims(table: Vec<Vec<u8>>, heads: &[(u64, u64)], chains: Vec<Chain>, news: u64) -> Spelled {
    good(COMPLETE).with(|d| {
        (d.writers, d.table, d.chains, d.news) = (vec![], table, chains, news);
        d.versions = vec![version(0, &[]), version(0, heads), version(0, &[])];
        (d.fields, d.parts) = (vec![], vec![]);
    })
}

fn numbered(n: u32) -> Vec<u8> {
    [&[0; 6], &n.to_be_bytes()[..]].concat()
}

fn writes_on(replica: &mut Replica<Raw>) {
    let since = replica.version().clone();
    let write = |raw: &mut driftless::Edit<'_, Raw>| raw.write(Entity::SELF, b"f", Payload::new(1, b"x"));
    let (dot, delta) = replica.edit(write).unwrap();
    assert_eq!((delta.len(), replica.version().covers(dot), since.covers(dot)), (1, true, false));
    replica.state().state().check_invariants().unwrap();
    let again = Replica::<Raw>::load(&replica.save()).unwrap();
    assert_eq!((again.version(), again.state()), (replica.version(), replica.state()));
}

#[test]
fn a_hundred_thousand_births_in_one_chain_are_merged_without_delay() {
    const BIRTHS: u32 = 100_000;
    let ids: Vec<_> = (0..BIRTHS).map(numbered).collect();
    let last = ids.last().unwrap().clone();
    let steps = (0..BIRTHS).map(|n| u64::from(n > 0)).collect();
    let chain = Chain { parent: None, ids, steps, names: vec![] };
    let all = claims(vec![last], &[(0, u64::from(BIRTHS))], vec![chain], u64::from(BIRTHS));
    let delta = fine(&all);
    let begun = std::time::Instant::now();
    let mut replica = Replica::<Raw>::with_environment(TestEnvironment::new(1));
    replica.merge(&delta).unwrap();
    writes_on(&mut replica);
    let nobody = Version::new();
    assert_eq!(replica.delta_since(&nobody).unwrap().len(), BIRTHS as usize + 1);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

/// Each may claim as many writes as a counter has numbers, and the sum of what all claim is no number of 64 bits.
#[test]
fn more_writes_than_64_bits_can_count_are_no_panic() {
    const ROOTS: u32 = 2_100;
    let heads: Vec<_> = (0..ROOTS).map(|n| (u64::from(n), MAX_COUNTER)).collect();
    let chains = (0..ROOTS).map(|n| Chain { parent: None, ids: vec![numbered(n)], steps: vec![0], names: vec![] });
    let all = claims((0..ROOTS).map(numbered).collect(), &heads, chains.collect(), u64::MAX);
    let mut replica = Replica::<Raw>::with_environment(TestEnvironment::new(1));
    replica.merge(&fine(&all)).unwrap();
    writes_on(&mut replica);
    let other = Replica::<Raw>::default();
    assert_eq!(replica.delta_since(other.version()).unwrap().len(), usize::MAX);
}

#[test]
fn a_writer_of_ours_whose_counters_a_peer_uses_up_is_replaced() {
    let mut replica = Replica::<Raw>::with_environment(TestEnvironment::new(1));
    writes_on(&mut replica);
    let ours = replica.writer().unwrap();
    let id = ours.as_bytes().to_vec();
    let used_up = good(INCREMENTAL).with(|d| {
        (d.writers, d.table, d.chains) = (vec![], vec![id], vec![]);
        (d.fields, d.parts, d.news) = (vec![], vec![], MAX_COUNTER - 1);
        d.versions = vec![version(0, &[(0, 1)]), version(1, &[(0, MAX_COUNTER)]), version(1, &[])];
    });
    let report = replica.merge(&fine(&used_up)).unwrap();
    assert_eq!(report.shared_writer(), Some(ours));
    writes_on(&mut replica);
    assert!(replica.writer().is_some_and(|writer| writer != ours));
    // Opened again it goes on as well.
    writes_on(&mut Replica::load_with(TestEnvironment::new(1), &replica.save()).unwrap());
}

/// An id that no replica draws, born in another writer and with more writes than one.
#[test]
fn heads_that_name_derived_writers_are_heads_like_others() {
    let derived = vec![0xff; 10];
    let born = Chain { parent: Some(writer(1)), ids: vec![derived.clone()], steps: vec![3], names: vec![] };
    let all = claims(vec![derived], &[(0, 9)], vec![chain(None, &[1], &[0]), born], 9);
    // Both are one chain.
    let all = all.with(|d| {
        let last = d.chains.pop().unwrap();
        d.chains[0].ids.extend(last.ids);
        d.chains[0].steps.extend(last.steps);
    });
    let mut replica = Replica::<Raw>::with_environment(TestEnvironment::new(1));
    replica.merge(&fine(&all)).unwrap();
    writes_on(&mut replica);
}
