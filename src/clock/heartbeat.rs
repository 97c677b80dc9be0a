//! The state of the guarded clock: the trusted time, the reading that it belongs to, and how far the wall is believed; how it goes
//! on from one reading to the next; and the bytes in which it survives a restart.

use chrono::{DateTime, TimeDelta, Utc};

use super::Limits;
use super::belief::{self, Belief, Verdict};
use super::source::Reading;

/// By how much the wall may move against the boot clock and still be the same clock.
const SLACK: TimeDelta = TimeDelta::minutes(1);
const READING_LEN: usize = 32;
/// Bytes of a saved heartbeat.
pub const HEARTBEAT_LEN: usize = 8 + READING_LEN + belief::LEN;

/// What must survive a restart for time to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The trusted time.
    pub lo: DateTime<Utc>,
    /// The reading at which it held.
    pub reading: Reading,
    pub(super) belief: Belief,
}

impl Heartbeat {
    /// The first of a vault: the wall is believed.
    pub(super) fn first(reading: Reading) -> Self {
        Self { lo: reading.wall, reading, belief: Belief::default() }
    }

    /// What comes after it when the vault starts: nobody was warned of a doubted wall while it did not run.
    pub(super) fn resumed(self, reading: Reading, limits: &Limits) -> Self {
        let away = if reading.boot == self.reading.boot { passed(&self.reading, &reading) } else { TimeDelta::zero() };
        Self { belief: self.belief.unwatched(away), ..self }.then(reading, limits)
    }

    /// What comes after it: a later reading of the same boot, or the first one of another.
    pub(super) fn then(self, reading: Reading, limits: &Limits) -> Self {
        let (lo, belief) = if reading.boot == self.reading.boot {
            let passed = passed(&self.reading, &reading);
            (later(self.lo, passed), self.belief.aged(passed.num_milliseconds()))
        } else {
            (self.lo, self.belief.after_boot())
        };
        let mut next = Self { lo, reading, belief };
        match next.belief.judge(lo, millis(next.lead()), limits) {
            Verdict::Sets => next.set_by_wall(),
            Verdict::Agrees | Verdict::Doubted => next,
        }
    }

    /// The trusted time, set by the wall; it never goes back.
    pub(super) fn set_by_wall(self) -> Self {
        let lo = self.lo.max(self.reading.wall);
        let by = lo.signed_duration_since(self.lo).num_milliseconds();
        Self { lo, belief: self.belief.settled(by), ..self }
    }

    /// How far the wall leads; negative where it is behind.
    pub(super) fn lead(&self) -> TimeDelta {
        self.reading.wall.signed_duration_since(self.lo)
    }

    /// Whether it is the same but for the time.
    #[must_use]
    pub fn doubts_like(&self, other: &Self) -> bool {
        self.belief.doubt() == other.belief.doubt()
    }

    /// Which of two that were saved is the later one. Where no time passed between them, the one that has believed more.
    #[must_use]
    pub fn is_after(&self, other: &Self) -> bool {
        (self.lo, self.belief.spent()) > (other.lo, other.belief.spent())
    }

    /// The bytes of a saved heartbeat: milliseconds of `lo`, the reading, and how far the wall is believed.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEARTBEAT_LEN] {
        let lo = self.lo.timestamp_millis().to_be_bytes();
        filled(lo.into_iter().chain(self.reading.to_bytes()).chain(self.belief.to_bytes()))
    }

    /// The heartbeat that [`Heartbeat::to_bytes`] made these bytes of.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; HEARTBEAT_LEN]) -> Option<Self> {
        let (lo, rest) = bytes.split_first_chunk()?;
        let (reading, belief) = rest.split_first_chunk()?;
        let lo = DateTime::from_timestamp_millis(i64::from_be_bytes(*lo))?;
        Some(Self { lo, reading: Reading::from_bytes(reading)?, belief: Belief::from_bytes(belief.try_into().ok()?)? })
    }
}

impl Reading {
    /// Whether it is a later reading of the clock that gave `before`: of the same boot, the wall not set since.
    pub(super) fn is_of_clock(&self, before: &Self) -> bool {
        let passed = self.elapsed.zip(before.elapsed).and_then(|(now, then)| now.checked_sub(&then));
        let walked = self.wall.signed_duration_since(before.wall);
        let moved = passed.filter(|passed| *passed >= TimeDelta::zero()).and_then(|passed| walked.checked_sub(&passed));
        self.boot == before.boot && moved.is_some_and(|moved| moved.abs() <= SLACK)
    }

    /// Milliseconds of the wall and of elapsed time (big-endian, the lowest number where there is none), then the boot.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; READING_LEN] {
        let elapsed = self.elapsed.map_or(i64::MIN, |elapsed| elapsed.num_milliseconds());
        let times = [self.wall.timestamp_millis(), elapsed].into_iter().flat_map(i64::to_be_bytes);
        filled(times.chain(self.boot))
    }

    /// The reading that [`Reading::to_bytes`] made these bytes of.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; READING_LEN]) -> Option<Self> {
        let (wall, rest) = bytes.split_first_chunk()?;
        let (elapsed, boot) = rest.split_first_chunk()?;
        let elapsed =
            Some(i64::from_be_bytes(*elapsed)).filter(|elapsed| *elapsed != i64::MIN).and_then(TimeDelta::try_milliseconds);
        let wall = DateTime::from_timestamp_millis(i64::from_be_bytes(*wall))?;
        Some(Self { wall, elapsed, boot: boot.try_into().ok()? })
    }
}

fn filled<const N: usize>(from: impl Iterator<Item = u8>) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, value) in bytes.iter_mut().zip(from) {
        *byte = value;
    }
    bytes
}

/// Rounded up: no more of a lead is believed than was paid for.
fn millis(lead: TimeDelta) -> i64 {
    lead.num_milliseconds().saturating_add(i64::from(lead.subsec_nanos() % 1_000_000 > 0))
}

/// How much time passed between two readings of one boot; never negative.
fn passed(before: &Reading, after: &Reading) -> TimeDelta {
    let passed = match (before.elapsed, after.elapsed) {
        (Some(before), Some(after)) => after.checked_sub(&before),
        _ => Some(after.wall.signed_duration_since(before.wall)),
    };
    passed.unwrap_or_default().max(TimeDelta::zero())
}

pub(super) fn later(time: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    time.checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
