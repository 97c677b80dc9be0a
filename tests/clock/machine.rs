//! A machine as a vault's clock sees it: a wall, a boot clock, boots, and the true time that neither must tell.

use std::io;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use idvault::clock::{Clock, Heartbeat, Limits, NotAccepted, Reading, Source, Times};
use parking_lot::Mutex;

/// The clocks of a machine, moved by hand.
#[derive(Debug, Clone)]
pub(crate) struct Hand(pub(crate) Arc<Mutex<Reading>>);

impl Source for Hand {
    fn read(&self) -> io::Result<Reading> {
        Ok(*self.0.lock())
    }
    fn is_simulated(&self) -> bool {
        true
    }
}

/// A machine with a vault's clock, and the true time.
pub(crate) struct Machine {
    pub(crate) hand: Hand,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) truth: DateTime<Utc>,
    /// How far the wall is from the truth, in milliseconds.
    pub(crate) error: i64,
    /// At which true times how much had been destroyed early at the most.
    early: Vec<(DateTime<Utc>, TimeDelta)>,
}

impl Machine {
    /// A new vault on a machine whose wall is right.
    pub(crate) fn new(limits: Limits) -> Self {
        let truth = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
        let hand = Hand(Arc::new(Mutex::new(Reading { wall: truth, elapsed: Some(TimeDelta::seconds(50)), boot: [1; 16] })));
        let clock = Clock::start(Box::new(hand.clone()), limits, None).unwrap();
        Self { hand, limits, clock, truth, error: 0, early: Vec::new() }
    }

    /// True time passes; of it, the boot clock sees `elapsed`.
    pub(crate) fn pass_ms(&mut self, time: i64, elapsed: i64) {
        self.truth += TimeDelta::milliseconds(time);
        let mut reading = self.hand.0.lock();
        reading.elapsed = Some(reading.elapsed.unwrap() + TimeDelta::milliseconds(elapsed));
        reading.wall = self.truth + TimeDelta::milliseconds(self.error);
    }

    pub(crate) fn pass(&mut self, seconds: i64) {
        self.pass_ms(seconds * 1000, seconds * 1000);
    }

    /// The wall is set to be wrong by so many milliseconds.
    pub(crate) fn set_error(&mut self, error: i64) {
        self.error = error;
        self.pass_ms(0, 0);
    }

    /// What a run that ends now leaves behind, by way of its bytes.
    pub(crate) fn saved(&self) -> Heartbeat {
        Heartbeat::from_bytes(&self.clock.heartbeat().to_bytes()).unwrap()
    }

    pub(crate) fn start(&mut self, saved: Heartbeat) {
        self.clock = Clock::start(Box::new(self.hand.clone()), self.limits, Some(saved)).unwrap();
    }

    /// The process ends and comes back later.
    pub(crate) fn restart(&mut self, after: i64) {
        let saved = self.saved();
        self.pass(after);
        self.start(saved);
    }

    /// The machine is off for a while.
    pub(crate) fn reboot(&mut self, off: i64) {
        self.boot(self.saved(), off);
    }

    /// It comes back on what was saved before.
    pub(crate) fn boot(&mut self, saved: Heartbeat, off: i64) {
        self.hand.0.lock().boot[0] += 1;
        self.hand.0.lock().elapsed = Some(TimeDelta::zero());
        self.pass_ms(off * 1000, 0);
        self.start(saved);
    }

    /// An operator accepts the clock that they see now.
    pub(crate) fn accept(&self) -> Result<(), NotAccepted> {
        let seen = *self.hand.0.lock();
        self.clock.accept(&seen).map(drop)
    }

    pub(crate) fn times(&self) -> Times {
        self.clock.times()
    }

    /// Looks at the clock: nothing is served late.
    pub(crate) fn serves_nothing_late(&self) {
        let times = self.times();
        assert!(!times.trusted || times.hi >= self.truth, "served {} late: {times:?}", self.truth - times.hi);
    }

    /// Looks at the clock: what is destroyed early does not grow by more than the budget in any 24 hours.
    pub(crate) fn destroys_nothing_early(&mut self) {
        let times = self.times();
        assert!(times.due >= times.lo && times.due <= times.hi && (times.trusted || times.due == times.lo), "{times:?}");
        let most = self.early.last().map_or(TimeDelta::zero(), |(_, early)| *early).max(times.due - self.truth);
        self.early.push((self.truth, most));
        for (time, before) in self.early.iter().rev().take_while(|(time, _)| self.truth - *time <= TimeDelta::days(1)) {
            assert!(most - *before <= self.limits.max_jump, "{} early at {}, {} at {time}", most, self.truth, before);
        }
    }
}

/// What happens to a machine.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Time passes while the vault runs, or the machine sleeps: the boot clock counts both. The wall gains some parts in a million.
    Pass(i64, i64),
    /// The wall is set wrong by so many seconds.
    Set(i64),
    /// The wall is nudged by so many seconds.
    Nudge(i64),
    /// The process is away for a while.
    Restart(i64),
    /// The machine is off for a while.
    Reboot(i64),
    /// The machine is paused by its host: no clock of its own sees it, the wall is right behind it.
    Pause(i64),
    /// The wall is set right and an operator says so.
    Accept,
}

impl Machine {
    pub(crate) fn happens(&mut self, event: &Event) {
        match *event {
            Event::Pass(time, drift) => {
                self.error += time * drift / 1000;
                self.pass(time);
            }
            Event::Set(error) => self.set_error(error * 1000),
            Event::Nudge(by) => self.set_error(self.error + by * 1000),
            Event::Restart(after) => self.restart(after),
            Event::Reboot(off) => self.reboot(off),
            Event::Pause(time) => self.pass_ms(time * 1000, 0),
            Event::Accept => {
                self.set_error(0);
                self.accept().unwrap_or_else(|error| assert_eq!(error, NotAccepted::Trusted));
            }
        }
    }
}
