//! Any bytes as files of a shared folder, beside good ones.

use std::fs;
use std::path::{Path, PathBuf};

use driftless::sync::{Folder, FolderReport};
use driftless::testing::{TestEnvironment, repair_checksum};
use driftless::{Crdt, Graph, NodeId, Prune, Replica};

use crate::input::Input;
use crate::reading::Readable;
use crate::talk::converge;
use crate::wire::{Hostile, Palette, Receiver};

/// Of the reader, an honest writer, and others.
const DEVICES: [&str; 4] = ["laptop", "phone", "stick", "No device"];

const NAMES: [&str; 8] = [
    "0000000001.drift",
    "0000000002.drift",
    "0000000003.drift",
    "0000000007.drift",
    "9999999999.drift",
    "0000000002.drift.tmp",
    "0000000001 (conflicted copy).drift",
    ".0000000001.drift",
];

fn temporary() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a directory")
}

struct Desk {
    laptop: Replica<Graph>,
    on_laptop: Folder<Graph>,
    phone: Replica<Graph>,
    on_phone: Folder<Graph>,
    folder: tempfile::TempDir,
    /// What we have put there.
    planted: Vec<PathBuf>,
    /// Whether anything of it was merged.
    misled: bool,
}

impl Desk {
    fn new() -> Self {
        let folder = temporary();
        let open = |device| Folder::<Graph>::open(folder.path(), device).expect("a folder");
        let (mut on_laptop, mut on_phone) = (open("laptop"), open("phone"));
        let [mut laptop, mut phone] = [1, 2].map(|seed| Replica::<Graph>::with_environment(TestEnvironment::new(seed)));
        phone.edit(|g| g.add_node("phone 0")).expect("a plain edit");
        let _ = on_phone.sync(&mut phone).expect("an honest folder");
        laptop.edit(|g| g.add_node("laptop 0")).expect("a plain edit");
        let _ = on_laptop.sync(&mut laptop).expect("an honest folder");
        Self { laptop, on_laptop, phone, on_phone, folder, planted: Vec::new(), misled: false }
    }

    /// Puts a file into the folder: anything, or something good that was damaged, or a delta that nobody would make.
    fn plant(&mut self, input: &mut Input<'_>, palette: &Palette) {
        let (device, name) = (*input.pick(&DEVICES), *input.pick(&NAMES));
        let directory = self.folder.path().join(device);
        let path = directory.join(name);
        if path.exists() && !self.planted.contains(&path) {
            // Good files are those of others, and stay good.
            return;
        }
        let good = match input.flag() {
            true => self.phone.complete(),
            false => self.laptop.complete(),
        };
        let mut bytes = match input.below(6) {
            0 | 1 => input.bytes().to_vec(),
            2 => Hostile::new(input, palette, &Receiver::of(&self.laptop)).to_bytes(),
            3 => {
                let mut bytes = good.to_bytes();
                bytes.truncate(input.number() as usize % bytes.len());
                bytes
            }
            4 => {
                let mut bytes = good.to_bytes();
                let at = input.number() as usize % bytes.len();
                bytes[at] ^= input.byte();
                bytes
            }
            _ => good.to_bytes(),
        };
        if input.flag() {
            repair_checksum(&mut bytes);
        }
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(&path, bytes).expect("a file");
        self.planted.push(path);
    }

    fn note(&mut self, report: &FolderReport) {
        self.misled |= report.merged.iter().any(|file| self.planted.contains(&file.path));
        report.skipped.iter().for_each(|skipped| drop(skipped.reason.to_string()));
    }

    fn sync(&mut self) {
        let before = self.laptop.snapshot();
        let report = self.on_laptop.pull(&mut self.laptop).expect("a folder that can be listed");
        self.note(&report);
        if report.merged.is_empty() {
            assert!(*self.laptop.state() == before, "changed by a file that was not merged");
        }
        self.laptop.state().check_invariants().expect("a consistent graph");
        if let Ok(report) = self.on_laptop.push(&mut self.laptop) {
            self.note(&report);
        }
    }

    fn step(&mut self, input: &mut Input<'_>, palette: &Palette) {
        match input.below(12) {
            0..=4 => self.plant(input, palette),
            5..=7 => self.sync(),
            8 => {
                let how = input.byte();
                let _ = self.laptop.edit(|g| Graph::write(g, how, how / 8));
            }
            9 => {
                let name = format!("phone {}", input.byte() % 8);
                self.phone.edit(|g| g.add_node(&name)).expect("a plain edit");
                let _ = self.on_phone.push(&mut self.phone);
            }
            10 => {
                let _ = self.on_laptop.prune(&mut self.laptop, Prune::All);
            }
            _ => {
                // A new process, which has read nothing.
                self.on_laptop = Folder::open(self.folder.path(), "laptop").expect("a folder");
            }
        }
    }
}

/// Whatever lies in a folder: what is good arrives, what is not is reported and changes nothing.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut desk = Desk::new();
    let palette = Palette::of(Graph::SCHEMA, [desk.laptop.state().state(), desk.phone.state().state()]);
    for _ in 0..24 {
        if input.is_empty() {
            break;
        }
        desk.step(&mut input, &palette);
    }
    desk.phone.edit(|g| g.add_node("phone last")).expect("a plain edit");
    let pushed = desk.on_phone.push(&mut desk.phone);
    desk.sync();
    if !desk.misled && pushed.is_ok_and(|report| report.written.is_some()) {
        let id = NodeId::named("phone last");
        assert!(desk.laptop.state().contains_node(id), "what is good did not arrive");
    }
    desk.laptop.state().read();
    if desk.misled {
        return converge(&mut desk.laptop, &mut desk.phone);
    }
    // Once the folder is cleared up, it is as if nothing had been.
    desk.planted.iter().for_each(|path| drop(fs::remove_file(path)));
    // Nor is anything remembered of it.
    let open = |device| Folder::<Graph>::open(desk.folder.path(), device).expect("a folder");
    (desk.on_laptop, desk.on_phone) = (open("laptop"), open("phone"));
    for _ in 0..2 {
        let laptop = desk.on_laptop.sync(&mut desk.laptop).expect("an honest folder");
        let phone = desk.on_phone.sync(&mut desk.phone).expect("an honest folder");
        for report in [laptop, phone] {
            assert!(report.unwritten.is_none(), "{:?}", report.unwritten);
        }
    }
    assert!(desk.laptop.version() == desk.phone.version() && desk.laptop.fingerprint() == desk.phone.fingerprint());
}
