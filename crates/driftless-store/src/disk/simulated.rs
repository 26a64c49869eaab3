//! A disk in memory that can stop at any operation, and forgets what was not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::disk::{Disk, DiskFile, Lock, LockError};

/// A disk in memory, for tests of what is built on a [`Disk`].
///
/// It knows of each byte whether it was synced, and of each name whether the directory was. [`crash`](Self::crash) returns what a
/// machine could find after it has stopped: of the *units* that were not synced (sectors, lengths, names) any may be lost.
///
/// A sync that [fails](Fault::Fail) forgets, like Linux does: reads go on showing what was written, and no later sync writes it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    shared: Arc<Mutex<Shared>>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// From the change of this number on (from 0) all fails; that one is done, but not durable.
    Stop(u64),
    /// The change of this number fails: of a write the first half is done; nothing of another.
    Fail(u64, io::ErrorKind),
    /// The read of this number fails.
    FailRead(u64, io::ErrorKind),
    /// There is room for so many bytes in all files: of a write as much is done as there is room for.
    Full(u64),
}

/// The files of a disk, by name.
pub type Image = BTreeMap<String, Vec<u8>>;

/// Bytes that reach the medium at once, or not at all.
const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct Shared {
    files: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the directory was synced.
    pending_names: Vec<Naming>,
    fault: Fault,
    changes: u64,
    reads: u64,
    /// What each change was, for people.
    history: Vec<String>,
    holder: Option<String>,
    syncs: u64,
    written: u64,
}

#[derive(Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Unit>,
}

#[derive(Clone, Debug)]
enum Unit {
    Sector { at: usize, bytes: Vec<u8> },
    Len(usize),
}

/// A change of names: one is set, another goes.
#[derive(Clone, Debug)]
struct Naming {
    set: Option<(String, usize)>,
    remove: Option<String>,
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(name) = &self.remove {
            names.remove(name);
        }
        if let Some((name, file)) = &self.set {
            names.insert(name.clone(), *file);
        }
    }
}

impl Unit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Sector { at, bytes: sector } => {
                let end = at + sector.len();
                bytes.resize(bytes.len().max(end), 0);
                if let Some(place) = bytes.get_mut(*at..end) {
                    place.copy_from_slice(sector);
                }
            }
            Self::Len(len) => bytes.resize(*len, 0),
        }
    }
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds these files, all of them durable.
    pub fn with(image: &Image) -> Self {
        let mut shared = Shared::default();
        for (name, bytes) in image {
            shared.names.insert(name.clone(), shared.files.len());
            shared.files.push(Inode { now: bytes.clone(), durable: bytes.clone(), pending: Vec::new() });
        }
        shared.durable_names = shared.names.clone();
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Has something go wrong from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.shared().fault = fault;
    }

    /// Returns how many changes there were: creating, writing, cutting, syncing, renaming, removing.
    pub fn changes(&self) -> u64 {
        self.shared().changes
    }

    /// Returns how many reads there were.
    pub fn reads(&self) -> u64 {
        self.shared().reads
    }

    /// Returns how many syncs there were, and bytes that were written.
    pub fn cost(&self) -> (u64, u64) {
        let shared = self.shared();
        (shared.syncs, shared.written)
    }

    /// Returns what the changes were, for people.
    pub fn history(&self) -> Vec<String> {
        self.shared().history.clone()
    }

    /// Returns what is read now.
    pub fn image(&self) -> Image {
        let shared = self.shared();
        let read = |(name, file): (&String, &usize)| Some((name.clone(), shared.files.get(*file)?.now.clone()));
        shared.names.iter().filter_map(read).collect()
    }

    /// Returns how many units are not durable.
    pub fn unsynced(&self) -> usize {
        let shared = self.shared();
        let named: BTreeSet<usize> = shared.reachable();
        let units = named.iter().filter_map(|file| shared.files.get(*file)).map(|file| file.pending.len());
        shared.pending_names.len() + units.sum::<usize>()
    }

    /// Returns what is there after a crash in which of the units that are not durable those are kept for which `keeps` is true.
    /// They are numbered from 0: first those of names, in the order of the changes, then those of each file.
    pub fn crash(&self, mut keeps: impl FnMut(usize) -> bool) -> Image {
        let shared = self.shared();
        let mut number = 0;
        let mut keep = || {
            number += 1;
            keeps(number - 1)
        };
        let mut names = shared.durable_names.clone();
        for naming in &shared.pending_names {
            if keep() {
                naming.apply(&mut names);
            }
        }
        let mut contents = BTreeMap::new();
        for file in shared.reachable() {
            let Some(inode) = shared.files.get(file) else { continue };
            let mut bytes = inode.durable.clone();
            inode.pending.iter().filter(|_| keep()).for_each(|unit| unit.apply(&mut bytes));
            contents.insert(file, bytes);
        }
        names.into_iter().filter_map(|(name, file)| Some((name, contents.get(&file)?.clone()))).collect()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Files that have a name, now or after some crash.
    fn reachable(&self) -> BTreeSet<usize> {
        let pending = self.pending_names.iter().filter_map(|naming| naming.set.as_ref().map(|(_, file)| *file));
        self.durable_names.values().copied().chain(pending).collect()
    }

    /// Counts a change, and tells what is to become of it.
    fn change(&mut self, what: impl FnOnce() -> String) -> Outcome {
        let number = self.changes;
        self.changes += 1;
        self.history.push(what());
        match self.fault {
            Fault::Stop(at) if number == at => Outcome::Last,
            Fault::Stop(at) if number > at => Outcome::Fail(io::Error::other("the machine has stopped")),
            Fault::Fail(at, kind) if number == at => Outcome::Fail(kind.into()),
            _ => Outcome::Do,
        }
    }

    fn name(&mut self, set: Option<(String, usize)>, remove: Option<String>) {
        let naming = Naming { set, remove };
        naming.apply(&mut self.names);
        self.pending_names.push(naming);
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|file| self.files.get(*file)).map(|file| file.now.len() as u64).sum()
    }

    fn write(&mut self, file: usize, offset: u64, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        let Some(inode) = self.files.get_mut(file) else { return };
        let (begin, end) = (offset as usize, offset as usize + bytes.len());
        let was = inode.now.len();
        inode.now.resize(was.max(end), 0);
        if let Some(place) = inode.now.get_mut(begin..end) {
            place.copy_from_slice(bytes);
        }
        if inode.now.len() > was {
            inode.pending.push(Unit::Len(inode.now.len()));
        }
        let mut at = begin - begin % SECTOR;
        while at < end {
            let sector = inode.now.get(at..inode.now.len().min(at + SECTOR)).unwrap_or_default().to_vec();
            // Zeros in a place that was never written are as good as nothing.
            if at < was || sector.iter().any(|byte| *byte != 0) {
                inode.pending.push(Unit::Sector { at, bytes: sector });
            }
            at += SECTOR;
        }
    }
}

enum Outcome {
    Do,
    /// Done, and the machine stops.
    Last,
    Fail(io::Error),
}

impl Outcome {
    /// Runs what changes something, unless it fails.
    fn run<R>(self, change: impl FnOnce() -> R) -> io::Result<R> {
        match self {
            Self::Do => Ok(change()),
            Self::Last => {
                change();
                Err(io::Error::other("the machine has stopped"))
            }
            Self::Fail(error) => Err(error),
        }
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut shared = self.shared();
        let outcome = shared.change(|| format!("create {name}"));
        outcome.run(|| {
            let number = shared.files.len();
            shared.files.push(Inode::default());
            shared.name(Some((name.to_owned(), number)), None);
            let file: Arc<dyn DiskFile> = Arc::new(SimulatedFile { disk: self.clone(), number, name: name.to_owned() });
            file
        })
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.shared().find(name)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), number, name: name.to_owned() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut shared = self.shared();
        let outcome = shared.change(|| format!("rename {from} to {to}"));
        let file = shared.find(from)?;
        outcome.run(|| shared.name(Some((to.to_owned(), file)), Some(from.to_owned())))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut shared = self.shared();
        let outcome = shared.change(|| format!("remove {name}"));
        shared.find(name)?;
        outcome.run(|| shared.name(None, Some(name.to_owned())))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut shared = self.shared();
        shared.syncs += 1;
        match shared.change(|| "sync names".to_owned()) {
            Outcome::Do => {
                let pending = std::mem::take(&mut shared.pending_names);
                pending.iter().for_each(|naming| naming.apply(&mut shared.durable_names));
                Ok(())
            }
            // Stopped within: nothing is durable for certain.
            Outcome::Last => Err(io::Error::other("the machine has stopped")),
            Outcome::Fail(error) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.shared().names.keys().cloned().collect())
    }

    fn lock(&self, holder: &str, _: Duration) -> Result<Box<dyn Lock>, LockError> {
        let mut shared = self.shared();
        match &shared.holder {
            Some(holder) => Err(LockError::Held { holder: holder.clone() }),
            None => {
                shared.holder = Some(holder.to_owned());
                Ok(Box::new(SimulatedLock(self.clone())))
            }
        }
    }

    fn location(&self) -> String {
        "a simulated disk".to_owned()
    }
}

#[derive(Debug)]
struct SimulatedLock(SimulatedDisk);

impl Lock for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.0.shared().holder = None;
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    number: usize,
    name: String,
}

impl fmt::Debug for SimulatedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimulatedFile").field(&self.name).finish()
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut shared = self.disk.shared();
        let number = shared.reads;
        shared.reads += 1;
        match shared.fault {
            Fault::FailRead(at, kind) if at == number => return Err(kind.into()),
            _ => {}
        }
        let Some(inode) = shared.files.get(self.number) else { return Ok(0) };
        let bytes = inode.now.get(offset as usize..).unwrap_or_default();
        let len = bytes.len().min(buffer.len());
        buffer.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(len)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut shared = self.disk.shared();
        if let Fault::Full(room) = shared.fault {
            let len = shared.files.get(self.number).map_or(0, |file| file.now.len() as u64);
            let free = room.saturating_sub(shared.used());
            if (offset + bytes.len() as u64).saturating_sub(len) > free {
                shared.change(|| format!("write {} at {offset}: full", self.name));
                let fits = (len + free).saturating_sub(offset).min(bytes.len() as u64) as usize;
                let fits = bytes.get(..fits).unwrap_or_default();
                shared.write(self.number, offset, fits);
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        match shared.change(|| format!("write {} at {offset}: {} bytes", self.name, bytes.len())) {
            Outcome::Fail(error) => {
                // Of a write that fails a part may be done.
                if matches!(shared.fault, Fault::Fail(..)) {
                    let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                    shared.write(self.number, offset, half);
                }
                Err(error)
            }
            outcome => outcome.run(|| shared.write(self.number, offset, bytes)),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut shared = self.disk.shared();
        let outcome = shared.change(|| format!("cut {} to {len}", self.name));
        outcome.run(|| {
            if let Some(inode) = shared.files.get_mut(self.number) {
                inode.now.resize(len as usize, 0);
                inode.pending.push(Unit::Len(len as usize));
            }
        })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.shared().files.get(self.number).map_or(0, |file| file.now.len() as u64))
    }

    fn sync(&self) -> io::Result<()> {
        let mut shared = self.disk.shared();
        shared.syncs += 1;
        let outcome = shared.change(|| format!("sync {}", self.name));
        let Some(inode) = shared.files.get_mut(self.number) else { return Ok(()) };
        match outcome {
            Outcome::Do => {
                let pending = std::mem::take(&mut inode.pending);
                pending.iter().for_each(|unit| unit.apply(&mut inode.durable));
                Ok(())
            }
            Outcome::Last => Err(io::Error::other("the machine has stopped")),
            Outcome::Fail(error) => {
                // The pages are taken for clean now.
                inode.pending.clear();
                Err(error)
            }
        }
    }
}
