//! What a peer says when it asks: its version, and the dots that it holds alive; and what is known of several peers.
//!
//! A version is a table of ids, the heads, and dots below them for a peer that does not know these; a set of dots a count
//! and as many ([`Dots`], its `words` × [`Word`]); a list of devices a count, a table of ids, and as many (name, heads of
//! what was seen, heads of what was pruned), by name.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::codec::MAX_MEMORY;
use crate::codec::envelope::{self, Kind};
use crate::codec::error::DecodeError;
use crate::codec::versions::{self, read_ids, read_version, write_ids, writer_id};
use crate::codec::wire::{Differences, Reader, write};
use crate::id::Dot;
use crate::kernel::DotSet;
use crate::standing::Standing;
use crate::version::{HeadsChange, Version};

#[derive(Serialize, Deserialize)]
struct Dots<'a> {
    #[serde(borrow)]
    id: &'a Bytes,
    words: u64,
}

/// 64 counters: the block as a difference from the one before, and a bit for each dot.
#[derive(Serialize, Deserialize)]
struct Word {
    block: i64,
    word: u64,
}

/// The fewest bytes that the values above take.
mod least {
    pub(super) const DOTS: u64 = 14;
    pub(super) const WORD: u64 = 3;
    pub(super) const DEVICE: u64 = 5;
}

/// How many dots below its heads a version names that travels by itself.
const TRAIL: usize = 256;

impl Version {
    /// The version as bytes, for a peer to cut a delta by. O(heads), some 13 bytes each, and up to 256 dots below them, by
    /// which a peer that does not know the heads finds what both have seen.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        write_told(&mut body, self, &Self::told(Vec::new(), self.trail(&Self::new(), TRAIL)));
        envelope::seal(Kind::Version, &body)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Any other bytes are an error, found within bounded memory.
    ///
    /// ```
    /// use driftless::{Graph, Replica, Version};
    /// let (mut laptop, phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    /// laptop.edit(|g| g.add_node("person:ada"))?;
    /// let question = phone.version().to_bytes(); // sent to the laptop, which answers:
    /// let answer = laptop.delta_since(&Version::from_bytes(&question)?)?.to_bytes();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = envelope::open_as(bytes, Kind::Version, MAX_MEMORY)?.body;
        let mut reader = Reader::new(&body);
        let table = read_ids(&mut reader)?;
        let heads = read_version(&mut reader, &Self::new(), &table, "a head")?;
        let below: u64 = reader.read("the number of dots")?;
        if below > TRAIL as u64 {
            return Err(DecodeError::TooLarge {
                what: "the number of dots below heads",
                found: below,
                limit: TRAIL as u64,
            });
        }
        let mut more = reader.share(below, versions::least::HEAD)?;
        for _ in 0..below {
            let place: u64 = reader.read("a writer")?;
            let counter: u64 = reader.read("a counter")?;
            let writer = usize::try_from(place).ok().and_then(|place| table.get(place));
            let writer = *writer.ok_or(DecodeError::Malformed("a dot of a writer that is not listed"))?;
            more.push(Dot { writer, counter });
        }
        let version = Self::told(heads.heads().to_vec(), more);
        envelope::check_canonical(&body, |out| write_told(out, &version, &version.below()))?;
        Ok(version)
    }
}

/// Heads, and dots below them (the second's).
fn write_told(out: &mut impl Write, version: &Version, below: &Version) {
    let (nothing, more) = (Version::new(), below.trail(&Version::new(), usize::MAX));
    let heads = HeadsChange::between(&nothing, version);
    let mut table: Vec<_> = versions::writers(&heads).chain(more.iter().map(|dot| dot.writer)).collect();
    table.sort_unstable();
    table.dedup();
    let place = |writer| table.partition_point(|id| *id < writer) as u64;
    write_ids(out, &table);
    versions::write_change(out, &heads, place);
    write(out, &(more.len() as u64));
    for dot in &more {
        write(out, &place(dot.writer));
        write(out, &dot.counter);
    }
}

impl DotSet {
    /// The set as bytes, for a peer to [reconcile](crate::Replica::reconcile) by. O(blocks), at most 12 bytes for each
    /// 64 counters.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        write_dots(&mut body, self);
        envelope::seal(Kind::Dots, &body)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Any other bytes are an error, found within bounded memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = envelope::open_as(bytes, Kind::Dots, MAX_MEMORY)?.body;
        let mut reader = Reader::new(&body);
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
            writers.push((writer_id(dots.id)?, words));
        }
        let dots = Self::from_sorted(writers).ok_or(DecodeError::Malformed("dots out of order"))?;
        envelope::check_canonical(&body, |out| write_dots(out, &dots))?;
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
    envelope::seal(Kind::Devices, &body)
}

pub(crate) fn decode_devices(bytes: &[u8]) -> Result<BTreeMap<String, Standing>, DecodeError> {
    let body = envelope::open_as(bytes, Kind::Devices, MAX_MEMORY)?.body;
    let mut reader = Reader::new(&body);
    let count: u64 = reader.read("the number of devices")?;
    reader.share::<()>(count, least::DEVICE)?;
    let table = read_ids(&mut reader)?;
    let (mut devices, nothing) = (BTreeMap::new(), Version::new());
    for _ in 0..count {
        let name: &str = reader.read("the name of a device")?;
        let version = read_version(&mut reader, &nothing, &table, "a head of what was seen")?;
        let pruned = read_version(&mut reader, &nothing, &table, "a head of what was pruned")?;
        devices.insert(name.to_owned(), Standing { version, pruned });
    }
    // Names that come twice or out of order are not written so.
    envelope::check_canonical(&body, |out| write_devices(out, &devices))?;
    Ok(devices)
}

fn write_devices(out: &mut impl Write, devices: &BTreeMap<String, Standing>) {
    let nothing = Version::new();
    let changes: Vec<_> = devices
        .iter()
        .map(|(name, Standing { version, pruned })| {
            (name, [version, pruned].map(|v| HeadsChange::between(&nothing, v)))
        })
        .collect();
    let mut table: Vec<_> =
        changes.iter().flat_map(|(_, [a, b])| versions::writers(a).chain(versions::writers(b))).collect();
    table.sort_unstable();
    table.dedup();
    write(out, &(devices.len() as u64));
    write_ids(out, &table);
    let place = |writer| table.partition_point(|id| *id < writer) as u64;
    for (name, changes) in &changes {
        write(out, name);
        changes.iter().for_each(|change| versions::write_change(out, change, place));
    }
}
