//! `idvault backup`: what a vault stores, copied into another directory while it serves. Never its keys.

use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::ProgressBar;
use serde_json::json;

use super::client::Failure;
use super::{progress, wall};
use crate::config::Config;
use crate::store::backup::{Manifest, Progress};
use crate::vault::restore::{RestoreError, back_up};

/// What to back up, and where to
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The directory of the backup: empty, or not there yet
    dir: PathBuf,
    /// The configuration that the vault is served with
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Show what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = Config::read(&arguments.config).map_err(|error| Failure::usage(error.to_string()))?;
    let now = wall()?;
    let manifest = watched(|see| back_up(&config.vault, &config.server.data_dir, &arguments.dir, now, see))?;
    let Manifest { vault, taken, sequence, files, .. } = &manifest;
    let (count, bytes) = (files.len(), manifest.bytes());
    if arguments.json {
        let json = json!({ "vault": vault, "taken": taken, "sequence": sequence, "files": count, "bytes": bytes });
        anstream::println!("{json:#}");
    } else {
        let dir = arguments.dir.display();
        anstream::println!("{vault} as of {taken}, transaction {sequence}, is in {dir}: {count} files, {bytes} bytes");
    }
    Ok(ExitCode::SUCCESS)
}

/// Does something long, with a bar.
pub(super) fn watched<T>(act: impl FnOnce(&mut dyn FnMut(Progress<'_>)) -> Result<T, RestoreError>) -> Result<T, Failure> {
    let bar: ProgressBar = progress::bar(0, "{bytes}/{total_bytes}, {bytes_per_sec}");
    let done = act(&mut |progress| match progress {
        Progress::Total(bytes) => bar.set_length(bytes),
        Progress::Bytes(bytes) => bar.inc(bytes),
        Progress::File(_) | Progress::Step(_) => {}
    });
    bar.finish_and_clear();
    Ok(done?)
}
