//! `idvault bench`: how fast a vault and its keys are on this machine, beside a reference in the same run.
//!
//! A time by itself says how busy the machine was. So the vault and what stands beside it take turns, each two turns a pair with one
//! ratio, and what counts is the median of the ratios.

mod keys;
mod line;
mod load;
mod measure;
mod pairs;
mod process;
mod raw;
mod sides;
mod twin;
mod wire;

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use tempfile::TempDir;

use self::line::{Line, Name};
use self::measure::Bench;
use super::client::Failure;
use super::progress;

/// Measure a vault on this machine
#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Uploads, fetches, disk, memory and starts, beside what they would be without protection
    Io(Arguments),
    /// Leaves, shreds and starts of the key layer, with as many records as a large vault has
    Keys(keys::Arguments),
}

/// What to measure
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to write; everything is removed in the end
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How many clients call at once, each over a connection of its own
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=32))]
    clients: u32,
    /// How many pairs of turns to measure
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(9..=999))]
    pairs: u32,
    /// How long a turn of the vault should take, in seconds
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// The smallest part, in bytes; sizes are spread evenly
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(100..=8_000_000))]
    smallest: u32,
    /// The largest part, in bytes
    #[arg(long, default_value_t = 400_000, value_parser = clap::value_parser!(u32).range(100..=8_000_000))]
    largest: u32,
    /// Measure this alone; may be given more than once
    #[arg(long, value_name = "NAME")]
    line: Vec<Name>,
    /// How many records of 100 bytes a vault has whose memory and starts are measured
    #[arg(long, value_name = "RECORDS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    preload: u32,
    /// Show the result as JSON
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    lines: Vec<Line>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
struct Machine {
    cpus: usize,
    cpu: String,
    kernel: String,
}

/// Measures and tells.
pub(super) async fn run(action: Action) -> Result<ExitCode, Failure> {
    match action {
        Action::Io(arguments) => io(arguments).await,
        Action::Keys(arguments) => keys::run(arguments).await,
    }
}

/// 70 when the twin was no reference.
async fn io(arguments: Arguments) -> Result<ExitCode, Failure> {
    if arguments.smallest > arguments.largest {
        return Err(Failure::usage("--smallest must not be above --largest"));
    }
    let home = home_in(&arguments.dir)?;
    // Whoever interrupts it finds nothing left either.
    let report = tokio::select! {
        report = measure(&arguments, home.path()) => report?,
        _ = tokio::signal::ctrl_c() => return Err(Failure::refused("interrupted")),
    };
    report.tell(arguments.json)?;
    report.lines.iter().find_map(Line::strawman).map_or(Ok(ExitCode::SUCCESS), |reason| Err(Failure::refused(reason)))
}

/// A directory that is removed in the end. A bench never goes near a vault.
fn home_in(dir: &Path) -> Result<TempDir, Failure> {
    if dir.join("root.cell").exists() {
        return Err(Failure::usage(format!("{} holds a vault: name another directory", dir.display())));
    }
    tempfile::Builder::new().prefix("idvault-bench-").tempdir_in(dir).map_err(|error| Failure::file(dir, &error))
}

async fn measure(arguments: &Arguments, home: &Path) -> Result<Report, Failure> {
    let names = if arguments.line.is_empty() { Name::value_variants() } else { &arguments.line };
    let length = u64::from(arguments.pairs).saturating_mul(u64::try_from(names.len()).unwrap_or(u64::MAX));
    let bar = progress::bar(length, "{pos}/{len} pairs {msg}");
    let bench = Bench::start(arguments, home, bar.clone()).await?;
    let mut lines = Vec::new();
    for name in names {
        lines.push(bench.line(*name).await?);
    }
    bar.finish_and_clear();
    Ok(Report { machine: Machine::here(), lines })
}

/// Looks at all files below a directory. One that goes meanwhile counts for nothing.
fn files_below(dir: &Path, look: &mut dyn FnMut(&Path, &Metadata) -> io::Result<()>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let looked =
            path.metadata().and_then(|found| if found.is_dir() { files_below(&path, look) } else { look(&path, &found) });
        match looked {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            looked => looked?,
        }
    }
    Ok(())
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::refused(error.to_string())
}

impl Report {
    fn tell(&self, as_json: bool) -> Result<(), Failure> {
        if as_json {
            let json = serde_json::to_string_pretty(self).map_err(refused)?;
            anstream::println!("{json}");
        } else {
            for line in &self.lines {
                anstream::println!("{line}");
            }
        }
        Ok(())
    }
}

impl Machine {
    fn here() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self { cpus, cpu: cpu.map_or_else(String::new, |(_, cpu)| cpu.to_owned()), kernel: kernel.trim().to_owned() }
    }
}
