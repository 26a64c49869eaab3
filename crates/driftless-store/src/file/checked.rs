//! Checked files: checkpoints and blobs, which are written once, as a whole.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `DLCF` |
//! | 4 | format version |
//! | 16 | name of the store |
//! | 8 | checksum of the file's name, so that no file is taken for another |
//! | 8 | length of the content |
//! | 8 | checksum of all that |
//! | … | blocks: 64 KiB of content (the last: less), and its checksum, seeded by that of the header and the block's number |

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::bugs::{Bug, is};
use crate::disk::{Disk, read_all};
use crate::file::FORMAT;
use crate::file::bytes::Reader;
use crate::storage::StorageError;

const MAGIC: [u8; 4] = *b"DLCF";
const HEAD: usize = 48;

/// Content under one checksum: damage is told to so many bytes.
const BLOCK: usize = 64 * 1024;

/// Bytes that are handed to the system at a time.
const CHUNK: usize = 1024 * 1024;

fn head(name: &str, store: [u8; 16], len: u64) -> [u8; HEAD] {
    let mut bytes = Vec::with_capacity(HEAD);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&u32::from(FORMAT).to_le_bytes());
    bytes.extend_from_slice(&store);
    for number in [xxh3_64(name.as_bytes()), len] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    let mut head = [0; HEAD];
    head.copy_from_slice(&bytes);
    head
}

/// Writes a file under another name, syncs it, and gives it its name, which is not durable yet. Returns its length.
///
/// If it fails, the file of the other name is gone, unless that fails as well: then the next opening removes it.
pub(super) fn write(disk: &dyn Disk, name: &str, store: [u8; 16], parts: &[&[u8]]) -> Result<u64, StorageError> {
    let temporary = format!("{name}.tmp");
    let written = write_as(disk, &temporary, name, store, parts)
        .and_then(|len| disk.rename(&temporary, name).map(|()| len).map_err(|e| StorageError::io("rename", name, e)));
    if written.is_err() {
        let _ = disk.remove(&temporary);
    }
    written
}

fn write_as(
    disk: &dyn Disk,
    temporary: &str,
    name: &str,
    store: [u8; 16],
    parts: &[&[u8]],
) -> Result<u64, StorageError> {
    let file = disk.create(temporary).map_err(|e| StorageError::io("create", temporary, e))?;
    let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
    let head = head(name, store, len);
    let seed = xxh3_64(&head);
    let mut chunk = head.to_vec();
    let (mut written, mut block, mut number) = (0, Vec::with_capacity(BLOCK), 0);
    let mut flush = |chunk: &mut Vec<u8>| {
        file.write_at(written, chunk).map_err(|e| StorageError::io("write", temporary, e))?;
        written += chunk.len() as u64;
        chunk.clear();
        Ok(())
    };
    let mut parts = parts.iter().copied().filter(|part| !part.is_empty());
    let mut rest: &[u8] = parts.next().unwrap_or_default();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(BLOCK - block.len()));
        block.extend_from_slice(now);
        rest = if later.is_empty() { parts.next().unwrap_or_default() } else { later };
        if block.len() == BLOCK || rest.is_empty() {
            chunk.extend_from_slice(&block);
            chunk.extend_from_slice(&xxh3_64_with_seed(&block, seed ^ number).to_le_bytes());
            block.clear();
            number += 1;
            if chunk.len() >= CHUNK {
                flush(&mut chunk)?;
            }
        }
    }
    flush(&mut chunk)?;
    if !is(Bug::CheckpointUnsynced) {
        file.sync().map_err(|e| StorageError::io("sync", temporary, e))?;
    }
    Ok(written)
}

/// Reads a file. None if there is none.
pub(super) fn read(disk: &dyn Disk, name: &str, store: [u8; 16]) -> Result<Option<Vec<u8>>, StorageError> {
    let file = match disk.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io("open", name, error)),
    };
    let bytes = read_all(&*file).map_err(|e| StorageError::io("read", name, e))?;
    content(&bytes, name, store).map(Some)
}

/// The content of a file; checks all of it.
fn content(bytes: &[u8], name: &str, store: [u8; 16]) -> Result<Vec<u8>, StorageError> {
    let damaged = |offset: usize, what| StorageError::damaged(name, offset as u64, what);
    let (head, mut rest) =
        bytes.split_first_chunk::<HEAD>().ok_or_else(|| damaged(bytes.len(), "it ends within its beginning"))?;
    let len = parse(head, name, store).ok_or_else(|| damaged(0, "its beginning is not that of a checked file"))??;
    let len = usize::try_from(len).map_err(|_| damaged(0, "it is longer than this machine can address"))?;
    let seed = xxh3_64(head);
    // Reservations are bounded by the size of the file.
    let mut content = Vec::with_capacity(len.min(rest.len()));
    for number in 0.. {
        let wanted = BLOCK.min(len - content.len());
        let at = bytes.len() - rest.len();
        if wanted == 0 {
            return if rest.is_empty() { Ok(content) } else { Err(damaged(at, "something follows its end")) };
        }
        let block =
            rest.split_at_checked(wanted).and_then(|(block, rest)| Some((block, rest.split_first_chunk::<8>()?)));
        let (block, (checksum, after)) = block.ok_or_else(|| damaged(bytes.len(), "it ends too early"))?;
        if xxh3_64_with_seed(block, seed ^ number) != u64::from_le_bytes(*checksum) && !is(Bug::BlockUnchecked) {
            return Err(damaged(at, "the checksum of a block is wrong"));
        }
        content.extend_from_slice(block);
        rest = after;
    }
    Ok(content)
}

/// The length of the content.
fn parse(head: &[u8; HEAD], name: &str, store: [u8; 16]) -> Option<Result<u64, StorageError>> {
    let (body, checksum) = head.split_last_chunk::<8>()?;
    if xxh3_64(body) != u64::from_le_bytes(*checksum) {
        return None;
    }
    let mut reader = Reader(body);
    if reader.array::<4>()? != MAGIC {
        return None;
    }
    let format = u32::from_le_bytes(reader.array()?);
    if format > u32::from(FORMAT) {
        let found = format.try_into().unwrap_or(u16::MAX);
        return Some(Err(StorageError::Format { file: name.to_owned(), found, newest: FORMAT }));
    }
    if reader.array::<16>()? != store {
        return Some(Err(StorageError::Foreign { file: name.to_owned() }));
    }
    if reader.number()? != xxh3_64(name.as_bytes()) {
        return Some(Err(StorageError::damaged(name, 0, "it is another file of the store under this name")));
    }
    Some(Ok(reader.number()?))
}

/// The store that a checked file says it is of, whatever else is wrong with it.
pub(super) fn store_of(bytes: &[u8]) -> Option<[u8; 16]> {
    let head = bytes.first_chunk::<HEAD>()?;
    let (body, checksum) = head.split_last_chunk::<8>()?;
    (xxh3_64(body) == u64::from_le_bytes(*checksum) && body.starts_with(&MAGIC)).then_some(())?;
    Reader(body.get(8..)?).array()
}
