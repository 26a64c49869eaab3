//! A replica with its folder: commit, pull, push.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use driftless::sync::Folder;
use driftless::{Edit, EditError, Graph, Prune, Replica};

use crate::git::Git;

pub(crate) struct Device {
    name: &'static str,
    /// The directory in the clone that driftless writes to; what else the repository holds is no concern of its.
    directory: PathBuf,
    replica: Replica<Graph>,
    folder: Folder<Graph>,
    git: Git,
}

impl Device {
    pub(crate) fn clone_of(hub: &Path, place: &Path, name: &'static str) -> Result<Self, Box<dyn Error>> {
        let clone = place.join(name);
        let git = Git::clone_of(hub, clone.clone(), name)?;
        let directory = clone.join("graph");
        // git keeps no empty directory, so the first clone has none.
        fs::create_dir_all(&directory)?;
        let folder = Folder::open(&directory, name)?;
        Ok(Self { name, directory, replica: Replica::new(), folder, git })
    }

    pub(crate) fn state(&self) -> &Graph {
        self.replica.state()
    }

    pub(crate) fn edit(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_, Graph>) -> Result<(), EditError>,
    ) -> Result<(), EditError> {
        self.replica.edit(edit).map(drop)
    }

    /// Forgets tombstones, once they are in the folder.
    pub(crate) fn prune(&mut self) -> Result<usize, Box<dyn Error>> {
        Ok(self.folder.prune(&mut self.replica, Prune::All)?)
    }

    /// git brings what others wrote, driftless merges it and writes what they lack, git takes it along. An app would save the
    /// replica before the folder is synced.
    pub(crate) fn sync(&mut self, tell: bool) -> Result<(), Box<dyn Error>> {
        self.git.pull()?;
        let report = self.folder.sync(&mut self.replica)?;
        if let Some(skipped) = report.skipped.first() {
            return Err(format!("{}: {}", skipped.path.display(), skipped.reason).into());
        }
        if let Some(error) = report.unwritten {
            return Err(error.into());
        }
        self.git.commit_and_push(&format!("Notes of {}", self.name))?;
        if tell {
            let read = match report.merged.len() {
                0 => "nothing new to read".to_owned(),
                files => format!("merged {files} files, {} bytes", report.bytes_read),
            };
            let wrote = match &report.written {
                None => "nothing to write".to_owned(),
                Some(file) => {
                    let kind = if file.is_checkpoint { "a checkpoint" } else { "a delta" };
                    let path = file.path.strip_prefix(&self.directory)?;
                    format!("wrote {kind} of {} bytes, {}", file.bytes, path.display())
                }
            };
            println!("  {:<6}  {read}; {wrote}", self.name);
        }
        Ok(())
    }

    /// How many files the folder has, of all devices, and their bytes.
    pub(crate) fn folder_size(&self) -> std::io::Result<(usize, u64)> {
        let (mut files, mut bytes) = (0, 0);
        for device in fs::read_dir(&self.directory)? {
            for file in fs::read_dir(device?.path())? {
                files += 1;
                bytes += file?.metadata()?.len();
            }
        }
        Ok((files, bytes))
    }

    pub(crate) fn commits(&self) -> Result<usize, Box<dyn Error>> {
        Ok(self.git.run(&["rev-list", "--count", "HEAD"])?.trim().parse()?)
    }
}
