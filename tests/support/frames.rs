//! Frames of sessions spelled by hand, from the documented format alone: so that tests can say what no session would; and those of the
//! sessions in `tests/golden`.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::PathBuf;

use driftless::testing::repair_frame_checksum;
use driftless::{Delta, WriterId};

pub(crate) const HELLO: u8 = 1;
pub(crate) const ANNOUNCE: u8 = 2;
pub(crate) const NEED: u8 = 3;
pub(crate) const PART: u8 = 4;
pub(crate) const ASK: u8 = 5;
pub(crate) const TURN: u8 = 6;
pub(crate) const BYE: u8 = 7;
pub(crate) const GONE: u8 = 8;

/// What a frame says.
pub(crate) fn kind(frame: &[u8]) -> u8 {
    frame[0] & 0x7f
}

pub(crate) fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn frame(kind: u8, to: Option<u32>, says: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind | if to.is_some() { 0x80 } else { 0 }];
    frame.extend(to.iter().flat_map(|to| to.to_le_bytes()));
    frame.extend(says);
    frame.extend([0; 4]);
    repair_frame_checksum(&mut frame);
    frame
}

/// Writers with counters.
pub(crate) type Dots = Vec<(WriterId, u64)>;

fn dots(out: &mut Vec<u8>, dots: &Dots) {
    number(out, dots.len() as u64);
    for (writer, counter) in dots {
        out.extend(writer.as_bytes());
        number(out, *counter);
    }
}

/// What differs from the heads of a version: how many stay before each that is gone, and those that come.
#[derive(Clone, Default, Debug)]
pub(crate) struct Change {
    pub(crate) gone: Vec<u64>,
    pub(crate) come: Dots,
}

impl Change {
    fn write(&self, out: &mut Vec<u8>) {
        number(out, self.gone.len() as u64);
        self.gone.iter().for_each(|gap| number(out, *gap));
        dots(out, &self.come);
    }
}

/// What was seen, then what was pruned as it differs from that, and dots below the heads.
#[derive(Clone, Default, Debug)]
pub(crate) struct Stands {
    pub(crate) version: Change,
    pub(crate) pruned: Change,
    pub(crate) trail: Dots,
}

impl Stands {
    /// At these heads, with nothing pruned.
    pub(crate) fn at(heads: Dots) -> Self {
        let pruned = Change { gone: vec![0; heads.len()], come: Dots::new() };
        Self { version: Change { gone: Vec::new(), come: heads }, pruned, trail: Dots::new() }
    }

    /// At nothing.
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

#[derive(Clone)]
pub(crate) enum Form {
    Digest(u64),
    Whole(Stands),
    FromDigest(u64, Stands),
    FromAnnounced(u64, Stands),
}

/// A stream that broke off.
#[derive(Clone)]
pub(crate) struct Resume {
    /// 0 incremental, 1 reconciled, 2 complete, 3 a repair.
    pub(crate) kind: u8,
    pub(crate) fingerprint: [u8; 16],
    /// `since`, `upto` and what was pruned, as they differ from what it comes with.
    pub(crate) versions: [Change; 3],
    /// The last entity.
    pub(crate) last: [u8; 17],
}

#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) number: u64,
    pub(crate) fingerprint: [u8; 16],
    pub(crate) form: Form,
    pub(crate) resume: Option<Resume>,
}

impl Told {
    pub(crate) fn whole(number: u64, stands: Stands, fingerprint: [u8; 16]) -> Self {
        Self { number, fingerprint, form: Form::Whole(stands), resume: None }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (form, named, stands) = match &self.form {
            Form::Digest(digest) => (0, Some(digest.to_le_bytes().to_vec()), None),
            Form::Whole(stands) => (1, None, Some(stands)),
            Form::FromDigest(digest, stands) => (2, Some(digest.to_le_bytes().to_vec()), Some(stands)),
            Form::FromAnnounced(announced, stands) => {
                let mut named = Vec::new();
                number(&mut named, *announced);
                (3, Some(named), Some(stands))
            }
        };
        out.push(form | if self.resume.is_some() { 4 } else { 0 });
        number(out, self.number);
        out.extend(self.fingerprint);
        out.extend(named.into_iter().flatten());
        if let Some(stands) = stands {
            stands.version.write(out);
            stands.pruned.write(out);
            dots(out, &stands.trail);
        }
        if let Some(Resume { kind, fingerprint, versions, last }) = &self.resume {
            out.push(*kind);
            out.extend(fingerprint);
            versions.iter().for_each(|change| change.write(out));
            out.extend(last);
        }
    }
}

#[derive(Clone)]
pub(crate) struct Hello {
    pub(crate) oldest: u8,
    pub(crate) newest: u8,
    pub(crate) schema: [u8; 4],
    pub(crate) nonce: u64,
    pub(crate) device: Vec<u8>,
    pub(crate) staging_limit: u8,
    pub(crate) told: Told,
}

impl Hello {
    pub(crate) fn says(&self) -> Vec<u8> {
        let mut out = vec![self.oldest, self.newest];
        out.extend(self.schema);
        out.extend(self.nonce.to_le_bytes());
        number(&mut out, self.device.len() as u64);
        out.extend(&self.device);
        out.push(self.staging_limit);
        self.told.write(&mut out);
        out
    }

    pub(crate) fn frame(&self, to: Option<u32>) -> Vec<u8> {
        frame(HELLO, to, &self.says())
    }
}

/// The nonce and the schema in a hello without a receiver.
pub(crate) fn nonce_and_schema(hello: &[u8]) -> (u64, [u8; 4]) {
    assert_eq!(hello[0], HELLO);
    (u64::from_le_bytes(hello[7..15].try_into().unwrap()), hello[3..7].try_into().unwrap())
}

/// The nonce of who says this hello, with a receiver or without.
pub(crate) fn nonce_of(hello: &[u8]) -> u64 {
    let start = if hello[0] & 0x80 == 0 { 7 } else { 11 };
    u64::from_le_bytes(hello[start..start + 8].try_into().unwrap())
}

pub(crate) fn announce(to: u32, merged: u64, told: &Told) -> Vec<u8> {
    let mut says = Vec::new();
    number(&mut says, merged);
    told.write(&mut says);
    frame(ANNOUNCE, Some(to), &says)
}

/// The receiver and the sender of a frame, in one.
pub(crate) fn pair(receiver: u64, sender: u64) -> u32 {
    receiver as u32 ^ (sender >> 32) as u32
}

pub(crate) fn bye(to: u32, nonce: u64, parting: &[u8]) -> Vec<u8> {
    frame(BYE, Some(to), &[&nonce.to_le_bytes(), parting].concat())
}

pub(crate) fn need(to: u32) -> Vec<u8> {
    frame(NEED, Some(to), &[])
}

pub(crate) fn part(to: u32, stream: u64, total: u64, offset: u64, bytes: &[u8]) -> Vec<u8> {
    let mut says = Vec::new();
    [stream, total, offset].into_iter().for_each(|n| number(&mut says, n));
    says.extend(bytes);
    frame(PART, Some(to), &says)
}

/// A whole stream in one part.
pub(crate) fn stream(to: u32, number: u64, bytes: &[u8]) -> Vec<u8> {
    part(to, number, bytes.len() as u64, 0, bytes)
}

pub(crate) fn ask(to: u32, stream: u64, have: u64, again: u8) -> Vec<u8> {
    let mut says = vec![again];
    [stream, have].into_iter().for_each(|n| number(&mut says, n));
    frame(ASK, Some(to), &says)
}

pub(crate) fn turn(to: u32, flags: u8, round: u64, place: u64, builds_on: Option<(Told, u64)>, turn: &[u8]) -> Vec<u8> {
    let mut says = vec![flags | if builds_on.is_some() { 2 } else { 0 }];
    [round, place].into_iter().for_each(|n| number(&mut says, n));
    if let Some((told, announced)) = builds_on {
        told.write(&mut says);
        number(&mut says, announced);
    }
    says.extend(turn);
    frame(TURN, Some(to), &says)
}

/// What stands before the slices of a stream: 0 whole, 1 resumed, 2 repair.
pub(crate) fn header(form: u8, builds_on: u64, told: u64, fingerprint: [u8; 16], changes: u64) -> Vec<u8> {
    let mut out = vec![form];
    number(&mut out, builds_on);
    number(&mut out, told);
    if told > 0 {
        out.extend(fingerprint);
    }
    if form == 1 {
        number(&mut out, changes);
    }
    out
}

/// A delta as one slice, for who has announced to have seen nothing.
pub(crate) fn slice(delta: &Delta) -> Vec<u8> {
    let bytes = delta.to_bytes();
    let body = 15 + bytes[15..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    [&[bytes[5]], &bytes[body..]].concat()
}

pub(crate) fn with_slices(mut header: Vec<u8>, slices: &[Vec<u8>]) -> Vec<u8> {
    for slice in slices {
        number(&mut header, slice.len() as u64);
        header.extend(slice);
    }
    header
}

/// In a file of a session: the connection broke.
pub(crate) const BREAK: u8 = 255;

/// Where `tests/golden` has the frames of a session.
pub(crate) fn session_file(name: &str) -> PathBuf {
    PathBuf::from(format!("{}/tests/golden/sessions/{name}.drift", env!("CARGO_MANIFEST_DIR")))
}

/// Who said what in it, and None where the connection broke.
pub(crate) fn session_in_file(name: &str) -> Vec<Option<(u8, Vec<u8>)>> {
    let file = std::fs::read(session_file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (mut said, mut rest) = (Vec::new(), &file[..]);
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        said.push((*first != BREAK).then(|| {
            let (len, after) = after.split_first_chunk().unwrap();
            let (frame, after) = after.split_at(u32::from_le_bytes(*len) as usize);
            rest = after;
            (*first, frame.to_vec())
        }));
    }
    said
}
