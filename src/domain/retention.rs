//! How long data lives, written once: the 30 days, the hour of expiry, and what "now" means on a clock that may be wrong.
//!
//! It decides; it never reads a clock and never destroys anything.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::ids::Hour;

/// How far the clocks of others may be ahead of ours.
pub const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(300);

/// The shortest life worth taking data in for.
const MIN_LIFE: TimeDelta = TimeDelta::hours(1);

/// What destruction may take, so that it ends before the retention does.
const DESTRUCTION_MARGIN: TimeDelta = TimeDelta::minutes(5);

const SECONDS_PER_HOUR: i64 = 3600;

/// The present, as far as it is known: `lo` has provably passed, `hi` may have.
///
/// What must have begun is held against `lo`, what must not have ended against `hi`: a clock that is wrong makes the vault
/// refuse, never serve late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Has provably passed.
    pub lo: DateTime<Utc>,
    /// May have passed; never before `lo`.
    pub hi: DateTime<Utc>,
}

impl Now {
    /// Whether `time`, told by another clock, is reached, allowing for [`CLOCK_SKEW`].
    #[must_use]
    pub fn has_reached(self, time: DateTime<Utc>) -> bool {
        later(self.lo, CLOCK_SKEW) >= time
    }

    /// Whether what ends at `time` may have ended.
    #[must_use]
    pub fn may_have_passed(self, time: DateTime<Utc>) -> bool {
        self.hi >= time
    }
}

/// How long a tenant's records live: 1 to 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention(u8);

impl Retention {
    /// The longest: 30 days. Also what applies when a tenant does not choose.
    pub const MAX: Self = Self(30);

    /// A retention of this many days, if it is 1 to 30.
    #[must_use]
    pub const fn from_days(days: u8) -> Option<Self> {
        if 1 <= days && days <= Self::MAX.0 { Some(Self(days)) } else { None }
    }

    /// How many days.
    #[must_use]
    pub const fn days(self) -> u8 {
        self.0
    }

    /// How long after its upload a record's destruction begins at the latest.
    fn life(self) -> TimeDelta {
        TimeDelta::try_days(self.0.into()).and_then(|days| days.checked_sub(&DESTRUCTION_MARGIN)).unwrap_or_default()
    }
}

/// Data that would live for less than an hour is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record would expire within an hour")]
pub struct TooShort;

/// The hour in which a record expires: the last full one before both its retention (less a margin for the destruction
/// itself) and its receipt are over. So it is destroyed before `upload` + 30 days, whatever the receipt says.
///
/// # Errors
/// [`TooShort`] when that is less than an hour after the upload.
pub fn expiry(upload: DateTime<Utc>, retention: Retention, receipt_exp: DateTime<Utc>) -> Result<Hour, TooShort> {
    let end = later(upload, retention.life()).min(receipt_exp);
    let hour = hour_of(end);
    if time_of(hour) < later(upload, MIN_LIFE) { Err(TooShort) } else { Ok(hour) }
}

/// When an hour begins.
#[must_use]
pub fn time_of(hour: Hour) -> DateTime<Utc> {
    // Every hour of 24 bits is a time; if one were not, what expires then would be over already.
    DateTime::from_timestamp(i64::from(hour.number()).saturating_mul(SECONDS_PER_HOUR), 0).unwrap_or(DateTime::UNIX_EPOCH)
}

/// The hour that `time` is in; the first or the last one that can be written when it is outside of those.
#[must_use]
pub fn hour_of(time: DateTime<Utc>) -> Hour {
    let number = time.timestamp().div_euclid(SECONDS_PER_HOUR).max(0);
    u32::try_from(number).ok().and_then(Hour::new).unwrap_or(Hour::MAX)
}

/// `time` plus `by`, or the end of time.
pub(super) fn later(time: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    time.checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    proptest! {
        #[test]
        fn expiry_is_the_last_hour_before_every_end(upload in 0i64..4_000_000_000, days in 1u8..=30, life in -5000i64..3_000_000) {
            let retention = Retention::from_days(days).unwrap();
            let end = (upload + i64::from(days) * 86_400 - 300).min(upload + life);
            match expiry(time(upload), retention, time(upload + life)) {
                Ok(hour) => {
                    let expire = time_of(hour).timestamp();
                    prop_assert!(expire <= end && end < expire + 3600);
                    prop_assert!(expire >= upload + 3600);
                    prop_assert!(expire < upload + 30 * 86_400);
                }
                Err(TooShort) => prop_assert!(end.div_euclid(3600) * 3600 < upload + 3600),
            }
        }

        #[test]
        fn hours_and_times_lead_to_each_other(number in 0u32..(1 << 24), within in 0i64..3600) {
            let hour = Hour::new(number).unwrap();
            prop_assert_eq!(hour_of(time_of(hour) + TimeDelta::seconds(within)), hour);
        }
    }

    #[test]
    fn times_that_no_hour_can_name_are_in_the_nearest() {
        assert_eq!(hour_of(DateTime::<Utc>::MIN_UTC).number(), 0);
        assert_eq!(hour_of(time(-1)).number(), 0);
        assert_eq!(hour_of(DateTime::<Utc>::MAX_UTC), Hour::MAX);
    }

    #[test]
    fn retention_is_1_to_30_days() {
        let days = (0..=u8::MAX).filter_map(Retention::from_days).map(Retention::days);
        assert!(days.eq(1..=30));
        assert_eq!(Retention::MAX.days(), 30);
    }

    #[test]
    fn what_begins_is_held_against_lo_and_what_ends_against_hi() {
        let now = Now { lo: time(1000), hi: time(2000) };
        assert!(now.has_reached(time(1300)) && !now.has_reached(time(1301)));
        assert!(now.may_have_passed(time(2000)) && !now.may_have_passed(time(2001)));
    }
}
