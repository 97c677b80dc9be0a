//! Time that cannot be argued with: the guarded clock, and the only reader of the wall clock and the boot clock.
//!
//! Retention is judged by two bounds. `lo` has provably passed: it advances with the boot clock, which nobody can set.
//! `hi` may have passed: the later of `lo` and the wall. Data is served only below its expiry by `hi` and destroyed only
//! past it by `lo` (or by a wall that runs ahead a little), so that a wall clock set wrong serves nothing late and
//! destroys nothing early. Nothing outside this file asks the machine for the time.

use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
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
    #[expect(clippy::disallowed_methods, reason = "this file is where the wall clock is read")]
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

/// How far a wall clock is believed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How far the wall may run ahead of elapsed time within one boot and still be believed.
    pub max_jump: TimeDelta,
    /// How long the machine may have been off and its wall still be believed at the next boot.
    pub max_gap: TimeDelta,
}

/// What must survive a restart for time to go on: the trusted time and the reading it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The trusted time.
    pub lo: DateTime<Utc>,
    /// The reading at which it held.
    pub reading: Reading,
}

impl Heartbeat {
    /// The bytes of a saved heartbeat: milliseconds of `lo`, of the wall and of elapsed time (big-endian, the lowest
    /// number where there is none), then the boot.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 40] {
        let elapsed = self.reading.elapsed.map_or(i64::MIN, |elapsed| elapsed.num_milliseconds());
        let times = [self.lo.timestamp_millis(), self.reading.wall.timestamp_millis(), elapsed].map(i64::to_be_bytes);
        let mut bytes = [0; 40];
        for (byte, value) in bytes.iter_mut().zip(times.iter().flatten().chain(&self.reading.boot)) {
            *byte = *value;
        }
        bytes
    }

    /// The heartbeat that [`Heartbeat::to_bytes`] made these bytes of.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 40]) -> Option<Self> {
        let (lo, rest) = bytes.split_first_chunk()?;
        let (wall, rest) = rest.split_first_chunk()?;
        let (elapsed, boot) = rest.split_first_chunk()?;
        let time = |bytes: &[u8; 8]| DateTime::from_timestamp_millis(i64::from_be_bytes(*bytes));
        let elapsed =
            Some(i64::from_be_bytes(*elapsed)).filter(|elapsed| *elapsed != i64::MIN).and_then(TimeDelta::try_milliseconds);
        Some(Self { lo: time(lo)?, reading: Reading { wall: time(wall)?, elapsed, boot: boot.try_into().ok()? } })
    }
}

/// The time, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Has provably passed.
    pub lo: DateTime<Utc>,
    /// May have passed: what expires by then is no longer served.
    pub hi: DateTime<Utc>,
    /// What expires by then is destroyed.
    pub due: DateTime<Utc>,
    /// Whether wall and elapsed time agree well enough to take in or release anything.
    pub trusted: bool,
}

/// The guarded clock. Its `lo` never goes back.
#[derive(Debug)]
pub struct Clock {
    source: Box<dyn Source>,
    limits: Limits,
    now: Mutex<Heartbeat>,
}

impl Clock {
    /// Starts from what the last run saved, or from the wall if this is the first.
    ///
    /// A restart within the same boot believes elapsed time. After a reboot a gap of up to `max_gap` is believed to the
    /// wall; past that, `lo` stays where it was and the clock is not trusted.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn start(source: Box<dyn Source>, limits: Limits, saved: Option<Heartbeat>) -> io::Result<Self> {
        let reading = source.read()?;
        let lo = match saved {
            None => reading.wall,
            Some(saved) if saved.reading.boot == reading.boot => later(saved.lo, passed(&saved.reading, &reading)),
            Some(saved) if reading.wall <= later(saved.lo, limits.max_gap) => saved.lo.max(reading.wall),
            Some(saved) => saved.lo,
        };
        Ok(Self { source, limits, now: Mutex::new(Heartbeat { lo, reading }) })
    }

    /// The time now. When the source fails, the last reading stands.
    #[must_use]
    pub fn times(&self) -> Times {
        let Heartbeat { lo, reading } = self.heartbeat();
        let hi = lo.max(reading.wall);
        let trusted = reading.elapsed.is_none() || hi <= later(lo, self.limits.max_jump);
        Times { lo, hi, due: if trusted { hi } else { lo }, trusted }
    }

    /// The time now in the form that survives a restart.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        let mut now = self.now.lock();
        if let Ok(reading) = self.source.read() {
            *now = Heartbeat { lo: later(now.lo, passed(&now.reading, &reading)), reading };
        }
        *now
    }

    /// Whether the time is made up.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.source.is_simulated()
    }
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

/// How much time passed between two readings of one boot; never negative.
fn passed(before: &Reading, after: &Reading) -> TimeDelta {
    let passed = match (before.elapsed, after.elapsed) {
        (Some(before), Some(after)) => after.checked_sub(&before),
        _ => Some(after.wall.signed_duration_since(before.wall)),
    };
    passed.unwrap_or_default().max(TimeDelta::zero())
}

fn later(time: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    time.checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    #[derive(Debug, Clone)]
    struct Manual(Arc<Mutex<Reading>>);

    impl Source for Manual {
        fn read(&self) -> io::Result<Reading> {
            Ok(*self.0.lock())
        }
        fn is_simulated(&self) -> bool {
            true
        }
    }

    const LIMITS: Limits = Limits { max_jump: TimeDelta::hours(1), max_gap: TimeDelta::days(7) };

    fn start_of(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(day * 86_400, 0).unwrap()
    }

    fn manual(wall: DateTime<Utc>, elapsed: Option<i64>) -> Manual {
        Manual(Arc::new(Mutex::new(Reading { wall, elapsed: elapsed.map(TimeDelta::seconds), boot: [7; 16] })))
    }

    impl Manual {
        fn clock(&self, saved: Option<Heartbeat>) -> Clock {
            Clock::start(Box::new(self.clone()), LIMITS, saved).unwrap()
        }
        fn step(&self, wall: TimeDelta, elapsed: TimeDelta) {
            let mut reading = self.0.lock();
            reading.wall += wall;
            reading.elapsed = reading.elapsed.map(|before| before + elapsed);
        }
    }

    #[test]
    fn a_wall_set_forward_raises_hi_and_destroys_nothing() {
        let source = manual(start_of(100), Some(50));
        let clock = source.clock(None);
        source.step(TimeDelta::days(40), TimeDelta::zero());
        let times = clock.times();
        assert_eq!((times.lo, times.hi, times.due, times.trusted), (start_of(100), start_of(140), start_of(100), false));
        source.step(TimeDelta::days(-40), TimeDelta::zero());
        assert!(clock.times().trusted);
    }

    #[test]
    fn a_wall_set_back_lengthens_nothing() {
        let source = manual(start_of(100), Some(50));
        let clock = source.clock(None);
        source.step(TimeDelta::days(-10), TimeDelta::days(31));
        assert_eq!(clock.times().lo, start_of(131));
        assert_eq!(clock.times().hi, start_of(131));
    }

    #[test]
    fn a_small_lead_of_the_wall_is_followed() {
        let source = manual(start_of(100), Some(0));
        let clock = source.clock(None);
        source.step(TimeDelta::minutes(59), TimeDelta::zero());
        assert_eq!(clock.times().due, start_of(100) + TimeDelta::minutes(59));
        assert_eq!(clock.times().lo, start_of(100));
    }

    #[test]
    fn without_elapsed_time_every_forward_move_of_the_wall_counts() {
        let source = manual(start_of(100), None);
        let clock = source.clock(None);
        for (days, lo) in [(30, 130), (-10, 130), (10, 140)] {
            source.step(TimeDelta::days(days), TimeDelta::zero());
            assert_eq!(clock.times().lo, start_of(lo));
            assert!(clock.times().trusted);
        }
    }

    #[test]
    fn a_restart_in_the_same_boot_believes_elapsed_time() {
        let source = manual(start_of(100), Some(50));
        let saved = source.clock(None).heartbeat();
        source.step(TimeDelta::days(-5), TimeDelta::days(3));
        assert_eq!(source.clock(Some(saved)).times().lo, start_of(103));
    }

    #[test]
    fn a_reboot_believes_a_short_gap_only() {
        let source = manual(start_of(100), Some(50));
        let saved = source.clock(None).heartbeat();
        for (gap, lo, trusted) in [(6, 106, true), (8, 100, false), (-3, 100, true)] {
            let rebooted = manual(start_of(100 + gap), Some(1));
            rebooted.0.lock().boot = [8; 16];
            let times = rebooted.clock(Some(saved)).times();
            assert_eq!((times.lo, times.trusted), (start_of(lo), trusted), "gap {gap}");
        }
    }

    proptest! {
        /// However the wall is set within one boot: `lo` follows elapsed time exactly, so what is served (`hi`) is never
        /// late, and what is destroyed (`due`) is early by `max_jump` at the most.
        #[test]
        fn lo_is_elapsed_time(steps in prop::collection::vec((-4_000_000_i64..4_000_000, 0_i64..400_000), 1..40)) {
            let source = manual(start_of(20_000), Some(0));
            let clock = source.clock(None);
            let mut true_time = start_of(20_000);
            for (wall, elapsed) in steps {
                source.step(TimeDelta::seconds(wall), TimeDelta::seconds(elapsed));
                true_time += TimeDelta::seconds(elapsed);
                let times = clock.times();
                prop_assert_eq!(times.lo, true_time);
                prop_assert!(times.hi >= true_time && times.due <= true_time + LIMITS.max_jump);
            }
        }

        #[test]
        fn clock_files_are_read_or_refused(text in ".{0,60}") {
            let _reading = parse_clock_file(&text);
        }
    }

    #[test]
    fn a_saved_heartbeat_is_the_same_again() {
        for elapsed in [None, Some(77)] {
            let heartbeat = manual(start_of(100), elapsed).clock(None).heartbeat();
            assert_eq!(Heartbeat::from_bytes(&heartbeat.to_bytes()), Some(heartbeat));
        }
    }

    #[test]
    fn the_form_of_a_clock_file() {
        assert_eq!(parse_clock_file("1970-04-11T00:00:00Z\n").unwrap().elapsed, None);
        assert_eq!(parse_clock_file("1970-04-11T08:00:00+08:00\n12.5").unwrap().wall, start_of(100));
        assert_eq!(parse_clock_file("1970-04-11T00:00:00Z\n12.5\n").unwrap().elapsed, Some(TimeDelta::milliseconds(12_500)));
        for bad in ["", "yesterday", "1970-04-11T00:00:00Z\n-1", "1970-04-11T00:00:00Z\nsoon"] {
            assert!(parse_clock_file(bad).is_none(), "{bad}");
        }
    }
}
