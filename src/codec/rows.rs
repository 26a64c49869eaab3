//! The parts of a delta as rows: format 2, which is read and no longer written.
//!
//! `parts` × ([`WirePart`], its `known` × [`WireKnown`], its `writes` × [`WireWrite`]), by entity. Counters and stamps are differences
//! from the one before. The writer is kept for the check that a message has the one canonical spelling of its content.

use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::clock::Stamp;
use crate::codec::error::DecodeError;
use crate::codec::wire::{Differences, Head, Reader, check, within, write};
use crate::kernel::{Delta, DeltaWrite, Entity, Known, MAX_PAYLOAD_LEN, Part, Payload};

#[derive(Serialize, Deserialize)]
struct WirePart<'a> {
    kind: u8,
    #[serde(borrow)]
    id: &'a Bytes,
    whole: bool,
    known: u64,
    writes: u64,
}

#[derive(Serialize, Deserialize)]
struct WireKnown {
    field: u32,
    writer: u32,
    counter: i64,
}

/// `kind` is 0 for a tombstone and one more than the payload's kind else.
#[derive(Serialize, Deserialize)]
struct WireWrite<'a> {
    field: u32,
    writer: u32,
    counter: i64,
    stamp: i64,
    kind: u16,
    #[serde(borrow)]
    content: &'a Bytes,
}

/// The fewest bytes that the values above take: a count is believed only if so many are there.
pub(super) mod least {
    pub(in crate::codec) const PART: u64 = 23;
    pub(in crate::codec) const KNOWN: u64 = 4;
    pub(in crate::codec) const WRITE: u64 = 8;
}

pub(super) fn write_parts(out: &mut impl Write, delta: &Delta) {
    let (mut known_counters, mut counters, mut stamps) =
        (Differences::default(), Differences::default(), Differences::default());
    for part in delta.parts() {
        write(
            out,
            &WirePart {
                kind: part.entity.kind(),
                id: Bytes::new(part.entity.id()),
                whole: part.whole,
                known: part.known.len() as u64,
                writes: part.writes.len() as u64,
            },
        );
        for known in part.known {
            let counter = known_counters.encode(known.counter);
            write(out, &WireKnown { field: known.field, writer: known.writer, counter });
        }
        for sibling in part.writes {
            let payload = sibling.payload.as_ref();
            write(
                out,
                &WireWrite {
                    field: sibling.field,
                    writer: sibling.writer,
                    counter: counters.encode(sibling.counter),
                    stamp: stamps.encode(sibling.stamp.to_bits()),
                    kind: payload.map_or(0, |payload| u16::from(payload.kind()) + 1),
                    content: Bytes::new(payload.map_or(&[], Payload::bytes)),
                },
            );
        }
    }
}

pub(super) fn read_parts(reader: &mut Reader<'_>, head: &Head<'_>, delta: &mut Delta) -> Result<(), DecodeError> {
    delta.parts = reader.room(head.parts, least::PART)?;
    delta.known = reader.room(head.known, least::KNOWN)?;
    delta.writes = reader.room(head.writes, least::WRITE)?;
    let (mut known_counters, mut counters, mut stamps) =
        (Differences::default(), Differences::default(), Differences::default());
    for _ in 0..head.parts {
        let part: WirePart<'_> = reader.read("an entity")?;
        let id = <[u8; 16]>::try_from(&part.id[..]);
        let id = id.map_err(|_| DecodeError::Malformed("an entity whose id is not 16 bytes long"))?;
        let entity = Entity::new(part.kind, id);
        check([
            (part.known <= head.known - delta.known.len() as u64, "more known siblings than were announced"),
            (part.writes <= head.writes - delta.writes.len() as u64, "more siblings than were announced"),
        ])?;
        for _ in 0..part.known {
            let WireKnown { field, writer, counter } = reader.read("a known sibling")?;
            delta.known.push(Known { field, writer, counter: known_counters.decode(counter) });
        }
        for _ in 0..part.writes {
            let wire: WireWrite<'_> = reader.read("a sibling")?;
            delta.writes.push(read_write(&wire, counters.decode(wire.counter), stamps.decode(wire.stamp))?);
        }
        let (known_end, writes_end) = (delta.known.len(), delta.writes.len());
        delta.parts.push(Part { entity, whole: part.whole, known_end, writes_end });
    }
    check([
        (delta.known.len() as u64 == head.known, "fewer known siblings than were announced"),
        (delta.writes.len() as u64 == head.writes, "fewer siblings than were announced"),
    ])
}

fn read_write(wire: &WireWrite<'_>, counter: u64, stamp: u64) -> Result<DeltaWrite, DecodeError> {
    within("a value", wire.content.len(), MAX_PAYLOAD_LEN)?;
    let payload = match wire.kind.checked_sub(1) {
        Some(kind) => {
            let kind = u8::try_from(kind).map_err(|_| DecodeError::Malformed("a kind past 255"))?;
            Some(Payload::new(kind, wire.content))
        }
        None if wire.content.is_empty() => None,
        None => return Err(DecodeError::Malformed("a tombstone with content")),
    };
    Ok(DeltaWrite { field: wire.field, writer: wire.writer, counter, stamp: Stamp::from_bits(stamp), payload })
}
