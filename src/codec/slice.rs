//! Slices of deltas as bytes: the body of a delta, relative to versions that both sides know.
//!
//! A version takes some 13 bytes for each head. Who sends a series of slices has said what the versions are
//! and need not say it with each. Whoever frames a slice has a checksum and a length, so there is no envelope.
//!
//! A slice is a byte for the kind, then the body. If 128 is added to the kind, the body is [compressed](super::deflate).

use std::borrow::Cow;

use crate::codec::decode_delta;
use crate::codec::deflate;
use crate::codec::envelope::{Format, Kind, Opened};
use crate::codec::error::DecodeError;
use crate::codec::{kind_of, wire};
use crate::kernel::Delta;
use crate::version::Version;

/// Versions that both sides know: only what differs from them is written. `at` is for reconciled deltas alone.
///
/// It may be anything, such as what a peer claims: what comes out is checked all the same.
#[derive(Clone, Default, Debug)]
pub(crate) struct Reference {
    pub(crate) since: Version,
    pub(crate) upto: Version,
    pub(crate) pruned: Version,
    pub(crate) at: Version,
}

/// A byte for the kind and the body. O(|delta| + writers).
pub(crate) fn encode_slice(delta: &Delta, reference: &Reference) -> Vec<u8> {
    let mut bytes = vec![kind_of(delta) as u8];
    wire::write_delta(&mut bytes, delta, reference, wire::Layout::Columns(None));
    bytes
}

/// The shortest slice that is compressed, in bytes. A shorter one is a few changes: mostly ids and versions, which do not become
/// shorter.
#[cfg(feature = "compression")]
const LEAST_COMPRESSED: usize = 512;

/// In the first byte of a slice.
const COMPRESSED: u8 = 0x80;

/// Compresses a slice. Returns the slice as it is if it is short or does not become shorter. O(|slice|).
#[cfg(feature = "compression")]
pub(crate) fn compress_slice(slice: Vec<u8>) -> Vec<u8> {
    match slice.split_first() {
        Some((kind, body)) if slice.len() >= LEAST_COMPRESSED => match deflate::compress(body) {
            Some(compressed) => [&[kind | COMPRESSED][..], &compressed].concat(),
            None => slice,
        },
        _ => slice,
    }
}

/// Without the feature `compression` every slice is plain.
#[cfg(not(feature = "compression"))]
pub(crate) fn compress_slice(slice: Vec<u8>) -> Vec<u8> {
    slice
}

/// True if a slice is compressed.
pub(crate) fn is_compressed(slice: &[u8]) -> bool {
    slice.first().is_some_and(|kind| kind & COMPRESSED != 0)
}

/// Returns the bytes that decompressing a slice adds to it, as the slice announces: 0 for a plain one. O(1).
pub(crate) fn compressed_away(slice: &[u8]) -> Result<u64, DecodeError> {
    match slice.split_first() {
        Some((kind, body)) if kind & COMPRESSED != 0 => {
            // A slice that is longer compressed than plain is never written so. It counts with the length that it has.
            Ok(deflate::read_len(body)?.0.saturating_sub(body.len() as u64))
        }
        _ => Ok(0),
    }
}

/// Reads what [`encode_slice`] or [`compress_slice`] wrote with the same reference. Any other bytes are an error, and with another reference
/// these are an error or another delta. Takes what it needs from the memory that is left. O(|bytes| + writers).
pub(crate) fn decode_slice(bytes: &[u8], reference: &Reference, memory_left: &mut u64) -> Result<Delta, DecodeError> {
    let (kind, body) = bytes.split_first().ok_or(DecodeError::Truncated { missing: 1 })?;
    let (format, plain_kind) = (Format::Columns, Kind::from_byte(kind & !COMPRESSED)?);
    if kind & COMPRESSED == 0 {
        return decode_delta(Opened { format, kind: plain_kind, body: Cow::Borrowed(body) }, reference, memory_left);
    }
    // The contents are in memory only until they are decoded.
    let contents = deflate::decompress(body, *memory_left, 1)?;
    let len = contents.len() as u64;
    *memory_left -= len;
    let opened = Opened { format, kind: plain_kind, body: Cow::Owned(contents) };
    let delta = decode_delta(opened, reference, memory_left)?;
    *memory_left += len;
    Ok(delta)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::kernel::{DeltaKind, Environment, MergeError};
    use crate::version::Birth;
    use crate::{Dot, Graph, NodeId, Prune, Replica, WriterId};

    fn read_slice(bytes: &[u8], reference: &Reference) -> Result<Delta, DecodeError> {
        decode_slice(bytes, reference, &mut 1_000_000_000)
    }

    struct Seeded(u8);

    impl Environment for Seeded {
        fn now_ms(&mut self) -> u64 {
            1_000
        }

        fn random(&mut self) -> [u8; 16] {
            self.0 += 10;
            [self.0; 16]
        }
    }

    fn replica(seed: u8) -> Replica<Graph> {
        Replica::with_environment(Seeded(seed))
    }

    fn id(n: u128) -> WriterId {
        let bytes = n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
        WriterId::from(*bytes.first_chunk().unwrap())
    }

    /// A version with another head of a writer, or with none at 0.
    fn with(version: &Version, writer: WriterId, counter: u64) -> Version {
        let others = version.heads().iter().filter(|head| head.writer != writer).copied();
        others.chain([Dot { writer, counter }]).collect()
    }

    /// One of each kind, of three writers; the reconciled one with dead dots.
    fn deltas() -> [Delta; 3] {
        deltas_and_receiver().0
    }

    fn deltas_and_receiver() -> ([Delta; 3], Replica<Graph>) {
        let (mut a, mut b, mut c) = (replica(1), replica(2), replica(3));
        let names = ["ada", "eve", "joe"].map(NodeId::named);
        let (_, first) =
            a.edit(|g| ["ada", "eve", "joe"].into_iter().try_for_each(|n| g.add_node(n).map(drop))).unwrap();
        b.merge(&first).unwrap();
        c.merge(&first).unwrap();
        let (_, set) = c.edit(|g| g.set(names[1], "/name", "Eve")).unwrap();
        b.edit(|g| g.set(names[0], "/name", "Ada")).unwrap();
        a.merge(&set).unwrap();
        a.edit(|g| g.set(names[0], "/name", "Countess").and_then(|_| g.set(names[1], "/age", 3))).unwrap();
        let incremental = a.delta_since(b.version()).unwrap();
        a.edit(|g| g.remove_node(names[2])).unwrap();
        a.prune(Prune::All);
        let deltas = [incremental, a.complete(), a.reconcile(b.version(), &b.live_dots())];
        assert!(matches!(deltas[2].kind(), DeltaKind::Reconciled { dead, .. } if !dead.is_empty()));
        (deltas, b)
    }

    fn versions(delta: &Delta) -> Reference {
        let at = match delta.kind() {
            DeltaKind::Reconciled { at, .. } => at.clone(),
            _ => Version::new(),
        };
        Reference { since: delta.since.clone(), upto: delta.upto.clone(), pruned: delta.pruned.clone(), at }
    }

    /// How a reference comes about from the versions of a delta: writers with another counter, or 0.
    type Differences = [Vec<(prop::sample::Index, u64)>; 4];

    fn differences() -> impl Strategy<Value = Differences> {
        let some = || prop::collection::vec((any::<prop::sample::Index>(), 0..4u64), 0..3);
        [some(), some(), some(), some()]
    }

    fn differing(delta: &Delta, differences: &Differences) -> Reference {
        let mut reference = versions(delta);
        let Reference { since, upto, pruned, at } = &mut reference;
        for (version, differences) in [since, upto, pruned, at].into_iter().zip(differences) {
            for (writer, counter) in differences {
                // Two that the delta has not heard of come before, between or after the others.
                let writers: Vec<_> = delta.writers.iter().copied().chain([id(1), id(2)]).collect();
                *version = with(version, writers[writer.index(writers.len())], *counter);
            }
        }
        reference
    }

    #[test]
    fn with_nothing_known_a_slice_is_what_a_delta_is() {
        for delta in deltas() {
            let (slice, whole) = (encode_slice(&delta, &Reference::default()), delta.to_bytes());
            assert_eq!(slice[0], whole[5]);
            assert!(whole.ends_with(&slice[1..]));
        }
    }

    #[test]
    fn a_slice_survives_its_bytes_whatever_the_reference_says() {
        let mut runner = TestRunner::new(Config { cases: 1000, failure_persistence: None, ..Config::default() });
        let misread = Cell::new(0);
        let run = runner.run(&(0..3usize, differences(), differences()), |(which, known, other)| {
            let delta = &deltas()[which];
            let (known, other) = (differing(delta, &known), differing(delta, &other));
            let bytes = encode_slice(delta, &known);
            prop_assert_eq!(&read_slice(&bytes, &known), &Ok(delta.clone()));
            // What is empty is told from `since`.
            let least = encode_slice(delta, &versions(delta)).len();
            prop_assert!(delta.pruned.is_empty() || bytes.len() >= least);
            // With another reference it is refused, or is a delta that those bytes spell, valid as any.
            if let Ok(read) = read_slice(&bytes, &other) {
                misread.set(misread.get() + usize::from(&read != delta));
                prop_assert_eq!(encode_slice(&read, &other), bytes);
                prop_assert_eq!(Delta::from_bytes(&read.to_bytes()), Ok(read));
            }
            Ok(())
        });
        run.unwrap();
        assert!(misread.get() > 10, "{misread:?}");
    }

    #[test]
    fn damage_of_a_slice_is_found_or_spells_another_delta() {
        let (mut read, mut all) = (0u32, 0u32);
        for (delta, kind) in deltas().iter().zip(1..) {
            let mut known = versions(delta);
            // One writer is listed, one comes to nothing, the others are known.
            known.upto = with(&with(&known.upto, delta.upto.heads()[0].writer, 1), id(1), 4);
            known.since = with(&known.since, id(1), 3);
            let bytes = encode_slice(delta, &known);
            assert_eq!(bytes[0], kind);
            for i in 0..bytes.len() {
                assert!(read_slice(&bytes[..i], &known).is_err(), "{i}");
                for value in [0, 1, 2, 0x7f, 0x80, 0x90, 0xc4, 0xcf, 0xff, bytes[i] ^ 1, bytes[i] ^ 2, bytes[i] ^ 0x10]
                {
                    let mut damaged = bytes.clone();
                    damaged[i] = value;
                    all += u32::from(damaged != bytes);
                    let Ok(delta) = read_slice(&damaged, &known) else { continue };
                    read += u32::from(damaged != bytes);
                    assert_eq!(encode_slice(&delta, &known), damaged, "byte {i} = {value}");
                    assert_eq!(Delta::from_bytes(&delta.to_bytes()), Ok(delta), "byte {i} = {value}");
                }
            }
            let trailing = [&bytes[..], &[0]].concat();
            assert_eq!(read_slice(&trailing, &known), Err(DecodeError::NotCanonical));
        }
        assert!(read * 50 > all, "only {read} of {all} were read");
    }

    #[test]
    fn what_a_reference_claims_is_checked_as_what_is_listed() {
        let ([incremental, ..], mut receiver) = deltas_and_receiver();
        let good = versions(&incremental);
        let bytes = encode_slice(&incremental, &good);
        let read = |change: &dyn Fn(&mut Reference)| {
            let mut known = good.clone();
            change(&mut known);
            read_slice(&bytes, &known)
        };
        assert_eq!(read(&|_| {}), Ok(incremental.clone()));
        // What a kind does not have is not taken from the reference either.
        assert_eq!(read(&|known| known.at = with(&known.at, id(1), 7)), Ok(incremental.clone()));
        // What is no more than a claim about versions is judged by who knows of the writers.
        let since = read(&|known| known.since = with(&known.since, id(1), 1)).unwrap();
        assert!(matches!(receiver.merge(&since), Err(MergeError::Gap { .. })));
        let pruned = read(&|known| known.pruned = with(&known.since, id(1), 1)).unwrap();
        let why = receiver.merge(&pruned).unwrap_err();
        assert_eq!(why, MergeError::Invalid("a pruned version beyond what was seen"));
        let short = read(&|known| known.upto = known.since.clone()).unwrap();
        assert!(matches!(receiver.merge(&short), Err(MergeError::Invalid(_))));
        receiver.merge(&incremental).unwrap();
    }

    #[test]
    fn a_writer_is_listed_only_if_that_changes_something() {
        let [incremental, ..] = deltas();
        let known = versions(&incremental);
        let mut less = known.clone();
        let head = incremental.upto.heads()[0];
        less.upto = with(&less.upto, head.writer, head.counter + 1);
        let listed = encode_slice(&incremental, &less);
        assert_eq!(read_slice(&listed, &less), Ok(incremental));
        assert_eq!(read_slice(&listed, &known), Err(DecodeError::NotCanonical));
    }

    #[test]
    fn a_slice_with_one_changed_cell_is_small_however_many_writers_there_are() {
        let mut a = replica(1);
        a.edit(|g| g.add_node("ada")).unwrap();
        let mut all = a.complete();
        let born = (0..5_000).map(|n| Birth { writer: id(n), parent: None, name: None });
        let mut births: Vec<Birth> = all.births.iter().cloned().chain(born).collect();
        births.sort_unstable_by_key(|birth| birth.writer);
        all.births = births.into();
        let heads = (0..5_000).map(|n| Dot { writer: id(n), counter: 1 << 20 });
        all.upto = all.upto.heads().iter().copied().chain(heads).collect();
        all.pruned = all.upto.clone();
        all.news += 5_000 << 20;
        let mut b = replica(2);
        b.merge(&all).unwrap();
        let (since, live) = (b.version().clone(), b.live_dots());
        b.edit(|g| g.set(NodeId::named("ada"), "/name", "Ada")).unwrap();

        let delta = b.delta_since(&since).unwrap();
        assert!(delta.to_bytes().len() > 5_000 * 13);
        // The peer's own version is all that is known before; the sender's and what it pruned are soon known as well.
        let known = Reference { since: since.clone(), upto: since.clone(), pruned: since.clone(), at: since.clone() };
        for delta in [delta, b.reconcile(&since, &live)] {
            for known in [&known, &versions(&delta)] {
                let bytes = encode_slice(&delta, known);
                println!("{} bytes", bytes.len());
                assert!(bytes.len() < 150, "{}", bytes.len());
                assert_eq!(read_slice(&bytes, known), Ok(delta.clone()));
            }
        }
    }
}
