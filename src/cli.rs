//! The command line: one file per command.
//!
//! Exit codes: 0, 64 (usage or configuration), 70 (refused to go on), 75 (try again).

mod demo;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Usage or configuration.
const EX_USAGE: u8 = 64;
/// Refused to go on.
const EX_SOFTWARE: u8 = 70;
/// Try again.
const EX_TEMPFAIL: u8 = 75;

/// A vault for identification data: sealed per record, released only to consented training, unrecoverable after 30 days.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a vault.
    Serve(serve::Arguments),
    /// Show the whole story on real images, in a temporary vault.
    Demo(demo::Arguments),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let code = if usage.use_stderr() { EX_USAGE } else { 0 };
            return if usage.print().is_ok() { code.into() } else { EX_USAGE.into() };
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EX_TEMPFAIL, &error),
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Serve(arguments) => serve::run(arguments).await,
            Command::Demo(arguments) => demo::run(arguments).await,
        }
    });
    // A disk that hangs must not keep the program from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

/// Says what is wrong and gives the exit code.
fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    anstream::eprintln!("idvault: {error}");
    code.into()
}
