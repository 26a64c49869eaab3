//! Versions and births as bytes.
//!
//! A version is its heads. Where both sides know another version (the *base*), only what differs from its heads is written:
//! the places of those that are gone, and those that have come. Writers are named by their place in a table of ids.
//!
//! Births are written in *chains*, each writer born in the one before it. So a birth takes the id and how far the counter
//! has gone on, some 12 bytes.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use serde_bytes::Bytes;

use crate::codec::error::DecodeError;
use crate::codec::wire::{Reader, check, write};
use crate::id::{Dot, WriterId};
use crate::version::{Birth, HeadsChange, MAX_NAME_LEN, Version};

/// The fewest bytes that things take.
pub(super) mod least {
    pub(in crate::codec) const HEAD: u64 = 2;
}

pub(super) fn writer_id(bytes: &[u8]) -> Result<WriterId, DecodeError> {
    let id = <[u8; WriterId::LEN]>::try_from(bytes).map(WriterId::from);
    id.map_err(|_| DecodeError::Malformed("the id of a writer that is not 10 bytes long"))
}

/// A sorted table of ids, in one value.
pub(super) fn write_ids(out: &mut impl Write, ids: &[WriterId]) {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    write(out, Bytes::new(&bytes));
}

pub(super) fn read_ids(reader: &mut Reader<'_>) -> Result<Vec<WriterId>, DecodeError> {
    let ids = read_some_ids(reader)?;
    check([(ids.windows(2).all(|pair| pair[0] < pair[1]), "writers out of order")])?;
    Ok(ids)
}

fn read_some_ids(reader: &mut Reader<'_>) -> Result<Vec<WriterId>, DecodeError> {
    let bytes: &Bytes = reader.read("writers")?;
    check([(bytes.len().is_multiple_of(WriterId::LEN), "the id of a writer that is not 10 bytes long")])?;
    bytes.chunks_exact(WriterId::LEN).map(writer_id).collect()
}

/// Writes what leads from one version to another: `place` finds a writer in the table.
pub(super) fn write_change(out: &mut impl Write, change: &HeadsChange, place: impl Fn(WriterId) -> u64) {
    write(out, &(change.gone.len() as u64));
    let mut next = 0;
    for i in &change.gone {
        write(out, &(i - next));
        next = i + 1;
    }
    write(out, &(change.come.len() as u64));
    for head in &change.come {
        write(out, &place(head.writer));
        write(out, &head.counter);
    }
}

/// The writers of heads that have come: a table must hold their ids.
pub(super) fn writers(change: &HeadsChange) -> impl Iterator<Item = WriterId> + '_ {
    change.come.iter().map(|head| head.writer)
}

/// Reads what [`write_change`] wrote: the version that it leads to.
pub(super) fn read_version(
    reader: &mut Reader<'_>,
    base: &Version,
    table: &[WriterId],
    what: &'static str,
) -> Result<Version, DecodeError> {
    let gone: u64 = reader.read(what)?;
    check([(gone <= base.len() as u64, "more heads are gone than there were")])?;
    let (mut change, mut next) = (HeadsChange::default(), 0u64);
    for _ in 0..gone {
        let skip: u64 = reader.read(what)?;
        let i = next.checked_add(skip).filter(|i| *i < base.len() as u64);
        let i = i.ok_or(DecodeError::Malformed("a head is gone that there was not"))?;
        change.gone.push(i);
        next = i + 1;
    }
    let come: u64 = reader.read(what)?;
    // Each head has a writer of its own.
    check([(come <= table.len() as u64, "more heads than writers are listed")])?;
    change.come = reader.share(come, least::HEAD)?;
    for _ in 0..come {
        let place: u64 = reader.read(what)?;
        let counter: u64 = reader.read(what)?;
        let writer = usize::try_from(place).ok().and_then(|place| table.get(place));
        let writer = *writer.ok_or(DecodeError::Malformed("a head of a writer that is not listed"))?;
        change.come.push(Dot { writer, counter });
    }
    change.apply(base).ok_or(DecodeError::Malformed("heads that are none of one version"))
}

/// Writes births, sorted by writer, in chains.
pub(super) fn write_births(out: &mut impl Write, births: &[Birth]) {
    let find = |writer: WriterId| births.binary_search_by_key(&writer, |birth| birth.writer).ok();
    // In each writer the chain goes on with the last of those born in it.
    let mut next: HashMap<WriterId, (u64, WriterId)> = HashMap::new();
    for birth in births {
        if let Some(parent) = birth.parent.filter(|parent| find(parent.writer).is_some()) {
            let last = next.entry(parent.writer).or_insert((parent.counter, birth.writer));
            *last = (*last).max((parent.counter, birth.writer));
        }
    }
    let begins = |birth: &&Birth| {
        let goes_on = birth.parent.and_then(|parent| next.get(&parent.writer));
        goes_on.is_none_or(|(_, writer)| *writer != birth.writer)
    };
    write(out, &(births.iter().filter(begins).count() as u64));
    for first in births.iter().filter(begins) {
        let mut chain = vec![first];
        let mut last = first;
        while let Some(birth) = next.get(&last.writer).and_then(|(_, writer)| births.get(find(*writer)?)) {
            chain.push(birth);
            last = birth;
        }
        let parent = first.parent.map(|parent| parent.writer);
        write(out, &parent.as_ref().map(|parent| Bytes::new(parent.as_bytes())));
        let ids: Vec<WriterId> = chain.iter().map(|birth| birth.writer).collect();
        write_ids(out, &ids);
        let mut before = 0;
        for birth in &chain {
            write(out, &(birth.after().wrapping_sub(before)));
            before = birth.after();
        }
        let named = chain.iter().enumerate().filter_map(|(i, birth)| Some((i as u64, birth.name.as_ref()?)));
        write(out, &(named.clone().count() as u64));
        for (i, name) in named {
            write(out, &i);
            write(out, &**name);
        }
    }
}

pub(super) fn read_births(reader: &mut Reader<'_>) -> Result<Vec<Birth>, DecodeError> {
    let chains: u64 = reader.read("the number of chains")?;
    let mut births: Vec<Birth> = Vec::new();
    for _ in 0..chains {
        let parent: Option<&Bytes> = reader.read("the parent of a writer")?;
        let mut parent = parent.map(|id| writer_id(id)).transpose()?;
        let ids = read_some_ids(reader)?;
        check([(!ids.is_empty(), "a chain without writers")])?;
        let (start, mut after) = (births.len(), 0u64);
        // No more than is here, unless there are many short chains.
        if ids.len() > births.capacity() - births.len() && ids.len() > births.len() {
            births.reserve_exact(ids.len());
        }
        for writer in ids {
            let step: u64 = reader.read("the counter of a birth")?;
            after = after.checked_add(step).ok_or(DecodeError::Malformed("a counter past its end"))?;
            check([((after > 0) == parent.is_some(), "a birth at no write")])?;
            let parent = parent.replace(writer).map(|parent| Dot { writer: parent, counter: after });
            births.push(Birth { writer, parent, name: None });
        }
        let named: u64 = reader.read("the number of names")?;
        for _ in 0..named {
            let i: u64 = reader.read("a named writer")?;
            let name: &str = reader.read("the name of a device")?;
            if name.len() > MAX_NAME_LEN {
                let (what, found, limit) = ("the name of a device", name.len() as u64, MAX_NAME_LEN as u64);
                return Err(DecodeError::TooLarge { what, found, limit });
            }
            let place = usize::try_from(i).ok().and_then(|i| births.get_mut(start.checked_add(i)?));
            let birth = place.ok_or(DecodeError::Malformed("the name of no writer"))?;
            birth.name = Some(Arc::from(name));
        }
    }
    births.sort_unstable_by_key(|birth| birth.writer);
    check([(births.windows(2).all(|pair| pair[0].writer < pair[1].writer), "two births of one writer")])?;
    Ok(births)
}
