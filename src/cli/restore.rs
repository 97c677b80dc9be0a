//! `idvault restore`: a backup, put back into a vault that is stopped; and the word that withdrawals since were replayed.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::backup::watched;
use super::client::Failure;
use crate::app;
use crate::config::Config;
use crate::vault::restore::{complete, restore};

/// What to put back, and where to
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The directory of the backup
    #[arg(required_unless_present = "complete", conflicts_with = "complete")]
    dir: Option<PathBuf>,
    /// The configuration that the vault is served with
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Say that the withdrawals since the backup were replayed, so that the vault releases again; it may be running
    #[arg(long)]
    complete: bool,
    /// Show what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = Config::read(&arguments.config).map_err(|error| Failure::usage(error.to_string()))?;
    let data_dir = &config.server.data_dir;
    let (shown, said) = match &arguments.dir {
        None => {
            complete(data_dir)?;
            (
                json!({ "completed": true }),
                "completed: the vault releases again within a second, or from its next start".to_owned(),
            )
        }
        Some(dir) => {
            let keys = app::keys(&config).map_err(|error| Failure::usage(error.to_string()))?;
            let manifest = watched(|see| restore(&config.vault, data_dir, &keys, dir, see))?;
            let (taken, sequence) = (manifest.taken, manifest.sequence);
            let next = "serve, replay every withdrawal and erasure since then, then: idvault restore --complete";
            (
                json!({ "taken": taken, "sequence": sequence, "files": manifest.files.len() }),
                format!("the vault is RESTORED to {taken}, transaction {sequence}, and releases nothing\n  next: {next}"),
            )
        }
    };
    if arguments.json {
        anstream::println!("{shown:#}");
    } else {
        anstream::println!("{said}");
    }
    Ok(ExitCode::SUCCESS)
}
