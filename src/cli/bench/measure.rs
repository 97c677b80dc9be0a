//! How each line is measured: in pairs, the vault first and then what stands beside it.

use std::convert::Infallible;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use indicatif::ProgressBar;
use tokio::sync::OnceCell;

use super::line::{Line, Name};
use super::load::{CALLERS, DOMAIN, Load, Work};
use super::pairs::{self, Turn};
use super::process::Process;
use super::sides::{Sides, TwinSide, VaultSide};
use super::wire::Wire;
use super::{Arguments, files_below, raw, refused};
use crate::cli::client::Failure;

/// How many uploads each client makes at the least.
const UPLOADS_OF_A_CLIENT: u32 = 4;
/// Bytes of the parts with which a vault is filled, and how many records are made between two looks at the progress.
const FILLING_BYTES: u32 = 100;
const FILLED_AT_ONCE: u32 = 2_000;
/// How many clients fetch while memory is looked at, and for how many turns: a stream over a large list takes a while to open.
const FETCHERS: u32 = 8;
const MEMORY_TURNS: u32 = 5;

/// A bench that runs.
pub(super) struct Bench<'a> {
    arguments: &'a Arguments,
    home: &'a Path,
    load: Load,
    tls: Wire,
    bar: ProgressBar,
    /// How many uploads take a vault as long as a turn should.
    count: u32,
    filled: OnceCell<Filled>,
}

/// A vault with as many records as were asked for, closed, and a new one.
struct Filled {
    vault: PathBuf,
    snapshot: String,
    new: PathBuf,
}

impl<'a> Bench<'a> {
    /// Has a first look, to know how many uploads a turn has.
    pub(super) async fn start(arguments: &'a Arguments, home: &'a Path, bar: ProgressBar) -> Result<Self, Failure> {
        let load = Load::new(arguments.clients, arguments.smallest..=arguments.largest)?;
        let tls = Wire::tls(&home.join("certificates"), DOMAIN, &CALLERS)?;
        let count = arguments.clients.saturating_mul(UPLOADS_OF_A_CLIENT);
        let mut bench = Self { arguments, home, load, tls, bar, count, filled: OnceCell::new() };
        let [vault, _] = bench.upload(&Wire::Plain).await?;
        let wanted = f64::from(count) * arguments.seconds / vault.seconds().max(0.001);
        bench.count = pairs::whole(wanted).max(count);
        Ok(bench)
    }

    /// Measures a line.
    pub(super) async fn line(&self, name: Name) -> Result<Line, Failure> {
        let (plain, tls) = (Wire::Plain, self.tls.clone());
        match name {
            Name::Upload => Ok(Line::speed(name, &self.uploads(&plain).await?)),
            Name::UploadTls => Ok(Line::speed(name, &self.uploads(&tls).await?)),
            Name::WriteAmplification => {
                let turns = self.uploads(&plain).await?;
                Ok(Line::new(
                    name,
                    "x",
                    &turns.iter().map(|pair| pair.each_ref().map(Turn::written_per_byte)).collect::<Vec<_>>(),
                ))
            }
            Name::Fetch => Ok(Line::speed(name, &self.fetches(&plain, false).await?)),
            Name::FetchTls => Ok(Line::speed(name, &self.fetches(&tls, false).await?)),
            Name::FetchCold => Ok(Line::speed(name, &self.fetches(&plain, true).await?)),
            Name::SpaceAmplification => self.space().await,
            Name::RssMib => self.memory().await,
            Name::StartCleanS => self.starts(name, false).await,
            Name::StartKilledS => self.starts(name, true).await,
            Name::RawDisk => self.raw(name, |bench| raw::disk(bench.home, &bench.load)),
            Name::RawAead => self.raw(name, |bench| raw::aead(&bench.load)),
        }
    }

    async fn uploads(&self, wire: &Wire) -> Result<Vec<[Turn; 2]>, Failure> {
        let mut turns = Vec::new();
        for _ in 0..self.arguments.pairs {
            turns.push(self.upload(wire).await?);
            self.bar.inc(1);
        }
        Ok(turns)
    }

    /// Uploads to a new vault, then as much to a new twin.
    async fn upload(&self, wire: &Wire) -> Result<[Turn; 2], Failure> {
        let work = self.load.work(self.count)?;
        let before = written();
        let vault = VaultSide::start(&self.home.join("vault"), &self.load, wire).await?;
        let ours = self.load.upload(vault.end(), &work).await?;
        vault.stop().await?;
        let between = written();
        let twin = TwinSide::start(&self.home.join("twin"), wire).await?;
        let theirs = self.load.upload(twin.end(), &work).await?;
        twin.stop().await?;
        let (ours, theirs) = (ours.written(between.saturating_sub(before)), theirs.written(written().saturating_sub(between)));
        Ok([ours, theirs])
    }

    async fn fetches(&self, wire: &Wire, is_cold: bool) -> Result<Vec<[Turn; 2]>, Failure> {
        let mut sides = Sides::filled(self.home, &self.load, self.count, wire).await?;
        let mut turns = Vec::new();
        for _ in 0..self.arguments.pairs {
            if is_cold {
                sides = sides.cool().await?;
            }
            turns.push(sides.fetch(&self.load).await?);
            self.bar.inc(1);
        }
        sides.stop().await?;
        Ok(turns)
    }

    /// Uploads, lets ten days pass, uploads as much again, and looks at the disk when the first half has expired.
    async fn space(&self) -> Result<Line, Failure> {
        let mut pairs = Vec::new();
        for _ in 0..self.arguments.pairs {
            let halves = [self.load.work(self.count)?, self.load.work(self.count)?];
            let vault = VaultSide::start(&self.home.join("vault"), &self.load, &Wire::Plain).await?;
            let twin = TwinSide::start(&self.home.join("twin"), &Wire::Plain).await?;
            let mut alive = 0;
            for work in &halves {
                alive = self.load.upload(vault.end(), work).await?.bytes;
                vault.pass(TimeDelta::days(10)).await?;
            }
            vault.pass(TimeDelta::days(11)).await?;
            self.load.upload(twin.end(), &halves[1]).await?;
            let of = |dir: &Path| on_disk(dir).map(|bytes| pairs::per(bytes, alive));
            pairs.push([of(vault.dir()).map_err(refused)?, of(twin.dir()).map_err(refused)?]);
            vault.stop().await?;
            twin.stop().await?;
            self.bar.inc(1);
        }
        Ok(Line::new(Name::SpaceAmplification, "x", &pairs))
    }

    /// The largest resident memory of a full vault that 32 clients upload to and 8 fetch from, and of a new one.
    async fn memory(&self) -> Result<Line, Failure> {
        let Filled { vault, snapshot, new } = self.filled().await?;
        let fetchers = Load::new(FETCHERS, 1..=1)?;
        let mut pairs = Vec::new();
        for _ in 0..self.arguments.pairs {
            let (process, _) = Process::start(vault, &self.load).await?;
            tokio::select! {
                uploaded = self.bursts(&process) => uploaded?,
                Err(failure) = fetch_on(&fetchers, &process, snapshot) => return Err(failure),
            }
            let full = process.peak_rss_mib();
            process.stop()?;
            let (process, _) = Process::start(new, &self.load).await?;
            self.bursts(&process).await?;
            pairs.push([full, process.peak_rss_mib()]);
            process.stop()?;
            self.bar.inc(1);
        }
        Ok(Line::new(Name::RssMib, "MiB", &pairs))
    }

    /// How long a full vault and a new one take to serve, each after a clean stop or a kill amid uploads.
    async fn starts(&self, name: Name, is_killed: bool) -> Result<Line, Failure> {
        let Filled { vault, new, .. } = self.filled().await?;
        let mut pairs = Vec::new();
        for _ in 0..self.arguments.pairs {
            let mut times = [0.0; 2];
            for (home, seconds) in [vault, new].into_iter().zip(&mut times) {
                if is_killed {
                    let (process, _) = Process::start(home, &self.load).await?;
                    self.burst(&process, self.arguments.clients.saturating_mul(UPLOADS_OF_A_CLIENT)).await?;
                    process.kill()?;
                }
                let (process, time) = Process::start(home, &self.load).await?;
                process.stop()?;
                *seconds = time.as_secs_f64();
            }
            pairs.push(times);
            self.bar.inc(1);
        }
        Ok(Line::new(name, "s", &pairs))
    }

    fn raw(&self, name: Name, turn: impl Fn(&Self) -> Result<[Turn; 2], Failure>) -> Result<Line, Failure> {
        let mut turns = Vec::new();
        for _ in 0..self.arguments.pairs {
            turns.push(turn(self)?);
            self.bar.inc(1);
        }
        Ok(Line::speed(name, &turns))
    }

    async fn bursts(&self, process: &Process) -> Result<(), Failure> {
        for _ in 0..MEMORY_TURNS {
            self.burst(process, self.count).await?;
        }
        Ok(())
    }

    async fn burst(&self, process: &Process, count: u32) -> Result<(), Failure> {
        self.load.upload(process.end(), &self.load.work(count)?).await.map(drop)
    }

    /// The full vault and the new one, made when they are first wanted.
    async fn filled(&self) -> Result<&Filled, Failure> {
        self.filled.get_or_try_init(|| self.fill()).await
    }

    async fn fill(&self) -> Result<Filled, Failure> {
        let (vault, new) = (self.home.join("full"), self.home.join("new"));
        let mut snapshot = String::new();
        for (home, count) in [(&new, 0), (&vault, self.arguments.preload)] {
            std::fs::create_dir_all(home).map_err(|error| Failure::file(home, &error))?;
            let side = VaultSide::start(&home.join("data"), &self.load, &Wire::Plain).await?;
            let mut left = count;
            while left > 0 {
                let some = left.min(FILLED_AT_ONCE);
                let work: Work = self.load.work_of(some, FILLING_BYTES..=FILLING_BYTES)?;
                self.load.upload(side.end(), &work).await?;
                left = left.saturating_sub(some);
                self.bar.set_message(format!("filling, {left} records left"));
            }
            snapshot = side.snapshot(&self.load)?;
            side.close().await?;
        }
        self.bar.set_message("");
        Ok(Filled { vault, snapshot, new })
    }
}

/// Fetches epoch after epoch.
async fn fetch_on(fetchers: &Load, process: &Process, snapshot: &str) -> Result<Infallible, Failure> {
    loop {
        fetchers.fetch(process.end(), snapshot).await?;
    }
}

/// The bytes that this process has had written to disk so far (proc(5), `io`).
pub(super) fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap_or_default()
}

/// The bytes that the files of a directory take on disk.
pub(super) fn on_disk(dir: &Path) -> std::io::Result<u64> {
    let mut blocks = 0_u64;
    files_below(dir, &mut |_, metadata| {
        blocks = blocks.saturating_add(metadata.blocks());
        Ok(())
    })?;
    // Those of stat(2) have 512 bytes.
    Ok(blocks.saturating_mul(512))
}
