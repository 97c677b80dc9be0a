//! How far a wall clock is believed: the budget of its lead, the gap of a boot, and what is doubted and since when. Pure: it is told
//! the time and the lead, and never sets the time itself.
//!
//! Only a new greatest lead costs: a wall that goes back and ahead again is where it was believed before.

use chrono::{DateTime, TimeDelta, Utc};

use super::Limits;
use super::heartbeat::later;

/// So many hours, the running one included, hold every 24 hours whole.
const HOURS: usize = 25;
const HOUR: i64 = 3_600_000;
pub(super) const LEN: usize = 1 + 4 * 8 + 4 * HOURS;
const IS_OPEN: u8 = 1;
const IS_HELD: u8 = 2;
const IS_DOUBTED: u8 = 4;

/// A wall that is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The trusted time since when, what passed while the vault did not run left out.
    pub(super) since: DateTime<Utc>,
    /// How far it led then, in milliseconds; a negative number if it was behind.
    pub(super) lead: i64,
}

/// For how long the machine was off before this boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Gap {
    /// Known, or there was none.
    #[default]
    Closed,
    /// The wall is to say it, and has not yet.
    Open,
    /// The wall was doubted before the boot. It must not be believed because of one: it is accepted, or stands for the grace period.
    Held,
}

/// What is known of the wall. A wall that was never seen to lead is the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Belief {
    gap: Gap,
    /// The greatest lead that was believed since the trusted time was last set by the wall, in milliseconds.
    lead: i64,
    /// By how much that grew, in milliseconds, in the running hour and in those before it.
    spent: [u32; HOURS],
    /// How much of the running hour has passed, in milliseconds.
    into_hour: i64,
    doubt: Option<Doubt>,
}

/// What a wall is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It agrees with the trusted time.
    Agrees,
    /// It tells how long the machine was off, or was doubted for long enough: the trusted time is to be set by it.
    Sets,
    /// It is out of bounds.
    Doubted,
}

impl Belief {
    /// The same so many milliseconds later.
    pub(super) fn aged(self, by: i64) -> Self {
        let into_hour = self.into_hour.saturating_add(by.max(0));
        let hours = usize::try_from(into_hour / HOUR).unwrap_or(HOURS);
        let mut spent = [0; HOURS];
        for (kept, before) in spent.iter_mut().skip(hours).zip(self.spent) {
            *kept = before;
        }
        Self { spent, into_hour: into_hour % HOUR, ..self }
    }

    /// The same for a span that does not count as time for which a wall was doubted.
    pub(super) fn unwatched(self, span: TimeDelta) -> Self {
        let doubt = self.doubt.map(|doubt| Doubt { since: later(doubt.since, span), ..doubt });
        Self { doubt, ..self }
    }

    /// The same after a boot. What was spent stays spent, what was doubted stays doubted.
    pub(super) fn after_boot(self) -> Self {
        let gap = match (self.gap, self.doubt) {
            (Gap::Closed, Some(_)) | (Gap::Held, _) => Gap::Held,
            (Gap::Closed, None) | (Gap::Open, _) => Gap::Open,
        };
        Self { gap, ..self }
    }

    /// The same when the trusted time was set forward by so many milliseconds, to the wall. So much passed if the machine was off;
    /// but for the lead that was believed before, which may have been part of it.
    pub(super) fn settled(self, by: i64) -> Self {
        let off = if self.gap == Gap::Closed { 0 } else { by.saturating_sub(self.lead) };
        Self { gap: Gap::Closed, lead: 0, doubt: None, ..self.aged(off) }
    }

    pub(super) fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// How much was believed: the greatest lead, and what the budget is short of.
    pub(super) fn spent(&self) -> (i64, i64) {
        (self.lead, self.spent.iter().fold(0, |sum, spent| sum.saturating_add(i64::from(*spent))))
    }

    /// Judges a wall that leads the trusted time `lo` by so many milliseconds.
    pub(super) fn judge(&mut self, lo: DateTime<Utc>, lead: i64, limits: &Limits) -> Verdict {
        let max_jump = limits.max_jump.num_milliseconds();
        // A wall that is behind what had passed before the boot is wrong.
        let is_gap = lead >= max_jump.saturating_neg() && lead <= limits.max_gap.num_milliseconds();
        if self.gap == Gap::Open && is_gap {
            return Verdict::Sets;
        }
        if self.gap == Gap::Closed && self.follow(lead, max_jump) {
            self.doubt = None;
            return Verdict::Agrees;
        }
        // Another wall than the one doubted so far is doubted anew, so that none is believed that nobody was warned of.
        let is_same = |doubt: &Doubt| lead.abs_diff(doubt.lead) <= max_jump.unsigned_abs();
        let doubt = self.doubt.filter(is_same).unwrap_or(Doubt { since: lo, lead });
        self.doubt = Some(doubt);
        if lo.signed_duration_since(doubt.since) >= limits.grace { Verdict::Sets } else { Verdict::Doubted }
    }

    /// Believes a lead, if the budget has what it is greater by.
    fn follow(&mut self, lead: i64, max_jump: i64) -> bool {
        let cost = lead.saturating_sub(self.lead);
        if cost <= 0 {
            return true;
        }
        let (_, spent) = self.spent();
        if spent.saturating_add(cost) > max_jump {
            return false;
        }
        self.lead = lead;
        let [now, ..] = &mut self.spent;
        *now = now.saturating_add(u32::try_from(cost).unwrap_or(u32::MAX));
        true
    }

    /// All zeros are the default, which earlier versions had.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let gap = match self.gap {
            Gap::Closed => 0,
            Gap::Open => IS_OPEN,
            Gap::Held => IS_HELD,
        };
        let flags = gap | if self.doubt.is_some() { IS_DOUBTED } else { 0 };
        let (since, lead) = self.doubt.map_or((0, 0), |doubt| (doubt.since.timestamp_millis(), doubt.lead));
        let numbers = [self.lead, since, lead, self.into_hour].into_iter().flat_map(i64::to_be_bytes);
        [flags].into_iter().chain(numbers).chain(self.spent.into_iter().flat_map(u32::to_be_bytes)).collect()
    }

    pub(super) fn from_bytes(bytes: &[u8; LEN]) -> Option<Self> {
        let (flags, rest) = bytes.split_first()?;
        let (numbers, spent) = rest.split_at_checked(4 * 8)?;
        let mut numbers = numbers.as_chunks().0.iter().map(|number| i64::from_be_bytes(*number));
        let (lead, since, doubted, into_hour) = (numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?);
        let doubt = Doubt { since: DateTime::from_timestamp_millis(since)?, lead: doubted };
        let mut belief = Self {
            gap: match flags & (IS_OPEN | IS_HELD) {
                0 => Gap::Closed,
                IS_OPEN => Gap::Open,
                _ => Gap::Held,
            },
            doubt: Some(doubt).filter(|_| flags & IS_DOUBTED != 0),
            lead,
            into_hour,
            ..Self::default()
        };
        for (slot, bytes) in belief.spent.iter_mut().zip(spent.as_chunks().0) {
            *slot = u32::from_be_bytes(*bytes);
        }
        Some(belief)
    }
}
