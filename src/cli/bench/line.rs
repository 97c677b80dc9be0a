//! One thing that is measured: its name, what pairs of turns say of it, how it reads.

use serde::Serialize;

use super::pairs::{self, Interval, Turn};

/// A twin that is slower than this share of the vault is no reference.
const STRAWMAN: f64 = 1.05;

/// What can be measured
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
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
    name: Name,
    /// The vault's median.
    value: f64,
    unit: &'static str,
    /// The median of what stands beside it.
    reference: f64,
    /// The median of the pairs' ratios.
    ratio: f64,
    /// In which the median of many pairs lies, at 95 % confidence.
    interval: Interval,
    /// CPU seconds per GB, of servers and clients together: of the vault, then of what stands beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_s_per_gb: Option<[f64; 2]>,
}

impl Line {
    /// Of pairs of values.
    pub(super) fn new(name: Name, unit: &'static str, pairs: &[[f64; 2]]) -> Self {
        let ratios: Vec<f64> = pairs.iter().map(|[ours, theirs]| ours / theirs).collect();
        Self {
            name,
            value: pairs::median(pairs.iter().map(|[ours, _]| *ours).collect()),
            unit,
            reference: pairs::median(pairs.iter().map(|[_, theirs]| *theirs).collect()),
            ratio: pairs::median(ratios.clone()),
            interval: pairs::interval(ratios),
            cpu_s_per_gb: None,
        }
    }

    /// Of how fast turns were.
    pub(super) fn speed(name: Name, turns: &[[Turn; 2]]) -> Self {
        let of = |value: fn(&Turn) -> f64| -> Vec<[f64; 2]> { turns.iter().map(|pair| pair.each_ref().map(value)).collect() };
        let Self { value, reference, .. } = Self::new(name, "", &of(Turn::cpu_s_per_gb));
        Self { cpu_s_per_gb: Some([value, reference]), ..Self::new(name, "MB/s", &of(Turn::mb_per_s)) }
    }

    /// Why what stands beside it is no reference, if it is none.
    pub(super) fn strawman(&self) -> Option<String> {
        let is_slower = self.unit == "MB/s" && self.ratio > STRAWMAN;
        is_slower.then(|| format!("{}: the vault is faster than its unprotected twin, which is no reference then", self.label()))
    }

    fn label(&self) -> String {
        clap::ValueEnum::to_possible_value(&self.name).map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { value, unit, reference, ratio, interval: Interval(low, high), .. } = self;
        let digits = if *value < 100.0 { 2 } else { 0 };
        write!(f, "{:<19} {value:>7.digits$} {unit} beside {reference:.digits$}: ", self.label())?;
        write!(f, "{ratio:.2} ({low:.2} to {high:.2})")?;
        self.cpu_s_per_gb.map_or(Ok(()), |[ours, theirs]| write!(f, "; CPU {ours:.2} s/GB beside {theirs:.2}"))
    }
}
