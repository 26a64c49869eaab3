//! Two replicas of a graph that sync through a folder under git: real `git`, two clones of a bare repository.
//!
//! Each device writes only files of its own, so git never has a conflict to merge, whatever the two wrote at the same
//! time; what they disagree on is driftless's to keep and list.
//!
//! | file | idea |
//! |---|---|
//! | `git` | a clone, and running `git` in it |
//! | `device` | a replica with its folder: commit, pull, push |

mod device;
mod git;

use std::error::Error;
use std::path::Path;

use driftless::NodeId;

use device::Device;
use git::Git;

fn main() -> Result<(), Box<dyn Error>> {
    if !Git::is_installed() {
        return Err("this example runs `git`, which is not installed; install it from https://git-scm.com".into());
    }
    let place = Place::new()?;
    story(place.path())
}

fn story(place: &Path) -> Result<(), Box<dyn Error>> {
    let hub = place.join("hub.git");
    Git::init_bare(&hub)?;
    let mut laptop = Device::clone_of(&hub, place, "laptop")?;
    let mut phone = Device::clone_of(&hub, place, "phone")?;
    let (ada, note) = (NodeId::named("person:ada"), NodeId::named("note:g"));

    println!("The laptop writes a person and a note; the phone gets them.");
    laptop.edit(|g| {
        g.add_node("person:ada")?;
        g.set(ada, "/name", "Ada Lovelace")?;
        g.add_node("note:g")?;
        g.set(note, "/text", "An algorithm for the Bernoulli numbers.")?;
        g.link(ada, "wrote", note).map(drop)
    })?;
    meet(&mut laptop, &mut phone)?;

    println!("\nBoth go on offline: the same name changed twice, and a note deleted here that is edited there.");
    laptop.edit(|g| g.set(ada, "/name", "Augusta Ada King"))?;
    laptop.edit(|g| g.remove_node(note).map(drop))?;
    phone.edit(|g| g.set(ada, "/name", "Countess of Lovelace"))?;
    phone.edit(|g| g.set(note, "/text", "Note G."))?;
    meet(&mut laptop, &mut phone)?;
    laptop.state().conflicts().for_each(|conflict| println!("  {conflict}"));

    println!("\nA hundred days, on which both write and only sometimes meet.");
    for day in 0..100 {
        for (device, who) in [(&mut laptop, "laptop"), (&mut phone, "phone")] {
            device.edit(|g| {
                let today = g.add_node(&format!("day:{day}:{who}"))?;
                g.set(today, "/text", &format!("What {who} thought of on day {day}."))
            })?;
            // Days of a round number are forgotten, and their tombstones too.
            if day % 10 == 0 && day > 0 {
                let forgotten = NodeId::named(&format!("day:{}:laptop", day - 10));
                device.edit(|g| g.remove_node(forgotten).map(drop))?;
                device.prune()?;
            }
        }
        if day % 7 == 0 {
            laptop.sync(false)?;
            phone.sync(false)?;
        }
    }
    meet(&mut laptop, &mut phone)?;

    println!("\nA third device that has nothing clones what is there.");
    let mut tablet = Device::clone_of(&hub, place, "tablet")?;
    tablet.sync(true)?;
    let (files, bytes) = tablet.folder_size()?;
    println!("  {} nodes, from {files} files of {bytes} bytes", tablet.state().node_count());

    if tablet.state() != laptop.state() || phone.state() != laptop.state() {
        return Err("the three differ".into());
    }
    let merges = laptop.commits()?;
    println!("\nAll three hold the same. git has made {merges} commits, and no merge of it had a conflict.");
    Ok(())
}

/// Laptop, phone, laptop: then each has what the other wrote.
fn meet(laptop: &mut Device, phone: &mut Device) -> Result<(), Box<dyn Error>> {
    laptop.sync(true)?;
    phone.sync(true)?;
    laptop.sync(true)?;
    if laptop.state() != phone.state() {
        return Err("laptop and phone differ".into());
    }
    println!("  laptop and phone hold the same");
    Ok(())
}

/// A directory for the run, gone after it.
struct Place(std::path::PathBuf);

impl Place {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("driftless-folder-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
