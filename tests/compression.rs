//! Compressed messages, saved states and slices: they hold what the plain ones hold, in fewer bytes, and a hostile one takes no more
//! than its reader allows.

#[path = "support/damage.rs"]
mod damage;
#[path = "support/frames.rs"]
mod frames;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/victim.rs"]
mod victim;

use std::time::Duration;

use damage::{HEAD, leb128, open};
use driftless::sync::{Event, Options, Session, SessionError, Staged};
use driftless::testing::{TestEnvironment, repair_checksum, seal_message, twin};
use driftless::{DecodeError, Delta, Edit, EditError, Graph, MAX_MEMORY, NodeId, Prune, Replica, Version};
use frames::{PART, Stands, Told, header, kind, slice, with_slices};
use memory::{alone, peak_of};
use proptest::prelude::*;
use serde_json::Value;
use victim::{NO_PRINT, Victim, filled, replica};

const FLAGS: usize = 6;

/// The kind of a saved state, and of the beginning of a delta.
const STATE: u8 = 4;
const STAGED: u8 = 8;

const MIB: u64 = 1 << 20;

/// An envelope around compressed contents that claim to be so long, with a checksum that fits.
fn claiming(kind: u8, len: u64, stream: &[u8]) -> Vec<u8> {
    let mut bytes = seal_message(kind, [&leb128(len)[..], stream].concat()).unwrap();
    bytes[FLAGS] = 1;
    repair_checksum(&mut bytes);
    bytes
}

fn deflate(contents: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec(contents, 6)
}

/// A stream of somewhat more than a MiB that stands for a GiB: 256 times 4 MiB of zeros, and an end.
fn gib() -> Vec<u8> {
    use miniz_oxide::deflate::core::{
        CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params,
    };

    let flags = create_comp_flags_from_zip_params(6, 0, 0);
    let part = |contents: &[u8], flush| {
        let mut out = Vec::new();
        compress_to_output(&mut CompressorOxide::new(flags), contents, flush, |bytes| {
            out.extend_from_slice(bytes);
            true
        });
        out
    };
    // The output of a full flush can stand anywhere in a stream.
    let zeros = part(&vec![0; 4 << 20], TDEFLFlush::Full);
    let all = [zeros.repeat(256), part(&[], TDEFLFlush::Finish)].concat();
    assert!(all.len() < 1_100_000);
    all
}

/// A compressed message of the same contents as a plain one.
fn compressed(plain: &[u8]) -> Vec<u8> {
    let (kind, body) = open(plain);
    claiming(kind, body.len() as u64, &deflate(body))
}

/// The animals of WordNet, with their relations.
fn animals() -> Replica<Graph> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/wordnet-animals.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut replica = replica(1);
    let add = |g: &mut Edit<'_, Graph>, line: &Value| -> Result<(), EditError> {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        if line["edge"].is_string() {
            let [from, to] = ["from", "to"].map(|end| NodeId::named(text(end)));
            return g.link(from, text("edge"), to).map(drop);
        }
        let node = g.add_node(text("node"))?;
        g.set(node, "/pos", text("pos"))?;
        g.set(node, "/gloss", text("gloss"))?;
        for lemma in line["lemmas"].as_array().into_iter().flatten() {
            g.properties_mut(node).insert("/lemmas", lemma.as_str().unwrap_or_default())?;
        }
        Ok(())
    };
    for lines in lines.chunks(100) {
        replica.edit(|g| lines.iter().try_for_each(|line| add(g, line))).unwrap();
    }
    replica
}

// ---- messages and saved states ----

#[test]
fn a_real_graph_takes_half_the_bytes_and_is_the_same() {
    let _alone = alone();
    let replica = animals();
    let (plain, compressed) = (replica.save(), replica.save_compressed());
    println!("saved: {} bytes, compressed {}", plain.len(), compressed.len());
    assert!(compressed.len() * 2 < plain.len(), "{} of {}", compressed.len(), plain.len());
    let loaded = Replica::<Graph>::load_with(TestEnvironment::new(2), &compressed).unwrap();
    assert_eq!(loaded.state(), replica.state());
    let delta = replica.complete();
    assert_eq!(Delta::from_bytes(&delta.to_bytes_compressed()), Ok(delta));
}

#[test]
fn a_message_that_does_not_become_shorter_is_written_plain() {
    let _alone = alone();
    let mut replica = replica(1);
    let mut seed = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(4096)
    .collect();
    let edit = replica.edit(|g| {
        let node = g.add_node("noise")?;
        g.set(node, "/bytes", &noise[..])
    });
    let (_, delta) = edit.unwrap();
    assert_eq!(delta.to_bytes_compressed(), delta.to_bytes());
    assert_eq!(replica.save_compressed(), replica.save());
}

/// Two replicas that were edited, merged and pruned in some order.
fn edited(steps: &[(bool, u8, u8, usize)]) -> [Replica<Graph>; 2] {
    let mut two = [replica(1), replica(2)];
    for (second, how, place, len) in steps {
        let (one, other) = two.split_at_mut(1);
        let (one, other) = if *second { (&mut other[0], &mut one[0]) } else { (&mut one[0], &mut other[0]) };
        let (name, next) = (format!("node {}", place % 8), format!("node {}", (place % 8 + 1) % 8));
        let [id, to] = [&name, &next].map(|name| NodeId::named(name));
        // An edit that is refused changes nothing.
        let _ = match how % 6 {
            0 => one.edit(|g| g.add_node(&name).map(drop)).map(drop),
            1 => one.edit(|g| g.set(id, "/text", &format!("{len} letters. ").repeat(*len))).map(drop),
            2 => one.edit(|g| g.link(id, "knows", to).map(drop)).map(drop),
            3 => one.edit(|g| g.remove_node(id).map(drop)).map(drop),
            4 => {
                one.merge(&other.complete()).unwrap();
                Ok(())
            }
            _ => {
                one.prune(Prune::All);
                Ok(())
            }
        };
    }
    two
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn compressed_and_plain_messages_hold_the_same(
        steps in prop::collection::vec((any::<bool>(), any::<u8>(), any::<u8>(), 0usize..60), 0..40),
    ) {
        let _alone = alone();
        let [one, other] = edited(&steps);
        let deltas = [one.complete(), one.complete_with_tombstones(), one.reconcile(other.version(), &other.live_dots())];
        for delta in deltas.into_iter().chain(one.delta_since(other.version())) {
            let (plain, short) = (delta.to_bytes(), delta.to_bytes_compressed());
            prop_assert!(short.len() <= plain.len());
            prop_assert_eq!(short[FLAGS] == 0, short == plain);
            prop_assert_eq!(Delta::from_bytes(&short), Ok(delta.clone()));
            // Contents may be compressed by any compressor, also if that makes them longer.
            prop_assert_eq!(Delta::from_bytes(&compressed(&plain)), Ok(delta));
        }
        let loaded = Replica::<Graph>::load_with(TestEnvironment::new(3), &one.save_compressed()).unwrap();
        prop_assert_eq!(loaded.state(), one.state());
        prop_assert_eq!(loaded.save(), one.save());
        let [version, dots] = [one.version().to_bytes(), one.live_dots().to_bytes()];
        prop_assert_eq!(&Version::from_bytes(&compressed(&version)).unwrap().to_bytes(), &version);
        prop_assert_eq!(driftless::DotSet::from_bytes(&compressed(&dots)).unwrap().to_bytes(), dots);
    }
}

#[test]
fn contents_of_a_compressed_message_have_to_be_canonical() {
    let _alone = alone();
    let delta = filled(1, 20, 40).complete();
    let plain = delta.to_bytes();
    let (kind, body) = open(&plain);
    let trailing = [body, &[0xc0]].concat();
    let read = Delta::from_bytes(&claiming(kind, trailing.len() as u64, &deflate(&trailing)));
    assert_eq!(read, Err(DecodeError::NotCanonical));
    assert_eq!(Delta::from_bytes(&claiming(STATE, body.len() as u64, &deflate(body))).map_err(|e| e.to_string()), {
        Err("found a saved state where a delta was expected".to_owned())
    });
}

#[test]
fn a_length_that_is_not_that_of_the_contents_is_an_error() {
    let _alone = alone();
    let plain = filled(1, 20, 40).complete().to_bytes();
    let (kind, body) = open(&plain);
    let (len, stream) = (body.len() as u64, deflate(body));
    let read = |len, stream: &[u8]| Delta::from_bytes(&claiming(kind, len, stream)).map(drop);
    assert_eq!(read(len, &stream), Ok(()));
    for short in [0, 1, len / 2, len - 1] {
        let longer = DecodeError::Malformed("compressed contents that are longer than announced");
        assert_eq!(read(short, &stream), Err(longer), "{short} of {len}");
    }
    for long in [len + 1, len * 2, stream.len() as u64 * 1032] {
        let shorter = DecodeError::Malformed("compressed contents that are shorter than announced");
        assert_eq!(read(long, &stream), Err(shorter), "{long} of {len}");
    }
    let too_much = DecodeError::Malformed("a compressed stream too short for the contents that it announces");
    assert_eq!(read(stream.len() as u64 * 1032 + 1, &stream), Err(too_much));
    let more = DecodeError::Malformed("bytes after a compressed stream");
    assert_eq!(read(len, &[&stream[..], &[0]].concat()), Err(more.clone()));
    assert_eq!(read(len, &stream.repeat(2)), Err(more));
    // The length itself has one spelling.
    let mut overlong = leb128(len);
    *overlong.last_mut().unwrap() |= 0x80;
    let mut bytes = seal_message(kind, [&overlong[..], &[0], &stream].concat()).unwrap();
    bytes[FLAGS] = 1;
    repair_checksum(&mut bytes);
    assert_eq!(Delta::from_bytes(&bytes), Err(DecodeError::NotCanonical));
}

#[test]
fn compressed_contents_are_not_compressed_again() {
    let _alone = alone();
    let delta = filled(1, 20, 40).complete();
    let once = delta.to_bytes_compressed();
    assert_eq!(once[FLAGS], 1);
    let (kind, body) = open(&once);
    // The contents of a message are values, neither another message nor what one holds when it is compressed.
    for contents in [&once[..], body] {
        let twice = claiming(kind, contents.len() as u64, &deflate(contents));
        assert!(matches!(Delta::from_bytes(&twice), Err(DecodeError::Malformed(_))));
    }
    // The beginning of a delta holds a message.
    let staged = [&[0][..], &once].concat();
    let nested = DecodeError::Malformed("a compressed message within a message");
    assert_eq!(Staged::from_bytes(&seal_message(STAGED, staged.clone()).unwrap()).map(drop), Err(nested.clone()));
    assert_eq!(Staged::from_bytes(&claiming(STAGED, staged.len() as u64, &deflate(&staged))).map(drop), Err(nested));
    let plain = [&[0][..], &delta.to_bytes()].concat();
    let read = Staged::from_bytes(&claiming(STAGED, plain.len() as u64, &deflate(&plain))).unwrap();
    assert_eq!(read.to_bytes(), seal_message(STAGED, plain).unwrap());
}

#[test]
fn flags_of_another_meaning_are_not_taken_for_compressed() {
    let _alone = alone();
    for flags in 2..=u8::MAX {
        let mut bytes = filled(1, 20, 40).complete().to_bytes_compressed();
        bytes[FLAGS] = flags;
        repair_checksum(&mut bytes);
        assert_eq!(Delta::from_bytes(&bytes), Err(DecodeError::Flags(flags)));
    }
}

#[test]
fn a_compressed_message_that_is_cut_or_damaged_is_an_error_or_holds_the_same() {
    let _alone = alone();
    let replica = filled(1, 30, 40);
    let delta = replica.complete();
    let good = delta.to_bytes_compressed();
    assert_eq!(good[FLAGS], 1);
    let (kind, body) = open(&good);
    for len in 0..good.len() {
        assert!(matches!(Delta::from_bytes(&good[..len]), Err(DecodeError::Truncated { .. })), "{len}");
    }
    for len in 0..body.len() {
        let mut cut = seal_message(kind, body[..len].to_vec()).unwrap();
        cut[FLAGS] = 1;
        repair_checksum(&mut cut);
        assert!(Delta::from_bytes(&cut).is_err(), "{len}");
    }
    let (mut read, mut canonical) = (0, 0);
    for bit in 0..good.len() * 8 {
        let mut damaged = good.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Delta::from_bytes(&damaged).is_err(), "bit {bit}");
        // Past the checksum, whatever is read is a delta as any other.
        repair_checksum(&mut damaged);
        canonical += usize::from(Delta::from_bytes(&damaged) == Err(DecodeError::NotCanonical));
        if let Ok(other) = Delta::from_bytes(&damaged) {
            assert_eq!(Delta::from_bytes(&other.to_bytes()).as_ref(), Ok(&other), "bit {bit}");
            read += 1;
        }
    }
    println!("{read} of {} flipped bits are read, and {canonical} are not canonical", good.len() * 8);
    let saved = replica.save_compressed();
    for at in HEAD..saved.len() {
        let mut damaged = saved.clone();
        damaged[at] ^= 0x55;
        repair_checksum(&mut damaged);
        if let Ok(loaded) = Replica::<Graph>::load_with(TestEnvironment::new(4), &damaged) {
            loaded.state().check_invariants().unwrap();
        }
    }
}

#[test]
fn a_bomb_is_refused_before_anything_is_reserved() {
    let _alone = alone();
    let gib = gib();
    let few = deflate(&vec![0; 4 << 20]);
    assert!(few.len() < 5_000);
    let refused = |bytes: &[u8], limit: u64| {
        let (peak, read) = peak_of(|| Delta::from_bytes_within(bytes, limit));
        (peak, read.unwrap_err())
    };
    for (len, stream) in [(1u64 << 30, &gib), (1 << 30, &few), (MAX_MEMORY / 16 + 1, &gib), (u64::MAX, &few)] {
        let (peak, error) = refused(&claiming(2, len, stream), MAX_MEMORY);
        let needed = len.saturating_mul(16);
        assert_eq!(error, DecodeError::Memory { needed, limit: MAX_MEMORY });
        assert!(peak < 4096, "{peak} bytes for {len}");
    }
    // No more can be in it, whatever is allowed.
    let (peak, error) = refused(&claiming(2, 1 << 30, &few), u64::MAX);
    assert!(matches!(error, DecodeError::Malformed(_)) && peak < 4096, "{error}, {peak} bytes");
    // It holds more than it announces: no more is decompressed than that.
    for len in [1000, 32 << 20] {
        let (peak, error) = refused(&claiming(2, len, &gib), MAX_MEMORY);
        assert_eq!(error, DecodeError::Malformed("compressed contents that are longer than announced"));
        assert!(peak < len as usize + 100_000, "{peak} bytes for {len}");
    }
    // The contents are decompressed up to the limit, and are no delta.
    let (peak, error) = refused(&claiming(2, 4 << 20, &few), 64 * MIB);
    assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
    assert!(peak < 5 << 20, "{peak} bytes");
    // Versions, sets of dots and lists of devices have a limit of their own.
    for (kind, per_byte) in [(5, 8), (6, 8), (7, 48)] {
        let bytes = claiming(kind, 1 << 30, &gib);
        let (peak, error) = peak_of(|| match kind {
            5 => Version::from_bytes(&bytes).unwrap_err(),
            6 => driftless::DotSet::from_bytes(&bytes).unwrap_err(),
            _ => driftless::sync::Devices::from_bytes(&bytes).map(drop).unwrap_err(),
        });
        assert_eq!(error, DecodeError::Memory { needed: per_byte << 30, limit: MAX_MEMORY });
        assert!(peak < 4096, "{peak} bytes for kind {kind}");
    }
}

#[test]
fn memory_is_counted_as_for_a_plain_message_and_the_contents_beside_it() {
    let _alone = alone();
    let replica = animals();
    let delta = replica.complete();
    let (plain, short) = (delta.to_bytes(), delta.to_bytes_compressed());
    let least = |bytes: &[u8]| {
        let (mut low, mut high) = (0, MAX_MEMORY);
        while low < high {
            let middle = (low + high) / 2;
            match Delta::from_bytes_within(bytes, middle) {
                Ok(_) => high = middle,
                Err(DecodeError::Memory { .. }) => low = middle + 1,
                Err(error) => panic!("{error}"),
            }
        }
        low
    };
    let (of_plain, of_short, body) = (least(&plain), least(&short), open(&plain).1.len() as u64);
    assert_eq!(of_short, (of_plain + body).max(16 * body));
}

// ---- sessions ----

/// Two replicas with their sessions, and the frames that were sent.
struct Pair {
    replicas: [Replica<Graph>; 2],
    sessions: [Session<Graph>; 2],
    bytes: u64,
    kinds: Vec<u8>,
    merged: usize,
}

impl Pair {
    fn new(replicas: [Replica<Graph>; 2], options: [Options; 2]) -> Self {
        let mut seed = 0;
        let sessions = [0, 1].map(|i: usize| {
            seed += 1;
            Session::new(&replicas[i], options[i].clone(), [seed; 16])
        });
        Self { replicas, sessions, bytes: 0, kinds: Vec::new(), merged: 0 }
    }

    /// Goes on until neither has anything to say, or so many frames were sent.
    fn run(&mut self, most: usize) {
        let mut sent = true;
        while std::mem::take(&mut sent) {
            for from in [0, 1] {
                while self.kinds.len() < most {
                    let frame = self.sessions[from].poll_frame(&self.replicas[from], Duration::ZERO).unwrap();
                    let Some(frame) = frame else { break };
                    sent = true;
                    self.bytes += frame.len() as u64;
                    self.kinds.push(kind(&frame));
                    let (session, replica) = (&mut self.sessions[1 - from], &mut self.replicas[1 - from]);
                    session.handle_frame(replica, &frame, Duration::ZERO).unwrap();
                    while let Some(event) = session.poll_event() {
                        self.merged += usize::from(matches!(event, Event::Merged { .. } | Event::Repaired(_)));
                    }
                }
            }
        }
    }

    #[track_caller]
    fn end_equal(mut self) -> u64 {
        self.run(usize::MAX);
        assert_eq!(self.replicas[0].state(), self.replicas[1].state());
        for i in [0, 1] {
            assert!(self.sessions[i].is_equal(&self.replicas[i]));
            assert_eq!(self.sessions[i].counters().errors, 0);
            self.replicas[i].state().check_invariants().unwrap();
        }
        assert!(self.merged > 0);
        self.bytes
    }
}

fn plain() -> Options {
    Options::new().without_compression()
}

/// Two replicas that hold 2,000 nodes each, and others on either side.
fn two() -> [Replica<Graph>; 2] {
    let mut two = [filled(1, 2_000, 20), replica(2)];
    let all = two[0].complete();
    two[1].merge(&all).unwrap();
    describe(&mut two[0], 0..300);
    describe(&mut two[1], 200..500);
    two
}

fn describe(replica: &mut Replica<Graph>, nodes: std::ops::Range<usize>) {
    let edit = replica.edit(|g| {
        nodes.clone().try_for_each(|n| {
            let text =
                format!("Node {n} of the graph, which is described at some length, as node {} is. ", n * 7 % 100);
            g.set(NodeId::named(&format!("node {n}")), "/description", &text.repeat(2))
        })
    });
    edit.unwrap();
}

type Begin = (&'static str, fn() -> [Replica<Graph>; 2]);

const BEGINS: [Begin; 4] = [
    ("changes", two),
    ("everything", || [two().into_iter().next().unwrap(), replica(7)]),
    ("reconciled", || {
        let mut two = two();
        let remove = |g: &mut Edit<'_, Graph>| {
            (900..910).try_for_each(|n| g.remove_node(NodeId::named(&format!("node {n}"))).map(drop))
        };
        two[0].edit(remove).unwrap();
        two[0].prune(Prune::All);
        two
    }),
    ("repaired", || {
        let [mut one, _] = two();
        let mut other = twin(&one, TestEnvironment::new(9));
        describe(&mut one, 500..501);
        describe(&mut other, 501..502);
        [one, other]
    }),
];

/// The bytes that two sessions send until both replicas are equal.
fn bytes_of(begin: fn() -> [Replica<Graph>; 2], options: [Options; 2]) -> u64 {
    Pair::new(begin(), options).end_equal()
}

#[test]
fn two_sessions_that_compress_send_fewer_bytes() {
    let _alone = alone();
    for (name, begin) in BEGINS {
        let both_plain = bytes_of(begin, [plain(), plain()]);
        let compressed = bytes_of(begin, [Options::new(), Options::new()]);
        println!("{name}: {both_plain} bytes, compressed {compressed}");
        assert!(compressed * 3 < both_plain * 2, "{name}: {compressed} of {both_plain}");
    }
}

#[test]
fn a_peer_that_does_not_read_compressed_slices_is_sent_plain_ones() {
    let _alone = alone();
    for (name, begin) in BEGINS {
        let both_plain = bytes_of(begin, [plain(), plain()]);
        // Its hello has one byte more, once or twice.
        for options in [[Options::new(), plain()], [plain(), Options::new()]] {
            let sent = bytes_of(begin, options);
            assert!((1..=2).contains(&(sent - both_plain)), "{name}: {sent} and {both_plain}");
        }
    }
}

#[test]
fn a_small_edit_is_sent_plain() {
    let _alone = alone();
    let begin = || {
        let mut two = [filled(1, 3, 20), replica(2)];
        let all = two[0].complete();
        two[1].merge(&all).unwrap();
        two[0].edit(|g| g.set(NodeId::named("node 1"), "/text", &"a".repeat(200))).unwrap();
        two
    };
    let both_plain = Pair::new(begin(), [plain(), plain()]).end_equal();
    assert_eq!(Pair::new(begin(), [Options::new(), Options::new()]).end_equal(), both_plain + 2);
}

#[test]
fn a_compressed_stream_goes_on_where_it_broke() {
    let _alone = alone();
    let begin = || {
        let mut one = filled(1, 30_000, 30);
        describe(&mut one, 0..10_000);
        [one, replica(2)]
    };
    let options = || [Options::new().with_part_len(16 << 10), Options::new().with_part_len(16 << 10)];
    let mut whole = Pair::new(begin(), options());
    whole.run(usize::MAX);
    let (frames, whole) = (whole.kinds.len(), whole.bytes);
    let mut broken = Pair::new(begin(), options());
    broken.run(frames * 2 / 3);
    let Pair { replicas, sessions: [sender, receiver], .. } = broken;
    assert!(sender.into_staged().is_none());
    let staged = receiver.into_staged().unwrap();
    assert!(!staged.is_empty());
    // The staged part is saved, and the session after the next goes on from it.
    let staged = Staged::from_bytes(&staged.to_bytes()).unwrap();
    let [one, other] = options();
    let rest = Pair::new(replicas, [one, other.with_staged(Some(Box::new(staged)))]).end_equal();
    println!("{whole} bytes, then {rest}");
    assert!(rest * 2 < whole, "{rest} of {whole}");
}

#[test]
fn limits_hold_for_what_is_sent_before_it_is_compressed() {
    let _alone = alone();
    let all = two()[0].complete().to_bytes().len() as u64;
    let limit = 1 << all.ilog2();
    assert!(all > limit && all < 2 * limit);
    let begin = || [two().into_iter().next().unwrap(), replica(7)];
    Pair::new(begin(), [Options::new(), Options::new().with_staging_limit(2 * limit)]).end_equal();
    // The sender knows the limit of the receiver.
    let [one, other] = begin();
    let sessions = [
        Session::new(&one, Options::new(), [1; 16]),
        Session::new(&other, Options::new().with_staging_limit(limit), [2; 16]),
    ];
    let ([mut sender, mut receiver], now) = (sessions, Duration::ZERO);
    let (mut one, mut other) = (one, other);
    for _ in 0..2 {
        let hello = receiver.poll_frame(&other, now).unwrap();
        hello.iter().for_each(|frame| sender.handle_frame(&mut one, frame, now).unwrap());
        if let Ok(Some(hello)) = sender.poll_frame(&one, now) {
            let _ = receiver.handle_frame(&mut other, &hello, now);
        }
    }
    let error = sender.poll_frame(&one, now).unwrap_err();
    assert!(matches!(error, SessionError::PeerStagingLimit { len, limit: l } if l == limit && len > limit), "{error}");
}

/// A slice of compressed contents that claim to be so long.
fn claiming_slice(kind: u8, len: u64, stream: &[u8]) -> Vec<u8> {
    [&[kind | 0x80][..], &leb128(len), stream].concat()
}

#[test]
fn a_slice_that_is_a_bomb_ends_the_session_before_anything_is_reserved() {
    let _alone = alone();
    let gib = gib();
    let few = deflate(&vec![0; 4 << 20]);
    let limit = 256 * MIB;
    for slices in [
        vec![claiming_slice(2, 1 << 30, &gib)],
        // Each is within the limit, and all together are not.
        vec![claiming_slice(2, 128 * MIB, &gib), claiming_slice(2, 128 * MIB, &gib), claiming_slice(2, 4 * MIB, &few)],
    ] {
        let mut victim = Victim::met(replica(3), Stands::new(), NO_PRINT);
        let before = victim.replica.snapshot();
        let bytes = with_slices(header(0, 1, 0, NO_PRINT, 0), &slices);
        let parts: Vec<Vec<u8>> = bytes
            .chunks(1 << 20)
            .zip(0..)
            .map(|(part, n)| frames::part(victim.to, 1, bytes.len() as u64, n << 20, part))
            .collect();
        let (peak, ended) = peak_of(|| parts.iter().try_for_each(|part| victim.hear(part)));
        let error = ended.unwrap_err();
        assert!(matches!(error, SessionError::StagingLimit { len, limit: l } if l == limit && len > limit), "{error}");
        assert!(peak < 8 * bytes.len() + 100_000, "{peak} bytes of memory for {}", bytes.len());
        victim.survives(&before);
    }
}

#[test]
fn a_compressed_slice_that_is_damaged_is_asked_for_again() {
    let _alone = alone();
    let peer = filled(2, 50, 30);
    let delta = peer.complete();
    let plain = slice(&delta);
    let (kind, body) = plain.split_first().unwrap();
    let (len, stream) = (body.len() as u64, deflate(body));
    let said = |slice: Vec<u8>| {
        let mut victim = Victim::met(replica(3), Stands::new(), NO_PRINT);
        let bytes = with_slices(header(0, 1, 0, NO_PRINT, 0), &[slice]);
        victim.hear(&frames::stream(victim.to, 1, &bytes)).unwrap();
        victim
    };
    let good = said(claiming_slice(*kind, len, &stream));
    assert_eq!((good.merged, good.session.counters().errors), (1, 0));
    assert_eq!(good.replica.state(), peer.state());
    let twice = claiming_slice(*kind, len, &stream);
    let wrong = [
        claiming_slice(*kind, len - 1, &stream),
        claiming_slice(*kind, len + 1, &stream),
        claiming_slice(*kind, len * 100_000, &stream),
        claiming_slice(*kind, len, &stream[..stream.len() - 1]),
        claiming_slice(*kind, len, &[&stream[..], &[0]].concat()),
        claiming_slice(*kind, twice.len() as u64, &deflate(&twice)),
        vec![kind | 0x80],
        claiming_slice(0x7f, len, &stream),
    ];
    for slice in wrong {
        let victim = said(slice);
        assert_eq!((victim.merged, victim.session.counters().errors), (0, 1));
        victim.survives(replica(3).state());
    }
}

#[test]
fn a_hello_says_that_compressed_slices_are_read() {
    let _alone = alone();
    let one = filled(1, 100, 40);
    let said = |options, abilities: &[u8]| {
        let mut victim = Victim::with(twin(&one, TestEnvironment::new(5)), options);
        let hello = victim.hello_of(Told::whole(1, Stands::new(), NO_PRINT));
        let hello = frames::frame(frames::HELLO, Some(victim.to), &[&hello.says()[..], abilities].concat());
        let parts = victim.answers(&hello).unwrap();
        parts.iter().filter(|frame| kind(frame) == PART).map(Vec::len).sum::<usize>()
    };
    let plain_len = said(Options::new(), &[]);
    for other in [&[0][..], &[0, 1], &[2], &[0xfe, 1]] {
        assert_eq!(said(Options::new(), other), plain_len, "{other:?}");
    }
    for able in [&[1][..], &[3], &[0xff, 0xff, 7]] {
        assert!(said(Options::new(), able) < plain_len, "{able:?}");
        assert_eq!(said(plain(), able), plain_len, "{able:?}");
    }
}
