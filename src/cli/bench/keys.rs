//! `idvault bench keys`: what leaves, shreds and starts cost where a vault has very many records, measured on the real key tree
//! and keyring in a real directory.
//!
//! There is no record here and no ledger, only what the key layer knows of them: thirty days of hours, each with its share of
//! the leaves, of which some are withdrawn at random.

mod filled;
mod lines;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::filled::Case;
use super::{Machine, Report, home_in, refused};
use crate::cli::client::Failure;
use crate::cli::progress;

/// All cases that `--matrix` measures.
const LEAVES: [u64; 3] = [1_000_000, 10_000_000, 31_000_000];
const WITHDRAWN: [f64; 3] = [0.1, 1.0, 10.0];

/// What to measure
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Where to write; everything is removed in the end
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How many records live, spread evenly over thirty days of hours
    #[arg(long, default_value_t = 31_000_000, value_parser = clap::value_parser!(u64).range(100_000..=1_000_000_000))]
    leaves: u64,
    /// How many of a hundred are withdrawn
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    withdrawn: f64,
    /// Measure 1, 10 and 31 million records, each with 0.1, 1 and 10 % withdrawn
    #[arg(long, conflicts_with_all = ["leaves", "withdrawn"])]
    matrix: bool,
    /// Show the result as JSON
    #[arg(long)]
    json: bool,
}

/// Measures and tells.
pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let home = home_in(&arguments.dir)?;
    let (path, cases, json) = (home.path().to_owned(), cases(&arguments), arguments.json);
    let measured = tokio::task::spawn_blocking(move || measure(&path, &cases));
    // Whoever interrupts it finds nothing left either.
    let report = tokio::select! {
        report = measured => report.map_err(refused)??,
        _ = tokio::signal::ctrl_c() => return Err(Failure::refused("interrupted")),
    };
    report.tell(json)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(home: &Path, cases: &[Case]) -> Result<Report, Failure> {
    let bar = progress::bar(u64::try_from(cases.len()).unwrap_or(u64::MAX), "{pos}/{len} cases {msg}");
    let mut lines = Vec::new();
    for case in cases {
        bar.set_message(case.to_string());
        let dir = home.join("case");
        lines.extend(lines::of(*case, &dir)?.into_iter().map(|line| line.of(case)));
        std::fs::remove_dir_all(&dir).map_err(|error| Failure::file(&dir, &error))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Report { machine: Machine::here(), lines })
}

fn cases(arguments: &Arguments) -> Vec<Case> {
    if arguments.matrix {
        LEAVES.into_iter().flat_map(|leaves| WITHDRAWN.map(|percent| Case { leaves, percent })).collect()
    } else {
        vec![Case { leaves: arguments.leaves, percent: arguments.withdrawn }]
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.trim_end_matches('%').parse().map_err(|_| "must be a number")?;
    if (0.0..=50.0).contains(&percent) { Ok(percent) } else { Err("must be between 0 and 50".to_owned()) }
}
