//! Turns, and what pairs of them say.

use std::time::Duration;

use serde::Serialize;

/// A turn: so many bytes in so much time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) bytes: u64,
    pub(super) time: Duration,
    /// CPU time of this process, servers and clients together.
    pub(super) cpu: Duration,
    /// Bytes written to disk, where that was looked at.
    pub(super) written: u64,
}

/// In which the median of many lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Interval(pub(super) f64, pub(super) f64);

impl Turn {
    pub(super) fn seconds(&self) -> f64 {
        self.time.as_secs_f64()
    }

    pub(super) fn mb_per_s(&self) -> f64 {
        megabytes(self.bytes) / self.seconds()
    }

    pub(super) fn written(self, written: u64) -> Self {
        Self { written, ..self }
    }

    pub(super) fn written_per_byte(&self) -> f64 {
        per(self.written, self.bytes)
    }

    pub(super) fn cpu_s_per_gb(&self) -> f64 {
        self.cpu.as_secs_f64() * 1000.0 / megabytes(self.bytes)
    }
}

/// So many bytes for each of so many.
pub(super) fn per(bytes: u64, of: u64) -> f64 {
    megabytes(bytes) / megabytes(of)
}

/// The median.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
    f64::midpoint(lower, upper)
}

/// The interval between two of the values that holds the median of what they were drawn from, at 95 % confidence or a little more, given
/// enough of them: how many lie below it is binomial (the sign test's interval). Of nine values, the second and the eighth.
pub(super) fn interval(mut values: Vec<f64>) -> Interval {
    values.sort_unstable_by(f64::total_cmp);
    let mut cut = 0_usize;
    while tail(values.len(), cut.saturating_add(2)) <= 0.025 {
        cut = cut.saturating_add(1);
    }
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    Interval(at(cut), at(values.len().saturating_sub(1).saturating_sub(cut)))
}

/// The chance that of `count` values fewer than `below` are under the median.
fn tail(count: usize, below: usize) -> f64 {
    let mut chance = (0..count).fold(1.0, |chance, _| chance / 2.0);
    let mut sum = 0.0;
    for (index, left) in (0..below).zip((1..=count).rev()) {
        sum += chance;
        chance *= float(left) / float(index.saturating_add(1));
    }
    sum
}

fn megabytes(bytes: u64) -> f64 {
    Duration::from_micros(bytes).as_secs_f64()
}

/// A count that is small.
pub(super) fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// The whole number below, of a count that is small.
pub(super) fn whole(count: f64) -> u32 {
    u32::try_from(Duration::try_from_secs_f64(count).unwrap_or_default().as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_their_intervals() {
        let values = |count: u32| (1..=count).rev().map(f64::from).collect::<Vec<_>>();
        assert!((median(values(9)) - 5.0).abs() < 1e-9);
        assert!((median(values(4)) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
        // The sign test's intervals, from any table of the binomial distribution at one half.
        for (count, low, high) in [(9, 2.0, 8.0), (5, 1.0, 5.0), (20, 6.0, 15.0), (99, 40.0, 60.0)] {
            assert_eq!(interval(values(count)), Interval(low, high), "of {count}");
        }
    }

    #[test]
    fn a_turn_has_a_rate() {
        let turn =
            Turn { bytes: 2_000_000, time: Duration::from_millis(500), cpu: Duration::from_millis(10), written: 2_100_000 };
        assert!((turn.written_per_byte() - 1.05).abs() < 1e-9);
        assert!((turn.mb_per_s() - 4.0).abs() < 1e-9);
        assert!((turn.cpu_s_per_gb() - 5.0).abs() < 1e-9);
        assert_eq!((whole(7.9), whole(-1.0), whole(f64::NAN)), (7, 0, 0));
    }
}
