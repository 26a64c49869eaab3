//! One case in a process of its own, so that its memory and what it writes are its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::systems::driftless::Driftless;
use crate::systems::redb::Redb;
use crate::systems::sqlite::Sqlite;
use crate::systems::{Edits, System, Until};

/// The argument by which the program knows that it is to run one case.
pub(crate) const FLAG: &str = "--case";

/// What a case has found: names and numbers.
pub(crate) type Found = BTreeMap<String, f64>;

/// One case of one system.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) system: &'static str,
    pub(crate) directory: PathBuf,
    pub(crate) nodes: u64,
    pub(crate) until: Until,
}

fn system(name: &str) -> Result<Box<dyn System>, Failure> {
    Ok(match name {
        "driftless" => Box::new(Driftless),
        "sqlite" => Box::new(Sqlite { shared: false }),
        "sqlite-shared" => Box::new(Sqlite { shared: true }),
        "redb" => Box::new(Redb),
        other => return Err(format!("there is no system `{other}`").into()),
    })
}

impl Case {
    /// Runs it in a child, and reads what it prints.
    pub(crate) fn run(&self) -> Result<Found, Failure> {
        self.run_under(Command::new(std::env::current_exe()?))
    }

    /// Runs it under strace, and returns how often it synced in all; none where there is no strace, or it may not trace.
    pub(crate) fn syncs(&self) -> Result<Option<(u64, Found)>, Failure> {
        let log = self.directory.with_extension("strace");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=fsync,fdatasync,msync,sync_file_range", "-o"]).arg(&log);
        strace.arg(std::env::current_exe()?);
        if !Command::new("strace")
            .args(["-qq", "-o", "/dev/null", "true"])
            .status()
            .is_ok_and(|status| status.success())
        {
            return Ok(None);
        }
        let found = self.run_under(strace)?;
        let log = fs::read_to_string(log)?;
        // A call that another thread interrupts is told twice, and once as resumed.
        let begun = log.lines().filter(|line| line.contains("sync(") && !line.contains("resumed"));
        Ok(Some((begun.count() as u64, found)))
    }

    fn run_under(&self, mut command: Command) -> Result<Found, Failure> {
        let (by, amount) = match self.until {
            Until::Elapsed(time) => ("ms", time.as_millis() as u64),
            Until::Done(edits) => ("edits", edits),
        };
        command.args([FLAG, self.what, self.system]).arg(&self.directory);
        command.args([self.nodes.to_string(), by.to_owned(), amount.to_string()]);
        let output = command.stderr(std::process::Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("`{}` of {} failed", self.what, self.system).into());
        }
        let lines = String::from_utf8(output.stdout)?;
        let pairs = lines.lines().filter_map(|line| line.split_once(' '));
        pairs.map(|(name, number)| Ok((name.to_owned(), number.parse()?))).collect()
    }
}

/// Runs the case that the arguments name, and prints what it found.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let [what, name, directory, nodes, by, amount] = arguments else {
        return Err("the arguments of a case are not for people; run without any".into());
    };
    let (system, directory) = (system(name)?, Path::new(directory));
    let (nodes, amount): (u64, u64) = (nodes.parse()?, amount.parse()?);
    let until = if by == "ms" { Until::Elapsed(Duration::from_millis(amount)) } else { Until::Done(amount) };
    // What others have written before is not to be counted here.
    Command::new("sync").status()?;
    let (begin, written) = (Instant::now(), written(directory));
    let mut found = Found::new();
    let edits = match what.as_str() {
        "build" => system.build(directory, nodes).map(|()| None)?,
        "edit" => Some(system.edit(directory, nodes, 1, until)?),
        "edit-by-eight" => Some(system.edit(directory, nodes, 8, until)?),
        "batch" => Some(system.batch(directory, nodes, until)?),
        "open" => {
            let opened = system.open(directory)?;
            if opened != nodes {
                return Err(format!("{opened} of {nodes} nodes were read").into());
            }
            None
        }
        other => return Err(format!("there is no case `{other}`").into()),
    };
    found.insert("seconds".to_owned(), begin.elapsed().as_secs_f64());
    for ((name, now), before) in ["handed", "device"].into_iter().zip(self::written(directory)).zip(written) {
        if let (Some(now), Some(before)) = (now, before) {
            found.insert(name.to_owned(), (now - before) as f64);
        }
    }
    if let Some(Edits { edits, elapsed, counted }) = edits {
        found.insert("edits".to_owned(), edits as f64);
        found.insert("rate".to_owned(), edits as f64 / elapsed.as_secs_f64());
        if let Some((written, syncs)) = counted {
            found.insert("counted_written".to_owned(), written as f64);
            found.insert("counted_syncs".to_owned(), syncs as f64);
        }
    }
    if let Some(peak) = peak_memory() {
        found.insert("peak".to_owned(), peak as f64);
    }
    for (name, number) in found {
        println!("{name} {number}");
    }
    Ok(())
}

/// Bytes that this process handed to the system, and bytes that anybody wrote to the device of a directory.
///
/// `write_bytes` of `/proc/self/io` would be the second, but Linux counts whole folios of its page cache there: 60 KB for a write
/// of 500 bytes, of which one block goes to the device.
fn written(directory: &Path) -> [Option<u64>; 2] {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    [io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()), device_written(directory)]
}

/// None if the directory lies on no block device.
fn device_written(directory: &Path) -> Option<u64> {
    let device = fs::metadata(directory).ok()?.dev();
    // As the C library takes a number of a device apart.
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    let statistics = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    statistics.split_whitespace().nth(6)?.parse::<u64>().ok().map(|sectors| sectors * 512)
}

/// The most memory that this process ever had.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    kilobytes.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
