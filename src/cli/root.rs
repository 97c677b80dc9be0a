//! `idvault root`: the root of all keys, of a vault that is stopped.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use super::client::Failure;
use crate::app;
use crate::config::{Config, CustodyName};
use crate::vault::Blueprint;

/// What to do with the root
#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Move it to another custody: a commit under a fresh root there, then the old roots are destroyed. The vault must not be running
    Move(MoveArguments),
}

/// Where to
#[derive(Debug, clap::Args)]
pub(super) struct MoveArguments {
    /// The configuration that the vault is served with; it has the sections of both custodies
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The new custody
    #[arg(long, value_name = "CUSTODY")]
    to: Name,
    /// Show what was done as JSON
    #[arg(long)]
    json: bool,
}

/// A custody.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    File,
    Pkcs11,
    Transit,
}

pub(super) fn run(action: &Action) -> Result<ExitCode, Failure> {
    let Action::Move(arguments) = action;
    let usage = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
    let config = Config::read(&arguments.config).map_err(|error| usage(&error))?;
    let to = match arguments.to {
        Name::File => CustodyName::File,
        Name::Pkcs11 => CustodyName::Pkcs11,
        Name::Transit => CustodyName::Transit,
    };
    if to == config.root.custody {
        return Err(usage(&"root.custody of the configuration names that custody: it must name the one that the root is in now"));
    }
    let (keys, to) =
        (app::keys(&config).map_err(|error| usage(&error))?, app::custody(&config, to).map_err(|error| usage(&error))?);
    let refused = |error: &dyn std::fmt::Display| Failure::refused(error.to_string());
    let source = app::source(None).map_err(|error| refused(&error))?;
    let blueprint = Blueprint::new(config.vault, config.server.data_dir, source, app::limits(config.clock));
    let evidence = Blueprint { keys, ..blueprint }.move_root(&to).map_err(|error| refused(&error))?;
    let name = arguments.to.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    if arguments.json {
        let old = json!({ "custody": evidence.custody, "place": evidence.place, "method": evidence.method, "class": evidence.class.to_string() });
        anstream::println!("{:#}", json!({ "custody": name, "destroyed": old }));
    } else {
        anstream::println!("the root is in the custody {name}; the old roots are destroyed:\n  {evidence}");
        anstream::println!("  next: set custody = \"{name}\" in [root], then serve");
    }
    Ok(ExitCode::SUCCESS)
}
