//! How each line of the key layer is measured.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::filled::{Case, Filled, HOURS, change};
use crate::cli::bench::line::Line;
use crate::cli::bench::measure::{on_disk, written};
use crate::cli::bench::pairs::float;
use crate::cli::bench::refused;
use crate::cli::client::Failure;
use crate::clock::Stopwatch;
use crate::crypto::secret::Secret;
use crate::domain::ids::{Hour, Place, Serial};
use crate::files;
use crate::keys::keyring::KeyringError;
use crate::keys::tree::Tree;
use crate::vault::shred::Batches;

/// How many values a line is the median of, and of commits.
const TURNS: usize = 31;
/// How many leaves a turn derives: few, so that what else runs here disturbs few turns. How many more records it withdraws at the most.
const LEAVES: u64 = 1_000;
const PUNCTURES: u64 = 200;
/// How many withdrawals share commits, and how many wait for one at once.
const WITHDRAWALS: usize = 1000;
const CALLERS: usize = 32;
/// Bytes that the sync beside commits makes durable.
const BLOCK: usize = 4096;

/// All lines of a case.
pub(super) fn of(case: Case, dir: &Path) -> Result<Vec<Line>, Failure> {
    let mut lines = vec![cold()?, sequential()?, puncture(case)?];
    let filled = Filled::new(case, dir)?;
    let state = kib(on_disk(&dir.join("keyring")).map_err(refused)?);
    let (load, filled) = load(filled)?;
    let bench = Commits { log: Log::new(dir)?, filled };
    let (rewrite, per_fsync, mut bench) = bench.withdraw(state)?;
    lines.extend([bench.expire()?, load, rewrite, per_fsync, bench.roots()?, bench.bound()?]);
    Ok(lines)
}

/// Leaves in an order in which no two share a node below the seed, beside as many hashes of the same length.
fn cold() -> Result<Line, Failure> {
    let mut tree = Tree::from_seed(&Secret::random().map_err(refused)?);
    let away = u64::BITS.saturating_sub(Serial::BITS);
    let serials: Vec<Serial> = (0..LEAVES).filter_map(|number| Serial::new(number.reverse_bits() >> away)).collect();
    Ok(leaves("leaf_cold_us", Serial::BITS, || serials.iter().all(|serial| std::hint::black_box(tree.leaf(*serial)).is_some())))
}

/// Leaves of one serial after the other, beside two hashes for each.
fn sequential() -> Result<Line, Failure> {
    let mut tree = Tree::from_seed(&Secret::random().map_err(refused)?);
    let mut next = 0;
    Ok(leaves("leaf_sequential_us", 2, || {
        let serials = (next..).map_while(Serial::new).take(usize::try_from(LEAVES).unwrap_or_default());
        next = next.saturating_add(LEAVES);
        serials.map(|serial| std::hint::black_box(tree.leaf(serial))).all(|leaf| leaf.is_some())
    }))
}

fn leaves(name: &str, hashes: u32, mut derive: impl FnMut() -> bool) -> Line {
    let pairs = (0..TURNS).map(|_| {
        let clock = Stopwatch::start();
        let ours = if derive() { micros(clock.elapsed(), LEAVES) } else { f64::NAN };
        let clock = Stopwatch::start();
        let mut message = [0; 51];
        for _ in 0..LEAVES.saturating_mul(u64::from(hashes)) {
            let digest = Sha256::digest(message);
            message.iter_mut().zip(digest).for_each(|(byte, digit)| *byte = digit);
        }
        std::hint::black_box(message);
        [ours, micros(clock.elapsed(), LEAVES)]
    });
    Line::new(name, "us", &pairs.collect::<Vec<_>>())
}

/// Withdrawals from an hour that has lost what the case says.
fn puncture(case: Case) -> Result<Line, Failure> {
    let (mut values, withdrawn) = (Vec::new(), case.withdrawn_of_an_hour());
    for hour in (1..).filter_map(Hour::new).take(TURNS) {
        let mut tree = case.tree(hour, withdrawn)?;
        let more: Vec<Place> = (withdrawn..).map_while(|position| case.place(hour, position)).take(count(PUNCTURES)).collect();
        let clock = Stopwatch::start();
        for place in &more {
            tree.puncture(place.serial..=place.serial);
        }
        values.push(micros(clock.elapsed(), u64::try_from(more.len()).unwrap_or(u64::MAX)));
    }
    Ok(Line::alone("puncture_us", "us", values))
}

/// Opening the keyring: what a start does of it before the port is bound.
fn load(mut filled: Filled) -> Result<(Line, Filled), Failure> {
    let mut values = Vec::new();
    for _ in 0..TURNS {
        let clock = Stopwatch::start();
        filled = filled.reopen()?;
        values.push(clock.elapsed().as_secs_f64());
    }
    Ok((Line::alone("keyring_load_s", "s", values), filled))
}

/// What commits cost, beside one sync.
struct Commits {
    filled: Filled,
    log: Log,
}

impl Commits {
    /// Lone withdrawals, each from another hour whose page is on disk: what they write, beside all there is, and how long they
    /// take, beside the mean of a sync.
    fn withdraw(mut self, state: f64) -> Result<(Line, Line, Self), Failure> {
        let (mut rewritten, mut times, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
        // From the middle: the first hours expire later on.
        for hour in (HOURS / 2..).filter_map(Hour::new).take(TURNS) {
            let place = self.filled.next(hour)?;
            let (before, clock) = (written(), Stopwatch::start());
            self.filled.keyring.commit(&change(0, &[place]), &|_| ()).map_err(refused)?;
            times.push(clock.elapsed().as_secs_f64());
            // What a vault does within a second, when everybody has their answer: written, and not waited for.
            self.filled.keyring.tidy_pages().map_err(refused)?;
            rewritten.push([kib(written().saturating_sub(before)), state]);
            syncs.push(self.log.sync_seconds()?);
        }
        let mean = syncs.iter().sum::<f64>() / float(syncs.len());
        let ratios = times.iter().map(|time| time / mean).collect();
        let rewrite = Line::new("withdraw_rewrite_kib", "KiB", &rewritten);
        Ok((rewrite, Line::alone("withdraw_per_fsync", "x", ratios), self))
    }

    /// Forgetting one hour, beside one sync.
    fn expire(&mut self) -> Result<Line, Failure> {
        let mut pairs = Vec::new();
        for over in (1..).take(TURNS) {
            let clock = Stopwatch::start();
            self.filled.keyring.commit(&change(over, &[]), &|_| ()).map_err(refused)?;
            pairs.push([clock.elapsed().as_secs_f64() * 1e3, self.log.sync_seconds()? * 1e3]);
        }
        Ok(Line::new("expire_hour_ms", "ms", &pairs))
    }

    /// Withdrawals by many at once, each of whom waits for the commit that its record is in: how many roots they took, beside
    /// one for each.
    fn roots(&mut self) -> Result<Line, Failure> {
        let over = u32::try_from(TURNS).unwrap_or(u32::MAX);
        let hours: Vec<Hour> = (over.saturating_add(1)..=HOURS).filter_map(Hour::new).collect();
        let mut places = Vec::new();
        for hour in hours.iter().cycle().take(WITHDRAWALS) {
            places.push(self.filled.next(*hour)?);
        }
        let (keyring, batches, next) = (&self.filled.keyring, Batches::default(), AtomicUsize::new(0));
        let before = keyring.generation();
        let withdraw = || {
            while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                batches.join(&[*place], |places| keyring.commit(&change(over, places), &|_| ()).map(drop))?;
            }
            Ok::<_, KeyringError>(())
        };
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(withdraw)).collect();
            callers
                .into_iter()
                .try_for_each(|caller| caller.join().map_err(|_| refused("a withdrawal panicked"))?.map_err(refused))
        })?;
        let roots = usize::try_from(keyring.generation().saturating_sub(before)).unwrap_or(usize::MAX);
        Ok(Line::new("roots_per_1000_withdrawals", "roots", &[[float(roots), float(WITHDRAWALS)]]))
    }

    /// How many nodes are held once a leaf of each hour was asked for, beside the least that covers what is alive.
    fn bound(&self) -> Result<Line, Failure> {
        let keyring = &self.filled.keyring;
        for place in (1..=HOURS).filter_map(Hour::new).filter_map(|hour| self.filled.alive(hour)) {
            drop(keyring.leaf(place).map_err(refused)?);
        }
        let (mut held, mut bound) = (0_usize, 0_usize);
        for (hour, nodes) in keyring.in_memory() {
            held = held.saturating_add(nodes);
            bound = bound.saturating_add(self.filled.least_cover(hour));
        }
        Ok(Line::alone("state_over_bound", "x", vec![float(held) / float(bound)]))
    }
}

/// A log, for comparison.
struct Log {
    file: File,
    offset: u64,
}

impl Log {
    fn new(dir: &Path) -> Result<Self, Failure> {
        Ok(Self { file: files::open_rw(&dir.join("log")).map_err(refused)?, offset: 0 })
    }

    /// How long it takes to sync a block that is appended.
    fn sync_seconds(&mut self) -> Result<f64, Failure> {
        self.file.write_all_at(&[7; BLOCK], self.offset).map_err(refused)?;
        self.offset = self.offset.saturating_add(u64::try_from(BLOCK).unwrap_or_default());
        let clock = Stopwatch::start();
        self.file.sync_all().map_err(refused)?;
        Ok(clock.elapsed().as_secs_f64())
    }
}

fn micros(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn kib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX))
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
