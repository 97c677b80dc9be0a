//! `idvault completions` and `idvault man`: what shells and people look things up in.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use super::client::Failure;

/// Which shell
#[derive(Debug, clap::Args)]
pub(super) struct CompletionArguments {
    /// The shell
    shell: Shell,
}

/// Where the pages go
#[derive(Debug, clap::Args)]
pub(super) struct ManArguments {
    /// A folder that exists
    folder: PathBuf,
}

pub(super) fn completions(arguments: &CompletionArguments) -> ExitCode {
    clap_complete::generate(arguments.shell, &mut Cli::command(), "idvault", &mut std::io::stdout());
    ExitCode::SUCCESS
}

pub(super) fn man(arguments: &ManArguments) -> Result<ExitCode, Failure> {
    let folder: &Path = &arguments.folder;
    clap_mangen::generate_to(Cli::command(), folder).map_err(|error| Failure::file(folder, &error))?;
    Ok(ExitCode::SUCCESS)
}
