//! One thing that is measured: its name, what pairs of turns say of it, how it reads.

use std::fmt::{self, Display};

use clap::ValueEnum;
use serde::Serialize;

use super::pairs::{self, Interval, Turn};

/// A twin that is slower than this share of the vault is no reference.
const STRAWMAN: f64 = 1.05;

/// What can be measured
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Name {
    /// Uploads, beside the twin
    Upload,
    /// Uploads, both over TLS
    UploadTls,
    /// Fetches, beside the twin
    Fetch,
    /// Fetches, both over TLS
    FetchTls,
    /// Fetches from a vault that has just started, nothing of its files in memory
    FetchCold,
    /// Bytes written to disk for a byte uploaded, beside the twin
    WriteAmplification,
    /// Bytes on disk for a byte alive, once half of what was uploaded has expired, beside a twin that only has that half
    SpaceAmplification,
    /// Resident memory while 32 clients upload and 8 fetch, beside a new vault
    RssMib,
    /// Start after a clean stop, beside a new vault
    StartCleanS,
    /// Start after a kill, beside a new vault
    StartKilledS,
    /// Writing volumes, beside writing a file
    RawDisk,
    /// Sealing, beside AES-256-GCM alone, on one core
    RawAead,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    name: String,
    /// What it was measured of, where that is not always the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<String>,
    /// The vault's median.
    value: f64,
    unit: &'static str,
    /// The median of what stands beside it, if anything does.
    reference: Option<f64>,
    /// The median of the pairs' ratios.
    ratio: Option<f64>,
    /// In which the median of many pairs lies, at 95 % confidence; of many values where nothing stands beside them.
    interval: Interval,
    /// CPU seconds per GB, of servers and clients together: of the vault, then of what stands beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_s_per_gb: Option<[f64; 2]>,
}

impl Line {
    /// Of pairs of values.
    pub(super) fn new(name: impl Display, unit: &'static str, pairs: &[[f64; 2]]) -> Self {
        let ratios: Vec<f64> = pairs.iter().map(|[ours, theirs]| ours / theirs).collect();
        Self {
            reference: Some(pairs::median(pairs.iter().map(|[_, theirs]| *theirs).collect())),
            ratio: Some(pairs::median(ratios.clone())),
            interval: pairs::interval(ratios),
            ..Self::alone(name, unit, pairs.iter().map(|[ours, _]| *ours).collect())
        }
    }

    /// Of values beside which nothing stands.
    pub(super) fn alone(name: impl Display, unit: &'static str, values: Vec<f64>) -> Self {
        let (value, interval) = (pairs::median(values.clone()), pairs::interval(values));
        Self { name: name.to_string(), case: None, value, unit, reference: None, ratio: None, interval, cpu_s_per_gb: None }
    }

    /// The same, measured of this.
    pub(super) fn of(self, case: impl Display) -> Self {
        Self { case: Some(case.to_string()), ..self }
    }

    /// Of how fast turns were.
    pub(super) fn speed(name: Name, turns: &[[Turn; 2]]) -> Self {
        let of = |value: fn(&Turn) -> f64| -> Vec<[f64; 2]> { turns.iter().map(|pair| pair.each_ref().map(value)).collect() };
        let Self { value, reference, .. } = Self::new(name, "", &of(Turn::cpu_s_per_gb));
        Self { cpu_s_per_gb: reference.map(|reference| [value, reference]), ..Self::new(name, "MB/s", &of(Turn::mb_per_s)) }
    }

    /// Why what stands beside it is no reference, if it is none.
    pub(super) fn strawman(&self) -> Option<String> {
        let is_slower = self.unit == "MB/s" && self.ratio > Some(STRAWMAN);
        is_slower.then(|| format!("{}: the vault is faster than its unprotected twin, which is no reference then", self.name))
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, case, value, unit, reference, ratio, interval: Interval(low, high), .. } = self;
        let digits = match *value {
            small if small < 0.1 => 4,
            large if large >= 100.0 => 0,
            _ => 2,
        };
        write!(f, "{name:<19} {value:>7.digits$} {unit}")?;
        if let (Some(reference), Some(ratio)) = (reference, ratio) {
            write!(f, " beside {reference:.digits$}: {ratio:.2}")?;
        }
        write!(f, " ({low:.2} to {high:.2})")?;
        case.as_ref().map_or(Ok(()), |case| write!(f, "; {case}"))?;
        self.cpu_s_per_gb.map_or(Ok(()), |[ours, theirs]| write!(f, "; CPU {ours:.2} s/GB beside {theirs:.2}"))
    }
}
