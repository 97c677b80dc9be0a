//! The readings that the guarded clock judges, and where they come from: the machine, or a file for trials. The one place that
//! asks the machine for the time; it judges nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

/// What the machine says at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: DateTime<Utc>,
    /// Time since boot, suspended time included. `None` when the source has only a wall: elapsed time then advances
    /// with every forward move of it.
    pub elapsed: Option<TimeDelta>,
    /// Which boot this is: elapsed times of different boots cannot be compared.
    pub boot: [u8; 16],
}

/// Where readings come from.
pub trait Source: std::fmt::Debug + Send + Sync {
    /// Reads the clocks.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read(&self) -> io::Result<Reading>;

    /// Whether the time is made up, for trials and tests.
    fn is_simulated(&self) -> bool;
}

/// The machine's own clocks.
#[derive(Debug)]
pub struct SystemSource {
    boot: [u8; 16],
}

impl SystemSource {
    /// The clocks of this machine in this boot.
    ///
    /// # Errors
    /// When the kernel does not name the boot.
    pub fn new() -> io::Result<Self> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let boot = parse_boot_id(text.trim()).ok_or_else(|| invalid("the kernel's boot id is not a UUID"))?;
        Ok(Self { boot })
    }
}

impl Source for SystemSource {
    #[expect(clippy::disallowed_methods, reason = "this file is where clocks are read")]
    fn read(&self) -> io::Result<Reading> {
        let boot_clock = clock_gettime(ClockId::Boottime);
        let elapsed = TimeDelta::new(boot_clock.tv_sec, u32::try_from(boot_clock.tv_nsec).unwrap_or(0));
        Ok(Reading { wall: Utc::now(), elapsed, boot: self.boot })
    }

    fn is_simulated(&self) -> bool {
        false
    }
}

/// A clock written in a file, so that a month can be tried in a second. Line 1: the wall, RFC 3339. Line 2, optional:
/// elapsed seconds. Every reading reads the file; while it does not parse, as when it is just being written, the last
/// good reading stands.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    last: Mutex<Reading>,
}

impl FileSource {
    /// The clock in the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is not a clock file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let last = parse_clock_file(&std::fs::read_to_string(path)?).ok_or_else(|| {
            invalid("a clock file has the wall time in RFC 3339 on line 1 and, if wanted, elapsed seconds on line 2")
        })?;
        Ok(Self { path: path.to_owned(), last: Mutex::new(last) })
    }
}

impl Source for FileSource {
    fn read(&self) -> io::Result<Reading> {
        let mut last = self.last.lock();
        if let Some(reading) = std::fs::read_to_string(&self.path).ok().as_deref().and_then(parse_clock_file) {
            *last = reading;
        }
        Ok(*last)
    }

    fn is_simulated(&self) -> bool {
        true
    }
}

fn parse_clock_file(text: &str) -> Option<Reading> {
    let mut lines = text.lines();
    let wall = DateTime::parse_from_rfc3339(lines.next()?.trim()).ok()?.to_utc();
    let elapsed = match lines.next().map(str::trim) {
        None | Some("") => None,
        Some(seconds) => Some(TimeDelta::from_std(Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?).ok()?),
    };
    Some(Reading { wall, elapsed, boot: *b"idvault-simulate" })
}

fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    u128::from_str_radix(&text.replace('-', ""), 16).ok().map(u128::to_be_bytes)
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Measures how long something takes, to show it to a person. Decides nothing.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this file is where clocks are read")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn clock_files_are_read_or_refused(text in ".{0,60}") {
            let _reading = parse_clock_file(&text);
        }
    }

    #[test]
    fn the_form_of_a_clock_file() {
        let day = DateTime::from_timestamp(8_640_000, 0).unwrap();
        assert_eq!(parse_clock_file("1970-04-11T00:00:00Z\n").unwrap().elapsed, None);
        assert_eq!(parse_clock_file("1970-04-11T08:00:00+08:00\n12.5").unwrap().wall, day);
        assert_eq!(parse_clock_file("1970-04-11T00:00:00Z\n12.5\n").unwrap().elapsed, Some(TimeDelta::milliseconds(12_500)));
        for bad in ["", "yesterday", "1970-04-11T00:00:00Z\n-1", "1970-04-11T00:00:00Z\nsoon"] {
            assert!(parse_clock_file(bad).is_none(), "{bad}");
        }
    }
}
