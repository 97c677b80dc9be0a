//! `idvault doctor`: what `idvault serve` would meet on this machine, and what to do about it.
//!
//! Reads the configuration, the files that it names and what the kernel tells. Writes nothing, and takes nothing from a vault
//! that is running or about to; but for `--rebuild` and `--verify`, which want the vault for themselves, and `--accept-clock`, which
//! leaves a word for it.

mod accept;
mod certificates;
mod clock;
mod custody;
mod directory;
mod disk;
mod finding;
mod listen;
mod lock;
pub(super) mod memory;
mod restored;
mod stored;

use std::path::PathBuf;
use std::process::ExitCode;

use super::client::Failure;
use super::{EX_SOFTWARE, wall};
use crate::app;
use crate::config::Config;
use finding::{Finding, Grade};

/// Which vault to look at
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration that the vault is served with
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Make the ledger's index anew, from its last dump and the journal since; the vault must not be running
    #[arg(long)]
    rebuild: bool,
    /// Open all that is stored, and name what does not open; the vault must not be running
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    clock: ClockArguments,
    /// Show what was found as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ClockArguments {
    /// Say that the wall clock, as it is now, is right, to a vault that does not trust it; it may be running
    #[arg(long, conflicts_with_all = ["rebuild", "verify"])]
    accept_clock: bool,
    /// The clock file that the vault is served with, if it is
    #[arg(long, value_name = "PATH")]
    clock_file: Option<PathBuf>,
}

/// Looks and tells. What was found decides the exit code: 70 when something failed.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = Config::read(&arguments.config).map_err(|error| Failure::usage(error.to_string()))?;
    let trust = clock::trust(&config, arguments.clock.clock_file.as_deref());
    let mut findings =
        if arguments.clock.accept_clock { vec![accept::accept(&config, &trust)] } else { examine(&config, &trust)? };
    if arguments.rebuild {
        findings.push(stored::make_anew(&config));
    }
    if arguments.verify {
        findings.extend(stored::look_through(&config)?);
    }
    if arguments.json {
        let json = serde_json::to_string_pretty(&findings).map_err(|error| Failure::refused(error.to_string()))?;
        anstream::println!("{json}");
    } else {
        for finding in &findings {
            anstream::println!("{finding}");
        }
    }
    let failed = findings.iter().any(|finding| finding.grade == Grade::Fail);
    Ok(if failed { EX_SOFTWARE.into() } else { ExitCode::SUCCESS })
}

fn examine(config: &Config, trust: &clock::Trust) -> Result<Vec<Finding>, Failure> {
    let dir = &config.server.data_dir;
    let holder = lock::holder(dir);
    let mut findings = vec![Finding::ok("configuration", format!("of the vault {}", config.vault))];
    findings.extend(certificates::examine(config, wall()?));
    let keys = app::keys(config).map_err(|error| Failure::usage(error.to_string()))?;
    findings.extend(directory::examine(dir, &keys));
    findings.extend(custody::examine(config, &keys));
    findings.extend(restored::examine(dir));
    findings.extend(disk::examine(dir));
    findings.push(lock::finding(holder));
    findings.push(listen::examine(config.server.listen, holder.is_some()));
    // What was written last is looked at before the clock is: a vault that runs goes on writing.
    let written = clock::last_written(dir);
    findings.push(clock::examine(wall()?, written));
    findings.push(clock::trusted(dir, trust));
    findings.extend(memory::examine(holder));
    Ok(findings)
}
