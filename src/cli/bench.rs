//! `idvault bench`: how fast a vault is on this machine, always beside a reference in the same run.
//!
//! A time by itself says how busy the machine was. So the vault and its unprotected twin take turns, each turn a pair with one ratio,
//! and what counts is the median of the ratios.

mod load;
mod pairs;
mod sides;
mod twin;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use self::load::Load;
use self::pairs::{Interval, Turn};
use self::sides::{Sides, TwinSide, VaultSide};
use super::client::Failure;
use super::progress;

/// How many uploads each client makes at the least.
const UPLOADS_OF_A_CLIENT: u32 = 4;
/// A twin that is slower than this share of the vault is no reference.
const STRAWMAN: f64 = 1.05;

/// Measure a vault on this machine
#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Upload and fetch, with protection and without, in turn
    Io(Arguments),
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

/// One thing that was measured.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    /// The vault's median.
    value: f64,
    unit: &'static str,
    /// The twin's median.
    reference: f64,
    /// The median of the pairs' ratios.
    ratio: f64,
    /// In which the median of many pairs lies, at 95 % confidence.
    interval: Interval,
    /// CPU seconds per GB, of server and clients together: of the vault, then of the twin.
    cpu_s_per_gb: [f64; 2],
}

/// Measures and tells. 70 when the twin was no reference.
pub(super) async fn run(Action::Io(arguments): Action) -> Result<ExitCode, Failure> {
    refuse_vault(&arguments.dir)?;
    if arguments.smallest > arguments.largest {
        return Err(Failure::usage("--smallest must not be above --largest"));
    }
    let home = tempfile::Builder::new().prefix("idvault-bench-").tempdir_in(&arguments.dir);
    let home = home.map_err(|error| Failure::file(&arguments.dir, &error))?;
    // Whoever interrupts it finds nothing left either.
    let report = tokio::select! {
        report = measure(&arguments, home.path()) => report?,
        _ = tokio::signal::ctrl_c() => return Err(Failure::refused("interrupted")),
    };
    if arguments.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| Failure::refused(error.to_string()))?;
        anstream::println!("{json}");
    } else {
        for line in &report.lines {
            anstream::println!("{line}");
        }
    }
    let strawman = report.lines.iter().find(|line| line.ratio > STRAWMAN);
    strawman.map_or(Ok(ExitCode::SUCCESS), |line| {
        Err(Failure::refused(format!("{}: the vault is faster than its unprotected twin, which is no reference then", line.name)))
    })
}

/// A bench never goes near a vault.
fn refuse_vault(dir: &Path) -> Result<(), Failure> {
    if dir.join("root.cell").exists() {
        return Err(Failure::usage(format!("{} holds a vault: name another directory", dir.display())));
    }
    Ok(())
}

async fn measure(arguments: &Arguments, home: &Path) -> Result<Report, Failure> {
    let bar = progress::bar(u64::from(arguments.pairs).saturating_mul(2), "{pos}/{len} pairs");
    let load = Load::new(arguments.clients, arguments.smallest..=arguments.largest)?;
    // A first look, to know how many uploads a turn has.
    let probe = upload_turn(home, &load, arguments.clients.saturating_mul(UPLOADS_OF_A_CLIENT)).await?;
    let count = probe.count_for(arguments.seconds);
    let (mut uploads, mut fetches) = (Vec::new(), Vec::new());
    for _ in 0..arguments.pairs {
        uploads.push(upload_turn(home, &load, count).await?.pair);
        bar.inc(1);
    }
    let sides = Sides::filled(home, &load, count).await?;
    for _ in 0..arguments.pairs {
        fetches.push(sides.fetch(&load).await?);
        bar.inc(1);
    }
    sides.stop().await?;
    bar.finish_and_clear();
    Ok(Report { machine: Machine::here(), lines: vec![line("upload", &uploads), line("fetch", &fetches)] })
}

/// A pair of turns that uploaded, each to a new store.
struct Uploaded {
    pair: [Turn; 2],
    count: u32,
}

impl Uploaded {
    /// How many uploads take the vault so long.
    fn count_for(&self, seconds: f64) -> u32 {
        let [vault, _] = &self.pair;
        let count = f64::from(self.count) * seconds / vault.seconds().max(0.001);
        pairs::whole(count).max(self.count)
    }
}

/// Uploads so many records to a new vault, then as many of the same sizes to a new twin.
async fn upload_turn(home: &Path, load: &Load, count: u32) -> Result<Uploaded, Failure> {
    let work = load.work(count)?;
    let vault = VaultSide::start(&home.join("vault"), load).await?;
    let ours = load.upload(vault.address(), &work).await?;
    vault.stop().await?;
    let twin = TwinSide::start(&home.join("twin")).await?;
    let theirs = load.upload(twin.address(), &work).await?;
    twin.stop().await?;
    Ok(Uploaded { pair: [ours, theirs], count })
}

fn line(name: &'static str, turns: &[[Turn; 2]]) -> Line {
    let of = |side: usize, value: fn(&Turn) -> f64| -> f64 {
        pairs::median(turns.iter().filter_map(|pair| pair.get(side)).map(value).collect())
    };
    let ratios: Vec<f64> = turns.iter().map(|[ours, theirs]| ours.mb_per_s() / theirs.mb_per_s()).collect();
    Line {
        name,
        value: of(0, Turn::mb_per_s),
        unit: "MB/s",
        reference: of(1, Turn::mb_per_s),
        ratio: pairs::median(ratios.clone()),
        interval: pairs::interval(ratios),
        cpu_s_per_gb: [of(0, Turn::cpu_s_per_gb), of(1, Turn::cpu_s_per_gb)],
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, value, unit, reference, ratio, interval: Interval(low, high), cpu_s_per_gb: [ours, theirs] } = self;
        write!(f, "{name:<8} {value:>7.0} {unit}, its twin {reference:.0}: {ratio:.2} ({low:.2} to {high:.2}); ")?;
        write!(f, "CPU {ours:.2} s/GB, its twin {theirs:.2}")
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
