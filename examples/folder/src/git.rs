//! A clone, and running `git` in it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Attempts at pushing while others push too.
const ATTEMPTS: usize = 5;

pub(crate) struct Git {
    clone: PathBuf,
}

impl Git {
    pub(crate) fn is_installed() -> bool {
        let version = Command::new("git").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    }

    pub(crate) fn init_bare(path: &Path) -> Result<(), Box<dyn Error>> {
        run(Command::new("git").args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(path)).map(drop)
    }

    pub(crate) fn clone_of(hub: &Path, clone: PathBuf, name: &str) -> Result<Self, Box<dyn Error>> {
        run(Command::new("git").args(["clone", "--quiet"]).arg(hub).arg(&clone))?;
        let git = Self { clone };
        git.run(&["config", "user.name", name])?;
        git.run(&["config", "user.email", &format!("{name}@example.com")])?;
        git.run(&["config", "commit.gpgsign", "false"])?;
        git.run(&["config", "core.autocrlf", "false"])?;
        git.run(&["symbolic-ref", "HEAD", "refs/heads/main"])?;
        Ok(git)
    }

    /// Gets what others pushed. git merges two histories by itself, or this is an error.
    pub(crate) fn pull(&self) -> Result<(), Box<dyn Error>> {
        if self.run(&["ls-remote", "--heads", "origin"])?.is_empty() {
            // Nobody has pushed yet.
            return Ok(());
        }
        self.run(&["pull", "--quiet", "--no-rebase", "--no-edit", "origin", "main"]).map(drop)
    }

    /// Commits whatever has changed, and pushes what the hub lacks; again after a pull, if another was faster.
    pub(crate) fn commit_and_push(&self, message: &str) -> Result<(), Box<dyn Error>> {
        self.run(&["add", "--all"])?;
        if !self.run(&["status", "--porcelain"])?.is_empty() {
            self.run(&["commit", "--quiet", "--message", message])?;
        }
        for _ in 1..ATTEMPTS {
            if self.run(&["push", "--quiet", "origin", "main"]).is_ok() {
                return Ok(());
            }
            self.pull()?;
        }
        self.run(&["push", "--quiet", "origin", "main"]).map(drop)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Result<String, Box<dyn Error>> {
        run(Command::new("git").current_dir(&self.clone).args(args))
    }
}

fn run(command: &mut Command) -> Result<String, Box<dyn Error>> {
    // A hook that runs this example would point git at the hook's own repository.
    command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    let output = command.output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim()).into()),
    }
}
