//! What a peer says when it asks: its version, and the dots that it holds alive; and what is known of several peers.
//!
//! A version is a count and as many [`SeenBy`], by id; a set of dots a count and as many ([`Dots`], its `words` ×
//! [`Word`]); a list of devices a count and as many (name, count, as many [`Stand`]), by name.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::codec::envelope::{self, Kind};
use crate::codec::error::DecodeError;
use crate::codec::wire::{Differences, Reader, check, replica_id, write};
use crate::kernel::DotSet;
use crate::standing::Standing;
use crate::version::VersionVector;

#[derive(Serialize, Deserialize)]
struct SeenBy<'a> {
    #[serde(borrow)]
    id: &'a Bytes,
    counter: u64,
}

#[derive(Serialize, Deserialize)]
struct Dots<'a> {
    #[serde(borrow)]
    id: &'a Bytes,
    words: u64,
}

/// What was seen of a writer, and up to where it was pruned.
#[derive(Serialize, Deserialize)]
struct Stand<'a> {
    #[serde(borrow)]
    id: &'a Bytes,
    counter: u64,
    pruned: u64,
}

/// 64 counters: the block as a difference from the one before, and a bit for each dot.
#[derive(Serialize, Deserialize)]
struct Word {
    block: i64,
    word: u64,
}

/// The fewest bytes that the values above take.
mod least {
    pub(super) const SEEN_BY: u64 = 20;
    pub(super) const DOTS: u64 = 20;
    pub(super) const WORD: u64 = 3;
    pub(super) const STAND: u64 = 21;
    pub(super) const DEVICE: u64 = 2;
}

impl VersionVector {
    /// The version as bytes, for a peer to cut a delta by. O(writers), some 20 bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        write_version(&mut body, self);
        envelope::seal(Kind::Version, body)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Any other bytes are an error, found within bounded memory.
    ///
    /// ```
    /// use driftless::{Graph, Replica, VersionVector};
    /// let (mut laptop, phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    /// laptop.edit(|g| g.add_node("person:ada"))?;
    /// let question = phone.version().to_bytes(); // sent to the laptop, which answers:
    /// let answer = laptop.delta_since(&VersionVector::from_bytes(&question)?)?.to_bytes();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = envelope::open_as(bytes, Kind::Version)?;
        let mut reader = Reader::new(body);
        let version = read_version(&mut reader)?;
        envelope::check_canonical(body, |out| write_version(out, &version))?;
        Ok(version)
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<VersionVector, DecodeError> {
    let count: u64 = reader.read("the number of writers")?;
    let mut entries = reader.share(count, least::SEEN_BY)?;
    for _ in 0..count {
        let SeenBy { id, counter } = reader.read("a writer")?;
        let id = replica_id(id)?;
        check([
            (entries.last().is_none_or(|(last, _)| *last < id), "writers out of order"),
            (counter > 0, "a writer that no version has heard of"),
        ])?;
        entries.push((id, counter));
    }
    Ok(VersionVector::from_sorted(entries))
}

fn write_version(out: &mut impl Write, version: &VersionVector) {
    write(out, &(version.len() as u64));
    version.iter().for_each(|(id, counter)| write(out, &SeenBy { id: Bytes::new(id.as_bytes()), counter }));
}

impl DotSet {
    /// The set as bytes, for a peer to [reconcile](crate::Replica::reconcile) by. O(blocks), at most 12 bytes for each
    /// 64 counters.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        write_dots(&mut body, self);
        envelope::seal(Kind::Dots, body)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Any other bytes are an error, found within bounded memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = envelope::open_as(bytes, Kind::Dots)?;
        let mut reader = Reader::new(body);
        let count: u64 = reader.read("the number of writers")?;
        let mut writers = reader.room(count, least::DOTS + least::WORD)?;
        for _ in 0..count {
            let dots: Dots<'_> = reader.read("a writer")?;
            let mut words = reader.share(dots.words, least::WORD)?;
            let mut blocks = Differences::default();
            for _ in 0..dots.words {
                let Word { block, word } = reader.read("a word of dots")?;
                words.push((blocks.decode(block), word));
            }
            writers.push((replica_id(dots.id)?, words));
        }
        let dots = Self::from_sorted(writers).ok_or(DecodeError::Malformed("dots out of order"))?;
        envelope::check_canonical(body, |out| write_dots(out, &dots))?;
        Ok(dots)
    }
}

fn write_dots(out: &mut impl Write, dots: &DotSet) {
    write(out, &(dots.writers().len() as u64));
    for (id, words) in dots.writers() {
        write(out, &Dots { id: Bytes::new(id.as_bytes()), words: words.len() as u64 });
        let mut blocks = Differences::default();
        words.iter().for_each(|(block, word)| write(out, &Word { block: blocks.encode(*block), word: *word }));
    }
}

/// What peers were last known to stand at, by name.
pub(crate) fn encode_devices(devices: &BTreeMap<String, Standing>) -> Vec<u8> {
    let mut body = Vec::new();
    write_devices(&mut body, devices);
    envelope::seal(Kind::Devices, body)
}

pub(crate) fn decode_devices(bytes: &[u8]) -> Result<BTreeMap<String, Standing>, DecodeError> {
    let body = envelope::open_as(bytes, Kind::Devices)?;
    let mut reader = Reader::new(body);
    let count: u64 = reader.read("the number of devices")?;
    reader.share::<()>(count, least::DEVICE)?;
    let mut devices = BTreeMap::new();
    for _ in 0..count {
        let name: &str = reader.read("the name of a device")?;
        let standing = read_standing(&mut reader)?;
        devices.insert(name.to_owned(), standing);
    }
    // Names that come twice or out of order are not written so.
    envelope::check_canonical(body, |out| write_devices(out, &devices))?;
    Ok(devices)
}

fn write_devices(out: &mut impl Write, devices: &BTreeMap<String, Standing>) {
    write(out, &(devices.len() as u64));
    for (name, standing) in devices {
        write(out, name);
        write(out, &(standing.version().len() as u64));
        for (id, counter, pruned) in standing.stands() {
            write(out, &Stand { id: Bytes::new(id.as_bytes()), counter, pruned });
        }
    }
}

fn read_standing(reader: &mut Reader<'_>) -> Result<Standing, DecodeError> {
    let count: u64 = reader.read("the number of writers")?;
    let mut stands = reader.share(count, least::STAND)?;
    for _ in 0..count {
        let Stand { id, counter, pruned } = reader.read("a writer")?;
        stands.push((replica_id(id)?, counter, pruned));
    }
    Standing::from_stands(stands).ok_or(DecodeError::Malformed("writers out of order, or pruned beyond what was seen"))
}
