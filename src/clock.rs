//! Time that cannot be argued with: the guarded clock.
//!
//! Retention is judged by two bounds. `lo` has provably passed: it advances with the boot clock, which nobody can set.
//! `hi` may have passed: the later of `lo` and the wall. Data is served only below its expiry by `hi` and destroyed only
//! past it by `lo` (or by a wall whose lead grows little), so that a wall clock set wrong serves nothing late and
//! destroys nothing early. A wall that is out of bounds is not trusted: nothing is served, and `lo` alone destroys, until it is
//! in bounds again, an operator has accepted it, or it has stood so for the grace period. Nothing outside `source.rs` asks the
//! machine for the time.

mod belief;
mod heartbeat;
mod source;

use std::io;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::{Mutex, MutexGuard};

use heartbeat::later;
pub use heartbeat::{HEARTBEAT_LEN, Heartbeat};
pub use source::{FileSource, Reading, Source, Stopwatch, SystemSource};

/// How far a wall may lead before beginnings that are of the wall are refused, since they are held against `lo`.
pub const NOTICED_LEAD: TimeDelta = TimeDelta::minutes(5);

/// How far a wall clock is believed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// By how much the wall's greatest lead over elapsed time may grow in any 24 hours and still be believed.
    pub max_jump: TimeDelta,
    /// How long the machine may have been off and its wall still be believed at the next boot.
    pub max_gap: TimeDelta,
    /// For how long a wall is doubted before it is believed.
    pub grace: TimeDelta,
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

/// How the clock is, to be shown to an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The trusted time.
    pub lo: DateTime<Utc>,
    /// What the wall says.
    pub wall: DateTime<Utc>,
    /// While the wall is not trusted: the trusted times since when, and at which it will be believed as it stands.
    pub doubted: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Standing {
    /// How far the wall leads; negative where it is behind.
    #[must_use]
    pub fn lead(&self) -> TimeDelta {
        self.wall.signed_duration_since(self.lo)
    }

    /// Whether there is something to accept: the wall is not trusted, or leads by so much that uploads are refused for it.
    #[must_use]
    pub fn is_acceptable(&self) -> bool {
        self.doubted.is_some() || self.lead() > NOTICED_LEAD
    }
}

/// Why a clock that an operator accepted was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The wall and the trusted time agree.
    #[error("the clock is trusted as it is: there is nothing to accept")]
    Trusted,
    /// It is another clock than the one that was accepted.
    #[error("the wall clock was set or the machine was booted since it was accepted")]
    Moved,
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
    /// wall, as soon as it says one; until then `lo` stays where it was and the clock is not trusted.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn start(source: Box<dyn Source>, limits: Limits, saved: Option<Heartbeat>) -> io::Result<Self> {
        let reading = source.read()?;
        let now = saved.map_or_else(|| Heartbeat::first(reading), |saved| saved.resumed(reading, &limits));
        Ok(Self { source, limits, now: Mutex::new(now) })
    }

    /// The time now. When the source fails, the last reading stands.
    #[must_use]
    pub fn times(&self) -> Times {
        let now = self.heartbeat();
        let hi = now.lo.max(now.reading.wall);
        let trusted = now.belief.doubt().is_none();
        Times { lo: now.lo, hi, due: if trusted { hi } else { now.lo }, trusted }
    }

    /// How the clock is now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing_at(&self.heartbeat())
    }

    fn standing_at(&self, now: &Heartbeat) -> Standing {
        let doubted = now.belief.doubt().map(|doubt| (doubt.since, later(doubt.since, self.limits.grace)));
        Standing { lo: now.lo, wall: now.reading.wall, doubted }
    }

    /// The time now in the form that survives a restart.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        *self.read_on()
    }

    /// The time, gone on to what the source says now, and held there.
    fn read_on(&self) -> MutexGuard<'_, Heartbeat> {
        let mut now = self.now.lock();
        if let Ok(reading) = self.source.read() {
            *now = now.then(reading, &self.limits);
        }
        now
    }

    /// Sets the trusted time by the wall, since an operator of this machine says that it is right. `accepted` is what they saw: it
    /// counts for that clock only, in that boot and not set since. Returns how the clock was.
    ///
    /// # Errors
    /// See [`NotAccepted`]; the clock is as it was.
    pub fn accept(&self, accepted: &Reading) -> Result<Standing, NotAccepted> {
        let mut now = self.read_on();
        let before = self.standing_at(&now);
        if !before.is_acceptable() {
            return Err(NotAccepted::Trusted);
        }
        if !now.reading.is_of_clock(accepted) {
            return Err(NotAccepted::Moved);
        }
        *now = now.set_by_wall();
        Ok(before)
    }

    /// Whether the time is made up.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.source.is_simulated()
    }
}
